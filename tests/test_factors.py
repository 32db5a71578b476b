"""The ledger of factors.

Which factor an activity gets, sets of one's own, and what another set or vintage would give.
"""

import csv
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pipelines import analyses, factors, metrics
from pipelines.errors import FactorMissing
from pipelines.factors import COLUMNS, Ledger, choose, import_set, ledger, parameter, read_set
from pipelines.load import load
from pipelines.settings import Settings, data_path
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build

pytestmark = pytest.mark.usefixtures("nothing_fitted")

ROW = dict.fromkeys(COLUMNS, "") | {
    "factor_id": "glec.van",
    "activity": "freight",
    "vehicle": "van_diesel",
    "unit": "kgCO2e/t.km",
    "wtt": "0.1",
    "ttw": "0.4",
    "wtw": "0.5",
    "valid_from_year": "2024",
    "source": "GLEC",
    "licence": "own copy",
}


def written(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_chosen_set_comes_first_and_lacks_are_filled() -> None:
    """ADEME has a lorry of its own and no diesel van a kilometre: that one is DESNZ's, and its id says so."""
    ademe = Ledger(chosen="ademe")
    lorry, van = (
        ademe.fit(v, u, 2025) for v, u in (("truck_artic", "kgCO2e/t.km"), ("van_diesel", "kgCO2e/vehicle.km"))
    )
    assert lorry
    assert van
    assert (lorry["factor_id"], van["factor_id"]) == (
        "ademe2012.truck_artic.tonne_km",
        "desnz2025.van_diesel.vehicle_km",
    )
    assert Ledger().fit("truck_hydrogen", "kgCO2e/t.km", 2025) is None


def test_a_pinned_vintage_holds_for_every_year() -> None:
    found = Ledger(pinned=2023).fit("van_diesel", "kgCO2e/t.km", 2025)
    assert found
    assert found["factor_id"] == "desnz2023.van_diesel.tonne_km"


def test_a_hub_is_heat_and_electricity_of_its_country() -> None:
    """ADEME ECEL's own 81 g a kWh gives the published figure back; Germany's grid more than France's."""
    published = {"hub_sorting": 0.0026506849, "hub_returns_centre": 0.0106027397}
    rows = {
        (r["vehicle"], r["country"]): float(r["wtw"])
        for r in Ledger().table([2025], ["FR", "DE"])
        if r["vehicle"] in published
    }
    grid = {c: Ledger().fit("grid", "kgCO2e/kWh", 2025, c) for c in ("FR", "DE")}
    for hub, kg in published.items():
        assert rows[hub, ""] == pytest.approx(kg)
        for country, row in grid.items():
            assert row
            assert rows[hub, country] == pytest.approx(
                kg + parameter("hub_electricity", hub) * (float(row["wtw"]) - 0.081)
            )
        assert rows[hub, "DE"] > rows[hub, "FR"]


def test_a_trip_of_unknown_mode_is_the_mean_of_modes() -> None:
    shares = {m: parameter("trip_mode", m) for m in ("car", "bus", "foot", "bike")}
    assert sum(shares.values()) == pytest.approx(1)
    [mix] = [r for r in Ledger().table([2025]) if r["vehicle"] == "trip_mix"]
    assert float(mix["wtw"]) == pytest.approx(shares["car"] * 0.21124 + shares["bus"] * 0.13034)


def test_every_figure_says_where_it_is_from() -> None:
    for row in Ledger().rows:
        assert row["source"], row["factor_id"]
        assert row["source_address"] or row["factor_set"] == "backhaul", row["factor_id"]


def by_activity(*activities: str) -> list[factors.Row]:
    return [row for row in Ledger().rows if row["activity"] in activities]


def test_supply_and_operation_of_fuels_and_refrigerants_add_up() -> None:
    """Two publishers give one figure for both; whoever splits it splits all of it, and no figure is negative."""
    rows = by_activity("fuel", "refrigerant")
    split = [(float(r["wtt"]), float(r["ttw"]), float(r["wtw"])) for r in rows if r["wtt"] and r["ttw"]]
    assert {r["factor_set"] for r in rows if not (r["wtt"] and r["ttw"])} == {"ademe"}
    for wtt, ttw, wtw in split:
        assert wtt + ttw == pytest.approx(wtw, abs=1e-9)
        assert min(wtt, ttw) >= 0
    assert all(r["unit"] in factors.UNITS and r["activity"] in factors.ACTIVITIES for r in rows)


def test_a_litre_of_diesel_of_every_year() -> None:
    """Combustion near 2.6 kg, supply near 0.6; the biofuel in it is told apart and small."""
    rows = {r["year"]: r for r in by_activity("fuel") if (r["factor_set"], r["vehicle"]) == ("desnz", "fuel_diesel")}
    assert sorted(rows) == ["2023", "2024", "2025", "2026"]
    for row in rows.values():
        assert 2.9 < float(row["wtw"]) < 3.3
        assert 0.1 < float(row["biogenic"]) < 0.2
    found = Ledger().fit("fuel_diesel", "kgCO2e/l", 2026)
    assert found
    assert found["factor_id"] == "desnz2026.fuel_diesel.l"


def test_biogenic_carbon_stands_on_fuels_alone() -> None:
    """A litre of HVO gives off 2.43 kg of biogenic CO2, which no total holds."""
    assert {r["activity"] for r in Ledger().rows if r["biogenic"]} == {"fuel"}
    hvo = Ledger().fit("fuel_hvo", "kgCO2e/l", 2025)
    assert hvo
    assert (hvo["biogenic"], hvo["wtw"]) == ("2.43", "0.59997")


@pytest.mark.parametrize("of_set", ["desnz", "ipcc_ar6"])
def test_a_blend_of_refrigerants_is_the_mean_of_its_parts(of_set: str) -> None:
    """R-410A and R-507A are halves of R-32, HFC-125 and HFC-143a; R-404A and R-407C are made of the same."""
    of = {r["vehicle"]: float(r["wtw"]) for r in by_activity("refrigerant") if r["factor_set"] == of_set}
    r32, r134a = of["refrigerant_r32"], of["refrigerant_r134a"]
    hfc_125 = 2 * of["refrigerant_r410a"] - r32
    hfc_143a = 2 * of["refrigerant_r507a"] - hfc_125
    # DESNZ rounds to the kilogram
    assert of["refrigerant_r404a"] == pytest.approx(0.44 * hfc_125 + 0.52 * hfc_143a + 0.04 * r134a, abs=1)
    assert of["refrigerant_r407c"] == pytest.approx(0.23 * r32 + 0.25 * hfc_125 + 0.52 * r134a, abs=1)
    assert of["refrigerant_r407f"] == pytest.approx(0.30 * r32 + 0.30 * hfc_125 + 0.40 * r134a, abs=1)


def test_an_imported_set_stays_in_the_warehouse(settings: Settings, tmp_path: Path) -> None:
    assert import_set(settings, written(tmp_path / "glec.csv", ROW), "glec") == 1
    choose(settings, "glec")
    found = ledger(settings).fit("van_diesel", "kgCO2e/t.km", 2025)
    assert found
    assert (found["factor_id"], found["factor_set"]) == ("glec.van", "glec")
    assert "glec" not in Ledger().sets
    assert ledger(settings).digest != Ledger().digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "kgCO2e/short_ton.mile"}, "line 2: unit kgCO2e/short_ton.mile is not one of .* convert the figure"),
        ({"wtw": "0.6"}, "line 2: wtt 0.1 and ttw 0.4 do not add up to wtw 0.6"),
        ({"wtw": "", "wtt": "", "ttw": ""}, r"line 2: wtw \(well to wheel\) is empty"),
        ({"wtw": "0,5"}, "is no plain decimal number"),
        ({"licence": ""}, "line 2: licence is empty"),
        ({"valid_from_year": "soon"}, "line 2: valid_from_year soon is no year"),
        ({"activity": "magic"}, "line 2: activity magic is not one of"),
    ],
)
def test_a_wrong_set_is_refused_by_line(tmp_path: Path, change: dict[str, str], said: str) -> None:
    with pytest.raises(FactorMissing, match=said):
        read_set(written(tmp_path / "x.csv", ROW | change), "x")


