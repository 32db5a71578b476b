"""Scopes of a report: own vehicles and sites are scopes 1 and 2, and no kilogram is lost or counted twice by it."""

from datetime import date

import pandas as pd
import pytest

from pipelines.errors import ReportError
from pipelines.outputs import closing, disclosure, report, scopes
from pipelines.outputs.disclosure import Company
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests.conftest import ends

SPAN = (date(2025, 12, 1), date(2026, 1, 31))
OWN = Company("FR", 10, 1.0, own_carriers=("Ours",), own_sites=("RC",))


def element(name: str, activity: str, kg: float, wtt: float | None, ttw: float | None, **told: object) -> dict:
    given = {"carrier": "Ours", "place_id": "shop:HUB", "factor_id": "diesel", "scope3_category": "4"}
    figures = {"kg_co2e": kg, "kg_co2e_wtt": wtt, "kg_co2e_ttw": ttw, "kg_co2e_market": None}
    return {"element_id": name, "activity": activity, **given, **figures, **told}


ELEMENTS = pd.DataFrame(
    [
        element("diesel van", "transport", 10.0, 2.0, 8.0),
        element("electric van, split", "transport", 5.0, 5.0, 0.0, factor_id="battery"),
        element("electric van, one figure", "transport", 4.0, None, None, factor_id="battery", kg_co2e_market=1.0),
        element("own centre, half of it heat", "hub", 6.0, None, None, place_id="shop:RC", factor_id="hub"),
        element("leak at the own centre", "hub", 3.0, 0.0, 3.0, place_id="shop:RC", factor_id="r404a"),
        element("bought transport", "transport", 7.0, 1.0, 6.0, carrier="Relais"),
        element("a hub of somebody else", "hub", 1.0, None, None, factor_id="hub", carrier=None),
        element("the customer's own trip", "customer_trip", 9.0, 2.0, 7.0, scope3_category="9"),
    ]
)


def test_fuel_is_scope_1_electricity_scope_2_and_their_provision_category_3() -> None:
    """By hand, kg: scope 1 8 + 3 + 3 (heat); scope 2 5 + 4 + 3, by contract 5 + 1 + 3; category 3 2; else 7 + 1 + 9.

    A battery vehicle burns nothing, so what its electricity emitted is scope 2 whole.
    """
    found = scopes.split(ELEMENTS, OWN, {"battery": 1.0, "hub": 0.5}).set_index("element_id")
    assert found["kg_scope1"].sum() == pytest.approx(14.0)
    assert found["kg_scope2"].sum() == pytest.approx(12.0)
    assert found["kg_scope2_market"].sum() == pytest.approx(9.0)
    assert found.groupby("scope3_category")["kg_scope3"].sum().to_dict() == pytest.approx(
        {"3": 2.0, "4": 8.0, "9": 9.0}
    )
    parts = found[["kg_scope1", "kg_scope2", "kg_scope3"]].sum(axis=1)
    assert parts.to_numpy() == pytest.approx(found["kg_co2e"].to_numpy())


def test_nothing_is_its_own_until_it_is_said() -> None:
    for company in (None, Company("FR", 10, 1.0)):
        found = scopes.split(ELEMENTS, company, {"battery": 1.0})
        assert found["kg_scope3"].tolist() == ELEMENTS["kg_co2e"].tolist()
        assert found["scope3_category"].tolist() == ELEMENTS["scope3_category"].tolist()
        assert (found[["kg_scope1", "kg_scope2"]] == 0).all(axis=None)


def test_a_report_by_scope_sums_to_its_total(copy_of_tiny: Settings) -> None:
    """Own carrier and centre of a shop: the scopes add up to the total that nobody owns."""
    before = report.gather(copy_of_tiny, *SPAN)
    disclosure.set_company(
        copy_of_tiny, country="FR", employees=1, turnover_eur_m=1.0, own_carriers=("Relais",), own_sites=("RC",)
    )
    told = report.gather(copy_of_tiny, *SPAN)
    by_scope = told.sheets["scopes"].set_index("scope")["kg_co2e"]
    assert told.total == pytest.approx(before.total)
    assert before.sheets["scopes"].set_index("scope")["kg_co2e"]["scope 3"] == pytest.approx(before.total)
    assert by_scope["scope 1"] > 0
    assert by_scope["total, location-based"] == pytest.approx(told.total)
    assert told.sheets["scope 3"]["kg_co2e"].sum() == pytest.approx(by_scope["scope 3"])
    with current_build(copy_of_tiny.warehouse) as build:
        burnt = closing.elements(build, *SPAN)["kg_co2e_ttw"].sum()  # every leg is a diesel vehicle's of Relais
    assert by_scope["scope 1"] == pytest.approx(burnt)


def test_an_unknown_carrier_or_place_is_said(
    copy_of_tiny: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--warehouse", copy_of_tiny.warehouse)
    code, _, said = ends(capsys, monkeypatch, "company", "--own-carrier", "Relay", *at)
    assert (code, "No carrier of the data is called 'Relay'" in said, "Relais" in said) == (1, True, True)
    with current_build(copy_of_tiny.warehouse) as build, pytest.raises(ReportError, match="No place of the data"):
        scopes.refuse_unknown(build, (), ("nowhere",))
