"""The sums behind a question, from sums by day that are read once a build.

A statistic is additive, so what some days, months or values of a filter need is a sum of what each day and each value
has. A page asks one number of the days it shows, of those before, of each month and under each filter: the fact is
scanned once for all of them. What is no such sum, or too long to keep, is asked as it stands. No metric is declared
here, and nothing is estimated: the same rows are added up in another order.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, or_

from pipelines.metrics.compiler import check_dimensions, chosen_sums, statement
from pipelines.metrics.declare import BoundQuestion, Measure, Sum, always
from pipelines.metrics.question import time_grain
from pipelines.warehouse.engine import Build
from pipelines.warehouse.rules import Sql

MOST_DIMENSIONS = 2  # that sums by day are kept by, the filter among them; more are too many groups to be worth it
MOST_ROWS = 100_000  # of the sums by day of one question
MOST_BYTES = 96 * 2**20  # of all that a build keeps
SHORT = frozenset({"state", "is_from_return", "clock_day", "stage"})
"""Details that have few values a day; what is grouped by others is summed as asked, unless a `wrap` sums it up."""
_PERIODS = {"week": "W", "month": "M", "quarter": "Q", "year": "Y"}

Of = Callable[[BoundQuestion], Select[Any]]


class Days:
    """Sums by day that were read of a build, those used last; None stands for what is too long to keep."""

    def __init__(self) -> None:
        self.bytes = 0
        self._kept: OrderedDict[Hashable, tuple[pd.DataFrame | None, int]] = OrderedDict()
        self._lock = Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable) -> "pd.DataFrame | None":
        """Give the sums that were kept under a key."""
        with self._lock:
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def keep(self, key: Hashable, frame: "pd.DataFrame | None") -> None:
        """Keep sums; those used longest ago make room."""
        size = 100 if frame is None else int(frame.memory_usage(deep=True).sum())
        with self._lock:
            self.bytes += size - self._kept.pop(key, (None, 0))[1]
            self._kept[key] = frame, size
            while self.bytes > MOST_BYTES and len(self._kept) > 1:
                self.bytes -= self._kept.popitem(last=False)[1][1]


def statistics_of(build: Build, ask: BoundQuestion) -> pd.DataFrame:
    """Give what `statement` selects: groups, details, then one column a measure. Raises as it does."""
    check_dimensions(ask.metric, [*ask.by, *ask.where], ask.own)
    if not _is_kept(ask):
        return build.fetch(statement(ask))
    return summed(build, ask, statement, _of_metric(ask), [m.name for m in ask.metric.measures])


def _is_kept(ask: BoundQuestion) -> bool:
    """Say whether a metric's statistics are additive and have few details a day."""
    is_short = ask.metric.wrap is not None or SHORT.issuperset(ask.details)
    return is_short and not any(s.distinct for s in chosen_sums(ask))


def _of_metric(ask: BoundQuestion) -> Hashable:
    return ask.metric.measures, ask.details, ask.metric.wrap


def _key(name: Hashable, asked: BoundQuestion) -> Hashable:
    return name, asked.by, repr(asked.where), asked.on, repr(asked.scope), asked.sources


def read_together(build: Build, asks: Sequence[BoundQuestion]) -> None:
    """Read what several questions need in one scan of each fact, where they ask by the same and under the same.

    What is asked next of any of them is added up of what was read.
    """
    kept: Days = build.cache.setdefault("days", Days())
    alike: dict[Hashable, dict[Hashable, tuple[BoundQuestion, BoundQuestion]]] = {}
    for ask in asks:
        check_dimensions(ask.metric, [*ask.by, *ask.where], ask.own)
        asked = _by_day(ask) if _is_kept(ask) else None
        if asked is None:
            continue
        key = _key(_of_metric(ask), asked)
        if key not in kept:
            shape = (asked.by, repr(asked.where), asked.on, repr(asked.scope), asked.sources, asked.details)
            alike.setdefault((shape, ask.metric.wrap), {})[key] = ask, asked
    for several in alike.values():
        if len(several) > 1:
            _read(build, kept, several)


def _read(build: Build, kept: Days, several: dict[Hashable, tuple[BoundQuestion, BoundQuestion]]) -> None:
    """Read questions of one shape in one statement; of each its own columns in the rows that it has."""
    names: dict[Measure, str] = {}
    measures: list[Measure] = []
    for at, (_, asked) in enumerate(several.values()):
        for m in asked.metric.measures:
            if m not in names:
                names[m] = f"sum_{len(names)}"
                measures.append(Measure(names[m], (tuple(chosen_sums(asked, m.name)),)))
        measures.append(Measure(f"counts_{at}", (_any_of(chosen_sums(asked)),)))
    one = next(iter(several.values()))[1]
    whole = build.fetch(statement(replace(one, metric=replace(one.metric, measures=tuple(measures)))))
    made = {m.name for m in measures}
    for at, (key, (_, asked)) in enumerate(several.items()):
        rows = whole[whole[f"counts_{at}"].fillna(0).to_numpy(float) > 0]
        columns = {names[m]: m.name for m in asked.metric.measures}
        others = [c for c in whole if c not in made]
        found = rows[[*others, *columns]].rename(columns=columns).reset_index(drop=True)
        kept.keep(key, found if len(found) <= MOST_ROWS else None)


