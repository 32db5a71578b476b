"""What a returned lot's carbon and cost follow from, one row a lot.

Here: its share of its parcel, the parcel's legs, duties and claims, the site's rates, what was recovered, the fee,
selling prices, and which money has no exchange rate. Not here: the components of cost (cost_components.py).
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Date, Integer, Select, and_, case, cast, false, func, literal, null, or_, select, true, union_all
from sqlalchemy.sql.expression import FromClause, Subquery

from models import cost
from pipelines.estimate.leg_cost import rated_sum
from pipelines.estimate.sql import ASSUMED, IMPUTED, MEASURED, is_live, rate_of, t
from pipelines.warehouse.engine import Expression, double
from pipelines.warehouse.vocabulary import HANDLING

PRICE_UNITS = 10  # units of a style sold in a month, at least, for its selling price to be read


def style_price(few: Any) -> Select[Any]:
    """Give the mean selling price of a style in a month, in the reporting currency, where enough units were sold.

    Of a few lots' styles, or all.
    """
    order = t["fact_order_line"]
    sold = func.sum(double(order.c.units_sold))
    month = func.date_trunc("month", order.c.ordered_on)
    return (
        select(
            order.c.source,
            order.c.style_id,
            month.label("month"),
            (func.sum(double(order.c.net_amount) * order.c.fx_rate) / sold).label("price"),
        )
        .where(
            order.c.units_sold > 0,
            order.c.line_type == "goods",
            order.c.style_id.is_not(None),
            *([] if few is None else [order.c.style_id.in_(select(few.c.style_id))]),
        )
        .group_by(order.c.source, order.c.style_id, month)
        .having(sold >= PRICE_UNITS)
    )


@dataclass(frozen=True)
class _Steps:
    """The tables that a lot's basis is read from, and the latest rates of currencies."""

    lot: FromClause
    parcel: Subquery
    chain: Subquery
    duty: Subquery
    claim: Subquery
    site: Subquery
    recovered: Subquery
    of_return: Subquery
    price_then: Any
    price_now: Any
    rates: dict[str, float]
    order: Any = t["fact_order_line"]
    policy: Any = t["dim_policy"]


def lot_basis(lot: Any, price: Any, rates: dict[str, float], *, is_whole: bool) -> Select[Any]:
    """Give all that a lot's carbon and cost follow from, one row a lot; `is_whole` says that it is of every lot."""

    def of_lots(key: Any) -> Expression:
        return true() if is_whole else key.in_(select(lot.c[key.name]))

    steps = _Steps(
        lot,
        _parcel_mass(lot),
        _parcel_legs(of_lots(t["fact_return_leg"].c.parcel_key)),
        _parcel_duty(),
        _parcel_claim(),
        _site_rates(lot, rates),
        _recovered(of_lots(t["fact_recovery"].c.return_line_key)),
        _return_units(of_lots),
        price.alias("price_then"),
        price.alias("price_now"),
        rates,
    )
    return select(
        lot.c.return_lot_key,
        _is_costed(lot).label("is_costed"),
        lot.c.return_type,
        lot.c.disposition,
        double(lot.c.units).label("units"),
        lot.c.received_at,
        lot.c.inspected_at,
        lot.c.restocked_at,
        lot.c.lost_at,
        *(amount.label(name) for name, amount in _lot_amounts(steps).items()),
        *(weight.label(name) for name, weight in _lot_weights(steps).items()),
        steps.chain.c.kg_co2e,
        steps.chain.c.kg_co2e_measured,
        steps.chain.c.kg_co2e_primary,
        steps.chain.c.unknown_legs,
        steps.chain.c.freight,
        steps.chain.c.freight_rank,
        steps.duty.c.amount.label("duty"),
        steps.claim.c.amount.label("claim"),
        *(steps.site.c[n].label(f"rate_{n}") for n in HANDLING),
        *(func.coalesce(test, false()).label(f"unrated_{n}") for n, test in _unrated_money(steps).items()),
    ).select_from(_joined(steps))


