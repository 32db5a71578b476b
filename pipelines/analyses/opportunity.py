"""What return cost leaves out or rests on.

Assumptions behind it, what goods lose a week, sales missed, customers who do not come back. None of it is booked and
none of it is added to a cost: opportunity and association stand apart, each with its interval or bounds.
"""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Subquery, and_, case, func, literal_column, select

from models.rates import two_sided_z, wilson
from pipelines.analyses.forecast import last_day
from pipelines.errors import UnknownDimension
from pipelines.factors import parameter, parameters
from pipelines.metrics.answer import withheld
from pipelines.metrics.bind import bind, euro_rate
from pipelines.metrics.cautions import doubt, doubted
from pipelines.metrics.compiler import filters
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.facts import LOT_COST, LOTS, ORDERS, leg_cost, legs, lot_cost, lots, orders, promises, recoveries
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, double, looked_up, period_start, seconds_between
from pipelines.warehouse.star import STAR

WINDOW, STRATA = 180, 20  # days a repeat order counts in; customers a stratum has at least
ENOUGH = 100  # recoveries behind a curve, below which the parameter stands
t = STAR.tables


def cost_tornado(build: Build, question: Question = ANYTHING) -> pd.DataFrame:
    """Say what each assumed parameter does to the cost of returns between its bounds.

    Columns: parameter, low, high (reporting currency), caution, reason; widest first. Parameters without bounds and
    those nothing rests on are left out. Low and high are changes of the cost.
    """
    asked = question.takes("What costs rest on", "since", "until")
    bound = bind(build, "return_cost", asked)
    found = _slopes(build, bound)
    for key, amount in _freight(build, bound).items():
        found[key] = found.get(key, 0.0) + amount / max(parameter(*key), 1e-9)
    rows = []
    for (name, of), slope in found.items():
        row = parameters()[name, of]
        if not (row["low"] and row["high"]):
            continue
        ends = sorted(slope * (float(row[k]) - float(row["value"])) for k in ("low", "high"))
        rows.append((f"{name}.{of}".rstrip("."), ends[0], ends[1]))
    frame = doubted(pd.DataFrame(rows, columns=["parameter", "low", "high"]), doubt(build, asked, "return_cost"))
    return (
        frame.assign(width=frame["high"] - frame["low"])
        .sort_values("width", ascending=False, ignore_index=True)
        .drop(columns="width")
    )


def _assumed_costs(build: Build, question: BoundQuestion) -> pd.DataFrame:
    """Sum the costs that are not measured, by component, method and disposition, with the units they are of.

    Columns: component, how, disposition, amount, net (price of the goods), units, checked (inspected or restocked),
    repacked (of these, put on sale again).
    """
    return build.fetch(
        select(
            lot_cost.c.component,
            lot_cost.c.method.label("how"),
            lots.c.disposition,
            func.sum(double(lot_cost.c.amount)).label("amount"),
            func.sum(double(lots.c.net_amount) * lots.c.fx_rate).label("net"),
            func.sum(lots.c.units).label("units"),
            func.sum(
                case((func.coalesce(lots.c.inspected_at, lots.c.restocked_at).is_not(None), lots.c.units), else_=0)
            ).label("checked"),
            func.sum(
                case(
                    (
                        and_(
                            func.coalesce(lots.c.inspected_at, lots.c.restocked_at).is_not(None),
                            lots.c.disposition.in_(["as_new", "b_stock", "marked_down"]),
                        ),
                        lots.c.units,
                    ),
                    else_=0,
                )
            ).label("repacked"),
        )
        .select_from(LOT_COST.table)
        .where(*filters(LOT_COST, question, LOT_COST.time(question)), lot_cost.c.status != literal_column("'measured'"))
        .group_by(lot_cost.c.component, lot_cost.c.method, lots.c.disposition)
    )


