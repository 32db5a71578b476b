"""What a metric is made of, and how its statistics become one SELECT.

A `Base` is a fact table with its days (one per date basis) and the dimensions it knows. A `Measure` is an additive sum
over one or more bases, with alternatives when different bases know different dimensions. A `Metric` names its measures
and, if it is not itself a sum, a `finish`: a function from statistics per group to value and interval, resting on
`models/`. The SELECT groups each base by the asked dimensions in one pass and lays the bases under each other; nothing
else is joined. Weeks to years are rolled up from days, and the observation times of the sources are written into the
SQL: both spare work on every row. No metric is declared here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pandas as pd
from sqlalchemy import Integer, Select, and_, literal_column
from sqlalchemy.sql.expression import FromClause

from pipelines.errors import UnknownMetric
from pipelines.metrics.question import ALIASES, EVERYTHING, FINE, Scope, Text, Values
from pipelines.warehouse.engine import Build, Expression
from pipelines.warehouse.rules import Sql, Time
from pipelines.why import why


@dataclass(frozen=True, eq=False)
class FactTable:
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

    def time(self, ask: "BoundQuestion") -> Time:
        """Give the observation time of a question for this base's rows."""
        return Time(self.dimensions["source"], ask.as_of, ask.observed)

    @property
    def first_table(self) -> Any:
        """The base's first table."""
        first: Any = self.table
        while hasattr(first, "left"):
            first = first.left
        return first

    @property
    def table_name(self) -> str:
        """Name of the base's first table."""
        return str(getattr(self.first_table, "name", ""))


@dataclass(frozen=True, eq=False)
class Sum:
    """A sum over one base: of `amount`, where `when` holds; `distinct` counts distinct values instead.

    `of_orders` leaves out rows that name no order we know, whatever day is asked for.
    """

    base: FactTable
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
class BoundQuestion:
    """A question put to a build: a metric, its parameter, groups, filters, days, observation time and level.

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


DATED = {"period": why("by_period")}
"""How a date basis is named where it is not one day of each row."""

Finish = Callable[[pd.DataFrame, BoundQuestion, Build], pd.DataFrame]
Only = Callable[[FactTable, BoundQuestion, Time], Expression]
PARTS = ("numerator", "denominator")
Wrap = Callable[[Select[Any], BoundQuestion, list[str]], Select[Any]]


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
    compared_by: str = (
        ""  # key of the metric whose interval a comparison rests on, where its own is of these rows alone
    )
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


def always(_: Time) -> Expression:
    """Count every row."""
    return literal_column("1", Integer)


def both(*conditions: Sql) -> Sql:
    """Require several conditions."""
    return lambda t: and_(*(c(t) for c in conditions))
