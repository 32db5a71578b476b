"""Online Retail: every row goes to one log, sums agree with the file, credits find their purchases."""

from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from pipelines.estimate.credit_match import credit_match
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings
from pipelines.sources.online_retail import OnlineRetail, repeated_lines
from pipelines.warehouse import schema
from pipelines.warehouse.sql import connect

ROWS = """
536365,85123A,HANGING HEART,6,2010-12-01 08:26,2.55,17850,United Kingdom
536365,85123A,HANGING HEART,6,2010-12-01 08:26,2.55,17850,United Kingdom
536365,22728,ALARM CLOCK,1,2010-12-01 08:26,0,17850,United Kingdom
536370,POST,POSTAGE,3,2010-12-01 08:45,18,12583,France
536371,gift_0001_20,Voucher,1,2011-07-01 12:00,16.67,,United Kingdom
536372,AMAZONFEE,AMAZON FEE,1,2010-12-02 09:00,100,,United Kingdom
536373,20966,,-40,2010-12-02 09:05,0,,United Kingdom
536374,20967,found,7,2010-12-02 09:06,0,,United Kingdom
A563186,B,Adjust bad debt,1,2011-08-12 14:51,-11062.06,,United Kingdom
C536383,85123a,HANGING HEART,-2,2010-12-10 09:49,2.55,17850,United Kingdom
C536384,D,Discount,-1,2010-12-10 10:00,5.5,17850,EIRE
536375,DCGSSGIRL,PARTY BAG,1,2010-12-03 10:00,3.29,,Unspecified
""".strip()


def sample(folder: Path) -> Path:
    file = folder / "retail.csv"
    file.write_text("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n" + ROWS + "\n")
    return file


def named(file: Path) -> tuple[duckdb.DuckDBPyConnection, dict[str, duckdb.DuckDBPyRelation]]:
    connection = connect(":memory:", threads=2)
    tables = {}
    for one in OnlineRetail().name_rows(connection, [file], "uci"):
        connection.execute(f"CREATE TABLE {one.thing} AS {one.sql}")
        tables[one.thing] = connection.table(one.thing)
    return connection, tables


def test_every_row_goes_to_exactly_one_log(tmp_path: Path) -> None:
    connection, _ = named(sample(tmp_path))
    lines = [
        connection.execute(f"SELECT _line FROM {t}").fetchall() for t in ("order_line", "return_event", "refund_line")
    ]
    assert sorted(n for found in lines for (n,) in found) == list(range(2, 14))  # the first line is the header
    kinds = dict(connection.execute("SELECT _line, line_type FROM order_line").fetchall())
    assert kinds == {
        2: "goods",
        3: "goods",
        4: "goods",
        5: "shipping",
        6: "gift_card",
        7: "fee",
        8: "write_off",
        9: "adjustment",
        10: "adjustment",
        13: "goods",
    }
    assert connection.execute(
        "SELECT count(*) FROM order_line WHERE (product_id IS NULL) = (line_type = 'goods')"
    ).fetchall() == [(0,)]


def test_credits_are_positive_and_unlinked(tmp_path: Path) -> None:
    connection, _ = named(sample(tmp_path))
    event = connection.execute(
        "SELECT event, units, amount, product_id, customer_id, country FROM return_event"
    ).fetchall()
    assert event == [("credited", 2, Decimal("5.1000"), "85123A", "17850", "GB")]
    refund = connection.execute("SELECT units, amount, restock_type, refund_id FROM refund_line").fetchall()
    assert refund == [(0, Decimal("5.5000"), "discount", "C536384")]


def test_times_are_london_and_ids_are_natural(tmp_path: Path) -> None:
    connection, _ = named(sample(tmp_path))
    found = dict(
        connection.execute(
            "SELECT _line, (ordered_at::VARCHAR, order_line_id) FROM order_line WHERE _line IN (2, 3, 6)"
        ).fetchall()
    )
    assert {found[2][1], found[3][1]} == {
        "536365/85123A/2.5500/6/20101201T0826/1",
        "536365/85123A/2.5500/6/20101201T0826/2",
    }
    assert found[6][0] == "2011-07-01 11:00:00"  # summer time
    reverse = tmp_path / "reverse.csv"
    head, *rows = sample(tmp_path).read_text().splitlines()
    reverse.write_text("\n".join([head, *reversed(rows)]) + "\n")
    other, _ = named(reverse)
    ids = "SELECT order_line_id, ordered_at, net_amount FROM order_line ORDER BY ALL"
    assert connection.execute(ids).fetchall() == other.execute(ids).fetchall()


def test_repeated_rows_are_kept_and_what_that_moves_is_known(tmp_path: Path) -> None:
    assert repeated_lines(connect(":memory:", threads=2), [sample(tmp_path)]) == [("sold", 1, 6, 15.3)]


def test_products_and_shop_are_derived(tmp_path: Path) -> None:
    connection, _ = named(sample(tmp_path))
    assert connection.execute("SELECT name FROM product WHERE product_id = '85123A'").fetchall() == [("HANGING HEART",)]
    assert connection.execute("SELECT time_zone FROM shop").fetchall() == [("Europe/London",)]
    assert connection.execute("SELECT country FROM order_line WHERE _line = 13").fetchall() == [("ZZ",)]


