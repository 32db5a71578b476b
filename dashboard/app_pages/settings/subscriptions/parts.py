"""Sentences, columns and blocks of the page subscriptions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.settings.subscriptions import data
from dashboard.i18n import LANGUAGES, MISSING, Words, inert
from dashboard.shared import access, blocks, controls, filters, places
from dashboard.shared.columns import Columns, instant, number, of, text
from dashboard.shared.filters import View
from dashboard.shared.theme import first_button
from pipelines.errors import BackhaulError, SubscriptionError
from pipelines.subscriptions import Subscription

Codes = Mapping[str, tuple[str, ...]]


def finding(words: Words, found: Sequence[Subscription]) -> str:
    """Say how many subscriptions there are, and how many fail."""
    if not found:
        return words("subscriptions.none")
    failing = sum(bool(one.problem) for one in found)
    key = "subscriptions.failing_some" if failing else "subscriptions.all_well"
    return words(key, n=words.number(len(found)), failing=words.number(failing))


def page_name(words: Words, address: str) -> str:
    """Name a page with its place."""
    return places.whole_title(words, places.sheet(address)) if address in places.BY_ADDRESS else address


def when(words: Words, one: Subscription) -> str:
    """Say when one is sent."""
    hour = f"{one.hour:02}:00"
    if one.every == "load":
        return words("subscriptions.every_load")
    if one.every == "daily":
        return words("subscriptions.at_daily", hour=hour, zone=one.zone)
    named = weekday(words, one.day) if one.every == "weekly" else words.number(one.day)
    return words(f"subscriptions.at_{one.every}", day=named, hour=hour, zone=one.zone)


def weekday(words: Words, number_of: int) -> str:
    """Name a day of the week, from 1: Monday."""
    return words("subscriptions.weekdays").split()[number_of - 1]


def filtered(view: View, codes: Codes) -> str:
    """Name the filters of a subscription."""
    words = view.words
    limits = [
        words.pair(words.dimension(name), ", ".join(filters.name_of(view, name, code) for code in listed))
        for name, listed in codes.items()
        if name not in ("period", "against", "days")
    ]
    period = words(f"period.{codes['period'][0]}") if codes.get("period") else words("period.12m")
    return " · ".join([period, *limits])


def state(words: Words, one: Subscription) -> str:
    """Say how one fares."""
    if one.is_paused:
        return words("alerts.paused")
    return words("subscriptions.failing") if one.problem else words("alerts.on")


def table(view: View, found: Sequence[Subscription]) -> pd.DataFrame:
    """Lay out subscriptions."""
    words = view.words
    rows = [
        {
            "number": one.subscription_id,
            "place": page_name(words, one.page),
            "reader": one.reader or words("subscriptions.owner"),
            "when": when(words, one),
            "file_of": words(f"subscriptions.file_{one.file}"),
            "to": ", ".join(map(data.SHOWN_ADDRESS, one.to)),
            "last": one.sent_at,
            "how": state(words, one),
            "filters": filtered(view, one.codes),
        }
        for one in found
    ]
    return pd.DataFrame(rows)


def subscriptions_columns(words: Words) -> Columns:
    """Show each subscription: what, to whom, when, and how it fares."""
    return of(
        words,
        "subscriptions",
        number=("number", number),
        place=("page", text),
        reader=("reader", text),
        when=("when", text),
        file_of=("file", text),
        to=("to", text),
        last=("last", instant),
        how=("state", text),
        filters=("filters", text),
    )


def failing(words: Words, found: Sequence[Subscription]) -> None:
    """Say of each subscription that fails why, and since when."""
    for one in found:
        if one.problem and not one.is_paused:
            said = words(
                "subscriptions.fails",
                n=words.number(one.subscription_id),
                since=words.hour(one.failing_since),
                problem=words.translated(one.problem),
            )
            st.error(inert(said), icon=":material/error:")


def said_before() -> None:
    """Show what became of the last change."""
    if done := st.session_state.pop("subscriptions_said", None):
        (st.success if done[0] else st.error)(inert(done[1]))


def form(view: View, found: Sequence[Subscription]) -> None:
    """Make a subscription, or change one that is there: what is wrong is said beside its field."""
    words, source = view.words, view.source
    if st.session_state.pop("subscription_done", False):  # what was saved is done: the form is empty again
        st.session_state["subscription"] = ""
    by_number = {str(one.subscription_id): one for one in found}
    names = {"": words("subscriptions.new")} | {
        key: words.pair(words("subscriptions.no", n=key), f"{page_name(words, one.page)}, {when(words, one)}")
        for key, one in by_number.items()
    }
    chosen = blocks.pick_one(words("subscriptions.which"), "subscription", names)
    fresh = Subscription(
        0, data.own_name(), "today", "weekly", _own_address(), language=words.language, zone=words.zone
    )
    given = by_number.get(chosen, fresh)
    problem: tuple[str, str] | None = st.session_state.get(f"subscription_problem_{given.subscription_id}")
    with st.container(border=True):
        one = _fields(view, given, problem)
        if st.button(words("alerts.save"), icon=":material/save:", type=first_button(), key="subscription_save"):
            _save(view, one, given)
    if chosen:
        with st.container(horizontal=True, gap="small"):
            st.button(
                words("alerts.resume" if given.is_paused else "alerts.pause"),
                icon=":material/play_arrow:" if given.is_paused else ":material/pause:",
                key="subscription_pause",
                on_click=_did,
                args=(words, data.pause, source, given),
                kwargs={"is_paused": not given.is_paused},
            )
            st.button(
                words("alerts.withdraw"),
                icon=":material/delete:",
                key="subscription_withdraw",
                on_click=_did,
                args=(words, data.withdraw, source, given),
            )


def _own_address() -> tuple[str, ...]:
    reader = access.current()
    return (f"mailto:{reader.name}",) if reader.kind == "email" else ()


def _did(words: Words, change: Any, *given: Any, **options: Any) -> None:
    """Change something on a click; what is wrong is said on the page."""
    try:
        change(*given, **options)
    except BackhaulError as error:
        st.session_state["subscriptions_said"] = (False, words.translated(str(error)))


def _wrong(problem: tuple[str, str] | None, *fields: str) -> None:
    """Say what is wrong with a field, below it."""
    if problem is not None and problem[0] in fields:
        st.error(inert(problem[1]), icon=":material/error:")


def _fields(view: View, given: Subscription, problem: tuple[str, str] | None) -> Subscription:
    """Show the fields of a subscription, and give what is in them."""
    words = view.words
    at = f"subscription_{given.subscription_id}_{st.session_state.get('subscription_turn', 0)}"
    page = st.selectbox(
        words("subscriptions.page"),
        data.PAGES,
        data.PAGES.index(given.page) if given.page in data.PAGES else 0,
        format_func=lambda one: page_name(words, one),
        key=f"{at}_page",
    )
    codes = _codes(view, given, at)
    files = [one for one in data.FILES if one not in data.TABLES or page in data.LISTED]
    controls.keep_among(f"{at}_file", files, given.file)
    left, right = st.columns(2)
    with left:
        file = st.selectbox(
            words("subscriptions.file"),
            files,
            format_func=lambda one: words(f"subscriptions.file_{one}"),
            help=words("subscriptions.file_note"),
            key=f"{at}_file",
        )
        _wrong(problem, "file", "page")
    with right:
        language = st.selectbox(
            words("subscriptions.language"),
            list(LANGUAGES),
            list(LANGUAGES).index(given.language),
            format_func=LANGUAGES.__getitem__,
            key=f"{at}_language",
        )
    one = replace(given, page=page, codes=codes, file=file, language=language, reader=_reader(view, given, at))
    _wrong(problem, "reader")
    one = _time(words, one, at)
    _wrong(problem, "every", "day", "zone")
    lines = st.text_area(
        words("subscriptions.to_field"), "\n".join(given.to), help=words("alerts.to_note"), key=f"{at}_to"
    )
    _wrong(problem, "to", "foreign")
    return replace(one, to=tuple(dict.fromkeys(line.strip() for line in lines.splitlines() if line.strip())))


def _reader(view: View, given: Subscription, at: str) -> str:
    """Let who may change everybody's choose whose it is."""
    words = view.words
    known = data.readers(view.source)
    if given.reader not in known:
        known = [*known, given.reader]
    if len(known) < 2:
        return given.reader
    return st.selectbox(
        words("subscriptions.reader"),
        known,
        known.index(given.reader),
        format_func=lambda name: name or words("subscriptions.owner"),
        help=words("subscriptions.reader_note"),
        key=f"{at}_reader",
    )


