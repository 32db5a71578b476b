"""Alerts that last: kept at the end of each load, told once, acknowledged by who knows.

An alert lasts from the build that shows it to the one that does not; who is to be told is told once, and again only
when it had gone and came back. One that somebody acknowledged stays listed and leaves the first screen until it comes
back. An address that cannot be reached is tried again at the next evaluation, and never fails a load.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import insert, select, update

from pipelines import metrics
from pipelines.alerts.rules import Rule, keep_shipped, rules, stored
from pipelines.alerts.verdicts import Verdict, evaluate
from pipelines.delivery import FAILURES, Message, deliver, shown
from pipelines.errors import AlertError, BackhaulError, UnknownMetric
from pipelines.links import FILTERS, PAGE_OF, link
from pipelines.metrics.bind import observed as observed_until
from pipelines.metrics.question import ALIASES
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import current_build, writing
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.scope import Scope


def _verdicts(build: Build, rule: Rule) -> list[Verdict]:
    """Evaluate a rule; one that cannot be asked any more says so instead of stopping a load."""
    try:
        return evaluate(build, rule)
    except BackhaulError as error:
        return [Verdict(rule, {}, None, reason=str(error))]


def check(settings: Settings) -> list[Verdict]:
    """Evaluate every rule that is not paused on the current build and write nothing: the dry run."""
    with current_build(settings.warehouse) as build:
        return [v for rule in rules(settings) if not rule.is_paused for v in _verdicts(build, rule)]


def record(settings: Settings) -> list[Verdict]:
    """Evaluate every rule on the current build and keep what fires; gives the alerts that are new.

    The caller holds the warehouse for writing. What cannot be known leaves a lasting alert as it is, and so does a rule
    that is paused.
    """
    state_file = state.State(settings.warehouse)
    a = state_tables.alert
    fresh: list[Verdict] = []
    try:
        keep_shipped(state_file)
        with current_build(settings.warehouse) as build:
            at = max(observed_until(build).values(), default=state.now())
            build_id = str(build.info["build_id"])
            every = stored(state_file)
            verdicts = [v for rule in every if not rule.is_paused for v in _verdicts(build, rule)]
        paused = {rule.rule_id for rule in every if rule.is_paused}
        lasting = {
            (r["rule_id"], r["cell"]): r["alert_id"]
            for r in state_file.rows(select(a).where(a.c.cleared_at.is_(None)))
            if r["rule_id"] not in paused
        }
        with state_file.transaction() as connection:
            for v in verdicts:
                cell = json.dumps(dict(v.cell), sort_keys=True)
                known = lasting.pop((v.rule.rule_id, cell), None)
                seen = _seen(v) | {"seen_at": at, "seen_build": build_id}
                if v.fires and known is None:
                    first = {"rule_id": v.rule.rule_id, "cell": cell, "since_at": at, "since_build": build_id}
                    connection.execute(insert(a).values(told="[]", **first, **seen))
                    fresh.append(v)
                elif v.fires:
                    connection.execute(update(a).where(a.c.alert_id == known).values(**seen))
                elif known is not None and v.fires is False:
                    connection.execute(update(a).where(a.c.alert_id == known).values(cleared_at=at))
            for gone in lasting.values():  # its cell is in no row any more
                connection.execute(update(a).where(a.c.alert_id == gone).values(cleared_at=at))
    finally:
        state_file.close()
    return fresh


def _seen(v: Verdict) -> dict[str, Any]:
    """Give what is kept of a verdict's numbers and days."""
    numbers = {"value": v.value, "low": v.low, "high": v.high, "previous": v.previous}
    days = dict(zip(("before_since", "before_until"), v.before or (None, None), strict=True))
    kept: dict[str, Any] = {n: float(x) if np.isfinite(x) else None for n, x in numbers.items()}
    return kept | days | {"unit": v.unit, "since": v.since, "until": v.until, "caution": v.caution}


def alerts(settings: Settings, *, lasting: bool = True) -> pd.DataFrame:
    """List alerts, newest first: those that last and whose rule is not paused, or all.

    `rule` is the Rule, `cell` a mapping; the rest as the table has it.
    """
    names = [c.name for c in state_tables.alert.columns]
    if not (settings.warehouse / "state.sqlite").exists():
        return pd.DataFrame(columns=[*names, "rule"])
    state_file = state.State(settings.warehouse)
    try:
        a = state_tables.alert
        chosen = select(a).order_by(a.c.since_at.desc(), a.c.alert_id)
        found = state_file.read(chosen.where(a.c.cleared_at.is_(None)) if lasting else chosen)
        by_id = {r.rule_id: r for r in stored(state_file, with_withdrawn=True)}
    finally:
        state_file.close()
    if lasting:
        paused = [number for number, rule in by_id.items() if rule.is_paused]
        found = found[~found["rule_id"].isin(paused)].reset_index(drop=True)
    return found.assign(cell=found["cell"].map(json.loads), rule=looked_up(found["rule_id"], by_id))


def within(found: pd.DataFrame, scope: Scope) -> pd.DataFrame:
    """Keep those of `alerts` that speak of nothing beyond a scope, by their rule's filter or their cell."""
    limits = [
        {ALIASES.get(n, n): v for n, v in {**rule.where, **{n: [v] for n, v in cell.items()}}.items()}
        for rule, cell in zip(found["rule"], found["cell"], strict=True)
    ]
    return found[np.array([scope.holds(one) for one in limits], dtype=bool)].reset_index(drop=True)


