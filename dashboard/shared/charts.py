"""Frames in, Plotly figures out. No Streamlit, no query, no sum: a chart draws the numbers it is given.

A mark carries the codes it stands for (`customdata`), so that a click on it can be answered with its rows. Colours
carry meaning and hold on light and dark grounds alike: solid is measured or certain, hatched is not yet. Long labels
run down the page, never across it, so that the same figure reads on a telephone.
"""

import math
import re
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.tokens import ACCENT, BAND, CELL_TEXT, CELLS, CLEAR, LINE, MAIN, QUIET, SERIES

STATUSES = {"measured": "", "imputed": "/", "assumed": "."}
_LEGEND_ABOVE = 6  # names of a legend that a telephone has room for above its figure


def framed(
    height: int, words: Words, *, legend: bool = False, unit: str = "x", title: str = "", suffix: str = ""
) -> go.Figure:
    """Give an empty figure with the shared look; `unit` is the axis that carries the unit."""
    value: dict[str, Any] = {
        "title": {"text": title, "standoff": 14},
        "ticksuffix": suffix,
        "gridcolor": LINE,
        "zerolinecolor": LINE,
        "nticks": 6,
        "fixedrange": True,
        "automargin": True,
    }
    label = {"showgrid": False, "fixedrange": True, "automargin": True, "title": {"text": ""}, "zeroline": False}
    layout = {  # whole: an update of parts takes Plotly ten times as long
        "height": height,
        "margin": {"l": 0, "r": 8, "t": 34 if legend else 8, "b": 0},
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left", "traceorder": "normal"}
        | {"title": {"text": ""}},
        "separators": ",\u202f" if words.language == "fr" else ".,",
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "bargap": 0.28,
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": value if unit == "x" else label,
        "yaxis": value if unit == "y" else label,
    }
    return go.Figure(layout=layout)


def copied(figure: go.Figure) -> go.Figure:
    """Give a figure of its own with the same marks; its template is a new one: to copy it takes as long as all else."""
    layout = figure.layout.to_plotly_json()
    layout.pop("template", None)
    return go.Figure(figure.data, layout)


def inked(described: Mapping[str, Any], colour: str) -> go.Figure:
    """Draw a described figure, its texts of a colour that is read on its ground: Streamlit's own grey is under 4.5:1.

    A text that brings a ground of its own keeps its colour.
    """
    layout = described["layout"]

    def inks(of: Mapping[str, Any], name: str = "font") -> dict[str, Any]:
        return {**of, name: {**of.get(name, {}), "color": colour}}

    def along(of: Mapping[str, Any]) -> dict[str, Any]:
        return inks({**of, "title": inks(of.get("title", {}))}, "tickfont")

    axes = {"xaxis", "yaxis", *(name for name in layout if name[:5] in ("xaxis", "yaxis"))}
    inked = {
        **inks(layout),
        "legend": inks(layout.get("legend", {})),
        "annotations": [text if text.get("bgcolor") else inks(text) for text in layout.get("annotations", ())],
        **{name: along(layout.get(name, {})) for name in axes},
    }
    return go.Figure({**described, "layout": inked}, skip_invalid=True)


def described(figure: go.Figure) -> dict[str, Any]:
    """Describe a figure whose texts Plotly writes and does not read: of their marks, line breaks alone remain.

    Without its template: a new figure has its own.
    """
    whole = figure.to_dict()
    whole["layout"].pop("template", None)
    inert: dict[str, Any] = _inert(whole)
    return inert


def _inert(part: Any, key: str = "") -> Any:
    if key in ("customdata", "meta"):  # codes that come back with a click
        return part
    if isinstance(part, dict):
        return {name: _inert(value, name) for name, value in part.items()}
    if isinstance(part, np.ndarray):
        return part if part.dtype.kind in "biufM" else _inert(part.tolist())
    if isinstance(part, list | tuple):
        return [_inert(value) for value in part]
    return re.sub(r"<(?!br>|/?extra>)", "&#60;", part) if isinstance(part, str) else part


def _percent(words: Words) -> str:
    return "\u00a0%" if words.language == "fr" else "%"


def wrapped(labels: Sequence[str], width: int = 18) -> list[str]:
    """Break labels into lines of so many letters."""
    return ["<br>".join(wrap(str(label), width, break_long_words=False)) or "–" for label in labels]


def _scale(values: pd.Series, unit: str) -> pd.Series:
    return values.astype(float) * (100 if unit == "share" else 1)


