"""Milestones backwards, worked out by hand: legs in their units, the walk, the date when a step is late."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import hand_build
import numpy as np
import pandas as pd
import pytest

from models.milestones import DAYS, HOURS, USUAL, Calendar, Leg, end_of, latest, next_step, renewed, start_of
from pipelines import analyses
from pipelines.metrics import Question
from pipelines.warehouse.engine import Build, open_duckdb

pytestmark = pytest.mark.usefixtures("no_rules")


def on(text: str, hour: float = 0.0) -> float:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days + hour / 24


def day(at: float) -> str:
    return str(pd.Timestamp(np.floor(at), unit="D"))[:10]


def week() -> Calendar:
    """Give January 2026, business days Monday to Friday but the 1st: the 5th is a Monday."""
    days = pd.date_range("2026-01-01", "2026-01-31")
    worked = (days.day_of_week < 5) & (days != "2026-01-01")
    return Calendar(int(on("2026-01-01")), worked.cumsum().astype(np.int64))


BUSINESS = {"business_days": week()}


def test_each_unit_is_taken_off_as_it_is_promised() -> None:
    due = on("2026-01-22", 23.99)  # a Thursday
    assert start_of(Leg("refunded", 36, HOURS), due, None) == pytest.approx(due - 1.5)
    assert day(start_of(Leg("refunded", 5, DAYS), due, None)) == "2026-01-17"
    # two business days before Thursday the 22nd: Tuesday the 20th
    assert day(start_of(Leg("refunded", 2, "business_days"), due, week())) == "2026-01-20"
    # before Monday the 19th: Thursday the 15th
    assert day(start_of(Leg("refunded", 2, "business_days"), on("2026-01-19", 12), week())) == "2026-01-15"
    # one before Monday: Friday, and what comes on the weekend counts as Friday's
    assert day(start_of(Leg("refunded", 1, "business_days"), on("2026-01-19", 12), week())) == "2026-01-18"
    assert np.isnan(start_of(Leg("refunded", 30, "business_days"), due, week()))  # before the calendar begins
    assert start_of(Leg("refunded", 1.25, USUAL), 100.0, None) == 98.75


def test_forward_is_the_same_way() -> None:
    # from Friday the 16th, 2 business days: Tuesday the 20th; from Saturday too
    for start in ("2026-01-16", "2026-01-17"):
        assert day(end_of(Leg("refunded", 2, "business_days"), on(start, 9), week())) == "2026-01-20"
    for start in np.arange(on("2026-01-06"), on("2026-01-24")):
        for count in (1, 2, 3):
            leg = Leg("refunded", count, "business_days")
            due = end_of(leg, start, week())
            assert start_of(leg, due, week()) >= start  # what is taken off again is no earlier


def test_the_walk_takes_promises_first_and_says_what_it_rests_on() -> None:
    legs = {
        "carrier_scan": [Leg("received", 3.5, USUAL)],
        "received": [
            Leg("inspected", 2, "business_days"),
            Leg("refunded", 5, "business_days"),
            Leg("inspected", 9, USUAL),
        ],
        "inspected": [Leg("refunded", 24, HOURS)],
    }
    found = latest([on("2026-01-22", 23.99)], legs, BUSINESS)
    # inspection: Wednesday the 21st, 23:59. Receipt: two business days earlier Monday the 19th; five before Thursday
    # the 22nd Thursday the 15th: both hold, so Monday is early enough. Scan: 3.5 days before the end of the 19th.
    assert [(day(found[s][0][0]), found[s][1]) for s in ("inspected", "received", "carrier_scan")] == [
        ("2026-01-21", True),
        ("2026-01-19", True),
        ("2026-01-16", False),
    ]
    # seen on Tuesday the 20th at noon and not received: two business days to Thursday the 22nd for inspection, then 24
    # hours to the 23rd; five business days end on Tuesday the 27th; the sooner of both is promised
    assert day(renewed("received", [on("2026-01-20", 12)], legs, BUSINESS)[0]) == "2026-01-23"


def test_a_step_whose_way_is_not_known_has_no_day() -> None:
    found = latest([100.0], {"inspected": [Leg("refunded", 1, USUAL)]}, {})
    assert found["inspected"][0][0] == 99
    assert np.isnan(found["received"][0][0])
    assert np.isnan(renewed("received", [90.0], {}, {})[0])
    assert [next_step(s) for s in ("requested", "carrier_scan", "inspected")] == [
        "carrier_scan",
        "received",
        "refunded",
    ]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Give the hand build with a policy of d, its stage and the calendar of France in January and February 2026."""
    days = pd.date_range("2026-01-01", "2026-02-28")
    numbers = ((days.day_of_week < 5) & (days != "2026-01-01")).cumsum()
    calendar = [
        {"day": d.date(), "country": "FR", "carrier": "", "is_holiday": False, "business_day_no": int(n)}
        for d, n in zip(days, numbers, strict=True)
    ]
    policy = {"policy_key": 5, "policy_id": "shop:p", "refund_trigger": "inspected"}
    made = [
        {"promise_id": "look", "from_stage": "received", "to_stage": "inspected", "duration": 2.0},
        {"promise_id": "pay", "from_stage": "inspected", "to_stage": "refunded", "duration": 3.0},
    ]
    promises = [p | ({"policy_key": 5} if p["return_id"] == "shop:r-d" else {}) for p in hand_build.PROMISES]
    tables = {
        "dim_day": calendar,
        "dim_policy": [policy],
        "dim_policy_promise": [{"policy_key": 5, "duration_unit": "business_days", **m} for m in made],
        "dim_shop": [{"shop_key": 1, "shop_id": "shop:fr", "time_zone": "Europe/Paris"}],
        "estimate_promise": promises,
        "estimate_completion": [{"return_key": ord("d"), "stage": "carrier_scan", "stage_days": 1.1}],
    }
    path = hand_build.write(tmp_path_factory.mktemp("steps") / "hand.duckdb", tables)
    with open_duckdb(path) as opened:
        yield opened


