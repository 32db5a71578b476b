"""Charts of the page margin: frames in, figures out, no Streamlit."""

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.charts import axis, framed, wrapped
from dashboard.shared.tokens import MAIN


def bounds(frame: pd.DataFrame, words: Words, currency: str) -> go.Figure:
    """Draw what each parameter changes between its bounds, widest on top.

    Columns: parameter, low, high (changes of the cost).
    """
    shown = frame.iloc[::-1]
    labels = wrapped([words.value("cost_parameter", p) for p in shown["parameter"]], 26)
    figure = framed(70 + 34 * len(shown), words, **axis(words, currency, words("margin.cost_change")))
    hover = [
        words.pair(label.replace("<br>", " "), f"{words.money(low, currency)} – {words.money(high, currency)}")
        for label, low, high in zip(labels, shown["low"], shown["high"], strict=True)
    ]
    figure.add_bar(
        y=labels,
        x=shown["high"] - shown["low"],
        base=shown["low"],
        orientation="h",
        marker_color=MAIN,
        hovertext=hover,
        hoverinfo="text",
    )
    return figure
