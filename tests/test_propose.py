"""Proposing a mapping.

Over headings of many systems and six languages every proposal loads and gives the right units and money.
"""

import gzip
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest
from sqlalchemy import select

from pipelines import cli
from pipelines.errors import SourceError
from pipelines.load import land, run
from pipelines.settings import Settings
from pipelines.sources.propose import propose
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import build_path, current_id

pytestmark = pytest.mark.usefixtures("facts_alone")

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Case:
    """Headings of a system with a few rows, and what they must give."""

    name: str
    content: str
    expected: dict[str, float]

    @property
    def source(self) -> str:
        return self.name.split(".")[0]


def corpus() -> list[Case]:
    cases = []
    for part in re.split(r"(?m)^## ", (FIXTURES / "headings.txt").read_text(encoding="utf-8"))[1:]:
        head, content = part.split("\n", 1)
        name, *numbers = head.split()
        cases.append(Case(name, content.strip("\n") + "\n", {k: float(v) for k, v in (n.split("=") for n in numbers)}))
    return cases


def loaded(folder: Path, cases: list[Case]) -> dict[str, dict[str, Any]]:
    """Propose a mapping for every case, load them all into one warehouse, and give the numbers by source."""
    settings = Settings(warehouse=folder / "warehouse")
    settings.warehouse.mkdir()
    state_file = state.State(settings.warehouse)
    numbers: dict[str, dict[str, Any]] = {case.source: {} for case in cases}
    for case in cases:
        file = folder / case.source / case.name
        file.parent.mkdir()
        file.write_text(case.content, encoding="utf-8")
        mapping = file.with_suffix(".yaml")
        mapping.write_text(propose(file).yaml, encoding="utf-8")
        land.begin(state_file, [file], str(mapping), case.source, None)  # built once, for all of them
    state_file.close()
    run.load(settings)
    build = duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)
    for key, sql in (
        ("sold", "SELECT source, sum(units_sold) FROM fact_order_line GROUP BY 1"),
        ("back", "SELECT source, sum(units) FROM fact_return_line GROUP BY 1"),
        ("flagged", "SELECT source, count(return_flag)::DOUBLE FROM fact_order_line GROUP BY 1"),
        ("refunded", "SELECT source, sum(amount)::DOUBLE FROM fact_refund GROUP BY 1"),
        ("flagged", "SELECT source, count(return_flag) FROM fact_order_line GROUP BY 1"),
    ):
        for source, number in build.execute(sql).fetchall():
            numbers[source][key] = float(number)
    build.close()
    state_file = state.State(settings.warehouse)
    for row in state_file.rows(select(state_tables.quarantine)):
        fault = (row["thing"], row["line"], row["rules"], row["value"])
        numbers[row["source"]].setdefault("quarantined", []).append(fault)
    state_file.close()
    return numbers


def test_every_proposal_loads_and_gives_the_right_units(tmp_path: Path) -> None:
    cases = corpus()
    assert len(cases) > 60
    cases = cases[::6]  # all of them are part of the evidence
    numbers = loaded(tmp_path, cases)
    wrong = {
        case.name: (case.expected, numbers[case.source])
        for case in cases
        if any(numbers[case.source].get(k, 0) != v for k, v in case.expected.items())
    }
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


def facts(folder: Path, *files: Path, queries: tuple[str, ...]) -> list[list[tuple[Any, ...]]]:
    """Load files by the mapping that is proposed for them, and ask the build."""
    mapping = folder / "proposed.yaml"
    mapping.write_text(propose(list(files)).yaml, encoding="utf-8")
    settings = Settings(warehouse=folder / "warehouse")
    report = run.load(settings, list(files), source=str(mapping))
    assert not any(count["quarantined"] for count in report.counts + report.derived)
    build = duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)
    answers = [build.execute(query).fetchall() for query in queries]
    build.close()
    return answers


