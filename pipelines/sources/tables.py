"""Reading files into tables of text: CSV, spreadsheets, JSON, Parquet and the rows of queries.

Each file becomes a Part: a staged table and the SQL behind each of its headings. The parts of one table become one
relation with the columns c0, c1, ...: a heading never becomes an SQL name, so that any heading will do. Only columns
that were asked for are kept. What a column means, and how its numbers and dates are written, is said in `mapping`.
"""

import codecs
import csv
import datetime
import fnmatch
import gzip
import io
import itertools
import json
import mmap
import re
import shutil
import tempfile
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import duckdb
import pyarrow as pa

from pipelines.errors import SourceError
from pipelines.sources.base import Lines, in_order, name, quote, read_sql
from pipelines.sources.looks import (
    CHUNK,
    check_content,
    check_zip,
    chunks,
    is_packed,
    is_wide,
    is_zip,
    reading,
    shown,
    start_of,
)
from pipelines.sql import connect, staging_of

CSV, NDJSON, PARQUET, JSON, SPREADSHEET = "csv", "ndjson", "parquet", "json", "spreadsheet"
KINDS = {".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON, ".parquet": PARQUET}
SEPARATORS = (",", ";", "\t", "|")
NATIVE_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "latin-1": "latin-1",
    "iso-8859-1": "latin-1",
    "utf-16": "utf-16",
}
HEAD_ROWS = 200  # rows looked at for the header
SAMPLE_OBJECTS = 1000  # JSON rows looked at for paths
BATCH_ROWS = 20_000
END = "\x02 end of file \x02"
LONGEST_LINE = 8_388_608  # bytes
LINES = (
    "columns = {'line': 'VARCHAR'}, header = false, auto_detect = false, delim = '\x01', quote = '', escape = '',"
    f" strict_mode = false, max_line_size = {LONGEST_LINE}"
)
LONGEST_OBJECT = 67_108_864  # bytes of one row of a JSON list
MOST_CELLS = 10_000_000  # of a sheet that is taken into memory whole; a larger one is read row by row
INVISIBLE = re.compile("[\ufeff\u200b\u200e\u200f]")
csv.field_size_limit(LONGEST_LINE)
COPY = "\0"  # stands for the number of a document among its copies; no heading is it
LIST_HINT = "`{path}` is a list: `read: {{each: {path}}}` makes a row of each of its items, `{path}.0` takes the first."


