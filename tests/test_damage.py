"""What a warehouse holds can be damaged or lost.

It heals, or says so in one sentence, and nothing else is destroyed.
"""

import importlib.metadata
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from conftest import TINY_SHOP, ends, fresh, write_rows
from sqlalchemy import select
from test_load import assert_same, tables

from pipelines import alerts, doctor, factors
from pipelines.errors import BackhaulError, WarehouseDamaged, WarehouseMissing
from pipelines.load import load
from pipelines.outputs import closing
from pipelines.people import actions, policies, scenarios
from pipelines.settings import Settings
from pipelines.warehouse import build, state
from pipelines.warehouse.star import facts as facts_star
from tests.damages import (
    HEALED,
    REFUSED,
    Damage,
    current,
    flip,
    flip_pages,
    folder_instead,
    log,
    state_file,
    torn_choice,
)
from tests.disturbed import sentences
from tests.turns import by_turns, left_to_proofs

pytestmark = pytest.mark.usefixtures("facts_alone")

LINE = {**TINY_SHOP["order_line"][0], "order_line_id": "N1-1", "order_id": "N1"}


@pytest.fixture(scope="module")
def with_one_more(tmp_path_factory: pytest.TempPathFactory, tiny_files: Path) -> dict[str, pd.DataFrame]:
    """The facts of the tiny shop and one more order line, never harmed."""
    folder = tmp_path_factory.mktemp("unharmed")
    settings = fresh(folder)
    write_rows(folder / "order_line.csv", [LINE])
    load(settings, [tiny_files], is_trial=True)
    load(settings, [folder / "order_line.csv"])
    return tables(settings)


def own_files(settings: Settings) -> set[str]:
    """What people would miss: raw files, and whatever is not ours."""
    found = {str(f.relative_to(settings.raw.parent)) for f in settings.raw.parent.rglob("*") if f.is_file()}
    return {
        f
        for f in found
        if (".raw/" in f and ".staging" not in f)
        or any(w in f for w in ("my copies", ".DS_Store", "notes", "keep-", "zzz", "not-a-build", "note.txt"))
    }


TOGETHER = [  # some kinds; tests/evidence/trust.py tries each by itself
    ("build cut", "log cut", "state without a column"),
    ("build without a table", "state garbage"),
    ("pointer gone", "log gone"),
    ("builds gone", "raw file cut", "state a link"),
    left_to_proofs(("build pages flipped",)),
    left_to_proofs(("copies of builds", "pointer a folder", "strange files everywhere")),
    left_to_proofs(("build with more behind it", "log a folder", "state of zero bytes")),
]


READING = (
    ("status",),
    ("metric", "observed_return_rate"),
    ("check", "--deep"),
    ("doctor",),
    ("withdrawn",),
    ("reasons",),
)


@pytest.fixture
def read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[Settings], None]:
    """Ask verbs that read, one in two by turns: each gives an answer, or says one sentence."""

    def read(settings: Settings) -> None:
        for words in by_turns(READING, 2, len(request.node.name)):
            code, _, said = ends(capsys, monkeypatch, *words, "--warehouse", settings.warehouse)
            assert code in (0, 1, 4), (words, said)
            assert len(sentences(said)) <= 1

    return read


@pytest.mark.parametrize("names", TOGETHER, ids=" and ".join)
def test_damage_heals_with_the_next_load(
    copy_of_tiny: Settings,
    tmp_path: Path,
    names: tuple[str, ...],
    with_one_more: dict[str, pd.DataFrame],
    read: Callable[[Settings], None],
) -> None:
    for name in names:
        HEALED[name](copy_of_tiny)
    read(copy_of_tiny)
    before = own_files(copy_of_tiny)
    write_rows(tmp_path / "order_line.csv", [LINE])
    load(copy_of_tiny, [tmp_path / "order_line.csv"])
    assert_same(with_one_more, tables(copy_of_tiny))
    aside = (  # folders where files of ours belong are kept beside
        r"/(current|state\.sqlite|[0-9T]+\.parquet)/note\.txt$"
    )
    moved = {re.sub(aside, r"/\1.aside/note.txt", f) for f in before}
    assert moved <= own_files(copy_of_tiny)
    assert not load(copy_of_tiny).is_new_build


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.whole] * (number % 2))
        for number, (name, case) in enumerate(REFUSED.items())
    ],
)
def test_what_cannot_heal_is_told_in_one_sentence_and_nothing_is_destroyed(
    copy_of_tiny: Settings, tmp_path: Path, damage: Damage, words: str, read: Callable[[Settings], None]
) -> None:
    damage(copy_of_tiny)
    read(copy_of_tiny)
    write_rows(tmp_path / "order_line.csv", [LINE])
    before = {
        f: f.read_bytes() for f in copy_of_tiny.raw.parent.rglob("*") if f.suffix in (".csv", ".parquet", ".duckdb")
    }
    for _ in range(2):
        with pytest.raises((BackhaulError, OSError)) as refusal:
            load(copy_of_tiny, [tmp_path / "order_line.csv"])
        sentence = str(refusal.value)
        assert words in sentence
        assert len(sentence.replace(str(tmp_path), "")) < 300
    assert {f: f.read_bytes() for f in before} == before


