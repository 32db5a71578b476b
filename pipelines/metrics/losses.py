"""What a number rests on: the rows that belong to it and cannot be counted, and what that leaves open.

A row is lost to a sum when it names no order though the sum counts by orders, when its dates are impossible, when its
source lacks a fact the metric needs, or when its amount is not known (no exchange rate, no cost). A lost row is counted
under the dimensions it knows; where it does not know one it may belong to any group and counts in each. A row without
an order day is placed by the day of its return. One SELECT more a question, and only on a build that has such rows. A
row in quarantine is lost to every sum over what its log tells of: nobody knows where it belongs, so each group loses
the same share. No metric is declared here.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Integer, Select, and_, case, false, func, literal_column, null, or_, select, union_all
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import FromClause

from pipelines.metrics import sums
from pipelines.metrics.compiler import chosen_sums, dimension, dimension_condition
from pipelines.metrics.declare import BoundQuestion, FactTable, Measure, Sum, part_measures
from pipelines.metrics.finish.shares import total
from pipelines.metrics.question import time_grain
from pipelines.warehouse.date_order import FAULTY
from pipelines.warehouse.engine import Build, Expression, double, literal_day, literal_instant, period_start
from pipelines.warehouse.rules import Time
from pipelines.warehouse.star import STAR
from pipelines.warehouse.vocabulary import FACT_OF
from pipelines.why import together, why

CAUTION, UNKNOWN = 0.02, 0.20
"""Share lost past which a number carries a caution, and past which it is not available and its bounds stand instead."""
AMOUNTS = ("fx_rate", "cost_amount", "vat_amount", "net_amount", "refund_amount", "amount", "weight_kg")
"""Columns without which an amount of money or mass is not known, in the order they are named in."""
KINDS = ("order", "return", "dates", "undated", "reversed", "quarantine", *AMOUNTS, "where")
"""Why a row is lost to a sum; `lost_<kind>` of `why.SENTENCES` says it."""
_LOG_OF = {fact: thing for thing, fact in FACT_OF.items()}
_FAULTY = tuple(STAR.tables[n] for n in (*FAULTY, "estimate_promise"))
_SEP = "__"


def has_faults(build: Build) -> bool:
    """Say, once a build, whether some of its rows have impossible dates."""
    if "has_faults" not in build.cache:
        told = [*(t.c.date_fault for t in _FAULTY), STAR.tables["fact_return_line"].c.out_of_order]
        looks = [select(c).where(c.is_not(None)).limit(1) for c in told]
        build.cache["has_faults"] = any(len(build.fetch(look)) for look in looks)
    return bool(build.cache["has_faults"])


def _quarantined(build: Build, ask: BoundQuestion, measure: Measure) -> tuple[float, float]:
    """Count the rows in quarantine of the log that a measure is summed over, and those that count.

    In the sources of a question.
    """
    if "quarantine" not in build.cache:
        build.cache["quarantine"] = build.fetch(select(STAR.tables["build_quarantine"]))
    found = build.cache["quarantine"]
    if found.empty or ask.as_of is not None:  # what was in quarantine then is not known
        return 0.0, 0.0
    asked = ask.where.get("source", ())
    chosen = frozenset({asked} if isinstance(asked, str) else asked)
    things = frozenset(_LOG_OF.get(s.base.table_name) for s in chosen_sums(ask, measure.name))
    counted = build.cache.setdefault("quarantined", {})
    key = things, chosen, ask.sources
    if key not in counted:
        mine = found[found["thing"].isin(things) & (found["source"].isin(chosen) | (not chosen))]
        mine = mine if ask.sources is None else mine[mine["source"].isin(ask.sources)]
        counted[key] = float(mine["rows"].sum()), float(mine["kept"].sum())
    rows, kept = counted[key]
    return rows, kept


def _unplaced(base: FactTable, on: str) -> Expression | None:
    """Say of a row that it names no order (on other days: that its day is not known) and no other base counts it.

    None where none can be.
    """
    day = base.days.get("order") if on == "period" else base.days[on]
    if day is None or on == "refund" or base.table_name == "fact_order_line":
        return None
    return day.is_(None) if base.bound is None else and_(day.is_(None), base.bound[2].is_(None))


_UNPLACED = {"order": "order", "period": "where"}  # what a row lacks, by the day that is asked for; else its return


def _table(base: FactTable) -> FromClause:
    return base.table if base.bound is None else base.table.outerjoin(base.bound[0], base.bound[1])


def _dimensions(ask: BoundQuestion) -> list[str]:
    """Name what a question is cut and filtered by, days left out."""
    return list(dict.fromkeys(n for n in (*ask.by, *ask.where) if not time_grain(n)))


def _causes(s: Sum, now: Time) -> dict[str, Expression]:
    """Give the columns without which an amount of money is not known, in the order they are named in."""
    amount: Any = s.amount(now)
    found: dict[str, Expression] = {_cause(c): c for c in visitors.iterate(amount) if getattr(c, "name", "") in AMOUNTS}  # type: ignore[misc]
    return {name: found[name] for name in AMOUNTS if name in found}


def _cause(column: Any) -> str:
    """Name what a column without a value lacks.

    A cost of a return is in the reporting currency, and unknown for want of a rate.
    """
    return "fx_rate" if str(getattr(column.table, "name", "")) == "estimate_return_cost" else str(column.name)


def _present(build: Build, base: FactTable, ask: BoundQuestion) -> frozenset[str]:
    """Name the kinds of loss that some row of a base has, whatever is asked; looked at once a build."""
    key = f"lost of {base.name} by {ask.on}"
    if key not in build.cache:
        first: Any = base.table
        columns: dict[str, Expression] = {}
        while hasattr(first, "left"):
            columns |= {_cause(c): c for n, c in first.right.c.items() if n in AMOUNTS}
            first = first.left
        columns |= {n: c for n, c in first.c.items() if n in AMOUNTS and n not in columns}
        tests = {n: func.count() - func.count(c) for n, c in columns.items()}
        unplaced = _unplaced(base, ask.on)
        if unplaced is not None:
            tests[_UNPLACED.get(ask.on, "return")] = func.count(case((unplaced, 1)))
        columns_: list[Expression] = [t.label(n) for n, t in tests.items()]
        found = build.fetch(select(*columns_).select_from(_table(base))) if tests else None
        named = {n for n in tests if found is not None and found[n].iloc[0] > 0}
        build.cache[key] = frozenset(named)
    present: frozenset[str] = build.cache[key]
    return present | ({base.fault_kind} if ask.has_faults and base.fault is not None else set())


@dataclass(frozen=True, eq=False)
class _Lossy:
    """A sum with the tests of the kinds of loss its rows may have, the first that holds counting."""

    measure: Measure
    sum: Sum
    kinds: Mapping[str, Expression]


def _lossy(build: Build, ask: BoundQuestion, *, every: bool) -> list[_Lossy]:
    """Give the sums of every measure of which some row may be lost (or, where one may, of `every` measure)."""
    found = []
    for m in ask.metric.measures:
        mine = []
        for s in (x for x in chosen_sums(ask, m.name) if x.base.table_name not in ask.empty):
            now, present = s.base.time(ask), _present(build, s.base, ask)
            kinds: dict[str, Expression] = {}
            if s.base.fault_kind in present and s.base.fault is not None:
                kinds[s.base.fault_kind] = s.base.fault.is_not(None)
            unplaced = _unplaced(s.base, ask.on)
            for name in {"order", "return"} & present:
                kinds[name] = unplaced if unplaced is not None else false()
            if "where" in present and unplaced is not None and (names := _dimensions(ask)):
                kinds["where"] = and_(unplaced, or_(*(dimension(s.base, n, ask.on, now).is_(None) for n in names)))
            if ask.sources is not None:
                kinds["source"] = s.base.dimensions["source"].not_in(list(ask.sources))
            amount = s.amount(now)
            kinds |= {n: and_(amount.is_(None), c.is_(None)) for n, c in _causes(s, now).items() if n in present}
            mine.append(_Lossy(m, s, kinds))
        found.append(mine)
    may_lose = [
        any(x.kinds for x in mine) or _quarantined(build, ask, m)[0] > 0
        for m, mine in zip(ask.metric.measures, found, strict=True)
    ]
    return [x for mine, loses in zip(found, may_lose, strict=True) if loses or (every and any(may_lose)) for x in mine]


def _columns(lossy: Sequence[_Lossy]) -> list[str]:
    """Name the columns of known and lost weight, one a measure and kind."""
    return sorted({f"{x.measure.name}{_SEP}{kind}" for x in lossy for kind in ("known", *x.kinds)})


def _statement(lossy: Sequence[_Lossy], ask: BoundQuestion, columns: Sequence[str]) -> Select[Any]:
    """Build the SELECT of known and lost weight per group, over the rows of every base."""
    by_base: dict[str, list[_Lossy]] = {}
    for x in lossy:
        by_base.setdefault(x.sum.base.name, []).append(x)
    parts = [_part(mine, ask, columns) for mine in by_base.values()]
    inner = union_all(*parts).subquery("lost") if len(parts) > 1 else parts[0].subquery("lost")
    keys = [inner.c[b] for b in (*ask.by, *_wild(ask))]
    query = select(*keys, *(func.sum(inner.c[c]).label(c) for c in columns))
    return query.group_by(*keys) if keys else query


def _wild(ask: BoundQuestion) -> list[str]:
    """Name the columns that say whether a row does not know a dimension it is cut by."""
    return [f"any{_SEP}{b}" for b in ask.by if not time_grain(b)]


def _part(lossy: Sequence[_Lossy], ask: BoundQuestion, columns: Sequence[str]) -> Select[Any]:
    base = lossy[0].sum.base
    now = base.time(ask)
    unplaced = _unplaced(base, ask.on)
    if unplaced is None or not any({"order", "return", "where"} & set(x.kinds) for x in lossy):
        unplaced = false()
    day = func.coalesce(
        base.days[ask.on], *(d for n, d in base.days.items() if n in ("return", "refund") and n != ask.on)
    )
    placed = replace(base, days={**base.days, ask.on: day})

    keys = {b: dimension(placed, b, ask.on, now) if not time_grain(b) else period_start(b, day) for b in ask.by}
    wild = {f"any{_SEP}{b}": and_(unplaced, keys[b].is_(None)) for b in ask.by if not time_grain(b)}
    where: list[Expression] = []
    for name, values in ask.where.items():
        held = dimension_condition(placed, name, values, ask.on, now)
        may = false() if time_grain(name) else and_(unplaced, dimension(placed, name, ask.on, now).is_(None))
        where.append(or_(held, may))
    where += [dimension_condition(placed, n, v, ask.on, now) for n, v in ask.scope.allowed.items()]
    where += [day >= literal_day(ask.since)] if ask.since is not None else []
    where += [day <= literal_day(ask.until)] if ask.until is not None else []
    where += [base.seen <= literal_instant(ask.as_of)] if ask.as_of is not None and base.seen is not None else []
    amounts: dict[str, list[Expression]] = {}
    for x in lossy:
        condition = x.sum.when(now) if x.sum.when else None
        kind = (
            case(*((test, literal_column(f"'{n}'")) for n, test in x.kinds.items()), else_=literal_column("'known'"))
            if x.kinds
            else literal_column("'known'")
        )
        for name in ("known", *x.kinds):
            holds = [kind == literal_column(f"'{name}'"), *([condition] if condition is not None else [])]
            if name == "known":
                holds += [x.sum.amount(now).is_not(None), base.days[ask.on].is_not(None)]
            amounts.setdefault(f"{x.measure.name}{_SEP}{name}", []).append(
                case((and_(*holds), _weight(x.sum, now, is_signed=name == "known")))
            )
    totals = [_added(amounts[c]).label(c) if c in amounts else double(null()).label(c) for c in columns]
    labelled = [e.label(n) for n, e in {**keys, **wild}.items()]
    return select(*labelled, *totals).where(*where).select_from(_table(base))


def _weight(s: Sum, now: Time, *, is_signed: bool) -> Expression:
    """Give what a row counts for coverage: its units where units are summed, else its base's weight.

    What a sum takes off is taken off what is known of it, and is no loss where it is not known.
    """
    amount = s.amount(now)
    if isinstance(amount.type, Integer) and not s.distinct:
        return double(amount) if is_signed else case((amount > literal_column("0"), double(amount)), else_=double(0))
    return double(1 if s.base.weight is None else s.base.weight)


def _added(totals: Sequence[Expression]) -> Expression:
    if len(totals) == 1:
        return totals[0]
    found: Expression = func.coalesce(totals[0], double(0))
    for t in totals[1:]:
        found = found + func.coalesce(t, double(0))
    return found


def _spread(frame: pd.DataFrame, ask: BoundQuestion, columns: Sequence[str]) -> pd.DataFrame:
    """Count rows that do not know a dimension in every group they may belong to; gives one row a group."""
    wild, by = _wild(ask), list(ask.by)
    known = frame[list(columns)].to_numpy(float, na_value=np.nan)
    weights = pd.DataFrame(np.where(known > 0, known, 0.0), frame.index, list(columns))
    if not by:
        return weights
    frame = pd.concat([frame.drop(columns=list(columns)), weights], axis=1)
    frame = frame[frame[list(columns)].sum(axis=1) > 0]
    is_wild = frame[wild].fillna(False).astype(bool)
    own = frame[~is_wild.any(axis=1)] if wild else frame
    rest = frame[is_wild.any(axis=1)] if wild else frame.iloc[:0]
    groups = own.groupby(by, dropna=False, as_index=False)[list(columns)].sum()
    for pattern, rows in rest.groupby(wild) if len(rest) else ():
        pattern = pattern if isinstance(pattern, tuple) else (pattern,)
        open_ = {w.split(_SEP, 1)[1] for w, is_open in zip(wild, pattern, strict=True) if is_open}
        held = [b for b in by if b not in open_]
        open_sums = (
            rows.groupby(held, dropna=False, as_index=False)[list(columns)].sum()
            if held
            else rows[list(columns)].sum().to_frame().T
        )
        met = (
            groups[held].merge(open_sums, on=held, how="left").fillna(0.0)
            if held
            else open_sums.loc[open_sums.index.repeat(len(groups))]
        )
        missed = (
            open_sums.merge(groups[held].drop_duplicates(), on=held, how="left", indicator=True)
            if held
            else open_sums.assign(_merge="left_only" if groups.empty else "both")
        )
        groups[list(columns)] += met[list(columns)].to_numpy(float)
        alone = missed[missed["_merge"] == "left_only"].drop(columns="_merge")
        if len(alone):
            groups = (
                pd.concat([groups, alone], ignore_index=True) if len(groups) else alone.reindex(columns=groups.columns)
            )
    return groups


def weighed(build: Build, ask: BoundQuestion, *, every: bool = False) -> pd.DataFrame | None:
    """Weigh what is known and what is lost of each measure that may lose rows, or of `every` one.

    Gives the groups, then a column `measure__kind`; None where nothing can be lost.
    """
    of_what = ("lost", frozenset(ask.metric.measures), every)
    told: dict[Hashable, tuple[list[str], list[Measure]]] = build.cache.setdefault("lossy", {})
    shape = (of_what, ask.by, tuple(ask.where), repr(ask.where.get("source")), ask.sources, ask.on, ask.as_of is None)
    if shape not in told:
        lossy = _lossy(build, ask, every=every)
        told[shape] = _columns(lossy), list({x.measure.name: x.measure for x in lossy}.values())
    columns, measures = told[shape]
    if not measures:
        return None

    def of(asked: BoundQuestion) -> Select[Any]:
        return _statement(_lossy(build, asked, every=every), asked, columns)

    found = _spread(sums.summed(build, ask, of, of_what, columns), ask, columns)
    for m in measures:
        missing, kept = _quarantined(build, ask, m)
        if missing and kept:  # worth what the others are worth on average
            found[f"{m.name}{_SEP}quarantine"] = found[f"{m.name}{_SEP}known"].clip(lower=0) * missing / kept
        elif missing and not ask.by:
            found[f"{m.name}{_SEP}quarantine"] = missing
    return found


def weigh_together(build: Build, asks: Sequence[BoundQuestion]) -> None:
    """Read what `weighed` needs of several questions in one scan of each fact, as `sums.read_together` does."""
    names = [("lost", frozenset(ask.metric.measures), False) for ask in asks]
    by_day = [(name, sums.kept_by_day(build, name, ask)) for name, ask in zip(names, asks, strict=True)]
    wanted = [(name, asked, "lost") for name, asked in by_day if asked is not None]
    for several in sums.alike(build, wanted):
        named = sums.renamed(several)
        whole = sums.of_all(several, tuple(Measure(name, m.alternatives) for m, name in named.items()))
        lossy = _lossy(build, whole, every=False)
        if not lossy:
            continue
        columns = _columns(lossy)
        found = build.fetch(_statement(lossy, whole, columns))
        for key, asked in several.items():
            own = {named[m]: m.name for m in asked.metric.measures}
            mine = {c: f"{own[n]}{_SEP}{kind}" for c in columns for n, kind in [c.split(_SEP)] if n in own}
            if mine:
                sums.keep_own(build, key, found, named, mine)


def covered(lost: pd.DataFrame) -> float:
    """Give the share of the weight that is known, over all rows and measures of what `weighed` gave."""
    columns = [str(c) for c in lost if _SEP in str(c) and not str(c).startswith("any")]
    known = float(lost[[c for c in columns if c.endswith(f"{_SEP}known")]].to_numpy().sum())
    whole = float(lost[columns].to_numpy().sum())
    return known / whole if whole else 1.0


def share(value: float) -> str:
    """Write a share that is neither nothing nor all so that it does not look like either.

    >>> share(0.0532), share(0.0001), share(0.9999)
    ('5.3%', 'under 0.1%', 'over 99.9%')
    """
    if 0 < value < 0.0005:
        return "under 0.1%"
    return "over 99.9%" if 0.9995 <= value < 1 else f"{value:.1%}"


def _ends(low: float, high: float, unit: str) -> dict[str, str]:
    """Write bounds in their unit.

    >>> _ends(0.0, 0.312, "share"), _ends(5, 8, "units")
    ({'low': '0.0%', 'high': '31.2%'}, {'low': '5', 'high': '8 units'})
    """
    if unit == "share":
        return {"low": share(low), "high": share(high)}
    whole = max(abs(low), abs(high)) >= 100 or (low == round(low) and high == round(high))
    digits = 0 if whole else 2
    return {"low": f"{low:,.{digits}f}", "high": f"{high:,.{digits}f} {unit}".rstrip()}


def _is_only_lost(ask: BoundQuestion, lost: pd.DataFrame) -> bool:
    """Say whether nothing is known of the numerator of some group: its bound then rests on the denominator alone."""
    top = [m.name for m, sign in part_measures(ask.metric, "numerator") if sign > 0]
    known = sum((lost[f"{m}{_SEP}known"] for m in top if f"{m}{_SEP}known" in lost), pd.Series(0.0, lost.index))
    return bool((known <= 0).any())


def cover(build: Build, ask: BoundQuestion, found: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Say on each row of an answer what share of its rows it rests on, and widen, warn or withhold where that matters.

    Adds or lowers `coverage`; puts what is missing into `note`, and into `reason` where the value is withheld. Groups
    of which nothing but lost rows are known join the answer.
    """
    lost = weighed(build, ask)
    if lost is None:
        return found
    if ask.metric.denominator and _is_only_lost(ask, lost):
        lost = weighed(build, ask, every=True)
        assert lost is not None
    columns = [str(c) for c in lost if c not in ask.by]
    if not any((lost[c].to_numpy(float) > 0).any() for c in columns if not c.endswith(f"{_SEP}known")):
        return found  # nothing is lost
    found, weights = _beside(found, lost, list(ask.by), columns)
    nothing = np.zeros(len(found))
    known = {m: weights[f"{m}{_SEP}known"] for m in {c.split(_SEP)[0] for c in columns}}
    gone: dict[str, np.ndarray[Any, Any]] = {}
    rests = np.ones(len(found))
    for m, held in known.items():
        kinds = [c for c in columns if c.startswith(f"{m}{_SEP}") and not c.endswith(("known", "source"))]
        gone[m] = sum((weights[c] for c in kinds), nothing)
        whole = held + gone[m] + weights.get(f"{m}{_SEP}source", nothing)
        rests = np.minimum(rests, np.where(whole > 0, held / np.where(whole > 0, whole, 1), 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = {m: np.where(known[m] + gone[m] > 0, gone[m] / (known[m] + gone[m]), 0.0) for m in known}
    lost_share = np.max(list(shares.values()), axis=0)
    told = {c.split(_SEP)[1] for c in columns} - {"known", "source"}
    is_of_quarantine = ask.metric.finish in (None, total) and told == {"quarantine"}
    low, high = _bounds(ask, found["value"].to_numpy(float), found["n"].to_numpy(float), known, gone)
    said = _clauses(ask, weights, shares, known, gone)
    return _judged(ask, found, lost_share, rests, low, high, said, unit, keeps=is_of_quarantine)


def _beside(
    found: pd.DataFrame, lost: pd.DataFrame, by: list[str], columns: list[str]
) -> tuple[pd.DataFrame, dict[str, np.ndarray[Any, Any]]]:
    """Lay what is known and lost beside the rows of an answer; groups of lost rows alone join it."""
    if not by:
        return found, {c: np.nan_to_num(lost[c].to_numpy(float)) for c in columns}
    lost = lost[lost[columns].sum(axis=1) > 0]
    mixed = {b: object for b in by if found[b].dtype != lost[b].dtype}
    joined = found.astype(mixed).merge(lost.astype(mixed), on=by, how="outer")
    filled = joined[[*found.columns]].assign(
        **{c: joined[c].fillna("") for c in ("reason", "caution", "note")},
        coverage=joined["coverage"].fillna(1.0),
        stands=joined["stands"].fillna(False).astype(bool),
    )
    return filled, {c: np.nan_to_num(joined[c].to_numpy(float)) for c in columns}


def _bounds(
    ask: BoundQuestion,
    value: np.ndarray[Any, Any],
    n: np.ndarray[Any, Any],
    known: Mapping[str, np.ndarray[Any, Any]],
    gone: Mapping[str, np.ndarray[Any, Any]],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Give the value if nothing of the rest belongs to the numerator, and if all of it does.

    NaN where that cannot be said. A rest whose money is not known is taken to be worth what the others are on average.
    Of a measure that both parts are picked from by what became of a row, only the `n` rows that are decided are in the
    denominator.
    """
    metric, nothing = ask.metric, np.full(len(value), np.nan)

    def of(part: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], set[str]]:
        names = {m.name for m, sign in part_measures(metric, part) if sign > 0}
        zero = np.zeros(len(value))
        return (
            sum((known[n] for n in names if n in known), zero),
            sum((gone[n] for n in names if n in gone), zero),
            names,
        )

    top, top_gone, top_names = of("numerator")
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric.denominator:
            bottom, bottom_gone, bottom_names = of("denominator")
            if top_names == bottom_names:
                decided = np.where(np.isfinite(n) & (n < top), n, top)
                covered = np.where(decided + top_gone > 0, decided / (decided + top_gone), 1.0)
                return value * covered, np.where(np.isfinite(value), value * covered + 1 - covered, np.nan)
            ends = [
                value,
                value / (1 + np.where(bottom > 0, bottom_gone / bottom, 0.0)),
                np.where(top > 0, value * (1 + top_gone / np.where(top > 0, top, 1)), value),
            ]
            if metric.unit == "share" and set(bottom_names) & set(known):
                ends.append(np.where((top == 0) & (bottom > 0), top_gone / bottom, value))
            low, high = np.min(ends, axis=0), np.max(ends, axis=0)
            return (low, np.minimum(high, 1.0)) if metric.unit == "share" and not metric.is_ratio else (low, high)
        if metric.finish not in (None, total) or metric.unit not in ("units", "count"):
            return nothing, nothing
        counted = np.nan_to_num(value)
        return counted, counted + top_gone


def _clauses(
    ask: BoundQuestion,
    weights: Mapping[str, np.ndarray[Any, Any]],
    shares: Mapping[str, np.ndarray[Any, Any]],
    known: Mapping[str, np.ndarray[Any, Any]],
    gone: Mapping[str, np.ndarray[Any, Any]],
) -> list[list[tuple[str, str, str]]]:
    """Say of each row what share of what it rests on, and why the rest is missing.

    (share or nothing, of what, rest) a measure, each once.
    """
    of_where = {"dimension": " or ".join(n.replace("_", " ") for n in _dimensions(ask))}
    nouns = {m: chosen_sums(ask, m)[0].base.noun for m in shares}
    amounts = {
        m: {kind: weights[f"{m}{_SEP}{kind}"] for kind in KINDS if f"{m}{_SEP}{kind}" in weights} for m in shares
    }
    said: list[list[tuple[str, str, str]]] = [[] for _ in next(iter(shares.values()))]
    for row in np.flatnonzero(np.max(list(shares.values()), axis=0) > 0):
        for m in sorted(shares, key=lambda m: (-shares[m][row], m)):
            whole = known[m][row] + gone[m][row]
            if shares[m][row] <= 0:
                continue
            rest = [
                why(f"lost_{kind}", share=share(amount[row] / whole), **of_where)
                for kind, amount in amounts[m].items()
                if amount[row] > 0
            ]
            part = (share(known[m][row] / whole) if known[m][row] > 0 else "", nouns[m], together(*rest))
            if part not in said[row]:
                said[row].append(part)
    return said


def _judged(
    ask: BoundQuestion,
    found: pd.DataFrame,
    lost: np.ndarray[Any, Any],
    rests: np.ndarray[Any, Any],
    low: np.ndarray[Any, Any],
    high: np.ndarray[Any, Any],
    said: list[list[tuple[str, str, str]]],
    unit: str,
    *,
    keeps: bool,
) -> pd.DataFrame:
    """Put what is lost into words.

    `keeps` says that the value stays beside its bounds, being right of what was accepted.
    """
    is_withheld = lost > UNKNOWN
    is_bounded = np.isfinite(low) & np.isfinite(high) & (high - low > 1e-9)
    own_low, own_high = found["low"].to_numpy(float), found["high"].to_numpy(float)
    wider = np.isfinite(own_low) & np.isfinite(own_high) & is_bounded
    lows = np.where(wider, np.fmin(own_low, low), own_low)
    highs = np.where(wider, np.fmax(own_high, high), own_high)
    notes, reasons, cautions, stands = (found[c].tolist() for c in ("note", "reason", "caution", "stands"))
    values = found["value"].to_numpy(float).copy()
    for row, clauses in enumerate(said):
        bounds = _ends(low[row], high[row], unit) if is_bounded[row] else {}
        if is_withheld[row]:
            reasons[row] = _withheld(clauses, bounds)
            is_known = any(known for known, _, _ in clauses)
            stands[row] = not bounds and np.isfinite(values[row]) and ask.metric.finish in (None, total) and is_known
            if bounds and keeps:
                reasons[row] = together(reasons[row], why("alone"))
                lows[row], highs[row], stands[row] = low[row], high[row], True
            elif bounds:
                values[row] = np.nan
                lows[row], highs[row] = np.fmin(low[row], lows[row]), np.fmax(high[row], highs[row])
                stands[row] = True
            elif stands[row]:
                reasons[row] = together(reasons[row], why("alone"))
            else:
                values[row] = np.nan
            continue
        parts = [(why("part", share=known, what=noun), rest) for known, noun, rest in clauses]
        text = together(*(text for part in parts for text in part))
        if clauses and lost[row] > CAUTION:
            cautions[row] = joined_words(cautions[row], "coverage")
            text = together(text, why("bounds_with", **bounds) if bounds else "")
        elif rests[row] < 1 - CAUTION:
            cautions[row] = joined_words(cautions[row], "coverage")
        notes[row] = together(notes[row], text)
    changed = {"value": values, "low": lows, "high": highs, "note": notes, "reason": reasons, "caution": cautions}
    changed |= {"stands": stands, "coverage": np.minimum(found["coverage"].to_numpy(float), rests)}
    return pd.DataFrame({c: changed.get(str(c), found[c].array) for c in found})


def _withheld(clauses: Sequence[tuple[str, str, str]], bounds: Mapping[str, str]) -> str:
    """Say how little of what a number rests on is known, between which bounds it lies, and why the rest is missing."""
    said: list[str] = []
    for known, noun, rest in clauses:
        of_noun = {"share": known, "what": noun} if known else {"what": noun}
        code = "only" if known else "none"
        said += [why(f"bounds_{code}", **bounds, **of_noun) if bounds and not said else why(code, **of_noun), rest]
    return together(*said) if said else why("between", **bounds) if bounds else ""


def joined_words(*codes: str) -> str:
    """Join codes of caution, each once.

    >>> joined_words("delay_drift, coverage", "", "coverage")
    'delay_drift, coverage'
    """
    return ", ".join(dict.fromkeys(code for joined in codes for code in joined.split(", ") if code))
