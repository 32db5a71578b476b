"""Answer: what would another policy have changed, what do we assume, and which policies does no other beat."""

import streamlit as st

from dashboard.app_pages.money.whatif import data, figures, parts
from dashboard.shared import blocks, charts, places, queries
from pipelines.errors import BackhaulError

view = st.session_state["view"]
words, asked = view.words, view.asked
blocks.needs_one(view, "margin_erosion")
top = st.container()
tried = parts.scenario_form(view)
try:
    outcome = data.simulated(asked, tried)
except BackhaulError as error:  # nothing of the selection says what such a policy would change
    with top:
        blocks.heading(view, words("page.try-policy"), ("margin_erosion",))
    blocks.nothing(words.translated(str(error)))
    raise places.PageEnded from None
with top:
    blocks.heading(view, parts.scenario(words, outcome, view.currency), ("margin_erosion",))
shown = parts.outcomes(words, outcome, view.currency)
blocks.section(words("whatif.outcome_of"), words, note=words("whatif.note"))
blocks.table(
    words,
    shown,
    words("whatif.outcome_of"),
    parts.outcomes_columns(words),
    rows=8,
    behind=queries.DrillDown("margin_erosion", seen=shown),
)
assumed = parts.behaviour(words, data.behaviour(tried))
if assumed.empty:
    st.caption(words("whatif.arithmetic"))
else:
    blocks.section(words("whatif.assumes"), words, note=words("whatif.assumes_note"))
    blocks.table(
        words,
        assumed,
        words("whatif.assumes"),
        parts.behaviour_columns(words),
        rows=6,
        behind=queries.DrillDown("margin_erosion", seen=assumed, is_dated=False),
    )
parts.save_scenario(view, tried)
side_by_side = data.compared(asked)
if not side_by_side.empty:
    blocks.section(words("whatif.compared"), words, note=words("whatif.compared_note"))
    blocks.table(
        words,
        side_by_side,
        words("whatif.compared"),
        parts.compared_columns(words, view.currency),
        rows=8,
        behind=queries.DrillDown("margin_erosion", seen=side_by_side, is_dated=False),
    )
coming = data.forward(asked, tried)
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
grid = parts.policies_named(words, data.pareto(asked))
reason = grid["reason"].iloc[0]
if grid["margin"].isna().all():
    blocks.section(words("whatif.front"), words, note=words("whatif.front_note"))
    blocks.nothing(words.translated(reason))
else:
    blocks.section(parts.pareto(words, grid), words, note=words("whatif.front_note"))
    blocks.chart(figures.policies_tried(grid, words, view.currency), words("whatif.front"), "front", None, grid)
    if reason:
        st.caption(words.translated(reason))
