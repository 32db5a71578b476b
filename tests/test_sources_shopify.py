"""Shopify: what its interfaces give, with what recurs and what disagrees.

What its states say and what must not leave the parser.
"""

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck
from hypothesis import given as drawn
from hypothesis import settings as tries
from hypothesis import strategies as st

from pipelines.errors import SourceError
from pipelines.load import load
from pipelines.metrics import answer
from pipelines.sources import mapping_source
from pipelines.sources.shopify import Shopify
from pipelines.sources.shopify_files import is_shopify
from pipelines.warehouse import schema
from pipelines.warehouse.build import current_build
from pipelines.warehouse.sql import connect
from tests.conftest import fresh


def money(amount: str, currency: str = "EUR") -> dict[str, Any]:
    return {
        "shop_money": {"amount": amount, "currency_code": currency},
        "presentment_money": {"amount": amount, "currency_code": currency},
    }


def line(number: int, price: str, *, units: int = 1, tax: str = "0.00", discount: str = "0.00") -> dict[str, Any]:
    return {
        "id": number,
        "sku": f" SKU-{number} ",
        "quantity": units,
        "price": price,
        "price_set": money(price),
        "title": "Dress",
        "tax_lines": [{"price": tax, "rate": 0.2, "price_set": money(tax)}],
        "discount_allocations": [{"amount": discount, "amount_set": money(discount)}],
    }


def refund(number: int, lines: list[dict[str, Any]], paid: str | None, **more: Any) -> dict[str, Any]:
    transactions = (
        [{"kind": "refund", "status": "success", "amount": paid, "currency": "EUR", "gateway": "card"}] if paid else []
    )
    return {
        "id": number,
        "order_id": 1,
        "processed_at": "2026-02-01T10:00:00+01:00",
        "refund_line_items": lines,
        "transactions": transactions,
    } | more


def refund_line(number: int, of: int, subtotal: str, tax: str, kind: str, units: int = 1) -> dict[str, Any]:
    return {
        "id": number,
        "line_item_id": of,
        "quantity": units,
        "restock_type": kind,
        "subtotal": subtotal,
        "subtotal_set": money(subtotal),
        "total_tax": tax,
        "total_tax_set": money(tax),
        "location_id": 5,
    }


ORDER: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-01-10T11:00:00+01:00",
    "updated_at": "2026-01-20T11:00:00+01:00",
    "currency": "EUR",
    "taxes_included": True,
    "email": "bob.norman@example.org",
    "phone": "+33123456789",
    "source_name": "pos",
    "customer": {"id": 77, "email": "bob.norman@example.org", "first_name": "Bob", "last_name": "Norman"},
    "shipping_address": {
        "name": "Bob Norman",
        "address1": "Chestnut Street 92",
        "zip": "75011",
        "country_code": "FR",
        "city": "Paris",
        "phone": "+33123456789",
    },
    "line_items": [line(11, "120.00", units=2, tax="38.00", discount="12.00"), line(12, "60.00", tax="10.00")],
    "shipping_lines": [
        {
            "id": 3,
            "discounted_price": "6.00",
            "discounted_price_set": money("6.00"),
            "price": "6.00",
            "tax_lines": [{"price": "1.00", "price_set": money("1.00")}],
        }
    ],
    "fulfillments": [
        {
            "id": 9,
            "status": "success",
            "created_at": "2026-01-11T08:00:00+01:00",
            "tracking_company": "Colissimo",
            "line_items": [{"id": 11}],
        }
    ],
    "refunds": [
        refund(21, [refund_line(31, 11, "114.00", "19.00", "return")], "100.00"),
        refund(22, [refund_line(32, 12, "60.00", "10.00", "cancel")], "60.00"),
    ],
}


def read(folder: Path, *pages: Any) -> duckdb.DuckDBPyConnection:
    files = []
    for number, page in enumerate(pages):
        files.append(folder / f"page{number}.json")
        files[-1].write_text(json.dumps(page))
    assert Shopify().recognises(files)
    return given(files)


def given(files: list[Path]) -> duckdb.DuckDBPyConnection:
    connection = connect(":memory:", threads=2)
    for named in Shopify().name_rows(connection, files, "shopify"):
        assert {r[0] for r in connection.execute(f"DESCRIBE ({named.sql})").fetchall()} <= {
            c.name for c in schema.LOG.tables[named.thing].columns
        } | {"_file", "_line"}
        connection.execute(f"CREATE TABLE {named.thing} AS {named.sql}")
    return connection


def everything(connection: duckdb.DuckDBPyConnection) -> str:
    """All values but the customer's id, which the loader hashes: it may be an e-mail."""
    tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    rows = [connection.execute(f"SELECT COLUMNS(c -> c <> 'customer_id') FROM {t}").fetchall() for (t,) in tables]
    return json.dumps(rows, default=str)


def test_an_order_with_tax_inside_becomes_ex_vat(tmp_path: Path) -> None:
    connection = read(tmp_path, {"orders": [ORDER]})
    found = connection.execute(
        "SELECT order_line_id, product_id, line_type, units, units_cancelled, net_amount::DECIMAL(18,2),"
        " vat_amount::DECIMAL(18,2), shipped_at IS NOT NULL FROM order_line ORDER BY 1"
    ).fetchall()
    assert found == [
        ("11", "SKU-11", "goods", "2", "0", Decimal("190.00"), Decimal("38.00"), True),  # 2 x 120 - 12 - 38
        ("12", "SKU-12", "goods", "1", "1", Decimal("50.00"), Decimal("10.00"), False),
        ("shipping-3", None, "shipping", "1", "0", Decimal("5.00"), Decimal("1.00"), False),
    ]
    assert connection.execute(
        "SELECT DISTINCT customer_id, customer_area, country, channel FROM order_line"
    ).fetchall() == [("77", "75011", "FR", "store")]


