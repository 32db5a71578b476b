"""Personal data: markers planted in every column of every source.

They are searched in everything that is written but raw files.

What is kept of a column of text follows from its class in `schema.TEXTS`: the test knows the classes, not the columns.
"""

import csv
import json
import re
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest
from sqlalchemy import Boolean, Column, Date, DateTime, Double, Integer, Numeric

from pipelines.load import land, load, reason_wordings
from pipelines.load.contracts import shape_sql
from pipelines.settings import Settings
from pipelines.sources.online_retail import COLUMNS
from pipelines.warehouse import schema, state
from pipelines.warehouse.sql import read_sql
from tests.conftest import TINY_SHOP, ends, fresh, write_rows, write_shop
from tests.test_sources_shopify import ORDER
from tests.test_systems import APART, SHIPPED, files_of
from tests.turns import IS_WHOLE, by_turns

pytestmark = pytest.mark.usefixtures("no_rules")

KINDS = {
    "name": "Zorbinia {m} Vandermark",
    "email": "{m}@example.org",
    "phone": "+33 6 {m} 12 34 56",
    "street": "12 rue {m} Zorb",
    "postcode": "75{m}",
    "address": "203.0.113.{m}",
    "bank": "FR76 {m} 3000 4000",
    "words": "Bonjour ici Zorbinia {m} trop petit",
}
MARKER = re.compile(r"qx([a-z]+)q(\d{3})z", re.IGNORECASE)
# kinds of text that a column of a class may hold word for word: an id or a carrier's name looks like any of these
ALLOWED = {"key": set(KINDS) - {"email"}, "label": {"name", "street", "postcode", "words"}}


def marker(kind: str, number: int) -> str:
    return KINDS[kind].format(m=f"qx{kind}q{number:03d}z")


def found_in(settings: Settings, *others: Path) -> dict[str, set[tuple[str, int]]]:
    """Give the markers of each place of everything written but the raw files: file names, bytes, columns."""
    found: dict[str, set[tuple[str, int]]] = defaultdict(set)

    def look(place: str, content: bytes | str) -> None:
        text = content.decode("latin-1") if isinstance(content, bytes) else content
        found[place] |= {(kind.lower(), int(number)) for kind, number in MARKER.findall(text)}

    for path in [p for root in (settings.warehouse, *others) for p in root.rglob("*") if p.is_file()]:
        look("names of files", str(path.relative_to(settings.warehouse.parent)))
        look(f"bytes of {path.suffix}", path.read_bytes())
        if path.suffix == ".parquet":
            with duckdb.connect() as connection:
                rows = connection.execute(f"SELECT * FROM {read_sql('parquet', path)}").to_arrow_table()
            for name in rows.column_names:
                look(f"{path.parts[-3]}.{name}", " ".join(map(str, rows.column(name).to_pylist())))
        if path.suffix == ".sqlite":
            base = sqlite3.connect(path)
            for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                look(f"state {table}", str(base.execute(f'SELECT * FROM "{table}"').fetchall()))
            base.close()
        if path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as build:
                for (table,) in build.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                    look(f"build {table}", str(build.execute(f'FROM "{table}"').fetchall()))
    return {place: markers for place, markers in found.items() if markers}


