"""Emissions: published worked examples, laws, one definition on three carriers, the factor table.

And a build worked by hand.
"""

import csv
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from duckdb_sqlalchemy import Dialect
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Double, column, select, table

from models import carbon, cost
from models.distance import geodesic_km
from pipelines.errors import FactorMissing
from pipelines.estimate.lanes import lanes
from pipelines.estimate.leg_cost import legs
from pipelines.estimate.return_cost import returns
from pipelines.factors import factors, parameter, vintage
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings, data_path
from pipelines.warehouse.shards import Shards
from pipelines.warehouse.sql import key_sql

POSITIVE = st.floats(1e-3, 1e4)
GOLDEN = Path(__file__).parent / "golden" / "factors.csv"


def test_ghg_protocol_distance_method() -> None:
    """GHG Protocol, scope 3 technical guidance, example 4.2: 5,000 kg over three lanes (masses there are in tonnes)."""
    lanes_given = [(2, 2000, 0.2), (1, 3000, 1.0), (6, 4000, 0.05)]
    assert carbon.chain_sum(*(carbon.leg_carbon(km, t * 1000, f) for t, km, f in lanes_given)) == pytest.approx(5000)


def test_ileap_shipment() -> None:
    """iLEAP technical specification: 87 kg over 423 km and 321 km, 8.42769 kg well to wheel."""
    assert carbon.tonne_km(423, 87) == pytest.approx(36.801)
    assert carbon.tonne_km(321, 87) == pytest.approx(27.927)
    assert carbon.leg_carbon(423, 87, 0.1) == pytest.approx(3.6801)
    assert carbon.leg_carbon(423, 87, 0.0891) == pytest.approx(3.2801, abs=0.002)  # printed with a rounded factor
    assert carbon.leg_carbon(321, 87, 0.17) == pytest.approx(4.74759)
    assert carbon.leg_carbon(321, 87, 0.153) == pytest.approx(4.272831)
    assert carbon.chain_sum(carbon.leg_carbon(423, 87, 0.1), carbon.leg_carbon(321, 87, 0.17)) == pytest.approx(8.42769)


def test_ademe_line_haul() -> None:
    """ADEME ECEL 2023, a parcel of 1 kg, in grams: 400 and 123 km by truck, 70 km by van.

    HBEFA polynomials give the vehicle at 60 and 30 km/h; 20% of kilometres are empty, routes 5% longer; infrastructure
    and the making of the vehicle come on top.
    """

    def per_km(speed: float, *a: float) -> float:
        return sum(c * speed**i for i, c in enumerate(a)) / 1000

    van = per_km(30, 495.724170429, -16.736438277, 0.333519703, -0.002759366, 8.481e-06)
    truck = per_km(60, 2658.381936133, -59.503740818, 0.15518666, 0.011536086, -9.5661e-05)
    assert [van, truck] == pytest.approx([0.226165483, 0.898857479], abs=1e-6)
    truck_factor = 0.0056 + 0.0028 + 1.05 * carbon.tonne_km_factor(0.898857479, 3.5, 0.2)
    van_factor = 0.0056 + 0.0084 + 1.05 * carbon.tonne_km_factor(0.226165483, 0.2, 0.2)
    grams = [
        1000 * carbon.leg_carbon(km, 1, f) for km, f in ((400, truck_factor), (123, truck_factor), (70, van_factor))
    ]
    assert grams == pytest.approx([138.188622, 42.493001, 104.874769], abs=1e-5)
    assert carbon.chain_sum(*grams) == pytest.approx(285.556392, abs=1e-5)


def test_ademe_packaging() -> None:
    """ADEME ECEL: a box of 10,000 cm3 weighs 352.685650 g.

    It has 1.45 times the sphere's surface, .084 g/cm2 of board, 1.29 kg a kg.
    """
    radius = (3 * 10_000 / (4 * math.pi)) ** (1 / 3)
    board_kg = 4 * math.pi * radius**2 * 1.45 * 0.084 / 1000
    assert 1000 * carbon.mass_carbon(board_kg, 1290) == pytest.approx(352.685650, abs=1e-5)


