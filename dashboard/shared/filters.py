"""The sidebar: language, period, comparison and the shared filters.

Every widget is bound to the URL, so that a link is the view.

What was chosen leaves as one frozen `View`; pages read it and nothing else. Days run from `since` to `until`, both
included.
"""

import calendar
import datetime as dt
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from dashboard.i18n import LANGUAGES, Words
from dashboard.shared import access, queries
from pipelines.errors import AccessError
from pipelines.why import why

DIMENSIONS = ("country", "channel", "category", "brand", "carrier", "method", "window_days")
OWN = "own_"  # begins the key of the filter of one of the shop's own dimensions
PERIODS = ("months_12", "months_6", "days_90", "days_30", "year", "all", "custom")
COMPARISONS = ("before", "year_before", "none")

Span = tuple[dt.date, dt.date]
_DAY = dt.timedelta(days=1)


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
    def currency(self) -> str:
        """The currency money is shown in."""
        return queries.currency(self.source)

    @property
    def asked(self) -> queries.PageQuestion:
        """The part of the view a query depends on; raises AccessError for who may not see it any longer."""
        if access.current().scope != self.source.scope:
            raise AccessError(why("signed_out"))
        return queries.PageQuestion(self.source, self.since, self.until, self.against, self.where)


def language() -> Words:
    """Show the language switch; the first visit without a link follows the browser."""
    if "lang" not in st.session_state and not st.query_params and (st.context.locale or "").startswith("fr"):
        st.session_state.lang = "FR"
    chosen = st.sidebar.segmented_control(
        "Language · Langue",
        [name.upper() for name in LANGUAGES],
        default="EN",
        required=True,
        key="lang",
        bind="query-params",
        on_change=_keep,
        label_visibility="collapsed",
    )
    return Words((chosen or "EN").lower())


def _keep() -> None:
    """Write every choice anew: the link holds the words of the language, and they have just changed."""
    for key in (
        "period",
        "against",
        *DIMENSIONS,
        *(key for key in st.session_state if str(key).endswith(("_part", "_by")) or str(key).startswith(OWN)),
    ):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


def sidebar(warehouse: Path, words: Words) -> View:
    """Show the shared filters and give what was chosen; raises WarehouseMissing when nothing was published."""
    source = queries.source(warehouse)
    first, last = queries.days(source)
    with st.sidebar:
        period = st.selectbox(
            words("filter.period"),
            PERIODS,
            format_func=lambda p: words(f"period.{p}"),
            key="period",
            bind="query-params",
        )
        since, until = span(period, first, last)
        if period == "custom":
            since, until = _custom(words, first, last)
        comparison = st.selectbox(
            words("filter.comparison"),
            COMPARISONS,
            format_func=lambda c: words(f"comparison.{c}"),
            key="against",
            bind="query-params",
        )
        where = []
        for dimension in (*DIMENSIONS, *queries.own_dimensions(source)):
            values = queries.values(source, dimension)
            if len(values) > 1:
                chosen = st.multiselect(
                    words.dimension(dimension),
                    values,
                    format_func=partial(words.value, dimension),
                    placeholder=words("filter.every"),
                    key=widget_key(dimension),
                    bind="query-params",
                )
                if chosen:
                    where.append((dimension, tuple(chosen)))
        if where:
            st.button(words("filter.clear"), icon=":material/filter_alt_off:", on_click=_clear, width="stretch")
    return View(source, since, until, compared(comparison, since, until), tuple(where), words)


def widget_key(dimension: str) -> str:
    """Name the widget of a dimension: the shop's own stand apart, so that none is called like another widget."""
    return dimension if dimension in DIMENSIONS else f"{OWN}{dimension}"


def _clear() -> None:
    for key in st.session_state:
        if key in DIMENSIONS or str(key).startswith(OWN):
            st.session_state[key] = []


def _custom(words: Words, first: dt.date, last: dt.date) -> Span:
    start = max(first, last - dt.timedelta(days=89))
    chosen = st.date_input(
        words("filter.days"),
        (start, last),
        min_value=first,
        max_value=last,
        key="days",
        bind="query-params",
        format="DD/MM/YYYY",
    )
    days = [day for day in (chosen if isinstance(chosen, tuple) else (chosen,)) if day]
    return (days[0], days[-1]) if days else (start, last)


def months_before(day: dt.date, months: int) -> dt.date:
    """Go back whole months, to the month's last day at the latest.

    >>> months_before(dt.date(2026, 3, 31), 1)
    datetime.date(2026, 2, 28)
    """
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def span(period: str, first: dt.date, last: dt.date) -> Span:
    """Give the days of a period that ends on the last observed day and starts no earlier than the first.

    >>> span("months_12", dt.date(2024, 2, 1), dt.date(2026, 1, 31))
    (datetime.date(2025, 2, 1), datetime.date(2026, 1, 31))
    """
    starts = {
        "months_12": months_before(last + _DAY, 12),
        "months_6": months_before(last + _DAY, 6),
        "days_90": last - 89 * _DAY,
        "days_30": last - 29 * _DAY,
        "year": last.replace(month=1, day=1),
    }
    return max(starts.get(period, first), first), last


def compared(comparison: str, since: dt.date, until: dt.date) -> Span | None:
    """Give the days to compare with; a period of whole months is compared with as many months.

    >>> compared("before", dt.date(2025, 2, 1), dt.date(2026, 1, 31))
    (datetime.date(2024, 2, 1), datetime.date(2025, 1, 31))
    >>> compared("before", dt.date(2026, 1, 2), dt.date(2026, 1, 31))
    (datetime.date(2025, 12, 3), datetime.date(2026, 1, 1))
    """
    if comparison == "none":
        return None
    following = until + _DAY
    if comparison == "year_before":
        return months_before(since, 12), months_before(following, 12) - _DAY
    months = (following.year - since.year) * 12 + following.month - since.month
    is_whole = since.day == following.day and months > 0
    return (months_before(since, months) if is_whole else since - (following - since)), since - _DAY
