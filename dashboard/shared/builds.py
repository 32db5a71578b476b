"""Builds that this server reads: which one readers see, and those that are open.

Each is opened once, and let go of when readers have gone over to a newer one. A build that is open holds its file, even
one that later loads have dropped from the disk, and what was read of it.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from pipelines.load import within
from pipelines.metrics import EVERYTHING, Scope
from pipelines.settings import Settings
from pipelines.warehouse.build import current_id, is_there
from pipelines.warehouse.engine import Build

MOST = 12  # open at once: of each scope that somebody reads within, one
IDLE_S = 30.0  # after which an earlier build that nobody asks for is let go of


@dataclass(frozen=True)
class Source:
    """One build of one warehouse, within what its reader may see."""

    warehouse: Path
    build_id: str
    scope: Scope = EVERYTHING


class Seen:
    """Which build readers see: the newest, or the one that they stay with until the pages of the newest are ready."""

    def __init__(self) -> None:
        self._stays: dict[Path, str] = {}

    def id(self, warehouse: Path) -> str | None:
        """Give the id of the build that readers see; None before the first one."""
        stays = self._stays.get(warehouse.absolute())
        return stays if stays is not None and is_there(warehouse, stays) else current_id(warehouse)

    def stay(self, warehouse: Path, build_id: str) -> None:
        """Let readers stay with a build that a newer one has followed, for as long as it is kept."""
        self._stays[warehouse.absolute()] = build_id

    def go_over(self, warehouse: Path) -> None:
        """Let readers see the newest build."""
        self._stays.pop(warehouse.absolute(), None)


class Open:
    """Builds that are open, those asked for last at the end."""

    def __init__(self) -> None:
        self._held: OrderedDict[Source, tuple[Build, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._looked_at = 0.0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, asked: Source) -> Build:
        """Open a build once, within its reader's scope. Raises WarehouseMissing for one that is gone."""
        with self._lock:
            now = time.monotonic()
            if asked in self._held:
                build = self._held[asked][0]
            else:
                build = within.opened(Settings(asked.warehouse), asked.scope, asked.build_id)
            self._held[asked] = build, now
            self._held.move_to_end(asked)
            if len(self._held) > 1 and now - self._looked_at > IDLE_S:
                self._looked_at = now
                self._let_go(now)
            while len(self._held) > MOST:
                self._held.popitem(last=False)
        return build

    def _let_go(self, now: float) -> None:
        """Let go of earlier builds that nobody asks for; who still reads one holds it until they have read."""
        for source, (_, at) in list(self._held.items()):
            home = source.warehouse  # the newest may be made ready meanwhile
            if now - at > IDLE_S and source.build_id not in (SEEN.id(home), current_id(home)):
                del self._held[source]

    def clear(self) -> None:
        """Let go of all of them."""
        with self._lock:
            self._held.clear()


SEEN, OPEN = Seen(), Open()
