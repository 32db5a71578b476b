"""The catalogue of metrics for tools that read copies of a build, in the form of Open Semantic Interchange (OSI).

A dataset is a base that metrics are summed over, with its days and dimensions as fields; a metric is an expression of
sums of datasets. One idea: only a metric whose value is such an expression whatever the day is written as one. Of all
others (final rates, waits, probabilities, emissions that a missing factor greys) the sums alone would be another
number, so they stand with name, sentence and formula under `asked_only` and are asked of Backhaul. Intervals, coverage
and cautions are never in a copy; they are asked too.
Source: Open Semantic Interchange, core specification 0.1.1 (11 December 2025; since 2026 Apache Ossie, incubating),
https://github.com/apache/ossie/tree/osi-0.1.1-rc1/core-spec
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Column, Select, Table, and_, case, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import visitors

from pipelines.errors import ExportError
from pipelines.metrics.catalogue import catalogue
from pipelines.metrics.compiler import filters, sum_of
from pipelines.metrics.declare import BoundQuestion, FactTable, Metric, Sum
from pipelines.metrics.finish.shares import Ratio, total
from pipelines.outputs.export import product_version
from pipelines.settings import write_whole
from pipelines.warehouse.engine import Expression

VERSION = "0.1.1"
ADDRESS = "https://github.com/apache/ossie/tree/osi-0.1.1-rc1/core-spec"
_TIMES: tuple[dict[str, datetime], ...] = ({}, {"a": datetime(2001, 1, 1)})
"""Two times of observation: what is written otherwise at another one is no expression of the data alone."""


@dataclass(frozen=True)
class Part:
    """A sum of one dataset, as SQL over the dataset's name."""

    base: FactTable
    sql: str


class _Dataset:
    """A base as one selectable that bears its name: its columns, and expressions written over them."""

    def __init__(self, base: FactTable) -> None:
        self.base = base
        self.used: set[Any] = set()
        if isinstance(base.table, Table):
            alias = base.table.alias(base.name)
            self._map: dict[Any, Any] = {column: alias.c[column.name] for column in base.table.c}
            self.query: Select[Any] | None = None
        else:
            inner = {c: f"{getattr(c.table, 'name', '')}_{c.name}" for c in base.table.c}
            self.query = select(*(c.label(name) for c, name in inner.items())).select_from(base.table)
            named = self.query.subquery(base.name)
            self._map = {column: named.c[name] for column, name in inner.items()}

    def sql(self, expression: Expression) -> str:
        """Write an expression over the dataset's name. Raises KeyError for one that needs another table."""
        strangers = {c for c in visitors.iterate(expression) if isinstance(c, Column) and c not in self._map}
        if strangers:
            raise KeyError(str(next(iter(strangers))))
        self.used |= {self._map[c] for c in visitors.iterate(expression) if isinstance(c, Column)}
        moved: Expression = visitors.replacement_traverse(expression, {}, self._moved)
        return _written(moved)

    def _moved(self, element: Any, **_: Any) -> Any:
        return self._map.get(element)

    def source(self, prefix: str) -> str:
        """Say what it is read from: a table, or the query that joins several."""
        if self.query is None:
            return f"{prefix}.{self.base.table_name}" if prefix else self.base.table_name
        return " ".join(_written(self.query, prefix).split())


def _written(expression: Any, prefix: str = "") -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    schema = {"schema_translate_map": {None: prefix}, "render_schema_translate": True} if prefix else {}
    text = str(expression.compile(dialect=dialect, compile_kwargs={"literal_binds": True}, **schema))
    return text.replace("%%", "%")


def _sum_sql(dataset: _Dataset, s: Sum, bound: BoundQuestion) -> str:
    """Write a sum as the compiler of questions sums it: what counts nowhere is left out."""
    now = s.base.time(bound)
    own = s.condition(now)
    conditions = [*filters(s.base, bound, now), *([own] if own is not None else [])]
    amount = s.amount(now)
    value = case((and_(*conditions), amount)) if conditions else amount
    return dataset.sql(func.count(value.distinct()) if s.distinct else sum_of(value, amount))


def parts_of(metric: Metric, datasets: dict[str, _Dataset]) -> list[list[Part]] | None:
    """Give the sums that add up to a metric's value, or to its numerator and denominator; None where it is no such."""
    if metric.finish is None or metric.finish is total:
        names: Sequence[str] = [metric.measures[0].name]
    elif isinstance(metric.finish, Ratio):
        names = [metric.finish.numerator, metric.finish.denominator]
    else:
        return None
    if metric.required or metric.wrap or metric.details:
        return None
    by_name = {m.name: m for m in metric.measures}
    found: list[list[Part]] = []
    for name in names:
        parts = []
        for s in by_name[name].alternatives[0]:
            dataset = datasets.setdefault(s.base.name, _Dataset(s.base))
            try:
                written = {_sum_sql(dataset, s, BoundQuestion(metric, observed=t, has_faults=True)) for t in _TIMES}
            except KeyError:
                return None
            if len(written) > 1:
                return None
            parts.append(Part(s.base, written.pop()))
        found.append(parts)
    return found


