"""The two controls under each chart, table and row of tiles: the rows behind it, and files of both.

What the rows are stands in `rows_behind`, how a table looks in `frames`. A file is made when it is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.i18n import Words, inert
from dashboard.shared import access, columns, filters, findings, planned, queries, rows_behind, take_away
from dashboard.shared.filters import View
from dashboard.shared.frames import CODED, SHOWN_ROWS, frame_table
from dashboard.shared.renewed import renewed
from dashboard.shared.twin import twin


def keep_among(key: str, options: Sequence[str], default: str) -> None:
    """Set a control, before it is shown, to one of its options where what it holds is none of them any more."""
    if st.session_state.get(key) not in options:
        st.session_state[key] = default if default in options else options[0]


def narrowed(behind: queries.DrillDown | None) -> View:
    """Give the view, with the filters of what lies behind added to its own."""
    view: View = st.session_state["view"]
    return replace(view, where=(*view.where, *behind.where)) if behind is not None and behind.where else view


def mark_at(behind: queries.DrillDown, codes: Sequence[str | None]) -> queries.Mark:
    """Give the mark that has these codes: each dimension behind with its value."""
    return tuple(zip(behind.by, codes, strict=False))


def controls(
    view: View,
    title: str,
    key: str,
    behind: queries.DrillDown | None,
    seen: pd.DataFrame,
    at: queries.Mark = (),
    marks: Sequence[queries.Mark] = (),
    *,
    is_over_time: bool = False,
) -> DeltaGenerator:
    """Show the way to the rows and to the files, small, under what they belong to; `at` is the mark chosen of `marks`.

    What the numbers do not rest on is said above them. Gives the row that they stand in.
    """
    words = view.words
    if behind is not None and not key.startswith("tiles_"):
        said = findings.lost(words, [queries.number(view.asked, k) for k in (behind.key, *behind.also)])
        if said:
            st.caption(f":orange[:material/warning:] {said}")
    line = st.container(horizontal=True, gap="small", vertical_alignment="center", key=f"{key}_controls")
    with line:
        if behind is not None and access.may("rows"):
            label = words("rows.open_of", what=_said(words, behind, at)) if at else words("rows.open")
            if st.button(
                label, icon=":material/table_rows:", type="tertiary", key=f"{key}_rows", help=words("rows.help")
            ):
                _open_rows(view, behind, at, marks)
            if at:
                _filter_button(view, behind, at, key)
                st.button(
                    words("rows.clear"),
                    icon=":material/close:",
                    type="tertiary",
                    key=f"{key}_clear",
                    on_click=_clear,
                    args=(key,),
                )
        if behind is not None and key.startswith("tiles_"):
            planned.offer_target(view, key, (behind.key, *behind.also))
        if is_over_time:
            planned.offer_note(view, key)
        if not access.may("export"):
            return line
        with st.popover(words("rows.export"), icon=":material/download:", type="tertiary", key=f"{key}_export"):
            st.caption(words("rows.seen"))
            make = partial(rows_behind.file_of_seen, view.asked, title, behind, seen)
            files(words, f"{key}_seen", behind.key if behind else key, make)
            take_away.offer_pictures(words, key)
            if behind is not None:
                st.caption(words("rows.behind"))
                part = rows_behind.parts(behind.key)[0]
                make = partial(rows_behind.file_of_rows, view.asked, title, behind.key, part, at, behind.is_dated)
                files(words, f"{key}_behind", f"{behind.key}_rows", make)
    return line


def table_beside(words: Words, line: DeltaGenerator, figure: go.Figure, title: str, key: str) -> None:
    """Offer what a chart shows as a table of text, and show it where the reader asked for it."""
    is_shown = bool(st.session_state.get(f"{key}_table"))
    with line:
        st.button(
            words("rows.hide_table" if is_shown else "rows.table"),
            icon=":material/table_chart:",
            type="tertiary",
            key=f"{key}_table_button",
            help=words("rows.table_help"),
            on_click=_turn,
            args=(f"{key}_table",),
        )
    if is_shown:
        st.caption(title)
        st.table(twin(figure, words).map(inert), hide_index=True)


def _turn(key: str) -> None:
    """Show what is hidden, hide what is shown."""
    st.session_state[key] = not st.session_state.get(key)


def _filter_button(view: View, behind: queries.DrillDown, at: queries.Mark, key: str) -> None:
    """Offer to filter every page by the mark that was chosen; a chip of the bar takes it back.

    A month is no filter: the period is. What the view is filtered by already is not offered again.
    """
    known = filters.offered(view.source)
    codes = {name: str(code) for name, code in at if name in known and code and (name, (code,)) not in view.where}
    if not codes:
        return
    what = " · ".join(_named(view.words, behind, name, code) for name, code in codes.items())
    label = view.words("rows.filter_by", what=what)
    if st.button(label, icon=":material/filter_alt:", type="tertiary", key=f"{key}_filter"):
        st.session_state["picked"] = codes
        st.rerun()


def _clear(key: str) -> None:
    """Forget the mark or the row that was chosen."""
    st.session_state.pop(f"{key}_mark", None)
    st.session_state[f"{key}_turn"] = st.session_state.get(f"{key}_turn", 0) + 1


def files(words: Words, key: str, name: str, make: Callable[[str, str], bytes]) -> None:
    """Show one button a format; a file is made when its button is pressed."""
    if not access.may("export"):
        return
    with st.container(horizontal=True, gap="small"):
        for form in rows_behind.FILES:
            st.download_button(
                words(f"rows.{form}"),
                access.exporting(f"{name}.{form}", partial(make, form, words.language)),
                f"backhaul-{name}.{form}",
                rows_behind.MIME[form],
                key=f"{key}_{form}",
                on_click="ignore",
            )


def _said(words: Words, behind: queries.DrillDown, at: queries.Mark) -> str:
    """Name the mark that was chosen."""
    return " · ".join(_named(words, behind, name, value) for name, value in at)


def _named(words: Words, behind: queries.DrillDown, dimension: str, value: str | None) -> str:
    if dimension == "month" and value:
        return words.month(pd.Timestamp(value))
    seen = behind.seen
    if seen is not None and "name" in seen and dimension in seen:
        found = seen.loc[seen[dimension] == value, "name"]
        return str(found.iloc[0]) if len(found) else str(value)
    return words.value(CODED.get(dimension, dimension), value)


def _open_rows(view: View, behind: queries.DrillDown, at: queries.Mark, marks: Sequence[queries.Mark]) -> None:
    words = view.words
    named = findings.name(words, rows_behind.key_of(view.asked, behind.key, at))
    title = words("rows.behind") if behind.also else words.pair(words("rows.behind"), named)
    st.dialog(title, width="large", icon=":material/table_rows:")(_rows)(view, behind, at, marks)


@renewed
def _rows(view: View, behind: queries.DrillDown, at: queries.Mark, marks: Sequence[queries.Mark]) -> None:
    """Show the rows behind a number: which, how many, what they add up to, and the files of all of them."""
    words, key = view.words, behind.key
    if behind.also:
        key = st.selectbox(words("rows.number"), (behind.key, *behind.also), format_func=partial(findings.name, words))
    if marks:
        options = [(), *marks]
        at = st.selectbox(
            words("rows.of"),
            options,
            options.index(at),
            format_func=lambda one: _said(words, behind, one) or words("filter.every"),
        )
        _filter_button(view, behind, at, "rows")  # by keyboard and by finger too
    counted = rows_behind.key_of(view.asked, key, at)
    part = rows_behind.parts(counted)[0]
    if len(rows_behind.parts(counted)) > 1:
        part = (
            st.segmented_control(
                words("rows.part"),
                rows_behind.parts(counted),
                default=part,
                required=True,
                format_func=lambda p: words(f"rows.{p}"),
                label_visibility="collapsed",
            )
            or part
        )
    asked = (view.asked, key, part, at, behind.is_dated)
    count, total = rows_behind.rows_total(*asked)
    limits = [
        words.pair(words.dimension(n), ", ".join(words.value(n, v) for v in vs))
        for n, vs in view.where
        if n not in queries.ignored(view.asked, counted)
    ]
    span = [words("badge.span", since=words.day(view.since), until=words.day(view.until))] if behind.is_dated else []
    st.caption(inert(" · ".join([*limits, *span])))
    if not count:
        st.info(words("rows.none"), icon=":material/filter_alt:")
        return
    sentence = words(
        "rows.total", n=words.number(count), total=words.number(total, 0 if float(total).is_integer() else 2)
    )
    newest = words("rows.newest", n=words.number(SHOWN_ROWS)) if count > SHOWN_ROWS else ""
    cut = words("rows.cut", n=words.number(rows_behind.FILE_ROWS)) if count > rows_behind.FILE_ROWS else ""
    st.markdown(" ".join(filter(None, [sentence, newest, cut])))
    found = rows_behind.rows(*asked, SHOWN_ROWS)
    frame_table(words, found, words("rows.behind"), columns.rows(words, found), rows=12, is_kept=False)
    files(
        words,
        "rows_files",
        f"{counted}_{part}",
        partial(rows_behind.file_of_rows, view.asked, findings.name(words, counted), *asked[1:]),
    )
