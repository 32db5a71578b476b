"""What the law adds to late refunds, on open returns written by hand, against a script of its own.

The script reads the articles sentence by sentence and walks day by day: Code de la consommation L242-4 ("du taux
d'intérêt légal si le remboursement intervient au plus tard dix jours après [...], de 5 % si le retard est compris entre
dix et vingt jours, de 10 % [...] entre vingt et trente jours, de 20 % [...] entre trente et soixante jours, de 50 %
entre soixante et quatre-vingt-dix jours et de cinq points supplémentaires par nouveau mois de retard jusqu'à
concurrence du prix du produit, puis du taux d'intérêt légal") and L241-4 ("majorée de 10 % si le remboursement
intervient au plus tard quatorze jours au-delà de ce terme, de 20 % jusqu'à trente jours et de 50 % ultérieurement").
It shares no code and no data file with the estimate. Rates: orders in the Journal officiel, see data/legal_rates.csv.
"""

import random
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from models.late_refund import added, periods
from pipelines import analyses, metrics
from pipelines.estimate.late_refund import late_refunds, rates_of, scale_of
from pipelines.load.shape.versions import create_tables
from pipelines.warehouse.engine import open_duckdb
from tests.evidence import Claim

_RATES = {  # half-years: percent
    (2023, 1): 4.47,
    (2023, 2): 6.82,
    (2024, 1): 8.01,
    (2024, 2): 8.16,
    (2025, 1): 7.21,
    (2025, 2): 6.65,
    (2026, 1): 6.67,
}
T = datetime(2026, 1, 31, 12)


def _interest_of(day: date) -> float:
    return _RATES[day.year, 1 if day.month < 7 else 2] / 100 / 365


def by_text(due_on: date, on: date) -> float:
    """Walk the days of L242-4 one by one and give the share that is added on a day."""
    surcharge, interest, new_months, last_of_month, is_full = 0.0, 0.0, 0, due_on + timedelta(90), False
    for late in range(1, (on - due_on).days + 1):
        day = due_on + timedelta(late)
        if late <= 10:
            interest += _interest_of(day)
            surcharge = interest
        elif late <= 20:
            surcharge = 0.05
        elif late <= 30:
            surcharge = 0.10
        elif late <= 60:
            surcharge = 0.20
        elif late <= 90:
            surcharge, interest = 0.50, 0.0
        else:
            if day > last_of_month:  # a new month of delay has begun
                new_months += 1
                is_full = surcharge >= 1 - 1e-9
                last_of_month = _later(due_on + timedelta(90), new_months)
            if is_full:
                interest += _interest_of(day)
                surcharge = 1.0 + interest
            else:
                surcharge = min(0.50 + 0.05 * new_months, 1.0)
    return surcharge


def _later(day: date, months: int) -> date:
    year, month = day.year + (day.month - 1 + months) // 12, (day.month - 1 + months) % 12 + 1
    for last in range(day.day, 27, -1):
        try:
            return date(year, month, last)
        except ValueError:
            continue
    return date(year, month, day.day)


def by_text_of_delivery(late: int) -> float:
    """Give the share that L241-4 adds so many days beyond its term."""
    if late <= 0:
        return 0.0
    return 0.10 if late <= 14 else 0.20 if late <= 30 else 0.50


# return: country, requested, last instant in time (UTC), closed, lots of (net, VAT, paid)
Lot = tuple[float, float, datetime | None]
CASES: dict[int, tuple[str, str, str | None, str | None, list[Lot]]] = {
    1: ("FR", "2025-12-30", "2026-01-15 23", None, [(100, 20, None)]),  # 16 days late
    2: ("FR", "2026-01-10", "2026-01-26 23", None, [(50, 10, None), (50, 10, datetime(2026, 1, 28, 9))]),  # half paid
    3: ("FR", "2025-08-01", "2025-08-18 22", None, [(40, 8, None)]),  # summer time; 166 days late
    4: ("FR", "2026-01-02", "2026-01-16 23", "2026-01-25 10", [(25, 5, datetime(2026, 1, 25, 10))]),  # paid late
    5: ("FR", "2026-01-18", "2026-02-02 23", None, [(30, 6, None)]),  # not due yet
    6: ("DE", "2025-12-01", "2025-12-15 23", None, [(90, 17, None)]),  # another country's law
    7: ("FR", "2026-01-02", None, None, [(80, 16, None)]),  # nothing sent: no date, nothing owed
    8: ("FR", "2025-10-12", "2025-10-28 23", None, [(60, 12, None)]),  # the clock changed two days before
    9: ("FR", "2023-11-01", "2023-11-15 23", None, [(20, 4, None)]),  # past the price: 2 years late
    10: ("FR", "2026-01-02", "2026-01-16 23", "2026-01-16 22", [(70, 14, datetime(2026, 1, 16, 22))]),  # last hour
}