def value_of(column: Column[Any]) -> str:
    """Give a plain value that a column takes."""
    if column.info["values"]:
        return str(column.info["values"][0])
    typed = {
        DateTime: "2026-01-10T10:00:00Z",
        Date: "2026-01-10",
        Boolean: "false",
        Integer: "1",
        Numeric: "1",
        Double: "1",
    }
    named = {"country": "FR", "market": "FR", "currency": "EUR", "quote_currency": "EUR", "time_zone": "Europe/Paris"}
    return typed.get(type(column.type), named.get(column.name, "x"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[int, Column[Any]]]:
    """A load with every kind of marker in every column of every canonical table, one row each.

    Columns by their number.
    """
    folder = tmp_path_factory.mktemp("planted")
    settings, columns = fresh(folder), {}
    for table in schema.LOG.tables.values():
        rows = []
        for column in table.columns:
            if column.name == "time_zone":
                continue
            number = len(columns) + 1
            columns[number] = column
            for kind in KINDS:
                row = {c.name: value_of(c) for c in table.columns if c.info["required"] or c.name == "country"}
                row |= {k: f"pl-{number}-{kind}" for k in table.info["key"] if k.endswith("_id") or k == "carrier"}
                rows.append(row | {column.name: marker(kind, number)})
        write_rows(folder / "files" / f"{table.name}.csv", rows)
    base = {k: v for k, v in TINY_SHOP["order_line"][0].items() if v}
    address = f"order_line.{marker('email', 903)}.csv"
    write_rows(
        folder / "files" / address,
        [base | {"order_line_id": "own", "customer_email": marker("email", 901), marker("email", 902): "1"}],
    )
    with (folder / "files" / address).open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["short", marker("words", 904)], [marker("phone", 905), *["x"] * 40]])
    event = {k: v for k, v in TINY_SHOP["return_event"][0].items() if v}
    lines = [
        json.dumps(event | {"event_id": "own", marker("email", 906): "1"}),
        json.dumps(marker("name", 907)),
        "no json " + marker("email", 908),
    ]
    (folder / "files" / "return_event.more.ndjson").write_text("\n".join(lines) + "\n")
    load(settings, [folder / "files"])
    return settings, columns


def test_no_marker_is_kept_but_in_ids_and_names_of_goods_and_carriers(
    planted: tuple[Settings, dict[int, Column[Any]]],
) -> None:
    settings, columns = planted
    kept = {(kind, number) for markers in found_in(settings).values() for kind, number in markers}
    wrong = [
        (
            f"{columns[n].table.name}.{columns[n].name} ({columns[n].info['text']}): {kind}"
            if n in columns
            else f"{n}: {kind}"
        )
        for kind, n in sorted(kept)
        if n not in columns or kind not in ALLOWED.get(str(columns[n].info["text"]), set())
    ]
    assert wrong == []


def test_quarantine_shows_shapes(planted: tuple[Settings, dict[int, Column[Any]]]) -> None:
    settings, _ = planted
    found = found_in(settings)
    assert not found.get("state quarantine")
    base = sqlite3.connect(settings.warehouse / "state.sqlite")
    values = [v for (v,) in base.execute("SELECT value FROM quarantine WHERE rules LIKE 'bad_time ordered_at%'")]
    base.close()
    assert [v for v in values if re.fullmatch(r"a+003a@aaaaaaa\.aaa", v)]


def test_shapes_keep_what_tells_a_format() -> None:
    texts = {
        "31.02.2026 10:15": "99.99.9999 99:99",
        "1,5 EUR": "1,5 EUR",
        "Ünïé 3": "Aaaa 3",
        "店 12": "店 12",
        "Li Wu": "Aa Aa",
        "a1b2": "a1a2",
        "one": "one",
        "2026": "2026",
    }
    for text, shape in texts.items():
        assert duckdb.execute(f"SELECT {shape_sql('$1')}", [text]).fetchall() == [(shape,)]


def reasons_of(settings: Settings) -> set[str]:
    files = [str(p) for p in (settings.warehouse / "log" / "return_event").glob("*/*.parquet")]
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT DISTINCT reason_raw FROM {read_sql('parquet', files)} WHERE reason_raw IS NOT NULL"
        )
        return {text for (text,) in found.fetchall()}


def returns_with(reason: str, count: int, since: int = 0) -> list[dict[str, str]]:
    event = {k: v for k, v in TINY_SHOP["return_event"][0].items() if v}
    return [
        event | {"event_id": f"{reason}-{i}", "return_line_id": f"{reason}-{i}", "reason_raw": reason}
        for i in range(since, since + count)
    ]


def test_a_wording_stays_when_it_is_known_or_five_lines_share_it(settings: Settings, tmp_path: Path) -> None:
    shop = dict(TINY_SHOP)
    rare, common = "Zoé wants another one", "did not like it at all, ever"
    again = [row | {"event_id": f"again-{i}"} for i, row in enumerate(returns_with(rare, 1) * 6)]  # one line's events
    shop["return_event"] = [*TINY_SHOP["return_event"], *returns_with(rare, 3), *again, *returns_with(common, 5)]
    report = load(settings, [write_shop(tmp_path / "first", shop)])
    kept = reasons_of(settings)
    assert {"size_small", "quality_defect", common} <= kept
    assert rare not in kept
    assert report.hidden["return_event"] == 9
    worded = {(w["wording"], w["return_lines"]) for w in reason_wordings(settings)}
    assert (common, 5) in worded
    assert (None, 7) in worded  # with the four of the tiny shop, each in one line
    write_rows(tmp_path / "second" / "return_event.csv", returns_with(rare, 2, since=3))  # with these there are five
    assert load(settings, [tmp_path / "second"]).hidden == {}
    assert rare in reasons_of(settings)


