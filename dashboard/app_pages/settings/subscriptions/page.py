"""Answer: which pages are sent to whom, when, and does it arrive."""

import streamlit as st

from dashboard.app_pages.settings.subscriptions import data, parts
from dashboard.shared import access, blocks

view = st.session_state["view"]
words, source = view.words, view.source
found = data.listed(source)
blocks.heading(view, parts.finding(words, found), (), needs_rows=False)
parts.said_before()
parts.failing(words, found)
if found:
    title = words("subscriptions.list")
    blocks.section(title, words, note=words("subscriptions.list_note"))
    blocks.table(words, parts.table(view, found), title, parts.subscriptions_columns(words), rows=10)
if data.can_hold():
    blocks.section(words("subscriptions.form"), words, note=words("subscriptions.form_note"))
    parts.form(view, found)
else:
    st.info(words("subscriptions.cannot" if access.may("save") else "subscriptions.ask"), icon=":material/info:")
