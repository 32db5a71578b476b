"""Chains of parcels as iLEAP objects in PACT envelopes: shipments with their elements, and the operations they name.

Forms: Smart Freight Centre and SINE Foundation, iLEAP technical specification 1.0.0; PACT data model 2.2 around it. A
transport element names a transport operation category (TOC), a hub element a hub operation category (HOC); both come
with their own id and intensity, which is what the report's elements of that category emitted over what they moved.
Customer trips, packaging and treatment are outside the chain. What cannot be said validly is listed as left out.
"""

import csv
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

import pandas as pd

from pipelines.factors import ledger, parameter
from pipelines.outputs import closing, disclosure
from pipelines.settings import Settings, data_path
from pipelines.warehouse.build import current_build
from pipelines.why import why

PACT_VERSION, EXTENSION_VERSION = "2.2.0", "2.0.0"
SCHEMAS = "https://api.ileap.sine.dev/{}.json"
DOCUMENTATION = "https://sine-fdn.github.io/ileap-extension/"
LOGISTICS = "83117"  # CPC class of logistics services, which the specification prescribes
DISTANCES = {"actual": "actual", "shortest_feasible": "sfd", "great_circle": "gcd", "default": "sfd"}
"""What iLEAP calls a type of distance; a usual distance stands for the shortest feasible one."""
MODES = {"rail": "Rail", "air": "Air", "sea": "Sea", "barge": "InlandWaterway"}
HUBS = {"hub_returns_centre": "Warehouse"}
Element = Mapping[str, Any]
_NAMESPACE = uuid.UUID("8f6c2d9e-3d0b-5b8e-9f43-6a4f0f7f2a51")


def envelope(settings: Settings, since: date, until: date) -> dict[str, Any]:
    """Give a span's shipments, TOCs and HOCs as PACT product footprints under `data`; `leftOut` says what lacks."""
    with current_build(settings.warehouse) as build:
        found, _ = closing.span_elements(settings, build, since, until)
        label, created = build.label, build.info["created_at"]
    chain, left_out = _chain(found)
    objects: list[tuple[str, dict[str, Any], list[Element]]] = []
    for parcel_id, legs in _grouped(chain, "parcel_id"):
        objects.append(("shipment-footprint", _shipment(parcel_id, legs), legs))
    known = {row["factor_id"]: row for row in ledger(settings).rows}
    for operation_id, legs in _grouped(chain, "operation"):
        carrier = _carrier(legs[0], known)
        if carrier is None:
            left_out.append({"id": operation_id, "why": why("ileap_carrier")})
            continue
        kind = "hoc" if legs[0]["activity"] == "hub" else "toc"
        objects.append((kind, _operation(kind, operation_id, legs, carrier), legs))
    about = _about(settings, label, created, since, until)
    return {
        "data": [_footprint(kind, body, _sources(legs), _primary(legs), about) for kind, body, legs in objects],
        "leftOut": left_out,
    }


def _grouped(chain: Sequence[Element], name: str) -> Iterator[tuple[str, list[Element]]]:
    """Give elements by a column, its values in order, elements as they stand."""
    groups: dict[str, list[Element]] = {}
    for element in chain:
        groups.setdefault(str(element[name]), []).append(element)
    yield from sorted(groups.items())


