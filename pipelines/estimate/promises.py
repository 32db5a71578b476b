"""Promises as dates: when each return's clocks start, are due and stop, and what may still break.

Here: the business calendar, one row a return x promise, the state at a time of observation. Not here: what open returns
will come to (breach.py), life tables and quantiles (models/promises.py), what a page shows (pipelines/metrics). The one
idea: dates are stored and the state follows from them and the time of observation, so a build answers for any day.

Promises are those of the order line's policy version, and `legal_refund` for withdrawals from distance sales in the
countries of data/legal.csv: Directive 2011/83/EU Art. 13 asks for the refund within 14 days of the customer's notice,
but the seller may wait for the goods or proof that they were sent, whichever is earlier; so it is due at the later of
the two. (A seller who offers to collect the goods may not wait; logs do not say who offered, so that is not applied.)
It stands beside any policy, which cannot replace it. Days end at midnight in the shop's time zone and the first day
does not count, as in Regulation (EEC, Euratom) 1182/71 Art. 3, which recital 41 of the directive applies to its
periods; the last instant of the last day is in time, the midnight after it, where a date without a time of day falls,
is a day late. Art. 3(4) lets a period that would end on a Saturday, Sunday or public holiday of the country end with
the next day that is none (`rolls` in data/legal.csv), whatever weekend the country keeps and whichever Saturdays it
works. Goods or proof that come later still make the refund due within the day they come.
"""

import duckdb

from pipelines.warehouse.rules import STAGES, lot_stages
from pipelines.warehouse.shards import Shards
from pipelines.warehouse.sql import planned_without, shipped_sql, when

NOT_PROMISED = "('refused', 'uncollected', 'price_adjustment')"  # return types that no promise to the customer covers
UNDATED = "no promised date"  # date_fault of a promise whose date is missing or cannot be read
FEWEST_FINISHED = 3  # finished returns of a method and carrier that its habit is read from


def _reached() -> str:
    """Give when several lots together reach each stage.

    The clock that starts there starts, the one that ends there stops, with the last unit. Units cancelled, rejected or
    expired are left aside unless all are.
    """
    active = f"count({when('is_active', '1')})"
    stages = ", ".join(
        f"""coalesce(max({of_active}), CASE WHEN {active} = 0 THEN max({s}) END) AS start_{s},
        CASE WHEN {active} = 0 AND count(*) = count({s}) THEN max({s})
            WHEN {active} = count({of_active}) THEN max({of_active}) END AS end_{s}"""
        for s, of_active in ((s, when("is_active", s)) for s in STAGES)
    )
    return f"""{stages}, bool_and(is_requested) AS is_requested, min(date_fault) AS lot_fault,
        min({when("is_active", "lost_at")}) AS lost_at,
        CASE WHEN {active} = 0 THEN max(stopped_at) END AS stopped_at,
        CASE WHEN {active} = 0 THEN arg_max(stopped_by, stopped_at) END AS stopped_by"""


def _money_back() -> str:
    """Give when the withdrawals among several lots are all refunded: an exchange beside them owes no money back.

    Without a withdrawal that is still active, as `_reached` has it.
    """
    open_ones = "is_active AND return_type = 'withdrawal'"
    number, refunded = f"count({when(open_ones, '1')})", when(open_ones, "refunded")
    return f"CASE WHEN {number} > 0 AND {number} = count({refunded}) THEN max({refunded}) END"


def _of_stage(column: str, prefix: str) -> str:
    cases = " ".join(f"WHEN '{s}' THEN {prefix}{s}" for s in STAGES)
    return f"CASE {column} {cases} END"


