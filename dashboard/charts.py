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

MAIN, ACCENT, GOOD, BAD, QUIET, LINE = "#3A8FAE", "#DB9337", "#43A574", "#D1605D", "#93A1AD", "rgba(128,140,150,.25)"
SERIES = (MAIN, ACCENT, GOOD, "#9480CE", BAD, "#6E93A8", "#B8779F", "#98973F")
FATES = {
    "as_new": GOOD,
    "b_stock": "#98973F",
    "marked_down": ACCENT,
    "repaired": MAIN,
    "refurbished": "#9480CE",
    "donated": "#B8779F",
    "recycled": "#6E93A8",
    "return_to_supplier": QUIET,
    "destroyed": BAD,
}
STATES = {"kept": (GOOD, ""), "broken": (BAD, ""), "undetermined": (MAIN, "/"), "expired": (QUIET, "")}
STATUSES = {"measured": "", "imputed": "/", "assumed": "."}
_CERTAIN = 0.9
_LEGEND_ABOVE = 6  # names of a legend that a telephone has room for above its figure


def _figure(
    height: int, words: Words, *, legend: bool = False, unit: str = "x", title: str = "", suffix: str = ""
) -> go.Figure:
    """Give an empty figure with the shared look; `unit` is the axis that carries the unit."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 0, "r": 8, "t": 34 if legend else 8, "b": 0},
        showlegend=legend,
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
            "xanchor": "left",
            "title_text": "",
            "traceorder": "normal",
        },
        separators=",\u202f" if words.language == "fr" else ".,",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        bargap=0.28,
        hovermode="closest",
        dragmode=False,
    )
    value = {
        "title_text": title,
        "ticksuffix": suffix,
        "gridcolor": LINE,
        "zerolinecolor": LINE,
        "nticks": 6,
        "fixedrange": True,
        "automargin": True,
        "title_standoff": 14,
    }
    label = {"showgrid": False, "fixedrange": True, "automargin": True, "title_text": "", "zeroline": False}
    figure.update_xaxes(**(value if unit == "x" else label))
    figure.update_yaxes(**(value if unit == "y" else label))
    return figure


def inert_texts(figure: go.Figure) -> go.Figure:
    """Give a figure whose texts Plotly writes and does not read: of its marks, line breaks alone remain."""
    return go.Figure(_inert(figure.to_dict()), skip_invalid=True)


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


def _wrapped(labels: Sequence[str], width: int = 18) -> list[str]:
    return ["<br>".join(wrap(str(label), width, break_long_words=False)) or "–" for label in labels]


def _scale(values: pd.Series, unit: str) -> pd.Series:
    return values.astype(float) * (100 if unit == "share" else 1)


def _axis(words: Words, unit: str, what: str = "") -> dict[str, Any]:
    """Title and tick suffix of a value axis: shares as percent, everything else names its unit."""
    if unit == "share":
        return {"title": what, "suffix": _percent(words)}
    name = words.unit(unit)
    is_said = not what or not name or what.casefold() == name.casefold()
    return {"title": what or name if is_said else f"{what} ({name})", "suffix": ""}


def _month_ticks(figure: go.Figure, months: Sequence[Any], words: Words) -> None:
    """Write at most seven months under the axis, in the reader's language."""
    step = max(1, math.ceil(len(months) / 7))
    shown = list(months)[::-1][::step][::-1]
    names = [words.month(month).replace(" ", "<br>") for month in shown]
    figure.update_xaxes(tickvals=shown, ticktext=names, type="date")


