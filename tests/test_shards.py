"""Builds made in shards: the same rows as those made in one, and no order, return, parcel or customer in two shards."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from pipelines.errors import CheckFailed, SettingError
from pipelines.load import load
from pipelines.load.shape import routing
from pipelines.settings import Settings
from pipelines.warehouse import build
from pipelines.warehouse.shards import Shards
from tests.compared import compared

pytestmark = pytest.mark.usefixtures("no_rules")

COLUMNS = {
    "order_line": "order_line_key order_key customer_key",
    "return_event": "event_key return_line_key return_key order_line_key parcel_key customer_key",
    "chain_element": "element_key parcel_key",
    "refund": "refund_key order_key return_key",
    "refund_line": "refund_line_key refund_key order_line_key return_line_key",
    "recovery": "recovery_key return_line_key",
    "promised_date": "identity_key return_line_key return_key order_line_key",
}
APART = 40  # shops that share nothing: none of them is in one shard with all others


def _logs(connection: duckdb.DuckDBPyConnection, rows: dict[str, Iterable[tuple[int | None, ...]]]) -> None:
    for thing, names in COLUMNS.items():
        columns = ", ".join(f"{name} BIGINT" for name in names.split())
        connection.execute(f"CREATE TEMP TABLE all_{thing} ({columns})")
        for row in rows.get(thing, ()):
            connection.execute(f"INSERT INTO all_{thing} VALUES ({', '.join('?' * len(row))})", list(row))


TIED: dict[str, list[tuple[int | None, ...]]] = {
    # customer 10 has orders 1 and 2; order 3 is a guest's
    "order_line": [(101, 1, 10), (102, 2, 10), (103, 3, None), (104, 4, 40), (105, 5, 50), (106, 6, 60)],
    # a parcel takes a line of order 1 and one of order 3; a later version of event 502 names another return line
    "return_event": [
        (501, 201, 301, 101, 401, None),
        (502, 202, 302, 103, 401, None),
        (502, 203, 303, None, None, None),
        (503, 203, 303, None, None, 40),
        (504, 204, None, 999, None, None),
        (505, 205, None, 999, None, None),
    ],
    "chain_element": [(601, 401), (602, 402)],
    # a refund pays for order 4 by its line, and for order 5 by its own word
    "refund": [(701, 5, None), (702, None, 301)],
    "refund_line": [(801, 701, 104, None), (802, None, None, 204)],
    "recovery": [(901, 203)],
    "promised_date": [(951, 206, 306, 106)],
}
"""Everything hangs together but the order 6 with its promise, the parcel 402, and the returns of line 999."""


def _shards_of(connection: duckdb.DuckDBPyConnection, count: int) -> dict[tuple[str, int], int]:
    found = {}
    for thing, names in COLUMNS.items():
        for shard in range(count):
            for row in connection.execute(f"SELECT {names.split()[0]} FROM shard{shard}_{thing}").fetchall():
                found[thing, row[0]] = shard
    return found


def test_what_hangs_together_is_of_one_shard(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        _logs(connection, TIED)
        routing.route(connection, 16, tmp_path / "rows")
        of = _shards_of(connection, 16)
        assert len(of) == sum(len({row[0] for row in rows}) for rows in TIED.values())
        alone = {("order_line", 106), ("promised_date", 951), ("chain_element", 602)}
        returns = {("return_event", 504), ("return_event", 505), ("refund_line", 802)}
        assert len({shard for key, shard in of.items() if key not in alone | returns}) == 1
        assert len({of[key] for key in returns}) == 1
        assert of["order_line", 106] == of["promised_date", 951]
        assert len(set(of.values())) > 1


def test_shops_that_share_nothing_are_spread(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        _logs(connection, {"order_line": [(n, 1000 + n, 2000 + n) for n in range(APART)]})
        routing.route(connection, 4, tmp_path / "rows")
        assert set(_shards_of(connection, 4).values()) == {0, 1, 2, 3}


def test_an_order_in_two_shards_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "_tie", lambda connection: connection.execute(NO_PAIRS))
    with duckdb.connect() as connection:
        _logs(connection, TIED)
        with pytest.raises(CheckFailed, match="lie in two shards"):
            routing.route(connection, 16, tmp_path / "rows")


NO_PAIRS = "CREATE TEMP TABLE tied_root AS SELECT 0::BIGINT AS least, 0::BIGINT AS root WHERE false"


def test_a_build_in_two_shards_is_that_of_one(copy_of_tiny: Settings) -> None:
    before = build.current_id(copy_of_tiny.warehouse) or ""
    load(replace(copy_of_tiny, shards=2), rebuild=True)
    after = build.current_id(copy_of_tiny.warehouse) or ""
    assert before != after
    found = list(compared(*(build.build_path(copy_of_tiny.warehouse, name) for name in (before, after))))
    assert {table.name: table.apart for table in found if table.apart} == {}
    assert sum(table.rows for table in found) > 500
    assert not list(copy_of_tiny.warehouse.glob(".spilled-*"))


def test_rows_of_shards_go_when_a_load_fails(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path)

    def failing() -> None:
        with routing.folder(settings) as folder:
            (folder / "order_line").mkdir(parents=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert not list(tmp_path.iterdir())


def test_a_table_shows_a_shard_at_a_time() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE fact (n INTEGER); CREATE TABLE estimate (n INTEGER)")
        shards = Shards(2)
        for shard in shards.each_apart(connection, ["fact"]):
            assert connection.execute("SELECT count(*) FROM fact").fetchall() == [(0,)]
            connection.execute(f"INSERT INTO fact SELECT {shard} FROM range({3 + shard})")
        for shard in shards.each(connection, ["fact"], ["estimate"]):
            assert connection.execute("SELECT DISTINCT n FROM fact").fetchall() == [(shard,)]
            connection.execute("INSERT INTO estimate FROM fact")
        assert shards.ends == {"fact": [3, 7], "estimate": [3, 7]}
        assert connection.execute("SELECT count(*), sum(n) FROM estimate").fetchall() == [(7, 4)]


def test_shards_are_as_many_as_memory_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(memory_mb=1_250)
    assert [routing.fitting(n * 10**6, given) for n in (0, 1_700, 1_800, 4_000, 10**9)] == [1, 1, 2, 4, routing.MOST]
    monkeypatch.setenv("BACKHAUL_SHARDS", "none")
    with pytest.raises(SettingError, match="BACKHAUL_SHARDS=none is no number of shards"):
        Settings()
    monkeypatch.setenv("BACKHAUL_SHARDS", "8")
    assert Settings().shards == 8
