"""Reading files into tables of text: CSV, spreadsheets, JSON, Parquet and the rows of queries.

Each file becomes a Part: a staged table and the SQL behind each of its headings. The parts of one table become one
relation with the columns c0, c1, ...: a heading never becomes an SQL name, so that any heading will do. Only columns
that were asked for are kept. What a column means, and how its numbers and dates are written, is said in `mapping`.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from pipelines.sources.looks import reading, shown
from pipelines.sources.tables.objects import stage_objects
from pipelines.sources.tables.parquet import parquet_columns, stage_parquet
from pipelines.sources.tables.parts import (
    COPY,
    DOCUMENT,
    JSON,
    KINDS,
    PARQUET,
    SPREADSHEET,
    OptionError,
    Part,
    deleted,
    format_of,
    kind_of,
    opened,
    plain,
)
from pipelines.sources.tables.text import stage_text
from pipelines.sources.tables.workbook import stage_spreadsheet
from pipelines.warehouse.sql import connect, in_order, quote


@dataclass
class Table:
    """The parts of one table: columns are asked for, then `build` makes the relation `name` that holds them.

    Beside c0, c1, ... it has _file, _line (the row in the file, from 1) and _broken (why a row is no row, or NULL).
    """

    connection: duckdb.DuckDBPyConnection
    name: str
    parts: list[Part]
    read: Mapping[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def headings(self) -> list[str]:
        """Every heading of any part, once."""
        return list({plain(h): h for part in reversed(self.parts) for h in reversed(part.columns)}.values())[::-1]

    @property
    def is_text(self) -> bool:
        """Whether numbers are written by people, not typed by a program."""
        return any(part.is_text for part in self.parts)

    def column(self, heading: str) -> str | None:
        """Give the column of a heading, kept from now on; None where no part has it."""
        key = plain(heading)
        if key not in self.columns:
            for part in self.parts:
                if key in part.repeated:
                    placed = [f"`{h[:60]}`" for h in part.columns if plain(h).rpartition(" ")[0] == key]
                    raise OptionError(
                        "file",
                        f"`{heading[:60]}` stands twice or more in the header of {shown(part.file)}: nobody can tell"
                        f" which is meant. Name it by its place, {' or '.join(placed[:4])}, or name one differently.",
                    )
            found = [part.find(heading) for part in self.parts]  # every part learns the heading
            if not any(found) and not all(part.is_void for part in self.parts):
                return None
            self.columns[key] = f"c{len(self.columns)}"
        return self.columns[key]

    def content(self) -> list[str]:
        """Give columns that hold all of a row, to tell rows apart."""
        if any(part.objects for part in self.parts):
            return [self.columns.setdefault("", f"c{len(self.columns)}")]  # no heading is empty: the rows' own text
        return [c for h in self.headings if (c := self.column(h))]

    def copies(self, *, are_all_told_apart: bool) -> list[str]:
        """Give the column that numbers the copies of a document with a list in it, delivered more than once.

        With `are_all_told_apart` it numbers all documents. None for other rows.
        """
        if any(part.objects and len(part.objects.levels) > 1 for part in self.parts):
            return [self.columns.setdefault(DOCUMENT if are_all_told_apart else COPY, f"c{len(self.columns)}")]
        return []

    def build(self) -> None:
        """Make the relation of the columns asked for."""
        none = "".join(f"NULL::VARCHAR AS {c}, " for c in self.columns.values())
        none = f"SELECT {none}NULL::VARCHAR AS _file, NULL::BIGINT AS _line, NULL::VARCHAR AS _broken WHERE false"
        rows = " UNION ALL ".join(self._rows(part) for part in self.parts) or none
        is_costly = self.read.get("fill_down") or any(part.objects for part in self.parts)
        kind = "TABLE" if is_costly else "VIEW"
        in_order(self.connection, [f"CREATE TEMP {kind} {self.name} AS {rows}"])

    def _rows(self, part: Part) -> str:
        columns = []
        fill = self.read.get("fill_down")
        fill = {"by": fill} if isinstance(fill, str) else fill
        chosen = {plain(str(c)) for c in fill["columns"]} if fill and "columns" in fill else None
        by = part.find(str(fill["by"])) if fill and "by" in fill else None
        for heading, column in self.columns.items():
            if heading in (COPY, DOCUMENT):
                number = "1" if not part.objects else "document" if heading == DOCUMENT else part.objects.copy()
                columns.append(f"{number} AS {column}")
                continue
            value = part.objects.text() if part.objects and not heading else part.find(heading) if heading else None
            value = value or "NULL::VARCHAR"
            if fill and (chosen is None or heading in chosen) and value != by:
                filled = f"nullif(trim({value}), '')"
                if by is not None:
                    value = (
                        f"coalesce({filled}, CASE WHEN trim({by}) <> '' THEN first_value({value}) OVER (PARTITION BY"
                        f" trim({by}) ORDER BY {part.line}) END)"
                    )
                elif "by" not in fill:
                    value = f"last_value({filled} IGNORE NULLS) OVER (ORDER BY {part.line})"
            columns.append(f"{value} AS {column}")
        picked = "".join(f"{c}, " for c in columns)
        return (
            f"SELECT {picked}{quote(part.file)} AS _file, ({part.line})::BIGINT AS _line, {part.broken} AS _broken FROM"
            f" {part.sql}"
        )


def stage(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]) -> list[Part]:
    """Stage one file: one part, or one for each sheet that `sheet:` matches.

    Raises OptionError where `read` does not fit the file, SourceError where the file cannot be read.
    """
    with reading(file):
        return _staged(connection, stage, file, read)


def _staged(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]) -> list[Part]:
    kind = format_of(file)
    if kind == SPREADSHEET:
        parts = stage_spreadsheet(connection, stage, file, read)
    elif kind == JSON:
        parts = [stage_objects(connection, stage, file, read)]
    elif kind == PARQUET:
        parts = [stage_parquet(connection, stage, file, read)]
    else:
        parts = stage_text(connection, stage, file, read)
    for part in parts:
        if part.objects is None:
            _cut(connection, part, read)
    return parts


def _cut(connection: duckdb.DuckDBPyConnection, part: Part, read: Mapping[str, Any]) -> None:
    """Drop rows without content, and from the first on that begins as `until:` says."""
    filled = ", ".join(f"nullif(trim({c}), '')" for c in part.columns.values())
    if part.is_text:
        part.lines["blank"] += deleted(connection, part.sql, f"coalesce({filled}) IS NULL")
    until = read.get("until")
    if until is not None:
        words = until if isinstance(until, list) else [until]
        is_end = " OR ".join(f"starts_with(lower(trim(coalesce({filled}))), {quote(str(w).lower())})" for w in words)
        first = f"(SELECT min({part.line}) FROM {part.sql} WHERE {is_end})"
        part.lines["totals"] += deleted(connection, part.sql, f"{part.line} >= {first}")


def layout(file: Path) -> str:
    """Describe a file that a source could not use: empty, or what it holds instead.

    >>> layout(Path("report.pdf"))
    'a .pdf file'
    """
    suffix = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    if not file.exists() or suffix.lower() not in (*KINDS, ".json", ".tsv", ".txt"):
        return f"a {suffix or 'nameless'} file"
    if kind_of(file) == PARQUET:
        with connect(folders=[file.parent]) as connection:
            return f"a table with the columns {_some(parquet_columns(connection, file))}"
    with opened(file) as text:
        start = text.read(200_000)
    if not start.strip():
        return "empty"
    if start.lstrip()[0] in "[{":
        keys = re.findall(r'"([^"]{1,40})"\s*:', start)
        return f"JSON with the keys {_some(keys)}"
    lines = start.splitlines()
    columns = max((next(csv.reader([lines[0]], delimiter=d), []) for d in ",;\t|"), key=len)
    rows = "" if len(lines) > 1 else " and no rows"
    return f"a table with the columns {_some(columns)}{rows}"


def _some(names: list[str]) -> str:
    distinct_names = list(dict.fromkeys(names))
    return ", ".join(distinct_names[:6]) + (", ..." if len(distinct_names) > 6 else "")
