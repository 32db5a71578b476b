"""The colours of the theme and the charts: contrast, and told apart without red and green and in grey."""

import itertools
import re
import tomllib
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import dashboard
from dashboard.shared import charts, timeline, tokens
from pipelines.outputs import pictures
from pipelines.people.annotations import Annotation

HOME = Path(dashboard.__file__).parent
THEME = tomllib.loads((HOME / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
MARK, TEXT = 3.0, 4.5
"""Contrast of what is drawn and of what is written (WCAG 2.2, 1.4.11 and 1.4.3)."""

DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
"""Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB."""
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.95047, 1.0, 1.08883])
APART, APART_GREY = 10.0, 5.0  # distances in CIELAB: of any two colours without red and green, of neighbours in grey


def linear(colour: str) -> np.ndarray:
    """Read a colour as linear RGB."""
    coded = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Give the contrast of two colours (WCAG 2)."""
    dark, light = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def faded(colour: str, ground: str, share: float = 0.6) -> str:
    """Give the colour of a caption: Streamlit writes it in the text's colour, let through by so much."""
    parts = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02X}" for a, b in parts)


def lab(colour: str, *, is_deuteranope: bool = False) -> np.ndarray:
    """Give a colour in CIELAB, as everybody sees it or without red and green."""
    seen = linear(colour)
    if is_deuteranope:
        seen = np.clip(DEUTERANOPIA @ seen, 0, 1)
    share = XYZ @ seen / WHITE
    f = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_contrast_is_that_of_the_guideline() -> None:
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21.0)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)
    red, green = lab("#C00000", is_deuteranope=True), lab("#5A6B00", is_deuteranope=True)
    assert np.linalg.norm(lab("#C00000") - lab("#5A6B00")) > 3 * np.linalg.norm(red - green)


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_texts_of_pages_and_charts_have_contrast(ground: str) -> None:
    theme, ink = THEME[ground], tokens.INK[ground == "dark"]
    grounds = theme["backgroundColor"], theme["secondaryBackgroundColor"]
    texts = {"text": theme["textColor"], "code": theme["codeTextColor"], "accent": theme["primaryColor"]}
    found = {(name, g): contrast(colour, g) for name, colour in texts.items() for g in grounds}
    found |= {("caption", g): contrast(faded(theme[n], g), g) for g in grounds for n in ("textColor", "codeTextColor")}
    found |= {(name, grounds[0]): contrast(colour, grounds[0]) for name, colour in ink.items()}
    chosen = faded(theme["primaryColor"], grounds[0], 0.1)  # behind what is chosen of a row of buttons
    found |= {("chosen", chosen): contrast(theme["primaryColor"], chosen)}
    assert {name: round(value, 2) for name, value in found.items() if value < TEXT} == {}


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_the_numbers_of_notes_are_read_on_their_chips(ground: str) -> None:
    """What colours the texts of a chart for its ground leaves alone those that bring one."""
    figure = go.Figure().add_scatter(x=pd.date_range("2025-11-01", periods=3, freq="MS"), y=[1, 2, 3])
    note = Annotation(date(2025, 12, 5), "other", "Sale")
    figure = timeline.ticked(figure.add_annotation(text="plain", x=0, y=0), timeline.ticks(figure, [note])[0])
    colour = tokens.INK[ground == "dark"]["text"]
    plain, chip = charts.inked(charts.described(figure), colour).layout.annotations
    assert plain.font.color == colour
    assert chip.text == "1"
    assert contrast(chip.font.color, chip.bgcolor) >= TEXT


def test_marks_of_charts_have_contrast_on_both_grounds() -> None:
    drawn = {*tokens.SERIES, tokens.QUIET}
    grounds = [THEME[g]["backgroundColor"] for g in ("light", "dark")]
    assert {(c, g) for c in drawn for g in grounds if contrast(c, g) < MARK} == set()
    cells = [colour for _, colour in tokens.CELLS]
    assert min(contrast(tokens.CELL_TEXT, colour) for colour in cells) >= TEXT


def test_colours_are_told_apart_without_red_and_green_and_in_grey() -> None:
    drawn = [*tokens.SERIES, tokens.QUIET]
    seen = {colour: lab(colour, is_deuteranope=True) for colour in drawn}
    near = [(a, b) for a, b in itertools.combinations(drawn, 2) if np.linalg.norm(seen[a] - seen[b]) < APART]
    beside = [*itertools.pairwise(tokens.SERIES), (tokens.GOOD, tokens.BAD), (tokens.MAIN, tokens.QUIET)]
    grey = [(a, b) for a, b in beside if abs(lab(a)[0] - lab(b)[0]) < APART_GREY]
    assert (near, grey) == ([], [])


def test_one_palette_is_drawn_with() -> None:
    """No figure has a colour of its own, and what Streamlit draws has the same."""
    own = [
        (path.name, colour)
        for path in HOME.rglob("*.py")
        if path.name != "tokens.py"
        for colour in re.findall(r"#[0-9A-Fa-f]{6}\b", path.read_text("utf-8"))
    ]
    assert own == []
    literal = [path.name for path in HOME.rglob("*.py") if 'type="primary"' in path.read_text("utf-8")]
    assert literal == [], "white on the accent is not read in dark: `theme.first_button` says which kind"
    assert pictures._MAIN == tokens.MAIN
    assert all(THEME[g]["chartCategoricalColors"] == list(tokens.SERIES) for g in ("light", "dark"))
