"""Entry point: page config, language, navigation and the shared filters.

`streamlit run dashboard/app.py` or `backhaul dashboard`.
"""

from pathlib import Path

import streamlit as st

from dashboard.i18n import inert
from dashboard.shared import access, blocks, filters, queries, upload
from pipelines.errors import BackhaulError, WarehouseMissing
from pipelines.settings import Settings

PAGES = {
    "overview": ":material/monitoring:",
    "returns": ":material/assignment_return:",
    "products": ":material/apparel:",
    "accounts": ":material/balance:",
    "promises": ":material/schedule:",
    "policies": ":material/gavel:",
    "margin": ":material/payments:",
    "recovery": ":material/recycling:",
    "whatif": ":material/alt_route:",
    "forecast": ":material/trending_up:",
    "emissions": ":material/eco:",
    "data": ":material/database:",
}

st.set_page_config(page_title="Backhaul", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide")
words = filters.language()
access.enter(words)
pages = [
    st.Page(
        f"app_pages/{name}/page.py",
        title=words(f"page.{name}"),
        icon=icon,
        help=words(f"question.{name}"),
        default=name == "overview",
        url_path=name,
    )
    for name, icon in PAGES.items()
]
page = st.navigation(pages)
try:
    st.session_state["view"] = filters.sidebar(Settings().warehouse, words)
except WarehouseMissing as reason:
    upload.first_start(words, str(reason))
else:
    if page.url_path != "data":
        upload.arrival(words)
    queries.unfiltered()
    try:
        page.run()
        blocks.not_filtered(words)
    except BackhaulError as error:  # a sentence that says what, where and what to do next
        st.error(inert(words.translated(str(error))))
