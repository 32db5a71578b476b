"""Sentences, columns and blocks of the page alerts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.app_pages.settings.alerts import data
from dashboard.i18n import Words, inert
from dashboard.shared import access, alerted, blocks, controls, filters
from dashboard.shared.columns import Columns, number, of, text
from dashboard.shared.filters import View
from dashboard.shared.findings import Finding, name
from dashboard.shared.theme import first_button
from pipelines.alerts import Rule
from pipelines.errors import BackhaulError

SHARE = "share"


def finding(words: Words, found: Sequence[tuple[dict[Any, Any], Finding]]) -> str:
    """Say how many alerts last, and how many of them nobody acknowledged."""
    if not found:
        return words("alerts.none")
    new = sum(not alerted.is_acknowledged(row) for row, _ in found)
    return words("alerts.finding", n=words.number(len(found)), new=words.number(new))


def lasting(view: View, found: Sequence[tuple[dict[Any, Any], Finding]]) -> None:
    """Show each alert that lasts, whole, with the page that says more, and let it be acknowledged."""
    words = view.words
    for row, said in found:
        number, is_known = int(row["alert_id"]), alerted.is_acknowledged(row)
        with st.container(border=True, gap="xsmall", key=f"alert_{number}"):
            st.markdown(said.sentence)
            st.caption(inert(_about(words, row)))
            with st.container(horizontal=True, gap="small", vertical_alignment="center", key=f"alert_{number}_ways"):
                blocks.link_to(words, said.page, words("today.why"), at=str(number), **dict(said.link))
                if access.may("save") and not view.source.scope:
                    st.button(
                        words("alerts.take_back" if is_known else "alerts.acknowledge"),
                        key=f"acknowledge_{number}",
                        icon=":material/undo:" if is_known else ":material/check:",
                        type="tertiary",
                        on_click=_did,
                        args=(words, data.acknowledge, view.source, number),
                        kwargs={"is_known": not is_known},
                    )


def source_problems(words: Words, found: Sequence[str]) -> None:
    """Show what is wrong with sources, and the way to them."""
    if not found:
        return
    blocks.section(words("alerts.sources"), words)
    for sentence in found:
        st.warning(inert(words.translated(sentence)), icon=":material/warning:")
    blocks.link_to(words, "sources", words("alerts.to_sources"))


def _about(words: Words, row: dict[Any, Any]) -> str:
    """Say why it is an alert, of which days it is, and who knows."""
    said = [words.pair(words("alerts.of_rule", n=words.number(row["rule_id"])), looks(words, row["rule"]))]
    if not pd.isna(row["since"]):
        said.append(words("badge.span", since=words.day(row["since"]), until=words.day(row["until"])))
    if alerted.is_acknowledged(row):
        known = words("alerts.known", who=str(row["acknowledged_by"]), day=words.day(row["acknowledged_at"]))
        said.append(known)
    return " · ".join(said)


def _did(words: Words, change: Any, *given: Any, **options: Any) -> None:
    """Change something on a click; what is wrong is said on the page."""
    try:
        change(*given, **options)
    except BackhaulError as error:
        st.session_state["alerts_said"] = (False, words.translated(str(error)))


def said_before() -> None:
    """Show what became of the last change."""
    if done := st.session_state.pop("alerts_said", None):
        (st.success if done[0] else st.error)(inert(done[1]))


def looks(words: Words, rule: Rule) -> str:
    """Say in words what a rule looks for."""
    if rule.test in ("above", "below"):
        return words(f"alerts.looks_{rule.test}", bound=words.quantity(rule.bound, data.metric(rule.metric).unit))
    before = alerted.compared(words, rule, is_of_last_year=rule.against == "year")
    return words(f"alerts.looks_{rule.test}", before=before)


def days(words: Words, rule: Rule) -> str:
    """Say which days a rule looks at."""
    if rule.period == "days":
        return words("alerts.last_days", days=words.number(rule.days)) if rule.days else words("alerts.all_days")
    return words(f"alerts.period_{rule.period}")


def cut(words: Words, rule: Rule) -> str:
    """Say which values a rule is limited to, and which it looks at one by one."""
    limited = alerted.limits(words, [(k, v) for k, vs in rule.where.items() for v in vs])
    each = words("alerts.each", by=", ".join(words.dimension(one).lower() for one in rule.by)) if rule.by else ""
    return " · ".join(filter(None, (limited, each))) or words("filter.every")


def rules(words: Words, found: Sequence[Rule], lasting_of: dict[int, int]) -> pd.DataFrame:
    """Lay out the rules."""
    rows = [
        {
            "rule_id": rule.rule_id,
            "metric": _named(words, rule.metric),
            "looks": looks(words, rule),
            "days": days(words, rule),
            "cut": cut(words, rule),
            "to": ", ".join(map(data.SHOWN_ADDRESS, rule.to)) or words("alerts.nobody"),
            "active": lasting_of.get(rule.rule_id, 0),
            "state": words("alerts.paused" if rule.is_paused else "alerts.on"),
        }
        for rule in found
    ]
    return pd.DataFrame(rows)


def _named(words: Words, key: str) -> str:
    try:
        return name(words, key)
    except BackhaulError:  # a rule from before the metric was renamed
        return key


def rules_columns(words: Words) -> Columns:
    """Show what each rule watches, and who is told."""
    return of(
        words,
        "alerts",
        rule_id=("number", number),
        metric=("metric", text),
        looks=("looks", text),
        days=("days", text),
        cut=("cut", text),
        to=("to", text),
        active=("active", number),
        state=("state", text),
    )


def form(view: View, found: Sequence[Rule]) -> None:
    """Make a rule, or change one that is there: what is wrong is said beside its field."""
    words, source = view.words, view.source
    by_number = {str(rule.rule_id): rule for rule in found}
    names = {"": words("alerts.new")} | {
        number: words.pair(words("alerts.of_rule", n=number), f"{_named(words, rule.metric)}, {looks(words, rule)}")
        for number, rule in by_number.items()
    }
    if st.session_state.pop("alert_done", False):  # what was saved is done: the form is empty again
        st.session_state["rule"] = ""
    chosen = blocks.pick_one(words("alerts.which"), "rule", names)
    given = by_number.get(chosen, data.NEW)
    problems: dict[str, str] = st.session_state.get(f"alert_problems_{given.rule_id}", {})
    with st.container(border=True):
        rule = _fields(view, given, problems)
        if st.button(words("alerts.save"), icon=":material/save:", type=first_button(), key="alert_save"):
            _save(view, rule, given)
    if chosen:
        with st.container(horizontal=True, gap="small"):
            st.button(
                words("alerts.resume" if given.is_paused else "alerts.pause"),
                icon=":material/play_arrow:" if given.is_paused else ":material/pause:",
                key="alert_pause",
                on_click=_did,
                args=(words, data.pause, source, given.rule_id),
                kwargs={"is_paused": not given.is_paused},
            )
            st.button(
                words("alerts.withdraw"),
                icon=":material/delete:",
                key="alert_withdraw",
                on_click=_did,
                args=(words, data.withdraw, source, given.rule_id),
            )


def _wrong(problems: dict[str, str], field: str) -> None:
    """Say what is wrong with a field, below it."""
    if field in problems:
        st.error(inert(problems[field]), icon=":material/error:")


def _fields(view: View, given: Rule, problems: dict[str, str]) -> Rule:
    """Show the fields of a rule, and give what is in them."""
    words, at = view.words, f"alert_{given.rule_id}_{st.session_state.get('alert_turn', 0)}"
    known = {key: words.either(*one.name) for key, one in data.metric_names().items()}
    known |= {given.metric: _named(words, given.metric)}
    options = sorted(known, key=known.__getitem__)
    metric = st.selectbox(
        words("alerts.metric"), options, options.index(given.metric), format_func=known.__getitem__, key=f"{at}_metric"
    )
    chosen = data.metric(metric)
    if data.is_missing(view.asked, metric):
        st.caption(words("alerts.not_yet"))
    tests = [
        one
        for one in data.TESTS
        if (one == "unkeepable") == (chosen.key == "promise_at")
        and (one not in ("worse", "better") or chosen.good != "none")
    ]
    controls.keep_among(f"{at}_test", tests, given.test)
    test = st.selectbox(
        words("alerts.test"), tests, format_func=lambda one: words(f"alerts.test_{one}"), key=f"{at}_test"
    )
    rule = replace(given, metric=metric, test=test, bound=_bound(words, given, chosen.unit, test, at))
    _wrong(problems, "bound")
    if test == "unkeepable":
        rule = replace(rule, days=0, period="days", where=given.where or {"promise_id": ("refund",)})
    else:
        rule = _days(words, rule, at)
        _wrong(problems, "days")
        cuts = data.dimensions(view.source, metric)
        by = st.multiselect(
            words("alerts.by"),
            cuts,
            [one for one in given.by if one in cuts],
            format_func=words.dimension,
            placeholder=words("alerts.by_none"),
            help=words("alerts.by_note"),
            key=f"{at}_by_{metric}",
        )
        rule = replace(rule, by=tuple(by), where=_where(view, given, cuts, at))
        _wrong(problems, "by")
    lines = st.text_area(words("alerts.to_field"), "\n".join(given.to), help=words("alerts.to_note"), key=f"{at}_to")
    _wrong(problems, "to")
    return replace(rule, to=tuple(dict.fromkeys(line.strip() for line in lines.splitlines() if line.strip())))


def _bound(words: Words, given: Rule, unit: str, test: str, at: str) -> float | None:
    """Show the bound where the test has one: a share as a percentage."""
    if test not in ("above", "below"):
        return None
    factor = 100 if unit == SHARE else 1
    label = words.pair(words("alerts.bound"), "%" if unit == SHARE else words.unit(unit)) if unit != "count" else ""
    found = st.number_input(
        label or words("alerts.bound"),
        value=None if given.bound is None else float(given.bound) * factor,
        key=f"{at}_bound_{unit}",
    )
    return None if found is None else float(found) / factor


def _days(words: Words, rule: Rule, at: str) -> Rule:
    """Show which days a rule looks at, and what they are compared with."""
    period = st.radio(
        words("alerts.period"),
        data.PERIODS,
        data.PERIODS.index(rule.period),
        format_func=lambda one: words(f"alerts.period_{one}"),
        horizontal=True,
        key=f"{at}_period",
    )
    number_of = rule.days
    if period == "days":
        number_of = int(
            st.number_input(
                words("alerts.days_field"), 0, 366, rule.days, help=words("alerts.days_note"), key=f"{at}_days"
            )
        )
    against = rule.against
    if rule.test in ("worse", "better"):
        against = st.radio(
            words("alerts.against"),
            data.AGAINST,
            data.AGAINST.index(rule.against),
            format_func=lambda one: words(f"alerts.against_{one}"),
            horizontal=True,
            help=words("alerts.against_note"),
            key=f"{at}_against",
        )
    return replace(rule, period=period, days=number_of, against=against)


def _where(view: View, given: Rule, cuts: Sequence[str], at: str) -> dict[str, tuple[str, ...]]:
    """Let a rule take the filters of the bar; without, it keeps those it has."""
    words = view.words
    here = {dimension: codes for dimension, codes in view.where if dimension in cuts}
    kept = {dimension: tuple(codes) for dimension, codes in given.where.items()}
    if here and here != kept:
        named = "; ".join(
            words.pair(words.dimension(d), ", ".join(filters.name_of(view, d, code) for code in codes))
            for d, codes in here.items()
        )
        if st.checkbox(words("alerts.under", filters=named), key=f"{at}_under"):
            return here
    if kept:
        limited = alerted.limits(words, [(k, v) for k, vs in kept.items() for v in vs])
        st.caption(inert(words("alerts.only", limits=limited)))
    elif not here:
        st.caption(words("alerts.whole"))
    return kept


def _save(view: View, rule: Rule, given: Rule) -> None:
    """Keep a rule, or say beside each field what is wrong with it."""
    words = view.words
    problems = _problems(words, rule, given)
    if not problems:
        try:
            kept = data.save(view.source, rule)
        except BackhaulError as error:
            problems = {"by": words.translated(str(error))}
        else:
            st.session_state["alerts_said"] = (True, words("alerts.saved", n=words.number(kept.rule_id)))
            st.session_state["alert_turn"] = st.session_state.get("alert_turn", 0) + 1
            st.session_state["alert_done"] = True
    st.session_state[f"alert_problems_{given.rule_id}"] = problems
    st.rerun()


def _problems(words: Words, rule: Rule, given: Rule) -> dict[str, str]:
    """List what is wrong, by field."""
    found = {}
    if rule.test in ("above", "below") and rule.bound is None:
        found["bound"] = words("alerts.wrong_bound")
    if rule.test in ("worse", "better") and rule.period == "days" and rule.days < 1:
        found["days"] = words("alerts.wrong_days")
    if wrong := data.wrong_addresses(rule.to):
        found["to"] = words("alerts.wrong_to", address=wrong[0][:100])
    elif foreign := data.foreign(rule.to, given.to):
        found["to"] = words("alerts.foreign", address=data.SHOWN_ADDRESS(foreign[0]))
    return found
