"""The sums behind a question, from sums by day that are read once a build.

A statistic is additive, so what some days, months or values of a filter need is a sum of what each day and each value
has. A page asks one number of the days it shows, of those before, of each month and under each filter: the fact is
scanned once for all of them. What is no such sum, or too long to keep, is asked as it stands. No metric is declared
here, and nothing is estimated: the same rows are added up in another order.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, false, or_

from pipelines.metrics.compiler import check_dimensions, chosen_sums, statement
from pipelines.metrics.days import Days
from pipelines.metrics.declare import BoundQuestion, Measure, Sum, always
from pipelines.metrics.question import time_grain
from pipelines.warehouse.engine import Build
from pipelines.warehouse.rules import Sql

MOST_DIMENSIONS = 2  # that sums by day are kept by, the filter among them; more are too many groups to be worth it
MOST_BY_MONTH = 3  # the same, of sums by month
MOST_ROWS = 100_000  # of the sums by day of one question
SHORT = frozenset({"state", "is_from_return", "clock_day", "stage"})
"""Details that have few values a day; what is grouped by others is summed as asked, unless a `wrap` sums it up."""
ASIDE = frozenset({"promise_id"})
"""Dimensions of few values that a page asks for one by one, beside its filters."""
NAMED = frozenset({"country", "channel", "category", "brand", "carrier", "method"})
"""Dimensions whose values are names: cut by one that a filter holds to a single value, there is one group."""
_PERIODS = {"week": "W", "month": "M", "quarter": "Q", "year": "Y"}

Of = Callable[[BoundQuestion], Select[Any]]


class Habit:
    """How this process reads: a single filter's value alone, or what all values of the filter need in the same scan.

    All of them are read where all will be asked for: by a server that warms itself. What was read of all, all use.
    """

    of_every_value = False


_TOGETHER: dict[frozenset[Measure], tuple[tuple[Measure, ...], ...]] = {}
BESIDE: dict[Measure, None] = {}
"""Measures that a metric's finish asks for and no metric names, in the order in which the catalogue declares them."""


def together(*several: tuple[Measure, ...]) -> None:
    """Say that measures of the same rows are asked for side by side: who asks for one reads the others in its scan."""
    _TOGETHER.update((frozenset(measures), several) for measures in several)
    asked_beside(*(m for measures in several for m in measures))


def asked_beside(*measures: Measure) -> None:
    """Say that a metric's finish asks for measures of its own."""
    BESIDE.update(dict.fromkeys(measures))


def statistics_of(build: Build, ask: BoundQuestion) -> pd.DataFrame:
    """Give what `statement` selects: groups, details, then one column a measure. Raises as it does."""
    check_dimensions(ask.metric, [*ask.by, *ask.where], ask.own)
    others = _TOGETHER.get(frozenset(ask.metric.measures), ())
    read_together(build, [replace(ask, metric=replace(ask.metric, measures=measures)) for measures in others])
    columns = [m.name for m in ask.metric.measures]
    if any(s.distinct for s in chosen_sums(ask)):
        return _of_one_value(build, ask, columns)
    return summed(build, ask, statement, _of_metric(ask), columns, is_short=_is_short(ask), is_plain=True)


def _of_one_value(build: Build, ask: BoundQuestion, columns: list[str]) -> pd.DataFrame:
    """Give what cannot be added up: under a single value of a filter, read for all of its values at once."""
    grains = [name for name in ask.by if time_grain(name)]
    (name, *others), dimensions = [*ask.where, ""], {*ask.by} - {*grains}
    if not name or others != [""] or len(grains) > 1 or not dimensions <= NAMED or _one_value(ask, name) is None:
        return build.fetch(statement(ask))
    kept: Days = build.cache.setdefault("days", Days())
    asked = replace(ask, by=(*grains, *sorted(dimensions | {name})), where={})
    key = _key(("each", _of_metric(ask)), asked)
    if key not in kept and Habit.of_every_value:
        kept.keep(key, build.fetch(statement(asked)))
    found = kept.get(key) if key in kept else None
    return build.fetch(statement(ask)) if found is None else _of_kept(found, ask, asked, columns)


def _is_short(ask: BoundQuestion) -> bool:
    """Say whether the statistics of a question have few details a day."""
    known = {name for s in chosen_sums(ask) for name in ask.details if name in s.base.details}
    return ask.metric.wrap is not None or SHORT.issuperset(known)


def _of_metric(ask: BoundQuestion) -> Hashable:
    return frozenset(ask.metric.measures), ask.details, ask.metric.wrap


def _key(name: Hashable, asked: BoundQuestion) -> Hashable:
    days = (asked.since, asked.until)
    return name, asked.by, repr(asked.where), asked.on, repr(asked.scope), asked.sources, asked.as_of, days