class OptionError(SourceError):
    """Something said under `read:` does not fit a file; `option` is its word."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


# -- what a file is ----------------------------------------------------------------------------------------------------


def kind_of(file: Path) -> str | None:
    """Tell a file's format from its ending; `.gz` may follow it.

    >>> kind_of(Path("order_line.2025-01.csv.gz"))
    'csv'
    """
    path = file.with_suffix("") if file.suffix == ".gz" else file
    return KINDS.get(path.suffix.lower())


def format_of(file: Path) -> str:
    """Tell a file's format from its content, and from its ending where texts are concerned.

    Raises SourceError for what is no table: a web page, a picture, a packed folder.
    """
    check_content(file)
    start = start_of(file)
    ending = (file.with_suffix("") if is_packed(file) else file).suffix.lower()
    if start.startswith(b"PAR1"):
        return PARQUET
    if is_zip(start) or start.startswith(b"\xd0\xcf\x11\xe0"):
        return SPREADSHEET
    if ending in (".json", ".ndjson", ".jsonl"):
        return JSON
    if ending not in (".csv", ".tsv") and re.match(rb'(\xef\xbb\xbf)?\s*(\{\s*"|\[\s*[{\]])', start):
        return JSON
    return CSV


def opened(file: Path, encoding: str = "utf-8-sig", errors: str = "replace") -> TextIO:
    """Open a text file, packed or not, as it is: line ends untouched, broken bytes replaced."""
    if is_packed(file):
        return io.TextIOWrapper(gzip.open(file, "rb"), encoding=encoding, errors=errors, newline="")
    return file.open(encoding=encoding, errors=errors, newline="")


def short_lines(text: TextIO, most: int = CHUNK) -> Iterator[str]:
    """Give the lines of a text; of one without end, parts that fit into memory."""
    return iter(lambda: text.readline(most), "")


# -- headings ----------------------------------------------------------------------------------------------------------


def distinct(columns: Iterable[str]) -> list[str]:
    """Make the names of columns distinct: an empty or repeated one gets its position.

    >>> distinct(["Date", "", "date"])
    ['Date', 'column 2', 'date 3']
    """
    seen: set[str] = set()
    names = []
    for position, column in enumerate(columns, start=1):
        plain = column or "column"
        names.append(plain if column and plain.lower() not in seen else f"{plain} {position}")
        seen.add(names[-1].lower())
    return names


def headings_of(cells: Iterable[str | None]) -> list[str]:
    r"""Give the headings of a header row: blanks and line breaks as one blank, invisible marks dropped, each distinct.

    >>> headings_of(["Order\n date", None, " SKU "])
    ['Order date', 'column 2', 'SKU']
    """
    return distinct(" ".join(INVISIBLE.sub("", c or "").split()) for c in cells) or ["column 1"]


def plain(heading: str) -> str:
    """Write a heading as headings are compared: small letters, single blanks.

    >>> plain("Order  Date ")
    'order date'
    """
    return " ".join(INVISIBLE.sub("", heading).split()).casefold()


def header_of(rows: Sequence[Sequence[str | None]]) -> int:
    """Find the header among the first rows.

    The first that fills nearly as many cells as any, none with a number or a date.

    >>> header_of([["Sales report"], [], ["Order", "SKU", "Qty"], ["A1", "S", "2"]])
    2
    """
    cells = [[c.strip() for c in row if c and c.strip()] for row in rows]
    most = max((len(c) for c in cells), default=0)
    wide = [i for i, c in enumerate(cells) if c and len(c) >= 0.75 * most]
    named = (i for i in wide if not any(re.match(r"[-+(]?[\d.,:/\s-]*\d[\d.,:/\s-]*\)?$", c) for c in cells[i]))
    return next(named, wide[0] if wide else 0)


# -- parts and tables --------------------------------------------------------------------------------------------------


@dataclass
class Part:
    """One file, staged.

    `sql` names its table, `columns` gives the SQL behind each heading, `lines` counts its lines by what they are.
    `repeated` are the headings, plainly written, of which the file has more than one.
    """

    file: str
    sql: str
    columns: dict[str, str]
    line: str = "rowid + 1"
    broken: str = "NULL::VARCHAR"
    is_text: bool = False
    objects: "Objects | None" = None
    lines: Lines = field(default_factory=Lines)
    repeated: frozenset[str] = frozenset()

    @property
    def is_void(self) -> bool:
        """Whether a file of JSON holds no object, so that nobody knows its columns."""
        return self.objects is not None and not self.objects.paths

    def find(self, heading: str) -> str | None:
        """Give the SQL of a column, or None where the file has none of that name."""
        if heading in self.columns:
            return self.columns[heading]
        wanted = plain(heading)
        found = next((sql for h, sql in self.columns.items() if plain(h) == wanted), None)
        if found is None and self.objects is not None:
            found = self.objects.find(heading)
            if found is not None:
                self.columns[heading] = found
        return found


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
                    raise OptionError(
                        "file",
                        f"`{heading[:60]}` stands twice or more in the header of {shown(part.file)}: nobody can tell"
                        " which is meant. Name one of them differently.",
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

    def copies(self) -> list[str]:
        """Give the column that numbers the copies of a document with a list in it, delivered more than once.

        None for other rows.
        """
        if any(part.objects and len(part.objects.levels) > 1 for part in self.parts):
            return [self.columns.setdefault(COPY, f"c{len(self.columns)}")]
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
            if heading == COPY:
                columns.append(f"{part.objects.copy() if part.objects else 1} AS {column}")
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
        parts = _stage_spreadsheet(connection, stage, file, read)
    elif kind == JSON:
        parts = [_stage_objects(connection, stage, file, read)]
    elif kind == PARQUET:
        parts = [_stage_parquet(connection, stage, file, read)]
    else:
        parts = _stage_text(connection, stage, file, read)
    for part in parts:
        if part.objects is None:
            _cut(connection, part, read)
    return parts


def _cut(connection: duckdb.DuckDBPyConnection, part: Part, read: Mapping[str, Any]) -> None:
    """Drop rows without content, and from the first on that begins as `until:` says."""
    filled = ", ".join(f"nullif(trim({c}), '')" for c in part.columns.values())
    if part.is_text:
        part.lines["blank"] += _deleted(connection, part.sql, f"coalesce({filled}) IS NULL")
    until = read.get("until")
    if until is not None:
        words = until if isinstance(until, list) else [until]
        is_end = " OR ".join(f"starts_with(lower(trim(coalesce({filled}))), {quote(str(w).lower())})" for w in words)
        first = f"(SELECT min({part.line}) FROM {part.sql} WHERE {is_end})"
        part.lines["totals"] += _deleted(connection, part.sql, f"{part.line} >= {first}")


def _deleted(connection: duckdb.DuckDBPyConnection, table: str, condition: str) -> int:
    """Delete rows of a table; give their number."""
    return int(connection.execute(f"DELETE FROM {table} WHERE {condition}").fetchall()[0][0])


# -- CSV ---------------------------------------------------------------------------------------------------------------


@dataclass
class Layout:
    """How a text file is written: separator, records before the header, headings."""

    separator: str
    quotes: str
    encoding: str
    skip: int
    headings: list[str]
    rows: list[list[str]]  # the first after the header


def encoding_of(file: Path, read: Mapping[str, Any]) -> str:
    """Give a text file's encoding: what `read` says, else what its byte-order mark says, else UTF-8."""
    if "encoding" in read:
        return str(read["encoding"]).lower()
    start = start_of(file)
    if not is_wide(start):
        return "utf-8"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"


def layout_of(file: Path, read: Mapping[str, Any], limit: int = HEAD_ROWS) -> Layout:
    """Look at the beginning of a text file; what `read` does not say is found.

    The separator is the one that the header has most of. A first line `sep=;` says it, as spreadsheets write it.
    """
    encoding = encoding_of(file, read)
    header = read.get("header_row")
    try:
        text = opened(file, "utf-8-sig" if encoding in ("utf-8", "utf8") else encoding)
    except LookupError as error:
        raise OptionError(
            "encoding", f"there is no encoding `{encoding}`. Common ones: utf-8, latin-1, cp1252, utf-16."
        ) from error
    with text:
        lines = list(itertools.islice(short_lines(text), limit + (header if isinstance(header, int) else 0)))
    hint = re.match(r'\ufeff?"?sep=(.)"?\s*$', lines[0]) if lines else None
    quotes = str(read.get("quote", '"'))
    separator = {"tab": "\t", "\\t": "\t"}.get(str(read.get("separator", "")), str(read.get("separator", "")))
    separators = [separator] if separator else [hint[1]] if hint else list(SEPARATORS)
    layouts = []
    for candidate in separators:
        rows = _records(file, lines, candidate, quotes)
        if isinstance(header, int):
            at = header - 1
        else:
            first = 1 if hint else 0
            filled = (i for i in range(first, len(rows)) if any(c.strip() for c in rows[i]))
            at = header_of(rows[first:]) + first if header == "find" else next(filled, first)
        if hint and at == 0:
            at = 1
        headings = headings_of(rows[at] if at < len(rows) else [])
        layouts.append(Layout(candidate, quotes, encoding, at, headings, rows[at + 1 :]))
    return max(layouts, key=lambda layout: len(layout.headings))


