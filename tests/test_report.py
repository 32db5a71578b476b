"""Closed months and the carbon report.

Frozen as signed for, restated with a cause, recomputed from the workbook alone.
"""

import io
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY_SHOP, write_rows
from openpyxl import load_workbook

from pipelines import metrics
from pipelines.errors import ReportError
from pipelines.factors import choose
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.outputs import closing, disclosure, report, report_files
from pipelines.outputs.disclosure import Company, obligations
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build

pytestmark = pytest.mark.usefixtures("no_rules")

SPAN = (date(2025, 12, 1), date(2026, 1, 31))


def test_elements_are_amount_times_factor(sample_settings: Settings) -> None:
    """Every element, mixed treatments laid out by factor; together they are the metric."""
    with current_build(sample_settings.warehouse) as build:
        found = closing.elements(build, date(2025, 2, 1), date(2026, 1, 31))
        whole = metrics.answer(build, "kg_co2e", Question(since=date(2025, 2, 1), until=date(2026, 1, 31)))[
            "value"
        ].iloc[0]
    known = found.dropna(subset=["kg_co2e"])
    assert (known["amount"] * known["factor_value"]).to_numpy() == pytest.approx(known["kg_co2e"].to_numpy(), rel=1e-9)
    assert known["kg_co2e"].sum() == pytest.approx(whole)
    assert not known["factor_id"].str.contains(" + ", regex=False).any()
    assert found["element_id"].duplicated().any()


def test_a_closed_month_stays_as_it_was_signed_for(copy_of_tiny: Settings) -> None:
    """A new factor year or set never alters it; what would change stands beside it as the factor's."""
    first = closing.close(copy_of_tiny, "2025-12", "A. Martin")
    kept = first.path.read_bytes()
    assert first.is_intact
    assert first.path.stat().st_mode & 0o222 == 0
    choose(copy_of_tiny, "ademe")
    load(copy_of_tiny, rebuild=True)
    assert first.path.read_bytes() == kept
    [row] = closing.restatements(copy_of_tiny).to_dict("records")
    assert row["closed"] == pytest.approx(first.kg_co2e)
    assert row["factor"] != 0
    assert (row["late"], row["gone"], row["inputs"]) == (0, 0, 0)
    assert row["closed"] + row["factor"] == pytest.approx(row["now"])
    told = report.gather(copy_of_tiny, date(2025, 12, 1), date(2025, 12, 31))
    assert told.total == pytest.approx(first.kg_co2e)  # the report stands by what was signed


def test_a_part_of_a_closed_month_and_the_year_before_are_as_signed(copy_of_tiny: Settings) -> None:
    """Under another set, half of December and the comparison of a year later still read what was signed."""
    with current_build(copy_of_tiny.warehouse) as build:
        half = closing.elements(build, date(2025, 12, 1), date(2025, 12, 15))["kg_co2e"].sum()
    closing.close(copy_of_tiny, "2025-12", "A. Martin")
    choose(copy_of_tiny, "ademe")
    load(copy_of_tiny, rebuild=True)
    with current_build(copy_of_tiny.warehouse) as build:
        now = closing.elements(build, date(2025, 12, 1), date(2025, 12, 15))["kg_co2e"].sum()
        told, months = closing.span_elements(copy_of_tiny, build, date(2025, 12, 1), date(2025, 12, 15))
    assert half > 0
    assert now != pytest.approx(half)
    assert told["kg_co2e"].sum() == pytest.approx(half)
    assert [c.month for c in months] == ["2025-12"]


def test_later_data_are_told_apart_by_cause(copy_of_tiny: Settings, tmp_path: Path) -> None:
    """A leg that came late, one taken back, one whose weight was corrected."""
    closing.close(copy_of_tiny, "2025-12", "A. Martin")
    legs = {r["element_id"]: r for r in TINY_SHOP["chain_element"]}
    late = legs["E1"] | {"element_id": "E9", "element_no": "9", "mass_kg": "5", "recorded_at": "2026-02-05T00:00:00Z"}
    wrong = legs["E1"] | {"mass_kg": "1.6", "recorded_at": "2026-02-05T00:00:00Z"}
    gone = legs["E3"] | {"is_deleted": "true", "recorded_at": "2026-02-05T00:00:00Z"}
    write_rows(tmp_path / "more" / "chain_element.csv", [late, wrong, gone])
    load(copy_of_tiny, [tmp_path / "more"])
    [row] = closing.restatements(copy_of_tiny).to_dict("records")
    van = 20 / 1000 * 0.78225
    assert row["late"] == pytest.approx(5 * van)
    assert row["inputs"] == pytest.approx(0.8 * van)
    assert row["gone"] < 0
    assert row["factor"] == 0
    assert row["closed"] + row["late"] + row["gone"] + row["inputs"] == pytest.approx(row["now"])


