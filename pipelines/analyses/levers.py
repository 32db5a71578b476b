"""Levers: what each would have changed on the returns that were.

In kilograms, money and days, with its assumptions named.

A lever is a counterfactual on the actual legs, not a forecast: who returned what stays as it was. Levers overlap and do
not add up. Kilograms are those of the inventory; what repair avoids of new goods stands apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import and_, func, literal_column, or_, select

from models import levers as model
from models.distance import geodesic_km, road_km
from pipelines.analyses.emissions import factor_of
from pipelines.factors import parameter
from pipelines.metrics.answer import answer
from pipelines.metrics.bind import bind, is_known
from pipelines.metrics.cautions import doubt_of, doubted
from pipelines.metrics.compiler import filters
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.facts import (
    LEGS,
    LOT_AVOIDED,
    LOTS,
    leg_carbon,
    leg_cost,
    legs,
    lot_avoided,
    lot_carbon,
    lot_cost,
    lots,
)
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, double, seconds_between
from pipelines.warehouse.star import STAR

t = STAR.tables


@dataclass(frozen=True)
class Lever:
    """One lever: what it touches and would have changed; None where it says nothing.

    `kg_co2e` and `money` are what is saved over the span (kg CO2e; reporting currency, without VAT), `days` how much
    sooner (negative: later) a touched return would be done, `avoided_kg_co2e` what new goods it would displace.
    `assumes` names rows of data/costs.csv.
    """

    lever: str
    touched: int
    touched_unit: str
    kg_co2e: float | None
    share: float | None
    money: float | None
    days: float | None
    avoided_kg_co2e: float | None
    assumes: tuple[str, ...]


def levers(
    build: Build,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """List the levers that touch anything in a selection, the most kilograms first.

    The columns are the fields of `Lever`, then caution and reason: what the emissions and the returned units do not
    rest on.
    """
    names = list(Lever.__dataclass_fields__)
    if not is_known(build, "kg_co2e"):
        return pd.DataFrame(columns=[*names, "caution", "reason"])
    said = [answer(build, key, question).iloc[0] for key in ("kg_co2e", "returned_units")]
    total = float(np.nan_to_num(said[0]["value"]))
    of_legs, of_lots = (bind(build, key, question) for key in ("kg_co2e", "returned_units"))
    found = [
        _no_box(build, of_legs),
        _fewer_rounds(build, of_legs),
        _rail(build, of_legs),
        _nearest_centre(build, of_legs),
        _keep_it(build, of_lots),
        _repair(build, of_lots),
    ]
    rows = [
        {n: getattr(x, n) for n in names} | {"share": x.kg_co2e / total if x.kg_co2e is not None and total else None}
        for x in found
        if x and x.touched
    ]
    frame = doubted(pd.DataFrame(rows, columns=names), doubt_of(*said))
    return frame.sort_values("kg_co2e", ascending=False, na_position="last", ignore_index=True)


def _conditions(question: BoundQuestion) -> list[Any]:
    return filters(LEGS, question, LEGS.time(question))


def _one(build: Build, query: Any) -> dict[str, float]:
    return {
        str(k): float(np.nan_to_num(float(v) if v is not None else np.nan))
        for k, v in build.fetch(query).iloc[0].items()
    }


def _no_box(build: Build, question: BoundQuestion) -> Lever:
    """Drop parcels off without box or bag: what is dropped off at a point or in a store travels in totes."""
    packed = (
        select(
            legs.c.parcel_key, func.sum(leg_carbon.c.kg_co2e).label("kg"), func.sum(leg_carbon.c.mass_kg).label("mass")
        )
        .select_from(LEGS.table)
        .where(
            *_conditions(question),
            leg_carbon.c.activity == literal_column("'packaging'"),
            legs.c.method.in_(["drop_off", "store"]),
            leg_carbon.c.kg_co2e > 0,
        )
        .group_by(legs.c.parcel_key)
        .subquery("packed")
    )
    left = model.without_packaging(leg_carbon.c.kg_co2e, leg_carbon.c.mass_kg, packed.c.mass)
    lighter = (
        select(func.sum(leg_carbon.c.kg_co2e - left).label("kg"))
        .select_from(LEGS.table.join(packed, packed.c.parcel_key == legs.c.parcel_key))
        .where(
            leg_carbon.c.method == literal_column("'per_tonne_km'"),
            leg_carbon.c.mass_kg > packed.c.mass,
            leg_carbon.c.activity == literal_column("'transport'"),
            legs.c.role != literal_column("'onward'"),
        )
    )
    boxes = _one(build, select(func.count().label("n"), func.sum(packed.c.kg).label("kg")))
    kg = boxes["kg"] + _one(build, lighter)["kg"]
    return Lever(
        "no_box", int(boxes["n"]), "parcels", kg, None, 0.0, -parameter("lever_tote_days"), None, ("lever_tote_days",)
    )


def _fewer_rounds(build: Build, question: BoundQuestion) -> Lever:
    """Collect every second round: the parcels of two rounds travel in one."""
    shared = and_(leg_carbon.c.method == literal_column("'per_parcel'"), leg_carbon.c.distance_km.is_not(None))
    saved = leg_carbon.c.kg_co2e - model.merged_rounds(leg_carbon.c.kg_co2e, parameter("lever_sweep"))
    cost = double(leg_cost.c.amount) - model.merged_rounds(double(leg_cost.c.amount), parameter("lever_sweep"))
    query = (
        select(func.count().label("n"), func.sum(saved).label("kg"), func.sum(cost).label("money"))
        .select_from(LEGS.table.outerjoin(leg_cost, leg_cost.c.leg_key == legs.c.leg_key))
        .where(*_conditions(question), shared)
    )
    found = _one(build, query)
    return Lever(
        "fewer_rounds",
        int(found["n"]),
        "parcels",
        found["kg"],
        None,
        found["money"],
        -parameter("lever_sweep_days"),
        None,
        ("lever_sweep", "lever_sweep_days"),
    )


def _rail(build: Build, question: BoundQuestion) -> Lever | None:
    """Send long trunk legs by rail; freight is taken to cost the same."""
    rail = factor_of(build, "rail_freight", "kgCO2e/t.km")
    if rail is None:
        return None
    factors = t["factor_set"]
    left = model.by_rail(leg_carbon.c.kg_co2e, factors.c.value, rail, parameter("lever_rail_road"))
    query = (
        select(func.count().label("n"), func.sum(leg_carbon.c.kg_co2e - left).label("kg"))
        .select_from(LEGS.table.join(factors, factors.c.factor_id == leg_carbon.c.factor_id))
        .where(
            *_conditions(question),
            legs.c.role == literal_column("'trunk'"),
            legs.c.mode == literal_column("'truck'"),
            leg_carbon.c.method == literal_column("'per_tonne_km'"),
            leg_carbon.c.distance_km >= parameter("lever_rail_from"),
            factors.c.value > rail,
        )
    )
    found = _one(build, query)
    return Lever(
        "rail",
        int(found["n"]),
        "parcels",
        found["kg"],
        None,
        0.0,
        -parameter("lever_rail_days"),
        None,
        ("lever_rail_from", "lever_rail_road", "lever_rail_days"),
    )


def _nearest_centre(build: Build, question: BoundQuestion) -> Lever | None:
    """Send each parcel to the returns centre nearest to where its trunk leg begins."""
    found = _trunk_legs(build, question)
    places = t["dim_place"]
    centres = build.fetch(
        select(places.c.place_id, places.c.latitude, places.c.longitude).where(
            places.c.kind == literal_column("'returns_centre'"), places.c.latitude.is_not(None)
        )
    )
    if len(centres) < 2 or found.empty:
        return None
    touched, kg, money, sooner = 0, 0.0, 0.0, 0.0
    for latitude, longitude, to_id, n, emitted, km, paid in found.itertuples(index=False, name=None):
        nearest = min(
            (road_km(geodesic_km(latitude, longitude, c.latitude, c.longitude), parameter("circuity")), c.place_id)
            for c in centres.itertuples()
        )
        if nearest[1] == to_id or not km or nearest[0] >= km:
            continue
        touched += int(n)
        kg += emitted - model.shortened(emitted, km, nearest[0])
        money += (
            0.0
            if pd.isna(paid)
            else (float(paid) - model.shortened(float(paid), km, nearest[0])) * parameter("lever_distance_cost")
        )
        sooner += int(n) * (km - nearest[0]) / parameter("lever_road_speed")
    return Lever(
        "nearest_centre",
        touched,
        "parcels",
        kg,
        None,
        money,
        sooner / touched if touched else None,
        None,
        ("circuity", "lever_distance_cost", "lever_road_speed"),
    )


def _trunk_legs(build: Build, question: BoundQuestion) -> pd.DataFrame:
    """Sum trunk legs by truck by where they begin and which place they lead to: number, kilograms, mean km, money."""
    start, end = t["dim_place"].alias("start_place"), t["dim_place"].alias("end_place")
    query = (
        select(
            start.c.latitude,
            start.c.longitude,
            end.c.place_id.label("to_id"),
            func.count().label("n"),
            func.sum(leg_carbon.c.kg_co2e).label("kg"),
            func.avg(leg_carbon.c.distance_km).label("km"),
            func.sum(double(leg_cost.c.amount)).label("money"),
        )
        .select_from(
            LEGS.table.join(start, start.c.place_key == legs.c.from_place_key)
            .join(end, end.c.place_key == legs.c.to_place_key)
            .outerjoin(leg_cost, leg_cost.c.leg_key == legs.c.leg_key)
        )
        .where(
            *_conditions(question),
            legs.c.role == literal_column("'trunk'"),
            legs.c.mode == literal_column("'truck'"),
            start.c.latitude.is_not(None),
            leg_carbon.c.kg_co2e.is_not(None),
        )
        .group_by(start.c.latitude, start.c.longitude, end.c.place_id)
    )
    return build.fetch(query)


def _keep_it(build: Build, question: BoundQuestion) -> Lever:
    """Let customers keep what costs more to take back than it is worth; they are refunded all the same."""
    of_question = filters(LOTS, question, LOTS.time(question))
    cost = (
        select(lot_cost.c.return_lot_key, func.sum(double(lot_cost.c.amount)).label("spent"))
        .where(
            lot_cost.c.component.in_(["return_freight", "handling", "value_loss", "disposal"]),
            lot_cost.c.return_lot_key.in_(select(lots.c.return_lot_key).where(*of_question)),
        )
        .group_by(lot_cost.c.return_lot_key)
        .subquery("cost")
    )
    goods = double(lots.c.cost_amount) * lots.c.fx_rate
    wait = seconds_between(lots.c.requested_at, lots.c.refunded_at) / double(86400)
    query = (
        select(
            func.sum(lots.c.units).label("n"),
            func.sum(lot_carbon.c.kg_co2e).label("kg"),
            func.sum(cost.c.spent - goods).label("money"),
            func.avg(wait).label("days"),
        )
        .select_from(
            lots.join(cost, cost.c.return_lot_key == lots.c.return_lot_key).outerjoin(
                lot_carbon, lot_carbon.c.return_lot_key == lots.c.return_lot_key
            )
        )
        .where(*of_question, cost.c.spent > goods, lots.c.received_at.is_not(None))
    )
    found = _one(build, query)
    return Lever("keep_it", int(found["n"]), "units", found["kg"], None, found["money"], found["days"], None, ())


def _repair(build: Build, question: BoundQuestion) -> Lever:
    """Mend part of what was recycled or destroyed and sell it: the inventory stays, new goods are displaced."""
    now = LOT_AVOIDED.time(question)
    share = parameter("lever_repair")
    net = double(lots.c.net_amount) * lots.c.fx_rate
    query = (
        select(
            func.sum(lots.c.units).label("n"),
            func.sum(lot_avoided.c.kg_co2e_new).label("made"),
            func.sum(net).label("net"),
        )
        .select_from(LOT_AVOIDED.table)
        .where(
            *filters(LOT_AVOIDED, question, now),
            or_(
                lots.c.disposition == literal_column("'recycled'"), lots.c.disposition == literal_column("'destroyed'")
            ),
        )
    )
    found = _one(build, query)
    return Lever(
        "repair",
        round(found["n"] * share),
        "units",
        None,
        None,
        found["net"] * share * parameter("recovery", "repaired"),
        None,
        found["made"] * share * parameter("displacement", "central"),
        ("lever_repair", "recovery.repaired", "displacement.central"),
    )
