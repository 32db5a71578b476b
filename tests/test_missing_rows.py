"""What is missing is said by the number.

Rows in quarantine, money without an exchange rate, a refund in two payments.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines import analyses, metrics
from pipelines.errors import UnknownDimension
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests.conftest import fresh, write_rows

pytestmark = pytest.mark.usefixtures("no_rules")

ORDER = {"ordered_at": "2026-03-02T10:00:00Z", "currency": "EUR", "country": "FR", "shipped_at": "2026-03-03T10:00:00Z"}


def _line(name: str, units: object, net: float, **more: Any) -> dict[str, Any]:
    return {
        "order_line_id": name,
        "order_id": name,
        "product_id": name,
        "units": units,
        "net_amount": net,
        "vat_amount": net / 5,
        "unit_cost": 20,
        **ORDER,
        **more,
    }


def _refund(number: str, day: int, amount: object) -> dict[str, Any]:
    return {
        "refund_id": number,
        "order_id": "A",
        "return_id": "R",
        "refunded_at": f"2026-03-{day}T10:00:00Z",
        "amount": amount,
        "currency": "EUR",
    }


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Load two good order lines and a bad one, and money that is hard to read.

    A return paid in two parts, freight in zloty, and a refund nobody can read.
    """
    folder = tmp_path_factory.mktemp("missing")
    write_rows(folder / "in" / "order_line.csv", [_line("A", 1, 50), _line("Z", 9, 450), _line("Q", "1.5", 100)])
    event = {"return_line_id": "R", "return_id": "R", "order_line_id": "A", "units": 1, "parcel_id": "P"}
    happened = (("requested", 8), ("handed_over", 9), ("received", 15))
    write_rows(
        folder / "in" / "return_event.csv",
        [event | {"event_id": e, "event": e, "occurred_at": f"2026-03-{d:02d}T10:00:00Z"} for e, d in happened],
    )
    write_rows(folder / "in" / "refund.csv", [_refund("F1", 18, 40), _refund("F2", 25, 20), _refund("F3", 26, "sixty")])
    of_line = {"order_line_id": "A", "return_line_id": "R", "currency": "EUR"}
    write_rows(
        folder / "in" / "refund_line.csv",
        [
            of_line
            | {
                "refund_line_id": f"{f}-1",
                "refund_id": f,
                "refunded_at": f"2026-03-{d}T10:00:00Z",
                "units": u,
                "amount": a,
            }
            for f, d, u, a in (("F1", 18, 1, 40), ("F2", 25, 0, 20))
        ],
    )
    leg = {
        "element_id": "E",
        "parcel_id": "P",
        "element_no": 1,
        "element_type": "transport",
        "role": "trunk",
        "mode": "truck",
    }
    write_rows(
        folder / "in" / "chain_element.csv",
        [leg | {"started_at": "2026-03-09T10:00:00Z", "cost_amount": 2000, "currency": "PLN"}],
    )
    found = fresh(folder)
    load(found, [folder / "in"])
    return found


@pytest.fixture(scope="module")
def build(settings: Settings) -> Build:
    return current_build(settings.warehouse)


def _row(build: Build, key: str, by: Sequence[str] = (), **question: Any) -> pd.Series:
    return metrics.answer(build, key, Question(**question), by=by).iloc[0]


def test_rows_in_quarantine_lower_coverage(build: Build) -> None:
    """Of three order lines two were taken in, 10 units of them; the third is worth as many as the others, 5.

    Two of three refunds.
    """
    sold = _row(build, "sold_units")
    assert (sold["value"], sold["low"], sold["high"], sold["status"]) == (10, 10, 15, "greyed")
    assert sold["coverage"] == pytest.approx(2 / 3)
    assert "33.3% are in quarantine" in sold["reason"]
    paid = _row(build, "refund_amount")
    assert (paid["value"], paid["status"]) == (60, "greyed")
    assert paid["coverage"] == pytest.approx(2 / 3)
    assert _row(build, "returned_units")["coverage"] == 1  # its log has none
    assert _row(build, "sold_units", where={"source": ["shop"]})["coverage"] == pytest.approx(2 / 3)


