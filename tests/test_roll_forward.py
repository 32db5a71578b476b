"""The roll-forward of a month and its journal: each line to the cent, as known at each end, else refused."""

import csv
import io
import itertools
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import func, select

from pipelines import analyses
from pipelines.analyses.roll_forward import LINES, RollForward
from pipelines.errors import ReportError, UnknownValue
from pipelines.metrics import Question
from pipelines.outputs import journal
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from tests.any_shop import without
from tests.conftest import copied, ends
from tests.pages import turn
from tests.test_dashboard import app, said
from tests.test_within import loaded
from tests.test_work import later
from tests.two_markets import whole

MONTHS = ("2025-08", "2025-09", "2025-10")


@pytest.fixture(scope="module")
def shop(markets_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return copied(markets_settings, tmp_path_factory.mktemp("roll"))


@pytest.fixture(scope="module")
def build(shop: Settings) -> Iterator[Build]:
    with current_build(shop.warehouse) as found:
        yield found


@pytest.fixture(scope="module")
def rolled(build: Build) -> dict[str, RollForward]:
    return {month: analyses.roll_forward(build, month) for month in MONTHS}


def cents(amount: float) -> int:
    return round(amount * 100)


def line(found: RollForward, name: str, amount: str = "liability") -> int:
    return cents(float(found.table.set_index("line").loc[name, amount]))


def test_every_month_adds_to_the_cent_and_opens_as_the_one_before_closed(rolled: dict[str, RollForward]) -> None:
    for found in rolled.values():
        assert found.table["line"].tolist() == ["opening", "new", "used", "re_estimate", "closing"]
        for amount in ("liability", "asset"):
            moved = sum(line(found, name, amount) for name in ("opening", "new", "used", "re_estimate"))
            assert moved == line(found, "closing", amount)
    for before, after in itertools.pairwise(MONTHS):
        assert line(rolled[before], "closing") == line(rolled[after], "opening") != 0


def test_each_end_is_the_liability_of_its_day(build: Build, rolled: dict[str, RollForward]) -> None:
    for month, day in (("2025-08", date(2025, 8, 31)), ("2025-09", date(2025, 9, 30))):
        booked = analyses.booked_then(build, datetime.combine(day, time.max))
        assert line(rolled[month], "closing") == cents(booked.liability) == cents(booked.table["liability"].sum())
        now = analyses.accrual(build, Question(as_of=day), by=()).iloc[0]
        assert booked.table["liability"].sum() == pytest.approx(now["liability"], rel=0.25), "other curves, same facts"
    last = analyses.accrual(build, by=()).iloc[0]
    assert line(rolled["2025-10"], "closing") == cents(last["liability"])
    assert line(rolled["2025-10"], "closing", "asset") == cents(last["asset"])


def test_used_is_the_net_value_of_what_was_settled_in_the_month(build: Build, rolled: dict[str, RollForward]) -> None:
    c = STAR.tables["fact_return_line"].c
    settled = func.coalesce(c.refunded_at, c.exchanged_at)
    for month in MONTHS:
        first, last = f"{month}-01", f"{month}-{31 if month != '2025-09' else 30} 23:59:59"
        mine = select(func.sum(c.net_amount).label("x")).where(
            c.is_headline, c.confirmed_at.is_not(None), settled.between(first, last)
        )
        assert -line(rolled[month], "used") == cents(float(build.fetch(mine)["x"].iloc[0]))


def test_an_ended_month_is_complete_and_keeps_its_figures(
    shop: Settings, rolled: dict[str, RollForward], tmp_path: Path
) -> None:
    assert [rolled[month].is_complete for month in MONTHS] == [True, True, False]
    assert rolled["2025-10"].closes_on == date(2025, 10, 28)
    grown = copied(shop, tmp_path)
    later(grown, tmp_path)
    with current_build(grown.warehouse) as newer:
        assert analyses.is_complete(newer, "2025-10")
        found = analyses.roll_forward(newer, "2025-09")
        pd.testing.assert_frame_equal(found.table, rolled["2025-09"].table)


def test_what_is_not_known_is_refused_with_its_reason(build: Build, tmp_path: Path) -> None:
    refused = {month: analyses.roll_forward(build, month) for month in ("2020-01", "2030-01")}
    assert "the data begin on" in refused["2020-01"].reason
    assert "nothing of this month is known yet" in refused["2030-01"].reason
    assert all(found.table.empty for found in refused.values())
    with pytest.raises(UnknownValue, match="2025-13 is not a month"):
        analyses.roll_forward(build, "2025-13")
    events = whole(60)["return_event"]
    way = events["event"].isin(["requested", "handed_over", "carrier_scan", "received", "inspected"])
    unpaid = {**without(whole(60), "refund", "refund_line"), "return_event": events[way]}
    settings = loaded(tmp_path, unpaid)
    with current_build(settings.warehouse) as found:
        assert "not known" in analyses.roll_forward(found, "2025-09").reason
        with pytest.raises(ReportError, match=r"2025-09: no source says when returns were refunded"):
            journal.journal(found, analyses.roll_forward(found, "2025-09"), {})


def test_debits_are_credits_and_accounts_end_as_the_roll_forward(
    build: Build, rolled: dict[str, RollForward], shop: Settings
) -> None:
    names, is_own = journal.accounts(shop)
    assert not is_own
    for month, found in rolled.items():
        entries = journal.journal(build, found, names).fillna({"debit": 0.0, "credit": 0.0})
        by_reference = entries.groupby("reference")[["debit", "credit"]].sum()
        assert (by_reference["debit"].map(cents) == by_reference["credit"].map(cents)).all()
        for amount, account in (("liability", "refund_liability"), ("asset", "right_to_goods")):
            mine = entries[entries["account"] == names[account]]
            balance = mine["debit"].sum() - mine["credit"].sum()
            moved = line(found, "closing", amount) - line(found, "opening", amount)
            assert cents(balance) == (-moved if amount == "liability" else moved)
        provisional = entries["text"].str.contains("(provisional)", regex=False)
        assert provisional.all() if month == "2025-10" else not provisional.any()
        assert set(entries["date"]) == {found.closes_on}
        assert set(entries["build"]) == {build.build_id}
        assert (entries[["debit", "credit"]].min(axis=1) == 0).all(), "a side a row"


def test_a_fall_of_the_estimate_is_booked_the_other_way_round(build: Build, rolled: dict[str, RollForward]) -> None:
    found = rolled["2025-08"]
    assert line(found, "re_estimate") < 0
    ours = {name: name for name in journal.ACCOUNTS}
    entries = journal.journal(build, found, ours)
    mine = entries[entries["text"].str.startswith("Expected returns re-estimated")]
    assert mine[["account", "debit"]].dropna().to_numpy().tolist() == [
        ["refund_liability", -line(found, "re_estimate") / 100]
    ]


def test_the_accounts_are_the_owners_once_they_write_them(
    build: Build, rolled: dict[str, RollForward], settings: Settings
) -> None:
    settings.accounts_file.parent.mkdir(parents=True, exist_ok=True)
    settings.accounts_file.write_text('refund_liability: 4198\nreturns: "=707"\n', encoding="utf-8")
    names, is_own = journal.accounts(settings)
    assert is_own
    assert (names["refund_liability"], names["inventory"]) == ("4198", "Inventory")
    entries = journal.journal(build, rolled["2025-09"], names, "fr")
    text = journal.to_csv(entries).decode()
    read = list(csv.DictReader(io.StringIO(text)))
    assert list(read[0]) == list(journal.COLUMNS)
    assert read[0]["account"] == "'=707", "no formula for a spreadsheet"
    assert read[0]["text"] == "Retours attendus des ventes du mois, 2025-09"
    assert [cents(float(row["debit"] or 0)) for row in read] == [cents(v) for v in entries["debit"].fillna(0)]
    assert {row["date"] for row in read} == {"2025-09-30"}
    for wrong, told in (
        ("liability: 4198\n", "line 1: no account liability"),
        ("returns: 1\nreturns: 2\n", "stands here twice"),
        ("returns: ''\n", "line 1: a name"),
        ("- returns\n", "a line an account"),
    ):
        settings.accounts_file.write_text(wrong, encoding="utf-8")
        with pytest.raises(ReportError, match=told):
            journal.accounts(settings)


def test_the_command_line_rolls_a_month_and_writes_its_journal(
    shop: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, file = ("--warehouse", shop.warehouse), tmp_path / "journal.csv"
    code, text, told = ends(capsys, monkeypatch, "accrual", "--roll-forward", "--journal", file, *at)
    assert code == 0
    assert text.startswith("2025-09, in EUR without VAT"), "the last complete month"
    assert "the account names are ours" in told
    assert len(file.read_text().splitlines()) > 3
    code, text, _ = ends(capsys, monkeypatch, "accrual", "--month", "2025-10", "--format", "csv", *at)
    assert pd.read_csv(io.StringIO(text))["line"].tolist()[0] == "opening"
    code, _, told = ends(capsys, monkeypatch, "accrual", "--month", "2020-01", "--journal", file, *at)
    assert (code, told.startswith("backhaul: 2020-01: the data begin on")) == (1, True)
    assert ends(capsys, monkeypatch, "accrual", "--month", "2025-09", "--by", "category", *at)[0] == 2


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_page_shows_a_month_and_its_journal(
    language: str, shop: Settings, rolled: dict[str, RollForward], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = turn(app(shop.warehouse, monkeypatch, lang=language), "book")
    page.query_params["part"] = "roll"
    page.query_params["lang"] = language
    page = page.run()
    assert not page.exception
    assert page.selectbox[0].value == "2025-09", "the last complete month first"
    lines, entries = (frame.value for frame in page.dataframe[:2])
    assert lines["liability"].map(cents).tolist() == [line(rolled["2025-09"], name) for name in LINES]
    assert cents(entries["debit"].sum()) == cents(entries["credit"].sum())
    assert shop.accounts_file.name in said(page)
    page.selectbox[0].set_value("2025-10").run()
    assert ("The data end on 28 Oct 2025" if language == "en" else "Les données s'arrêtent le 28 oct. 2025") in said(
        page
    )