def _records(file: Path, lines: list[str], separator: str, quotes: str) -> list[list[str]]:
    if len(separator) != 1 or len(quotes) > 1:
        return [line.rstrip("\r\n").split(separator) for line in lines]
    try:
        rows = csv.reader(
            lines,
            delimiter=separator,
            quotechar=quotes or None,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        )
        return list(rows)
    except csv.Error as error:
        raise SourceError(
            f"{shown(file)} cannot be read as CSV: {error}, often for want of a closing quote. Correct it and load it"
            " again."
        ) from error


def _stage_text(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]) -> list[Part]:
    layout = layout_of(file, read)
    options: dict[str, Any] = {"separator": layout.separator, "quotes": layout.quotes, "has_header": False}
    count = len(layout.headings)
    if layout.encoding in NATIVE_ENCODINGS:
        staged = stage_csv(connection, stage, file, count, encoding=NATIVE_ENCODINGS[layout.encoding], **options)
    else:
        with tempfile.TemporaryDirectory(dir=staging_of(connection)) as folder:  # the copy lives as long as the staging
            staged = stage_csv(connection, stage, _in_utf8(file, layout.encoding, Path(folder)), count, **options)
    columns = {h: f"c{i}" for i, h in enumerate(layout.headings)}
    # lines before the header are staged too: the header is where its cells are, for DuckDB leaves empty lines out
    cells = ", ".join(columns.values())
    first = connection.execute(f"SELECT {cells} FROM {stage} ORDER BY rowid LIMIT {layout.skip + 1}").fetchall()
    at = next((i for i, row in enumerate(first) if headings_of(row) == layout.headings), len(first) - 1)
    staged.lines["preamble"] += _deleted(connection, stage, f"rowid < {at}")
    where = f"rowid <= {at}"
    if first:  # files put one after the other repeat their header
        cells_again = zip(columns.values(), first[at], strict=True)
        where += " OR (" + " AND ".join(f"{c} = {quote(cell)}" for c, cell in cells_again if cell is not None) + ")"
    staged.lines["header"] += _deleted(connection, stage, where)
    return [
        Part(
            file.name,
            stage,
            columns,
            line=staged.line,
            broken=staged.broken,
            is_text=True,
            lines=staged.lines,
            repeated=repeated_of(first[at]) if first else frozenset(),
        )
    ]


def _in_utf8(file: Path, encoding: str, folder: Path) -> Path:
    """Copy a text file in UTF-8: DuckDB reads few encodings."""
    copy = folder / file.name.removesuffix(".gz")
    with opened(file, encoding) as text, copy.open("w", encoding="utf-8", newline="") as written:
        while chunk := text.read(1 << 20):
            written.write(chunk)
    return copy


@dataclass(frozen=True)
class Staged:
    """A staged text file: the SQL of each row's line and of what breaks it, and its lines by what they are."""

    line: str
    broken: str
    lines: Lines


def stage_csv(
    connection: duckdb.DuckDBPyConnection,
    stage: str,
    file: Path,
    count: int,
    *,
    separator: str = ",",
    quotes: str = '"',
    encoding: str = "utf-8",
    has_header: bool = True,
) -> Staged:
    """Stage a CSV file of `count` columns as the texts c0, c1, ...

    A missing field is NULL (an empty one is ''), one field too many lands in one column more: so both are seen without
    a second pass. Where a row is not a line, for cells hold line ends or lines are empty, the file is read again a row
    at a time, so that each row knows its line. Raises SourceError for a file that breaks off, one with a quote that is
    never closed among them.
    """
    lines = count_lines(file, encoding)
    declared = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(count + 1))
    options = (
        f"columns = {{{declared}}}, header = {str(has_header).lower()}, auto_detect = false, "
        f"delim = {quote(separator)}, quote = {quote(quotes)}, escape = {quote(quotes)}, encoding = {quote(encoding)}, "
        f"null_padding = true, strict_mode = false, nullstr = '\x01', max_line_size = {LONGEST_LINE}"
    )
    broken = (
        f"CASE WHEN c{count - 1} IS NULL THEN 'too few fields' "
        f"WHEN nullif(trim(c{count}), '') IS NOT NULL THEN 'too many fields' END"
    )
    try:
        in_order(connection, [f"CREATE TEMP TABLE {stage} AS FROM {read_sql('csv', file, options)}"])
    except duckdb.Error as error:
        if "parallel=false" not in str(error):  # a line break inside quotes
            raise _unreadable(file, error) from error
    else:
        if (
            connection.execute(f"SELECT count(*) FROM {stage}").fetchall()[0][0] + has_header
            == lines["lines"] - lines["blank"]
        ):
            lines["header"] = int(has_header)
            return Staged(f"rowid + {1 + has_header}", broken, lines)
        connection.execute(f"DROP TABLE {stage}")
    lines["blank"] = 0
    rows = _rows_with_lines(file, count, separator, quotes, encoding, lines, has_header=has_header)
    _keep_rows(connection, stage, [""] * (count + 2), rows)
    return Staged("_line", f"{broken} || coalesce(c{count + 1}, '')", lines)


def _rows_with_lines(
    file: Path, count: int, separator: str, quotes: str, encoding: str, lines: Lines, *, has_header: bool
) -> Iterator[tuple[int, list[str | None]]]:
    """Give (line, cells) of each row of a text file, one cell more than it has columns.

    And the lines it takes if several.
    """
    is_header = has_header
    for first, last, cells in _numbered(file, separator, quotes, encoding):
        if len(cells) < 2 and not "".join(cells).strip():
            lines["blank"] += last - first + 1
            continue
        lines["within"] += last - first
        if is_header:
            lines["header"] += 1
            is_header = False
            continue
        row: list[str | None] = [*cells[:count], *[None] * (count - len(cells))]
        more = next((c for c in cells[count:] if c.strip()), None)
        yield first, [*row, more, f", lines {first} to {last}" if last > first else None]


