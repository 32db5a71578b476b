"""Sentences, columns and blocks of the page overview."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.i18n import Words
from dashboard.shared import findings
from dashboard.shared.blocks import linked
from dashboard.shared.findings import (
    RATES,
    Finding,
    carbon,
    cautious,
    difference,
    headline,
    kept,
    likely_late,
    margin,
    mass,
    told,
    weight,
    with_change,
)
from dashboard.shared.queries import Change, Number
from pipelines.metrics import Metric


def links(words: Words, found: list[findings.Finding], otherwise: str) -> None:
    """Show sentences that lead to their pages, or what to say when there are none."""
    for finding in found:
        linked(words, finding)
    if not found:
        st.caption(otherwise)


def carbon_per_sold(words: Words, per_hundred: Number, total: Number) -> str:
    """Say what returns emit per 100 units sold, or in all where sales are not known."""
    if per_hundred.status != "ok":
        return carbon(words, total)
    return told(words, "finding.carbon_per", per_hundred, kg=mass(words, per_hundred.value))


def flow(words: Words, frame: pd.DataFrame) -> str:
    """Say how many of the returned units were sold again as new."""
    if frame.empty:
        return words("overview.flow")
    returned = frame.loc[frame["target"] == "returned", "units"].sum()
    resold = frame.loc[frame["target"] == "resold_as_new", "units"].sum()
    if not resold:
        return words("overview.flow")
    return told(words, "finding.flow", frame, resold=words.number(resold), returned=words.number(returned))


def moved(words: Words, changes: Sequence[tuple[str, str, str, str, Change]], names: dict[str, str]) -> list[Finding]:
    """Say the three changes that stand out most; `names` are the metrics' names."""
    found = [
        Finding(
            page,
            told(
                words,
                "finding.moved",
                change_of,
                metric=names[key],
                group=words.value(kind, group),
                change=difference(words, change_of),
            ),
            weight(change_of),
        )
        for key, kind, group, page, change_of in changes
    ]
    return most_important(found)


PAGE_OF = {
    "returns": "returns",
    "workload": "returns",
    "products": "products",
    "promises": "delays",
    "money": "margin",
    "carbon": "carbon",
    "circularity": "dispositions",
    "data": "checks",
}
"""The page that says more of a family of metrics."""


def alerts(words: Words, frame: pd.DataFrame, of: Callable[[str], Metric]) -> list[Finding]:
    """Say each alert that lasts, newest first; `of` gives the metric of a key."""
    found = []
    for row in frame.to_dict("records"):
        rule, chosen, unit = row["rule"], of(row["rule"].metric), str(row["unit"])
        limits = [(k, v) for k, vs in rule.where.items() for v in vs] + list(row["cell"].items())
        where = ", ".join(words.value(kind, v) for kind, v in limits)
        name = words.either(*chosen.name) + (f" ({where})" if where else "")
        other = row["previous"] if rule.test in ("worse", "better") else rule.bound
        said = words(
            f"alerts.{rule.test}",
            metric=name,
            value=words.quantity(row["value"], unit),
            other=words.quantity(other, unit),
            days=words.number(rule.days),
            since=words.day(row["since_at"]),
        )
        said = cautious(words, said, "" if pd.isna(row["caution"]) else str(row["caution"]))
        found.append(Finding(PAGE_OF.get(chosen.family, "today"), said, 0.0))
    return found


Answers = dict[str, tuple[Number, Change | None]]


def overview(words: Words, answers: Answers) -> list[Finding]:
    """Say the three things that matter most today, each with the page that says more."""
    final, moved_rate = answers["ultimate_return_rate"]
    others = [(name, answers[key]) for key, name in RATES.items()]
    promise, moved_promise = answers["promise_kept"]
    erosion, moved_erosion = answers["margin_erosion_share"]
    cost, _ = answers["return_cost"]
    emitted, moved_emitted = answers["kg_co2e_per_100_sold"]
    kilograms, _ = answers["kg_co2e"]
    resold, moved_resold = answers["resold_as_new_share"]
    found = [
        headline(words, final, moved_rate, others),
        Finding("delays", with_change(words, kept(words, promise), moved_promise), weight(moved_promise)),
        Finding("margin", with_change(words, margin(words, erosion, cost), moved_erosion), weight(moved_erosion)),
        Finding(
            "carbon",
            with_change(words, carbon_per_sold(words, emitted, kilograms), moved_emitted),
            weight(moved_emitted),
        ),
    ]
    if resold.status == "ok":
        sentence = told(words, "finding.resold", resold, share=words.percent(resold.value))
        found.append(Finding("dispositions", with_change(words, sentence, moved_resold), weight(moved_resold)))
    return most_important(found)


def actions(
    words: Words, due_refunds: pd.DataFrame, risk: pd.DataFrame, ranking: pd.DataFrame, currency: str
) -> list[Finding]:
    """Say what waits to be done, dearest first, with the money at stake."""
    found = []
    likely = likely_late(risk)
    for link, key, rows in (((), "do.refund", due_refunds), ((("part", "risk"),), "do.risk", likely)):
        if len(rows):
            money = float(rows["amount"].sum())
            sentence = told(words, key, (), n=words.number(len(rows)))
            found.append(Finding("late", _worth(words, sentence, rows, money, currency), money, link))
    for row in ranking[ranking["is_flagged"].astype(bool)].head(3).to_dict("records") if len(ranking) else ():
        sentence = told(
            words,
            "do.product",
            (),
            name=str(row["name"]),
            rate=words.percent(row["rate"], 0),
            usual=words.percent(row["category_rate"], 0),
        )
        said = _worth(words, sentence, row, row["at_stake"], currency)
        found.append(Finding("product", said, row["at_stake"], (("product", str(row["style_id"])),)))
    return most_important(found, 5)


def _worth(words: Words, sentence: str, rests: Any, money: float, currency: str) -> str:
    return told(words, "do.worth", rests, sentence=sentence, amount=words.money(money, currency))


def most_important(found: Sequence[Finding], count: int = 3) -> list[Finding]:
    """Choose the findings that stand out most, in the order given where nothing moved."""
    return sorted(found, key=lambda f: -f.weight)[:count]