def _parcel_mass(lot: Any) -> Subquery:
    """Give the units of each parcel, those of its live lots, and the mass of these where all are weighed."""
    mass = lot.c.weight_kg * double(lot.c.units)
    live = is_live(lot)
    return (
        select(
            lot.c.parcel_key,
            func.sum(double(lot.c.units)).label("units"),
            func.sum(case((live, double(lot.c.units)))).label("live_units"),
            case((func.count(case((live, 1))) == func.count(case((live, mass))), func.sum(case((live, mass))))).label(
                "live_kg"
            ),
        )
        .where(lot.c.parcel_key.is_not(None))
        .group_by(lot.c.parcel_key)
        .subquery("parcel")
    )


def _leg_parts() -> Subquery:
    """Give what each leg adds to its parcel: its carbon, its cost, its cost without an exchange rate."""
    leg_carbon, leg_cost = t["estimate_leg_carbon"], t["estimate_leg_cost"]
    rank = case((leg_cost.c.status == "measured", MEASURED), (leg_cost.c.status == "imputed", IMPUTED), else_=ASSUMED)
    measured = case((leg_carbon.c.status == "measured", leg_carbon.c.kg_co2e), else_=0.0)
    return union_all(
        select(
            leg_carbon.c.leg_key,
            leg_carbon.c.kg_co2e,
            measured.label("kg_co2e_measured"),
            (leg_carbon.c.kg_co2e * func.coalesce(leg_carbon.c.primary_share, 0.0)).label("kg_co2e_primary"),
            case((leg_carbon.c.kg_co2e.is_(None), 1), else_=0).label("unknown_legs"),
            double(null()).label("freight"),
            cast(null(), Integer).label("freight_rank"),
            literal(0).label("unrated_legs"),
        ),
        select(leg_cost.c.leg_key, null(), null(), null(), null(), double(leg_cost.c.amount), rank, literal(0)).where(
            leg_cost.c.amount != 0
        ),
        select(leg_cost.c.leg_key, null(), null(), null(), null(), null(), null(), literal(1)).where(
            leg_cost.c.amount.is_(None)
        ),
    ).subquery("parts")


def _parcel_legs(of_lots: Expression) -> Subquery:
    """Add up the carbon and the freight of each parcel's legs, and count those without."""
    leg, parts = t["fact_return_leg"], _leg_parts()
    sums: Any = (
        func.sum(parts.c[n]).label(n)
        for n in ("kg_co2e", "kg_co2e_measured", "kg_co2e_primary", "unknown_legs", "freight", "unrated_legs")
    )
    return (
        select(leg.c.parcel_key, *sums, func.max(parts.c.freight_rank).label("freight_rank"))
        .join(parts, parts.c.leg_key == leg.c.leg_key)
        .where(of_lots)
        .group_by(leg.c.parcel_key)
        .subquery("chain")
    )


def _parcel_duty() -> Subquery:
    """Add up the duties that carriers invoiced of each parcel."""
    line = t["fact_carrier_invoice"]
    return (
        select(line.c.parcel_key, rated_sum(line.c.amount, line.c.fx_rate).label("amount"))
        .where(line.c.kind == "duty", line.c.parcel_key.is_not(None))
        .group_by(line.c.parcel_key)
        .subquery("duty")
    )


def _parcel_claim() -> Subquery:
    """Add up what carriers paid on claims of each parcel."""
    filed = t["fact_carrier_claim"]
    return (
        select(filed.c.parcel_key, rated_sum(filed.c.paid_amount, filed.c.fx_rate).label("amount"))
        .where(filed.c.paid_amount > 0)
        .group_by(filed.c.parcel_key)
        .subquery("claim")
    )


