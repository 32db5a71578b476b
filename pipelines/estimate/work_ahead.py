"""The work ahead of returns: what waits at the sites and what is under way to them, in days.

Here: the stages of returns as all their units reached them, and the backlog of each site and source at instants of the
past. Not here: what is made of it (breach.py, completion.py).
"""

import duckdb

from pipelines.warehouse.rules import OBSERVED_SQL
from pipelines.warehouse.sql import when

REACHED = ("requested", "handed_over", "carrier_scan", "received", "inspected")
SNAPSHOT_DAYS = 8  # between the instants looked at
_BEFORE = 26  # instants before each that say what work is usual
_AHEAD = 56  # days of work that are laid out; what waits longer goes on like the last


def stage_times(where: str) -> str:
    """Select when returns reached each stage: their last unit, once all of those that go on have.

    `where` follows fact_return_line. A stage nobody recorded was reached at the latest when the next one was. What is
    handed in at a till is inspected when its inspection is known of: later ones would tell of it before it happened.
    `looked_at` is when an inspection of all of it is known of.
    """
    active = f"count({when('is_active', '1')})"
    columns = ", ".join(
        f"CASE WHEN count({of_active}) = {active} THEN max({of_active}) END AS {s}"
        for s, of_active in ((s, when("is_active", s)) for s in REACHED)
    )
    looked = f"CASE WHEN count({when('is_active', 'looked')}) = {active} THEN max(looked) END AS looked_at"
    return f"""SELECT return_key, {columns}, {looked} FROM (
            SELECT return_key, inspected_at AS looked,
                least(cancelled_at, rejected_at, expired_at) IS NULL AS is_active,
                coalesce(inspected_at, least(restocked_at, disposed_at)) AS inspected,
                coalesce(received_at, inspected) AS received, coalesce(carrier_scan_at, received) AS carrier_scan,
                coalesce(handed_over_at, carrier_scan) AS handed_over,
                coalesce(requested_at, approved_at, label_issued_at, handed_over) AS requested
            FROM fact_return_line {where})
        GROUP BY return_key"""


def ahead(b: str) -> str:
    """Give the days that the work ahead of a return on its way takes beyond the usual, from its source's backlog.

    Of the goods in the same stage half are ahead of it.
    """
    return f"""CASE stage WHEN 'requested' THEN ({b}.coming_excess + {b}.asked_excess) / 2
        WHEN 'handed_over' THEN {b}.coming_excess WHEN 'carrier_scan' THEN ({b}.waiting_excess + {b}.coming_excess) / 2
        ELSE 0 END"""


_WORK = """
    SELECT i.source, {place} AS place_id, i.seen_at,
        count(*) FILTER (r.received_at <= i.seen_at AND (r.inspected_at IS NULL OR r.inspected_at > i.seen_at))
            AS waiting,
        count(*) FILTER (sent_at <= i.seen_at AND (came_at IS NULL OR came_at > i.seen_at)) AS coming,
        count(*) FILTER (requested_at <= i.seen_at AND (sent_at IS NULL OR sent_at > i.seen_at)) AS asked,
        count(*) FILTER (r.inspected_at > i.seen_at - INTERVAL 7 DAY AND r.inspected_at <= i.seen_at) / 7.0 AS pace
    FROM every_instant i JOIN work r ON r.source = i.source AND r.begun_at > i.seen_at - INTERVAL 60 DAY
        AND r.begun_at <= i.seen_at AND (stopped_at IS NULL OR stopped_at > i.seen_at)
    GROUP BY ALL
"""


