"""What is wrong with an installation or a warehouse, and what to do about it: everything is read, nothing is written.

A quick look compares sizes, times and names; a deep one reads everything back: every value of every build, every
checksum of log, raw and closed files, every page of the state. Whether the numbers hold is for `load/checks` to say.
"""

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
from sqlalchemy import func, select

from pipelines import factors
from pipelines.errors import BackhaulError
from pipelines.load.raw import damaged_raw
from pipelines.load.verdicts import quarantine_of
from pipelines.outputs import closing
from pipelines.settings import Settings, data_path
from pipelines.warehouse import build, keys, schema, state, state_tables
from pipelines.warehouse.log_files import Logs, load_of
from pipelines.warehouse.sql import SPILLED

REMAKE = "Run `backhaul load` without a path: it is made again."
_SHIPPED = ("factors/emission_factors.csv", "costs.csv", "materials.csv", "reasons.csv", "headings.csv", "statuses.csv")
_OWN_NAMES = {"builds", "log", "closed", "factors", "current", "state.sqlite", "state.copy"}
_OWN_NAMES |= {".writer.lock", ".sending.lock"}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: where, what, and what to do.

    A fault needs somebody; a note is only worth knowing.
    """

    where: str
    problem: str
    remedy: str
    is_fault: bool = True


def installation() -> Iterator[Finding]:
    """Look at the packages, the files that ship and the machine."""
    try:
        needed = [
            re.split(r"[^\w.-]", text)[0]
            for text in importlib.metadata.requires("backhaul") or []
            if "extra ==" not in text
        ]
    except importlib.metadata.PackageNotFoundError:
        needed = []
    held = {re.sub(r"[-_.]+", "-", d.name).lower() for d in importlib.metadata.distributions()}
    for name in needed:
        if re.sub(r"[-_.]+", "-", name).lower() not in held:
            yield Finding(name, "is not installed", "Install Backhaul again: python3 -m pip install .")
    for name in (n for n in _SHIPPED if not data_path(n).is_file()):
        yield Finding(str(data_path(name)), "is gone", "Install Backhaul again: python3 -m pip install .")
    try:
        ZoneInfo("Europe/Paris")
    except ZoneInfoNotFoundError:
        yield Finding("time zones", "are not installed", "Install them: python3 -m pip install tzdata")
    if sys.getfilesystemencoding().lower() != "utf-8":
        yield Finding("file names", f"are read as {sys.getfilesystemencoding()}", "Set PYTHONUTF8=1.")
    if not os.access(tempfile.gettempdir(), os.W_OK):
        yield Finding(tempfile.gettempdir(), "cannot be written", "Set TMPDIR to a folder that can.")


def warehouse(settings: Settings, *, is_deep: bool) -> Iterator[Finding]:
    """Look at what a warehouse holds."""
    folder = settings.warehouse
    if not folder.is_dir() or not (build.is_begun(folder) or (folder / "state.sqlite").exists()):
        yield Finding(str(folder), "holds nothing yet", "Load files: backhaul load PATH", is_fault=False)
        return
    yield from _disk(settings)
    yield from _builds(settings, is_deep=is_deep)
    state_file = state.State(folder)
    try:
        if not (folder / "state.sqlite").exists():
            yield Finding("state.sqlite", "is gone", REMAKE)
        elif problem := state_file.problem():
            yield Finding("state.sqlite", problem, REMAKE)
        else:
            yield from _loads(settings, state_file, is_deep=is_deep)
            yield from _key(settings, state_file)
            yield from _strangers(settings, state_file)
            for one in (c for c in closing.closed(settings) if not c.is_intact):
                yield Finding(
                    f"closed/{one.path.name}",
                    f"is gone or not the file that {one.approver} signed for",
                    "Put it back from a backup.",
                )
    except BackhaulError as error:
        yield Finding("state.sqlite", str(error), REMAKE)
    finally:
        state_file.close()
    try:
        factors.ledger(settings)
    except BackhaulError as error:
        yield Finding("factors", str(error), "Correct the file, or import the set again.")


def _disk(settings: Settings) -> Iterator[Finding]:
    sizes = [file.stat().st_size for file in build.own_files(settings.warehouse)]
    free = shutil.disk_usage(settings.warehouse).free
    if free < 3 * max(sizes, default=10_000_000):
        yield Finding(
            str(settings.warehouse),
            f"{free / 1e6:,.0f} MB are free, and the next load needs up to"
            f" {3 * max(sizes, default=10_000_000) / 1e6:,.0f}",
            "Make room on the disk.",
        )
    for path in (settings.warehouse, settings.raw):
        if path.is_dir() and not os.access(path, os.W_OK):
            yield Finding(
                str(path),
                "cannot be written by this user: it can be read, not loaded into",
                "Change the folder's owner.",
                is_fault=False,
            )


def _builds(settings: Settings, *, is_deep: bool) -> Iterator[Finding]:
    try:
        build.current_build(settings.warehouse).close()
    except BackhaulError as error:
        yield Finding("current", str(error), REMAKE)
    for file in build.own_files(settings.warehouse) if is_deep else ():
        if problem := build.problem(file):
            yield Finding(f"builds/{file.name}", f"cannot be read whole: {problem}", REMAKE)


def _loads(settings: Settings, state_file: state.State, *, is_deep: bool) -> Iterator[Finding]:
    every = {row["load_id"]: row for row in state_file.loads_with("landing", "landed", "logged", "published", "failed")}
    for load_id, row in every.items():
        if row["status"] == "failed":
            yield Finding(
                f"load {load_id}",
                f"was put aside: {row['problem']}",
                f"Load the corrected file, or give the load up: backhaul withdraw {load_id}",
            )
        elif row["status"] != "published":
            yield Finding(f"load {load_id}", f"is {row['status']}, not published", "Finish it: backhaul load")
    held = set(build.readable_info(settings.warehouse).get("loads", "").split())
    known = state_file.statuses()
    for load_id in sorted(held - known.keys())[:1]:
        yield Finding(
            "state.sqlite", f"knows nothing of load {load_id}, which the build holds: it is lost or older", REMAKE
        )
    for load_id, problems in Logs(settings, state_file).damaged(is_deep=is_deep).items():
        for problem in problems:
            yield Finding(f"load {load_id}", problem, REMAKE)
    for row in every.values() if is_deep else ():
        for raw in damaged_raw(settings, row) if row["status"] != "landing" and not row["raw_gone_at"] else ():
            yield Finding(
                f"{settings.raw.name}/{raw}",
                "is gone or differs from the file that landed",
                "Put it back from a backup: the log is made again from it.",
            )
    if said := state.raw_reach(every.values()):
        yield Finding(
            settings.raw.name,
            said[0].lower() + said[1:].removesuffix("."),
            "A log file that is damaged is put back from a copy, and none of these loads can be judged again.",
            is_fault=False,
        )
    for number in state_file.rows(
        select(func.count().label("n"))
        .select_from(state_tables.forgotten)
        .where(state_tables.forgotten.c.done_at.is_(None))
    ):
        if number["n"]:
            yield Finding(
                "forgetting",
                f"{number['n']} customers are not forgotten everywhere yet",
                "Run `backhaul forget CUSTOMER` again.",
            )
    latest = max((row["started_at"] for row in every.values()), default=None)
    if latest and latest > state.now() + timedelta(minutes=5):
        yield Finding(
            "clock",
            f"is behind the last load ({latest:%Y-%m-%d %H:%M} UTC): rows may be taken for future ones",
            "Set the clock of this machine.",
        )


def _key(settings: Settings, state_file: state.State) -> Iterator[Finding]:
    known, again = (
        state_file.value("key_fingerprint"),
        "Put it back from a copy: with another key, known customers become new ones.",
    )
    if known is None:
        return
    if keys.file_of(settings, state_file) == settings.next_key_file:
        yield Finding(
            settings.next_key_file.name, "has not taken the place of the old key yet", "Finish it: backhaul load"
        )
    elif not settings.key_file.is_file():
        yield Finding(settings.key_file.name, "is gone", again)
    elif keys.fingerprint(settings.key_file.read_bytes()) != known:
        yield Finding(settings.key_file.name, "is not the key that this warehouse was made with", again)


def _strangers(settings: Settings, state_file: state.State) -> Iterator[Finding]:
    """List what lies in our folders and is not ours; it is left alone."""
    log, statuses = settings.warehouse / "log", state_file.statuses()
    ours = {*build.own_files(settings.warehouse), *(settings.raw / load_id for load_id in statuses)}
    folders = (settings.warehouse / "builds", settings.raw)
    found = [
        f
        for folder in folders
        if folder.is_dir()
        for f in folder.iterdir()
        if f not in ours and f.name not in (".staging", "within")
    ]
    things = {*schema.LOG.tables, *map(quarantine_of, schema.LOG.tables)}
    found += [f for f in log.glob("*") if f.name not in things]
    found += [f for f in log.glob("*/*/*") if load_of(f) not in statuses]
    found += [f for f in settings.warehouse.iterdir() if f.name not in _OWN_NAMES and not f.name.startswith(SPILLED)]
    for file in sorted(found)[:20]:
        yield Finding(
            _near(file, settings),
            "is not Backhaul's",
            "Nothing reads it; move it away if it is not wanted.",
            is_fault=False,
        )


def _near(file: Path, settings: Settings) -> str:
    return str(file.relative_to(settings.warehouse.parent))


def examine(settings: Settings, *, is_deep: bool) -> list[Finding]:
    """List everything that is not as it should be, faults first."""
    try:
        found = [*installation(), *warehouse(settings, is_deep=is_deep)]
    except (OSError, duckdb.Error) as error:
        found = [
            Finding(
                str(settings.warehouse),
                f"cannot be read: {error}"[:200],
                "Look at the disk and at who may read the folder.",
            )
        ]
    return sorted(found, key=lambda one: not one.is_fault)
