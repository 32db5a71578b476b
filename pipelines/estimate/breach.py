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
from pipelines.warehouse.rules import OBSERVED_SQL
from pipelines.warehouse.sql import rows_sql

REFIT_DAYS = 7
SNAPSHOTS = 26  # weeks looked back, one snapshot a week
ROWS = 6_000  # snapshots of a promise that are learnt from
_BINS, _BIN_DAYS = 480, 0.25  # of life tables: 120 days
_BORROWED = 30.0  # returns of the whole stage that a lane's own life table is eked out with
_REACHED = ("requested", "handed_over", "carrier_scan", "received", "inspected")


def _stage_times() -> str:
    """Give when a return reached each stage: its last unit, of those that go on."""
    return ", ".join(f"max({s}_at) FILTER (stopped IS NULL) AS {s}" for s in _REACHED)


def _features(where: str) -> str:
    """Select the features of snapshots (return_key, promise_id, at, ...) as they were known `at` the time.

    A stage counts when every unit had reached it by then. The lane's rate is that of promises decided before the
    snapshot's promise was even asked for, pulled towards the whole promise's with 30 returns.
    """
    stage = (
        "CASE " + " ".join(f"WHEN {s} <= seen_at THEN '{s}'" for s in reversed(_REACHED[1:])) + " ELSE 'requested' END"
    )
    since = "CASE stage " + " ".join(f"WHEN '{s}' THEN {s}" for s in _REACHED) + " END"
    flags = ", ".join(f"(stage = '{s}')::DOUBLE AS at_{s}" for s in _REACHED[1:])
    waits = ", ".join(f"CASE WHEN stage = '{s}' THEN stage_log ELSE 0 END AS since_{s}" for s in _REACHED)
    lefts = ", ".join(f"CASE WHEN stage = '{s}' THEN left_log ELSE 0 END AS left_{s}" for s in _REACHED[1:])
    return f"""
        WITH timed AS (
            SELECT s.*, {stage} AS stage, greatest((epoch(seen_at) - epoch(coalesce({since}, started_at))) / 86400,
                0) AS stage_days,
                (epoch(due_at) - epoch(seen_at)) / 86400 AS left_days, (epoch(seen_at) - epoch(started_at)) / 86400
                    AS age_days
            FROM snapshot s LEFT JOIN return_stage USING (return_key) WHERE {where}),
        measured AS (
            SELECT t.*, ln(1 + left_days) AS left_log, ln(1 + stage_days) AS stage_log, coalesce(ln(1 + b.days), 0)
                AS backlog,
                coalesce(t.due_at::DATE - t.seen_at::DATE - (d2.business_day_no - d1.business_day_no), 0)::DOUBLE
                    AS free_days, coalesce(l.rate, w.rate, 0.1) AS base_rate
            FROM timed t LEFT JOIN backlog b ON b.seen_at = t.seen_at
            LEFT JOIN lane_rate l ON l.promise_id = t.promise_id AND l.lane = t.lane AND l.seen_at = t.seen_at
            LEFT JOIN dim_day d1 ON d1.country = t.country AND d1.carrier = '' AND d1.day = t.seen_at::DATE
            LEFT JOIN dim_day d2 ON d2.country = t.country AND d2.carrier = '' AND d2.day = t.due_at::DATE
            LEFT JOIN whole_rate w ON w.promise_id = t.promise_id AND w.seen_at = t.seen_at)
        SELECT return_key, promise_id, seen_at, stage, stage_days, lane, is_broken, (epoch(seen_at) / 86400)::DOUBLE
            AS seen_day, (epoch(decided_at) / 86400)::DOUBLE AS decided_day, base_rate,
            left_days, left_log, ln(1 + age_days) AS age_log, free_days, ln(base_rate / (1 - base_rate)) AS lane_rate,
                backlog, {flags}, {waits}, {lefts},
            CASE WHEN stage = 'received' THEN backlog ELSE 0 END AS backlog_received
        FROM measured ORDER BY promise_id, return_key, seen_at
    """


