"""One function a question, remembered by build and filters. Each asks `pipelines.metrics`; nothing is drawn here.

A build never changes, so an answer holds as long as its build is read. Memories are bounded. Frames are shared: read,
never change.
"""

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pandas as pd
from sqlalchemy import func, select

from dashboard.i18n import Words
from pipelines import actions as pipelines_actions
from pipelines import alerts, closing, disclosure, export, factors, metrics, policies, report, scenarios, state, unlocks
from pipelines.errors import BackhaulError
from pipelines.metrics import Metric
from pipelines.metrics.forecast import CUTS, MEASURES
from pipelines.settings import Settings
from pipelines.sources import note_label, registry
from pipelines.warehouse import schema
from pipelines.warehouse.build import current_build, current_id, open_build
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.schema import STAR

ENTRIES = 512
POLICY_METHODS, POLICY_UNITS, POLICY_STAGES, POLICY_TRIGGERS, POLICY_EXCEPTIONS, POLICY_KEEPERS = (
    policies.METHODS,
    schema.DURATION_UNITS,
    schema.STAGES,
    schema.REFUND_TRIGGERS,
    schema.EXCEPTIONS,
    policies.RESPONSIBLE,
)
PRODUCT_KINDS = state.PRODUCT_KINDS
Missing = unlocks.Missing
CODED_SOURCES = tuple(registry())
SHOWN_STYLES = 100  # of a ranking, in its chart and table; the list to pick one from holds them all
SHOWN_GROUPS = 15  # of the states of promises, in their chart
SHOWN_DOUBTS, DOUBTED = 8, 0.001  # sources of doubt shown, and share of the variance below which one is left out
TOLD = pipelines_actions.TOLD
ALMOST = 0.999  # nothing is shown as certain
BACK = 0.995  # share of the returns back, from which a month is no test of a projection
BUILDS = 3
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


@dataclass(frozen=True)
class Source:
    """One build of one warehouse."""

    warehouse: Path
    build_id: str


@dataclass(frozen=True)
class Asked:
    """What a number depends on: the build, the days (both included), the days to compare with, the filters."""

    source: Source
    since: dt.date
    until: dt.date
    against: tuple[dt.date, dt.date] | None = None
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, eq=False)
class Behind:
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


At = tuple[tuple[str, str | None], ...]
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

    `is_within_noise` is None where the number has no interval, `caution` says what weakens either.
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


class _Unfiltered(threading.local):
    """Filters of the view that numbers asked for since the last look stand without."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()


_unfiltered = _Unfiltered()
_builds: dict[Source, Build] = {}
_lock = threading.Lock()


P = ParamSpec("P")
T = TypeVar("T")


def remembered(entries: int = ENTRIES) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Remember answers, and with each the filters that it stands without."""

    def remember(function: Callable[P, T]) -> Callable[P, T]:
        @lru_cache(maxsize=entries)
        def answered(*args: Any, **options: Any) -> tuple[T, frozenset[str]]:
            before, _unfiltered.names = _unfiltered.names, frozenset()
            try:
                return function(*args, **options), _unfiltered.names
            finally:
                _unfiltered.names = before

        @wraps(function)
        def ask(*args: P.args, **options: P.kwargs) -> T:
            answer, names = answered(*args, **options)  # type: ignore[arg-type]
            _unfiltered.names |= names
            return answer

        ask.cache_clear = answered.cache_clear  # type: ignore[attr-defined]
        return ask

    return remember


def unfiltered() -> list[str]:
    """Give the filters that what was asked for since the last call stands without."""
    names, _unfiltered.names = _unfiltered.names, frozenset()
    return sorted(names)


@contextmanager
def _unseen() -> Iterator[None]:
    """Ask for what is not shown: whether it is filtered is nobody's concern."""
    before = _unfiltered.names
    try:
        yield
    finally:
        _unfiltered.names = before


def _stands_alone(asked: Asked) -> None:
    """Note that what is asked for knows no filter."""
    _unfiltered.names |= {name for name, _ in asked.where}


def source(warehouse: Path) -> Source:
    """Name the build readers see; raises WarehouseMissing before the first."""
    build_id = current_id(warehouse)
    if build_id is None:
        current_build(warehouse)
    found = Source(warehouse.absolute(), str(build_id))
    _open(found)
    return found


def _open(asked: Source) -> Build:
    with _lock:
        if asked not in _builds:
            _builds[asked] = open_build(asked.warehouse, asked.build_id)
            for old in list(_builds)[:-BUILDS]:
                _builds.pop(old)
        return _builds[asked]


# -- numbers -----------------------------------------------------------------------------------------------------------


def metric(key: str) -> Metric:
    """Give a metric's declaration."""
    return metrics.metric(key)


def catalogue() -> tuple[Metric, ...]:
    """Give every metric's declaration."""
    return metrics.catalogue()


def ignored(asked: Asked, *keys: str) -> list[str]:
    """List the filters that some of these metrics cannot be cut by."""
    if not asked.where:
        return []
    possible = set.intersection(*(set(metrics.dimensions(key, _open(asked.source))) for key in keys))
    return [dimension for dimension, _ in asked.where if dimension not in possible]


def _where(asked: Asked, *keys: str) -> dict[str, Any]:
    skipped = ignored(asked, *keys)
    _unfiltered.names |= set(skipped)
    return {dimension: list(chosen) for dimension, chosen in asked.where if dimension not in skipped}


def _question(asked: Asked, *keys: str) -> dict[str, Any]:
    return {"where": _where(asked, *keys), "since": asked.since, "until": asked.until}


@remembered()
def cut(asked: Asked, key: str, *by: str) -> pd.DataFrame:
    """Answer a metric per group."""
    return metrics.answer(_open(asked.source), key, by=by, **_question(asked, key))


def number(asked: Asked, key: str) -> Number:
    """Answer a metric over the period."""
    row = cut(asked, key).iloc[0]
    lacks: tuple[str, ...] = ()
    if row["status"] != "ok" and str(row["reason"]).startswith("needs "):
        lacks = unlocks.needed(_open(asked.source), key)
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


@remembered()
def changes(asked: Asked, key: str, *by: str) -> pd.DataFrame:
    """Compare a metric with the earlier days, per group."""
    period = (asked.since, asked.until)
    return metrics.compare(
        _open(asked.source), key, period=period, against=asked.against or period, by=by, where=_where(asked, key)
    )


def _can_compare(asked: Asked) -> bool:
    return asked.against is not None and asked.against[0] >= days(asked.source)[0]


def change(asked: Asked, key: str) -> Change | None:
    """Compare a metric with the earlier days; None where there is nothing to compare with."""
    if not _can_compare(asked):
        return None
    return _same_age(asked, key) if key in SAME_AGE else as_change(changes(asked, key).iloc[0])


