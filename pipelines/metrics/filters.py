"""Filters as people write them, and the values there are."""

import difflib
from collections.abc import Mapping, Sequence

import pandas as pd
from sqlalchemy import select

from pipelines.errors import UnknownDimension, UnknownValue
from pipelines.metrics.bind import bind, observed
from pipelines.metrics.catalogue import CATALOGUE, own_dimensions
from pipelines.metrics.compiler import PartlyKnown, check_dimensions, chosen_sums, dimension, is_own, knows
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.question import ALIASES, Question, time_grain
from pipelines.warehouse.engine import Build
from pipelines.warehouse.rules import Time

SHOWN = 12  # values of a dimension named when somebody asks for one that nobody has


def values_of(build: Build, key: str, name: str) -> list[str]:
    """List the values of a dimension that rows of a metric have. Raises UnknownDimension."""
    question = bind(build, key, Question(where={name: []}))
    try:
        check_dimensions(question.metric, [name], question.own)
    except PartlyKnown as reason:
        raise UnknownDimension(f"{key}: {reason}.") from None
    return sorted(_values(build, question, name))


def _values(build: Build, question: BoundQuestion, name: str) -> set[str]:
    found: set[str] = set()
    for base in {s.base.name: s.base for s in chosen_sums(question)}.values():
        known = dimension(base, name, question.on, base.time(question)).label("known")
        found |= {str(v) for v in build.fetch(select(known).select_from(base.table).distinct())["known"].dropna()}
    return found


def read_filters(build: Build, key: str, where: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Read filters as people write them.

    A comma parts two values, unless a row of the metric has the whole as its value. Raises UnknownValue for a value
    that no row of the metric has, UnknownDimension as `answer` does. Of a time grain any day is a value: a month
    without rows is a month. What is true or false is left alone.
    """
    question = bind(build, key, Question(where=where))
    written = {name: [values] if isinstance(values, str) else list(values) for name, values in where.items()}
    read = {name: [part.strip() for v in values for part in str(v).split(",")] for name, values in written.items()}
    try:
        check_dimensions(question.metric, list(where), question.own)
    except PartlyKnown:
        return read  # answered, greyed
    for name, values in written.items():
        if time_grain(name):
            _check_days(name, read[name])
            continue
        found = _values(build, question, name)
        if found and found <= {"True", "False"}:
            continue
        read[name] = [p for v in values for p in ([v] if v in found else map(str.strip, str(v).split(",")))]
        for value in read[name]:
            if value not in found:
                near = sorted(found) if len(found) <= SHOWN else difflib.get_close_matches(value, found, SHOWN, 0.0)
                more = f" and {len(found) - len(near):,} more" if len(found) > len(near) else ""
                raise UnknownValue(
                    f"No row of {key} has {name} {value!r}. There are: {', '.join(near) or 'none'}{more}."
                )
    return read


def _check_days(name: str, values: Sequence[str]) -> None:
    """Raise UnknownValue for what is no day of a time grain."""
    for value in values:
        if pd.isna(pd.to_datetime(value, errors="coerce")):
            raise UnknownValue(f"{value!r} is no {name}; write the day it begins with, as 2026-01-01.")


def dimension_values(build: Build, name: str) -> list[str]:
    """Give the values of a dimension in this build, for filters; empty ones left out."""
    canonical = ALIASES.get(name, name)
    if f"values of {canonical}" not in build.cache:
        bases = {s.base.name: s.base for m in CATALOGUE for x in m.measures for sums in x.alternatives for s in sums}
        knowing = sorted(
            (b for b in bases.values() if canonical in knows(b, own_dimensions(build))),
            key=lambda b: b.name == "credits",
        )
        of = knowing[0] if knowing else None
        if of is None or time_grain(canonical):
            known = sorted({n for b in bases.values() for n in knows(b, own_dimensions(build))})
            raise UnknownDimension(f"There is no dimension {name!r}. There are: {', '.join(known)}.")
        # a shop's own dimension may be of sales, of returns, or of both
        asked = [b for b in knowing if b.name in ("orders", "lots")] if is_own(of, canonical) else [of]
        found: set[str] = set()
        for base in asked:
            now = Time(base.dimensions["source"], None, observed(build))
            column = dimension(base, canonical, next(iter(base.days)), now).label("value")
            values = build.fetch(select(column).select_from(base.table).where(column.is_not(None)).distinct())["value"]
            found |= {str(v) for v in values}
        build.cache[f"values of {canonical}"] = sorted(found)
    return list(build.cache[f"values of {canonical}"])
