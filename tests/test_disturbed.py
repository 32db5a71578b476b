"""Disks that fail and clocks that jump.

Every verb ends in one sentence, and once the disturbance is gone nothing is lost.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from conftest import TINY_SHOP, ends, fresh, write_rows
from test_load import assert_same, tables

from pipelines.errors import BackhaulError
from pipelines.load import load
from pipelines.settings import Settings, write_whole
from pipelines.warehouse import state, state_tables
from tests.disturbed import FOR_EVER, failing, jumping, sentences
from tests.turns import IS_WHOLE, left_to_proofs

pytestmark = pytest.mark.usefixtures("facts_alone")

LINE = {**TINY_SHOP["order_line"][0], "order_line_id": "N1-1", "order_id": "N1"}
VERBS: dict[str, tuple[int, Sequence[str]]] = {  # how many of its calls on the disk fail in turn, and the words
    "load": (4 if IS_WHOLE else 2, ("load", "{inputs}/order_line.csv")),
    "withdraw": (1, ("withdraw", "{load}")),
    "close": (2, ("close", "2025-12", "--approver", "A")),
    "export": (1, ("export", "observed_return_rate", "--out", "{folder}/rates.csv")),
    "forget": (2 if IS_WHOLE else 1, ("forget", "anne@example.org")),
    "backup": (2, ("backup", "{folder}/copy")),
}
OFTEN = ("load", "close", "backup")
"""Verbs that are disturbed in every run of the tests, the others by the proofs."""
ONCE = ("close", "backup", "forget")  # refused where they were done
Run = Callable[[Settings, str], tuple[int, str]]


@pytest.fixture
def run(
    tmp_path: Path, tiny_settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run a verb as a shell does; give its exit code and what it said on standard error."""
    inputs = tmp_path / "inputs"
    write_rows(inputs / "order_line.csv", [LINE])

    def run(settings: Settings, verb: str) -> tuple[int, str]:
        names = {"inputs": inputs, "folder": settings.warehouse.parent, "load": max(statuses(settings))}
        words = [w.format(**names) for w in VERBS[verb][1]]
        code, _, said = ends(capsys, monkeypatch, *words, "--warehouse", settings.warehouse)
        return code, said

    return run


def statuses(settings: Settings) -> dict[str, str]:
    state_file = state.State(settings.warehouse)
    try:
        return state_file.statuses()
    finally:
        state_file.close()