def work_ahead(connection: duckdb.DuckDBPyConnection, instants: int) -> None:
    """Store backlog, of each source (place_id '') and of each of its sites: the work that waits, in days.

    `days`: goods received and not inspected, at the pace of the last week. `able`: what is inspected a day at most: the
    pace of the last week where goods waited at both its ends, for then all hands were at work, else the best of the
    last half year. `*_excess`: days that the work ahead of a return takes so beyond what it usually took: goods that
    wait (of a return that is at the site), with those under way (of one that is sent), and with those asked for. So
    many weeks of more goods than hands show in what is under way before they show in what waits. Tills have no work
    that waits.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE every_instant AS
        SELECT source, observed_until - to_days({SNAPSHOT_DAYS} * k) AS seen_at, k
        FROM ({OBSERVED_SQL}), (SELECT unnest(range({instants + _BEFORE} + 1))::INTEGER AS k);
        CREATE OR REPLACE TEMP TABLE work AS
        SELECT source, coalesce(place_id, '') AS place_id, requested_at, received_at, inspected_at,
            coalesce(handed_over_at, carrier_scan_at, received_at) AS sent_at, coalesce(received_at, inspected_at)
                AS came_at, coalesce(requested_at, sent_at, came_at) AS begun_at,
            least(cancelled_at, rejected_at, expired_at, lost_at) AS stopped_at
        FROM fact_return_line WHERE method IS DISTINCT FROM 'store';
        CREATE OR REPLACE TEMP TABLE backlog AS
        WITH counted AS ({_WORK.format(place="''")} UNION ALL {_WORK.format(place="r.place_id")}
                HAVING r.place_id <> ''),
        usual AS (
            SELECT *, CASE
                    WHEN least(waiting, lag(waiting) OVER (PARTITION BY source, place_id ORDER BY seen_at)) > pace
                    THEN greatest(pace, max(pace) OVER before / 4, 1 / 7)
                    ELSE greatest(pace, max(pace) OVER before, 1 / 7) END AS able, count(*) OVER before AS known,
                median(waiting / greatest(pace, 1 / 7)) OVER before AS usual_waiting,
                median((waiting + coming) / greatest(pace, 1 / 7)) OVER before AS usual_coming,
                median((waiting + coming + asked) / greatest(pace, 1 / 7)) OVER before AS usual_asked
            FROM counted WINDOW before AS (PARTITION BY source, place_id ORDER BY seen_at
                ROWS BETWEEN {_BEFORE} PRECEDING AND 1 PRECEDING))
        SELECT source, place_id, seen_at, able, waiting / greatest(pace, 1 / 7) AS days,
            CASE WHEN known >= {_BEFORE // 2} THEN greatest(waiting / able - usual_waiting, 0) ELSE 0
                END AS waiting_excess,
            CASE WHEN known >= {_BEFORE // 2} THEN greatest((waiting + coming) / able - usual_coming, 0) ELSE 0
                END AS coming_excess,
            CASE WHEN known >= {_BEFORE // 2} THEN greatest((waiting + coming + asked) / able - usual_asked, 0) ELSE 0
                END AS asked_excess
        FROM usual SEMI JOIN instant USING (source, seen_at);
        DROP TABLE every_instant
    """)
    _queue(connection)


def _queue(connection: duckdb.DuckDBPyConnection) -> None:
    """Store queue: of goods that wait, in the order they came, in how many days those before them are inspected.

    At what the site can do a week, spread over its days of work: those on which it inspected in the last eight weeks.
    """
    every = "SELECT * REPLACE ('' AS place_id) FROM work UNION ALL SELECT * FROM work WHERE place_id <> ''"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE queue AS
        WITH every AS ({every}),
        worked AS (
            SELECT i.source, place_id, seen_at, isodow(inspected_at) AS weekday, count(*) AS n
            FROM instant i JOIN every r ON r.source = i.source AND inspected_at <= seen_at
                AND inspected_at > seen_at - INTERVAL 56 DAY GROUP BY ALL),
        days AS (
            SELECT b.source, b.place_id, b.seen_at, k, 7 * able * w.n / sum(w.n) OVER (
                PARTITION BY b.source, b.place_id, b.seen_at, k // 7) AS step
            FROM backlog b, (SELECT unnest(range({_AHEAD}))::INTEGER AS k)
            JOIN worked w ON w.source = b.source AND w.place_id = b.place_id AND w.seen_at = b.seen_at
                AND w.weekday = isodow(b.seen_at + to_days(k + 1))),
        hands AS (
            SELECT *, sum(step) OVER (PARTITION BY source, place_id, seen_at ORDER BY k) - step AS before FROM days),
        waiting AS (
            SELECT r.source, r.place_id, seen_at, received_at, row_number() OVER (
                PARTITION BY r.source, r.place_id, seen_at ORDER BY received_at)::DOUBLE AS turn
            FROM every r JOIN instant i ON i.source = r.source AND received_at <= seen_at AND received_at > seen_at
                - INTERVAL 60 DAY AND (inspected_at IS NULL OR inspected_at > seen_at)
                AND (stopped_at IS NULL OR stopped_at > seen_at))
        SELECT w.source, w.place_id, w.seen_at, received_at, max(k + (turn - before) / step) AS turn_days
        FROM waiting w ASOF JOIN hands h ON h.source = w.source AND h.place_id = w.place_id AND h.seen_at = w.seen_at
            AND w.turn >= h.before
        GROUP BY ALL;
        DROP TABLE work
    """)
