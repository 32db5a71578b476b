"""Live data in: a shop that runs by itself.

Web hooks, interfaces and databases that are killed, faulty and in disorder are held against what they were made from;
quarantine, history and a week of scheduled loads against counts made apart. Parts can be run alone:
`python -m tests.evidence.live receiver week`.
"""

import sys
from collections.abc import Iterator

from tests.evidence import (
    Claim,
    _live_crowd,
    _live_database,
    _live_history,
    _live_pull,
    _live_quarantine,
    _live_receiver,
    _live_week,
)

PARTS = {
    "receiver": _live_receiver.claims,
    "quarantine": _live_quarantine.claims,
    "database": _live_database.claims,
    "history": _live_history.claims,
    "pull": _live_pull.claims,
    "week": _live_week.claims,
    "crowd": _live_crowd.claims,
}


def claims() -> Iterator[Claim]:
    """Run every part, the quick ones first."""
    for part in PARTS.values():
        yield from part()


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PARTS:
        for one in PARTS[chosen]():
            print(f"{one.name}: {one.figure} (bar: {one.bar}): {'holds' if one.holds else 'falls short'}", flush=True)
