"""Cost of each return leg: invoiced, by rate card, or shared out."""

from typing import Any

from sqlalchemy import Select, and_, case, false, func, null, or_, select
from sqlalchemy.sql.expression import FromClause

from models import cost
from pipelines.estimate.leg_carbon import OF_PARCEL, leg_carbon
from pipelines.estimate.sql import (
    Connection,
    euro_rate,
    euro_rates,
    fill,
    goods_of,
    rate_of,
    t,
    wanted,
)
from pipelines.factors import ledger, parameter, parameters
from pipelines.settings import Settings
from pipelines.warehouse.engine import Expression, double
from pipelines.warehouse.shards import Shards


def legs(connection: Connection, settings: Settings, shards: Shards, where_leg: str) -> None:
    """Fill estimate_leg_carbon and estimate_leg_cost for some legs.

    Those matching `where_leg`, a predicate on fact_return_leg.
    """
    leg = wanted(connection, "fact_return_leg", where_leg)
    leg_carbon(connection, ledger(settings), leg, shards)
    has_cards = bool(connection.execute("SELECT count(*) FROM dim_rate_card").fetchall()[0][0])
    rates = euro_rates(connection)
    for _ in shards.each(connection, OF_PARCEL, ("estimate_leg_cost",)):
        fill(connection, "estimate_leg_cost", _leg_cost(leg, rates, has_cards=has_cards))


def _leg_cost(leg: Any, rates: dict[str, float], *, has_cards: bool) -> Select[Any]:
    """Cost of every leg.

    Its invoice; else its part of the parcel's carrier invoice; else nothing where the retailer does not pay it as a
    leg; else of the rate card; else the usual rate.
    """
    start, end = t["dim_place"].alias("start"), t["dim_place"].alias("finish")
    methods = [name for parameter_name, name in parameters() if parameter_name == "freight_first_mile"]
    first_mile = case(
        *((leg.c.method == m, parameter("freight_first_mile", m)) for m in methods),
        else_=parameter("freight_first_mile", "unknown"),
    )
    trunk = case(
        (start.c.country != end.c.country, parameter("freight_trunk", "cross_border")),
        else_=parameter("freight_trunk", "domestic"),
    )
    rate = case(
        (leg.c.role == "first_mile", first_mile),
        (leg.c.element_type == "hub", parameter("freight_hub", "carrier")),
        (leg.c.role == "onward", parameter("freight_onward")),
        else_=trunk,
    )
    customer = leg.c.role.in_(("customer_trip", "packaging"))
    handling = or_(leg.c.role == "treatment", and_(leg.c.element_type == "hub", leg.c.carrier.is_(None)))
    invoiced = leg.c.cost_amount.is_not(None)
    euro, billed, priced = euro_rate(rates), _billed(), _priced(leg, rates) if has_cards else _unpriced()
    by_carrier = leg.c.carrier.is_not(None) & ~customer
    of_bill = and_(by_carrier, billed.c.parcel_key.is_not(None))
    of_card = and_(by_carrier, priced.c.parcel_key.is_not(None))
    return (
        select(
            leg.c.leg_key,
            case(
                (invoiced, cost.leg_cost(double(leg.c.cost_amount), leg.c.fx_rate)),
                (of_bill, case((billed.c.leg_key == leg.c.leg_key, billed.c.amount), else_=0.0)),
                (customer | handling, 0.0),
                (of_card, case((priced.c.leg_key == leg.c.leg_key, priced.c.amount), else_=0.0)),
                else_=cost.leg_cost(double(rate), euro),
            ).label("amount"),
            case(
                (or_(invoiced, of_bill), "measured"), (or_(customer | handling, of_card), "imputed"), else_="assumed"
            ).label("status"),
            case(
                (invoiced, "invoice"),
                (of_bill, "carrier invoice"),
                (customer, "the customer pays"),
                (handling, "part of handling"),
                (of_card, "rate card"),
                else_="usual rate",
            ).label("method"),
        )
        .select_from(leg)
        .outerjoin(start, start.c.place_key == leg.c.from_place_key)
        .outerjoin(end, end.c.place_key == leg.c.to_place_key)
        .outerjoin(billed, billed.c.parcel_key == leg.c.parcel_key)
        .outerjoin(priced, priced.c.parcel_key == leg.c.parcel_key)
    )


def rated_sum(amount: Expression, rate: Expression) -> Expression:
    """Sum amounts in the reporting currency.

    NULL where one of them has no exchange rate, so that no sum is taken for the whole.
    """
    return case((func.count(amount) == func.count(amount * rate), func.sum(double(amount) * rate)))


def _billed() -> FromClause:
    """Sum the matched lines of carriers' invoices a parcel, duties left out: they are a component of their own.

    Lines of an element are laid where they are.
    """
    line = t["fact_carrier_invoice"]
    return (
        select(line.c.parcel_key, line.c.leg_key, rated_sum(line.c.amount, line.c.fx_rate).label("amount"))
        .where(line.c.leg_key.is_not(None), line.c.parcel_key.is_not(None), line.c.kind != "duty")
        .group_by(line.c.parcel_key, line.c.leg_key)
        .subquery("billed")
    )


def _unpriced() -> FromClause:
    """Give no price to any parcel."""
    leg = t["fact_return_leg"]
    return select(leg.c.parcel_key, leg.c.leg_key, double(null()).label("amount")).where(false()).subquery("priced")


def _priced(leg: Any, rates: dict[str, float]) -> FromClause:
    """Price parcels by the rate card of their first leg by a carrier.

    The zone, method and weight break that fit, the narrowest first.
    """
    card, goods = t["dim_rate_card"], goods_of(None)
    first = (
        select(
            leg.c.parcel_key,
            func.arg_min(leg.c.leg_key, leg.c.element_no).label("leg_key"),
            func.arg_min(leg.c.carrier, leg.c.element_no).label("carrier"),
            func.arg_min(leg.c.method, leg.c.element_no).label("method"),
            func.arg_min(leg.c.country, leg.c.element_no).label("country"),
            func.min(leg.c.started_at).label("started_at"),
            func.max(leg.c.mass_kg).label("mass_kg"),
        )
        .where(leg.c.element_type == "transport", leg.c.carrier.is_not(None))
        .group_by(leg.c.parcel_key)
        .subquery("first")
    )
    mass = func.coalesce(first.c.mass_kg, goods.c.goods_kg + parameter("packaging_mass"), parameter("parcel_mass"))
    price = (
        double(card.c.price) * (1 + func.coalesce(card.c.fuel_share, 0.0)) + double(func.coalesce(card.c.surcharge, 0))
    ) * rate_of(card.c.currency, rates)
    fit = case((card.c.method.is_not(None), 2), else_=0) + case((card.c.country.is_not(None), 1), else_=0)
    return (
        select(first.c.parcel_key, first.c.leg_key, func.arg_max(price, fit).label("amount"))
        .select_from(
            first.join(
                card,
                and_(
                    card.c.carrier == first.c.carrier,
                    or_(card.c.method.is_(None), card.c.method == first.c.method),
                    or_(card.c.country.is_(None), card.c.country == first.c.country),
                    card.c.valid_from <= first.c.started_at,
                    or_(card.c.valid_to.is_(None), first.c.started_at < card.c.valid_to),
                ),
            ).outerjoin(goods, goods.c.parcel_key == first.c.parcel_key)
        )
        .where(
            mass >= func.coalesce(card.c.weight_from_kg, 0.0),
            or_(card.c.weight_to_kg.is_(None), mass < card.c.weight_to_kg),
        )
        .group_by(first.c.parcel_key, first.c.leg_key)
        .subquery("priced")
    )
