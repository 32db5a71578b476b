"""What would have been said of each month's final rate some time ago, against what has come since.

Then means then: sales, returns, curves, design effects and priors as they were recorded by that day, refitted with the
functions of `models.rates` that the build used and remembered with the build. Now is what the build says today of the
same sales. Units cancelled after that day are left out of both, for a build keeps no history of an order line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Integer, Select, and_, case, cast, func, literal_column, or_, select, tuple_, union_all

from models import curves as curves_models
from models import rates as rate_models
from pipelines.metrics.bind import ask, bind, observed, of_build
from pipelines.metrics.catalogue.returns import CELL
from pipelines.metrics.compiler import filters, statement
from pipelines.metrics.coverage import lacking
from pipelines.metrics.declare import BoundQuestion, Metric, Sum, always, both, measure
from pipelines.metrics.facts import CREDITS, LOTS, ORDERS, bought, credited, lots, matches, orders
from pipelines.metrics.facts.conditions import is_bound, is_confirmed, is_headline
from pipelines.metrics.finish import final, shares
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, Expression, double, literal_instant, period_start
from pipelines.warehouse.rules import Sql, curve_day
from pipelines.warehouse.star import STAR

COHORTS = 6  # months of sales looked at, the running one included
KEY = "ultimate_return_rate"
CONFIRMING = ("carrier_scan", "received", "inspected", "refunded", "credited", "restocked", "disposed")
_COLUMNS = (
    "sold",
    "maturity_then",
    "observed_then",
    "projected",
    "low",
    "high",
    "observed_now",
    "maturity_now",
    "projected_now",
    "error",
    "is_covered",
    "to_come",
    "to_come_low",
    "to_come_high",
    "came_since",
    "still_to_come",
    "status",
    "reason",
)


@dataclass(frozen=True)
class Then:
    """What was known at a time.

    Curve of each cell, and per category (None: all) the design effect and the priors of months (year x 12 + month).
    """

    curves: dict[curves_models.Cell, curves_models.Developed]
    deff: dict[str | None, float]
    prior: dict[str | None, dict[int, tuple[float, float]]]


def backtest(
    build: Build,
    question: Question = ANYTHING,
    *,
    days_ago: Sequence[int] = (30, 60, 90),
    by: str | None = None,
) -> pd.DataFrame:
    """Lay what would have been said `days_ago` of each month of orders beside what has come; `by` None or "category".

    One row a days_ago x month (x category) of the last six months before the end of that day (UTC): as_of, sold (units
    ordered by then); maturity, observed and projected rate with low and high as said then; observed_now, maturity_now
    and projected_now of the same sales; error (projected less projected_now, in shares), is_covered (the interval holds
    projected_now; missing while fewer than `finish.MATURE` of the returns have come now); to_come with its interval as
    said then, came_since and still_to_come (units). What would have been greyed is: status and reason say so. Empty
    without order lines and returns.
    """
    if by not in (None, "category"):
        raise ValueError(f"by is None or 'category', not {by!r}.")
    question.takes("A look back")
    columns = ["days_ago", "as_of", "month", *([by] if by else []), *_COLUMNS]
    if not observed(build) or all(lacking(build, ask(KEY).metric.needs).values()):
        return pd.DataFrame(columns=columns)
    latest = max(observed(build).values()).date()
    parts = []
    for days in days_ago:
        parts.append(
            _said(build, datetime.combine(latest - timedelta(days), time.max), by, question).assign(days_ago=days)
        )
    found = pd.concat(parts, ignore_index=True)
    return found[columns]


def _said(build: Build, at: datetime, by: str | None, question: Question) -> pd.DataFrame:
    """Lay the rates of each month of orders as said at a time beside what they are now."""
    first = (pd.Timestamp(at).to_period("M") - COHORTS + 1).to_timestamp().date()
    keys = ("month", *([by] if by else []))
    bound = bind(build, KEY, question.but(since=first, until=at.date(), as_of=at), by=keys)
    said = _rates_then(build, at, by, question, bound)
    later = _rates_now(build, replace(bound, as_of=None))
    told = said.merge(later, on=list(keys), how="left")
    told["error"] = told["projected"] - told["projected_now"]
    held = (told["low"] <= told["projected_now"]) & (told["projected_now"] <= told["high"])
    told["is_covered"] = held.astype("boolean").mask(~(told["maturity_now"] >= final.MATURE))
    told["came_since"] = told["returned_now"] - told["returned_then"]
    grey = told["status"] != "ok"
    told[["projected", "low", "high", "error"]] = told[["projected", "low", "high", "error"]].mask(grey)
    told["is_covered"] = told["is_covered"].mask(grey)
    return told


def _rates_then(build: Build, at: datetime, by: str | None, question: Question, bound: BoundQuestion) -> pd.DataFrame:
    """Give sales, returns and final rates with their intervals by month as they would have been said at a time."""
    then = known_then(build, at)
    frame = build.fetch(statement(replace(bound, metric=_by_cell(build, at))))
    share, doubt = shares_then(frame, then, at, bound)
    groups, rates, sums = _projected_then(frame.assign(share=share, doubt=doubt), then, by, question, bound)
    said = groups.assign(
        as_of=pd.Timestamp(at.date()),
        sold=sums["sold"],
        maturity_then=rates.maturity,
        observed_then=sums["returned"] / sums["sold"].where(sums["sold"] > 0),
        projected=rates.rate,
        low=rates.share_low,
        high=rates.share_high,
        to_come=rates.to_come,
        to_come_low=rates.to_come_low,
        to_come_high=rates.to_come_high,
        reason=final.young(build, rates, sums),
        returned_then=sums["returned"],
    )
    said["status"] = np.where(said["reason"] == "", "ok", "greyed")
    return said


def _projected_then(
    frame: pd.DataFrame, then: Then, by: str | None, question: Question, bound: BoundQuestion
) -> tuple[pd.DataFrame, rate_models.Ultimate, pd.DataFrame]:
    """Project months as `final.final` does, of what was known then: (keys, rates, sums of sold and returned)."""
    keys = ("month", *([by] if by else []))
    number, groups = shares.groups_of(frame, keys)
    sums = final.sums_of(frame, number, len(groups))
    is_summed = by is None and not question.where and not question.scope.allowed
    if not is_summed:
        categories = [None if by is None or pd.isna(c) else c for c in groups.get("category", [None] * len(groups))]
        if by is None:
            categories = final.categories(groups, bound)
        is_plain = (
            not question.scope.allowed
            and set(question.where) <= {"category"}
            and (by is not None or not question.where or categories[:1] != [None])
        )
        return groups, _parts_then(frame, then, number, groups, categories, question.level, is_plain), sums
    of_part, parts = shares.groups_of(frame.assign(category=frame["cell_category"]), (*keys, "category"))
    categories = [None if pd.isna(c) else c for c in parts["category"]]
    rates = _parts_then(frame, then, of_part, parts, categories, question.level, True)
    group = np.zeros(len(parts), dtype=np.int64)
    group[of_part] = number
    of = final.sums_of(frame, of_part, len(parts))
    whole = rate_models.summed_rates(group, rates, of["sold"].clip(lower=0), of["returned"], len(groups))
    return groups, whole, sums


def _parts_then(
    frame: pd.DataFrame,
    then: Then,
    number: np.ndarray[Any, Any],
    groups: pd.DataFrame,
    categories: list[str | None],
    level: float,
    is_plain: bool,
) -> rate_models.Ultimate:
    """Project groups, each as one rate; where `is_plain` the other months of its category say what to expect."""
    month_no = [day.year * 12 + day.month for day in pd.DatetimeIndex(groups["month"])]
    prior = np.array(
        [then.prior.get(c, {}).get(m, (np.nan, np.nan)) for c, m in zip(categories, month_no, strict=True)]
    ).reshape(-1, 2)
    return rate_models.ultimate_rates(
        number,
        frame["share"].to_numpy(float),
        np.maximum(frame["sold"].fillna(0).to_numpy(float), 0),
        frame["returned"].fillna(0).to_numpy(float),
        groups=len(groups),
        deff=np.array([then.deff.get(c, then.deff.get(None, 1.0)) for c in categories]),
        prior=(prior[:, 0], prior[:, 1]) if is_plain else None,
        doubt=frame["doubt"].to_numpy(float),
        level=level,
    )


def _rates_now(build: Build, now: BoundQuestion) -> pd.DataFrame:
    """Give what came of the same months' sales, and their final rates as they are said now."""
    found = build.fetch(statement(now))
    groups_now, rates_now, sums_now = final.final(found, now, build)
    return groups_now.assign(
        observed_now=sums_now["returned"] / sums_now["sold"].where(sums_now["sold"] > 0),
        maturity_now=rates_now.maturity,
        projected_now=rates_now.rate,
        returned_now=sums_now["returned"],
        still_to_come=rates_now.to_come,
    )