def acknowledge(settings: Settings, alert_id: int, who: str, *, is_known: bool = True) -> None:
    """Note that somebody knows of an alert that lasts, or take that back; it stays listed.

    Raises AlertError for none of that number that lasts.
    """
    a = state_tables.alert
    with writing(settings.warehouse, settings.short_wait_s):
        state_file = state.State(settings.warehouse)
        try:
            with state_file.transaction() as connection:
                lasting = update(a).where(a.c.alert_id == alert_id, a.c.cleared_at.is_(None))
                known = {"acknowledged_at": state.now(), "acknowledged_by": who[:200]}
                done = connection.execute(lasting.values(**(known if is_known else dict.fromkeys(known))))
                if done.rowcount == 0:
                    raise AlertError(f"No alert {alert_id} lasts. `backhaul alert log` shows those that do.")
        finally:
            state_file.close()


def verdict_of(row: Mapping[Any, Any]) -> Verdict:
    """Give the verdict that an alert was, from a row of `alerts`."""
    numbers = {n: np.nan if pd.isna(row[n]) else float(row[n]) for n in ("value", "low", "high", "previous")}
    days = {
        n: None if pd.isna(row[n]) else pd.Timestamp(row[n]).date()
        for n in ("since", "until", "before_since", "before_until")
    }
    since, until = days.pop("before_since"), days.pop("before_until")
    caution = "" if pd.isna(row["caution"]) else str(row["caution"])
    before = (since, until) if since and until else None
    return Verdict(
        row["rule"],
        row["cell"],
        True,
        unit=str(row["unit"]),
        caution=caution,
        before=before,
        **numbers,  # type: ignore[arg-type]
        **days,  # type: ignore[arg-type]
    )


def tell(settings: Settings) -> list[str]:
    """Notify every address of its alerts that did not go out, one message an address.

    Gives a sentence for each that could not be told.
    """
    found = alerts(settings)
    waiting: dict[str, list[dict[str, Any]]] = {}
    for row in ({str(k): v for k, v in r.items()} for r in found.to_dict("records")):
        for address in row["rule"].to:
            if address not in json.loads(row["told"]):
                waiting.setdefault(address, []).append(row)
    failures = []
    for address, rows in waiting.items():
        try:
            deliver(settings, address, message(settings, rows))
        except FAILURES as error:
            failures.append(
                f"{shown(address)} could not be told of {len(rows)} alerts: {error}. It is tried again after the next"
                " load."
            )
            continue
        state_file = state.State(settings.warehouse)
        try:
            with writing(settings.warehouse, settings.short_wait_s), state_file.transaction() as connection:
                for row in rows:
                    row["told"] = json.dumps(sorted({*json.loads(row["told"]), address}))
                    mine = update(state_tables.alert).where(state_tables.alert.c.alert_id == row["alert_id"])
                    connection.execute(mine.values(told=row["told"]))
        finally:
            state_file.close()
    return failures


def link_of(settings: Settings, row: Mapping[Any, Any]) -> str:
    """Give the link to what an alert speaks of: its page, its filters, its days, the build that showed it."""
    rule, verdict = row["rule"], verdict_of(row)
    try:
        page = PAGE_OF.get(metrics.metric(rule.metric).family, "today")
    except UnknownMetric:
        page = "today"
    limits = [(name, value) for name, values in rule.where.items() for value in values] + list(row["cell"].items())
    days = (verdict.since, verdict.until) if verdict.since and verdict.until else None
    return link(settings, page, of_limits(limits), days, str(row["seen_build"] or ""))


def of_limits(limits: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Give what stands in the address for filters by dimension and value; those that no page has are left out.

    >>> of_limits([("country", "FR"), ("promise_id", "refund"), ("stage", "x")])
    {'country': ['FR'], 'promise': ['refund'], 'part': ['control']}
    """
    found: dict[str, list[str]] = {}
    for given, value in limits:
        name = ALIASES.get(given, given)
        if name == "promise_id":
            found |= {"promise": [value], "part": ["control"]}
        elif name in FILTERS:
            found.setdefault(name, []).append(value)
    return found


def message(settings: Settings, rows: Sequence[Mapping[Any, Any]]) -> Message:
    """Write a message about alerts: each with its numbers, why it alerts, and the exact link."""
    verdicts, links = [verdict_of(row) for row in rows], [link_of(settings, row) for row in rows]
    first = verdicts[0].sentence()
    subject = f"Backhaul: {first}" if len(verdicts) == 1 else f"Backhaul: {len(verdicts)} alerts"
    said = [f"- {v.sentence()}. Why: {v.because()}." for v in verdicts]
    if len(verdicts) > 1:
        said = [f"{sentence} Open: {at}" for sentence, at in zip(said, links, strict=True)]
    payloads = [payload(v) | {"link": at} for v, at in zip(verdicts, links, strict=True)]
    where = links[0] if len(links) == 1 else link(settings, "alerts", {})
    return Message(" ".join(subject.split()), said, where, more={"alerts": payloads})


def payload(verdict: Verdict) -> dict[str, Any]:
    """Give an alert as JSON carries it."""
    numbers = {n: getattr(verdict, n) for n in ("value", "low", "high", "previous")}
    rule = verdict.rule
    return {
        "sentence": verdict.sentence(),
        "why": verdict.because(),
        "metric": rule.metric,
        "test": rule.test,
        "bound": rule.bound,
        "where": {k: list(v) for k, v in rule.where.items()},
        "cell": dict(verdict.cell),
        **{n: float(x) if np.isfinite(x) else None for n, x in numbers.items()},
        "unit": verdict.unit,
        "caution": verdict.caution,
        "since": str(verdict.since) if verdict.since else None,
        "until": str(verdict.until) if verdict.until else None,
        "compared_with": [str(day) for day in verdict.before] if verdict.before else None,
    }
