"""Final rates: what is back, what is to come, how far along a cohort is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from models import rates as rate_models
from pipelines.metrics import losses
from pipelines.metrics.declare import BoundQuestion, Finish
from pipelines.metrics.finish import pooled
from pipelines.metrics.finish.shares import answer_frame, design_effect, groups_of, priors
from pipelines.metrics.question import time_grain
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.why import together, why

MATURE = 0.5
_RIPE, _NEW = (
    0.99,
    0.1,
)  # maturity from which a new curve matters no more; share of what is to come that it matters from
_SUMS = ("sold", "returned")
_COARSE = {"month", "quarter", "year"}


def has_curves(build: Build) -> bool:
    """Say whether the build knows how returns develop."""
    if "has_curves" not in build.cache:
        table = STAR.tables["estimate_development_curve"]
        build.cache["has_curves"] = bool(len(build.fetch(select(table.c.day).limit(1))))
    return bool(build.cache["has_curves"])


def categories(keys: pd.DataFrame, ask: BoundQuestion) -> list[str | None]:
    """Give the one category that each group is about; None where it is about several."""
    if "category" in ask.by:
        return [None if pd.isna(c) else c for c in keys["category"]]
    chosen = ask.where.get("category", ())
    chosen = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    return [chosen[0] if len(chosen) == 1 else None] * len(keys)


def _effects(build: Build, keys: pd.DataFrame, ask: BoundQuestion) -> np.ndarray[Any, Any]:
    """Give the design effect of each group: its category's, else that of all orders."""
    found, whole = priors(build).dropna(subset=["category", "deff"]), design_effect(build)
    known = dict(zip(found["category"], found["deff"], strict=True))
    return np.array([whole if c is None else max(float(known.get(c, whole)), 1.0) for c in categories(keys, ask)])


