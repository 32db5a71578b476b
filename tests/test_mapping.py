"""Mappings: tables of any writing load by a YAML file alone, and errors name its line."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

from pipelines.errors import MappingError, SourceError
from pipelines.load import load
from pipelines.metrics import Question, answer
from pipelines.settings import Settings
from pipelines.sources import mapping_source, source_named
from pipelines.sources.base import Export, NamedRows
from pipelines.sources.mapping import Mapping
from pipelines.sources.propose import propose
from pipelines.warehouse.build import build_path, current_build, current_id
from pipelines.warehouse.sql import connect

pytestmark = pytest.mark.usefixtures("no_rules")

ONE_TABLE = (
    "N° commande;Ligne;Date commande;Référence;Article;Taille;Quantité;Montant TTC;E-mail;Code"
    " postal;Retourné;Motif;Date retour;Date remboursement;Montant remboursé;Prénom\r\nA1;1;03/02/2025 10:15;R1;Robe"
    " Été;M;1;1 200,00 €;x@y.fr;75011;Oui;Trop petit;10/02/2025;12/02/2025;1 200,00;Zoé\r\nA1;2;03/02/2025"
    " 10:15;R2;Jupe;S;2;60,00;x@y.fr;75011;Non;;;;;Zoé\r\nA2;1;04/07/2025;R1;Robe"
    " Été;L;1;99,90;z@y.fr;69003;Oui;;;;;Léa\r\nA3;1;pas une date;R1;Robe"
    " Été;L;1;99,90;z@y.fr;69003;Non;;;;;Léa\r\nA4;1;04/02/2025\r\n"
)
SHIPMENTS = (
    "Tracking,RMA,SKU,Origin,Destination,Carrier,Picked up,Promised,Delivered,Mode,Weight g,Freight\n"
    "T1,M1,S1,DE-B,DE-L,DHL,2025-05-01 10:00,2025-05-04 18:00,2025-05-03 09:00,road,850,4.2\n"
    "T2,M2,S2,DE-B,DE-L,DHL,2025-05-02 10:00,2025-05-05 18:00,2025-05-09 09:00,train,1250,5.0\n"
    "T3,M3,S2,DE-M,DE-L,DHL,2025-05-02 10:00,,,road,1250,5.0\n"
)


def one_table(folder: Path) -> Path:
    file = folder / "commandes 2025.csv"
    file.write_bytes(ONE_TABLE.encode("cp1252"))
    return file


def two_sheets(folder: Path) -> Path:
    book = openpyxl.Workbook()
    orders, returns = book.active, book.create_sheet("Returns")
    assert orders is not None
    orders.title = "Orders"
    for row in (
        ["Line", "Order", "Ordered", "Delivered", "SKU", "Qty", "Unit price", "Customer"],
        ["L1", "O1", datetime(2025, 6, 1, 10), datetime(2025, 6, 3), "S1", 2, 10.5, "c1"],
        ["L2", "O1", datetime(2025, 6, 1, 10), None, "S2", 1, 20, "c1"],
    ):
        orders.append(row)
    for row in (
        ["Return no", "Line", "Qty", "Reason", "Requested", "Received", "Refunded", "Amount"],
        ["R1", "L1", 1, "too small", datetime(2025, 6, 5), datetime(2025, 6, 9), datetime(2025, 6, 11), 12.6],
        ["R2", "L2", 1, "faulty", datetime(2025, 6, 6), None, None, None],
    ):
        returns.append(row)
    file = folder / "shop.xlsx"
    book.save(file)
    return file


def shipments(folder: Path) -> Path:
    file = folder / "shipments.csv"
    file.write_text(SHIPMENTS)
    return file


def rows(source: Mapping, *files: Path) -> dict[str, list[dict[str, Any]]]:
    connection = connect(":memory:", threads=2)
    return {n.thing: rows_of(n, connection) for n in source.name_rows(connection, list(files), "m")}


def rows_of(named: NamedRows, connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    result = connection.execute(f"SELECT * FROM ({named.sql}) ORDER BY ALL")
    names = [d[0] for d in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def mapping(folder: Path, text: str) -> Mapping:
    (folder / "mapping.yaml").write_text(text, encoding="utf-8")
    return Mapping(folder / "mapping.yaml")


def counts(settings: Settings, *files: Path, source: str) -> dict[str, tuple[int, int, int]]:
    report = load(settings, list(files), source=source)
    assert all(c["read"] == c["accepted"] + c["duplicate"] + c["quarantined"] for c in report.counts + report.derived)
    return {c["table"]: (c["read"], c["accepted"], c["quarantined"]) for c in report.counts + report.derived}


def published(settings: Settings) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)


def test_a_one_table_file_loads_with_a_mapping_alone(tmp_path: Path, settings: Settings) -> None:
    found = counts(settings, one_table(tmp_path), source="one_table")
    assert found["order_line"] == (5, 3, 2)  # one impossible date, one row with too few fields
    assert found["return_event"] == (3, 2, 1)  # one returned without a date
    build = published(settings)
    lines = build.execute(
        "SELECT order_line_id, ordered_on::VARCHAR, units_sold, net_amount::DOUBLE, vat_amount::DOUBLE, size FROM"
        " fact_order_line ORDER BY 1"
    ).fetchall()
    assert lines == [
        ("one_table:A1-1", "2025-02-03", 1, 1000.0, 200.0, "L"),  # a SKU has one size: the file gives R1 two
        ("one_table:A1-2", "2025-02-03", 2, 50.0, 10.0, "S"),
        ("one_table:A2-1", "2025-07-04", 1, 83.25, 16.65, "L"),
    ]
    returned = build.execute(
        "SELECT order_line_key IS NOT NULL, units, reason, requested_on::VARCHAR, refund_amount::DOUBLE FROM"
        " fact_return_line"
    ).fetchall()
    assert returned == [(True, 1, "size_small", "2025-02-10", 1200.0)]
    build.close()


def test_two_sheets_load_with_a_mapping_alone(tmp_path: Path, settings: Settings) -> None:
    found = counts(settings, two_sheets(tmp_path), source="two_sheets")
    assert (found["order_line"], found["return_event"], found["refund"]) == ((2, 2, 0), (4, 4, 0), (1, 1, 0))
    build = published(settings)
    returned = build.execute(
        "SELECT return_line_id, product_id, reason, confirmed_at IS NOT NULL, refund_amount::DOUBLE FROM"
        " fact_return_line ORDER BY 1"
    ).fetchall()
    assert returned == [
        ("two_sheets:R1", "two_sheets:S1", "size_small", True, 12.6),
        ("two_sheets:R2", "two_sheets:S2", "quality_defect", False, None),
    ]
    build.close()


def test_a_shipment_log_loads_with_a_mapping_alone(tmp_path: Path, settings: Settings) -> None:
    found = counts(settings, shipments(tmp_path), source="shipment_log")
    assert (found["chain_element"], found["return_event"], found["place"]) == ((3, 3, 0), (5, 5, 0), (3, 3, 0))
    build = published(settings)
    legs = build.execute(
        "SELECT parcel_id, mode, mass_kg, cost_amount::DOUBLE FROM fact_return_leg ORDER BY 1"
    ).fetchall()
    assert legs == [
        ("shipment_log:T1", "truck", 0.85, 4.2),
        ("shipment_log:T2", "rail", 1.25, 5.0),
        ("shipment_log:T3", "truck", 1.25, 5.0),
    ]
    promised = build.execute(
        "SELECT return_id, due_at::DATE, duration, responsible, date_fault FROM estimate_promise WHERE promise_id ="
        " 'delivery' ORDER BY 1"
    ).fetchall()
    assert promised == [
        ("shipment_log:M1", date(2025, 5, 4), 3, "carrier", None),  # 1 to 4 May
        ("shipment_log:M2", date(2025, 5, 5), 3, "carrier", None),  # 2 to 5 May
        ("shipment_log:M3", None, None, "carrier", "no promised date"),
    ]
    build.close()
    with current_build(settings.warehouse) as opened:  # a parcel's own date is enough to judge its promise
        told = answer(opened, "promise_kept", Question(where={"promise": ["delivery"]})).iloc[0]
    assert (told["status"], told["n"]) == ("greyed", 2)  # one parcel of three has no date: too many for a rate
    assert told["reason"].startswith("between 33.3% and 66.7%")


TWO_DATES = """
name: two_dates
time_zone: Europe/London
constants: {currency: GBP, country: GB}
tables:
  - file: "log.csv"
    to:
      return_event:
        return_line_id: Row
        return_id: Row
        product_id: Article
        events: {received: In, refunded: Out}
        promise: {name: credit, from: received, to: refunded, within: 5, unit: business_days}
