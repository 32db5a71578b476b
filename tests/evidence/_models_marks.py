"""Verdicts on actions, marks, rankings, intervals of promises and charts, in worlds written apart from them."""

from collections.abc import Iterator

from tests.evidence import Claim, _marks_actions, _marks_lists


def claims() -> Iterator[Claim]:
    """Prove the claims of each part one after the other."""
    for part in (_marks_actions, _marks_lists):
        yield from part.claims()
