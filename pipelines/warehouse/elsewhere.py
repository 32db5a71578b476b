"""Copies of a build for other tools: a schema of a PostgreSQL server, a DuckDB file, a folder of Parquet files.

Each carries the dictionary: what a row of a table is, what a column holds and in which unit, as comments of the
database, or as a data package beside the files. One idea: a copy says by a mark that it was made here, and only what
carries the mark is written over. It is made aside and put in place in one step, so that who reads sees the old copy or
the new one; what rests on a copy in a database (views, rights) stays.
Source: Data Package 2.0 (2024, https://datapackage.org/standard/data-package/).
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout
from sqlalchemy import Boolean, Column, Date, DateTime, Double, Integer, Numeric, Table

from pipelines.errors import CopyError, WarehouseLocked
from pipelines.settings import Settings, private
from pipelines.warehouse.build import UNFINISHED, build_path, current_build, sync
from pipelines.warehouse.engine import Build, open_duckdb, open_postgresql
from pipelines.warehouse.sql import connect, home_of, name, open_file, quote
from pipelines.warehouse.star import STAR

MARK = "Copied by Backhaul"
PACKAGE = "datapackage.json"
_UNITS = (
    (r"tonne_km", "t.km"),
    (r"^minutes$", "minutes"),
    (r"(^|_)kg(_|$)", "kg"),
    (r"(^|_)km(_|$)", "km"),
    (r"(^|_)hours?(_|$)", "hours"),
    (r"_days$|^days$", "days"),
    (r"(^|_)kwh(_|$)", "kWh"),
    (r"(^|_)share$|^share_|coverage$|^p$", "share, 0 to 1"),
)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Copied:
    """A copy that stands: where, of which build, how many tables and rows."""

    where: str
    build_id: str
    tables: int
    rows: int


def unit_of(column: Column[Any]) -> str:
    """Give the unit of a column: what its own comment says in brackets, else what its name or type says.

    >>> unit_of(STAR.tables["fact_order_line"].c.weight_kg), unit_of(STAR.tables["fact_order_line"].c.ordered_at)
    ('kg', 'instant, UTC')
    """
    kind = column.type
    if isinstance(kind, DateTime):
        return "instant, UTC"
    if isinstance(kind, Date):
        return "day"
    if isinstance(kind, Numeric) and not isinstance(kind, Double):
        return "money, in the currency of the row" if "currency" in column.table.c else "money, reporting currency"
    if not isinstance(kind, (Integer, Double)) or column.name.endswith("_key"):
        return ""
    if said := re.search(r"\(([^()]{1,24})\)$", column.comment or ""):
        return said[1]
    return next((unit for pattern, unit in _UNITS if re.search(pattern, column.name)), "")


def described(column: Column[Any]) -> str:
    """Say what a column holds, with its unit where the sentence does not name it."""
    unit, said = unit_of(column), str(column.comment or "")
    return said if not unit or unit in said else f"{said} [{unit}]"


def about(info: dict[str, str], build_id: str) -> str:
    """Say what a copy is of: its mark."""
    until = str(info.get("observed_until", ""))[:19]
    currency = info.get("reporting_currency", "")
    return f"{MARK}: build {build_id}, observed until {until} UTC, money of reports in {currency}"


def copy_build(warehouse: Path, target: str, say: Say = lambda _: None) -> Copied:
    """Copy the build that readers see to a postgresql:// address (with #SCHEMA), a .duckdb file or another folder.

    Raises CopyError where the target holds what was not copied here, or cannot be written.
    """
    with current_build(warehouse) as build:
        build_id, mark = build.build_id, about(build.info, build.build_id)
    source = build_path(warehouse, build_id)
    if target.startswith(("postgresql://", "postgres://")):
        from pipelines.warehouse.elsewhere_postgresql import write_postgresql

        url, _, schema = target.partition("#")
        rows = write_postgresql(source, url, schema or "backhaul", mark, say)
        return Copied(f"schema {schema or 'backhaul'}", build_id, len(STAR.tables), rows)
    place = Path(target.removeprefix("duckdb:///").removeprefix("file://")).absolute()
    home = warehouse.absolute()
    kept = [home, *(home.with_name(f"{home.name}.{beside}") for beside in ("raw", "spool", "runs"))]
    for folder in kept:
        if place.is_relative_to(folder) or folder.is_relative_to(place):
            raise CopyError(
                f"{place} and {folder}, which Backhaul keeps, lie in each other. Give a place outside of it."
            )
    write = write_duckdb if place.suffix == ".duckdb" else write_parquet
    try:
        with private(), _alone(place) as draft:
            rows = write(source, place, draft, mark, say)
    except duckdb.IOException as error:
        raise CopyError(f"{place} cannot be written: {str(error).splitlines()[0][:150]}.") from None
    return Copied(str(place), build_id, len(STAR.tables), rows)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[Path]:
    """Hold a place for oneself and give the draft beside it; what a killed copy left there goes.

    Raises WarehouseLocked while another copy is written there.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(place.name + UNFINISHED)
    lock = FileLock(place.with_name(f".{place.name}.lock"), mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise WarehouseLocked(f"Another run is writing {place}. Wait until it ends.") from None
    try:
        _take_away(draft)
        yield draft
    finally:
        _take_away(draft)
        lock.release()


def _take_away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".wal").unlink(missing_ok=True)