def test_a_set_needs_a_name_rows_and_columns(settings: Settings, tmp_path: Path) -> None:
    good = written(tmp_path / "good.csv", ROW)
    with pytest.raises(FactorMissing, match="cannot name an imported set"):
        import_set(settings, good, "desnz")
    with pytest.raises(FactorMissing, match="stands in line 2 already"):
        read_set(written(tmp_path / "twice.csv", ROW, ROW), "x")
    with pytest.raises(FactorMissing, match="lacks the columns licence"):
        read_set(written(tmp_path / "short.csv", {k: v for k, v in ROW.items() if k != "licence"}), "x")
    (tmp_path / "empty.csv").write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(FactorMissing, match="holds no factor"):
        read_set(tmp_path / "empty.csv", "x")
    with pytest.raises(FactorMissing, match=r"There is no set 'glec'\. There are ademe, desnz, epa"):
        choose(settings, "glec")


def test_the_same_ledger_changes_nothing_and_another_is_proportional(tiny_build: Build) -> None:
    """The factor's part of a change: kilograms times the ratio of the factors."""
    now = Ledger()
    assert analyses.factor_effect(tiny_build, now, now)["difference"].abs().max() == 0
    found = analyses.factor_effect(tiny_build, now, replace(now, chosen="ademe"))
    lorry = found[found["vehicle"] == "truck_artic"].iloc[0]
    assert lorry["other_kg_co2e"] == pytest.approx(lorry["kg_co2e"] * 0.18012 / 0.09623)
    assert found["kg_co2e"].sum() == pytest.approx(metrics.answer(tiny_build, "kg_co2e")["value"].iloc[0])


