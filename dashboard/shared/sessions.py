"""Who is signed in, as the server knows it: a cookie alone opens nothing.

Streamlit keeps what the sign-in vouched for in a signed cookie. The door writes down here, by its digest, each such
cookie that it saw come back from the provider; one that is not here, or no longer, counts for nothing. Nothing is kept
on disk: when the server starts again, everybody signs in again.
"""

import hashlib
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.access import Reader

COOKIE = "_streamlit_user"
"""Name of Streamlit's identity cookie; a long one goes on in `<name>_1` and so on."""
MOST = 10_000  # signed in at once; above it the oldest is signed out
_PARTS = re.compile(rf"{COOKIE}(_\d+)?")


def digest(cookies: Mapping[str, str]) -> str:
    """Name the identity that cookies carry; nothing where they carry none.

    >>> digest({"other": "1"}), len(digest({COOKIE: "a", "other": "1"}))
    ('', 64)
    """
    parts = sorted((name, value) for name, value in cookies.items() if _PARTS.fullmatch(name) and value)
    return hashlib.sha256(repr(parts).encode()).hexdigest() if parts else ""


@dataclass
class _Session:
    began: float
    reader: Reader | None = None


class Sessions:
    """The sessions of a server, each for so many hours at most."""

    def __init__(self, hours: float = 12) -> None:
        self.seconds = hours * 3600
        self._held: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def begin(self, of: str) -> None:
        """Remember an identity that the provider has just vouched for."""
        with self._lock:
            self._held[of] = _Session(time.monotonic())
            for old in list(self._held)[:-MOST]:
                del self._held[old]

    def end(self, of: str) -> Reader | None:
        """Forget an identity; give who it was, where that is known."""
        with self._lock:
            found = self._held.pop(of, None)
        return found.reader if found else None

    def is_alive(self, of: str) -> bool:
        """Say whether an identity is signed in still."""
        with self._lock:
            found = self._held.get(of)
            if found is not None and time.monotonic() - found.began > self.seconds:
                del self._held[of]
                found = None
            return found is not None

    def is_new(self, of: str, reader: Reader) -> bool:
        """Say whether nobody asked for this identity before, and remember who it is."""
        with self._lock:
            found = self._held.get(of)
            is_new = found is not None and found.reader is None
            if found is not None:
                found.reader = reader
            return is_new


SESSIONS = Sessions()
"""Those of this server; `dashboard.server` says how long they hold."""
