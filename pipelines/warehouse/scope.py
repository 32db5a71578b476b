"""What a reader may see: values allowed by market, brand or shop. How a build is cut to it is in `load/within`."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CUTS = {"markets": "country", "brands": "brand", "shops": "shop_id"}
"""What a reader is kept to, as readers' files say it, and the dimension it is a value of."""


@dataclass(frozen=True)
class Scope:
    """What the reader may see: values allowed per dimension; empty is everything.

    >>> Scope.of(markets=["FR"]).text
    'markets FR'
    >>> Scope.of(markets=["FR", "DE"]) == Scope.of(markets=["DE", "FR"]), bool(Scope())
    (True, False)
    """

    allowed: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, *, markets: Iterable[str] = (), brands: Iterable[str] = (), shops: Iterable[str] = ()) -> "Scope":
        """Keep to markets, brands and shops (ids, source first): a row must be of one of each that is named."""
        named = {"country": markets, "brand": brands, "shop_id": shops}
        return cls({name: tuple(sorted(set(values))) for name, values in named.items() if set(values)})

    @classmethod
    def read(cls, told: str) -> "Scope":
        """Read what `told` writes."""
        return cls({name: tuple(values) for name, values in json.loads(told or "{}").items()})

    @property
    def told(self) -> str:
        """Write it for machines, the same text for the same scope."""
        return json.dumps({name: sorted(map(str, values)) for name, values in sorted(self.allowed.items())})

    @property
    def text(self) -> str:
        """Write it for people; nothing for everything."""
        words = {dimension: word for word, dimension in CUTS.items()}
        return "; ".join(f"{words.get(n, n)} {', '.join(map(str, v))}" for n, v in sorted(self.allowed.items()))

    @property
    def key(self) -> str:
        """Name it in a file's name."""
        return hashlib.sha256(self.told.encode()).hexdigest()[:24]

    def only(self, *dimensions: str) -> "Scope":
        """Give the part of it that speaks of these dimensions."""
        return Scope({name: values for name, values in self.allowed.items() if name in dimensions})

    def holds(self, limits: Mapping[str, Iterable[Any]]) -> bool:
        """Say whether what is limited to values by dimension lies in it whole.

        >>> Scope.of(markets=["FR"]).holds({"country": ["FR"]}), Scope.of(markets=["FR"]).holds({"brand": ["Tilleul"]})
        (True, False)
        """
        named = {name: set(map(str, values)) for name, values in limits.items()}
        return all(named.get(name) and named[name] <= set(map(str, some)) for name, some in self.allowed.items())

    def __bool__(self) -> bool:
        """Say whether it keeps to anything."""
        return bool(self.allowed)

    def __hash__(self) -> int:
        return hash(self.told)


EVERYTHING = Scope()
