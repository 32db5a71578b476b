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
    assert lines[-1]["exit_code"] == code
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
    assert lines[0]["event"].startswith("landing")
    assert lines[-1]["event"] == "loaded"
    assert lines[-1]["build_id"] == report["build_id"]
    assert all(datetime.fromisoformat(line["time"]).replace(tzinfo=None) <= state.now() for line in lines)