def axis(words: Words, unit: str, what: str = "") -> dict[str, Any]:
    """Title and tick suffix of a value axis: shares as percent, everything else names its unit."""
    if unit == "share":
        return {"title": what, "suffix": _percent(words)}
    name = words.unit(unit)
    is_said = not what or not name or what.casefold() == name.casefold()
    return {"title": what or name if is_said else f"{what} ({name})", "suffix": ""}


def month_ticks(figure: go.Figure, months: Sequence[Any], words: Words) -> None:
    """Write at most seven months under the axis, in the reader's language."""
    step = max(1, math.ceil(len(months) / 7))
    shown = list(months)[::-1][::step][::-1]
    names = [words.month(month).replace(" ", "<br>") for month in shown]
    figure.update_xaxes(tickvals=shown, ticktext=names, type="date")


def _band(figure: go.Figure, frame: pd.DataFrame, unit: str) -> None:
    """Draw the intervals of months as a band, where they are known."""
    if frame["low"].notna().any():
        banded = frame.dropna(subset=["low", "high"])
        figure.add_scatter(
            x=banded["month"],
            y=_scale(banded["high"], unit),
            mode="lines",
            line={"width": 0},
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=banded["month"],
            y=_scale(banded["low"], unit),
            mode="lines",
            line={"width": 0},
            fill="tonexty",
            fillcolor=BAND,
            showlegend=False,
            hoverinfo="skip",
        )


def _bounds(row: Mapping[Any, Any], words: Words, unit: str) -> str:
    """Write the interval of a mark after its value, where it is known."""
    low, high = row.get("low"), row.get("high")
    return "" if pd.isna(low) or pd.isna(high) else f" ({words.quantity(low, unit)} – {words.quantity(high, unit)})"


def trend(frame: pd.DataFrame, words: Words, unit: str, what: str) -> go.Figure:
    """Draw one value a month with its interval as a band.

    Columns: month, value, low, high, and perhaps usual, a second line, and is_young: months of which the value still
    moves, which are dotted.
    """
    young = frame["is_young"].to_numpy(bool) if "is_young" in frame else np.zeros(len(frame), bool)
    figure = framed(300, words, legend=bool(young.any()), unit="y", **axis(words, unit, what))
    _band(figure, frame, unit)
    settled = int(young.argmax()) if young.any() else len(frame)
    dotted = {"color": MAIN, "dash": "dot"}
    for part, line, symbol, named in (
        (frame.iloc[:settled], {"color": MAIN}, "circle", ""),
        (frame.iloc[settled:], dotted, "circle-open", "chart.so_far"),
    ):
        if part.empty:
            continue
        if symbol != "circle" and settled:  # the line goes on from the last month that is settled
            joined = frame.iloc[settled - 1 : settled + 1]
            figure.add_scatter(x=joined["month"], y=_scale(joined["value"], unit), mode="lines", line=line)
            figure.data[-1].update(hoverinfo="skip", showlegend=False)
        figure.add_scatter(
            x=part["month"],
            y=_scale(part["value"], unit),
            mode="lines+markers",
            line=line,
            marker={"size": 6, "symbol": symbol},
            name=words(named) if named else None,
            showlegend=bool(named),
            hovertext=[
                words.pair(words.month(row["month"]), words.quantity(row["value"], unit) + _bounds(row, words, unit))
                for row in part.to_dict("records")
            ],
            hoverinfo="text",
            customdata=codes(part, "month"),
        )
    if "usual" in frame:
        figure.add_scatter(
            x=frame["month"],
            y=_scale(frame["usual"], unit),
            mode="lines",
            line={"color": QUIET, "dash": "dot"},
            name=words("chart.usual"),
            hoverinfo="skip",
        )
    figure.update_yaxes(rangemode="tozero")
    month_ticks(figure, list(frame["month"]), words)
    return figure


def ranked(frame: pd.DataFrame, words: Words, unit: str, what: str, kind: str = "", colour: str = MAIN) -> go.Figure:
    """Draw one horizontal bar a group, largest on top, with its interval. Columns: label, value, low, high, n."""
    shown = frame.dropna(subset=["value"]).sort_values("value").tail(12)
    labels = wrapped([words.value(kind, label) for label in shown["label"]])
    figure = framed(60 + 34 * max(len(shown), 1), words, **axis(words, unit, what))
    error = None
    if "low" in shown and shown["low"].notna().any():
        error = {
            "type": "data",
            "symmetric": False,
            "array": _scale(shown["high"] - shown["value"], unit).fillna(0),
            "arrayminus": _scale(shown["value"] - shown["low"], unit).fillna(0),
            "color": ACCENT if colour == MAIN else colour,
            "thickness": 1.5,
            "width": 4,
        }
    hover = [
        words.pair(label.replace("<br>", " "), words.quantity(row["value"], unit) + _bounds(row, words, unit))
        for label, row in zip(labels, shown.to_dict("records"), strict=True)
    ]
    figure.add_bar(
        y=labels,
        x=_scale(shown["value"], unit),
        orientation="h",
        marker_color=colour,
        error_x=error,
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(shown, "label"),
    )
    return figure


