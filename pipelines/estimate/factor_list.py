"""The factors that a build used, with what rests on each."""

from collections.abc import Mapping
from typing import Any

from pipelines.estimate.leg_own import GIVEN
from pipelines.estimate.leg_treatment import TREATMENTS
from pipelines.estimate.sql import Connection, append
from pipelines.factors import Ledger, Row, number, parameter, parameters
from pipelines.own_parameters import SAMPLED

_RULES = {
    "circuity": "distance",
    "same_area_distance": "distance",
    "parcel_mass": "allocation",
    "packaging_mass": "allocation",
    "packaging_uses": "allocation",
    "road_adjustment": "distance",
    "hub_electricity": "emission part",
    "trip_mode": "emission part",
    "refrigeration_uplift": "emission part",
    "refrigerated": "emission part",
}
"""Parameters that are neither a distance nor a cost by their unit, and what kind of rule they are."""
_UNUSED = ("displacement", "air_long_from", "factor_uncertainty", "activity_uncertainty", "measuring")
"""Parameters that no answer of a build rests on."""
OPTIONS = (("rail_freight", "kgCO2e/t.km"), *((kind, "kgCO2e/t") for kind in sorted(set(TREATMENTS.values()))))
"""Factors that levers and dispositions compare with."""
_BY_MASS = (
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
    *[None] * 9,
)


def list_factors(connection: Connection, known: Ledger) -> None:
    """Fill factor_set with the factors, parameters and rules this build used."""
    years = _years_used(connection)
    places = (
        connection.execute("SELECT DISTINCT country FROM leg_factor WHERE country <> ''").fetchall() if years else []
    )
    rows = [*_factor_rows(known, years, [country for (country,) in places]), *_given(connection)]
    has_costs = connection.execute("SELECT count(*) > 0 FROM estimate_return_cost").fetchall()[0][0]
    if years or has_costs:
        rows += [*_options(known, years), *_parameter_rows(), *_own_rows(known), _BY_MASS]
    connection.execute("DELETE FROM factor_set")
    if rows:
        append(connection, "factor_set", rows)


def _years_used(connection: Connection) -> dict[str, tuple[int, int]]:
    """Give the factors that legs used with the first and last year they were used for."""
    used = connection.execute("""
        SELECT factor_id, min(for_year) AS first_year, max(for_year) AS last_year FROM leg_factor
        WHERE factor_id IN (SELECT factor_id FROM estimate_leg_carbon UNION SELECT factor_id FROM estimate_leg_part)
        GROUP BY 1
    """).fetchall()
    return {factor_id: (first, last) for factor_id, first, last in used if factor_id}


def _given(connection: Connection) -> list[tuple[Any, ...]]:
    """Give the row of factor_set for kilograms that somebody calculated, if any: they are their own amount."""
    found = connection.execute(f"""
        SELECT max(year(l.started_on)), string_agg(DISTINCT coalesce(l.calculated_by, '-') || ', '
            || coalesce(l.calculated_with, '-'), '; ' ORDER BY 1)
        FROM estimate_leg_carbon e JOIN fact_return_leg l USING (leg_key) WHERE e.factor_id = '{GIVEN}'
    """).fetchall()[0]
    if found[0] is None:
        return []
    doubt = parameter("activity_uncertainty", "measured")
    what = f"Emissions as given, by whom and by which method: {str(found[1])[:300]}"
    return [
        (
            GIVEN,
            "emission",
            what,
            "kgCO2e/kgCO2e",
            None,
            None,
            1.0,
            int(found[0]),
            "as given",
            "",
            "given",
            "given",
            *[""] * 4,
            doubt,
            GIVEN,
            None,
            None,
        )
    ]


def _factor_rows(known: Ledger, years: Mapping[str, tuple[int, int]], countries: list[str]) -> list[tuple[Any, ...]]:
    """Give a row of factor_set a factor, as the ledger first has it in the years used."""
    left = dict(years)
    rows: list[tuple[Any, ...]] = []
    for row in known.table(
        range(min((f for f, _ in left.values()), default=0), max((to for _, to in left.values()), default=-1) + 1),
        countries,
    ):
        span = left.pop(row["factor_id"], None)
        if span is not None:
            note = f"{span[0]}-{span[1]}"
            note += ", vintage_substituted" if span[0] < int(row["valid_from_year"]) else ""
            rows.append(_factor_row(row, "emission", note))
    return rows


def _options(known: Ledger, years: Mapping[str, tuple[int, int]]) -> list[tuple[Any, ...]]:
    """Give a row of factor_set a factor that levers and dispositions compare with, of the last year used."""
    last = max((to for _, to in years.values()), default=9999)
    rows = (known.fit(vehicle, unit, last) for vehicle, unit in OPTIONS)
    return [_factor_row(row, "option", f"{last}") for row in rows if row and row["factor_id"] not in years]


def _factor_row(row: Row, kind: str, note: str) -> tuple[Any, ...]:
    doubt = parameter("factor_uncertainty", "derived" if row["quality"] == "derived" else row["activity"])
    what = f"{row['vehicle'].replace('_', ' ')}, {row['activity'].replace('_', ' ')}, {note}"
    return (
        row["factor_id"],
        kind,
        f"{what}. {row['notes']}".strip(),
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
        row["vehicle"],
        None,
        None,
    )


def _parameter_rows() -> list[tuple[Any, ...]]:
    """Give a row of factor_set a parameter that answers rest on."""
    rows: list[tuple[Any, ...]] = []
    for (name, applies_to), row in parameters().items():
        if name in _UNUSED or name.startswith("lever_"):
            continue
        kind = _RULES.get(name) or ("distance" if row["unit"].startswith("km") or name == "trip_share" else "cost")
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
                *[None] * 7,
                *_bounds(row),
            )
        )
    return rows


def _own_rows(known: Ledger) -> list[tuple[Any, ...]]:
    """Give a row of factor_set a parameter of the warehouse's own: the id of the one that ships, and its country."""
    rows: list[tuple[Any, ...]] = []
    for row in known.own:
        name = f"{row['parameter']}.{row['applies_to']}".strip(".")
        what = f"{name.replace('_', ' ')} from {row['valid_from_year']} on. {row['notes']}".strip()
        quality = "sampled" if row["notes"] == SAMPLED else "own"
        told = (row["source"], row["address"], quality, *[None] * 7, *_bounds(row))
        rows.append(
            (
                f"own.{name}{'@' if row['country'] else ''}{row['country']}",
                _RULES.get(row["parameter"], "distance"),
                what,
                "",
                None,
                None,
                float(row["value"]),
                int(row["valid_from_year"]),
                *told,
            )
        )
    return rows


def _bounds(row: Row) -> tuple[float | None, float | None]:
    return number(row, "low"), number(row, "high")
