"""Fixes of quarantined rows as they are applied: between the rows of a source and their validation.

A fix says what counts in place of what a file holds. The raw file stays as it is, so a fix is applied whenever rows are
validated, and taken back by validating them without it. How fixes are made is in `load/quarantine`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb
from sqlalchemy import select

from pipelines.settings import Settings
from pipelines.sources import NamedRows, Source, source_named
from pipelines.sources.mapping import Mapping as MappingSource
from pipelines.warehouse import schema, sql, state, state_tables

KINDS = ("value", "leave_out", "wording", "mapping")


def standing(state_file: state.State, namespace: str) -> list[dict[str, Any]]:
    """List the fixes of a source that stand, the latest last."""
    f = state_tables.fix.c
    asked = select(state_tables.fix).where(f.source == namespace, f.withdrawn_at.is_(None))
    return state_file.rows(asked.order_by(f.fix_id))


def source_of(settings: Settings, landed: Mapping[str, Any], fixes: Iterable[Mapping[str, Any]]) -> Source:
    """Give the source that reads a load's files: by the mapping it landed with, or the one that was put in its place.

    A mapping takes the place of the one whose version it names, so a later file with a newer mapping is not touched.
    """
    path = settings.raw / landed["mapping"] if landed["mapping"] else None
    text = next((f["new"] for f in reversed([*fixes]) if is_of_mapping(f, landed)), None)
    if path is not None and text is not None:
        return MappingSource(path, text)
    return source_named(str(path) if path else landed["source"])


def is_of_mapping(fix: Mapping[str, Any], landed: Mapping[str, Any]) -> bool:
    """Say whether a fix is another mapping for the files of a load."""
    return bool(fix["kind"] == "mapping" and fix["old"] == landed["version"] and fix["source"] == landed["namespace"])


def applied(
    connection: duckdb.DuckDBPyConnection,
    named: NamedRows,
    fixes: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
) -> NamedRows:
    """Give the rows of a log as fixes have them: cells replaced, rows left out.

    `files` are the landed files, so that a fix of a row finds its own whatever the file is called. A column that the
    rows do not have is not added.
    """
    digests = {f["given_sha256"] or f["sha256"]: f["name"] for f in files}
    mine = [f for f in fixes if f["thing"] == named.thing and (not f["given_sha256"] or f["given_sha256"] in digests)]
    if not mine:
        return named
    types = {r[0]: str(r[1]).upper() for r in connection.execute(f"DESCRIBE ({named.sql})").fetchall()}
    item = item_sql(named.thing, types)
    cells: dict[str, dict[tuple[str, int, str], str]] = {}
    wordings: dict[str, dict[str, str]] = {}
    left_out: dict[tuple[str, int, str], str] = {}
    for fix in mine:  # of several of one cell the latest counts
        place = (digests.get(fix["given_sha256"], ""), fix["line"] or 0, fix["item"] or "")
        if fix["kind"] == "leave_out":
            left_out[place] = ""
        elif fix["column"] in types and fix["kind"] == "value":
            cells.setdefault(fix["column"], {})[place] = fix["new"]
        elif fix["column"] in types:
            wordings.setdefault(fix["column"], {})[fix["old"]] = fix["new"]
    joins, replaced = [], []
    for number, column in enumerate(sorted({*cells, *wordings})):
        values = []
        if column in cells:
            joins.append(_joined(f"c{number}", cells[column], item))
            values.append((f"c{number}", f"c{number}.line IS NOT NULL"))
        if column in wordings:
            rows = sql.rows_sql({"old": "VARCHAR", "new": "VARCHAR"}, wordings[column].items())
            joins.append(f"LEFT JOIN ({rows}) w{number} ON w{number}.old = trim(n.{sql.name(column)}::VARCHAR)")
            values.append((f"w{number}", f"w{number}.old IS NOT NULL"))
        whens = " ".join(f"WHEN {test} THEN try_cast({of}.new AS {types[column]})" for of, test in values)
        replaced.append(f"CASE {whens} ELSE n.{sql.name(column)} END AS {sql.name(column)}")
    if "_broken" in types and cells:
        whole = " OR ".join(f"c{n}.line IS NOT NULL" for n, c in enumerate(sorted({*cells, *wordings})) if c in cells)
        replaced.append(f"CASE WHEN NOT ({whole}) THEN n._broken END AS _broken")
    where = ""
    if left_out:
        joins.append(_joined("gone", left_out, item))
        where = " WHERE gone.line IS NULL"
    columns = f"n.* REPLACE ({', '.join(replaced)})" if replaced else "n.*"
    return replace(named, sql=f"SELECT {columns} FROM ({named.sql}) n {' '.join(joins)}{where}")


def item_sql(thing: str, types: Mapping[str, str]) -> str:
    """Give the id of a row `n` as a fix keeps it, as SQL: empty where it has none, or one that may be an address."""
    key = schema.LOG.tables[thing].info["key"][0]
    if key not in types:
        return "''"
    text = f"trim(n.{sql.name(key)}::VARCHAR)"
    return f"CASE WHEN contains({text}, '@') THEN '' ELSE coalesce({text}, '') END"


def _joined(name: str, cells: Mapping[tuple[str, int, str], str], item: str) -> str:
    """Join what was said of single rows to the rows `n`."""
    types = {"file": "VARCHAR", "line": "BIGINT", "item": "VARCHAR", "new": "VARCHAR"}
    rows = sql.rows_sql(types, [(*place, new) for place, new in cells.items()])
    return (
        f"LEFT JOIN ({rows}) {name} ON {name}.file = parse_filename(n._file) AND {name}.line = n._line"
        f" AND {name}.item = {item}"
    )
