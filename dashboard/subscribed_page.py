"""One page as a subscription sends it: what `app.py` shows of an address, without menu, in a run of its own.

`subscribed.py` runs it; the page and what it said stand in the session.
"""

import contextlib

import streamlit as st

from dashboard.shared import address, filters, places, queries, take_away
from pipelines.settings import Settings

address.arrive()
words = filters.language()
wanted = places.sheet(str(st.session_state["subscribed"]))
page = st.navigation([places.page(words, one, opens=wanted) for one in places.SHEETS], position="hidden")
st.session_state["sheet"] = wanted
st.session_state["view"] = filters.bar(Settings().warehouse, words)
queries.unfiltered()
take_away.begin()
with contextlib.suppress(places.PageEnded):
    page.run()
st.session_state["subscribed_unknown"] = address.unknowns()
address.leave(words, st.container())
