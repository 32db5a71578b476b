"""Carbon of each return leg: transport by distance, mass and factor, and treatment of the goods."""

from typing import Any

from sqlalchemy import Double, Select, and_, case, column, extract, func, literal, or_, select, table
from sqlalchemy.sql.expression import FromClause, Subquery, TableClause

from models import carbon
from pipelines.estimate.sql import (
    ASSUMED,
    IMPUTED,
    MEASURED,
    Columns,
    Connection,
    goods_of,
    is_live,
    is_of,
    shared,
    sql_text,
    status_of,
    t,
    wanted,
)
from pipelines.factors import Ledger, parameter
from pipelines.warehouse.engine import Expression, double
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


def _factor_table(connection: Connection, known: Ledger) -> TableClause:
    """Store the factor of each vehicle, unit and year that legs were travelled in.

    By country where it depends on one.
    """
    years = [y for (y,) in connection.execute("SELECT DISTINCT year(started_on) FROM fact_return_leg").fetchall() if y]
    types = (
        dict.fromkeys(("factor_id", "vehicle", "unit", "fuel", "country"), "VARCHAR")
        | dict.fromkeys(("wtt", "ttw", "wtw"), "DOUBLE")
        | {"for_year": "BIGINT"}
    )
    given = rows_sql(types, ([row[n] or (None if n != "country" else "") for n in types] for row in known.table(years)))
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE leg_factor AS
        SELECT f.*, k.wtw AS tonne_km_wtw FROM ({given}) f
        LEFT JOIN ({given}) k ON k.vehicle = f.vehicle AND k.for_year = f.for_year AND k.unit = 'kgCO2e/t.km'
            AND f.unit = 'kgCO2e/vehicle.km'
    """)
    doubles = (column(n, Double) for n in ("wtt", "ttw", "wtw", "tonne_km_wtw"))
    return table(
        "leg_factor", *(column(n) for n in ("factor_id", "vehicle", "unit", "fuel", "country", "for_year")), *doubles
    )


def leg_carbon(connection: Connection, known: Ledger, leg: Any = None) -> None:
    """Fill estimate_leg_carbon for legs, with the factors of a ledger.

    Legs are stored rows of fact_return_leg, or all of them.
    """
    for sql in leg_carbon_sql(connection, known, leg):
        connection.execute(f"INSERT INTO estimate_leg_carbon BY NAME {sql}")
    _share_movements(connection)


def leg_carbon_sql(connection: Connection, known: Ledger, leg: Any = None) -> list[str]:
    """Store the factors of a ledger that legs use, and give the SELECTs of the legs' emissions.

    Of all but treatment, and of treatment.
    """
    factor = _factor_table(connection, known)
    leg = wanted(connection, "fact_return_leg", "TRUE") if leg is None else leg
    of_parcel = select(leg.c.parcel_key) if isinstance(leg, TableClause) else None
    goods = goods_of(of_parcel)
    return [
        sql_text(_transport_carbon(leg, goods, factor, known)),
        sql_text(_treatment_carbon(leg, goods, factor, of_parcel)),
    ]


def _share_movements(connection: Connection) -> None:
    """Share consolidated movements that are wholly known.

    Kilometres driven times the vehicle's factor, by mass x direct distance. A movement is wholly known when every
    parcel that travelled in it is in the data, the kilometres it drove are reported, and the vehicle has a factor a
    kilometre; of all others a parcel's tonne-kilometres times the average factor are the share.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE shared_movement AS
        SELECT l.leg_key, f.factor_id, e.mass_kg, l.distance_km AS driven_km, d.distance_km AS direct_km,
            e.mass_kg * d.distance_km AS weight, sum(e.mass_kg * d.distance_km) OVER (PARTITION BY l.source,
                l.movement_id) AS total_weight, f.wtt, f.ttw, f.wtw
        FROM (SELECT *, count(*) OVER (PARTITION BY source, movement_id, role) AS here FROM fact_return_leg
            WHERE role IN ('trunk', 'onward') AND movement_id IS NOT NULL AND vehicle IS NOT NULL
                AND distance_km IS NOT NULL AND movement_parcels > 1) l
        JOIN estimate_leg_carbon e USING (leg_key) JOIN dim_lane d USING (lane_key)
        JOIN leg_factor f ON f.vehicle = l.vehicle AND f.unit = 'kgCO2e/vehicle.km' AND f.for_year
            = year(l.started_on) AND f.country = ''
        WHERE here = movement_parcels AND e.mass_kg IS NOT NULL;
        UPDATE estimate_leg_carbon SET
            factor_id = m.factor_id, method = 'shared', kg_co2e_tonne_km = if(method = 'shared', kg_co2e_tonne_km,
                kg_co2e), distance_km = m.driven_km,
            kg_co2e_wtt = {shared("wtt")},
            kg_co2e_ttw = {shared("ttw")},
            kg_co2e = {shared("wtw")}
        FROM shared_movement m WHERE m.leg_key = estimate_leg_carbon.leg_key;
        DROP TABLE shared_movement;
    """)


def _vehicle(leg: Any, to_kind: Expression, km: Expression) -> Expression:
    """Name the factor's vehicle for a leg; NULL where none can be told.

    A vehicle that is named is taken at its word.
    """
    words = func.lower(func.coalesce(leg.c.service, ""))
    electric = leg.c.fuel == "electricity"
    return case(
        (leg.c.vehicle.is_not(None), leg.c.vehicle),
        (
            leg.c.role == "packaging",
            case(
                (words.regexp_match("tote|crate|reusable"), "packaging_crate"),
                (words.regexp_match("original|used again|reused"), "packaging_none"),
                (words.regexp_match("bag|film|plastic|poly"), "packaging_film"),
                (words.regexp_match("box|board|carton|corrugated"), "packaging_board"),
            ),
        ),
        (
            leg.c.element_type == "hub",
            case(
                (to_kind.in_(("returns_centre", "warehouse")), "hub_returns_centre"),
                (or_(to_kind.is_not(None), leg.c.carrier.is_not(None)), "hub_sorting"),
            ),
        ),
        (
            leg.c.mode == "van",
            case(
                (electric, "van_electric"), (leg.c.fuel.is_(None), "van_average"), else_=func.concat("van_", leg.c.fuel)
            ),
        ),
        (leg.c.mode == "car", case((electric, "car_electric"), else_="car_average")),
        (leg.c.mode == "air", case((km > parameter("air_long_from"), "air_long"), else_="air_short")),
        *(
            (leg.c.mode == mode, vehicle)
            for mode, vehicle in (
                ("truck", "truck_average"),
                ("bus", "bus_local"),
                ("rail", "rail_freight"),
                ("foot", "foot"),
                ("bike", "bike"),
            )
        ),
        (leg.c.role == "customer_trip", "trip_mix"),
    )


def _usual_km(leg: Any) -> Expression:
    """Give the kilometres usual for a leg's role."""
    return case(
        (_is_trip(leg.c), parameter("trip_distance")),
        (leg.c.role == "first_mile", parameter("first_mile_distance")),
        (leg.c.role == "onward", parameter("onward_distance")),
        else_=parameter("trunk_distance"),
    )


