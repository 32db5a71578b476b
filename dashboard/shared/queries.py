"""One function a question, remembered by build and filters. Each asks `pipelines.metrics`; nothing is drawn here.

The rows behind an answer and the files of both are in `rows_behind`; how answers are remembered, in `memory`.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import func, select

from dashboard.i18n import Words
from dashboard.shared import access, builds
from dashboard.shared.memory import NOTED, remembered
from dashboard.shared.whole import kept
from models import marks
from pipelines import analyses, metrics
from pipelines.analyses import unlocks
from pipelines.metrics import Metric, Question
from pipelines.people import actions, policies, policy_text
from pipelines.sources import registry
from pipelines.warehouse import state, vocabulary
from pipelines.warehouse.build import current_build, current_id
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.star import STAR
from pipelines.why import why

POLICY_METHODS, POLICY_UNITS, POLICY_STAGES, POLICY_TRIGGERS, POLICY_EXCEPTIONS, POLICY_KEEPERS = (
    policy_text.METHODS,
    vocabulary.DURATION_UNITS,
    vocabulary.STAGES,
    vocabulary.REFUND_TRIGGERS,
    vocabulary.EXCEPTIONS,
    policy_text.RESPONSIBLE,
)
PRODUCT_KINDS = actions.PRODUCT_KINDS
CODED_SOURCES = tuple(registry())
SHOWN_STYLES = 100  # of a ranking, in its chart and table; the list to pick one from holds them all
ALMOST = 0.999  # nothing is shown as certain
EVERY_ROW = 1_000_000
GROWING = frozenset(
    {
        "observed_return_rate",
        "order_return_rate",
        "value_return_rate",
        "returned_units",
        "returns_to_come",
        "returns_to_come_value",
    }
)
"""Numbers that grow with age: they are shown without a comparison."""
SAME_AGE = frozenset(
    {
        "refunds_owed",
        "late_refund_surcharge",
        "returns_to_come_cost",
        "margin_erosion",
        "margin_erosion_share",
        "return_cost",
        "return_cost_per_unit",
        "kg_co2e",
        "kg_co2e_per_100_sold",
        "kg_co2e_per_return",
    }
)
"""Numbers without an interval that grow with age: compared with the earlier days as they were seen at the same age."""

Source = builds.Source


@dataclass(frozen=True)
class PageQuestion:
    """What a number depends on: the build, the days (both included), the days to compare with, the filters."""

    source: Source
    since: dt.date
    until: dt.date
    against: tuple[dt.date, dt.date] | None = None
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, eq=False)
class DrillDown:
    """What lies behind a chart or table: the metric, the dimensions of its marks, the numbers it shows.

    A mark carries the values of `by` in this order; `also` are further metrics shown; `is_dated` is False where the
    days of the view do not matter; `where` narrows the view further. Two names are no dimensions of the metric: the
    state of a promise and the step of the margin.
    """

    key: str
    by: tuple[str, ...] = ()
    seen: pd.DataFrame | None = None
    also: tuple[str, ...] = ()
    is_dated: bool = True
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()


Mark = tuple[tuple[str, str | None], ...]
"""The mark that was chosen: dimension and value."""


@dataclass(frozen=True)
class Number:
    """One answer: a value with its interval and count, or why it is not known.

    Then a reason, and the kinds of fact it lacks.

    A `caution` is a code of what weakens the number; `reason` then says it in words. `coverage` is the share of its
    rows it rests on.
    """

    value: float
    low: float
    high: float
    n: float
    unit: str
    status: str
    reason: str
    lacks: tuple[str, ...] = ()
    caution: str = ""
    coverage: float = 1.0


@dataclass(frozen=True)
class Change:
    """A value against an earlier one.

    `is_within_noise` is None where the number has no interval, `caution` says what weakens either. A page compares up
    to marks.ON_A_PAGE single numbers: what may be false of their marks is shared among them.
    """

    value: float
    previous: float
    difference: float
    low: float
    high: float
    is_within_noise: bool | None
    unit: str
    caution: str = ""


@dataclass(frozen=True)
class Trust:
    """How far a build can be trusted.

    Its days, rows quarantined, checks that found something, numbers that wait for data.
    """

    last_day: dt.date
    set_aside: int
    failed_checks: int
    greyed: int


def unfiltered() -> list[str]:
    """Give the filters that what was asked for since the last call stands without."""
    names, NOTED.names = NOTED.names, frozenset()
    return sorted(names)


@contextmanager
def unseen() -> Iterator[None]:
    """Ask for what is not shown: whether it is filtered is nobody's concern."""
    before = NOTED.names
    try:
        yield
    finally:
        NOTED.names = before