def _numbered(
    file: Path, separator: str, quotes: str, encoding: str, errors: str = "strict"
) -> Iterator[tuple[int, int, list[str]]]:
    """Give (first line, last line, cells) of each record of a text file."""
    at = number = 1
    try:
        with opened(file, "utf-8-sig" if encoding == "utf-8" else encoding, errors) as text:
            if len(separator) != 1:
                for number, line in enumerate(_whole_lines(file, text), start=1):
                    yield number, number, line.rstrip("\r\n").split(separator)
                return
            reader = csv.reader(
                itertools.chain(
                    _whole_lines(file, text), [END]
                ),  # what comes after the last line is a cell of its own, unless a quote is open
                delimiter=separator,
                quotechar=quotes or None,
                quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            )
            for cells in reader:
                first, at = at, reader.line_num + 1
                if cells == [END]:
                    return
                if cells and cells[-1].endswith(END):
                    raise _unclosed(file, first, at - 2)
                yield first, at - 1, cells
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{shown(file)} is not {encoding.upper()} at line {at} or below. Save the file as UTF-8, or load it with a"
            " mapping that says `encoding:`."
        ) from error
    except csv.Error as error:
        raise _too_long(file, at) from error


def _whole_lines(file: Path, text: TextIO) -> Iterator[str]:
    """Give the lines of a text, none of which is too long: a gigabyte in one is not read to its end."""
    for number, line in enumerate(short_lines(text, LONGEST_LINE + 1), start=1):
        if len(line) > LONGEST_LINE:
            raise _too_long(file, number)
        yield line


def _unclosed(file: Path, first: int, last: int) -> SourceError:
    return SourceError(
        f"{shown(file)} line {first}: a quote opens and is never closed, so lines {first} to {last}, the end, cannot be"
        " told apart. Nothing of it was loaded: close the quote, or export the file again."
    )


def _too_long(file: Path, line: int) -> SourceError:
    return SourceError(
        f"{shown(file)} line {line} is longer than {LONGEST_LINE >> 20} MB, often for want of a closing quote or of"
        " line ends. Correct it and load again."
    )


def count_lines(file: Path, encoding: str = "utf-8") -> Lines:
    """Count the lines of a text file as an editor does, and the blank ones at its end, reading all of it.

    Raises SourceError for one that breaks off, holds zero bytes, or a line of more than LONGEST_LINE.
    """
    lines, open_, was_return, tail = Lines(), 0, False, b""
    decoder = codecs.getincrementaldecoder(encoding)() if encoding.startswith("utf-16") else None
    for chunk in chunks(file):
        if decoder is not None:
            chunk = decoder.decode(chunk).encode("utf-8", "replace")
        if (zero := chunk.find(b"\0")) >= 0:
            line = lines["lines"] + _ends(chunk[:zero]) - (was_return and chunk.startswith(b"\n")) + 1
            raise SourceError(
                f"{shown(file)} line {line} holds zero bytes: the file is damaged. Copy or export it again."
            )
        lines["lines"] += _ends(chunk) - (was_return and chunk.startswith(b"\n"))
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        open_ = len(chunk) - end - 1 if end >= 0 else open_ + len(chunk)
        if open_ > LONGEST_LINE:
            raise _too_long(file, lines["lines"] + 1)
        was_return, tail = chunk.endswith(b"\r"), (tail + chunk)[-256:]
    lines["lines"] += open_ > 0
    lines["blank"] = max(_ends(tail[len(tail.rstrip(b"\r\n")) :]) - 1, 0)
    return lines