def written(folder: Path, **texts: str) -> list[Path]:
    paths = [folder / f"{name}.csv" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


BOUND = (
    "SELECT o.order_line_id, r.units, r.refund_amount::DOUBLE FROM fact_return_line r JOIN fact_order_line o USING"
    " (order_line_key) ORDER BY 1"
)
LINES = (
    "Order Number,Order Date,SKU,Qty,Unit"
    " Price,Country\n1001,2026-04-01,A,1,20.00,FR\n1001,2026-04-01,B,2,30.00,FR\n1002,2026-04-02,A,1,20.00,FR\n"
)


def test_an_order_and_a_sku_name_the_line_that_a_return_of_another_file_is_of(tmp_path: Path) -> None:
    files = written(
        tmp_path,
        orders=LINES,
        returns=(
            "RMA,Order Number,SKU,Qty,Return Date,Refund Date,Refund Amount\nR1,1001,B,1,2026-04-09,2026-04-12,36.00\n"
        ),
    )
    assert facts(tmp_path, *files, queries=(BOUND,)) == [[("orders:1001/B/1", 1, 36.0)]]


def test_lines_take_date_country_and_status_from_the_table_of_their_orders(tmp_path: Path) -> None:
    files = written(
        tmp_path,
        orders="id,created_at,currency,country_code,status\n1001,2026-04-01T10:00:00Z,EUR,FR,complete\n1002,2026-04-02T10:00:00Z,EUR,DE,cancelled\n",
        order_items="id,order_id,sku,quantity,price\n1,1001,A,1,20.00\n2,1001,B,2,30.00\n3,1002,A,1,20.00\n",
        returns=(
            "id,order_item_id,quantity,reason,created_at,received_at\n501,2,1,too"
            " small,2026-04-06T10:00:00Z,2026-04-09T10:00:00Z\n"
        ),
        products="sku,name,category,cost_price,weight_kg\nA,Lamp,Lamps,8.00,1.2\nB,Desk,Desks,12.00,9\n",
    )
    sold = (
        "SELECT order_line_id, country, units_sold, net_amount::DOUBLE, cost_amount::DOUBLE, category FROM"
        " fact_order_line ORDER BY 1"
    )
    assert facts(tmp_path, *files, queries=(sold, BOUND)) == [
        [("orders:1", "FR", 1, 20.0, 8.0, "Lamps"), ("orders:2", "FR", 2, 60.0, 24.0, "Desks")],
        [("orders:2", 1, None)],
    ]


def test_exports_that_overlap_are_one_table_and_count_a_row_once(tmp_path: Path) -> None:
    head = LINES.split("\n", 1)[0] + "\n"
    march, april = head + "901,2026-03-01,A,1,20.00,FR\n", LINES + "901,2026-03-01,A,1,20.00,FR\n"
    files = written(tmp_path, **{"orders_2026-03": march, "orders_2026-04": april})
    assert facts(tmp_path, *files, queries=("SELECT sum(units_sold) FROM fact_order_line",)) == [[(5,)]]


def test_returns_that_name_whole_orders_bring_back_all_their_lines(tmp_path: Path) -> None:
    files = written(tmp_path, orders=LINES, returns="Order Number,Return Date,Reason\n1001,2026-04-09,Changed mind\n")
    assert facts(tmp_path, *files, queries=(BOUND,)) == [[("orders:1001/A/1", 1, None), ("orders:1001/B/1", 2, None)]]


def test_a_workbook_of_sheets_is_one_mapping(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    orders, returns = book.active, book.create_sheet("Retours")
    assert orders is not None
    orders.title = "Commandes"
    for row in (
        ["Export du 1er mai"],
        [],
        ["N° commande", "Date commande", "Référence", "Quantité", "Prix HT"],
        ["C1", datetime(2026, 4, 1), "R1", 2, 10.5],
        ["Total", None, None, 2, 21],
    ):
        orders.append(row)
    for row in (
        ["N° commande", "Référence", "Date retour", "Motif"],
        ["C1", "R1", datetime(2026, 4, 20), "Trop petit"],
    ):
        returns.append(row)
    book.save(tmp_path / "boutique.xlsx")
    sold = "SELECT ordered_on::VARCHAR, units_sold, net_amount::DOUBLE, country FROM fact_order_line"
    assert facts(tmp_path, tmp_path / "boutique.xlsx", queries=(sold, BOUND)) == [
        [("2026-04-01", 2, 21.0, "FR")],
        [("boutique:C1/R1/1", 1, None)],
    ]


def test_a_sheet_of_returns_that_says_what_was_paid_gives_both(tmp_path: Path) -> None:
    """Without a SKU, by the line of the order: one unit came back on 14 March, 24 were paid on the 22nd."""
    orders = (
        "Order ID,Order Line,Order Date,SKU,Quantity,Net"
        " Amount,Currency,Country\nA0,1,2026-03-02,TEE,1,20,EUR,FR\nA1,1,2026-03-02,TEE,1,20,EUR,FR\n"
    )
    returns = (
        "RMA,Order ID,Order Line,Return Date,Refund Amount,Refund Date,Currency\nR1,A0,1,2026-03-14,24,2026-03-22,EUR\n"
    )
    paid = "SELECT amount::DOUBLE, refunded_on::VARCHAR FROM fact_refund"
    back = "SELECT units, confirmed_on::VARCHAR FROM fact_return_line WHERE order_line_key IS NOT NULL"
    files = written(tmp_path, orders=orders, returns=returns)
    assert facts(tmp_path, *files, queries=(back, paid)) == [[(1, "2026-03-14")], [(24.0, "2026-03-22")]]


def test_a_header_without_rows_is_said(tmp_path: Path) -> None:
    (file,) = written(tmp_path, orders=LINES.splitlines()[0] + "\n")
    with pytest.raises(SourceError, match=r"orders\.csv has a header and no row"):
        propose(file)


def test_parquet_and_packed_files_are_sampled_too(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(LINES)
    duckdb.sql(f"COPY (FROM read_csv('{tmp_path / 'orders.csv'}')) TO '{tmp_path / 'orders.parquet'}'")
    with gzip.open(tmp_path / "orders.csv.gz", "wt") as packed:
        packed.write(LINES)
    texts = [propose(tmp_path / name).tables[0].roles for name in ("orders.csv", "orders.parquet", "orders.csv.gz")]
    assert texts[0] == texts[1] == texts[2]


def test_every_assumption_is_said_beside_its_line(tmp_path: Path) -> None:
    (file,) = written(tmp_path, sales="Order,Order date,SKU,Price\n1,04/03/2026,A,$20.00\n2,04/05/2026,B,$30.00\n")
    lines = [line.strip() for line in propose(file).yaml.splitlines() if "assumed" in line]
    assert lines == [
        "time_zone: Etc/UTC  # assumed: the zone of times without one, and of days",
        "constants: {currency: USD, country: ZZ}  # assumed: currency and country, where no column says them",
        'dates: ["%m/%d/%Y"]  # assumed: month before day, for every day is 12 or less',
        "units: {value: 1}  # assumed: one unit a row",
        "net_amount: Price  # assumed: without tax",
    ]


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (("13/04/2026", "04/05/2026"), '["%d/%m/%Y"]'),
        (("04/13/2026", "04/05/2026"), '["%m/%d/%Y"]'),
        (("2026-04-13", "2026-04-05"), None),
        (("13.4.26", "1.5.2026"), '["%d.%m.%y", "%d.%m.%Y"]'),
        (("1775037600", "1775124000"), '["epoch_s"]'),
        (("20260413", "20260501"), '["%Y%m%d"]'),
        (("Apr 13, 2026 1:05 PM", "May 1, 2026 11:00 AM"), '["%b %d, %Y %I:%M %p"]'),
    ],
)
def test_days_above_12_say_the_order_of_day_and_month(
    tmp_path: Path, dates: tuple[str, str], order: str | None
) -> None:
    text = "".join(f'{n},"{day}",A,1,5.00\n' for n, day in enumerate(dates))
    (file,) = written(tmp_path, sales="order id,order date,sku,qty,net amount\n" + text)
    proposed = propose(file).yaml
    assert "every day is 12" not in proposed
    assert f"dates: {order}" in proposed if order else "dates:" not in proposed


def test_a_number_of_a_document_is_no_sku(tmp_path: Path) -> None:
    (file,) = written(
        tmp_path,
        moves="Date,Reference,Item,Qty,Total\n2026-04-01,WH/OUT/00011,CHAIR,5,50\n2026-04-02,WH/OUT/00012,CHAIR,1,10\n",
    )
    assert propose(file).columns["product_id"] == "Item"


def test_what_shows_neither_orders_nor_returns_is_said_and_nothing_is_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = written(tmp_path, colours="colour,size\nred,M\n")
    monkeypatch.setattr("sys.argv", ["backhaul", "map", str(file)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.out) == (1, "")
    assert "colours.csv shows neither orders nor returns: size (size), colour (colour). Orders need" in printed.err
    assert len(printed.err) < 330


def test_the_last_line_is_the_command_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = written(
        tmp_path, **{"my orders": LINES, "returns": "RMA,Order Number,SKU,Return Date\nR1,1001,B,2026-04-09\n"}
    )
    monkeypatch.setattr("sys.argv", ["backhaul", "map", *map(str, files)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("# Proposed for my orders.csv, returns.csv.")
    assert printed.err.splitlines()[-1] == f"backhaul load '{files[0]}' {files[1]} --source 'my orders.yaml'"


def test_months_of_another_language_are_read(tmp_path: Path) -> None:
    (file,) = written(
        tmp_path,
        ventes=(
            "Commande;Date;SKU;Quantité;Prix HT\n1;5 mars 2026;A;1;10,00\n2;12 avr. 2026;B;1;10,00\n3;1 août"
            " 2026;B;1;10,00\n"
        ),
    )
    days = "SELECT ordered_on::VARCHAR FROM fact_order_line ORDER BY 1"
    assert facts(tmp_path, file, queries=(days,)) == [[("2026-03-05",), ("2026-04-12",), ("2026-08-01",)]]


def test_orders_that_are_listed_as_returned_without_a_date_are_marked(tmp_path: Path) -> None:
    files = written(tmp_path, orders=LINES, returns="Returned,Order Number\nYes,1001\n")
    marked = "SELECT order_id, return_flag, count(*) FROM fact_order_line GROUP BY ALL ORDER BY 1"
    assert facts(tmp_path, *files, queries=(marked,)) == [[("orders:1001", "order", 2), ("orders:1002", None, 1)]]


def test_returns_that_stand_within_their_orders_are_proposed_with_them(tmp_path: Path) -> None:
    items = [
        {"id": "L1", "sku": "A", "quantity": 1, "price": 10.0},
        {"id": "L2", "sku": "B", "quantity": 2, "price": 20.0},
    ]
    back = {
        "id": "R1",
        "created_at": "2026-04-09T10:00:00Z",
        "items": [{"id": "X1", "line_id": "L2", "sku": "B", "quantity": 1, "reason": "too small"}],
    }
    order = {"id": "1001", "created_at": "2026-04-01T10:00:00Z", "currency": "EUR", "country": "FR", "items": items}
    file = tmp_path / "orders.json"
    file.write_text(json.dumps({"data": {"orders": [{**order, "returns": [back]}]}}), encoding="utf-8")
    assert facts(tmp_path, file, queries=("SELECT sum(units_sold) FROM fact_order_line", BOUND)) == [
        [(3,)],
        [("orders:L2", 1, None)],
    ]


def test_steps_of_an_order_are_no_returns(tmp_path: Path) -> None:
    """An order is approved and handed to a carrier too: only a heading of returns makes such a date one of a return."""
    files = written(
        tmp_path,
        orders=(
            "order_id,order_status,order_purchase_timestamp,order_approved_at,order_delivered_carrier_date,order_delivered_customer_date\ne1,delivered,2026-04-01"
            " 10:00:00,2026-04-01 11:00:00,2026-04-03 10:00:00,2026-04-06 10:00:00\ne2,canceled,2026-04-02"
            " 10:00:00,2026-04-02 11:00:00,,\n"
        ),
        order_items="order_id,order_item_id,product_id,price\ne1,1,A,58.90\ne1,2,A,58.90\ne2,1,B,199.00\n",
    )
    sold = "SELECT order_line_id, units_sold, shipped_at IS NOT NULL FROM fact_order_line ORDER BY 1"
    assert facts(tmp_path, *files, queries=(sold, "SELECT count(*) FROM fact_return_line")) == [
        [("orders:e1-1", 1, True), ("orders:e1-2", 1, True)],
        [(0,)],
    ]


def test_files_that_a_source_knows_need_no_mapping(tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    line = {"id": 2, "sku": "A", "quantity": 1, "price": "10.00", "total_discount": "0.00", "tax_lines": []}
    order = {
        "id": 1,
        "name": "#1",
        "created_at": "2026-04-01T10:00:00Z",
        "updated_at": "2026-04-01T10:00:00Z",
        "currency": "EUR",
        "taxes_included": False,
    }
    file.write_text(
        json.dumps({"orders": [{**order, "financial_status": "paid", "line_items": [line], "refunds": []}]})
    )
    with pytest.raises(
        SourceError, match=r"orders\.json needs no mapping, for shopify knows it\. Load it: backhaul load"
    ):
        propose(file)


def _nested(of_return: dict[str, Any]) -> str:
    """Give a document of two orders, the first with a return of these fields, as a shop's interface gives it."""
    goods = [{"sku": "A", "quantity": 1, "price": "10.00"}]
    orders = [
        {"id": n, "created_at": f"2026-02-0{n}T10:00:00Z", "currency": "EUR", "items": goods, "returns": back}
        for n, back in ((1, [{"sku": "A", "quantity": 1, **of_return}]), (2, []))
    ]
    return json.dumps({"orders": orders})


@pytest.mark.parametrize(
    ("of_return", "events"),
    [
        ({"received_at": "2026-03-10T10:00:00Z"}, "received: returns.received_at"),
        ({"date": "2026-03-10T10:00:00Z"}, "received: returns.date"),
        ({"created_at": "2026-03-10T10:00:00Z"}, "requested: returns.created_at"),
        (
            {"received_at": "2026-03-10T10:00:00Z", "refunded_at": "2026-03-12T10:00:00Z"},
            "received: returns.received_at refunded: returns.refunded_at",
        ),
    ],
)
def test_the_day_of_an_order_is_no_day_of_the_returns_within_it(
    tmp_path: Path, of_return: dict[str, Any], events: str
) -> None:
    file = tmp_path / "orders.json"
    file.write_text(_nested(of_return))
    proposal = propose(file)
    within = re.search(r"events:\n((?: {10}.*\n)+)", proposal.yaml)
    assert within is not None
    assert " ".join(within[1].split()) == events
    assert "created_at" not in proposal.unused


def test_the_day_around_the_lines_of_a_return_is_its_own(tmp_path: Path) -> None:
    file = tmp_path / "returns.json"
    lines = [{"sku": "A", "quantity": 1, "reason": "too small"}]
    found = {"id": "R1", "order_id": "O1", "created_at": "2026-03-10T10:00:00Z", "return_lines": lines}
    file.write_text(json.dumps({"returns": [found, {**found, "id": "R2"}]}))
    assert "requested: created_at" in propose(file).yaml


def test_codes_of_currencies_part_no_tables(tmp_path: Path) -> None:
    for month, more in ((1, ""), (2, "3,2026-02-03,A,1,USD 5,USD\n")):
        rows = f"{month},2026-0{month}-01,A,1,EUR 9,EUR\n{more}"
        (tmp_path / f"orders_{month}.csv").write_text(f"Order ID,Order Date,SKU,Qty,Price,Currency\n{rows}")
    assert propose(tmp_path).yaml.count("currency: [EUR, USD]") == 1


ORDERS = "Order ID,Order Date,SKU,Qty,Price"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        *(
            (
                f"{ORDERS},Return Date\n1,2026-01-01,A,1,9.5,2026-02-01\n2,2026-01-02,B,1,9.5,{none}\n"
                f"3,2026-01-03,A,1,9.5,{none}\n",
                "received: Return Date",
            )
            for none in ("N/A", "NULL", "None", "NaT", "-", "#N/A")
        ),
        (
            f"{ORDERS},Currency\n1,2026-01-01,A,1,CHF 20.50,CHF\n2,2026-01-02,B,1,CHF 20.50,CHF\n",
            "read: {currency: [CHF]}",
        ),
        (f"{ORDERS}\n1,46024,A,1,9.5\n2,46025,B,1,9.5\n", 'dates: ["excel"]'),
        (
            f"{ORDERS},Country/Region,State\n1,2026-01-01,A,1,9.5,United States,Texas\n2,2026-01-02,B,1,9.5,United"
            " States,Ohio\n",
            "country: {column: Country/Region",
        ),
    ],
)
def test_what_programs_and_spreadsheets_write_is_understood(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "export.csv"
    file.write_text(content)
    proposal = propose(file)
    assert said in proposal.yaml
    assert proposal.roles & {"status"} == set()


def test_of_two_columns_called_alike_a_person_chooses(tmp_path: Path) -> None:
    """A proposal says how each is named; only a mapping that names one by its place is loaded."""
    (file,) = written(tmp_path, o="order_id,date,sku,qty,amount,currency,amount\nO1,2026-03-02,P1,2,19.90,EUR,99.00\n")
    with pytest.raises(SourceError, match=r"`amount` stands twice or more.*`amount 5` or `amount 7`"):
        propose(file)
    mapping = tmp_path / "m.yaml"
    text = (
        "time_zone: Europe/Paris\nconstants: {country: FR}\ntables:\n  - file: o.csv\n    to:\n      order_line:"
        " {order_id: order_id, order_line_id: order_id, ordered_at: date, product_id: sku, units: qty,"
        " net_amount: amount 7, currency: currency}\n"
    )
    mapping.write_text(text)
    settings = Settings(warehouse=tmp_path / "warehouse")
    run.load(settings, [file], source=str(mapping))
    path = build_path(settings.warehouse, current_id(settings.warehouse) or "")
    with duckdb.connect(str(path), read_only=True) as build:
        assert build.execute("SELECT net_amount::DOUBLE FROM fact_order_line").fetchall() == [(99.0,)]
    mapping.write_text(text.replace("amount 7", "amount"))
    with pytest.raises(SourceError, match="Name it by its place, `amount 5` or `amount 7`"):
        run.load(settings, [file], source=str(mapping))


def test_exports_of_several_months_are_one_table_where_some_lack_a_column(tmp_path: Path) -> None:
    """January and March alike, February with a reason: no pattern of names tells the two shapes apart."""
    line = "{n},2026-0{n}-05,A,1,10,2026-0{n}-12"
    for month, more in ((1, ""), (2, ",too small"), (3, "")):
        head = "order_id,order_date,sku,quantity,net_price,return_date" + (",reason" if more else "")
        (tmp_path / f"orders_2026-0{month}.csv").write_text(f"{head}\n{line.format(n=month)}{more}\n")
    files = sorted(tmp_path.glob("*.csv"))
    sold = "SELECT count(*), count(DISTINCT order_id) FROM fact_order_line"
    back = "SELECT count(*), count(*) FILTER (reason = 'size_small') FROM fact_return_line"
    assert facts(tmp_path, *files, queries=(sold, back)) == [[(3, 3)], [(3, 1)]]
