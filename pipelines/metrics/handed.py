"""Sums by day that one process read, in words that another understands.

Sums are kept under what they are sums of: measures, sums, tables, the join of curves. Those are objects of a process;
here they are named by the catalogue, which both processes share.
"""

from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any

import pandas as pd
from sqlalchemy.sql.expression import FromClause

from pipelines.metrics.catalogue import CATALOGUE
from pipelines.metrics.days import Days
from pipelines.metrics.declare import Measure, Sum
from pipelines.metrics.sums import BESIDE
from pipelines.warehouse.engine import Build

NAMED = "named"  # begins the name of an object


@cache
def _names() -> dict[Any, tuple[str, ...]]:
    """Name what sums are kept under: of several names the first in the catalogue."""
    found: dict[Any, tuple[str, ...]] = {}
    for metric in CATALOGUE:
        if metric.wrap is not None:
            found.setdefault(metric.wrap, (NAMED, metric.key))
        for m in metric.measures:
            found.setdefault(m, (NAMED, metric.key, m.name))
            for at, s in enumerate(s for alternative in m.alternatives for s in alternative):
                found.setdefault(s, (NAMED, metric.key, m.name, str(at)))
                found.setdefault(s.base.table, (NAMED, metric.key, m.name, str(at), "table"))
    for at, m in enumerate(BESIDE):
        found.setdefault(m, (NAMED, "beside", m.name, str(at)))
    return found


@cache
def _objects() -> dict[tuple[str, ...], Any]:
    return {name: one for one, name in _names().items()}


def written(key: Any) -> Any:
    """Write a key in words; raises KeyError for one that names something outside of the catalogue."""
    if isinstance(key, tuple | frozenset):
        return type(key)(map(written, key))
    if isinstance(key, Measure | Sum | FromClause) or callable(key):
        return _names()[key]
    return key


def read(key: Any) -> Any:
    """Read a key that was written in words; raises KeyError for a name that nothing has here."""
    if isinstance(key, tuple) and key[:1] == (NAMED,):
        return _objects()[key]
    return type(key)(map(read, key)) if isinstance(key, tuple | frozenset) else key


def hand_over(build: Build, told: set[Hashable]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Give the sums of a build that were not told of yet, each under its key in words."""
    days: Days = build.cache.get("days", Days())
    for key in days.names():
        if key in told or (frame := days.get(key)) is None:
            continue
        told.add(key)
        try:
            yield written(key), frame
        except KeyError:  # of an analysis alone
            continue


def take(build: Build, key: Any, frame: pd.DataFrame) -> None:
    """Keep sums that another process read of the same build."""
    days: Days = build.cache.setdefault("days", Days())
    known = read(key)
    if known not in days:
        days.keep(known, frame)