def test_a_rate_over_rows_in_quarantine_has_bounds(build: Build) -> None:
    """1 of 10 came back; 1 of 15 if the third line sold as the others did.

    A third of the rows is too much to give a rate.
    """
    rate = _row(build, "observed_return_rate")
    assert rate["status"] == "greyed"
    assert rate["reason"].startswith("between 6.7% and 10.0%: only 66.7% of units sold can be counted")


def test_two_payments_settle_one_unit(build: Build) -> None:
    """40 by card and 20 as a voucher are 50 with 20% VAT: paid as due, once."""
    assert _row(build, "refund_as_due")["value"] == 1
    assert _row(build, "refunded_units")["value"] == 1


def test_freight_without_a_rate_is_no_freight_at_the_usual_rate(build: Build) -> None:
    """2,000 PLN are missing: neither 2,000 EUR, nor the usual rate, nor nothing."""
    cost = _row(build, "return_cost")
    assert cost["status"] == "greyed"
    assert "have no exchange rate" in cost["reason"]
    assert cost["value"] < 10  # handling and what the goods lose
    found = analyses.simulate(build, analyses.Scenario()).set_index("outcome")
    assert found["value"][["return_cost", "margin"]].isna().all()
    assert "have no exchange rate" in found["reason"]["return_cost"]
    assert found["value"]["returned_units"] == 1
    tried = analyses.pareto(build)
    assert tried["margin"].isna().all()
    assert not tried["is_best"].any()
    assert tried["reason"].str.contains("have no exchange rate").all()


def test_what_is_not_there_is_not_0(tmp_path: Path) -> None:
    """Lines without a price, in a country whose law is not known; yen were paid back.

    No sales in money, no law, and no euros.
    """
    line = {k: v for k, v in _line("A", 2, 50).items() if k not in ("net_amount", "vat_amount", "unit_cost")}
    write_rows(tmp_path / "in" / "order_line.csv", [line | {"country": "ZZ"}])
    event = {"return_line_id": "R", "return_id": "R", "order_line_id": "A", "units": 1}
    happened = (("requested", 8), ("received", 15), ("refunded", 18))
    write_rows(
        tmp_path / "in" / "return_event.csv",
        [event | {"event_id": e, "event": e, "occurred_at": f"2026-03-{d:02d}T10:00:00Z"} for e, d in happened],
    )
    settings = fresh(tmp_path)
    load(settings, [tmp_path / "in"])
    build = current_build(settings.warehouse)
    assert _row(build, "sold_units")["value"] == 2
    sales, law = _row(build, "net_sales"), _row(build, "legal_refund_kept")
    assert (sales["status"], sales["reason"]) == (
        "greyed",
        "needs prices; load a source that has it",
    )
    assert pd.isna(sales["value"])
    assert "needs withdrawals from a country whose refund law is known" in law["reason"]
    assert _row(build, "refunds_due_soon")["status"] == "greyed"


def test_what_was_taken_back_is_nothing_and_not_unknown(tmp_path: Path) -> None:
    """The one refund of a shop is deleted by a later file: 0 was paid back, and the mistyped dimension is told."""
    write_rows(tmp_path / "in" / "order_line.csv", [_line("A", 2, 50)])
    write_rows(tmp_path / "in" / "refund.csv", [_refund("F", 18, 60)])
    write_rows(tmp_path / "later" / "refund.later.csv", [_refund("F", 18, 60) | {"is_deleted": "true"}])
    settings = fresh(tmp_path)
    load(settings, [tmp_path / "in"])
    load(settings, [tmp_path / "later"])
    build = current_build(settings.warehouse)
    paid = _row(build, "refund_amount")
    assert (paid["value"], paid["status"]) == (0, "ok")
    with pytest.raises(UnknownDimension, match=r"cannot be cut by 'contry'\. Did you mean country\?"):
        metrics.answer(build, "sold_units", by=["contry"])


def test_money_paid_back_alone_is_in_its_own_currency(tmp_path: Path) -> None:
    write_rows(tmp_path / "refund.csv", [_refund("F", 18, 5000) | {"currency": "JPY"}])
    settings = fresh(tmp_path / "w")
    load(settings, [tmp_path / "refund.csv"])
    paid = _row(current_build(settings.warehouse), "refund_amount")
    assert (paid["value"], paid["unit"], paid["status"]) == (5000, "JPY", "ok")


