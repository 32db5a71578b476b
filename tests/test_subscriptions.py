"""Subscriptions: when they are due, what is sent within the reader's rights at that moment, and what fails."""

import datetime as dt
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import openpyxl
import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

import dashboard
from dashboard import subscribed
from dashboard.shared import access as access_shared
from dashboard.shared import places
from pipelines import subscriptions
from pipelines.access import Reader, audit
from pipelines.cli import app as command_line
from pipelines.errors import BackhaulError, SubscriptionError
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.subscriptions import Subscription, newest_period, sending
from pipelines.warehouse.scope import Scope
from tests.conftest import copied
from tests.pages import turn
from tests.receivers import hook, mailbox
from tests.test_access import READERS
from tests.test_alerts import another_order
from tests.two_markets import MARK

HOME = Path(dashboard.__file__).parent
PARIS = "Europe/Paris"
MADE = {
    "subject": "Backhaul · Today: 5 are late",
    "paragraphs": ["5 are late"],
    "link_label": "Open in Backhaul",
    "days": ["2026-01-01", "2026-01-31"],
    "build": "000001-x",
    "file": None,
}


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("every", "hour", "day", "now", "begins"),
    [
        ("daily", 7, 1, "2026-01-15T06:00", "2026-01-15T06:00"),  # 07:00 in Paris
        ("daily", 7, 1, "2026-01-15T05:59", "2026-01-14T06:00"),
        ("daily", 7, 1, "2026-07-15T05:00", "2026-07-15T05:00"),  # in summer an hour earlier
        ("daily", 2, 1, "2026-03-29T03:00", "2026-03-29T01:00"),  # 02:00 does not exist that night: 03:00
        ("daily", 0, 1, "2026-01-14T23:30", "2026-01-14T23:00"),  # the next day has begun in Paris
        ("weekly", 7, 1, "2026-01-18T23:00", "2026-01-12T06:00"),
        ("weekly", 7, 1, "2026-01-19T06:00", "2026-01-19T06:00"),
        ("weekly", 7, 7, "2026-01-18T05:00", "2026-01-11T06:00"),
        ("monthly", 7, 1, "2026-02-01T05:59", "2026-01-01T06:00"),
        ("monthly", 7, 28, "2026-03-01T06:00", "2026-02-28T06:00"),
        ("monthly", 7, 15, "2026-01-15T06:00", "2026-01-15T06:00"),
    ],
)
def test_the_newest_period_by_the_clock_of_its_zone(every: str, hour: int, day: int, now: str, begins: str) -> None:
    assert newest_period(every, hour, day, PARIS, at(now)) == at(begins)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Subscription]:
    """Have the pages make a message of three words, and count how often they are asked."""
    asked: list[Subscription] = []

    def drawn(_: Settings, one: Subscription) -> dict[str, Any]:
        asked.append(one)
        return MADE

    monkeypatch.setattr(sending, "drawn", drawn)
    return asked


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the pages made in this process; in one of their own they are by `test_the_page_as_pdf` in French."""

    def drawn(settings: Settings, one: Subscription) -> dict[str, Any]:
        asked = {"reader": one.reader, "page": one.page, "file": one.file, "language": one.language}
        monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(settings.warehouse))
        try:
            return subscribed.made({**asked, "codes": {name: list(codes) for name, codes in one.codes.items()}})
        except BackhaulError as error:
            raise SubscriptionError(str(error)) from None

    monkeypatch.setattr(access_shared, "_for", [])
    monkeypatch.setattr(sending, "drawn", drawn)


def weekly(*to: str, **more: Any) -> Subscription:
    return Subscription(0, "", "today", "weekly", to, zone=PARIS, **more)


def test_it_is_sent_once_a_period_and_what_was_missed_is_sent_once(
    copy_of_tiny: Settings, made: list[Subscription]
) -> None:
    with hook() as (address, got):
        subscriptions.add(copy_of_tiny, weekly(address), now=at("2026-01-14T12:00"))
        assert subscriptions.send(copy_of_tiny, at("2026-01-14T12:30")) == []  # the week it was made in is over
        assert subscriptions.send(copy_of_tiny, at("2026-01-19T05:59")) == []
        (sent,) = subscriptions.send(copy_of_tiny, at("2026-01-19T06:00"))
        assert (sent.reached, sent.problem) == ((address,), "")
        for hour in range(1, 24):
            assert subscriptions.send(copy_of_tiny, at("2026-01-19T06:00") + dt.timedelta(hours=hour)) == []
        assert len(got) == len(made) == 1
        assert len(subscriptions.send(copy_of_tiny, at("2026-02-11T06:00"))) == 1  # three Mondays later: once
        assert subscriptions.send(copy_of_tiny, at("2026-02-15T06:00")) == []
        assert len(got) == 2
    (kept,) = subscriptions.subscriptions(copy_of_tiny)
    assert (kept.sent_at, kept.problem) == (at("2026-02-11T06:00"), "")


def test_who_cannot_be_reached_is_tried_again_and_shown_with_the_reason(
    copy_of_tiny: Settings, made: list[Subscription]
) -> None:
    with hook() as (good, got), hook(503) as (broken, refused):
        subscriptions.add(copy_of_tiny, weekly(good, broken), now=at("2026-01-14T12:00"))
        (first,) = subscriptions.send(copy_of_tiny, at("2026-01-19T07:00"))
        assert first.reached == (good,)
        assert "it answered 503" in first.problem
        assert "/hook" not in first.sentence()
        subscriptions.send(copy_of_tiny, at("2026-01-19T08:00"))
        assert (len(got), len(refused)) == (1, 2)
        (kept,) = subscriptions.subscriptions(copy_of_tiny)
        assert kept.failing_since == at("2026-01-19T07:00")
        subscriptions.edit(copy_of_tiny, replace(kept, to=(good,)))
        assert subscriptions.send(copy_of_tiny, at("2026-01-19T09:00")) == []
        (kept,) = subscriptions.subscriptions(copy_of_tiny)
        assert (kept.problem, kept.failing_since) == ("", None)
        assert len(subscriptions.send(copy_of_tiny, at("2026-01-26T07:00"))) == 1
        assert (len(got), len(refused)) == (2, 2)


def test_a_pause_is_not_made_up_for_and_what_is_withdrawn_is_not_sent(
    copy_of_tiny: Settings, made: list[Subscription]
) -> None:
    with hook() as (address, got):
        one = subscriptions.add(copy_of_tiny, weekly(address), now=at("2026-01-14T12:00"))
        subscriptions.pause(copy_of_tiny, one.subscription_id)
        assert subscriptions.send(copy_of_tiny, at("2026-01-20T12:00")) == []
        subscriptions.pause(copy_of_tiny, one.subscription_id, is_paused=False, now=at("2026-01-21T12:00"))
        assert subscriptions.send(copy_of_tiny, at("2026-01-21T12:00")) == []
        assert len(subscriptions.send(copy_of_tiny, at("2026-01-26T12:00"))) == 1
        subscriptions.withdraw(copy_of_tiny, one.subscription_id)
        assert subscriptions.send(copy_of_tiny, at("2026-02-02T12:00")) == []
        assert len(got) == 1
        with pytest.raises(SubscriptionError, match="There is no subscription"):
            subscriptions.withdraw(copy_of_tiny, one.subscription_id)


def test_another_hour_counts_from_now_on_and_the_same_twice_is_one(
    copy_of_tiny: Settings, made: list[Subscription]
) -> None:
    with hook() as (address, got):
        one = subscriptions.add(copy_of_tiny, weekly(address), now=at("2026-01-14T12:00"))
        assert subscriptions.add(copy_of_tiny, weekly(address)).subscription_id == one.subscription_id
        subscriptions.send(copy_of_tiny, at("2026-01-19T07:00"))
        subscriptions.edit(copy_of_tiny, replace(one, hour=9), now=at("2026-01-19T10:00"))
        assert subscriptions.send(copy_of_tiny, at("2026-01-19T10:00")) == []  # nine has passed when it was said
        subscriptions.edit(copy_of_tiny, replace(one, hour=9, to=(address, f"slack+{address}")))
        assert subscriptions.send(copy_of_tiny, at("2026-01-25T10:00")) == []
        assert len(subscriptions.send(copy_of_tiny, at("2026-01-26T08:00"))) == 1
        assert len(got) == 3


def test_after_each_load_by_itself_and_a_load_never_fails_because_of_it(
    copy_of_tiny: Settings, made: list[Subscription], tmp_path: Path
) -> None:
    with hook() as (address, got), hook(500) as (broken, _):
        subscriptions.add(copy_of_tiny, Subscription(0, "", "today", "load", (address, broken)))
        assert subscriptions.send(copy_of_tiny) == []  # the build that is there was not loaded since
        report = load(copy_of_tiny, [another_order(tmp_path, 1)])
        assert report.is_new_build
        assert len(got) == 1
        assert "it answered 500" in " ".join(report.unreached)
        assert load(copy_of_tiny).is_new_build is False  # nothing new: only who failed is tried again
        assert len(got) == 1


def test_what_the_message_is_and_its_link(copy_of_tiny: Settings, made: list[Subscription]) -> None:
    settings = replace(copy_of_tiny, public_url="https://returns.example.org")
    with hook() as (address, got):
        one = weekly(address, codes={"country": ("FR", "DE"), "period": ("90d",)}, language="fr")
        subscriptions.add(settings, one, now=at("2026-01-14T12:00"))
        subscriptions.send(settings, at("2026-01-19T07:00"))
    link = urlsplit(got[0]["link"])
    assert f"{link.scheme}://{link.netloc}{link.path}" == "https://returns.example.org/today"
    assert parse_qs(link.query) == {
        "country": ["FR", "DE"],
        "lang": ["fr"],
        "period": ["custom"],
        "days": ["2026-01-01..2026-01-31"],
        "build": ["000001-x"],
    }
    assert got[0]["subscription"] == {
        "number": 1,
        "page": "today",
        "days": ["2026-01-01", "2026-01-31"],
        "build": "000001-x",
    }


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("page", {"page": "write-policy"}),
        ("every", {"every": "hourly"}),
        ("language", {"language": "de"}),
        ("file", {"file": "xlsx"}),  # Today has no list
        ("file", {"file": "docx"}),
        ("day", {"hour": 24}),
        ("day", {"day": 8}),
        ("day", {"every": "monthly", "day": 29}),
        ("zone", {"zone": "Mars/Olympus"}),
        ("zone", {"zone": "../../etc/passwd"}),
        ("to", {"to": ()}),
        ("to", {"to": ("http://example.org",)}),
        ("to", {"to": ("mailto:a@example.org",) * 21}),
        ("reader", {"reader": "nobody@example.org"}),
    ],
)
def test_what_can_never_be_sent_is_refused_by_field(copy_of_tiny: Settings, field: str, change: dict[str, Any]) -> None:
    good = weekly("mailto:anna@example.org")
    subscriptions.check(copy_of_tiny, good)
    with pytest.raises(SubscriptionError) as error:
        subscriptions.check(copy_of_tiny, replace(good, **change))
    assert error.value.field == field


def test_every_page_that_can_be_sent_is_one(copy_of_tiny: Settings) -> None:
    assert set(subscriptions.PAGES) <= set(places.BY_ADDRESS)
    assert {sheet.place for sheet in map(places.sheet, subscriptions.PAGES)} == set(places.PLACES) - {"settings"}
    assert set(subscriptions.LISTED) <= set(subscriptions.PAGES)


@pytest.fixture(scope="module")
def shop(markets_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The shop of two markets with readers: what is sent is made by the pages themselves."""
    settings = copied(markets_settings, tmp_path_factory.mktemp("subscribed"))
    settings.readers_file.write_text(READERS, encoding="utf-8")
    return settings


