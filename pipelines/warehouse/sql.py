"""SQL texts that several rooms write: quoted names and literals, keys, rows of files; and their connection."""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Boolean, Column, Date, DateTime, Double, Integer, Numeric, Table

from pipelines.settings import data_path

FLOATING = ("DOUBLE", "FLOAT")  # types that hold what is no number
CHANGEABLE = ("preserve_insertion_order", "max_vacuum_tasks", "disabled_optimizers")  # by a locked connection
BASE_MB, WORKER_MB = (
    300,
    100,
)  # memory beside a staging folder, for all and for each thread: tables that outgrow it go there


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


def _path(path: Path | str) -> str:
    return quote(re.sub(r"[*?\[]", r"[\g<0>]", str(path)))


def connect(
    path: Path | str = ":memory:",
    threads: int | None = None,
    *,
    folders: Sequence[Path] | None = None,
    staging: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open DuckDB as every part of the pipeline does: UTC, and nothing fetched from outside.

    With `folders`, as every load and build has them, it reaches these, the database itself and the data we ship, and
    its configuration is locked. `staging`, one folder more, takes copies that are made to be read and what does not fit
    in memory.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    if threads:
        config["threads"] = threads
    connection = duckdb.connect(str(path), config=config)
    # an unfinished build is thrown away, never recovered: one checkpoint, when it is published; the slow compressions
    # save a sixth of the file and cost a quarter of the writing
    connection.execute(
        "SET TimeZone = 'UTC'; SET wal_autocheckpoint = '1TB'; SET disabled_compression_methods = 'fsst,alp,alprd'"
    )
    if staging is not None:
        memory = f"{BASE_MB + WORKER_MB * (threads or os.cpu_count() or 1)}MB"
        connection.execute(f"SET memory_limit = '{memory}'")
        connection.execute(f"SET temp_directory = {quote(staging)}; SET VARIABLE backhaul_staging = {quote(staging)}")
    if folders is not None:
        lock(connection, [*folders, *([staging] if staging else [])])
    return connection


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
