"""Workbooks: sheets, cells, codes by their number formats."""

import datetime
import fnmatch
import io
import itertools
import math
import re
import warnings
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import SourceError
from pipelines.sources.base import Lines
from pipelines.sources.looks import check_zip, shown
from pipelines.sources.tables.parts import (
    HEAD_ROWS,
    OptionError,
    Part,
    cut,
    header_of,
    headings_of,
    keep_rows,
    repeated_of,
)

MOST_CELLS = 10_000_000  # of a sheet that is taken into memory whole; a larger one is read row by row


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

    Formats are looked at only where a workbook has one of zeros. Such a workbook (.xlsx), and a sheet too large for
    memory, is read row by row.
    """
    if zipfile.is_zipfile(file) and (_has_codes(file) or _cells(file) > MOST_CELLS):
        yield from _slow_rows(file, sheet)
        return
    codes = _codes_of_xls(file, sheet) if not zipfile.is_zipfile(file) else _codes_of_ods(file, sheet)
    with _workbook(file) as book:
        page = book.get_sheet_by_name(sheet)
        first = page.start[1] if page.start else 0  # columns before the first that is filled are not given
        for number, row in enumerate(page.iter_rows()):
            found = codes.get(number, {})
            yield [found.get(column) or text_of(cell) for column, cell in enumerate(row, start=first)]


def text_of(value: Any) -> str | None:
    """Write a cell as text: dates in ISO, whole numbers without a decimal point.

    >>> text_of(12.0), text_of(datetime.datetime(2026, 3, 1, 10)), text_of("")
    ('12', '2026-03-01 10:00:00', None)
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
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


Codes = dict[int, dict[int, str]]  # row, column, the number as its format shows it


def _codes_of_xls(file: Path, sheet: str) -> Codes:
    """Find the numbers of a sheet (.xls) that a format of zeros shows as codes; none where formats cannot be read."""
    import xlrd

    found: Codes = {}
    try:
        with xlrd.open_workbook(
            file, formatting_info=True, on_demand=True, ignore_workbook_corruption=True, logfile=io.StringIO()
        ) as book:
            formats = {n: f.format_str for n, f in book.format_map.items() if code(1, f.format_str or "") is not None}
            rows = book.sheet_by_name(sheet).get_rows() if formats else ()
            for row, cells in enumerate(rows):
                for column, cell in enumerate(cells):
                    shown_by = formats.get(book.xf_list[cell.xf_index].format_key)
                    if cell.ctype == xlrd.XL_CELL_NUMBER and shown_by and (written := code(cell.value, shown_by)):
                        found.setdefault(row, {})[column] = written
    except Exception:  # what it raises for odd files is not documented; the cells themselves are read by another
        return {}
    return found


OFFICE, STYLE, TABLE, NUMBER, TEXT = (
    "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}",
    "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}",
    "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}",
    "{urn:oasis:names:tc:opendocument:xmlns:datastyle:1.0}",
    "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}",
)


def _codes_of_ods(file: Path, sheet: str) -> Codes:
    """Find the numbers of a sheet (.ods) that a format of zeros shows as codes, as the file itself shows them."""
    if not _has_code_styles(file):
        return {}
    of_zeros: set[str] = set()  # number formats
    styles: dict[str, str] = {}  # cell style: its number format
    by_column: list[str] = []
    found: Codes = {}
    row = column = 0
    is_sheet = False
    for event, node in _nodes(file):
        if event == "end" and node.tag == f"{NUMBER}number-style":
            digits = [n for n in node.iter(f"{NUMBER}number") if n.get(f"{NUMBER}decimal-places", "0") == "0"]
            if any(int(n.get(f"{NUMBER}min-integer-digits", "0")) > 1 for n in digits):
                of_zeros.add(node.get(f"{STYLE}name", ""))
        elif event == "end" and node.tag == f"{STYLE}style":
            styles[node.get(f"{STYLE}name", "")] = node.get(f"{STYLE}data-style-name", "")
        elif event == "start" and node.tag == f"{TABLE}table":
            is_sheet, row, by_column = node.get(f"{TABLE}name") == sheet and bool(of_zeros), 0, []
        elif is_sheet and event == "start" and node.tag == f"{TABLE}table-column":
            times = min(int(node.get(f"{TABLE}number-columns-repeated", "1")), 1 << 14)
            by_column += [node.get(f"{TABLE}default-cell-style-name", "")] * times
        elif is_sheet and event == "end" and node.tag == f"{TABLE}table-row":
            codes: dict[int, str] = {}
            column = 0
            for cell in node:
                times = int(cell.get(f"{TABLE}number-columns-repeated", "1"))
                usual = node.get(f"{TABLE}default-cell-style-name") or "".join(by_column[column : column + 1])
                written = _code_of(cell, styles.get(cell.get(f"{TABLE}style-name") or usual, "") in of_zeros)
                codes |= dict.fromkeys(range(column, column + times), written) if written else {}
                column += times
            times = int(node.get(f"{TABLE}number-rows-repeated", "1"))
            found |= dict.fromkeys(range(row, row + times), codes) if codes else {}
            row += times
            node.clear()
    return found


def _has_code_styles(file: Path) -> bool:
    """Tell whether a document (.ods) declares a number format of zeros: it does so before its sheets."""
    with zipfile.ZipFile(file) as packed:
        for part in {"styles.xml", "content.xml"} & set(packed.namelist()):
            with packed.open(part) as content:
                if re.search(rb'min-integer-digits="(?:[2-9]|\d\d)', content.read(1 << 22)):
                    return True
    return False


def _code_of(cell: Any, is_of_zeros: bool) -> str:
    """Give what a cell shows, when it is a whole number that a format of zeros shows; else nothing."""
    value = cell.get(f"{OFFICE}value", "")
    if not is_of_zeros or not re.fullmatch(r"\d+(\.0+)?", value):
        return ""
    return "".join("".join(p.itertext()) for p in cell.iter(f"{TEXT}p"))


def _nodes(file: Path) -> Iterator[tuple[str, Any]]:
    """Give the beginnings and ends of the nodes of a document (.ods), styles first."""
    from xml.etree import ElementTree

    with zipfile.ZipFile(file) as packed:
        for part in ("styles.xml", "content.xml"):
            if part not in packed.namelist():
                continue
            with packed.open(part) as content:
                try:
                    yield from ElementTree.iterparse(content, ("start", "end"))
                except ElementTree.ParseError as error:
                    raise SourceError(
                        f"{shown(file)} cannot be read. Open it, save it as .xlsx and load that."
                    ) from error


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


def stage_spreadsheet(
    connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]
) -> list[Part]:
    """Stage the rows of a workbook's sheets."""
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
        kept = keep_rows(connection, table, headings, filled)
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
