"""Sentences, columns and blocks of the page products."""

from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.returns.products import data
from dashboard.i18n import Words, inert
from dashboard.shared import access, queries
from dashboard.shared.blocks import figures, link_to, nothing, pick_one, section, table
from dashboard.shared.columns import Columns, day, number, of, percent, text
from dashboard.shared.filters import View
from dashboard.shared.findings import FEWEST, standing_out, told
from dashboard.shared.names import styles
from dashboard.shared.theme import first_button
from pipelines.errors import BackhaulError


def actions(view: View) -> None:
    """Show what people did and what followed, what the catalogue says was done, and the form to log an action."""
    words, source = view.words, view.source
    listed = data.action_list(source)
    section(words("actions.title"), words, note=words("actions.note"))
    if listed.empty:
        nothing(words("actions.none"))
    else:
        table(words, listed, words("actions.title"), actions_columns(words, view.currency), rows=8)
        labels = {
            str(r.action_id): f"{r.action_id} · {words.value('kind', r.kind)} · {r.about}" for r in listed.itertuples()
        }
        kinds = [kind for kind in listed["kind"].unique() if (listed["kind"] == kind).sum() > 1]
        labels |= {kind: words("actions.all_of", kind=words.value("kind", kind)) for kind in kinds}
        chosen = pick_one(words("actions.measure"), "action", labels)
        _measured(view, chosen)
    found = data.suggested(view.asked)
    if len(found):
        section(words("actions.suggested"), words, note=words("actions.suggested_note"))
        for position, row in enumerate(found.head(5).itertuples()):
            with st.container(horizontal=True, vertical_alignment="center"):
                said = words(
                    "actions.suggestion",
                    kind=words.value("kind", row.kind),
                    name=str(row.name),
                    day=words.day(row.effective_on),
                )
                st.markdown(words.pair(said, f"*{inert(str(row.after))}*") if row.after else said)
                st.button(
                    words("actions.log"),
                    key=f"suggestion_{position}",
                    icon=":material/add_task:",
                    on_click=_log,
                    args=(view, str(row.kind), [str(row.style_id)], row.effective_on),
                )
    if problem := st.session_state.pop("action_problem", None):
        st.error(inert(problem))
    _log_form(view)


def _measured(view: View, chosen: str) -> None:
    """Show what followed one action, or all of a kind: the verdict, and the numbers it rests on."""
    words = view.words
    one = int(chosen) if chosen.isdigit() else None
    kind = chosen if one is None else next(a.kind for a in data.actions(view.source) if a.action_id == one)
    found = data.measured(view.asked, kind, one)
    st.markdown(f"**{effect(words, found)}**")
    figures(words, *_effect_figures(words, found.effect))
    if one is not None:
        _action_buttons(view, one)


def _effect_figures(words: Words, e: Any) -> list[tuple[str, str, str]]:
    """Give an effect's numbers: key of the name, value, what it means; the change only where there is a verdict."""
    change = (
        [
            (
                "actions.change",
                words.percent(e.change),
                words("products.between", low=words.percent(e.low), high=words.percent(e.high)),
            ),
            ("actions.avoided", words.number(e.returns_avoided), words("actions.avoided_note")),
        ]
        if e.verdict in data.TOLD
        else []
    )
    waits = [("actions.weeks", words.number(e.weeks_needed), words("actions.weeks_note"))] if e.weeks_needed else []
    return [
        *change,
        (
            "actions.units",
            words.number(e.units),
            words(
                "actions.units_note",
                products=words.number(e.products),
                controls=words.number(e.controls),
                weeks=words.number(e.weeks),
            ),
        ),
        (
            "actions.power",
            words.percent(e.power, 0),
            words("actions.power_note", detectable=words.percent(e.detectable, 0)),
        ),
        *waits,
    ]


