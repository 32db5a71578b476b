"""Return rates that hold when data are young and samples small: intervals cover what they promise, lists and flags point at the right products, verdicts on actions are seldom wrong.

Figures are pooled over many simulated shops with known truth, never read off one. A single shop may lie well beside them.
"""

from collections.abc import Iterator

from tests.evidence import Claim, _rates_change, _rates_products


def claims() -> Iterator[Claim]:
    """Prove the claims of each part one after the other."""
    yield from _rates_change.claims()
    yield from _rates_products.claims()
