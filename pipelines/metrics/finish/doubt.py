"""How sure emissions are.

What each cell's figure rests on, its uncertainty from data/costs.csv and the build's factors, intervals and a tornado.
"""

from functools import cache

import numpy as np
import pandas as pd
from sqlalchemy import select

from models import uncertainty
from pipelines.factors import parameter, parameters
from pipelines.metrics.declare import BoundQuestion, Finish
from pipelines.metrics.finish.shares import groups_of
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

CELL = ("u_factor", "u_role", "u_distance", "u_mass", "u_status")
_USUAL = {"customer_trip": "trip_distance", "first_mile": "first_mile_distance", "onward": "onward_distance"}


def kind(factor_id: str) -> str:
    """Name what a factor is of, whatever its vintage, set and country: their errors are shared.

    >>> kind("desnz2025.van_diesel.tonne_km"), kind("trip_mix.all.desnz2025"), kind("van")
    ('van_diesel', 'trip_mix', 'van')
    """
    parts = factor_id.split(".")
    return parts[0] if len(parts) == 1 or parts[0] == "trip_mix" else parts[1]


def sources(
    factor: str | None, role: str, distance: str | None, mass: str | None, status: str | None
) -> tuple[str, ...]:
    """Name what a leg's emissions rest on and share with other legs.

    Its factor, and what was assumed or imputed in its place.

    >>> sources("van", "first_mile", "assumed", "measured", "assumed")
    ('factor:van', 'parameter:first_mile_distance')
    """
    found = sorted({f"factor:{kind(f)}" for f in (factor or "").split(" + ") if f})
    if distance == "assumed":
        found.append(f"parameter:{_USUAL.get(role, 'trunk_distance')}")
    elif distance == "imputed":
        found.append("parameter:circuity")
    if mass == "assumed":
        found.append("parameter:packaging_mass.packaging_board" if role == "packaging" else "parameter:parcel_mass")
    elif mass == "imputed":
        found.append("imputed:mass")
    if role == "customer_trip" and status == "assumed" and distance != "assumed":
        found.append("assumed:trip_share")
    return tuple(found)


@cache
def _stated(name: str) -> float:
    """Give the sd of a parameter from its stated bounds, else from the pedigree of assumptions."""
    parameter_name, _, applies_to = name.partition(".")
    row = parameters()[(parameter_name, applies_to)]
    if row["low"] and row["high"] and float(row["low"]) > 0:
        return uncertainty.bounds_sd(float(row["low"]), float(row["high"]))
    return parameter("activity_uncertainty", "assumed")


def spreads(build: Build, names: set[str]) -> dict[str, float]:
    """Give the sd of the logarithm of each source."""
    if "factor_sd" not in build.cache:
        table = STAR.tables["factor_set"]
        rows = build.fetch(select(table.c.factor_id, table.c.log_sd).where(table.c.log_sd.is_not(None)))
        build.cache["factor_sd"] = (
            rows.assign(kind=rows["factor_id"].map(kind)).groupby("kind")["log_sd"].max().to_dict()
        )
    of_factor: dict[str, float] = build.cache["factor_sd"]
    found = {}
    for name in names:
        of, _, what = name.partition(":")
        if of == "factor":
            found[name] = of_factor.get(what, parameter("factor_uncertainty", "derived"))
        elif of == "parameter":
            found[name] = _stated(what)
        else:
            found[name] = parameter("activity_uncertainty", of)
    return found


def cells(frame: pd.DataFrame) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Give each row's cell number and the sources of each cell."""
    told = frame[list(CELL)].astype(object).where(frame[list(CELL)].notna(), None)
    keys = [sources(*row) for row in told.itertuples(index=False, name=None)]
    unique = sorted(set(keys))
    place = {key: i for i, key in enumerate(unique)}
    return np.array([place[k] for k in keys], dtype=np.int64), unique


def doubted(finish: Finish) -> Finish:
    """Add the interval that the doubt about factors and inputs gives the value.

    None where the cells are not known (cut by product).
    """

    def finishing(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        found = finish(frame, ask, build)
        emitted = frame["kg"].fillna(0).to_numpy(float)
        is_known = frame["u_role"].notna().to_numpy() if "u_role" in frame else np.zeros(len(frame), bool)
        group, keys = groups_of(frame, ask.by)
        if not is_known.any():
            return found
        number, of = cells(frame[is_known])
        kg = np.zeros((len(keys), len(of)))
        np.add.at(kg, (group[is_known], number), emitted[is_known])
        total = np.bincount(group, emitted, len(keys))
        low, high = uncertainty.intervals(
            kg, uncertainty.errors(of, spreads(build, {s for c in of for s in c})), ask.level
        )
        whole = np.isclose(kg.sum(axis=1), total) & (total > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            for name, end in (("low", low), ("high", high)):
                found[name] = np.where(whole, found["value"] * end / total, np.nan)
        return found

    return finishing
