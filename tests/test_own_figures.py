"""Figures of one's own: a round shared by its drops, a carrier's statement, figures beside the model, negative ones."""

import json
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select

from models.uncertainty import Sampled, Shares
from pipelines import analyses, metrics
from pipelines.errors import FactorMissing
from pipelines.load import load
from pipelines.metrics.finish.doubt import spreads
from pipelines.outputs import closing, ileap, report
from pipelines.own_parameters import import_parameters, import_survey
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.star import STAR
from tests.conftest import fresh, write_rows

pytestmark = pytest.mark.usefixtures("no_rules")

ORDER = {"ordered_at": "2025-02-01T10:00:00Z", "product_id": "P", "units": 1, "net_amount": 50, "currency": "EUR"}
DROPS = {"B1": (10, 5), "B2": (20, 30)}  # kg, km driven to it


Rows = list[dict[str, object]]


def shop(folder: Path, legs: Rows, uses: Rows | None = None) -> Settings:
    """Load two parcels of one unit each, with their elements."""
    settings = fresh(folder)
    load(settings, [delivered(folder / "in", legs, uses)])
    return settings


def several(folder: Path, cases: dict[str, tuple[Rows, Rows]]) -> Settings:
    """Load the two parcels of several cases, each with its elements and what they used, into one build."""
    settings = fresh(folder)
    for name, (legs, uses) in cases.items():
        load(settings, [delivered(folder / name, legs, uses)], namespace=name, is_trial=True)
    load(settings)
    return settings


def delivered(folder: Path, legs: Rows, uses: Rows | None = None) -> Path:
    """Write two parcels of one unit each, with their elements."""
    lines = [
        {"order_line_id": f"L{p}", "order_id": f"O{p}", "country": c, **ORDER} for p, c in (("B1", "FR"), ("B2", "PL"))
    ]
    back = [
        {
            "event_id": f"V{p}",
            "return_line_id": f"R{p}",
            "return_id": f"R{p}",
            "order_line_id": f"L{p}",
            "event": "received",
            "occurred_at": "2025-03-20T10:00:00Z",
            "units": 1,
            "parcel_id": p,
        }
        for p in DROPS
    ]
    write_rows(folder / "order_line.csv", lines)
    write_rows(folder / "return_event.csv", back)
    write_rows(folder / "chain_element.csv", legs)
    if uses:
        write_rows(folder / "activity_use.csv", uses)
    return folder


def leg(parcel: str, **more: object) -> dict[str, object]:
    element = {"element_id": f"E{parcel}", "parcel_id": parcel, "element_no": 1, "element_type": "transport"}
    return {**element, "role": "trunk", "started_at": "2025-03-05T08:00:00Z", **more}


def told(settings: Settings, case: str = "shop") -> dict[str, dict[str, object]]:
    """Give each leg's estimate by its parcel, of a case."""
    legs, carbon = STAR.tables["fact_return_leg"], STAR.tables["estimate_leg_carbon"]
    with current_build(settings.warehouse) as build:
        found = build.fetch(
            select(legs.c.parcel_id, carbon).select_from(legs.join(carbon, carbon.c.leg_key == legs.c.leg_key))
        )
    rows = ((*str(row["parcel_id"]).split(":"), row) for row in found.to_dict("records"))
    return {parcel: row for of, parcel, row in rows if of == case}


SHARED = {"parcels": (0.5, 0.5), "mass": (1 / 3, 2 / 3), "tonne_km": (50 / 650, 600 / 650)}
USE = {"use_id": "U", "began_at": "2025-03-05T00:00:00Z"}
ELECTRIC = {"mode": "van", "fuel": "electricity", "activity_amount": 10, "activity_unit": "kWh"}
ROUND = {"role": "first_mile", "movement_parcels": 10, "distance_km": 80}


def round_of(movement: str) -> Rows:
    return [leg(p, movement_id=movement, mode="van", mass_kg=kg, distance_km=km) for p, (kg, km) in DROPS.items()]


def given(movement: str, kg: float, **more: object) -> dict[str, object]:
    return USE | {"movement_id": movement, "kg_co2e": kg, **more}


