"""How returns develop: curves from delays, the day of a unit on its curve, and whether delays drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from models import curve_shift
from models.rates import Array, floats

NO_WINDOW_DAYS = 140  # a source without policies: curves run to 200 days
LONGEST_WINDOW_DAYS = 1_100  # three years; of a longer window what comes later counts on the last day
AFTER_WINDOW_DAYS = 60  # requests end with the window, confirmations later
DATED_STEPS = 70  # what a date adds to a window is counted in so many steps
_LONGEST_WAIT = 150  # days to confirm: what comes later is less than the last digit of a number
_DATED_DAYS = 65  # what to take such a window for before its own returns are seen
RECENT_DAYS = 120  # beyond a curve's last day, how far back returned lines count
_ASSUMED, _STRETCHED, _START = 30.0, 100.0, 300.0  # returns that an assumed, a stretched and a start's curve are worth
DRIFT_DAYS = 30  # the confirmations that the alarm compares with the curve
DRIFT_FACTOR, DRIFT_Z = 1.1, 2.6  # delays this much longer or shorter, by chance once in a hundred: it no longer fits
_UNLIKE = 2.0  # how far a new category may lie from others, in times that those lie apart: few teach it


def development_curve(
    delay_days: ArrayLike,
    units: ArrayLike,
    truncation_days: ArrayLike,
    last_day: int,
    prior: ArrayLike | None = None,
    pseudo: float = _START,
    recent_days: int | None = None,
) -> Array:
    """Fit G(0..last_day) from returned units alone, right truncation handled.

    One entry a group of returned units: their delay, how many, and the age their line has at observation (a return can
    only be seen if its delay is at most that age). Reverse-time hazard r(d) = #{delay = d} / #{delay <= d <= age}, and
    G(d) = product over k > d of 1 - r(k) (Lagakos, Barraj and De Gruttola, Biometrika 75, 1988). No denominator of sold
    units enters, so changing rates do not bend it. Delays beyond `last_day` count on it. `prior` is a curve of the same
    length that is added as `pseudo` returns; where no age reaches, it speaks alone. Without prior and returns: NaN.
    With `recent_days` only what was confirmed in the last so many days before the observation counts (a life table of a
    period): G as delays are of late.

    >>> development_curve([0, 1, 2], [1, 1, 2], [9, 9, 9], 2).tolist()
    [0.25, 0.5, 1.0]
    """
    delay = np.clip(np.asarray(delay_days, dtype=np.int64), 0, last_day)
    age = np.maximum(np.asarray(truncation_days, dtype=np.int64), delay)
    weight = floats(units)
    begun = delay if recent_days is None else np.maximum(delay, age - recent_days + 1)
    watched = begun <= last_day
    delay, age, weight, begun = delay[watched], age[watched], weight[watched], begun[watched]
    events: Array = np.bincount(delay, weight * (delay >= begun), last_day + 1).astype(np.float64)
    entered = np.bincount(begun, weight, last_day + 1)
    gone = np.bincount(np.minimum(age, last_day) + 1, weight, last_day + 2)[: last_day + 1]
    at_risk: Array = np.cumsum(entered - gone)
    if prior is not None:
        events = events + pseudo * np.diff(floats(prior), prepend=0.0)
        at_risk = at_risk + pseudo * floats(prior)
    elif weight.sum() <= 0:
        return np.full(last_day + 1, np.nan)
    hazard = np.divide(events, at_risk, out=np.zeros(last_day + 1), where=at_risk > 1e-12)
    landed_later = np.cumprod(1 - np.clip(hazard, 0, 1)[:0:-1])
    return np.append(landed_later[::-1], 1.0)


def stretched_curve(curve: ArrayLike, window_days: int, new_window_days: int, last_day: int) -> Array:
    """Carry a curve fitted under one return window to another: G(0..last_day).

    Up to the window's end time runs relative to it, after the end in days: a curve at half of a 30-day window stands at
    half of a 100-day one, and parcels need as long to arrive after either. It is what to assume of a longer window
    before its own late returns have been seen.

    >>> stretched_curve([0, .5, 1.], 2, 4, 4).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    known = floats(curve)
    day = np.arange(last_day + 1, dtype=np.float64)
    old = np.where(day <= new_window_days, day * window_days / new_window_days, day - new_window_days + window_days)
    moved = np.interp(old, np.arange(known.size), known)
    moved[-1] = 1.0
    return moved


