"""Samples: how a file is written, where its header stands, and some of its rows as text.

What stands under `read` is what a mapping's `read:` must say so that the loader reads the table alike. What the columns
mean is judged in `propose`.
"""

import csv
import gzip
import io
import itertools
import json
import mmap
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import SourceError
from pipelines.sources.headings import is_heading, is_total
from pipelines.sources.looks import shown
from pipelines.sources.tables.objects import pieces
from pipelines.sources.tables.parts import JSON, PARQUET, SEPARATORS, SPREADSHEET, distinct, format_of, opened
from pipelines.sources.tables.text import encoding_of
from pipelines.sources.tables.workbook import sheet_names, sheet_rows, text_of
from pipelines.warehouse.sql import connect, read_sql

SAMPLE_ROWS = 2000
HEAD_BYTES, PART_BYTES, PARTS = 1 << 20, 1 << 17, 8  # of a long text file: its beginning and parts of the rest
WHOLE_BYTES = 16 << 20  # of a JSON document that is taken into memory whole
HEADER_ROWS = 60  # rows looked at for the header
MARK = r"(?:[€£$¥]|[A-Z]{3})"


@dataclass(frozen=True)
class Sample:
    """One table of a file.

    Its sheet, how it is read, its header and some rows as text, and the lines before the header.
    """

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
    if not file.stat().st_size:
        raise SourceError(f"{shown(file)} is empty. Give a file with a header and rows.")
    kind = format_of(file)
    tables = {SPREADSHEET: _workbook, JSON: _json, PARQUET: _parquet}.get(kind, _text)(file)
    tables = [t for t in tables if t.header]
    if not tables:
        raise SourceError(f"{shown(file)} is empty. Give a file with a header and rows.")
    return tables


def _header_place(grid: list[list[str]]) -> int:
    """Find the row that is the header.

    Most known headings, else the first that is as wide as most rows and holds no value.
    """
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
    """Give the header's place, the header, the rows below and the text above.

    And the beginning of the totals' row, if any.
    """
    place = _header_place(grid)
    header = [c.strip() for c in grid[place]] if grid else []
    while header and not header[-1] and not any(len(r) >= len(header) and r[len(header) - 1].strip() for r in grid):
        header.pop()
    body = [row for row in grid[place + 1 :] if any(c.strip() for c in row)]
    until = ""
    sums = [is_total(_first(row)) and _filled(row) <= max(2, 0.8 * len(header)) for row in body]
    at = next((number for number, is_sum in enumerate(sums) if is_sum), len(body))
    rows_after = [row for row, is_sum in zip(body[at:], sums[at:], strict=True) if not is_sum]
    if any(_filled(row) > len(header) / 2 for row in rows_after):  # sums between rows, which the loader puts aside
        body = [row for row, is_sum in zip(body, sums, strict=True) if not is_sum]
    elif len(body) - 5 <= at < len(body):
        until, body = _first(body[at]), body[:at]
    above = "\n".join(" ".join(c for c in row if c.strip()) for row in grid[:place])
    return place, distinct(header), body, above, until


def _filled(row: list[str]) -> int:
    return sum(bool(c.strip()) for c in row)


def _first(row: list[str]) -> str:
    return next(c.strip() for c in row if c.strip())


def _padded(row: list[str], width: int) -> list[str]:
    return (row + [""] * width)[:width]


def _workbook(file: Path) -> list[Sample]:
    tables = []
    for sheet in sheet_names(file):
        grid = [[c or "" for c in row] for row in itertools.islice(sheet_rows(file, sheet), SAMPLE_ROWS)]
        if not any(c.strip() for row in grid for c in row):
            continue
        place, header, body, above, until = _cut(grid)
        read: dict[str, Any] = {"sheet": sheet}
        if above:
            read["header_row"] = place + 1
        if until:
            read["until"] = until
        rows = [_padded(r, len(header)) for r in body]
        tables.append(Sample(file, sheet, read | _numbers(rows), header, rows, above))
    return tables


def _parquet(file: Path) -> list[Sample]:
    with connect(folders=[file.parent]) as connection:
        try:
            sample = connection.execute(
                f"SELECT * FROM {read_sql('parquet', file)} USING SAMPLE {SAMPLE_ROWS} ROWS (reservoir, 1)"
            )
        except duckdb.Error as error:
            raise SourceError(f"{shown(file)} cannot be read as Parquet. Export it again.") from error
        header = [d[0] for d in sample.description or []]
        rows = sample.fetchall()
    if any(isinstance(v, dict | list) for row in rows for v in row):
        return _lists_too(file, {}, [dict(zip(header, row, strict=True)) for row in rows])
    return [Sample(file, "", {}, header, [[text_of(v) or "" for v in row] for row in rows])]


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
    encoding = encoding_of(file, {})
    if encoding == "utf-8":
        try:
            start.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(start) - 4:  # not merely cut within a letter
                return "cp1252"
    return encoding


