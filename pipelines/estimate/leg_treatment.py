"""Carbon of what is done with the goods of a parcel: each kind of treatment by its mass and its factor."""

from typing import Any

from sqlalchemy import Select, and_, case, column, extract, func, literal_column, or_, select, table
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
    status_of,
    t,
)
from pipelines.factors import Ledger, treatment_vehicle, waste_material, waste_materials
from pipelines.warehouse.engine import Expression, double, sql_text
from pipelines.warehouse.sql import rows_sql

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
LANDFILL = "treatment_landfill"
UNITS = ("kgCO2e/t", "kgCO2e/kg")
NOTHING_DISCARDED = ("treatment_none", "treatment_reuse")


def treat(connection: Connection, known: Ledger, leg: Any, factor: Any) -> None:
    """Fill estimate_leg_carbon for legs that are treatments, and estimate_leg_part for those of several kinds."""
    treatments = sql_text(select(func.count()).select_from(leg).where(leg.c.role == "treatment"))
    if not connection.execute(treatments).fetchall()[0][0]:
        return
    of_parcel = select(leg.c.parcel_key) if isinstance(leg, TableClause) else None
    _materials(connection, known)
    part = keep(connection, "treated_part", _summed(_parts(known, leg, factor, of_parcel)))
    fill(connection, "estimate_leg_carbon", _legs(part))
    several = (
        select(part.c.leg_key)
        .group_by(part.c.leg_key)
        .having(and_(func.count() > 1, func.count() == func.count(part.c.kg_co2e)))
    )
    names = [c.name for c in t["estimate_leg_part"].columns if c.name in part.c]
    fill(connection, "estimate_leg_part", select(*(part.c[n] for n in names)).where(part.c.leg_key.in_(several)))
    connection.execute("DROP TABLE treated_part; DROP TABLE goods_material; DROP TABLE treatment_of")


def _materials(connection: Connection, known: Ledger) -> None:
    """Store what goods are made of, by category and HS chapter, and the factor of each treatment of a material."""
    goods = connection.execute("""
        SELECT DISTINCT coalesce(l.category, ''), coalesce(p.hs_chapter, '') FROM fact_return_line l
        LEFT JOIN dim_product p ON p.product_key = l.product_key AND p.is_current WHERE l.disposition IS NOT NULL
    """).fetchall()
    last = connection.execute("SELECT max(for_year) FROM leg_factor").fetchall()[0][0] or 9999
    made_of = [(category, chapter, waste_material(category, chapter)) for category, chapter in goods]
    names = ["", *sorted({row["material"] for row in waste_materials()})]
    kinds = sorted({*TREATMENTS.values(), LANDFILL})
    fits = [(kind, name, treatment_vehicle(kind, name, known, last)) for kind in kinds for name in names]
    for table_name, columns, rows in (
        ("goods_material", ("category", "hs_chapter", "material"), made_of),
        ("treatment_of", ("kind", "material", "vehicle"), fits),
    ):
        given = rows_sql(dict.fromkeys(columns, "VARCHAR"), rows)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table_name} AS {given}")


_MADE_OF = table("goods_material", column("category"), column("hs_chapter"), column("material"))
_FACTOR_OF = table("treatment_of", column("kind"), column("material"), column("vehicle"))


def treatment_sql(known: Ledger, leg: Any, factor: Any) -> str:
    """Give the SELECT of the emissions of all legs that are treatments."""
    return sql_text(_legs(_summed(_parts(known, leg, factor, None)).subquery("treated_part")))


def _summed(parts: Select[Any]) -> Select[Any]:
    """Sum a leg's goods of one factor: several materials may have the same."""
    c = parts.subquery("of_goods").c
    sums = ("amount", "mass_kg", "kg_co2e_wtt", "kg_co2e_ttw", "kg_co2e", "kg_co2e_biogenic", "kg_co2e_market")
    return select(
        c.leg_key,
        c.part,
        c.factor_id,
        func.max(c.rank).label("rank"),
        func.bool_or(c.is_mended).label("is_mended"),
        *(func.sum(c[name]).label(name) for name in sums),
    ).group_by(c.leg_key, c.part, c.factor_id)


def _kinds(parcels: Select[Any] | None) -> Subquery:
    """Give the units and mass of parcels' live lots by kind of treatment and material, and the whole parcel's units."""
    lot, product = t["fact_return_line"], t["dim_product"]
    material = func.coalesce(_MADE_OF.c.material, "")
    kind = case(*((lot.c.disposition == name, vehicle) for name, vehicle in TREATMENTS.items()))
    units, mass = double(lot.c.units), lot.c.weight_kg * double(lot.c.units)
    return (
        select(
            lot.c.parcel_key,
            kind.label("kind"),
            material.label("material"),
            func.bool_or(lot.c.disposition.in_(("repaired", "refurbished"))).label("is_mended"),
            func.sum(units).label("units"),
            func.sum(mass).label("weight_kg"),
            func.sum(func.sum(units)).over(partition_by=lot.c.parcel_key).label("all_units"),
        )
        .select_from(
            lot.outerjoin(product, and_(product.c.product_key == lot.c.product_key, product.c.is_current)).outerjoin(
                _MADE_OF,
                and_(
                    _MADE_OF.c.category == func.coalesce(lot.c.category, ""),
                    _MADE_OF.c.hs_chapter == func.coalesce(product.c.hs_chapter, ""),
                ),
            )
        )
        .where(is_live(lot), is_of(lot, parcels))
        .group_by(lot.c.parcel_key, kind, material)
        .subquery("treated")
    )


