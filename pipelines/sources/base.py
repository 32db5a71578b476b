"""What a source is: the shape every parser answers in, and the few SQL helpers they share.

A source names columns and types them loosely; it judges nothing and keeps nothing personal but what the log will hash.
Which sources exist is in `pipelines.sources`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol

import duckdb


@dataclass(frozen=True)
class Export:
    """What a file is: rows added to earlier ones, or the whole state of its rows, of a span of days where one is given.

    `since` and `until` are the first and the last day of the span in the source's time zone, both included; None is no
    bound.
    """

    is_whole: bool = False
    since: date | None = None
    until: date | None = None


class Lines(Counter[str]):
    """The lines of a file by what they are.

    `lines` are all, `within` those that go on inside a cell, the others are no rows. What is not header, blank,
    preamble, totals or within is a row.
    """


@dataclass(frozen=True)
class NamedRows:
    """The rows a source gives for one log.

    `sql` is a SELECT for the connection that `name_rows` was given, good until the next is asked for. Its columns
    are canonical columns of the log `thing` (a subset), text or typed, beside `_file` (the file's name), `_line` (the
    row in the file, from 1), where a row may be broken, `_broken` (why, or NULL), and of return events, where a column
    of the file holds the units, `_empty_units` (true for an empty cell: it counts as one, and is said). Rows of a
    derived log were already read under another one and are not counted again. `blank_sql` is a SELECT of the log's key,
    `_recorded` (when the row was recorded, or NULL), _file and _line: the events and refunds that rows of the files
    could hold and do not, for their date is blank or the row is of nothing returned. An id may also be stated by
    another row. `may_repeat`: one file holds a thing as it was at several times, the later one further down. `lines`
    counts, by file, the lines of the files that were read for it first.
    """

    thing: str
    sql: str
    is_derived: bool = False
    ignored_columns: tuple[str, ...] = ()
    blank_sql: str | None = None
    may_repeat: bool = False
    lines: Mapping[str, Lines] = field(default_factory=dict)


class Source(Protocol):
    """A parser: knows its files and gives their rows log by log."""

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def version(self) -> str:
        """Version of the parser: files are taken in again when it changes."""

    @property
    def expects(self) -> str:
        """What files it reads, in words: said where it found nothing to read."""

    def recognises(self, files: list[Path]) -> bool:
        """Tell from names and columns whether these files are this source's."""

    def name_rows(
        self, connection: duckdb.DuckDBPyConnection, files: list[Path], namespace: str
    ) -> Iterable[NamedRows]:
        """Give the rows of the files, one NamedRows a log."""