@pytest.fixture
def readers(shop: Settings) -> Iterator[Settings]:
    """The shop with its first readers, and no subscription after."""
    shop.readers_file.write_text(READERS, encoding="utf-8")
    yield shop
    for one in subscriptions.subscriptions(shop):
        subscriptions.withdraw(shop, one.subscription_id)


BEN = Subscription(0, "ben@example.org", "products", "weekly", (), file="xlsx", zone=PARIS)


@pytest.mark.usefixtures("here")
def test_a_reader_gets_by_mail_what_they_may_see_and_it_is_written_down(readers: Settings) -> None:
    """Of the products' list every row is French; the other market has a name of its own in every row."""
    with mailbox() as (server, got):
        settings = replace(readers, smtp=server)
        for reader in ("ben@example.org", "root@example.org"):
            one = replace(BEN, reader=reader, to=(f"mailto:{reader}",))
            subscriptions.add(settings, one, now=at("2026-01-14T12:00"))
        outcomes = subscriptions.send(settings, at("2026-01-19T07:00"))
    assert [one.problem for one in outcomes] == ["", ""]
    names = {}
    for mail in got:
        (file,) = mail.iter_attachments()
        sheet = openpyxl.load_workbook(io.BytesIO(file.get_content())).worksheets[0]
        names[mail["To"]] = " ".join(str(cell.value) for row in sheet.iter_rows() for cell in row)
    assert MARK in names["root@example.org"]
    assert names["ben@example.org"].count("style") > 0
    assert MARK not in names["ben@example.org"]
    text = next(mail for mail in got if mail["To"] == "ben@example.org").get_body().get_content()
    assert MARK not in text
    assert "/products?period=custom&days=" in text
    event = audit.events(settings, 1)[0]
    assert (event["event"], event["who"], event["door"]) == ("exported", "root@example.org", "subscription")


