"""Log files that are joined: few of them, and rows that count stay the same whatever happens meanwhile."""

import shutil
from pathlib import Path

import duckdb
import pytest

from pipelines.doctor import examine
from pipelines.load import load, withdraw
from pipelines.outputs.copies import backup, restore
from pipelines.settings import Settings
from pipelines.warehouse import log_files, schema, star, state, state_tables
from pipelines.warehouse.log_files import Logs
from tests.conftest import TINY_SHOP, fresh, write_shop
from tests.test_load import assert_same, part, tables
from tests.turns import left_to_proofs

pytestmark = pytest.mark.usefixtures("facts_alone")

_EVERY = sorted({str(row["order_id"]) for row in TINY_SHOP["order_line"]})
PARTS = [set(_EVERY[n::4]) for n in range(4)]  # orders of four loads


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The tiny shop in four loads, its log files joined beyond two."""
    settings = fresh(tmp_path_factory.mktemp("joined"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "FEW", 2)
        for number, orders in enumerate(PARTS):
            shop = part(TINY_SHOP, orders, dimensions=number == 0)
            load(settings, [write_shop(settings.warehouse.parent / f"{number}", shop)], namespace="shop")
    return settings


@pytest.fixture
def shop(joined: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of it that a test may change."""
    monkeypatch.setattr(log_files, "FEW", 2)
    target = fresh(tmp_path)
    shutil.copytree(joined.warehouse, target.warehouse)
    shutil.copytree(joined.raw, target.raw)
    return target


def files(settings: Settings, thing: str = "order_line") -> list[Path]:
    return sorted((settings.warehouse / "log" / thing).glob("*/*.parquet"))


def rows_of(settings: Settings, load_id: str) -> int:
    """How many rows of a load any log file holds, whether they count or not."""
    every = [str(f) for f in (settings.warehouse / "log").rglob("*.parquet")]
    return sum(
        duckdb.execute("SELECT count(*) FROM read_parquet(?) WHERE load_id = ?", [f, load_id]).fetchall()[0][0]
        for f in every
    )


def loads(settings: Settings) -> list[str]:
    state_file = state.State(settings.warehouse)
    try:
        return [row["load_id"] for row in state_file.loads_with("published")]
    finally:
        state_file.close()


def more(settings: Settings) -> None:
    """Load a row more, which changes no fact of the others."""
    row = {**TINY_SHOP["shop"][0], "shop_id": "another"}
    load(settings, [write_shop(settings.warehouse.parent / "more", {"shop": [row]})], namespace="shop")


def test_many_small_loads_leave_few_files_and_the_facts_of_one(joined: Settings, tiny_settings: Settings) -> None:
    assert len(loads(joined)) == len(PARTS)
    assert len(files(joined)) == 2
    assert any(log_files.JOINED in f.stem for f in files(joined))
    assert_same(tables(joined), tables(tiny_settings))
    assert not [f for f in examine(joined, is_deep=True) if "log" in f.where]


