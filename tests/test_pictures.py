"""Charts of the pages drawn again as PNG and SVG: every kind of trace, in both languages, the same bytes each time."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from dashboard.i18n import Words
from dashboard.shared import charts, tokens
from pipelines.errors import ExportError
from pipelines.outputs import pictures

MONTHS = pd.date_range("2025-01-01", periods=6, freq="MS")


def trend(language: str = "en") -> go.Figure:
    value = pd.Series([0.2, 0.22, 0.25, 0.24, 0.3, 0.31])
    frame = pd.DataFrame({"month": MONTHS, "value": value, "low": value - 0.02, "high": value + 0.02})
    return charts.trend(frame, Words(language), "share", "Return rate")


def ranked() -> go.Figure:
    frame = pd.DataFrame(
        {"label": ["a$b$", "<b>x</b>", "c"], "value": [3.0, 2.0, 1.0], "low": 0.5, "high": 4.0, "n": 9}
    )
    return charts.ranked(frame, Words("en"), "units", "Units")


def stacked() -> go.Figure:
    figure = charts.framed(300, Words("fr"), legend=True, unit="y")
    for name, sign in (("mesuré", ""), ("supposé", ".")):
        figure.add_bar(
            x=["A", "B"], y=[1500.5, 2.0], name=name, marker={"color": tokens.MAIN, "pattern": {"shape": sign}}
        )
    figure.update_layout(barmode="stack")
    return figure


def heat() -> go.Figure:
    figure = charts.framed(300, Words("en"))
    figure.add_heatmap(z=[[1.0, None], [3.0, 4.0]], x=["A", "B"], y=["p", "q"], text=[["1", ""], ["3", "4"]])
    return figure


def empty() -> go.Figure:
    figure = charts.framed(300, Words("en"))
    figure.add_heatmap(z=[], x=[], y=[])
    return figure


def flow() -> go.Figure:
    figure = charts.framed(300, Words("en"))
    link = {"source": [0, 0, 1], "target": [1, 2, 2], "value": [5, 2, 5]}
    figure.add_sankey(node={"label": ["sent", "received", "restocked"], "color": tokens.MAIN}, link=link)
    return figure


def lined() -> go.Figure:
    figure = trend()
    figure.add_hline(y=25, line={"color": tokens.BAD, "dash": "dot"})
    figure.add_annotation(x=MONTHS[2], y=25, text="new <b>policy</b>", showarrow=False)
    return figure


def falling() -> go.Figure:
    """A waterfall: a total, and a step that begins where it ends."""
    figure = charts.framed(300, Words("en"))
    figure.add_bar(y=["now"], x=[10.0], base=[0.0], orientation="h", marker={"color": tokens.MAIN})
    figure.add_bar(y=["step"], x=[-4.0], base=[10.0], orientation="h", marker={"color": tokens.BAD})
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(range=[0, 20])
    figure.update_yaxes(categoryarray=["step", "now"])
    return figure


FIGURES = {
    "falling": falling,
    "trend": trend,
    "ranked": ranked,
    "stacked": stacked,
    "heat": heat,
    "flow": flow,
    "lined": lined,
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_in_both_forms_and_always_alike(name: str) -> None:
    described = charts.described(FIGURES[name]())
    png = pictures.picture(described, "png", title="What it shows", note="Build 1")
    image = Image.open(io.BytesIO(png))
    height = int(described["layout"]["height"]) + 70
    assert image.size == (pictures.WIDTH, height)
    shades = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(shades, axis=0)) > 10
    svg = pictures.picture(described, "svg", title="What it shows", note="Build 1")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert (png, svg) == tuple(
        pictures.picture(described, f, title="What it shows", note="Build 1") for f in ("png", "svg")
    )


def texts(figure: go.Figure) -> str:
    """Give the texts of a picture, which SVG keeps as comments beside their outlines."""
    svg = pictures.picture(figure.to_dict(), "svg").decode()
    return " ".join(re.findall(r"<!-- (.*?) -->", svg))


def test_axes_are_written_in_the_language_of_the_figure() -> None:
    assert "Return rate" in texts(trend())
    assert "%" in texts(trend())
    assert pictures.written(1500.5, ",\u202f") == "1\u202f500,5"
    assert "1\u202f000" in texts(stacked())
    assert "mesuré" in texts(stacked())
    assert "janv" in texts(trend("fr")).lower()


def test_a_mark_stands_where_its_number_is() -> None:
    """A bar of twice the value is twice as long: read from the pixels of its colour."""
    frame = pd.DataFrame({"label": ["a", "b"], "value": [2.0, 1.0], "n": 9})
    described = charts.ranked(frame, Words("en"), "units", "Units").to_dict()
    pixels = np.asarray(Image.open(io.BytesIO(pictures.picture(described, "png"))).convert("RGB")).astype(int)
    is_bar = (np.abs(pixels - [0x2F, 0x7F, 0xA0]) < 12).all(axis=2)
    lengths = is_bar.sum(axis=1)
    rows = lengths[lengths > 20]
    assert rows.max() / rows.min() == pytest.approx(2, rel=0.03)
    assert rows[0] > rows[-1]  # the largest on top


def test_what_cannot_be_drawn_says_so() -> None:
    with pytest.raises(ExportError, match="cannot draw pie"):
        pictures.picture({"data": [{"type": "pie"}]}, "png")
    with pytest.raises(ExportError, match="no form of a picture"):
        pictures.picture({"data": []}, "bmp")
    back = {
        "type": "sankey",
        "node": {"label": ["a", "b"]},
        "link": {"source": [0, 1], "target": [1, 0], "value": [1, 1]},
    }
    with pytest.raises(ExportError, match="comes back to itself"):
        pictures.picture({"data": [back]}, "svg")


def test_a_step_begins_where_the_total_ends_and_names_stand_in_their_order() -> None:
    drawn = Image.open(io.BytesIO(pictures.picture(falling().to_dict(), "png"))).convert("RGB")
    shades = np.asarray(drawn).astype(int)

    def where(hexed: str) -> tuple[np.ndarray, np.ndarray]:
        wanted = np.array([int(hexed[i : i + 2], 16) for i in (1, 3, 5)])
        return np.nonzero(np.abs(shades - wanted).max(axis=2) < 3)

    (total_y, total_x), (step_y, step_x) = where(tokens.MAIN), where(tokens.BAD)
    assert abs(int(step_x.max()) - int(total_x.max())) <= 3
    assert step_x.min() == pytest.approx(total_x.min() + 0.6 * (total_x.max() - total_x.min()), abs=4)
    assert step_y.min() > total_y.max()  # the first of the order is the lowest


def test_what_cannot_be_drawn_of_a_trace_is_said() -> None:
    figure = trend()
    figure.data[0].stackgroup = "one"
    with pytest.raises(ExportError, match="cannot draw stackgroup of scatter"):
        pictures.picture(figure.to_dict(), "png")
