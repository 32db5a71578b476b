"""Raw files and values read and written again without a person, each kind of file in its own way."""

import contextlib
import csv
import gzip
import io
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

from pipelines.errors import BackhaulError, SourceError
from pipelines.sources import Source, shopify_files
from pipelines.sources.canonical import Canonical, thing_of
from pipelines.sources.looks import is_packed, is_zip, shown, start_of
from pipelines.sources.mapping import Mapping as MappingSource
from pipelines.sources.online_retail import OnlineRetail
from pipelines.sources.shopify import Shopify
from pipelines.sources.tables import parts, workbook
from pipelines.sources.tables import text as text_tables
from pipelines.warehouse import schema

if TYPE_CHECKING:
    from pipelines.load.erasing import Person


Kinds = frozenset[str]  # log columns that a column of a file fills, as log.column
READ: Kinds = frozenset()  # read, and it fills no column by itself
LARGEST_DOCUMENT = 512 << 20  # bytes of a JSON document that are taken into memory to be written anew
FLOAT = re.compile(r'"\\u0000([^"\\]*)\\u0000"')


class Unwritable(BackhaulError):
    """A file that speaks of the person and cannot be written anew; the words say why."""


@dataclass
class Reads:
    """What a source reads of one file.

    `of` gives the log columns that a heading or path fills, None where nothing reads it; `how` says how the file is
    read.
    """

    of: Callable[[tuple[str, ...]], Kinds | None]
    how: Mapping[str, Any] = field(default_factory=dict)