def _lane_km(leg: Any, lane: Any, far_trip: Expression) -> Expression:
    """Give the kilometres of a leg's lane: there and back for a customer's trip, without detours for a flight.

    NULL for a trip farther than a customer drives.
    """
    lane_km = case(
        (_is_trip(leg.c), lane.c.distance_km * 2),
        (leg.c.mode == "air", lane.c.distance_km / parameter("circuity")),
        else_=lane.c.distance_km,
    )
    return case((~far_trip, lane_km))


def _leg_distance(leg: Any, lane: Any) -> dict[str, Expression]:
    """Give a leg's kilometres by name, with their status, their type and their adjustment.

    As reported, adjusted to the way that was driven, else of its lane, else the usual ones of its role.
    """
    far_trip = and_(_is_trip(leg.c), lane.c.distance_km > parameter("trip_lane_limit"))
    is_road = leg.c.mode.in_(("van", "truck", "car", "bus"))
    straight = case((leg.c.mode == "air", 1.0), else_=parameter("circuity"))  # a flight's factor holds its detours
    given_type = func.coalesce(leg.c.distance_type, "actual")
    given_adjustment = case(
        (and_(given_type == "shortest_feasible", is_road), parameter("road_adjustment")),
        (given_type == "great_circle", straight),
        else_=1.0,
    )
    is_given = leg.c.distance_km.is_not(None)
    from_lane = and_(~func.coalesce(far_trip, False), lane.c.distance_km.is_not(None))
    is_near = _is_near(lane)
    return {
        "km": double(
            func.coalesce(leg.c.distance_km * given_adjustment, _lane_km(leg, lane, far_trip), _usual_km(leg))
        ),
        "distance_rank": case(
            (and_(is_given, given_type == "actual"), MEASURED),
            (is_given, IMPUTED),
            (far_trip, ASSUMED),
            (~is_near, IMPUTED),
            else_=ASSUMED,
        ),
        "distance_type": case((is_given, given_type), (and_(from_lane, ~is_near), "great_circle"), else_="default"),
        "adjustment": case((is_given, given_adjustment), (and_(from_lane, ~is_near), straight), else_=1.0),
    }