def test_choosing_a_set_estimates_everything_anew(copy_of_tiny: Settings) -> None:
    """What `compare` said is what the new build holds; the facts stay."""
    with current_build(copy_of_tiny.warehouse) as build:
        before = build.label
        said = analyses.factor_effect(build, Ledger(), Ledger(chosen="ademe"))["other_kg_co2e"].sum()
    choose(copy_of_tiny, "ademe")
    assert load(copy_of_tiny, rebuild=True).kind == "full"
    with current_build(copy_of_tiny.warehouse) as build:
        assert build.label != before
        assert metrics.answer(build, "kg_co2e")["value"].iloc[0] == pytest.approx(said)
    assert not load(copy_of_tiny).is_new_build


def test_missing_factors_are_listed(tiny_build: Build) -> None:
    assert analyses.missing_factors(tiny_build).empty
    assert factors.parameters()["parcel_mass", ""]["unit"] == "kg/parcel"


def row_of(vehicle: str, wtw: str, **more: str) -> dict[str, str]:
    return (
        ROW | {"vehicle": vehicle, "wtt": "", "ttw": "", "wtw": wtw, "mode": "", "factor_id": f"mine.{vehicle}"} | more
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        # what ships for truck_average a t.km lies between 0.1 and 0.2
        (row_of("truck_average", "125.22"), "times the factor that ships for the same vehicle"),
        (row_of("truck_average", "0.0001"), "times less than the factor that ships for the same vehicle"),
        (row_of("truck_hydrogen", "90", mode="truck"), "for other vehicles of freight by truck"),
        (row_of("truck_average", "0.9"), None),
        (row_of("truck_average", "0"), None),
        (row_of("truck_hydrogen", "0.05", mode="truck"), None),
    ],
)
def test_a_factor_far_from_those_that_ship_is_looked_at_twice(row: dict[str, str], said: str | None) -> None:
    found = list(factors.implausible([row]).values())
    assert len(found) == (said is not None)
    assert all(said in sentence for sentence in found if said)


def test_no_factor_that_ships_is_far_from_the_others() -> None:
    assert factors.implausible(factors.factors()) == {}


def test_emissions_carry_a_caution_while_such_a_factor_is_used(copy_of_tiny: Settings, tmp_path: Path) -> None:
    """E2 and E3 go by truck_artic; 5 kg a t.km is some 30 times what ships."""
    row = row_of("truck_artic", "5", factor_id="mine.artic", valid_from_year="2020")
    import_set(copy_of_tiny, written(tmp_path / "mine.csv", row), "mine")
    for name, caution in (("mine", "factor"), ("desnz", "")):
        choose(copy_of_tiny, name)
        load(copy_of_tiny, rebuild=True)
        with current_build(copy_of_tiny.warehouse) as build:
            found = metrics.answer(build, "kg_co2e").iloc[0]
        assert (found["status"], found["caution"]) == ("ok", caution)
        assert ("mine.artic" in found["reason"]) == bool(caution)


