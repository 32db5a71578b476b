"""Ask a metric: the catalogue, an answer with interval and reason, a comparison, the rows behind a number.

What the sources do not deliver is greyed with the reason, never guessed: a metric names the kinds of fact it needs, a
build says what each source fills. Sources that lack a fact are left out of numerator and denominator alike, and the
reason says so.
"""

import difflib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, and_, case, func, literal_column, or_, select

from models import rates as rate_models
from pipelines.errors import UnknownDimension, UnknownMetric, UnknownValue
from pipelines.metrics import carbon, losses, money, promises, returns
from pipelines.metrics.base import (
    ALIASES,
    EVERYTHING,
    TAKEN,
    Ask,
    Base,
    Metric,
    PartlyKnown,
    Scope,
    Sum,
    Text,
    Time,
    as_instant,
    check_dimensions,
    chosen_sums,
    dimension,
    filters,
    is_own,
    known_dimensions,
    knows,
    part_measures,
    statement,
    time_grain,
)
from pipelines.metrics.bases import LEGS, LOTS, ORDERS
from pipelines.metrics.finish import total
from pipelines.warehouse.engine import OWN_NAME, Build, Expression, double, period_start
from pipelines.warehouse.schema import STAR

FILLED = 0.01
SHOWN = 12  # values of a dimension named when somebody asks for one that nobody has
REMEMBERED = 500  # statements kept of a build
FACTS = {
    "order": "orders",
    "return": "returns",
    "return_flag": "marks of what was returned",
    "product": "product categories",
    "price": "prices",
    "unit_cost": "purchase costs",
    "vat": "VAT of the order lines",
    "outbound_cost": "shipping costs",
    "payment_fee": "payment fees",
    "reason": "return reasons",
    "policy": "return policies",
    "promise": "promises",
    "leg": "transport legs of returns",
    "leg_cost": "freight costs",
    "mass": "parcel weights",
    "refund": "refunds",
    "refund_line": "refund lines",
    "recovery": "what returned goods fetched",
    "carrier_invoice": "carriers' invoices",
    "disposition": "dispositions",
    "inspection": "what inspection found",
    "touch": "what people do by hand",
    "decline": "reasons of declined requests",
    "delivery": "delivery dates",
    "legal": "withdrawals from a country whose refund law is known",
    "customer": "customers",
    "size": "sizes",
    "fx": "exchange rates",
}
_CATALOGUE = (*returns.METRICS, *promises.METRICS, *money.METRICS, *carbon.METRICS)
_BY_KEY = {m.key: m for m in _CATALOGUE}
Day = date | datetime | None


def catalogue() -> tuple[Metric, ...]:
    """Give every metric at its default parameter, in the order pages show them."""
    return tuple(metric(m.key) for m in _CATALOGUE)


