"""Distances between places, in km.

The warehouse computes each lane once and joins it; no lane, place or factor lives here.
"""

from typing import Any

import numpy as np

Number = Any
RADIUS_KM, FLATTENING = 6378.137, 1 / 298.257223563  # of the WGS 84 ellipsoid, at the equator


def geodesic_km(latitude: Number, longitude: Number, to_latitude: Number, to_longitude: Number) -> Number:
    """Shortest distance over the WGS 84 ellipsoid (Karney), in km; degrees in, floats or arrays of one shape.

    >>> round(geodesic_km(48.9, 2.4, 45.8, 4.8))
    389
    """
    from geographiclib.geodesic import Geodesic  # only when a lane is new

    earth = Geodesic(RADIUS_KM, FLATTENING)
    places = np.broadcast_arrays(latitude, longitude, to_latitude, to_longitude)
    pairs = zip(*(np.ravel(p) for p in places), strict=True)
    km = np.array([earth.Inverse(*pair, Geodesic.DISTANCE)["s12"] for pair in pairs]).reshape(places[0].shape)
    return km if places[0].shape else float(km)


def road_km(straight_km: Number, circuity: Number) -> Number:
    """Road distance for a straight line, in km: `circuity` kilometres of road for one as the crow flies.

    An assumption, to be labelled. Factors per kilometre driven need no further uplift.

    >>> road_km(100, 1.25)
    125.0
    """
    return straight_km * circuity