SHIPPED = {row["factor_id"]: row for row in factors.factors()}
MATERIALS = ("clothing", "electronics", "wood", "board", "paper", "film", "plastics", "metal")


def wtw(factor_id: str) -> float:
    return float(SHIPPED[factor_id]["wtw"])


def test_a_factor_is_valid_from_its_own_year() -> None:
    """Year, first year of validity, id, version of the source and month of publication agree."""
    for factor_id, row in SHIPPED.items():
        said = re.match(r"[a-z]+(\d{4})\.", factor_id)
        years = {row["year"], row["valid_from_year"], *([said[1]] if said else [])}
        if row["factor_set"] in ("desnz", "epa"):
            years.add(row["source_version"][:4])
        assert years == {row["year"]}, factor_id
        assert not row["published_on"] or re.fullmatch(r"20\d\d-[01]\d", row["published_on"]), factor_id
        assert not row["published_on"] or row["published_on"][:4] >= row["year"], factor_id


def test_the_default_ledger_takes_no_figure_that_nobody_verified() -> None:
    used = Ledger().table(range(2022, 2028))
    assert {row["quality"] for row in used} <= {"verified", "derived", "assumed"}
    assert {row["factor_set"] for row in used} <= {"desnz", "ademe", "grid", "backhaul", "ipcc_ar6"}


def test_the_car_of_ademe_is_a_vehicle_not_a_passenger() -> None:
    """Published a passenger-km at 1.6 occupants; a vehicle lies near the cars of the other sets."""
    car = "car_average.vehicle_km"
    assert wtw(f"ademe2025.{car}") == pytest.approx(0.1105577600556303 * 1.6)
    assert wtw(f"ademe2025.{car}") == pytest.approx(wtw(f"desnz2025.{car}"), rel=0.25)


def test_a_returns_centre_counts_no_platform_of_the_chain() -> None:
    """ECEL publishes storage and two platforms with their buildings: what is left of it is storage."""
    buildings = 12.51552451 / 50 / 365 * (20 * 0.02 + 2 * 0.1)
    published = wtw("ademe2023.hub_returns_centre") + 2 * wtw("ademe2023.hub_sorting") + buildings
    assert published == pytest.approx(0.016315579, abs=1e-8)
    assert parameter("hub_electricity", "hub_returns_centre") == pytest.approx(20 * 0.02 * 0.12)


@pytest.mark.parametrize("year", [2023, 2024, 2025])
@pytest.mark.parametrize(
    ("vehicle", "of"), [("van_electric", "vehicle"), ("van_electric", "tonne"), ("car_electric", "vehicle")]
)
def test_an_electric_vehicle_is_its_kwh_on_the_grid_of_the_same_set(vehicle: str, of: str, year: int) -> None:
    """Losses are counted once: the publisher's rows of freight and travel hold them already."""
    on_grid = wtw(f"desnz{year}.{vehicle}.kwh_{of}_km") * wtw(f"desnz{year}.grid.GB")
    assert wtw(f"desnz{year}.{vehicle}.{of}_km") == pytest.approx(on_grid, rel=0.03)


@pytest.mark.parametrize(
    ("vehicle", "unit"),
    [
        *(
            (f"van_{fuel}", f"kgCO2e/{of}")
            for fuel in ("petrol", "cng", "lpg", "hybrid")
            for of in ("t.km", "vehicle.km")
        ),
        *((f"car_{fuel}", "kgCO2e/vehicle.km") for fuel in ("petrol", "diesel", "hybrid", "cng", "lpg", "electric")),
        *((f"sea_{kind}", "kgCO2e/t.km") for kind in ("container", "roro", "ropax", "general")),
        *((v, u) for v in ("van_electric", "truck_electric") for u in ("kWh/t.km", "kWh/vehicle.km")),
        ("cargo_bike", "kWh/vehicle.km"),
        ("truck_average_refrigerated", "kgCO2e/t.km"),
        ("packaging_paper", "kgCO2e/t"),
        ("hub_pickup_point", "kgCO2e/parcel"),
    ],
)
def test_a_published_factor_is_there(vehicle: str, unit: str) -> None:
    row = Ledger().fit(vehicle, unit, 2026)
    assert row
    assert row["source"]


