"""How sure emissions are.

What each cell's figure rests on, its doubt from data/costs.csv and the build's factors, and intervals for every cut.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from models import uncertainty
from models.uncertainty import Bounded, Doubt, Floats, Lognormal, Sampled, Shares
from pipelines.factors import Ledger, Row, factors, number, parameter, parameters
from pipelines.metrics.declare import BoundQuestion, Finish, Measure
from pipelines.metrics.finish.shares import groups_of
from pipelines.metrics.sums import asked_beside, statistics_of
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

CELL = ("u_factor", "u_role", "u_distance", "u_mass", "u_share")
"""What a leg's emissions rest on: factor, role, status of distance (its type where it is imputed), mass and share."""
Pieces = tuple[tuple[str, float], ...]
"""Sources, each with the part of a cell's emissions that is proportional to it."""
_USUAL = {"customer_trip": "trip_distance", "first_mile": "first_mile_distance", "onward": "onward_distance"}
_IMPUTED = {
    "shortest_feasible": "parameter:road_adjustment",
    "great_circle": "parameter:circuity",
    "imputed": "parameter:circuity",
}
_MODES = {
    "car": ("car_average", "kgCO2e/vehicle.km"),
    "bus": ("bus_local", "kgCO2e/passenger.km"),
    "foot": ("foot", "kgCO2e/passenger.km"),
    "bike": ("bike", "kgCO2e/passenger.km"),
}
_MASSES = ("packaging_board", "packaging_film", "packaging_crate")


_TOLD_BY = {
    "factor:car_average": "trip_survey",
    "factor:bus_local": "trip_survey",
    "factor:hub_": "site_energy",
    "factor:grid": "site_energy",
    "factor:packaging": "packaging_declaration",
    "factor:treatment": "treatment_statement",
    "factor:": "carrier_fuel",
    "parameter:trip_": "trip_survey",
    "parameter:same_area_distance": "trip_survey",
    "parameter:packaging_uses": "crate_count",
    "parameter:packaging_mass": "scale",
    "parameter:refrigeration_uplift": "carrier_fuel",
    "parameter:parcel_mass": "scale",
    "imputed:mass": "scale",
    "parameter:hub_electricity": "site_energy",
    "parameter:": "carrier_distance",
}
"""What would tell a source, by how its name begins: the first that fits; its cost is a row of data/costs.csv."""


def measuring(source: str) -> str:
    """Name the measurement that would tell a source.

    >>> measuring("parameter:trip_distance"), measuring("factor:van_diesel")
    ('trip_survey', 'carrier_fuel')
    """
    return next(way for begins, way in _TOLD_BY.items() if source.startswith(begins))


def kind(factor_id: str) -> str:
    """Name what a factor is of, whatever its vintage, set and country: their errors are shared.

    >>> kind("desnz2025.van_diesel.tonne_km"), kind("trip_mix.all.desnz2025"), kind("van")
    ('van_diesel', 'trip_mix', 'van')
    """
    parts = factor_id.split(".")
    return parts[0] if len(parts) == 1 or parts[0] == "trip_mix" else parts[1]


def inputs(factor: str | None, role: str, distance: str | None, mass: str | None, share: str | None) -> tuple[str, ...]:
    """Name what was assumed or imputed of a leg in place of a measurement, and is shared with other legs.

    >>> inputs("van", "first_mile", "assumed", "measured", None)
    ('parameter:first_mile_distance',)
    """
    found = []
    if distance == "same_area":
        found.append("parameter:same_area_distance")
    elif distance == "assumed":
        found.append(f"parameter:{_USUAL.get(role, 'trunk_distance')}")
    elif distance in _IMPUTED and not kind(factor or "").startswith("air_"):  # a flight's factor holds its detours
        found.append(_IMPUTED[distance])
    if mass == "assumed" and role == "packaging":
        found += [f"parameter:packaging_mass.{m}" for m in _MASSES if m in (factor or "")]
    elif mass == "assumed":
        found.append("parameter:parcel_mass")
    elif mass == "imputed":
        found.append("imputed:mass")
    if share == "assumed":
        found.append("parameter:trip_share")
    return tuple(found)


def rests_on(build: Build, *cell: str | None) -> Pieces:
    """Name the sources of a cell, given in the order of `CELL`: those of its factor, and its inputs."""
    factor, role, distance, mass, share = cell
    found = dict(_factor_pieces(build, factor or ""))
    return tuple(found.items()) + tuple((s, 1.0) for s in inputs(factor, role or "", distance, mass, share))


