r"""Files to take away.

Rows with the context without which they are worthless to an auditor, and a checksum that anybody can recompute. One
idea: whatever the format, the rows are one text, the rows as CSV (UTF-8, `\n`, text in quotes, numbers to 15 digits,
instants to the second in UTC), and the checksum is the SHA-256 of that text. So the same rows have the same checksum in
every format.

- CSV: the context stands before the header, one line a fact, each beginning with `# ` and otherwise a CSV row of its
  own: a
  spreadsheet shows name and value in two columns, and what reads tables skips comments (DuckDB by itself, pandas with
  `comment="#"`: text is quoted, so no row begins with `#`). After it comes exactly the text the checksum is of.
- Excel: the rows are the first sheet, the context the second; numbers, days and instants are typed, text is typed as
  text.
- Parquet: the context is JSON under `backhaul` in the file's metadata.

Text that a spreadsheet could take for a formula carries an apostrophe in CSV and is typed as text in Excel. No metric
is asked here.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from sqlalchemy import select

from pipelines import metrics
from pipelines.errors import ExportError
from pipelines.metrics import ANYTHING, Question, Text
from pipelines.outputs.formulas import guarded
from pipelines.settings import write_whole
from pipelines.warehouse import state
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

LIMIT = 1_000_000
"""Rows a file holds at most, under the 1,048,576 of an Excel sheet; a file that was cut says so."""
MIME = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
_SHEET_ROWS, _CELL_LENGTH, _DIGITS = 1_048_576, 32_767, 15
_CHUNK = 50_000
_BOM = b"\xef\xbb\xbf"  # without it Excel reads UTF-8 as the machine's old code page
_CHECKSUM = "SHA-256"
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_WORDS = {
    "rows_sheet": Text("rows", "lignes"),
    "about_sheet": Text("about", "à propos"),
    "lines": Text("{n} lines of context before the header", "{n} lignes de contexte avant l'en-tête"),
    "title": Text("what it shows", "contenu"),
    "made_at": Text("made at (UTC)", "créé le (UTC)"),
    "build": Text("build", "version des données"),
    "as_of": Text("as of (UTC)", "observé au (UTC)"),
    "period": Text("period", "période"),
    "span": Text("{since} to {until}, both included", "du {since} au {until} inclus"),
    "everything": Text("everything", "tout"),
    "filters": Text("filters", "filtres"),
    "none": Text("none", "aucun"),
    "against": Text("compared with", "comparé à"),
    "unfiltered": Text("cannot be filtered by", "ne se filtre pas par"),
    "empty": Text("(empty)", "(vide)"),
    "by": Text("cut by", "découpé par"),
    "currency": Text("reporting currency", "devise"),
    "factors": Text("factor set", "jeu de facteurs"),
    "factors_are": Text("{n} factors and parameters, SHA-256 {digest}", "{n} facteurs et paramètres, SHA-256 {digest}"),
    "part": Text("rows of the", "lignes du"),
    "numerator": Text("numerator", "numérateur"),
    "denominator": Text("denominator", "dénominateur"),
    "name": Text("name", "nom"),
    "sentence": Text("what it says", "ce qu'il dit"),
    "formula": Text("formula", "formule"),
    "unit": Text("unit", "unité"),
    "basis": Text("day that counts", "jour qui compte"),
    "coverage": Text("rests on", "repose sur"),
    "order": Text("day of the order", "jour de la commande"),
    "return": Text("day the return was requested", "jour de la demande de retour"),
    "refund": Text("day the money moved", "jour du mouvement d'argent"),
    "both_days": Text("day of the return over day of the sale", "jour du retour sur jour de la vente"),
    "rows": Text("rows", "lignes"),
    "whole": Text("{n}, all there are", "{n}, toutes"),
    "cut": Text("{n}, the newest of {total}: cut", "{n}, les plus récentes sur {total} : coupé"),
    "reading": Text("how to read it", "lecture"),
    "read_it": Text(
        "shares are 0 to 1, instants are UTC, codes stand as in the data; an apostrophe before a sign keeps text from"
        " being a formula",
        "parts de 0 à 1, instants en UTC, codes tels que dans les données ; une apostrophe devant un signe empêche un"
        " texte d'être une formule",
    ),
    "checksum": Text("the checksum is of", "la somme de contrôle porte sur"),
    "of_rows": Text(
        "the rows as CSV: in the CSV file all bytes from the header line on",
        "les lignes en CSV : dans le fichier CSV, tous les octets à partir de l'en-tête",
    ),
}

_BASES = {"period": "both_days"}


@dataclass(frozen=True)
class About:
    """What was asked: the context of a file.

    `metrics` are keys; `against` are the days compared with; `part` is numerator or denominator when the rows behind
    the first of them are exported, else empty. `total` counts the rows there are when they were cut. `language` is that
    of the names and of the context, en or fr; `translated` puts a reason that metrics give in English into it.
    """

    title: str
    metrics: tuple[str, ...] = ()
    part: str = ""
    by: tuple[str, ...] = ()
    question: Question = ANYTHING
    against: tuple[date, date] | None = None
    basis: str | None = None
    total: int | None = None
    language: str = "en"
    translated: Callable[[str], str] = str


@dataclass(frozen=True)
class Verified:
    """What a file says its checksum is, what its rows give, and how many they are."""

    stated: str
    found: str
    rows: int

    @property
    def holds(self) -> bool:
        """Say whether the rows are those that were written."""
        return self.stated == self.found


def _word(key: str, language: str, **parts: Any) -> str:
    text = _WORDS[key]
    return (text.fr if language == "fr" else text.en).format(**parts)


def product_version() -> str:
    """Give Backhaul's version, "?" where it is not installed."""
    try:
        return version("backhaul")
    except PackageNotFoundError:
        return "?"