_TRACKING = f"""
    WITH lane AS (
        SELECT source, coalesce(method, '') AS method, coalesce(carrier, '') AS carrier,
            return_type NOT IN {NOT_PROMISED} AND method IS DISTINCT FROM 'store'
                AND coalesce(received_at, inspected_at, refunded_at, exchanged_at, restocked_at,
                    disposed_at) IS NOT NULL AS is_finished,
            coalesce(handed_over_at, carrier_scan_at) IS NOT NULL AS is_sent, is_sent OR coalesce(received_at,
                inspected_at, restocked_at, disposed_at) IS NOT NULL AS has_goods,
            count(*) AS n, {", ".join(f"count({s}_at) AS {s}" for s in STAGES)}
        FROM fact_return_line GROUP BY ALL),
    whole AS (
        SELECT source, {{sums}}, concat_ws(' ',
            {", ".join(f"CASE WHEN sum({s}) > 0 THEN '{s}' END" for s in STAGES)}) AS stages FROM lane GROUP BY source),
    own AS (SELECT source, method, carrier, {{sums}} FROM lane GROUP BY ALL)
    SELECT o.source, o.method, o.carrier, w.stages, {{sent}} AS reports_hand_over, {{goods}} AS reports_goods
        FROM own o JOIN whole w USING (source)
""".format(
    sums=", ".join(
        f"coalesce(sum(n) FILTER ({condition}), 0) AS {name}"
        for name, condition in (
            ("finished", "is_finished"),
            ("finished_sent", "is_finished AND is_sent"),
            ("finished_goods", "is_finished AND has_goods"),
            ("sent", "is_sent"),
            ("goods", "has_goods"),
        )
    ),
    **{
        n: (
            f"CASE WHEN o.finished >= {FEWEST_FINISHED} THEN 2 * o.finished_{n} >= o.finished WHEN w.finished >="
            f" {FEWEST_FINISHED} THEN 2 * w.finished_{n} >= w.finished ELSE w.{n} > 0 END"
        )
        for n in ("sent", "goods")
    },
)
"""What each source reports of the way back, by method and carrier.

Judged by its finished returns, by the whole source where they are few.
"""


def _tracking(connection: duckdb.DuckDBPyConnection, where_return: str) -> str:
    """Fill estimate_return_tracking and give the returns to estimate.

    Those asked for, and those of a lane that reports something else than before.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE tracking AS {_TRACKING}")
    if where_return != "TRUE":
        connection.execute("""
            CREATE OR REPLACE TEMP TABLE retracked_return AS
            SELECT DISTINCT return_key FROM fact_return_line f JOIN (FROM tracking EXCEPT
                FROM estimate_return_tracking) n
                ON n.source = f.source AND n.method = coalesce(f.method, '') AND n.carrier = coalesce(f.carrier,
                    '') WHERE return_key IS NOT NULL;
            DELETE FROM estimate_promise WHERE return_key IN (SELECT return_key FROM retracked_return);
        """)
        where_return = f"(({where_return}) OR return_key IN (SELECT return_key FROM retracked_return))"
    connection.execute(
        "DELETE FROM estimate_return_tracking; INSERT INTO estimate_return_tracking BY NAME FROM tracking; DROP TABLE"
        " tracking"
    )
    return where_return


_OUT_OF_ORDER = """ended_at < started_at
    AND NOT (closed_on = started_on AND (closed_at + closed_ahead)::TIME = TIME '00:00')
    AND (to_stage <> 'refunded' OR from_stage = 'requested' AND is_requested)"""
"""A promise that ended before it started.

