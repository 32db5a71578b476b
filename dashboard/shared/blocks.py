"""Pieces that pages share.

The heading with its badge, a tile, a chart, a table, and the empty states. Under each chart, table and row of tiles
stand the same two controls, of `controls`; how a frame looks is in `frames`. Streamlit lives here, there and in the
pages; what is asked lives in `queries`, what is said in `findings` and `i18n`.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.i18n import Words, inert
from dashboard.shared import address, charts, findings, places, planned, queries, settled, take_away
from dashboard.shared.controls import controls, mark_at, narrowed, table_beside
from dashboard.shared.filters import View, is_telephone, take_back
from dashboard.shared.frames import SHOWN_ROWS, frame_table
from dashboard.shared.renewed import renewed
from dashboard.shared.sparks import spark
from dashboard.shared.theme import is_dark
from dashboard.shared.tokens import INK
from pipelines.settings import Settings

SHORT = 24  # letters of a link that keeps its width; a longer one is cut where a window is narrow


def needs_one(view: View, *keys: str) -> None:
    """Stop a page whose files support none of these numbers: one block says what it would show, and what to ask for."""
    lacks = {key: queries.number(view.asked, key).lacks for key in keys}
    if all(lacks.values()):
        _titled(view.words, places.title(view.words, places.current()))
        _missing(view.words, view.words("missing.page"), lacks, is_whole_page=True)
        raise places.PageEnded


def _titled(words: Words, finding: str, *, is_brief: bool = False) -> None:
    """Show the way to a page, what it found as its title, and the question that it answers."""
    sheet = places.current()
    take_away.title(finding)
    if is_brief:
        st.title(finding, anchor=False, help=words(f"question.{sheet.address}"))
        return
    crumbs(words, sheet)
    place = st.empty()
    place.title(finding, anchor=False)
    st.session_state["title"] = None if sheet.is_first else place
    st.caption(words(f"question.{sheet.address}"))


def crumbs(words: Words, sheet: places.Sheet) -> None:
    """Show where a page stands: its place, as a link, and its name."""
    first, place = places.sheets(sheet.place)[0], words(f"place.{sheet.place}")
    if sheet == first:
        st.caption(f"{places.PLACES[sheet.place]} {place} › {places.title(words, sheet)}")
        return
    with st.container(horizontal=True, gap="xxsmall", vertical_alignment="center", key="crumbs"):
        link_to(words, first.address, place, icon=places.PLACES[sheet.place])
        st.caption(f"› {places.title(words, sheet)}")


def heading(view: View, finding: str, keys: Sequence[str], *, needs_rows: bool = True, is_brief: bool = False) -> None:
    """Show a page's finding as its title, its question, and how far the numbers can be trusted.

    The finding of a subject heads its first page; the others take that of their first section. A brief one leaves the
    question and the trust to the page. Stop where there is nothing to show.
    """
    words, sheet = view.words, places.current()
    _titled(words, finding if sheet.is_first else places.title(words, sheet), is_brief=is_brief)
    if not is_brief:
        trust(view)
    ignored = {*queries.unfiltered(), *(name for key in keys for name in queries.ignored(view.asked, key))}
    if not needs_rows:
        ignored |= {name for name, _ in view.where}
    if ignored:
        st.caption(":material/info: " + words("filter.ignored", names=_listed(words, sorted(ignored))))
    if needs_rows and not queries.has_rows(view.asked):
        no_rows(view)
        raise places.PageEnded


def trust(view: View) -> None:
    """Say which days the numbers are of, and how far they can be trusted."""
    words, found = view.words, queries.trust(view.source)
    days = words("badge.span", since=words.day(view.since), until=words.day(view.until))
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        st.badge(
            days, icon=":material/date_range:", color="gray", help=words("badge.until", day=words.day(found.last_day))
        )
        if found.failed_checks:
            failed = words("badge.failed", n=words.number(found.failed_checks))
            st.badge(failed, icon=":material/error:", color="orange")
        else:
            st.badge(words("badge.passed"), icon=":material/check:", color="green")
        if found.greyed:
            greyed_out = words("badge.greyed", n=words.number(found.greyed))
            st.badge(greyed_out, icon=":material/visibility_off:", color="gray", help=words("badge.greyed_help"))


def _listed(words: Words, dimensions: Sequence[str]) -> str:
    return ", ".join(words.dimension(dimension).lower() for dimension in dimensions)


def not_filtered(words: Words) -> None:
    """Say by which filters of the view what comes next is not cut."""
    if names := queries.unfiltered():
        st.caption(":material/filter_alt_off: " + words("filter.unfiltered", names=_listed(words, names)))


def definition(words: Words, key: str) -> str:
    """Give a metric's sentence, formula, unit and date basis as help text."""
    metric = queries.metric(key)
    parts = [words.either(*metric.sentence), f"`{metric.formula}`", words(f"basis.{metric.basis}")]
    return "\n\n".join(parts)