@pytest.mark.parametrize("material", MATERIALS)
def test_waste_has_factors_by_material_and_treatment(material: str) -> None:
    """In every vintage; board rots and electronics do not, whatever clothing does."""
    for year in (2023, 2024, 2025, 2026):
        for kind in ("treatment_recycling", "treatment_energy_recovery", "treatment_landfill"):
            row = Ledger().fit(f"{kind}.{material}", "kgCO2e/t", year)
            assert row
            assert row["year"] == str(year)
    assert wtw("desnz2025.treatment_landfill.electronics") == 8.98311
    assert wtw("desnz2025.treatment_landfill.clothing") == 496.78228
    assert wtw("desnz2025.treatment_landfill") == 520.5327


@pytest.mark.parametrize(
    ("words", "chapter", "material"),
    [
        ("Women > Dresses", "", "clothing"),
        ("Chaussures", "", "clothing"),
        ("smart_phones", "", "electronics"),
        ("Phone cases", "39", "plastics"),  # the chapter comes first
        ("Canapés", "", "wood"),
        ("Board games", "95", "plastics"),
        ("Laptops", "8471", "electronics"),
        ("Dressing", "", ""),  # whole words only
        ("", "", ""),
        ("Gift card", "99", ""),
    ],
)
def test_goods_are_a_material(words: str, chapter: str, material: str) -> None:
    assert factors.waste_material(words, chapter) == material


def test_a_treatment_stays_within_the_chosen_set() -> None:
    """ADEME counts the stack and has no clothing: its mixed waste, not the transport alone that DESNZ counts."""
    names = {
        chosen: factors.treatment_vehicle("treatment_energy_recovery", "clothing", Ledger(chosen=chosen), 2025)
        for chosen in ("desnz", "ademe")
    }
    assert names == {"desnz": "treatment_energy_recovery.clothing", "ademe": "treatment_energy_recovery"}
    assert factors.treatment_vehicle("treatment_reuse", "electronics", Ledger(), 2025) == "treatment_reuse"


def test_every_material_of_waste_is_known() -> None:
    assert tuple(sorted(row["material"] for row in factors.waste_materials())) == tuple(sorted(MATERIALS))


def test_a_factor_is_as_old_as_the_newest_of_its_kind() -> None:
    """DESNZ of June 2026 in November; EPA of January 2025; a set without months counts from January of its year."""
    own = [row_of("van_diesel", "0.5", factor_set="mine", published_on="soon")]  # valid from 2024
    found = factors.ages([*factors.factors(), *own], date(2026, 11, 29))
    assert found["desnz2023.van_diesel.tonne_km"] == found["desnz2026.van_diesel.tonne_km"] == 5
    assert found["epa2025.rail_freight.tonne_km"] == 22 > factors.MONTHS_BEHIND
    assert found["mine.van_diesel"] == 34
    assert found["owid2023.grid.DE"] == 7


EU = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE"


@pytest.mark.parametrize("country", [*EU.split(), "GB", "US", "CH", "NO"])
def test_a_grid_is_of_2025(country: str) -> None:
    row = Ledger().fit("grid", "kgCO2e/kWh", 2026, country)
    assert row
    assert int(row["year"]) >= 2025


