"""Never stuck: whatever one load or one writer meets, it ends in a sentence and the next one works."""

import errno
import gzip
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import duckdb
import pytest
from conftest import TINY_SHOP, write_rows, write_shop
from test_load import big_shop, tables
from typer.testing import CliRunner

from pipelines import alerts, factors
from pipelines.cli import app
from pipelines.errors import BackhaulError, ReportError, SourceError, WarehouseLocked
from pipelines.load import load, publish, withdraw
from pipelines.outputs import closing
from pipelines.people import actions
from pipelines.settings import Settings
from pipelines.warehouse import build, state, state_tables
from tests.disturbed import FOR_EVER, failing, no_file_larger_than

pytestmark = pytest.mark.usefixtures("facts_alone")

LINE = TINY_SHOP["order_line"][0]
HEADER = ",".join(LINE)


def more(folder: Path, number: int, **changes: Any) -> Path:
    """One order line that the tiny shop does not have, as a file."""
    row = {**LINE, "order_line_id": f"N{number}-1", "order_id": f"N{number}", **changes}
    write_rows(folder / f"order_line.{number}.csv", [row])
    return folder / f"order_line.{number}.csv"


def loads(settings: Settings) -> dict[str, str]:
    state_file = state.State(settings.warehouse)
    try:
        return state_file.statuses()
    finally:
        state_file.close()


def lines(settings: Settings) -> set[str]:
    return {str(i).removeprefix("shop:") for i in tables(settings)["fact_order_line"].order_line_id}


def damaged_block() -> bytes:
    content = bytearray(gzip.compress((HEADER + "\n" + "1,1,2025-01-01T00:00:00Z,P,1\n" * 500).encode()))
    content[20:40] = bytes(20)
    return bytes(content)


BAD_FILES = {
    "order_line.text.csv.gz": b"order_line_id,order_id\n1,1\n",
    "order_line.block.csv.gz": damaged_block(),
    "order_line.deep.ndjson": b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"\n",
    "order_line.quote.csv": b'order_line_id,"order_id,' + b"x" * 300_000,
    "order_line.nul.csv": b"\x00" * 1000,
    "orders.json": b'{"orders":[{"id":1,"line_items":"none","created_at":"2025-01-01T00:00:00Z"}]}',
    "order_line.empty.csv": b"",
}


def test_a_load_that_cannot_go_on_is_put_aside_whatever_its_files_hold(copy_of_tiny: Settings, tmp_path: Path) -> None:
    for name, content in BAD_FILES.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BackhaulError) as refusal:
            load(copy_of_tiny, [tmp_path / name])
        assert 20 < len(str(refusal.value)) < 300
    (tmp_path / "order_line.io.csv").symlink_to("/proc/self/mem")  # a file that gives an I/O error to everybody
    with pytest.raises(SourceError, match=r"order_line\.io\.csv"):
        load(copy_of_tiny, [tmp_path / "order_line.io.csv"])
    assert set(loads(copy_of_tiny).values()) == {"published", "failed"}
    listed = [row for row in state.listed_loads(copy_of_tiny) if row["status"] == "failed"]
    assert len(listed) == len(BAD_FILES) + 1
    assert all(row["problem"] for row in listed)
    report = load(copy_of_tiny, [more(tmp_path, 1)])
    assert report.is_new_build
    assert not report.failed
    assert "N1-1" in lines(copy_of_tiny)


def test_a_file_put_aside_is_listed_once_however_often_it_is_tried(copy_of_tiny: Settings, tmp_path: Path) -> None:
    bad = tmp_path / "order_line.csv"
    for content in (b"order_line_id\nx\n", b"order_line_id\nx\n", b""):
        bad.write_bytes(content)
        with pytest.raises(BackhaulError):
            load(copy_of_tiny, [bad])
    assert (
        list(loads(copy_of_tiny).values()).count("failed") == 2
    )  # by what it holds while it can be read, by its path else
    with pytest.raises(BackhaulError):
        load(copy_of_tiny, [bad])
    assert list(loads(copy_of_tiny).values()).count("failed") == 2


