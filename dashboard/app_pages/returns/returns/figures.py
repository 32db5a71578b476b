"""Charts of the page returns: frames in, figures out, no Streamlit."""

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.charts import axis, cells_of, codes, framed, marker_of, month_ticks, wrapped
from dashboard.shared.findings import FEWEST
from dashboard.shared.tokens import ACCENT, BAD, CHOSEN, CLEAR, GOOD, MAIN, QUIET, SERIES

_CERTAIN = 0.9


def rates_by_cohort(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw a month's observed rate as a bar and its expected final rate as a point with its interval.

    Columns: month, observed, value, low, high, maturity (shares). A bar is hatched while less than 90% of the month's
    returns are back; a month without a projection has no point.
    """
    young = frame["maturity"].fillna(0) < _CERTAIN
    figure = framed(380, words, legend=True, unit="y", **axis(words, "share", words("chart.share_of_sold")))
    hover = [
        words(
            "chart.cohort_hover",
            month=words.month(r.month),
            observed=words.percent(r.observed),
            value=words.percent(r.value),
            low=words.percent(r.low),
            high=words.percent(r.high),
            maturity=words.percent(r.maturity, 0),
        )
        for r in frame.itertuples()
    ]
    for is_young, name in ((False, "chart.observed"), (True, "chart.observed_young")):
        part = frame[young == is_young]
        figure.add_bar(
            x=part["month"],
            y=part["observed"] * 100,
            name=words(name),
            marker=marker_of(MAIN, "/" if is_young else ""),
            width=20 * 86_400_000,
            hovertext=[hover[i] for i in range(len(frame)) if young.iloc[i] == is_young],
            hoverinfo="text",
            customdata=codes(part, "month"),
        )
    figure.add_scatter(
        x=frame["month"],
        y=frame["value"] * 100,
        mode="markers",
        name=words("chart.projected"),
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(frame, "month"),
        marker={
            "color": ACCENT,
            "size": 9,
            "symbol": ["diamond-open" if y else "diamond" for y in young],
            "line": {"width": 2, "color": ACCENT},
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (frame["high"] - frame["value"]) * 100,
            "arrayminus": (frame["value"] - frame["low"]) * 100,
            "color": ACCENT,
            "thickness": 1.5,
            "width": 4,
        },
    )
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(rangemode="tozero")
    month_ticks(figure, list(frame["month"]), words)
    return figure


def heat(frame: pd.DataFrame, words: Words, rows: str, columns: str, *, unit: str = "share") -> go.Figure:
    """Draw a table as colours with the number in each cell. Columns: `rows`, `columns`, value; the rows run down."""
    table = frame.pivot_table(index=rows, columns=columns, values="value", aggfunc="first", observed=True)
    table = table.loc[table.sum(axis=1).sort_values().index, table.sum().sort_values(ascending=False).index]
    text = [
        [("" if cell != cell else words.percent(cell, 0) if unit == "share" else words.number(cell)) for cell in line]
        for line in table.to_numpy()
    ]
    across = [words.value(columns, name) for name in table.columns]
    down = [words.value(rows, name) for name in table.index]
    figure = framed(110 + 30 * len(table), words)
    cells_of(figure, table.to_numpy(), wrapped(across, 10), wrapped(down, 20), text)
    # the cells of a heat map cannot be chosen: on each that has a number lies a clear mark that can
    cells = [
        (x, y, label, [code, other])
        for y, code, line in zip(wrapped(down, 20), table.index, text, strict=True)
        for x, other, label in zip(wrapped(across, 10), table.columns, line, strict=True)
        if label
    ]
    figure.add_scatter(
        x=[x for x, *_ in cells],
        y=[y for _, y, *_ in cells],
        hovertext=[label for *_, label, _ in cells],
        customdata=[codes for *_, codes in cells],
        mode="markers",
        hoverinfo="x+y+text",
        marker={"size": 26, "symbol": "square", "color": CLEAR},
        selected={"marker": {"color": CHOSEN}},
        unselected={"marker": {"opacity": 0}},
    )
    figure.update_xaxes(side="top", showgrid=False, tickangle=0 if len(across) < 4 else -40, dtick=1)
    return figure


def concentration(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw what share of returns the customers with most of them bring, beside what chance alone would give.

    Columns: customers, returned, by_chance (shares).
    """
    figure = framed(340, words, legend=True, unit="y", **axis(words, "share", words("chart.share_of_returned")))
    labels = [words("chart.top_customers", share=words.percent(s, 0 if s >= 0.01 else 1)) for s in frame["customers"]]
    for column, colour, shape in (("returned", MAIN, ""), ("by_chance", QUIET, "/")):
        hover = [words.pair(label, words.percent(v)) for label, v in zip(labels, frame[column], strict=True)]
        figure.add_bar(
            x=wrapped(labels, 9),
            y=frame[column] * 100,
            name=words(f"chart.{column}"),
            marker=marker_of(colour, shape),
            hovertext=hover,
            hoverinfo="text",
        )
    figure.update_layout(barmode="group")
    figure.update_yaxes(range=[0, 100])
    return figure


def compared(frame: pd.DataFrame, words: Words, kind: str) -> go.Figure:
    """Draw how far each group's rate moved, with its interval; grey within noise.

    Columns: label, difference, low, high, is_within_noise.
    """
    shown = frame.dropna(subset=["difference"]).sort_values("difference").tail(12)
    labels = wrapped([words.value(kind, label) for label in shown["label"]])
    figure = framed(60 + 34 * max(len(shown), 1), words, title=words("chart.points"))
    hover = [
        words.pair(label.replace("<br>", " "), words.signed(words.points(d), d))
        + (f" · {words('tile.noise')}" if noise else "")
        for label, d, noise in zip(labels, shown["difference"], _noise(shown), strict=True)
    ]
    colours = [
        QUIET if noise else BAD if d > 0 else GOOD for d, noise in zip(shown["difference"], _noise(shown), strict=True)
    ]
    figure.add_scatter(
        y=labels,
        x=shown["difference"] * 100,
        mode="markers",
        marker={"color": colours, "size": 11},
        hovertext=hover,
        hoverinfo="text",
        showlegend=False,
        customdata=codes(shown, "label"),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (shown["high"] - shown["difference"]) * 100,
            "arrayminus": (shown["difference"] - shown["low"]) * 100,
            "color": QUIET,
            "thickness": 1.5,
            "width": 4,
        },
    )
    figure.update_xaxes(zeroline=True, zerolinewidth=2)
    return figure


