"""Forecasts of the next weeks, per category or site.

Returned units, inspection workload, refunds, emissions; each with its back-test. A forecast reads what it would have
known: orders and events up to the last whole day. Refunds and emissions are units times what a unit of late cost. One
that does not beat the same weeks a year ago (else the last weeks) in the back-test is not shown, nor one whose last
weeks left what was forecast of them: then nobody knows what comes next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Date, cast, func, literal_column, select

from models import forecast as model
from pipelines.errors import UnknownDimension
from pipelines.metrics import losses
from pipelines.metrics.answer import withheld
from pipelines.metrics.bind import bind, is_known
from pipelines.metrics.cautions import doubt
from pipelines.metrics.compiler import limits
from pipelines.metrics.facts import CREDITS, LOTS, ORDERS, bought, credited, lot_carbon, lots, matches, orders
from pipelines.metrics.question import ANYTHING, Question, Scope
from pipelines.warehouse.engine import Build, Expression, double
from pipelines.why import together, why

MEASURES = ("returned_units", "inspection_units", "refund_amount", "kg_co2e")
CUTS = ("category", "country", "channel", "place_id")
DELAYS = 180  # days of delay a curve is learnt over
ORIGINS, EVERY = 9, 4  # back-tests: so many origins, so many weeks apart
MEAN_WEEKS = 12  # what a unit costs or emits is the mean of so many weeks
_EVENT = {
    "returned_units": "confirmed_on",
    "inspection_units": "received_at",
    "refund_amount": "refunded_on",
    "kg_co2e": "confirmed_on",
}
LEVEL = 0.8  # of the intervals
COLUMNS = (
    *("measure", "group", "week", "value", "low", "high", "naive", "is_shown", "error_ratio", "coverage"),
    *("caution", "reason"),
)


def last_day(build: Build) -> date | None:
    """Give the last whole day of the data."""
    text = build.info.get("observed_until")
    if not text:
        return None
    seen = datetime.fromisoformat(text)
    return seen.date() if seen.hour >= 22 else seen.date() - timedelta(1)


class _Series:
    """Days of units sold and of events, for one group."""

    def __init__(self, sold: pd.Series, events: pd.DataFrame, first: date, last: date, each: float) -> None:
        self.each = each
        days = (last - first).days + 1
        self.orders = np.zeros(days)
        at = np.array([(d - first).days for d in sold.index], dtype=int)
        inside = (at >= 0) & (at < days)
        np.add.at(self.orders, at[inside], sold.to_numpy(float)[inside])
        self.on = np.array([(d - first).days for d in events["ordered_on"]], dtype=int)
        self.delay = np.array(
            [(e - o).days for o, e in zip(events["ordered_on"], events["event_on"], strict=True)], dtype=int
        )
        self.units = events["units"].to_numpy(float)

    @cached_property
    def past(self) -> model.Past:
        """What was forecast of the group from each week, and what that missed."""
        days = len(self.orders)
        back = np.zeros((days, DELAYS))
        seen = (self.on >= 0) & (self.delay >= 0) & (self.delay < DELAYS) & (self.on + self.delay < days)
        np.add.at(back, (self.on[seen], self.delay[seen]), self.units[seen])
        return model.Past(self.orders, back)

    def by_week(self, days: int) -> np.ndarray[Any, Any]:
        """Events by week of seven days ending at the last of so many days."""
        found = np.zeros(days)
        at = self.on + np.maximum(self.delay, 0)
        seen = (self.on >= 0) & (at < days)
        np.add.at(found, at[seen], self.units[seen])
        return model.weekly(found)


def forecast(
    build: Build,
    measure: str = "returned_units",
    question: Question = ANYTHING,
    *,
    by: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Forecast a measure week by week.

    Columns: measure, group, week (its first day), value, low, high, naive (the same weeks a year ago), is_shown,
    error_ratio, coverage, caution, reason. `error_ratio` is the back-tested absolute error over the naive one's,
    `coverage` the share of weeks the interval held; is_shown where the ratio is below 1 and the last weeks have not
    left what was forecast of them; `caution` and `reason` say that they or their orders were off, and what the returned
    units do not rest on. Empty where the measure is not known. Raises UnknownDimension for another measure or cut.
    """
    found = [
        _rows(measure, name, s, days, last, level) for name, s, days, last in _series(build, measure, by, question)
    ]
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    whole, lost = pd.concat(found, ignore_index=True), doubt(build, question, "returned_units")
    return whole.assign(
        caution=[losses.joined_words(c, lost.caution) for c in whole["caution"]],
        reason=[together(r, lost.reason) for r in whole["reason"]],
    )


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """Put the naive forecast, which has no interval, where the back-test says that it is the better one."""
    hidden = ~found["is_shown"].astype(bool)
    return found.assign(
        value=found["value"].where(~hidden, found["naive"]),
        **{end: found[end].where(~hidden) for end in ("low", "high")},
    )