def _chain(found: pd.DataFrame) -> tuple[list[Element], list[dict[str, str]]]:
    """Give the elements of chains that are whole, with mass, distance and operation, and say which are left out.

    Emissions of operation that a publisher does not split off are stated as their bound: all.
    """
    masses = found[found["mass_kg"].notna() & found["activity"].isin(["transport", "treatment", "repair"])]
    whole = masses.groupby(["parcel_id", "activity"])["mass_kg"].agg(lambda kg: kg.sum() if len(kg) else float("nan"))
    moved = masses[masses["activity"] == "transport"].groupby("parcel_id")["mass_kg"].max()
    treated = whole.groupby("parcel_id").max().reindex(found["parcel_id"].unique())
    mass = moved.reindex(treated.index).fillna(treated).fillna(parameter("parcel_mass"))
    chain = _once(found[found["activity"].isin(["transport", "hub"])])
    chain["mass"] = chain["mass_kg"].fillna(chain["parcel_id"].map(mass))
    is_hub = chain["activity"] == "hub"
    own = chain["mass_kg"].notna() & chain["distance_km"].notna()  # else the way is a round's: its direct distance
    km = (chain["distance_km"] / chain["distance_adjustment"].fillna(1.0)).where(
        own, chain["tonne_km"] * 1000 / chain["mass"]
    )
    chain["km"] = km.mask(is_hub, 0.0)
    chain["distance"] = chain["distance_type"].map(DISTANCES).where(own, "sfd").mask(is_hub, "actual")
    chain["operation"] = [
        "-".join(filter(None, (str(f), a, k)))
        for f, a, k in zip(
            chain["factor_id"], chain["allocation"].fillna(""), chain["distance"].mask(is_hub, ""), strict=True
        )
    ]
    no_kg = chain.loc[chain["kg_co2e"].isna() | chain["factor_id"].isna(), "parcel_id"]
    no_km = chain.loc[chain["km"].isna(), "parcel_id"]
    moves = chain.loc[chain["km"] * chain["mass"] > 1e-6, "parcel_id"]
    reasons = {
        **{p: why("ileap_still") for p in set(chain["parcel_id"]) - set(moves)},
        **dict.fromkeys(no_km, why("ileap_distance")),
        **dict.fromkeys(no_kg, why("ileap_factor")),
    }
    chain = chain[~chain["parcel_id"].isin(reasons)].sort_values(["parcel_id", "element_no"])
    chain["ttw"] = chain["kg_co2e_ttw"].fillna(chain["kg_co2e"])
    chain["is_bound"] = chain["kg_co2e_ttw"].isna()
    elements: list[Element] = [{str(k): v for k, v in row.items()} for row in chain.to_dict("records")]
    return elements, [{"id": str(p), "why": text} for p, text in sorted(reasons.items())]


def _once(chain: pd.DataFrame) -> pd.DataFrame:
    """Give each element once: one of several factors (energy and refrigerant) with the sum of its parts."""
    if not chain["element_id"].duplicated().any():
        return chain.copy()
    sums = ("kg_co2e", "kg_co2e_wtt", "kg_co2e_ttw")
    told = {name: "first" for name in chain.columns if name not in ("element_id", "factor_id", *sums)}
    parts = chain.groupby("element_id", sort=False, dropna=False)
    whole = parts.agg(told).assign(factor_id=parts["factor_id"].agg(lambda of: " + ".join(of.dropna()) or None))
    return whole.assign(**{name: parts[name].agg(lambda kg: kg.sum(skipna=False)) for name in sums}).reset_index()


def _shipment(parcel_id: str, legs: Sequence[Element]) -> dict[str, Any]:
    elements = list(_elements(parcel_id, legs))
    return {"mass": decimal(max(leg["mass"] for leg in legs)), "shipmentId": parcel_id, "tces": elements}


def _elements(parcel_id: str, legs: Sequence[Element]) -> Iterator[dict[str, Any]]:
    """Give the elements of a chain in order, each naming the one before it."""
    before: list[str] = []
    for row in legs:
        yield {
            "tceId": row["element_id"],
            "prevTceIds": before,
            "hocId" if row["activity"] == "hub" else "tocId": row["operation"],
            "shipmentId": parcel_id,
            "mass": decimal(row["mass"]),
            "distance": {row["distance"]: decimal(row["km"])},
            "transportActivity": decimal(row["km"] * row["mass"] / 1000),
            "co2eWTW": decimal(row["kg_co2e"]),
            "co2eTTW": decimal(row["ttw"]),
        }
        before = [row["element_id"]]


