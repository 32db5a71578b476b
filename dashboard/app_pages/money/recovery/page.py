"""Answer: where do goods end, what is got back, and where should they have gone."""

import streamlit as st

from dashboard.app_pages.money.recovery import data, parts
from dashboard.shared import blocks, charts, queries

view = st.session_state["view"]
words, asked = view.words, view.asked
blocks.needs_one(view, "recovery_rate", "resold_as_new_share", "value_in_flow")
top = st.container()
price = float(
    blocks.pick(
        words("recovery.price"),
        "carbon_price",
        {f"{p:g}": words("recovery.price_at", price=f"{p:g}") for p in (0, 50, 100, 150)},
    )
)
plan = data.plan(asked, price)
with top:
    blocks.heading(view, parts.regret(words, plan, view.currency), ("recovery_rate",))
blocks.tiles(view, "recovery_rate", "resold_as_new_share", "pending_inspection_units", "value_in_flow")
if plan.unpriced:
    st.caption(words("recovery.unpriced", n=words.number(plan.unpriced)))
if plan.items.empty and not plan.unpriced:
    blocks.greyed(view, "resold_as_new_share")
elif not plan.items.empty:
    routes = plan.routes.rename(columns={"route": "label"})
    blocks.section(words("recovery.routes"), words, note=words("recovery.note"))
    names = (("done", words("recovery.as_done")), ("best", words("recovery.at_best")))
    figure = charts.beside(routes, words, "units", words("recovery.items"), "route", names)
    blocks.chart(figure, words("recovery.routes"), "routes", None, routes)
    blocks.figures(
        words,
        ("recovery.value_best", words.money(plan.value, view.currency), words("recovery.value_about")),
        ("recovery.value_done", words.money(plan.value_done, view.currency), words("recovery.value_about")),
        ("recovery.kg", words.quantity(plan.regret_kg_co2e, "kg CO2e"), words("recovery.kg_about")),
        ("recovery.avoided", words.quantity(plan.avoided_kg_co2e, "kg CO2e"), words("recovery.avoided_about")),
    )
    worst = parts.regrets(words, plan.items)
    blocks.section(words("recovery.worst"), words)
    blocks.table(
        words,
        worst,
        words("recovery.worst"),
        parts.regrets_columns(words, view.currency),
        rows=12,
        behind=queries.DrillDown("recovery_rate", seen=worst),
    )
    rates = parts.rates(words, data.recovery_rates(asked))
    if not rates.empty:
        blocks.section(words("recovery.rates"), words, "recovery_rate", words("recovery.rates_note"))
        blocks.table(
            words,
            rates,
            words("recovery.rates"),
            parts.rates_columns(words),
            rows=12,
            behind=queries.DrillDown("recovery_rate", seen=rates, is_dated=False),
        )
