"""A question bound to a build: checked, observed, and fetched."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Select, and_, func, or_, select

from pipelines.errors import UnknownDimension
from pipelines.metrics import losses
from pipelines.metrics.catalogue import metric, own_dimensions, parsed
from pipelines.metrics.compiler import PartlyKnown, statement
from pipelines.metrics.coverage import lacking
from pipelines.metrics.declare import BoundQuestion, Metric
from pipelines.metrics.question import ALIASES, ANYTHING, TAKEN, Question, as_instant
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

REMEMBERED = 500  # statements kept of a build


def ask(key: str, question: Question = ANYTHING, *, by: Sequence[str] = ()) -> BoundQuestion:
    """Put a question to a metric.

    The dimensions `reason` and `status` are answered as `return_reason` and `data_status`: an answer has columns of
    those names.
    """
    chosen, parameter = parsed(key)
    q = question
    since, until = (d.date() if isinstance(d, datetime) else d for d in (q.since, q.until))
    groups = tuple(ALIASES[b] if b in TAKEN else b for b in ((by,) if isinstance(by, str) else by))
    return BoundQuestion(chosen, parameter, groups, q.where, since, until, as_instant(q.as_of), q.level, q.scope)


def statistics(build: Build, key: str, question: Question = ANYTHING, *, by: Sequence[str] = ()) -> Select[Any]:
    """Give the SELECT of additive statistics that `answer` runs: groups, details, then one column a measure.

    Takes what `answer` takes. The same on every engine that holds the build; engines are compared on it and the
    benchmark times it. Raises UnknownMetric and UnknownDimension.
    """
    try:
        return statement_of(build, bind(build, key, question, by=by))
    except PartlyKnown as reason:
        raise UnknownDimension(f"{key}: {reason}.") from None


def bind(build: Build, key: str, question: Question = ANYTHING, *, by: Sequence[str] = ()) -> BoundQuestion:
    """Put a question to a metric of a build: the one way to a number; what the build cannot contribute is left out.

    Raises UnknownMetric.
    """
    return of_build(build, ask(key, question, by=by))


def of_build(build: Build, question: BoundQuestion) -> BoundQuestion:
    """Leave out what this build cannot contribute: bases without rows, sources without the facts the metric needs."""
    if "empty" not in build.cache:
        matches = STAR.tables["estimate_credit_match"]
        has_matches = len(build.fetch(select(matches.c.units).limit(1)))
        build.cache["empty"] = frozenset() if has_matches else frozenset({matches.name})
    lacks = lacking(build, question.metric.needs)
    filled = tuple(s for s, missing in lacks.items() if not missing)
    sources = filled if 0 < len(filled) < len(lacks) else None
    faults = losses.has_faults(build)
    return replace(
        question,
        own=own_dimensions(build),
        empty=build.cache["empty"],
        has_faults=faults,
        observed=observed(build),
        sources=sources,
    )


def observed(build: Build) -> dict[str, datetime]:
    """Give T of each source, its latest event, once a build."""
    if "observed" not in build.cache:
        c = STAR.tables["build_source"].c
        happenings = c.thing.in_(["order_line", "return_event", "chain_element", "refund"])
        latest = func.max(c.last_occurred_at).label("at")
        found = build.fetch(select(c.source, latest).where(happenings).group_by(c.source)).dropna()
        plain = pd.to_datetime(found["at"], utc=True).dt.tz_localize(None)  # Spark's times carry a zone
        build.cache["observed"] = {s: t.to_pydatetime() for s, t in zip(found["source"], plain, strict=True)}
    times: dict[str, datetime] = build.cache["observed"]
    return times


def statement_of(build: Build, question: BoundQuestion) -> Select[Any]:
    """Build the statement of a question, or take the one built before."""
    known: dict[Any, Select[Any]] = build.cache.setdefault("statements", {})
    q = question
    key = (q.metric.key, q.parameter, q.by, repr(q.where), q.since, q.until, q.as_of, repr(q.scope), q.basis)
    if key not in known:
        if len(known) >= REMEMBERED:
            known.clear()
        known[key] = statement(question)
    return known[key]


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


def unit(build: Build, chosen: Metric) -> str:
    """Give a metric's unit on this build: money is in its reporting currency."""
    return chosen.unit.replace("money", build.info.get("reporting_currency", "EUR"))
