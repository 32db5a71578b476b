"""Dates that cannot be, planted in files.

Each pair of stages is found by its check, the row or its waits are left out, counted and bounded, and nothing else is.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import func, select

from pipelines import metrics
from pipelines.load import checks, load
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_build, current_id
from pipelines.warehouse.date_order import PAIRS, ROW, WAITS, Pair
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from tests.conftest import fresh, write_rows

pytestmark = pytest.mark.usefixtures("no_rules")

DECISION = Path(__file__).parent.parent / "docs" / "decisions" / "0022-what-happened-last-rules.md"
CLEAN = 60
EARLY, FIRST, SECOND = "2026-03-01T10:00:00Z", "2026-03-24T10:00:00Z", "2026-03-25T10:00:00Z"
IDS = {
    "fact_order_line": "order_line_id",
    "fact_return_line": "return_line_id",
    "fact_refund": "refund_id",
    "fact_refund_line": "refund_line_id",
    "fact_recovery": "recovery_id",
}
SAID = {  # a number over the rows of each fact, and what one of them adds to it
    "fact_order_line": ("sold_units", 1),
    "fact_return_line": ("confirmed_units", 1),
    "fact_refund": ("refund_amount", 60),
    "fact_refund_line": ("refund_amount", 60),
}
Rows = dict[str, list[dict[str, str]]]


def _name(pair: Pair) -> str:
    return f"{pair.fact.removeprefix('fact_')}-{pair.first}-{pair.second}"


def _add(rows: Rows, name: str, events: dict[str, str], refund: tuple[str, str] = (FIRST, FIRST), **dates: str) -> None:
    """Add an order of one unit with what came back of it, and its refund with one line."""
    line = {"order_line_id": name, "order_id": name, "ordered_at": "2026-03-10T10:00:00Z", "product_id": "S"}
    line |= {"units": "1", "net_amount": "50", "currency": "EUR", "country": "FR", "unit_cost": "40"}
    rows["order_line"].append({**line, "shipped_at": "2026-03-11T10:00:00Z", "delivered_at": "", **dates})
    back = {"return_line_id": name, "return_id": name, "order_line_id": name}
    rows["return_event"] += [
        {"event_id": f"{name}/{e}", **back, "event": e, "occurred_at": t} for e, t in events.items()
    ]
    paid = {"refund_id": name, "amount": "60", "currency": "EUR"}
    rows["refund"].append({**paid, "order_id": name, "refunded_at": refund[0]})
    rows["refund_line"].append(
        {**paid, "refund_line_id": name, "order_line_id": name, "units": "0", "refunded_at": refund[1]}
    )


def _recover(rows: Rows, name: str, amount: str, at: str = "2026-03-27T10:00:00Z") -> None:
    """Add what the unit of an order fetched."""
    sold = {"recovery_id": name, "return_line_id": name, "recovered_at": at, "units": "1", "disposition": "b_stock"}
    rows["recovery"].append({**sold, "amount": amount, "currency": "EUR"})


def _plant(rows: Rows, pair: Pair) -> None:
    """Add an order with the two dates of a pair the wrong way round, and no other that could be at fault."""
    back = {"received": SECOND}
    stages = (pair.first, pair.second)
    if pair.leaves_out != ROW:
        _add(rows, _name(pair), {pair.first: SECOND, pair.second: FIRST})
    elif pair.fact == "fact_order_line":
        late = {"shipped_at": "2026-03-14T10:00:00Z", "delivered_at": "2026-03-13T10:00:00Z"}
        early = {"shipped_at": "", f"{pair.second}_at": EARLY}
        _add(rows, _name(pair), back, **(late if stages == ("shipped", "delivered") else early))
    elif pair.fact == "fact_return_line":
        day = {"ordered": "09", "shipped": "10", "delivered": "12"}[pair.first]
        dates = {"delivered_at": "2026-03-13T10:00:00Z"} if pair.first == "delivered" else {}
        _add(rows, _name(pair), {"received": f"2026-03-{day}T10:00:00Z"}, **dates)
    elif pair.fact == "fact_recovery":
        _add(rows, _name(pair), back)
        _recover(rows, _name(pair), "900", EARLY)
    else:
        _add(rows, _name(pair), back, (EARLY, FIRST) if pair.fact == "fact_refund" else (FIRST, EARLY))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Sixty orders that came back as they can, one for each pair of stages, and one for each other fault."""
    folder = tmp_path_factory.mktemp("dates")
    rows: Rows = {"order_line": [], "return_event": [], "refund": [], "refund_line": [], "recovery": []}
    for n in range(CLEAN):
        stages = {"requested": FIRST, "received": SECOND, "inspected": "2026-03-26T10:00:00Z"}
        _add(rows, f"clean{n}", stages, delivered_at="2026-03-13T10:00:00Z")
        _recover(rows, f"clean{n}", "20")
    for pair in PAIRS:
        _plant(rows, pair)
    _recover(rows, "return_line-ordered-returned", "900")
    _add(rows, "no_rate", {}, currency="USD")
    _add(rows, "twice", {"received": SECOND})
    rows["return_event"].append({**rows["return_event"][-1], "event_id": "again", "return_line_id": "again"})
    for thing, given in rows.items():
        write_rows(folder / "in" / f"{thing}.csv", given)
    settings = fresh(folder)
    load(settings, [folder / "in"])
    build = current_build(settings.warehouse)
    build.cache["path"] = str(build_path(settings.warehouse, current_id(settings.warehouse) or ""))
    yield build
    build.close()