def _is_near(lane: FromClause) -> Expression:
    """Say whether a lane stays within one area, its distance assumed."""
    return lane.c.method == "same area"


def _is_trip(leg: Columns) -> Expression:
    """Say of a leg's columns whether it is a customer's trip."""
    return leg.role == "customer_trip"


def _is_shared_round(leg: Any) -> Expression:
    """Say whether a leg is a collection round of which the parcels and the kilometres are reported."""
    return and_(
        leg.c.role == "first_mile",
        leg.c.movement_parcels > 0,
        leg.c.distance_km.is_not(None),
        leg.c.element_type == "transport",
    )


def _read_legs(leg: Any, goods: Any) -> Subquery:
    """Read every leg but treatment with its lane, the place it leads to and its goods: distance, vehicle, masses."""
    lane, place = t["dim_lane"], t["dim_place"]
    distance = _leg_distance(leg, lane)
    return (
        select(
            leg.c.leg_key,
            leg.c.role,
            leg.c.element_type,
            leg.c.fuel,
            leg.c.mode,
            leg.c.mass_kg,
            leg.c.trip_share,
            extract("year", leg.c.started_on).label("year"),
            double(leg.c.movement_parcels).label("parcels"),
            _is_shared_round(leg).label("is_shared"),
            _is_trip(leg.c).label("is_trip"),
            *(value.label(name) for name, value in distance.items()),
            _vehicle(leg, place.c.kind, distance["km"]).label("vehicle"),
            goods.c.goods_kg,
            place.c.country.label("site_country"),
            leg.c.country,
            case((~_is_near(lane), lane.c.distance_km)).label("direct_km"),
        )
        .select_from(leg)
        .outerjoin(lane, lane.c.lane_key == leg.c.lane_key)
        .outerjoin(place, place.c.place_key == leg.c.to_place_key)
        .outerjoin(goods, goods.c.parcel_key == leg.c.parcel_key)
        .where(leg.c.role != "treatment")
        .subquery("read")
    )


def _leg_method(r: Columns) -> Expression:
    """Name how a leg's emissions follow from its activity: by its mass, its parcel, its kilometres or both."""
    return case(
        (_is_pack(r), "per_tonne"),
        (or_(_is_hub(r), r.is_shared), "per_parcel"),
        (or_(r.is_trip, r.vehicle.in_(("foot", "bike"))), "per_vehicle_km"),
        else_="per_tonne_km",
    )