def _factor_pieces(build: Build, factor_id: str) -> Pieces:
    """Name what a factor is made of: itself, a trip's modes, a site's heat and electricity, a crate and its uses."""
    known: dict[str, Pieces] = build.cache.setdefault("factor_pieces", {})
    if factor_id not in known:
        several = [f for f in factor_id.split(" + ") if f]
        of = _part_shares(build).get(factor_id, dict.fromkeys(several, 1 / max(len(several), 1)))
        weights: dict[str, float] = {}
        for one in several:
            for source, weight in _one_factor(build, one):
                weights[source] = weights.get(source, 0.0) + weight * of.get(one, 0.0)
        known[factor_id] = tuple(sorted(weights.items()))
    return known[factor_id]


def _part_shares(build: Build) -> dict[str, dict[str, float]]:
    """Give the shares of kg CO2e that each factor has of all legs with the same several factors, once a build."""
    if "part_shares" not in build.cache:
        legs, part = STAR.tables["estimate_leg_carbon"].c, STAR.tables["estimate_leg_part"].c
        kg = func.sum(part.kg_co2e)
        asked = select(legs.factor_id.label("whole"), part.factor_id, kg.label("kg")).where(
            part.leg_key == legs.leg_key, legs.factor_id.contains(" + ")
        )
        found = build.fetch(asked.group_by(legs.factor_id, part.factor_id))
        shares: dict[str, dict[str, float]] = {}
        for whole, parts in found[found["kg"] > 0].groupby("whole"):
            shares[str(whole)] = dict(zip(parts["factor_id"], parts["kg"] / parts["kg"].sum(), strict=True))
        build.cache["part_shares"] = shares
    of: dict[str, dict[str, float]] = build.cache["part_shares"]
    return of


def _one_factor(build: Build, factor_id: str) -> Pieces:
    of = kind(factor_id)
    if factor_id.endswith(".refrigerated"):  # the vehicle's own factor, times what its cooling unit adds
        plain = _plain_factor(build, factor_id, of)
        return (*plain, (f"parameter:refrigeration_uplift.{'van' if of.startswith('van') else 'truck'}", 1.0))
    return _plain_factor(build, factor_id, of)


def _plain_factor(build: Build, factor_id: str, of: str) -> Pieces:
    if of == "trip_mix":
        return _trip_pieces(build, factor_id)
    if of == "packaging_crate":
        return (("factor:packaging_crate", 1.0), ("parameter:packaging_uses", 1.0))
    row = _factor_rows(build).get(factor_id, {})
    if of == "grid":  # a meter's kWh: the same doubt as of sites and vehicles in that country
        return (("factor:" + ".".join(factor_id.split(".")[1:3]), 1.0),)
    grid = _grids().get(row.get("row_id", "").rpartition(" + ")[2])
    if grid is None or not row["value"] > 0:
        return ((f"factor:{of}", 1.0),)
    if ("hub_electricity", of) not in parameters():  # kWh that a vehicle or a locker takes, times the country's grid
        return ((f"factor:{of}", 1.0), (f"factor:grid.{grid['region']}", 1.0))
    part = min(1.0, parameter("hub_electricity", of) * float(grid["wtw"]) / row["value"])
    own = ((f"factor:{of}", 1 - part),) if part < 1 else ()
    return (*own, (f"factor:grid.{grid['region']}", part), (f"parameter:hub_electricity.{of}", part))


@cache
def _grids() -> dict[str, Row]:
    """Give the factors of electricity by their id."""
    return {f["factor_id"]: f for f in factors() if f["vehicle"] == "grid"}


def _trip_pieces(build: Build, factor_id: str) -> Pieces:
    """Name what the factor of a trip whose mode nobody said is made of: shares of modes, and each mode's factor."""
    country = factor_id.split(".")[1].replace("all", "")
    emitted = {m: row.value * kg for m, (row, kg) in _modes(build, country).items() if row.value * kg > 0}
    of = [(f"factor:{_MODES[m][0]}", kg / sum(emitted.values())) for m, kg in emitted.items()]
    return (*of, (f"parameter:trip_mode.{country}".rstrip("."), 1.0))


def _modes(build: Build, country: str) -> dict[str, tuple[Bounded | Sampled, float]]:
    """Give the share of each mode of a country's trips with the kg CO2e of a kilometre; car first.

    As the warehouse states them, else as what ships does.
    """
    own = {m: _own_doubt(build, f"trip_mode.{m}", country) for m in _MODES}
    stated = {m: doubt for m, doubt in own.items() if isinstance(doubt, Bounded | Sampled)}
    if len(stated) < len(_MODES):
        stated = _usual_modes(country)
    return {m: (doubt, _wtw(Ledger().fit(*_MODES[m], 9999))) for m, doubt in stated.items()}