def test_bamberg_mean_parcel() -> None:
    """retourenforschung.de: 38,436 t over 45.25 million returns are 849 g each."""
    assert 1000 * carbon.allocate(38_436_000, 1, 45.25e6) == pytest.approx(849, abs=0.5)


def test_light_parcel_by_van_and_truck() -> None:
    """DESNZ 2025, .8 kg: 20 km by average diesel van and 250 km by average HGV are .037560 kg well to wheel."""
    factor = {row["factor_id"]: float(row["wtw"]) for row in factors()}
    van = carbon.leg_carbon(20, 0.8, factor["desnz2025.van_diesel.tonne_km"])
    truck = carbon.leg_carbon(250, 0.8, factor["desnz2025.truck_average.tonne_km"])
    assert [van, truck] == pytest.approx([0.012516, 0.025044])
    assert carbon.chain_sum(van, truck) == pytest.approx(0.037560)


@given(POSITIVE, POSITIVE, POSITIVE, st.floats(0.01, 0.99))
def test_tonne_kilometres_are_linear(km: float, kg: float, factor: float, cut: float) -> None:
    """Twice the mass, twice the emissions; a leg cut in two adds up; never negative."""
    whole = carbon.leg_carbon(km, kg, factor)
    assert whole > 0
    assert carbon.leg_carbon(km, 2 * kg, factor) == pytest.approx(2 * whole)
    parts = carbon.chain_sum(carbon.leg_carbon(km * cut, kg, factor), carbon.leg_carbon(km * (1 - cut), kg, factor))
    assert parts == pytest.approx(whole)


@given(POSITIVE, POSITIVE, POSITIVE, POSITIVE)
def test_well_to_wheel_is_the_sum_of_its_parts(km: float, kg: float, wtt: float, ttw: float) -> None:
    parts = carbon.chain_sum(carbon.leg_carbon(km, kg, wtt), carbon.leg_carbon(km, kg, ttw))
    assert parts == pytest.approx(carbon.leg_carbon(km, kg, wtt + ttw), rel=1e-9)


@given(POSITIVE, st.integers(1, 500), POSITIVE)
def test_a_round_is_shared_out_whole(km: float, parcels: int, factor: float) -> None:
    """All parcels of a round together carry the round; what they weigh plays no part."""
    assert parcels * carbon.shared_trip_carbon(km, parcels, factor) == pytest.approx(km * factor)
    assert "mass_kg" not in inspect.signature(carbon.shared_trip_carbon).parameters


@given(POSITIVE, st.lists(POSITIVE, min_size=1, max_size=20))
def test_allocation_adds_up(total: float, weights: list[float]) -> None:
    shares = [carbon.allocate(total, w, sum(weights)) for w in weights]
    assert sum(shares) == pytest.approx(total, rel=1e-9)
    assert min(shares) >= 0


@given(st.floats(0, 1), POSITIVE)
def test_avoided_never_exceeds_the_new_item(displacement: float, footprint: float) -> None:
    assert 0 <= carbon.avoided_carbon(displacement, footprint) <= footprint


ONE_DEFINITION = [
    carbon.tonne_km,
    carbon.leg_carbon,
    carbon.tonne_km_factor,
    carbon.trip_carbon,
    carbon.shared_trip_carbon,
    carbon.mass_carbon,
    carbon.chain_sum,
    carbon.allocate,
    carbon.avoided_carbon,
    cost.leg_cost,
    cost.share_of,
    cost.handling_cost,
    cost.value_loss,
    cost.markdown,
    cost.margin,
    cost.margin_erosion,
]


