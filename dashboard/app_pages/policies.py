"""Answer: what do we promise, to whom, since when."""

import streamlit as st

from dashboard import blocks, columns, findings, queries
from dashboard.i18n import inert

view = st.session_state["view"]
words, source = view.words, view.source
versions = queries.policy_versions(source)
blocks.heading(view, findings.policies(words, versions), "policies", (), needs_rows=False)

shown = blocks.choose(words, "policies", "versions", "compare", "draft")
names = queries.policy_names(source)
if not names and shown != "draft":
    blocks.nothing(words("policies.none"))
elif shown == "versions":
    blocks.section(words("policies.versions"), words, note=words("policies.versions_note"))
    blocks.table(words, versions, words("policies.versions"), columns.policies(words), rows=12)
    chosen = blocks.pick_one(words("policies.one"), "policy", names)
    blocks.section(inert(names[chosen]), words)
    left, right = st.columns(2, gap="large")
    with left:
        blocks.table(
            words, blocks.policy(words, source, chosen), words("policies.terms"), columns.terms(words), rows=12
        )
    with right:
        told = queries.policy_promises(source, chosen)
        blocks.table(words, told, words("policies.promises"), columns.promised(words), rows=12)
elif shown == "compare":
    left, right = st.columns(2)
    with left:
        one = blocks.pick_one(words("policies.first"), "policy", names)
    with right:
        other = blocks.pick_one(words("policies.second"), "other_policy", names)
    blocks.section(findings.compared(words, queries.policy_changes(source, one, other)), words)
    found = blocks.policy_changes(words, queries.policy_changes(source, one, other))
    if len(found):
        blocks.table(
            words,
            found,
            words("policies.tab_compare"),
            columns.policy_changes(words, names[one], names[other]),
            rows=15,
        )
else:
    blocks.draft(view, names)
