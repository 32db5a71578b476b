"""Sentences, columns and blocks of the page data."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard.app_pages.settings.data import data as data_data
from dashboard.i18n import Words
from dashboard.shared import places
from dashboard.shared.blocks import section
from dashboard.shared.columns import Columns, instant, number, of, percent, text
from dashboard.shared.findings import name, told


def missing(words: Words, found: Sequence[data_data.Missing]) -> pd.DataFrame:
    """Lay out the kinds of fact that numbers wait for.

    What it is, the numbers it would unlock, alone or with others, and their pages.
    """
    rows = [
        {
            "fact": words.fact(one.fact),
            "unlocks": ", ".join(name(words, key) for key in one.numbers),
            "helps": ", ".join(name(words, key) for key in one.later),
            "pages": ", ".join(places.whole_title(words, places.of_subject(page)) for page in one.pages),
        }
        for one in found
    ]
    return pd.DataFrame(rows)


def definitions(words: Words) -> pd.DataFrame:
    """Lay out the catalogue of numbers."""
    rows = [
        {
            "name": name(words, one.key),
            "sentence": words.either(*one.sentence),
            "formula": one.formula,
            "unit": words.unit(one.unit),
            "basis": words(f"basis.{one.basis}"),
            "key": one.key,
        }
        for one in data_data.catalogue()
    ]
    return pd.DataFrame(rows)


def loads_columns(words: Words) -> Columns:
    """Show rows read, accepted, duplicate and quarantined of each load and table."""
    return of(
        words,
        "data",
        started_at=("loaded_at", instant),
        source=("source", text),
        thing=("thing", text),
        read=("read", number),
        accepted=("accepted", number),
        duplicate=("duplicate", number),
        quarantined=("quarantined", number),
        status=("status", text),
    )


def freshness_columns(words: Words) -> Columns:
    """Show what each system delivered up to when."""
    return of(
        words,
        "data",
        source=("source", text),
        system=("system", text),
        thing=("thing", text),
        rows=("rows", number),
        last_occurred_at=("last", instant),
    )


def quarantine_columns(words: Words) -> Columns:
    """Show quarantined rows by rule, with one place to look at."""
    return of(
        words,
        "data",
        rules=("rule", text),
        rows=("found", number),
        source=("source", text),
        thing=("thing", text),
        value=("example", text),
        file=("place", text),
        line=("line", number),
    )


def checks_columns(words: Words) -> Columns:
    """Show what each check found."""
    return of(
        words,
        "data",
        rows=("found", number),
        sentence=("check", text),
        is_blocking=("blocking", st.column_config.CheckboxColumn),
        sample=("example", text),
    )


def missing_columns(words: Words) -> Columns:
    """Show kinds of fact that numbers wait for."""
    return of(
        words, "data", fact=("fact", text), unlocks=("unlocks", text), helps=("helps", text), pages=("pages", text)
    )


def coverage_columns(words: Words) -> Columns:
    """Show how much of each kind of fact the sources fill."""
    return of(
        words, "data", source=("source", text), fact=("fact", text), share=("share", percent), rows=("of_rows", number)
    )


def builds_columns(words: Words) -> Columns:
    """Show rows of each table of each build and what changed."""
    return of(
        words,
        "data",
        build_id=("build", text),
        created_at=("built_at", instant),
        kind=("kind", text),
        table=("thing", text),
        rows=("rows", number),
        change=("change", number),
    )


def definitions_columns(words: Words) -> Columns:
    """Show what each number says and how it is made."""
    return of(
        words,
        "data",
        name=("number", text),
        sentence=("sentence", text),
        formula=("formula", text),
        unit=("unit", text),
        basis=("basis", text),
        key=("key", text),
    )


def factors_columns(words: Words) -> Columns:
    """Show factors and parameters with where they come from."""
    return of(
        words,
        "data",
        factor_id=("factor", text),
        description=("description", text),
        value=("value", lambda label: number(label, 4)),
        unit=("unit", text),
        quality=("quality", text),
        source=("publisher", text),
        year=("year", lambda label: st.column_config.NumberColumn(label, format="%d")),
        source_address=("address", st.column_config.LinkColumn),
    )


def models_columns(words: Words) -> Columns:
    """Show models with their score out of time beside their base rate's."""
    return of(
        words,
        "data",
        model=("model", text),
        score_name=("score_name", text),
        score=("score", lambda label: number(label, 4)),
        base_score=("base_score", lambda label: number(label, 4)),
        is_used=("used", st.column_config.CheckboxColumn),
        fitted_at=("built_at", instant),
    )


def reach(words: Words, title: str) -> None:
    """Say what readers of every kind can count on, what was tested, and what is known not to hold."""
    section(title, words, note=words("reach.note"))
    for part in ("tested", "holds_not"):
        section(words(f"reach.{part}"), words)
        st.markdown(words(f"reach.{part}_list"))


def data(words: Words, set_aside: int, failed: int) -> str:
    """Say whether the data can be trusted."""
    if failed:
        return told(words, "finding.data_checks", (), n=words.number(failed))
    return told(words, "finding.data_rows", (), n=words.number(set_aside)) if set_aside else words("finding.data_good")
