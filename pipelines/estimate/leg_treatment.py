"""Carbon of what is done with the goods of a parcel: each kind of treatment by its mass and its factor."""

from typing import Any

from sqlalchemy import Select, and_, case, extract, func, literal_column, or_, select
from sqlalchemy.sql.expression import FromClause, Subquery, TableClause

from models import carbon
from pipelines.estimate.sql import (
    ASSUMED,
    IMPUTED,
    MEASURED,
    Connection,
    fill,
    goods_of,
    is_live,
    is_of,
    keep,
    sql_text,
    status_of,
    t,
)
from pipelines.factors import Ledger
from pipelines.warehouse.engine import Expression, double

TREATMENTS = {
    "as_new": "treatment_none",
    "b_stock": "treatment_none",
    "marked_down": "treatment_none",
    "return_to_supplier": "treatment_none",
    "repaired": "treatment_reuse",
    "refurbished": "treatment_reuse",
    "donated": "treatment_reuse",
    "recycled": "treatment_recycling",
    "destroyed": "treatment_energy_recovery",
}
UNITS = ("kgCO2e/t", "kgCO2e/kg")
NOTHING_DISCARDED = ("treatment_none", "treatment_reuse")


def treat(connection: Connection, known: Ledger, leg: Any, factor: Any) -> None:
    """Fill estimate_leg_carbon for legs that are treatments, and estimate_leg_part for those of several kinds."""
    of_parcel = select(leg.c.parcel_key) if isinstance(leg, TableClause) else None
    part = keep(connection, "treated_part", _parts(known, leg, factor, of_parcel))
    fill(connection, "estimate_leg_carbon", _legs(part))
    several = (
        select(part.c.leg_key)
        .group_by(part.c.leg_key)
        .having(and_(func.count() > 1, func.count() == func.count(part.c.kg_co2e)))
    )
    names = [c.name for c in t["estimate_leg_part"].columns if c.name in part.c]
    fill(connection, "estimate_leg_part", select(*(part.c[n] for n in names)).where(part.c.leg_key.in_(several)))
    connection.execute("DROP TABLE treated_part")


def treatment_sql(known: Ledger, leg: Any, factor: Any) -> str:
    """Give the SELECT of the emissions of all legs that are treatments."""
    return sql_text(_legs(_parts(known, leg, factor, None).subquery("treated_part")))


def _kinds(parcels: Select[Any] | None) -> Subquery:
    """Give the units and mass of parcels' live lots by kind of treatment, and those of the whole parcel."""
    lot = t["fact_return_line"]
    kind = case(*((lot.c.disposition == name, vehicle) for name, vehicle in TREATMENTS.items()))
    units, mass = double(lot.c.units), lot.c.weight_kg * double(lot.c.units)
    return (
        select(
            lot.c.parcel_key,
            kind.label("kind"),
            func.bool_or(lot.c.disposition.in_(("repaired", "refurbished"))).label("is_mended"),
            func.sum(units).label("units"),
            func.sum(mass).label("weight_kg"),
            func.sum(func.sum(units)).over(partition_by=lot.c.parcel_key).label("all_units"),
        )
        .where(is_live(lot), is_of(lot, parcels))
        .group_by(lot.c.parcel_key, kind)
        .subquery("treated")
    )


