"""The server warms itself: what its readers ask first is answered before they ask.

A process of its own at a low priority opens each page of the newest build as it is opened first, then page by page
under each single filter, and hands over what was remembered: the very answers that the same questions get, within the
scope that they were asked in. The next build ends it and begins another. Where the pages take long, readers stay with
the build before until they are ready. Nothing is written.
"""

import functools
import gc
import importlib
import math
import os
import pkgutil
import subprocess
import sys
import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from pickle import PicklingError  # nosec B403
from typing import Any

from dashboard import app_pages
from dashboard.shared import access, filters, places, queries
from dashboard.shared.builds import SEEN
from dashboard.shared.memory import MEMORY
from models import notes
from pipelines.access import OWNER, Reader, load_readers
from pipelines.cli.pages import environment
from pipelines.errors import BackhaulError
from pipelines.metrics import handed
from pipelines.metrics.sums import Habit
from pipelines.settings import Settings
from pipelines.warehouse.build import current_id

LOOK_S = 2.0  # between two looks at which build is the newest
SOON_S = 60.0  # that the pages of a build may take for readers to go over to the next one at once
LATEST_S = 900.0  # after which readers go over to a newer build though its pages are not ready
FIRST = ("today", "try-policy")
"""Pages that are opened under each single filter before others are: the lines of numbers and the grid of policies."""
ADDRESSES = tuple(sheet.address for sheet in places.SHEETS if sheet.place != "settings")
OWN = frozenset(
    {"statements", "history", "days", "lossy", "answers"}
)  # of what a build's readers worked out: what stays in their process
_PAGE = Path(__file__).with_name("subscribed_page.py")
MOST_SECONDS = 900  # for one page


class Warming:
    """What warms a server: it looks which build readers see, and has its first questions answered."""

    def __init__(self, settings: Settings, addresses: Sequence[str] = ADDRESSES) -> None:
        self.build_id: str | None = None  # whose questions are all answered
        self.answers = 0
        self._settings, self._addresses = settings, tuple(addresses)
        self._seen: str | None = None  # the build that readers see
        self._took_s = 0.0  # until the pages of the build before were ready
        self._waits_since: float | None = None  # when the first build came that readers do not see yet
        self._staged: list[tuple[Any, Any]] = []  # what was answered of the build that they do not see yet

    def begin(self) -> None:
        """Begin, beside the server, until it ends."""
        threading.Thread(target=self._watch, name="warming", daemon=True).start()

    def _watch(self) -> None:
        import_pages()
        try:
            while True:
                build_id = current_id(self._settings.warehouse)
                if build_id is not None and build_id != self.build_id:
                    self.warm(build_id)
                time.sleep(LOOK_S)
        finally:  # whatever ends it, nobody stays with an earlier build for ever
            SEEN.go_over(self._settings.warehouse)

    def warm(self, build_id: str) -> None:
        """Have the first questions of a build answered and remember what comes, unless another build takes over."""
        settings, began = self._settings, time.monotonic()
        self._staged.clear()
        if self._seen is None or build_id <= self._seen or self._took_s <= SOON_S:  # an earlier one: it was rolled back
            self._go_over(build_id)
        else:
            SEEN.stay(settings.warehouse, self._seen)
            self._waits_since = self._waits_since or began
        self._took_s = math.inf
        with subprocess.Popen(
            [sys.executable, "-P", __file__, str(settings.warm_minutes), *self._addresses],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a page that fails here says so where it is opened
            env=environment(settings.warehouse),
        ) as child:
            assert child.stdout is not None
            told = Connection(os.dup(child.stdout.fileno()), writable=False)
            try:
                while current_id(settings.warehouse) == build_id:
                    is_ready = told.poll(LOOK_S) and self._take(told.recv())
                    if is_ready:
                        self._took_s = min(self._took_s, time.monotonic() - began)
                    if is_ready or self._has_waited():
                        self._go_over(build_id)
            except (EOFError, OSError):  # it came to its end, or was ended amid a word
                self._took_s = min(self._took_s, time.monotonic() - began)
                self._go_over(build_id)
                self.build_id = build_id
            finally:
                told.close()
                child.terminate()
        _stays()

    def _has_waited(self) -> bool:
        return self._waits_since is not None and time.monotonic() - self._waits_since > LATEST_S

    def _go_over(self, build_id: str) -> None:
        """Let readers see a build. It begins with room: what was answered of earlier ones is forgotten."""
        if self._seen != build_id:
            MEMORY.forget()
            self._seen = build_id
        for key, answer in self._staged:
            MEMORY.keep(key, answer, takes_room=False)
        self._staged.clear()
        self._waits_since = None
        if self._took_s > SOON_S:  # a newer one is not seen the moment it is published
            SEEN.stay(self._settings.warehouse, build_id)
        else:
            SEEN.go_over(self._settings.warehouse)

    def _take(self, told: tuple[str, Any, Any]) -> bool:
        """Take what the process hands over; say whether it says that the pages are ready."""
        kind, of, found = told
        if kind == "answer":
            self.answers += 1
            if self._waits_since is None:
                MEMORY.keep(of, found, takes_room=False)
            else:
                self._staged.append((of, found))
        elif kind == "sums":
            handed.take(queries.opened(of), *found)
        elif kind == "build":
            queries.opened(of).cache.setdefault(*found)
        return kind == "ready"


