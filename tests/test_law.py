"""What law wants told: discarded goods by hand, who is bound, chains that validate, closings that are chained."""

import json
import shutil
import subprocess
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY_SHOP, ends, fresh, write_rows
from hand_year import E5_TONNES, GAPS, LINES, YEAR, write
from jsonschema import Draft202012Validator, FormatChecker
from sqlalchemy import delete, select, update

from pipelines import factors
from pipelines.errors import ReportError
from pipelines.load import load
from pipelines.outputs import closing, discarded, disclosure, ileap, report, signing
from pipelines.outputs.disclosure import Company, obligations
from pipelines.people.actions import log_action
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import current_build

pytestmark = pytest.mark.usefixtures("no_rules")

SCHEMA = json.loads((Path(__file__).parent / "fixtures" / "ileap.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, pd.DataFrame]]:
    """The hand-made year, loaded, and its tables."""
    folder = tmp_path_factory.mktemp("year")
    settings = fresh(folder)
    load(settings, [write(folder / "files")])
    log_action(settings, "photo", {"style_id": ["COAT"]}, effective_on=date(2026, 4, 1), note="new photos")
    log_action(settings, "supplier", {"style_id": ["BOOT"]}, note="other glue")
    company = disclosure.set_company(
        settings, country="FR", employees=300, turnover_eur_m=60.0, name="Tilleul SA", euid="FRRCS.123456789"
    )
    with current_build(settings.warehouse) as build:
        return settings, discarded.sheets(settings, build, company, *YEAR)


def test_the_table_of_a_hand_made_year(year: tuple[Settings, dict[str, pd.DataFrame]]) -> None:
    found = year[1]["discarded goods"].drop(columns=["description", "packaging in the weight"])
    assert [tuple(row) for row in found.itertuples(index=False, name=None)] == list(LINES)
    gaps = year[1]["Art. 24 gaps"].set_index("what")["units"]
    assert gaps[gaps > 0].to_dict() == GAPS
    waste = year[1]["ESRS E5-5"].query("unit == 't'").set_index("row")["N"]
    assert waste[list(E5_TONNES)].to_dict() == pytest.approx(E5_TONNES, rel=1e-5)
    assert waste["Diverted from disposal"] + waste["Directed to disposal"] + waste["Treatment not known"] == (
        pytest.approx(waste["Total waste generated (returned goods)"])
    )


def test_hazardous_waste_is_split_where_the_format_asks_for_it(year: tuple[Settings, dict[str, pd.DataFrame]]) -> None:
    """E5-5 asks for it: a lamp of 1.7714 kg is, two coats of 4 kg are not. Annex I has no such column, and says so."""
    waste = year[1]["ESRS E5-5"].query("unit == 't'").set_index("row")
    total = waste.loc["Total waste generated (returned goods)"]
    assert (total["hazardous"], total["non-hazardous"]) == (pytest.approx(0.0017714, rel=1e-4), pytest.approx(0.004))
    parts = waste[["hazardous", "non-hazardous", "not said"]].sum(axis=1)
    assert list(parts) == pytest.approx(list(waste["N"]))
    assert waste.loc["  other recovery operations", "non-hazardous"] == pytest.approx(0.004)
    assert not [c for c in year[1]["discarded goods"].columns if "hazard" in c]
    assert year[1]["Art. 24 header"].set_index("field")["value"]["hazardous waste"].startswith("no column: Annex I")


def test_a_span_without_a_leg_still_reports_what_was_discarded(
    year: tuple[Settings, dict[str, pd.DataFrame]], tmp_path: Path
) -> None:
    """In January two coats of 2025 were burnt and one was landfilled; nothing was asked for then: there is no leg."""
    for form in ("xlsx", "pdf"):
        found = report.write(year[0], date(2026, 1, 1), date(2026, 1, 31), tmp_path / f"january.{form}")
    assert found.sheets["lines"].empty
    assert found.sheets["discarded goods"]["units"].sum() == 3
    assert found.total == 0


def test_its_header_names_who_and_the_measures(year: tuple[Settings, dict[str, pd.DataFrame]]) -> None:
    header = year[1]["Art. 24 header"].set_index("field")["value"]
    assert (header["name of the legal entity"], header["identifier of the legal entity"]) == (
        "Tilleul SA",
        "FRRCS.123456789",
    )
    assert (header["start of the financial year"], header["end of the financial year"]) == ("2026-01-01", "2026-12-31")
    assert header["measures taken to prevent destruction"] == "photo (style_id COAT) 2026-04-01: new photos"
    assert header["measures planned to prevent destruction"] == "supplier (style_id BOOT): other glue"
    with current_build(year[0].warehouse) as build:
        half = discarded.sheets(year[0], build, None, date(2026, 7, 1), date(2026, 12, 31))
    header = half["Art. 24 header"].set_index("field")["value"]
    assert header["name of the legal entity"] == "not said: `backhaul company`"
    assert header["end of the financial year"] == "2026-12-31 (no whole year)"
    assert half["discarded goods"]["units"].sum() == 2


def test_derogations_keep_their_evidence_five_years(year: tuple[Settings, dict[str, pd.DataFrame]]) -> None:
    found = year[1]["derogations"].set_index("point")
    assert len(found) == 10
    claimed = found[found["units"] > 0]
    assert claimed[["code", "units", "units with evidence", "keep evidence until"]].to_dict("index") == {
        "(c)": {
            "code": "ip_infringement",
            "units": 1,
            "units with evidence": 1,
            "keep evidence until": date(2031, 5, 6),
        },
        "(f)": {"code": "damaged", "units": 3, "units with evidence": 3, "keep evidence until": date(2031, 1, 10)},
    }


@pytest.mark.parametrize(
    ("company", "size"),
    [
        (Company("FR", 249, 50, 900), "medium"),  # one money limit is enough
        (Company("FR", 249, 900, 43), "medium"),
        (Company("FR", 249, 50.1, 43.1), "large"),
        (Company("FR", 250, 1, 1), "large"),
        (Company("FR", 49, 10, 90), "small"),
        (Company("FR", 9, 90, 2), "micro"),
        (Company("FR", 9, 2.5, 2.5), "small"),
        (Company("FR", 40, 60), "large"),  # no balance sheet said
    ],
)
def test_sizes_by_recommendation_2003_361(company: Company, size: str) -> None:
    assert company.size == size


LARGE, MEDIUM = {"employees": 300, "turnover_eur_m": 60.0}, {"employees": 100, "turnover_eur_m": 60.0}


@pytest.mark.parametrize(
    ("company", "on", "rule", "status"),
    [
        (Company("GB", **LARGE), date(2026, 8, 1), "espr_25", "unknown"),  # its markets are not said
        (Company("GB", **LARGE, markets=("GB",)), date(2026, 8, 1), "espr_25", "not applicable"),
        (Company("GB", **LARGE, markets=("GB", "FR")), date(2026, 8, 1), "espr_25", "obligatory"),
        (Company("GB", **LARGE, markets=("GB", "FR")), date(2026, 8, 1), "espr_24", "obligatory"),
        (Company("GB", **LARGE, markets=("GB", "FR")), date(2026, 8, 1), "agec_35", "obligatory"),
        (Company("GB", **LARGE, markets=("DE",)), date(2026, 8, 1), "agec_hygiene", "not applicable"),
        (Company("GB", 2000, 900, markets=("FR",)), date(2027, 6, 1), "esrs_e1", "voluntary"),  # by its seat
        (Company("DE", **MEDIUM, balance_sheet_eur_m=30), date(2026, 8, 1), "espr_25", "not applicable"),
        (Company("DE", **MEDIUM, balance_sheet_eur_m=50), date(2026, 8, 1), "espr_25", "obligatory"),
        (Company("FR", **MEDIUM, balance_sheet_eur_m=30), date(2026, 8, 1), "fr_ban_medium", "obligatory"),
        (Company("FR", **MEDIUM, balance_sheet_eur_m=30), date(2030, 8, 1), "fr_ban_medium", "not applicable"),
        (Company("FR", **MEDIUM, balance_sheet_eur_m=30), date(2030, 8, 1), "espr_25_medium", "obligatory"),
        (Company("FR", **LARGE), date(2026, 8, 1), "fr_ban_medium", "not applicable"),
        (Company("DE", 600, 60, is_public_interest=True), date(2025, 6, 1), "esrs_first_wave", "obligatory"),
        (Company("DE", 600, 60, is_public_interest=True), date(2027, 1, 1), "esrs_first_wave", "voluntary"),
        (Company("DE", 600, 60), date(2025, 6, 1), "esrs_first_wave", "voluntary"),
        (Company("DE", **LARGE), date(2027, 3, 1), "espr_24_format", "voluntary"),
        (Company("DE", **LARGE), date(2027, 3, 2), "espr_24_format", "obligatory"),
        (Company("DE", 5, 1), date(2026, 9, 27), "green_claims", "obligatory"),
        (Company("DE", 5, 1), date(2026, 9, 26), "green_claims", "voluntary"),
        (Company("DE", 5, 1), date(2030, 12, 1), "count_emissions", "voluntary"),
    ],
)
def test_who_is_bound(company: Company, on: date, rule: str, status: str) -> None:
    [found] = [o for o in obligations(company, on) if o.rule == rule]
    assert found.status == status


def test_every_rule_names_act_article_and_copy() -> None:
    for row in obligations(None, date(2026, 11, 29)):
        assert all((row.source, row.article, row.quality, row.name_fr)), row.rule
        assert row.address.startswith("https://"), row.rule
        assert bool(row.note.replace(disclosure.COUNSEL, "")) == bool(row.note_fr.replace(disclosure.COUNSEL_FR, ""))


def test_a_company_of_an_older_warehouse_opens_and_grows(settings: Settings) -> None:
    settings.warehouse.mkdir(parents=True)
    (settings.warehouse / "company.json").write_text('{"country": "FR", "employees": 300, "turnover_eur_m": 60}\n')
    assert disclosure.company(settings) == Company("FR", 300, 60)
    found = disclosure.set_company(settings, markets=["fr", "de"], balance_sheet_eur_m=20.0)
    assert found == Company("FR", 300, 60, 20.0, ("FR", "DE")) == disclosure.company(settings)
    with pytest.raises(ReportError, match="are not negative"):
        disclosure.set_company(settings, balance_sheet_eur_m=-1.0)


def _valid(found: dict[str, list[dict[str, object]]]) -> tuple[int, int, list[str]]:
    check = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
    faults = [next((e.message for e in check.iter_errors(f)), "") for f in found["data"]]
    return sum(not f for f in faults), len(faults), [f for f in faults if f]


def test_every_object_of_the_json_validates(sample_settings: Settings) -> None:
    """Shipments, TOCs and HOCs in their envelopes; each element names an operation that is there, or is left out."""
    found = ileap.envelope(sample_settings, date(2025, 2, 1), date(2026, 1, 31))
    valid, of, faults = _valid(found)
    print(f"{valid} of {of} valid")
    assert (valid, faults[:3]) == (of, [])
    data = [(f["extensions"][0]["data"], f["pcf"]) for f in found["data"]]
    named = {d[k] for d, _ in data for k in ("tocId", "hocId") if k in d}
    left = {row["id"] for row in found["leftOut"]}
    shipments = [d for d, _ in data if "tces" in d]
    assert named
    assert shipments
    assert {t.get("tocId") or t["hocId"] for s in shipments for t in s["tces"]} <= named | left
    assert len({f["id"] for f in found["data"]}) == of
    for element in (t for s in shipments for t in s["tces"]):
        [(kind, km)] = element["distance"].items()
        assert kind in ("actual", "sfd", "gcd")
        assert float(element["transportActivity"]) == pytest.approx(float(km) * float(element["mass"]) / 1000, abs=1e-9)
    [whole] = {
        round(sum(float(p["pCfExcludingBiogenic"]) for d, p in data if "tces" in d), 4),
    }
    with current_build(sample_settings.warehouse) as build:
        legs = closing.elements(build, date(2025, 2, 1), date(2026, 1, 31))
    chain = legs[legs["activity"].isin(["transport", "hub"]) & ~legs["parcel_id"].isin(left)]
    assert whole == pytest.approx(chain["kg_co2e"].sum(), rel=1e-6)


def test_a_build_gives_the_same_file_whenever_it_is_asked(
    copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (copy_of_tiny, date(2025, 12, 1), date(2026, 1, 31))
    first = ileap.envelope(*asked)
    monkeypatch.setattr(state, "now", lambda: datetime(2031, 1, 1))
    assert ileap.envelope(*asked) == first


def test_the_schema_has_teeth(copy_of_tiny: Settings) -> None:
    """Each part that the specification prescribes is missed when it is gone or wrong."""
    found = ileap.envelope(copy_of_tiny, date(2025, 12, 1), date(2026, 1, 31))
    for spoil in (
        lambda f: f.pop("companyName"),
        lambda f: f["pcf"].update(declaredUnit="parcel"),
        lambda f: f["pcf"].update(unitaryProductAmount="0"),
        lambda f: f["extensions"][0]["data"].pop("mass"),
        lambda f: f["extensions"][0]["data"].update(tces=[]),
        lambda f: f["extensions"][0]["data"]["tces"][0].update(distance={}),
        lambda f: f["extensions"][0]["data"]["tces"][0].update(co2eWTW=1.0),
        lambda f: f["extensions"][0]["data"]["tces"][0].update(hocId="both"),
        lambda f: f["extensions"][0].update(dataSchema="https://example.org/x.json"),
    ):
        shipment = json.loads(json.dumps(found["data"][0]))
        assert _valid({"data": [shipment]})[:2] == (1, 1)
        spoil(shipment)
        assert _valid({"data": [shipment]})[:2] == (0, 1)


def test_distances_say_what_they_are(copy_of_tiny: Settings) -> None:
    """Kilometres driven are actual; a great circle is itself, without detour, and the intensity is by it."""
    found = ileap.envelope(copy_of_tiny, date(2025, 12, 1), date(2026, 1, 31))
    by_id = {d["shipmentId"]: d for f in found["data"] if "tces" in (d := f["extensions"][0]["data"])}
    driven = by_id["shop:P1"]["tces"][0]
    assert (driven["mass"], driven["distance"], driven["transportActivity"]) == ("0.8", {"actual": "20"}, "0.016")
    with current_build(copy_of_tiny.warehouse) as build:
        legs = closing.elements(build, date(2025, 12, 1), date(2026, 1, 31)).set_index("element_id")
    [straight] = by_id["shop:P2"]["tces"]
    km = legs.loc["shop:E3", "distance_km"] / 1.25
    assert float(straight["distance"]["gcd"]) == pytest.approx(km)
    operation = {d["tocId"]: d for f in found["data"] if "tocId" in (d := f["extensions"][0]["data"])}
    intensity = float(operation[straight["tocId"]]["co2eIntensityWTW"])
    assert intensity * float(straight["transportActivity"]) == pytest.approx(float(straight["co2eWTW"]), rel=1e-6)


def test_what_cannot_be_said_is_left_out_with_its_reason(copy_of_tiny: Settings, tmp_path: Path) -> None:

    legs = {r["element_id"]: r for r in TINY_SHOP["chain_element"]}
    odd = legs["E2"] | {"vehicle": "zeppelin", "mode": "sea", "recorded_at": "2026-02-05T00:00:00Z"}
    write_rows(tmp_path / "more" / "chain_element.csv", [odd])
    load(copy_of_tiny, [tmp_path / "more"])
    found = ileap.envelope(copy_of_tiny, date(2025, 12, 1), date(2026, 1, 31))
    assert {"id": "shop:P1", "why": "an element without a factor: its emissions are missing, not zero"} in found[
        "leftOut"
    ]
    assert "shop:P1" not in json.dumps(found["data"])
    assert _valid(found)[0] == len(found["data"])


def test_a_van_on_natural_gas_names_its_carrier(copy_of_tiny: Settings, tmp_path: Path) -> None:
    legs = {r["element_id"]: r for r in TINY_SHOP["chain_element"]}
    gas = legs["E1"] | {"vehicle": "van_cng", "recorded_at": "2026-02-05T00:00:00Z"}
    write_rows(tmp_path / "more" / "chain_element.csv", [gas])
    load(copy_of_tiny, [tmp_path / "more"])
    found = ileap.envelope(copy_of_tiny, date(2025, 12, 1), date(2026, 1, 31))
    operations = [d for f in found["data"] if "tocId" in (d := f["extensions"][0]["data"])]
    [carrier] = next(d["energyCarriers"] for d in operations if "van_cng" in d["tocId"])
    assert (carrier["energyCarrier"], carrier["energyConsumptionUnit"]) == ("CNG", "kg")
    row = next(r for r in factors.factors() if r["factor_id"] == "desnz2026.fuel_cng.kg")
    assert (float(carrier["emissionFactorWTW"]), float(carrier["emissionFactorTTW"])) == pytest.approx(
        (float(row["wtw"]), float(row["ttw"]))
    )
    assert _valid(found)[0] == len(found["data"])


@pytest.fixture
def three(copy_of_tiny: Settings) -> Settings:
    """Three closings: a month, the next, and the first anew."""
    closing.close(copy_of_tiny, "2025-12", "A. Martin")
    closing.close(copy_of_tiny, "2025-12", "B. Petit", "weights were wrong\nand so on")
    closing.close(copy_of_tiny, "2025-12", "C. Roy", "once more")
    return copy_of_tiny


def _changed(settings: Settings, statement: object) -> None:
    file = state.State(settings.warehouse)
    with file.transaction() as connection:
        connection.execute(statement)  # type: ignore[call-overload]
    file.close()


C = state_tables.closed_month


def test_closings_are_a_chain(three: Settings, tmp_path: Path) -> None:
    links = signing.verify(three)
    assert [(link.position, link.name, link.problem) for link in links] == [
        (1, "2025-12-1", ""),
        (2, "2025-12-2", ""),
        (3, "2025-12-3", ""),
    ]
    assert "note: weights were wrong\\nand so on" in links[1].text
    assert f"previous: {links[0].digest}" in links[1].text
    assert [c.record for c in closing.closed(three)] == [link.digest for link in links]


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        (
            update(C).where(C.c.number == 1).values(kg_co2e=1.0),
            {"2025-12-1": "its record is not what A. Martin signed"},
        ),
        (update(C).where(C.c.number == 3).values(approver="X"), {"2025-12-3": "its record is not what X signed"}),
        (delete(C).where(C.c.number == 1), {"2025-12-2": "its link to what came first is broken"}),
        (delete(C).where(C.c.number == 2), {"2025-12-3": "its link to 2025-12-1 is broken"}),
    ],
)
def test_what_was_changed_is_found(three: Settings, statement: object, broken: dict[str, str]) -> None:
    """A record that was changed and covered up (its own checksum too) breaks the next one's link."""
    _changed(three, statement)
    found = {link.name: link.problem for link in signing.verify(three) if link.problem}
    assert all(found[name].startswith(text) for name, text in broken.items()), found
    row = closing.closed(three)[0]
    if row.number == 1:
        text = signing.record(asdict(row), 1, signing.FIRST)
        _changed(three, update(C).where(C.c.number == 1).values(record=signing._digest(text)))
        covered = {link.name: link.problem for link in signing.verify(three) if link.problem}
        assert covered.get("2025-12-1") is None
        if "2025-12-1" in broken:
            assert covered["2025-12-2"].startswith("its link to 2025-12-1 is broken")
    with pytest.raises(ReportError, match="nothing was written"):
        signing.export(three, three.warehouse.parent / "out")


def test_a_file_that_is_gone_or_changed_is_named(three: Settings) -> None:
    first, second, _ = closing.closed(three)
    first.path.unlink()
    second.path.chmod(0o600)
    second.path.write_bytes(second.path.read_bytes() + b"x")
    assert [link.sentence for link in signing.verify(three)] == [
        "2025-12-1: its file 2025-12-1.parquet is gone.",
        "2025-12-2: its file 2025-12-2.parquet is not what B. Petit signed for.",
        "2025-12-3: whole.",
    ]


def test_closings_from_before_the_chain_are_its_first_links(three: Settings) -> None:
    """The two first lose what the chain added, as a warehouse of an earlier version has them; then a third follows."""
    _changed(three, delete(C).where(C.c.number == 3))
    (three.warehouse / "closed" / "2025-12-3.parquet").unlink()
    _changed(three, update(C).values(link=None, previous=None, record=None))
    assert [link.problem for link in signing.verify(three)] == ["", ""]
    third = closing.close(three, "2025-12", "C. Roy", "again")
    assert third.link == 3
    assert [link.problem for link in signing.verify(three)] == ["", "", ""]
    _changed(three, update(C).where(C.c.number == 1).values(approver="Somebody else"))
    assert [bool(link.problem) for link in signing.verify(three)] == [False, False, True]


def test_a_folder_for_somebody_outside(
    three: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written, checked by sha256sum alone and by the verb, and found out when a file or a record is changed."""
    out, at = tmp_path / "out", ("--warehouse", str(three.warehouse))
    code, said, _ = ends(capsys, monkeypatch, "closed", "--export", out, *at)
    last = signing.verify(three)[-1].digest
    assert (code, last in said) == (0, True)
    if shutil.which("sha256sum"):
        assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=out, capture_output=True).returncode == 0
    assert last in (out / "HOW-TO-CHECK.txt").read_text()
    code, said, _ = ends(capsys, monkeypatch, "verify", out)
    assert (code, said.count("whole.")) == (0, 3)
    record = out / "002-2025-12-2.txt"
    text, sums = record.read_text(), (out / "SHA256SUMS").read_text()
    record.write_text(text.replace("B. Petit", "B. Grand"))
    code, said, error = ends(capsys, monkeypatch, "verify", out)
    assert code == 1
    assert "2025-12-2: its record 002-2025-12-2.txt is not the one whose checksum SHA256SUMS holds." in said + error
    changed = sums.replace(signing._digest(text), signing._digest(record.read_text()))
    (out / "SHA256SUMS").write_text(changed)  # covered up: the next record tells
    assert [bool(link.problem) for link in signing.verify_folder(out)] == [False, False, True]
    (out / "2025-12-1.parquet").unlink()
    assert [bool(link.problem) for link in signing.verify_folder(out)] == [True, False, True, True]
    with pytest.raises(ReportError, match="holds something already"):
        signing.export(three, out)


def test_the_verb_checks_the_warehouse(
    three: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--warehouse", str(three.warehouse))
    code, said, _ = ends(capsys, monkeypatch, "verify", *at)
    assert (code, said.count("whole.")) == (0, 3)
    _changed(three, delete(C).where(C.c.number == 2))
    code, said, error = ends(capsys, monkeypatch, "verify", *at)
    assert code == 1
    assert "1 of 2 closings are not whole. 2025-12-3: its link to 2025-12-1 is broken" in error
    assert state.read(three, select(C))["number"].tolist() == [1, 3]  # checking changes nothing
