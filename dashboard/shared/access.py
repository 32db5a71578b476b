"""Who reads these pages: sign-in, what the reader may see and do, and what is written down of it.

Pages ask `may` and `check`; what the reader sees is in the build that `queries.source` opens for them. Without sign-in
the pages are on this machine alone and whoever has their link is the owner.
"""

from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st

from dashboard.i18n import Words, inert
from dashboard.shared import reach
from dashboard.shared.sessions import SESSIONS, digest
from dashboard.shared.theme import first_button
from pipelines.access import OWNER, Reader, Readers, audit, load_readers
from pipelines.errors import AccessError
from pipelines.settings import Settings, oidc_issuer
from pipelines.why import why

DOOR = "pages"
_for: list[Reader] = []  # whom this process reads for, where it is no server: a subscription's reader
_pressed: ContextVar[tuple[str, dict[str, Any]] | None] = ContextVar("pressed", default=None)  # whose button it was
LOOK_S = 10.0  # between two looks of an open page at whether its reader is signed in still


def is_on() -> bool:
    """Say whether readers sign in."""
    return bool(oidc_issuer())


def enter(words: Words) -> None:
    """Let a reader in, or stop the page with what they can do: called once, before anything else is shown."""
    if not is_on():
        return
    of = digest(st.context.cookies)
    if not st.user.get("is_logged_in") or not SESSIONS.is_alive(of):
        st.title(words("access.title"), anchor=False)
        st.markdown(words("access.over" if st.user.get("is_logged_in") else "access.about"))
        st.button(
            words("access.sign_in"), type=first_button(), icon=":material/login:", key="sign_in", on_click=st.login
        )
        _end(words)
    try:
        reader = _signed_in(st.user.to_dict())
    except AccessError as error:  # the file of readers is wrong: its owner is told on the server, readers that it is
        st.error(inert(words.translated(str(error))))
        _end(words)
    if reader is None:
        name = str(st.user.get("email") or st.user.get("sub") or "")
        unknown = Reader(name, "viewer")
        if SESSIONS.is_new(of, unknown):
            audit.note(Settings(), "refused", unknown, "not_in_the_file_of_readers", DOOR)
        st.title(words("access.unknown"), anchor=False)
        st.markdown(words("access.ask", name=inert(name)))
        _sign_out(words)
        _end(words)
    if SESSIONS.is_new(of, reader):
        audit.note(Settings(), "signed_in", reader, "", DOOR)
    with st.sidebar:
        st.caption(inert(words("access.reader", name=reader.name, role=words(f"access.{reader.role}"))))
        if reader.scope:
            st.caption(inert(words("access.scope", scope=within(words, reader))))
        _sign_out(words)
    _leave_when_over()


def _end(words: Words) -> NoReturn:
    """End a page that is all there is to see."""
    reach.say(words.language)
    st.stop()


@st.fragment(run_every=LOOK_S)
def _leave_when_over() -> None:
    """Take the page from the screen of a reader whose sign-in ended, or who may not read any more."""
    try:
        current()
    except AccessError:
        st.rerun()


def _sign_out(words: Words) -> None:
    st.button(words("access.sign_out"), icon=":material/logout:", type="tertiary", key="sign_out", on_click=st.logout)


def within(words: Words, reader: Reader) -> str:
    """Name what a reader is kept to."""
    return "; ".join(
        words.pair(words.dimension(name), ", ".join(words.value(name, value) for value in values))
        for name, values in reader.scope.allowed.items()
    )


def read_as(reader: Reader) -> None:
    """Have this process read for somebody who is not there: a page is made for their subscription."""
    _for[:] = [reader]


def current() -> Reader:
    """Give who reads, looked at anew each time; raises AccessError for who is signed out or let in no longer."""
    if _for:
        return _for[0]
    if not is_on():
        return OWNER
    of, claims = _pressed.get() or _signature()
    reader = _signed_in(claims) if SESSIONS.is_alive(of) else None
    if reader is None:
        raise AccessError(why("signed_out"))
    return reader


def _signature() -> tuple[str, dict[str, Any]]:
    """Give the sign-in of the page that runs, and what it says of who it is."""
    return digest(st.context.cookies), st.user.to_dict()


def _signed_in(claims: dict[str, Any]) -> Reader | None:
    """Give the reader that a sign-in vouches for, as the file says now."""
    if not claims.get("is_logged_in"):
        return None
    settings = Settings()
    path = settings.readers_file.absolute()
    seen = path.stat() if path.exists() else None
    readers = _read(path, (seen.st_mtime_ns, seen.st_size, seen.st_ino) if seen else ())
    return readers.signed_in(claims, settings.oidc_groups)


@lru_cache(8)
def _read(path: Path, seen: tuple[int, ...]) -> Readers:
    """Read the file of readers once as long as it is the same."""
    return load_readers(Settings())


def may(right: str) -> bool:
    """Say whether the reader has a right, to show or hide what needs it."""
    return current().may(right)


def check(right: str) -> Reader:
    """Give the reader where they have a right; raises AccessError, and writes the refusal down, where not."""
    reader = current()
    if not reader.may(right):
        audit.note(Settings(), "refused", reader, right, DOOR)
        raise AccessError(why("not_allowed", role=reader.role, right=right))
    return reader


def changed(what: str, right: str = "change") -> Reader:
    """Write down that the reader changes what is everybody's, or theirs; raises AccessError where they may not."""
    reader = check(right)
    if right == "change":
        see_newest()
    if is_on():
        audit.note(Settings(), "changed", reader, what, DOOR)
    return reader


def see_newest() -> None:
    """Let this session see each new build at once: who loads wants to see what came of it."""
    st.session_state["sees_newest"] = True


def sees_newest() -> bool:
    """Say whether this session sees each new build before its pages are ready."""
    return bool(st.session_state.get("sees_newest"))


def saved(*what: str) -> Reader:
    """Write down that the reader keeps or changes what analysts may; raises AccessError where they may not."""
    return changed(" ".join(what), "save")


def exporting(what: str, make: Callable[[], bytes]) -> Callable[[], bytes]:
    """Give what makes a file for the reader when they press its button, and writes it down.

    It runs outside of the page, where nobody is signed in: it goes by the sign-in of the page that shows the button,
    looked at anew then. Raises AccessError where they may not have the file.
    """
    signature = _signature() if is_on() and not _for else None

    def made() -> bytes:
        before = _pressed.set(signature)
        try:
            reader = check("export")
            content = make()
        finally:
            _pressed.reset(before)
        if is_on():
            audit.note(Settings(), "exported", reader, what, DOOR)
        return content

    return made