def import_pages() -> None:
    """Import what pages are made of, so that none waits for it."""
    for found in pkgutil.walk_packages(app_pages.__path__, f"{app_pages.__name__}."):
        if not found.name.endswith(".page"):
            importlib.import_module(found.name)
    for name in notes.IMPORTED_LATE:
        importlib.import_module(name)
    _stays()
    gc.set_threshold(50_000, 20, 1_000)  # Streamlit collects after each pass: amid one it would be done twice


def _stays() -> None:
    """Leave what is there out of the collection of garbage: it stays, and each pass would look through all of it.

    What was left out before and is no more used, an earlier build and what its readers were shown, is collected first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def main() -> None:
    """Open pages of the newest build and send what was remembered: first each page, then each under single filters.

    What the process of its own runs, told the minutes of processor time it has, and the addresses.
    """
    minutes, addresses, warehouse = float(sys.argv[1]), sys.argv[2:], Settings().warehouse
    connection = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # what pages print is no answer
    _yield_to_others(10)
    _look_for_components_once()
    MEMORY.told = lambda key, found: _send(connection, "answer", key, found)
    Habit.of_every_value = True
    told: dict[queries.Source, set[Hashable]] = {}
    for to_open in (_as_opened_first, _under_filters):
        for source, views in to_open(warehouse, addresses):
            _tell_build(connection, source)
            for address, codes in views:
                if time.process_time() > 60 * minutes:
                    return
                opened(address, codes)
                for sums in handed.hand_over(queries.opened(source), told.setdefault(source, set())):
                    _send(connection, "sums", source, sums)
            _tell_build(connection, source)
        _send(connection, "ready", None, None)
        _yield_to_others(9)


def _look_for_components_once() -> None:
    """Keep what is found among the installed packages: each page that is opened here would look through all of them."""
    from streamlit.components.v2 import manifest_scanner as scanner

    scanner.scan_component_manifests = functools.cache(scanner.scan_component_manifests)


def _yield_to_others(more: int) -> None:
    """Let all other processes go first, by so much more."""
    if hasattr(os, "nice"):
        os.nice(more)


ToOpen = Iterator[tuple[queries.Source, Iterator[tuple[str, dict[str, str]]]]]
"""What is opened, for whom: pages, each under filters."""


def _as_opened_first(warehouse: Path, addresses: Sequence[str]) -> ToOpen:
    """List each page for every scope there is."""
    for reader in readers(warehouse):
        yield _source_of(reader, warehouse), ((address, {}) for address in addresses)


def _under_filters(warehouse: Path, addresses: Sequence[str]) -> ToOpen:
    """List single filters of the whole shop.

    All pages under one value of each filter come before further values, which need little more.
    """
    whole = _source_of(OWNER, warehouse)
    first = [address for address in FIRST if address in addresses]
    for some in (first, [address for address in addresses if address not in FIRST]):
        yield whole, ((address, codes) for codes in cells(whole) for address in some)


def _source_of(reader: Reader, warehouse: Path) -> queries.Source:
    access.read_as(reader)
    return queries.source(warehouse)


def readers(warehouse: Path) -> list[Reader]:
    """Name a reader of each scope that somebody reads within, the whole shop first."""
    try:
        scopes = load_readers(Settings(warehouse)).scopes
    except BackhaulError:  # who reads is looked at anew, and told, when somebody does
        scopes = ()
    return [OWNER, *(Reader("warming", "viewer", scope) for scope in scopes)]


def cells(source: queries.Source) -> list[dict[str, str]]:
    """List the single filters that the bar offers, one value of each in turn."""
    listed = [
        [{filters.widget_key(name): value} for value in values]
        for name in (*filters.DIMENSIONS, *queries.own_dimensions(source))
        if len(values := queries.values(source, name)) > 1
    ]
    most = max(map(len, listed), default=0)
    return [values[at] for at in range(most) for values in listed if at < len(values)]


def opened(address: str, codes: dict[str, str]) -> bool:
    """Open a page as a reader does whose address holds these codes; say whether it came to its end."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(_PAGE), default_timeout=MOST_SECONDS)
    app.session_state["subscribed"] = address
    for name, code in codes.items():
        app.query_params[name] = code
    try:
        return not app.run().exception
    except RuntimeError:  # it took too long
        return False


def _tell_build(connection: Connection, source: queries.Source) -> None:
    """Send what was worked out of a build for any of its answers."""
    for name, value in list(queries.opened(source).cache.items()):
        if name not in OWN:
            _send(connection, "build", source, (name, value))


def _send(connection: Connection, kind: str, of: Any, found: Any) -> None:
    """Send one thing, unless it can only stay in its process; a server that is gone ends this process."""
    try:
        whole = ForkingPickler.dumps((kind, of, found))
    except (PicklingError, AttributeError, TypeError):
        return
    try:
        connection.send_bytes(whole)
    except OSError:
        os._exit(0)


if __name__ == "__main__":
    main()
