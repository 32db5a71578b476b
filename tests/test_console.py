"""How a run ends and what it says on the way.

Exit codes, errors as JSON, the log, progress without a screen, SIGTERM.
"""

import errno
import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest

from pipelines.cli import console
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import writing
from tests.conftest import ends

THREE_LINES = """order_line_id,order_id,ordered_at,product_id,units,net_amount,currency,country
1,o1,2025-01-02T10:00:00Z,P1,1,50.00,EUR,FR
2,o2,2025-01-03T10:00:00Z,P2,2,80.00,EUR,FR
3,o3,2025-01-04T10:00:00Z,P1,1,50.00,EUR,DE
"""


@pytest.fixture(autouse=True)
def _handlers(monkeypatch: pytest.MonkeyPatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(console, "_signals", [])
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "Usage"),
        (["fly"], 2, "No such command"),
        (["load", "nowhere.csv"], 1, "There is no file or folder at nowhere.csv"),
        (["status"], 4, "There is no warehouse"),
    ],
)
def test_the_exit_code_says_what_kind_of_end_it_was(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = ends(capsys, monkeypatch, *arguments)
    assert found == code
    assert words in out + err
    assert "Traceback" not in err


def test_a_second_writer_is_told_to_come_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "order_line.csv").write_text(THREE_LINES)
    with writing(tmp_path / "warehouse"):
        asked = ["load", str(tmp_path / "order_line.csv"), "--warehouse", str(tmp_path / "warehouse")]
        code, out, err = ends(capsys, monkeypatch, *asked, "--format", "json")
    assert (code, out) == (3, "")
    told = json.loads(err)
    assert (told["error"], told["exit_code"]) == ("WarehouseLocked", 3)
    assert "is writing" in told["message"]


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "warehouse"), 4, "No space left on device: warehouse."),
        (ZeroDivisionError("by nought"), 5, "A fault of Backhaul's own (ZeroDivisionError: by nought)."),
        (EOFError("cut"), 5, "the end came too early: cut"),
        (KeyboardInterrupt(), 130, "Stopped. Nothing was published"),
        (RuntimeError("Query interrupted"), 130, "Stopped. Nothing was published"),
    ],
)
def test_what_nobody_foresaw_is_one_sentence_and_its_trace_is_in_the_log(
    raised: BaseException,
    code: int,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("pipelines.load.load", fail)
    log = tmp_path / "run.log"
    found, _, err = ends(capsys, monkeypatch, "--log", str(log), "load", "x.csv")
    assert found == code
    assert words in err
    assert len(err.splitlines()) == 1
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert (lines[-1]["event"], lines[-1]["verb"], lines[-1]["exit_code"]) == ("ended", "load", code)
    assert ("fault" in [line["event"] for line in lines]) == (code == 5)


def test_sigterm_ends_as_ctrl_c_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr("pipelines.load.load", wait)
    code, _, err = ends(capsys, monkeypatch, "load", "x.csv")
    assert code == 143
    assert "Stopped. Nothing was published" in err


def test_a_load_is_logged_step_by_step_and_says_where_it_is_without_a_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "order_line.csv").write_text(THREE_LINES)
    monkeypatch.setattr(console, "SILENCE", 0.001)
    log = tmp_path / "run.log"
    asked = ["load", str(tmp_path / "order_line.csv"), "--warehouse", str(tmp_path / "wh"), "--format", "json"]
    code, out, err = ends(capsys, monkeypatch, "--log", str(log), *asked)
    assert code == 0
    report = json.loads(out)
    assert {t["table"]: t["accepted"] for t in report["tables"]} == {"order_line": 3}
    assert any(line.startswith("backhaul: judging") for line in err.splitlines())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert (lines[0]["event"], lines[0]["verb"]) == ("began", "load")
    assert lines[1]["event"].startswith("landing")
    assert lines[-2]["event"] == "loaded"
    assert lines[-2]["build_id"] == report["build_id"]
    assert all(datetime.fromisoformat(line["time"]).replace(tzinfo=None) <= state.now() for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "No such command 'fly'"),
        (["action", "fly"], "No such command 'fly'"),
        (["metric", "sold_units", "--nope"], "--nope"),
        (["metric"], "KEY"),
        (["metric", "sold_units", "--from", "yesterday"], "yesterday is not a day; write it as 2026-01-31"),
        (["metric", "sold_units", "--where", "FR"], "FR is not DIM=VALUE"),
        (["export", "sold_units", "--out"], "--out"),
    ],
)
def test_wrong_use_is_one_sentence_or_json(
    arguments: list[str],
    words: str,
    tiny_settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(tiny_settings.warehouse))
    monkeypatch.setattr(console.log, "propagate", False)  # as in a process of its own, where nobody else listens
    console.log.setLevel("NOTSET")
    code, out, err = ends(capsys, monkeypatch, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert words in err
    asked = f"backhaul {'action' if arguments[0] == 'action' else arguments[0]}".removesuffix(" fly")
    assert f"`{asked} --help` says what there is." in err
    code, out, err = ends(capsys, monkeypatch, arguments[0], "--format", "json", *arguments[1:])
    assert (code, out) == (2, "")
    told = json.loads(err)
    assert (told["error"], told["exit_code"]) == ("WrongUse", 2)


def test_who_asks_for_nothing_is_shown_what_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for group in ([], ["action"]):
        code, out, err = ends(capsys, monkeypatch, *group)
        assert code == 2
        assert "Usage: " in out + err


def test_each_verb_is_logged_as_it_begins_and_ends(
    tmp_path: Path, tiny_settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, at = tmp_path / "run.log", ("--warehouse", tiny_settings.warehouse)
    rows = tmp_path / "rows.csv"
    for arguments, verb, code in (
        (["export", "sold_units", "--out", rows, *at], "export", 0),
        (["action", "list", *at], "action list", 0),
        (["verify", tmp_path / "nowhere.csv"], "verify", 1),
        (["metric", "--nope"], "metric", 2),
        (["status", "--warehouse", tmp_path / "nowhere"], "status", 4),
    ):
        assert ends(capsys, monkeypatch, "--log", log, *arguments)[0] == code
        first, *_, last = [json.loads(line) for line in log.read_text().splitlines()]
        assert (first["event"], first["verb"]) == ("began", verb)
        assert (last["event"], last["verb"], last["exit_code"]) == ("ended", verb, code)
        assert last["seconds"] >= 0
        log.unlink()


def test_a_check_that_finds_something_ends_with_1_in_the_log_too(
    tmp_path: Path, copy_of_tiny: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of_tiny.key_file.unlink()
    log = tmp_path / "run.log"
    assert ends(capsys, monkeypatch, "--log", log, "doctor", "--warehouse", copy_of_tiny.warehouse)[0] == 1
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["level"], last["event"], last["verb"], last["exit_code"]) == ("info", "ended", "doctor", 1)


def test_verbose_writes_the_log_to_standard_error(
    tmp_path: Path, tiny_settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["metric", "sold_units", "--format", "json", "--warehouse", tiny_settings.warehouse]
    assert ends(capsys, monkeypatch, *asked)[2] == ""
    code, out, err = ends(capsys, monkeypatch, "--verbose", *asked)
    assert (code, json.loads(out)[0]["value"]) == (0, 9)
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == ["began", "ended"]

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("pipelines.metrics.answer", fail)
    code, out, err = ends(capsys, monkeypatch, "--verbose", *asked)
    assert (code, out) == (5, "")
    [fault] = [json.loads(line) for line in err.splitlines() if '"fault"' in line]
    assert "ZeroDivisionError: by nought" in fault["trace"]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_an_answer_without_a_row_says_why_beside_it(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything was sold there is no country: what a program reads is empty, and the reason is said."""
    monkeypatch.chdir(tmp_path)
    Path("order_line.csv").write_text(THREE_LINES)
    Path("return_event.csv").write_text(
        "event_id,return_line_id,return_id,order_line_id,event,occurred_at,units\n"
        "e1,r1,r1,1,received,2025-01-14T10:00:00Z,1\n"
    )
    ends(capsys, monkeypatch, "load", "order_line.csv", "return_event.csv")
    days = ("--from", "2024-01-01", "--to", "2024-01-31", "--format", form)
    code, out, said = ends(capsys, monkeypatch, "metric", "observed_return_rate", "--by", "country", *days)
    assert (code, out.strip()) == (0, "[]" if form == "json" else "")
    assert "nothing sold" in said