def known_then(build: Build, at: datetime) -> Then:
    """Refit curves, design effects and priors as of a time, once a build."""
    name = f"then {at}"
    if name not in build.cache:
        curves = _curves(build, at)
        deff = _effects(build, at)
        bare = Then(curves, deff, {})
        question = bind(build, KEY, Question(as_of=at, until=at.date()), by=("month", "category"))
        frame = build.fetch(statement(replace(question, metric=_by_cell(build, at))))
        share, doubt = shares_then(frame, bare, at, question)
        exposed = frame["sold"].fillna(0) * share
        months = pd.DatetimeIndex(frame["month"])
        counts = pd.DataFrame(
            {
                "category": frame["category"],
                "month_no": months.year * 12 + months.month,
                "returned": frame["returned"].fillna(0),
                "exposure": exposed,
                "units": frame["sold"].fillna(0),
                "doubt": doubt,
            }
        )
        parts: dict[str | None, pd.DataFrame] = {None: counts, **{str(c): g for c, g in counts.groupby("category")}}
        prior = {}
        for c, g in parts.items():
            names = ("month_no", "returned", "exposure", "units", "doubt")
            month_no, back, exposure, units, unsure = (g[n].to_numpy() for n in names)
            effect = deff.get(c, deff.get(None, 1.0))
            prior[c] = rate_models.month_priors(month_no, back, exposure, units, effect, unsure)
        build.cache[name] = Then(curves, deff, prior)
    found: Then = build.cache[name]
    return found


