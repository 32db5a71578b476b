"""Answer: what do we aim at, what happened when, and which views are kept."""

import streamlit as st

from dashboard.app_pages.settings.plan import data, parts
from dashboard.shared import blocks

view = st.session_state["view"]
words = view.words
blocks.heading(view, parts.finding(words, data.target_list(words, view.source)), (), needs_rows=False)
shown = blocks.choose(words)
{"targets": parts.targets, "notes": parts.notes, "views": parts.saved}[shown](view)