def test_the_same_rows_again_change_nothing(settings: Settings, tmp_path: Path) -> None:
    shop = dict(TINY_SHOP, return_event=[*TINY_SHOP["return_event"], *returns_with("only mine, and a@b.org", 2)])
    load(settings, [write_shop(tmp_path / "first", shop)])
    write_shop(tmp_path / "again", shop)
    for path in (tmp_path / "again").iterdir():
        path.write_text(path.read_text() + "\n")  # other bytes, the same rows
    report = load(settings, [tmp_path / "again"])
    assert {r["table"]: r["accepted"] for r in report.counts}["return_event"] == 0


def test_an_id_that_is_an_address_is_one_hash_everywhere(settings: Settings, tmp_path: Path) -> None:
    shop = {thing: [dict(row) for row in rows] for thing, rows in TINY_SHOP.items()}
    for rows in shop.values():
        for row in rows:
            row |= {c: "o1@example.org" for c in ("order_id",) if row.get(c) == "O1"}
            row |= {c: "line@example.org" for c in ("order_line_id",) if row.get(c) == "O1-1"}
    load(settings, [write_shop(tmp_path / "files", shop)])
    [build] = (settings.warehouse / "builds").glob("*.duckdb")
    with duckdb.connect(str(build), read_only=True) as connection:
        lines = (
            "SELECT count(*), count(DISTINCT order_id), max(order_id) FROM fact_order_line WHERE order_id LIKE 'shop:%'"
            " AND length(order_id) = 37"
        )
        [(count, orders, order)] = connection.execute(lines).fetchall()
        joined = connection.execute(
            "SELECT count(*) FROM fact_return_line r JOIN fact_order_line USING (order_line_key) WHERE r.return_id ="
            " 'shop:R1'"
        ).fetchall()
    assert (count, orders, joined) == (2, 1, [(1,)])
    assert re.fullmatch("shop:[0-9a-f]{32}", order)


def test_a_place_is_called_by_its_id_unless_five_share_its_name(settings: Settings, tmp_path: Path) -> None:
    shop = {thing: [dict(row) for row in rows] for thing, rows in TINY_SHOP.items()}
    shop["place"][0]["name"] = "Zoé Martin"
    shop["place"] += [dict(shop["place"][1], place_id=f"P{i}", name="Relay") for i in range(5)]
    load(settings, [write_shop(tmp_path / "files", shop)])
    [build] = (settings.warehouse / "builds").glob("*.duckdb")
    with duckdb.connect(str(build), read_only=True) as connection:
        names = dict(connection.execute("SELECT place_id, name FROM dim_place").fetchall())
    assert (names["shop:DROP"], names["shop:RC"], names["shop:P3"]) == ("shop:DROP", "shop:RC", "Relay")


def test_a_mapping_keeps_no_marker(settings: Settings, tmp_path: Path) -> None:
    names = ["Order", "SKU", "Qty", "Date", "Net", "Mail", "Name", "Phone", "Street", "Zip", "Reason", "Note", "Region"]
    rows = [
        dict(
            zip(
                names,
                [
                    f"o{i}",
                    "p1",
                    "1",
                    "2026-01-10",
                    "10",
                    *(marker(k, i) for k in ("email", "name", "phone", "street", "postcode", "words", "words", "name")),
                ],
                strict=True,
            )
        )
        for i in range(20)
    ]
    rows.append(rows[0] | {"Order": "bad", "Qty": marker("words", 30), "Date": marker("email", 31)})
    write_rows(tmp_path / "orders.csv", rows)
    (tmp_path / "m.yaml").write_text("""
name: shop
time_zone: UTC
constants: {currency: EUR, country: FR}
tables:
  - file: orders.csv
    to:
      order_line: {order_line_id: Order, order_id: Mail, ordered_at: Date, product_id: SKU, units: Qty,
        net_amount: Net, customer_id: Mail, customer_area: Zip, seller: Name, dimensions: {region: Region}}
      return_event: {return_line_id: Order, return_id: Order, order_line_id: Order, reason_raw: Reason,
        note_terms: Note, events: {requested: Date}}
""")
    load(settings, [tmp_path / "orders.csv"], source=str(tmp_path / "m.yaml"))
    assert found_in(settings) == {}