def test_a_refund_keeps_its_lines_and_its_money_apart(tmp_path: Path) -> None:
    connection = read(tmp_path, {"orders": [ORDER]})
    assert connection.execute("SELECT refund_id, amount::DECIMAL(18,2) FROM refund ORDER BY 1").fetchall() == [
        ("21", Decimal("100.00")),
        ("22", Decimal("60.00")),
    ]
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
    shipping = refund(
        25,
        [],
        "5.00",
        order_adjustments=[{"id": 8, "amount": "-5.00", "tax_amount": "-1.00", "kind": "shipping_refund"}],
        refund_shipping_lines=[{"id": 1}],
    )
    connection = read(tmp_path, {"refunds": [restock, goodwill, shipping]})
    events = connection.execute(
        "SELECT return_id, event, return_type, place_id FROM return_event ORDER BY 1"
    ).fetchall()
    assert events == [("refund-23", "received", "withdrawal", "5"), ("refund-24", "refunded", "price_adjustment", "5")]
    assert connection.execute("SELECT refund_id FROM refund ORDER BY 1").fetchall() == [("24",), ("25",)]
    assert connection.execute(
        "SELECT units, amount::DECIMAL(18,2), restock_type FROM refund_line WHERE refund_id = '25'"
    ).fetchall() == [("0", Decimal("6.00"), "shipping")]


