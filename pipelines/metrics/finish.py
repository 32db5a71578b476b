"""From statistics to answers: value, interval and the reason when there is none. Pure arithmetic comes from `models/`.

Each function takes the frame of a metric's statistics (one row a group and detail), the question and the build, and
gives one row a group: the group's columns, value, low, high, n and, where it must, a reason why no number is shown.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from models import products as product_models
from models import promises as promise_models
from models import rates as rate_models
from pipelines.metrics import pooled
from pipelines.metrics.base import ALIASES, Ask, Finish, chosen_sums, statement, time_grain
from pipelines.warehouse.engine import Build
from pipelines.warehouse.schema import STAR

MATURE = 0.5
NO_CATEGORY = "no rate of its category to compare with yet"
NO_BUYERS = "no expected rate for these sales"
PARTIAL = 0.01  # share of legs without an answer above which a total of emissions is greyed


def groups_of(frame: pd.DataFrame, by: tuple[str, ...]) -> tuple[np.ndarray[Any, Any], pd.DataFrame]:
    """Give each row its group's number, from 0 in order of the keys, and the keys of each group.

    No `by` is one group.
    """
    if not by:
        return np.zeros(len(frame), dtype=np.int64), pd.DataFrame(index=[0])
    grouped = frame.groupby(list(by), dropna=False, sort=True)
    number = grouped.ngroup().to_numpy()
    keys = frame[list(by)].assign(_group=number).drop_duplicates("_group").sort_values("_group").drop(columns="_group")
    return number, keys.reset_index(drop=True)


def summed(frame: pd.DataFrame, by: tuple[str, ...], columns: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sum columns per group: (keys, sums); a missing sum is 0."""
    number, keys = groups_of(frame, by)
    values = {c: np.bincount(number, frame[c].fillna(0).to_numpy(float), len(keys)) for c in columns}
    return keys, pd.DataFrame(values)


def answer_frame(
    keys: pd.DataFrame, value: Any, low: Any = np.nan, high: Any = np.nan, n: Any = np.nan, reason: Any = ""
) -> pd.DataFrame:
    """Lay value, interval, count and the reason why there is no number beside the keys.

    A `caution` is a code of what weakens the number, `note` says it or another thing in words; `stands` shows the value
    in spite of a reason, `coverage` is the share of its rows that it rests on.
    """
    return keys.assign(
        value=value, low=low, high=high, n=n, reason=reason, caution="", note="", coverage=1.0, stands=False
    )