@pytest.mark.usefixtures("here")
def test_after_a_scope_narrows_or_a_reader_goes_nothing_else_is_sent_and_it_is_said(readers: Settings) -> None:
    with hook() as (address, got):
        one = replace(BEN, to=(address,), codes={"country": ("FR",)}, file="none")
        subscriptions.add(readers, one, now=at("2026-01-14T12:00"))
        readers.readers_file.write_text(READERS.replace("analyst, markets: [FR]", "analyst, markets: [DE]"))
        (narrowed,) = subscriptions.send(readers, at("2026-01-19T07:00"))
        assert "knows no country=FR" in narrowed.problem  # not the German numbers without the filter
        readers.readers_file.write_text(READERS.replace("ben@", "bob@"))
        (gone,) = subscriptions.send(readers, at("2026-01-19T08:00"))
        assert "is no reader any more" in gone.problem
        assert got == []
        (kept,) = subscriptions.subscriptions(readers)
        assert (kept.problem, kept.failing_since) == (gone.problem, at("2026-01-19T07:00"))
        readers.readers_file.write_text(READERS)
        (back,) = subscriptions.send(readers, at("2026-01-19T09:00"))
        assert (back.problem, len(got)) == ("", 1)


def test_who_takes_no_files_any_more_is_sent_none(readers: Settings, made: list[Subscription]) -> None:
    with hook() as (address, got):
        subscriptions.add(readers, replace(BEN, to=(address,)), now=at("2026-01-14T12:00"))
        readers.readers_file.write_text(READERS.replace("role: analyst, markets", "role: viewer, markets"))
        (outcome,) = subscriptions.send(readers, at("2026-01-19T07:00"))
        assert "takes no files" in outcome.problem
        assert (made, got) == ([], [])
        with pytest.raises(SubscriptionError) as error:
            subscriptions.add(readers, replace(BEN, reader="anna@example.org", to=(address,)))
        assert error.value.field == "file"


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_page_as_pdf_in_the_readers_language(
    readers: Settings, language: str, request: pytest.FixtureRequest
) -> None:
    if language == "en":
        request.getfixturevalue("here")
    with mailbox() as (server, got):
        settings = replace(readers, smtp=server)
        one = Subscription(
            0, "root@example.org", "today", "daily", ("mailto:root@example.org",), file="pdf", language=language
        )
        subscriptions.add(settings, one, now=at("2026-01-14T12:00"))
        (outcome,) = subscriptions.send(settings, at("2026-01-15T07:00"))
    assert outcome.problem == ""
    (mail,) = got
    (file,) = mail.iter_attachments()
    pdf = file.get_content()
    assert pdf.startswith(b"%PDF-")
    assert f"/Lang ({language})".encode() in pdf
    text = mail.get_body().get_content()
    assert ("Ouvrir dans Backhaul" in text) == (language == "fr")
    assert len([line for line in text.splitlines() if line.startswith("- ")]) >= 3  # the lines, with their intervals