def test_logs_written_before_a_column_was_there_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A return that names no order, then one that says its channel; the log of the first is without the column."""
    settings = fresh(tmp_path)
    lost = {"event": "received", "occurred_at": "2025-12-20T09:00:00Z", "country": "FR"}
    early, late = ({**lost, "event_id": n, "return_line_id": n, "return_id": n} for n in ("early", "late"))
    load(settings, [write_shop(tmp_path / "shop", TINY_SHOP | {"return_event": [early]})], namespace="shop")
    state_file = state.State(settings.warehouse)
    without = "SELECT * EXCLUDE (channel) FROM {}"
    Logs(settings, state_file).replace(loads(settings)[0], "return_event", lambda _, rows: without.format(rows))
    state_file.close()
    file = write_shop(tmp_path / "late", {"return_event": [late | {"channel": "store"}]})
    load(settings, [file], namespace="shop")
    grown = tables(settings)
    told = grown["fact_return_line"].set_index("return_line_id")["channel"]
    assert told.fillna("").to_dict() == {"shop:early": "", "shop:late": "store"}
    monkeypatch.setattr(star, "VERSION", "another")
    load(settings)
    assert_same(tables(settings), grown)


def test_a_load_of_a_joined_file_is_taken_back_with_its_rows(shop: Settings, tmp_path: Path) -> None:
    gone = loads(shop)[1]
    assert rows_of(shop, gone)
    withdraw(shop, gone)
    assert rows_of(shop, gone) == 0
    without = fresh(tmp_path / "without")
    load(without, [write_shop(tmp_path / "others", part(TINY_SHOP, set(_EVERY) - PARTS[1]))], namespace="shop")
    assert_same(tables(shop), tables(without))


def test_loads_of_a_joined_file_are_judged_again_by_themselves(shop: Settings, tiny_settings: Settings) -> None:
    again = loads(shop)[1:3]
    state_file = state.State(shop.warehouse)
    state_file.set_status(again, "landed")
    assert [len(duckdb.execute(f"FROM {Logs(shop, state_file).sql('order_line', [i])}").fetchall()) for i in again]
    state_file.close()
    load(shop)
    assert_same(tables(shop), tables(tiny_settings))
    for load_id in again:  # once, and not a second time where it stood before
        held = [
            f
            for f in files(shop)
            if duckdb.execute("SELECT 1 FROM read_parquet(?) WHERE load_id = ?", [str(f), load_id]).fetchone()
        ]
        assert len(held) == 1


def test_some_loads_of_a_joined_file_are_read_without_the_others(shop: Settings) -> None:
    wanted = loads(shop)[:2]
    state_file = state.State(shop.warehouse)
    sql = Logs(shop, state_file).sql("order_line", wanted)
    state_file.close()
    assert {row[0] for row in duckdb.execute(f"SELECT load_id FROM {sql}").fetchall()} == set(wanted)


def test_a_joined_file_is_made_again_from_raw_files(shop: Settings, tiny_settings: Settings) -> None:
    joined, *others = sorted(files(shop), key=lambda f: log_files.JOINED not in f.stem)
    joined.write_bytes(joined.read_bytes()[:-100])
    for file in others:
        file.unlink()
    report = load(shop)
    assert len(report.healed) >= 3
    assert_same(tables(shop), tables(tiny_settings))


@pytest.mark.parametrize("moment", ["written", "in the state", "one is removed"])
def test_a_load_killed_while_it_joins_leaves_nothing_behind(
    moment: str, shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(log_files, "FEW", 1)
    state_file = state.State(shop.warehouse)
    before = [held(shop, state_file, thing) for thing in schema.LOG.tables]
    with monkeypatch.context() as patch:
        if moment == "written":
            patch.setattr(log_files, "delete", kill)
            with pytest.raises(Killed):
                Logs(shop, state_file).join()
        else:
            unused = Logs(shop, state_file).join()
            assert unused
            if moment == "one is removed":
                unused[0].unlink()
    Logs(shop, state_file).sweep()
    known = {row["path"] for row in state_file.rows(state_tables.log_file.select())}
    left = {str(f.relative_to(shop.warehouse / "log")) for f in (shop.warehouse / "log").rglob("*.parquet")}
    assert left == known
    assert [held(shop, state_file, thing) for thing in schema.LOG.tables] == before
    state_file.close()


def held(settings: Settings, state_file: state.State, thing: str) -> list[tuple[object, ...]]:
    """The rows of a log that count."""
    sql = Logs(settings, state_file).sql(thing, loads(settings))
    return duckdb.execute(f"FROM {sql} ORDER BY ALL").fetchall() if sql else []


@pytest.mark.parametrize("lost", ["gone", left_to_proofs("older")])
def test_a_state_that_is_lost_or_older_finds_what_was_joined(
    lost: str, shop: Settings, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "FEW", 1)
    before = tmp_path / "state.before"
    shutil.copyfile(shop.warehouse / "state.sqlite", before)
    shutil.rmtree(shop.raw)  # only the log files can give the rows
    shop.raw.mkdir()
    more(shop)
    if lost == "gone":
        (shop.warehouse / "state.sqlite").unlink()
    else:
        shutil.copyfile(before, shop.warehouse / "state.sqlite")
    load(shop, rebuild=True)
    facts = tables(shop)
    expected = tables(tiny_settings)
    for name in ("fact_order_line", "fact_return_line"):
        assert_same({name: facts[name]}, {name: expected[name]})


def test_a_copy_holds_what_was_joined(shop: Settings, tiny_settings: Settings, tmp_path: Path) -> None:
    restored = Settings(warehouse=tmp_path / "there" / "warehouse")
    restored.warehouse.parent.mkdir()
    restore(restored, backup(shop, tmp_path / "copy").folder)
    load(restored, rebuild=True)
    assert_same(tables(restored), tables(tiny_settings))


def test_as_many_loads_of_the_same_newest_are_joined_into_another_file(shop: Settings) -> None:
    before, every = tables(shop), loads(shop)
    state_file = state.State(shop.warehouse)
    state_file.set_status(every[:3], "landed")  # judged again: three files beside the one that is joined
    state_file.close()
    load(shop)
    assert_same(tables(shop), before)
    assert [f.name for f in files(shop)] == [f"{every[-1]}+4.parquet"]
    state_file = state.State(shop.warehouse)
    assert Logs(shop, state_file).damaged(is_deep=True) == {}
    state_file.close()