def refused(place: object, why: str) -> CopyError:
    """Say why a place is not written to."""
    return CopyError(f"{place} {why}, and what was not copied here is not written over. Give another place.")


def attached(source: Path, draft: Path | str, folders: list[Path]) -> duckdb.DuckDBPyConnection:
    """Open a database to write a copy from: the build is attached as `build`, read only."""
    connection = connect(draft, Settings(warehouse=home_of(source)))
    connection.execute(f"SET preserve_insertion_order = true; ATTACH {quote(source)} AS build (READ_ONLY)")
    connection.execute(f"SET allowed_directories = [{', '.join(quote(f) for f in folders)}]")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    return connection


def write_duckdb(source: Path, place: Path, draft: Path, mark: str, say: Say) -> int:
    """Write a DuckDB file with comments, and give its rows."""
    if place.exists():
        _check_duckdb(place)
    rows = 0
    connection = attached(source, draft, [draft.parent])
    try:
        connection.execute("BEGIN")
        for table in STAR.sorted_tables:
            say(f"copying {table.name}")
            columns = ", ".join(name(c.name) for c in table.columns)
            connection.execute(f"CREATE TABLE {name(table.name)} AS SELECT {columns} FROM build.{name(table.name)}")
            rows += connection.execute(f"SELECT count(*) FROM {name(table.name)}").fetchall()[0][0]
            connection.execute("; ".join(comments(table, mark, quote)))
        connection.execute("COMMIT; DETACH build; CHECKPOINT")
    finally:
        connection.close()
    sync(draft)
    draft.replace(place)
    sync(place.parent)
    return rows


def comments(table: Table, mark: str, quoted: Callable[[object], str], kind: str = "TABLE") -> Iterator[str]:
    """Write the dictionary of a table, or a view, as comments; the mark stands on that of the build's properties."""
    said = f"{table.comment} {mark}" if table.name == "build_info" else str(table.comment)
    yield f"COMMENT ON {kind} {name(table.name)} IS {quoted(said)}"
    for column in table.columns:
        yield f"COMMENT ON COLUMN {name(table.name)}.{name(column.name)} IS {quoted(described(column))}"


def _check_duckdb(place: Path) -> None:
    """Raise CopyError for a file that is no copy of ours, or holds more than one."""
    if not place.is_file():
        raise refused(place, "is no file")
    try:
        with open_file(place) as connection:
            found = dict(connection.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall())
            views = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            raise CopyError(
                f"{place} is open for writing in another program. Close it there, and copy again."
            ) from None
        raise refused(place, "is no DuckDB file") from None
    others = sorted({*found} - {*STAR.tables} | {v for (v,) in views})
    if MARK not in str(found.get("build_info", "")):
        raise refused(place, "is no copy of a build")
    if others:
        raise refused(place, f"holds {', '.join(others[:3])} as well")