Goods may be paid before they come, and a date without a time of day is that day.
"""
_BEFORE_HAND_OVER = """(to_stage IN ('declared', 'requested', 'acknowledged', 'approved', 'label_issued', 'handed_over')
    OR responsible = 'customer')"""
_COLUMNS = f"""return_key, return_id, promise_key, promise_id, responsible, started_at, started_on, ended_at, closed_on,
    to_stage, date_fault, is_requested,
    CASE WHEN date_fault IS NULL THEN own_due_at END AS due_at,
    CASE WHEN {_BEFORE_HAND_OVER} THEN start_requested WHEN start_handed_over IS NOT NULL THEN start_handed_over
        WHEN NOT reports_hand_over AND stopped_by IS DISTINCT FROM 'expired' THEN coalesce(start_requested,
            own_due_at) END AS handed_over_at,
    stopped_at, stopped_by, lost_at, start_requested AS requested_at, requested_on, amount, units, source, shop_id,
        country, channel, category, brand, method, carrier, place_id"""


def promises(connection: duckdb.DuckDBPyConnection, shards: Shards, where_return: str) -> None:
    """Insert estimate_promise for returns matching `where_return` (a predicate on return_key).

    Each parcel of a return has its own clocks, and each line its own policy version (docs/decisions/0042). A clock
    starts when the last unit of a part reaches the first stage and stops when its last unit reaches the end; units
    cancelled, rejected or expired are left aside unless all are. A policy's promise whose stage the source never
    records gives no row; one kept before its clock started is due at once. `handed_over_at` says when the customer had
    done their part: the request for a promise that does not wait for the hand-over (or is the customer's own), and
    where the source reports no hand-over.

    Dates that cannot be give no judgement: the row stays, with its `date_fault`.
    """
    where_return = _tracking(connection, where_return)
    for _ in shards.each(connection, ("fact_return_line", "fact_promised_date"), ("estimate_promise",)):
        _promised(connection, where_return)
    _coverage(connection)


def _promised(connection: duckdb.DuckDBPyConnection, where_return: str) -> None:
    """Insert estimate_promise for the returns of fact_return_line that match `where_return`."""
    _promised_returns(connection, where_return)
    _zone_hours(connection)
    _refund_terms(connection)
    described = _described(where_return)
    placed = _placed(described)
    # the small table is the right one: a flipped join holds every promise in memory
    with planned_without(connection, "build_side_probe_side"):
        _due_days(connection, placed)
        _dated_promises(connection, placed, of_split=False)
        if connection.execute("SELECT 1 FROM promised_return WHERE is_split LIMIT 1").fetchall():
            _dated_promises(connection, placed, of_split=True)
    _promised_dates(connection, described, where_return)
    for name in ("promised_return", "asked", "promise_zone", "day_end", "due_day", "carrier_days", "legal_refund"):
        connection.execute(f"DROP TABLE {name}")


def _promised_returns(connection: duckdb.DuckDBPyConnection, where_return: str) -> None:
    """Store promised_return: the parts of returns that promises cover, with when all their units reached each stage.

    A part is what travels in one parcel under one policy version: each has its own clocks. `is_split` says that the
    return has several, `is_first` that its first line is in this one; units, amount and requested_on are the return's.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE promised_return AS
        WITH lot AS (
            SELECT return_key, return_lot_key, return_line_id, parcel_key, policy_key, units, requested_on, return_type,
                net_amount * fx_rate AS amount,
                {lot_stages()}
            FROM fact_return_line WHERE ({where_return}) AND return_key IS NOT NULL
                AND return_type NOT IN {NOT_PROMISED}),
        part AS (
            SELECT return_key,
                arg_min(return_lot_key, return_line_id) AS first_lot_key,
                min(return_line_id) AS first_line_id,
                policy_key AS promise_policy_key,
                sum(units)::INTEGER AS units,
                sum(amount)::DOUBLE AS amount,
                min(requested_on) AS requested_on,
                {_money_back()} AS money_back_at,
                {_reached()}
            FROM lot GROUP BY return_key, parcel_key, policy_key),
        several AS (
            SELECT return_key, min(first_line_id) AS first_line_id, sum(units)::INTEGER AS units, sum(amount) AS amount,
                min(requested_on) AS requested_on
            FROM part GROUP BY return_key HAVING count(*) > 1)
        SELECT p.* EXCLUDE (first_line_id) REPLACE (coalesce(s.units, p.units) AS units,
                CASE WHEN s.return_key IS NULL THEN p.amount ELSE s.amount END AS amount,
                coalesce(s.requested_on, p.requested_on) AS requested_on),
            s.return_key IS NOT NULL AS is_split,
            s.return_key IS NULL OR s.first_line_id = p.first_line_id AS is_first
        FROM part p LEFT JOIN several s USING (return_key)
    """)


def _zone_hours(connection: duckdb.DuckDBPyConnection) -> None:
    """Store promise_zone, how far each zone is ahead of UTC in each hour, and day_end, the last instant of its days.

    From the day before the first stage of promised_return to the day after the last.
    """
    times = ", ".join([*(f"{end}_{s}" for s in STAGES for end in ("start", "end")), "stopped_at", "lost_at"])
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE asked AS
        SELECT date_trunc('day', min(least({times}))) - INTERVAL 1 DAY AS first,
            date_trunc('day', max(greatest({times}))) + INTERVAL 2 DAY AS last
        FROM promised_return;
        CREATE OR REPLACE TEMP TABLE promise_zone AS
        WITH zone AS (SELECT DISTINCT coalesce(time_zone, 'UTC') AS zone FROM dim_shop UNION SELECT 'UTC')
        SELECT zone, hour, timezone(zone, timezone('UTC', hour)) - hour AS ahead
        FROM zone, (SELECT unnest(range(first, last, INTERVAL 1 HOUR)) AS hour FROM asked);
        CREATE OR REPLACE TEMP TABLE day_end AS
        SELECT zone, day, {_end_of_day("zone", "day")} AS ends_at
        FROM (SELECT DISTINCT zone FROM promise_zone),
            (SELECT unnest(range(first, last, INTERVAL 1 DAY))::DATE AS day FROM asked)
    """)


