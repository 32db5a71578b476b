"""Forgetting a customer.

Planted in files of every form and source, forgotten, and searched for by means of the test's own.
"""

import contextlib
import copy
import csv
import gzip
import hmac
import io
import json
import re
import shutil
import sqlite3
import stat
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import ForgetError, SourceError
from pipelines.load import erased_files, erasing, load, retain, rotate_key
from pipelines.people import forget
from pipelines.settings import Settings
from pipelines.sources import shopify_files
from pipelines.warehouse import build, log_files, state, state_tables
from pipelines.warehouse.sql import read_sql
from tests.conftest import TINY_SHOP, ends, fresh, write_rows, write_shop
from tests.test_sources_shopify import ORDER

ANNE, OTHER = "anne@example.org", "joanne@example.org"  # the second ends like the first
HERS = ("anne@example.org", "Zorbinia", "Vandermark", "Chestnut", "611223344", "anne the second")
FACTS = (
    "fact_order_line",
    "fact_return_line",
    "fact_return_event",
    "fact_refund",
    "fact_refund_line",
    "fact_return_leg",
)


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give what every file of a folder holds, however it is packed, and the values of tables: (file, bytes)."""
    for path in (p for p in sorted(folder.rglob("*")) if p.is_file()):
        content, place = path.read_bytes(), str(path.relative_to(folder))
        yield place, place.encode()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        yield place, content
        if content.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                yield from ((place, packed.read(n)) for n in packed.namelist())
        if path.suffix == ".json":
            yield place, str(json.loads(content)).encode()
        values: list[Any] = []
        if path.suffix == ".parquet":
            values = duckdb.execute(f"FROM {read_sql('parquet', path)}").fetchall()
        if content.startswith(b"SQLite format 3"):
            base = sqlite3.connect(path)
            for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                values += base.execute(f'SELECT * FROM "{table}"').fetchall()
            base.close()
        if path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as connection:
                for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                    values += connection.execute(f'FROM "{table}"').fetchall()
        yield place, str(values).encode()


def remains(settings: Settings, *words: str) -> set[tuple[str, str]]:
    """Give where any of these words, or the keyed hash of one, is found: (file, word)."""
    key = settings.key_file.read_bytes()
    hashes = [hmac.new(key, w.encode(), "sha256").hexdigest()[:32] for w in words]
    needles = [(w, w.lower().encode(c)) for w in [*words, *hashes] for c in ("utf-8", "utf-16-le", "utf-16-be")]
    return {
        (place, word)
        for folder in (settings.warehouse, settings.raw)
        for place, content in contents(folder)
        for lowered in [content.lower().replace(b"joanne", b"jo")]
        for word, needle in needles
        if needle in lowered
    }


def facts(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    path = build.build_path(settings.warehouse, build.current_id(settings.warehouse) or "")
    with duckdb.connect(str(path), read_only=True) as connection:
        return {t: connection.execute(f"FROM {t} ORDER BY ALL").to_arrow_table().to_pylist() for t in FACTS}


def without_customer(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Give every row but for the customer, as text; a sum of fractions may differ in its last digits."""

    def told(row: dict[str, Any]) -> str:
        return str({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items() if k != "customer_key"})

    return {table: sorted(map(told, listed)) for table, listed in rows.items()}


MAPPING = """
name: crm
time_zone: UTC
constants: {currency: EUR, country: FR}
tables:
  - file: crm.json
    read: {path: data.orders, each: items}
    to:
      order_line: {order_line_id: items.line, order_id: number, ordered_at: day, product_id: items.sku,
        units: items.units, net_amount: items.net, customer_id: buyer.mail, customer_area: buyer.zip}
  - file: returns.xlsx
    to:
      return_event: {return_line_id: Line, return_id: Return, order_line_id: Line, reason_raw: Reason,
        note_terms: Note, customer_id: Mail, events: {requested: Asked}}
"""


