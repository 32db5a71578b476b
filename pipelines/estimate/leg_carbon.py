"""Carbon of each return leg by distance, mass and factor.

Not here: the treatment of goods (leg_treatment.py), what somebody measured or calculated themselves (leg_own.py).
"""

from typing import Any

from sqlalchemy import Double, Select, and_, case, column, extract, func, literal, or_, select, table, true
from sqlalchemy.sql.expression import FromClause, Subquery, TableClause

from models import carbon
from pipelines.estimate import leg_cooling, leg_own, leg_treatment
from pipelines.estimate.sql import (
    ASSUMED,
    IMPUTED,
    MEASURED,
    Columns,
    Connection,
    goods_of,
    shared,
    status_of,
    t,
    wanted,
)
from pipelines.factors import COOLED, Ledger, parameter, parameters
from pipelines.warehouse.engine import Expression, double, sql_text
from pipelines.warehouse.shards import Shards
from pipelines.warehouse.sql import rows_sql

OF_PARCEL = ("fact_return_leg", "fact_return_line")
"""Facts that the estimates of a leg look at: of its own parcel alone."""
FIGURES = ("wtt", "ttw", "wtw", "biogenic")
"""What a factor says of a unit (kg): energy provision, operation, both, and CO2 from biomass beside them."""


def factor_table(connection: Connection, known: Ledger) -> TableClause:
    """Store the factor of each vehicle, unit, year and country that legs were travelled in."""
    years = [y for (y,) in connection.execute("SELECT DISTINCT year(started_on) FROM fact_return_leg").fetchall() if y]
    places = connection.execute("""
        SELECT country FROM fact_return_leg WHERE country IS NOT NULL
        UNION SELECT country FROM dim_place WHERE country IS NOT NULL
    """).fetchall()
    countries = sorted(country for (country,) in places)
    texts = ("factor_id", "vehicle", "unit", "fuel", "country")
    types = (
        dict.fromkeys(texts, "VARCHAR") | dict.fromkeys(FIGURES, "DOUBLE") | {"market": "DOUBLE", "for_year": "BIGINT"}
    )
    rows = known.table(years, countries)
    given = rows_sql(types, ([row.get(n) or (None if n != "country" else "") for n in types] for row in rows))
    elsewhere = rows_sql({"place": "VARCHAR"}, ([country] for country in countries))
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE leg_factor AS
        WITH own AS ({given}),
        whole AS (
            FROM own UNION ALL BY NAME
            SELECT o.* REPLACE (place AS country) FROM own o, ({elsewhere}) WHERE o.country = '' AND
                (o.vehicle, o.unit, o.for_year, place) NOT IN (SELECT (vehicle, unit, for_year, country) FROM own))
        SELECT f.*, k.wtw AS tonne_km_wtw FROM whole f
        LEFT JOIN whole k ON k.vehicle = f.vehicle AND k.for_year = f.for_year AND k.country = f.country
            AND k.unit = 'kgCO2e/t.km' AND f.unit = 'kgCO2e/vehicle.km'
    """)
    doubles = (column(n, Double) for n in (*FIGURES, "market", "tonne_km_wtw"))
    return table("leg_factor", *(column(n) for n in (*texts, "for_year")), *doubles)


def leg_carbon(connection: Connection, known: Ledger, leg: Any = None, shards: Shards | None = None) -> None:
    """Fill estimate_leg_carbon and estimate_leg_part for legs, with the factors of a ledger.

    Legs are stored rows of fact_return_leg, or all of them. Movements, and what is stated of more than a leg, are
    shared once all legs are there.
    """
    leg = wanted(connection, "fact_return_leg", "TRUE") if leg is None else leg
    factor = factor_table(connection, known)
    for _ in (shards or Shards()).each(connection, OF_PARCEL, ("estimate_leg_carbon",)):
        connection.execute(f"INSERT INTO estimate_leg_carbon BY NAME {transport_sql(leg, factor, known)}")
        leg_treatment.treat(connection, known, leg, factor)
    _rounds_by_tonne_km(connection)
    _share_movements(connection)
    leg_own.use(connection)


def transport_sql(leg: Any, factor: Any, known: Ledger) -> str:
    """Give the SELECT of the emissions of all legs but treatment, with the factors that a ledger's legs use."""
    of_parcel = select(leg.c.parcel_key) if isinstance(leg, TableClause) else None
    return sql_text(_transport_carbon(leg, goods_of(of_parcel), factor, known))


