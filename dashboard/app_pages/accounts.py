"""Answer: what do we book for returns, and do the figures of different systems agree."""

import streamlit as st

from dashboard import blocks, charts, columns, findings, queries

view = st.session_state["view"]
words, asked = view.words, view.asked
by_month = queries.accrual(asked, "month")
title = findings.booked(words, by_month, view.currency)
blocks.heading(view, title, "accounts", ("returns_to_come_value", "refund_amount"))
blocks.tiles(view, "refunds_owed", "returns_to_come_value", "returns_to_come_cost", "refund_discrepancy")

shown = blocks.choose(words, "accounts", "booked", "bases", "shop")
if shown == "booked":
    by = blocks.pick(
        words("accounts.cut"), "accounts_by", {b: words(f"accounts.by_{b}") for b in ("month", "category")}
    )
    table = by_month if by == "month" else queries.accrual(asked, by)
    blocks.section(
        words("accounts.booked", day=words.day(asked.until)),
        words,
        "returns_to_come_value",
        words("accounts.booked_note"),
    )
    blocks.table(words, table, title, columns.accrual(words, view.currency), rows=14)
elif shown == "bases":
    for name in ("order_to_return", "return_to_refund"):
        steps = queries.bridge(asked, name, "units")
        if len(steps):
            blocks.section(words(f"accounts.{name}"), words, note=words(f"accounts.{name}_note"))
            blocks.chart(charts.waterfall(steps, words, "units"), words(f"accounts.{name}"), name)
    steps = queries.bridge(asked, "refund_to_money", "value")
    if len(steps):
        blocks.section(words("accounts.refund_to_money"), words, note=words("accounts.refund_to_money_note"))
        blocks.chart(
            charts.waterfall(steps, words, view.currency, words.unit(view.currency)),
            words("accounts.refund_to_money"),
            "refund_to_money",
        )
    blocks.section(words("accounts.months"), words, note=words("accounts.months_note"))
    blocks.table(
        words, queries.three_bases(asked), words("accounts.months"), columns.bases(words, view.currency), rows=14
    )
else:
    steps = queries.bridge(asked, "return_to_shop", "value")
    blocks.section(words("accounts.shop"), words, note=words("accounts.shop_note"))
    if steps.empty:
        blocks.greyed(view, "requested_units")
    else:
        blocks.chart(charts.waterfall(steps, words, view.currency), words("accounts.shop"), "shop")