def weeks(
    past: pd.DataFrame, coming: pd.DataFrame, words: Words, unit: str, what: str, beside: str = "forecast.naive"
) -> go.Figure:
    """Draw the last weeks and the next ones with their interval and, dotted, what stands `beside` them.

    The same weeks a year ago. Columns: week, value; and low, high, naive.
    """
    figure = framed(340, words, legend=True, unit="y", **axis(words, unit, what))
    for bound, fill in (("high", None), ("low", "tonexty")):
        figure.add_scatter(
            x=coming["week"],
            y=coming[bound],
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor=BAND,
            hoverinfo="skip",
            showlegend=False,
        )
    for frame, column, name, line in (
        (past, "value", words("forecast.past"), {"color": QUIET}),
        (coming, "naive", words(beside), {"color": QUIET, "dash": "dot"}),
        (coming, "value", words("forecast.coming"), {"color": MAIN}),
    ):
        hover = [
            words.pair(f"{name}, {words.day(w)}", words.quantity(v, unit))
            for w, v in zip(frame["week"], frame[column], strict=True)
        ]
        figure.add_scatter(
            x=frame["week"],
            y=frame[column],
            mode="lines+markers",
            marker={"size": 5},
            line=line,
            name=name,
            hovertext=hover,
            hoverinfo="text",
        )
    figure.update_yaxes(rangemode="tozero")
    return figure


def beside(
    frame: pd.DataFrame, words: Words, unit: str, what: str, kind: str, names: tuple[tuple[str, str], ...]
) -> go.Figure:
    """Draw two numbers a group beside each other. Columns: label and those named; `names` are column and legend."""
    shown = frame.iloc[::-1]
    figure = framed(110 + 46 * len(shown), words, legend=True, **axis(words, unit, what))
    labels = wrapped([words.value(kind, x) for x in shown["label"]])
    for number, (column, name) in enumerate(reversed(names)):
        hover = [
            words.pair(f"{label.replace('<br>', ' ')}, {name}", words.quantity(v, unit))
            for label, v in zip(labels, shown[column], strict=True)
        ]
        figure.add_bar(
            y=labels,
            x=shown[column],
            orientation="h",
            name=name,
            marker_color=(MAIN, QUIET)[number],
            hovertext=hover,
            hoverinfo="text",
        )
    figure.update_layout(barmode="group", legend_traceorder="reversed")
    return figure


def steps(frame: pd.DataFrame, words: Words, unit: str, what: str, kind: str) -> go.Figure:
    """Draw one horizontal bar a step, in the order given from top to bottom. Columns: label, value."""
    shown = frame[::-1]
    labels = wrapped([words.value(kind, label) for label in shown["label"]])
    figure = framed(60 + 30 * max(len(shown), 1), words, **axis(words, unit, what))
    hover = [
        words.pair(label.replace("<br>", " "), words.quantity(v, unit))
        for label, v in zip(labels, shown["value"], strict=True)
    ]
    figure.add_bar(
        y=labels,
        x=_scale(shown["value"], unit),
        orientation="h",
        marker_color=MAIN,
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(shown, "label"),
    )
    return figure


