"""A copy of a build to PostgreSQL that is killed: the schema holds the build of before or the new one, whole."""

import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import func, select

from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.elsewhere import copy_to_postgresql
from pipelines.warehouse.engine import Build, open_duckdb, open_postgresql
from pipelines.warehouse.star import STAR
from tests import postgres
from tests.evidence import Claim
from tests.evidence._trust_verbs import CONTEXT, Shop, tiny

SCHEMA, KILLS, TRIES = "copied", 12, 3
NAME = "Killed copies of a build to PostgreSQL: the old build or the new one, whole, and the next run gives the new"
BAR = f"{KILLS} kills of a running copy, 0 faults"


def claim(made: Shop, number: int = KILLS) -> Claim:
    """Kill the copy over a schema that holds an older build, at moments spread over its time."""
    try:
        with postgres.postgresql() as address:
            return _claim(made, address, number)
    except pytest.skip.Exception as none:
        return Claim(NAME, BAR, str(none), False)


def _claim(made: Shop, url: str, number: int) -> Claim:
    folder = made.copy("postgresql")
    settings = Settings(warehouse=folder / "warehouse")
    old = build_path(settings.warehouse, str(current_id(settings.warehouse)))
    load(settings, [tiny(folder / "more", 5000, 20)])
    new = build_path(settings.warehouse, str(current_id(settings.warehouse)))
    known = []
    for path in (old, new):
        with open_duckdb(path) as build:
            known.append(_rows(build))
    begun = time.monotonic()
    _copied(new, url)
    seconds = time.monotonic() - begun
    hits, runs, wrong = 0, 0, []
    while hits < number and runs < TRIES * number:
        _copied(old, url)
        moment = seconds * ((runs % number) + 0.5) / number
        runs += 1
        process = CONTEXT.Process(target=copy, args=(new, url, SCHEMA))
        process.start()
        time.sleep(moment)
        process.kill()
        process.join()
        hits += process.exitcode == -signal.SIGKILL
        if (seen := _held(url)) not in known:
            wrong.append(f"at {moment:.2f} s: neither build is there: {_apart(seen, known)}")
        _copied(new, url)
        if (seen := _held(url)) != known[1]:
            wrong.append(f"at {moment:.2f} s: copied again it is not the new build: {_apart(seen, known[1:])}")
    shutil.rmtree(folder)
    print(*wrong, sep="\n", file=sys.stderr)
    figure = f"{hits} kills of a running copy in {runs} runs, {len(wrong)} faults"
    return Claim(NAME, BAR, figure, hits >= number and not wrong)


def copy(path: Path, url: str, schema: str) -> None:
    """Copy a build in a process that can be killed."""
    copy_to_postgresql(path, url, schema).close()


def _copied(path: Path, url: str) -> None:
    copy(path, url, SCHEMA)


def _held(url: str) -> dict[str, list[Any]]:
    with open_postgresql(url, SCHEMA) as build:
        return _rows(build)


def _rows(build: Build) -> dict[str, list[Any]]:
    """Count the rows of every table, and sum what is whole or true in each of their columns."""
    found: dict[str, list[Any]] = {"build": [build.build_id]}
    for table in STAR.sorted_tables:
        counts = [func.count(column).label(f"c{n}") for n, column in enumerate(table.columns)]
        frame: pd.DataFrame = build.fetch(select(func.count().label("rows"), *counts).select_from(table))
        found[table.name] = [int(v) for v in frame.iloc[0]]
    return found


def _apart(seen: dict[str, list[Any]], known: Sequence[dict[str, list[Any]]]) -> str:
    return " | ".join(", ".join(t for t in seen if seen[t] != k.get(t)) for k in known)
