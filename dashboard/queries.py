"""One function a question, remembered by build and filters. Each asks `pipelines.metrics`; nothing is drawn here.

A build never changes, so an answer holds as long as its build is read. Memories are bounded. Frames are shared: read, never change.
"""

import datetime as dt
import json
import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import func, select

from pipelines import metrics, state
from pipelines.errors import UnknownDimension
from pipelines.metrics import Metric, lists
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build, current_id
from pipelines.warehouse.engine import Build
from pipelines.warehouse.schema import STAR

ENTRIES = 512
BUILDS = 3


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


@dataclass(frozen=True)
class Number:
    """One answer: a value with its interval and count, or why it is not known: a reason, and the kinds of fact it lacks."""

    value: float
    low: float
    high: float
    n: float
    unit: str
    status: str
    reason: str
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """A value against an earlier one; `is_within_noise` is None where the number has no interval."""

    value: float
    previous: float
    difference: float
    low: float
    high: float
    is_within_noise: bool | None
    unit: str


@dataclass(frozen=True)
class Trust:
    """How far a build can be trusted: its days, rows set aside, checks that found something, numbers that wait for data."""

    last_day: dt.date
    set_aside: int
    failed_checks: int
    greyed: int


_builds: dict[Source, Build] = {}
_lock = threading.Lock()


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
            _builds[asked] = current_build(asked.warehouse)
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


def ignored(asked: Asked, key: str) -> list[str]:
    """List the filters a metric cannot be cut by."""
    possible = metrics.dimensions(key)
    return [dimension for dimension, _ in asked.where if dimension not in possible]


def _question(asked: Asked, key: str) -> dict[str, Any]:
    skipped = ignored(asked, key)
    where = {dimension: list(values) for dimension, values in asked.where if dimension not in skipped}
    return {"where": where, "since": asked.since, "until": asked.until}


@lru_cache(maxsize=ENTRIES)
def cut(asked: Asked, key: str, *by: str) -> pd.DataFrame:
    """Answer a metric per group."""
    return metrics.answer(_open(asked.source), key, by=by, **_question(asked, key))


def number(asked: Asked, key: str) -> Number:
    """Answer a metric over the period."""
    row = cut(asked, key).iloc[0]
    lacks: tuple[str, ...] = ()
    if row["status"] != "ok" and str(row["reason"]).startswith("needs "):
        missing = metrics.lacking(_open(asked.source), metric(key).needs)
        lacks = tuple(dict.fromkeys(fact for facts in missing.values() for fact in facts))
    return Number(*(float(row[c]) for c in ("value", "low", "high", "n")), str(row["unit"]), str(row["status"]), str(row["reason"]), lacks)


@lru_cache(maxsize=ENTRIES)
def changes(asked: Asked, key: str, *by: str) -> pd.DataFrame:
    """Compare a metric with the earlier days, per group."""
    question = _question(asked, key)
    period = (question.pop("since"), question.pop("until"))
    return metrics.compare(_open(asked.source), key, period=period, against=asked.against or period, by=by, **question)


def change(asked: Asked, key: str) -> Change | None:
    """Compare a metric with the earlier days; None where there is nothing to compare with."""
    if asked.against is None or asked.against[1] < days(asked.source)[0]:
        return None
    return as_change(changes(asked, key).iloc[0])


def answers(asked: Asked, *keys: str) -> dict[str, tuple[Number, Change | None]]:
    """Answer several metrics, each with its change."""
    return {key: (number(asked, key), change(asked, key)) for key in keys}


def as_change(row: Any) -> Change | None:
    """Read one row of a comparison; None where one of the two is not known."""
    if row["status"] != "ok":
        return None
    noise = None if pd.isna(row["is_within_noise"]) else bool(row["is_within_noise"])
    return Change(*(float(row[c]) for c in ("value", "previous", "difference", "low", "high")), noise, str(row["unit"]))


def by(asked: Asked, key: str, dimension: str) -> pd.DataFrame:
    """Answer a metric per group, known ones only: label, value, low, high, n."""
    if dimension not in metrics.dimensions(key):
        return cut(asked, key).iloc[:0].assign(label=[])
    found = cut(asked, key, dimension).rename(columns={dimension: "label"})
    return found[found["status"] == "ok"]


def by_month(asked: Asked, key: str) -> pd.DataFrame:
    """Answer a metric per month: month, value, low, high, n, status; NaN where it is not known."""
    found = cut(asked, key, "month").rename(columns={"month": "month"})
    return found.sort_values("month", ignore_index=True)


def crossed(asked: Asked, key: str, *dimensions: str) -> pd.DataFrame:
    """Answer a metric per pair of groups, known ones only."""
    found = cut(asked, key, *dimensions)
    return found[found["status"] == "ok"]


def has_rows(asked: Asked) -> bool:
    """Say whether any sale or return is left under the filters."""
    return any(number(asked, key).n > 0 for key in ("sold_units", "confirmed_units"))


def to_relax(asked: Asked) -> list[str]:
    """List the filters without which rows would be left."""
    fewer = {dimension: replace(asked, where=tuple(w for w in asked.where if w[0] != dimension)) for dimension, _ in asked.where}
    return [dimension for dimension, rest in fewer.items() if has_rows(rest)]


