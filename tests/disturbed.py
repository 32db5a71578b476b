"""Disks that fail on purpose and clocks that jump, in this process alone.

A disk below a folder is asked for something each time that Python opens a file for writing, writes to it, flushes,
makes, names or removes one, and each time that SQLite or DuckDB are told to write. From a chosen one of these calls on,
for as many as are chosen, it fails as a disk does. What the engines write of themselves is met by limits and small
disks, not here.
"""

import builtins
import errno
import io
import os
import re
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb

from pipelines.cli import carbon
from pipelines.warehouse import state

FOR_EVER = 10**9
_WRITING = re.compile(
    r"\s*(COPY|INSERT|CREATE|DELETE|UPDATE|DROP|ALTER|CHECKPOINT|SET max_vacuum|ATTACH(?!.*READ_ONLY)|COMMIT)", re.I
)
_SQLITE = {errno.ENOSPC: "database or disk is full", errno.EROFS: "attempt to write a readonly database"}


class Disk:
    """What was asked of a disk, call by call, and which of it fails."""

    def __init__(self, folder: Path, code: int, first: int, times: int) -> None:
        self.asked: list[str] = []
        self._folder, self._code, self._range = str(folder.absolute()), code, range(first, first + times)
        self._lock = threading.Lock()

    def fails(self, what: str, path: Any) -> str | None:
        """Count a call on a path of the disk; name what fails."""
        if isinstance(path, int):
            try:
                path = Path(f"/proc/self/fd/{path}").readlink()
            except OSError:
                return None
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not str(Path(text).absolute()).startswith(self._folder):
            return None
        with self._lock:
            self.asked.append(f"{what} {text.removeprefix(self._folder)}")
            return text if len(self.asked) in self._range else None

    def turns(self) -> list[int]:
        """Number the calls that differ from the one before: a hundred statements on one file are met once."""
        return [n for n, call in enumerate(self.asked, 1) if n == 1 or call != self.asked[n - 2]]

    def ask(self, what: str, path: object) -> None:
        """Count a call, or raise what the system would."""
        if (text := self.fails(what, path)) is not None:
            raise OSError(self._code, os.strerror(self._code), text)

    def ask_sqlite(self, path: str) -> None:
        """Count a call of SQLite's, or raise what it would."""
        if self.fails("sqlite", path) is not None:
            raise sqlite3.OperationalError(_SQLITE.get(self._code, "disk I/O error"))

    def ask_duckdb(self, path: str) -> None:
        """Count a statement of DuckDB's, or raise what it would."""
        if (text := self.fails("duckdb", path)) is not None:
            raise duckdb.IOException(f'IO Error: Could not write file "{text}": {os.strerror(self._code)}')


class _Statements:
    """A connection of DuckDB's that asks the disk before it writes."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: str, disk: Disk) -> None:
        self._connection, self._path, self._disk = connection, path, disk

    def execute(self, query: str, *given: Any, **named: Any) -> Any:
        if _WRITING.match(query):
            self._disk.ask_duckdb(self._path)
        return self._connection.execute(query, *given, **named)

    def __enter__(self) -> "_Statements":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@contextmanager
def failing(folder: Path, code: int, first: int = FOR_EVER, times: int = 1) -> Iterator[Disk]:
    """Let the disk of a folder fail from its `first` call on, so many times; without one, count the calls."""
    disk = Disk(folder, code, first, times)

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *given: Any) -> "Cursor":
            if _WRITING.match(sql):
                disk.ask_sqlite(self.connection.path)  # type: ignore[attr-defined]
            return super().execute(sql, *given)

        def executemany(self, sql: str, *given: Any) -> "Cursor":
            disk.ask_sqlite(self.connection.path)  # type: ignore[attr-defined]
            return super().executemany(sql, *given)

    class Connection(sqlite3.Connection):
        path = ""

        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def commit(self) -> None:
            if self.in_transaction:
                disk.ask_sqlite(self.path)
            super().commit()

    def connect_sqlite(path: Any, *given: Any, **named: Any) -> sqlite3.Connection:
        found = _real(sqlite3.connect)(path, *given, **named, factory=Connection)
        found.path = re.sub(r"^file://|\?.*$", "", str(path))
        return found

    def connect_duckdb(path: Any = ":memory:", *given: Any, **named: Any) -> Any:
        found = _real(duckdb.connect)(path, *given, **named)
        where = str(folder / "in memory") if path == ":memory:" else str(path)
        return found if named.get("read_only") else _Statements(found, where, disk)

    def opened(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+"):
            return _real(io.open)(file, mode, *given, **named)
        disk.ask("open", file)
        found = _real(io.open)(file, mode, *given, **named)
        write = found.write

        def writing(content: Any) -> Any:
            try:
                disk.ask("write", file)
            except OSError:
                write(content[: len(content) // 2])  # a disk stops in the middle
                raise
            return write(content)

        found.write = writing
        return found

    def opened_low(path: Any, flags: int, *given: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            disk.ask("open", path)
        return _real(os.open)(path, flags, *given, **named)

    def asked(name: str) -> Callable[..., Any]:
        call = _real(getattr(os, name))

        def ask(path: Any, *given: Any, **named: Any) -> Any:
            disk.ask(name, path)
            return call(path, *given, **named)

        return ask

    with ExitStack() as stack:
        for owner, name, made in (
            (sqlite3, "connect", connect_sqlite),
            (duckdb, "connect", connect_duckdb),
            (io, "open", opened),
            (builtins, "open", opened),
            (os, "open", opened_low),
            *((os, n, asked(n)) for n in ("fsync", "rename", "replace", "link", "mkdir", "unlink", "rmdir", "chmod")),
        ):
            made._real = _real(getattr(owner, name))  # type: ignore[attr-defined]
            stack.enter_context(patch.object(owner, name, made))
        yield disk


def _real(call: Any) -> Any:
    """Give what a call was before a disk was put before it."""
    return getattr(call, "_real", call)


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let every write beyond a size fail, as a full disk does, of this process alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def sentences(said: str) -> list[str]:
    """Give what a verb said on standard error, without the lines that tell every ten seconds what it does."""
    return [s for s in said.splitlines() if s.strip() and not re.fullmatch(r"backhaul: .*, \d+ s", s)]


JUMPS = tuple(
    timedelta(**{unit: n})
    for unit, n in (
        ("days", 0),
        ("days", -400),
        ("hours", 5),
        ("days", -1),
        ("days", 90),
        ("seconds", -1),
        ("days", -3650),
        ("hours", -2),
    )
)


@contextmanager
def jumping() -> Iterator[None]:
    """Let the clock jump back and forth each time that it is looked at, for an instant or for the day."""
    jumps, now = cycle(JUMPS), state.now

    def odd() -> datetime:
        return now() + next(jumps)

    class OddDate(date):
        @classmethod
        def today(cls) -> "OddDate":
            return cls.fromordinal((now() + next(jumps)).toordinal())

    with patch.object(state, "now", odd), patch.object(carbon, "date", OddDate):
        yield