def _rounds_by_tonne_km(connection: Connection) -> None:
    """Give a round whose vehicle has no factor a kilometre its tonne-kilometres, by the direct distance."""
    rounds = "method = 'per_parcel' AND kg_co2e IS NULL AND tonne_km IS NOT NULL"
    if not connection.execute(f"SELECT 1 FROM estimate_leg_carbon WHERE {rounds} LIMIT 1").fetchall():
        return
    figures = ", ".join(f"kg_co2e{of} = e.tonne_km * f.{name}" for of, name in _KG.items())
    connection.execute(f"""
        UPDATE estimate_leg_carbon e SET factor_id = f.factor_id, amount = e.tonne_km, distance_km = d.distance_km,
            mass_kg = e.tonne_km / d.distance_km * 1000, distance_status = 'imputed', method = 'per_tonne_km',
            status = CASE e.status WHEN 'measured' THEN 'imputed' ELSE e.status END, {figures}
        FROM fact_return_leg l JOIN estimate_leg_carbon o USING (leg_key)
        JOIN leg_factor f ON f.vehicle = {_vehicle_of("l", "o")} AND f.unit = 'kgCO2e/t.km'
            AND f.for_year = year(l.started_on) AND f.country = coalesce(l.country, '')
        LEFT JOIN dim_lane d USING (lane_key)
        WHERE l.leg_key = e.leg_key AND e.method = 'per_parcel' AND e.kg_co2e IS NULL AND e.tonne_km IS NOT NULL
            AND (f.fuel IS NULL OR l.fuel IS NULL OR f.fuel = l.fuel)
    """)


def _vehicle_of(leg: str, estimate: str) -> str:
    """Write the vehicle that a leg names, with its cooling, as SQL."""
    is_plain = f"NOT coalesce({estimate}.is_refrigerated, FALSE) OR contains({leg}.vehicle, '{COOLED}')"
    return f"CASE WHEN {is_plain} THEN {leg}.vehicle ELSE {leg}.vehicle || '{COOLED}' END"


_KG = {"_wtt": "wtt", "_ttw": "ttw", "": "wtw", "_biogenic": "biogenic", "_market": "market"}
"""Columns of kilograms by what of a factor they are multiplied with."""