def _refund_terms(connection: duckdb.DuckDBPyConnection) -> None:
    """Store legal_refund, the legal terms of refund by country, and carrier_days, the carriers that have own days."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE legal_refund AS
        SELECT country,
            days::DOUBLE AS days,
            rolls = 'yes' AS rolls,
            valid_from::DATE AS valid_from,
            valid_to::DATE AS valid_to
        FROM {shipped_sql("legal.csv")} WHERE rule = 'legal_refund';
        CREATE OR REPLACE TEMP TABLE carrier_days AS SELECT DISTINCT country, carrier FROM dim_day WHERE carrier <> ''
    """)


def _described(where_return: str) -> str:
    """Give the CTE `described`: promised returns with what their first lot says of them, and their zone."""
    has = {s: f"contains(' ' || tracked.stages || ' ', ' {s} ')" for s in STAGES}
    return f"""
        described AS (
            SELECT r.*, f.return_id, f.source, f.shop_id, f.country, f.channel, f.category, f.brand, f.method,
                f.carrier, f.place_id, f.return_type,
                coalesce(f.ordered_on, r.requested_on) AS sold_on,
                coalesce(z.time_zone, 'UTC') AS zone,
                reports_hand_over,
                reports_goods,
                {", ".join(f"{sql} AS has_{s}" for s, sql in has.items())}
            FROM promised_return r
            JOIN (SELECT * FROM fact_return_line WHERE {where_return}) f ON f.return_lot_key = r.first_lot_key
            LEFT JOIN dim_shop z ON z.shop_key = f.shop_key
            JOIN estimate_return_tracking tracked ON tracked.source = f.source
                AND tracked.method = coalesce(f.method, '') AND tracked.carrier = coalesce(f.carrier, ''))
    """


def _policy_promises() -> str:
    """Select the promises of each return's policy whose stages its source records.

    A store has no way to it. What starts with a declaration is promised to those who used the withdrawal function.
    """
    return f"""
            SELECT d.*, p.promise_key, p.promise_id, p.responsible, p.duration, p.duration_unit, p.policy_key,
                p.from_stage,
                p.to_stage,
                {_of_stage("p.from_stage", "start_")} AS started_at,
                {_of_stage("p.to_stage", "end_")} AS ended_at
            FROM described d JOIN dim_policy_promise p ON p.policy_key = d.promise_policy_key
            WHERE p.promise_id <> 'legal_refund' AND {_of_stage("p.from_stage", "has_")}
                AND {_of_stage("p.to_stage", "has_")}
                AND (p.from_stage <> 'declared' OR d.start_declared IS NOT NULL)
                AND NOT (d.method IS NOT DISTINCT FROM 'store' AND (p.from_stage IN ('label_issued', 'carrier_scan')
                    OR p.to_stage IN ('label_issued', 'carrier_scan')))
    """


def _legal_refunds() -> str:
    """Select the legal promise of a refund, of each withdrawal from a distance sale where a law gives one.

    A source that records no refund at all tells neither a kept promise nor a broken one.
    """
    return """
            SELECT d.*,
                (md5_number_upper('legal_refund') >> 1)::BIGINT AS promise_key,
                'legal_refund' AS promise_id,
                'retailer' AS responsible,
                l.days AS duration,
                'legal' AS duration_unit,
                d.promise_policy_key AS policy_key,
                'requested' AS from_stage,
                'refunded' AS to_stage,
                start_requested AS started_at,
                coalesce(money_back_at, end_refunded) AS ended_at
            FROM described d JOIN legal_refund l ON l.country = d.country AND d.sold_on >= l.valid_from
                AND (l.valid_to IS NULL OR d.sold_on < l.valid_to)
            WHERE d.return_type = 'withdrawal' AND d.channel IS DISTINCT FROM 'store' AND d.has_refunded
    """