def test_what_cannot_be_closed(copy_of_tiny: Settings) -> None:
    for month, approver, said in (
        ("2025-13", "x", "is no month"),
        ("2025-12", " ", "Somebody signs"),
        ("2031-01", "x", "is not over in the data"),
        ("2024-01", "x", "nothing to close"),
    ):
        with pytest.raises(ReportError, match=said):
            closing.close(copy_of_tiny, month, approver)
    closing.close(copy_of_tiny, "2025-12", "A. Martin")
    with pytest.raises(ReportError, match=r"was closed by A\. Martin on .* needs --note"):
        closing.close(copy_of_tiny, "2025-12", "B. Petit")
    again = closing.close(copy_of_tiny, "2025-12", "B. Petit", "weights were wrong")
    assert [c.number for c in closing.closed(copy_of_tiny)] == [1, 2]
    assert closing.standing(copy_of_tiny)["2025-12"] == again


def test_a_changed_file_is_not_believed(copy_of_tiny: Settings) -> None:
    found = closing.close(copy_of_tiny, "2025-12", "A. Martin")
    found.path.chmod(0o600)
    found.path.write_bytes(found.path.read_bytes()[:-8] + b"forged!!")
    with pytest.raises(ReportError, match=r"is not the file that A\. Martin signed for"):
        closing.restatements(copy_of_tiny)


@pytest.fixture(scope="module")
def workbook(sample_settings: Settings) -> dict[str, pd.DataFrame]:
    found = report.gather(sample_settings, date(2025, 2, 1), date(2026, 1, 31))
    return pd.read_excel(io.BytesIO(report_files.to_xlsx(found)), sheet_name=None, engine="openpyxl")


def test_the_workbook_alone_gives_the_totals(workbook: dict[str, pd.DataFrame]) -> None:
    """Amount x factor of the lines, with the factor looked up on the factor sheet: total, activities and scope 3."""
    lines, factors = workbook["lines"], workbook["factors"].set_index("factor_id")["value"]
    kg = lines["amount"] * lines["factor_id"].map(factors)
    summary = workbook["summary"].set_index("figure")["value"]
    assert kg.sum() == pytest.approx(summary["total, well to wheel"], rel=1e-12)
    for activity, part in kg.groupby(lines["activity"]):
        assert part.sum() == pytest.approx(summary[f"of which {str(activity).replace('_', ' ')}"], rel=1e-12)
    scope3 = workbook["scope 3"].set_index("scope3_category")["kg_co2e"]
    for category, part in kg.groupby(lines["scope3_category"]):
        assert part.sum() == pytest.approx(scope3[category], rel=1e-12)
    tonnes = workbook["ESRS E1-6"].set_index("row")["N"]
    assert tonnes.iloc[-1] == pytest.approx(kg.sum() / 1000)
    assert lines["factor_id"].isin(factors.index).all()
    reported = lines["inputs"] == "reported"
    assert kg[reported].sum() / kg.sum() == pytest.approx(summary["share of reported inputs"])
    assert summary["share of primary data (metered energy, given figures)"] == 0  # the sample shop meters nothing
    assert set(lines["data_quality"]) == {"modelled", "default"}


def test_the_total_is_the_metric_and_avoided_is_apart(
    sample_settings: Settings, workbook: dict[str, pd.DataFrame]
) -> None:
    with current_build(sample_settings.warehouse) as build:
        whole = metrics.answer(build, "kg_co2e", Question(since=date(2025, 2, 1), until=date(2026, 1, 31))).iloc[0]
        saved = metrics.answer(
            build, "avoided_kg_co2e", Question(since=date(2025, 2, 1), until=date(2026, 1, 31))
        ).iloc[0]
    summary = workbook["summary"].set_index("figure")["value"]
    assert summary["total, well to wheel"] == pytest.approx(whole["value"])
    assert (summary["90% interval, low"], summary["90% interval, high"]) == (
        pytest.approx(whole["low"]),
        pytest.approx(whole["high"]),
    )
    assert workbook["avoided (outside totals)"]["central"].sum() == pytest.approx(saved["value"])
    assert saved["low"] < saved["value"] < saved["high"]


def test_the_bands_hold_and_the_convention_is_named(workbook: dict[str, pd.DataFrame]) -> None:
    rows = workbook["summary"].set_index("figure")
    all_in, by_mass = (
        next(f for f in rows.index if f.startswith("per parcel") and w in f) for w in ("all in", "transport")
    )
    assert 0.5 < rows.loc[all_in, "value"] < 1.7
    assert 0.05 < rows.loc[by_mass, "value"] < 0.5
    assert "usual 0.5 to 1.7" in rows.loc[all_in, "unit"]


def test_discarded_goods_add_up(workbook: dict[str, pd.DataFrame]) -> None:
    """Treatments of each line are whole percentages of its weight; what lies in E5 beside them came for conformity."""
    found, gaps = workbook["discarded goods"], workbook["Art. 24 gaps"].set_index("what")["units"]
    kinds = ("preparing for reuse", "recycling", "other recovery", "disposal", "unknown")
    assert (found[[f"{k} %" for k in kinds]].sum(axis=1) == 100).all()
    assert found["units"].sum() > 20
    waste = workbook["ESRS E5-5"].query("unit == 't'").set_index("row")["N"]
    assert waste["Total waste generated (returned goods)"] * 1000 >= found["weight (kg)"].sum() - len(found) / 2
    assert gaps["conformity returns left out: no unsold goods"] > 0
    assert (
        workbook["derogations"]["units"].sum() == found.loc[found["reason"].str.startswith("2026/296"), "units"].sum()
    )


