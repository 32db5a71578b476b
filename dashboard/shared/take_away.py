"""What a page says, kept while it is drawn: the page is taken away as PDF, each chart as PNG or SVG.

Pieces of `blocks` tell what they show as they show it: nothing is asked or worked out again. A part that is drawn anew
takes the place of what it was. Files are made when they are asked for.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.i18n import Words
from dashboard.shared import access, filters, places, queries
from dashboard.shared.filters import View
from pipelines.warehouse.state import now

ROWS = 60  # of a table, in the PDF of a page: all of them are in its files
PICTURES = {"png": "image/png", "svg": "image/svg+xml"}
_MARKS = re.compile(r":material/\w+: ?|\*\*|`|\u2060|:(?:orange|gray|red|green)\[([^\]]*)\]")


@dataclass(frozen=True)
class Part:
    """A chart, or a table of texts and how many rows there are: under which section, and what it shows in words."""

    title: str
    about: str
    shown: dict[str, Any] | pd.DataFrame
    total: int = 0


@dataclass
class Page:
    """What a page has said so far: its title, its numbers (label, value, interval, note), its charts and tables."""

    title: str = ""
    section: str = ""
    lines: dict[str, tuple[str, str, str, str]] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)


def begin() -> None:
    """Begin a page."""
    st.session_state["page_said"] = Page()


def _said() -> Page:
    page: Page = st.session_state.setdefault("page_said", Page())
    return page


def plain(text: str) -> str:
    """Give a text of a page without its marks.

    >>> plain(":material/warning: **29%** of A &#91;x]")
    '29% of A [x]'
    """
    return html.unescape(_MARKS.sub(lambda found: found[1] or "", text)).strip()


def title(text: str) -> None:
    """Keep what the page found."""
    _said().title = plain(text)


def section(text: str) -> None:
    """Keep the title of what comes next."""
    _said().section = plain(text)


def line(label: str, value: str, interval: str, note: str) -> None:
    """Keep a number."""
    _said().lines[label] = (plain(label), plain(value), plain(interval), plain(note))


def part(
    key: str, shown: dict[str, Any] | pd.DataFrame, about: str, total: int = 0, *, notes: Sequence[str] = ()
) -> None:
    """Keep a chart with what the numbers on it mean, or the texts of a table of so many rows."""
    page = _said()
    before = page.parts.get(key)
    title, about = before.title if before else page.section, plain(about)
    lines = [*([] if about in (title, page.title) else [about]), *map(plain, notes)]
    page.parts[key] = Part(title, "\n".join(lines), shown, total)


def offer_pictures(words: Words, key: str) -> None:
    """Offer a chart that is shown as PNG and as SVG."""
    kept = _said().parts.get(key)
    if not access.may("export") or kept is None or not isinstance(kept.shown, dict):
        return
    with st.container(horizontal=True, gap="small"):
        for form, mime in PICTURES.items():
            name = f"backhaul-{key}.{form}"
            make = access.exporting(name, partial(picture, kept, form))
            st.download_button(words(f"rows.{form}"), make, name, mime, key=f"{key}_{form}", on_click="ignore")


def picture(kept: Part, form: str) -> bytes:
    """Draw a chart that was shown, with its title and what it shows in words."""
    from pipelines.outputs import pictures  # matplotlib comes when a picture is asked for

    described: Any = kept.shown
    return pictures.picture(described, form, title=kept.title, note=kept.about)


def of_page(view: View) -> None:
    """Offer the page as PDF."""
    page = _said()
    if not access.may("export") or not (page.lines or page.parts):
        return
    name = f"backhaul-{places.current().address}.pdf"
    of = of_view(view, places.current())
    make = partial(pdf, page, of, queries.opened(view.source).label, view.words.language)
    st.download_button(
        view.words("rows.pdf"),
        access.exporting(name, make),
        name,
        "application/pdf",
        key="page_pdf",
        icon=":material/picture_as_pdf:",
        type="tertiary",
        on_click="ignore",
    )


def of_view(view: View, sheet: places.Sheet) -> str:
    """Say which page it is, of which days and under which filters."""
    words = view.words
    where = [
        words.pair(words.dimension(name), ", ".join(filters.name_of(view, name, code) for code in codes))
        for name, codes in view.where
    ]
    days = words("badge.span", since=words.day(view.since), until=words.day(view.until))
    place = words(f"place.{sheet.place}")
    return " · ".join(map(plain, dict.fromkeys([place, places.title(words, sheet), days, *where])))


def pdf(page: Page, of: str, build: str, language: str) -> bytes:
    """Write what a page said, and which page of which build it was."""
    from pipelines.outputs.document import Chart, Document, Line, Table, to_pdf  # as above

    parts: list[Chart | Table] = []
    above = ""
    for kept in page.parts.values():
        title = "" if kept.title == above else kept.title  # one title for all that stands under it
        above = kept.title
        if isinstance(kept.shown, dict):
            parts.append(Chart(kept.shown, title, kept.about))
        else:
            parts.append(Table(kept.shown, title, kept.about, kept.total))
    lines = [Line(*of_number) for of_number in page.lines.values()]
    return to_pdf(Document(page.title, of, lines, parts, build, now(), language))
