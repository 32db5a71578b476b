"""The ledger of emission factors and cost parameters.

Which there are, which one an activity of a year gets, and sets that an owner imports. A factor belongs to a set (desnz,
ademe, epa; grid and backhaul hold what is common to all) and is valid from a year. The chosen set comes first; what it
lacks comes from desnz, then ademe, and the factor's id says so. A licence-bound set (GLEC, say) is imported into the
warehouse by its owner and never leaves it. What depends on a country's electricity or habits (hubs, trips of unknown
mode) is made here from its parts. A factor that is missing is a missing answer.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path

from pipelines.errors import FactorMissing
from pipelines.own_parameters import own_parameters
from pipelines.settings import Settings, data_path, write_whole
from pipelines.warehouse.build import clear, writing
from pipelines.written import SHOWN, figure, is_year, read_table

_NAMES = (
    "factor_id factor_set activity mode vehicle fuel region unit wtt ttw wtw year valid_from_year eol_method source"
    " source_version source_address row_id licence gwp quality notes published_on ttw_ar6 biogenic"
)
COLUMNS = tuple(_NAMES.split())
ACTIVITIES = ("freight", "customer_travel", "hub", "packaging", "treatment", "electricity", "fuel", "refrigerant")
_OF = "t.km vehicle.km passenger.km parcel item t kg kWh l m3 m2.day m3.day pallet.day"
UNITS = (*(f"kgCO2e/{of}" for of in _OF.split()), "kWh/t.km", "kWh/vehicle.km", "kWh/parcel")
"""Units of factors: emissions of an activity, or the electricity that it takes (kWh in `wtw`)."""
DEFAULT = "desnz"
_COMMON = ("desnz", "ademe", "grid", "backhaul", "ipcc_ar6")  # in this order where the chosen set has nothing
_HUBS = ("hub_sorting", "hub_returns_centre", "hub_pickup_point")
_GRIDS = ("grid",)  # what is of one country alone
_ECEL_GRID = 0.081  # kg CO2e/kWh that the published hub figures were made with (ADEME ECEL 2023)
_NAME = re.compile(r"[a-z][a-z0-9_]{1,30}")

IMPLAUSIBLE = 20.0  # so many times more or less than what ships for the same vehicle is looked at twice
COOLED = "_refrigerated"
"""What the name of a vehicle that keeps goods cool ends in."""
NO_UNIT = 100.0  # so many times more or less is another unit, and refused

Row = Mapping[str, str]


@cache
def factors() -> tuple[dict[str, str], ...]:
    """Read the rows of data/factors/emission_factors.csv."""
    with data_path("factors/emission_factors.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def parameters() -> dict[tuple[str, str], dict[str, str]]:
    """Read the rows of data/costs.csv by parameter and what it applies to."""
    with data_path("costs.csv").open(encoding="utf-8", newline="") as file:
        return {(row["parameter"], row["applies_to"]): row for row in csv.DictReader(file)}


def parameter(name: str, applies_to: str = "") -> float:
    """Give one parameter of data/costs.csv; raises FactorMissing when the file has no such row.

    >>> parameter("disposal")
    0.85
    """
    row = parameters().get((name, applies_to))
    if row is None:
        what = f"{name} for {applies_to}" if applies_to else name
        raise FactorMissing(f"data/costs.csv has no row for {what}: add one with its source.")
    return float(row["value"])


def vintage(rows: Iterable[Row], year: int) -> Row:
    """Choose the factor for an activity's year among the vintages of one factor.

    The latest not after the year; for an earlier year the earliest there is, which `factor_set` labels
    vintage_substituted.

    >>> vintage([{"valid_from_year": "2023"}, {"valid_from_year": "2025"}], 2024)
    {'valid_from_year': '2023'}
    """
    known = sorted(rows, key=lambda row: int(row["valid_from_year"]))
    return ([row for row in known if int(row["valid_from_year"]) <= year] or known[:1])[-1]


def number(row: Row, name: str) -> float | None:
    """Give a factor's figure, None where the publisher gives none."""
    return float(row[name]) if row[name] else None