@pytest.mark.parametrize("name", ["glec", "uba", "co2emissiefactoren", "mobitool"])
def test_a_template_is_imported_once_it_is_filled(tmp_path: Path, name: str) -> None:
    path = data_path(f"factors/{name}_template.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert not any(row[c] for row in rows for c in ("wtt", "ttw", "wtw"))
    with pytest.raises(FactorMissing, match="line 2: valid_from_year empty is no year"):
        read_set(path, name)
    filled = [row | {"wtw": "0.5", "valid_from_year": "2025"} for row in rows]
    assert len(read_set(written(tmp_path / f"{name}.csv", *filled), name)) == len(rows)
    known = {r["vehicle"] for r in factors.factors()}
    assert {r["vehicle"] for r in rows} <= known  # nobody has to name them on their legs


def test_what_was_looked_up_says_where_when_under_which_terms_and_what_came_of_it() -> None:
    with data_path("factors/looked_up.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"DE", "NL", "CH"} <= {row["country"] for row in rows}
    for row in rows:
        assert row["address"].startswith("https://"), row["what"]
        assert row["year"].isdigit(), row["what"]
        assert row["licence"], row["what"]
        assert row["outcome"].startswith(("shipped as", "not shipped", "lorries and reefer ships")), row["what"]
        for named in re.findall(r"data/(factors/\w+\.csv)", row["outcome"]):
            assert data_path(named).is_file()


def test_a_locker_takes_its_electricity_from_the_grid_of_its_country() -> None:
    """A lower bound of 0.02 kWh a parcel; where no country is known, at the grid it was measured on."""
    grid = Ledger().fit("grid", "kgCO2e/kWh", 2025, "FR")
    found = Ledger().fit("hub_locker", "kgCO2e/parcel", 2025, "FR")
    assert grid
    assert found
    assert float(found["wtw"]) == pytest.approx(680 * 0.79 / (589.5e6 / 21_969) * float(grid["wtw"]), rel=1e-3)
    usual = Ledger().fit("hub_locker", "kgCO2e/parcel", 2025)
    assert usual
    assert usual["factor_id"] == "backhaul2023.hub_locker.parcel"


def test_a_factor_in_another_unit_is_refused(settings: Settings, tmp_path: Path) -> None:
    """Grams for kilograms: 125.22 under kg a tonne-kilometre."""
    with pytest.raises(FactorMissing, match=r"grams taken for kilograms\? Nothing was imported"):
        import_set(settings, written(tmp_path / "mine.csv", row_of("truck_average", "125.22")), "mine")
    below = written(tmp_path / "below.csv", ROW | {"wtt": "-0.1", "ttw": "0.6"})
    with pytest.raises(FactorMissing, match="a figure is negative"):
        import_set(settings, below, "mine")


def test_an_own_hub_is_used_as_it_is_given(settings: Settings, tmp_path: Path) -> None:
    """No electricity is taken off it or put on it, in any country."""
    row = row_of("hub_returns_centre", "0.001", activity="hub", unit="kgCO2e/parcel", factor_id="mine.hub")
    import_set(settings, written(tmp_path / "mine.csv", row), "mine")
    choose(settings, "mine")
    found = {r["country"]: r for r in ledger(settings).table([2025], ["NO", "PL"]) if r["vehicle"] == row["vehicle"]}
    assert {c: (r["factor_id"], r["wtw"]) for c, r in found.items()} == {"": ("mine.hub", "0.001")}


def test_own_factors_of_countries_hold_there(settings: Settings, tmp_path: Path) -> None:
    """Two regions: each in its country, and what ships elsewhere."""
    rows = [row_of("van_diesel", w, factor_id=f"mine.{r}", region=r) for r, w in (("FR", "0.5"), ("DE", "0.6"))]
    import_set(settings, written(tmp_path / "mine.csv", *rows), "mine")
    choose(settings, "mine")
    known = ledger(settings)
    found = {c: known.fit("van_diesel", "kgCO2e/t.km", 2025, c) for c in ("FR", "DE", "ES", "")}
    assert {c: r["factor_id"] for c, r in found.items() if r} == {
        "FR": "mine.FR",
        "DE": "mine.DE",
        "ES": "desnz2025.van_diesel.tonne_km",
        "": "desnz2025.van_diesel.tonne_km",
    }


def test_a_vehicle_that_nothing_ships_for_is_said() -> None:
    assert factors.strangers([row_of("van_diesel", "0.5"), row_of("my_drone", "0.2")]) == ["my_drone"]


def test_levers_and_dispositions_compare_with_the_chosen_set(copy_of_tiny: Settings, tmp_path: Path) -> None:
    """A train of 0.02 kg a t.km and recycling of 33 kg a tonne, of a set of one's own."""
    rows = [
        row_of("rail_freight", "0.02", factor_id="mine.rail", mode="rail"),
        row_of("treatment_recycling", "33", factor_id="mine.recycling", activity="treatment", unit="kgCO2e/t"),
    ]
    import_set(copy_of_tiny, written(tmp_path / "mine.csv", *rows), "mine")
    choose(copy_of_tiny, "mine")
    load(copy_of_tiny, rebuild=True)
    with current_build(copy_of_tiny.warehouse) as build:
        found = [analyses.factor_of(build, r["vehicle"], r["unit"]) for r in rows]
    assert found == [0.02, 33]
