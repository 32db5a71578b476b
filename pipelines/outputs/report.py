"""The carbon report of a span.

An Excel workbook an auditor can recompute, a PDF for reading, and each chain as iLEAP objects in PACT envelopes. Every
total in the workbook is the sum of its lines, and every line is amount x factor: nothing but the workbook is needed to
compute it again. Closed months stand as they were signed for. What second lives avoid is on a sheet of its own and in
no total. Structures follow ISO 14083, GHG Protocol scope 3, ESRS E1-6 and E5-5 and Regulation (EU) 2024/1781 Art. 24;
none of them is certified here.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from pipelines import analyses, metrics
from pipelines.analyses.emissions import BAND_ALL_IN, BAND_TONNE_KM, IMPLAUSIBLE
from pipelines.errors import ReportError
from pipelines.estimate.leg_own import METHODS
from pipelines.factors import ledger
from pipelines.metrics.question import Question
from pipelines.outputs import closing, discarded, disclosure, ileap, scopes
from pipelines.outputs.report_files import to_pdf, to_xlsx
from pipelines.settings import Settings, write_whole
from pipelines.warehouse import state
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build, looked_up
from pipelines.warehouse.star import STAR

FORMS = ("xlsx", "pdf", "json")
CATEGORIES = {
    "1": "Purchased goods and services",
    "3": "Fuel- and energy-related activities (own vehicles and sites)",
    "4": "Upstream transportation and distribution",
    "5": "Waste generated in operations",
    "9": "Downstream transportation and distribution (customer trips, optional)",
    "12": "End-of-life treatment of sold products",
}
AVOIDED = (
    "outside the inventory, never deducted (GHG Protocol Scope 3, 9.5); an estimate against a baseline:"
    " addressed to consumers, it is an environmental claim under Directive (EU) 2024/825 since 27 September 2026"
)
QUALITY = {"measured": "modelled", "imputed": "modelled", "assumed": "default"}
"""Data quality as GLEC and iLEAP name it, where no energy was metered and nobody gave the kilograms: those are primary.

An average factor makes reported inputs no primary data.
"""
INPUTS = {"measured": "reported", "imputed": "derived", "assumed": "assumed"}
_LINE = [
    "activity",
    "role",
    "scope3_category",
    "allocation",
    "factor_id",
    "factor_value",
    "factor_unit",
    "data_quality",
    "inputs",
]
t = STAR.tables


@dataclass
class Report:
    """What every form of the report holds: frames by sheet, and what stands above them."""

    since: date
    until: date
    build: str
    made_at: str
    total: float
    low: float
    high: float
    primary_share: float
    reported_share: float
    sheets: dict[str, pd.DataFrame] = field(default_factory=dict)
    method: list[str] = field(default_factory=list)


def gather(settings: Settings, since: date, until: date) -> Report:
    """Gather a span's report, both days included. Raises ReportError when nothing came back then."""
    if since > until:
        raise ReportError(f"The report begins on {since}, after it ends on {until}.")
    with current_build(settings.warehouse) as build:
        found, months = closing.span_elements(settings, build, since, until)
        company = disclosure.company(settings)
        of_law = discarded.sheets(settings, build, company, since, until)
        if found.empty and of_law["discarded goods"].empty:
            raise ReportError(
                f"No return asked for from {since} to {until} has a leg, and nothing was discarded: there is nothing to"
                " report. `backhaul metric kg_co2e --by month` says when there is."
            )
        lines = _lines(scopes.split(found, company, _electricity(settings, found, since, until)))
        total = float(lines["kg_co2e"].sum())
        before, _ = closing.span_elements(settings, build, *_year_before(since, until))
        earlier = _lines(scopes.split(before, company, _electricity(settings, before, since, until)))
        whole = metrics.answer(build, "kg_co2e", Question(since=since, until=until)).iloc[0]
        scale = (
            total / float(whole["value"]) if whole["value"] else np.nan
        )  # closed months keep their figures: the doubt is the same share
        primary, reported = lines["kg_co2e_primary"].sum(), lines.loc[lines["inputs"] == "reported", "kg_co2e"].sum()
        report = Report(
            since,
            until,
            build.label,
            state.now().isoformat(timespec="seconds"),
            total,
            float(whole["low"]) * scale,
            float(whole["high"]) * scale,
            float(primary / total) if total else np.nan,
            float(reported / total) if total else np.nan,
        )
        used = _factors(build, lines, months)
        conventions = {
            k: float(metrics.answer(build, k, Question(since=since, until=until))["value"].iloc[0])
            for k in ("kg_co2e_per_parcel", "transport_kg_co2e_per_parcel")
        }
        scope3 = _scope3(lines)
        report.sheets = {
            "summary": _summary(report, lines, conventions),
            "scopes": scopes.table(lines, company),
            "scope 3": scope3,
            "ESRS E1-6": _e1(lines, earlier if len(before) else None, since, until),
            **of_law,
            "avoided (outside totals)": _avoided(build, since, until),
            "lines": lines,
            "factors": used,
            "data quality": _quality(build, lines, since, until),
            "stated and modelled": _stated(found),
            "missing factors": analyses.missing_factors(build),
            "closed months": _closed(build, months, since, until),
            "obligations": _obligations(settings, until),
        }
        report.method = _method(settings, report)
        report.sheets["method"] = pd.DataFrame({"statement": report.method})
    return report