def _slopes(build: Build, question: BoundQuestion) -> dict[tuple[str, str], float]:
    """Give what one unit of each parameter adds to the cost, but for freight."""
    found: dict[tuple[str, str], float] = {}
    euro = euro_rate(build)
    sums = _assumed_costs(build, question)
    for component, how, disposition, amount, net, units, checked, repacked in sums.itertuples(index=False, name=None):
        if component == "handling" and how == "usual rates":
            for name, n in (
                ("handling_receipt", units),
                ("handling_inspection", checked),
                ("handling_repacking", repacked),
            ):
                found[name, ""] = found.get((name, ""), 0.0) + float(n) * euro
        elif component == "disposal" and how == "usual rate":
            found["disposal", ""] = found.get(("disposal", ""), 0.0) + float(units) * euro
        elif component == "payment_fee":
            found["payment_fee_lost", ""] = found.get(("payment_fee_lost", ""), 0.0) + float(amount) / max(
                parameter("payment_fee_lost"), 1e-9
            )
        elif component == "value_loss" and how == "treatment not decided":
            found["expected_loss", ""] = found.get(("expected_loss", ""), 0.0) + float(amount) / max(
                parameter("expected_loss"), 1e-9
            )
        elif component == "value_loss" and how == "usual recovery" and ("recovery", str(disposition)) in parameters():
            found["recovery", str(disposition)] = found.get(("recovery", str(disposition)), 0.0) - float(net)
    return found


def _freight(build: Build, question: BoundQuestion) -> dict[tuple[str, str], float]:
    """Sum the freight at usual rates by the parameter behind it, of the parcels of the question's lots."""
    start, end = t["dim_place"].alias("start_place"), t["dim_place"].alias("end_place")
    parcels = select(lots.c.parcel_key).where(
        *filters(LOTS, question, LOTS.time(question)), lots.c.parcel_key.is_not(None)
    )
    is_abroad = start.c.country != end.c.country
    query = (
        select(
            legs.c.role,
            legs.c.element_type,
            legs.c.method,
            is_abroad.label("abroad"),
            func.sum(double(leg_cost.c.amount)).label("amount"),
        )
        .select_from(
            legs.join(leg_cost, leg_cost.c.leg_key == legs.c.leg_key)
            .outerjoin(start, start.c.place_key == legs.c.from_place_key)
            .outerjoin(end, end.c.place_key == legs.c.to_place_key)
        )
        .where(leg_cost.c.method == literal_column("'usual rate'"), legs.c.parcel_key.in_(parcels))
        .group_by(legs.c.role, legs.c.element_type, legs.c.method, is_abroad)
    )
    found: dict[tuple[str, str], float] = {}
    for role, element, method, abroad, amount in build.fetch(query).itertuples(index=False, name=None):
        known = ("freight_first_mile", str(method)) in parameters()
        key = (
            ("freight_first_mile", str(method) if known else "unknown")
            if role == "first_mile"
            else (
                ("freight_hub", "carrier")
                if element == "hub"
                else (
                    ("freight_onward", "")
                    if role == "onward"
                    else ("freight_trunk", "cross_border" if pd.notna(abroad) and abroad else "domestic")
                )
            )
        )
        found[key] = found.get(key, 0.0) + float(amount or 0)
    return found


def fetched() -> Subquery:
    """Select recoveries of goods with a price.

    Columns: disposition, category, season, ordered_on, recovered_on, got and net a unit (reporting currency).
    """
    lot = (
        select(
            lots.c.return_line_key,
            lots.c.disposition,
            func.sum(double(lots.c.net_amount) * lots.c.fx_rate).label("net"),
            func.sum(lots.c.units).label("units"),
        )
        .where(lots.c.disposition.is_not(None))
        .group_by(lots.c.return_line_key, lots.c.disposition)
        .subquery("lot")
    )
    names = ("disposition", "category", "season", "ordered_on", "recovered_on")
    query = (
        select(
            *(recoveries.c[n] for n in names),
            (double(recoveries.c.amount) * recoveries.c.fx_rate / recoveries.c.units).label("got"),
            (lot.c.net / lot.c.units).label("net"),
        )
        .select_from(
            recoveries.join(
                lot,
                and_(
                    lot.c.return_line_key == recoveries.c.return_line_key, lot.c.disposition == recoveries.c.disposition
                ),
            )
        )
        .where(recoveries.c.units > 0, lot.c.net > 0)
    )
    return query.subquery("fetched")


def markdown_curve(build: Build) -> pd.DataFrame:
    """Estimate what goods sold again lose a week.

    Columns: category, season, n, rate (share of the price a week), low, high (90%), is_measured, caution, reason. The
    slope of what recoveries fetched over the net price on the weeks from order to recovery, by least squares on the
    logarithm; the parameter with its bounds where there are too few. The row without category is all together.
    """
    if "markdown_curve" not in build.cache:
        build.cache["markdown_curve"] = _markdown_curve(build)
    curve: pd.DataFrame = build.cache["markdown_curve"]
    return curve.copy()


