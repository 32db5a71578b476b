"""How a declared metric becomes one SQL statement, and which filters it takes."""

import difflib
from collections.abc import Collection, Hashable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import pandas as pd
from sqlalchemy import (
    Float,
    Integer,
    Numeric,
    Select,
    and_,
    case,
    cast,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.operators import and_ as joined_by_and

from pipelines.errors import UnknownDimension
from pipelines.metrics.declare import BoundQuestion, FactTable, Measure, Metric, Sum
from pipelines.metrics.question import ALIASES, time_grain
from pipelines.warehouse.engine import Expression, double, literal_day, literal_instant, period_start, text_in
from pipelines.warehouse.rules import Time
from pipelines.why import why

REMEMBERED_TIMES = 50  # times of observation that the conditions of a sum are kept for


class PartlyKnown(UnknownDimension):
    """Dimensions are known to one part of a metric only; the message is the reason shown on screen."""


def knows(base: FactTable, own: Collection[str] = ()) -> set[str]:
    """Give the names of a base's dimensions, time grains left out; of the build's `own` where its rows carry them."""
    return {*base.dimensions, *base.timed, *(own if base.own is not None else ())}


def dimension(base: FactTable, name: str, basis: str, now: Time) -> Expression:
    """Give a base's expression of a dimension it knows."""
    if name in period_start.grains:
        return period_start(name, base.days[basis])
    canonical = ALIASES.get(name, name)
    if is_own(base, canonical) and base.own is not None:
        return text_in(canonical, base.own)
    return base.timed[canonical](now) if canonical in base.timed else base.dimensions[canonical]


def is_own(base: FactTable, name: str) -> bool:
    """Say whether a dimension of a base is one of the shop's own."""
    return not time_grain(name) and ALIASES.get(name, name) not in {*base.timed, *base.dimensions}


def known_dimensions(metric: Metric, own: Collection[str] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the dimensions that every part of the metric knows, and those that only some part knows."""
    parts = [
        [set.intersection(*(knows(s.base, own) for s in sums)) for sums in m.alternatives] for m in metric.measures
    ]
    whole: list[set[str]] = [set.union(*alternatives) for alternatives in parts]
    every, some = set.intersection(*whole), set.union(*whole)
    return (*period_start.grains, *sorted(every)), tuple(sorted(some - every))


def check_dimensions(metric: Metric, names: Sequence[str], own: Collection[str] = ()) -> None:
    """Raise UnknownDimension for a name no part knows, PartlyKnown for one that only a part knows."""
    every, some = known_dimensions(metric, own)
    for name in names:
        canonical = ALIASES.get(name, name)
        if canonical in every:
            continue
        if canonical not in some:
            near = difflib.get_close_matches(name, every, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UnknownDimension(
                f"{metric.key} cannot be cut by {name!r}.{hint} It can be cut by: {', '.join(every)}."
            )
        raise PartlyKnown(why("known_of_one", dimension=name, name=metric.numerator, other=metric.denominator))
    canonical_names = {ALIASES.get(n, n) for n in names if not time_grain(n)}
    for m in metric.measures:
        if not any(all(canonical_names <= knows(s.base, own) for s in sums) for sums in m.alternatives):
            raise PartlyKnown(why("known_of_others", dimension=", ".join(sorted(canonical_names))))


def _chosen(m: Measure, names: set[str], own: Collection[str]) -> tuple[Sum, ...]:
    return next(sums for sums in m.alternatives if all(names <= knows(s.base, own) for s in sums))


def chosen_sums(ask: BoundQuestion, name: str | None = None) -> list[Sum]:
    """Give the sums that a question is answered with, those of one measure or of all."""
    names = {ALIASES.get(n, n) for n in (*ask.by, *ask.where, *ask.scope.allowed) if not time_grain(n)}
    return [s for m in ask.metric.measures if name in (None, m.name) for s in _chosen(m, names, ask.own)]


def dimension_condition(base: FactTable, name: str, values: Sequence[Any], basis: str, now: Time) -> Expression:
    """Say whether a dimension has one of these values; an empty one is NULL."""
    expression = dimension(base, name, basis, now)
    if isinstance(values, str):
        values = [values]
    if time_grain(name):
        days = [literal_day(pd.Timestamp(v).date()) for v in values]
        return or_(*(expression == d for d in days)) if days else false()
    if ALIASES.get(name, name).startswith(("is_", "has_")) and not is_own(base, name):
        values = [v if isinstance(v, bool) or v is None else str(v).lower() in ("true", "1", "yes") for v in values]
        return or_(
            false(), *(expression.is_(v) if v is None else expression == literal_column(str(v).upper()) for v in values)
        )
    known = [v for v in values if v is not None and v != ""]
    if isinstance(expression.type, Integer):
        known = [int(v) for v in known]
    tests = [expression.in_(known)] if known else []
    return or_(false(), *tests, *([expression.is_(None)] if len(known) < len(values) else []))


def limits(base: FactTable, ask: BoundQuestion, now: Time) -> list[Expression]:
    """Give the conditions of a question's filters and scope on one base.

    Raises UnknownDimension for one that it does not know.
    """
    known = knows(base, ask.own)
    for name in (*ask.where, *ask.scope.allowed):
        if not time_grain(name) and ALIASES.get(name, name) not in known:
            raise UnknownDimension(f"This cannot be filtered by {name!r}. It can be by: {', '.join(sorted(known))}.")
    return [
        dimension_condition(base, name, values, ask.on, now)
        for chosen in (ask.where, ask.scope.allowed)
        for name, values in chosen.items()
    ]


def filters(base: FactTable, ask: BoundQuestion, now: Time) -> list[Expression]:
    """Give the conditions of a question on one base: period, filters, scope, sources, what existed by then.

    Raises UnknownDimension for a filter on what the base does not know.
    """
    found = limits(base, ask, now)
    day = base.days[ask.on]
    if ask.since is not None:
        found.append(day >= literal_day(ask.since))
    if ask.until is not None:
        found.append(day <= literal_day(ask.until))
    if ask.since is None and ask.until is None and ask.on == "order" and base.name != "orders":
        found.append(day.is_not(None))
    if ask.sources is not None:
        found.append(base.dimensions["source"].in_(list(ask.sources)))
    if ask.as_of is not None and base.seen is not None:
        found.append(base.seen <= literal_instant(ask.as_of))
    if ask.has_faults and base.fault is not None:
        found.append(base.fault.is_(None))
    return found


def statement(ask: BoundQuestion) -> Select[Any]:
    """Build the one SELECT of a question's statistics: group columns, details, then one column a measure.

    Without groups it gives exactly one row; groups whose sums have no row at all are left out. Raises UnknownDimension
    and PartlyKnown.
    """
    metric = ask.metric
    check_dimensions(metric, [*ask.by, *ask.where], ask.own)
    names = {ALIASES.get(n, n) for n in (*ask.by, *ask.where, *ask.scope.allowed) if not time_grain(n)}
    by_base: dict[str, tuple[FactTable, list[tuple[str, Sum]]]] = {}
    for m in metric.measures:
        for s in (x for x in _chosen(m, names, ask.own) if x.base.table_name not in ask.empty):
            by_base.setdefault(s.base.name, (s.base, []))[1].append((m.name, s))
    is_wrapped = metric.wrap is not None and ask.details == metric.details
    additive = not any(s.distinct for _, sums in by_base.values() for _, s in sums)
    grains = tuple(
        b for b in ask.by if time_grain(b) and b != "day" and additive and not ask.is_fine and not is_wrapped
    )
    parts = [_part(base, sums, ask, grains) for base, sums in by_base.values()]
    groups, columns = [*ask.by, *ask.details], [m.name for m in metric.measures]
    chosen = parts[0]
    if len(parts) > 1 or grains:
        together = union_all(*(_padded(p, groups, columns) for p in parts)) if len(parts) > 1 else chosen
        inner = together.subquery("part")
        keys = {g: period_start(g, inner.c[g]) if g in grains else inner.c[g] for g in groups}
        sums_ = (func.sum(inner.c[c]).label(c) for c in columns)
        chosen = select(*(k.label(g) for g, k in keys.items()), *sums_).group_by(*keys.values())
    return metric.wrap(chosen, ask, columns) if metric.wrap and is_wrapped else chosen


def _part(base: FactTable, sums: list[tuple[str, Sum]], ask: BoundQuestion, grains: Sequence[str]) -> Select[Any]:
    """Group one base: every measure of it in one pass, what they have in common in WHERE.

    `grains` are left at the plain day.
    """
    now = base.time(ask)
    keys = {name: dimension(base, "day" if name in grains else name, ask.on, now) for name in ask.by}
    details = {name: base.details[name](now) for name in ask.details if name in base.details}
    absent = {name: cast(null(), _detail_type(ask, name)) for name in ask.details if name not in base.details}
    common, own = _shared([_parts_of(s, now) for _, s in sums])
    totals: dict[str, list[Expression]] = {}
    for (name, s), condition in zip(sums, own, strict=True):
        amount = s.amount(now)
        value = amount if condition is None else case((condition, amount))
        total = func.count(value.distinct()) if s.distinct else sum_of(value, amount)
        totals.setdefault(name, []).append(total)
    columns = [_added(t).label(name) for name, t in totals.items()]
    labelled = [e.label(n) for n, e in {**keys, **details, **absent}.items()]
    query = select(*labelled, *columns).where(*filters(base, ask, now), *common)
    source = base.table
    if base.alone is not None and set(query.get_final_froms()) <= {base.alone}:
        source = base.alone
    for table, on in (base.joins[d] for d in details if d in base.joins):
        source = source.outerjoin(table, on(now))
    grouped = [*keys.values(), *details.values()]
    query = query.select_from(source)
    return query.group_by(*grouped) if grouped else query


_PARTS: WeakKeyDictionary[Sum, dict[Hashable, dict[str, Expression]]] = WeakKeyDictionary()


def _parts_of(s: Sum, now: Time) -> dict[str, Expression]:
    """Give the conditions that all must hold for a row to count in a sum, by their text; written once."""
    known = _PARTS.setdefault(s, {})
    if now.seen not in known:
        if len(known) >= REMEMBERED_TIMES:
            known.clear()
        condition = s.condition(now)
        known[now.seen] = {} if condition is None else _by_text(condition)
    return known[now.seen]


def _by_text(condition: Expression) -> dict[str, Expression]:
    is_and = getattr(condition, "operator", None) is joined_by_and
    parts: Sequence[Expression] = condition.clauses if is_and else [condition]
    return {str(p.compile(compile_kwargs={"literal_binds": True})): p for p in parts}


def _shared(conditions: list[dict[str, Expression]]) -> tuple[list[Expression], list[Expression | None]]:
    """Part conditions into those of WHERE and what is left to each sum (None: nothing).

    Those in common go to WHERE; when something is left to every sum, a row must also be of use to one of them.
    """
    shared = set.intersection(*(set(c) for c in conditions))
    common = [condition for text, condition in conditions[0].items() if text in shared]
    left = [{text: c for text, c in found.items() if text not in shared} for found in conditions]
    own = {" AND ".join(found): and_(*found.values()) for found in left if found}
    if all(left):
        common.append(or_(*own.values()))
    return common, [own[" AND ".join(found)] if found else None for found in left]


def _detail_type(ask: BoundQuestion, name: str) -> Any:
    bases = (s.base for m in ask.metric.measures for sums in m.alternatives for s in sums)
    return next(b.details[name](Time(b.dimensions["source"])).type for b in bases if name in b.details)


def _added(totals: list[Expression]) -> Expression:
    if len(totals) == 1:
        return totals[0]
    found: Expression = func.coalesce(totals[0], 0)
    for t in totals[1:]:
        found = found + func.coalesce(t, 0)
    return found


def sum_of(value: Expression, amount: Expression) -> Expression:
    """Count rows; sum whole numbers as they are, money as decimals, everything else in Double."""
    if str(amount) == "1":
        return func.count(value)
    if isinstance(amount.type, Integer):
        return func.sum(value)
    is_decimal = isinstance(amount.type, Numeric) and not isinstance(amount.type, Float)
    return double(func.sum(value)) if is_decimal else func.sum(double(value))


def _padded(part: Select[Any], groups: list[str], columns: list[str]) -> Select[Any]:
    inner = part.subquery()
    have = set(inner.c.keys())
    padded = [inner.c[c].label(c) if c in have else double(null()).label(c) for c in columns]
    return select(*(inner.c[g].label(g) for g in groups), *padded)
