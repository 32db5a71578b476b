"""Fair peers: the same shaping of orders and returns, each written as its own users would, over the same files.

From the raw files of a shop to three numbers by month: units returned of units sold (by order month, local days),
returns paid within 14 days of their receipt, costs of transport. In pandas, polars and DuckDB SQL by hand these are
scripts that know these files. `backhaul load` does besides what it always does: it keeps the files, judges each row,
resolves versions, estimates promises, curves, probabilities, carbon and costs, and checks. Files are clean, for the
scripts judge nothing. By dlt the loading alone, files into tables, merged by id; beside it stands what `backhaul load`
takes to have every row judged.

Each figure is of a whole process. Where the numbers differ, the run ends with the first that does.
"""

import csv
import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pipelines.sample import write_sample
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.sql import open_file
from tests.bench.ratios import Cost, timed

PEERS = Path(__file__).with_name("peers")
SHAPED = ("duckdb", "pandas", "polars")
Numbers = dict[tuple[str, str], tuple[float, int]]


def of_file(path: Path) -> Numbers:
    """Read the numbers that a peer wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["number"], row["month"][:10]): (round(float(row["part"]), 2), int(float(row["whole"])))
            for row in csv.DictReader(file)
        }


def of_build(warehouse: Path) -> Numbers:
    """Read the same numbers from the facts of a build."""
    query = (PEERS / "ours.sql").read_text("utf-8")
    with open_file(build_path(warehouse, str(current_id(warehouse)))) as build:
        rows = build.execute(query).fetchall()
    return {(number, str(month)): (round(float(part), 2), int(whole)) for number, month, part, whole in rows if whole}


def differing(ours: Numbers, theirs: Numbers) -> list[str]:
    """Say where two sets of numbers differ."""
    keys = sorted(ours.keys() | theirs.keys())
    return [f"{k}: {ours.get(k)} and {theirs.get(k)}" for k in keys if ours.get(k) != theirs.get(k)]


def _judged_s(log: Path) -> float:
    """Give the seconds until a load had judged every row, from its log."""
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return float(next(line["seconds"] for line in lines if line["event"] == "reading the logs"))


def compare(folder: Path, orders: int, python: str) -> tuple[dict[str, Cost], int, float]:
    """Run all peers over a shop of so many order lines, with a Python that has them.

    Gives what each took, how many numbers agree, and the seconds until Backhaul had judged every row. Raises SystemExit
    where numbers differ.
    """
    files, warehouse, log = folder / "clean", folder / "peer", folder / "load.log"
    write_sample(files, orders, 7, dirt=False)
    words = ("--log", str(log), "load", str(files), "--source", "canonical", "--warehouse", str(warehouse))
    costs = {"backhaul": timed(sys.executable, "-m", "pipelines.cli", *words)}
    ours = of_build(warehouse)
    for peer in SHAPED:
        out = folder / f"{peer}.csv"
        costs[peer] = timed(python, str(PEERS / f"by_{peer}.py"), str(files), str(out))
        if wrong := differing(ours, of_file(out)):
            raise SystemExit(f"{peer} and Backhaul differ in {len(wrong)} of {len(ours)} numbers, first {wrong[0]}")
    (folder / "dlt").mkdir()
    costs["dlt, loading alone"] = timed(python, str(PEERS / "by_dlt.py"), str(files), str(folder / "dlt"))
    return costs, len(ours), _judged_s(log)


def machine() -> str:
    """Name the machine and the versions."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    of = models[0].split(":", 1)[1].strip() if models else platform.processor()
    versions = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "pandas", "pyarrow", "scikit-learn"))
    shared = f"load average when it began {os.getloadavg()[0]:.1f}"
    return f"{len(models) or '?'} x {of}; {platform.system()}; Python {platform.python_version()}; {versions}; {shared}"


def table(costs: dict[str, Cost], agreeing: int, judged_s: float) -> list[str]:
    """Write what each took as a table of Markdown."""
    rows = ["| | wall s | processor s | peak GiB | numbers that agree |", "|---|---|---|---|---|"]
    for name, cost in costs.items():
        agree = "" if name.startswith("dlt") else f"{agreeing} of {agreeing}"
        rows.append(f"| {name} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.peak_gib:.2f} | {agree} |")
    return [*rows, "", f"`backhaul load` had every row judged and in its logs after {judged_s:.1f} s of its wall time."]


def today() -> str:
    """Give the day that figures are of."""
    return f"{datetime.now(UTC):%Y-%m-%d}"