def reads_of(
    origin: Source,
    files: Sequence[Path],
    namespace: str,
    connected: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> dict[Path, Reads]:
    """Say what a source reads of each of a load's files."""
    if isinstance(origin, MappingSource):
        origin.reads.clear()
        with contextlib.suppress(BackhaulError, duckdb.Error), connected() as connection:
            for _ in origin.name_rows(connection, list(files), namespace):
                pass
        return {file: _of_mapping(origin, file) for file in files}
    found: dict[Path, Reads] = {}
    for file in files:
        if isinstance(origin, Canonical):
            found[file] = Reads(_of_table(thing_of(file)), {"separator": ","})
        elif isinstance(origin, OnlineRetail):
            found[file] = Reads(_of_online_retail, {"separator": ","})
        elif isinstance(origin, Shopify):
            found[file] = Reads(_of_shopify)
        else:
            found[file] = Reads(lambda _: None)
    return found


def _of_table(thing: str) -> Callable[[tuple[str, ...]], Kinds | None]:
    columns = set(schema.LOG.tables[thing].columns.keys()) if thing in schema.LOG.tables else set()

    def of(path: tuple[str, ...]) -> Kinds | None:
        column = path[0].strip().lower()
        return frozenset({f"{thing}.{column}"}) if column in columns else None

    return of


_ONLINE_RETAIL = {
    "invoiceno": "order_line.order_id",
    "customerid": "order_line.customer_id",
    **dict.fromkeys(("stockcode", "description", "quantity", "invoicedate", "unitprice", "country"), ""),
}


def _of_online_retail(path: tuple[str, ...]) -> Kinds | None:
    filled = _ONLINE_RETAIL.get(path[0].strip().lower())
    return None if filled is None else frozenset({filled} - {""})


def _of_shopify(path: tuple[str, ...]) -> Kinds | None:
    names = shopify_files.named(path)
    leaf, above = names[-1], names[-2] if len(names) > 1 else ""
    if above in ("customer", "customers") and leaf == "id":
        return frozenset({"order_line.customer_id"})
    if shopify_files.PERSONAL & {*names[:-1]} and leaf not in ("country_code", "zip", "admin_graphql_api_id"):
        return None
    filled = {
        "zip": "order_line.customer_area",
        "note": "return_event.note_terms",
        "customer_note": "return_event.note_terms",
    }
    links = {
        "order_id": "order_line.order_id",
        "line_item_id": "order_line.order_line_id",
        "__parent_id": "order_line.order_id",
    }
    if (column := filled.get(leaf) or links.get(leaf)) is not None:
        return frozenset({column})
    if leaf == "id":
        of = {
            "line_item": "order_line_id",
            "line_items": "order_line_id",
            "refund": "refund_id",
            "refunds": "refund_id",
            "return": "return_id",
            "returns": "return_id",
        }
        column = of.get(above, "order_id" if above in ("order", "orders", "", "node", "nodes") else "")
        return frozenset(
            {f"refund_line.{column}"}
            if column == "refund_id"
            else {f"return_event.{column}"}
            if column == "return_id"
            else {f"order_line.{column}"}
            if column
            else ()
        )
    return READ if leaf in shopify_files.READ_KEYS else None


def _of_mapping(origin: MappingSource, file: Path) -> Reads:
    """Read what the tables of a mapping that take a file asked of it."""
    how, headings = origin.reading_of(file), origin.reads.get(file.name, {})
    tails = {
        tuple(k for k in heading.split(".") if not k.isdigit()): frozenset(filled)
        for heading, filled in headings.items()
    }
    rows = tuple(key for key in str(how.get("path", "")).split(".") if key)

    def of(path: tuple[str, ...]) -> Kinds | None:
        if len(path) == 1:
            return None if (only := headings.get(parts.plain(path[0]))) is None else frozenset(only)
        starts = {0, *(i + 1 for i, key in enumerate(path) if key == "[]")}
        found: Kinds | None = None
        for start in sorted(starts):
            rest = [parts.plain(key) for key in path[start:] if key != "[]"]
            rest = rest[len(rows) :] if not start and tuple(rest[: len(rows)]) == rows else rest
            for end in range(1, len(rest) + 1):  # a heading may name an object
                if (filled := tails.get(tuple(rest[:end]))) is not None:
                    found = filled if found is None else found | filled
        return found

    return Reads(of, how)


Leaves = Sequence[tuple[Kinds | None, Any]]


class Reader(Protocol):
    """Who is shown the records of a file."""

    def speaks(self, leaves: Leaves) -> bool:
        """Say whether a record is to be edited."""

    def edited(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Give the cells of such a record as they are to be; None where nothing changes."""

    def read(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Give the cells of any record as they are to be; None where it stays as it is."""


@dataclass
class Editor:
    """What becomes of records.

    Those that speak of the persons are made anonymous, or with `is_learning` only learned from.
    """

    persons: "Sequence[Person]"
    is_learning: bool = False
    is_new: bool = False  # whether anything was learned
    records: int = 0

    def speaks(self, leaves: Leaves) -> bool:
        """Say whether cells speak of any of them."""
        return any(p.holds(leaves) or p.is_linked(leaves) for p in self.persons)

    def edited(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Give the cells of a record that speaks of them as they are to be; None where nothing changes."""
        self.records += 1
        values = [value for _, value in leaves]
        for person in self.persons:
            if person.holds(leaves) or person.is_linked(leaves):
                self.is_new |= self.is_learning and person.learn(leaves)
                values = [
                    person.anonymous(kinds, value, empty) for (kinds, _), value in zip(leaves, values, strict=True)
                ]
        is_same = self.is_learning or values == [value for _, value in leaves]
        return None if is_same else values

    def read(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Give a record as it is to be; None where it stays as it is."""
        return self.edited(leaves, empty) if self.speaks(leaves) else None


def rewrite(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    """Write a file anew at `to` with its records edited; give how many changed.

    One that has none to edit is not written. Without `to` the records are only shown to the editor. Raises Unwritable
    for a form that cannot be written anew, and SourceError for a file that cannot be read.
    """
    kind = parts.format_of(file)
    how = {parts.SPREADSHEET: _workbook, parts.PARQUET: _parquet, parts.JSON: _json}.get(kind, _text)
    try:
        changed = how(file, to, reads, editor)
    except (Unwritable, SourceError, OSError):
        raise
    except Exception as error:  # libraries raise what they like about bytes that others wrote
        raise Unwritable(f"{shown(file)} cannot be written anew ({type(error).__name__})") from error
    if to is not None and not changed:
        to.unlink(missing_ok=True)
    return changed


@contextlib.contextmanager
def _writing(file: Path, to: Path | None) -> Iterator[Callable[[bytes], Any]]:
    """Open what is written, packed as the file is; nothing is kept without `to`."""
    if to is None:
        yield lambda _: None
        return
    with to.open("wb") as raw:
        if not is_packed(file):
            yield raw.write
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
            yield packed.write


def _text(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    layout = text_tables.layout_of(file, reads.how)
    encoding = "utf-8" if layout.encoding in ("utf8", "utf-8") else layout.encoding
    is_plain = encoding == "utf-8"
    kinds: list[Kinds | None] = []
    changed = 0
    encoder = io.TextIOWrapper(
        raw := io.BytesIO(), encoding=encoding, errors="surrogateescape" if is_plain else "strict", newline=""
    )

    def encoded(text: str) -> bytes:
        encoder.write(text)
        encoder.flush()
        written = raw.getvalue()
        raw.seek(0)
        raw.truncate()
        return written

    with (
        parts.opened(file, encoding, "surrogateescape" if is_plain else "strict") as text,
        _writing(file, to) as write,
    ):
        for number, (written, cells) in enumerate(
            _records(parts.short_lines(text, parts.LONGEST_LINE), layout.separator, layout.quotes)
        ):
            if not kinds and number >= layout.skip and any(c.strip() for c in cells):
                kinds = [reads.of((heading,)) for heading in parts.headings_of(cells)]
                edited = None
            else:
                is_broken = bool(kinds) and len(cells) != len(kinds)
                leaves: Leaves = [
                    (kinds[i] if i < len(kinds) and not is_broken else None, c) for i, c in enumerate(cells)
                ]
                edited = editor.read(leaves, "")
            if edited is None:
                write(encoded(written))
                continue
            changed += 1
            if len(edited) != len(kinds) and not any(edited):  # a broken row stays one
                edited[-1] = "-"
            end = re.search(r"[\r\n]*$", written)
            write(encoded(_joined(edited, layout.separator, layout.quotes) + (end[0] if end else "")))
    return changed


def _records(text: Iterable[str], separator: str, quotes: str) -> Iterator[tuple[str, list[str]]]:
    """Give each record of a text, as it is written and as cells."""
    if len(separator) != 1:
        for line in text:
            yield line, line.rstrip("\r\n").split(separator)
        return
    taken: list[str] = []

    def fed() -> Iterator[str]:
        for line in text:
            taken.append(line)
            yield line

    for cells in csv.reader(
        fed(),
        delimiter=separator,
        quotechar=quotes or None,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    ):
        yield "".join(taken), cells
        taken.clear()


def _joined(cells: Sequence[str], separator: str, quotes: str) -> str:
    if len(separator) != 1 or not quotes:
        return separator.join(c.replace(separator, " ") for c in cells)
    line = io.StringIO()
    csv.writer(line, delimiter=separator, quotechar=quotes, lineterminator="").writerow(cells)
    return line.getvalue()


def _json(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    encoding = text_tables.encoding_of(file, reads.how)
    with parts.opened(file, encoding, "strict") as text:
        start = text.read(1 << 16)
    first, _, rest = start.lstrip("\ufeff \r\n\t").partition("\n")
    ending = (file.with_suffix("") if is_packed(file) else file).suffix.lower()
    is_lines = ending in (".ndjson", ".jsonl") or (rest.lstrip().startswith("{") and _parsed(first) is not None)
    changed = 0
    with parts.opened(file, encoding, "strict") as text, _writing(file, to) as write:
        if not is_lines:
            whole = text.read(LARGEST_DOCUMENT)
            if len(whole) == LARGEST_DOCUMENT:
                raise Unwritable(f"{shown(file)} is one JSON document of more than {LARGEST_DOCUMENT >> 20} MB")
            if not whole.strip("\ufeff \r\n\t"):
                return 0
            value = _parsed(whole.lstrip("\ufeff"))
            if value is None:
                raise Unwritable(f"{shown(file)} is not one JSON document")
            value, changed = _edited(value, (), reads, editor)
            if changed:
                _check_single(whole.lstrip("\ufeff"), file)
            write((_dumped(value) + "\n").encode(encoding))
            return changed
        for line in text:
            value = _parsed(line.lstrip("\ufeff"))
            if value is None:
                edited = editor.read([(None, line)], "") if line.strip() else None
                write((line if edited is None else "null\n").encode(encoding, "strict"))
                changed += edited is not None
                continue
            value, found = _edited(value, (), reads, editor)
            changed += found
            if found:
                _check_single(line.lstrip("\ufeff"), file)
            write((_dumped(value) + line[len(line.rstrip("\r\n")) :] if found else line).encode(encoding, "strict"))
    return changed


def _parsed(text: str, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Read JSON with its numbers as they are written; None for what is none, which no record is."""
    try:
        return json.loads(text, parse_float=lambda number: f"\0{number}\0", object_pairs_hook=hook)
    except (ValueError, RecursionError):
        return None


def _check_single(text: str, file: Path) -> None:
    """Raise Unwritable where an object of JSON holds a key twice: written anew it would hold it once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Unwritable(f"{shown(file)} holds a key twice in one object")
        return found

    _parsed(text, once)


def _dumped(value: Any) -> str:
    return FLOAT.sub(r"\1", json.dumps(value, ensure_ascii=False))


def _edited(value: Any, path: tuple[str, ...], reads: Reads, editor: Reader) -> tuple[Any, int]:
    """Edit the records of a JSON value: the outermost objects that speak of somebody outside of their lists."""
    if isinstance(value, list):
        found = [_edited(item, (*path, "[]"), reads, editor) for item in value]
        return [item for item, _ in found], sum(n for _, n in found)
    if not isinstance(value, dict):
        return value, 0
    if editor.speaks([(reads.of(p), v) for p, v in _leaves(value, path, has_lists=False)]):
        every = [(reads.of(p), v) for p, v in _leaves(value, path, has_lists=True)]
        told = editor.edited(every, None)
        return (value, 0) if told is None else (_replaced(value, iter(told)), 1)
    changed = 0
    for key, inner in value.items():
        value[key], n = _edited_lists(inner, (*path, key), reads, editor)
        changed += n
    return value, changed


def _edited_lists(value: Any, path: tuple[str, ...], reads: Reads, editor: Reader) -> tuple[Any, int]:
    """Edit the records in the lists of a value whose own leaves speak of nobody."""
    if isinstance(value, list):
        return _edited(value, path, reads, editor)
    if not isinstance(value, dict):
        return value, 0
    changed = 0
    for key, inner in value.items():
        value[key], n = _edited_lists(inner, (*path, key), reads, editor)
        changed += n
    return value, changed


def _leaves(value: Any, path: tuple[str, ...], *, has_lists: bool) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key), has_lists=has_lists)
    elif isinstance(value, list):
        for item in value if has_lists or not any(isinstance(i, dict | list) for i in value) else ():
            yield from _leaves(item, (*path, "[]"), has_lists=has_lists)
    else:
        yield path or ("",), value


def _replaced(value: Any, told: Iterator[Any]) -> Any:
    """Put edited leaves back in the order they were given in."""
    if isinstance(value, dict):
        return {key: _replaced(inner, told) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(item, told) for item in value]
    return next(told)


def _workbook(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    import openpyxl
    from openpyxl.cell.cell import MergedCell

    if not is_zip(start_of(file)) or file.suffix.lower() not in (".xlsx", ".xlsm"):
        return _old_workbook(file, reads, editor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and validations, which stay as they are
        book = openpyxl.load_workbook(file, data_only=True)  # the values that are read: formulas would lose theirs
    changed = 0
    for page in book.worksheets:
        rows = list(page.iter_rows())
        texts = [[workbook.text_of(cell.value) for cell in row] for row in rows]
        header = reads.how.get("header_row")
        first = next((n for n, row in enumerate(texts) if any(row)), 0)
        at = parts.header_of(texts[: parts.HEAD_ROWS]) if header == "find" else int(header) - 1 if header else first
        kinds = [reads.of((h,)) for h in parts.headings_of(texts[at])] if at < len(texts) else []
        for row in (row for n, row in enumerate(rows) if n != at):
            cells = [c for c in row if not isinstance(c, MergedCell)]
            leaves: Leaves = [(kinds[c.column - 1] if c.column <= len(kinds) else None, c.value) for c in cells]
            if (edited := editor.read(leaves, None)) is None:
                continue
            changed += 1
            for cell, value in zip(cells, edited, strict=True):
                cell.value, cell.comment = value, None
                if cell.hyperlink is not None:
                    cell.hyperlink = None
    if to is not None and changed:
        book.save(to)
    return changed


def _old_workbook(file: Path, reads: Reads, editor: Reader) -> int:
    """Look at a workbook that can be read and not written: as long as it speaks of nobody there is nothing to write."""
    for sheet in workbook.sheet_names(file):
        kinds: list[Kinds | None] = []
        for row in workbook.sheet_rows(file, sheet):
            leaves = [(kinds[i] if i < len(kinds) else None, cell) for i, cell in enumerate(row)]
            if not kinds and any(row):
                kinds = [reads.of((h,)) for h in parts.headings_of(row)]
            if editor.read(leaves, None) is not None:
                raise Unwritable(f"{shown(file)} is a workbook of a form that can be read and not written")
    return 0


def _parquet(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file)
    told = source.schema_arrow
    kinds = [reads.of((n,)) for n in told.names]
    changed = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(pq.ParquetWriter(to, told)) if to is not None else None
        for batch in source.iter_batches():
            columns = [column.to_pylist() for column in batch.columns]
            for n, row in enumerate(zip(*columns, strict=True)):
                # what is nested is shown as one text: it is emptied as a whole where nothing reads it
                leaves: Leaves = [
                    (k, v if not isinstance(v, dict | list) else json.dumps(v, default=str))
                    for k, v in zip(kinds, row, strict=True)
                ]
                if (edited := editor.read(leaves, None)) is None:
                    continue
                changed += 1
                for column, (_, shown_), given, value in zip(columns, leaves, row, edited, strict=True):
                    if value == shown_:
                        continue
                    if isinstance(given, dict | list) and value is not None:
                        raise Unwritable(f"{shown(file)} holds the person within a column of lists or objects")
                    column[n] = value if isinstance(given, str) else None
            arrays = [pa.array(c, type=f.type) for c, f in zip(columns, told, strict=True)]
            if writer is not None:
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=told))
    return changed