def write_sources(folder: Path) -> dict[str, list[Path]]:
    """Write her and another customer into files of every form: by source, the files."""
    shop = {thing: [dict(row) for row in rows] for thing, rows in TINY_SHOP.items()}
    for row in shop["order_line"]:
        row["customer_id"] = {"c2": OTHER, ANNE: f" {ANNE} "}.get(row["customer_id"], row["customer_id"])
        row |= {
            "buyer": "Zorbinia, Vandermark" if row["customer_id"].strip() == ANNE else "Bo",
            "mail": row["customer_id"].upper(),
        }
    for row in shop["return_event"]:
        row |= {
            "phone": "+33611223344" if row["return_id"] == "R1" else "+33000",
            "note_terms": "trop petit, Vandermark" if row["event_id"] == "1" else "",
        }
    write_shop(folder / "shop", shop)
    lines = (folder / "shop" / "order_line.csv").read_bytes()
    (folder / "shop" / "order_line.csv").unlink()
    (folder / "shop" / "order_line.csv.gz").write_bytes(gzip.compress(lines.replace(b"\r\n", b"\n")))
    bad = {k: v for k, v in TINY_SHOP["order_line"][0].items() if v} | {
        "order_line_id": "bad",
        "ordered_at": "Zorbinia",
    }
    write_rows(folder / "shop" / "order_line.bad.csv", [bad | {"customer_id": ANNE}])
    events = {k: v for k, v in TINY_SHOP["return_event"][0].items() if v} | {
        "event_id": "own",
        "event": "approved",
        "occurred_at": "2025-12-05T11:00:00Z",
        "who": {"name": "Zorbinia"},
    }
    (folder / "shop" / "return_event.more.ndjson").write_text(
        json.dumps(events | {"amount": 1.10})
        + "\n"
        + json.dumps(
            events
            | {
                "event_id": "two",
                "return_line_id": "R2-1",
                "return_id": "R2",
                "parcel_id": "P2",
                "order_line_id": "O2-1",
                "who": {},
            }
        )
        + "\nno json, Anne@Example.org\n"
    )
    table = pa.table(
        {
            "refund_line_id": ["P1", "P2"],
            "refund_id": ["F1", "F2"],
            "order_line_id": ["O1-1", "O2-1"],
            "refunded_at": ["2025-12-13T09:00:00Z"] * 2,
            "units": [0, 0],
            "amount": [1.5, 2.5],
            "currency": ["EUR"] * 2,
            "holder": ["Zorbinia", "Bo"],
        }
    )
    pq.write_table(table, folder / "shop" / "refund_line.more.parquet")
    crm = folder / "crm"
    crm.mkdir()
    (crm / "crm.yaml").write_text(MAPPING)
    order = {
        "number": "N1",
        "day": "2026-01-05",
        "buyer": {"mail": "Anne\\u0040example.org", "name": "Zorbinia", "zip": "75 011"},
        "items": [
            {"line": "N1-1", "sku": "DRESS", "units": 1, "net": 10.50},
            {"line": "N1-2", "sku": "DRESS", "units": 2, "net": 21.0},
        ],
    }
    other = {
        "number": "N2",
        "day": "2026-01-06",
        "buyer": {"mail": OTHER, "name": "Bo", "zip": "69003"},
        "items": [{"line": "N2-1", "sku": "DRESS", "units": 1, "net": 10.50}],
    }
    (crm / "crm.json").write_text(json.dumps({"data": {"orders": [order, other]}}).replace("\\\\u0040", "\\u0040"))
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    for cells in (
        ["Line", "Return", "Asked", "Mail", "Reason", "Note", "Name"],
        ["N1-1", "B1", "2026-01-09", ANNE, "it was for anne the second", "trop grand", "Zorbinia"],
        ["N2-1", "B2", "2026-01-10", OTHER, "size_small", None, "Bo"],
    ):
        sheet.append(cells)
    sheet["D2"].hyperlink = f"mailto:{ANNE}"
    made.save(crm / "returns.xlsx")
    page = copy.deepcopy(ORDER) | {"email": ANNE, "phone": "+33611223344", "note": "for Vandermark, too small"}
    page["customer"] = {"id": 77, "email": ANNE, "first_name": "Zorbinia"}
    page["shipping_address"] |= {"name": "Zorbinia"}
    second = copy.deepcopy(ORDER) | {"id": 2, "email": OTHER, "customer": {"id": 78}, "refunds": []}
    second["line_items"] = [row | {"id": row["id"] + 100} for row in second["line_items"]]
    second["shipping_lines"], second["fulfillments"] = [], []
    second["shipping_address"] = {"zip": "75011", "country_code": "FR"}
    (folder / "page.json").write_text(json.dumps({"orders": [page, second]}))
    return {
        "canonical": [folder / "shop"],
        str(crm / "crm.yaml"): [crm / "crm.json", crm / "returns.xlsx"],
        "shopify": [folder / "page.json"],
    }


