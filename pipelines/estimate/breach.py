"""Whether open promises will be broken.

Here: snapshots of past promises while they were open, the features of a snapshot as they were known then, the open ones
of today. Not here: the regression (models/breach.py), the work that waits (work_ahead.py), when the refund will come
(completion.py). One model a promise, refitted when the data have moved on by REFIT_DAYS,
else scored with its stored coefficients; one that does not beat its lane's own past rate on later snapshots is recorded
and not used.
"""

import json
from datetime import datetime
from typing import Any

import duckdb
import numpy as np

from models import breach
from pipelines.estimate.completion import completion
from pipelines.estimate.work_ahead import REACHED, SNAPSHOT_DAYS, stage_times, work_ahead
from pipelines.settings import Settings
from pipelines.warehouse.rules import OBSERVED_SQL
from pipelines.warehouse.sql import rows_sql

REFIT_DAYS = 7
SNAPSHOTS = 23  # instants looked back to, SNAPSHOT_DAYS apart: each falls on another weekday
ROWS = 6_000  # snapshots of a promise that are learnt from
COPIES = 2  # of each, due on other days
SHIFTS = (-6, -5, -4, -3, -2, -1, 1, 2, 3, 4)  # days by which a copy is due sooner or later


def _features(where: str) -> str:
    """Select the features of snapshots (return_key, promise_id, at, ...) as they were known `at` the time.

    A stage counts when every unit had reached it by then; a promise whose clock waits for further units is left out,
    for its date will move. The lane's rate is that of promises decided before the snapshot's promise was even asked
    for, pulled towards the whole promise's with 30 returns.
    """
    stage = (
        "CASE " + " ".join(f"WHEN {s} <= seen_at THEN '{s}'" for s in reversed(REACHED[1:])) + " ELSE 'requested' END"
    )
    since = "CASE stage " + " ".join(f"WHEN '{s}' THEN {s}" for s in REACHED) + " END"
    flags = ", ".join(f"(stage = '{s}')::DOUBLE AS at_{s}" for s in REACHED[1:])
    begun = " ".join(f"WHEN '{s}' THEN {'looked_at' if s == 'inspected' else s}" for s in REACHED)
    is_begun = f"CASE from_stage {begun} ELSE seen_at END <= seen_at"
    return f"""
        WITH timed AS (
            SELECT s.*, {stage} AS stage,
                greatest((epoch(seen_at) - epoch(coalesce(CASE WHEN {since} <= seen_at THEN {since} END, started_at)))
                    / 86400, 0) AS stage_days,
                (epoch(due_at) - epoch(seen_at)) / 86400 AS due_days
            FROM snapshot s LEFT JOIN return_stage USING (return_key) WHERE {where} AND {is_begun}),
        ahead AS (
            SELECT t.*, due_days - CASE WHEN to_stage = 'received' AND stage <> 'received' THEN coalesce(q.come_days, 0)
                    WHEN to_stage IN ('inspected', 'refunded', 'restocked') AND stage <> 'inspected'
                    THEN coalesce(o.turn_days, q.turn_days, 0) ELSE 0 END AS left_days
            FROM timed t
            LEFT JOIN turn q ON q.source = t.source AND q.seen_at = t.seen_at AND q.return_key = t.return_key
                AND q.place_id = ''
            LEFT JOIN turn o ON o.source = t.source AND o.seen_at = t.seen_at AND o.return_key = t.return_key
                AND o.place_id = nullif(t.place_id, '')),
        measured AS (
            SELECT t.*,
                coalesce(t.due_at::DATE - d1.day - (d2.business_day_no - d1.business_day_no), 0)::DOUBLE AS free_days,
                coalesce(l.rate, w.rate, 0.1) AS base_rate, coalesce(w.rate, base_rate) AS whole_rate
            FROM ahead t
            LEFT JOIN lane_rate l ON l.promise_id = t.promise_id AND l.lane = t.lane AND l.seen_at = t.seen_at
            LEFT JOIN dim_day d1 ON d1.country = t.country AND d1.carrier = ''
                AND d1.day = (t.due_at - to_seconds(86400 * greatest(left_days, 0)))::DATE
            LEFT JOIN dim_day d2 ON d2.country = t.country AND d2.carrier = '' AND d2.day = t.due_at::DATE
            LEFT JOIN whole_rate w ON w.promise_id = t.promise_id AND w.seen_at = t.seen_at)
        SELECT return_key, promise_id, seen_at, stage, lane, is_broken, is_copy, (epoch(seen_at) / 86400)::DOUBLE
            AS seen_day, (epoch(due_at) / 86400)::DOUBLE AS decided_day, base_rate, left_days, stage_days, free_days,
            ln(base_rate / (1 - base_rate)) - ln(whole_rate / (1 - whole_rate)) AS lane_rate, {flags}
        FROM measured ORDER BY promise_id, return_key, seen_at, due_at
    """


