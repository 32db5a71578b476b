"""Which model is used, and what it is worth: rolling splits in time, the candidates, the winner, the refit on all.

Here: the order of the steps. Each split fits on lines ordered at least 35 days before those it is judged on, so that
nothing is judged with labels that were not known. Not here: fits (models/return_probability.py) and measures
(models/model_judgement.py).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

from models import model_judgement as judge
from models.return_features import FEATURES
from models.return_probability import LOGISTIC, TREES, Lines, ReturnProbability, base_model, columns_with, fit

Array = NDArray[np.float64]
GAP_DAYS = 35  # between the last line learnt from and the first one judged
SPLITS = (0.55, 0.7, 0.85, 1.0)  # of the days, from one to the next is judged
TREE_LINES = 20_000  # with fewer, trees do not order lines better than the logistic regression (statistics.md, 6)
FEWEST_SEEN = 300  # lines that a split must learn from
_SHOWN = 12  # features whose dependence is drawn
_GRID = 8


@dataclass(frozen=True)
class Split:
    """One split: the days judged, the lines learnt from and judged, and how well they were ordered and expected."""

    first_day: int
    last_day: int
    seen: int
    lines: int
    auc: float
    log_loss: float
    expected: float
    observed: float


@dataclass(frozen=True)
class Dependence:
    """One value of a feature: the mean probability were all lines so, and the lines that are near it."""

    feature: str
    value: float
    probability: float
    lines: int


@dataclass(frozen=True)
class Judgement:
    """What a model was worth on lines it did not see, over all splits; `whole` and `months` are of the last one.

    `level_sd` is the standard deviation of a month's level (logit) around what is expected, chance taken off;
    `seen_level_sd` that of the months before the last split alone. `skill` is 1 less the Brier score over that of each
    past rate. `scores` holds the log loss of each candidate.
    """

    kind: str
    rows: int
    test_rows: int
    first_day: int
    last_day: int
    auc: float
    log_loss: float
    base_auc: Mapping[str, float]
    gate: judge.Gate
    skill: Mapping[str, judge.Estimate]
    scores: Mapping[str, float]
    splits: tuple[Split, ...]
    calibration: judge.Estimate
    curve: tuple[judge.Bin, ...]
    decisions: tuple[judge.Decision, ...]
    slices: tuple[judge.Slice, ...]
    importance: Mapping[str, float]
    dependence: tuple[Dependence, ...]
    deciles: tuple[float, ...]
    level_sd: float
    seen_level_sd: float
    whole: judge.Month
    months: tuple[judge.Month, ...]

    def off_month(self) -> judge.Month | None:
        """Give the month of the last split, or its whole (month 0), of which the months before expected too much.

        The one that came out least; None where all did.
        """
        off = [m for m in (*self.months, self.whole) if m.lines and not m.is_as_expected(self.seen_level_sd)]
        return max(off, key=lambda m: abs(m.observed - m.expected)) if off else None

    def plain(self) -> dict[str, Any]:
        """Give it as numbers and texts, for JSON; what is no number is missing."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@dataclass(frozen=True)
class Training:
    """A model fitted on all lines, what its kind was worth out of time, and the features refused with the reason."""

    model: ReturnProbability
    judgement: Judgement | None
    leaks: tuple[judge.Leak, ...]


@dataclass
class _Unseen:
    """What each candidate said of the lines of all splits: places of the lines and the probabilities."""

    rows: list[NDArray[np.int64]]
    of: dict[str, list[Array]]
    bases: dict[str, list[Array]]
    models: list[dict[str, ReturnProbability]]
    seen: list[NDArray[np.bool_]]


