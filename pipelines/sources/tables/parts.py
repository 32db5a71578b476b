"""Parts of a file that are tables: kinds, headings, and rows staged with their lines."""

import csv
import gzip
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import duckdb
import pyarrow as pa

from pipelines.errors import SourceError
from pipelines.sources.base import Lines
from pipelines.sources.looks import CHUNK, check_content, is_packed, is_zip, start_of
from pipelines.warehouse.sql import in_order, quote

CSV, NDJSON, PARQUET, JSON, SPREADSHEET = "csv", "ndjson", "parquet", "json", "spreadsheet"
KINDS = {".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON, ".parquet": PARQUET}
SEPARATORS = (",", ";", "\t", "|")
HEAD_ROWS = 200  # rows looked at for the header
SAMPLE_OBJECTS = 1000  # JSON rows looked at for paths
BATCH_ROWS = 20_000
LONGEST_LINE = 8_388_608  # bytes
LINES = (
    "columns = {'line': 'VARCHAR'}, header = false, auto_detect = false, delim = '\x01', quote = '', escape = '',"
    f" strict_mode = false, max_line_size = {LONGEST_LINE}"
)
LONGEST_OBJECT = 67_108_864  # bytes of one row of a JSON list
INVISIBLE = re.compile("[\ufeff\u200b\u200e\u200f]")
csv.field_size_limit(LONGEST_LINE)
COPY, DOCUMENT = "\0", "\1"  # stand for the number of a document, among its copies and among all; no headings
LIST_HINT = "`{path}` is a list: `read: {{each: {path}}}` makes a row of each of its items, `{path}.0` takes the first."


class OptionError(SourceError):
    """Something said under `read:` does not fit a file; `option` is its word."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


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


def distinct(columns: Iterable[str]) -> list[str]:
    """Make the names of columns distinct: an empty one, and each of those that are called alike, gets its position.

    >>> distinct(["Date", "", "date", "SKU"])
    ['Date 1', 'column 2', 'date 3', 'SKU']
    """
    given = list(columns)
    times = Counter(column.lower() for column in given)
    seen: set[str] = set()
    names = []
    for position, column in enumerate(given, start=1):
        is_alone = column and times[column.lower()] == 1 and column.lower() not in seen
        names.append(column if is_alone else f"{column or 'column'} {position}")
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


def deleted(connection: duckdb.DuckDBPyConnection, table: str, condition: str) -> int:
    """Delete rows of a table; give their number."""
    return int(connection.execute(f"DELETE FROM {table} WHERE {condition}").fetchall()[0][0])


def repeated_of(cells: Iterable[str | None]) -> frozenset[str]:
    """Give the headings that stand more than once in a header, written as headings are compared.

    >>> sorted(repeated_of(["Amount", "SKU", "amount ", None, None]))
    ['amount']
    """
    counted = Counter(plain(c) for c in cells if c and c.strip())
    return frozenset(heading for heading, times in counted.items() if times > 1)


def keep_rows(
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


def pointer(path: Iterable[str]) -> str:
    """Write a path of keys as a JSON pointer (RFC 6901).

    >>> pointer(("a/b", "0"))
    '/a~1b/0'
    """
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


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


def branches_of(read: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Give the lists to unroll as paths of keys; one that leads to another is only the way there."""
    each = read.get("each", [])
    paths = [tuple(str(e).split(".")) for e in (each if isinstance(each, list) else [each])]
    return [p for p in paths if not any(q != p and q[: len(p)] == p for q in paths)]


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