def _parts(known: Ledger, leg: Any, factor: Any, parcels: Select[Any] | None) -> Select[Any]:
    """Give each treatment leg's goods by what is done with them, each kind with its factor.

    A leg that names its treatment is of that alone. Treatments of one parcel that were not weighed share its goods.
    """
    place, goods, treated = t["dim_place"], goods_of(parcels), _kinds(parcels)
    is_named = leg.c.vehicle.is_not(None)
    to_landfill = and_(treated.c.kind == "treatment_energy_recovery", place.c.kind == "landfill")
    kind = case((is_named, leg.c.vehicle), (to_landfill, "treatment_landfill"), else_=treated.c.kind)
    by_the_kilogram = [v for v in known.vehicles("kgCO2e/kg") if known.unit_of(v, UNITS) == "kgCO2e/kg"]
    unit = case((kind.in_(by_the_kilogram), "kgCO2e/kg"), else_="kgCO2e/t")
    unweighed = func.count().filter(leg.c.mass_kg.is_(None)).over(partition_by=[leg.c.parcel_key, treated.c.kind])
    whole = func.coalesce(goods.c.goods_kg, known.parameter("parcel_mass")) / double(func.greatest(unweighed, 1))
    mass = double(func.coalesce(leg.c.mass_kg, whole))
    share = case(
        (or_(is_named, treated.c.units.is_(None)), mass),
        (goods.c.goods_kg > 0, carbon.allocate(mass, treated.c.weight_kg, goods.c.goods_kg)),
        else_=carbon.allocate(mass, treated.c.units, treated.c.all_units),
    )
    rank = case((leg.c.mass_kg.is_not(None), MEASURED), (goods.c.goods_kg.is_not(None), IMPUTED), else_=ASSUMED)
    amount = case((unit == "kgCO2e/kg", share), else_=carbon.mass_carbon(share, 1.0))
    return (
        select(
            leg.c.leg_key,
            kind.label("part"),
            factor.c.factor_id,
            amount.label("amount"),
            share.label("mass_kg"),
            rank.label("rank"),
            func.coalesce(and_(~is_named, treated.c.is_mended), False).label("is_mended"),
            (amount * factor.c.wtt).label("kg_co2e_wtt"),
            (amount * factor.c.ttw).label("kg_co2e_ttw"),
            (amount * factor.c.wtw).label("kg_co2e"),
            (amount * factor.c.biogenic).label("kg_co2e_biogenic"),
            (amount * factor.c.market).label("kg_co2e_market"),
        )
        .select_from(leg)
        .outerjoin(treated, and_(treated.c.parcel_key == leg.c.parcel_key, ~is_named))
        .outerjoin(goods, goods.c.parcel_key == leg.c.parcel_key)
        .outerjoin(place, place.c.place_key == leg.c.to_place_key)
        .outerjoin(
            factor,
            and_(
                factor.c.vehicle == kind,
                factor.c.unit == unit,
                factor.c.for_year == extract("year", leg.c.started_on),
                factor.c.country == func.coalesce(leg.c.country, ""),
            ),
        )
        .where(leg.c.role == "treatment")
    )


def _legs(part: FromClause) -> Select[Any]:
    """Sum the parts of each leg; a leg with goods whose treatment is not decided or has no factor gets no answer."""
    c = part.c
    is_whole = func.count() == func.count(c.kg_co2e)

    def total(name: str) -> Expression:
        return case((and_(is_whole, func.count(c[name]) == func.count()), func.sum(c[name])))

    def some(name: str) -> Expression:
        return case((is_whole, func.sum(c[name])))

    discards = func.bool_or(func.coalesce(~c.part.in_(NOTHING_DISCARDED), False))
    trace = func.string_agg(literal_column("DISTINCT factor_id"), literal_column("' + ' ORDER BY factor_id"))
    market = case((func.count(c.kg_co2e_market) > 0, func.sum(func.coalesce(c.kg_co2e_market, c.kg_co2e))))
    return select(
        c.leg_key,
        case((discards, "treatment"), (func.bool_or(c.is_mended), "repair"), else_="treatment").label("activity"),
        case((is_whole, trace)).label("factor_id"),
        case((and_(is_whole, func.count() == 1), func.sum(c.amount))).label("amount"),
        func.sum(c.mass_kg).label("mass_kg"),
        status_of(func.max(c.rank)).label("mass_status"),
        total("kg_co2e_wtt").label("kg_co2e_wtt"),
        total("kg_co2e_ttw").label("kg_co2e_ttw"),
        some("kg_co2e").label("kg_co2e"),
        some("kg_co2e_biogenic").label("kg_co2e_biogenic"),
        case((is_whole, market)).label("kg_co2e_market"),
        status_of(func.max(c.rank)).label("status"),
        case(
            (discards, "5"),
            (func.bool_or(c.part == "treatment_reuse"), "1"),
            else_="4",
        ).label("scope3_category"),
        literal_column("'per_tonne'").label("method"),
    ).group_by(c.leg_key)