def expression_of(metric: Metric, sides: list[list[Part]]) -> str:
    """Write a metric's value over its datasets' sums."""
    added = [" + ".join(f"coalesce({p.sql}, 0)" for p in side) for side in sides]
    if len(added) == 1:
        return added[0]
    per = metric.finish.per if isinstance(metric.finish, Ratio) else 1.0
    return f"{f'{per:g} * ' if per != 1 else ''}CAST({added[0]} AS DOUBLE PRECISION) / NULLIF({added[1]}, 0)"


def _expression(sql: str) -> dict[str, Any]:
    return {"dialects": [{"dialect": "ANSI_SQL", "expression": sql}]}


def _extension(**data: Any) -> list[dict[str, str]]:
    return [{"vendor_name": "COMMON", "data": json.dumps({"backhaul": data}, ensure_ascii=False)}]


def _fields(dataset: _Dataset) -> Iterable[dict[str, Any]]:
    """Give the days and dimensions of a dataset, and the columns that its metrics use."""
    base, used = dataset.base, sorted(dataset.used, key=lambda c: str(c.name))
    named = {f"{basis}_day": (day, True) for basis, day in base.days.items()}
    named |= {name: (expression, False) for name, expression in base.dimensions.items()}
    for name, (expression, is_time) in named.items():
        try:
            sql = dataset.sql(expression)
        except KeyError:
            continue
        said = str(getattr(expression, "comment", None) or "")
        yield {
            "name": name,
            "expression": _expression(re.sub(rf"\b{base.name}\.", "", sql)),
            "dimension": {"is_time": is_time},
            **({"description": said} if said else {}),
        }
    for column in used:
        if column.name not in named:
            yield {"name": str(column.name), "expression": _expression(str(column.name))}


def _facts(metric: Metric) -> dict[str, Any]:
    return {
        "unit": metric.unit,
        "date_basis": metric.basis,
        "good": metric.good,
        "numerator": metric.numerator,
        "denominator": metric.denominator,
        "formula": metric.formula,
    }


def _written_metric(metric: Metric, sides: list[list[Part]]) -> dict[str, Any]:
    parts = [{"dataset": p.base.name, "expression": p.sql} for side in sides for p in side]
    apart = len({p["dataset"] for p in parts}) > 1
    day = f"Days are those of {metric.dated}; interval, coverage and cautions are asked of Backhaul."
    told = f"Sum each dataset by itself, then put the sums together. {day}" if apart else day
    return {
        "name": metric.key,
        "expression": _expression(expression_of(metric, sides)),
        "description": metric.sentence.en,
        "ai_context": {"instructions": told, "synonyms": [metric.name.en, metric.name.fr]},
        "custom_extensions": _extension(**_facts(metric), parts=parts),
    }


def model(prefix: str = "backhaul") -> dict[str, Any]:
    """Give the catalogue as an OSI document; `prefix` is the schema that a copy lies in, empty for none."""
    datasets: dict[str, _Dataset] = {}
    written, asked = [], []
    used: set[str] = set()
    for metric in catalogue():
        sides = parts_of(metric, datasets)
        if sides is None:
            about = {"name": metric.key, "title": [*metric.name], "description": metric.sentence.en}
            asked.append({**about, **_facts(metric), "ask": f"backhaul metric {metric.key}"})
            continue
        used |= {part.base.name for side in sides for part in side}
        written.append(_written_metric(metric, sides))
    return {
        "version": VERSION,
        "semantic_model": [
            {
                "name": "backhaul",
                "description": "What comes back to a shop: facts and metrics of a copy made by `backhaul copy`.",
                "ai_context": {
                    "instructions": "A metric under asked_only is no sum of the copy: ask Backhaul, never estimate it."
                },
                "datasets": [
                    {"name": name, "source": d.source(prefix), "fields": [*_fields(d)]}
                    for name, d in datasets.items()
                    if name in used
                ],
                "metrics": written,
                "custom_extensions": _extension(version=product_version(), asked_only=asked),
            }
        ],
    }


def write(path: Path, prefix: str) -> tuple[int, int]:
    """Write the catalogue as YAML or JSON, by the ending; gives how many metrics are written and how many asked only.

    Raises ExportError for another ending.
    """
    found = model(prefix)
    form = path.suffix.lower()
    if form == ".json":
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    elif form in (".yaml", ".yml"):
        text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120)
    else:
        raise ExportError(f"{path} does not say its form. Name the file .yaml or .json.")
    write_whole(path, text)
    (said,) = found["semantic_model"]
    listed = json.loads(said["custom_extensions"][0]["data"])["backhaul"]["asked_only"]
    return len(said["metrics"]), len(listed)
