"""Promises as dates: when each return's clocks start, are due and stop, and what may still break.

Here: the business calendar, one row a return x promise, the state at a time of observation. Not here: what open returns will
come to (breach.py), life tables and quantiles (models/promises.py), what a page shows (pipelines/metrics). The one idea: dates are stored
and the state follows from them and the time of observation, so a build answers for any day.

Promises are those of the order line's policy version, and `legal_refund` for withdrawals from distance sales in the
countries of data/legal.csv: Directive 2011/83/EU Art. 13 asks for the refund within 14 days of the customer's notice, but the
seller may wait for the goods or proof that they were sent, whichever is earlier; so it is due at the later of the two. (A
seller who offers to collect the goods may not wait; logs do not say who offered, so that is not applied.) It stands beside
any policy, which cannot replace it. Days end at midnight in the shop's time zone and the first day does not count, as in
Regulation (EEC, Euratom) 1182/71 Art. 3, which recital 41 of the directive applies to its periods; the last instant of the last
day is in time, the midnight after it, where a date without a time of day falls, is a day late. Art. 3(4) lets a period that
would end on a Saturday, Sunday or public holiday of the country end with the next day that is none (`rolls` in data/legal.csv), whatever
weekend the country keeps and whichever Saturdays it works. Goods or proof that come later still make the refund due within the day they come.
"""

from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import ColumnElement, and_, case, literal, or_

from pipelines.settings import Settings, data_path

NOT_PROMISED = "('refused', 'uncollected', 'price_adjustment')"  # return types that no promise to the customer covers
STAGES = (
    "requested", "approved", "label_issued", "handed_over", "carrier_scan", "received", "inspected", "refunded", "restocked",
)  # fmt: skip
OBSERVED_SQL = """
    SELECT source, max(last_occurred_at) AS observed_until FROM build_source
    WHERE thing IN ('order_line', 'return_event', 'chain_element', 'refund') GROUP BY source
"""


