"""Copies of a warehouse: whole, verified, restored elsewhere, and taken while loads run."""

import json
import shutil
import stat
import threading
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from pipelines.doctor import warehouse
from pipelines.errors import BackupError, WarehouseLocked
from pipelines.load import load, retain, withdraw
from pipelines.load.upkeep import begin_rotation
from pipelines.outputs import copies
from pipelines.outputs.copies import backup, restore, verify
from pipelines.people.forget import forget
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import UNFINISHED, build_path, current_build, current_id
from tests.turns import IS_WHOLE, left_to_proofs

pytestmark = pytest.mark.usefixtures("facts_alone")

HEAD = "order_line_id,order_id,ordered_at,product_id,units,net_amount,currency,country,customer_id\n"


def lines(folder: Path, first: int, number: int) -> Path:
    """Write a file of order lines, each of another customer."""
    file = folder / f"order_line.{first}.csv"
    rows = [f"{i},o{i},2025-01-02T10:00:00Z,P{i % 3},1,50.00,EUR,FR,c{i}\n" for i in range(first, first + number)]
    file.write_text(HEAD + "".join(rows))
    return file


def facts(settings: Settings) -> list[tuple[object, ...]]:
    path = build_path(settings.warehouse, current_id(settings.warehouse) or "")
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute("SELECT order_line_id, customer_key FROM fact_order_line ORDER BY 1").fetchall()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("shop")
    settings = Settings(warehouse=folder / "warehouse")
    load(settings, [lines(folder, 0, 5)])
    (settings.warehouse / "company.json").write_text("{}")
    return settings