def test_one_process_sends_at_a_time(copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process is sending is not sent beside it: it asks again, and nothing is left."""
    with hook() as (address, got):
        subscriptions.add(copy_of_tiny, weekly(address), now=at("2026-01-14T12:00"))
        inner: list[Any] = []

        def drawn(settings: Settings, _: Subscription) -> dict[str, Any]:
            inner.append(subscriptions.send(settings, at("2026-01-19T07:00")))
            return MADE

        monkeypatch.setattr(sending, "drawn", drawn)
        assert len(subscriptions.send(copy_of_tiny, at("2026-01-19T07:00"))) == 1
        assert inner == [[]]
        assert len(got) == 1


def test_a_page_that_cannot_be_made_is_said(copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_MAKER", HOME / "no_such_script.py")
    with hook() as (address, got):
        subscriptions.add(copy_of_tiny, weekly(address), now=at("2026-01-14T12:00"))
        (outcome,) = subscriptions.send(copy_of_tiny, at("2026-01-19T07:00"))
        assert "the page could not be made: " in outcome.problem
        assert got == []


def run(settings: Settings, *words: str) -> Any:
    return CliRunner().invoke(command_line, ["subscribe", *words, "--warehouse", str(settings.warehouse)])


def test_the_command_line_goes_all_the_way(copy_of_tiny: Settings, made: list[Subscription], tmp_path: Path) -> None:
    with hook() as (address, got):
        added = run(copy_of_tiny, "add", "late", "--every", "load", "--to", address, "--where", "country=FR")
        assert added.exit_code == 0, added.output
        assert json.loads(run(copy_of_tiny, "send", "--dry-run", "--format", "json").output) == []
        load(copy_of_tiny, [another_order(tmp_path, 1)])
        assert len(got) == 1
        edited = run(copy_of_tiny, "edit", "1", "--file", "csv", "--language", "fr", "--period", "90d")
        assert edited.exit_code == 0, edited.output
        (row,) = json.loads(run(copy_of_tiny, "list", "--format", "json").output)
        assert (row["file"], row["language"], row["filters"]) == ("csv", "fr", "country=FR; period=90d")
        assert row["to"] == "http://127.0.0.1"
        assert row["last_sent_at"]
        assert run(copy_of_tiny, "pause", "1").exit_code == 0
        assert json.loads(run(copy_of_tiny, "list", "--format", "json").output)[0]["state"] == "paused"
        assert run(copy_of_tiny, "pause", "1", "--resume").exit_code == 0
        assert run(copy_of_tiny, "send").exit_code == 0
        assert run(copy_of_tiny, "edit", "1", "--file", "docx").exit_code == 2
        assert run(copy_of_tiny, "withdraw", "1").exit_code == 0
        assert run(copy_of_tiny, "withdraw", "1").exit_code == 1


def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str, language: str = "en") -> AppTest:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(settings.warehouse))
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=300)
    app.query_params["lang"] = language
    return turn(app, address).run()


def field(app: AppTest, kind: str, ends: str) -> Any:
    return next(one for one in getattr(app, kind) if str(one.key).endswith(ends))


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_page_makes_edits_pauses_and_withdraws(
    desk_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    app = opened(desk_of_tiny, monkeypatch, "subscriptions", language)
    assert not app.exception
    app.button(key="subscription_save").click().run()
    assert [one.value for one in app.error] == ["Give an address." if language == "en" else "Indiquez une adresse."]
    field(app, "text_area", "_to").set_value("ftp://example.org").run()
    app.button(key="subscription_save").click().run()
    assert "mailto:" in app.error[0].value  # beside the field, with what was typed kept
    assert field(app, "text_area", "_to").value == "ftp://example.org"
    field(app, "text_area", "_to").set_value("mailto:anna@example.org\nslack+https://hooks.example.org/x")
    field(app, "selectbox", "_page").set_value("late").run()
    field(app, "selectbox", "_file").set_value("xlsx")
    app.button(key="subscription_save").click().run()
    assert not app.error
    (kept,) = subscriptions.subscriptions(desk_of_tiny)
    assert (kept.page, kept.file, kept.every, kept.language) == ("late", "xlsx", "weekly", language)
    assert kept.to == ("mailto:anna@example.org", "slack+https://hooks.example.org/x")
    assert "hooks.example.org/x" not in str([frame.value for frame in app.dataframe])
    app.selectbox(key="subscription").set_value("1").run()
    field(app, "selectbox", "_hour").set_value("06:00")
    app.button(key="subscription_save").click().run()
    assert subscriptions.subscriptions(desk_of_tiny)[0].hour == 6
    app.selectbox(key="subscription").set_value("1").run()
    app.button(key="subscription_pause").click().run()
    assert subscriptions.subscriptions(desk_of_tiny)[0].is_paused
    app.button(key="subscription_withdraw").click().run()
    assert subscriptions.subscriptions(desk_of_tiny) == []
    assert not app.exception


def test_a_reader_makes_their_own_and_an_admin_everybodys(readers: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKHAUL_OIDC_ISSUER", "http://localhost:1")
    subscriptions.add(readers, replace(BEN, reader="root@example.org", to=("mailto:root@example.org",)))
    france = Scope.of(markets=["FR"])
    monkeypatch.setattr(access_shared, "enter", lambda _: None)
    monkeypatch.setattr(access_shared, "_for", [Reader("ben@example.org", "analyst", france, "email")])
    app = opened(readers, monkeypatch, "subscriptions")
    assert not app.exception
    assert not app.dataframe  # the admin's is not listed
    assert field(app, "text_area", "_to").value == "mailto:ben@example.org"
    field(app, "text_area", "_to").set_value("https://elsewhere.example.org/x")
    app.button(key="subscription_save").click().run()
    assert app.error[0].value.startswith("https:")
    assert "is not your own mail address" in app.error[0].value
    field(app, "text_area", "_to").set_value("mailto:ben@example.org")
    app.button(key="subscription_save").click().run()
    assert [one.reader for one in subscriptions.subscriptions(readers)] == ["root@example.org", "ben@example.org"]
    assert [audit.events(readers, 1)[0][name] for name in ("event", "who", "what")] == [
        "changed",
        "ben@example.org",
        "subscription_saved:today",
    ]
    for reader, said in (
        (Reader("anna@example.org", "viewer", france, "email"), "An admin can have pages sent to you."),
        (Reader("carl@example.org", "analyst", Scope(), "group"), "You are known by a group"),
    ):
        access_shared._for[:] = [reader]
        app = opened(readers, monkeypatch, "subscriptions")
        assert said in app.info[0].value
        assert not [one for one in app.button if one.key == "subscription_save"]