def assumed_curve(window_days: int, last_day: int) -> Array:
    """Assume G(0..last_day) before any return is old enough to tell: requests lognormal, then a few days to confirm.

    Request delay: median 5 days, sigma .8, cut at the window (about 83% within ten days as ZigZag and Retail Economics
    report for British shops, https://www.retaileconomics.co.uk); confirmation follows in 3 days on average. An
    assumption, and weighed as one.

    >>> curve = assumed_curve(30, 70)
    >>> bool(0.6 < curve[10] < 0.7), float(curve[-1])
    (True, 1.0)
    """
    day = np.arange(last_day + 1, dtype=np.float64)
    asked = scipy.special.ndtr(np.log(np.minimum(day + 0.5, window_days + 0.5) / 5.0) / 0.8)
    wait = 0.25 * 0.75 ** day[:_LONGEST_WAIT]
    curve: Array = np.cumsum(np.convolve(np.diff(asked, prepend=0.0), wait)[: last_day + 1])
    return np.asarray(curve / curve[-1], dtype=np.float64)


class Cell(NamedTuple):
    """What a development curve is fitted for.

    `is_dated`: the window ends on a date, so lines of one policy differ in length. Time in a dated cell runs relative
    to the end of the line's own window (`development_day`).
    """

    source: str
    category: str | None = None
    channel: str | None = None
    window_days: int | None = None
    is_dated: bool = False

    @property
    def window(self) -> int:
        """Length of the window on the curve's own axis."""
        days = NO_WINDOW_DAYS if self.window_days is None else self.window_days
        return days + DATED_STEPS if self.is_dated else min(days, LONGEST_WINDOW_DAYS)

    @property
    def last_day(self) -> int:
        """Last day of the curve: confirmations come later than the requests that the window ends.

        >>> cells = Cell("shop", window_days=30), Cell("shop"), Cell("shop", window_days=30, is_dated=True)
        >>> tuple(cell.last_day for cell in [*cells, Cell("shop", window_days=36_500)])
        (90, 200, 160, 1160)
        """
        return self.window + AFTER_WINDOW_DAYS


class Delays(NamedTuple):
    """Returns of a cell as additive counts: delay and age of their line at observation (curve days), and how many.

    A returned lot counts once, whatever its units: else one wholesale credit of thousands would be the curve.
    """

    delay_days: Array
    returns: Array
    truncation_days: Array


NOTHING = Delays(np.zeros(0), np.zeros(0), np.zeros(0))


def development_day(age_days: ArrayLike, length_days: ArrayLike, window_days: ArrayLike) -> Array:
    """Place an age on the axis of a window that ends on a date.

    Usual window in days, then progress to the end, then days after it. `length_days` is the line's own window, from its
    clock's start to the date; `window_days` the usual one, shorter. Most send back as soon as ever, whatever the date,
    so the usual window keeps its days; what the date adds differs in length from line to line and is cut into
    DATED_STEPS. What it was measured against: docs/decisions/0008.

    >>> development_day([20, 30, 45, 60, 63], 60, 30).tolist()
    [20.0, 30.0, 65.0, 100.0, 103.0]
    """
    age, length, usual = floats(age_days), floats(length_days), floats(window_days)
    inside = usual + np.floor((age - usual) * DATED_STEPS / np.maximum(length - usual, 1.0))
    after = usual + DATED_STEPS + age - length
    return np.asarray(np.where(age <= usual, age, np.where(age <= length, inside, after)), dtype=np.float64)