def train(
    lines: Lines,
    bases: Mapping[str, ArrayLike],
    cuts: Mapping[str, ArrayLike] | None = None,
    rewritten: tuple[judge.Leak, ...] = (),
) -> Training:
    """Judge the candidates by rolling splits, and fit the one that did best out of time on all lines.

    `bases` are past rates of the lines, as probabilities; `cuts` are texts to judge by. Features that know what came
    are refused, and with them all that rest on the same column. Without a split that can be judged there is no
    judgement.
    """
    found = {n: lines.x[:, i] for i, n in enumerate(FEATURES)}
    leaks = (*rewritten, *judge.leaks({n: v for n, v in found.items() if np.ptp(v) > 0}, lines.share))
    refused = columns_with(tuple(leak.feature for leak in leaks))
    kinds = (LOGISTIC, TREES) if lines.share.size >= TREE_LINES else (LOGISTIC,)
    unseen = _judged(lines, bases, kinds, refused)
    if not unseen.rows:
        return Training(_final(lines, LOGISTIC, refused), None, leaks)
    rows = np.concatenate(unseen.rows)
    weeks = judge.Weeks(lines.day[rows])
    kind = _winner(lines.share[rows], {k: np.concatenate(p) for k, p in unseen.of.items()}, weeks)
    model = _final(lines, kind, refused)
    return Training(model, _judgement(lines, unseen, kind, weeks, bases, cuts or {}), leaks)


def _final(lines: Lines, kind: str, refused: tuple[str, ...]) -> ReturnProbability:
    """Fit on all lines, with the slope that held on the latest of them."""
    return fit(lines, kind, refused, fit(lines, kind, refused).slope)


def _judged(lines: Lines, bases: Mapping[str, ArrayLike], kinds: tuple[str, ...], refused: tuple[str, ...]) -> _Unseen:
    """Fit each candidate before each split and let it say what it expects of the split's lines."""
    unseen = _Unseen([], {k: [] for k in kinds}, {n: [] for n in bases}, [], [])
    edges = np.quantile(lines.day, SPLITS)
    for first, last in pairwise(edges):
        seen, later = lines.day <= first - GAP_DAYS, (lines.day > first) & (lines.day <= last)
        share = lines.share[seen]
        if seen.sum() < FEWEST_SEEN or not later.any() or not 0.005 < share.mean() < 0.995:
            continue
        models = {kind: fit(lines.of(seen), kind, refused) for kind in kinds}
        for kind, model in models.items():
            unseen.of[kind].append(scipy.special.expit(model.margin(lines.x[later])))
        for name, given in bases.items():
            rate = np.asarray(given, dtype=np.float64)
            level, slope = base_model(rate[seen], share)
            unseen.bases[name].append(scipy.special.expit(level + slope * scipy.special.logit(rate[later])))
        unseen.rows.append(np.flatnonzero(later))
        unseen.models.append(models)
        unseen.seen.append(seen)
    return unseen


def _winner(share: Array, of: Mapping[str, Array], weeks: judge.Weeks) -> str:
    """Choose trees where their loss is lower by more than one standard error of the difference, else the regression."""
    if TREES not in of:
        return LOGISTIC
    gain = judge.log_losses(share, of[LOGISTIC]) - judge.log_losses(share, of[TREES])
    better = weeks.ratio(gain, np.ones(gain.size), 0.16)
    return TREES if better.low > 0 else LOGISTIC