def total(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give the only measure as it is; n is it too when it counts."""
    name = ask.metric.measures[0].name
    columns = [m.name for m in ask.metric.measures]
    keys, sums = summed(frame, ask.by, columns)
    counts = ask.metric.unit in ("units", "count")
    return answer_frame(keys, sums[name], n=sums["n"] if "n" in sums else sums[name] if counts else np.nan)


def ratio_of(
    numerator: str,
    denominator: str,
    *,
    interval: bool = False,
    clustered: bool = True,
    per: float = 1.0,
    counted: bool = True,
    nothing: str,
) -> Finish:
    """Divide two measures; `interval` adds Wilson's, on orders' design effect when `clustered`.

    n is the denominator when it is `counted`, or a measure named n.
    """

    def finish(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
        keys, sums = summed(
            frame, ask.by, list(dict.fromkeys([numerator, denominator, *(["n"] if "n" in frame else [])]))
        )
        top, bottom = sums[numerator].to_numpy(), sums[denominator].to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(bottom != 0, per * top / bottom, np.nan)
        low = high = np.full(len(keys), np.nan)
        if interval:
            effect = design_effect(build) if clustered else 1.0
            low, high = rate_models.wilson(
                np.clip(top, 0, np.maximum(bottom, 0)), np.maximum(bottom, 0), ask.level, effect
            )
            low, high = np.minimum(low, value), np.maximum(high, value)
        n = sums.get("n", bottom if counted else np.nan)
        return answer_frame(keys, value, low, high, n, np.where(bottom != 0, "", nothing))

    return finish


def flagged(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give the share of lines marked as returned.

    Where whole orders are marked it is an upper bound, and one line of each the lower.
    """
    keys, sums = summed(frame, ask.by, ["flagged", "sold", "of_orders", "orders"])
    marked, sold, by_order = (sums[c].to_numpy() for c in ("flagged", "sold", "of_orders"))
    least = marked - by_order + sums["orders"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(sold > 0, marked / sold, np.nan)
    effect = design_effect(build)
    low, high = (
        rate_models.wilson(least, sold, ask.level, effect)[0],
        rate_models.wilson(marked, sold, ask.level, effect)[1],
    )
    is_bound = (by_order > sums["orders"].to_numpy()) & (sold > 0)
    said = [
        f"an upper bound: {int(o):,} of {int(m):,} marked lines are marked with their whole order" if b else ""
        for m, o, b in zip(marked, by_order, is_bound, strict=True)
    ]
    found = answer_frame(keys, value, low, high, sold, np.where(sold > 0, "", "nothing sold in this selection"))
    return found.assign(note=said, caution=np.where(is_bound, "upper_bound", ""))


def ranged(value: str, low: str, high: str) -> Finish:
    """Give one measure as it is, between two others."""

    def finish(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
        keys, sums = summed(frame, ask.by, [value, low, high])
        return answer_frame(keys, sums[value], sums[low], sums[high])

    return finish


def covered(finish: Finish) -> Finish:
    """Say of how many legs the emissions are not known; a missing factor is a missing answer, never zero.

    The value is of the legs that are covered. Beyond `PARTIAL` of them missing it is greyed, and stands for what it is.
    While a factor is used that is far from those that ship, it carries the caution "factor".
    """

    def covering(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
        found = finish(frame, ask, build)
        _, sums = summed(frame, ask.by, ["legs", "unknown"])
        what = {"legs": "legs", "lot_carbon": "returned lots with all their legs"}[
            chosen_sums(ask, "legs")[0].base.name
        ]
        legs, unknown = sums["legs"].to_numpy(), sums["unknown"].to_numpy()
        withheld = (unknown > PARTIAL * legs) & (found["reason"] == "").to_numpy()
        said = [
            f"without {int(u):,} of {int(n):,} {what}: no emission factor" if u else ""
            for n, u in zip(legs, unknown, strict=True)
        ]
        only = [
            f"only {int(n - u):,} of {int(n):,} {what} have an emission factor: the value is of these alone"
            for n, u in zip(legs, unknown, strict=True)
        ]
        answered = found.assign(
            reason=np.where(withheld, only, found["reason"]),
            note=np.where(withheld, "", said),
            stands=withheld,
            coverage=np.where(legs > 0, 1 - unknown / np.maximum(legs, 1), 1.0),
        )
        if odd := _implausible(build):
            far = f"factors far from those that ship for the same vehicle: {', '.join(odd)}"
            answered["caution"] = answered["caution"].mask(answered["value"].notna(), "factor")
            answered["note"] = [f"{note}; {far}" if note else far for note in answered["note"]]
        return answered

    return covering


def _implausible(build: Build) -> list[str]:
    """List the factors this build uses that are far from those that ship, once a build."""
    if "implausible" not in build.memory:
        listed = json.loads(build.info.get("implausible_factors", "[]"))
        column = STAR.tables["factor_set"].c.factor_id
        used = build.fetch(select(column).where(column.in_(listed)))["factor_id"].tolist() if listed else []
        build.memory["implausible"] = sorted(set(used))
    found: list[str] = build.memory["implausible"]
    return found


def share_of_whole(name: str, of: tuple[str, ...] | None, nothing: str, *, interval: bool = True) -> Finish:
    """Give each group's part of the whole: of the groups that differ only in `of` (in everything but time when None).

    What is summed counts units or lines where an `interval` is given.
    """

    def finish(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
        keys, sums = summed(frame, ask.by, [name])
        split = [b for b in ask.by if (not time_grain(b) if of is None else ALIASES.get(b, b) in of)]
        fixed = [b for b in ask.by if b not in split]
        whole = (
            keys.assign(x=sums[name]).groupby(fixed, dropna=False)["x"].transform("sum") if fixed else sums[name].sum()
        )
        if not split:
            wanted = "a dimension" if of is None else " or ".join(of)
            return answer_frame(keys, np.nan, n=sums[name], reason=f"a share of the whole: cut it by {wanted}")
        whole_array = np.broadcast_to(np.asarray(whole, dtype=float), (len(keys),))
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(whole_array > 0, sums[name] / whole_array, np.nan)
        if not interval:
            return answer_frame(keys, value, n=whole_array, reason=np.where(whole_array > 0, "", nothing))
        low, high = rate_models.wilson(np.clip(sums[name], 0, None), whole_array, ask.level, design_effect(build))
        return answer_frame(keys, value, low, high, whole_array, np.where(whole_array > 0, "", nothing))

    return finish


def balance(small: str, large: str, nothing: str) -> Finish:
    """Give (small - large) / (small + large), with Wilson's interval of the share moved to -1..1."""

    def finish(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
        keys, sums = summed(frame, ask.by, [small, large])
        a, n = sums[small].to_numpy(), (sums[small] + sums[large]).to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(n > 0, 2 * a / n - 1, np.nan)
        low, high = rate_models.wilson(a, n, ask.level, design_effect(build))
        return answer_frame(keys, value, 2 * low - 1, 2 * high - 1, n, np.where(n > 0, "", nothing))

    return finish


# -- priors of the build -----------------------------------------------------------------------------------------------


def priors(build: Build) -> pd.DataFrame:
    """Read the build's priors once."""
    if "priors" not in build.memory:
        build.memory["priors"] = build.fetch(select(STAR.tables["estimate_rate_prior"]))
    found: pd.DataFrame = build.memory["priors"]
    return found


def design_effect(build: Build) -> float:
    """Give the build's design effect of orders, all categories together; 1 when none was fitted."""
    found = priors(build)
    fitted = found.loc[found["category"].isna(), "deff"].dropna()
    return float(max(fitted.iloc[0], 1.0)) if len(fitted) else 1.0


def has_curves(build: Build) -> bool:
    """Say whether the build knows how returns develop."""
    if "has_curves" not in build.memory:
        table = STAR.tables["estimate_development_curve"]
        build.memory["has_curves"] = bool(len(build.fetch(select(table.c.day).limit(1))))
    return bool(build.memory["has_curves"])


def _categories(keys: pd.DataFrame, ask: Ask) -> list[str | None]:
    """Give the one category that each group is about; None where it is about several."""
    if "category" in ask.by:
        return [None if pd.isna(c) else c for c in keys["category"]]
    chosen = ask.where.get("category", ())
    chosen = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    return [chosen[0] if len(chosen) == 1 else None] * len(keys)


def _effects(build: Build, keys: pd.DataFrame, ask: Ask) -> np.ndarray[Any, Any]:
    """Give the design effect of each group: its category's, else that of all orders."""
    found, whole = priors(build).dropna(subset=["category", "deff"]), design_effect(build)
    known = dict(zip(found["category"], found["deff"], strict=True))
    return np.array([whole if c is None else max(float(known.get(c, whole)), 1.0) for c in _categories(keys, ask)])


def _cohort_prior(
    build: Build, keys: pd.DataFrame, ask: Ask
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Give mean and sd of the logit per group.

    A prior speaks for a category, or for all sales, and for no other slice.
    """
    found = priors(build)
    found = found[found["kind"] == "cohort"]
    chosen = ask.where.get("category", ())
    is_other = any(name != "category" for name in ask.where) or any(
        not time_grain(b) and b != "category" for b in ask.by
    )
    if is_other or ask.scope.allowed or (not isinstance(chosen, str) and len(chosen) > 1 and "category" not in ask.by):
        return None
    table = {
        (None if pd.isna(c) else c): (a, b) for c, a, b in zip(found["category"], found["a"], found["b"], strict=True)
    }
    pairs = [table.get(c, (np.nan, np.nan)) for c in _categories(keys, ask)]
    mean, sd = np.array([p[0] for p in pairs], dtype=float), np.array([p[1] for p in pairs], dtype=float)
    return (mean, sd) if np.isfinite(mean).any() else None


def drifts(build: Build) -> pd.DataFrame:
    """Read once a build how the delays of recent returns compare with the curves."""
    if "drifts" not in build.memory:
        build.memory["drifts"] = build.fetch(select(STAR.tables["estimate_delay_drift"]))
    found: pd.DataFrame = build.memory["drifts"]
    return found


def _drifting(found: pd.DataFrame, build: Build, ask: Ask) -> pd.DataFrame:
    """Mark the answers whose returns no longer arrive as the curve says.

    `caution` "delay_drift" and the sentence in `note`.
    """
    on = drifts(build)
    on = on[on["is_drifting"].astype(bool)].sort_values("z", key=abs)
    said = {
        None if pd.isna(category) else category: (
            f"returns arrive {'later' if factor > 1 else 'earlier'} than the curve says since"
            f" {pd.Timestamp(since).date()} ({factor:.2f} times the delay): the interval may not cover"
        )
        for category, factor, since in zip(on["category"], on["factor"], on["since_on"], strict=True)
    }
    own = [said.get(c, "") if not r else "" for c, r in zip(_categories(found, ask), found["reason"], strict=True)]
    return found.assign(
        caution=["delay_drift" if x else "" for x in own],
        note=own,
    )


# -- final rates -------------------------------------------------------------------------------------------------------


def final(frame: pd.DataFrame, ask: Ask, build: Build) -> tuple[pd.DataFrame, rate_models.Ultimate, pd.DataFrame]:
    """Project the final rates of the groups: (keys, rates, sums of sold and returned)."""
    number, keys = groups_of(frame, ask.by)
    sold = frame["sold"].fillna(0).to_numpy(float)
    came = frame["returned"].fillna(0).to_numpy(float)
    share = frame["share"].fillna(0).to_numpy(float)
    rates = rate_models.ultimate_rates(
        number,
        share,
        np.maximum(sold, 0),
        came,
        groups=len(keys),
        deff=_effects(build, keys, ask),
        prior=_cohort_prior(build, keys, ask),
        level=ask.level,
    )
    sums = pd.DataFrame(
        {"sold": np.bincount(number, sold, len(keys)), "returned": np.bincount(number, came, len(keys))}
    )
    return keys, rates, sums


def _young(
    build: Build, rates: rate_models.Ultimate, sums: pd.DataFrame, limit: float = MATURE
) -> np.ndarray[Any, Any]:
    reasons = []
    for maturity, sold in zip(rates.maturity, sums["sold"], strict=True):
        if sold <= 0:
            reasons.append("nothing sold in this selection")
        elif not has_curves(build):
            reasons.append("no development curve yet: too few returns to know how they arrive")
        elif maturity < limit:
            reasons.append(f"too young: {maturity:.0%} of the expected returns have come, {limit:.0%} are needed")
        else:
            reasons.append("")
    return np.array(reasons, dtype=object)


def ultimate(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give the expected final rate; greyed under half maturity."""
    keys, rates, sums = final(frame, ask, build)
    found = answer_frame(keys, rates.rate, rates.low, rates.high, sums["sold"], _young(build, rates, sums))
    return _drifting(found, build, ask)


def maturity(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give the share of the expected returns that is already back."""
    keys, rates, sums = final(frame, ask, build)
    return answer_frame(keys, rates.maturity, n=sums["sold"], reason=_young(build, rates, sums, 0.0))


def to_come(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give the units still expected back."""
    keys, rates, sums = final(frame, ask, build)
    reason = _young(build, rates, sums, 0.05)
    found = answer_frame(keys, rates.to_come, rates.to_come_low, rates.to_come_high, sums["sold"], reason)
    return _drifting(found, build, ask)


def to_come_amount(of_sold: str, of_returned: str) -> Finish:
    """Give the part of an amount still expected back: units to come times what one of them is worth.

    Which of the kept units come is weighed by the usual rate of their category, for dear categories are often those
    that come back most; so a month is worth about the same whole or by category.
    """

    def finish(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
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
        found = answer_frame(keys, amount, low, high, sums["sold"], _young(build, rates, sums, 0.05))
        return _drifting(found, build, ask)

    return finish


def window(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
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
        return "nothing sold in this selection has been delivered yet"
    if oldest < days:
        return f"nothing sold in this selection is {days} days old: the oldest sale is {oldest:.0f} days old"
    return f"too few of these sales are {days} days old: {old:.1%}, {rate_models.OLD_ENOUGH:.0%} are needed"


# -- products ----------------------------------------------------------------------------------------------------------


def exposed(frame: pd.DataFrame, ask: Ask) -> pd.DataFrame:
    """Give one row a group and category.

    Sold, returned and exposure (units weighed by the share of their returns expected by now).
    """
    by = (*ask.by, *(["family"] if "family" in frame else []))
    weighed = frame.assign(exposure=frame["sold"].fillna(0) * frame["share"].fillna(1))
    keys, sums = summed(weighed, by, ["sold", "returned", "exposure", *(c for c in _OF_BUYERS if c in frame)])
    sums["exposure"] = np.maximum(sums["exposure"], sums["returned"])
    return pd.concat([keys, sums], axis=1)


_OF_BUYERS = ("expected", "scored")
_OF_PRODUCTS = frozenset({"product_id", "style_id", "category", "brand", "supplier", "season"})
_OF_LEVELS = frozenset({"size", "colour"})


def has_products(by: tuple[str, ...]) -> bool:
    """Say whether each group is of one product or style."""
    return any(ALIASES.get(b, b) in ("product_id", "style_id") for b in by)


def one_family(rows: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Add up the rows of a group that changed its category, under the category that sold most."""
    best = rows.sort_values(["sold", "family"], ascending=[False, True]).reset_index(drop=True)
    number, keys = groups_of(best, by)
    columns = [c for c in ("sold", "returned", "exposure", *_OF_BUYERS) if c in rows]
    _, sums = summed(best, by, columns)
    first = best.assign(_group=number).drop_duplicates("_group").sort_values("_group")
    return pd.concat([keys, sums], axis=1).assign(family=first["family"].to_numpy())


def usual_rates(build: Build, rows: pd.DataFrame, ask: Ask) -> np.ndarray[Any, Any]:
    """Give the usual rate of each row's category in the selection; the build's where nothing but products is selected.

    A product is compared with its category in the same markets, channels and days: filters, scope, period and time
    groups move the prior's mean, its spread stays the build's. Filters on what a product is (style, brand, supplier,
    season) do not, for then the selection is the product itself; nor do size and colour where rows are cut by them, for
    their levels say what they add. Only rows inside the scope are read. The selection's rate is pulled towards the
    build's with the prior itself, as a product's is: few units change little.
    """
    kind = pooled.kind_of(ask.by)
    a, b = pooled.category_prior(build, rows["family"], kind)
    usual = np.asarray(a / (a + b))
    own = _OF_PRODUCTS | (_OF_LEVELS if pooled.cut_of(ask.by) in ("product", "size", "colour") else frozenset())
    where = {k: v for k, v in ask.where.items() if k == "category" or ALIASES.get(k, k) not in own}
    others = tuple(b for b in ask.by if ALIASES.get(b, b) not in own) if has_products(ask.by) else ()
    chosen = [k for k in (*where, *ask.scope.allowed) if ALIASES.get(k, k) not in own]
    if not chosen and not others and ask.since is None and ask.until is None:
        return usual
    question = replace(ask, by=("category", *others), where=where)
    key = (question.by, repr(where), ask.since, ask.until, ask.as_of, repr(ask.scope))
    if build.memory.get("usual", (None,))[0] != key:
        build.memory["usual"] = (
            key,
            exposed(build.fetch(statement(question)), replace(question, by=("category", *others))),
        )
    found = (
        build.memory["usual"][1]
        .drop(columns="family", errors="ignore")
        .groupby(["category", *others], dropna=False, as_index=False)[["returned", "exposure"]]
        .sum()
    )
    wanted = rows[["family", *others]].rename(columns={"family": "category"})
    sums = wanted.merge(found, how="left", on=["category", *others])[["returned", "exposure"]].fillna(0.0)
    effect = pooled.week_effect(build, kind)
    r, n = (sums[c].to_numpy(float) / effect for c in ("returned", "exposure"))
    return np.asarray((r + a) / (n + a + b))


def product(of: Callable[..., Any]) -> Finish:
    """Pull each group's rate towards its likes.

    `of` gives (value, low, high) from the build, the rows and the question.
    """

    def finish(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
        rows = exposed(frame, ask)
        if has_products(ask.by):
            rows = one_family(rows, ask.by)
        value, low, high = of(build, rows, ask)
        rows = rows.assign(value=value, low=low, high=high)
        best = rows.sort_values("sold", ascending=False)
        number, keys = groups_of(best, ask.by)
        first = best.assign(_group=number).drop_duplicates("_group").sort_values("_group").reset_index(drop=True)
        shared = np.bincount(number, minlength=len(keys)) > 1
        missing = np.where(np.isfinite(first["value"]), "", NO_CATEGORY)
        reason = np.where(shared, "several categories: a product's own rate needs one product or style a row", missing)
        return answer_frame(keys, first["value"], first["low"], first["high"], first["sold"], reason)

    return finish


def shrunk(build: Build, rows: pd.DataFrame, ask: Ask) -> Any:
    """Give the adjusted rate and its interval."""
    return pooled.rates(build, rows, ask.by, ask.level, usual_rates(build, rows, ask))


def above(build: Build, rows: pd.DataFrame, ask: Ask) -> Any:
    """Give the probability that the rate is above the category's in the selection."""
    kind, nothing = pooled.kind_of(ask.by), np.full(len(rows), np.nan)
    usual = usual_rates(build, rows, ask)
    a, b = pooled.category_prior(build, rows["family"], kind, usual)
    effect = pooled.week_effect(build, kind)
    r, n = rows["returned"].to_numpy(float) / effect, rows["exposure"].to_numpy(float) / effect
    return product_models.probability_above(r, n, a, b, usual), nothing, nothing


def of_buyers(rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Give the rate that usual products would see from the buyers of each row; NaN without a model."""
    scored = rows["scored"].to_numpy(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scored > 0, rows["expected"].to_numpy(float) / scored, np.nan)


_SCORED = 0.8  # share of the units sold that something must be expected of, for a final rate to be compared with it


def expectation(build: Build, ask: Ask) -> tuple[float, str]:
    """Say how sure the expected level of a month is (standard deviation of its logit).

    And why nothing is expected where nothing is.
    """
    if "expectation" not in build.memory:
        c = STAR.tables["model_version"].c
        known = build.fetch(
            select(c.parameters, c.is_used).where(c.model == "return_probability").order_by(c.fitted_at)
        )
        latest = {
            (m := json.loads(p))["source"]: (bool(used), m)
            for p, used in zip(known["parameters"], known["is_used"], strict=True)
        }
        build.memory["expectation"] = latest
    chosen = ask.where.get("source", ())
    sources = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    models = [m for s, m in build.memory["expectation"].items() if not sources or s in sources]
    used = [m["level_sd"] for is_used, m in models if is_used]
    if used:
        return max(used), "nothing was known yet when these were ordered"
    why = [m["why_not"] for _, m in models if m["why_not"]]
    return float("nan"), f"the model that expects returns is not used: {why[0]}" if why else NO_BUYERS


def expected(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give the mean probability to come back, between the bounds that what comes of these sales lies in.

    Their level and chance.
    """
    keys, sums = summed(frame, ask.by, ["expected", "scored"])
    level_sd, nothing = expectation(build, ask)
    n = sums["scored"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(n > 0, sums["expected"] / n, np.nan)
        chance = np.sqrt(rate * (1 - rate) * design_effect(build) / n)
    half = NormalDist().inv_cdf(0.5 + ask.level / 2) * np.hypot(chance, level_sd * rate * (1 - rate))
    return answer_frame(
        keys, rate, np.maximum(rate - half, 0), np.minimum(rate + half, 1), n, np.where(n > 0, "", nothing)
    )


def own_part(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give the final rate less the rate expected of the buyers.

    Of one product or style a row it is the adjusted rate's. The interval holds the doubt of both: of the final rate,
    and of the level that was expected.
    """
    level_sd, nothing = expectation(build, ask)

    def less(rate: Any, low: Any, high: Any, base: Any) -> tuple[Any, Any, Any]:
        doubt = NormalDist().inv_cdf(0.5 + ask.level / 2) * level_sd * base * (1 - base)
        return rate - base, rate - base - np.hypot(rate - low, doubt), rate - base + np.hypot(high - rate, doubt)

    def missing(base: Any, scored: Any, sold: Any, otherwise: Any) -> Any:
        part = np.asarray(scored) < _SCORED * np.asarray(sold)
        some = "too little was known when most of these were ordered"
        return np.where(~np.isfinite(base), nothing, np.where(part, some, otherwise))

    if has_products(ask.by):
        rows = one_family(exposed(frame, ask), ask.by)
        rate, low, high = shrunk(build, rows, ask)
        base = of_buyers(rows)
        reason = missing(base, rows["scored"], rows["sold"], np.where(np.isfinite(rate), "", NO_CATEGORY))
        value = less(rate, low, high, base)
        return _drifting(answer_frame(rows[list(ask.by)], *value, rows["sold"], reason), build, ask)
    keys, rates, sums = final(frame, ask, build)
    number, _ = groups_of(frame, ask.by)
    of = {n: np.bincount(number, frame[n].fillna(0).to_numpy(float), len(keys)) for n in ("expected", "scored")}
    with np.errstate(invalid="ignore", divide="ignore"):
        base = np.where(of["scored"] > 0, of["expected"] / of["scored"], np.nan)
    reason = missing(base, of["scored"], sums["sold"], _young(build, rates, sums))
    value = less(rates.rate, rates.low, rates.high, base)
    return _drifting(answer_frame(keys, *value, sums["sold"], reason), build, ask)


# -- promises ----------------------------------------------------------------------------------------------------------

STATES = ("kept", "broken", "undetermined", "expired")


def by_state(frame: pd.DataFrame, ask: Ask) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give returns under promise per group, one column a state."""
    wide = frame.assign(**{s: np.where(frame["state"] == s, frame["returns"].fillna(0), 0.0) for s in STATES})
    return summed(wide, ask.by, list(STATES))


def kept(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give kept / (kept + broken), with Wilson's interval."""
    keys, sums = by_state(frame, ask)
    n = (sums["kept"] + sums["broken"]).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(n > 0, sums["kept"] / n, np.nan)
    low, high = rate_models.wilson(sums["kept"], n, ask.level)
    found = answer_frame(keys, value, low, high, n, np.where(n > 0, "", "no promise of this selection is due yet"))
    return found.assign(note=_from_return(frame[frame["state"].isin(["kept", "broken"])], frame, ask, "returns"))


def _from_return(rows: pd.DataFrame, frame: pd.DataFrame, ask: Ask, name: str) -> list[str]:
    """Say of each group how much of it counts from the return, for want of a request."""
    if "is_from_return" not in frame:
        return [""] * len(groups_of(frame, ask.by)[1])
    number, keys = groups_of(frame, ask.by)
    used = frame.index.isin(rows.index)
    weight = frame[name].fillna(0).to_numpy(float) * used
    whole = np.bincount(number, weight, len(keys))
    part = np.bincount(number, weight * frame["is_from_return"].fillna(0).to_numpy(float), len(keys))
    return [
        f"{p / w:.1%} count from the return date: no request is known" if p > 0 else ""
        for p, w in zip(part, whole, strict=True)
    ]


def in_state(state: str) -> Finish:
    """Count the returns under promise in one state; n is all under promise."""

    def finish(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
        keys, sums = by_state(frame, ask)
        return answer_frame(keys, sums[state], n=sums.sum(axis=1))

    return finish


def _table_of_waits(
    frame: pd.DataFrame, ask: Ask
) -> tuple[pd.DataFrame, np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    number, keys = groups_of(frame, ask.by)
    cause = frame["cause"].fillna(-1).to_numpy(int)
    used = cause >= 0
    hours, bins = np.unique(frame["hours"].fillna(0).to_numpy(float)[used], return_inverse=True)
    if not len(hours):
        hours = np.zeros(1)
    table = promise_models.life_table(
        number[used], bins, cause[used], frame["waits"].to_numpy(float)[used], len(keys), len(hours)
    )
    return keys, hours / 24, table, number


def wait_quantile(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give a quantile of the days waited by those that complete (Aalen-Johansen), with its interval."""
    return _waited(
        frame,
        ask,
        lambda days, table: promise_models.completion_quantiles(days, table, [ask.parameter or 0.9], ask.level)[
            :, 0, :
        ],
    )


def promise_that_holds(frame: pd.DataFrame, ask: Ask, build: Build) -> pd.DataFrame:
    """Give the shortest duration kept with a probability, in the promise's own unit; a lost return breaks any."""
    number, keys = groups_of(frame, ask.by)
    took, place = np.unique(frame["took"].fillna(0).to_numpy(float), return_inverse=True)
    took = took if len(took) else np.zeros(1)
    table = promise_models.life_table(
        number, place, frame["cause"].fillna(3).to_numpy(int), frame["waits"].fillna(0), len(keys), len(took)
    )
    found = np.asarray(promise_models.promise_at(took, table, ask.parameter or 0.95, ask.level), dtype=float)
    units = frame.assign(group=number).groupby("group")["unit_of"].agg(lambda u: "|".join(sorted(set(u.dropna()))))
    unit = units.reindex(range(len(keys))).fillna("").to_numpy(str)
    completed = table[:, promise_models.COMPLETED, :].sum(-1)
    found[:, 2] = np.where(np.isinf(found[:, 2]), np.nan, found[:, 2])
    reason = np.where(
        np.char.find(unit, "|") >= 0,
        "promised in different units: cut by lane or market",
        np.where(
            completed == 0,
            "nothing of this selection has completed yet",
            np.where(np.isinf(found[:, 0]), f"longer than anything followed so far ({took[-1]:.0f})", ""),
        ),
    )
    return answer_frame(keys, found[:, 0], found[:, 1], found[:, 2], completed, reason).assign(unit=unit)


def _waited(frame: pd.DataFrame, ask: Ask, estimate: Callable[..., Any]) -> pd.DataFrame:
    keys, days, table, _ = _table_of_waits(frame, ask)
    found = np.asarray(estimate(days, table), dtype=float)
    completed = table[:, promise_models.COMPLETED, :].sum(-1)
    longest = days[-1]
    found[:, 2] = np.where(np.isinf(found[:, 2]), np.nan, found[:, 2])
    reason = np.where(
        completed == 0,
        "nothing of this selection has completed yet",
        np.where(np.isinf(found[:, 0]), f"longer than anything followed so far ({longest:.0f} days)", ""),
    )
    number, _ = groups_of(frame, ask.by)
    cause = frame["cause"].fillna(-1).to_numpy(int)
    early = np.bincount(number, np.where(cause == -2, frame["waits"].to_numpy(float), 0), len(keys))
    said = [f"without {int(n):,} paid before the wait began" if n else "" for n in early]
    notes = zip(said, _from_return(frame[cause >= 0], frame, ask, "waits"), strict=True)
    return answer_frame(keys, found[:, 0], found[:, 1], found[:, 2], completed, reason).assign(
        note=["; ".join(filter(None, pair)) for pair in notes]
    )