def _cohort_prior(
    build: Build, keys: pd.DataFrame, ask: BoundQuestion
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Give mean and sd of the logit per group.

    A prior speaks for a month of a category, or of all sales, and for no other slice.
    """
    found = priors(build)
    found = found[found["kind"] == "cohort"]
    chosen = ask.where.get("category", ())
    is_other = any(name != "category" for name in ask.where) or any(
        not time_grain(b) and b != "category" for b in ask.by
    )
    if is_other or ask.scope.allowed or (not isinstance(chosen, str) and len(chosen) > 1 and "category" not in ask.by):
        return None
    month = pd.to_datetime(found["month"]).dt.to_period("M")
    table = {
        (None if pd.isna(c) else c, m): (a, b)
        for c, m, a, b in zip(found["category"], month, found["a"], found["b"], strict=True)
    }
    pairs = [table.get(key, (np.nan, np.nan)) for key in zip(categories(keys, ask), _months(keys, month), strict=True)]
    mean, sd = np.array([p[0] for p in pairs], dtype=float), np.array([p[1] for p in pairs], dtype=float)
    return (mean, sd) if np.isfinite(mean).any() else None


def _months(keys: pd.DataFrame, known: "pd.Series[Any]") -> list[Any]:
    """Give the month whose prior is each group's: its own, else the last that sold."""
    within = [n for n in keys if n in ("day", "week", "month")]
    if within:
        return list(pd.to_datetime(keys[within[-1]]).dt.to_period("M"))
    return [known.max() - 1 if len(known) else None] * len(keys)


def drifts(build: Build) -> pd.DataFrame:
    """Read once a build how the delays of recent returns compare with the curves."""
    if "drifts" not in build.cache:
        build.cache["drifts"] = build.fetch(select(STAR.tables["estimate_delay_drift"]))
    found: pd.DataFrame = build.cache["drifts"]
    return found


def drifting(found: pd.DataFrame, build: Build, ask: BoundQuestion) -> pd.DataFrame:
    """Mark the answers whose returns no longer arrive as the curve says.

    `caution` "delay_drift" and the sentence in `note`.
    """
    on = drifts(build)
    on = on[on["is_drifting"].astype(bool)].sort_values("z", key=abs)
    said = {
        None if pd.isna(category) else category: (
            why("drift_later" if factor > 1 else "drift_earlier", day=pd.Timestamp(since).date(), factor=factor)
        )
        for category, factor, since in zip(on["category"], on["factor"], on["since_on"], strict=True)
    }
    own = [said.get(c, "") if not r else "" for c, r in zip(categories(found, ask), found["reason"], strict=True)]
    return found.assign(
        caution=["delay_drift" if x else "" for x in own],
        note=own,
    )


def new_curves(build: Build) -> pd.DataFrame:
    """Read once a build how much of what is to come lies under curves that are new."""
    if "new_curves" not in build.cache:
        build.cache["new_curves"] = build.fetch(select(STAR.tables["estimate_new_curve"]))
    found: pd.DataFrame = build.cache["new_curves"]
    return found


def cautioned(found: pd.DataFrame, rates: rate_models.Ultimate, build: Build, ask: BoundQuestion) -> pd.DataFrame:
    """Mark the answers whose returns come as no curve says: not as it says, or as one that is new says.

    `caution` "delay_drift" or "new_curve", and the sentence in `note`.
    """
    marked = drifting(found, build, ask)
    on = new_curves(build)
    chosen = ask.where.get("source", ())
    sources = [chosen] if isinstance(chosen, str) else list(chosen)
    on = on[(on["share"] >= _NEW) & (on["source"].isin(sources) | (not sources))].sort_values("share")
    if ask.as_of is not None:
        on = on[pd.to_datetime(on["since_on"]) <= pd.Timestamp(ask.as_of).tz_localize(None)]
    said = {
        None if pd.isna(category) else category: why("new_curve", share=share, day=pd.Timestamp(since).date())
        for category, share, since in zip(on["category"], on["share"], on["since_on"], strict=True)
    }
    own = [
        said.get(c, "") if not reason and ripe < _RIPE else ""
        for c, reason, ripe in zip(categories(marked, ask), marked["reason"], rates.maturity, strict=True)
    ]
    return marked.assign(
        note=[together(note, s) for note, s in zip(marked["note"], own, strict=True)],
        caution=[losses.joined_words(c, "new_curve" if s else "") for c, s in zip(marked["caution"], own, strict=True)],
    )


def final(
    frame: pd.DataFrame, ask: BoundQuestion, build: Build
) -> tuple[pd.DataFrame, rate_models.Ultimate, pd.DataFrame]:
    """Project the final rates of the groups: (keys, rates, sums of sold and returned).

    Months, longer spans and all days are the sums of their categories, each with its own rate: what is slow to come
    back is often what comes back most. A finer cut has too few of each.
    """
    number, keys = groups_of(frame, ask.by)
    sums = sums_of(frame, number, len(keys))
    if not _is_summed(frame, ask):
        return keys, _projected(frame, number, keys, ask, build), sums
    own = replace(ask, by=(*ask.by, "category"))
    of_part, parts = groups_of(frame.assign(category=frame["family"]), own.by)
    rates = _projected(frame, of_part, parts, own, build)
    group = np.zeros(len(parts), dtype=np.int64)
    group[of_part] = number
    of = sums_of(frame, of_part, len(parts))
    return keys, rate_models.summed_rates(group, rates, of["sold"].clip(lower=0), of["returned"], len(keys)), sums


def sums_of(frame: pd.DataFrame, number: np.ndarray[Any, Any], groups: int) -> pd.DataFrame:
    """Sum units sold and returned by group."""
    return pd.DataFrame({n: np.bincount(number, frame[n].fillna(0).to_numpy(float), groups) for n in _SUMS})


def _is_summed(frame: pd.DataFrame, ask: BoundQuestion) -> bool:
    """Say whether categories are projected apart and summed: where each has a prior of its own."""
    return "family" in frame and not ask.where and not ask.scope.allowed and set(ask.by) <= _COARSE


def _projected(
    frame: pd.DataFrame, number: np.ndarray[Any, Any], keys: pd.DataFrame, ask: BoundQuestion, build: Build
) -> rate_models.Ultimate:
    """Project groups, each as one rate."""
    return rate_models.ultimate_rates(
        number,
        frame["share"].fillna(0).to_numpy(float),
        np.maximum(frame["sold"].fillna(0).to_numpy(float), 0),
        frame["returned"].fillna(0).to_numpy(float),
        groups=len(keys),
        deff=_effects(build, keys, ask),
        prior=_cohort_prior(build, keys, ask),
        doubt=frame["doubt"].fillna(0).to_numpy(float) if "doubt" in frame else 0.0,
        level=ask.level,
    )


def young(build: Build, rates: rate_models.Ultimate, sums: pd.DataFrame, limit: float = MATURE) -> np.ndarray[Any, Any]:
    """Say for each row why its rate is not known yet; empty where it is."""
    reasons = []
    for maturity, sold in zip(rates.maturity, sums["sold"], strict=True):
        if sold <= 0:
            reasons.append(why("nothing_sold"))
        elif not has_curves(build):
            reasons.append(why("no_curve"))
        elif maturity < limit:
            reasons.append(why("young", share=maturity, limit=limit))
        else:
            reasons.append("")
    return np.array(reasons, dtype=object)


def ultimate(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the expected final share with its interval, never under what is back; greyed under half maturity."""
    keys, rates, sums = final(frame, ask, build)
    found = answer_frame(keys, rates.rate, rates.share_low, rates.share_high, sums["sold"], young(build, rates, sums))
    return cautioned(found, rates, build, ask)


def around(rates: rate_models.Ultimate) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Give the bounds of the rate behind the share, widened to hold the share: what a comparison of shares rests on."""
    return np.minimum(rates.low, rates.rate), np.maximum(rates.high, rates.rate)


def behind(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the rate behind the final share, with its own interval; greyed under half maturity."""
    keys, rates, sums = final(frame, ask, build)
    value = np.clip(rates.rate, rates.low, rates.high)
    found = answer_frame(keys, value, rates.low, rates.high, sums["sold"], young(build, rates, sums))
    return cautioned(found, rates, build, ask)


def maturity(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the share of the expected returns that is already back."""
    keys, rates, sums = final(frame, ask, build)
    return answer_frame(keys, rates.maturity, n=sums["sold"], reason=young(build, rates, sums, 0.0))


def to_come(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the units still expected back."""
    keys, rates, sums = final(frame, ask, build)
    reason = young(build, rates, sums, 0.05)
    found = answer_frame(keys, rates.to_come, rates.to_come_low, rates.to_come_high, sums["sold"], reason)
    return cautioned(found, rates, build, ask)


def to_come_amount(of_sold: str, of_returned: str) -> Finish:
    """Give the part of an amount still expected back: units to come times what one of them is worth.

    Which of the kept units come is weighed by the usual rate of their category, for dear categories are often those
    that come back most; so a month is worth about the same whole or by category.
    """

    def finish(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        keys, rates, sums = final(frame, ask, build)
        number, _ = groups_of(frame, ask.by)
        kept = {
            n: (frame[s].fillna(0) - frame[r].fillna(0)).clip(lower=0).to_numpy(float)
            for n, s, r in (("units", "sold", "returned"), ("amount", of_sold, of_returned))
        }
        g = frame["share"].fillna(1).to_numpy(float)
        a, b = pooled.category_prior(build, frame["family"], "style")
        with np.errstate(invalid="ignore", divide="ignore"):
            usual = np.where(np.isfinite(a), a / (a + b), np.nan_to_num(rates.rate)[number])
            chance = usual * (1 - g) / np.maximum(1 - usual * g, 1e-12)
            coming = {n: np.bincount(number, x * chance, len(keys)) for n, x in kept.items()}
            per_unit = np.where(coming["units"] > 0, coming["amount"] / coming["units"], 0.0)
        amount = rates.to_come * per_unit
        low, high = rates.to_come_low * per_unit, rates.to_come_high * per_unit
        found = answer_frame(keys, amount, low, high, sums["sold"], young(build, rates, sums, 0.05))
        return cautioned(found, rates, build, ask)

    return finish


def window(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the share returned within a number of days, from units of mixed ages (Kaplan-Meier)."""
    days = int(ask.parameter or 30)
    number, keys = groups_of(frame, ask.by)
    counts = np.zeros((2, len(keys), days + 2))
    day = frame["clock_day"].fillna(-1).to_numpy(float)
    came = frame["returned"].fillna(0).to_numpy(float)
    sold = frame["sold"].fillna(0).to_numpy(float)
    inside = day >= 0
    at = np.minimum(day[inside], days + 1).astype(int)
    np.add.at(counts[0], (number[inside], at), came[inside])
    np.add.at(counts[1], (number[inside], at), sold[inside])
    kept = np.maximum(counts[1], 0)
    value, low, high = rate_models.window_rate(counts[0], kept, days, ask.level, design_effect(build))
    n = np.bincount(number, np.where(inside, sold + came, 0), len(keys))
    oldest = np.full(len(keys), -1.0)
    np.maximum.at(oldest, number[inside], day[inside])
    old, every = counts[:, :, days:].sum((0, 2)), kept.sum(-1) + counts[0, :, days:].sum(-1)
    reasons = [
        "" if known else _too_young(days, age, some / of if of > 0 else 0.0)
        for known, age, some, of in zip(np.isfinite(value), oldest, old, every, strict=True)
    ]
    return answer_frame(keys, value, low, high, n, np.array(reasons, dtype=object))


def _too_young(days: int, oldest: float, old: float) -> str:
    if oldest < 0:
        return why("not_delivered")
    if oldest < days:
        return why("not_old", days=days, age=oldest)
    return why("few_old", days=days, share=old, limit=rate_models.OLD_ENOUGH)
