"""SQL texts that several rooms write: quoted names and literals, keys, rows of files; and their connection."""

import atexit
import csv
import itertools
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Boolean, Column, Date, DateTime, Double, Integer, Numeric, Table

from pipelines.errors import MemoryShort
from pipelines.settings import Settings, data_path, is_running
from pipelines.warehouse import machine

FLOATING = ("DOUBLE", "FLOAT")  # types that hold what is no number
CHANGEABLE = (  # by a locked connection
    "preserve_insertion_order",
    "max_vacuum_tasks",
    "disabled_optimizers",
    "partitioned_write_flush_threshold",
)
BASE_MB, WORKER_MB = (
    300,
    100,
)  # memory beside a staging folder, for all and for each thread: what outgrows it goes there
READ_MB = 1_000  # memory of a build that is open to be read
SPILLED = ".spilled-"
LIGHT_BYTES = 1 << 20  # of files that are read: about ten thousand order lines
_HEAVY = (
    "filter_pullup,empty_result_pullup,cte_filter_pusher,regex_range,in_clause,common_subexpressions,common_aggregate,"
    "limit_pushdown,row_group_pruner,top_n,top_n_window_elimination,compressed_materialization,duplicate_groups,"
    "reorder_filter,sampling_pushdown,join_filter_pushdown,sum_rewriter,late_materialization,common_subplan,"
    "join_elimination,window_self_join,statistics_propagation"
)
"""Passes of DuckDB's planner that take a small shop longer than they spare it; those that choose joins stay."""
_Value = str | bool | int | float | list[str]
_OFFLINE: dict[str, _Value] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
_numbers = itertools.count()


def quote(text: object) -> str:
    """Write a text as an SQL literal.

    >>> quote("l'été")
    "'l''été'"
    >>> quote(chr(0))
    "('' || chr(0) || '')"
    """
    written = "'" + str(text).replace("'", "''") + "'"
    return f"({written})".replace("\0", "' || chr(0) || '") if "\0" in written else written


def name(identifier: str) -> str:
    """Write a column's name as an SQL identifier.

    >>> name("Order no")
    '"Order no"'
    """
    return '"' + identifier.replace('"', '""') + '"'


def read_sql(kind: str, files: Path | str | Sequence[str], options: str = "") -> str:
    """Write the SQL that reads files, one path or a list of them.

    Of their names no sign is a wildcard, no folder a column.

    >>> read_sql("parquet", Path("/shop/country=ES/l'été [1].parquet"))
    "read_parquet(['/shop/country=ES/l''été [[]1].parquet'], hive_partitioning = false)"
    """
    paths = [files] if isinstance(files, str | Path) else files
    literal = ", ".join(_path(Path(p).absolute()) for p in paths)
    return f"read_{kind}([{literal}], hive_partitioning = false{options and f', {options}'})"


def shipped_sql(file: str) -> str:
    """Write the SQL that reads a table of texts that we ship.

    Its columns and signs are said: DuckDB looks for them longer than it reads.

    >>> duckdb.sql(f"FROM {shipped_sql('dispositions.csv')}").columns[:2]
    ['disposition', 'outcome']
    """
    path = data_path(file)
    names = ", ".join(f"{quote(n)}: 'VARCHAR'" for n in _header(path))
    signs = """delim = ',', quote = '"', escape = '"', auto_detect = false, header = true"""
    return read_sql("csv", path, f"{signs}, columns = {{{names}}}")


@cache
def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def _path(path: Path | str) -> str:
    return quote(re.sub(r"[*?\[]", r"[\g<0>]", str(path)))


