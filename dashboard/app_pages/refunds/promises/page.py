"""Answer: do we keep what we promise, and what will we break tomorrow."""

from dataclasses import replace

import streamlit as st

from dashboard.app_pages.refunds.promises import data, figures, parts
from dashboard.shared import blocks, charts, findings, queries, settled, work

view = st.session_state["view"]
words, asked = view.words, view.asked
blocks.needs_one(view, "promise_kept", "legal_refund_kept", "days_to_refund", "stage_days", "units_waiting")
title = findings.with_change(
    words, findings.kept(words, queries.number(asked, "promise_kept")), queries.change(asked, "promise_kept")
)
blocks.heading(view, title, ("promise_kept", "days_to_refund"))
blocks.first_tiles(view, "promise_kept", "legal_refund_kept", "days_to_refund", "days_to_restock")

shown = blocks.choose(words)
if shown == "states":
    cuts = ("promise_id", "lane", "carrier", "method", "place_id", "country", "return_channel")
    cut = blocks.pick(words("promises.by"), "states_by", {c: words(f"promises.by_{c}") for c in cuts})
    states = data.promise_states(asked, cut)
    title = parts.states(words, data.promise_states(asked))
    blocks.section(title, words, "promise_kept", words("promises.states_note"))
    if states.empty:
        blocks.greyed(view, "promise_kept")
    else:
        behind = queries.DrillDown("promise_kept", (cut, "state"), states)
        blocks.chart(
            figures.promise_states(states, words, {"promise_id": "promise"}.get(cut, cut)), title, "states", behind
        )
        blocks.section(words("promises.months"), words, "promise_kept")
        kept = settled.with_young(asked, "promise_kept")
        blocks.chart(
            charts.trend(kept, words, "share", words("chart.share_of_promises")),
            words("promises.months"),
            "kept_by_month",
            queries.DrillDown("promise_kept", ("month",), kept),
        )
elif shown == "time":
    spent = data.by_part(asked, "stage_time_share", "stage", "responsible")
    title = parts.slow(words, spent)
    blocks.section(title, words, "stage_time_share", words("promises.time_note"))
    if spent.empty:
        blocks.greyed(view, "stage_time_share")
    else:
        figure = charts.stacked(spent, words, "share", findings.name(words, "stage_time_share"), "stage", "whose")
        blocks.chart(figure, title, "time", queries.DrillDown("stage_time_share", ("stage", "responsible"), spent))
    reached = data.funnel(asked)
    if len(reached):
        blocks.section(words("promises.funnel"), words, "stage_reached", words("promises.funnel_note"))
        figure = charts.steps(reached, words, "units", findings.name(words, "stage_reached"), "stage")
        blocks.chart(
            figure, words("promises.funnel"), "funnel", queries.DrillDown("stage_reached", ("stage",), reached)
        )
    ways = data.ways_back(asked)
    if len(ways):
        blocks.section(words("promises.ways"), words, "promise_kept", words("promises.ways_note"))
        behind = queries.DrillDown("promise_kept", ("channel", "return_channel"), ways, also=("confirmed_units",))
        blocks.table(words, ways, words("promises.ways"), parts.ways_back_columns(words), rows=8, behind=behind)
    blocks.section(words("promises.hands"), words)
    blocks.tiles(view, "approval_rate", "no_touch_share", "stock_gap", "refund_as_due")
    declined = queries.by(asked, "decline_share", "decline_reason")
    if len(declined):
        figure = charts.ranked(declined, words, "share", findings.name(words, "decline_share"), "decline_reason")
        blocks.section(findings.name(words, "decline_share"), words, "decline_share")
        blocks.chart(
            figure,
            findings.name(words, "decline_share"),
            "declined",
            queries.DrillDown("decline_share", ("decline_reason",), declined),
        )
elif shown == "control":
    promises = data.promise_names(asked)
    if not promises:
        blocks.greyed(view, "promise_kept")
    else:
        chosen = blocks.pick(words("promises.promise"), "promise", {p: words.value("promise", p) for p in promises})
        weeks = data.control(asked, chosen)
        title = parts.signal(words, weeks)
        blocks.section(title, words, "promise_kept", words("promises.control_note"))
        behind = queries.DrillDown("promise_kept", seen=weeks, is_dated=False, where=(("promise_id", (chosen,)),))
        blocks.chart(figures.control(weeks, words), title, "control", behind)
