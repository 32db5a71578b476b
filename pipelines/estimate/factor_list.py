"""The factors that a build used, with what rests on each."""

from typing import Any

from pipelines.estimate.sql import Connection, append
from pipelines.factors import Ledger, number, parameter, parameters


def list_factors(connection: Connection, known: Ledger) -> None:
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
        append(connection, "factor_set", rows)