def _site_rates(lot: Any, rates: dict[str, float]) -> Subquery:
    """Give the cost of a unit by activity at the site and time that each lot was handled, where the site has rates."""
    hour = t["dim_handling_rate"]
    minute_cost = double(hour.c.minutes) * double(hour.c.hourly_cost) / 60 * rate_of(hour.c.currency, rates)
    handled_at = func.coalesce(lot.c.received_at, lot.c.inspected_at, lot.c.restocked_at)
    return (
        select(
            lot.c.return_lot_key,
            (func.count() > func.count(rate_of(hour.c.currency, rates))).label("is_unrated"),
            *(func.sum(case((hour.c.activity == n, minute_cost))).label(n) for n in HANDLING),
        )
        .join(
            hour,
            and_(
                hour.c.place_id == lot.c.place_id,
                hour.c.valid_from <= handled_at,
                or_(hour.c.valid_to.is_(None), handled_at < hour.c.valid_to),
            ),
        )
        .group_by(lot.c.return_lot_key)
        .subquery("site")
    )


def _recovered(of_lots: Expression) -> Subquery:
    """Add up what was recovered of each return line by disposition, and what its treatment cost."""
    recovery = t["fact_recovery"]
    return (
        select(
            recovery.c.return_line_key,
            recovery.c.disposition,
            func.sum(double(recovery.c.units)).label("units"),
            rated_sum(recovery.c.amount, recovery.c.fx_rate).label("amount"),
            func.count(recovery.c.amount).label("amounts"),
            case(
                (func.count(recovery.c.treatment_cost) > 0, rated_sum(recovery.c.treatment_cost, recovery.c.fx_rate)),
                else_=0.0,
            ).label("treatment_cost"),
        )
        .where(recovery.c.units > 0, of_lots)
        .group_by(recovery.c.return_line_key, recovery.c.disposition)
        .subquery("recovered")
    )


def _return_units(of_lots: Any) -> Subquery:
    """Add up the units of each return that its fee is shared by: live, back, and of a type that pays one."""
    whole = t["fact_return_line"].alias("whole")
    return (
        select(whole.c.return_key, func.sum(double(whole.c.units)).label("units"))
        .where(_pays_fee(whole), is_live(whole), whole.c.confirmed_at.is_not(None), of_lots(whole.c.return_key))
        .group_by(whole.c.return_key)
        .subquery("of_return")
    )


def _pays_fee(lot: FromClause) -> Expression:
    """Say whether a lot's return is of a type that pays the policy's fee."""
    return lot.c.return_type.in_(("withdrawal", "commercial"))


def _is_costed(lot: Any) -> Expression:
    """Say whether a lot is one that cost is counted of: back or lost, live, and goods."""
    return and_(
        or_(lot.c.confirmed_at.is_not(None), lot.c.lost_at.is_not(None)),
        is_live(lot),
        lot.c.return_type != "price_adjustment",
    )


def _lot_weights(steps: _Steps) -> dict[str, Expression]:
    """Give the lot's weight in its parcel, and the parcel's: by mass where all are weighed, else by units."""
    lot, parcel = steps.lot, steps.parcel
    live, mass = is_live(lot), lot.c.weight_kg * double(lot.c.units)
    return {
        "weight": case(
            (parcel.c.live_kg > 0, case((live, mass), else_=0.0)),
            (parcel.c.live_units > 0, case((live, double(lot.c.units)), else_=0.0)),
            else_=double(lot.c.units),
        ),
        "total_weight": case(
            (parcel.c.live_kg > 0, parcel.c.live_kg),
            (parcel.c.live_units > 0, parcel.c.live_units),
            else_=parcel.c.units,
        ),
    }


def _units_sold(order: Any) -> Expression:
    """Give the units that an order line's costs are shared by."""
    return double(order.c.units_sold + order.c.units_exchanged_in)


def _fee_rate(steps: _Steps) -> Expression:
    """Give the exchange rate of a policy's fee: the lot's where the currency is the same, else the latest."""
    lot, policy = steps.lot, steps.policy
    return case((policy.c.currency == lot.c.currency, lot.c.fx_rate), else_=rate_of(policy.c.currency, steps.rates))


