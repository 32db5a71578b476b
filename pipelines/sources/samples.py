"""Samples: how a file is written, where its header stands, and some of its rows as text.

What stands under `read` is what a mapping's `read:` must say so that the loader reads the table alike. What the columns mean is
judged in `propose`.
"""

import csv
import gzip
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import SourceError
from pipelines.sources.base import quote
from pipelines.sources.headings import is_heading, is_total
from pipelines.sources.tables import CSV, NDJSON, PARQUET, distinct, kind_of

SAMPLE_ROWS = 2000
HEAD_BYTES, PART_BYTES, PARTS = 1 << 20, 1 << 17, 8  # of a long text file: its beginning and parts of the rest
MOST_JSON_BYTES = 256 << 20
HEADER_ROWS = 60  # rows looked at for the header
SEPARATORS = (",", ";", "\t", "|")
EXCEL = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
TEXT = (".txt", ".tsv", ".tab")
JSON = ".json"
NUMBER = r"-?\d{1,3}(?:[{thousands}]?\d{{3}})*{decimal}\d{{1,4}}"
MARK = r"(?:[€£$¥]|[A-Z]{3})"


@dataclass(frozen=True)
class Sample:
    """One table of a file: its sheet, how it is read, its header and some rows as text, and the lines before the header."""

    file: Path
    sheet: str
    read: dict[str, Any]
    header: list[str]
    rows: list[list[str]]
    preamble: str = ""
    is_document: bool = False


def samples(file: Path) -> list[Sample]:
    """Sample every table of a file: the sheets of a workbook, the lists of a JSON document, else one.

    Raises SourceError for a file that cannot be read or holds no table.
    """
    suffix = (file.with_suffix("") if file.suffix == ".gz" else file).suffix.lower()
    kind = kind_of(file)
    if suffix in EXCEL:
        tables = _excel(file)
    elif suffix == JSON or kind == NDJSON:
        tables = _json(file, is_lines=kind == NDJSON)
    elif kind == PARQUET:
        tables = [_parquet(file)]
    elif kind == CSV or suffix in TEXT:
        tables = [_text(file)]
    else:
        raise SourceError(f"{file.name}: give a CSV, Excel (.xlsx, .xls, .ods), Parquet, NDJSON or JSON file.")
    tables = [t for t in tables if t.header]
    if not tables:
        raise SourceError(f"{file.name} is empty. Give a file with a header and rows.")
    return tables


