"""What the page forecast asks; nothing is drawn here."""

import pandas as pd

from dashboard.shared.memory import remembered
from dashboard.shared.queries import PageQuestion, opened, question_of
from pipelines import analyses
from pipelines.analyses.forecast import CUTS, MEASURES

FORECASTS, FORECAST_CUTS = MEASURES, CUTS


@remembered
def forecast(asked: PageQuestion, measure: str, by: str) -> pd.DataFrame:
    """Forecast the next weeks under the filters; the period plays no part.

    Where the naive forecast is the better one it stands instead.
    """
    return analyses.shown(
        analyses.forecast(opened(asked.source), measure, question_of(asked, "forecast").undated(), by=by or None)
    )


def forecast_sums(asked: PageQuestion, measure: str, by: str) -> pd.DataFrame:
    """Sum the shown forecasts over the weeks, a row a group, the largest first.

    The interval of a sum is the weeks' added up, and so on the safe side.
    """
    found = forecast(asked, measure, by)
    sums = found.groupby("group", as_index=False).agg(
        value=("value", "sum"),
        low=("low", "sum"),
        high=("high", "sum"),
        error_ratio=("error_ratio", "first"),
        coverage=("coverage", "first"),
        is_shown=("is_shown", "first"),
    )
    sums.loc[~sums["is_shown"].astype(bool), ["value", "low", "high"]] = float("nan")
    return sums.sort_values("value", ascending=False, ignore_index=True)