def _leg_unit(r: Columns) -> Expression:
    """Name the unit of the factor that a leg takes."""
    return case(
        (_is_pack(r), "kgCO2e/t"),
        (_is_hub(r), "kgCO2e/parcel"),
        (r.vehicle.in_(("foot", "bike", "bus_local")), "kgCO2e/passenger.km"),
        (or_(r.is_trip, r.is_shared), "kgCO2e/vehicle.km"),
        else_="kgCO2e/t.km",
    )


def _leg_country(r: Columns, known: Ledger) -> Expression:
    """Name the country of the factor that a leg takes: a hub's grid, a trip's mix of vehicles; "" of all others."""
    return case(
        (and_(_is_hub(r), r.site_country.in_(known.grids)), r.site_country),
        (and_(r.vehicle == "trip_mix", r.country.in_(known.trip_countries)), r.country),
        else_="",
    )


def _leg_mass(r: Columns) -> Expression:
    """Give the mass that a leg carries: as reported, else its goods with packaging, else a usual parcel's.

    Of packaging its own: as reported, else the usual one of its kind.
    """
    packs = ("packaging_board", "packaging_film", "packaging_crate", "packaging_none")
    pack_kg = case(*((r.vehicle == name, parameter("packaging_mass", name)) for name in packs))
    return case(
        (_is_pack(r), func.coalesce(r.mass_kg, pack_kg)),
        else_=func.coalesce(r.mass_kg, r.goods_kg + parameter("packaging_mass"), parameter("parcel_mass")),
    )


def _leg_mass_rank(r: Columns) -> Expression:
    """Rank how a leg's mass was come by."""
    return case(
        (r.mass_kg.is_not(None), MEASURED), (and_(~_is_pack(r), r.goods_kg.is_not(None)), IMPUTED), else_=ASSUMED
    )


def _is_pack(r: Columns) -> Expression:
    """Say whether a leg is packaging."""
    return r.role == "packaging"


def _is_hub(r: Columns) -> Expression:
    """Say whether a leg is a hub that parcels pass through."""
    return r.element_type == "hub"


def _leg_activity(read: Subquery, known: Ledger) -> Subquery:
    """Give what each leg did that emits: kilometres, mass, share of a trip, and the unit and country of its factor."""
    r = read.c
    method, mass = _leg_method(r), _leg_mass(r)
    return select(
        r.leg_key,
        r.role,
        r.element_type,
        r.fuel,
        r.year,
        r.parcels,
        r.is_shared,
        r.vehicle,
        r.distance_type,
        r.adjustment,
        r.distance_rank,
        _leg_mass_rank(r).label("mass_rank"),
        func.coalesce(r.trip_share, parameter("trip_share")).label("trip_share"),
        _leg_unit(r).label("unit"),
        method.label("method"),
        _leg_country(r, known).label("country"),
        case((or_(method.in_(("per_tonne_km", "per_vehicle_km")), r.is_shared), r.km)).label("distance_km"),
        case((method.in_(("per_tonne_km", "per_tonne")), double(mass))).label("mass_kg"),
        case(
            (
                r.is_shared,
                carbon.tonne_km(double(func.coalesce(r.direct_km, parameter("first_mile_distance"))), double(mass)),
            )
        ).label("direct_tonne_km"),
        case(
            (r.is_trip & (r.trip_share.is_(None) | r.mode.is_(None)), ASSUMED), (_is_hub(r), IMPUTED), else_=MEASURED
        ).label("other_rank"),
    ).subquery("used")


def _leg_amount(u: Columns) -> Expression:
    """Give what a leg's factor is multiplied by.

    Emissions are proportional to the factor: the amount is what a factor of 1 gives. A collection round that says how
    many parcels shared it is divided by them; a customer's trip counts its share; hubs count per parcel; packaging by
    its mass, a crate's over its uses; everything else by tonne-kilometres.
    """
    uses = case((u.vehicle == "packaging_crate", parameter("packaging_uses")), else_=1.0)
    return case(
        (u.is_shared, carbon.shared_trip_carbon(u.distance_km, u.parcels, 1.0)),
        (u.method == "per_parcel", 1.0),
        (u.method == "per_vehicle_km", carbon.trip_carbon(u.distance_km, u.trip_share, 1.0)),
        (u.method == "per_tonne", carbon.mass_carbon(u.mass_kg, 1.0) / uses),
        else_=carbon.leg_carbon(u.distance_km, u.mass_kg, 1.0),
    )


