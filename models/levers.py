"""What a lever would have changed.

Plain arithmetic on kilograms and kilometres, the same for numbers, arrays and SQL columns.
"""

from typing import Any

Number = Any  # float, NumPy array, pandas Series or SQLAlchemy column expression


def merged_rounds(kg_co2e: Number, rounds_in_one: Number) -> Number:
    """Emissions left (kg CO2e) when the parcels of several collection rounds travel in one.

    >>> merged_rounds(10.0, 2.0)
    5.0
    """
    return kg_co2e / rounds_in_one


def by_rail(kg_co2e: Number, road_factor: Number, rail_factor: Number, road_share: Number) -> Number:
    """Emissions left (kg CO2e) of a road leg whose main run goes by rail.

    `road_share` (0-1) of its kilometres stay on the road.

    >>> round(by_rail(10.0, 0.1, 0.03, 0.2), 6)
    4.4
    """
    return kg_co2e * (road_share + (1 - road_share) * rail_factor / road_factor)


def shortened(kg_co2e: Number, km: Number, shorter_km: Number) -> Number:
    """Emissions left (kg CO2e) of a leg that goes somewhere nearer.

    >>> shortened(10.0, 400.0, 100.0)
    2.5
    """
    return kg_co2e * shorter_km / km


def without_packaging(kg_co2e: Number, mass_kg: Number, packaging_kg: Number) -> Number:
    """Emissions left (kg CO2e) of a leg by tonne-kilometres when the parcel travels without its packaging.

    >>> without_packaging(10.0, 2.0, 0.5)
    7.5
    """
    return kg_co2e * (mass_kg - packaging_kg) / mass_kg
