"""Emissions leg by leg.

Columns: lanes, parcels, one return explained, what the total rests on, what a change is made of, what another factor
set gives. Sums in them agree with the metrics of the same filters. No number is defined here that a metric defines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, and_, case, extract, func, literal_column, or_, select

from models import split, uncertainty
from pipelines.errors import UnknownDimension
from pipelines.factors import Ledger, Row, number, parameter
from pipelines.metrics.bind import bind, euro_rate
from pipelines.metrics.catalogue.carbon import KG_CELLS
from pipelines.metrics.cautions import doubt, doubted, of_either
from pipelines.metrics.compiler import dimension, filters
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.facts import LEGS, lane_of, leg_carbon, leg_cost, legs, lot_carbon, lots, own_km
from pipelines.metrics.finish.doubt import CELL, cells, measuring, rests_on, spreads
from pipelines.metrics.question import ANYTHING, Question
from pipelines.metrics.sums import statistics_of, summed
from pipelines.warehouse.engine import Build, Expression
from pipelines.warehouse.rules import Time
from pipelines.warehouse.star import STAR

t = STAR.tables
BAND_ALL_IN, BAND_TONNE_KM = (0.5, 1.7), (0.05, 0.5)
"""Plausible means a parcel (kg CO2e).

All in (University of Bamberg 2018 and 2021), and transport and packaging by tonne-kilometre.
"""
IMPLAUSIBLE = (0.02, 10.0)  # a parcel below or above (kg CO2e) is flagged
BINS = (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, np.inf)


def _conditions(question: BoundQuestion) -> list[Expression]:
    return filters(LEGS, question, LEGS.time(question))


def lanes(
    build: Build,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """List the lanes of the way back, heaviest emissions first.

    Both places with coordinates, mode, legs, parcels, km, kg CO2e, caution and reason.
    """
    bound = bind(build, "kg_co2e", question)
    start, end = t["dim_place"].alias("start_place"), t["dim_place"].alias("end_place")
    names = ("place_id", "name", "kind", "latitude", "longitude")
    ends = [start.c[n].label(f"from_{n}") for n in names] + [end.c[n].label(f"to_{n}") for n in names]
    query = (
        select(
            *ends,
            legs.c.mode,
            func.count().label("legs"),
            func.count(legs.c.parcel_key.distinct()).label("parcels"),
            func.avg(leg_carbon.c.distance_km).label("distance_km"),
            func.sum(leg_carbon.c.kg_co2e).label("kg_co2e"),
        )
        .select_from(
            LEGS.table.join(start, start.c.place_key == legs.c.from_place_key).join(
                end, end.c.place_key == legs.c.to_place_key
            )
        )
        .where(*_conditions(bound), legs.c.element_type == literal_column("'transport'"))
        .group_by(*(start.c[n] for n in names), *(end.c[n] for n in names), legs.c.mode)
    )
    listed = (
        build.fetch(query)
        .sort_values(["kg_co2e", "from_place_id", "to_place_id"], ascending=[False, True, True])
        .reset_index(drop=True)
    )
    return doubted(listed, doubt(build, question, "kg_co2e"))


def parcels(
    build: Build,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """Count parcels by what they emitted, all in.

    Columns: low and high of each class (kg CO2e), parcels, kg_co2e, flagged (implausible), caution, reason. Parcels of
    two legs or fewer are hardly begun and are never flagged as light.
    """
    bound = bind(build, "kg_co2e", question)
    one = (
        select(func.sum(leg_carbon.c.kg_co2e).label("kg"), func.count().label("legs"))
        .select_from(LEGS.table)
        .where(*_conditions(bound))
        .group_by(legs.c.parcel_key)
        .subquery("one")
    )
    place = case(*((one.c.kg < high, i) for i, high in enumerate(BINS[1:-1])), else_=len(BINS) - 2)
    is_flagged = or_(and_(one.c.kg < IMPLAUSIBLE[0], one.c.legs > 2), one.c.kg > IMPLAUSIBLE[1])
    query = select(
        place.label("place"),
        func.count().label("parcels"),
        func.sum(one.c.kg).label("kg_co2e"),
        func.sum(case((is_flagged, 1), else_=0)).label("flagged"),
    )
    found = build.fetch(query.where(one.c.kg.is_not(None)).group_by(place)).set_index("place")
    found = found.reindex(range(len(BINS) - 1)).fillna(0).reset_index()
    counted = found.assign(low=BINS[:-1], high=BINS[1:])[["low", "high", "parcels", "kg_co2e", "flagged"]]
    return doubted(counted, doubt(build, question, "kg_co2e"))


_LEG = (
    "leg_key",
    "element_id",
    "parcel_id",
    "element_no",
    "element_type",
    "role",
    "carrier",
    "mode",
    "vehicle",
    "fuel",
    "started_at",
    "ended_at",
    "trip_share",
    "movement_parcels",
    "calculated_by",
    "calculated_with",
    "primary_share",
    "source",
)
_CARBON = (
    "activity",
    "distance_km",
    "distance_type",
    "distance_adjustment",
    "distance_status",
    "mass_kg",
    "mass_status",
    "tonne_km",
    "kg_co2e",
    "kg_co2e_wtt",
    "kg_co2e_ttw",
    "kg_co2e_biogenic",
    "kg_co2e_market",
    "kg_co2e_modelled",
    "kg_co2e_tonne_km",
    "amount",
    "status",
    "method",
    "scope3_category",
    "factor_id",
)
_FACTOR = (
    "description",
    "unit",
    "value",
    "year",
    "source",
    "source_address",
    "quality",
    "factor_set",
    "row_id",
    "licence",
    "gwp",
    "eol_method",
    "log_sd",
)


def _traced() -> Select[Any]:
    factors, start, end = t["factor_set"], t["dim_place"].alias("start_place"), t["dim_place"].alias("end_place")
    return select(
        *(legs.c[n] for n in _LEG),
        start.c.name.label("from_name"),
        end.c.name.label("to_name"),
        *(leg_carbon.c[n] for n in _CARBON),
        *(LEGS.details[n](Time(legs.c.source)).label(n) for n in CELL),
        leg_cost.c.amount.label("cost_amount"),
        leg_cost.c.status.label("cost_status"),
        leg_cost.c.method.label("cost_method"),
        *(factors.c[n].label(f"factor_{n}") for n in _FACTOR),
    ).select_from(
        legs.outerjoin(leg_carbon, leg_carbon.c.leg_key == legs.c.leg_key)
        .outerjoin(leg_cost, leg_cost.c.leg_key == legs.c.leg_key)
        .outerjoin(factors, factors.c.factor_id == leg_carbon.c.factor_id)
        .outerjoin(start, start.c.place_key == legs.c.from_place_key)
        .outerjoin(end, end.c.place_key == legs.c.to_place_key)
        .outerjoin(lane_of, lane_of.c.lane_key == legs.c.lane_key)
    )


def _leg(build: Build, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Finish one traced leg: the formula with its numbers, its parts of several factors, and its interval (90%)."""
    leg = _plain(row)
    low, high = _interval(build, [leg])
    parts = _leg_parts(build, int(leg["leg_key"])) if " + " in str(leg["factor_id"]) else []
    shown = {name: value for name, value in leg.items() if name not in (*CELL, "leg_key")}
    return {**shown, "low": low, "high": high, "formula": formula(leg), "parts": parts}


