"""Landing: find the files that were asked for, and copy them so that what is kept is what was hashed.

Of a folder, what is no file that can be read (a device, a link that leads out) is refused with a sentence, and the rest
is landed. What a file holds is no concern of this module.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import SourceError
from pipelines.settings import Settings
from pipelines.sources.looks import CHUNK, reading, shown

KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
Digest = tuple[str, os.stat_result]
"""The hash of a file, and what the disk said of it then."""


@dataclass
class Found:
    """Files to land, and a sentence for each entry that cannot be one."""

    files: list[Path] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def find(paths: Iterable[Path], settings: Settings) -> Found:
    """List the files of paths, those of folders included.

    Raises SourceError for a path that is not there or, where it is the only one, that is no file.
    """
    found = Found()
    paths = list(paths)
    for path in paths:
        if path.is_dir():
            _walk(path, path.resolve(), settings, found)
        elif (words := _no_file(path)) is None:
            found.files.append(path)
        elif path.exists() or path.is_symlink():
            found.refused.append(f"{shown(path)} is {words}. Give a file, or a folder with files.")
        else:
            raise SourceError(f"There is no file or folder at {_short(path)}. Check the path and load again.")
    if not found.files:
        if found.refused:
            more = f" ({len(found.refused) - 1} more are refused like it.)" if len(found.refused) > 1 else ""
            raise SourceError(found.refused[0] + more)
        listed = ", ".join(map(_short, paths[:3])) + (" ..." if len(paths) > 3 else "")
        raise SourceError(f"There are no files in {listed}. Give a folder with data files, or a file.")
    return found


def _short(path: Path) -> str:
    folder = str(path.parent).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    folder = "" if folder == "." else f"...{folder[-60:]}/" if len(folder) > 60 else f"{folder.rstrip('/')}/"
    return folder + shown(path)


def _no_file(path: Path) -> str | None:
    """Say what a path is instead of a file; None for a file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "a link to nothing" if path.is_symlink() else f"not to be read ({error.strerror})"
    return None if stat.S_ISREG(mode) else next((words for test, words in KINDS if test(mode)), "no file")


def _walk(folder: Path, root: Path, settings: Settings, found: Found) -> None:
    """Add the files below a folder, but for hidden ones and what a warehouse keeps: builds, raw copies and keys."""
    own = {
        p.resolve()
        for p in (
            settings.warehouse,
            settings.raw,
            settings.spool,
            settings.runs_folder,
            settings.hooks_file,
            settings.key_file,
            settings.next_key_file,
            settings.serve_key_file,
        )
    }
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        found.refused.append(f"{shown(folder)} is a folder that cannot be read ({error.strerror}).")
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.resolve() in own:
            continue
        if entry.is_symlink() and not entry.resolve().is_relative_to(root):
            words = "a link to nothing" if not entry.exists() else "a link that leads out of the folder"
            found.refused.append(f"{shown(entry)} is {words}, and is not followed. Copy what it is to hold.")
        elif entry.is_dir() and not entry.is_symlink():
            beside = entry.with_suffix("") if entry.suffix == ".raw" else None
            if not (entry / "state.sqlite").exists() and (beside is None or not (beside / "state.sqlite").exists()):
                _walk(entry, root, settings, found)
        elif not entry.is_dir():  # a link to a folder within is no second copy of its files
            if (what := _no_file(entry)) is None:
                is_key = entry.suffix in (".key", ".api-key") and (entry.with_suffix("") / "state.sqlite").exists()
                found.files += [] if is_key else [entry]
            else:
                found.refused.append(f"{shown(entry)} is {what}, not a file. Take it out of the folder.")


def digest(file: Path) -> Digest:
    """Give the SHA-256 of a file, and what it was when its reading began. Raises SourceError when it cannot be read."""
    with reading(file), file.open("rb") as content:
        seen = os.fstat(content.fileno())
        return hashlib.file_digest(content, "sha256").hexdigest(), seen


def _opened(file: Path) -> BinaryIO:
    with reading(file):
        return file.open("rb")


def _chunk(file: Path, content: BinaryIO) -> bytes:
    with reading(file):
        return content.read(CHUNK)


def keep(file: Path, folder: Path, name: str, seen: os.stat_result) -> tuple[Path, str, int]:
    """Copy a file to a folder under a name: (copy, SHA-256 of the copied bytes, their number).

    The copy's name can be shown and given to any program. Raises SourceError for a file that cannot be read, or that is
    no longer what it was when it was `seen`: whoever writes it has not finished.
    """
    folder.mkdir(parents=True, mode=0o700)
    kept = folder / name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    hashed, size = hashlib.sha256(), 0
    descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as copy, _opened(file) as content:
        while chunk := _chunk(file, content):  # what the copy's disk does is not the file's fault
            hashed.update(chunk)
            copy.write(chunk)
            size += len(chunk)
        after = os.fstat(content.fileno())
        if size != after.st_size or (after.st_size, after.st_mtime_ns) != (seen.st_size, seen.st_mtime_ns):
            raise SourceError(
                f"{shown(file)} changed while it was read, so nothing of it was taken in. Load it again when it is"
                " whole."
            )
    return kept, hashed.hexdigest(), size
