"""Sentences, columns and blocks of the page data."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.settings.data import data as data_data
from dashboard.i18n import Words, inert
from dashboard.shared import access, blocks, places, upload
from dashboard.shared.blocks import section
from dashboard.shared.columns import Columns, instant, number, of, percent, text
from dashboard.shared.filters import View
from dashboard.shared.findings import name, told
from dashboard.shared.frames import CODED
from dashboard.shared.queries import Source
from dashboard.shared.theme import first_button
from pipelines.errors import BackhaulError
from pipelines.why import Why, read, why


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


def rows_aside(view: View, found: pd.DataFrame) -> None:
    """Show quarantined rows one by one; one that is chosen is shown whole, and can be fixed."""
    words = view.words
    if found.empty:
        return
    title = words("data.rows_aside")
    blocks.section(title, words, note=words("data.rows_aside_note"))
    said_before()
    state: list[Any] = [words("data.fix_waits") if pd.notna(fix_id) else None for fix_id in found["fix_id"]]
    place = [f"{file}:{line}" for file, line in zip(found["file"], found["line"], strict=True)]
    shown = of(
        words,
        "data",
        place=("place", text),
        rules=("rule", text),
        value=("example", text),
        thing=("thing", text),
        item=("id", text),
        fix_state=("fix", text),
        source=("source", text),
    )
    turn = st.session_state.get("aside_turn", 0)
    laid = found.assign(place=place, fix_state=state)
    chosen = blocks.table(words, laid, title, shown, rows=12, key=f"aside_{turn}")
    if chosen is not None and chosen < len(found):
        _row(view, {str(k): v for k, v in found.iloc[chosen].to_dict().items()})


def _row(view: View, row: dict[str, Any]) -> None:
    """Show one quarantined row, and the form that fixes it."""
    words = view.words
    with st.container(border=True, key="aside_row"):
        st.markdown(f"**{inert(row['file'])}:{row['line']}** · {inert(words.value('thing', row['thing']))}")
        try:
            cells = data_data.cells(view.source, row)
        except BackhaulError as error:
            st.error(inert(words.translated(str(error))))
            return
        laid = [
            {"what": column_name(words, c.column), "value": c.value, "breaks": words.rules(", ".join(c.rules))}
            if c.rules
            else {"what": column_name(words, c.column), "value": c.value, "breaks": None}
            for c in cells
        ]
        shown = of(words, "data", what=("field", text), value=("held", text), breaks=("rule", text))
        blocks.plain_table(words, pd.DataFrame(laid), words("data.row"), shown)
        st.caption(words("data.shapes"))
        if access.may("save"):
            _fix_form(view, row, [c for c in cells if c.rules and not data_data.is_personal(row["thing"], c.column)])


def column_name(words: Words, column: str) -> str:
    """Name a column of a log: as the upload names it, else as rows behind a number do."""
    named = words.value("mapped", column)
    return words.value("column", column) if named == column else named


def _fix_form(view: View, row: dict[str, Any], faulty: Sequence[data_data.Cell]) -> None:
    """Ask what counts in the columns at fault, and keep it; or leave the row out."""
    words, source = view.words, view.source
    key = f"fix_{row['load_id']}_{row['file']}_{row['line']}_{row['item']}"
    with st.form(key, border=False):
        values: dict[str, str] = {}
        for cell in faulty:
            label = words("data.counts", column=column_name(words, cell.column))
            given = data_data.choices(row["thing"], cell.column)
            if given:
                kind = CODED.get(cell.column, "stage")
                value = st.selectbox(
                    label,
                    given,
                    None,
                    format_func=partial(words.value, kind),
                    key=f"{key}_{cell.column}",
                )
            else:
                value = st.text_input(label, key=f"{key}_{cell.column}")
            if value and value.strip():
                values[cell.column] = value
        note = st.text_input(words("work.note_field"), key=f"{key}_note")
        everywhere = _is_wording(row, faulty) and st.checkbox(
            words("data.everywhere", source=inert(str(row["source"]))), key=f"{key}_everywhere"
        )
        with st.container(horizontal=True, gap="small"):
            is_kept = st.form_submit_button(words("data.keep_fix"), type=first_button(), key=f"{key}_keep")
            is_out = st.form_submit_button(words("data.leave_out"), key=f"{key}_out")
    try:
        if is_out:
            _fixed(words, data_data.leave_out(source, row, note))
        elif is_kept:
            _fixed(words, data_data.fix(source, row, values, note, everywhere=everywhere))
    except BackhaulError as error:
        st.error(inert(_wrong(words, error)))


def _wrong(words: Words, error: BackhaulError) -> str:
    """Say why a fix was not kept; the rule that is broken still in words."""
    found = read(str(error))[0]
    if isinstance(found, Why) and "rule" in found.parts:
        return words.translated(why(found.code, **{**found.parts, "rule": words.rules(found.parts["rule"])}))
    return words.translated(str(error))


def _is_wording(row: dict[str, Any], faulty: Sequence[data_data.Cell]) -> bool:
    """Say whether what is wrong with a row is one word that its source may write elsewhere too."""
    return len(faulty) == 1 and (bool(data_data.choices(row["thing"], faulty[0].column)) or faulty[0].column in WORDED)


def _fixed(words: Words, numbers: Sequence[int]) -> None:
    """Say what was kept, and show the list anew."""
    st.session_state["aside_said"] = words("data.fix_kept", n=words.number(len(numbers)))
    st.session_state["aside_turn"] = st.session_state.get("aside_turn", 0) + 1
    st.rerun()


def said_before() -> None:
    """Show what became of the last change."""
    if said := st.session_state.pop("aside_said", None):
        st.success(inert(said))


def fixes(view: View, found: pd.DataFrame) -> None:
    """Show the fixes that stand, let one be taken back, and apply those that wait."""
    words, source = view.words, view.source
    waiting = data_data.waiting(source)
    if found.empty and not waiting:
        return
    title = words("data.fixes")
    blocks.section(title, words, note=words("data.fixes_note"))
    if waiting and access.may("change") and (upload.is_private() or access.is_on()):
        label = words("data.apply", n=words.number(waiting))
        if st.button(label, icon=":material/replay:", type=first_button(), key="replay"):
            _replay(view)
    elif waiting:
        st.info(words("data.apply_who", n=words.number(waiting)), icon=":material/hourglass:")
    if found.empty:
        return
    laid = pd.DataFrame([_fix_row(words, row) for row in found.to_dict("records")])
    shown = of(
        words,
        "data",
        what=("kind", text),
        place=("place", text),
        column=("field", text),
        old=("old", text),
        new=("new", text),
        fix_state=("fix", text),
        created_by=("by", text),
        created_at=("at", instant),
        note=("note", text),
    )
    turn = st.session_state.get("fixes_turn", 0)
    chosen = blocks.table(words, laid, title, shown, rows=10, key=f"fixes_{turn}")
    if chosen is not None and access.may("save"):
        number = int(found.iloc[chosen]["fix_id"])
        st.button(
            words("data.take_back"),
            icon=":material/undo:",
            key=f"take_back_{number}",
            on_click=_take_back,
            args=(words, source, number),
        )


def _fix_row(words: Words, row: dict[Any, Any]) -> dict[str, Any]:
    """Lay out one fix: what it is of, the old value and the new, whether loads were validated with it."""
    return {
        "what": words(f"data.fix_{row['kind']}"),
        "place": f"{row['file']}:{row['line']:.0f}" if row["file"] else row["source"],
        "column": column_name(words, row["column"]) if row["column"] else None,
        "old": None if row["kind"] == "mapping" else row["old"],
        "new": None if row["kind"] == "mapping" else row["new"],
        "fix_state": words("data.fix_waits" if pd.isna(row["replayed_at"]) else "data.fix_on"),
        **{name: row[name] for name in ("created_by", "created_at", "note")},
    }


def _replay(view: View) -> None:
    """Validate the loads of new fixes again, and show the list anew."""
    words = view.words
    try:
        loading = data_data.replayed(view.source)
    except BackhaulError as error:
        st.error(inert(words.translated(str(error))))
        return
    loading.start()
    upload.watch(words, loading)
    outcome = loading.outcome
    problem = outcome.problem if outcome else ""
    st.session_state["aside_said"] = words.translated(problem) if problem else words("data.applied")
    st.rerun()


def _take_back(words: Words, source: Source, number: int) -> None:
    try:
        data_data.take_back(source, number)
    except BackhaulError as error:
        st.session_state["aside_said"] = words.translated(str(error))
    st.session_state["fixes_turn"] = st.session_state.get("fixes_turn", 0) + 1


def scorecards(view: View, found: Sequence[data_data.Scorecard]) -> None:
    """Show how each source does, and what is wrong with one."""
    words = view.words
    if not found:
        return
    title = words("data.scorecards")
    blocks.section(title, words, note=words("data.scorecards_note"))
    for sentence in (sentence for card in found for _, sentence in card.problems):
        st.warning(inert(words.translated(sentence)), icon=":material/warning:")
    frame = pd.DataFrame(
        {
            "source": card.source,
            "rows": card.rows,
            "accepted_share": card.share_accepted,
            "loaded_at": card.last_loaded_at,
            "last_rows": card.last_rows,
            "last_share": card.last_share_accepted,
            "newest_event": card.newest_event_at,
            "days_silent": card.silent_for.total_seconds() / 86_400,
            "usual_days": None if card.usual_gap is None else card.usual_gap.total_seconds() / 86_400,
        }
        for card in found
    )
    one = lambda label: number(label, 1)  # noqa: E731
    shown = of(
        words,
        "data",
        source=("source", text),
        rows=("rows", number),
        accepted_share=("accepted_share", percent),
        loaded_at=("loaded_at", instant),
        last_rows=("last_rows", number),
        last_share=("last_share", percent),
        newest_event=("last", instant),
        days_silent=("days_silent", one),
        usual_days=("usual_days", one),
    )
    blocks.table(words, frame, title, shown, rows=10, name="scorecards")


def hooks(words: Words, found: Sequence[data_data.Waiting]) -> None:
    """Show what web hooks told and no load has taken: what waits, since when, and what could not be read, and why."""
    if not found:
        return
    title = words("data.hooks")
    blocks.section(title, words, note=words("data.hooks_note"))
    frame = pd.DataFrame(
        {
            "hook": one.hook,
            "events": one.waiting,
            "since": one.since,
            "aside": sum(one.aside.values()),
            "reasons": " · ".join(words.translated(reason) for reason in one.aside) or None,
        }
        for one in found
    )
    shown = of(
        words,
        "data",
        hook=("hook", text),
        events=("waiting", number),
        since=("waiting_since", instant),
        aside=("quarantined", number),
        reasons=("why", text),
    )
    blocks.table(words, frame.astype({"since": "datetime64[us]"}), title, shown, rows=10, name="hooks")


WORDED = ("currency", "country", "market")
MAIN = {"order_lines": "fact_order_line", "return_lots": "fact_return_line", "refunds": "fact_refund"}


def history(words: Words, found: Sequence[data_data.Entry]) -> pd.DataFrame:
    """Lay out builds, newest first: what each took in, and how many rows more its main tables have."""
    verdicts = ("accepted", "replaced", "withdrawn", "quarantined")
    return pd.DataFrame(
        {
            "build_id": words("data.build_no", n=words.number(int(one.build_id.split("-")[0]))),
            "created_at": one.created_at,
            "seen": words("data.seen_now" if one.is_current else "data.seen_kept" if one.is_kept else "data.seen_gone"),
            "source": ", ".join(sorted({str(load["source"]) for load in one.loads})) or None,
            **{verdict: sum(load[verdict] or 0 for load in one.loads) for verdict in verdicts},
            **{name: one.change(table) for name, table in MAIN.items()},
        }
        for one in found
    )


def history_columns(words: Words) -> Columns:
    """Show what each build took in and changed."""
    return of(
        words,
        "data",
        build_id=("build", text),
        created_at=("built_at", instant),
        seen=("seen", text),
        source=("source", text),
        accepted=("accepted", number),
        replaced=("replaced", number),
        withdrawn=("withdrawn", number),
        quarantined=("quarantined", number),
        order_lines=("more_lines", number),
        return_lots=("more_returns", number),
        refunds=("more_refunds", number),
    )


def compared(view: View, found: Sequence[data_data.Entry]) -> None:
    """Compare two kept builds, and let an earlier one be what readers see."""
    words, source = view.words, view.source
    kept = [one for one in found if one.is_kept]
    if len(kept) < 2:
        return
    blocks.section(words("data.compare"), words, note=words("data.compare_note"))
    names = {one.build_id: _build_name(words, one) for one in kept}
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        first = blocks.pick_one(words("data.earlier"), "earlier", {i: names[i] for i in [*names][1:]})
        second = blocks.pick_one(words("data.later"), "later", names)
        if access.may("change") and not next(one for one in kept if one.build_id == first).is_current:
            with st.popover(words("data.rollback"), icon=":material/history:"):
                st.markdown(words("data.rollback_about", build=inert(names[first])))
                st.button(words("data.rollback_do"), key="rollback", on_click=_rollback, args=(words, source, first))
    said_before()
    try:
        differing = data_data.differences(source, first, second)
    except BackhaulError as error:
        st.error(inert(words.translated(str(error))))
        return
    numbers = pd.DataFrame(
        {
            "name": name(words, one.key),
            "before": words.quantity(one.before.value, one.before.unit),
            "after": words.quantity(one.after.value, one.after.unit),
            "because": _because(words, one.why, differing) or None,
        }
        for one in differing.metrics
    )
    shown = of(
        words, "data", name=("number", text), before=("before", text), after=("after", text), because=("why", text)
    )
    blocks.table(words, numbers, words("data.compare"), shown, rows=10, name="compared")
    tables = pd.DataFrame(
        [vars(one) | {"name": words.value("table", one.name)} for one in differing.tables if not one.is_same]
    )
    blocks.section(words("data.tables_differ") if len(tables) else words("data.tables_same"), words)
    if len(tables):
        counted = of(
            words,
            "data",
            name=("table", text),
            before=("rows_before", number),
            after=("rows_after", number),
            added=("added", number),
            gone=("gone", number),
            changed=("changed", number),
        )
        blocks.table(words, tables, words("data.tables_differ"), counted, rows=12, name="tables")


def _because(words: Words, sentence: str, differing: data_data.Differences) -> str:
    """Say why a number differs, tables by their names."""
    said = words.translated(sentence)
    for table in sorted((one.name for one in differing.tables), key=len, reverse=True):  # the longer name holds another
        said = said.replace(table, words.value("table", table))
    return said


def _build_name(words: Words, one: data_data.Entry) -> str:
    return words.pair(
        words("data.build_no", n=words.number(int(one.build_id.split("-")[0]))), words.hour(one.created_at)
    )


def _rollback(words: Words, source: Source, build_id: str) -> None:
    try:
        without = data_data.rollback(source, build_id)
        st.session_state["aside_said"] = words("data.rolled_back", n=words.number(len(without)))
    except BackhaulError as error:
        st.session_state["aside_said"] = words.translated(str(error))


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