def _lines(found: pd.DataFrame) -> pd.DataFrame:
    """Sum elements to the lines of the workbook.

    One per activity, part, category, allocation, factor and data quality.
    """
    share = found["primary_share"].astype(float).fillna(0.0) if "primary_share" in found else 0.0
    is_primary = found["allocation"].isin(METHODS)
    known = found.assign(
        data_quality=looked_up(found["status"], QUALITY).mask(is_primary, "primary"),
        inputs=looked_up(found["status"], INPUTS),
        kg_co2e_primary=found["kg_co2e"] * share,
        **{n: found[n].fillna("") for n in ("factor_id", "factor_unit", "allocation", "scope3_category", "activity")},
    )
    known["factor_value"] = known["factor_value"].astype(float)
    sums = known.groupby(_LINE, dropna=False, as_index=False).agg(
        elements=("element_id", "count"),
        amount=("amount", "sum"),
        tonne_km=("tonne_km", "sum"),
        kg_co2e_wtt=("kg_co2e_wtt", "sum"),
        kg_co2e_ttw=("kg_co2e_ttw", "sum"),
        kg_co2e_primary=("kg_co2e_primary", "sum"),
        **{name: (name, "sum") for name in scopes.PARTS},
        without_factor=("kg_co2e", lambda kg: int(kg.isna().sum())),
    )
    sums["kg_co2e"] = (sums["amount"] * sums["factor_value"]).fillna(0.0)
    is_split = known.groupby(_LINE, dropna=False)["kg_co2e_ttw"].count().reset_index(drop=True) > 0
    sums.loc[~is_split.to_numpy(), ["kg_co2e_wtt", "kg_co2e_ttw"]] = np.nan
    sums["amount_unit"] = sums["factor_unit"].str.removeprefix("kgCO2e/")
    order = [
        "activity",
        "role",
        "scope3_category",
        "allocation",
        "data_quality",
        "inputs",
        "elements",
        "amount",
        "amount_unit",
        "factor_id",
        "factor_value",
        "factor_unit",
        "kg_co2e",
        "kg_co2e_wtt",
        "kg_co2e_ttw",
        "kg_co2e_primary",
        *scopes.PARTS,
        "tonne_km",
        "without_factor",
    ]
    return sums.sort_values("kg_co2e", ascending=False, ignore_index=True)[order]


def _year_before(since: date, until: date) -> tuple[date, date]:
    return tuple((pd.Timestamp(d) - pd.DateOffset(years=1)).date() for d in (since, until))  # type: ignore[return-value]


def _electricity(settings: Settings, found: pd.DataFrame, since: date, until: date) -> dict[str, float]:
    countries = sorted(set(found["country"].dropna())) if len(found) else []
    return scopes.electricity(ledger(settings), range(since.year - 2, until.year + 2), countries)


