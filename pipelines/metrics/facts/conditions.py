"""Conditions and amounts that declarations share."""

from sqlalchemy import and_, func, literal_column, or_
from sqlalchemy.sql.expression import FromClause

from pipelines.metrics.declare import FactTable, Sum, both
from pipelines.metrics.facts import CREDITS, LOTS, ORDERS, bought, credited, lots, matches, orders
from pipelines.warehouse.engine import Expression, double, ratio
from pipelines.warehouse.rules import Sql, Time


def money(table: FromClause, name: str) -> Sql:
    """Give an amount in the reporting currency, at the rate of its own day; missing where no rate is."""
    return lambda _: double(table.c[name]) * table.c.fx_rate


def units(table: FromClause = lots) -> Sql:
    """Count units."""
    return lambda _: table.c.units


def is_confirmed(table: FromClause = lots) -> Sql:
    """Say whether units came back: confirmed by the observation time.

    A return cancelled or lost after `as_of` was still under way then, so its stages speak.
    """

    def condition(now: Time) -> Expression:
        confirmed = now.happened(table.c.confirmed_at)
        if now.as_of is None:
            return confirmed
        stopped = func.coalesce(table.c.cancelled_at, table.c.rejected_at, table.c.expired_at, table.c.lost_at)
        came = [now.happened(table.c[c]) for c in ("carrier_scan_at", "received_at", "inspected_at", "refunded_at")]
        return or_(confirmed, and_(stopped.is_not(None), now.open(stopped), or_(*came)))

    return condition


def is_headline(table: FromClause = lots) -> Sql:
    """Say whether the return counts in headline rates."""
    return lambda _: table.c.is_headline


def of_type(*types: str, table: FromClause = lots) -> Sql:
    """Say whether the return is of one of these natures."""
    return lambda _: table.c.return_type.in_([literal_column(f"'{x}'") for x in types])


def is_bound(_: Time) -> Expression:
    """Say whether a credit was matched to a purchase as a return, not an order-entry cancellation."""
    return matches.c.is_cancellation.is_(False)


def is_cancellation(_: Time) -> Expression:
    """Say whether a credit undid an order entry within the hour."""
    return matches.c.is_cancellation


def _share_of_credit(column: Expression) -> Expression:
    return ratio(column, credited.c.units) * double(matches.c.units)


def returned(amount: str = "units", *conditions: Sql, headline: bool = True, basis: str = "order") -> tuple[Sum, ...]:
    """Sum over confirmed returns: `units`, or an amount of the lot in the reporting currency.

    On the order basis bound credits count on their purchase's day; on the return basis cancelled order entries do not
    count.
    """
    own = [is_confirmed(), *([is_headline()] if headline else []), *conditions]
    through = [is_confirmed(credited), *([is_headline(credited)] if headline else [])]
    of_lot = units() if amount == "units" else money(lots, amount)
    of_credit: Sql = (
        (lambda _: matches.c.units)
        if amount == "units"
        else (lambda _: _share_of_credit(credited.c[amount]) * credited.c.fx_rate)
    )
    if basis == "order":
        return (Sum(LOTS, of_lot, both(*own), of_orders=True), Sum(CREDITS, of_credit, both(*through, is_bound)))
    return (Sum(LOTS, of_lot, both(*own)), Sum(CREDITS, lambda now: -of_credit(now), both(*through, is_cancellation)))


def sold(amount: str = "units_sold", *conditions: Sql, base: FactTable = ORDERS) -> tuple[Sum, ...]:
    """Sum over sold goods, exchanges and cancelled order entries left out; `base` is one that knows all of them."""
    cancelled: Sql
    if amount == "units_sold":
        whole: Sql = lambda _: orders.c.units_sold  # noqa: E731
        cancelled = lambda _: -matches.c.units  # noqa: E731
        return (Sum(base, whole, both(*conditions) if conditions else None), Sum(CREDITS, cancelled, is_cancellation))
    goods: Sql = lambda _: orders.c.units_sold != 0  # noqa: E731
    cancelled = lambda _: -ratio(bought.c[amount], bought.c.units_sold) * double(matches.c.units) * bought.c.fx_rate  # noqa: E731
    return (Sum(base, money(orders, amount), both(goods, *conditions)), Sum(CREDITS, cancelled, is_cancellation))