def tile(view: View, key: str, extra: str = "") -> None:
    """Show one number with its change and interval, whether the change is noise, its months and its definition.

    Grey where a source is missing.
    """
    words = view.words
    queries.unfiltered()
    found = queries.number(view.asked, key)
    names = _listed(words, queries.unfiltered())
    unfiltered = words("filter.unfiltered", names=names) if names else ""
    label = findings.name(words, key)
    if found.status != "ok":
        bounds, why = between(words, found), findings.reason(words, found)
        take_away.line(label, bounds or _of_a_part(words, found), "", why)
        with st.container(border=True, height="stretch", gap="small"):
            st.metric(
                label,
                bounds or _of_a_part(words, found),
                help=definition(words, key) + "\n\n" + why,
                delta=words("tile.bounds") if bounds else why,
                delta_color="off",
                delta_arrow="off",
            )
            for said in filter(None, [why if bounds else "", unfiltered]):
                st.caption(said)
        return
    change = None if key in queries.GROWING | findings.STOCKS else queries.change(view.asked, key)
    months = settled.with_young(view.asked, key)
    delta, colour, arrow = findings.change(words, change, queries.metric(key).good, found.n)
    if key in queries.GROWING | findings.STOCKS:
        delta = words("tile.growing" if key in queries.GROWING else "tile.stock")
    target = planned.said(view, key).whole(words)
    if view.is_against_target:
        (delta, colour, target), arrow = planned.as_change(view, key), "off"
    about = (
        definition(words, key)
        + interval(words, found)
        + ("\n\n" + words("tile.same_age") if change and key in queries.SAME_AGE else "")
        + ("\n\n" + findings.caution(words, found) if found.caution else "")
    )
    rests = words("tile.coverage", share=findings.covered(words, found)) if found.coverage < 1 else ""
    of_change = " · ".join(filter(None, [delta, target]))
    take_away.line(label, words.quantity(found.value, found.unit), between(words, found), of_change)
    if found.caution:
        label = f":orange[:material/warning:] {label}"
    drifts = next((words(f"tile.{code}") for code in ("delay_drift", "new_curve") if code in found.caution), "")
    beside = " · ".join(filter(None, [between(words, found), target, drifts, rests, extra, unfiltered]))
    with st.container(border=True, height="stretch", gap="small"):
        st.metric(
            label,
            words.quantity(found.value, found.unit),
            help=about,
            delta=delta,
            delta_color=colour,
            delta_arrow=arrow,
        )
        _months(words, key, months)
        if beside:
            st.caption(beside)  # a description beside the change is cut off where the tile is narrow


def _months(words: Words, key: str, months: pd.DataFrame) -> None:
    """Draw the months of a number small; those that still move are dotted."""
    is_young = months["is_young"].tolist()
    so_far = f" ({words('today.so_far')})" if any(is_young) else ""
    about = f"{findings.name(words, key)}, {words('today.months_of')}{so_far}"
    if drawn := spark(about, months["value"].astype(float).tolist(), is_young, INK[is_dark()]["line"], "100%"):
        st.html(drawn)


def _of_a_part(words: Words, found: queries.Number) -> str:
    """Write a value that its reason says is of a part only, or that there is none."""
    if found.value != found.value:
        return words("tile.unknown")
    return words("tile.part", value=words.quantity(found.value, found.unit))


def first_tiles(view: View, *keys: str, beside: dict[str, str] | None = None) -> None:
    """Show the numbers of a subject on its first page alone."""
    if places.current().is_first:
        tiles(view, *keys, beside=beside)