@dataclass(frozen=True)
class Ledger:
    """Every factor there is, and the set that comes first.

    When one is asked for, the year whose vintage is used for all years.
    """

    rows: tuple[Row, ...] = field(default_factory=factors)
    chosen: str = DEFAULT
    pinned: int | None = None
    own: tuple[Row, ...] = ()  # parameters of the warehouse

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets, common ones left out."""
        return tuple(sorted({r["factor_set"] for r in self.rows} - {"grid", "backhaul"}))

    @cached_property
    def digest(self) -> str:
        """Checksum of all that estimates depend on: rows, parameters, choice."""
        told = json.dumps(
            [
                self.chosen,
                self.pinned,
                [list(r.values()) for r in self.rows],
                [list(r.values()) for r in parameters().values()],
                [list(r.values()) for r in self.own],
            ]
        )
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str], list[Row]]:
        def key(row: Row) -> tuple[str, str, str]:
            return row["vehicle"], row["unit"], row["factor_set"]

        return {k: list(rows) for k, rows in groupby(sorted(self.rows, key=key), key)}

    @property
    def _order(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.chosen, *_COMMON)))

    def stated(self, name: str, applies_to: str = "") -> list[Row]:
        """List the warehouse's own values of a parameter, those of one country first, the latest year first."""
        rows = [r for r in self.own if (r["parameter"], r["applies_to"]) == (name, applies_to)]
        return sorted(rows, key=lambda r: (not r["country"], r["country"], -int(r["valid_from_year"])))

    def parameter(self, name: str, applies_to: str = "", year: int = 9999, country: str = "") -> float:
        """Give a parameter in a country and year: the warehouse's own, else that of data/costs.csv."""
        for row in self.stated(name, applies_to):
            if row["country"] in ("", country) and int(row["valid_from_year"]) <= year:
                return float(row["value"])
        return parameter(name, applies_to)

    def vehicles(self, unit: str) -> list[str]:
        """List what has a factor in a unit, by the ledger's order of sets, or energy that one follows from."""
        units = (unit, _energy_unit(unit))
        return sorted({v for v, u, of_set in self._by_key if u in units and of_set in self._order})

    def named(self, activity: str) -> list[str]:
        """List what has a factor of an activity."""
        return sorted({r["vehicle"] for r in self.rows if r["activity"] == activity})

    def unit_of(self, vehicle: str, units: Iterable[str]) -> str | None:
        """Give the unit that a vehicle's factor is in: of the first set that has one, the first of those named."""
        held = (
            u
            for s in self._order
            for u in units
            if {(vehicle, u, s), (vehicle, _energy_unit(u), s)} & set(self._by_key)
        )
        return next(held, None)

    def fit(self, vehicle: str, unit: str, year: int, country: str = "") -> Row | None:
        """Give the factor of a vehicle in a unit for an activity of a year; None where no set has one.

        In a country: its own where a set tells countries apart, else the set's. What runs on electricity takes its
        energy times the country's grid of the year, where both are known.
        """
        for of_set in self._order:
            if row := self._energy(vehicle, unit, of_set, year, country) or self._of(
                vehicle, unit, of_set, year, country
            ):
                return row
        return None

    def _of(self, vehicle: str, unit: str, of_set: str, year: int, country: str) -> Row | None:
        rows = self._by_key.get((vehicle, unit, of_set), [])
        if vehicle in _GRIDS or (of_set not in _shipped() and len({r["region"] for r in rows}) > 1):
            rows = [r for r in rows if r["region"] == country] or [r for r in rows if not r["region"]]
        return vintage(rows, self.pinned or year) if rows else None

    def _energy(self, vehicle: str, unit: str, of_set: str, year: int, country: str) -> Row | None:
        """Make the factor of what runs on electricity: its kWh at the country's grid, where no meter says more."""
        base = self._of(vehicle, _energy_unit(unit), of_set, year, country)
        grid = self.fit("grid", "kgCO2e/kWh", year, country) if base and country else None
        if base is None or grid is None:
            return None
        kwh, used = float(base["wtw"]), float(grid["wtw"])
        return {
            **_joined(base, grid, country),
            **self._contracted(0.0, kwh, year, country),
            "unit": unit,
            "wtt": f"{kwh * used:.10g}",
            "ttw": "0",
            "wtw": f"{kwh * used:.10g}",
            "notes": f"{kwh:g} kWh at {used:g} kg CO2e.",
        }

    def table(self, years: Iterable[int], countries: Iterable[str] = ()) -> list[Row]:
        """Give the factor of every vehicle, unit and year (column `for_year`).

        Column `country` is '' for all, and a country where its factor is another one.
        """
        found: list[Row] = []
        held = {(v, _emission_unit(u)) for v, u, _ in self._by_key}
        cooled = {(v + COOLED, u) for v, u in held if v in self._may_cool and COOLED not in v}
        keys = sorted(held | cooled | {("trip_mix", "kgCO2e/vehicle.km")})
        places = sorted(set(countries) - {""})
        for year in years:
            for vehicle, unit in keys:
                usual = self._made(vehicle, unit, year, "")
                own = {c: self._made(vehicle, unit, year, c) for c in places if self._depends(vehicle, unit)}
                rows = {"": usual, **{c: row for c, row in own.items() if row != usual}}
                found += [{**row, "country": c, "for_year": str(year)} for c, row in rows.items() if row]
        return found

    def _depends(self, vehicle: str, unit: str) -> bool:
        """Say whether a factor may differ from country to country."""
        made = (*_GRIDS, *_HUBS, "trip_mix")
        vehicle = vehicle.removesuffix(COOLED)
        own = [s for s in self._order if s not in _shipped()]
        return (
            vehicle in made
            or any((vehicle, _energy_unit(unit), s) in self._by_key for s in self._order)
            or any(len({r["region"] for r in self._by_key.get((vehicle, unit, s), [])}) > 1 for s in own)
        )

    def _made(self, vehicle: str, unit: str, year: int, country: str) -> Row | None:
        """Give a factor as it is held, or made of its parts: of a hub, of trips whose mode nobody said."""
        if vehicle == "trip_mix":
            return self._trips(year, country)
        row = self.fit(vehicle, unit, year, country)
        if row is None and vehicle.endswith(COOLED):
            return self._cooled(vehicle, unit, year, country)
        if row is not None and vehicle == "grid" and country:
            return {**row, **self._contracted(0.0, 1.0, year, country)}
        is_model = row is not None and vehicle in _HUBS and row["factor_set"] in _shipped()
        return self._hub(row, country, year) if row is not None and is_model and country else row

    @cached_property
    def _may_cool(self) -> dict[str, str]:
        """Give the mode of each vehicle of freight by road: what a cooling unit takes of fuel is known of those."""
        return {r["vehicle"]: r["mode"] for r in self.rows if r["activity"] == "freight" and r["mode"] in _COOLABLE}

    def _cooled(self, vehicle: str, unit: str, year: int, country: str) -> Row | None:
        """Make the factor of a vehicle that keeps goods cool, where no set has one: its own with the uplift."""
        base = self.fit(vehicle.removesuffix(COOLED), unit, year, country)
        mode = self._may_cool.get(vehicle.removesuffix(COOLED))
        if base is None or mode is None:
            return None
        times = self.parameter("refrigeration_uplift", mode, year, country)
        figures = {n: f"{float(base[n]) * times:.10g}" for n in _FIGURES if base.get(n)}
        return {
            **base,
            **figures,
            "factor_id": f"{base['factor_id']}.refrigerated",
            "vehicle": vehicle,
            "quality": "derived",
            "notes": f"{base['notes']} Cooling unit: {times:g} times the uncooled vehicle.".strip(),
        }

    def _hub(self, base: Row, country: str, year: int) -> Row:
        """Make the factor a parcel of a hub that ships: its heat, and its electricity at the country's intensity."""
        grid = self.fit("grid", "kgCO2e/kWh", year, country)
        if grid is None:
            return base
        usual, used = parameter("hub_electricity", base["vehicle"]), float(grid["wtw"])
        kwh = self.parameter("hub_electricity", base["vehicle"], year, country)
        heat = float(base["wtw"]) - usual * _ECEL_GRID
        return {
            **_joined(base, grid, country),
            **self._contracted(heat, kwh, year, country),
            "wtt": "",
            "ttw": "",
            "wtw": f"{heat + kwh * used:.10g}",
            "electric": f"{kwh * used:.10g}",
            "notes": f"{heat:.4g} kg of heat and {kwh:g} kWh at {used:g} kg CO2e.",
        }

    def _contracted(self, rest: float, kwh: float, year: int, country: str) -> dict[str, str]:
        """Give the factor with electricity as a contract says (`market`); nothing where there is no contract."""
        for row in self.stated("electricity_contract"):
            if row["country"] in ("", country) and int(row["valid_from_year"]) <= year:
                return {"market": f"{rest + kwh * float(row['value']):.10g}"}
        return {}

    def _trips(self, year: int, country: str) -> Row | None:
        """Make the factor a kilometre of a trip whose mode nobody said, from the shares of modes of a country."""
        told = [to.rpartition(".") for name, to in parameters() if name == "trip_mode"]
        of = country if country in {c for c, _, _ in told} else ""
        shares = {mode: parameter("trip_mode", f"{of}.{mode}".lstrip(".")) for c, _, mode in told if c == of}
        if any(r["country"] in ("", country) for r in self.own if r["parameter"] == "trip_mode"):
            shares = {mode: self.parameter("trip_mode", mode, year, country) for mode in _TRIP_MODES}
        rows = {mode: self.fit(*_TRIP_MODES[mode], year, country) for mode in shares}
        parts = [(shares[mode], row) for mode, row in rows.items() if row is not None]
        if len(parts) < len(shares) or not parts:
            return None
        base = parts[0][1]
        is_own = (
            of == country
            or any(r["country"] == country for r in self.own)
            or rows != {mode: self.fit(*_TRIP_MODES[mode], year) for mode in shares}
        )
        return {
            **base,
            "factor_id": f"trip_mix.{country if country and is_own else 'all'}.{base['factor_id'].split('.')[0]}",
            "vehicle": "trip_mix",
            "unit": "kgCO2e/vehicle.km",
            "fuel": "",
            "region": of,
            "wtt": "",
            "ttw": "",
            "wtw": f"{sum(share * float(row['wtw']) for share, row in parts):.10g}",
            "row_id": " + ".join(row["row_id"] for _, row in parts if row["row_id"]),
            "quality": "derived",
            "notes": "Mode not said: " + ", ".join(f"{share:.1%} {mode}" for mode, share in shares.items()) + ".",
        }


