"""Answer: which products deserve attention today."""

import streamlit as st

from dashboard import blocks, charts, columns, findings, queries

view = st.session_state["view"]
words, asked = view.words, view.asked
ranking = queries.ranking(asked)
title = findings.products(words, ranking)
blocks.heading(view, title, "products", ("product_return_rate",))
blocks.section(words("products.chart"), words, "product_return_rate", words("products.ranking"))
if ranking.empty:
    blocks.greyed(view, "product_return_rate")
else:
    behind = queries.Behind("product_return_rate", ("style_id",), ranking)
    blocks.chart(charts.products(ranking, words), title, "products", behind)
    blocks.table(words, ranking, title, columns.products(words, view.currency), rows=15, behind=behind)