def read_together(build: Build, asks: Sequence[BoundQuestion]) -> None:
    """Read the statistics of several questions in one scan of each fact, where they ask by the same, of the same rows.

    What is asked next of any of them is added up of what was read.
    """
    wanted: list[tuple[Hashable, BoundQuestion, Hashable]] = []
    for ask in asks:
        check_dimensions(ask.metric, [*ask.by, *ask.where], ask.own)
        if any(s.distinct for s in chosen_sums(ask)):
            continue
        asked = _kept_by(build, _of_metric(ask), ask, is_short=_is_short(ask), is_plain=True)
        if asked is not None:
            wanted.append((_of_metric(ask), asked, (ask.details, ask.metric.wrap)))
    for several in alike(build, wanted):
        names = renamed(several)
        own = [Measure(f"counts_{at}", (_any_of(chosen_sums(asked)),)) for at, asked in enumerate(several.values())]
        measures = (*(Measure(name, m.alternatives) for m, name in names.items()), *own)
        whole = build.fetch(statement(of_all(several, measures)))
        for at, (key, asked) in enumerate(several.items()):
            rows = whole[whole[f"counts_{at}"].fillna(0).to_numpy(float) > 0].drop(columns=[m.name for m in own])
            keep_own(build, key, rows, names, {names[m]: m.name for m in asked.metric.measures})


Several = dict[Hashable, BoundQuestion]
"""Questions by day that one SELECT answers, by the key that each is kept under."""


def alike(build: Build, wanted: Sequence[tuple[Hashable, BoundQuestion, Hashable]]) -> list[Several]:
    """Give what is not read yet of several questions, those together that one SELECT answers.

    Each is what is summed, the question as it is kept, and what else must be the same to be read together.
    """
    kept: Days = build.cache.setdefault("days", Days())
    found: dict[Hashable, Several] = {}
    for name, asked, shape in wanted:
        if (key := _key(name, asked)) not in kept:
            found.setdefault(_key(shape, asked), {})[key] = asked
    return [several for several in found.values() if len(several) > 1]


def renamed(several: Several) -> dict[Measure, str]:
    """Name the measures of several questions, each once."""
    every = dict.fromkeys(m for asked in several.values() for m in asked.metric.measures)
    return {m: f"sum_{at}" for at, m in enumerate(every)}


def of_all(several: Several, measures: tuple[Measure, ...]) -> BoundQuestion:
    """Ask for the measures of several questions at once."""
    one = next(iter(several.values()))
    return replace(one, metric=replace(one.metric, measures=measures))


def keep_own(
    build: Build, key: Hashable, rows: pd.DataFrame, names: Mapping[Measure, str], own: Mapping[str, str]
) -> None:
    """Keep of what was read together the columns of one question, under their own names."""
    others = [c for c in map(str, rows) if c.split("__")[0] not in names.values()]
    found = rows[[*others, *own]].rename(columns=dict(own)).reset_index(drop=True)
    build.cache["days"].keep(key, found if len(found) <= MOST_ROWS else None)


def _any_of(sums: Sequence[Sum]) -> tuple[Sum, ...]:
    """Count the rows that any of some sums counts, base by base."""
    by_base: dict[str, list[Sum]] = {}
    for s in sums:
        by_base.setdefault(s.base.name, []).append(s)

    def holds(mine: list[Sum]) -> Sql | None:
        if any(s.when is None and not s.of_orders for s in mine):
            return None
        return lambda now: or_(false(), *(c for s in mine if (c := s.condition(now)) is not None))

    return tuple(Sum(mine[0].base, always, holds(mine)) for mine in by_base.values())


def summed(
    build: Build,
    ask: BoundQuestion,
    of: Of,
    name: Hashable,
    columns: Sequence[str],
    *,
    is_short: bool = True,
    is_plain: bool = False,
) -> pd.DataFrame:
    """Give the rows of a SELECT of additive columns in the groups of a question, and in what else it groups by.

    `of` writes it for a question, `name` tells it from others. It has few rows a day where it is short. Where it is not
    plain, a row whose column `any__x` holds is of every value of the dimension x.
    """
    kept: Days = build.cache.setdefault("days", Days())
    asked = _kept_by(build, name, ask, is_short=is_short, is_plain=is_plain)
    if asked is None:
        return build.fetch(of(ask))
    key = _key(name, asked)
    if key in kept:
        found = kept.get(key)
    elif ask.as_of is not None and asked.where == ask.where:  # of one time of observation little else is asked
        found = None
    else:
        found = build.fetch(of(asked))
        kept.keep(key, found if len(found) <= MOST_ROWS else None)
        found = kept.get(key) if len(found) <= MOST_ROWS else found
    return build.fetch(of(ask)) if found is None else _of_kept(found, ask, asked, list(columns))


def kept_by_day(build: Build, name: Hashable, ask: BoundQuestion) -> BoundQuestion | None:
    """Ask as what is lost to a question is kept."""
    return _kept_by(build, name, ask, is_short=True, is_plain=False)


