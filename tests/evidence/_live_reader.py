"""A reader without a browser: a session of the pages' server, spoken to as a browser does, by its socket.

It opens addresses, turns to other pages, changes the filters of the bar and opens the rows behind numbers; of each view
it keeps how long it took until it was drawn, the build it was drawn from and whatever went wrong on it.
"""

import asyncio
import math
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import websockets
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from dashboard.shared.filters import DIMENSIONS

THINKS_S = 20.0  # the middle of the time between two views
COMES_BACK_S = 5.0  # after its socket was closed
PATIENCE_S = 300.0  # until a view is drawn
HASTY, LEAVES = 0.05, 0.05  # shares of the views: something else is clicked before it is drawn, the reader goes
BUILD = re.compile(r"[?&]build=([0-9]{6,}-[0-9]{8}T[0-9]{6})")
SHARES = {"page": 0.45, "filter": 0.25, "period": 0.1, "rows": 0.2}
"""What readers do: turn to another page, change a filter, change the period, open the rows behind a number."""


@dataclass(frozen=True)
class View:
    """One view: what was done, when and how long it took until it was drawn, its build, and what went wrong."""

    kind: str
    began: float
    seconds: float
    build_id: str = ""
    wrong: tuple[str, ...] = ()


@dataclass
class Seen:
    """What stands on the page: what can be used, and what it says."""

    multiselects: dict[str, Any] = field(default_factory=dict)
    radios: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)  # the fragments of the buttons that open rows
    build_id: str = ""
    has_title: bool = False
    wrong: list[str] = field(default_factory=list)

    def add(self, delta: Any) -> None:
        """Take one element of the page."""
        if delta.WhichOneof("type") != "new_element":
            return
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.wrong.append(f"{element.exception.type}: {element.exception.message}")
        elif kind == "alert" and element.alert.format == Alert.ERROR:
            self.wrong.append(element.alert.body)
        elif kind == "heading":
            self.has_title |= element.heading.tag == "h1"
        elif kind == "code":
            found = BUILD.search(element.code.code_text)
            self.build_id = found[1] if found else self.build_id
        elif kind == "multiselect" and element.multiselect.id.endswith(tuple(f"-{name}" for name in DIMENSIONS)):
            self.multiselects[element.multiselect.id] = element.multiselect
        elif kind == "radio" and element.radio.id.endswith("-period"):
            self.radios[element.radio.id] = element.radio
        elif kind == "button" and element.button.id.endswith("_rows") and delta.fragment_id:
            self.rows[element.button.id] = delta.fragment_id


