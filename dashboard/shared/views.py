"""What is kept of a view: the build that a link is pinned to, views saved by name, and the link to share.

A link to share holds the days, the filters and the build, and so shows the same numbers to everybody who may see them
for as long as the build is kept. A saved view is an address under a name, each reader's own.
"""

import datetime as dt
from pathlib import Path
from urllib.parse import urlencode

import streamlit as st

from dashboard.i18n import Words, inert
from dashboard.shared import access, address, places, queries
from dashboard.shared.builds import SEEN
from pipelines.errors import BackhaulError, WarehouseMissing
from pipelines.people import saved_views
from pipelines.people.saved_views import SavedView
from pipelines.settings import Settings
from pipelines.warehouse.build import current_id, is_there

BUILD = "build"
_PINNED = "pinned_build"


def source(warehouse: Path, words: Words) -> queries.Source:
    """Name the build of the page: that of all readers, or one that the address is pinned to; say where it is gone."""
    taken = address.given(BUILD)
    if taken is not None:
        st.session_state[_PINNED] = taken[0] if taken else None
    pinned = st.session_state.get(_PINNED)
    if pinned:
        try:
            if is_there(warehouse, pinned):
                found = queries.source(warehouse, pinned)
                address.hold(BUILD, pinned, is_shared=True)
                return found
        except WarehouseMissing:  # of another version, or damaged
            pass
        st.session_state[_PINNED] = None
        st.warning(words("share.gone"), icon=":material/link_off:")
    return queries.source(warehouse, None if access.sees_newest() else SEEN.id(warehouse))


def controls(words: Words, asked: queries.Source, *, is_narrow: bool) -> None:
    """Show what the view is pinned to, the saved views, and a place for the link to share, which `fill` fills."""
    if st.session_state.get(_PINNED) or asked.build_id != current_id(asked.warehouse):
        st.button(
            words("share.pinned", at=_made_at(words, asked.build_id)),
            key="chip_build",
            icon=":material/close:",
            icon_position="right",
            help=words("share.newest"),
            on_click=_unpin,
        )
    if is_narrow:
        with st.popover(words("views.pill_narrow"), icon=":material/bookmark:"):
            _saved(words, asked)
            st.session_state["share_place"] = st.container()
        return
    with st.popover(words("views.pill"), icon=":material/bookmark:"):
        _saved(words, asked)
    with st.popover(words("share.pill"), icon=":material/share:"):
        st.session_state["share_place"] = st.container()


def _made_at(words: Words, build_id: str) -> str:
    return words.hour(dt.datetime.strptime(build_id.partition("-")[2], "%Y%m%dT%H%M%S"))


def _unpin() -> None:
    st.session_state[_PINNED] = None
    access.see_newest()


def fill(words: Words) -> None:
    """Show the link to share, once the address of the view is written."""
    place, view = st.session_state.pop("share_place", None), st.session_state.get("view")
    if place is None or view is None:
        return
    with place:
        st.caption(words("share.about", since=words.day(view.since), until=words.day(view.until)))
        st.code(link(view.source.build_id, view.since, view.until), language=None, wrap_lines=True)


def link(build_id: str, since: dt.date, until: dt.date) -> str:
    """Write the address of the view with its days and its build."""
    pinned = {"period": ["custom"], "days": [f"{since.isoformat()}..{until.isoformat()}"], BUILD: [build_id]}
    return f"{address.here()}?{urlencode(address.written() | pinned, doseq=True)}"


def reader() -> str:
    """Name whose views these are; nothing where nobody signs in."""
    return access.current().name if access.is_on() else ""


def settings_of(asked: queries.Source) -> Settings:
    """Give the settings of what is a reader's own, within whatever scope."""
    return Settings(warehouse=asked.warehouse)


def own(asked: queries.Source) -> list[SavedView]:
    """List the reader's saved views."""
    return saved_views.saved(settings_of(asked), reader())


def _saved(words: Words, asked: queries.Source) -> None:
    """List the saved views as links, and let the reader save this one."""
    found = own(asked)
    for one in found:
        open_link(words, one)
    if not found:
        st.caption(words("views.none"))
    if access.may("save"):
        st.text_input(words("views.name"), key="view_name", max_chars=saved_views.LONGEST)
        st.button(words("views.save"), key="view_save", icon=":material/bookmark_add:", on_click=_save, args=(asked,))
    if problem := st.session_state.pop("view_problem", None):
        st.error(inert(words.translated(problem)))


def open_link(words: Words, one: SavedView) -> None:
    """Show a saved view as a link to it; one of a page that is no more is named alone."""
    if one.page not in places.BY_ADDRESS:
        st.caption(inert(one.name))
        return
    codes = [(name, code) for name, listed in one.codes.items() for code in listed]
    spoken = [("lang", words.language)] if words.language != "en" else []
    st.page_link(
        places.page(words, places.sheet(one.page)),
        label=inert(one.name),
        icon=":material/bookmark:",
        query_params=[*codes, *spoken] or None,
    )


def _save(asked: queries.Source) -> None:
    """Keep the view that is shown under the name that was written."""
    codes = {name: listed for name, listed in address.written().items() if name != "lang"}
    try:
        access.saved("view_saved")
        name = str(st.session_state.get("view_name") or "")
        saved_views.save(settings_of(asked), reader(), name, places.current().address, codes)
        st.session_state["view_name"] = ""
    except BackhaulError as error:
        st.session_state["view_problem"] = str(error)
