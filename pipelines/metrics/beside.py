"""What is said beside a number of rows that count, or do not, by a judgement of ours.

Lines that count as sold though they show no shipment, lines that do not for that reason, and units back beyond what
their line sold. Such rows are looked for once a build; where there are some, one SELECT more a question gives their
share in each group. What cannot be counted at all is in `losses`.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Integer, Select, and_, case, false, func, literal_column, or_, select
from sqlalchemy.sql.expression import FromClause

from pipelines.metrics.compiler import chosen_sums, dimension, filters
from pipelines.metrics.declare import BoundQuestion, FactTable
from pipelines.metrics.losses import CAUTION, joined_words, share
from pipelines.metrics.sums import summed
from pipelines.warehouse.engine import Build, Expression, double, literal_instant
from pipelines.warehouse.rules import SETTLED_DAYS
from pipelines.warehouse.star import STAR
from pipelines.why import together, why

_LINES, _BACK = (STAR.tables[n] for n in ("fact_order_line", "fact_return_line"))
_NEEDS = and_(  # a store sells over the counter: its lines need no shipment
    _LINES.c.line_type == literal_column("'goods'"),
    or_(_LINES.c.channel.is_(None), _LINES.c.channel != literal_column("'store'")),
)
_HAS_LEFT = or_(_LINES.c.shipped_at.is_not(None), _LINES.c.delivered_at.is_not(None))
_ORDERED = and_(
    _LINES.c.line_type == literal_column("'goods'"),
    ~_LINES.c.is_exchange,
    _LINES.c.units_ordered > _LINES.c.units_cancelled,
)


@dataclass(frozen=True)
class _Shipping:
    """The sources that report shipments but not those of every line that counts as sold.

    And of those judged by their habit the time before which a line that shows none is judged not sold.
    """

    partly: tuple[str, ...] = ()
    judged: Mapping[str, datetime] = field(default_factory=dict)


_SHOWS_NONE = and_(_NEEDS, ~_HAS_LEFT)
_CAME_BACK = (  # of the few lines that it is asked of
    select(_BACK.c.order_line_key)
    .where(
        _BACK.c.confirmed_at.is_not(None),
        _BACK.c.order_line_key.in_(select(_LINES.c.order_line_key).where(_SHOWS_NONE)),
    )
    .distinct()
    .subquery("came_back")
)
_OF_LINE = (_CAME_BACK, _CAME_BACK.c.order_line_key == _LINES.c.order_line_key)
_IS_BARE = and_(_SHOWS_NONE, _CAME_BACK.c.order_line_key.is_(None))
"""A line that shows no shipment: none is reported, and nothing of it came back; joined by `_OF_LINE`."""


def _shipping(build: Build) -> _Shipping:
    """Look, once a build, which sources report some shipments, and which are judged by their habit."""
    if "shipping" not in build.cache:
        columns: list[Expression] = [
            func.count(case((and_(_NEEDS, _HAS_LEFT), 1))).label("seen"),
            func.count(case((and_(_IS_BARE, _LINES.c.units_sold > 0), 1))).label("bare"),
            func.count(case((and_(_IS_BARE, _ORDERED, _LINES.c.units_sold == 0), 1))).label("unsold"),
            func.min(case((and_(_NEEDS, _ORDERED), _LINES.c.ordered_at))).label("first"),
            func.max(case((and_(_NEEDS, _ORDERED), _LINES.c.ordered_at))).label("last"),
        ]
        by_source = select(_LINES.c.source, *columns).select_from(_LINES.outerjoin(*_OF_LINE)).group_by(_LINES.c.source)
        found = build.fetch(by_source).set_index("source")
        habit = set(json.loads(build.info.get("shipping_sources", "[]")))
        judged = {}
        for source, row in found[(found["unsold"] > 0) & found.index.isin(list(habit))].iterrows():
            first, last = (pd.Timestamp(row[c]).tz_localize(None).to_pydatetime() for c in ("first", "last"))
            settled = last - timedelta(SETTLED_DAYS)
            judged[str(source)] = settled if first < settled else last + timedelta(1)
        partly = found.index[(found["seen"] > 0) & (found["bare"] > 0)]
        build.cache["shipping"] = _Shipping(tuple(map(str, partly)), judged)
    shipping: _Shipping = build.cache["shipping"]
    return shipping


def unshipped(build: Build, ask: BoundQuestion, found: pd.DataFrame) -> pd.DataFrame:
    """Say on each row of an answer that counts what was sold what share of its lines show no shipment.

    Of the lines sold, those whose source reports the shipments of others; of the lines ordered, those that are not sold
    for that reason, their source reporting what it ships. What may still be shipped is not judged.
    """
    of = _shipping(build)
    if not of.partly and not of.judged:
        return found
    bases = {s.base.name: s.base for s in chosen_sums(ask) if s.base.table_name == _LINES.name}
    columns = {name: func.count(case((test, 1))) for name, test in _line_tests(of).items()}
    parts = [_counted(build, ask, base, _OF_LINE, columns, of_what="shipped") for base in bases.values()]
    if not parts:
        return found
    told = _joined(found, parts, list(ask.by), ["sold", "bare", "ordered", "unsold"])
    with np.errstate(invalid="ignore", divide="ignore"):
        bare, unsold = (told[a] / told[b] for a, b in (("bare", "sold"), ("unsold", "ordered")))
    words = [
        together(*(why(code, share=share(part)) for code, part in (("unshipped", b), ("unsold", u)) if part > 0))
        for b, u in zip(bare, unsold, strict=True)
    ]
    if not any(words):
        return found
    return found.assign(note=[together(*pair) for pair in zip(found["note"].fillna(""), words, strict=True)])


def _line_tests(of: _Shipping) -> dict[str, Expression]:
    """Say of a line that it is sold, or that besides it shows no shipment; that it is ordered, or not sold for that."""
    is_sold = _LINES.c.units_sold > 0
    late = [
        and_(_LINES.c.source == source, _LINES.c.ordered_at < literal_instant(t)) for source, t in of.judged.items()
    ]
    return {
        "sold": is_sold,
        "bare": and_(is_sold, _LINES.c.source.in_(list(of.partly)), _IS_BARE),
        "ordered": _ORDERED,
        "unsold": and_(_ORDERED, ~is_sold, or_(false(), *late), _IS_BARE),
    }


def _counted(
    build: Build,
    ask: BoundQuestion,
    base: FactTable,
    joined: tuple[FromClause, Expression],
    columns: Mapping[str, Expression],
    *conditions: Expression,
    of_what: Hashable,
) -> pd.DataFrame:
    """Sum columns over the rows of a base that a question is of, each with its row of another table, in its groups."""

    def of(asked: BoundQuestion) -> Select[Any]:
        now = base.time(asked)
        keys = [dimension(base, b, asked.on, now).label(b) for b in asked.by]
        sums: list[Expression] = [c.label(n) for n, c in columns.items()]
        rows = select(*keys, *sums).select_from(base.table.outerjoin(*joined))
        query = rows.where(*filters(base, asked, now), *conditions)
        return query.group_by(*keys) if keys else query

    return summed(build, ask, of, (base.table, of_what), list(columns), is_plain=True)


def _joined(
    found: pd.DataFrame, parts: Sequence[pd.DataFrame], by: Sequence[str], columns: Sequence[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Give the sums of several parts for the rows of an answer, in their order."""
    if not by:
        sums = {c: np.nansum([part[c].to_numpy(float) for part in parts]) for c in columns}
        return {c: np.full(len(found), total) for c, total in sums.items()}
    told = pd.concat(parts, ignore_index=True)
    told = told.groupby(list(by), dropna=False, as_index=False)[list(columns)].sum()
    mixed = {b: object for b in by if found[b].dtype != told[b].dtype}
    joined = found[list(by)].astype(mixed).merge(told.astype(mixed), on=list(by), how="left")
    return {c: joined[c].to_numpy(float) for c in columns}