_COOLABLE = ("van", "truck")
_FIGURES = ("wtt", "ttw", "wtw", "ttw_ar6", "biogenic", "market")

_TRIP_MODES = {
    "car": ("car_average", "kgCO2e/vehicle.km"),
    "bus": ("bus_local", "kgCO2e/passenger.km"),
    "foot": ("foot", "kgCO2e/passenger.km"),
    "bike": ("bike", "kgCO2e/passenger.km"),
}
"""The factor of each mode that parameters give a share of trips for."""


def _energy_unit(unit: str) -> str:
    return unit.replace("kgCO2e/", "kWh/")


def _emission_unit(unit: str) -> str:
    return unit.replace("kWh/", "kgCO2e/")


def _joined(base: Row, grid: Row, country: str) -> Row:
    """Name a factor that is made of another and of a country's grid, with the sources of both."""
    return {
        **base,
        "factor_id": f"{base['factor_id']}.{country}.{grid['factor_id'].split('.')[0]}",
        "region": country,
        "year": grid["year"],
        "valid_from_year": grid["valid_from_year"],
        "source": f"{base['source']}; electricity: {grid['source']}",
        "source_address": base["source_address"],
        "licence": f"{base['licence']}; {grid['licence']}",
        "row_id": f"{base['row_id']} + {grid['factor_id']}",
        "quality": "derived",
    }