def _parsed(key: str) -> tuple[Metric, float | None]:
    found = re.fullmatch(r"\s*(\w+)\s*(?:\(\s*([\d.]+)\s*\))?\s*", key)
    name = found[1] if found else key
    if found is None or name not in _BY_KEY:
        near = difflib.get_close_matches(name, _BY_KEY, 3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`backhaul metrics` lists them."
        raise UnknownMetric(f"There is no metric {name!r}. {hint}")
    chosen = _BY_KEY[name]
    if found[2] is not None and chosen.parameter is None:
        raise UnknownMetric(f"{name} takes no parameter; ask for {name!r}.")
    return chosen, float(found[2]) if found[2] is not None else chosen.parameter


def metric(key: str) -> Metric:
    """Give a metric by its key, with its parameter written into name and default.

    Raises UnknownMetric with near names.

    >>> metric("days_to_refund(0.5)").name.en
    'Days to refund, p50'
    """
    chosen, parameter = _parsed(key)
    if parameter is None:
        return chosen
    words = {"parameter": f"{parameter:g}", "percent": f"{100 * parameter:g}"}
    return replace(chosen, parameter=parameter, name=Text(*(t.format(**words) for t in chosen.name)))


ANALYSES: dict[str, tuple[Base, ...]] = {
    "forecast": (ORDERS, LOTS),
    "simulate": (ORDERS, LOTS),
    "erosion_by": (ORDERS, LOTS),
    "customer_concentration": (ORDERS, LOTS),
    "lost_sales": (LOTS,),
    "dispose": (LOTS,),
    "lanes": (LEGS,),
    "parcels": (LEGS,),
    "levers": (LEGS, LOTS),
    "change_split": (LEGS, LOTS, ORDERS),
}
"""Questions that are no metric, and what they count: they are filtered by what all of it knows."""


def dimensions(key: str, build: Build | None = None) -> tuple[str, ...]:
    """Give what a metric can be cut by, time grains first, or an analysis filtered by.

    In a build by the shop's own dimensions as well.
    """
    if key in ANALYSES:
        own = own_dimensions(build) if build else ()
        return tuple(sorted(set.intersection(*(knows(base, own) for base in ANALYSES[key]))))
    return known_dimensions(_parsed(key)[0], own_dimensions(build) if build else ())[0]


@cache
def our_names() -> frozenset[str]:
    """Give the names that no dimension of a shop's own may have: ours, and the columns of an answer."""
    bases = {s.base for m in _CATALOGUE for x in m.measures for sums in x.alternatives for s in sums}
    known = {n for base in bases for n in knows(base)} | {*ALIASES, *ALIASES.values(), *period_start.grains}
    return frozenset(known | {"value", "low", "high", "n", "coverage", "unit", "basis", "status", "caution", "label"})


def own_dimensions(build: Build) -> frozenset[str]:
    """Give the names of the shop's own dimensions that rows of a build carry."""
    listed = json.loads(build.info.get("own_dimensions") or "[]")
    return frozenset(n for n in listed if re.fullmatch(OWN_NAME, n) and n not in our_names())


def ask(
    key: str,
    *,
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[Any]] | None = None,
    since: Day = None,
    until: Day = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
    level: float = 0.9,
) -> Ask:
    """Put a question into one frozen value.

    The dimensions `reason` and `status` are answered as `return_reason` and `data_status`: an answer has columns of
    those names.
    """
    chosen, parameter = _parsed(key)
    days = [d.date() if isinstance(d, datetime) else d for d in (since, until)]
    groups = tuple(ALIASES[b] if b in TAKEN else b for b in ((by,) if isinstance(by, str) else by))
    return Ask(chosen, parameter, groups, where or {}, days[0], days[1], as_instant(as_of), level, scope)


def statistics(build: Build, key: str, **question: Any) -> Select[Any]:
    """Give the SELECT of additive statistics that `answer` runs: groups, details, then one column a measure.

    Takes what `answer` takes. The same on every engine that holds the build; engines are compared on it and the
    benchmark times it. Raises UnknownMetric and UnknownDimension.
    """
    try:
        return _statement(build, _of_build(build, ask(key, **question)))
    except PartlyKnown as reason:
        raise UnknownDimension(f"{key}: {reason}.") from None


def _of_build(build: Build, question: Ask) -> Ask:
    """Leave out what this build cannot contribute: bases without rows, sources without the facts the metric needs."""
    if "empty" not in build.memory:
        matches = STAR.tables["estimate_credit_match"]
        has_matches = len(build.fetch(select(matches.c.units).limit(1)))
        build.memory["empty"] = frozenset() if has_matches else frozenset({matches.name})
    lacks = lacking(build, question.metric.needs)
    filled = tuple(s for s, missing in lacks.items() if not missing)
    sources = filled if 0 < len(filled) < len(lacks) else None
    faults = losses.has_faults(build)
    return replace(
        question,
        own=own_dimensions(build),
        empty=build.memory["empty"],
        has_faults=faults,
        observed=observed(build),
        sources=sources,
    )


def observed(build: Build) -> dict[str, datetime]:
    """Give T of each source, its latest event, once a build."""
    if "observed" not in build.memory:
        c = STAR.tables["build_source"].c
        happenings = c.thing.in_(["order_line", "return_event", "chain_element", "refund"])
        latest = func.max(c.last_occurred_at).label("at")
        found = build.fetch(select(c.source, latest).where(happenings).group_by(c.source)).dropna()
        plain = pd.to_datetime(found["at"], utc=True).dt.tz_localize(None)  # Spark's times carry a zone
        build.memory["observed"] = {s: t.to_pydatetime() for s, t in zip(found["source"], plain, strict=True)}
    times: dict[str, datetime] = build.memory["observed"]
    return times


