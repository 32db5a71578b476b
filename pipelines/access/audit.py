"""The log of who signed in, was refused, exported or changed something: appended to, never rewritten.

One line of JSON an event, in a folder beside the warehouse that is its owner's alone. Each line holds the digest of the
line before, so that one that is gone or altered is found. A file that is full is kept under its time; the newest KEPT
stay. It knows of the reader their own name and nothing of any customer.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipelines.access.readers import Reader
from pipelines.settings import Settings, private
from pipelines.warehouse import state

EVENTS = ("signed_in", "signed_out", "refused", "exported", "changed")
FULL = 4 << 20  # bytes after which a file is kept and another begun
KEPT = 50  # full files that are kept
LONGEST = 300  # characters of any text
_FIRST = "0" * 64


def note(settings: Settings, event: str, reader: Reader, what: str, door: str) -> None:
    """Write down one event: what somebody did or was refused, within which scope, and by which door they came.

    Raises OSError where it cannot be written: what cannot be written down is not done.
    """
    assert event in EVENTS
    told = {"event": event, "who": reader.name, "role": reader.role, "scope": reader.scope.text, "door": door}
    row: dict[str, Any] = {"at": f"{state.now().isoformat(timespec='seconds')}Z"}
    row |= {name: str(value)[:LONGEST] for name, value in {**told, "what": what}.items()}
    folder = settings.audit_folder
    with private():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", mode=0o600, timeout=settings.short_wait_s):
            file = folder / "audit.jsonl"
            if file.exists() and file.stat().st_size > FULL:
                _keep(folder, file)
            line = json.dumps({**row, "before": _last_digest(folder)}, ensure_ascii=False) + "\n"
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _keep(folder: Path, file: Path) -> None:
    number = int(_files(folder)[-2].stem.rpartition("-")[2]) + 1 if len(_files(folder)) > 1 else 1
    file.rename(folder / f"audit-{number:06d}.jsonl")
    for old in _files(folder)[:-KEPT]:
        old.unlink()


def _files(folder: Path) -> list[Path]:
    """List the files, oldest first."""
    full = sorted(folder.glob("audit-*.jsonl"))
    return [*full, *([last] if (last := folder / "audit.jsonl").exists() else [])]


def _last_digest(folder: Path) -> str:
    for file in reversed(_files(folder)):
        with file.open("rb") as content:
            content.seek(max(0, file.stat().st_size - (64 << 10)))
            lines = content.read().splitlines()
        if lines:
            return hashlib.sha256(lines[-1]).hexdigest()
    return _FIRST


def _lines(settings: Settings) -> Iterator[tuple[Path, bytes]]:
    for file in _files(settings.audit_folder):
        for line in file.read_bytes().splitlines():
            yield file, line


def events(settings: Settings, limit: int = 100) -> list[dict[str, str]]:
    """List the newest events, newest first: at, event, who, role, scope, door, what."""
    found = []
    for _, line in _lines(settings):
        try:
            row = json.loads(line)
        except ValueError:
            row = {"event": "damaged", "what": "this line cannot be read"}
        found.append({name: str(row.get(name, "")) for name in ("at", "event", "who", "role", "scope", "door", "what")})
    return found[::-1][:limit]


def problem(settings: Settings) -> str:
    """Say where a line was altered or taken away; nothing when the log is whole. The oldest kept line is believed."""
    before = None
    for number, (file, line) in enumerate(_lines(settings), 1):
        try:
            told = json.loads(line)["before"]
        except (ValueError, KeyError, TypeError):
            return f"Line {number} of the log, in {file.name}, cannot be read."
        if before is not None and told != before:
            return f"Line {number} of the log, in {file.name}, does not follow the one before it."
        before = hashlib.sha256(line).hexdigest()
    return ""
