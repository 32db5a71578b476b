"""Answer: what comes back, how fast, and why."""

import streamlit as st

from dashboard import blocks, charts, columns, findings, queries

view = st.session_state["view"]
words, asked = view.words, view.asked
final, observed = queries.number(asked, "ultimate_return_rate"), queries.number(asked, "observed_return_rate")
title = findings.with_change(
    words, findings.rate(words, final, observed), queries.change(asked, "ultimate_return_rate")
)
blocks.heading(view, title, "returns", ("ultimate_return_rate", "reason_share"))
blocks.tiles(view, "observed_return_rate", "ultimate_return_rate", "returns_to_come", "window_return_rate")

shown = blocks.choose(words, "returns", "cohorts", "reasons", "places", "speed", "bases")
if shown == "cohorts":
    months = queries.cohorts(asked)
    to_come = findings.still_to_come(
        words, queries.number(asked, "returns_to_come"), queries.number(asked, "returns_to_come_value")
    )
    blocks.section(to_come, words, "ultimate_return_rate", words("returns.cohorts_note"))
    behind = queries.Behind("ultimate_return_rate", ("month",), months, ("observed_return_rate", "maturity"))
    blocks.chart(charts.rates_by_cohort(months, words), to_come, "cohorts", behind)
    blocks.table(words, months, to_come, columns.cohorts(words), rows=12, behind=behind)
elif shown == "reasons":
    reasons = queries.by(asked, "reason_share", "return_reason")
    title = findings.top(words, "finding.top_reason", reasons, "return_reason", "reason", share=words.percent)
    blocks.section(title or words("returns.tab_reasons"), words, "reason_share", words("returns.reasons_note"))
    if reasons.empty:
        blocks.greyed(view, "reason_share")
    else:
        shares = queries.crossed(asked, "reason_share", "return_reason", "category")
        figure = charts.heat(shares, words, "return_reason", "category")
        blocks.chart(figure, title, "reasons", queries.Behind("reason_share", ("return_reason", "category"), shares))
elif shown == "places":
    for kind, key, part in (
        ("country", "finding.top_market", "country"),
        ("category", "finding.top_category", "category"),
    ):
        rates = queries.by(asked, "ultimate_return_rate", kind)
        title = findings.top(words, key, rates, kind, part, rate=words.percent)
        if title:
            blocks.section(title, words, "ultimate_return_rate")
            figure = charts.ranked(rates, words, "share", words("chart.share_of_sold"), kind)
            blocks.chart(figure, title, f"rate_{kind}", queries.Behind("ultimate_return_rate", (kind,), rates))
        else:
            blocks.greyed(view, "ultimate_return_rate")
elif shown == "speed":
    curve = queries.development(asked.source)
    title = findings.speed(words, curve)
    blocks.section(title, words, "maturity", words("returns.speed_note"))
    if curve.empty:
        blocks.greyed(view, "maturity")
    else:
        blocks.chart(
            charts.development(curve, words), title, "development", queries.Behind("maturity", ("category",), curve)
        )
else:
    blocks.section(words("returns.tab_bases"), words, note=words("returns.bases_note"))
    months = queries.three_bases(asked)
    behind = queries.Behind("returned_units", ("month",), months, ("confirmed_units", "refund_amount"))
    blocks.table(words, months, words("returns.tab_bases"), columns.bases(words, view.currency), rows=14, behind=behind)
    change = queries.rate_change(asked)
    if not change.empty:
        blocks.section(words("returns.change"), words, note=words("returns.change_note"))
        behind = queries.Behind("confirmed_units", seen=change, also=("sold_units",))
        blocks.chart(charts.waterfall(change, words, "share"), words("returns.change"), "rate_change", behind)
