"""Builds: versioned database files, and the pointer that says which one readers see.

A build is written beside the others under a name no reader opens, checked, closed, read again, flushed to disk, and
only then named by the pointer, in one rename. Readers hold the file they opened; writers never touch it. Three are
kept.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout

from pipelines.errors import WarehouseLocked, WarehouseMissing
from pipelines.settings import Settings, private
from pipelines.warehouse.engine import Build, open_duckdb
from pipelines.warehouse.scope import Scope
from pipelines.warehouse.sql import connect, drop_spilled, open_file, quote
from pipelines.warehouse.sql import name as name_sql
from pipelines.warehouse.star import VERSION

UNFINISHED = ".unfinished"
_OWN = re.compile(rf"(\d{{6,}})-\d{{8}}T\d{{6}}({UNFINISHED})?\.duckdb(\.wal|\.tmp|\.new)?(\.wal)?")
"""Names that builds have, and what DuckDB keeps beside one while it is written.

Other files in the folder are somebody else's.
"""
AGAIN = "Run `backhaul load` without a path: it is made again from the logs."


def build_path(warehouse: Path, build_id: str) -> Path:
    """Give the file of a build."""
    return warehouse / "builds" / f"{build_id}.duckdb"


def within_path(warehouse: Path, build_id: str, scope: Scope) -> Path:
    """Give the file that holds the rows of a build within a scope, and nothing else; `load/within` makes it."""
    return warehouse / "builds" / "within" / f"{build_id}-{scope.key}.duckdb"


def drop_within(warehouse: Path) -> None:
    """Remove what was made within scopes of builds that are gone."""
    kept = {file.stem for file in own_files(warehouse)}
    for file in (warehouse / "builds" / "within").glob("*"):
        if file.name.rsplit("-", 1)[0] not in kept:
            file.unlink(missing_ok=True)


def current_id(warehouse: Path) -> str | None:
    """Give the id of the build readers see, or None before the first, or where the pointer cannot be read."""
    try:
        named = (warehouse / "current").read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
        return None
    return named if _OWN.fullmatch(f"{named}.duckdb") else None


def is_there(warehouse: Path, build_id: str) -> bool:
    """Say whether a finished build of this id is kept; a text that is no id of ours names none."""
    named = _OWN.fullmatch(f"{build_id}.duckdb")
    return named is not None and not any(named.groups()[1:]) and build_path(warehouse, build_id).is_file()


def current_build(warehouse: Path) -> Build:
    """Open the build readers see.

    Raises WarehouseMissing when nothing has been published or the build cannot be opened.
    """
    build_id = current_id(warehouse)
    if build_id is None and not is_begun(warehouse):
        raise WarehouseMissing(
            f"There is no warehouse in {warehouse}. Run `backhaul demo` to make one from a sample shop, or `backhaul"
            " load PATH` with your files."
        )
    if build_id is None:
        raise WarehouseMissing(
            f"{warehouse / 'current'}, which names the build to read, is not there or damaged. {AGAIN}"
        )
    return open_build(warehouse, build_id)


def open_build(warehouse: Path, build_id: str) -> Build:
    """Open a build by its id. Raises WarehouseMissing when it is gone, damaged or of another version."""
    if not build_path(warehouse, build_id).is_file():
        raise WarehouseMissing(f"The build {build_id} in {warehouse} is gone. {AGAIN}")
    try:
        found = open_duckdb(build_path(warehouse, build_id))
    except duckdb.Error as error:
        raise WarehouseMissing(f"The build {build_id} in {warehouse} is damaged. {AGAIN}") from error
    if found.info.get("schema_version") != VERSION:
        found.close()
        raise WarehouseMissing(f"The build {build_id} in {warehouse} was made by another version of Backhaul. {AGAIN}")
    return found


def is_begun(warehouse: Path) -> bool:
    """Say whether anything was ever published here: a pointer, a build or a log."""
    return (
        (warehouse / "current").exists() or bool(own_files(warehouse)) or any((warehouse / "log").glob("*/*/*.parquet"))
    )


def check_there(warehouse: Path) -> None:
    """Raise WarehouseMissing where there is nothing to change."""
    if not (warehouse / "state.sqlite").is_file():
        raise WarehouseMissing(f"There is no warehouse in {warehouse}. Give another --warehouse.")


def own_files(warehouse: Path) -> list[Path]:
    """List the finished builds, oldest first, by their number."""
    numbered = [
        (int(match[1]), file) for file, match in _own(warehouse) if file.is_file() and not (match[2] or match[3])
    ]
    return [file for _, file in sorted(numbered)]


def _own(warehouse: Path) -> list[tuple[Path, re.Match[str]]]:
    found = [(file, _OWN.fullmatch(file.name)) for file in (warehouse / "builds").glob("*")]
    return [(file, match) for file, match in found if match]


def problem(path: Path) -> str:
    """Read every value of a build; say what cannot be read, nothing when it is whole."""
    try:
        with open_file(path) as connection:
            for (name,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall():
                connection.execute(f"SELECT bit_xor(hash(t)) FROM {name_sql(name)} t").fetchall()
    except duckdb.Error as error:
        return str(error).splitlines()[0][:120]
    return ""


def readable_info(warehouse: Path) -> dict[str, str]:
    """Give what the build readers see says of itself.

    Nothing when there is none, it cannot be opened or another version made it.
    """
    build_id = current_id(warehouse)
    if build_id is None or not build_path(warehouse, build_id).is_file():
        return {}
    try:
        with open_file(build_path(warehouse, build_id)) as connection:
            found = dict(connection.execute("SELECT name, value FROM build_info").fetchall())
    except duckdb.Error:
        return {}
    return found | {"build_id": build_id} if found.get("schema_version") == VERSION else {}


@contextlib.contextmanager
def writing(warehouse: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the warehouse for writing; a second writer waits so many seconds, then is refused with WarehouseLocked.

    What is written meanwhile is its owner's alone, and so is what an older version left open to others.
    """
    with private():
        warehouse.mkdir(parents=True, exist_ok=True)
        _close_to_others(warehouse)
        with _locked(warehouse, wait_s):
            yield