def _placed(described: str) -> str:
    """Give the CTEs up to `placed`: the promises of returns, with their calendar and the day they start on."""
    return f"""
        {described},
        promised AS (
            {_policy_promises()}
            UNION ALL BY NAME
            {_legal_refunds()}),
        placed AS (
            SELECT p.*,
                least(start_handed_over, start_received) AS sent_at,
                CASE WHEN p.duration_unit = 'carrier_days' THEN coalesce(k.carrier, '') ELSE ''
                    END AS calendar_carrier,
                (p.started_at + h.ahead)::DATE AS started_on
            FROM promised p
            LEFT JOIN carrier_days k ON k.carrier = CASE WHEN p.duration_unit = 'carrier_days' THEN p.carrier END
                AND k.country = p.country
            LEFT JOIN promise_zone h ON h.zone = p.zone AND h.hour = date_trunc('hour', p.started_at))
    """


def _due_days(connection: duckdb.DuckDBPyConnection, placed: str) -> None:
    """Store due_day: the last instant of each length of promise by zone, country, calendar and day it starts on.

    Calendar days are added, business days and carrier days are counted in dim_day, legal days end with the next day
    that is no Saturday, Sunday or public holiday where the law lets them roll.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE due_day AS
        WITH {placed},
        begun AS MATERIALIZED (
            SELECT DISTINCT zone, coalesce(country, '') AS country, calendar_carrier AS carrier, started_on AS day,
                duration_unit, duration
            FROM placed WHERE started_on IS NOT NULL AND duration_unit <> 'clock_hours'),
        -- before the days it ends on are looked up: days joined to days are the square of the years
        numbered AS MATERIALIZED (
            SELECT b.*, d.business_day_no + ceil(b.duration)::INTEGER AS ends_no FROM begun b
            JOIN dim_day d ON d.country = b.country AND d.carrier = b.carrier AND d.day = b.day
                WHERE b.duration_unit IN ('business_days', 'carrier_days')),
        worked AS (SELECT country, carrier, business_day_no, day FROM dim_day WHERE is_business_day),
        ruled AS (
            SELECT country, day, min(CASE WHEN isodow(day) < 6 AND NOT is_holiday THEN day END) OVER (
                PARTITION BY country ORDER BY day ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS next_on
            FROM dim_day WHERE carrier = ''),
        due AS (
            SELECT b.*, b.day + ceil(b.duration)::INTEGER AS due_on FROM begun b WHERE b.duration_unit = 'calendar_days'
            UNION ALL
            SELECT n.* EXCLUDE (ends_no), w.day FROM numbered n
            JOIN worked w ON w.country = n.country AND w.carrier = n.carrier AND w.business_day_no = n.ends_no
            UNION ALL
            SELECT b.*, CASE WHEN l.rolls THEN x.next_on ELSE x.day END FROM begun b
            JOIN (SELECT DISTINCT country, days, rolls FROM legal_refund) l ON l.country = b.country
                AND l.days = b.duration
            JOIN ruled x ON x.country = b.country AND x.day = b.day + ceil(b.duration)::INTEGER
                WHERE b.duration_unit = 'legal')
        SELECT *, {_end_of_day("zone", "due_on")} AS ends_at FROM due
    """)


_DECIDES = """
    QUALIFY row_number() OVER (PARTITION BY return_key, promise_id ORDER BY
        CASE WHEN stopped_at IS NOT NULL OR own_due_at IS NULL AND lost_at IS NOT NULL THEN 3
            WHEN date_fault IS NOT NULL THEN 1 WHEN is_in_time THEN 2 ELSE 0 END,
        CASE WHEN is_in_time THEN -epoch(own_due_at) ELSE epoch(own_due_at) END NULLS LAST, first_lot_key) = 1"""
"""Of the parts of a return the one that decides a promise: broken or open first, then what cannot be judged."""


