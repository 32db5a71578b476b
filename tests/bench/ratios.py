"""Ratios of a load and of metrics, each against DuckDB itself.

load: a whole `backhaul load` / DuckDB's own read-and-store of the same files. New events: a load of the latest 1% of
return events / the full load. Metrics: each metric's additive statistics / hand-written DuckDB SQL.

Each figure is the wall time of a whole process (load) or the median of repeated runs in one process (metrics). The
largest memory of the load is printed beside.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.sample import write_sample

LOAD, NEW_EVENTS, METRICS, ANY_METRIC = 2.5, 0.05, 1.2, 1.5  # bars
# broken rows are planted in the files: DuckDB is told to bear them
READ = {
    ".csv": "read_csv({}, strict_mode = false, null_padding = true)",
    ".parquet": "read_parquet({})",
    ".ndjson": "read_ndjson({}, ignore_errors = true)",
}
STORE = f"""
import sys, duckdb
from pathlib import Path
read = {READ!r}
connection = duckdb.connect(sys.argv[2])
for number, file in enumerate(sorted(f for f in Path(sys.argv[1]).rglob("*") if f.is_file())):
    connection.execute("CREATE TABLE t%d AS SELECT * FROM " % number + read[file.suffix].format(repr(str(file))))
connection.execute("CHECKPOINT")
"""


@dataclass(frozen=True)
class Ratio:
    """One measured ratio against its bar."""

    name: str
    yardstick: str
    value: float
    bar: float

    @property
    def holds(self) -> bool:
        return self.value <= self.bar

    def __str__(self) -> str:
        return (
            f"{self.name:<32} {self.value:6.2f}x of {self.yardstick} (bar {self.bar}x):"
            f" {'holds' if self.holds else 'falls short'}"
        )


@dataclass(frozen=True)
class Cost:
    """What a process took: wall seconds, seconds of processors, largest memory in GiB."""

    wall_s: float
    cpu_s: float
    peak_gib: float


def timed(*command: str) -> Cost:
    """Run a command and give what it took. What earlier commands left to be written is written first."""
    os.sync()
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    if code:
        raise SystemExit(f"{' '.join(command[:4])} failed")
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024**2)


def hold_out(files: Path, first: Path, later: Path, share: float) -> int:
    """Split the latest `share` of return events off; give their number."""
    connection = duckdb.connect()
    events = [f for f in sorted(files.rglob("return_event*")) if f.is_file()]
    times = " UNION ALL ".join(
        f"SELECT occurred_at::VARCHAR AS t FROM {READ[f.suffix].format(repr(str(f)))}" for f in events
    )
    cut = connection.execute(
        f"SELECT quantile_cont(epoch(try_cast(t AS TIMESTAMPTZ)), {1 - share}) FROM ({times}) WHERE t < '2900'"
    ).fetchall()[0][0]
    held = 0
    for file in (f for f in files.rglob("*") if f.is_file()):
        kept, moved = first / file.relative_to(files), later / file.relative_to(files)
        kept.parent.mkdir(parents=True, exist_ok=True)
        if file not in events:
            kept.hardlink_to(file)
            continue
        moved.parent.mkdir(parents=True, exist_ok=True)
        read = READ[file.suffix].format(repr(str(file)))
        form = {".csv": "csv", ".parquet": "parquet", ".ndjson": "json"}[file.suffix]
        late = f"coalesce(epoch(try_cast(occurred_at::VARCHAR AS TIMESTAMPTZ)) > {cut}, false)"
        connection.execute(f"COPY (SELECT * FROM {read} WHERE NOT {late}) TO '{kept}' (FORMAT {form})")
        held += int(
            connection.execute(f"COPY (SELECT * FROM {read} WHERE {late}) TO '{moved}' (FORMAT {form})").fetchall()[0][
                0
            ]
        )
    connection.close()
    return held


def bench_load(folder: Path, orders: int) -> Iterator[Ratio]:
    """Compare loads of a simulated shop with DuckDB's own read-and-store."""
    files, first, later = folder / "files", folder / "first", folder / "later"
    write_sample(files, orders, 7)
    backhaul = (sys.executable, "-m", "pipelines.cli", "load")
    store = timed(sys.executable, "-c", STORE, str(files), str(folder / "yardstick.duckdb"))
    whole = timed(*backhaul, str(files), "--source", "canonical", "--warehouse", str(folder / "whole"))
    yardstick = f"read-and-store ({store.wall_s:.1f} s; load {whole.wall_s:.1f} s, peak {whole.peak_gib:.1f} GiB)"
    yield Ratio("load", yardstick, whole.wall_s / store.wall_s, LOAD)
    held = hold_out(files, first, later, 0.01)
    full = timed(*backhaul, str(first), "--source", "canonical", "--warehouse", str(folder / "split"))
    new = timed(*backhaul, str(later), "--source", "canonical", "--warehouse", str(folder / "split"))
    yield Ratio(
        "load of 1% new events",
        f"the full load ({held:,} events in {new.wall_s:.1f} s; full {full.wall_s:.1f} s)",
        new.wall_s / full.wall_s,
        NEW_EVENTS,
    )


def bench_metrics(warehouse: Path, repeats: int = 5) -> Iterator[Ratio]:
    """Compare each metric's statistics with hand-written SQL on the same build."""
    from pipelines.metrics import statistics as declared
    from pipelines.warehouse.build import build_path, current_build, current_id
    from tests.handwritten import HANDWRITTEN

    build = current_build(warehouse)
    by_hand = duckdb.connect(str(build_path(warehouse, current_id(warehouse) or "")), read_only=True)
    ratios = []
    for key, (by, sql) in HANDWRITTEN.items():
        statement = declared(build, key, by=by)
        ours, theirs = [], []
        for _ in range(repeats):
            started = time.perf_counter()
            build.forget()
            build.fetch(statement)
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            by_hand.execute(sql).df()
            theirs.append(time.perf_counter() - started)
        ratios.append(
            Ratio(
                f"  {key} by {', '.join(by) or 'nothing'}",
                f"by hand ({statistics.median(theirs) * 1000:.0f} ms)",
                statistics.median(ours) / statistics.median(theirs),
                ANY_METRIC,
            )
        )
        yield ratios[-1]
    by_hand.close()
    build.close()
    yield Ratio(
        "metrics, median",
        f"hand-written SQL over {len(ratios)} metrics",
        statistics.median(r.value for r in ratios),
        METRICS,
    )
    worst = max(ratios, key=lambda r: r.value)
    yield Ratio("metrics, slowest", f"hand-written SQL ({worst.name.strip()})", worst.value, ANY_METRIC)
