"""What a law adds to a refund that comes late: a scale of steps, laid on the days of one refund.

Here: the periods of a scale from the last day a refund was due, and what is added on a day. Not here: which scale binds
which return, the rows of data/late_refund.csv, the time zone. The one idea: a scale is turned into periods once, each
with a share that stands and a yearly rate that runs beside it; what is owed on a day is then one multiplication, which
any engine can do.

Days late are calendar days after the last day: paid on it, a refund is none; paid on the next, it is one day late.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

INTEREST, SHARE, A_MONTH = "interest", "share", "a_month"
KINDS = (INTEREST, SHARE, A_MONTH)
YEAR_DAYS = 365.0  # of a yearly rate


@dataclass(frozen=True)
class Step:
    """What counts once a refund is more than `after_days` late.

    `kind` is interest (the legal rate, by the day), share (of the sum due) or a_month: `share` more for each month
    begun since, up to `up_to` of the sum, and the legal rate from the month after.
    """

    after_days: int
    kind: str
    share: float = 0.0
    up_to: float = 1.0


@dataclass(frozen=True)
class Rate:
    """A legal rate of interest a year and the first day it holds; `is_assumed` where no rate of that time is known."""

    since: date
    rate: float
    is_assumed: bool = False


@dataclass(frozen=True)
class Period:
    """Days on which the same is added: `share` of the sum, and `yearly_rate` by the day from `starts_on` on.

    `ends_on` is the first day of the next one; None where nothing follows.
    """

    starts_on: date
    ends_on: date | None
    share: float
    yearly_rate: float = 0.0
    is_assumed: bool = False


def months_later(day: date, months: int) -> date:
    """Give the same day so many months later, or the last of the month where it has none.

    >>> months_later(date(2025, 11, 30), 3)
    datetime.date(2026, 2, 28)
    """
    years, month = divmod(day.month - 1 + months, 12)
    first = date(day.year + years, month + 1, 1)
    following = (first + timedelta(31)).replace(day=1)
    return first.replace(day=min(day.day, (following - first).days))


def periods(due_on: date, until: date, steps: Sequence[Step], rates: Sequence[Rate]) -> list[Period]:
    """Lay a scale on a refund whose last day is `due_on`: the periods that begin by `until`, and the next one.

    `steps` ascend by their days, `rates` by their first day; the first rate stands for the time before it. A scale with
    interest needs a rate.

    >>> scale = [Step(0, SHARE, 0.1), Step(14, SHARE, 0.2), Step(30, SHARE, 0.5)]
    >>> [(str(p.starts_on), p.share) for p in periods(date(2026, 1, 1), date(2026, 1, 10), scale, [])]
    [('2026-01-02', 0.1), ('2026-01-16', 0.2)]
    """
    found: list[Period] = []
    for period in _laid(due_on, steps, rates):
        found.append(period)
        if period.starts_on > until:
            break
    return found


def _laid(due_on: date, steps: Sequence[Step], rates: Sequence[Rate]) -> Iterator[Period]:
    share = 0.0
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        first = due_on + timedelta(step.after_days + 1)
        ends = due_on + timedelta(following.after_days + 1) if following else None
        if step.kind == INTEREST:
            yield from _interest(first, ends, share, rates)
        elif step.kind == SHARE:
            share = step.share
            yield Period(first, ends, share)
        else:
            yield from _by_month(first, share, step, rates)


def _interest(first: date, ends: date | None, share: float, rates: Sequence[Rate]) -> Iterator[Period]:
    """Split a time of interest where the legal rate changes; what has run so far stands in `share`."""
    rate = next((r for r in reversed(rates) if r.since <= first), rates[0])
    for following in (r for r in rates if r.since > first and (ends is None or r.since < ends)):
        yield Period(first, following.since, share, rate.rate, rate.is_assumed)
        share += rate.rate * (following.since - first).days / YEAR_DAYS
        first, rate = following.since, following
    yield Period(first, ends, share, rate.rate, rate.is_assumed)


def _by_month(first: date, share: float, step: Step, rates: Sequence[Rate]) -> Iterator[Period]:
    """Add points for each month begun, up to the cap, then interest from the month after."""
    last, month = first - timedelta(1), 0
    while share < step.up_to - 1e-12:
        month += 1
        share = min(share + step.share, step.up_to)
        ends = months_later(last, month) + timedelta(1)
        yield Period(first, ends, share)
        first = ends
    yield from _interest(first, None, share, rates)


def added(found: Sequence[Period], on: date) -> float:
    """Give the share of the sum due that is added when it is paid on a day; 0 before the first period.

    >>> rates = [Rate(date(2026, 1, 1), 0.0365)]
    >>> added(periods(date(2026, 1, 1), date(2026, 1, 10), [Step(0, INTEREST)], rates), date(2026, 1, 6))
    0.0005
    """
    mine = next((p for p in reversed(found) if p.starts_on <= on), None)
    return mine.share + mine.yearly_rate * ((on - mine.starts_on).days + 1) / YEAR_DAYS if mine else 0.0
