"""Answer: do we keep what we promise, and what will we break tomorrow."""

import streamlit as st

from dashboard import blocks, charts, columns, findings, queries

view = st.session_state["view"]
words, asked = view.words, view.asked
title = findings.with_change(
    words, findings.kept(words, queries.number(asked, "promise_kept")), queries.change(asked, "promise_kept")
)
blocks.heading(view, title, "promises", ("promise_kept", "days_to_refund"))
blocks.tiles(view, "promise_kept", "legal_refund_kept", "days_to_refund", "days_to_restock")

shown = blocks.choose(words, "promises", "states", "stages", "risk", "law")
if shown == "states":
    states = queries.promise_states(asked)
    title = findings.states(words, states)
    blocks.section(title, words, "promise_kept", words("promises.states_note"))
    if states.empty:
        blocks.greyed(view, "promise_kept")
    else:
        behind = queries.Behind("promise_kept", ("promise_id", "state"), states)
        blocks.chart(charts.promise_states(states, words), title, "states", behind)
        blocks.section(words("promises.months"), words, "promise_kept")
        kept = queries.by_month(asked, "promise_kept")
        blocks.chart(
            charts.trend(kept, words, "share", words("chart.share_of_promises")),
            words("promises.months"),
            "kept_by_month",
            queries.Behind("promise_kept", ("month",), kept),
        )
elif shown == "stages":
    stages = queries.stages(asked)
    title = findings.slowest(words, stages)
    blocks.section(title, words, "stage_days", words("promises.stages_note"))
    if stages.empty:
        blocks.greyed(view, "days_to_refund")
    else:
        blocks.chart(
            charts.stage_ladder(stages, words), title, "stages", queries.Behind("stage_days(0.9)", ("stage",), stages)
        )
elif shown == "risk":
    risk = queries.at_risk(asked)
    if queries.number(asked, "breach_risk").lacks:
        blocks.greyed(view, "breach_risk")
    else:
        blocks.section(findings.at_risk(words, risk), words, "breach_risk")
    if not risk.empty:
        behind = queries.Behind("breach_risk", is_dated=False)
        blocks.table(
            words, risk, words("promises.tab_risk"), columns.risk(words, view.currency), rows=15, behind=behind
        )
else:
    due = queries.due(asked)
    if queries.number(asked, "refunds_due_soon").lacks:
        blocks.greyed(view, "refunds_due_soon")
    else:
        blocks.section(findings.due(words, due), words, "refunds_due_soon", words("promises.law_note"))
    if not due.empty:
        behind = queries.Behind("refunds_due_soon", also=("legal_refund_kept",), is_dated=False)
        blocks.table(words, due, words("promises.tab_law"), columns.due(words, view.currency), rows=15, behind=behind)
