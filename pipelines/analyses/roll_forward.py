"""The roll-forward of a month: how the refund liability and the right to recover goods went from opening to closing.

Opening and closing are what would have been booked at each end of the month with what was known then
(`accrual.booked_then`), so a month that has ended keeps its figures. By month of orders (decision 57):

- new: what the orders of this month added, as estimated at its end: still open then, and settled already;
- used: what was settled in the month: refunded, exchanged or credited, at the net value of the goods;
- re-estimate: what is now expected differently of the orders of earlier months.

opening + new - used + re-estimate = closing, to the cent.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from pipelines.analyses.accrual import Booked, booked_then
from pipelines.errors import UnknownValue
from pipelines.metrics.answer import withheld
from pipelines.metrics.bind import is_known, observed
from pipelines.metrics.cautions import Doubt, doubted
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.why import why

LINES = ("opening", "new", "used", "re_estimate", "closing")
AMOUNTS = {"liability": "settled", "asset": "settled_asset"}
"""What is rolled forward, and the column that says what of it was settled."""
_MONTH = re.compile(r"[12][0-9]{3}-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class RollForward:
    """One month: `table` has a row a line of LINES; its columns are line, liability, asset, caution and reason.

    Amounts are signed, so that they add: used is negative. The asset is missing where costs are not known.
    `is_complete` says that the data reach beyond the month; else it is provisional. `reason` says why there is none:
    the table is empty then.
    """

    month: str
    table: pd.DataFrame
    opens_on: date
    closes_on: date
    is_complete: bool
    reason: str = ""


def last_day(month: str) -> date:
    """Give the last day of a month written as 2026-01. Raises UnknownValue.

    >>> last_day("2026-02")
    datetime.date(2026, 2, 28)
    """
    if not _MONTH.fullmatch(month):
        raise UnknownValue(f"{month[:60]} is not a month; write it as 2026-01.")
    year, number = int(month[:4]), int(month[5:])
    return date(year, number, calendar.monthrange(year, number)[1])


def months(build: Build) -> list[str]:
    """List the months that have a roll-forward or a reason why not, newest first: after the first one of orders."""
    first, latest = _reach(build)
    if first is None or latest is None:
        return []
    span = pd.period_range(pd.Period(first, "M") + 1, pd.Period(latest, "M"), freq="M")
    return [str(month) for month in span[::-1]]


def is_complete(build: Build, month: str) -> bool:
    """Say whether the data reach beyond a month: every source heard of in it was heard of after it, too."""
    end = datetime.combine(last_day(month), time.max)
    opens = datetime.combine(end.date().replace(day=1), time.min)
    times = observed(build).values()
    return any(at > end for at in times) and not any(opens <= at <= end for at in times)


def roll_forward(build: Build, month: str, question: Question = ANYTHING) -> RollForward:
    """Roll the liability and the asset forward over a month written as 2026-01, in the reporting currency.

    Raises UnknownValue for what is no month.
    """
    question.takes("A roll-forward")
    end = last_day(month)
    opens = end.replace(day=1) - timedelta(1)
    first, latest = _reach(build)
    closes = min(end, latest) if latest else end
    complete = is_complete(build, month)
    reason = _refused(build, opens, end, first, latest)
    if reason:
        return RollForward(month, _empty(), opens, closes, complete, reason)
    then, now = (booked_then(build, datetime.combine(day, time.max), question) for day in (opens, closes))
    if then.reason or now.reason:
        return RollForward(month, _empty(), opens, closes, complete, then.reason or now.reason)
    table = pd.DataFrame({"line": LINES, **{name: _rolled(then, now, name, opens) for name in AMOUNTS}})
    weak = now if now.caution else then
    return RollForward(month, doubted(table, Doubt(weak.caution, weak.doubt)), opens, closes, complete)


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=["line", *AMOUNTS, "caution", "reason"])


def _reach(build: Build) -> tuple[date | None, date | None]:
    """Give the first day of orders and the last day that anything was heard of."""
    c = STAR.tables["fact_order_line"].c
    first = build.fetch(select(func.min(c.ordered_on).label("day")))["day"].iloc[0]
    times = observed(build).values()
    return None if pd.isna(first) else pd.Timestamp(first).date(), max(times).date() if times else None


def _refused(build: Build, opens: date, end: date, first: date | None, latest: date | None) -> str:
    """Say why a month has no roll-forward; nothing where it has one."""
    for key in ("returned_units", "returns_to_come_value"):
        if not is_known(build, key):
            return withheld(build, key)
    if not is_known(build, "refunds_owed"):
        return why("roll_refunds")
    if first is None or latest is None or opens < first:
        return why("roll_before", day=first or opens)
    if latest <= opens:
        return why("roll_later", day=latest)
    return ""


def _rolled(then: Booked, now: Booked, name: str, opens: date) -> list[float]:
    """Give the lines of one amount, to the cent; the re-estimate takes what rounding leaves."""
    settled = AMOUNTS[name]
    both = now.table.merge(then.table, on="month", how="outer", suffixes=("", "_then"))
    if both[[name, f"{name}_then"]].isna().all(axis=None):
        return [np.nan] * len(LINES)
    both = both.fillna(dict.fromkeys([name, settled, f"{name}_then", f"{settled}_then"], 0.0))
    used = both[settled] - both[f"{settled}_then"]
    is_new = pd.to_datetime(both["month"]) > pd.Timestamp(opens)
    opening, closing = getattr(then, name), getattr(now, name)
    new, taken = round(float((both[name] + used)[is_new].sum()), 2), round(float(used.sum()), 2)
    return [opening, new, 0.0 - taken, round(closing - opening - new + taken, 2), closing]