def beyond_sold(build: Build, ask: BoundQuestion, found: pd.DataFrame) -> pd.DataFrame:
    """Say on each row of an answer what share of its returned units stands on lines that sold fewer.

    Past `CAUTION` that is a caution. Such lines are looked for once a build.
    """
    o, r = _LINES.c, _BACK.c
    sold = o.units_sold + o.units_exchanged_in
    both = _BACK.join(_LINES, r.order_line_key == o.order_line_key)
    came_back = select(r.order_line_key).select_from(both).where(r.confirmed_at.is_not(None))
    lines = came_back.group_by(r.order_line_key, sold).having(func.sum(r.units) > sold)
    beyond = lines.subquery("beyond_sold")
    if "beyond_sold" not in build.cache:
        build.cache["beyond_sold"] = len(build.fetch(lines.limit(1))) > 0
    parts = []
    for s in chosen_sums(ask) if build.cache["beyond_sold"] else ():
        now = s.base.time(ask)
        if s.base.table_name != "fact_return_line" or not isinstance(s.amount(now).type, Integer):
            continue
        amount = double(func.abs(s.amount(now)))
        is_beyond = beyond.c.order_line_key.is_not(None)
        columns = {"beyond": func.sum(case((is_beyond, amount), else_=double(0))), "of": func.sum(amount)}
        of_lot = (beyond, beyond.c.order_line_key == s.base.first_table.c.order_line_key)
        parts.append(_counted(build, ask, s.base, of_lot, columns, *([s.when(now)] if s.when else []), of_what=s))
    if not parts:
        return found
    joined = _joined(found, parts, list(ask.by), ["beyond", "of"])
    with np.errstate(invalid="ignore", divide="ignore"):
        of_row = np.nan_to_num(joined["beyond"] / joined["of"]).tolist()
    words = [why("beyond_sold", share=share(part)) if part else "" for part in of_row]
    return found.assign(
        note=[together(*pair) for pair in zip(found["note"].fillna(""), words, strict=True)],
        caution=[
            joined_words(own, "coverage" if part > CAUTION else "")
            for own, part in zip(found["caution"].fillna(""), of_row, strict=True)
        ],
    )
