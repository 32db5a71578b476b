"""Charts of the page whatif: frames in, figures out, no Streamlit."""

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.charts import framed
from dashboard.shared.tokens import MAIN, QUIET


def policies_tried(frame: pd.DataFrame, words: Words, currency: str) -> go.Figure:
    """Draw policies by what they sell and what is left; those no other beats in colour.

    Columns: sold_margin, margin, kg_co2e, days_to_refund, is_best, label.
    """
    figure = framed(380, words, legend=True, unit="y", title=words("whatif.left", currency=words.unit(currency)))
    for is_best, name, colour in ((False, words("whatif.beaten"), QUIET), (True, words("whatif.best"), MAIN)):
        part = frame[frame["is_best"] == is_best]
        hover = [
            f"{r.label}<br>{words.money(r.margin, currency)}, {words.quantity(r.kg_co2e, 'kg CO2e')},"
            f" {words.quantity(r.days_to_refund, 'days')}"
            for r in part.itertuples()
        ]
        figure.add_scatter(
            x=part["sold_margin"],
            y=part["margin"],
            mode="markers",
            marker={"size": 9, "color": colour},
            name=name,
            hovertext=hover,
            hoverinfo="text",
        )
    figure.update_xaxes(title_text=words("whatif.sold", currency=words.unit(currency)), nticks=5)
    return figure