"""


def test_any_log_with_two_dates_is_judged_by_a_promise_of_so_much_time(tmp_path: Path, settings: Settings) -> None:
    """Five business days from Friday 6 June end on Friday 13 June.

    From Friday 2 May over a bank holiday on Monday 12 May.
    """
    (tmp_path / "log.csv").write_text(
        "Row,Article,In,Out\n"
        "kept,A,2025-06-06 10:00,2025-06-13 23:59\n"
        "late,A,2025-06-06 10:00,2025-06-14 00:10\n"
        "holiday,A,2025-05-02 10:00,2025-05-12 18:00\n"
        "open,A,2025-06-06 10:00,\n"
        "young,A,2025-09-05 10:00,\n"
    )
    own = mapping(tmp_path, TWO_DATES).path
    assert counts(settings, tmp_path / "log.csv", source=str(own))["return_event"] == (8, 8, 0)
    with current_build(settings.warehouse) as build:
        told = {
            s: answer(build, f"promise_{s}", Question(where={"promise": ["credit"]}))["value"].iloc[0]
            for s in ("broken", "undetermined")
        }
        kept = answer(build, "promise_kept", Question(where={"promise": ["credit"]})).iloc[0]
    assert (kept["value"], kept["n"], told) == (0.5, 4, {"broken": 2, "undetermined": 1})


@pytest.mark.parametrize(
    ("promise", "why"),
    [
        ("{from: received, to: refunded}", "`by:`"),
        ("{from: received, to: refunded, within: 5, by: Out}", "`within:`"),
        ("{from: received, to: refunded, within: -1}", "is no time"),
        ("{from: received, to: refunded, within: 5, unit: weeks}", "`weeks` is no unit"),
    ],
)
def test_a_promise_of_no_time_names_its_line(tmp_path: Path, promise: str, why: str) -> None:
    wrong = TWO_DATES.replace("{name: credit, from: received, to: refunded, within: 5, unit: business_days}", promise)
    with pytest.raises(MappingError, match=f"line 13.*{why}"):
        mapping(tmp_path, wrong)


def test_the_same_file_again_changes_nothing(tmp_path: Path, settings: Settings) -> None:
    file = one_table(tmp_path)
    first = load(settings, [file], source="one_table")
    second = load(settings, [file], source="one_table")
    assert (second.skipped, second.is_new_build, second.build_id) == ([file.name], False, first.build_id)


def test_a_mapping_of_ones_own_is_given_by_its_path(tmp_path: Path, settings: Settings) -> None:
    own = mapping(tmp_path, propose(shipments(tmp_path)).yaml).path
    assert counts(settings, tmp_path / "shipments.csv", source=str(own))["chain_element"] == (3, 3, 0)


ORDERS = """
time_zone: Europe/Paris
constants: {currency: EUR, country: FR}
tables:
  - file: "*.csv"
    to:
      order_line:
        order_line_id: id
        ordered_at: at
        product_id: sku
        units: qty
        net_amount: {expression}