def _dated_promises(connection: duckdb.DuckDBPyConnection, placed: str, *, of_split: bool) -> None:
    """Insert estimate_promise for the promises of policies and of the law, of split returns or of all others.

    A legal refund is due at the later of its date and the day the goods are sent; it waits for goods that the source
    reports. A promise that was kept before its clock started is due when it was kept. Of a split return one parcel
    decides: the one that breaks the promise first, else the one that is open, else the one whose promise runs longest.
    """
    connection.execute(f"""
        INSERT INTO estimate_promise BY NAME
        WITH {placed},
        dated AS (
            SELECT p.*,
                CASE p.duration_unit WHEN 'clock_hours'
                    THEN p.started_at + to_microseconds((p.duration * 3600000000)::BIGINT)
                    ELSE e.ends_at END AS promised_at,
                CASE WHEN p.duration_unit = 'legal' THEN s.ends_at END AS sent_by,
                hc.ahead AS closed_ahead,
                (p.closed_at + hc.ahead)::DATE AS closed_on,
                n.business_day_no AS started_no
            FROM (SELECT *, coalesce(ended_at, stopped_at, lost_at) AS closed_at FROM placed
                WHERE is_split = {of_split}) p
            LEFT JOIN promise_zone hc ON hc.zone = p.zone AND hc.hour = date_trunc('hour', p.closed_at)
            LEFT JOIN dim_day n ON n.country = coalesce(p.country, '') AND n.carrier = p.calendar_carrier
                AND n.day = p.started_on
            LEFT JOIN due_day e ON e.zone = p.zone AND e.country = coalesce(p.country, '')
                AND e.carrier = p.calendar_carrier AND e.day = p.started_on
                AND e.duration_unit = p.duration_unit AND e.duration = p.duration
            LEFT JOIN promise_zone hs ON hs.zone = p.zone
                AND hs.hour = CASE WHEN p.duration_unit = 'legal' THEN date_trunc('hour', p.sent_at) END
            LEFT JOIN day_end s ON s.zone = p.zone AND s.day = (p.sent_at + hs.ahead)::DATE),
        due AS (
            SELECT *,
                coalesce(CASE WHEN duration_unit <> 'legal' THEN promised_at
                    WHEN sent_at IS NOT NULL THEN greatest(promised_at, sent_by)
                    WHEN ended_at IS NOT NULL OR NOT reports_goods THEN promised_at END, ended_at) AS own_due_at,
                CASE WHEN lot_fault IS NOT NULL THEN lot_fault
                    WHEN ended_at IS NOT NULL AND started_at IS NULL AND from_stage = 'requested' THEN 'no start'
                    WHEN {_OUT_OF_ORDER} THEN 'ended before it started' END AS date_fault,
                ended_at IS NOT NULL AND ended_at <= own_due_at AS is_in_time
            FROM dated)
        SELECT {_COLUMNS}, duration, duration_unit, started_no, calendar_carrier, policy_key FROM due
        {_DECIDES if of_split else ""}
    """)


def _coverage(connection: duckdb.DuckDBPyConnection) -> None:
    """Record in build_coverage which sources have promises, and which legal ones."""
    connection.execute(
        "DELETE FROM build_coverage WHERE fact IN ('promise', 'legal'); INSERT INTO build_coverage BY NAME SELECT"
        " source, 'promise' AS fact, 1.0 AS share, count(*) AS rows FROM estimate_promise GROUP BY source UNION ALL"
        " SELECT source, 'legal', 1.0, count(*) FROM estimate_promise WHERE promise_id = 'legal_refund' GROUP BY source"
    )


def _end_of_day(zone: str, day: str) -> str:
    """Give the last instant of a day in a zone, UTC. Slow: for few rows."""
    return f"timezone('UTC', timezone({zone}, ({day} + 1)::TIMESTAMP)) - INTERVAL 1 MICROSECOND"


def _promised_dates(connection: duckdb.DuckDBPyConnection, described: str, where_return: str) -> None:
    """Insert estimate_promise for the promised dates of return lines.

    Of a return whose lines have several, one decides. That is the line that breaks the promise first; if none does, the
    line whose promise runs longest. A date is a date: it needs no start and, past, it is broken whether or not the
    source ever records the stage. A promise whose day falls before the stage that starts it is none.
    """
    if not connection.execute("SELECT 1 FROM fact_promised_date LIMIT 1").fetchall():
        return
    connection.execute(f"""
        INSERT INTO estimate_promise BY NAME
        WITH {described},
        {_known_dates(where_return)},
        {_placed_dates()},
        judged AS (
            SELECT *,
                CASE WHEN lot_fault IS NOT NULL THEN lot_fault
                    WHEN own_due_at IS NULL THEN '{UNDATED}'
                    WHEN from_stage IS NOT NULL AND own_due_at < started_at THEN 'promised before it starts'
                    WHEN from_stage IS NOT NULL AND {_OUT_OF_ORDER} THEN 'ended before it started' END AS date_fault,
                ended_at IS NOT NULL AND ended_at <= own_due_at AS is_in_time
            FROM placed
            QUALIFY row_number() OVER (PARTITION BY return_key, promise_id ORDER BY stopped_at IS NOT NULL,
                date_fault IS NOT NULL, is_in_time,
                CASE WHEN is_in_time THEN -epoch(own_due_at) ELSE epoch(own_due_at) END) = 1)
        SELECT {_COLUMNS},
            '' AS calendar_carrier,
            CASE WHEN promised_at IS NULL THEN 'calendar_days' ELSE 'clock_hours' END AS duration_unit,
            CASE WHEN date_fault IS NULL THEN CASE WHEN promised_at IS NULL THEN days::DOUBLE
                ELSE ceil((epoch(promised_at) - epoch(started_at)) / 3600) END END AS duration
        FROM judged;
    """)


