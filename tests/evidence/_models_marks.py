"""Verdicts on actions, in worlds that were written apart from their estimators."""

from collections.abc import Iterator

from tests.evidence import Claim, _marks_actions


def claims() -> Iterator[Claim]:
    """Prove the claims of each part one after the other."""
    for part in (_marks_actions,):
        yield from part.claims()