"""


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("price", "12.50"),
        ("{times: [qty, price]}", "25"),
        ("{sum: [price, tax, 1]}", "16"),
        ("{minus: [price, tax]}", "10"),
        ("{divide: [price, qty]}", "6.25"),
        ("{divide: [price, nothing]}", None),
        ("{first: [nothing, price]}", "12.50"),
        ("{value: 3}", "3"),
        ("{column: word, map: {Cher: 99}, otherwise: 1}", "99"),
        ("{minus: [price, {times: [tax, 2]}]}", "7.5"),
    ],
)
def test_expressions(tmp_path: Path, expression: str, expected: str | None) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,at,sku,qty,price,tax,nothing,word\n1,2026-01-10,S,2,12.50,2.50,,cher\n")
    found = rows(mapping(tmp_path, ORDERS.replace("{expression}", expression)), file)["order_line"][0]["net_amount"]
    assert (None if found is None else float(found)) == (None if expected is None else float(expected))


def test_text_expressions_and_zones(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(
        "id,at,sku,qty,price,other\n1,2026-07-10 12:00,S-M,2,1,07/11/2026\n1,2026-07-10T12:00:00-04:00,S-M,2,1,\n"
    )
    text = (
        ORDERS.replace("{expression}", "price")
        + "        order_id: {join: [id, sku], with: /}\n        channel: {start: [sku, 1]}\n        shipped_at:"
        " {column: other, date: '%m/%d/%Y'}\n        delivered_at: {column: other, date: '%m/%d/%Y', plus_days: 2}\n"
    )
    first, second = sorted(rows(mapping(tmp_path, text), file)["order_line"], key=lambda r: r["_line"])
    assert [first[c] for c in ("ordered_at", "order_id", "channel", "shipped_at", "delivered_at")] == [
        "2026-07-10T10:00:00Z",
        "1/S-M",
        "S",
        "2026-07-10T22:00:00Z",
        "2026-07-12T22:00:00Z",
    ]
    assert second["ordered_at"] == "2026-07-10T12:00:00-04:00"


@pytest.mark.parametrize(
    ("read", "content"),
    [
        ("{separator: ';', decimal: ','}", "id;at;sku;qty;price\n1;2026-01-10;S;2;12,50\n"),
        ("{separator: tab, encoding: utf-16}", "\ufeffid\tat\tsku\tqty\tprice\n1\t2026-01-10\tS\t2\t12.50\n"),
        ("{separator: '|', quote: \"'\", encoding: latin-1}", "id|at|sku|qty|price\n1|2026-01-10|'S'|2|12.50\n"),
        ("{header_row: 3, thousands: ','}", "report\nof today\nid,at,sku,qty,price\n1,2026-01-10,S,2,12.50\n"),
        (
            "{decimal: ',', thousands: '.', separator: ';', encoding: mac_roman}",
            "id;at;sku;qty;price\r1;2026-01-10;S;2;€ 12,50\r",
        ),
    ],
)
def test_any_writing_is_read(tmp_path: Path, read: str, content: str) -> None:
    file = tmp_path / "a.csv"
    encoding = read.split("encoding: ")[1].split("}")[0] if "encoding" in read else "utf-8"
    file.write_bytes(content.encode("utf-16-le" if encoding == "utf-16" else encoding))
    text = ORDERS.replace("tables:", f"read: {read}\ntables:").replace("{expression}", "price")
    (row,) = rows(mapping(tmp_path, text), file)["order_line"]
    assert (row["order_line_id"], float(row["net_amount"]), row["_broken"], row["_line"]) == (
        "1",
        12.5,
        None,
        4 if "row: 3" in read else 2,
    )


def test_ndjson_and_parquet_tables(tmp_path: Path) -> None:
    source = mapping(tmp_path, ORDERS.replace('"*.csv"', '"a.*"').replace("{expression}", "price"))
    (tmp_path / "a.ndjson").write_text('{"id": 1, "at": "2026-01-10", "sku": "S", "qty": 2, "price": 12.5}\n{"id": \n')
    found = rows(source, tmp_path / "a.ndjson")["order_line"]
    assert sorted((r["order_line_id"] or "", r["_broken"] or "") for r in found) == [
        ("", "not a JSON object"),
        ("1", ""),
    ]
    duckdb.sql(
        "COPY (SELECT 1 AS id, TIMESTAMP '2026-01-10' AS at, 'S' AS sku, 2 AS qty, 12.5 AS price) TO"
        f" '{tmp_path / 'a.parquet'}'"
    )
    (row,) = rows(source, tmp_path / "a.parquet")["order_line"]
    assert (row["ordered_at"], float(row["net_amount"])) == ("2026-01-09T23:00:00Z", 12.5)


def test_side_files_join_on_a_key_without_making_rows(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,at,sku,qty,price\n1,2026-01-10,S,2,5\n2,2026-01-10,T,1,6\n")
    (tmp_path / "costs.csv").write_text("SKU,Cost\nS,2.5\nS,9\n")
    text = ORDERS.replace('"*.csv"', '"orders.csv"').replace("{expression}", "price\n        unit_cost: cost.Cost")
    text = text.replace("    to:\n", "    join:\n      - {as: cost, file: costs.csv, on: {sku: SKU}}\n    to:\n")
    source = mapping(tmp_path, text)
    found = rows(source, tmp_path / "orders.csv", tmp_path / "costs.csv")["order_line"]
    assert [(r["order_line_id"], r["unit_cost"] and float(r["unit_cost"])) for r in found] == [("1", 2.5), ("2", None)]
    assert source.side_files([tmp_path / "orders.csv", tmp_path / "costs.csv"]) == [tmp_path / "costs.csv"]
    with pytest.raises(MappingError, match=r"line 7: no file is named costs\.csv"):
        rows(source, tmp_path / "orders.csv")


def test_rows_without_ids_get_natural_ones(tmp_path: Path) -> None:
    lines = ["A,2026-01-10,S,1,5,2026-01-20", "A,2026-01-10,S,1,5,", "B,2026-01-10,S,1,5,2026-01-21"]
    text = ORDERS.replace("order_line_id: id", "order_line_id: {key: [id, sku]}").replace("{expression}", "price")
    text += "      return_event:\n        events: {received: back}\n"
    file, turned = tmp_path / "a.csv", tmp_path / "turned.csv"
    file.write_text("\n".join(["id,at,sku,qty,price,back", *lines]) + "\n")
    turned.write_text("\n".join(["id,at,sku,qty,price,back", *reversed(lines)]) + "\n")
    source = mapping(tmp_path, text)
    found, other = rows(source, file), rows(source, turned)
    assert [r["order_line_id"] for r in found["order_line"]] == ["A/S/1", "A/S/2", "B/S/1"]
    events = [(r["order_line_id"], r["occurred_at"]) for r in found["return_event"]]
    assert events == [(r["order_line_id"], r["occurred_at"]) for r in other["return_event"]]
    assert {e[0] for e in events} <= {r["order_line_id"] for r in found["order_line"]}


MANUAL = (Path(__file__).parent.parent / "docs" / "sources.md").read_text(encoding="utf-8")
MANUAL = MANUAL[MANUAL.index("## Mappings") : MANUAL.index("## Reasons")]
EXAMPLES = re.findall(r"```\w+ (\S+)\n(.*?)```\s+```yaml\n(.*?)# ([a-z_ 0-9,]+)\n```", MANUAL, re.DOTALL)


@pytest.mark.parametrize(("name", "content", "text", "counted"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_the_examples_of_the_manual_load(tmp_path: Path, name: str, content: str, text: str, counted: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = rows(mapping(tmp_path, text), tmp_path / name)
    assert {thing: len(found[thing]) for thing in found if thing != "shop"} == {
        thing: int(number) for thing, number in (entry.split() for entry in counted.split(","))
    }
    assert not any(row["_broken"] for thing in found if thing != "shop" for row in found[thing])


def test_the_manual_has_examples() -> None:
    assert [example[0] for example in EXAMPLES] == ["orders.ndjson", "export.csv", "moves.csv", "scans.csv"]


WHEN_TABLE = MANUAL[MANUAL.index("| `when:`") : MANUAL.index("Sales and returns")]
CONDITIONS = re.findall(r"^\| `(.*?)` \|", WHEN_TABLE, re.MULTILINE)[1:]


@pytest.mark.parametrize(
    ("condition", "ids"), list(zip(CONDITIONS, ["13", "12", "123", "23", "124", "34", "1", "1"], strict=True))
)
def test_the_conditions_of_the_manual(tmp_path: Path, condition: str, ids: str) -> None:
    """Row 4 has a Qty that is no number: it is kept for the judgement, not left out unsaid."""
    file = tmp_path / "a.csv"
    file.write_text(
        "id,at,sku,qty,price,Returned,Status\n1,2026-01-10,S,2,1,Yes,done\n2,2026-01-10,FR-1,1,1,no, Shipped\n"
        "3,2026-01-10,DE-2,-1,1,x,\n4,2026-01-10,S,few,1,,cancelled\n"
    )
    text = ORDERS.replace("{expression}", "price").replace("order_line:", f"order_line:\n        when: {condition}")
    found = rows(mapping(tmp_path, text), file).get("order_line", [])
    assert "".join(sorted(row["order_line_id"] for row in found)) == ids


FLAGGED = """
time_zone: Europe/Paris
{export}
constants: {currency: EUR, country: FR}
tables:
  - file: "*.csv"
    to:
      order_line: {order_line_id: id, ordered_at: at, product_id: sku, units: qty, net_amount: price}
      return_event: {when: back, events: {received: in, refunded: out}}
