"""Whether goods leave each stage at the pace they did: estimate_stage_pace, the alarm of waits and promises.

Here: the waits of every pair of stages as they stood in each of the last weeks. Not here: the comparison
(models/pace.py), and which answers carry the alarm (pipelines/metrics/finish/waits.py).
"""

from typing import Any

import duckdb
import numpy as np

from models import pace
from pipelines.settings import Settings
from pipelines.warehouse.rules import OBSERVED_SQL, WAITS_BETWEEN
from pipelines.warehouse.star import STAR

_DAYS = 90  # of age told apart

_LATER = {
    "approved_at": ("handed_over_at", "carrier_scan_at", "received_at", "inspected_at", "refunded_at"),
    "handed_over_at": ("carrier_scan_at", "received_at", "inspected_at", "refunded_at"),
    "carrier_scan_at": ("received_at", "inspected_at", "refunded_at"),
    "received_at": ("inspected_at", "refunded_at"),
    "inspected_at": ("refunded_at",),
    "refunded_at": ("exchanged_at",),
    "restocked_at": ("disposed_at",),
}
"""What happens to goods that went past a stage nobody recorded, and ends the wait for it."""


def _waits() -> str:
    """Select every wait that was open in the weeks looked at: source, stage, begun_at, done_at, closed_at."""
    arms = [
        f"""
        SELECT source, '{stage}' AS stage, {start} AS begun_at, {end} AS done_at,
            coalesce({end}, least(cancelled_at, rejected_at, expired_at, lost_at), {", ".join(_LATER[end])})
                AS closed_at
        FROM fact_return_line WHERE {start} IS NOT NULL AND date_fault IS NULL
            AND ({end} IS NULL OR {end} >= {start})"""
        for stage, (start, end) in WAITS_BETWEEN.items()
    ]
    return " UNION ALL ".join(arms)


def stage_pace(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill estimate_stage_pace: a row a source and pair of stages whose ends can be compared."""
    del settings
    connection.execute("DELETE FROM estimate_stage_pace")
    age = f"least(greatest(floor((epoch({{}}) - epoch(begun_at)) / 86400), 0), {_DAYS - 1})::INTEGER"
    counted = connection.execute(f"""
        WITH open AS (
            SELECT w.source, w.stage, begun_at, done_at, least(coalesce(closed_at, t.observed_until), t.observed_until)
                AS until_at, t.observed_until AS t
            FROM ({_waits()}) w JOIN ({OBSERVED_SQL}) t ON t.source = w.source
            WHERE begun_at <= t.observed_until AND coalesce(closed_at, t.observed_until) >= begun_at
                AND coalesce(closed_at, t.observed_until) > t.observed_until - to_days({7 * pace.WEEKS})
                AND begun_at > t.observed_until - to_days({7 * pace.WEEKS + _DAYS})),
        weekly AS (
            SELECT *, unnest(range(
                greatest(floor((epoch(t) - epoch(until_at)) / 604800), 0)::BIGINT,
                least(floor((epoch(t) - epoch(begun_at)) / 604800), {pace.WEEKS - 1})::BIGINT + 1))::INTEGER AS week
            FROM open),
        aged AS (
            SELECT source, stage, week,
                {age.format("greatest(begun_at, t - to_days(7 * (week + 1)))")} AS from_age,
                {age.format("least(until_at, t - to_days(7 * week))")} AS to_age,
                coalesce(done_at <= t AND done_at > t - to_days(7 * (week + 1)) AND done_at <= t - to_days(7 * week),
                    false) AS is_done
            FROM weekly)
        SELECT source, stage, week, from_age, to_age, is_done, count(*) AS n FROM aged GROUP BY ALL ORDER BY ALL
    """).fetchnumpy()
    latest = dict(connection.execute(f"SELECT source, observed_until FROM ({OBSERVED_SQL})").fetchall())
    cells = list(zip(counted["source"].tolist(), counted["stage"].tolist(), strict=True))
    number = {cell: i for i, cell in enumerate(dict.fromkeys(cells))}
    place = np.array([number[cell] for cell in cells])
    rows = []
    for (source, stage), i in number.items():
        compared = pace.pace(*_tables({n: np.ma.getdata(v)[place == i] for n, v in counted.items()}))
        if compared.expected > 0:
            numbers = (compared.factor, compared.z, int(compared.ended), compared.expected, compared.is_drifting)
            rows.append((source, stage, compared.weeks, latest[source], *numbers))
    if rows:
        marks = ", ".join("?" * len(STAR.tables["estimate_stage_pace"].columns))
        connection.executemany(f"INSERT INTO estimate_stage_pace VALUES ({marks})", rows)


def _tables(counted: dict[str, Any]) -> tuple[pace.Array, pace.Array, pace.Array]:
    """Sum the rows of one stage into waits entered, left and ended: [week, age]."""
    week, n, done = counted["week"].astype(int), counted["n"].astype(float), counted["is_done"].astype(bool)
    tables = []
    for column, weight in (("from_age", n), ("to_age", n), ("to_age", n * done)):
        table = np.zeros((pace.WEEKS, _DAYS))
        np.add.at(table, (week, counted[column].astype(int)), weight)
        tables.append(table)
    return tables[0], tables[1], tables[2]
