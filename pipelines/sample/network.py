"""The places of the network: areas, stores, hubs, sites and drop-off points, and which of them serve an area.

How a return passes them is in `chain.py`. The one idea: a place is a row of a small table.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.sample.draws import Array
from pipelines.sample.shop import World

POINT_NAMES = {"locker": "consigne", "mail": "bureau", "drop_off": "relais"}


@dataclass
class Network:
    """The places, and which of them serve an area (market x area; -1 where there is none)."""

    places: list[dict[str, Any]]
    area: Array
    store_of: Array
    hub_of: Array
    point_of: Array  # carrier x method x market x area
    site: dict[str, int]

    def column(self, name: str) -> Array:
        """One attribute of all places."""
        return np.array([place[name] for place in self.places])


def straight_km(lat: Array, lon: Array, to_lat: Array, to_lon: Array) -> Array:
    """Great-circle distance in km (haversine, radius 6371 km).

    >>> round(float(straight_km(np.array(48.9), np.array(2.4), np.array(45.8), np.array(4.8))))
    389
    """
    a, b = np.radians(lat), np.radians(to_lat)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(to_lon - lon) / 2) ** 2
    km: Array = 2 * 6371 * np.arcsin(np.sqrt(half))
    return km


@dataclass
class _Layout:
    """The places laid out so far; `area` has the customer area of each market and position (-1 where there is none)."""

    world: World
    places: list[dict[str, Any]] = field(default_factory=list)
    area: Array = field(init=False)

    def __post_init__(self) -> None:
        areas = self.world.parameters["areas"]
        self.area = np.full((len(self.world.markets), max(map(len, areas.values()))), -1)

    def add(self, place_id: str, kind: str, name: str, country: str, lat: float, lon: float, area: str = "") -> int:
        """Add a place and give its position."""
        self.places.append(
            {
                "place_id": place_id,
                "kind": kind,
                "name": name,
                "country": country,
                "area": area,
                "latitude": round(lat, 1),
                "longitude": round(lon, 1),
                "time_zone": self.world.parameters["markets"][country]["zone"],
            }
        )
        return len(self.places) - 1

    def gap_km(self, here: int, there: int) -> float:
        """Great-circle distance of two places in km."""
        a, b = (self.places[at] for at in (here, there))
        ends = [np.array(place[axis]) for place in (a, b) for axis in ("latitude", "longitude")]
        return float(straight_km(*ends))

    def nearest(self, candidates: list[tuple[int, str]], within_km: float = np.inf) -> Array:
        """Give the nearest candidate of each area's own country, -1 where none is within reach.

        `candidates` are positions of places and their countries.
        """
        closest = np.full(self.area.shape, -1)
        for m, market in enumerate(self.world.markets):
            own = [at for at, country in candidates if country == market]
            for a in range(len(self.world.parameters["areas"][market])):
                gap = [self.gap_km(self.area[m, a], at) for at in own]
                if own and min(gap) <= within_km:
                    closest[m, a] = own[int(np.argmin(gap))]
        return closest


def build_network(world: World, methods: tuple[str, ...]) -> Network:
    """Lay out areas, stores, drop-off points, lockers, hubs and sites."""
    p, layout = world.parameters, _Layout(world)
    for m, market in enumerate(world.markets):
        for a, (postcode, _town, lat, lon, _weight) in enumerate(p["areas"][market]):
            code = f"{market}-{postcode[:2]}"
            layout.area[m, a] = layout.add(f"area-{code}", "customer_area", "", market, lat, lon, code)
    stores, hubs = (
        [
            (layout.add(f"{kind}-{i:02d}", kind, name, country, lat, lon), country)
            for i, (country, name, lat, lon) in enumerate(rows, 1)
        ]
        for kind, rows in (("store", p["stores"]), ("hub", p["hubs"]))
    )
    site = {
        kind: layout.add(kind.replace("_", "-"), kind, name, country, lat, lon)
        for kind, (name, country, lat, lon) in p["sites"].items()
    }
    point = _drop_off_points(layout, methods)
    store_of = layout.nearest(stores, p["store_reach"])
    return Network(layout.places, layout.area, store_of, layout.nearest(hubs), point, site)


def _drop_off_points(layout: _Layout, methods: tuple[str, ...]) -> Array:
    """Lay out each carrier's drop-off points, lockers and post offices: one a method in every area of its markets."""
    world, p = layout.world, layout.world.parameters
    point = np.full((len(p["carriers"]), len(methods), *layout.area.shape), -1)
    for c, (carrier, row) in enumerate(p["carriers"].items()):
        served = [(m, market) for m, market in enumerate(world.markets) if market in row["markets"]]
        offered = [(k, method) for k, method in enumerate(methods) if method in row["methods"]]
        for m, market in served:
            for a, (postcode, town, lat, lon, _weight) in enumerate(p["areas"][market]):
                code = f"{market}-{postcode[:2]}"
                for k, method in offered:
                    if method != "home_pickup":
                        kind = "locker" if method == "locker" else "drop_off"
                        name = f"{carrier} {POINT_NAMES[method]} {town}"
                        place_id = f"{method}-{c + 1}-{code}"
                        point[c, k, m, a] = layout.add(place_id, kind, name, market, lat, lon, code)
    return point
