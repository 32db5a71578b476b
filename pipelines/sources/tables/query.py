"""Asking another database: the rows of one table or SELECT, read in batches into a Parquet file of texts.

What was read before is told by a mark: the greatest value of a cursor column, and keyed digests of the rows that were
read at it (and within the overlap before it), so that a row that comes later with an equal value is read and one that
was read is not. Where the mark is kept is none of this module's business.
"""

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources.tables.parts import BATCH_ROWS, OptionError

if TYPE_CHECKING:
    import sqlalchemy

READ_ONLY = {  # databases a mapping may ask, each with what makes its session read one state and write nothing
    "postgresql": ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"),
    "oracle": ("SET TRANSACTION READ ONLY",),
    "sqlite": ("PRAGMA query_only = ON", "BEGIN"),
    "mssql": (),  # it knows no such statement: nothing but a SELECT within a SELECT is sent to it
}
MOST_SEEN = 100_000
"""Rows at a mark whose digests are kept; where more share it, they come again and count as duplicates."""
DIGEST = 16  # bytes


@dataclass
class Mark:
    """How far a query was read: the greatest value of its cursor, and digests of the rows within reach of it."""

    value: Any = None
    seen: set[bytes] = field(default_factory=set)

    def text(self) -> str | None:
        """Write the value with its kind; None where no row had one.

        >>> Mark(datetime(2026, 3, 1, 10)).text()
        '["datetime", "2026-03-01T10:00:00"]'
        """
        if self.value is None:
            return None
        kind = _kind(self.value)
        written = self.value.isoformat() if kind in ("datetime", "date") else self.value
        written = self.value.hex() if kind == "bytes" else str(written)
        return json.dumps([kind, written])

    @classmethod
    def read(cls, text: str | None, seen: bytes | None) -> "Mark":
        """Read a mark back from what was kept of it."""
        digests = {(seen or b"")[i : i + DIGEST] for i in range(0, len(seen or b""), DIGEST)}
        if text is None:
            return cls(None, digests)
        kind, value = json.loads(text)
        return cls(_KINDS[kind](value), digests)

    def seen_bytes(self) -> bytes:
        """Write the digests; none where there are more than are kept."""
        return b"".join(sorted(self.seen)) if len(self.seen) <= MOST_SEEN else b""


_KINDS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "bytes": bytes.fromhex,
    "str": str,
}


def _kind(value: Any) -> str:
    kinds = {bool: "", int: "int", float: "float", Decimal: "decimal", datetime: "datetime", date: "date", str: "str"}
    kinds |= {bytes: "bytes"}
    kind = kinds.get(type(value), "")
    if not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise OptionError("cursor", f"a cursor is a time, a number or a text; a {type(value).__name__} is none.")
    return kind


