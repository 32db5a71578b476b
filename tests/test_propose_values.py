"""What values say of a column that its heading leaves open, told by small files of kinds that shops have."""

from pathlib import Path

import pytest

from pipelines.sources.propose import propose
from tests.test_propose import facts, written

pytestmark = pytest.mark.usefixtures("facts_alone")

HEAD = "Order ID,Order Line,Order Date,SKU,Quantity,Net Amount,Country"
SOLD = "SELECT sum(units_sold), sum(net_amount)::DOUBLE FROM fact_order_line"
BACK = "SELECT coalesce(sum(units), 0) FROM fact_return_line"
PAID = "SELECT currency, sum(amount)::DOUBLE FROM fact_refund GROUP BY 1 ORDER BY 1"


@pytest.mark.parametrize(
    ("content", "sold"),
    [
        # points between three digits, where days have points too, part thousands
        (
            "Auftragsnummer;Position;Bestelldatum;Artikelnummer;Menge;Nettobetrag;Land\n"
            "A1;1;15.03.2026;SOFA-1;1;1.234;DE\nA2;1;16.03.2026;STUHL;2;950;DE\n",
            (3, 2184.0),
        ),
        # where one is followed by fewer, or begins with nothing, they are decimals
        (
            "Auftragsnummer;Position;Bestelldatum;Artikelnummer;Menge;Nettobetrag;Land\n"
            "A1;1;15.03.2026;SOFA-1;1;1.234;DE\nA2;1;16.03.2026;STUHL;2;9.5;DE\n",
            (3, 10.734),
        ),
        # the same goods cost the same whether one, two or three are sold: it is the price of one
        (
            HEAD.replace("Net Amount", "Net Price")
            + "\nA1,1,2026-03-01,TEE,1,20.00,FR\nA2,1,2026-03-02,TEE,2,20.00,FR\nA3,1,2026-03-03,TEE,3,20.00,FR\n",
            (6, 120.0),
        ),
        # of one with two numbers of units nobody can tell
        (
            HEAD.replace("Net Amount", "Net Price")
            + "\nA1,1,2026-03-01,TEE,1,20.00,FR\nA2,1,2026-03-02,TEE,2,20.00,FR\n",
            (3, 40.0),
        ),
        # rates of tax with their sign
        (
            "Order ID,Order Line,Order Date,SKU,Quantity,Line Total (incl. VAT),VAT Rate,Country\n"
            'A1,1,2026-03-01,TEE,1,24.00,20%,FR\nA2,1,2026-03-02,BOOK,1,10.55,"5,5 %",FR\n',
            (2, 30.0),
        ),
        # lines that are no goods
        (
            "Order ID,Order Line,Order Date,SKU,Line type,Quantity,Net Amount,Country\n"
            "A1,1,2026-03-01,TEE,product,1,20.00,FR\nA1,2,2026-03-01,SHIP,shipping,1,5.00,FR\n"
            "A2,1,2026-03-02,TEE,product,2,40.00,FR\nA2,2,2026-03-02,FEE,Payment-Fee,1,1.50,FR\n",
            (3, 60.0),
        ),
    ],
)
def test_values_say_what_an_amount_is_of(tmp_path: Path, content: str, sold: tuple[float, float]) -> None:
    (file,) = written(tmp_path, orders=content)
    [[(units, amount)]] = facts(tmp_path, file, queries=(SOLD,))
    assert (float(units), amount) == pytest.approx(sold)