@remembered()
def _same_age(asked: Asked, key: str) -> Change | None:
    """Compare with the earlier days as they were seen when they were as old as these days are now."""
    assert asked.against is not None
    now = number(asked, key)
    seen = asked.against[1] + (days(asked.source)[1] - asked.until)
    row = metrics.answer(
        _open(asked.source), key, where=_where(asked, key), since=asked.against[0], until=asked.against[1], as_of=seen
    ).iloc[0]
    if now.status != "ok" or row["status"] != "ok":
        return None
    previous, nothing = float(row["value"]), float("nan")
    caution = now.reason if now.caution else f"compared period: {row['reason']}" if row["caution"] else ""
    return Change(now.value, previous, now.value - previous, nothing, nothing, None, now.unit, caution)


def answers(asked: Asked, *keys: str) -> dict[str, tuple[Number, Change | None]]:
    """Answer several metrics, each with its change."""
    return {key: (number(asked, key), change(asked, key)) for key in keys}


def as_change(row: Any) -> Change | None:
    """Read one row of a comparison; None where one of the two is not known."""
    if row["status"] != "ok":
        return None
    noise = None if pd.isna(row["is_within_noise"]) else bool(row["is_within_noise"])
    value, previous, difference, low, high = (float(row[c]) for c in ("value", "previous", "difference", "low", "high"))
    caution = str(row["reason"]) if row["caution"] else ""
    return Change(value, previous, difference, low, high, noise, str(row["unit"]), caution)


def by(asked: Asked, key: str, dimension: str) -> pd.DataFrame:
    """Answer a metric per group, known ones only: label, value, low, high, n."""
    if dimension not in metrics.dimensions(key, _open(asked.source)):
        return cut(asked, key).iloc[:0].assign(label=[])
    found = cut(asked, key, dimension).rename(columns={dimension: "label"})
    return found[found["status"] == "ok"]


def by_month(asked: Asked, key: str) -> pd.DataFrame:
    """Answer a metric per month: month, value, low, high, n, status; NaN where it is not known."""
    return cut(asked, key, "month").sort_values("month", ignore_index=True)


def crossed(asked: Asked, key: str, *dimensions: str) -> pd.DataFrame:
    """Answer a metric per pair of groups, known ones only."""
    found = cut(asked, key, *dimensions)
    return found[found["status"] == "ok"]


def known(asked: Asked, keys: Sequence[str], others: Sequence[str], fewest: int) -> list[str]:
    """Give as many of the other numbers as bring those that the files support up to the fewest."""
    with _unseen():
        few = fewest - sum(not number(asked, key).lacks for key in keys)
        return [key for key in others if number(asked, key).value == number(asked, key).value][: max(few, 0)]


def has_rows(asked: Asked) -> bool:
    """Say whether any sale, return or refund is left under the filters."""
    with _unseen():
        return any(number(asked, key).value > 0 for key in ("sold_units", "all_returned_units", "refund_amount"))


def to_relax(asked: Asked) -> list[str]:
    """List the filters without which rows would be left."""
    fewer = {
        dimension: replace(asked, where=tuple(w for w in asked.where if w[0] != dimension))
        for dimension, _ in asked.where
    }
    return [dimension for dimension, rest in fewer.items() if has_rows(rest)]


INSTEAD = ("period_return_rate", "flagged_line_rate", "flagged_order_rate")
"""Rates shown where returns name no order, or are only flagged on the orders."""