# -- what a page shows -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=ENTRIES)
def cohorts(asked: Asked) -> pd.DataFrame:
    """Give each month's observed and expected final rate: month, n, observed, value, low, high, maturity."""
    final = by_month(asked, "ultimate_return_rate")[["month", "value", "low", "high", "n"]]
    so_far = by_month(asked, "observed_return_rate")[["month", "value"]].rename(columns={"value": "observed"})
    back = by_month(asked, "maturity")[["month", "value"]].rename(columns={"value": "maturity"})
    return final.merge(so_far, on="month", how="outer").merge(back, on="month", how="outer").sort_values("month", ignore_index=True)


@lru_cache(maxsize=ENTRIES)
def stages(asked: Asked) -> pd.DataFrame:
    """Give each stage's waits in days: stage, p50, p90, low, high."""
    half = by(asked, "stage_days(0.5)", "stage")[["label", "value"]].rename(columns={"label": "stage", "value": "p50"})
    most = by(asked, "stage_days(0.9)", "stage")[["label", "value", "low", "high"]].rename(columns={"label": "stage", "value": "p90"})
    return half.merge(most, on="stage")


MOVEMENTS = (
    ("ultimate_return_rate", "category", "returns"),
    ("ultimate_return_rate", "country", "returns"),
    ("promise_kept", "carrier", "promises"),
    ("promise_kept", "country", "promises"),
    ("days_to_refund", "carrier", "promises"),
    ("sales_share", "category", "overview"),
    ("resold_as_new_share", "category", "emissions"),
)


@lru_cache(maxsize=ENTRIES)
def moved(asked: Asked) -> tuple[tuple[str, str, str, str, Change], ...]:
    """List the changes beyond noise, most certain first: metric, dimension, group, page, change."""
    if asked.against is None or asked.against[1] < days(asked.source)[0]:
        return ()
    found = []
    for key, dimension, page in MOVEMENTS:
        for _, row in changes(asked, key, dimension).iterrows():
            change_of = as_change(row)
            if change_of is not None and change_of.is_within_noise is False and row["n"] >= 30:
                found.append((key, dimension, str(row[dimension]), page, change_of))
    return tuple(found)


@lru_cache(maxsize=1)
def outlines() -> list[list[list[float]]]:
    """Read the outlines of countries: lines of longitude and latitude."""
    lines: list[list[list[float]]] = json.loads(Path(__file__).with_name("outlines.json").read_text(encoding="utf-8"))["lines"]
    return lines


# -- the build itself --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=ENTRIES)
def days(asked: Source) -> tuple[dt.date, dt.date]:
    """Give the first day of orders and the last day anything was heard of."""
    build = _open(asked)
    orders = STAR.tables["fact_order_line"]
    row = build.fetch(select(func.min(orders.c.ordered_on).label("first"), func.max(orders.c.ordered_on).label("last"))).iloc[0]
    known = [pd.Timestamp(day) for day in (row["last"], build.info.get("observed_until")) if day is not None and not pd.isna(day)]
    last = max(known) if known else pd.Timestamp(dt.date.today())
    first = row["first"] if not pd.isna(row["first"]) else last - pd.Timedelta(days=364)
    return pd.Timestamp(first).date(), last.date()


def currency(asked: Source) -> str:
    """Give the reporting currency."""
    return _open(asked).info.get("reporting_currency", "EUR")


@lru_cache(maxsize=ENTRIES)
def values(asked: Source, dimension: str) -> list[str]:
    """List the values of a dimension, for a filter."""
    try:
        found = metrics.dimension_values(_open(asked), dimension)
    except UnknownDimension:
        return []
    return sorted(found, key=int) if all(v.isdigit() for v in found) else found


@lru_cache(maxsize=ENTRIES)
def table(asked: Source, name: str) -> pd.DataFrame:
    """Read a small table of the build whole."""
    return _open(asked).fetch(select(STAR.tables[name]))


@lru_cache(maxsize=ENTRIES)
def waiting(asked: Source) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """List the numbers that no source can fill, and the kinds of fact they lack."""
    found = []
    for one in metrics.catalogue():
        missing = metrics.lacking(_open(asked), one.needs)
        if missing and all(missing.values()):
            found.append((one.key, tuple(dict.fromkeys(fact for facts in missing.values() for fact in facts))))
    return tuple(found)


def trust(asked: Source) -> Trust:
    """Say how far the build can be trusted."""
    found, aside = checks(asked), quarantine(asked)
    return Trust(days(asked)[1], int(aside["rows"].sum()), int((found["rows"] > 0).sum()), len(waiting(asked)))


# what loads write changes without a new build: read anew each time


def loads(asked: Source) -> pd.DataFrame:
    """List loads with the rows read, accepted, duplicate and set aside."""
    return state.loads(Settings(warehouse=asked.warehouse))


def quarantine(asked: Source) -> pd.DataFrame:
    """Count rows set aside by rule."""
    return state.quarantine_by_rule(Settings(warehouse=asked.warehouse))


def checks(asked: Source) -> pd.DataFrame:
    """List what each check found."""
    return state.check_results(Settings(warehouse=asked.warehouse))


def builds(asked: Source) -> pd.DataFrame:
    """List builds with the rows of each table and what changed."""
    return state.builds(Settings(warehouse=asked.warehouse))