def _leg_parts(build: Build, leg_key: int) -> list[dict[str, Any]]:
    """List the parts of a leg with several factors, each with its amount, factor and formula."""
    part, factors = t["estimate_leg_part"], t["factor_set"]
    found = build.fetch(
        select(
            part.c.part,
            part.c.amount,
            part.c.kg_co2e,
            part.c.factor_id,
            *(factors.c[n].label(f"factor_{n}") for n in _FACTOR),
        )
        .select_from(part.join(factors, factors.c.factor_id == part.c.factor_id))
        .where(part.c.leg_key == leg_key)
        .order_by(part.c.part, part.c.factor_id)
    )
    rows = [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in found.to_dict("records")]
    return [
        row
        | {
            "factor_year": None if row["factor_year"] is None else int(row["factor_year"]),
            "formula": (
                f"{str(row['part']).replace('_', ' ')}: {row['amount']:.10g} x {row['factor_value']:.10g}"
                f" {row['factor_unit']} ({row['factor_id']}) = {row['kg_co2e']:.10g} kg CO2e"
            ),
        }
        for row in rows
    ]


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    plain = {str(k): None if pd.isna(v) else v for k, v in row.items()}
    return {k: int(v) if k.endswith("year") and v is not None else v for k, v in plain.items()}


def _interval(build: Build, traced: Sequence[Mapping[str, Any]]) -> tuple[float | None, float | None]:
    """Give the interval (90%) of the sum of traced legs, each with what is its own doubt; None without an answer."""
    known = [leg for leg in traced if leg["kg_co2e"] is not None]
    if not known:
        return None, None
    of = [
        {**dict(rests_on(build, *(leg[name] for name in CELL))), f"measured:{leg['element_id']}": 1.0} for leg in known
    ]
    kg = [[leg["kg_co2e"] for leg in known]]
    drawn = uncertainty.errors(of, spreads(build, {s for cell in of for s in cell}))
    low, high = (float(end[0]) for end in uncertainty.intervals(kg, drawn, 0.9))
    return min(low, sum(kg[0])), max(high, sum(kg[0]))