@cache
def _usual_modes(country: str) -> dict[str, Bounded | Sampled]:
    rows = {m: parameters().get(("trip_mode", f"{country}.{m}".lstrip("."))) for m in _MODES}
    return {m: _stated(row) for m, row in rows.items() if row is not None}


def _wtw(row: Row | None) -> float:
    return (number(row, "wtw") or 0.0) if row else 0.0


def _stated(row: Mapping[str, str]) -> Bounded:
    """Read a parameter with its bounds; one without is certain."""
    value = float(row["value"])
    return Bounded(float(row["low"] or value), value, float(row["high"] or value))


def _factor_rows(build: Build) -> dict[str, dict[str, Any]]:
    """Read the factors that a build used, by id, once a build."""
    if "factor_rows" not in build.cache:
        c = STAR.tables["factor_set"].c
        rows = build.fetch(select(c.factor_id, c.log_sd, c.value, c.row_id).where(c.log_sd.is_not(None)))
        listed = rows.assign(row_id=rows["row_id"].fillna("")).to_dict("records")
        build.cache["factor_rows"] = {str(r["factor_id"]): r for r in listed}
    found: dict[str, dict[str, Any]] = build.cache["factor_rows"]
    return found


def _factor_doubts(build: Build) -> dict[str, float]:
    """Give the sd of the logarithm of each kind of factor: the widest of the build's, else of what ships."""
    if "factor_sd" not in build.cache:
        found: dict[str, float] = {}
        for row in factors():
            found.setdefault(row["vehicle"], parameter("factor_uncertainty", row["activity"]))
        used = pd.DataFrame(_factor_rows(build).values(), columns=["factor_id", "log_sd", "value", "row_id"])
        whole = used[~used["row_id"].str.contains(" + ", regex=False)]
        widest = whole.groupby(whole["factor_id"].map(kind))["log_sd"].max()
        found |= {str(of): float(sd) for of, sd in widest.items()}
        build.cache["factor_sd"] = found
    of_kind: dict[str, float] = build.cache["factor_sd"]
    return of_kind


def spreads(build: Build, names: Iterable[str]) -> dict[str, Doubt]:
    """Give the doubt about each source: of a factor by its pedigree, of a parameter between its stated bounds."""
    found: dict[str, Doubt] = {}
    for name in names:
        of, _, what = name.partition(":")
        if of == "factor" and what.startswith("grid."):
            found[name] = Lognormal(parameter("factor_uncertainty", "electricity"))
        elif of == "factor":
            found[name] = Lognormal(_factor_doubts(build).get(what, parameter("factor_uncertainty", "derived")))
        elif of == "parameter":
            found[name] = _own_doubt(build, what) or _parameter_doubt(build, what)
        else:
            found[name] = Lognormal(parameter("activity_uncertainty", of))
    return found


def _own_doubt(build: Build, name: str, country: str | None = None) -> Doubt | None:
    """Give the doubt about a parameter that the warehouse states itself, as a survey's sample: None where it does not.

    Of one country when it is named, its own or that of all; else of several countries the widest.
    """
    if "own_parameters" not in build.cache:
        c = STAR.tables["factor_set"].c
        own = ("own", "sampled")
        found = build.fetch(select(c.factor_id, c.value, c.low, c.high, c.quality).where(c.quality.in_(own)))
        parts = [str(of).removeprefix("own.").partition("@") for of in found["factor_id"]]
        build.cache["own_parameters"] = found.assign(name=[p[0] for p in parts], country=[p[2] for p in parts])
    stated = build.cache["own_parameters"]
    rows = stated[stated["name"] == name]
    if country is not None:
        rows = rows[rows["country"] == (country if country in set(rows["country"]) else "")]
    doubts = [_of_row(row, name) for row in rows.to_dict("records")]
    if doubts and country is None and "" not in set(rows["country"]):
        doubts.append(_parameter_doubt(build, name))  # what ships holds in all other countries
    return max(doubts, key=_swing) if doubts else None