def _prepare(connection: duckdb.DuckDBPyConnection, *, is_learning: bool) -> None:
    """Make the temporary tables that features are read from: snapshot, return_stage, backlog, lane_rate, whole_rate.

    Weekly instants of the past when learning, and T.
    """
    weeks = SNAPSHOTS if is_learning else 0
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE instant AS
        SELECT source, observed_until - to_days(7 * w) AS seen_at, w = 0 AS is_now
            FROM ({OBSERVED_SQL}), (SELECT unnest(range({weeks} + 1))::INTEGER AS w)
    """)
    _snapshots(connection, weeks, is_learning=is_learning)
    _backlog(connection)
    _lane_rates(connection, weeks)


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


def _snapshots(connection: duckdb.DuckDBPyConnection, weeks: int, *, is_learning: bool) -> None:
    """Store snapshot, promises open and not yet due at an instant, and return_stage, the stages of their returns."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE snapshot AS
        WITH ended AS (
            SELECT p.return_key, p.promise_id, p.source, concat_ws('|', p.country, p.method, p.carrier) AS lane,
                coalesce(p.country, '') AS country, p.started_at, p.due_at, p.handed_over_at, t.observed_until,
                least(p.ended_at, p.stopped_at, p.lost_at) AS closed_at,
                CASE WHEN p.ended_at IS NOT NULL THEN p.ended_at > p.due_at WHEN p.stopped_at <= p.due_at
                    OR p.handed_over_at IS NULL THEN NULL ELSE true END AS is_broken,
                p.due_at AS decided_at
            FROM estimate_promise p JOIN ({OBSERVED_SQL}) t ON t.source = p.source
            WHERE p.due_at IS NOT NULL AND p.started_at IS NOT NULL AND p.started_at >= t.observed_until
                - to_days({7 * weeks + 60}))
        SELECT o.*, o.observed_until AS seen_at FROM ended o
        WHERE o.due_at > o.observed_until AND o.started_at <= o.observed_until AND o.closed_at IS NULL
        {_PAST if is_learning else ""};
        CREATE OR REPLACE TEMP TABLE return_stage AS
        SELECT return_key, {_stage_times()} FROM (SELECT *, least(cancelled_at, rejected_at, expired_at) AS stopped
            FROM fact_return_line SEMI JOIN snapshot USING (return_key)) GROUP BY return_key
    """)


def _backlog(connection: duckdb.DuckDBPyConnection) -> None:
    """Store backlog: days that the goods received and not inspected would take, at the pace of the last 14 days."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE backlog AS
        SELECT i.seen_at, count(*) FILTER (r.inspected_at IS NULL OR r.inspected_at > i.seen_at) * 14.0
            / greatest(count(*) FILTER (r.inspected_at > i.seen_at - INTERVAL 14 DAY AND r.inspected_at <= i.seen_at),
                1) AS days
        FROM instant i JOIN fact_return_line r ON r.source = i.source AND r.received_at > i.seen_at
            - INTERVAL 60 DAY AND r.received_at <= i.seen_at
        GROUP BY i.seen_at
    """)


def _lane_rates(connection: duckdb.DuckDBPyConnection, weeks: int) -> None:
    """Store whole_rate and lane_rate: the share of promises broken in the 120 days before each instant.

    A lane's is pulled towards the whole promise's with 30 returns.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE decided_count AS
        WITH decided AS (
            SELECT p.promise_id, concat_ws('|', p.country, p.method, p.carrier) AS lane, least(p.ended_at,
                p.due_at)::DATE AS day, count(*) AS n,
                count(*) FILTER (p.ended_at > p.due_at OR p.ended_at IS NULL) AS broken
            FROM estimate_promise p JOIN ({OBSERVED_SQL}) t ON t.source = p.source
            WHERE p.due_at <= t.observed_until AND p.stopped_at IS NULL AND p.due_at >= t.observed_until
                - to_days({7 * weeks + 122}) GROUP BY ALL)
        SELECT d.promise_id, d.lane, i.seen_at, sum(d.broken) AS broken, sum(d.n) AS n FROM decided d
            JOIN (SELECT DISTINCT seen_at FROM instant) i
            ON d.day < i.seen_at::DATE AND d.day >= i.seen_at::DATE - 120 GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE whole_rate AS
        SELECT promise_id, seen_at, (sum(broken) + 1.0) / (sum(n) + 2.0) AS rate FROM decided_count GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE lane_rate AS
        SELECT l.promise_id, l.seen_at, l.lane, (l.broken + 30 * w.rate) / (l.n + 30) AS rate FROM decided_count l
            JOIN whole_rate w USING (promise_id, seen_at);
        DROP TABLE decided_count
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
    for table in ("instant", "snapshot", "return_stage", "backlog", "whole_rate", "lane_rate"):
        connection.execute(f"DROP TABLE {table}")
    completion(connection)


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


