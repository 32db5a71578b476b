"""A work list: rows that are ticked, assigned and annotated, several at once, or made an action of.

What a page shows of a row is the page's; what people did with it is laid beside it here (`pipelines.people.work`).
"""

import datetime as dt
import zlib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.i18n import Words, inert
from dashboard.shared import access, blocks, queries
from dashboard.shared.columns import Columns, day, instant, text
from dashboard.shared.controls import controls, mark_at
from dashboard.shared.filters import View
from dashboard.shared.frames import rows_table
from dashboard.shared.memory import remembered
from dashboard.shared.queries import PageQuestion, Source, opened, question_of
from dashboard.shared.renewed import renewed
from dashboard.shared.theme import first_button
from dashboard.shared.whole import whole_shop
from pipelines.errors import BackhaulError, WorkError
from pipelines.people import actions, work
from pipelines.settings import Settings

HISTORY = 5  # changes of one row that are shown
EVERY = "every"
_SHOWN = {"todo": work.TODO, "held": ("held",), "done": ("done", "settled")}


def work_list(
    view: View,
    name: str,
    found: pd.DataFrame,
    alt: str,
    shown: Columns,
    behind: queries.DrillDown | None = None,
    *,
    rows: int = 15,
    first: str = "todo",
) -> None:
    """Show the rows of a work list with what people did, the filters of it, and what can be done with rows chosen."""
    words = view.words
    _what_was_done(words, name)
    changed = changes(view.source, name)
    laid = work.laid(opened(view.source), name, found, changed)
    st.markdown(_counted(view, name, laid, changed))
    chosen = _filtered(words, laid, first)
    if chosen.empty:
        blocks.nothing(words("work.none"))
        return
    blocks.not_filtered(words)
    _rows(view, name, chosen.reset_index(drop=True), alt, shown, behind, rows)
    queries.unfiltered()


def changes(asked: Source, name: str) -> pd.DataFrame:
    """Give the last change of each row of a list within the reader's scope; read anew each time."""
    return work.changes(Settings(asked.warehouse), opened(asked), name)


@remembered
def _open_then(asked: PageQuestion, name: str, since: dt.datetime | None) -> frozenset[str]:
    """Give the rows that stood on a list at an earlier time, under the filters of the view."""
    question = question_of(asked, work.LISTS[name].metric).undated()
    return work.open_then(Settings(asked.source.warehouse), opened(asked.source), name, question, since)


def _counted(view: View, name: str, laid: pd.DataFrame, changed: pd.DataFrame) -> str:
    """Say how much is to do, was done by hand and was settled by the data."""
    words, build = view.words, opened(view.source)
    since = work.begun(build, changed)
    with queries.unseen():
        of_then = _open_then(view.asked, name, since) if work.LISTS[name].past else frozenset()
    tally = work.tally(build, laid, changed, of_then, is_filtered=bool(view.where))
    parts = [words(f"work.todo_{name.replace('-', '_')}", n=words.number(tally.todo))]
    if tally.since is not None:
        counts = {"done": words.number(tally.done), "settled": words.number(tally.settled)}
        parts.append(words("work.since", day=words.day(tally.since), **counts))
    if tally.still_open:
        parts.append(":orange[:material/warning:] " + words("work.still_open", n=words.number(tally.still_open)))
    return " · ".join(parts)


