"""The command line as a newcomer meets it.

Help with examples, one line and exit 1 for what goes wrong, three formats.
"""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.cli import app, options, output
from pipelines.errors import UnknownValue
from pipelines.settings import Settings

VERBS = (
    "sample",
    "load",
    "status",
    "check",
    "metrics",
    "metric",
    "accrual",
    "reasons",
    "backtest",
    "export",
    "verify",
    "map",
    "dashboard",
    "demo",
    "promise",
    "at-risk",
    "serve",
    "withdraw",
    "forget",
    "retain",
    "rotate-key",
    "doctor",
    "explain",
    "levers",
    "uncertainty",
    "close",
    "closed",
    "company",
    "report",
    "forecast",
    "dispose",
    "simulate",
    "claims",
)
runner = CliRunner()


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    if result.exit_code == 1 and result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def at(tiny_settings: Settings) -> tuple[str, str]:
    return ("--warehouse", str(tiny_settings.warehouse))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    text = run(verb, "--help")
    assert f"backhaul {verb}" in text.split("Example:")[1]


def test_help_lists_every_verb() -> None:
    text = run("--help")
    assert [verb for verb in VERBS if verb not in text] == []


def test_a_metric_as_json_has_one_object_a_group(at: tuple[str, str]) -> None:
    rows = json.loads(run("metric", "observed_return_rate", "--by", "category", "--format", "json", *at))
    assert [set(row) for row in rows] == [
        {"category", "value", "low", "high", "n", "coverage", "unit", "basis", "status", "reason", "caution"}
    ] * 2
    found = {row["category"]: (row["value"], row["n"]) for row in rows}
    assert found["dresses"] == (pytest.approx(2 / 6), 6)
    assert found["footwear"] == (pytest.approx(2 / 3), 3)  # the third pair was lost on its way


def test_a_metric_without_cut_is_one_object(at: tuple[str, str]) -> None:
    [row] = json.loads(run("metric", "sold_units", "--format", "json", *at))
    assert (row["value"], row["basis"], row["status"]) == (9, "order", "ok")


def test_from_to_and_where_narrow_the_answer(at: tuple[str, str]) -> None:
    [row] = json.loads(
        run(
            "metric",
            "sold_units",
            "--from",
            "2025-12-06",
            "--to",
            "2025-12-15",
            "--where",
            "category=footwear",
            "--format",
            "json",
            *at,
        )
    )
    assert row["value"] == 3  # O2-1 falls on the 6th in Paris, O4-1 on the 15th


def test_a_value_nobody_has_names_those_there_are(at: tuple[str, str]) -> None:
    with pytest.raises(UnknownValue, match=r"No row of sold_units has country 'ZZ'\. There are: FR\."):
        run("metric", "sold_units", "--where", "country=ZZ", *at)
    with pytest.raises(UnknownValue, match=r"market 'fr'\. There are: .*FR"):
        run("metric", "kg_co2e", "--where", "market=fr", *at)
    [row] = json.loads(run("metric", "sold_units", "--where", "month=2031-01-01", "--format", "json", *at))
    assert row["value"] == 0
    [row] = json.loads(run("metric", "sold_units", "--where", "several_sizes=true", "--format", "json", *at))
    assert row["status"] == "ok"


def test_a_month_is_printed_as_a_day(at: tuple[str, str]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("metric", "sold_units", "--by", "month", "--format", "csv", *at))))
    assert [row["month"] for row in rows] == ["2025-12-01", "2026-01-01"]


def test_as_of_answers_as_it_was(at: tuple[str, str]) -> None:
    [row] = json.loads(run("metric", "returned_units", "--as-of", "2025-12-10", "--format", "json", *at))
    assert row["value"] == 1


def test_metrics_lists_key_sentence_formula_unit_and_basis() -> None:
    rows = json.loads(run("metrics", "--format", "json"))
    assert {"key", "sentence", "formula", "unit", "date_basis"} == set(rows[0])
    assert {"observed_return_rate", "promise_kept", "kg_co2e", "return_cost"} <= {row["key"] for row in rows}
    assert len(list(csv.DictReader(io.StringIO(run("metrics", "--format", "csv"))))) == len(rows)