def completion(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill estimate_completion.

    When each open return will probably be refunded, given its stage and the time it has been in it. Life tables of the
    time from a stage to the refund, one a stage x lane of the last 180 days, eked out with 30 returns of the stage as a
    whole; those still open count up to now, stopped and lost ones compete. Quantiles are of those that will be
    refunded.
    """
    arms = " UNION ALL ".join(
        f"SELECT return_key, '{s}' AS stage, {i} AS stage_no, {s} AS reached_at FROM refund_wait WHERE {s} IS NOT NULL"
        for i, s in enumerate(_REACHED)
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE refund_wait AS
        SELECT return_key, {_stage_times()}, any_value(concat_ws('|', country, method, carrier)) AS lane,
            any_value(t.observed_until) AS observed_until,
            CASE WHEN count(*) FILTER (stopped IS NULL) = count(paid) FILTER (stopped IS NULL)
                THEN max(paid) FILTER (stopped IS NULL) END AS paid_at,
            CASE WHEN count(*) FILTER (stopped IS NULL) = 0 THEN max(stopped) END AS stopped_at, min(lost_at) AS lost_at
        FROM (SELECT *, least(cancelled_at, rejected_at, expired_at) AS stopped, least(refunded_at, exchanged_at)
            AS paid FROM fact_return_line
            WHERE return_key IS NOT NULL AND requested_at IS NOT NULL AND return_type NOT IN ('refused', 'uncollected',
                'price_adjustment')) l
        JOIN ({OBSERVED_SQL}) t ON t.source = l.source WHERE requested_on >= t.observed_until::DATE - 180
            GROUP BY return_key;
        CREATE OR REPLACE TEMP TABLE stage_wait AS
        SELECT a.return_key, a.stage, a.stage_no, w.lane, w.observed_until, a.reached_at,
            CASE WHEN w.paid_at IS NOT NULL THEN 0 WHEN w.stopped_at IS NOT NULL THEN 1 WHEN w.lost_at IS NOT NULL
                THEN 2 ELSE 3 END AS cause,
            (epoch(coalesce(w.paid_at, w.stopped_at, w.lost_at, w.observed_until)) - epoch(a.reached_at)) / 86400
                AS wait_days
        FROM ({arms}) a JOIN refund_wait w USING (return_key);
    """)
    counted = connection.execute(f"""
        SELECT stage, lane, cause, least(floor(wait_days / {_BIN_DAYS}), {_BINS - 1})::INTEGER AS bin, count(*)
            AS n FROM stage_wait WHERE wait_days >= 0 GROUP BY ALL ORDER BY ALL
    """).fetchnumpy()
    waiting = connection.execute("""
        SELECT return_key, stage, lane, reached_at, wait_days FROM stage_wait
            WHERE cause = 3 QUALIFY row_number() OVER (PARTITION BY return_key ORDER BY stage_no DESC) = 1
        ORDER BY stage, lane, return_key
    """).fetchnumpy()
    if len(waiting["return_key"]) and (counted["cause"] == promises.COMPLETED).any():
        connection.register("guess", _expected(counted, waiting))
        ends = ", ".join(
            f"w.reached_at + to_microseconds((CASE WHEN isfinite(g.{n}) THEN g.{n} END * 86400e6)::BIGINT) AS {n}_at"
            for n in ("expected", "early", "late")
        )
        connection.execute(f"""
            INSERT INTO estimate_completion BY NAME
            SELECT g.return_key, g.stage, g.stage_days, {ends}
            FROM guess g JOIN stage_wait w ON w.return_key = g.return_key AND w.stage = g.stage
        """)
        connection.unregister("guess")
    connection.execute("DROP TABLE refund_wait; DROP TABLE stage_wait")


def _expected(counted: dict[str, Any], waiting: dict[str, Any]) -> dict[str, Any]:
    """Give each waiting return its stage, days in it, and how long the whole wait will be.

    Median, first and ninth decile, in days from reaching it; not finite where none will end.
    """
    cells = list(zip(counted["stage"].tolist(), counted["lane"].tolist(), strict=True))
    number = {cell: i for i, cell in enumerate(dict.fromkeys(cells))}
    tables = promises.life_table(
        np.array([number[c] for c in cells]), counted["bin"], counted["cause"], counted["n"], len(number), _BINS
    )
    durations = (np.arange(_BINS) + 1) * _BIN_DAYS
    mine = np.array([number.get(c, -1) for c in zip(waiting["stage"].tolist(), waiting["lane"].tolist(), strict=True)])
    found = np.full((len(mine), 3), np.nan)
    for (stage, _), i in number.items():
        rows = mine == i
        if rows.any():
            whole = tables[[j for (s, _), j in number.items() if s == stage]].sum(0)
            table = tables[i] + whole * (_BORROWED / whole.sum())
            found[rows] = promises.remaining_quantiles(durations, table, waiting["wait_days"][rows], [0.5, 0.1, 0.9])
    given = (
        np.ma.getdata(waiting["return_key"]),
        waiting["stage"].astype(str),
        np.ma.getdata(waiting["wait_days"]),
        *found.T,
    )
    return dict(zip(("return_key", "stage", "stage_days", "expected", "early", "late"), given, strict=True))
