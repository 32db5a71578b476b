"""The address of a page holds the whole view, in codes: it is read and written here, and nowhere else.

A control says under which name it stands in the address, and which codes it knows (`choice`, `choices`); after it was
shown, what was chosen is held (`hold`). `arrive` begins a run of the app and `leave` ends it: there the address is
written, and what it named that no control knew is said.

The session holds the view between runs. An address is taken when it was not written by the run before: a link, a
bookmark, a step back. A step to another page without anything in the address keeps what pages share.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from dashboard.i18n import Words

Codes = dict[str, list[str]]
ON_ITS_WAY = 2.0
"""Seconds after the address was written in which a click may still come from the page with the address before."""


@dataclass
class _Address:
    """What the last run wrote, when and where, and what stood there before.

    What this run takes from the address, what of it no control knew, what it holds, and what of that pages share.
    """

    at: str = ""
    written: Codes | None = None
    before: Codes | None = None
    written_at: float = 0.0
    given: Codes | None = None
    unknown: list[tuple[str, str]] = field(default_factory=list)
    held: Codes = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)


def _address() -> _Address:
    found: _Address = st.session_state.setdefault("_address", _Address())
    return found


def read() -> Codes:
    """Give what stands in the address."""
    return {name: st.query_params.get_all(name) for name in st.query_params}


def arrive() -> None:
    """Begin a run: see whether the address was written by the run before, or is to be taken."""
    address, now, at = _address(), read(), _place()
    is_ours = now == address.written or (address.written is not None and not now and at != address.at)
    is_late = now == address.before and time.monotonic() - address.written_at < ON_ITS_WAY
    address.given = None if is_ours or is_late else now
    address.at, address.unknown, address.held, address.shared = at, [], {}, set()


def _place() -> str:
    """Give the path of the page in the browser; nothing without one."""
    return str(st.context.url or "").split("?")[0]


def choice(key: str, options: Iterable[str], default: str) -> None:
    """Set a control of one code from the address, before it is shown; what it does not know is noted."""
    known = list(options)
    taken = _taken(key)
    if taken is not None:
        found = [code for code in taken if code in known]
        _note(key, [code for code in taken if code not in known])
        st.session_state[key] = found[0] if found else default
    elif st.session_state.get(key) not in known:
        st.session_state[key] = default


def choices(key: str, options: Sequence[str]) -> None:
    """Set a control of several codes from the address, before it is shown."""
    taken = _taken(key)
    chosen = st.session_state.get(key, []) if taken is None else taken
    known = set(options)
    if taken is not None:
        _note(key, [code for code in taken if code not in known])
    st.session_state[key] = [code for code in chosen if code in known]


def given(key: str) -> list[str] | None:
    """Take the codes of a name as they stand in the address; None where the session goes on."""
    return _taken(key)


def smaller(key: str) -> None:
    """Read the codes of a name in small letters, however they are written."""
    taken = _address().given
    if taken is not None and key in taken:
        taken[key] = [code.lower() for code in taken[key]]


def unknown(key: str, code: str) -> None:
    """Note a code that a control does not know."""
    _note(key, [code])


def _taken(key: str) -> list[str] | None:
    address = _address()
    return None if address.given is None else address.given.pop(key, [])


def _note(key: str, codes: Iterable[str]) -> None:
    _address().unknown += [(key, code) for code in codes]


def hold(key: str, *codes: str, is_shared: bool = False) -> None:
    """Put what was chosen into the address; nothing where it is what stands there without.

    What is shared goes along to other pages.
    """
    address = _address()
    address.held.pop(key, None)
    if codes:
        address.held[key] = list(codes)
    if is_shared:
        address.shared.add(key)


def view(**more: Any) -> list[tuple[str, str]]:
    """Give the filters of the view for a link to another page, with more of one's own.

    What belongs to this page alone stays behind; a code of None leaves a filter out.
    """
    address = _address()
    whole = {name: codes for name, codes in address.held.items() if name in address.shared} | more
    listed = {name: [codes] if isinstance(codes, str) else codes or [] for name, codes in whole.items()}
    return [(name, str(code)) for name, codes in listed.items() for code in codes]


def written() -> Codes:
    """Give the whole view as the last run that ended wrote it."""
    return dict(_address().written or {})


def here() -> str:
    """Give the address of the page that is shown, without what follows it; nothing without a browser."""
    return _place()


def unknowns() -> list[tuple[str, str]]:
    """List what the address named in vain: names and codes that no control of the page knew."""
    address = _address()
    left = [] if address.given is None else [(name, code) for name, codes in address.given.items() for code in codes]
    return [*address.unknown, *left]


def leave(words: Words, place: Any) -> None:
    """End a run: say in a place of the page what the address named in vain, and write it anew."""
    address, unknown = _address(), unknowns()
    address.given = None
    for name, code in unknown:
        place.warning(words("address.unknown", name=_named(words, name), code=code), icon=":material/link_off:")
    if (before := read()) != address.held:
        st.query_params.from_dict(address.held)
        address.before, address.written_at = before, time.monotonic()
    address.written = address.held


def _named(words: Words, name: str) -> str:
    return words.dimension({"against": "comparison"}.get(name, name))
