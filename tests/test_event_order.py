"""What happened last rules: return lines whose events stop, go on again, repeat or name parts.

One shop holds every line.
"""

from pathlib import Path

import pytest

from pipelines.load import load
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests.conftest import fresh, write_rows

pytestmark = pytest.mark.usefixtures("facts_alone")

Event = tuple[str, int, int]  # event, day of March 2026, units

# name: units sold, events, then (units of lots, units confirmed, units stopped)
LINES: dict[str, tuple[int, list[Event], tuple[int, int, int]]] = {
    "plain": (1, [("requested", 8, 1), ("received", 12, 1), ("refunded", 14, 1)], (1, 1, 0)),
    "expired_then_received": (1, [("requested", 8, 1), ("expired", 18, 1), ("received", 21, 1)], (1, 1, 0)),
    "expired_and_received_that_day": (1, [("requested", 8, 1), ("expired", 18, 1), ("received", 18, 1)], (1, 1, 0)),
    "received_then_cancelled": (1, [("requested", 8, 1), ("received", 12, 1), ("cancelled", 14, 1)], (1, 0, 1)),
    "rejected_then_approved": (1, [("requested", 8, 1), ("rejected", 9, 1), ("approved", 10, 1)], (1, 0, 0)),
    "approved_then_rejected": (1, [("requested", 8, 1), ("approved", 9, 1), ("rejected", 10, 1)], (1, 0, 1)),
    "rejected_then_received": (1, [("requested", 8, 1), ("rejected", 9, 1), ("received", 12, 1)], (1, 1, 0)),
    "cancelled_and_asked_again": (1, [("requested", 8, 1), ("cancelled", 9, 1), ("requested", 12, 1)], (1, 0, 0)),
    "asked_again_then_expired": (
        1,
        [("requested", 8, 1), ("cancelled", 9, 1), ("requested", 12, 1), ("expired", 25, 1)],
        (1, 0, 1),
    ),
    "stopped_twice_then_received": (
        1,
        [("requested", 8, 1), ("cancelled", 9, 1), ("requested", 12, 1), ("expired", 20, 1), ("received", 22, 1)],
        (1, 1, 0),
    ),
    "one_of_two_cancelled": (2, [("requested", 8, 2), ("cancelled", 9, 1), ("received", 12, 1)], (2, 1, 1)),
    "both_cancelled_one_came": (2, [("requested", 8, 2), ("cancelled", 9, 2), ("received", 12, 1)], (2, 1, 1)),
    "both_cancelled_both_came": (2, [("requested", 8, 2), ("cancelled", 9, 2), ("received", 12, 2)], (2, 2, 0)),
    "asked_twice_under_two_ids": (1, [("requested", 8, 1), ("requested", 8, 1), ("received", 12, 1)], (1, 1, 0)),
    "received_twice_under_two_ids": (1, [("requested", 8, 1), ("received", 12, 1), ("received", 12, 1)], (1, 1, 0)),
    "two_units_received_one_by_one": (2, [("requested", 8, 2), ("received", 12, 1), ("received", 13, 1)], (2, 2, 0)),
    "one_of_two_received_told_twice": (2, [("requested", 8, 2), ("received", 12, 1), ("received", 12, 1)], (2, 1, 0)),
    "more_came_than_asked": (2, [("requested", 8, 1), ("received", 12, 2)], (2, 2, 0)),
    "webhooks_told_twice": (
        5,
        [("requested", 8, 1), ("requested", 8, 1), ("received", 12, 1), ("received", 12, 1), ("refunded", 13, 1)],
        (1, 1, 0),
    ),
    "less_came_than_asked": (3, [("requested", 8, 3), ("received", 12, 2)], (3, 2, 0)),
    "more_asked_than_sold": (1, [("requested", 8, 3)], (1, 0, 0)),
    "one_unit_refunded_in_two_parts": (1, [("received", 12, 1), ("refunded", 13, 1), ("refunded", 14, 1)], (1, 1, 0)),
    "refunds_alone": (2, [("refunded", 13, 2)], (2, 2, 0)),
    "scanned_then_lost": (1, [("requested", 8, 1), ("carrier_scan", 9, 1), ("lost", 20, 1)], (1, 0, 0)),
    "lost_then_paid": (1, [("carrier_scan", 9, 1), ("lost", 20, 1), ("refunded", 22, 1)], (1, 1, 0)),
    "one_of_two_lost": (2, [("requested", 8, 2), ("carrier_scan", 9, 2), ("lost", 20, 1)], (2, 1, 0)),
}

Treated = tuple[str, int, int, str]  # event, day of March 2026, units, disposition

