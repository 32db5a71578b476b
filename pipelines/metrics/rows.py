"""The rows behind a number."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from sqlalchemy import Select, case, func, literal_column, select

from pipelines.errors import UnknownDimension
from pipelines.metrics.bind import bind
from pipelines.metrics.compiler import dimension, filters, knows
from pipelines.metrics.declare import BoundQuestion, Sum, part_measures
from pipelines.metrics.question import ALIASES, ANYTHING, Question, time_grain
from pipelines.warehouse.engine import Build, Expression, double


def rows(
    build: Build,
    key: str,
    question: Question = ANYTHING,
    *,
    part: str = "numerator",
    by: Sequence[str] = (),
    basis: str | None = None,
    limit: int | None = 1000,
) -> pd.DataFrame:
    """Give the fact rows behind a metric's numerator or denominator, newest first, at most `limit` (None: all of them).

    Columns: counted_on (day on the metric's date basis), source, the ids and numbers of the row, the dimensions of
    `by`, and counted: what the row adds to the part, so that the column's sum is the part's statistic. Bases with other
    columns leave cells empty. `basis` counts by another of the rows' days. Raises UnknownMetric and UnknownDimension.
    """
    queries = _behind(replace(bind(build, key, question, by=by), basis=basis), part)
    newest = [
        q.order_by(literal_column("counted_on").desc().nulls_last(), literal_column("2"), literal_column("3"))
        for q in queries
    ]
    frames = [build.fetch(q if limit is None else q.limit(limit)) for q in newest]
    filled = [f for f in frames if len(f)] or frames[:1]
    found = pd.concat(filled, ignore_index=True) if len(filled) > 1 else filled[0]
    if len(filled) > 1:
        found = found.sort_values("counted_on", ascending=False, kind="stable", ignore_index=True)
    return found[[*(c for c in found if c != "counted"), "counted"]].head(len(found) if limit is None else limit)


def rows_total(
    build: Build,
    key: str,
    question: Question = ANYTHING,
    *,
    part: str = "numerator",
    by: Sequence[str] = (),
    basis: str | None = None,
) -> tuple[int, float]:
    """Count the rows behind a part of a metric and add up what they count, without fetching them."""
    queries = _behind(replace(bind(build, key, question, by=by), basis=basis), part)
    number, total = 0, 0.0
    for query in queries:
        inner = query.subquery("behind")
        columns: list[Expression] = [
            literal_column("count(*)").label("number"),
            func.sum(inner.c.counted).label("total"),
        ]
        row = build.fetch(select(*columns).select_from(inner)).iloc[0]
        number += int(row["number"])
        total += 0.0 if pd.isna(row["total"]) else float(row["total"])
    return number, total


def _behind(question: BoundQuestion, part: str) -> list[Select[Any]]:
    """Build one SELECT of rows for each base that a part of a metric is summed over."""
    chosen = question.metric
    names = {ALIASES.get(n, n) for n in (*question.by, *question.where, *question.scope.allowed) if not time_grain(n)}
    found = []
    for measured, sign in part_measures(chosen, part):
        known = [sums for sums in measured.alternatives if all(names <= knows(s.base, question.own) for s in sums)]
        if not known:
            unknown = names - {n for sums in measured.alternatives for s in sums for n in knows(s.base, question.own)}
            raise UnknownDimension(
                f"The rows of {chosen.key} cannot be filtered by {', '.join(sorted(unknown or names))}."
            )
        sums = [s for s in known[0] if s.base.table_name not in question.empty] or known[0]
        found += [_rows_of(s, sign, part, question) for s in sums]
    return found


_SHOWN_DETAILS = ("state", "cause", "hours", "clock_day")


def _rows_of(s: Sum, sign: int, part: str, question: BoundQuestion) -> Select[Any]:
    """Select the rows of one sum with what each adds to it; of equal values that count once, one row counts."""
    base, now = s.base, s.base.time(question)
    amount = s.amount(now)
    own = s.condition(now)
    conditions = filters(base, question, now) + ([own] if own is not None else [])
    if part in question.metric.only:
        conditions.append(question.metric.only[part](base, question, now))
    if s.distinct:
        conditions.append(amount.is_not(None))
        place = func.row_number().over(partition_by=amount, order_by=base.ids[0])
        counted: Expression = case((place == literal_column("1"), double(1)), else_=double(0))
    else:
        conditions.append(amount != literal_column("0"))
        counted = double(amount)
    shown = {"source": base.dimensions["source"], **{c.name: c for c in base.ids}}
    shown |= {n: dimension(base, n, question.on, now) for n in question.by if n not in shown}
    shown |= {n: base.details[n](now) for n in _SHOWN_DETAILS if n in question.metric.details and n in base.details}
    columns = [e.label(n) for n, e in shown.items()]
    day = base.days[question.on].label("counted_on")
    return (
        select(day, *columns, (counted * literal_column(str(sign))).label("counted"))
        .select_from(base.table)
        .where(*conditions)
    )