def _of_row(row: Mapping[Any, Any], name: str) -> Doubt:
    """Read the doubt about a parameter of the warehouse; one without bounds has that of measurements."""
    if pd.isna(row["low"]) or pd.isna(row["high"]):
        return Lognormal(parameter("activity_uncertainty", "measured"))
    ends = float(row["low"]), float(row["value"]), float(row["high"])
    divides = name == "packaging_uses"
    return Sampled(*ends, divides) if row["quality"] == "sampled" else Bounded(*ends, divides)


def _swing(doubt: Doubt) -> float:
    """Give how far apart the ends of a doubt's 90% interval are, over what was stated."""
    low, high = doubt.errors(np.array([0.05, 0.95]))
    return float(high - low)


def _parameter_doubt(build: Build, name: str) -> Doubt:
    """Give the doubt about a parameter from its bounds, else from the pedigree of assumptions."""
    parameter_name, _, applies_to = name.partition(".")
    if parameter_name == "trip_mode":
        modes = _modes(build, applies_to).values()
        return Shares(tuple(share for share, _ in modes), tuple(kg for _, kg in modes))
    row = parameters()[(parameter_name, applies_to)]
    if not (row["low"] and row["high"]):
        return Lognormal(parameter("activity_uncertainty", "assumed"))
    return _stated(row)._replace(divides=parameter_name == "packaging_uses")


def cells(build: Build, frame: pd.DataFrame) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Give each row's cell number and the sources of each cell, with the part of it proportional to each."""
    number = np.zeros(len(frame), dtype=np.int64)
    for name in CELL:
        code, values = pd.factorize(frame[name])  # -1 where there is none
        number = number * (len(values) + 1) + code + 1
    _, first, row_kind = np.unique(number, return_index=True, return_inverse=True)
    kinds = frame[list(CELL)].iloc[first].astype(object)
    keys = [rests_on(build, *row) for row in kinds.where(kinds.notna(), None).itertuples(index=False)]
    place = {key: i for i, key in enumerate(sorted(set(keys)))}
    return np.array([place[k] for k in keys], dtype=np.int64)[row_kind], [dict(key) for key in place]


def _by_cell(
    frame: pd.DataFrame, keys: pd.DataFrame, by: tuple[str, ...], names: list[str], build: Build
) -> tuple[list[Floats], list[dict[str, float]]]:
    """Sum columns of a frame with `CELL` by group and cell: one (groups, cells) a column, and the cells' sources."""
    known = frame[frame["u_role"].notna()]
    group = np.zeros(len(known), dtype=np.int64)
    if by:
        numbered = keys.assign(_group=np.arange(len(keys)))
        group = known[list(by)].merge(numbered, on=list(by), how="left")["_group"].to_numpy(np.int64)
    number_of, of = cells(build, known)
    found = []
    for name in names:
        sums = np.bincount(
            group * len(of) + number_of, known[name].fillna(0).to_numpy(float), len(keys) * max(len(of), 1)
        )
        found.append(sums.reshape(len(keys), -1).astype(float))
    return found, of


def doubted(finish: Finish, part: Measure, whole: Measure | None = None) -> Finish:
    """Add the interval that the doubt about factors and inputs gives the value.

    The value is proportional to `part`, or to its share of `whole`: measures of which every alternative knows the
    `CELL` of its rows. They are asked for where the metric's own sums do not tell cells apart.
    """
    measures = (part,) if whole is None else (part, whole)
    asked_beside(*measures)

    def finishing(frame: pd.DataFrame, ask: BoundQuestion, build: Build) -> pd.DataFrame:
        found = finish(frame, ask, build)
        _, keys = groups_of(frame, ask.by)
        if "u_role" not in frame or not frame["u_role"].notna().any():
            if not len(frame) or not found["value"].notna().any():
                return found
            metric = replace(ask.metric, measures=measures, details=CELL, fine_details=(), wrap=None)
            frame = statistics_of(build, replace(ask, metric=metric))
        if not len(frame) or not frame["u_role"].notna().any():
            return found
        kg, of = _by_cell(frame, keys, ask.by, [m.name for m in measures], build)
        drawn = uncertainty.errors(
            of, spreads(build, {s for c in of for s in c}), draws=uncertainty.draws_for(len(keys))
        )
        low, high = uncertainty.intervals(kg[0], drawn, ask.level, *kg[1:])
        value = found["value"].to_numpy(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            stated = kg[0].sum(axis=1) / (kg[1].sum(axis=1) if whole else 1.0)
            found["low"] = np.where(stated > 0, np.minimum(value, value * low / stated), value)
            found["high"] = np.where(stated > 0, np.maximum(value, value * high / stated), value)
        return found

    return finishing
