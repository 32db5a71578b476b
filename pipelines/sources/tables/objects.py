"""Objects in JSON and lines of JSON: rows unrolled from lists at any depth."""

import gzip
import json
import mmap
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import SourceError
from pipelines.sources.base import Lines
from pipelines.sources.looks import check_memory, shown, start_of
from pipelines.sources.tables.parts import (
    LINES,
    LONGEST_LINE,
    LONGEST_OBJECT,
    Objects,
    OptionError,
    Part,
    branches_of,
    cut,
    opened,
    pointer,
)
from pipelines.sources.tables.text import encoding_of, in_utf8
from pipelines.warehouse.sql import in_order, quote, read_sql, staging_of


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


def stage_objects(connection: duckdb.DuckDBPyConnection, stage: str, file: Path, read: Mapping[str, Any]) -> Part:
    """Stage the rows of objects."""
    branches = branches_of(read)
    path = [key for key in str(read.get("path", "")).split(".") if key]
    with tempfile.TemporaryDirectory(dir=staging_of(connection)) as folder:
        encoding = encoding_of(file, read)
        if encoding not in ("utf-8", "utf8") or _has_mark(file):
            file = in_utf8(file, "utf-8-sig" if encoding in ("utf-8", "utf8") else encoding, Path(folder))
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
            return unroll(connection, stage, file, documents, path, branches)
        except duckdb.Error as error:
            check_memory(file, error)
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


def unroll(
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