def _action_buttons(view: View, action_id: int) -> None:
    """Let the reader say when an open action was done, and withdraw one."""
    words = view.words
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        if next(a.status for a in data.actions(view.source) if a.action_id == action_id) == "open":
            st.date_input(
                words("actions.done_on"),
                None,
                format="DD/MM/YYYY",
                key=f"done_on_{action_id}",
                help=words("actions.open_note"),
                width=180,
            )
            st.button(
                words("actions.done"), icon=":material/check:", key="done", on_click=_done, args=(view, action_id)
            )
        st.button(
            words("actions.withdraw"),
            icon=":material/undo:",
            type="tertiary",
            key="withdraw",
            on_click=data.withdraw_action,
            args=(view.source, action_id),
        )


def _done(view: View, action_id: int) -> None:
    """Finish an open action on the day that was chosen, or keep what is wrong to say it on the page."""
    try:
        data.finish_action(view.source, action_id, st.session_state[f"done_on_{action_id}"])
    except BackhaulError as error:
        st.session_state["action_problem"] = str(error)


def _log(view: View, kind: str, styles: list[str], effective_on: Any, **values: Any) -> None:
    """Log an action, or keep what is wrong to say it on the page."""
    try:
        data.log_action(view.source, kind, styles, effective_on=effective_on, **values)
    except BackhaulError as error:
        st.session_state["action_problem"] = str(error)


def act(view: View, style: str) -> None:
    """Offer to log an action on the product of the sheet, and lead to the one that was logged."""
    words, source = view.words, view.source
    if source.scope or not access.may("save"):
        return
    if number := st.session_state.pop("action_logged", None):
        st.success(words("actions.logged", n=f"{number}"), icon=":material/check:")
        link_to(words, "actions", words("actions.to_effect"), action=f"{number}")
    with (
        st.popover(words("actions.form"), icon=":material/add_task:", key=f"act_{style}"),
        st.form(f"act_{style}_form", border=False),
    ):
        kind = st.selectbox(
            words("actions.kind"), queries.PRODUCT_KINDS, format_func=lambda k: words.value("kind", k), key="act_kind"
        )
        owner = st.text_input(words("actions.owner"), key="act_owner")
        due = st.date_input(words("actions.due_on"), None, format="DD/MM/YYYY", key="act_due")
        note = st.text_input(words("actions.note_field"), key="act_note")
        wrong = st.empty()
        is_sent = st.form_submit_button(words("actions.log"), type=first_button())
    if not is_sent:
        return
    try:
        number = data.log_action(source, kind, [style], owner=owner or None, due_on=due, note=note or None)
    except BackhaulError as error:
        wrong.error(inert(words.translated(str(error))))
        return
    st.session_state["action_logged"] = number
    st.rerun()


def _log_form(view: View) -> None:
    words = view.words
    names = styles(view.source)
    section(words("actions.form"), words, note=words("actions.form_note"))
    with st.form("log_action", border=True):
        left, right = st.columns(2)
        kind = left.selectbox(
            words("actions.kind"), queries.PRODUCT_KINDS, format_func=lambda k: words.value("kind", k)
        )
        chosen = right.multiselect(words("actions.about"), list(names), format_func=lambda s: f"{names[s]} ({s})")
        day = left.date_input(words("actions.effective_on"), None, format="DD/MM/YYYY", help=words("actions.open_note"))
        due = right.date_input(words("actions.due_on"), None, format="DD/MM/YYYY")
        owner = left.text_input(words("actions.owner"))
        money = right.number_input(
            f"{words('actions.expected_money')} ({words.unit(view.currency)})", value=None, min_value=0.0
        )
        note = st.text_input(words("actions.note_field"))
        if st.form_submit_button(words("actions.log"), icon=":material/add_task:"):
            _log(view, kind, chosen, day, due_on=due, owner=owner or None, expected_money=money, note=note or None)
            st.rerun()