def context(build: Build, about: About, rows: int, made_at: datetime | None = None) -> dict[str, str]:
    """Say what a file's rows are: name to value, in the order to be read; the checksum joins when the file is written.

    `rows` is how many the file holds; `made_at` is now unless said.
    """

    def word(key: str, **parts: Any) -> str:
        return _word(key, about.language, **parts)

    filters = "; ".join(
        f"{name} = {', '.join(word('empty') if v is None or v == '' else str(v) for v in values)}"
        for name, values in about.question.where.items()
    )
    until = about.question.until.isoformat() if about.question.until else "…"
    since = about.question.since.isoformat() if about.question.since else "…"
    period = (
        word("span", since=since, until=until) if about.question.since or about.question.until else word("everything")
    )
    count = f"{rows:,}".replace(",", " ")
    is_cut = about.total is not None and about.total > rows
    found = {
        "Backhaul": product_version(),
        word("title"): about.title,
        word("made_at"): (made_at or state.now()).isoformat(sep=" ", timespec="seconds"),
        word("build"): build.label,
        word("as_of"): str(about.question.as_of or build.info.get("observed_until", "")).replace("T", " "),
        word("period"): period,
        **({word("against"): word("span", since=about.against[0], until=about.against[1])} if about.against else {}),
        word("filters"): filters or word("none"),
        word("by"): ", ".join(about.by) or word("none"),
        word("currency"): build.info.get("reporting_currency", ""),
        word("factors"): word("factors_are", n=len(_factors(build)), digest=checksum(_factors(build))[:16]),
    }
    if about.part:
        found[word("part")] = word(about.part)
    for key in about.metrics:
        chosen = metrics.metric(key)
        facts = {
            "name": chosen.name[about.language == "fr"],
            "sentence": chosen.sentence[about.language == "fr"],
            "formula": chosen.formula,
            "unit": chosen.unit.replace("money", build.info.get("reporting_currency", "money")),
            "basis": word(_BASES.get(about.basis or chosen.basis, about.basis or chosen.basis)),
        }
        facts["coverage"] = _coverage(build, key, about)
        ignored = set() if about.part else {*about.question.where} - {*metrics.dimensions(key, build)}
        facts |= {"unfiltered": ", ".join(sorted(ignored))} if ignored else {}
        found |= {f"{key}: {word(name)}": value for name, value in facts.items()}
    found[word("rows")] = word(
        "cut" if is_cut else "whole", n=count, total=f"{about.total or rows:,}".replace(",", " ")
    )
    return {**found, word("reading"): word("read_it"), word("checksum"): word("of_rows")}


