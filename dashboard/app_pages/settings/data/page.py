"""Answer: can we trust it."""

import streamlit as st

from dashboard.app_pages.settings.data import data, parts
from dashboard.shared import blocks, queries, upload, work

view = st.session_state["view"]
words, source = view.words, view.source
trust = queries.trust(source)
blocks.heading(view, parts.data(words, trust.set_aside, trust.failed_checks), (), needs_rows=False)

shown = blocks.choose(words)
title = words(f"data.tab_{shown}")
if shown == "add":
    upload.part(words, source.warehouse)
elif shown == "sources":
    parts.scorecards(view, data.scorecards(source))
    parts.hooks(words, data.hooks(source))
    blocks.section(title, words, note=words("data.sources_note"))
    blocks.table(words, data.loads(source), title, parts.loads_columns(words), rows=15)
    blocks.section(words("data.last"), words)
    blocks.table(
        words, queries.table(source, "build_source"), words("data.last"), parts.freshness_columns(words), rows=15
    )
elif shown == "quarantine":
    aside = queries.quarantine(source)
    blocks.section(title, words, note=words("data.sources_note") if len(aside) else words("data.quarantine_none"))
    if len(aside):
        work.work_list(st.session_state["view"], "quarantine", aside, title, parts.quarantine_columns(words))
    parts.rows_aside(view, data.quarantined(source))
    parts.fixes(view, data.fixes(source))
    unread = data.unread_fields(source)
    if len(unread):
        blocks.section(words("data.unread"), words, note=words("data.unread_note"))
        blocks.table(words, unread, words("data.unread"), parts.quarantine_columns(words), rows=15, name="unread")
elif shown == "checks":
    checks = queries.checks(source)
    blocks.section(title, words, note="" if len(checks) else words("data.checks_none"))
    blocks.table(words, checks, title, parts.checks_columns(words), rows=20)
elif shown == "coverage":
    missing = queries.missing(source)
    blocks.section(words("data.missing") if missing else words("data.coverage_full"), words)
    if missing:
        blocks.table(words, parts.missing(words, missing), words("data.missing"), parts.missing_columns(words), rows=12)
        blocks.section(words("missing.ask"), words)
        blocks.requests(words, [one.fact for one in missing])
    blocks.section(title, words, note=words("data.coverage_note"))
    blocks.table(
        words,
        blocks.facts(words, queries.table(source, "build_coverage")),
        title,
        parts.coverage_columns(words),
        rows=25,
    )
elif shown == "builds":
    entries = data.entries(source)
    blocks.section(title, words, note=words("data.history_note"))
    blocks.table(words, parts.history(words, entries), title, parts.history_columns(words), rows=12)
    parts.compared(view, entries)
elif shown == "reach":
    parts.reach(words, title)
elif shown == "definitions":
    blocks.section(title, words)
    blocks.table(words, parts.definitions(words), title, parts.definitions_columns(words), rows=25)
else:
    blocks.section(title, words)
    blocks.table(words, queries.table(source, "factor_set"), title, parts.factors_columns(words), rows=15)
    blocks.section(words("data.models"), words)
    blocks.table(words, queries.table(source, "model_version"), words("data.models"), parts.models_columns(words))
