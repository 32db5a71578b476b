"""A small line of months beside a number: settled ones solid, those that still move as dots that go on from it.

Drawn here because none of Streamlit's has a dotted tail, or a name that a reader's software reads. No Streamlit.
"""

import tomllib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

from dashboard.shared.tokens import QUIET

_WIDTH, _HEIGHT, _EDGE = 120, 26, 3


@cache
def _markup() -> dict[str, str]:
    """Read the markup by name."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def spark(
    about: str,
    months: Sequence[float],
    is_young: Sequence[bool],
    colour: str,
    width: str,
    targets: Sequence[float] = (),
) -> str:
    """Draw the months of a number as an image with `about` as its text; nothing under two known months.

    `targets` are those of the months, NaN without one: each is a tick.
    """
    known = [(i, v, young) for i, (v, young) in enumerate(zip(months, is_young, strict=True)) if v == v]
    if len(known) < 2:
        return ""
    aims = [(i, v) for i, v in enumerate(targets) if v == v]
    every = [*(v for _, v, _ in known), *(v for _, v in aims)]
    low, high = min(every), max(every)
    step = (_WIDTH - 2 * _EDGE) / max(len(months) - 1, 1)

    def at(i: float, v: float) -> str:
        up = (v - low) / (high - low) if high > low else 0.5
        return f"{_EDGE + i * step:.1f},{_HEIGHT - _EDGE - up * (_HEIGHT - 2 * _EDGE):.1f}"

    mark = _markup()
    settled = [at(i, v) for i, v, young in known if not young]
    tail = [at(i, v) for i, v, young in known if young]
    ticks = (f"{at(max(i - 0.4, 0), v)} {at(min(i + 0.4, len(months) - 1), v)}" for i, v in aims)
    drawn = "".join(mark["tick"].format(points=points, colour=QUIET) for points in ticks)
    drawn += mark["solid"].format(points=" ".join(settled), colour=colour)
    if tail:
        drawn += mark["dotted"].format(points=" ".join([*settled[-1:], *tail]), colour=colour)
    coded = b64encode(mark["svg"].format(width=_WIDTH, height=_HEIGHT, lines=drawn).encode()).decode()
    return mark["image"].format(about=escape(about), width=width, height=_HEIGHT, coded=coded)