def _filtered(words: Words, laid: pd.DataFrame, first: str) -> pd.DataFrame:
    """Let the reader choose by state, owner and promise; the choices are in the address."""
    states = {name: words(f"work.show_{name}") for name in ("todo", "held", "done", "all")}
    owners = sorted(laid["work_owner"].dropna().unique())
    has_promises = "promise_id" in laid and laid["promise_id"].nunique() > 1
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        state = blocks.pick(words("work.state"), "work_state", {first: states[first], **states})
        if owners:
            names = {EVERY: words("work.every_owner"), **{owner: inert(str(owner)) for owner in owners}}
            owner = blocks.pick_one(words("work.owner"), "work_owner", names)
            laid = laid if owner == EVERY else laid[laid["work_owner"].eq(owner)]
        if has_promises:
            codes = list(dict.fromkeys(laid["promise_id"].dropna()))
            of = {EVERY: words("work.every_promise"), **{c: words.value("promise", c) for c in codes}}
            promise = blocks.pick_one(words("promises.promise"), "work_promise", of)
            laid = laid if promise == EVERY else laid[laid["promise_id"].eq(promise)]
    return laid if state == "all" else laid[laid["work_state"].isin(_SHOWN[state])]


def with_work(words: Words, shown: Columns, laid: pd.DataFrame) -> Columns:
    """Put the columns of what people did behind the first column of a list: what nobody gave is left out."""
    people: Columns = {
        "work_state": text(words("work.state")),
        "work_owner": text(words("work.owner")),
        "work_due_on": day(words("work.due")),
        "work_note": text(words("work.note")),
    }
    last: Columns = {
        "work_action_id": text(words("work.action")),
        "work_changed_at": instant(words("work.changed_at")),
        "work_changed_by": text(words("work.changed_by")),
    }
    people, last = ({n: c for n, c in some.items() if laid[n].notna().any()} for some in (people, last))
    return dict(list(shown.items())[:1]) | people | shown | last


@st.fragment
@renewed
def _rows(
    view: View,
    name: str,
    laid: pd.DataFrame,
    alt: str,
    shown: Columns,
    behind: queries.DrillDown | None,
    rows: int,
) -> None:
    words = view.words
    turns = [st.session_state.get(f"{of}_turn", 0) for of in ("work", f"work_{name}")]
    key = f"work_{name}_{turns[0]}_{turns[1]}_{_digest(laid)}"
    columns = with_work(words, shown, laid)
    numbers = pd.to_numeric(laid["work_action_id"]).astype("Int64").astype("string")
    table = laid.assign(work_action_id=numbers.astype(object).where(numbers.notna(), None))
    may_save, above = access.may("save"), st.container()
    every = may_save and above.checkbox(words("work.choose_all", n=words.number(len(laid))), key=f"{key}_all")
    positions = rows_table(words, table, alt, columns, rows=rows, key=key)
    chosen = laid if every else laid.iloc[positions]
    if may_save:
        with above:
            _tools(view, name, chosen, laid, key)
    if len(chosen) == 1 and work.LISTS[name].on == "style_id":
        blocks.link_to(words, "product", words("work.to_product"), product=str(chosen.iloc[0]["style_id"]))
    seen = table[[column for column in columns if column in table]]
    by = behind.by if behind is not None and all(column in laid for column in behind.by) else ()
    at = mark_at(behind, [str(chosen.iloc[0][c]) for c in by]) if behind is not None and len(chosen) == 1 else ()
    controls(view, alt, f"work_{name}", behind, seen.rename(columns=_named(seen)), at)


def _digest(rows: pd.DataFrame) -> int:
    """Name rows in the key of what belongs to them: of other rows, it begins anew."""
    return zlib.crc32("\n".join(rows["item"]).encode())


def _named(seen: pd.DataFrame) -> dict[str, str]:
    """Name the columns of what people did as a file of the list does."""
    names = {f"work_{column}": column for column in work.COLUMNS}
    return {column: name if name not in seen else column for column, name in names.items()}


