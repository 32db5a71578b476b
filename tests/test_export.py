"""Files to take away.

The same rows and checksum in every format, the context with them, and no cell that is a formula.
"""

import datetime as dt
import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines import metrics
from pipelines.cli import app
from pipelines.errors import ExportError
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.outputs import export
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests import any_shop
from tests.conftest import fresh
from tests.disturbed import failing

FORMS = ("csv", "xlsx", "parquet")
NASTY = [
    "=1+1",
    "+33 1",
    "-5",
    "@SUM(A1)",
    "\t=x",
    "\r\n=x",
    "a;=1+1",
    "note\n- item",
    "\uff1d1",
    "#N/A",
    "0042",
    "Chaussures « été », 15 € 🙂",
    'a "quoted", text',
    "# no comment",
    "x\x07y",
    "",
    None,
    " padded ",
]
MADE = dt.datetime(2026, 2, 1, 8, 30)


@pytest.fixture
def every_kind() -> pd.DataFrame:
    """One column of each kind, each with a missing cell."""
    n = len(NASTY)
    return pd.DataFrame(
        {
            "text": NASTY,
            "units": pd.array([-1, None, *range(n - 2)], dtype="Int64"),
            "amount": [0.1 + 0.2, 1 / 3, 1e-9, 1e20, -0.0, 12.0, np.nan, *np.linspace(0, 1e6, n - 7)],
            "counted_on": [*pd.date_range("2025-12-01", periods=n - 1), pd.NaT],
            "started_at": [*pd.date_range("2025-12-01 10:00:00.4", periods=n - 1, freq="7h"), pd.NaT],
            "is_gift": [*[True, False] * ((n - 1) // 2), *[True] * ((n - 1) % 2), None],
            "nothing": [None] * n,
        }
    )


def about(build: Build, **asked: Any) -> dict[str, str]:
    question = Question(**{n: asked.pop(n) for n in ("where", "since", "until", "as_of") if n in asked})
    return export.context(build, export.About("Rates", question=question, **asked), 18, MADE)


def written(frame: pd.DataFrame, context: dict[str, str], folder: Path, form: str, language: str = "en") -> Path:
    path = folder / f"rows.{form}"
    path.write_bytes(export.to_bytes(frame, context, form, language))
    return path


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_verifies_and_every_format_has_the_same_checksum(
    every_kind: pd.DataFrame, tiny_build: Build, tmp_path: Path, form: str, language: str
) -> None:
    context = about(tiny_build, language=language)
    checked = export.verify(written(every_kind, context, tmp_path, form, language))
    assert checked.holds
    assert checked.rows == len(every_kind)
    assert checked.found == export.checksum(every_kind)


def test_the_checksum_is_that_of_what_follows_the_context_in_the_csv(
    every_kind: pd.DataFrame, tiny_build: Build, tmp_path: Path
) -> None:
    lines = (
        written(every_kind, about(tiny_build), tmp_path, "csv")
        .read_bytes()
        .removeprefix(b"\xef\xbb\xbf")
        .splitlines(keepends=True)
    )
    first = next(i for i, line in enumerate(lines) if not line.startswith(b"#"))
    assert hashlib.sha256(b"".join(lines[first:])).hexdigest() == export.checksum(every_kind)
    assert f'# SHA-256,"{export.checksum(every_kind)}"\n'.encode() in lines[:first]
    assert lines[0].startswith(b"# Backhaul,")
    assert f"{first} lines of context".encode() in lines[0]


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_cell_is_found(tiny_build: Build, tmp_path: Path, form: str) -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "amount": [10.0, 20.5]})
    path = written(frame, about(tiny_build), tmp_path, form)
    if form == "csv":
        path.write_bytes(path.read_bytes().replace(b"20.5", b"20.6"))
    elif form == "xlsx":
        book = openpyxl.load_workbook(path)
        book.worksheets[0]["B3"] = 20.6
        book.save(path)
    else:
        table = pq.read_table(path)
        pq.write_table(table.slice(0, 1), path)
    assert not export.verify(path).holds


