"""Sentences, columns and blocks of the page recovery."""

from typing import Any

import pandas as pd

from dashboard.i18n import Words
from dashboard.shared.columns import Columns, number, of, percent, text
from dashboard.shared.findings import told


def regrets(words: Words, items: pd.DataFrame) -> pd.DataFrame:
    """List the items that lost most by the route they took."""
    worst = items[items["regret"] > 0.005]
    return worst.assign(
        category=[words.value("category", c) for c in worst["category"]],
        done=[words.value("disposition", d) for d in worst["route_done"]],
        best=[words.value("route", r) for r in worst["route"]],
    )


def rates(words: Words, found: pd.DataFrame) -> pd.DataFrame:
    """Name what dispositions fetch."""
    return found.assign(
        name=[words.value("disposition", d) for d in found["disposition"]],
        category=[words.value("category", c) for c in found["category"]],
    )


def regrets_columns(words: Words, currency: str) -> Columns:
    """Show items that should have gone elsewhere."""
    return of(
        words,
        "recovery",
        return_line_id=("item", text),
        category=("category", text),
        condition=("grade", text),
        done=("done", text),
        best=("best", text),
        regret=("regret", lambda label: number(f"{label} ({words.unit(currency)})", 2)),
        value=("worth", lambda label: number(f"{label} ({words.unit(currency)})", 2)),
    )


def rates_columns(words: Words) -> Columns:
    """Show what dispositions fetch of the net price."""
    return of(
        words,
        "recovery",
        name=("fate", text),
        category=("category", text),
        n=("sold", number),
        rate=("fetched", percent),
        low=("low", percent),
        high=("high", percent),
    )


def regret(words: Words, plan: Any, currency: str) -> str:
    """Say what better routes would have brought."""
    if plan.items.empty:
        return words("recovery.routes")
    return told(
        words,
        "finding.regret",
        plan,
        amount=words.money(plan.regret, currency),
        share=words.percent(plan.regret / plan.value if plan.value else 0.0, 1),
    )