def _found(build: Build, name: str) -> list[tuple[str, ...]]:
    """Give the rows that a check finds, as text."""
    (check,) = (c for c in checks.CHECKS if c.name == name)
    with duckdb.connect(build.cache["path"], read_only=True) as connection:
        return [tuple(map(str, row)) for row in connection.execute(check.select(is_increment=False)).fetchall()]


def test_the_decision_lists_every_pair_and_what_it_leaves_out() -> None:
    lines = [line.strip("| \n").split(" | ") for line in DECISION.read_text("utf-8").splitlines()]
    told = {("fact_" + line[0].replace(" ", "_"), *line[1:]) for line in lines if line[-1] in {"row", "waits", "may"}}
    assert told == set(PAIRS)


@pytest.mark.parametrize("pair", PAIRS, ids=_name)
def test_each_pair_of_dates_is_found_and_left_out_as_it_says(planted: Build, pair: Pair) -> None:
    table, key = STAR.tables[pair.fact], IDS[pair.fact]
    columns = [func.coalesce(table.c[n], "").label(n) for n in ("date_fault", "out_of_order") if n in table.c]
    (row,) = planted.fetch(select(*columns).where(table.c[key] == f"shop:{_name(pair)}")).to_dict("records")
    assert row["date_fault"] == (pair.fault if pair.leaves_out == ROW else "")
    assert row.get("out_of_order", "") == ("" if pair.leaves_out == ROW else f"{pair.first}-{pair.second}")
    said = (f"shop:{_name(pair)}", pair.fault)
    assert (said in _found(planted, "impossible_dates")) == (pair.leaves_out == ROW)
    assert (said in _found(planted, "stages_in_order")) == (pair.leaves_out == WAITS)


MOVED = {"carrier_scan", "received", "inspected", "refunded", "restocked", "disposed"}
CONFIRMED = [p for p in PAIRS if p.leaves_out == ROW or {p.first, p.second} & MOVED]
"""Pairs whose return counts as confirmed: the goods or the money moved."""


