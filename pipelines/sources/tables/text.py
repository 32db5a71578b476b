"""Text with separators: layout, encoding, rows with their true lines."""

import codecs
import csv
import gzip
import itertools
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import duckdb

from pipelines.errors import SourceError
from pipelines.sources.base import Lines
from pipelines.sources.looks import check_memory, chunks, is_wide, shown, start_of
from pipelines.sources.tables.parts import (
    HEAD_ROWS,
    LONGEST_LINE,
    SEPARATORS,
    OptionError,
    Part,
    deleted,
    header_of,
    headings_of,
    keep_rows,
    opened,
    repeated_of,
    short_lines,
)
from pipelines.warehouse.sql import in_order, quote, read_sql, staging_of

NATIVE_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "latin-1": "latin-1",
    "iso-8859-1": "latin-1",
    "utf-16": "utf-16",
}
END = "\x02 end of file \x02"


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


def stage_text(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]) -> list[Part]:
    """Stage the rows of a text with separators."""
    layout = layout_of(file, read)
    options: dict[str, Any] = {"separator": layout.separator, "quotes": layout.quotes, "has_header": False}
    count = len(layout.headings)
    if layout.encoding in NATIVE_ENCODINGS:
        staged = stage_csv(connection, stage, file, count, encoding=NATIVE_ENCODINGS[layout.encoding], **options)
    else:
        with tempfile.TemporaryDirectory(dir=staging_of(connection)) as folder:  # the copy lives as long as the staging
            staged = stage_csv(connection, stage, in_utf8(file, layout.encoding, Path(folder)), count, **options)
    columns = {h: f"c{i}" for i, h in enumerate(layout.headings)}
    # lines before the header are staged too: the header is where its cells are, for DuckDB leaves empty lines out
    cells = ", ".join(columns.values())
    first = connection.execute(f"SELECT {cells} FROM {stage} ORDER BY rowid LIMIT {layout.skip + 1}").fetchall()
    at = next((i for i, row in enumerate(first) if headings_of(row) == layout.headings), len(first) - 1)
    staged.lines["preamble"] += deleted(connection, stage, f"rowid < {at}")
    where = f"rowid <= {at}"
    if first:  # files put one after the other repeat their header
        cells_again = zip(columns.values(), first[at], strict=True)
        where += " OR (" + " AND ".join(f"{c} = {quote(cell)}" for c, cell in cells_again if cell is not None) + ")"
    staged.lines["header"] += deleted(connection, stage, where)
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


def in_utf8(file: Path, encoding: str, folder: Path) -> Path:
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
        check_memory(file, error)
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
    keep_rows(connection, stage, [""] * (count + 2), rows)
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
    """Read the header of a CSV file: its first line that is not empty; of one that cannot be unpacked, nothing."""
    records = _numbered(file, ",", '"', "utf-8", "replace")
    try:
        return next((cells for _, _, cells in records if any(c.strip() for c in cells)), [])
    except (gzip.BadGzipFile, EOFError, zlib.error):  # who reads its rows says what it is
        return []