def _known_dates(where_return: str) -> str:
    """Give the CTEs up to `known`: promised dates of return lines with what is known of their return.

    Of a line that is awaited and whose return is none yet, with what its date says.
    """
    own = ", ".join(f"l.start_{s}, l.end_{s}" for s in STAGES)
    names = ", ".join(f"start_{s}, end_{s}" for s in STAGES)
    return f"""promised AS (SELECT * FROM fact_promised_date WHERE {where_return}),
        line AS (
            SELECT return_line_key, {_reached()} FROM (
                SELECT return_line_key, {lot_stages()} FROM fact_return_line
                    SEMI JOIN promised USING (return_line_key) WHERE return_type NOT IN {NOT_PROMISED}) GROUP BY 1),
        known AS (
            SELECT p.return_key, p.promise_id, p.from_stage, p.to_stage, p.promised_on, p.promised_at, p.responsible,
                {own}, l.is_requested, l.lot_fault, l.lost_at, l.stopped_at, l.stopped_by,
                d.* EXCLUDE (return_key, first_lot_key, promise_policy_key, is_split, is_first, return_type, sold_on,
                    is_requested, lot_fault, lost_at, stopped_at, stopped_by, {names},
                    {", ".join(f"has_{s}" for s in STAGES)})
            FROM promised p JOIN described d ON d.return_key = p.return_key AND d.is_first
                LEFT JOIN line l USING (return_line_key)
            UNION ALL BY NAME
            SELECT p.* EXCLUDE (return_line_key, is_awaited, shop_key, began_on, style_id, size, colour, supplier,
                    season),
                p.began_on AS requested_on,
                coalesce(z.time_zone, 'UTC') AS zone,
                coalesce(t.reports_hand_over, false) AS reports_hand_over
            FROM promised p LEFT JOIN dim_shop z ON z.shop_key = p.shop_key
            LEFT JOIN estimate_return_tracking t ON t.source = p.source AND t.method = coalesce(p.method, '')
                AND t.carrier = coalesce(p.carrier, '')
            WHERE p.is_awaited AND p.return_key NOT IN (SELECT return_key FROM promised_return))"""


def _placed_dates() -> str:
    """Give the CTEs from `known` to `placed`: when each promised date is due, started and ended, and on what day."""
    return f"""day AS (
            SELECT zone, promised_on, {_end_of_day("zone", "promised_on")} AS ends_at
            FROM (SELECT DISTINCT zone, promised_on FROM known WHERE promised_on IS NOT NULL)),
        ended AS (
            SELECT k.*,
                coalesce(k.promised_at, e.ends_at) AS own_due_at,
                {_of_stage("to_stage", "end_")} AS ended_at,
                CASE WHEN from_stage IS NULL THEN nullif(start_requested, ended_at)
                    ELSE {_of_stage("from_stage", "start_")} END AS started_at,
                coalesce(ended_at, stopped_at, lost_at) AS closed_at
            FROM known k LEFT JOIN day e ON e.zone = k.zone AND e.promised_on = k.promised_on),
        placed AS (
            SELECT e.*,
                (e.started_at + hs.ahead)::DATE AS started_on,
                hc.ahead AS closed_ahead,
                (e.closed_at + hc.ahead)::DATE AS closed_on,
                promised_on - started_on AS days,
                (md5_number_upper(source || '|' || promise_id) >> 1)::BIGINT AS promise_key
            FROM ended e LEFT JOIN promise_zone hs ON hs.zone = e.zone AND hs.hour = date_trunc('hour', e.started_at)
            LEFT JOIN promise_zone hc ON hc.zone = e.zone AND hc.hour = date_trunc('hour', e.closed_at))"""