@cache
def _shipped() -> frozenset[str]:
    """Name the sets that ship."""
    return frozenset(r["factor_set"] for r in factors())


# -- the sets of one warehouse -----------------------------------------------------------------------------------------


def _folder(settings: Settings) -> Path:
    return settings.warehouse / "factors"


def ledger(settings: Settings) -> Ledger:
    """Read what ships and what the warehouse's owner imported, with the owner's choice."""
    rows: list[Row] = list(factors())
    folder = _folder(settings)
    for path in sorted(folder.glob("*.csv")):
        rows += read_set(path, path.stem)
    return Ledger(tuple(rows), *_choice(folder / "choice.json"), own_parameters(settings))


def _choice(path: Path) -> tuple[str, int | None]:
    """Read which set comes first, and the year it is pinned to.

    Raises FactorMissing for a file that does not say so.
    """
    if not path.exists():
        return DEFAULT, None
    try:
        chosen = json.loads(path.read_text(encoding="utf-8"))
        name, pinned = chosen["factor_set"], chosen["pinned"]
        if isinstance(name, str) and (pinned is None or isinstance(pinned, int)):
            return name, pinned
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise FactorMissing(
        f"{path} is damaged: it does not say which factors come first. `backhaul factors use NAME` writes it anew."
    )


