"""Raw files and logs as a load reaches them: what is damaged or gone, the connection, what is left over."""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import WarehouseDamaged
from pipelines.settings import Settings
from pipelines.warehouse import build, state
from pipelines.warehouse.log_files import Logs
from pipelines.warehouse.sql import connect


def sweep(settings: Settings, state_file: state.State) -> None:
    """Remove what the state says is left over.

    Log files that do not count, raw copies of loads taken back or never whole.
    """
    statuses = state_file.statuses()
    Logs(settings, state_file).sweep()
    unwanted = {load_id for load_id, status in statuses.items() if status == "withdrawn"}
    unwanted |= {row["load_id"] for row in state_file.loads_with("failed") if not row["files"]}
    for load_id in unwanted:
        if (settings.raw / load_id).is_dir():
            shutil.rmtree(settings.raw / load_id)
    for row in state_file.loads_with(
        "landed", "logged", "published", "failed"
    ):  # what others took the place of, or too old
        named = {Path(file["raw"]).parts[1] for file in row["files"] if not row["raw_gone_at"]}
        for folder in (settings.raw / row["load_id"]).glob("[0-9]*") if row["files"] else ():
            if re.fullmatch(r"\d{4}(\.\d+)?", folder.name) and folder.name not in named and folder.is_dir():
                shutil.rmtree(folder)


def deleted_raw(rows: Iterable[dict[str, Any]]) -> str:
    """Say of the first load whose raw files were deleted for their age that they were; nothing when all have theirs."""
    found = next((row for row in rows if row["raw_gone_at"]), None)
    return (
        f"the raw files of load {found['load_id']} were deleted for their age on {found['raw_gone_at']:%Y-%m-%d}"
        if found
        else ""
    )


def damaged_raw(settings: Settings, row: dict[str, Any]) -> list[str]:
    """Name the raw files of a load that are gone, for their age too, or differ from when they landed."""
    files = [(f["raw"], f["sha256"]) for f in row["files"]]
    bad = [raw for raw, digest in files if not build.is_whole(settings.raw / raw, digest)]
    is_unmapped = row["mapping"] and not (settings.raw / row["mapping"]).is_file()
    return bad + ([row["mapping"]] if is_unmapped else [])


@contextmanager
def connected(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that reaches the logs, the raw folder and a staging folder of its own."""
    staging = settings.raw / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    connection = connect(settings=settings, folders=[settings.warehouse / "log", settings.raw], staging=staging)
    try:
        yield connection
    finally:
        connection.close()
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def reading_logs(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that reads the logs. Raises WarehouseDamaged for one that cannot be read."""
    connection = connect(settings=settings, folders=[settings.warehouse / "log"])
    try:
        yield connection
    except duckdb.Error as error:
        raise WarehouseDamaged(
            f"A log file in {settings.warehouse / 'log'} is gone or damaged. Run `backhaul load` without a path: it is"
            " made again from the raw files."
        ) from error
    finally:
        connection.close()
