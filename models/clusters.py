"""What moves products together: drifts that a supplier, a brand or a season shares, and what rests on one of them.

Here: the variance that products of one cluster share, by the products left alone, and the weight that each cluster has
in a comparison once its controls are set against it. Not here: the comparison (models/controls.py), the verdict
(models/effect.py). A cluster that moves by itself looks like an effect when all treated products are of it; the more
products, the surer and the more wrong (M. Bertrand, E. Duflo and S. Mullainathan, QJE 119, 2004). Clusters cross: pairs
of products that share a supplier and a season tell of both (as in Cameron, Gelbach and Miller, JBES 29, 2011).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class Moments(NamedTuple):
    """Sums over pairs of products: how many share what, [kind, kind], and the products of their residuals, [kind].

    The last kind is "any two products".
    """

    shared: Array
    together: Array


def _pairs(code: Index, weight: Array, value: Array) -> tuple[float, float]:
    """Sum weight x weight, and the same with values, over pairs of different rows of one code (-1: of none)."""
    has = code >= 0
    c, w, v = code[has], weight[has], (weight * value)[has]
    size = int(c.max(initial=-1)) + 1
    weights, values = (float((np.bincount(c, x, size) ** 2).sum() - (x**2).sum()) for x in (w, v))
    return weights, values


def moments(residual: Array, weight: Array, codes: Sequence[Index]) -> Moments:
    """Add up pairs of products left alone. `residual` is relative to what was expected; a code of -1 is not known."""
    kinds = [*codes, np.zeros(residual.size, dtype=np.int64)]
    away = residual - float(weight @ residual) / max(float(weight.sum()), 1e-300)
    shared = np.zeros((len(kinds), len(kinds)))
    together = np.zeros(len(kinds))
    for i, a in enumerate(kinds):
        for j, b in enumerate(kinds[: i + 1]):
            both = np.where((a >= 0) & (b >= 0), a * (int(b.max(initial=-1)) + 2) + b, -1)
            number = np.unique(both, return_inverse=True)[1] if (both >= 0).any() else both
            shared[i, j] = shared[j, i] = _pairs(np.where(both >= 0, number, -1), weight, away)[0]
        together[i] = _pairs(a, weight, away)[1]
    return Moments(shared, together)


def shared_variances(found: Sequence[Moments]) -> Array:
    """Fit the variance that products of one cluster share, an entry a kind, never negative; least squares over pairs.

    Two kinds that always go together share one variance between them.

    >>> rng = np.random.default_rng(1)
    >>> supplier, brand = rng.integers(0, 60, 900), rng.integers(0, 10, 900)
    >>> residual = np.where(supplier % 2, 0.2, -0.2) + rng.normal(0, 0.1, 900)
    >>> shared_variances([moments(residual, np.ones(900), [supplier, brand])]).round(2).tolist()
    [0.04, 0.0]
    """
    shared, together = sum(m.shared for m in found), sum(m.together for m in found)
    scale = np.sqrt(np.maximum(np.diag(shared), 1e-300))
    design = shared / scale / scale[:, None]
    either_way = np.column_stack([design, -design[:, -1]])  # what any two share may be negative
    return np.asarray(nnls(either_way, together / scale)[0][: len(scale) - 1] / scale[:-1], dtype=np.float64)


def net_weights(code: Index, treated: Sequence[Index], controls: Sequence[Index], share: Array) -> Array:
    """Weigh each cluster: the share of the answer its treated products carry, less that of their controls.

    `treated` and `controls` (a row a treated product, -1 for none) are rows of `code`, by parts; `share` sums to 1 over
    all treated. Clusters that treated and controls share alike weigh nothing: their drift cancels.

    >>> net_weights(np.array([0, 0, 0, 1, 1]), [np.array([0])], [np.array([[1, 3]])], np.ones(1)).tolist()
    [0.5, -0.5]
    """
    size = int(code.max(initial=-1)) + 1
    rows = np.concatenate(list(treated))
    own = np.where(code[rows] >= 0, code[rows], size)
    weight = np.bincount(own, share, size + 1)
    at = 0
    for part in controls:
        mine, has = share[at : at + len(part)], part >= 0
        each = np.where(has, (mine / np.maximum(has.sum(1), 1))[:, None], 0.0)
        of = code[np.maximum(part, 0)]
        weight -= np.bincount(np.where(of >= 0, of, size).ravel(), each.ravel(), size + 1)
        at += len(part)
    return np.asarray(weight[:size], dtype=np.float64)


def factorized(clusters: Mapping[str, object], products: int) -> dict[str, Index]:
    """Check that each kind has one whole number a product, and keep those that tell two clusters apart at all."""
    found = {name: np.asarray(code, dtype=np.int64) for name, code in clusters.items()}
    for name, code in found.items():
        if code.shape != (products,):
            raise ValueError(f"{name}: one cluster a product, {products} of them, not {code.shape}")
    return {name: code for name, code in found.items() if np.unique(code[code >= 0]).size > 1}
