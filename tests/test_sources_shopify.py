"""Shopify: pages of the Admin API, with what recurs, what disagrees and what must not leave the parser."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.errors import SourceError
from pipelines.sources.shopify import Shopify
from pipelines.warehouse import schema
from pipelines.warehouse.build import connect


def money(amount: str, currency: str = "EUR") -> dict[str, Any]:
    return {"shop_money": {"amount": amount, "currency_code": currency}, "presentment_money": {"amount": amount, "currency_code": currency}}  # fmt: skip


def line(number: int, price: str, *, units: int = 1, tax: str = "0.00", discount: str = "0.00") -> dict[str, Any]:
    return {
        "id": number, "sku": f" SKU-{number} ", "quantity": units, "price": price, "price_set": money(price), "title": "Dress",
        "tax_lines": [{"price": tax, "rate": 0.2, "price_set": money(tax)}], "discount_allocations": [{"amount": discount, "amount_set": money(discount)}],
    }  # fmt: skip


def refund(number: int, lines: list[dict[str, Any]], paid: str | None, **more: Any) -> dict[str, Any]:
    transactions = (
        [{"kind": "refund", "status": "success", "amount": paid, "currency": "EUR", "gateway": "card"}] if paid else []
    )
    return {"id": number, "order_id": 1, "processed_at": "2026-02-01T10:00:00+01:00", "refund_line_items": lines, "transactions": transactions} | more  # fmt: skip


def refund_line(number: int, of: int, subtotal: str, tax: str, kind: str, units: int = 1) -> dict[str, Any]:
    return {"id": number, "line_item_id": of, "quantity": units, "restock_type": kind, "subtotal": subtotal, "subtotal_set": money(subtotal), "total_tax": tax, "total_tax_set": money(tax), "location_id": 5}  # fmt: skip


ORDER: dict[str, Any] = {
    "id": 1, "created_at": "2026-01-10T11:00:00+01:00", "updated_at": "2026-01-20T11:00:00+01:00", "currency": "EUR", "taxes_included": True,
    "email": "bob.norman@example.org", "phone": "+33123456789", "source_name": "pos",
    "customer": {"id": 77, "email": "bob.norman@example.org", "first_name": "Bob", "last_name": "Norman"},
    "shipping_address": {"name": "Bob Norman", "address1": "Chestnut Street 92", "zip": "75011", "country_code": "FR", "city": "Paris", "phone": "+33123456789"},
    "line_items": [line(11, "120.00", units=2, tax="38.00", discount="12.00"), line(12, "60.00", tax="10.00")],
    "shipping_lines": [{"id": 3, "discounted_price": "6.00", "discounted_price_set": money("6.00"), "price": "6.00", "tax_lines": [{"price": "1.00", "price_set": money("1.00")}]}],
    "fulfillments": [{"id": 9, "status": "success", "created_at": "2026-01-11T08:00:00+01:00", "tracking_company": "Colissimo", "line_items": [{"id": 11}]}],
    "refunds": [refund(21, [refund_line(31, 11, "114.00", "19.00", "return")], "100.00"), refund(22, [refund_line(32, 12, "60.00", "10.00", "cancel")], "60.00")],
}  # fmt: skip


def read(folder: Path, *pages: Any) -> duckdb.DuckDBPyConnection:
    files = []
    for number, page in enumerate(pages):
        files.append(folder / f"page{number}.json")
        files[-1].write_text(json.dumps(page))
    assert Shopify().recognises(files)
    return given(files)


def given(files: list[Path]) -> duckdb.DuckDBPyConnection:
    connection = connect(":memory:", 2)
    for named in Shopify().name_rows(connection, files, "shopify"):
        assert {r[0] for r in connection.execute(f"DESCRIBE ({named.sql})").fetchall()} <= {c.name for c in schema.LOG.tables[named.thing].columns} | {"_file", "_line"}  # fmt: skip
        connection.execute(f"CREATE TABLE {named.thing} AS {named.sql}")
    return connection


def everything(connection: duckdb.DuckDBPyConnection) -> str:
    """All values but the customer's id, which the loader hashes: it may be an e-mail."""
    tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    rows = [connection.execute(f"SELECT COLUMNS(c -> c <> 'customer_id') FROM {t}").fetchall() for (t,) in tables]
    return json.dumps(rows, default=str)