def _stated(found: pd.DataFrame) -> pd.DataFrame:
    """Put what was stated beside what distance, mass and factor give, by who carried and how it was stated.

    Only elements that have both: kg CO2e, and the gap between them.
    """
    both = found[found["allocation"].isin(METHODS) & found["kg_co2e_modelled"].notna() & found["kg_co2e"].notna()]
    names = {"activity": both["activity"], "carrier": both["carrier"].fillna("-"), "method": both["allocation"]}
    parts = both.assign(**names).groupby(["element_id", *names], as_index=False)
    once = parts.agg(stated=("kg_co2e", "sum"), modelled=("kg_co2e_modelled", "first"))
    sums = once.groupby(list(names), as_index=False).agg(
        elements=("element_id", "count"), stated=("stated", "sum"), modelled=("modelled", "sum")
    )
    sums["gap"] = sums["stated"] - sums["modelled"]
    sums["stated over modelled"] = sums["stated"] / sums["modelled"].where(sums["modelled"] > 0)
    return sums.rename(columns={"stated": "stated (kg CO2e)", "modelled": "modelled (kg CO2e)", "gap": "gap (kg CO2e)"})


def _factors(build: Build, lines: pd.DataFrame, months: list[closing.Closed]) -> pd.DataFrame:
    """List the factors of the lines with their source; those of closed months as they were then."""
    frames = [closing.frozen_factors(c) for c in months] + [build.fetch(select(t["factor_set"]))]
    known = pd.concat([f.astype(object) for f in frames], ignore_index=True).drop_duplicates(["factor_id", "value"])
    return known[known["factor_id"].isin(lines["factor_id"])].sort_values("factor_id", ignore_index=True)


def _summary(report: Report, lines: pd.DataFrame, conventions: dict[str, float]) -> pd.DataFrame:
    by = lines.groupby("activity")["kg_co2e"].sum()
    rows: list[tuple[str, Any, str]] = [
        ("total, well to wheel", report.total, "kg CO2e"),
        ("90% interval, low", report.low, "kg CO2e"),
        ("90% interval, high", report.high, "kg CO2e"),
        ("share of primary data (metered energy, given figures)", report.primary_share, "share"),
        ("share of reported inputs", report.reported_share, "share"),
        *((f"of which {str(name).replace('_', ' ')}", value, "kg CO2e") for name, value in by.items()),
        (
            "per parcel, all in (by stop, parcel or tonne-kilometre)",
            conventions["kg_co2e_per_parcel"],
            f"kg CO2e; usual {BAND_ALL_IN[0]:g} to {BAND_ALL_IN[1]:g}",
        ),
        (
            "per parcel, transport and packaging by tonne-kilometre",
            conventions["transport_kg_co2e_per_parcel"],
            f"kg CO2e; usual {BAND_TONNE_KM[0]:g} to {BAND_TONNE_KM[1]:g}",
        ),
        ("elements", int(lines["elements"].sum()), "count"),
        ("elements without a factor", int(lines["without_factor"].sum()), "count"),
    ]
    return pd.DataFrame(rows, columns=["figure", "value", "unit"])


def _scope3(lines: pd.DataFrame) -> pd.DataFrame:
    """Sum scope 3 by category: of the company's own vehicles and sites, what providing their energy emitted."""
    is_own = lines["scope3_category"] == "3"
    of = lines.assign(
        kg_co2e=lines["kg_scope3"],
        kg_co2e_wtt=lines["kg_scope3"].where(is_own, lines["kg_co2e_wtt"]),
        kg_co2e_ttw=lines["kg_co2e_ttw"].mask(is_own),
        primary=lines["kg_co2e_primary"].mask(is_own, 0.0),
    )
    sums = of.groupby("scope3_category", as_index=False)[["kg_co2e", "kg_co2e_wtt", "kg_co2e_ttw", "primary"]].sum(
        min_count=1
    )
    sums["category"] = looked_up(sums["scope3_category"], CATEGORIES).fillna("")
    sums["primary_share"] = sums["primary"].fillna(0.0) / sums["kg_co2e"].where(sums["kg_co2e"] > 0)
    sums["number"] = pd.to_numeric(sums["scope3_category"], errors="coerce")
    return sums.sort_values("number", ignore_index=True)[
        ["scope3_category", "category", "kg_co2e", "kg_co2e_wtt", "kg_co2e_ttw", "primary_share"]
    ]


