"""Rates of products, pooled with what they share, and expected rates."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from models import products as product_models
from models.rates import two_sided_z
from pipelines.metrics.declare import BoundQuestion, Finish, Metric
from pipelines.metrics.finish import pooled
from pipelines.metrics.finish.final import MATURE, around, drifting, final, young
from pipelines.metrics.finish.shares import answer_frame, design_effect, groups_of, summed
from pipelines.metrics.question import ALIASES, EVERYTHING
from pipelines.metrics.sums import statistics_of
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.why import why


def exposed(frame: pd.DataFrame, ask: BoundQuestion) -> pd.DataFrame:
    """Give one row a group and category.

    Sold, returned and exposure (units weighed by the share of their returns expected by now).
    """
    by = (*ask.by, *(["family"] if "family" in frame else []))
    return bounded(weighed(frame, by), by)


def weighed(frame: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Sum what was sold and returned, and what was sold weighed by the share of its returns expected by now."""
    of_rows = frame.assign(exposure=frame["sold"].fillna(0) * frame["share"].fillna(1))
    keys, sums = summed(of_rows, by, ["sold", "returned", "exposure", *(c for c in _OF_BUYERS if c in frame)])
    return pd.concat([keys, sums], axis=1)


def bounded(rows: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Add up what `weighed` gave to fewer groups; the exposure of a group is never under what came back of it."""
    keys, sums = summed(rows, by, ["sold", "returned", "exposure", *(c for c in _OF_BUYERS if c in rows)])
    sums["exposure"] = np.maximum(sums["exposure"], sums["returned"])
    return pd.concat([keys, sums], axis=1)


_OF_BUYERS = ("expected", "scored")
_OF_PRODUCTS = frozenset({"product_id", "style_id", "category", "brand", "supplier", "season"})
_OF_LEVELS = frozenset({"size", "colour"})


def has_products(by: tuple[str, ...]) -> bool:
    """Say whether each group is of one product or style."""
    return any(ALIASES.get(b, b) in ("product_id", "style_id") for b in by)


def is_of_products(name: str) -> bool:
    """Say whether a dimension tells what a product is, so that a selection by it may be the product itself."""
    return ALIASES.get(name, name) in _OF_PRODUCTS


def one_family(rows: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Add up the rows of a group that changed its category, under the category that sold most."""
    best = rows.sort_values(["sold", "family"], ascending=[False, True]).reset_index(drop=True)
    number, keys = groups_of(best, by)
    columns = [c for c in ("sold", "returned", "exposure", *_OF_BUYERS) if c in rows]
    _, sums = summed(best, by, columns)
    first = best.assign(_group=number).drop_duplicates("_group").sort_values("_group")
    return pd.concat([keys, sums], axis=1).assign(family=first["family"].to_numpy())


def usual_rates(build: Build, rows: pd.DataFrame, ask: BoundQuestion) -> np.ndarray[Any, Any]:
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
    key = usual_key(question)
    if build.cache.get("usual", (None,))[0] != key:
        build.cache["usual"] = key, exposed(statistics_of(build, question), question)
    found = (
        build.cache["usual"][1]
        .drop(columns="family", errors="ignore")
        .groupby(["category", *others], dropna=False, as_index=False)[["returned", "exposure"]]
        .sum()
    )
    wanted = rows[["family", *others]].rename(columns={"family": "category"})
    sums = wanted.merge(found, how="left", on=["category", *others])[["returned", "exposure"]].fillna(0.0)
    effect = pooled.week_effect(build, kind)
    r, n = (sums[c].to_numpy(float) / effect for c in ("returned", "exposure"))
    return np.asarray((r + a) / (n + a + b))


def usual_key(ask: BoundQuestion) -> tuple[Any, ...]:
    """Name what the usual rates of categories are worked out of: kept of a build until others are asked for."""
    return ask.by, repr(ask.where), ask.since, ask.until, ask.as_of, repr(ask.scope)


def product(of: Callable[..., Any]) -> Finish:
    """Pull each group's rate towards its likes.

    `of` gives (value, low, high) from the build, the rows and the question.
    """

    def finish(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        rows = exposed(frame, ask)
        if has_products(ask.by):
            rows = one_family(rows, ask.by)
        value, low, high = of(build, rows, ask)
        rows = rows.assign(value=value, low=low, high=high)
        best = rows.sort_values("sold", ascending=False)
        number, keys = groups_of(best, ask.by)
        first = best.assign(_group=number).drop_duplicates("_group").sort_values("_group").reset_index(drop=True)
        first = first if len(first) else first.reindex(keys.index)  # nothing sold, and one group
        shared = np.bincount(number, minlength=len(keys)) > 1
        missing = np.where(np.isfinite(first["value"]), "", why("no_category"))
        reason = np.where(shared, why("several"), missing)
        return answer_frame(keys, first["value"], first["low"], first["high"], first["sold"], reason)

    return finish


def shrunk(build: Build, rows: pd.DataFrame, ask: BoundQuestion) -> Any:
    """Give the adjusted rate and its interval."""
    return pooled.rates(build, rows, ask.by, ask.level, usual_rates(build, rows, ask))


def above(build: Build, rows: pd.DataFrame, ask: BoundQuestion) -> Any:
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


def expectation(build: Build, ask: BoundQuestion) -> tuple[float, str]:
    """Say how sure the expected level of a month is (standard deviation of its logit).

    And why nothing is expected where nothing is.
    """
    if "expectation" not in build.cache:
        c = STAR.tables["model_version"].c
        known = build.fetch(
            select(c.parameters, c.is_used).where(c.model == "return_probability").order_by(c.fitted_at)
        )
        latest = {
            (m := json.loads(p))["source"]: (bool(used), m)
            for p, used in zip(known["parameters"], known["is_used"], strict=True)
            if json.loads(p).get("is_promoted", True)
        }
        build.cache["expectation"] = latest
    chosen = ask.where.get("source", ())
    sources = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    models = [m for s, m in build.cache["expectation"].items() if not sources or s in sources]
    used = [m["level_sd"] for is_used, m in models if is_used]
    if used:
        return max(used), why("nothing_known")
    return float("nan"), next((m["why_not"] for _, m in models if m["why_not"]), why("no_expected"))


HELD_DAYS = (150, 45)  # days before the last one that orders are held against what was expected of them
HELD_UNITS = 500  # fewest of them
_HELD_LEVEL = 0.99  # of the interval that what came must leave before anything is said


def expected(held: Metric) -> Finish:
    """Give the mean probability to come back, between the bounds that what comes of these sales lies in.

    Their level and chance. Where the orders of late came out beyond the bounds of what was expected of them, by `held`
    (sold, returned, expected, scored), the answer carries the caution "model_level" and says both.
    """

    def finish(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        keys, sums = summed(frame, ask.by, ["expected", "scored"])
        level_sd, nothing = expectation(build, ask)
        n = sums["scored"].to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = np.where(n > 0, sums["expected"] / n, np.nan)
        half = _doubt(rate, n, level_sd, ask.level, build)
        low, high = np.maximum(rate - half, 0), np.minimum(rate + half, 1)
        found = answer_frame(keys, rate, low, high, n, np.where(n > 0, "", nothing))
        off = _level_off(held, ask, build, level_sd)
        said = [off if not reason else "" for reason in found["reason"]]
        return found.assign(note=said, caution=["model_level" if s else "" for s in said])

    return finish


def _doubt(rate: Any, n: Any, level_sd: float, level: float, build: Build) -> Any:
    """Give half of the interval of a rate that is expected: chance of units that share orders, and the level's."""
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = np.sqrt(rate * (1 - rate) * design_effect(build) / n)
    return two_sided_z(level) * np.hypot(chance, level_sd * rate * (1 - rate))


def _level_off(held: Metric, ask: BoundQuestion, build: Build, level_sd: float) -> str:
    """Say what was expected of the orders of late and what came of them, where the two do not agree; else nothing."""
    last = max(ask.observed.values(), default=None)
    if last is None or not level_sd >= 0:
        return ""
    since, until = (last.date() - timedelta(days=d) for d in HELD_DAYS)
    where = {k: v for k, v in ask.where.items() if k == "source"}
    key = f"level_off {where!r} {since}"
    if key not in build.cache:
        question = replace(
            ask,
            metric=held,
            by=(),
            where=where,
            since=since,
            until=until,
            as_of=None,
            scope=EVERYTHING,
            level=_HELD_LEVEL,
        )
        frame = statistics_of(build, question)
        _, rates, sums = final(frame, question, build)
        scored, units = (float(frame[n].fillna(0).sum()) for n in ("scored", "expected"))
        build.cache[key] = ""
        if scored >= max(HELD_UNITS, _SCORED * float(sums["sold"].sum())) and rates.maturity[0] > MATURE:
            rate = units / scored
            half = float(_doubt(rate, scored, level_sd, _HELD_LEVEL, build))
            if rates.low[0] > rate + half or rates.high[0] < rate - half:
                build.cache[key] = why(
                    "level_off", since=since, until=until, expected=rate, observed=float(rates.rate[0])
                )
    return str(build.cache[key])


def own_part(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the final rate less the rate expected of the buyers.

    Of one product or style a row it is the adjusted rate's. The interval holds the doubt of both: of the final rate,
    and of the level that was expected.
    """
    level_sd, nothing = expectation(build, ask)

    def less(rate: Any, low: Any, high: Any, base: Any) -> tuple[Any, Any, Any]:
        doubt = two_sided_z(ask.level) * level_sd * base * (1 - base)
        return rate - base, rate - base - np.hypot(rate - low, doubt), rate - base + np.hypot(high - rate, doubt)

    def missing(base: Any, scored: Any, sold: Any, otherwise: Any) -> Any:
        part = np.asarray(scored) < _SCORED * np.asarray(sold)
        some = why("little_known")
        return np.where(~np.isfinite(base), nothing, np.where(part, some, otherwise))

    if has_products(ask.by):
        rows = one_family(exposed(frame, ask), ask.by)
        rate, low, high = shrunk(build, rows, ask)
        base = of_buyers(rows)
        reason = missing(base, rows["scored"], rows["sold"], np.where(np.isfinite(rate), "", why("no_category")))
        value = less(rate, low, high, base)
        return drifting(answer_frame(rows[list(ask.by)], *value, rows["sold"], reason), build, ask)
    keys, rates, sums = final(frame, ask, build)
    number, _ = groups_of(frame, ask.by)
    of = {n: np.bincount(number, frame[n].fillna(0).to_numpy(float), len(keys)) for n in ("expected", "scored")}
    with np.errstate(invalid="ignore", divide="ignore"):
        base = np.where(of["scored"] > 0, of["expected"] / of["scored"], np.nan)
    reason = missing(base, of["scored"], sums["sold"], young(build, rates, sums))
    value = less(rates.rate, *around(rates), base)
    return drifting(answer_frame(keys, *value, sums["sold"], reason), build, ask)
