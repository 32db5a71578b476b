"""Answer: what comes back, how fast, and why."""

import streamlit as st

from dashboard.app_pages.returns.returns import data, figures, parts
from dashboard.shared import blocks, charts, findings, places, queries

TILES = ("observed_return_rate", "ultimate_return_rate", "returns_to_come", "window_return_rate")
ENOUGH_MONTHS = 5  # under so many the sentence rests on months and categories instead

view = st.session_state["view"]
words, asked = view.words, view.asked
answers = queries.answers(asked, "ultimate_return_rate", *findings.RATES)
final, moved = answers["ultimate_return_rate"]
others = [(name, answers[key]) for key, name in findings.RATES.items()]
title = findings.headline(words, final, moved, others).sentence
blocks.heading(view, title, ("ultimate_return_rate", "reason_share"))
if places.current().is_first:
    blocks.caution(findings.caution(words, final))
blocks.first_tiles(view, *queries.best_rates(asked, TILES))

shown = blocks.choose(words)
if shown == "cohorts":
    months = data.cohorts(asked)
    to_come = parts.still_to_come(
        words, queries.number(asked, "returns_to_come"), queries.number(asked, "returns_to_come_value")
    )
    blocks.section(to_come, words, "ultimate_return_rate", words("returns.cohorts_note"))
    blocks.caution(parts.cautions(words, months))
    behind = queries.DrillDown("ultimate_return_rate", ("month",), months, ("observed_return_rate", "maturity"))
    blocks.chart(figures.rates_by_cohort(months, words), to_come, "cohorts", behind)
    blocks.table(words, months, to_come, parts.cohorts_columns(words), rows=12, behind=behind)
elif shown == "change":
    same = data.same_window(asked)
    blocks.section(parts.same_age(words, same), words, "window_return_rate", words("returns.same_note"))
    by_category = data.same_window(asked, "category")
    if len(by_category):
        behind = queries.DrillDown("window_return_rate", ("category",), by_category)
        figure = figures.compared(by_category, words, "category")
        blocks.chart(figure, words("returns.same_note"), "same_window", behind)
    change = data.rate_change(asked)
    if change.empty:
        blocks.nothing(words("returns.change_none"))
    else:
        blocks.section(parts.shop_figure(words, change, same), words, note=words("returns.change_note"))
        behind = queries.DrillDown("confirmed_units", seen=change, also=("sold_units",))
        blocks.chart(charts.waterfall(change, words, "share"), words("returns.change"), "rate_change", behind)
elif shown == "reasons":
    reasons = queries.by(asked, "reason_share", "return_reason")
    title = findings.top(words, "finding.top_reason", reasons, "return_reason", "reason", share=words.percent)
    title = title or words("returns.tab_reasons")
    blocks.section(title, words, "reason_share", words("returns.reasons_note"))
    if reasons.empty:
        blocks.greyed(view, "reason_share")
    else:
        by = blocks.pick(
            words("returns.reasons_by"),
            "reasons_by",
            {cut: words(f"returns.by_{cut}") for cut in ("category", "return_type")},
        )
        shares = queries.crossed(asked, "reason_share", "return_reason", by)
        figure = figures.heat(shares, words, "return_reason", by)
        blocks.chart(figure, title, f"reasons_{by}", queries.DrillDown("reason_share", ("return_reason", by), shares))
        who = queries.by(asked, "reason_share", "preventable_by")
        title = parts.pointed(words, who)
        blocks.section(title, words, "reason_share", words("returns.preventable_note"))
        figure = charts.ranked(who, words, "share", words("chart.share_of_returned"), "preventable_by")
        blocks.chart(figure, title, "who", queries.DrillDown("reason_share", ("preventable_by",), who))
    types = queries.by(asked, "all_returned_units", "return_type")
    blocks.section(words("returns.types"), words, "all_returned_units", words("returns.types_note"))
    figure = charts.ranked(types, words, "units", words("returns.units"), "return_type")
    blocks.chart(
        figure, words("returns.types"), "types", queries.DrillDown("all_returned_units", ("return_type",), types)
    )
    outcomes = queries.by(asked, "all_returned_units", "inspection_outcome").dropna(subset=["label"])
    title = parts.inspected(words, outcomes)
    blocks.section(title, words, "inspection_mismatch_rate", words("returns.inspection_note"))
    other = outcomes[outcomes["label"] != "match"]
    if len(other):
        figure = charts.ranked(other, words, "units", words("returns.units"), "inspection_outcome")
        behind = queries.DrillDown("all_returned_units", ("inspection_outcome",), other)
        blocks.chart(figure, title, "inspection", behind)
    blocks.tiles(view, "inspection_mismatch_rate", "refunded_before_inspection", "reason_known_share")
