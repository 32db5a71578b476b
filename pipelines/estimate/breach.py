"""What open returns will come to: whether they break their promises, and when their refund will come.

Here: snapshots of past promises while they were open, the features of a snapshot as they were known then, the open ones
of today, and life tables of the time from a stage to the refund. Not here: the regression (models/breach.py), the
arithmetic of life tables (models/promises.py). One model a promise, refitted when the data have moved on by REFIT_DAYS,
else scored with its stored coefficients; one that does not beat its lane's own past rate on later snapshots is recorded
and not used.
"""

import json
from datetime import datetime
from typing import Any

import duckdb
import numpy as np

from models import breach, promises
from pipelines.settings import Settings
from pipelines.warehouse.rules import OBSERVED_SQL, lot_stages
from pipelines.warehouse.sql import rows_sql

REFIT_DAYS = 7
SNAPSHOTS, SNAPSHOT_DAYS = 23, 8  # instants looked back to, so many days apart: each falls on another weekday
BEFORE = 26  # instants before each that say what work is usual
ROWS = 6_000  # snapshots of a promise that are learnt from
_BINS, _BIN_DAYS = 480, 0.25  # of life tables: 120 days
_BORROWED = 30.0  # returns of the whole stage that a lane's own life table is eked out with
_REACHED = ("requested", "handed_over", "carrier_scan", "received", "inspected")


def _stage_times(where: str) -> str:
    """Select when returns reached each stage: their last unit, once all of those that go on have.

    `where` follows fact_return_line. A stage nobody recorded was reached at the latest when the next one was.
    """
    columns = ", ".join(
        f"CASE WHEN count({s}) FILTER (is_active) = count(*) FILTER (is_active) THEN max({s}) FILTER (is_active)"
        f" END AS {s}"
        for s in _REACHED
    )
    return f"""SELECT return_key, {columns} FROM (SELECT return_key, {lot_stages()} FROM fact_return_line {where})
        GROUP BY return_key"""


def _ahead(b: str) -> str:
    """Give the days that the work ahead of a return on its way takes beyond the usual, from its source's backlog.

    Of the goods in the same stage half are ahead of it.
    """
    return f"""CASE stage WHEN 'requested' THEN ({b}.coming_excess + {b}.asked_excess) / 2
        WHEN 'handed_over' THEN {b}.coming_excess WHEN 'carrier_scan' THEN ({b}.waiting_excess + {b}.coming_excess) / 2
        ELSE 0 END"""


