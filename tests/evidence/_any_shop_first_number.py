"""From file to first number.

README's three lines on the least file and on a file of every system that a mapping ships for.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.evidence import Claim
from tests.first_number import FirstNumber, of_least, of_system, systems

QUARTER = 15 * 60


def claims() -> Iterator[Claim]:
    """Follow the lines in a folder for each, and time them."""
    reached: dict[str, FirstNumber | None] = {}
    for name in ("the least file", *systems()):
        with tempfile.TemporaryDirectory() as folder:
            try:
                reached[name] = of_system(Path(folder), name) if name in systems() else of_least(Path(folder))
            except AssertionError:
                reached[name] = None
    times = {name: found.seconds for name, found in reached.items() if found is not None}
    failed = [name for name, found in reached.items() if found is None]
    yield Claim(
        "Files that README's three lines lead to a number on the landing page",
        f"all {len(reached)}",
        f"{len(times)}{', not: ' + ', '.join(failed) if failed else ''}",
        not failed,
    )
    slowest = max(times, key=lambda name: times[name])
    yield Claim(
        "Time from file to first number",
        f"at most {QUARTER} s",
        f"{times.get('the least file', float('nan')):.1f} s on the least file, {times[slowest]:.1f} s at most"
        f" ({slowest})",
        times[slowest] <= QUARTER,
    )