def _late(build: Build, at: datetime) -> Select[Any] | None:
    """Select lots whose return had come and was not recorded by a time; None where there are none."""
    e = STAR.tables["fact_return_event"].c
    confirming = and_(e.event.in_([literal_column(f"'{x}'") for x in CONFIRMING]), e.occurred_at <= literal_instant(at))
    late = (
        select(e.return_line_key)
        .where(confirming)
        .group_by(e.return_line_key)
        .having(func.min(e.recorded_at) > literal_instant(at))
    )
    name = f"late by {at}"  # handed on by the server that warms itself, as a statement would not be
    if name not in build.cache:
        build.cache[name] = len(build.fetch(late.limit(1))) > 0
    return late if build.cache[name] else None


def _returned(
    build: Build, at: datetime, details: Mapping[str, Sql] | None = None, of_credit: Mapping[str, Sql] | None = None
) -> tuple[Sum, Sum]:
    """Sum the units that had come back and been recorded by a time, with more details than metrics need."""
    late = _late(build, at)
    conditions: list[Sql] = [is_confirmed(), is_headline()]
    if late is not None:
        conditions.append(lambda _: lots.c.return_line_key.not_in(late))
    own = replace(LOTS, name="lots_then", details={**LOTS.details, **(details or {})})
    through = replace(CREDITS, name="credits_then", details={**CREDITS.details, **(of_credit or {})})
    return (
        Sum(own, lambda _: lots.c.units, both(*conditions), of_orders=True),
        Sum(through, lambda _: matches.c.units, both(is_confirmed(credited), is_headline(credited), is_bound)),
    )