def _statement(build: Build, question: Ask) -> Select[Any]:
    """Build the statement of a question, or take the one built before."""
    known: dict[Any, Select[Any]] = build.memory.setdefault("statements", {})
    q = question
    key = (q.metric.key, q.parameter, q.by, repr(q.where), q.since, q.until, q.as_of, repr(q.scope), q.basis)
    if key not in known:
        if len(known) >= REMEMBERED:
            known.clear()
        known[key] = statement(question)
    return known[key]


def measure_names(key: str) -> tuple[str, ...]:
    """Give the columns of `statistics` that are sums, so that engines can be compared by name."""
    return tuple(m.name for m in _parsed(key)[0].measures)


# -- coverage ----------------------------------------------------------------------------------------------------------


def coverage(build: Build) -> pd.DataFrame:
    """Read what each source fills, once a build: source, fact, share, rows."""
    if "coverage" not in build.memory:
        build.memory["coverage"] = build.fetch(select(STAR.tables["build_coverage"]))
    found: pd.DataFrame = build.memory["coverage"]
    return found


def lacking(build: Build, needs: Sequence[str]) -> dict[str, list[str]]:
    """Give, for each source of orders or returns, which of these kinds of fact it does not fill.

    Without any, for every source.
    """
    if "filled" not in build.memory:
        found = coverage(build)
        pairs = list(zip(found["source"], found["fact"], strict=True))
        is_filled = ((found["rows"] > 0) & (found["share"] >= FILLED)).tolist()
        # a payment system beside a shop lacks nothing; alone, it is asked what it has
        sources = sorted({s for s, f in pairs if f in ("order", "return")} or {s for s, _ in pairs})
        build.memory["filled"] = sources, {pair for pair, fills in zip(pairs, is_filled, strict=True) if fills}
    sources, filled = build.memory["filled"]
    return {s: [n for n in needs if not any((s, f) in filled for f in n.split("|"))] for s in sources}


def is_known(build: Build, key: str) -> bool:
    """Say whether some source fills what a metric needs."""
    lacks = lacking(build, metric(key).needs)
    return bool(lacks) and not all(lacks.values())


def euro_rate(build: Build) -> float:
    """Give the latest rate from the euro, in which parameters of data/costs.csv are, to the reporting currency.

    NaN without one.
    """
    fx, reporting = STAR.tables["fact_fx_rate"].c, build.info.get("reporting_currency", "EUR")
    if reporting == "EUR":
        return 1.0
    pair = or_(
        and_(fx.currency == "EUR", fx.quote_currency == reporting),
        and_(fx.currency == reporting, fx.quote_currency == "EUR"),
    )
    found = build.fetch(select(fx.day, fx.currency, fx.rate).where(pair)).sort_values("day")
    if found.empty:
        return float("nan")
    last = found.iloc[-1]
    return float(last["rate"]) if last["currency"] == "EUR" else 1 / float(last["rate"])


def _wanted(missing: Sequence[str]) -> str:
    def word(fact: str) -> str:
        return FACTS.get(fact) or (
            f"the time of {fact.removeprefix('stage_').replace('_', ' ')}" if fact.startswith("stage_") else fact
        )

    return ", ".join(dict.fromkeys(" or ".join(word(f) for f in need.split("|")) for need in missing))


# -- answers -----------------------------------------------------------------------------------------------------------


