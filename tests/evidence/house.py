"""One question, one door.

A number on a page carries the filters of the bar, or the page says by which it is not filtered. Every call of the
metrics that a page makes is watched, under each filter of the bar and on each part of each page.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from tests import filter_matrix
from tests.evidence import Claim

ORDERS = 6_000


def claims() -> Iterator[Claim]:
    """Open every page and part under every filter."""
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(warehouse=Path(place) / "warehouse")
        write_sample(Path(place) / "files", ORDERS, 7)
        load(settings, [Path(place) / "files"])
        found = filter_matrix.Matrix()
        for dimension, value in filter_matrix.values(settings.warehouse).items():
            filter_matrix.tried(settings.warehouse, filter_matrix.PAGES, {dimension: value}, found)
    print(*found.errors, *found.dropped, sep="\n", file=sys.stderr)
    figure = f"{found.cells} cells, {len(found.errors)} errors, {len(found.dropped)} silent drops"
    bar = "0 errors, 0 silent drops"
    yield Claim("Every page and part under every filter of the bar", bar, figure, not found.errors + found.dropped)