def _kept_by(
    build: Build, name: Hashable, ask: BoundQuestion, *, is_short: bool, is_plain: bool
) -> BoundQuestion | None:
    """Ask as is kept or as this process reads: of all values of a single filter, or of what is asked for."""
    kept: Days = build.cache.setdefault("days", Days())
    of_all = _by_day(ask, is_short, is_plain, of_every_value=True)
    if of_all is None:
        return None
    key = _key(name, of_all)
    if kept.holds(key) if key in kept else Habit.of_every_value:
        return of_all
    return _by_day(ask, is_short, is_plain, of_every_value=False)


def _by_day(ask: BoundQuestion, is_short: bool, is_plain: bool, *, of_every_value: bool) -> BoundQuestion | None:
    """Ask for each day, and each value of a single filter; None where too much would be read for that.

    What has many rows a day is asked for by month, of the days asked for.
    """
    if ask.is_fine or any(time_grain(name) for name in ask.where):
        return None
    if not is_short and {"day", "week"} & {*ask.by}:
        return None
    dimensions = {name for name in ask.by if not time_grain(name)}
    single = [name for name in ask.where if name not in ASIDE]
    lifted = {*(ASIDE & {*ask.where}), *(single if len(single) == 1 and of_every_value else ())}
    if is_plain:
        dimensions -= {name for name in dimensions - lifted if _one_value(ask, name) is not None}
    most = MOST_DIMENSIONS if is_short else MOST_BY_MONTH
    if len(dimensions | lifted) > most:
        lifted = set()
    if len(dimensions | lifted) > most:
        return None
    where = {name: values for name, values in ask.where.items() if name not in lifted}
    asked = replace(ask, by=("day" if is_short else "month", *sorted(dimensions | lifted)), where=where)
    return None if asked.is_fine else replace(asked, since=None, until=None) if is_short else asked


def _one_value(ask: BoundQuestion, name: str) -> str | None:
    """Give the one value that a filter lets a dimension have."""
    values = ask.where.get(name, ()) if name in NAMED else ()
    values = [values] if isinstance(values, str) else list(values)
    return values[0] if len(values) == 1 and isinstance(values[0], str) and values[0] else None


def _of_kept(frame: pd.DataFrame, ask: BoundQuestion, asked: BoundQuestion, columns: list[str]) -> pd.DataFrame:
    """Add up the days and values that a question asks for."""
    by = asked.by[0]
    is_wanted = np.ones(len(frame), dtype=bool)
    if ask.since is not None and by == "day":
        is_wanted &= (frame[by] >= pd.Timestamp(ask.since)).to_numpy()
    if ask.until is not None and by == "day":
        is_wanted &= (frame[by] <= pd.Timestamp(ask.until)).to_numpy()
    for name in ask.where:
        if name not in asked.where:
            is_wanted &= _held(frame[name], ask.where[name]) | _is_any(frame, name)
    left_out = {*asked.by} - {*ask.by}
    others = [str(c) for c in frame if c not in {*asked.by, *columns} and str(c).removeprefix("any__") not in left_out]
    groups = [*ask.by, *others]
    if not groups:
        return _all_of(frame, is_wanted, columns)
    rows = frame if is_wanted.all() else frame[is_wanted]
    made = {name: _begun(rows[by], name, by) for name in ask.by if time_grain(name)}
    made |= {
        name: pd.Series(_one_value(ask, name), rows.index, dtype="str")
        for name in ask.by
        if not time_grain(name) and name not in asked.by
    }
    rows = rows.assign(**made)[[*groups, *columns]]
    if left_out:
        grouped = rows.groupby(groups, dropna=False, sort=False, as_index=False, observed=True)
        rows = grouped[columns].sum(min_count=1)
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


def _begun(days: "pd.Series[Any]", grain: str, by: str) -> "pd.Series[Any]":
    """Give the first day of the period that each day, or month, lies in."""
    if grain == by:
        return days
    begun: pd.Series[Any] = days.dt.to_period(_PERIODS[grain]).dt.start_time.astype("datetime64[us]")
    return begun


def _all_of(frame: pd.DataFrame, is_wanted: "np.ndarray[Any, Any]", columns: list[str]) -> pd.DataFrame:
    """Add up all wanted rows, as a SELECT without groups does: missing where there are none, unless it counts."""

    def added(column: str) -> Any:
        values = frame[column].to_numpy()[is_wanted]
        if values.dtype.kind == "i":
            return values.sum()
        values = values.astype(float)
        known = values[~np.isnan(values)]
        return known.sum() if len(known) else np.nan

    return pd.DataFrame({c: [added(c)] for c in columns})


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Give texts, and whole numbers and booleans of which none is missing, the types that a SELECT gives them."""
    plain = {"Int64": "int64", "boolean": "bool"}
    whole = {n: plain[str(c.dtype)] for n, c in rows.items() if str(c.dtype) in plain and not c.hasnans}
    whole |= {n: "str" for n, c in rows.items() if isinstance(c.dtype, pd.CategoricalDtype)}
    return rows.astype(whole) if whole else rows
