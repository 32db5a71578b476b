"""What came back in a period over what was sold in it.

The rate of returns that name no order, and how sales that grow or fall bias it. The returns of a period stem from sales
of the weeks before. While sales grow, those were fewer than the sales they are divided by, and the rate is too low;
while sales fall, it is too high. How far apart the two are is said beside the rate.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from models import rates as rate_models
from pipelines.metrics.compiler import statement
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.facts import orders
from pipelines.metrics.finish.final import has_curves
from pipelines.metrics.finish.shares import answer_frame, design_effect, summed
from pipelines.metrics.question import time_grain
from pipelines.warehouse.engine import Build
from pipelines.warehouse.rules import curves
from pipelines.why import together, why

ASSUMED_DAYS = 14  # from sale to return, where no return names its order
LEVEL, BIASED = 0.05, 0.10  # sales that differ by less are level; by more, the rate carries a caution


def period_rate(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Divide what came back in the period by what was sold in it, and say which way sales bias it."""
    keys, sums = summed(frame, ask.by, ["returned", "sold"])
    value, low, high = rate_models.ratio_of_counts(sums["returned"], sums["sold"], ask.level, design_effect(build))
    known = np.isfinite(value)
    found = answer_frame(keys, value, low, high, sums["sold"], np.where(known, "", why("nothing_sold")))
    sold, before, unseen, days = _sales(build, ask, keys)
    said = [_bias(s, b, u, days) if ok else [] for s, b, u, ok in zip(sold, before, unseen, known, strict=True)]
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.maximum(np.abs(before / sold - 1), unseen)
    return found.assign(
        note=[together(why("by_period"), *some) for some in said],
        caution=np.where(known & (off > BIASED), "trend", ""),
    )


def _bias(sold: float, before: float, unseen: float, days: int) -> list[str]:
    """Say which way sales bias the rate; of days before the data nothing is known but that they had sales."""
    if not sold > 0 or not np.isfinite(before):
        return []
    is_partly_seen = unseen > LEVEL
    if is_partly_seen and before <= sold * (1 + LEVEL):
        return [why("unseen", days=days, share=unseen)]
    if abs(before / sold - 1) <= LEVEL:
        return []
    said = why("trend_low" if before < sold else "trend_high", n=sold, of=before, days=days)
    return [said, why("taken", share=unseen)] if is_partly_seen else [said]


def return_days(build: Build) -> int:
    """Give the days after which half of what comes back is back, over the curves of the build.

    ASSUMED_DAYS without any.
    """
    if "return_days" not in build.cache:
        half = select(func.min(curves.c.day).label("day")).where(curves.c.share >= 0.5)
        of = (curves.c.source, curves.c.category, curves.c.channel, curves.c.window_days, curves.c.is_dated)
        found = build.fetch(half.group_by(*of))["day"] if has_curves(build) else pd.Series(dtype=float)
        build.cache["return_days"] = round(float(found.median())) if len(found) else ASSUMED_DAYS
    return int(build.cache["return_days"])


def _first_day(build: Build) -> date | None:
    if "first_sale" not in build.cache:
        found = build.fetch(select(func.min(orders.c.ordered_on).label("day")).where(orders.c.units_sold > 0))["day"]
        build.cache["first_sale"] = None if found.isna().all() else pd.Timestamp(found.iloc[0]).date()
    first: date | None = build.cache["first_sale"]
    return first


def _sales(build: Build, ask: BoundQuestion, keys: pd.DataFrame) -> tuple[Any, Any, Any, int]:
    """Give each group's units sold in its days and in as many days earlier as returns take.

    (sold, before, unseen, days). `unseen` is the share of those earlier days that lie before the data. Sales before the
    first day of the data are taken to be like those of its first days. A cut into very many groups is summed over whole
    periods, not by day; by time too, nothing is said of it.
    """
    days, first, nothing = return_days(build), _first_day(build), np.full(len(keys), np.nan)
    last = max(ask.observed.values(), default=None)
    has_time = any(time_grain(b) for b in ask.by)
    if first is None or last is None or any(time_grain(n) for n in ask.where) or (has_time and ask.is_fine):
        return nothing, nothing, nothing, days
    since = max(ask.since or first, first)
    until = min(d for d in (ask.until, last.date(), ask.as_of.date() if ask.as_of else None) if d is not None)
    told = (_summed_whole if ask.is_fine else _summed_daily)(build, ask, keys, _Span(since, until, first, days))
    return *told, days


