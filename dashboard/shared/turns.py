"""Turns: how many pages are worked out at once, those asked for first first.

A page is mostly one processor's work. Fifty at once would each take fifty times as long, hold what they have read
meanwhile, and leave the server no time to hear anybody.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.warehouse.machine import processors

A_PROCESSOR = 2  # pages a processor: one waits for the database while another is drawn


class Turns:
    """As many turns as there are at once; a turn that ends goes to who waits longest, first to who lent theirs."""

    def __init__(self, most: int | None = None) -> None:
        self._free = most or A_PROCESSOR * processors()
        self._waiting, self._lenders = deque[threading.Event](), deque[threading.Event]()
        self._lock = threading.Lock()
        self._mine = threading.local()  # whether this thread has its turn

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn; who has one already goes on."""
        if getattr(self._mine, "is_mine", False):
            yield
            return
        self._take()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the turn, where this thread has one, to others while it only waits, and take the next one again."""
        if not getattr(self._mine, "is_mine", False):
            yield
            return
        self._end()
        try:
            yield
        finally:
            self._take(self._lenders)

    def _take(self, queue: deque[threading.Event] | None = None) -> None:
        with self._lock:
            mine = threading.Event()
            if self._free:
                self._free -= 1
                mine.set()
            else:
                (self._waiting if queue is None else queue).append(mine)
        mine.wait()
        self._mine.is_mine = True

    def _end(self) -> None:
        self._mine.is_mine = False
        with self._lock:
            if waiting := self._lenders or self._waiting:
                waiting.popleft().set()
            else:
                self._free += 1


TURNS = Turns()