def text_of(value: Any) -> str:
    """Write a cell as text: dates in ISO, whole numbers without a decimal point, nothing as ''."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


# -- where the header stands -----------------------------------------------------------------------------------------


def _header_place(grid: list[list[str]]) -> int:
    """Find the row that is the header: most known headings, else the first that is as wide as most rows and holds no value."""
    filled = [sum(bool(c.strip()) for c in row) for row in grid]
    if not filled:
        return 0
    known = [sum(is_heading(c) for c in row) for row in grid[:HEADER_ROWS]]
    if max(known) >= 2:
        return known.index(max(known))
    usual = Counter(f for f in filled if f > 1).most_common(1)
    width = usual[0][0] if usual else max(filled)
    for place, row in enumerate(grid[:HEADER_ROWS]):
        if filled[place] >= width * 0.8 and not any(re.fullmatch(r"[\d.,\s:/+-]*\d[\d.,\s:/+-]*", c) for c in row):
            return place
    return next((place for place, count in enumerate(filled) if count), 0)


def _cut(grid: list[list[str]]) -> tuple[int, list[str], list[list[str]], str, str]:
    """Give the header's place, the header, the rows below, the text above and the beginning of the totals' row, if any."""
    place = _header_place(grid)
    header = [c.strip() for c in grid[place]] if grid else []
    while header and not header[-1] and not any(len(r) >= len(header) and r[len(header) - 1].strip() for r in grid):
        header.pop()
    body = [row for row in grid[place + 1 :] if any(c.strip() for c in row)]
    until = ""
    for number, row in enumerate(body):
        first = next(c.strip() for c in row if c.strip())
        is_partial = sum(bool(c.strip()) for c in row) <= max(2, 0.8 * len(header))
        if is_total(first) and is_partial and number >= len(body) - 5:
            until = first
            body = body[:number]
            break
    above = "\n".join(" ".join(c for c in row if c.strip()) for row in grid[:place])
    return place, distinct(header), body, above, until


def _padded(row: list[str], width: int) -> list[str]:
    return (row + [""] * width)[:width]


# -- workbooks, Parquet ----------------------------------------------------------------------------------------------


def _excel(file: Path) -> list[Sample]:
    from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum

    try:
        book = CalamineWorkbook.from_path(str(file))
        sheets = [s.name for s in book.sheets_metadata if s.typ == SheetTypeEnum.WorkSheet]
        grids = {
            s: [
                [text_of(v or None if isinstance(v, str) else v) for v in row]
                for row in itertools.islice(book.get_sheet_by_name(s).iter_rows(), SAMPLE_ROWS)
            ]
            for s in sheets
        }
    except CalamineError as error:
        raise SourceError(
            f"{file.name} is no workbook that can be read. Save it again from the spreadsheet."
        ) from error
    tables = []
    for sheet, grid in grids.items():
        if not any(c.strip() for row in grid for c in row):
            continue
        place, header, body, above, until = _cut(grid)
        read: dict[str, Any] = {"sheet": sheet}
        if place:
            read["header_row"] = place + 1
        if until:
            read["until"] = until
        rows = [_padded(r, len(header)) for r in body]
        tables.append(Sample(file, sheet, read | _numbers(rows), header, rows, above))
    return tables


def _parquet(file: Path) -> Sample:
    with duckdb.connect() as connection:
        try:
            sample = connection.execute(
                f"SELECT * FROM read_parquet({quote(file)}) USING SAMPLE {SAMPLE_ROWS} ROWS (reservoir, 1)"
            )
        except duckdb.Error as error:
            raise SourceError(f"{file.name} cannot be read as Parquet. Export it again.") from error
        header = [d[0] for d in sample.description or []]
        return Sample(file, "", {}, header, [[text_of(v) for v in row] for row in sample.fetchall()])


# -- text ------------------------------------------------------------------------------------------------------------


def _bytes(file: Path) -> tuple[bytes, list[bytes]]:
    """Give the beginning of a file and, where it is long, whole lines from the rest."""
    if file.suffix == ".gz":
        with gzip.open(file, "rb") as packed:
            return packed.read(HEAD_BYTES), []
    size = file.stat().st_size
    with file.open("rb") as content:
        start, parts = content.read(HEAD_BYTES), []
        for number in range(1, PARTS + 1) if size > HEAD_BYTES + PART_BYTES else ():
            content.seek(HEAD_BYTES + (size - HEAD_BYTES - PART_BYTES) * number // PARTS)
            part = content.read(PART_BYTES)
            parts.append(part[part.find(b"\n") + 1 : part.rfind(b"\n") + 1])
    return (start[: start.rfind(b"\n") + 1] if parts and b"\n" in start else start), parts


def _encoding(file: Path, start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in start:
        raise SourceError(f"{file.name} is not a text file. Export it as CSV again.")
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # not merely cut in a letter
            return "cp1252"
    return "utf-8"


def _text(file: Path) -> Sample:
    try:
        start, parts = _bytes(file)
    except (OSError, EOFError) as error:
        raise SourceError(f"{file.name} cannot be read. Export it again.") from error
    encoding = _encoding(file, start)
    text = start.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    hint = re.match(r'"?sep=(.)"?[ \t]*\r?\n', text, re.IGNORECASE)
    if hint:
        text = text[hint.end() :]
    lines = text[: 1 << 16]
    mark = "'" if re.match(r"\s*'[^']*'[,;\t|]'", lines) else '"'
    separator = hint.group(1) if hint else max(SEPARATORS, key=lambda s: _fit(_grid(lines, s, mark)))
    grid = _grid(text, separator, mark)
    for part in parts if encoding != "utf-16" else ():
        grid += _grid(part.decode("utf-8" if encoding == "utf-8" else encoding, errors="replace"), separator, mark)
    place, header, body, above, until = _cut(grid)
    rows = [row for row in body if len(row) == len(header)]
    if len(rows) < len(body) / 2:  # rows end early or late as a rule: what stands there still tells of the columns
        rows = [_padded(row, len(header)) for row in body if len(row) > 1]
    step = max(1, len(rows) // SAMPLE_ROWS)
    rows = rows[:: step if len(rows) > SAMPLE_ROWS else 1][:SAMPLE_ROWS] if len(rows) > SAMPLE_ROWS else rows
    read: dict[str, Any] = {}
    if separator != "," and not hint:
        read["separator"] = "tab" if separator == "\t" else separator
    if mark != '"':
        read["quote"] = mark
    if encoding != "utf-8":
        read["encoding"] = encoding
    if place:
        read["header_row"] = place + 1
    if until:
        read["until"] = until
    return Sample(file, "", read | _numbers(rows), header, rows, above)


def _grid(text: str, separator: str, mark: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, quotechar=mark))
    except csv.Error:
        return []


def _fit(grid: list[list[str]]) -> tuple[int, float]:
    """Tell how well a separator cuts a text: known headings, then the share of rows of one width, wide ones first."""
    widths = [len(row) for row in grid if row]
    if not widths or max(widths) < 2:
        return (0, 0.0)
    known = max(sum(is_heading(c) for c in row) for row in grid[:HEADER_ROWS])
    width, rows = Counter(w for w in widths if w > 1).most_common(1)[0]
    return (known, rows / len(widths) * width)


def _numbers(rows: list[list[str]]) -> dict[str, str]:
    """Say how numbers are written, where they are not written as 1234.5."""
    values = [v.strip() for row in rows for v in row if v.strip()]

    def some(pattern: str) -> bool:
        whole = re.compile(rf"(?:{MARK} ?)?-?(?:{MARK} ?)?{pattern}(?: ?{MARK})?")
        return any(whole.fullmatch(v) for v in values)

    read: dict[str, str] = {}
    if some(r"\d{1,3}(?:['’]\d{3})+(?:[.,]\d{1,4})?"):
        read["thousands"] = "'" if some(r"\d{1,3}(?:'\d{3})+(?:[.,]\d{1,4})?") else "’"
    if some(r"\d{1,3}(?:[ \u00a0\u202f.]\d{3})+,\d{1,4}") or (
        some(r"\d+,\d{1,2}") and not some(r"\d{1,3}(?:,\d{3})*\.\d{1,4}")
    ):
        read["decimal"] = ","
        if some(r"\d{1,3}(?:\.\d{3})+,\d{1,4}"):
            read["thousands"] = "."
    elif some(r"\d{1,3}(?:,\d{3})+\.\d{1,4}"):
        read["thousands"] = ","
    return read


# -- JSON ------------------------------------------------------------------------------------------------------------


def _json(file: Path, *, is_lines: bool) -> list[Sample]:
    document, path = _document(file, is_lines=is_lines)
    records = [r for r in itertools.islice(document, SAMPLE_ROWS) if isinstance(r, dict)]
    if not records:
        return []
    read = {"path": path} if path else {}
    tables = [_records(file, read, records)]
    for each in _lists(records):
        listed = [r for record in records for r in _unrolled(record, each.split("."), record)]
        tables.append(_records(file, read | {"each": each}, listed[:SAMPLE_ROWS]))
    return tables


def _document(file: Path, *, is_lines: bool) -> tuple[Iterable[Any], str]:
    """Give the records of a JSON file and the path of their list in it ('' where the document is the list)."""
    if file.stat().st_size > MOST_JSON_BYTES and not is_lines:
        raise SourceError(f"{file.name} is too long for one JSON document. Export it as NDJSON (one object a line).")
    opener: Callable[..., Any] = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8-sig", errors="replace") as content:
        if is_lines:
            return _lines(itertools.islice(content, SAMPLE_ROWS)), ""
        text = content.read()
    try:
        whole = json.loads(text)
    except ValueError as error:
        records = _lines(text.splitlines()[:SAMPLE_ROWS])
        if records:
            return records, ""
        raise SourceError(f"{file.name} is not JSON. Export it again.") from error
    if isinstance(whole, list):
        return whole, ""
    paths = sorted(_paths(whole), key=lambda found: (found[0].count("."), -len(found[1])))
    return (paths[0][1], paths[0][0]) if paths and not _is_record(whole) else ([whole], "")


def _lines(lines: Iterable[str]) -> list[Any]:
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return [r for r in records if isinstance(r, dict)]


def _is_record(document: Any) -> bool:
    """Tell a record (an order with its lines) from an envelope (a page of orders)."""
    return (
        isinstance(document, dict)
        and sum(is_heading(k) for k, v in document.items() if not isinstance(v, (dict, list))) >= 3
    )


def _paths(document: Any, at: str = "") -> Iterable[tuple[str, list[Any]]]:
    """Give every list of objects that stands in objects, with its path."""
    for key, value in document.items() if isinstance(document, dict) else ():
        path = f"{at}.{key}" if at else key
        if isinstance(value, list) and any(isinstance(v, dict) for v in value):
            yield path, value
        elif isinstance(value, dict):
            yield from _paths(value, path)


def _lists(records: list[dict[str, Any]]) -> list[str]:
    """List the paths of lists of objects within records: those that say how many or which goods first."""
    counts: Counter[str] = Counter()
    goods: Counter[str] = Counter()
    for record in records:
        for path, values in _nested(record):
            rows = [v for v in values if isinstance(v, dict)]
            counts[path] += len(rows)
            words = {k.lower() for v in rows for k in _flat(v)}
            goods[path] += any(re.search(r"sku|quantity|qty|product|variant|item|ean", w) for w in words)
    return sorted((p for p in counts if counts[p]), key=lambda p: (not goods[p], p.count("."), -counts[p]))


def _nested(record: Any, at: str = "") -> Iterable[tuple[str, list[Any]]]:
    for path, values in _paths(record, at):
        yield path, values
        for value in values:
            yield from _nested(value, path)


def _unrolled(record: Any, path: list[str], row: dict[str, Any], at: str = "") -> Iterable[dict[str, Any]]:
    """Give one row for each element of a list, with what stands around it under its own path."""
    if not path:
        yield row
        return
    here = f"{at}.{path[0]}" if at else path[0]
    value = record.get(path[0]) if isinstance(record, dict) else None
    if isinstance(value, list):
        for element in value:
            yield from _unrolled(element, path[1:], _put(row, here.split("."), element), here)
    elif isinstance(value, dict):
        yield from _unrolled(value, path[1:], row, here)


def _put(row: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    inner = row.get(path[0])
    return {
        **row,
        path[0]: value if len(path) == 1 else _put(inner if isinstance(inner, dict) else {}, path[1:], value),
    }


def _flat(record: Any, at: str = "") -> dict[str, str]:
    """Give the values of a record by dotted path; lists of objects are left out, other lists are written as text."""
    flat: dict[str, str] = {}
    for key, value in record.items() if isinstance(record, dict) else ():
        path = f"{at}.{key}" if at else key
        if isinstance(value, dict):
            flat |= _flat(value, path)
        elif not isinstance(value, list):
            flat[path] = text_of(value)
        elif not any(isinstance(v, dict) for v in value):
            flat[path] = " ".join(text_of(v) for v in value)
    return flat


def _records(file: Path, read: dict[str, Any], records: list[dict[str, Any]]) -> Sample:
    flat = [_flat(r) for r in records]
    header = list(dict.fromkeys(k for r in flat for k in r))
    rows = [[r.get(k, "") for k in header] for r in flat]
    return Sample(file, "", read | _numbers(rows), header, rows, is_document=True)