def test_rows_that_cannot_be_shaped_put_their_load_aside_and_the_rest_is_built(
    copy_of_tiny: Settings, tmp_path: Path
) -> None:
    old = build.current_id(copy_of_tiny.warehouse)
    shop = {**TINY_SHOP["shop"][0], "shop_id": "M", "time_zone": "Mars/Olympus_Mons"}
    bad = write_shop(
        tmp_path / "bad", {"shop": [shop], "order_line": [{**LINE, "order_line_id": "M1", "shop_id": "M"}]}
    )
    with pytest.raises(SourceError, match="Mars/Olympus_Mons"):
        load(copy_of_tiny, [bad])
    assert build.current_id(copy_of_tiny.warehouse) == old
    (put_aside,) = [load_id for load_id, status in loads(copy_of_tiny).items() if status == "failed"]
    assert not list((copy_of_tiny.warehouse / "log").rglob(f"{put_aside}.parquet"))
    # landed together with a good one by a load that was killed: the good one is built, the other put aside
    state_file = state.State(copy_of_tiny.warehouse)
    state_file.set_status([put_aside], "landed", problem=None)
    state_file.close()
    report = load(copy_of_tiny, [more(tmp_path, 2)])
    assert [row["load"] for row in report.failed] == [put_aside]
    assert lines(copy_of_tiny) == {*(r["order_line_id"] for r in TINY_SHOP["order_line"]), "N2-1"}
    withdraw(copy_of_tiny, put_aside)  # given up
    assert not (copy_of_tiny.raw / put_aside).exists()
    assert not load(copy_of_tiny).failed


def test_a_load_killed_while_it_landed_whose_files_are_gone_does_not_stop_others(
    copy_of_tiny: Settings, tmp_path: Path
) -> None:
    gone = json.dumps({"files": [str(tmp_path / "gone.csv")], "source": None, "exported_at": None})
    state_file = state.State(copy_of_tiny.warehouse)
    state_file.write(
        state_tables.load,
        [{"load_id": "20250101T000000000000", "started_at": state.now(), "status": "landing", "asked": gone}],
    )
    state_file.close()
    report = load(copy_of_tiny, [more(tmp_path, 1)])
    assert [(row["load"], row["files"]) for row in report.failed] == [("20250101T000000000000", "gone.csv")]
    assert "N1-1" in lines(copy_of_tiny)


def test_a_landed_load_whose_raw_copy_is_gone_is_put_aside(copy_of_tiny: Settings, tmp_path: Path) -> None:
    load(copy_of_tiny, [more(tmp_path, 1)], is_trial=True)
    landed = max(loads(copy_of_tiny))
    state_file = state.State(copy_of_tiny.warehouse)
    state_file.set_status([landed], "landed")
    state_file.close()
    shutil.rmtree(copy_of_tiny.raw / landed)
    report = load(copy_of_tiny, [more(tmp_path, 2)])
    assert [row["load"] for row in report.failed] == [landed]
    assert "N2-1" in lines(copy_of_tiny)


def test_a_load_is_taken_back_whole_and_its_files_can_be_loaded_again(copy_of_tiny: Settings, tmp_path: Path) -> None:
    before = lines(copy_of_tiny)
    file = more(tmp_path, 1)
    load(copy_of_tiny, [file])
    taken = max(loads(copy_of_tiny))
    # said again by a later load, as a duplicate: it stays in the facts when the first load goes
    twice = [{**LINE, "order_line_id": f"N{n}-1", "order_id": f"N{n}"} for n in (1, 2)]
    write_rows(tmp_path / "order_line.again.csv", twice)
    load(copy_of_tiny, [tmp_path / "order_line.again.csv"])
    assert withdraw(copy_of_tiny, taken).is_new_build
    assert lines(copy_of_tiny) == before | {"N1-1", "N2-1"}
    assert not withdraw(copy_of_tiny, taken).is_new_build  # twice changes nothing
    withdraw(copy_of_tiny, max(i for i, status in loads(copy_of_tiny).items() if status == "published"))
    assert lines(copy_of_tiny) == before
    assert not (copy_of_tiny.raw / taken).exists()
    load(copy_of_tiny, [file])
    assert lines(copy_of_tiny) == before | {"N1-1"}
    with pytest.raises(SourceError, match="no load 7"):
        withdraw(copy_of_tiny, "7")
    for load_id in [i for i, status in loads(copy_of_tiny).items() if status == "published"]:
        withdraw(copy_of_tiny, load_id)
    assert lines(copy_of_tiny) == set()  # the last one too


def test_a_count_beyond_all_reason_is_quarantined(copy_of_tiny: Settings, tmp_path: Path) -> None:
    report = load(copy_of_tiny, [more(tmp_path, 1, units="3000000000")])
    assert [(q["fault"], q["rows"]) for q in report.quarantined] == [("bad_number units", 1)]


