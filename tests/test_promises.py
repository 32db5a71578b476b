"""Promises: life tables against lifelines and simulated truth, dates and states worked out by hand."""

import warnings
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import DateTime, cast, literal, select

from models import promises as model
from pipelines.estimate.calendar import calendar, official_days
from pipelines.estimate.promises import promises
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings
from pipelines.warehouse.engine import statement_sql
from pipelines.warehouse.rules import promise_state
from pipelines.warehouse.shards import Shards
from pipelines.warehouse.star import STAR
from tests.evidence import _promises_calendar as slow
from tests.evidence import _promises_legal as legal


def waits(generator: np.random.Generator, count: int, width: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Simulate bins (`width` days) and causes: lognormal of median 6, entered over 40 days, 5% cancelled, 2% lost."""
    age = generator.uniform(0, 40, count)
    time = generator.lognormal(np.log(6), 0.8, count)
    cause = generator.choice([0, 1, 2], count, p=[0.93, 0.05, 0.02])
    cause = np.where(time > age, model.OPEN, cause)
    return np.floor(np.minimum(time, age) / width), cause


def table_of(day: np.ndarray, cause: np.ndarray, bins: int = 60) -> np.ndarray:
    return model.life_table(np.zeros(day.size, int), day, cause, np.ones(day.size), 1, bins)[0]


def test_incidence_agrees_with_lifelines() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifelines import AalenJohansenFitter, KaplanMeierFitter

        day, cause = waits(np.random.default_rng(1), 600)
        event = np.where(cause == model.OPEN, 0, cause + 1)
        survival, ends = model.incidence(table_of(day, cause))
        oracle = KaplanMeierFitter().fit(day, event > 0).survival_function_at_times(np.arange(40)).to_numpy()
        assert np.allclose(survival[:40], oracle, atol=1e-12)
        for k in range(3):
            # lifelines moves tied times apart at random unless told otherwise; it refuses ties, so days are spread a
            # little.
            spread = day + np.where(event > 0, 0.2, 0.9) + np.random.default_rng(2).uniform(0, 0.05, day.size)
            found = AalenJohansenFitter(calculate_variance=False).fit(spread, event, event_of_interest=k + 1)
            assert float(found.cumulative_density_.iloc[-1, 0]) == pytest.approx(ends[k, -1], abs=0.004)


def test_quantiles_are_those_of_returns_that_complete_and_the_finished_alone_are_not() -> None:
    generator = np.random.default_rng(3)
    truth = np.exp(np.log(6) + 0.8 * 1.2815515655446004)
    tables, finished = [], []
    for _ in range(40):
        quarter, cause = waits(generator, 1_500, 0.25)
        tables.append(table_of(quarter, cause, 240))
        finished.append(np.quantile(quarter[cause == model.COMPLETED], 0.9) / 4)
    durations = (np.arange(240) + 1) / 4  # the upper edge, so an eighth of a day late on average
    found = model.completion_quantiles(durations, np.stack(tables), [0.5, 0.9], draws=60)
    assert found.shape == (40, 2, 3)
    assert np.mean(found[:, 0, 0]) == pytest.approx(6.125, abs=0.1)
    assert np.mean(found[:, 1, 0]) == pytest.approx(truth + 0.125, abs=0.4)
    assert np.mean(finished) < truth - 2
    covered = np.mean((found[:, 1, 1] - 0.25 <= truth) & (truth <= found[:, 1, 2]))
    assert covered >= 0.78  # 40 worlds at 90%: one in a hundred sets would fall below
    assert np.array_equal(found, model.completion_quantiles(durations, np.stack(tables), [0.5, 0.9], draws=60))


def test_what_cannot_be_known_says_so() -> None:
    nobody = np.zeros((4, 3))
    assert np.isnan(model.completion_quantiles([1, 2, 3], nobody, [0.5], draws=5)).all()
    young = [[5, 0, 0], [0, 0, 0], [0, 0, 0], [0, 20, 0]]
    assert np.isinf(model.completion_quantiles([1, 2, 3], young, [0.9], draws=5)[0, 0])
    lost = [[80, 0, 0], [0, 0, 0], [0, 0, 20], [0, 0, 0]]
    assert np.isinf(model.promise_at([1, 2, 3], lost, 0.95, draws=5)[0])


def test_remaining_time_of_those_still_open() -> None:
    """Of those open at an age, half are done by the median of what is left of the lognormal."""
    generator = np.random.default_rng(4)
    quarter, cause = waits(generator, 20_000, 0.25)
    durations = (np.arange(240) + 1) / 4
    table = table_of(quarter, cause, 240)
    time = generator.lognormal(np.log(6), 0.8, 50_000)
    for age in (0.0, 5.0, 12.0):
        low, half, high = model.remaining_quantiles(durations, table, [age], [0.1, 0.5, 0.9])[0]
        rest = time[time > age]
        assert [np.mean(rest <= q) for q in (low, half, high)] == pytest.approx(
            [0.1, 0.5, 0.9], abs=0.05
        )  # bins of a quarter day, named by their end
    assert np.isinf(model.remaining_quantiles(durations, table, [80.0], [0.5])).all()


counts = st.lists(st.lists(st.integers(0, 50), min_size=6, max_size=6), min_size=4, max_size=4)


@given(counts)
@settings(max_examples=60, deadline=None)
def test_laws_of_a_life_table(table: list[list[int]]) -> None:
    survival, ends = model.incidence(table)
    assert (np.diff(survival) <= 1e-12).all()
    assert (np.diff(ends, axis=-1) >= -1e-12).all()
    assert np.allclose(survival + ends.sum(0), 1)
    durations = np.arange(6) + 1.0
    shares = model.kept_curve(durations, table, draws=3)[:, 0].tolist()
    if sum(table[0]):
        assert all(a <= b + 1e-12 for a, b in pairwise(shares))
        tau = model.promise_at(durations, table, 0.6, draws=3)[0]
        assert np.isinf(tau) or shares[int(tau) - 1] >= 0.6 - 1e-9
    left = model.remaining_quantiles(durations, table, [0, 1, 2], [0.5, 0.9])
    assert (left[:, 0] <= left[:, 1]).all()


STATE = STAR.tables["estimate_promise"]


@pytest.fixture
def build() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give an empty shop in Paris that promises four things, observed until 30 June 2025, 22:00 UTC."""
    connection = duckdb.connect(config={"threads": 1})
    create_tables(connection)
    connection.execute("""
        INSERT INTO build_source BY NAME SELECT 'shop' AS source, 'return_event' AS thing,
            TIMESTAMP '2025-06-30 22:00' AS last_occurred_at;
        INSERT INTO dim_shop BY NAME SELECT 1 AS shop_key, 'FR' AS market, 'Europe/Paris' AS time_zone;
        INSERT INTO dim_policy_promise VALUES
            (1, 7, 'answer', 'requested', 'approved', 24, 'clock_hours', 'retailer'),
            (2, 7, 'scan', 'handed_over', 'carrier_scan', 2, 'business_days', 'carrier'),
            (3, 7, 'refund', 'received', 'refunded', 5, 'business_days', 'retailer'),
            (4, 7, 'whole', 'requested', 'refunded', 10, 'calendar_days', 'retailer');
        INSERT INTO fact_return_line BY NAME SELECT -1 AS return_lot_key, -1 AS return_line_key, 'shop' AS source,
            'price_adjustment' AS return_type, 'FR' AS country, DATE '2025-01-02' AS requested_on,
            TIMESTAMP '2025-01-02' AS requested_at, TIMESTAMP '2025-01-02' AS approved_at, TIMESTAMP '2025-01-02'
                AS handed_over_at, TIMESTAMP '2025-01-02' AS carrier_scan_at,
            TIMESTAMP '2025-01-02' AS received_at, TIMESTAMP '2025-01-02' AS refunded_at;
    """)
    calendar(connection, Settings())
    yield connection
    connection.close()


def add(build: duckdb.DuckDBPyConnection, return_key: int, lot: int = 0, **stages: Any) -> None:
    """Add one lot; stages are texts of UTC times, other columns as they are."""
    row: dict[str, Any] = {
        "return_lot_key": return_key * 10 + lot,
        "return_line_key": return_key * 10 + lot,
        "return_line_id": f"shop:{return_key}:{lot}",
        "return_key": return_key,
        "policy_key": 7,
        "shop_key": 1,
        "source": "shop",
        "country": "FR",
        "channel": "web",
        "return_type": "withdrawal",
        "method": "mail",
        "units": 1,
        "net_amount": 40,
        "fx_rate": 1.0,
        "ordered_on": "2025-03-01",
        "requested_on": str(stages.get("requested_at", "2025-04-01"))[:10],
        **stages,
    }
    build.execute(
        f"INSERT INTO fact_return_line ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
    )


def filled(build: duckdb.DuckDBPyConnection) -> dict[tuple[int, str], dict[str, Any]]:
    promises(build, Shards(), "TRUE")
    names = [c.name for c in STATE.columns]
    rows = [
        dict(zip(names, row, strict=True))
        for row in build.execute(f"SELECT {', '.join(names)} FROM estimate_promise").fetchall()
    ]
    answer = {(r["return_key"], r["promise_id"]): r for r in rows}
    assert len(answer) == len(rows)
    return answer


def end_of(midnight: datetime) -> datetime:
    """The last instant of the day that ends then."""
    return midnight - timedelta(microseconds=1)


def states(build: duckdb.DuckDBPyConnection, at: str) -> dict[tuple[int, str], str]:
    when = cast(literal(at), DateTime)
    query = select(STATE.c.return_key, STATE.c.promise_id, promise_state(STATE.c, when))
    return {(key, promise): state for key, promise, state in build.execute(statement_sql(query)).fetchall()}


def test_calendar_knows_french_holidays_and_counts_business_days(build: duckdb.DuckDBPyConnection) -> None:
    days = dict(build.execute("SELECT day, business_day_no FROM dim_day WHERE country = 'FR'").fetchall())
    off = {
        d for (d,) in build.execute("SELECT day FROM dim_day WHERE country = 'FR' AND NOT is_business_day").fetchall()
    }
    assert {date(2025, 5, 1), date(2025, 5, 8), date(2025, 4, 21), date(2025, 5, 3)} <= off
    assert date(2025, 5, 2) not in off
    assert max(days) == date(2025, 8, 29)
    # 28 Apr 2025 is a Monday; that week has four business days.
    assert days[date(2025, 5, 4)] - days[date(2025, 4, 27)] == 4


def test_each_country_rests_on_its_own_weekend(build: duckdb.DuckDBPyConnection) -> None:
    """Saudi Arabia on Friday and Saturday, the Emirates since 2022 on Saturday and Sunday.

    A carrier without weekdays of its own as its country.
    """
    add(build, 1, country="SA", requested_at="2025-04-13 09:00", received_at="2025-04-18 09:00")
    build.execute("""
        INSERT INTO dim_carrier_calendar (carrier, country, valid_from, weekdays, works_holidays) VALUES
            ('Plain', 'SA', TIMESTAMP '2000-01-01', NULL, false), ('Six', 'SA', TIMESTAMP '2000-01-01', '1 2 3 4 6 7',
                false)
    """)
    calendar(build, Settings())
    week = (
        "SELECT list(isodow(day) ORDER BY day) FROM dim_day WHERE country = ? AND carrier = ? AND is_business_day AND"
        " day BETWEEN DATE '2025-05-05' AND DATE '2025-05-11'"
    )
    rested = {c: build.execute(week, ["SA", c]).fetchall()[0][0] for c in ("", "Plain", "Six")}
    assert rested == {"": [1, 2, 3, 4, 7], "Plain": [1, 2, 3, 4, 7], "Six": [1, 2, 3, 4, 6, 7]}
    # Received on Friday 18 April: five business days are Sunday 20th to Thursday 24th; midnight in Paris is 22:00 UTC.
    assert filled(build)[1, "refund"]["due_at"] == end_of(datetime(2025, 4, 24, 22))
    emirates = official_days(["AE"], date(2021, 12, 31), date(2022, 1, 9)).to_pylist()
    assert [r["day"].day for r in emirates if r["is_weekend"]] == [31, 1, 2, 8, 9]


def test_the_law_rolls_over_saturdays_and_sundays_whatever_a_country_works(build: duckdb.DuckDBPyConnection) -> None:
    """Hungary works on Saturday 17 May 2025 for the Friday after 1 May; Regulation 1182/71 Art.

    3(4) rolls over it all the same.
    """
    add(
        build,
        1,
        country="HU",
        requested_at="2025-05-03 09:00",
        handed_over_at="2025-05-03 09:00",
        received_at="2025-05-12 09:00",
    )
    calendar(build, Settings())
    worked = "SELECT is_business_day, is_holiday FROM dim_day WHERE country = 'HU' AND day = DATE '2025-05-17'"
    assert build.execute(worked).fetchall() == [(True, False)]
    found = filled(build)
    assert found[1, "legal_refund"]["due_at"] == end_of(datetime(2025, 5, 19, 22))
    # Five business days after Monday the 12th: 13 to 16, and the Saturday.
    assert found[1, "refund"]["due_at"] == end_of(datetime(2025, 5, 17, 22))


def test_dates_worked_out_by_hand(build: duckdb.DuckDBPyConnection) -> None:
    # Asked Mon 28 April 09:00 UTC, sent Tue 29th 15:00, scanned Wed 30th, received Fri 2 May 10:00, paid Wed 7 May.
    add(
        build,
        1,
        requested_at="2025-04-28 09:00",
        approved_at="2025-04-28 10:00",
        handed_over_at="2025-04-29 15:00",
        carrier_scan_at="2025-04-30 08:00",
        received_at="2025-05-02 10:00",
        inspected_at="2025-05-05 10:00",
        refunded_at="2025-05-07 12:00",
    )
    found = filled(build)
    assert found[1, "answer"]["due_at"] == datetime(2025, 4, 29, 9)
    # Two business days after 29 April: 30 April, then 2 May (1 May is a holiday); midnight in Paris is 22:00 UTC.
    assert found[1, "scan"]["due_at"] == end_of(datetime(2025, 5, 2, 22))
    # Five after 2 May: 5, 6, 7, 9 (8 May is a holiday), 12.
    assert found[1, "refund"]["due_at"] == end_of(datetime(2025, 5, 12, 22))
    assert found[1, "whole"]["due_at"] == end_of(datetime(2025, 5, 8, 22))
    assert found[1, "legal_refund"]["due_at"] == end_of(datetime(2025, 5, 12, 22))
    assert found[1, "refund"]["amount"] == 40
    assert set(states(build, "2025-06-30").values()) == {"kept"}
    # Paid on 7 May: on the 8th nothing is due for the refund yet.
    assert states(build, "2025-05-08 10:00")[1, "refund"] == "undetermined"
    assert states(build, "2025-04-28 08:59")[1, "answer"] == "not_under_promise"


@pytest.mark.parametrize(("paid", "state"), [("2025-05-07 22:00", "kept"), ("2025-05-08 22:00", "broken")])
def test_a_date_without_a_time_is_in_time_on_the_last_day_and_late_on_the_next(
    build: duckdb.DuckDBPyConnection, paid: str, state: str
) -> None:
    # Due by the end of 8 May in Paris; a date alone is its midnight there: of the 8th (22:00 UTC on the 7th), of the
    # 9th.
    add(build, 1, requested_at="2025-04-28 09:00", received_at="2025-05-02 10:00", refunded_at=paid)
    filled(build)
    assert states(build, "2025-06-30")[1, "whole"] == state


def test_winter_midnight_in_paris_is_an_hour_later(build: duckdb.DuckDBPyConnection) -> None:
    # Asked on 20 October at 22:30 UTC, which is the 21st in Paris; ten days on, clocks have gone back.
    add(build, 1, requested_at="2025-01-20 23:30")
    assert filled(build)[1, "whole"]["due_at"] == end_of(datetime(2025, 1, 31, 23))


@pytest.mark.parametrize(
    ("sent", "received", "due"),
    [
        ("2025-04-03 12:00", None, end_of(datetime(2025, 4, 15, 22))),  # sent early: 14 days from notice on 1 April
        ("2025-04-25 12:00", None, end_of(datetime(2025, 4, 25, 22))),  # sent late: the day of the proof of dispatch
        (None, "2025-04-25 12:00", end_of(datetime(2025, 4, 25, 22))),  # no proof: receipt
        ("2025-04-20 12:00", "2025-04-25 12:00", end_of(datetime(2025, 4, 20, 22))),  # the earlier of both
        (None, None, None),  # may be withheld
    ],
)
def test_legal_refund_is_due_at_the_later_of_fourteen_days_and_dispatch(
    build: duckdb.DuckDBPyConnection, sent: str | None, received: str | None, due: datetime | None
) -> None:
    add(build, 1, requested_at="2025-04-01 09:00", handed_over_at=sent, received_at=received)
    found = filled(build)[1, "legal_refund"]
    assert found["due_at"] == due
    assert states(build, "2025-06-30")[1, "legal_refund"] == ("broken" if due else "undetermined")


def test_legal_refund_is_for_withdrawals_from_distance_sales_in_the_union(build: duckdb.DuckDBPyConnection) -> None:
    asked = {"requested_at": "2025-04-01 09:00"}
    add(build, 1, **asked)
    add(build, 2, **asked, country="GB")
    add(build, 3, **asked, return_type="conformity")
    add(build, 4, **asked, channel="store")
    add(build, 5, **asked, ordered_on="2014-06-13")
    add(build, 6, **asked, policy_key=None)  # no policy can take it away
    assert {key for key, promise in filled(build) if promise == "legal_refund"} == {1, 6}


def test_each_state(build: duckdb.DuckDBPyConnection) -> None:
    asked = {"requested_at": "2025-04-01 09:00", "approved_at": "2025-04-01 10:00"}
    sent = {**asked, "handed_over_at": "2025-04-02 09:00", "carrier_scan_at": "2025-04-02 18:00"}
    back = {**sent, "received_at": "2025-04-04 09:00", "inspected_at": "2025-04-05 09:00"}
    add(build, 1, **back, refunded_at="2025-04-08 09:00")  # in time
    add(build, 2, **back, refunded_at="2025-04-28 09:00")  # late
    add(build, 3, **back)  # open past its time
    add(build, 4, **sent, lost_at="2025-04-20 09:00")  # lost on the way
    add(build, 5, **asked, cancelled_at="2025-04-03 09:00")
    add(build, 6, **asked, expired_at="2025-04-28 09:00")  # never handed over; the whole promise was due on the 11th
    add(build, 7, requested_at="2025-04-01 09:00", rejected_at="2025-04-05 09:00")  # answered late
    add(build, 8, **back, cancelled_at="2025-05-20 09:00")  # cancelled long after it was due
    add(build, 9, requested_at="2025-06-29 09:00")  # running
    add(build, 10, **asked)  # not handed over yet
    add(build, 11, **sent, refunded_at="2025-04-03 09:00")  # paid before receipt
    filled(build)
    found = states(build, "2025-06-30 22:00")
    expected = {
        1: "kept",
        2: "broken",
        3: "broken",
        4: "not_under_promise",
        5: "not_under_promise",
        6: "expired",
        7: "not_under_promise",
        8: "broken",
        9: "undetermined",
        10: "undetermined",
        11: "kept",
    }
    assert {key: state for (key, promise), state in found.items() if promise == "refund"} == expected
    whole = {key: state for (key, promise), state in found.items() if promise == "whole"}
    assert whole == {**expected, 4: "broken"}
    assert found[7, "answer"] == "broken"
    assert found[5, "answer"] == "kept"
    assert found[10, "answer"] == "kept"
    early = states(build, "2025-04-10 12:00")
    assert early[2, "whole"] == early[3, "whole"] == early[6, "whole"] == "undetermined"
    assert early[5, "whole"] == "not_under_promise"
    # The law is late only once goods were sent: 15 April for those.
    assert {k: v for (k, p), v in found.items() if p == "legal_refund"} == {
        1: "kept",
        2: "broken",
        3: "broken",
        4: "broken",
        5: "not_under_promise",
        6: "expired",
        7: "not_under_promise",
        8: "broken",
        9: "undetermined",
        10: "undetermined",
        11: "kept",
    }


def test_without_any_hand_over_in_the_data_the_request_is_the_customers_part(build: duckdb.DuckDBPyConnection) -> None:
    """Asked on 1 April: the whole promise is due on the 11th, the law's refund on the 15th."""
    asked = {"source": "bare", "requested_at": "2025-04-01 09:00"}
    add(build, 1, **asked, refunded_at="2025-04-05 09:00")
    add(build, 2, **asked)
    add(build, 3, **asked, cancelled_at="2025-05-20 09:00")  # after it was due
    add(build, 4, **asked, expired_at="2025-05-20 09:00")  # says that the customer never sent anything
    add(build, 5, **asked, cancelled_at="2025-04-03 09:00")
    add(build, 6, source="bare", requested_at="2025-06-29 09:00")
    found = filled(build)
    assert found[2, "whole"]["due_at"] == end_of(datetime(2025, 4, 11, 22))
    assert found[2, "legal_refund"]["due_at"] == end_of(datetime(2025, 4, 15, 22))
    by_hand = {1: "kept", 2: "broken", 3: "broken", 4: "expired", 5: "not_under_promise", 6: "undetermined"}
    for promise in ("whole", "legal_refund"):
        assert {k: v for (k, p), v in states(build, "2025-06-30 22:00").items() if p == promise} == by_hand
    assert states(build, "2025-04-12 10:00")[2, "legal_refund"] == "undetermined"


def test_a_refund_may_wait_for_goods_where_their_receipt_is_reported(build: duckdb.DuckDBPyConnection) -> None:
    """Receipts are known, hand-overs are not.

    The shop's own promise runs on the request, the law lets it wait for the goods.
    """
    asked = {"source": "bare", "requested_at": "2025-04-01 09:00"}
    for key in (1, 2, 3):
        add(build, key, **asked, received_at="2025-04-04 09:00", refunded_at="2025-04-05 09:00")
    add(build, 4, **asked)
    filled(build)
    found = states(build, "2025-06-30 22:00")
    assert (found[4, "whole"], found[4, "legal_refund"]) == ("broken", "undetermined")


def test_a_carrier_that_never_scans_is_judged_by_its_own_habit(build: duckdb.DuckDBPyConnection) -> None:
    asked = {"source": "bare", "requested_at": "2025-04-01 09:00"}
    done = {"received_at": "2025-04-04 09:00", "refunded_at": "2025-04-05 09:00"}
    for key in (1, 2, 3, 4):
        add(build, key, **asked, **done, carrier="Silent")
        scan = {"carrier_scan_at": "2025-04-02 09:00"} if key < 4 else {}  # three of four
        add(build, key + 10, **asked, **done, **scan, carrier="Tells")
    add(build, 5, **asked, carrier="Silent")
    add(build, 15, **asked, carrier="Tells")
    add(build, 25, **asked, carrier="New")  # as the source: three of eight have a scan
    filled(build)
    found = states(build, "2025-06-30 22:00")
    assert [found[k, "whole"] for k in (5, 15, 25)] == ["broken", "undetermined", "broken"]
    rows = build.execute(
        "SELECT carrier, reports_hand_over, reports_goods FROM estimate_return_tracking WHERE source = 'bare' ORDER"
        " BY 1"
    ).fetchall()
    assert rows == [("New", False, True), ("Silent", False, True), ("Tells", True, True)]
    # The first scans of Silent arrive with other returns: its open one waits for the hand-over from now on.
    for key in (30, 31, 32, 33, 34):
        add(build, key, **asked, **done, carrier="Silent", carrier_scan_at="2025-04-02 09:00")
    build.execute("DELETE FROM estimate_promise WHERE return_key >= 30")
    promises(build, Shards(), "return_key IN (SELECT unnest([30, 31, 32, 33, 34]))")
    assert states(build, "2025-06-30 22:00")[5, "whole"] == "undetermined"
    incremental = sorted(build.execute("SELECT * FROM estimate_promise").fetchall(), key=str)
    build.execute("DELETE FROM estimate_promise")
    promises(build, Shards(), "TRUE")
    assert incremental == sorted(build.execute("SELECT * FROM estimate_promise").fetchall(), key=str)


def test_dates_out_of_order_are_not_judged(build: duckdb.DuckDBPyConnection) -> None:
    add(build, 1, requested_at="2025-04-02 09:00", approved_at="2025-04-01 08:00")  # answered before it was asked
    add(
        build, 2, requested_at="2025-04-02 09:00", approved_at="2025-04-01 22:00"
    )  # midnight of the 2nd in Paris: a date alone
    add(build, 3, requested_at="2025-04-02 09:00", refunded_at="2025-04-01 08:00")  # paid before it was asked
    add(build, 4, refunded_at="2025-04-01 08:00")  # paid, and nothing else is known
    add(build, 5, requested_at="2025-04-02 09:00", approved_at="2025-04-02 10:00", date_fault="returned before ordered")
    filled(build)
    rows = build.execute(
        "SELECT return_key, promise_id, date_fault FROM estimate_promise WHERE date_fault IS NOT NULL ORDER BY ALL"
    ).fetchall()
    late = "ended before it started"
    assert rows == [
        (1, "answer", late),
        (3, "legal_refund", late),
        (3, "whole", late),
        (4, "legal_refund", "no start"),
        (4, "whole", "no start"),
        *((5, p, "returned before ordered") for p in ("answer", "legal_refund", "refund", "scan", "whole")),
    ]
    found = states(build, "2025-06-30 22:00")
    assert (found[1, "answer"], found[2, "answer"], found[3, "whole"]) == (
        "not_under_promise",
        "kept",
        "not_under_promise",
    )


def test_a_return_ends_with_its_last_unit_and_ignores_cancelled_ones(build: duckdb.DuckDBPyConnection) -> None:
    asked = {"requested_at": "2025-04-01 09:00", "received_at": "2025-04-04 09:00"}
    add(build, 1, **asked, refunded_at="2025-04-05 09:00")
    add(build, 1, 1, **asked, refunded_at="2025-04-09 09:00")
    add(build, 1, 2, requested_at="2025-04-01 09:00", cancelled_at="2025-04-02 09:00")
    add(build, 2, **asked, refunded_at="2025-04-05 09:00")
    add(build, 2, 1, **asked)
    found = filled(build)
    assert found[1, "refund"]["ended_at"] == datetime(2025, 4, 9, 9)
    assert found[1, "refund"]["stopped_at"] is None
    assert found[1, "refund"]["units"] == 3
    assert found[2, "refund"]["ended_at"] is None


def test_each_parcel_of_a_split_return_has_its_own_clocks(build: duckdb.DuckDBPyConnection) -> None:
    asked = {"requested_at": "2025-04-01 09:00"}
    first, second = {**asked, "parcel_key": 1}, {**asked, "parcel_key": 2}
    # 1: received Wed 2 April, refund due Wed 9 April, paid Fri 11: late. The other parcel, received on the 11th, is
    # paid on the 14th: in time. By the return's last receipt and last refund nothing would be late.
    add(build, 1, **first, received_at="2025-04-02 09:00", refunded_at="2025-04-11 15:00")
    add(build, 1, 1, **second, received_at="2025-04-11 09:00", refunded_at="2025-04-14 09:00", units=2)
    # 2: both in time; the promise is kept once the later one is due (received the 11th, due Fri 18 April).
    add(build, 2, **first, received_at="2025-04-02 09:00", refunded_at="2025-04-03 09:00")
    add(build, 2, 1, **second, received_at="2025-04-11 09:00", refunded_at="2025-04-14 09:00")
    # 3: one paid in time, the other never sent: open, and nothing is late; the whole is due by day 10 all the same.
    add(build, 3, **first, received_at="2025-04-02 09:00", refunded_at="2025-04-03 09:00")
    add(build, 3, 1, **asked)
    # 4: the second parcel was cancelled: the first decides.
    add(build, 4, **first, received_at="2025-04-02 09:00", refunded_at="2025-04-03 09:00")
    add(build, 4, 1, **second, cancelled_at="2025-04-02 09:00")
    found = filled(build)
    assert found[1, "refund"]["due_at"] == end_of(datetime(2025, 4, 9, 22))
    assert found[1, "refund"]["ended_at"] == datetime(2025, 4, 11, 15)
    assert (found[1, "refund"]["units"], found[1, "refund"]["amount"]) == (3, 80)
    assert found[2, "refund"]["due_at"] == end_of(datetime(2025, 4, 18, 22))
    assert found[3, "refund"]["due_at"] is None
    assert found[3, "whole"]["due_at"] == end_of(datetime(2025, 4, 11, 22))
    at = states(build, "2025-04-30 12:00")
    assert [at[n, "refund"] for n in (1, 2, 3, 4)] == ["broken", "kept", "undetermined", "kept"]
    assert states(build, "2025-04-10 12:00")[2, "refund"] == "undetermined"
    assert states(build, "2025-04-09 12:00")[1, "refund"] == "undetermined"
    build.execute("DELETE FROM estimate_promise WHERE return_key IN (1, 3)")
    promises(build, Shards(), "return_key IN (1, 3)")
    again = {key: state for key, state in states(build, "2025-04-30 12:00").items() if key[1] == "refund"}
    assert again == {key: state for key, state in at.items() if key[1] == "refund"}


def test_each_line_of_a_return_keeps_the_policy_it_was_sold_under(build: duckdb.DuckDBPyConnection) -> None:
    build.execute(
        "INSERT INTO dim_policy_promise VALUES (5, 8, 'refund', 'received', 'refunded', 2, 'business_days', 'retailer')"
    )
    times = {"requested_at": "2025-04-01 09:00", "received_at": "2025-04-02 09:00", "parcel_key": 1}
    # Both lines are paid on Mon 7 April: within five business days of Wed 2, not within two.
    add(build, 1, **times, refunded_at="2025-04-07 09:00")
    add(build, 1, 1, **{**times, "policy_key": 8}, refunded_at="2025-04-07 09:00")
    add(build, 2, **times, refunded_at="2025-04-07 09:00")
    found = filled(build)
    assert (found[1, "refund"]["policy_key"], found[1, "refund"]["duration"]) == (8, 2)
    at = states(build, "2025-04-30 12:00")
    assert (at[1, "refund"], at[2, "refund"]) == ("broken", "kept")


def test_a_missing_scan_was_made_at_the_latest_on_receipt_and_a_store_needs_none(
    build: duckdb.DuckDBPyConnection,
) -> None:
    add(build, 1, requested_at="2025-04-01 09:00", handed_over_at="2025-04-02 09:00", received_at="2025-04-09 09:00")
    add(build, 2, received_at="2025-04-02 09:00", refunded_at="2025-04-02 09:05", method="store")
    found = filled(build)
    assert found[1, "scan"]["ended_at"] == datetime(2025, 4, 9, 9)
    assert states(build, "2025-06-30")[1, "scan"] == "broken"
    assert {promise for key, promise in found if key == 2} == {"answer", "refund", "whole", "legal_refund"}
    assert found[2, "whole"]["started_at"] == datetime(2025, 4, 2, 9)
    assert {state for (key, _), state in states(build, "2025-06-30").items() if key == 2} == {"kept"}


def test_a_return_asked_for_at_home_is_received_at_the_till_when_it_comes(build: duckdb.DuckDBPyConnection) -> None:
    """Asked on 1 April, brought on the 8th: looked at that day.

    One that was never brought is not received when it was asked for.
    """
    asked = {"requested_at": "2025-04-01 09:00", "method": "store"}
    add(build, 1, **asked, received_at="2025-04-08 09:00")
    add(build, 2, **asked)
    build.execute(
        "INSERT INTO dim_policy_promise VALUES (5, 7, 'look', 'received', 'inspected', 2, 'business_days', 'retailer')"
    )
    build.execute("UPDATE fact_return_line SET inspected_at = received_at WHERE return_lot_key = -1")
    found = filled(build)
    assert (found[1, "look"]["started_at"], found[1, "look"]["ended_at"]) == (datetime(2025, 4, 8, 9),) * 2
    assert found[1, "look"]["date_fault"] is None
    assert (found[2, "look"]["started_at"], found[2, "refund"]["started_at"]) == (None, None)


def test_a_stage_that_the_source_never_records_makes_no_promise(build: duckdb.DuckDBPyConnection) -> None:
    build.execute("UPDATE fact_return_line SET carrier_scan_at = NULL")
    add(build, 1, requested_at="2025-04-01 09:00", handed_over_at="2025-04-02 09:00", received_at="2025-04-09 09:00")
    assert (1, "scan") not in filled(build)


def test_thousands_of_durations_over_ten_years_take_little_memory() -> None:
    """10,324 returns, each under a promise of 5,000 durations.

    All days x all durations are 18 million, what began is 10,324.
    """
    connection = duckdb.connect(config={"threads": 1, "memory_limit": "400MB", "max_temp_directory_size": "0KiB"})
    create_tables(connection)
    connection.execute("""
        INSERT INTO build_source BY NAME SELECT 'shop' AS source, 'return_event' AS thing, TIMESTAMP '2025-06-30'
            AS last_occurred_at;
        INSERT INTO dim_policy_promise BY NAME
        SELECT i AS promise_key, i AS policy_key, 'credit' AS promise_id, 'received' AS from_stage, 'refunded'
            AS to_stage, i / 100 AS duration, 'calendar_days' AS duration_unit, 'retailer' AS responsible
            FROM range(5000) t(i);
        INSERT INTO fact_return_line BY NAME
        SELECT i AS return_lot_key, i AS return_line_key, i::VARCHAR AS return_line_id, i AS return_key, i::VARCHAR
            AS return_id, i % 5000 AS policy_key, 'shop' AS source, 'FR' AS country, 'web' AS channel, 'commercial'
            AS return_type,
            'mail' AS method, 1 AS units, TIMESTAMP '2015-01-01' + to_hours((i * 8)::INTEGER) AS received_at,
                received_at + INTERVAL 2 DAY AS refunded_at, received_at::DATE AS requested_on FROM range(10324) t(i);
    """)
    calendar(connection, Settings())
    promises(connection, Shards(), "TRUE")
    counted = connection.execute(
        "SELECT count(*), count(due_at), count(*) FILTER (due_at::DATE = started_on + ceil(duration)::INTEGER) FROM"
        " estimate_promise"
    ).fetchall()
    connection.close()
    assert counted == [(10324, 10324, 10324)]


def test_only_the_returns_asked_for_are_filled(build: duckdb.DuckDBPyConnection) -> None:
    add(build, 1, requested_at="2025-04-01 09:00")
    add(build, 2, requested_at="2025-04-01 09:00")
    filled(build)
    build.execute("DELETE FROM estimate_promise")
    promises(build, Shards(), "return_key IN (SELECT 2)")
    assert build.execute("SELECT DISTINCT return_key FROM estimate_promise").fetchall() == [(2,)]


def test_legal_dates_and_their_work_list_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    settings = legal.loaded(tmp_path)
    assert legal.wrong(settings) == []
    by_hand = legal.due_soon(legal.AS_OF)
    assert len(by_hand) >= 3
    assert legal.listed(settings, legal.AS_OF) == (by_hand, len(by_hand))


def test_due_instants_agree_with_a_slow_reference() -> None:
    assert slow.mismatches(2_000, 7) == (2_000, 0, [])
