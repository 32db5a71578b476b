"""What stands on a chart over time besides its numbers: notes as numbered ticks, and the target of each month.

Figures in, figures out, no Streamlit. A note stands on the mark its day falls into, so that a month and what happened
in it are seen together; its text stands beside the chart, under its number.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.i18n import Words, inert
from dashboard.shared.charts import copied
from dashboard.shared.tokens import CHIP, ON_CHIP, QUIET
from models.periods import grain_end
from pipelines.people.annotations import Annotation

MOST = 9  # notes on one chart
STRIP = 22  # pixels above a chart where numbers stand
NEAR = 0.05  # of the width: numbers closer than that are written together


@dataclass(frozen=True)
class Tick:
    """One note on a chart: its number, and the mark that it stands on."""

    number: int
    at: pd.Timestamp
    note: Annotation


def marks_in_time(figure: go.Figure) -> list[pd.Timestamp]:
    """List the days that the marks of a figure stand on, in order; nothing for one that is not over time."""
    found: set[pd.Timestamp] = set()
    for trace in figure.data:
        places = getattr(trace, "x", None)
        if places is None or not len(places):
            continue
        if not isinstance(next(iter(places)), dt.date | np.datetime64):
            return []
        found |= {pd.Timestamp(place) for place in places if not pd.isna(place)}
    return sorted(found)


def ticks(figure: go.Figure, notes: Sequence[Annotation]) -> tuple[list[Tick], int]:
    """Give a number to each note whose day a figure over time shows, and count those that it has no room for.

    Those that people wrote go first, then the newest.
    """
    marks = marks_in_time(figure)
    if not marks:
        return [], 0
    ends = [*marks[1:], pd.Timestamp(_end(marks)) + pd.Timedelta(days=1)]
    placed = [
        (at, note)
        for note in notes
        for at, end in zip(marks, ends, strict=True)
        if at <= pd.Timestamp(note.begins_on) < end
    ]
    first = sorted(placed, key=lambda one: (one[1].is_automatic, -one[1].begins_on.toordinal()))[:MOST]
    shown = sorted(first, key=lambda one: (one[1].begins_on, one[1].is_automatic, one[1].text))
    return [Tick(number, at, note) for number, (at, note) in enumerate(shown, 1)], len(placed) - len(shown)


def _end(marks: Sequence[pd.Timestamp]) -> dt.date:
    """Give the last day of the last mark: of its month where all marks are months."""
    if all(mark.day == 1 for mark in marks):
        return grain_end(marks[-1].date(), "month")
    steps = [(after - before).days for before, after in pairwise(marks)]
    return marks[-1].date() + dt.timedelta(days=max(min(steps, default=1), 1) - 1)


def ticked(figure: go.Figure, shown: Sequence[Tick]) -> go.Figure:
    """Draw notes on a figure: a line down its mark and a number above, numbers that would touch written together."""
    if not shown:
        return figure
    found, marks = copied(figure), marks_in_time(figure)
    for at in dict.fromkeys(tick.at for tick in shown):
        line = {"color": QUIET, "dash": "dot", "width": 1}
        found.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line=line, layer="below")
    width = max((marks[-1] - marks[0]) / pd.Timedelta(days=1), 1.0)
    groups: list[list[Tick]] = []
    for tick in shown:
        is_near = groups and (tick.at - groups[-1][-1].at) / pd.Timedelta(days=1) < NEAR * width
        groups[-1].append(tick) if is_near else groups.append([tick])
    for group in groups:
        first, last = group[0].number, group[-1].number
        found.add_annotation(
            x=group[0].at + (group[-1].at - group[0].at) / 2,
            y=1,
            yref="paper",
            yanchor="bottom",
            yshift=2,
            text=str(first) if first == last else f"{first}\u2013{last}",
            showarrow=False,
            font={"size": 11, "color": ON_CHIP},
            bgcolor=CHIP,
            borderpad=2,
        )
    height, top = found.layout.height or 300, (found.layout.margin.t or 0) + STRIP
    found.update_layout(height=height + STRIP, margin_t=top)
    if found.layout.showlegend and found.layout.legend.y == 1:
        found.update_layout(legend_y=1 + STRIP / max(height - 80, 100))
    return found


def with_targets(
    figure: go.Figure, words: Words, unit: str, months: Sequence[pd.Timestamp], held: Sequence[float]
) -> go.Figure:
    """Draw the target of each month that has one as a dash across its mark."""
    known = [(month, value) for month, value in zip(months, held, strict=True) if value == value]
    if not known:
        return figure
    found, scale = copied(figure), 100 if unit == "share" else 1
    hover = [words.pair(words("target.name"), words.quantity(value, unit)) for _, value in known]
    found.add_scatter(
        x=[month for month, _ in known],
        y=[value * scale for _, value in known],
        mode="markers",
        marker={"symbol": "line-ew", "size": 20, "color": CHIP, "line": {"color": QUIET, "width": 3}},
        name=words("target.name"),
        showlegend=True,
        hovertext=hover,
        hoverinfo="text",
    )
    if not found.layout.showlegend:
        found.update_layout(showlegend=True, margin_t=(found.layout.margin.t or 0) + 26)
    return found


def sentence(words: Words, note: Annotation) -> str:
    """Say a note in the reader's words: what somebody wrote, or what the warehouse knows."""
    parts = dict(note.parts)
    if not note.code:
        return inert(note.text)
    if note.code == "policy":
        markets = [code for code in parts["markets"].split(",") if code]
        named = ", ".join(words.value("country", code) for code in markets)
        where = words("note.markets", n=words.number(len(markets))) if len(markets) > 3 else named
        window = words("note.window", days=parts["days"]) if parts["days"] else ""
        return ", ".join(filter(None, [words("note.policy"), inert(where), window]))
    if note.code == "action":
        done = words("note.action", kind=words.value("kind", parts["kind"]))
        return words.pair(done, inert(parts["said"])) if parts["said"] else done
    if note.code == "factors":
        named_sets = {name: words.value("factor_set", text) for name, text in parts.items()}
        return words("note.factors", **named_sets)
    return words(f"note.{note.code}", **parts)


def about(words: Words, note: Annotation) -> str:
    """Say what a note is about, where that is not the whole shop."""
    named = note.where if note.code not in ("policy", "carrier_first", "carrier_last") else {}
    return words.semicolon.join(
        inert(words.pair(words.dimension(name), ", ".join(words.value(name, value) for value in values)))
        for name, values in named.items()
    )


def listed(words: Words, shown: Sequence[Tick]) -> list[str]:
    """Write what the numbers on a chart mean: number, day, kind, text, what it is about."""
    return [
        " · ".join(
            filter(
                None,
                [
                    f"**{tick.number}** {words.day(tick.note.begins_on)}",
                    words.value("note_kind", tick.note.kind),
                    sentence(words, tick.note),
                    about(words, tick.note),
                ],
            )
        )
        for tick in shown
    ]
