"""PDF of a page's charts, tables and sentences: read back as text, in both languages, always the same bytes."""

import zlib
from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest

from pipelines.errors import ExportError
from pipelines.outputs.document import MOST_ROWS, Chart, Document, Line, Sentence, Table, to_pdf
from pipelines.outputs.export import to_bytes
from tests.test_pictures import FIGURES

MADE = datetime(2026, 1, 31, 12, 30)
ROWS = pd.DataFrame({"category": ["robes d'été", "chaussures"], "rate": ["12,5 %", "8,0 %"]})


def document(language: str = "en") -> Document:
    return Document(
        title="Returns – week 4" if language == "en" else "Retours – semaine 4",
        subtitle="France, 1 to 31 January",
        lines=(Line("Return rate", "12.5%", "11.0% to 14.0%", "too young: 31% of the expected returns have come"),),
        parts=(
            Sentence("Œuvre, ½, €, 日本, <b>not bold</b>"),
            Chart(FIGURES["trend"]().to_dict(), "Return rate by month", "90% intervals."),
            Table(ROWS, "By category"),
            Sentence("quiet", is_quiet=True),
        ),
        build="000001-20260131T120000",
        made_at=MADE,
        language=language,
    )


def glyphs(pdf: bytes) -> int:
    """Count the signs that a PDF writes, from its unpacked streams."""
    found, at = 0, 0
    while (start := pdf.find(b"stream\n", at)) >= 0:
        end = pdf.find(b"endstream", start)
        try:
            text = zlib.decompress(pdf[start + 7 : end])
        except zlib.error:
            text = b""
        found += text.count(b") Tj")
        at = end + 9
    return found


def pages(pdf: bytes) -> int:
    return pdf.count(b"/Type /Page\n")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_document_is_whole_and_always_alike(language: str) -> None:
    pdf = to_pdf(document(language))
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert f"/Lang ({language})".encode() in pdf
    assert pdf == to_pdf(document(language))
    assert pdf.count(b"/Subtype /Image") >= 1
    assert glyphs(pdf) > 15


def test_every_part_adds_to_it() -> None:
    whole = document()
    for n in range(len(whole.parts)):
        less = replace(whole, parts=whole.parts[:n] + whole.parts[n + 1 :])
        assert glyphs(to_pdf(less)) < glyphs(to_pdf(whole))
    assert glyphs(to_pdf(replace(whole, lines=()))) < glyphs(to_pdf(whole))


def test_a_long_table_is_cut_and_runs_over_pages() -> None:
    rows = pd.DataFrame({"id": [f"R{i}" for i in range(500)], "kg": range(500)})
    pdf = to_pdf(Document("Rows", parts=(Table(rows, "All"),), made_at=MADE))
    assert pages(pdf) >= 2
    assert glyphs(pdf) < 4 * MOST_ROWS
    short = to_pdf(Document("Rows", parts=(Table(rows.head(MOST_ROWS), "All"),), made_at=MADE))
    assert glyphs(pdf) > glyphs(short)  # the sentence that it was cut


def test_nothing_to_say_is_said() -> None:
    assert glyphs(to_pdf(Document("Rows", parts=(Table(ROWS.head(0), "All"),), made_at=MADE))) > 3
    with pytest.raises(ExportError, match="cannot draw pie"):
        to_pdf(Document("x", parts=(Chart({"data": [{"type": "pie"}]}),)))


def test_a_table_has_three_forms_from_one_function() -> None:
    for form, begins in (("csv", b"\xef\xbb\xbf#"), ("xlsx", b"PK"), ("parquet", b"PAR1")):
        assert to_bytes(ROWS, {"Backhaul": "x"}, form, "fr").startswith(begins)
