"""Mappings: any table by a YAML file that says which column is what. No code runs from a mapping.

A mapping names files (or a query), how to read them, and for each log the column or small expression behind each canonical
column. It compiles to one SELECT a log over tables staged as text, so a wrong value reaches the loader's judgement as it was
written. Every error names the mapping's line. `docs/sources.md` is the manual.
"""

import difflib
import fnmatch
import hashlib
import os
import re
import tempfile
import time
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml
from sqlalchemy import Boolean, Date, DateTime, Double, Integer, Numeric

from pipelines.errors import MappingError, SourceError
from pipelines.sources.base import Export, Named, in_order, name, quote
from pipelines.sources.canonical import (
    CSV,
    NDJSON,
    PARQUET,
    distinct,
    kind_of,
    ndjson_keys,
    opened,
    parquet_columns,
    stage_csv,
    stage_ndjson,
)
from pipelines.sources.propose import Proposal, propose
from pipelines.warehouse import schema

__all__ = ["Mapping", "Proposal", "propose"]

BEGINS = "2000-01-01"  # validity of what a mapping makes up: its shop, products without history, promises
NO_WORDS = ("", "no", "non", "n", "0", "false", "faux", "-", "kept", "gardé", "none")
YES_WORDS = ("yes", "oui", "y", "o", "1", "true", "vrai", "x")
NATIVE_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "latin-1": "latin-1",
    "iso-8859-1": "latin-1",
    "utf-16": "utf-16",
}
ROWS = "/* rows */"  # stands for the table in a SELECT until all its ids are known
READ_KEYS = ("separator", "encoding", "decimal", "thousands", "quote", "header_row", "sheet")
EXPRESSION_KEYS = (
    "column", "value", "sum", "minus", "times", "divide", "first", "join", "with", "key", "map", "otherwise", "date", "plus_days", "start",
)  # fmt: skip
BY_ROW = "by_row"  # channel of promises made row by row, so that they apply to no other order


class Section(dict[str, Any]):
    """A YAML mapping that knows the line of each of its keys."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}
        self.line = 1


class Items(list[Any]):
    """A YAML list that knows the line of each of its items."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []


def _with_lines(node: yaml.Node, loader: yaml.SafeLoader) -> Any:
    if isinstance(node, yaml.MappingNode):
        section = Section()
        section.line = node.start_mark.line + 1
        for key, value in node.value:
            word = str(key.value)
            section[word] = _with_lines(value, loader)
            section.lines[word] = key.start_mark.line + 1
        return section
    if isinstance(node, yaml.SequenceNode):
        items = Items()
        for item in node.value:
            items.append(_with_lines(item, loader))
            items.lines.append(item.start_mark.line + 1)
        return items
    if node.tag.endswith((":int", ":float", ":bool", ":null")):
        return loader.construct_object(node)
    return node.value


class _Table:
    """One staged table: its SQL name, its columns by the name they are written with, and how its values are written."""

    def __init__(self, sql: str, columns: list[str], read: Section) -> None:
        self.sql, self.columns, self.read = sql, columns, read

    def find(self, column: str) -> str | None:
        if column in self.columns:
            return column
        return next((c for c in self.columns if c.strip().lower() == column.strip().lower()), None)


