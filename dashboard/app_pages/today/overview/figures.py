"""Charts of the page overview: frames in, figures out, no Streamlit."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.charts import framed
from dashboard.shared.sparks import spark
from dashboard.shared.tokens import ACCENT, BAD, GOOD, INK, LINK, MAIN, QUIET, SLATE, VIOLET

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
        "recycled": VIOLET,
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
    figure = framed(_FLOW_HEIGHT, words)
    figure.add_sankey(
        arrangement="snap",
        textfont={"size": 12, "shadow": "auto"},
        node={
            "label": labels,
            "color": [colours.get(name, SLATE) for name in names],
            "pad": _PAD,
            "thickness": 12,
            "line": {"width": 0},
            "x": [(0.001, 0.2, 0.5, 0.999)[layer[name]] for name in names],
            "y": [height[name] for name in names],
            "customdata": [words.number(held[name]) for name in names],
            "hovertemplate": words.pair("%{label}", "%{customdata}<extra></extra>"),
        },
        link={
            "source": [names.index(name) for name in frame["source"]],
            "target": [names.index(name) for name in frame["target"]],
            "value": frame["units"],
            "color": LINK,
            "customdata": [words.number(units) for units in frame["units"]],
            "hovertemplate": words.pair("%{source.label} → %{target.label}", "%{customdata}<extra></extra>"),
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


@dataclass(frozen=True)
class Line:
    """One number: its name, value, change with its colour, months, which of them still move, and its interval.

    `target` says whether it misses its target, in `target_colour`; `targets` are those of the months, NaN without one.
    """

    name: str
    value: str
    change: str
    colour: str
    months: tuple[float, ...]
    is_young: tuple[bool, ...]
    between: str = ""
    target: str = ""
    target_colour: str = "gray"
    targets: tuple[float, ...] = ()


@cache
def _markup() -> dict[str, str]:
    """Read the markup of the lines by name."""
    return tomllib.loads(Path(__file__).with_name("lines.toml").read_text(encoding="utf-8"))


def lines(rows: Sequence[Line], heads: Sequence[str], so_far: str, *, is_dark: bool, is_narrow: bool) -> str:
    """Write numbers as a table whose last column draws their months; unsettled months are dotted.

    A table of its own: none of Streamlit's draws a dotted tail, and what stands in it is text that a reader's software
    reads. A narrow one has the change under the value.
    """
    mark = _markup()
    named = [head for i, head in enumerate(heads) if i != _CHANGE or not is_narrow]
    head = "".join(mark["head"].format(name=escape(name)) for name in named)
    body = "".join(mark["row"].format(cells="".join(_cells(one, so_far, is_dark, is_narrow))) for one in rows)
    return mark["table"].format(head=head, body=body)


_CHANGE = 2  # the place of the change among the columns


def _cells(one: Line, so_far: str, is_dark: bool, is_narrow: bool) -> list[str]:
    mark, colours, about = _markup(), INK[is_dark], escape(one.between)
    change = {"colour": colours[one.colour], "change": escape(one.change)}
    value = mark["value"].format(value=escape(one.value))
    inner = [mark["below"].format(value=value, **change)] if is_narrow else [value, mark["change"].format(**change)]
    width, of_image = ("60px", "52") if is_narrow else ("22%", "100%")
    of_name = "40%" if is_narrow else "auto"
    said = f"{one.name} ({so_far})" if any(one.is_young) else one.name
    drawn = spark(said, one.months, one.is_young, colours["line"], of_image, one.targets)
    target = mark["target"].format(colour=colours[one.target_colour], target=escape(one.target)) if one.target else ""
    return [
        mark["name"].format(name=escape(one.name), target=target, width=of_name),
        *(mark["cell"].format(about=about, inner=text) for text in inner),
        mark["drawn"].format(width=width, inner=drawn),
    ]
