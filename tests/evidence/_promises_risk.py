"""Risks of open promises and dates of open refunds, said of shops as they stood four weeks before, against what came.

A sample shop without stories is written whole, then again with only what its systems had recorded four weeks before the
end. The second is loaded and asked; the first says what became of each open return. Pooled over shops, for one shop has
too few.
"""

import json
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from models.model_judgement import calibration_error
from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from tests.evidence import Claim

SHOPS, FIRST_SEED, ORDERS, DAYS = 6, 61_000, 120_000, 28
UNTIL = date(2025, 11, 30)
_READ = {
    ".csv": "read_csv('{}', all_varchar = true, strict_mode = false, null_padding = true, parallel = false)",
    ".parquet": "read_parquet('{}')",
}
_WRITE = {".csv": "FORMAT csv, HEADER true", ".parquet": "FORMAT parquet"}


def cut(whole: Path, early: Path, day: date) -> None:
    """Write a shop's files again with only the rows recorded by the end of a day; catalogues stay whole."""
    connection = duckdb.connect()
    for file in sorted(f for f in whole.rglob("*") if f.is_file()):
        target = early / file.relative_to(whole)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".ndjson":
            lines = file.read_text(encoding="utf-8").splitlines()
            target.write_text("\n".join(x for x in lines if _recorded_on(x) <= str(day)) + "\n")
            continue
        rows = _READ[file.suffix].format(file)
        has = "recorded_at" in {r[0] for r in connection.execute(f"DESCRIBE FROM {rows}").fetchall()}
        wanted = (
            f"WHERE try_cast(recorded_at AS TIMESTAMPTZ) <= '{day} 23:59:59+00'::TIMESTAMPTZ"
            if has and "catalogue" not in str(target)
            else ""
        )
        connection.execute(f"COPY (SELECT * FROM {rows} {wanted}) TO '{target}' ({_WRITE[file.suffix]})")
    connection.close()


def _recorded_on(line: str) -> str:
    """Give the day a line was recorded; empty where the line is torn, as some of a real file are."""
    try:
        return str(json.loads(line).get("recorded_at", ""))[:10]
    except ValueError:
        return ""


def said_and_came(seed: int, orders: int = ORDERS, *, is_moving: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give each open promise's probability, its lane's past share and whether it broke.

    And each open refund's interval and day. `is_moving` plants dirt and the stories, among them a peak that is two days
    old.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_sample(folder / "whole", orders, seed, until=UNTIL, stories=is_moving, dirt=is_moving)
        cut(folder / "whole", folder / "early", UNTIL - timedelta(days=DAYS))
        files = []
        for name in ("whole", "early"):
            settings = Settings(warehouse=folder / f"{name}-warehouse")
            load(settings, [folder / name])
            files.append(build_path(settings.warehouse, current_id(settings.warehouse) or ""))
        connection = duckdb.connect()
        connection.execute(
            f"ATTACH '{files[0]}' AS later (READ_ONLY); ATTACH '{files[1]}' AS early (READ_ONLY); SET TimeZone = 'UTC'"
        )
        risks = connection.execute("""
            WITH base AS (SELECT promise_id, country, method, carrier, (sum((ended_at > due_at
                OR ended_at IS NULL)::INT) + 1.0) / (count(*) + 2.0) AS rate
                FROM early.estimate_promise, (SELECT max(last_occurred_at) AS t FROM early.build_source)
                    WHERE due_at <= t AND stopped_at IS NULL AND due_at > t - INTERVAL 120 DAY GROUP BY ALL)
            SELECT r.promise_id, r.probability, b.rate AS base, CASE WHEN l.ended_at IS NOT NULL THEN (l.ended_at
                > l.due_at)::DOUBLE WHEN l.stopped_at <= l.due_at OR l.handed_over_at IS NULL THEN NULL
                ELSE 1 END AS broken
            FROM early.estimate_breach_risk r JOIN early.estimate_promise e USING (return_key, promise_id)
                JOIN later.estimate_promise l USING (return_key, promise_id)
            LEFT JOIN base b ON b.promise_id = e.promise_id AND b.country IS NOT DISTINCT FROM e.country
                AND b.method IS NOT DISTINCT FROM e.method AND b.carrier IS NOT DISTINCT FROM e.carrier
        """).df()
        dates = connection.execute("""
            SELECT c.return_key, any_value(c.early_at) AS early_at, any_value(c.expected_at) AS expected_at,
                any_value(c.late_at) AS late_at, max(least(f.refunded_at, f.exchanged_at)) AS came_at
            FROM early.estimate_completion c JOIN later.fact_return_line f USING (return_key)
                WHERE f.cancelled_at IS NULL AND f.rejected_at IS NULL AND f.expired_at IS NULL AND f.lost_at IS NULL
            GROUP BY 1 HAVING count(*) = count(least(f.refunded_at, f.exchanged_at))
        """).df()
        connection.close()
    return risks.dropna(subset=["broken"]), dates


def claims() -> Iterator[Claim]:
    """Claim calibration, a gain on the lane's past, and an interval that covers."""
    found = [said_and_came(FIRST_SEED + i) for i in range(SHOPS)]
    risks, dates = pd.concat([r for r, _ in found]), pd.concat([d for _, d in found])
    error = calibration_error(risks["broken"], risks["probability"])
    yield Claim(
        f"Risk of open promises, said four weeks before ({SHOPS} shops, {len(risks):,} open promises): pooled"
        " calibration error",
        "at most 0.02",
        f"{error:.3f}; said {risks['probability'].mean():.1%}, broken {risks['broken'].mean():.1%}",
        error <= 0.02,
    )
    base = risks["base"].fillna(risks["base"].mean())
    scores = [
        (np.mean((r["probability"] - r["broken"]) ** 2), np.mean((r["base"].fillna(base.mean()) - r["broken"]) ** 2))
        for r, _ in found
    ]
    yield Claim(
        "The same: Brier score against the lane's own past share",
        "lower in every shop",
        ", ".join(f"{own:.3f} against {lane:.3f}" for own, lane in scores),
        all(own < lane for own, lane in scores),
    )
    inside = (dates["came_at"] >= dates["early_at"]) & (
        dates["late_at"].isna() | (dates["came_at"] <= dates["late_at"])
    )
    yield Claim(
        f"Day of an open refund ({len(dates):,} open returns): its 80% interval holds the day it came",
        "74 to 86%",
        f"{inside.mean():.1%}; {(dates['came_at'] <= dates['expected_at']).mean():.1%} by the day expected",
        bool(0.74 <= inside.mean() <= 0.86),
    )
