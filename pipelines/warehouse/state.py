"""What people and loads write: small, transactional, never inside a build.

One SQLite file beside the builds, reached through SQLAlchemy by this module alone. It remembers loads, the files they
landed, how every row was judged, checks and builds, the actions that people log, drafts of policies, the alerts and
their rules, and subscriptions. What sources say lives in the logs, not here. Reading never writes: a file of an older
version is brought up to date in memory.
"""

import contextlib
import errno
import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, create_engine, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from pipelines.errors import WarehouseDamaged, WarehouseLocked
from pipelines.settings import Settings, private
from pipelines.warehouse import state_steps
from pipelines.warehouse.build import unused
from pipelines.warehouse.state_tables import (
    STATE,
    build,
    build_load,
    build_metric,
    check_result,
    forgotten,
    load,
    load_count,
    load_file,
    load_mark,
    log_file,
    quarantine,
    remembered,
)

if TYPE_CHECKING:
    import pandas as pd


ALERT_TESTS = ("above", "below", "worse", "better", "unkeepable")


def now() -> datetime:
    """Give the time of writing, UTC and naive like every time in the warehouse."""
    return datetime.now(UTC).replace(tzinfo=None)


class State:
    """The state file of one warehouse folder: read as it is, created or brought up to date by the first write alone."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "state.sqlite"
        self._reading: Engine | None = None
        self._writing: Engine | None = None

    @property
    def _engine(self) -> Engine:
        if self._writing is not None:
            return self._writing
        if self._reading is None:
            with _said(self._file):
                self._reading = _reader(self._file)
        return self._reading

    def _writer(self) -> Engine:
        if self._writing is None:
            with private():
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.touch(exist_ok=True)  # what SQLite puts beside it is as open as the file itself
            engine = create_engine("sqlite://", creator=lambda: _connected(self._file), poolclass=QueuePool)
            with _said(self._file), engine.begin() as connection:
                if _is_older(connection, self._file):
                    connection.exec_driver_sql("BEGIN IMMEDIATE")  # a step lands whole, and by one writer
                    if _is_older(connection, self._file):
                        state_steps.bring_up(connection)
            self._writing = engine
        return self._writing

    def close(self) -> None:
        """Release the file."""
        for engine in (self._reading, self._writing):
            if engine is not None:
                engine.dispose()
        self._reading = self._writing = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection whose writes become visible together, or not at all."""
        with _said(self._file), self._writer().begin() as connection:
            yield connection

    def write(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows to a table."""
        if rows:
            with self.transaction() as connection:
                connection.execute(insert(table), list(rows))

    def rows(self, statement: Any) -> list[dict[str, Any]]:
        """Run a select over the state tables; one dict a row."""
        with _said(self._file), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def read(self, statement: Any) -> "pd.DataFrame":
        """Run a select over the state tables, for people to look at."""
        import pandas as pd  # a load never needs it

        with _said(self._file), self._engine.connect() as connection:
            result = connection.execute(statement)
            return pd.DataFrame(result.fetchall(), columns=list(result.keys()))

    def value(self, name: str) -> str | None:
        """Give what is remembered under a name."""
        found = self.rows(select(remembered.c.value).where(remembered.c.name == name))
        return found[0]["value"] if found else None

    def remember(self, name: str, value: str) -> None:
        """Remember one value under a name."""
        with self.transaction() as connection:
            connection.execute(delete(remembered).where(remembered.c.name == name))
            connection.execute(insert(remembered).values(name=name, value=value))

    def problem(self) -> str:
        """Say what SQLite finds wrong with the file; nothing when it is whole."""
        try:
            with _said(self._file), self._engine.connect() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except WarehouseDamaged as error:
            return str(error)
        return "" if found == "ok" else f"{self._file} is damaged: {found}."

    def loads_with(self, *statuses: str, load_id: str | None = None) -> list[dict[str, Any]]:
        """List loads in one of the statuses, oldest first, each with its `files` in the order they landed.

        Or one of them.
        """
        asked = select(load).where(load.c.status.in_(statuses)).order_by(load.c.load_id)
        found = self.rows(asked if load_id is None else asked.where(load.c.load_id == load_id))
        wanted = [row["load_id"] for row in found]
        files: dict[str, list[dict[str, Any]]] = {load_id: [] for load_id in wanted}
        for file in self.rows(select(load_file).where(load_file.c.load_id.in_(wanted)).order_by(load_file.c.raw)):
            files[file["load_id"]].append(file)
        return [{**row, "files": files[row["load_id"]]} for row in found]

    def statuses(self) -> dict[str, str]:
        """Give the status of every load."""
        return {row["load_id"]: row["status"] for row in self.rows(select(load.c.load_id, load.c.status))}

    def known_files(self, source: str, namespace: str, version: str) -> dict[str, datetime]:
        """Give the content hashes already taken in from a source by the same parser and mapping.

        Each with its latest export.
        """
        given = func.coalesce(load_file.c.given_sha256, load_file.c.sha256).label("given")
        statement = (
            select(given, func.max(load_file.c.exported_at).label("exported_at"))
            .join(load, load.c.load_id == load_file.c.load_id)
            .group_by(given)
            .where(
                load.c.source == source,
                load.c.namespace == namespace,
                load.c.version == version,
                load.c.status.not_in(("failed", "withdrawn")),
            )
        )
        return {row["given"]: row["exported_at"] or datetime.max for row in self.rows(statement)}

    def forget(self, load_id: str) -> None:
        """Drop a load that turned out to hold nothing new, or that was put aside and is tried again."""
        with self.transaction() as connection:
            for table in (load, load_file, load_mark, load_count, quarantine):
                connection.execute(delete(table).where(table.c.load_id == load_id))

    def end_forgetting(self, person: str) -> None:
        """Note that nothing is found any more of somebody who is forgotten."""
        with self.transaction() as connection:
            connection.execute(update(forgotten).where(forgotten.c.person == person).values(done_at=now()))

    def compact(self) -> None:
        """Write the file anew without what was deleted from it."""
        self.close()
        with _said(self._file), contextlib.closing(_connected(self._file)) as connection:
            connection.execute("VACUUM")

    def keep_builds(self, newest: int) -> None:
        """Forget the checks and the rows of all but the newest builds."""
        kept = select(build.c.build_id).distinct().order_by(build.c.build_id.desc()).limit(newest)
        with self.transaction() as connection:
            oldest = min(connection.execute(kept).scalars(), default="")
            for table in (build, build_load, build_metric, check_result):
                connection.execute(delete(table).where(table.c.build_id < oldest))

    def set_status(self, load_ids: Sequence[str], status: str, **values: Any) -> None:
        """Move loads on."""
        with self.transaction() as connection:
            connection.execute(update(load).where(load.c.load_id.in_(list(load_ids))).values(status=status, **values))


@contextmanager
def _said(file: Path) -> Iterator[None]:
    """Turn what SQLite says of the file into what a person can act on."""
    try:
        yield
    except IsADirectoryError as error:
        raise WarehouseDamaged(
            f"{file} is a folder. Run `backhaul load` without a path: it is put back from its copy of the last load."
        ) from error
    except (DBAPIError, sqlite3.Error) as error:
        told = str(getattr(error, "orig", None) or error).lower()
        if "disk is full" in told:
            raise OSError(errno.ENOSPC, "No space left on device", str(file)) from error
        if "disk i/o error" in told:
            raise OSError(errno.EIO, "Cannot be read or written (full, or a fault of the disk)", str(file)) from error
        if "readonly" in told or "unable to open" in told:
            raise OSError(errno.EACCES, "Cannot be opened for writing", str(file)) from error
        if "locked" in told:
            raise WarehouseLocked(f"{file} is being written to. Try again in a moment.") from error
        if any(
            sign in told for sign in ("malformed", "not a database", "no such", "has no column", "unsupported file")
        ):
            raise WarehouseDamaged(
                f"{file} is damaged. Run `backhaul load` without a path: it is put back from its copy of the last load."
            ) from error
        raise


def _connected(file: Path, mode: str = "rwc") -> sqlite3.Connection:
    """Open the file; whoever only reads leaves nothing beside it."""
    if mode == "ro" and _is_wal(file):
        mode = "ro&immutable=1"  # written by a version that kept a WAL: reading it would make one
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=10, check_same_thread=False
    )
    if mode == "ro":
        try:
            connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
                raise
            return _connected(file, "rw")  # a writer was killed within a transaction: SQLite takes back its half
    if mode == "rwc":
        connection.execute("PRAGMA synchronous=FULL")
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            with contextlib.suppress(sqlite3.OperationalError):  # somebody is reading: another time
                connection.execute("PRAGMA journal_mode=DELETE")
    return connection


def _is_wal(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(20)[18:] == b"\2\2" and not file.with_name(file.name + "-wal").exists()


def _reader(file: Path) -> Engine:
    """Open the file for reading: as it is, or a copy in memory that has what this version has more."""
    is_there = file.exists()
    if is_there:
        as_it_is = create_engine("sqlite://", creator=lambda: _connected(file, "ro"), poolclass=QueuePool)
        with as_it_is.connect() as connection:
            if not _is_older(connection, file):
                return as_it_is
        as_it_is.dispose()
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    engine = create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool)
    if is_there:
        memory.deserialize(state_steps.once(file, lambda: _brought_up(file)))
    else:
        with engine.begin() as connection:
            state_steps.bring_up(connection)
    return engine


def _brought_up(file: Path) -> bytes:
    """Give what an older file becomes."""
    with contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as memory:
        with contextlib.closing(_connected(file, "ro")) as older:
            older.backup(memory)
        with create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool).begin() as connection:
            state_steps.bring_up(connection)
        return memory.serialize()


def _is_older(connection: Connection, file: Path) -> bool:
    """Say whether the file is of an earlier version than this one.

    Refuse one of a newer version, and one that lacks a table or column of the version that it says it is.
    """
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version > state_steps.VERSION:
        raise WarehouseDamaged(
            f"{file} was written by a newer version of Backhaul ({version}; this one knows {state_steps.VERSION})."
            " Install that version; nothing was changed."
        )
    found = connection.exec_driver_sql(
        "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'"
    )
    held = {tuple(row) for row in found}
    if version < state_steps.VERSION or ("alembic_version", "version_num") not in held:
        return True
    wanted = {(table.name, column.name) for table in STATE.tables.values() for column in table.columns}
    if missing := wanted - held:
        table, column = min(missing)
        raise WarehouseDamaged(
            f"{file} lacks {table}.{column}, which its version has. Run `backhaul load` without a path: it is put back"
            " from its copy of the last load."
        )
    return False


def copy_path(folder: Path) -> Path:
    """Give the copy of the state that the last load left: what a lost or damaged file is put back from."""
    return folder / "state.copy"


def keep_copy(folder: Path) -> None:
    """Copy the state aside, whole or not at all."""
    fresh = folder / ".state.copy"
    try:
        with contextlib.closing(_connected(folder / "state.sqlite", "ro")) as file:
            fresh.unlink(missing_ok=True)
            with contextlib.closing(sqlite3.connect(fresh)) as copy:
                file.backup(copy)
        fresh.replace(copy_path(folder))
    except (OSError, sqlite3.Error):  # the load has ended well; the copy of the one before stays
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def put_back(folder: Path) -> str:
    """Put the state back from its copy where it is gone, damaged, or older than the copy; say so.

    The caller holds the warehouse for writing. A damaged file is kept beside.
    """
    file, copy = folder / "state.sqlite", copy_path(folder)
    state = State(folder)
    problem = state.problem() if file.exists() else ""
    state.close()
    if not _is_whole(copy) or "newer version" in problem:
        if problem:
            raise WarehouseDamaged(problem)
        return ""
    if problem or not file.exists():
        aside = unused(folder / "state.sqlite.aside")
        if file.exists():
            file.rename(aside)
        for journal in ("-journal", "-wal", "-shm"):  # of the file that is gone: with another one they would do harm
            file.with_name(file.name + journal).unlink(missing_ok=True)
        fresh = folder / ".state.copy"
        shutil.copyfile(copy, fresh)
        fresh.replace(file)
        what = f"was damaged (kept as {aside.name})" if aside.exists() else "was gone"
        return (
            f"state.sqlite {what} and was put back as the last load left it; what people wrote since (actions, rules,"
            " drafts) is lost."
        )
    missing = _merge(file, copy)
    return (
        f"state.sqlite was older than the warehouse; {missing} loads it did not know were put back from its copy."
        if missing
        else ""
    )


def _is_whole(copy: Path) -> bool:
    """Say whether there is a copy that can be put back."""
    try:
        with contextlib.closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT load_id, status FROM load").fetchall()
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _merge(file: Path, copy: Path) -> int:
    """Add the rows of the copy that the file does not know, when it lacks loads that are in the logs.

    Give the number of these.
    """
    with contextlib.closing(_connected(file, "ro")) as now_, contextlib.closing(sqlite3.connect(copy)) as then:
        is_made = now_.execute("SELECT 1 FROM sqlite_master WHERE name = 'load'").fetchone()
        known = {row[0] for row in now_.execute("SELECT load_id FROM load")} if is_made else set()
        logged = {row[0] for row in then.execute("SELECT load_id FROM load WHERE status IN ('logged', 'published')")}
        has_places = then.execute("SELECT 1 FROM sqlite_master WHERE name = 'log_file'").fetchone()
        places = then.execute("SELECT load_id, path FROM log_file").fetchall() if has_places else []
    unknown, log = logged - known, file.parent / "log"
    here = {load_id for load_id, path in places if load_id in unknown and (log / path).is_file()}
    here |= {load_id for load_id in unknown if any(log.glob(f"*/*/{load_id}.parquet"))}
    if not here:  # an older warehouse, whole: what came later is not in it
        return 0
    state = State(file.parent)
    with state.transaction():
        pass  # brings the file up to date
    state.close()
    with contextlib.closing(_connected(file)) as connection:
        connection.execute("ATTACH ? AS copy", (str(copy),))
        for table in STATE.sorted_tables:
            held = {
                row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?, 'copy')", (table.name,))
            }
            names = [c.name for c in table.columns if c.name in held]
            if table is log_file and names:  # files that were joined since are gone
                connection.execute("DELETE FROM main.log_file WHERE load_id IN (SELECT load_id FROM copy.log_file)")
            if names:
                columns, first = ", ".join(f'"{n}"' for n in names), f'"{names[0]}"'
                is_new = (
                    ""
                    if table.primary_key.columns
                    else f' WHERE {first} NOT IN (SELECT {first} FROM main."{table.name}")'
                )
                connection.execute(
                    f'INSERT OR IGNORE INTO main."{table.name}" ({columns}) SELECT {columns} FROM'
                    f' copy."{table.name}"{is_new}'
                )
        for table in (load, load_file, load_mark, log_file, load_count, quarantine):
            connection.executemany(f'DELETE FROM main."{table.name}" WHERE load_id = ?', [(i,) for i in unknown - here])
        connection.commit()
    return len(here)


def read(settings: Settings, statement: Any) -> "pd.DataFrame":
    """Read a statement's rows from the state."""
    state = State(settings.warehouse)
    try:
        return state.read(statement)
    finally:
        state.close()


def loads(settings: Settings) -> "pd.DataFrame":
    """List loads with their counts, newest first: one row per load and log."""
    return read(
        settings,
        select(
            load.c.load_id,
            load.c.started_at,
            load.c.status,
            load.c.build_id,
            load_count.c.source,
            load_count.c.thing,
            load_count.c.is_derived,
            load_count.c.read,
            load_count.c.accepted,
            load_count.c.duplicate,
            load_count.c.quarantined,
        )
        .join(load_count, load_count.c.load_id == load.c.load_id, isouter=True)
        .order_by(load.c.load_id.desc(), load_count.c.thing),
    )


def listed_loads(settings: Settings, limit: int = 20) -> list[dict[str, Any]]:
    """List the newest loads, and every one that is put aside or not finished.

    Columns: load, started_at, status, files, rows, problem.
    """
    state = State(settings.warehouse)
    try:
        accepted = select(load_count.c.load_id, func.sum(load_count.c.accepted).label("rows")).group_by(
            load_count.c.load_id
        )
        rows = {row["load_id"]: row["rows"] for row in state.rows(accepted)}
        found = state.loads_with("landing", "landed", "logged", "published", "failed", "withdrawn")[::-1]
    finally:
        state.close()
    chosen = [row for n, row in enumerate(found) if n < limit or row["status"] not in ("published", "withdrawn")]
    return [
        {
            "load": row["load_id"],
            "started_at": row["started_at"],
            "status": row["status"],
            "source": row["namespace"],
            "rows": rows.get(row["load_id"]),
            "files": ", ".join(f["name"] for f in row["files"][:3]) + (" ..." if row["files"][3:] else ""),
            "problem": row["problem"],
        }
        for row in chosen
    ]


def raw_reach(loads: Iterable[Mapping[str, Any]]) -> str:
    """Say how far back raw files reach, where those of some loads were deleted for their age; else nothing."""
    every = [row for row in loads if row["status"] in ("landed", "logged", "published")]
    gone = [row for row in every if row["raw_gone_at"]]
    since = min((row["started_at"] for row in every if not row["raw_gone_at"]), default=None)
    reach = f"reach back to {since:%Y-%m-%d}" if since else "are all gone"
    return f"Raw files {reach}; those of {len(gone)} older loads were deleted for their age." if gone else ""


def raw_files(settings: Settings) -> str:
    """Say how far back the raw files of a warehouse reach, where some were deleted for their age; else nothing."""
    state = State(settings.warehouse)
    try:
        return raw_reach(state.loads_with("landed", "logged", "published"))
    finally:
        state.close()


def file_lines(settings: Settings) -> list[dict[str, Any]]:
    """List the files that were judged, newest load first, each with its lines by what they are."""
    state = State(settings.warehouse)
    try:
        found = state.rows(
            select(load_file.c.load_id, load_file.c.lines)
            .where(load_file.c.lines.is_not(None))
            .order_by(load_file.c.load_id.desc(), load_file.c.raw)
        )
    finally:
        state.close()
    return [{"load_id": row["load_id"], **json.loads(row["lines"])} for row in found]


def quarantine_by_rule(settings: Settings) -> "pd.DataFrame":
    """Count quarantined rows by source, log and rule, with one place to look at."""
    return read(settings, _by_rule(func.coalesce(quarantine.c.is_field, 0) == 0))


def unread_fields(settings: Settings) -> "pd.DataFrame":
    """Count the fields that could not be read and count as missing, of the rows listed; with one place to look at."""
    return read(settings, _by_rule(quarantine.c.is_field == 1))


def _by_rule(condition: Any) -> Any:
    q = quarantine.c
    return (
        select(
            q.source,
            q.thing,
            q.rules,
            func.count().label("rows"),
            func.min(q.file).label("file"),
            func.min(q.line).label("line"),
            func.min(q.value).label("value"),
        )
        .where(condition)
        .group_by(q.source, q.thing, q.rules)
        .order_by(func.count().desc())
    )


def quarantined(settings: Settings, since: datetime, limit: int = 1000) -> "pd.DataFrame":
    """List the rows quarantined by loads that started at or after a time: thing, file, line, rules, value."""
    c = quarantine.c
    statement = (
        select(c.thing, c.file, c.line, c.rules, c.value)
        .join(load, load.c.load_id == c.load_id)
        .where(load.c.started_at >= since, func.coalesce(c.is_field, 0) == 0)
        .order_by(c.thing, c.file, c.line)
        .limit(limit)
    )
    return read(settings, statement)


def mappings(settings: Settings) -> list[Path]:
    """List the mappings that loads were made with, the latest of each source, newest first.

    One that is gone is left out.
    """
    newest = (
        select(load.c.source, load.c.mapping)
        .where(load.c.mapping.is_not(None), load.c.status.in_(("logged", "published")))
        .order_by(load.c.load_id.desc())
    )
    found: dict[str, Path] = {}
    for source, mapping in read(settings, newest).itertuples(index=False, name=None):
        found.setdefault(source, settings.raw / mapping)
    return [path for path in found.values() if path.exists()]


def check_results(settings: Settings) -> "pd.DataFrame":
    """Give the checks of the newest build that was checked, failed ones first."""
    newest = select(check_result.c.build_id).order_by(check_result.c.checked_at.desc()).limit(1).scalar_subquery()
    statement = select(check_result).where(check_result.c.build_id == newest)
    return read(settings, statement.order_by(check_result.c.rows.desc(), check_result.c.name))


def builds(settings: Settings) -> "pd.DataFrame":
    """List builds with the rows of each table and what changed, newest first."""
    return read(settings, select(build).order_by(build.c.build_id.desc(), build.c.table))
