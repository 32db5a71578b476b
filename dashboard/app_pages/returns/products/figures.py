"""Charts of the page products: frames in, figures out, no Streamlit."""

import math

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.charts import axis, cells_of, codes, framed, wrapped
from dashboard.shared.tokens import ACCENT, MAIN


def size_grid(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw the adjusted rate of each size and colour with units sold under it, sizes in their order.

    Columns: size, colour, rate, sold.
    """
    sizes, colours = list(dict.fromkeys(frame["size"])), sorted({str(c) for c in frame["colour"].dropna()})
    cell = {(r.size, r.colour): (r.rate, r.sold) for r in frame.itertuples(index=False)}
    rates = [[cell.get((s, c), (math.nan, 0))[0] for s in sizes] for c in colours]
    text = [
        [
            (
                f"{words.percent(cell[s, c][0], 0)}<br>{words('chart.sold_n', n=words.number(cell[s, c][1]))}"
                if (s, c) in cell
                else ""
            )
            for s in sizes
        ]
        for c in colours
    ]
    figure = framed(90 + 46 * max(len(colours), 1), words)
    cells_of(figure, rates, [str(s) for s in sizes], wrapped(colours, 12), text)
    figure.update_xaxes(side="top", showgrid=False, type="category", tickmode="linear", dtick=1)
    return figure


def products(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw the adjusted rate of the first twelve products with its interval, and what is usual in their category.

    Columns: style_id, name, rate, low, high, category_rate, is_flagged.
    """
    shown = frame.head(12)[::-1]
    labels = wrapped(list(shown["name"]), 22)
    figure = framed(96 + 30 * len(shown), words, legend=True, **axis(words, "share", words("chart.share_of_sold")))
    hover = [
        words(
            "chart.product_hover",
            name=str(r["name"]),
            rate=words.percent(r["rate"]),
            low=words.percent(r["low"]),
            high=words.percent(r["high"]),
            usual=words.percent(r["category_rate"]),
        )
        for r in shown.to_dict("records")
    ]
    drawn = shown.assign(label=labels, hover=hover)
    is_flagged = shown["is_flagged"].astype(bool)
    for part, symbol, name in (
        (drawn[~is_flagged], "circle-open", "products.rate"),
        (drawn[is_flagged], "circle", "products.rate_flagged"),
    ):
        if len(part):
            figure.add_scatter(
                y=part["label"],
                x=part["rate"] * 100,
                mode="markers",
                name=words(name),
                hovertext=part["hover"],
                hoverinfo="text",
                customdata=codes(part, "style_id"),
                marker={"color": ACCENT, "size": 11, "symbol": symbol, "line": {"width": 2, "color": ACCENT}},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": (part["high"] - part["rate"]) * 100,
                    "arrayminus": (part["rate"] - part["low"]) * 100,
                    "color": ACCENT,
                    "thickness": 1.5,
                    "width": 4,
                },
            )
    figure.add_scatter(
        y=labels,
        x=shown["category_rate"] * 100,
        mode="markers",
        name=words("products.category_rate"),
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(shown, "style_id"),
        marker={"color": MAIN, "size": 18, "symbol": "line-ns-open", "line": {"width": 3}},
    )
    figure.update_yaxes(categoryorder="array", categoryarray=labels)
    return figure
