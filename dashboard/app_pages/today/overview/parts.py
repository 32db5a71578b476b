"""Sentences, columns and blocks of the page overview."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.today.overview import data, figures
from dashboard.app_pages.today.overview.signals import Signal, every
from dashboard.i18n import Words
from dashboard.shared import alerted, findings, plan, planned, queries, take_away
from dashboard.shared.blocks import between, link_to, linked
from dashboard.shared.controls import controls
from dashboard.shared.filters import View, is_telephone
from dashboard.shared.findings import (
    RATES,
    Finding,
    carbon,
    difference,
    enough,
    few,
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
from dashboard.shared.settled import with_young
from dashboard.shared.theme import is_dark

CARDS = 3


def links(words: Words, found: list[findings.Finding], otherwise: str) -> None:
    """Show sentences that lead to their pages, or what to say when there are none."""
    for finding in found:
        linked(words, finding)
    if not found:
        st.caption(otherwise)


def listed(words: Words, row: dict[Any, Any], finding: Finding) -> Finding:
    """Give an alert as the list shows it: with who acknowledged it."""
    if not alerted.is_acknowledged(row):
        return finding
    known = words("alerts.known", who=str(row["acknowledged_by"]), day=words.day(row["acknowledged_at"]))
    return replace(finding, sentence=f"{finding.sentence} ({known})")


def carbon_per_sold(words: Words, per_hundred: Number, total: Number) -> str:
    """Say what returns emit per 100 units sold, or in all where sales are not known."""
    if per_hundred.status != "ok":
        return carbon(words, total)
    if not enough(per_hundred):
        return few(words, per_hundred)
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
    if resold.status == "ok" and enough(resold):
        sentence = told(words, "finding.resold", resold, share=words.percent(resold.value))
        found.append(Finding("dispositions", with_change(words, sentence, moved_resold), weight(moved_resold)))
    return most_important(found)


@dataclass(frozen=True)
class Card:
    """One thing to do: the sentence and where it is done, who, until when, and the money at stake."""

    finding: Finding
    owner: str = ""
    due: dt.date | None = None
    stake: str = ""


def cards(
    words: Words,
    due_refunds: pd.DataFrame,
    risk: pd.DataFrame,
    ranking: pd.DataFrame,
    others: tuple[Sequence[Any], pd.DataFrame, int],
    currency: str,
) -> list[Card]:
    """Say the three things to do first.

    What somebody took on and is due, then what the law or a promise wants, products by the money at stake, parcels to
    claim, checks that failed. `others` are the logged actions, the lost parcels and the failed checks.
    """
    logged, parcels, checks = others
    found = [_logged(words, one, currency) for one in logged if one.due_on is not None]
    likely = likely_late(risk)
    for link, key, rows in (((), "do.refund", due_refunds), ((("part", "risk"),), "do.risk", likely)):
        if len(rows):
            said, money = told(words, key, (), n=words.number(len(rows))), float(rows["amount"].sum())
            due = pd.to_datetime(rows["due_at"]).min()
            found.append(
                Card(
                    Finding("late", said, money, link),
                    "",
                    None if pd.isna(due) else due.date(),
                    _stake(words, rows, money, currency),
                )
            )
    for row in findings.standing_out(ranking).head(CARDS).to_dict("records"):
        rates = {"rate": words.percent(row["rate"], 0), "usual": words.percent(row["category_rate"], 0)}
        said = told(words, "do.product", row, name=str(row["name"]), **rates)
        finding = Finding("product", said, row["at_stake"], (("product", str(row["style_id"])),))
        found.append(Card(finding, "", None, _stake(words, row, float(row["at_stake"]), currency)))
    if len(parcels):
        said, worth = told(words, "do.claim", parcels, n=words.number(len(parcels))), float(parcels["amount"].sum())
        last = pd.to_datetime(parcels["deadline_on"]).min()
        day = None if pd.isna(last) else last.date()
        found.append(Card(Finding("claims", said, worth), "", day, _stake(words, parcels, worth, currency)))
    if checks:
        said = told(words, "do.checks", (), n=words.number(checks))
        found.append(Card(Finding("checks", said, 0.0)))
    return found[:CARDS]


def _stake(words: Words, rests: Any, money: float, currency: str) -> str:
    """Say what is at stake, with what the sum does not rest on; nothing where it is not known."""
    return told(words, "do.at_stake", rests, amount=words.money(money, currency)) if money == money else ""


def _logged(words: Words, one: Any, currency: str) -> Card:
    """Say an action that somebody took on."""
    said = told(words, "do.logged", (), kind=words.value("kind", one.kind), about=one.note or words("do.products"))
    money = float("nan") if one.expected_money is None else float(one.expected_money)
    finding = Finding("actions", said, 0.0, (("action", str(one.action_id)),))
    return Card(finding, one.owner or "", one.due_on, _stake(words, (), money, currency))


def show_cards(words: Words, found: Sequence[Card]) -> None:
    """Show what to do first: who, until when, what is at stake, and the way to where it is done.

    A telephone leaves out that nobody has it yet: its first screen is for the numbers too.
    """
    if not found:
        st.caption(words("do.nothing"))
        return
    with st.grid(len(found), min_column_width=300, gap="xsmall"):
        for card in found:
            with st.container(border=not is_telephone(), gap=None, height="stretch"):
                linked(words, card.finding)
                owner = card.owner or ("" if is_telephone() else words("do.nobody"))
                facts = [words.pair(words("do.owner"), owner)] if owner else []
                facts += [words.pair(words("do.due"), words.day(card.due))] if card.due else []
                facts += [card.stake] if card.stake else []
                if facts:
                    st.caption(" · ".join(facts))


def lines(view: View, keys: Sequence[str]) -> None:
    """Show each number as one line: name, value, change, and its last twelve months with the unsettled ones dotted."""
    words, asked = view.words, view.asked
    if not keys:
        return
    rows = []
    for key in keys:
        found, change_of = queries.number(asked, key), queries.change(asked, key)
        said, colour, _ = findings.change(
            words,
            None if key in queries.GROWING | findings.STOCKS else change_of,
            queries.metric(key).good,
            found.n,
        )
        target = planned.said(view, key)
        beside = target.whole(words) if target.of or not is_telephone() else ""
        if view.is_against_target:
            said, colour, beside = target.verdict or words("target.none_here"), target.colour, target.of
        year = data.last_year(asked)
        months = with_young(year, key)
        rows.append(
            figures.Line(
                findings.name(words, key),
                words.quantity(found.value, found.unit),
                words("tile.growing")
                if key in queries.GROWING
                else words("tile.stock")
                if key in findings.STOCKS
                else said,
                colour,
                tuple(months["value"].astype(float)),
                tuple(months["is_young"]),
                between(words, found),
                beside,
                target.colour if not view.is_against_target else "gray",
                tuple(plan.by_month(year, key, list(months["month"]))),
            )
        )
        change = " · ".join(filter(None, [rows[-1].change, beside]))
        take_away.line(rows[-1].name, rows[-1].value, between(words, found), change)
    names = words("today.number"), words("today.value"), words("today.change"), words("today.months")
    st.html(figures.lines(rows, names, words("today.so_far"), is_dark=is_dark(), is_narrow=is_telephone()))
    behind = queries.DrillDown(keys[0], also=tuple(keys[1:]))
    controls(view, words("rows.numbers"), "tiles_today", behind, queries.numbers(asked, *keys))
    queries.unfiltered()


def ways(words: Words, lasting: Sequence[Signal]) -> None:
    """Show where the first sentence is looked into."""
    if lasting:
        link_to(words, lasting[0].finding.page, words("today.why"), **dict(lasting[0].finding.link))


def signals(words: Words, asked: queries.PageQuestion, found: Sequence[tuple[dict[Any, Any], Finding]]) -> list[Signal]:
    """List the signals that last, the gravest first.

    Under a filter alerts, which are of the whole shop, are none; neither is one that somebody acknowledged.
    """
    found = [one for one in found if not alerted.is_acknowledged(one[0])]
    due, risk = queries.due(asked), queries.at_risk(asked)
    waits = {"legal_refund": float(due["amount"].sum()) if len(due) else 0.0}
    if len(risk):
        waits |= {str(k): float(v) for k, v in risk.groupby("promise_id")["amount"].sum().items()}
    charts = {promise: (weeks, waits.get(promise, 0.0)) for promise, weeks in data.charts(asked).items()}
    drifts = data.delay_drifts(asked.source)
    return every(
        words, charts, () if asked.where else found, drifts.iloc[:0] if asked.where else drifts, queries.metric
    )


def most_important(found: Sequence[Finding], count: int = 3) -> list[Finding]:
    """Choose the findings that stand out most, in the order given where nothing moved."""
    return sorted(found, key=lambda f: -f.weight)[:count]
