"""A PDF of what a page says: its title, figures in one line each, sentences, charts and tables, in either language.

It is made of plain data, so that a page's menu and a subscription's mail use the same. Texts are any language's that
DejaVu Sans can write; a sign that it lacks is shown as a square. Charts are drawn by `pictures`, as they are described.
A table longer than MOST_ROWS is cut, and says so.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from fpdf import FPDF
from fpdf.fonts import FontFace

from pipelines.metrics import Text
from pipelines.outputs.pictures import picture

MIME = "application/pdf"
MOST_ROWS = 60  # of one table; the whole of it is in the file of its rows
MARGIN_MM = 14
_QUIET, _INK = (110, 118, 126), (49, 51, 63)
_WORDS = {
    "page": Text("page {n} of {of}", "page {n} sur {of}"),
    "cut": Text(
        "{n} of {of} rows; the others are in the exported file.",
        "{n} lignes sur {of} ; les autres sont dans le fichier exporté.",
    ),
    "nothing": Text("No row.", "Aucune ligne."),
    "made": Text("Made at {at} UTC, build {build}.", "Créé le {at} UTC, version des données {build}."),
}


@dataclass(frozen=True)
class Line:
    """A figure: what it is, its value and its interval as they are read, and what weakens it."""

    label: str
    value: str
    interval: str = ""
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A Plotly figure's description, with its title and the sentence below."""

    figure: Mapping[str, Any]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows as they are read: texts and numbers written by whoever made them; `total` counts those there are."""

    frame: pd.DataFrame
    title: str = ""
    note: str = ""
    total: int | None = None


@dataclass(frozen=True)
class Sentence:
    """A paragraph; `is_quiet` for what is said small."""

    text: str
    is_quiet: bool = False


@dataclass(frozen=True)
class Document:
    """What is written: a title, what it is of, and its parts in their order."""

    title: str
    subtitle: str = ""
    lines: Sequence[Line] = ()
    parts: Sequence[Chart | Table | Sentence] = ()
    build: str = ""
    made_at: datetime = field(default_factory=lambda: datetime(1970, 1, 1))
    language: str = "en"


def _word(language: str, key: str, **parts: Any) -> str:
    text = _WORDS[key]
    return (text.fr if language == "fr" else text.en).format(**parts)


class _Sheets(FPDF):
    """Pages with their number and what the document is of at the foot."""

    def __init__(self, document: Document) -> None:
        super().__init__(orientation="portrait", format="A4")
        fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
        self.add_font("body", "", fonts / "DejaVuSans.ttf")
        self.add_font("body", "B", fonts / "DejaVuSans-Bold.ttf")
        self.set_margin(MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=MARGIN_MM + 4)
        self.alias_nb_pages("{of}")
        self.said = document

    def footer(self) -> None:
        """Write the foot of a page."""
        self.set_y(-MARGIN_MM)
        self.set_font("body", size=7)
        self.set_text_color(*_QUIET)
        at = self.said.made_at.isoformat(sep=" ", timespec="minutes")
        made = _word(self.said.language, "made", at=at, build=self.said.build)
        self.cell(self.epw / 2, 4, made)
        self.cell(0, 4, _word(self.said.language, "page", n=self.page_no(), of="{of}"), align="R")

    def text_block(self, text: str, size: float, *, bold: bool = False, quiet: bool = False) -> None:
        """Write a paragraph."""
        self.set_font("body", "B" if bold else "", size)
        self.set_text_color(*(_QUIET if quiet else _INK))
        self.multi_cell(0, size * 0.5, text, new_x="LMARGIN", new_y="NEXT", align="L")


def to_pdf(document: Document) -> bytes:
    """Write a document as PDF; the same document gives the same bytes.

    Raises ExportError for a chart of another kind.
    """
    sheets = _Sheets(document)
    try:
        _write(sheets, document)
        return bytes(sheets.output())
    finally:  # fpdf2 leaves the files of its fonts open where it does not come to its end
        for font in sheets.fonts.values():
            if (read := getattr(font, "ttfont", None)) is not None:
                read.close()


def _write(sheets: _Sheets, document: Document) -> None:
    sheets.set_title(document.title)
    sheets.set_lang(document.language)
    sheets.set_creation_date(pd.Timestamp(document.made_at, tz="UTC").to_pydatetime())
    sheets.add_page()
    sheets.text_block(document.title, 17, bold=True)
    if document.subtitle:
        sheets.text_block(document.subtitle, 10, quiet=True)
    sheets.ln(3)
    for line in document.lines:
        _line(sheets, line)
    for part in document.parts:
        sheets.ln(4)
        if isinstance(part, Sentence):
            sheets.text_block(part.text, 8 if part.is_quiet else 10, quiet=part.is_quiet)
        elif isinstance(part, Chart):
            _chart(sheets, part)
        else:
            _table(sheets, part, document.language)


def _line(sheets: _Sheets, line: Line) -> None:
    sheets.set_font("body", size=10)
    sheets.set_text_color(*_INK)
    sheets.cell(sheets.epw * 0.5, 6, line.label)
    sheets.set_font("body", "B", 10)
    sheets.cell(sheets.epw * 0.2, 6, line.value, align="R")
    sheets.set_font("body", size=8)
    sheets.set_text_color(*_QUIET)
    sheets.cell(0, 6, line.interval, align="R", new_x="LMARGIN", new_y="NEXT")
    if line.note:
        sheets.text_block(line.note, 7.5, quiet=True)


def _heading(sheets: _Sheets, title: str, room_mm: float) -> None:
    """Write the title of a part, on a page that has room for its beginning."""
    if sheets.will_page_break(room_mm):
        sheets.add_page()
    if title:
        sheets.text_block(title, 11, bold=True)
        sheets.ln(1)


def _chart(sheets: _Sheets, part: Chart) -> None:
    drawn = picture(part.figure, "png", width=1200)
    image = io.BytesIO(drawn)
    height = sheets.epw * int.from_bytes(drawn[20:24], "big") / int.from_bytes(drawn[16:20], "big")
    _heading(sheets, part.title, min(height + 16, sheets.eph))
    sheets.image(image, w=sheets.epw, h=min(height, sheets.eph - 20), keep_aspect_ratio=True, alt_text=part.title)
    if part.note:
        sheets.text_block(part.note, 7.5, quiet=True)


def _letters(cells: Sequence[str]) -> int:
    """Give a column room for its longest word, with what bold takes more, and for short texts whole."""
    words = (len(word) for cell in cells for word in cell.split())
    return max(6, max(words, default=0) + 2, min(max(map(len, cells)), 20))


def _table(sheets: _Sheets, part: Table, language: str) -> None:
    _heading(sheets, part.title, 30)
    rows, total = part.frame.head(MOST_ROWS), part.total if part.total is not None else len(part.frame)
    if rows.empty:
        sheets.text_block(_word(language, "nothing"), 9, quiet=True)
        return
    texts = rows.astype(object).map(lambda v: "" if v is None or v != v else str(v))
    is_number = [
        pd.api.types.is_numeric_dtype(rows[c]) or texts[c].str.fullmatch(r"[\d\s.,%€$£+\-−]*").all() for c in rows
    ]
    widths = tuple(_letters([str(c), *texts[c]]) for c in rows)
    sheets.set_font("body", size=7.5)
    sheets.set_text_color(*_INK)
    head = FontFace(emphasis="BOLD", color=_INK)
    sides = tuple("RIGHT" if number else "LEFT" for number in is_number)
    with sheets.table(
        col_widths=widths, headings_style=head, line_height=4.2, text_align=sides, borders_layout="HORIZONTAL_LINES"
    ) as table:
        table.row([str(c) for c in rows])
        for row in texts.itertuples(index=False, name=None):
            table.row(list(row))
    said = [_word(language, "cut", n=len(rows), of=total)] if total > len(rows) else []
    for text in [*said, *([part.note] if part.note else [])]:
        sheets.text_block(text, 7.5, quiet=True)