def best_rates(asked: Asked, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Put rates that are known in the place of the final one and of what is to come, where those are not known."""
    with _unseen():
        if number(asked, "observed_return_rate").status == "ok":
            return keys
        instead = [key for key in INSTEAD if number(asked, key).status == "ok"]
    places = [k for k in ("ultimate_return_rate", "returns_to_come", "window_return_rate") if k in keys]
    swapped: dict[str, str] = dict(zip(places, instead, strict=False))
    return tuple(swapped.get(key, key) for key in keys)


# -- what a page shows -------------------------------------------------------------------------------------------------


@remembered()
def cohorts(asked: Asked) -> pd.DataFrame:
    """Give each month's observed and expected final rate.

    Columns: month, n, observed, value, low, high, coverage, caution, maturity.
    """
    final = by_month(asked, "ultimate_return_rate")[["month", "value", "low", "high", "n", "coverage", "caution"]]
    so_far = by_month(asked, "observed_return_rate")[["month", "value"]].rename(columns={"value": "observed"})
    back = by_month(asked, "maturity")[["month", "value"]].rename(columns={"value": "maturity"})
    return (
        final.merge(so_far, on="month", how="outer")
        .merge(back, on="month", how="outer")
        .sort_values("month", ignore_index=True)
    )


@remembered()
def stages(asked: Asked) -> pd.DataFrame:
    """Give each stage's waits in days and the promise on it.

    Columns: stage, p50, p90, low, high, promised (median over policies, 5 business days as 7).
    """
    half = by(asked, "stage_days(0.5)", "stage")[["label", "value"]].rename(columns={"label": "stage", "value": "p50"})
    most = by(asked, "stage_days(0.9)", "stage")[["label", "value", "low", "high"]].rename(
        columns={"label": "stage", "value": "p90"}
    )
    order = {"requested": 0, "handed_over": 1, "carrier_scan": 2, "received": 3, "inspected": 4}
    promises = table(asked.source, "dim_policy_promise")
    in_days = promises["duration"] * looked_up(
        promises["duration_unit"],
        {"clock_hours": 1 / 24, "calendar_days": 1.0, "business_days": 7 / 5, "carrier_days": 7 / 5},
    )
    promised = in_days.groupby(promises["from_stage"] + "-" + promises["to_stage"]).median().rename("promised")
    found = half.merge(most, on="stage").join(promised, on="stage")
    return found.sort_values(
        "stage", key=lambda stage: stage.str.replace(r"-.*$", "", regex=True).map(order), ignore_index=True
    )


def by_part(asked: Asked, key: str, dimension: str, part: str) -> pd.DataFrame:
    """Answer a metric per group and part of it, known ones only: label, part, value."""
    found = crossed(asked, key, dimension, part)
    return found.rename(columns={dimension: "label", part: "part"})[["label", "part", "value"]].reset_index(drop=True)


_WAY = (*POLICY_STAGES, "cancelled", "rejected", "expired", "lost")


def funnel(asked: Asked) -> pd.DataFrame:
    """Give the units that reached each stage, in the order of the way back.

    Label, value; stages nobody records are left out.
    """
    found = by(asked, "stage_reached", "stage")[["label", "value"]]
    return found.sort_values("label", key=lambda s: s.map(_WAY.index), ignore_index=True)


@remembered()
def ways_back(asked: Asked) -> pd.DataFrame:
    """Cross where it was bought with where it came back.

    Columns: channel, return_channel, returned, kept, days (p90 to the refund).
    """
    cells = ["channel", "return_channel"]
    parts = {"returned": "confirmed_units", "kept": "promise_kept", "days": "days_to_refund(0.9)"}
    if any(number(asked, key).lacks for key in parts.values()):
        return pd.DataFrame(columns=[*cells, *parts])
    found = [cut(asked, key, *cells).set_index(cells)["value"].rename(name) for name, key in parts.items()]
    return (
        pd.concat(found, axis=1, sort=False)
        .dropna(subset=["returned"])
        .sort_values("returned", ascending=False)
        .reset_index()
    )


def promise_names(asked: Asked) -> list[str]:
    """List the promises somebody made, the least kept first."""
    return list(dict.fromkeys(promise_states(asked)["label"]))


@remembered()
def control(asked: Asked, promise: str) -> pd.DataFrame:
    """Give the control chart of a promise, week by week; the days of the view do not matter."""
    return metrics.control_chart(_open(asked.source), promise, where=_where(asked, "promise_kept"))


@remembered()
def offer(asked: Asked, promise: str, at: float) -> metrics.Offer | None:
    """Give the promise that could be made today for the whole selection; the days of the view do not matter."""
    found = metrics.offers(_open(asked.source), promise, at, by_lane=False, where=_where(asked, "promise_at"))
    return found[0] if found else None


@remembered()
def offers(asked: Asked, promise: str, at: float) -> pd.DataFrame:
    """List the promise that could be made today lane by lane, busiest first."""
    found = metrics.offers(_open(asked.source), promise, at, where=_where(asked, "promise_at"))
    return pd.DataFrame([o.row() for o in found]).rename(columns={"market": "country", "unit": "duration_unit"})


def _undated(asked: Asked) -> Asked:
    """Ask of everything there is: what waits does not depend on the days of the view."""
    first, last = days(asked.source)
    return replace(asked, since=first - dt.timedelta(days=3650), until=last + dt.timedelta(days=1))


def waiting_by(asked: Asked, dimension: str) -> pd.DataFrame:
    """Give the margin that waits per stage or site: label, value, low, high."""
    return by(_undated(asked), "margin_waiting", dimension)


@remembered()
def waiting_goods(asked: Asked) -> pd.DataFrame:
    """List what waits on its way back by site and stage, the dearest first: place, waiting, units, margin, value."""
    every = _undated(asked)
    parts = {"units": "units_waiting", "margin": "margin_waiting", "value": "value_in_flow"}
    if number(every, "units_waiting").lacks:
        return pd.DataFrame(columns=["place", "waiting", *parts])
    found = [
        cut(every, key, "place_id", "stage").set_index(["place_id", "stage"])["value"].rename(n)
        for n, key in parts.items()
        if not number(every, key).lacks
    ]
    table_ = pd.concat(found, axis=1, sort=False).reset_index().reindex(columns=["place_id", "stage", *parts])
    named = _with_places(asked, table_).rename(columns={"stage": "waiting"})
    return named[named["units"] > 0].sort_values(["margin", "units"], ascending=False, ignore_index=True)


@remembered()
def three_bases(asked: Asked) -> pd.DataFrame:
    """Give each month's returns as the three days count them.

    Columns: month, ordered, requested, refunded (units), paid (money).
    """
    keys = {
        "ordered": "returned_units",
        "requested": "confirmed_units",
        "refunded": "refunded_units",
        "paid": "refund_amount",
    }
    found = [by_month(asked, key).set_index("month")["value"].rename(name) for name, key in keys.items()]
    return pd.concat(found, axis=1, sort=False).sort_index().reset_index()


@remembered()
def rate_change(asked: Asked) -> pd.DataFrame:
    """Explain the change of a shop system's own figure: step, kind (total or step), amount (share)."""
    if asked.against is None or not _can_compare(asked):
        return pd.DataFrame(columns=["step", "kind", "amount"])
    found = metrics.rate_change(
        _open(asked.source), (asked.since, asked.until), asked.against, where=_where(asked, "ultimate_return_rate")
    )
    kind = ["total" if effect in ("previous", "current") else "step" for effect in found["effect"]]
    return found.rename(columns={"effect": "step", "points": "amount"}).assign(kind=kind)


@remembered()
def same_window(asked: Asked, *by: str) -> pd.DataFrame:
    """Compare both periods within the window both have lived through.

    Columns: label, value, previous, difference, low, high, is_within_noise, window_days.
    """
    if asked.against is None or not _can_compare(asked):
        return pd.DataFrame()
    found = metrics.same_window(
        _open(asked.source), (asked.since, asked.until), asked.against, by=by, where=_where(asked, "window_return_rate")
    )
    return found.rename(columns={by[0]: "label"}) if by and len(found) else found


@remembered()
def bridge(asked: Asked, name: str, column: str) -> pd.DataFrame:
    """Give the steps of one bridge of the reconciliation: step, kind, amount (units or value)."""
    found = _reconciliation(asked)
    mine = found[found["bridge"].eq(name) & found[column].notna()]
    kept = mine[mine["kind"].eq("total") | mine[column].ne(0)]
    return kept[["step", "kind", column]].rename(columns={column: "amount"}).reset_index(drop=True)


@remembered()
def _reconciliation(asked: Asked) -> pd.DataFrame:
    where = _where(asked, "confirmed_units", "returned_units", "refunded_units", "refund_amount")
    return metrics.reconciliation(_open(asked.source), (asked.since, asked.until), where=where)


@remembered()
def accrual(asked: Asked, *by: str) -> pd.DataFrame:
    """Give what to book at the last day of the view for returns not settled.

    The columns of metrics.accrual, the sum first, then the newest.
    """
    where = _where(asked, "returns_to_come_value")
    found = metrics.accrual(_open(asked.source), by=by, where=where, as_of=asked.until)
    if found.empty:
        return found
    return pd.concat([found.tail(1), found.iloc[:-1].sort_values(list(by), ascending=by[0] != "month")])


@remembered(ENTRIES // 8)
def accrual_backtest(asked: Asked) -> pd.DataFrame:
    """Lay what would have been booked some days ago beside what has come: the columns of metrics.accrual_backtest."""
    return metrics.accrual_backtest(_open(asked.source), where=_where(asked, "returns_to_come_value"))


@remembered()
def customers(asked: Asked) -> metrics.Concentration:
    """Say how returns gather on customers."""
    return metrics.customer_concentration(
        _open(asked.source), **_question(asked, "returned_units", "customer_concentration")
    )


@remembered()
def development(asked: Asked) -> pd.DataFrame:
    """Give each category's best known development curve: category, day, share."""
    _stands_alone(asked)
    curves = table(asked.source, "estimate_development_curve")
    curves = curves[~curves["is_dated"].astype(bool)]  # its days are not all days
    cell = ["source", "category", "channel", "window_days"]
    cells: pd.DataFrame = curves.groupby(cell, dropna=False)["returned"].max().reset_index()
    largest = cells.sort_values(by="returned", ascending=False).drop_duplicates("category")
    shown = curves.merge(largest[cell].head(8), on=cell)
    return shown[shown["day"] <= 100].sort_values(["category", "day"])


@remembered()
def flow(asked: Asked) -> pd.DataFrame:
    """Give the links from sold to what became of it: source, target, units."""
    found = metrics.flow(_open(asked.source), **_question(asked, "sold_units", "returned_units"))
    return found.rename(columns={"start": "source", "end": "target"})


@remembered()
def ranking(asked: Asked) -> pd.DataFrame:
    """Rank all styles by how surely they come back more than their category and by the money at stake."""
    found = metrics.product_ranking(_open(asked.source), **_question(asked, "product_return_rate"), limit=None)
    shared = found["name"].duplicated(keep=False)
    number_of = found["style_id"].str.replace(r"^.*:", "", regex=True)
    found["probability_above"] = found["probability_above"].clip(upper=ALMOST)
    return found.assign(name=found["name"].mask(shared, found["name"] + " " + number_of))


def first_ranked(ranked: pd.DataFrame, order: str) -> pd.DataFrame:
    """Give the first SHOWN_STYLES by "money" at stake, as they come, or by "relative" rate.

    Products of few units last in both.
    """
    if order == "relative":
        ranked = ranked.sort_values(["is_small", "relative"], ascending=[True, False], kind="stable", ignore_index=True)
    return ranked.head(SHOWN_STYLES)


def acted_on(asked: Source, ranked: pd.DataFrame) -> pd.DataFrame:
    """Lay the newest action about each style beside a ranking.

    Columns: action (its kind) and action_status, empty without one.
    """
    newest: dict[str, state.Action] = {}
    for action in actions(asked):
        for style in action.scope.get("style_id", ()):
            newest.setdefault(style, action)
    kinds = {style: action.kind for style, action in newest.items()}
    statuses = {style: action.status for style, action in newest.items()}
    return ranked.assign(
        action=looked_up(ranked["style_id"], kinds), action_status=looked_up(ranked["style_id"], statuses)
    )


@remembered(ENTRIES // 8)
def product(asked: Asked, style_id: str) -> metrics.ProductProfile:
    """Gather what the page of one style shows."""
    return metrics.product_profile(_open(asked.source), style_id, **_question(asked, "product_return_rate"))


def beside_category(frame: pd.DataFrame, label: str, value: str, usual: str, n: str) -> pd.DataFrame:
    """Name the columns of a part of a product's profile as a chart of it wants them.

    Columns: label, value, low, high, usual, n.
    """
    return frame.rename(columns={label: "label", value: "value", usual: "usual", n: "n"})


def noted(frame: pd.DataFrame, language: str) -> pd.DataFrame:
    """Say the themes of customers' notes in a language."""
    return frame.assign(theme=[note_label(theme, language) for theme in frame["theme"]])


@remembered()
def drift(asked: Asked) -> pd.DataFrame:
    """Say per category whether returns still arrive as the curve says."""
    _stands_alone(asked)
    return metrics.drift(_open(asked.source))


@remembered(ENTRIES // 8)
def backtest(asked: Asked, days_ago: int, by: str | None = None) -> pd.DataFrame:
    """Lay what would have been said so many days ago beside what has come, a month (and category) a row.

    The columns of metrics.backtest.
    """
    where = _where(asked, "ultimate_return_rate")
    found = metrics.backtest(_open(asked.source), days_ago=(days_ago,), by=by, where=where)
    return found[found["status"].eq("ok") & (found["maturity_then"] < BACK)].reset_index(drop=True)


# -- actions -----------------------------------------------------------------------------------------------------------


def actions(asked: Source) -> list[state.Action]:
    """List what people did, newest first; read anew each time."""
    return state.actions(Settings(warehouse=asked.warehouse))


def styles(asked: Source) -> dict[str, str]:
    """Give the names of styles, as `ranking` writes them."""
    products = table(asked, "dim_product")
    now = products[products["is_current"].astype(bool)].dropna(subset=["style_id"])
    return {str(k): str(v) for k, v in now.groupby("style_id")["name"].min().dropna().items()}


def action_list(asked: Source) -> pd.DataFrame:
    """Lay out what people did.

    Columns: action_id, kind, about, effective_on, owner, due_on, action_status, expected_money, note.
    """
    names = styles(asked)
    rows = [
        {
            "action_id": a.action_id,
            "kind": a.kind,
            "about": ", ".join(names.get(v, v) for values in a.scope.values() for v in values),
            "effective_on": a.effective_on,
            "owner": a.owner,
            "due_on": a.due_on,
            "action_status": a.status,
            "expected_money": a.expected_money,
            "note": a.note,
        }
        for a in actions(asked)
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "action_id",
            "kind",
            "about",
            "effective_on",
            "owner",
            "due_on",
            "action_status",
            "expected_money",
            "note",
        ],
    )


def measured(asked: Asked, kind: str, action_id: int | None = None) -> pipelines_actions.Measured:
    """Measure what followed one action, or all actions of a kind together, on what each was done to."""
    _stands_alone(asked)
    logged = actions(asked.source)
    return _measured(asked.source, tuple((a.action_id, a.updated_at) for a in logged), kind, action_id)


@remembered(ENTRIES // 8)
def _measured(
    asked: Source, logged: tuple[tuple[int, dt.datetime], ...], kind: str, action_id: int | None
) -> pipelines_actions.Measured:
    among = actions(asked)
    if action_id is None:
        return pipelines_actions.measure_kind(_open(asked), kind, among)
    one = next(a for a in among if a.action_id == action_id)
    return pipelines_actions.measure_action(_open(asked), one, among)


def suggested(asked: Asked) -> pd.DataFrame:
    """List what the catalogue says was done and nobody logged.

    Columns: style_id, kind, effective_on, before, after, products, name.
    """
    _stands_alone(asked)
    found = pipelines_actions.suggested_actions(_open(asked.source), actions(asked.source))
    return found.assign(name=looked_up(found["style_id"], styles(asked.source)))


def log_action(asked: Source, kind: str, style_ids: list[str], **values: Any) -> None:
    """Log what was done to styles; raises BackhaulError with what is wrong."""
    scope = {"style_id": style_ids}
    pipelines_actions.check_scope(_open(asked), kind, scope)
    state.log_action(Settings(warehouse=asked.warehouse), kind, scope, **values)


def finish_action(asked: Source, action_id: int, effective_on: dt.date | None) -> None:
    """Say that an open action is done, and since when; raises BackhaulError without a day."""
    state.update_action(Settings(warehouse=asked.warehouse), action_id, status="done", effective_on=effective_on)


def withdraw_action(asked: Source, action_id: int) -> None:
    """Take an action back: it is kept, and neither listed nor measured."""
    state.withdraw_action(Settings(warehouse=asked.warehouse), action_id)


@remembered()
def promise_states(asked: Asked, dimension: str = "promise_id") -> pd.DataFrame:
    """Count returns under promise per group.

    Columns: label, state, n, and a site's name; the least kept first, of many groups the largest.
    """
    if number(asked, "promise_kept").lacks:
        return pd.DataFrame(columns=["label", "state", "n"])
    found = metrics.promise_states(_open(asked.source), by=(dimension,), **_question(asked, "promise_kept"))
    found = found.rename(columns={dimension: "label"}).assign(label=lambda f: f["label"].fillna(""))
    states = ["kept", "broken", "undetermined", "expired"]
    found = found.loc[found[states].sum(axis=1).nlargest(SHOWN_GROUPS).index]
    order = (found["kept"] / (found["kept"] + found["broken"]).clip(lower=1)).sort_values().index
    long = found.loc[order, ["label", *states]].melt("label", var_name="state", value_name="n")
    if dimension == "place_id":
        places = table(asked.source, "dim_place").drop_duplicates("place_id").set_index("place_id")["name"]
        long["name"] = looked_up(long["label"], places)
    return long


@remembered()
def at_risk(asked: Asked) -> pd.DataFrame:
    """List open returns by the probability that they break a promise; the days of the view do not matter."""
    return _with_places(
        asked, metrics.worklist_at_risk(_open(asked.source), where=_where(asked, "breach_risk"), limit=EVERY_ROW)
    )


def _with_places(asked: Asked, work: pd.DataFrame) -> pd.DataFrame:
    """Name the site beside its id."""
    places = table(asked.source, "dim_place").drop_duplicates("place_id").set_index("place_id")["name"]
    return work.assign(place=looked_up(work["place_id"], places).fillna(work["place_id"]))


@remembered()
def due(asked: Asked) -> pd.DataFrame:
    """List open withdrawals due by law within five days or overdue; the days of the view do not matter."""
    return _with_places(
        asked, metrics.refunds_due(_open(asked.source), where=_where(asked, "refunds_due_soon"), limit=EVERY_ROW)
    )


@remembered()
def waterfall(asked: Asked) -> pd.DataFrame:
    """Give the steps from the gross margin of sales to what returns leave of it."""
    return metrics.waterfall(_open(asked.source), **_question(asked, "margin_erosion", "gross_margin"))


@remembered()
def erosion(asked: Asked) -> pd.DataFrame:
    """Give the margin lost per category and what became of the goods: label, part, value."""
    found = crossed(asked, "margin_erosion", "category", "outcome")[["category", "outcome", "value"]].set_axis(
        ["label", "part", "value"], axis=1
    )
    return found.assign(part=found["part"].fillna("waiting").replace("returned", "to_supplier"))


@remembered()
def by_status(asked: Asked, dimension: str) -> pd.DataFrame:
    """Give emissions per group and what they rest on: label, status, value (kg CO2e)."""
    found = crossed(asked, "kg_co2e", dimension, "data_status")[[dimension, "data_status", "value"]]
    return found.set_axis(["label", "status", "value"], axis=1).dropna(subset=["label"])


@remembered()
def lanes(asked: Asked) -> pd.DataFrame:
    """List lanes between places with coordinates, heaviest first; modes of one lane together."""
    found = metrics.lanes(_open(asked.source), **_question(asked, "lanes"))
    ends = [f"{end}_{part}" for end in ("from", "to") for part in ("name", "longitude", "latitude")]
    sums = found.groupby(ends, as_index=False)[["kg_co2e", "parcels", "legs"]].sum()
    return sums.sort_values("kg_co2e", ascending=False, ignore_index=True)


FORECASTS, FORECAST_CUTS = MEASURES, CUTS


@remembered()
def forecast(asked: Asked, measure: str, by: str) -> pd.DataFrame:
    """Forecast the next weeks under the filters; the period plays no part.

    Where the naive forecast is the better one it stands instead.
    """
    return metrics.shown(metrics.forecast(_open(asked.source), measure, by=by or None, where=_where(asked, "forecast")))


def forecast_sums(asked: Asked, measure: str, by: str) -> pd.DataFrame:
    """Sum the shown forecasts over the weeks, a row a group, the largest first.

    The interval of a sum is the weeks' added up, and so on the safe side.
    """
    found = forecast(asked, measure, by)
    sums = found.groupby("group", as_index=False).agg(
        value=("value", "sum"),
        low=("low", "sum"),
        high=("high", "sum"),
        error_ratio=("error_ratio", "first"),
        coverage=("coverage", "first"),
        is_shown=("is_shown", "first"),
    )
    sums.loc[~sums["is_shown"].astype(bool), ["value", "low", "high"]] = float("nan")
    return sums.sort_values("value", ascending=False, ignore_index=True)


@remembered()
def forward(asked: Asked, tried: metrics.Scenario) -> pd.DataFrame:
    """Give the next weeks of returned units under a scenario beside the forecast.

    Columns: week, value (with it), low, high, naive (as it is).
    """
    found = metrics.forward(_open(asked.source), tried, **_question(asked, "simulate"))
    return found.rename(columns={"value": "naive", "under": "value"})


def parameter(name: str) -> float:
    """Give a parameter of data/costs.csv by its name, what it applies to after a dot."""
    return factors.parameter(*name.partition(".")[::2])


@remembered()
def recent(asked: Asked, measure: str, by: str) -> pd.DataFrame:
    """List the last weeks of what is forecast."""
    return metrics.recent(_open(asked.source), measure, by=by or None, where=_where(asked, "forecast"))


@remembered()
def simulated(asked: Asked, tried: metrics.Scenario) -> pd.DataFrame:
    """Re-run the returns of the orders of the period."""
    return metrics.simulate(_open(asked.source), tried, **_question(asked, "simulate"))


def compared(asked: Asked) -> pd.DataFrame:
    """Lay the saved scenarios side by side.

    Name and the change of each outcome; empty where the selection cannot say.
    """
    rows = {}
    for name, tried in saved_scenarios(asked.source).items():
        try:
            rows[name] = simulated(asked, tried).set_index("outcome")["difference"]
        except BackhaulError:
            rows[name] = pd.Series(dtype=float)
    return pd.DataFrame(rows).T.round(6).add(0.0).rename_axis("name").reset_index()  # no minus before a zero


@remembered()
def pareto(asked: Asked) -> pd.DataFrame:
    """Try a grid of policies."""
    return metrics.pareto(_open(asked.source), **_question(asked, "simulate"))


def saved_scenarios(source: Source) -> dict[str, metrics.Scenario]:
    """Give the saved scenarios by name."""
    return scenarios.saved(Settings(source.warehouse))


def save_scenario(source: Source, name: str, tried: metrics.Scenario) -> None:
    """Keep a scenario under a name."""
    scenarios.save(Settings(source.warehouse), name, tried)


def read_scenario(given: dict[str, Any]) -> metrics.Scenario:
    """Read a scenario from what was chosen."""
    return metrics.read_scenario(given)


def behaviour(tried: metrics.Scenario) -> pd.DataFrame:
    """List what a scenario assumes of customers: parameter, value, low, high, notes."""
    rows = [factors.parameters()[name, ""] | {"parameter": name} for name in tried.assumes]
    frame = pd.DataFrame(rows, columns=["parameter", "value", "low", "high", "unit", "notes"])
    return frame.assign(**{c: frame[c].astype(float) for c in ("value", "low", "high")})


def carriers(asked: Asked) -> list[str]:
    """Name the return carriers of the selection."""
    return sorted(str(c) for c in by(asked, "confirmed_units", "carrier")["label"].dropna())


@remembered()
def plan(asked: Asked, carbon_price: float) -> metrics.Plan:
    """Assign the inspected goods of the orders of the period to their best routes."""
    return metrics.dispose(_open(asked.source), **_question(asked, "dispose"), carbon_price=carbon_price)


EROSION_CUTS = metrics.EROSION_CUTS


@remembered()
def erosion_by(asked: Asked, by: str) -> pd.DataFrame:
    """Cut the erosion of margin by what no metric knows, per unit sold and returned."""
    found = metrics.erosion_by(_open(asked.source), by, **_question(asked, "margin_erosion", "erosion_by"))
    if by == "style_id":
        found = found.assign(group=metrics.product_names(_open(asked.source), "style_id", found["group"]))
    return found.head(SHOWN_STYLES)


@remembered()
def churn_cost(asked: Asked) -> dict[str, float] | None:
    """Value what broken promises may cost in repeat orders."""
    _stands_alone(asked)
    return metrics.churn_cost(_open(asked.source))


@remembered()
def cost_tornado(asked: Asked) -> pd.DataFrame:
    """Say what each assumed parameter does to the cost of returns."""
    return metrics.cost_tornado(_open(asked.source), **_question(asked, "return_cost")).head(10)


@remembered()
def claims(asked: Asked) -> pd.DataFrame:
    """List lost parcels to claim."""
    return metrics.claims(_open(asked.source), **_question(asked, "claims_open_amount"))


@remembered()
def lost_sales(asked: Asked) -> pd.DataFrame:
    """Estimate the margin missed while goods were away."""
    return metrics.lost_sales(_open(asked.source), **_question(asked, "lost_sales"))


@remembered()
def repeat_rates(asked: Asked) -> pd.DataFrame:
    """Say how many customers ordered again, by what became of their order."""
    _stands_alone(asked)
    return metrics.repeat_rates(_open(asked.source))


@remembered()
def markdown_curve(asked: Asked) -> pd.DataFrame:
    """Estimate what goods lose a week."""
    _stands_alone(asked)
    return metrics.markdown_curve(_open(asked.source))


@remembered()
def recovery_rates(asked: Asked) -> pd.DataFrame:
    """List what dispositions fetch, measured."""
    _stands_alone(asked)
    return metrics.recovery_rates(_open(asked.source))


@remembered()
def tornado(asked: Asked) -> pd.DataFrame:
    """List what the total's interval rests on, widest first: source, low, high (kg CO2e), share of the variance."""
    found = metrics.tornado(_open(asked.source), **_question(asked, "kg_co2e"))
    return found[found["share"] >= DOUBTED].head(SHOWN_DOUBTS)


@remembered()
def parcels(asked: Asked) -> pd.DataFrame:
    """Count parcels by what they emit, all in."""
    return metrics.parcels(_open(asked.source), **_question(asked, "parcels"))


@remembered()
def levers(asked: Asked) -> pd.DataFrame:
    """List levers on the returns of the period."""
    return metrics.levers(_open(asked.source), **_question(asked, "levers"))


def lever_kg(found: pd.DataFrame) -> pd.DataFrame:
    """Give each lever's kilograms: label, value."""
    return found.rename(columns={"lever": "label", "kg_co2e": "value"})[["label", "value"]].dropna()


@remembered()
def emission_causes(asked: Asked) -> pd.DataFrame:
    """Split the change of emissions per 100 units sold against the days compared with; empty where there are none."""
    if not _can_compare(asked) or asked.against is None:
        return pd.DataFrame()
    where = _where(asked, "kg_co2e_per_100_sold", "change_split")
    return metrics.change_split(
        _open(asked.source), period=(asked.since, asked.until), against=asked.against, where=where
    )


@remembered()
def fates(asked: Asked) -> pd.DataFrame:
    """Give the share of each fate of inspected goods, counted by units, weight and value: label, part, value."""
    found = []
    for counted, key in (("value", "fate_value_share"), ("weight", "fate_weight_share"), ("units", "fate_share")):
        known = cut(asked, key, "disposition")
        known = known[known["status"] == "ok"].dropna(subset=["disposition"])
        found.append(known.assign(label=counted).rename(columns={"disposition": "part"})[["label", "part", "value"]])
    whole = pd.concat(found, ignore_index=True)
    order = {d: i for i, d in enumerate(schema.DISPOSITIONS)}
    return whole.sort_values("part", key=lambda s: s.map(order), ignore_index=True)


def activities(asked: Asked) -> list[str]:
    """Name the activities that emitted."""
    return [str(a) for a in by(asked, "kg_co2e", "activity")["label"].dropna()]


def closed_months(asked: Asked) -> pd.DataFrame:
    """List closed months with what they would be now, newest first."""
    _stands_alone(asked)
    return closing.restatements(Settings(asked.source.warehouse)).iloc[::-1].reset_index(drop=True)


def obligations(source: Source) -> pd.DataFrame:
    """List the rules of reporting for the company as of the last day of the data."""
    settings = Settings(source.warehouse)
    found = disclosure.obligations(disclosure.company(settings), days(source)[1])
    return pd.DataFrame([asdict(o) for o in found])


def has_company(source: Source) -> bool:
    """Say whether somebody said who reports."""
    return disclosure.company(Settings(source.warehouse)) is not None


def carbon_report(asked: Asked, form: str) -> bytes:
    """Write the carbon report of the period as xlsx or pdf."""
    found = report.gather(Settings(asked.source.warehouse), asked.since, asked.until)
    return report.to_xlsx(found) if form == "xlsx" else report.to_pdf(found)


@remembered()
def legs(asked: Asked, activity: str = "") -> pd.DataFrame:
    """List the newest legs behind the emissions, or those of one activity, with their ids."""
    where = _where(asked, "kg_co2e") | ({"activity": [activity]} if activity else {})
    return metrics.rows(_open(asked.source), "kg_co2e", where=where, since=asked.since, until=asked.until, limit=200)


def trace(asked: Source, leg_id: str) -> dict[str, Any]:
    """Trace one leg: formula, numbers, factor, source."""
    return metrics.trace(_open(asked), leg_id)


# -- the rows behind, and files ----------------------------------------------------------------------------------------

MIME = export.MIME
FILES = tuple(MIME)
FILE_ROWS = export.LIMIT
_STEPS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "booked": ("gross_margin", {}, None),
    "margin_reversed": ("margin_reversed", {}, None),
    "left": ("margin_erosion", {}, None),
}
_OUTCOMES = {"waiting": None, "to_supplier": "returned"}


def parts(key: str) -> tuple[str, ...]:
    """List the parts of a metric that have rows."""
    return metrics.PARTS if metric(key).denominator else metrics.PARTS[:1]


def _rows_of(asked: Asked, key: str, part: str, at: At, is_dated: bool) -> tuple[str, dict[str, Any]]:
    """Give the metric and the question whose rows are those of a mark."""
    chosen: dict[str, Any] = {name: [value] for name, value in at}
    basis = None
    if "state" in chosen and key == "promise_kept":
        key, part = f"promise_{chosen.pop('state')[0]}", metrics.PARTS[0]
    if "step" in chosen:
        step = chosen.pop("step")[0]
        key, more, basis = _STEPS.get(step, ("return_cost", {"component": [step]}, "order"))
        chosen |= more
    if "outcome" in chosen:
        chosen["outcome"] = [_OUTCOMES.get(v, v) for v in chosen["outcome"]]
    whole = metric(key).whole
    if part == metrics.PARTS[1] and whole is not None:
        chosen = {n: v for n, v in chosen.items() if n == "month" or (whole and n not in whole)}
    question: dict[str, Any] = {"part": part, "basis": basis, "where": {**_where(asked, key), **chosen}}
    return key, question | ({"since": asked.since, "until": asked.until} if is_dated else {})


def key_of(asked: Asked, key: str, at: At) -> str:
    """Give the metric whose rows are those of a mark.

    A promise's state and a step of the margin are metrics of their own.
    """
    return _rows_of(asked, key, metrics.PARTS[0], at, True)[0]


@remembered(ENTRIES // 8)
def rows(asked: Asked, key: str, part: str, at: At, is_dated: bool, limit: int) -> pd.DataFrame:
    """List the newest rows behind a part of a metric, or behind one mark of a chart of it."""
    key, question = _rows_of(asked, key, part, at, is_dated)
    return metrics.rows(_open(asked.source), key, limit=limit, **question)


@remembered()
def rows_total(asked: Asked, key: str, part: str, at: At, is_dated: bool) -> tuple[int, float]:
    """Count those rows and add up what they count."""
    key, question = _rows_of(asked, key, part, at, is_dated)
    return metrics.rows_total(_open(asked.source), key, **question)


def file_of_rows(
    asked: Asked, title: str, key: str, part: str, at: At, is_dated: bool, form: str, language: str
) -> bytes:
    """Write those rows to a file of a format, with their context and checksum."""
    build = _open(asked.source)
    total, _ = rows_total(asked, key, part, at, is_dated)
    key, question = _rows_of(asked, key, part, at, is_dated)
    found = metrics.rows(build, key, limit=FILE_ROWS, **question)
    about = export.About(
        title, (key,), total=total, language=language, translated=Words(language).translated, **question
    )
    return export.to_bytes(found, export.context(build, about, len(found)), form, language)


def file_of_seen(
    asked: Asked, title: str, behind: Behind | None, frame: pd.DataFrame, form: str, language: str
) -> bytes:
    """Write what a chart or table shows to a file of a format, with its context and checksum.

    Numbers are not rounded.
    """
    build = _open(asked.source)
    about = export.About(title, language=language, translated=Words(language).translated)
    if behind is not None:
        about = replace(about, metrics=(behind.key, *behind.also), by=behind.by, where=dict(asked.where))
        if behind.is_dated:
            about = replace(about, since=asked.since, until=asked.until, against=asked.against)
        if behind.by and "label" in frame and behind.by[0] not in frame:
            frame = frame.rename(columns={"label": behind.by[0]})
    return export.to_bytes(frame, export.context(build, about, len(frame)), form, language)


def numbers(asked: Asked, *keys: str) -> pd.DataFrame:
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


MOVEMENTS = (
    ("ultimate_return_rate", "category", "returns"),
    ("ultimate_return_rate", "country", "returns"),
    ("promise_kept", "carrier", "promises"),
    ("promise_kept", "country", "promises"),
    ("days_to_refund", "carrier", "promises"),
    ("sales_share", "category", "returns"),
    ("resold_as_new_share", "category", "emissions"),
)


@remembered()
def moved(asked: Asked) -> tuple[tuple[str, str, str, str, Change], ...]:
    """List the changes beyond noise, most certain first: metric, dimension, group, page, change."""
    if not _can_compare(asked):
        return ()
    found = []
    for key, dimension, page in MOVEMENTS:
        for _, row in changes(asked, key, dimension).iterrows():
            change_of = as_change(row)
            if change_of is not None and change_of.is_within_noise is False and row["n"] >= 30:
                found.append((key, dimension, str(row[dimension]), page, change_of))
    return tuple(found)


@remembered(1)
def outlines() -> list[list[list[float]]]:
    """Read the outlines of countries: lines of longitude and latitude."""
    lines: list[list[list[float]]] = json.loads(Path(__file__).with_name("outlines.json").read_text(encoding="utf-8"))[
        "lines"
    ]
    return lines


# -- policies ----------------------------------------------------------------------------------------------------------


@remembered()
def policy_versions(asked: Source) -> pd.DataFrame:
    """List the versions of policies, newest first."""
    return policies.versions(_open(asked)).rename(columns={"market": "country"})


def policy_names(asked: Source) -> dict[str, str]:
    """Name each version: "policy-FR@2025-01-01" -> "policy-FR, 2025-01-01"; those in force first."""
    found = policy_versions(asked).sort_values("valid_to", na_position="first", kind="stable")
    return {
        f"{p.split(':', 1)[1]}@{d}": f"{p.split(':', 1)[1]} · {d}"
        for p, d in zip(found["policy_id"], found["valid_from"], strict=True)
    }


@remembered()
def policy(asked: Source, version: str) -> policies.Policy:
    """Give one version by the name `policy_names` keys it with."""
    name, _, day = version.rpartition("@")
    return policies.published(_open(asked), name, dt.date.fromisoformat(day))


def policy_promises(asked: Source, version: str) -> pd.DataFrame:
    """List the promises of a version: promise_id, from_stage, to_stage, duration, duration_unit, responsible."""
    return promise_frame(policy(asked, version))


def promise_frame(chosen: policies.Policy) -> pd.DataFrame:
    """Lay the promises of a policy out, one a row."""
    names = ["promise_id", "from_stage", "to_stage", "duration", "duration_unit", "responsible"]
    return pd.DataFrame([asdict(p) for p in chosen.promises], columns=names)


def policy_changes(asked: Source, one: str, other: str) -> pd.DataFrame:
    """List what differs between two versions: field, first, second."""
    found = policies.compare(policy(asked, one), policy(asked, other))
    return pd.DataFrame(found, columns=["field", "first", "second"])


def new_policy(asked: Source, version: str | None) -> policies.Policy:
    """Give a version to begin a new one from, or an empty policy."""
    build = _open(asked)
    if version is not None:
        return policies.renewed(policy(asked, version), build)
    return policies.renewed(policies.Policy("policy", days(asked)[1], 30), build)


def policy_problems(asked: Source, given: policies.Policy) -> list[policies.Problem]:
    """List what stops a policy, and what should be thought about."""
    return policies.check(_open(asked), given)


def drafts(asked: Source) -> dict[int, str]:
    """List the drafts that are still written on: number and text."""
    found = state.drafts(Settings(warehouse=asked.warehouse))
    return dict(zip(found["draft_id"].astype(int), found["text"], strict=True))


def save_draft(asked: Source, given: policies.Policy, number: int | None) -> int:
    """Keep a policy as a draft."""
    return state.save_draft(Settings(warehouse=asked.warehouse), policies.text(given), number)


def withdraw_draft(asked: Source, number: int) -> None:
    """Take a draft back; it stays on record."""
    state.end_draft(Settings(warehouse=asked.warehouse), number, "withdrawn")


def publish_policy(asked: Source, given: policies.Policy, number: int | None) -> str:
    """Publish a policy as a new version, by a load; gives the build. Raises PolicyError and what a load raises."""
    settings = Settings(warehouse=asked.warehouse)
    report = policies.publish(settings, [given], _open(asked))
    if number is not None:
        state.end_draft(settings, number, "published", report.build_id)
    return report.build_id or ""


def written_policy(options: dict[str, Any], edited: pd.DataFrame) -> policies.Policy:
    """Make a policy of what stands in a form; rows that are not whole yet are left out."""
    whole = edited.dropna()
    promises = tuple(
        policies.Promise(str(r[0]), str(r[1]), str(r[2]), float(r[3]), str(r[4]), str(r[5]))
        for r in whole.itertuples(index=False)
    )
    return policies.Policy(**options, promises=promises)


def policy_of_text(text: str) -> policies.Policy:
    """Read a draft back."""
    return policies.parse(text)[0]


# -- the build itself --------------------------------------------------------------------------------------------------


@remembered()
def days(asked: Source) -> tuple[dt.date, dt.date]:
    """Give the first day of orders, of returns where there is no order, and the last day anything was heard of.

    The last year when nothing was.
    """
    build = _open(asked)
    ordered, requested = STAR.tables["fact_order_line"].c.ordered_on, STAR.tables["fact_return_line"].c.requested_on
    spans = [build.fetch(select(func.min(c).label("first"), func.max(c).label("last"))) for c in (ordered, requested)]
    first, last = (pd.concat([span[name] for span in spans]).dropna() for name in ("first", "last"))
    heard = build.info.get("observed_until")
    until = max([*last[:1], *([pd.Timestamp(heard)] if heard else [])], default=pd.Timestamp(dt.date.today()))
    return (first.iloc[0] if len(first) else until - pd.Timedelta(days=364)).date(), until.date()


def currency(asked: Source) -> str:
    """Give the reporting currency."""
    return _open(asked).info.get("reporting_currency", "EUR")


def own_dimensions(asked: Source) -> list[str]:
    """List the shop's own dimensions, by name."""
    return sorted(metrics.own_dimensions(_open(asked)))


@remembered()
def values(asked: Source, dimension: str) -> list[str]:
    """List the values of a dimension that sales or returns have, for a filter."""
    if dimension in own_dimensions(asked):
        return metrics.dimension_values(_open(asked), dimension)
    key = next(key for key in ("sold_units", "confirmed_units") if dimension in metrics.dimensions(key, _open(asked)))
    found = metrics.answer(_open(asked), key, by=(dimension,))
    names = {str(value) for value in found.loc[found["n"] > 0, dimension] if not pd.isna(value) and value != ""}
    return sorted(names, key=lambda name: (int(name) if name.isdigit() else 0, name))


@remembered()
def table(asked: Source, name: str) -> pd.DataFrame:
    """Read a small table of the build whole."""
    return _open(asked).fetch(select(STAR.tables[name]))


@remembered()
def missing(asked: Source) -> tuple[unlocks.Missing, ...]:
    """List the kinds of fact that some number waits for, those first that unlock most."""
    return tuple(unlocks.missing(_open(asked)))


def waiting(asked: Source) -> set[str]:
    """Give the numbers that no source can fill."""
    return {key for one in missing(asked) for key in (*one.numbers, *one.later)}


def lacking(asked: Source, *facts: str) -> tuple[str, ...]:
    """Give those of these kinds of fact that no source fills."""
    return unlocks.lacking(_open(asked), *facts)


def requests(words: Words, facts: Iterable[str]) -> list[tuple[str, str]]:
    """Write what to send to whom to get these kinds of fact: who has them, and the text."""
    return [
        (words.either(*unlocks.OWNERS[owner]), text) for owner, text in unlocks.requests(facts, words.language).items()
    ]


def trust(asked: Source) -> Trust:
    """Say how far the build can be trusted."""
    found, aside = checks(asked), quarantine(asked)
    return Trust(days(asked)[1], int(aside["rows"].sum()), int((found["rows"] > 0).sum()), len(waiting(asked)))


# what loads write changes without a new build: read anew each time


def loads(asked: Source) -> pd.DataFrame:
    """List loads with the rows read, accepted, duplicate and quarantined."""
    return state.loads(Settings(warehouse=asked.warehouse))


def quarantine(asked: Source) -> pd.DataFrame:
    """Count quarantined rows by rule."""
    return state.quarantine_by_rule(Settings(warehouse=asked.warehouse))


def unread_fields(asked: Source) -> pd.DataFrame:
    """Count fields that could not be read, of accepted rows."""
    return state.unread_fields(Settings(warehouse=asked.warehouse))


def checks(asked: Source) -> pd.DataFrame:
    """List what each check found."""
    return state.check_results(Settings(warehouse=asked.warehouse))


def lasting_alerts(asked: Source) -> pd.DataFrame:
    """List the alerts that last, newest first, with their rules."""
    return alerts.alerts(Settings(warehouse=asked.warehouse))


def builds(asked: Source) -> pd.DataFrame:
    """List builds with the rows of each table and what changed."""
    return state.builds(Settings(warehouse=asked.warehouse))
