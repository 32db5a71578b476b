"""When open returns will be refunded.

Here: returns that were open on past evenings, as they stood then, and what was left of their wait. Not here: the
arithmetic of life tables (models/promises.py), the work that waits (work_ahead.py).
"""

from typing import Any

import duckdb
import numpy as np

from models import promises
from pipelines.estimate.work_ahead import AGE_SQL, REACHED, ahead, stage_times
from pipelines.warehouse.rules import OBSERVED_SQL

_BINS, _BIN_DAYS = 480, 0.25  # of life tables: 120 days
_BORROWED = 30.0  # returns of the whole stage that a lane's own life table is eked out with
_LOOKS, _LOOK_DAYS = 20, 7  # past evenings that returns were open on, each of the weekday of now
_LOOK_HALF_LIFE = 6.0  # looks
_WHOLE_STAGE = 5.0  # looks at the stage at any age that an age's own are eked out with


def _looks(connection: duckdb.DuckDBPyConnection) -> None:
    """Store refund_wait, a row a return, and look, a row a return x evening it was open on, k weeks ago."""
    stages = " ".join(f"WHEN {s} <= seen_at THEN '{s}'" for s in reversed(REACHED[1:]))
    since = " ".join(f"WHEN '{s}' THEN {s}" for s in REACHED)
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
        JOIN ({stage_times(f"WHERE requested_on >= (SELECT min(observed_until)::DATE FROM ({OBSERVED_SQL})) - {days}")})
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
        SELECT *, {AGE_SQL} AS age,
            CASE WHEN paid_at IS NOT NULL THEN 0 WHEN stopped_at IS NOT NULL THEN 1 WHEN lost_at IS NOT NULL THEN 2
                ELSE 3 END AS cause,
            (epoch(coalesce(closed_at, observed_until)) - epoch(seen_at)) / 86400 AS left_days
        FROM aged
    """)


def completion(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill estimate_completion.

    When each open return will probably be refunded, given its stage and the time it has been in it. Returns that were
    open on the same weekday of the last weeks are looked at as they stood then, late weeks counting more: what was left
    of their wait, by stage and days in it, each lane eked out with 30 returns of all lanes. Those still open count up
    to now, stopped and lost ones compete. Quantiles are of those that will be refunded. Days that the work ahead takes
    beyond the usual (`backlog`) come on top of the middle and the late end.
    """
    _looks(connection)
    counted = connection.execute(f"""
        SELECT stage, age, lane, cause, least(floor(left_days / {_BIN_DAYS}), {_BINS - 1})::INTEGER AS bin,
            sum(0.5 ** (k / {_LOOK_HALF_LIFE})) AS n FROM look WHERE k > 0 AND reached_at IS NOT NULL
        GROUP BY ALL ORDER BY ALL
    """).fetchnumpy()
    waiting = connection.execute(f"""
        SELECT return_key, stage, age, lane, stage_days,
            coalesce(CASE WHEN stage = 'received' THEN coalesce(p.waiting_excess, b.waiting_excess)
                ELSE {ahead("b")} END, 0)::DOUBLE AS extra
        FROM look l LEFT JOIN backlog b ON b.source = l.source AND b.seen_at = l.seen_at AND b.place_id = ''
        LEFT JOIN backlog p ON p.source = l.source AND p.seen_at = l.seen_at AND p.place_id = nullif(l.place_id, '')
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
    by_age: dict[tuple[Any, Any], Any] = {}
    by_stage: dict[Any, Any] = {}
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