def stands_alone(asked: PageQuestion) -> None:
    """Note that what is asked for knows no filter."""
    NOTED.names |= {name for name, _ in asked.where}


def source(warehouse: Path, build_id: str | None = None) -> Source:
    """Name the build this reader sees, or the one that is asked for; raises WarehouseMissing before the first."""
    build_id = build_id or current_id(warehouse)
    if build_id is None:
        current_build(warehouse)
    found = Source(warehouse.absolute(), str(build_id), access.current().scope)
    opened(found)
    return found


def opened(asked: Source) -> Build:
    """Open a build once, within its reader's scope; the last few stay open."""
    return builds.OPEN.get(asked)


def metric(key: str) -> Metric:
    """Give a metric's declaration."""
    return metrics.metric(key)


def ignored(asked: PageQuestion, *keys: str) -> list[str]:
    """List the filters that some of these metrics cannot be cut by."""
    if not asked.where:
        return []
    possible = set.intersection(*(set(metrics.dimensions(key, opened(asked.source))) for key in keys))
    return [dimension for dimension, _ in asked.where if dimension not in possible]


def where_of(asked: PageQuestion, *keys: str) -> dict[str, Any]:
    """Give the filters that an answer takes, and note those that it does not."""
    skipped = ignored(asked, *keys)
    NOTED.names |= set(skipped)
    return {dimension: list(chosen) for dimension, chosen in asked.where if dimension not in skipped}


def question_of(asked: PageQuestion, *keys: str) -> Question:
    """Ask under those filters, of the days of the page."""
    return Question(where=where_of(asked, *keys), since=asked.since, until=asked.until)


@remembered
def cut(asked: PageQuestion, key: str, *by: str) -> pd.DataFrame:
    """Answer a metric per group."""
    return metrics.answer(opened(asked.source), key, question_of(asked, key), by=by)


def number(asked: PageQuestion, key: str) -> Number:
    """Answer a metric over the period."""
    row, build = cut(asked, key).iloc[0], opened(asked.source)
    lacks = unlocks.needed(build, key) if row["status"] != "ok" and not metrics.is_known(build, key) else ()
    value, low, high, n = (float(row[c]) for c in ("value", "low", "high", "n"))
    return Number(
        value,
        low,
        high,
        n,
        str(row["unit"]),
        str(row["status"]),
        str(row["reason"]),
        lacks,
        str(row["caution"]),
        float(row["coverage"]),
    )