def connect(
    path: Path | str = ":memory:",
    settings: Settings | None = None,
    *,
    threads: int | None = None,
    folders: Sequence[Path] | None = None,
    staging: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open DuckDB as every part of the pipeline does: UTC, nothing fetched from outside, memory and threads bounded.

    With `folders`, as every load and build has them, it reaches these, the database itself and the data we ship, and
    its configuration is locked. `staging`, one folder more, takes copies that are made to be read and what does not fit
    in memory. `threads` are fewer than the settings say.
    """
    place = staging or (spill_folder(settings.warehouse) if settings is not None else None)
    if place is None and str(path) != ":memory:":
        place = Path(f"{path}.tmp")  # as DuckDB would: `build.sweep` knows it
    bounds = _bounds(settings or Settings(), place, threads, is_staging=staging is not None)
    connection = duckdb.connect(str(path), config=_OFFLINE | bounds | {"preserve_insertion_order": False})
    # an unfinished build is thrown away, never recovered: one checkpoint, when it is published; the slow compressions
    # save a sixth of the file and cost a quarter of the writing
    connection.execute(
        "SET TimeZone = 'UTC'; SET wal_autocheckpoint = '1TB'; SET disabled_compression_methods = 'fsst,alp,alprd'"
    )
    if staging is not None:
        connection.execute(f"SET VARIABLE backhaul_staging = {quote(staging)}")
    if folders is not None:
        lock(connection, [*folders, *([staging] if staging else [])])
    return connection


def open_file(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file to be read, with memory and threads bounded."""
    connection = duckdb.connect(str(path), read_only=True)  # configured alike by all who open it
    bounds = _bounds(Settings(), spill_folder(home_of(path)))
    connection.execute("; ".join(f"SET {key} = {quote(value)}" for key, value in bounds.items()))
    return connection


def open_attached(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a database in memory beside which a build is attached as `build`, to be read: it reaches nothing else.

    It holds at most `READ_MB` of what it read, unless the settings say how much: a server has several builds open.
    """
    bounds = _bounds(Settings(), spill_folder(home_of(path)), most_mb=READ_MB)
    connection = duckdb.connect(config=_OFFLINE | bounds)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"ATTACH {quote(path)} AS build (READ_ONLY)")
    lock(connection)
    return connection


def _bounds(
    settings: Settings,
    place: Path | None,
    threads: int | None = None,
    *,
    is_staging: bool = False,
    most_mb: int | None = None,
) -> dict[str, _Value]:
    """Give what bounds a database: its memory, its threads, and the folder for what outgrows its memory."""
    workers, most = threads or machine.threads(settings), machine.memory_mb(settings)
    if most_mb and not settings.memory_mb:
        most = min(most, most_mb)
    return {
        "threads": workers,
        "memory_limit": f"{min(most, BASE_MB + WORKER_MB * workers) if is_staging else most}MB",
        "temp_directory": str(place or _temporary() / str(next(_numbers))),
    }


@cache
def _temporary() -> Path:
    """Make this process's folder for what outgrows memory where no warehouse is near; it goes when the process ends."""
    folder = tempfile.mkdtemp(prefix="backhaul-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def home_of(path: Path) -> Path:
    """Give the warehouse that a build lies in; of another file, its folder."""
    return next((p.parent for p in path.absolute().parents if p.name == "builds"), path.absolute().parent)


def spill_folder(home: Path) -> Path:
    """Name a folder of a warehouse's disk for what outgrows the memory of one database.

    DuckDB makes it when it needs it, and removes it; what a killed process left goes with `drop_spilled`. Where the
    warehouse cannot be written, as by who only reads, it is a folder of the system's.
    """
    is_writable = os.access(home if home.exists() else home.absolute().parent, os.W_OK)
    folder = home.absolute() if is_writable else _temporary()
    return folder / f"{SPILLED}{platform.node() or 'here'}-{os.getpid()}-{next(_numbers)}"


def drop_spilled(home: Path) -> None:
    """Remove what processes that are gone left in a warehouse of what outgrew their memory.

    Of another machine, or container, it is left for a day.
    """
    for folder in home.glob(f"{SPILLED}*"):
        node, pid, _ = folder.name.removeprefix(SPILLED).rsplit("-", 2)
        is_here = node == (platform.node() or "here")
        with suppress(FileNotFoundError):
            if not is_running(int(pid)) if is_here else time.time() - folder.stat().st_mtime > 86_400:
                shutil.rmtree(folder, ignore_errors=True)


def memory_short(error: duckdb.Error) -> MemoryShort:
    """Say what to do where a database needs more memory, or more room for what outgrows it."""
    told = str(error).splitlines()[0].removeprefix("Out of Memory Error: ")[:120]
    if "max_temp_directory_size" in str(error) or "offload" in told:
        return MemoryShort(
            f"What outgrows memory finds no room on the disk of the warehouse ({told}). Free space there, or give more"
            " memory with BACKHAUL_MEMORY."
        )
    return MemoryShort(
        f"This needs more memory than the database may take ({told}). Give it more with BACKHAUL_MEMORY, or fewer"
        " threads with BACKHAUL_THREADS."
    )


def lock(connection: duckdb.DuckDBPyConnection, folders: Iterable[Path] = ()) -> None:
    """Let a connection reach folders and the data we ship, and nothing else from here on.

    What it has attached already stays.
    """
    reached = [*folders, data_path(".")]
    paths = {str(p) for folder in reached for p in (folder.absolute(), folder.resolve())}
    named = {written for p in paths for written in (quote(p), _path(p))}  # a reader's path is compared as it is written
    connection.execute(
        f"SET allowed_directories = [{', '.join(sorted(named))}]; SET enable_external_access = false; "
        f"SET allowed_configs = [{', '.join(map(quote, CHANGEABLE))}]; SET lock_configuration = true"
    )


def staging_of(connection: duckdb.DuckDBPyConnection) -> str:
    """Give the folder where a connection's copies of files belong: its own, else the system's for temporary files."""
    found = connection.execute("SELECT getvariable('backhaul_staging')").fetchall()[0][0]
    return str(found or tempfile.gettempdir())


def plan_lightly(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave out of planning what pays for large tables alone."""
    connection.execute(f"SET disabled_optimizers = '{_HEAVY}'")


@contextmanager
def planned_without(connection: duckdb.DuckDBPyConnection, one_pass: str) -> Iterator[None]:
    """Plan statements without a pass of the planner, beside those that are left out already."""
    kept = str(connection.execute("SELECT current_setting('disabled_optimizers')").fetchall()[0][0])
    connection.execute(f"SET disabled_optimizers = '{','.join(filter(None, (kept, one_pass)))}'")
    try:
        yield
    finally:
        connection.execute(f"SET disabled_optimizers = '{kept}'")


def in_order(connection: duckdb.DuckDBPyConnection, statements: Iterable[str]) -> None:
    """Run statements with rows kept in the order of their files, so that a row's number is its line."""
    kept = connection.execute("SELECT current_setting('preserve_insertion_order')").fetchall()[0][0]
    connection.execute("SET preserve_insertion_order = true")
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.execute(f"SET preserve_insertion_order = {str(kept).lower()}")


def rows_sql(types: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> str:
    """Write rows of plain values as a SELECT of columns with the given DuckDB types.

    Binding even one value makes DuckDB's client import pandas, which takes longer than most statements of a small load.

    >>> duckdb.sql(rows_sql({"n": "BIGINT", "of": "VARCHAR"}, [[1, "l'or"], [None, "x"]])).fetchall()
    [(1, "l'or"), (None, 'x')]
    """
    given = json.dumps([dict(zip(types, row, strict=True)) for row in rows]).replace("'", "''")
    return f"SELECT unnest(from_json('{given}', '{json.dumps([dict(types)])}'), recursive := true)"


def when(condition: str, value: str) -> str:
    """Give a value of the rows that match a condition, for an aggregate over all of them.

    Where a statement has many it is no FILTER: for each of those DuckDB makes room for all that the statement reads.

    >>> when("is_active", "paid_at")
    'CASE WHEN is_active THEN paid_at END'
    """
    return f"CASE WHEN {condition} THEN {value} END"


def key_sql(expression: str) -> str:
    """Give the BIGINT key of a text: the first 63 bits of its md5."""
    return f"(md5_number_upper({expression}) >> 1)::BIGINT"


def without_nan(quoted: str) -> str:
    """Give NULL for what is no number: a table of floats says by it that a figure is missing.

    Not by `nullif(x, 'NaN')`: statistics of a Parquet file leave NaN out, and DuckDB 1.5 folds comparisons by them.
    """
    return f"CASE WHEN NOT isnan({quoted}) THEN {quoted} END"


def sql_type(column: Column[Any]) -> str:
    """Give the DuckDB type of a log's column."""
    kind = column.type
    if isinstance(kind, Numeric) and not isinstance(kind, Double):
        return "DECIMAL(18, 4)"
    return {Integer: "BIGINT", Double: "DOUBLE", Boolean: "BOOLEAN", Date: "DATE", DateTime: "TIMESTAMP"}.get(
        type(kind), "VARCHAR"
    )


def identity_of(table: Table) -> str:
    """Name the column that tells a log's things apart.

    >>> from pipelines.warehouse import schema
    >>> identity_of(schema.refund), identity_of(schema.product)
    ('refund_key', 'identity_key')
    """
    key: tuple[str, ...] = table.info["key"]
    return f"{key[0].removesuffix('_id')}_key" if len(key) == 1 else "identity_key"