def _markdown_curve(build: Build) -> pd.DataFrame:
    f = fetched().c
    columns = (f.category, f.season, f.ordered_on, f.recovered_on, f.got, f.net)
    is_new = f.disposition.in_(["as_new", "marked_down"])
    found = build.fetch(select(*columns).where(is_new, f.got > 0, f.ordered_on.is_not(None)))
    found["weeks"] = (pd.to_datetime(found["recovered_on"]) - pd.to_datetime(found["ordered_on"])).dt.days / 7
    found["log"] = np.log((found["got"] / found["net"]).clip(0.05, 1.5))
    rows = [_slope(None, None, found)]
    for (category, season), part in found.groupby(["category", "season"], dropna=False):
        if len(part) >= ENOUGH:
            rows.append(_slope(category, season, part))
    curve = pd.DataFrame(rows, columns=["category", "season", "n", "rate", "low", "high", "is_measured"])
    return doubted(curve, doubt(build, ANYTHING, "recovery_rate"))


def _slope(category: Any, season: Any, part: pd.DataFrame) -> tuple[Any, ...]:
    row = parameters()["markdown_week", ""]
    x, y = part["weeks"].to_numpy(float), part["log"].to_numpy(float)
    if len(part) < ENOUGH or x.std() < 0.5:
        return category, season, len(part), float(row["value"]), float(row["low"]), float(row["high"]), False
    slope, cut = np.polyfit(x, y, 1)
    rest = y - slope * x - cut
    error = float(np.sqrt(rest.var(ddof=2) / ((x - x.mean()) ** 2).sum()))
    return (
        category,
        season,
        len(part),
        -float(slope),
        -float(slope) - two_sided_z(0.9) * error,
        -float(slope) + two_sided_z(0.9) * error,
        True,
    )


def lost_sales(build: Build, question: Question = ANYTHING) -> pd.DataFrame:
    """Estimate margin missed while goods that went back on sale were away.

    Columns: category, units, days (mean away), value, low, high (reporting currency), caution, reason. An opportunity,
    never a cost: probability that the size is sold out (assumed, with its bounds) x chance of a sale on those days at
    the product's own pace, one unit at most x margin.
    """
    bound = bind(build, "returned_units", question.takes("Lost sales", "since", "until"))
    last = last_day(build)
    names = ["category", "units", "days", "value", "low", "high"]
    if last is None:
        return pd.DataFrame(columns=names)
    pace = build.fetch(
        select(orders.c.product_id, func.sum(orders.c.units_sold).label("sold"))
        .where(orders.c.ordered_on > last - timedelta(364), orders.c.product_id.is_not(None))
        .group_by(orders.c.product_id)
    )
    away = seconds_between(func.coalesce(lots.c.handed_over_at, lots.c.requested_at), lots.c.restocked_at) / double(
        86400
    )
    query = select(
        lots.c.product_id,
        lots.c.category,
        lots.c.units,
        away.label("days"),
        (double(lots.c.net_amount - lots.c.cost_amount) * lots.c.fx_rate / lots.c.units).label("margin"),
    ).where(
        *filters(LOTS, bound, LOTS.time(bound)),
        lots.c.restocked_at.is_not(None),
        lots.c.outcome == literal_column("'resold_as_new'"),
        lots.c.units > 0,
    )
    found = build.fetch(query)
    daily = looked_up(found["product_id"], pace.set_index("product_id")["sold"]).fillna(0).astype(float) / 364
    chance = np.minimum(daily * found["days"].astype(float).clip(lower=0), 1.0)
    row = parameters()["stock_out_probability", ""]
    missed = chance * found["units"] * found["margin"].astype(float).clip(lower=0)
    for name, key in (("value", "value"), ("low", "low"), ("high", "high")):
        found[name] = missed * float(row[key])
    summed = found.groupby("category", as_index=False).agg(
        units=("units", "sum"), days=("days", "mean"), value=("value", "sum"), low=("low", "sum"), high=("high", "sum")
    )[names]
    return doubted(summed, doubt(build, question, "returned_units"))


