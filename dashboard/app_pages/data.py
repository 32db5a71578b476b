"""Answer: can we trust it."""

import streamlit as st

from dashboard import blocks, columns, findings, queries, upload

view = st.session_state["view"]
words, source = view.words, view.source
trust = queries.trust(source)
blocks.heading(view, findings.data(words, trust.set_aside, trust.failed_checks), "data", (), needs_rows=False)

shown = blocks.choose(
    words, "data", "add", "sources", "quarantine", "checks", "coverage", "builds", "definitions", "factors"
)
title = words(f"data.tab_{shown}")
if shown == "add":
    upload.part(words, source.warehouse)
elif shown == "sources":
    blocks.section(title, words, note=words("data.sources_note"))
    blocks.table(words, queries.loads(source), title, columns.loads(words), rows=15)
    blocks.section(words("data.last"), words)
    blocks.table(words, queries.table(source, "build_source"), words("data.last"), columns.freshness(words), rows=15)
elif shown == "quarantine":
    aside = queries.quarantine(source)
    blocks.section(title, words, note=words("data.sources_note") if len(aside) else words("data.quarantine_none"))
    if len(aside):
        blocks.table(words, aside, title, columns.quarantine(words), rows=15)
    unread = queries.unread_fields(source)
    if len(unread):
        blocks.section(words("data.unread"), words, note=words("data.unread_note"))
        blocks.table(words, unread, words("data.unread"), columns.quarantine(words), rows=15)
elif shown == "checks":
    checks = queries.checks(source)
    blocks.section(title, words, note="" if len(checks) else words("data.checks_none"))
    blocks.table(words, checks, title, columns.checks(words), rows=20)
elif shown == "coverage":
    missing = queries.missing(source)
    blocks.section(words("data.missing") if missing else words("data.coverage_full"), words)
    if missing:
        blocks.table(words, blocks.missing(words, missing), words("data.missing"), columns.missing(words), rows=12)
        blocks.section(words("missing.ask"), words)
        blocks.requests(words, [one.fact for one in missing])
    blocks.section(title, words, note=words("data.coverage_note"))
    blocks.table(
        words, blocks.facts(words, queries.table(source, "build_coverage")), title, columns.coverage(words), rows=25
    )
elif shown == "builds":
    blocks.section(title, words)
    blocks.table(words, queries.builds(source), title, columns.builds(words), rows=20)
elif shown == "definitions":
    blocks.section(title, words)
    blocks.table(words, blocks.definitions(words), title, columns.definitions(words), rows=25)
else:
    blocks.section(title, words)
    blocks.table(words, queries.table(source, "factor_set"), title, columns.factors(words), rows=15)
    blocks.section(words("data.models"), words)
    blocks.table(words, queries.table(source, "model_version"), words("data.models"), columns.models(words))
