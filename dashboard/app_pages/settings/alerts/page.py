"""Answer: what is watched, who is told, and which alerts last."""

import streamlit as st

from dashboard.app_pages.settings.alerts import data, parts
from dashboard.shared import access, alerted, blocks, places, queries

view = st.session_state["view"]
words, source = view.words, view.source
frame = alerted.lasting(source)
found = alerted.said(words, frame, queries.metric)
blocks.heading(view, parts.finding(words, found), (), needs_rows=False)
parts.said_before()
parts.lasting(view, found)
if source.scope:
    st.info(words("alerts.whole_shop"), icon=":material/visibility_off:")
    raise places.PageEnded
parts.source_problems(words, data.source_problems(source))

rules = data.rules(source)
blocks.section(words("alerts.rules"), words, note=words("overview.alerts_note"))
counted = {rule.rule_id: int(frame["rule_id"].eq(rule.rule_id).sum()) for rule in rules}
blocks.table(words, parts.rules(words, rules, counted), words("alerts.rules"), parts.rules_columns(words), rows=12)
if access.may("save"):
    blocks.section(words("alerts.form"), words)
    parts.form(view, rules)