def _prepare(connection: duckdb.DuckDBPyConnection, *, is_learning: bool) -> None:
    """Make the temporary tables that features are read from.

    snapshot, return_stage, backlog, turn, lane_rate, whole_rate; instants of the past when learning, and T.
    """
    days = SNAPSHOTS * SNAPSHOT_DAYS if is_learning else 0
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE instant AS
        SELECT source, observed_until - to_days({SNAPSHOT_DAYS} * k) AS seen_at, k = 0 AS is_now
            FROM ({OBSERVED_SQL}), (SELECT unnest(range({days // SNAPSHOT_DAYS} + 1))::INTEGER AS k)
    """)
    _snapshots(connection, days, is_learning=is_learning)
    work_ahead(connection, days // SNAPSHOT_DAYS)
    _lane_rates(connection, days)


_BROKEN = """CASE WHEN ended_at IS NOT NULL THEN ended_at > {due} WHEN stopped_at <= {due} OR handed_over_at IS NULL
    THEN NULL ELSE true END"""
"""Whether a promise due at an instant was broken; NULL where that was not decided."""

_PAST = f"""
    past AS (
        SELECT o.*, i.seen_at FROM ended o JOIN instant i ON i.source = o.source AND i.seen_at >= o.started_at
            AND i.seen_at < o.due_at AND i.seen_at < coalesce(o.closed_at, TIMESTAMP '9999-01-01')
            AND NOT i.is_now AND (o.promise_id <> 'legal_refund' OR o.handed_over_at <= i.seen_at)
        WHERE o.due_at <= o.observed_until AND {_BROKEN.format(due="o.due_at")} IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY o.promise_id ORDER BY hash(o.return_key, i.seen_at)) <= {ROWS}),
    copied AS (
        SELECT * REPLACE (due_at + to_days({list(SHIFTS)}[1 + (hash(return_key, promise_id, seen_at, copy)
            % {len(SHIFTS)})::INTEGER]) AS due_at) FROM past, (SELECT unnest(range({COPIES})) AS copy)),
    learnt AS (
        SELECT *, false AS is_copy FROM past
        UNION ALL BY NAME
        SELECT * EXCLUDE (copy), true AS is_copy FROM copied WHERE due_at > seen_at AND due_at <= observed_until)
    SELECT *, {_BROKEN.format(due="due_at")} AS is_broken FROM learnt WHERE is_broken IS NOT NULL
    UNION ALL BY NAME
"""
"""Snapshots of the past: those that are due by now, for the quick of the same age would flatter.

At most ROWS a promise, chosen by a hash, and COPIES of each as they had been had their day been another.
"""


def _snapshots(connection: duckdb.DuckDBPyConnection, days: int, *, is_learning: bool) -> None:
    """Store snapshot, promises open and not yet due at an instant, and return_stage, the stages of their returns."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE snapshot AS
        WITH ended AS (
            SELECT p.return_key, p.promise_id, p.source, concat_ws('|', p.country, p.method, p.carrier) AS lane,
                coalesce(p.country, '') AS country, p.to_stage, f.from_stage, coalesce(p.place_id, '') AS place_id,
                p.started_at, p.due_at, p.handed_over_at, p.ended_at, p.stopped_at, t.observed_until,
                least(p.ended_at, p.stopped_at, p.lost_at) AS closed_at
            FROM estimate_promise p JOIN ({OBSERVED_SQL}) t ON t.source = p.source
            LEFT JOIN (SELECT policy_key, promise_id, min(from_stage) AS from_stage FROM dim_policy_promise
                GROUP BY ALL) f
                ON f.policy_key = p.policy_key AND f.promise_id = p.promise_id
            WHERE p.due_at IS NOT NULL AND p.started_at IS NOT NULL AND p.started_at >= t.observed_until
                - to_days({days + 60})){"," + _PAST if is_learning else ""}
        SELECT *, observed_until AS seen_at, false AS is_copy, NULL::BOOLEAN AS is_broken FROM ended
        WHERE due_at > observed_until AND started_at <= observed_until AND closed_at IS NULL;
        CREATE OR REPLACE TEMP TABLE return_stage AS
        {stage_times("SEMI JOIN snapshot USING (return_key)")}
    """)


def _lane_rates(connection: duckdb.DuckDBPyConnection, days: int) -> None:
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
                - to_days({days + 122}) GROUP BY ALL)
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
    completion(connection)
    for table in (
        "instant",
        "snapshot",
        "return_stage",
        "backlog",
        "turn",
        "whole_rate",
        "lane_rate",
    ):
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
        if "trees" not in given:  # of a version before this one
            return {}
        found[promise_id] = (model_id, breach.BreachModel.of(given) if is_used else None)
    return found


def _fitted(connection: duckdb.DuckDBPyConnection, until: datetime) -> dict[str, tuple[str, breach.BreachModel | None]]:
    """Fit one model a promise and record it with its score, used or not."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    rows = connection.execute(_features("is_broken IS NOT NULL AND seen_at < observed_until")).fetchnumpy()
    connection.execute("DELETE FROM model_version WHERE model = 'breach'")
    found: dict[str, tuple[str, breach.BreachModel | None]] = {}
    for promise_id in sorted(set(rows["promise_id"].tolist())):
        mine = rows["promise_id"] == promise_id
        column = {n: np.ma.getdata(rows[n])[mine] for n in rows if n not in ("promise_id", "stage", "lane", "seen_at")}
        given = (column[n] for n in ("is_broken", "seen_day", "decided_day", "base_rate", "is_copy"))
        with threadpool_limits(1):  # threads that wait for each other are slower where other work runs
            model = breach.fit(column, *given)
        if model is None:
            continue
        model_id = f"breach/{promise_id}/{until:%Y%m%d}"
        is_used = model.beats_base_rate()
        parameters = {"promise_id": promise_id, **model.plain()}
        values = {
            "model_id": model_id,
            "model": "breach",
            "fitted_at": until.isoformat(),
            "rows": model.rows,
            "score_name": "brier",
            "score": model.brier,
            "base_score": model.base_brier,
            "is_used": is_used,
            "parameters": json.dumps(parameters),
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
