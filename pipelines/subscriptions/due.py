"""When a subscription is due: once a period, by the clock of its zone. No clock is read here."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

EVERY = ("load", "daily", "weekly", "monthly")
LAST_DAY = 28  # of a month that every month has


def newest_period(every: str, hour: int, day: int, zone: str, now: datetime) -> datetime:
    """Give the newest instant (UTC) up to now at which a period of a daily, weekly or monthly subscription begins.

    `day` is of the week (1: Monday) or of the month. Periods that were missed in between are none of their own: what
    was not sent for a week is sent once.

    >>> from datetime import datetime
    >>> str(newest_period("weekly", 7, 1, "Europe/Paris", datetime(2026, 3, 30, 5, 0)))  # Monday, summer time
    '2026-03-30 05:00:00'
    >>> str(newest_period("weekly", 7, 1, "Europe/Paris", datetime(2026, 3, 30, 4, 59)))
    '2026-03-23 06:00:00'
    """
    clock = ZoneInfo(zone)
    today = now.replace(tzinfo=UTC).astimezone(clock).date()
    begins = _instant(_first_day(every, day, today), hour, clock)
    if begins > now:
        begins = _instant(_first_day(every, day, today - timedelta(days=1)), hour, clock)
    return begins


def _first_day(every: str, day: int, today: date) -> date:
    """Give the newest day up to today on which a period begins."""
    if every == "weekly":
        return today - timedelta(days=(today.isoweekday() - day) % 7)
    if every == "monthly":
        this = today.replace(day=day)
        return this if this <= today else (today.replace(day=1) - timedelta(days=1)).replace(day=day)
    return today


def _instant(day: date, hour: int, clock: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=clock).astimezone(UTC).replace(tzinfo=None)