def test_an_order_with_tax_inside_becomes_ex_vat(tmp_path: Path) -> None:
    connection = read(tmp_path, {"orders": [ORDER]})
    found = connection.execute("SELECT order_line_id, product_id, line_type, units, units_cancelled, net_amount::DECIMAL(18,2), vat_amount::DECIMAL(18,2), shipped_at IS NOT NULL FROM order_line ORDER BY 1").fetchall()  # fmt: skip
    assert found == [
        ("11", "SKU-11", "goods", "2", "0", Decimal("190.00"), Decimal("38.00"), True),  # 2 x 120 - 12 - 38
        ("12", "SKU-12", "goods", "1", "1", Decimal("50.00"), Decimal("10.00"), False),
        ("shipping-3", None, "shipping", "1", "0", Decimal("5.00"), Decimal("1.00"), False),
    ]
    assert connection.execute("SELECT DISTINCT customer_id, customer_area, country, channel FROM order_line").fetchall() == [("77", "75011", "FR", "store")]  # fmt: skip


def test_a_refund_keeps_its_lines_and_its_money_apart(tmp_path: Path) -> None:
    connection = read(tmp_path, {"orders": [ORDER]})
    assert connection.execute("SELECT refund_id, amount::DECIMAL(18,2) FROM refund ORDER BY 1").fetchall() == [("21", Decimal("100.00")), ("22", Decimal("60.00"))]  # fmt: skip
    lines = connection.execute(
        "SELECT refund_id, amount::DECIMAL(18,2), units, restock_type FROM refund_line ORDER BY 1"
    ).fetchall()
    assert lines == [("21", Decimal("114.00"), "1", "return"), ("22", Decimal("60.00"), "1", "cancel")]  # tax is inside
    events = connection.execute("SELECT event, order_line_id, return_line_id, units FROM return_event").fetchall()
    assert events == [("refunded", "11", "refund-21-11", "1")]  # the cancelled line never came back


def test_the_tax_basis_of_a_refund_without_its_order_follows_from_the_rate(tmp_path: Path) -> None:
    inside = refund_line(31, 11, "120.00", "20.00", "return") | {"line_item": {"tax_lines": [{"rate": 0.2}]}}
    outside = refund_line(32, 11, "100.00", "20.00", "return") | {"line_item": {"tax_lines": [{"rate": 0.2}]}}
    connection = read(tmp_path, {"refunds": [refund(21, [inside, outside], "240.00")]})
    assert connection.execute("SELECT sum(amount::DECIMAL(18,2)) FROM refund_line").fetchall() == [(Decimal("240.00"),)]


def test_goods_without_money_and_money_without_goods(tmp_path: Path) -> None:
    restock = refund(23, [refund_line(33, 11, "0.00", "0.00", "return")], None)
    goodwill = refund(24, [refund_line(34, 11, "0.00", "0.00", "no_restock")], "15.00")
    shipping = refund(25, [], "5.00", order_adjustments=[{"id": 8, "amount": "-5.00", "tax_amount": "-1.00", "kind": "shipping_refund"}], refund_shipping_lines=[{"id": 1}])  # fmt: skip
    connection = read(tmp_path, {"refunds": [restock, goodwill, shipping]})
    events = connection.execute(
        "SELECT return_id, event, return_type, place_id FROM return_event ORDER BY 1"
    ).fetchall()
    assert events == [("refund-23", "received", "withdrawal", "5"), ("refund-24", "refunded", "price_adjustment", "5")]
    assert connection.execute("SELECT refund_id FROM refund ORDER BY 1").fetchall() == [("24",), ("25",)]
    assert connection.execute("SELECT units, amount::DECIMAL(18,2), restock_type FROM refund_line WHERE refund_id = '25'").fetchall() == [("0", Decimal("6.00"), "shipping")]  # fmt: skip