def _leg_rank(u: Columns) -> Expression:
    """Rank how a leg's activity was come by: as the least certain of the parts that it uses."""
    return func.greatest(
        case((u.distance_km.is_not(None), u.distance_rank), else_=0),
        case((u.mass_kg.is_not(None), u.mass_rank), else_=0),
        u.other_rank,
    )


def _leg_factor(used: Subquery, factor: Any) -> Subquery:
    """Put to each leg's amount the factor of its vehicle, unit, year and country; none where the fuels differ."""
    u = used.c
    fits = or_(factor.c.fuel.is_(None), u.fuel.is_(None), factor.c.fuel == u.fuel)
    return (
        select(
            u.leg_key,
            u.role,
            u.element_type,
            u.distance_km,
            u.distance_type,
            u.adjustment,
            u.distance_rank,
            u.mass_kg,
            u.mass_rank,
            u.direct_tonne_km,
            u.method,
            _leg_rank(u).label("worst"),
            _leg_amount(u).label("amount"),
            *(case((fits, factor.c[n])).label(n) for n in ("factor_id", "wtt", "ttw", "wtw", "tonne_km_wtw")),
        )
        .select_from(used)
        .outerjoin(
            factor,
            and_(
                factor.c.vehicle == u.vehicle,
                factor.c.unit == u.unit,
                factor.c.for_year == u.year,
                factor.c.country == u.country,
            ),
        )
        .subquery("made")
    )


def _transport_carbon(leg: Any, goods: Any, factor: Any, known: Ledger) -> Select[Any]:
    """Give the emissions of every leg but treatment: its amount times its factor, with the status of what they rest on.

    Steps: legs read (distance, vehicle), activity (mass, method, unit), factor and amount.
    """
    m = _leg_factor(_leg_activity(_read_legs(leg, goods), known), factor).c
    activity = case(
        (m.role.in_(("customer_trip", "packaging")), m.role), (m.element_type == "hub", "hub"), else_="transport"
    )
    has_km = m.distance_km.is_not(None)
    return select(
        m.leg_key,
        activity.label("activity"),
        m.factor_id,
        m.distance_km,
        case((has_km, m.distance_type)).label("distance_type"),
        case((has_km, m.adjustment)).label("distance_adjustment"),
        case((has_km, status_of(m.distance_rank))).label("distance_status"),
        m.mass_kg,
        case((m.mass_kg.is_not(None), status_of(m.mass_rank))).label("mass_status"),
        case((m.method == "per_tonne_km", m.amount), else_=m.direct_tonne_km).label("tonne_km"),
        (m.amount * m.wtt).label("kg_co2e_wtt"),
        (m.amount * m.ttw).label("kg_co2e_ttw"),
        (m.amount * m.wtw).label("kg_co2e"),
        (m.direct_tonne_km * m.tonne_km_wtw).label("kg_co2e_tonne_km"),
        status_of(m.worst).label("status"),
        case((m.role == "customer_trip", "9"), (m.role == "packaging", "1"), else_="4").label("scope3_category"),
        m.method,
    )


def _treated_lots(parcels: Select[Any] | None) -> Subquery:
    """Give the live lots of parcels by parcel and kind of treatment, with their units and mass."""
    lot = t["fact_return_line"]
    kind = case(*((lot.c.disposition == name, vehicle) for name, vehicle in TREATMENTS.items()))
    is_mended = lot.c.disposition.in_(("repaired", "refurbished"))
    return (
        select(
            lot.c.parcel_key,
            kind.label("kind"),
            func.bool_or(is_mended).label("is_mended"),
            func.sum(double(lot.c.units)).label("units"),
            func.sum(lot.c.weight_kg * double(lot.c.units)).label("weight_kg"),
        )
        .where(is_live(lot), is_of(lot, parcels))
        .group_by(lot.c.parcel_key, kind)
        .subquery("treated")
    )