def _ends(text: bytes) -> int:
    """Count the ends of lines, of whichever kind."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


def _unreadable(file: Path, error: duckdb.Error) -> SourceError:
    """Say where a file cannot be read, without showing its content."""
    text = str(error)
    line = text.split("CSV Error on Line: ", 1)[1].split("\n", 1)[0].strip() if "CSV Error on Line: " in text else ""
    where = f"{shown(file)} line {line}" if line else shown(file)
    if "utf-8" in text or "unicode" in text.lower():
        return SourceError(
            f"{where} is not UTF-8. Save the file as UTF-8, or load it with a mapping that says `encoding:`."
        )
    if "line size" in text.lower():
        return SourceError(
            f"{where}: a line is longer than {LONGEST_LINE >> 20} MB, often for want of a closing quote. Correct it and"
            " load again."
        )
    return SourceError(f"{where} cannot be read as CSV. Check its quotes and separators and load it again.")


def csv_columns(_: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """Read the header of a CSV file: its first line that is not empty."""
    records = _numbered(file, ",", '"', "utf-8", "replace")
    return next((cells for _, _, cells in records if any(c.strip() for c in cells)), [])


def repeated_of(cells: Iterable[str | None]) -> frozenset[str]:
    """Give the headings that stand more than once in a header, written as headings are compared.

    >>> sorted(repeated_of(["Amount", "SKU", "amount ", None, None]))
    ['amount']
    """
    counted = Counter(plain(c) for c in cells if c and c.strip())
    return frozenset(heading for heading, times in counted.items() if times > 1)


# -- spreadsheets ------------------------------------------------------------------------------------------------------


def sheet_names(file: Path) -> list[str]:
    """List the sheets of a workbook that a person sees, in their order."""
    if zipfile.is_zipfile(file):
        check_zip(file)
    with _workbook(file) as book:
        sheets = [s for s in book.sheets_metadata if str(s.typ).endswith("WorkSheet")]
        visible = [s.name for s in sheets if str(s.visible).endswith("Visible")]
        return visible or [s.name for s in sheets]


def _workbook(file: Path) -> Any:
    import python_calamine

    try:
        with file.open("rb") as content:  # by content: a name that lies does no harm
            return python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content.read()))
    except python_calamine.PasswordError as error:
        raise SourceError(f"{shown(file)} is locked by a password. Save it without one and load it again.") from error
    except python_calamine.CalamineError as error:
        raise SourceError(
            f"{shown(file)} is not a spreadsheet that can be read. Open it, save it as .xlsx and load that."
        ) from error


def sheet_rows(file: Path, sheet: str) -> Iterator[list[str | None]]:
    """Give the rows of a sheet as texts, from its first row on; numbers formatted as codes keep their zeros.

    Formats are looked at only where a workbook (.xlsx) has one of zeros. Such a workbook, and a sheet too large for
    memory, is read row by row.
    """
    if zipfile.is_zipfile(file) and (_has_codes(file) or _cells(file) > MOST_CELLS):
        yield from _slow_rows(file, sheet)
        return
    with _workbook(file) as book:
        for row in book.get_sheet_by_name(sheet).iter_rows():
            yield [text_of(cell) for cell in row]


def text_of(value: Any) -> str | None:
    """Write a cell as text: dates in ISO, whole numbers without a decimal point.

    >>> text_of(12.0), text_of(datetime.datetime(2026, 3, 1, 10)), text_of("")
    ('12', '2026-03-01 10:00:00', None)
    """
    if value is None or value == "":
        return None
    if isinstance(value, datetime.datetime):
        if value.microsecond:  # spreadsheets hold days as numbers: a second is as near as they come
            value = (value + datetime.timedelta(milliseconds=500)).replace(microsecond=0)
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


CODE_FORMAT = re.compile(r'^(?:\[(?P<test><=?)(?P<most>\d+)\])?(?:"[^"]*"|\\.|[-/ ()+0])*$')


def code(value: float, number_format: str) -> str | None:
    """Write a whole number as a format of zeros shows it; None when the format is none of zeros.

    >>> code(7, "00000"), code(123456, '"A-"0000-00'), code(7, "0.00")
    ('00007', 'A-1234-56', None)
    """
    if value != int(value) or value < 0:
        return None
    for section in re.sub(r"\[\$[^\]]*\]", "", number_format).split(";"):
        match = CODE_FORMAT.match(section)
        if match is None or section.count("0") < 2:
            return None
        if match["test"] and not (
            value < float(match["most"]) or (match["test"] == "<=" and value == float(match["most"]))
        ):
            continue
        tokens = re.findall(r'"[^"]*"|\\.|.', section[match.end("most") + 1 if match["most"] else 0 :])
        places = tokens.count("0")
        digits = str(int(value)).zfill(places)
        shown, rest = digits[: len(digits) - places], deque(digits[len(digits) - places :])
        is_first = True
        written = ""
        for sign in tokens:
            if sign == "0":
                written += (shown if is_first else "") + rest.popleft()
                is_first = False
            else:
                written += sign.strip('"') if sign.startswith('"') else sign.removeprefix("\\")
        return written
    return None


def _has_codes(file: Path) -> bool:
    """Tell whether a workbook (.xlsx) has a number format of zeros."""
    with zipfile.ZipFile(file) as packed:
        if "xl/styles.xml" not in packed.namelist():
            return False
        styles = packed.read("xl/styles.xml").decode("utf-8", "replace")
    import html

    formats = (html.unescape(f) for f in re.findall(r'formatCode="([^"]*)"', styles))
    return any(code(1, f) is not None for f in formats)


def _cells(file: Path) -> int:
    """Count the cells of the rectangle that the largest sheet of a workbook (.xlsx) spans."""
    with zipfile.ZipFile(file) as packed:
        names = [n for n in packed.namelist() if n.startswith("xl/worksheets/") and n.endswith(".xml")]
        large = [n for n in names if packed.getinfo(n).file_size > 1 << 20 or len(names) == 1]
        spans = [0]
        for part in large or names:
            rows = columns = 0
            with packed.open(part) as content:
                tail = b""
                while chunk := content.read(1 << 20):
                    for letters, number in re.findall(rb'<c r="([A-Z]+)(\d+)"', tail + chunk):
                        rows = max(rows, int(number))
                        columns = max(columns, sum((c - 64) * 26**i for i, c in enumerate(reversed(letters))))
                    tail = chunk[-30:]
            spans.append(rows * columns)
    return max(spans)


def _slow_rows(file: Path, sheet: str) -> Iterator[list[str | None]]:
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations, which are not read
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises what zipfile and its XML reader raise
        raise SourceError(f"{shown(file)} cannot be read. Open it, save it as .xlsx and load that.") from error
    try:
        page = book[sheet]
        page.reset_dimensions()  # some programs write them wrong
        rows = page.iter_rows()
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                row = next(rows, None)
            if row is None:
                return
            yield [_cell(c) for c in row]
    finally:
        book.close()


def _cell(cell: Any) -> str | None:
    value = cell.value
    if isinstance(value, int | float) and not isinstance(value, bool) and "0" in cell.number_format:
        return code(value, str(cell.number_format)) or text_of(value)
    return text_of(value)


def _stage_spreadsheet(
    connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]
) -> list[Part]:
    sheets = sheet_names(file)
    wanted = str(read["sheet"]) if "sheet" in read else None
    chosen = [s for s in sheets if wanted is None or s == wanted or fnmatch.fnmatch(s.lower(), wanted.lower())]
    chosen = [wanted] if wanted in chosen and wanted is not None else chosen
    if not chosen:
        raise OptionError("sheet", f"{shown(file)} has no sheet `{wanted}`. Its sheets: {cut(sheets)}.")
    parts: list[Part] = []
    for sheet in chosen:
        rows = sheet_rows(file, sheet)
        header = read.get("header_row")
        head = list(itertools.islice(rows, HEAD_ROWS if header == "find" else header or 0))
        above = 0  # rows before those in `head`
        if header is None:
            above, first = next(((n, row) for n, row in enumerate(rows) if any(row)), (0, []))
            head = [first]
        at = header_of(head) if header == "find" else len(head) - 1
        if at < 0 or not any(head[at]):
            continue
        headings = headings_of(head[at])
        named = [i for i, cell in enumerate(head[at]) if cell]
        table = f"{stage}_{len(parts)}"
        lines = Lines(preamble=above + at, header=1)
        numbered = _counted(itertools.chain(head[at + 1 :], rows), above + at + 2, lines)
        filled = ((n, row) for n, row in numbered if any(row[i] for i in named if i < len(row)))
        kept = _keep_rows(connection, table, headings, filled)
        lines["blank"] = lines["lines"] - lines["preamble"] - 1 - kept
        columns = {h: f"c{i}" for i, h in enumerate(headings)}
        parts.append(Part(file.name, table, columns, line="_line", lines=lines, repeated=repeated_of(head[at])))
        if wanted is None:
            break
    return parts


def _counted(rows: Iterable[list[str | None]], start: int, lines: Lines) -> Iterator[tuple[int, list[str | None]]]:
    """Give rows their numbers, and count how many lines there are in the end."""
    number = start - 1
    for number, row in enumerate(rows, start=start):
        yield number, row
    lines["lines"] = number


def _keep_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    headings: Sequence[str],
    rows: Iterable[tuple[int, Sequence[str | None]]],
) -> int:
    """Keep numbered rows of texts as a table, a batch at a time; give their number."""
    width, kept = len(headings), 0
    columns = ", ".join(f"c{i} VARCHAR" for i in range(width))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({columns}, _line BIGINT)")
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        arrays = [pa.array([row[i] if i < len(row) else None for _, row in batch], pa.string()) for i in range(width)]
        numbers = pa.array([number for number, _ in batch], pa.int64())
        names = [*(f"c{i}" for i in range(width)), "_line"]
        connection.register("backhaul_batch", pa.table([*arrays, numbers], names=names))
        in_order(connection, [f"INSERT INTO {table} FROM backhaul_batch"])
        connection.unregister("backhaul_batch")
        kept += len(batch)
    return kept


READ_ONLY = {  # databases a mapping may ask, each with the statement that forbids its transaction to write
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}


def stage_query(connection: duckdb.DuckDBPyConnection, stage: str, url: str, query: str, name_shown: str) -> Part:
    """Stage the rows of one SELECT as texts, read in a transaction that cannot write and is not committed.

    Raises OptionError of `query` when it is anything else or the database refuses it, of `url` for a database that is
    not in `READ_ONLY`: an engine that reads and writes files would give a mapping the machine.
    """
    import sqlalchemy

    statement = query.strip().rstrip(";").strip()
    bare = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`", "''", statement)
    if ";" in bare or not re.match(r"(?i)(select|with)\b", bare) or re.search(r"(?i)\binto\b", bare):
        raise OptionError("query", "a query is one SELECT, into nothing.")
    try:
        address = sqlalchemy.make_url(url)
        kind = address.get_backend_name()
        if kind not in READ_ONLY:
            raise OptionError("url", f"a {kind} database cannot be asked. These can: {', '.join(READ_ONLY)}.")
        engine = sqlalchemy.create_engine(address)
        with engine.connect().execution_options(stream_results=True) as reader:
            reader.exec_driver_sql(READ_ONLY[kind])
            result = reader.execute(sqlalchemy.text(statement))
            headings = headings_of(list(result.keys()))
            _keep_rows(connection, stage, headings, enumerate(([text_of(v) for v in row] for row in result), start=1))
            reader.rollback()
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        cause = str(getattr(error, "orig", error)).splitlines()[0]
        raise OptionError("query", f"the query failed: {cause[:200]}") from error
    return Part(name_shown, stage, {h: f"c{i}" for i, h in enumerate(headings)}, line="_line")


# -- JSON --------------------------------------------------------------------------------------------------------------


def pointer(path: Iterable[str]) -> str:
    """Write a path of keys as a JSON pointer (RFC 6901).

    >>> pointer(("a/b", "0"))
    '/a~1b/0'
    """
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def _within(value: str, path: Sequence[str]) -> str:
    return f"json_extract({value}, {quote(pointer(path))})" if path else value


def _listed(value: str, key: str) -> str:
    """Give the SQL of the list behind a key.

    Its items; what is no list is one item; `*` gives the values of an object.
    """
    inner = value if key in ("", "*") else _within(value, [key])
    whole = f"json_extract({value}, '$.*')" if key == "*" else f"[{inner}]"
    items = (
        f"CASE json_type({inner}) WHEN 'ARRAY' THEN json_extract({inner}, '$[*]') WHEN 'NULL' THEN [] ELSE {whole} END"
    )
    return f"CASE WHEN {inner} IS NULL THEN [] ELSE {items} END"


@dataclass
class Objects:
    """Rows of JSON.

    `levels` names, by the path that leads there, the column that holds a row or an item of its lists.
    """

    connection: duckdb.DuckDBPyConnection
    table: str
    levels: dict[tuple[str, ...], str]
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def look(self) -> None:
        """Learn the paths of the first rows."""
        columns = ", ".join(self.levels.values())
        seen: set[str] = set()
        for row in self.connection.execute(f"SELECT {columns} FROM {self.table} LIMIT {SAMPLE_OBJECTS}").fetchall():
            for prefix, text in zip(self.levels, row, strict=True):
                if text is not None and text not in seen:
                    seen.add(text)
                    self._walk(prefix, json.loads(text))

    def _walk(self, path: tuple[str, ...], value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                self._walk((*path, key), inner)
        elif path:
            written = ".".join(path)
            self.paths.setdefault(written, path)
            if isinstance(value, list) and path not in self.levels:
                self.lists.setdefault(written, path)

    def sql(self, path: tuple[str, ...]) -> str:
        """Give the SQL of the text at a path, in the deepest row or item that the path leads through."""
        prefix = max((p for p in self.levels if path[: len(p)] == p), key=len)
        return f"json_extract_string({self.levels[prefix]}, {quote(pointer(path[len(prefix) :]))})"

    def text(self) -> str:
        """Give the SQL of a row's whole text."""
        return f"concat_ws(' ', {', '.join(self.levels.values())})"

    def copy(self) -> str:
        """Give the SQL of the number of a row's document among those that say the same."""
        return "dense_rank() OVER (PARTITION BY md5(r0) ORDER BY document)"

    def find(self, heading: str) -> str | None:
        """Give the SQL of a path that the first rows did not show: an item of a list, or a key that comes late.

        Raises OptionError for a path through a list that is neither unrolled nor numbered.
        """
        path = tuple(heading.split("."))
        for through in self.lists.values():
            if path[: len(through)] == through and len(path) > len(through):
                if path[len(through)].isdigit():
                    return self.sql(path)
                raise OptionError("each", LIST_HINT.format(path=".".join(through)))
        there = f"SELECT 1 FROM {self.table} WHERE {self.sql(path)} IS NOT NULL LIMIT 1"
        return self.sql(path) if self.connection.execute(there).fetchone() else None