def tiles(view: View, *keys: str, beside: dict[str, str] | None = None) -> None:
    """Show numbers in rows that wrap on narrow screens, and what those wait for that the files cannot support.

    `beside` stands beside a number's change.
    """
    words = view.words
    queries.read_ahead(view.asked, keys)
    lacks = {key: queries.number(view.asked, key).lacks for key in keys}
    known = [key for key in keys if not lacks[key]]
    if known:
        with st.grid(len(known) if len(known) < 5 else 3, min_column_width=210):
            for key in known:
                tile(view, key, (beside or {}).get(key, ""))
        behind = queries.DrillDown(known[0], also=tuple(known[1:]))
        controls(view, words("rows.numbers"), f"tiles_{keys[0]}", behind, queries.numbers(view.asked, *known))
        queries.unfiltered()
    if len(known) < len(keys):
        _missing(words, words("missing.title"), {key: facts for key, facts in lacks.items() if facts})


def _missing(words: Words, title: str, lacks: dict[str, tuple[str, ...]], *, is_whole_page: bool = False) -> None:
    """Say which numbers the files cannot support, what they need, and what to send to whom to get it."""
    facts = list(dict.fromkeys(fact for needed in lacks.values() for fact in needed))
    names = list(dict.fromkeys(findings.name(words, key) for key in lacks))
    ask_for(words, title, names, facts, is_expanded=is_whole_page)


def ask_for(words: Words, title: str, names: Sequence[str], facts: Sequence[str], *, is_expanded: bool) -> None:
    """Say what a title lacks, and offer the sentence to send to the person who has it."""
    with st.container(border=True, gap="small"):
        st.markdown(f":material/visibility_off: **{title}** " + words("missing.names", names=", ".join(names)))
        st.caption(words("greyed.needs", facts=", ".join(words.fact(fact) for fact in facts)))
        with st.expander(words("missing.ask"), expanded=is_expanded, icon=":material/forward_to_inbox:"):
            requests(words, facts)


def requests(words: Words, facts: Iterable[str]) -> None:
    """Show what to send to whom to get kinds of fact, to be copied."""
    for owner, text in queries.requests(words, facts):
        st.markdown(words("missing.to", owner=owner))
        st.code(text, language=None, wrap_lines=True)


def between(words: Words, found: queries.Number) -> str:
    """Write the interval short, for a tile, or nothing."""
    if found.low != found.low or found.high != found.high:
        return ""
    return f"{words.quantity(found.low, found.unit)} – {words.quantity(found.high, found.unit)}"


def caution(said: str) -> None:
    """Warn of what is known against an interval; nothing when nothing is."""
    if said:
        st.warning(said, icon=":material/warning:")


def interval(words: Words, found: queries.Number) -> str:
    """Give the interval as a line of help, or nothing."""
    if not between(words, found):
        return ""
    return "\n\n" + words(
        "tile.interval", low=words.quantity(found.low, found.unit), high=words.quantity(found.high, found.unit)
    )


def section(title: str, words: Words, key: str = "", note: str = "") -> None:
    """Start a section: its finding, and the definition of the metric it shows.

    The first of a page that its subject's finding does not head is the page's title.
    """
    about = definition(words, key) if key else None
    place = st.session_state.pop("title", None)
    if place is not None:
        place.title(title, anchor=False, help=about)
        take_away.title(title)
    else:
        st.header(title, anchor=False, help=about)
        take_away.section(title)
    if note:
        st.caption(note)


def chart(
    figure: go.Figure, alt: str, key: str, behind: queries.DrillDown | None, seen: pd.DataFrame | None = None
) -> None:
    """Show a figure without tools that a telephone has no room for, and the way to the rows behind it.

    A figure without rows behind it says what is seen.
    """
    not_filtered(st.session_state["view"].words)
    _chart(narrowed(behind), figure, alt, key, behind, seen)
    queries.unfiltered()  # it has been said


@st.fragment
@renewed
def _chart(
    view: View, figure: go.Figure, alt: str, key: str, behind: queries.DrillDown | None, seen: pd.DataFrame | None
) -> None:
    config = {"displayModeBar": False, "locale": "en"}
    figure, notes = planned.on_chart(view, figure, behind)
    plain, described = figure, charts.described(figure)
    take_away.part(key, described, alt, notes=notes or ())
    figure = charts.inked(described, INK[is_dark()]["text"])
    if behind is None:
        st.plotly_chart(figure, key=key, alt=alt, config=config)
        planned.under_chart(notes)
        line = controls(view, alt, key, None, pd.DataFrame() if seen is None else seen, is_over_time=notes is not None)
        table_beside(view.words, line, plain, alt, key)
        return
    marks = charts.marks(figure) if behind.by else []
    codes = st.session_state.get(f"{key}_mark", [])
    codes = codes if codes in marks else []
    if marks and not is_telephone():
        charts.choose(figure, codes)
        st.plotly_chart(
            figure, key=key, alt=alt, config=config, on_select=partial(_choose, key), selection_mode="points"
        )
    else:
        st.plotly_chart(figure, key=key, alt=alt, config=config)
    planned.under_chart(notes)
    seen = queries.cut(view.asked, behind.key, *behind.by) if behind.seen is None else behind.seen
    at, every = mark_at(behind, codes), [mark_at(behind, mark) for mark in marks]
    line = controls(view, alt, key, behind, seen, at, every, is_over_time=notes is not None)
    table_beside(view.words, line, plain, alt, key)


