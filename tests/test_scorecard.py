"""Scorecards of sources: what is usual is told from their own loads; what is not is a problem, told once."""

from datetime import datetime, timedelta

import duckdb
import pytest

from pipelines.alerts import sources
from pipelines.delivery import Message
from pipelines.errors import AlertError
from pipelines.load import scorecard
from pipelines.load.scorecard import kinds
from pipelines.settings import Settings
from pipelines.sources import NamedRows
from pipelines.warehouse import state, state_tables
from tests.conftest import ends

FIRST = datetime(2026, 3, 1, 6)
USUAL = '{"order_line_id": "text", "units": "number", "ordered_at": "time", "gift": "empty"}'


def loaded(
    settings: Settings, hours: list[int], columns: list[str] | None = None, aside: list[int] | None = None
) -> None:
    """Write into the state that a source was loaded so many hours after the first time, 100 rows each."""
    told, faults = columns or [USUAL] * len(hours), aside or [2] * len(hours)
    file = state.State(settings.warehouse)
    for number, hour in enumerate(hours):
        at = FIRST + timedelta(hours=hour)
        file.write(
            state_tables.load,
            [{"load_id": f"{at:%Y%m%dT%H%M%S%f}", "started_at": at, "status": "published", "source": "shop"}],
        )
        of_load = {"load_id": f"{at:%Y%m%dT%H%M%S%f}", "source": "shop", "thing": "order_line", "is_derived": 0}
        counts = {"read": 100, "accepted": 100 - faults[number], "quarantined": faults[number]}
        file.write(state_tables.load_count, [of_load | counts | {"columns": told[number]}])
    file.close()


def problems(settings: Settings, hours_after: int) -> dict[str, str]:
    (card,) = scorecard.scorecards(settings, FIRST + timedelta(hours=hours_after))
    return dict(card.problems)


def test_a_silence_is_long_by_what_the_source_is_used_to(settings: Settings) -> None:
    loaded(settings, [0, 24, 48, 72, 100])  # a day apart, 28 hours at most: more than 42 hours are not usual
    assert problems(settings, 100 + 42) == {}
    assert problems(settings, 100 + 43) == {
        "silence": "shop: no files for 43 h; the longest gap between its late loads is 28 h"
    }
    (card,) = scorecard.scorecards(settings, FIRST + timedelta(hours=124))
    assert (card.loads, card.rows, card.share_accepted, card.last_rows) == (5, 500, 0.98, 100)
    assert (card.silent_for, card.usual_gap, card.newest_event_at) == (timedelta(hours=24), timedelta(hours=28), None)


def test_a_source_of_few_loads_has_no_usual_gap(settings: Settings) -> None:
    loaded(settings, [0, 24, 48, 72])
    assert problems(settings, 5000) == {}


def test_columns_that_come_go_or_hold_something_else_are_named(settings: Settings) -> None:
    changed = '{"order_line_id": "text", "units": "text", "gift": "empty", "channel": "unused"}'
    loaded(settings, [0, 24, 48], [USUAL, USUAL, changed], [2, 2, 30])
    assert problems(settings, 49) == {
        "share": "shop: 30.0% of the rows of its newest load are in quarantine, 2.0% of earlier ones",
        "new": "shop: order_line has columns that earlier loads did not have: channel",
        "missing": "shop: order_line lacks columns that earlier loads had: ordered_at",
        "retyped": "shop: columns of order_line hold another kind of value than before: units",
    }


def test_a_problem_is_told_once_and_again_when_it_comes_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str]] = []

    def deliver(_: Settings, address: str, message: Message) -> None:
        if len(sent) == 2 and address.startswith("https"):
            raise OSError("no way there")
        sent.append((address, message.subject))

    monkeypatch.setattr(sources, "deliver", deliver)
    with pytest.raises(AlertError):
        sources.notify(settings, ["anna"])
    sources.notify(settings, ["mailto:a@example.org", "https://127.0.0.1/hook"])
    problem = {"shop|silence": "shop: no files for 43 h"}
    assert sources.tell_problems(settings, problem) == []
    assert sources.tell_problems(settings, {"shop|silence": "shop: no files for 44 h"}) == []
    assert sources.tell_problems(settings, {}) == []
    (unreached,) = sources.tell_problems(settings, problem)
    assert "could not be told of 1 problems of sources" in unreached
    assert sources.tell_problems(settings, problem) == []  # the one that was not reached is tried again
    assert [address[:6] for address, _ in sent] == ["https:", "mailto", "mailto", "https:"]
    assert {subject for _, subject in sent} == {"Backhaul: shop: no files for 43 h"}


def test_what_a_column_holds_is_what_most_of_its_first_rows_are() -> None:
    rows = " UNION ALL ".join(f"SELECT '{n}' AS a, '{d}' AS b" for n, d in (("1", "x"), ("2.5", "1"), ("3", "2")))
    assert kinds(duckdb.connect(), NamedRows("refund", rows, ignored_columns=("c",))) == {
        "a": "number",
        "b": "text",
        "c": "unused",
    }


def test_a_load_writes_down_what_its_columns_hold(
    tiny_settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (card,) = scorecard.scorecards(tiny_settings)
    assert (card.source, card.loads, card.rows, card.share_accepted, card.problems) == ("shop", 1, 51, 1.0, ())
    assert card.newest_event_at == datetime(2026, 1, 20, 9)
    code, out, _ = ends(capsys, monkeypatch, "sources", "--warehouse", tiny_settings.warehouse)
    assert (code, "100%" in out or " 1 " in out) == (0, True)