def test_a_torn_choice_of_factors_is_written_anew_by_choosing(copy_of_tiny: Settings) -> None:
    torn_choice(copy_of_tiny)
    factors.choose(copy_of_tiny, "ademe")
    assert factors.ledger(copy_of_tiny).chosen == "ademe"


def test_a_key_that_was_never_used_is_made_anew(settings: Settings, tmp_path: Path) -> None:
    settings.key_file.write_bytes(b"")  # what a kill between creating and writing left
    write_rows(tmp_path / "order_line.csv", [LINE])
    load(settings, [tmp_path / "order_line.csv"], is_trial=True)
    assert len(settings.key_file.read_bytes()) == 32


def found(settings: Settings, *, is_deep: bool = True) -> dict[str, str]:
    return {f.where: f.problem for f in doctor.examine(settings, is_deep=is_deep) if f.is_fault}


def test_a_whole_warehouse_has_no_faults_and_reading_it_back_writes_nothing(copy_of_tiny: Settings) -> None:
    before = {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in copy_of_tiny.raw.parent.rglob("*")}
    assert found(copy_of_tiny) == {}
    assert {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in copy_of_tiny.raw.parent.rglob("*")} == before


def test_reading_back_finds_what_a_quick_look_does_not(copy_of_tiny: Settings) -> None:
    flip_pages(copy_of_tiny)
    seen = log(copy_of_tiny).stat()
    flip(log(copy_of_tiny), 100, 400)
    os.utime(log(copy_of_tiny), ns=(seen.st_atime_ns, seen.st_mtime_ns))  # as a disk does it: no time tells
    (raw,) = copy_of_tiny.raw.rglob("refund.csv")
    raw.write_bytes(raw.read_bytes()[:40])
    copy_of_tiny.key_file.write_bytes(b"another key, also 32 bytes long.")
    (copy_of_tiny.warehouse / "log" / "notes.txt").write_text("mine")
    told = found(copy_of_tiny)
    (load_id,) = [row["load"] for row in state.listed_loads(copy_of_tiny)]
    assert set(told) == {
        f"builds/{current(copy_of_tiny).name}",
        f"load {load_id}",
        f"warehouse.raw/{raw.relative_to(copy_of_tiny.raw)}",
        "warehouse.key",
    }
    assert set(found(copy_of_tiny, is_deep=False)) == {"warehouse.key"}
    notes = [f for f in doctor.examine(copy_of_tiny, is_deep=False) if not f.is_fault]
    assert [f.where for f in notes] == ["warehouse/log/notes.txt"]
    with pytest.raises(WarehouseMissing, match="damaged"), build.current_build(copy_of_tiny.warehouse) as damaged:
        damaged.fetch(select(facts_star.fact_order_line))


@pytest.mark.parametrize(
    "damage", ["build gone", "pointer no text", "state gone", "state garbage", "log cut", "log gone"]
)
def test_the_doctor_sees_what_a_load_would_heal(copy_of_tiny: Settings, damage: str) -> None:
    HEALED[damage](copy_of_tiny)
    told = doctor.examine(copy_of_tiny, is_deep=False)
    assert [f for f in told if f.is_fault and "backhaul load" in f.remedy]


def test_the_doctor_says_what_an_installation_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(doctor.installation()) == []
    needed = importlib.metadata.requires("backhaul") or []
    monkeypatch.setattr("importlib.metadata.requires", lambda _: [*needed, "no-such_package>=1", "other; extra == 'x'"])
    monkeypatch.setattr(doctor, "_SHIPPED", ("costs.csv", "gone.csv"))
    monkeypatch.setattr(doctor, "ZoneInfo", lambda name: ZoneInfo(f"No/{name}"))
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "nowhere"))
    found = list(doctor.installation())
    assert [(Path(f.where).name, f.problem) for f in found] == [
        ("no-such_package", "is not installed"),
        ("gone.csv", "is gone"),
        ("time zones", "are not installed"),
        ("file names", "are read as ascii"),
        ("nowhere", "cannot be written"),
    ]
    assert all(f.is_fault and f.remedy for f in found)