def _operation(kind: str, operation_id: str, legs: Sequence[Element], carrier: dict[str, str]) -> dict[str, Any]:
    """Give a TOC or HOC: what its elements emitted over tonne-kilometres moved, or tonnes handled."""
    done = sum(leg["mass"] * (leg["km"] if kind == "toc" else 1.0) for leg in legs) / 1000
    first = legs[0]
    bound = "; operation not split by the publisher: stated as the whole" if any(e["is_bound"] for e in legs) else ""
    body: dict[str, Any] = {
        f"{kind}Id": operation_id,
        "description": f"{first['factor_id']}, {str(first['allocation']).replace('_', ' ')}{bound}",
        "energyCarriers": [carrier],
        "co2eIntensityWTW": decimal(sum(leg["kg_co2e"] for leg in legs) / done),
        "co2eIntensityTTW": decimal(sum(leg["ttw"] for leg in legs) / done),
    }
    if kind == "toc":
        return body | {"mode": MODES.get(str(first["mode"]), "Road"), "transportActivityUnit": "tkm"}
    hub = next((h for n, h in HUBS.items() if f".{n}" in operation_id), "Transshipment")
    return body | {"hubType": hub, "hubActivityUnit": "tonnes"}


@cache
def _fuels() -> Mapping[str, dict[str, str]]:
    with data_path("energy_carriers.csv").open(encoding="utf-8", newline="") as file:
        return {row["fuel"]: row for row in csv.DictReader(file)}


def _carrier(leg: Element, known: Mapping[str, Mapping[str, Any]]) -> dict[str, str] | None:
    """Give the energy carrier of an operation with its own factors; None where they are not known."""
    factor_id = str(leg["factor_id"])
    is_hub = leg["activity"] == "hub"
    fuel = _fuels().get("electricity" if is_hub else str(_held(factor_id, known).get("fuel") or ""))
    if fuel is None:
        return None
    wtw = fuel["wtw"] or _grid(factor_id, known)
    if not wtw:
        return None
    return {
        "energyCarrier": fuel["carrier"],
        "relativeShare": "1",
        "emissionFactorWTW": decimal(float(wtw)),
        "emissionFactorTTW": decimal(float(fuel["ttw"])),
        "energyConsumptionUnit": fuel["unit"],
    }


