"""Models that earn their place, and numbers that hold when the world moves.

Shops come from worlds that were written apart from the product's simulator and from its models (`tests/worlds`); each
knows its truth. They are loaded and asked by the command line, as a user would, and what they say of what is to come
is held against what came. Bars are those of the plan; where a shop may say that something is the matter, a shop in
which nothing is must not.
"""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.evidence import Claim


def claims() -> Iterator[Claim]:
    """Prove the claims of every module `_models_*` beside this one, by name."""
    for module in sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)])):
        if module.startswith("_models_"):
            yield from import_module(f"tests.evidence.{module}").claims()
