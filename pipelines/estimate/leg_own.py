"""What somebody measured or calculated of a leg, a movement, a site or a time themselves: it is used as it is given.

What distance, mass and factor would give stays beside it (kg_co2e_modelled).
"""

from pipelines.estimate.sql import Connection

METHODS = ("given", "energy")
"""How emissions follow that somebody calculated, or whose energy or activity was measured."""
GIVEN = "given"
"""The factor's id of kilograms that somebody calculated: they are their own amount."""
PARTS = ("given", "activity", "refrigerant")
_FIGURES = ("wtt", "ttw", "wtw", "biogenic", "market")


def use(connection: Connection) -> None:
    """Put what is given in place of what distance, mass and factor give, in estimate_leg_carbon and estimate_leg_part.

    kg_co2e first; else what was used or done, times its factor, and the refrigerant that leaked, times its warming
    potential. What is stated of a movement, a site or a carrier is shared by its legs; a leg's own word comes first.
    """
    legs, uses = (
        connection.execute(sql).fetchall()[0][0]
        for sql in (
            "SELECT count(*) FROM fact_return_leg WHERE given_kg_co2e IS NOT NULL OR activity_amount IS NOT NULL OR"
            " refrigerant_kg IS NOT NULL",
            "SELECT count(*) FROM fact_activity_use",
        )
    )
    if not legs and not uses:
        return
    _said(connection)
    _parts(connection)
    sums = ", ".join(
        f"CASE WHEN count({kg}) = count(*) THEN sum({kg}) END AS {kg}"
        for kg in ("kg_co2e", "kg_co2e_wtt", "kg_co2e_ttw")
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE own_leg AS
        SELECT leg_key, {sums}, sum(kg_co2e_biogenic) AS kg_co2e_biogenic,
            CASE WHEN count(kg_co2e_market) > 0 THEN sum(coalesce(kg_co2e_market, kg_co2e)) END AS kg_co2e_market,
            string_agg(DISTINCT factor_id, ' + ' ORDER BY factor_id) AS factor_id,
            CASE WHEN count(*) = 1 THEN any_value(amount) END AS amount,
            CASE WHEN bool_and(part = 'given') THEN 'given' ELSE 'energy' END AS method,
            coalesce(sum(primary_kg) / nullif(sum(kg_co2e), 0), 1) AS primary_share
        FROM own_part GROUP BY leg_key;
        UPDATE estimate_leg_carbon SET
            kg_co2e_modelled = CASE WHEN estimate_leg_carbon.method IN {METHODS}
                THEN estimate_leg_carbon.kg_co2e_modelled ELSE estimate_leg_carbon.kg_co2e END,
            kg_co2e = o.kg_co2e, kg_co2e_wtt = o.kg_co2e_wtt, kg_co2e_ttw = o.kg_co2e_ttw,
            kg_co2e_biogenic = o.kg_co2e_biogenic, kg_co2e_market = o.kg_co2e_market,
            factor_id = CASE WHEN o.kg_co2e IS NOT NULL THEN o.factor_id END, amount = o.amount, method = o.method,
            primary_share = o.primary_share, status = 'measured', distance_status = NULL, mass_status = NULL
        FROM own_leg o WHERE o.leg_key = estimate_leg_carbon.leg_key;
        DELETE FROM estimate_leg_part WHERE part IN {PARTS} OR leg_key IN (SELECT leg_key FROM own_leg);
        INSERT INTO estimate_leg_part BY NAME
        SELECT * EXCLUDE (primary_kg) FROM own_part WHERE leg_key IN (SELECT leg_key FROM own_part
            GROUP BY 1 HAVING count(*) > 1 AND count(kg_co2e) = count(*));
        DROP TABLE own_part; DROP TABLE own_leg; DROP TABLE own_said
    """)


def _said(connection: Connection) -> None:
    """Create `own_said`: what is given of each leg, by itself or as its share of what is stated of more than it."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE own_said AS
        WITH leg AS (
            SELECT l.*, e.tonne_km, coalesce(e.mass_kg, l.mass_kg) AS carried_kg,
                l.role NOT IN ('customer_trip', 'packaging') AND l.element_type = 'transport' AS is_moved,
                l.given_kg_co2e IS NOT NULL OR l.activity_amount IS NOT NULL OR l.refrigerant_kg IS NOT NULL AS has_own
            FROM fact_return_leg l JOIN estimate_leg_carbon e USING (leg_key)),
        shared AS (
            SELECT u.use_key, l.leg_key,
                CASE u.shared_by WHEN 'mass' THEN l.carried_kg
                    WHEN 'tonne_km' THEN coalesce(l.tonne_km, l.carried_kg * l.distance_km / 1000) ELSE 1 END AS weight
            FROM fact_activity_use u JOIN leg l ON l.source = u.source AND NOT l.has_own AND CASE
                WHEN u.movement_id IS NOT NULL THEN l.movement_id = u.movement_id
                WHEN u.place_key IS NOT NULL THEN l.to_place_key = u.place_key AND NOT l.is_moved
                    AND l.role <> 'customer_trip' AND l.role <> 'packaging'
                ELSE l.carrier = u.carrier AND l.is_moved END
                AND (u.movement_id IS NOT NULL OR l.started_at >= u.began_at
                    AND (u.ended_at IS NULL OR l.started_at < u.ended_at))),
        part AS (
            SELECT use_key, leg_key, weight / coalesce(u.shared_total,
                CASE WHEN count(weight) OVER w = count(*) OVER w THEN sum(weight) OVER w END) * coalesce(u.share, 1)
                    AS share
            FROM shared JOIN fact_activity_use u USING (use_key) WINDOW w AS (PARTITION BY use_key))
        SELECT leg_key, given_kg_co2e AS kg_co2e, given_kg_co2e_ttw AS kg_co2e_ttw, fuel,
            vehicle, activity_amount, activity_unit, refrigerant,
            refrigerant_kg, primary_share, coalesce(activity_share, 1) AS share, year(started_on) AS for_year,
            coalesce(country, '') AS country, to_place_key, element_type FROM leg WHERE has_own
        UNION ALL BY NAME
        SELECT p.leg_key, u.kg_co2e, u.kg_co2e_ttw, u.fuel, NULL AS vehicle, u.activity_amount, u.activity_unit,
            u.refrigerant, u.refrigerant_kg, u.primary_share, p.share, year(l.started_on) AS for_year,
            coalesce(l.country, '') AS country, l.to_place_key, l.element_type
        FROM part p JOIN fact_activity_use u USING (use_key) JOIN fact_return_leg l USING (leg_key)
    """)
    connection.execute("""
        UPDATE own_said SET country = p.country FROM dim_place p
        WHERE p.place_key = own_said.to_place_key AND own_said.element_type <> 'transport' AND p.country IS NOT NULL
    """)


def _parts(connection: Connection) -> None:
    """Create `own_part`: each leg's kilograms as given, else what it used or did and its refrigerant, by factor.

    The factor of an activity is its vehicle's in that unit, else its energy carrier's.
    """
    figures = ", ".join(f"coalesce(v.{n}, f.{n}) AS {n}" for n in _FIGURES)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE own_part AS
        WITH used AS (
            SELECT s.leg_key, 'activity' AS part, coalesce(v.factor_id, f.factor_id) AS factor_id,
                s.activity_amount * s.share AS amount, {figures}
            FROM own_said s
            LEFT JOIN leg_factor v ON v.vehicle = s.vehicle AND v.for_year = s.for_year AND v.country = s.country
                AND v.unit IN ('kgCO2e/' || s.activity_unit, 'kgCO2e/vehicle.' || s.activity_unit)
            LEFT JOIN leg_factor f ON f.vehicle = CASE WHEN lower(s.fuel) IN ('electricity', 'electric', 'battery')
                THEN 'grid' ELSE 'fuel_' || lower(replace(s.fuel, ' ', '_')) END
                AND f.for_year = s.for_year AND f.country = s.country AND f.unit = 'kgCO2e/' || s.activity_unit
            WHERE s.kg_co2e IS NULL AND s.activity_amount IS NOT NULL
            UNION ALL BY NAME
            SELECT s.leg_key, 'refrigerant' AS part, f.factor_id, s.refrigerant_kg * s.share AS amount,
                {", ".join(f"f.{n}" for n in _FIGURES)}
            FROM own_said s
            LEFT JOIN leg_factor f
                ON f.vehicle = 'refrigerant_' || lower(regexp_replace(s.refrigerant, '[- ]', '', 'g'))
                AND f.for_year = s.for_year AND f.country = s.country AND f.unit = 'kgCO2e/kg'
            WHERE s.kg_co2e IS NULL AND s.refrigerant_kg IS NOT NULL)
        SELECT leg_key, part, factor_id, sum(amount) AS amount,
            sum(amount * wtt) AS kg_co2e_wtt, sum(amount * ttw) AS kg_co2e_ttw, sum(amount * wtw) AS kg_co2e,
            sum(amount * wtw) AS primary_kg,
            sum(amount * biogenic) AS kg_co2e_biogenic, sum(amount * market) AS kg_co2e_market
        FROM used GROUP BY ALL
        UNION ALL BY NAME
        SELECT leg_key, 'given' AS part, '{GIVEN}' AS factor_id, sum(kg_co2e * share) AS amount,
            sum((kg_co2e - kg_co2e_ttw) * share) AS kg_co2e_wtt, sum(kg_co2e_ttw * share) AS kg_co2e_ttw,
            sum(kg_co2e * share) AS kg_co2e, sum(kg_co2e * share * coalesce(primary_share, 1)) AS primary_kg
        FROM own_said WHERE kg_co2e IS NOT NULL GROUP BY leg_key;
        DELETE FROM own_part WHERE part <> 'given'
            AND leg_key IN (SELECT leg_key FROM own_part WHERE part = 'given')
    """)