def _e1(lines: pd.DataFrame, before: pd.DataFrame | None, since: date, until: date) -> pd.DataFrame:
    """Shape scopes 1 to 3 as ESRS E1-6 does: retrospective columns; milestones are the company's to fill in."""
    nothing = np.nan

    def tonnes(frame: pd.DataFrame | None) -> dict[str, float]:
        if frame is None:
            return {}
        by = {name: float(frame[name].sum()) / 1000 for name in scopes.PARTS}
        of_category = _scope3(frame).set_index("scope3_category")["kg_co2e"] / 1000
        by["all"] = by["kg_scope1"] + by["kg_scope2"] + by["kg_scope3"]
        by["all_market"] = by["kg_scope1"] + by["kg_scope2_market"] + by["kg_scope3"]
        return by | {str(c): float(kg) for c, kg in of_category.items()}

    now, earlier = tonnes(lines), tonnes(before)
    rows = {
        "kg_scope1": "Gross scope 1 emissions of returns",
        "kg_scope2": "Gross location-based scope 2 emissions of returns",
        "kg_scope2_market": "Gross market-based scope 2 emissions of returns",
        "": "Significant scope 3 categories",
        **{c: f"{c}. {name}" for c, name in CATEGORIES.items() if c in now},
        "kg_scope3": "Total gross indirect (scope 3) emissions of returns",
        "all": "Total emissions of returns (location-based)",
        "all_market": "Total emissions of returns (market-based)",
    }
    frame = pd.DataFrame(
        [{"row": text, "N-1": earlier.get(key, nothing), "N": now.get(key, nothing)} for key, text in rows.items()]
    )
    frame.insert(1, "base year", np.nan)
    frame["% N / N-1"] = 100 * (frame["N"] / frame["N-1"].where(frame["N-1"] > 0) - 1)
    frame["unit"] = "t CO2e"
    frame["milestones and targets (2030, 2050)"] = ""
    frame["span"] = f"{since} to {until}"
    return frame


def _avoided(build: Build, since: date, until: date) -> pd.DataFrame:
    found = metrics.answer(build, "avoided_kg_co2e", Question(since=since, until=until), by=("disposition",))
    rows = found.rename(columns={"value": "central", "low": "low displacement", "high": "high displacement"})
    rows = rows[rows["central"].fillna(0) > 0][["disposition", "low displacement", "central", "high displacement"]]
    rows["note"] = f"kg CO2e of new goods displaced; {AVOIDED}"
    return rows.reset_index(drop=True)


def _quality(build: Build, lines: pd.DataFrame, since: date, until: date) -> pd.DataFrame:
    shares = lines.groupby("data_quality")["kg_co2e"].sum()
    rows = [
        {
            "what": f"data quality: {q}",
            "low": np.nan,
            "high": np.nan,
            "kg_co2e": float(kg),
            "share": float(kg / shares.sum()) if shares.sum() else np.nan,
        }
        for q, kg in shares.items()
    ]
    swings = analyses.tornado(build, Question(since=since, until=until)).head(15)
    rows += [
        {"what": f"doubt: {s}", "low": low, "high": high, "kg_co2e": np.nan, "share": share}
        for s, low, high, share in swings[["source", "low", "high", "share"]].itertuples(index=False, name=None)
    ]
    return pd.DataFrame(rows, columns=["what", "low", "high", "kg_co2e", "share"])