def test_an_open_return_by_hand(build: Build) -> None:
    (row,) = analyses.milestones(build).to_dict("records")
    # d is due on 3 February 01:00 in Paris, a Tuesday. Three business days earlier: Thursday 29 January; two before it:
    # Tuesday the 27th. Now is 31 January 13:00: receipt is late. Received now, a Saturday: inspected within two
    # business days, Tuesday 3 February; paid within three more, Friday the 6th.
    assert (row["return_id"], row["promise_id"], row["stage"]) == ("shop:r-d", "legal_refund", "carrier_scan")
    assert str(row["inspection_by"])[:10] == "2026-01-29"
    assert str(row["receipt_by"])[:10] == "2026-01-27"
    assert pd.isna(row["scan_by"])  # it was scanned
    assert (row["receipt_basis"], row["inspection_basis"], row["scan_basis"]) == ("promised", "promised", None)
    assert (row["missed"], str(row["refund_by"])[:10]) == ("received", "2026-02-06")


def test_the_list_at_risk_tells_the_steps(build: Build) -> None:
    (row,) = analyses.worklist_at_risk(build).to_dict("records")
    assert (row["missed"], str(row["refund_by"])[:10]) == ("received", "2026-02-06")
    assert analyses.milestones(build, Question(where={"country": ["DE"]})).empty
    scanned = analyses.worklist_at_risk(
        build, Question(where={"stage": ["carrier_scan"]})
    )  # risks alone know the stage
    assert scanned["missed"].tolist() == ["received"]


def test_usual_days_stand_where_nothing_is_promised(tmp_path: Path) -> None:
    tables = {"estimate_completion": [{"return_key": ord("d"), "stage": "received", "stage_days": 1.0}]}
    with open_duckdb(hand_build.write(tmp_path / "usual.duckdb", tables)) as usual:
        (row,) = analyses.milestones(usual).to_dict("records")
        days = analyses.usual_days(usual)["inspected-refunded"]
    # no policy and no shop: UTC, due on 3 February 00:00; a took 2 days from inspection to refund and c 16, and half of
    # those that are paid took no longer than 2
    assert days == 2
    assert (str(row["inspection_by"])[:10], row["inspection_basis"], row["missed"]) == ("2026-02-01", "usual", None)