class Reader:
    """One reader: comes, looks at views until it is over, goes and comes again."""

    def __init__(self, address: str, pages: list[str], seed: int, told: Callable[[View], None]) -> None:
        self._address, self._pages, self._draw, self._told = address, pages, random.Random(seed), told
        self._socket: Any = None
        self._forget()

    def _forget(self) -> None:
        self.seen = Seen()
        self._known: dict[str, str] = {}  # the hash of each page's script
        self._path, self._query, self._script, self._runs = "", "", "", 0

    async def until(self, end: float) -> None:
        """Read until a moment of the monotonic clock."""
        await asyncio.sleep(self._draw.uniform(0, THINKS_S))
        while time.monotonic() < end:
            try:
                await self._visit(end)
            except (OSError, websockets.WebSocketException) as error:
                self._told(View("socket", time.monotonic(), 0.0, wrong=(f"the socket: {error!r}"[:200],)))
                await asyncio.sleep(COMES_BACK_S)

    async def stay(self, end: float) -> None:
        """Come at the beginning, leave the page open until the end, then open the rows behind each of its numbers."""
        try:
            async with self._connected() as self._socket:
                self._path = "returns"
                await self._view("open", self._rerun())
                await asyncio.sleep(max(end - time.monotonic(), 0.0))
                for number in range(len(self.seen.rows)):
                    offered = list(self.seen.rows.items())  # by then: the page may have been drawn anew
                    await self._view("left open", self._pressed(*offered[number % len(offered)]))
        except (OSError, websockets.WebSocketException) as error:
            self._told(View("socket", time.monotonic(), 0.0, wrong=(f"the socket: {error!r}"[:200],)))

    def _connected(self) -> Any:
        return websockets.connect(
            f"ws://{self._address.removeprefix('http://')}/_stcore/stream",
            origin=websockets.Origin(self._address),
            subprotocols=[websockets.Subprotocol("streamlit")],
            additional_headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"},
            max_size=None,
            compression=None,
            open_timeout=PATIENCE_S,
            ping_interval=None,  # a browser does not ask whether the server is there
        )

    async def _visit(self, end: float) -> None:
        """Come by an address, look at views, and go."""
        self._forget()
        async with self._connected() as self._socket:
            self._path = self._draw.choice(["", *self._pages])
            await self._view("open", self._rerun())
            while time.monotonic() < end and self._draw.random() > LEAVES:
                await asyncio.sleep(self._draw.lognormvariate(math.log(THINKS_S), 0.5))
                if time.monotonic() < end:
                    (kind,) = self._draw.choices(list(SHARES), list(SHARES.values()))
                    await self._view(*self._chosen(kind))

    def _chosen(self, kind: str) -> tuple[str, BackMsg]:
        """Do something of a kind, where the page offers it; else turn to another page."""
        if kind == "filter" and self.seen.multiselects:
            one = self._draw.choice(list(self.seen.multiselects.values()))
            message = self._rerun()
            state = message.rerun_script.widget_states.widgets.add(id=one.id)
            state.string_array_value.data[:] = self._draw.sample(list(one.options), self._draw.choice((0, 1, 1, 1)))
            return kind, message
        if kind == "period" and self.seen.radios:
            one = self._draw.choice(list(self.seen.radios.values()))
            message = self._rerun()
            message.rerun_script.widget_states.widgets.add(id=one.id, string_value=self._draw.choice(one.options[:5]))
            return kind, message
        if kind == "rows" and self.seen.rows:
            return kind, self._pressed(*self._draw.choice(list(self.seen.rows.items())))
        self._path, self._query = self._draw.choice(self._pages), ""
        self._script = self._known.get(self._path, "")
        return "page", self._rerun()

    def _pressed(self, button: str, fragment: str) -> BackMsg:
        message = self._rerun()
        message.rerun_script.fragment_id = fragment
        message.rerun_script.widget_states.widgets.add(id=button, trigger_value=True)
        return message

    def _rerun(self) -> BackMsg:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self._query, self._script
        if not self._script:
            state.page_name = self._path
        state.context_info.timezone, state.context_info.locale = "Europe/Paris", "en-GB"
        state.context_info.url = f"{self._address}/{self._path}"
        return message

    async def _view(self, kind: str, message: BackMsg) -> None:
        """Ask for a view and wait until it is drawn; who is hasty clicks something else meanwhile."""
        await self._caught_up()
        began, self.seen.wrong = time.monotonic(), []
        await self._socket.send(message.SerializeToString())
        patience_s = self._draw.uniform(0.2, 2.0) if self._draw.random() < HASTY else PATIENCE_S
        is_drawn = await self._drawn(self._runs + 1, patience_s)
        if not is_drawn and patience_s < PATIENCE_S:
            kind, message = self._chosen("page")
            await self._socket.send(message.SerializeToString())
            is_drawn = await self._drawn(self._runs + 1, PATIENCE_S)
        wrong = [f"{self._path or 'today'}, {kind}: {one}"[:300] for one in self.seen.wrong]
        if not is_drawn:
            wrong.append(f"{self._path}, {kind}: not drawn in {PATIENCE_S:.0f} s")
        elif not self.seen.has_title:
            wrong.append(f"{self._path}, {kind}: no title")
        whole = "" if kind in ("rows", "left open") else self.seen.build_id
        self._told(View(kind, began, time.monotonic() - began, whole, tuple(wrong)))

    async def _drawn(self, least: int, patience_s: float) -> bool:
        """Read on until a run that began after the last click has come to its end; say whether it did in time."""
        end = time.monotonic() + patience_s
        while (left := end - time.monotonic()) > 0:
            try:
                is_over = self._hear(await asyncio.wait_for(self._socket.recv(), left))
            except TimeoutError:
                return False
            if is_over and self._runs >= least:
                return True
        return False

    async def _caught_up(self) -> None:
        """Hear what was said meanwhile: a run that began before the next click is none of its own."""
        with suppress(TimeoutError):
            while True:
                self._hear(await asyncio.wait_for(self._socket.recv(), 0.01))

    def _hear(self, said: bytes) -> bool:
        """Take one message; say whether a run has come to its end."""
        told = ForwardMsg.FromString(said)
        kind = told.WhichOneof("type")
        if kind == "new_session":
            self._runs += 1
            if not told.metadata.run.fragment_ids:
                self.seen = Seen()
                self._script = told.new_session.page_script_hash
        elif kind == "navigation":
            self._known = {page.url_pathname: page.page_script_hash for page in told.navigation.app_pages}
        elif kind == "page_info_changed":
            self._query = told.page_info_changed.query_string
        elif kind == "page_not_found":
            self.seen.wrong.append(f"there is no page {self._path}")
        elif kind == "delta":
            self.seen.add(told.delta)
        elif kind == "script_finished":
            if told.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                self.seen.wrong.append("the script does not compile")
            ends = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
            return told.script_finished in ends
        return False