def repeat_rates(build: Build, *, level: float = 0.9) -> pd.DataFrame:
    """Say how many customers ordered again within 180 days of an order, by what became of it.

    Columns: group, customers, rate, low, high, is_enough, caution, reason. Groups: no_return, kept and broken (the
    refund promise of its return). Each customer counts once, by the first order of the window that can be followed for
    180 days. Customers without a return and with a promise kept are weighed to the months and categories of those with
    a broken one. Association, not effect: people who return differ from those who do not.
    """
    last = last_day(build)
    names = ["group", "customers", "rate", "low", "high", "is_enough"]
    if last is None:
        return pd.DataFrame(columns=names)
    found = _orders_of_customers(build)
    if found.empty:
        return pd.DataFrame(columns=names)
    index = _first_orders(found, last)
    target = index[index["group"] == "broken"]["stratum"].value_counts()
    rows = []
    for group in _GROUPS:
        mine = index[index["group"] == group]
        rows.append((group, len(mine), *_repeat_rate(mine, None if group == "broken" else target, level)))
    return doubted(pd.DataFrame(rows, columns=names), doubt(build, ANYTHING, "promise_kept"))


_GROUPS = ("no_return", "kept", "broken")


def _orders_of_customers(build: Build) -> pd.DataFrame:
    """Give the orders of known customers: day, category, lines returned, and what became of the refund promise."""
    state = case((promises.c.ended_at > promises.c.due_at, "broken"), (promises.c.ended_at.is_not(None), "kept"))
    told = (
        select(lots.c.order_line_key, func.max(state).label("state"), func.min(state).label("least"))
        .select_from(
            lots.join(
                promises,
                and_(promises.c.return_key == lots.c.return_key, promises.c.promise_id == literal_column("'refund'")),
            )
        )
        .where(lots.c.order_line_key.is_not(None), lots.c.confirmed_at.is_not(None))
        .group_by(lots.c.order_line_key)
        .subquery("told")
    )
    back = (
        select(lots.c.order_line_key)
        .where(lots.c.order_line_key.is_not(None), lots.c.confirmed_at.is_not(None))
        .distinct()
        .subquery("back")
    )
    query = (
        select(
            orders.c.customer_key,
            orders.c.order_key,
            orders.c.ordered_on,
            func.min(orders.c.category).label("category"),
            func.min(told.c.least).label("state"),
            func.count(back.c.order_line_key).label("returned"),
        )
        .select_from(
            orders.outerjoin(told, told.c.order_line_key == orders.c.order_line_key).outerjoin(
                back, back.c.order_line_key == orders.c.order_line_key
            )
        )
        .where(orders.c.customer_key.is_not(None), orders.c.units_sold > 0)
        .group_by(orders.c.customer_key, orders.c.order_key, orders.c.ordered_on)
    )
    return build.fetch(query)


def _first_orders(found: pd.DataFrame, last: date) -> pd.DataFrame:
    """Give each customer's first order of the year that can be followed, its group, its stratum, and `again`."""
    found["ordered_on"] = pd.to_datetime(found["ordered_on"])
    found = found.sort_values(["customer_key", "ordered_on", "order_key"], ignore_index=True)
    following = found.groupby("customer_key")["ordered_on"].shift(-1)
    found["again"] = ((following - found["ordered_on"]).dt.days <= WINDOW).astype(float)
    found["group"] = np.where(found["returned"] == 0, "no_return", found["state"].fillna(""))
    end = pd.Timestamp(last) - pd.Timedelta(days=WINDOW)
    index = found[
        (found["ordered_on"] <= end)
        & (found["ordered_on"] > end - pd.Timedelta(days=365))
        & found["group"].isin(_GROUPS)
    ]
    index = index.drop_duplicates("customer_key")
    return index.assign(stratum=index["ordered_on"].dt.strftime("%Y-%m") + "|" + index["category"].fillna(""))


def _repeat_rate(mine: pd.DataFrame, target: "pd.Series[int] | None", level: float) -> tuple[float, float, float, bool]:
    """Give the rate of repeat orders with its interval, and whether enough customers are behind it.

    Weighed to the strata of `target`, where it is given.
    """
    unknown = (np.nan, np.nan, np.nan, False)
    if mine.empty:
        return unknown
    weight = (
        looked_up(mine["stratum"], target).fillna(0) / looked_up(mine["stratum"], mine["stratum"].value_counts())
        if target is not None
        else pd.Series(1.0, index=mine.index)
    )
    total = float(weight.sum())
    if not total:
        return unknown
    rate = float((weight * mine["again"]).sum() / total)
    effective = total**2 / float((weight**2).sum())
    low, high = wilson(np.array([rate * effective]), np.array([effective]), level, 1.0)
    return rate, float(low[0]), float(high[0]), effective >= STRATA


_EROSION = ("group", "sold", "returned", "margin", "erosion", "per_sold", "per_returned", "share")
CUTS = ("policy", "cohort", "country", "category", "style_id")