def _judgement(
    lines: Lines,
    unseen: _Unseen,
    kind: str,
    weeks: judge.Weeks,
    raw: Mapping[str, ArrayLike],
    cuts: Mapping[str, ArrayLike],
) -> Judgement:
    """Measure what was said of the lines of all splits against what came."""
    rows = np.concatenate(unseen.rows)
    y, p = lines.share[rows], np.concatenate(unseen.of[kind])
    bases = {n: np.concatenate(b) for n, b in unseen.bases.items()}
    own = (y - p) ** 2
    skill = {n: weeks.ratio((y - b) ** 2 - own, (y - b) ** 2) for n, b in bases.items()}
    last, said = unseen.rows[-1], unseen.of[kind][-1]
    model, seen = unseen.models[-1][kind], unseen.seen[-1]
    at_seen = scipy.special.expit(model.margin(lines.x[seen]))
    before = judge.monthly(lines.share[seen], at_seen, lines.month[seen])
    later = judge.monthly(lines.share[last], said, lines.month[last])
    importance = _importance(model, lines.of(last))
    return Judgement(
        kind=kind,
        rows=int(lines.share.size),
        test_rows=int(rows.size),
        first_day=int(lines.day.min()),
        last_day=int(lines.day.max()),
        auc=judge.area_under_curve(y, p),
        log_loss=float(judge.log_losses(y, p).mean()),
        base_auc={n: judge.area_under_curve(y, np.asarray(r)[rows]) for n, r in raw.items()},
        gate=judge.gate(y, p, bases, weeks),
        skill=skill,
        scores={k: float(judge.log_losses(y, np.concatenate(v)).mean()) for k, v in unseen.of.items()},
        splits=tuple(_split(lines, unseen, kind, i) for i in range(len(unseen.rows))),
        calibration=weeks.calibration(y, p),
        curve=judge.calibration_curve(y, p, weeks),
        decisions=judge.decision_value(y, p),
        slices=judge.slices(y, p, {n: np.asarray(v)[rows] for n, v in cuts.items()}, weeks),
        importance=importance,
        dependence=_dependence(model, lines.of(last), importance),
        deciles=tuple(map(float, np.quantile(p, np.arange(1, 10) / 10))),
        level_sd=judge.level_sd((*before, *later)),
        seen_level_sd=judge.level_sd(before),
        whole=judge.whole(lines.share[last], said),
        months=later,
    )


def _split(lines: Lines, unseen: _Unseen, kind: str, number: int) -> Split:
    rows, p = unseen.rows[number], unseen.of[kind][number]
    y, day = lines.share[rows], lines.day[rows]
    auc, loss = judge.area_under_curve(y, p), float(judge.log_losses(y, p).mean())
    seen = int(unseen.seen[number].sum())
    return Split(int(day.min()), int(day.max()), seen, int(rows.size), auc, loss, float(p.mean()), float(y.mean()))


def _importance(model: ReturnProbability, lines: Lines, most: int = 4000) -> dict[str, float]:
    """Give how much worse later lines are ordered when a feature's values change places among them."""
    some = lines.of(np.random.default_rng(1).permutation(lines.share.size)[:most])
    whole = judge.area_under_curve(some.share, model.margin(some.x))
    mixed, found = np.random.default_rng(2).permutation(some.share.size), {}
    for place, name in enumerate(FEATURES):
        x = some.x.copy()
        x[:, place] = x[mixed, place]
        is_seen = model.trees is not None or model.coefficients.get(name)
        found[name] = whole - judge.area_under_curve(some.share, model.margin(x)) if is_seen else 0.0
    return found


def _dependence(
    model: ReturnProbability, lines: Lines, importance: Mapping[str, float], most: int = 500
) -> tuple[Dependence, ...]:
    """Give the mean probability were all lines to have one value of a feature, for the features that weigh most.

    Values are quantiles of the lines; each stands for the lines nearest to it.
    """
    some, found = lines.of(np.random.default_rng(3).permutation(lines.share.size)[:most]), []
    for name in sorted(FEATURES, key=lambda f: -importance[f])[:_SHOWN]:
        place = FEATURES.index(name)
        grid = np.unique(np.quantile(lines.x[:, place], np.linspace(0.02, 0.98, _GRID)))
        near = np.abs(lines.x[:, place, None] - grid).argmin(1)
        for number, value in enumerate(grid):
            x = some.x.copy()
            x[:, place] = value
            mean = float(scipy.special.expit(model.margin(x)).mean())
            found.append(Dependence(name, float(value), mean, int((near == number).sum())))
    return tuple(found)


def is_better(share: ArrayLike, challenger: ArrayLike, incumbent: ArrayLike) -> bool:
    """Say whether a new model expects lines that neither has seen at a lower log loss than the one in use.

    >>> is_better([1, 0], [0.8, 0.2], [0.6, 0.4])
    True
    """
    return bool(judge.log_losses(share, challenger).mean() < judge.log_losses(share, incumbent).mean())
