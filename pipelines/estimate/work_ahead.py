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
_AGES = (0, 1, 2, 3, 5, 8, 13, 21, 34)  # days in a stage, from which ways are told apart
_TOLD, _LEARNT = 4, 13  # instants until a way has told whether it ends, and instants of them that are learnt from


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
        SELECT source, return_key, coalesce(place_id, '') AS place_id, concat_ws('|', country, method, carrier) AS lane,
            requested_at, received_at, inspected_at, coalesce(received_at, inspected_at) AS came_at,
            coalesce(carrier_scan_at, came_at) AS scan_at, coalesce(handed_over_at, scan_at) AS sent_at,
            coalesce(requested_at, sent_at) AS begun_at,
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
        FROM usual SEMI JOIN instant USING (source, seen_at)
    """)
    _ways(connection)
    _queue(connection)


AGE_SQL = "CASE " + " ".join(f"WHEN stage_days >= {d} THEN {i}" for i, d in reversed(list(enumerate(_AGES)))) + " END"
"""The class of the days in a stage."""

_LIVE = f"""
    SELECT i.source, i.seen_at, i.k, return_key, place_id, lane, came_at, CASE WHEN came_at <= seen_at THEN 'received'
            WHEN scan_at <= seen_at THEN 'carrier_scan' WHEN sent_at <= seen_at THEN 'handed_over' ELSE 'requested'
            END AS stage,
        (epoch(seen_at) - epoch(CASE stage WHEN 'received' THEN came_at WHEN 'carrier_scan' THEN scan_at
            WHEN 'handed_over' THEN sent_at ELSE begun_at END)) / 86400 AS stage_days, {AGE_SQL} AS age
    FROM every_instant i JOIN work r ON r.source = i.source AND begun_at > seen_at - INTERVAL 60 DAY
        AND begun_at <= seen_at AND (inspected_at IS NULL OR inspected_at > seen_at)
        AND (stopped_at IS NULL OR stopped_at > seen_at)
"""
"""What was on its way or waited at instants: the stage it had reached, and for how long."""


def _ways(connection: duckdb.DuckDBPyConnection) -> None:
    """Store way: of goods in a stage for so long, how many of them came and in how many days, as known by an instant.

    By lane, and of all lanes (`lane` is NULL): those that were there at instants before, long enough ago to tell.
    """
    told = f"came_at <= seen_at + to_days({_TOLD * SNAPSHOT_DAYS})"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE way AS
        WITH told AS (
            SELECT source, k, stage, age, lane, count(*) AS n, count(*) FILTER ({told}) AS came,
                sum(epoch(came_at)::BIGINT - epoch(seen_at)::BIGINT) FILTER ({told}) AS seconds
            FROM ({_LIVE}) WHERE stage <> 'received' GROUP BY ALL)
        SELECT i.source, i.seen_at, stage, age, lane, sum(n)::DOUBLE AS n, sum(came)::DOUBLE AS came,
            coalesce(sum(seconds), 0) / 86400.0 AS days
        FROM every_instant i SEMI JOIN instant USING (source, seen_at)
        JOIN told t ON t.source = i.source AND t.k BETWEEN i.k + {_TOLD} AND i.k + {_TOLD + _LEARNT - 1}
        GROUP BY GROUPING SETS ((i.source, i.seen_at, stage, age, lane), (i.source, i.seen_at, stage, age))
    """)


def _queue(connection: duckdb.DuckDBPyConnection) -> None:
    """Store turn: of goods on their way or waiting, in how many days they come and in how many they are inspected.

    First come, first served: before a return are those that wait and those that come sooner, each by how probably it
    comes; a lane's own mean of days is pulled towards that of all lanes with ten returns. A site does in a week what it
    can, on its days of work: those on which it inspected in the last eight weeks. What is on its way is no site's yet
    and stands in the queue of its source (place_id '').
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE turn AS
        WITH live AS (
            SELECT l.* EXCLUDE (lane, age), CASE l.stage WHEN 'received' THEN -l.stage_days ELSE coalesce(
                    (coalesce(o.days, 0) + 10 * w.days / greatest(w.came, 1)) / (coalesce(o.came, 0) + 10), 0)
                    END AS come_days,
                CASE l.stage WHEN 'received' THEN 1 ELSE coalesce(w.came / w.n, 1) END AS share
            FROM ({_LIVE}) l SEMI JOIN instant USING (source, seen_at)
            LEFT JOIN way w ON w.source = l.source AND w.seen_at = l.seen_at AND w.stage = l.stage AND w.age = l.age
                AND w.lane IS NULL
            LEFT JOIN way o ON o.source = l.source AND o.seen_at = l.seen_at AND o.stage = l.stage AND o.age = l.age
                AND o.lane = l.lane),
        queue AS (
            SELECT source, seen_at, return_key, place_id, come_days, sum(share) OVER (PARTITION BY source, seen_at,
                place_id ORDER BY come_days, stage_days DESC, return_key) AS position
            FROM (SELECT * REPLACE ('' AS place_id) FROM live UNION ALL FROM live WHERE place_id <> ''
                AND stage = 'received')),
        worked AS (
            SELECT i.source, place_id, seen_at, isodow(inspected_at) AS weekday, count(*) AS n
            FROM instant i JOIN (SELECT * REPLACE ('' AS place_id) FROM work UNION ALL FROM work WHERE place_id <> '') r
                ON r.source = i.source AND inspected_at <= seen_at AND inspected_at > seen_at - INTERVAL 56 DAY
            GROUP BY ALL),
        days AS (
            SELECT b.source, b.place_id, b.seen_at, k, 7 * able * w.n / sum(w.n) OVER (
                PARTITION BY b.source, b.place_id, b.seen_at, k // 7) AS step
            FROM backlog b, (SELECT unnest(range({_AHEAD}))::INTEGER AS k)
            JOIN worked w ON w.source = b.source AND w.place_id = b.place_id AND w.seen_at = b.seen_at
                AND w.weekday = isodow(b.seen_at + to_days(k + 1))),
        hands AS (
            SELECT *, sum(step) OVER (PARTITION BY source, place_id, seen_at ORDER BY k) - step AS before FROM days),
        turns AS (
            SELECT q.*, k + (position - before) / step AS turn_days FROM queue q
            ASOF LEFT JOIN hands h ON h.source = q.source AND h.place_id = q.place_id AND h.seen_at = q.seen_at
                AND q.position >= h.before)
        SELECT source, seen_at, return_key, place_id, greatest(max(come_days), 0) AS come_days,
            greatest(max(come_days), max(turn_days), 0) AS turn_days
        FROM turns SEMI JOIN snapshot USING (source, seen_at, return_key) GROUP BY ALL;
        DROP TABLE work;
        DROP TABLE way;
        DROP TABLE every_instant
    """)
