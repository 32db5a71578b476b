"""One shop made at once, in two shards and in eight: every table row for row, every metric, and in little memory.

The shop is the sample's, with its dirt. The builds are made from the same logs, so nothing else can differ.
"""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines import metrics
from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.engine import open_duckdb
from pipelines.warehouse.sql import SPILLED
from tests.compared import RELATIVE, Table, compared
from tests.evidence import Claim

ROOT = Path(__file__).parents[2]
KEY = b"a key for tests, 32 bytes long.."
COUNTS = (2, 8)
CUTS: tuple[tuple[str, ...], ...] = ((), ("month",), ("category",), ("country",))
FITTED = ("estimate_development_curve", "estimate_rate_prior", "estimate_rate_level", "estimate_product_prior")
FITTED += ("estimate_product_spread", "estimate_return_probability", "estimate_breach_risk", "estimate_completion")
FITTED += ("estimate_stage_pace", "estimate_delay_drift", "estimate_probability_state", "model_version")


def _made(settings: Settings, count: int) -> Path:
    """Make the build of all logs anew in so many shards."""
    load(replace(settings, shards=count), rebuild=True)
    return build_path(settings.warehouse, str(current_id(settings.warehouse)))


def _answers_apart(ours: Path, theirs: Path) -> tuple[int, int, list[str]]:
    """Ask each metric of two builds; give the questions, the figures, and what differs."""
    asked, figures, wrong = 0, 0, []
    with open_duckdb(ours) as one, open_duckdb(theirs) as other:
        for metric in metrics.catalogue():
            known = metrics.dimensions(metric.key, one)
            for by in CUTS:
                if not set(by) <= set(known):
                    continue
                frames = [metrics.answer(b, metric.key, by=by) for b in (one, other)]
                asked += 1
                figures += frames[0].size
                if not _alike(*frames):
                    wrong.append(f"{metric.key} by {' '.join(by) or 'nothing'}")
    return asked, figures, wrong


def _alike(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    return ours.shape == theirs.shape and all(
        _same(a, b) for name in ours for a, b in zip(ours[name], theirs[name], strict=True)
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=1e-12) or (math.isnan(a) and math.isnan(b))
    return bool(a == b) or (a is b) or (pd.isna(a) is True and pd.isna(b) is True)


def _in_little(settings: Settings, few_mb: int) -> tuple[int, str]:
    """Make the build anew in little memory, in as many shards as are chosen: the exit code, and what was said last."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "BACKHAUL_MEMORY": f"{few_mb}MB", "BACKHAUL_KEEP_BUILDS": "5"}
    asked = (
        "import sys; from pathlib import Path; from pipelines.load import load;"
        " from pipelines.settings import Settings; load(Settings(warehouse=Path(sys.argv[1])), rebuild=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked, str(settings.warehouse)], env=given, cwd=ROOT, capture_output=True, text=True
    )
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1][:120]


def _print(tables: list[Table], count: int) -> None:
    print(f"{count} shards beside one: table, rows, rows that differ, largest relative difference")
    for table in tables:
        print(f"  {table.name:<32} {table.rows:>10,} {table.apart:>6} {table.most:.1e}")


def claims(lines: int = 300_000, few_mb: int = 400) -> Iterator[Claim]:
    """Load a shop once, make its build in one, two and eight shards, then in little memory."""
    with tempfile.TemporaryDirectory(prefix="backhaul-shards-") as place:
        settings = Settings(warehouse=Path(place) / "shop" / "warehouse", keep_builds=5)
        settings.key_file.parent.mkdir(parents=True)
        settings.key_file.write_bytes(KEY)
        settings.key_file.chmod(0o600)
        write_sample(Path(place) / "files", lines, 7)
        load(replace(settings, shards=1), [Path(place) / "files"])
        whole = build_path(settings.warehouse, str(current_id(settings.warehouse)))
        for count in COUNTS:
            parted = _made(settings, count)
            tables = list(compared(whole, parted))
            _print(tables, count)
            yield from _of_tables(tables, count, lines)
            asked, figures, wrong = _answers_apart(whole, parted)
            print(*wrong, sep="\n")
            yield Claim(
                f"Scale: every metric of a build made in {count} shards answers as that of one",
                "0 answers differ by 1e-9",
                f"{len(wrong)} of {asked} answers with {figures:,} figures",
                not wrong and asked > 100,
            )
        code, said = _in_little(settings, few_mb)
        little = list(compared(whole, build_path(settings.warehouse, str(current_id(settings.warehouse)))))
        left = list(settings.warehouse.glob(f"{SPILLED}*"))
    apart = sum(table.apart for table in little)
    yield Claim(
        f"Scale: {lines:,} order lines are shaped in {few_mb} MB, in as many shards as that asks for",
        "the load ends, 0 rows differ, 0 folders left",
        f"exit {code}{said and f' ({said})'}, {apart} of {sum(t.rows for t in little):,} rows, {len(left)} left",
        code == 0 and apart == 0 and not left,
    )


def _of_tables(tables: list[Table], count: int, lines: int) -> Iterator[Claim]:
    """Claim that facts and estimates are the same, and apart from them what is fitted."""
    for what, some, least in (
        ("facts, dimensions and estimates", [t for t in tables if t.name not in FITTED], lines),
        ("fitted values", [t for t in tables if t.name in FITTED], 100),
    ):
        apart, rows = sum(t.apart for t in some), sum(t.rows for t in some)
        yield Claim(
            f"Scale: {what} of a build made in {count} shards are those of one, row for row",
            "0 rows differ, figures to 1e-9",
            f"{apart} of {rows:,} rows in {len(some)} tables, figures at most {max(t.most for t in some):.0e} apart",
            apart == 0 and rows >= least,
        )


if __name__ == "__main__":
    for one in claims(*map(int, sys.argv[1:])):
        print(f"{one.name}: {one.figure} (bar: {one.bar}): {'holds' if one.holds else 'falls short'}", flush=True)
