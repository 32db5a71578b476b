"""Due instants of random promises against a slow reference that walks day by day in plain Python.

Promises in clock hours, calendar days, business days of a country and working days of a carrier, in shops of nine time
zones, two of them not a whole hour from UTC, over changes of the clock, public holidays and a carrier's own closed and
open days.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import duckdb
import holidays
import numpy as np
import pyarrow as pa

from pipelines.estimate.calendar import calendar
from pipelines.estimate.promises import promises
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings
from pipelines.warehouse.shards import Shards
from tests.evidence import Claim

INTERVALS = 100_000
ZONES = (
    "Europe/Paris",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Helsinki",
    "Atlantic/Canary",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "UTC",
)
COUNTRIES = ("FR", "DE", "IE", "FI", "ES", "US", "IN", "NP", "PT")
LENGTHS = (0, 1, 2, 3, 5, 10, 14, 30)
UNITS = ("clock_hours", "calendar_days", "business_days", "carrier_days")
SATURDAYS = {
    "weekdays": {1, 2, 3, 4, 5, 6},
    "holidays": False,
    "closed": {date(2025, 12, 24), date(2025, 8, 16)},
    "open": {date(2025, 12, 21)},
}
ALWAYS = {"weekdays": {1, 2, 3, 4, 5, 6, 7}, "holidays": True, "closed": {date(2025, 12, 25)}, "open": set()}
CARRIERS = {"Six Days": SATURDAYS, "Always": ALWAYS}
FIRST, LAST = datetime(2024, 1, 10), datetime(2026, 1, 20)


@cache
def public(country: str) -> frozenset[date]:
    """Give a country's public holidays; none where the library knows none."""
    known = country in holidays.list_supported_countries(include_aliases=False)
    return frozenset(holidays.country_holidays(country, years=range(2023, 2028))) if known else frozenset()


@cache
def works(day: date, country: str, carrier: str | None) -> bool:
    """Say whether a day is worked: by the carrier where it has a calendar, else in the country."""
    rules = CARRIERS.get(carrier or "")
    if rules is None:
        return day.isoweekday() < 6 and day not in public(country)
    usual = day.isoweekday() in rules["weekdays"] and (rules["holidays"] or day not in public(country))  # type: ignore[operator]
    return day in rules["open"] or (usual and day not in rules["closed"])  # type: ignore[operator]


def slow_due(start: datetime, zone: str, country: str, carrier: str | None, unit: str, length: int) -> datetime:
    """Walk to the last instant of the promise, UTC."""
    if unit == "clock_hours":
        return start + timedelta(hours=length)
    at = ZoneInfo(zone)
    day = start.replace(tzinfo=ZoneInfo("UTC")).astimezone(at).date()
    by = carrier if unit == "carrier_days" else None
    if unit == "calendar_days":
        for _ in range(length):
            day += timedelta(days=1)
    elif length == 0:
        while not works(day, country, by):  # none to wait for: the last one worked
            day -= timedelta(days=1)
    else:
        left = length
        while left:
            day += timedelta(days=1)
            left -= works(day, country, by)
    midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), at)
    return midnight.astimezone(ZoneInfo("UTC")).replace(tzinfo=None) - timedelta(microseconds=1)


def mismatches(count: int, seed: int) -> tuple[int, int, list[str]]:
    """Draw promises, ask the warehouse and the reference: (compared, different, some that differ)."""
    rng = np.random.default_rng(seed)
    connection = duckdb.connect(config={"threads": 2})
    create_tables(connection)
    shops = ", ".join(f"({i}, '{z}')" for i, z in enumerate(ZONES))
    kinds = [(u, n) for u in UNITS for n in LENGTHS]
    told = ", ".join(
        f"({i}, {i}, 'p', 'received', 'refunded', {n}, '{u}', 'retailer')" for i, (u, n) in enumerate(kinds)
    )

    def listed(rules: dict[str, object], name: str) -> str:
        return " ".join(map(str, sorted(rules[name])))  # type: ignore[call-overload]

    days = [
        f"('{c}', '{k}', TIMESTAMP '2000-01-01', '{listed(r, 'weekdays')}', {r['holidays']}, '{listed(r, 'closed')}',"
        f" '{listed(r, 'open')}')"
        for c, r in CARRIERS.items()
        for k in COUNTRIES
    ]
    connection.execute(f"""
        INSERT INTO dim_shop (shop_key, time_zone) VALUES {shops};
        INSERT INTO dim_policy_promise (promise_key, policy_key, promise_id, from_stage, to_stage, duration,
            duration_unit, responsible) VALUES {told};
        INSERT INTO dim_carrier_calendar (carrier, country, valid_from, weekdays, works_holidays, closed_days,
            open_days) VALUES {", ".join(days)};
        INSERT INTO build_source BY NAME SELECT 's' AS source, 'return_event' AS thing, TIMESTAMP '{LAST}'
            AS last_occurred_at;
    """)
    span = int((LAST - FIRST).total_seconds())
    drawn = {
        "i": np.arange(count),
        "shop_key": rng.integers(len(ZONES), size=count),
        "policy_key": rng.integers(len(kinds), size=count),
        "country": rng.integers(len(COUNTRIES), size=count),
        "carrier": rng.integers(3, size=count),
        "second": rng.integers(span, size=count),
    }
    names = [*CARRIERS, "Other"]
    table = pa.table(
        {
            **{n: pa.array(drawn[n]) for n in ("i", "shop_key", "policy_key")},
            "country": pa.array([COUNTRIES[c] for c in drawn["country"]]),
            "carrier": pa.array([names[c] for c in drawn["carrier"]]),
            "began_at": pa.array([FIRST + timedelta(seconds=int(s)) for s in drawn["second"]]),
        }
    )
    connection.register("drawn", table)
    connection.execute("""
        INSERT INTO fact_return_line BY NAME
        SELECT i AS return_lot_key, i AS return_line_key, i::VARCHAR AS return_line_id, i AS return_key, i::VARCHAR
            AS return_id, policy_key, shop_key, 's' AS source, country, 'web' AS channel,
            'commercial' AS return_type, 'mail' AS method, carrier, 1 AS units, began_at AS requested_at, began_at
                AS received_at, began_at + INTERVAL 400 DAY AS refunded_at, began_at::DATE AS requested_on FROM drawn
    """)
    calendar(connection, Settings())
    promises(connection, Shards(), "TRUE")
    found = dict(
        connection.execute("SELECT return_key, due_at FROM estimate_promise WHERE promise_id = 'p'").fetchall()
    )
    connection.close()
    different = []
    for i in range(count):
        unit, length = kinds[drawn["policy_key"][i]]
        where = (ZONES[drawn["shop_key"][i]], COUNTRIES[drawn["country"][i]], names[drawn["carrier"][i]])
        start = FIRST + timedelta(seconds=int(drawn["second"][i]))
        expected = slow_due(start, *where, unit, length)
        if found.get(i) != expected:
            different.append(f"{start} {where} {length} {unit}: {found.get(i)} instead of {expected}")
    return count, len(different), different[:5]


def claims() -> Iterator[Claim]:
    """Claim that the warehouse's dates are the reference's."""
    compared, different, some = mismatches(INTERVALS, 51_000)
    yield Claim(
        f"Due instants of {compared:,} random promises (clock hours, calendar, business and carrier days;"
        f" {len(COUNTRIES)} countries, {len(ZONES)} time zones) against a slow reference",
        "0 different",
        f"{different} different" + (f": {'; '.join(some)}" if some else ""),
        different == 0 and compared >= INTERVALS,
    )