def _features(where: str) -> str:
    """Select the features of snapshots (return_key, promise_id, at, ...) as they were known `at` the time.

    A stage counts when every unit had reached it by then; a promise whose clock waits for further units is left out, for
    its date will move. The lane's rate is that of promises decided before the
    snapshot's promise was even asked for, pulled towards the whole promise's with 30 returns.
    """
    stage = (
        "CASE " + " ".join(f"WHEN {s} <= seen_at THEN '{s}'" for s in reversed(_REACHED[1:])) + " ELSE 'requested' END"
    )
    since = "CASE stage " + " ".join(f"WHEN '{s}' THEN {s}" for s in _REACHED) + " END"
    flags = ", ".join(f"(stage = '{s}')::DOUBLE AS at_{s}" for s in _REACHED[1:])
    waits = ", ".join(f"CASE WHEN stage = '{s}' THEN stage_log ELSE 0 END AS since_{s}" for s in _REACHED)
    lefts = ", ".join(f"CASE WHEN stage = '{s}' THEN left_log ELSE 0 END AS left_{s}" for s in _REACHED[1:])
    begun = " ".join(f"WHEN '{s}' THEN {s}" for s in _REACHED)
    is_begun = f"CASE from_stage {begun} ELSE seen_at END <= seen_at"
    work = " + ".join(
        f"f.d{d} * (floor(whole_days / 7) + (({d} + 6 - isodow(t.seen_at)) % 7 < whole_days % 7)::INTEGER)"
        for d in range(1, 8)
    )
    return f"""
        WITH timed AS (
            SELECT s.*, {stage} AS stage, greatest((epoch(seen_at) - epoch(coalesce({since}, started_at))) / 86400,
                0) AS stage_days,
                (epoch(due_at) - epoch(seen_at)) / 86400 AS due_days, (epoch(seen_at) - epoch(started_at)) / 86400
                    AS age_days, (due_at::DATE - seen_at::DATE)::DOUBLE AS whole_days
            FROM snapshot s LEFT JOIN return_stage USING (return_key) WHERE {where} AND {is_begun}),
        ahead AS (
            SELECT t.*, due_days - CASE WHEN to_stage NOT IN ('inspected', 'refunded', 'restocked') THEN 0
                    WHEN stage = 'received' THEN coalesce(p.waiting_excess, b.waiting_excess, 0)
                    ELSE coalesce({_ahead("b")}, 0) END AS left_days,
                CASE WHEN stage = 'received' THEN coalesce(p.days, b.days) ELSE b.days END AS waiting_days
            FROM timed t LEFT JOIN backlog b ON b.source = t.source AND b.seen_at = t.seen_at AND b.place_id = ''
            LEFT JOIN backlog p ON p.source = t.source AND p.seen_at = t.seen_at AND p.place_id = t.place_id
                AND t.place_id <> ''),
        measured AS (
            SELECT t.*, ln(1 + greatest(left_days, 0)) AS left_log, ln(1 + greatest(-left_days, 0)) AS behind,
                ln(1 + stage_days) AS stage_log, coalesce(ln(1 + waiting_days), 0) AS backlog,
                ln(1 + coalesce(7 * ({work}), whole_days)) AS work_log,
                coalesce(t.due_at::DATE - t.seen_at::DATE - (d2.business_day_no - d1.business_day_no), 0)::DOUBLE
                    AS free_days, coalesce(l.rate, w.rate, 0.1) AS base_rate
            FROM ahead t
            LEFT JOIN lane_rate l ON l.promise_id = t.promise_id AND l.lane = t.lane AND l.seen_at = t.seen_at
            LEFT JOIN dim_day d1 ON d1.country = t.country AND d1.carrier = '' AND d1.day = t.seen_at::DATE
            LEFT JOIN dim_day d2 ON d2.country = t.country AND d2.carrier = '' AND d2.day = t.due_at::DATE
            LEFT JOIN weekday_share f ON f.promise_id = t.promise_id AND f.seen_at = t.seen_at
            LEFT JOIN whole_rate w ON w.promise_id = t.promise_id AND w.seen_at = t.seen_at)
        SELECT return_key, promise_id, seen_at, stage, stage_days, lane, is_broken, (epoch(seen_at) / 86400)::DOUBLE
            AS seen_day, (epoch(decided_at) / 86400)::DOUBLE AS decided_day, base_rate,
            left_days, left_log, behind, work_log, ln(1 + age_days) AS age_log, free_days,
            ln(base_rate / (1 - base_rate)) AS lane_rate, backlog, {flags}, {waits}, {lefts},
            CASE WHEN stage = 'received' THEN backlog ELSE 0 END AS backlog_received
        FROM measured ORDER BY promise_id, return_key, seen_at
    """


