"""Answer: are we better or worse, where, and what should we do."""

import streamlit as st

from dashboard.app_pages.today.overview import data, figures, parts
from dashboard.shared import blocks, findings, queries

TILES = (
    "ultimate_return_rate",
    "promise_kept",
    "days_to_refund",
    "margin_erosion_share",
    "kg_co2e_per_100_sold",
    "resold_as_new_share",
)

# shown where the files support few of those above
OTHERS = ("all_returned_units", "sold_units", "refund_amount", "net_sales", "received_units", "stage_days", "kg_co2e")
FEWEST = 3
SHOWN_ALERTS = 5

view = st.session_state["view"]
words, asked = view.words, view.asked
answers = queries.answers(asked, *TILES, *findings.RATES, "return_cost", "kg_co2e")
first, *others = parts.overview(words, answers)
blocks.heading(view, first.sentence, TILES)
for other in others:
    blocks.linked(words, other)

running = queries.number(asked, "promise_undetermined")
beside = {
    "promise_kept": words("overview.undetermined", n=words.number(running.value)),
    "margin_erosion_share": words.quantity(queries.number(asked, "margin_erosion").value, view.currency),
}
tiles = queries.best_rates(asked, TILES)
blocks.tiles(view, *tiles, *queries.known(asked, tiles, OTHERS, FEWEST), beside=beside)

lasting = parts.alerts(words, data.lasting_alerts(view.source), queries.metric)
if lasting:
    blocks.section(words("overview.alerts"), words, note=words("overview.alerts_note"))
    parts.links(words, lasting[:SHOWN_ALERTS], "")
    if len(lasting) > SHOWN_ALERTS:
        st.caption(words("overview.alerts_more", n=words.number(len(lasting) - SHOWN_ALERTS)))

moved, do = st.columns(2, gap="large")
with moved:
    blocks.section(words("overview.moved"), words)
    changes = data.moved(asked)
    parts.links(
        words,
        parts.moved(words, changes, {key: findings.name(words, key) for key, *_ in changes}),
        words("overview.moved_none"),
    )
with do:
    blocks.section(words("overview.do"), words)
    work = queries.due(asked), queries.at_risk(asked), queries.ranking(asked)
    parts.links(words, parts.actions(words, *work, view.currency), words("do.nothing"))

flow = data.flow(asked)
blocks.section(parts.flow(words, flow), words, note=words("overview.flow"))
if not flow.empty:
    blocks.chart(
        figures.flow(flow, words), words("overview.flow"), "flow", queries.DrillDown("returned_units", seen=flow)
    )