def products_columns(words: Words, currency: str) -> Columns:
    """Show a product's adjusted rate against its category's and its buyers', and what is at stake."""
    shown = of(words, "products", name=("name", text))
    shown["is_flagged"] = st.column_config.CheckboxColumn(
        words("products.flagged"), help=words("products.flagged_note")
    )
    shown |= of(
        words,
        "products",
        category=("category", text),
        sold=("sold", number),
        returned=("returned", number),
        rate=("rate", percent),
        low=("low", percent),
        high=("high", percent),
        category_rate=("category_rate", percent),
    )
    shown |= {
        "market_rate": percent(words("products.market_rate"), words("products.market_rate_note")),
        "relative": st.column_config.NumberColumn(
            words("products.relative"), format="%.2f", help=words("products.relative_note")
        ),
        "buyers_rate": percent(words("products.expected"), words("products.expected_note")),
        "own_part": percent(words("products.own_part"), words("products.own_part_note")),
        "maturity": percent(words("products.maturity"), words("products.maturity_note")),
        "is_new": st.column_config.CheckboxColumn(words("products.new"), help=words("products.new_note")),
    }
    shown |= of(words, "products", probability_above=("above", percent))
    money = {"at_stake": number(f"{words('products.money')} ({words.unit(currency)})")}
    return (
        shown
        | money
        | of(words, "products", kg_co2e=("kg", number), return_reason=("reason", text), action=("action", text))
        | {"action_status": text(words("actions.status"))}
    )


def actions_columns(words: Words, currency: str) -> Columns:
    """Show what people did."""
    shown = of(
        words,
        "actions",
        action_id=("number", number),
        kind=("kind", text),
        about=("about", text),
        effective_on=("effective_on", day),
        action_status=("status", text),
        owner=("owner", text),
        due_on=("due_on", day),
    )
    money = {"expected_money": number(f"{words('actions.expected_money')} ({words.unit(currency)})")}
    return shown | money | of(words, "actions", note=("note", text))


SURE = 0.95


def products(words: Words, ranking: pd.DataFrame) -> str:
    """Name the product that stands out most."""
    flagged = standing_out(ranking)
    if flagged.empty:
        if len(ranking) and ranking["probability_above"].iloc[0] >= SURE and ranking["sold"].iloc[0] >= FEWEST:
            return most_at_stake(words, ranking.iloc[0])
        return words("finding.products_none")
    first = flagged.iloc[0]
    return told(words, "finding.products", first, name=str(first["name"]), rate=words.percent(first["rate"]))


def most_at_stake(words: Words, row: Any) -> str:
    """Say of one product how much of it comes back, and how much is usual."""
    rate, usual = words.percent(row["rate"]), words.percent(row["category_rate"])
    return told(words, "finding.product", row, name=str(row["name"]), rate=rate, usual=usual)


def launched(words: Words, profile: Any) -> str:
    """Say what a product is: category, brand, supplier, season, first day sold."""
    parts = [words.value("category", profile.category), profile.brand, profile.supplier, profile.season]
    first = words("products.since", day=words.day(profile.first_sold_on)) if profile.first_sold_on is not None else ""
    return " · ".join(inert(str(p)) for p in [*parts, first] if p)


def effect(words: Words, found: Any) -> str:
    """Say what an action did, or why that cannot be said, and how long to wait or that no wait will do."""
    e = found.effect
    if e.verdict in ("fell", "rose"):
        low, high = sorted(abs(x) for x in (e.low, e.high))
        parts = {
            "change": words.percent(abs(e.change), 0),
            "low": words.percent(low, 0),
            "high": words.percent(high, 0),
        }
        return words(f"effect.{e.verdict}", **parts)
    if e.verdict == "no_clear_change":
        signed = {n: words.signed(words.percent(getattr(e, n), 0), getattr(e, n)) for n in ("change", "low", "high")}
        sentence = words("effect.no_clear_change", **signed)
    else:
        shared = words.dimension(e.rests_on).lower() if e.rests_on else ""
        reason = words(f"effect.reason_{e.reason}", shared=shared) if e.reason else ""
        sentence = words(f"effect.{e.verdict}", reason=reason)
    waits = e.verdict in ("too_early", "no_clear_change") or e.reason == "too_few_units"
    if not waits or e.weeks_needed == 0:
        return sentence
    if e.weeks_needed is not None:
        return f"{sentence} {words('effect.weeks', n=words.number(e.weeks_needed))}"
    never = words("effect.no_wait" if len(found.action_ids) < 2 else "effect.no_wait_together")
    return never if e.verdict == "too_early" else f"{sentence} {never}"