def _prepare(connection: duckdb.DuckDBPyConnection, *, is_learning: bool) -> None:
    """Make the temporary tables that features are read from: snapshot, return_stage, backlog, lane_rate, whole_rate,
    weekday_share.

    Instants of the past when learning, and T.
    """
    days = SNAPSHOTS * SNAPSHOT_DAYS if is_learning else 0
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE instant AS
        SELECT source, observed_until - to_days({SNAPSHOT_DAYS} * k) AS seen_at, k = 0 AS is_now
            FROM ({OBSERVED_SQL}), (SELECT unnest(range({days // SNAPSHOT_DAYS} + 1))::INTEGER AS k)
    """)
    _snapshots(connection, days, is_learning=is_learning)
    _backlog(connection, days // SNAPSHOT_DAYS)
    _lane_rates(connection, days)


_PAST = f"""
    UNION ALL
    SELECT * FROM (
        SELECT o.*, i.seen_at FROM ended o JOIN instant i ON i.source = o.source AND i.seen_at >= o.started_at
            AND i.seen_at < o.due_at AND i.seen_at < coalesce(o.closed_at, TIMESTAMP '9999-01-01')
            AND NOT i.is_now AND (o.promise_id <> 'legal_refund' OR o.handed_over_at <= i.seen_at)
        WHERE o.decided_at <= o.observed_until AND o.is_broken IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY o.promise_id ORDER BY hash(o.return_key, i.seen_at)) <= {ROWS})
"""
"""Snapshots of the past: those that are due by now, for the quick of the same age would flatter.

At most ROWS a promise, chosen by a hash.
"""


def _snapshots(connection: duckdb.DuckDBPyConnection, days: int, *, is_learning: bool) -> None:
    """Store snapshot, promises open and not yet due at an instant, and return_stage, the stages of their returns."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE snapshot AS
        WITH ended AS (
            SELECT p.return_key, p.promise_id, p.source, concat_ws('|', p.country, p.method, p.carrier) AS lane,
                coalesce(p.country, '') AS country, p.to_stage, f.from_stage, coalesce(p.place_id, '') AS place_id, p.started_at, p.due_at, p.handed_over_at, t.observed_until,
                least(p.ended_at, p.stopped_at, p.lost_at) AS closed_at,
                CASE WHEN p.ended_at IS NOT NULL THEN p.ended_at > p.due_at WHEN p.stopped_at <= p.due_at
                    OR p.handed_over_at IS NULL THEN NULL ELSE true END AS is_broken,
                p.due_at AS decided_at
            FROM estimate_promise p JOIN ({OBSERVED_SQL}) t ON t.source = p.source
            LEFT JOIN (SELECT policy_key, promise_id, min(from_stage) AS from_stage FROM dim_policy_promise GROUP BY ALL) f
                ON f.policy_key = p.policy_key AND f.promise_id = p.promise_id
            WHERE p.due_at IS NOT NULL AND p.started_at IS NOT NULL AND p.started_at >= t.observed_until
                - to_days({days + 60}))
        SELECT o.*, o.observed_until AS seen_at FROM ended o
        WHERE o.due_at > o.observed_until AND o.started_at <= o.observed_until AND o.closed_at IS NULL
        {_PAST if is_learning else ""};
        CREATE OR REPLACE TEMP TABLE return_stage AS
        {_stage_times("SEMI JOIN snapshot USING (return_key)")}
    """)


_WORK = f"""
    SELECT i.source, {{place}} AS place_id, i.seen_at,
        count(*) FILTER (r.received_at <= i.seen_at AND (r.inspected_at IS NULL OR r.inspected_at > i.seen_at)) AS waiting,
        count(*) FILTER (sent_at <= i.seen_at AND (came_at IS NULL OR came_at > i.seen_at)) AS coming,
        count(*) FILTER (requested_at <= i.seen_at AND (sent_at IS NULL OR sent_at > i.seen_at)) AS asked,
        count(*) FILTER (r.inspected_at > i.seen_at - INTERVAL 7 DAY AND r.inspected_at <= i.seen_at) / 7.0 AS pace
    FROM every_instant i JOIN work r ON r.source = i.source AND r.begun_at > i.seen_at - INTERVAL 60 DAY
        AND r.begun_at <= i.seen_at AND (stopped_at IS NULL OR stopped_at > i.seen_at)
    GROUP BY ALL
"""


def _backlog(connection: duckdb.DuckDBPyConnection, instants: int) -> None:
    """Store backlog, of each source (place_id '') and of each of its sites: the work that waits, in days.

    `days`: goods received and not inspected, at the pace of the last week. `*_excess`: days that the work ahead of a
    return takes at the best pace of the last half year beyond what it usually took: goods that wait (of a return that
    is at the site), with those under way (of one that is sent), and with those asked for. So many weeks of more goods
    than hands show in what is under way before they show in what waits. Tills have no work that waits.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE every_instant AS
        SELECT source, observed_until - to_days({SNAPSHOT_DAYS} * k) AS seen_at, k
        FROM ({OBSERVED_SQL}), (SELECT unnest(range({instants + BEFORE} + 1))::INTEGER AS k);
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
            SELECT *, greatest(pace, max(pace) OVER before, 1 / 7) AS best, count(*) OVER before AS known,
                median(waiting / greatest(pace, 1 / 7)) OVER before AS usual_waiting,
                median((waiting + coming) / greatest(pace, 1 / 7)) OVER before AS usual_coming,
                median((waiting + coming + asked) / greatest(pace, 1 / 7)) OVER before AS usual_asked
            FROM counted WINDOW before AS (PARTITION BY source, place_id ORDER BY seen_at
                ROWS BETWEEN {BEFORE} PRECEDING AND 1 PRECEDING))
        SELECT source, place_id, seen_at, waiting / greatest(pace, 1 / 7) AS days,
            CASE WHEN known >= {BEFORE // 2} THEN greatest(waiting / best - usual_waiting, 0) ELSE 0
                END AS waiting_excess,
            CASE WHEN known >= {BEFORE // 2} THEN greatest((waiting + coming) / best - usual_coming, 0) ELSE 0
                END AS coming_excess,
            CASE WHEN known >= {BEFORE // 2} THEN greatest((waiting + coming + asked) / best - usual_asked, 0) ELSE 0
                END AS asked_excess
        FROM usual SEMI JOIN instant USING (source, seen_at);
        DROP TABLE every_instant; DROP TABLE work
    """)


def _lane_rates(connection: duckdb.DuckDBPyConnection, days: int) -> None:
    """Store whole_rate and lane_rate: the share of promises broken in the 120 days before each instant.

    A lane's is pulled towards the whole promise's with 30 returns. And weekday_share, the share of a promise's ends
    that fell on each day of the week (d1 is Monday) in these days, each pulled towards a seventh with one end.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE decided_count AS
        WITH decided AS (
            SELECT p.promise_id, concat_ws('|', p.country, p.method, p.carrier) AS lane, least(p.ended_at,
                p.due_at)::DATE AS day, count(*) AS n,
                count(*) FILTER (p.ended_at > p.due_at OR p.ended_at IS NULL) AS broken
            FROM estimate_promise p JOIN ({OBSERVED_SQL}) t ON t.source = p.source
            WHERE p.due_at <= t.observed_until AND p.stopped_at IS NULL AND p.due_at >= t.observed_until
                - to_days({days + 122}) GROUP BY ALL)
        SELECT d.promise_id, d.lane, i.seen_at, sum(d.broken) AS broken, sum(d.n) AS n FROM decided d
            JOIN (SELECT DISTINCT seen_at FROM instant) i
            ON d.day < i.seen_at::DATE AND d.day >= i.seen_at::DATE - 120 GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE whole_rate AS
        SELECT promise_id, seen_at, (sum(broken) + 1.0) / (sum(n) + 2.0) AS rate FROM decided_count GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE lane_rate AS
        SELECT l.promise_id, l.seen_at, l.lane, (l.broken + 30 * w.rate) / (l.n + 30) AS rate FROM decided_count l
            JOIN whole_rate w USING (promise_id, seen_at);
        DROP TABLE decided_count;
        CREATE OR REPLACE TEMP TABLE weekday_share AS
        WITH ended AS (
            SELECT p.promise_id, p.ended_at::DATE AS day, count(*) AS n FROM estimate_promise p
                JOIN ({OBSERVED_SQL}) t ON t.source = p.source WHERE p.ended_at <= t.observed_until
                AND p.ended_at >= t.observed_until - to_days({days + 122}) GROUP BY ALL)
        SELECT promise_id, seen_at,
            {", ".join(f"(coalesce(sum(n) FILTER (isodow(day) = {d}), 0) + 1.0) / (sum(n) + 7.0) AS d{d}" for d in range(1, 8))}
        FROM ended JOIN (SELECT DISTINCT seen_at FROM instant) i ON day < i.seen_at::DATE AND day >= i.seen_at::DATE - 120
        GROUP BY ALL
    """)


def breach_risk(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill estimate_breach_risk and estimate_completion, and record the models.

    The first has each open promise that is not yet due, the second each open return.
    """
    del settings
    connection.execute("DELETE FROM estimate_breach_risk; DELETE FROM estimate_completion")
    until = connection.execute(f"SELECT max(observed_until) FROM ({OBSERVED_SQL})").fetchall()[0][0]
    if until is None:
        return
    models = _stored(connection, until)
    is_learning = not models
    _prepare(connection, is_learning=is_learning)
    if is_learning:
        models = _fitted(connection, until)
    now = connection.execute(_features("seen_at = observed_until")).fetchnumpy()
    scored: dict[str, list[Any]] = {n: [] for n in ("return_key", "promise_id", "probability", "stage", "model_id")}
    for promise_id, (model_id, model) in models.items():
        mine = (now["promise_id"] == promise_id) & (now["seen_at"] == np.datetime64(until))
        if model is None or not mine.any():
            continue
        frame = {f: np.ma.getdata(now[f])[mine] for f in breach.FEATURES}
        rows = int(mine.sum())
        given: tuple[Any, ...] = (
            now["return_key"][mine],
            np.repeat(promise_id, rows),
            model.score(frame),
            now["stage"][mine].astype(str),
            np.repeat(model_id, rows),
        )
        for column, values in zip(scored.values(), given, strict=True):
            column.append(np.ma.getdata(values))
    if scored["return_key"]:
        connection.register("scored", {n: np.concatenate(v) for n, v in scored.items()})
        connection.execute("INSERT INTO estimate_breach_risk BY NAME SELECT * FROM scored")
        connection.unregister("scored")
    completion(connection)
    for table in ("instant", "snapshot", "return_stage", "backlog", "whole_rate", "lane_rate", "weekday_share"):
        connection.execute(f"DROP TABLE {table}")


def _stored(connection: duckdb.DuckDBPyConnection, until: datetime) -> dict[str, tuple[str, breach.BreachModel | None]]:
    """Read the models of the build this one was copied from, when none is older than REFIT_DAYS of observed time."""
    rows = connection.execute(
        "SELECT model_id, is_used, parameters FROM model_version WHERE model = 'breach' AND fitted_at > TIMESTAMP"
        f" '{until}' - INTERVAL {REFIT_DAYS} DAY"
    ).fetchall()
    found: dict[str, tuple[str, breach.BreachModel | None]] = {}
    for model_id, is_used, parameters in rows:
        given: dict[str, Any] = json.loads(parameters)
        promise_id = given.pop("promise_id")
        found[promise_id] = (model_id, breach.BreachModel(**given) if is_used else None)
    return found


def _fitted(connection: duckdb.DuckDBPyConnection, until: datetime) -> dict[str, tuple[str, breach.BreachModel | None]]:
    """Fit one model a promise and record it with its score, used or not."""
    rows = connection.execute(_features("is_broken IS NOT NULL AND seen_at < observed_until")).fetchnumpy()
    connection.execute("DELETE FROM model_version WHERE model = 'breach'")
    found: dict[str, tuple[str, breach.BreachModel | None]] = {}
    for promise_id in sorted(set(rows["promise_id"].tolist())):
        mine = rows["promise_id"] == promise_id
        column = {n: np.ma.getdata(rows[n])[mine] for n in rows if n not in ("promise_id", "stage", "lane", "seen_at")}
        model = breach.fit(column, column["is_broken"], column["seen_day"], column["decided_day"], column["base_rate"])
        if model is None:
            continue
        model_id = f"breach/{promise_id}/{until:%Y%m%d}"
        is_used = model.beats_base_rate()
        given = {"promise_id": promise_id, **model.__dict__}
        values = {
            "model_id": model_id,
            "model": "breach",
            "fitted_at": until.isoformat(),
            "rows": model.rows,
            "score_name": "brier",
            "score": model.brier,
            "base_score": model.base_brier,
            "is_used": is_used,
            "parameters": json.dumps(given),
        }
        types = {
            "model_id": "VARCHAR",
            "model": "VARCHAR",
            "fitted_at": "TIMESTAMP",
            "rows": "BIGINT",
            "score_name": "VARCHAR",
            "score": "DOUBLE",
            "base_score": "DOUBLE",
            "is_used": "BOOLEAN",
            "parameters": "VARCHAR",
        }
        connection.execute(f"INSERT INTO model_version BY NAME {rows_sql(types, [list(values.values())])}")
        found[promise_id] = (model_id, model if is_used else None)
    return found


_LOOKS, _LOOK_DAYS = 20, 7  # past evenings that returns were open on, each of the weekday of now
_LOOK_HALF_LIFE = 6.0  # looks
_AGES = (0, 1, 2, 3, 5, 8, 13, 21, 34)  # days in a stage, from which waits are told apart
_WHOLE_STAGE = 5.0  # looks at the stage at any age that an age's own are eked out with


def completion(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill estimate_completion.

    When each open return will probably be refunded, given its stage and the time it has been in it. Returns that were
    open on the same weekday of the last weeks are looked at as they stood then, late weeks counting more: what was left
    of their wait, by stage and days in it, each lane eked out with 30 returns of all lanes. Those still open count up
    to now, stopped and lost ones compete. Quantiles are of those that will be refunded. Days that the work ahead takes
    beyond the usual (`backlog`) come on top of the middle and the late end.
    """
    stages = " ".join(f"WHEN {s} <= seen_at THEN '{s}'" for s in reversed(_REACHED[1:]))
    since = " ".join(f"WHEN '{s}' THEN {s}" for s in _REACHED)
    age = " ".join(f"WHEN stage_days >= {d} THEN {i}" for i, d in reversed(list(enumerate(_AGES))))
    days = _LOOKS * _LOOK_DAYS + 60
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE refund_wait AS
        SELECT w.*, s.* EXCLUDE (return_key) FROM (
            SELECT return_key, any_value(l.source) AS source, any_value(concat_ws('|', country, method, carrier))
                    AS lane, any_value(place_id) AS place_id,
                any_value(t.observed_until) AS observed_until,
                CASE WHEN count(*) FILTER (stopped IS NULL) = count(paid) FILTER (stopped IS NULL)
                    THEN max(paid) FILTER (stopped IS NULL) END AS paid_at,
                CASE WHEN count(*) FILTER (stopped IS NULL) = 0 THEN max(stopped) END AS stopped_at,
                min(lost_at) AS lost_at
            FROM (SELECT *, least(cancelled_at, rejected_at, expired_at) AS stopped, least(refunded_at, exchanged_at)
                AS paid FROM fact_return_line
                WHERE return_key IS NOT NULL AND requested_at IS NOT NULL AND return_type NOT IN ('refused',
                    'uncollected', 'price_adjustment')) l
            JOIN ({OBSERVED_SQL}) t ON t.source = l.source
            WHERE requested_on >= t.observed_until::DATE - {days} GROUP BY return_key) w
        JOIN ({_stage_times(f"WHERE requested_on >= (SELECT min(observed_until)::DATE FROM ({OBSERVED_SQL})) - {days}")})
            s USING (return_key);
        CREATE OR REPLACE TEMP TABLE look AS
        WITH seen AS (
            SELECT *, observed_until - to_days({_LOOK_DAYS} * k) AS seen_at, coalesce(paid_at, stopped_at, lost_at)
                AS closed_at
            FROM refund_wait, (SELECT unnest(range({_LOOKS} + 1))::INTEGER AS k)),
        staged AS (
            SELECT *, CASE {stages} ELSE 'requested' END AS stage,
                CASE stage {since} END AS reached_at
            FROM seen WHERE requested <= seen_at AND (closed_at IS NULL OR closed_at > seen_at)),
        aged AS (SELECT *, (epoch(seen_at) - epoch(reached_at)) / 86400 AS stage_days FROM staged)
        SELECT *, CASE {age} END AS age,
            CASE WHEN paid_at IS NOT NULL THEN 0 WHEN stopped_at IS NOT NULL THEN 1 WHEN lost_at IS NOT NULL THEN 2
                ELSE 3 END AS cause,
            (epoch(coalesce(closed_at, observed_until)) - epoch(seen_at)) / 86400 AS left_days
        FROM aged
    """)
    counted = connection.execute(f"""
        SELECT stage, age, lane, cause, least(floor(left_days / {_BIN_DAYS}), {_BINS - 1})::INTEGER AS bin,
            sum(0.5 ** (k / {_LOOK_HALF_LIFE})) AS n FROM look WHERE k > 0 AND reached_at IS NOT NULL
        GROUP BY ALL ORDER BY ALL
    """).fetchnumpy()
    waiting = connection.execute(f"""
        SELECT return_key, stage, age, lane, stage_days,
            coalesce(CASE WHEN stage = 'received' THEN coalesce(p.waiting_excess, b.waiting_excess)
                ELSE {_ahead("b")} END, 0)::DOUBLE AS extra
        FROM look l LEFT JOIN backlog b ON b.source = l.source AND b.seen_at = l.seen_at AND b.place_id = ''
        LEFT JOIN backlog p ON p.source = l.source AND p.seen_at = l.seen_at AND p.place_id = l.place_id
            AND l.place_id <> ''
        WHERE k = 0 AND reached_at IS NOT NULL ORDER BY stage, age, lane, return_key
    """).fetchnumpy()
    if len(waiting["return_key"]) and (counted["cause"] == promises.COMPLETED).any():
        connection.register("guess", _expected(counted, waiting))
        ends = ", ".join(
            f"l.seen_at + to_microseconds((CASE WHEN isfinite(g.{n}) THEN g.{n} END * 86400e6)::BIGINT) AS {n}_at"
            for n in ("expected", "early", "late")
        )
        connection.execute(f"""
            INSERT INTO estimate_completion BY NAME
            SELECT g.return_key, g.stage, g.stage_days, {ends}
            FROM guess g JOIN look l ON l.return_key = g.return_key AND l.k = 0
        """)
        connection.unregister("guess")
    connection.execute("DROP TABLE refund_wait; DROP TABLE look")


def _expected(counted: dict[str, Any], waiting: dict[str, Any]) -> dict[str, Any]:
    """Give each waiting return its stage, days in it, and how long the rest of its wait will be.

    Median, first and ninth decile, in days from now; not finite where none will end.
    """
    columns = ("stage", "age", "lane")
    cells = list(zip(*(counted[n].tolist() for n in columns), strict=True))
    number = {cell: i for i, cell in enumerate(dict.fromkeys(cells))}
    tables = promises.life_table(
        np.array([number[c] for c in cells]), counted["bin"], counted["cause"], counted["n"], len(number), _BINS
    )
    by_age, by_stage = {}, {}
    for (stage, age, _), i in number.items():
        by_age[stage, age] = by_age.get((stage, age), 0.0) + tables[i]
        by_stage[stage] = by_stage.get(stage, 0.0) + tables[i]
    durations = (np.arange(_BINS) + 1) * _BIN_DAYS
    found = np.full((len(waiting["return_key"]), 3), np.nan)
    mine = list(zip(*(waiting[n].tolist() for n in columns), strict=True))
    asked = {cell: i for i, cell in enumerate(dict.fromkeys(mine))}
    place = np.array([asked[cell] for cell in mine])
    for cell, i in asked.items():
        stage, age, _ = cell
        if stage not in by_stage:
            continue
        table = by_stage[stage] * (_WHOLE_STAGE / by_stage[stage].sum())
        if (stage, age) in by_age:
            table = table + by_age[stage, age]
        table = table * (_BORROWED / max(table.sum(), _BORROWED))
        table = table + tables[number[cell]] if cell in number else table
        found[place == i] = promises.remaining_quantiles(durations, table, [0.0], [0.5, 0.1, 0.9])[0]
    found += np.ma.getdata(waiting["extra"])[:, None] * np.array([1.0, 0.0, 1.0])
    given = (
        np.ma.getdata(waiting["return_key"]),
        waiting["stage"].astype(str),
        np.ma.getdata(waiting["stage_days"]),
        *found.T,
    )
    return dict(zip(("return_key", "stage", "stage_days", "expected", "early", "late"), given, strict=True))