def _noise(frame: pd.DataFrame) -> pd.Series:
    """Say which changes are not told from chance: within noise, or of too few cases."""
    is_noise = frame["is_within_noise"].fillna(True).astype(bool)
    return is_noise | (frame["n"] < FEWEST) if "n" in frame else is_noise


def development(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw how fast returns come back. Columns: category, day, share."""
    figure = framed(340, words, legend=True, unit="y", **axis(words, "share", words("chart.share_of_final")))
    for number, (category, part) in enumerate(frame.groupby("category", sort=False, observed=True)):
        figure.add_scatter(
            x=part["day"],
            y=part["share"] * 100,
            mode="lines+markers",  # a line cannot be chosen, a mark can
            marker={"opacity": 0, "size": 9},
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 0}},
            customdata=codes(part, "category"),
            name=words.value("category", category),
            line={"color": SERIES[number % len(SERIES)], "width": 2},
        )
    figure.update_xaxes(title_text=words("chart.days_since_start"), nticks=8)
    figure.update_yaxes(range=[0, 102])
    figure.update_layout(margin_t=70 if frame["category"].nunique() > 4 else 34)
    return figure


def dependence(frame: pd.DataFrame, words: Words, kind: str, what: str) -> go.Figure:
    """Draw the mean probability by the value of one feature, marks as large as the lines near it.

    Columns: value, probability, lines; `kind` says how a value is read (return_drivers.READ).
    """
    shown = frame.sort_values("value")
    figure = framed(320, words, unit="y", **axis(words, "share", words("drivers.probability")))
    names = [_read(words, value, kind) for value in shown["value"]]
    hover = [
        words("drivers.hover", value=name, rate=words.percent(p), lines=words.number(n))
        for name, p, n in zip(names, shown["probability"], shown["lines"], strict=True)
    ]
    size = 6 + 14 * (shown["lines"] / shown["lines"].max()) ** 0.5
    is_flag = kind == "flag"
    figure.add_scatter(
        x=names if is_flag else shown["value"] * (100 if kind == "share" else 1),
        y=shown["probability"] * 100,
        mode="markers" if is_flag else "lines+markers",
        marker={"size": size, "color": MAIN},
        line={"color": QUIET},
        hovertext=hover,
        hoverinfo="text",
        showlegend=False,
    )
    figure.update_xaxes(title_text=what)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _read(words: Words, value: float, kind: str) -> str:
    if kind == "flag":
        return words("drivers.yes" if value >= 0.5 else "drivers.no")
    if kind == "share":
        return words.percent(value, 0)
    return words.number(value, 0 if kind in ("count", "money", "number", "days") else 2)
