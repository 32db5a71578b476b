"""What a run of the tests goes through by turns, and the proofs whole.

A product (pages by filters by languages, metrics by dimensions, verbs by faults) is gone through by a covering part of
it in `make test`: each of its values at least once. `make evidence ONLY=suite` goes through all of it, by the same
tests: with BACKHAUL_WHOLE set, `by_turns` gives every case, and what is marked `whole` runs too.
"""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

IS_WHOLE = bool(os.environ.get("BACKHAUL_WHOLE"))
T = TypeVar("T")


def by_turns(cases: Sequence[T], one_in: int, turn: int = 0) -> Sequence[T]:
    """Give one in so many of the cases, others at another turn; whole, give them all."""
    return cases if IS_WHOLE else cases[turn % one_in :: one_in]


def left_to_proofs(*values: Any) -> Any:
    """Give a case of a parametrized test that runs only in the proofs."""
    return pytest.param(*values, marks=pytest.mark.whole)


def kept(items: list[pytest.Item], config: pytest.Config) -> list[pytest.Item]:
    """Give the tests of this run, and tell pytest of those that it leaves to the proofs."""
    left = [] if IS_WHOLE else [item for item in items if item.get_closest_marker("whole")]
    if left:
        config.hook.pytest_deselected(items=left)
    return [item for item in items if item not in set(left)]