def doubted(asked: PageQuestion, found: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Put on each row of a list what the metrics that it is made of do not rest on: the columns caution and reason."""
    answers_ = [cut(asked, key).iloc[0] for key in keys]
    return metrics.doubted(found, metrics.doubt_of(*answers_))


@remembered
def changes(asked: PageQuestion, key: str, *by: str) -> pd.DataFrame:
    """Compare a metric with the earlier days, per group."""
    period = (asked.since, asked.until)
    return metrics.compare(
        opened(asked.source),
        key,
        question_of(asked, key).undated(),
        period=period,
        against=asked.against or period,
        by=by,
    )


def can_compare(asked: PageQuestion) -> bool:
    """Say whether the build reaches back to the days compared with."""
    return asked.against is not None and asked.against[0] >= days(asked.source)[0]


def change(asked: PageQuestion, key: str) -> Change | None:
    """Compare a metric with the earlier days; None where there is nothing to compare with."""
    if not can_compare(asked):
        return None
    return _same_age(asked, key) if key in SAME_AGE else as_change(changes(asked, key).iloc[0])


def _seen(asked: PageQuestion) -> dt.date:
    """Give the day on which the earlier days were as old as these days are now."""
    assert asked.against is not None
    return asked.against[1] + (days(asked.source)[1] - asked.until)


@remembered
def _same_age(asked: PageQuestion, key: str) -> Change | None:
    """Compare with the earlier days as they were seen when they were as old as these days are now."""
    assert asked.against is not None
    now = number(asked, key)
    row = metrics.answer(
        opened(asked.source),
        key,
        question_of(asked, key).but(since=asked.against[0], until=asked.against[1], as_of=_seen(asked)),
    ).iloc[0]
    if now.status != "ok" or row["status"] != "ok":
        return None
    previous, nothing = float(row["value"]), float("nan")
    caution = now.reason if now.caution else why("of_compared", said=row["reason"]) if row["caution"] else ""
    return Change(now.value, previous, now.value - previous, nothing, nothing, None, now.unit, caution)


@remembered
def read_ahead(asked: PageQuestion, keys: tuple[str, ...], *by: str) -> None:
    """Read at once what several metrics and their changes need under the filters of a page, of whatever days."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for key in keys:
        alike.setdefault(tuple(ignored(asked, key)), []).append(key)
    for several in alike.values():
        question = question_of(asked, several[0]).undated()
        metrics.read_ahead(opened(asked.source), several, question, by=by)
        growing = [key for key in several if key in SAME_AGE and not by]
        if growing and can_compare(asked):
            metrics.read_ahead(opened(asked.source), growing, question.but(as_of=_seen(asked)))


def answers(asked: PageQuestion, *keys: str) -> dict[str, tuple[Number, Change | None]]:
    """Answer several metrics, each with its change."""
    read_ahead(asked, keys)
    return {key: (number(asked, key), change(asked, key)) for key in keys}


def as_change(row: Any) -> Change | None:
    """Read one row of a comparison as a single number of a page; None where one of the two is not known."""
    if row["status"] != "ok":
        return None
    bounds = (row["difference"], row["low"], row["high"])
    noise = None if pd.isna(row["is_within_noise"]) else not marks.beyond_noise(*bounds, among=marks.ON_A_PAGE)
    value, previous, difference, low, high = (float(row[c]) for c in ("value", "previous", "difference", "low", "high"))
    caution = str(row["reason"]) if row["caution"] else ""
    return Change(value, previous, difference, low, high, noise, str(row["unit"]), caution)


def by(asked: PageQuestion, key: str, dimension: str) -> pd.DataFrame:
    """Answer a metric per group, known ones only: label, value, low, high, n."""
    if dimension not in metrics.dimensions(key, opened(asked.source)):
        return cut(asked, key).iloc[:0].assign(label=[])
    found = cut(asked, key, dimension).rename(columns={dimension: "label"})
    return found[found["status"] == "ok"]


def by_month(asked: PageQuestion, key: str) -> pd.DataFrame:
    """Answer a metric per month: month, value, low, high, n, status; NaN where it is not known."""
    return cut(asked, key, "month").sort_values("month", ignore_index=True)


def crossed(asked: PageQuestion, key: str, *dimensions: str) -> pd.DataFrame:
    """Answer a metric per pair of groups, known ones only."""
    found = cut(asked, key, *dimensions)
    return found[found["status"] == "ok"]


def known(asked: PageQuestion, keys: Sequence[str], others: Sequence[str], fewest: int) -> list[str]:
    """Give as many of the other numbers as bring those that the files support up to the fewest."""
    with unseen():
        few = fewest - sum(not number(asked, key).lacks for key in keys)
        return [key for key in others if number(asked, key).value == number(asked, key).value][: max(few, 0)]


def has_rows(asked: PageQuestion) -> bool:
    """Say whether any sale, return or refund is left under the filters."""
    with unseen():
        return any(number(asked, key).value > 0 for key in ("sold_units", "all_returned_units", "refund_amount"))


def to_relax(asked: PageQuestion) -> list[str]:
    """List the filters without which rows would be left."""
    fewer = {
        dimension: replace(asked, where=tuple(w for w in asked.where if w[0] != dimension))
        for dimension, _ in asked.where
    }
    return [dimension for dimension, rest in fewer.items() if has_rows(rest)]


INSTEAD = ("period_return_rate", "flagged_line_rate", "flagged_order_rate")
"""Rates shown where returns name no order, or are only flagged on the orders."""


def best_rates(asked: PageQuestion, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Put rates that are known in the place of the final one and of what is to come, where those are not known."""
    with unseen():
        if number(asked, "observed_return_rate").status == "ok":
            return keys
        instead = [key for key in INSTEAD if number(asked, key).status == "ok"]
    places = [k for k in ("ultimate_return_rate", "returns_to_come", "window_return_rate") if k in keys]
    swapped: dict[str, str] = dict(zip(places, instead, strict=False))
    return tuple(swapped.get(key, key) for key in keys)


def undated(asked: PageQuestion) -> PageQuestion:
    """Ask of everything there is: what waits does not depend on the days of the view."""
    first, last = days(asked.source)
    return replace(asked, since=first - dt.timedelta(days=3650), until=last + dt.timedelta(days=1))


@remembered
def waiting_goods(asked: PageQuestion) -> pd.DataFrame:
    """List what waits on its way back by site and stage, the dearest first.

    Columns: place, waiting, units, margin, value, caution, reason.
    """
    every = undated(asked)
    keys = tuple(analyses.WAITING.values())
    if number(every, keys[0]).lacks:
        return pd.DataFrame(columns=["place", "waiting", *analyses.WAITING, "caution", "reason"])
    found = analyses.goods_waiting(opened(asked.source), question_of(every, *keys))
    return doubted(every, _with_places(asked, found), *keys)


@remembered
def ranking(asked: PageQuestion) -> pd.DataFrame:
    """Rank all styles by how surely they come back more than their category and by the money at stake."""
    found = analyses.product_ranking(opened(asked.source), question_of(asked, "product_return_rate"), limit=None)
    shared = found["name"].duplicated(keep=False)
    number_of = found["style_id"].str.replace(r"^.*:", "", regex=True)
    found["probability_above"] = found["probability_above"].clip(upper=ALMOST)
    return found.assign(name=found["name"].mask(shared, found["name"] + " " + number_of))


def beside_category(frame: pd.DataFrame, label: str, value: str, usual: str, n: str) -> pd.DataFrame:
    """Name the columns of a part of a product's profile as a chart of it wants them.

    Columns: label, value, low, high, usual, n.
    """
    return frame.rename(columns={label: "label", value: "value", usual: "usual", n: "n"})


@remembered
def at_risk(asked: PageQuestion) -> pd.DataFrame:
    """List open returns by the probability that they break a promise; the days of the view do not matter."""
    return _with_places(
        asked,
        analyses.worklist_at_risk(opened(asked.source), question_of(asked, "breach_risk").undated(), limit=EVERY_ROW),
    )


def _with_places(asked: PageQuestion, work: pd.DataFrame) -> pd.DataFrame:
    """Name the site beside its id."""
    places = table(asked.source, "dim_place").drop_duplicates("place_id").set_index("place_id")["name"]
    return work.assign(place=looked_up(work["place_id"], places).fillna(work["place_id"]))


@remembered
def due(asked: PageQuestion) -> pd.DataFrame:
    """List open withdrawals due by law within five days or overdue; the days of the view do not matter."""
    return _with_places(
        asked,
        analyses.refunds_due(opened(asked.source), question_of(asked, "refunds_due_soon").undated(), limit=EVERY_ROW),
    )


@remembered
def recent(asked: PageQuestion, measure: str, by: str) -> pd.DataFrame:
    """List the last weeks of what is forecast."""
    return analyses.recent(opened(asked.source), measure, question_of(asked, "forecast").undated(), by=by or None)


def numbers(asked: PageQuestion, *keys: str) -> pd.DataFrame:
    """Lay out several metrics over the period: metric, value, low, high, n, coverage, unit, status, reason."""
    found = [number(asked, key) for key in keys]
    rows_ = [
        {
            "metric": key,
            **{c: getattr(n, c) for c in ("value", "low", "high", "n", "coverage", "unit", "status", "reason")},
        }
        for key, n in zip(keys, found, strict=True)
    ]
    return pd.DataFrame(rows_)


@remembered
def policy(asked: Source, version: str) -> policy_text.Policy:
    """Give one version by the name `policy_names` keys it with."""
    name, _, day = version.rpartition("@")
    return policies.published(opened(asked), name, dt.date.fromisoformat(day))


@remembered
def days(asked: Source) -> tuple[dt.date, dt.date]:
    """Give the first day of orders, of returns where there is no order, and the last day anything was heard of.

    The last year when nothing was.
    """
    build = opened(asked)
    ordered, requested = STAR.tables["fact_order_line"].c.ordered_on, STAR.tables["fact_return_line"].c.requested_on
    spans = [build.fetch(select(func.min(c).label("first"), func.max(c).label("last"))) for c in (ordered, requested)]
    first, last = (pd.concat([span[name] for span in spans]).dropna() for name in ("first", "last"))
    heard = build.info.get("observed_until")
    until = max([*last[:1], *([pd.Timestamp(heard)] if heard else [])], default=pd.Timestamp(dt.date.today()))
    return (first.iloc[0] if len(first) else until - pd.Timedelta(days=364)).date(), until.date()


def currency(asked: Source) -> str:
    """Give the reporting currency."""
    return opened(asked).info.get("reporting_currency", "EUR")


def own_dimensions(asked: Source) -> list[str]:
    """List the shop's own dimensions, by name."""
    return sorted(metrics.own_dimensions(opened(asked)))


@remembered
def values(asked: Source, dimension: str) -> list[str]:
    """List the values of a dimension that sales or returns have, for a filter."""
    if dimension in own_dimensions(asked):
        return metrics.dimension_values(opened(asked), dimension)
    key = next(key for key in ("sold_units", "confirmed_units") if dimension in metrics.dimensions(key, opened(asked)))
    found = metrics.answer(opened(asked), key, by=(dimension,))
    names = {str(value) for value in found.loc[found["n"] > 0, dimension] if not pd.isna(value) and value != ""}
    return sorted(names, key=lambda name: (int(name) if name.isdigit() else 0, name))


@remembered
def table(asked: Source, name: str) -> pd.DataFrame:
    """Read a small table of the build whole."""
    return opened(asked).fetch(select(STAR.tables[name]))


@remembered
def missing(asked: Source) -> tuple[unlocks.Missing, ...]:
    """List the kinds of fact that some number waits for, those first that unlock most."""
    return tuple(unlocks.missing(opened(asked)))


def waiting(asked: Source) -> set[str]:
    """Give the numbers that no source can fill."""
    return {key for one in missing(asked) for key in (*one.numbers, *one.later)}


def requests(words: Words, facts: Iterable[str]) -> list[tuple[str, str]]:
    """Write what to send to whom to get these kinds of fact: who has them, and the text."""
    return [
        (words.either(*unlocks.OWNERS[owner]), text) for owner, text in unlocks.requests(facts, words.language).items()
    ]


def trust(asked: Source) -> Trust:
    """Say how far the build can be trusted."""
    found, aside = checks(asked), quarantine(asked)
    return Trust(days(asked)[1], int(aside["rows"].sum()), int((found["rows"] > 0).sum()), len(waiting(asked)))


def quarantine(asked: Source) -> pd.DataFrame:
    """Count quarantined rows by rule."""
    return kept(asked, state.quarantine_by_rule)


def checks(asked: Source) -> pd.DataFrame:
    """List what each check found."""
    return kept(asked, state.check_results)