@pytest.mark.parametrize("function", ONE_DEFINITION, ids=lambda f: f.__name__)
def test_numbers_arrays_frames_and_sql_agree(function: Callable[..., Any]) -> None:
    """The same function on floats, NumPy, pandas and, through SQLAlchemy, DuckDB.

    A missing input gives a missing answer.
    """
    names = list(inspect.signature(function).parameters) if function is not carbon.chain_sum else ["a", "b", "c"]
    values = pd.DataFrame(np.random.default_rng(7).uniform(0.1, 0.9, (50, len(names))), columns=names)
    expected = [function(*row) for row in values.to_numpy().tolist()]
    assert function(*values.to_numpy().T) == pytest.approx(expected, rel=1e-12)
    assert function(*(values[n] for n in names)).to_numpy() == pytest.approx(expected, rel=1e-12)
    given_rows = table("given_rows", *(column(n, Double) for n in names))
    sql = str(select(function(*given_rows.c)).compile(dialect=Dialect(), compile_kwargs={"literal_binds": True}))
    connection = duckdb.connect()
    connection.register("given_rows", values)
    assert [r[0] for r in connection.execute(sql).fetchall()] == pytest.approx(expected, rel=1e-12)
    connection.execute("CREATE TABLE kept AS SELECT * FROM given_rows")
    connection.execute(f"UPDATE kept SET {names[0]} = NULL")
    missing = sql.replace("given_rows", "kept")
    assert {r[0] for r in connection.execute(missing).fetchall()} == {None}


def test_factors_are_as_reviewed() -> None:
    """A changed factor shows in review.

    Write the new line into tests/golden/factors.csv and say in CHANGELOG which numbers move.
    """
    columns = ("factor_id", "unit", "wtt", "ttw", "wtw", "valid_from_year", "row_id")
    with GOLDEN.open(encoding="utf-8", newline="") as file:
        reviewed = [tuple(row) for row in csv.reader(file)]
    assert reviewed == [columns, *(tuple(row[c] for c in columns) for row in factors())]


def test_factors_are_complete_and_free_to_ship() -> None:
    for row in factors():
        assert row["licence"] in {
            "OGL v3.0",
            "Licence Ouverte 2.0",
            "US public domain",
            "Apache-2.0",
            "CC BY 4.0",
            "CC0-1.0",
            "MIT",
            "single measured figure, cited",  # a fact, no table (decision 39)
        }, row["factor_id"]
        assert row["quality"] in {"verified", "derived", "assumed"}
        assert row["source"]
        assert float(row["wtw"]) >= 0
        if row["wtt"] or row["ttw"]:
            assert float(row["wtt"]) + float(row["ttw"]) == pytest.approx(float(row["wtw"]), abs=1e-9), row["factor_id"]
    keys = [
        (r["factor_set"], r["vehicle"], r["unit"], r["valid_from_year"], r["region"] if r["vehicle"] == "grid" else "")
        for r in factors()
    ]
    assert len(keys) == len(set(keys))


