"""Entry point: page config, language, the places and the bar of filters.

`streamlit run dashboard/app.py` or `backhaul dashboard`.
"""

from pathlib import Path

import streamlit as st

from dashboard.i18n import inert
from dashboard.shared import access, address, blocks, filters, places, queries, reach, renewed, take_away, upload, views
from dashboard.shared.turns import TURNS
from pipelines.errors import BackhaulError, WarehouseMissing
from pipelines.settings import Settings

st.set_page_config(page_title="Backhaul", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide")
address.arrive()
words = filters.language()
access.enter(words)
menu: dict[str, list[st.Page]] = {}
for sheet in places.SHEETS:
    is_alone = len(places.sheets(sheet.place)) == 1
    menu.setdefault("" if is_alone else words(f"place.{sheet.place}"), []).append(places.page(words, sheet))
page = st.navigation(menu, position="top")
st.session_state["sheet"] = places.sheet(page.url_path)
said, view = st.container(), None
try:
    with TURNS.taken():
        view = st.session_state["view"] = filters.bar(Settings().warehouse, words)
        if places.current().place != "settings":
            upload.arrival(words)
        queries.unfiltered()
        blocks.bottom_bar(words)
        take_away.begin()
        page.run()
        blocks.not_filtered(words)
        take_away.of_page(view)
except WarehouseMissing as reason:
    if view is not None:
        renewed.again(view.source)
    filters.language_switch()
    upload.first_start(words, str(reason))
except BackhaulError as error:  # a sentence that says what, where and what to do next
    st.error(inert(words.translated(str(error))))
except places.PageEnded:
    pass
address.leave(words, said)
views.fill(words)
reach.say(words.language)  # last: above the page it would leave a gap
