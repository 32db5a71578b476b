"""The elements of each return's way back: trips, packaging, legs, hubs, treatment and what follows.

The places are those of `network.py`; times and carriers of a return come from `returns.py`. The one idea: an element of
the chain is a row of columns with positions in it, and each kind of element is laid out by one function.
"""

from typing import Any

import numpy as np

from pipelines.sample.draws import DAY, NEVER, Array, Columns, Rng, delay, pick
from pipelines.sample.network import Network, straight_km
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


EMPTY = {
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
"""What an element has of its own, and how each column says that there is none."""
NARROW: dict[str, type[np.signedinteger[Any]]] = {
    **dict.fromkeys(("no", "type", "role", "carrier", "service", "mode", "vehicle", "fuel"), np.int8),
    **dict.fromkeys(("at", "from", "to", "tote", "shared"), np.int32),
    "round": np.int64,
}
"""Types of whole numbers: elements are the most rows that are held."""


def chain(
    rng: Rng, world: World, network: Network, lines: Columns, back: Columns, load: Columns, methods: tuple[str, ...]
) -> Columns:
    """Lay out every element of every way back that happens.

    `load` gives each return its goods' mass (kg), the time its treatment ended (`finished`) and, by its first lot, its
    `treatment` (0 none, 1 reuse, 2 recycling, 3 energy recovery) and where it goes `onward` (0 warehouse, 1 store, 2
    refurbisher, 3 recycler). Returns one array a column; `at` is the return, -1 means empty in place, carrier and word
    columns, NaN in numbers.
    """
    ways = _ways(world, network, lines, back, load, methods)
    ways |= _packaging(rng, world, ways)
    ways |= _customer_trips(rng, world, ways)
    ways |= _hub_times(rng, world, ways)
    ways |= _totes(world, ways)
    ways |= _costs(rng, world, ways)
    blocks = [
        _customer_trip_element(ways),
        _packaging_element(ways),
        _first_mile(rng, world, network, ways, methods),
        _hub(world, ways),
        _trunk(rng, world, network, ways),
        _returns_centre(ways),
        _treatment(ways),
        _onward(world, network, ways),
    ]
    return {
        name: np.concatenate([part.pop(name).astype(NARROW.get(name, np.float64)) for part in blocks])
        for name in list(blocks[0])
    }


def _ways(
    world: World, network: Network, lines: Columns, back: Columns, load: Columns, methods: tuple[str, ...]
) -> Columns:
    """Give the ways back that happen, one row each: the return's own columns, its load, and the places it passes."""
    at = np.flatnonzero(back["kind"] != VOID)
    ways = {name: values[at] for name, values in (back | load).items()} | {"at": at}
    way, method = ways["way"], ways["method"]
    market, area = lines["market"][ways["line"]], lines["area"][ways["line"]]
    is_carried = (way == PARCEL) | (way == BOUNCED)
    point = network.point_of[np.where(is_carried, ways["carrier"], 0), np.maximum(method, 0), market, area]
    ways["area"], ways["store"] = network.area[market, area], network.store_of[market, area]
    ways["hub"], ways["centre"] = network.hub_of[market, area], np.full(len(at), network.site["returns_centre"])
    ways["entry"] = np.where((way == TILL) | (way == TOTE), ways["store"], np.where(point >= 0, point, ways["area"]))
    ways["treated_at"] = np.where(way == TILL, ways["store"], ways["centre"])
    ways["is_home"] = method == methods.index("home_pickup")
    ways["is_sent"] = is_carried | (way == TOTE)
    ways["is_lost"] = np.isfinite(ways["lost"])
    ways["trunk_carrier"] = np.full(len(at), len(world.parameters["carriers"]))
    return ways


def _packaging(rng: Rng, world: World, ways: Columns) -> Columns:
    """Draw what each return is packed in (0 box, 1 bag, 2 the one it came in), and its mass with it in kg.

    `weighed` is what the carrier knows of that mass.
    """
    p, way, n = world.parameters["packaging"], ways["way"], len(ways["at"])
    pack = pick(rng, n, [p["box_share"], p["bag_share"], 1 - p["box_share"] - p["bag_share"]])
    spread = np.exp(0.3 * rng.standard_normal(n))
    pack_kg = np.where(pack == 0, p["box_kg"] * spread, np.where(pack == 1, p["bag_kg"] * spread, 0.0))
    reused_kg = np.where(pack == 2, 0.15, 0.0)
    gross = ways["mass"] + np.where(way == PARCEL, pack_kg + reused_kg, np.where(way == BOUNCED, 0.25, 0.02))
    weighed = np.where(rng.random(n) < world.parameters["mass_weighed"], np.round(gross, 3), np.nan)
    return {"pack": pack, "pack_kg": pack_kg, "gross": gross, "weighed": weighed}


def _customer_trips(rng: Rng, world: World, ways: Columns) -> Columns:
    """Draw how customers bring their returns: the mode, the share of the trip that is for it, and km where known."""
    trip, n = world.parameters["customer_trip"], len(ways["at"])
    mode = pick(rng, n, [trip["modes"][name] for name in ("foot", "bike", "car", "bus")])
    dedicated = rng.random(n) < np.where(ways["way"] == PARCEL, trip["dedicated_share"], 0.1)
    low, high = trip["combined_share"]
    share = np.where(dedicated, 1.0, np.round(rng.uniform(low, high, n), 2))
    km = delay(rng, n, **trip["distance"]) / DAY * np.array([0.15, 0.4, 1.0, 1.2])[mode]
    km = np.where(rng.random(n) < trip["distance_known"], np.maximum(np.round(km, 1), 0.1), np.nan)
    return {"trip_mode": mode, "trip_share": share, "trip_km": km}


def _hub_times(rng: Rng, world: World, ways: Columns) -> Columns:
    """Draw who drives electric and who is lost before the hub, and give when a return enters and leaves the hub."""
    carriers, n = world.parameters["carriers"], len(ways["at"])
    electric = rng.random(n) < np.array([row["electric"] for row in carriers.values()] + [0.2])[ways["carrier"]]
    scanned, received = ways["scanned"], ways["received"]
    arrival = np.where(np.isfinite(received), received, NEVER)
    expected = np.where(np.isfinite(arrival), arrival, scanned + 4 * DAY)
    hub_in = scanned + np.floor(0.15 * (expected - scanned))
    hub_out = hub_in + np.floor(0.25 * (expected - scanned))
    lost_before_hub = ways["is_lost"] & (rng.random(n) < 0.5)
    return {"electric": electric, "hub_in": hub_in, "hub_out": hub_out, "lost_before_hub": lost_before_hub}


def _totes(world: World, ways: Columns) -> Columns:
    """Give numbers to the totes that stores fill, by hand over (-1 is no tote), and the items in each."""
    tote = np.full(len(ways["at"]), -1)
    filled = np.flatnonzero(ways["way"] == TOTE)
    items = world.stories["totes"]["items"] if len(filled) else 0
    if len(filled):
        order = filled[np.lexsort((ways["handed"][filled], ways["store"][filled]))]
        tote[order] = np.arange(len(order)) // items
    return {"tote": tote, "tote_items": np.where(tote >= 0, items, -1)}


def _costs(rng: Rng, world: World, ways: Columns) -> Columns:
    """Draw which legs are invoiced (1 or NaN), and each return's factor on the costs of its legs."""
    n = len(ways["at"])
    invoiced = {
        f"invoiced_{name}": np.where(rng.random(n) < world.parameters["cost_invoiced"], 1.0, np.nan)
        for name in ("first_mile", "hub", "trunk", "onward")
    }
    return invoiced | {"cost_factor": np.exp(0.12 * rng.standard_normal(n))}


def _road_km(rng: Rng, world: World, network: Network, start: Array, end: Array) -> Array:
    """Draw the driven distance between places in km: the great circle times circuity, 4 km and more."""
    lat, lon = network.column("latitude"), network.column("longitude")
    straight = straight_km(lat[start], lon[start], lat[end], lon[end])
    circuity = world.parameters["road_circuity"]
    driven: Array = np.round(np.maximum(straight, 4.0) * circuity * rng.uniform(0.96, 1.06, len(start)), 1)
    return driven


def _elements(
    ways: Columns, happens: Array, number: int, kind: str, role: str, start: Array, end: Array, **more: Any
) -> Columns:
    """Give one element to each way on which it happens; `more` fills columns of EMPTY by arrays or one value."""
    rows = np.flatnonzero(happens)
    columns: Columns = {
        "at": ways["at"][rows],
        "no": np.full(len(rows), number),
        "type": np.full(len(rows), ELEMENT_TYPES.index(kind)),
        "role": np.full(len(rows), ROLES.index(role)),
        "start": start[rows],
        "end": end[rows],
    }
    for name, default in EMPTY.items():
        value = more.get(name, default)
        columns[name] = value[rows] if isinstance(value, np.ndarray) else np.full(len(rows), value)
    return columns


def _customer_trip_element(ways: Columns) -> Columns:
    """Lay out the customer's way to the entry, of all that nobody collects."""
    vehicles = np.array([VEHICLES.index(name) for name in ("foot", "bike", "car_average", "bus_local")])
    drop = np.where(ways["way"] == TILL, ways["requested"], ways["handed"])
    return _elements(
        ways,
        (ways["way"] != BOUNCED) & ~ways["is_home"],
        1,
        "activity",
        "customer_trip",
        drop - 900,
        drop,
        **{"from": ways["area"], "to": ways["entry"]},
        mode=ways["trip_mode"],
        vehicle=vehicles[ways["trip_mode"]],
        km=ways["trip_km"],
        trip_share=ways["trip_share"],
    )


def _packaging_element(ways: Columns) -> Columns:
    """Lay out the new box or bag of a parcel."""
    is_box = ways["pack"] == 0
    return _elements(
        ways,
        (ways["way"] == PARCEL) & (ways["pack"] < 2),
        2,
        "activity",
        "packaging",
        ways["handed"] - 3600,
        ways["handed"],
        service=np.where(is_box, SERVICES.index("corrugated_box"), SERVICES.index("plastic_bag")),
        mode=MODES.index("site"),
        vehicle=np.where(is_box, VEHICLES.index("packaging_board"), VEHICLES.index("packaging_film")),
        mass=np.round(ways["pack_kg"], 3),
        **{"from": ways["area"], "to": ways["area"]},
    )


def _first_mile(rng: Rng, world: World, network: Network, ways: Columns, methods: tuple[str, ...]) -> Columns:
    """Lay out the leg from the entry to the hub: a van's round where it is collected at home."""
    p, method, electric, is_home = world.parameters, np.maximum(ways["method"], 0), ways["electric"], ways["is_home"]
    rates = np.array([p["leg_cost"][name] for name in methods])
    scanned, hub = ways["scanned"], ways["hub"]
    day = np.floor(np.where(np.isfinite(scanned), scanned, 0) / DAY)
    reports = np.array([row["reports_distance"] for row in p["carriers"].values()] + [True])[ways["carrier"]]
    road_km = np.where(reports, _road_km(rng, world, network, ways["entry"], hub), np.nan)
    return _elements(
        ways,
        ((ways["way"] == PARCEL) | (ways["way"] == TOTE)) & ~ways["lost_before_hub"],
        3,
        "transport",
        "first_mile",
        np.maximum(scanned, ways["handed"]),
        ways["hub_in"],
        **{"from": ways["entry"], "to": hub},
        carrier=ways["carrier"],
        service=np.array([0, 1, 2, 4, 3])[method],
        mode=MODES.index("van"),
        vehicle=np.where(electric, VEHICLES.index("van_electric"), VEHICLES.index("van_diesel")),
        fuel=np.where(electric, FUELS.index("electricity"), FUELS.index("diesel")),
        mass=ways["weighed"],
        km=np.where(is_home, float(p["van_round"]["distance"]), road_km),
        cost=np.round(rates[method] * ways["cost_factor"], 2) * ways["invoiced_first_mile"],
        round=np.where(is_home, (day * 100 + hub).astype(np.int64), -1),
        shared=np.where(is_home, p["van_round"]["drops"], -1),
    )


def _hub(world: World, ways: Columns) -> Columns:
    """Lay out the sorting at the hub."""
    return _elements(
        ways,
        ways["is_sent"] & ~ways["lost_before_hub"],
        4,
        "hub",
        "hub",
        ways["hub_in"],
        ways["hub_out"],
        **{"from": ways["hub"], "to": ways["hub"]},
        carrier=ways["carrier"],
        service=SERVICES.index("sorting"),
        mode=MODES.index("site"),
        vehicle=VEHICLES.index("hub_sorting"),
        mass=ways["weighed"],
        cost=np.round(world.parameters["leg_cost"]["hub"] * ways["cost_factor"], 2) * ways["invoiced_hub"],
    )


def _trunk(rng: Rng, world: World, network: Network, ways: Columns) -> Columns:
    """Lay out the leg from the hub to the returns centre."""
    rates, is_tote, n = world.parameters["leg_cost"], ways["way"] == TOTE, len(ways["at"])
    km = _road_km(rng, world, network, ways["hub"], ways["centre"])
    is_artic = is_tote | (rng.random(n) < 0.75)
    full = (rates["trunk"] + rates["trunk_per_km"] * km) * np.where(is_tote, 0.6, 1.0) * ways["cost_factor"]
    return _elements(
        ways,
        ways["is_sent"] & ~ways["is_lost"],
        5,
        "transport",
        "trunk",
        ways["hub_out"],
        ways["received"],
        **{"from": ways["hub"], "to": ways["centre"]},
        carrier=ways["trunk_carrier"],
        service=np.where(is_tote, SERVICES.index("tote"), SERVICES.index("linehaul")),
        mode=MODES.index("truck"),
        vehicle=np.where(is_artic, VEHICLES.index("truck_artic"), VEHICLES.index("truck_rigid")),
        fuel=FUELS.index("diesel"),
        mass=ways["weighed"],
        km=np.where(rng.random(n) < 0.8, km, np.nan),
        cost=np.round(full, 2) * ways["invoiced_trunk"],
        tote=ways["tote"],
        shared=ways["tote_items"],
    )


def _returns_centre(ways: Columns) -> Columns:
    """Lay out the stay at the returns centre, from receipt to inspection."""
    return _elements(
        ways,
        ways["is_sent"] & ~ways["is_lost"],
        6,
        "hub",
        "hub",
        ways["received"],
        ways["inspected"],
        **{"from": ways["centre"], "to": ways["centre"]},
        mode=MODES.index("site"),
        vehicle=VEHICLES.index("hub_returns_centre"),
        mass=np.round(ways["gross"], 3),
    )


def _treatment(ways: Columns) -> Columns:
    """Lay out the treatment of the goods, at the till or at the returns centre."""
    return _elements(
        ways,
        ~ways["is_lost"],
        7,
        "activity",
        "treatment",
        ways["inspected"],
        ways["finished"],
        **{"from": ways["treated_at"], "to": ways["treated_at"]},
        service=SERVICES.index("inspection"),
        mode=MODES.index("site"),
        vehicle=VEHICLES.index("treatment_none") + ways["treatment"],
        mass=np.round(ways["mass"], 3),
    )


def _onward(world: World, network: Network, ways: Columns) -> Columns:
    """Lay out the leg from where the goods were treated to where they go on to, if that is another place."""
    site, store, goes = network.site, ways["store"], ways["onward"]
    to = np.array([site["warehouse"], -1, site["refurbisher"], site["recycler"]])[np.maximum(goes, 0)]
    to = np.where(goes == 1, np.where(store >= 0, store, site["warehouse"]), to)
    leaves = (goes >= 0) & (to != ways["treated_at"]) & ((ways["way"] != TILL) | (goes >= 2))
    return _elements(
        ways,
        ~ways["is_lost"] & leaves,
        8,
        "transport",
        "onward",
        ways["finished"] - np.floor(0.3 * (ways["finished"] - ways["inspected"])),
        ways["finished"],
        **{"from": ways["treated_at"], "to": to},
        carrier=ways["trunk_carrier"],
        service=SERVICES.index("linehaul"),
        mode=MODES.index("truck"),
        vehicle=VEHICLES.index("truck_rigid"),
        fuel=FUELS.index("diesel"),
        mass=np.round(ways["mass"], 3),
        cost=np.round(world.parameters["leg_cost"]["onward"] * ways["cost_factor"], 2) * ways["invoiced_onward"],
    )