def _by_cell(build: Build, at: datetime) -> Metric:
    """Count units sold and returned by what their development depends on, the curve left aside."""
    return replace(recorded(build, ask(KEY).metric, at), wrap=None, details=CELL, fine_details=())


def recorded(build: Build, chosen: Metric, at: datetime) -> Metric:
    """Count as returned, the second measure of a metric of final rates, what had been recorded as such by a time."""
    return replace(
        chosen, measures=(chosen.measures[0], measure("returned", _returned(build, at)), *chosen.measures[2:])
    )


def _curves(build: Build, at: datetime) -> dict[curves_models.Cell, curves_models.Developed]:
    def days(table: Any, confirmed: Expression) -> dict[str, Sql]:
        clock, ends_on, window = table.c.clock_started_at, table.c.window_ends_on, table.c.window_days
        return {
            "delay_day": lambda _: curve_day(clock, ends_on, window, confirmed),
            "age_day": lambda now: curve_day(clock, ends_on, window, now.at),
            "is_dated": lambda _: cast(case((ends_on.is_(None), 0), else_=1), Integer),
        }

    cell = ("cell_source", "cell_category", "cell_channel", "cell_window", "is_dated")
    units = _returned(build, at, days(lots, lots.c.confirmed_at), days(bought, credited.c.confirmed_at))
    sums = [replace(s, amount=always) for s in units]
    chosen = replace(
        ask(KEY).metric,
        measures=(measure("returned", sums),),
        wrap=None,
        details=(*cell, "delay_day", "age_day"),
        fine_details=(),
    )
    frame = build.fetch(statement(of_build(build, replace(ask(KEY, Question(as_of=at)), metric=chosen))))
    frame = frame.dropna(subset=["delay_day", "age_day", "returned"])
    c = orders.c
    sold = build.fetch(
        select(
            c.source,
            c.category,
            c.channel,
            c.window_days,
            cast(case((c.window_ends_on.is_(None), 0), else_=1), Integer).label("is_dated"),
        )
        .where(c.units_sold > 0, c.ordered_at <= literal_instant(at))
        .distinct()
    )
    cells = [_cell(*row) for row in sold.itertuples(index=False, name=None)]
    counts = {}
    for key, rows in frame.groupby(list(cell), dropna=False):
        of = _cell(*key)
        delay, returns, age = (rows[n].to_numpy(float) for n in ("delay_day", "returned", "age_day"))
        recent = (age >= 0) & (of.is_dated | (age <= of.last_day + curves_models.RECENT_DAYS))
        counts[of] = curves_models.Delays(np.maximum(delay, 0)[recent], returns[recent], age[recent])
    return curves_models.developed(sorted(cells, key=str), counts)


def _cell(source: Any, category: Any, channel: Any, window: Any, is_dated: Any) -> curves_models.Cell:
    category, channel = (None if pd.isna(x) else str(x) for x in (category, channel))
    return curves_models.Cell(str(source), category, channel, None if pd.isna(window) else int(window), bool(is_dated))


def shares_then(
    frame: pd.DataFrame, then: Then, at: datetime, question: BoundQuestion
) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """Give G at the age that units had, in hundredths, and its doubt, as `rules.curve_share` does in SQL."""
    share, doubt = pd.Series(0.0, index=frame.index), pd.Series(0.0, index=frame.index)
    clock, ends = pd.to_datetime(frame["clock_on"]), pd.to_datetime(frame["cell_ends_on"])
    names = ["cell_source", "cell_category", "cell_channel", "cell_window"]
    for key, rows in frame.groupby([*(frame[n] for n in names), ends.notna()], dropna=False):
        of = _cell(*key)
        until = pd.Timestamp(min(question.observed.get(of.source, at), at)).normalize()
        age = np.asarray((until - clock[rows.index]).dt.days, dtype=np.float64)
        day = age
        if of.is_dated:
            length = (ends[rows.index] - clock[rows.index]).dt.days
            day = curves_models.development_day(np.maximum(age, 0), length, of.window_days or 0)
        known = then.curves.get(of)
        curve = known.share if known else curves_models.assumed_curve(of.window_days or 30, of.last_day)
        doubt[rows.index] = round(known.doubt, 3) if known else 0.0
        at_day = curve[np.nan_to_num(np.clip(day, 0, curve.size - 1)).astype(int)]
        share[rows.index] = np.where(age >= 0, np.floor(at_day * 100 + 0.5) / 100, 0.0)  # NaN: not delivered
    return share, doubt