def _closed(build: Build, months: list[closing.Closed], since: date, until: date) -> pd.DataFrame:
    rows = [closing.restatement(build, c) for c in months]
    frame = pd.DataFrame(
        rows, columns=["month", "number", "approver", "closed_at", "factor_set", "closed", "now", *closing.CAUSES]
    )
    names, day = {c.month for c in months}, since.replace(day=1)
    while day <= until:
        if f"{day:%Y-%m}" not in names:
            frame.loc[len(frame)] = {"month": f"{day:%Y-%m}", "approver": "not closed: provisional"}
        day = (day + timedelta(days=32)).replace(day=1)
    return frame.sort_values("month", ignore_index=True)


def _obligations(settings: Settings, until: date) -> pd.DataFrame:
    company = disclosure.company(settings)
    found = pd.DataFrame([asdict(o) for o in disclosure.obligations(company, until)])
    who = company.worded if company else "not said: `backhaul company`"
    return found.assign(company=who)


def _method(settings: Settings, report: Report) -> list[str]:
    chosen = ledger(settings)
    return [
        f"Returns asked for from {report.since} to {report.until}; build {report.build}; made {report.made_at} UTC.",
        (
            "The chain of transport and hub elements follows the structure of ISO 14083; it is not certified. Customer"
            " trips, packaging, repair and treatment stand beside the chain with totals of their own."
        ),
        (
            "Well to wheel is energy provision plus operation where a publisher tells them apart. Of a line whose"
            " factor is one figure (electricity of a country, life cycles) both parts are empty, so they sum to less."
        ),
        (
            "A line is amount x factor. Amounts: tonne-kilometres, kilometres of a trip's or a round's share, parcels,"
            " tonnes. A factor is well to wheel and holds load and empty running: no correction is made on top."
        ),
        (
            "Allocation: collection rounds by parcel where the round says how many shared it, else by tonne-kilometres;"
            " consolidated movements wholly in the data by mass x direct distance; items of a parcel by mass."
        ),
        f"Factor set {chosen.chosen}"
        + (f", vintage {chosen.pinned} for all years" if chosen.pinned else ", the vintage of the activity's year")
        + "; what it lacks is taken from desnz, then ademe. An element without a factor has no figure and is counted.",
        (
            "Distances: reported ones as given (shortest feasible x 1.05 by road), else great circle between places x"
            " circuity, else a usual distance. Status says which."
        ),
        (
            "Carriers and places named as the company's own: fuel, heat and refrigerants scope 1, electricity scope 2,"
            " the provision of both scope 3, category 3; a factor that is one figure counts whole where it is used."
            " Scope 3 categories: bought transport 4, bought packaging 1, waste treatment 5, repair as a service 1,"
            " customer trips 9 (optional). The Scope 3 Standard does not name returns: the mapping is a reading of it."
        ),
        (
            "Uncertainty: lognormal errors of factors (pedigree) and of assumed inputs (their stated bounds), shared by"
            " all elements that rest on them, propagated by Monte Carlo; 90% interval."
        ),
        (
            f"Parcels under {IMPLAUSIBLE[0] * 1000:g} g or over {IMPLAUSIBLE[1]:g} kg are flagged by a check. The usual"
            " band depends on the convention; both are on the summary."
        ),
        (
            "Waste factors of DESNZ count transport and preparation; burning with energy recovery belongs to who uses"
            " the energy (GHG Protocol). Methods that count the stack differ by two orders of magnitude: the factor"
            " list says which is used."
        ),
        "Gross figures. Avoided emissions are apart and never deducted; a return resold as new avoids nothing.",
        "Global warming potentials are those of each factor's set, named in the factor list.",
    ]


def write(settings: Settings, since: date, until: date, path: Path) -> Report:
    """Write the report to a file; its ending says the form: xlsx, pdf or json (PACT envelopes of iLEAP objects).

    Raises ReportError.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise ReportError(
            f"{path.name or 'A file without a name'} ends in no form of the report. Name it .{', .'.join(FORMS)}."
        )
    report = gather(settings, since, until)
    makers: dict[str, Callable[[], bytes]] = {
        "xlsx": lambda: to_xlsx(report),
        "pdf": lambda: to_pdf(report),
        "json": lambda: json.dumps(ileap.envelope(settings, since, until), indent=1).encode(),
    }
    write_whole(path, makers[form]())
    return report
