"""Loading from a database: one command, an increment, rows at equal times, deletions, kills; PostgreSQL and SQLite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy

from pipelines.errors import MappingError
from pipelines.load import land, load
from pipelines.settings import Settings
from pipelines.sources.tables import query
from pipelines.warehouse import state
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.log_files import Logs
from tests.conftest import ends
from tests.fivetran import BY_HAND, lay, plain
from tests.postgres import postgresql

pytestmark = pytest.mark.usefixtures("facts_alone")

MAPPING = """
name: shop
time_zone: Etc/UTC
constants: {currency: EUR, country: FR}
tables:
  - sql: {url: SHOP_DATABASE, table: "order lines", cursor: changed}
    to:
      order_line: {order_line_id: id, order_id: id, ordered_at: at, product_id: Sku, units: qty, net_amount: price}
"""
COLUMNS = (
    'id INTEGER, at TIMESTAMP, "Sku" VARCHAR(9), qty INTEGER, price NUMERIC(9, 2), email VARCHAR(30), changed TIMESTAMP'
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as address:
        yield address.replace("postgresql://", "postgresql+psycopg://")


class Shop:
    """A table of order lines in a database, and the load that reads it."""

    def __init__(self, settings: Settings, folder: Path, address: str) -> None:
        self.settings, self.address = settings, address
        self.mapping = folder / "shop.yaml"
        self.mapping.write_text(MAPPING)
        self.does('DROP TABLE IF EXISTS "order lines"')
        self.does(f'CREATE TABLE "order lines" ({COLUMNS})')

    def does(self, *statements: str) -> None:
        engine = sqlalchemy.create_engine(self.address)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def adds(self, number: int, changed: str, qty: int = 1) -> None:
        row = f"({number}, '2026-01-10 10:00:00', 'S{number}', {qty}, 12.50, 'a{number}@example.org', '{changed}')"
        self.does(f'INSERT INTO "order lines" VALUES {row}')

    def loads(self, **given: Any) -> list[tuple[int, int]]:
        """Read and judge; give what was read and what was a duplicate, of each log that counts."""
        report = load(self.settings, source=str(self.mapping), is_trial=True, **given)
        return [(c["read"], c["duplicate"]) for c in report.counts]

    def ids(self) -> list[list[str]]:
        """Give the ids that each load took in."""
        state_file = state.State(self.settings.warehouse)
        loads = [r["load_id"] for r in state_file.loads_with("logged", "published")]
        logs = Logs(self.settings, state_file)
        read = [duckdb.sql(f"SELECT order_line_id FROM {logs.sql('order_line', [i])} ORDER BY 1") for i in loads]
        state_file.close()
        return [[row[0] for row in rows.fetchall()] for rows in read]


@pytest.fixture
def shop(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    kind = getattr(request, "param", "sqlite")
    address = f"sqlite:///{tmp_path / 'shop.db'}" if kind == "sqlite" else request.getfixturevalue("server")
    monkeypatch.setenv("SHOP_DATABASE", address)
    return Shop(settings, tmp_path, address)


@pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)
def test_an_increment_reads_what_changed_and_what_came_later_at_an_equal_time(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.adds(number, f"2026-01-11 0{min(number, 2)}:00:00.250000")
    assert shop.loads() == [(3, 0)]
    assert shop.loads() == []  # nothing new
    shop.adds(4, "2026-01-11 02:00:00.250000")  # as late as what was read last
    shop.does("UPDATE \"order lines\" SET qty = 5, changed = '2026-01-12 00:00:00' WHERE id = 1")
    assert shop.loads() == [(2, 0)]
    assert shop.loads() == []
    assert shop.ids() == [["shop:1", "shop:2", "shop:3"], ["shop:1", "shop:4"]]


@pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)
def test_only_columns_that_the_mapping_names_leave_the_database(shop: Shop) -> None:
    shop.adds(1, "2026-01-11 01:00:00")
    shop.does('UPDATE "order lines" SET price = 1e2')
    shop.loads()
    (file,) = shop.settings.raw.glob("*/*/*.parquet")
    price = "100" if shop.address.startswith("sqlite") else "100.00"
    assert duckdb.sql(f"FROM '{file}'").fetchall() == [("1", "2026-01-10 10:00:00", "S1", "1", price)]


def test_what_a_load_that_was_taken_back_had_read_is_read_again(shop: Shop) -> None:
    shop.adds(1, "2026-01-11 01:00:00")
    shop.loads()
    shop.adds(2, "2026-01-12 01:00:00")
    shop.loads()
    state_file = state.State(shop.settings.warehouse)
    first = state_file.loads_with("logged")[0]["load_id"]
    state_file.set_status([first], "withdrawn")
    state_file.close()
    shop.adds(3, "2026-01-13 01:00:00")
    assert shop.loads() == [(3, 1)]  # all of it, for what the second load had read began where the first had ended
    assert shop.loads() == []


def test_a_load_killed_before_it_landed_leaves_no_mark(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.adds(1, "2026-01-11 01:00:00")
    with monkeypatch.context() as killed:
        killed.setattr(land, "_remember_landed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            shop.loads()
    shop.adds(2, "2026-01-11 01:00:00")
    assert shop.loads() == [(2, 0)]  # the load that was killed is gone on with, the one asked for finds nothing
    assert shop.ids() == [["shop:1", "shop:2"]]
    assert not list(shop.settings.raw.glob(".asked"))


@pytest.mark.parametrize("shop", ["postgresql"], indirect=True)
def test_rows_that_another_session_commits_late_are_read_within_the_overlap(shop: Shop) -> None:
    shop.mapping.write_text(MAPPING.replace("cursor: changed", "cursor: changed, overlap: 600"))
    shop.adds(1, "2026-01-11 01:00:00")
    shop.adds(2, "2026-01-11 01:09:00")
    assert shop.loads() == [(2, 0)]
    shop.adds(3, "2026-01-11 01:05:00")
    shop.adds(4, "2026-01-11 00:30:00")  # later than the overlap reaches: only a whole reading finds it
    assert shop.loads() == [(1, 0)]
    assert shop.loads() == []
    assert shop.loads(is_whole=True) == [(4, 3)]


def test_a_whole_reading_withdraws_what_was_deleted_and_moves_the_mark(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.adds(number, f"2026-01-11 0{number}:00:00")
    shop.loads()
    shop.does('DELETE FROM "order lines" WHERE id = 2')
    shop.adds(4, "2026-01-11 04:00:00")
    report = load(shop.settings, source=str(shop.mapping), is_trial=True, is_whole=True)
    assert [(c["read"], c["duplicate"], c["withdrawn"]) for c in report.counts] == [(3, 2, 1)]
    assert shop.loads() == []
    assert shop.loads(is_whole=True) == []  # the same rows as in the last whole reading
    shop.adds(5, "2026-01-11 04:00:00")
    assert shop.loads() == [(1, 0)]


def test_a_changed_mapping_reads_everything_again(shop: Shop) -> None:
    shop.adds(1, "2026-01-11 01:00:00")
    shop.loads()
    shop.mapping.write_text(MAPPING.replace("net_amount: price", "net_amount: {times: [price, 2]}"))
    assert shop.loads() == [(1, 0)]


WRONG = {
    "cursor: changed": [
        ("cursor: chnged", r"line 6: there is no column chnged. Columns: id, at, Sku"),
        ("overlap: 3", "`overlap:` belongs to a `cursor:`"),
        ("cursor: changed, overlap: much", "`overlap:` is a number"),
    ],
    'table: "order lines", cursor: changed': [
        ("query: DROP TABLE x", "a query is one SELECT, into nothing"),
        ("query: select 1; select 2", "a query is one SELECT"),
        ('query: "select id, nothing from \\"order lines\\""', "the query failed: "),
        ('query: "select id from \\"order lines\\""', "the table has no column"),
        ("table: orders, query: select 1", "`table:` or `query:`"),
        ("table: absent", "the query failed: "),
    ],
    "    to:": [
        ("    file: x.csv\n    to:", "`file:` or `sql:`, not both"),
        ("    join: []\n    to:", "is joined in its `query:`"),
    ],
    "url: SHOP_DATABASE": [
        ("url: ABSENT_DATABASE", "the environment variable ABSENT_DATABASE is not set"),
        ("url: OTHER_DATABASE", "a duckdb database cannot be asked"),
        ("url: NO_DATABASE", "the address cannot be read"),
    ],
}


@pytest.mark.parametrize(("given", "written", "told"), [(g, w, t) for g, said in WRONG.items() for w, t in said])
def test_what_a_mapping_asks_in_vain_is_told_with_its_line(
    given: str, written: str, told: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_DATABASE", "duckdb:///shop.duckdb")
    monkeypatch.setenv("NO_DATABASE", "s3cret")
    shop.mapping.write_text(MAPPING.replace(given, written))
    with pytest.raises(MappingError, match=told) as raised:
        shop.loads()
    assert "shop.yaml line" in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)
def test_nothing_is_written_to_the_database(shop: Shop) -> None:
    with query.reading(shop.address) as reader, pytest.raises(sqlalchemy.exc.DBAPIError, match=r"read.?only|readonly"):
        reader.exec_driver_sql('DELETE FROM "order lines"')


@pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)
def test_a_colon_of_a_query_is_no_parameter(shop: Shop) -> None:
    shop.adds(1, "2026-01-11 01:00:00")
    with query.reading(shop.address) as reader:
        rows = query.Rows(reader, None, "SELECT 'a :b % 12:30' AS x, CAST(id AS VARCHAR(3)) AS y FROM \"order lines\"")
        assert [tuple(row) for batch in rows.stream(["x", "y"], None, None) for row in batch] == [("a :b % 12:30", "1")]


# -- Shopify's tables as Fivetran lays them ----------------------------------------------------------------------------


def test_shopify_by_fivetran_is_one_command_and_equal_to_sql_by_hand(
    settings: Settings,
    third_party: Path,
    server: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds = third_party / "shopify" / "warehouse_seeds"
    if not seeds.is_dir():
        pytest.skip("missing data: shopify/warehouse_seeds")
    monkeypatch.setenv("SHOP_DATABASE", server)
    engine = sqlalchemy.create_engine(server, poolclass=sqlalchemy.NullPool)
    lay(seeds, engine)
    code, told, wrong = ends(
        capsys, monkeypatch, "load", "--source", "shopify_fivetran", "--warehouse", settings.warehouse
    )
    assert (code, wrong.count("quarantine")) == (0, 0), told + wrong
    build = build_path(settings.warehouse, str(current_id(settings.warehouse)))
    with duckdb.connect(str(build), read_only=True) as ours, engine.connect() as theirs:
        for name, (by_hand, by_load) in BY_HAND.items():
            expected = sorted(map(plain, theirs.exec_driver_sql(by_hand)))
            assert expected, name
            assert sorted(map(plain, ours.execute(by_load).fetchall())) == expected, name
    engine.dispose()
    with duckdb.connect(str(build), read_only=True) as ours:
        reasons = ours.execute("SELECT count(DISTINCT reason) FROM fact_return_line").fetchone()
        assert reasons is not None
        assert reasons[0] > 1
