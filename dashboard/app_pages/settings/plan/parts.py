"""Sentences, columns and blocks of the page plan."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.settings.plan import data
from dashboard.i18n import Words, inert
from dashboard.shared import access, blocks, planned, views
from dashboard.shared.columns import Columns, day, number, of, text
from dashboard.shared.filters import View
from dashboard.shared.whole import whole_shop
from pipelines.errors import BackhaulError


def targets_columns(words: Words) -> Columns:
    """Show targets: of which number and part of the shop, how much, from when until when."""
    return of(
        words,
        "target",
        target_id=("id", number),
        name=("number", text),
        of=("applies", text),
        value=("name", text),
        since=("since", day),
        until=("until", day),
        note=("note", text),
    )


def notes_columns(words: Words) -> Columns:
    """Show notes: the day, the kind, what was written, what it is about, and who says so."""
    return of(
        words,
        "note",
        annotation_id=("id", number),
        on=("day", day),
        kind=("kind", text),
        text=("text", text),
        of=("about", text),
        by=("by", text),
    )


def targets(view: View) -> None:
    """Show the targets, what takes one back, and the form to set one."""
    words, found = view.words, data.target_list(view.words, view.source)
    blocks.section(words("plan.tab_targets"), words, note=words("target.about"))
    if found.empty:
        blocks.nothing(words("target.none"))
    else:
        blocks.table(words, found, words("plan.tab_targets"), targets_columns(words), rows=12)
    if not access.may("change"):
        return
    parts = zip(*(found[name] for name in ("target_id", "name", "of", "value")), strict=True)
    labels = {int(number): f"{number} · {name} · {of_} · {value}" for number, name, of_, value in parts}
    _withdrawing(view, "target", labels, data.withdraw_target)
    blocks.section(words("target.set"), words)
    with st.container(border=True):
        planned.target_form(view, data.taking())


def notes(view: View) -> None:
    """Show the notes under the filters of the view, what takes one back, and the form to write one."""
    words, found = view.words, data.note_list(view.words, view.asked)
    blocks.section(words("plan.tab_notes"), words, note=words("note.note"))
    if found.empty:
        blocks.nothing(words("note.none"))
    else:
        blocks.table(words, found, words("plan.tab_notes"), notes_columns(words), rows=12)
    if not access.may("save") or not _sees_all(view):
        return
    own = found.dropna(subset="annotation_id")
    parts = zip(*(own[name] for name in ("annotation_id", "on", "text")), strict=True)
    labels = {int(number): f"{number:.0f} · {words.day(on)} · {said}" for number, on, said in parts}
    _withdrawing(view, "note", labels, data.withdraw_note)
    blocks.section(words("note.add"), words)
    with st.container(border=True):
        planned.note_form(view)


def _sees_all(view: View) -> bool:
    try:
        return bool(whole_shop(view.source))
    except BackhaulError:
        return False


def _withdrawing(view: View, kind: str, labels: dict[int, str], withdraw: Callable[..., None]) -> None:
    """Let the reader choose one of a list and take it back."""
    words = view.words
    if not labels:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            words(f"{kind}.withdraw_which"),
            list(labels),
            format_func=lambda one: inert(labels.get(one, "")),
            key=f"{kind}_chosen",
        )
        st.button(
            words(f"{kind}.withdraw"),
            key=f"{kind}_withdraw",
            icon=":material/undo:",
            on_click=_tried,
            args=(withdraw, view.source, chosen),
        )
    _problem(words)


def _tried(do: Callable[..., None], *args: Any) -> None:
    """Do what a button asks for; what stands in the way is said where the page is drawn anew."""
    try:
        do(*args)
    except BackhaulError as error:
        st.session_state["plan_problem"] = str(error)


def _problem(words: Words) -> None:
    if problem := st.session_state.pop("plan_problem", None):
        st.error(inert(words.translated(problem)))


def saved(view: View) -> None:
    """Show the reader's saved views: the link to each, its name to change, and what takes it from the list."""
    words, found = view.words, views.own(view.source)
    blocks.section(words("plan.tab_views"), words, note=words("views.about"))
    if not found:
        blocks.nothing(words("views.none"))
    for one in found:
        with st.container(horizontal=True, vertical_alignment="bottom", border=True):
            views.open_link(words, one)
            if access.may("save"):
                name = st.text_input(words("views.name"), one.name, key=f"view_name_{one.view_id}")
                rename = (data.rename_view, view.source, one.view_id, name)
                st.button(words("views.rename"), key=f"view_rename_{one.view_id}", on_click=_tried, args=rename)
                withdraw = (data.withdraw_view, view.source, one.view_id)
                st.button(words("views.withdraw"), key=f"view_withdraw_{one.view_id}", on_click=_tried, args=withdraw)
    _problem(words)


def finding(words: Words, found: pd.DataFrame) -> str:
    """Say how many targets stand."""
    return words("plan.finding", n=words.number(len(found)))
