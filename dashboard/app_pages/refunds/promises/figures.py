"""Charts of the page promises: frames in, figures out, no Streamlit."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.charts import axis, codes, framed, marker_of, wrapped
from dashboard.shared.tokens import ACCENT, BAD, BAND, GOOD, MAIN, QUIET

STATES = {"kept": (GOOD, ""), "broken": (BAD, ""), "undetermined": (MAIN, "/"), "expired": (QUIET, "")}


def prices(frame: pd.DataFrame, words: Words, unit: str, at: float) -> go.Figure:
    """Draw the share each duration would keep, with its interval; the published and the possible one marked.

    Columns: duration, kept, low, high, is_published, is_possible.
    """
    figure = framed(300, words, legend=True, unit="y", **axis(words, "share", words("chart.would_keep")))
    for bound, fill in (("high", None), ("low", "tonexty")):
        figure.add_scatter(
            x=frame["duration"],
            y=frame[bound] * 100,
            mode="lines",
            line={"width": 0, "shape": "hv"},
            fill=fill,
            fillcolor=BAND,
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
    figure = framed(320, words, legend=True, unit="y", **axis(words, "share", words("chart.share_of_promises")))
    judged = frame.dropna(subset=["low", "high"])
    for bound, fill in (("high", None), ("low", "tonexty")):
        figure.add_scatter(
            x=judged["week"],
            y=judged[bound] * 100,
            mode="lines",
            line={"width": 0, "shape": "hvh"},
            fill=fill,
            fillcolor=BAND,
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


def promise_states(frame: pd.DataFrame, words: Words, kind: str) -> go.Figure:
    """Stack kept, broken, running and expired per group as shares of the returns under promise.

    Columns: label, state, n.
    """
    total = frame.groupby("label", observed=True, dropna=False)["n"].transform("sum")
    shares = frame.assign(share=frame["n"] / total.where(total > 0))
    order = list(dict.fromkeys(frame["label"]))[::-1]
    names = dict(zip(frame["label"], frame["name"], strict=True)) if "name" in frame else {}
    said = {p: names[p] if isinstance(names.get(p), str) else words.value(kind, p) for p in order}
    figure = framed(90 + 46 * len(order), words, legend=True, **axis(words, "share", words("chart.share_of_promises")))
    for state, (colour, shape) in STATES.items():
        part = shares[shares["state"] == state].set_index("label").reindex(order)
        hover = [
            words.pair(f"{said[p]}, {words.value('state', state)}", f"{words.number(n)} ({words.percent(s)})")
            for p, n, s in zip(order, part["n"], part["share"], strict=True)
        ]
        figure.add_bar(
            y=wrapped([said[p] for p in order], 24),
            x=part["share"] * 100,
            orientation="h",
            name=words.value("state", state),
            marker=marker_of(colour, shape),
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
    labels = wrapped([words.value("stage", s) for s in shown["stage"]], 20)
    figure = framed(96 + 36 * len(shown), words, legend=True, title=words("chart.days"))
    hover = [
        words(
            "chart.stage_hover",
            stage=words.value("stage", r.stage),
            p50=words.number(r.p50, 1),
            p90=words.number(r.p90, 1),
        )
        for r in shown.itertuples()
    ]
    common = {"y": labels, "hovertext": hover, "hoverinfo": "text", "customdata": codes(shown, "stage")}
    figure.add_bar(
        x=shown["p90"] - shown["p50"],
        base=shown["p50"],
        orientation="h",
        width=0.28,
        marker_color=BAND,
        showlegend=False,
        **common,
    )
    median = {"color": MAIN, "size": 10}
    figure.add_scatter(x=shown["p50"], mode="markers", name=words("chart.median"), marker=median, **common)
    figure.add_scatter(
        x=shown["p90"],
        mode="markers",
        name=words("chart.p90"),
        marker={"color": MAIN, "size": 10, "symbol": "circle-open", "line": {"width": 2}},
        error_x=_interval(shown, "p90"),
        **common,
    )
    if shown["promised"].notna().any():
        promised = [words("chart.promise_hover", days=words.number(d, 1)) for d in shown["promised"]]
        figure.add_scatter(
            x=shown["promised"],
            mode="markers",
            name=words("chart.promise"),
            marker={"color": BAD, "size": 20, "symbol": "line-ns-open", "line": {"width": 3}},
            **common | {"hovertext": promised},
        )
    figure.update_xaxes(rangemode="tozero")
    return figure


def _interval(frame: pd.DataFrame, value: str) -> dict[str, Any]:
    """Give the error bars from `low` to `high` around a value; none where they are not known."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (frame["high"] - frame[value]).fillna(0),
        "arrayminus": (frame[value] - frame["low"]).fillna(0),
        "color": MAIN,
        "thickness": 1.2,
        "width": 4,
    }