def _rows() -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {"fact_return_line": [], "estimate_promise": []}
    for number, (country, asked, due, closed, sold) in CASES.items():
        on = date.fromisoformat(asked)
        due_at = datetime.strptime(due, "%Y-%m-%d %H") - timedelta(microseconds=1) if due else None
        tables["estimate_promise"].append(
            {
                "return_key": number,
                "return_id": f"shop:r{number}",
                "promise_id": "legal_refund",
                "requested_on": on,
                "requested_at": datetime(on.year, on.month, on.day, 9),
                "due_at": due_at,
                "ended_at": datetime.strptime(closed, "%Y-%m-%d %H") if closed else None,
                "source": "shop",
                "shop_id": "shop:fr",
                "country": country,
            }
        )
        for place, (net, vat, paid) in enumerate(sold):
            tables["fact_return_line"].append(
                {
                    "return_lot_key": 10 * number + place,
                    "return_line_key": 10 * number + place,
                    "return_line_id": f"shop:l{number}-{place}",
                    "return_key": number,
                    "return_id": f"shop:r{number}",
                    "return_type": "withdrawal",
                    "requested_at": datetime(on.year, on.month, on.day, 9),
                    "requested_on": on,
                    "ordered_on": on - timedelta(10),
                    "refunded_at": paid,
                    "units": 1,
                    "net_amount": net,
                    "vat_amount": vat,
                    "fx_rate": 1.0,
                    "currency": "EUR",
                    "country": country,
                    "source": "shop",
                    "shop_id": "shop:fr",
                }
            )
    return tables


def write(connection: duckdb.DuckDBPyConnection, observed: datetime) -> None:
    """Write the cases into the tables of an empty build that was observed until an instant."""
    tables = _rows() | {
        "dim_shop": [{"shop_key": 1, "shop_id": "shop:fr", "time_zone": "Europe/Paris"}],
        "build_source": [{"source": "shop", "thing": "return_event", "rows": 1, "last_occurred_at": observed}],
        "build_info": [{"name": "reporting_currency", "value": "EUR"}],
        "build_coverage": [
            {"source": "shop", "fact": f, "share": 1.0, "rows": 9}
            for f in ("order", "return", "price", "vat", "fx", "stage_requested", "stage_refunded")
        ],
    }
    for name, rows in tables.items():
        columns = ", ".join(rows[0])
        places = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {name} ({columns}) VALUES ({places})", [list(r.values()) for r in rows])


def built(path: Path, observed: datetime) -> Path:
    """Write the cases as a build with what the law adds to them."""
    with duckdb.connect(str(path)) as connection:
        create_tables(connection)
        write(connection, observed)
        late_refunds(connection)
    return path


def _expected() -> dict[str, float]:
    """Give by return what the law adds on the day of T, by the script."""
    found = {}
    for number, (country, _, due, closed, sold) in CASES.items():
        if country != "FR" or due is None or closed is not None:
            continue
        due_on = datetime.strptime(due, "%Y-%m-%d %H").date()  # the instant that ends it is 22 or 23 h UTC of that day
        unpaid = sum(net + vat for net, vat, paid in sold if paid is None)
        if due_on < T.date():
            found[f"shop:r{number}"] = unpaid * by_text(due_on, T.date())
    return found


def claims() -> Iterator[Claim]:
    """Compare the list, the total and drawn days with the script."""
    expected = _expected()
    with tempfile.TemporaryDirectory() as place, open_duckdb(built(Path(place) / "owed.duckdb", T)) as build:
        listed = analyses.owed_by_law(build)
        total = float(metrics.answer(build, "late_refund_surcharge")["value"].iloc[0])
    late = listed[listed["days_late"] > 0].set_index("return_id")["surcharge"]
    gaps = [abs(float(late.get(r, 0.0)) - e) for r, e in expected.items()]
    names = f"{len(late)} listed of {len(expected)}, largest gap {max(gaps):.6f}"
    is_same = set(late.index) == set(expected) and max(gaps) < 1e-6
    bar = "the same returns, gap under 0.000001"
    yield Claim("Late refunds, return by return, against the text of L242-4 read day by day", bar, names, is_same)
    gap = abs(total - sum(expected.values()))
    yield Claim("The total owed by law is the sum of the returns", "gap under 0.000001", f"{gap:.6f}", gap < 1e-6)
    drawn = random.Random(47)
    worst, days = 0.0, 0
    for _ in range(2000):
        due_on = date(2023, 1, 1) + timedelta(drawn.randrange(1000))
        on = min(
            due_on + timedelta(drawn.choice([drawn.randrange(12), drawn.randrange(130), drawn.randrange(700)])),
            T.date(),
        )
        ours = added(periods(due_on, on, scale_of("L242-4", due_on)[1], rates_of("FR")), on)
        worst, days = max(worst, abs(ours - by_text(due_on, on))), days + 1
    said = f"{days} days drawn, largest gap {worst:.2e}"
    yield Claim("L242-4 on days drawn, half-years and months of any length", "gap under 1e-9", said, worst < 1e-9)
    _, steps = scale_of("L241-4", date(2025, 1, 1))
    wrong = [
        late_by
        for late_by in range(90)
        if added(
            periods(date(2025, 1, 1), date(2025, 1, 1) + timedelta(late_by), steps, []),
            date(2025, 1, 1) + timedelta(late_by),
        )
        != by_text_of_delivery(late_by)
    ]
    yield Claim("L241-4 on each of 90 days", "0 days otherwise", f"{len(wrong)} days otherwise", not wrong)
