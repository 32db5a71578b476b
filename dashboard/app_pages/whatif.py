"""Answer: what would another policy have changed, what do we assume, and which policies does no other beat."""

import streamlit as st

from dashboard import blocks, charts, columns, findings, queries
from pipelines.errors import BackhaulError

view = st.session_state["view"]
words, asked = view.words, view.asked
blocks.needs_one(view, "whatif", "margin_erosion")
top = st.container()
tried = blocks.scenario(view)
try:
    outcome = queries.simulated(asked, tried)
except BackhaulError as error:  # nothing of the selection says what such a policy would change
    with top:
        blocks.heading(view, words("page.whatif"), "whatif", ("margin_erosion",))
    blocks.nothing(words.translated(str(error)))
    st.stop()
with top:
    blocks.heading(view, findings.scenario(words, outcome, view.currency), "whatif", ("margin_erosion",))
shown = blocks.outcomes(words, outcome, view.currency)
blocks.section(words("whatif.outcome_of"), words, note=words("whatif.note"))
blocks.table(
    words,
    shown,
    words("whatif.outcome_of"),
    columns.outcomes(words),
    rows=8,
    behind=queries.Behind("margin_erosion", seen=shown),
)
assumed = blocks.behaviour(words, queries.behaviour(tried))
if assumed.empty:
    st.caption(words("whatif.arithmetic"))
else:
    blocks.section(words("whatif.assumes"), words, note=words("whatif.assumes_note"))
    blocks.table(
        words,
        assumed,
        words("whatif.assumes"),
        columns.behaviour(words),
        rows=6,
        behind=queries.Behind("margin_erosion", seen=assumed, is_dated=False),
    )
blocks.save_scenario(view, tried)
side_by_side = queries.compared(asked)
if not side_by_side.empty:
    blocks.section(words("whatif.compared"), words, note=words("whatif.compared_note"))
    blocks.table(
        words,
        side_by_side,
        words("whatif.compared"),
        columns.compared(words, view.currency),
        rows=8,
        behind=queries.Behind("margin_erosion", seen=side_by_side, is_dated=False),
    )
coming = queries.forward(asked, tried)
if not coming.empty:
    blocks.section(words("whatif.coming"), words, note=words("whatif.coming_note"))
    figure = charts.weeks(
        queries.recent(asked, "returned_units", ""),
        coming,
        words,
        "units",
        words.value("measure", "returned_units"),
        "whatif.as_forecast",
    )
    blocks.chart(figure, words("whatif.coming"), "coming", None, coming)
grid = blocks.policies_named(words, queries.pareto(asked))
reason = grid["reason"].iloc[0]
if grid["margin"].isna().all():
    blocks.section(words("whatif.front"), words, note=words("whatif.front_note"))
    blocks.nothing(words.translated(reason))
else:
    blocks.section(findings.pareto(words, grid), words, note=words("whatif.front_note"))
    blocks.chart(charts.policies_tried(grid, words, view.currency), words("whatif.front"), "front", None, grid)
    if reason:
        st.caption(words.translated(reason))
