"""Sentences, columns and blocks of the page margin."""

from typing import Any

import pandas as pd

from dashboard.i18n import Words
from dashboard.shared.columns import Columns, day, number, of, percent, text
from dashboard.shared.findings import Finding, enough, told, waiting
from dashboard.shared.findings import number as number_of_findings
from dashboard.shared.queries import Number


def claims_list(words: Words, found: pd.DataFrame) -> pd.DataFrame:
    """Say in the reader's words where a claim stands."""
    return found.assign(status=[words.value("claim_status", s) for s in found["status"]])


def markdowns(words: Words, curve: pd.DataFrame) -> pd.DataFrame:
    """Name what goods lose a week, measured or assumed."""
    names = [words("filter.every") if pd.isna(c) else words.value("category", c) for c in curve["category"]]
    rests = [words.value("status", "measured" if m else "assumed") for m in curve["is_measured"]]
    return curve.assign(category=names, season=curve["season"].fillna(""), rests=rests)


def erosion_columns(words: Words, currency: str) -> Columns:
    """Show the erosion of margin by group."""

    def money(label: str) -> Any:
        return number(f"{label} ({words.unit(currency)})", 2)

    return of(
        words,
        "margin",
        name=("group", text),
        sold=("sold", number),
        returned=("returned", number),
        erosion=("eroded", lambda label: number(f"{label} ({words.unit(currency)})")),
        per_sold=("per_sold", money),
        per_returned=("per_returned", money),
        share=("of_margin", percent),
    )


def claims_columns(words: Words, currency: str) -> Columns:
    """Show lost parcels to claim."""
    return of(
        words,
        "margin",
        parcel_id=("parcel", text),
        carrier=("carrier", text),
        status=("claim_status", text),
        amount=("worth", lambda label: number(f"{label} ({words.unit(currency)})", 2)),
        lost_at=("lost", day),
        deadline_on=("deadline", day),
        days_left=("left", number),
        paid=("paid", lambda label: number(label, 2)),
    )


def markdowns_columns(words: Words) -> Columns:
    """Show what goods lose a week."""
    return of(
        words,
        "margin",
        category=("category", text),
        season=("season", text),
        n=("n", number),
        rate=("a_week", percent),
        low=("low", percent),
        high=("high", percent),
        rests=("basis", text),
    )


def to_waiting(words: Words, goods: pd.DataFrame, currency: str) -> Finding:
    """Lead to what waits on its way back."""
    return Finding("waiting", waiting(words, goods, currency), 0.0)


def left(words: Words, steps: pd.DataFrame) -> str:
    """Say what share of the margin booked on returned goods is left."""
    amounts = dict(zip(steps["step"], steps["amount"], strict=True))
    if not amounts.get("booked"):
        return words("margin.tab_steps")
    return told(words, "finding.left", steps, share=words.percent(amounts["left"] / amounts["booked"], 0))


def assumption(words: Words, swings: pd.DataFrame, currency: str) -> str:
    """Name the assumption that moves the cost of returns most."""
    if swings.empty:
        return words("margin.tab_rests")
    first = swings.iloc[0]
    return told(
        words,
        "finding.assumption",
        first,
        name=words.value("cost_parameter", first["parameter"]),
        low=words.money(first["low"], currency),
        high=words.money(first["high"], currency),
    )


def claims(words: Words, found: Number) -> str:
    """Say what is worth claiming from carriers."""
    return number_of_findings(
        words, "finding.claims", "finding.claims_unknown", found, amount=words.quantity(found.value, found.unit)
    )


def lost_sales(words: Words, missed: pd.DataFrame, currency: str) -> str:
    """Say what margin was missed while goods were away."""
    if missed.empty:
        return words("margin.missed")
    value, low, high = (words.money(missed[c].sum(), currency) for c in ("value", "low", "high"))
    return told(words, "finding.lost_sales", missed, value=value, low=low, high=high)


def markdown(words: Words, curve: pd.DataFrame) -> str:
    """Say what goods lose a week."""
    if curve.empty:
        return words("margin.markdown")
    first = curve.iloc[0]
    if not enough(first):
        return words("margin.markdown")
    return told(
        words,
        "finding.markdown",
        first,
        rate=words.percent(first["rate"]),
        low=words.percent(first["low"]),
        high=words.percent(first["high"]),
    )