def trace(build: Build, leg_id: str) -> dict[str, Any]:
    """Trace one leg (its element_id).

    What it was, the formula with its numbers, its interval, the factor and where the factor comes from. Raises
    UnknownDimension for a leg that is not in the build.
    """
    found = build.fetch(_traced().where(legs.c.element_id == leg_id))
    if not len(found):
        raise UnknownDimension(
            f"There is no leg {leg_id!r} in this build. `backhaul metric kg_co2e` and its rows name the legs."
        )
    return _leg(build, found.iloc[0].to_dict())


def explain(build: Build, return_id: str) -> dict[str, Any]:
    """Explain what one return emitted.

    Every leg of its parcels with its formula, the parcels' totals by activity, and the return's share. Gives return_id,
    kg_co2e (None when a leg has no answer), parcels (parcel_id, legs, by_activity, kg_co2e with low and high) and lots
    (return_line_id, product_id, units, disposition, kg_co2e). Raises UnknownDimension for a return that is not in the
    build.
    """
    names = ("return_id", "return_line_id", "lot_no", "parcel_id", "product_id", "units", "weight_kg", "disposition")
    query = (
        select(*(lots.c[n] for n in names), lot_carbon.c.kg_co2e, lot_carbon.c.is_whole)
        .select_from(lots.outerjoin(lot_carbon, lot_carbon.c.return_lot_key == lots.c.return_lot_key))
        .where(or_(lots.c.return_id == return_id, lots.c.return_id.endswith(":" + return_id, autoescape=True)))
        .order_by(lots.c.return_line_id, lots.c.lot_no)
    )
    own = build.fetch(query)
    if not len(own):
        raise UnknownDimension(
            f"There is no return {return_id!r} in this build. `backhaul metric kg_co2e --by return` does not list them;"
            " `backhaul export` of rows does."
        )
    wanted = list(own["parcel_id"].dropna().unique())
    found = (
        build.fetch(_traced().where(legs.c.parcel_id.in_(wanted)).order_by(legs.c.parcel_id, legs.c.element_no))
        if wanted
        else pd.DataFrame()
    )
    chains = []
    for parcel_id in wanted:
        rows = found[found["parcel_id"] == parcel_id].to_dict("records")
        chain = [_leg(build, row) for row in rows]
        by_activity: dict[str, float] = {}
        for leg in chain:
            by_activity[leg["activity"]] = by_activity.get(leg["activity"], 0.0) + (leg["kg_co2e"] or 0.0)
        low, high = _interval(build, [_plain(row) for row in rows])
        chains.append(
            {
                "parcel_id": parcel_id,
                "legs": chain,
                "by_activity": by_activity,
                "kg_co2e": sum(by_activity.values()),
                "low": low,
                "high": high,
                "missing": [leg["element_id"] for leg in chain if leg["kg_co2e"] is None],
            }
        )
    told = own.astype(object).where(own.notna(), None).to_dict("records")
    known = [r["kg_co2e"] for r in told if r["kg_co2e"] is not None]
    return {
        "return_id": str(own["return_id"].iloc[0]),
        "kg_co2e": float(sum(known)) if known else None,
        "parcels": chains,
        "lots": told,
    }