def rates_by_cohort(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw a month's observed rate as a bar and its expected final rate as a point with its interval.

    Columns: month, observed, value, low, high, maturity (shares). A bar is hatched while less than 90% of the month's
    returns are back; a month without a projection has no point.
    """
    young = frame["maturity"].fillna(0) < _CERTAIN
    figure = _figure(380, words, legend=True, unit="y", **_axis(words, "share", words("chart.share_of_sold")))
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
            marker=_marker(MAIN, "/" if is_young else ""),
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
    _month_ticks(figure, list(frame["month"]), words)
    return figure


def trend(frame: pd.DataFrame, words: Words, unit: str, what: str) -> go.Figure:
    """Draw one value a month with its interval as a band.

    Columns: month, value, low, high, and perhaps usual, a second line.
    """
    figure = _figure(300, words, unit="y", **_axis(words, unit, what))
    if frame["low"].notna().any():
        banded = frame.dropna(subset=["low", "high"])
        figure.add_scatter(
            x=banded["month"], y=_scale(banded["high"], unit), mode="lines", line={"width": 0}, hoverinfo="skip"
        )
        figure.add_scatter(
            x=banded["month"],
            y=_scale(banded["low"], unit),
            mode="lines",
            line={"width": 0},
            fill="tonexty",
            fillcolor="rgba(58,143,174,.2)",
            hoverinfo="skip",
        )
    hover = [f"{words.month(r.month)}: {words.quantity(r.value, unit)}" for r in frame.itertuples()]
    figure.add_scatter(
        x=frame["month"],
        y=_scale(frame["value"], unit),
        mode="lines+markers",
        line={"color": MAIN},
        marker={"size": 6},
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(frame, "month"),
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
    _month_ticks(figure, list(frame["month"]), words)
    return figure


def ranked(frame: pd.DataFrame, words: Words, unit: str, what: str, kind: str = "") -> go.Figure:
    """Draw one horizontal bar a group, largest on top, with its interval. Columns: label, value, low, high, n."""
    shown = frame.dropna(subset=["value"]).sort_values("value").tail(12)
    labels = _wrapped([words.value(kind, label) for label in shown["label"]])
    figure = _figure(60 + 34 * max(len(shown), 1), words, **_axis(words, unit, what))
    error = None
    if "low" in shown and shown["low"].notna().any():
        error = {
            "type": "data",
            "symmetric": False,
            "array": _scale(shown["high"] - shown["value"], unit).fillna(0),
            "arrayminus": _scale(shown["value"] - shown["low"], unit).fillna(0),
            "color": ACCENT,
            "thickness": 1.5,
            "width": 4,
        }
    hover = [
        f"{label.replace('<br>', ' ')}: {words.quantity(value, unit)}"
        for label, value in zip(labels, shown["value"], strict=True)
    ]
    figure.add_bar(
        y=labels,
        x=_scale(shown["value"], unit),
        orientation="h",
        marker_color=MAIN,
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
    figure = _figure(340, words, legend=True, unit="y", **_axis(words, unit, what))
    for bound, fill in (("high", None), ("low", "tonexty")):
        figure.add_scatter(
            x=coming["week"],
            y=coming[bound],
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor="rgba(58,143,174,.2)",
            hoverinfo="skip",
            showlegend=False,
        )
    for frame, column, name, line in (
        (past, "value", words("forecast.past"), {"color": QUIET}),
        (coming, "naive", words(beside), {"color": QUIET, "dash": "dot"}),
        (coming, "value", words("forecast.coming"), {"color": MAIN}),
    ):
        hover = [
            f"{name}, {words.day(w)}: {words.quantity(v, unit)}"
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


def policies_tried(frame: pd.DataFrame, words: Words, currency: str) -> go.Figure:
    """Draw policies by what they sell and what is left; those no other beats in colour.

    Columns: sold_margin, margin, kg_co2e, days_to_refund, is_best, label.
    """
    figure = _figure(380, words, legend=True, unit="y", title=words("whatif.left", currency=words.unit(currency)))
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


def beside(
    frame: pd.DataFrame, words: Words, unit: str, what: str, kind: str, names: tuple[tuple[str, str], ...]
) -> go.Figure:
    """Draw two numbers a group beside each other. Columns: label and those named; `names` are column and legend."""
    shown = frame.iloc[::-1]
    figure = _figure(110 + 46 * len(shown), words, legend=True, **_axis(words, unit, what))
    labels = _wrapped([words.value(kind, x) for x in shown["label"]])
    for number, (column, name) in enumerate(reversed(names)):
        hover = [
            f"{label.replace('<br>', ' ')}, {name}: {words.quantity(v, unit)}"
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


def bounds(frame: pd.DataFrame, words: Words, currency: str) -> go.Figure:
    """Draw what each parameter changes between its bounds, widest on top.

    Columns: parameter, low, high (changes of the cost).
    """
    shown = frame.iloc[::-1]
    labels = _wrapped([words.value("cost_parameter", p) for p in shown["parameter"]], 26)
    figure = _figure(70 + 34 * len(shown), words, **_axis(words, currency, words("margin.cost_change")))
    hover = [
        f"{label.replace('<br>', ' ')}: {words.money(low, currency)} – {words.money(high, currency)}"
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


def swings(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw what each source of doubt alone would do to a total, widest on top.

    Columns: source, low, high (kg CO2e), share.
    """
    shown = frame.iloc[::-1]
    labels = _wrapped([words.doubt(s) for s in shown["source"]], 26)
    figure = _figure(70 + 34 * len(shown), words, **_axis(words, "kg CO2e", words("emissions.total")))
    hover = [
        words(
            "chart.swing_hover",
            name=label.replace("<br>", " "),
            low=words.quantity(low, "kg CO2e"),
            high=words.quantity(high, "kg CO2e"),
            share=words.percent(share, 0),
        )
        for label, low, high, share in zip(labels, shown["low"], shown["high"], shown["share"], strict=True)
    ]
    figure.add_bar(
        y=labels,
        x=shown["high"] - shown["low"],
        base=shown["low"],
        orientation="h",
        marker_color=MAIN,
        hovertext=hover,
        hoverinfo="text",
        text=[words.percent(s, 0) if s >= 0.01 else "" for s in shown["share"]],
        textposition="inside",
        customdata=codes(shown, "source"),
    )
    return figure


def parcels(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw how many parcels emit how much.

    Columns: low, high (kg CO2e), parcels, flagged; the plausible band is named in the axis.
    """
    names = [
        (
            f"> {words.number(low, 0)}"
            if high == math.inf
            else f"{words.number(low, _digits(low))}–{words.number(high, _digits(high))}"
        )
        for low, high in zip(frame["low"], frame["high"], strict=True)
    ]
    is_usual = (frame["low"] >= 0.5) & (frame["high"] <= 2)
    figure = _figure(320, words, unit="y", title=words("emissions.parcels"))
    hover = [
        words("chart.parcels_hover", kg=n, parcels=words.number(p), flagged=words.number(f))
        for n, p, f in zip(names, frame["parcels"], frame["flagged"], strict=True)
    ]
    colours = [MAIN if u else QUIET for u in is_usual]
    for counts, colour in ((frame["parcels"] - frame["flagged"], colours), (frame["flagged"], BAD)):
        figure.add_bar(
            x=names,
            y=counts,
            marker_color=colour,
            hovertext=hover,
            hoverinfo="text",
            customdata=codes(frame.assign(name=names), "name"),
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text=words("emissions.kg_parcel"), type="category")
    return figure


def _digits(kg: float) -> int:
    return 0 if kg == int(kg) else 1 if round(kg, 1) == kg else 2


def steps(frame: pd.DataFrame, words: Words, unit: str, what: str, kind: str) -> go.Figure:
    """Draw one horizontal bar a step, in the order given from top to bottom. Columns: label, value."""
    shown = frame[::-1]
    labels = _wrapped([words.value(kind, label) for label in shown["label"]])
    figure = _figure(60 + 30 * max(len(shown), 1), words, **_axis(words, unit, what))
    hover = [
        f"{label.replace('<br>', ' ')}: {words.quantity(v, unit)}"
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


def prices(frame: pd.DataFrame, words: Words, unit: str, at: float) -> go.Figure:
    """Draw the share each duration would keep, with its interval; the published and the possible one marked.

    Columns: duration, kept, low, high, is_published, is_possible.
    """
    figure = _figure(300, words, legend=True, unit="y", **_axis(words, "share", words("chart.would_keep")))
    for bound, fill in (("high", None), ("low", "tonexty")):
        figure.add_scatter(
            x=frame["duration"],
            y=frame[bound] * 100,
            mode="lines",
            line={"width": 0, "shape": "hv"},
            fill=fill,
            fillcolor="rgba(58,143,174,.2)",
            hoverinfo="skip",
            showlegend=False,
        )
    hover = [
        words(
            "chart.price_hover",
            within=f"{words.number(r.duration)} {words.value('duration_unit', unit)}",
            kept=words.percent(r.kept),
            broken=words.number(r.broken_a_month),
        )
        for r in frame.itertuples()
    ]
    figure.add_scatter(
        x=frame["duration"],
        y=frame["kept"] * 100,
        mode="lines",
        line={"color": MAIN, "shape": "hv"},
        name=words("chart.would_keep"),
        hovertext=hover,
        hoverinfo="text",
    )
    for flag, colour, name in (("is_published", ACCENT, "chart.published"), ("is_possible", GOOD, "chart.possible")):
        part = frame[frame[flag].astype(bool)]
        figure.add_scatter(
            x=part["duration"],
            y=part["kept"] * 100,
            mode="markers",
            marker={"color": colour, "size": 12},
            name=words(name),
            hoverinfo="skip",
        )
    figure.add_hline(y=at * 100, line={"color": QUIET, "dash": "dot", "width": 1})
    figure.update_xaxes(title_text=words.value("duration_unit", unit))
    return figure


def control(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw the weeks of a promise within what chance explains.

    Columns: week, share, centre, low, high, signal, is_young, kept, n.
    """
    figure = _figure(320, words, legend=True, unit="y", **_axis(words, "share", words("chart.share_of_promises")))
    judged = frame.dropna(subset=["low", "high"])
    for bound, fill in (("high", None), ("low", "tonexty")):
        figure.add_scatter(
            x=judged["week"],
            y=judged[bound] * 100,
            mode="lines",
            line={"width": 0, "shape": "hvh"},
            fill=fill,
            fillcolor="rgba(58,143,174,.15)",
            hoverinfo="skip",
            showlegend=bound == "low",
            name=words("chart.chance"),
        )
    figure.add_scatter(
        x=frame["week"],
        y=frame["centre"] * 100,
        mode="lines",
        line={"color": QUIET, "dash": "dot"},
        name=words("chart.centre"),
        hoverinfo="skip",
    )
    kinds = {
        "chart.usual_week": (frame["signal"].eq("") & ~frame["is_young"], {"color": MAIN, "size": 6}),
        "chart.signal": (frame["signal"].ne(""), {"color": BAD, "size": 10, "symbol": "diamond"}),
        "chart.young_week": (frame["is_young"], {"color": MAIN, "size": 6, "symbol": "circle-open"}),
    }
    for name, (rows, marker) in kinds.items():
        part = frame[rows]
        hover = [
            words("chart.week_hover", week=words.day(r.week), share=words.percent(r.share), n=words.number(r.n))
            for r in part.itertuples()
        ]
        figure.add_scatter(
            x=part["week"],
            y=part["share"] * 100,
            mode="markers",
            marker=marker,
            name=words(name),
            hovertext=hover,
            hoverinfo="text",
        )
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
    figure = _figure(110 + 30 * len(table), words)
    figure.add_heatmap(
        z=table.to_numpy(),
        x=_wrapped(across, 10),
        y=_wrapped(down, 20),
        text=text,
        texttemplate="%{text}",
        showscale=False,
        colorscale=[[0, "#E3EEF3"], [1, "#1F6F8B"]],
        xgap=2,
        ygap=2,
        hoverinfo="skip",
    )
    # the cells of a heat map cannot be chosen: on each that has a number lies a clear mark that can
    cells = [
        (x, y, label, [code, other])
        for y, code, line in zip(_wrapped(down, 20), table.index, text, strict=True)
        for x, other, label in zip(_wrapped(across, 10), table.columns, line, strict=True)
        if label
    ]
    figure.add_scatter(
        x=[x for x, *_ in cells],
        y=[y for _, y, *_ in cells],
        hovertext=[label for *_, label, _ in cells],
        customdata=[codes for *_, codes in cells],
        mode="markers",
        hoverinfo="x+y+text",
        marker={"size": 26, "symbol": "square", "color": "rgba(0,0,0,0)"},
        selected={"marker": {"color": "rgba(219,147,55,.5)"}},
        unselected={"marker": {"opacity": 0}},
    )
    figure.update_xaxes(side="top", showgrid=False, tickangle=0 if len(across) < 4 else -40, dtick=1)
    return figure


def concentration(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw what share of returns the customers with most of them bring, beside what chance alone would give.

    Columns: customers, returned, by_chance (shares).
    """
    figure = _figure(340, words, legend=True, unit="y", **_axis(words, "share", words("chart.share_of_returned")))
    labels = [words("chart.top_customers", share=words.percent(s, 0 if s >= 0.01 else 1)) for s in frame["customers"]]
    for column, colour, shape in (("returned", MAIN, ""), ("by_chance", QUIET, "/")):
        hover = [f"{label}: {words.percent(v)}" for label, v in zip(labels, frame[column], strict=True)]
        figure.add_bar(
            x=_wrapped(labels, 9),
            y=frame[column] * 100,
            name=words(f"chart.{column}"),
            marker=_marker(colour, shape),
            hovertext=hover,
            hoverinfo="text",
        )
    figure.update_layout(barmode="group")
    figure.update_yaxes(range=[0, 100])
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
    labels = _wrapped(labels, 24)
    figure = _figure(80 + 32 * max(len(shown), 1), words, legend=True, **_axis(words, "share", what))
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
    figure = _figure(90 + 46 * max(len(colours), 1), words)
    figure.add_heatmap(
        z=rates,
        x=[str(s) for s in sizes],
        y=_wrapped(colours, 12),
        text=text,
        texttemplate="%{text}",
        showscale=False,
        colorscale=[[0, "#E3EEF3"], [1, "#1F6F8B"]],
        xgap=2,
        ygap=2,
        hoverinfo="skip",
    )
    figure.update_xaxes(side="top", showgrid=False, type="category", tickmode="linear", dtick=1)
    return figure


def compared(frame: pd.DataFrame, words: Words, kind: str) -> go.Figure:
    """Draw how far each group's rate moved, with its interval; grey within noise.

    Columns: label, difference, low, high, is_within_noise.
    """
    shown = frame.dropna(subset=["difference"]).sort_values("difference").tail(12)
    labels = _wrapped([words.value(kind, label) for label in shown["label"]])
    figure = _figure(60 + 34 * max(len(shown), 1), words, title=words("chart.points"))
    hover = [
        f"{label.replace('<br>', ' ')}: {words.signed(words.points(d), d)}"
        + (f" · {words('tile.noise')}" if noise else "")
        for label, d, noise in zip(labels, shown["difference"], shown["is_within_noise"].fillna(True), strict=True)
    ]
    colours = [
        QUIET if noise else BAD if d > 0 else GOOD
        for d, noise in zip(shown["difference"], shown["is_within_noise"].fillna(True), strict=True)
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


def development(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw how fast returns come back. Columns: category, day, share."""
    figure = _figure(340, words, legend=True, unit="y", **_axis(words, "share", words("chart.share_of_final")))
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


def promise_states(frame: pd.DataFrame, words: Words, kind: str) -> go.Figure:
    """Stack kept, broken, running and expired per group as shares of the returns under promise.

    Columns: label, state, n.
    """
    total = frame.groupby("label", observed=True, dropna=False)["n"].transform("sum")
    shares = frame.assign(share=frame["n"] / total.where(total > 0))
    order = list(dict.fromkeys(frame["label"]))[::-1]
    names = dict(zip(frame["label"], frame["name"], strict=True)) if "name" in frame else {}
    said = {p: names[p] if isinstance(names.get(p), str) else words.value(kind, p) for p in order}
    figure = _figure(
        90 + 46 * len(order), words, legend=True, **_axis(words, "share", words("chart.share_of_promises"))
    )
    for state, (colour, shape) in STATES.items():
        part = shares[shares["state"] == state].set_index("label").reindex(order)
        hover = [
            f"{said[p]}, {words.value('state', state)}: {words.number(n)} ({words.percent(s)})"
            for p, n, s in zip(order, part["n"], part["share"], strict=True)
        ]
        figure.add_bar(
            y=_wrapped([said[p] for p in order], 24),
            x=part["share"] * 100,
            orientation="h",
            name=words.value("state", state),
            marker=_marker(colour, shape),
            hovertext=hover,
            hoverinfo="text",
            customdata=[[p, state] for p in order],
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(range=[0, 100], dtick=25)
    return figure


def stage_ladder(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw the median and the ninth decile of each stage, with its interval, and the promise on it.

    Columns: stage, p50, p90, low, high, promised (days).
    """
    shown = frame[::-1]
    labels = _wrapped([words.value("stage", s) for s in shown["stage"]], 20)
    figure = _figure(96 + 36 * len(shown), words, legend=True, title=words("chart.days"))
    hover = [
        words(
            "chart.stage_hover",
            stage=words.value("stage", r.stage),
            p50=words.number(r.p50, 1),
            p90=words.number(r.p90, 1),
        )
        for r in shown.itertuples()
    ]
    figure.add_bar(
        y=labels,
        x=shown["p90"] - shown["p50"],
        base=shown["p50"],
        orientation="h",
        width=0.28,
        marker_color="rgba(58,143,174,.35)",
        showlegend=False,
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(shown, "stage"),
    )
    figure.add_scatter(
        y=labels,
        x=shown["p50"],
        mode="markers",
        name=words("chart.median"),
        marker={"color": MAIN, "size": 10},
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(shown, "stage"),
    )
    figure.add_scatter(
        y=labels,
        x=shown["p90"],
        mode="markers",
        name=words("chart.p90"),
        marker={"color": MAIN, "size": 10, "symbol": "circle-open", "line": {"width": 2}},
        hovertext=hover,
        hoverinfo="text",
        customdata=codes(shown, "stage"),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (shown["high"] - shown["p90"]).fillna(0),
            "arrayminus": (shown["p90"] - shown["low"]).fillna(0),
            "color": MAIN,
            "thickness": 1.2,
            "width": 4,
        },
    )
    if shown["promised"].notna().any():
        figure.add_scatter(
            y=labels,
            x=shown["promised"],
            mode="markers",
            name=words("chart.promise"),
            hovertext=[words("chart.promise_hover", days=words.number(d, 1)) for d in shown["promised"]],
            hoverinfo="text",
            customdata=codes(shown, "stage"),
            marker={"color": BAD, "size": 20, "symbol": "line-ns-open", "line": {"width": 3}},
        )
    figure.update_xaxes(rangemode="tozero")
    return figure


def waterfall(frame: pd.DataFrame, words: Words, unit: str, title: str = "") -> go.Figure:
    """Draw the way from one total to another.

    A step's measured, imputed and assumed parts are told apart where they are known. Columns: step, kind ("total" or
    "step"), amount, and perhaps measured, imputed, assumed. A step starts where the one before ended.
    """
    labels = _wrapped([words.value("step", s) for s in frame["step"]], 20)
    title = (
        title
        or {"share": words("chart.share_of_sold"), "units": words("returns.units")}.get(unit)
        or words("chart.money_ex_vat", currency=words.unit(unit))
    )
    parted = [status for status in STATUSES if status in frame]
    figure = _figure(
        70 + 36 * len(frame) + (26 if parted else 0),
        words,
        legend=bool(parted),
        title=title,
        suffix=_percent(words) if unit == "share" else "",
    )
    scale = 100 if unit == "share" else 1
    seen: set[str] = set()
    level = 0.0
    for position, row in enumerate(frame.to_dict("records")):
        amount, is_total = float(row["amount"]), row["kind"] == "total"
        text = words.quantity(amount, unit) if unit != "share" or is_total else words.points(amount)
        colour = MAIN if is_total else GOOD if (amount > 0) == (unit != "share" and not unit.startswith("kg")) else BAD
        start = 0.0 if is_total else level
        parts = (
            [("measured", amount)]
            if is_total or not parted
            else [(status, float(row[status])) for status in parted if row[status]]
        )
        for status, part in parts:
            figure.add_bar(
                y=[labels[position]],
                x=[part * scale],
                base=[start * scale],
                orientation="h",
                showlegend=False,
                marker=_marker(colour, STATUSES[status]),
                hovertext=[
                    f"{words.value('step', row['step'])}: {text}"
                    + (f" ({words.value('status', status)})" if parted and not is_total else "")
                ],
                hoverinfo="text",
                customdata=[[row["step"]]],
            )
            start += part
            seen |= set() if is_total else {status}
        level = amount if is_total else level + amount
        figure.add_annotation(
            xref="paper",
            x=1,
            xanchor="left",
            xshift=6,
            y=labels[position],
            text=words.signed(text, None if is_total else amount),
            showarrow=False,
        )
    for status in [status for status in parted if status in seen]:
        figure.add_bar(
            y=[None],
            x=[None],
            orientation="h",
            name=words.value("status", status),
            marker=_marker(QUIET, STATUSES[status]),
        )
    steps = frame.loc[frame["kind"] == "step", "amount"].abs().max()
    totals = frame.loc[frame["kind"] == "total", "amount"]
    if len(totals) and steps < totals.min() / 5:  # steps too small to be seen beside whole bars
        span = max(float(totals.max() - totals.min()), float(steps)) * 2
        figure.update_xaxes(range=[(totals.min() - span) * scale, (totals.max() + span / 2) * scale])
        figure.update_xaxes(title_text=f"{title} · {words('chart.cut_axis')}")
    figure.update_layout(barmode="overlay", margin_r=88)
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=labels)
    return figure


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


def chosen(figure: go.Figure, codes: Sequence[str | None]) -> go.Figure:
    """Give the figure with the marks of these codes standing out; none does without codes."""
    found = go.Figure(figure)
    for trace, own in zip(found.data, _own(figure), strict=True):
        if codes and own:
            trace.selectedpoints = [number for number, mark in enumerate(own) if mark == list(codes)]
    return found


def _marker(colour: str, shape: str) -> dict[str, Any]:
    """Fill a bar, or hatch it in its colour."""
    pattern = {"shape": shape, "fillmode": "replace" if shape else "overlay", "solidity": 0.42, "size": 7}
    return {"color": colour, "line": {"color": colour, "width": 1}, "pattern": pattern}


def products(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw the adjusted rate of the first twelve products with its interval, and what is usual in their category.

    Columns: style_id, name, rate, low, high, category_rate, is_flagged.
    """
    shown = frame.head(12)[::-1]
    labels = _wrapped(list(shown["name"]), 22)
    figure = _figure(96 + 30 * len(shown), words, legend=True, **_axis(words, "share", words("chart.share_of_sold")))
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


def by_status(frame: pd.DataFrame, words: Words, unit: str, what: str, kind: str) -> go.Figure:
    """Stack measured, imputed and assumed per group. Columns: label, status, value."""
    order = list(frame.groupby("label", observed=True)["value"].sum().sort_values().index)[-12:]
    figure = _figure(84 + 34 * len(order), words, legend=True, **_axis(words, unit, what))
    for status, shape in STATUSES.items():
        part = frame[frame["status"] == status].set_index("label")["value"].reindex(order)
        if part.notna().any():
            hover = [
                f"{words.value(kind, g)}, {words.value('status', status)}: {words.quantity(v, unit)}"
                for g, v in zip(order, part, strict=True)
            ]
            figure.add_bar(
                y=_wrapped([words.value(kind, g) for g in order]),
                x=part.fillna(0.0),
                orientation="h",
                name=words.value("status", status),
                hovertext=hover,
                hoverinfo="text",
                marker=_marker(MAIN, shape),
                customdata=[[g, status] for g in order],
            )
    figure.update_layout(barmode="stack")
    return figure


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
    figure = _figure(100 + 34 * len(order), words, legend=True, **_axis(words, unit, what))
    for number, name in enumerate(dict.fromkeys(frame["part"])):
        part = frame[frame["part"] == name].groupby("label", observed=True)["value"].first().reindex(order)
        hover = [
            f"{words.value(kind, g)}, {words.value(part_kind, name)}: {words.quantity(v, unit)}"
            for g, v in zip(order, part, strict=True)
        ]
        figure.add_bar(
            y=_wrapped([words.value(kind, g) for g in order]),
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


_FLOW_HEIGHT, _FLOW_MARGIN, _PAD = 480, 14, 20
_LAYERS = (("sold",), ("returned",), ("refunded", "exchanged", "open"))


def flow(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw units from sold to what became of them, in four layers. Columns: source, target, units."""
    names = list(dict.fromkeys([*frame["source"], *frame["target"]]))
    colours = {
        "sold": MAIN,
        "kept": GOOD,
        "returned": ACCENT,
        "resold_as_new": GOOD,
        "destroyed": BAD,
        "recycled": "#9480CE",
        "waiting": QUIET,
        "open": QUIET,
    }
    held = {
        name: float(
            max(frame.loc[frame["target"] == name, "units"].sum(), frame.loc[frame["source"] == name, "units"].sum())
        )
        for name in names
    }
    layer = {name: next((i for i, members in enumerate(_LAYERS) if name in members), 3) for name in names}
    names.sort(key=lambda name: (layer[name], name != "kept", -held[name]))
    height = _heights(names, layer, held)
    labels = [
        words.value("flow", name) + ("" if layer[name] == 2 else f" {words.number(held[name])}") for name in names
    ]
    figure = _figure(_FLOW_HEIGHT, words)
    figure.add_sankey(
        arrangement="snap",
        textfont={"size": 12, "shadow": "auto"},
        node={
            "label": labels,
            "color": [colours.get(name, "#6E93A8") for name in names],
            "pad": _PAD,
            "thickness": 12,
            "line": {"width": 0},
            "x": [(0.001, 0.2, 0.5, 0.999)[layer[name]] for name in names],
            "y": [height[name] for name in names],
            "customdata": [words.number(held[name]) for name in names],
            "hovertemplate": "%{label}: %{customdata}<extra></extra>",
        },
        link={
            "source": [names.index(name) for name in frame["source"]],
            "target": [names.index(name) for name in frame["target"]],
            "value": frame["units"],
            "color": "rgba(140,155,168,.28)",
            "customdata": [words.number(units) for units in frame["units"]],
            "hovertemplate": "%{source.label} → %{target.label}: %{customdata}<extra></extra>",
        },
    )
    figure.update_layout(margin={"l": 2, "r": 2, "t": _FLOW_MARGIN, "b": _FLOW_MARGIN})
    return figure


def _heights(names: Sequence[str], layer: dict[str, int], held: dict[str, float]) -> dict[str, float]:
    """Give each node's middle (0 top, 1 bottom): layers are stacked, what returned stands below what was kept."""
    whole = max(held.values()) or 1.0
    gap = _PAD / (_FLOW_HEIGHT - 2 * _FLOW_MARGIN)
    scale = 1 - gap * (sum(layer[name] == 3 for name in names) - 1)
    below_kept = held.get("kept", 0.0) / whole * scale + gap
    used = {0: 0.0, 1: below_kept, 2: below_kept, 3: 0.0}
    middle = {}
    for name in names:
        share = held[name] / whole * scale
        middle[name] = min(max(used[layer[name]] + share / 2, 0.001), 0.999)
        used[layer[name]] += share + gap
    return middle


def lanes(frame: pd.DataFrame, outlines: Sequence[Sequence[Sequence[float]]], words: Words) -> go.Figure:
    """Draw lanes as arcs over country outlines, thicker with more kilograms; nothing is fetched.

    Columns: from_longitude, from_latitude, to_longitude, to_latitude, from_name, to_name, kg_co2e, parcels.
    """
    longitudes = pd.concat([frame["from_longitude"], frame["to_longitude"]]).astype(float)
    latitudes = pd.concat([frame["from_latitude"], frame["to_latitude"]]).astype(float)
    west, east = longitudes.min() - 2, longitudes.max() + 2
    south, north = latitudes.min() - 1.5, latitudes.max() + 1.5
    stretch = 1 / max(math.cos(math.radians((south + north) / 2)), 0.2)
    figure = _figure(460, words)
    edge_x: list[float | None] = []
    edge_y: list[float | None] = []
    for line in outlines:
        if any(west - 8 < x < east + 8 and south - 8 < y < north + 8 for x, y in line):
            edge_x += [x for x, _ in line] + [None]
            edge_y += [y for _, y in line] + [None]
    figure.add_scatter(x=edge_x, y=edge_y, mode="lines", line={"color": QUIET, "width": 0.8}, hoverinfo="skip")
    top = float(frame["kg_co2e"].max()) or 1.0
    for row in frame.sort_values("kg_co2e").to_dict("records"):
        x, y = _arc(row["from_longitude"], row["from_latitude"], row["to_longitude"], row["to_latitude"], stretch)
        weight = math.sqrt(max(row["kg_co2e"], 0) / top)
        hover = words(
            "chart.lane_hover",
            origin=str(row["from_name"]),
            destination=str(row["to_name"]),
            kg=words.number(row["kg_co2e"]),
            parcels=words.number(row["parcels"]),
        )
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": ACCENT, "width": 0.8 + 6 * weight},
            opacity=0.35 + 0.55 * weight,
            hovertext=hover,
            hoverinfo="text",
        )
    sites = (
        frame.groupby(["to_name", "to_longitude", "to_latitude"], observed=True)["kg_co2e"]
        .sum()
        .reset_index()
        .nlargest(4, "kg_co2e")
    )
    named = _apart(sites, (east - west) / 4)
    figure.add_scatter(
        x=sites["to_longitude"],
        y=sites["to_latitude"],
        mode="markers+text",
        text=named,
        textposition="top center",
        hovertext=sites["to_name"],
        marker={"color": MAIN, "size": 9, "line": {"width": 1, "color": "white"}},
        hoverinfo="text",
    )
    hidden = {"visible": False, "fixedrange": True, "showgrid": False, "zeroline": False}
    figure.update_xaxes(**hidden, range=[west, east])
    figure.update_yaxes(**hidden, range=[south, north], scaleanchor="x", scaleratio=stretch)
    return figure


def _apart(sites: pd.DataFrame, gap: float) -> list[str]:
    """Give the names of sites, left out where a heavier one stands closer than `gap` degrees."""
    placed: list[tuple[float, float]] = []
    names = []
    for site in sites.to_dict("records"):
        here = float(site["to_longitude"]), float(site["to_latitude"])
        is_free = all(math.dist(here, other) > gap for other in placed)
        names.append(str(site["to_name"]) if is_free else "")
        placed += [here] if is_free else []
    return names


def _arc(x0: float, y0: float, x1: float, y1: float, stretch: float) -> tuple[list[float], list[float]]:
    """Bend a line to its left by a tenth of its length: a quadratic curve of thirteen points."""
    across, up = x1 - x0, (y1 - y0) * stretch
    middle_x, middle_y = (x0 + x1) / 2 - up * 0.1, (y0 + y1) / 2 + across * 0.1 / stretch
    steps = [i / 12 for i in range(13)]
    curve_x = [(1 - t) ** 2 * x0 + 2 * t * (1 - t) * middle_x + t**2 * x1 for t in steps]
    curve_y = [(1 - t) ** 2 * y0 + 2 * t * (1 - t) * middle_y + t**2 * y1 for t in steps]
    return curve_x, curve_y
