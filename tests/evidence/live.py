"""Live data in: a shop that runs by itself.

Web hooks, interfaces and databases that are killed, faulty and in disorder are held against what they were made from;
quarantine, history and a week of scheduled loads against counts made apart; a crowd reads while loads publish; a build
made in little memory, or in shards, against that made at once. Parts can be run alone,
`python -m tests.evidence.live receiver week`, and are kept (`tests.evidence._kept`).
"""

import sys
from collections.abc import Iterator

from tests.evidence import (
    Claim,
    _kept,
    _live_crowd,
    _live_database,
    _live_history,
    _live_pull,
    _live_quarantine,
    _live_receiver,
    _live_scale,
    _live_shards,
    _live_week,
)

PARTS = {
    "receiver": _live_receiver.claims,
    "quarantine": _live_quarantine.claims,
    "database": _live_database.claims,
    "history": _live_history.claims,
    "pull": _live_pull.claims,
    "scale": _live_scale.claims,
    "shards": _live_shards.claims,
    "week": _live_week.claims,
    "crowd": _live_crowd.claims,
}


def claims() -> Iterator[Claim]:
    """Run every part that was not run of this product before, the quick ones first."""
    for name, part in PARTS.items():
        yield from _kept.known(f"live-{name}", part)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PARTS:
        for one in _kept.measured(f"live-{chosen}", PARTS[chosen]):
            print(f"{one.name}: {one.figure} (bar: {one.bar}): {'holds' if one.holds else 'falls short'}", flush=True)