def test_what_recurs_is_given_again_with_its_version(tmp_path: Path) -> None:
    later = ORDER | {"updated_at": "2026-01-25T11:00:00+01:00"}
    calls = [{"method": m, "url": u, "response": r} for m, u, r in (
        ("GET", "orders.json", {"orders": [ORDER]}), ("PUT", "orders/1.json", {"order": later}), ("DELETE", "orders/1.json", {"order": later}),
        ("POST", "orders/1/refunds/calculate.json", {"refund": refund(99, [], "1.00")}),
    )]  # fmt: skip
    connection = read(tmp_path, calls)
    assert connection.execute("SELECT recorded_at, _line FROM order_line WHERE order_line_id = '11' ORDER BY 2").fetchall() == [("2026-01-20T11:00:00+01:00", 1), ("2026-01-25T11:00:00+01:00", 2)]  # fmt: skip
    assert connection.execute("SELECT count(*) FROM refund WHERE refund_id = '99'").fetchall() == [(0,)]


def test_nothing_personal_leaves_the_parser(tmp_path: Path) -> None:
    connection = read(tmp_path, {"orders": [ORDER]})
    told = everything(connection)
    assert not [word for word in ("Bob", "Norman", "example.org", "Chestnut", "33123456789", "Paris") if word in told]


def test_another_currency_brings_its_rate(tmp_path: Path) -> None:
    paid = {
        "shop_money": {"amount": "50.00", "currency_code": "EUR"},
        "presentment_money": {"amount": "60.00", "currency_code": "USD"},
    }
    order = ORDER | {"total_price": "50.00", "total_price_set": paid, "refunds": []}
    connection = read(tmp_path, {"orders": [order]})
    found = connection.execute("SELECT day, currency, quote_currency, rate::DOUBLE FROM fx_rate").fetchall()
    assert found == [("2026-01-10T00:00:00Z", "USD", "EUR", pytest.approx(0.8333, abs=1e-4))]


def test_a_graphql_return_gives_request_and_reason(tmp_path: Path) -> None:
    returned = {
        "id": "gid://shopify/Return/5", "createdAt": "2026-01-20T10:00:00Z", "requestApprovedAt": "2026-01-21T10:00:00Z",
        "returnLineItems": {"nodes": [{"id": "gid://shopify/ReturnLineItem/6", "quantity": 1, "returnReason": "SIZE_TOO_SMALL", "customerNote": "tight", "fulfillmentLineItem": {"lineItem": {"id": "gid://shopify/LineItem/11"}}}]},
    }  # fmt: skip
    linked = refund(21, [refund_line(31, 11, "114.00", "19.00", "return")], "114.00", **{"return": {"id": 5}})
    connection = read(tmp_path, {"orders": [ORDER | {"refunds": [linked]}], "returns": [returned]})
    found = connection.execute(
        "SELECT event, return_line_id, reason_raw FROM return_event ORDER BY occurred_at::TIMESTAMPTZ"
    ).fetchall()
    assert found == [("requested", "5-11", "SIZE_TOO_SMALL"), ("approved", "5-11", "SIZE_TOO_SMALL"), ("refunded", "5-11", None)]  # fmt: skip


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"orders": [')
    with pytest.raises(SourceError, match=r"a\.json is not JSON"):
        list(Shopify().name_rows(connect(":memory:", 2), [tmp_path / "a.json"], "s"))


def test_the_real_pages_keep_the_disputed_refund(third_party: Path) -> None:
    connection = given(sorted((third_party / "shopify" / "api_2026_07").glob("*.json")))
    assert connection.execute("SELECT DISTINCT amount FROM refund WHERE refund_id = '509562969'").fetchall() == [("209.00",)]  # fmt: skip
    lines = "SELECT sum(amount) FROM (SELECT DISTINCT refund_line_id, amount::DECIMAL(18, 2) AS amount FROM refund_line WHERE refund_id = '509562969')"
    assert connection.execute(lines).fetchall() == [(Decimal("399.29"),)]
    told = everything(connection)
    assert not [word for word in ("Norman", "Chestnut", "mail.example.com", "555-625-1199", "Bob") if word in told]
