"""Return rates that hold when data are young and samples small.

Intervals cover what they promise, lists and flags point at the right products, verdicts on actions are seldom wrong.
Figures are pooled over many simulated shops with known truth, never read off one. A single shop may lie well beside
them.
"""

from collections.abc import Iterator

from tests.evidence import Claim, _rates_actions, _rates_change, _rates_online_retail, _rates_products, _rates_ultimate


def claims() -> Iterator[Claim]:
    """Prove the claims of each part one after the other."""
    for part in (_rates_ultimate, _rates_products, _rates_change, _rates_online_retail, _rates_actions):
        yield from part.claims()