def _codes(view: View, given: Subscription, at: str) -> Codes:
    """Let a subscription take the period and the filters of the bar; one that is there keeps its own otherwise."""
    words = view.words
    here: dict[str, tuple[str, ...]] = {filters.widget_key(name): codes for name, codes in view.where}
    period = str(st.session_state["period"])
    here |= {"period": (period,)} if period not in (filters.PERIODS[0], "custom") else {}
    kept = dict(given.codes)
    if not given.subscription_id:
        st.caption(inert(words("subscriptions.with_filters", filters=filtered(view, here))))
        return here
    st.caption(inert(words("subscriptions.keeps_filters", filters=filtered(view, kept))))
    if here != kept and st.checkbox(
        words("subscriptions.take_filters", filters=filtered(view, here)), key=f"{at}_codes"
    ):
        return here
    return kept


def _time(words: Words, given: Subscription, at: str) -> Subscription:
    """Show when it is sent, by whose clock."""
    every = st.segmented_control(
        words("subscriptions.when"),
        data.EVERY,
        default=given.every,
        required=True,
        format_func=lambda one: words(f"subscriptions.every_{one}"),
        key=f"{at}_every",
    )
    given = replace(given, every=str(every))
    if every == "load":
        return given
    first, second, third = st.columns(3)
    hours = [f"{one:02}:00" for one in range(24)]
    hour = first.selectbox(words("subscriptions.hour"), hours, given.hour, key=f"{at}_hour")
    zones = data.zones()
    zone = third.selectbox(
        words("subscriptions.zone"),
        zones,
        zones.index(given.zone) if given.zone in zones else zones.index("UTC"),
        key=f"{at}_zone",
    )
    day = given.day
    if every in ("weekly", "monthly"):
        last = 7 if every == "weekly" else data.LAST_DAY
        day = second.selectbox(
            words(f"subscriptions.day_{every}"),
            range(1, last + 1),
            min(given.day, last) - 1,
            format_func=lambda one: weekday(words, one) if every == "weekly" else words.number(one),
            key=f"{at}_day_{every}",
        )
    return replace(given, hour=hours.index(hour), day=int(day) if every != "daily" else 1, zone=str(zone))


