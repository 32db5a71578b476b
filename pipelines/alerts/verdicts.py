"""What a rule says of a build: verdicts, one a cell, with their numbers, in a sentence.

It is asked of the latest days up to the observation time, or of the last complete week or month, for the whole or for
each value of a dimension. "Worse" compares with the same weeks of last year, where the data reach back so far, else
with the days, week or month before. Either is read as it was known at the same age, so that young days are compared
with equally young ones; the chance of a false "worse" is FALSE_ALARMS for a rule in one evaluation, shared out among
its cells.
"""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from models import rates as rate_models
from pipelines import analyses, metrics
from pipelines.alerts.rules import Rule
from pipelines.errors import UnknownMetric
from pipelines.metrics.bind import observed as observed_until
from pipelines.metrics.question import ALIASES, TAKEN, Question
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from pipelines.why import of_other, together, why

FALSE_ALARMS = 0.01
YEAR = timedelta(weeks=52)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Verdict:
    """What one cell of a rule says.

    Whether it fires (None: cannot be known, `reason` says why), its numbers, of which days and compared with which,
    and what weakens them (`caution`).
    """

    rule: Rule
    cell: Mapping[str, str]
    fires: bool | None
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    previous: float = np.nan
    unit: str = ""
    since: date | None = None
    until: date | None = None
    reason: str = ""
    caution: str = ""
    before: tuple[date, date] | None = None

    @property
    def is_of_last_year(self) -> bool:
        """Say whether it compares with the same weeks of last year."""
        return self.before is not None and self.since is not None and self.since - self.before[0] == YEAR

    def sentence(self) -> str:
        """Say it in English, as mails and the command line do; what the number does not rest on is said with it."""
        return f"{self._said()} (caution: {self.caution})" if self.caution else self._said()

    def because(self) -> str:
        """Say in English why it is an alert: what the rule looks for, and how that is told from chance."""
        rule = self.rule
        named = f"rule {rule.rule_id}" if rule.rule_id else "the rule"
        if rule.test in ("above", "below"):
            return f"{named} alerts {rule.test} {quantity(rule.bound or 0.0, self.unit)}"
        if rule.test == "unkeepable":
            return f"{named} alerts when fewer than the {self._wanted():.0%} that are published can be kept"
        return (
            f"{named} alerts when it is {rule.test} than {self._baseline()} by more than chance explains"
            f" ({FALSE_ALARMS:.0%} of its evaluations would alert by chance)"
        )

    def _wanted(self) -> float:
        return metrics.metric(self.rule.metric).parameter or 0.95

    def _baseline(self) -> str:
        if self.is_of_last_year and self.before:
            return f"in the same weeks of last year ({self.before[0]} to {self.before[1]})"
        span = f"{self.rule.days} days" if self.rule.period == "days" else self.rule.period
        return f"in the {span} before"

    def _said(self) -> str:
        try:
            name = metrics.metric(self.rule.metric).name.en
        except UnknownMetric:  # a rule from before the metric was renamed
            name = self.rule.metric
        limits = [f"{k} {', '.join(v)}" for k, v in self.rule.where.items()] + [
            f"{k} {v or 'none'}" for k, v in self.cell.items()
        ]
        of = f" ({'; '.join(limits)})" if limits else ""
        span = f", {self.since} to {self.until}" if self.since else ""
        if self.fires is None:
            return f"{name}{of}{span}: not known: {self.reason}"
        between = (
            ""
            if np.isnan(self.low) or np.isnan(self.high)
            else f" ({quantity(self.low, self.unit)} to {quantity(self.high, self.unit)})"
        )
        said = f"{name}{of}{span}: {quantity(self.value, self.unit)}{between}"
        if self.rule.test in ("above", "below"):
            side = self.rule.test if self.fires else f"not {self.rule.test}"
            return f"{said}, {side} {quantity(self.rule.bound or 0.0, self.unit)}"
        if self.rule.test == "unkeepable":
            return (
                f"{said} kept; {self.previous:g} could be promised instead, in its unit"
                if self.fires
                else f"{said}: can be kept"
            )
        compared = f"{quantity(self.previous, self.unit)} {self._baseline()}"
        return (
            f"{said}, {self.rule.test} than {compared}"
            if self.fires
            else f"{said}; {compared}: not {self.rule.test} beyond noise"
        )


def quantity(value: float, unit: str) -> str:
    """Write a number with its unit.

    >>> quantity(0.8125, "share"), quantity(3, "count"), quantity(12.345, "days")
    ('81.2%', '3', '12.3 days')
    """
    if np.isnan(value):
        return "unknown"
    if unit == "share":
        return f"{value:.1%}"
    written = f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:,.1f}"
    return written if unit in ("count", "") else f"{written} {unit}"


def days_of(rule: Rule, last: date) -> tuple[date | None, date]:
    """Give the first and the last day that a rule looks at, where data reach up to a day; no first one for all days.

    >>> rule = Rule(0, "promise_kept", "worse", period="week")
    >>> [str(day) for day in days_of(rule, date(2026, 1, 31))]
    ['2026-01-19', '2026-01-25']
    """
    if rule.period == "week":
        until = last - timedelta(days=(last.weekday() + 1) % 7)
        return until - timedelta(days=6), until
    if rule.period == "month":
        is_whole = last.day == calendar.monthrange(last.year, last.month)[1]
        until = last if is_whole else last.replace(day=1) - _DAY
        return until.replace(day=1), until
    return (last - timedelta(days=rule.days - 1) if rule.days else None), last