def matched(
    purchases: list[tuple[int, int, str, int, float]], credits: list[tuple[int, int, str, int, float]]
) -> list[tuple[object, ...]]:
    """Match credits to purchases, each (key, customer, time, units, unit price) of one SKU.

    Give the binding by credit.
    """
    connection = connect(":memory:", threads=2)
    create_tables(connection)
    for key, customer, at, units, price in purchases:
        connection.execute(
            "INSERT INTO fact_order_line BY NAME SELECT ? AS order_line_key, ? AS customer_key, 1 AS product_key, 's'"
            " AS source, 'goods' AS line_type, ?::TIMESTAMP AS ordered_at, ordered_at::DATE AS ordered_on, ? AS"
            " units_sold, ? AS net_amount",
            [key, customer, at, units, round(units * price, 4)],
        )
    for key, customer, at, units, price in credits:
        connection.execute(
            "INSERT INTO fact_return_line BY NAME SELECT ? AS return_line_key, ? AS customer_key, 1 AS product_key, 's'"
            " AS source, ? AS units, ?::TIMESTAMP AS refunded_at",
            [key, customer or None, units, at],
        )
        connection.execute(
            "INSERT INTO fact_return_event BY NAME SELECT ? AS return_line_key, 'credited' AS event, ? AS amount",
            [key, round(units * price, 4)],
        )
    credit_match(connection, Settings())
    return connection.execute(
        "SELECT return_line_key, order_line_key, rule LIKE '%same%', is_cancellation FROM estimate_credit_match ORDER"
        " BY 1"
    ).fetchall()


def test_the_latest_earlier_purchase_at_the_same_price_is_credited() -> None:
    purchases = [
        (1, 7, "2011-01-01", 10, 2.0),
        (2, 7, "2011-02-01", 10, 2.0),
        (3, 7, "2011-02-15", 10, 2.5),
        (4, 7, "2011-04-01", 10, 2.0),
    ]
    assert matched(purchases, [(90, 7, "2011-03-01", 4, 2.0)]) == [(90, 2, True, False)]


def test_no_purchase_is_credited_beyond_its_units() -> None:
    purchases = [(1, 7, "2011-01-01", 10, 2.0), (2, 7, "2011-02-01", 5, 2.0)]
    credits = [(90, 7, "2011-03-01", 4, 2.0), (91, 7, "2011-03-02", 4, 2.0), (92, 7, "2011-03-03", 9, 2.0)]
    assert matched(purchases, credits) == [(90, 2, True, False), (91, 1, True, False)]  # 9 units find no purchase


def test_another_price_is_taken_only_within_reason() -> None:
    assert matched([(1, 7, "2011-01-01", 10, 2.5)], [(90, 7, "2011-03-01", 4, 2.0)]) == [(90, 1, False, False)]
    assert matched([(1, 7, "2011-01-01", 10, 649.5)], [(90, 7, "2011-03-01", 1, 4.95)]) == []


def test_within_the_hour_it_was_never_sold() -> None:
    purchases = [(1, 7, "2011-01-18 10:01", 74215, 1.04)]
    assert matched(purchases, [(90, 7, "2011-01-18 10:17", 74215, 1.04)]) == [(90, 1, True, True)]


def test_without_customer_or_of_another_customer_nothing_matches() -> None:
    purchases = [(1, 7, "2011-01-01", 10, 2.0)]
    assert matched(purchases, [(90, 0, "2011-03-01", 4, 2.0), (91, 8, "2011-03-01", 4, 2.0)]) == []


@pytest.fixture(scope="module")
def real(third_party: Path) -> duckdb.DuckDBPyConnection:
    file = third_party / "uci_online_retail" / "online_retail_2010-12_to_2011-08.parquet"
    connection, _ = named(file)
    connection.execute(f"CREATE VIEW file AS FROM read_parquet('{file}')")
    return connection


def test_the_real_file_is_accounted_for_to_the_penny(real: duckdb.DuckDBPyConnection) -> None:
    counts = [
        real.execute(f"SELECT count(*) FROM {t}").fetchall()[0][0]
        for t in ("order_line", "return_event", "refund_line")
    ]
    assert counts == [314_858, 5_454, 393]
    assert sum(counts) == 320_705
    value = "sum((Quantity * UnitPrice::DECIMAL(18, 4))::DECIMAL(18, 4))"
    charged, credited = real.execute(
        f"SELECT {value} FILTER (InvoiceNo NOT LIKE 'C%'), {value} FILTER (InvoiceNo LIKE 'C%') FROM file"
    ).fetchall()[0]
    sold = real.execute("SELECT sum(net_amount) FROM order_line").fetchall()[0][0]
    given = real.execute(
        "SELECT (SELECT sum(amount) FROM return_event) + (SELECT sum(amount) FROM refund_line)"
    ).fetchall()[0][0]
    assert (sold, -given) == (charged, credited) == (Decimal("6282701.9420"), Decimal("-520770.5600"))


def test_write_offs_are_no_returns_and_codes_no_products(real: duckdb.DuckDBPyConnection) -> None:
    assert real.execute("SELECT count(*), sum(units) FROM order_line WHERE line_type = 'write_off'").fetchall() == [
        (925, -131286)
    ]
    codes = real.execute(
        "SELECT product_id FROM product WHERE NOT regexp_matches(product_id, '^([0-9]{5}|DCGS|PADS)')"
    ).fetchall()
    assert codes == []
    for thing in ("order_line", "return_event", "refund_line"):
        key = schema.LOG.tables[thing].info["key"][0]
        assert real.execute(f"SELECT count(*) - count(DISTINCT {key}) FROM {thing}").fetchall() == [(0,)]
