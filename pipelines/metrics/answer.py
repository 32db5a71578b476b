"""Ask a metric: the catalogue, an answer with interval and reason, a comparison, the rows behind a number.

What the sources do not deliver is greyed with the reason, never guessed: a metric names the kinds of fact it needs, a
build says what each source fills. Sources that lack a fact are left out of numerator and denominator alike, and the
reason says so.
"""

import json
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from models import rates as rate_models
from models.marks import beyond_noise
from pipelines.errors import UnknownDimension
from pipelines.metrics import beside, losses
from pipelines.metrics.bind import ask, is_known, of_build, unit
from pipelines.metrics.catalogue import own_dimensions, parsed
from pipelines.metrics.compiler import PartlyKnown, check_dimensions
from pipelines.metrics.coverage import lacking, wanted
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.finish.shares import total
from pipelines.metrics.question import ALIASES, ANYTHING, Day, Question
from pipelines.metrics.sums import read_together, statistics_of
from pipelines.warehouse.engine import Build, Kept
from pipelines.why import of_other, together, why


def answer(build: Build, key: str, question: Question = ANYTHING, *, by: Sequence[str] = ()) -> pd.DataFrame:
    """Answer a metric per group.

    `by` are dimensions or time grains (day, week, month, quarter, year) of the metric's own date basis. Gives the
    groups' columns, then value, low, high (an interval of the question's level, NaN where there is none), n, coverage
    (the share of its rows that the number rests on), unit, basis, status ("ok" or "greyed": no value, or one that its
    reason says is of a part only), reason, and caution: "" or what weakens the number ("coverage", "delay_drift",
    "factor"; `reason` then says how). A number that more than `losses.UNKNOWN` of its rows are lost to is greyed and
    keeps its bounds in low and high. Without `by` there is exactly one row. Raises UnknownMetric and UnknownDimension.
    """
    kept: Kept = build.cache.setdefault("answers", Kept())
    asked = key, tuple([by] if isinstance(by, str) else by), repr(question)
    found = kept.get(asked)
    return kept.keep(asked, _answered(build, ask(key, question, by=by))) if found is None else found


def read_ahead(build: Build, keys: Sequence[str], question: Question = ANYTHING, *, by: Sequence[str] = ()) -> None:
    """Read what answers to several metrics need in one scan of each fact, whatever days are asked for next.

    It changes no answer; what cannot be read ahead is read when it is asked for.
    """
    asks = []
    every = dict.fromkeys([*keys, *(other for key in keys if (other := parsed(key)[0].compared_by))])
    for key in every:
        bound = ask(key, question, by=by)
        if not is_known(build, key):
            continue
        try:
            check_dimensions(bound.metric, [*bound.by, *bound.where], own_dimensions(build))
        except UnknownDimension:
            continue
        asks.append(of_build(build, bound))
    read_together(build, asks)
    losses.weigh_together(build, asks)


def _answered(build: Build, bound: BoundQuestion) -> pd.DataFrame:
    """Answer a question, as `answer` gives it."""
    chosen = bound.metric
    lacks = _lacks(build, bound)
    without = {s: missing for s, missing in lacks.items() if missing}
    try:
        if not lacks or len(without) == len(lacks):
            check_dimensions(chosen, [*bound.by, *bound.where], own_dimensions(build))  # before coverage is looked at
            return _finished(build, bound, _grey(bound, _needs(build, bound, without)))
        bound = of_build(build, bound)
        absent = [d for d in chosen.required if d not in {ALIASES.get(n, n) for n in (*bound.by, *bound.where)}]
        if absent:
            check_dimensions(chosen, [*bound.by, *bound.where], own_dimensions(build))
            return _finished(
                build,
                bound,
                _grey(bound, why("mixed", names=", ".join(absent))),
            )
        frame = statistics_of(build, bound)
    except PartlyKnown as reason:
        return _finished(build, bound, _grey(bound, str(reason)))
    is_empty = bool(bound.by) and not len(frame)
    found = _grey(bound, "").iloc[:0] if is_empty else (chosen.finish or total)(frame, bound, build)
    found = losses.cover(build, bound, found, unit(build, chosen))
    note = together(*(why("without", source=s, facts=wanted(missing)) for s, missing in without.items()))
    if "source" in bound.by and without:
        found = _with_sources_without(found, without)
        note = ""
    found = beside.unshipped(build, bound, beside.beyond_sold(build, bound, found))
    if note:
        found["note"] = [together(note, own) for own in found["note"]]
    return _finished(build, bound, found)


def _lacks(build: Build, bound: BoundQuestion) -> dict[str, list[str]]:
    """Give by source, of those asked for, the kinds of fact that a metric needs and the source does not fill."""
    lacks = lacking(build, bound.metric.needs)
    asked = {
        str(v)
        for name, values in bound.where.items()
        if name == "source"
        for v in ([values] if isinstance(values, str) else values)
    }
    return {s: missing for s, missing in lacks.items() if not asked or s in asked}


def _needs(build: Build, bound: BoundQuestion, without: dict[str, list[str]]) -> str:
    """Say what a metric needs that no source has, and what is counted instead where returns are only marked."""
    missing = sorted({m for found in without.values() for m in found}) or list(bound.metric.needs)
    if beyond := [need for need in missing if {*need.split("|")} & set(json.loads(build.info.get("not_within", "[]")))]:
        return why("not_within", facts=wanted(beyond))
    is_marked = "return" in missing and bound.metric.unit == "share" and is_known(build, "flagged_line_rate")
    return together(why("needs", facts=wanted(missing)), why("load_source"), why("marked") if is_marked else "")