def read_set(path: Path, name: str) -> list[Row]:
    """Read a set's file: the columns of data/factors/emission_factors.csv, `factor_set` filled with the name.

    Raises FactorMissing that names the line and what is wrong with it.
    """
    needed = ("factor_id", "activity", "vehicle", "unit", "wtw", "valid_from_year", "source", "licence")
    hint = "A set has the columns of data/factors/emission_factors.csv."
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for line, given in read_table(path, needed, hint, FactorMissing):
        row = {c: (given.get(c) or "").strip() for c in COLUMNS} | {"factor_set": name}
        row["year"] = row["year"] or row["valid_from_year"]
        row["quality"] = row["quality"] or "verified"
        wrong = _wrong(row)
        if row["factor_id"] in seen:
            wrong = f"factor_id {row['factor_id'][:SHOWN]} stands in line {seen[row['factor_id']]} already"
        if wrong:
            raise FactorMissing(f"{path}, line {line}: {wrong}.")
        seen[row["factor_id"]] = line
        rows.append(row)
    if not rows:
        raise FactorMissing(
            f"{path} holds no factor. A set has one row a factor, under the header of"
            " data/factors/emission_factors.csv."
        )
    return rows


def _wrong(row: Row) -> str:
    for name in ("factor_id", "vehicle", "source", "licence"):
        if not row[name]:
            return f"{name} is empty"
    if row["unit"] not in UNITS:
        return f"unit {row['unit'][:SHOWN] or 'empty'} is not one of {', '.join(UNITS)}; convert the figure"
    if row["activity"] not in ACTIVITIES:
        return f"activity {row['activity'][:SHOWN] or 'empty'} is not one of {', '.join(ACTIVITIES)}"
    if wrong := [n for n in ("valid_from_year", "year") if not is_year(row[n])]:
        return f"{wrong[0]} {row[wrong[0]][:SHOWN] or 'empty'} is no year"
    try:
        wtt, ttw, wtw, newer, _ = (
            figure(row[n]) if row[n] else None for n in ("wtt", "ttw", "wtw", "ttw_ar6", "biogenic")
        )
    except ValueError as error:
        return str(error)
    if wtw is None or min(wtw, wtt or 0, ttw or 0, newer or 0) < 0:
        return "wtw (well to wheel) is empty, or a figure is negative"
    if wtt is not None and ttw is not None and abs(wtt + ttw - wtw) > 1e-6 * max(1, wtw):
        return f"wtt {wtt:g} and ttw {ttw:g} do not add up to wtw {wtw:g}"
    return ""


def import_set(settings: Settings, path: Path, name: str) -> int:
    """Keep a set for this warehouse, read and checked first; gives the number of its factors.

    A set imported again replaces itself.
    """
    if not _NAME.fullmatch(name) or name in {r["factor_set"] for r in factors()}:
        raise FactorMissing(
            f"{name!r} cannot name an imported set: take small letters, digits and _, and no set that ships."
        )
    rows = read_set(path, name)
    for row in rows:
        if (said := _far(row)) and said[0] >= NO_UNIT:
            raise FactorMissing(f"{path}: {said[1]} Nothing was imported: convert the figure.")
    folder = _folder(settings)
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with writing(settings.warehouse, settings.short_wait_s):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{name}.csv", out.getvalue())
    return len(rows)


def implausible(rows: Iterable[Row]) -> dict[str, str]:
    """Give the factors that are far from those that ship for the same vehicle and unit, each with a sentence.

    A vehicle that nothing ships for is held against the others of its activity and mode. A factor of 0 is a claim, no
    slip of a unit.

    >>> freight = {"vehicle": "truck_average", "activity": "freight", "mode": "truck", "unit": "kgCO2e/t.km"}
    >>> implausible([{"factor_id": "x", **freight, "wtw": "0.1"}])
    {}
    """
    return {row["factor_id"]: said[1] for row in rows if (said := _far(row))}


def strangers(rows: Iterable[Row]) -> list[str]:
    """List vehicles of an imported set that no factor that ships is for: only legs that name them take them."""
    known = {r["vehicle"] for r in factors()}
    return sorted({r["vehicle"] for r in rows} - known)


@cache
def _of_unit(unit: str) -> list[Row]:
    return [r for r in factors() if r["unit"] == unit and float(r["wtw"] or 0) > 0]


