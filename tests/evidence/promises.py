"""Promises that can be kept.

Times of stages with open returns counted as open, states that add up, due dates right to the day, risks that come true
as often as said. Statistics are pooled over many simulated stages and shops with known truth; dates are compared with
hand-worked cases and a slow reference.
"""

from collections.abc import Iterator

from tests.evidence import (
    Claim,
    _promises_calendar,
    _promises_legal,
    _promises_log,
    _promises_risk,
    _promises_slices,
    _promises_times,
)


def claims() -> Iterator[Claim]:
    """Prove the claims of each part one after the other."""
    for part in (_promises_times, _promises_slices, _promises_legal, _promises_calendar, _promises_log, _promises_risk):
        yield from part.claims()
