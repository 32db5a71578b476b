"""Facts of what the law adds to late refunds: each lot of a withdrawal with the periods of the scale that binds it."""

from sqlalchemy import and_, case, func, literal_column, or_

from pipelines.metrics.declare import FactTable
from pipelines.metrics.facts import LOT_DAYS, LOT_DIMENSIONS, first_event, lots, t
from pipelines.warehouse.engine import Expression, days_between, double
from pipelines.warehouse.rules import Time

late = t["estimate_late_refund"]
LATE = FactTable(
    "late_refunds",
    lots.join(late, late.c.return_key == lots.c.return_key),
    LOT_DAYS,
    LOT_DIMENSIONS,
    first_event,
    {},
    {},
    (
        lots.c.return_line_id,
        lots.c.return_id,
        lots.c.requested_on,
        lots.c.product_id,
        lots.c.units,
        lots.c.net_amount,
        lots.c.vat_amount,
        late.c.rule,
        late.c.due_on,
        late.c.starts_on,
        late.c.share,
        late.c.yearly_rate,
        late.c.is_assumed,
    ),
    weight=lots.c.units,
    noun="returned units",
    fault=func.coalesce(late.c.date_fault, lots.c.date_fault),
    fault_kind="undated",
    own=lots.c.dimensions,
)


def with_vat(_: Time) -> Expression:
    """Give what a lot's units were sold for, with VAT, in the reporting currency."""
    return (double(lots.c.net_amount) + double(lots.c.vat_amount)) * lots.c.fx_rate


def is_open(now: Time) -> Expression:
    """Say of a lot that its withdrawal stands and its money has not gone back."""
    ends = ("refunded_at", "exchanged_at", "cancelled_at", "rejected_at", "expired_at")
    return and_(lots.c.return_type == literal_column("'withdrawal'"), *(now.open(lots.c[n]) for n in ends))


def is_late(now: Time) -> Expression:
    """Say of an open lot and a period that the observation time is in it; or that its promise has no date."""
    within = and_(late.c.starts_at <= now.at, or_(late.c.ends_at.is_(None), late.c.ends_at > now.at))
    return and_(is_open(now), or_(within, late.c.date_fault.is_not(None)))


def share_added(now: Time) -> Expression:
    """Give the share of the sum due that is added at the observation time, within a period.

    A day of interest is begun with the period, and every 24 hours later.
    """
    days = double(func.floor(days_between(late.c.starts_at, now.at))) + double(1)
    return late.c.share + late.c.yearly_rate * days / double(365)


def added(now: Time) -> Expression:
    """Give what the law adds to a lot's price."""
    return with_vat(now) * share_added(now)


def added_by_assumed_rate(now: Time) -> Expression:
    """Give the part of it that is interest at a rate which is not that of its days."""
    return case((late.c.is_assumed, added(now)), else_=double(0))
