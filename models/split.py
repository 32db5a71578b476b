"""Split a change of emissions into its causes: the logarithmic mean Divisia index, which leaves no residual.

Source: B. W. Ang, "The LMDI approach to decomposition analysis: a practical guide", Energy Policy 33 (2005), 867-871;
zeros as in Ang and Liu, "Handling zero values in the logarithmic mean Divisia index decomposition approach", Energy
Policy 35 (2007), 238-246.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMALL = 1e-20  # stands for a zero: the split converges as it shrinks


def log_mean(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Logarithmic mean of two positive numbers: (a - b) / ln(a / b), and a where they are equal.

    >>> float(log_mean(2.0, 2.0)), round(float(log_mean(1.0, np.e)), 6)
    (2.0, 1.718282)
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (x - y) / np.log(x / y)
    return np.where(np.isclose(x, y, rtol=1e-12, atol=0), x, found)


def split(before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Split the change of a sum over cells, each cell a product of the same factors, into one effect a factor.

    `before` and `after` hold one array (cells) a factor, in any units whose product is that of the total (kg CO2e). The
    effects add up to the change exactly.

    >>> split({"a": [2.0], "b": [3.0]}, {"a": [4.0], "b": [3.0]})
    {'a': 6.0, 'b': 0.0}
    """
    old = {name: np.maximum(np.asarray(v, float), SMALL) for name, v in before.items()}
    new = {name: np.maximum(np.asarray(v, float), SMALL) for name, v in after.items()}
    weight = log_mean(np.prod(list(new.values()), axis=0), np.prod(list(old.values()), axis=0))
    return {name: float(np.sum(weight * np.log(new[name] / old[name]))) for name in old}