def _rows(measure: str, name: str, s: _Series, days: int, last: date, level: float) -> pd.DataFrame:
    found = s.past.forecast(level=level)
    if found is None:
        return pd.DataFrame(columns=list(COLUMNS))
    said = _said(found)
    tested = _tested(s, days, level)
    ratio = tested["error"].sum() / max(tested["naive_error"].sum(), 1e-9) if len(tested) else np.nan
    guess = model.naive(s.by_week(days))["seasonal"]
    return pd.DataFrame(
        {
            "measure": measure,
            "group": name,
            "week": [last + timedelta(1 + 7 * h) for h in range(model.HORIZON)],
            "value": found.mean * s.each,
            "low": found.low * s.each,
            "high": found.high * s.each,
            "naive": guess * s.each,
            "is_shown": bool(ratio < 1 and not found.is_left),
            "error_ratio": ratio,
            "coverage": tested["inside"].mean() if len(tested) else np.nan,
            "caution": "forecast_moved" if said else "",
            "reason": said,
        }
    )


def _said(found: model.Forecast) -> str:
    """Say how far the last weeks, or their orders, were off what was forecast of them, where it matters."""
    if not found.is_widened:
        return ""
    if abs(found.moved) <= model.MOVED:
        return why("forecast_orders", share=abs(found.orders_off))
    return why("forecast_left" if found.is_left else "forecast_wide", share=abs(found.off))


def _tested(s: _Series, days: int, level: float) -> pd.DataFrame:
    """Forecast from past origins and lay what came beside.

    Columns: origin (weeks ago), week, actual, value, low, high, naive, errors, inside.
    """
    rows = []
    for back in range(ORIGINS):
        ago = model.HORIZON + EVERY * back
        upto = days - 7 * ago
        if upto < 7 * (model.LEAST_WEEKS + 1):
            break
        found = s.past.forecast(ago, level=level)
        if found is None:
            break
        actual = s.by_week(days)[-ago:][: model.HORIZON]
        guess = model.naive(s.by_week(upto))["seasonal"]
        for h in range(model.HORIZON):
            rows.append((ago, h + 1, actual[h], found.mean[h], found.low[h], found.high[h], guess[h]))
    frame = pd.DataFrame(rows, columns=["weeks_ago", "week", "actual", "value", "low", "high", "naive"])
    frame["error"], frame["naive_error"] = (
        (frame["actual"] - frame["value"]).abs(),
        (frame["actual"] - frame["naive"]).abs(),
    )
    frame["inside"] = (frame["actual"] >= frame["low"]) & (frame["actual"] <= frame["high"])
    return frame


def recent(
    build: Build,
    measure: str = "returned_units",
    question: Question = ANYTHING,
    *,
    by: str | None = None,
    weeks: int = 26,
) -> pd.DataFrame:
    """Give the last weeks of a measure as forecasts count them: group, week (its first day), value."""
    rows = []
    for name, s, days, last in _series(build, measure, by, question):
        seen = s.by_week(days)[-weeks:]
        rows += [(name, last - timedelta(7 * (len(seen) - i) - 1), float(v) * s.each) for i, v in enumerate(seen)]
    return pd.DataFrame(rows, columns=["group", "week", "value"])


