"""The calendar of working days by country and carrier."""

from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.settings import Settings


def calendar(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill dim_day: every day of the facts, two before and 60 after.

    For each country sold to or from, with its public holidays, and for each carrier's calendar. A zone may be a day
    behind UTC.

    Weekends are the country's own (Friday and Saturday in some, a weekend that moved in others), with the weekend days
    it officially works. Countries that the `holidays` library does not know, and the empty one of returns without a
    country, rest on Saturday and Sunday only.
    """
    del settings
    first, last = _span(connection)
    if first is None or last is None:
        connection.execute("DELETE FROM dim_day")
        return
    countries = _countries(connection)
    known = connection.execute("SELECT min(day), max(day), list_sort(list(DISTINCT country)) FROM dim_day").fetchall()
    if known == [(first, last, countries)]:
        return  # another calendar of a carrier asks for a full build
    connection.execute("DELETE FROM dim_day")
    connection.register("official_day", official_days(countries, first, last))
    connection.execute(_DAYS, [first, last, countries])
    connection.unregister("official_day")


def _span(connection: duckdb.DuckDBPyConnection) -> tuple[date | None, date | None]:
    """Give the first and the last day of the calendar; None where there are no facts."""
    first, last = connection.execute("""
        SELECT min(a)::DATE - 2, max(b)::DATE + 60 FROM (
            SELECT min(ordered_at) AS a, max(ordered_at) AS b FROM fact_order_line
            UNION ALL SELECT min(requested_on), max(greatest(requested_on, confirmed_at, refunded_at,
                restocked_at)) FROM fact_return_line
            UNION ALL SELECT NULL, max(last_occurred_at) FROM build_source)
    """).fetchall()[0]
    return first, last


def _countries(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """List the countries sold to or from, and "" for returns without one."""
    rows = connection.execute("""
        SELECT DISTINCT coalesce(country, '') AS country FROM (SELECT country FROM fact_order_line UNION ALL
            SELECT country FROM fact_return_line
            UNION ALL SELECT market FROM dim_shop UNION ALL SELECT country FROM dim_carrier_calendar) ORDER BY 1
    """).fetchall()
    return [r[0] for r in rows]


_LISTED = "list_contains(string_split(trim({0}), ' '), {1})"
_DAYS = f"""
    INSERT INTO dim_day BY NAME
    WITH grid AS (
        SELECT d.day, c.country, coalesce(o.is_weekend, isodow(d.day) > 5) AS is_weekend, coalesce(o.is_holiday,
            false) AS is_holiday,
            coalesce(o.is_worked, isodow(d.day) < 6) AS is_worked
        FROM (SELECT range::DATE AS day FROM range(?::TIMESTAMP, ?::TIMESTAMP + INTERVAL 1 DAY, INTERVAL 1 DAY)) d
        CROSS JOIN (SELECT unnest(?::VARCHAR[]) AS country) c
        LEFT JOIN official_day o ON o.country = c.country AND o.day = d.day),
    own AS (SELECT DISTINCT carrier, country FROM dim_carrier_calendar),
    days AS (
        SELECT day, country, '' AS carrier, is_holiday, is_worked AS is_business_day FROM grid
        UNION ALL
        SELECT g.day, g.country, o.carrier, g.is_holiday, coalesce({_LISTED.format("c.open_days", "g.day::VARCHAR")},
            false) OR coalesce(
            coalesce({_LISTED.format("c.weekdays", "isodow(g.day)::VARCHAR")}, NOT g.is_weekend)
                AND (c.works_holidays OR NOT g.is_holiday)
                AND NOT coalesce({_LISTED.format("c.closed_days", "g.day::VARCHAR")}, false),
            g.is_worked)
        FROM grid g JOIN own o ON o.country = g.country
        LEFT JOIN dim_carrier_calendar c ON c.carrier = o.carrier AND c.country = g.country
            AND g.day >= c.valid_from::DATE AND (c.valid_to IS NULL OR g.day < c.valid_to::DATE))
    SELECT day, country, carrier, is_holiday, is_business_day,
        sum(is_business_day::INTEGER) OVER (PARTITION BY country, carrier ORDER BY day)::INTEGER AS business_day_no
    FROM days ORDER BY country, carrier, day
"""
"""Inserts the days from one to another of some countries: worked as the country says, then as each carrier does."""


def official_days(countries: list[str], first: date, last: date) -> pa.Table:
    """Give each day of the countries that `holidays` knows: whether it is a weekend's, a public holiday, and worked."""
    import holidays  # only when there is a calendar to make

    known = sorted({*countries} & {*holidays.list_supported_countries(include_aliases=False)})
    days = [first + timedelta(n) for n in range((last - first).days + 1)]
    columns: dict[str, list[Any]] = {"country": [], "day": [], "is_weekend": [], "is_holiday": [], "is_worked": []}
    for country in known:
        official = holidays.country_holidays(country, years=range(first.year, last.year + 1))
        columns["country"] += [country] * len(days)
        columns["day"] += days
        columns["is_weekend"] += [official.is_weekend(d) for d in days]
        columns["is_holiday"] += [d in official for d in days]
        columns["is_worked"] += [official.is_working_day(d) for d in days]
    types = (pa.string(), pa.date32(), pa.bool_(), pa.bool_(), pa.bool_())
    return pa.table({n: pa.array(v, t) for (n, v), t in zip(columns.items(), types, strict=True)})
