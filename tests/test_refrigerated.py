"""Goods kept cool on their way: by a leg, a carrier's service, a category of goods, or words; refrigerant apart."""

import json
from datetime import date
from pathlib import Path

import pytest
from test_own_figures import DROPS, leg, several, shop, told

from pipelines import analyses
from pipelines.errors import FactorMissing
from pipelines.factors import Ledger, parameter
from pipelines.load import load
from pipelines.metrics.finish.doubt import rests_on
from pipelines.outputs import report
from pipelines.own_parameters import import_parameters
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests.conftest import write_rows

pytestmark = pytest.mark.usefixtures("no_rules")

TRUCK = {"mode": "truck", "mass_kg": 1000, "distance_km": 100}  # 100 t.km
PLAIN, COOLED = 12.522, 14.663  # all HGVs of DESNZ 2025: .12522, with the cooling unit .14663


def own(settings: Settings, folder: Path, **row: object) -> None:
    write_rows(folder / "own.csv", [{"parameter": "refrigerated", "source": "contract", **row}])
    import_parameters(settings, folder / "own.csv")
    load(settings, rebuild=True)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What can be told apart in one build: a shop of two parcels for each case."""
    van = {"mode": "van", "fuel": "diesel", "mass_kg": 100, "distance_km": 100, "temperature_class": "chilled"}
    litres = {"fuel": "diesel", "activity_amount": 2, "activity_unit": "l", "temperature_class": "chilled"}
    rail = {"mode": "rail", "mass_kg": 1000, "distance_km": 100}
    every = {
        "stated": [
            leg("B1", **TRUCK, temperature_class="frozen"),
            leg("B2", **TRUCK, temperature_class="ambient", service="Chilled Plus"),
        ],
        "van": [leg("B1", **van), leg("B2", **litres, refrigerant="R404A", refrigerant_kg=0.01)],
        "rail": [leg("B1", **rail, temperature_class="chilled"), leg("B2", **rail)],
    }
    return several(tmp_path_factory.mktemp("cooled"), {name: (legs, []) for name, legs in every.items()})


def test_a_leg_states_its_temperature_and_its_word_comes_first(cases: Settings) -> None:
    found = told(cases, "stated")
    assert {p: row["kg_co2e"] for p, row in found.items()} == {
        "B1": pytest.approx(COOLED),
        "B2": pytest.approx(PLAIN),
    }
    assert (found["B1"]["is_refrigerated"], found["B2"]["is_refrigerated"]) == (True, False)
    assert found["B1"]["factor_id"] == "desnz2025.truck_average_refrigerated.tonne_km"


def test_a_service_and_a_category_state_it_by_country_and_year(tmp_path: Path) -> None:
    """In France alone, from 2025 on; a later year that says otherwise does not reach back."""
    settings = shop(tmp_path, [leg(p, **TRUCK, service="Night Express") for p in DROPS])
    own(settings, tmp_path, applies_to="service:night express", country="FR", valid_from_year=2025, value=1)
    assert told(settings)["B1"]["kg_co2e"] == pytest.approx(COOLED)
    assert told(settings)["B2"]["kg_co2e"] == pytest.approx(PLAIN)
    own(settings, tmp_path, applies_to="service:Night Express", country="FR", valid_from_year=2026, value=0)
    assert told(settings)["B1"]["kg_co2e"] == pytest.approx(COOLED)
    own(settings, tmp_path, applies_to="service:Night Express", country="FR", valid_from_year=2025, value=0)
    assert told(settings)["B1"]["kg_co2e"] == pytest.approx(PLAIN)


def test_goods_of_a_category_are_kept_cool_on_every_transport_of_their_parcel(tmp_path: Path) -> None:
    products = [{"product_id": "P", "category": "Cheese", "valid_from": "2024-01-01T00:00:00Z"}]
    write_rows(tmp_path / "in" / "product.csv", products)
    settings = shop(tmp_path, [leg("B1", **TRUCK), leg("B2", element_type="activity", role="customer_trip")])
    before = told(settings)
    own(settings, tmp_path, applies_to="category:cheese", value=1)
    after = told(settings)
    assert (before["B1"]["kg_co2e"], after["B1"]["kg_co2e"]) == (pytest.approx(PLAIN), pytest.approx(COOLED))
    assert before["B2"]["kg_co2e"] == after["B2"]["kg_co2e"]  # a customer's car has no cooling unit


def test_a_van_takes_the_published_uplift_and_refrigerant_stands_apart(cases: Settings) -> None:
    """Ten tonne-kilometres by a cooled diesel van, and 10 g of R404A that leaked beside its fuel."""
    found, times = told(cases, "van"), parameter("refrigeration_uplift", "van")
    assert found["B1"]["kg_co2e"] == pytest.approx(10 * 0.78225 * times)
    assert found["B1"]["kg_co2e_wtt"] + found["B1"]["kg_co2e_ttw"] == pytest.approx(found["B1"]["kg_co2e"])  # type: ignore[operator]
    with current_build(cases.warehouse) as build:
        parts = analyses.trace(build, "van:EB2")["parts"]
        assert {part["part"] for part in parts} == {"activity", "refrigerant"}
        apart = dict(rests_on(build, str(found["B2"]["factor_id"]), "trunk", None, None, None))
        pieces = dict(rests_on(build, str(found["B1"]["factor_id"]), "trunk", "measured", "measured", None))
    gas, fuel = 0.01 * 3943, 2 * 3.18183  # each is doubted by what it emits
    assert apart == {
        "factor:refrigerant_r404a": pytest.approx(gas / (gas + fuel), rel=1e-4),
        "factor:fuel_diesel": pytest.approx(fuel / (gas + fuel), rel=1e-4),
    }
    assert pieces == {"factor:van_diesel": 1, "parameter:refrigeration_uplift.van": 1}


def test_an_operation_made_of_others_names_its_energy_carrier(tmp_path: Path) -> None:
    """An electric van on France's grid and a cooled diesel van: neither id is a row of the ledger."""
    van = {"mode": "van", "fuel": "electricity", "mass_kg": 10, "distance_km": 50}
    lorry = {"mode": "truck", "fuel": "diesel", "vehicle": "van_diesel", "mass_kg": 10, "distance_km": 50}
    settings = shop(tmp_path, [leg("B1", **van), leg("B2", **lorry, temperature_class="chilled")])
    path = tmp_path / "r.json"
    report.write(settings, date(2025, 3, 1), date(2025, 3, 31), path)
    assert not [left["id"] for left in json.loads(path.read_text())["leftOut"] if "van_" in left["id"]]


