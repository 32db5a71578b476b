"""Ten returns worked out from the raw files of the demo shop by a script that knows nothing of the product.

It reads the files that were loaded and the tables that ship as CSV, measures with geopy, and multiplies.
"""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from geopy.distance import geodesic

from pipelines.settings import Settings
from tests.evidence import Claim

ROOT = Path(__file__).parents[2]
RETURNS = 10
KINDS = {"vehicle.km": "kgCO2e/vehicle.km", "passenger.km": "kgCO2e/passenger.km", "t.km": "kgCO2e/t.km"}


def claims(files: Path, settings: Settings) -> Iterator[Claim]:
    """Claim that ten returns by hand are those that `backhaul explain` tells."""
    by_hand = _Script(files)
    worst, told = 0.0, []
    for return_id, parcel in by_hand.returns():
        command = [sys.executable, "-m", "pipelines.cli", "explain", return_id, "--format", "json"]
        done = subprocess.run(
            [*command, "--warehouse", str(settings.warehouse)], capture_output=True, text=True, cwd=ROOT, check=True
        )
        ours = sum(p["kg_co2e"] for p in json.loads(done.stdout)["parcels"])
        theirs = by_hand.kilograms(parcel)
        worst = max(worst, abs(ours / theirs - 1))
        told.append(f"{theirs:.4f}")
    yield Claim(
        f"{RETURNS} returns by a script of its own, from raw files and the tables that ship (kg: {', '.join(told)})",
        "to 1e-9",
        f"{len(told)} returns, largest difference {worst:.1e}",
        len(told) == RETURNS and worst < 1e-9,
    )


class _Script:
    """The raw files and the shipped tables, and what a parcel emitted by them."""

    def __init__(self, files: Path) -> None:
        told = pd.read_parquet(files / "transport" / "chain_element.parquet").sort_values("recorded_at")
        self.legs = told.drop_duplicates("element_id", keep="last").sort_index()  # corrected elements come again
        self.places = pd.read_csv(files / "catalogue" / "place.csv").set_index("place_id")
        orders = pd.concat(pd.read_csv(f) for f in sorted((files / "shop").glob("order_line.*.csv")))
        self.country = orders.groupby("order_line_id")["country"].last().to_dict()
        self.events = pd.read_parquet(files / "returns_centre" / "return_event.wms.parquet")
        with (ROOT / "data" / "factors" / "emission_factors.csv").open(encoding="utf-8", newline="") as file:
            self.factors = list(csv.DictReader(file))
        with (ROOT / "data" / "costs.csv").open(encoding="utf-8", newline="") as file:
            self.given = {(r["parameter"], r["applies_to"]): float(r["value"]) for r in csv.DictReader(file)}

    def returns(self) -> list[tuple[str, str]]:
        """Give ten returns of one parcel of 2025 that went back on sale, every element but hubs weighed."""
        plain = (
            self.legs[self.legs["role"] != "customer_trip"]
            .groupby("parcel_id")
            .filter(
                lambda p: (
                    p["mass_kg"].notna().all()
                    and p["movement_parcels"].isna().all()
                    and p.loc[p["role"] == "treatment", "vehicle"].eq("treatment_none").all()
                    and (p["role"] == "treatment").any()
                    and p["started_at"].dt.year.eq(2025).all()
                )
            )["parcel_id"]
        )
        one = self.events.groupby("return_id").agg(
            parcels=("parcel_id", "nunique"), parcel=("parcel_id", "first"), line=("order_line_id", "first")
        )
        fates = self.events[self.events["disposition"].notna()].groupby("parcel_id")["disposition"].unique()
        kept = fates[fates.map(lambda found: set(found) <= {"as_new", "b_stock", "marked_down"})].index
        one = one[
            (one["parcels"] == 1) & one["parcel"].isin(set(plain) & set(kept)) & ~one["parcel"].duplicated(keep=False)
        ]
        self.line_of = one.set_index("parcel")["line"].to_dict()
        return [
            (str(name), str(parcel))
            for name, parcel in one["parcel"].iloc[:: max(len(one) // RETURNS, 1)][:RETURNS].items()
        ]

    def kilograms(self, parcel: str) -> float:
        """Add up what a parcel's elements emitted."""
        market = self.country[self.line_of[parcel]]
        return math.fsum(
            self._leg(row, market) for row in self.legs[self.legs["parcel_id"] == parcel].to_dict("records")
        )

    def _factor(self, vehicle: str, unit: str, year: int, region: str = "") -> float | None:
        rows = [
            r
            for name in ("desnz", "ademe", "grid", "backhaul")
            for r in self.factors
            if r["factor_set"] == name
            and (r["vehicle"], r["unit"]) == (vehicle, unit)
            and (not region or r["region"] == region)
        ]
        rows = [r for r in rows if r["factor_set"] == rows[0]["factor_set"]]
        known = sorted(rows, key=lambda r: int(r["valid_from_year"]))
        before = [r for r in known if int(r["valid_from_year"]) <= year]
        return float((before or known[:1])[-1]["wtw"]) if known else None

    def _km(self, row: dict[str, Any]) -> float:
        start, end = self.places.loc[row["from_place_id"]], self.places.loc[row["to_place_id"]]
        near = max(abs(start["latitude"] - end["latitude"]), abs(start["longitude"] - end["longitude"])) <= 0.1 + 1e-9
        if start["area"] == end["area"] or near:
            return self.given["same_area_distance", ""]
        points = [(p["latitude"], p["longitude"]) for p in (start, end)]
        return float(geodesic(*points).km) * self.given["circuity", ""]

    def _leg(self, row: dict[str, Any], market: str) -> float:
        year, vehicle, role = row["started_at"].year, str(row["vehicle"]), row["role"]
        if role == "treatment":
            return 0.0
        if role == "packaging":
            return row["mass_kg"] / 1000 * float(self._factor(vehicle, "kgCO2e/t", year) or 0)
        if row["element_type"] == "hub":
            grid = float(self._factor("grid", "kgCO2e/kWh", year, self.places.loc[row["to_place_id"], "country"]) or 0)
            base, kwh = self._factor(vehicle, "kgCO2e/parcel", year), self.given["hub_electricity", vehicle]
            return float(base or 0) + kwh * (grid - 0.081)
        if role == "customer_trip":
            km = row["distance_km"]
            if pd.isna(km):
                lane = self._km(row)
                km = self.given["trip_distance", ""] if lane > self.given["trip_lane_limit", ""] else 2 * lane
            share = self.given["trip_share", ""] if pd.isna(row["trip_share"]) else row["trip_share"]
            kg = self._factor(vehicle, "kgCO2e/vehicle.km", year) or self._factor(vehicle, "kgCO2e/passenger.km", year)
            return float(km * share * (kg or 0.0))
        km = self._km(row) if pd.isna(row["distance_km"]) else row["distance_km"]
        kwh = self._factor(vehicle, "kWh/t.km", year)
        grid = self._factor("grid", "kgCO2e/kWh", year, market) if kwh is not None else None
        kg = kwh * grid if kwh is not None and grid is not None else self._factor(vehicle, "kgCO2e/t.km", year)
        return float(km * row["mass_kg"] / 1000 * float(kg or 0))
