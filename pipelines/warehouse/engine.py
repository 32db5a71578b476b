"""Engines: how one SQLAlchemy expression runs on DuckDB, PostgreSQL and Spark.

What differs between them lives here alone. A `Build` is a finished, readable build whatever engine holds it. Constructs
below compile to each engine's own words: a timestamp difference, a truncated day, a safe ratio, a key. No metric and no
table is declared here. Bulk rows travel as Arrow, never through `read_sql`.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import pyarrow as pa
from duckdb_sqlalchemy import Dialect as DuckDBDialect
from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Float,
    Integer,
    Numeric,
    Select,
    String,
    cast,
    create_engine,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FunctionElement

from pipelines.errors import WarehouseMissing
from pipelines.warehouse.scope import Scope
from pipelines.warehouse.sql import memory_short, open_attached
from pipelines.warehouse.star import STAR

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession


Expression = ColumnElement[Any]
OWN_NAME = r"[a-z][a-z0-9_]{0,39}"
"""Pattern of the name of a dimension of the shop's own."""
_POSTGRESQL: Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
DUCKDB = DuckDBDialect()  # one for all: each new one would ask DuckDB for its reserved words and learn its types anew


class seconds_between(FunctionElement[float]):  # noqa: N801
    """Seconds from the first timestamp to the second, as Double; a missing one gives NULL."""

    type = Double()
    inherit_cache = True


@compiles(seconds_between)
def _seconds_between(element: Any, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(c, **kw) for c in element.clauses)
    return f"CAST(EXTRACT(epoch FROM ({end} - {start})) AS DOUBLE PRECISION)"


@compiles(seconds_between, "duckdb")
def _seconds_between_duckdb(element: Any, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(c, **kw) for c in element.clauses)
    return f"(date_diff('microsecond', {start}, {end}) / 1000000.0::DOUBLE)"


@compiles(seconds_between, "databricks")
def _seconds_between_spark(element: Any, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(c, **kw) for c in element.clauses)
    return (
        f"(CAST(unix_micros(CAST({end} AS TIMESTAMP)) - unix_micros(CAST({start} AS TIMESTAMP)) AS DOUBLE) /"
        " CAST(1000000 AS DOUBLE))"
    )


class calendar_days(FunctionElement[int]):  # noqa: N801
    """Whole calendar days from the day of the first timestamp to the day of the second."""

    type = Integer()
    inherit_cache = True


@compiles(calendar_days)
def _calendar_days(element: Any, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(c, **kw) for c in element.clauses)
    return f"(CAST({end} AS DATE) - CAST({start} AS DATE))"


@compiles(calendar_days, "duckdb")
def _calendar_days_duckdb(element: Any, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(c, **kw) for c in element.clauses)
    return f"date_diff('day', {start}, {end})"


@compiles(calendar_days, "databricks")
def _calendar_days_spark(element: Any, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(c, **kw) for c in element.clauses)
    return f"datediff({end}, {start})"


class period_start(FunctionElement[date]):  # noqa: N801
    """First day of the week, month, quarter or year a day lies in; `day` is the day itself.

    The unit is written into the SQL: a bound parameter would make GROUP BY and SELECT two expressions.
    """

    type = Date()
    inherit_cache = True
    grains = ("day", "week", "month", "quarter", "year")

    def __init__(self, grain: str, day: Expression) -> None:
        if grain not in self.grains:
            raise ValueError(f"{grain!r} is no time grain; one of {', '.join(self.grains)}.")
        super().__init__(literal_column(grain), day)


@compiles(period_start)
def _period_start(element: Any, compiler: Any, **kw: Any) -> str:
    grain, day = (compiler.process(c, **kw) for c in element.clauses)
    return day if grain == "day" else f"CAST(date_trunc('{grain}', {day}) AS DATE)"


class literal_day(FunctionElement[date]):  # noqa: N801
    """A day written into the SQL; takes a `date` and nothing else, so it needs no escaping."""

    type = Date()
    inherit_cache = True

    def __init__(self, day: date) -> None:
        super().__init__(literal_column(date(day.year, day.month, day.day).isoformat()))


@compiles(literal_day)
def _literal_day(element: Any, compiler: Any, **kw: Any) -> str:
    return f"DATE '{compiler.process(element.clauses, **kw)}'"


class literal_instant(FunctionElement[datetime]):  # noqa: N801
    """A naive UTC instant written into the SQL; takes a `datetime` and nothing else."""

    type = DateTime()
    inherit_cache = True

    def __init__(self, at: datetime) -> None:
        super().__init__(literal_column(at.replace(tzinfo=None).isoformat(sep=" ")))


