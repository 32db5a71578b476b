"""Parameters of one warehouse, beside those of data/costs.csv: by country and year, each with its source.

How far customers drive and for the return alone or not, detours of roads, what parcels and packaging weigh, what a
contract for electricity emits. They lie in the warehouse, never in the installed package.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.rates import two_sided_z, wilson
from pipelines.errors import FactorMissing
from pipelines.settings import Settings, data_path, write_whole
from pipelines.warehouse.build import writing
from pipelines.written import SHOWN, figure, is_country, is_year, read_table

COLUMNS = (
    "parameter",
    "applies_to",
    "country",
    "valid_from_year",
    "value",
    "low",
    "high",
    "source",
    "address",
    "notes",
)
OWN = {  # what may be one's own, and its least and greatest value
    "trip_distance": (0, 1000),
    "trip_share": (0, 1),
    "trip_mode": (0, 1),
    "trip_lane_limit": (0, 1000),
    "first_mile_distance": (0, 5000),
    "trunk_distance": (0, 20_000),
    "onward_distance": (0, 20_000),
    "same_area_distance": (0, 500),
    "circuity": (1, 3),
    "road_adjustment": (1, 2),
    "parcel_mass": (0, 1000),
    "packaging_mass": (0, 100),
    "packaging_uses": (1, 10_000),
    "hub_electricity": (0, 1000),
    "electricity_contract": (0, 2),
    "refrigerated": (0, 1),
    "refrigeration_uplift": (1, 3),
}
MODES = ("car", "bus", "foot", "bike")
SURVEY = ("mode", "km", "share")
SAMPLED = "90% interval of the sample"
"""What the notes of a parameter say whose bounds are the interval of a sample, and not of what may be."""

Row = Mapping[str, str]


def _path(settings: Settings) -> Path:
    return settings.warehouse / "parameters.csv"


def own_parameters(settings: Settings) -> tuple[Row, ...]:
    """Read the parameters of a warehouse; none when nobody gave any."""
    path = _path(settings)
    return tuple(_read(path)) if path.is_file() else ()


def _read(path: Path) -> list[Row]:
    """Read a file of parameters. Raises FactorMissing that names the line and what is wrong with it."""
    rows: list[Row] = []
    needed = ("parameter", "value", "source")
    for line, given in read_table(path, needed, f"Its columns are {', '.join(COLUMNS)}.", FactorMissing):
        row = {c: (given.get(c) or "").strip() for c in COLUMNS}
        row["valid_from_year"] = row["valid_from_year"] or "1900"
        if wrong := _wrong(row):
            raise FactorMissing(f"{path}, line {line}: {wrong}.")
        rows.append(row)
    _whole_modes(path, rows)
    return rows


def _wrong(row: Row) -> str:
    """Say what is wrong with a parameter; '' when nothing is."""
    name = row["parameter"]
    if name not in OWN:
        return f"parameter {name[:SHOWN] or 'empty'} is not one of {', '.join(OWN)}"
    with data_path("costs.csv").open(encoding="utf-8", newline="") as file:
        known = {r["applies_to"] for r in csv.DictReader(file) if r["parameter"] == name}
    if name == "trip_mode":
        known = set(MODES)
    if known and row["applies_to"] not in known:
        return (
            f"applies_to {row['applies_to'][:SHOWN] or 'empty'} of {name} is not one of"
            f" {', '.join(sorted(known)) or 'empty'}"
        )
    if name == "refrigerated" and not row["applies_to"].startswith(("service:", "category:")):
        return f"applies_to {row['applies_to'][:SHOWN] or 'empty'} of refrigerated is service:NAME or category:NAME"
    if not row["source"]:
        return "source is empty: say where the figure is from"
    if row["country"] and not is_country(row["country"]):
        return f"country {row['country'][:SHOWN]} is no code of two capital letters"
    if not is_year(row["valid_from_year"]):
        return f"valid_from_year {row['valid_from_year'][:SHOWN]} is no year"
    try:
        figures = {n: figure(row[n]) for n in ("value", "low", "high") if row[n]}
    except ValueError as error:
        return str(error)
    least, most = OWN[name]
    if "value" not in figures or not all(least <= f <= most for f in figures.values()):
        return f"value, low and high of {name} lie between {least:g} and {most:g}"
    if (
        figures.get("low", figures["value"]) > figures["value"]
        or figures.get("high", figures["value"]) < figures["value"]
    ):
        return "value is not between low and high"
    return ""


def _whole_modes(path: Path, rows: Sequence[Row]) -> None:
    """Raise FactorMissing for a country and year whose shares of modes are not all there, or do not add up to one."""
    of: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["parameter"] == "trip_mode":
            of.setdefault((row["country"], row["valid_from_year"]), {})[row["applies_to"]] = float(row["value"])
    for (country, year), shares in of.items():
        if set(shares) != set(MODES) or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
            where = f"{country or 'every country'} from {year}"
            raise FactorMissing(f"{path}: trip_mode of {where} needs {', '.join(MODES)}, which add up to 1.")


def import_parameters(settings: Settings, path: Path) -> int:
    """Keep a file's parameters for this warehouse; gives their number. Those of the same thing replace each other."""
    return _keep(settings, _read(path))


