"""Lanes: from where to where goods travelled, and how far it is."""

from models import distance
from pipelines.estimate.sql import Connection, append
from pipelines.factors import ledger
from pipelines.settings import Settings

COORDINATE_STEP = 0.1  # places are rounded to it (degrees); no distance is read from places this close


def lanes(connection: Connection, settings: Settings, where_leg: str = "TRUE") -> None:
    """Fill dim_lane for origins and destinations not known yet of legs matching `where_leg`, both with coordinates.

    Geopy once per pair of points. Places of one area, or no further apart than the rounding of coordinates, get the
    labelled default.
    """
    new = connection.execute(f"""
        SELECT l.lane_key, l.from_place_key, l.to_place_key, a.latitude, a.longitude, b.latitude AS to_latitude,
            b.longitude AS to_longitude, a.country,
            coalesce(a.area = b.area, false) OR greatest(abs(a.latitude - b.latitude), abs(a.longitude
                - b.longitude)) <= {COORDINATE_STEP} + 1e-9 AS is_same_area
        FROM (SELECT lane_key, min(from_place_key) AS from_place_key, min(to_place_key) AS to_place_key
            FROM fact_return_leg
            WHERE lane_key IS NOT NULL AND (element_type = 'transport' OR role = 'customer_trip')
                AND ({where_leg}) GROUP BY 1) l
        ANTI JOIN dim_lane USING (lane_key)
        JOIN dim_place a ON a.place_key = l.from_place_key JOIN dim_place b ON b.place_key = l.to_place_key
        WHERE a.latitude IS NOT NULL AND a.longitude IS NOT NULL AND b.latitude IS NOT NULL
            AND b.longitude IS NOT NULL ORDER BY 1
    """).fetchall()
    if not new:
        return
    known: dict[tuple[float, ...], float] = {}
    own = ledger(settings)
    rows = []
    for *keys, latitude, longitude, to_latitude, to_longitude, country, is_same_area in new:
        circuity, near = (own.parameter(n, country=country or "") for n in ("circuity", "same_area_distance"))
        pair = (latitude, longitude, to_latitude, to_longitude)
        if not is_same_area and pair not in known:
            known[pair] = known[pair[2:] + pair[:2]] = distance.geodesic_km(*pair)
        rows.append(
            (*keys, near, "same area")
            if is_same_area
            else (*keys, distance.road_km(known[pair], circuity), f"geodesic x {circuity:g}")
        )
    append(connection, "dim_lane", rows)
