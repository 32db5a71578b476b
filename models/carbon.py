"""Emissions of a parcel's way back, in kg CO2e: plain arithmetic on factors.

One function works on floats, NumPy and pandas columns and SQL column expressions alike, so the warehouse runs what the
tests check. No factor lives here (data/factors holds them), no rule of which factor fits a leg, no netting: what a
second life avoids is a figure of its own. The structure follows ISO 14083: a chain is the sum of its elements, a factor
is well to wheel, and empty running is part of it.
"""

from typing import Any

Number = Any  # float, NumPy array, pandas Series or SQLAlchemy column expression


def tonne_km(distance_km: Number, mass_kg: Number) -> Number:
    """Transport activity in tonne-kilometres.

    >>> tonne_km(700, 230.0)
    161.0
    """
    return distance_km * mass_kg / 1000


def leg_carbon(distance_km: Number, mass_kg: Number, kg_co2e_per_tonne_km: Number) -> Number:
    """Emissions of one consignment on one leg, in kg CO2e.

    ISO 14083: mass times activity distance times factor. The factor holds empty running and average load; never correct
    for them again. A missing input gives a missing answer.

    >>> round(leg_carbon(500, 2.0, 0.1), 3)
    0.1
    """
    return tonne_km(distance_km, mass_kg) * kg_co2e_per_tonne_km


def tonne_km_factor(kg_co2e_per_vehicle_km: Number, load_tonnes: Number, empty_share: Number = 0.0) -> Number:
    """Factor per tonne-kilometre of a vehicle whose load and share of empty kilometres are known.

    >>> tonne_km_factor(0.8, 4.0, 0.2)
    0.25
    """
    return kg_co2e_per_vehicle_km / (1 - empty_share) / load_tonnes


def trip_carbon(distance_km: Number, trip_share: Number, kg_co2e_per_km: Number) -> Number:
    """Emissions of a customer's trip, in kg CO2e: kilometres there and back, times the share due to the return (0-1).

    >>> trip_carbon(10, 0.5, 0.2)
    1.0
    """
    return distance_km * trip_share * kg_co2e_per_km


def shared_trip_carbon(distance_km: Number, parcels: Number, kg_co2e_per_vehicle_km: Number) -> Number:
    """Emissions of one parcel on a vehicle's round, in kg CO2e.

    The whole round divided by its parcels, whatever they weigh. The first choice for collection rounds, where a light
    parcel's tonne-kilometres understate the stop (EN 17837 allows it).

    >>> shared_trip_carbon(80, 100, 0.3)
    0.24
    """
    return distance_km * kg_co2e_per_vehicle_km / parcels


def shared_movement_carbon(
    distance_km: Number, weight: Number, total_weight: Number, kg_co2e_per_vehicle_km: Number
) -> Number:
    """Emissions of one parcel on a consolidated movement, in kg CO2e.

    What the vehicle emitted, by mass x direct distance. Direct distance, not that driven to the stop: one customer's
    share must not depend on the order of the round.

    >>> shared_movement_carbon(100, 2.0, 8.0, 1.0)
    25.0
    """
    return allocate(distance_km * kg_co2e_per_vehicle_km, weight, total_weight)


def mass_carbon(mass_kg: Number, kg_co2e_per_tonne: Number) -> Number:
    """Emissions of handling, making or treating a mass, in kg CO2e.

    >>> mass_carbon(250, 1200.0)
    300.0
    """
    return mass_kg / 1000 * kg_co2e_per_tonne


def chain_sum(*elements: Number) -> Number:
    """Emissions of a chain: the sum of its elements.

    >>> chain_sum(1.0, 2.0, 0.5)
    3.5
    """
    total = elements[0]
    for element in elements[1:]:
        total = total + element
    return total


def allocate(total: Number, weight: Number, total_weight: Number) -> Number:
    """Share of a parcel's total that falls to one of its items, by weight; the shares of all items add up to the total.

    >>> allocate(3.0, 1.0, 4.0)
    0.75
    """
    return total * weight / total_weight


def avoided_carbon(displacement_share: Number, footprint_kg_co2e: Number) -> Number:
    """Emissions avoided when a second life displaces a new item, in kg CO2e; never deducted from a total.

    `displacement_share` is the share of second-hand purchases that replace a new one: .39 (Vaayu for Vinted 2021), .646
    (WRAP 2025) or .80 (ADEME). The route of the second life is in the inventory already and is not taken off again.

    >>> avoided_carbon(0.5, 20.0)
    10.0
    """
    return displacement_share * footprint_kg_co2e