def _coverage(build: Build, key: str, about: About) -> str:
    """Say what share of its rows a metric rests on in the selection of a file, and why not on the others."""
    known = metrics.dimensions(key, build)
    where = {name: values for name, values in about.question.where.items() if name in known}
    row = metrics.answer(build, key, about.question.but(where=where)).iloc[0]
    said = "; ".join(filter(None, [f"{row['coverage']:.1%}", about.translated(str(row["reason"]))]))
    return said if row["coverage"] < 1 or row["caution"] else f"{row['coverage']:.0%}"


def _factors(build: Build) -> pd.DataFrame:
    if "factors" not in build.cache:
        build.cache["factors"] = build.fetch(select(STAR.tables["factor_set"])).sort_values("factor_id")
    found: pd.DataFrame = build.cache["factors"]
    return found


def _text(value: Any) -> str | None:
    """Give text that every format can hold.

    One kind of line end, no control characters, no longer than an Excel cell.
    """
    if isinstance(value, (list, dict, tuple, np.ndarray)):
        value = json.dumps(list(value) if isinstance(value, np.ndarray) else value, ensure_ascii=False, default=str)
    if value is None or value is pd.NaT or value is pd.NA or value != value or value == "":
        return None
    text = _FORBIDDEN.sub("\ufffd", str(value).replace("\r\n", "\n").replace("\r", "\n"))
    return text if len(text) <= _CELL_LENGTH else text[: _CELL_LENGTH - 1] + "…"


def _number(value: float) -> float | None:
    rounded = float(f"{value:.{_DIGITS}g}")
    return rounded if np.isfinite(rounded) else None


class _Column(NamedTuple):
    """A column's cells: the number of each cell's value, and the values; the last one, None, has number -1 as well."""

    codes: np.ndarray[Any, Any]
    values: list[Any]

    def cells(self) -> list[Any]:
        """Give each cell as None, bool, int, float, text, day or instant."""
        found = np.empty(len(self.values), dtype=object)
        found[:] = self.values
        return list(found[self.codes])

    def part(self, start: int, stop: int) -> "_Column":
        """Give some of the cells."""
        return _Column(self.codes[start:stop], self.values)