def answer(
    build: Build,
    key: str,
    *,
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[Any]] | None = None,
    since: Day = None,
    until: Day = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
    level: float = 0.9,
) -> pd.DataFrame:
    """Answer a metric per group.

    `by` are dimensions or time grains (day, week, month, quarter, year) of the metric's own date basis; `where` maps
    dimensions to allowed values; `since` and `until` are days on that basis, `until` included; `as_of` is the time of
    observation. Gives the groups' columns, then value, low, high (a `level` interval, NaN where there is none), n,
    coverage (the share of its rows that the number rests on), unit, basis, status ("ok" or "greyed": no value, or one
    that its reason says is of a part only), reason, and caution: "" or what weakens the number ("coverage",
    "delay_drift", "factor"; `reason` then says how). A number that more than `losses.UNKNOWN` of its rows are lost to
    is greyed and keeps its bounds in low and high. Without `by` there is exactly one row. Raises UnknownMetric and
    UnknownDimension.
    """
    question = ask(key, by=by, where=where, since=since, until=until, as_of=as_of, scope=scope, level=level)
    chosen = question.metric
    note = ""
    lacks = lacking(build, chosen.needs)
    asked = {
        str(v)
        for name, values in question.where.items()
        if name == "source"
        for v in ([values] if isinstance(values, str) else values)
    }
    lacks = {s: missing for s, missing in lacks.items() if not asked or s in asked}
    without = {s: missing for s, missing in lacks.items() if missing}
    try:
        if not lacks or len(without) == len(lacks):
            check_dimensions(
                chosen, [*question.by, *question.where], own_dimensions(build)
            )  # before coverage is looked at
            missing = sorted({m for found in without.values() for m in found}) or list(chosen.needs)
            marked = (
                "; what is marked as returned is counted in flagged_line_rate and flagged_order_rate"
                if "return" in missing and chosen.unit == "share" and is_known(build, "flagged_line_rate")
                else ""
            )
            return _finished(
                build, question, _grey(question, f"needs {_wanted(missing)}; load a source that has it{marked}")
            )
        question = _of_build(build, question)
        if without:
            note = "; ".join(f"without {s}: no {_wanted(missing)}" for s, missing in without.items())
        absent = [d for d in chosen.required if d not in {ALIASES.get(n, n) for n in (*question.by, *question.where)}]
        if absent:
            check_dimensions(chosen, [*question.by, *question.where], own_dimensions(build))
            return _finished(
                build,
                question,
                _grey(question, f"different things are not mixed: cut or filter by {', '.join(absent)}"),
            )
        frame = build.fetch(_statement(build, question))
    except PartlyKnown as reason:
        return _finished(build, question, _grey(question, str(reason)))
    is_empty = bool(question.by) and not len(frame)
    found = _grey(question, "").iloc[:0] if is_empty else (chosen.finish or total)(frame, question, build)
    found = losses.cover(build, question, found, unit(build, chosen))
    if "source" in question.by and without:
        left = pd.DataFrame(
            [
                {"source": s, **_UNKNOWN, "reason": f"needs {_wanted(m)}; load a source that has it"}
                for s, m in without.items()
            ]
        )
        found = pd.concat([found[~found["source"].isin(list(without))], left], ignore_index=True)
        note = ""
    unshipped = losses.unshipped(build, question)
    if note or unshipped:
        found["note"] = ["; ".join(filter(None, [note, own, unshipped])) for own in found["note"]]
    return _finished(build, question, found)


_UNKNOWN: dict[str, Any] = {
    "value": np.nan,
    "low": np.nan,
    "high": np.nan,
    "n": np.nan,
    "reason": "",
    "caution": "",
    "note": "",
    "coverage": 0.0,
    "stands": False,
}


def _grey(question: Ask, reason: str) -> pd.DataFrame:
    return pd.DataFrame([{**dict.fromkeys(question.by), **_UNKNOWN, "reason": reason}])


