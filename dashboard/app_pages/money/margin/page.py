"""Answer: where did the margin go."""

import streamlit as st

from dashboard.app_pages.money.margin import data, figures, parts
from dashboard.shared import blocks, charts, findings, queries, work
from dashboard.shared.tokens import QUIET

view = st.session_state["view"]
words, asked = view.words, view.asked
blocks.needs_one(view, "margin_erosion", "return_cost", "recovery_rate", "invoice_unmatched_amount")
share, cost = queries.number(asked, "margin_erosion_share"), queries.number(asked, "return_cost")
title = findings.with_change(words, findings.margin(words, share, cost), queries.change(asked, "margin_erosion_share"))
blocks.heading(view, title, ("margin_erosion", "return_cost"))
blocks.first_tiles(view, "margin_erosion", "return_cost_per_unit", "measured_cost_share", "recovery_rate")

shown = blocks.choose(words)
if shown == "steps":
    steps = data.waterfall(asked)
    title = parts.left(words, steps)
    blocks.section(title, words, "margin_erosion", words("margin.waterfall_note"))
    if steps.empty:
        blocks.greyed(view, "margin_erosion")
    else:
        blocks.chart(
            charts.waterfall(steps, words, view.currency),
            title,
            "waterfall",
            queries.DrillDown("margin_erosion", ("step",), steps),
        )
    blocks.linked(words, parts.to_waiting(words, queries.waiting_goods(asked), view.currency))
elif shown == "goods":
    lost = queries.by(asked, "margin_erosion", "category")
    title = findings.top(
        words, "finding.erosion", lost, "category", "category", amount=lambda a: words.money(a, view.currency)
    )
    title = title or words("margin.by_category")
    blocks.section(title, words, "margin_erosion", words("margin.erosion"))
    if lost.empty:
        blocks.greyed(view, "margin_erosion")
    else:
        eroded = data.erosion(asked)
        blocks.chart(
            charts.stacked(eroded, words, view.currency, findings.name(words, "margin_erosion"), "category", "flow"),
            title,
            "erosion",
            queries.DrillDown("margin_erosion", ("category", "outcome"), eroded),
        )
elif shown == "rests":
    swings = data.cost_tornado(asked)
    title = parts.assumption(words, swings, view.currency)
    blocks.section(title, words, "return_cost", words("margin.rests_note"))
    if swings.empty:
        blocks.greyed(view, "return_cost")
    else:
        blocks.chart(
            figures.bounds(swings, words, view.currency),
            title,
            "cost_tornado",
            queries.DrillDown("return_cost", seen=swings),
        )
elif shown == "claims":
    claims = data.claims(asked)
    title = parts.claims(words, queries.number(asked, "claims_open_amount"))
    blocks.section(title, words, "claims_open_amount", words("margin.claims_note"))
    if not claims.empty:
        behind = queries.DrillDown("claims_open_amount", seen=claims)
        listed, columns = parts.claims_list(words, claims), parts.claims_columns(words, view.currency)
        work.work_list(view, "claims", listed, words("margin.tab_claims"), columns, behind, rows=12, first="all")
    blocks.tiles(view, "claims_open_amount", "invoice_unmatched_amount")
elif shown == "apart":
    missed = data.lost_sales(asked)
    blocks.section(parts.lost_sales(words, missed, view.currency), words, note=words("margin.lost_note"))
    if not missed.empty:
        blocks.chart(
            charts.ranked(
                missed.rename(columns={"category": "label"}), words, view.currency, words("margin.missed"), "category"
            ),
            words("margin.missed"),
            "lost_sales",
            queries.DrillDown("returned_units", seen=missed),
        )
    again = data.repeat_rates(asked).dropna(subset=["rate"])
    blocks.section(words("margin.repeat"), words, note=words("margin.repeat_note"))
    if again.empty:
        blocks.nothing(words("margin.repeat_none"))
    else:  # customers differ in more than the promise: no title, no colour, no money
        shown_rates = again.rename(columns={"group": "label", "rate": "value"})
        blocks.chart(
            charts.ranked(shown_rates, words, "share", words("margin.repeat"), "repeat", QUIET),
            words("margin.repeat"),
            "repeat",
            queries.DrillDown("promise_kept", seen=again, is_dated=False),
        )
    curve = data.markdown_curve(asked)
    blocks.section(parts.markdown(words, curve), words, note=words("margin.markdown_note"))
    if not curve.empty:
        blocks.table(
            words,
            parts.markdowns(words, curve),
            words("margin.markdown"),
            parts.markdowns_columns(words),
            rows=10,
            behind=queries.DrillDown("recovery_rate", seen=curve, is_dated=False),
        )
else:
    cut = blocks.pick(words("margin.cut"), "erosion_by", {c: words(f"margin.cut_{c}") for c in data.EROSION_CUTS})
    groups = data.erosion_by(asked, cut)
    blocks.section(
        f"{words('margin.erosion_by')} {words(f'margin.cut_{cut}').lower()}",
        words,
        "margin_erosion",
        words("margin.erosion_note"),
    )
    if not groups.empty:
        groups = groups.assign(name=[words.value(cut, g) for g in groups["group"]])
        blocks.table(
            words,
            groups,
            words("margin.erosion_by"),
            parts.erosion_columns(words, view.currency),
            rows=10,
            behind=queries.DrillDown("margin_erosion", seen=groups),
        )
    for kind in ("carrier", "method"):
        costs = queries.by(asked, "return_cost", kind)
        blocks.section(words(f"margin.by_{kind}"), words, "return_cost")
        if costs.empty:
            blocks.greyed(view, "return_cost")
        else:
            blocks.chart(
                charts.ranked(costs, words, view.currency, findings.name(words, "return_cost"), kind),
                words(f"margin.by_{kind}"),
                f"cost_{kind}",
                queries.DrillDown("return_cost", (kind,), costs),
            )