def _keep(settings: Settings, new: Sequence[Row]) -> int:
    def key(row: Row) -> tuple[str, ...]:
        return tuple(row[c] for c in ("parameter", "applies_to", "country", "valid_from_year"))

    with writing(settings.warehouse, settings.short_wait_s):
        rows = {key(r): r for r in (*own_parameters(settings), *new)}
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[k] for k in sorted(rows))
        write_whole(_path(settings), out.getvalue())
    return len(new)


def import_survey(settings: Settings, path: Path, year: int, country: str = "") -> list[Row]:
    """Turn a survey of customers' trips into parameters with the interval (90%) of its sample; gives them.

    One row an answer: mode (car, bus, foot, bike), km (there and back), share (of the trip due to the return, 0-1).
    """
    answers = _answers(path)
    n, level = len(answers), 0.9
    z = two_sided_z(level)
    source = f"Survey {path.name}, {n} answers"
    rows: list[Row] = []

    def add(name: str, applies_to: str, value: float, low: float, high: float) -> None:
        row = {"parameter": name, "applies_to": applies_to, "country": country, "valid_from_year": str(year)}
        figures = {"value": f"{value:.6g}", "low": f"{low:.6g}", "high": f"{high:.6g}"}
        rows.append({**row, **figures, "source": source, "address": "", "notes": SAMPLED})

    driven = [km for mode, km, _ in answers if mode == "car"] or [km for _, km, _ in answers]
    for name, told in (("trip_distance", driven), ("trip_share", [share for *_, share in answers])):
        mean = sum(told) / len(told)
        half = z * math.sqrt(sum((x - mean) ** 2 for x in told) / max(len(told) - 1, 1) / len(told))
        least, most = OWN[name]
        add(name, "", mean, max(least, mean - half), min(most, mean + half))
    counts = {mode: sum(m == mode for m, *_ in answers) for mode in MODES}
    shares = {mode: round(count / n, 6) for mode, count in counts.items()}
    shares["car"] = round(1 - sum(share for mode, share in shares.items() if mode != "car"), 6)
    for mode in MODES:
        low, high = (float(end) for end in wilson(counts[mode], n, level))
        add("trip_mode", mode, shares[mode], min(low, shares[mode]), max(high, shares[mode]))
    _keep(settings, rows)
    return rows


def _answers(path: Path) -> list[tuple[str, float, float]]:
    """Read a survey's answers. Raises FactorMissing that names the line and what is wrong with it."""
    found = []
    for line, row in read_table(path, SURVEY, f"A survey has {', '.join(SURVEY)}.", FactorMissing):
        try:
            mode, km, share = row["mode"].strip(), figure(row["km"]), figure(row["share"])
        except ValueError as error:
            raise FactorMissing(f"{path}, line {line}: {error}.") from error
        if mode not in MODES or not 0 <= km <= 1000 or not 0 <= share <= 1:
            raise FactorMissing(f"{path}, line {line}: mode is one of {', '.join(MODES)}, km 0 to 1000, share 0 to 1.")
        found.append((mode, km, share))
    if len(found) < 30:
        raise FactorMissing(f"{path} has {len(found)} answers: fewer than 30 say too little.")
    return found