elif shown == "drivers":
    parts.drivers(view)
elif shown == "customers":
    crowd = data.customers(asked)
    if lacks := data.lacking(asked.source, "customer"):
        parts.ask_for(words, words("returns.tab_customers"), lacks)
    elif crowd.slices.empty:
        blocks.nothing(words.translated(crowd.reason))
    else:
        title = parts.gathered(words, crowd)
        blocks.section(title, words, note=words("customers.note"))
        # no rows here: they would be a list of people
        blocks.chart(figures.concentration(crowd.slices, words), title, "customers", None, crowd.slices)
        blocks.section(words("customers.patterns"), words, note=words("customers.patterns_note"))
        blocks.table(words, crowd.patterns, words("customers.patterns"), parts.patterns_columns(words), rows=4)
elif shown == "places":
    for kind, key, part in (
        ("country", "finding.top_market", "country"),
        ("category", "finding.top_category", "category"),
    ):
        rates = queries.by(asked, "ultimate_return_rate", kind)
        title = findings.top(words, key, rates, kind, part, rate=words.percent)
        if len(rates):
            title = title or findings.name(words, "ultimate_return_rate")
            blocks.section(title, words, "ultimate_return_rate")
            figure = charts.ranked(rates, words, "share", words("chart.share_of_sold"), kind)
            blocks.chart(figure, title, f"rate_{kind}", queries.DrillDown("ultimate_return_rate", (kind,), rates))
        elif kind == "category" and (lacks := data.lacking(asked.source, "product")):
            parts.ask_for(words, words("returns.category"), lacks)
        else:
            blocks.greyed(view, "ultimate_return_rate")
elif shown == "speed":
    curve = data.development(asked)
    title = parts.speed(words, curve)
    blocks.section(title, words, "maturity", words("returns.speed_note"))
    if curve.empty:
        blocks.greyed(view, "maturity")
    else:
        behind = queries.DrillDown("maturity", ("category",), curve)
        blocks.chart(figures.development(curve, words), title, "development", behind)
        drift = data.drift(asked)
        blocks.section(parts.drifting(words, drift), words, note=words("returns.drift_note"))
else:
    ago = {str(n): words("returns.days_ago", n=words.number(n)) for n in (30, 60, 90)}
    days = int(blocks.pick(words("returns.tab_proof"), "proof_by", ago))
    said = data.backtest(asked, days)
    cells = said if len(said) >= ENOUGH_MONTHS else data.backtest(asked, days, "category")
    title = parts.backtested(words, cells, days)
    blocks.section(title, words, "ultimate_return_rate", words("returns.proof_note"))
    if len(said):
        shown_months = queries.beside_category(said, "month", "projected", "projected_now", "sold")
        shown_months = shown_months.assign(label=[words.month(month) for month in said["month"]])
        figure = charts.against(
            shown_months,
            words,
            words("chart.share_of_sold"),
            words("backtest.now"),
            first=words("backtest.then", day=words.day(said["as_of"].iloc[0])),
        )
        blocks.chart(figure, title, "backtest", queries.DrillDown("ultimate_return_rate", seen=said, is_dated=False))
        blocks.table(words, said, title, parts.backtest_columns(words), rows=7)