def test_a_restored_copy_is_the_warehouse_and_loads_on(shop: Settings, tmp_path: Path) -> None:
    made = backup(shop, tmp_path / "copy")
    assert (made.build_id, made.left_out) == (current_id(shop.warehouse), ())
    other = Settings(warehouse=tmp_path / "elsewhere" / "wh")
    other.warehouse.parent.mkdir()
    assert restore(other, tmp_path / "copy").files == made.files
    assert facts(other) == facts(shop)
    assert other.key_file.read_bytes() == shop.key_file.read_bytes()
    assert (other.warehouse / "company.json").read_text() == "{}"
    assert stat.S_IMODE(other.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(other.raw.stat().st_mode) == 0o700
    assert load(other, [lines(tmp_path, 0, 5)]).skipped  # the same file is known
    load(other, [lines(tmp_path, 3, 4)])  # two lines are new; the customers of the others stay who they were
    assert facts(other)[:5] == facts(shop)
    assert len(facts(other)) == 7


def test_a_load_whose_files_had_not_all_landed_is_not_in_the_copy(shop: Settings, tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    restore(settings, backup(shop, tmp_path / "copy").folder)
    state_file = state.State(settings.warehouse)
    state_file.write(
        state_tables.load, [{"load_id": "29990101T000000000000", "status": "landing", "source": "canonical"}]
    )
    state_file.close()
    (settings.raw / "29990101T000000000000").mkdir()
    (settings.raw / "29990101T000000000000" / "half.csv").write_text("order_")
    made = backup(settings, tmp_path / "second")
    assert made.left_out == ("29990101T000000000000",)
    assert not list((tmp_path / "second").rglob("half.csv"))
    again = Settings(warehouse=tmp_path / "again")
    restore(again, tmp_path / "second")
    assert load(again).build_id == made.build_id
    assert facts(again) == facts(shop)


@pytest.mark.parametrize("change", [left_to_proofs("withdraw"), "forget", "retain"])
def test_raw_files_that_go_or_change_meanwhile_are_copied_as_their_state_says(
    shop: Settings, tmp_path: Path, change: str
) -> None:
    """Between the state and the raw files another writer runs to its end."""
    settings, told = Settings(warehouse=tmp_path / "warehouse"), list[str]()
    restore(settings, backup(shop, tmp_path / "first").folder)
    load(settings, [lines(tmp_path, 10, 5)])
    last = max(row["load"] for row in state.listed_loads(settings))

    def meanwhile(text: str) -> None:
        told.append(text)
        if len(told) == 2:  # the state is copied
            {
                "withdraw": lambda: withdraw(settings, last),
                "forget": lambda: forget(settings, "c12"),
                "retain": lambda: retain(settings, 0),
            }[change]()

    made = backup(settings, tmp_path / "copy", meanwhile)
    assert "the warehouse changed meanwhile: copying anew" in told
    again = Settings(warehouse=tmp_path / "again")
    restore(again, made.folder)
    assert facts(again) == facts(settings)
    assert [f.problem for f in warehouse(again, is_deep=True) if f.is_fault] == []


def test_a_load_that_is_judged_again_meanwhile_is_in_the_copy(shop: Settings, tmp_path: Path) -> None:
    """A build holds it, its raw files are whole and its log is being written: the copy makes the log again."""
    settings = Settings(warehouse=tmp_path / "warehouse")
    restore(settings, backup(shop, tmp_path / "copy").folder)
    state_file = state.State(settings.warehouse)
    state_file.set_status([row["load_id"] for row in state_file.loads_with("published")], "landed")
    state_file.close()
    for log in (settings.warehouse / "log").rglob("*.parquet"):
        log.write_bytes(b"PAR1 half of it")
    assert backup(settings, tmp_path / "second").left_out == ()
    again = Settings(warehouse=tmp_path / "again")
    restore(again, tmp_path / "second")
    load(again)
    assert facts(again) == facts(shop)


@pytest.mark.parametrize("is_ended", [False, left_to_proofs(True)], ids=["begun", "begun and ended"])
def test_a_key_that_changes_meanwhile_is_never_beside_the_state_of_another(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ended: bool
) -> None:
    mine = Settings(warehouse=tmp_path / "own" / "warehouse")
    backup(shop, tmp_path / "first")
    mine.warehouse.parent.mkdir()
    restore(mine, tmp_path / "first")
    before = mine.key_file.read_bytes()

    def rotated(settings: Settings) -> dict[Path, tuple[int, int]]:
        monkeypatch.undo()
        state_file = state.State(settings.warehouse)
        begin_rotation(settings, state_file, lambda _: None)
        state_file.close()
        if is_ended:
            load(settings)
        return copies._raw(settings)

    monkeypatch.setattr(copies, "_raw", rotated)  # between the look at the key and the copy of the state
    if is_ended:
        backup(mine, tmp_path / "copy")
    else:
        with pytest.raises(BackupError, match="A new hashing key is taking the place"):
            backup(mine, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
        load(mine)
        backup(mine, tmp_path / "copy")
    assert mine.key_file.read_bytes() != before
    assert (tmp_path / "copy" / "key").read_bytes() == mine.key_file.read_bytes()
    other = Settings(warehouse=tmp_path / "elsewhere" / "warehouse")
    other.warehouse.parent.mkdir()
    restore(other, tmp_path / "copy")
    assert not [one for one in warehouse(other, is_deep=True) if one.is_fault]
    assert facts(other) == facts(mine)


@pytest.mark.parametrize("name", ["key", "warehouse/state.sqlite", "warehouse/current", "raw"])
def test_a_damaged_copy_is_refused_and_nothing_is_restored(name: str, shop: Settings, tmp_path: Path) -> None:
    backup(shop, tmp_path / "copy")
    victim = tmp_path / "copy" / name
    victim = next(p for p in victim.rglob("*") if p.is_file()) if victim.is_dir() else victim
    place = victim.relative_to(tmp_path / "copy").as_posix()
    settings = Settings(warehouse=tmp_path / "warehouse")
    content = victim.read_bytes()
    victim.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(BackupError, match=f"{place} differs from what was copied"):
        restore(settings, tmp_path / "copy")
    victim.unlink()
    with pytest.raises(BackupError, match=f"{place} is gone"):
        verify(tmp_path / "copy")
    victim.write_bytes(content)
    (tmp_path / "copy" / "notes.txt").write_text("")
    with pytest.raises(BackupError, match="holds a file that the copy did not: notes"):
        restore(settings, tmp_path / "copy")
    assert not settings.warehouse.exists()
    assert not settings.raw.exists()
    assert not settings.key_file.exists()


def test_nothing_is_overwritten_and_what_is_no_copy_is_said(shop: Settings, tmp_path: Path) -> None:
    backup(shop, tmp_path / "copy")
    with pytest.raises(BackupError, match="is there already"):
        backup(shop, tmp_path / "copy")
    with pytest.raises(BackupError, match="is there already"):
        restore(shop, tmp_path / "copy")
    with pytest.raises(BackupError, match=r"no copy that `backhaul backup` made"):
        restore(Settings(warehouse=tmp_path / "w"), tmp_path)
    with pytest.raises(BackupError, match="nothing to copy"):
        backup(Settings(warehouse=tmp_path / "nowhere"), tmp_path / "second")
    manifest = tmp_path / "copy" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"form": 9}))
    with pytest.raises(BackupError, match="another version"):
        verify(tmp_path / "copy")