def test_a_corrected_row_is_missing_no_more(settings: Settings, build: Build, tmp_path: Path) -> None:
    """The line comes again with 2 units under its id, from another file.

    The refund's whole file comes again without it.
    """
    write_rows(tmp_path / "order_line.corrected.csv", [_line("Q", 2, 100)])
    write_rows(tmp_path / "refund.csv", [_refund("F1", 18, 40), _refund("F2", 25, 21)])
    load(settings, [tmp_path])
    now = current_build(settings.warehouse)
    sold, paid = _row(now, "sold_units"), _row(now, "refund_amount")
    assert (sold["value"], sold["coverage"], sold["status"]) == (12, 1, "ok")
    assert (paid["value"], paid["coverage"], paid["status"]) == (61, 1, "ok")


def test_more_back_than_sold_is_said_on_the_rows_it_belongs_to(tmp_path: Path) -> None:
    """Three of A came back, of which one was sold; one of B, of two.

    Three of the four units returned stand on a line that sold fewer, none of B's.
    """
    write_rows(tmp_path / "in" / "order_line.csv", [_line("A", 1, 50), _line("B", 2, 80), _line("C", 9, 90)])
    received = {"event": "received", "occurred_at": "2026-03-12T10:00:00Z"}
    events = [
        received | {"event_id": name, "return_line_id": name, "return_id": name, "order_line_id": name, "units": units}
        for name, units in (("A", 3), ("B", 1))
    ]
    write_rows(tmp_path / "in" / "return_event.csv", events)
    settings = fresh(tmp_path)
    load(settings, [tmp_path / "in"])
    build = current_build(settings.warehouse)
    for key, value in (("returned_units", 4), ("observed_return_rate", 4 / 12)):
        row = _row(build, key)
        assert row[["value", "caution"]].tolist() == [pytest.approx(value), "coverage"], key
        assert row["reason"] == "75.0% of the returned units stand on lines that sold fewer", key
    only_b = {"product_id": "shop:B"}
    assert _row(build, "returned_units", where=only_b)[["value", "reason", "caution"]].tolist() == [1, "", ""]
    by_product = metrics.answer(build, "returned_units", by=["product_id"]).set_index("product_id")["caution"]
    assert by_product.to_dict() == {"shop:A": "coverage", "shop:B": ""}
    assert _row(build, "sold_units")["reason"] == ""


def test_what_no_rate_is_known_of_stays_out_and_a_parcel_refused_at_the_door_counts(tmp_path: Path) -> None:
    """A's refund is 60 EUR, B's 65 USD without a rate: 60 with a caution, and no 65 EUR on its return line.

    C was refused at the door: one of four units, though nobody asked to return it.
    """
    write_rows(tmp_path / "in" / "order_line.csv", [_line(name, 1, 50) for name in "ABCD"])
    of_line = {name: {"return_line_id": f"R{name}", "return_id": f"R{name}", "order_line_id": name} for name in "ABC"}
    happened = {"requested": 8, "received": 12, "refunded": 25, "inspected": 27}
    events = [
        of_line[name] | {"event": event, "occurred_at": f"2026-03-{day:02d}T10:00:00Z", "units": 1}
        for name, days in {"A": happened, "B": happened, "C": {"delivery_refused": 6, "received": 10}}.items()
        for event, day in days.items()
    ]
    write_rows(tmp_path / "in" / "return_event.csv", [e | {"event_id": str(n)} for n, e in enumerate(events)])
    paid = {"A": {"amount": 60, "currency": "EUR"}, "B": {"amount": 65, "currency": "USD"}}
    money = [
        amount | {"refund_id": f"F{name}", "return_id": f"R{name}", "refunded_at": "2026-03-25T10:00:00Z"}
        for name, amount in paid.items()
    ]
    write_rows(tmp_path / "in" / "refund.csv", [m | {"order_id": m["return_id"][1:]} for m in money])
    write_rows(
        tmp_path / "in" / "refund_line.csv",
        [
            {k: v for k, v in m.items() if k != "return_id"}
            | {"refund_line_id": m["refund_id"], "order_line_id": m["return_id"][1:], "return_line_id": m["return_id"]}
            | {"units": 1, "restock_type": "return"}
            for m in money
        ],
    )
    settings = fresh(tmp_path)
    load(settings, [tmp_path / "in"])
    build = current_build(settings.warehouse)
    assert _row(build, "refunded_before_inspection")["value"] == 60
    refunds = _row(build, "refund_amount")
    assert refunds["reason"].endswith("50.0% have no exchange rate; the value is of these alone")
    assert (refunds["value"], refunds["status"]) == (60, "greyed")
    assert _row(build, "refused_rate")["value"] == 0.25


