"""What the marks of a figure say, as rows of text: the table beside a chart, for who does not see it.

Taken from the figure itself, so that both say the same; nothing is asked or worked out again. No Streamlit.
"""

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import MISSING, Words

Row = tuple[str, str, str]
"""Series, group and value of a mark, in words."""

_NAMED = re.compile(r"\u00a0?: |<br>")


def twin(figure: go.Figure, words: Words) -> pd.DataFrame:
    """Write each mark once, in the order it is drawn; a column that says nothing new is left out."""
    is_map = any(trace.type == "heatmap" for trace in figure.data)  # the marks upon its cells say them again
    rows: dict[tuple[str, str], str] = {}
    for trace in figure.data:
        if trace.visible is False or (is_map and trace.type != "heatmap"):
            continue
        for series, group, value in _of(trace, figure, words):
            if value != MISSING:
                rows.setdefault((group, value), series)
    names = words("rows.series"), words("rows.of"), words("today.value")
    frame = pd.DataFrame([(series, *mark) for mark, series in rows.items()], columns=list(names))
    silent = [name for name in names[:2] if frame[name].nunique() < 2 and (name == names[0] or not frame[name].any())]
    return frame.drop(columns=silent)


def _of(trace: Any, figure: go.Figure, words: Words) -> Iterator[Row]:
    """Give the rows of a trace."""
    if trace.type == "sankey":
        labels, link = trace.node.label, trace.link
        for start, end, units in zip(link.source, link.target, link.value, strict=True):
            yield "", f"{labels[start]} → {labels[end]}", words.number(units)
    elif trace.type == "heatmap":
        for down, line in zip(trace.y, trace.text, strict=True):
            yield from (
                ("", f"{_plain(down)}, {_plain(x)}", _plain(text))
                for x, text in zip(trace.x, line, strict=True)
                if text
            )
    elif trace.hoverinfo != "skip":
        series = _plain(trace.name or "")
        if trace.hovertext is None:
            yield from _read_off(trace, figure, words, series)
            return
        for text in [trace.hovertext] if isinstance(trace.hovertext, str) else trace.hovertext:
            group, value = [*_NAMED.split(str(text), maxsplit=1), ""][:2]
            group = group.removeprefix(f"{series}, ").removesuffix(f", {series}") if series else group
            value = re.sub(r"\s*<br>\s*", words.semicolon, value)  # what a mark says in several lines
            yield (series, _plain(group), value) if value else (series, "", _plain(group))


def _read_off(trace: Any, figure: go.Figure, words: Words, series: str) -> Iterator[Row]:
    """Read marks off the axes, where they have no words of their own."""
    across, up = figure.layout.xaxis.title.text or "", figure.layout.yaxis.ticksuffix or ""
    for x, y in zip(() if trace.x is None else trace.x, () if trace.y is None else trace.y, strict=False):
        if x is not None and y is not None and y == y:
            at = x if isinstance(x, str) else words.number(x)
            yield series, words.pair(across, at) if across else at, f"{words.number(y, 1)}{up}"


def _plain(text: Any) -> str:
    return re.sub(r"\s*<br>\s*", " ", str(text)).strip()