def _share_movements(connection: Connection) -> None:
    """Share consolidated movements that are wholly known.

    Kilometres driven times the vehicle's factor, by mass x direct distance. A movement is wholly known when every
    parcel that travelled in it is in the data, the kilometres it drove are reported, and the vehicle has a factor a
    kilometre; of all others a parcel's tonne-kilometres times the average factor are the share.
    """
    shared_legs = connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE shared_movement AS
        SELECT l.leg_key, f.factor_id, e.mass_kg, l.distance_km AS driven_km, d.distance_km AS direct_km,
            e.mass_kg * d.distance_km AS weight, sum(e.mass_kg * d.distance_km) OVER (PARTITION BY l.source,
                l.movement_id) AS total_weight, f.wtt, f.ttw, f.wtw, f.biogenic, f.market, 1.0 AS one
        FROM (SELECT *, count(*) OVER (PARTITION BY source, movement_id, role) AS here FROM fact_return_leg
            WHERE role IN ('trunk', 'onward') AND movement_id IS NOT NULL AND vehicle IS NOT NULL
                AND distance_km IS NOT NULL AND movement_parcels > 1) l
        JOIN estimate_leg_carbon e USING (leg_key) JOIN dim_lane d USING (lane_key)
        JOIN leg_factor f ON f.vehicle = {_vehicle_of("l", "e")} AND f.unit = 'kgCO2e/vehicle.km' AND f.for_year
            = year(l.started_on) AND f.country = coalesce(l.country, '')
        WHERE here = movement_parcels AND e.mass_kg IS NOT NULL
    """).fetchall()[0][0]
    if shared_legs:
        _use_shares(connection)
    connection.execute("DROP TABLE shared_movement")


def _use_shares(connection: Connection) -> None:
    """Put the shares of `shared_movement` in the place of tonne-kilometres times the average factor."""
    connection.execute(f"""
        UPDATE estimate_leg_carbon SET
            factor_id = m.factor_id, method = 'shared', kg_co2e_tonne_km = if(method = 'shared', kg_co2e_tonne_km,
                kg_co2e), distance_km = m.driven_km, amount = {shared("one")},
            kg_co2e_biogenic = {shared("biogenic")},
            kg_co2e_market = {shared("market")},
            kg_co2e_wtt = {shared("wtt")},
            kg_co2e_ttw = {shared("ttw")},
            kg_co2e = {shared("wtw")}
        FROM shared_movement m WHERE m.leg_key = estimate_leg_carbon.leg_key
            AND estimate_leg_carbon.method NOT IN {leg_own.METHODS}
    """)


def _vehicle(leg: Any, to_kind: Expression, km: Expression, known: Ledger) -> Expression:
    """Name the factor's vehicle for a leg; NULL where none can be told.

    A vehicle that is named is taken at its word. A fuel that is named is, too: what has no factor of its own gets none.
    """
    words = func.lower(func.coalesce(leg.c.service, ""))
    cars = [name for name in known.vehicles("kgCO2e/vehicle.km") if name.startswith("car_")]

    def of_fuel(mode: str, usual: tuple[str, ...] = ()) -> Expression:
        named = case(*((func.lower(leg.c.fuel) == word, name) for word, name in _NAMED.items()), else_=leg.c.fuel)
        is_usual = or_(leg.c.fuel.is_(None), *(leg.c.fuel == fuel for fuel in usual))
        return case((is_usual, f"{mode}_average"), else_=func.concat(f"{mode}_", named))

    return case(
        (leg.c.vehicle.is_not(None), leg.c.vehicle),
        (leg.c.role == "packaging", _packaging(words)),
        (
            leg.c.element_type == "hub",
            case(
                (to_kind.in_(("returns_centre", "warehouse")), "hub_returns_centre"),
                *((to_kind == place, hub) for place, hub in _HUBS.items() if hub in known.vehicles("kgCO2e/parcel")),
                (or_(to_kind.is_not(None), leg.c.carrier.is_not(None)), "hub_sorting"),
            ),
        ),
        (leg.c.mode == "van", of_fuel("van")),
        (
            leg.c.mode == "car",
            case(
                (leg.c.fuel.is_(None), "car_average"), (of_fuel("car").in_(cars), of_fuel("car")), else_="car_average"
            ),
        ),
        (leg.c.mode == "air", case((km > parameter("air_long_from"), "air_long"), else_="air_short")),
        (leg.c.mode == "truck", of_fuel("truck", ("diesel",))),
        (leg.c.mode == "sea", case((words.regexp_match("ferry|ro-?ro|ropax"), "sea_roro"), else_="sea_container")),
        *(
            (leg.c.mode == mode, vehicle)
            for mode, vehicle in (
                ("bus", "bus_local"),
                ("rail", "rail_freight"),
                ("foot", "foot"),
            )
        ),
        (leg.c.mode == "bike", case((and_(~_is_trip(leg.c), leg.c.fuel.is_not(None)), "cargo_bike"), else_="bike")),
        (leg.c.role == "customer_trip", "trip_mix"),
    )


def _packaging(words: Expression) -> Expression:
    """Name the factor of packaging by the words of its service."""
    return case(
        (words.regexp_match("tote|crate|reusable"), "packaging_crate"),
        (words.regexp_match("original|used again|reused"), "packaging_none"),
        (words.regexp_match("paper"), "packaging_paper"),
        (words.regexp_match("bag|film|plastic|poly"), "packaging_film"),
        (words.regexp_match("mailer|padded"), "packaging_mailer"),
        (words.regexp_match("box|board|carton|corrugated"), "packaging_board"),
    )


_HUBS = {"locker": "hub_locker", "drop_off": "hub_pickup_point"}
"""Places with a factor of their own, where some set has one."""
_NAMED = {
    "electricity": "electric",
    "battery": "electric",
    "gasoline": "petrol",
    "natural gas": "cng",
    "gas": "cng",
}
"""What the names of vehicles call an energy carrier."""


def _given(known: Ledger, c: Columns, name: str, applies_to: str = "") -> Any:
    """Give a parameter in the country and year of a row: the warehouse's own where it states one."""
    own = known.stated(name, applies_to)
    if not own:
        return parameter(name, applies_to)
    year = c.year if "year" in c else extract("year", c.started_on)
    here = [
        (and_(c.country == row["country"] if row["country"] else true(), year >= int(row["valid_from_year"])), row)
        for row in own
    ]
    return case(*((test, float(row["value"])) for test, row in here), else_=parameter(name, applies_to))