def _choose(key: str) -> None:
    """Keep the codes of the mark that was clicked: a chart that is drawn anew forgets its own choice."""
    points = [p["customdata"] for p in st.session_state[key]["selection"]["points"] if p.get("customdata")]
    if points:
        last = points[-1]
        st.session_state[f"{key}_mark"] = list(last.values()) if isinstance(last, dict) else list(last)


def table(
    words: Words,
    frame: pd.DataFrame,
    alt: str,
    shown: dict[str, Any],
    *,
    rows: int = 10,
    key: str = "",
    name: str = "",
    behind: queries.DrillDown | None = None,
) -> int | None:
    """Show a table's named columns in their order, and the way to its files and to the rows behind it.

    With a key, a row can be chosen and its position is given back; with dimensions behind, a row can be chosen for its
    rows. A `name` tells it from another of the same columns on the page.
    """
    view: View = st.session_state["view"]
    not_filtered(words)
    present = [column for column in shown if column in frame]
    if key:
        chosen = frame_table(words, frame, alt, shown, rows=rows, key=key)
        controls(view, alt, key, behind, frame[present])
        queries.unfiltered()
        return chosen
    _table(narrowed(behind), frame, alt, shown, rows, "_".join(["table", *present, *([name] if name else [])]), behind)
    queries.unfiltered()
    return None


@st.fragment
@renewed
def _table(
    view: View,
    frame: pd.DataFrame,
    alt: str,
    shown: dict[str, Any],
    rows: int,
    key: str,
    behind: queries.DrillDown | None,
) -> None:
    turn = f"{key}_{st.session_state.get(f'{key}_turn', 0)}"
    by = behind.by if behind is not None and all(name in frame for name in behind.by) else ()
    chosen = frame_table(view.words, frame, alt, shown, rows=rows, key=turn if by else "")
    present = frame[[column for column in shown if column in frame]]
    if behind is None or not by:
        controls(view, alt, key, behind, present)
        return
    behind = replace(behind, seen=frame)
    marks = [mark_at(behind, codes) for codes in charts.codes(frame.head(SHOWN_ROWS), *by)]
    controls(view, alt, key, behind, present, () if chosen is None else marks[chosen], list(dict.fromkeys(marks)))


def plain_table(words: Words, frame: pd.DataFrame, alt: str, shown: dict[str, Any]) -> None:
    """Show a table that no build holds: without files, and without rows behind it."""
    frame_table(words, frame, alt, shown, rows=10)


def linked(words: Words, finding: findings.Finding) -> None:
    """Show a sentence that is a link, whole, to the page that says more; the filters go with it."""
    link_to(words, finding.page, finding.sentence, **dict(finding.link))


def link_to(
    words: Words, page: str, label: str, *, icon: str = ":material/arrow_forward:", at: str = "", **more: Any
) -> None:
    """Show a link to an address, with the filters of the view and more of its own.

    A telephone shows it as a button, which breaks a long sentence into lines: a link would be cut. `at` tells it from
    another of the same words on the page.
    """
    target, query = places.page(words, places.sheet(page)), address.view(**more) or None
    if not is_telephone():
        is_short = len(label) <= SHORT
        st.page_link(target, label=label, icon=icon, query_params=query, width="content" if is_short else "stretch")
    elif st.button(label, key=f"to_{page}_{label}{at}", icon=icon, type="tertiary"):
        st.switch_page(target, query_params=query)


def bottom_bar(words: Words) -> None:
    """Show the five places at the lower edge of a telephone's screen, as its menu is folded away."""
    if not is_telephone():
        return
    with st.bottom, st.container(horizontal=True, gap=None, horizontal_alignment="distribute", key="places"):
        for place in list(places.PLACES)[:-1]:
            first = places.sheets(place)[0]
            st.page_link(
                places.page(words, first), label=words(f"place_short.{place}"), query_params=address.view() or None
            )