def _text(file: Path) -> list[Sample]:
    try:
        start, parts = _bytes(file)
    except (OSError, EOFError) as error:
        raise SourceError(f"{shown(file)} cannot be read. Export it again.") from error
    encoding = _encoding(file, start)
    text = start.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    if "\0" in text:
        raise SourceError(f"{shown(file)} is not a table. Export it as CSV again.")
    hint = re.match(r'"?sep=(.)"?[ \t]*\r?\n', text, re.IGNORECASE)
    text = text[hint.end() :] if hint else text
    lines = text[: 1 << 16]
    mark = "'" if re.match(r"\s*'[^']*'[,;\t|]'", lines) else '"'
    separator = hint.group(1) if hint else max(SEPARATORS, key=lambda s: _fit(_grid(lines, s, mark)))
    grid = _grid(text, separator, mark)
    for part in parts if encoding != "utf-16" else ():
        grid += _grid(part.decode(encoding, errors="replace"), separator, mark)
    place, header, body, above, until = _cut(grid)
    rows = [row for row in body if len(row) == len(header)]
    if len(rows) < len(body) / 2:  # rows end early or late as a rule: what stands there still tells of the columns
        rows = [_padded(row, len(header)) for row in body if len(row) > 1]
    rows = rows[:: max(1, len(rows) // SAMPLE_ROWS)][:SAMPLE_ROWS]
    read: dict[str, Any] = {}
    if separator != "," and not hint:
        read["separator"] = "tab" if separator == "\t" else separator
    if mark != '"':
        read["quote"] = mark
    if encoding not in ("utf-8", "utf-16"):
        read["encoding"] = encoding
    if above:
        read["header_row"] = place + (2 if hint else 1)
    if until:
        read["until"] = until
    return [Sample(file, "", read | _numbers(rows), header, rows, above)]


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
    elif (
        some(r"[1-9]\d{0,2}(?:\.\d{3})+")
        and some(r"\d{1,2}\.\d{1,2}\.\d{4}")
        and not some(r"0\.\d+|\d+\.(?:\d{1,2}|\d{4,})")
    ):  # every point is followed by three digits, where days are written with points: 1.234 is 1234
        read |= {"decimal": ",", "thousands": "."}
    elif some(r"\d{1,3}(?:,\d{3})+\.\d{1,4}"):
        read["thousands"] = ","
    return read


def _json(file: Path) -> list[Sample]:
    path, records = _records_of(file)
    return _lists_too(file, {"path": path} if path else {}, records)


def _lists_too(file: Path, read: dict[str, Any], records: list[dict[str, Any]]) -> list[Sample]:
    """Sample records, and each list of objects within them."""
    if not records:
        return []
    tables = [_flattened(file, read, records)]
    for each in _lists(records):
        listed = [r for record in records for r in _unrolled(record, each.split("."), record)]
        tables.append(_flattened(file, read | {"each": each}, listed[:SAMPLE_ROWS]))
    return tables


def _records_of(file: Path) -> tuple[str, list[dict[str, Any]]]:
    """Give the path to the rows of a JSON file and the first of them.

    '' where they stand by themselves, `.` for a document that is one.
    """
    with opened(file) as text:
        start = text.read(HEAD_BYTES).lstrip()
    first, _, rest = start.partition("\n")
    is_lines = file.name.removesuffix(".gz").lower().endswith((".ndjson", ".jsonl")) or rest.lstrip().startswith("{")
    if is_lines and (records := _parsed([first, *rest.splitlines()])):
        return "", records[:SAMPLE_ROWS]
    if file.suffix == ".gz" or file.stat().st_size <= WHOLE_BYTES:
        with opened(file) as text:
            return _rows_of(file, text.read())
    lists: dict[tuple[str, ...], list[str]] = {}
    with file.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            for path, begin, end in pieces(content):
                lists.setdefault(path or (), []).append(content[begin:end].decode("utf-8", errors="replace"))
                if len(lists[path or ()]) >= SAMPLE_ROWS:
                    break
        except (EOFError, ValueError) as error:
            raise SourceError(f"{shown(file)} breaks off or is not JSON. Export it again.") from error
    longest = max(lists, key=lambda path: len(lists[path]), default=())
    return ".".join(longest), _parsed(lists.get(longest, []))


def _rows_of(file: Path, text: str) -> tuple[str, list[dict[str, Any]]]:
    try:
        whole = json.loads(text)
    except ValueError as error:
        if records := _parsed(text.splitlines()[:SAMPLE_ROWS]):
            return "", records
        raise SourceError(f"{shown(file)} breaks off or is not JSON. Export it again.") from error
    if isinstance(whole, list):
        return "", [r for r in whole if isinstance(r, dict)][:SAMPLE_ROWS]
    paths = sorted(_paths(whole), key=lambda found: (found[0].count("."), -len(found[1])))
    if not paths or _is_record(whole):
        return ".", [whole] if isinstance(whole, dict) else []
    return paths[0][0], [r for r in paths[0][1] if isinstance(r, dict)][:SAMPLE_ROWS]


def _parsed(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Read objects written one a line; what is none is left out."""
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
            flat[path] = text_of(value) or ""
        elif not any(isinstance(v, dict) for v in value):
            flat[path] = " ".join(text_of(v) or "" for v in value)
    return flat


def _flattened(file: Path, read: dict[str, Any], records: list[dict[str, Any]]) -> Sample:
    flat = [_flat(r) for r in records]
    header = list(dict.fromkeys(k for r in flat for k in r))
    rows = [[r.get(k, "") for k in header] for r in flat]
    return Sample(file, "", read | _numbers(rows), header, rows, is_document=True)