def _branches(read: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Give the lists to unroll as paths of keys; one that leads to another is only the way there."""
    each = read.get("each", [])
    paths = [tuple(str(e).split(".")) for e in (each if isinstance(each, list) else [each])]
    return [p for p in paths if not any(q != p and q[: len(p)] == p for q in paths)]


def _stage_objects(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]) -> Part:
    branches = _branches(read)
    path = [key for key in str(read.get("path", "")).split(".") if key]
    with tempfile.TemporaryDirectory(dir=staging_of(connection)) as folder:
        encoding = encoding_of(file, read)
        if encoding not in ("utf-8", "utf8") or _has_mark(file):
            file = _in_utf8(file, "utf-8-sig" if encoding in ("utf-8", "utf8") else encoding, Path(folder))
        with opened(file) as text:
            start = text.read(1 << 16).lstrip()
        first, _, rest = start.partition("\n")
        ending = (file.with_suffix("") if file.suffix == ".gz" else file).suffix.lower()
        is_lines = ending in (".ndjson", ".jsonl") or (rest.lstrip().startswith("{") and _is_object(first))
        try:
            if first.startswith("[") and not is_lines:
                options = f"format = 'array', maximum_object_size = {LONGEST_OBJECT}"
                documents = f"FROM {read_sql('json_objects', file, options)}"
            else:
                lines, longest = file, LONGEST_LINE
                if not is_lines:
                    lines = Path(folder) / "rows.ndjson"
                    path, longest = _write_rows(file, lines, path if "path" in read else None, branches)
                options = LINES.replace(str(LONGEST_LINE), str(max(longest, LONGEST_LINE)))
                documents = (
                    "FROM (SELECT CASE WHEN json_valid(line) THEN line::JSON END AS json "
                    f"FROM {read_sql('csv', lines, options)} WHERE trim(line) <> '')"
                )
            return _unroll(connection, stage, file, documents, path, branches)
        except duckdb.Error as error:
            at = re.search(r"byte \d+|[Ll]ine:? \d+", str(error))
            raise SourceError(
                f"{shown(file)} cannot be read as JSON{f', {at[0].lower()}' if at else ''}. "
                "Export it again, as a list of objects or one object a line."
            ) from error


def _has_mark(file: Path) -> bool:
    return start_of(file, 3) == b"\xef\xbb\xbf"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}:,]', re.DOTALL)


def pieces(content: mmap.mmap | bytes) -> Iterator[tuple[tuple[str, ...] | None, int, int]]:
    """Find the pieces of a JSON document without taking it into memory: (path, start, end).

    A piece is an item of a list, with the path of keys that leads to the list, or a whole document, with None. Lists in
    lists are parts of their items.
    """
    open_: list[bytes] = []
    keys: list[str] = []
    key, last, outer, start, begin = "", b'""', 0, 0, 0
    listed: tuple[str, ...] = ()
    for token in TOKEN.finditer(content):
        mark, at = token[0][:1], token.start()
        if mark == b'"':
            last = token[0]
        elif mark == b":":
            key = json.loads(last) if not outer else key
        elif mark in b"{[":
            begin = at if not open_ else begin
            open_.append(mark)
            if not outer and mark == b"[":
                outer, listed, start = len(open_), (*keys[1:], key) if keys else (), at + 1
            elif not outer:
                keys.append(key)
        elif mark == b",":
            if outer and len(open_) == outer:
                yield listed, start, at
                start = at + 1
        elif open_:
            if outer and len(open_) == outer:
                if content[start:at].strip():
                    yield listed, start, at
                outer = 0
            elif not outer:
                keys.pop()
            open_.pop()
            if not open_:
                yield None, begin, at + 1
    if open_:
        raise EOFError


def _write_rows(
    file: Path, lines: Path, path: list[str] | None, branches: Sequence[tuple[str, ...]]
) -> tuple[list[str], int]:
    """Write the rows of a JSON document one a line: (what is left of the path to them, the longest of them).

    Without a path they are the items of the document's only list of objects, else the document itself.
    """
    if file.suffix == ".gz":
        with gzip.open(file, "rb") as packed, (lines.parent / "document.json").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        file = lines.parent / "document.json"
    longest = 0
    with (
        file.open("rb") as raw,
        mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content,
        lines.open("wb") as rows,
    ):
        try:
            lists: dict[tuple[str, ...], bool] = {}
            for listed, start, end in pieces(content):
                if listed is None or (path is not None and tuple(path) in lists):
                    break
                lists[listed] = lists.get(listed, False) or content[start : min(end, start + 100)].lstrip()[:1] == b"{"
            wanted = _rows_path(lists, path, branches)
            left = list(path[len(wanted) :]) if path is not None and wanted is not None else path or []
            for listed, start, end in pieces(content):
                if listed == wanted:
                    longest = max(longest, end - start)
                    rows.write(content[start:end].replace(b"\n", b" ").replace(b"\r", b" ").strip() + b"\n")
        except (EOFError, ValueError) as error:
            raise SourceError(f"{shown(file)} breaks off or is not JSON. Export it again.") from error
    return left, longest + 1


def _rows_path(
    lists: Mapping[tuple[str, ...], bool], path: list[str] | None, branches: Sequence[tuple[str, ...]]
) -> tuple[str, ...] | None:
    """Choose the list whose items are the rows; None for the document itself. `lists` says which lists hold objects."""
    if path is not None:
        return next((p for p in lists if p == tuple(path[: len(p)])), None)
    if any(branch == p[: len(branch)] or p == branch[: len(p)] for branch in branches for p in lists):
        return None
    depth = min((len(p) for p, has_objects in lists.items() if has_objects), default=0)
    found = [p for p, has_objects in lists.items() if has_objects and len(p) == depth]
    if len(found) > 1:
        raise OptionError(
            "path",
            f"several lists could be the rows: {cut(['.'.join(p) for p in found])}. Say which with `read: {{path:"
            " ...}`; `path: .` takes the whole document as one row.",
        )
    return found[0] if found else None


def _unroll(
    connection: duckdb.DuckDBPyConnection,
    stage: str,
    file: Path,
    documents: str,
    path: Sequence[str],
    branches: Sequence[tuple[str, ...]],
) -> Part:
    """Stage the rows at a path, and for each the items of its lists: r0 is the row, r1, r2, ...

    the items by their depth. What is no object stays as one row, broken. A row without items gives none.
    """
    rows = f"SELECT json AS r0, json IS NULL AS is_lost {documents}"
    for key in path:
        rows = (
            f"SELECT unnest(CASE WHEN is_lost THEN [NULL::JSON] ELSE {_listed('r0', key)} END) AS r0, is_lost FROM"
            f" ({rows})"
        )
    rows = f"SELECT CASE json_type(r0) WHEN 'OBJECT' THEN r0 END AS r0, row_number() OVER () AS document FROM ({rows})"
    levels: dict[tuple[str, ...], str] = {(): "r0"}
    selects = []
    for branch in branches or [()]:
        select, above = rows, "r0"
        for depth in range(1, len(branch) + 1):
            column = levels.setdefault(branch[:depth], f"r{len(levels)}")
            items = _listed(above, branch[depth - 1])
            select = (
                f"SELECT *, unnest(CASE WHEN r0 IS NULL THEN [NULL::JSON] ELSE {items} END) AS {column} FROM ({select})"
            )
            above = column
        selects.append(select)
    whole = " UNION ALL BY NAME ".join(f"({s})" for s in selects)
    in_order(connection, [f"CREATE TEMP TABLE {stage} AS {whole}"])
    objects = Objects(connection, stage, levels)
    objects.look()
    if not objects.paths:
        _check_paths(connection, documents, path, branches)
    columns = {written: objects.sql(found) for written, found in objects.paths.items()}
    lines = Lines(lines=connection.execute(f"SELECT count(*) FROM {stage}").fetchall()[0][0])
    return Part(
        file.name,
        stage,
        columns,
        broken="CASE WHEN r0 IS NULL THEN 'not a JSON object' END",
        objects=objects,
        lines=lines,
    )


def _check_paths(
    connection: duckdb.DuckDBPyConnection, documents: str, path: Sequence[str], branches: Sequence[tuple[str, ...]]
) -> None:
    """Raise OptionError where no row was found because `path:` or `each:` names a key that no document has."""
    found = connection.execute(f"SELECT json_structure(json) {documents} LIMIT 1").fetchone()
    shape = json.loads(found[0]) if found and found[0] else {}
    for option, keys in (("path", path), *(("each", branch) for branch in branches)):
        for depth, key in enumerate(keys):
            shape = shape[0] if isinstance(shape, list) and shape else shape
            if key == "*" or not isinstance(shape, dict):
                break
            if key not in shape:
                known = [k for k, inner in shape.items() if isinstance(inner, list | dict)]
                if known:
                    raise OptionError(
                        option,
                        f"nothing stands at `{'.'.join(keys[: depth + 1])}`. Lists and objects there: {cut(known)}.",
                    )
                break
            shape = shape[key]


# -- Parquet -----------------------------------------------------------------------------------------------------------


def parquet_columns(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """List the columns of a Parquet file."""
    return list(_parquet_types(connection, file))


def _parquet_types(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, str]:
    try:
        described = connection.execute(f"DESCRIBE FROM {read_sql('parquet', file)}").fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"{shown(file)} is not a Parquet file that can be read: it is damaged or breaks off. Export it again."
        ) from error
    return {row[0]: str(row[1]) for row in described}


def _stage_parquet(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]) -> Part:
    types = _parquet_types(connection, file)
    if any("STRUCT(" in t or t.endswith("]") or t.startswith("MAP(") or t == "JSON" for t in types.values()):
        documents = f"FROM (SELECT to_json(rows) AS json FROM {read_sql('parquet', file)} rows)"
        path = [key for key in str(read.get("path", "")).split(".") if key]
        return _unroll(connection, stage, file, documents, path, _branches(read))
    texts = ", ".join(f"{name(c)}::VARCHAR AS c{i}" for i, c in enumerate(types))
    in_order(connection, [f"CREATE TEMP TABLE {stage} AS SELECT {texts} FROM {read_sql('parquet', file)}"])
    lines = Lines(lines=connection.execute(f"SELECT count(*) FROM {stage}").fetchall()[0][0])
    return Part(file.name, stage, {h: f"c{i}" for i, h in enumerate(headings_of(types))}, lines=lines)


def cut(names: Sequence[str], room: int = 150) -> str:
    """List names in so much room, and say how many more there are.

    >>> cut(["order", "line", "sku"], 12)
    'order, line and 1 more'
    """
    shown: list[str] = []
    for position, one in enumerate(names):
        one = one if len(one) <= 60 else one[:57] + "..."
        if shown and sum(map(len, shown)) + 2 * len(shown) + len(one) > room:
            return f"{', '.join(shown)} and {len(names) - position} more"
        shown.append(one)
    return ", ".join(shown)


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
