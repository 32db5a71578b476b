"""How text, names and files get into SQL, and connections that reach no further than they must. No other module quotes.

What comes from outside (names of sources, ids, headings, paths) is written into a statement by these functions or
bound, never pasted. A connection of a load or a build reads and writes the folders it is given and nothing else,
whatever a statement says.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from pipelines.settings import data_path

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
