"""Emissions by GHG Protocol scope: what the company's own vehicles and sites emit is its own, the rest is scope 3.

Which carriers and places are its own is said once (`backhaul company --own-carrier`, `--own-site`). Of what they do,
fuel burnt and refrigerant leaked are scope 1, electricity is scope 2 (by location, and by contract beside it), and the
provision of both is scope 3, category 3. A factor that is one figure counts whole where it is used.
Source: GHG Protocol, Corporate Standard, chapter 4; Scope 2 Guidance, chapter 6; Scope 3 Standard, category 3.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sqlalchemy import select

from pipelines.errors import ReportError
from pipelines.factors import Ledger
from pipelines.outputs.disclosure import Company
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

PARTS = ("kg_scope1", "kg_scope2", "kg_scope2_market", "kg_scope3")
"""Columns of an element: kg CO2e by scope; the market-based figure stands beside the location-based one."""
_AT_SITES = ("hub", "treatment", "repair")


def electricity(known: Ledger, years: range, countries: list[str]) -> dict[str, float]:
    """Give the share of electricity in a factor's kilograms, by its id; what is not there has none."""
    shares = {}
    for row in known.table(years, countries):
        is_electric = row["fuel"] == "electricity" or row["vehicle"] == "grid"
        part = float(row.get("electric") or 0) / float(row["wtw"]) if float(row["wtw"] or 0) else 0.0
        if share := 1.0 if is_electric else part:
            shares[row["factor_id"]] = share
    return shares


def split(elements: pd.DataFrame, company: Company | None, electric: Mapping[str, float]) -> pd.DataFrame:
    """Give elements with a column a scope (kg), and category 3 for what is left in scope 3 of the company's own."""
    is_own = _own(elements, company)
    kg = elements["kg_co2e"].astype(float)
    used = elements["kg_co2e_ttw"].astype(float).where(elements["kg_co2e_wtt"].notna(), kg)
    share = elements["factor_id"].map(electric).fillna(0.0).astype(float)
    used = used.mask(share.eq(1.0) & used.eq(0.0), kg)  # nothing is emitted where electricity is used: it is bought
    market = elements["kg_co2e_market"].astype(float) if "kg_co2e_market" in elements else pd.Series(np.nan, kg.index)
    scope2 = (used * share).where(is_own, 0.0)
    by_contract = (scope2 + market - kg).where(is_own & share.gt(0) & market.notna(), scope2)
    return elements.assign(
        kg_scope1=(used * (1 - share)).where(is_own, 0.0),
        kg_scope2=scope2,
        kg_scope2_market=by_contract,
        kg_scope3=(kg - used).where(is_own, kg),
        scope3_category=elements["scope3_category"].mask(is_own, "3"),
    )


def _own(elements: pd.DataFrame, company: Company | None) -> pd.Series:
    """Say which elements the company's own vehicles or sites did."""
    if company is None:
        return pd.Series(False, index=elements.index)
    by_van = elements["carrier"].isin(company.own_carriers) & elements["activity"].eq("transport")
    place = elements["place_id"] if "place_id" in elements else pd.Series(None, index=elements.index, dtype=object)
    is_site = place.isin(company.own_sites) | place.map(_id, na_action="ignore").isin(company.own_sites)
    return by_van | (is_site & elements["activity"].isin(_AT_SITES))


def _id(place_id: str) -> str:
    """Give a place's id as its source has it."""
    return place_id.rpartition(":")[2]


def refuse_unknown(build: Build, carriers: tuple[str, ...], sites: tuple[str, ...]) -> None:
    """Raise ReportError for a carrier that carried nothing, or a place that is not there."""
    legs, places = STAR.tables["fact_return_leg"], STAR.tables["dim_place"]
    known = {
        "carrier": set(build.fetch(select(legs.c.carrier).distinct())["carrier"].dropna()),
        "place": set(build.fetch(select(places.c.place_id))["place_id"].dropna()),
    }
    known["place"] |= set(map(_id, known["place"]))
    for kind, names in (("carrier", carriers), ("place", sites)):
        if unknown := [n for n in names if n not in known[kind]]:
            some = ", ".join(sorted(known[kind])[:8]) or "none"
            raise ReportError(f"No {kind} of the data is called {unknown[0]!r}. There are: {some}.")


def table(lines: pd.DataFrame, company: Company | None) -> pd.DataFrame:
    """Give the totals by scope of a report's lines (kg CO2e): 1, 2 by location and by contract, 3, and all."""
    one, two, market, three = (float(lines[name].sum()) for name in PARTS)
    own = [*company.own_carriers, *company.own_sites] if company else []
    who = ", ".join(own) or "no own vehicles or sites are named: `backhaul company --own-carrier`, `--own-site`"
    rows = [
        ("scope 1", one, f"fuel burnt, refrigerant leaked and heat: {who}"),
        ("scope 2, location-based", two, "electricity of own vehicles and sites, at the grid's intensity"),
        ("scope 2, market-based", market, "the same electricity as contracted; not added to the total"),
        ("scope 3", three, "all else, by category on the next sheet"),
        ("total, location-based", one + two + three, "scope 1 + scope 2, location-based + scope 3"),
    ]
    return pd.DataFrame(rows, columns=["scope", "kg_co2e", "note"])
