"""The folder that a pull writes into: whole files under their names, parts and the place reached in hidden ones."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.errors import PullError
from pipelines.settings import private, write_whole
from pipelines.warehouse.build import sync


class Place:
    """The folder of one pull, and what it remembers of it from one run to the next."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self._file = folder, folder / f".{name}.pull.json"
        try:
            self.memory: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.memory = {}
        except ValueError as error:
            raise PullError(f"{self._file.name} is damaged. Delete it to pull everything again.") from error

    def remember(self, **values: Any) -> None:
        """Keep what was reached, whole or not at all; None forgets a name."""
        self.memory = {k: v for k, v in (self.memory | values).items() if v is not None}
        write_whole(self._file, json.dumps(self.memory, indent=1))

    def part(self, name: str) -> Path:
        """Give the hidden file that becomes `name` once it is whole."""
        return self.folder / f".{name}.part"

    def finish(self, name: str) -> Path:
        """Make a part the file of its name; one that is there already stays."""
        if (part := self.part(name)).exists():
            part.replace(self.folder / name)
            sync(self.folder)
        return self.folder / name


def append(file: Path, content: bytes, size: int) -> int:
    """Write on at a size, whatever an earlier run left behind it, and to the disk; give the new size."""
    with private(), file.open("r+b" if file.exists() else "w+b") as opened:
        opened.truncate(size)
        opened.seek(size)
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    return size + len(content)


@contextmanager
def pulling(folder: Path, name: str) -> Iterator[Place]:
    """Give the place of a pull, for one run at a time. Raises PullError where another one runs."""
    with private():
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{name}.pull.lock", timeout=0)
    try:
        with lock:
            yield Place(folder, name)
    except Timeout as error:
        raise PullError(f"Another pull writes into {folder.name}. Wait until it has ended.") from error
