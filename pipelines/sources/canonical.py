"""The canonical format: one file a log, named after it, in CSV, NDJSON or Parquet; its columns are the log's columns.

The declaration of a log in `pipelines.warehouse.schema` is the format; `json_schema` writes it down for others. Every
row of a file is given, a broken one too, with the reason in `_broken`. Values stay text: judging them is the loader's
work.

CSV and NDJSON are staged once in the order of the file, so that the row number is the line and everything after runs on
all cores.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import BigInteger, Boolean, Date, DateTime, Double, Integer, Numeric, Table

from pipelines.errors import SourceError
from pipelines.sources.base import Lines, NamedRows
from pipelines.sources.looks import check_content, check_memory, reading, shown, start_of, what_is
from pipelines.sources.tables.parquet import parquet_columns
from pipelines.sources.tables.parts import CSV, LINES, LONGEST_LINE, NDJSON, PARQUET, kind_of, opened, short_lines
from pipelines.sources.tables.text import Staged, count_lines, csv_columns, stage_csv
from pipelines.warehouse import schema
from pipelines.warehouse.sql import in_order, name, quote, read_sql

BEGIN_TABLES, END_TABLES = "<!-- columns: written by canonical.write_reference -->", "<!-- end of columns -->"
SAMPLE_LINES = 1000  # NDJSON lines looked at for keys that are not columns


def thing_of(file: Path) -> str:
    """Tell a file's log: its name up to the first dot.

    >>> thing_of(Path("return_event.carrier.ndjson"))
    'return_event'
    """
    return file.name.split(".", 1)[0].lower()


class Canonical:
    """Files in our own format."""

    name = "canonical"
    version = "1"
    expects = "files named after a log (order_line.csv, return_event.ndjson, product.parquet)"

    def recognises(self, files: list[Path]) -> bool:
        """Tell whether any file is named after a log."""
        return any(kind_of(f) and thing_of(f) in schema.LOG.tables for f in files)

    def name_rows(
        self, connection: duckdb.DuckDBPyConnection, files: list[Path], namespace: str
    ) -> Iterator[NamedRows]:
        """Give one NamedRows a log, its files one after the other in the order of their names.

        Raises SourceError for a file whose name is no log's, whose format is unknown, that lacks a required column or
        that is not UTF-8.
        """
        by_thing: dict[str, list[Path]] = {}
        for file in sorted(files, key=lambda f: f.name):
            check_content(file)
            if thing_of(file) not in schema.LOG.tables:
                raise SourceError(
                    f"{shown(file)}: no log is named {thing_of(file)!r}. The name of a file begins with one of: "
                    f"{', '.join(schema.LOG.tables)}; or load it with a mapping (backhaul map {shown(file)})."
                )
            if kind_of(file) is None:
                raise SourceError(f"{shown(file)}: unknown format. Files are .csv, .ndjson, .jsonl or .parquet.")
            by_thing.setdefault(thing_of(file), []).append(file)
        for thing in schema.LOG.tables:
            if thing in by_thing:
                yield from _named(connection, schema.LOG.tables[thing], by_thing[thing])


def _named(connection: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> Iterator[NamedRows]:
    selects: list[str] = []
    ignored: dict[str, None] = {}
    staged: list[str] = []
    lines: dict[str, Lines] = {}
    for file in files:
        with reading(file):
            selects.append(_selected(connection, table, file, staged, ignored, lines))
    if selects:
        rows = " UNION ALL BY NAME ".join(selects)
        if len(selects) > 1:  # a UNION of short tables is read by one thread
            whole = f"staged_{table.name}"
            connection.execute(f"CREATE TEMP TABLE {whole} AS {rows}")
            while staged:
                connection.execute(f"DROP TABLE {staged.pop()}")
            staged.append(whole)
            rows = f"SELECT * FROM {whole}"
        yield NamedRows(table.name, rows, ignored_columns=tuple(ignored), lines=lines)
    for stage in staged:
        connection.execute(f"DROP TABLE {stage}")


def _selected(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    file: Path,
    staged: list[str],
    ignored: dict[str, None],
    lines: dict[str, Lines],
) -> str:
    """Stage a file; give the SELECT of its rows."""
    kind = kind_of(file) or CSV
    _check_kind(file, kind)
    columns = {CSV: csv_columns, NDJSON: ndjson_keys, PARQUET: parquet_columns}[kind](connection, file)
    if kind == NDJSON and what_is(file).startswith(("empty", "blank")):  # a list without items lacks no column
        columns = list(table.columns.keys())
    known = _known(table, file, columns)
    ignored.update(dict.fromkeys(c for c in columns if c and c not in known.values()))
    place = {given: f"c{i}" for i, given in enumerate(columns)} if kind == CSV else {}
    picked = ", ".join(f"{place.get(given) or name(given)} AS {column}" for column, given in known.items())
    if kind == PARQUET:
        return (
            f"SELECT {picked}, {quote(file.name)} AS _file, file_row_number + 1 AS _line, NULL::VARCHAR AS _broken "
            f"FROM {read_sql('parquet', file, 'file_row_number = true')}"
        )
    stage = f"staged_{table.name}_{len(staged)}"
    staged.append(stage)
    if kind == CSV:
        rows = stage_csv(connection, stage, file, len(columns))
    else:
        rows = stage_ndjson(connection, stage, file, list(known.values()))
    lines[file.name] = rows.lines
    return f"SELECT {picked}, {quote(file.name)} AS _file, {rows.line} AS _line, {rows.broken} AS _broken FROM {stage}"


def _check_kind(file: Path, kind: str) -> None:
    """Raise SourceError for a file that holds something else than its name says."""
    what = what_is(file)
    if kind == NDJSON and what.startswith(("empty", "blank")):
        return
    wanted = {CSV: "text", NDJSON: "JSON", PARQUET: "a Parquet file"}[kind]
    if what == wanted or (kind == NDJSON and what == "text"):  # its lines will say that they are no objects
        return
    todo = {
        "JSON": "Name it .ndjson if it holds one object a line; else load it with a mapping.",
        "text in UTF-16": "Save it as UTF-8, or load it with a mapping.",
        "a Parquet file": "Name it .parquet.",
    }
    if kind == PARQUET:
        raise SourceError(f"{shown(file)} is {what}, not a Parquet file. Give it the ending of what it holds.")
    raise SourceError(
        f"{shown(file)} is {what}, whatever its name says."
        f" {todo.get(what, 'Save it as CSV, or load it with a mapping.')}"
    )


def _known(table: Table, file: Path, columns: list[str]) -> dict[str, str]:
    """Give canonical column -> column of the file; raise when a required one is missing or one is there twice."""
    known: dict[str, str] = {}
    for given in columns:
        lower = given.strip().lower()
        if lower in table.columns:
            if lower in known:
                raise SourceError(f"{shown(file)}: the column {lower} is there twice. Name one of them differently.")
            known[lower] = given
    for column in table.columns:
        if column.info["required"] and column.name not in known:
            hint = ""
            signs = {";": "semicolons", "\t": "tabs", "|": "bars"}
            if len(columns) == 1 and (sign := next((s for s in signs if s in columns[0]), None)):
                hint = f" Its columns are separated by {signs[sign]}, not by commas: load it with a mapping."
            if any(mark in c for c in columns for mark in "\0\ufffd"):
                raise SourceError(f"{shown(file)} is not UTF-8. Save it as UTF-8, or load it with a mapping.")
            raise SourceError(
                f"{shown(file)}: the required column {column.name} is missing.{hint} "
                f"docs/sources.md lists the columns of {table.name}."
            )
    if kind_of(file) == NDJSON:  # a key may come late in the file
        known |= {c.name: c.name for c in table.columns if c.name not in known}
    return known


def ndjson_keys(_: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """List the keys of the first lines of an NDJSON file."""
    keys: dict[str, None] = {}
    with opened(file) as text:
        for line in itertools.islice(short_lines(text), SAMPLE_LINES):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                keys.update(dict.fromkeys(row))
    return list(keys)


def stage_ndjson(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, columns: list[str]) -> Staged:
    """Stage an NDJSON file as text. A line that is no object is a row of NULLs."""
    lines = count_lines(file)
    declared = ", ".join(f"{quote(c)}: 'VARCHAR'" for c in columns)
    if start_of(file, 3) == b"\xef\xbb\xbf":  # the CSV reader knows the byte-order mark, the JSON reader does not
        values = ", ".join(
            f"CASE WHEN json_valid(line) THEN line ->> {quote('$.' + name(c))} END AS {name(c)}" for c in columns
        )
        read = f"SELECT {values} FROM {read_sql('csv', file, LINES)}"
    else:
        options = f"columns = {{{declared}}}, ignore_errors = true, maximum_object_size = {LONGEST_LINE}"
        read = f"FROM {read_sql('ndjson', file, options)}"
    try:
        in_order(connection, [f"CREATE TEMP TABLE {stage} AS {read}"])
    except duckdb.Error as error:
        check_memory(file, error)
        raise SourceError(
            f"{shown(file)} cannot be read as NDJSON: one object a line, UTF-8. Correct it and load it again."
        ) from error
    line = "rowid + 1"
    rows = connection.execute(f"SELECT count(*) FROM {stage}").fetchall()[0][0]
    if rows != lines["lines"] - lines["blank"]:  # there are empty lines, which are no rows
        with opened(file) as text:
            filled = [number for number, one in enumerate(text, start=1) if one.strip()]
        if len(filled) != rows:
            raise SourceError(f"{shown(file)} is not NDJSON: one object a line. Export it again.")
        lines["blank"] = lines["lines"] - rows
        connection.register("backhaul_lines", pa.table({"line": filled}))
        in_order(connection, [f"CREATE TEMP TABLE {stage}_lines AS FROM backhaul_lines"])
        connection.unregister("backhaul_lines")
        line = f"(SELECT l.line FROM {stage}_lines l WHERE l.rowid = {stage}.rowid)"
    broken = f"CASE WHEN coalesce({', '.join(name(c) for c in columns)}) IS NULL THEN 'not a JSON object' END"
    return Staged(line, broken, lines)


def json_schema(thing: str) -> dict[str, Any]:
    """Describe one row of a log as a JSON schema (2020-12), from its declaration.

    >>> json_schema("refund")["required"]
    ['refund_id', 'refunded_at', 'amount', 'currency']
    """
    table = schema.LOG.tables[thing]
    properties: dict[str, Any] = {}
    for column in table.columns:
        entry: dict[str, Any] = _json_type(column.type)
        if column.info["values"]:
            entry["enum"] = list(column.info["values"])
        if column.info["default"] is not None:
            entry["default"] = column.info["default"]
        properties[column.name] = entry | {"description": column.comment}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": thing,
        "description": f"{table.comment} Identified by {', '.join(table.info['key'])}.",
        "type": "object",
        "properties": properties,
        "required": [c.name for c in table.columns if c.info["required"]],
        "additionalProperties": True,
    }


def _json_type(kind: object) -> dict[str, Any]:
    if isinstance(kind, DateTime):
        return {"type": "string", "format": "date-time"}
    if isinstance(kind, Date):
        return {"type": "string", "format": "date"}
    if isinstance(kind, Boolean):
        return {"type": "boolean"}
    if isinstance(kind, (Integer, BigInteger)):
        return {"type": "integer"}
    if isinstance(kind, (Numeric, Double)):
        return {"type": "number"}
    return {"type": "string"}


def columns_table(thing: str) -> str:
    """List a log's columns as a Markdown table."""
    table = schema.LOG.tables[thing]
    rows = []
    for column in table.columns:
        kind = _json_type(column.type)
        type_ = kind.get("format", kind["type"])
        must = "yes" if column.info["required"] else ""
        notes = str(column.comment)
        if column.info["values"]:
            notes += f": {', '.join(f'`{v}`' for v in column.info['values'])}"
        if column.info["default"] is not None:
            notes += f" (default `{str(column.info['default']).lower()}`)"
        rows.append(f"| `{column.name}` | {type_} | {must} | {notes} |")
    return "\n".join(["| column | type | required | meaning |", "|---|---|---|---|", *rows])


def write_reference(docs: Path) -> None:
    """Write docs/schema/*.json and the column tables of docs/sources.md from the declarations."""
    (docs / "schema").mkdir(parents=True, exist_ok=True)
    for thing in schema.LOG.tables:
        text = json.dumps(json_schema(thing), indent=2, ensure_ascii=False) + "\n"
        (docs / "schema" / f"{thing}.json").write_text(text, encoding="utf-8")
    page = docs / "sources.md"
    written = page.read_text(encoding="utf-8")
    head, _, rest = written.partition(BEGIN_TABLES)
    tail = rest.partition(END_TABLES)[2]
    page.write_text(head + BEGIN_TABLES + "\n\n" + reference() + "\n\n" + END_TABLES + tail, encoding="utf-8")


def reference() -> str:
    """Give the column tables of every log, as they stand in docs/sources.md."""
    sections = []
    for thing, table in schema.LOG.tables.items():
        key = ", ".join(f"`{k}`" for k in table.info["key"])
        sections.append(f"### {thing}\n{table.comment} Identified by {key}.\n\n{columns_table(thing)}")
    return "\n\n".join(sections)