def _any_of(sums: Sequence[Sum]) -> tuple[Sum, ...]:
    """Count the rows that any of some sums counts, base by base."""
    by_base: dict[str, list[Sum]] = {}
    for s in sums:
        by_base.setdefault(s.base.name, []).append(s)

    def holds(mine: list[Sum]) -> Sql | None:
        if any(s.when is None and not s.of_orders for s in mine):
            return None
        return lambda now: or_(*(s.condition(now) for s in mine))

    return tuple(Sum(mine[0].base, always, holds(mine)) for mine in by_base.values())


def summed(build: Build, ask: BoundQuestion, of: Of, name: Hashable, columns: Sequence[str]) -> pd.DataFrame:
    """Give the rows of a SELECT of additive columns in the groups of a question, and in what else it groups by.

    `of` writes it for a question, `name` tells it from others. A row whose column `any__x` holds is of every value of
    the dimension x.
    """
    kept: Days = build.cache.setdefault("days", Days())
    asked = _by_day(ask)
    if asked is None:
        return build.fetch(of(ask))
    key = _key(name, asked)
    if key in kept:
        found = kept.get(key)
        if found is None:
            return build.fetch(of(ask))
    else:
        found = build.fetch(of(asked))
        kept.keep(key, found if len(found) <= MOST_ROWS else None)
    return _of_days(found, ask, asked, list(columns))


def _by_day(ask: BoundQuestion) -> BoundQuestion | None:
    """Ask for each day, and each value of a single filter; None where too much would be read for that."""
    if ask.as_of is not None or ask.is_fine or any(time_grain(name) for name in ask.where):
        return None
    dimensions = [name for name in ask.by if not time_grain(name)]
    where = ask.where
    if len(where) == 1:
        name = next(iter(where))
        if name in dimensions or len(dimensions) < MOST_DIMENSIONS:
            dimensions, where = list(dict.fromkeys([*dimensions, name])), {}
    if len(dimensions) > MOST_DIMENSIONS:
        return None
    asked = replace(ask, by=("day", *sorted(dimensions)), where=where, since=None, until=None)
    return None if asked.is_fine else asked


def _of_days(frame: pd.DataFrame, ask: BoundQuestion, asked: BoundQuestion, columns: list[str]) -> pd.DataFrame:
    """Add up the days and values that a question asks for."""
    is_wanted = np.ones(len(frame), dtype=bool)
    if ask.since is not None:
        is_wanted &= (frame["day"] >= pd.Timestamp(ask.since)).to_numpy()
    if ask.until is not None:
        is_wanted &= (frame["day"] <= pd.Timestamp(ask.until)).to_numpy()
    lifted = [name for name in ask.where if name not in asked.where]
    for name in lifted:
        is_wanted &= _held(frame[name], ask.where[name]) | _is_any(frame, name)
    rows = frame if is_wanted.all() else frame[is_wanted]
    grains = {name: _begun(rows["day"], name) for name in ask.by if time_grain(name)}
    left_out = {"day", *asked.by} - set(ask.by)
    left_out |= {f"any__{name}" for name in left_out}
    others = [str(c) for c in rows if c not in left_out and c not in ask.by and c not in columns]
    groups = [*ask.by, *others]
    if not groups:
        return _all_of(rows, columns)
    rows = rows.assign(**grains)[[*groups, *columns]]
    if left_out or grains.keys() - {"day"}:
        rows = rows.groupby(groups, dropna=False, sort=False, as_index=False)[columns].sum(min_count=1)
    return _plain(rows.reset_index(drop=True))


def _held(column: "pd.Series[Any]", values: Sequence[Any] | str) -> "np.ndarray[Any, Any]":
    """Say of each row whether a dimension has one of these values; an empty one is a missing one."""
    wanted = [values] if isinstance(values, str) else list(values)
    known: list[Any] = [v for v in wanted if v is not None and v != ""]
    if pd.api.types.is_bool_dtype(column.dtype):
        known = [v if isinstance(v, bool) else str(v).lower() in ("true", "1", "yes") for v in known]
    elif pd.api.types.is_integer_dtype(column.dtype):
        known = [int(v) for v in known]
    found = column.isin(known).to_numpy(bool)
    return found | column.isna().to_numpy(bool) if len(known) < len(wanted) else found


def _is_any(frame: pd.DataFrame, name: str) -> "np.ndarray[Any, Any]":
    column = f"any__{name}"
    if column not in frame:
        return np.zeros(len(frame), dtype=bool)
    return frame[column].fillna(False).to_numpy(bool)


def _begun(days: "pd.Series[Any]", grain: str) -> "pd.Series[Any]":
    """Give the first day of the period that each day lies in."""
    if grain == "day":
        return days
    return days.dt.to_period(_PERIODS[grain]).dt.start_time.astype("datetime64[us]")


def _all_of(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Add up all rows to one, as a SELECT without groups does: missing where there are none, unless it counts."""
    return pd.DataFrame(
        {c: [rows[c].sum() if rows[c].dtype == np.int64 else rows[c].sum(min_count=1)] for c in columns}
    )


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Give whole numbers and booleans of which none is missing the types that a SELECT gives them."""
    plain = {"Int64": "int64", "boolean": "bool"}
    whole = {n: plain[str(c.dtype)] for n, c in rows.items() if str(c.dtype) in plain and not c.hasnans}
    return rows.astype(whole) if whole else rows
