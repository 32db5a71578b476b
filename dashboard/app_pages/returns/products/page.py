"""Answer: which products deserve attention today."""

import streamlit as st

from dashboard.app_pages.returns.products import data, figures, parts
from dashboard.shared import blocks, charts, columns, queries, work

view = st.session_state["view"]
words, asked = view.words, view.asked
ranking = queries.ranking(asked)
title = parts.products(words, ranking)
blocks.heading(view, title, ("product_return_rate",))
shown = blocks.choose(words)
if shown == "ranking":
    orders = {name: words(f"products.by_{name}") for name in ("money", "relative")}
    order = blocks.pick(words("products.order"), "products_order", orders)
    first = data.first_ranked(ranking, order)
    note = words(f"products.ranking_{order}", n=words.number(len(first)), all=words.number(len(ranking)))
    blocks.section(words("products.chart"), words, "product_return_rate", note)
    if ranking.empty:
        blocks.greyed(view, "product_return_rate")
    else:
        behind = queries.DrillDown("product_return_rate", ("style_id",), first)
        blocks.chart(figures.products(first, words), title, "products", behind)
        table = data.acted_on(asked.source, first)
        shown_columns = parts.products_columns(words, view.currency)
        work.work_list(view, "products", data.to_look_at(table), title, shown_columns, behind, first="all")
elif shown == "one" and not ranking.empty:
    names = dict(zip(ranking["style_id"], ranking["name"], strict=True))
    style = blocks.pick_one(words("products.pick"), "product", names)
    row = ranking.set_index("style_id").loc[style]
    profile = data.product(asked, style)
    of_style = (("style_id", (style,)),)
    usual = words("products.category_rate")
    blocks.section(parts.most_at_stake(words, row), words, "product_return_rate", parts.launched(words, profile))
    blocks.figures(
        words,
        (
            "products.rate",
            words.percent(row["rate"]),
            words("products.between", low=words.percent(row["low"]), high=words.percent(row["high"])),
        ),
        ("products.expected", words.percent(row["buyers_rate"]), words("products.expected_note")),
        ("products.money", words.money(row["at_stake"], view.currency), words("products.money_note")),
        ("products.kg", words.number(row["kg_co2e"]), words("products.kg_note")),
        behind=queries.DrillDown("product_return_rate", seen=ranking[ranking["style_id"] == style], where=of_style),
    )
    parts.act(view, style)
    if profile.by_size_and_colour["colour"].notna().any():
        blocks.section(words("products.sizes"), words, note=words("products.sizes_note"))
        figure = figures.size_grid(profile.by_size_and_colour, words)
        blocks.chart(
            figure,
            words("products.sizes"),
            "size_grid",
            queries.DrillDown("product_return_rate", seen=profile.by_size_and_colour, where=of_style),
        )
    for cut in ("size", "colour"):
        rates = getattr(profile, f"by_{cut}")
        if len(rates):
            rates = queries.beside_category(rates, cut, "rate", "category_rate", "sold")
            behind = queries.DrillDown("product_return_rate", (cut,), rates, where=of_style)
            blocks.section(words(f"products.by_{cut}"), words, "product_return_rate", words("products.by_note"))
            figure = charts.against(rates, words, words("chart.share_of_sold"), usual)
            blocks.chart(figure, words(f"products.by_{cut}"), f"by_{cut}", behind)
    if len(profile.size_curve):
        curve = queries.beside_category(profile.size_curve, "size", "balance", "category_balance", "small")
        curve = curve.assign(n=profile.size_curve["small"] + profile.size_curve["large"])
        blocks.section(words("products.balance"), words, "size_balance", words("products.balance_note"))
        figure = charts.against(curve, words, words("products.balance_axis"), words("chart.usual"), "size", signed=True)
        blocks.chart(
            figure, words("products.balance"), "balance", queries.DrillDown("size_balance", seen=curve, where=of_style)
        )
    if len(profile.reasons):
        reasons = queries.beside_category(profile.reasons, "return_reason", "share", "category_share", "returned")
        reasons = reasons.assign(
            low=reasons["value"] - (profile.reasons["difference"] - profile.reasons["low"]),
            high=reasons["value"] + (profile.reasons["high"] - profile.reasons["difference"]),
        )
        behind = queries.DrillDown("returned_units", ("return_reason",), reasons, where=of_style)
        blocks.section(words("products.reasons"), words, "reason_share", words("products.reasons_note"))
        figure = charts.against(reasons, words, words("chart.share_of_returned"), words("chart.usual"), "return_reason")
        blocks.chart(figure, words("products.reasons"), "product_reasons", behind)
    if len(profile.notes):
        notes = data.noted(profile.notes, words.language)
        notes = queries.beside_category(notes, "theme", "share", "category_share", "notes")
        notes = notes.assign(
            low=notes["value"] - (profile.notes["difference"] - profile.notes["low"]),
            high=notes["value"] + (profile.notes["high"] - profile.notes["difference"]),
        )
        blocks.section(words("products.notes"), words, note=words("products.notes_note"))
        figure = charts.against(notes, words, words("products.notes_axis"), words("chart.usual"))
        blocks.chart(
            figure, words("products.notes"), "notes", queries.DrillDown("returned_units", seen=notes, where=of_style)
        )
    if len(profile.since_launch):
        months = profile.since_launch.rename(columns={"rate": "value", "category_rate": "usual"})
        behind = queries.DrillDown("ultimate_return_rate", ("month",), months, where=of_style)
        blocks.section(words("products.launch"), words, "ultimate_return_rate", words("products.launch_note"))
        blocks.chart(
            charts.trend(months, words, "share", words("chart.share_of_sold")),
            words("products.launch"),
            "launch",
            behind,
        )
    for name in ("costs", "related", "changes"):
        frame = getattr(profile, name)
        if len(frame):
            blocks.section(words(f"products.{name}"), words, note=words(f"products.{name}_note"))
            blocks.table(words, frame, words(f"products.{name}"), getattr(columns, name)(words), rows=10)
elif shown == "actions":
    parts.actions(view)
else:
    blocks.greyed(view, "product_return_rate")
