"""Charts of the page overview: frames in, figures out, no Streamlit."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words
from dashboard.shared.charts import ACCENT, BAD, GOOD, MAIN, QUIET, framed

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
    figure = framed(_FLOW_HEIGHT, words)
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
            "hovertemplate": words.pair("%{label}", "%{customdata}<extra></extra>"),
        },
        link={
            "source": [names.index(name) for name in frame["source"]],
            "target": [names.index(name) for name in frame["target"]],
            "value": frame["units"],
            "color": "rgba(140,155,168,.28)",
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
