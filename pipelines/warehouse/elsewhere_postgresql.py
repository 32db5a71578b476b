"""Copies of a build in PostgreSQL: rows in a schema of their own, and views on them in the schema that readers know.

Each copy fills new tables, beside those of the last one, at the speed of COPY; then the views are pointed at them, in
the same transaction. Who reads sees the old rows or the new ones and waits for neither: pointing the views takes a
moment, and where a long query holds one of them it is tried again. What rests on the views (views, rights) stays. Rows
of earlier copies go afterwards, once nobody reads them.
Source: PostgreSQL 18, COPY (FREEZE) and CREATE OR REPLACE VIEW, https://www.postgresql.org/docs/18/sql-copy.html.
"""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.csv
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from pipelines.errors import CopyError
from pipelines.warehouse.elsewhere import MARK, Say, attached, comments, refused
from pipelines.warehouse.sql import name
from pipelines.warehouse.star import STAR

if TYPE_CHECKING:
    import psycopg

    Server = psycopg.Connection[Any]

BATCH = 50_000  # rows on their way to a server at once
TRIES, WAIT_S = 60, 0.5  # of pointing the views at new rows while others hold them
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_ROWS = "__rows_"  # between the name of a schema and the number of a copy


def write_postgresql(source: Path, url: str, schema: str, mark: str, say: Say = lambda _: None) -> int:
    """Fill a schema of a PostgreSQL server with a build, in one transaction, and give its rows.

    Raises CopyError for a schema of somebody else, a server that does not take it, and views that are held too long.
    """
    if not _SCHEMA.fullmatch(schema):
        raise CopyError(
            f"{schema} is no name of a schema: small letters, digits and underscores, 48 at most. Give another after #."
        )
    try:
        import psycopg
    except ModuleNotFoundError:
        raise CopyError("PostgreSQL needs the package psycopg. Install it: pip install 'backhaul[postgres]'.") from None
    address = re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql://", url)
    reader = attached(source, ":memory:", [])
    try:
        with psycopg.connect(address) as server:
            place = _prepare(server, schema)
            rows = 0
            for table in STAR.sorted_tables:
                say(f"copying {table.name}")
                rows += _fill(server, reader, table, place)
            say("putting the tables in place")
            _point(server, schema, place, mark)
        with psycopg.connect(address, autocommit=True) as server:
            _prune(server, schema, _number(place))
    except psycopg.errors.DependentObjectsStillExist as error:
        first = str(error.diag.message_detail or error).splitlines()[0]
        raise CopyError(
            "Tables changed with this version of Backhaul, and something rests on the old ones:"
            f" {first}. Drop that first."
        ) from None
    except psycopg.Error as error:
        raise CopyError(
            f"The server did not take the copy: {str(error).splitlines()[0]}. What was there stays."
        ) from None
    finally:
        reader.close()
    return rows


def _text(text: object) -> str:
    """Write a text as PostgreSQL reads it, whichever way its backslashes are set."""
    return "'" + str(text).replace("\0", "").replace("'", "''") + "'"


def _prepare(server: "Server", schema: str) -> str:
    """Make the schema, or see that it is ours, and hold it against another copy; give a new one for the rows."""
    server.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"backhaul {schema}"])
    found = server.execute(
        "SELECT obj_description(oid, 'pg_namespace'), (SELECT count(*) FROM pg_class WHERE relnamespace = n.oid)"
        " FROM pg_namespace n WHERE nspname = %s",
        [schema],
    ).fetchone()
    if found is None:
        server.execute(f"CREATE SCHEMA {name(schema)}".encode())
    elif not str(found[0] or "").startswith(MARK) and found[1]:
        raise refused(f"The schema {schema}", "holds tables of somebody else")
    place = f"{schema}{_ROWS}{max(map(_number, _places(server, schema)), default=0) + 1}"
    server.execute(f"CREATE SCHEMA {name(place)}".encode())
    server.execute(f"COMMENT ON SCHEMA {name(place)} IS {_text(f'{MARK}: rows of the schema {schema}')}".encode())
    server.execute(f"SET LOCAL search_path = {name(schema)}; SET LOCAL timezone = 'UTC'".encode())
    return place


def _places(server: "Server", schema: str) -> list[str]:
    """List the schemas that hold rows of copies to this one."""
    found = server.execute(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"
        " AND starts_with(obj_description(oid, 'pg_namespace'), %s)",
        [schema + _ROWS, MARK],
    ).fetchall()
    return [place for (place,) in found if place.removeprefix(schema + _ROWS).isdecimal()]


