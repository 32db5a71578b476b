"""Builds: versioned database files, and the pointer that says which one readers see.

A build is written beside the others under a name no reader opens, checked, closed, read again, flushed to disk, and only then
named by the pointer, in one rename. Readers hold the file they opened; writers never touch it. Three are kept.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from pipelines.errors import WarehouseLocked, WarehouseMissing
from pipelines.warehouse.engine import Build, open_duckdb

UNFINISHED = ".unfinished"


def build_path(warehouse: Path, build_id: str) -> Path:
    """Give the file of a build."""
    return warehouse / "builds" / f"{build_id}.duckdb"


def current_id(warehouse: Path) -> str | None:
    """Give the id of the build readers see, or None before the first."""
    pointer = warehouse / "current"
    return pointer.read_text().strip() if pointer.exists() else None


def current_build(warehouse: Path) -> Build:
    """Open the build readers see.

    Raises WarehouseMissing when nothing has been published or the build cannot be opened.
    """
    build_id = current_id(warehouse)
    if build_id is None or not build_path(warehouse, build_id).exists():
        raise WarehouseMissing(
            f"There is no warehouse in {warehouse}. Run `backhaul demo` to make one from a sample shop, or `backhaul load PATH` with your files."
        )
    try:
        return open_duckdb(build_path(warehouse, build_id))
    except duckdb.Error as error:
        raise WarehouseMissing(
            f"The build {build_id} in {warehouse} is damaged. Run `backhaul load` without a path: it is made again from the logs."
        ) from error


def readable_id(warehouse: Path) -> str | None:
    """Give the id of the build readers see, or None when there is none or it cannot be opened."""
    try:
        current_build(warehouse).close()
    except WarehouseMissing:
        return None
    return current_id(warehouse)


@contextlib.contextmanager
def writing(warehouse: Path) -> Iterator[None]:
    """Hold the warehouse for writing; a second writer is refused with WarehouseLocked."""
    warehouse.mkdir(parents=True, exist_ok=True)
    lock = FileLock(warehouse / ".writer.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise WarehouseLocked(
            f"Another load is writing to {warehouse}. Wait until it ends, or use another --warehouse."
        ) from None
    try:
        yield
    finally:
        lock.release()


def new_id(warehouse: Path, at: datetime) -> str:
    """Give the next build id: a number that grows, and when it was made."""
    numbers = [
        int(f.name.split("-")[0]) for f in (warehouse / "builds").glob("*.duckdb*") if f.name.split("-")[0].isdigit()
    ]
    return f"{max(numbers, default=0) + 1:06d}-{at:%Y%m%dT%H%M%S}"


def start(warehouse: Path, build_id: str, clone_of: str | None, threads: int | None) -> duckdb.DuckDBPyConnection:
    """Open a new build for writing: empty, or a copy of an earlier one."""
    path = build_path(warehouse, build_id + UNFINISHED)
    path.parent.mkdir(parents=True, exist_ok=True)
    if clone_of is not None:
        shutil.copyfile(build_path(warehouse, clone_of), path)
        path.chmod(0o644)
        # what the copy shares with the last build goes to disk while the rest is worked out
        threading.Thread(target=_sync, args=(path,), daemon=True).start()
    return connect(path, threads)


def connect(path: Path | str, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """Open DuckDB as every part of the pipeline does: UTC, and nothing fetched from outside."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    if threads:
        config["threads"] = threads
    connection = duckdb.connect(str(path), config=config)
    # an unfinished build is thrown away, never recovered: one checkpoint, when it is published; the slow compressions save a sixth of the file and cost a quarter of the writing
    connection.execute(
        "SET TimeZone = 'UTC'; SET wal_autocheckpoint = '1TB'; SET disabled_compression_methods = 'fsst,alp,alprd'"
    )
    return connection


def publish(warehouse: Path, build_id: str, connection: duckdb.DuckDBPyConnection, keep: int) -> None:
    """Make a finished build the one readers see, at once and whole, and drop builds beyond the last `keep`."""
    tables = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE NOT temporary ORDER BY 1"
    connection.execute("CHECKPOINT")
    written = connection.execute(tables).fetchall()
    connection.close()
    unfinished = build_path(warehouse, build_id + UNFINISHED)
    with duckdb.connect(str(unfinished), read_only=True) as again:
        if again.execute(tables).fetchall() != written:
            raise OSError(
                f"The build {build_id} reads back differently from what was written. Check the disk and load again."
            )
    _sync(unfinished)
    path = build_path(warehouse, build_id)
    unfinished.rename(path)
    path.chmod(0o444)
    _sync(path.parent)
    point_at(warehouse, build_id)
    for old in sorted((warehouse / "builds").glob("*.duckdb"))[:-keep]:
        old.unlink()


def point_at(warehouse: Path, build_id: str) -> None:
    """Move the pointer; rolling back is pointing at an earlier build."""
    pointer = warehouse / "current"
    fresh = warehouse / ".current"
    with fresh.open("w") as file:
        file.write(build_id + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(pointer)
    _sync(warehouse)


def sweep(warehouse: Path) -> None:
    """Remove what a killed load left unfinished."""
    for leftover in (warehouse / "builds").glob(f"*{UNFINISHED}*"):
        leftover.unlink()


def _sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
