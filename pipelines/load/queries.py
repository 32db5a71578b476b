"""What a load asks of a database: the rows of each query become a file that lands like any other.

How far each query was read stands in the state, written with the load that it landed in. A load goes on from the latest
one that still stands, and so do all those that one went on from: a load that was put aside or taken back is read again.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipelines.errors import SourceError
from pipelines.load import files as files_load
from pipelines.settings import Settings
from pipelines.sources.mapping import Mapping
from pipelines.sources.mapping_query import Query, wrong_of
from pipelines.sources.tables import query as query_tables
from pipelines.sources.tables.parts import OptionError, plain
from pipelines.warehouse import keys, state, state_tables
from pipelines.warehouse.sql import connect

STANDING = ("landed", "logged", "published")


@dataclass(frozen=True)
class Answer:
    """The rows that one query gave: their file, its digest, when they were asked for, and the row of the mark."""

    file: Path
    digest: files_load.Digest
    asked_at: datetime
    mark: dict[str, Any]


@contextlib.contextmanager
def asked(settings: Settings, state_file: state.State, origin: Mapping, namespace: str) -> Iterator[list[Answer]]:
    """Ask the queries of a mapping; give those that have something new, in files that are gone afterwards.

    A whole export reads everything, whatever was read before, and gives all where one has changed. Raises MappingError
    with the line of the mapping for a database that cannot be asked.
    """
    folder = settings.raw / ".asked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    is_whole = origin.export.is_whole
    try:
        answers: list[tuple[Answer, bool]] = []
        with contextlib.ExitStack() as stack:
            readers: dict[str, Any] = {}
            for query in origin.queries.values():
                with _told(origin, query):
                    if query.url not in readers:
                        readers[query.url] = stack.enter_context(query_tables.reading(_address(query)))
                    answers += _answer(settings, state_file, origin, namespace, query, readers[query.url], is_whole)
        is_new = any(fresh for _, fresh in answers)
        yield [answer for answer, fresh in answers if fresh or (is_whole and is_new)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _told(origin: Mapping, query: Query) -> Iterator[None]:
    try:
        yield
    except OptionError as error:
        raise wrong_of(origin, query, error.option, str(error)) from error


def _address(query: Query) -> str:
    if query.url not in os.environ:
        raise OptionError("url", f"the environment variable {query.url} is not set. Set it to the database's address.")
    return os.environ[query.url]


def _answer(
    settings: Settings,
    state_file: state.State,
    origin: Mapping,
    namespace: str,
    query: Query,
    reader: Any,
    is_whole: bool,
) -> list[tuple[Answer, bool]]:
    """Read one query; give its rows and whether they are new. Without new rows after a mark, none."""
    name = f"{origin.asked_digest}/{query.number}"
    after, mark, digest = _standing(state_file, origin, namespace, name)
    if is_whole:
        after, mark = None, query_tables.Mark()
    asked_at = state.now()
    rows = query_tables.Rows(reader, query.table, query.select)
    cursor = next((c for c in rows.columns if query.cursor and plain(c) == plain(query.cursor)), None)
    if query.cursor and cursor is None:
        raise OptionError(
            "cursor", f"there is no column {query.cursor[:60]}. Columns: {', '.join(rows.columns)[:300]}."
        )
    target = settings.raw / ".asked" / query.file
    taken, reached = query_tables.read(
        rows,
        _columns_read(origin, query, rows.columns, target),
        target,
        cursor=cursor,
        overlap=query.overlap,
        after=mark,
        key=keys.read(settings, state_file),
    )
    if cursor and not taken and after is not None:
        return []
    row = {
        "query": name,
        "after_load_id": after if cursor else None,
        "value": reached.text(),
        "seen": reached.seen_bytes(),
        "sha256": (given := files_load.digest(target))[0],
    }
    return [(Answer(target, given, asked_at, row), bool(cursor and not is_whole) or given[0] != digest)]


def _standing(
    state_file: state.State, origin: Mapping, namespace: str, name: str
) -> tuple[str | None, query_tables.Mark, str | None]:
    """Give the load to go on from, its mark and the digest of what it read; none where everything is to be read."""
    marks, load = state_tables.load_mark, state_tables.load
    statement = (
        select(marks.c.load_id, marks.c.after_load_id, load.c.status)
        .join(load, load.c.load_id == marks.c.load_id)
        .where(marks.c.query == name, load.c.source == origin.name, load.c.namespace == namespace)
        .order_by(marks.c.load_id)
    )
    standing: set[str] = set()
    latest = None
    for row in state_file.rows(statement):
        is_joined = row["after_load_id"] is None or row["after_load_id"] in standing
        if row["status"] in STANDING and is_joined:
            standing.add(latest := row["load_id"])
    if latest is None:
        return None, query_tables.Mark(), None
    (last,) = state_file.rows(select(marks).where(marks.c.query == name, marks.c.load_id == latest))
    return latest, query_tables.Mark.read(last["value"], last["seen"]), last["sha256"]


def _columns_read(origin: Mapping, query: Query, columns: list[str], target: Path) -> list[str]:
    """List the columns that the mapping names: no other leaves the database.

    Found by mapping a file without rows, so that a column that is not there is told before anything is read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not columns:
        raise OptionError("query", "the query gives no columns.")
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in columns}), target)
    origin.reads.clear()
    with connect(folders=[target.parent]) as connection:
        for _ in origin.name_rows(connection, [target], origin.name):
            pass
    named = origin.reads.get(target.name, {})
    if not named:
        raise SourceError(f"{origin.name}: the mapping names no column of {query.table or 'its query'}.")
    return [column for column in columns if plain(column) in named]