def test_parameters_name_their_source() -> None:
    with data_path("costs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["quality"] in {"published", "assumed"}
        assert row["quality"] == "assumed" or row["address"].startswith("https://"), row
        assert not row["low"] or float(row["low"]) <= float(row["value"]) <= float(row["high"]), row
    with pytest.raises(FactorMissing, match=r"data/costs\.csv has no row for freight_first_mile for drone"):
        parameter("freight_first_mile", "drone")


@pytest.mark.parametrize(
    ("year", "used"), [(2020, "2023"), (2023, "2023"), (2024, "2024"), (2025, "2025"), (2026, "2025")]
)
def test_vintage(year: int, used: str) -> None:
    """The latest set not after the activity's year, else the earliest."""
    rows = [{"valid_from_year": y} for y in ("2025", "2023", "2024")]
    assert vintage(rows, year)["valid_from_year"] == used


@pytest.fixture(scope="module")
def build() -> duckdb.DuckDBPyConnection:
    """Four parcels. 1: weighed, reported. 2: a round and a lane. 3: nothing known. 4: before the first factors."""
    connection = duckdb.connect()
    create_tables(connection)
    connection.execute(f"""
        INSERT INTO build_info VALUES ('reporting_currency', 'EUR');
        INSERT INTO dim_place (place_key, place_id, kind, country, area, latitude, longitude) VALUES
            (1, 's:AREA', 'customer_area', 'FR', 'FR-75', 48.9, 2.4), (2, 's:DROP', 'drop_off', 'FR', 'FR-75', 48.9,
                2.4),
            (3, 's:HUB', 'hub', 'FR', 'FR-94', 48.7, 2.4), (4, 's:RC', 'returns_centre', 'FR', 'FR-59', 50.6, 3.1);
        INSERT INTO fact_return_line (return_lot_key, return_line_key, return_key, parcel_key, units, weight_kg,
            disposition, return_type, confirmed_at, cancelled_at) VALUES
            (1, 1, 1, 1, 1, 0.3, 'as_new', 'withdrawal', '2025-03-03', NULL), (2, 2, 1, 1, 1, 0.5, 'recycled',
                'withdrawal', '2025-03-03', NULL),
            (6, 6, 1, 1, 1, 0.3, NULL, 'withdrawal', NULL, '2025-03-01'), (3, 3, 2, 2, 2, 0.2, NULL, 'withdrawal',
                '2025-03-03', NULL),
            (4, 4, 3, 3, 1, NULL, NULL, 'withdrawal', '2024-03-03', NULL), (5, 5, 3, 3, 2, NULL, NULL, 'withdrawal',
                '2024-03-03', NULL);
        INSERT INTO fact_return_leg BY NAME
        SELECT leg_key, parcel_key, element_type, role, started_on::DATE AS started_on, mode, vehicle, fuel, service,
            carrier, mass_kg, distance_km, trip_share, movement_parcels,
            a AS from_place_key, b AS to_place_key, {key_sql("p.place_id || '|' || q.place_id")} AS lane_key
        FROM (VALUES
            (1, 1, 'activity', 'customer_trip', '2025-03-01', 'car', NULL, NULL, NULL, NULL, NULL, 10.0, 0.5, NULL, 1,
                2),
            (2, 1, 'activity', 'packaging', '2025-03-01', NULL, NULL, NULL, 'corrugated_box', NULL, 0.25, NULL, NULL,
                NULL, 1, 1),
            (3, 1, 'transport', 'first_mile', '2025-03-01', 'van', 'van_diesel', 'diesel', NULL, 'C', 0.8, 20, NULL,
                NULL, 2, 3),
            (4, 1, 'hub', 'hub', '2025-03-01', 'site', NULL, NULL, NULL, 'C', 0.8, NULL, NULL, NULL, 3, 3),
            (5, 1, 'transport', 'trunk', '2025-03-01', 'truck', NULL, NULL, NULL, 'C', 0.8, 250, NULL, 17, 3, 4),
            (6, 1, 'activity', 'treatment', '2025-03-01', 'site', NULL, NULL, NULL, NULL, 0.8, NULL, NULL, NULL, 4, 4),
            (7, 2, 'transport', 'first_mile', '2025-03-01', 'van', 'van_diesel', NULL, NULL, 'C', 5.0, 80, NULL, 120, 1,
                3),
            (8, 2, 'transport', 'trunk', '2025-03-01', 'truck', 'truck_artic', NULL, NULL, 'C', NULL, NULL, NULL, NULL,
                3, 4),
            (9, 2, 'transport', 'onward', '2025-03-01', 'sea', NULL, NULL, NULL, 'C', 1.0, 100, NULL, NULL, 3, 4),
            (10, 2, 'activity', 'customer_trip', '2025-03-01', 'bus', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1,
                2),
            (11, 3, 'transport', 'trunk', '2024-03-01', 'van', NULL, 'electricity', NULL, 'C', NULL, NULL, NULL, NULL,
                NULL, NULL),
            (12, 4, 'transport', 'trunk', '2022-03-01', 'truck', 'truck_artic', 'diesel', NULL, 'C', 1.0, 100, NULL,
                NULL, 3, 4),
            (13, 2, 'transport', 'onward', '2025-03-01', 'truck', 'truck_artic', 'hydrogen', NULL, 'C', 1.0, 100, NULL,
                NULL, 3, 4),
            (14, 2, 'activity', 'treatment', '2025-03-01', 'site', NULL, NULL, NULL, NULL, 0.4, NULL, NULL, NULL, 4, 4)
        ) v(leg_key, parcel_key, element_type, role, started_on, mode, vehicle, fuel, service, carrier, mass_kg,
            distance_km, trip_share, movement_parcels, a, b)
        LEFT JOIN dim_place p ON p.place_key = a LEFT JOIN dim_place q ON q.place_key = b;
    """)
    lanes(connection, Settings())
    legs(connection, Settings(), Shards(), "TRUE")
    returns(connection, Settings(), Shards(), "TRUE")
    return connection


LANE_KM = geodesic_km(48.7, 2.4, 50.6, 3.1) * 1.25
HUB_KG = 0.0026506849 + 0.012 * (0.04144 - 0.081)  # published with 81 g a kWh; France's mix of 2025 is 41 g
BY_HAND = {  # leg: kg, factor, status, method
    1: (10 * 0.5 * 0.21124, "desnz2025.car_average.vehicle_km", "measured", "per_vehicle_km"),
    2: (0.25 * 1.1997254, "desnz2025.packaging_board", "measured", "per_tonne"),
    3: (0.0125160, "desnz2025.van_diesel.tonne_km", "measured", "per_tonne_km"),
    4: (HUB_KG, "ademe2023.hub_sorting.FR.owid2025", "imputed", "per_parcel"),
    5: (0.0250440, "desnz2025.truck_average.tonne_km", "measured", "per_tonne_km"),  # a tote of 17 items is no round
    6: (0.5 * 0.00468568, "backhaul.treatment_none + desnz2025.treatment_recycling", "measured", "per_tonne"),
    7: (80 * 0.31689 / 120, "desnz2025.van_diesel.vehicle_km", "measured", "per_parcel"),  # 5 kg play no part
    8: (LANE_KM * (0.4 + 0.15) / 1000 * 0.09623, "desnz2025.truck_artic.tonne_km", "imputed", "per_tonne_km"),
    9: (0.1 * 0.01977, "desnz2025.sea_container.tonne_km", "measured", "per_tonne_km"),  # a ship carries containers
    10: (7 * 0.13034, "desnz2025.bus_local.passenger_km", "assumed", "per_vehicle_km"),
    11: (400 * 0.85 / 1000 * 0.31071, "desnz2024.van_electric.tonne_km", "assumed", "per_tonne_km"),
    12: (0.0093342844, "desnz2023.truck_artic.tonne_km", "measured", "per_tonne_km"),
    13: (None, None, "measured", "per_tonne_km"),  # no factor for a hydrogen truck
    14: (None, None, "measured", "per_tonne"),  # treatment not decided
}


@pytest.mark.parametrize("leg", BY_HAND)
def test_leg_by_hand(build: duckdb.DuckDBPyConnection, leg: int) -> None:
    row = build.execute(
        "SELECT kg_co2e, factor_id, status, method FROM estimate_leg_carbon WHERE leg_key = ?", [leg]
    ).fetchall()
    kg, *rest = BY_HAND[leg]
    assert row == [(kg if kg is None else pytest.approx(kg, rel=1e-9), *rest)]


def test_leg_parts(build: duckdb.DuckDBPyConnection) -> None:
    """WTW = WTT + TTW wherever the publisher splits it; a single figure is left unsplit."""
    rows = build.execute(
        "SELECT leg_key, kg_co2e_wtt, kg_co2e_ttw, kg_co2e FROM estimate_leg_carbon WHERE kg_co2e IS NOT NULL ORDER"
        " BY 1"
    ).fetchall()
    split = {leg for leg, wtt, ttw, kg in rows if wtt is not None and wtt + ttw == pytest.approx(kg, rel=1e-9)}
    assert split == {1, 3, 5, 7, 8, 9, 10, 11, 12}
    assert rows[2][1:3] == (pytest.approx(0.016 * 0.15095), pytest.approx(0.016 * 0.6313))


def test_scope3_categories(build: duckdb.DuckDBPyConnection) -> None:
    found = dict(build.execute("SELECT leg_key, scope3_category FROM estimate_leg_carbon").fetchall())
    assert [found[leg] for leg in (1, 2, 3, 4, 5, 6)] == ["9", "1", "4", "4", "4", "5"]


def test_lots_carry_their_parcel(build: duckdb.DuckDBPyConnection) -> None:
    """By mass where all are weighed, by units where not; a cancelled lot carries nothing; the sum is the legs' sum."""
    lots = {
        lot: (kg, sure)
        for lot, kg, sure in build.execute(
            "SELECT return_lot_key, kg_co2e, kg_co2e_measured FROM estimate_return_carbon WHERE kg_co2e IS NOT NULL"
        ).fetchall()
    }
    first = sum(BY_HAND[leg][0] or 0 for leg in (1, 2, 3, 4, 5, 6))
    assert lots[1][0] == pytest.approx(first * 0.3 / 0.8)
    assert lots[2][0] == pytest.approx(first * 0.5 / 0.8)
    assert lots[2][1] == pytest.approx((first - HUB_KG) * 0.5 / 0.8)
    assert lots[6] == (0, 0)
    assert lots[5][0] == pytest.approx(2 * lots[4][0]) == pytest.approx(BY_HAND[11][0] * 2 / 3)
    assert lots[5][1] == 0
    total = build.execute("SELECT sum(kg_co2e) FROM estimate_leg_carbon WHERE leg_key <> 12").fetchall()[0][0]
    assert sum(kg for kg, _ in lots.values()) == pytest.approx(total, abs=1e-9)


def test_factor_set_says_what_was_used(build: duckdb.DuckDBPyConnection) -> None:
    """Exactly the factors of the legs, with the years they were used for; an older activity is labelled."""
    used = dict(build.execute("SELECT factor_id, description FROM factor_set WHERE kind = 'emission'").fetchall())
    assert set(used) == {f for _, names, _, _ in BY_HAND.values() if names for f in names.split(" + ")}
    assert "2022-2022, vintage_substituted" in used["desnz2023.truck_artic.tonne_km"]
    assert "vintage_substituted" not in used["desnz2025.truck_artic.tonne_km"]
    assert build.execute(
        "SELECT count(*) FROM factor_set WHERE factor_id IN ('circuity', 'allocation.mass')"
    ).fetchall() == [(2,)]


def test_touched_parcels_alone_give_the_same(build: duckdb.DuckDBPyConnection) -> None:
    """Deleting and estimating one parcel again changes nothing."""
    tables = (
        "estimate_leg_carbon",
        "estimate_leg_cost",
        "estimate_return_carbon",
        "estimate_return_cost",
        "factor_set",
    )
    before = [build.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in tables]
    of_parcel = "leg_key IN (SELECT leg_key FROM fact_return_leg WHERE parcel_key = 1)"
    of_lots = "return_lot_key IN (SELECT return_lot_key FROM fact_return_line WHERE parcel_key = 1)"
    build.execute(f"DELETE FROM estimate_leg_carbon WHERE {of_parcel}; DELETE FROM estimate_leg_cost WHERE {of_parcel}")
    build.execute(
        f"DELETE FROM estimate_return_carbon WHERE {of_lots}; DELETE FROM estimate_return_cost WHERE {of_lots}"
    )
    lanes(build, Settings())
    legs(build, Settings(), Shards(), of_parcel)
    returns(build, Settings(), Shards(), of_lots)
    assert [build.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in tables] == before


def test_a_build_without_legs() -> None:
    """A source without transports (Online Retail) gives no carbon and no factors, and no error."""
    connection = duckdb.connect()
    create_tables(connection)
    lanes(connection, Settings())
    legs(connection, Settings(), Shards(), "TRUE")
    returns(connection, Settings(), Shards(), "TRUE")
    counts = [
        connection.execute(f"SELECT count(*) FROM {t}").fetchall()[0][0]
        for t in ("estimate_leg_carbon", "estimate_return_carbon", "factor_set")
    ]
    assert counts == [0, 0, 0]
