"""The bar above each page: period, comparison, the shared filters and the language.

What is chosen stands in the address in codes, so that a link is the view in any language.

What was chosen leaves as one frozen `View`; pages read it and nothing else. Days run from `since` to `until`, both
included.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.i18n import LANGUAGES, Words, inert
from dashboard.shared import access, address, names, queries, views
from models import periods
from models.periods import DAY, Span
from pipelines.errors import AccessError
from pipelines.why import why

DIMENSIONS = ("country", "channel", "category", "brand", "carrier", "method", "window_days")
OWN = "own_"  # begins the key of the filter of one of the shop's own dimensions
PICKED = ("return_reason", "style_id", "size", "colour", "disposition", "return_channel", "place_id")
"""Dimensions that have no control of their own: a click in a chart or a table sets them, a chip takes them back."""
SHOWN_VALUES = 2  # of a filter, on its chip
PERIODS = ("12m", "6m", "90d", "30d", "ytd", "all", "custom")
COMPARISONS = ("before", "year", "to_date", "target", "none")
OF_A_YEAR = ("ytd", "custom")
"""Periods that the year to date is compared over."""


@dataclass(frozen=True)
class View:
    """Everything a page needs: where to read, which days, against which days or targets, which filters and words."""

    source: queries.Source
    since: dt.date
    until: dt.date
    against: Span | None
    where: tuple[tuple[str, tuple[str, ...]], ...]
    words: Words
    is_against_target: bool = False

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
    """Give the language of the page; the first visit without a link follows the browser."""
    is_french = not st.query_params and (st.context.locale or "").startswith("fr")
    address.smaller("lang")
    address.choice("lang", LANGUAGES, "fr" if is_french and "lang" not in st.session_state else "en")
    chosen = str(st.session_state["lang"])
    address.hold("lang", *([] if chosen == "en" else [chosen]), is_shared=True)
    return Words(chosen)


def bar(warehouse: Path, words: Words) -> View:
    """Show the bar of filters and give what was chosen; raises WarehouseMissing when nothing was published.

    A telephone has one pill that opens all of them.
    """
    source = views.source(warehouse, words)
    for dimension, code in st.session_state.pop("picked", {}).items():  # a mark that was chosen on the page
        st.session_state[widget_key(dimension)] = [code]
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="filters"):
        if is_telephone():
            with st.popover(words("filter.all"), icon=":material/tune:"):
                language_switch()
                view = _controls(source, words, pill=_beside)
        else:
            view = _controls(source, words, pill=_pill)
        _chips(view)
        views.controls(words, source, is_narrow=is_telephone())
        if not is_telephone():
            st.space("stretch")
            language_switch()
    return view


@contextmanager
def _beside(_label: str, _icon: str) -> Iterator[None]:
    """Stand where one stands: the controls of a telephone share one pill."""
    yield


@contextmanager
def _pill(label: str, icon: str) -> Iterator[None]:
    """Open a pill of the bar for what stands in it."""
    with st.popover(label, icon=icon):
        yield


def _controls(source: queries.Source, words: Words, pill: Callable[[str, str], Any]) -> View:
    first, last = queries.days(source)
    address.choice("period", PERIODS, PERIODS[0])
    address.choice("against", COMPARISONS, COMPARISONS[0])
    comparison = str(st.session_state["against"])
    if comparison == "to_date" and st.session_state["period"] not in OF_A_YEAR:
        st.session_state["period"] = OF_A_YEAR[0]
    period = str(st.session_state["period"])
    with pill(words(f"period.{period}"), ":material/date_range:"):
        st.radio(
            words("filter.period"),
            PERIODS,
            format_func=lambda p: words(f"period.{p}"),
            key="period",
            on_change=_another_period,
        )
        since, until = _custom(words, first, last) if period == "custom" else span(period, first, last)
    against = words.pair(words("filter.comparison"), _small(words(f"comparison.{comparison}")))
    with pill(against, ":material/compare_arrows:"):
        st.radio(words("filter.comparison"), COMPARISONS, format_func=lambda c: words(f"comparison.{c}"), key="against")
    address.hold("period", *([] if period == PERIODS[0] else [period]), is_shared=True)
    address.hold("against", *([] if comparison == COMPARISONS[0] else [comparison]), is_shared=True)
    market, *more = (*DIMENSIONS, *queries.own_dimensions(source))
    with pill(words.dimension(market), ":material/public:"):
        where = _values(source, words, market)
    with pill(words("filter.more"), ":material/filter_list:"):
        for dimension in more:
            where |= _values(source, words, dimension)
    for dimension in PICKED:
        where |= _picked(source, dimension)
    said = replace(words, zone=names.zone(source))
    against_days = compared(comparison, since, until)
    return View(source, since, until, against_days, tuple(where.items()), said, comparison == "target")


def _another_period() -> None:
    """Compare the year to date no longer, when another period is chosen."""
    state = st.session_state  # a run that was interrupted before the bar stood has left some of it out
    if state.get("against") == "to_date" and state.get("period") not in OF_A_YEAR:
        state["against"] = COMPARISONS[0]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _values(source: queries.Source, words: Words, dimension: str) -> dict[str, tuple[str, ...]]:
    """Show the values of a dimension, and give those that were chosen; nothing where there is but one."""
    values, key = queries.values(source, dimension), widget_key(dimension)
    if len(values) < 2:
        for code in address.given(key) or ():  # a link that asks for the one there is asks for all there is
            if code not in values:
                address.unknown(key, code)
        return {}
    address.choices(key, values)
    chosen = st.multiselect(
        words.dimension(dimension),
        values,
        format_func=partial(words.value, dimension),
        placeholder=words("filter.every"),
        key=key,
    )
    address.hold(key, *chosen, is_shared=True)
    return {dimension: tuple(chosen)} if chosen else {}


def _picked(source: queries.Source, dimension: str) -> dict[str, tuple[str, ...]]:
    """Give the values of a dimension that has no control: chosen by a click in a chart or a table, or by a link."""
    listed = address.given(dimension)
    if listed is not None:
        values = set(queries.values(source, dimension)) if listed else set()
        for code in [code for code in listed if code not in values]:
            address.unknown(dimension, code)
        st.session_state[dimension] = [code for code in listed if code in values]
    chosen = st.session_state.get(dimension, [])
    address.hold(dimension, *chosen, is_shared=True)
    return {dimension: tuple(chosen)} if chosen else {}


def _chips(view: View) -> None:
    """Show each filter that is set, as a button that takes it back."""
    words = view.words
    for dimension, chosen in view.where:
        named = ", ".join(name_of(view, dimension, code) for code in chosen[:SHOWN_VALUES])
        named += f" +{len(chosen) - SHOWN_VALUES}" if len(chosen) > SHOWN_VALUES else ""
        st.button(
            inert(words.pair(words.dimension(dimension), named)),
            key=f"chip_{dimension}",
            icon=":material/close:",
            icon_position="right",
            help=words("filter.take_back"),
            on_click=take_back,
            args=(dimension,),
        )
    if len(view.where) > 1:
        st.button(words("filter.clear"), key="chips_clear", type="tertiary", on_click=_clear)


def name_of(view: View, dimension: str, code: str) -> str:
    """Name a value of a dimension; a product and a site by their names."""
    if dimension == "style_id":
        return names.styles(view.source).get(code, code)
    if dimension == "place_id":
        return names.place_names(view.source).get(code, code)
    return view.words.value(dimension, code)


def language_switch() -> None:
    """Show the switch of the language; `language` has read it before."""
    st.segmented_control(
        "Language · Langue",
        list(LANGUAGES),
        required=True,
        key="lang",
        format_func=str.upper,
        label_visibility="collapsed",
    )


def is_telephone() -> bool:
    """Say whether a finger scrolls the page.

    A chart that can be clicked would hold it fast; there a mark is chosen from a list.
    """
    return "Mobi" in (st.context.headers.get("User-Agent") or "")


def widget_key(dimension: str) -> str:
    """Name the widget of a dimension: the shop's own stand apart, so that none is called like another widget."""
    return dimension if dimension in (*DIMENSIONS, *PICKED) else f"{OWN}{dimension}"