def backtested(
    build: Build,
    measure: str = "returned_units",
    question: Question = ANYTHING,
    *,
    by: str | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Give the back-test behind a forecast, in units.

    Columns: group, weeks_ago (origin), week (1-12), actual, value, low, high, naive, error, naive_error, inside.
    """
    found = [_tested(s, days, level).assign(group=name) for name, s, days, _ in _series(build, measure, by, question)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _series(build: Build, measure: str, by: str | None, question: Question) -> list[tuple[str, _Series, int, date]]:
    if measure not in MEASURES:
        raise UnknownDimension(f"There is no forecast of {measure!r}. There are: {', '.join(MEASURES)}.")
    if by is not None and by not in CUTS:
        raise UnknownDimension(f"A forecast cannot be cut by {by!r}. It can be cut by: {', '.join(CUTS)}.")
    last = last_day(build)
    if last is None or not is_known(build, "sold_units") or not is_known(build, "returned_units"):
        return []
    if withheld(build, "returned_units"):
        return []
    bound = bind(build, "returned_units", question.takes("A forecast"))
    of_lots = limits(LOTS, bound, LOTS.time(bound))
    whole = replace(bound, where=_without_site(bound.where), scope=Scope(_without_site(bound.scope.allowed)))
    of_orders = limits(ORDERS, whole, ORDERS.time(whole))
    day = cast(lots.c[_EVENT[measure]], Date)
    cut = lots.c[by] if by else literal_column("''")
    conditions = [
        lots.c.is_headline,
        lots.c.ordered_on.is_not(None),
        lots.c.date_fault.is_(None),
        day.is_not(None),
        day <= last,
        *of_lots,
    ]
    events = build.fetch(
        select(cut.label("group"), lots.c.ordered_on, day.label("event_on"), func.sum(lots.c.units).label("units"))
        .where(*conditions)
        .group_by(cut, lots.c.ordered_on, day)
    )
    if measure in ("returned_units", "kg_co2e") and by != "place_id":
        credits = build.fetch(_bound(by, limits(CREDITS, whole, CREDITS.time(whole)), last))
        events = pd.concat([events, credits], ignore_index=True) if len(credits) else events
    at = orders.c[by] if by and by != "place_id" else literal_column("''")
    sold = build.fetch(
        select(at.label("group"), orders.c.ordered_on, func.sum(orders.c.units_sold).label("units"))
        .where(orders.c.ordered_on <= last, orders.c.date_fault.is_(None), *of_orders)
        .group_by(at, orders.c.ordered_on)
    )
    if events.empty or sold.empty:
        return []
    for frame, names in ((events, ("ordered_on", "event_on")), (sold, ("ordered_on",))):
        for column in names:
            frame[column] = pd.to_datetime(frame[column]).dt.date
    first = min(sold["ordered_on"])
    each = _each(build, measure, by, of_lots, last)
    found = []
    for name, mine in events.dropna(subset=["group"]).groupby("group"):
        own = sold if by == "place_id" or by is None else sold[sold["group"] == name]
        exposed = own.groupby("ordered_on")["units"].sum()
        if len(exposed):
            found.append(
                (
                    str(name),
                    _Series(exposed, mine, first, last, each.get(str(name), 1.0)),
                    (last - first).days + 1,
                    last,
                )
            )
    return found


def _without_site(chosen: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Leave out the site a return went to, which a sale does not know."""
    return {name: values for name, values in chosen.items() if name != "place_id"}


def _bound(by: str | None, chosen: list[Expression], last: date) -> Any:
    """Select credits that a rule bound to a purchase, where sources keep no returns.

    They come back of the purchase's day.
    """
    cut = bought.c[by] if by else literal_column("''")
    return (
        select(
            cut.label("group"),
            matches.c.ordered_on,
            credited.c.confirmed_on.label("event_on"),
            func.sum(matches.c.units).label("units"),
        )
        .select_from(CREDITS.table)
        .where(
            matches.c.is_cancellation.is_(False),
            credited.c.confirmed_on.is_not(None),
            credited.c.confirmed_on <= last,
            *chosen,
        )
        .group_by(cut, matches.c.ordered_on, credited.c.confirmed_on)
    )


def _each(build: Build, measure: str, by: str | None, chosen: list[Expression], last: date) -> dict[str, float]:
    """Give what one unit is worth in the measure, by group.

    1 for units, the mean of the last weeks for money and kilograms.
    """
    if measure in ("returned_units", "inspection_units"):
        return {}
    cut = lots.c[by] if by else literal_column("''")
    amount = double(lots.c.refund_amount) * lots.c.fx_rate if measure == "refund_amount" else lot_carbon.c.kg_co2e
    table = (
        lots
        if measure == "refund_amount"
        else lots.join(lot_carbon, lot_carbon.c.return_lot_key == lots.c.return_lot_key)
    )
    day = cast(lots.c[_EVENT[measure]], Date)
    query = (
        select(cut.label("group"), func.sum(amount).label("amount"), func.sum(lots.c.units).label("units"))
        .select_from(table)
        .where(lots.c.is_headline, amount.is_not(None), day <= last, day > last - timedelta(7 * MEAN_WEEKS), *chosen)
        .group_by(cut)
    )
    found = build.fetch(query).dropna(subset=["group"])
    return {
        str(g): float(a) / float(u)
        for g, a, u in zip(found["group"], found["amount"], found["units"], strict=True)
        if u
    }
