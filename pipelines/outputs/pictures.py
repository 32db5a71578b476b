"""A chart as PNG or SVG without a browser: a Plotly figure's own description, drawn again by matplotlib.

Who draws a chart for a page hands its description over (`figure.to_dict()`); nothing is declared a second time and no
number is worked out here. It draws what the pages use: scatter with bands, bars with patterns, heat maps, flows, lines
across and annotations. Another kind of trace raises, so that no picture lacks a part in silence. Numbers are written
with the figure's own separators. The same description gives the same bytes.
"""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipelines.errors import ExportError

FORMS = {"png": "image/png", "svg": "image/svg+xml"}
DPI, WIDTH, HEIGHT = 96, 960, 420  # pixels of an inch; of a picture unless its figure says
MOST = 4000  # pixels of a side
DAY_MS = 86_400_000  # milliseconds of a day, in which Plotly writes the width of a bar on days
_INK, _GROUND, _MAIN = "#31333F", "#FFFFFF", "#2F7FA0"
_DASHES = {"dot": ":", "dash": "--", "dashdot": "-.", "longdash": "--", "solid": "-"}
_HATCHES = {"/": "///", "\\": "\\\\\\", "x": "xxx", "-": "---", "|": "|||", "+": "+++", ".": "..."}
_MARKS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "cross": "P",
    "x": "X",
    "line-ew": "_",
    "line-ns": "|",
    "triangle-up": "^",
    "triangle-down": "v",
}
_NUMBERED: Any = dates.date2num
_STEPS = {"hv": "steps-post", "vh": "steps-pre", "hvh": "steps-mid"}
DRAWN = {
    "scatter": frozenset(
        [
            "x",
            "y",
            "mode",
            "name",
            "line",
            "marker",
            "fill",
            "fillcolor",
            "opacity",
            "text",
            "textposition",
            "error_x",
            "error_y",
        ]
    ),
    "bar": frozenset(
        ["x", "y", "base", "width", "orientation", "name", "marker", "text", "textposition", "error_x", "error_y"]
    ),
    "heatmap": frozenset(
        ["x", "y", "z", "text", "texttemplate", "colorscale", "zmin", "zmax", "xgap", "ygap", "showscale"]
    ),
    "sankey": frozenset(["node", "link", "arrangement", "textfont"]),
}
OF_A_SCREEN = frozenset(
    [
        "type",
        "customdata",
        "hoverinfo",
        "hovertext",
        "hovertemplate",
        "showlegend",
        "selected",
        "unselected",
        "selectedpoints",
        "cliponaxis",
        "uid",
        "legendgroup",
        "textfont",
    ]
)
"""What a trace may say: what is drawn of it, and what only a screen shows."""
_ONE = Lock()  # matplotlib's settings are of the process

Trace = Mapping[str, Any]


