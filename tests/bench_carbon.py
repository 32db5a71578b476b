"""Emissions of five million legs against the same written by hand in DuckDB, and against geopy leg by leg.

Part of `make bench`.
"""

import tempfile
import time
from pathlib import Path

import duckdb
from geopy.distance import geodesic

from pipelines.estimate import leg_carbon, leg_treatment
from pipelines.estimate.sql import wanted
from pipelines.factors import Ledger, ledger, parameter
from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.sql import connect

LEGS = 5_000_000
_LOOPED = 20_000

# What somebody would write for this shop, whose vehicles are named: scan, join, multiply.
_MOVED = """
WITH goods AS (
    SELECT parcel_key, if(count(*) = count(weight_kg), sum(weight_kg * units), NULL) AS goods_kg, sum(units) AS units
    FROM fact_return_line WHERE parcel_key IS NOT NULL AND cancelled_at IS NULL AND rejected_at IS NULL
        AND expired_at IS NULL GROUP BY 1
), used AS (
    SELECT l.leg_key, l.role, l.element_type, l.movement_parcels, l.fuel,
        CASE WHEN l.role IN ('customer_trip', 'packaging') THEN l.role WHEN l.element_type = 'hub' THEN 'hub'
            ELSE 'transport' END AS activity,
        year(l.started_on) AS year, coalesce(l.trip_share, {trip_share}) AS trip_share,
        CASE WHEN l.element_type = 'hub' THEN if(p.kind IN ('returns_centre', 'warehouse'), 'hub_returns_centre',
            'hub_sorting') ELSE l.vehicle END AS vehicle,
        coalesce(if(l.element_type = 'hub', p.country, l.country), '') AS country,
        coalesce(l.distance_km, CASE WHEN l.role = 'customer_trip' THEN if(d.distance_km > {far}, NULL, d.distance_km
            * 2) ELSE d.distance_km END,
            CASE l.role WHEN 'customer_trip' THEN {trip} WHEN 'first_mile' THEN {first_mile} WHEN 'onward'
                THEN {onward} ELSE {trunk} END) AS km,
        CASE WHEN l.distance_km IS NOT NULL THEN 'actual' WHEN d.method <> 'same area' AND (l.role <> 'customer_trip'
            OR d.distance_km <= {far}) THEN 'great_circle' ELSE 'default' END AS distance_type,
        CASE WHEN l.role = 'packaging' THEN l.mass_kg ELSE coalesce(l.mass_kg, g.goods_kg + {packaging},
            {parcel}) END AS mass,
        CASE WHEN l.mass_kg IS NOT NULL THEN 'measured' WHEN g.goods_kg IS NOT NULL THEN 'imputed' ELSE 'assumed' END
            AS mass_status,
        CASE WHEN l.role = 'packaging' THEN 'per_tonne' WHEN l.element_type = 'hub' OR (l.role = 'first_mile'
            AND l.movement_parcels > 0 AND l.distance_km IS NOT NULL) THEN 'per_parcel'
            WHEN l.role = 'customer_trip' THEN 'per_vehicle_km' ELSE 'per_tonne_km' END AS method,
        CASE WHEN l.role = 'packaging' THEN 'kgCO2e/t' WHEN l.element_type = 'hub' THEN 'kgCO2e/parcel'
            WHEN l.vehicle IN ('foot', 'bike', 'bus_local') THEN 'kgCO2e/passenger.km'
            WHEN l.role = 'customer_trip' OR (l.role = 'first_mile' AND l.movement_parcels > 0
                AND l.distance_km IS NOT NULL) THEN 'kgCO2e/vehicle.km' ELSE 'kgCO2e/t.km' END AS unit
    FROM fact_return_leg l LEFT JOIN dim_lane d USING (lane_key) LEFT JOIN dim_place p ON p.place_key
        = l.to_place_key LEFT JOIN goods g ON g.parcel_key = l.parcel_key
    WHERE l.role <> 'treatment'
)
SELECT u.leg_key, u.activity, f.factor_id, CASE u.method WHEN 'per_tonne' THEN u.mass / 1000 WHEN 'per_parcel'
    THEN if(u.element_type = 'hub', 1, u.km / u.movement_parcels) WHEN 'per_vehicle_km' THEN u.km * u.trip_share
    ELSE u.km * u.mass / 1000 END AS a,
    u.km AS distance_km, u.distance_type, u.mass AS mass_kg, u.mass_status, u.km * u.mass / 1000 AS tonne_km,
    a * f.wtt AS kg_co2e_wtt, a * f.ttw AS kg_co2e_ttw, a * f.wtw AS kg_co2e, if(u.method = 'per_parcel', u.km
        * u.mass / 1000 * f.tonne_km_wtw, NULL) AS kg_co2e_tonne_km,
    if(u.distance_type = 'actual', u.mass_status, 'imputed') AS status, CASE u.role WHEN 'customer_trip' THEN '9'
        WHEN 'packaging' THEN '1' ELSE '4' END AS scope3_category, u.method
FROM used u LEFT JOIN leg_factor f ON f.vehicle = u.vehicle AND f.unit = u.unit AND f.for_year = u.year AND f.country
    = u.country
"""
_TREATED = """
WITH treated AS (
    SELECT parcel_key, CASE WHEN disposition IN ('repaired', 'refurbished', 'donated') THEN 'treatment_reuse'
        WHEN disposition = 'recycled' THEN 'treatment_recycling'
            WHEN disposition = 'destroyed' THEN 'treatment_energy_recovery' WHEN disposition IS NOT NULL
                THEN 'treatment_none' END AS kind,
        sum(weight_kg * units) AS weight
    FROM fact_return_line WHERE parcel_key IS NOT NULL AND cancelled_at IS NULL AND rejected_at IS NULL
        AND expired_at IS NULL GROUP BY ALL
), goods AS (SELECT parcel_key, sum(weight) AS goods_kg FROM treated GROUP BY 1)
SELECT l.leg_key, 'treatment' AS activity, min(f.factor_id) AS factor_id, any_value(l.mass_kg) AS mass_kg, 'measured'
    AS mass_status, sum(l.mass_kg / 1000 * t.weight / g.goods_kg * f.wtw) AS kg_co2e,
    'measured' AS status, '5' AS scope3_category, 'per_tonne' AS method, NULL::DOUBLE AS a
FROM fact_return_leg l LEFT JOIN treated t USING (parcel_key) LEFT JOIN goods g USING (parcel_key)
    LEFT JOIN leg_factor f ON f.vehicle = t.kind AND f.unit = 'kgCO2e/t' AND f.for_year = year(l.started_on)
        AND f.country = coalesce(l.country, '')
WHERE l.role = 'treatment' GROUP BY l.leg_key
"""