def test_online_retail_keeps_no_marker(settings: Settings, tmp_path: Path) -> None:
    plain = dict(
        zip(
            COLUMNS, ["536365", "85123A", "LANTERN", "6", "2010-12-01 08:26:00", "2.55", "17850", "France"], strict=True
        )
    )
    rows = [plain | {c: marker(k, i)} for i, c in enumerate(COLUMNS) for k in ("email",)]
    rows += [plain | {"InvoiceNo": f"5364{n:02d}", "CustomerID": marker(k, 100)} for n, k in enumerate(KINDS)]
    write_rows(tmp_path / "online.csv", [plain, *rows])
    report = load(settings, [tmp_path / "online.csv"], source="online_retail")
    assert {r["table"]: r["accepted"] for r in report.counts}["order_line"] > len(KINDS)
    assert found_in(settings) == {}


PERSONAL = re.compile("(?i)name$|mail|phone|address|city|zip|post(al|code)|note|comment|reason|customer|company|buyer")
OF_GOODS = re.compile("(?i)product|item|carrier|retailer|^name$|^order_name$|^Name$")
"""Headings that name goods, carriers, shops or orders: kept as given."""
BESIDE = {
    "first_name": "name",
    "email": "email",
    "phone": "phone",
    "address_1": "street",
    "zip": "postcode",
    "ip": "address",
    "iban": "bank",
    "note": "words",
}
"""Columns that systems have beside those of the fixtures, and what kind of text they hold."""


class Planter:
    """Puts another marker in each text that may be somebody's, and beside it what else such a system tells."""

    def __init__(self) -> None:
        self.planted: dict[tuple[str, int], str] = {}

    def text(self, place: str, kind: str) -> str:
        number = sum(k == kind for k, _ in self.planted) + 1
        self.planted[kind, number] = place
        return marker(kind, number)

    def named(self, place: str, heading: str) -> str | None:
        """Give a marker for a value under a heading, where that may be personal."""
        if not PERSONAL.search(heading) or OF_GOODS.search(heading):
            return None
        found = re.search("(?i)mail|phone|zip|post(?=al|code)|address|name", heading)
        kinds = {"mail": "email", "phone": "phone", "zip": "postcode", "post": "postcode", "name": "name"}
        return self.text(f"{place} {heading}", kinds.get(found[0].lower(), "street") if found else "words")

    def json(self, place: str, value: Any, heading: str = "") -> Any:
        if isinstance(value, list):
            return [self.json(place, v, heading) for v in value]
        if isinstance(value, dict):
            own = {k: self.json(place, v, k) for k, v in value.items()}
            return {**{k: self.text(f"{place} {k}", kind) for k, kind in BESIDE.items() if k not in own}, **own}
        return value if value is None or isinstance(value, bool) else self.named(place, heading) or value

    def table(self, place: str, rows: list[list[Any]]) -> list[list[Any]]:
        """Plant the rows of a table below its heading: the first row with as many cells as any."""
        width = max(map(len, rows))
        top = next(i for i, row in enumerate(rows) if len(row) == width)
        done = [*rows[:top], [*rows[top], *(f"buyer {k}" for k in BESIDE)]]
        for row in rows[top + 1 :]:
            own = [(self.named(place, str(h)) if v else None) or v for h, v in zip(rows[top], row, strict=True)]
            done.append([*own, *(self.text(f"{place} {k}", kind) for k, kind in BESIDE.items())])
        return done

    def file(self, given: Path, to: Path) -> Path:
        """Write a fixture anew with markers in it."""
        to.parent.mkdir(parents=True, exist_ok=True)
        place = given.parent.name
        if given.suffix == ".json":
            to.write_text(json.dumps(self.json(place, json.loads(given.read_text("utf-8")))), encoding="utf-8")
        elif given.suffix == ".jsonl":
            told = [self.json(place, json.loads(line)) for line in given.read_text("utf-8").splitlines()]
            to.write_text("".join(f"{json.dumps(one)}\n" for one in told), encoding="utf-8")
        elif given.suffix == ".xlsx":
            book = openpyxl.load_workbook(given)
            for sheet in book.worksheets:
                rows = self.table(f"{place} {sheet.title}", [list(row) for row in sheet.values])
                for y, row in enumerate(rows, 1):
                    for x, value in enumerate(row, 1):
                        sheet.cell(y, x, value)
            book.save(to)
        else:
            text = given.read_text("utf-8-sig")
            separator = max(",;\t", key=text.count)
            with to.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter=separator)
                writer.writerows(self.table(place, list(csv.reader(text.splitlines(), delimiter=separator))))
        return to


