"""Load shops of other worlds and ask them, as a user would: by the command line, a shop after the other.

What each shop answered is kept under the digest of the product and of the worlds, so that a run that was stopped goes
on where it was. A line a shop goes to standard error.
"""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib import import_module
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from pipelines.cli import app
from tests.worlds import Shop

ROOT = Path(__file__).parents[2]
FIRST_SEED = 700_000
AT_ONCE = 2  # processes
SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a shop is built: in memory where that can be, for nothing of it is kept."""


def ask(at: Path, *words: str) -> Any:
    """Type a command with a warehouse, and give what it answers as JSON; what ends badly is an error of the world."""
    told = CliRunner().invoke(app, [*words, "--warehouse", str(at), "--format", "json"])
    if told.exit_code:
        if told.exception is not None and not isinstance(told.exception, SystemExit):
            raise told.exception
        raise RuntimeError(f"{' '.join(words)}: {told.output}")
    return json.loads(told.stdout)


def loaded(shop: Shop, folder: Path, day: date | None = None) -> Path:
    """Write a shop as it stood at the end of a day, load it, and give its warehouse."""
    files = shop.write(folder / "files", day)
    told = ask(folder / "warehouse", "load", str(files), "--source", "canonical")
    aside = {t["table"]: t["quarantined"] for t in told["tables"] if t["quarantined"]}
    if aside:
        raise RuntimeError(f"rows in quarantine: {aside}")
    return folder / "warehouse"


def by(rows: Iterable[Mapping[str, Any]], name: str) -> dict[str, Mapping[str, Any]]:
    """Give rows by what they are of: a month as 2025-01, another value as it is."""
    return {str(r[name])[:7] if name == "month" else str(r[name]): r for r in rows}


def is_labelled(row: Mapping[str, Any]) -> bool:
    """Tell whether an answer says that something is the matter with it. The files here lack nothing."""
    return bool(row.get("caution") or row.get("reason"))


def answers(part: str, world: str, shops: int) -> list[dict[str, Any]]:
    """Give what shops of a world answered, kept or asked now.

    part: the module whose `asked(world, seed, folder)` asks one shop.
    """
    kept = ROOT / ".evidence" / f"worlds-{digest()}.jsonl"
    known = {
        a["seed"]: a
        for a in _lines(kept.read_text(encoding="utf-8").splitlines() if kept.exists() else [])
        if (a["part"], a["world"]) == (part, world)
    }
    seeds = range(FIRST_SEED, FIRST_SEED + shops)
    for answer in _asked(part, world, [seed for seed in seeds if seed not in known]):
        _say(answer)
        if "error" not in answer:
            _keep(kept, answer)
        known[answer["seed"]] = answer
    return [known[seed] for seed in seeds]


def _asked(part: str, world: str, seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Ask shops, some at once, each on one core."""
    if AT_ONCE == 1 or not seeds:
        yield from (_one(part, world, seed) for seed in seeds)
        return
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with ProcessPoolExecutor(min(AT_ONCE, len(seeds)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_one, repeat(part), repeat(world), seeds)


def _one(part: str, world: str, seed: int) -> dict[str, Any]:
    """Ask one shop in a folder of its own; what went wrong is told as its answer."""
    begun, worked = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        try:
            found = import_module(part).asked(world, seed, Path(folder))
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:500]}
    took = {"seconds": round(time.monotonic() - begun, 1), "cpu": round(time.process_time() - worked, 1)}
    return {"part": part, "world": world, "seed": seed, **took, **found}


def digest() -> str:
    """Give the digest of the product and of what asks it."""
    files = [
        p
        for top in ("backhaul", "dashboard", "data", "models", "pipelines", "tests/worlds")
        for p in (ROOT / top).rglob("*")
        if p.suffix in (".py", ".toml", ".csv", ".yaml")
    ]
    whole = hashlib.sha256()
    for path in sorted([*files, *(ROOT / "tests" / "evidence").glob("_*worlds_*.py")]):
        whole.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def _lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Read answers; a line that was cut off while it was written is none."""
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


def _keep(kept: Path, answer: Mapping[str, Any]) -> None:
    kept.parent.mkdir(exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(answer)}\n")


def _say(answer: Mapping[str, Any]) -> None:
    told = answer.get("error") or ", ".join(f"{k} {v}" for k, v in answer.items() if isinstance(v, int | float | str))
    print(f"{answer['world']} {answer['seed']}: {told[:300]}", file=sys.stderr, flush=True)


def whole(found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give the shops that answered."""
    return [a for a in found if "error" not in a]


def failed(found: Iterable[Mapping[str, Any]]) -> str:
    """Say how many shops ended in an error; nothing where none did."""
    errors = [a["error"] for a in found if "error" in a]
    return f"; {len(errors)} shops ended in an error: {errors[0][:120]}" if errors else ""


def share(hits: Iterable[bool]) -> float:
    """Give the share that is true; not a number of nothing."""
    hits = list(hits)
    return float(np.mean(hits)) if hits else float("nan")


def between(value: float, low: float, high: float) -> bool:
    """Tell whether a figure is within its bar, to a thousandth; what is no number is not."""
    return bool(low - 5e-4 <= value <= high + 5e-4)
