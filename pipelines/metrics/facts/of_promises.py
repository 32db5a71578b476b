"""Facts of promises: their waits, states and risks."""

from sqlalchemy import Date, Integer, and_, case, cast, func, literal_column

from pipelines.metrics.declare import FactTable
from pipelines.metrics.facts import lane, named, promises, return_channel, risks, t
from pipelines.warehouse.engine import Expression, calendar_days, double, seconds_between
from pipelines.warehouse.rules import Sql, Time, promise_state

_PROMISE = (
    "source",
    "shop_id",
    "country",
    "channel",
    "category",
    "brand",
    "method",
    "carrier",
    "place_id",
    "promise_id",
    "responsible",
)


def _promise_cause(now: Time) -> Expression:
    c = promises.c
    return case((now.happened(c.ended_at), 0), (now.happened(c.stopped_at), 1), (now.happened(c.lost_at), 2), else_=3)


def _promise_end(now: Time) -> Expression:
    c = promises.c
    return case(
        (now.happened(c.ended_at), c.ended_at),
        (now.happened(c.stopped_at), c.stopped_at),
        (now.happened(c.lost_at), c.lost_at),
        else_=now.at,
    )


def whole_hours(start: Expression, end: Expression) -> Expression:
    """Round a wait to whole hours, never negative."""
    return double(func.floor(func.greatest(seconds_between(start, end), double(0)) / double(3600) + double(0.5)))


closing_day = t["dim_day"].alias("closing_day")


def _closing_on(now: Time) -> Expression:
    """Give the day a promise's wait ended, in the shop's zone; T's day while it is open."""
    c = promises.c
    closed = func.coalesce(c.ended_at, c.stopped_at, c.lost_at)
    return case((now.happened(closed), c.closed_on), else_=cast(now.at, Date))


def took(now: Time) -> Expression:
    """Give how long a promise's wait was in its own unit: the shortest promise it would have kept."""
    c = promises.c
    hours = func.ceil(func.greatest(seconds_between(c.started_at, _promise_end(now)), double(0)) / double(3600))
    worked = closing_day.c.business_day_no - c.started_no + case((closing_day.c.is_business_day, 0), else_=1)
    days = calendar_days(c.started_on, _closing_on(now))
    return func.greatest(
        case(
            (c.duration_unit == literal_column("'clock_hours'"), double(hours)),
            (
                c.duration_unit.in_([literal_column("'business_days'"), literal_column("'carrier_days'")]),
                double(worked),
            ),
            else_=double(days),
        ),
        double(0),
    )


def _on_closing_day(now: Time) -> Expression:
    c, d = promises.c, closing_day.c
    return and_(
        d.country == func.coalesce(c.country, literal_column("''")),
        d.carrier == c.calendar_carrier,
        d.day == _closing_on(now),
    )


_PROMISE_WAIT: dict[str, Sql] = {
    "cause": _promise_cause,
    "hours": lambda now: whole_hours(promises.c.started_at, _promise_end(now)),
}
PROMISES = FactTable(
    "promises",
    promises,
    {"return": promises.c.requested_on},
    {**named(promises, *_PROMISE), "return_channel": return_channel(promises), "lane": lane(promises)},
    promises.c.requested_at,
    {
        **_PROMISE_WAIT,
        "took": took,
        "unit_of": lambda _: promises.c.duration_unit,
        "state": lambda now: promise_state(promises.c, now.at),
        "is_from_return": lambda _: cast(
            case(
                (
                    and_(promises.c.promise_id == literal_column("'legal_refund'"), promises.c.is_requested.is_(False)),
                    1,
                ),
                else_=0,
            ),
            Integer,
        ),
    },
    {"state": lambda now: promise_state(promises.c, now.at)},
    (
        promises.c.return_id,
        promises.c.promise_id,
        promises.c.requested_on,
        promises.c.started_at,
        promises.c.due_at,
        promises.c.ended_at,
        promises.c.stopped_by,
        promises.c.units,
    ),
    joins={"took": (closing_day, _on_closing_day)},
    noun="promises",
    fault=promises.c.date_fault,
    fault_kind="undated",
)
_RISKS = promises.join(
    risks, and_(risks.c.return_key == promises.c.return_key, risks.c.promise_id == promises.c.promise_id)
)
RISKS = FactTable(
    "risks",
    _RISKS,
    PROMISES.days,
    {**PROMISES.dimensions, "stage": risks.c.stage},
    promises.c.requested_at,
    {},
    {},
    (*PROMISES.ids, risks.c.probability),
    noun="promises",
    fault=promises.c.date_fault,
    fault_kind="undated",
)
