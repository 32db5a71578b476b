"""Targets and notes as a view sees them: which target its numbers are judged by, which notes its days have.

Nothing is drawn here. They are kept beside the builds and may change while a build is read: they are read again when
the file that holds them changed. A reader within a scope sees those that are wholly of it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from dashboard.shared.memory import remembered
from dashboard.shared.queries import PageQuestion, Source, days, ignored, metric, opened, question_of, table, unseen
from models import marks
from models.periods import grain_end
from pipelines import metrics, targets
from pipelines.people import annotations
from pipelines.people.annotations import Annotation
from pipelines.settings import Settings
from pipelines.targets import Cell, Target


@dataclass(frozen=True)
class Judged:
    """A target beside the number of the days that it held: how far off it is, and the verdict (targets.VERDICTS).

    `since` is the day it began, where that is within the days of the view: the number is of the days since.
    """

    target: Target
    value: float
    unit: str
    verdict: str
    since: dt.date | None = None

    @property
    def difference(self) -> float:
        """How far the number lies above its target."""
        return self.value - self.target.value


def _seen(asked: Source) -> tuple[int, ...]:
    path = asked.warehouse / "state.sqlite"
    found = path.stat() if path.exists() else None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else ()


@lru_cache(16)
def _targets(warehouse: Path, seen: tuple[int, ...]) -> tuple[Target, ...]:
    return tuple(targets.targets(Settings(warehouse=warehouse)))


@lru_cache(16)
def _written(warehouse: Path, seen: tuple[int, ...]) -> tuple[tuple[Annotation, ...], tuple[Annotation, ...]]:
    settings = Settings(warehouse=warehouse)
    return tuple(annotations.written(settings)), tuple(annotations.known_by_state(settings))


def set_targets(asked: Source) -> tuple[Target, ...]:
    """List the targets that the reader may see: within a scope those that are wholly of it."""
    allowed = asked.scope.allowed
    return tuple(
        one
        for one in _targets(asked.warehouse, _seen(asked))
        if all(name in one.where and {*one.where[name]} <= {*map(str, values)} for name, values in allowed.items())
    )


def cell(asked: PageQuestion, key: str) -> Cell:
    """Give the cell of a number under the filters of a view, those that it cannot be cut by aside."""
    skipped = ignored(asked, key)
    return targets.cell_of({name: chosen for name, chosen in asked.where if name not in skipped}, asked.source.scope)


@remembered
def _comparable(asked: PageQuestion, key: str) -> Mapping[str, float | str]:
    row = metrics.comparable(opened(asked.source), key, question_of(asked, key)).iloc[0]
    return {name: row[name] for name in ("value", "low", "high", "n", "status", "unit")}


def judged(asked: PageQuestion, key: str) -> Judged | None:
    """Judge a number by the target of its own cell that holds on the last day; None where there is none."""
    known, name = set_targets(asked.source), targets.canonical(key)
    if not any(one.metric == name for one in known):
        return None
    held = targets.standing(known, name, cell(asked, key), asked.until)
    if held is None:
        return None
    began = held.since if held.since > asked.since else None
    with unseen():
        of = dict(_comparable(replace(asked, since=began or asked.since, against=None), key)) | {"target": held.value}
    gap, low, high = (float(of[part]) - held.value for part in ("value", "low", "high"))
    beyond = bool(marks.beyond_noise(gap, low, high, among=marks.ON_A_PAGE).all())
    young = targets.grows(key, asked.until, days(asked.source)[1])
    told = targets.verdict(of, metric(key).good, is_beyond=beyond, is_young=young)
    return Judged(held, float(of["value"]), str(of["unit"]), told, began)


def wider(asked: PageQuestion, key: str) -> Target | None:
    """Give the target of the nearest wider cell where a number has none of its own: it judges nothing here."""
    name, of = targets.canonical(key), cell(asked, key)
    known = set_targets(asked.source)
    if targets.standing(known, name, of, asked.until) is not None:
        return None
    return targets.wider(known, name, of, asked.until)


def by_month(asked: PageQuestion, key: str, months: Sequence[pd.Timestamp]) -> list[float]:
    """Give the target that held over all of each month, for the days of it that the view has; NaN where none did."""
    known, name = set_targets(asked.source), targets.canonical(key)
    if not any(one.metric == name for one in known):
        return [np.nan] * len(months)
    of, found = cell(asked, key), []
    for month in months:
        first = pd.Timestamp(month).date()
        span = max(first, asked.since), min(grain_end(first, "month"), asked.until)
        held = targets.whole_of(known, name, of, *span)
        found.append(held.value if held is not None else np.nan)
    return found


@remembered
def _of_build(asked: Source) -> tuple[Annotation, ...]:
    return tuple(annotations.known_by_build(opened(asked)))


def notes(asked: PageQuestion) -> list[Annotation]:
    """List the notes that the filters of a view let through, by day."""
    source = asked.source
    people, state = _written(source.warehouse, _seen(source))
    own = annotations.within([*people, *([] if source.scope else state)], source.scope.allowed)
    found = annotations.overlapping([*own, *_of_build(source)], dict(asked.where), _products(asked))
    return sorted(found, key=lambda one: (one.begins_on, one.is_automatic, one.kind, one.text))


def _products(asked: PageQuestion) -> dict[str, tuple[str, ...]]:
    """Say of which category and brand the products are that the view is narrowed to."""
    styles = dict(asked.where).get("style_id", ())
    if not styles:
        return {}
    products = table(asked.source, "dim_product")
    of = products[products["style_id"].isin(styles)]
    return {name: tuple(of[name].dropna().astype(str).unique()) for name in ("category", "brand") if name in of}