"""


@pytest.mark.parametrize(
    ("text", "export"),
    [
        ("", Export()),
        ("export: added", Export()),
        ("export: whole", Export(True)),
        ("export: {whole: {since: 2026-01-01, until: 2026-01-31}}", Export(True, date(2026, 1, 1), date(2026, 1, 31))),
        ("export: {whole: {since: 2026-01-01}}", Export(True, date(2026, 1, 1))),
    ],
)
def test_a_mapping_says_what_an_export_is(tmp_path: Path, text: str, export: Export) -> None:
    assert mapping(tmp_path, FLAGGED.replace("{export}", text)).export == export


def test_the_time_of_an_export_is_a_column_or_stands_in_the_name(tmp_path: Path) -> None:
    pattern = r"exported_at: {file: 'shop-(\d{8})', date: '%Y%m%d'}"
    named = mapping(tmp_path, FLAGGED.replace("{export}", pattern))
    assert named.exported_at(Path("shop-20260701.csv")) == datetime(2026, 6, 30, 22)  # midnight in Paris
    assert named.exported_at(Path("shop-20269901.csv")) is named.exported_at(Path("shop.csv")) is None
    (tmp_path / "a.csv").write_text(
        "id,at,sku,qty,price,back,in,out,made\n1,2026-01-10,S,2,5,x,2026-01-20,,2026-07-01\n"
    )
    column = mapping(tmp_path, FLAGGED.replace("{export}", "exported_at: made"))
    found = rows(column, tmp_path / "a.csv")
    assert column.exported_at(tmp_path / "a.csv") is None
    assert {r["exported_at"] for thing in ("order_line", "return_event") for r in found[thing]} == {
        "2026-06-30T22:00:00Z"
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("export: all", "`export:` is added, whole"),
        ("export: {whole: {since: soon}}", "`since: soon` is no day"),
        ("export: {whole: {since: 2026-02-01, until: 2026-01-01}}", "is after `until:`"),
        ("exported_at: {file: '(', date: '%Y'}", "is no pattern"),
        ("exported_at: {file: 'a'}", "needs `date:`"),
    ],
)
def test_an_export_nobody_understands_names_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(MappingError, match=f"line 3: .*{sentence}"):
        mapping(tmp_path, FLAGGED.replace("{export}", text))


def test_events_without_a_date_are_listed_as_blank(tmp_path: Path) -> None:
    """Row 1 has one date of two, row 2 is not returned though a date is left, row 3 has both."""
    (tmp_path / "a.csv").write_text(
        "id,at,sku,qty,price,back,in,out\n1,2026-01-10,S,2,5,x,2026-01-20,\n2,2026-01-10,S,2,5,no,2026-01-20,\n"
        "3,2026-01-10,S,2,5,x,2026-01-20,2026-01-21\n"
    )
    connection = connect(":memory:", threads=2)
    for named in mapping(tmp_path, FLAGGED.replace("{export}", "")).name_rows(connection, [tmp_path / "a.csv"], "m"):
        if named.thing == "return_event":
            assert [r["event_id"] for r in rows_of(named, connection)] == ["1/received", "3/received", "3/refunded"]
            blank = connection.execute(f"SELECT event_id, return_line_id, _line FROM ({named.blank_sql}) ORDER BY 1")
            assert blank.fetchall() == [("1/refunded", "1", 2), ("2/received", "2", 3), ("2/refunded", "2", 3)]
        else:
            assert named.blank_sql is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("product_id: sku", "product_id: skuu"), r"line 9: the table has no column `skuu`\. Did you mean `sku`\?"),
        (("units: qty", "unit: qty"), r"line 10: `unit` is not known in `order_line`\. Did you mean `units`\?"),
        (("order_line:", "orderline:"), r"line 6: there is no log `orderline`\. Did you mean `order_line`\?"),
        (("        units: qty\n", ""), r"line 7: `order_line` needs `units`"),
        (
            ("units: qty", "units: {tims: [qty, 2]}"),
            r"line 10: `tims` is not known in an expression\. Did you mean `times`\?",
        ),
        (("units: qty", "units: {times: qty}"), r"line 10: `times:` takes a list"),
        (("currency: EUR, ", ""), r"line 7: `order_line` needs `currency` .* `constants:`"),
        (("Europe/Paris", "Paris"), r"line 1: there is no time zone `Paris`"),
        (("  - file:", "  - read: {header_row: two}\n    file:"), r"line 4: `header_row:` is the number"),
        (("ordered_at: at", "ordered_at: {column: at, plus_days: soon}"), r"line 8: `plus_days:` is a whole number"),
        (("tables:", "table:"), r"line 3: `table` is not known"),
        (("units: qty", "units: [qty"), r"line 1\d: not YAML"),
        (("file:", "read: {sheets: A}\n    file:"), r"line 4: `sheets` is not known under `read:`"),
        (
            (
                "      order_line:",
                "      return_event:\n        order_line_id: id\n        events: {recieved: at}\n      order_line:",
            ),
            r"line 8: `recieved` is not known under `events:`\. Did you mean `received`\?",
        ),
    ],
)
def test_errors_name_the_line(tmp_path: Path, change: tuple[str, str], sentence: str) -> None:
    (tmp_path / "a.csv").write_text("id,at,sku,qty,price\n1,2026-01-10,S,2,5\n")
    text = ORDERS.lstrip("\n").replace("{expression}", "price")
    assert change[0] in text
    with pytest.raises(MappingError, match=r"^mapping\.yaml " + sentence):
        rows(mapping(tmp_path, text.replace(*change)), tmp_path / "a.csv")


def test_a_file_nobody_takes_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("x")
    with pytest.raises(SourceError, match=r"b\.txt: no table of mapping\.yaml takes a file of this name"):
        rows(mapping(tmp_path, ORDERS.replace("{expression}", "price")), tmp_path / "b.txt")


def test_a_mapping_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="backhaul map FILE"):
        mapping_source(tmp_path / "none.yaml")


@pytest.mark.parametrize("make", [one_table, two_sheets, shipments])
def test_a_proposal_loads_as_it_stands(tmp_path: Path, make: Any) -> None:
    file = make(tmp_path)
    found = rows(mapping(tmp_path, propose(file).yaml), file)
    shipped = {one_table: "one_table", two_sheets: "two_sheets", shipments: "shipment_log"}[make]
    wanted = rows(source_named(shipped), file)  # type: ignore[arg-type]
    for thing in ("order_line", "return_event", "refund", "chain_element"):
        assert len(found.get(thing, [])) == len(wanted.get(thing, [])), thing


def test_a_proposal_says_what_it_found_and_what_is_missing(tmp_path: Path) -> None:
    proposal = propose(one_table(tmp_path))
    assert proposal.columns["ordered_at"] == "Date commande"
    assert proposal.columns["refund_amount"] == "Montant remboursé"
    assert proposal.unused == ["Prénom"]
    assert [page for page, is_filled in proposal.pages.items() if is_filled] == [
        "Today",
        "Returns",
        "Products",
        "Refunds",
    ]
    assert "a unit cost (pages Money)" in proposal.unlocks
    assert "encoding: cp1252" in proposal.yaml
    assert 'decimal: ","' in proposal.yaml


@pytest.mark.parametrize(
    ("columns", "unlocks"),
    [
        ("order_id,order_date,sku,qty,price", "a return date (pages Returns, Products)"),
        ("order_id,order_date,qty,price,return_date,refund_date", "a SKU (pages Today, Returns, Products)"),
        ("order_id,order_date,sku,qty,price,cost", "a return date (pages Returns, Products, Money)"),
    ],
)
def test_the_one_missing_column_that_unlocks_most(tmp_path: Path, columns: str, unlocks: str) -> None:
    row = {"order_id": "1", "sku": "A", "qty": "1", "price": "20.00", "cost": "8.00"}
    file = tmp_path / "a.csv"
    file.write_text(columns + "\n" + ",".join(row.get(c, "2026-01-31") for c in columns.split(",")) + "\n")
    assert unlocks in propose(file).unlocks


def test_american_dates_and_thousands_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('order_id,order_date,sku,qty,price\n1,12/31/2025,S,1,"$1,200.50"\n2,01/02/2026,S,1,$5.00\n')
    proposal = propose(file)
    assert 'dates: ["%m/%d/%Y"]' in proposal.yaml
    assert "currency: USD" in proposal.yaml
    first, _ = sorted(rows(mapping(tmp_path, proposal.yaml), file)["order_line"], key=lambda r: r["_line"])
    assert (float(first["net_amount"]), first["ordered_at"]) == (1200.5, "2025-12-31T00:00:00Z")


def test_lines_numbered_within_their_order_are_named_by_both_in_every_sheet(tmp_path: Path, settings: Settings) -> None:
    book = openpyxl.Workbook()
    orders, returns = book.active, book.create_sheet("Returns")
    assert orders is not None
    orders.title = "Orders"
    for row in (
        ["Order No", "Line", "Order date", "SKU", "Qty", "Prix unitaire HT", "Country"],
        ["A1", 1, datetime(2025, 6, 1), "S1", 2, 10, "Allemagne"],
        ["A2", 1, datetime(2025, 6, 2), "S2", 3, 20, "FR"],
    ):
        orders.append(row)
    for row in (
        ["Return No", "Order No", "Line", "Units returned", "Received on"],
        ["R1", "A2", 1, 2, datetime(2025, 6, 9)],
    ):
        returns.append(row)
    file = tmp_path / "shop.xlsx"
    book.save(file)
    load(settings, [file], source=str(mapping(tmp_path, propose(file).yaml).path))
    build = published(settings)
    bound = "SELECT o.order_line_id, r.units FROM fact_return_line r JOIN fact_order_line o USING (order_line_key)"
    assert build.execute(bound).fetchall() == [("shop:A2-1", 2)]
    sold = build.execute("SELECT country, net_amount::DOUBLE FROM fact_order_line ORDER BY 1").fetchall()
    assert sold == [("DE", 20.0), ("FR", 60.0)]  # the price of a unit, times the units
    build.close()


def test_modes_are_known_however_they_are_capitalised(tmp_path: Path) -> None:
    file = tmp_path / "shipments.csv"
    file.write_text("Tracking,Ship date,Mode,Distance km,Country\nT1,2025-05-01,Air,450,FR\nT2,2025-05-01,Road,9,FR\n")
    found = rows(mapping(tmp_path, propose(file).yaml), file)
    assert [(r["mode"], float(r["distance_km"])) for r in found["chain_element"]] == [("air", 450), ("truck", 9)]
    assert {r["country"] for r in found["return_event"]} == {"FR"}


def test_an_empty_or_unknown_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(SourceError, match=r"a\.csv is empty"):
        propose(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\x00\x01\n\x00")
    with pytest.raises(SourceError, match="is no text: it holds zero bytes"):
        propose(tmp_path / "b.csv")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n")
    with pytest.raises(SourceError, match=r"is a PDF document, .* Give a CSV, spreadsheet"):
        propose(tmp_path / "a.pdf")
    (tmp_path / "a.txt").write_text("nothing of use\nnone\n")
    with pytest.raises(SourceError, match=r"a\.txt shows neither orders nor returns: no heading we know\."):
        propose(tmp_path / "a.txt")