def test_what_has_no_published_figure_has_no_answer(cases: Settings) -> None:
    """Cooled goods by train: no open figure says what their cooling takes, and it is not the plain train's."""
    found = told(cases, "rail")
    assert str(found["B1"]["kg_co2e"]) == "nan"
    assert found["B2"]["kg_co2e"] == pytest.approx(100 * 0.0347)


def test_the_uplift_is_the_ratio_of_published_rows() -> None:
    def wtw(vehicle: str) -> float:
        row = Ledger().fit(vehicle, "kgCO2e/t.km", 2025)
        assert row is not None
        return float(row["wtw"])

    ratios = {v: wtw(f"{v}_refrigerated") / wtw(v) for v in ("truck_average", "truck_rigid_7t", "truck_artic_33t")}
    assert ratios["truck_average"] == pytest.approx(parameter("refrigeration_uplift", "truck"), abs=5e-4)
    assert ratios["truck_rigid_7t"] == pytest.approx(parameter("refrigeration_uplift", "van"), abs=5e-4)
    assert 1.1 < min(ratios.values()) < max(ratios.values()) < 1.3


def test_a_rule_names_a_service_or_a_category(tmp_path: Path) -> None:
    write_rows(tmp_path / "own.csv", [{"parameter": "refrigerated", "applies_to": "DHL", "value": 1, "source": "us"}])
    with pytest.raises(FactorMissing, match="service:NAME or category:NAME"):
        import_parameters(Settings(warehouse=tmp_path / "w"), tmp_path / "own.csv")
