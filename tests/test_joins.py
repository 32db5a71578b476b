"""Joins: no statement of a load compares every row of one large table with every row of another.

DuckDB joins by hashing where a condition is an equality of both sides. A further condition of a left join that speaks
of one side alone makes it compare all with all: what takes a second of 100,000 order lines takes hours of ten millions.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.load import load
from tests.conftest import fresh, write_shop

ALL_WITH_ALL = ("BLOCKWISE_NL_JOIN", "NESTED_LOOP_JOIN", "CROSS_PRODUCT")
FEW = ("UNGROUPED_AGGREGATE", "COLUMN_DATA_SCAN", "DUMMY_SCAN", "EXPRESSION_SCAN", "TABLE_FUNCTION", "UNNEST", "RANGE")
"""What gives one row, or what was written into the statement."""
SMALL = re.compile(
    r"dim_(?!product)|build_source|leg_factor|own_factor|fact_fx_rate|treatment_of|goods_material|touched_|backlog$|(every_)?instant$"
)
"""Tables that do not grow with the shop."""


def sides(node: dict[str, Any]) -> Iterator[tuple[str, set[str], set[str]]]:
    """Give each join of all with all, and the tables that each side reads whole."""
    if node["name"].strip() in ALL_WITH_ALL:
        one, other = node["children"]
        yield node["name"].strip(), large(one), large(other)
    for child in node["children"]:
        yield from sides(child)


def is_asof(kind: str, query: str) -> bool:
    """Say whether loops are DuckDB's way to join by nearest value where there are few rows (64, as it is set)."""
    return kind == "NESTED_LOOP_JOIN" and "ASOF" in query


def large(node: dict[str, Any]) -> set[str]:
    if node["name"].strip() in FEW:
        return set()
    found = str(node.get("extra_info", {}).get("Table", ""))
    own = {found} if found and not SMALL.match(found.rsplit(".", 1)[-1]) else set()
    return own.union(*map(large, node["children"]))


class Explained:
    """A connection that has each statement explained before it runs."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, told: list[str]) -> None:
        self._connection, self._told = connection, told

    def execute(self, query: str, *values: Any, **options: Any) -> Any:
        for statement in duckdb.extract_statements(query):
            if statement.type.name in {"SELECT", "INSERT", "CREATE", "UPDATE", "DELETE"}:
                self._explain(statement.query, values)
        done = self._connection.execute(query, *values, **options)
        return type(self)(done, self._told) if isinstance(done, duckdb.DuckDBPyConnection) else done

    def _explain(self, query: str, values: Any) -> None:
        try:
            ((_, plan),) = self._connection.execute(f"EXPLAIN (FORMAT json) {query}", *values).fetchall()
        except duckdb.Error:  # of a table that the statement before it makes
            return
        for tree in json.loads(plan):
            self._told.append("")
            self._told += [
                f"{kind} of {', '.join(sorted(a))} with {', '.join(sorted(b))}: {' '.join(query.split())[:300]}"
                for kind, a, b in sides(tree)
                if a and b and not is_asof(kind, query)
            ]

    def cursor(self) -> "Explained":
        return Explained(self._connection.cursor(), self._told)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> "Explained":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    connect: Callable[..., duckdb.DuckDBPyConnection] = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *given, **named: Explained(connect(*given, **named), said))
    return said


def test_no_two_large_tables_are_compared_row_by_row(told: list[str], tmp_path: Path) -> None:
    settings = fresh(tmp_path / "shop")
    load(settings, [write_shop(tmp_path / "files")])
    assert len(told) > 300
    assert [one for one in told if one] == []


def test_a_condition_on_one_side_is_found(told: list[str]) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE a AS SELECT range AS x, '' AS y FROM range(9); CREATE TABLE b AS FROM a")
        connection.execute("SELECT count(*) FROM a LEFT JOIN b ON a.x = b.x AND a.y <> ''").fetchall()
        connection.execute("SELECT count(*) FROM a LEFT JOIN b ON b.x = CASE WHEN a.y <> '' THEN a.x END").fetchall()
    (found,) = [one for one in told if one]
    assert found.startswith("BLOCKWISE_NL_JOIN of ")
