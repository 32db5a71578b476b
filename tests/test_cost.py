"""Costs: laws of the arithmetic, and a build whose euros were worked out by hand."""

from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import cost
from pipelines.estimate.leg_cost import legs
from pipelines.estimate.return_cost import returns
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings
from pipelines.warehouse.shards import Shards

MONEY = st.floats(0, 1e5)


@given(MONEY, MONEY, MONEY)
def test_waterfall_adds_up(net: float, cost_amount: float, return_cost: float) -> None:
    """Margin as booked, less what the return erodes, is the return's cost below zero."""
    booked = cost.margin(net, cost_amount)
    assert booked - cost.margin_erosion(booked, return_cost) == pytest.approx(-return_cost, abs=1e-6)


@given(MONEY, st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_shares_of_a_line_add_up(amount: float, units: list[int]) -> None:
    assert sum(cost.share_of(amount, n, sum(units)) for n in units) == pytest.approx(amount)


@given(MONEY, st.floats(0, 1))
def test_value_lost_and_recovered_are_the_cost(cost_amount: float, share: float) -> None:
    recovered = cost_amount * share
    assert cost.value_loss(cost_amount, recovered) + recovered == pytest.approx(cost_amount)
    assert cost.value_loss(cost_amount, recovered) >= 0


@given(MONEY, st.floats(1, 100))
def test_no_markdown_at_an_unchanged_price(net: float, price: float) -> None:
    assert cost.markdown(net, price, price) == 0


LOTS = """
    lot line return_ parcel units disposition return_type net cost currency fx stage
    1   1    1       1      1     as_new      withdrawal  50  20   EUR      1   restocked
    2   2    1       1      1     b_stock     withdrawal  80  30   EUR      1   inspected
    3   3    2       2      2     recycled    conformity  60  40   EUR      1   inspected
    4   4    3       3      1     -           withdrawal  50  30   EUR      1   scanned
    5   5    4       -      1     -           withdrawal  70  28   EUR      1   lost
    6   6    5       -      1     -           withdrawal  50  20   EUR      1   cancelled
    7   7    6       -      1     -           price_adjustment 50 20 EUR    1   refunded
    8   8    7       -      1     donated     withdrawal  40  10   GBP      1.2 inspected
    9   9    8       -      1     as_new      exchange    50  20   EUR      1   restocked
    10  10   9       -      1     refurbished withdrawal  50  25   EUR      1   inspected
    11  11   10      -      1     as_new      withdrawal  30  -    USD      -   restocked
"""


def _rows(text: str) -> list[dict[str, str]]:
    head, *body = [line.split() for line in text.strip().splitlines()]
    return [dict(zip(head, row, strict=True)) for row in body]


@pytest.fixture(scope="module")
def build() -> duckdb.DuckDBPyConnection:
    """Eleven lots; order lines of two units at 6.00 shipping and 2.00 fees; a fee of 3.50 a return."""
    connection = duckdb.connect()
    create_tables(connection)
    connection.execute("""
        INSERT INTO build_info VALUES ('reporting_currency', 'EUR');
        INSERT INTO dim_policy (policy_key, fee_amount, currency) VALUES (1, 3.5, 'EUR');
        INSERT INTO dim_place (place_key, kind, country) VALUES (1, 'drop_off', 'DE'), (2, 'hub', 'DE'), (3,
            'returns_centre', 'FR');
        INSERT INTO fact_order_line (order_line_key, source, line_type, style_id, ordered_on, units_sold,
            units_exchanged_in, net_amount, outbound_cost, payment_fee, currency, fx_rate) VALUES
            (1, 's', 'goods', 'X', '2025-03-01', 2, 0, 100, 6, 2, 'EUR', 1), (9, 's', 'goods', 'Y', '2025-03-01', 0, 1,
                50, 3, 0.5, 'EUR', 1),
            (20, 's', 'goods', 'Y', '2025-03-09', 10, 0, 500, 0, 0, 'EUR', 1), (21, 's', 'goods', 'Y', '2025-04-09', 10,
                0, 400, 0, 0, 'EUR', 1);
        INSERT INTO fact_recovery (recovery_key, return_line_key, units, disposition, amount, treatment_cost, currency,
            fx_rate) VALUES
            (1, 1, 1, 'as_new', 48, 0, 'EUR', 1), (2, 2, 1, 'b_stock', 15, 2, 'EUR', 1);
        INSERT INTO fact_return_leg (leg_key, parcel_key, element_type, role, started_on, mode, carrier, method,
            from_place_key, to_place_key, cost_amount, currency, fx_rate) VALUES
            (1, 1, 'activity', 'customer_trip', '2025-03-01', 'car', NULL, 'drop_off', 1, 1, NULL, NULL, NULL),
            (2, 1, 'transport', 'first_mile', '2025-03-01', 'van', 'C', 'drop_off', 1, 2, NULL, NULL, NULL),
            (3, 1, 'transport', 'trunk', '2025-03-01', 'truck', 'C', 'drop_off', 2, 3, 4, 'EUR', 1),
            (4, 1, 'hub', 'hub', '2025-03-01', 'site', NULL, 'drop_off', 3, 3, NULL, NULL, NULL),
            (5, 2, 'transport', 'trunk', '2025-03-01', 'truck', 'C', 'mail', 2, 3, NULL, NULL, NULL),
            (6, 3, 'transport', 'trunk', '2025-03-01', 'truck', 'C', 'mail', 2, 3, 5, 'GBP', 1.2);
    """)
    for row in _rows(LOTS):
        stage = row["stage"]
        day = "2025-04-02"
        came = stage in ("inspected", "restocked")
        values: dict[str, Any] = {
            "return_lot_key": row["lot"],
            "return_line_key": row["line"],
            "return_key": row["return_"],
            "parcel_key": row["parcel"],
            "units": row["units"],
            "disposition": row["disposition"],
            "return_type": row["return_type"],
            "net_amount": row["net"],
            "cost_amount": row["cost"],
            "currency": row["currency"],
            "fx_rate": row["fx"],
            "policy_key": "1",
            "source": "s",
            "order_line_key": {"1": "1", "9": "9"}.get(row["lot"], "-"),
            "style_id": {"9": "Y"}.get(row["lot"], "X"),
            "ordered_on": "2025-03-01",
            "confirmed_at": "-" if stage == "cancelled" else day,
            "cancelled_at": day if stage == "cancelled" else "-",
            "lost_at": day if stage == "lost" else "-",
            "received_at": day if came else "-",
            "inspected_at": day if came else "-",
            "restocked_at": day if stage == "restocked" else "-",
        }
        given = [None if v == "-" else v for v in values.values()]
        connection.execute(
            f"INSERT INTO fact_return_line ({', '.join(values)}) VALUES ({', '.join('?' * len(given))})", given
        )
    legs(connection, Settings(), Shards(), "TRUE")
    returns(connection, Settings(), Shards(), "TRUE")
    return connection


def _cost(build: duckdb.DuckDBPyConnection, lot: int) -> dict[str, tuple[Decimal | None, str]]:
    rows = build.execute("SELECT component, amount, status FROM estimate_return_cost WHERE return_lot_key = ?", [lot])
    return {component: (amount, status) for component, amount, status in rows.fetchall()}


def _money(amount: str, status: str) -> tuple[Decimal, str]:
    return Decimal(amount), status


def test_leg_costs(build: duckdb.DuckDBPyConnection) -> None:
    """Invoices as they are, at their day's rate; nothing for what is not paid as a leg; else the usual rate."""
    rows = build.execute("SELECT leg_key, amount, status, method FROM estimate_leg_cost ORDER BY 1").fetchall()
    assert rows == [
        (1, Decimal(0), "imputed", "the customer pays"),
        (2, Decimal("1.2"), "assumed", "usual rate"),
        (3, Decimal(4), "measured", "invoice"),
        (4, Decimal(0), "imputed", "part of handling"),
        (5, Decimal("2.2"), "assumed", "usual rate"),  # across a border
        (6, Decimal(6), "measured", "invoice"),
    ]


def test_resold_as_new(build: duckdb.DuckDBPyConnection) -> None:
    """Half of an order line; half of a parcel of 5.20 and of a fee of 3.50; 50 booked, 48 got; 2.00 of handling."""
    assert _cost(build, 1) == {
        "outbound_shipping": _money("3", "measured"),
        "payment_fee": _money("1", "imputed"),
        "return_freight": _money("2.6", "assumed"),
        "handling": _money("2", "assumed"),
        "value_loss": _money("2", "measured"),
        "fee_charged": _money("-1.75", "imputed"),
    }


def test_second_choice(build: duckdb.DuckDBPyConnection) -> None:
    """30 of cost, 15 got: 15 lost once; the treatment of 2.00 comes on top of handling."""
    found = _cost(build, 2)
    assert found["value_loss"] == _money("15", "measured")
    assert found["handling"] == _money("4", "assumed")


def test_recycled(build: duckdb.DuckDBPyConnection) -> None:
    """Two units, 40 of cost, nothing expected back.

    Received and inspected but not repacked; a conformity claim pays no fee.
    """
    assert _cost(build, 3) == {
        "return_freight": _money("2.2", "assumed"),
        "handling": _money("3", "assumed"),
        "value_loss": _money("40", "assumed"),
        "disposal": _money("1.7", "assumed"),
    }


def test_under_way_and_lost(build: duckdb.DuckDBPyConnection) -> None:
    """A tenth of the cost is expected to be lost while nothing is decided; a lost parcel loses all of it."""
    assert _cost(build, 4) == {
        "return_freight": _money("6", "measured"),
        "value_loss": _money("3", "assumed"),
        "fee_charged": _money("-3.5", "imputed"),
    }
    assert _cost(build, 5)["value_loss"] == _money("28", "imputed")


def test_nothing_came_back(build: duckdb.DuckDBPyConnection) -> None:
    """A cancelled return and a price adjustment cost nothing here."""
    assert _cost(build, 6) == {}
    assert _cost(build, 7) == {}


def test_currency(build: duckdb.DuckDBPyConnection) -> None:
    """10 pounds given away at 1.20 are 12 euros; a currency without a rate gives no value, not zero."""
    assert _cost(build, 8)["value_loss"] == _money("12", "assumed")
    unrated = _cost(build, 11)
    assert set(unrated) == {"handling", "fee_charged", "value_loss"}  # the policy's fee is in euros
    assert unrated["value_loss"][0] is None


def test_exchange(build: duckdb.DuckDBPyConnection) -> None:
    """No money went back.

    The payment fee is not lost and no fee is charged; the style fell from 50 to 40, so 50 lost 10.
    """
    assert _cost(build, 9) == {
        "outbound_shipping": _money("3", "measured"),
        "handling": _money("2", "assumed"),
        "value_loss": _money("10", "imputed"),
    }


def test_expected_recovery(build: duckdb.DuckDBPyConnection) -> None:
    """Refurbished goods are expected to bring 60% of their price: 25 of cost less 30."""
    assert _cost(build, 10)["value_loss"] == _money("-5", "assumed")


def test_freight_of_lots_is_freight_of_legs(build: duckdb.DuckDBPyConnection) -> None:
    lots = build.execute("SELECT sum(amount) FROM estimate_return_cost WHERE component = 'return_freight'").fetchall()
    assert lots == build.execute("SELECT sum(amount) FROM estimate_leg_cost").fetchall()