def formula(leg: Mapping[str, Any]) -> str:
    """Write the formula of one leg with its numbers; what stands before `=` gives what stands behind it.

    >>> leg = {"method": "per_tonne_km", "distance_km": 20.0, "mass_kg": 0.8, "factor_value": 0.78225}
    >>> leg |= {"factor_unit": "kgCO2e/t.km", "kg_co2e": 0.012516, "factor_id": "van"}
    >>> formula(leg)
    '20 km x 0.8 kg / 1000 x 0.78225 kgCO2e/t.km = 0.012516 kg CO2e'
    """

    def told(name: str) -> str:
        return "?" if leg.get(name) is None else f"{leg[name]:.10g}"

    factor, result = f"{told('factor_value')} {leg.get('factor_unit') or ''}".strip(), f"{told('kg_co2e')} kg CO2e"
    if leg.get("factor_id") is None:
        return "no factor fits this leg, so it has no answer: add one to the ledger"
    if leg["method"] == "given":
        by, how = leg.get("calculated_by") or "nobody named", leg.get("calculated_with") or "no method named"
        return f"as given by {by} ({how}) = {result}"
    if " + " in str(leg["factor_id"]):
        what = "measured energy and refrigerant" if leg["method"] == "energy" else f"{told('mass_kg')} kg of goods"
        return f"{what}, each kind with its factor ({leg['factor_id']}) = {result}"
    if leg["method"] == "energy":
        return f"{told('amount')} x {factor} = {result}"
    share, uses, amount = leg.get("trip_share"), 1.0, leg.get("amount")  # what was assumed follows from the amount
    if share is None and amount is not None and leg.get("distance_km"):
        share = amount / leg["distance_km"]
    if amount and "packaging_crate" in str(leg["factor_id"]):
        uses = round(leg["mass_kg"] / 1000 / amount, 9)
    is_round = leg.get("distance_km") is not None
    written = {
        "per_tonne_km": f"{told('distance_km')} km x {told('mass_kg')} kg / 1000 x {factor}",
        "per_vehicle_km": f"{told('distance_km')} km x {1 if share is None else share:.10g} x {factor}",
        "per_tonne": (
            f"{told('mass_kg')} kg{'' if str(leg.get('factor_unit')).endswith('/kg') else ' / 1000'} x {factor}"
            + (f" / {uses:g} uses" if uses != 1 else "")
        ),
        "per_parcel": (
            f"{told('distance_km')} km / {told('movement_parcels')} parcels x {factor}"
            if is_round
            else f"1 parcel x {factor}"
        ),
        "shared": f"{told('distance_km')} km x {factor}, shared by mass x direct distance",
    }
    return f"{written.get(str(leg['method']), '?')} = {result}"