def _finished(build: Build, question: Ask, found: pd.DataFrame) -> pd.DataFrame:
    """Settle what each row says.

    Ok with its notes, or greyed with the reason and without its numbers unless they stand.
    """
    value, low, high, n, coverage = (found[c].to_numpy(float) for c in ("value", "low", "high", "n", "coverage"))
    reason, note, caution = (np.where(found[c].isna(), "", found[c]) for c in ("reason", "note", "caution"))
    is_part = question.metric.unit == "share" and not question.metric.is_ratio
    is_above = is_part & (value > 1 + 1e-9)
    for row in np.flatnonzero(is_above & (reason == "")):
        reason[row] = _above(question, float(value[row]))
    has_none = ~np.isfinite(value)
    reason = np.where(has_none & (reason == ""), note, reason)  # all of the group is left out
    is_grey = has_none | (reason != "")
    is_hidden = is_grey & (is_above | ~found["stands"].to_numpy(bool))
    known_unit = unit(build, question.metric)
    own = (
        found["unit"].fillna(known_unit).to_numpy() if "unit" in found else known_unit
    )  # of its rows, where they differ
    columns: dict[str, Any] = {name: found[name].array for name in question.by}
    for name, numbers in (("value", value), ("low", low), ("high", high)):
        columns[name] = np.where(is_hidden, np.nan, numbers)
    columns |= {"n": n, "coverage": coverage, "unit": own, "basis": question.on}
    columns |= {
        "status": np.where(is_grey, "greyed", "ok"),
        "reason": np.where(is_grey, reason, note),
        "caution": np.where(is_grey, "", caution),
    }
    return pd.DataFrame(columns, index=range(len(found)))


def _above(question: Ask, value: float) -> str:
    """Say of a part that is more than its whole where its rows are."""
    values = [(n, [v] if isinstance(v, str) else v) for n, v in question.where.items()]
    options = [f"--where {shlex.quote(f'{n}={v}')}" for n, vs in values for v in vs]
    options += [f"--{o} {day}" for o, day in (("from", question.since), ("to", question.until)) if day is not None]
    command = " ".join(["backhaul export", question.metric.key, "--rows numerator", *options, "--out rows.csv"])
    return f"above 100% ({value:.1%}): the part is more than the whole; rows: {command}"


def values_of(build: Build, key: str, name: str) -> list[str]:
    """List the values of a dimension that rows of a metric have."""
    return sorted(_values(build, _of_build(build, ask(key, where={name: []})), name))


def _values(build: Build, question: Ask, name: str) -> set[str]:
    found: set[str] = set()
    for base in {s.base.name: s.base for s in chosen_sums(question)}.values():
        known = dimension(base, name, question.on, base.time(question)).label("known")
        found |= {str(v) for v in build.fetch(select(known).select_from(base.table).distinct())["known"].dropna()}
    return found