@dataclass(frozen=True)
class Developed:
    """A cell's curve: `share` G(0..last) as it is now, `long_run` before recent delays moved it, and `doubt`.

    `doubt` is how far G may be off, as a standard deviation of its probit: for lognormal delays that of the log of a
    time stretch over sigma. One number a cell, for an error of the curve is an error of all its ages at once.
    `is_new`: its own lines are younger than its curve is long while others of the source are not, as those of a new
    category or window, so what comes late of it is told by others.
    """

    share: Array
    long_run: Array
    doubt: float
    is_moved: bool = False
    is_new: bool = False


def development_curves(cells: Sequence[Cell], counts: Mapping[Cell, Delays]) -> dict[Cell, Array]:
    """Fit a development curve for every cell; see `developed`.

    >>> half = Delays(np.array([2, 8]), np.array([5e6, 5e6]), np.array([99, 99]))
    >>> shoes, hats = Cell("shop", "shoes", None, 30), Cell("shop", "hats", None, 30)
    >>> curves = development_curves([shoes, hats], {shoes: half})
    >>> [round(float(curve[5]), 3) for curve in curves.values()]
    [0.5, 0.5]
    """
    return {cell: d.share for cell, d in developed(cells, counts).items()}


def developed(cells: Sequence[Cell], counts: Mapping[Cell, Delays]) -> dict[Cell, Developed]:
    """Fit a development curve for every cell, small ones pooled, and say how far it may be off.

    Columns: cell, then its window, then the source's leading window. In a source, the window with most returns leads
    (itself shrunk a little to an assumed curve); any other window's curve starts from the leading one stretched to its
    length, so that a window too young to have shown its late returns is not taken for mature. A category starts from
    its window's curve moved to its own delays as far as they can tell, by how much categories differ; then its returns
    speak (_START of the start's). Where the last weeks say that delays have moved, of a category or of
    all of the source, by a number of days or in proportion, its curves move with them and are fitted to those weeks.

    The doubt of a cell adds up what its own delays leave open, how far the tails of other categories lay from what
    their first days told (for a cell whose lines are younger than its curve), the weekdays on which nothing is
    confirmed, and what is unsure of recent delays. A cell that is new adds how far categories lie apart: first returns
    tell less of its curve than they seem to, for the late ones are missing.
    """
    found: dict[Cell, Developed] = {}
    for source in sorted({c.source for c in cells}):
        mine = [c for c in cells if c.source == source]
        windows: dict[Cell, list[Cell]] = {}
        for cell in mine:
            windows.setdefault(Cell(source, None, None, cell.window_days, cell.is_dated), []).append(cell)
        pooled = {w: _pooled([counts[m] for m in members if m in counts]) for w, members in windows.items()}
        leading = max(windows, key=lambda w: (not w.is_dated, float(pooled[w].returns.sum()), -(w.window_days or 0)))
        assumed = assumed_curve(leading.window_days or 30, leading.last_day)
        first = development_curve(*pooled[leading], leading.last_day, assumed, _ASSUMED)
        settled: dict[Cell, tuple[Array, float, float]] = {}
        for window, members in windows.items():
            settled |= _settled(window, members, counts, pooled[window], first, leading)
        tails = curve_shift.tail_doubt(
            [
                settled[c][0]
                for c in windows[leading]
                if c in counts and counts[c].returns.sum() >= _START and counts[c].truncation_days.max() > c.last_day
            ],
            first,
        )
        phase = curve_shift.weekday_doubt(pooled[leading], first)
        plain = {c: curve for c, (curve, _, _) in settled.items()}
        together, own = curve_shift.recent_shifts(
            [(c.category, counts[c], plain[c]) for c in mine if c in counts and not c.is_dated], first
        )
        has_shown = any(_oldest(counts[c]) >= c.last_day for c in mine if c in counts and not c.is_dated)
        for cell, (curve, doubt, spread) in settled.items():
            moved = own.get(cell.category, together)
            delays = counts.get(cell, NOTHING)
            young = _youth(delays, cell) if not cell.is_dated else 0.0
            tail = young * float(np.interp(_oldest(delays), curve_shift.AGES, tails))
            now, unsure = (curve, 0.0) if cell.is_dated else moved.of(curve)
            if moved.is_moved and not cell.is_dated:
                recent = curve_shift.RECENT_DAYS_SEEN
                now = development_curve(*delays, cell.last_day, now, _START, recent_days=recent)
            is_new = has_shown and not cell.is_dated and 0 < _oldest(delays) < cell.last_day
            unlike = _UNLIKE * spread if is_new else 0.0
            all_doubt = float(np.sqrt(doubt**2 + tail**2 + phase**2 + unsure**2 + unlike**2))
            found[cell] = Developed(now, curve, all_doubt, moved.is_moved and not cell.is_dated, is_new)
    return {c: found[c] for c in cells}