def _close_to_others(warehouse: Path) -> None:
    """Take from others what they may read of a warehouse whose folder is open to them.

    Whose folders are another's, are left.
    """
    for folder in (warehouse, warehouse.with_name(warehouse.name + ".raw")):
        if not folder.exists() or not folder.stat().st_mode & 0o077:
            continue
        for path in (*folder.rglob("*"), folder):  # the folder last: one that was not reached the end is tried again
            with contextlib.suppress(PermissionError, FileNotFoundError):
                path.chmod(path.stat().st_mode & 0o700)


@contextlib.contextmanager
def _locked(warehouse: Path, wait_s: float) -> Iterator[None]:
    lock = FileLock(warehouse / ".writer.lock", mode=0o600)
    try:
        lock.acquire(timeout=wait_s, poll_interval=0.05)
    except Timeout:
        raise WarehouseLocked(
            f"Another load is writing to {warehouse}. Wait until it ends, with --wait SECONDS, or use another"
            " --warehouse."
        ) from None
    try:
        yield
    finally:
        lock.release()


def new_id(warehouse: Path, at: datetime) -> str:
    """Give the next build id: a number that grows, and when it was made."""
    numbers = [int(match[1]) for _, match in _own(warehouse)]
    numbers += [int(named.split("-")[0]) for named in [current_id(warehouse)] if named]  # its file may be gone
    return f"{max(numbers, default=0) + 1:06d}-{at:%Y%m%dT%H%M%S}"