def one_of(movement: str, parcel: str, **more: object) -> dict[str, object]:
    return leg(parcel, movement_id=movement, mode="van", mass_kg=1, distance_km=10, **more)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What can be told apart in one build: a shop of two parcels for each case."""
    stated = {"kg_co2e_ttw": 80, "calculated_by": "Kurier"}
    every: dict[str, tuple[Rows, Rows]] = {
        by: (round_of(by), [given(by, 100, shared_by=by, **stated)]) for by in SHARED
    }
    own = [one_of("own", "B1", kg_co2e=0.7, calculated_by="Kurier"), one_of("own", "B2")]
    every["own"] = own, [given("own", 3)]
    every["electric"] = [leg(p, **ELECTRIC) for p in DROPS], []
    truck = {"mode": "truck", "mass_kg": 1, "distance_km": 100}
    every["negative"] = [leg("B1", **truck, kg_co2e=-5), leg("B2", kg_co2e=1)], []
    rigid = {"mode": "truck", "vehicle": "truck_rigid_7t", "mass_kg": 5, **ROUND}
    every["rigid"] = [leg(p, **rigid) for p in DROPS], []
    diesel = {"fuel": "diesel", "activity_amount": 0.1, "activity_unit": "l"}
    cooled = {"mode": "truck", "mass_kg": 5, "distance_km": 100, "refrigerant": "R-404A", "refrigerant_kg": 0.0001}
    every["cooled"] = [leg(p, **cooled, **diesel) for p in DROPS], []
    return several(tmp_path_factory.mktemp("cases"), every)


@pytest.mark.parametrize("shared_by", SHARED)
def test_a_round_is_shared_by_the_key_that_is_stated(cases: Settings, shared_by: str) -> None:
    """100 kg of a carrier's for two drops of 10 kg after 5 km and 20 kg after 30 km."""
    found, shares = told(cases, shared_by), SHARED[shared_by]
    for parcel, share in zip(DROPS, shares, strict=True):
        row = found[parcel]
        assert row["kg_co2e"] == pytest.approx(100 * share)
        assert row["kg_co2e_ttw"] == pytest.approx(80 * share)
        assert row["amount"] == row["kg_co2e"]
        assert (row["method"], row["factor_id"], row["primary_share"]) == ("given", "given", 1)
        kg, km = DROPS[parcel]
        assert row["kg_co2e_modelled"] == pytest.approx(kg * km / 1000 * 0.78225, rel=0.05)


def test_others_on_board_take_their_part(tmp_path: Path) -> None:
    """40 l of diesel for 100 parcels, of which two are ours."""
    legs = [leg(p, carrier="Kurier", mode="van", mass_kg=1, distance_km=10) for p in DROPS]
    use = {"use_id": "U", "began_at": "2025-03-01T00:00:00Z", "ended_at": "2025-04-01T00:00:00Z", "carrier": "Kurier"}
    fuel = {"fuel": "diesel", "activity_amount": 40, "activity_unit": "l", "shared_total": 100}
    found = told(shop(tmp_path, legs, [use | fuel]))
    assert {p: row["kg_co2e"] for p, row in found.items()} == {p: pytest.approx(0.4 * 3.18183) for p in DROPS}
    assert all(row["kg_co2e_biogenic"] == pytest.approx(0.4 * 0.14) for row in found.values())


def test_a_leg_s_own_word_comes_before_its_movement_s(cases: Settings) -> None:
    found = told(cases, "own")
    assert {p: row["kg_co2e"] for p, row in found.items()} == {"B1": 0.7, "B2": 3}


def test_electricity_is_that_of_the_country(cases: Settings) -> None:
    """10 kWh in France (41.44 g) and in Poland."""
    found = told(cases, "electric")
    assert found["B1"]["kg_co2e"] == pytest.approx(0.4144)
    assert float(str(found["B2"]["kg_co2e"])) > 5