def test_load_as_json_accounts_for_every_row(tmp_path: Path, tiny_files: Path) -> None:
    told = json.loads(run("load", str(tiny_files), "--warehouse", str(tmp_path / "w"), "--format", "json"))
    assert told["build_id"]
    assert all(t["read"] == t["accepted"] + t["duplicate"] + t["quarantined"] for t in told["tables"])
    again = json.loads(run("load", str(tiny_files), "--warehouse", str(tmp_path / "w"), "--format", "json"))
    assert (again["is_new_build"], again["build_id"]) == (False, told["build_id"])
    assert "Nothing new" in run("load", str(tiny_files), "--warehouse", str(tmp_path / "w"))


def test_load_prints_what_was_quarantined_of_the_rows_it_made(tmp_path: Path) -> None:
    """Two of three order lines say "Yes" where a date of return is asked for."""
    (tmp_path / "in.csv").write_text(
        "line,order,sku,qty,price,ordered,returned\n"
        "1,A,S,1,10,2024-03-10,Yes\n2,B,S,1,10,2024-03-10,\n3,C,S,1,10,2024-03-10,Yes\n"
    )
    (tmp_path / "m.yaml").write_text(
        "name: s\ntime_zone: Etc/UTC\nconstants: {currency: EUR, country: FR}\ntables:\n  - file: in.csv\n    to:\n"
        "      order_line: {order_line_id: line, order_id: order, ordered_at: ordered, product_id: sku, units: qty,\n"
        "        net_amount: price}\n      return_event: {when: returned, events: {received: returned}}\n"
    )
    of = (str(tmp_path / "in.csv"), "--source", str(tmp_path / "m.yaml"), "--warehouse", str(tmp_path / "w"))
    said = run("load", *of)
    made = said[said.index("Rows derived from these") :]
    assert re.search(r"return_event\W+2\W", made[: made.index("Published")]), made


def test_status_tells_builds_freshness_quarantine_and_failed_checks(at: tuple[str, str]) -> None:
    told = json.loads(run("status", "--format", "json", *at))
    assert {"builds", "freshness", "tables", "quarantine", "failed_checks"} <= set(told)
    assert told["observed_until"].startswith("2026-01-20")
    assert "Build" in run("status", *at)