def _tools(view: View, name: str, chosen: pd.DataFrame, laid: pd.DataFrame, key: str) -> None:
    """Show what can be done with the rows chosen: tick, assign, annotate, make an action of them."""
    words, n = view.words, view.words.number(len(chosen))
    if chosen.empty:
        st.caption(words("work.choose"))
        return
    is_done = bool(chosen["work_state"].isin(("done", "settled")).all())
    with st.container(horizontal=True, gap="small", key=f"{key}_tools"):
        label, icon, state = (
            (words("work.reopen", n=n), ":material/undo:", "open")
            if is_done
            else (words("work.tick", n=n), ":material/check:", "done")
        )
        if st.button(label, icon=icon, type=first_button(), key=f"{key}_tick"):
            _save(view, name, chosen, state=state)
        of = f"{key}_{_digest(chosen)}"
        with st.popover(words("work.assign", n=n), icon=":material/edit:", key=f"{of}_assign"):
            _form(view, name, chosen, laid, of)
        if work.LISTS[name].kinds and not view.source.scope:
            with st.popover(words("work.to_action", n=n), icon=":material/add_task:", key=f"{of}_act"):
                _action_form(view, name, chosen, laid, of)


def _form(view: View, name: str, chosen: pd.DataFrame, laid: pd.DataFrame, key: str) -> None:
    """Change state, owner, due date and note of the rows chosen; of several, empty fields stay as they are."""
    words, row = view.words, chosen.iloc[0] if len(chosen) == 1 else None
    with st.form(f"{key}_form", border=False):
        states = list(work.STATES)
        at = states.index(row["work_state"]) if row is not None and row["work_state"] in states else None
        state = st.selectbox(
            words("work.state"),
            states,
            at,
            format_func=lambda code: words.value("work_state", code),
            placeholder=words("work.unchanged"),
            key=f"{key}_state",
        )
        owner, wrong_owner = _owner(words, laid, row, key)
        due = st.date_input(words("work.due"), _day(row), format="DD/MM/YYYY", key=f"{key}_due")
        note = st.text_input(words("work.note_field"), _text(row, "work_note") or "", key=f"{key}_note")
        wrong_note = st.empty()
        if row is None:
            st.caption(words("work.several", n=words.number(len(chosen))))
        is_sent = st.form_submit_button(words("work.save"), type=first_button(), key=f"{key}_save")
    if row is not None:
        _history(view, name, str(row["item"]))
    if not is_sent:
        return
    given = {"state": state, "owner": owner, "due_on": due, "note": note or None}
    values = {n: v for n, v in given.items() if v is not None or (row is not None and n != "state")}
    places = {"owner": wrong_owner, "note": wrong_note}
    try:
        _save(view, name, chosen, **values)
    except WorkError as error:
        places.get(error.field, wrong_note).error(inert(words.translated(str(error))))


def _owner(words: Words, laid: pd.DataFrame, row: Any, key: str) -> tuple[str | None, Any]:
    """Ask for an owner: one there is, or a new name; and keep the place for what is wrong with it."""
    owners = sorted(laid["work_owner"].dropna().astype(str).unique())
    mine = _text(row, "work_owner")
    owner = st.selectbox(
        words("work.owner"),
        owners,
        owners.index(mine) if mine in owners else None,
        accept_new_options=True,
        placeholder=words("work.owner_new"),
        key=f"{key}_owner",
    )
    return owner, st.empty()


def _text(row: Any, column: str) -> str | None:
    value = None if row is None else row[column]
    return None if value is None or pd.isna(value) else str(value)


def _day(row: Any) -> dt.date | None:
    value = None if row is None else row["work_due_on"]
    return None if value is None or pd.isna(value) else pd.Timestamp(value).date()


def _history(view: View, name: str, item: str) -> None:
    """Show the last changes of one row: when, by whom, to what."""
    words = view.words
    found = work.history(Settings(view.source.warehouse), opened(view.source), name, item)
    for row in found.head(HISTORY).to_dict("records"):
        said = [words.value("work_state", row["state"]), row["owner"], row["note"]]
        at = f"{words.hour(pd.Timestamp(row['changed_at']))}, {row['changed_by']}"
        st.caption(inert(words.pair(at, " · ".join(str(part) for part in said if part))))