def test_primary_data_are_what_was_measured_or_given(tmp_path: Path) -> None:
    legs = [
        leg("B1", mode="truck", mass_kg=1000, distance_km=1000),
        leg("B2", kg_co2e=30, primary_share=0.5, calculated_by="Kurier", calculated_with="ISO 14083"),
    ]
    settings = shop(tmp_path, legs)
    with current_build(settings.warehouse) as build:
        found = {k: float(metrics.answer(build, k)["value"].iloc[0]) for k in ("kg_co2e", "primary_data_share")}
        reported = float(metrics.answer(build, "reported_inputs_share")["value"].iloc[0])
        sums = json.loads(build.fetch(select(STAR.tables["factor_set"].c.description)).to_json())["description"]
    assert found["kg_co2e"] == pytest.approx(125.22 + 30)
    assert found["primary_data_share"] == pytest.approx(15 / 155.22)
    assert reported == pytest.approx(1)
    assert any("Kurier, ISO 14083" in text for text in sums.values())


def test_a_figure_below_nothing_is_no_figure(cases: Settings) -> None:
    """It is said and counted, and the leg is as if nothing had been given."""
    found = told(cases, "negative")
    assert found["B1"]["kg_co2e"] == pytest.approx(0.012522)
    assert found["B1"]["method"] == "per_tonne_km"


def survey(path: Path, dedicated: float) -> Path:
    """Write 120 answers: 12 km by car, so many for the return alone, the others for a tenth of the trip."""
    alone = round(120 * dedicated)
    write_rows(path, [{"mode": "car", "km": 12, "share": 1 if n < alone else 0.1} for n in range(120)])
    return path


def test_a_survey_of_trips_moves_the_total(tmp_path: Path) -> None:
    """A third of the trips for the return alone, or three quarters: 0.4 or 0.775 of 12 km by car."""
    legs = [leg(p, element_type="activity", role="customer_trip") for p in DROPS]
    settings = shop(tmp_path, legs)
    before = told(settings)["B1"]["kg_co2e"]
    found = {}
    for dedicated, share in ((1 / 3, 0.4), (3 / 4, 0.775)):
        rows = import_survey(settings, survey(tmp_path / "trips.csv", dedicated), 2024)
        load(settings, rebuild=True)
        row = told(settings)["B1"]
        assert row["distance_km"] == 12
        assert row["kg_co2e"] == pytest.approx(12 * share * 0.21124)
        with current_build(settings.warehouse) as build:
            assert f"12 km x {share:g} x " in analyses.trace(build, "shop:EB1")["formula"]
        found[dedicated] = row["kg_co2e"]
        with current_build(settings.warehouse) as build:
            answer = metrics.answer(build, "kg_co2e").iloc[0]
            doubts = spreads(build, ["parameter:trip_share", "parameter:trip_mode"])
        bounds, modes = doubts["parameter:trip_share"], doubts["parameter:trip_mode"]
        assert isinstance(bounds, Sampled)  # the interval of a mean, not the ends of what may be
        assert isinstance(modes, Shares)
        assert {type(of_mode) for of_mode in modes.stated} == {Sampled}
        assert answer["low"] < answer["value"] < answer["high"]
        of_share = next(r for r in rows if r["parameter"] == "trip_share")
        assert (str(bounds.low), str(bounds.high)) == (of_share["low"], of_share["high"])
        assert float(of_share["low"]) < share < float(of_share["high"])
    assert found[3 / 4] != before != found[1 / 3]


def test_parameters_hold_where_and_when_they_are_stated(tmp_path: Path) -> None:
    """Detours of roads of one's own in Poland alone, and trips from 2026 on."""
    legs = [leg(p, mode="truck", mass_kg=1000, distance_km=100, distance_type="great_circle") for p in DROPS]
    settings = shop(tmp_path, legs)
    rows = [
        {"parameter": "circuity", "country": "PL", "value": 1.4, "source": "own survey"},
        {"parameter": "circuity", "country": "FR", "valid_from_year": 2026, "value": 1.1, "source": "own survey"},
    ]
    write_rows(tmp_path / "own.csv", rows)
    assert import_parameters(settings, tmp_path / "own.csv") == 2
    load(settings, rebuild=True)
    found = told(settings)
    assert {p: row["distance_km"] for p, row in found.items()} == {"B1": pytest.approx(125), "B2": pytest.approx(140)}


