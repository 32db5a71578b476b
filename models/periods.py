"""Spans of days, and the earlier spans that they are compared with. A span is its first and last day, both included."""

import datetime as dt

Span = tuple[dt.date, dt.date]
DAY, WEEK = dt.timedelta(days=1), dt.timedelta(days=7)
WEEKS = 52  # of the same weeks of last year: 364 days back, so that weekdays match


def months_before(day: dt.date, months: int) -> dt.date:
    """Go back whole months, to the month's last day at the latest.

    >>> months_before(dt.date(2026, 3, 31), 1)
    datetime.date(2026, 2, 28)
    """
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    first, following = dt.date(year, month + 1, 1), dt.date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return first + min(day.day - 1, (following - first).days - 1) * DAY


def before(since: dt.date, until: dt.date) -> Span:
    """Give the span before; a span of whole months has as many months before it.

    >>> before(dt.date(2025, 2, 1), dt.date(2026, 1, 31))
    (datetime.date(2024, 2, 1), datetime.date(2025, 1, 31))
    >>> before(dt.date(2026, 1, 2), dt.date(2026, 1, 31))
    (datetime.date(2025, 12, 3), datetime.date(2026, 1, 1))
    """
    following = until + DAY
    months = (following.year - since.year) * 12 + following.month - since.month
    is_whole = since.day == following.day and months > 0
    return (months_before(since, months) if is_whole else since - (following - since)), since - DAY


def same_weeks(since: dt.date, until: dt.date) -> Span:
    """Give the same weeks of last year: the same weekdays, 52 weeks back, and 52 more for each further year of a span.

    A whole year is a day or two longer than 52 weeks, and so overlaps by these.

    >>> same_weeks(dt.date(2026, 1, 5), dt.date(2026, 1, 11))
    (datetime.date(2025, 1, 6), datetime.date(2025, 1, 12))
    >>> same_weeks(dt.date(2025, 2, 1), dt.date(2026, 1, 31))
    (datetime.date(2024, 2, 3), datetime.date(2025, 2, 1))
    """
    weeks = WEEKS * max(round((until - since).days / (7 * WEEKS)), 1)
    return since - weeks * WEEK, until - weeks * WEEK


def to_date(until: dt.date) -> tuple[Span, Span]:
    """Give the year up to a day, and the year before up to the same day.

    >>> to_date(dt.date(2024, 2, 29))[1]
    (datetime.date(2023, 1, 1), datetime.date(2023, 2, 28))
    """
    first = until.replace(month=1, day=1)
    return (first, until), (months_before(first, 12), months_before(until, 12))


def grain_end(first: dt.date, grain: str) -> dt.date:
    """Give the last day of a day, week, month, quarter or year that begins on a day.

    >>> grain_end(dt.date(2026, 2, 1), "month"), grain_end(dt.date(2026, 1, 5), "week")
    (datetime.date(2026, 2, 28), datetime.date(2026, 1, 11))
    """
    if grain in ("day", "week"):
        return first + (WEEK if grain == "week" else DAY) - DAY
    return months_before(first, -{"month": 1, "quarter": 3, "year": 12}[grain]) - DAY
