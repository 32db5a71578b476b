"""A schedule as an operator writes it, read strictly, and when its steps are due.

every: 1h               # from midnight on: 5m to 12h, or 1d
at: "06:30"             # with 1d: the time of day
zone: Europe/Paris
ping: https://...       # asked for after each round in which all went well; or BACKHAUL_PING
steps:
  - run: load           # a verb of the command line, with its options
    name: load          # else the verb
    every: 1d           # else the schedule's; never more often than it
    at: "06:30"
    retries: 3          # after an end that may pass: locked, unavailable, a fault, a timeout
    wait: 1m            # before the first retry, twice as long before each further one
    timeout: 2h
    optional: yes       # a failure is shown and does not keep the ping back
"""

import re
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pipelines.errors import ScheduleError
from pipelines.written import LARGEST, Items, Section, Unreadable, documents, text_of

DAY = timedelta(days=1)
SHORTEST = timedelta(minutes=5)  # between two rounds
MOST_STEPS, MOST_RETRIES = 50, 10
KEYS = ("every", "at", "zone", "ping", "steps")
STEP_KEYS = ("run", "name", "every", "at", "retries", "wait", "timeout", "optional")
ENDLESS = ("run", "receive", "dashboard", "serve", "mcp", "demo")
"""Verbs that do not end by themselves, or start others."""
_SPAN = re.compile(r"([1-9][0-9]{0,3})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Clock:
    """When something is due: every so often from a time of day on, by the clock of a zone."""

    every: timedelta
    at: timedelta
    zone: str

    def newest(self, now: datetime) -> datetime:
        """Give the newest instant up to now (UTC) at which it is due.

        >>> from datetime import datetime
        >>> Clock(timedelta(hours=1), timedelta(), "Europe/Paris").newest(datetime(2026, 3, 30, 5, 59)).hour
        5
        """
        return max(one for one in self._around(now) if one <= now)

    def following(self, now: datetime) -> datetime:
        """Give the first instant after now (UTC) at which it is due."""
        return min(one for one in self._around(now) if one > now)

    def missed(self, since: datetime, now: datetime) -> int:
        """Count the instants after one and before the newest: those that nobody saw to, at most a thousand."""
        number, at = 0, self.following(since)
        newest = self.newest(now)
        while at < newest and number < 1000:
            number, at = number + 1, self.following(at)
        return number

    def _around(self, now: datetime) -> Iterator[datetime]:
        zone = ZoneInfo(self.zone)
        today = now.replace(tzinfo=UTC).astimezone(zone).date()
        for day in (today - DAY, today, today + DAY):
            at = self.at
            while at < DAY:
                yield _instant(day, at, zone)
                at += self.every


def _instant(day: date, at: timedelta, zone: ZoneInfo) -> datetime:
    hours, seconds = divmod(int(at.total_seconds()), 3600)
    local = datetime(day.year, day.month, day.day, hours, seconds // 60, tzinfo=zone)
    return local.astimezone(UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class Step:
    """One verb with its options, when it is due, and what is done where it fails."""

    name: str
    words: tuple[str, ...]
    clock: Clock
    retries: int = 2
    wait: timedelta = timedelta(seconds=30)
    timeout: timedelta = timedelta(hours=2)
    is_optional: bool = False


@dataclass(frozen=True)
class Schedule:
    """What is run: steps in order, at every round that one is due."""

    clock: Clock
    steps: tuple[Step, ...]
    ping: str = ""


def read(path: Path, verbs: Collection[str], ping: str = "") -> Schedule:
    """Read a schedule. `verbs` are those there are, groups with theirs (`alert check`).

    Raises ScheduleError that names the line, and OSError for a file that cannot be opened.
    """
    try:
        contents = documents(text_of(path, LARGEST))
        if len(contents) != 1 or not isinstance(contents[0], Section):
            raise Unreadable("a schedule begins with keys such as `every:` and `steps:`", 1)
        return _schedule(contents[0], verbs, ping)
    except Unreadable as error:
        raise ScheduleError(f"{path.name}{f', line {error.line}' if error.line else ''}: {error.problem}.") from None


def _schedule(content: Section, verbs: Collection[str], ping: str) -> Schedule:
    _allow(content, KEYS)
    zone = str(content.get("zone") or "Etc/UTC")
    if zone not in available_timezones():
        raise Unreadable("`zone:` is a time zone, such as Europe/Paris", content.lines["zone"])
    clock = _clock(content, timedelta(hours=1), zone)
    listed = content.get("steps")
    if not isinstance(listed, Items) or not 0 < len(listed) <= MOST_STEPS:
        raise Unreadable(f"`steps:` lists what is run, 1 to {MOST_STEPS} of them", content.lines.get("steps", 1))
    steps: list[Step] = []
    for one, line in zip(listed, listed.lines, strict=True):
        if not isinstance(one, Section):
            raise Unreadable("a step has keys, at least `run:`", line)
        step = _step(one, line, clock, verbs)
        if step.name in {other.name for other in steps}:
            raise Unreadable(f"two steps are named `{step.name}`: give one another `name:`", line)
        steps.append(step)
    address = str(content.get("ping") or ping)
    parts = urlsplit(address)
    if address and (parts.scheme not in ("https", "http") or not parts.hostname):
        raise Unreadable("`ping:` is an address that begins with https:// or http://", content.lines.get("ping"))
    return Schedule(clock, tuple(steps), address)


def _step(content: Section, line: int, whole: Clock, verbs: Collection[str]) -> Step:
    _allow(content, STEP_KEYS)
    run = content.get("run")
    try:
        words = tuple(map(str, run) if isinstance(run, Items) else shlex.split(str(run or "")))
    except ValueError as error:
        raise Unreadable(f"`run:` cannot be taken apart: {error}", content.lines["run"]) from None
    words = words[1:] if words[:1] == ("backhaul",) else words
    at = content.lines.get("run", line)
    if not words:
        raise Unreadable("`run:` is a verb of the command line, such as load", at)
    verb = " ".join(words[:2]) if " ".join(words[:2]) in verbs else words[0]
    if verb not in verbs:
        raise Unreadable(f"there is no verb `{verb[:40]}`; `backhaul --help` lists them", at)
    if verb in ENDLESS:
        raise Unreadable(f"`{verb}` does not end by itself, so nothing would come after it", at)
    name = str(content.get("name") or verb.replace(" ", "-"))
    if not _NAME.fullmatch(name):
        raise Unreadable("`name:` has small letters, digits, dots and hyphens", content.lines["name"])
    clock = _clock(content, whole.every, whole.zone) if "every" in content or "at" in content else whole
    if clock.every < whole.every:
        raise Unreadable("a step is run at most as often as the schedule's own `every:`", content.lines["every"])
    return Step(
        name,
        words,
        clock,
        _number(content, "retries", 2, MOST_RETRIES),
        _span(content, "wait", timedelta(seconds=30)),
        _span(content, "timeout", timedelta(hours=2)),
        _flag(content, "optional"),
    )


def _allow(content: Section, keys: tuple[str, ...]) -> None:
    for key in content:
        if key not in keys:
            raise Unreadable(f"there is no key `{key[:40]}`; there are {', '.join(keys)}", content.lines[key])


def _clock(content: Section, otherwise: timedelta, zone: str) -> Clock:
    every = _span(content, "every", otherwise)
    if not SHORTEST <= every <= DAY or DAY % every:
        raise Unreadable("`every:` parts a day evenly: 5m, 15m, 1h, 6h, 1d and the like", content.lines.get("every"))
    text = str(content.get("at") or "00:00")
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise Unreadable('`at:` is a time of day, such as "06:30"', content.lines["at"])
    at = timedelta(hours=int(text[:2]), minutes=int(text[3:]))
    if "at" in content and every < DAY:
        raise Unreadable("`at:` goes with `every: 1d`", content.lines["at"])
    return Clock(every, at, zone)


def _span(content: Section, key: str, otherwise: timedelta) -> timedelta:
    if key not in content:
        return otherwise
    match = _SPAN.fullmatch(str(content[key]))
    if match is None:
        raise Unreadable(f"`{key}:` is a number and s, m, h or d, such as 30m", content.lines[key])
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _number(content: Section, key: str, otherwise: int, most: int) -> int:
    found: Any = content.get(key, otherwise)
    if not isinstance(found, int) or not 0 <= found <= most:
        raise Unreadable(f"`{key}:` is a number from 0 to {most}", content.lines[key])
    return found


def _flag(content: Section, key: str) -> bool:
    text = str(content.get(key, "no")).lower()
    if text not in ("yes", "no", "true", "false"):
        raise Unreadable(f"`{key}:` is yes or no", content.lines[key])
    return text in ("yes", "true")
