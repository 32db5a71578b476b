"""Answer: what will come back in the next twelve weeks, and is the forecast worth having."""

import streamlit as st

from dashboard.app_pages.returns.forecast import data, parts
from dashboard.shared import blocks, charts, queries

view = st.session_state["view"]
words, asked = view.words, view.asked
top = st.container()
measure = blocks.pick(
    words("forecast.what"), "forecast_measure", {m: words.value("measure", m) for m in data.FORECASTS}
)
unit = {"refund_amount": view.currency, "kg_co2e": "kg CO2e"}.get(measure, "units")
whole = data.forecast(asked, measure, "")
with top:
    blocks.heading(view, parts.forecast(words, whole, measure, unit), ("returned_units",))
if whole.empty:
    blocks.greyed(view, "returned_units")
else:
    past = queries.recent(asked, measure, "")
    blocks.section(words.value("measure", measure), words, note=words("forecast.note"))
    if not bool(whole["is_shown"].iloc[0]):
        blocks.caution(words("forecast.hidden"))
    blocks.chart(
        charts.weeks(past, whole, words, unit, words.value("measure", measure)),
        words.value("measure", measure),
        "forecast",
        None,
        whole,
    )
    cut = blocks.pick(words("forecast.by"), "forecast_by", {c: words(f"forecast.by_{c}") for c in data.FORECAST_CUTS})
    groups = parts.forecasts(words, data.forecast_sums(asked, measure, cut), cut)
    blocks.section(words("forecast.groups"), words, note=words("forecast.groups_note"))
    blocks.table(
        words,
        groups,
        words("forecast.groups"),
        parts.forecasts_columns(words),
        rows=15,
        behind=queries.DrillDown("returned_units", seen=groups, is_dated=False),
    )