def tornado(
    build: Build,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """Say what makes the total's interval wide, and what measuring would take off it.

    Columns: source, low and high (kg CO2e) if only it were in doubt, share of the variance; measuring (what would tell
    it), cost of that measuring (reporting currency), narrower_kg: width it takes off the interval with all that it
    tells, kg_per_cost; caution, reason; widest first. A source is a factor, a parameter assumed in place of a
    measurement, or what was imputed. What is measured keeps the doubt of measurements.
    """
    bound = bind(build, "kg_co2e", question)
    by_cell = replace(bound, metric=replace(bound.metric, measures=(KG_CELLS,), details=CELL))
    frame = statistics_of(build, by_cell)
    frame = frame[frame["u_role"].notna() & frame["kg"].notna()]
    names = ["source", "low", "high", "share", "measuring", "cost", "narrower_kg", "kg_per_cost"]
    if frame.empty:
        return pd.DataFrame(columns=names)
    number_of, of = cells(build, frame)
    kg = np.bincount(number_of, frame["kg"].to_numpy(float), len(of))
    doubts = spreads(build, {s for cell in of for s in cell})
    swings = pd.DataFrame(uncertainty.tornado(kg, of, doubts, question.level), columns=names[:4])
    swings["measuring"] = [measuring(s) for s in swings["source"]]
    left = {s: uncertainty.Lognormal(parameter("activity_uncertainty", "measured")) for s in doubts}
    taken = {
        way: uncertainty.narrowed(kg, of, doubts, {s: left[s] for s in told}, question.level)
        for way, told in swings.groupby("measuring")["source"]
    }
    swings["cost"] = [euro_rate(build) * parameter("measuring", way) for way in swings["measuring"]]
    swings["narrower_kg"] = swings["measuring"].map(taken)
    swings["kg_per_cost"] = swings["narrower_kg"] / swings["cost"]
    return doubted(swings, doubt(build, question, "kg_co2e"))


def factor_of(build: Build, vehicle: str, unit: str) -> float | None:
    """Give the factor (kg CO2e a unit) of something that goods could travel by or be treated with, of the chosen set.

    Of the last year that the build's legs are of; None where no set has one.
    """
    c = t["factor_set"].c
    found = build.fetch(
        select(c.value).where(c.vehicle == vehicle, c.unit == unit).order_by(c.year.desc(), c.factor_id).limit(1)
    )
    return None if found.empty else float(found["value"].iloc[0])


def missing_factors(build: Build) -> pd.DataFrame:
    """List legs that no factor fits, by what they are.

    Columns: role, mode, vehicle, fuel, unit wanted, legs, first and last year; most legs first.
    """
    unit = case(
        (legs.c.element_type == literal_column("'hub'"), literal_column("'kgCO2e/parcel'")),
        (legs.c.role.in_(["packaging", "treatment"]), literal_column("'kgCO2e/t'")),
        (legs.c.role == literal_column("'customer_trip'"), literal_column("'kgCO2e/vehicle.km'")),
        else_=literal_column("'kgCO2e/t.km'"),
    )
    year = extract("year", legs.c.started_on)
    query = (
        select(
            legs.c.role,
            legs.c.mode,
            legs.c.vehicle,
            legs.c.fuel,
            unit.label("unit"),
            func.count().label("legs"),
            func.min(year).label("first_year"),
            func.max(year).label("last_year"),
        )
        .select_from(LEGS.table)
        .where(leg_carbon.c.kg_co2e.is_(None))
        .group_by(legs.c.role, legs.c.mode, legs.c.vehicle, legs.c.fuel, unit)
    )
    return build.fetch(query).sort_values(["legs", "role"], ascending=[False, True]).reset_index(drop=True)


def factor_effect(build: Build, now: Ledger, other: Ledger, question: Question = ANYTHING) -> pd.DataFrame:
    """Say what another set or vintage would make of the same legs.

    Columns: vehicle, unit, factor_id and other_id, kg_co2e, other_kg_co2e, difference. Emissions are proportional to
    their factor, so nothing else changes. A leg of several factors, and one whose other factor is missing, stays as it
    is (other_id empty).
    """
    bound = bind(build, "kg_co2e", question.takes("Another set of factors", "since", "until"))
    year, place, c = extract("year", legs.c.started_on), t["dim_place"], leg_carbon.c
    at = case((legs.c.element_type == literal_column("'hub'"), place.c.country), else_=legs.c.country)
    country = func.coalesce(at, literal_column("''"))
    query = (
        select(c.factor_id, year.label("year"), country.label("country"), func.sum(c.kg_co2e).label("kg_co2e"))
        .select_from(LEGS.table.outerjoin(place, place.c.place_key == legs.c.to_place_key))
        .where(*_conditions(bound), c.kg_co2e.is_not(None))
        .group_by(c.factor_id, year, country)
    )
    found = build.fetch(query)
    years, countries = sorted({int(y) for y in found["year"]}), sorted({str(c) for c in found["country"]})

    def laid(ledger: Ledger) -> dict[tuple[str, str, str, int], Row]:
        rows = {(r["vehicle"], r["unit"], r["country"], int(r["for_year"])): r for r in ledger.table(years, countries)}
        everywhere = {(v, u, c, y): r for (v, u, of, y), r in rows.items() if not of for c in countries}
        return {**everywhere, **rows}

    held, theirs = laid(now), laid(other)
    ours = {(r["factor_id"], key[2], key[3]): key for key, r in held.items()}
    rows = []
    for factor_id, of_year, at_country, kg in found.itertuples(index=False, name=None):
        key = ours.get((str(factor_id), str(at_country), int(of_year)))
        row, instead = (held[key], theirs.get(key)) if key else (None, None)
        rows.append(
            {
                "vehicle": row["vehicle"] if row else "",
                "unit": row["unit"] if row else "",
                "factor_id": factor_id,
                "other_id": instead["factor_id"] if instead else "",
                "kg_co2e": float(kg),
                "other_kg_co2e": float(kg) * _ratio(instead, row),
            }
        )
    frame = pd.DataFrame(rows, columns=["vehicle", "unit", "factor_id", "other_id", "kg_co2e", "other_kg_co2e"])
    frame = frame.groupby(["vehicle", "unit", "factor_id", "other_id"], as_index=False).sum()
    frame["difference"] = frame["other_kg_co2e"] - frame["kg_co2e"]
    return frame.sort_values("difference", key=np.abs, ascending=False, ignore_index=True)


def _ratio(instead: Row | None, row: Row | None) -> float:
    ours, theirs = (number(r, "wtw") if r else None for r in (row, instead))
    return theirs / ours if ours and theirs is not None else 1.0


CAUSES = ("volume_returned", "consolidation", "mode", "distance", "weight", "factor")


def change_split(
    build: Build,
    question: Question = ANYTHING,
    *,
    period: tuple[date, date],
    against: tuple[date, date],
) -> pd.DataFrame:
    """Split the change of kg CO2e per 100 units sold between two spans of order days into its causes.

    The effects add up to it exactly. Rows: before (total), one a cause, after (total); columns step, kind, amount,
    caution, reason. Volume: units returned per unit sold. Consolidation: legs and packaging a returned unit, parcels a
    round, share of a trip. Mode: vehicles of each part of the way. Distance: kilometres a leg. Weight: mass a leg.
    Factor: kg CO2e a unit of activity. Empty when either span sold nothing or emitted nothing.
    """
    question.takes("A change between two periods", "as_of")
    sides = [_activity(build, span, question) for span in (against, period)]
    names = ["step", "kind", "amount"]
    if any(not sold or not returned or not len(frame) for frame, returned, sold in sides):
        return pd.DataFrame(columns=names)
    index = sides[0][0].index.union(sides[1][0].index)
    parts = [_levels(frame.reindex(index), returned, sold) for frame, returned, sold in sides]
    for one, other in (
        parts,
        parts[::-1],
    ):  # what a side has no legs to tell of is as the other side's: only its share is zero
        one |= {n: np.where(np.isnan(v), other[n], v) for n, v in one.items()}
    parts = [{n: np.nan_to_num(v) for n, v in p.items()} for p in parts]
    totals = [float(np.prod(list(p.values()), axis=0).sum()) for p in parts]
    effects = split.split(*parts)
    effects["consolidation"] += effects.pop("sharing")
    said = [doubt(build, question.but(since=s, until=u), "kg_co2e_per_100_sold") for s, u in (period, against)]
    rows = [("before", "total", totals[0]), *((c, "step", effects[c]) for c in CAUSES), ("after", "total", totals[1])]
    return doubted(pd.DataFrame(rows, columns=names), of_either(*said))


def _activity(build: Build, span: tuple[date, date], question: Question) -> tuple[pd.DataFrame, float, float]:
    """Sum a span's legs by part and vehicle.

    Columns: legs, kilometres, kilometres a parcel answers for, activity of the factor, kg; with units returned and
    sold.
    """
    asked = question.but(since=span[0], until=span[1])
    bound = bind(build, "kg_co2e_per_100_sold", asked)
    sold = float(statistics_of(build, bound)["sold"].sum())
    back = bind(build, "returned_units", asked)
    returned = float(statistics_of(build, back)[back.metric.measures[0].name].sum())
    c = leg_carbon.c
    activity = case(
        (c.method == literal_column("'per_tonne_km'"), c.tonne_km),
        (c.method == literal_column("'per_tonne'"), c.mass_kg),
        else_=func.coalesce(own_km, 1.0),
    )
    name = func.coalesce(legs.c.vehicle, legs.c.mode, "-")
    sums: dict[str, Expression] = {
        "legs": func.count(),
        "km": func.sum(func.coalesce(c.distance_km, 1.0)),
        "own_km": func.sum(func.coalesce(own_km, 1.0)),
        "activity": func.sum(activity),
        "kg": func.sum(c.kg_co2e),
    }

    def of(asked: BoundQuestion) -> Select[Any]:
        now = LEGS.time(asked)
        keys = [*(dimension(LEGS, b, asked.on, now).label(b) for b in asked.by), legs.c.role, name.label("vehicle")]
        rows = select(*keys, *(s.label(n) for n, s in sums.items())).select_from(LEGS.table)
        return rows.where(*filters(LEGS, asked, now), c.kg_co2e.is_not(None)).group_by(*keys)

    found = summed(build, bound, of, "activity", list(sums), is_short=False, is_plain=True)
    return found.set_index(["role", "vehicle"]).astype(float), returned, sold


def _levels(frame: pd.DataFrame, returned: float, sold: float) -> dict[str, np.ndarray[Any, Any]]:
    """Write each cell's kg per 100 sold as a product of its causes.

    Sharing (parcels a round, share of a trip) is part of consolidation.
    """
    filled = frame.fillna(0.0)
    of_role = filled.groupby("role")["legs"].transform("sum").to_numpy()
    legs_, km, own, activity, kg = (filled[n].to_numpy(float) for n in ("legs", "km", "own_km", "activity", "kg"))

    def over(top: np.ndarray[Any, Any], bottom: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)

    return {
        "volume_returned": np.full(len(filled), 100 * returned / sold),
        "consolidation": of_role / returned,
        "sharing": over(own, km),
        "mode": over(legs_, of_role),
        "distance": over(km, legs_),
        "weight": over(activity, own),
        "factor": over(kg, activity),
    }