@dataclass(frozen=True)
class _Span:
    """The first and last day of what is asked, the first day of the data, and the days that returns take."""

    begin: date
    end: date
    first: date
    days: int

    @property
    def before(self) -> tuple[date, date]:
        """The days that its returns stem from."""
        return self.begin - timedelta(self.days), self.end - timedelta(self.days)

    @property
    def usual(self) -> tuple[date, date]:
        """The first days of the data, which those before it are taken to be like."""
        return self.first, self.first + timedelta(self.days - 1)

    @property
    def unseen(self) -> int:
        """Number of the days its returns stem from that lie before the data."""
        return max((min(self.first, self.end - timedelta(self.days - 1)) - self.before[0]).days, 0)

    @property
    def unseen_share(self) -> float:
        """Share of the days its returns stem from that lie before the data."""
        return self.unseen / max((self.end - self.begin).days + 1, 1)


def _sold_of(ask: BoundQuestion, by: tuple[str, ...], since: date, until: date) -> BoundQuestion:
    sold = next(m for m in ask.metric.measures if m.name == "sold")
    return replace(ask, by=by, since=since, until=until, metric=replace(ask.metric, measures=(sold,)))


def _summed_whole(build: Build, ask: BoundQuestion, keys: pd.DataFrame, span: _Span) -> tuple[Any, Any, Any]:
    """Give (sold, before, unseen) of groups that share one period, by one sum a group of each of its periods."""

    def of(since: date, until: date) -> Any:
        told = build.fetch(statement(_sold_of(ask, ask.by, since, until)))
        mixed = {b: object for b in ask.by if keys[b].dtype != told[b].dtype}
        both = keys.astype(mixed).merge(told.astype(mixed), on=list(ask.by), how="left")
        return both["sold"].fillna(0.0).to_numpy(float)

    sold, before = of(span.begin, span.end), of(*span.before)
    if span.unseen:
        usual_from, usual_to = span.usual
        before = before + of(usual_from, min(usual_to, span.end)) / span.days * span.unseen
    return sold, before, np.full(len(keys), span.unseen_share)


def _summed_daily(build: Build, ask: BoundQuestion, keys: pd.DataFrame, span: _Span) -> tuple[Any, Any, Any]:
    """Give (sold, before, unseen) of groups that may each have days of their own, by one sum a day."""
    grains = [b for b in ask.by if time_grain(b)]
    plain = [b for b in ask.by if not time_grain(b)]
    daily = build.fetch(statement(_sold_of(ask, ("day", *plain), span.before[0], span.end))).fillna({"sold": 0.0})
    daily["day"] = pd.to_datetime(daily["day"]).dt.date
    windows = []
    for row in keys.to_dict("records"):
        starts = [pd.Timestamp(row[g]) for g in grains]
        ends = [
            (s.to_period({"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}[g]).end_time)
            for s, g in zip(starts, grains, strict=True)
        ]
        begin = max([span.begin, *(s.date() for s in starts)])
        own = replace(span, begin=begin, end=min([span.end, *(e.date() for e in ends)]))
        mine = daily
        for name in plain:
            mine = mine[mine[name].isna() if pd.isna(row[name]) else mine[name] == row[name]]
        usual = _between(mine, *span.usual) / span.days if own.unseen else 0.0
        before = _between(mine, *own.before) + usual * own.unseen
        windows.append((_between(mine, own.begin, own.end), before, own.unseen_share))
    found = np.array(windows, dtype=float).reshape(-1, 3)
    return found[:, 0], found[:, 1], found[:, 2]


def _between(daily: pd.DataFrame, begin: date, end: date) -> float:
    return float(daily.loc[(daily["day"] >= begin) & (daily["day"] <= end), "sold"].sum())
