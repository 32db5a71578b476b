"""Sums by day that were read of a build: kept beside it, bounded in bytes, packed before any is let go."""

import pickle  # nosec B403
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

import pandas as pd
import pyarrow as pa

MOST_BYTES = 256 * 2**20  # of all that a build keeps
LEAST_PACKED = 16_000  # bytes of a frame that is worth packing


class Packed:
    """A frame as compressed bytes of this process, mostly a fifth of it; a millisecond makes it a frame again.

    >>> frame = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=5_000), "sold": 1.0})
    >>> packed = Packed(frame)
    >>> packed.bytes < int(frame.memory_usage().sum()) / 2, packed.frame().equals(frame)
    (True, True)
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        apart: list[pickle.PickleBuffer] = []
        whole = pickle.dumps(frame, protocol=5, buffer_callback=apart.append)
        parts = [memoryview(whole), *(one.raw() for one in apart)]
        self._parts = [(len(one), pa.compress(one, codec="zstd", asbytes=True)) for one in parts]
        self.bytes = 200 + sum(len(part) for _, part in self._parts)

    def frame(self) -> pd.DataFrame:
        """Give the frame as it was."""
        whole, *apart = (bytearray(pa.decompress(part, size, codec="zstd", asbytes=True)) for size, part in self._parts)
        found: pd.DataFrame = pickle.loads(whole, buffers=apart)  # noqa: S301  # nosec B301
        return found


class Days:
    """Sums by day that were read of a build; None stands for what is too long to keep.

    Where there is no more room, those used longest ago are packed; where all are, they are let go.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.bytes = 0
        self._most = most_bytes
        self._kept: OrderedDict[Hashable, tuple[pd.DataFrame | Packed | None, int]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable) -> "pd.DataFrame | None":
        """Give the sums that were kept under a key; None also where they were let go."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            found = self._kept[key][0]
        return found.frame() if isinstance(found, Packed) else found

    def holds(self, key: Hashable) -> bool:
        """Say whether sums are kept under a key, and not the word that they are too long."""
        found = self._kept.get(key)
        return found is not None and found[0] is not None

    def names(self) -> list[Hashable]:
        """List under what something is kept, what was used longest ago first."""
        with self._lock:
            return list(self._kept)

    def keep(self, key: Hashable, frame: "pd.DataFrame | None") -> None:
        """Keep sums, their texts as numbers of a list; those used longest ago make room."""
        if frame is not None:
            frame = frame.astype({n: "category" for n, c in frame.items() if pd.api.types.is_string_dtype(c.dtype)})
        with self._lock:
            self._put(key, frame, 100 if frame is None else int(frame.memory_usage(deep=True).sum()))
            while self.bytes > self._most and len(self._kept) > 1:
                self._make_room()

    def _put(self, key: Hashable, found: "pd.DataFrame | Packed | None", size: int) -> None:
        """Keep something under a key, in the place of what was kept there."""
        self.bytes += size - self._kept.get(key, (None, 0))[1]
        self._kept[key] = found, size

    def _make_room(self) -> None:
        """Pack the frame that was used longest ago, the newest left out; where all are packed, let one go."""
        newest = next(reversed(self._kept))
        for key, (found, size) in self._kept.items():
            if isinstance(found, pd.DataFrame) and size > LEAST_PACKED and key != newest:
                packed = Packed(found)
                self._put(key, packed, packed.bytes)
                return
        self.bytes -= self._kept.popitem(last=False)[1][1]
