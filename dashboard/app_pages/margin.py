"""Answer: where did the margin go."""

import streamlit as st

from dashboard import blocks, charts, findings, queries

view = st.session_state["view"]
words, asked = view.words, view.asked
share, cost = queries.number(asked, "margin_erosion_share"), queries.number(asked, "return_cost")
title = findings.with_change(words, findings.margin(words, share, cost), queries.change(asked, "margin_erosion_share"))
blocks.heading(view, title, "margin", ("margin_erosion", "return_cost"))
blocks.tiles(view, "margin_erosion", "return_cost_per_unit", "measured_cost_share", "recovery_rate")

shown = blocks.choose(words, "margin", "steps", "goods", "ways")
if shown == "steps":
    steps = queries.waterfall(asked)
    title = findings.left(words, steps)
    blocks.section(title, words, "margin_erosion", words("margin.waterfall_note"))
    if steps.empty:
        blocks.greyed(view, "margin_erosion")
    else:
        blocks.chart(
            charts.waterfall(steps, words, view.currency),
            title,
            "waterfall",
            queries.Behind("margin_erosion", ("step",), steps),
        )
    blocks.linked(words, findings.to_waiting(words, queries.waiting_goods(asked), view.currency))
elif shown == "goods":
    lost = queries.by(asked, "margin_erosion", "category")
    title = findings.top(
        words, "finding.erosion", lost, "category", "category", amount=lambda a: words.money(a, view.currency)
    )
    blocks.section(title or words("margin.by_category"), words, "margin_erosion", words("margin.erosion"))
    if lost.empty:
        blocks.greyed(view, "margin_erosion")
    else:
        parts = queries.erosion(asked)
        blocks.chart(
            charts.stacked(parts, words, view.currency, blocks.name(words, "margin_erosion"), "category", "flow"),
            title,
            "erosion",
            queries.Behind("margin_erosion", ("category", "outcome"), parts),
        )
else:
    for kind in ("carrier", "method"):
        costs = queries.by(asked, "return_cost", kind)
        blocks.section(words(f"margin.by_{kind}"), words, "return_cost")
        if costs.empty:
            blocks.greyed(view, "return_cost")
        else:
            blocks.chart(
                charts.ranked(costs, words, view.currency, blocks.name(words, "return_cost"), kind),
                words(f"margin.by_{kind}"),
                f"cost_{kind}",
                queries.Behind("return_cost", (kind,), costs),
            )
