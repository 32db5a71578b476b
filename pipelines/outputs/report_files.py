"""A report as a workbook and as a PDF."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.styles import Font

if TYPE_CHECKING:
    from pipelines.outputs.report import Report


SHOWN = (
    "summary",
    "scopes",
    "scope 3",
    "ESRS E1-6",
    "Art. 24 header",
    "discarded goods",
    "Art. 24 gaps",
    "ESRS E5-5",
    "avoided (outside totals)",
    "data quality",
    "stated and modelled",
    "closed months",
    "obligations",
)
"""Tables of the report that the PDF holds."""
HIDDEN = {"milestones and targets (2030, 2050)", "span", "note", "address", "rule", "quality", "name_fr", "note_fr"}
"""Columns that a page has no room for."""


def to_xlsx(report: "Report") -> bytes:
    """Write the workbook: a sheet a table, figures as numbers."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, frame in report.sheets.items():
        sheet = book.create_sheet(name)
        sheet.append(list(frame.columns))
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        for row in frame.astype(object).itertuples(index=False, name=None):
            sheet.append([_cell(v) for v in row])
        sheet.freeze_panes = "A2"
        for place, column in enumerate(frame.columns, start=1):
            longest = max([len(str(column)), *(len(str(_cell(v) or "")) for v in frame.iloc[:200, place - 1])])
            sheet.column_dimensions[sheet.cell(1, place).column_letter].width = min(longest + 2, 70)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None or value is pd.NaT or (isinstance(value, float) and not np.isfinite(value)) or pd.isna(value):
        return None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return "'" + value
    return value


def to_pdf(report: "Report") -> bytes:
    """Write the report for reading.

    Columns: summary, scopes, discarded goods, closed months, obligations, method and factors.
    """
    from fpdf import FPDF
    from fpdf.fonts import FontFace

    page = FPDF(orientation="landscape", format="A4")
    page.set_creation_date(pd.Timestamp(report.made_at, tz="UTC").to_pydatetime())
    page.set_auto_page_break(auto=True, margin=12)
    page.add_page()
    page.set_font("helvetica", "B", 16)
    page.cell(0, 10, _latin(f"Emissions of returns, {report.since} to {report.until}"), new_x="LMARGIN", new_y="NEXT")
    page.set_font("helvetica", size=11)
    said = (
        f"{report.total:,.0f} kg CO2e, {report.low:,.0f} to {report.high:,.0f} (90%); {report.primary_share:.0%} rests"
        f" on primary data, {report.reported_share:.0%} on reported inputs. Build {report.build}."
    )
    page.multi_cell(0, 6, _latin(said), new_x="LMARGIN", new_y="NEXT")
    for name in SHOWN:
        frame = report.sheets[name]
        hidden = [] if name == "avoided (outside totals)" else [c for c in frame if c in HIDDEN]
        _pdf_table(page, name, frame.drop(columns=hidden), FontFace)
    page.ln(4)
    page.set_font("helvetica", "B", 12)
    page.cell(0, 8, "Method", new_x="LMARGIN", new_y="NEXT")
    page.set_font("helvetica", size=9)
    for sentence in report.method:
        page.multi_cell(0, 5, _latin("- " + sentence), new_x="LMARGIN", new_y="NEXT")
    factors = report.sheets["factors"][
        ["factor_id", "unit", "value", "year", "source", "row_id", "licence", "gwp", "eol_method"]
    ]
    _pdf_table(page, "factors", factors, FontFace)
    return bytes(page.output())


def _pdf_table(page: Any, title: str, frame: pd.DataFrame, face: Any) -> None:
    if page.will_page_break(30):
        page.add_page()
    page.ln(4)
    page.set_font("helvetica", "B", 12)
    page.cell(0, 8, _latin(title[:1].upper() + title[1:]), new_x="LMARGIN", new_y="NEXT")
    page.set_font("helvetica", size=7)
    if frame.empty:
        page.cell(0, 5, "none", new_x="LMARGIN", new_y="NEXT")
        return
    texts = frame.astype(object).map(_shown)
    widths = tuple(min(max([8, *texts[c].str.len(), *map(len, str(c).split())]), 45) + 3 for c in frame.columns)
    with page.table(col_widths=widths, headings_style=face(emphasis="BOLD"), line_height=4, text_align="LEFT") as table:
        table.row([_latin(str(c).replace("_", " ")) for c in frame.columns])
        for row in texts.itertuples(index=False, name=None):
            table.row([_latin(v) for v in row])


def _shown(value: Any) -> str:
    plain = _cell(value)
    if plain is None:
        return ""
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        return str(plain)
    return f"{plain:,.0f}" if abs(plain) >= 1000 else f"{plain:.4g}"


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