def _settled(
    window: Cell, members: list[Cell], counts: Mapping[Cell, Delays], pooled: Delays, first: Array, leading: Cell
) -> dict[Cell, tuple[Array, float, float]]:
    """Fit the long-run curves of a window's cells.

    Each with what its own delays leave open of its shift, and how far such curves lie apart.
    """
    if window == leading:
        starts = [first]
    else:
        carried = _carried(first, leading, window)
        whole = development_curve(*pooled, window.last_day, carried, _STRETCHED)
        starts = [whole] if window.is_dated else [*_between(first, leading, window), carried]
    fitted = {}
    evidence = {c: curve_shift.evidence(counts[c], starts) for c in members if c in counts and not window.is_dated}
    spread = curve_shift.spread(list(evidence.values()))
    for cell in members:
        if window.is_dated:
            start, doubt = starts[0], 0.0
        else:
            start, doubt = curve_shift.started(starts, evidence.get(cell), spread)
        delays = counts.get(cell, NOTHING)
        if window != leading and not window.is_dated and _youth(delays, cell) > 0:
            start, unseen = curve_shift.halfway(start, starts[-1])
            doubt = float(np.hypot(doubt, unseen))
        fitted[cell] = (development_curve(*delays, cell.last_day, start, _START), doubt, spread)
    return fitted


def _between(first: Array, leading: Cell, window: Cell) -> list[Array]:
    """Give curves of another window between "as soon as ever" and "in proportion to the window"."""
    carried = _carried(first, leading, window)
    same = stretched_curve(first, 1, 1, window.last_day)
    return [part * carried + (1 - part) * same for part in (0.0, 0.25, 0.5, 0.75, 1.0)]


def _oldest(delays: Delays) -> float:
    """Give the age that nearly all lines with returns are younger than; 0 without any."""
    return float(np.quantile(delays.truncation_days, 0.98)) if delays.returns.size else 0.0


def _youth(delays: Delays, cell: Cell) -> float:
    """Say how much of a curve its own lines are too young to have shown: 1 all of its tail, 0 nothing."""
    end = cell.window + AFTER_WINDOW_DAYS / 4
    return float(np.clip((end - _oldest(delays)) / end * 2, 0.0, 1.0))


@dataclass(frozen=True)
class Drift:
    """How the delays of recent returns compare with the curve's: `factor` times as long, `z` standard errors from none.

    `is_drifting` when both are large: more than DRIFT_FACTOR either way and beyond DRIFT_Z. `returned` are the recent
    returns compared.
    """

    factor: float
    z: float
    returned: float

    @property
    def is_drifting(self) -> bool:
        """Say whether the curve no longer fits."""
        return abs(self.z) >= DRIFT_Z and bool(abs(np.log(self.factor)) >= np.log(DRIFT_FACTOR))


