"""What a metric is made of, and how its statistics become one SELECT.

A `Base` is a fact table with its days (one per date basis) and the dimensions it knows. A `Measure` is an additive sum
over one or more bases, with alternatives when different bases know different dimensions. A `Metric` names its measures
and, if it is not itself a sum, a `finish`: a function from statistics per group to value and interval, resting on
`models/`. The SELECT groups each base by the asked dimensions in one pass and lays the bases under each other; nothing
else is joined. Weeks to years are rolled up from days, and the observation times of the sources are written into the
SQL: both spare work on every row. No metric is declared here.
"""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

import pandas as pd
from sqlalchemy import (
    DateTime,
    Float,
    Integer,
    Numeric,
    Select,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.sql.operators import and_ as joined_by_and

from pipelines.errors import UnknownDimension, UnknownMetric
from pipelines.warehouse.engine import Build, Expression, double, literal_day, literal_instant, period_start, text_in

Values = Mapping[str, Sequence[Any]]
ALIASES = {
    "market": "country",
    "shop": "shop_id",
    "product": "product_id",
    "style": "style_id",
    "promise": "promise_id",
    "place": "place_id",
    "site": "place_id",
    "reason": "return_reason",
    "status": "data_status",
    "several_sizes": "has_several_sizes",
}

FINE = ("product_id", "style_id", "size")  # so many groups that counting by them and days first saves little
TAKEN = ("reason", "status")  # columns of an answer: these two dimensions are answered under their full names


class Text(NamedTuple):
    """A text in the two languages of the screens."""

    en: str
    fr: str


class Time:
    """The observation time of one question, as SQL.

    Without `as_of` everything recorded has happened, and T of a row is the latest event of its source. With it, only
    what happened by then has, and T is the earlier of the two. `observed` gives T of each source of the build: it is
    written into the SQL, for a build never changes and a join would cost every row.
    """

    def __init__(
        self, source: Expression, as_of: datetime | None = None, observed: Mapping[str, datetime] | None = None
    ) -> None:
        self._source = source
        self.as_of = as_of
        self._observed = observed or {}

    @property
    def at(self) -> Expression:
        """T of the row's source."""
        return self.after(0)

    def after(self, days: float) -> Expression:
        """Give the instant so many days after T of the row's source."""
        ends = {
            s: literal_instant((t if self.as_of is None else min(t, self.as_of.replace(tzinfo=None))) + timedelta(days))
            for s, t in sorted(self._observed.items())
        }
        if not ends:
            return cast(null(), DateTime)
        if len(ends) == 1:
            return next(iter(ends.values()))
        return case(*((self._source == literal(s, literal_execute=True), t) for s, t in ends.items()))

    def happened(self, instant: Expression) -> Expression:
        """Say whether something happened by the observation time."""
        return instant.is_not(None) if self.as_of is None else instant <= literal_instant(self.as_of)

    def open(self, instant: Expression) -> Expression:
        """Say whether something has not happened by the observation time."""
        return (
            instant.is_(None) if self.as_of is None else or_(instant.is_(None), instant > literal_instant(self.as_of))
        )


Sql = Callable[[Time], Expression]


@dataclass(frozen=True, eq=False)
class Base:
    """A fact table (or a join) with the days, dimensions and details it knows.

    `seen` is the instant a row came to exist; `details` are further groupings a finish needs, `timed` are dimensions;
    both are made from the observation time. `ids` are what `rows` shows. `alone` is the one table of a join that
    suffices as long as no column of another is asked for. `joins` names the table that a detail needs beside, each row
    finding one of it or none.

    What coverage counts rows by is `weight` (units, or 1), what they are is `noun`. `fault` says why the dates of a row
    are impossible (empty where they are possible): such rows count nowhere. `bound` is a table to join, by what, and
    its column that is filled for rows without an order that another base counts.
    """

    name: str
    table: FromClause
    days: Mapping[str, Expression]
    dimensions: Mapping[str, Expression]
    seen: Expression | None = None
    details: Mapping[str, Sql] = field(default_factory=dict)
    timed: Mapping[str, Sql] = field(default_factory=dict)
    ids: tuple[Expression, ...] = ()
    alone: FromClause | None = None
    joins: Mapping[str, tuple[FromClause, Sql]] = field(default_factory=dict)
    weight: Expression | None = None
    noun: str = "rows"
    fault: Expression | None = None
    fault_kind: str = "dates"
    bound: tuple[FromClause, Expression, Expression] | None = None
    own: Expression | None = None  # column of the shop's own dimensions

    def time(self, ask: "Ask") -> Time:
        """Give the observation time of a question for this base's rows."""
        return Time(self.dimensions["source"], ask.as_of, ask.observed)

    @property
    def table_name(self) -> str:
        """Name of the base's first table."""
        first: Any = self.table
        while hasattr(first, "left"):
            first = first.left
        return str(getattr(first, "name", ""))


@dataclass(frozen=True, eq=False)
class Sum:
    """A sum over one base: of `amount`, where `when` holds; `distinct` counts distinct values instead.

    `of_orders` leaves out rows that name no order we know, whatever day is asked for.
    """

    base: Base
    amount: Sql
    when: Sql | None = None
    distinct: bool = False
    of_orders: bool = False

    def condition(self, now: Time) -> Expression | None:
        """Give what a row must be to count; None where every row does."""
        parts = [
            *([self.when(now)] if self.when else []),
            *([self.base.days["order"].is_not(None)] if self.of_orders else []),
        ]
        return and_(*parts) if parts else None


@dataclass(frozen=True, eq=False)
class Measure:
    """A named additive statistic: the first alternative whose bases all know the asked dimensions."""

    name: str
    alternatives: tuple[tuple[Sum, ...], ...]


def measure(name: str, *alternatives: Sum | Sequence[Sum]) -> Measure:
    """Name a measure; each alternative is a sum, or several added up."""
    return Measure(name, tuple((a,) if isinstance(a, Sum) else tuple(a) for a in alternatives))


@dataclass(frozen=True)
class Scope:
    """What the reader may see: values allowed per dimension; empty is everything."""

    allowed: Values = field(default_factory=dict)


EVERYTHING = Scope()


@dataclass(frozen=True)
class Ask:
    """One question: a metric's parameter, groups, filters, period, observation time and level of its intervals.

    `sources` are those that fill what the metric needs, when not all do; `empty` names bases without a row in the
    build, `has_faults` says whether some of its rows have impossible dates, and `observed` is T of each of its sources.
    """

    metric: "Metric"
    parameter: float | None = None
    by: tuple[str, ...] = ()
    where: Values = field(default_factory=dict)
    since: date | None = None
    until: date | None = None
    as_of: datetime | None = None
    level: float = 0.9
    scope: Scope = EVERYTHING
    sources: tuple[str, ...] | None = None
    empty: frozenset[str] = frozenset()
    has_faults: bool = False
    observed: Mapping[str, datetime] = field(default_factory=dict)
    basis: str | None = None
    own: frozenset[str] = frozenset()  # names of the shop's own dimensions in the build

    @property
    def on(self) -> str:
        """Date basis of the question."""
        return self.basis or self.metric.basis

    @property
    def is_fine(self) -> bool:
        """Say whether it is cut into very many groups."""
        return any(ALIASES.get(b, b) in FINE for b in self.by)

    @property
    def details(self) -> tuple[str, ...]:
        """Details that its parts are grouped by."""
        return self.metric.fine_details if self.is_fine and self.metric.fine_details else self.metric.details


DATED = {"period": "by date of return over date of sale"}
"""How a date basis is named where it is not one day of each row."""

Finish = Callable[[pd.DataFrame, Ask, Build], pd.DataFrame]
Only = Callable[[Base, Ask, Time], Expression]
PARTS = ("numerator", "denominator")
Wrap = Callable[[Select[Any], Ask, list[str]], Select[Any]]


@dataclass(frozen=True, eq=False)
class Metric:
    """One number, declared once: what it is called, what it means, what it is made of.

    `needs` are kinds of fact as `build_coverage` names them ("a|b": one of the two). `unit` is share, units, money,
    days, kg CO2e, count or one of them per something. `good` says which way is good: up, down or none. `wrap` makes the
    last SELECT of one that is grouped by `details`; a question cut finely is grouped by `fine_details` at once, where
    there are any.
    """

    key: str
    name: Text
    sentence: Text
    numerator: str
    denominator: str
    formula: str
    unit: str
    basis: str
    good: str
    needs: tuple[str, ...]
    measures: tuple[Measure, ...]
    finish: Finish | None = None
    parameter: float | None = None
    details: tuple[str, ...] = ()
    fine_details: tuple[str, ...] = ()
    wrap: Wrap | None = None
    required: tuple[str, ...] = ()
    family: str = ""
    first: str | None = None  # measure of the numerator; the first one unless said
    parts: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # measures of a part where it is more, or another; "-x" subtracts
    only: Mapping[str, Only] = field(
        default_factory=dict
    )  # what else a row must be to count in a part, where its finish chooses
    instead_of: str = ""  # key of the better number that it stands for: nothing waits for it where that one is known
    is_ratio: bool = False  # a share whose numerator is no part of its denominator: it may pass 1
    is_systematic: bool = False  # its interval is of doubt that two periods share: no comparison rests on it
    whole: tuple[str, ...] | None = (
        None  # of a share of the whole: dimensions whose groups share it; () is every one but time
    )

    @property
    def dated(self) -> str:
        """Name its date basis in words."""
        return DATED.get(self.basis, f"by {self.basis} date")


def part_measures(metric: Metric, part: str) -> list[tuple[Measure, int]]:
    """Give the measures that add up to the numerator or denominator, each with its sign.

    Without a word of its own the numerator is the metric's first measure and the denominator its second, or the same
    one for a share of the whole. Raises UnknownMetric for a part that the metric has not.
    """
    if part not in PARTS or (part == "denominator" and not metric.denominator):
        raise UnknownMetric(f"{metric.key} has no {part}; its rows are those of its numerator.")
    top = metric.first or metric.measures[0].name
    bottom = next((m.name for m in metric.measures if m.name != top), top)
    names = metric.parts.get(part) or ((top if part == "numerator" else bottom),)
    by_name = {m.name: m for m in metric.measures}
    return [(by_name[n.removeprefix("-")], -1 if n.startswith("-") else 1) for n in names]


class PartlyKnown(UnknownDimension):
    """Dimensions are known to one part of a metric only; the message is the reason shown on screen."""


def time_grain(name: str) -> bool:
    """Say whether a dimension is a time grain."""
    return name in period_start.grains


def knows(base: Base, own: Collection[str] = ()) -> set[str]:
    """Give the names of a base's dimensions, time grains left out; of the build's `own` where its rows carry them."""
    return {*base.dimensions, *base.timed, *(own if base.own is not None else ())}


def dimension(base: Base, name: str, basis: str, now: Time) -> Expression:
    """Give a base's expression of a dimension it knows."""
    if name in period_start.grains:
        return period_start(name, base.days[basis])
    canonical = ALIASES.get(name, name)
    if is_own(base, canonical) and base.own is not None:
        return text_in(canonical, base.own)
    return base.timed[canonical](now) if canonical in base.timed else base.dimensions[canonical]


def is_own(base: Base, name: str) -> bool:
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
        raise PartlyKnown(
            f"{name} is known of {metric.numerator} but not of {metric.denominator}: the ratio would be wrong"
        )
    canonical_names = {ALIASES.get(n, n) for n in names if not time_grain(n)}
    for m in metric.measures:
        if not any(all(canonical_names <= knows(s.base, own) for s in sums) for sums in m.alternatives):
            raise PartlyKnown(
                f"{', '.join(sorted(canonical_names))} are not known of the same rows: ask for one at a time"
            )


def _chosen(m: Measure, names: set[str], own: Collection[str]) -> tuple[Sum, ...]:
    return next(sums for sums in m.alternatives if all(names <= knows(s.base, own) for s in sums))


def chosen_sums(ask: Ask, name: str | None = None) -> list[Sum]:
    """Give the sums that a question is answered with, those of one measure or of all."""
    names = {ALIASES.get(n, n) for n in (*ask.by, *ask.where, *ask.scope.allowed) if not time_grain(n)}
    return [s for m in ask.metric.measures if name in (None, m.name) for s in _chosen(m, names, ask.own)]


def dimension_condition(base: Base, name: str, values: Sequence[Any], basis: str, now: Time) -> Expression:
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


def limits(base: Base, ask: Ask, now: Time) -> list[Expression]:
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


def filters(base: Base, ask: Ask, now: Time) -> list[Expression]:
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


def as_instant(day: date | datetime | None) -> datetime | None:
    """Give the observation time meant by a day: its end; an instant is itself."""
    if day is None or isinstance(day, datetime):
        return day
    return datetime.combine(day, time.max)


def statement(ask: Ask) -> Select[Any]:
    """Build the one SELECT of a question's statistics: group columns, details, then one column a measure.

    Without groups it gives exactly one row; groups whose sums have no row at all are left out. Raises UnknownDimension
    and PartlyKnown.
    """
    metric = ask.metric
    check_dimensions(metric, [*ask.by, *ask.where], ask.own)
    names = {ALIASES.get(n, n) for n in (*ask.by, *ask.where, *ask.scope.allowed) if not time_grain(n)}
    by_base: dict[str, tuple[Base, list[tuple[str, Sum]]]] = {}
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


def _part(base: Base, sums: list[tuple[str, Sum]], ask: Ask, grains: Sequence[str]) -> Select[Any]:
    """Group one base: every measure of it in one pass, what they have in common in WHERE.

    `grains` are left at the plain day.
    """
    now = base.time(ask)
    keys = {name: dimension(base, "day" if name in grains else name, ask.on, now) for name in ask.by}
    details = {name: base.details[name](now) for name in ask.details if name in base.details}
    absent = {name: cast(null(), _detail_type(ask, name)) for name in ask.details if name not in base.details}
    conditions = [s.condition(now) for _, s in sums]
    common, own = _shared([_parts_of(c) if c is not None else {} for c in conditions])
    totals: dict[str, list[Expression]] = {}
    for (name, s), condition in zip(sums, own, strict=True):
        amount = s.amount(now)
        value = amount if condition is None else case((condition, amount))
        total = func.count(value.distinct()) if s.distinct else _sum(value, amount)
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


def _parts_of(condition: Expression) -> dict[str, Expression]:
    """Give the conditions that all must hold, by their text."""
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


def _detail_type(ask: Ask, name: str) -> Any:
    bases = (s.base for m in ask.metric.measures for sums in m.alternatives for s in sums)
    return next(b.details[name](Time(b.dimensions["source"])).type for b in bases if name in b.details)


def _added(totals: list[Expression]) -> Expression:
    if len(totals) == 1:
        return totals[0]
    found: Expression = func.coalesce(totals[0], 0)
    for t in totals[1:]:
        found = found + func.coalesce(t, 0)
    return found


def _sum(value: Expression, amount: Expression) -> Expression:
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


def always(_: Time) -> Expression:
    """Count every row."""
    return literal_column("1", Integer)


def both(*conditions: Sql) -> Sql:
    """Require several conditions."""
    return lambda t: and_(*(c(t) for c in conditions))