def _action_form(view: View, name: str, chosen: pd.DataFrame, laid: pd.DataFrame, key: str) -> None:
    """Log an action on what the rows chosen are of; the rows are started, and name it."""
    words, one = view.words, work.LISTS[name]
    row = chosen.iloc[0] if chosen["work_owner"].nunique(dropna=False) == 1 else None
    about = [str(value) for value in chosen[one.on].dropna().unique()]
    with st.form(f"{key}_action", border=False):
        st.caption(inert(words.pair(words.value("column", one.on), _few(about))))
        kind = st.selectbox(
            words("actions.kind"), one.kinds, format_func=lambda code: words.value("kind", code), key=f"{key}_kind"
        )
        owner, wrong_owner = _owner(words, laid, row, f"{key}_action")
        due = st.date_input(words("actions.due_on"), _day(row), format="DD/MM/YYYY", key=f"{key}_action_due")
        note = st.text_input(words("actions.note_field"), key=f"{key}_action_note")
        wrong_note = st.empty()
        is_sent = st.form_submit_button(words("actions.log"), type=first_button(), key=f"{key}_log")
    if not is_sent:
        return
    places = {"owner": wrong_owner, "note": wrong_note}
    try:
        number = _log(view, name, chosen, str(kind), owner=owner, due_on=due, note=note or None)
        given = {"owner": owner, "due_on": due}
        values = {n: v for n, v in given.items() if v is not None}
        _save(view, name, chosen, state="started", action_id=number, **values)
    except WorkError as error:
        places.get(error.field, wrong_note).error(inert(words.translated(str(error))))
    except BackhaulError as error:
        wrong_note.error(inert(words.translated(str(error))))


def _few(names: Sequence[str]) -> str:
    more = f" + {len(names) - HISTORY}" if len(names) > HISTORY else ""
    return ", ".join(names[:HISTORY]) + more


def _log(view: View, name: str, chosen: pd.DataFrame, kind: str, **values: Any) -> int:
    """Log an action on what rows are of; gives its number. Raises BackhaulError with what is wrong."""
    one, source = work.LISTS[name], view.source
    scope = {one.on: [str(value) for value in chosen[one.on].dropna().unique()]}
    work.check_texts(values)
    settings = whole_shop(source)
    actions.check_scope(opened(source), kind, scope)
    access.saved("action", kind)
    return actions.log_action(settings, kind, scope, **values).action_id


def _save(view: View, name: str, chosen: pd.DataFrame, **values: Any) -> None:
    """Change the rows chosen and show the list anew; raises WorkError with what is wrong."""
    source = view.source
    seen = {
        item: 0 if pd.isna(number) else int(number)
        for item, number in zip(chosen["item"], chosen["work_change_id"], strict=True)
    }
    reader = access.saved("work", name, str(len(chosen)), *sorted(values), str(values.get("state", "")))
    listed = set(chosen.loc[chosen["is_listed"], "item"])
    done = work.change(
        Settings(source.warehouse),
        opened(source),
        name,
        list(chosen["item"]),
        reader.name,
        seen=seen,
        listed=listed,
        **values,
    )
    st.session_state["work_done"] = (name, done, values.get("action_id"))
    st.session_state["work_turn"] = st.session_state.get("work_turn", 0) + 1
    st.rerun()


def _what_was_done(words: Words, name: str) -> None:
    """Say what the last change did, and whose changes it came after."""
    of, done, action = st.session_state.pop("work_done", ("", None, None))
    if of != name or done is None:
        return
    st.success(words("work.saved", n=words.number(done.rows)), icon=":material/check:")
    if action is not None:
        blocks.link_to(words, "actions", words("work.logged", n=f"{action}"))
    if done.overtaken:
        last = max(done.overtaken, key=lambda one: one.at)
        n = words.number(len(done.overtaken))
        said = words("work.overtaken", n=n, by=last.by, at=words.hour(pd.Timestamp(last.at)))
        st.warning(said, icon=":material/group:")
