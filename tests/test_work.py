"""Work lists: what people do with rows, what the data settles, who may see and change what, and the page itself."""

import datetime as dt
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.i18n import Words
from dashboard.shared import access, places
from pipelines.access import OWNER, Reader, audit
from pipelines.errors import UnknownDimension, WorkError
from pipelines.load import load, within
from pipelines.metrics import Question
from pipelines.outputs import closing
from pipelines.people import actions, forget, work
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from pipelines.warehouse.scope import Scope
from pipelines.why import read
from tests.any_shop import Delivery, write
from tests.browsing import PHONE, Visit, served
from tests.conftest import copied, ends, put_back
from tests.pages import turn
from tests.test_dashboard import app, said
from tests.test_within import FRANCE
from tests.two_markets import whole

pytestmark = pytest.mark.usefixtures("no_rules")

DUE = ("s:R31", "s:R45", "s:R46")  # of Germany, France and Germany


@pytest.fixture(scope="module")
def made(markets_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The shop of two markets: two withdrawals of Germany and one of France are due by law."""
    return copied(markets_settings, tmp_path_factory.mktemp("work"))


@pytest.fixture
def shop(made: Settings) -> Iterator[Settings]:
    """The shop, put back after the test as it was."""
    with put_back(made) as settings:
        yield settings


@pytest.fixture
def build(shop: Settings) -> Iterator[Build]:
    with current_build(shop.warehouse) as found:
        yield found


def listed(settings: Settings, build: Build, name: str, **where: list[str]) -> pd.DataFrame:
    """Give a list with what people did, by item."""
    found = work.rows(settings, build, name, Question(where=where))
    return work.laid(build, name, found, work.changes(settings, build, name)).set_index("item", drop=False)


def counted(settings: Settings, build: Build, name: str, **where: list[str]) -> work.Tally:
    changed, question = work.changes(settings, build, name), Question(where=where)
    of_then = work.open_then(settings, build, name, question, work.begun(build, changed))
    rows = listed(settings, build, name, **where).reset_index(drop=True)
    return work.tally(build, rows, changed, of_then, is_filtered=bool(where))


def later(settings: Settings, folder: Path) -> None:
    """Load what was heard eight days later: another order, and the refund of the return of France."""
    lines, events = (whole(60)[thing] for thing in ("order_line", "return_event"))
    at = "2025-11-05T10:00:00Z"
    line = lines.tail(1).assign(
        order_line_id="Z-1", order_id="Z", ordered_at=at, recorded_at=at, exchanged_from_line_id=None
    )
    mine = events[events["return_id"] == "R45"].tail(1)
    paid = "2025-10-30T10:00:00Z"
    event = mine.assign(event_id="EZ", event="refunded", occurred_at=paid, recorded_at=paid, place_id=None)
    load(settings, write(folder / "later", Delivery({"order_line": line, "return_event": event})), namespace="s")


def test_a_row_is_ticked_assigned_and_annotated_and_keeps_its_history(shop: Settings, build: Build) -> None:
    first = work.change(shop, build, "refunds-due", DUE[:2], "Nadia", state="done")
    assert first.rows == 2
    assert work.change(shop, build, "refunds-due", DUE[:2], "Ben", state="done").rows == 0, "the same again"
    day = dt.date(2026, 2, 6)
    work.change(shop, build, "refunds-due", [DUE[1]], "Ben", owner=" Ana ", due_on=day, note="bank asked")
    found = listed(shop, build, "refunds-due")
    assert found["work_state"].to_dict() == {DUE[0]: "done", DUE[1]: "done", DUE[2]: "open"}
    row = found.loc[DUE[1]]
    assert (row["work_owner"], pd.Timestamp(row["work_due_on"]).date(), row["work_note"]) == ("Ana", day, "bank asked")
    work.change(shop, build, "refunds-due", [DUE[1]], "Ben", owner="", state="open")
    told = work.history(shop, build, "refunds-due", DUE[1])
    assert told["state"].tolist() == ["open", "done", "done"]
    assert told["changed_by"].tolist() == ["Ben", "Ben", "Nadia"]
    assert told["owner"].isna().tolist() == [True, False, True]
    assert told["note"].iloc[0] == "bank asked"
    assert counted(shop, build, "refunds-due") == work.Tally(2, 1, 0, 0, work.observed_at(build))


def test_the_last_write_counts_and_says_whose_it_came_after(shop: Settings, build: Build) -> None:
    seen = dict.fromkeys(DUE, 0)
    work.change(shop, build, "refunds-due", DUE[:1], "Ana", note="mine")
    done = work.change(shop, build, "refunds-due", DUE, "Ben", seen=seen, state="done")
    assert done.rows == 3
    assert [(one.item, one.by) for one in done.overtaken] == [(DUE[0], "Ana")]
    row = listed(shop, build, "refunds-due").loc[DUE[0]]
    assert (row["work_state"], row["work_note"], row["work_changed_by"]) == ("done", "mine", "Ben")
    seen = listed(shop, build, "refunds-due")["work_change_id"].astype(int).to_dict()
    assert work.change(shop, build, "refunds-due", DUE, "Ana", seen=seen, state="open").overtaken == ()


def test_the_data_closes_a_row_and_shows_again_what_was_done_in_vain(made: Settings, tmp_path: Path) -> None:
    shop = copied(made, tmp_path)
    with current_build(shop.warehouse) as build:
        work.change(shop, build, "refunds-due", [DUE[0]], "Nadia", state="done")
        work.change(shop, build, "claims", ["s:B46"], "Nadia", state="started")
        assert listed(shop, build, "refunds-due").loc[DUE[0], "work_state"] == "done"
    later(shop, tmp_path)
    with current_build(shop.warehouse) as build:
        found = listed(shop, build, "refunds-due")
        assert DUE[1] not in found.index, "the data settled it, and nobody had touched it"
        assert found.loc[DUE[0], "work_state"] == "still_open"
        told = counted(shop, build, "refunds-due")
        assert (told.done, told.settled, told.still_open) == (0, 1, 1)
        assert told.since == dt.datetime(2025, 10, 28, 21, 30)
        assert counted(shop, build, "refunds-due", country=["FR"]).settled == 1
        assert counted(shop, build, "refunds-due", country=["DE"]).settled == 0
        work.change(shop, build, "refunds-due", [DUE[0]], "Nadia", state="open")
        work.change(shop, build, "refunds-due", [DUE[0]], "Nadia", state="done")
        assert listed(shop, build, "refunds-due").loc[DUE[0], "work_state"] == "done", "done anew, on newer data"


def test_a_claim_that_the_carrier_answered_is_settled(shop: Settings, build: Build) -> None:
    work.change(shop, build, "claims", ["s:B46"], "Nadia", state="started")
    found = work.rows(shop, build, "claims")
    paid = found.assign(status="paid", is_listed=False)
    rows = work.laid(build, "claims", paid, work.changes(shop, build, "claims"))
    assert rows.set_index("item")["work_state"].dropna().to_dict() == {"s:B46": "settled"}
    assert work.tally(build, rows, work.changes(shop, build, "claims"), (), is_filtered=False).settled == 1


@pytest.mark.parametrize(
    ("values", "field", "text"),
    [
        ({"state": "settled"}, "state", "settled is no state of a row"),
        ({"owner": "x" * 101}, "owner", "100 characters"),
        ({"note": "two\nlines"}, "note", "1000 characters"),
        ({"note": "\u202e"}, "note", "invisible"),
        ({"due_on": "2026-01-01"}, "due_on", "a day"),
        ({"colour": "red"}, "colour", "no colour"),
        ({}, "", "Nothing to change"),
    ],
)
def test_what_is_wrong_names_its_field_and_changes_nothing(
    shop: Settings, build: Build, values: dict[str, Any], field: str, text: str
) -> None:
    with pytest.raises(WorkError, match=text) as raised:
        work.change(shop, build, "refunds-due", DUE, "Nadia", **values)
    assert raised.value.field == field
    assert work.changes(shop, build, "refunds-due").empty


def test_rows_and_lists_that_are_not_there_are_refused(shop: Settings, build: Build) -> None:
    with pytest.raises(WorkError, match="no row s:R999"):
        work.change(shop, build, "refunds-due", [DUE[0], "s:R999"], "Nadia", state="done")
    with pytest.raises(WorkError, match="no row nowhere"):
        work.change(shop, build, "quarantine", ["nowhere"], "Nadia", state="done")
    with pytest.raises(WorkError, match="no work list 'everything'; one of refunds-due"):
        work.rows(shop, build, "everything")
    with pytest.raises(UnknownDimension, match="cannot be filtered"):
        work.rows(shop, build, "quarantine", Question(where={"country": ["FR"]}))
    assert work.changes(shop, build, "refunds-due").empty


def test_every_list_says_what_is_to_do(shop: Settings, build: Build) -> None:
    todo = {name: counted(shop, build, name).todo for name in work.LISTS}
    assert todo["refunds-due"] == 3
    assert todo["claims"] == 1, "two of three are paid or too late"
    assert todo["goods"] == 2, "what is under way is not ours to decide"
    flagged = pd.DataFrame(
        {
            "style_id": list("abcd"),
            "is_flagged": [True, False, False, False],
            "is_small": [False, False, True, False],
            "low": [0.3, 0.3, 0.3, 0.2],
            "category_rate": [0.25] * 4,
        }
    )
    assert work.to_look_at(flagged)["is_listed"].tolist() == [True, True, False, False]


def test_a_reader_of_one_market_sees_and_ticks_rows_of_it_alone(shop: Settings, build: Build) -> None:
    work.change(shop, build, "refunds-due", DUE, "Nadia", note="zz of both")
    work.change(shop, build, "goods", ["s:RC|received"], "Nadia", note="whole")
    with within.opened(shop, FRANCE) as french:
        assert set(work.changes(shop, french, "refunds-due")["item"]) == {DUE[1]}
        with pytest.raises(WorkError, match=f"no row {DUE[0]}"):
            work.change(shop, french, "refunds-due", [DUE[0]], "Ben", state="done")
        with pytest.raises(WorkError):
            work.history(shop, french, "refunds-due", DUE[0])
        work.change(shop, french, "refunds-due", [DUE[1]], "Ben", state="done")
        assert work.changes(shop, french, "goods").empty, "a sum over both markets is another row"
        work.change(shop, french, "goods", ["s:RC|received"], "Ben", state="done")
        assert work.rows(shop, french, "quarantine").empty
    found = listed(shop, build, "refunds-due")
    assert (found.loc[DUE[1], "work_state"], found.loc[DUE[1], "work_changed_by"]) == ("done", "Ben")
    goods = listed(shop, build, "goods").loc["s:RC|received"]
    assert (goods["work_state"], goods["work_note"]) == ("open", "whole")


def test_who_is_forgotten_is_taken_out_of_notes(copy_of_tiny: Settings) -> None:
    settings = copy_of_tiny
    with current_build(settings.warehouse) as build:
        item = work.items("claims", work.rows(settings, build, "claims")).iloc[0]
        work.change(settings, build, "claims", [item], "Nadia", note="asked anne@example.org twice", owner="Nadia")
    erased = forget.forget(settings, "anne@example.org")
    assert erased.found == 0
    told = state.read(settings, state_tables.work_item.select())
    assert told["note"].tolist() == [f"asked {erased.opaque} twice"]
    assert told["owner"].tolist() == ["Nadia"]


def test_the_command_line_lists_and_ticks(
    shop: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "nadia")
    at = ("--warehouse", shop.warehouse)
    assert ends(capsys, monkeypatch, "work", "set", "refunds-due", *DUE[:2], "--state", "done", *at)[:2] == (
        0,
        "refunds-due: 2 of 2 rows changed. Next: backhaul work list refunds-due\n",
    )
    ends(capsys, monkeypatch, "work", "set", "refunds-due", DUE[2], "--note", "=1+1", "--due", "2026-02-06", *at)
    _, text, _ = ends(capsys, monkeypatch, "work", "list", "refunds-due", "--state", "all", "--format", "csv", *at)
    found = pd.read_csv(io.StringIO(text)).set_index("item")
    assert found["state"].to_dict() == {DUE[0]: "done", DUE[1]: "done", DUE[2]: "open"}
    assert (found.loc[DUE[2], "note"], found.loc[DUE[2], "due_on"]) == ("'=1+1", "2026-02-06")
    assert set(found["changed_by"]) == {"nadia"}
    code, text, _ = ends(capsys, monkeypatch, "work", "list", "refunds-due", "--where", "country=DE", *at)
    assert code == 0
    assert "1 to do, 0 of them done and still open in the data; 1 done by hand" in text
    code, _, text = ends(capsys, monkeypatch, "work", "set", "refunds-due", "s:R999", "--state", "done", *at)
    assert (code, text) == (
        1,
        "backhaul: The work list has no row s:R999; `backhaul work list refunds-due` shows its rows.\n",
    )


def test_a_sentence_about_a_row_is_read_back_in_french() -> None:
    from dashboard.i18n import Words

    for sentence in ("An owner has 100 characters at most, no line breaks and no invisible signs.",):
        assert read(sentence) != [sentence]
        assert Words("fr").translated(sentence).startswith("Un responsable a 100 caractères au plus")


# The page.


def opened(shop: Settings, monkeypatch: pytest.MonkeyPatch, address: str = "late", **link: str) -> AppTest:
    page = turn(app(shop.warehouse, monkeypatch, lang=link.get("lang", "en")), address)
    for name, code in link.items():
        page.query_params[name] = code
    return page.run()


def pressed(page: AppTest, beginning: str) -> AppTest:
    """Press the first button of the page, below its bar, whose label begins so, as a reader does."""
    found = (b for b in page.button if b.label.startswith(beginning) and b.key != "view_save")
    return next(found).click().run()


def test_a_list_is_ticked_in_the_page_and_its_file_says_so(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[pd.DataFrame] = []
    monkeypatch.setattr("dashboard.shared.work.controls", lambda *of: files.append(of[4]))
    page = opened(shop, monkeypatch)
    assert "**3** refunds to do" in said(page)
    page.checkbox[0].check().run()
    page = pressed(page, "Mark as done (3)")
    assert not page.exception
    assert page.success[0].value == "3 rows saved."
    assert "**0** refunds to do · 3 done by hand, 0 settled in the data since 28 Oct 2025" in said(page)
    page = opened(shop, monkeypatch, work_state="done")
    shown = page.dataframe[0].value
    assert shown["work_state"].tolist() == ["Done"] * 3
    assert files[-1]["state"].tolist() == ["done"] * 3
    assert list(files[-1])[:3] == ["return_id", "state", "promise_id"]
    page.checkbox[0].check().run()
    page = pressed(page, "Reopen (3)")
    assert "**3** refunds to do" in said(page)


def test_several_rows_are_assigned_at_once_and_empty_fields_stay(
    shop: Settings, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.change(shop, build, "refunds-due", [DUE[0]], "Ana", note="[x](http://a.example) <b>", owner="Ana")
    page = opened(shop, monkeypatch)
    page.checkbox[0].check().run()
    owner = next(s for s in page.selectbox if s.label == "Owner" and "_owner" in str(s.key) and s.key != "work_owner")
    assert owner.options == ["Ana"]
    owner.set_value("Ana")
    next(d for d in page.date_input if d.label == "To do by").set_value(dt.date(2026, 2, 6))
    page = pressed(page, "Save")
    assert not page.exception
    found = listed(shop, build, "refunds-due")
    assert found["work_owner"].tolist() == ["Ana"] * 3
    assert found["work_state"].tolist() == ["open"] * 3
    assert found["work_note"].dropna().tolist() == ["[x](http://a.example) <b>"], "an empty field stays as it is"
    assert "<b>" not in said(page)
    page = opened(shop, monkeypatch, work_owner="Ana", lang="fr")
    assert "**3** remboursements à faire" in said(page)
    assert page.dataframe[0].value["work_state"].tolist() == ["À faire"] * 3


def test_what_is_wrong_stands_beside_its_field(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(shop, monkeypatch, lang="fr")
    page.checkbox[0].check().run()
    next(i for i in page.text_input if i.label.startswith("Note")).set_value("x" * 1001)
    page = pressed(page, "Enregistrer")
    assert [e.value for e in page.error] == [
        "Une note a 1\u202f000 caractères au plus, sans retour à la ligne ni signe invisible."
    ]
    assert not page.success


def test_a_product_of_the_list_becomes_an_action_and_the_row_names_it(
    shop: Settings, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(shop, monkeypatch, "products")
    page.checkbox[0].check().run()
    kind = next(s for s in page.selectbox if s.label == "Type")
    assert kind.value == "size_note"
    next(d for d in page.date_input if d.label == "Due on").set_value(dt.date(2026, 2, 6))
    page = pressed(page, "Log the action")
    assert not page.exception
    (logged,) = actions.actions(shop)
    found = listed(shop, build, "products")
    assert (logged.kind, logged.status, logged.due_on) == ("size_note", "open", dt.date(2026, 2, 6))
    assert set(logged.scope["style_id"]) == set(found["style_id"])
    assert set(found["work_action_id"]) == {logged.action_id}
    assert set(found["work_state"]) == {"started"}
    page = opened(shop, monkeypatch, "actions")
    assert page.dataframe[0].value["about"].iloc[0].endswith(f" + {len(found) - 5}")


def test_a_viewer_looks_and_an_analyst_of_one_market_ticks_it_and_is_written_down(
    shop: Settings, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, analyst = (Reader("a@example.org", role, FRANCE, "email") for role in ("viewer", "analyst"))
    with patch.object(access, "current", lambda: viewer):
        page = opened(shop, monkeypatch)
        assert "**1** refund to do" in said(page)
        assert not page.checkbox
        assert not [b for b in page.button if "done" in b.label]
    with patch.object(access, "current", lambda: analyst), patch.object(access, "is_on", lambda: True):
        monkeypatch.setattr(access, "enter", lambda words: None)
        page = opened(shop, monkeypatch)
        page.checkbox[0].check().run()
        assert not [s for s in page.selectbox if s.label == "Type"], "an action is of the whole shop"
        pressed(page, "Mark as done (1)")
    event = audit.events(shop)[0]
    assert (event["event"], event["who"], event["scope"]) == ("changed", "a@example.org", "markets FR")
    assert event["what"].split() == ["work", "refunds-due", "1", "state", "done"]
    assert listed(shop, build, "refunds-due")["work_state"].to_dict() == {
        DUE[0]: "open",
        DUE[1]: "done",
        DUE[2]: "open",
    }


def test_a_second_writer_is_named(shop: Settings, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(shop, monkeypatch)
    page.checkbox[0].check().run()
    work.change(shop, build, "refunds-due", [DUE[1]], "Ana", state="held")
    mark = next(b for b in page.button if b.label.startswith("Mark as done"))
    with patch("dashboard.shared.work.changes", wraps=lambda *_: work.changes(shop, build, "refunds-due").iloc[:0]):
        page = mark.click().run()
    assert "1 of these rows had been changed since you opened the list, the last by Ana" in page.warning[0].value
    assert listed(shop, build, "refunds-due").loc[DUE[1], "work_state"] == "done"


def test_every_list_stands_on_its_page(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, link, text in (
        ("late", {"part": "risk"}, "to follow"),
        ("claims", {}, "**1** claim to file or to follow up"),
        ("products", {}, "products to look at"),
        ("waiting", {}, "**2** groups of goods waiting"),
    ):
        if address == "late" and not len(work.rows(shop, current_build(shop.warehouse), "at-risk")):
            continue
        page = opened(shop, monkeypatch, address, **link)
        assert not page.exception
        assert text in said(page), address
    assert places.BY_ADDRESS["late"].parts == ("law", "risk")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_an_action_is_logged_on_the_sheet_of_its_product(
    language: str, shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Words(language)
    page = turn(app(shop.warehouse, monkeypatch, lang=language), "product")
    page.query_params["lang"] = language
    page = page.run()
    style = next(s for s in page.selectbox if s.label == words("products.pick")).value
    next(t for t in page.text_input if t.key == "act_owner").set_value("Nadia")
    page = next(b for b in page.button if b.label == words("actions.log")).click().run()
    assert not page.exception
    (logged,) = actions.actions(shop)
    assert (logged.scope, logged.owner, logged.status) == ({"style_id": (style,)}, "Nadia", "open")
    assert words("actions.logged", n=str(logged.action_id)) in said(page)
    page = next(b for b in page.button if b.label == words("actions.log")).click().run()
    assert not page.exception
    with patch.object(access, "current", lambda: Reader("anna@example.org", "viewer", Scope(), "email")):
        assert words("actions.log") not in [b.label for b in turn(page, "product").run().button]


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_month_is_closed_in_its_page_by_who_signs(
    language: str, shop: Settings, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest month that is over comes first; nobody closes without a name, nor again without a reason."""
    words = Words(language)
    page = turn(app(shop.warehouse, monkeypatch, lang=language), "close")
    page.query_params["lang"] = language

    def close(page: AppTest, **given: str) -> AppTest:
        for key, text in given.items():
            next(t for t in page.text_input if t.key == key).set_value(text)
        return next(b for b in page.button if b.label == words("emissions.close_button")).click().run()

    page = close(page.run())
    assert words("emissions.close_nobody") in said(page)
    assert closing.closed(shop) == []
    months = closing.to_close(build)
    assert months == sorted(months, reverse=True)
    assert months[0] == "2025-09", "the data end on 28 October"
    page = close(page, closing_approver="A. Martin")
    (closed,) = closing.closed(shop)
    assert (closed.month, closed.approver, closed.is_intact) == ("2025-09", "A. Martin", True)
    month = words.month(pd.Timestamp("2025-09"))
    assert words("emissions.close_done", month=month, kg="X", who="A. Martin").split("X")[0] in said(page)
    next(s for s in page.selectbox if s.key == "closing").set_value("2025-09")
    page = close(page, closing_approver="B. Roy")
    assert words("emissions.close_why", who="A. Martin") in said(page)
    page = close(page, closing_approver="B. Roy", closing_note="late legs")
    assert not page.exception
    assert [(c.number, c.approver, c.note) for c in closing.closed(shop)] == [
        (1, "A. Martin", ""),
        (2, "B. Roy", "late legs"),
    ]


def test_a_reader_of_one_market_or_one_who_only_looks_closes_no_month(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reader in (Reader("ben", "analyst", FRANCE, "email"), Reader("anna", "viewer", Scope(), "email")):
        with patch.object(access, "current", lambda reader=reader: reader):
            page = turn(app(shop.warehouse, monkeypatch, lang="en"), "close").run()
            assert not page.exception
            assert "Close the month" not in [b.label for b in page.button]


WINDOWS: tuple[tuple[int, dict[str, Any]], ...] = ((1440, {}), (390, PHONE))


def test_operations_tick_and_take_the_list_away_in_a_few_clicks(
    shop: Settings, build: Build, tmp_path: Path, browser: Any
) -> None:
    """On a desk, then, with all of it open again, on a telephone.

    Each click waits for what the one before it brought: a click on what is about to be drawn anew may be lost.
    """
    with served(shop.warehouse, tmp_path) as address:
        for width, window in WINDOWS:
            _ticked(Visit(browser, address, width, **window), tmp_path / f"{width}.xlsx")
            assert work.change(shop, build, "refunds-due", DUE, "Nadia", state="open").rows == 3


def _ticked(visit: Visit, file: Path) -> None:
    page = visit.page
    visit.open("late")
    clicks = [
        (page.get_by_text("Choose all 3 rows"), page.get_by_role("button", name="Mark as done (3)")),
        (page.get_by_role("button", name="Mark as done (3)"), page.get_by_text("3 rows saved.")),
        (page.get_by_role("radio", name="Done", exact=True), page.get_by_text("Choose all 3 rows")),
        (page.get_by_role("button", name="Export"), page.get_by_role("button", name="Excel")),
    ]
    for click, brings in clicks:
        click.first.click()
        brings.first.wait_for()
        visit.settle()
    with page.expect_download() as taken:
        page.get_by_role("button", name="Excel").first.click()
    taken.value.save_as(file)
    found = pd.read_excel(file, engine="openpyxl")
    assert found["state"].tolist() == ["done"] * 3
    assert {"return_id", "due_at", "amount"} <= set(found)
    assert visit.wrong() == []
    assert visit.overflow() <= 0
    page.close()


def test_an_owner_without_sign_in_is_named_owner(shop: Settings, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(shop, monkeypatch)
    page.checkbox[0].check().run()
    pressed(page, "Mark as done")
    assert set(work.changes(shop, build, "refunds-due")["changed_by"]) == {OWNER.name}


def test_a_scope_of_another_market_knows_nothing_of_a_row(shop: Settings, build: Build) -> None:
    work.change(shop, build, "refunds-due", [DUE[1]], "Nadia", note="of France")
    with within.opened(shop, Scope.of(markets=["DE"])) as german:
        assert work.changes(shop, german, "refunds-due").empty
        assert counted(shop, german, "refunds-due").done == 0
