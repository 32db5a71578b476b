"""Answer: what do we promise, to whom, since when."""

import streamlit as st

from dashboard.app_pages.refunds.policies import data, parts
from dashboard.i18n import inert
from dashboard.shared import blocks

view = st.session_state["view"]
words, source = view.words, view.source
versions = data.policy_versions(source)
blocks.heading(view, parts.policies(words, versions), (), needs_rows=False)

shown = blocks.choose(words)
names = data.policy_names(source)
if not names and shown != "draft":
    blocks.nothing(words("policies.none"))
elif shown == "versions":
    blocks.section(words("policies.versions"), words, note=words("policies.versions_note"))
    blocks.table(words, versions, words("policies.versions"), parts.policies_columns(words), rows=12)
    chosen = blocks.pick_one(words("policies.one"), "policy", names)
    blocks.section(inert(names[chosen]), words)
    left, right = st.columns(2, gap="large")
    with left:
        blocks.table(
            words, parts.policy(words, source, chosen), words("policies.terms"), parts.terms_columns(words), rows=12
        )
    with right:
        told = data.policy_promises(source, chosen)
        blocks.table(words, told, words("policies.promises"), parts.promised_columns(words), rows=12)
elif shown == "compare":
    left, right = st.columns(2)
    with left:
        one = blocks.pick_one(words("policies.first"), "policy", names)
    with right:
        other = blocks.pick_one(words("policies.second"), "other_policy", names)
    blocks.section(parts.compared(words, data.policy_changes(source, one, other)), words)
    found = parts.policy_changes(words, data.policy_changes(source, one, other))
    if len(found):
        blocks.table(
            words,
            found,
            words("policies.tab_compare"),
            parts.policy_changes_columns(words, names[one], names[other]),
            rows=15,
        )
else:
    parts.draft(view, names)
