"""What the law adds to late refunds, worked out by hand from the articles' text."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from models.late_refund import Rate, added, months_later, periods
from pipelines import analyses, cli
from pipelines.estimate.late_refund import late_refunds, rates_of, rules, scale_of
from pipelines.load.shape.versions import create_tables
from pipelines.metrics import Question
from pipelines.warehouse.engine import open_duckdb
from tests.evidence import _models_owed as proof

WITHDRAWAL, UNDELIVERED = "L242-4", "L241-4"


def share(rule: str, due_on: date, on: date) -> float:
    _, steps = scale_of(rule, due_on)
    return added(periods(due_on, on, steps, rates_of("FR")), on)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (0, 0.0),  # paid on the last day: in time
        (1, 0.0665 / 365),  # one day at 6.65% of the second half of 2025
        (10, 10 * 0.0665 / 365),  # at most ten days after: the legal rate
        (11, 0.05),
        (20, 0.05),
        (21, 0.10),
        (30, 0.10),
        (31, 0.20),
        (60, 0.20),
        (61, 0.50),
        (90, 0.50),  # 90 days after 1 September: 30 November
        (91, 0.55),  # 1 December: the first new month
        (120, 0.55),  # 30 December: still that month, which ends with the 30th
        (121, 0.60),  # 31 December
    ],
)
def test_the_steps_of_a_withdrawal(days: int, expected: float) -> None:
    due_on = date(2025, 9, 1)
    assert share(WITHDRAWAL, due_on, date.fromordinal(due_on.toordinal() + days)) == pytest.approx(expected, abs=1e-12)


def test_points_stop_at_the_price_and_interest_runs_from_the_month_after() -> None:
    # last day 2 October 2023; 90 days later is 31 December. Ten new months of five points: from 1 January 2024 (.55)
    # to 1 October 2024 (31 December + 9 months is 30 September), when the price is reached (1.00). The eleventh month
    # begins on 1 November 2024 (31 December + 10 months is 31 October): a day at 8.16%, the rate of that half-year.
    due_on = date(2023, 10, 2)
    assert share(WITHDRAWAL, due_on, date(2023, 12, 31)) == 0.5
    assert share(WITHDRAWAL, due_on, date(2024, 1, 1)) == pytest.approx(0.55)
    assert share(WITHDRAWAL, due_on, date(2024, 9, 30)) == pytest.approx(0.95)
    assert share(WITHDRAWAL, due_on, date(2024, 10, 1)) == pytest.approx(1.0)
    assert share(WITHDRAWAL, due_on, date(2024, 10, 31)) == pytest.approx(1.0)
    assert share(WITHDRAWAL, due_on, date(2024, 11, 1)) == pytest.approx(1 + 0.0816 / 365)
    # November and December are 61 days at 8.16%, then 10 days of January 2025 at 7.21%
    assert share(WITHDRAWAL, due_on, date(2025, 1, 10)) == pytest.approx(1 + 61 * 0.0816 / 365 + 10 * 0.0721 / 365)


def test_interest_changes_with_the_half_year_and_says_where_it_is_assumed() -> None:
    # last day 27 December 2025: four days of December at 6.65%, then January at 6.67%
    assert share(WITHDRAWAL, date(2025, 12, 27), date(2026, 1, 3)) == pytest.approx((4 * 0.0665 + 3 * 0.0667) / 365)
    last = max(r.since for r in rates_of("FR"))
    laid = periods(last, last, scale_of(WITHDRAWAL, last)[1], rates_of("FR"))
    assert [(p.is_assumed, p.yearly_rate) for p in laid] == [(True, 0.0667)]  # no rate is known from that day on


@pytest.mark.parametrize(
    ("due_on", "days", "expected"),
    [
        (date(2025, 3, 3), 1, 0.10),
        (date(2025, 3, 3), 14, 0.10),  # at most fourteen days beyond
        (date(2025, 3, 3), 15, 0.20),
        (date(2025, 3, 3), 30, 0.20),
        (date(2025, 3, 3), 31, 0.50),
        (date(2021, 3, 3), 30, 0.10),  # a contract of before 2022: thirty days, sixty days
        (date(2021, 3, 3), 31, 0.20),
        (date(2021, 3, 3), 61, 0.50),
    ],
)
def test_the_steps_of_an_undelivered_order(due_on: date, days: int, expected: float) -> None:
    assert share(UNDELIVERED, due_on, date.fromordinal(due_on.toordinal() + days)) == expected


def test_a_month_ends_with_its_last_day_where_it_has_no_such_day() -> None:
    assert months_later(date(2024, 1, 31), 1) == date(2024, 2, 29)
    assert months_later(date(2025, 10, 31), 4) == date(2026, 2, 28)


def test_a_scale_stops_after_the_period_that_follows() -> None:
    _, steps = scale_of(WITHDRAWAL, date(2025, 9, 1))
    laid = periods(date(2025, 9, 1), date(2025, 9, 5), steps, [Rate(date(2025, 1, 1), 0.05)])
    assert [(p.starts_on, p.ends_on) for p in laid] == [
        (date(2025, 9, 2), date(2025, 9, 12)),
        (date(2025, 9, 12), date(2025, 9, 22)),
    ]
    assert rules() == [UNDELIVERED, WITHDRAWAL]


def test_every_rate_follows_the_one_before() -> None:
    days = [r for r in rates_of("FR") if r.since != date.min]
    assert [(d.since.month, d.since.day) for d in days] == [(1, 1), (7, 1)] * (len(days) // 2) + [(1, 1)] * (
        len(days) % 2
    )
    assert [d.is_assumed for d in days] == [False] * (len(days) - 1) + [True]


def test_returns_are_found_and_dated_in_the_shop_s_zone(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        create_tables(connection)
        proof.write(connection, datetime(2026, 1, 31, 12))
        late_refunds(connection)
        found = connection.execute(
            "SELECT return_id, period_no, starts_at, ends_at, share FROM estimate_late_refund WHERE date_fault IS NULL"
            " ORDER BY ALL"
        ).fetchall()
    # 1: last day 15 January (it ends at 23:00 UTC): 16 days late, 5%, then 10% from 5 February
    mine = [row[1:] for row in found if row[0] == "shop:r1"]
    assert mine == [
        (1, datetime(2026, 1, 15, 23), datetime(2026, 1, 25, 23), 0.0),
        (2, datetime(2026, 1, 25, 23), datetime(2026, 2, 4, 23), 0.05),
        (3, datetime(2026, 2, 4, 23), datetime(2026, 2, 14, 23), 0.10),
    ]
    # German, in time, and without a date: no period
    assert {row[0] for row in found} == {f"shop:r{n}" for n in (1, 2, 3, 4, 5, 8, 9)}


def test_what_is_owed_by_hand(tmp_path: Path) -> None:
    path = proof.built(tmp_path / "owed.duckdb", datetime(2026, 1, 31, 12))
    with open_duckdb(path) as build:
        listed = analyses.owed_by_law(build).set_index("return_id")
        then = analyses.owed_by_law(build, Question(as_of=date(2026, 1, 20))).set_index("return_id")
    one = listed.loc["shop:r1"]  # 100 + 20 of VAT, 16 days late
    assert (one["days_late"], one["amount"], one["surcharge"]) == (16, 120, pytest.approx(6))
    assert (str(one["next_on"])[:10], one["next_surcharge"]) == ("2026-02-05", pytest.approx(12))
    two = listed.loc["shop:r2"]  # two lots of 50 + 10, one of them paid; 5 days late
    assert (two["days_late"], two["amount"], two["surcharge"]) == (5, 60, pytest.approx(60 * 5 * 0.0667 / 365))
    assert listed.loc["shop:r5"].to_dict()["days_late"] == 0  # due on 2 February: the step falls in three days
    assert "shop:r4" not in listed.index  # paid on 25 January, nine days late: nothing is open
    # open then; the 20th ends at midnight UTC, which is the 21st in Paris: five days late
    assert then.loc["shop:r4", "surcharge"] == pytest.approx(30 * 5 * 0.0667 / 365)


def said(*words: str) -> Any:
    found = CliRunner().invoke(cli.app, [*words])
    assert found.exit_code == 0, found.output
    return found.output


def test_one_refund_is_worked_out_without_a_warehouse() -> None:
    output = said(
        "owed", "--rule", UNDELIVERED, "--due", "2026-01-05", "--amount", "80", "--on", "2026-02-01", "--format", "csv"
    )
    rows = [line.split(",") for line in output.strip().splitlines()]
    assert rows[0] == ["from_day", "to_day", "share", "surcharge", "share_on", "is_assumed", "surcharge_on"]
    # 6 to 19 January 10%, 20 January to 4 February 20%, then 50%
    assert [row[:4] for row in rows[1:]] == [
        ["2026-01-06", "2026-01-19", "0.1", "8.0"],
        ["2026-01-20", "2026-02-04", "0.2", "16.0"],
        ["2026-02-05", "", "0.5", "40.0"],
    ]
    wrong = CliRunner().invoke(
        cli.app, ["owed", "--rule", "L999", "--due", "2026-01-05", "--amount", "1", "--on", "2026-02-01"]
    )
    assert wrong.exit_code != 0


def test_the_evidence_holds() -> None:
    for claim in proof.claims():
        assert claim.holds, claim