def test_a_writer_killed_within_a_transaction_leaves_a_state_that_can_be_read(
    copy_of_tiny: Settings, tmp_path: Path
) -> None:
    before = state.listed_loads(copy_of_tiny)
    file, journal = state_file(copy_of_tiny), copy_of_tiny.warehouse / "state.sqlite-journal"
    writer = sqlite3.connect(file)
    writer.execute("PRAGMA cache_size = 1")  # pages go to the file before the end
    writer.execute("UPDATE load SET status = 'torn'")
    writer.executemany("INSERT INTO action (kind) VALUES (?)", [("x" * 3000,)] * 200)
    killed = {f: f.read_bytes() for f in (file, journal)}
    writer.rollback()
    writer.close()
    for path, content in killed.items():
        path.write_bytes(content)
    assert state.listed_loads(copy_of_tiny) == before
    assert not load(copy_of_tiny).is_new_build


@pytest.mark.parametrize(
    "damage", [lambda f: f.write_bytes(b"garbage" * 900) and None, folder_instead], ids=["garbage", "folder"]
)
def test_a_damaged_copy_of_the_state_does_no_harm(copy_of_tiny: Settings, damage: Callable[[Path], None]) -> None:
    damage(state.copy_path(copy_of_tiny.warehouse))
    before = state.listed_loads(copy_of_tiny)
    load(copy_of_tiny)
    assert state.listed_loads(copy_of_tiny) == before
    state_file(copy_of_tiny).write_bytes(b"garbage" * 900)
    if not state._is_whole(state.copy_path(copy_of_tiny.warehouse)):
        with pytest.raises(WarehouseDamaged):
            load(copy_of_tiny)


def test_a_warehouse_of_version_1_opens(settings: Settings) -> None:
    """State, raw files and key as version 1 left them, with neither logs nor builds: both are made again."""
    written = Path(__file__).parent / "fixtures" / "warehouse_1"
    settings.warehouse.mkdir(parents=True)
    shutil.copytree(written / "raw", settings.raw)
    with sqlite3.connect(state_file(settings)) as connection:
        connection.executescript((written / "state.sql").read_text(encoding="utf-8"))
    connection.close()
    content = state_file(settings).read_bytes()
    assert [action.note for action in actions.actions(settings)] == ["asked the carrier"]
    assert [row["status"] for row in state.listed_loads(settings)] == ["published"]
    assert state_file(settings).read_bytes() == content
    assert len(load(settings).healed) == 2
    facts = tables(settings)
    assert set(facts["fact_order_line"].order_line_id) == {"shop:1", "shop:2", "shop:3"}
    assert facts["fact_return_line"].return_line_id.tolist() == ["shop:r1"]
    assert found(settings) == {}


def test_a_whole_warehouse_of_version_1_opens_and_grows(settings: Settings, tmp_path: Path) -> None:
    """Logs, a signed month, a rule, a draft, a scenario and an action as version 1 wrote them, and a load on top."""
    written = Path(__file__).parent / "fixtures" / "warehouse_1_whole"
    shutil.copytree(written / "warehouse", settings.warehouse)
    shutil.copytree(written / "raw", settings.raw)
    shutil.copy(written / "key", settings.key_file)
    with sqlite3.connect(state_file(settings)) as connection:
        connection.executescript((written / "state.sql").read_text(encoding="utf-8"))
    connection.close()
    assert [action.note for action in actions.actions(settings)] == ["new box"]
    assert [row.metric for row in alerts.rules(settings) if row.bound == 3.0] == ["returned_units"]
    assert scenarios.saved(settings)["two weeks"].window_days == 14
    assert policies.drafts(settings)["text"].tolist() == ["policy_id: standard\n"]
    assert [(month.month, month.approver, month.is_intact) for month in closing.closed(settings)] == [
        ("2025-01", "A. Auditor", True)
    ]
    write_rows(tmp_path / "order_line.csv", [LINE | {"ordered_at": "2025-02-01T10:00:00Z"}])
    healed = load(settings, [tmp_path / "order_line.csv"]).healed
    assert not [text for text in healed if "log" in text]  # the logs are read as they are
    facts = tables(settings)
    assert set(facts["fact_order_line"].order_line_id) == {"shop:1", "shop:2", "shop:3", "shop:N1-1"}
    assert facts["fact_return_line"].return_line_id.tolist() == ["shop:r1"]
    assert facts["fact_refund"].amount.tolist() == [60.0, 10.0]
    assert len(facts["fact_return_leg"]) == 1


def test_what_was_put_back_is_told_though_the_file_asked_for_is_refused(copy_of_tiny: Settings, tmp_path: Path) -> None:
    state_file(copy_of_tiny).unlink()
    (tmp_path / "order_line.csv").write_text("order_line_id\nx\n")
    with pytest.raises(BackhaulError) as refusal:
        load(copy_of_tiny, [tmp_path / "order_line.csv"])
    assert "put back" in refusal.value.__notes__[0]
