"""The sidebar: language, period, comparison and the shared filters, every widget bound to the URL, so that a link is the view.

What was chosen leaves as one frozen `View`; pages read it and nothing else. Days run from `since` to the day before `until`.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from dashboard import queries
from dashboard.i18n import LANGUAGES, Words

DIMENSIONS = ("country", "channel", "category", "brand", "carrier", "method", "window_days")
PERIODS = ("months_12", "months_6", "days_90", "days_30", "year", "all", "custom")
COMPARISONS = ("before", "year_before", "none")

Span = tuple[dt.date, dt.date]


@dataclass(frozen=True)
class View:
    """Everything a page needs: where to read, which days, against which days, under which filters, in which words."""

    source: queries.Source
    since: dt.date
    until: dt.date
    against: Span | None
    where: tuple[tuple[str, tuple[str, ...]], ...]
    words: Words

    @property
    def asked(self) -> queries.Asked:
        """The part of the view a query depends on."""
        return queries.Asked(self.source, self.since, self.until, self.against, self.where)


def language() -> Words:
    """Show the language switch; the first visit without a link follows the browser."""
    if "lang" not in st.session_state and not st.query_params and (st.context.locale or "").startswith("fr"):
        st.session_state.lang = "fr"
    chosen = st.sidebar.segmented_control(
        "Language · Langue", list(LANGUAGES), default="en", required=True, format_func=str.upper, key="lang", bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    return Words(chosen or "en")


def sidebar(warehouse: Path, words: Words) -> View:
    """Show the shared filters and give what was chosen; raises WarehouseMissing when nothing was published."""
    source = queries.source(warehouse)
    first, last = queries.days(source)
    with st.sidebar:
        period = st.selectbox(words("filter.period"), PERIODS, format_func=lambda p: words(f"period.{p}"), key="period", bind="query-params")
        since, until = _span(period, first, last)
        if period == "custom":
            since, until = _custom(words, first, last)
        comparison = st.selectbox(
            words("filter.comparison"), COMPARISONS, format_func=lambda c: words(f"comparison.{c}"), key="against", bind="query-params"
        )
        where = []
        for dimension in DIMENSIONS:
            values = queries.values(source, dimension)
            if len(values) > 1:
                chosen = st.multiselect(
                    words(f"filter.{dimension}"), values, format_func=lambda v, d=dimension: words.value(d, v),
                    placeholder=words("filter.every"), key=dimension, bind="query-params",
                )  # fmt: skip
                if chosen:
                    where.append((dimension, tuple(chosen)))
        if where:
            st.button(words("filter.clear"), icon=":material/filter_alt_off:", on_click=_clear, width="stretch")
    return View(source, since, until, _against(comparison, since, until), tuple(where), words)


def _clear() -> None:
    for dimension in DIMENSIONS:
        if dimension in st.session_state:
            st.session_state[dimension] = []


def _custom(words: Words, first: dt.date, last: dt.date) -> Span:
    chosen = st.date_input(words("filter.days"), (max(first, last - dt.timedelta(days=89)), last), min_value=first, max_value=last, key="days", bind="query-params", format="DD/MM/YYYY")
    days = chosen if isinstance(chosen, tuple) else (chosen,)
    start, end = (days[0], days[-1]) if days and days[0] and days[-1] else (first, last)
    return start, end + dt.timedelta(days=1)


def months_before(day: dt.date, months: int) -> dt.date:
    """Go back whole months, to the month's last day at the latest.

    >>> months_before(dt.date(2026, 3, 31), 1)
    datetime.date(2026, 2, 28)
    """
    index = day.year * 12 + day.month - 1 - months
    year, month = divmod(index, 12)
    following = dt.date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return dt.date(year, month + 1, min(day.day, (following - dt.timedelta(days=1)).day))


def _span(period: str, first: dt.date, last: dt.date) -> Span:
    """Days of a period that ends on the last observed day.

    >>> _span("months_12", dt.date(2024, 2, 1), dt.date(2026, 1, 31))
    (datetime.date(2025, 2, 1), datetime.date(2026, 2, 1))
    """
    end = last + dt.timedelta(days=1)
    if period.startswith("months_"):
        return max(months_before(end, int(period.removeprefix("months_"))), first), end
    if period.startswith("days_"):
        return max(end - dt.timedelta(days=int(period.removeprefix("days_"))), first), end
    return (max(dt.date(last.year, 1, 1), first) if period == "year" else first), end


def _against(comparison: str, since: dt.date, until: dt.date) -> Span | None:
    """Days to compare with.

    >>> _against("before", dt.date(2025, 2, 1), dt.date(2026, 2, 1))
    (datetime.date(2024, 2, 1), datetime.date(2025, 2, 1))
    """
    if comparison == "year_before":
        return months_before(since, 12), months_before(until, 12)
    if comparison == "before":
        months = (until.year - since.year) * 12 + until.month - since.month
        if since.day == until.day and months:
            return months_before(since, months), since
        return since - (until - since), since
    return None
