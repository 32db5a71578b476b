"""What loads changed: history, differences between builds, the way back; and products and policies that come late.

The shop is the tiny one. Three loads change it, each worked out by hand:

1. the tiny shop, with a return that names no order (R9, a shoe asked back on 6 Dec);
2. on time: DRESS-M is called a gown from 5 Jan, policy P has a window of 14 days from 1 Jan; O6-1 (10 Jan) was sold as
   that. Order O7 is new, and O5-1 turns out to have cost 45.
3. late: DRESS-M was called midi from 8 Dec, SHOE-42 a boot that costs 35 from 10 Dec, and policy P had a window of 20
   days from 12 Dec. So O3-1 (10 Dec) was a midi, O4-1 (15 Dec) a boot of cost 35 under 20 days, O3-2 and O5-1 (20 Dec)
   were under 20 days. Everything else is as it was: O1, O2 (5 Dec), O6 (10 Jan), O7, and R9.
"""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dashboard.i18n import Words
from pipelines.errors import HistoryError
from pipelines.load import differences, history, load
from pipelines.settings import Settings
from pipelines.warehouse import build
from tests.conftest import TINY_SHOP, _rows, ends, fresh, write_shop
from tests.pages import turn
from tests.test_dashboard import app, said

pytestmark = pytest.mark.usefixtures("no_rules")

DRESS = next(row for row in TINY_SHOP["product"] if row["product_id"] == "DRESS-M")
SHOE = next(row for row in TINY_SHOP["product"] if row["product_id"] == "SHOE-42")
O5 = next(row for row in TINY_SHOP["order_line"] if row["order_line_id"] == "O5-1")
STRAY = _rows(
    "event_id return_line_id return_id product_id event occurred_at units currency country",
    "31 R9-1 R9 SHOE-42 requested 2025-12-06T09:00:00Z 1 EUR FR",
    "32 R9-1 R9 SHOE-42 received 2025-12-20T09:00:00Z 1 EUR FR",
)


def policies(since: str, window: str) -> list[dict[str, str]]:
    return [{**row, "valid_from": f"{since}T00:00:00Z", "window_days": window} for row in TINY_SHOP["policy"]]


