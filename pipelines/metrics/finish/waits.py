"""Waits and promises: quantiles, states, the promise that holds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, case, func, literal_column, select

from models import promises as promise_models
from models import rates as rate_models
from pipelines.metrics.compiler import chosen_sums, dimension, filters
from pipelines.metrics.declare import BoundQuestion, Finish
from pipelines.metrics.facts import promises
from pipelines.metrics.facts.of_promises import PROMISES
from pipelines.metrics.finish import paces
from pipelines.metrics.finish.shares import answer_frame, groups_of, ratio_of, summed
from pipelines.metrics.sums import summed as added_up
from pipelines.warehouse.engine import Build, double
from pipelines.why import together, why

STATES = ("kept", "broken", "undetermined", "expired")


def by_state(frame: pd.DataFrame, ask: BoundQuestion) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give returns under promise per group, one column a state."""
    wide = frame.assign(**{s: np.where(frame["state"] == s, frame["returns"].fillna(0), 0.0) for s in STATES})
    return summed(wide, ask.by, list(STATES))


def kept(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give kept / (kept + broken), with Wilson's interval on as many returns as the promises are worth."""
    keys, sums = by_state(frame, ask)
    n = (sums["kept"] + sums["broken"]).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(n > 0, sums["kept"] / n, np.nan)
    low, high = rate_models.wilson(sums["kept"], n, ask.level, _return_effect(build, ask))
    found = answer_frame(keys, value, low, high, n, np.where(n > 0, "", why("no_promise")))
    return found.assign(note=_from_return(frame[frame["state"].isin(["kept", "broken"])], frame, ask, "returns"))


OF_PROMISE = frozenset({"promise_id", "responsible", "state"})
"""Dimensions by which the promises of one return differ; by all others, and by day, they are alike."""


def _return_effect(build: Build, ask: BoundQuestion) -> float:
    """Measure how much more returns vary than their promises would apart: a late parcel breaks several at once.

    The design effect of returns within the question's groups; 1 where each return has one promise there.
    """
    chosen = ask.where.get("promise_id", ())
    if {"promise_id", "return_id"} & {*ask.by} or isinstance(chosen, str) or len(chosen) == 1:
        return 1.0

    def of(asked: BoundQuestion) -> Select[Any]:
        now = PROMISES.time(asked)
        state = PROMISES.details["state"](now)
        keys = [dimension(PROMISES, name, asked.on, now).label(name) for name in asked.by]
        kept_, due = (
            func.sum(case((state.in_([literal_column(f"'{s}'") for s in states]), double(1)), else_=double(0)))
            for states in (("kept",), ("kept", "broken"))
        )
        counted = [s.condition(now) for s in chosen_sums(asked, "returns")]
        conditions = [*filters(PROMISES, asked, now), *(c for c in counted if c is not None)]
        a_return = select(*keys, kept_.label("k"), due.label("m")).select_from(PROMISES.table).where(*conditions)
        each = a_return.group_by(promises.c.return_key, *keys).subquery("a_return")
        k, m = each.c.k, each.c.m
        sums = [func.sum(x).label(n) for n, x in (("k", k), ("m", m), ("kk", k * k), ("km", k * m), ("mm", m * m))]
        groups = [each.c[key.name] for key in keys]
        query = select(*groups, *sums).where(m > double(0))
        return query.group_by(*groups) if groups else query

    columns = ["k", "m", "kk", "km", "mm"]
    several = any(name in OF_PROMISE and len(values) > 1 for name, values in ask.where.items())
    of_what = "promises of a return", next(m for m in ask.metric.measures if m.name == "returns")
    found = build.fetch(of(ask)) if several else added_up(build, ask, of, of_what, columns, is_plain=True)
    found = found[columns].fillna(0.0).astype(float)
    return rate_models.effect_of_sums(*(found[n] for n in columns))


def _from_return(rows: pd.DataFrame, frame: pd.DataFrame, ask: BoundQuestion, name: str) -> list[str]:
    """Say of each group how much of it counts from the return, for want of a request."""
    if "is_from_return" not in frame:
        return [""] * len(groups_of(frame, ask.by)[1])
    number, keys = groups_of(frame, ask.by)
    used = frame.index.isin(rows.index)
    weight = frame[name].fillna(0).to_numpy(float) * used
    whole = np.bincount(number, weight, len(keys))
    part = np.bincount(number, weight * frame["is_from_return"].fillna(0).to_numpy(float), len(keys))
    return [why("from_return", share=p / w) if p > 0 else "" for p, w in zip(part, whole, strict=True)]


def in_state(state: str) -> Finish:
    """Count the returns under promise in one state; n is all under promise."""

    def finish(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        keys, sums = by_state(frame, ask)
        return answer_frame(keys, sums[state], n=sums.sum(axis=1))

    return finish


def _table_of_waits(
    frame: pd.DataFrame, ask: BoundQuestion
) -> tuple[pd.DataFrame, np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    number, keys = groups_of(frame, ask.by)
    cause = frame["cause"].fillna(-1).to_numpy(int)
    used = cause >= 0
    hours, bins = np.unique(frame["hours"].fillna(0).to_numpy(float)[used], return_inverse=True)
    if not len(hours):
        hours = np.zeros(1)
    table = promise_models.life_table(
        number[used], bins, cause[used], frame["waits"].to_numpy(float)[used], len(keys), len(hours)
    )
    return keys, hours / 24, table, number


def wait_quantile(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give a quantile of the days waited by those that complete (Aalen-Johansen), with its interval."""
    found = _waited(
        frame,
        ask,
        lambda days, table: promise_models.completion_quantiles(days, table, [ask.parameter or 0.9], ask.level)[
            :, 0, :
        ],
    )
    return paces.marked(found, [paces.said(build, ask, s) for s in _pairs(found, ask)])


_WHOLE = {
    "days_to_refund": "requested-refunded",
    "days_to_refund_from_receipt": "received-refunded",
    "days_to_restock": "requested-restocked",
    "days_to_restock_from_receipt": "received-restocked",
}


def _pairs(found: pd.DataFrame, ask: BoundQuestion) -> list[tuple[str, ...]]:
    """Give the pairs of stages that each answer is about."""
    if ask.metric.key in _WHOLE:
        return [(_WHOLE[ask.metric.key],)] * len(found)
    if "stage" in ask.by:
        return [(str(s),) for s in found["stage"]]
    return [_chosen(ask, "stage")] * len(found)


def _chosen(ask: BoundQuestion, name: str) -> tuple[str, ...]:
    chosen = ask.where.get(name, ())
    return (chosen,) if isinstance(chosen, str) else tuple(map(str, chosen))


def _promised(found: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Put on answers about promises what is said of the pace of the waits that end them."""
    if "promise_id" in ask.by:
        ends = [paces.ends_of(build, [p]) for p in found["promise_id"]]
    else:
        ends = [paces.ends_of(build, _chosen(ask, "promise_id") or None)] * len(found)
    return paces.marked(found, [paces.said(build, ask, ends=e) for e in ends])


def promise_that_holds(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the shortest duration kept with a probability, in the promise's own unit; a lost return breaks any."""
    number, keys = groups_of(frame, ask.by)
    took, place = np.unique(frame["took"].fillna(0).to_numpy(float), return_inverse=True)
    took = took if len(took) else np.zeros(1)
    table = promise_models.life_table(
        number, place, frame["cause"].fillna(3).to_numpy(int), frame["waits"].fillna(0), len(keys), len(took)
    )
    found = np.asarray(promise_models.promise_at(took, table, ask.parameter or 0.95, ask.level), dtype=float)
    units = frame.assign(group=number).groupby("group")["unit_of"].agg(lambda u: "|".join(sorted(set(u.dropna()))))
    unit = units.reindex(range(len(keys))).fillna("").to_numpy(str)
    completed = table[:, promise_models.COMPLETED, :].sum(-1)
    found[:, 2] = np.where(np.isinf(found[:, 2]), np.nan, found[:, 2])
    reason = np.where(
        np.char.find(unit, "|") >= 0,
        why("units_differ"),
        np.where(
            completed == 0,
            why("nothing_completed"),
            np.where(np.isinf(found[:, 0]), why("longer_units", n=took[-1]), ""),
        ),
    )
    answers = answer_frame(keys, found[:, 0], found[:, 1], found[:, 2], completed, reason).assign(unit=unit)
    return _promised(answers, ask, build)


def risk(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
    """Give the mean probability of open promises, with what is said of the pace of their waits."""
    return _promised(_mean_risk(frame, ask, build), ask, build)


_mean_risk = ratio_of("expected", "open", nothing=why("no_open"))


def _waited(frame: pd.DataFrame, ask: BoundQuestion, estimate: Callable[..., Any]) -> pd.DataFrame:
    keys, days, table, _ = _table_of_waits(frame, ask)
    found = np.asarray(estimate(days, table), dtype=float)
    completed = table[:, promise_models.COMPLETED, :].sum(-1)
    longest = days[-1]
    found[:, 2] = np.where(np.isinf(found[:, 2]), np.nan, found[:, 2])
    reason = np.where(
        completed == 0,
        why("nothing_completed"),
        np.where(np.isinf(found[:, 0]), why("longer", days=longest), ""),
    )
    number, _ = groups_of(frame, ask.by)
    cause = frame["cause"].fillna(-1).to_numpy(int)
    early = np.bincount(number, np.where(cause == -2, frame["waits"].to_numpy(float), 0), len(keys))
    said = [why("paid_early", n=int(n)) if n else "" for n in early]
    notes = zip(said, _from_return(frame[cause >= 0], frame, ask, "waits"), strict=True)
    return answer_frame(keys, found[:, 0], found[:, 1], found[:, 2], completed, reason).assign(
        note=[together(*pair) for pair in notes]
    )
