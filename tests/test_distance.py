"""Distances: the geodesic against an independent great circle, and the lanes of a build."""

import duckdb
import numpy as np
import pytest
from geopy.distance import great_circle
from hypothesis import given, settings
from hypothesis import strategies as st

from models.distance import geodesic_km, road_km
from pipelines.estimate.lanes import lanes
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings
from pipelines.warehouse.sql import key_sql

LATITUDE, LONGITUDE = st.floats(-60, 70), st.floats(-179, 179)


def test_known_distance() -> None:
    """geopy's documentation: Newport, Rhode Island to Cleveland, Ohio is 866.4554329098687 km."""
    assert geodesic_km(41.49008, -71.312796, 41.499498, -81.695391) == pytest.approx(866.4554329098687, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(LATITUDE, LONGITUDE, LATITUDE, LONGITUDE)
def test_geodesic_agrees_with_great_circle(a: float, b: float, c: float, d: float) -> None:
    """The ellipsoid differs from the sphere by at most .6%; distance is the same both ways."""
    km = geodesic_km(a, b, c, d)
    assert km == pytest.approx(great_circle((a, b), (c, d)).km, rel=0.006, abs=0.01)
    assert km == pytest.approx(geodesic_km(c, d, a, b), abs=1e-6)


def test_arrays_and_floats_agree() -> None:
    latitudes, longitudes = np.array([48.9, 43.3]), np.array([2.4, 5.4])
    together = geodesic_km(latitudes, longitudes, 45.8, 4.8)
    assert together.shape == (2,)
    assert together[1] == geodesic_km(43.3, 5.4, 45.8, 4.8)
    assert road_km(together, 1.25) == pytest.approx(together * 1.25)


@pytest.fixture
def build() -> duckdb.DuckDBPyConnection:
    """Four places (one without coordinates) and legs between them."""
    connection = duckdb.connect()
    create_tables(connection)
    connection.execute(f"""
        INSERT INTO dim_place (place_key, place_id, area, latitude, longitude) VALUES
            (1, 's:A', 'FR-75', 48.9, 2.4), (2, 's:B', 'FR-75', 48.7, 2.0), (3, 's:C', NULL, 48.8, 2.5), (4, 's:D',
                NULL, 45.8, 4.8), (5, 's:E', NULL, NULL, NULL);
        INSERT INTO fact_return_leg BY NAME
            SELECT row_number() OVER () AS leg_key, a AS from_place_key, b AS to_place_key, element_type, role,
                {key_sql("p.place_id || '|' || q.place_id")} AS lane_key
            FROM (VALUES (1, 2, 'activity', 'customer_trip'), (1, 3, 'transport', 'trunk'), (1, 4, 'transport',
                'trunk'), (1, 4, 'transport', 'trunk'),
                (4, 1, 'transport', 'onward'), (1, 5, 'transport', 'trunk'), (4, 4, 'hub', 'hub')) v(a, b, element_type,
                    role)
            JOIN dim_place p ON p.place_key = a JOIN dim_place q ON q.place_key = b;
    """)
    return connection


def test_lanes(build: duckdb.DuckDBPyConnection) -> None:
    """One row a pair with coordinates; one area and one rounding step get the labelled default of 3.5 km."""
    lanes(build, Settings())
    found = {
        (a, b): (km, how)
        for a, b, km, how in build.execute(
            "SELECT from_place_key, to_place_key, distance_km, method FROM dim_lane"
        ).fetchall()
    }
    road = geodesic_km(48.9, 2.4, 45.8, 4.8) * 1.25
    assert found[1, 2] == (3.5, "same area")
    assert found[1, 3] == (3.5, "same area")
    assert found[1, 4] == (pytest.approx(road, rel=1e-12), "geodesic x 1.25")
    assert found[4, 1] == found[1, 4]
    assert set(found) == {(1, 2), (1, 3), (1, 4), (4, 1)}


def test_lanes_are_computed_once(build: duckdb.DuckDBPyConnection) -> None:
    lanes(build, Settings())
    build.execute("UPDATE dim_lane SET distance_km = 1")
    lanes(build, Settings())
    assert build.execute("SELECT count(*), min(distance_km), max(distance_km) FROM dim_lane").fetchall() == [(4, 1, 1)]