def _usual_km(leg: Any, known: Ledger) -> Expression:
    """Give the kilometres usual for a leg's role."""
    return case(
        (_is_trip(leg.c), _given(known, leg.c, "trip_distance")),
        (leg.c.role == "first_mile", _given(known, leg.c, "first_mile_distance")),
        (leg.c.role == "onward", _given(known, leg.c, "onward_distance")),
        else_=_given(known, leg.c, "trunk_distance"),
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


def _leg_distance(leg: Any, lane: Any, known: Ledger) -> dict[str, Expression]:
    """Give a leg's kilometres by name, with their status, their type and their adjustment.

    As reported, adjusted to the way that was driven, else of its lane, else the usual ones of its role.
    """
    far_trip = and_(_is_trip(leg.c), lane.c.distance_km > _given(known, leg.c, "trip_lane_limit"))
    is_road = leg.c.mode.in_(("van", "truck", "car", "bus"))
    straight = case(
        (leg.c.mode == "air", 1.0), else_=_given(known, leg.c, "circuity")
    )  # a flight's factor holds its detours
    given_type = func.coalesce(leg.c.distance_type, "actual")
    given_adjustment = case(
        (and_(given_type == "shortest_feasible", is_road), _given(known, leg.c, "road_adjustment")),
        (given_type == "great_circle", straight),
        else_=1.0,
    )
    is_given = leg.c.distance_km.is_not(None)
    from_lane = and_(~func.coalesce(far_trip, False), lane.c.distance_km.is_not(None))
    is_near = _is_near(lane)
    return {
        "km": double(
            func.coalesce(leg.c.distance_km * given_adjustment, _lane_km(leg, lane, far_trip), _usual_km(leg, known))
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


SITE_UNITS = ("kgCO2e/parcel", "kgCO2e/t", "kgCO2e/kg", "kgCO2e/item")
"""Units of what sites and packaging emit."""


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


def _read_legs(leg: Any, goods: Any, known: Ledger) -> Subquery:
    """Read every leg but treatment with its lane, the place it leads to and its goods: distance, vehicle, masses."""
    lane, place = t["dim_lane"], t["dim_place"]
    distance, cooled = _leg_distance(leg, lane, known), leg_cooling.is_cooled(leg, known)
    vehicle = _vehicle(leg, place.c.kind, distance["km"], known)
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
            leg_cooling.cooled_vehicle(vehicle, cooled).label("vehicle"),
            cooled.label("is_refrigerated"),
            goods.c.goods_kg,
            func.coalesce(case((leg.c.element_type == "hub", place.c.country), else_=leg.c.country), "").label(
                "country"
            ),
            case((~_is_near(lane), lane.c.distance_km)).label("direct_km"),
        )
        .select_from(leg)
        .outerjoin(lane, lane.c.lane_key == leg.c.lane_key)
        .outerjoin(place, place.c.place_key == leg.c.to_place_key)
        .outerjoin(goods, goods.c.parcel_key == leg.c.parcel_key)
        .where(leg.c.role != "treatment")
        .subquery("read")
    )


def _leg_unit(r: Columns, known: Ledger) -> Expression:
    """Name the unit of the factor that a leg takes: that of the first set which has one for its vehicle."""
    by_the_km = known.vehicles("kgCO2e/vehicle.km")
    by_passenger = [v for v in known.vehicles("kgCO2e/passenger.km") if v not in by_the_km]

    def of_site(usual: str, activity: str) -> Expression:
        units = {v: known.unit_of(v, SITE_UNITS) for v in known.named(activity)}
        others = [(r.vehicle == v, unit) for v, unit in units.items() if unit not in (None, usual)]
        return case(*others, else_=usual) if others else literal(usual)

    return case(
        (_is_pack(r), of_site("kgCO2e/t", "packaging")),
        (_is_hub(r), of_site("kgCO2e/parcel", "hub")),
        (r.vehicle.in_(by_passenger), "kgCO2e/passenger.km"),
        (or_(r.is_trip, r.is_shared), "kgCO2e/vehicle.km"),
        else_="kgCO2e/t.km",
    )


def _leg_method(unit: Expression, r: Columns) -> Expression:
    """Name how a leg's emissions follow from its activity: by its mass, its parcel, its kilometres or both."""
    return case(
        (r.is_shared, "per_parcel"),
        (unit == "kgCO2e/t.km", "per_tonne_km"),
        (unit.in_(("kgCO2e/t", "kgCO2e/kg")), "per_tonne"),
        (unit.in_(("kgCO2e/vehicle.km", "kgCO2e/passenger.km")), "per_vehicle_km"),
        else_="per_parcel",
    )


def _leg_mass(r: Columns, known: Ledger) -> Expression:
    """Give the mass that a leg carries: as reported, else its goods with packaging, else a usual parcel's.

    Of packaging its own: as reported, else the usual one of its kind.
    """
    packed_kg = r.goods_kg + _given(known, r, "packaging_mass")
    packs = [kind for name, kind in parameters() if name == "packaging_mass" and kind]
    pack_kg = case(*((r.vehicle == name, _given(known, r, "packaging_mass", name)) for name in packs))
    return case(
        (_is_pack(r), func.coalesce(r.mass_kg, pack_kg)),
        else_=func.coalesce(r.mass_kg, packed_kg, _given(known, r, "parcel_mass")),
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
    r, direct_km = read.c, func.coalesce(read.c.direct_km, _given(known, read.c, "first_mile_distance"))
    unit, mass = _leg_unit(r, known), double(_leg_mass(r, known))
    method = _leg_method(unit, r)
    return select(
        r.leg_key,
        r.role,
        r.element_type,
        r.fuel,
        r.year,
        r.country,
        r.parcels,
        r.is_shared,
        r.vehicle,
        r.is_refrigerated,
        r.distance_type,
        r.adjustment,
        r.distance_rank,
        _leg_mass_rank(r).label("mass_rank"),
        func.coalesce(r.trip_share, _given(known, r, "trip_share")).label("trip_share"),
        unit.label("unit"),
        method.label("method"),
        case((or_(method.in_(("per_tonne_km", "per_vehicle_km")), r.is_shared), r.km)).label("distance_km"),
        case((method.in_(("per_tonne_km", "per_tonne")), mass)).label("mass_kg"),
        case((r.is_shared, carbon.tonne_km(double(direct_km), mass))).label("direct_tonne_km"),
        case(
            (r.is_trip & (r.trip_share.is_(None) | r.mode.is_(None)), ASSUMED), (_is_hub(r), IMPUTED), else_=MEASURED
        ).label("other_rank"),
    ).subquery("used")


def _leg_amount(u: Columns, known: Ledger) -> Expression:
    """Give what a leg's factor is multiplied by.

    Emissions are proportional to the factor: the amount is what a factor of 1 gives. A collection round that says how
    many parcels shared it is divided by them; a customer's trip counts its share; hubs count per parcel; packaging by
    its mass, a crate's over its uses; everything else by tonne-kilometres.
    """
    uses = case((u.vehicle == "packaging_crate", _given(known, u, "packaging_uses")), else_=1.0)
    return case(
        (u.is_shared, carbon.shared_trip_carbon(u.distance_km, u.parcels, 1.0)),
        (u.method == "per_parcel", 1.0),
        (u.method == "per_vehicle_km", carbon.trip_carbon(u.distance_km, u.trip_share, 1.0)),
        (u.unit == "kgCO2e/kg", u.mass_kg / uses),
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


def _leg_factor(used: Subquery, factor: Any, known: Ledger) -> Subquery:
    """Put to each leg's amount the factor of its vehicle, unit, year and country; none where the fuels differ."""
    u = used.c
    fits = or_(factor.c.fuel.is_(None), u.fuel.is_(None), factor.c.fuel == u.fuel)
    return (
        select(
            u.leg_key,
            u.role,
            u.element_type,
            u.is_refrigerated,
            u.distance_km,
            u.distance_type,
            u.adjustment,
            u.distance_rank,
            u.mass_kg,
            u.mass_rank,
            u.direct_tonne_km,
            u.method,
            _leg_rank(u).label("worst"),
            _leg_amount(u, known).label("amount"),
            *(case((fits, factor.c[n])).label(n) for n in ("factor_id", *FIGURES, "market", "tonne_km_wtw")),
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
    m = _leg_factor(_leg_activity(_read_legs(leg, goods, known), known), factor, known).c
    activity = case(
        (m.role.in_(("customer_trip", "packaging")), m.role), (m.element_type == "hub", "hub"), else_="transport"
    )
    has_km = m.distance_km.is_not(None)
    return select(
        m.leg_key,
        activity.label("activity"),
        m.factor_id,
        case((m.factor_id.is_not(None), m.amount)).label("amount"),
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
        (m.amount * m.biogenic).label("kg_co2e_biogenic"),
        (m.amount * m.market).label("kg_co2e_market"),
        (m.direct_tonne_km * m.tonne_km_wtw).label("kg_co2e_tonne_km"),
        status_of(m.worst).label("status"),
        m.is_refrigerated,
        case((m.role == "customer_trip", "9"), (m.role == "packaging", "1"), else_="4").label("scope3_category"),
        m.method,
    )
