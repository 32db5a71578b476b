"""Lists that pages show beside numbers: work lists, the product ranking, flows, waterfalls.

They read the same declarations and conditions as metrics; sums in them agree with the metrics of the same filters. No
number is defined here that a metric defines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import and_, case, func, literal_column, or_, select

from models import control
from models import products as product_models
from pipelines.metrics import finish, pooled
from pipelines.metrics.answer import Day, _of_build, answer, ask, is_known, lacking, metric, withheld
from pipelines.metrics.base import (
    EVERYTHING,
    Ask,
    Base,
    Metric,
    Scope,
    Time,
    filters,
    statement,
)
from pipelines.metrics.bases import (
    LOTS,
    PROMISES,
    RISKS,
    lots,
    promises,
    returned,
    risks,
)
from pipelines.metrics.money import COST, MARGIN, REVERSED
from pipelines.warehouse.engine import Build, Expression, days_between, double, looked_up
from pipelines.warehouse.schema import COST_COMPONENTS, STAR

Where = Mapping[str, Sequence[Any]] | None
t = STAR.tables


def _asked(build: Build, key: str, **question: Any) -> Ask:
    return _of_build(build, ask(key, **question))


def _base_rows(build: Build, base: Base, question: Ask, columns: dict[str, Any], *conditions: Any) -> pd.DataFrame:
    now = base.time(question)
    chosen = [c(now) if callable(c) else c for c in columns.values()]
    wanted = [c(now) for c in conditions]
    query = select(*(c.label(n) for n, c in zip(columns, chosen, strict=True))).where(
        *filters(base, question, now), *wanted
    )
    return build.fetch(query.select_from(base.table))


# -- promises ----------------------------------------------------------------------------------------------------------


def _open_promise(now: Time) -> Expression:
    c = promises.c
    return and_(now.open(c.ended_at), now.open(c.stopped_at), c.due_at.is_not(None))


_PROMISE_ROW: dict[str, Any] = {
    **{
        n: promises.c[n]
        for n in (
            "return_id",
            "promise_id",
            "country",
            "method",
            "carrier",
            "place_id",
            "started_at",
            "due_at",
            "amount",
            "units",
        )
    },
    "age_days": lambda now: days_between(promises.c.started_at, now.at),
    "days_left": lambda now: days_between(now.at, promises.c.due_at),
}


_AT_RISK = (
    "return_id",
    "country",
    "method",
    "carrier",
    "place_id",
    "stage",
    "age_days",
    "amount",
    "units",
    "next_promise",
    "next_days_left",
    "next_probability",
    "promise_id",
    "due_at",
    "days_left",
    "probability",
    "at_stake",
    "early_at",
    "expected_at",
    "late_at",
)


def worklist_at_risk(
    build: Build, *, where: Where = None, as_of: Day = None, scope: Scope = EVERYTHING, limit: int = 200
) -> pd.DataFrame:
    """List open returns, one row each, by the money that probably breaks a promise.

    `at_stake` = amount x probability, each return one customer. `next_*` is the promise that falls due first,
    `promise_id`, `due_at`, `days_left` and `probability` the final one: the refund that is due first, or the next
    promise where none is open. `expected_at` is the day its refund will probably come, `early_at` to `late_at` its 80%
    interval.
    """
    question = _asked(build, "breach_risk", where=where, as_of=as_of, scope=scope)
    columns = {
        **_PROMISE_ROW,
        "stage": risks.c.stage,
        "probability": risks.c.probability,
        "to_stage": promises.c.to_stage,
        "return_key": promises.c.return_key,
    }
    found = _base_rows(build, RISKS, question, columns, _open_promise).sort_values(
        ["return_id", "due_at", "promise_id"]
    )
    following = found.drop_duplicates("return_id").set_index("return_id")
    is_refund = found["to_stage"].eq("refunded")
    final = (
        found.assign(other=~is_refund)
        .sort_values(["return_id", "other", "due_at"])
        .drop_duplicates("return_id")
        .set_index("return_id")
    )
    for name, column in (
        ("next_promise", "promise_id"),
        ("next_days_left", "days_left"),
        ("next_probability", "probability"),
    ):
        final[name] = following[column]
    dates = build.fetch(select(t["estimate_completion"])).set_index("return_key")
    for name in ("early_at", "expected_at", "late_at"):
        final[name] = dates[name].reindex(final["return_key"]).to_numpy()
    final["at_stake"] = final["amount"].astype(float) * final["probability"]
    ranked = final.reset_index().sort_values(["at_stake", "probability", "return_id"], ascending=[False, False, True])
    return ranked.head(limit).reset_index(drop=True)[list(_AT_RISK)]


def refunds_due(
    build: Build,
    days: float = 5,
    *,
    where: Where = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
    limit: int = 1000,
) -> pd.DataFrame:
    """List open withdrawals whose legal refund date falls within so many days.

    Overdue ones first (`days_left` below 0).
    """
    question = _asked(build, "refunds_due_soon", where=where, as_of=as_of, scope=scope)

    def due(now: Time) -> Expression:
        is_legal = promises.c.promise_id == literal_column("'legal_refund'")
        left = days_between(now.at, promises.c.due_at)
        return and_(is_legal, left <= double(days), now.happened(promises.c.handed_over_at))

    found = _base_rows(build, PROMISES, question, _PROMISE_ROW, _open_promise, due)
    return found.sort_values(["due_at", "return_id"]).head(limit).reset_index(drop=True)


def promise_states(
    build: Build,
    *,
    by: Sequence[str] = ("promise_id",),
    where: Where = None,
    since: Day = None,
    until: Day = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
) -> pd.DataFrame:
    """Count returns under promise per group: kept, broken, undetermined (running, on time), expired."""
    question = _asked(build, "promise_kept", by=by, where=where, since=since, until=until, as_of=as_of, scope=scope)
    keys, sums = finish.by_state(build.fetch(statement(question)), question)
    return pd.concat([keys, sums.astype(int)], axis=1)


CONTROL_WEEKS, JUDGED_WEEKS = 52, 12  # weeks on a control chart, and how many of the last the limits do not come from
_DECIDED = 0.95  # share of a week's promises that must be due before the week is judged


def control_chart(
    build: Build, promise_id: str, *, where: Where = None, as_of: Day = None, scope: Scope = EVERYTHING
) -> pd.DataFrame:
    """Chart the share of one promise kept by week of request.

    Columns: week, kept, n (due), share, centre, low, high, signal, is_young. The limits come from the weeks before the
    last JUDGED_WEEKS; weeks of which a twentieth is not due yet are young and no signal. Empty where the promise is not
    known.
    """
    names = ["week", "kept", "n", "share", "centre", "low", "high", "signal", "is_young"]
    counted = promise_states(
        build, by=("week",), where={**(where or {}), "promise_id": [promise_id]}, as_of=as_of, scope=scope
    )
    if counted.empty:
        return pd.DataFrame(columns=names)
    weeks = counted.drop(columns="week").set_index(pd.to_datetime(counted["week"])).sort_index()
    weeks = weeks.reindex(pd.date_range(weeks.index.min(), weeks.index.max(), freq="7D")).fillna(0).tail(CONTROL_WEEKS)
    due = weeks["kept"] + weeks["broken"]
    is_young = (due < _DECIDED * (due + weeks["undetermined"])).to_numpy(bool)
    n = np.where(is_young, 0, due)
    kept = np.where(is_young, 0, weeks["kept"])
    chart = control.shares(kept, n, np.arange(len(weeks)) < len(weeks) - JUDGED_WEEKS)
    found = pd.DataFrame({"week": weeks.index, "kept": weeks["kept"].to_numpy(), "n": due.to_numpy()})
    share = (weeks["kept"] / due.where(due > 0)).to_numpy(float)
    return found.assign(share=share, **chart._asdict(), is_young=is_young)[names].reset_index(drop=True)


# -- delays ------------------------------------------------------------------------------------------------------------


def drift(build: Build, *, scope: Scope = EVERYTHING) -> pd.DataFrame:
    """Say per source and category whether returns still arrive as the curve says; without a category, the whole source.

    Columns: source, category, since_on and until_on (the days of confirmation compared), factor (recent delays over the
    curve's), z, returned (lots compared), is_drifting. Windows that end on a date, and windows that are newer than
    their curve is long, are left out: a change of policy is no drift. Answers that rest on a drifting curve carry
    `caution`.
    """
    found = finish.drifts(build)
    for name in ("source", "category"):
        if name in scope.allowed:
            found = found[found[name].isin(list(scope.allowed[name]))]
    if set(scope.allowed) - {"source", "category"}:
        found = found.iloc[:0]  # nothing is known of a smaller slice
    return found.sort_values(["source", "category"], na_position="first", ignore_index=True)


# -- products ----------------------------------------------------------------------------------------------------------


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
    "buyers_rate",
    "own_part",
    "probability_above",
    "probability_well_above",
    "is_flagged",
    "at_stake",
    "kg_co2e",
    "return_reason",
    "score",
)
FEW_UNITS = 10  # below so many exposed units a product is never named: it stands behind all others and is not flagged
NEW_DAYS = 56


def product_ranking(
    build: Build,
    *,
    by: str = "style_id",
    where: Where = None,
    since: Day = None,
    until: Day = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
    level: float = 0.9,
    limit: int | None = 100,
) -> pd.DataFrame:
    """Rank products by the money their excess of returns puts at stake, weighed by how sure the excess is.

    One row a style (or product_id): name, category, sold, returned, maturity (share of the returns that should be
    back), is_new (on sale for at most NEW_DAYS), is_small (under FEW_UNITS exposed units), rate (adjusted; the metric
    product_return_rate) with low and high, category_rate (what is usual for its category in this selection:
    finish.usual_rates), relative (rate over category_rate), buyers_rate (what usual products would see from the same
    buyers; NaN without a model), own_part (the metric: rate - buyers_rate, so that rate = category_rate + (buyers_rate
    - category_rate) + own_part), probability_above (its category), probability_well_above (1.25 x its category, the
    more doubtful of two opinions), is_flagged (by the latter, false discovery rate held at 10% over all products of the
    selection), at_stake (expected excess units x what one return of it loses; its net value where costs are unknown),
    kg_co2e, return_reason (the leading known one). A style that changed its category stands under the one that sold
    most. By score = probability_above x at_stake, small ones last: 2 returned of 3 sold never leads. At most `limit`
    rows (None: all). Empty where too many returns name no order.
    """
    period: dict[str, Any] = {"where": where, "since": since, "until": until, "as_of": as_of, "scope": scope}
    question = _asked(
        build, "own_part", by=(by,), **period
    )  # its sums are those of product_return_rate and the buyers'
    if lacking(build, question.metric.needs) and all(lacking(build, question.metric.needs).values()):
        return pd.DataFrame(columns=[by, *_RANKED])
    if withheld(build, "returned_units", **period):
        return pd.DataFrame(columns=[by, *_RANKED])
    found = finish.exposed(build.fetch(statement(question)), question)
    found = finish.one_family(found, (by,))
    found = found[found[by].notna() & (found["sold"] > 0)].reset_index(drop=True)
    kind = pooled.kind_of((by,))
    usual = finish.usual_rates(build, found, question)
    a, b = pooled.category_prior(build, found["family"], kind, usual)
    effect = pooled.week_effect(build, kind)
    r, n = found["returned"].to_numpy(float) / effect, found["exposure"].to_numpy(float) / effect
    rate, low, high = pooled.rates(build, found, (by,), level, usual)
    well_above = np.nan_to_num(product_models.probability_well_above(r, n, a, b, pooled.spread(build, kind)))
    excess = np.nan_to_num(product_models.expected_excess(r, n, a, b, usual)) * found["exposure"].to_numpy()
    each = _loss_per_return(build, by, period).reindex(found[by]).to_numpy(float)
    each = np.where(np.isfinite(each), each, np.nanmedian(each) if np.isfinite(each).any() else 1.0)
    is_small = found["exposure"].to_numpy() < FEW_UNITS
    is_flagged = np.zeros(len(found), dtype=bool)
    is_flagged[~is_small] = product_models.flagged(well_above[~is_small])
    found = found.rename(columns={"family": "category"}).assign(
        rate=rate,
        low=low,
        high=high,
        maturity=found["exposure"] / found["sold"],
        is_small=is_small,
        category_rate=usual,
        relative=rate / usual,
        probability_above=np.nan_to_num(product_models.probability_above(r, n, a, b, usual)),
        probability_well_above=well_above,
        is_flagged=is_flagged,
        at_stake=excess * each,
    )
    found["is_new"] = _is_new(build, by, found[by], question)
    found["buyers_rate"] = finish.of_buyers(found)
    found["own_part"] = found["rate"] - found["buyers_rate"]
    found["kg_co2e"] = np.nan
    if is_known(build, "kg_co2e"):
        emitted = build.fetch(statement(replace(_asked(build, "kg_co2e", by=(by,), **period), basis="order")))
        found["kg_co2e"] = looked_up(found[by], emitted.dropna(subset=[by]).set_index(by)["kg"])
    found["return_reason"] = looked_up(found[by], _leading_reason(build, by, period))
    found["name"] = product_names(build, by, found[by])
    found["score"] = found["probability_above"] * found["at_stake"]
    ranked = found.sort_values(["is_small", "score", by], ascending=[True, False, True])
    return ranked[:limit].reset_index(drop=True)[[by, *_RANKED]]


def product_names(build: Build, by: str, ids: pd.Series) -> pd.Series:
    """Name styles or products: as the catalogue does now, else by the end of their id."""
    names = pooled.attributes(build).groupby(by)["name"].min()
    return looked_up(ids, names).fillna(ids.str.replace(r"^.*:", "", regex=True))


def _is_new(build: Build, by: str, ids: pd.Series, question: Ask) -> "pd.Series[bool]":
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


def _loss_per_return(build: Build, by: str, period: dict[str, Any]) -> "pd.Series[float]":
    key = "margin_erosion" if is_known(build, "margin_erosion") else "value_return_rate"
    question = _asked(build, key, by=(by,), **period)
    sums = (
        build.fetch(statement(question))
        .groupby(by)[["erosion" if key == "margin_erosion" else "returned_value"]]
        .sum()
        .iloc[:, 0]
    )
    units = build.fetch(statement(_asked(build, "returned_units", by=(by,), **period))).groupby(by)["returned"].sum()
    per_unit = (sums / units.where(units > 0)).astype(float)
    return per_unit.where(per_unit > 0)


def _leading_reason(build: Build, by: str, period: dict[str, Any]) -> "pd.Series[str]":
    if not is_known(build, "reason_share"):
        return pd.Series(dtype=str)
    found = answer(build, "reason_share", by=(by, "return_reason"), **period)
    found = found[
        found["return_reason"].notna() & ~found["return_reason"].isin(["unknown", "other"]) & (found["value"] > 0)
    ]
    return found.sort_values("value", ascending=False).drop_duplicates(by).set_index(by)["return_reason"]


# -- flow and margin ---------------------------------------------------------------------------------------------------


def flow(
    build: Build,
    *,
    where: Where = None,
    since: Day = None,
    until: Day = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
) -> pd.DataFrame:
    """Give the links of the flow from sold to what became of it, by order day: start, end, units.

    sold -> kept or returned; returned -> refunded, exchanged or open; those -> an outcome, or waiting. Units in equal
    units out. Empty where too many returns name no order to say what became of the sales.
    """
    period: dict[str, Any] = {"where": where, "since": since, "until": until, "as_of": as_of, "scope": scope}
    question = _asked(build, "returned_units", **period)
    now = LOTS.time(question)
    settled = case(
        (now.happened(lots.c.exchanged_at), literal_column("'exchanged'")),
        (now.happened(lots.c.refunded_at), literal_column("'refunded'")),
        else_=literal_column("'open'"),
    )
    decided = or_(
        now.happened(lots.c.inspected_at), now.happened(lots.c.restocked_at), now.happened(lots.c.disposed_at)
    )
    outcome = case(
        (
            decided,
            case(
                (lots.c.outcome == literal_column("'returned'"), literal_column("'to_supplier'")),
                else_=func.coalesce(lots.c.outcome, literal_column("'waiting'")),
            ),
        ),
        else_=literal_column("'waiting'"),
    )
    counted = returned()[0]
    own = counted.condition(now)
    assert own is not None
    query = (
        select(settled.label("settled"), outcome.label("outcome"), func.sum(lots.c.units).label("units"))
        .where(*filters(LOTS, question, now), own)
        .group_by(settled, outcome)
    )
    found = build.fetch(query).astype({"units": float})
    said = {key: answer(build, key, **period).iloc[0] for key in ("sold_units", "returned_units")}
    if any(row["status"] != "ok" for row in said.values()):
        return pd.DataFrame(columns=["start", "end", "units"]).astype({"units": float})
    numbers = {key: float(row["value"]) for key, row in said.items()}
    credited = numbers["returned_units"] - found["units"].sum()
    if credited > 0:
        found = pd.concat(
            [found, pd.DataFrame([{"settled": "refunded", "outcome": "waiting", "units": credited}])], ignore_index=True
        )
    links = [
        ("sold", "kept", numbers["sold_units"] - numbers["returned_units"]),
        ("sold", "returned", numbers["returned_units"]),
    ]
    settlements = found.groupby("settled", as_index=False)["units"].sum()
    outcomes = found.groupby(["settled", "outcome"], as_index=False)["units"].sum()
    links += [("returned", str(s), float(u)) for s, u in settlements.itertuples(index=False)]
    links += [(str(s), str(o), float(u)) for s, o, u in outcomes.itertuples(index=False)]
    return pd.DataFrame([link for link in links if link[2] > 0], columns=["start", "end", "units"])


def _order_basis(chosen: Metric, by: tuple[str, ...], build: Build, period: dict[str, Any]) -> pd.DataFrame:
    question = _asked(build, chosen.key, by=by, **period)
    return build.fetch(statement(replace(question, basis="order")))


def waterfall(
    build: Build,
    *,
    where: Where = None,
    since: Day = None,
    until: Day = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
) -> pd.DataFrame:
    """Give the steps from the gross margin of sales to what returns leave of it.

    By order day, in the reporting currency without VAT.

    Rows: booked (total), margin_reversed, one a cost component, left (total). `amount` is signed, rounded to the cent,
    and adds up exactly; measured, imputed and assumed split each step. Empty where margin or cost is not known, or of
    too few rows.
    """
    period: dict[str, Any] = {"where": where, "since": since, "until": until, "as_of": as_of, "scope": scope}
    if any(withheld(build, key, **period) for key in ("gross_margin", "margin_erosion")):
        return pd.DataFrame(columns=["step", "kind", "amount", "measured", "imputed", "assumed"])
    booked = round(
        float(np.nan_to_num(build.fetch(statement(_asked(build, "gross_margin", **period)))[MARGIN.name].sum())), 2
    )
    undone = -round(
        float(np.nan_to_num(build.fetch(statement(_asked(build, "margin_reversed", **period)))[REVERSED.name].sum())), 2
    )
    costs = _order_basis(metric("return_cost"), ("component", "data_status"), build, period)
    steps: list[dict[str, Any]] = [
        {"step": "booked", "kind": "total", "amount": booked, "measured": booked},
        {"step": "margin_reversed", "kind": "step", "amount": undone, "measured": undone},
    ]
    for component in sorted(costs["component"].dropna().unique(), key=COST_COMPONENTS.index):
        mine = costs[costs["component"] == component]
        parts = {
            s: -round(float(mine.loc[mine["data_status"] == s, COST.name].sum()), 2)
            for s in ("measured", "imputed", "assumed")
        }
        steps.append({"step": component, "kind": "step", "amount": round(sum(parts.values()), 2), **parts})
    left = round(sum(round(s["amount"] * 100) for s in steps) / 100, 2)
    steps.append({"step": "left", "kind": "total", "amount": left})
    return (
        pd.DataFrame(steps, columns=["step", "kind", "amount", "measured", "imputed", "assumed"])
        .fillna({"measured": 0.0, "imputed": 0.0, "assumed": 0.0})
        .replace({-0.0: 0.0})
    )