pytestmark = pytest.mark.usefixtures("no_rules")


@pytest.fixture(scope="module", autouse=True)
def joined_at_once() -> Iterator[None]:
    """Join log files at once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(log_files, "FEW", 1)  # two log files are many: they are joined
        yield


class Story:
    """A warehouse of every source before and after she is forgotten."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.settings = folder, fresh(folder)
        self.sources = write_sources(folder)
        for source, files in self.sources.items():  # one build of all
            load(self.settings, files, source=source, is_trial=source != "shopify")
        state_file = state.State(self.settings.warehouse)
        state_file.write(state_tables.action, [{"kind": "claim", "note": f"called {ANNE} back", "status": "open"}])
        state_file.close()
        self.planted = remains(self.settings, *HERS)
        self.before = facts(self.settings)
        self.done = forget.forget(self.settings, "Anne@example.org ")
        self.of_shopify = forget.forget(self.settings, "77", "shopify")
        self.after = facts(self.settings)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(tmp_path_factory.mktemp("forget"))


def test_she_is_found_nowhere_by_the_search_of_the_test_or_of_the_command(story: Story) -> None:
    assert {word for _, word in story.planted} >= set(HERS) - {"Chestnut"}  # the test's search finds what is there
    assert remains(story.settings, *HERS) == set()
    assert (story.done.found, story.done.left) == (0, ())
    assert {part.place for part in story.done.searched} >= {"raw files", "builds", "logs", "state and its copy"}
    assert sum(part.files for part in story.done.searched) >= 20
    assert len(list((story.settings.warehouse / "builds").glob("*.duckdb"))) == 1
    state_file = state.State(story.settings.warehouse)
    assert all(row["done_at"] for row in state_file.rows(state.select(state_tables.forgotten)))
    state_file.close()


def test_her_other_id_is_told_and_forgotten_by_itself(story: Story) -> None:
    assert story.done.others == 1  # Shopify knows her as 77
    text = next(p for p in story.settings.raw.rglob("page.json")).read_text()
    orders = json.loads(text)["orders"]
    assert orders[0]["customer"]["id"].startswith("forgotten-")
    assert (orders[1]["customer"]["id"], orders[1]["email"]) == (78, OTHER)
    assert (orders[0]["line_items"][0]["price"], orders[0]["shipping_address"]["zip"]) == ("120.00", "75")


def test_what_was_sold_and_sent_back_stays_row_by_row(story: Story) -> None:
    assert without_customer(story.after) == without_customer(story.before)
    for table, rows in story.before.items():
        if "customer_key" not in rows[0]:
            continue
        after = {
            str({k: v for k, v in row.items() if k != "customer_key"}): row["customer_key"]
            for row in story.after[table]
        }
        moved = {
            row["customer_key"]
            for row in rows
            if after[str({k: v for k, v in row.items() if k != "customer_key"})] != row["customer_key"]
        }
        same = {row["customer_key"] for row in rows} - moved
        assert len(moved) >= 2, table  # of the shop, the CRM or Shopify
        assert len(same) >= 1, table