def kept(settings: Settings) -> dict[str, Any]:
    """What must not get lost: facts, and what people wrote."""
    state_file = state.State(settings.warehouse)
    try:
        rows = {
            t.name: len(state_file.rows(t.select()))
            for t in (state_tables.alert_rule, state_tables.closed_month, state_tables.action)
        }
    finally:
        state_file.close()
    made = {n: (settings.warehouse.parent / n).exists() for n in ("rates.csv", "em.json", "copy")}
    return {"rows": rows, "made": made, "facts": tables(settings)}


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Compare what is kept; customers by all but their id, which is drawn anew when one is forgotten."""

    def rows(frame: pd.DataFrame) -> list[str]:
        told = frame.drop(columns=["customer_key", "customer_id"], errors="ignore")
        return sorted(map(str, told.itertuples(index=False, name=None)))

    facts = all(rows(frame) == rows(right["facts"][table]) for table, frame in left["facts"].items())
    return facts and left["rows"] == right["rows"] and left["made"] == right["made"]


def assert_one_sentence(said: str) -> None:
    (sentence,) = sentences(said)
    assert sentence.startswith("backhaul: ")
    assert "fault of Backhaul" not in sentence


@pytest.fixture
def unharmed(tmp_path: Path, tiny_settings: Settings) -> Settings:
    """A second copy, whose disk never fails."""
    target = fresh(tmp_path / "unharmed")
    shutil.copytree(tiny_settings.warehouse, target.warehouse)
    shutil.copytree(tiny_settings.raw, target.raw)
    return target


@pytest.mark.parametrize("verb", [*OFTEN, *(left_to_proofs(verb) for verb in VERBS if verb not in OFTEN)])
def test_writes_that_fail_end_in_a_sentence_and_lose_nothing(
    verb: str, unharmed: Settings, copy_of_tiny: Settings, run: Run
) -> None:
    before = kept(copy_of_tiny)
    with failing(unharmed.warehouse.parent, errno.EIO) as counted:
        assert run(unharmed, verb)[0] == 0
    expected, turns = kept(unharmed), counted.turns()
    points = VERBS[verb][0]
    for number in range(points):
        first = turns[(2 * number + 1) * len(turns) // (2 * points)]
        turn = number + list(VERBS).index(verb)
        code, times = [(errno.EIO, 1), (errno.ENOSPC, FOR_EVER), (errno.EROFS, FOR_EVER)][turn % 3]
        with failing(copy_of_tiny.warehouse.parent, code, first, times) as disk:
            ended, said = run(copy_of_tiny, verb)
        failed = disk.asked[first - 1] if len(disk.asked) >= first else "nothing: the verb had less to do"
        assert ended in (0, 1, 3, 4), (failed, said)
        if ended:
            assert_one_sentence(said)
        assert same(kept(copy_of_tiny), before) or same(kept(copy_of_tiny), expected), failed
    ended, said = run(copy_of_tiny, verb)
    assert ended == 0 or verb in ONCE, said
    assert same(kept(copy_of_tiny), expected)
    assert "failed" not in statuses(copy_of_tiny).values()
    assert not list(copy_of_tiny.warehouse.parent.rglob("*.unfinished*"))
    assert not load(copy_of_tiny).failed


@pytest.mark.parametrize("is_first", [True, left_to_proofs(False)])
def test_no_load_is_blamed_for_a_disk_that_failed_while_a_build_was_written(
    is_first: bool, tiny_files: Path, tiny_settings: Settings, copy_of_tiny: Settings, tmp_path: Path
) -> None:
    """The first load has no build to be copied from, and a whole build anew has no load that is new."""
    tried, settings = fresh(tmp_path / "tried"), fresh(tmp_path / "first") if is_first else copy_of_tiny
    with failing(tried.warehouse / "builds", errno.EIO) as disk:
        load(tried, [tiny_files])
    statements = [n for n, call in enumerate(disk.asked, 1) if call.startswith("duckdb")]
    assert len(statements) > 20
    ended = []
    for call in (statements[len(statements) // 2], statements[-1]):
        with failing(settings.warehouse / "builds", errno.EIO, call):
            try:
                load(settings, [tiny_files] if is_first else [], rebuild=not is_first)
            except (BackhaulError, OSError, duckdb.IOException) as error:
                ended.append(str(error))
        assert "failed" not in statuses(settings).values(), call
    assert ended
    assert not load(settings, [tiny_files], rebuild=True).failed
    assert_same(tables(settings), tables(tiny_settings))


def test_a_draft_whose_writer_is_gone_goes_with_the_next(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [
        f"a[1].csv.{ended.pid}.new",
        f"a[1].csv.{os.getppid()}.new",
        "a[1].csv.notes.new",
        f"b.csv.{ended.pid}.new",
    ]
    for name in names:
        (tmp_path / name).write_text("half")
    write_whole(tmp_path / "a[1].csv", "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a[1].csv", *names[1:]])


def test_a_damaged_log_is_made_again_though_the_disk_failed_meanwhile(copy_of_tiny: Settings, tmp_path: Path) -> None:
    """Rows that were published do not leave the facts because a disk failed once while they were judged again."""
    before = tables(copy_of_tiny)
    (log,) = (copy_of_tiny.warehouse / "log" / "order_line").glob("*/*.parquet")
    log.unlink()
    write_rows(tmp_path / "order_line.csv", [LINE])
    for first in (30, 70):
        with failing(tmp_path / "warehouse", errno.EIO, first, 3), pytest.raises((BackhaulError, OSError)):
            load(copy_of_tiny, [tmp_path / "order_line.csv"])
        assert_same(before, tables(copy_of_tiny))
    load(copy_of_tiny, [tmp_path / "order_line.csv"])
    lines = set(tables(copy_of_tiny)["fact_order_line"].order_line_id)
    assert lines == {*before["fact_order_line"].order_line_id, "shop:N1-1"}
    assert "failed" not in statuses(copy_of_tiny).values()


def test_a_clock_that_jumps_changes_nothing(copy_of_tiny: Settings, tmp_path: Path) -> None:
    """Three loads: the last says otherwise of one line, and counts once the clock is right.

    Whatever it said meanwhile.
    """
    before = set(tables(copy_of_tiny)["fact_order_line"].order_line_id)
    with jumping():
        for number, name, amount in ((1, "N1", "50"), (2, "N2", "50"), (3, "N1", "70")):
            row = {**LINE, "order_line_id": name, "order_id": name, "net_amount": amount}
            write_rows(tmp_path / f"order_line.{number}.csv", [row])
            load(copy_of_tiny, [tmp_path / f"order_line.{number}.csv"])
    load(copy_of_tiny)  # what was of the future for a clock that was behind is judged again
    found = tables(copy_of_tiny)["fact_order_line"].set_index("order_line_id")["net_amount"]
    assert set(found.index) == before | {"shop:N1", "shop:N2"}
    assert (found["shop:N1"], found["shop:N2"]) == (70, 50)
    state_file = state.State(copy_of_tiny.warehouse)
    begun = [row["load_id"] for row in state_file.rows(state_tables.load.select())]
    state_file.close()
    assert begun == sorted(begun)  # an id is after all before it
