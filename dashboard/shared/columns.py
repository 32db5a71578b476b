"""The columns of each table: which, in which order, under which words, in which unit."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.i18n import Words

Columns = dict[str, Any]


def text(label: str, **options: Any) -> Any:
    """Give a column of text."""
    return st.column_config.TextColumn(label, **options)


def number(label: str, digits: int = 0) -> Any:
    """Give a column of numbers."""
    return st.column_config.NumberColumn(label, format=f"%.{digits}f" if digits else "localized")


def percent(label: str, about: str | None = None) -> Any:
    """Give a column of shares (0-1), shown as percent."""
    return st.column_config.NumberColumn(label, format="percent", help=about)


def instant(label: str) -> Any:
    """Give a column of instants (UTC)."""
    return st.column_config.DatetimeColumn(label, format="YYYY-MM-DD HH:mm")


def day(label: str, form: str = "YYYY-MM-DD") -> Any:
    """Give a column of days."""
    return st.column_config.DateColumn(label, format=form)


def of(words: Words, page: str, **columns: tuple[str, Callable[..., Any]]) -> Columns:
    """Name the columns of a table in the reader's words."""
    return {name: make(words(f"{page}.{key}")) for name, (key, make) in columns.items()}


def judged(words: Words) -> Columns:
    """Show how the rows of each log were judged."""
    return of(
        words,
        "data",
        thing=("thing", text),
        read=("read", number),
        accepted=("accepted", number),
        duplicate=("duplicate", number),
        quarantined=("quarantined", number),
    )


def quarantined(words: Words) -> Columns:
    """Show quarantined rows, one by one."""
    return of(
        words,
        "data",
        file=("place", text),
        line=("line", number),
        thing=("thing", text),
        rules=("rule", text),
        value=("example", text),
    )


def unread(words: Words) -> Columns:
    """Show fields that count as missing because they could not be read."""
    return of(
        words, "data", thing=("thing", text), rules=("rule", text), rows=("found", number), first=("example", text)
    )


def mapping_editor(words: Words, header: Sequence[str]) -> Columns:
    """Let the column of the file behind each of ours be chosen."""
    return {
        "role": st.column_config.TextColumn(words("upload.ours"), pinned=True, width=160),
        "column": st.column_config.SelectboxColumn(words("upload.theirs"), options=list(header)),
        "examples": text(words("upload.examples")),
        "assumed": text(words("upload.assumed")),
    }


def costs(words: Words) -> Columns:
    """Show what a product's returns cost and emit, in all and a returned unit."""
    two = lambda label: number(label, 2)  # noqa: E731
    return of(
        words,
        "products",
        what=("what", text),
        amount=("amount", number),
        unit=("unit", text),
        per_unit=("per_unit", two),
        category_per_unit=("category_per_unit", two),
    )


def related(words: Words) -> Columns:
    """Show products that share a product's problem, or are bought or returned with it."""
    return of(
        words,
        "products",
        relation=("relation", text),
        name=("name", text),
        through=("through", text),
        return_reason=("reason", text),
        count=("count", number),
        strength=("strength", lambda label: number(label, 1)),
    )


def changes(words: Words) -> Columns:
    """Show what the catalogue changed of a product."""
    return of(
        words,
        "products",
        changed_at=("changed_at", day),
        what=("what", text),
        before=("before", text),
        after=("after", text),
    )


def rows(words: Words, frame: pd.DataFrame) -> Columns:
    """Show the rows behind a number: whatever columns their table has, each by its kind."""

    def made(column: str) -> Any:
        label = words.value("column", column)
        values = frame[column]
        if pd.api.types.is_datetime64_any_dtype(values):
            return day(label) if column.endswith("_on") or column == "month" else instant(label)
        if column == "cause" or pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
            return text(label)
        whole = (values.dropna() % 1 == 0).all()
        return number(label, 0 if whole else 3 if column in ("counted", "kg_co2e", "mass_kg", "probability") else 2)

    first = ["counted_on", "counted"]
    return {column: made(column) for column in [*first, *(str(c) for c in frame if c not in first)]}
