"""Figures of one's own: worked examples from files and commands, and one total whichever door is asked.

The random shops are written here as files, by no simulator: vehicles with and without factors, statements of carriers
and sites, own sets, goods of several fates, legs that name their treatment.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select

from pipelines import analyses, metrics
from pipelines.factors import choose, import_set
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.outputs import closing, report
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.star import STAR
from tests.conftest import write_rows
from tests.evidence import Claim
from tests.test_worked_examples import WORKED

ROOT = Path(__file__).parents[2]
SHOPS = int(os.environ.get("BACKHAUL_SHOPS", "200"))
MONTH = date(2025, 3, 1), date(2025, 3, 31)
MODES = ("van", "truck", "rail", "sea", "air", "bike", "foot", "car", None)
VEHICLES = (None, None, None, "van_diesel", "truck_artic", "my_drone", "my_lorry", "truck_rigid_7t", "airship")
FUELS = (None, None, "diesel", "electricity", "petrol", "cng", "hydrogen")
TREATED = ("as_new", "b_stock", "refurbished", "donated", "recycled", "destroyed", "")
CATEGORIES = ("dresses", "lamps", "sofas", "something")
OWN = (  # vehicle, unit, kg
    ("my_drone", "freight", "kgCO2e/t.km", 0.9),
    ("my_lorry", "freight", "kgCO2e/t.km", 0.07),
    ("my_lorry", "freight", "kgCO2e/vehicle.km", 0.8),
    ("hub_returns_centre", "hub", "kgCO2e/kg", 0.002),
    ("treatment_recycling", "treatment", "kgCO2e/t", 25.0),
    ("my_oven", "treatment", "kgCO2e/kg", 0.4),
    ("packaging_board", "packaging", "kgCO2e/item", 0.11),
)


def claims() -> Iterator[Claim]:
    """Claim the printed digits of every worked example, and that four doors give one total in every random shop."""
    for folder in WORKED:
        yield _worked(folder)
    yield from _one_total()


def _worked(folder: Path) -> Claim:
    answer, published = (folder / "answer.txt").read_text().splitlines()[:2]
    with tempfile.TemporaryDirectory() as place:
        here = ["--warehouse", str(Path(place) / "warehouse")]
        said = [_said("load", str(folder / "files"), *here)]
        if (folder / "factors.csv").exists():
            said.append(_said("factors", "import", str(folder / "factors.csv"), "--set", "own", *here))
            said.append(_said("factors", "use", "own", *here))
        code, told = _said("explain", "R1", "--format", "json", *here)
    ended = [code, *(code for code, _ in said)]
    kg = json.loads(told)["kg_co2e"] if not any(ended) else math.nan
    ours = f"{kg:.{len(answer.partition('.')[2])}f}"
    return Claim(f"Files and commands: {folder.name.replace('_', ' ')} (kg; {published})", answer, ours, ours == answer)


def _said(*words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pipelines.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.returncode, done.stdout


def _one_total() -> Iterator[Claim]:
    worst, wrong, legs, unknown, kilograms = 0.0, [], 0, 0, 0.0
    for number in range(SHOPS):
        with tempfile.TemporaryDirectory() as place:
            found = _shop(Path(place), np.random.default_rng(number))
        totals = found["totals"]
        gap = max(abs(kg - totals[0]) for kg in totals) / max(1.0, abs(totals[0]))
        worst, legs, unknown = max(worst, gap), legs + found["legs"], unknown + found["unknown"]
        kilograms += totals[0]
        if gap > 1e-9 or found["listed"] != found["unknown"] or found["line_error"] > 1e-9:
            wrong.append(number)
    yield Claim(
        f"One total of {SHOPS} random shops: metric, report, closed month, sum of legs, each line amount x factor",
        "to 1e-9, and every leg without an answer listed",
        f"largest difference {worst:.1e}; {legs:,} legs, {unknown:,} without an answer, {kilograms:,.0f} kg; wrong: "
        + (", ".join(map(str, wrong)) or "none"),
        not wrong and unknown > 0 and kilograms > 0,
    )


def _shop(folder: Path, draw: np.random.Generator) -> dict[str, Any]:
    """Load a random shop, close its month, and give its total by four doors."""
    settings = Settings(warehouse=folder / "warehouse")
    _write(folder / "files", draw)
    if draw.random() < 0.5:
        rows = [_factor(*own) for own in OWN if draw.random() < 0.8]
        write_rows(folder / "own.csv", rows or [_factor(*OWN[0])])
        import_set(settings, folder / "own.csv", "own")
        choose(settings, "own")
    load(settings, [folder / "files"])
    asked = Question(since=MONTH[0], until=MONTH[1])
    c = STAR.tables["estimate_leg_carbon"].c.kg_co2e
    with current_build(settings.warehouse) as build:
        metric = float(metrics.answer(build, "kg_co2e", asked)["value"].iloc[0])
        sums = build.fetch(select(func.sum(c).label("kg"), func.count(c).label("answered"), func.count().label("n")))
        listed = int(analyses.missing_factors(build)["legs"].sum())
    told = report.gather(settings, *MONTH)
    lines = told.sheets["lines"]
    again = (lines["amount"] * lines["factor_value"]).fillna(0.0)
    closed = closing.close(settings, "2025-03", "A. Martin").kg_co2e
    number = int(sums["n"].iloc[0])
    return {
        "totals": [
            0.0 if math.isnan(kg) else kg for kg in (float(sums["kg"].iloc[0] or 0), metric, told.total, closed)
        ],
        "legs": number,
        "unknown": number - int(sums["answered"].iloc[0]),
        "listed": listed,
        "line_error": float((again - lines["kg_co2e"]).abs().max()),
    }


def _factor(vehicle: str, activity: str, unit: str, kg: float) -> dict[str, object]:
    return {
        "factor_id": f"own.{vehicle}.{unit.partition('/')[2]}",
        "activity": activity,
        "vehicle": vehicle,
        "unit": unit,
        "wtw": kg,
        "valid_from_year": 2024,
        "source": "random",
        "licence": "own",
    }


def _write(folder: Path, draw: np.random.Generator) -> None:
    """Write a shop of 5 to 30 returns of March 2025, each parcel with some elements."""
    orders, events, legs = [], [], []
    count = int(draw.integers(5, 31))

    def one(choices: tuple[object, ...]) -> object:
        return choices[int(draw.integers(len(choices)))]

    for n in range(count):
        units = int(draw.integers(1, 4))
        line = {"order_line_id": f"L{n}", "order_id": f"O{n}", "ordered_at": "2025-02-10T10:00:00Z", "units": units}
        line |= {"product_id": f"P{n % 7}", "net_amount": 40 * units, "currency": "EUR", "category": one(CATEGORIES)}
        orders.append(line | {"country": one(("FR", "DE", "PL", "GB", "NO")), "weight_kg": one((0.3, 1.2, None))})
        event = {"return_line_id": f"R{n}-1", "return_id": f"R{n}", "order_line_id": f"L{n}", "parcel_id": f"B{n}"}
        day = int(draw.integers(1, 20))
        for step, (name, units_of) in enumerate((("requested", units), ("received", units))):
            at = f"2025-03-{day + step:02d}T10:00:00Z"
            events.append(event | {"event_id": f"V{n}-{step}", "event": name, "occurred_at": at, "units": units_of})
        for unit in range(units):
            treated = {"event": one(("restocked", "disposed")), "units": 1, "disposition": one(TREATED)}
            at = f"2025-03-{day + 3 + unit:02d}T10:00:00Z"
            events.append(event | {"event_id": f"V{n}-t{unit}", "occurred_at": at} | treated)
        orders[-1]["ordered_at"] = "2025-04-02T10:00:00Z" if n == count - 1 else orders[-1]["ordered_at"]
        legs += _elements(n, day, one, draw)
    write_rows(folder / "order_line.csv", orders)
    write_rows(folder / "return_event.csv", events)
    write_rows(folder / "chain_element.csv", legs)
    places = [{"place_id": "RC", "kind": "returns_centre", "country": "DE"}, {"place_id": "DUMP", "kind": "landfill"}]
    write_rows(folder / "place.csv", [{"valid_from": "2024-01-01T00:00:00Z", "country": "DE", **p} for p in places])
    if draw.random() < 0.5:
        use = {"began_at": "2025-03-01T00:00:00Z", "ended_at": "2025-04-01T00:00:00Z"}
        uses = [
            {"use_id": "U1", "movement_id": "M1", "kg_co2e": 12, "shared_by": "mass", **use},
            {"use_id": "U2", "place_id": "RC", "fuel": "electricity", "activity_amount": 900, **use},
            {"use_id": "U3", "carrier": "Kurier", "fuel": "diesel", "activity_amount": 55, **use},
            {"use_id": "U4", "place_id": "RC", "refrigerant": "R-410A", "refrigerant_kg": 0.02, **use},
        ]
        uses[1]["activity_unit"], uses[2]["activity_unit"] = "kWh", "l"
        write_rows(folder / "activity_use.csv", [u for u in uses if draw.random() < 0.7] or uses[:1])


def _elements(
    n: int, day: int, pick: Callable[[tuple[object, ...]], Any], draw: np.random.Generator
) -> list[dict[str, object]]:
    """Write a parcel's elements: a trip, packaging, transports, a hub, treatments."""
    rows: list[dict[str, object]] = []

    def add(role: str, kind: str, **more: object) -> None:
        row = {"element_id": f"E{n}-{len(rows)}", "parcel_id": f"B{n}", "element_no": len(rows) + 1, "role": role}
        rows.append(row | {"element_type": kind, "started_at": f"2025-03-{day + 1:02d}T08:00:00Z"} | more)

    if draw.random() < 0.5:
        add("customer_trip", "activity", mode=pick(("car", "bus", "foot", None)), distance_km=pick((3.5, None)))
    if draw.random() < 0.5:
        add("packaging", "activity", service=pick(("box", "bag", "tote", None)), mass_kg=pick((0.2, None)))
    for _ in range(int(draw.integers(1, 4))):
        more = {
            "mode": pick(MODES),
            "vehicle": pick(VEHICLES),
            "fuel": pick(FUELS),
            "carrier": pick(("Kurier", "Post")),
        }
        more |= {"mass_kg": pick((0.8, 5.0, None)), "distance_km": pick((12.0, 400.0, None))}
        if draw.random() < 0.2:
            more |= {"kg_co2e": 0.4, "calculated_by": "Kurier"}
        if draw.random() < 0.2:
            more |= {"movement_id": "M1"}
        if draw.random() < 0.2:
            more |= {"activity_amount": 2.0, "activity_unit": pick(("l", "kWh", "kg")), "refrigerant": "R-134a"}
            more |= {"refrigerant_kg": pick((0.001, None))}
        add(str(pick(("first_mile", "trunk", "onward"))), "transport", **more)
    if draw.random() < 0.7:
        add("hub", "hub", to_place_id=pick(("RC", None)), carrier=pick(("Kurier", None)), mass_kg=pick((0.8, None)))
    for _ in range(int(draw.integers(0, 3))):
        vehicle = pick((None, None, "my_oven", "treatment_recycling", "treatment_magic"))
        add("treatment", "activity", vehicle=vehicle, mass_kg=pick((0.7, None)), to_place_id=pick(("DUMP", None)))
    return rows
