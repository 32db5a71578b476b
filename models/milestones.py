"""Milestones backwards: the latest time of each step of a return that still keeps a promised date.

Here: subtracting and adding durations in their units, the walk back from the promised date, and the date that comes of
it when a step is late. Not here: which promises and usual durations a return has, time zones. The one idea: every step
has at least one leg to a later step, promised or usual; walking back, the latest time of a step is the latest that any
of its promised legs allows, for all of them hold together.

Times are days since 1970-01-01 on the shop's clock, as float; a day ends just before the next begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
END = 1e-9  # of a day before midnight: the last instant of a day
STEPS = ("carrier_scan", "received", "inspected", "refunded")
HOURS, DAYS, USUAL = "clock_hours", "calendar_days", "usual"
WORKED = ("business_days", "carrier_days")


@dataclass(frozen=True)
class Calendar:
    """Business days up to and including each day, from `first_day` (days since 1970-01-01) on without a gap."""

    first_day: int
    number: NDArray[np.int64]

    def before(self, day: Array, count: float) -> Array:
        """Give the last day from which so many business days end by `day`; NaN outside the calendar."""
        place = self._place(day)
        found = np.searchsorted(self.number, self.number[place] - int(np.ceil(count)), side="right") - 1
        return self._day(found, day)

    def after(self, day: Array, count: float) -> Array:
        """Give the day on which so many business days from `day` end."""
        place = self._place(day)
        found = np.searchsorted(self.number, self.number[place] + int(np.ceil(count)), side="left")
        return self._day(found, day)

    def _place(self, day: Array) -> NDArray[np.int64]:
        return np.clip(np.nan_to_num(day).astype(np.int64) - self.first_day, 0, len(self.number) - 1)

    def _day(self, place: NDArray[np.int64], asked: Array) -> Array:
        inside = (place >= 0) & (place < len(self.number)) & (asked >= self.first_day)
        inside &= asked < self.first_day + len(self.number)
        return np.where(inside, self.first_day + place.astype(np.float64), np.nan)


@dataclass(frozen=True)
class Leg:
    """From a step to a later one in at most so long: a promise in its unit, or `usual`, in days of 24 hours."""

    to: str
    duration: float
    unit: str

    @property
    def is_promised(self) -> bool:
        """Whether somebody promised it."""
        return self.unit != USUAL


def start_of(leg: Leg, ends_at: ArrayLike, calendar: Calendar | None) -> Array:
    """Give the latest start of a leg that ends by an instant.

    >>> start_of(Leg("refunded", 2, DAYS), [20003.5], None).round(3).tolist()  # any time of the day two days before
    [20002.0]
    """
    at = np.asarray(ends_at, dtype=np.float64)
    if leg.unit in (HOURS, USUAL):
        return at - leg.duration / (24 if leg.unit == HOURS else 1)
    if leg.unit == DAYS:
        return np.asarray(np.floor(at) - np.ceil(leg.duration) + 1 - END)
    days: Array = np.full_like(at, np.nan) if calendar is None else calendar.before(np.floor(at), leg.duration)
    return days + (1 - END)


def end_of(leg: Leg, starts_at: ArrayLike, calendar: Calendar | None) -> Array:
    """Give the last instant of a leg that starts at an instant."""
    at = np.asarray(starts_at, dtype=np.float64)
    if leg.unit in (HOURS, USUAL):
        return at + leg.duration / (24 if leg.unit == HOURS else 1)
    if leg.unit == DAYS:
        return np.asarray(np.floor(at) + np.ceil(leg.duration) + 1 - END)
    days: Array = np.full_like(at, np.nan) if calendar is None else calendar.after(np.floor(at), leg.duration)
    return days + (1 - END)


Legs = Mapping[str, Sequence[Leg]]
Calendars = Mapping[str, Calendar]


def chosen(legs: Sequence[Leg]) -> Sequence[Leg]:
    """Take the promised legs of a step, and a usual one only where none is promised."""
    return [x for x in legs if x.is_promised] or legs


def latest(due: ArrayLike, legs: Legs, calendars: Calendars) -> dict[str, tuple[Array, bool]]:
    """Give the latest time of each step that keeps a date, and whether it rests on promises alone.

    `due` are instants, `legs` those of each step before `refunded`, `calendars` one a unit of working days. A step
    without a leg, or whose way on is not known, is NaN.

    >>> way = {"received": [Leg("inspected", 1, USUAL)], "inspected": [Leg("refunded", 24, HOURS)]}
    >>> {k: (v.tolist(), p) for k, (v, p) in latest([10.5], way, {}).items() if k != "refunded"}
    {'inspected': ([9.5], True), 'received': ([8.5], False), 'carrier_scan': ([nan], False)}
    """
    at = np.asarray(due, dtype=np.float64)
    found: dict[str, tuple[Array, bool]] = {"refunded": (at, True)}
    for step in reversed(STEPS[:-1]):
        best, rests = np.full(at.shape, np.nan), False
        for leg in chosen(legs.get(step, ())):
            if leg.to not in found:
                continue
            start = start_of(leg, found[leg.to][0], calendars.get(leg.unit))
            is_promised = leg.is_promised and found[leg.to][1]
            if np.isfinite(start).any():
                rests = is_promised if not np.isfinite(best).any() else rests and is_promised
            best = np.fmax(best, start)
        found[step] = (best, rests)
    return found


def renewed(step: str, at: ArrayLike, legs: Legs, calendars: Calendars) -> Array:
    """Give the last instant of the refund when a step happens at an instant and the way on is as promised or usual."""
    starts = np.asarray(at, dtype=np.float64)
    if step == "refunded":
        return starts
    best = np.full(starts.shape, np.nan)
    for leg in chosen(legs.get(step, ())):
        best = np.fmin(best, renewed(leg.to, end_of(leg, starts, calendars.get(leg.unit)), legs, calendars))
    return best


def next_step(stage: str, steps: Sequence[str] = STEPS) -> str:
    """Name the first step that a return has not reached.

    >>> next_step("handed_over"), next_step("received"), next_step("carrier_scan", ("carrier_scan", "refunded"))
    ('carrier_scan', 'inspected', 'refunded')
    """
    reached = STEPS.index(stage) if stage in STEPS else -1
    return next(s for s in steps if STEPS.index(s) > reached) if stage != "refunded" else "refunded"