def _far(row: Row) -> tuple[float, str] | None:
    """Say how many times a factor is those that ship for the same, and in words; None where it is near them."""
    of_unit = _of_unit(row["unit"])
    same = [r for r in of_unit if r["vehicle"] == row["vehicle"]]
    like = "the same vehicle" if same else f"other vehicles of {row['activity']} by {row['mode'] or 'any mode'}"
    same = same or [r for r in of_unit if (r["activity"], r["mode"]) == (row["activity"], row["mode"] or r["mode"])]
    figures, own = [float(r["wtw"]) for r in same], float(row["wtw"])
    if not figures or own <= 0 or min(figures) / IMPLAUSIBLE <= own <= max(figures) * IMPLAUSIBLE:
        return None
    near = max(figures) if own > max(figures) else min(figures)
    times = own / near if own > near else near / own
    unit = "grams" if own > near else "tonnes"
    return times, (
        f"{row['factor_id']}: {own:g} {row['unit']} is {times:,.0f} times {'' if own > near else 'less than '}the"
        f" factor that ships for {like} ({near:g})"
        + (f": {unit} taken for kilograms?" if 100 <= times <= 10_000 else ": look at its unit.")
    )


def choose(settings: Settings, name: str, pinned: int | None = None) -> None:
    """Make a set come first, from the next build on. Raises FactorMissing for a set there is not."""
    folder = _folder(settings)
    known = Ledger((*factors(), *(r for path in sorted(folder.glob("*.csv")) for r in read_set(path, path.stem)))).sets
    if name not in known:
        raise FactorMissing(
            f"There is no set {name!r}. There are {', '.join(known)}; import another with `backhaul factors import`."
        )
    with writing(settings.warehouse, settings.short_wait_s):
        if (folder / "choice.json").is_dir():
            clear(folder / "choice.json")
        write_whole(folder / "choice.json", json.dumps({"factor_set": name, "pinned": pinned}) + "\n")


# -- what waste goods are, and how old factors are ---------------------------------------------------------------------

MONTHS_BEHIND = 18
MONTHS_SOURCE = "Regulation (EU) 2026/1030, article not verified"
"""Updated intensity values are to be used within so many months of their publication.

Read in a summary of the Council's position (legiseye.com, 52026AG0002(02)); no copy of the article could be read.
"""


@cache
def waste_materials() -> tuple[dict[str, str], ...]:
    """Read data/materials.csv: the materials of waste factors with their HS chapters and words, first match first.

    Chapters and words are alternatives of a pattern (RE2, lower case); words are found whole.
    """
    with data_path("materials.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def waste_material(category_words: str, hs_chapter: str = "") -> str:
    """Name the material of the waste factors for goods: by their HS chapter, else the words of their category.

    "" is mixed goods.

    >>> waste_material("Men > Trousers"), waste_material("Home: desk lamps"), waste_material("", "94")
    ('clothing', 'electronics', 'wood')
    """
    rows, chapter, words = waste_materials(), hs_chapter.strip()[:2], category_words.lower().replace("_", " ")
    by_chapter = [r["material"] for r in rows if chapter and chapter in r["hs_chapters"].split("|")]
    by_words = (r["material"] for r in rows if re.search(rf"\b({r['words']})\b", words))
    return by_chapter[0] if by_chapter else next(by_words, "")


def treatment_vehicle(kind: str, material: str, known: Ledger, year: int) -> str:
    """Name the factor of a treatment for a material, else of mixed goods.

    The chosen set comes first with either, for sets count different things; then what has the material.

    >>> treatment_vehicle("treatment_landfill", "electronics", Ledger(), 2025)
    'treatment_landfill.electronics'
    """
    names = (f"{kind}.{material}", kind) if material else (kind,)
    found = [row for row in (known.fit(name, "kgCO2e/t", year) for name in names) if row]
    return next((r["vehicle"] for r in (*(r for r in found if r["factor_set"] == known.chosen), *found)), kind)


def ages(rows: Iterable[Row], today: date) -> dict[str, int]:
    """Give the months since publication by factor id: of the newest row of its kind, for old vintages serve old years.

    A kind is a set, vehicle, unit and region. A row without a month of publication counts from its first January.
    """

    def kind(row: Row) -> tuple[str, ...]:
        return row["factor_set"], row["vehicle"], row["unit"], row["region"]

    def months(row: Row) -> int:
        said = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", row.get("published_on", ""))
        return int(said[1]) * 12 + int(said[2]) if said else int(row["valid_from_year"]) * 12 + 1

    rows, newest = list(rows), dict[tuple[str, ...], int]()
    for row in rows:
        newest[kind(row)] = max(newest.get(kind(row), 0), months(row))
    now = today.year * 12 + today.month
    return {row["factor_id"]: max(0, now - newest[kind(row)]) for row in rows}