def write_parquet(source: Path, place: Path, draft: Path, mark: str, say: Say) -> int:
    """Write a folder of Parquet files, one a table, with a data package beside them, and give its rows."""
    old = place.with_name(place.name + ".replaced")
    if place.exists():
        _check_folder(place)
    draft.mkdir()
    resources = []
    connection = attached(source, ":memory:", [draft])
    try:
        for table in STAR.sorted_tables:
            say(f"copying {table.name}")
            file = draft / f"{table.name}.parquet"
            columns = ", ".join(name(c.name) for c in table.columns)
            options = "(FORMAT parquet, COMPRESSION zstd)"
            query = f"SELECT {columns} FROM build.{name(table.name)}"
            (count,) = connection.execute(f"COPY ({query}) TO {quote(file)} {options}").fetchall()[0]
            sync(file)
            resources.append(_resource(table, file, count))
    finally:
        connection.close()
    (draft / PACKAGE).write_text(json.dumps(_package(resources, mark), indent=1, ensure_ascii=False) + "\n", "utf-8")
    sync(draft / PACKAGE)
    _take_away(old)  # of a run that was killed between the two steps
    if place.exists():
        place.rename(old)
    draft.rename(place)
    sync(place.parent)
    _take_away(old)
    return sum(int(r["rows"]) for r in resources)


def _resource(table: Table, file: Path, rows: int) -> dict[str, Any]:
    """Describe a file of a data package: its table, its columns with types and units, its bytes and hash."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    fields = [
        {
            "name": c.name,
            "type": _field_type(c),
            "description": str(c.comment or ""),
            **({"unit": unit} if (unit := unit_of(c)) else {}),
        }
        for c in table.columns
    ]
    return {
        "name": table.name,
        "path": file.name,
        "format": "parquet",
        "mediatype": "application/vnd.apache.parquet",
        "description": str(table.comment),
        "bytes": file.stat().st_size,
        "hash": f"sha256:{digest}",
        "rows": rows,
        "schema": {"fields": fields},
    }


def _field_type(column: Column[Any]) -> str:
    kinds = (
        (Boolean, "boolean"),
        (DateTime, "datetime"),
        (Date, "date"),
        (Integer, "integer"),
        ((Numeric, Double), "number"),
    )
    return next((word for kind, word in kinds if isinstance(column.type, kind)), "string")


def _package(resources: list[dict[str, Any]], mark: str) -> dict[str, Any]:
    return {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": "backhaul",
        "title": "Backhaul: facts and estimates of what comes back to a shop",
        "description": mark,
        "resources": resources,
    }


def _check_folder(place: Path) -> None:
    """Raise CopyError for a folder that is no copy of ours, or holds more than one; an empty one may be filled."""
    if not place.is_dir():
        raise refused(place, "is no folder")
    there = {p.name for p in place.iterdir()}
    try:
        said = json.loads((place / PACKAGE).read_text("utf-8"))
        ours = (
            {str(r["path"]) for r in said["resources"]} | {PACKAGE}
            if str(said["description"]).startswith(MARK)
            else set()
        )
    except (OSError, ValueError, KeyError, TypeError):
        ours = set()
    if others := sorted(there - ours):
        raise refused(place, f"holds {', '.join(others[:3])}")


def copy_to_postgresql(path: Path, url: str, schema: str) -> Build:
    """Copy a finished build into a schema of a PostgreSQL server, and open it there."""
    from pipelines.warehouse.elsewhere_postgresql import write_postgresql

    with open_duckdb(path) as build:
        mark = about(build.info, build.build_id)
    write_postgresql(path, url, schema, mark)
    return open_postgresql(url, schema)
