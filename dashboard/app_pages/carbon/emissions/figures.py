"""Charts of the page emissions: frames in, figures out, no Streamlit."""

import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.charts import STATUSES, axis, codes, framed, marker_of, wrapped
from dashboard.shared.tokens import ACCENT, BAD, GOOD, MAIN, OLIVE, PINK, QUIET, SLATE, VIOLET

FATES = {
    "as_new": GOOD,
    "b_stock": OLIVE,
    "marked_down": ACCENT,
    "repaired": MAIN,
    "refurbished": VIOLET,
    "donated": PINK,
    "recycled": SLATE,
    "return_to_supplier": QUIET,
    "destroyed": BAD,
}


def swings(frame: pd.DataFrame, words: Words) -> go.Figure:
    """Draw what each source of doubt alone would do to a total, widest on top.

    Columns: source, low, high (kg CO2e), share.
    """
    shown = frame.iloc[::-1]
    labels = wrapped([words.doubt(s) for s in shown["source"]], 26)
    figure = framed(70 + 34 * len(shown), words, **axis(words, "kg CO2e", words("emissions.total")))
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
    figure = framed(320, words, unit="y", title=words("emissions.parcels"))
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


def by_status(frame: pd.DataFrame, words: Words, unit: str, what: str, kind: str) -> go.Figure:
    """Stack measured, imputed and assumed per group. Columns: label, status, value."""
    order = list(frame.groupby("label", observed=True)["value"].sum().sort_values().index)[-12:]
    figure = framed(84 + 34 * len(order), words, legend=True, **axis(words, unit, what))
    for status, shape in STATUSES.items():
        part = frame[frame["status"] == status].set_index("label")["value"].reindex(order)
        if part.notna().any():
            hover = [
                words.pair(f"{words.value(kind, g)}, {words.value('status', status)}", words.quantity(v, unit))
                for g, v in zip(order, part, strict=True)
            ]
            figure.add_bar(
                y=wrapped([words.value(kind, g) for g in order]),
                x=part.fillna(0.0),
                orientation="h",
                name=words.value("status", status),
                hovertext=hover,
                hoverinfo="text",
                marker=marker_of(MAIN, shape),
                customdata=[[g, status] for g in order],
            )
    figure.update_layout(barmode="stack")
    return figure


def lanes(frame: pd.DataFrame, outlines: Sequence[Sequence[Sequence[float]]], words: Words) -> go.Figure:
    """Draw lanes as arcs over country outlines, thicker with more kilograms; nothing is fetched.

    Columns: from_longitude, from_latitude, to_longitude, to_latitude, from_name, to_name, kg_co2e, parcels.
    """
    longitudes = pd.concat([frame["from_longitude"], frame["to_longitude"]]).astype(float)
    latitudes = pd.concat([frame["from_latitude"], frame["to_latitude"]]).astype(float)
    west, east = longitudes.min() - 2, longitudes.max() + 2
    south, north = latitudes.min() - 1.5, latitudes.max() + 1.5
    stretch = 1 / max(math.cos(math.radians((south + north) / 2)), 0.2)
    figure = framed(460, words)
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
