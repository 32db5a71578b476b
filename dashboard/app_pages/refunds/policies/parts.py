"""Sentences, columns and blocks of the page policies."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.app_pages.refunds.policies import data
from dashboard.i18n import MISSING, Words, inert
from dashboard.shared import queries
from dashboard.shared.blocks import pick_one, section
from dashboard.shared.columns import Columns, day, number, of, text
from dashboard.shared.filters import View
from dashboard.shared.findings import told
from dashboard.shared.theme import first_button
from dashboard.shared.turns import TURNS
from pipelines.errors import BackhaulError
from pipelines.people.policy_text import Policy


def _term(words: Words, name: str) -> str:
    """Name a term of a policy; a promise by its own name."""
    return (
        words.value("promise", name.removeprefix("promise "))
        if name.startswith("promise ")
        else words(f"policies.field_{name}")
    )


def policy(words: Words, source: queries.Source, version: str) -> pd.DataFrame:
    """Lay out the terms of a version beside the promises: name, value."""
    chosen = queries.policy(source, version)
    fee = words.money(chosen.fee_amount, chosen.currency or "", 2) if chosen.fee_amount else words("policies.free")
    said = {
        "valid_from": words.day(chosen.valid_from),
        "market": words.value("country", chosen.market) if chosen.market else words("filter.every"),
        "channel": words.value("channel", chosen.channel) if chosen.channel else words("filter.every"),
        "category": words.value("category", chosen.category) if chosen.category else words("filter.every"),
        "loyalty_tier": chosen.loyalty_tier or words("filter.every"),
        "exception": words.value("exception", chosen.exception) if chosen.exception else MISSING,
        "window_days": words.quantity(chosen.window_days, "days"),
        "window_until": words.day(chosen.window_until) if chosen.window_until else MISSING,
        "fee_amount": fee,
        "methods": ", ".join(words.value("method", m) for m in chosen.methods),
        "refund_trigger": words.value("stage", chosen.refund_trigger) if chosen.refund_trigger else MISSING,
    }
    return pd.DataFrame([{"name": _term(words, k), "value": v} for k, v in said.items()])


def policy_changes(words: Words, changes: pd.DataFrame) -> pd.DataFrame:
    """Name the terms that differ."""
    return changes.assign(name=[_term(words, f) for f in changes["field"]])


def draft(view: View, names: dict[str, str]) -> None:
    """Write a policy: begin from a version or a draft, edit, see what is wrong, keep or publish it."""
    words, source = view.words, view.source
    kept = data.drafts(source)
    drafts = {f"draft {n}": words("policies.draft_no", n=words.number(n)) for n in kept}
    section(words("policies.tab_draft"), words, note=words("policies.draft_note"))
    chosen = pick_one(words("policies.begin"), "draft", drafts | names | {"": words("policies.empty")})
    number = int(chosen.removeprefix("draft ")) if chosen.startswith("draft ") else None
    given = data.policy_of_text(kept[number]) if number is not None else data.new_policy(source, chosen or None)
    if done := st.session_state.pop("policy_done", None):
        st.success(done)
    with st.form(f"policy_{chosen}", border=True):
        left, right = st.columns(2)
        terms = _scope_fields(words, given, left, right) | _term_fields(view, given, left, right)
        st.caption(words("policies.promises"))
        promises = st.data_editor(
            data.promise_frame(given),
            column_config=promise_editor_columns(words),
            num_rows="dynamic",
            hide_index=True,
            key=f"promises_{chosen}",
        )
        keep, publish = st.columns(2)
        is_kept = keep.form_submit_button(words("policies.keep"), icon=":material/save:", width="stretch")
        is_published = publish.form_submit_button(
            words("policies.publish"), icon=":material/publish:", type=first_button(), width="stretch"
        )
    written = data.written_policy(terms, promises)
    problems = data.policy_problems(source, written)
    for problem in problems:
        (st.error if problem.is_error else st.warning)(inert(words.pair(f"**{problem.where}**", problem.sentence)))
    if number is not None:
        st.button(
            words("policies.withdraw"),
            icon=":material/undo:",
            type="tertiary",
            on_click=data.withdraw_draft,
            args=(source, number),
        )
    if is_kept:
        data.save_draft(source, written, number)
        st.session_state["policy_done"] = words("policies.kept")
        st.rerun()
    if is_published and not any(p.is_error for p in problems):
        _publish(view, written, number)


def _scope_fields(words: Words, given: Policy, left: DeltaGenerator, right: DeltaGenerator) -> dict[str, Any]:
    """Show the fields of a policy's name, first day and scope, and give what is in them; an empty scope is None."""

    def scope(place: DeltaGenerator, label: str, value: str | None) -> str | None:
        return place.text_input(label, value or "", help=words("policies.scope_help")) or None

    return {
        "policy_id": left.text_input(words("policies.field_policy_id"), given.policy_id),
        "valid_from": right.date_input(
            words("policies.field_valid_from"),
            given.valid_from,
            format="DD/MM/YYYY",
            help=words("policies.valid_from_help"),
        ),
        "market": scope(left, words("policies.field_market"), given.market),
        "channel": scope(right, words("policies.field_channel"), given.channel),
        "category": scope(left, words("policies.field_category"), given.category),
        "loyalty_tier": scope(right, words("policies.field_loyalty_tier"), given.loyalty_tier),
    }


