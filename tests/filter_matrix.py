"""Every page and part under every filter of the bar.

What was asked carries the filter, or the page says that it does not. Every door of `pipelines.metrics` and of
`pipelines.analyses` that takes a build is watched while a page runs. `python -m tests.filter_matrix WAREHOUSE` prints
cells tried, errors and silent drops.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

from streamlit.testing.v1 import AppTest

from dashboard.i18n import Words
from dashboard.shared import filters, places, queries, rows_behind
from pipelines import analyses, metrics
from pipelines.metrics import Question
from tests.every_part import HOME
from tests.pages import ADDRESSES, WITHOUT_NUMBERS, turn

PAGES = [address for address in ADDRESSES if address not in WITHOUT_NUMBERS]
ASKING = [
    queries,
    rows_behind,
    *(
        importlib.import_module(f"dashboard.app_pages.{sheet.place}.{sheet.subject}.data")
        for sheet in places.SHEETS
        if sheet.is_first and sheet.address not in WITHOUT_NUMBERS
    ),
]
NO_NUMBERS = {
    "dimensions",
    "own_dimensions",
    "dimension_values",
    "product_names",
    "coverage",
    "is_known",
    "lacking",
    "read_filters",
}
UNSEEN = {"values", "has_rows", "best_rates", "known"}  # what offers filters and chooses numbers shows none
EN = Words("en")


@dataclass
class Matrix:
    """Cells that were tried (page, part, filter), and what went wrong in them."""

    cells: int = 0
    errors: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def doors() -> list[tuple[Any, str, Any]]:
    """Name the functions that answer from a build, with the module that pages take each from."""
    every = [(m, n, getattr(m, n)) for m in (metrics, analyses) for n in m.__all__ if inspect.isfunction(getattr(m, n))]
    return [
        (m, n, f)
        for m, n, f in every
        if n not in NO_NUMBERS and next(iter(inspect.signature(f).parameters), "") == "build"
    ]


def _callers() -> set[str]:
    """Name the functions of the pages' questions that a call comes through."""
    found: set[str] = set()
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename in {module.__file__ for module in ASKING}:
            found.add(frame.f_code.co_name)
        frame = frame.f_back
    return found


@contextmanager
def watched() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Take down what pages ask, and by which filters."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def watch(name: str, door: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(door)
        def through(*args: Any, **options: Any) -> Any:
            callers = _callers()
            if callers and not callers & UNSEEN:
                key = args[1] if len(args) > 1 and isinstance(args[1], str) else ""
                question = next((a for a in (*args, *options.values()) if isinstance(a, Question)), Question())
                asked.append((f"{name} {key}".strip(), dict(question.where)))
            return door(*args, **options)

        return through

    with ExitStack() as stack:
        for module, name, door in doors():
            stack.enter_context(patch.object(module, name, watch(name, door)))
        yield asked


def forget() -> None:
    """Forget what pages have asked before."""
    for module in ASKING:
        for function in vars(module).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()


def written(app: AppTest) -> str:
    """Everything a page says about filters."""
    return "\n".join(
        str(c.value)
        for c in app.caption
        if EN("filter.unfiltered", names="") in str(c.value)
        or EN("filter.ignored", names="|").split("|")[0] in str(c.value)
    )


def tried(warehouse: Path, pages: list[str], chosen: dict[str, str], found: Matrix, *, parts: bool = True) -> None:
    """Open pages and their parts under filters and take down what asked without one of them in silence."""
    names = {dimension: EN.dimension(dimension).lower() for dimension in chosen}
    with patch.dict(os.environ, BACKHAUL_WAREHOUSE=str(warehouse)), watched() as asked:
        app = AppTest.from_file(str(HOME / "app.py"), default_timeout=600)
        for dimension, value in chosen.items():
            app.query_params[filters.widget_key(dimension)] = value
        for page in pages:
            turn(app, page)
            options: list[str | None] = [None]
            for option in options:  # the first view of a page tells its parts
                forget()
                asked.clear()
                if option is not None:
                    next(c for c in app.get("button_group") if c.key == "part").set_value(option)
                app.run()
                if option is None and parts:
                    options += _options(app)[1:]
                found.cells += 1
                at = f"{page}/{option or 'first'} under {', '.join(chosen)}"
                found.errors += [f"{at}: {e.value}" for e in (*app.exception, *app.error)]
                said = written(app)
                silent = sorted(
                    {
                        f"{door} without {d}"
                        for door, where in asked
                        for d in chosen
                        if d not in where and names[d] not in said
                    }
                )
                found.dropped += [f"{at}: {drop}" for drop in silent]


def _options(app: AppTest) -> list[str]:
    return next((list(c.options) for c in app.get("button_group") if c.key == "part"), [])


def values(warehouse: Path) -> dict[str, str]:
    """Give a value of each filter of the bar that has rows."""
    source = queries.source(warehouse)
    first: dict[str, str] = {}
    for dimension in (*filters.DIMENSIONS, *queries.own_dimensions(source)):
        listed = queries.values(source, dimension)
        if len(listed) > 1:
            first[dimension] = listed[0]
    return first


if __name__ == "__main__":
    home, matrix = Path(sys.argv[1]), Matrix()
    for name, value in values(home).items():
        tried(home, PAGES, {name: value}, matrix)
    print(*matrix.errors, *matrix.dropped, sep="\n")
    print(f"{matrix.cells} cells, {len(matrix.errors)} errors, {len(matrix.dropped)} silent drops")
