"""Answer: what do we book for returns, and do the figures of different systems agree."""

import streamlit as st

from dashboard.app_pages.money.accounts import data, parts
from dashboard.shared import blocks, charts, queries

BRIDGES = {
    "order_to_return": ("confirmed_units", "returned_units"),
    "return_to_refund": ("refunded_units", "confirmed_units"),
}

view = st.session_state["view"]
words, asked = view.words, view.asked
by_month = data.accrual(asked, "month")
title = parts.booked(words, by_month, view.currency)
blocks.heading(view, title, ("returns_to_come_value", "refund_amount"))
if len(by_month):
    whole = by_month.iloc[0]
    between = words(
        "products.between", low=words.money(whole["low"], view.currency), high=words.money(whole["high"], view.currency)
    )
    notes = {
        "liability": between,
        "owed": words("accounts.owed_note"),
        "to_come": words("accounts.to_come_note"),
        "asset": words("accounts.asset_note"),
    }
    blocks.figures(
        words,
        *((f"accounts.{n}", words.money(whole[n], view.currency), note) for n, note in notes.items()),
        behind=queries.DrillDown("refunds_owed", seen=by_month.head(1), is_dated=False),
    )

shown = blocks.choose(words)
if shown == "booked":
    cuts = {name: words(f"accounts.by_{name}") for name in ("month", "category")}
    by = blocks.pick(words("accounts.cut"), "accounts_by", cuts)
    table = by_month if by == "month" else data.accrual(asked, by)
    heading = words("accounts.booked", day=words.day(asked.until))
    blocks.section(heading, words, "returns_to_come_value", words("accounts.booked_note"))
    if table.empty:
        blocks.greyed(view, "returns_to_come_value")
    else:
        behind = queries.DrillDown("refunds_owed", (by,), table, is_dated=False)
        shown_rows = parts.grouped(words, table, by)
        blocks.table(words, shown_rows, title, parts.accrual_columns(words, view.currency), rows=14, behind=behind)
    proof = data.accrual_backtest(asked)
    if len(proof):
        blocks.section(parts.booked_before(words, proof), words, note=words("accounts.proof_note"))
        blocks.table(words, proof, words("accounts.proof_note"), parts.booked_columns(words, view.currency), rows=3)
elif shown == "roll":
    parts.rolled(view)
elif shown == "bases":
    for name, (key, other) in BRIDGES.items():
        steps = data.bridge(asked, name, "units")
        if len(steps):
            blocks.section(words(f"accounts.{name}"), words, note=words(f"accounts.{name}_note"))
            behind = queries.DrillDown(key, seen=steps, also=(other,))
            blocks.chart(charts.waterfall(steps, words, "units"), words(f"accounts.{name}"), name, behind)
    steps = data.bridge(asked, "refund_to_money", "value")
    if len(steps):
        blocks.section(words("accounts.refund_to_money"), words, note=words("accounts.refund_to_money_note"))
        figure = charts.waterfall(steps, words, view.currency, words.unit(view.currency))
        behind = queries.DrillDown("refund_amount", seen=steps)
        blocks.chart(figure, words("accounts.refund_to_money"), "refund_to_money", behind)
    blocks.tiles(view, "refund_discrepancy", "refund_accuracy")
    blocks.section(words("accounts.months"), words, note=words("accounts.months_note"))
    months = data.three_bases(asked)
    behind = queries.DrillDown(
        "returned_units", ("month",), months, ("confirmed_units", "refunded_units", "refund_amount")
    )
    blocks.table(
        words, months, words("accounts.months"), parts.bases_columns(words, view.currency), rows=14, behind=behind
    )
else:
    steps = data.bridge(asked, "return_to_shop", "value")
    blocks.section(words("accounts.shop"), words, note=words("accounts.shop_note"))
    if steps.empty:
        blocks.greyed(view, "requested_units")
    else:
        behind = queries.DrillDown("requested_units", seen=steps)
        blocks.chart(charts.waterfall(steps, words, view.currency), words("accounts.shop"), "shop", behind)