def against(
    frame: pd.DataFrame, words: Words, what: str, usual: str, kind: str = "", *, first: str = "", signed: bool = False
) -> go.Figure:
    """Draw a share a row with its interval, and what is usual beside it, in the order given.

    Columns: label, value, low, high, usual, n. `what` names the axis, `first` the points, `usual` the mark; a balance
    is `signed`, from -100 to 100.
    """
    shown = frame.dropna(subset=["value"])[::-1]
    names = [words.value(kind, label) for label in shown["label"]]
    labels = [f"{name} ({words.number(n)})" for name, n in zip(names, shown["n"], strict=True)]
    labels = wrapped(labels, 24)
    figure = framed(80 + 32 * max(len(shown), 1), words, legend=True, **axis(words, "share", what))
    hover = [
        words(
            "chart.against_hover",
            name=name,
            value=words.percent(r.value),
            low=words.percent(r.low),
            high=words.percent(r.high),
            label=usual,
            usual=words.percent(r.usual),
        )
        for name, r in zip(names, shown.itertuples(), strict=True)
    ]
    figure.add_scatter(
        y=labels,
        x=shown["value"] * 100,
        mode="markers",
        name=first or words("chart.this_product"),
        marker={"color": ACCENT, "size": 10},
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(shown, "label"),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (shown["high"] - shown["value"]) * 100,
            "arrayminus": (shown["value"] - shown["low"]) * 100,
            "color": ACCENT,
            "thickness": 1.5,
            "width": 4,
        },
    )
    figure.add_scatter(
        y=labels,
        x=shown["usual"] * 100,
        mode="markers",
        name=usual,
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(shown, "label"),
        marker={"color": MAIN, "size": 16, "symbol": "line-ns-open", "line": {"width": 3}},
    )
    figure.update_yaxes(categoryorder="array", categoryarray=labels)
    if signed:
        figure.update_xaxes(range=[-105, 105], zeroline=True, zerolinewidth=2)
    else:
        figure.update_xaxes(rangemode="tozero")
    return figure


def waterfall(frame: pd.DataFrame, words: Words, unit: str, title: str = "") -> go.Figure:
    """Draw the way from one total to another.

    A step's measured, imputed and assumed parts are told apart where they are known. Columns: step, kind ("total" or
    "step"), amount, and perhaps measured, imputed, assumed. A step starts where the one before ended.
    """
    labels = wrapped([words.value("step", s) for s in frame["step"]], 20)
    title = title or _amount_title(words, unit)
    parted = [status for status in STATUSES if status in frame]
    figure = framed(
        70 + 36 * len(frame) + (26 if parted else 0),
        words,
        legend=bool(parted),
        title=title,
        suffix=_percent(words) if unit == "share" else "",
    )
    scale = 100 if unit == "share" else 1
    level = 0.0
    for label, row in zip(labels, frame.to_dict("records"), strict=True):
        amount, is_total = float(row["amount"]), row["kind"] == "total"
        text = words.quantity(amount, unit) if is_total else _amount(words, amount, unit)
        _step_bars(figure, row, words, unit, label, text, 0.0 if is_total else level, parted)
        level = amount if is_total else level + amount
        figure.add_annotation(
            xref="paper",
            x=1,
            xanchor="left",
            xshift=6,
            y=label,
            text=words.signed(text, None if is_total else amount),
            showarrow=False,
        )
    steps = frame[frame["kind"] != "total"]
    _status_legend(figure, words, [status for status in parted if steps[status].astype(bool).any()])
    _cut_axis(figure, frame, words, scale, title)
    figure.update_layout(barmode="overlay", margin_r=88)
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=labels)
    return figure


def _amount(words: Words, amount: float, unit: str) -> str:
    """Write a step of a waterfall, or a part of one."""
    return words.points(amount) if unit == "share" else words.quantity(amount, unit)


def _amount_title(words: Words, unit: str) -> str:
    """Name an axis of amounts: share of what is sold, units, or money."""
    named = {"share": words("chart.share_of_sold"), "units": words("returns.units")}
    return named.get(unit) or words("chart.money_ex_vat", currency=words.unit(unit))


def _step_bars(
    figure: go.Figure,
    row: Mapping[Any, Any],
    words: Words,
    unit: str,
    label: str,
    text: str,
    start: float,
    parted: Sequence[str],
) -> None:
    """Draw a total or a step of a waterfall from where it starts: one bar, or one for each of its `parted` statuses."""
    amount, is_total = float(row["amount"]), row["kind"] == "total"
    scale = 100 if unit == "share" else 1
    colour = MAIN if is_total else QUIET  # a step has no interval: its sign says which way it goes, no colour judges it
    parts = (
        [("measured", amount)]
        if is_total or not parted
        else [(status, float(row[status])) for status in parted if row[status]]
    )
    for status, part in parts:
        figure.add_bar(
            y=[label],
            x=[part * scale],
            base=[start * scale],
            orientation="h",
            showlegend=False,
            marker=marker_of(colour, STATUSES[status]),
            hovertext=[
                words.pair(words.value("step", row["step"]), text if len(parts) < 2 else _amount(words, part, unit))
                + (f" ({words.value('status', status)})" if parted and not is_total else "")
            ],
            hoverinfo="text",
            customdata=[[row["step"]]],
        )
        start += part


def _status_legend(figure: go.Figure, words: Words, statuses: Sequence[str]) -> None:
    """Name the shapes of these statuses in the legend."""
    for status in statuses:
        figure.add_bar(
            y=[None],
            x=[None],
            orientation="h",
            name=words.value("status", status),
            marker=marker_of(QUIET, STATUSES[status]),
        )