def _lot_amounts(steps: _Steps) -> dict[str, Expression]:
    """Give the money of a lot in the reporting currency: its own, its order line's, its style's, its fee."""
    lot, order, recovered = steps.lot, steps.order, steps.recovered
    sold, units = _units_sold(order), double(lot.c.units)

    def of_line(amount: Any) -> Expression:
        return case((sold > 0, cost.share_of(double(amount), units, sold) * order.c.fx_rate))

    def of_recovery(amount: Any) -> Expression:
        return double(cost.share_of(amount, units, recovered.c.units))

    fee = cost.share_of(double(steps.policy.c.fee_amount), units, steps.of_return.c.units) * _fee_rate(steps)
    return {
        "net": double(lot.c.net_amount) * lot.c.fx_rate,
        "cost": double(lot.c.cost_amount) * lot.c.fx_rate,
        "outbound": of_line(order.c.outbound_cost),
        "payment_fee": of_line(order.c.payment_fee),
        "commission": of_line(order.c.commission_amount),
        "recovered": of_recovery(recovered.c.amount),
        "treatment_cost": of_recovery(recovered.c.treatment_cost),
        "price_then": steps.price_then.c.price,
        "price_now": steps.price_now.c.price,
        "fee": case((_pays_fee(lot), fee)),
    }


def _unrated_money(steps: _Steps) -> dict[str, Any]:
    """Say which money of a lot has no exchange rate."""
    lot, order, chain, duty, claim = steps.lot, steps.order, steps.chain, steps.duty, steps.claim
    recovered, policy = steps.recovered, steps.policy
    goods = func.coalesce(lot.c.net_amount, lot.c.cost_amount)
    return {
        "goods": and_(lot.c.fx_rate.is_(None), goods.is_not(None)),
        **{
            n: and_(order.c.fx_rate.is_(None), order.c[n].is_not(None), _units_sold(order) > 0)
            for n in ("outbound_cost", "payment_fee", "commission_amount")
        },
        "legs": chain.c.unrated_legs > 0,
        "duty": and_(duty.c.parcel_key.is_not(None), duty.c.amount.is_(None)),
        "claim": and_(claim.c.parcel_key.is_not(None), claim.c.amount.is_(None)),
        "recovery": and_(recovered.c.amounts > 0, recovered.c.amount.is_(None)),
        "treatment": and_(recovered.c.disposition.is_not(None), recovered.c.treatment_cost.is_(None)),
        "site": steps.site.c.is_unrated,
        "fee": and_(_pays_fee(lot), policy.c.fee_amount > 0, _fee_rate(steps).is_(None)),
    }


def _joined(steps: _Steps) -> FromClause:
    """Join to each lot what it follows from, at most one row of each."""
    lot, order, policy, recovered = steps.lot, steps.order, steps.policy, steps.recovered
    handled_on = cast(func.coalesce(lot.c.restocked_at, lot.c.inspected_at), Date)

    def sold_in_month(price: Any, day: Any) -> Expression:
        month = func.date_trunc("month", day)
        return and_(price.c.style_id == lot.c.style_id, price.c.source == lot.c.source, price.c.month == month)

    return (
        lot.outerjoin(steps.parcel, steps.parcel.c.parcel_key == lot.c.parcel_key)
        .outerjoin(steps.chain, steps.chain.c.parcel_key == lot.c.parcel_key)
        .outerjoin(steps.duty, steps.duty.c.parcel_key == lot.c.parcel_key)
        .outerjoin(steps.claim, steps.claim.c.parcel_key == lot.c.parcel_key)
        .outerjoin(steps.site, steps.site.c.return_lot_key == lot.c.return_lot_key)
        .outerjoin(order, order.c.order_line_key == lot.c.order_line_key)
        .outerjoin(
            recovered,
            and_(recovered.c.return_line_key == lot.c.return_line_key, recovered.c.disposition == lot.c.disposition),
        )
        .outerjoin(policy, policy.c.policy_key == lot.c.policy_key)
        .outerjoin(steps.of_return, steps.of_return.c.return_key == lot.c.return_key)
        .outerjoin(steps.price_then, sold_in_month(steps.price_then, lot.c.ordered_on))
        .outerjoin(steps.price_now, sold_in_month(steps.price_now, handled_on))
    )