elif shown == "possible":
    promises = data.promise_names(asked)
    if not promises:
        blocks.greyed(view, "promise_at")
    else:
        chosen = blocks.pick(words("promises.promise"), "promise", {p: words.value("promise", p) for p in promises})
        at = float(
            blocks.pick(words("promises.at"), "at", {f"{p:g}": words.percent(p, 0) for p in (0.95, 0.9, 0.8, 0.99)})
        )
        lanes, whole = data.offers(asked, chosen, at), data.offer(asked, chosen, at)
        blocks.section(parts.offer(words, whole), words, "promise_at", words("promises.possible_note"))
        behind = queries.DrillDown(f"promise_at({at:g})", is_dated=False, where=(("promise_id", (chosen,)),))
        if whole is not None and len(whole.prices):
            blocks.caution(parts.unkeepable(words, lanes, at))
            figure = figures.prices(whole.prices, words, whole.unit, at)
            blocks.chart(figure, words("promises.prices"), "prices", replace(behind, seen=whole.prices))
            blocks.table(
                words,
                whole.prices,
                words("promises.prices"),
                parts.prices_columns(words, whole.unit),
                rows=8,
                behind=replace(behind, seen=whole.prices),
            )
        if len(lanes):
            blocks.section(words("promises.lanes"), words)
            blocks.table(
                words,
                lanes,
                words("promises.lanes"),
                parts.offers_columns(words),
                rows=12,
                behind=replace(behind, seen=lanes),
            )
elif shown == "waiting":
    waiting = queries.waiting_goods(asked)
    title = findings.waiting(words, waiting, view.currency)
    blocks.section(title, words, "margin_waiting", words("promises.waiting_note"))
    if waiting.empty:
        blocks.greyed(view, "units_waiting")
    else:
        behind = queries.DrillDown("margin_waiting", ("stage",), data.waiting_by(asked, "stage"), is_dated=False)
        figure = charts.ranked(
            data.waiting_by(asked, "stage"), words, view.currency, findings.name(words, "margin_waiting"), "waiting"
        )
        blocks.chart(figure, title, "waiting", behind)
        behind = queries.DrillDown(
            "units_waiting", ("place_id", "stage"), waiting, also=("margin_waiting", "value_in_flow"), is_dated=False
        )
        shown_columns = parts.waiting_goods_columns(words, view.currency)
        listed = data.to_decide(waiting)
        work.work_list(view, "goods", listed, words("promises.sites"), shown_columns, behind, rows=12, first="all")
    blocks.linked(words, parts.to_margin(words))
elif shown == "stages":
    stages = data.stages(asked)
    title = parts.slowest(words, stages)
    blocks.section(title, words, "stage_days", words("promises.stages_note"))
    if stages.empty:
        blocks.greyed(view, "days_to_refund")
    else:
        blocks.chart(
            figures.stage_ladder(stages, words),
            title,
            "stages",
            queries.DrillDown("stage_days(0.9)", ("stage",), stages),
        )
elif shown == "risk":
    risk = queries.at_risk(asked)
    if queries.number(asked, "breach_risk").lacks:
        blocks.greyed(view, "breach_risk")
    else:
        blocks.section(parts.at_risk(words, risk, view.currency), words, "breach_risk")
    if not risk.empty:
        behind = queries.DrillDown("breach_risk", is_dated=False)
        shown_columns = parts.risk_columns(words, view.currency)
        work.work_list(view, "at-risk", risk, words("promises.tab_risk"), shown_columns, behind)
    steps = data.milestones(asked)
    if not steps.empty:
        blocks.section(parts.steps(words, steps), words, "promise_kept", words("promises.steps_note"))
        behind = queries.DrillDown("promise_kept", is_dated=False)
        blocks.table(
            words, steps, words("promises.steps_note"), parts.milestones_columns(words), rows=15, behind=behind
        )
else:
    due = queries.due(asked)
    if queries.number(asked, "refunds_due_soon").lacks:
        blocks.greyed(view, "refunds_due_soon")
    else:
        blocks.section(parts.due(words, due), words, "refunds_due_soon", words("promises.law_note"))
    if not due.empty:
        behind = queries.DrillDown("refunds_due_soon", also=("legal_refund_kept",), is_dated=False)
        shown_columns = parts.due_columns(words, view.currency)
        work.work_list(view, "refunds-due", due, words("promises.tab_law"), shown_columns, behind)
    owed = data.owed(asked)
    blocks.section(parts.owed(words, owed, view.currency), words, "late_refund_surcharge", words("promises.owed_note"))
    blocks.tiles(view, "late_refund_surcharge")
    if not owed.empty:
        behind = queries.DrillDown("late_refund_surcharge", is_dated=False)
        title = findings.name(words, "late_refund_surcharge")
        blocks.table(words, owed, title, parts.owed_columns(words, view.currency), rows=15, behind=behind)
