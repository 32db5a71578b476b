"""Answer: what changed, and what do we do first."""

import streamlit as st

from dashboard.app_pages.today.overview import data, figures, parts
from dashboard.shared import alerted, blocks, findings, queries

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
LINES = 5
SHOWN_ALERTS = 5

view = st.session_state["view"]
words, asked = view.words, view.asked
answers = queries.answers(asked, *TILES, *findings.RATES, "return_cost", "kg_co2e")
first, *others = parts.overview(words, answers)
alerts = alerted.said(words, alerted.lasting(view.source), queries.metric)
lasting = parts.signals(words, asked, alerts)
blocks.heading(view, lasting[0].finding.sentence if lasting else first.sentence, TILES, is_brief=True)

work = queries.due(asked), queries.at_risk(asked), queries.ranking(asked)
waits = data.open_actions(view.source), data.parcels_to_claim(asked), queries.trust(view.source).failed_checks
cards = parts.cards(words, *work, waits, view.currency)
parts.show_cards(words, cards)

rates = [key for key in queries.best_rates(asked, TILES) if queries.number(asked, key).status == "ok"][:LINES]
keys = [*rates, *queries.known(asked, tuple(rates), OTHERS, LINES)]
parts.lines(view, keys)
parts.ways(words, lasting)
blocks.trust(view)

moved, said = st.columns(2, gap="large")
with moved:
    blocks.section(words("overview.moved"), words)
    changes = data.moved(asked)
    names = {key: findings.name(words, key) for key, *_ in changes}
    parts.links(
        words,
        [*(one for one in others if one.weight > 0), *parts.moved(words, changes, names)],
        words("overview.moved_none"),
    )
with said:
    blocks.section(words("overview.alerts"), words, note=words("overview.alerts_note"))
    parts.links(words, [parts.listed(words, *one) for one in alerts[:SHOWN_ALERTS]], words("overview.alerts_none"))
    if not view.source.scope:
        left = len(alerts) - SHOWN_ALERTS
        more = words("overview.alerts_more", n=words.number(left)) if left > 0 else words("overview.alerts_all")
        blocks.link_to(words, "alerts", more, icon=":material/notifications:")

flow = data.flow(asked)
blocks.section(parts.flow(words, flow), words, note=words("overview.flow"))
if not flow.empty:
    blocks.chart(
        figures.flow(flow, words), words("overview.flow"), "flow", queries.DrillDown("returned_units", seen=flow)
    )
