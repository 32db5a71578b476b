"""Alerts in the reader's words, each with the page that says more: Today and the page of alerts show them."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from dashboard.i18n import Words
from dashboard.shared.findings import Finding, cautious
from dashboard.shared.queries import Source
from pipelines import alerts
from pipelines.links import PAGE_OF
from pipelines.metrics import Metric
from pipelines.settings import Settings

SHOWN = {"promise_id": "promise"}
"""Kinds of value by the dimension they are values of, where they are called otherwise."""


def lasting(asked: Source) -> pd.DataFrame:
    """List the alerts that last and lie within the reader's scope, newest first, with their rules."""
    return alerts.within(alerts.alerts(Settings(asked.warehouse)), asked.scope)


def limits(words: Words, pairs: list[tuple[str, str]]) -> str:
    """Name the values that something is limited to."""
    return ", ".join(words.value(SHOWN.get(kind, kind), value) for kind, value in pairs)


def compared(words: Words, rule: alerts.Rule, *, is_of_last_year: bool) -> str:
    """Say what a rule's number is compared with."""
    span = "year" if is_of_last_year else rule.period
    return words(f"alerts.before_{span}", days=words.number(rule.days))


def said(words: Words, frame: pd.DataFrame, of: Callable[[str], Metric]) -> list[tuple[dict[Any, Any], Finding]]:
    """Say each alert that lasts, newest first, beside its row; `of` gives the metric of a key."""
    found = []
    for row in frame.to_dict("records"):
        rule, chosen, unit = row["rule"], of(row["rule"].metric), str(row["unit"])
        pairs = [(k, v) for k, vs in rule.where.items() for v in vs] + list(row["cell"].items())
        where = limits(words, pairs)
        other = row["previous"] if rule.test in ("worse", "better") else rule.bound
        sentence = words(
            f"alerts.{rule.test}",
            metric=words.either(*chosen.name) + (f" ({where})" if where else ""),
            value=words.quantity(row["value"], unit),
            other=words.quantity(other, unit),
            before=compared(words, rule, is_of_last_year=alerts.verdict_of(row).is_of_last_year),
            since=words.day(row["since_at"]),
        )
        sentence = cautious(words, sentence, "" if pd.isna(row["caution"]) else str(row["caution"]))
        link = [(SHOWN.get(k, k), str(v)) for k, v in pairs]
        link += [("part", "control")] if "promise_id" in row["cell"] else []
        found.append((row, Finding(PAGE_OF.get(chosen.family, "today"), sentence, 0.0, tuple(link))))
    return found


def is_acknowledged(row: dict[Any, Any]) -> bool:
    """Say whether somebody knows of an alert."""
    return not pd.isna(row["acknowledged_at"])
