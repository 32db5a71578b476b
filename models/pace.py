"""Whether waits still end at the pace they did: the last weeks of a stage against the weeks before.

Here: the table of waits by week of observation and age, the comparison, its alarm. Not here: SQL, which stages there
are. A quantile of waits describes those that waited; when goods leave a stage more slowly than before, what enters it
today will wait longer, and only the pace of those still in it tells so in time. Method: a one-sample log-rank test
(Breslow 1975, International Statistical Review 43, 45-57): ends of a week against those that the weeks before would
give among waits of the same ages; the spread of the test is what such weeks differed by in the past.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

WEEKS = 18  # weeks looked at, the last one first
RECENT = (1, 4)  # the last week, and the last four together, are compared
FACTOR = 1.1  # times the usual time, either way
Z = 3.5  # standard errors
FEWEST = 30.0  # ends expected of the weeks compared


class Pace(NamedTuple):
    """How fast the waits of the last weeks end, against the weeks before.

    `factor` is time over usual time (2: ends come at half the pace), `z` its standard errors from 1, `weeks` how many
    of the last weeks are compared, `ended` and `expected` their ends.
    """

    factor: float
    z: float
    weeks: int
    ended: float
    expected: float

    @property
    def is_drifting(self) -> bool:
        """Say whether the difference is large and sure."""
        return bool(max(self.factor, 1 / self.factor) > FACTOR and abs(self.z) > Z)


UNKNOWN = Pace(1.0, 0.0, RECENT[0], 0.0, 0.0)


def pace(entered: ArrayLike, left: ArrayLike, ended: ArrayLike) -> Pace:
    """Compare the waits of the last weeks with those of the weeks before; the surer of RECENT.

    All three are [week, age], week 0 the last: waits that come under observation in a week at an age (0, or their age
    when the week begins), that go out of it at an age (ended, stopped, or their age when the week ends), and those of
    the latter that ended. The hazard by age is that of the weeks before the last RECENT ones. Weeks differ by more than
    chance; how much is read from one week to the next, so that a lasting shift does not hide itself. Too few ends:
    factor 1.

    >>> steady = [[0.0, 0.0]] + [[50.0, 50.0]] * 17
    >>> waits = [[200.0, 0.0]] + [[100.0, 0.0]] * 17
    >>> gone = [[100.0, 100.0]] + [[50.0, 50.0]] * 17
    >>> now = [[25.0, 25.0]] + [[50.0, 50.0]] * 17
    >>> pace(waits, gone, now).factor > 1.5
    True
    """
    begun, gone, done = (np.asarray(x, dtype=np.float64) for x in (entered, left, ended))
    if len(begun) <= RECENT[-1] + 3:
        return UNKNOWN
    at_risk = np.cumsum(begun, 1) - np.cumsum(gone, 1) + gone
    base = slice(RECENT[-1], None)
    hazard = np.divide(
        done[base].sum(0), at_risk[base].sum(0), out=np.zeros(done.shape[1]), where=at_risk[base].sum(0) > 0
    )
    expected, observed = at_risk @ hazard, done.sum(1)
    logs = np.log((observed + 0.5) / (expected + 0.5))
    noise = 1 / np.maximum(expected, 1.0)
    steps = np.diff(logs[base]) ** 2 - (noise[base][1:] + noise[base][:-1])
    between = max(float(steps.mean()) / 2, 0.0)
    found = UNKNOWN
    for weeks in RECENT:
        o, e = float(observed[:weeks].sum()), float(expected[:weeks].sum())
        if e < FEWEST:
            continue
        log = float(np.log((o + 0.5) / (e + 0.5)))
        z = -log / float(np.sqrt(1 / e + 1 / max(expected[base].sum(), 1.0) + between / weeks))
        if found is UNKNOWN or abs(z) > abs(found.z):
            found = Pace(float(np.exp(-log)), z, weeks, o, e)
    return found