class Mapping:
    """A source made of a mapping file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
        except OSError as error:
            raise MappingError(f"There is no mapping file {path}. Make one with `backhaul map FILE`.") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            raise MappingError(
                f"{path.name} line {mark.line + 1 if mark else 1}: not YAML: {error.problem}."
            ) from error
        self.content = _with_lines(node, loader) if node else Section()
        self.has_query = False
        if not isinstance(self.content, Section):
            raise self.wrong(1, "a mapping begins with keys such as `tables:`.")
        self._allow(
            self.content,
            ("name", "about", "time_zone", "dates", "constants", "read", "export", "exported_at", "tables"),
        )
        for key in ("constants", "read"):
            if not isinstance(self.content.get(key, Section()), Section):
                raise self.wrong(self.content.lines[key], f"`{key}` holds keys and values.")
        zone = self.content.get("time_zone")
        if zone is not None and str(zone) not in zoneinfo.available_timezones():
            raise self.wrong(
                self.content.lines["time_zone"], f"there is no time zone `{zone}`. Write it as Europe/Paris."
            )
        self.export = self._export()
        self._check_exported_at(self.content)
        tables = self.content.get("tables")
        if not isinstance(tables, Items) or not tables:
            raise self.wrong(self.content.lines.get("tables", 1), "`tables:` lists the tables to read, at least one.")
        for position, table in enumerate(tables):
            self._check_table(table, tables.lines[position])
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Name in the mapping, else the file's."""
        return str(self.content.get("name") or self.path.stem)

    @property
    def version(self) -> str:
        """Digest of the mapping; a mapping with a query is always new, for what a query gives may have changed."""
        return f"{self.digest}-{time.time_ns()}" if self.has_query else self.digest

    @property
    def expects(self) -> str:
        """The files its tables name."""
        return "files named " + ", ".join(str(t["file"]) for t in self.content["tables"] if "file" in t)

    def recognises(self, files: list[Path]) -> bool:
        """Tell whether every table of the mapping finds a file by name."""
        return all("file" in t and any(_fits(f, t["file"]) for f in files) for t in self.content["tables"])

    def missing_files(self, files: list[Path]) -> list[str]:
        """List the names of files that no file given has, of tables that read files."""
        patterns = [str(t["file"]) for t in self.content["tables"] if "file" in t]
        return [p for p in patterns if not any(_fits(f, p) for f in files)]

    def side_files(self, files: list[Path]) -> list[Path]:
        """List the files that are only joined to others: needed again with every load."""
        joined = [j["file"] for t in self.content["tables"] for j in t.get("join", []) if "file" in j]
        return [f for f in files if any(_fits(f, pattern) for pattern in joined)]

    def exported_at(self, file: Path) -> datetime | None:
        """Tell when a file was exported (UTC, without offset) from its name; None where the name does not say."""
        own = (t for t in self.content["tables"] if "file" in t and "exported_at" in t and _fits(file, t["file"]))
        said = next(own, self.content).get("exported_at")
        if not isinstance(said, Section) or "file" not in said:
            return None
        match = re.search(said["file"], file.name)
        if match is None:
            return None
        try:
            local = datetime.strptime(match[1] if match.re.groups else match[0], said["date"])
        except ValueError:
            return None
        zone = zoneinfo.ZoneInfo(str(self.content.get("time_zone", "UTC")))
        return (local if local.tzinfo else local.replace(tzinfo=zone)).astimezone(UTC).replace(tzinfo=None)

    def _export(self) -> Export:
        """Read `export:`: added, whole, or whole of a span of days."""
        said = self.content.get("export", "added")
        if said in ("added", "whole"):
            return Export(said == "whole")
        line = self.content.lines["export"]
        span = said.get("whole") if isinstance(said, Section) and len(said) == 1 else None
        if not isinstance(span, Section) or not span:
            raise self.wrong(
                line,
                "`export:` is added, whole, or {whole: {since: 2026-01-01, until: 2026-01-31}}: first and last day.",
            )
        self._allow(span, ("since", "until"), "under `whole:`")
        days: dict[str, date] = {}
        for end in span:
            try:
                days[end] = date.fromisoformat(str(span[end]))
            except ValueError as error:
                raise self.wrong(span.lines[end], f"`{end}: {span[end]}` is no day. Write it as 2026-01-31.") from error
        if len(days) == 2 and days["since"] > days["until"]:
            raise self.wrong(line, "`since:` is after `until:`: they are the first and the last day of the export.")
        return Export(True, days.get("since"), days.get("until"))

    def _check_exported_at(self, section: Section) -> None:
        said = section.get("exported_at")
        if not isinstance(said, Section) or "file" not in said:
            return
        line = section.lines["exported_at"]
        self._allow(said, ("file", "date"), "under `exported_at:`")
        if "date" not in said:
            raise self.wrong(
                line, '`exported_at:` of a file needs `date:`, how its name writes the time, such as "%Y%m%d".'
            )
        try:
            re.compile(str(said["file"]))
        except re.error as error:
            raise self.wrong(said.lines["file"], f"`file: {said['file']}` is no pattern: {error}.") from error

    def wrong(self, line: int, sentence: str) -> MappingError:
        """Make the error for a line of this mapping."""
        return MappingError(f"{self.path.name} line {line}: {sentence}")

    def _allow(self, section: Section, keys: tuple[str, ...], what: str = "here") -> None:
        for key in section:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                hint = f" Did you mean `{near[0]}`?" if near else f" Known {what}: {', '.join(keys)}."
                raise self.wrong(section.lines[key], f"`{key}` is not known {what}.{hint}")

    def _check_table(self, table: Any, line: int) -> None:
        if not isinstance(table, Section):
            raise self.wrong(line, "a table has `file:` (or `sql:`) and `to:`.")
        self._allow(table, ("file", "sql", "read", "dates", "join", "exported_at", "to"), "in a table")
        self._check_exported_at(table)
        for read in (table.get("read") or Section(), self.content.get("read") or Section()):
            self._allow(read, READ_KEYS, "under `read:`")
            if not isinstance(read.get("header_row", 1), int) or read.get("header_row", 1) < 1:
                raise self.wrong(read.lines["header_row"], "`header_row:` is the number of the header's line, from 1.")
        if "sql" in table:
            self.has_query = True
            if not isinstance(table["sql"], Section) or not {"url", "query"} <= set(table["sql"]):
                raise self.wrong(
                    table.lines["sql"], "`sql:` has `url:` (or the name of an environment variable) and `query:`."
                )
        if not isinstance(table.get("to"), Section) or not table["to"]:
            raise self.wrong(table.lines.get("to", line), "`to:` names the logs the rows become and their columns.")
        for thing in table["to"]:
            if thing not in schema.LOG.tables:
                near = difflib.get_close_matches(thing, schema.LOG.tables, 1)
                hint = f"Did you mean `{near[0]}`?" if near else f"Logs: {', '.join(schema.LOG.tables)}."
                raise self.wrong(table["to"].lines[thing], f"there is no log `{thing}`. {hint}")
            for spec in _specs(table["to"][thing]):
                if not isinstance(spec, Section):
                    raise self.wrong(
                        table["to"].lines[thing], f"`{thing}:` names columns, each with a column of the table."
                    )
                special = {"return_event": ("when", "events", "promise")}.get(thing, ("when",))
                self._allow(spec, (*(c.name for c in schema.LOG.tables[thing].columns), *special), f"in `{thing}`")
                stages = spec.get("events") or Section()
                if not isinstance(stages, Section):
                    raise self.wrong(
                        spec.lines["events"], "`events:` names events, each with the column that holds its date."
                    )
                self._allow(stages, schema.EVENTS, "under `events:`")
                self._check_promise(spec)
        for position, join in enumerate(table.get("join") or []):
            if not isinstance(join, Section) or not {"as", "on"} <= set(join) or not isinstance(join["on"], Section):
                raise self.wrong(
                    table["join"].lines[position],
                    "a join has `as:` (a short name), `file:` and `on: {column here: column there}`.",
                )
            self._allow(join, ("as", "file", "read", "on"), "in a join")

    def _check_promise(self, spec: Section) -> None:
        promise = spec.get("promise")
        if promise is None:
            return
        line = spec.lines["promise"]
        if not isinstance(promise, Section) or "to" not in promise or ("by" in promise) == ("within" in promise):
            raise self.wrong(
                line,
                "`promise:` has `to:` (a stage) and `by:` (the column with the promised date), or `from:`, `to:` and `within:` (so much time, in `unit:`).",
            )
        own = ("by", "ends") if "by" in promise else ("within", "unit", "window_days")
        self._allow(promise, ("name", "from", "to", "responsible", *own), "in a promise")
        if "within" in promise and "from" not in promise:
            raise self.wrong(line, "`within:` counts from a stage: name it under `from:`.")
        unit = promise.get("unit", "calendar_days")
        if unit not in schema.DURATION_UNITS:
            raise self.wrong(
                promise.lines["unit"], f"`{unit}` is no unit of a promise. Units: {', '.join(schema.DURATION_UNITS)}."
            )
        if "within" in promise and (not isinstance(promise["within"], (int, float)) or not promise["within"] >= 0):
            raise self.wrong(
                promise.lines["within"], f"`within: {promise['within']}` is no time; write a number of {unit}."
            )
        if promise.get("ends", "day") not in ("day", "instant"):
            raise self.wrong(promise.lines["ends"], "`ends:` is `day` (kept until the end of that day) or `instant`.")
        for end in ("from", "to"):
            if end in promise and promise[end] not in schema.STAGES:
                raise self.wrong(
                    promise.lines[end], f"`{promise[end]}` is no stage. Stages: {', '.join(schema.STAGES)}."
                )
        if promise.get("name") == "legal_refund":
            raise self.wrong(
                promise.lines["name"], "`legal_refund` is the law's own promise; give this one another name."
            )
        if "from" in promise and promise["from"] not in (spec.get("events") or {}):
            raise self.wrong(
                promise.lines["from"], f"the promise starts at `{promise['from']}`, which `events:` does not give."
            )

    # -- rows ----------------------------------------------------------------------------------------------------------

    def name_rows(self, connection: duckdb.DuckDBPyConnection, files: list[Path], namespace: str) -> Iterator[Named]:
        """Give the rows of the mapped tables, one Named a log and counting.

        Raises MappingError with the line for a column that a table lacks, SourceError for a file no table of the mapping
        takes.
        """
        data = [f for f in files if f.suffix.lower() not in (".yaml", ".yml")]
        taken: set[Path] = set()
        counted: dict[str, list[str]] = {}
        derived: dict[str, list[str]] = {}
        blank: list[str] = []
        tables = self.content["tables"]
        patterns = [t["file"] for t in tables if "file" in t] + [
            j["file"] for t in tables for j in t.get("join", []) if "file" in j
        ]
        for number, table in enumerate(tables):
            mine = (
                [f for f in data if _fits(f, table["file"])]
                if "file" in table
                else [f for f in data if not any(_fits(f, p) for p in patterns)]
            )
            if "sql" not in table and not mine:
                continue
            taken.update(mine)
            main = self._stage(connection, f"mapped_{number}", table, mine)
            sides: dict[str, _Table] = {}
            joins = ""
            for position, join in enumerate(table.get("join", [])):
                found = [f for f in data if _fits(f, join.get("file", ""))]
                if not found:
                    raise self.wrong(
                        join.lines.get("file", join.line),
                        f"no file is named {join.get('file')}. Give it together with the others.",
                    )
                taken.update(found)
                side = self._stage(connection, f"mapped_{number}_{position}", join, found)
                sides[str(join["as"])] = side
                joins += self._join(str(join["as"]), join, main, side)
            compiler = _Compiler(self, table, main, sides)
            for spec in _specs(table["to"].get("chain_element", Items())):
                if "parcel_id" in spec:  # so that the table's return events travel in the same parcel
                    compiler.known["parcel_id"] = compiler.expression(
                        spec["parcel_id"], "chain_element", "parcel_id", spec.lines["parcel_id"]
                    )
            counting = next(iter(table["to"]))  # the first log named counts the rows of the table
            made: list[tuple[str, str, bool]] = []
            for thing in sorted(table["to"], key=list(schema.LOG.tables).index):
                for position, spec in enumerate(_specs(table["to"][thing])):
                    is_counted = thing == counting and position == 0
                    for log, sql, is_extra in compiler.selects(thing, spec, is_counted=is_counted):
                        made.append((log, sql, is_counted and not is_extra))
            blank += [sql.replace(ROWS, compiler.rows() + joins) for sql in compiler.blank]
            for log, sql, is_counted in made:
                whole = sql.replace(ROWS, compiler.rows() + joins)
                (counted if is_counted else derived).setdefault(log, []).append(whole)
        unknown = [f.name for f in data if f not in taken]
        if unknown:
            raise SourceError(
                f"{unknown[0]}: no table of {self.path.name} takes a file of this name. Its files: {', '.join(patterns) or 'any'}."
            )
        if "shop" not in counted and "shop" not in derived and self.content.get("time_zone"):
            derived["shop"] = [self._shop(data, counted, derived)]
        for thing in schema.LOG.tables:
            selects = counted.get(thing, []) + derived.get(thing, [])
            if selects:
                yield Named(
                    thing,
                    " UNION ALL BY NAME ".join(selects),
                    is_derived=thing not in counted,
                    blank_sql=" UNION ALL ".join(blank) or None if thing == "return_event" else None,
                )

    def _shop(self, files: list[Path], counted: dict[str, list[str]], derived: dict[str, list[str]]) -> str:
        constants = self.content.get("constants") or {}
        rest = f"TIMESTAMP '{BEGINS}' AS valid_from, {quote(self.content['time_zone'])} AS time_zone"
        for column, key in (("market", "country"), ("channel", "channel"), ("currency", "currency")):
            rest += f", {quote(constants[key]) if key in constants else 'NULL::VARCHAR'} AS {column}"
        lines = " UNION ALL BY NAME ".join(counted.get("order_line", []) + derived.get("order_line", []))
        ours = f"SELECT {quote(constants.get('shop_id', self.name))} AS shop_id"
        if lines and " AS shop_id" in lines:
            ours = f"SELECT DISTINCT shop_id FROM ({lines}) WHERE shop_id IS NOT NULL"
        return f"SELECT shop_id, {rest}, {quote(files[0].name if files else self.path.name)} AS _file, 1::BIGINT AS _line FROM ({ours})"

    def _join(self, short: str, join: Section, main: _Table, side: _Table) -> str:
        pairs = []
        for here, there in join["on"].items():
            line = join["on"].lines[here]
            pairs.append((self._column(main, str(here), line), self._column(side, str(there), line)))
        keys = ", ".join(f"trim({name(there)})" for _, there in pairs)
        once = f"(SELECT * FROM {side.sql} QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY _line) = 1)"
        on = " AND ".join(f"trim(t.{name(here)}) = trim({name(short)}.{name(there)})" for here, there in pairs)
        return f" LEFT JOIN {once} {name(short)} ON {on}"

    def _column(self, table: _Table, column: str, line: int) -> str:
        found = table.find(column)
        if found is None:
            near = difflib.get_close_matches(column, table.columns, 1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise self.wrong(
                line, f"the table has no column `{column}`.{hint} Its columns: {', '.join(table.columns)}."
            )
        return found

    def _stage(self, connection: duckdb.DuckDBPyConnection, stage: str, table: Section, files: list[Path]) -> _Table:
        """Stage a table's files, or its query, as one table of texts with _file, _line and _broken."""
        read = Section()
        for given in (self.content.get("read"), table.get("read")):
            if given:
                read.update(given)
                read.lines.update(given.lines)
        if "sql" in table:
            columns = _stage_query(connection, stage, table["sql"], self)
            return _Table(stage, columns, read)
        parts, columns = [], []
        for position, file in enumerate(files):
            part = f"{stage}_file_{position}"
            found, broken, line = self._stage_file(connection, part, file, read, table)
            parts.append(f"SELECT {', '.join(name(c) for c in found)}, {quote(file.name)} AS _file, {line} AS _line, {broken} AS _broken FROM {part}")  # fmt: skip
            columns += [c for c in found if c not in columns]
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {stage} AS {' UNION ALL BY NAME '.join(parts)}")
        read["_is_text"] = any(kind_of(f) in (CSV, None) and f.suffix.lower() != ".xlsx" for f in files)
        return _Table(stage, columns, read)

    def _stage_file(
        self, connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Section, table: Section
    ) -> tuple[list[str], str, str]:
        kind = kind_of(file)
        connection.execute(f"DROP TABLE IF EXISTS {stage}")
        if file.suffix.lower() in (".xlsx", ".xlsm"):
            columns = _stage_excel(connection, stage, file, read, self, table)
            return columns, "NULL::VARCHAR", "_line"
        if kind == PARQUET:
            columns = parquet_columns(connection, file)
            texts = ", ".join(f"{name(c)}::VARCHAR AS {name(c)}" for c in columns)
            connection.execute(f"CREATE TEMP TABLE {stage} AS SELECT {texts}, file_row_number + 1 AS _line FROM read_parquet({quote(file)}, file_row_number = true)")  # fmt: skip
            return columns, "NULL::VARCHAR", "_line"
        if kind == NDJSON:
            columns = ndjson_keys(connection, file)
            return columns, stage_ndjson(connection, stage, file, columns), "rowid + 1"
        columns = _csv_header(file, read)
        separator, quotes = str(read.get("separator", ",")), str(read.get("quote", '"'))
        separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
        encoding = str(read.get("encoding", "utf-8")).lower()
        skip = int(read.get("header_row", 1)) - 1
        if encoding in NATIVE_ENCODINGS:
            broken = stage_csv(connection, stage, file, columns, separator=separator, quotes=quotes, skip=skip, encoding=NATIVE_ENCODINGS[encoding])  # fmt: skip
            return columns, broken, "rowid + 1"
        try:
            text = opened(file, encoding)
        except LookupError as error:
            raise self.wrong(read.lines.get("encoding", table.line), f"there is no encoding `{encoding}`. Common ones: utf-8, latin-1, cp1252, utf-16.") from error  # fmt: skip
        with (
            text,
            tempfile.TemporaryDirectory() as folder,
        ):  # DuckDB reads few encodings; the copy lives as long as the staging
            copy = Path(folder) / file.name.removesuffix(".gz")
            with copy.open("w", encoding="utf-8", newline="") as written:
                while chunk := text.read(1 << 20):
                    written.write(chunk)
            broken = stage_csv(connection, stage, copy, columns, separator=separator, quotes=quotes, skip=skip)
        return columns, broken, "rowid + 1"


def _specs(given: Any) -> list[Any]:
    return list(given) if isinstance(given, Items) else [given]


def _fits(file: Path, pattern: str) -> bool:
    return fnmatch.fnmatch(file.name.lower(), str(pattern).lower())


def _csv_header(file: Path, read: Section) -> list[str]:
    import csv

    separator = str(read.get("separator", ","))
    separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
    encoding = str(read.get("encoding", "utf-8")).lower()
    with opened(file, "utf-8-sig" if encoding in ("utf-8", "utf8") else encoding) as text:
        if len(separator) == 1:
            rows: Iterator[list[str]] = csv.reader(text, delimiter=separator, quotechar=str(read.get("quote", '"')))
        else:
            rows = (line.rstrip("\r\n").split(separator) for line in text)
        for _ in range(int(read.get("header_row", 1)) - 1):
            next(rows, None)
        return distinct([c.strip() for c in next(rows, [])]) or ["column 1"]


def _text_of(value: Any) -> str | None:
    """Write a cell as text: dates in ISO, whole numbers without a decimal point."""
    if value is None:
        return None
    if isinstance(value, (datetime, date)):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _stage_excel(
    connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Section, mapping: Mapping, table: Section
) -> list[str]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises what zipfile and its XML reader raise
        raise SourceError(f"{file.name} is not an Excel file (.xlsx). Save it again from the spreadsheet.") from error
    try:
        sheet = str(read.get("sheet") or book.sheetnames[0])
        if sheet not in book.sheetnames:
            raise mapping.wrong(
                read.lines.get("sheet", table.line),
                f"{file.name} has no sheet `{sheet}`. Its sheets: {', '.join(book.sheetnames)}.",
            )
        first = int(read.get("header_row", 1))
        rows = book[sheet].iter_rows(min_row=first, values_only=True)
        header = distinct([str(c).strip() if c is not None else "" for c in next(rows, ())]) or ["column 1"]
        kept = [(number, row) for number, row in enumerate(rows, start=1) if any(c is not None for c in row)]
    finally:
        book.close()
    arrays = {
        c: pa.array([_text_of(row[i]) if i < len(row) else None for _, row in kept], pa.string())
        for i, c in enumerate(header)
    }
    arrays["_line"] = pa.array([number for number, _ in kept], pa.int64())
    _keep(connection, stage, pa.table(arrays))
    return header


def _keep(connection: duckdb.DuckDBPyConnection, stage: str, rows: Any) -> None:
    connection.register("handed_over", rows)
    in_order(connection, [f"CREATE OR REPLACE TEMP TABLE {stage} AS FROM handed_over"])
    connection.unregister("handed_over")


def _stage_query(connection: duckdb.DuckDBPyConnection, stage: str, sql: Section, mapping: Mapping) -> list[str]:
    import sqlalchemy

    url = str(sql["url"])
    if "://" not in url:
        if url not in os.environ:
            raise mapping.wrong(
                sql.lines["url"], f"the environment variable {url} is not set. Set it to the database's URL."
            )
        url = os.environ[url]
    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect().execution_options(stream_results=True) as reader:
            result = reader.execute(sqlalchemy.text(str(sql["query"])))
            columns = distinct([str(c) for c in result.keys()])  # noqa: SIM118
            batches = []
            while rows := result.fetchmany(50_000):
                texts = [pa.array([_text_of(row[i]) for row in rows], pa.string()) for i in range(len(columns))]
                batches.append(pa.record_batch(texts, names=columns))
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        cause = str(getattr(error, "orig", error)).splitlines()[0]
        raise mapping.wrong(sql.lines["query"], f"the query failed: {cause}") from error
    answer = pa.Table.from_batches(batches, pa.schema([(c, pa.string()) for c in columns]))
    _keep(connection, stage + "_answer", answer)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {stage} AS SELECT *, {quote(mapping.path.name)} AS _file, rowid + 1 AS _line, NULL::VARCHAR AS _broken FROM {stage}_answer")  # fmt: skip
    return columns


class _Compiler:
    """Turns the logs of one table into SELECTs."""

    def __init__(self, mapping: Mapping, table: Section, main: _Table, sides: dict[str, _Table]) -> None:
        self.mapping, self.table, self.main, self.sides = mapping, table, main, sides
        content = mapping.content
        dates = table.get("dates", content.get("dates")) or []
        self.formats = [str(d) for d in (dates if isinstance(dates, list) else [dates])]
        self.zone = content.get("time_zone")
        self.constants: Section = content.get("constants") or Section()
        self.known: dict[str, str] = {}  # ids already made from this table, for the logs that follow
        self.blank: list[str] = []  # SELECTs of the events that rows could hold and do not
        self.occurrences: list[str] = []  # columns that number equal natural keys

    def rows(self) -> str:
        """Give the table as SQL, with the occurrence numbers its ids need: numbered before any row is left out."""
        return f"(SELECT {', '.join(['t.*', *self.occurrences])} FROM {self.main.sql} t) t"

    def selects(self, thing: str, spec: Section, *, is_counted: bool) -> Iterator[tuple[str, str, bool]]:
        """Give (log, SELECT, is extra) for one log of the table, and what follows from it."""
        columns = {
            c: self.expression(spec[c], thing, c, spec.lines[c]) for c in spec if c not in ("when", "events", "promise")
        }
        for column in schema.LOG.tables[thing].columns:
            if column.name in self.constants and column.name not in columns:
                columns[column.name] = quote(self.constants[column.name])
        if (moment := self._exported_at()) is not None:
            columns.setdefault("exported_at", moment)
        where = self._when(spec) if "when" in spec else "TRUE"
        if not is_counted:
            where = f"({where}) AND t._broken IS NULL"
        getattr(self, f"_complete_{thing}", lambda columns: None)(columns)
        if thing in ("order_line", "return_event", "chain_element"):
            for key in ("order_line_id", "order_id", "product_id", "units", "parcel_id", "customer_id", "return_line_id", "return_id", "currency"):  # fmt: skip
                if key in columns:
                    self.known.setdefault(key, columns[key])
        if thing == "return_event":
            yield from self._events(spec, columns, where, is_counted)
            return
        self._require(thing, columns, spec)
        is_version = thing in ("product", "place", "policy", "shop") and not is_counted
        happened = columns.get(schema.LOG.tables[thing].info["time"])
        if happened is not None and not is_counted and not is_version and "when" not in spec:
            where += f" AND nullif(trim({happened}), '') IS NOT NULL"
        broken = "NULL::VARCHAR AS _broken" if is_version else "t._broken"
        select = f"SELECT {_listed(columns)}, t._file, t._line, {broken} FROM {ROWS} WHERE {where}"
        if is_version:  # one version a key, whatever the order of the rows
            keys = schema.LOG.tables[thing].info["key"]
            names = ", ".join(columns)
            latest = "exported_at DESC NULLS LAST, " if "exported_at" in columns else ""
            select = (
                f"SELECT * FROM (SELECT DISTINCT ON ({', '.join(keys)}) {names}, _file, _line FROM ({select}) "
                f"WHERE {keys[0]} IS NOT NULL ORDER BY {', '.join(keys)}, {latest}{names}, _file, _line)"
            )
        yield thing, select, False
        if thing == "refund" and ("order_line_id" in self.known or "return_line_id" in self.known):
            line: dict[str, str] = {
                k: columns[k] for k in ("refund_id", "refunded_at", "amount", "currency") if k in columns
            }
            line["refund_line_id"] = columns["refund_id"]
            line |= {k: self.known[k] for k in ("order_line_id", "return_line_id", "units") if k in self.known}
            line["restock_type"] = quote("return")
            yield (
                "refund_line",
                f"SELECT {_listed(line)}, t._file, t._line FROM {ROWS} WHERE ({where}) AND t._broken IS NULL",
                True,
            )

    def _exported_at(self) -> str | None:
        """Give the SQL of the time the rows were exported at, where a column of the table holds it."""
        section = self.table if "exported_at" in self.table else self.mapping.content
        said = section.get("exported_at")
        if said is None or (isinstance(said, Section) and "file" in said):
            return None
        return self.expression(said, "return_event", "recorded_at", section.lines["exported_at"])

    def _require(self, thing: str, columns: dict[str, str], spec: Section) -> None:
        for column in schema.LOG.tables[thing].columns:
            if column.info["required"] and column.name not in columns:
                hint = " Give it under `constants:`." if column.name in ("currency", "country") else ""
                raise self.mapping.wrong(spec.line, f"`{thing}` needs `{column.name}` ({column.comment}).{hint}")

    # what a log may leave out because it follows from the rest

    def _complete_order_line(self, columns: dict[str, str]) -> None:
        if "order_line_id" not in columns and "order_id" in columns:
            columns["order_line_id"] = self._natural_key(
                [columns[c] for c in ("order_id", "product_id") if c in columns]
            )
        if "order_id" not in columns and "order_line_id" in columns:
            columns["order_id"] = columns["order_line_id"]

    def _complete_product(self, columns: dict[str, str]) -> None:
        if "product_id" not in columns and "product_id" in self.known:
            columns["product_id"] = self.known["product_id"]
        columns.setdefault("valid_from", f"TIMESTAMP '{BEGINS}'")

    def _complete_place(self, columns: dict[str, str]) -> None:
        columns.setdefault("valid_from", f"TIMESTAMP '{BEGINS}'")

    def _complete_shop(self, columns: dict[str, str]) -> None:
        columns.setdefault("valid_from", f"TIMESTAMP '{BEGINS}'")
        if self.zone:
            columns.setdefault("time_zone", quote(self.zone))

    def _complete_policy(self, columns: dict[str, str]) -> None:
        columns.setdefault("valid_from", f"TIMESTAMP '{BEGINS}'")

    def _complete_chain_element(self, columns: dict[str, str]) -> None:
        if "parcel_id" not in columns and "parcel_id" in self.known:
            columns["parcel_id"] = self.known["parcel_id"]
        columns.setdefault("element_no", "1")
        columns.setdefault("element_type", quote("transport"))
        columns.setdefault("role", quote("trunk"))
        if "parcel_id" in columns:
            columns.setdefault("element_id", f"concat_ws('/', {columns['parcel_id']}, {columns['element_no']})")

    def _complete_refund(self, columns: dict[str, str]) -> None:
        for key in ("order_id", "return_id"):
            if key in self.known:
                columns.setdefault(key, self.known[key])
        line = self.known.get("return_line_id") or self.known.get("order_line_id")
        if line:
            columns.setdefault("refund_id", f"'refund-' || {line}")

    def _complete_recovery(self, columns: dict[str, str]) -> None:
        if "return_line_id" in self.known:
            columns.setdefault("return_line_id", self.known["return_line_id"])
            columns.setdefault("recovery_id", f"'recovery-' || {columns['return_line_id']}")
        columns.setdefault("units", self.known.get("units", "1"))

    def _events(
        self, spec: Section, columns: dict[str, str], where: str, is_counted: bool
    ) -> Iterator[tuple[str, str, bool]]:
        """Give return events: one a row, or one for each date that `events:` finds filled."""
        known_line = self.known.get("order_line_id")
        for key in ("order_line_id", "product_id", "customer_id", "units", "parcel_id"):
            if key in self.known:
                columns.setdefault(key, self.known[key])
        if "return_line_id" not in columns:
            base = columns.get("order_line_id") or columns.get("parcel_id") or columns.get("return_id")
            if base is None:
                raise self.mapping.wrong(
                    spec.line,
                    "`return_event` needs `order_line_id`, `return_line_id` or `parcel_id`: which units come back.",
                )
            is_one_table = known_line is not None and "order_line" in self.table["to"]
            columns["return_line_id"] = base if is_one_table else self._natural_key([base])
        columns.setdefault("return_id", columns["return_line_id"])
        self.known |= {k: columns[k] for k in ("return_line_id", "return_id")}
        stages: Section | None = spec.get("events")
        if stages is None:
            columns.setdefault(
                "event_id", f"concat_ws('/', {columns['return_line_id']}, {columns.get('event', 'NULL')})"
            )
            self._require("return_event", columns, spec)
            yield (
                "return_event",
                f"SELECT {_listed(columns)}, t._file, t._line, t._broken FROM {ROWS} WHERE {where}",
                False,
            )
            return
        times = {
            event: self.expression(stages[event], "return_event", "occurred_at", stages.lines[event])
            for event in stages
        }
        promised: str | None = None
        if "promise" in spec and "within" in spec["promise"]:
            columns["policy_id"], select = self._policy(spec["promise"])
            yield "policy", f"{select} FROM {ROWS} WHERE ({where}) GROUP BY ALL", True
        elif "promise" in spec:
            promised, select = self._promised_date(spec["promise"], columns, times)
            told = " OR ".join(f"nullif(trim({t}), '') IS NOT NULL" for t in (promised, *times.values()))
            yield "promised_date", f"{select} FROM {ROWS} WHERE ({where}) AND t._broken IS NULL AND ({told})", True
        first = next(iter(times))
        nothing = " AND ".join(
            f"nullif(trim({t}), '') IS NULL" for t in (*times.values(), *([promised] if promised else []))
        )
        lost = f" OR ({nothing})" if is_counted or "when" in spec else ""
        base_columns = ", ".join(f"{value} AS {column}" for column, value in columns.items())
        dates = ", ".join(f"{value} AS at_{event}" for event, value in times.items())
        rows = f"SELECT {base_columns}, {dates}, ({nothing}) AS has_nothing, t._file, t._line, t._broken FROM {ROWS} WHERE {where}"
        names = ", ".join(columns)
        known = f"SELECT {columns['return_line_id']} AS return_line_id, {dates}, ({where}) AS is_meant, t._file, t._line FROM {ROWS} WHERE t._broken IS NULL"
        self.blank.append(
            f"SELECT event_id, return_line_id, _file, _line FROM (WITH events AS ({known}) "
            + " UNION ALL ".join(
                f"SELECT concat_ws('/', return_line_id, {quote(event)}) AS event_id, return_line_id, _file, _line FROM events "
                f"WHERE return_line_id IS NOT NULL AND (is_meant IS NOT TRUE OR nullif(trim(at_{event}), '') IS NULL)"
                for event in times
            )
            + ")"
        )
        parts = [
            f"SELECT concat_ws('/', return_line_id, {quote(event)}) AS event_id, {quote(event)} AS event, at_{event} AS occurred_at, {names}, _file, _line, _broken "
            f"FROM events WHERE nullif(trim(at_{event}), '') IS NOT NULL{' OR has_nothing' if event == first and lost else ''}"
            for event in times
        ]  # fmt: skip
        yield "return_event", f"SELECT * FROM (WITH events AS ({rows}) {' UNION ALL BY NAME '.join(parts)})", False

    def _policy(self, promise: Section) -> tuple[str, str]:
        """Give a promise of so much time as a policy: (policy id, SELECT of its row)."""
        unit = promise.get("unit", "calendar_days")
        policy = quote(f"promised-{promise['from']}-{promise['to']}-{promise['within']}-{unit}")
        select = (
            f"SELECT {policy} AS policy_id, TIMESTAMP '{BEGINS}' AS valid_from, {quote(BY_ROW)} AS channel, "
            f"{int(promise.get('window_days', 30))} AS window_days, {quote(promise.get('name', promise['to']))} AS promise_id, {quote(promise['from'])} AS from_stage, "
            f"{quote(promise['to'])} AS to_stage, {float(promise['within'])} AS duration, {quote(unit)} AS duration_unit, {quote(_responsible(promise))} AS responsible, "
            "min(t._file) AS _file, min(t._line) AS _line"
        )
        return policy, select

    def _promised_date(self, promise: Section, columns: dict[str, str], times: dict[str, str]) -> tuple[str, str]:
        """Give the promised date of each row: (what its column holds, SELECT of the promised dates).

        A time of day counts where the promise ends with the instant; a date without one, or at midnight, ends with its day.
        """
        written = self._value(promise["by"], promise.lines["by"])
        by = self.expression(promise["by"], "promised_date", "promised_at", promise.lines["by"])
        local = f"timezone({quote(self.zone or 'UTC')}, try_cast({by} AS TIMESTAMPTZ))"
        day = f"coalesce(strftime({local}, '%Y-%m-%d'), {by})"
        line: dict[str, str] = {
            c: columns[c]
            for c in ("return_line_id", "return_id", "order_line_id", "product_id", "country", "shop_id", "carrier", "method")
            if c in columns
        }  # fmt: skip
        line["promise_id"], line["to_stage"] = quote(promise.get("name", promise["to"])), quote(promise["to"])
        line["from_stage"] = quote(promise["from"]) if "from" in promise else "NULL::VARCHAR"
        line["responsible"] = quote(_responsible(promise))
        line["began_at"] = "coalesce(" + ", ".join(f"nullif(trim({t}), '')" for t in times.values()) + ")"
        has_time = f"coalesce({local}::TIME <> TIME '00:00', false)" if promise.get("ends") == "instant" else "false"
        line["promised_on"] = f"CASE WHEN NOT {has_time} THEN {day} END"
        line["promised_at"] = f"CASE WHEN {has_time} THEN {by} END"
        return f"({written})::VARCHAR", f"SELECT {_listed(line)}, t._file, t._line"

    def _when(self, spec: Section) -> str:
        given = spec["when"]
        if isinstance(given, Section):
            self.mapping._allow(given, ("column", "is"), "under `when:`")
            column = self.reference(str(given.get("column")), given.lines.get("column", given.line))
            wanted = given.get("is", [])
            words = wanted if isinstance(wanted, list) else [wanted]
            return f"lower(trim({column})) IN ({', '.join(quote(str(w).lower()) for w in words)})"
        column = self.reference(str(given), spec.lines["when"])
        return f"lower(trim(coalesce({column}, ''))) NOT IN ({', '.join(quote(w) for w in NO_WORDS)})"

    # -- expressions ---------------------------------------------------------------------------------------------------

    def reference(self, column: str, line: int) -> str:
        """Give the SQL of a column of the table, or of a joined one written `short.Column`."""
        short, _, rest = column.partition(".")
        if rest and short in self.sides and self.main.find(column) is None:
            return f"{name(short)}.{name(self.mapping._column(self.sides[short], rest, line))}"
        return f"t.{name(self.mapping._column(self.main, column, line))}"

    def expression(self, given: Any, thing: str, column: str, line: int) -> str:
        """Compile what stands behind a canonical column into SQL that gives text."""
        kind = schema.LOG.tables[thing].columns[column].type
        plus = given.get("plus_days") if isinstance(given, Section) else None
        if isinstance(given, Section) and not isinstance(given.get("plus_days", 0), int):
            raise self.mapping.wrong(given.lines["plus_days"], "`plus_days:` is a whole number of days.")
        if isinstance(given, Section) and "date" in given:
            return self._time(
                self._value(given, line),
                [str(given["date"])],
                is_day=isinstance(kind, Date),
                plus=plus,
            )
        value = self._value(given, line)
        if isinstance(given, Section) and "value" in given:
            return value
        if isinstance(kind, (DateTime, Date)):
            return self._time(value, self.formats, is_day=isinstance(kind, Date), plus=plus)
        if isinstance(kind, (Integer, Numeric, Double)):
            return value if _is_arithmetic(given) else f"coalesce({self._number(value)}::VARCHAR, {value})"
        if isinstance(kind, Boolean):
            return f"CASE WHEN lower(trim({value})) IN ({', '.join(map(quote, YES_WORDS))}) THEN 'true' WHEN lower(trim({value})) IN ({', '.join(map(quote, NO_WORDS))}) THEN 'false' ELSE {value} END"  # fmt: skip
        if schema.LOG.tables[thing].columns[column].info["values"]:  # our own words, however the file capitalises them
            value = f"lower({value})"
        return f"nullif(trim({value}), '')"

    def _value(self, given: Any, line: int) -> str:
        """Compile a column, a constant or a small expression; arithmetic gives a number as text."""
        if not isinstance(given, Section):
            return self.reference(str(given), line)
        self.mapping._allow(given, EXPRESSION_KEYS, "in an expression")
        if "value" in given:
            return quote(given["value"]) if given["value"] is not None else "NULL::VARCHAR"
        for word, operator in (("sum", "+"), ("minus", "-"), ("times", "*"), ("divide", "/")):
            if word in given:
                return self._arithmetic(given, word, operator)
        for word in ("first", "join", "key"):
            if word in given:
                parts = [self._value(p, given.lines[word]) for p in self._parts(given, word)]
                if word == "first":
                    return "coalesce(" + ", ".join(f"nullif(trim({p}), '')" for p in parts) + ")"
                if word == "join":
                    return f"concat_ws({quote(given.get('with', ' '))}, {', '.join(parts)})"
                return self._natural_key(parts)
        if "start" in given:
            column, length = self._parts(given, "start")
            return f"left(trim({self._value(column, given.lines['start'])}), {int(length)})"
        if "column" not in given:
            raise self.mapping.wrong(line, f"an expression has one of: {', '.join(EXPRESSION_KEYS[:10])}.")
        value = self._value(given["column"], given.lines["column"])
        if "map" in given:
            if not isinstance(given["map"], Section):
                raise self.mapping.wrong(given.lines["map"], "`map:` lists the words of the file, each with ours.")
            cases = " ".join(f"WHEN {quote(str(k).lower())} THEN {quote(v)}" for k, v in given["map"].items())
            otherwise = (
                quote(given["otherwise"])
                if given.get("otherwise") is not None
                else ("NULL" if "otherwise" in given else value)
            )
            return f"CASE lower(trim({value})) {cases} ELSE {otherwise} END"
        return value

    def _parts(self, given: Section, word: str) -> list[Any]:
        parts = given[word]
        if not isinstance(parts, list) or not parts:
            raise self.mapping.wrong(
                given.lines[word], f"`{word}:` takes a list, such as {word}: [first column, second column]."
            )
        return parts

    def _arithmetic(self, given: Section, word: str, operator: str) -> str:
        parts = []
        for part in self._parts(given, word):
            is_number = isinstance(part, (int, float)) and not isinstance(part, bool)
            number = str(part) if is_number else self._number(self._value(part, given.lines[word]))
            parts.append(f"coalesce({number}, 0)" if word == "sum" else number)
        if word == "divide":
            parts[1:] = [f"nullif({p}, 0)" for p in parts[1:]]
        return f"({f' {operator} '.join(parts)})::VARCHAR"

    def _number(self, value: str) -> str:
        """Read a number as this table writes it; NULL when it is none."""
        decimal, thousands = str(self.main.read.get("decimal", ".")), str(self.main.read.get("thousands", ""))
        plain = f"regexp_replace({value}, '[\\s\\x{{00A0}}\\x{{202F}}€$£]', '', 'g')"
        written = plain
        if thousands and (self.main.read.get("_is_text") or thousands == ","):
            written = f"replace({written}, {quote(thousands)}, '')"
        if decimal != ".":
            written = f"replace({written}, {quote(decimal)}, '.')"
            if not self.main.read.get("_is_text"):  # a typed cell is already plain
                written = f"CASE WHEN contains({plain}, {quote(decimal)}) THEN {written} ELSE {plain} END"
        return f"try_cast({written} AS DECIMAL(18, 6))"

    def _time(self, value: str, formats: list[str], *, is_day: bool, plus: Any = None) -> str:
        """Write a time in ISO: in UTC where the mapping says its zone, unchanged where it cannot be read."""
        text = f"trim({value})"
        has_zone = f"regexp_matches({text}, '\\d{{2}}:\\d{{2}}.*(Z|[+-]\\d{{2}}(:?\\d{{2}})?)$')"
        local = f"try_cast({text} AS TIMESTAMP)"
        if formats:
            local = f"coalesce(try_strptime({text}, [{', '.join(map(quote, formats))}]), {local})"
        later = f" + INTERVAL {int(plus)} DAY" if plus is not None else ""
        if is_day:
            return f"coalesce(strftime({local}{later}, '%Y-%m-%d'), {value})"
        if self.zone:
            written = f"strftime(timezone('UTC', timezone({quote(self.zone)}, {local}{later})), '%Y-%m-%dT%H:%M:%SZ')"
        else:
            written = f"strftime({local}{later}, '%Y-%m-%d %H:%M:%S')"
        return f"CASE WHEN {has_zone} THEN {text} ELSE coalesce({written}, {value}) END"

    def _natural_key(self, parts: list[str]) -> str:
        """Make an id of a natural key and an occurrence number; equal keys are told apart by their rows' content."""
        content = ", ".join(f"t.{name(c)}" for c in self.main.columns)
        listed = ", ".join(parts)
        number = f"row_number() OVER (PARTITION BY {listed} ORDER BY {content})"
        if (column := next((o for o in self.occurrences if o.startswith(number)), None)) is None:
            column = f"{number} AS _occurrence_{len(self.occurrences)}"
            self.occurrences.append(column)
        return f"concat_ws('/', {listed}, t.{column.rsplit(' AS ', 1)[1]})"


def _is_arithmetic(given: Any) -> bool:
    return isinstance(given, Section) and any(w in given for w in ("sum", "minus", "times", "divide"))


def _responsible(promise: Section) -> str:
    return str(
        promise.get("responsible") or ("carrier" if promise["to"] in ("received", "carrier_scan") else "retailer")
    )


def _listed(columns: dict[str, str]) -> str:
    return ", ".join(f"{value} AS {column}" for column, value in columns.items())