def test_check_runs_every_check(at: tuple[str, str]) -> None:
    rows = json.loads(run("check", "--format", "json", *at))
    assert {row["check"]: row["rows"] for row in rows}["refund_discrepancy"] == 1
    assert all(row["rows"] == 0 for row in rows if row["blocks"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("metric", "return_rat"), "return_rate"),
        (("load", "no-such-folder"), "no file or folder"),
        (("map", "no-such-file"), "no file at"),
        (("load", ".", "--warehouse", "oracle://db"), "can be read, not written"),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_1(
    arguments: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["backhaul", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert says in message
    assert len(message.strip().splitlines()) == 1


def test_a_cut_named_twice_is_one_cut_and_days_must_be_in_order(at: tuple[str, str]) -> None:
    once = run("metric", "sold_units", "--by", "country", "--format", "csv", *at)
    assert run("metric", "sold_units", "--by", "country", "--by", "country", "--format", "csv", *at) == once
    told = runner.invoke(app, ["metric", "sold_units", "--from", "2026-01-02", "--to", "2026-01-01", *at])
    assert told.exit_code == 2


def test_an_unknown_dimension_lists_the_ones_there_are(
    at: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["backhaul", "metric", "sold_units", "--by", "colourr", *at])
    with pytest.raises(SystemExit):
        cli.main()
    assert "colour" in capsys.readouterr().err


def test_demo_without_dashboard_makes_a_warehouse(tmp_path: Path) -> None:
    told = run("demo", "--no-dashboard", "--orders", "2000", "--warehouse", str(tmp_path / "w"))
    assert "backhaul dashboard" in told
    [row] = json.loads(run("metric", "sold_units", "--format", "json", "--warehouse", str(tmp_path / "w")))
    assert 1500 < row["value"] < 4000


def test_sample_writes_files_that_load(tmp_path: Path) -> None:
    rows = json.loads(run("sample", "--out", str(tmp_path / "files"), "--orders", "1000", "--format", "json"))
    written = {str(f.relative_to(tmp_path / "files")) for f in (tmp_path / "files").rglob("*") if f.is_file()}
    assert {row["file"] for row in rows} == written


def test_one_return_is_explained_leg_by_leg(at: tuple[str, str]) -> None:
    told = run("explain", "R1", *at)
    assert "20 km x 0.8 kg / 1000 x 0.78225 kgCO2e/t.km = 0.012516 kg CO2e" in told
    assert "27_303_3102_14_1+28_906_3102_14_1" in told
    whole = json.loads(run("explain", "R1", "--format", "json", *at))
    rows = [leg for parcel in whole["parcels"] for leg in parcel["legs"]]
    assert [row["element_id"] for row in rows] == ["shop:E1", "shop:E2"]
    assert [row["factor_year"] for row in rows] == [2025, 2025]
    assert sum(lot["kg_co2e"] for lot in whole["lots"]) == pytest.approx(whole["kg_co2e"])


def test_factors_are_listed_compared_imported_and_used(copy_of_tiny: Settings, tmp_path: Path) -> None:
    at = ("--warehouse", str(copy_of_tiny.warehouse))
    rows = list(csv.DictReader(io.StringIO(run("factors", "list", "--set", "epa", "--format", "csv", *at))))
    assert {row["licence"] for row in rows} == {"US public domain"}
    assert json.loads(run("factors", "missing", "--format", "json", *at)) == []
    own = tmp_path / "own.csv"
    own.write_text(
        "factor_id,activity,vehicle,unit,wtw,valid_from_year,source,licence\nown.artic,freight,truck_artic,kgCO2e/t.km,0.2,2020,Carrier,own\n"
    )
    assert "1 factors of own are kept" in run("factors", "import", str(own), "--set", "own", *at)
    compared = json.loads(run("factors", "compare", "own", "--format", "json", *at))
    said = sum(row["other_kg_co2e"] for row in compared)
    assert "own comes first in build" in run("factors", "use", "own", *at)
    [row] = json.loads(run("metric", "kg_co2e", "--format", "json", *at))
    assert row["value"] == pytest.approx(said)


def test_a_scenario_is_run_kept_and_carried_into_the_next_weeks(sample_settings: Settings) -> None:
    at = ("--warehouse", str(sample_settings.warehouse), "--format", "json")
    weeks = json.loads(run("simulate", "--fee", "2", "--weeks", *at))
    assert len(weeks) == 12
    assert {row["scenario"] for row in weeks} == {"scenario"}
    assert all(row["under"] < row["value"] for row in weeks)
    rows = {row["outcome"]: row for row in json.loads(run("simulate", "--no-box", *at))}
    assert rows["kg_co2e"]["difference"] < 0 == rows["return_cost"]["difference"]


def test_a_month_is_closed_and_reported(copy_of_tiny: Settings, tmp_path: Path) -> None:
    at = ("--warehouse", str(copy_of_tiny.warehouse))
    assert json.loads(run("closed", "--format", "json", *at)) == []
    assert "2025-12 is closed" in run("close", "2025-12", "--approver", "A. Martin", *at)
    [row] = json.loads(run("closed", "--format", "json", *at))
    assert row["closed"] == pytest.approx(row["now"])
    out = tmp_path / "r.xlsx"
    assert "from primary data" in run("report", str(out), "--from", "2025-12-01", "--to", "2025-12-31", *at)
    assert out.stat().st_size > 5000
    rules = json.loads(
        run("company", "--country", "FR", "--employees", "1200", "--turnover", "510", "--format", "json", *at)
    )
    assert {r["status"] for r in rules} <= {"obligatory", "voluntary", "not applicable"}
    assert json.loads(run("levers", "--format", "json", *at)) == []  # too small a shop for any


def test_a_csv_of_the_command_line_holds_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    """Text that a spreadsheet would run gets an apostrophe, as in exported files.

    Numbers stay numbers, negative ones too.
    """
    rows = [
        {"category": '=HYPERLINK("x")', "value": -0.5, "n": -3, "note": None},
        {"category": "-shoes", "value": 2, "n": 1, "note": "a"},
    ]
    output.print_rows(rows, options.Format.csv)
    assert capsys.readouterr().out.splitlines() == [
        "category,value,n,note",
        '"\'=HYPERLINK(""x"")",-0.5,-3,',
        "'-shoes,2,1,a",
    ]