def offered(source: queries.Source) -> set[str]:
    """Name the dimensions that a page can be filtered by."""
    return {*DIMENSIONS, *PICKED, *queries.own_dimensions(source)}


def take_back(dimension: str) -> None:
    """Take the filter of a dimension back."""
    st.session_state[widget_key(dimension)] = []


def _clear() -> None:
    for key in st.session_state:
        if key in (*DIMENSIONS, *PICKED) or str(key).startswith(OWN):
            st.session_state[key] = []


def _custom(words: Words, first: dt.date, last: dt.date) -> Span:
    """Let the reader choose the first and the last day; in the address they stand as days."""
    start = max(first, last - dt.timedelta(days=89))
    listed = address.given("days")
    if listed is not None:
        st.session_state["days"] = _days_of(listed, first, last) or (start, last)
    elif "days" not in st.session_state:
        st.session_state["days"] = (start, last)
    chosen = st.date_input(words("filter.days"), min_value=first, max_value=last, key="days", format="DD/MM/YYYY")
    days = [day for day in (chosen if isinstance(chosen, tuple) else (chosen,)) if day]
    found = (days[0], days[-1]) if days else (start, last)
    address.hold("days", "..".join(day.isoformat() for day in found), is_shared=True)
    return found


def _days_of(listed: list[str], first: dt.date, last: dt.date) -> Span | None:
    """Read the first and last day of an address; days that are none, or not of the data, are noted."""
    for text in listed:
        try:
            since, until = map(dt.date.fromisoformat, text.split(".."))
        except ValueError:
            address.unknown("days", text)
            continue
        if first <= since <= until <= last:
            return since, until
        address.unknown("days", text)
    return None


def span(period: str, first: dt.date, last: dt.date) -> Span:
    """Give the days of a period that ends on the last observed day and starts no earlier than the first.

    >>> span("12m", dt.date(2024, 2, 1), dt.date(2026, 1, 31))
    (datetime.date(2025, 2, 1), datetime.date(2026, 1, 31))
    """
    starts = {
        "12m": periods.months_before(last + DAY, 12),
        "6m": periods.months_before(last + DAY, 6),
        "90d": last - 89 * DAY,
        "30d": last - 29 * DAY,
        "ytd": last.replace(month=1, day=1),
    }
    return max(starts.get(period, first), first), last


def compared(comparison: str, since: dt.date, until: dt.date) -> Span | None:
    """Give the days to compare with; None where a number is compared with none.

    >>> compared("year", dt.date(2026, 1, 5), dt.date(2026, 1, 11))
    (datetime.date(2025, 1, 6), datetime.date(2025, 1, 12))
    >>> compared("to_date", dt.date(2026, 1, 1), dt.date(2026, 1, 31))
    (datetime.date(2025, 1, 1), datetime.date(2025, 1, 31))
    """
    if comparison == "before":
        return periods.before(since, until)
    if comparison == "year":
        return periods.same_weeks(since, until)
    if comparison == "to_date":
        return periods.months_before(since, 12), periods.months_before(until, 12)
    return None
