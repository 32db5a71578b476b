"""Carbon and cost: distance of each lane, emissions and cost of each leg, and each lot's part of both.

The arithmetic is in `models` and is called here with SQL columns: the warehouse runs what the tests check on numbers.
This module holds the rules around it: which distance and mass are used and how sure they are, which factor fits a leg
in its year, what the retailer pays, and how a parcel's total falls to its lots. A factor that is missing gives a
missing answer.
"""

from typing import Any

import duckdb
from duckdb_sqlalchemy import Dialect
from sqlalchemy import (
    Date,
    Double,
    Integer,
    Select,
    and_,
    case,
    cast,
    column,
    extract,
    false,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    table,
    text,
    true,
    union_all,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FromClause, TableClause

from models import carbon, cost, distance
from pipelines.factors import Ledger, ledger, number, parameter, parameters
from pipelines.settings import Settings
from pipelines.warehouse.build import rows_sql
from pipelines.warehouse.schema import HANDLING, STAR

Expression = ColumnElement[Any]
Connection = duckdb.DuckDBPyConnection

MEASURED, IMPUTED, ASSUMED = 0, 1, 2
COORDINATE_STEP = 0.1  # places are rounded to it (degrees); no distance is read from places this close
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
PRICE_UNITS = 10  # units of a style sold in a month, at least, for its selling price to be read

t = STAR.tables


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


# -- small pieces of SQL -----------------------------------------------------------------------------------------------


def _sql(statement: Any) -> str:
    return str(statement.compile(dialect=Dialect(), compile_kwargs={"literal_binds": True}))


def _fill(connection: Connection, name: str, rows: Any) -> None:
    connection.execute(_sql(insert(t[name]).from_select([c.name for c in rows.selected_columns], rows)))


def _keep(connection: Connection, name: str, rows: Select[Any]) -> TableClause:
    """Store a SELECT as a temporary table and give it back with its columns."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {_sql(rows)}")
    return table(name, *(column(c.name, c.type) for c in rows.selected_columns))


def _wanted(connection: Connection, name: str, where: str) -> Any:
    """Give the rows of a fact that match `where`; a few of many are copied once, since several statements read them."""
    rows = select(t[name]).where(text(where))
    return rows.subquery("wanted") if where == "TRUE" else _keep(connection, f"wanted_{name}", rows)


def _double(value: Any) -> Expression:
    return cast(value, Double)


def _status(rank: Expression) -> Expression:
    return case((rank == MEASURED, "measured"), (rank == IMPUTED, "imputed"), (rank == ASSUMED, "assumed"))


def _rates(connection: Connection) -> dict[str, float]:
    """Give the latest rate of each currency to the reporting currency.

    Of the euro, in which parameters are, and of price lists.
    """
    rows = connection.execute("""
        WITH reporting AS (SELECT value AS name FROM build_info WHERE name = 'reporting_currency')
        SELECT currency, arg_max(rate, day) FROM (
            SELECT name AS currency, DATE '9999-01-01' AS day, 1.0 AS rate FROM reporting
            UNION ALL SELECT currency, day, rate FROM fact_fx_rate, reporting WHERE quote_currency = name
                AND currency <> name
            UNION ALL SELECT quote_currency, day, 1 / rate FROM fact_fx_rate, reporting WHERE currency = name
                AND quote_currency <> name) GROUP BY 1
    """).fetchall()
    return {str(currency): float(rate) for currency, rate in rows}


def _euro_rate(rates: dict[str, float]) -> Expression:
    return _double(literal(rates["EUR"])) if "EUR" in rates else _double(null())


def _rate_of(currency: Expression, rates: dict[str, float]) -> Expression:
    """Give the rate of a price's currency to the reporting currency.

    NULL where it is not known, so that the price counts as missing.
    """
    return case(*((currency == name, rate) for name, rate in rates.items())) if rates else _double(null())


# -- lanes -------------------------------------------------------------------------------------------------------------


def lanes(connection: Connection, settings: Settings, where_leg: str = "TRUE") -> None:
    """Fill dim_lane for origins and destinations not known yet of legs matching `where_leg`, both with coordinates.

    Geopy once per pair of points. Places of one area, or no further apart than the rounding of coordinates, get the
    labelled default.
    """
    new = connection.execute(f"""
        SELECT l.lane_key, l.from_place_key, l.to_place_key, a.latitude, a.longitude, b.latitude AS to_latitude,
            b.longitude AS to_longitude,
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
    circuity, near = parameter("circuity"), parameter("same_area_distance")
    rows = []
    for *keys, latitude, longitude, to_latitude, to_longitude, is_same_area in new:
        pair = (latitude, longitude, to_latitude, to_longitude)
        if not is_same_area and pair not in known:
            known[pair] = known[pair[2:] + pair[:2]] = distance.geodesic_km(*pair)
        rows.append(
            (*keys, near, "same area")
            if is_same_area
            else (*keys, distance.road_km(known[pair], circuity), f"geodesic x {circuity:g}")
        )
    _append(connection, "dim_lane", rows)


def _append(connection: Connection, name: str, rows: list[tuple[Any, ...]]) -> None:
    """Append rows that hold every column of a table, in its order."""
    types = {c.name: str(c.type.compile(Dialect())) for c in t[name].columns}
    connection.execute(f"INSERT INTO {name} BY NAME {rows_sql(types, rows)}")


# -- legs --------------------------------------------------------------------------------------------------------------


def legs(connection: Connection, settings: Settings, where_leg: str) -> None:
    """Fill estimate_leg_carbon and estimate_leg_cost for some legs.

    Those matching `where_leg`, a predicate on fact_return_leg.
    """
    leg = _wanted(connection, "fact_return_leg", where_leg)
    leg_carbon(connection, ledger(settings), leg)
    has_cards = bool(connection.execute("SELECT count(*) FROM dim_rate_card").fetchall()[0][0])
    _fill(connection, "estimate_leg_cost", _leg_cost(leg, _rates(connection), has_cards=has_cards))


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
    leg = _wanted(connection, "fact_return_leg", "TRUE") if leg is None else leg
    of_parcel = select(leg.c.parcel_key) if isinstance(leg, TableClause) else None
    goods = _goods(of_parcel)
    return [_sql(_transport_carbon(leg, goods, factor, known)), _sql(_treatment_carbon(leg, goods, factor, of_parcel))]


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
            kg_co2e_wtt = {_shared("wtt")},
            kg_co2e_ttw = {_shared("ttw")},
            kg_co2e = {_shared("wtw")}
        FROM shared_movement m WHERE m.leg_key = estimate_leg_carbon.leg_key;
        DROP TABLE shared_movement;
    """)


def _shared(part: str) -> str:
    """Write a parcel's part of a shared movement's emissions as SQL."""
    share = (_m(name) for name in ("driven_km", "weight", "total_weight", part))
    return _compiled(carbon.shared_movement_carbon(*share))


def _m(name: str) -> Expression:
    return column(f"m.{name}", Double, is_literal=True)


def _compiled(expression: Any) -> str:
    return str(expression.compile(dialect=Dialect(), compile_kwargs={"literal_binds": True}))


def _is_live(lot: Any) -> Expression:
    return and_(lot.c.cancelled_at.is_(None), lot.c.rejected_at.is_(None), lot.c.expired_at.is_(None))


def _goods(parcels: Select[Any] | None) -> FromClause:
    """Net mass of the goods (kg) of parcels, all or some, where every lot's product has a weight."""
    lot = t["fact_return_line"]
    whole = func.count() == func.count(lot.c.weight_kg)
    mass = func.sum(lot.c.weight_kg * _double(lot.c.units))
    goods = select(lot.c.parcel_key, _double(case((whole, mass))).label("goods_kg"))
    goods = goods.where(_is_live(lot), _is_of(lot, parcels)).group_by(lot.c.parcel_key)
    return goods.subquery("goods")


def _is_of(lot: FromClause, parcels: Select[Any] | None) -> Expression:
    return lot.c.parcel_key.is_not(None) if parcels is None else lot.c.parcel_key.in_(parcels)


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


def _transport_carbon(leg: Any, goods: Any, factor: Any, known: Ledger) -> Select[Any]:
    """Emissions of every leg but treatment.

    A collection round that says how many parcels shared it is divided by them; a customer's trip counts its share; hubs
    count per parcel; packaging by its mass; everything else by tonne-kilometres.
    """
    lane, place = t["dim_lane"], t["dim_place"]
    is_trip = leg.c.role == "customer_trip"
    far_trip = and_(is_trip, lane.c.distance_km > parameter("trip_lane_limit"))
    is_shared = and_(
        leg.c.role == "first_mile",
        leg.c.movement_parcels > 0,
        leg.c.distance_km.is_not(None),
        leg.c.element_type == "transport",
    )
    is_road = leg.c.mode.in_(("van", "truck", "car", "bus"))
    straight = case((leg.c.mode == "air", 1.0), else_=parameter("circuity"))  # a flight's factor holds its detours
    given_type = func.coalesce(leg.c.distance_type, "actual")
    given_adjustment = case(
        (and_(given_type == "shortest_feasible", is_road), parameter("road_adjustment")),
        (given_type == "great_circle", straight),
        else_=1.0,
    )
    lane_km = case(
        (is_trip, lane.c.distance_km * 2),
        (leg.c.mode == "air", lane.c.distance_km / parameter("circuity")),
        else_=lane.c.distance_km,
    )
    lane_km = case((~far_trip, lane_km))
    usual_km = case(
        (is_trip, parameter("trip_distance")),
        (leg.c.role == "first_mile", parameter("first_mile_distance")),
        (leg.c.role == "onward", parameter("onward_distance")),
        else_=parameter("trunk_distance"),
    )
    is_given, from_lane = (
        leg.c.distance_km.is_not(None),
        and_(~func.coalesce(far_trip, False), lane.c.distance_km.is_not(None)),
    )
    km = _double(func.coalesce(leg.c.distance_km * given_adjustment, lane_km, usual_km))
    is_near = lane.c.method == "same area"
    distance_rank = case(
        (and_(is_given, given_type == "actual"), MEASURED),
        (is_given, IMPUTED),
        (far_trip, ASSUMED),
        (~is_near, IMPUTED),
        else_=ASSUMED,
    )
    distance_type = case((is_given, given_type), (and_(from_lane, ~is_near), "great_circle"), else_="default")
    adjustment = case((is_given, given_adjustment), (and_(from_lane, ~is_near), straight), else_=1.0)
    read = (
        select(
            leg.c.leg_key,
            leg.c.role,
            leg.c.element_type,
            leg.c.fuel,
            leg.c.mode,
            leg.c.mass_kg,
            leg.c.trip_share,
            extract("year", leg.c.started_on).label("year"),
            _double(leg.c.movement_parcels).label("parcels"),
            is_shared.label("is_shared"),
            is_trip.label("is_trip"),
            km.label("km"),
            distance_rank.label("distance_rank"),
            distance_type.label("distance_type"),
            adjustment.label("adjustment"),
            _vehicle(leg, place.c.kind, km).label("vehicle"),
            goods.c.goods_kg,
            place.c.country.label("site_country"),
            leg.c.country,
            case((~is_near, lane.c.distance_km)).label("direct_km"),
        )
        .select_from(leg)
        .outerjoin(lane, lane.c.lane_key == leg.c.lane_key)
        .outerjoin(place, place.c.place_key == leg.c.to_place_key)
        .outerjoin(goods, goods.c.parcel_key == leg.c.parcel_key)
        .where(leg.c.role != "treatment")
        .subquery("read")
    )
    r = read.c
    is_pack, is_hub = r.role == "packaging", r.element_type == "hub"
    method = case(
        (is_pack, "per_tonne"),
        (or_(is_hub, r.is_shared), "per_parcel"),
        (or_(r.is_trip, r.vehicle.in_(("foot", "bike"))), "per_vehicle_km"),
        else_="per_tonne_km",
    )
    packs = ("packaging_board", "packaging_film", "packaging_crate", "packaging_none")
    pack_kg = case(*((r.vehicle == name, parameter("packaging_mass", name)) for name in packs))
    mass_rank = case(
        (r.mass_kg.is_not(None), MEASURED), (and_(~is_pack, r.goods_kg.is_not(None)), IMPUTED), else_=ASSUMED
    )
    mass = case(
        (is_pack, func.coalesce(r.mass_kg, pack_kg)),
        else_=func.coalesce(r.mass_kg, r.goods_kg + parameter("packaging_mass"), parameter("parcel_mass")),
    )
    unit = case(
        (is_pack, "kgCO2e/t"),
        (is_hub, "kgCO2e/parcel"),
        (r.vehicle.in_(("foot", "bike", "bus_local")), "kgCO2e/passenger.km"),
        (or_(r.is_trip, r.is_shared), "kgCO2e/vehicle.km"),
        else_="kgCO2e/t.km",
    )
    country = case(
        (and_(is_hub, r.site_country.in_(known.grids)), r.site_country),
        (and_(r.vehicle == "trip_mix", r.country.in_(known.trip_countries)), r.country),
        else_="",
    )
    used = select(
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
        mass_rank.label("mass_rank"),
        func.coalesce(r.trip_share, parameter("trip_share")).label("trip_share"),
        unit.label("unit"),
        method.label("method"),
        country.label("country"),
        case((or_(method.in_(("per_tonne_km", "per_vehicle_km")), r.is_shared), r.km)).label("distance_km"),
        case((method.in_(("per_tonne_km", "per_tonne")), _double(mass))).label("mass_kg"),
        case(
            (
                r.is_shared,
                carbon.tonne_km(_double(func.coalesce(r.direct_km, parameter("first_mile_distance"))), _double(mass)),
            )
        ).label("direct_tonne_km"),
        case(
            (r.is_trip & (r.trip_share.is_(None) | r.mode.is_(None)), ASSUMED), (is_hub, IMPUTED), else_=MEASURED
        ).label("other_rank"),
    ).subquery("used")
    u = used.c
    uses = case((u.vehicle == "packaging_crate", parameter("packaging_uses")), else_=1.0)
    # emissions are proportional to the factor: the amount is what a factor of 1 gives
    amount = case(
        (u.is_shared, carbon.shared_trip_carbon(u.distance_km, u.parcels, 1.0)),
        (u.method == "per_parcel", 1.0),
        (u.method == "per_vehicle_km", carbon.trip_carbon(u.distance_km, u.trip_share, 1.0)),
        (u.method == "per_tonne", carbon.mass_carbon(u.mass_kg, 1.0) / uses),
        else_=carbon.leg_carbon(u.distance_km, u.mass_kg, 1.0),
    )
    has_km = u.distance_km.is_not(None)
    worst = func.greatest(
        case((has_km, u.distance_rank), else_=0), case((u.mass_kg.is_not(None), u.mass_rank), else_=0), u.other_rank
    )
    fits = or_(factor.c.fuel.is_(None), u.fuel.is_(None), factor.c.fuel == u.fuel)
    made = (
        select(
            *(
                u[n]
                for n in (
                    "leg_key",
                    "role",
                    "element_type",
                    "distance_km",
                    "distance_type",
                    "adjustment",
                    "distance_rank",
                    "mass_kg",
                    "mass_rank",
                    "direct_tonne_km",
                    "method",
                )
            ),
            worst.label("worst"),
            amount.label("amount"),
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
    m = made.c
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
        case((has_km, _status(m.distance_rank))).label("distance_status"),
        m.mass_kg,
        case((m.mass_kg.is_not(None), _status(m.mass_rank))).label("mass_status"),
        case((m.method == "per_tonne_km", m.amount), else_=m.direct_tonne_km).label("tonne_km"),
        (m.amount * m.wtt).label("kg_co2e_wtt"),
        (m.amount * m.ttw).label("kg_co2e_ttw"),
        (m.amount * m.wtw).label("kg_co2e"),
        (m.direct_tonne_km * m.tonne_km_wtw).label("kg_co2e_tonne_km"),
        _status(m.worst).label("status"),
        case((m.role == "customer_trip", "9"), (m.role == "packaging", "1"), else_="4").label("scope3_category"),
        m.method,
    )


def _treatment_carbon(leg: Any, goods: Any, factor: Any, parcels: Select[Any] | None) -> Select[Any]:
    """Emissions of treatment: the parcel's goods by what is done with them, each kind with its factor.

    A parcel with a lot whose treatment is not decided or has no factor gets no answer yet.
    """
    lot, place = t["fact_return_line"], t["dim_place"]
    kind = case(*((lot.c.disposition == name, vehicle) for name, vehicle in TREATMENTS.items()))
    is_mended = lot.c.disposition.in_(("repaired", "refurbished"))
    treated = (
        select(
            lot.c.parcel_key,
            kind.label("kind"),
            func.bool_or(is_mended).label("is_mended"),
            func.sum(_double(lot.c.units)).label("units"),
            func.sum(lot.c.weight_kg * _double(lot.c.units)).label("weight_kg"),
        )
        .where(_is_live(lot), _is_of(lot, parcels))
        .group_by(lot.c.parcel_key, kind)
        .subquery("treated")
    )
    of_parcel = (
        select(treated.c.parcel_key, func.sum(treated.c.units).label("units"))
        .group_by(treated.c.parcel_key)
        .subquery("of_parcel")
    )
    to_landfill = and_(treated.c.kind == "treatment_energy_recovery", place.c.kind == "landfill")
    mass = _double(func.coalesce(leg.c.mass_kg, goods.c.goods_kg, parameter("parcel_mass")))
    share = case(
        (goods.c.goods_kg > 0, carbon.allocate(mass, treated.c.weight_kg, goods.c.goods_kg)),
        else_=carbon.allocate(mass, treated.c.units, of_parcel.c.units),
    )
    rank = case((leg.c.mass_kg.is_not(None), MEASURED), (goods.c.goods_kg.is_not(None), IMPUTED), else_=ASSUMED)
    whole = func.count() == func.count(factor.c.wtw)

    def kilograms(rate: Any) -> Expression:
        return case((whole & (func.count(rate) == func.count()), func.sum(carbon.mass_carbon(share, rate))))

    kinds = ("treatment_none", "treatment_energy_recovery", "treatment_recycling", "treatment_reuse")
    trace = func.concat_ws(" + ", *(func.max(case((treated.c.kind == name, factor.c.factor_id))) for name in kinds))
    discards = func.bool_or(treated.c.kind.in_(("treatment_recycling", "treatment_energy_recovery")))
    activity = case((discards, "treatment"), (func.bool_or(treated.c.is_mended), "repair"), else_="treatment")
    scope3 = case(
        (discards, "5"),
        (func.bool_or(treated.c.kind == "treatment_reuse"), "1"),
        else_="4",
    )
    return (
        select(
            leg.c.leg_key,
            activity.label("activity"),
            func.nullif(trace, "").label("factor_id"),
            func.any_value(mass).label("mass_kg"),
            _status(func.any_value(rank)).label("mass_status"),
            kilograms(factor.c.wtt).label("kg_co2e_wtt"),
            kilograms(factor.c.ttw).label("kg_co2e_ttw"),
            kilograms(factor.c.wtw).label("kg_co2e"),
            _status(func.any_value(rank)).label("status"),
            scope3.label("scope3_category"),
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


def _leg_cost(leg: Any, rates: dict[str, float], *, has_cards: bool) -> Select[Any]:
    """Cost of every leg.

    Its invoice; else its part of the parcel's carrier invoice; else nothing where the retailer does not pay it as a
    leg; else of the rate card; else the usual rate.
    """
    start, end = t["dim_place"].alias("start"), t["dim_place"].alias("finish")
    methods = [name for parameter_name, name in parameters() if parameter_name == "freight_first_mile"]
    first_mile = case(
        *((leg.c.method == m, parameter("freight_first_mile", m)) for m in methods),
        else_=parameter("freight_first_mile", "unknown"),
    )
    trunk = case(
        (start.c.country != end.c.country, parameter("freight_trunk", "cross_border")),
        else_=parameter("freight_trunk", "domestic"),
    )
    rate = case(
        (leg.c.role == "first_mile", first_mile),
        (leg.c.element_type == "hub", parameter("freight_hub", "carrier")),
        (leg.c.role == "onward", parameter("freight_onward")),
        else_=trunk,
    )
    customer = leg.c.role.in_(("customer_trip", "packaging"))
    handling = or_(leg.c.role == "treatment", and_(leg.c.element_type == "hub", leg.c.carrier.is_(None)))
    invoiced = leg.c.cost_amount.is_not(None)
    euro, billed, priced = _euro_rate(rates), _billed(), _priced(leg, rates) if has_cards else _unpriced()
    by_carrier = leg.c.carrier.is_not(None) & ~customer
    of_bill = and_(by_carrier, billed.c.parcel_key.is_not(None))
    of_card = and_(by_carrier, priced.c.parcel_key.is_not(None))
    return (
        select(
            leg.c.leg_key,
            case(
                (invoiced, cost.leg_cost(_double(leg.c.cost_amount), leg.c.fx_rate)),
                (of_bill, case((billed.c.leg_key == leg.c.leg_key, billed.c.amount), else_=0.0)),
                (customer | handling, 0.0),
                (of_card, case((priced.c.leg_key == leg.c.leg_key, priced.c.amount), else_=0.0)),
                else_=cost.leg_cost(_double(rate), euro),
            ).label("amount"),
            case(
                (or_(invoiced, of_bill), "measured"), (or_(customer | handling, of_card), "imputed"), else_="assumed"
            ).label("status"),
            case(
                (invoiced, "invoice"),
                (of_bill, "carrier invoice"),
                (customer, "the customer pays"),
                (handling, "part of handling"),
                (of_card, "rate card"),
                else_="usual rate",
            ).label("method"),
        )
        .select_from(leg)
        .outerjoin(start, start.c.place_key == leg.c.from_place_key)
        .outerjoin(end, end.c.place_key == leg.c.to_place_key)
        .outerjoin(billed, billed.c.parcel_key == leg.c.parcel_key)
        .outerjoin(priced, priced.c.parcel_key == leg.c.parcel_key)
    )


def _rated_sum(amount: Expression, rate: Expression) -> Expression:
    """Sum amounts in the reporting currency.

    NULL where one of them has no exchange rate, so that no sum is taken for the whole.
    """
    return case((func.count(amount) == func.count(amount * rate), func.sum(_double(amount) * rate)))


def _billed() -> FromClause:
    """Sum the matched lines of carriers' invoices a parcel, duties left out: they are a component of their own.

    Lines of an element are laid where they are.
    """
    line = t["fact_carrier_invoice"]
    return (
        select(line.c.parcel_key, line.c.leg_key, _rated_sum(line.c.amount, line.c.fx_rate).label("amount"))
        .where(line.c.leg_key.is_not(None), line.c.parcel_key.is_not(None), line.c.kind != "duty")
        .group_by(line.c.parcel_key, line.c.leg_key)
        .subquery("billed")
    )


def _unpriced() -> FromClause:
    """Give no price to any parcel."""
    leg = t["fact_return_leg"]
    return select(leg.c.parcel_key, leg.c.leg_key, _double(null()).label("amount")).where(false()).subquery("priced")


def _priced(leg: Any, rates: dict[str, float]) -> FromClause:
    """Price parcels by the rate card of their first leg by a carrier.

    The zone, method and weight break that fit, the narrowest first.
    """
    card, goods = t["dim_rate_card"], _goods(None)
    first = (
        select(
            leg.c.parcel_key,
            func.arg_min(leg.c.leg_key, leg.c.element_no).label("leg_key"),
            func.arg_min(leg.c.carrier, leg.c.element_no).label("carrier"),
            func.arg_min(leg.c.method, leg.c.element_no).label("method"),
            func.arg_min(leg.c.country, leg.c.element_no).label("country"),
            func.min(leg.c.started_at).label("started_at"),
            func.max(leg.c.mass_kg).label("mass_kg"),
        )
        .where(leg.c.element_type == "transport", leg.c.carrier.is_not(None))
        .group_by(leg.c.parcel_key)
        .subquery("first")
    )
    mass = func.coalesce(first.c.mass_kg, goods.c.goods_kg + parameter("packaging_mass"), parameter("parcel_mass"))
    price = (
        _double(card.c.price) * (1 + func.coalesce(card.c.fuel_share, 0.0))
        + _double(func.coalesce(card.c.surcharge, 0))
    ) * _rate_of(card.c.currency, rates)
    fit = case((card.c.method.is_not(None), 2), else_=0) + case((card.c.country.is_not(None), 1), else_=0)
    return (
        select(first.c.parcel_key, first.c.leg_key, func.arg_max(price, fit).label("amount"))
        .select_from(
            first.join(
                card,
                and_(
                    card.c.carrier == first.c.carrier,
                    or_(card.c.method.is_(None), card.c.method == first.c.method),
                    or_(card.c.country.is_(None), card.c.country == first.c.country),
                    card.c.valid_from <= first.c.started_at,
                    or_(card.c.valid_to.is_(None), first.c.started_at < card.c.valid_to),
                ),
            ).outerjoin(goods, goods.c.parcel_key == first.c.parcel_key)
        )
        .where(
            mass >= func.coalesce(card.c.weight_from_kg, 0.0),
            or_(card.c.weight_to_kg.is_(None), mass < card.c.weight_to_kg),
        )
        .group_by(first.c.parcel_key, first.c.leg_key)
        .subquery("priced")
    )


# -- returns -----------------------------------------------------------------------------------------------------------


def returns(connection: Connection, settings: Settings, where_lot: str) -> None:
    """Fill estimate_return_carbon and estimate_return_cost for some lots.

    Those matching `where_lot`, a predicate on fact_return_line.

    `where_lot` takes whole parcels. A lot that was cancelled, rejected or expired carries nothing of a parcel that
    others travelled in. Then list in factor_set what this build used; legs come first.
    """
    lot = _wanted(connection, "fact_return_line", where_lot)
    few = lot if isinstance(lot, TableClause) else None
    price = _keep(connection, "style_price", _style_price(few))
    rates = _rates(connection)
    basis = _keep(connection, "lot_basis", _lot_basis(lot, price, rates, is_whole=few is None))
    _fill(
        connection,
        "estimate_return_carbon",
        select(
            basis.c.return_lot_key,
            carbon.allocate(basis.c.kg_co2e, basis.c.weight, basis.c.total_weight).label("kg_co2e"),
            carbon.allocate(basis.c.kg_co2e_measured, basis.c.weight, basis.c.total_weight).label("kg_co2e_measured"),
            (basis.c.unknown_legs == 0).label("is_whole"),
        ).where(basis.c.unknown_legs.is_not(None)),
    )
    _fill(connection, "estimate_return_cost", union_all(*_components(basis, rates)))
    connection.execute("DROP TABLE lot_basis; DROP TABLE style_price")
    _list_factors(connection, ledger(settings))


def _lot_basis(lot: Any, price: Any, rates: dict[str, float], *, is_whole: bool) -> Select[Any]:
    """All that a lot's carbon and cost follow from, one row a lot; `is_whole` says that it is of every lot."""

    def of_lots(key: Any) -> Expression:
        return true() if is_whole else key.in_(select(lot.c[key.name]))

    order, policy = t["fact_order_line"], t["dim_policy"]
    leg, leg_carbon, leg_cost = t["fact_return_leg"], t["estimate_leg_carbon"], t["estimate_leg_cost"]
    mass = lot.c.weight_kg * _double(lot.c.units)
    live = _is_live(lot)
    parcel = (
        select(
            lot.c.parcel_key,
            func.sum(_double(lot.c.units)).label("units"),
            func.sum(case((live, _double(lot.c.units)))).label("live_units"),
            case((func.count(case((live, 1))) == func.count(case((live, mass))), func.sum(case((live, mass))))).label(
                "live_kg"
            ),
        )
        .where(lot.c.parcel_key.is_not(None))
        .group_by(lot.c.parcel_key)
        .subquery("parcel")
    )
    rank = case((leg_cost.c.status == "measured", MEASURED), (leg_cost.c.status == "imputed", IMPUTED), else_=ASSUMED)
    measured = case((leg_carbon.c.status == "measured", leg_carbon.c.kg_co2e), else_=0.0)
    parts = union_all(
        select(
            leg_carbon.c.leg_key,
            leg_carbon.c.kg_co2e,
            measured.label("kg_co2e_measured"),
            case((leg_carbon.c.kg_co2e.is_(None), 1), else_=0).label("unknown_legs"),
            _double(null()).label("freight"),
            cast(null(), Integer).label("freight_rank"),
            literal(0).label("unrated_legs"),
        ),
        select(leg_cost.c.leg_key, null(), null(), null(), _double(leg_cost.c.amount), rank, literal(0)).where(
            leg_cost.c.amount != 0
        ),
        select(leg_cost.c.leg_key, null(), null(), null(), null(), null(), literal(1)).where(
            leg_cost.c.amount.is_(None)
        ),
    ).subquery("parts")
    sums: Any = (
        func.sum(parts.c[n]).label(n)
        for n in ("kg_co2e", "kg_co2e_measured", "unknown_legs", "freight", "unrated_legs")
    )
    chain = (
        select(leg.c.parcel_key, *sums, func.max(parts.c.freight_rank).label("freight_rank"))
        .join(parts, parts.c.leg_key == leg.c.leg_key)
        .where(of_lots(leg.c.parcel_key))
        .group_by(leg.c.parcel_key)
        .subquery("chain")
    )
    line, filed = t["fact_carrier_invoice"], t["fact_carrier_claim"]
    duty = (
        select(line.c.parcel_key, _rated_sum(line.c.amount, line.c.fx_rate).label("amount"))
        .where(line.c.kind == "duty", line.c.parcel_key.is_not(None))
        .group_by(line.c.parcel_key)
        .subquery("duty")
    )
    claim = (
        select(filed.c.parcel_key, _rated_sum(filed.c.paid_amount, filed.c.fx_rate).label("amount"))
        .where(filed.c.paid_amount > 0)
        .group_by(filed.c.parcel_key)
        .subquery("claim")
    )
    hour = t["dim_handling_rate"]
    minute_cost = _double(hour.c.minutes) * _double(hour.c.hourly_cost) / 60 * _rate_of(hour.c.currency, rates)
    handled_at = func.coalesce(lot.c.received_at, lot.c.inspected_at, lot.c.restocked_at)
    site = (
        select(
            lot.c.return_lot_key,
            (func.count() > func.count(_rate_of(hour.c.currency, rates))).label("is_unrated"),
            *(func.sum(case((hour.c.activity == n, minute_cost))).label(n) for n in HANDLING),
        )
        .join(
            hour,
            and_(
                hour.c.place_id == lot.c.place_id,
                hour.c.valid_from <= handled_at,
                or_(hour.c.valid_to.is_(None), handled_at < hour.c.valid_to),
            ),
        )
        .group_by(lot.c.return_lot_key)
        .subquery("site")
    )
    recovery = t["fact_recovery"]
    recovered = (
        select(
            recovery.c.return_line_key,
            recovery.c.disposition,
            func.sum(_double(recovery.c.units)).label("units"),
            _rated_sum(recovery.c.amount, recovery.c.fx_rate).label("amount"),
            func.count(recovery.c.amount).label("amounts"),
            case(
                (func.count(recovery.c.treatment_cost) > 0, _rated_sum(recovery.c.treatment_cost, recovery.c.fx_rate)),
                else_=0.0,
            ).label("treatment_cost"),
        )
        .where(recovery.c.units > 0, of_lots(recovery.c.return_line_key))
        .group_by(recovery.c.return_line_key, recovery.c.disposition)
        .subquery("recovered")
    )
    whole = t["fact_return_line"].alias("whole")
    pays_fee = whole.c.return_type.in_(("withdrawal", "commercial"))
    of_return = (
        select(whole.c.return_key, func.sum(_double(whole.c.units)).label("units"))
        .where(pays_fee, _is_live(whole), whole.c.confirmed_at.is_not(None), of_lots(whole.c.return_key))
        .group_by(whole.c.return_key)
        .subquery("of_return")
    )
    prices = [price.alias(name) for name in ("price_then", "price_now")]
    months = [
        func.date_trunc("month", day)
        for day in (lot.c.ordered_on, cast(func.coalesce(lot.c.restocked_at, lot.c.inspected_at), Date))
    ]
    weight = case(
        (parcel.c.live_kg > 0, case((live, mass), else_=0.0)),
        (parcel.c.live_units > 0, case((live, _double(lot.c.units)), else_=0.0)),
        else_=_double(lot.c.units),
    )
    total = case(
        (parcel.c.live_kg > 0, parcel.c.live_kg), (parcel.c.live_units > 0, parcel.c.live_units), else_=parcel.c.units
    )
    sold = _double(order.c.units_sold + order.c.units_exchanged_in)
    units = _double(lot.c.units)

    def of_line(amount: Any) -> Expression:
        return case((sold > 0, cost.share_of(_double(amount), units, sold) * order.c.fx_rate))

    def of_recovery(amount: Any) -> Expression:
        return _double(cost.share_of(amount, units, recovered.c.units))

    fee_rate = case((policy.c.currency == lot.c.currency, lot.c.fx_rate), else_=_rate_of(policy.c.currency, rates))
    fee = case(
        (
            lot.c.return_type.in_(("withdrawal", "commercial")),
            cost.share_of(_double(policy.c.fee_amount), units, of_return.c.units) * fee_rate,
        )
    )
    goods = func.coalesce(lot.c.net_amount, lot.c.cost_amount)
    unrated: dict[str, Any] = {  # money of the lot that has no exchange rate
        "goods": and_(lot.c.fx_rate.is_(None), goods.is_not(None)),
        **{
            n: and_(order.c.fx_rate.is_(None), order.c[n].is_not(None), sold > 0)
            for n in ("outbound_cost", "payment_fee", "commission_amount")
        },
        "legs": chain.c.unrated_legs > 0,
        "duty": and_(duty.c.parcel_key.is_not(None), duty.c.amount.is_(None)),
        "claim": and_(claim.c.parcel_key.is_not(None), claim.c.amount.is_(None)),
        "recovery": and_(recovered.c.amounts > 0, recovered.c.amount.is_(None)),
        "treatment": and_(recovered.c.disposition.is_not(None), recovered.c.treatment_cost.is_(None)),
        "site": site.c.is_unrated,
        "fee": and_(lot.c.return_type.in_(("withdrawal", "commercial")), policy.c.fee_amount > 0, fee_rate.is_(None)),
    }
    is_costed = and_(
        or_(lot.c.confirmed_at.is_not(None), lot.c.lost_at.is_not(None)), live, lot.c.return_type != "price_adjustment"
    )
    return (
        select(
            lot.c.return_lot_key,
            is_costed.label("is_costed"),
            lot.c.return_type,
            lot.c.disposition,
            units.label("units"),
            lot.c.received_at,
            lot.c.inspected_at,
            lot.c.restocked_at,
            lot.c.lost_at,
            (_double(lot.c.net_amount) * lot.c.fx_rate).label("net"),
            (_double(lot.c.cost_amount) * lot.c.fx_rate).label("cost"),
            of_line(order.c.outbound_cost).label("outbound"),
            of_line(order.c.payment_fee).label("payment_fee"),
            of_line(order.c.commission_amount).label("commission"),
            of_recovery(recovered.c.amount).label("recovered"),
            of_recovery(recovered.c.treatment_cost).label("treatment_cost"),
            prices[0].c.price.label("price_then"),
            prices[1].c.price.label("price_now"),
            fee.label("fee"),
            weight.label("weight"),
            total.label("total_weight"),
            chain.c.kg_co2e,
            chain.c.kg_co2e_measured,
            chain.c.unknown_legs,
            chain.c.freight,
            chain.c.freight_rank,
            duty.c.amount.label("duty"),
            claim.c.amount.label("claim"),
            *(site.c[n].label(f"rate_{n}") for n in HANDLING),
            *(func.coalesce(test, false()).label(f"unrated_{n}") for n, test in unrated.items()),
        )
        .select_from(lot)
        .outerjoin(parcel, parcel.c.parcel_key == lot.c.parcel_key)
        .outerjoin(chain, chain.c.parcel_key == lot.c.parcel_key)
        .outerjoin(duty, duty.c.parcel_key == lot.c.parcel_key)
        .outerjoin(claim, claim.c.parcel_key == lot.c.parcel_key)
        .outerjoin(site, site.c.return_lot_key == lot.c.return_lot_key)
        .outerjoin(order, order.c.order_line_key == lot.c.order_line_key)
        .outerjoin(
            recovered,
            and_(recovered.c.return_line_key == lot.c.return_line_key, recovered.c.disposition == lot.c.disposition),
        )
        .outerjoin(policy, policy.c.policy_key == lot.c.policy_key)
        .outerjoin(of_return, of_return.c.return_key == lot.c.return_key)
        .outerjoin(
            prices[0],
            and_(
                prices[0].c.style_id == lot.c.style_id,
                prices[0].c.source == lot.c.source,
                prices[0].c.month == months[0],
            ),
        )
        .outerjoin(
            prices[1],
            and_(
                prices[1].c.style_id == lot.c.style_id,
                prices[1].c.source == lot.c.source,
                prices[1].c.month == months[1],
            ),
        )
    )


def _style_price(few: Any) -> Select[Any]:
    """Mean selling price of a style in a month, in the reporting currency, where enough units were sold.

    Of a few lots' styles, or all.
    """
    order = t["fact_order_line"]
    sold = func.sum(_double(order.c.units_sold))
    month = func.date_trunc("month", order.c.ordered_on)
    return (
        select(
            order.c.source,
            order.c.style_id,
            month.label("month"),
            (func.sum(_double(order.c.net_amount) * order.c.fx_rate) / sold).label("price"),
        )
        .where(
            order.c.units_sold > 0,
            order.c.line_type == "goods",
            order.c.style_id.is_not(None),
            *([] if few is None else [order.c.style_id.in_(select(few.c.style_id))]),
        )
        .group_by(order.c.source, order.c.style_id, month)
        .having(sold >= PRICE_UNITS)
    )


def _components(lot: Any, rates: dict[str, float]) -> list[Select[Any]]:
    """Give the SELECTs of components.

    Columns: lot, component, amount, status and how it was found; rows of nothing are left out.
    """
    euro = _euro_rate(rates)

    def usual(name: str, applies_to: str = "") -> Expression:
        return parameter(name, applies_to) * euro

    def rows(
        component: str, amount: Expression, status: str | Expression, method: str | Expression, *where: Expression
    ) -> Select[Any]:
        given = select(
            lot.c.return_lot_key,
            literal(component).label("component"),
            amount.label("amount"),
            _word(status).label("status"),
            _word(method).label("method"),
        ).where(lot.c.is_costed, *where)
        inner = given.subquery(component)
        return select(*inner.c).where(func.round(inner.c.amount, 4) != 0)

    def unrated(component: str, status: str | Expression, *where: Expression) -> Select[Any]:
        """Give a row without an amount.

        Money that has no exchange rate is missing, and no assumption takes its place.
        """
        of_money = select(
            lot.c.return_lot_key, literal(component), cast(null(), Double), _word(status), literal("no exchange rate")
        )
        return of_money.where(lot.c.is_costed, *where)

    c = lot.c
    has_euro = true() if "EUR" in rates else false()
    came = or_(c.received_at.is_not(None), c.inspected_at.is_not(None), c.restocked_at.is_not(None))
    checked = or_(c.inspected_at.is_not(None), c.restocked_at.is_not(None))
    repacked = checked & c.disposition.in_(("as_new", "b_stock", "marked_down"))
    discarded = c.disposition.in_(("recycled", "destroyed"))
    treatment = case((discarded, 0.0), else_=func.coalesce(c.treatment_cost, 0.0))
    has_site = or_(*(c[f"rate_{n}"].is_not(None) for n in HANDLING))

    def at_site(*names: str, usual_rate: Expression) -> Expression:
        """Add up the site's own rates where it has any, else the usual rate."""
        own = sum((func.coalesce(c[f"rate_{n}"], 0.0) for n in names[1:]), func.coalesce(c[f"rate_{names[0]}"], 0.0))
        return case((has_site, own), else_=usual_rate)

    mended = c.disposition.in_(("repaired", "refurbished"))
    handling = cost.handling_cost(
        c.units,
        case((came, at_site("receipt", usual_rate=usual("handling_receipt"))), else_=0.0),
        case((checked, at_site("inspection", "grading", usual_rate=usual("handling_inspection"))), else_=0.0)
        + case((and_(has_site, mended), func.coalesce(c.rate_reconditioning, 0.0)), else_=0.0),
        case((repacked, at_site("repacking", "putaway", usual_rate=usual("handling_repacking"))), else_=0.0),
        treatment,
    )
    is_lost = c.lost_at.is_not(None) & c.received_at.is_(None)
    as_new = c.disposition == "as_new"
    priced = (c.price_then > 0) & c.price_now.is_not(None)
    known = c.recovered.is_not(None)
    supplied = c.disposition == "return_to_supplier"
    dispositions = [
        name for parameter_name, name in parameters() if parameter_name == "recovery" and name != "return_to_supplier"
    ]
    usual_share = case(*((c.disposition == name, parameter("recovery", name)) for name in dispositions))
    loss = case(
        (is_lost, c.cost),
        (as_new & known, func.greatest(cost.value_loss(c.net, c.recovered), 0.0)),
        (as_new & priced, func.greatest(cost.markdown(c.net, c.price_then, c.price_now), 0.0)),
        (as_new, 0.0),
        (known, cost.value_loss(c.cost, c.recovered)),
        (supplied, cost.value_loss(c.cost, c.cost * parameter("recovery", "return_to_supplier"))),
        (c.disposition.is_(None), c.cost * parameter("expected_loss")),
        else_=cost.value_loss(c.cost, c.net * usual_share),
    )
    loss_status = case(
        (is_lost, "imputed"),
        (known, "measured"),
        (as_new, "imputed"),
        (c.disposition == "destroyed", "imputed"),
        else_="assumed",
    )
    loss_method = case(
        (is_lost, "lost on the way"),
        (known, "recovered value"),
        (as_new, "selling price of the style"),
        (c.disposition.is_(None), "treatment not decided"),
        else_="usual recovery",
    )
    disposal_known = c.treatment_cost.is_not(None)
    return [
        rows("outbound_shipping", c.outbound, "measured", "order line"),
        rows(
            "commission",
            c.commission * parameter("commission_kept"),
            "imputed",
            "commission kept by the marketplace",
            c.return_type != "exchange",
        ),
        rows(
            "payment_fee",
            c.payment_fee * parameter("payment_fee_lost"),
            "imputed",
            "fee kept by the processor",
            c.return_type != "exchange",
        ),
        rows(
            "return_freight",
            carbon.allocate(c.freight, c.weight, c.total_weight),
            _status(c.freight_rank),
            "legs of the parcel",
        ),
        rows("duties", carbon.allocate(c.duty, c.weight, c.total_weight), "measured", "carrier invoice"),
        rows(
            "handling",
            handling,
            case((has_site, "imputed"), else_="assumed"),
            case((has_site, "rates of the site"), else_="usual rates"),
            ~c.unrated_site,
        ),
        rows("carrier_claim", -carbon.allocate(c.claim, c.weight, c.total_weight), "measured", "paid by the carrier"),
        rows("value_loss", loss, loss_status, loss_method, or_(is_lost, ~c.unrated_recovery)),
        rows(
            "disposal",
            func.coalesce(c.treatment_cost, c.units * usual("disposal")),
            case((disposal_known, "measured"), else_="assumed"),
            case((disposal_known, "treatment cost"), else_="usual rate"),
            discarded,
            ~c.unrated_treatment,
        ),
        rows("fee_charged", -c.fee, "imputed", "return policy"),
        unrated("outbound_shipping", "measured", c.unrated_outbound_cost),
        unrated("commission", "imputed", c.unrated_commission_amount, c.return_type != "exchange"),
        unrated("payment_fee", "imputed", c.unrated_payment_fee, c.return_type != "exchange"),
        unrated("return_freight", "measured", c.unrated_legs),
        unrated("duties", "measured", c.unrated_duty),
        unrated(
            "handling",
            "imputed",
            or_(c.unrated_site, and_(c.unrated_treatment, ~discarded), and_(came, ~has_site, ~has_euro)),
        ),
        unrated("carrier_claim", "measured", c.unrated_claim),
        unrated("value_loss", "measured", or_(and_(c.unrated_recovery, ~is_lost), c.unrated_goods)),
        unrated("disposal", "measured", discarded, or_(c.unrated_treatment, and_(~disposal_known, ~has_euro))),
        unrated("fee_charged", "imputed", c.unrated_fee),
    ]


def _word(value: str | Expression) -> Expression:
    if isinstance(value, str):
        return literal(value)
    return value


# -- what was used -----------------------------------------------------------------------------------------------------


def _list_factors(connection: Connection, known: Ledger) -> None:
    """Fill factor_set with the factors, parameters and rules this build used."""
    used = connection.execute("""
        SELECT factor_id, min(for_year) AS first_year, max(for_year) AS last_year FROM leg_factor
        WHERE factor_id IN (SELECT unnest(string_split(factor_id, ' + ')) FROM (SELECT DISTINCT factor_id
            FROM estimate_leg_carbon)) GROUP BY 1
    """).fetchall()
    years = {factor_id: (first, last) for factor_id, first, last in used if factor_id}
    has_factors = bool(years)
    rows: list[tuple[Any, ...]] = []
    for row in known.table(
        range(min((f for f, _ in years.values()), default=0), max((to for _, to in years.values()), default=-1) + 1)
    ):
        span = years.pop(row["factor_id"], None)
        if span is None:
            continue
        note = f"{row['vehicle'].replace('_', ' ')}, {row['activity'].replace('_', ' ')}, {span[0]}-{span[1]}"
        note += ", vintage_substituted" if span[0] < int(row["valid_from_year"]) else ""
        doubt = parameter("factor_uncertainty", "derived" if row["quality"] == "derived" else row["activity"])
        rows.append(
            (
                row["factor_id"],
                "emission",
                f"{note}. {row['notes']}".strip(),
                row["unit"],
                *(number(row, n) for n in ("wtt", "ttw", "wtw")),
                int(row["year"]),
                row["source"],
                row["source_address"],
                row["quality"],
                row["factor_set"],
                row["row_id"],
                row["licence"],
                row["gwp"],
                row["eol_method"],
                doubt,
            )
        )
    has_costs = connection.execute("SELECT count(*) > 0 FROM estimate_return_cost").fetchall()[0][0]
    if has_factors or has_costs:
        rules = {
            "circuity": "distance",
            "same_area_distance": "distance",
            "parcel_mass": "allocation",
            "packaging_mass": "allocation",
            "packaging_uses": "allocation",
            "road_adjustment": "distance",
            "hub_electricity": "emission part",
            "trip_mode": "emission part",
        }
        for (name, applies_to), row in parameters().items():
            if name in (
                "displacement",
                "air_long_from",
                "factor_uncertainty",
                "activity_uncertainty",
            ) or name.startswith("lever_"):
                continue
            kind = rules.get(name) or ("distance" if row["unit"].startswith("km") or name == "trip_share" else "cost")
            what = f"{name} {applies_to}".strip().replace("_", " ")
            rows.append(
                (
                    f"{name}.{applies_to}".strip("."),
                    kind,
                    f"{what}. {row['notes']}".strip(),
                    row["unit"],
                    None,
                    None,
                    float(row["value"]),
                    int(row["year"]),
                    row["source"],
                    row["address"],
                    row["quality"],
                    *[None] * 6,
                )
            )
        rows.append(
            (
                "allocation.mass",
                "allocation",
                "A parcel's total falls to its lots by mass where all are weighed, else by units",
                "share",
                None,
                None,
                None,
                None,
                "ISO 14083",
                "",
                "assumed",
                *[None] * 6,
            )
        )
    connection.execute("DELETE FROM factor_set")
    if rows:
        _append(connection, "factor_set", rows)