# name: units asked back, what was done with them, then the units by disposition
TREATED: dict[str, tuple[int, list[Treated], dict[str, int]]] = {
    "one_each_way": (
        2,
        [("restocked", 14, 1, "as_new"), ("disposed", 14, 1, "destroyed")],
        {"as_new": 1, "destroyed": 1},
    ),
    "three_ways": (
        6,
        [("disposed", 14, 1, "recycled"), ("restocked", 15, 3, "as_new"), ("disposed", 16, 2, "donated")],
        {"recycled": 1, "as_new": 3, "donated": 2},
    ),
    "restocked_then_destroyed": (
        1,
        [("restocked", 14, 1, "as_new"), ("disposed", 20, 1, "destroyed")],
        {"destroyed": 1},
    ),
    "destroyed_after_all_were_restocked": (
        3,
        [("restocked", 14, 3, "as_new"), ("disposed", 20, 1, "destroyed")],
        {"as_new": 2, "destroyed": 1},
    ),
    "round_again": (
        3,
        [("restocked", 14, 2, "b_stock"), ("restocked", 15, 1, "as_new"), ("disposed", 20, 2, "recycled")],
        {"recycled": 2, "as_new": 1},
    ),
    "over_the_end": (
        3,
        [("restocked", 14, 2, "b_stock"), ("disposed", 20, 2, "recycled")],
        {"recycled": 2, "b_stock": 1},
    ),
    "judged_then_treated": (
        2,
        [("inspected", 13, 2, "as_new"), ("disposed", 20, 1, "donated")],
        {"as_new": 1, "donated": 1},
    ),
    "judged_anew": (
        1,
        [("received", 12, 1, ""), ("inspected", 13, 1, "as_new"), ("inspected", 15, 1, "repaired")],
        {"repaired": 1},
    ),
    "some_judged_anew": (
        3,
        [("received", 12, 3, ""), ("inspected", 13, 3, "as_new"), ("inspected", 15, 1, "recycled")],
        {"as_new": 2, "recycled": 1},
    ),
    "treated_less_than_asked": (3, [("received", 12, 3, ""), ("restocked", 14, 1, "as_new")], {"as_new": 1, "nan": 2}),
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("event_order")
    orders, events = [], []
    for name, (sold, happened, _) in LINES.items():
        orders.append(_order(name, sold))
        events += [_event(f"{name}{n}", name, name, *event) for n, event in enumerate(happened)]
    orders += [_order("kit", 2, product="BED"), _order("half_kit", 2, product="BED"), _order("set", 3, units_per_set=4)]
    parts = (("FRAME", 1), ("SLATS", 2), ("LEGS", 4))
    events += [_event(f"k{p}", f"kit-{p}", "kit", "received", 12, n, product=p) for p, n in parts]
    events += [_event(f"h{p}", f"half-{p}", "half_kit", "received", 12, n, product=p) for p, n in parts[1:]]
    events += [_event("set", "set-1", "set", "received", 12, 9)]
    orders.append(_order("parcels", 5))
    events += [_event("p0", "parcels", "parcels", "requested", 8, 5)]
    events += [_event(f"p{d}", "parcels", "parcels", "received", d, n) for d, n in ((15, 2), (17, 1), (21, 1))]
    money = {"refund_id": "F", "refunded_at": "2026-03-18T10:00:00Z", "amount": 180, "currency": "EUR"}
    write_rows(folder / "in" / "refund.csv", [money | {"order_id": "parcels"}])
    of_line = {"refund_line_id": "F-1", "order_line_id": "parcels", "return_line_id": "parcels", "units": 3}
    write_rows(folder / "in" / "refund_line.csv", [money | of_line])
    events += [_event("lost", "lost", "plain", "lost", 10, 1), _event("found", "lost", "plain", "received", 20, 1)]
    for name, (asked, treated, _) in TREATED.items():
        orders.append(_order(name, asked))
        events.append(_event(f"{name} asked", name, name, "requested", 8, asked))
        events += [
            _event(f"{name} {n}", name, name, event, day, units) | {"disposition": disposition}
            for n, (event, day, units, disposition) in enumerate(treated)
        ]
    write_rows(folder / "in" / "order_line.csv", orders)
    write_rows(folder / "in" / "return_event.csv", events)
    write_rows(
        folder / "in" / "bill_of_materials.csv",
        [{"product_id": "BED", "part_id": p, "units": n, "valid_from": "2025-01-01T00:00:00Z"} for p, n in parts],
    )
    settings = fresh(folder)
    load(settings, [folder / "in"])
    return current_build(settings.warehouse)


def _order(name: str, units: int, product: str = "SKU", units_per_set: object = "") -> dict[str, object]:
    return {
        "order_line_id": name,
        "order_id": name,
        "ordered_at": "2026-03-02T10:00:00Z",
        "product_id": product,
        "units": units,
        "net_amount": 300 * units,
        "currency": "EUR",
        "country": "FR",
        "units_per_set": units_per_set,
    }


def _event(
    number: str, line: str, order_line: str, event: str, day: int, units: int, product: str = ""
) -> dict[str, object]:
    return {
        "event_id": number,
        "return_line_id": line,
        "return_id": line,
        "order_line_id": order_line,
        "event": event,
        "occurred_at": f"2026-03-{day:02d}T10:00:00Z",
        "units": units,
        "product_id": product,
    }


def lots(build: Build, line: str) -> list[dict[str, object]]:
    from sqlalchemy import select

    from pipelines.warehouse.star import STAR

    table = STAR.tables["fact_return_line"]
    found = build.fetch(select(table).where(table.c.return_line_id == f"shop:{line}").order_by(table.c.lot_no))
    return found.to_dict("records")


@pytest.mark.parametrize("line", LINES)
def test_lots_follow_the_order_of_events(build: Build, line: str) -> None:
    import pandas as pd

    found = lots(build, line)
    stops = ("cancelled_at", "rejected_at", "expired_at")
    counted = (
        sum(int(str(lot["units"])) for lot in found),
        sum(int(str(lot["units"])) for lot in found if not pd.isna(lot["confirmed_at"])),
        sum(int(str(lot["units"])) for lot in found if any(not pd.isna(lot[s]) for s in stops)),
    )
    assert counted == LINES[line][2]


@pytest.mark.parametrize("line", TREATED)
def test_each_unit_is_what_was_done_with_it_last(build: Build, line: str) -> None:
    units: dict[str, int] = {}
    for lot in lots(build, line):
        units[str(lot["disposition"])] = units.get(str(lot["disposition"]), 0) + int(str(lot["units"]))
    assert units == TREATED[line][2]


def test_money_for_some_of_the_units_makes_no_others_return(build: Build) -> None:
    """Five asked back, four came in three parcels, three were paid, as the refund alone says: 60 each."""
    import pandas as pd

    found = lots(build, "parcels")
    assert sum(int(str(lot["units"])) for lot in found) == 5
    assert sum(int(str(lot["units"])) for lot in found if not pd.isna(lot["confirmed_at"])) == 4
    paid = [lot for lot in found if not pd.isna(lot["refunded_at"])]
    assert sum(int(str(lot["units"])) for lot in paid) == 3
    assert sum(float(str(lot["refund_amount"])) for lot in paid) == 180
    assert sum(float(str(lot["refund_amount"])) for lot in found) == 180


def test_a_request_made_again_starts_its_own_clock(build: Build) -> None:
    (lot,) = lots(build, "cancelled_and_asked_again")
    assert str(lot["requested_at"]) == "2026-03-12 10:00:00"


def test_a_parcel_that_was_lost_and_then_received_is_not_lost(build: Build) -> None:
    (lot,) = lots(build, "lost")
    assert str(lot["lost_at"]) in ("None", "NaT")
    assert str(lot["confirmed_at"]) == "2026-03-20 10:00:00"


def test_parts_count_as_the_kits_they_make_up(build: Build) -> None:
    """7 parts are one bed of two; a bed without its frame is none; 9 parts of sets of 4 are two sets."""
    counted = {
        kit: sum(int(str(lot["units"])) for part in parts for lot in lots(build, part))
        for kit, parts in {
            "kit": ("kit-FRAME", "kit-SLATS", "kit-LEGS"),
            "half": ("half-SLATS", "half-LEGS"),
            "set": ("set-1",),
        }.items()
    }
    assert counted == {"kit": 1, "half": 0, "set": 2}


def test_what_happened_is_kept_beside_how_it_counts(build: Build) -> None:
    from sqlalchemy import func, select

    from pipelines.warehouse.star import STAR

    table = STAR.tables["fact_return_event"]
    found = build.fetch(select(func.count().label("events")).select_from(table))
    of_treated = sum(1 + len(treated) for _, treated, _ in TREATED.values())
    assert (
        int(found["events"].iloc[0])
        == sum(len(events) for _, events, _ in LINES.values()) + 3 + 2 + 1 + 2 + 4 + of_treated
    )


def test_the_same_in_two_loads(tmp_path: Path, build: Build) -> None:
    """The receipt comes in a later load: an increment counts the line as a full build does."""
    from sqlalchemy import select

    from pipelines.warehouse.star import STAR

    settings = fresh(tmp_path)
    rows = [_event("1", "a", "a", "requested", 8, 1), _event("2", "a", "a", "expired", 18, 1)]
    rows += [_event(f"o{n}", f"o{n}", f"o{n}", "received", 12, 1) for n in range(20)]
    write_rows(tmp_path / "one" / "order_line.csv", [_order("a", 1), *(_order(f"o{n}", 1) for n in range(20))])
    write_rows(tmp_path / "one" / "return_event.csv", rows)
    write_rows(tmp_path / "two" / "return_event.csv", [_event("3", "a", "a", "received", 21, 1)])
    load(settings, [tmp_path / "one"])
    assert load(settings, [tmp_path / "two"]).kind == "increment"
    table = STAR.tables["fact_return_line"]
    with_receipt = current_build(settings.warehouse)
    found = with_receipt.fetch(select(table.c.expired_at, table.c.confirmed_at))
    assert len(found) == 21
    with_receipt.close()
    assert found["expired_at"].isna().all()
    assert found["confirmed_at"].notna().all()