def erosion_by(build: Build, by: str, question: Question = ANYTHING) -> pd.DataFrame:
    """Cut the erosion of margin by what no metric knows.

    By policy version, customer cohort (quarter of the first order), market, category or style.

    One row a group: group, sold, returned, margin (booked), erosion (undone margin and cost of returns), per_sold,
    per_returned, share (of the margin); the largest erosion first. Returns that name no order are left out. Raises
    UnknownDimension.
    """
    if by not in CUTS:
        raise UnknownDimension(f"Erosion cannot be cut by {by!r} here. It can be cut by: {', '.join(CUTS)}.")
    if withheld(build, "margin_erosion", question.takes("A cut of the erosion", "since", "until")):
        return pd.DataFrame(columns=_EROSION)
    found = _sales_and_returns(build, by, replace(bind(build, "margin_erosion", question), basis="order"))
    found["erosion"] = found["reversed"] + found["cost"]
    for name, over in (("per_sold", "sold"), ("per_returned", "returned"), ("share", "margin")):
        found[name] = found["erosion"] / found[over].where(found[over] > 0)
    if by == "policy":
        found["group"] = _policy_names(build, found["group"])
    elif by == "cohort":
        found["group"] = [
            f"{pd.Timestamp(g).year}-Q{pd.Timestamp(g).quarter}" if pd.notna(g) else "-" for g in found["group"]
        ]
    return found.sort_values(["erosion", "group"], ascending=[False, True], ignore_index=True)[list(_EROSION)]


def _sales_and_returns(build: Build, by: str, question: BoundQuestion) -> pd.DataFrame:
    """Sum by group what was sold, its margin, what came back, the margin undone and the cost of returns."""
    customers = t["dim_customer"]

    def group(table: Any) -> Any:
        return (
            table.c.policy_key
            if by == "policy"
            else period_start("quarter", customers.c.first_ordered_on)
            if by == "cohort"
            else table.c[by]
        )

    def of(table: Any) -> Any:
        return table.outerjoin(customers, customers.c.customer_key == table.c.customer_key) if by == "cohort" else table

    of_orders, of_lots = filters(ORDERS, question, ORDERS.time(question)), filters(LOTS, question, LOTS.time(question))
    sold = build.fetch(
        select(
            group(orders).label("group"),
            func.sum(orders.c.units_sold).label("sold"),
            func.sum(double(orders.c.net_amount - orders.c.cost_amount) * orders.c.fx_rate).label("margin"),
        )
        .select_from(of(orders))
        .where(*of_orders, orders.c.units_sold != 0)
        .group_by(group(orders))
    ).set_index("group")
    undone = and_(
        lots.c.confirmed_at.is_not(None),
        lots.c.return_type.not_in([literal_column("'exchange'"), literal_column("'price_adjustment'")]),
    )
    back = build.fetch(
        select(
            group(lots).label("group"),
            func.sum(case((and_(lots.c.confirmed_at.is_not(None), lots.c.is_headline), lots.c.units), else_=0)).label(
                "returned"
            ),
            func.sum(case((undone, double(lots.c.net_amount - lots.c.cost_amount) * lots.c.fx_rate))).label("reversed"),
        )
        .select_from(of(lots))
        .where(*of_lots, lots.c.ordered_on.is_not(None))
        .group_by(group(lots))
    ).set_index("group")
    cost = build.fetch(
        select(group(lots).label("group"), func.sum(double(lot_cost.c.amount)).label("cost"))
        .select_from(of(lots).join(lot_cost, lot_cost.c.return_lot_key == lots.c.return_lot_key))
        .where(*of_lots, lots.c.ordered_on.is_not(None))
        .group_by(group(lots))
    ).set_index("group")
    return (
        pd.concat([sold, back, cost], axis=1, sort=False).astype(float).fillna(0.0).rename_axis("group").reset_index()
    )


def _policy_names(build: Build, keys: "pd.Series[Any]") -> list[str]:
    """Name policy versions by their id and first day; - for none."""
    policies = t["dim_policy"]
    names = build.fetch(select(policies.c.policy_key, policies.c.policy_id, policies.c.valid_from))
    told = {
        float(k): f"{p.split(':')[-1]} {pd.Timestamp(v).date()}" for k, p, v in names.itertuples(index=False, name=None)
    }
    return [told.get(float(g), "-") if pd.notna(g) else "-" for g in keys]
