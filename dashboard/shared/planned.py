"""Targets and notes on a page: what a tile says of its target, the ticks of a chart, and the forms that write both."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from dashboard.i18n import Words, inert
from dashboard.shared import access, findings, plan, queries, timeline
from dashboard.shared.filters import View
from dashboard.shared.renewed import renewed
from dashboard.shared.theme import first_button
from dashboard.shared.whole import changing, whole_shop
from pipelines import targets
from pipelines.errors import BackhaulError
from pipelines.people import annotations


@dataclass(frozen=True)
class Said:
    """What is said of a number's target: the target, whether it is missed, its colour; or that a wider one stands."""

    of: str = ""
    verdict: str = ""
    colour: findings.Colour = "gray"
    wider: str = ""

    def whole(self, words: Words) -> str:
        """Say all of it; nothing where no target was set."""
        return words.pair(self.of, self.verdict) if self.of else self.wider


def said(view: View, key: str) -> Said:
    """Say of a number whether it misses its target; of a wider target, that it is none for this selection."""
    words = view.words
    held = plan.judged(view.asked, key)
    if held is not None:
        return Said(*findings.against_target(words, held))
    other = plan.wider(view.asked, key)
    if other is None:
        return Said()
    unit = queries.number(view.asked, key).unit
    of = of_cell(words, other.where)
    return Said(wider=words("target.wider", of=of, target=words.quantity(other.value, unit)))


def as_change(view: View, key: str) -> tuple[str, findings.Colour, str]:
    """Say the verdict where a view is compared with targets, in the place of a change; its colour; the target."""
    aim = said(view, key)
    return aim.verdict or view.words("target.none_here"), aim.colour, aim.of or aim.wider


def of_cell(words: Words, where: Mapping[str, Sequence[str]]) -> str:
    """Name the part of the shop that a target or a note is of."""
    if not where:
        return words("target.whole")
    return words.semicolon.join(
        words.pair(words.dimension(name), ", ".join(words.value(name, value) for value in values))
        for name, values in where.items()
    )


def on_chart(view: View, figure: go.Figure, behind: queries.DrillDown | None) -> tuple[go.Figure, list[str] | None]:
    """Draw the notes of the view and the targets of months on a chart over time, and say what the notes are.

    None for a chart of something else.
    """
    marks = timeline.marks_in_time(figure)
    if not marks:
        return figure, None
    words = view.words
    if behind is not None and behind.by == ("month",):
        unit = queries.number(view.asked, behind.key).unit
        held = plan.by_month(view.asked, behind.key, marks)
        figure = timeline.with_targets(figure, words, unit, marks, held)
    shown, more = timeline.ticks(figure, plan.notes(view.asked))
    lines = timeline.listed(words, shown)
    return timeline.ticked(figure, shown), [*lines, *([words("note.others", n=words.number(more))] if more else [])]


def under_chart(notes: Sequence[str] | None) -> None:
    """Say under a chart over time what its numbers mean."""
    if notes:
        st.caption("  \n".join(notes))


def offer_note(view: View, key: str) -> None:
    """Offer to add a note, to who may and sees the whole shop."""
    if access.may("save") and not view.source.scope:
        label = view.words("note.add")
        if st.button(label, key=f"{key}_note", icon=":material/edit_note:", type="tertiary"):
            st.dialog(label, icon=":material/edit_note:")(note_form)(view)


def offer_target(view: View, key: str, keys: Sequence[str]) -> None:
    """Offer to set a target of some numbers, to who may change what is everybody's."""
    taking = [one for one in keys if not targets.refusal(one)]
    if not taking or not access.may("change"):
        return
    label = view.words("target.set")
    if st.button(label, key=f"{key}_target", icon=":material/flag:", type="tertiary"):
        st.dialog(label, icon=":material/flag:")(target_form)(view, taking)


def _of_view(view: View, key: str) -> dict[str, tuple[str, ...]]:
    """Let the reader choose between the whole shop and what the view is filtered by."""
    words, where = view.words, dict(view.where)
    if not where:
        st.caption(words.pair(words("target.applies"), words("target.whole")))
        return {}
    named = {"view": of_cell(words, where), "whole": words("target.whole")}
    chosen = st.radio(words("target.applies"), list(named), format_func=lambda one: inert(named[one]), key=key)
    return where if chosen == "view" else {}


@renewed
def target_form(view: View, keys: Sequence[str]) -> None:
    """Let the reader set a target: which number, of which part of the shop, how much, from which day on."""
    words = view.words
    names = {key: findings.name(words, key) for key in keys}
    key = st.selectbox(words("target.number"), list(names), format_func=names.__getitem__, key="target_number")
    unit = queries.number(view.asked, key).unit
    of = "%" if unit == "share" else words.unit(unit)
    value = st.number_input(
        f"{words('target.name')} ({of})" if of else words("target.name"), value=None, key="target_value"
    )
    where = _of_view(view, "target_where")
    left, right = st.columns(2)
    begin = view.until.replace(day=1)
    since = left.date_input(words("target.since"), begin, format="DD/MM/YYYY", key="target_since")
    until = right.date_input(words("target.until"), None, format="DD/MM/YYYY", key="target_until")
    note = st.text_input(words("target.note"), key="target_note")
    if not st.button(words("target.save"), type=first_button(), key="target_save"):
        return
    if value is None:
        st.error(words("target.no_value"))
        return
    scaled = float(value) / 100 if unit == "share" else float(value)
    wanted = targets.Target(key, scaled, since, until if isinstance(until, dt.date) else None, where, note)
    try:
        targets.set_target(changing(view.source, "target_set"), queries.opened(view.source), wanted)
    except BackhaulError as error:
        st.error(inert(words.translated(str(error))))
        return
    st.rerun()


@renewed
def note_form(view: View) -> None:
    """Let the reader write a note: what happened, on which day, of which kind, about which part of the shop."""
    words = view.words
    text = st.text_input(
        words("note.text"), max_chars=annotations.LONGEST, key="note_text", help=words("note.text_help")
    )
    left, right = st.columns(2)
    day = left.date_input(words("note.day"), view.until, format="DD/MM/YYYY", key="note_day")
    kind = right.selectbox(
        words("note.kind"),
        annotations.ANNOTATION_KINDS,
        format_func=lambda one: words.value("note_kind", one),
        key="note_kind",
    )
    where = _of_view(view, "note_where")
    if not st.button(words("note.save"), type=first_button(), key="note_save"):
        return
    try:
        access.saved("note_written")
        wanted = annotations.Annotation(day, kind, text, where)
        annotations.annotate(whole_shop(view.source), queries.opened(view.source), wanted)
    except BackhaulError as error:
        st.error(inert(words.translated(str(error))))
        return
    st.rerun()
