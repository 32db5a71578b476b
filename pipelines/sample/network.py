"""Where returns travel: places of the network, and the elements of each parcel's way back.

Times and carriers of a return come from `returns.py`. The one idea: a place is a row of a small table, an element of
the chain a row of columns with positions in it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.sample.draws import DAY, NEVER, Array, Columns, Rng, delay, pick
from pipelines.sample.shop import BOUNCED, PARCEL, TILL, TOTE, VOID, World

ROLES = ("customer_trip", "packaging", "first_mile", "hub", "trunk", "treatment", "onward")
ELEMENT_TYPES = ("transport", "hub", "activity")
MODES = ("foot", "bike", "car", "bus", "van", "truck", "site")
VEHICLES = (
    "van_diesel",
    "van_electric",
    "truck_rigid",
    "truck_artic",
    "car_average",
    "bus_local",
    "bike",
    "foot",
    "packaging_board",
    "packaging_film",
    "hub_sorting",
    "hub_returns_centre",
    "treatment_none",
    "treatment_reuse",
    "treatment_recycling",
    "treatment_energy_recovery",
)
FUELS = ("diesel", "electricity")
SERVICES = (
    "relay",
    "locker",
    "pickup",
    "mail",
    "tote",
    "return_to_sender",
    "linehaul",
    "sorting",
    "corrugated_box",
    "plastic_bag",
    "inspection",
)


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


def build_network(world: World, methods: tuple[str, ...]) -> Network:
    """Lay out areas, stores, drop-off points, lockers, hubs and sites."""
    p = world.parameters
    places: list[dict[str, Any]] = []

    def add(place_id: str, kind: str, name: str, country: str, lat: float, lon: float, area: str = "") -> int:
        zone = p["markets"][country]["zone"]
        places.append(
            {
                "place_id": place_id,
                "kind": kind,
                "name": name,
                "country": country,
                "area": area,
                "latitude": round(lat, 1),
                "longitude": round(lon, 1),
                "time_zone": zone,
            }
        )
        return len(places) - 1

    markets, widest = world.markets, max(len(rows) for rows in p["areas"].values())
    area = np.full((len(markets), widest), -1)
    for m, market in enumerate(markets):
        for a, (postcode, _town, lat, lon, _weight) in enumerate(p["areas"][market]):
            area[m, a] = add(
                f"area-{market}-{postcode[:2]}", "customer_area", "", market, lat, lon, f"{market}-{postcode[:2]}"
            )

    def nearest(candidates: list[tuple[int, str]], within_km: float = np.inf) -> Array:
        found = np.full((len(markets), widest), -1)
        for m, market in enumerate(markets):
            own = [at for at, country in candidates if country == market]
            for a in range(len(p["areas"][market])):
                here = places[area[m, a]]
                if own:
                    gap = [
                        straight_km(
                            np.array(here["latitude"]),
                            np.array(here["longitude"]),
                            np.array(places[at]["latitude"]),
                            np.array(places[at]["longitude"]),
                        )
                        for at in own
                    ]
                    found[m, a] = own[int(np.argmin(gap))] if min(gap) <= within_km else -1
        return found

    stores = [
        (add(f"store-{i:02d}", "store", name, country, lat, lon), country)
        for i, (country, name, lat, lon) in enumerate(p["stores"], 1)
    ]
    hubs = [
        (add(f"hub-{i:02d}", "hub", name, country, lat, lon), country)
        for i, (country, name, lat, lon) in enumerate(p["hubs"], 1)
    ]
    site = {
        kind: add(kind.replace("_", "-"), kind, name, country, lat, lon)
        for kind, (name, country, lat, lon) in p["sites"].items()
    }
    point = np.full((len(p["carriers"]), len(methods), len(markets), widest), -1)
    for c, (carrier, row) in enumerate(p["carriers"].items()):
        for m, market in enumerate(markets):
            for a, (postcode, town, lat, lon, _weight) in enumerate(p["areas"][market]):
                if market not in row["markets"]:
                    continue
                for k, method in enumerate(methods):
                    if method in row["methods"] and method != "home_pickup":
                        kind = "locker" if method == "locker" else "drop_off"
                        label = {"locker": "consigne", "mail": "bureau", "drop_off": "relais"}[method]
                        point[c, k, m, a] = add(
                            f"{method}-{c + 1}-{market}-{postcode[:2]}",
                            kind,
                            f"{carrier} {label} {town}",
                            market,
                            lat,
                            lon,
                            f"{market}-{postcode[:2]}",
                        )
    return Network(places, area, nearest(stores, p["store_reach"]), nearest(hubs), point, site)


def chain(
    rng: Rng, world: World, network: Network, lines: Columns, back: Columns, load: Columns, methods: tuple[str, ...]
) -> Columns:
    """Lay out every element of every way back that happens.

    `load` gives each return its goods' mass (kg), the time its treatment ended (`finished`) and, by its first lot, its
    `treatment` (0 none, 1 reuse, 2 recycling, 3 energy recovery) and where it goes `onward` (0 warehouse, 1 store, 2
    refurbisher, 3 recycler). Returns one array a column; `at` is
    the return, -1 means empty in place, carrier and word columns, NaN in numbers.
    """
    p = world.parameters

    goes = np.flatnonzero(back["kind"] != VOID)
    n = len(goes)
    take = {name: values[goes] for name, values in back.items()}
    line, way, method, carrier = take["line"], take["way"], take["method"], take["carrier"]
    market, area = lines["market"][line], lines["area"][line]
    from_area = network.area[market, area]
    store, hub = network.store_of[market, area], network.hub_of[market, area]
    is_carried = (way == PARCEL) | (way == BOUNCED)
    point = network.point_of[np.where(is_carried, carrier, 0), np.maximum(method, 0), market, area]
    entry = np.where((way == TILL) | (way == TOTE), store, np.where(point >= 0, point, from_area))
    centre, names = network.site["returns_centre"], list(p["carriers"])
    trunk_carrier = len(names)
    lat, lon = network.column("latitude"), network.column("longitude")
    is_home = method == methods.index("home_pickup")

    pack = pick(
        rng,
        n,
        [
            p["packaging"]["box_share"],
            p["packaging"]["bag_share"],
            1 - p["packaging"]["box_share"] - p["packaging"]["bag_share"],
        ],
    )
    spread = np.exp(0.3 * rng.standard_normal(n))
    pack_kg = np.where(
        pack == 0, p["packaging"]["box_kg"] * spread, np.where(pack == 1, p["packaging"]["bag_kg"] * spread, 0.0)
    )
    reused_kg = np.where(pack == 2, 0.15, 0.0)
    gross = load["mass"][goes] + np.where(way == PARCEL, pack_kg + reused_kg, np.where(way == BOUNCED, 0.25, 0.02))
    weighed = np.where(rng.random(n) < p["mass_weighed"], np.round(gross, 3), np.nan)

    trip = p["customer_trip"]
    trip_mode = pick(rng, n, [trip["modes"][name] for name in ("foot", "bike", "car", "bus")])
    dedicated = rng.random(n) < np.where(way == PARCEL, trip["dedicated_share"], 0.1)
    low, high = trip["combined_share"]
    trip_share = np.where(dedicated, 1.0, np.round(rng.uniform(low, high, n), 2))
    trip_km = delay(rng, n, **trip["distance"]) / DAY * np.array([0.15, 0.4, 1.0, 1.2])[trip_mode]
    trip_km = np.where(rng.random(n) < trip["distance_known"], np.maximum(np.round(trip_km, 1), 0.1), np.nan)

    def road(start: Array, end: Array) -> Array:
        straight = straight_km(lat[start], lon[start], lat[end], lon[end])
        driven: Array = np.round(
            np.maximum(straight, 4.0) * p["road_circuity"] * rng.uniform(0.96, 1.06, len(start)), 1
        )
        return driven

    reports = np.array([row["reports_distance"] for row in p["carriers"].values()] + [True])
    electric = rng.random(n) < np.array([row["electric"] for row in p["carriers"].values()] + [0.2])[carrier]
    handed, scanned, received = take["handed"], take["scanned"], take["received"]
    drop = np.where(way == TILL, take["requested"], handed)
    arrival = np.where(np.isfinite(received), received, NEVER)
    hub_in = scanned + np.floor(0.15 * (np.where(np.isfinite(arrival), arrival, scanned + 4 * DAY) - scanned))
    hub_out = hub_in + np.floor(0.25 * (np.where(np.isfinite(arrival), arrival, scanned + 4 * DAY) - scanned))
    is_lost = np.isfinite(take["lost"])
    lost_before_hub = is_lost & (rng.random(n) < 0.5)

    tote = np.full(n, -1)
    filled = np.flatnonzero(way == TOTE)
    if len(filled):
        order = filled[np.lexsort((handed[filled], store[filled]))]
        tote[order] = np.arange(len(order)) // world.stories["totes"]["items"]
    items = world.stories["totes"]["items"] if len(filled) else 0
    day = np.floor(np.where(np.isfinite(scanned), scanned, 0) / DAY)

    blocks: list[Columns] = []

    def block(rows: Array, number: int, kind: str, role: str, start: Array, end: Array, **more: Any) -> None:
        columns: Columns = {
            "at": goes[rows],
            "no": np.full(len(rows), number),
            "type": np.full(len(rows), ELEMENT_TYPES.index(kind)),
            "role": np.full(len(rows), ROLES.index(role)),
            "start": start[rows],
            "end": end[rows],
        }
        empty = {
            "from": -1,
            "to": -1,
            "carrier": -1,
            "service": -1,
            "mode": -1,
            "vehicle": -1,
            "fuel": -1,
            "round": -1,
            "tote": -1,
            "shared": -1,
            "mass": np.nan,
            "km": np.nan,
            "trip_share": np.nan,
            "cost": np.nan,
        }
        for name, default in empty.items():
            value = more.get(name, default)
            columns[name] = value[rows] if isinstance(value, np.ndarray) else np.full(len(rows), value)
        blocks.append(columns)

    invoiced = {
        name: np.where(rng.random(n) < p["cost_invoiced"], 1.0, np.nan) for name in ("first", "hub", "trunk", "onward")
    }
    noise = np.exp(0.12 * rng.standard_normal(n))

    rows = np.flatnonzero((way != BOUNCED) & ~is_home)
    block(
        rows,
        1,
        "activity",
        "customer_trip",
        drop - 900,
        drop,
        **{"from": from_area, "to": entry},
        mode=trip_mode,
        vehicle=np.array([VEHICLES.index(name) for name in ("foot", "bike", "car_average", "bus_local")])[trip_mode],
        km=trip_km,
        trip_share=trip_share,
    )

    rows = np.flatnonzero((way == PARCEL) & (pack < 2))
    block(
        rows,
        2,
        "activity",
        "packaging",
        handed - 3600,
        handed,
        service=np.where(pack == 0, SERVICES.index("corrugated_box"), SERVICES.index("plastic_bag")),
        mode=MODES.index("site"),
        vehicle=np.where(pack == 0, VEHICLES.index("packaging_board"), VEHICLES.index("packaging_film")),
        mass=np.round(pack_kg, 3),
        **{"from": from_area, "to": from_area},
    )

    rows = np.flatnonzero(((way == PARCEL) | (way == TOTE)) & ~lost_before_hub)
    van = np.where(electric, VEHICLES.index("van_electric"), VEHICLES.index("van_diesel"))
    energy = np.where(electric, FUELS.index("electricity"), FUELS.index("diesel"))
    service = np.array([0, 1, 2, 4, 3])[np.maximum(method, 0)]
    rates = np.array([p["leg_cost"][name] for name in methods])
    first_cost = np.round(rates[np.maximum(method, 0)] * noise, 2) * invoiced["first"]
    round_no = np.where(is_home, (day * 100 + hub).astype(np.int64), -1)
    first_km = np.where(
        is_home, float(p["van_round"]["distance"]), np.where(reports[carrier], road(entry, hub), np.nan)
    )
    block(
        rows,
        3,
        "transport",
        "first_mile",
        np.maximum(scanned, handed),
        hub_in,
        **{"from": entry, "to": hub},
        carrier=carrier,
        service=service,
        mode=MODES.index("van"),
        vehicle=van,
        fuel=energy,
        mass=weighed,
        km=first_km,
        cost=first_cost,
        round=round_no,
        shared=np.where(is_home, p["van_round"]["drops"], -1),
    )

    rows = np.flatnonzero((is_carried | (way == TOTE)) & ~lost_before_hub)
    block(
        rows,
        4,
        "hub",
        "hub",
        hub_in,
        hub_out,
        **{"from": hub, "to": hub},
        carrier=carrier,
        service=SERVICES.index("sorting"),
        mode=MODES.index("site"),
        vehicle=VEHICLES.index("hub_sorting"),
        mass=weighed,
        cost=np.round(p["leg_cost"]["hub"] * noise, 2) * invoiced["hub"],
    )

    rows = np.flatnonzero((is_carried | (way == TOTE)) & ~is_lost)
    to_centre = np.full(n, centre)
    trunk_km = road(hub, to_centre)
    artic = np.where(
        way == TOTE,
        VEHICLES.index("truck_artic"),
        np.where(rng.random(n) < 0.75, VEHICLES.index("truck_artic"), VEHICLES.index("truck_rigid")),
    )
    trunk_cost = (
        np.round(
            (p["leg_cost"]["trunk"] + p["leg_cost"]["trunk_per_km"] * trunk_km)
            * np.where(way == TOTE, 0.6, 1.0)
            * noise,
            2,
        )
        * invoiced["trunk"]
    )
    block(
        rows,
        5,
        "transport",
        "trunk",
        hub_out,
        received,
        **{"from": hub, "to": to_centre},
        carrier=trunk_carrier,
        service=np.where(way == TOTE, SERVICES.index("tote"), SERVICES.index("linehaul")),
        mode=MODES.index("truck"),
        vehicle=artic,
        fuel=FUELS.index("diesel"),
        mass=weighed,
        km=np.where(rng.random(n) < 0.8, trunk_km, np.nan),
        cost=trunk_cost,
        tote=tote,
        shared=np.where(tote >= 0, items, -1),
    )

    rows = np.flatnonzero((is_carried | (way == TOTE)) & ~is_lost)
    block(
        rows,
        6,
        "hub",
        "hub",
        received,
        take["inspected"],
        **{"from": to_centre, "to": to_centre},
        mode=MODES.index("site"),
        vehicle=VEHICLES.index("hub_returns_centre"),
        mass=np.round(gross, 3),
    )

    rows = np.flatnonzero(~is_lost)
    treated_at = np.where(way == TILL, store, centre)
    block(
        rows,
        7,
        "activity",
        "treatment",
        take["inspected"],
        load["finished"][goes],
        **{"from": treated_at, "to": treated_at},
        service=SERVICES.index("inspection"),
        mode=MODES.index("site"),
        vehicle=VEHICLES.index("treatment_none") + load["treatment"][goes],
        mass=np.round(load["mass"][goes], 3),
    )

    onward = load["onward"][goes]
    to = np.array([network.site["warehouse"], -1, network.site["refurbisher"], network.site["recycler"]])[
        np.maximum(onward, 0)
    ]
    to = np.where(onward == 1, np.where(store >= 0, store, network.site["warehouse"]), to)
    moves = ~is_lost & (onward >= 0) & (to != treated_at) & ((way != TILL) | (onward >= 2))
    rows = np.flatnonzero(moves)
    block(
        rows,
        8,
        "transport",
        "onward",
        load["finished"][goes] - np.floor(0.3 * (load["finished"][goes] - take["inspected"])),
        load["finished"][goes],
        **{"from": treated_at, "to": to},
        carrier=trunk_carrier,
        service=SERVICES.index("linehaul"),
        mode=MODES.index("truck"),
        vehicle=VEHICLES.index("truck_rigid"),
        fuel=FUELS.index("diesel"),
        mass=np.round(load["mass"][goes], 3),
        cost=np.round(p["leg_cost"]["onward"] * noise, 2) * invoiced["onward"],
    )
    return {name: np.concatenate([part[name] for part in blocks]) for name in blocks[0]}