def _parts(known: Ledger, leg: Any, factor: Any, parcels: Select[Any] | None) -> Select[Any]:
    """Give each treatment leg's goods by what is done with them, each kind with its factor, in kg and its unit.

    Each step is a subquery of its own: what was worked out once is not written out again by the next.
    """
    g = _goods(known, leg, factor, parcels).subquery("treated_goods").c
    share = case(
        (or_(g.is_named, g.units.is_(None)), g.leg_kg),
        (g.goods_kg > 0, carbon.allocate(g.leg_kg, g.weight_kg, g.goods_kg)),
        else_=carbon.allocate(g.leg_kg, g.units, g.all_units),
    )
    s = select(*(g[name] for name in (*_KEPT, "unit")), double(share).label("mass_kg")).subquery("treated_mass").c
    amount = case((s.unit == "kgCO2e/kg", s.mass_kg), else_=carbon.mass_carbon(s.mass_kg, 1.0))
    a = select(*(s[name] for name in (*_KEPT, "mass_kg")), double(amount).label("amount")).subquery("treated_amount").c
    return select(
        *(a[name] for name in (*_KEPT, "mass_kg", "amount")),
        *((a.amount * a[figure]).label(name) for name, figure in _FIGURES.items()),
    )


_FIGURES = {
    "kg_co2e_wtt": "wtt",
    "kg_co2e_ttw": "ttw",
    "kg_co2e": "wtw",
    "kg_co2e_biogenic": "biogenic",
    "kg_co2e_market": "market",
}
"""Kilograms of CO2e by what of a factor they follow from."""
_KEPT = ("leg_key", "part", "factor_id", "rank", "is_mended", *_FIGURES.values())


def _goods(known: Ledger, leg: Any, factor: Any, parcels: Select[Any] | None) -> Select[Any]:
    """Read each treatment leg's goods by what is done with them, with the factor of each kind.

    A leg that names a treatment of its owner's is of that alone; one of ours is what happens to goods that say nothing
    themselves. Treatments of one parcel that were not weighed share its goods.
    """
    place, goods, treated = t["dim_place"], goods_of(parcels), _kinds(parcels)
    is_named = func.coalesce(~leg.c.vehicle.in_((*set(TREATMENTS.values()), LANDFILL)), False)
    to_landfill = and_(treated.c.kind == "treatment_energy_recovery", place.c.kind == "landfill")
    of_kind = case((to_landfill, LANDFILL), else_=func.coalesce(treated.c.kind, leg.c.vehicle))
    kind = case((is_named, leg.c.vehicle), else_=_FACTOR_OF.c.vehicle)
    by_the_kilogram = [v for v in known.vehicles("kgCO2e/kg") if known.unit_of(v, UNITS) == "kgCO2e/kg"]
    unit = case((kind.in_(by_the_kilogram), "kgCO2e/kg"), else_="kgCO2e/t")
    goods_kind = [leg.c.parcel_key, treated.c.kind, treated.c.material]
    unweighed = func.count().filter(leg.c.mass_kg.is_(None)).over(partition_by=goods_kind)
    whole = func.coalesce(goods.c.goods_kg, known.parameter("parcel_mass")) / double(func.greatest(unweighed, 1))
    rank = case((leg.c.mass_kg.is_not(None), MEASURED), (goods.c.goods_kg.is_not(None), IMPUTED), else_=ASSUMED)
    return (
        select(
            leg.c.leg_key,
            kind.label("part"),
            factor.c.factor_id,
            unit.label("unit"),
            is_named.label("is_named"),
            treated.c.units,
            treated.c.weight_kg,
            treated.c.all_units,
            goods.c.goods_kg,
            double(func.coalesce(leg.c.mass_kg, whole)).label("leg_kg"),
            rank.label("rank"),
            func.coalesce(and_(~is_named, treated.c.is_mended), False).label("is_mended"),
            *(factor.c[figure] for figure in _FIGURES.values()),
        )
        .select_from(leg)
        .outerjoin(place, place.c.place_key == leg.c.to_place_key)
        .outerjoin(
            treated, treated.c.parcel_key == case((~is_named, leg.c.parcel_key))
        )  # an equality, so that it hashes
        .outerjoin(goods, goods.c.parcel_key == leg.c.parcel_key)
        .outerjoin(
            _FACTOR_OF,
            and_(_FACTOR_OF.c.kind == of_kind, _FACTOR_OF.c.material == func.coalesce(treated.c.material, "")),
        )
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

    is_kept = or_(*(c.part.startswith(name) for name in NOTHING_DISCARDED))
    discards = func.bool_or(func.coalesce(~is_kept, False))
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
            (func.bool_or(c.part.startswith("treatment_reuse")), "1"),
            else_="4",
        ).label("scope3_category"),
        literal_column("'per_tonne'").label("method"),
    ).group_by(c.leg_key)
