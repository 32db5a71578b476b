"""Rules of the business that stand once: the day on a curve, the time of observation, the state of a promise."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Integer, and_, case, cast, func, literal, null, or_

from models.curves import DATED_STEPS
from pipelines.warehouse.engine import Expression, calendar_days, double, literal_instant
from pipelines.warehouse.star import STAR

STAGES = (
    "declared",
    "requested",
    "acknowledged",
    "approved",
    "label_issued",
    "handed_over",
    "carrier_scan",
    "received",
    "inspected",
    "refunded",
    "restocked",
)
STAGE_PAIRS = {
    "requested-approved": ("requested_at", "approved_at"),
    "requested-handed_over": ("requested_at", "handed_over_at"),
    "handed_over-carrier_scan": ("handed_over_at", "carrier_scan_at"),
    "carrier_scan-received": ("carrier_scan_at", "received_at"),
    "received-inspected": ("received_at", "inspected_at"),
    "inspected-refunded": ("inspected_at", "refunded_at"),
    "inspected-restocked": ("inspected_at", "restocked_at"),
}
WAITS_BETWEEN = STAGE_PAIRS | {
    f"{start}-{end}": (f"{start}_at", f"{end}_at")
    for start in ("requested", "received")
    for end in ("refunded", "restocked")
}
"""Pairs of stages that waits are told of: those next to each other, and the whole ways to money and stock."""
SETTLED_DAYS = 14  # a line that was ordered later than so long before the last one may still be shipped
OBSERVED_SQL = """
    SELECT source, max(last_occurred_at) AS observed_until FROM build_source
    WHERE thing IN ('order_line', 'return_event', 'chain_element', 'refund') GROUP BY source
"""


def lot_stages() -> str:
    """Give each stage's time of a lot.

    A physical stage nobody recorded was reached at the latest when the next one was; a declaration by the withdrawal
    function and its acknowledgement are what is recorded of them alone. A return handed in at a store is received and
    inspected at the till, and requested there unless it was before. A rejection answers a request.
    """
    at_till = (
        "CASE WHEN method = 'store' AND coalesce(received_at, inspected_at, refunded, restocked) IS NOT NULL THEN"
        " coalesce({0}, requested_at) END"
    )
    return f"""
        least(restocked_at, disposed_at) AS restocked, least(refunded_at, exchanged_at) AS refunded,
        coalesce(inspected_at, {at_till.format("received_at")}, restocked) AS inspected, coalesce(received_at,
            {at_till.format("inspected_at")}, inspected) AS received,
        coalesce(carrier_scan_at, received) AS carrier_scan, coalesce(handed_over_at, carrier_scan) AS handed_over,
        coalesce(label_issued_at, handed_over) AS label_issued, coalesce(approved_at, rejected_at, label_issued)
            AS approved,
        declared_at AS declared, acknowledged_at AS acknowledged,
        coalesce(requested_at, approved) AS requested, requested_at IS NOT NULL OR method IS NOT
            DISTINCT FROM 'store' AS is_requested,
        lost_at, least(cancelled_at, rejected_at, expired_at) AS stopped_at, stopped_at IS NULL AS is_active,
            date_fault,
        CASE stopped_at WHEN cancelled_at THEN 'cancelled' WHEN rejected_at THEN 'rejected' WHEN expired_at
            THEN 'expired' END AS stopped_by
    """


def promise_state(columns: Any, at: Any) -> ColumnElement[str]:
    """Give the state of a promise at the time `at`, as a SQL expression.

    `columns` holds the columns of estimate_promise (`table.c` of the table, an alias or a subquery), `at` is an
    expression or a UTC datetime. One of 'kept', 'broken', 'undetermined' (not yet due: running, or kept early),
    'expired' (the customer never handed the parcel over) and 'not_under_promise' (cancelled or rejected before due,
    lost before the clock started, not yet requested at `at`, or with dates that cannot be). Kept + broken +
    undetermined + expired are the returns under promise.
    """
    c = columns
    has_ended = and_(c.ended_at.is_not(None), c.ended_at <= at, c.due_at.is_not(None))
    has_stopped = and_(
        c.stopped_at.is_not(None),
        c.stopped_at <= at,
        or_(c.due_at.is_(None), c.stopped_at <= c.due_at, c.handed_over_at.is_(None)),
    )
    return case(
        (or_(c.requested_at > at, c.date_fault.is_not(None)), literal("not_under_promise")),
        (and_(has_ended, c.ended_at > c.due_at), literal("broken")),
        (and_(has_ended, c.due_at <= at), literal("kept")),
        (has_ended, literal("undetermined")),
        (and_(has_stopped, c.stopped_by == literal("expired")), literal("expired")),
        (has_stopped, literal("not_under_promise")),
        (and_(c.due_at <= at, c.handed_over_at <= at), literal("broken")),
        (and_(c.due_at.is_(None), c.lost_at <= at), literal("not_under_promise")),
        else_=literal("undetermined"),
    )


# Confirmed headline returns by order line, credits bound by rule included, order-entry cancellations left out. What a
# join asks of one side alone stands in the key: as a condition beside it DuckDB would compare each row with each.
RETURNED_SQL = """
    SELECT coalesce(r.order_line_key, m.order_line_key) AS order_line_key, coalesce(m.units, r.units) AS units,
        r.confirmed_at
    FROM fact_return_line r LEFT JOIN estimate_credit_match m ON m.return_line_key
        = CASE WHEN r.order_line_key IS NULL THEN r.return_line_key END
    WHERE r.is_headline AND r.confirmed_at IS NOT NULL AND r.date_fault IS NULL AND coalesce(r.order_line_key,
        m.order_line_key) IS NOT NULL
        AND NOT coalesce(m.is_cancellation, false)