def test_the_pdf_reads_and_names_method_and_build(copy_of_tiny: Settings, tmp_path: Path) -> None:
    found = report.write(copy_of_tiny, *SPAN, tmp_path / "r.pdf")
    body = (tmp_path / "r.pdf").read_bytes()
    assert body.startswith(b"%PDF-")
    assert found.build in found.method[0]
    assert "not certified" in " ".join(found.method)


def test_each_chain_is_a_shipment(copy_of_tiny: Settings, tmp_path: Path) -> None:
    """iLEAP's fields: decimals as strings, elements in order, each naming the one before.

    Customer trips and treatment are outside.
    """
    report.write(copy_of_tiny, *SPAN, tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())["data"]
    shipments = {d["shipmentId"]: d["tces"] for f in found if "tces" in (d := f["extensions"][0]["data"])}
    first, second = shipments["shop:P1"]
    assert second["prevTceIds"] == [first["tceId"]]
    assert first["prevTceIds"] == []
    assert (first["mass"], first["distance"]) == ("0.8", {"actual": "20"})
    assert float(first["transportActivity"]) == pytest.approx(0.016)
    assert float(first["co2eWTW"]) == pytest.approx(0.012516)
    assert float(first["co2eTTW"]) == pytest.approx(0.016 * 0.6313)


def test_what_cannot_be_reported(copy_of_tiny: Settings, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"ends in no form of the report\. Name it \.xlsx, \.pdf, \.json"):
        report.write(copy_of_tiny, *SPAN, tmp_path / "r.docx")
    with pytest.raises(ReportError, match="there is nothing to report"):
        report.gather(copy_of_tiny, date(2020, 1, 1), date(2020, 1, 31))
    with pytest.raises(ReportError, match="begins on 2026-01-31, after it ends"):
        report.gather(copy_of_tiny, SPAN[1], SPAN[0])


def test_text_that_looks_like_a_formula_stays_text() -> None:
    sheets = {"x": pd.DataFrame({"a": ["=1+1", "plain", ""]})}
    found = report.Report(*SPAN, "b", "2026-01-01T00:00:00", 1.0, 0.5, 2.0, 0.5, 0.5, sheets, [])
    cells = [c.value for (c,) in load_workbook(io.BytesIO(report_files.to_xlsx(found)))["x"].iter_rows(min_row=2)]
    assert cells[:2] == ["'=1+1", "plain"]


@pytest.mark.parametrize(
    ("company", "on", "rule", "status"),
    [
        (Company("FR", 1200, 510), date(2027, 6, 1), "esrs_e1", "obligatory"),
        (Company("FR", 1200, 510), date(2026, 6, 1), "esrs_e1", "voluntary"),  # not yet
        (Company("FR", 900, 510), date(2027, 6, 1), "esrs_e1", "voluntary"),
        (Company("GB", 5000, 900), date(2027, 6, 1), "esrs_e1", "voluntary"),
        (Company("DE", 300, 60), date(2026, 8, 1), "espr_25", "obligatory"),
        (Company("DE", 100, 20), date(2026, 8, 1), "espr_25", "not applicable"),
        (Company("DE", 100, 20), date(2030, 8, 1), "espr_25_medium", "obligatory"),
        (Company("DE", 20, 5), date(2030, 8, 1), "espr_25_medium", "not applicable"),
        (Company("FR", 5, 1), date(2026, 8, 1), "agec_35", "obligatory"),
        (Company("DE", 5, 1), date(2026, 8, 1), "agec_35", "unknown"),  # whether it sells into France is not said
        (Company("DE", 5, 1, markets=("DE",)), date(2026, 8, 1), "agec_35", "not applicable"),
        (None, date(2026, 8, 1), "espr_24", "unknown"),
        (None, date(2026, 8, 1), "ghg_scope3", "voluntary"),
    ],
)
def test_obligations(company: Company | None, on: date, rule: str, status: str) -> None:
    [found] = [o for o in obligations(company, on) if o.rule == rule]
    assert found.status == status
    assert found.source
    assert found.address.startswith("https://")
    assert disclosure.COUNSEL in found.note


def test_who_reports_is_kept(settings: Settings) -> None:
    assert disclosure.company(settings) is None
    disclosure.set_company(settings, country="fr", employees=1200, turnover_eur_m=510)
    assert disclosure.company(settings) == Company("FR", 1200, 510)
    with pytest.raises(ReportError, match="'France' is no country"):
        disclosure.set_company(settings, country="France", employees=1, turnover_eur_m=1)
    assert replace(Company("FR", 9, 1), employees=9).size == "micro"