def calendar(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill dim_day: every day of the facts, two before (a zone may be a day behind UTC) and 60 after, for each country sold to or from, with its public holidays, and for each carrier's calendar.

    Weekends are the country's own (Friday and Saturday in some, a weekend that moved in others), with the weekend days it officially
    works. Countries that the `holidays` library does not know, and the empty one of returns without a country, rest on Saturday and
    Sunday only.
    """
    del settings
    first, last = connection.execute("""
        SELECT min(a)::DATE - 2, max(b)::DATE + 60 FROM (
            SELECT min(ordered_at) AS a, max(ordered_at) AS b FROM fact_order_line
            UNION ALL SELECT min(requested_on), max(greatest(requested_on, confirmed_at, refunded_at, restocked_at)) FROM fact_return_line
            UNION ALL SELECT NULL, max(last_occurred_at) FROM build_source)
    """).fetchall()[0]
    if first is None:
        connection.execute("DELETE FROM dim_day")
        return
    countries = [r[0] for r in connection.execute("""
        SELECT DISTINCT coalesce(country, '') AS country FROM (SELECT country FROM fact_order_line UNION ALL SELECT country FROM fact_return_line
            UNION ALL SELECT market FROM dim_shop UNION ALL SELECT country FROM dim_carrier_calendar) ORDER BY 1
    """).fetchall()]  # fmt: skip
    known = connection.execute("SELECT min(day), max(day), list_sort(list(DISTINCT country)) FROM dim_day").fetchall()
    if known == [(first, last, countries)]:
        return  # another calendar of a carrier asks for a full build
    connection.execute("DELETE FROM dim_day")
    connection.register("official_day", official_days(countries, first, last))
    listed = "list_contains(string_split(trim({0}), ' '), {1})"
    connection.execute(
        f"""
        INSERT INTO dim_day BY NAME
        WITH grid AS (
            SELECT d.day, c.country, coalesce(o.is_weekend, isodow(d.day) > 5) AS is_weekend, coalesce(o.is_holiday, false) AS is_holiday,
                coalesce(o.is_worked, isodow(d.day) < 6) AS is_worked
            FROM (SELECT range::DATE AS day FROM range(?::TIMESTAMP, ?::TIMESTAMP + INTERVAL 1 DAY, INTERVAL 1 DAY)) d
            CROSS JOIN (SELECT unnest(?::VARCHAR[]) AS country) c
            LEFT JOIN official_day o ON o.country = c.country AND o.day = d.day),
        own AS (SELECT DISTINCT carrier, country FROM dim_carrier_calendar),
        days AS (
            SELECT day, country, '' AS carrier, is_holiday, is_worked AS is_business_day FROM grid
            UNION ALL
            SELECT g.day, g.country, o.carrier, g.is_holiday, coalesce({listed.format("c.open_days", "g.day::VARCHAR")}, false) OR coalesce(
                coalesce({listed.format("c.weekdays", "isodow(g.day)::VARCHAR")}, NOT g.is_weekend) AND (c.works_holidays OR NOT g.is_holiday)
                    AND NOT coalesce({listed.format("c.closed_days", "g.day::VARCHAR")}, false),
                g.is_worked)
            FROM grid g JOIN own o ON o.country = g.country
            LEFT JOIN dim_carrier_calendar c ON c.carrier = o.carrier AND c.country = g.country AND g.day >= c.valid_from::DATE AND (c.valid_to IS NULL OR g.day < c.valid_to::DATE))
        SELECT day, country, carrier, is_holiday, is_business_day,
            sum(is_business_day::INTEGER) OVER (PARTITION BY country, carrier ORDER BY day)::INTEGER AS business_day_no
        FROM days ORDER BY country, carrier, day
        """,
        [first, last, countries],
    )  # fmt: skip
    connection.unregister("official_day")


def official_days(countries: list[str], first: date, last: date) -> pa.Table:
    """Give each day of the countries that `holidays` knows: whether it is a weekend's, a public holiday, and worked."""
    import holidays  # only when there is a calendar to make

    known = sorted({*countries} & {*holidays.list_supported_countries(include_aliases=False)})
    days = [first + timedelta(n) for n in range((last - first).days + 1)]
    columns: dict[str, list[Any]] = {"country": [], "day": [], "is_weekend": [], "is_holiday": [], "is_worked": []}
    for country in known:
        official = holidays.country_holidays(country, years=range(first.year, last.year + 1))
        columns["country"] += [country] * len(days)
        columns["day"] += days
        columns["is_weekend"] += [official.is_weekend(d) for d in days]
        columns["is_holiday"] += [d in official for d in days]
        columns["is_worked"] += [official.is_working_day(d) for d in days]
    types = (pa.string(), pa.date32(), pa.bool_(), pa.bool_(), pa.bool_())
    return pa.table({n: pa.array(v, t) for (n, v), t in zip(columns.items(), types, strict=True)})


def _lot_stages() -> str:
    """Give each stage's time of a lot; a physical stage nobody recorded was reached at the latest when the next one was.

    A return handed in at a store is requested, received and inspected at the till. A rejection answers a request.
    """
    at_till = "CASE WHEN method = 'store' THEN least(requested_at, received_at, inspected_at) END"
    return f"""
        least(restocked_at, disposed_at) AS restocked, least(refunded_at, exchanged_at) AS refunded,
        coalesce(inspected_at, {at_till}, restocked) AS inspected, coalesce(received_at, {at_till}, inspected) AS received,
        coalesce(carrier_scan_at, received) AS carrier_scan, coalesce(handed_over_at, carrier_scan) AS handed_over,
        coalesce(label_issued_at, handed_over) AS label_issued, coalesce(approved_at, rejected_at, label_issued) AS approved,
        coalesce(requested_at, approved) AS requested
    """


def _of_stage(column: str, prefix: str) -> str:
    cases = " ".join(f"WHEN '{s}' THEN {prefix}{s}" for s in STAGES)
    return f"CASE {column} {cases} END"


def promises(connection: duckdb.DuckDBPyConnection, settings: Settings, where_return: str) -> None:
    """Insert estimate_promise for returns matching `where_return` (a predicate on return_key).

    A return's clock starts when its last unit reaches the first stage and stops when its last unit reaches the end; units
    cancelled, rejected or expired are left aside unless all are. A promise whose stage the source never records gives no row;
    one kept before its clock started is due at once. `handed_over_at` says when the customer had done their part: for a
    promise that does not wait for the hand-over (or is the customer's own), the request.
    """
    del settings
    reached = ", ".join(
        f"""coalesce(max({s}) FILTER (is_active), CASE WHEN count(*) FILTER (is_active) = 0 THEN max({s}) END) AS start_{s},
        CASE WHEN count(*) FILTER (is_active) = 0 AND count(*) = count({s}) THEN max({s})
            WHEN count(*) FILTER (is_active) = count({s}) FILTER (is_active) THEN max({s}) FILTER (is_active) END AS end_{s}"""
        for s in STAGES
    )
    recorded = ", ".join(f"count({s}_at) > 0 AS has_{s}" for s in STAGES)
    times = ", ".join([*(f"{end}_{s}" for s in STAGES for end in ("start", "end")), "stopped_at", "lost_at"])
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE promised_return AS
        WITH lot AS (
            SELECT return_key, return_lot_key, return_line_id, policy_key, units, requested_on, net_amount * fx_rate AS amount,
                {_lot_stages()}, lost_at, least(cancelled_at, rejected_at, expired_at) AS stopped_at,
                CASE stopped_at WHEN cancelled_at THEN 'cancelled' WHEN rejected_at THEN 'rejected' WHEN expired_at THEN 'expired' END AS stopped_by,
                stopped_at IS NULL AS is_active
            FROM fact_return_line WHERE ({where_return}) AND return_key IS NOT NULL AND return_type NOT IN {NOT_PROMISED})
        SELECT return_key, arg_min(return_lot_key, return_line_id) AS first_lot_key, arg_min(policy_key, return_line_id) AS promise_policy_key,
            sum(units)::INTEGER AS units, sum(amount)::DOUBLE AS amount, min(requested_on) AS requested_on,
            {reached},
            CASE WHEN count(*) FILTER (is_active) = 0 THEN max(stopped_at) END AS stopped_at,
            CASE WHEN count(*) FILTER (is_active) = 0 THEN arg_max(stopped_by, stopped_at) END AS stopped_by,
            min(lost_at) FILTER (is_active) AS lost_at
        FROM lot GROUP BY return_key;

        CREATE OR REPLACE TEMP TABLE asked AS
        SELECT date_trunc('day', min(least({times}))) - INTERVAL 1 DAY AS first, date_trunc('day', max(greatest({times}))) + INTERVAL 2 DAY AS last FROM promised_return;
        CREATE OR REPLACE TEMP TABLE promise_zone AS
        WITH zone AS (SELECT DISTINCT coalesce(time_zone, 'UTC') AS zone FROM dim_shop UNION SELECT 'UTC')
        SELECT zone, hour, timezone(zone, timezone('UTC', hour)) - hour AS ahead
        FROM zone, (SELECT unnest(range(first, last, INTERVAL 1 HOUR)) AS hour FROM asked);
        CREATE OR REPLACE TEMP TABLE day_end AS
        SELECT zone, day, timezone('UTC', timezone(zone, (day + 1)::TIMESTAMP)) - INTERVAL 1 MICROSECOND AS ends_at
        FROM (SELECT DISTINCT zone FROM promise_zone), (SELECT unnest(range(first, last + INTERVAL 400 DAY, INTERVAL 1 DAY))::DATE AS day FROM asked);
        CREATE OR REPLACE TEMP TABLE legal_refund AS
        SELECT country, days::DOUBLE AS days, rolls = 'yes' AS rolls, valid_from::DATE AS valid_from, valid_to::DATE AS valid_to
        FROM read_csv('{data_path("legal.csv")}', header = true, all_varchar = true) WHERE rule = 'legal_refund';
        CREATE OR REPLACE TEMP TABLE due_day AS
        WITH length AS (SELECT DISTINCT duration_unit, duration, ceil(duration)::INTEGER AS days FROM dim_policy_promise WHERE duration_unit <> 'clock_hours'),
        begun AS (SELECT * FROM dim_day WHERE day BETWEEN (SELECT first FROM asked) AND (SELECT last FROM asked)),
        worked AS (SELECT country, carrier, business_day_no, day FROM dim_day WHERE is_business_day),
        due AS (
            SELECT d.country, d.carrier, d.day, l.duration_unit, l.duration, d.day + l.days AS due_on
            FROM begun d CROSS JOIN length l WHERE d.carrier = '' AND l.duration_unit = 'calendar_days'
            UNION ALL
            SELECT d.country, d.carrier, d.day, d.duration_unit, d.duration, w.day
            FROM (SELECT d.*, l.duration_unit, l.duration, d.business_day_no + l.days AS no FROM begun d CROSS JOIN length l
                WHERE l.duration_unit = 'carrier_days' OR l.duration_unit = 'business_days' AND d.carrier = '') d
            JOIN worked w ON w.country = d.country AND w.carrier = d.carrier AND w.business_day_no = d.no
            UNION ALL
            SELECT d.country, '', d.day, 'legal', l.days, CASE WHEN l.rolls THEN x.next_on ELSE x.day END
            FROM begun d JOIN legal_refund l ON l.country = d.country
            JOIN (SELECT country, day, min(CASE WHEN isodow(day) < 6 AND NOT is_holiday THEN day END) OVER (
                    PARTITION BY country ORDER BY day ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS next_on
                FROM dim_day WHERE carrier = '') x ON x.country = d.country AND x.day = d.day + l.days::INTEGER
            WHERE d.carrier = '')
        SELECT due.*, zone, e.ends_at FROM due JOIN (
            SELECT DISTINCT coalesce(f.country, '') AS country, coalesce(z.time_zone, 'UTC') AS zone
            FROM promised_return r JOIN fact_return_line f ON f.return_lot_key = r.first_lot_key LEFT JOIN dim_shop z ON z.shop_key = f.shop_key) USING (country)
        JOIN day_end e USING (zone) WHERE e.day = due.due_on;
        CREATE OR REPLACE TEMP TABLE carrier_days AS SELECT DISTINCT country, carrier FROM dim_day WHERE carrier <> '';

        SET disabled_optimizers = 'build_side_probe_side'; -- the small table is the right one: a flipped join holds every promise in memory
        INSERT INTO estimate_promise BY NAME
        WITH seen AS (SELECT source, {recorded} FROM fact_return_line GROUP BY source),
        described AS (
            SELECT r.*, f.return_id, f.source, f.shop_id, f.country, f.channel, f.category, f.brand, f.method, f.carrier, f.place_id, f.return_type,
                coalesce(f.ordered_on, r.requested_on) AS sold_on, coalesce(z.time_zone, 'UTC') AS zone, s.* EXCLUDE (source)
            FROM promised_return r JOIN (SELECT * FROM fact_return_line WHERE {where_return}) f ON f.return_lot_key = r.first_lot_key
            LEFT JOIN dim_shop z ON z.shop_key = f.shop_key JOIN seen s ON s.source = f.source),
        promised AS (
            SELECT d.*, p.promise_key, p.promise_id, p.responsible, p.duration, p.duration_unit, p.policy_key, p.to_stage,
                {_of_stage("p.from_stage", "start_")} AS started_at, {_of_stage("p.to_stage", "end_")} AS ended_at,
                p.to_stage IN ('requested', 'approved', 'label_issued', 'handed_over') OR p.responsible = 'customer' AS is_before_hand_over
            FROM described d JOIN dim_policy_promise p ON p.policy_key = d.promise_policy_key
            WHERE p.promise_id <> 'legal_refund' AND {_of_stage("p.from_stage", "has_")} AND {_of_stage("p.to_stage", "has_")}
                AND NOT (d.method IS NOT DISTINCT FROM 'store' AND (p.from_stage IN ('label_issued', 'carrier_scan') OR p.to_stage IN ('label_issued', 'carrier_scan')))
            UNION ALL BY NAME
            SELECT d.*, (md5_number_upper('legal_refund') >> 1)::BIGINT AS promise_key, 'legal_refund' AS promise_id, 'retailer' AS responsible,
                l.days AS duration, 'legal' AS duration_unit, d.promise_policy_key AS policy_key, 'refunded' AS to_stage,
                start_requested AS started_at, end_refunded AS ended_at, false AS is_before_hand_over
            FROM described d JOIN legal_refund l ON l.country = d.country AND d.sold_on >= l.valid_from AND (l.valid_to IS NULL OR d.sold_on < l.valid_to)
            WHERE d.return_type = 'withdrawal' AND d.channel IS DISTINCT FROM 'store'),
        placed AS (
            SELECT p.*, least(start_handed_over, start_received) AS sent_at, CASE WHEN p.duration_unit = 'carrier_days' THEN coalesce(k.carrier, '') ELSE '' END AS calendar_carrier, (p.started_at + h.ahead)::DATE AS started_on
            FROM promised p LEFT JOIN carrier_days k ON k.carrier = CASE WHEN p.duration_unit = 'carrier_days' THEN p.carrier END AND k.country = p.country
            LEFT JOIN promise_zone h ON h.zone = p.zone AND h.hour = date_trunc('hour', p.started_at)),
        dated AS (
            SELECT p.*, CASE p.duration_unit WHEN 'clock_hours' THEN p.started_at + to_microseconds((p.duration * 3600000000)::BIGINT) ELSE e.ends_at END AS promised_at,
                CASE WHEN p.duration_unit = 'legal' THEN s.ends_at END AS sent_by, (p.closed_at + hc.ahead)::DATE AS closed_on, n.business_day_no AS started_no
            FROM (SELECT *, coalesce(ended_at, stopped_at, lost_at) AS closed_at FROM placed) p
            LEFT JOIN promise_zone hc ON hc.zone = p.zone AND hc.hour = date_trunc('hour', p.closed_at)
            LEFT JOIN dim_day n ON n.country = coalesce(p.country, '') AND n.carrier = p.calendar_carrier AND n.day = p.started_on
            LEFT JOIN due_day e ON e.zone = p.zone AND e.country = coalesce(p.country, '') AND e.carrier = p.calendar_carrier AND e.day = p.started_on
                AND e.duration_unit = p.duration_unit AND e.duration = p.duration
            LEFT JOIN promise_zone hs ON hs.zone = p.zone AND hs.hour = CASE WHEN p.duration_unit = 'legal' THEN date_trunc('hour', p.sent_at) END
            LEFT JOIN day_end s ON s.zone = p.zone AND s.day = (p.sent_at + hs.ahead)::DATE)
        SELECT return_key, return_id, promise_key, promise_id, responsible, started_at,
            coalesce(CASE WHEN duration_unit <> 'legal' THEN promised_at WHEN sent_at IS NOT NULL THEN greatest(promised_at, sent_by)
                WHEN ended_at IS NOT NULL THEN promised_at END, ended_at) AS due_at,
            ended_at, CASE WHEN is_before_hand_over THEN start_requested ELSE start_handed_over END AS handed_over_at, stopped_at, stopped_by, lost_at,
            duration, duration_unit, started_on, calendar_carrier, started_no, closed_on, to_stage,
            start_requested AS requested_at, requested_on, amount, units, source, shop_id, country, channel, category, brand, method, carrier, place_id, policy_key
        FROM dated;
        RESET disabled_optimizers;
        DROP TABLE promised_return; DROP TABLE asked; DROP TABLE promise_zone; DROP TABLE day_end; DROP TABLE due_day; DROP TABLE carrier_days; DROP TABLE legal_refund;
    """)  # fmt: skip


def promise_state(columns: Any, at: Any) -> ColumnElement[str]:
    """Give the state of a promise at the time `at`, as a SQL expression.

    `columns` holds the columns of estimate_promise (`table.c` of the table, an alias or a subquery), `at` is an expression or a
    UTC datetime. One of 'kept', 'broken', 'undetermined' (not yet due: running, or kept early), 'expired' (the customer never
    handed the parcel over) and 'not_under_promise' (cancelled or rejected before due, lost before the clock started, or not
    yet requested at `at`). Kept + broken + undetermined + expired are the returns under promise.
    """
    c = columns
    has_ended = and_(c.ended_at.is_not(None), c.ended_at <= at, c.due_at.is_not(None))
    has_stopped = and_(
        c.stopped_at.is_not(None),
        c.stopped_at <= at,
        or_(c.due_at.is_(None), c.stopped_at <= c.due_at, c.handed_over_at.is_(None)),
    )
    return case(
        (c.requested_at > at, literal("not_under_promise")),
        (and_(has_ended, c.ended_at > c.due_at), literal("broken")),
        (and_(has_ended, c.due_at <= at), literal("kept")),
        (has_ended, literal("undetermined")),
        (and_(has_stopped, c.stopped_by == literal("expired")), literal("expired")),
        (has_stopped, literal("not_under_promise")),
        (and_(c.due_at <= at, c.handed_over_at <= at), literal("broken")),
        (and_(c.due_at.is_(None), c.lost_at <= at), literal("not_under_promise")),
        else_=literal("undetermined"),
    )