def picture(figure: Mapping[str, Any], form: str, *, title: str = "", note: str = "", width: int = WIDTH) -> bytes:
    """Draw a figure as it is described, with a title above and a note below.

    Raises ExportError for a form that is none, or a trace that cannot be drawn.
    """
    if form not in FORMS:
        raise ExportError(f"{form} is no form of a picture. Take {' or '.join(FORMS)}.")
    layout = figure.get("layout", {})
    width, height = min(int(width), MOST), min(int(layout.get("height") or HEIGHT), MOST)
    settings: Any = {
        "svg.hashsalt": "backhaul",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "hatch.linewidth": 0.6,
    }
    with _ONE, mpl.rc_context(settings):
        lines = plain(note).count("\n") if note else 0
        tall = height + 40 * bool(title) + 30 * bool(note) + 14 * lines
        drawn = Figure(figsize=(width / DPI, tall / DPI), dpi=DPI)
        drawn.set_facecolor(_GROUND)
        drawn.set_layout_engine("constrained")
        _Chart(drawn.add_subplot(), figure).draw()
        if title:
            drawn.suptitle(plain(title), x=0.01, ha="left", fontsize=12, color=_INK)
        if note:
            drawn.supxlabel(plain(note), x=0.01, ha="left", fontsize=8, color=_INK)
        out = io.BytesIO()
        canvas = FigureCanvasAgg(drawn) if form == "png" else FigureCanvasSVG(drawn)
        canvas.print_figure(out, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    return out.getvalue()


def plain(text: Any) -> str:
    r"""Give a text without markup; matplotlib reads no mathematics in it.

    >>> plain("a<br>b <b>5&#36;</b>")
    'a\nb 5\\$'
    """
    lines = re.sub(r"<br\s*/?>", "\n", str(text))
    return html.unescape(re.sub(r"</?[a-zA-Z][^>]*>", "", lines)).replace("$", r"\$")


def values(given: Any) -> list[Any]:
    """Read an array of a figure: a list, an array, or bytes with their type."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        found = np.frombuffer(base64.b64decode(given["bdata"]), dtype=np.dtype(given["dtype"]))
        shape = [int(n) for n in str(given.get("shape", "")).split(",") if n.strip()]
        return list(found.reshape(shape)) if shape else list(found)
    return list(given)


def colour(text: Any, usual: str = _MAIN) -> tuple[float, float, float, float]:
    """Read a colour as pages write it.

    >>> colour("rgba(255,0,0,.5)")
    (1.0, 0.0, 0.0, 0.5)
    """
    found = re.fullmatch(r"\s*rgba?\(([^)]*)\)\s*", text) if isinstance(text, str) else None
    if found:
        red, green, blue, *rest = (float(part) for part in found[1].split(","))
        return (red / 255, green / 255, blue / 255, rest[0] if rest else 1.0)
    return to_rgba(text if isinstance(text, str) else usual)


class _Axis:
    """How the values of one direction are placed: numbers as they are, days as days, names in order."""

    def __init__(self, figure: Mapping[str, Any], letter: str) -> None:
        self.said: Mapping[str, Any] = figure.get("layout", {}).get(f"{letter}axis", {})
        seen: list[Any] = []
        for trace in figure.get("data", ()):
            seen += values(trace.get(letter)) if trace.get("type", "scatter") != "sankey" else []
        known = [v for v in seen if v is not None and v == v]
        self.is_date = self.said.get("type") == "date" or (bool(known) and all(map(_is_day, known)))
        is_named = not self.is_date and any(isinstance(v, str) for v in known)
        first = [str(v) for v in values(self.said.get("categoryarray"))]  # the order that was given, then as they come
        self.names: list[str] | None = list(dict.fromkeys([*first, *map(str, known)])) if is_named else None

    def places(self, given: Any) -> np.ndarray[Any, Any]:
        """Give the place of each value."""
        found = values(given)
        if self.is_date:
            stamps = pd.to_datetime(pd.Series(found, dtype=object)).dt.tz_localize(None)
            return np.asarray(_NUMBERED(stamps.to_numpy("datetime64[us]")), dtype=float)
        if self.names is not None:
            return np.array([self.names.index(str(v)) if v is not None else np.nan for v in found], dtype=float)
        return np.array([np.nan if v is None else float(v) for v in found], dtype=float)


def _is_day(value: Any) -> bool:
    return (
        hasattr(value, "year")
        or isinstance(value, np.datetime64)
        or (isinstance(value, str) and bool(re.match(r"\d{4}-\d{2}-\d{2}", value)))
    )


class _Chart:
    """One figure on its axes."""

    def __init__(self, axes: Axes, figure: Mapping[str, Any]) -> None:
        self.axes, self.figure = axes, figure
        self.layout: Mapping[str, Any] = figure.get("layout", {})
        self.x, self.y = _Axis(figure, "x"), _Axis(figure, "y")
        self._before: tuple[Any, Any] | None = None
        self._bars: list[Trace] = [t for t in figure.get("data", ()) if t.get("type") == "bar"]
        self._base: dict[tuple[float, bool], float] = {}

    def draw(self) -> None:
        """Draw every trace, then what stands across, and the axes."""
        kinds = {"scatter": self._scatter, "bar": self._bar, "heatmap": self._heatmap, "sankey": self._sankey}
        for trace in self.figure.get("data", ()):
            kind = trace.get("type", "scatter").replace("scattergl", "scatter")
            if kind not in kinds:
                raise ExportError(f"A picture cannot draw {kind}. Take the table of this chart instead.")
            if unknown := sorted({*trace} - DRAWN[kind] - OF_A_SCREEN):
                raise ExportError(
                    f"A picture cannot draw {unknown[0]} of {kind}. Take the table of this chart instead."
                )
            kinds[kind](trace)
        for shape in self.layout.get("shapes", ()):
            self._shape(shape)
        for said in self.layout.get("annotations", ()):
            self._annotation(said)
        self._dress()

    def _scatter(self, trace: Trace) -> None:
        x, y = self.x.places(trace.get("x")), self.y.places(trace.get("y"))
        line, marker, mode = trace.get("line") or {}, trace.get("marker") or {}, trace.get("mode") or "lines"
        own = line.get("color") or (marker.get("color") if isinstance(marker.get("color"), str) else None)
        if trace.get("fill") in ("tonexty", "tozeroy"):
            below = self._before[1] if trace["fill"] == "tonexty" and self._before else np.zeros(len(y))
            if len(below) == len(y):
                self.axes.fill_between(x, below, y, color=colour(trace.get("fillcolor")), linewidth=0)
        width = line.get("width", 2)
        label = plain(trace["name"]) if trace.get("name") and trace.get("showlegend", True) else None
        if "lines" in mode and width:
            dash, steps = _DASHES.get(line.get("dash", "solid"), "-"), _STEPS.get(line.get("shape", ""), "default")
            how: dict[str, Any] = {"color": colour(own), "alpha": float(trace.get("opacity", 1)), "drawstyle": steps}
            self.axes.plot(x, y, dash, linewidth=width * 0.75, label=label, **how)
            label = None
        if "markers" in mode:
            given = marker.get("color")
            paint = [colour(c) for c in values(given)] if not isinstance(given, str | None) else colour(given or own)
            sizes = marker.get("size", 6)
            area = np.square(np.asarray(values(sizes) if not isinstance(sizes, int | float) else sizes, float) * 0.75)
            symbol = marker.get("symbol", "circle")
            shape = _MARKS.get(symbol.removesuffix("-open") if isinstance(symbol, str) else "circle", "o")
            faint = float(marker.get("opacity", 1)) * float(trace.get("opacity", 1))
            is_open = isinstance(symbol, str) and symbol.endswith("-open")
            has_no_inside = shape in "_|"
            is_hollow = is_open and not has_no_inside
            fill: dict[str, Any] = {"facecolor": _GROUND, "edgecolor": paint} if is_hollow else {"color": paint}
            if has_no_inside:  # a dash: drawn by its line
                line_of = marker.get("line") or {}
                fill = {
                    "color": colour(line_of.get("color"), own or _MAIN),
                    "linewidths": line_of.get("width", 1) * 0.75,
                }
            self.axes.scatter(x, y, s=area, marker=shape, label=label, zorder=3, alpha=faint, **fill)
        self._doubt(trace, x, y)
        if "text" in mode:
            for place, height, text in zip(x, y, values(trace.get("text")), strict=False):
                self.axes.annotate(plain(text), (place, height), fontsize=8, color=_INK, ha="center", va="bottom")
        self._before = (x, y)

    def _doubt(self, trace: Trace, x: Any, y: Any) -> None:
        """Draw the interval of each mark."""
        for letter in ("x", "y"):
            said = trace.get(f"error_{letter}") or {}
            if said.get("array") is None or said.get("visible") is False:
                continue
            up = np.nan_to_num(np.asarray(values(said["array"]), float))
            down = (
                np.nan_to_num(np.asarray(values(said["arrayminus"]), float))
                if said.get("arrayminus") is not None
                else up
            )
            sides = {f"{letter}err": np.clip(np.vstack([down, up]), 0, None)}
            paint = colour(said.get("color"), _INK)
            self.axes.errorbar(x, y, fmt="none", ecolor=paint, elinewidth=1.2, capsize=3, zorder=4, **sides)

    def _bar(self, trace: Trace) -> None:
        is_flat = trace.get("orientation") == "h"
        along, across = (self.y, self.x) if is_flat else (self.x, self.y)
        place = along.places(trace.get("y" if is_flat else "x"))
        size = np.nan_to_num(across.places(trace.get("x" if is_flat else "y")))
        mode, gap = self.layout.get("barmode", "group"), float(self.layout.get("bargap", 0.2))
        step = float(np.min(np.diff(np.unique(place)))) if along.is_date and len(np.unique(place)) > 1 else 1.0
        thick: Any = step * (1 - gap)
        shift = 0.0
        if mode == "group" and len(self._bars) > 1:
            thick /= len(self._bars)
            shift = (self._bars.index(trace) - (len(self._bars) - 1) / 2) * thick
        if trace.get("width") is not None:
            thick = np.asarray(trace["width"], float) / (DAY_MS if along.is_date else 1)
        base = np.zeros(len(place))
        if trace.get("base") is not None:
            base = np.broadcast_to(across.places(np.atleast_1d(np.asarray(values(trace["base"]), float))), place.shape)
        elif mode in ("stack", "relative"):
            for i, (p, v) in enumerate(zip(place, size, strict=True)):
                base[i] = self._base.get((p, v < 0), 0.0)
                self._base[p, bool(v < 0)] = base[i] + v
        marker = trace.get("marker") or {}
        given = marker.get("color")
        paint = [colour(c) for c in values(given)] if not isinstance(given, str | None) else colour(given)
        signs = (marker.get("pattern") or {}).get("shape") or ""
        label = plain(trace["name"]) if trace.get("name") and trace.get("showlegend", True) else None
        how: dict[str, Any] = {"color": paint, "label": label, "edgecolor": _GROUND, "linewidth": 0.4, "zorder": 2}
        draw = self.axes.barh if is_flat else self.axes.bar
        drawn = draw(place + shift, size, thick, base, **how)
        for patch, sign in zip(drawn, [signs] * len(place) if isinstance(signs, str) else values(signs), strict=False):
            patch.set_hatch(_HATCHES.get(str(sign), ""))
        ends = base + size
        self._doubt(trace, *((ends, place + shift) if is_flat else (place + shift, ends)))
        texts = values(trace.get("text")) if not isinstance(trace.get("text"), str) else []
        for end, at, text in zip(ends, place + shift, texts, strict=False):
            where = (end, at) if is_flat else (at, end)
            sides: dict[str, Any]
            offset, sides = ((3, 0), {"va": "center"}) if is_flat else ((0, 3), {"ha": "center"})
            if text:
                self.axes.annotate(
                    plain(text), where, xytext=offset, textcoords="offset points", fontsize=8, color=_INK, **sides
                )

    def _heatmap(self, trace: Trace) -> None:
        cells = np.array([[np.nan if v is None else float(v) for v in values(row)] for row in values(trace.get("z"))])
        x, y = self.x.places(trace.get("x")), self.y.places(trace.get("y"))
        if not cells.size:
            return
        scale = trace.get("colorscale")
        steps = [(float(at), colour(c)) for at, c in scale] if scale and not isinstance(scale, str) else None
        shades = LinearSegmentedColormap.from_list("own", steps) if steps else "Blues"
        low, high = trace.get("zmin"), trace.get("zmax")
        mesh = self.axes.pcolormesh(x, y, cells, cmap=shades, vmin=low, vmax=high, shading="nearest", edgecolor=_GROUND)
        is_dark = mesh.to_rgba(cells)[..., :3] @ [0.3, 0.6, 0.1] < 0.5
        for row, texts in enumerate(values(trace.get("text"))):
            for column, text in enumerate(values(texts) if not isinstance(texts, str) else []):
                if text not in (None, ""):
                    ink = _GROUND if is_dark[row, column] else _INK
                    self.axes.text(x[column], y[row], plain(text), ha="center", va="center", fontsize=8, color=ink)

    def _sankey(self, trace: Trace) -> None:
        node, link = trace.get("node") or {}, trace.get("link") or {}
        names, paints = values(node.get("label")), node.get("color")
        links = [
            (int(a), int(b), float(v))
            for a, b, v in zip(*(values(link.get(k)) for k in ("source", "target", "value")), strict=True)
            if v
        ]
        boxes, unit = _placed(len(names), links)
        shades = values(paints) if paints is not None and not isinstance(paints, str) else [paints] * len(names)
        left, entered = {n: b[1] for n, b in boxes.items()}, {n: b[1] for n, b in boxes.items()}
        for source, target, size in links:
            x0, x1 = boxes[source][0], boxes[target][0]
            tall, a, b = size * unit, left[source], entered[target]
            left[source], entered[target] = a + tall, b + tall
            middle, start = (x0 + x1 + 0.03) / 2, x0 + 0.03
            corners = [(start, a), (middle, a), (middle, b), (x1, b), (x1, b + tall), (middle, b + tall)]
            corners += [(middle, a + tall), (start, a + tall), (start, a)]
            moves = [Outline.MOVETO, *[Outline.CURVE4] * 3, Outline.LINETO, *[Outline.CURVE4] * 3, Outline.CLOSEPOLY]
            flow = PathPatch(Outline(corners, moves), facecolor=(*colour(shades[source])[:3], 0.3), linewidth=0)
            self.axes.add_patch(flow)
        for n, (x, y, tall) in boxes.items():
            self.axes.add_patch(Rectangle((x, y), 0.03, tall, facecolor=colour(shades[n]), linewidth=0))
            is_last = x > 0.9
            spot, side = (x - 0.01, "right") if is_last else (x + 0.04, "left")
            self.axes.text(spot, y + tall / 2, plain(names[n]), ha=side, va="center", fontsize=8, color=_INK)
        self.axes.set_xlim(0, 1.03)
        self.axes.set_ylim(1, 0)
        self.axes.set_axis_off()

    def _shape(self, shape: Trace) -> None:
        line = shape.get("line") or {}
        how: dict[str, Any] = {
            "color": colour(line.get("color"), _INK),
            "linestyle": _DASHES.get(line.get("dash", "solid"), "-"),
        }
        how["linewidth"] = float(line.get("width", 1))
        if shape.get("type") == "line" and shape.get("y0") == shape.get("y1"):
            self.axes.axhline(self.y.places([shape["y0"]])[0], **how)
        elif shape.get("type") == "line" and shape.get("x0") == shape.get("x1"):
            self.axes.axvline(self.x.places([shape["x0"]])[0], **how)
        else:
            raise ExportError("A picture cannot draw this mark. Take the table of this chart instead.")

    def _annotation(self, said: Trace) -> None:
        if not said.get("text"):
            return
        across = self.axes.get_xaxis_transform() if str(said.get("yref", "")).endswith("paper") else None
        down = (
            self.axes.get_yaxis_transform()
            if "paper" in str(said.get("xref", "")) or "domain" in str(said.get("xref", ""))
            else None
        )
        x = float(said.get("x", 0)) if down else self.x.places([said.get("x")])[0]
        y = float(said.get("y", 0)) if across else self.y.places([said.get("y")])[0]
        where = self.axes.transAxes if across and down else across or down or self.axes.transData
        sides = {"left": "left", "right": "right"}
        ha = sides.get(said.get("xanchor", ""), "center")
        ink = colour((said.get("font") or {}).get("color"), _INK)
        chip = {"facecolor": colour(said["bgcolor"]), "edgecolor": "none", "pad": 2} if said.get("bgcolor") else None
        how: dict[str, Any] = {"fontsize": 8, "color": ink, "ha": ha, "va": "bottom", "bbox": chip, "xycoords": where}
        how |= {"xytext": (0, 4 if chip else 0), "textcoords": "offset points", "annotation_clip": False}
        self.axes.annotate(plain(said["text"]), (x, y), **how)

    def _dress(self) -> None:
        """Draw axes, their titles and ticks, and the legend."""
        for which, axis in (("x", self.x), ("y", self.y)):
            self._ticks(which, axis)
        for side in ("top", "right", "left"):
            self.axes.spines[side].set_visible(False)
        self.axes.tick_params(colors=_INK, labelsize=8, length=0)
        handles, _ = self.axes.get_legend_handles_labels()
        if self.layout.get("showlegend") and handles:
            said = self.layout.get("legend") or {}
            height = 1 if said.get("yref") == "container" else max(float(said.get("y") or 1), 1)
            self.axes.legend(loc="lower left", bbox_to_anchor=(0, height), ncols=4, frameon=False, fontsize=8)

    def _ticks(self, which: str, axis: _Axis) -> None:
        said, drawn = axis.said, self.axes.xaxis if which == "x" else self.axes.yaxis
        title = said.get("title") or {}
        text = title.get("text") if isinstance(title, Mapping) else title
        drawn.set_label_text(plain(text or ""), fontsize=9, color=_INK)
        if said.get("tickvals") is not None:
            names = [plain(t) for t in values(said.get("ticktext"))]
            drawn.set_ticks(list(axis.places(said["tickvals"])), labels=names or None)
        elif axis.names is not None:
            drawn.set_ticks(range(len(axis.names)), labels=[plain(n) for n in axis.names])
        elif axis.is_date:
            self.axes.xaxis_date() if which == "x" else self.axes.yaxis_date()
        else:
            drawn.set_major_locator(MaxNLocator(int(said.get("nticks") or 6), steps=[1, 2, 2.5, 5, 10]))
            drawn.set_major_formatter(
                FuncFormatter(lambda v, _: written(v, self._separators(), said.get("ticksuffix")))
            )
            if said.get("showgrid", True):
                drawn.grid(visible=True, color=colour(said.get("gridcolor"), "#E4E7EA"), linewidth=0.6)
                self.axes.set_axisbelow(True)
        drawn.set_visible(said.get("visible", True) is not False)
        limits = (self.axes.set_xlim, self.axes.set_ylim)[which == "y"]
        if axis.names is not None and said.get("range") is None:
            limits(-0.5, len(axis.names) - 0.5)
        if said.get("range") is not None:
            limits(*axis.places(said["range"]))
        elif said.get("rangemode") == "tozero":
            low, high = (self.axes.get_xlim, self.axes.get_ylim)[which == "y"]()
            limits(min(low, 0), max(high, 0))
        if said.get("autorange") == "reversed":
            drawn.set_inverted(True)

    def _separators(self) -> str:
        return str(self.layout.get("separators") or ".,")


def written(value: float, separators: str = ".,", suffix: str | None = None) -> str:
    r"""Write a number of an axis with a figure's separators: the sign of decimals, then that of thousands.

    >>> written(1234.5, ",\u202f"), written(30.0, ".,", "%")
    ('1\u202f234,5', '30%')
    """
    text = f"{value:,.10g}"
    point, group = separators[0], separators[1:]
    return text.replace(",", "\0").replace(".", point).replace("\0", group).replace("-", "\u2212") + (suffix or "")


Box = tuple[float, float, float]
GAP = 0.04  # between two boxes of a flow, of the whole height


def _placed(count: int, links: Sequence[tuple[int, int, float]]) -> tuple[dict[int, Box], float]:
    """Place the boxes of a flow by the longest way to each: (x, y, height) of 0 to 1, and the height of one unit.

    Raises ExportError for a flow that comes back to itself.
    """
    depth = dict.fromkeys(range(count), 0)
    for turn in range(count + 1):
        before = dict(depth)
        for source, target, _ in links:
            depth[target] = max(depth[target], depth[source] + 1)
        if depth == before:
            break
        if turn == count:
            raise ExportError("A picture cannot draw a flow that comes back to itself. Take its table instead.")
    through = {
        n: max(sum(v for a, _, v in links if a == n), sum(v for _, b, v in links if b == n)) for n in range(count)
    }
    columns: dict[int, list[int]] = {}
    for n, at in depth.items():
        if through[n]:
            columns.setdefault(at, []).append(n)
    rooms = [(1 - GAP * (len(ns) - 1)) / sum(through[n] for n in ns) for ns in columns.values()]
    unit, last = min(rooms, default=0.0), max(columns, default=1) or 1
    boxes: dict[int, Box] = {}
    for at, ns in columns.items():
        top = 0.0
        for n in ns:
            boxes[n] = (at / last, top, through[n] * unit)
            top += through[n] * unit + GAP
    return boxes, unit