LOADS: tuple[dict[str, list[dict[str, str]]], ...] = (
    {**TINY_SHOP, "return_event": [*TINY_SHOP["return_event"], *STRAY]},
    {
        "product": [{**DRESS, "valid_from": "2026-01-05T00:00:00Z", "category": "gowns"}],
        "policy": policies("2026-01-01", "14"),
        "order_line": [
            {**O5, "net_amount": "45"},
            {**O5, "order_line_id": "O7-1", "order_id": "O7", "ordered_at": "2026-01-12T10:00:00Z", "shipped_at": ""}
            | {"delivered_at": "", "product_id": "SHOE-42", "net_amount": "80"},
        ],
    },
    {
        "product": [
            {**DRESS, "valid_from": "2025-12-08T00:00:00Z", "category": "midi"},
            {**SHOE, "valid_from": "2025-12-10T00:00:00Z", "category": "boots", "unit_cost": "35"},
        ],
        "policy": policies("2025-12-12", "20"),
    },
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("history")
    settings = fresh(folder)
    for number, rows in enumerate(LOADS):
        load(settings, [write_shop(folder / f"files{number}", rows)])
    return settings


@pytest.fixture
def shop(made: Settings, tmp_path: Path) -> Settings:
    """A copy that a test may change."""
    target = fresh(tmp_path)
    for given, copied in ((made.warehouse, target.warehouse), (made.raw, target.raw)):
        shutil.copytree(given, copied)
    return target


def asked(settings: Settings, number: int, statement: str) -> list[tuple[Any, ...]]:
    """Ask the file of a build by hand."""
    path = build.build_path(settings.warehouse, history.named(settings, str(number)))
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(statement).fetchall()


SOLD = "SELECT order_line_id[6:], category, window_days::INTEGER, cost_amount::INTEGER FROM fact_order_line"


def test_what_comes_late_changes_the_facts_of_its_time_and_only_these(made: Settings) -> None:
    first, second, third = ({line: rest for line, *rest in asked(made, n, SOLD)} for n in (1, 2, 3))
    assert first["O6-1"] == ["dresses", 30, 40]
    assert second == {**first, "O6-1": ["gowns", 14, 40], "O7-1": ["footwear", 14, 0]}
    assert third == {
        **second,
        "O3-1": ["midi", 30, 20],
        "O4-1": ["boots", 20, 35],
        "O3-2": ["dresses", 20, 20],
        "O5-1": ["dresses", 20, 20],
        "O7-1": ["boots", 14, 0],
    }
    back = "SELECT return_line_id[6:], category FROM fact_return_line"
    assert dict(asked(made, 2, back))["R9-1"] == "footwear"
    assert dict(asked(made, 3, back)) == {
        **dict(asked(made, 2, back)),
        "R3-1": "midi",
        "R4-1": "boots",
    }  # R9 was asked back on 6 Dec, when the shoe was no boot


def test_history_says_what_each_load_brought_and_what_it_changed(made: Settings) -> None:
    newest, second, first = history.history(made)
    assert [entry.is_current for entry in (newest, second, first)] == [True, False, False]
    assert (first.change("fact_order_line"), second.change("fact_order_line")) == (None, 1)
    assert newest.change("dim_product") == 2
    assert [(one["source"], one["accepted"], one["replaced"]) for one in second.loads] == [("shop", 5, 1)]
    assert (first.metrics["sold_units"].value, second.metrics["sold_units"].value) == (9, 9)  # O7 was not shipped
    assert second.metrics["net_sales"].value == 535
    assert newest.metrics["sold_units"].unit == "units"


def test_two_builds_differ_by_what_hand_written_sql_says(made: Settings) -> None:
    found = differences.compare(made, *(history.named(made, n) for n in ("1", "3")))
    tables = {table.name: table for table in found.tables}
    line = tables["fact_order_line"]
    assert (line.before, line.after, line.added, line.gone, line.changed) == (8, 9, 1, 0, 5)
    assert dict(line.columns)["net_amount"] == 1
    assert dict(line.columns)["category"] == 3  # O3-1, O4-1 and O6-1
    assert tables["fact_refund"].is_same
    assert (tables["dim_product"].added, tables["dim_policy"].added, tables["dim_policy"].changed) == (3, 2, 1)
    path = [build.build_path(made.warehouse, history.named(made, n)) for n in ("1", "3")]
    with duckdb.connect() as connection:
        for name, file in zip("ab", path, strict=True):
            connection.execute(f"ATTACH '{file}' AS {name} (READ_ONLY)")
        for name, key in (("fact_order_line", "order_line_key"), ("fact_return_line", "return_lot_key")):
            (more,) = connection.execute(
                f"SELECT count(*) FROM b.{name} WHERE {key} NOT IN (SELECT {key} FROM a.{name})"
            ).fetchall()[0]
            (other,) = connection.execute(
                f"SELECT count(*) FROM (FROM b.{name} EXCEPT FROM a.{name}) WHERE {key} IN (SELECT {key} FROM a.{name})"
            ).fetchall()[0]
            assert (tables[name].added, tables[name].changed) == (more, other)
    numbers = {one.key: one for one in found.metrics}
    assert (numbers["net_sales"].before.value, numbers["net_sales"].change) == (540, -5)
    assert numbers["net_sales"].why.startswith("fact_order_line: rows added 1, gone 0, changed 5")
    assert numbers["refund_amount"].why == ""
    assert len(found.loads_added) == 2
    assert found.loads_gone == ()


def test_a_rollback_shows_an_earlier_build_until_new_files_come(
    shop: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ["--warehouse", shop.warehouse]
    last = build.current_id(shop.warehouse)
    for wrong in ("9", "../state", str(last)):
        code, _, err = ends(capsys, monkeypatch, "rollback", wrong, *at)
        assert (code, "No build" in err or "already" in err) == (1, True)
    code, out, _ = ends(capsys, monkeypatch, "rollback", "1", *at)
    assert (code, "does not hold 2 loads" in out, "backhaul withdraw" in out) == (0, True, True)
    assert build.current_id(shop.warehouse) == history.named(shop, "1")
    code, out, _ = ends(capsys, monkeypatch, "history", *at)
    assert (code, "read now" in out, "Rollbacks" in out) == (0, True, True)
    assert not load(shop).is_new_build
    assert build.current_id(shop.warehouse) == history.named(shop, "1")
    (back,) = history.rollbacks(shop)
    assert (back["from_build"], back["to_build"]) == (last, history.named(shop, "1"))
    late = history.history(shop)[0].loads[0]["load_id"]
    code, _, err = ends(capsys, monkeypatch, "withdraw", late, *at)
    assert code == 0, err
    assert dict(asked(shop, 4, SOLD.replace(", window_days::INTEGER, cost_amount::INTEGER", "")))["O3-1"] == "dresses"
    code, out, _ = ends(capsys, monkeypatch, "diff", "2", "4", *at)
    assert (code, "every row is the same" in out, "more" in out, "less" in out) == (0, True, False, False)
    entries = history.history(shop)
    assert [entry.is_kept for entry in entries] == [True, True, True, False]
    assert entries[-1].metrics["net_sales"].value == 540  # written down when its file went
    with pytest.raises(HistoryError, match="No build 1 is kept"):
        history.named(shop, "1")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_page_compares_builds_and_shows_an_earlier_one(
    shop: Settings, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    words = Words(language)
    page = turn(app(shop.warehouse, monkeypatch, lang=language), "sources")
    page.query_params["part"] = "builds"
    page.run()
    assert not page.exception
    builds, numbers, tables = (frame.value for frame in page.dataframe)
    assert list(builds["seen"])[:2] == [words("data.seen_now"), words("data.seen_kept")]
    assert words.value("table", "fact_order_line") in list(tables["name"])
    assert not any("fact_" in str(reason) for reason in numbers["because"])
    if language == "en":
        return
    page.button(key="rollback").click().run()
    assert not page.exception
    assert words("data.rolled_back", n="1") in said(page)
    assert build.current_id(shop.warehouse) == history.named(shop, "2")