@compiles(literal_instant)
def _literal_instant(element: Any, compiler: Any, **kw: Any) -> str:
    return f"TIMESTAMP '{compiler.process(element.clauses, **kw)}'"


@compiles(literal_instant, "databricks")
def _literal_instant_spark(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST('{compiler.process(element.clauses, **kw)}' AS TIMESTAMP_NTZ)"


class key_of(FunctionElement[int]):  # noqa: N801
    """The 63-bit key of an id: the first eight bytes of its md5, least byte first, shifted right by one."""

    type = BigInteger()
    inherit_cache = True


@compiles(key_of)
def _key_of(element: Any, compiler: Any, **kw: Any) -> str:
    digest = f"md5({compiler.process(element.clauses, **kw)})"
    swapped = " || ".join(f"substr({digest}, {i}, 2)" for i in range(15, 0, -2))
    return f"((('x' || {swapped})::bit(64)::bigint >> 1) & 9223372036854775807)"


@compiles(key_of, "duckdb")
def _key_of_duckdb(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST(md5_number_upper({compiler.process(element.clauses, **kw)}) >> 1 AS BIGINT)"


class text_in(FunctionElement[str]):  # noqa: N801
    """The text under a name in a column that holds a JSON object; NULL where there is none.

    The name is written into the SQL, so that GROUP BY and SELECT are one expression; it is of small letters, digits and
    underscores.
    """

    type = String()
    inherit_cache = True

    def __init__(self, name: str, column: Expression) -> None:
        if not re.fullmatch(OWN_NAME, name):
            raise ValueError(f"{name!r} is no name of a dimension.")
        super().__init__(literal_column(name), column)


@compiles(text_in)
def _text_in(element: Any, compiler: Any, **kw: Any) -> str:
    name, text = (compiler.process(c, **kw) for c in element.clauses)
    return f"(CAST({text} AS JSON) ->> '{name}')"


@compiles(text_in, "duckdb")
def _text_in_duckdb(element: Any, compiler: Any, **kw: Any) -> str:
    name, text = (compiler.process(c, **kw) for c in element.clauses)
    return f"json_extract_string({text}, '$.{name}')"


@compiles(text_in, "databricks")
def _text_in_spark(element: Any, compiler: Any, **kw: Any) -> str:
    name, text = (compiler.process(c, **kw) for c in element.clauses)
    return f"get_json_object({text}, '$.{name}')"


def double(value: Any) -> Expression:
    """Give a number or column as Double, whatever decimal the engine would read it as."""
    return cast(value, Double)


def ratio(numerator: Any, denominator: Any) -> Expression:
    """Divide in Double; NULL where the denominator is 0 or missing."""
    return double(numerator) / cast(func.nullif(denominator, 0), Double)


def days_between(start: Any, end: Any) -> Expression:
    """Days from start to end, as Double."""
    return seconds_between(start, end) / double(86400)


class _Connection(Protocol):
    dialect: str

    def fetch(self, statement: Select[Any]) -> "pd.DataFrame": ...

    def close(self) -> None: ...


class Build:
    """A finished build that can be read: `fetch` runs a SELECT and gives a frame.

    `build_id` names it, `label` says it in words (id, when it was made, within what), `info` holds `build_info`,
    `scope` what its rows are kept to: it holds no others.
    """

    def __init__(self, connection: _Connection, label: str | None = None) -> None:
        self._connection = connection
        self.dialect = connection.dialect
        table = STAR.tables["build_info"]
        rows = self.fetch(select(table.c.name, table.c.value))
        self.info: dict[str, str] = dict(zip(rows["name"], rows["value"], strict=True))
        self.build_id = self.info.get("build_id") or label or "unnamed"
        self.scope = Scope.read(self.info.get("scope", ""))
        within = f"within {self.scope.text}" if self.scope else ""
        self.label = label or " ".join(v for v in (self.build_id, self.info.get("created_at"), within) if v)
        self.cache: dict[str, Any] = {}  # what readers of this build worked out once; it never changes

    def fetch(self, statement: Select[Any]) -> "pd.DataFrame":
        """Run a SELECT and give its rows; days and instants come as pandas datetimes, decimals as floats."""
        return self._connection.fetch(statement)

    def forget(self) -> None:
        """Forget what was fetched: what is fetched next is read."""
        if isinstance(self._connection, _DuckDB):
            self._connection.fetched.clear()

    def close(self) -> None:
        """Let go of the build."""
        self._connection.close()

    def __enter__(self) -> "Build":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(frozen=True)
class _Asked:
    """A statement as it is told from others: by what it says and its values, not by which object says it."""

    statement: Any = field(compare=False)
    key: Any

    @classmethod
    def of(cls, statement: Any) -> "_Asked":
        found = statement._generate_cache_key()
        values = tuple((type(p.value), repr(p.value)) for p in found.bindparams) if found else ()
        return cls(statement, (found.key, values) if found else statement)


@lru_cache(1000)
def _written(asked: _Asked) -> str:
    return str(asked.statement.compile(dialect=DUCKDB, compile_kwargs={"literal_binds": True}))


@lru_cache(1000)
def _bound(asked: _Asked) -> tuple[str, dict[str, Any]]:
    compiled = asked.statement.compile(dialect=DUCKDB, compile_kwargs={"render_postcompile": True})
    names = {name: f"${name}" for name in compiled.params}
    text = str(compiled)
    return text % names if names else text.replace("%%", "%"), dict(compiled.params)


def sql_text(statement: Any) -> str:
    """Write a statement as DuckDB reads it, its values within."""
    return _written(_Asked.of(statement))


def statement_sql(statement: Select[Any], dialect: str = "duckdb") -> str:
    """Write a statement out for people, literals included."""
    if dialect == "duckdb":
        return sql_text(statement)
    chosen = _POSTGRESQL if dialect == "postgresql" else _spark_dialect()
    return str(statement.compile(dialect=chosen, compile_kwargs={"literal_binds": True}))


def _frame(table: pa.Table, statement: Select[Any]) -> "pd.DataFrame":
    """Give Arrow rows as pandas, each column typed by what was asked.

    An empty answer and one of nothing but NULL have the types of a full one. Text is `str`, a number that is not whole
    a float, a day or an instant a datetime; whole numbers and booleans are of numpy, or of pandas' own nullable kind
    where one is missing.
    """
    import pandas as pd

    columns = zip(table.schema, statement.selected_columns, strict=True)
    kinds = [pa.field(found.name, _arrow_kind(found.type, column.type)) for found, column in columns]
    if [kind.type for kind in kinds] != table.schema.types:
        table = table.cast(pa.schema(kinds))
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    is_large = table.num_rows > 100_000  # handing a few rows to threads takes longer than the rows
    if not any(kind.type in nullable and column.null_count for kind, column in zip(kinds, table.columns, strict=True)):
        whole_frame: pd.DataFrame = table.to_pandas(use_threads=is_large)
        return whole_frame
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get, use_threads=is_large)
    plain = {"Int64": "int64", "boolean": "bool"}
    whole = {n: plain[str(c.dtype)] for n, c in frame.items() if str(c.dtype) in plain and not c.hasnans}
    return frame.astype(whole) if whole else frame


def _arrow_kind(found: pa.DataType, asked: Any) -> pa.DataType:
    """Give the one Arrow type that a column of this type is read as, whatever engine it comes from."""
    types = pa.types
    if types.is_null(found):  # nothing but NULL: the engine cannot say of what
        whole, number, time = (isinstance(asked, k) for k in (Integer, Numeric | Float, Date | DateTime))
        boolean = isinstance(asked, Boolean)
        return (
            pa.int64()
            if whole
            else pa.float64()
            if number
            else pa.timestamp("us")
            if time
            else pa.bool_()
            if boolean
            else pa.string()
        )
    if types.is_integer(found):
        return pa.int64()
    if types.is_decimal(found) or types.is_floating(found):
        return pa.float64()
    if types.is_date(found) or types.is_timestamp(found):
        return pa.timestamp("us")
    return found


def looked_up(keys: "pd.Series[Any]", known: "pd.Series[Any] | Mapping[Any, Any]") -> "pd.Series[Any]":
    """Give what is known of each key, missing where nothing is; the type is that of what is known, be it empty.

    `Series.map` through an empty Series gives floats whatever it held, so that dates and names are none any more.

    >>> import pandas as pd
    >>> day = pd.Series([pd.Timestamp("2026-01-31")], ["a"])
    >>> [str(looked_up(pd.Series(["b"]), of).dtype) for of in (day, day[:0])]
    ['datetime64[us]', 'datetime64[us]']
    """
    import pandas as pd

    if not isinstance(known, pd.Series):
        known = pd.Series(known) if known else pd.Series(dtype=object)
    return pd.Series(known.reindex(pd.Index(keys)).array, index=keys.index, name=keys.name)


class Kept:
    """Short frames that were worked out of a build, which does not change: those asked for last.

    A page asks much twice: a number beside its change, the same sums for two numbers. A frame is given as a copy,
    which takes nothing until somebody writes to it.
    """

    most, rows = 400, 1_000

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, pd.DataFrame] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any) -> "pd.DataFrame | None":
        """Give a frame that was kept under a key, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key].copy(deep=False)

    def keep(self, key: Any, frame: "pd.DataFrame") -> "pd.DataFrame":
        """Keep a frame, unless it is long, and give it."""
        if len(frame) > self.rows:
            return frame
        with self._lock:
            self._kept[key] = frame
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return frame.copy(deep=False)

    def clear(self) -> None:
        """Let go of all of them."""
        with self._lock:
            self._kept.clear()


class _DuckDB:
    """Cursors are handed from one fetch to the next, one at a time each, so threads may share the build."""

    dialect = "duckdb"

    def __init__(self, path: Path) -> None:
        self._base = open_attached(path)
        self._name = path.stem
        self._idle: list[duckdb.DuckDBPyConnection] = []
        self.fetched = Kept()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        try:
            return self._idle.pop()
        except IndexError:
            cursor = self._base.cursor()
            cursor.execute("USE build")
            return cursor

    def fetch(self, statement: Select[Any]) -> "pd.DataFrame":
        text, values = _bound(_Asked.of(statement))
        key = text, tuple((name, type(value), repr(value)) for name, value in values.items())
        found = self.fetched.get(key)
        return self.fetched.keep(key, self._read(statement, text, values)) if found is None else found

    def _read(self, statement: Select[Any], text: str, values: dict[str, Any]) -> "pd.DataFrame":
        cursor = self.cursor()
        try:
            return _frame(cursor.execute(text, values).to_arrow_table(), statement)
        except duckdb.OutOfMemoryException as error:
            raise memory_short(error) from error
        except (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.CatalogException) as error:
            # a page that is damaged, a table that is gone
            told = str(error).splitlines()[0][:100]
            raise WarehouseMissing(
                f"The build {self._name} is damaged ({told}). Run `backhaul load` without a path: it is made again from"
                " the logs."
            ) from error
        finally:
            self._idle.append(cursor)

    def close(self) -> None:
        for cursor in self._idle:
            cursor.close()
        self._base.close()


class _PostgreSQL:
    dialect = "postgresql"

    def __init__(self, url: str, schema: str) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", schema):
            raise ValueError(f"{schema!r} is no schema name: small letters, digits and underscores.")
        url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
        self._engine = create_engine(url, connect_args={"options": f"-c search_path={schema} -c timezone=UTC"})

    def fetch(self, statement: Select[Any]) -> "pd.DataFrame":
        with self._engine.connect() as connection:
            result = connection.execute(statement)
            names, rows = list(result.keys()), result.fetchall()
        columns = list(zip(*rows, strict=True)) if rows else [() for _ in names]
        found = pa.table({n: pa.array(c) for n, c in zip(names, columns, strict=True)})
        return _frame(found, statement)

    def close(self) -> None:
        self._engine.dispose()


class _Spark:
    dialect = "spark"

    def __init__(self, session: "SparkSession") -> None:
        self._session = session
        self._dialect = _spark_dialect()

    def fetch(self, statement: Select[Any]) -> "pd.DataFrame":
        sql = str(statement.compile(dialect=self._dialect, compile_kwargs={"literal_binds": True}))
        return _frame(self._session.sql(sql).toArrow(), statement)

    def close(self) -> None:
        """Leave the session to whoever made it."""


def _spark_dialect() -> Dialect:
    from databricks.sqlalchemy import DatabricksDialect  # type: ignore[attr-defined]

    dialect: Dialect = DatabricksDialect()
    return dialect


def open_duckdb(path: Path) -> Build:
    """Open a build file for reading: attached read-only to a DuckDB in memory, nothing fetched from outside.

    Fetches at the same time have cursors of their own, so threads may share the build.
    """
    return Build(_DuckDB(Path(path)), None)


def open_postgresql(url: str, schema: str) -> Build:
    """Open the build that lies in a schema of a PostgreSQL server."""
    return Build(_PostgreSQL(url, schema))


def open_spark(session: "SparkSession") -> Build:
    """Open the build whose tables are views of a Spark session (Spark Connect or Sail)."""
    return Build(_Spark(session))


def copy_to_spark(path: Path, session: "SparkSession") -> Build:
    """Copy a finished DuckDB build into a Spark session as temporary views, through Arrow, and open it there."""
    source = _DuckDB(path)
    with source.cursor() as cursor:
        for table in STAR.sorted_tables:
            rows = cursor.execute(
                f"SELECT {', '.join(c.name for c in table.columns)} FROM {table.name}"
            ).to_arrow_table()
            _spark_frame(session, rows).createOrReplaceTempView(table.name)
    source.close()
    return open_spark(session)


def _spark_frame(session: "SparkSession", rows: pa.Table) -> Any:
    if rows.num_rows:
        return session.createDataFrame(rows)
    nothing = pa.table(
        {f.name: pa.nulls(1, f.type) for f in rows.schema}, schema=rows.schema
    )  # an empty table has no schema to infer
    return session.createDataFrame(nothing).limit(0)