@pytest.mark.parametrize("form", ["xlsx", "parquet"])
def test_a_file_saved_anew_without_a_change_still_verifies(
    every_kind: pd.DataFrame, tiny_build: Build, tmp_path: Path, form: str
) -> None:
    path = written(every_kind, about(tiny_build), tmp_path, form)
    if form == "xlsx":
        book = openpyxl.load_workbook(path)
        for row in book.worksheets[0].iter_rows():
            for cell in row:
                if isinstance(cell.value, str):
                    cell.data_type = "s"
        book.save(path)
    else:
        pq.write_table(pq.read_table(path), path, compression="zstd")
    assert export.verify(path).holds


@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([("", 1.7976931348623151e308, 0), ("_x0041_", -0.0, 2**60)])
@given(st.lists(st.tuples(st.text(), st.floats(), st.integers(-(2**60), 2**60)), min_size=1, max_size=6))
def test_any_text_and_number_comes_back_in_every_format(tmp_path: Path, rows: list[tuple[str, float, int]]) -> None:
    frame = pd.DataFrame(rows, columns=["text", "number", "count"])
    for form in FORMS:
        checked = export.verify(written(frame, {"Backhaul": "0"}, tmp_path, form))
        assert (checked.found, checked.rows) == (export.checksum(frame), len(rows)), form
        assert checked.holds, form


@pytest.mark.parametrize("form", FORMS)
def test_no_rows_make_a_file_too(tiny_build: Build, tmp_path: Path, form: str) -> None:
    empty = pd.DataFrame({"id": pd.Series(dtype=str), "amount": pd.Series(dtype=float)})
    checked = export.verify(written(empty, about(tiny_build), tmp_path, form))
    assert (checked.holds, checked.rows) == (True, 0)


def test_no_cell_of_a_csv_begins_a_formula_and_numbers_stay_numbers(tiny_build: Build, tmp_path: Path) -> None:
    frame = pd.DataFrame({"=head": NASTY, "amount": np.arange(len(NASTY)) - 3.5})
    path = written(frame, about(tiny_build, where={"brand": ["=cmd()", "x\n=y"]}), tmp_path, "csv")
    for separator in (",", ";", "\t"):
        text = path.read_text("utf-8-sig")
        cells = [cell.lstrip('"') for line in text.split("\n") for cell in line.split(separator)]
        assert [c for c in cells if c[:1] in tuple("=+@\t\r\uff1d") or (c[:1] == "-" and not c[1:2].isdigit())] == []
    read = duckdb.sql(f"FROM read_csv('{path}', comment = '#')").df()
    assert read["amount"].dtype == float
    assert read["amount"].iloc[0] == -3.5
    assert len(read) == len(frame)


def test_pandas_and_duckdb_read_a_csv_with_its_context(
    every_kind: pd.DataFrame, tiny_build: Build, tmp_path: Path
) -> None:
    path = written(every_kind.iloc[:6, 1:], about(tiny_build), tmp_path, "csv")
    by_pandas = pd.read_csv(path, comment="#", encoding="utf-8-sig")
    by_itself = duckdb.sql(f"FROM '{path}'").df()
    for read in (by_pandas, by_itself):
        assert list(read.columns) == list(every_kind.columns[1:])
        np.testing.assert_allclose(read["amount"].astype(float), every_kind["amount"].head(6), rtol=1e-14)


def test_excel_cells_are_typed_and_none_is_a_formula(
    every_kind: pd.DataFrame, tiny_build: Build, tmp_path: Path
) -> None:
    book = openpyxl.load_workbook(written(every_kind, about(tiny_build, where={"brand": ["=cmd()"]}), tmp_path, "xlsx"))
    kinds = {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row}
    assert kinds <= {"s", "n", "d", "b"}
    head, first, *_ = book.worksheets[0].iter_rows()
    found = {h.value: c for h, c in zip(head, first, strict=True)}
    assert (found["text"].value, found["text"].data_type, found["text"].quotePrefix) == ("=1+1", "s", True)
    assert (found["units"].value, found["amount"].value, found["is_gift"].value) == (-1, 0.3, True)
    assert (found["counted_on"].value, found["counted_on"].number_format) == (dt.datetime(2025, 12, 1), "yyyy-mm-dd")
    assert found["started_at"].value == dt.datetime(2025, 12, 1, 10)