def test_records_of_others_stay_as_they_were_written(story: Story) -> None:
    (lines,) = story.settings.raw.rglob("order_line.csv.gz")
    given = gzip.decompress((story.folder / "shop" / "order_line.csv.gz").read_bytes()).decode().splitlines()
    kept = gzip.decompress(lines.read_bytes()).decode().splitlines()
    hers = [n for n, line in enumerate(given) if "Zorbinia" in line]
    assert len(kept) == len(given)
    assert [line for n, line in enumerate(kept) if n not in hers] == [
        line for n, line in enumerate(given) if n not in hers
    ]
    rows = list(csv.DictReader(kept))
    assert [(r["order_id"], r["customer_area"], r["buyer"]) for r in rows[:2]] == [("O1", "75", ""), ("O1", "75", "")]
    (events,) = story.settings.raw.rglob("return_event.more.ndjson")
    first, second, third = events.read_text().splitlines()
    assert (json.loads(first)["who"], '"amount": 1.1' in first) == ({"name": None}, True)
    assert (second, third) == ((story.folder / "shop" / "return_event.more.ndjson").read_text().splitlines()[1], "null")
    (book,) = story.settings.raw.rglob("returns.xlsx")
    sheet = openpyxl.load_workbook(book).worksheets[0]
    assert [c.value for c in sheet[3]] == ["N2-1", "B2", "2026-01-10", OTHER, "size_small", None, "Bo"]
    assert [c.value for c in sheet[2]][:3] == ["N1-1", "B1", "2026-01-09"]
    assert re.fullmatch("rare-[0-9a-f]{12}", str(sheet["E2"].value))
    (orders,) = story.settings.raw.rglob("crm.json")
    assert json.loads(orders.read_text())["data"]["orders"][0]["buyer"] == {
        "mail": story.done.opaque,
        "name": None,
        "zip": "75",
    }


def test_files_that_name_her_again_do_not_bring_her_back(story: Story, tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    shutil.copytree(story.settings.warehouse, settings.warehouse)
    shutil.copytree(story.settings.raw, settings.raw)
    report = load(settings, story.sources["canonical"], source="canonical")
    assert (report.is_new_build, len(report.skipped)) == (False, 13)  # the originals are known by what they were
    for source, files in story.sources.items():
        for file in (f for given in files for f in (given.iterdir() if given.is_dir() else [given])):
            if file.suffix in (".csv", ".json"):
                (tmp_path / Path(source).stem).mkdir(exist_ok=True)
                (tmp_path / Path(source).stem / file.name).write_text(file.read_text() + "\n")  # another file
    row = next(r for r in TINY_SHOP["order_line"] if r["customer_id"] == ANNE)
    write_rows(
        tmp_path / "canonical" / "order_line.new.csv",
        [row | {"order_line_id": "O9-1", "order_id": "O9", "buyer": "Zorbinia"}],
    )
    load(settings, [tmp_path / "canonical"], source="canonical", is_trial=True)
    load(settings, [tmp_path / "shopify"], source="shopify", is_trial=True)
    load(settings, [tmp_path / "crm" / "crm.json"], source=next(s for s in story.sources if s.endswith(".yaml")))
    assert remains(settings, *HERS) == set()
    after = facts(settings)
    same, new = (
        next(r for r in after["fact_order_line"] if r["order_line_id"] == f"shop:{line}") for line in ("O1-1", "O9-1")
    )
    assert (
        same["customer_key"]
        == new["customer_key"]
        != next(r for r in story.before["fact_order_line"] if r["order_line_id"] == "shop:O1-1")["customer_key"]
    )


HEAD = "order_line_id,order_id,ordered_at,product_id,units,net_amount,currency,country,customer_id,who\n"


def line(number: int, customer: str) -> str:
    return f"{number},o{number},2025-01-02T10:00:00Z,P1,1,50.00,EUR,FR,{customer},Zorbinia {customer}\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two loads of a shop: c1 and c2 bought, she bought in both."""
    folder = tmp_path_factory.mktemp("small")
    settings = fresh(folder)
    for number, customers in enumerate((("c1", ANNE), (ANNE, "c2"))):
        file = folder / f"order_line.{number}.csv"
        file.write_text(HEAD + "".join(line(10 * number + n, c) for n, c in enumerate(customers)))
        load(settings, [file], is_trial=number == 0)
    return settings


@pytest.fixture
def copy_of(small: Settings, tmp_path: Path) -> Settings:
    settings = fresh(tmp_path)
    shutil.copytree(small.warehouse, settings.warehouse)
    shutil.copytree(small.raw, settings.raw)
    return settings


def test_the_command_prints_what_was_searched_and_what_it_cannot_reach(
    copy_of: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*more: str) -> tuple[int, str, str]:
        return ends(capsys, monkeypatch, "forget", *more, "--warehouse", copy_of.warehouse)

    code, out, said = run("nobody@example.org")
    assert (code, out) == (1, "")
    assert "No file and no log knows the customer nobody@example.org" in said
    code, out, _ = run(ANNE, "--format", "json")
    told = json.loads(out)
    assert (code, told["found"], told["loads"], told["records"], told["left"]) == (0, 0, 2, 2, [])
    assert {part["place"]: part["found_in"] for part in told["searched"]}["raw files"] == []
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ANNE}\n"))
    code, out, _ = run("-")  # again: nothing is left to do, and all is searched again
    assert code == 0
    assert "0 records in 0 files of 0 loads" in out
    assert "Not reached: copies that" in out
    assert remains(copy_of, ANNE, "Zorbinia anne@example.org") == set()
    code, out, _ = run("c1")  # an id of two signs: only where customers stand
    assert code == 0
    assert "Zorbinia c1" not in "".join(p.read_text() for p in copy_of.raw.rglob("*.csv"))


