"""Numbers and times are read as people write them; what cannot be read is never a zero or another day."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import values
from pipelines.warehouse.sql import connect


def read(sql: str, texts: Sequence[str | None]) -> list[Any]:
    connection = connect(":memory:", threads=1)
    values.zones(connection)
    connection.execute(f"CREATE TEMP MACRO read(v) AS ({sql})")
    connection.execute("CREATE TABLE texts (i INTEGER, v VARCHAR)")
    connection.executemany("INSERT INTO texts VALUES (?, ?)", list(enumerate(texts)))
    found = [row[0] for row in connection.execute("SELECT read(v) FROM texts ORDER BY i").fetchall()]
    connection.close()
    return found


def numbers(texts: Sequence[str | None], **options: Any) -> list[float | None]:
    return [None if n is None else float(n) for n in read(values.number_sql(**options), texts)]


SWISS = {
    "12": 12,
    "-1.5": -1.5,
    "1'200.00": 1200,
    "1’200.50": 1200.5,
    "1 200": 1200,
    "1\u202f234\u00a0567.89": 1234567.89,
    "CHF 400.00": 400,
    "400.00 CHF": 400,
    "chf400": 400,
    "12.-": 12,
    "12.–": 12,
    "(12.5)": -12.5,
    "12-": -12,
    "− 12": -12,
    "+3": 3,
    "CHF -7": -7,
    ".5": 0.5,
    "1e3": 1000,
    "\u200b7": 7,
    "": None,
    " ": None,
    "abc": None,
    "1,5": None,
    "1'2": None,
    "12 34": None,
    "EUR 4": None,
    "€4": None,
    "12%": None,
    "1_000": None,
    "NaN": None,
    "infinity": None,
    "1.2.3": None,
}
AMERICAN = {
    "1,200.50": 1200.5,
    "$1,234.56": 1234.56,
    "($1,234.56)": -1234.56,
    "-$5": -5,
    "1,00,000": 100000,
    "12,50": None,
    "1,2345": None,
    "€5": None,
}
GERMAN = {
    "1.200,50": 1200.5,
    "12,50 €": 12.5,
    "12,50-€": -12.5,
    "1.200": 1200,
    "EUR 1 200,5": 1200.5,
    "1.5": None,
    "12.50": None,
    "1,2,3": None,
}


@pytest.mark.parametrize(
    ("cases", "options"),
    [
        (SWISS, {"own": "CHF"}),
        (AMERICAN, {"own": "USD", "thousands": ","}),
        (GERMAN, {"own": "EUR", "decimal": ",", "thousands": "."}),
        ({"1.200": None, "1200,5": 1200.5}, {"decimal": ","}),  # 1.2 or 1200? nobody said
        ({"1.2": 1.2, "1200,5": 1200.5, "1e-05": 1e-05}, {"decimal": ",", "is_text": False}),  # a typed cell is plain
        ({"5 kr": 5, "kr 5": 5, "5 zł": 5, "$5": 5, "EUR 5": None}, {"currencies": ["kr", "zł"]}),
    ],
)
def test_numbers_are_read_as_they_are_written(cases: dict[str, float | None], options: dict[str, Any]) -> None:
    assert dict(zip(cases, numbers(list(cases), **options), strict=True)) == cases


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(["", " ", "'", "’", "."]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_number_written_in_groups_is_the_number(number: Any, group: str, has_parentheses: bool) -> None:
    written = f"{abs(number):,.2f}".replace(",", "\0").replace(".", ",").replace("\0", group)
    written = (f"({written})" if has_parentheses else f"-{written}") if number < 0 else written
    assert numbers([written], decimal=",", thousands=".") == [float(number)]


PARIS = {
    "2026-07-01": "2026-06-30T22:00:00Z",
    "2026-07-01 10:00": "2026-07-01T08:00:00Z",
    "2026-12-01T10:00:00.5": "2026-12-01T09:00:00.5Z",
    "2026-07-01T10:00:00Z": "2026-07-01T10:00:00Z",
    "2026-07-01T10:00:00-04:00": "2026-07-01T10:00:00-04:00",
    "2026-07-01 10:00:00.000000 UTC": "2026-07-01T10:00:00Z",
    "2026-07-01 10:00:00 +0530": "2026-07-01T04:30:00Z",
    "2026-07-01 10:00 GMT+2": "2026-07-01T08:00:00Z",
    "2026-07-01 10:00 PDT": "2026-07-01T17:00:00Z",
    "2026-07-01 10:00 Asia/Tokyo": "2026-07-01T01:00:00Z",
    "2026-07-01T10:00:00+01:00[Europe/London]": "2026-07-01T09:00:00Z",
    "2026-07-01 10:00:00,25": "2026-07-01T08:00:00.25Z",
    "2026-07-01\u00a010:00": "2026-07-01T08:00:00Z",
    "2026-07-01+02:00": "2026-06-30T22:00:00Z",
    "2026-07-01 10:00 IST": "2026-07-01 10:00 IST",  # India, Ireland or Israel
    "2026-07-01 10:00 Atlantis/Centre": "2026-07-01 10:00 Atlantis/Centre",
    "2026-02-30": "2026-02-30",
    "soon": "soon",
    "1767348000": "1767348000",
    "": "",
}


def times(texts: Sequence[str], formats: Sequence[str], zone: str | None, **options: Any) -> dict[str, Any]:
    return dict(zip(texts, read(values.time_sql(formats, zone, **options), texts), strict=True))


def test_times_are_read_with_the_zone_they_name() -> None:
    assert times(list(PARIS), [], "Europe/Paris") == PARIS
    assert times(["2026-07-01 10:00 IST"], [], "Asia/Kolkata") == {"2026-07-01 10:00 IST": "2026-07-01T04:30:00Z"}
    assert times(["2026-07-01 10:00", "2026-07-01 10:00 UTC"], [], None) == {
        "2026-07-01 10:00": "2026-07-01 10:00:00",  # of no zone: the judgement refuses it
        "2026-07-01 10:00 UTC": "2026-07-01T10:00:00Z",
    }
    for none in ("0000-00-00", "0000-00-00 00:00:00", "NULL", r"\N"):  # what databases write for no date
        assert times([none], ["%d/%m/%Y"], "Europe/Paris") == times([none], [], None, is_day=True) == {none: None}


def test_several_ways_of_writing_dates_in_one_column() -> None:
    formats = [
        "%d/%m/%Y %H:%M",
        "%d/%m/%Y",
        "%b %d, %Y %I:%M:%S %p",
        "%a, %d %b %Y %H:%M:%S %z",
        "%a %b %d %H:%M:%S %z %Y",
    ]
    wanted = {
        "01/07/2026": "2026-07-01T07:00:00Z",
        "1/7/2026 10:00": "2026-07-01T17:00:00Z",
        "01/07/2026 10:00 UTC": "2026-07-01T10:00:00Z",
        "Jul 1, 2026 3:00:05\u202fPM PDT": "2026-07-01T22:00:05Z",
        "Wed, 01 Jul 2026 10:00:00 GMT": "2026-07-01T10:00:00Z",
        "Wed, 01 Jul 2026 10:00:00 +0200": "2026-07-01T08:00:00Z",
        "Tue Jul 07 10:00:00 +0200 2026": "2026-07-07T08:00:00Z",
        "2026-07-01": "2026-07-01T07:00:00Z",
        "31/02/2026": "31/02/2026",
    }
    assert times(list(wanted), formats, "America/Los_Angeles") == wanted


def test_seconds_milliseconds_and_days_of_a_spreadsheet() -> None:
    """1767348000 is 2 January 2026, 10:00 UTC; 45292 is 1 January 2024 in a spreadsheet."""
    wanted = {
        "1767348000": "2026-01-02T10:00:00Z",
        "1767348000.5": "2026-01-02T10:00:00.5Z",
        "1767348000123": "2026-01-02T10:00:00.123Z",
        "45292.5": "2024-01-01T11:00:00Z",  # noon in Paris
        "0": None,
        "-5": "-5",
        "99999999999999999": "99999999999999999",
    }
    assert times(list(wanted), ["epoch_s", "epoch_ms", "excel"], "Europe/Paris") == wanted


@pytest.mark.parametrize(("days", "day"), [(14, "15"), (-1, "06-30"), (0, "01")])
def test_days_later_or_earlier_hold_for_every_way_of_writing(days: int, day: str) -> None:
    texts = ["2026-07-01T10:00:00Z", "2026-07-01 10:00:00 UTC", "2026-07-01 12:00", "01/07/2026 12:00", "1782900000"]
    found = times(texts, ["%d/%m/%Y %H:%M", "epoch_s"], "Europe/Paris", plus_days=days)
    month_day = day if "-" in day else f"07-{day}"
    assert set(found.values()) == {f"2026-{month_day}T10:00:00Z"}


def test_days_alone_stay_days() -> None:
    wanted = {"2026-01-02": "2026-01-02", "02/01/2026 23:30": "2026-01-02", "1767394800": "2026-01-03", "x": "x"}
    assert times(list(wanted), ["%d/%m/%Y %H:%M", "epoch_s"], "Europe/Paris", is_day=True) == wanted
