"""Facts by stage: pairs of steps, segments, the funnel."""

from typing import Any, NamedTuple

from sqlalchemy import (
    DateTime,
    Integer,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.expression import FromClause

from pipelines.metrics.declare import FactTable
from pipelines.metrics.facts import LOT_COLUMNS, lane, lots, named, reasons_of, return_channel
from pipelines.metrics.facts.of_promises import whole_hours
from pipelines.warehouse.date_order import PAIRS, WAITS
from pipelines.warehouse.engine import Expression, double, seconds_between
from pipelines.warehouse.rules import Sql, Time
from pipelines.warehouse.star import STAR

PAID_EARLY = -2  # cause of a wait for money that was paid before the wait began
_ASKED = STAR.tables["build_coverage"]
_ASKING = (
    select(_ASKED.c.source)
    .where(_ASKED.c.fact == "stage_requested", _ASKED.c.share >= double(0.01))
    .distinct()
    .subquery("asking")
)
"""Sources that tell of requests; where one never does, the return stands for the request.

Joined: not every engine looks into a list.
"""


def is_reversed(first: str, second: str) -> Expression:
    """Say of a lot that its second stage came before its first."""
    return func.coalesce(lots.c.out_of_order, "").like(f"%{first}-{second}%")


def stage_base(name: str, pairs: dict[str, tuple[str, str]]) -> FactTable:
    """Give one row a lot and pair of stages: hours waited and how the wait ended, as a life table counts them.

    Hours are rounded to whole ones; a wait still open at T counts at its age. A pair whose first stage never happened
    gives no row; nor does a lot whose end is not applicable (a refund without receipt ends a wait for receipt: see
    `passed`). Waits from the request of a source that tells of none begin with the return. A wait that ended before it
    began is lost, but for money: goods may be paid before they come, and then nobody waits (`PAID_EARLY`).
    """
    arms = [_wait(stage, start, end) for stage, (start, end) in pairs.items()]
    chosen: Any = union_all(*arms) if len(arms) > 1 else arms[0]
    table = chosen.subquery(name)
    c = table.c

    dimensions = {
        **named(table, *LOT_COLUMNS),
        **reasons_of(table),
        "stage": c.stage,
        "return_channel": return_channel(table),
        "lane": lane(table),
    }
    details: dict[str, Sql] = {
        "cause": lambda now: _wait_end(c, now)[0],
        "hours": lambda now: whole_hours(c.begun_at, _wait_end(c, now)[1]),
        "is_from_return": lambda _: cast(c.is_from_return, Integer),
    }
    ids = (c.return_line_id, c.return_id, c.stage, c.begun_at, c.done_at, c.units)
    days = {"return": c.requested_on, "order": c.ordered_on}
    return FactTable(
        name,
        table,
        days,
        dimensions,
        c.begun_at,
        details,
        {},
        ids,
        weight=c.units,
        noun="waits",
        fault=c.date_fault,
        fault_kind="reversed",
    )


class _Begin(NamedTuple):
    """Where a wait begins: the rows, when, whether with the return instead of the request, and if it ended before."""

    rows: FromClause
    at: Expression
    is_from_return: Expression
    is_reversed: Expression


def _wait_begin(start: str, end: str) -> _Begin:
    """Give where a lot's wait from one stage to another begins.

    A wait for money or stock from the request begins with the return where the source tells of no requests.
    """
    reversed_ = is_reversed(start.removesuffix("_at"), end.removesuffix("_at"))
    if start != "requested_at" or end not in ("refunded_at", "restocked_at"):
        return _Begin(lots, lots.c[start], literal_column("0", Integer), reversed_)
    sent = func.coalesce(lots.c.handed_over_at, lots.c.carrier_scan_at, lots.c.received_at)
    return _Begin(
        lots.outerjoin(_ASKING, _ASKING.c.source == lots.c.source),
        func.coalesce(lots.c.requested_at, case((_ASKING.c.source.is_(None), sent))),
        case((lots.c.requested_at.is_(None), 1), else_=0),
        or_(reversed_, and_(lots.c.requested_at.is_(None), lots.c[end] < sent)),
    )


def _is_paid_early(start: str, end: str, reversed_: Expression) -> Expression:
    """Say whether a lot's wait for money ended before it began because it was paid before its goods came."""
    if end == "refunded_at" and start == "requested_at":
        return and_(reversed_, lots.c.requested_at.is_(None))
    return and_(reversed_, literal_column("TRUE" if end == "refunded_at" else "FALSE"))


def _wait(stage: str, start: str, end: str) -> Select[Any]:
    """Select the lots that wait from one stage to another: from when, what ends it, and the fault of its dates."""
    names = ["requested_on", "ordered_on", "requested_at", "reason", *LOT_COLUMNS]
    stopped = func.least(lots.c.cancelled_at, lots.c.rejected_at, lots.c.expired_at)
    begin = _wait_begin(start, end)
    is_paid_early = _is_paid_early(start, end, begin.is_reversed)
    fault = case(
        (lots.c.date_fault.is_not(None), lots.c.date_fault),
        (and_(begin.is_reversed, ~is_paid_early), literal_column("'ended before it began'", String)),
    )
    return (
        select(
            *(lots.c[n] for n in dict.fromkeys(names)),
            lots.c.return_line_id,
            lots.c.return_id,
            lots.c.units,
            literal_column(f"'{stage}'").label("stage"),
            begin.at.label("begun_at"),
            lots.c[end].label("done_at"),
            stopped.label("stopped_at"),
            lots.c.lost_at,
            passed(end).label("passed_at"),
            fault.label("date_fault"),
            case((is_paid_early, 1), else_=0).label("is_paid_early"),
            begin.is_from_return.label("is_from_return"),
        )
        .select_from(begin.rows)
        .where(begin.at.is_not(None))
    )


def _wait_end(c: Any, now: Time) -> tuple[Expression, Expression]:
    """Give how a wait ended up to a time of observation, as causes of a life table, and when."""
    done, early = now.happened(c.done_at), and_(now.happened(c.done_at), c.is_paid_early == 1)
    cause = case(
        (early, PAID_EARLY),
        (done, 0),
        (now.happened(c.stopped_at), 1),
        (now.happened(c.lost_at), 2),
        (now.happened(c.passed_at), -1),
        else_=3,
    )
    return cast(cause, Integer), case(
        (early, c.begun_at),
        (done, c.done_at),
        (now.happened(c.stopped_at), c.stopped_at),
        (now.happened(c.lost_at), c.lost_at),
        else_=now.at,
    )


def passed(end: str) -> Expression:
    """Give when a lot went past a stage it never recorded: a later stage happened, so the wait is not open."""
    order = (
        "requested_at",
        "approved_at",
        "handed_over_at",
        "carrier_scan_at",
        "received_at",
        "inspected_at",
        "refunded_at",
    )
    later = {"restocked_at": ("disposed_at",), "refunded_at": ("exchanged_at",)}.get(end) or order[
        order.index(end) + 1 :
    ]
    if not later:
        return cast(null(), DateTime)
    return lots.c[later[0]] if len(later) == 1 else func.coalesce(*(lots.c[n] for n in later))


SEGMENTS = {
    "requested-approved": ("asked", "answered", "retailer"),
    "approved-handed_over": ("answered", "sent", "customer"),
    "handed_over-carrier_scan": ("sent", "scanned", "carrier"),
    "carrier_scan-received": ("scanned", "came", "carrier"),
    "received-inspected": ("came", "looked", "retailer"),
    "inspected-refunded": ("looked", "paid", "retailer"),
}
"""The way from request to refund in pieces that follow each other: from, to, and whose time it is."""
_FUNNEL = (
    "requested_at",
    "approved_at",
    "handed_over_at",
    "carrier_scan_at",
    "received_at",
    "inspected_at",
    "refunded_at",
    "restocked_at",
    "cancelled_at",
    "rejected_at",
    "expired_at",
    "lost_at",
)


def _filled() -> dict[str, Expression]:
    """Give when each stage was reached at the latest.

    One nobody recorded, when the next was; an answer nobody recorded, at once.
    """
    c = lots.c
    paid = func.least(c.refunded_at, c.exchanged_at)
    looked = func.coalesce(c.inspected_at, c.restocked_at, c.disposed_at)
    came = func.coalesce(c.received_at, looked)
    scanned = func.coalesce(c.carrier_scan_at, came)
    sent = func.coalesce(c.handed_over_at, scanned)
    answered = func.coalesce(
        c.approved_at, c.rejected_at, case((func.coalesce(sent, paid).is_not(None), c.requested_at))
    )
    return {
        "asked": c.requested_at,
        "answered": answered,
        "sent": sent,
        "scanned": scanned,
        "came": came,
        "looked": looked,
        "paid": paid,
    }


def _segments() -> list[Select[Any]]:
    """Select the lots that reached each piece of the way: when it began and ended, and what overtook or stopped it."""
    filled = _filled()
    names = ["requested_on", "ordered_on", "requested_at", "reason", *LOT_COLUMNS]
    moved = {"handed_over", "carrier_scan", "received", "inspected"}
    pairs = [p for p in PAIRS if p.leaves_out == WAITS and {p.first, p.second} <= moved]
    crossed = or_(*(is_reversed(p.first, p.second) for p in pairs))
    fault = case(
        (lots.c.date_fault.is_not(None), lots.c.date_fault), (crossed, literal_column("'stages out of order'", String))
    )
    return [
        select(
            *(lots.c[n] for n in dict.fromkeys(names)),
            lots.c.return_line_id,
            lots.c.return_id,
            lots.c.units,
            literal_column(f"'{piece}'").label("stage"),
            literal_column(f"'{whose}'").label("responsible"),
            filled[start].label("begun_at"),
            filled[end].label("done_at"),
            filled["paid"].label("paid_at"),
            func.least(lots.c.cancelled_at, lots.c.rejected_at, lots.c.expired_at, lots.c.lost_at).label("stopped_at"),
            fault.label("date_fault"),
        ).where(filled["asked"].is_not(None), filled[start].is_not(None))
        for piece, (start, end, whose) in SEGMENTS.items()
    ]


def segment_base() -> FactTable:
    """Give one row a lot and piece of its way from request to refund, with the days spent in it up to T.

    Pieces follow each other, so that they add up to the whole; a piece that is still open counts up to T, one that was
    stopped up to its stop. What the refund overtook (money given before the goods came) is left out after the refund.
    Lots whose goods went through stages out of order are lost.
    """
    table = union_all(*_segments()).subquery("segment")
    c = table.c

    def until(now: Time) -> Expression:
        ends = [case((now.happened(c[n]), c[n]), else_=now.at) for n in ("done_at", "paid_at", "stopped_at")]
        return func.least(*ends, now.at)

    def days(now: Time) -> Expression:
        return double(func.greatest(seconds_between(c.begun_at, until(now)), double(0))) / double(86400)

    dimensions = {
        **named(table, *LOT_COLUMNS),
        **reasons_of(table),
        "stage": c.stage,
        "responsible": c.responsible,
        "return_channel": return_channel(table),
        "lane": lane(table),
    }
    ids = (c.return_line_id, c.return_id, c.stage, c.begun_at, c.done_at, c.units)
    return FactTable(
        "segments",
        table,
        {"return": c.requested_on, "order": c.ordered_on},
        dimensions,
        c.begun_at,
        {"days": days},
        {},
        ids,
        weight=c.units,
        noun="waits",
        fault=c.date_fault,
        fault_kind="reversed",
    )


def funnel_base() -> FactTable:
    """Give one row a lot and stage it reached, also cancelled, declined, expired and lost."""
    names = ["requested_on", "ordered_on", "requested_at", "reason", "date_fault", *LOT_COLUMNS]
    arms = [
        select(
            *(lots.c[n] for n in dict.fromkeys(names)),
            lots.c.return_line_id,
            lots.c.return_id,
            lots.c.units,
            literal_column(f"'{stage.removesuffix('_at')}'").label("stage"),
            lots.c[stage].label("reached_at"),
        ).where(lots.c.requested_at.is_not(None), lots.c[stage].is_not(None))
        for stage in _FUNNEL
    ]
    table = union_all(*arms).subquery("reached")
    c = table.c
    dimensions = {
        **named(table, *LOT_COLUMNS),
        **reasons_of(table),
        "stage": c.stage,
        "return_channel": return_channel(table),
        "lane": lane(table),
    }
    ids = (c.return_line_id, c.return_id, c.stage, c.reached_at, c.units)
    return FactTable(
        "reached",
        table,
        {"return": c.requested_on, "order": c.ordered_on},
        dimensions,
        c.reached_at,
        {},
        {},
        ids,
        weight=c.units,
        noun="returned units",
        fault=c.date_fault,
    )
