"""What was answered once: the one memory of a server, by question, bounded in bytes.

A build never changes, so an answer holds as long as its build is read. Two readers who ask the same at the same time
are answered once. What was used longest ago goes first. Frames are shared: read, never change.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pandas as pd

from dashboard.shared.turns import TURNS, Turns

MOST_BYTES = 256 * 2**20
"""What a server remembers at most; what a single answer takes is estimated by `weight`."""
FRAME = 6_000  # bytes of a frame beside its values
COLUMN = 600  # bytes of one of its columns beside its values
LONG = 2**20  # bytes from which a frame is kept thin

Key = tuple[str, tuple[Any, ...], tuple[tuple[str, Any], ...]]
"""A question: the name of the function that answers it, and what it was asked with."""
Answer = tuple[Any, frozenset[str]]
"""What was answered, and the filters of the view that it stands without."""


def weight(thing: Any) -> int:
    """Estimate the bytes that an answer keeps.

    >>> weight("a") < weight(["a"] * 10) < weight(pd.DataFrame({"a": [1.0]}))
    True
    """
    if isinstance(thing, pd.DataFrame):
        return FRAME + COLUMN * thing.shape[1] + int(thing.memory_usage(index=False, deep=True).sum())
    if isinstance(thing, Thin):
        return weight(thing.kept)
    if isinstance(thing, pd.Series | pd.Index):
        return FRAME + int(thing.memory_usage(deep=True))
    if isinstance(thing, dict):
        return sys.getsizeof(thing) + sum(weight(k) + weight(v) for k, v in thing.items())
    if isinstance(thing, list | tuple | set | frozenset):
        return sys.getsizeof(thing) + sum(weight(one) for one in thing)
    if is_dataclass(thing):
        return 100 + sum(weight(getattr(thing, field.name)) for field in fields(thing))
    return sys.getsizeof(thing)


class Thin:
    """A long frame as it is kept: texts that say the same again and again stand once, and are written out when asked.

    >>> Thin.of(pd.DataFrame({"a": ["x"] * 1000})).frame()["a"].unique().tolist()
    ['x']
    """

    def __init__(self, kept: pd.DataFrame, texts: dict[str, Any]) -> None:
        self.kept, self._texts = kept, texts

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Thin":
        """Take a frame of distinct names."""
        texts = {name: c.dtype for name, c in frame.items() if pd.api.types.is_string_dtype(c.dtype)}
        short = {name: "category" for name in texts if frame[name].nunique() < len(frame) / 4}
        return cls(frame.astype(short), {str(name): texts[name] for name in short})

    def frame(self) -> pd.DataFrame:
        """Give the frame as it was."""
        return self.kept.astype(self._texts)


class Memory:
    """Answers by question, those used last at the end; `told` hears of each that is new.

    As many questions are answered at once as there are `turns`.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, turns: Turns = TURNS) -> None:
        self.told: Callable[[Key, Answer], None] | None = None
        self.bytes = 0
        self._most = most_bytes
        self._kept: OrderedDict[Key, tuple[Answer, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._asked: dict[Key, tuple[threading.Lock, int]] = {}  # what is being answered, and for how many
        self._turns = turns

    def __len__(self) -> int:
        return len(self._kept)

    def look(self, key: Key) -> Answer | None:
        """Give what was answered before, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            value, names = self._kept[key][0]
        return (value.frame(), names) if isinstance(value, Thin) else (value, names)

    def keep(self, key: Key, answer: Answer, *, takes_room: bool = True) -> None:
        """Remember an answer in the place of those used longest ago; one that there is no room for is not kept.

        One that nobody asked for yet takes no room from others.
        """
        size = weight(answer) + weight(key[1])
        if size > LONG and isinstance(answer[0], pd.DataFrame):
            answer = Thin.of(answer[0]), answer[1]
            size = weight(answer) + weight(key[1])
        with self._lock:
            self._drop(key)
            if size > self._most or (not takes_room and self.bytes + size > self._most):
                return
            while self.bytes + size > self._most:
                self._drop(next(iter(self._kept)))
            self._kept[key] = answer, size
            self.bytes += size

    def answered(self, key: Key, answer: Callable[[], Answer]) -> Answer:
        """Give what was answered before; ask where nothing was, once for all who ask meanwhile."""
        found = self.look(key)
        if found is not None:
            return found
        with self._turns.taken(), self._alone(key):
            found = self.look(key)
            if found is None:
                found = answer()
                self.keep(key, found)
                if self.told is not None:
                    self.told(key, found)
        return found

    def forget(self, name: str = "") -> None:
        """Forget what one function answered, or everything."""
        with self._lock:
            for key in [key for key in self._kept if not name or key[0] == name]:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        if key in self._kept:
            self.bytes -= self._kept.pop(key)[1]

    @contextmanager
    def _alone(self, key: Key) -> Iterator[None]:
        """Answer alone; who waits for another's answer leaves its turn to whoever has something to do."""
        with self._lock:
            lock, readers = self._asked.get(key, (threading.Lock(), 0))
            self._asked[key] = lock, readers + 1
        try:
            if not lock.acquire(blocking=False):
                with self._turns.lent():
                    lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                _, readers = self._asked.pop(key)
                if readers > 1:
                    self._asked[key] = lock, readers - 1


MEMORY = Memory()


class Noted(threading.local):
    """Filters of the view that numbers asked for since the last look stand without."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()


NOTED = Noted()

P = ParamSpec("P")
T = TypeVar("T")


def remembered(function: Callable[P, T]) -> Callable[P, T]:
    """Remember what a function of hashable values answers, and with each answer the filters that it stands without."""
    name = f"{function.__module__}.{function.__qualname__}"

    def answered(*args: Any, **options: Any) -> Answer:
        before, NOTED.names = NOTED.names, frozenset()
        try:
            return function(*args, **options), NOTED.names
        finally:
            NOTED.names = before

    @wraps(function)
    def ask(*args: P.args, **options: P.kwargs) -> T:
        key: Hashable = (name, args, tuple(sorted(options.items())))
        answer, names = MEMORY.answered(key, lambda: answered(*args, **options))  # type: ignore[arg-type]
        NOTED.names |= names
        return answer  # type: ignore[no-any-return]

    ask.cache_clear = lambda: MEMORY.forget(name)  # type: ignore[attr-defined]
    return ask
