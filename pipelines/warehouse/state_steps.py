"""The steps from version to version of the state file: taken by Alembic, or at once by a file that is new.

Alembic knows of one file at a time: whoever asks meanwhile waits.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

VERSION = 6
"""Of the file; kept in it. The number of the newest step in `migrations/versions`, by which Alembic brings files up."""

MIGRATIONS = Path(__file__).parent / "migrations"
_alone = threading.RLock()
_kept: dict[tuple[Path, int, int, int], bytes] = {}


def bring_up(connection: Connection) -> None:
    """Take a file through the steps that it has not had, and its number; create a new one as they leave it."""
    if connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").first():
        _take_steps(connection, MIGRATIONS)
    else:
        for statement in _creating(MIGRATIONS):
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


@cache
def _creating(migrations: Path) -> list[str]:
    """Write the statements that create a file of this version, which the steps take longer to do."""
    with contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as memory:
        engine = create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool)
        with engine.begin() as connection:
            _take_steps(connection, migrations)
        return list(memory.iterdump())[1:-1]  # between BEGIN and COMMIT


def _take_steps(connection: Connection, migrations: Path) -> None:
    from alembic.command import upgrade  # one command in a warehouse's life needs it
    from alembic.config import Config

    steps = Config(attributes={"connection": connection})
    steps.set_main_option("script_location", str(migrations.absolute()).replace("%", "%%"))
    with _alone:
        upgrade(steps, "head")


def once(file: Path, make: Callable[[], bytes]) -> bytes:
    """Give what is made of a file, made once as long as the file is the same; of the last file that was asked for."""
    seen = file.stat()
    key = (file.absolute(), seen.st_mtime_ns, seen.st_size, seen.st_ino)
    with _alone:
        if key not in _kept:
            made = make()
            _kept.clear()
            _kept[key] = made
        return _kept[key]
