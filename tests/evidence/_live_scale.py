"""A shop in little memory: the build that it is in much, the time that is left, and a kill while rows are spilled.

Every load is a process of its own, as the command line is. The shop is the sample's, with its dirt.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.sql import SPILLED
from tests.compared import compared
from tests.evidence import Claim

ROOT = Path(__file__).parents[2]
KEY = b"a key for tests, 32 bytes long.."
BESIDE_MB = 700  # of Python, its libraries and what a model trains on, beside the database
_LEFT = re.compile(r"about (\d+) to (\d+) (s|min) left")


def _settings(folder: Path, name: str) -> Settings:
    settings = Settings(warehouse=folder / name / "warehouse")
    settings.key_file.parent.mkdir(parents=True)
    settings.key_file.write_bytes(KEY)
    settings.key_file.chmod(0o600)
    return settings


def _begun(files: Path, settings: Settings, memory: str) -> subprocess.Popen[str]:
    words = ["-m", "tests.peak", "load", str(files), "--source", "canonical", "--warehouse", str(settings.warehouse)]
    given = {**os.environ, "PYTHONPATH": str(ROOT), "BACKHAUL_MEMORY": memory}
    return subprocess.Popen(
        [sys.executable, *words], env=given, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _loaded(files: Path, settings: Settings, memory: str) -> tuple[float, list[tuple[float, float, float]]]:
    """Load; give the peak in MB, and of each time that was told: when, and between which seconds the end was to be."""
    process, told, peak = _begun(files, settings, memory), list[tuple[float, float, float]](), 0.0
    assert process.stderr is not None
    for line in process.stderr:
        if said := _LEFT.search(line):
            unit = 60 if said[3] == "min" else 1
            told.append((time.monotonic(), float(said[1]) * unit, float(said[2]) * unit))
        if line.startswith("peak "):
            peak = int(line.split()[1]) / 1e6
    if process.wait():
        raise RuntimeError(f"a load in {memory or 'all'} memory failed")
    end = time.monotonic()
    return peak, [(end - at, least, most) for at, least, most in told]


def _differing(ours: Path, theirs: Path) -> tuple[int, list[str]]:
    """Compare two builds row by row, floats to nine digits; give the rows compared and the tables that differ."""
    tables = list(compared(ours, theirs))
    return sum(t.rows for t in tables), [f"{t.name}: {t.apart} of {t.rows} rows" for t in tables if t.apart]


def _killed(files: Path, settings: Settings, memory: str) -> int:
    """Kill a load while rows of it are spilled; give the folders that it left."""
    process, home = _begun(files, settings, memory), settings.warehouse
    while process.poll() is None:
        if any(any(f.iterdir()) for f in home.glob(f"{SPILLED}*")):
            process.send_signal(signal.SIGKILL)
            process.wait()
            break
        time.sleep(0.02)
    if process.stderr is not None:
        process.stderr.close()
    return len(list(home.glob(f"{SPILLED}*")))


def _build(settings: Settings) -> Path:
    return build_path(settings.warehouse, str(current_id(settings.warehouse)))


def claims(lines: int = 300_000, few_mb: int = 800) -> Iterator[Claim]:
    """Load one shop in all memory, in little, and again after a kill in the least."""
    with tempfile.TemporaryDirectory(prefix="backhaul-scale-") as place:
        folder = Path(place)
        files = folder / "files"
        write_sample(files, lines, 7)
        much, little, killed = (_settings(folder, name) for name in ("much", "little", "killed"))
        _, told = _loaded(files, much, "")
        peak, again = _loaded(files, little, f"{few_mb}MB")
        rows, wrong = _differing(_build(much), _build(little))
        shutil.rmtree(little.warehouse)
        left = _killed(files, killed, "300MB")
        _loaded(files, killed, "300MB")
        more, wrong_after = _differing(_build(much), _build(killed))
        still = list(killed.warehouse.glob(f"{SPILLED}*"))
    print(*wrong, *wrong_after, sep="\n")
    yield Claim(
        f"Scale: {lines:,} order lines loaded in {few_mb} MB give the build that they give in all memory",
        f"0 tables differ, peak at most {few_mb + BESIDE_MB} MB",
        f"{len(wrong)} differ over {rows:,} rows, peak {peak:,.0f} MB",
        not wrong and rows > lines and peak <= few_mb + BESIDE_MB,
    )
    told += again
    right = sum(least <= rest <= most for rest, least, most in told)
    yield Claim(
        "Scale: the time that a load says it still takes, told every ten seconds, holds",
        "8 of 10 or more",
        f"{right} of {len(told)}",
        bool(told) and right >= 0.8 * len(told),
    )
    yield Claim(
        "Scale: a load killed while rows of it lie on disk for want of memory; the next ends right and leaves none",
        "rows lay there, 0 tables differ, 0 folders left",
        f"{left} folders lay there, {len(wrong_after)} differ over {more:,} rows, {len(still)} left",
        left > 0 and not wrong_after and not still,
    )