def delay_drift(parts: Sequence[tuple[Delays, ArrayLike]], recent_days: int = DRIFT_DAYS) -> Drift:
    """Compare the delays of the returns confirmed in the last `recent_days` with their cells' curves.

    One part a cell whose curve is settled: its counts and its curve. A return of a line aged a that was confirmed in
    those days has a delay d in (a - recent_days, a]; given that, its chance is g(d) over the curve's rise in between:
    neither the rate nor sales enter. `z` is the score of log(1 + d), its variance the larger of the curve's own and the
    one between days (lines of an order come back together, a strike is one event); `factor` is the time stretch of the
    curve that explains the recent mean of log(1 + d). Without recent returns: factor 1, z 0.

    >>> curve = assumed_curve(30, 90)
    >>> age = np.repeat(np.arange(30), 40)
    >>> slow = np.minimum(np.tile(np.arange(40), 30) * 30 // 40, age)
    >>> delay_drift([(Delays(slow, np.ones(age.size), age), curve)]).factor > 1.1
    True
    """
    factors = np.exp(np.linspace(np.log(0.5), np.log(2.0), 9))
    expected, score, variance, total = np.zeros(factors.size), 0.0, 0.0, 0.0
    by_day, ago = np.zeros(recent_days), np.arange(recent_days)
    for (delay_days, returns, truncation_days), curve in ((d, floats(c)) for d, c in parts):
        delay, age = np.asarray(delay_days, dtype=np.int64), np.asarray(truncation_days, dtype=np.int64)
        last = curve.size - 2  # the curve's last day gathers all later ones
        recent = (age >= delay) & (age - delay < recent_days) & (delay <= last)
        if not recent.any():
            continue
        # seen[a, c]: returns of lines aged a confirmed c days ago, delay a - c; fair: what the curve gives of each
        # age's
        oldest = int(age[recent].max())
        seen = np.bincount(
            age[recent] * recent_days + (age - delay)[recent], floats(returns)[recent], (oldest + 1) * recent_days
        )
        seen = seen.reshape(-1, recent_days)
        day = np.arange(oldest + 1)[:, None] - ago
        possible = (day >= 0) & (day <= last)
        day = np.clip(day, 0, last)
        of_age = seen.sum(1, keepdims=True)

        def chances(upto: Array, day: NDArray[np.int64] = day, possible: NDArray[np.bool_] = possible) -> Array:
            mass = np.where(possible, np.diff(upto, prepend=0.0)[day] + 1e-12, 0.0)
            fair: Array = mass / np.maximum(mass.sum(1, keepdims=True), 1e-300)
            return fair

        fair, h = chances(curve), np.log1p(day)
        centred = h - np.sum(fair * h, 1, keepdims=True)
        gap = (seen - of_age * fair) * centred
        score += float(gap.sum())
        variance += float(np.sum(of_age * fair * centred**2))
        by_day += gap.sum(0)
        total += float(seen.sum())
        axis = np.arange(curve.size + 1)
        smooth = np.concatenate([[0.0], curve])
        for k, factor in enumerate(factors):
            stretched = chances(np.interp(axis / factor, axis, smooth)[1:])
            expected[k] += float(np.sum((of_age * stretched - seen) * h))
    between = float(np.sum((by_day - by_day.mean()) ** 2)) * recent_days / max(recent_days - 1, 1)
    error = np.sqrt(max(variance, between))
    if error <= 0:
        return Drift(1.0, 0.0, total)
    return Drift(float(np.interp(0.0, np.maximum.accumulate(expected), factors)), score / float(error), total)


def _carried(curve: Array, leading: Cell, window: Cell) -> Array:
    """Carry the leading window's curve to another's axis.

    A source's lines without a window have it as it is, in days.
    """
    if window.window_days is None or leading.window_days is None:
        return stretched_curve(curve, 1, 1, window.last_day)
    if not window.is_dated:
        return stretched_curve(curve, leading.window, window.window, window.last_day)
    longer = max(_DATED_DAYS, window.window_days + 1)
    stretched = stretched_curve(curve, leading.window, longer, longer + AFTER_WINDOW_DAYS)
    placed = development_day(np.arange(stretched.size), longer, window.window_days)
    return np.asarray(np.interp(np.arange(window.last_day + 1), placed, stretched), dtype=np.float64)


def _pooled(counts: list[Delays]) -> Delays:
    return Delays(*(np.concatenate(parts) for parts in zip(*counts, strict=True))) if counts else NOTHING