def _cut_axis(figure: go.Figure, frame: pd.DataFrame, words: Words, scale: int, title: str) -> None:
    """Cut the axis of a waterfall whose steps are too small to be seen beside whole bars, and say so."""
    steps = frame.loc[frame["kind"] == "step", "amount"].abs().max()
    totals = frame.loc[frame["kind"] == "total", "amount"]
    if len(totals) and steps < totals.min() / 5:
        span = max(float(totals.max() - totals.min()), float(steps)) * 2
        figure.update_xaxes(range=[(totals.min() - span) * scale, (totals.max() + span / 2) * scale])
        figure.update_xaxes(title_text=f"{title}<br>{words('chart.cut_axis')}")
        figure.update_layout(height=figure.layout.height + 16)


def codes(frame: pd.DataFrame, *columns: str) -> list[list[str | None]]:
    """Give the codes a row's mark stands for; a day as 2026-01-31, nothing known as None."""
    text = [
        [
            None if pd.isna(v) or v == "" else f"{v:%Y-%m-%d}" if isinstance(v, pd.Timestamp) else str(v)
            for v in frame[c]
        ]
        for c in columns
    ]
    return [list(codes) for codes in zip(*text, strict=True)]


def marks(figure: go.Figure) -> list[list[str | None]]:
    """List the codes of a figure's marks, each once, in the order they are drawn."""
    return [list(codes) for codes in dict.fromkeys(tuple(c) for own in _own(figure) for c in own)]


def _own(figure: go.Figure) -> list[list[list[str | None]]]:
    return [
        [list(codes) for codes in trace["customdata"] or ()] if trace.type != "sankey" else [] for trace in figure.data
    ]


def choose(figure: go.Figure, codes: Sequence[str | None]) -> None:
    """Let the marks of these codes stand out in a figure; none does without codes."""
    for trace, own in zip(figure.data, _own(figure), strict=True):
        if codes and own:
            trace.selectedpoints = [number for number, mark in enumerate(own) if mark == list(codes)]


def marker_of(colour: str, shape: str) -> dict[str, Any]:
    """Fill a bar, or hatch it in its colour."""
    pattern = {"shape": shape, "fillmode": "replace" if shape else "overlay", "solidity": 0.42, "size": 7}
    return {"color": colour, "line": {"color": colour, "width": 1}, "pattern": pattern}


def stacked(
    frame: pd.DataFrame,
    words: Words,
    unit: str,
    what: str,
    kind: str,
    part_kind: str,
    colours: Mapping[str, str] | None = None,
) -> go.Figure:
    """Stack the parts of each group; `colours` are those of some parts. Columns: label, part, value."""
    order = list(frame.groupby("label", observed=True)["value"].sum().sort_values().index)[-10:]
    figure = framed(100 + 34 * len(order), words, legend=True, **axis(words, unit, what))
    for number, name in enumerate(dict.fromkeys(frame["part"])):
        part = frame[frame["part"] == name].groupby("label", observed=True)["value"].first().reindex(order)
        hover = [
            words.pair(f"{words.value(kind, g)}, {words.value(part_kind, name)}", words.quantity(v, unit))
            for g, v in zip(order, part, strict=True)
        ]
        figure.add_bar(
            y=wrapped([words.value(kind, g) for g in order]),
            x=_scale(part, unit),
            orientation="h",
            name=words.value(part_kind, name),
            marker_color=(colours or {}).get(name, SERIES[number % len(SERIES)]),
            hovertext=hover,
            hoverinfo="text",
            customdata=[[g, name] for g in order],
        )
    figure.update_layout(barmode="relative", margin_t=70)
    if len(figure.data) > _LEGEND_ABOVE:
        below = {"yref": "container", "y": 0, "yanchor": "bottom"}
        figure.update_layout(margin={"t": 8, "b": 190}, height=(figure.layout.height or 0) + 150, legend=below)
    return figure


def cells_of(figure: go.Figure, z: Any, x: Sequence[str], y: Sequence[str], text: Any) -> None:
    """Add a heat map of cells that each say their number: the darker, the more."""
    figure.add_heatmap(
        z=z,
        x=x,
        y=y,
        text=text,
        texttemplate="%{text}",
        showscale=False,
        colorscale=[list(stop) for stop in CELLS],
        textfont={"color": CELL_TEXT},
        xgap=2,
        ygap=2,
        hoverinfo="skip",
    )