def _lines(source: str, shipped: int, *others: dict[str, Any]) -> list[dict[str, Any]]:
    """Give order lines of one unit, the first of ten shipped, then others."""
    bare = {"shipped_at": "", "channel": "web"}
    ten = [_line(f"{source}{n}", 1, 10, channel="web") | (bare if n >= shipped else {}) for n in range(10)]
    return [*ten, *(_line(f"{source}x{n}", 1, 10) | bare | other for n, other in enumerate(others))]


@pytest.fixture(scope="module")
def habits(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Four sources: `aa` ships all, `bb` 8 of 10, `cc` 7 of 10, `dd` 9 of 10 and has a line that may yet be shipped.

    Of the two lines of `bb` without a shipment one came back; it sold one more in a store.
    """
    folder = tmp_path_factory.mktemp("habits")
    found = fresh(folder)
    late = {"ordered_at": "2026-04-20T10:00:00Z"}
    for source, lines in {
        "aa": _lines("aa", 10),
        "bb": _lines("bb", 8, {"channel": "store"}),
        "cc": _lines("cc", 7),
        "dd": _lines("dd", 9, late),
    }.items():
        write_rows(folder / source / "order_line.csv", lines)
        load(found, [folder / source / "order_line.csv"], namespace=source)
    back = {"event_id": "E", "return_line_id": "R", "return_id": "R", "order_line_id": "bb9", "units": 1}
    event = back | {"event": "received", "occurred_at": "2026-03-15T10:00:00Z"}
    write_rows(folder / "back" / "return_event.csv", [event])
    load(found, [folder / "back" / "return_event.csv"], namespace="bb")
    return current_build(found.warehouse)


BARE, UNSOLD = (
    "{} of the lines sold show no shipment, while their source reports others",
    "{} of the lines ordered show no shipment and are not sold: their source reports what it ships",
)


def test_a_source_is_judged_by_its_own_habit_of_reporting_shipments(habits: Build) -> None:
    """8 of 10 make a habit, 7 do not; what came back was sold whatever is reported, and a store reports nothing."""
    sold = metrics.answer(habits, "sold_units", by=["source"]).set_index("source")
    assert sold["value"].to_dict() == {"aa": 10, "bb": 8 + 1 + 1, "cc": 10, "dd": 9}
    assert metrics.answer(habits, "sold_units", Question(where={"product_id": ["bb:bb9"]}))["value"].tolist() == [1]
    in_store = metrics.answer(habits, "sold_units", Question(where={"channel": ["store"]}))
    assert in_store[["value", "reason"]].to_numpy().tolist() == [[1, ""]]


def test_lines_without_a_shipment_are_told_where_they_are(habits: Build) -> None:
    """By source and under filters each number is told its own share; what may yet be shipped is not judged."""
    own = {
        "aa": "",
        "bb": UNSOLD.format("9.1%"),  # one of eleven
        "cc": BARE.format("30.0%"),
        "dd": UNSOLD.format("9.1%"),  # one of eleven; the late one is none
    }
    sold = metrics.answer(habits, "sold_units", by=["source"]).set_index("source")
    assert sold["reason"].to_dict() == own
    for source, said in own.items():
        assert _row(habits, "sold_units", where={"source": [source]})["reason"] == said
    both = _row(habits, "sold_units")["reason"]  # 3 of 39 lines sold, 2 of 42 ordered
    assert both == f"{BARE.format('7.7%')}; {UNSOLD.format('4.8%')}"
    lines = metrics.answer(habits, "sold_units", Question(where={"source": ["cc"]}), by=["product_id"])
    bare = lines.set_index("product_id")["reason"]
    assert (bare["cc:cc0"], bare["cc:cc9"]) == ("", BARE.format("100.0%"))
    later = _row(habits, "sold_units", since=date(2026, 4, 1))
    assert "shipment" not in later["reason"]
    assert "shipment" not in _row(habits, "returned_units")["reason"]
    assert _row(habits, "period_return_rate")["reason"].endswith(UNSOLD.format("9.1%"))  # `bb` alone has returns
