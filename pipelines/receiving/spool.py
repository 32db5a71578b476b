"""The spool: events on disk, flushed, before they are answered; who says what again is known.

    <warehouse>.spool/
      known                    128-bit digests of ids and bodies, oldest first; what was told again is found by them
      HOOK/waiting/*.ndjson    events that no load has taken, one a line: each file is one flush to disk
      HOOK/taking/             what a load is taking, see `taking`
      HOOK/aside/*.ndjson      events that cannot be read, each with its reason

Events that come at once are written as one file and flushed once: the file, its name, its folder. Only then is an event
known, and only then is it answered. A file is whole or has no name that is read.
"""

import asyncio
import contextlib
import hashlib
import itertools
import os
import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.errors import ServeError
from pipelines.settings import Settings, private

MOST_KNOWN = 200_000  # digests that are remembered: two an event
MOST_QUEUED = 512  # events that wait for the disk
GROUP = 128  # events that are flushed together
DIGEST = 16  # bytes
LOOK_S = 5.0  # between two looks at how much waits


def digest(hook: str, kind: str, content: bytes) -> bytes:
    """Name an id or a body of a hook."""
    return hashlib.blake2b(f"{hook}\n{kind}\n".encode() + content, digest_size=DIGEST).digest()


def one_line(body: bytes) -> bytes:
    r"""Write a JSON text on one line: its own line ends are blanks between values, for within texts they are escaped.

    >>> one_line(b'{"a":\r\n 1}')
    b'{"a":   1}'
    """
    return body.replace(b"\r", b" ").replace(b"\n", b" ")