def test_one_id_in_two_sources_may_be_two_people(copy_of: Settings, tmp_path: Path) -> None:
    file = tmp_path / "order_line.two.csv"
    file.write_text(HEAD + line(1, "c1"))
    load(copy_of, [file], namespace="second")
    with pytest.raises(ForgetError, match=r"several sources \(second, shop\)"):
        forget.forget(copy_of, "c1")
    assert forget.forget(copy_of, "c1", "second").found == 0
    left = [p.read_text() for p in copy_of.raw.rglob("*.csv")]
    assert sum("Zorbinia c1" in text for text in left) == 1  # of the first source


def test_a_file_that_cannot_be_written_anew_is_told_and_kept(
    copy_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = openpyxl.Workbook()
    for cells in (["Line", "Order", "Day", "Net", "Mail"], ["L1", "L1", "2026-01-09", 3, ANNE]):
        made.worksheets[0].append(cells)
    made.save(tmp_path / "old.xlsx")
    (tmp_path / "old.xlsx").rename(tmp_path / "old.xls")  # read by what it holds, whatever it is called
    (tmp_path / "m.yaml").write_text(
        "name: old\ntime_zone: UTC\nconstants: {currency: EUR, country: FR, units: 1, product_id: P}\ntables:\n  -"
        " file: '*.xls'\n    to:\n      order_line: {order_line_id: Line, order_id: Order, ordered_at: Day, net_amount:"
        " Net, customer_id: Mail}\n"
    )
    loaded = load(copy_of, [tmp_path / "old.xls"], source=str(tmp_path / "m.yaml"))
    assert loaded.is_new_build
    code, _, said = ends(capsys, monkeypatch, "forget", ANNE, "--warehouse", copy_of.warehouse)
    assert code == 1
    assert "old.xls is a workbook of a form that can be read and not written" in said
    assert "backhaul withdraw" in said
    (tmp_path / "again.xls").write_bytes((tmp_path / "old.xls").read_bytes() + b"\0")
    with pytest.raises(SourceError, match="stay forgotten"):
        load(copy_of, [tmp_path / "again.xls"], source=str(tmp_path / "m.yaml"))
    (load_id,) = {p.parents[1].name for p in copy_of.raw.rglob("old.xls")}
    ends(capsys, monkeypatch, "withdraw", load_id, "--warehouse", copy_of.warehouse)
    code, _, said = ends(capsys, monkeypatch, "forget", ANNE, "--warehouse", copy_of.warehouse)
    assert (code, said) == (0, "")
    assert remains(copy_of, ANNE) == set()


def test_every_key_that_the_parser_of_shopify_asks_for_is_known_to_be_read() -> None:
    folder = Path(shopify_files.__file__).parent
    source = (folder / "shopify.py").read_text() + (folder / "shopify_values.py").read_text()
    asked = set(re.findall(r'\.get\("([a-z_]+)"', source)) | set(
        re.findall(r'\b(?:money_in|currency_in|is_some)\(\w+, "([a-z_]+)"', source)
    )
    lists = set(re.findall(r'\bobjects?_in\(\w+\.get\("([a-z_]+)"', source)) | {
        "return",
        "order",
        "variant",
        "location",
        "inventory_item",
        "presentment_money",
        "shop_money",
        "test",
        "product",
        "weight",
        "discounted_price_set",
        "dispositions",
        "fulfillment_line_item",
        "discount_allocations",
        "line_item",
        "shipping_address",
        "billing_address",
    }
    own = {"_updated_at", "amount", "is_deleted", "units", "email", "zip", "note", "customer_note"}
    assert asked - lists - own - shopify_files.READ_KEYS - shopify_files.PERSONAL == set()


def test_an_object_that_holds_a_key_twice_is_only_in_the_way_when_it_is_to_be_written(tmp_path: Path) -> None:
    file = tmp_path / "return_event.twice.ndjson"
    file.write_text('{"who": 1, "who": 2, "customer_id": "c2"}\n')
    reads = erased_files.Reads(
        lambda path: frozenset({"return_event.customer_id"}) if path == ("customer_id",) else None
    )
    assert (
        erased_files.rewrite(file, tmp_path / "new", reads, erased_files.Editor([erasing.Person("c1", "forgotten-1")]))
        == 0
    )
    assert not (tmp_path / "new").exists()
    with pytest.raises(erased_files.Unwritable, match="holds a key twice in one object"):
        erased_files.rewrite(file, tmp_path / "new", reads, erased_files.Editor([erasing.Person("c2", "forgotten-1")]))


def test_a_name_of_a_file_loses_the_id(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "order_line.CUSTOMER-0001.csv").write_text(HEAD + line(1, "CUSTOMER-0001") + line(2, "c2"))
    load(settings, [tmp_path / "order_line.CUSTOMER-0001.csv"])
    done = forget.forget(settings, "CUSTOMER-0001")
    assert remains(settings, "CUSTOMER-0001") == set()
    (kept,) = (p.name for p in settings.raw.rglob("*.csv"))
    assert kept == f"order_line.{done.opaque}.csv"


STEPS: list[tuple[Any, str]] = [
    (state.State, "transaction"),
    (state.State, "compact"),
    (build, "sync"),
    (build, "point_at"),
    (build, "own_files"),
    (shutil, "rmtree"),
    (state, "keep_copy"),
]


class Killed(BaseException):
    """The end of the process."""


def killed_at(monkeypatch: pytest.MonkeyPatch, at: int, run: Callable[[], object]) -> int:
    """Run until the step of this number, which is not reached by any step after it; give the number of steps."""
    count = 0

    def step(inner: Any) -> Any:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count >= at:
                raise Killed
            return inner(*args, **kwargs)

        return stepped

    with monkeypatch.context() as patched:
        for holder, name in STEPS:
            patched.setattr(holder, name, step(getattr(holder, name)))
        with contextlib.suppress(Killed):
            run()
    return count


def test_killed_at_any_step_it_is_finished_by_running_it_again(
    small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(name: str) -> Settings:
        settings = fresh(tmp_path / name)
        shutil.copytree(small.warehouse, settings.warehouse)
        shutil.copytree(small.raw, settings.raw)
        return settings

    whole = copied("whole")
    steps = killed_at(monkeypatch, 10**6, lambda: forget.forget(whole, ANNE))
    wanted = without_customer(facts(whole))
    assert steps > 20
    for at in range(5, steps, steps // 3):
        settings = copied(f"at-{at}")
        killed_at(monkeypatch, at, lambda s=settings: forget.forget(s, ANNE))  # type: ignore[misc]
        if at == 5 + steps // 3:
            load(settings)  # a load comes between
            assert without_customer(facts(settings)) == wanted, at
        done = forget.forget(settings, ANNE)
        assert (done.found, done.left) == (0, ()), at
        assert remains(settings, ANNE) == set(), at
        assert without_customer(facts(settings)) == wanted, at
        state_file = state.State(settings.warehouse)
        named = {settings.raw / f["raw"] for row in state_file.loads_with("published") for f in row["files"]}
        state_file.close()
        assert {p for p in settings.raw.rglob("*") if p.is_file()} == named, at


def made_older(settings: Settings, load_id: str, days: int) -> None:
    state_file = state.State(settings.warehouse)
    mine = state_tables.load.c.load_id == load_id
    row = state_file.rows(state.select(state_tables.load).where(mine))[0]
    with state_file.transaction() as connection:
        connection.execute(
            state_tables.load.update().where(mine).values(started_at=row["started_at"] - timedelta(days=days))
        )
    state_file.close()


def raw_names(settings: Settings) -> set[str]:
    return {p.name for p in settings.raw.rglob("*") if p.is_file()}


def test_raw_files_go_after_so_many_days_and_nothing_is_lost(
    copy_of: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str | Path) -> tuple[int, str, str]:
        return ends(capsys, monkeypatch, *words, "--warehouse", copy_of.warehouse)

    first, second = sorted(p.name for p in copy_of.raw.iterdir())
    before = facts(copy_of)
    made_older(copy_of, second, 20)
    assert run("retain", "--raw-days", "30") == (0, "The raw files of 0 loads are deleted.\n", "")
    (tmp_path / "order_line.3.csv").write_text(HEAD + line(30, "c3"))
    monkeypatch.setenv("BACKHAUL_RAW_DAYS", "10")
    code, out, said = run("load", tmp_path / "order_line.3.csv")
    assert (code, said) == (0, "")
    assert "The raw files of 1 loads were deleted for their age" in out
    assert raw_names(copy_of) == {"order_line.0.csv", "order_line.3.csv"}
    assert [r for r in facts(copy_of)["fact_order_line"] if r["order_id"] != "shop:o30"] == before["fact_order_line"]
    monkeypatch.delenv("BACKHAUL_RAW_DAYS")
    assert "Raw files reach back to" in run("status")[1]
    told = json.loads(run("doctor", "--format", "json")[1])
    assert any("those of 1 older loads were deleted for their age" in str(found) for found in told)
    assert run("check", "--deep")[0] == 0
    code, _, said = run("withdraw", first)  # what the second said again would be judged again
    assert code == 1
    assert f"the raw files of load {second} were deleted for their age" in said
    wanted = facts(copy_of)
    code, out, _ = run("forget", ANNE, "--format", "json")  # in the load without raw files the log is written anew
    assert (code, json.loads(out)["loads"], json.loads(out)["records"]) == (0, 2, 2)
    assert remains(copy_of, ANNE) == set()
    assert without_customer(facts(copy_of)) == without_customer(wanted)
    keys_of = {r["order_id"]: r["customer_key"] for r in facts(copy_of)["fact_order_line"]}
    assert keys_of["shop:o1"] == keys_of["shop:o10"]  # she stays one customer, and another one than before
    assert keys_of["shop:o1"] not in {r["customer_key"] for r in wanted["fact_order_line"]}
    log = max((copy_of.warehouse / "log" / "order_line").glob("*/*.parquet"))
    kept = log.read_bytes()
    log.unlink()
    code, _, said = run("load")
    assert code == 4
    assert f"the raw files of load {second} were deleted for their age" in said
    log.write_bytes(kept)
    assert run("load")[0] == 0
    assert run("withdraw", second)[0] == 0  # what comes after it has its files
    assert {r["order_id"] for r in facts(copy_of)["fact_order_line"]} == {"shop:o0", "shop:o1", "shop:o30"}


def test_an_older_export_is_put_aside_when_later_ones_have_no_raw_files(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "name: crm\ntime_zone: UTC\nconstants: {currency: EUR, country: FR}\ntables:\n  - file: '*.csv'\n    to:\n     "
        " order_line: {order_line_id: L, order_id: L, ordered_at: D, net_amount: N, units: U, product_id: P}\n"
    )
    row = {"L": "1", "D": "2026-01-01", "N": "5", "U": "1", "P": "A"}
    write_rows(tmp_path / "new.csv", [row])
    write_rows(tmp_path / "old.csv", [row | {"N": "4"}])
    mapping = str(tmp_path / "m.yaml")
    load(settings, [tmp_path / "new.csv"], source=mapping, exported_at=datetime(2026, 2, 2))
    (load_id,) = (p.name for p in settings.raw.iterdir())
    made_older(settings, load_id, 20)
    assert retain(settings, 10) == [load_id]
    assert [p.name for p in (settings.raw / load_id).iterdir()] == ["m.yaml"]
    before = facts(settings)
    with pytest.raises(SourceError, match=r"older than what was loaded of the same rows.* deleted for their age"):
        load(settings, [tmp_path / "old.csv"], source=mapping, exported_at=datetime(2026, 1, 2))
    assert facts(settings) == before


def customers(settings: Settings) -> dict[str, str]:
    """Give the hash of each order's customer, as the logs hold it."""
    files = [str(f) for f in (settings.warehouse / "log" / "order_line").glob("*/*.parquet")]
    return dict(duckdb.execute(f"SELECT order_id, customer_id FROM {read_sql('parquet', files)}").fetchall())


def hashed(settings: Settings, customer: str) -> str:
    return "shop:" + hmac.new(settings.key_file.read_bytes(), customer.encode(), "sha256").hexdigest()[:32]


WHO = {"shop:o0": "c1", "shop:o1": ANNE, "shop:o10": ANNE, "shop:o11": "c2"}


def test_a_new_key_takes_over_and_who_is_forgotten_stays_so(
    copy_of: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget.forget(copy_of, "c1", "shop")
    old, before, forgotten = copy_of.key_file.read_bytes(), facts(copy_of), customers(copy_of)["shop:o0"]
    code, out, said = ends(capsys, monkeypatch, "rotate-key", "--warehouse", copy_of.warehouse)
    assert (code, said) == (0, "")
    assert "is hashed with a new key; the old one is gone" in out
    assert copy_of.key_file.read_bytes() != old
    assert stat.S_IMODE(copy_of.key_file.stat().st_mode) == 0o600
    assert not copy_of.next_key_file.exists()
    assert {o: h for o, h in customers(copy_of).items() if o != "shop:o0"} == {
        o: hashed(copy_of, c) for o, c in WHO.items() if o != "shop:o0"
    }
    assert customers(copy_of)["shop:o0"] not in (forgotten, hashed(copy_of, "c1"))
    assert without_customer(facts(copy_of)) == without_customer(before)
    assert len(list((copy_of.warehouse / "builds").glob("*.duckdb"))) == 1
    assert ends(capsys, monkeypatch, "check", "--deep", "--warehouse", copy_of.warehouse)[0] == 0
    (tmp_path / "order_line.4.csv").write_text(HEAD + line(40, "c1") + line(41, ANNE))
    load(copy_of, [tmp_path / "order_line.4.csv"])
    known = customers(copy_of)
    assert (known["shop:o40"], known["shop:o41"]) == (known["shop:o0"], hashed(copy_of, ANNE))
    assert "Zorbinia c1" not in "".join(p.read_text() for p in copy_of.raw.rglob("*.csv"))


def test_a_key_is_not_changed_without_the_raw_files(copy_of: Settings) -> None:
    before, key = customers(copy_of), copy_of.key_file.read_bytes()
    next(copy_of.raw.rglob("order_line.1.csv")).unlink()
    with pytest.raises(
        SourceError, match=r"cannot be changed: .*order_line\.1\.csv is gone or damaged. Nothing was changed"
    ):
        rotate_key(copy_of)
    assert (customers(copy_of), copy_of.key_file.read_bytes()) == (before, key)
    assert not copy_of.next_key_file.exists()


@pytest.mark.whole
def test_killed_at_any_step_keys_are_never_mixed(
    small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fresh(tmp_path / "whole")
    shutil.copytree(small.warehouse, whole.warehouse)
    shutil.copytree(small.raw, whole.raw)
    steps = killed_at(monkeypatch, 10**6, lambda: rotate_key(whole))
    assert steps > 15
    for at in range(1, steps + 1, steps // 2):
        settings = fresh(tmp_path / f"at-{at}")
        shutil.copytree(small.warehouse, settings.warehouse)
        shutil.copytree(small.raw, settings.raw)
        old = settings.key_file.read_bytes()
        killed_at(monkeypatch, at, lambda s=settings: rotate_key(s))  # type: ignore[misc]
        load(settings)
        assert not settings.next_key_file.exists(), at
        assert customers(settings) == {o: hashed(settings, c) for o, c in WHO.items()}, at
        assert (settings.key_file.read_bytes() == old) == (at == 1), at  # back as long as nothing was begun, else on
        assert len({r["customer_key"] for r in facts(settings)["fact_order_line"]}) == 3, at