def pick(label: str, key: str, options: dict[str, str]) -> str:
    """Let the reader pick one of a few; the choice is in the address."""
    first = next(iter(options))
    address.choice(key, options, first)
    st.segmented_control(
        label,
        list(options),
        required=True,
        format_func=lambda o: inert(options[o]),
        key=key,
        label_visibility="collapsed",
        wrap=True,
    )
    return _picked(key, options, first)


def _picked(key: str, options: Iterable[str], first: str) -> str:
    """Give what was picked, and hold it in the address; the first where a browser that is late names none of them."""
    chosen = st.session_state.get(key)
    chosen = str(chosen) if chosen in set(options) else first
    address.hold(key, *([] if chosen == first else [chosen]))
    return chosen


def choose(words: Words) -> str:
    """Let the reader choose a part of what stands at this address; only that part is asked for and drawn."""
    sheet = places.current()
    if len(sheet.parts) == 1:
        return sheet.parts[0]
    return pick(
        words(f"page.{sheet.address}"),
        "part",
        {part: words(f"{sheet.subject}.tab_{part}") for part in sheet.parts},
    )


def figures(words: Words, *shown: tuple[str, str, str], behind: queries.DrillDown | None = None) -> None:
    """Show a row of numbers that are no metric of the view.

    The key of the name, the value, what it means; and what lies behind.
    """
    not_filtered(words)
    with st.grid(min(len(shown), 4), min_column_width=210):
        for key, value, about in shown:
            take_away.line(words(key), value, "", "")
            st.metric(words(key), value, border=True, height="stretch", help=about)
    if behind is not None and behind.seen is not None:
        controls(narrowed(behind), words(shown[0][0]), f"figures_{behind.key}", behind, behind.seen)
        queries.unfiltered()


def pick_one(label: str, key: str, names: dict[str, str]) -> str:
    """Let the reader pick one of many by name; the choice is in the address."""
    first = next(iter(names))
    address.choice(key, names, first)
    st.selectbox(label, list(names), format_func=names.__getitem__, key=key)
    return _picked(key, names, first)


def toggle(label: str, key: str) -> bool:
    """Let the reader switch something on; it is in the address as `on`."""
    taken = address.given(key)
    if taken is not None:
        for code in [code for code in taken if code != "on"]:
            address.unknown(key, code)
        st.session_state[key] = "on" in taken
    st.toggle(label, key=key)
    is_on = bool(st.session_state[key])
    address.hold(key, *(["on"] if is_on else []))
    return is_on


def nothing(why: str) -> None:
    """Say why there is nothing to show here."""
    st.info(why, icon=":material/visibility_off:")


def greyed(view: View, key: str) -> None:
    """Say what a number that cannot be given is waiting for."""
    words, found = view.words, queries.number(view.asked, key)
    if found.lacks:
        _missing(words, words("missing.title"), {key: found.lacks})
        return
    st.info(
        findings.reason(words, found),
        icon=":material/visibility_off:",
        title=words.pair(findings.name(words, key), words("greyed.title").lower()),
    )


def facts(words: Words, coverage: pd.DataFrame) -> pd.DataFrame:
    """Name the kinds of fact of a coverage table."""
    return coverage.assign(fact=[words.fact(fact) for fact in coverage["fact"]]).sort_values(["source", "share"])


def no_rows(view: View) -> None:
    """Say that nothing is left, and offer to relax the filter that takes the rows away."""
    words = view.words
    st.info(words("empty.rows"), icon=":material/filter_alt:", title=words("empty.rows_title"))
    for dimension in queries.to_relax(view.asked):
        st.button(
            words("empty.relax", name=words.dimension(dimension).lower()),
            key=f"relax_{dimension}",
            on_click=take_back,
            args=(dimension,),
            icon=":material/filter_alt_off:",
        )


def demo_offer(words: Words) -> None:
    """Offer to load the demo shop."""
    warehouse = Settings().warehouse
    st.markdown(words("empty.demo"))
    if st.button(words("empty.button"), icon=":material/storefront:", key="load_demo"):
        with st.spinner(words("empty.loading"), show_time=True):
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    f"{Settings.__module__.removesuffix('.settings')}.cli",
                    "demo",
                    "--no-dashboard",
                ],
                env={**os.environ, "BACKHAUL_WAREHOUSE": str(warehouse)},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode == 0:
            st.rerun()
        lines = (done.stderr or done.stdout).strip().splitlines()
        st.error(inert(lines[-1]) if lines else words("empty.failed"), title=words("empty.failed"))