"""


def curve_day_sql(age: str, line: str) -> str:
    """Give the day on its curve of a line so many days after its clock's start: see `models.rates.development_day`."""
    length, usual = f"({line}.window_ends_on - {line}.clock_started_at::DATE)", f"{line}.window_days"
    return f"""(CASE WHEN {line}.window_ends_on IS NULL OR {age} <= {usual} THEN {age} WHEN {age} <= {length}
        THEN {usual} + (({age} - {usual}) * {DATED_STEPS}) // ({length} - {usual}) ELSE {usual} + {DATED_STEPS}
            + {age} - {length} END)::INTEGER"""


class Time:
    """The observation time of one question, as SQL.

    Without `as_of` everything recorded has happened, and T of a row is the latest event of its source. With it, only
    what happened by then has, and T is the earlier of the two. `observed` gives T of each source of the build: it is
    written into the SQL, for a build never changes and a join would cost every row.
    """

    def __init__(
        self, source: Expression, as_of: datetime | None = None, observed: Mapping[str, datetime] | None = None
    ) -> None:
        self._source = source
        self.as_of = as_of
        self._observed = observed or {}

    @property
    def seen(self) -> tuple[Any, ...]:
        """What the time of observation is made of: two with the same are the same SQL on the same rows."""
        return self.as_of, tuple(sorted(self._observed.items()))

    @property
    def at(self) -> Expression:
        """T of the row's source."""
        return self.after(0)

    def after(self, days: float) -> Expression:
        """Give the instant so many days after T of the row's source."""
        ends = {
            s: literal_instant((t if self.as_of is None else min(t, self.as_of.replace(tzinfo=None))) + timedelta(days))
            for s, t in sorted(self._observed.items())
        }
        if not ends:
            return cast(null(), DateTime)
        if len(ends) == 1:
            return next(iter(ends.values()))
        return case(*((self._source == literal(s, literal_execute=True), t) for s, t in ends.items()))

    def happened(self, instant: Expression) -> Expression:
        """Say whether something happened by the observation time."""
        return instant.is_not(None) if self.as_of is None else instant <= literal_instant(self.as_of)

    def open(self, instant: Expression) -> Expression:
        """Say whether something has not happened by the observation time."""
        return (
            instant.is_(None) if self.as_of is None else or_(instant.is_(None), instant > literal_instant(self.as_of))
        )


Sql = Callable[[Time], Expression]
curves = STAR.tables["estimate_development_curve"]


def curve_share(clock: Expression, now: Time) -> Expression:
    """Give G at the age of units, in hundredths: 0 without a clock or before it starts, 1 when older than the curve."""
    hundredths = double(func.floor(curves.c.share * double(100) + double(0.5))) / double(100)
    is_early = or_(clock.is_(None), calendar_days(clock, now.at) < 0)
    return case((is_early, double(0)), else_=func.coalesce(hundredths, double(1)))


def curve_doubt() -> Expression:
    """Give how far G may be off for the units of a joined curve: the standard deviation of its probit; else 0."""
    return func.coalesce(curves.c.doubt, double(0))


def curve_day(clock: Expression, ends_on: Expression, window: Expression, until: Expression) -> Expression:
    """Give the day on its curve of units whose clock runs until an instant: `models.rates.development_day` in SQL."""
    age, length = calendar_days(clock, until), calendar_days(clock, ends_on)
    steps = cast(func.floor(double(age - window) * double(DATED_STEPS) / double(length - window)), Integer)
    return case(
        (or_(ends_on.is_(None), age <= window), age),
        (age <= length, window + steps),
        else_=window + DATED_STEPS + age - length,
    )


def on_curve(clock: Expression, cell: Mapping[str, Expression], now: Time) -> Expression:
    """Join the development curve of a cell at the age of its units.

    A cell is source, category, channel, window_days, window_ends_on.
    """
    same = [func.coalesce(curves.c[n], "") == func.coalesce(cell[n], "") for n in ("category", "channel")]
    same.append(func.coalesce(curves.c.window_days, -1) == func.coalesce(cell["window_days"], -1))
    same.append(curves.c.is_dated == cell["window_ends_on"].is_not(None))
    return and_(
        curves.c.source == cell["source"],
        *same,
        curves.c.day == curve_day(clock, cell["window_ends_on"], cell["window_days"], now.at),
    )