class Draft:
    """The file of the next build: empty, or a copy of the last one, made while its new rows are still judged."""

    def __init__(self, settings: Settings, at: datetime, clone_of: str | None) -> None:
        self._settings, self._warehouse = settings, (warehouse := settings.warehouse)
        self.build_id = new_id(warehouse, at)
        self.is_copy = clone_of is not None
        self._path = build_path(warehouse, self.build_id + UNFINISHED)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._copied: Future[None] | None = None
        if clone_of is not None:
            pool = ThreadPoolExecutor(1)
            self._copied = pool.submit(_copy, build_path(warehouse, clone_of), self._path)
            pool.submit(sync, self._path)  # what both share goes to disk while the rest is worked out
            pool.shutdown(wait=False)

    def open(self) -> duckdb.DuckDBPyConnection:
        """Open it for writing, once the copy stands."""
        if self._copied is not None:
            self._copied.result()
        return connect(self._path, self._settings, folders=[self._warehouse])

    def empty(self) -> None:
        """Begin again with nothing in it; it must be closed."""
        self.discard()
        self._copied, self.is_copy = None, False

    def discard(self) -> None:
        """Drop the file, unless it was published; it must be closed."""
        if self._copied is not None:
            wait([self._copied])
        sweep(self._warehouse)

    def publish(self, connection: duckdb.DuckDBPyConnection, keep: int, *, most_bytes: float | None) -> int | None:
        """Make the finished build the one readers see, at once and whole, and drop builds beyond the last `keep`.

        Rows that were replaced stay in the file until it has more than `most_bytes`: then it is written anew. Gives the
        size of a file that was, or that was no copy, and None for others.
        """
        tables = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE NOT temporary ORDER BY 1"
        connection.execute("SET max_vacuum_tasks = 0; CHECKPOINT")
        written = connection.execute(tables).fetchall()
        connection.close()
        rebuild = most_bytes is None
        if most_bytes is not None and self._path.stat().st_size > most_bytes:
            written, rebuild = self._write_anew(tables), True
        with open_file(self._path) as again:
            if again.execute(tables).fetchall() != written:
                raise OSError(
                    f"The build {self.build_id} reads back differently from what was written. Check the disk and load"
                    " again."
                )
        sync(self._path)
        path = build_path(self._warehouse, self.build_id)
        self._path.rename(path)
        path.chmod(0o600)
        sync(path.parent)
        point_at(self._warehouse, self.build_id)
        for old in own_files(self._warehouse)[:-keep]:
            if old != path:
                with contextlib.suppress(OSError):  # the new one is published; the next one tries again
                    old.unlink()
        drop_within(self._warehouse)
        return path.stat().st_size if rebuild else None

    def _write_anew(self, tables: str) -> list[Any]:
        """Copy every table to a fresh file that takes the place of the draft; give what `tables` selects of it."""
        fresh = self._path.with_name(self._path.name + ".new")
        connection = connect(fresh, self._settings, folders=[self._warehouse])
        try:
            connection.execute(f"SET preserve_insertion_order = true; ATTACH {quote(self._path)} AS worn (READ_ONLY)")
            (name,) = connection.execute("SELECT current_database()").fetchall()[0]
            connection.execute(f"COPY FROM DATABASE worn TO {name_sql(name)}; DETACH worn; CHECKPOINT")
            written: list[Any] = connection.execute(tables).fetchall()
        finally:
            connection.close()
        fresh.replace(self._path)
        return written


def point_at(warehouse: Path, build_id: str) -> None:
    """Move the pointer; rolling back is pointing at an earlier build."""
    pointer = warehouse / "current"
    fresh = warehouse / ".current"
    if pointer.is_dir():
        clear(pointer)
    with fresh.open("w") as file:
        file.write(build_id + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(pointer)
    sync(warehouse)


def unused(path: Path) -> Path:
    """Give a path that nothing is at: this one, or with a number.

    >>> unused(Path("no such folder/state.sqlite.aside")).name
    'state.sqlite.aside'
    """
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free


def clear(path: Path) -> None:
    """Make room for a file of ours: one that is there goes, a folder, which is somebody else's, is kept beside."""
    if path.is_dir() and not path.is_symlink():
        path.rename(unused(path.with_name(path.name + ".aside")))
    else:
        path.unlink(missing_ok=True)


def sweep(warehouse: Path) -> None:
    """Remove what a killed load left unfinished, and what killed processes left of what outgrew their memory."""
    drop_spilled(warehouse)
    for leftover, match in _own(warehouse):
        if match[2] and leftover.is_dir():
            shutil.rmtree(leftover)  # DuckDB's own folder for what memory did not hold
        elif match[2]:
            leftover.unlink()


def _copy(path: Path, to: Path) -> None:
    shutil.copyfile(path, to)
    to.chmod(0o600)


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> str:
    """Give the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(file: Path, digest: str) -> bool:
    """Say whether a file is there, can be read and has this checksum."""
    try:
        return checksum(file) == digest
    except OSError:
        return False
