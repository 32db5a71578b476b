"""Builds: versioned database files, and the pointer that says which one readers see.

A build is written beside the others under a name no reader opens, checked, closed, read again, flushed to disk, and only then
named by the pointer, in one rename. Readers hold the file they opened; writers never touch it. Three are kept.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout

from pipelines.errors import WarehouseLocked, WarehouseMissing
from pipelines.settings import private
from pipelines.sql import connect as connect
from pipelines.warehouse.engine import Build, open_duckdb
from pipelines.warehouse.schema import VERSION

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
    again = "Run `backhaul load` without a path: it is made again from the logs."
    try:
        found = open_duckdb(build_path(warehouse, build_id))
    except duckdb.Error as error:
        raise WarehouseMissing(f"The build {build_id} in {warehouse} is damaged. {again}") from error
    if found.info.get("schema_version") != VERSION:
        found.close()
        raise WarehouseMissing(f"The build {build_id} in {warehouse} was made by another version of Backhaul. {again}")
    return found


def readable_id(warehouse: Path) -> str | None:
    """Give the id of the build readers see, or None when there is none, it cannot be opened or another version made it."""
    build_id = current_id(warehouse)
    if build_id is None or not build_path(warehouse, build_id).exists():
        return None
    try:
        with duckdb.connect(str(build_path(warehouse, build_id)), read_only=True) as connection:
            found = connection.execute("SELECT value FROM build_info WHERE name = 'schema_version'").fetchone()
    except duckdb.Error:
        return None
    return build_id if found and found[0] == VERSION else None


@contextlib.contextmanager
def writing(warehouse: Path) -> Iterator[None]:
    """Hold the warehouse for writing; a second writer is refused with WarehouseLocked.

    What is written meanwhile is its owner's alone, and so is what an older version left open to others.
    """
    with private():
        warehouse.mkdir(parents=True, exist_ok=True)
        _close_to_others(warehouse)
        with _locked(warehouse):
            yield


def _close_to_others(warehouse: Path) -> None:
    """Take from others what they may read of a warehouse whose folder is open to them; whose folders are another's, are left."""
    for folder in (warehouse, warehouse.with_name(warehouse.name + ".raw")):
        if not folder.exists() or not folder.stat().st_mode & 0o077:
            continue
        for path in (*folder.rglob("*"), folder):  # the folder last: one that was not reached the end is tried again
            with contextlib.suppress(PermissionError, FileNotFoundError):
                path.chmod(path.stat().st_mode & 0o700)


@contextlib.contextmanager
def _locked(warehouse: Path) -> Iterator[None]:
    lock = FileLock(warehouse / ".writer.lock", mode=0o600)
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


class Draft:
    """The file of the next build: empty, or a copy of the last one, made while its new rows are still judged."""

    def __init__(self, warehouse: Path, at: datetime, clone_of: str | None) -> None:
        self.build_id = new_id(warehouse, at)
        self.is_copy = clone_of is not None
        self._warehouse = warehouse
        self._path = build_path(warehouse, self.build_id + UNFINISHED)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._copied: Future[None] | None = None
        if clone_of is not None:
            pool = ThreadPoolExecutor(1)
            self._copied = pool.submit(_copy, build_path(warehouse, clone_of), self._path)
            pool.submit(_sync, self._path)  # what both share goes to disk while the rest is worked out
            pool.shutdown(wait=False)

    def open(self, threads: int | None) -> duckdb.DuckDBPyConnection:
        """Open it for writing, once the copy stands."""
        if self._copied is not None:
            self._copied.result()
        return connect(self._path, threads, folders=[self._warehouse])

    def empty(self) -> None:
        """Begin again with nothing in it; it must be closed."""
        sweep(self._warehouse)
        self.is_copy = False

    def discard(self) -> None:
        """Drop the file, unless it was published; it must be closed."""
        if self._copied is not None:
            wait([self._copied])
        sweep(self._warehouse)

    def publish(self, connection: duckdb.DuckDBPyConnection, keep: int, *, compact: bool) -> None:
        """Make the finished build the one readers see, at once and whole, and drop builds beyond the last `keep`.

        Clearing out replaced rows rewrites what lies around them: `compact` says whether this build does.
        """
        tables = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE NOT temporary ORDER BY 1"
        if not compact:
            connection.execute("SET max_vacuum_tasks = 0")
        connection.execute("CHECKPOINT")
        written = connection.execute(tables).fetchall()
        connection.close()
        with duckdb.connect(str(self._path), read_only=True) as again:
            if again.execute(tables).fetchall() != written:
                raise OSError(
                    f"The build {self.build_id} reads back differently from what was written. Check the disk and load again."
                )
        _sync(self._path)
        path = build_path(self._warehouse, self.build_id)
        self._path.rename(path)
        path.chmod(0o600)
        _sync(path.parent)
        point_at(self._warehouse, self.build_id)
        for old in sorted((self._warehouse / "builds").glob("*.duckdb"))[:-keep]:
            old.unlink()


def rows_sql(types: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> str:
    """Write rows of plain values as a SELECT of columns with the given DuckDB types.

    Binding even one value makes DuckDB's client import pandas, which takes longer than most statements of a small load.

    >>> duckdb.sql(rows_sql({"n": "BIGINT", "of": "VARCHAR"}, [[1, "l'or"], [None, "x"]])).fetchall()
    [(1, "l'or"), (None, 'x')]
    """
    given = json.dumps([dict(zip(types, row, strict=True)) for row in rows]).replace("'", "''")
    return f"SELECT unnest(from_json('{given}', '{json.dumps([dict(types)])}'), recursive := true)"


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


def _copy(path: Path, to: Path) -> None:
    shutil.copyfile(path, to)
    to.chmod(0o600)


def _sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