def _treatment_columns(treated: Subquery, factor: Any) -> dict[str, Expression]:
    """Give what a parcel's treatments are told by: activity, the factors used, the category of scope 3."""
    kinds = ("treatment_none", "treatment_energy_recovery", "treatment_recycling", "treatment_reuse")
    trace = func.concat_ws(" + ", *(func.max(case((treated.c.kind == name, factor.c.factor_id))) for name in kinds))
    discards = func.bool_or(treated.c.kind.in_(("treatment_recycling", "treatment_energy_recovery")))
    return {
        "activity": case((discards, "treatment"), (func.bool_or(treated.c.is_mended), "repair"), else_="treatment"),
        "factor_id": func.nullif(trace, ""),
        "scope3_category": case(
            (discards, "5"),
            (func.bool_or(treated.c.kind == "treatment_reuse"), "1"),
            else_="4",
        ),
    }


def _treatment_carbon(leg: Any, goods: Any, factor: Any, parcels: Select[Any] | None) -> Select[Any]:
    """Give the emissions of treatment: the parcel's goods by what is done with them, each kind with its factor.

    A parcel with a lot whose treatment is not decided or has no factor gets no answer yet.
    """
    place = t["dim_place"]
    treated = _treated_lots(parcels)
    of_parcel = (
        select(treated.c.parcel_key, func.sum(treated.c.units).label("units"))
        .group_by(treated.c.parcel_key)
        .subquery("of_parcel")
    )
    to_landfill = and_(treated.c.kind == "treatment_energy_recovery", place.c.kind == "landfill")
    mass = double(func.coalesce(leg.c.mass_kg, goods.c.goods_kg, parameter("parcel_mass")))
    share = case(
        (goods.c.goods_kg > 0, carbon.allocate(mass, treated.c.weight_kg, goods.c.goods_kg)),
        else_=carbon.allocate(mass, treated.c.units, of_parcel.c.units),
    )
    rank = case((leg.c.mass_kg.is_not(None), MEASURED), (goods.c.goods_kg.is_not(None), IMPUTED), else_=ASSUMED)
    whole = func.count() == func.count(factor.c.wtw)

    def kilograms(rate: Any) -> Expression:
        return case((whole & (func.count(rate) == func.count()), func.sum(carbon.mass_carbon(share, rate))))

    columns = _treatment_columns(treated, factor)
    return (
        select(
            leg.c.leg_key,
            columns["activity"].label("activity"),
            columns["factor_id"].label("factor_id"),
            func.any_value(mass).label("mass_kg"),
            status_of(func.any_value(rank)).label("mass_status"),
            kilograms(factor.c.wtt).label("kg_co2e_wtt"),
            kilograms(factor.c.ttw).label("kg_co2e_ttw"),
            kilograms(factor.c.wtw).label("kg_co2e"),
            status_of(func.any_value(rank)).label("status"),
            columns["scope3_category"].label("scope3_category"),
            literal("per_tonne").label("method"),
        )
        .select_from(leg)
        .outerjoin(treated, treated.c.parcel_key == leg.c.parcel_key)
        .outerjoin(of_parcel, of_parcel.c.parcel_key == leg.c.parcel_key)
        .outerjoin(goods, goods.c.parcel_key == leg.c.parcel_key)
        .outerjoin(place, place.c.place_key == leg.c.to_place_key)
        .outerjoin(
            factor,
            and_(
                factor.c.vehicle
                == case((to_landfill, "treatment_landfill"), else_=func.coalesce(treated.c.kind, leg.c.vehicle)),
                factor.c.unit == "kgCO2e/t",
                factor.c.for_year == extract("year", leg.c.started_on),
                factor.c.country == "",
            ),
        )
        .where(leg.c.role == "treatment")
        .group_by(leg.c.leg_key)
    )
