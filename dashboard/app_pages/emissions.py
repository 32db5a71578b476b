"""Answer: what does it emit, how sure are we, and what would lower it."""

import streamlit as st

from dashboard import blocks, charts, columns, findings, queries

KINDS = ("role", "mode", "carrier", "country")

view = st.session_state["view"]
words, asked = view.words, view.asked
total = queries.number(asked, "kg_co2e")
title = findings.with_change(words, findings.carbon(words, total), queries.change(asked, "kg_co2e"))
blocks.heading(view, title, "emissions", ("kg_co2e", "kg_co2e_per_100_sold"))
blocks.tiles(view, "kg_co2e", "kg_co2e_per_100_sold", "kg_co2e_per_return", "primary_data_share")

shown = blocks.choose(words, "emissions", "parts", "map", "trace", "fates")
if shown == "parts":
    kind = blocks.pick(words("emissions.by"), "emissions_by", {name: words(f"emissions.by_{name}") for name in KINDS})
    parts = queries.by_status(asked, kind)
    title = findings.heaviest(words, parts, kind)
    blocks.section(title, words, "kg_co2e", words("emissions.parts_note"))
    if parts.empty:
        blocks.greyed(view, "kg_co2e")
    else:
        behind = queries.Behind("kg_co2e", (kind, "data_status"), parts)
        blocks.chart(charts.by_status(parts, words, "kg CO2e", "", kind), title, "emissions_parts", behind)
elif shown == "map":
    lanes = queries.lanes(asked)
    title = findings.lane(words, lanes)
    blocks.section(title, words, "kg_co2e", words("emissions.map_note"))
    if lanes.empty:
        blocks.greyed(view, "kg_co2e")
    else:
        blocks.chart(
            charts.lanes(lanes, queries.outlines(), words), title, "lanes", queries.Behind("kg_co2e", seen=lanes)
        )
        blocks.table(words, lanes, title, columns.lanes(words), behind=queries.Behind("kg_co2e"))
elif shown == "trace":
    legs = queries.legs(asked)
    blocks.section(words("emissions.tab_trace"), words, "kg_co2e", words("emissions.trace_note"))
    if legs.empty:
        blocks.greyed(view, "kg_co2e")
    else:
        row = blocks.table(
            words,
            legs,
            words("emissions.tab_trace"),
            columns.legs(words),
            rows=8,
            key="leg",
            behind=queries.Behind("kg_co2e"),
        )
        if row is None:
            st.caption(words("emissions.pick"))
        else:
            blocks.traced(words, queries.trace(asked.source, str(legs.iloc[row]["element_id"])))
else:
    blocks.section(words("emissions.fates"), words, "resold_as_new_share")
    blocks.tiles(
        view,
        "resold_as_new_share",
        "refurbished_share",
        "donated_share",
        "recycled_share",
        "destroyed_share",
        "pending_inspection_units",
    )