def test_sums_between_rows_do_not_end_a_table(tmp_path: Path) -> None:
    rows = "A1,1,2026-03-01,TEE,1,20.00,FR\nTotal March,,,,1,20.00,\nA2,1,2026-04-02,TEE,2,40.00,FR\n"
    between, at_the_end = written(
        tmp_path, between=f"{HEAD}\n{rows}Total,,,,3,60.00,\n", end=f"{HEAD}\n{rows[:31]}\nTotal,,,,1,20.00,\n"
    )
    assert "until" not in propose(between).yaml
    assert "until: Total" in propose(at_the_end).yaml


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (  # a refund has its own currency
            f"{HEAD},Currency,Return Date,Refund Date,Refund Amount,Refund Currency\n"
            "A1,1,2026-03-01,TEE,1,20.00,FR,EUR,2026-03-09,2026-03-10,24.00,EUR\n"
            "A2,1,2026-03-02,TEE,1,20.00,US,EUR,2026-03-09,2026-03-10,26.00,USD\n",
            {PAID: [("EUR", 24.0), ("USD", 26.0)]},
        ),
        (  # money of a cancelled order is no return
            f"{HEAD},Cancelled Date,Return Date,Refund Date,Refund Amount\n"
            "A1,1,2026-03-01,TEE,1,20.00,FR,,2026-03-09,2026-03-10,24.00\n"
            "A2,1,2026-03-02,TEE,1,20.00,FR,2026-03-03,,2026-03-04,24.00\nA3,1,2026-03-02,TEE,1,20.00,FR,,,,\n",
            {BACK: [(1,)], PAID: [("EUR", 48.0)]},
        ),
        (  # a row of a ledger has its own day
            "Bestellnummer;Bestelldatum;Vorgangsart;Vorgangsdatum;Artikelnummer;Menge;Nettobetrag;Land\n"
            "K1;02.03.2026;Verkauf;02.03.2026;A;1;20,00;DE\nK2;05.03.2026;Verkauf;05.03.2026;A;1;20,00;DE\n"
            "K1;02.03.2026;Retoure;20.04.2026;A;1;20,00;DE\n",
            {"SELECT received_at::VARCHAR FROM fact_return_line": [("2026-04-19 22:00:00",)]},
        ),
    ],
)
def test_values_say_what_came_back_and_was_paid(
    tmp_path: Path, content: str, asked: dict[str, list[tuple[object, ...]]]
) -> None:
    (file,) = written(tmp_path, rows=content)
    assert facts(tmp_path, file, queries=tuple(asked)) == list(asked.values())


def test_a_refund_of_the_whole_order_is_not_added_up(tmp_path: Path) -> None:
    """It stands on each line without an id: what cannot be told apart is left out, and it is said."""
    (file,) = written(
        tmp_path,
        orders=f"{HEAD},Return Date,Refund Date,Order Refund Total\n"
        "A1,1,2026-03-01,TEE,1,40.00,FR,2026-03-09,2026-03-10,72.00\n"
        "A1,2,2026-03-01,CAP,1,20.00,FR,2026-03-09,2026-03-10,72.00\nA2,1,2026-03-02,TEE,1,40.00,FR,,,\n",
    )
    assert facts(tmp_path, file, queries=(BACK, PAID)) == [[(2,)], []]
    assert "Order Refund Total is left out: it is of the whole order" in propose(file).yaml


def test_lines_of_one_return_in_files_of_two_weeks_are_both_kept(tmp_path: Path) -> None:
    orders, first, second = written(
        tmp_path,
        orders=f"{HEAD}\nA1,1,2026-03-01,TEE,1,20.00,FR\nA1,2,2026-03-01,CAP,1,20.00,FR\n",
        returns_1="RMA Number,Order ID,Order Line,SKU,Quantity,Return Date\nR1,A1,1,TEE,1,2026-03-09\n",
        returns_2="RMA Number,Order ID,Order Line,SKU,Quantity,Return Date\nR1,A1,2,CAP,1,2026-03-16\n",
    )
    assert "return_line_id: {key: [RMA Number, Order Line]}" in propose([orders, first]).yaml
    assert facts(tmp_path, orders, first, second, queries=(BACK,)) == [[(2,)]]


def test_a_return_that_other_files_name_keeps_its_number(tmp_path: Path) -> None:
    """What a carrier tells of it is of the same line, not of a second one."""
    files = written(
        tmp_path,
        orders=f"{HEAD}\nA1,1,2026-03-01,TEE,1,20.00,FR\nA2,1,2026-03-01,CAP,1,20.00,FR\n",
        returns="RMA Number,Order ID,Order Line,SKU,Quantity,Return Date\nR1,A1,1,TEE,1,2026-03-09\n",
        parcels="RMA Number,Tracking Number,Shipped At,Delivered At\nR1,1Z999,2026-03-05,2026-03-08\n",
    )
    assert facts(tmp_path, *files, queries=(BACK,)) == [[(1,)]]


def test_points_that_part_thousands_are_said_to_be_assumed(tmp_path: Path) -> None:
    head = "Auftragsnummer;Position;Bestelldatum;Artikelnummer;Menge;Nettobetrag;Land\n"
    told, shown = written(
        tmp_path, told=f"{head}A1;1;15.03.2026;SOFA;1;1.234;DE\n", shown=f"{head}A1;1;15.03.2026;SOFA;1;1.234,50;DE\n"
    )
    assert any("1.234 is 1234" in one for one in propose(told).assumptions)
    assert not any("1.234 is 1234" in one for one in propose(shown).assumptions)