def _effects(build: Build, at: datetime) -> dict[str | None, float]:
    """Measure the design effect of orders as of a time: per category, and of whole orders under None.

    A unit's chance to be back by then is that of its category's units whose clock started in the same week.
    """
    basket = _baskets(_lines_then(build, at))
    sums = build.fetch(
        select(
            basket.c.category,
            basket.c.is_whole,
            func.sum(basket.c.residual * basket.c.residual).label("square"),
            func.sum(basket.c.variance).label("variance"),
        ).group_by(basket.c.category, basket.c.is_whole)
    )
    sums = sums[(sums["variance"] > 0) & ((sums["is_whole"] == 1) | sums["category"].notna())]
    effects = (sums["square"] / sums["variance"]).clip(lower=1.0)
    names = sums["category"].where(sums["is_whole"] == 0, None)
    return {None if pd.isna(name) else str(name): float(x) for name, x in zip(names, effects, strict=True)}


def _lines_then(build: Build, at: datetime) -> Any:
    """Give order lines whose clock had started by a time: order, category, week, units, and how many were back."""
    question = bind(build, KEY, Question(as_of=at))
    now = ORDERS.time(question)
    arms = [
        select(key.label("line"), s.amount(now).label("units"))
        .select_from(s.base.table)
        .where(*filters(s.base, question, now), *([own] if (own := s.condition(now)) is not None else []))
        for s, key in zip(_returned(build, at), (lots.c.order_line_key, bought.c.order_line_key), strict=True)
        if s.base.table_name not in question.empty
    ]
    each = (union_all(*arms) if len(arms) > 1 else arms[0]).subquery("each")
    back = select(each.c.line, func.sum(each.c.units).label("units")).group_by(each.c.line).subquery("back")
    c = orders.c
    sold = double(c.units_sold)
    return (
        select(
            c.order_key,
            c.category,
            period_start("week", cast(c.clock_started_at, STAR.tables["fact_order_line"].c.ordered_on.type)).label(
                "week"
            ),
            sold.label("units"),
            func.least(double(func.coalesce(back.c.units, 0)), sold).label("returned"),
        )
        .select_from(orders.outerjoin(back, back.c.line == c.order_line_key))
        .where(*filters(ORDERS, question, now), c.units_sold > 0, c.clock_started_at <= now.at)
        .cte("line")
    )


def _baskets(line: Any) -> Any:
    """Give the units of each order, and of its categories, that came back beyond their week's rate; their variance."""
    rate = (
        select(line.c.category, line.c.week, (func.sum(line.c.returned) / func.sum(line.c.units)).label("rate"))
        .group_by(line.c.category, line.c.week)
        .subquery("rate")
    )
    return (
        select(
            line.c.category,
            func.grouping(line.c.category).label("is_whole"),
            func.sum(line.c.returned - rate.c.rate * line.c.units).label("residual"),
            func.sum(line.c.units * rate.c.rate * (double(1) - rate.c.rate)).label("variance"),
        )
        .select_from(
            line.join(
                rate,
                and_(
                    line.c.week == rate.c.week,
                    or_(line.c.category == rate.c.category, and_(line.c.category.is_(None), rate.c.category.is_(None))),
                ),
            )
        )
        .group_by(func.grouping_sets(tuple_(line.c.order_key, line.c.category), tuple_(line.c.order_key)))
        .subquery("basket")
    )
