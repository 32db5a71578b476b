"""Pulling: files fetched from a shop system or a carrier when an operator asks for it, and only then.

What is fetched is written into a folder that `backhaul load` reads; how far a pull got stands in a hidden file beside
it, so that one that was killed goes on. Nothing else in the product fetches anything. `client` sends and tries again,
`place` keeps what was got; `shopify`, `dhl` and `objects` know what to ask for.
"""

from pipelines.pull.dhl import pull_dhl
from pipelines.pull.objects import pull_objects
from pipelines.pull.shopify import pull_shopify

__all__ = ["pull_dhl", "pull_objects", "pull_shopify"]
