"""Answer: what does it emit, how sure are we, and what would lower it."""

import streamlit as st

from dashboard.app_pages.carbon.emissions import data, figures, parts
from dashboard.shared import blocks, charts, findings, queries

KINDS = ("activity", "role", "mode", "carrier", "country")

view = st.session_state["view"]
words, asked = view.words, view.asked
blocks.needs_one(view, "kg_co2e", "avoided_kg_co2e", "fate_share")
total = queries.number(asked, "kg_co2e")
title = findings.with_change(words, findings.carbon(words, total), queries.change(asked, "kg_co2e"))
blocks.heading(view, title, ("kg_co2e", "kg_co2e_per_100_sold"))
blocks.first_tiles(
    view,
    "kg_co2e",
    "kg_co2e_per_100_sold",
    "kg_co2e_per_parcel",
    "primary_data_share",
    beside={"kg_co2e_per_parcel": words("emissions.all_in")},
)

shown = blocks.choose(words)
if shown == "parts":
    kind = blocks.pick(words("emissions.by"), "emissions_by", {name: words(f"emissions.by_{name}") for name in KINDS})
    by_kind = data.by_status(asked, kind)
    title = parts.heaviest(words, by_kind, kind)
    blocks.section(title, words, "kg_co2e", words("emissions.parts_note"))
    if by_kind.empty:
        blocks.greyed(view, "kg_co2e")
    else:
        behind = queries.DrillDown("kg_co2e", (kind, "data_status"), by_kind)
        blocks.chart(figures.by_status(by_kind, words, "kg CO2e", "", kind), title, "emissions_parts", behind)
    changed = data.emission_causes(asked)
    if not changed.empty:
        title = parts.emission_causes(words, changed)
        blocks.section(title, words, "kg_co2e_per_100_sold", words("emissions.causes_note"))
        figure = charts.waterfall(changed, words, "kg CO2e per 100 units", words("emissions.per_100"))
        blocks.chart(figure, title, "emission_causes", queries.DrillDown("kg_co2e_per_100_sold", seen=changed))
elif shown == "sure":
    swings = data.tornado(asked)
    title = parts.doubt(words, swings)
    blocks.section(title, words, "kg_co2e", words("emissions.sure_note"))
    if swings.empty:
        blocks.greyed(view, "kg_co2e")
    else:
        blocks.chart(figures.swings(swings, words), title, "tornado", queries.DrillDown("kg_co2e", seen=swings))
        measurements = parts.measured(words, swings)
        title = parts.narrowing(words, measurements, view.currency)
        blocks.section(title, words, "kg_co2e", words("emissions.narrowing_note"))
        blocks.table(
            words,
            measurements,
            title,
            parts.measured_columns(words, view.currency),
            rows=8,
            behind=queries.DrillDown("kg_co2e", seen=swings),
        )
        spread = data.parcels(asked)
        title = parts.parcels(words, spread)
        blocks.section(title, words, "kg_co2e_per_parcel", words("emissions.parcels_note"))
        blocks.chart(
            figures.parcels(spread, words), title, "parcels", queries.DrillDown("kg_co2e_per_parcel", seen=spread)
        )
        blocks.tiles(
            view,
            "kg_co2e_per_parcel",
            "transport_kg_co2e_per_parcel",
            "reported_inputs_share",
            beside={
                "kg_co2e_per_parcel": words("emissions.all_in"),
                "transport_kg_co2e_per_parcel": words("emissions.tonne_km"),
            },
        )
elif shown == "levers":
    found = data.levers(asked)
    title = parts.lever(words, found)
    blocks.section(title, words, "kg_co2e", words("emissions.levers_note"))
    if found.empty:
        blocks.greyed(view, "kg_co2e")
    else:
        blocks.chart(
            charts.ranked(data.lever_kg(found), words, "kg CO2e", words("emissions.saved"), "lever"),
            title,
            "levers",
            queries.DrillDown("kg_co2e", seen=found),
        )
        blocks.table(
            words,
            parts.assumed(words, found),
            title,
            parts.levers_columns(words, view.currency),
            rows=8,
            behind=queries.DrillDown("kg_co2e", seen=found),
        )
elif shown == "fates":
    fates = data.fates(asked)
    blocks.section(words("emissions.fates"), words, "fate_share", words("emissions.fates_note"))
    if fates.empty:
        blocks.greyed(view, "fate_share")
    else:
        figure = charts.stacked(
            fates, words, "share", words("emissions.of_inspected"), "counted", "disposition", figures.FATES
        )
        blocks.chart(
            figure,
            words("emissions.fates"),
            "fates",
            queries.DrillDown("fate_share", seen=fates, also=("fate_weight_share", "fate_value_share")),
        )
    blocks.tiles(view, "resold_as_new_share", "pending_inspection_units", "packaging_kg", "destroyed_without_evidence")
    blocks.section(words("emissions.avoided"), words, "avoided_kg_co2e", words("emissions.avoided_note"))
    blocks.tiles(view, "avoided_kg_co2e", "destroyed_making_kg_co2e")
elif shown == "map":
    lanes = data.lanes(asked)
    title = findings.lane(words, lanes)
    blocks.section(title, words, "kg_co2e", words("emissions.map_note"))
    if lanes.empty:
        blocks.greyed(view, "kg_co2e")
    else:
        blocks.chart(
            figures.lanes(lanes, data.outlines(), words), title, "lanes", queries.DrillDown("kg_co2e", seen=lanes)
        )
        blocks.table(words, lanes, title, parts.lanes_columns(words), behind=queries.DrillDown("kg_co2e"))
elif shown == "trace":
    kind = blocks.pick(
        words("emissions.by"),
        "trace_activity",
        {"": words("filter.every"), **{a: words.value("activity", a) for a in data.activities(asked)}},
    )
    legs = data.legs(asked, kind)
    blocks.section(words("emissions.tab_trace"), words, "kg_co2e", words("emissions.trace_note"))
    if legs.empty:
        blocks.greyed(view, "kg_co2e")
    else:
        row = blocks.table(
            words,
            legs,
            words("emissions.tab_trace"),
            parts.legs_columns(words),
            rows=8,
            key="leg",
            behind=queries.DrillDown("kg_co2e"),
        )
        if row is None:
            st.caption(words("emissions.pick"))
        else:
            parts.traced(words, data.trace(asked.source, str(legs.iloc[row]["element_id"])))
else:
    months = data.closed_months(asked)
    blocks.section(parts.closed(words, months), words, "kg_co2e", words("emissions.closed_note"))
    if not months.empty:
        blocks.table(
            words,
            months,
            words("emissions.tab_closed"),
            parts.closed_columns(words),
            rows=12,
            behind=queries.DrillDown("kg_co2e", seen=months, is_dated=False),
        )
    parts.close_form(view)
    parts.reports(view)
    rules = data.obligations(asked.source)
    blocks.section(words("emissions.rules"), words, note=words("emissions.rules_note"))
    blocks.table(
        words,
        parts.ruled(words, rules),
        words("emissions.rules"),
        parts.obligations_columns(words),
        rows=10,
        behind=queries.DrillDown("kg_co2e", seen=rules, is_dated=False),
    )