def _column(column: "pd.Series[Any]") -> _Column:
    """Read a column as cells of one kind; equal cells are worked out once."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("datetime64", "datetime", "date"):
        column = pd.to_datetime(column, utc=True).dt.tz_localize(None).dt.round("s")
    elif kind in ("floating", "mixed-integer-float", "decimal", "integer-na"):
        column = column.astype(float)
    elif kind not in ("integer", "boolean", "string", "empty"):
        return _Column(np.arange(len(column)), [*map(_text, column), None])
    codes, unique = pd.factorize(column)
    values = unique.tolist()
    if kind in ("datetime64", "datetime", "date"):
        instants = pd.DatetimeIndex(unique)
        days = bool((instants == instants.normalize()).all())
        values = [v.date() if days else v.to_pydatetime() for v in instants]
    elif kind == "integer":
        values = [int(v) for v in values]
        if any(abs(v) >= 10**_DIGITS for v in values):  # more digits than a spreadsheet keeps: text
            values = [str(v) for v in values]
    elif kind == "boolean":
        values = [bool(v) for v in values]
    elif kind in ("string", "empty"):
        values = [_text(v) for v in values]
    else:
        values = [_number(float(v)) for v in values]
    return _Column(codes, [*values, None])


def _cells(frame: pd.DataFrame) -> dict[str, _Column]:
    return {str(name): _column(frame.iloc[:, place]) for place, name in enumerate(frame.columns)}


def _length(cells: Mapping[str, _Column]) -> int:
    return len(next(iter(cells.values())).codes) if cells else 0


def _quoted(text: str) -> str:
    return '"' + guarded(text).replace('"', '""') + '"'


def _as_csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not (value.is_integer() and abs(value) < 10**_DIGITS):
        return f"{value:.{_DIGITS}g}"
    return str(int(value))


def _chunks(cells: Mapping[str, _Column]) -> Iterator[bytes]:
    """Give the rows as CSV, header first, in pieces."""
    yield (",".join(_quoted(name) for name in cells) + "\n").encode()
    texts = [_Column(c.codes, [_as_csv(v) for v in c.values]) for c in cells.values()]
    for start in range(0, _length(cells), _CHUNK):
        columns = (c.part(start, start + _CHUNK).cells() for c in texts)
        yield "".join(",".join(row) + "\n" for row in zip(*columns, strict=True)).encode()


def _digest(chunks: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def checksum(frame: pd.DataFrame) -> str:
    r"""Give the SHA-256 of a frame's rows as CSV, in hexadecimal.

    >>> checksum(pd.DataFrame({"n": [1.0]})) == hashlib.sha256(b'"n"\n1\n').hexdigest()
    True
    """
    return _digest(_chunks(_cells(frame)))


def to_bytes(frame: pd.DataFrame, about: Mapping[str, str], form: str, language: str = "en") -> bytes:
    """Write rows with their context as a csv, xlsx or parquet file.

    Raises ExportError for another format, and for more rows than an Excel sheet holds.
    """
    if form not in MIME:
        raise ExportError(
            f"{form or 'A file without an ending'} is no format of an export. Name the file .{', .'.join(MIME)}."
        )
    cells = _cells(frame)
    if form == "csv":
        body = list(_chunks(cells))
        return _csv_head({**about, _CHECKSUM: _digest(body)}, language) + b"".join(body)
    about = {**about, _CHECKSUM: _digest(_chunks(cells))}
    return _xlsx(cells, about, language) if form == "xlsx" else _parquet(cells, about)


def write(frame: pd.DataFrame, about: Mapping[str, str], path: Path) -> None:
    """Write rows with their context to a file; its ending says the format.

    What stood there before stays whole until then. Raises ExportError, and OSError where it cannot be written.
    """
    write_whole(path, to_bytes(frame, about, path.suffix.removeprefix(".").lower()))


def _csv_head(about: Mapping[str, str], language: str) -> bytes:
    lines = {
        "Backhaul": f"{about.get('Backhaul', '')}: {_word('lines', language, n=len(about))}",
        **{k: v for k, v in about.items() if k != "Backhaul"},
    }
    plain = {_line(name): _line(value) for name, value in lines.items()}
    head = "".join(f"# {name},{_quoted(value)}\n" for name, value in plain.items())
    return _BOM + head.encode()


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _xlsx(cells: Mapping[str, _Column], about: Mapping[str, str], language: str) -> bytes:
    rows = _length(cells)
    if rows >= _SHEET_ROWS:
        raise ExportError(f"{rows:,} rows do not fit on an Excel sheet. Export CSV or Parquet, or filter.")
    book = Workbook(write_only=True)
    sheet = book.create_sheet(_word("rows_sheet", language))
    sheet.freeze_panes = "A2"
    for number, (name, column) in enumerate(cells.items(), start=1):
        letters = sheet.column_dimensions[_letters(number)]
        longest = max((len(str(v)) for v in column.part(0, 200).cells() if v is not None), default=0)
        letters.width = min(max(longest, len(name)) + 2, 60)

    def cell(value: Any) -> Any:
        if isinstance(value, str):
            made = WriteOnlyCell(sheet)
            made._value, made.data_type = value, "s"  # openpyxl takes text after "=" for a formula, "#N/A" for an error
            if guarded(value) != value:
                made.quotePrefix = True
            return made
        if isinstance(value, date):
            made = WriteOnlyCell(sheet, value)
            made.number_format = "yyyy-mm-dd hh:mm:ss" if isinstance(value, datetime) else "yyyy-mm-dd"
            return made
        return value

    sheet.append([cell(name) for name in cells])
    for row in zip(*(column.cells() for column in cells.values()), strict=True):
        sheet.append([cell(v) for v in row])
    sheet.auto_filter.ref = f"A1:{_letters(max(len(cells), 1))}{rows + 1}"
    second = book.create_sheet(_word("about_sheet", language))
    second.column_dimensions["A"].width, second.column_dimensions["B"].width = 34, 100
    for name, value in about.items():
        second.append([cell(_line(name)), cell(_line(value)[:_CELL_LENGTH])])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _letters(number: int) -> str:
    """Name a sheet's column by its number from 1.

    >>> _letters(1), _letters(27)
    ('A', 'AA')
    """
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _parquet(cells: Mapping[str, _Column], about: Mapping[str, str]) -> bytes:
    def array(column: _Column) -> pa.Array:
        first = next((v for v in column.values if v is not None), None)
        kind = (
            pa.timestamp("ms", "UTC")
            if isinstance(first, datetime)
            else pa.float64()
            if isinstance(first, float)
            else None
        )
        values = pa.array(column.values, type=kind or (pa.string() if first is None else None))
        return values.take(pa.array(np.where(column.codes < 0, len(values) - 1, column.codes)))

    table = pa.table({name: array(column) for name, column in cells.items()})
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"backhaul": json.dumps(about, ensure_ascii=False)}), out)
    return out.getvalue()


def verify(path: Path) -> Verified:
    """Recompute the checksum of an exported file's rows from the file alone.

    Raises ExportError when the file is no export.
    """
    form = path.suffix.removeprefix(".").lower()
    readers = {"csv": _read_csv, "xlsx": _read_xlsx, "parquet": _read_parquet}
    if form not in readers or not path.is_file():
        raise ExportError(f"{path} is no export: an export is a file that ends in .{', .'.join(readers)}.")
    try:
        stated, found, rows = readers[form](path)
    except (ValueError, KeyError, IndexError, OSError, BadZipFile, pa.ArrowException) as error:
        raise ExportError(f"{path} cannot be read as an export: {error}. Export it again.") from error
    if not stated:
        raise ExportError(f"{path} holds no checksum: it is no export, or its context was taken off. Export it again.")
    return Verified(stated, found, rows)


def read_about(path: Path) -> dict[str, str]:
    """Read the context of an exported file: name to value. A file without one gives an empty dict."""
    form = path.suffix.removeprefix(".").lower()
    return {"csv": _about_csv, "xlsx": _about_xlsx, "parquet": _about_parquet}[form](path)


def _about_csv(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = []
        for line in file:
            if not line.startswith("#"):
                break
            head.append(line)
    pairs = (row for row in csv.reader(head) if len(row) == 2)
    return {name.removeprefix("#").strip(): value for name, value in pairs}


def _read_csv(path: Path) -> tuple[str, str, int]:
    stated = _about_csv(path).get(_CHECKSUM, "")
    found, lines, quotes = hashlib.sha256(), 0, 0
    is_context = True
    with path.open("rb") as file:
        for line in file:
            is_context = is_context and line.removeprefix(_BOM).startswith(b"#")
            if is_context:
                continue
            found.update(line)
            quotes += line.count(b'"')
            lines += quotes % 2 == 0  # a line end within quotes ends no row
    return stated, found.hexdigest(), max(lines - 1, 0)


def _about_xlsx(path: Path) -> dict[str, str]:
    book = load_workbook(path, read_only=True)
    try:
        sheets = book.worksheets
        rows = sheets[1].iter_rows(values_only=True, max_col=2) if len(sheets) > 1 else ()
        return {str(row[0]): str(row[1] if row[1] is not None else "") for row in rows if row and row[0] is not None}
    finally:
        book.close()


def _read_xlsx(path: Path) -> tuple[str, str, int]:
    stated = _about_xlsx(path).get(_CHECKSUM, "")
    book = load_workbook(path, read_only=True)
    try:
        rows = book.worksheets[0].iter_rows(values_only=True)
        names = [str(v) for v in next(rows, ())]
        body = [(*map(_from_sheet, row), *[None] * (len(names) - len(row))) for row in rows]
    finally:
        book.close()
    frame = pd.DataFrame({n: pd.Series([row[i] for row in body], dtype=object) for i, n in enumerate(names)})
    return stated, checksum(frame), len(body)


def _from_sheet(value: Any) -> Any:
    """Give a sheet's number as what it is: a double, however it is written."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _about_parquet(path: Path) -> dict[str, str]:
    about: dict[str, str] = json.loads((pq.read_schema(path).metadata or {}).get(b"backhaul", b"{}"))
    return about


def _read_parquet(path: Path) -> tuple[str, str, int]:
    table = pq.read_table(path)
    frame = table.to_pandas()
    return _about_parquet(path).get(_CHECKSUM, ""), checksum(frame), table.num_rows