def read_filters(build: Build, key: str, where: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Read filters as people write them.

    A comma parts two values, unless a row of the metric has the whole as its value. Raises UnknownValue for a value
    that no row of the metric has, UnknownDimension as `answer` does. Time grains are left alone: a month without rows
    is a month. So is what is true or false.
    """
    question = _of_build(build, ask(key, where=where))
    written = {name: [values] if isinstance(values, str) else list(values) for name, values in where.items()}
    read = {name: [part.strip() for v in values for part in str(v).split(",")] for name, values in written.items()}
    try:
        check_dimensions(question.metric, list(where), question.own)
    except PartlyKnown:
        return read  # answered, greyed
    for name, values in written.items():
        if time_grain(name):
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


def unit(build: Build, chosen: Metric) -> str:
    """Give a metric's unit on this build: money is in its reporting currency."""
    return chosen.unit.replace("money", build.info.get("reporting_currency", "EUR"))


def withheld(build: Build, key: str, **question: Any) -> str:
    """Say why a list that stands on a metric's rows cannot be given.

    Too many of them are lost to it; empty where enough count.
    """
    row = answer(build, key, **question).iloc[0]
    return "" if row["status"] == "ok" else str(row["reason"])


def compare(
    build: Build,
    key: str,
    *,
    period: tuple[Day, Day],
    against: tuple[Day, Day],
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[Any]] | None = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
    level: float = 0.9,
) -> pd.DataFrame:
    """Compare a metric over two periods (first and last day of each) per group.

    Gives value, previous, difference, its interval low and high, is_within_noise (None where the metric has no
    interval), n, n_previous, coverage (the lower of both), unit, basis, status, reason and caution (of either). The
    intervals of both periods make the difference's (MOVER).
    """
    both = [
        answer(build, key, by=by, where=where, since=since, until=until, as_of=as_of, scope=scope, level=level)
        for since, until in (period, against)
    ]
    names = list(ask(key, by=by).by)
    now, before = both
    if names:
        joined = now.merge(before, on=names, how="outer", suffixes=("", "_previous"))
    else:
        joined = now.join(before.add_suffix("_previous"))
    if _parsed(key)[0].is_systematic:
        joined[["low", "high", "low_previous", "high_previous"]] = np.nan
    gap, low, high, noise = rate_models.difference(
        *(
            joined[c].to_numpy(float)
            for c in ("value", "low", "high", "value_previous", "low_previous", "high_previous")
        )
    )
    has_interval = np.isfinite(low) & np.isfinite(high)
    reason = joined["reason"].fillna("no number in this period").where(joined["status"].ne("ok"), "")
    previous = "compared period: " + joined["reason_previous"].fillna("nothing there")
    reason = reason.where(reason.ne("") | joined["status_previous"].eq("ok"), previous)
    is_known = joined["status"].eq("ok") & joined["status_previous"].eq("ok")
    cautions = joined[["caution", "caution_previous"]].fillna("")
    own = joined["reason"].fillna("").where(cautions["caution"] != "", "")
    other = joined["reason_previous"].fillna("").where(cautions["caution_previous"] != "", "")
    other = ("compared period: " + other).where((other != "") & (other != own), "")
    said = (own + "; " + other).str.strip("; ")
    is_within_noise = [bool(x) if known else None for x, known in zip(noise, has_interval, strict=True)]
    result = joined[names].assign(
        value=joined["value"],
        previous=joined["value_previous"],
        difference=gap,
        low=low,
        high=high,
        is_within_noise=pd.array(is_within_noise, dtype="boolean"),
        n=joined["n"],
        n_previous=joined["n_previous"],
        coverage=joined[["coverage", "coverage_previous"]].min(axis=1),
        unit=unit(build, _parsed(key)[0]),
        basis=_parsed(key)[0].basis,
        status=np.where(np.isfinite(gap) & is_known, "ok", "greyed"),
        reason=reason.where(~is_known, said),
        caution=cautions["caution"].where(cautions["caution"] != "", cautions["caution_previous"]).where(is_known, ""),
    )
    return result.reset_index(drop=True)


def rows(
    build: Build,
    key: str,
    *,
    part: str = "numerator",
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[Any]] | None = None,
    since: Day = None,
    until: Day = None,
    as_of: Day = None,
    scope: Scope = EVERYTHING,
    basis: str | None = None,
    limit: int | None = 1000,
) -> pd.DataFrame:
    """Give the fact rows behind a metric's numerator or denominator, newest first, at most `limit` (None: all of them).

    Columns: counted_on (day on the metric's date basis), source, the ids and numbers of the row, the dimensions of
    `by`, and counted: what the row adds to the part, so that the column's sum is the part's statistic. Bases with other
    columns leave cells empty. `basis` counts by another of the rows' days. Raises UnknownMetric and UnknownDimension.
    """
    queries = _behind(build, key, part, basis, by=by, where=where, since=since, until=until, as_of=as_of, scope=scope)
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
    build: Build, key: str, *, part: str = "numerator", basis: str | None = None, **question: Any
) -> tuple[int, float]:
    """Count the rows behind a part of a metric and add up what they count, without fetching them.

    Takes what `rows` takes.
    """
    queries = _behind(build, key, part, basis, **question)
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


def _behind(build: Build, key: str, part: str, basis: str | None, **asked: Any) -> list[Select[Any]]:
    """Build one SELECT of rows for each base that a part of a metric is summed over."""
    question = replace(_of_build(build, ask(key, **asked)), basis=basis)
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


def _rows_of(s: Sum, sign: int, part: str, question: Ask) -> Select[Any]:
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


def dimension_values(build: Build, name: str) -> list[str]:
    """Give the values of a dimension in this build, for filters; empty ones left out."""
    canonical = ALIASES.get(name, name)
    if f"values of {canonical}" not in build.memory:
        bases = {s.base.name: s.base for m in _CATALOGUE for x in m.measures for sums in x.alternatives for s in sums}
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
        build.memory[f"values of {canonical}"] = sorted(found)
    return list(build.memory[f"values of {canonical}"])
