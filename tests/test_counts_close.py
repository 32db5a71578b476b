"""Every line of a file is accounted for.

Columns: accepted, duplicate, quarantined, or named as what it is, with the line an editor shows. Files are generated:
line ends of all kinds, inside cells too, empty lines, titles above, totals below, rows too short and too long. Lines
are counted here by hand, without the product.
"""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.load import Report, load
from pipelines.settings import Settings
from pipelines.warehouse import state

pytestmark = pytest.mark.usefixtures("facts_alone")

HEADER = "refund_id,refunded_at,amount,currency,kind"
MAPPING = """
name: counted
constants: {currency: EUR}
read: {header_row: find, until: Total}
tables:
  - file: "*.csv"
    when: {column: kind, is_not: draft}
    to:
      refund: {refund_id: refund_id, refunded_at: refunded_at, amount: amount}
"""
OTHERS = ("header", "blank", "preamble", "totals", "within", "left_out")


def lines_of(text: str) -> list[str]:
    """The lines that an editor shows: the end of the last one begins no other."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines[:-1] if lines[-1] == "" else lines


def judged(text: str, mapping: str = "") -> tuple[Report, list[tuple[int, str]]]:
    """Judge a file: the report, and the line and rules of each quarantined row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        (folder / "in" / "refund.csv").write_bytes(text.encode())
        (folder / "m.yaml").write_text(mapping)
        settings = Settings(warehouse=folder / "warehouse")
        since = state.now()
        source = str(folder / "m.yaml") if mapping else None
        report = load(settings, [folder / "in"], source=source, is_trial=True)
        aside = state.quarantined(settings, since)
    return report, list(zip(aside["line"], aside["rules"], strict=True))


def assert_closed(report: Report, text: str) -> None:
    (file,) = report.files
    assert file["lines"] == len(lines_of(text))
    assert file["lines"] + file["more_rows"] == file["rows"] + sum(file[kind] for kind in OTHERS)
    assert file["rows"] == sum(c["read"] for c in report.counts)
    assert all(c["read"] == c["accepted"] + c["duplicate"] + c["quarantined"] for c in report.counts)


CELL = st.sampled_from(["original", "manual", "voucher", "", " "])
INNER = st.sampled_from(['"a note\nof two lines"', '"said ""no"", then\r\nleft"', '"\n"', '"one, two"'])
ROW = st.one_of(
    st.tuples(st.just("good"), CELL),
    st.tuples(st.just("good"), INNER),
    st.tuples(st.just("bad"), CELL),
    st.tuples(st.just("short"), st.just("")),
    st.tuples(st.just("long"), CELL),
    st.tuples(st.just("blank"), st.just("")),
    st.tuples(st.just("twice"), st.just("")),
)


def written(rows: list[tuple[str, str]]) -> list[str]:
    """The records of a file: ids are R and the place of the row, so that a line shows which row it is."""
    records: list[str] = []
    for place, (kind, cell) in enumerate(rows):
        record = f"R{place},2026-01-02T10:00:00Z,5,EUR,{cell}"
        if kind == "twice" and records and records[-1]:
            record = records[-1]
        elif kind == "bad":
            record = f"R{place},soon,5,EUR,{cell}"
        elif kind == "short":
            record = f"R{place},2026-01-02T10:00:00Z"
        elif kind == "long":
            record = f"R{place},2026-01-02T10:00:00Z,5,EUR,{cell},more"
        elif kind == "blank":
            record = ""
        records.append(record)
    return records


@settings(max_examples=12, deadline=None)
@given(st.lists(ROW, max_size=12), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_the_lines_of_a_canonical_file_close(rows: list[tuple[str, str]], end: str, has_end: bool) -> None:
    records = written(rows)
    text = end.join([HEADER, *records]) + (end if has_end else "")
    report, aside = judged(text)
    assert_closed(report, text)
    shown = lines_of(text)
    for line, _ in aside:  # the line said is where the row begins
        assert shown[line - 1].startswith("R")
    wrong = [r for r in records if re.search(r",soon,|Z$|,more$", r)]
    assert sorted(shown[line - 1] for line, _ in aside if "several" not in _) == sorted(lines_of(r)[0] for r in wrong)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(ROW, min_size=1, max_size=8),
    st.lists(st.sampled_from(["Report of today", "", "Shop 1", "of January"]), max_size=3),
    st.integers(0, 2),
    st.sampled_from(["\n", "\r\n"]),
)
def test_the_lines_of_a_mapped_file_close(rows: list[tuple[str, str]], above: list[str], totals: int, end: str) -> None:
    records = [r if n % 3 else re.sub(',[^,"]*$', ",draft", r) for n, r in enumerate(written(rows))]
    records = ["R,2026-01-02T10:00:00Z,5,EUR,original", *records]  # so that the header is as wide as any
    text = end.join([*above, HEADER, *records, *["Total,,5,,"] * totals]) + end
    report, _ = judged(text, MAPPING)
    assert_closed(report, text)
    (file,) = report.files
    assert file["totals"] == totals


def test_what_is_counted_worked_out_by_hand() -> None:
    """Twelve lines: the header, three blank ones, and six rows of which one goes on for two lines more."""
    text = (
        f'{HEADER}\n\nR1,2026-01-02T10:00:00Z,5,EUR,"a\nb\nc"\nR2,soon,5,EUR,\nR3,2026-01-02T10:00:00Z,5,EUR,\n '
        " \nR3,2026-01-02T10:00:00Z,5,EUR,\nR4,x\nR5,2026-01-02T10:00:00Z,5,EUR,,y\n\n"
    )
    report, aside = judged(text)
    (count,) = report.counts
    assert [count[k] for k in ("read", "accepted", "duplicate", "quarantined")] == [6, 2, 1, 3]
    assert report.files == [
        {
            "file": "refund.csv",
            "lines": 12,
            "rows": 6,
            "header": 1,
            "blank": 3,
            "preamble": 0,
            "totals": 0,
            "within": 2,
            "left_out": 0,
            "more_rows": 0,
        }
    ]
    assert [line for line, _ in aside] == [6, 10, 11]


def test_a_row_that_a_stray_quote_makes_of_several_lines_says_its_first_and_last() -> None:
    """Line 3 opens a quote that line 5 happens to close: three lines that are one row too long, said with both ends."""
    good = "R{},2026-01-02T10:00:00Z,5,EUR,manual"
    text = "\n".join(
        [
            HEADER,
            good.format(1),
            good.format(2).replace("R2,", '"R2,'),
            good.format(3),
            good.format(4) + '",x',
            good.format(5),
            "",
        ]
    )
    report, aside = judged(text)
    assert [(c["read"], c["accepted"], c["quarantined"]) for c in report.counts] == [(3, 2, 1)]
    assert [line for line, _ in aside] == [3]
    assert report.quarantined[0]["first"] == "'too few fields, lines 3 to 5', refund.csv line 3"
    assert_closed(report, text)


@pytest.mark.parametrize("text", [HEADER, HEADER + "\n", HEADER + "\r\n\r\n"])
def test_a_header_alone_is_said_and_nothing_is_lost(text: str) -> None:
    report, _ = judged(text)
    assert report.notes == ["refund.csv holds a header and no rows."]
    assert_closed(report, text)
