"""Sentences, columns and blocks of the page forecast."""

import pandas as pd

from dashboard.i18n import Words
from dashboard.shared.columns import Columns, number, of, percent, text
from dashboard.shared.findings import told


def forecasts(words: Words, sums: pd.DataFrame, cut: str) -> pd.DataFrame:
    """Name the groups of forecasts and say which are shown."""
    said = [words("forecast.yes" if s else "forecast.no") for s in sums["is_shown"]]
    return sums.assign(name=[words.value(cut, g) for g in sums["group"]], shown=said)


def forecasts_columns(words: Words) -> Columns:
    """Show forecasts in sum, group by group."""
    return of(
        words,
        "forecast",
        name=("group", text),
        value=("sum", number),
        low=("low", number),
        high=("high", number),
        error_ratio=("ratio", percent),
        coverage=("coverage", percent),
        shown=("shown", text),
    )


def forecast(words: Words, whole: pd.DataFrame, measure: str, unit: str) -> str:
    """Say how much will come in the next weeks, and against what the forecast was tested."""
    if whole.empty:
        return words("finding.forecast_unknown")
    total = float(whole["value"].sum())
    return told(
        words,
        "finding.forecast" if whole["is_shown"].iloc[0] else "finding.forecast_naive",
        whole,
        amount=words.quantity(total, unit),
        what=words.value("measure", measure).lower(),
        weeks=str(len(whole)),
    )