def _fill(server: "Server", reader: duckdb.DuckDBPyConnection, table: Table, place: str) -> int:
    """Make a table and fill it with the rows of the build's, the next rows being written while some are sent.

    Gives how many they are.
    """
    target = f"{name(place)}.{name(table.name)}"
    definition = str(CreateTable(table).compile(dialect=postgresql.dialect())).strip()  # type: ignore[no-untyped-call]
    server.execute(definition.replace(f"CREATE TABLE {table.name} ", f"CREATE TABLE {target} ", 1).encode())
    columns = ", ".join(name(c.name) for c in table.columns)
    rows = 0
    found = reader.execute(f"SELECT {columns} FROM build.{name(table.name)}").to_arrow_reader(BATCH)
    into = f"COPY {target} ({columns}) FROM STDIN (FORMAT csv, FREEZE)".encode()
    with server.cursor() as cursor, cursor.copy(into) as copy:
        for text, count in _ahead(found):
            copy.write(text)
            rows += count
    return rows


def _ahead(batches: pa.RecordBatchReader) -> Iterator[tuple[bytes, int]]:
    """Give rows as CSV, with their number; the next ones are made meanwhile."""

    def made() -> tuple[bytes, int] | None:
        batch = next(batches, None)
        return None if batch is None else (_csv(batch), batch.num_rows)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(made)
        while (found := waiting.result()) is not None:
            waiting = pool.submit(made)
            yield found


def _csv(batch: pa.RecordBatch) -> bytes:
    """Write rows as PostgreSQL reads CSV: texts have quotes, what is empty without them is NULL, and no sign is 0."""
    out = pa.BufferOutputStream()
    pa.csv.write_csv(batch, out, pa.csv.WriteOptions(include_header=False, quoting_style="needed"))
    text: bytes = out.getvalue().to_pybytes()
    return text.replace(b"\0", b"") if b"\0" in text else text


def _point(server: "Server", schema: str, place: str, mark: str) -> None:
    """Point the views of a schema at new rows, all or none; who holds one of them is waited for, briefly each time.

    Who waits before a table keeps those behind from reading: it waits half a second, lets them pass, and tries again.
    """
    import psycopg

    for tried in range(1, TRIES + 1):
        try:
            with server.transaction():
                server.execute(f"SET LOCAL lock_timeout = {int(WAIT_S * 1000)}".encode())
                for table in STAR.sorted_tables:
                    _view(server, table, schema, place)
                    server.execute("; ".join(comments(table, mark, _text, "VIEW")).encode())
                server.execute(f"COMMENT ON SCHEMA {name(schema)} IS {_text(mark)}".encode())
        except psycopg.errors.LockNotAvailable:
            if tried == TRIES:
                raise
            time.sleep(WAIT_S)
        else:
            return


def _view(server: "Server", table: Table, schema: str, place: str) -> None:
    """Point a view at new rows; one of other columns, and a table that a copy once was, is made anew."""
    columns = ", ".join(name(c.name) for c in table.columns)
    target = f"{name(schema)}.{name(table.name)}"
    (kind,) = server.execute(
        "SELECT (SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s))", [target]
    ).fetchall()[0]
    if kind is not None and (kind != "v" or not _fits(server, table, schema, place)):
        server.execute(f"DROP {'VIEW' if kind == 'v' else 'TABLE'} {target}".encode())
    select = f"SELECT {columns} FROM {name(place)}.{name(table.name)}"
    server.execute(f"CREATE OR REPLACE VIEW {target} AS {select}".encode())


def _fits(server: "Server", table: Table, schema: str, place: str) -> bool:
    """Say whether a view has the columns of the new rows, in their order and of their types."""
    shape = (
        "SELECT array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
    )
    there, wanted = (server.execute(shape, [f"{name(of)}.{name(table.name)}"]).fetchone() for of in (schema, place))
    return there == wanted


def _number(place: str) -> int:
    return int(place.rpartition("_")[2])


def _prune(server: "Server", schema: str, current: int) -> None:
    """Drop the rows of earlier copies that nobody reads and nothing rests on; the others go with the next copy."""
    import psycopg

    server.execute(f"SET lock_timeout = {int(WAIT_S * 1000)}".encode())
    for place in _places(server, schema):
        if _number(place) >= current:  # a later copy may be there by now
            continue
        tables = server.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [place]).fetchall()
        listed = ", ".join(f"{name(place)}.{name(table)}" for (table,) in tables)
        try:
            with server.transaction():
                if listed:
                    server.execute(f"DROP TABLE {listed}".encode())
                server.execute(f"DROP SCHEMA {name(place)}".encode())
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DependentObjectsStillExist):
            continue