def _term_fields(view: View, given: Policy, left: DeltaGenerator, right: DeltaGenerator) -> dict[str, Any]:
    """Show the fields of a policy's window, fee, refund and methods, and give what is in them."""
    words = view.words
    return {
        "window_days": int(left.number_input(words("policies.field_window_days"), value=given.window_days, step=1)),
        "window_until": right.date_input(words("policies.field_window_until"), given.window_until, format="DD/MM/YYYY"),
        "fee_amount": left.number_input(words("policies.field_fee_amount"), value=given.fee_amount, min_value=0.0),
        "currency": right.text_input(words("policies.field_currency"), given.currency or view.currency) or None,
        "refund_trigger": left.selectbox(
            words("policies.field_refund_trigger"),
            queries.POLICY_TRIGGERS,
            _place(queries.POLICY_TRIGGERS, given.refund_trigger),
            format_func=lambda s: words.value("stage", s),
        ),
        "exception": right.selectbox(
            words("policies.field_exception"),
            queries.POLICY_EXCEPTIONS,
            _place(queries.POLICY_EXCEPTIONS, given.exception),
            format_func=lambda s: words.value("exception", s),
            placeholder=MISSING,
        ),
        "methods": tuple(
            st.multiselect(
                words("policies.field_methods"),
                queries.POLICY_METHODS,
                list(given.methods),
                format_func=lambda m: words.value("method", m),
            )
        ),
    }


def _place(options: Sequence[str], chosen: str | None) -> int | None:
    return options.index(chosen) if chosen in options else None


def _publish(view: View, written: Any, number: int | None) -> None:
    words = view.words
    try:
        with TURNS.lent(), st.spinner(words("policies.publishing"), show_time=True):
            data.publish_policy(view.source, written, number)
    except BackhaulError as error:
        st.error(inert(str(error)))
        return
    st.session_state["policy_done"] = words("policies.published", day=words.day(written.valid_from))
    st.rerun()


def policies_columns(words: Words) -> Columns:
    """Show the versions of policies."""
    return of(
        words,
        "policies",
        policy_id=("policy", text),
        valid_from=("since", day),
        valid_to=("until", day),
        country=("market", text),
        loyalty_tier=("tier", text),
        window_days=("window", number),
        order_lines=("orders", number),
        returns=("returns", number),
    )


def terms_columns(words: Words) -> Columns:
    """Show the terms of one version."""
    return of(words, "policies", name=("term", text), value=("says", text))


def promised_columns(words: Words) -> Columns:
    """Show the promises of one version."""
    return of(
        words,
        "policies",
        promise_id=("promise", text),
        from_stage=("from", text),
        to_stage=("to", text),
        duration=("within", number),
        duration_unit=("unit", text),
        responsible=("keeper", text),
    )


def promise_editor_columns(words: Words) -> Columns:
    """Let the promises of a policy be edited; every cell is wanted."""

    def one_of(name: str, kind: str, options: tuple[str, ...]) -> Any:
        return st.column_config.SelectboxColumn(
            words(f"policies.{name}"), options=options, format_func=lambda o: words.value(kind, o), required=True
        )

    return {
        "promise_id": st.column_config.TextColumn(words("policies.promise"), required=True),
        "from_stage": one_of("from", "stage", queries.POLICY_STAGES),
        "to_stage": one_of("to", "stage", queries.POLICY_STAGES),
        "duration": st.column_config.NumberColumn(words("policies.within"), min_value=0, required=True),
        "duration_unit": one_of("unit", "duration_unit", queries.POLICY_UNITS),
        "responsible": one_of("keeper", "responsible", queries.POLICY_KEEPERS),
    }


def policy_changes_columns(words: Words, one: str, other: str) -> Columns:
    """Show what differs between two versions, under their names."""
    return {"name": text(words("policies.term")), "first": text(one), "second": text(other)}


def policies(words: Words, versions: pd.DataFrame) -> str:
    """Say how many policies are in force, and since when the newest."""
    current = versions[versions["valid_to"].isna()] if len(versions) else versions
    if current.empty:
        return words("finding.policies_none")
    n, day = words.number(current["policy_id"].nunique()), words.day(max(current["valid_from"]))
    return told(words, "finding.policies", (), n=n, day=day)


def compared(words: Words, changes: pd.DataFrame) -> str:
    """Say how many terms differ between two versions."""
    terms = changes[changes["field"] != "valid_from"]
    if terms.empty:
        return words("finding.compared_same")
    return told(words, "finding.compared", (), n=words.number(len(terms)))