def test_more_rows_than_a_sheet_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_SHEET_ROWS", 3)
    with pytest.raises(ExportError, match="Excel sheet"):
        export.to_bytes(pd.DataFrame({"n": [1, 2, 3]}), {}, "xlsx")
    assert export.to_bytes(pd.DataFrame({"n": [1, 2]}), {}, "xlsx")


def test_parquet_keeps_the_kinds(every_kind: pd.DataFrame, tiny_build: Build, tmp_path: Path) -> None:
    schema = pq.read_schema(written(every_kind, about(tiny_build), tmp_path, "parquet"))
    kinds = {f.name: str(f.type) for f in schema}
    assert kinds == {
        "text": "string",
        "units": "int64",
        "amount": "double",
        "counted_on": "date32[day]",
        "started_at": "timestamp[ms, tz=UTC]",
        "is_gift": "bool",
        "nothing": "string",
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_file_says_what_it_is(every_kind: pd.DataFrame, tiny_build: Build, tmp_path: Path, form: str) -> None:
    asked = {
        "metrics": ("observed_return_rate", "kg_co2e"),
        "by": ("category",),
        "where": {"country": ["FR", "DE"], "size": [None]},
        "since": dt.date(2025, 12, 1),
        "until": dt.date(2025, 12, 31),
    }
    found = export.read_about(written(every_kind, about(tiny_build, **asked), tmp_path, form))
    assert found.pop("SHA-256") == export.checksum(every_kind)
    assert found["what it shows"] == "Rates"
    assert found["made at (UTC)"] == "2026-02-01 08:30:00"
    assert found["build"].startswith(tiny_build.build_id)
    assert found["as of (UTC)"] == tiny_build.info["observed_until"].replace("T", " ")
    assert found["period"] == "2025-12-01 to 2025-12-31, both included"
    assert found["filters"] == "country = FR, DE; size = (empty)"
    assert (found["cut by"], found["reporting currency"]) == ("category", "EUR")
    assert found["factor set"].startswith(f"{len(export._factors(tiny_build))} factors")
    assert found["observed_return_rate: formula"] == metrics.metric("observed_return_rate").formula
    assert found["observed_return_rate: what it says"] == metrics.metric("observed_return_rate").sentence.en
    assert (found["observed_return_rate: day that counts"], found["kg_co2e: day that counts"]) == (
        "day of the order",
        "day the return was requested",
    )
    assert found["rows"] == "18, all there are"


def test_the_context_speaks_french(tiny_build: Build) -> None:
    english, french = (
        about(tiny_build, metrics=("kg_co2e",), part="numerator", language=language) for language in ("en", "fr")
    )
    assert len(english) == len(french)
    assert french["filtres"] == "aucun"
    assert french["kg_co2e: nom"] == "Émissions des retours"
    assert french["lignes du"] == "numérateur"


def test_a_cut_file_says_so(tiny_build: Build) -> None:
    assert about(tiny_build, total=2_000_000)["rows"] == "18, the newest of 2 000 000: cut"


def test_the_factor_set_is_told_apart_by_its_figures(tiny_build: Build) -> None:
    factors = export._factors(tiny_build)
    other = factors.assign(value=factors["value"] * 1.01)
    assert export.checksum(factors) != export.checksum(other)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,amount\n1,2\n")
    (tmp_path / "b.xlsx").write_text("not a workbook")
    (tmp_path / "c.txt").write_text("")
    for name in ("a.csv", "b.xlsx", "c.txt", "missing.parquet"):
        with pytest.raises(ExportError, match=name):
            export.verify(tmp_path / name)
    with pytest.raises(ExportError, match="no format"):
        export.to_bytes(pd.DataFrame({"n": [1]}), {}, "pdf")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_exported_and_verified_on_the_command_line(
    tiny_build: Build, tiny_settings: Any, tmp_path: Path, form: str
) -> None:
    out = tmp_path / f"rows.{form}"
    asked = ["observed_return_rate", "--rows", "denominator", "--where", "category=footwear", "--by", "category"]
    done = run("export", *asked, "--out", str(out), "--warehouse", str(tiny_settings.warehouse))
    assert done.exit_code == 0, done.output
    checked = run("verify", str(out), "--format", "json")
    assert checked.exit_code == 0
    stated = {row["name"]: row["value"] for row in json.loads(checked.stdout)}
    assert (stated["filters"], stated["rows of the"]) == ("category = footwear", "denominator")
    expected = metrics.rows(
        tiny_build,
        "observed_return_rate",
        Question(where={"category": ["footwear"]}),
        part="denominator",
        by=("category",),
    )
    assert stated["SHA-256"] == export.checksum(expected)


def test_an_answer_is_exported_and_a_changed_file_fails(tiny_settings: Any, tmp_path: Path) -> None:
    out = tmp_path / "rates.csv"
    assert (
        run(
            "export",
            "observed_return_rate",
            "--by",
            "category",
            "--out",
            str(out),
            "--warehouse",
            str(tiny_settings.warehouse),
        ).exit_code
        == 0
    )
    assert run("verify", str(out)).exit_code == 0
    out.write_bytes(out.read_bytes().replace(b"dresses", b"skirts_"))
    failed = run("verify", str(out))
    assert failed.exit_code == 1
    assert "not those that were written" in str(failed.exception)


def test_a_disk_that_fails_leaves_the_file_that_stood_there(tmp_path: Path, every_kind: pd.DataFrame) -> None:
    """At each call of the disk: the old file verifies, no draft is left, and the error names the file."""
    path = tmp_path / "rows.csv"
    export.write(every_kind, {"title": "first"}, path)
    before = path.read_bytes()
    with failing(tmp_path, errno.ENOSPC) as counted:
        export.write(every_kind, {"title": "first"}, path)
    failed = [n for n in range(1, len(counted.asked) + 1) if not _is_written(every_kind, path, n)]
    assert len(failed) >= 4  # open, write, flush to disk, replace
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]
    assert export.verify(path).holds


