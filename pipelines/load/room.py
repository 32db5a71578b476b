"""Room on disk: what a load will need, asked before it begins."""

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path

from pipelines.settings import Settings
from pipelines.warehouse import build, machine

TEXT = (".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".json", ".xml")
LOGS, BUILD, SPILLED = 0.35, 0.8, 0.9
"""Bytes of logs, of a build, and of what outgrows memory, by byte of text that is loaded: less than was measured.

Parquet and compressed files hold four times as much a byte.
"""
PACKED = 4


def check(settings: Settings, files: Iterable[Path]) -> None:
    """Raise OSError, as a full disk would, where loading files surely needs more room than there is."""
    given = {file: file.stat().st_size for file in files}
    text = sum(size if file.suffix.lower() in TEXT else size * PACKED for file, size in given.items())
    last = build.current_id(settings.warehouse)
    held = (
        build.build_path(settings.warehouse, last).stat().st_size
        if last and build.is_there(settings.warehouse, last)
        else 0
    )
    spilled = max(text * SPILLED - machine.memory_mb(settings) * machine.MB, 0)
    needed = sum(given.values()) + text * (LOGS + BUILD) + held + spilled
    there = shutil.disk_usage(
        next(p for p in (settings.warehouse.absolute(), *settings.warehouse.absolute().parents) if p.exists())
    ).free
    if needed > there:
        raise OSError(
            errno.ENOSPC,
            f"Loading {_size(sum(given.values()))} of files needs about {_size(needed)} on disk (copies of the files,"
            f" logs, the build, {_size(spilled)} for what outgrows memory), and {_size(there)} are free. Free space,"
            " give more memory with BACKHAUL_MEMORY, or use a --warehouse on another disk",
            str(settings.warehouse),
        )


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.0f} MB"