def test_no_system_leaves_a_marker_in_a_warehouse_a_log_an_export_or_a_closed_month(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in two of the shipped mappings' fixtures and a shop whose returns emit something, in one build."""
    planter = Planter()
    state_file = state.State(settings.warehouse)
    for mapping in by_turns(SHIPPED, 2):
        files = [planter.file(f, tmp_path / "in" / mapping / f.name) for f in files_of(mapping)]
        land.begin(state_file, files, mapping, APART.get(mapping), None)
    shop = {thing: [dict(row) for row in rows] for thing, rows in TINY_SHOP.items()}
    for thing, names in {
        "order_line": ("customer_id", "customer_area"),
        "return_event": ("reason_raw",),
        "place": ("name",),
    }.items():
        for row in shop[thing]:
            row |= {n: planter.text(f"tiny {n}", "postcode" if "area" in n else "name") for n in names if row.get(n)}
    land.begin(state_file, [write_shop(tmp_path / "in" / "tiny", shop)], None, None, None)
    state_file.close()
    out, at = tmp_path / "out", ("--warehouse", settings.warehouse)
    out.mkdir()
    for verb in (
        ("load",),
        ("export", "observed_return_rate", "--rows", "numerator", "--out", out / "returns.csv"),
        ("export", "sold_units", "--rows", "numerator", "--out", out / "sales.csv"),
        ("close", "2025-12", "--approver", "A. Martin"),
        ("status",),
        ("reasons",),
    ):
        code, said, err = ends(capsys, monkeypatch, "--log", out / "run.log", *verb, *at)
        assert code == 0, err
        (out / f"{verb[0]}.txt").write_text(said + err)
    raw = b"".join(p.read_bytes() for p in settings.raw.rglob("*") if p.suffix in (".csv", ".json", ".jsonl", ".txt"))
    planted = {key for key, place in planter.planted.items() if not place.startswith("odoo")}
    assert {(k.lower(), int(n)) for k, n in MARKER.findall(raw.decode("latin-1"))} == planted
    state_file = state.State(settings.warehouse)
    assert set(state_file.statuses().values()) == {"published"}
    state_file.close()
    assert (out / "sales.csv").read_text().count("\n") > (30 if IS_WHOLE else 15)
    assert list((settings.warehouse / "closed").rglob("*.parquet"))
    told = {place: sorted({planter.planted[m] for m in kept}) for place, kept in found_in(settings, out).items()}
    assert told == {}


def test_shopify_keeps_no_marker(settings: Settings, tmp_path: Path) -> None:
    count = 0

    def plant(value: Any, key: str = "") -> Any:
        nonlocal count
        if isinstance(value, dict):
            return {k: plant(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [plant(v, key) for v in value]
        if (
            isinstance(value, str)
            and re.search("(?i)name|mail|phone|address|city|zip|note|company|title|ip$", key)
            and key not in ("displayName", "title", "tracking_company")
        ):
            count += 1
            return marker("email" if key == "email" else "words", count % 900)
        return value

    (tmp_path / "orders.json").write_text(json.dumps(plant({"orders": [ORDER]})))
    load(settings, [tmp_path / "orders.json"], source="shopify")
    assert count > 0
    assert found_in(settings) == {}
