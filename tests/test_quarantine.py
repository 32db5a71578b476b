"""The quarantine worked through: rows with every reason, fixes kept and taken back, raw files unchanged."""

import csv
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dashboard.i18n import Words
from dashboard.shared import blocks, upload
from pipelines.errors import QuarantineError
from pipelines.load import contracts, fixes, load, quarantine
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import build_path, current_id
from tests.conftest import TINY_SHOP, ends, fresh, write_shop
from tests.pages import turn
from tests.test_dashboard import app, said
from tests.turns import left_to_proofs

pytestmark = pytest.mark.usefixtures("no_rules")

FACTS = ("fact_order_line", "fact_return_line", "fact_return_event", "fact_refund", "fact_refund_line", "fact_recovery")


def spoilt() -> dict[str, list[dict[str, str]]]:
    """The tiny shop with three rows that cannot be accepted: one for two reasons, one for a word, one for a letter."""
    shop = {thing: [dict(row) for row in rows] for thing, rows in TINY_SHOP.items()}
    shop["order_line"][0] |= {"units": "one", "ordered_at": "31.02.2025"}
    shop["return_event"][3]["event"] = "recieved"
    shop["refund"][2]["amount"] = "5 Euro"
    return shop


RIGHT = {"units": "1", "ordered_at": "2025-12-01T10:00:00Z"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("quarantine")
    settings = fresh(folder)
    load(settings, [write_shop(folder / "files", spoilt())])
    return settings


@pytest.fixture
def shop(made: Settings, tmp_path: Path) -> Settings:
    """A copy that a test may change."""
    target = fresh(tmp_path)
    for given, copied in ((made.warehouse, target.warehouse), (made.raw, target.raw)):
        shutil.copytree(given, copied)
    return target


def rows_of(settings: Settings, *tables: str) -> dict[str, list[Any]]:
    """Give the rows of fact tables of the build that readers see, whatever order they lie in."""
    path = build_path(settings.warehouse, str(current_id(settings.warehouse)))
    with duckdb.connect(str(path), read_only=True) as connection:
        return {t: sorted(map(str, connection.execute(f"FROM {t}").fetchall())) for t in tables or FACTS}


def state_of(settings: Settings) -> state.State:
    return state.State(settings.warehouse)


def fix_all(settings: Settings) -> None:
    quarantine.fix_row(settings, quarantine.one(settings, "order_line.csv:2"), RIGHT, "anna")
    quarantine.fix_row(settings, quarantine.one(settings, "refund.csv:4"), {"amount": "5"}, "anna")
    quarantine.fix_wording(settings, "shop", "return_event", "event", "recieved", "received", "ben", note="their typo")


def test_a_row_shows_every_reason_and_no_customer(made: Settings) -> None:
    listed = {row["item"]: row for row in quarantine.rows(made)}
    assert listed["shop:O1-1"]["rules"] == "bad_time ordered_at, bad_number units"
    assert {row["thing"] for row in listed.values()} == {"order_line", "return_event", "refund"}
    assert [row["item"] for row in quarantine.rows(made, thing="refund", rule="amount")] == ["shop:F3"]
    row = quarantine.one(made, "order_line.csv:2")
    cells = {cell.column: cell for cell in quarantine.look(made, row)}
    assert [c.column for c in quarantine.look(made, row)][:2] == ["ordered_at", "units"]
    assert cells["ordered_at"] == quarantine.Cell("ordered_at", "99.99.9999", ("bad_time ordered_at",))
    assert (cells["units"].value, cells["order_line_id"].value, cells["net_amount"].value) == ("one", "O1-1", "50")
    whole = {cell.column: cell.value for cell in quarantine.look(made, row, whole=True)}
    assert whole["ordered_at"] == "31.02.2025"
    assert "anne@example.org" not in str((cells, whole))


def test_a_fix_that_does_not_mend_or_may_not_be_is_refused_by_name(shop: Settings) -> None:
    row = quarantine.one(shop, "order_line.csv:2")
    for values, field, sentence in (
        ({"units": "two"}, "units", "still breaks the rule: bad_number units"),
        ({"ordered_at": "2025-12-01 10:00"}, "ordered_at", "naive_time ordered_at"),
        ({"customer_id": "anne"}, "customer_id", "personal"),
        ({"unitz": "1"}, "unitz", "no column unitz"),
        ({"seller": "x"}, "seller", "no column seller"),  # the file has no such column
        ({"channel": "a\nb"}, "channel", "no line breaks"),
        ({}, "", "Nothing to fix"),
    ):
        with pytest.raises(QuarantineError, match=sentence) as raised:
            quarantine.fix_row(shop, row, values, "anna")
        assert raised.value.field == field
    with pytest.raises(QuarantineError, match="takes one of"):
        quarantine.fix_wording(shop, "shop", "return_event", "event", "recieved", "arrived", "anna")
    with pytest.raises(QuarantineError, match="No row at order_line"):
        quarantine.one(shop, "order_line.csv:99")
    with pytest.raises(QuarantineError, match="No fix 7"):
        quarantine.withdraw_fix(shop, 7, "anna")
    assert quarantine.made(shop, withdrawn=True) == []


def test_fixed_and_replayed_it_is_the_shop_without_faults_until_it_is_taken_back(
    shop: Settings, tiny_settings: Settings
) -> None:
    before, raw = rows_of(shop), {p: p.read_bytes() for p in shop.raw.rglob("*.csv")}
    fix_all(shop)
    assert rows_of(shop) == before  # a fix alone changes no number
    assert quarantine.waiting(shop) == 4
    assert [row["fix_id"] for row in quarantine.rows(shop, thing="refund")] == [3]
    quarantine.replay(shop)
    assert quarantine.rows(shop) == []
    assert rows_of(shop) == rows_of(tiny_settings) != before
    assert quarantine.replay(shop)[0] == []
    for log in (shop.warehouse / "log" / "order_line").rglob("*.parquet"):  # made again from raw files: still fixed
        log.write_bytes(b"damaged")
    load(shop)
    assert rows_of(shop) == rows_of(tiny_settings)
    assert {p: p.read_bytes() for p in raw} == raw
    for fix in quarantine.made(shop):
        quarantine.withdraw_fix(shop, fix["fix_id"], "carl")
    quarantine.replay(shop)
    assert rows_of(shop) == before
    assert len(quarantine.rows(shop)) == 3
    kept = quarantine.made(shop, withdrawn=True)
    assert [(f["created_by"], f["old"], f["new"], f["withdrawn_by"]) for f in kept] == [
        ("ben", "recieved", "received", "carl"),
        ("anna", "5 Aaaa", "5", "carl"),
        ("anna", "99.99.9999", "2025-12-01T10:00:00Z", "carl"),
        ("anna", "one", "1", "carl"),
    ]


MAPPING = """
name: till
time_zone: Etc/UTC
dates: {dates}
constants: {{currency: EUR, country: FR}}
tables:
  - file: "till*.csv"
    to:
      order_line: {{order_line_id: Order, order_id: Order, ordered_at: Date, product_id: SKU, units: Qty,
        net_amount: Net}}
      return_event: {{events: {{requested: Asked, received: Back}}}}
"""
TILL = """Order,Date,SKU,Qty,Net,Asked,Back
A,2026-04-01,S,1,100,2026-04-03,2026-04-09
B,2026-04-02,S,1,100,soon,later
C,not yet,S,1,100,,
"""


def test_two_rows_of_one_line_are_fixed_apart_and_a_mapping_takes_the_place_of_another(tmp_path: Path) -> None:
    settings, file, mapping = fresh(tmp_path), tmp_path / "till.csv", tmp_path / "till.yaml"
    file.write_text(TILL)
    mapping.write_text(MAPPING.format(dates="year_first"))
    load(settings, [file], source=str(mapping))
    with pytest.raises(QuarantineError, match="gave several rows"):
        quarantine.one(settings, "till.csv:3")
    key = settings.key_file.read_bytes()
    items = [contracts.item_of(key, f"till:B/{event}") for event in ("received", "requested")]
    assert {row["item"] for row in quarantine.rows(settings, thing="return_event")} == set(items)
    for item, day in zip(items, ("2026-04-20", "2026-04-11"), strict=True):
        row = quarantine.one(settings, "till.csv:3", item=item)
        quarantine.fix_row(settings, row, {"occurred_at": f"{day}T00:00:00Z"}, "anna")
    dearer = tmp_path / "new.yaml"
    dearer.write_text(MAPPING.format(dates="year_first").replace("product_id: SKU", "product_id: Qty"))
    with pytest.raises(QuarantineError, match="was made by a mapping"):
        quarantine.fix_mapping(settings, "shop", dearer, "anna")
    quarantine.fix_mapping(settings, "till", dearer, "anna")
    quarantine.replay(settings)
    assert [row["item"] for row in quarantine.rows(settings)] == [contracts.item_of(key, "till:C")]
    events = rows_of(settings, "fact_return_event")["fact_return_event"]
    assert len(events) == 4
    assert sum("datetime.datetime(2026, 4, 20" in e and "'received'" in e for e in events) == 1
    assert sum("datetime.datetime(2026, 4, 11" in e and "'requested'" in e for e in events) == 1
    assert all("till:1" in line for line in rows_of(settings, "fact_order_line")["fact_order_line"])
    (landed,) = (row for row in state_of(settings).loads_with("published"))
    assert fixes.source_of(settings, landed, quarantine.made(settings)[:1]).name == "till"
    assert (settings.raw / landed["mapping"]).read_text() == mapping.read_text()


def test_the_command_line_goes_the_whole_way(
    shop: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ["--warehouse", shop.warehouse]
    file = tmp_path / "fixes.csv"

    def say(*words: str | Path) -> str:
        code, out, err = ends(capsys, monkeypatch, "quarantine", *words, *at)
        assert code == 0, err
        return out

    assert "bad_time ordered_at, bad_number units" in say("list", "--table", "order_line")
    assert "31.02.2025" in say("show", "order_line.csv:2", "--values")
    assert "Rows: 3, in 4 lines" in say("export", file)
    with file.open(newline="") as content:
        lines = list(csv.DictReader(content))
    for line in lines:
        line["new"] = {**RIGHT, "amount": "5", "event": ""}[line["column"]]
    with file.open("w", newline="") as content:
        writer = csv.DictWriter(content, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    assert "3 fixes (1 to 3)" in say("fix", "--from", file, "--note", "from the list")
    assert "Kept fix 4" in say("fix", "return_event.csv:5", "event=received")
    assert "Fix 4 is taken back" in say("undo", "4")
    assert "Kept fix 5" in say("word", "return_event", "event", "recieved", "received", "--source", "shop")
    assert "Kept fix 6" in say("fix", "refund.csv:4", "--leave-out")
    later = dict(spoilt()["return_event"][0])
    later |= {"event_id": "90", "return_line_id": "R9-1", "return_id": "R9", "order_line_id": "O5-1"}
    later |= {"event": "recieved", "occurred_at": "2026-01-15T09:00:00Z", "parcel_id": ""}
    load(shop, [write_shop(tmp_path / "later", {"return_event": [later]})])
    assert [row["item"] for row in quarantine.rows(shop)] == ["shop:O1-1", "shop:F3", "shop:4"]  # the later one is none
    assert "Loads validated again: 1; rows of them still in quarantine: 0" in say("replay")
    lines_of = {row["file"]: row for row in state.file_lines(shop)}
    assert (lines_of["refund.csv"]["rows"], lines_of["refund.csv"]["left_out"]) == (2, 1)
    received = [row for row in rows_of(shop)["fact_return_event"] if "'received'" in row]
    assert len(received) == 4
    assert "Nothing to replay" in say("replay")
    listed = say("fixes", "--withdrawn", "--format", "json")
    assert [word in listed for word in ("from the list", '"withdrawn_at"', '"recieved"')] == [True] * 3
    code, _, err = ends(capsys, monkeypatch, "quarantine", "fix", "order_line.csv:3", "units=1", *at)
    assert (code, "No row at order_line.csv:3" in err) == (1, True)


@pytest.mark.parametrize("language", [left_to_proofs("en"), "fr"])
def test_the_page_shows_a_row_keeps_a_fix_and_applies_it(
    shop: Settings, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    words, rows = Words(language), quarantine.rows(shop)
    at = [row["thing"] for row in rows].index("refund")

    def choose(*given: Any, key: str = "", **options: Any) -> int | None:
        plain(*given, key=key, **options)
        return at if key.startswith("aside") else None

    plain = blocks.frame_table
    monkeypatch.setattr(blocks, "frame_table", choose)
    monkeypatch.setattr(upload, "is_private", lambda: True)
    page = turn(app(shop.warehouse, monkeypatch, lang=language), "checks")
    page.query_params["part"] = "quarantine"
    page.run()
    assert not page.exception
    assert "refund.csv:4" in said(page)
    assert "anne@example.org" not in said(page)
    (field,) = (
        one for one in page.text_input if one.label == words("data.counts", column=words.value("mapped", "amount"))
    )
    keep = next(one for one in page.button if one.label == words("data.keep_fix"))
    field.input("five")
    keep.click().run()
    (wrong,) = page.error
    assert words.rules("bad_number amount") in wrong.value
    next(one for one in page.text_input if one.label == field.label).input("5")
    next(one for one in page.button if one.label == words("data.keep_fix")).click().run()
    assert [(f["column"], f["new"]) for f in quarantine.made(shop)] == [("amount", "5")]
    if language == "en":
        next(one for one in page.button if one.key == "replay").click().run(timeout=300)
        assert not page.exception
        assert words("data.applied") in said(page)
        assert [row["thing"] for row in quarantine.rows(shop)] == ["order_line", "return_event"]