def text_of(value: Any) -> str | None:
    """Write a value of a database as text, exactly: times in ISO, lists and objects as JSON, nothing for ''.

    >>> text_of(Decimal("1E+2")), text_of(12.0), text_of(datetime(2026, 3, 1, 10, 0, 0, 5)), text_of("")
    ('100', '12', '2026-03-01 10:00:00.000005', None)
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value) if not isinstance(value, time) else value.isoformat()


@contextlib.contextmanager
def reading(url: str) -> Iterator["sqlalchemy.Connection"]:
    """Give a connection to a database, in a transaction that cannot write and is not committed.

    Raises OptionError of `url` for a database that is not in `READ_ONLY` (an engine that reads and writes files would
    give a mapping the machine), for one whose driver is not installed, and for one that cannot be reached.
    """
    import sqlalchemy

    try:
        address = sqlalchemy.make_url(url)
        kind = address.get_backend_name()
        if kind not in READ_ONLY:
            raise OptionError("url", f"a {kind} database cannot be asked. These can: {', '.join(READ_ONLY)}.")
        path = address.database or ""
        if kind == "sqlite" and not (path.startswith("file:") or Path(path).is_file()):
            raise OptionError("url", "the address names no SQLite file that is there.")
        engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    except ModuleNotFoundError as error:
        raise OptionError("url", f"the driver {error.name} is not installed: pip install {error.name}") from error
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise OptionError("url", "the address cannot be read. It is such as postgresql+psycopg://user@host/db.") from (
            error
        )
    try:
        with _said(), engine.connect() as reader:
            for statement in READ_ONLY[kind]:
                reader.exec_driver_sql(statement)
            yield reader
            reader.rollback()
    finally:
        engine.dispose()


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """Turn what a database refuses into an OptionError of the query, without its address."""
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        cause = (str(getattr(error, "orig", None) or error).splitlines() or [""])[0]
        raise OptionError("query", f"the query failed: {cause[:200]}") from error


def checked(select: str, kind: str) -> str:
    """Give the one SELECT that a query is. Raises OptionError of `query` for anything else."""
    statement = select.strip().rstrip(";").strip()
    bare = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`", "''", statement)
    begins = r"(?i)select\b" if kind == "mssql" else r"(?i)(select|with)\b"
    if ";" in bare or not re.match(begins, bare) or re.search(r"(?i)\binto\b", bare):
        raise OptionError("query", "a query is one SELECT, into nothing.")
    return statement


class Rows:
    """The rows of one table or SELECT, as a reader sees them."""

    def __init__(self, reader: "sqlalchemy.Connection", table: str | None, select: str) -> None:
        import sqlalchemy

        self.reader = reader
        if table is not None:
            schema, _, name = table.rpartition(".")
            source: Any = sqlalchemy.table(name, schema=schema or None)
        else:
            statement = checked(select, reader.dialect.name)
            escaped = re.sub(r"(?<!:):(?=\w)", r"\\:", statement)  # a colon of the query is no parameter of ours
            source = sqlalchemy.text(escaped).columns().subquery("asked")
        with _said():
            everything = sqlalchemy.select(sqlalchemy.text("*")).select_from(source).where(sqlalchemy.text("1 = 0"))
            with reader.execute(everything) as nothing:
                self.columns = list(nothing.keys())
        self._source = source

    def stream(
        self, columns: Sequence[str], cursor: str | None, since: Any
    ) -> Iterator[Sequence["sqlalchemy.Row[Any]"]]:
        """Give the rows of columns in batches, those from a value of the cursor on, and those without one."""
        import sqlalchemy

        picked: list[sqlalchemy.ColumnClause[Any]] = [sqlalchemy.column(name) for name in columns]
        statement = sqlalchemy.select(*picked).select_from(self._source)
        if cursor is not None and since is not None:
            place: sqlalchemy.ColumnClause[Any] = sqlalchemy.column(cursor)
            statement = statement.where(sqlalchemy.or_(place >= since, place.is_(None)))
        with _said():
            options = {"stream_results": True, "max_row_buffer": BATCH_ROWS}
            with self.reader.execute(statement, execution_options=options) as result:
                yield from result.partitions(BATCH_ROWS)


def read(
    rows: Rows, columns: Sequence[str], target: Path, *, cursor: str | None, overlap: float, after: Mark, key: bytes
) -> tuple[int, Mark]:
    """Write the rows after a mark as texts into a Parquet file; give their number and the mark reached.

    `columns` are those that are kept; the cursor's is read beside them. Memory is that of a batch and of the rows
    within reach of the mark. Raises OptionError of `cursor` where its values cannot be put in order.
    """
    asked = [*columns, *([cursor] if cursor and cursor not in columns else [])]
    at = asked.index(cursor) if cursor else None
    reached = Mark(after.value)
    within: dict[bytes, Any] = {}
    schema = pa.schema([(name, pa.string()) for name in columns])
    taken = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in rows.stream(asked, cursor, _less(after.value, overlap)):
            kept: list[list[str | None]] = []
            for row in batch:
                texts = [text_of(value) for value in row]
                if at is not None and _is_known(row[at], texts, after, reached, within, overlap, key):
                    continue
                kept.append(texts)
            if kept:
                arrays = [pa.array([row[i] for row in kept], pa.string()) for i in range(len(columns))]
                writer.write_table(pa.table(arrays, schema=schema))
                taken += len(kept)
            floor = _less(reached.value, overlap)
            within = {d: v for d, v in within.items() if v is None or floor is None or v >= floor}
    reached.seen = set(within)
    return taken, reached


def _is_known(
    value: Any,
    texts: list[str | None],
    after: Mark,
    reached: Mark,
    within: dict[bytes, Any],
    overlap: float,
    key: bytes,
) -> bool:
    """Say whether a row was read before; move the mark on to it, and remember the row where it is within reach."""
    try:
        if value is not None and (reached.value is None or value > reached.value):
            _kind(value)
            reached.value = value
        was_reached = value is None or (after.value is not None and value <= after.value)
        if not was_reached and value < _less(reached.value, overlap):
            return False  # after the last mark and far behind this one: no reading comes to it again
    except TypeError as error:
        raise OptionError("cursor", "the cursor holds values of several kinds, which have no order.") from error
    digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=DIGEST, key=key[:64]).digest()
    within[digest] = value
    return digest in after.seen


def _less(value: Any, overlap: float) -> Any:
    """Give what lies an overlap before a value. Raises OptionError of `overlap` for a text."""
    if value is None or not overlap:
        return value
    if isinstance(value, datetime | date):
        return value - timedelta(seconds=overlap)
    if isinstance(value, int):
        return value - math.ceil(overlap)
    if isinstance(value, float):
        return value - overlap
    if isinstance(value, Decimal):
        return value - Decimal(str(overlap))
    raise OptionError("overlap", "an overlap needs a cursor of times or numbers; this one holds texts.")