def write_durably(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file that is whole, flushed and named, or is not there: its bytes, its name and its folder."""
    with private():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.new")
        try:
            with draft.open("wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush a folder: the names in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def segments(folder: Path) -> list[Path]:
    """List the finished files of a folder of the spool, oldest first."""
    return sorted(path for path in folder.glob("*.ndjson") if not path.name.startswith("."))


def written_at(segment: Path) -> datetime:
    """Say when a file of the spool was begun (UTC, without zone), by its name."""
    return datetime.strptime(segment.name[:21], "%Y%m%dT%H%M%S%f")


class Known:
    """Ids and bodies that were told, the newest of them, also after a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        content = path.read_bytes() if path.is_file() else b""
        whole = len(content) // DIGEST * DIGEST  # a kill may have cut the last one
        for start in range(max(0, whole - MOST_KNOWN * DIGEST), whole, DIGEST):
            self._digests[content[start : start + DIGEST]] = None
        self._begin()

    def _begin(self) -> None:
        """Write the file anew, with what is remembered, and go on behind it."""
        write_durably(self._path, self._digests)
        self._written = len(self._digests)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def __contains__(self, one: bytes) -> bool:
        return one in self._digests

    def add(self, digests: Sequence[bytes]) -> None:
        """Remember digests. What a failing machine forgets of them the load finds to be a duplicate."""
        for one in digests:
            self._digests[one] = None
        while len(self._digests) > MOST_KNOWN:
            self._digests.popitem(last=False)
        os.write(self._descriptor, b"".join(digests))
        self._written += len(digests)
        if self._written > 2 * MOST_KNOWN:
            self.close()
            self._begin()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


@dataclass(frozen=True)
class _Event:
    """An event on its way to the disk, and who waits for it."""

    hook: str
    line: bytes
    digests: tuple[bytes, ...]
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


class Full(Exception):
    """There is no room for an event now; `retry_s` says when to ask again."""

    def __init__(self, retry_s: int) -> None:
        super().__init__()
        self.retry_s = retry_s


class Spool:
    """The one process that writes to the spool. Raises ServeError where another one does."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.spool
        self._most_bytes = settings.spool_mb << 20
        with private():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / ".receiver.lock", mode=0o600, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise ServeError(f"Another receiver writes to {self.folder}. Stop it first, or give --warehouse.") from None
        self.known = Known(self.folder / "known")
        self._counter = itertools.count()
        self._queues: dict[str, queue.SimpleQueue[_Event | None]] = {}
        self._writers: list[threading.Thread] = []
        self._remembering = threading.Lock()
        self._on_the_way: dict[bytes, asyncio.Future[None]] = {}
        self._queued = 0
        self._bytes, self._looked_at = self._waiting_bytes(), time.monotonic()

    def _waiting_bytes(self) -> int:
        total = 0
        for segment in self.folder.glob("*/*/*.ndjson"):
            with contextlib.suppress(FileNotFoundError):  # a load takes it
                total += segment.stat().st_size
        return total

    async def add(self, hook: str, body: bytes, digests: Sequence[bytes]) -> bool:
        """Put an event on disk; say whether it is new.

        It is flushed when this returns, also where somebody else told it a moment before. Raises Full under pressure
        and OSError where the disk fails.
        """
        if any(one in self.known for one in digests):
            return False
        for one in digests:
            if (same := self._on_the_way.get(one)) is not None:
                await asyncio.shield(same)
                return False
        if self._queued >= MOST_QUEUED:
            raise Full(1)
        self._look_at_room()
        loop = asyncio.get_running_loop()
        event = _Event(hook, one_line(body) + b"\n", tuple(digests), loop.create_future(), loop)
        for one in digests:
            self._on_the_way[one] = event.done
        self._queued += 1
        event.done.add_done_callback(lambda done: self._forget(event, done))
        self._queue_of(hook).put(event)
        await asyncio.shield(event.done)
        return True

    def _queue_of(self, hook: str) -> "queue.SimpleQueue[_Event | None]":
        """Give the queue of a hook; each has a writer of its own, so that their flushes run side by side."""
        if hook not in self._queues:
            self._queues[hook] = queue.SimpleQueue()
            writer = threading.Thread(target=self._write_all, args=(hook, self._queues[hook]), daemon=True)
            self._writers.append(writer)
            writer.start()
        return self._queues[hook]

    def _look_at_room(self) -> None:
        """Raise Full where what waits for a load has become too much; looked at anew once in some seconds."""
        if time.monotonic() - self._looked_at > LOOK_S:
            self._bytes, self._looked_at = self._waiting_bytes(), time.monotonic()
        if self._bytes > self._most_bytes:
            raise Full(60)

    def _forget(self, event: _Event, done: asyncio.Future[None]) -> None:
        self._queued -= 1
        self._bytes += len(event.line)
        for one in event.digests:
            self._on_the_way.pop(one, None)
        done.cancelled() or done.exception()  # who waits is told; nobody may wait any more

    def _write_all(self, hook: str, events: "queue.SimpleQueue[_Event | None]") -> None:
        """Write what is queued of a hook, as much at once as there is, until told to end."""
        while (event := events.get()) is not None:
            group = [event]
            while len(group) < GROUP:
                try:
                    following = events.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    events.put(None)
                    break
                group.append(following)
            self._write(hook, group)

    def _write(self, hook: str, events: list[_Event]) -> None:
        """Flush events of one hook, remember them, and only then let them be answered."""
        at = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        name = f"{at}-{next(self._counter):09d}-{secrets.token_hex(3)}.ndjson"
        failure: OSError | None = None
        try:
            write_durably(self.folder / hook / "waiting" / name, [one.line for one in events])
            with self._remembering:
                self.known.add([one for event in events for one in event.digests])
        except OSError as error:
            failure = error
        for event in events:
            event.loop.call_soon_threadsafe(_end, event.done, failure)

    def close(self) -> None:
        """Write what is queued and end."""
        for one in self._queues.values():
            one.put(None)
        for writer in self._writers:
            writer.join()
        self.known.close()
        self._lock.release()


def _end(done: asyncio.Future[None], failure: OSError | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
