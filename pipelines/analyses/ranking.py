"""Lists that pages show beside numbers: work lists, the product ranking, flows, waterfalls.

They read the same declarations and conditions as metrics; sums in them agree with the metrics of the same filters. No
number is defined here that a metric defines.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from models import products as product_models
from pipelines.metrics.answer import answer
from pipelines.metrics.bind import bind, is_known
from pipelines.metrics.cautions import doubt, doubt_of, doubted
from pipelines.metrics.compiler import statement
from pipelines.metrics.coverage import lacking
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.finish import final, pooled, product
from pipelines.metrics.question import ANYTHING, EVERYTHING, Question, Scope
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.star import STAR

t = STAR.tables


def drift(build: Build, *, scope: Scope = EVERYTHING) -> pd.DataFrame:
    """Say per source and category whether returns still arrive as the curve says; without a category, the whole source.

    Columns: source, category, since_on and until_on (the days of confirmation compared), factor (recent delays over the
    curve's), z, returned (lots compared), is_drifting, caution, reason (what the returned units do not rest on).
    Windows that end on a date, and windows that are newer than their curve is long, are left out: a change of policy is
    no drift. Answers that rest on a drifting curve carry `caution`.
    """
    found = final.drifts(build)
    for name in ("source", "category"):
        if name in scope.allowed:
            found = found[found[name].isin(list(scope.allowed[name]))]
    if set(scope.allowed) - {"source", "category"}:
        found = found.iloc[:0]  # nothing is known of a smaller slice
    listed = found.sort_values(["source", "category"], na_position="first", ignore_index=True)
    return doubted(listed, doubt(build, Question(scope=scope), "returned_units"))


_RANKED = (
    "name",
    "category",
    "sold",
    "returned",
    "maturity",
    "is_new",
    "is_small",
    "rate",
    "low",
    "high",
    "category_rate",
    "relative",
    "market_rate",
    "buyers_rate",
    "own_part",
    "probability_above",
    "probability_own",
    "probability_well_above",
    "is_flagged",
    "at_stake",
    "kg_co2e",
    "return_reason",
    "score",
    "caution",
    "reason",
)
FEW_UNITS = 10  # below so many exposed units a product is never named: it stands behind all others and is not flagged
NEW_DAYS = 56


def product_ranking(
    build: Build,
    question: Question = ANYTHING,
    *,
    by: str = "style_id",
    limit: int | None = 100,
) -> pd.DataFrame:
    """Rank products by the money their own excess of returns puts at stake, weighed by how sure the excess is.

    One row a style (or product_id): name, category, sold, returned, maturity (share of the returns that should be
    back), is_new (on sale for at most NEW_DAYS), is_small (under FEW_UNITS exposed units), rate (adjusted; the metric
    product_return_rate) with low and high, category_rate (what is usual for its category in this selection:
    finish.usual_rates), relative (rate over category_rate), market_rate (what is usual for its category in the markets
    and channels where it was sold: of two equal products the one sold where more comes back has no excess), buyers_rate
    (what usual products would see from the same
    buyers; NaN without a model), own_part (the metric: rate - buyers_rate, so that rate = category_rate + (buyers_rate
    - category_rate) + own_part), probability_above (its category), probability_own (its market_rate),
    probability_well_above (1.25 x its market_rate, the more doubtful of two opinions), is_flagged (by the latter, false
    discovery rate held at 10% over all products of the selection), at_stake (expected excess units over market_rate x
    what one return of it loses; its net value where costs are unknown), kg_co2e, return_reason (the leading known one).
    A style that changed its category stands under the one that sold most. By score = probability_own x at_stake, small
    ones last: 2 returned of 3 sold never leads. `caution` and `reason` say what the returned units of all of them do
    not rest on. At most `limit` rows (None: all). Empty where too many returns name no order.
    """
    bound = bind(build, "own_part", question, by=(by,))  # its sums are those of product_return_rate and the buyers'
    if lacking(build, bound.metric.needs) and all(lacking(build, bound.metric.needs).values()):
        return pd.DataFrame(columns=[by, *_RANKED])
    back = answer(build, "returned_units", question).iloc[0]
    if back["status"] != "ok":
        return pd.DataFrame(columns=[by, *_RANKED])
    cells = _cells(build, question, by)
    found = product.one_family(product.bounded(cells, (by, "family")), (by,))
    found = found[found[by].notna() & (found["sold"] > 0)].reset_index(drop=True)
    found = _judged(build, found, cells, question, bound)
    found["is_new"] = _is_new(build, by, found[by], bound)
    found["buyers_rate"] = product.of_buyers(found)
    found["own_part"] = found["rate"] - found["buyers_rate"]
    found["kg_co2e"] = np.nan
    if is_known(build, "kg_co2e"):
        emitted = build.fetch(statement(replace(bind(build, "kg_co2e", question, by=(by,)), basis="order")))
        found["kg_co2e"] = looked_up(found[by], emitted.dropna(subset=[by]).set_index(by)["kg"])
    found["return_reason"] = looked_up(found[by], _leading_reason(build, by, question))
    found["name"] = product_names(build, by, found[by])
    found["score"] = found["probability_own"] * found["at_stake"]
    found = doubted(found, doubt_of(back))
    ranked = found.sort_values(["is_small", "score", by], ascending=[True, False, True])
    return ranked[:limit].reset_index(drop=True)[[by, *_RANKED]]


def _judged(
    build: Build, found: pd.DataFrame, cells: pd.DataFrame, question: Question, bound: BoundQuestion
) -> pd.DataFrame:
    """Add to products their rate and their category's, how sure an excess is, if it is flagged, what is at stake."""
    (by,) = bound.by
    kind, every = pooled.kind_of((by,)), _of_categories(build, cells, question)
    of_all = replace(bound, by=("category",))
    if question.where == _but_products(question):  # else they are of other rows
        whole = product.bounded(cells, ("family",))
        build.cache["usual"] = product.usual_key(of_all), whole.assign(category=whole["family"])
    usual = product.usual_rates(build, found, bound)
    a, b = pooled.category_prior(build, found["family"], kind, usual)
    effect = pooled.week_effect(build, kind)
    r, n = found["returned"].to_numpy(float) / effect, found["exposure"].to_numpy(float) / effect
    rate, low, high = pooled.rates(build, found, (by,), question.level, usual)
    market = np.clip(usual * _mix_ratios(found, cells, every, by), 1e-4, 1 - 1e-4)
    closer = product_models.fit_kappa(r, n, market) / product_models.fit_kappa(r, n, usual)
    own_a, own_b = (x * max(closer, 1.0) for x in pooled.category_prior(build, found["family"], kind, market))
    well_above = np.nan_to_num(product_models.probability_well_above(r, n, own_a, own_b, pooled.spread(build, kind)))
    excess = np.nan_to_num(product_models.expected_excess(r, n, own_a, own_b, market)) * found["exposure"].to_numpy()
    each = _loss_per_return(build, by, question).reindex(found[by]).to_numpy(float)
    each = np.where(np.isfinite(each), each, np.nanmedian(each) if np.isfinite(each).any() else 1.0)
    is_small = found["exposure"].to_numpy() < FEW_UNITS
    is_flagged = np.zeros(len(found), dtype=bool)
    is_flagged[~is_small] = product_models.flagged(well_above[~is_small])
    return found.rename(columns={"family": "category"}).assign(
        rate=rate,
        low=low,
        high=high,
        maturity=found["exposure"] / found["sold"],
        is_small=is_small,
        category_rate=usual,
        relative=rate / usual,
        probability_above=np.nan_to_num(product_models.probability_above(r, n, a, b, usual)),
        market_rate=market,
        probability_own=np.nan_to_num(product_models.probability_above(r, n, own_a, own_b, market)),
        probability_well_above=well_above,
        is_flagged=is_flagged,
        at_stake=excess * each,
    )


_MIX = ("country", "channel")  # where a product was sold: what its category does there is no part of it


def _mix_ratios(found: pd.DataFrame, cells: pd.DataFrame, every: pd.DataFrame, by: str) -> np.ndarray[Any, Any]:
    """Give how much more its category returns where each product was sold than in the whole selection."""
    own = _summed(product.bounded(cells, (by, *_MIX, "family")), by)
    place = found.reset_index().set_index(by)
    own = own[own[by].isin(place.index)]
    family = looked_up(own[by], place["family"])
    places = pd.concat([own[list(_MIX)], every[list(_MIX)]]).groupby(list(_MIX), dropna=False, sort=True).ngroup()
    families = pd.factorize(pd.concat([family, every["family"]]), use_na_sentinel=False)[0]
    shape = (int(families.max(initial=-1)) + 1, int(places.max()) + 1 if len(places) else 0)
    at = families[len(own) :] * max(shape[1], 1) + places.to_numpy()[len(own) :]
    others = [
        np.bincount(at, every[c].to_numpy(float), shape[0] * shape[1]).astype(np.float64).reshape(shape)
        for c in ("returned", "exposure")
    ]
    number = looked_up(own[by], place["index"]).to_numpy(int)
    came, sold = (own[c].to_numpy(float) for c in ("returned", "exposure"))
    ratio = np.ones(len(found))
    at_own = families[: len(own)], places.to_numpy()[: len(own)]
    told = product_models.mix_ratio(number, *at_own, came, sold, (others[0], others[1]))
    ratio[: told.size] = told
    return ratio


def _cells(build: Build, question: Question, by: str) -> pd.DataFrame:
    """Sum sold, returned and exposure by one dimension, market and channel, and by category (family)."""
    bound = bind(build, "own_part", question, by=(by, *_MIX))
    return product.weighed(build.fetch(statement(bound)), (by, *_MIX, "family"))


def _but_products(question: Question) -> dict[str, Any]:
    """Give the filters of a question that do not tell what a product is."""
    return {k: v for k, v in question.where.items() if k == "category" or not product.is_of_products(k)}


def _of_categories(build: Build, cells: pd.DataFrame, question: Question) -> pd.DataFrame:
    """Sum returned and exposure by category (family), market and channel, whatever products are asked for."""
    where = _but_products(question)
    by = "family" if where == question.where else "category"
    rows = cells if by == "family" else _cells(build, replace(question, where=where), by)
    found = product.bounded(rows, tuple(dict.fromkeys((by, *_MIX, "family"))))
    return _summed(found, by).rename(columns={by: "family"})


def _summed(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    return rows.groupby([by, *_MIX], dropna=False, sort=True, as_index=False)[["returned", "exposure"]].sum()


def product_names(build: Build, by: str, ids: pd.Series) -> pd.Series:
    """Name styles or products: as the catalogue does now, else by the end of their id."""
    known = pooled.attributes(build)[[by, "name"]].dropna().sort_values("name")
    names = known.drop_duplicates(by).set_index(by)["name"]
    return looked_up(ids, names).fillna(ids.str.replace(r"^.*:", "", regex=True))


def _is_new(build: Build, by: str, ids: pd.Series, question: BoundQuestion) -> "pd.Series[bool]":
    latest = max(question.observed.values(), default=None)
    seen = min((t for t in (latest, question.as_of) if t is not None), default=None)
    if seen is None:
        return pd.Series(False, index=ids.index)
    since = pd.Timestamp(seen.replace(tzinfo=None)).normalize() - pd.Timedelta(days=NEW_DAYS)
    return looked_up(ids, pooled.first_sold(build, by)) > since


_TOLD = ("size_note", "name", "category", "brand", "supplier", "season", "weight_kg", "list_price")


def product_changes(build: Build, style_id: str | None = None) -> pd.DataFrame:
    """List what the catalogue changed of each style or of one.

    Columns: style_id, changed_at (UTC), what, before, after, products; newest first. A first version changes nothing.
    Sizes and colours of a style that change alike are one row, `products` counts them.
    """
    c = t["dim_product"].c
    several = select(c.product_id).group_by(c.product_id).having(func.count() > 1)
    if style_id is not None:
        several = several.where(c.style_id == style_id)
    versions = build.fetch(
        select(c.product_id, c.style_id, c.valid_from, *(c[n] for n in _TOLD)).where(c.product_id.in_(several))
    ).sort_values(["product_id", "valid_from"], ignore_index=True)
    now = versions.melt(["product_id", "style_id", "valid_from"], list(_TOLD), "what", "after")
    now["before"] = now.groupby(["product_id", "what"], sort=False)["after"].shift()
    is_first = ~now.duplicated(["product_id", "what"])
    is_same = now["after"].eq(now["before"]) | (now["after"].isna() & now["before"].isna())
    keys = ["style_id", "valid_from", "what", "before", "after"]
    found = (
        now[~is_first & ~is_same].groupby(keys, dropna=False, as_index=False).agg(products=("product_id", "nunique"))
    )
    return (
        found.rename(columns={"valid_from": "changed_at"})
        .sort_values(["changed_at", "style_id", "what"], ascending=[False, True, True])
        .reset_index(drop=True)
    )


def _loss_per_return(build: Build, by: str, question: Question) -> "pd.Series[float]":
    key = "margin_erosion" if is_known(build, "margin_erosion") else "value_return_rate"
    bound = bind(build, key, question, by=(by,))
    sums = (
        build.fetch(statement(bound))
        .groupby(by)[["erosion" if key == "margin_erosion" else "returned_value"]]
        .sum()
        .iloc[:, 0]
    )
    units = build.fetch(statement(bind(build, "returned_units", question, by=(by,)))).groupby(by)["returned"].sum()
    per_unit = (sums / units.where(units > 0)).astype(float)
    return per_unit.where(per_unit > 0)


def _leading_reason(build: Build, by: str, question: Question) -> "pd.Series[str]":
    if not is_known(build, "reason_share"):
        return pd.Series(dtype=str)
    found = answer(build, "reason_share", question, by=(by, "return_reason"))
    found = found[
        found["return_reason"].notna() & ~found["return_reason"].isin(["unknown", "other"]) & (found["value"] > 0)
    ]
    return found.sort_values("value", ascending=False).drop_duplicates(by).set_index(by)["return_reason"]