def test_what_recurs_is_given_again_with_its_version(tmp_path: Path) -> None:
    later = ORDER | {"updated_at": "2026-01-25T11:00:00+01:00"}
    calls = [
        {"method": m, "url": u, "response": r}
        for m, u, r in (
            ("GET", "orders.json", {"orders": [ORDER]}),
            ("PUT", "orders/1.json", {"order": later}),
            ("DELETE", "orders/1.json", {"order": later}),
            ("POST", "orders/1/refunds/calculate.json", {"refund": refund(99, [], "1.00")}),
        )
    ]
    connection = read(tmp_path, calls)
    assert connection.execute(
        "SELECT recorded_at, _line FROM order_line WHERE order_line_id = '11' ORDER BY 2"
    ).fetchall() == [("2026-01-20T11:00:00+01:00", 1), ("2026-01-25T11:00:00+01:00", 2)]
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
        "id": "gid://shopify/Return/5",
        "createdAt": "2026-01-20T10:00:00Z",
        "requestApprovedAt": "2026-01-21T10:00:00Z",
        "returnLineItems": {
            "nodes": [
                {
                    "id": "gid://shopify/ReturnLineItem/6",
                    "quantity": 1,
                    "returnReason": "SIZE_TOO_SMALL",
                    "customerNote": "tight",
                    "fulfillmentLineItem": {"lineItem": {"id": "gid://shopify/LineItem/11"}},
                }
            ]
        },
    }
    linked = refund(21, [refund_line(31, 11, "114.00", "19.00", "return")], "114.00", **{"return": {"id": 5}})
    connection = read(tmp_path, {"orders": [ORDER | {"refunds": [linked]}], "returns": [returned]})
    found = connection.execute(
        "SELECT event, return_line_id, reason_raw FROM return_event ORDER BY occurred_at::TIMESTAMPTZ"
    ).fetchall()
    assert found == [
        ("requested", "5-11", "SIZE_TOO_SMALL"),
        ("approved", "5-11", "SIZE_TOO_SMALL"),
        ("refunded", "5-11", None),
    ]


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"orders": [')
    with pytest.raises(SourceError, match=r"a\.json is not JSON"):
        list(Shopify().name_rows(connect(":memory:", threads=2), [tmp_path / "a.json"], "s"))


def test_the_real_pages_keep_the_disputed_refund(third_party: Path) -> None:
    connection = given(sorted((third_party / "shopify" / "api_2026_07").glob("*.json")))
    assert connection.execute("SELECT DISTINCT amount FROM refund WHERE refund_id = '509562969'").fetchall() == [
        ("209.00",)
    ]
    lines = (
        "SELECT sum(amount) FROM (SELECT DISTINCT refund_line_id, amount::DECIMAL(18, 2) AS amount FROM refund_line"
        " WHERE refund_id = '509562969')"
    )
    assert connection.execute(lines).fetchall() == [(Decimal("399.29"),)]
    told = everything(connection)
    assert not [word for word in ("Norman", "Chestnut", "mail.example.com", "555-625-1199", "Bob") if word in told]


def order(number: int, units: int, **more: Any) -> dict[str, Any]:
    """An order of one line, `number` x 10 + 1, of so many units at 12.00 with 20% VAT inside."""
    of_line = {
        k: more.pop(k)
        for k in list(more)
        if k in ("current_quantity", "fulfillable_quantity", "fulfillment_status_of_line", "requires_shipping")
    }
    if "fulfillment_status_of_line" in of_line:
        of_line["fulfillment_status"] = of_line.pop("fulfillment_status_of_line")
    whole = line(number * 10 + 1, "12.00", units=units, tax=f"{2 * units}.00") | of_line
    return ORDER | {"id": number, "line_items": [whole], "shipping_lines": [], "fulfillments": [], "refunds": []} | more


def fulfilment(number: int, of: int, units: int | None, status: str = "success", day: int = 11) -> dict[str, Any]:
    of_line = {"id": of} if units is None else {"id": of, "quantity": units}
    return {"id": number, "status": status, "created_at": f"2026-01-{day}T08:00:00+01:00", "line_items": [of_line]}


def back(
    number: int, of: int, units: int, kind: str, *, status: str | None = "success", at: str = "2026-02-01", **more: Any
) -> dict[str, Any]:
    """A refund of one line at 12.00 a unit; `status` is its transaction's, None for no transaction."""
    amount = f"{12 * units}.00"
    paid = (
        [{"id": number * 7, "kind": "refund", "status": status, "amount": amount, "currency": "EUR", "gateway": "card"}]
        if status
        else []
    )
    of_line = refund_line(number * 10, of, amount, f"{2 * units}.00", kind, units)
    return {
        "id": number,
        "processed_at": f"{at}T10:00:00+01:00",
        "refund_line_items": [of_line],
        "transactions": paid,
    } | more


def asked(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return rows


STANDING = "WHERE coalesce(is_deleted, 'false') = 'false'"


def test_a_test_order_is_taken_back_with_all_that_hangs_on_it(tmp_path: Path) -> None:
    tested = order(1, 2, test=True, refunds=[back(2, 11, 1, "return")], fulfillments=[fulfilment(3, 11, 2)])
    connection = read(tmp_path, {"orders": [tested, order(2, 1)]})
    assert asked(connection, f"SELECT order_line_id FROM order_line {STANDING}") == [("21",)]
    for log in ("return_event", "refund", "refund_line"):
        assert asked(connection, f"SELECT count(*), count(is_deleted) FROM {log}") == [(1, 1)]


@pytest.mark.parametrize(
    ("units", "more", "expected"),
    [
        # (cancelled, shipped, came back): a unit that never left is cancelled, whatever Shopify restocked
        pytest.param(
            1,
            {"cancelled_at": "2026-01-10T12:00:00Z", "refunds": [back(5, 11, 1, "no_restock")]},
            (1, 0, 0),
            id="cancelled before shipping",
        ),
        pytest.param(1, {"refunds": [back(5, 11, 1, "return")]}, (1, 0, 0), id="restocked, never fulfilled"),
        pytest.param(
            1, {"refunds": [back(5, 11, 1, "legacy_restock")]}, (1, 0, 0), id="restocked the old way, never fulfilled"
        ),
        pytest.param(
            1,
            {"fulfillments": [fulfilment(3, 11, 1)], "refunds": [back(5, 11, 1, "no_restock")]},
            (0, 1, 1),
            id="not restocked, fulfilled",
        ),
        pytest.param(
            2,
            {"fulfillments": [fulfilment(3, 11, None)], "refunds": [back(5, 11, 1, "return")]},
            (0, 2, 1),
            id="a fulfilment without units is of all",
        ),
        pytest.param(
            3,
            {"fulfillments": [fulfilment(3, 11, 2)], "refunds": [back(5, 11, 1, "no_restock")]},
            (1, 2, 0),
            id="the unit that did not ship",
        ),
        pytest.param(
            3,
            {"fulfillments": [fulfilment(3, 11, 2)], "refunds": [back(5, 11, 1, "return")]},
            (0, 2, 1),
            id="one of the two that shipped",
        ),
        pytest.param(
            3,
            {"fulfillments": [fulfilment(3, 11, 2)], "refunds": [back(5, 11, 3, "return")]},
            (1, 2, 2),
            id="all three, of which two shipped",
        ),
        pytest.param(
            3,
            {
                "fulfillments": [fulfilment(3, 11, 2)],
                "fulfillable_quantity": 1,
                "refunds": [back(5, 11, 1, "no_restock")],
            },
            (0, 2, 1),
            id="the third is still to ship",
        ),
        pytest.param(
            3,
            {
                "fulfillments": [fulfilment(3, 11, 2)],
                "fulfillment_status_of_line": "partial",
                "refunds": [back(5, 11, 1, "no_restock")],
            },
            (0, 2, 1),
            id="a partial line is still to ship",
        ),
        pytest.param(
            3,
            {"fulfillments": [fulfilment(3, 11, 2, day=15)], "refunds": [back(5, 11, 1, "return", at="2026-01-12")]},
            (1, 2, 0),
            id="refunded before the rest shipped",
        ),
        pytest.param(
            3,
            {
                "fulfillments": [fulfilment(3, 11, 2)],
                "refunds": [back(5, 11, 1, "cancel"), back(6, 11, 1, "no_restock")],
            },
            (1, 2, 1),
            id="one cancelled, one back",
        ),
        pytest.param(
            2,
            {
                "fulfillments": [
                    fulfilment(3, 11, 1, "cancelled"),
                    fulfilment(4, 11, 1, "error"),
                    fulfilment(5, 11, 1, "failure"),
                ],
                "cancelled_at": "2026-01-12T08:00:00Z",
            },
            (2, 0, 0),
            id="fulfilments that came to nothing",
        ),
        pytest.param(
            2,
            {"fulfillments": [fulfilment(3, 11, 1)], "cancelled_at": "2026-01-12T08:00:00Z"},
            (1, 1, 0),
            id="cancelled after half had shipped",
        ),
        pytest.param(2, {"financial_status": "voided"}, (2, 0, 0), id="an authorisation let go"),
        pytest.param(2, {"financial_status": "authorized"}, (0, 0, 0), id="authorised, still to ship"),
        pytest.param(
            2,
            {"financial_status": "pending", "fulfillments": [fulfilment(3, 11, 2)]},
            (0, 2, 0),
            id="on invoice, shipped",
        ),
        pytest.param(2, {"current_quantity": 0}, (2, 0, 0), id="edited out of the order"),
        pytest.param(
            3,
            {"current_quantity": 1, "fulfillments": [fulfilment(3, 11, 1)]},
            (2, 1, 0),
            id="edited down to what shipped",
        ),
        pytest.param(
            2,
            {"current_quantity": 1, "fulfillments": [fulfilment(3, 11, 2)], "refunds": [back(5, 11, 1, "return")]},
            (0, 2, 1),
            id="a return is no edit",
        ),
        pytest.param(
            1, {"requires_shipping": False, "fulfillment_status_of_line": None}, (0, None, 0), id="nothing to ship"
        ),
    ],
)
def test_units_that_never_left_are_cancelled_and_the_rest_came_back(
    tmp_path: Path, units: int, more: dict[str, Any], expected: tuple[int, int | None, int]
) -> None:
    connection = read(tmp_path, {"orders": [order(1, units, **more)]})
    cancelled, shipped = asked(connection, "SELECT units_cancelled::INT, units_shipped::INT FROM order_line")[0]
    has_events = asked(connection, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'return_event'")[0][0]
    came = (
        asked(connection, f"SELECT coalesce(sum(units::INT), 0) FROM return_event {STANDING}")[0][0]
        if has_events
        else 0
    )
    assert (cancelled, shipped, came) == expected


def test_a_refund_of_shipped_and_unshipped_units_is_cut_in_two(tmp_path: Path) -> None:
    half = order(1, 3, fulfillments=[fulfilment(3, 11, 2)], refunds=[back(5, 11, 3, "return")])
    connection = read(tmp_path, {"orders": [half]})
    lines = asked(
        connection,
        "SELECT refund_line_id, units, amount::DECIMAL(18, 2), return_line_id, restock_type FROM refund_line ORDER"
        " BY 1",
    )
    assert lines == [
        ("50", "2", Decimal("24.00"), "refund-5-11", "return"),
        ("50-cancelled", "1", Decimal("12.00"), None, "cancel"),
    ]


@pytest.mark.parametrize(
    ("status", "event", "amount", "line"),
    [
        ("success", "refunded", "12.00", ("1", "return")),
        ("pending", "received", "0", ("0", "unpaid")),
        ("failure", "received", "0", ("0", "unpaid")),
        ("error", "received", "0", ("0", "unpaid")),
        ("cancelled", "received", "0", ("0", "unpaid")),
        (None, "received", "0", ("0", "unpaid")),
    ],
)
def test_a_refund_is_one_when_its_money_has_moved(
    tmp_path: Path, status: str | None, event: str, amount: str, line: tuple[str, str]
) -> None:
    """Goods are back all the same; the 12.00 of the line are of no unit until they are paid: a discrepancy of 12.00."""
    shipped = order(1, 1, fulfillments=[fulfilment(3, 11, 1)], refunds=[back(5, 11, 1, "return", status=status)])
    connection = read(tmp_path, {"orders": [shipped]})
    assert asked(connection, "SELECT event, units FROM return_event") == [(event, "1")]
    assert asked(connection, "SELECT amount FROM refund") == [(amount,)]
    assert asked(connection, "SELECT units, restock_type, amount::DECIMAL(18, 2) FROM refund_line") == [
        (*line, Decimal("12.00"))
    ]


def test_an_authorisation_let_go_refunds_nothing(tmp_path: Path) -> None:
    void = back(5, 11, 1, "no_restock") | {
        "transactions": [{"id": 1, "kind": "void", "status": "success", "amount": "12.00"}]
    }
    connection = read(tmp_path, {"orders": [order(1, 1, financial_status="voided", refunds=[void])]})
    assert asked(connection, "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'refund%'") == [(0,)]
    assert asked(connection, f"SELECT units FROM return_event {STANDING}") == []


def test_a_pending_refund_succeeds_on_a_later_page(tmp_path: Path) -> None:
    """Whichever page comes first in the load, and whether the order's page or the transaction's own says so."""
    shipped = order(1, 1, fulfillments=[fulfilment(3, 11, 1)], refunds=[back(5, 11, 1, "return", status="pending")])
    settled = {"transactions": [shipped["refunds"][0]["transactions"][0] | {"status": "success"}]}
    for pages in ((shipped, settled), (settled, shipped)):
        connection = read(tmp_path, *({"orders": [p]} if "id" in p else p for p in pages))
        assert asked(connection, "SELECT DISTINCT event FROM return_event") == [("refunded",)]
        assert asked(connection, "SELECT DISTINCT amount FROM refund") == [("12.00",)]


def test_money_that_moved_in_part_is_the_part(tmp_path: Path) -> None:
    two = back(5, 11, 2, "return") | {
        "transactions": [
            {
                "id": 1,
                "kind": "refund",
                "status": "success",
                "amount": "14.00",
                "currency": "EUR",
                "gateway": "gift_card",
            },
            {"id": 2, "kind": "refund", "status": "failure", "amount": "10.00", "currency": "EUR", "gateway": "card"},
        ]
    }
    connection = read(tmp_path, {"orders": [order(1, 2, fulfillments=[fulfilment(3, 11, 2)], refunds=[two])]})
    assert asked(connection, "SELECT event FROM return_event") == [("refunded",)]
    assert asked(connection, "SELECT amount, kind FROM refund") == [("14.00", "voucher")]


def returned(status: str, **more: Any) -> dict[str, Any]:
    of_line = {
        "id": "gid://shopify/ReturnLineItem/6",
        "quantity": 2,
        "returnReason": "UNWANTED",
        "fulfillmentLineItem": {"lineItem": {"id": "gid://shopify/LineItem/11"}},
    }
    return {
        "id": "gid://shopify/Return/5",
        "status": status,
        "createdAt": "2026-01-20T10:00:00Z",
        "order": {"id": "gid://shopify/Order/1"},
        "returnLineItems": {"edges": [{"node": of_line}]},
    } | more


@pytest.mark.parametrize(
    ("of_return", "expected"),
    [
        (returned("REQUESTED"), [("requested", "2", None)]),
        (
            returned("OPEN", requestApprovedAt="2026-01-21T10:00:00Z"),
            [("requested", "2", None), ("approved", "2", None)],
        ),
        (
            returned("DECLINED", closedAt="2026-01-22T10:00:00Z", decline={"reason": "FINAL_SALE"}),
            [("requested", "2", None), ("rejected", "2", "final_sale")],
        ),
        (
            returned("DECLINED", decline={"reason": "RETURN_PERIOD_ENDED"}),
            [("requested", "2", None), ("rejected", "2", "outside_window")],
        ),
        (
            returned("DECLINED", decline={"reason": "SOMETHING_NEW"}),
            [("requested", "2", None), ("rejected", "2", "other")],
        ),
        (returned("DECLINED", decline="FINAL_SALE"), [("requested", "2", None), ("rejected", "2", "other")]),
        (returned("CANCELED", closedAt="2026-01-22T10:00:00Z"), [("requested", "2", None), ("cancelled", "2", None)]),
        (returned("CLOSED", closedAt="2026-01-22T10:00:00Z"), [("requested", "2", None), ("cancelled", "2", None)]),
    ],
)
def test_a_return_ends_as_its_status_says(
    tmp_path: Path, of_return: dict[str, Any], expected: list[tuple[str, str, str | None]]
) -> None:
    shipped = order(1, 2, fulfillments=[fulfilment(3, 11, 2)])
    connection = read(tmp_path, {"orders": [shipped]}, {"data": {"return": of_return}})
    columns = [c[0] for c in connection.execute("DESCRIBE return_event").fetchall()]
    declined = "decline_reason" if "decline_reason" in columns else "NULL"
    assert (
        asked(
            connection,
            f"SELECT event, units, {declined} FROM return_event ORDER BY occurred_at::TIMESTAMPTZ, event DESC",
        )
        == expected
    )


def test_a_closed_return_ends_for_what_nothing_moved_for(tmp_path: Path) -> None:
    """Of two units asked back one was refunded: the other is not waited for.

    Without the order nobody knows, so nothing is said.
    """
    linked = back(5, 11, 1, "return", **{"return": {"id": 5}})
    shipped = order(1, 2, fulfillments=[fulfilment(3, 11, 2)], refunds=[linked])
    closed = returned("CLOSED", closedAt="2026-02-02T10:00:00Z")
    connection = read(tmp_path, {"orders": [shipped]}, {"returns": [closed]})
    assert asked(connection, "SELECT event, units, return_line_id FROM return_event ORDER BY 1") == [
        ("cancelled", "1", "5-11"),
        ("refunded", "1", "5-11"),
        ("requested", "2", "5-11"),
    ]
    alone = read(tmp_path / "..", {"returns": [closed]})
    assert asked(alone, "SELECT event FROM return_event") == [("requested",)]


def test_dispositions_are_what_happened_to_the_goods(tmp_path: Path) -> None:
    def disposed(number: int, kind: str, units: int) -> dict[str, Any]:
        return {
            "id": f"gid://shopify/ReverseFulfillmentOrderDisposition/{number}",
            "type": kind,
            "quantity": units,
            "createdAt": f"2026-01-2{number}T10:00:00Z",
            "location": {"id": "gid://shopify/Location/5"},
        }

    kinds = ["PROCESSING_REQUIRED", "RESTOCKED", "NOT_RESTOCKED", "MISSING"]
    reverse = {
        "lineItems": {
            "nodes": [
                {
                    "fulfillmentLineItem": {"lineItem": {"id": "gid://shopify/LineItem/11"}},
                    "dispositions": [disposed(i, k, 1) for i, k in enumerate(kinds, 1)],
                }
            ]
        }
    }
    connection = read(tmp_path, {"returns": [returned("OPEN", reverseFulfillmentOrders={"nodes": [reverse]})]})
    found = asked(
        connection,
        "SELECT event, disposition, place_id, units FROM return_event WHERE event_id LIKE 'disposition-%' ORDER BY"
        " event_id",
    )
    assert found == [
        ("received", None, "5", "1"),
        ("restocked", "as_new", "5", "1"),
        ("inspected", None, "5", "1"),
        ("lost", None, "5", "1"),
    ]


def test_an_exchange_is_no_sale_and_its_return_is_exchanged(tmp_path: Path) -> None:
    linked = back(5, 11, 1, "return", status=None, **{"return": {"id": 5}})
    shipped = order(1, 1, fulfillments=[fulfilment(3, 11, 1)], refunds=[linked])
    shipped["line_items"] = [*shipped["line_items"], line(12, "12.00", tax="2.00")]
    swapped = returned("OPEN", exchangeLineItems={"nodes": [{"lineItem": {"id": "gid://shopify/LineItem/12"}}]})
    connection = read(tmp_path, {"orders": [shipped]}, {"returns": [swapped]})
    assert asked(connection, "SELECT order_line_id, exchanged_from_line_id FROM order_line ORDER BY 1") == [
        ("11", None),
        ("12", "11"),
    ]
    assert asked(connection, "SELECT event, return_type FROM return_event ORDER BY 1") == [
        ("exchanged", "exchange"),
        ("requested", "exchange"),
    ]


def test_what_is_not_goods_is_not_sold_units(tmp_path: Path) -> None:
    mixed = order(1, 1)
    mixed["line_items"] += [
        line(12, "25.00") | {"gift_card": True},
        line(13, "3.00") | {"tip_payment_gateway": None, "title": "Tip"},
    ]
    connection = read(tmp_path, {"orders": [mixed]}, {"draft_orders": [order(2, 5)]})
    assert asked(connection, "SELECT order_line_id, line_type FROM order_line ORDER BY 1") == [
        ("11", "goods"),
        ("12", "gift_card"),
        ("13", "fee"),
    ]


def test_a_shop_of_all_these_states_counts_what_left_and_what_came_back(tmp_path: Path) -> None:
    """12.00 a unit with 2.00 VAT inside, so 10.00 net.

    Sold 2 + 1 + 2 + 1 + 1 = 7 units for 70.00; 2 of them are back, one of these paid.

    | order | what happened                                                   | sold | cancelled | back | paid |
    |-------|-----------------------------------------------------------------|------|-----------|------|------|
    | 1     | two units shipped                                               | 2    |           |      |      |
    | 2     | a test                                                          |      |           |      |      |
    | 3     | cancelled before shipping, refunded without restocking          |      | 1         |      |      |
    | 4     | shipped, back, the refund's payment failed                      | 1    |           | 1    |      |
    | 5     | three ordered, two shipped, the third refunded                  | 2    | 1         |      |      |
    | 6     | still to ship                                                   |      |           |      |      |
    | 7     | shipped, back, refunded                                         | 1    |           | 1    | 1    |
    | 8     | shipped, its return declined                                    | 1    |           |      |      |
    """
    sent = {n: [fulfilment(n, n * 10 + 1, u)] for n, u in ((1, 2), (2, 5), (4, 1), (5, 2), (7, 1), (8, 1))}
    orders = [
        order(1, 2, fulfillments=sent[1]),
        order(2, 5, fulfillments=sent[2], test=True, refunds=[back(102, 21, 2, "return")]),
        order(3, 1, cancelled_at="2026-01-10T12:00:00Z", refunds=[back(103, 31, 1, "no_restock", at="2026-01-10")]),
        order(4, 1, fulfillments=sent[4], refunds=[back(104, 41, 1, "return", status="failure")]),
        order(5, 3, fulfillments=sent[5], refunds=[back(105, 51, 1, "no_restock", at="2026-01-12")]),
        order(6, 1),
        order(7, 1, fulfillments=sent[7], refunds=[back(107, 71, 1, "return")]),
        order(8, 1, fulfillments=sent[8]),
    ]
    declined = returned("DECLINED", closedAt="2026-01-22T10:00:00Z", decline={"reason": "FINAL_SALE"})
    of_line = declined["returnLineItems"]["edges"][0]["node"]
    of_line |= {"quantity": 1, "fulfillmentLineItem": {"lineItem": {"id": "gid://shopify/LineItem/81"}}}
    (tmp_path / "orders.json").write_text(json.dumps({"orders": orders}))
    (tmp_path / "returns.json").write_text(json.dumps({"returns": [declined]}))
    settings = fresh(tmp_path)
    load(settings, [tmp_path / "orders.json", tmp_path / "returns.json"])
    expected = {
        "sold_units": 7,
        "net_sales": 70,
        "cancellations": 2,
        "returned_units": 2,
        "observed_return_rate": 2 / 7,
        "refunded_units": 1,
        "units_owed": 1,
        "refund_amount": 36,  # 12.00 each for orders 3, 5 and 7
        "open_returns": 0,
    }
    with current_build(settings.warehouse) as build:
        assert {key: answer(build, key)["value"].iloc[0] for key in expected} == pytest.approx(expected)
        assert answer(build, "decline_share", by=["decline_reason"])["decline_reason"].tolist() == ["final_sale"]


def bag(amount: str) -> dict[str, Any]:
    money_of = {"amount": amount, "currencyCode": "EUR"}
    return {"shopMoney": money_of, "presentmentMoney": money_of}


GRAPHQL_LINE: dict[str, Any] = {
    "id": "gid://shopify/LineItem/11",
    "sku": "SKU-11",
    "quantity": 3,
    "currentQuantity": 2,
    "originalUnitPriceSet": bag("12.00"),
    "isGiftCard": False,
    "taxLines": [{"rate": 0.2, "priceSet": bag("6.00")}],
    "discountAllocations": [],
    "variant": {"id": "gid://shopify/ProductVariant/8"},
}
GRAPHQL_ORDER: dict[str, Any] = {
    "id": "gid://shopify/Order/1",
    "createdAt": "2026-01-10T10:00:00Z",
    "updatedAt": "2026-02-02T10:00:00Z",
    "currencyCode": "EUR",
    "presentmentCurrencyCode": "EUR",
    "taxesIncluded": True,
    "test": False,
    "cancelledAt": None,
    "displayFinancialStatus": "PARTIALLY_REFUNDED",
    "sourceName": "web",
    "customer": {"id": "gid://shopify/Customer/77"},
    "shippingAddress": {"countryCodeV2": "FR", "zip": "75011"},
    "fulfillments": [
        {
            "id": "gid://shopify/Fulfillment/3",
            "status": "SUCCESS",
            "createdAt": "2026-01-11T08:00:00Z",
            "deliveredAt": "2026-01-13T09:00:00Z",
            "trackingInfo": [{"company": "Colissimo"}],
            "fulfillmentLineItems": {"nodes": [{"quantity": 2, "lineItem": {"id": "gid://shopify/LineItem/11"}}]},
        }
    ],
    "refunds": [
        {
            "id": "gid://shopify/Refund/5",
            "createdAt": "2026-02-01T09:00:00Z",
            "totalRefundedSet": bag("12.00"),
            "refundLineItems": {
                "nodes": [
                    {
                        "id": "gid://shopify/RefundLineItem/50",
                        "quantity": 1,
                        "restockType": "RETURN",
                        "subtotalSet": bag("12.00"),
                        "totalTaxSet": bag("2.00"),
                        "lineItem": {"id": "gid://shopify/LineItem/11"},
                    }
                ]
            },
            "transactions": {
                "nodes": [
                    {
                        "id": "gid://shopify/OrderTransaction/9",
                        "kind": "REFUND",
                        "status": "SUCCESS",
                        "amountSet": bag("12.00"),
                        "gateway": "card",
                    }
                ]
            },
        }
    ],
}
SOLD = (
    "11",
    "SKU-11",
    "3",
    "0",
    "2",
    Decimal("30.00"),
    Decimal("6.00"),
    "FR",
    "77",
    "Colissimo",
    "2026-01-13T09:00:00Z",
)


def sales(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return asked(
        connection,
        "SELECT order_line_id, product_id, units, units_cancelled, units_shipped, net_amount::DECIMAL(18, 2),"
        " vat_amount::DECIMAL(18, 2), country, customer_id, carrier, delivered_at FROM order_line",
    )


@pytest.mark.parametrize("wrapped", ["page", "node", "call"])
def test_an_answer_of_graphql_reads_like_a_page_of_rest(tmp_path: Path, wrapped: str) -> None:
    """3 ordered at 12.00 with 6.00 VAT inside = 30.00 net; 2 shipped, 1 of them back; the third is still to ship."""
    nodes = {"edges": [{"node": GRAPHQL_ORDER | {"lineItems": {"nodes": [GRAPHQL_LINE]}}}]}
    page = {
        "page": {"data": {"orders": nodes}},
        "node": {"data": {"node": nodes["edges"][0]["node"]}},
        "call": [{"method": "POST", "url": "graphql.json", "response": {"data": {"orders": nodes}}}],
    }[wrapped]
    connection = read(tmp_path, page)
    assert sales(connection) == [SOLD]
    assert asked(connection, "SELECT event_id, event, units, order_line_id FROM return_event") == [
        ("refund-line-50", "refunded", "1", "11")
    ]
    assert asked(connection, "SELECT refund_id, amount, currency FROM refund") == [("5", "12.00", "EUR")]


def lines_of(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder / name


def test_a_bulk_operation_hangs_its_lines_on_their_orders(tmp_path: Path) -> None:
    """Children may come before the parent, hang on a refund that stands inside the order, and carry no id."""
    whole = copy.deepcopy(GRAPHQL_ORDER)
    refunded = whole["refunds"][0].pop("refundLineItems")["nodes"][0]
    del refunded["id"]
    rows = [
        GRAPHQL_LINE | {"__parentId": whole["id"]},
        whole,
        refunded | {"__parentId": "gid://shopify/Refund/5"},
        returned("CLOSED", closedAt="2026-02-02T10:00:00Z") | {"returnLineItems": None, "__parentId": whole["id"]},
        {
            "id": "gid://shopify/ReturnLineItem/6",
            "quantity": 1,
            "refundedQuantity": 1,
            "fulfillmentLineItem": {"lineItem": {"id": "gid://shopify/LineItem/11"}},
            "__parentId": "gid://shopify/Return/5",
        },
        {"allocationMethod": "ACROSS", "__parentId": whole["id"]},
    ]
    files = [lines_of(tmp_path, "bulk-1.jsonl", rows)]
    assert Shopify().recognises(files)
    connection = given(files)
    assert sales(connection) == [SOLD]
    assert asked(connection, "SELECT event, units FROM return_event ORDER BY 1") == [
        ("refunded", "1"),
        ("requested", "1"),
    ]
    part = lines_of(tmp_path, "part.jsonl", rows[:1])
    with pytest.raises(SourceError, match=r"part\.jsonl line 1 belongs to Order/1, which is in none of the files"):
        given([part])


def test_bodies_of_web_hooks_stand_alone(tmp_path: Path) -> None:
    """One object a file.

    An order, its refund a day later, a fulfilment; a body of returns/* without a time is quarantined by the loader.
    """
    sold = order(1, 1) | {"admin_graphql_api_id": "gid://shopify/Order/1"}
    bodies = {
        "1-orders-create": {k: v for k, v in sold.items() if k != "fulfillments"} | {"fulfillments": []},
        "2-fulfillments-create": (
            fulfilment(3, 11, 1) | {"admin_graphql_api_id": "gid://shopify/Fulfillment/3", "order_id": 1}
        ),
        "3-refunds-create": (
            back(5, 11, 1, "return") | {"admin_graphql_api_id": "gid://shopify/Refund/5", "order_id": 1}
        ),
        "4-returns-request": {
            "id": 5,
            "admin_graphql_api_id": "gid://shopify/Return/5",
            "status": "requested",
            "order": {"id": 1},
            "return_line_items": [
                {
                    "id": 6,
                    "quantity": 1,
                    "return_reason": "unwanted",
                    "fulfillment_line_item": {"line_item": {"id": 11}},
                }
            ],
        },
        "5-customers-update": {"id": 9, "admin_graphql_api_id": "gid://shopify/Customer/9"},
    }
    for body in (
        bodies,
        {n: {k: v for k, v in b.items() if k != "admin_graphql_api_id"} for n, b in bodies.items() if n[0] != "5"},
    ):
        files = []
        for name, content in body.items():
            files.append(tmp_path / f"{name}.json")
            files[-1].write_text(json.dumps(content), "utf-8")
        connection = given(files)
        assert asked(connection, "SELECT units_shipped, shipped_at FROM order_line") == [
            ("1", "2026-01-11T08:00:00+01:00")
        ]
        assert asked(connection, "SELECT event, occurred_at FROM return_event ORDER BY 1") == [
            ("refunded", "2026-02-01T10:00:00+01:00"),
            ("requested", None),
        ]


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    (tmp_path / "orders.json").write_text(json.dumps({"orders": [ORDER]}))
    (tmp_path / "stock.csv").write_text("sku,units\nA,1\n")
    (tmp_path / "shelf.json").write_text('{"shelves": [{"name": "A1"}]}')
    assert not is_shopify(tmp_path / "shelf.json")
    with pytest.raises(SourceError, match=r"stock\.csv is not JSON"):
        given([tmp_path / "orders.json", tmp_path / "stock.csv"])
    with pytest.raises(SourceError, match=r"shelf\.json holds nothing .* keys shelves"):
        given([tmp_path / "orders.json", tmp_path / "shelf.json"])


def test_the_order_export_of_the_admin_loads_by_its_mapping() -> None:
    """What is the order's stands on its first row only; a line of an order may have no SKU.

    Tax inside at 20%: 60 / 1.2 = 50. #1002 has 6 off: 54 / 1.2 = 45. #1003 was cancelled, #1004 voided. #1005 has 7.25%
    on top, and a hat still to ship. #1006 has two rates, so its 2.60 of 31.10 come off both lines: 12.00 x (1 - 2.60 /
    31.10) = 10.9968.
    """
    file = Path(__file__).parent / "fixtures" / "systems" / "shopify_orders_csv" / "orders_export.csv"
    connection = connect(":memory:", threads=1)
    mapping = mapping_source("shopify_orders_csv")
    (lines,) = (n for n in mapping.name_rows(connection, [file], "export") if n.thing == "order_line")
    columns = "order_id, product_id, units, units_cancelled, units_shipped, net_amount, vat_amount"
    found = asked(connection, f"SELECT {columns}, channel, ordered_at FROM ({lines.sql}) ORDER BY _line")
    assert [(o, p, *(round(float(n), 4) for n in numbers), c, at[:10]) for o, p, *numbers, c, at in found] == [
        ("#1001", "LIN-M", 2, 0, 2, 50, 10, "web", "2026-04-02"),
        ("#1001", "Wool scarf", 1, 0, 1, 50, 10, "web", "2026-04-02"),
        ("#1002", "Wool scarf", 1, 0, 1, 45, 9, "web", "2026-04-05"),
        ("#1003", "LIN-M", 1, 1, 0, 25, 5, "web", "2026-04-06"),
        ("#1004", "LIN-M", 1, 1, 0, 25, 5, "web", "2026-04-07"),
        ("#1005", "COAT", 1, 0, 1, 150, 10.875, "store", "2026-04-08"),
        ("#1005", "HAT", 1, 0, 0, 50, 3.625, "store", "2026-04-08"),
        ("#1006", "CAP", 1, 0, 1, 10.9968, 1.0032, "web", "2026-04-09"),
        ("#1006", "BOOK", 1, 0, 1, 17.5032, 1.5968, "web", "2026-04-09"),
    ]


WHOLE: dict[str, Any] = {
    "orders": [ORDER | {"total_price_set": money("120.00", "USD")}],
    "returns": [
        returned(
            "DECLINED",
            decline={"reason": "OTHER"},
            exchangeLineItems={"nodes": [{"lineItem": {"id": "gid://shopify/LineItem/12"}}]},
        )
    ],
    "products": [
        {
            "id": 1,
            "updated_at": "2026-01-01T00:00:00Z",
            "options": [{"name": "Size", "position": 1}],
            "variants": [{"id": 2, "sku": "A", "option1": "M", "grams": 200, "inventory_item_id": 3}],
        }
    ],
    "inventory_items": [{"id": 3, "cost": "5.00"}],
    "locations": [{"id": 4, "country_code": "FR", "zip": "75011"}],
    "shop": {"id": 5, "currency": "EUR"},
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [path, *(p for key, part in parts for p in places(part, (*path, key)))]


@tries(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(
    st.sampled_from(places(WHOLE)[1:]),
    st.sampled_from(
        [
            None,
            5,
            -1,
            2.5,
            "x",
            "",
            [],
            {},
            ["a", "b"],
            [None],
            [[]],
            {"a": 1},
            True,
            float("nan"),
            "gid://shopify/",
            10**30,
        ]
    ),
)
def test_no_value_of_another_type_stops_the_reading(tmp_path: Path, path: tuple[Any, ...], odd: Any) -> None:
    """Whatever stands at one place, the rest is given, and every row keeps its id or is given without one."""
    page = copy.deepcopy(WHOLE)
    holder: Any = page
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    (tmp_path / "page.json").write_text(json.dumps(page))
    connection = duckdb.connect()
    for named in Shopify().name_rows(connection, [tmp_path / "page.json"], "shopify"):
        connection.execute(named.sql)


def test_a_number_that_is_none_is_given_as_it_is_written(tmp_path: Path) -> None:
    """So that the loader quarantines the row and shows the value; the other line of the order stands."""
    bad = order(1, 1)
    bad["line_items"] = [line(11, "12,00 EUR"), line(12, "12.00")]
    bad["line_items"][0].pop("price_set")
    connection = read(tmp_path, {"orders": [bad]})
    assert asked(connection, "SELECT order_line_id, net_amount FROM order_line ORDER BY 1") == [
        ("11", "12,00 EUR"),
        ("12", "12.00"),
    ]