def test_a_name_that_is_no_utf8_is_shown_with_signs_and_loaded(copy_of_tiny: Settings, tmp_path: Path) -> None:
    odd = more(tmp_path, 1).rename(tmp_path / os.fsdecode(b"order_line.caf\xe9.csv"))
    load(copy_of_tiny, [odd])
    assert "N1-1" in lines(copy_of_tiny)
    assert "order_line.caf\ufffd.csv" in {row["files"] for row in state.listed_loads(copy_of_tiny)}


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls at the same time; give what each gives, or its error."""
    ready = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        ready.wait()
        try:
            return call()
        except BackhaulError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_two_closings_of_one_month_at_once_keep_what_the_first_signed(copy_of_tiny: Settings) -> None:
    given = at_once(*(lambda who=who: closing.close(copy_of_tiny, "2025-12", who) for who in ("Anna", "Bert")))  # type: ignore[misc]
    (signed,) = [one for one in given if isinstance(one, closing.Closed)]
    (refused,) = [one for one in given if isinstance(one, ReportError)]
    assert f"was closed by {signed.approver}" in str(refused)
    content = signed.path.read_bytes()
    stray = signed.path.with_name("2025-12-2.parquet")  # left by a closing that was killed before its row was written
    stray.write_bytes(b"nobody signed for this")
    again = closing.close(copy_of_tiny, "2025-12", "Carla", note="a late invoice")
    assert (again.number, again.is_intact) == (2, True)
    assert signed.path.read_bytes() == content
    assert stray.with_suffix(".unsigned").read_bytes() == b"nobody signed for this"
    assert [c.is_intact for c in closing.closed(copy_of_tiny)] == [True, True]


def test_small_writers_wait_for_each_other_and_the_same_rule_is_kept_once(copy_of_tiny: Settings) -> None:
    with build.current_build(copy_of_tiny.warehouse) as opened:
        wanted = [alerts.Rule(0, "observed_return_rate", "above", 0.1 + n % 3 / 10, days=0) for n in range(6)]
        added = at_once(*(lambda rule=rule: alerts.add_rule(copy_of_tiny, opened, rule) for rule in wanted))  # type: ignore[misc]
    assert len({rule.rule_id for rule in added}) == 3
    kept = alerts.rules(copy_of_tiny)
    assert len(kept) == len(alerts.SHIPPED) + 3
    assert {(r.metric, r.bound) for r in added} <= {(r.metric, r.bound) for r in kept}


def test_a_load_waits_as_long_as_it_is_told(copy_of_tiny: Settings) -> None:
    with build.writing(copy_of_tiny.warehouse), pytest.raises(WarehouseLocked, match="--wait"):
        load(copy_of_tiny)
    held, done = Event(), Event()

    def other() -> None:
        with build.writing(copy_of_tiny.warehouse):
            held.set()
            done.wait(120)

    with ThreadPoolExecutor(2) as pool:
        pool.submit(other)
        assert held.wait(120)
        waiting = pool.submit(load, replace(copy_of_tiny, wait_s=120))
        done.set()
        assert not waiting.result(120).is_new_build


@pytest.mark.usefixtures("every_step")
def test_rules_are_looked_at_though_the_load_was_killed_after_publishing(
    copy_of_tiny: Settings, tmp_path: Path
) -> None:
    with build.current_build(copy_of_tiny.warehouse) as opened:
        rule = alerts.add_rule(copy_of_tiny, opened, alerts.Rule(0, "observed_return_rate", "above", 0.1, days=0))

    def kill(step: str) -> None:
        if step == "looking for alerts":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(copy_of_tiny, [more(tmp_path, 1)], progress=kill)
    assert "N1-1" in lines(copy_of_tiny)
    assert rule.rule_id not in set(alerts.alerts(copy_of_tiny).rule_id)
    report = load(copy_of_tiny)
    assert not report.is_new_build
    assert report.alerts
    assert rule.rule_id in set(alerts.alerts(copy_of_tiny).rule_id)


def test_a_full_disk_ends_in_a_sentence_and_loses_nothing(copy_of_tiny: Settings, tmp_path: Path) -> None:
    before, file = lines(copy_of_tiny), more(tmp_path, 1)
    calls: dict[str, Callable[[], Any]] = {
        "load": lambda: load(copy_of_tiny, [file]),
        "close": lambda: closing.close(copy_of_tiny, "2025-12", "Anna"),
        "action": lambda: actions.log_action(copy_of_tiny, "claim", {}),
        "factors": lambda: factors.choose(copy_of_tiny, "ademe"),
        "withdraw": lambda: withdraw(copy_of_tiny, min(loads(copy_of_tiny))),
    }
    for size, names in ((0, ("load", "close", "action", "factors")), (3_000, ("load", "close")), (200_000, ("load",))):
        for name in names:
            with no_file_larger_than(size), pytest.raises((BackhaulError, OSError)) as refusal:
                calls[name]()
            said = str(refusal.value)
            assert "No space left" in said or "too large" in said or "full" in said, (name, size, said)
            assert lines(copy_of_tiny) == before
    assert "failed" not in loads(copy_of_tiny).values()
    with no_file_larger_than(0):
        assert state.listed_loads(copy_of_tiny)
        assert alerts.rules(copy_of_tiny)
    load(copy_of_tiny, [file])
    assert lines(copy_of_tiny) == before | {"N1-1"}
    assert not list((copy_of_tiny.warehouse / "builds").glob(f"*{build.UNFINISHED}*"))
    assert closing.closed(copy_of_tiny) == []
    assert factors.ledger(copy_of_tiny).chosen == factors.DEFAULT


def test_a_load_that_was_put_aside_is_shown_by_status(copy_of_tiny: Settings, tmp_path: Path) -> None:
    (tmp_path / "order_line.9.csv.gz").write_bytes(damaged_block())
    with pytest.raises(SourceError):
        load(copy_of_tiny, [tmp_path / "order_line.9.csv.gz"])
    (name,) = [load_id for load_id, status in loads(copy_of_tiny).items() if status == "failed"]
    at = ["--warehouse", str(copy_of_tiny.warehouse)]
    result = CliRunner().invoke(app, ["status", *at], env={"COLUMNS": "300"})
    assert result.exit_code == 0
    (row,) = [line for line in result.output.splitlines() if name in line]
    assert "failed" in row
    assert "order_line.9.csv.gz" in result.output
    told = json.loads(CliRunner().invoke(app, ["status", "--format", "json", *at]).output)
    (failed,) = [row for row in told["loads"] if row["load"] == name]
    assert failed["status"] == "failed"


def test_a_disk_that_refuses_every_write_still_answers(copy_of_tiny: Settings) -> None:
    def said(*words: str) -> Any:
        return CliRunner().invoke(app, [*words, "--warehouse", str(copy_of_tiny.warehouse)])

    with failing(copy_of_tiny.warehouse.parent, errno.EROFS, 1, FOR_EVER):
        metric = said("metric", "sold_units", "--format", "json")
        refused = said("action", "add", "claim")
    assert metric.exit_code == 0, metric.output
    assert json.loads(metric.output)[0]["value"] == 9
    assert isinstance(refused.exception, OSError | BackhaulError)  # the disk does refuse


READING = (
    ("status",),
    ("metric", "observed_return_rate"),
    ("alert", "list"),
    ("alert", "check", "--dry-run"),
    ("closed",),
    ("action", "list"),
    ("check", "--deep"),
    ("doctor",),
    ("withdrawn",),
)


def test_reading_writes_nothing(copy_of_tiny: Settings) -> None:
    def seen() -> dict[Path, tuple[int, int]]:
        return {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in copy_of_tiny.warehouse.parent.rglob("*")}

    before = seen()
    for words in READING:
        result = CliRunner().invoke(app, [*words, "--warehouse", str(copy_of_tiny.warehouse)])
        assert result.exit_code == 0, (words, result.output, result.exception)
    assert seen() == before


def test_a_build_of_many_small_loads_is_little_larger_than_one_of_a_large_load(
    settings: Settings, tmp_path: Path
) -> None:
    load(settings, [write_shop(tmp_path / "shop", big_shop(8))])
    at_first = build.own_files(settings.warehouse)[-1].stat().st_size
    for number in range(2):
        assert load(settings, [more(tmp_path, number)]).kind == "increment"
    assert build.own_files(settings.warehouse)[-1].stat().st_size < 1.3 * at_first
    assert len(lines(settings)) == 8 * len(TINY_SHOP["order_line"]) + 2


def test_a_fault_of_ours_is_not_hidden_by_the_search_for_a_load_at_fault(
    settings: Settings, tiny_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not even a build of no load holds, the fault itself is told, and nothing is put aside for it."""
    broken = duckdb.BinderException("no such column")
    monkeypatch.setattr(publish, "_build_once", lambda *_, **__: (_ for _ in ()).throw(broken))
    with pytest.raises(duckdb.BinderException, match="no such column"):
        load(settings, [tiny_files])
    state_file = state.State(settings.warehouse)
    assert set(state_file.statuses().values()) == {"logged"}
    state_file.close()