def _held(factor_id: str, known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Give the row of the ledger that a factor is made of: of a vehicle on a country's grid, or of one kept cool."""
    while factor_id and factor_id not in known:
        factor_id = factor_id.rpartition(".")[0]
    return known.get(factor_id, {})


def _grid(factor_id: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """Give the grid intensity a factor was made with, named in its id, else the newest of its region."""
    region = next((p for p in factor_id.split(".") if re.fullmatch("[A-Z]{2}", p)), "")
    region = region or str(known.get(factor_id, {}).get("region") or "")
    grids = [r for i, r in known.items() if i.endswith(f".grid.{region}")]
    named = [r for r in grids if factor_id.endswith("." + str(r["factor_id"]).partition(".")[0])]
    newest = sorted(named or grids, key=lambda r: str(r["year"]))
    return str(newest[-1]["wtw"]) if newest else ""


def _sources(legs: Sequence[Element]) -> dict[str, str]:
    """Name the sets and years that the elements' factors come from: id of the set to its version."""
    names = {str(leg["factor_id"]).partition(".")[0] for leg in legs}
    return {n: (m[0] if (m := re.search(r"\d{4}$", n)) else "1") for n in sorted(names)}


def _about(settings: Settings, label: str, created: str, since: date, until: date) -> dict[str, Any]:
    """Give what all envelopes of a report share. They were created with the build: the same one gives the same file."""
    company = disclosure.company(settings)
    euid = quote(company.euid, safe="") if company and company.euid else ""
    gwps = {str(r["factor_id"]).partition(".")[0]: str(r.get("gwp") or "") for r in ledger(settings).rows}
    return {
        "company": (company and company.name) or "not said",
        "company_id": (
            f"urn:pathfinder:company:customcode:vendor-assigned:{euid}"
            if euid
            else f"urn:uuid:{uuid.uuid5(_NAMESPACE, label)}"
        ),
        "created": datetime.fromisoformat(created).isoformat(timespec="seconds") + "Z",
        "label": label,
        "start": f"{since}T00:00:00Z",
        "end": f"{until + timedelta(days=1)}T00:00:00Z",
        "gwps": gwps,
    }


def _primary(legs: Sequence[Element]) -> float:
    """Give the share of kilograms from primary data (metered energy, given figures), in percent."""
    kg = sum(leg["kg_co2e"] for leg in legs)
    shares = ((leg["kg_co2e"], leg.get("primary_share")) for leg in legs)
    primary = sum(of * share for of, share in shares if share is not None and share == share)
    return round(100 * primary / kg, 4) if kg > 0 else 0.0


def _footprint(
    kind: str, body: dict[str, Any], used: dict[str, str], primary: float, about: dict[str, Any]
) -> dict[str, Any]:
    """Put an object into a PACT product footprint; what PACT asks twice is derived as iLEAP's mapping says."""
    name = "shipment" if kind == "shipment-footprint" else kind
    key = body["shipmentId" if name == "shipment" else f"{name}Id"]
    if name == "shipment":
        amount = sum(float(e["transportActivity"]) for e in body["tces"])
        kg = sum(float(e["co2eWTW"]) for e in body["tces"])
    else:
        amount, kg = (1.0 if name == "toc" else 1000.0), float(body["co2eIntensityWTW"])
    gwp = "AR6" if all(about["gwps"].get(n) == "AR6" for n in used) else "AR5"
    return {
        "id": str(uuid.uuid5(_NAMESPACE, f"{about['label']}|{about['start']}|{about['end']}|{kind}|{key}")),
        "specVersion": PACT_VERSION,
        "version": 0,
        "created": about["created"],
        "status": "Active",
        "companyName": about["company"],
        "companyIds": [about["company_id"]],
        "productDescription": f"Logistics emissions of {name} {key}",
        "productIds": [f"urn:pathfinder:product:customcode:buyer-assigned:{name}:{quote(str(key), safe=':.-_~')}"],
        "productCategoryCpc": LOGISTICS,
        "productNameCompany": f"{name} {key}",
        "comment": "Structure of ISO 14083, well to wheel; not certified.",
        "pcf": {
            "declaredUnit": "kilogram" if name == "hoc" else "ton kilometer",
            "unitaryProductAmount": decimal(amount),
            "pCfExcludingBiogenic": decimal(kg),
            "fossilGhgEmissions": decimal(kg),
            "fossilCarbonContent": "0",
            "biogenicCarbonContent": "0",
            "characterizationFactors": gwp,
            "ipccCharacterizationFactorsSources": [gwp],
            "crossSectoralStandardsUsed": ["GHG Protocol Product standard"],
            "boundaryProcessesDescription": "Transport and hub operations, well to wheel; no packaging, customer trip"
            " or treatment",
            "referencePeriodStart": about["start"],
            "referencePeriodEnd": about["end"],
            "secondaryEmissionFactorSources": [{"name": n, "version": v} for n, v in used.items()],
            "primaryDataShare": primary,
            "exemptedEmissionsPercent": 0,
            "exemptedEmissionsDescription": "",
            "packagingEmissionsIncluded": False,
        },
        "extensions": [
            {
                "specVersion": EXTENSION_VERSION,
                "dataSchema": SCHEMAS.format(kind),
                "documentation": DOCUMENTATION,
                "data": body,
            }
        ],
    }


def decimal(value: float) -> str:
    """Write a decimal as iLEAP wants it: a string without exponent or trailing zeros.

    >>> decimal(0.0125), decimal(100), decimal(1e-12)
    ('0.0125', '100', '0')
    """
    return f"{value:.10f}".rstrip("0").rstrip(".")
