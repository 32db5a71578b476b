"""Two builds compared table by table and row by row: everything equal, floating figures to nine digits."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

PASSING = ("build_info", "build_load")  # tables that name loads and builds
OF_LOAD = ("load_id", "landed_at", "build_id", "created_at", "fitted_at", "trained_at", "exported_at")
RELATIVE, ABSOLUTE = 1e-9, 1e-12


@dataclass(frozen=True)
class Table:
    """One table of two builds: its rows, how many of them differ, and the largest part by which a figure differs."""

    name: str
    rows: int
    apart: int
    most: float


def compared(ours: Path, theirs: Path) -> Iterator[Table]:
    """Compare the tables of two builds, rows in the order of all that is no floating figure."""
    with duckdb.connect() as connection:
        for name, path in (("a", ours), ("b", theirs)):
            connection.execute(f"ATTACH '{path}' AS {name} (READ_ONLY)")
        tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'a' ORDER BY 1"
        for (table,) in connection.execute(tables).fetchall():
            if table not in PASSING:
                yield _table(connection, table)


def _table(connection: duckdb.DuckDBPyConnection, table: str) -> Table:
    types = {r[0]: r[1] for r in connection.execute(f"DESCRIBE a.{table}").fetchall() if r[0] not in OF_LOAD}
    figures = [f'"{n}"' for n, kind in types.items() if kind == "DOUBLE"]
    plain = [f'"{n}"' for n, kind in types.items() if kind != "DOUBLE"]
    counts = [connection.execute(f"SELECT count(*) FROM {side}.{table}").fetchall()[0][0] for side in ("a", "b")]
    if counts[0] != counts[1]:
        return Table(table, counts[0], max(counts), float("inf"))
    order = ", ".join([*plain, *(f"round({f}, 6)" for f in figures)])
    sides = (
        f"(SELECT struct_pack({', '.join(f'{c} := {c}' for c in [*plain, *figures])}) AS {side} FROM {side}.{table}"
        f" ORDER BY {order})"
        for side in ("a", "b")
    )
    off = {f: f"abs(a.{f} - b.{f}) / greatest(abs(a.{f}), abs(b.{f}), {ABSOLUTE / RELATIVE})" for f in figures}
    wrong = [f"a.{c} IS DISTINCT FROM b.{c}" for c in plain]
    wrong += [f"(a.{f} IS NULL) <> (b.{f} IS NULL) OR coalesce({test}, 0) > {RELATIVE}" for f, test in off.items()]
    most = f"greatest(0, {', '.join(off.values())})" if off else "0"
    apart, largest = connection.execute(
        f"SELECT count(*) FILTER ({' OR '.join(wrong)}), coalesce(max({most}), 0) FROM"
        f" {' POSITIONAL JOIN '.join(sides)}"
    ).fetchall()[0]
    return Table(table, counts[0], apart, float(largest))