def _is_written(frame: pd.DataFrame, path: Path, call: int) -> bool:
    """Write a frame to a disk that fails at a call; an error names the file and leaves what stood there."""
    before = path.read_bytes()
    error = None
    with failing(path.parent, errno.ENOSPC, call):
        try:
            export.write(frame, {"title": "first"}, path)
        except OSError as raised:
            error = raised
    assert path.read_bytes() == before
    assert error is None or error.filename == str(path)
    return error is None


def test_the_coverage_in_a_file_is_the_metrics_own(tmp_path: Path) -> None:
    """Every 14th return names no order: each row of the file says what share of its rows it rests on, as asked."""
    shop = {**any_shop.whole()}
    shop["return_event"] = shop["return_event"].copy()
    lines = shop["return_event"]["return_line_id"].drop_duplicates().iloc[::14]
    shop["return_event"].loc[shop["return_event"]["return_line_id"].isin(lines), "order_line_id"] = None
    settings_ = fresh(tmp_path)
    load(settings_, any_shop.write(tmp_path / "in", any_shop.Delivery(shop)))
    out = tmp_path / "rates.csv"
    asked = ["observed_return_rate", "--by", "category", "--out", str(out)]
    assert run("export", *asked, "--warehouse", str(settings_.warehouse)).exit_code == 0
    found = pd.read_csv(out, comment="#", encoding="utf-8-sig").set_index("category")["coverage"]
    with current_build(settings_.warehouse) as build:
        own = metrics.answer(build, "observed_return_rate", by=("category",)).set_index("category")["coverage"]
        whole = metrics.answer(build, "observed_return_rate").iloc[0]
    assert found.to_dict() == pytest.approx(own.to_dict())
    assert found.min() < 1
    (said,) = [line for line in out.read_text(encoding="utf-8-sig").splitlines() if "rests on" in line]
    assert f"{whole['coverage']:.1%}; {whole['reason']}" in said
