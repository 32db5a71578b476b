"""The ledger of factors.

Which factor an activity gets, sets of one's own, and what another set or vintage would give.
"""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import analyses, factors, metrics
from pipelines.errors import FactorMissing
from pipelines.factors import COLUMNS, Ledger, choose, import_set, ledger, parameter, read_set
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build

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
    published = {"hub_sorting": 0.0026506849, "hub_returns_centre": 0.016315579}
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
        ({"wtw": "0,5"}, "line 2: could not convert string to float"),
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
    """E2 and E3 go by truck_artic; 100 kg a t.km is some 1,000 times what ships."""
    row = row_of("truck_artic", "100", factor_id="mine.artic", valid_from_year="2020")
    import_set(copy_of_tiny, written(tmp_path / "mine.csv", row), "mine")
    for name, caution in (("mine", "factor"), ("desnz", "")):
        choose(copy_of_tiny, name)
        load(copy_of_tiny, rebuild=True)
        with current_build(copy_of_tiny.warehouse) as build:
            found = metrics.answer(build, "kg_co2e").iloc[0]
        assert (found["status"], found["caution"]) == ("ok", caution)
        assert ("mine.artic" in found["reason"]) == bool(caution)