def days_before(rule: Rule, since: date, until: date, first: date | None) -> tuple[date, date]:
    """Give the days to compare with: the same weeks of last year where the data (from `first`) hold them."""
    if rule.against == "year" and first is not None and first <= since - YEAR:
        return since - YEAR, until - YEAR
    if rule.period == "month":
        return (since - _DAY).replace(day=1), since - _DAY
    return since - (until - since) - _DAY, since - _DAY


def _first_day(build: Build) -> date | None:
    """Give the first day of orders, of returns where there is no order, once a build."""
    if "first_day" not in build.cache:
        ordered, requested = STAR.tables["fact_order_line"].c.ordered_on, STAR.tables["fact_return_line"].c.requested_on
        found = [build.fetch(select(func.min(c).label("first")))["first"].dropna() for c in (ordered, requested)]
        days = [pd.Timestamp(one.iloc[0]).date() for one in found if len(one)]
        build.cache["first_day"] = days[0] if days else None
    first: date | None = build.cache["first_day"]
    return first


def evaluate(build: Build, rule: Rule) -> list[Verdict]:
    """Say what a rule says of a build: one verdict a cell, the whole without `by`.

    A metric that is greyed, or has no interval where noise must be told, gives a verdict that is not known.
    """
    observed = max(observed_until(build).values(), default=None)
    if observed is None:
        return [Verdict(rule, {}, None, reason="the build holds no event")]
    if rule.test == "unkeepable":
        return _unkeepable(build, rule)
    since, until = days_of(rule, observed.date())
    if rule.test in ("above", "below"):
        asked = Question(where=rule.where, since=since, until=until if since else None)
        found = metrics.answer(build, rule.metric, asked, by=rule.by)
        beyond = found["value"] > rule.bound if rule.test == "above" else found["value"] < rule.bound
        return [
            _verdict(rule, row, bool(b), since, until) for row, b in zip(found.to_dict("records"), beyond, strict=True)
        ]
    assert since is not None
    return _compared(build, rule, (since, until), days_before(rule, since, until, _first_day(build)), observed)


def _unkeepable(build: Build, rule: Rule) -> list[Verdict]:
    (promise_id,), at = rule.where["promise_id"], metrics.metric(rule.metric).parameter or 0.95
    where = {k: v for k, v in rule.where.items() if k != "promise_id"}
    return [
        Verdict(
            rule,
            dict(o.lane),
            None if o.reason and not np.isfinite(o.kept) else o.is_unkeepable,
            o.kept,
            o.kept_low,
            o.kept_high,
            o.possible,
            "share",
            reason="" if o.caution else o.reason,
            caution=o.reason if o.caution else "",
        )
        for o in analyses.offers(build, promise_id, at, Question(where=where), by_lane=bool(rule.by))
    ]


def _compared(
    build: Build, rule: Rule, days: tuple[date, date], before: tuple[date, date], observed: datetime
) -> list[Verdict]:
    """Say whether it is worse (better) on these days than on those before, as they were known at the same age."""
    asked = Question(where=rule.where, since=days[0], until=days[1])
    cells = len(metrics.answer(build, rule.metric, asked, by=rule.by)) if rule.by else 1
    level = 1 - FALSE_ALARMS / max(cells, 1)
    now = metrics.answer(build, rule.metric, asked.but(level=level), by=rule.by)
    if not (now["status"] == "ok").any():  # whatever it was before
        return [_verdict(rule, row, False, *days, before=before) for row in now.to_dict("records")]
    earlier = asked.but(since=before[0], until=before[1], as_of=observed - (days[0] - before[0]), level=level)
    then = metrics.answer(build, rule.metric, earlier, by=rule.by)
    names = [ALIASES[b] if b in TAKEN else b for b in rule.by]
    both = (
        now.merge(then, on=names, how="left", suffixes=("", "_then")) if names else now.join(then.add_suffix("_then"))
    )
    if metrics.metric(rule.metric).is_systematic:
        both[["low", "high", "low_then", "high_then"]] = np.nan
    ends = (both[c].to_numpy(float) for c in ("value", "low", "high", "value_then", "low_then", "high_then"))
    gap, low, high, is_noise = rate_models.difference(*ends)
    sign = 1 if (metrics.metric(rule.metric).good == "up") == (rule.test == "better") else -1
    verdicts = []
    for at, row in enumerate(both.to_dict("records")):
        row = {str(k): v for k, v in row.items()}
        if row["status"] == "ok" and not np.isfinite(low[at] + high[at]):
            row |= {"status": "greyed", "reason": of_other("of_days_before", row["reason_then"]) or why("no_interval")}
        verdicts.append(_verdict(rule, row, bool(sign * gap[at] > 0 and not is_noise[at]), *days, before=before))
    return verdicts


def _verdict(
    rule: Rule,
    row: Mapping[Any, Any],
    fires: bool,
    since: date | None,
    until: date,
    before: tuple[date, date] | None = None,
) -> Verdict:
    cell = {b: "" if pd.isna(row[b]) else str(row[b]) for b in rule.by}
    is_known = row["status"] == "ok"
    return Verdict(
        rule,
        cell,
        fires if is_known else None,
        row["value"],
        row["low"],
        row["high"],
        row.get("value_then", np.nan),
        row["unit"],
        since,
        until if since else None,
        "" if is_known else str(row["reason"]),
        _caution(row) if is_known else "",
        before,
    )


def _caution(row: Mapping[Any, Any]) -> str:
    """Say what weakens a number, and the number it is compared with."""
    own = str(row["reason"]) if row["caution"] else ""
    then = str(row["reason_then"]) if row.get("caution_then") and row["reason_then"] != own else ""
    return together(own, of_other("of_days_before", then))