def test_copies_taken_while_loads_run_are_whole(shop: Settings, tmp_path: Path) -> None:
    """Each copy holds the lines of the first so many loads, and a load into it gives the rest."""
    settings = Settings(warehouse=tmp_path / "warehouse")
    restore(settings, backup(shop, tmp_path / "start").folder)
    files = [lines(tmp_path, 5 * n, 5) for n in range(1, 5 if IS_WHOLE else 4)]
    loading = threading.Thread(target=lambda: [load(settings, [file]) for file in files])
    loading.start()
    taken: list[Path] = []
    while loading.is_alive():
        taken.append(backup(settings, tmp_path / f"copy{len(taken)}").folder)
    loading.join()
    assert len(taken) > 1
    for number in {0, len(taken) // 2, len(taken) - 1} if IS_WHOLE else {len(taken) // 2}:
        other = Settings(warehouse=tmp_path / f"restored{number}")
        restore(other, taken[number])
        assert len(facts(other)) % 5 == 0
        load(other, [*files, lines(tmp_path, 0, 5)])
        assert facts(other) == facts(settings)
        current_build(other.warehouse).close()


def test_a_full_disk_leaves_no_half_copy(shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "copy")

    monkeypatch.setattr(copies.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        backup(shop, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    backup(shop, tmp_path / "copy")
    monkeypatch.setattr(copies.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        restore(Settings(warehouse=tmp_path / "w"), tmp_path / "copy")
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]
    shutil.rmtree(tmp_path / "copy")


def test_two_copies_to_one_folder_at_once_do_not_mix(shop: Settings, tmp_path: Path) -> None:
    is_begun, may_end = threading.Event(), threading.Event()

    def slow(_text: str) -> None:
        is_begun.set()
        assert may_end.wait(120)

    first = threading.Thread(target=backup, args=(shop, tmp_path / "copy", slow))
    first.start()
    assert is_begun.wait(120)
    with pytest.raises(WarehouseLocked, match="Another run is writing"):
        backup(shop, tmp_path / "copy")
    may_end.set()
    first.join(120)
    assert verify(tmp_path / "copy").build_id == current_id(shop.warehouse)
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_what_a_killed_copy_or_restoring_left_does_not_stand_in_the_way(shop: Settings, tmp_path: Path) -> None:
    (tmp_path / f"copy{UNFINISHED}" / "warehouse").mkdir(parents=True)
    (tmp_path / f"copy{UNFINISHED}" / "warehouse" / "state.sqlite").write_text("half")
    backup(shop, tmp_path / "copy")
    other = Settings(warehouse=tmp_path / "elsewhere" / "wh")
    for name in ("wh", "wh.raw"):
        (tmp_path / "elsewhere" / f"{name}{UNFINISHED}").mkdir(parents=True)
    (tmp_path / "elsewhere" / f"wh{UNFINISHED}" / "state.sqlite").write_text("half")
    (tmp_path / "elsewhere" / f"wh.key{UNFINISHED}").write_text("half")
    restore(other, tmp_path / "copy")
    assert facts(other) == facts(shop)
    assert sorted(p.name for p in (tmp_path / "elsewhere").iterdir()) == ["wh", "wh.key", "wh.raw"]


def test_events_that_wait_are_copied_and_wait_where_the_copy_is_restored(shop: Settings, tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "here" / "warehouse")
    restore(settings, backup(shop, tmp_path / "first").folder)
    told = {
        "loop/waiting/20260401T100000000000-1.ndjson": b'{"id": 1}\n',
        "loop/taking/20260401T090000000000-0.ndjson": b'{"id": 0}\n',
        "loop/aside/20260401T080000000000-1.ndjson": b'{"reason": "x", "event": ""}\n',
        "known": b"0123456789abcdef",
    }
    for name, content in told.items():
        (settings.spool / name).parent.mkdir(parents=True, exist_ok=True)
        (settings.spool / name).write_bytes(content)
    taken = settings.spool / "loop" / "waiting" / "20260401T110000000000-2.ndjson"
    taken.write_bytes(b'{"id": 2}\n')

    def meanwhile(_: str) -> None:  # a load takes it between its listing and its copying
        taken.unlink(missing_ok=True)

    backup(settings, tmp_path / "second", meanwhile)
    there = Settings(warehouse=tmp_path / "there" / "warehouse")
    there.warehouse.parent.mkdir()
    restore(there, tmp_path / "second")
    found = {f.relative_to(there.spool).as_posix(): f for f in there.spool.rglob("*") if f.is_file()}
    assert {name: file.read_bytes() for name, file in found.items()} == {
        name.replace("taking", "waiting"): content for name, content in told.items()
    }
    assert {stat.S_IMODE(file.stat().st_mode) for file in found.values()} == {0o600}
    assert facts(there) == facts(shop)
    with pytest.raises(BackupError, match="nothing is overwritten"):
        restore(replace(there, warehouse=tmp_path / "here" / "warehouse"), tmp_path / "second")