def _with_sources_without(found: pd.DataFrame, without: dict[str, list[str]]) -> pd.DataFrame:
    """Give a row with the reason to each source that lacks what a metric needs."""
    left = pd.DataFrame(
        [
            {"source": s, **_UNKNOWN, "reason": together(why("needs", facts=wanted(m)), why("load_source"))}
            for s, m in without.items()
        ]
    )
    return pd.concat([found[~found["source"].isin(list(without))], left], ignore_index=True)


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


def _grey(question: BoundQuestion, reason: str) -> pd.DataFrame:
    return pd.DataFrame([{**dict.fromkeys(question.by), **_UNKNOWN, "reason": reason}])


def _finished(build: Build, question: BoundQuestion, found: pd.DataFrame) -> pd.DataFrame:
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


def _above(question: BoundQuestion, value: float) -> str:
    """Say of a part that is more than its whole where its rows are."""
    values = [(n, [v] if isinstance(v, str) else v) for n, v in question.where.items()]
    options = [f"--where {shlex.quote(f'{n}={v}')}" for n, vs in values for v in vs]
    options += [f"--{o} {day}" for o, day in (("from", question.since), ("to", question.until)) if day is not None]
    asked = " ".join([question.metric.key, "--rows numerator", *options, "--out rows.csv"])
    return together(why("above", share=value), why("rows", question=asked))


def withheld(build: Build, key: str, question: Question = ANYTHING) -> str:
    """Say why a list that stands on a metric's rows cannot be given.

    Too many of them are lost to it; empty where enough count.
    """
    row = answer(build, key, question).iloc[0]
    return "" if row["status"] == "ok" else str(row["reason"])


def compare(
    build: Build,
    key: str,
    question: Question = ANYTHING,
    *,
    period: tuple[Day, Day],
    against: tuple[Day, Day],
    by: Sequence[str] = (),
) -> pd.DataFrame:
    """Compare a metric over two periods (first and last day of each) per group.

    Gives value, previous, difference, its interval low and high, is_within_noise (all groups held together:
    models.marks; None where the metric has no interval), n, n_previous, coverage (the lower of both), unit, basis,
    status, reason and caution (of either). The intervals of both periods make the difference's (MOVER).
    """
    question.takes("A comparison", "as_of")
    both = [comparable(build, key, question.but(since=a, until=b), by) for a, b in (period, against)]
    names = list(ask(key, by=by).by)
    now, before = both
    if names:
        joined = now.merge(before, on=names, how="outer", suffixes=("", "_previous"))
    else:
        joined = now.join(before.add_suffix("_previous"))
    if parsed(key)[0].is_systematic:
        joined[["low", "high", "low_previous", "high_previous"]] = np.nan
    gap, low, high, _ = rate_models.difference(
        *(
            joined[c].to_numpy(float)
            for c in ("value", "low", "high", "value_previous", "low_previous", "high_previous")
        )
    )
    noise = ~beyond_noise(gap, low, high, question.level)
    has_interval = np.isfinite(low) & np.isfinite(high)
    is_known = joined["status"].eq("ok") & joined["status_previous"].eq("ok")
    own = joined["caution"].fillna("")
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
        unit=unit(build, parsed(key)[0]),
        basis=parsed(key)[0].basis,
        status=np.where(np.isfinite(gap) & is_known, "ok", "greyed"),
        reason=_reasons(joined).where(~is_known, _cautions(joined)),
        caution=own.where(own != "", joined["caution_previous"].fillna("")).where(is_known, ""),
    )
    return result.reset_index(drop=True)


def comparable(build: Build, key: str, question: Question, by: Sequence[str] = ()) -> pd.DataFrame:
    """Answer a metric, with the interval that a comparison of it rests on: that of `compared_by`, where it has one."""
    found = answer(build, key, question, by=by)
    other = parsed(key)[0].compared_by
    if not other:
        return found
    names = list(ask(key, by=by).by)
    columns = ["value", "low", "high"]
    behind = answer(build, other, question, by=by)[[*names, *columns]]
    if names:
        behind = found[names].merge(behind, on=names, how="left")
    below, above = (behind["value"] - behind["low"]).to_numpy(), (behind["high"] - behind["value"]).to_numpy()
    return found.assign(low=found["value"] - below, high=found["value"] + above)


def _reasons(joined: pd.DataFrame) -> "pd.Series[str]":
    """Say of each row why one of the two numbers is not known; empty where both are."""
    reason = joined["reason"].fillna(why("no_number")).where(joined["status"].ne("ok"), "")
    previous = joined["reason_previous"].fillna(why("nothing_there")).map(lambda said: why("of_compared", said=said))
    return reason.where(reason.ne("") | joined["status_previous"].eq("ok"), previous)


def _cautions(joined: pd.DataFrame) -> "pd.Series[str]":
    """Say of each row what weakens either number, each thing once."""
    own, other = (
        joined[f"reason{of}"].fillna("").where(joined[f"caution{of}"].fillna("") != "", "") for of in ("", "_previous")
    )
    other = other.where(other != own, "").map(lambda said: of_other("of_compared", said))
    return pd.Series([together(*pair) for pair in zip(own, other, strict=True)], joined.index, joined["reason"].dtype)