def test_electricity_by_contract_stands_beside_the_grid(tmp_path: Path) -> None:
    legs = [leg(p, mode="van", fuel="electricity", activity_amount=10, activity_unit="kWh") for p in DROPS]
    settings = shop(tmp_path, legs)
    write_rows(
        tmp_path / "own.csv",
        [{"parameter": "electricity_contract", "country": "FR", "value": 0.01, "source": "guarantees of origin"}],
    )
    import_parameters(settings, tmp_path / "own.csv")
    load(settings, rebuild=True)
    found = told(settings)
    assert (found["B1"]["kg_co2e"], found["B1"]["kg_co2e_market"]) == (pytest.approx(0.4144), pytest.approx(0.1))
    assert str(found["B2"]["kg_co2e_market"]) == "nan"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"parameter": "magic", "value": 1}, "parameter magic is not one of"),
        ({"parameter": "circuity", "value": 0.5}, "value, low and high of circuity lie between 1 and 3"),
        ({"parameter": "trip_share", "value": 0.5, "low": 0.6}, "value is not between low and high"),
        ({"parameter": "trip_mode", "applies_to": "car", "value": 1}, "needs car, bus, foot, bike"),
        ({"parameter": "circuity", "value": 1.3, "country": "France"}, "country France is no code"),
        ({"parameter": "circuity", "value": 1.3, "source": ""}, "source is empty"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(tmp_path: Path, row: dict[str, object], said: str) -> None:
    names = ("parameter", "applies_to", "country", "value", "low", "high")
    write_rows(tmp_path / "own.csv", [dict.fromkeys(names, "") | {"source": "mine"} | row])
    with pytest.raises(FactorMissing, match=said):
        import_parameters(fresh(tmp_path), tmp_path / "own.csv")


def test_a_round_whose_vehicle_has_no_factor_a_kilometre_goes_by_tonne_kilometres(cases: Settings) -> None:
    """5 kg over the usual 20 km of a first mile, by a lorry of which factors a tonne-kilometre alone are published."""
    row = told(cases, "rigid")["B1"]
    assert row["kg_co2e"] == pytest.approx(0.1 * 0.65057, rel=1e-3)
    assert (row["method"], row["amount"], row["status"]) == ("per_tonne_km", pytest.approx(0.1), "imputed")


def test_an_element_of_several_factors_is_one_element_of_its_shipment(cases: Settings) -> None:
    """Diesel and refrigerant of a refrigerated lorry: two factors, one element, their sum."""
    row = told(cases, "cooled")["B1"]
    assert row["kg_co2e"] == pytest.approx(0.1 * 3.18183 + 0.0001 * 3943)
    with current_build(cases.warehouse) as build:
        found = closing.elements(build, date(2025, 3, 1), date(2025, 3, 31))
    of_leg = found[found["parcel_id"] == "cooled:B1"]
    assert sorted(of_leg["part"]) == ["activity", "refrigerant"]
    assert of_leg["kg_co2e"].sum() == pytest.approx(row["kg_co2e"])
    assert ileap._once(found)["kg_co2e"].sum() == pytest.approx(found["kg_co2e"].sum())
    assert not ileap._once(found)["element_id"].duplicated().any()


def test_what_carriers_state_stands_beside_the_model_by_carrier(tmp_path: Path) -> None:
    """A month of Kurier's: 3 kg for two parcels that the model gives 10 kg x 5 km and 20 kg x 30 km x 0.78225."""
    legs = [leg(p, carrier="Kurier", mode="van", mass_kg=kg, distance_km=km) for p, (kg, km) in DROPS.items()]
    use = {"use_id": "U", "began_at": "2025-03-01T00:00:00Z", "ended_at": "2025-04-01T00:00:00Z", "carrier": "Kurier"}
    settings = shop(tmp_path, legs, [use | {"kg_co2e": 3, "calculated_by": "Kurier"}])
    found = report.gather(settings, date(2025, 3, 1), date(2025, 3, 31))
    [row] = found.sheets["stated and modelled"].to_dict("records")
    modelled = 0.65 * 0.78225
    assert (row["carrier"], row["method"], row["elements"], row["stated (kg CO2e)"]) == ("Kurier", "given", 2, 3.0)
    assert row["modelled (kg CO2e)"] == pytest.approx(modelled, rel=0.05)
    assert row["gap (kg CO2e)"] == pytest.approx(3 - row["modelled (kg CO2e)"])
    shares = [f["pcf"]["primaryDataShare"] for f in ileap.envelope(settings, found.since, found.until)["data"]]
    assert shares
    assert set(shares) == {100.0}