@pytest.mark.parametrize("fact", SAID)
def test_what_is_put_aside_is_not_in_the_number_and_is_counted(planted: Build, fact: str) -> None:
    """A return is put aside with its order line too; `no_rate` and `twice` are two orders more, `again` a return."""
    metric, each = SAID[fact]
    aside_with = {fact, "fact_order_line"} if fact == "fact_return_line" else {fact}
    aside = sum(p.leaves_out == ROW and p.fact in aside_with for p in PAIRS)
    every = CLEAN + 2 + len(CONFIRMED if fact == "fact_return_line" else PAIRS)
    of_products = Question(where={"category": [None]})
    found = metrics.answer(planted, metric, of_products if fact == "fact_refund_line" else Question()).iloc[0]
    assert found["value"] == pytest.approx(each * (every - aside))
    assert found["coverage"] == pytest.approx((every - aside) / every)
    assert f"{aside / every:.1%} have impossible dates" in found["reason"]
    assert found["caution"] == ("coverage" if aside / every > 0.02 else "")
    if metric != "refund_amount":
        assert f"between {every - aside} and {every} units with the rest" in found["reason"]


def test_stages_in_a_wrong_order_leave_the_return_in(planted: Build) -> None:
    names = {f"shop:{_name(p)}" for p in CONFIRMED if p.leaves_out != ROW}
    assert names <= set(metrics.rows(planted, "confirmed_units")["return_line_id"])
    waits = metrics.answer(planted, "stage_days(0.5)", Question(where={"stage": ["received-inspected"]})).iloc[0]
    assert waits["value"] == pytest.approx(1)
    assert "have dates out of order" in waits["reason"]


def test_a_refund_before_its_order_is_counted_on_no_day(planted: Build) -> None:
    early = Question(since=date(2026, 3, 1), until=date(2026, 3, 1))
    found = metrics.answer(planted, "refund_amount", early).iloc[0]
    assert found["status"] == "greyed"
    assert "none of the refunds can be counted" in found["reason"]
    assert metrics.answer(planted, "refund_accuracy").iloc[0]["coverage"] < 1


def test_a_recovery_is_put_aside_with_its_return(planted: Build) -> None:
    """Two fetched 900 that cannot be: one dated before its order, one of a return that is. The others 20 of 40."""
    found = metrics.answer(planted, "recovery_rate").iloc[0]
    assert found["value"] == pytest.approx(0.5)
    assert found["coverage"] == pytest.approx(CLEAN / (CLEAN + 2))
    recovery = STAR.tables["fact_recovery"].c
    rows = planted.fetch(select(recovery.recovery_id, recovery.date_fault).where(recovery.date_fault.is_not(None)))
    assert dict(rows.itertuples(index=False)) == {
        "shop:return_line-ordered-returned": "returned before ordered",
        "shop:recovery-ordered-recovered": "recovered before ordered",
    }


def test_other_faults_are_found_where_they_are_planted(planted: Build) -> None:
    assert ("order lines", "USD", "2026-03-10", "1") in _found(planted, "no_exchange_rate")
    ((_, returned, sold),) = _found(planted, "more_returned_than_sold")
    assert (float(returned), float(sold)) == (2, 1)


def test_an_order_that_comes_later_tells_that_its_refund_was_too_early(settings: Settings, tmp_path: Path) -> None:
    """The refund names a return alone, and its day is looked at again once an increment brings the order."""
    rows: Rows = {"order_line": [], "return_event": [], "refund": [], "refund_line": []}
    for n in range(20):
        _add(rows, f"clean{n}", {"received": SECOND})
    _add(rows, "late", {"received": SECOND}, (EARLY, FIRST))
    rows["refund"][-1] |= {"order_id": "", "return_id": "late"}
    rows["refund_line"].pop()
    order = rows["order_line"].pop()
    for folder, given in (("first", rows), ("second", {"order_line": [order]})):
        for thing, of_thing in given.items():
            write_rows(tmp_path / folder / f"{thing}.csv", of_thing)
    load(settings, [tmp_path / "first"])
    assert load(settings, [tmp_path / "second"]).kind == "increment"
    refund = STAR.tables["fact_refund"].c
    with current_build(settings.warehouse) as build:
        found = build.fetch(select(refund.refund_id, refund.date_fault).where(refund.date_fault.is_not(None)))
    assert found.to_numpy().tolist() == [["shop:late", "refunded before ordered"]]
