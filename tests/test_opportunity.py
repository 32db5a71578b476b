"""Beside the books.

What cost rests on, what goods lose a week, sales missed, who orders again; erosion cut by what no metric knows.
"""

from datetime import date

import numpy as np
import pytest

from pipelines import analyses, metrics
from pipelines.analyses.opportunity import CUTS
from pipelines.errors import UnknownDimension
from pipelines.factors import parameters
from pipelines.metrics import Question
from pipelines.warehouse.engine import Build

SPAN = Question(since=date(2025, 2, 1), until=date(2026, 1, 31))


def test_the_tiny_shops_erosion_by_hand(tiny_build: Build) -> None:
    """Worked out on paper from tests/conftest.py and the usual rates, in EUR.

    R1 a dress (50, cost 20), resold as new for 48; R2 two pairs of shoes (160, cost 60), one as new, one second choice
    for 15 after 2 of treatment; R3 a dress exchanged in the store; R4 a pair (80, cost 30) lost on its way, and not
    paid back yet.
    """
    undone = 30 + 100  # an exchange undoes no sale, nor does what was lost before its money goes back
    by_hand = {
        "outbound_shipping": 3 + 4 + 3 + 4,
        "payment_fee": 1 + 2 + 1,  # none for the exchange
        "return_freight": (1.2 + 4) + 5 + 1.2,  # the usual first mile, two invoices
        "handling": (
            (0.6 + 0.9 + 0.5) + (2 * 0.6 + 2 * 0.9 + 2 * 0.5 + 2) + (0.6 + 0.9 + 0.5)
        ),  # what was lost was not handled
        "value_loss": (50 - 48) + (30 - 15) + 30,
    }
    found = metrics.answer(tiny_build, "return_cost", by=("component",)).set_index("component")["value"].to_dict()
    assert found == {name: pytest.approx(amount) for name, amount in by_hand.items()}
    assert metrics.answer(tiny_build, "margin_reversed")["value"].iloc[0] == pytest.approx(undone)
    assert metrics.answer(tiny_build, "margin_erosion")["value"].iloc[0] == pytest.approx(
        undone + sum(by_hand.values())
    )
    steps = analyses.waterfall(tiny_build).set_index("step")["amount"]
    assert steps["booked"] + steps.drop(["booked", "left"]).sum() == pytest.approx(steps["left"], abs=1e-9)
    assert steps["left"] == pytest.approx(steps["booked"] - 216.4)


def test_erosion_cut_any_way_is_the_whole(sample_build: Build) -> None:
    whole = metrics.answer(sample_build, "margin_erosion", SPAN)["value"].iloc[0]
    sold = metrics.answer(sample_build, "sold_units", SPAN)["value"].iloc[0]
    for by in CUTS:
        found = analyses.erosion_by(sample_build, by, SPAN)
        assert found["erosion"].sum() == pytest.approx(whole), by
        assert found["sold"].sum() == sold, by
        assert (found["erosion"] / found["sold"].where(found["sold"] > 0)).dropna().to_numpy() == pytest.approx(
            found["per_sold"].dropna().to_numpy()
        )
    with pytest.raises(UnknownDimension, match="cannot be cut by 'colour'"):
        analyses.erosion_by(sample_build, "colour")


def test_the_tornado_moves_cost_by_what_the_parameter_carries(sample_build: Build) -> None:
    """Receipt is a rate a unit: its swing is units x the bounds' distance; the widest stands first."""
    found = analyses.cost_tornado(sample_build, SPAN).set_index("parameter")
    row = parameters()["handling_receipt", ""]
    low, high = found.loc["handling_receipt", ["low", "high"]]
    units = (high - low) / (float(row["high"]) - float(row["low"]))
    assert units == pytest.approx(round(units))
    assert units > 100
    assert low == pytest.approx(units * (float(row["low"]) - float(row["value"])))
    width = (found["high"] - found["low"]).to_numpy()
    assert (np.diff(width) <= 1e-9).all()
    assert (found["low"] <= 0).all()
    assert (found["high"] >= 0).all()


def test_what_goods_lose_a_week_is_measured(sample_build: Build) -> None:
    found = analyses.markdown_curve(sample_build)
    whole = found.iloc[0]
    assert bool(whole["is_measured"])
    assert whole["low"] < whole["rate"] < whole["high"]
    assert 0.005 < whole["rate"] < 0.03
    assert (found["n"] >= 100).all()


def test_too_few_recoveries_leave_the_parameter(tiny_build: Build) -> None:
    [row] = analyses.markdown_curve(tiny_build).to_dict("records")
    assert not row["is_measured"]
    assert row["rate"] == float(parameters()["markdown_week", ""]["value"])


def test_missed_sales_lie_between_the_bounds(sample_build: Build) -> None:
    found = analyses.lost_sales(sample_build, SPAN)
    assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all()
    assert found["value"].sum() > 0
    margin = metrics.answer(sample_build, "gross_margin", SPAN)["value"].iloc[0]
    assert found["high"].sum() < margin


def test_repeat_rates_are_shares_of_matched_customers(sample_build: Build) -> None:
    found = analyses.repeat_rates(sample_build).set_index("group")
    assert list(found.index) == ["no_return", "kept", "broken"]
    known = found.dropna()
    assert ((known["low"] <= known["rate"]) & (known["rate"] <= known["high"])).all()
    assert known["rate"].between(0, 1).all()


def test_a_shop_without_customers_says_nothing(tiny_build: Build) -> None:
    found = analyses.repeat_rates(tiny_build)
    assert not found["is_enough"].any()