def measure(folder: Path, legs: int = LEGS, orders: int = 60_000) -> dict[str, float]:
    """Give seconds of ours, by hand and of geopy for so many legs, how many there were, and both sums of kg CO2e.

    The legs of a sample shop are laid out as often as it takes, each time as other parcels. All three give totals, as a
    loop does; `stored` and `stored_by_hand` write a table of the same columns as well.
    """
    settings = Settings(warehouse=folder / "warehouse")
    write_sample(folder / "files", orders, 7)
    load(settings, [folder / "files"])
    connection = connect(build_path(settings.warehouse, str(current_id(settings.warehouse))))
    connection.execute("SET preserve_insertion_order = false")
    here = connection.execute("SELECT count(*) FROM fact_return_leg").fetchall()[0][0]
    times = -(-legs // here)
    for name, keys in (
        ("fact_return_leg", ("leg_key", "parcel_key")),
        ("fact_return_line", ("return_lot_key", "parcel_key")),
    ):
        moved = ", ".join(f"(hash({k}, i) % 9000000000000000000)::BIGINT AS {k}" for k in keys)
        connection.execute(
            f"CREATE OR REPLACE TABLE {name} AS SELECT * REPLACE ({moved}) FROM {name}, range({times}) r(i)"
        )
    connection.execute(
        "DELETE FROM estimate_leg_carbon; CREATE TABLE by_hand AS SELECT * FROM estimate_leg_carbon; ALTER TABLE"
        " by_hand ADD COLUMN a DOUBLE; CHECKPOINT"
    )
    total = connection.execute("SELECT count(*) FROM fact_return_leg").fetchall()[0][0]
    parts = {
        "trip_share": "trip_share",
        "far": "trip_lane_limit",
        "trip": "trip_distance",
        "first_mile": "first_mile_distance",
        "onward": "onward_distance",
        "trunk": "trunk_distance",
        "packaging": "packaging_mass",
        "parcel": "parcel_mass",
    }
    by_hand = [sql.format(**{name: parameter(of) for name, of in parts.items()}) for sql in (_MOVED, _TREATED)]
    known = ledger(settings)
    leg_carbon.leg_carbon(connection, known)  # leaves leg_factor for both
    for sql in by_hand:
        connection.execute(f"INSERT INTO by_hand BY NAME {sql}")
    sums = [
        connection.execute(f"SELECT sum(kg_co2e) FROM {t}").fetchall()[0][0] for t in ("estimate_leg_carbon", "by_hand")
    ]
    empty = "DELETE FROM estimate_leg_carbon; DELETE FROM estimate_leg_part; DELETE FROM by_hand; CHECKPOINT"
    timed: dict[str, list[float]] = {name: [] for name in ("ours", "by_hand", "stored", "stored_by_hand")}
    for _ in range(3):
        connection.execute(empty)
        for name, work in (
            ("ours", lambda: connection.execute(_totals(_ours(connection, known)))),
            ("by_hand", lambda: connection.execute(_totals(by_hand))),
            ("stored", lambda: leg_carbon.leg_carbon(connection, known)),
            (
                "stored_by_hand",
                lambda: connection.execute("; ".join(f"INSERT INTO by_hand BY NAME {sql}" for sql in by_hand)),
            ),
        ):
            started = time.perf_counter()
            work()
            timed[name].append(time.perf_counter() - started)
    looped = _loop(connection) * total / _LOOPED
    connection.close()
    return {
        "legs": total,
        **{name: min(seconds) for name, seconds in timed.items()},
        "geopy": looped,
        "kg": sums[0],
        "kg_by_hand": sums[1],
    }


def _ours(connection: duckdb.DuckDBPyConnection, known: Ledger) -> list[str]:
    """Give the SELECTs of the emissions of all legs, with the factors stored anew."""
    factor, leg = leg_carbon.factor_table(connection, known), wanted(connection, "fact_return_leg", "TRUE")
    return [leg_carbon.transport_sql(leg, factor, known), leg_treatment.treatment_sql(known, leg, factor)]


def _totals(parts: list[str]) -> str:
    """Add the parts up, every figure of every leg."""
    names = ("kg_co2e", "kg_co2e_wtt", "kg_co2e_ttw", "kg_co2e_tonne_km", "tonne_km", "distance_km", "mass_kg")
    sums = ", ".join(f"sum({n}) AS {n}" for n in names)
    return f"SELECT activity, {sums} FROM ({' UNION ALL BY NAME '.join(f'({p})' for p in parts)}) GROUP BY 1"


def _loop(connection: duckdb.DuckDBPyConnection) -> float:
    """Time geopy's geodesic and a multiplication leg by leg, in Python."""
    rows = connection.execute(f"""
        SELECT a.latitude, a.longitude, b.latitude, b.longitude, coalesce(l.mass_kg, 0.85)::DOUBLE, 0.1::DOUBLE
            FROM fact_return_leg l
        JOIN dim_place a ON a.place_key = l.from_place_key JOIN dim_place b ON b.place_key = l.to_place_key
            WHERE a.latitude IS NOT NULL AND b.latitude IS NOT NULL LIMIT {_LOOPED}
    """).fetchall()
    started, total = time.perf_counter(), 0.0
    for latitude, longitude, to_latitude, to_longitude, mass, factor in rows:
        total += geodesic((latitude, longitude), (to_latitude, to_longitude)).km * mass / 1000 * factor
    return (time.perf_counter() - started) * _LOOPED / len(rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(measure(Path(place)))
