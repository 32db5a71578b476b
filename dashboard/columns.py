"""The columns of each table: which, in which order, under which words, in which unit."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from dashboard.i18n import Words

Columns = dict[str, Any]


def text(label: str, **options: Any) -> Any:
    """Give a column of text."""
    return st.column_config.TextColumn(label, **options)


def number(label: str, digits: int = 0) -> Any:
    """Give a column of numbers."""
    return st.column_config.NumberColumn(label, format=f"%.{digits}f" if digits else "localized")


def percent(label: str) -> Any:
    """Give a column of shares (0-1), shown as percent."""
    return st.column_config.NumberColumn(label, format="percent")


def instant(label: str) -> Any:
    """Give a column of instants (UTC)."""
    return st.column_config.DatetimeColumn(label, format="YYYY-MM-DD HH:mm")


def day(label: str, form: str = "YYYY-MM-DD") -> Any:
    """Give a column of days."""
    return st.column_config.DateColumn(label, format=form)


def _of(words: Words, page: str, **columns: tuple[str, Callable[..., Any]]) -> Columns:
    return {name: make(words(f"{page}.{key}")) for name, (key, make) in columns.items()}


def cohorts(words: Words) -> Columns:
    """A month's observed and expected final rate."""
    return {
        "month": day(words("returns.month"), "YYYY-MM"), "n": number(words("returns.sold")), "observed": percent(words("returns.observed")),
        "value": percent(words("returns.projected")), "low": percent(words("products.low")), "high": percent(words("products.high")),
        "maturity": percent(words("returns.maturity")),
    }  # fmt: skip


def loads(words: Words) -> Columns:
    """Rows read, accepted, duplicate and set aside of each load and table."""
    return _of(
        words, "data", started_at=("loaded_at", instant), source=("source", text), thing=("thing", text), read=("read", number),
        accepted=("accepted", number), duplicate=("duplicate", number), quarantined=("quarantined", number), status=("status", text),
    )  # fmt: skip


def freshness(words: Words) -> Columns:
    """What each system delivered up to when."""
    return _of(words, "data", source=("source", text), system=("system", text), thing=("thing", text), rows=("of_rows", number), last_occurred_at=("last", instant))


def quarantine(words: Words) -> Columns:
    """Rows set aside by rule, with one place to look at."""
    return _of(words, "data", rules=("rule", text), rows=("found", number), source=("source", text), thing=("thing", text), value=("example", text), file=("place", text), line=("line", number))


def checks(words: Words) -> Columns:
    """What each check found."""
    return _of(words, "data", rows=("found", number), sentence=("check", text), is_blocking=("blocking", st.column_config.CheckboxColumn), sample=("example", text))


def waiting(words: Words) -> Columns:
    """Numbers that wait for data."""
    return _of(words, "data", name=("number", text), reason=("needs", text))


def coverage(words: Words) -> Columns:
    """How much of each kind of fact the sources fill."""
    return _of(words, "data", source=("source", text), fact=("fact", text), share=("share", percent), rows=("of_rows", number))


def builds(words: Words) -> Columns:
    """Rows of each table of each build and what changed."""
    return _of(words, "data", build_id=("build", text), created_at=("built_at", instant), kind=("kind", text), table=("thing", text), rows=("of_rows", number), change=("change", number))


def definitions(words: Words) -> Columns:
    """What each number says and how it is made."""
    return _of(words, "data", name=("number", text), sentence=("sentence", text), formula=("formula", text), unit=("unit", text), basis=("basis", text), key=("key", text))


def factors(words: Words) -> Columns:
    """Factors and parameters with where they come from."""
    return _of(
        words, "data", factor_id=("factor", text), description=("description", text), value=("value", lambda label: number(label, 4)), unit=("unit", text),
        quality=("quality", text), source=("publisher", text), year=("year", lambda label: st.column_config.NumberColumn(label, format="%d")),
        source_address=("address", st.column_config.LinkColumn),
    )  # fmt: skip


def models(words: Words) -> Columns:
    """Models with their score out of time beside their base rate's."""
    return _of(
        words, "data", model=("model", text), score_name=("score_name", text), score=("score", lambda label: number(label, 4)),
        base_score=("base_score", lambda label: number(label, 4)), is_used=("used", st.column_config.CheckboxColumn), fitted_at=("built_at", instant),
    )  # fmt: skip