def _save(view: View, one: Subscription, given: Subscription) -> None:
    """Keep a subscription, or say beside the field what is wrong with it."""
    words = view.words
    wrong = data.problem(view.source, one, given.to)
    problem = None if wrong is None else (wrong.field, _said(words, wrong, one))
    st.session_state[f"subscription_problem_{given.subscription_id}"] = problem
    if wrong is None:
        try:
            data.save(view.source, one)
        except BackhaulError as error:
            st.session_state["subscriptions_said"] = (False, words.translated(str(error)))
        else:
            said = words("subscriptions.saved", page=page_name(words, one.page), when=when(words, one))
            st.session_state["subscriptions_said"] = (True, said)
            st.session_state["subscription_turn"] = st.session_state.get("subscription_turn", 0) + 1
            st.session_state["subscription_done"] = True
    st.rerun()


def _said(words: Words, wrong: SubscriptionError, one: Subscription) -> str:
    """Say in the reader's words what is wrong with a field."""
    if wrong.field == "to":
        return words("subscriptions.wrong_to") if one.to else words("subscriptions.no_address")
    known = {
        "foreign": words("alerts.foreign", address=str(wrong)),
        "file": words("subscriptions.wrong_file"),
        "reader": words("subscriptions.wrong_reader", reader=one.reader or MISSING),
    }
    return known.get(wrong.field, str(wrong))
