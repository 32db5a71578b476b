"""Whose fault an error is: the machine's, a load's or ours; and how a load that cannot go on is put aside."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import BackhaulError, SourceError, WarehouseDamaged, WarehouseLocked
from pipelines.load.raw import damaged_raw, sweep
from pipelines.load.report import Report
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.sql import memory_short

OF_DISK = (errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
OF_WRITING_SIGNS = ("could not write", "could not sync", "read-only file system")
_ROOM = "max_temp_directory_size"  # what outgrows memory finds no room on disk
OF_DISK_SIGNS = (*OF_WRITING_SIGNS, "input/output error", "too many open files")


def is_disk_full(error: Exception) -> bool:
    """Say whether an error means that there is no room left."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    told = str(error).lower()
    return isinstance(error, duckdb.Error) and any(
        sign in told for sign in ("no space left", "disk is full", "file too large", "quota exceeded", _ROOM)
    )


def is_of_disk(error: BaseException | None) -> bool:
    """Say whether a disk did not do what it was told: of what a load reads, its own files may be at fault as well."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in OF_DISK:
            return True
        told = str(error).lower()
        if isinstance(error, duckdb.Error) and any(sign in told for sign in OF_DISK_SIGNS):
            return True
        error = error.__cause__
    return False


def _is_own(settings: Settings, path: object) -> bool:
    """Say whether a path is the warehouse's or the raw folder's."""
    own = (settings.warehouse.absolute(), settings.raw.absolute())
    return isinstance(path, str | Path) and any(Path(path).absolute().is_relative_to(folder) for folder in own)


def note_published(report: Report, error: OSError) -> None:
    """Note on an error of the disk that a build was published before it."""
    if report.is_new_build:
        error.add_note(f"The build {report.build_id} is published; the next load does what is left.")


def is_of_machine(settings: Settings, error: Exception, row: dict[str, Any] | None = None) -> bool:
    """Say whether an error is no fault of a load's files.

    A full or failing disk, somebody's Ctrl-C, a damaged warehouse. Where a load has landed, its raw files are read
    whole to tell a disk that fails from files that cannot be read.
    """
    if isinstance(error, (WarehouseDamaged, WarehouseLocked, duckdb.InterruptException)) or is_disk_full(error):
        return True
    if row is not None and row["files"] and damaged_raw(settings, row):
        return False
    if isinstance(error, OSError) and (error.errno in OF_DISK or _is_own(settings, error.filename)):
        return True
    if row is not None and row["files"] and is_of_disk(error):
        return True
    if isinstance(error, duckdb.IOException) and any(sign in str(error).lower() for sign in OF_WRITING_SIGNS):
        return True
    if isinstance(error, RuntimeError) and "interrupted" in str(error).lower():  # DuckDB's word for Ctrl-C
        return True
    own = [f for f in (settings.warehouse, settings.raw, settings.warehouse / "log") if f.exists()]
    return isinstance(error, (OSError, duckdb.IOException)) and not all(os.access(f, os.W_OK) for f in own)


def printable(text: str) -> str:
    """Show a name whose bytes are no UTF-8 with signs in their place."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def sentence_of(names: str, error: Exception) -> BackhaulError:
    """Say what is wrong with the files of a load, in one sentence: an error that has none gets one."""
    if isinstance(error, BackhaulError):
        return error
    if isinstance(error, duckdb.OutOfMemoryException):
        return SourceError(f"{names} cannot be loaded: {memory_short(error)}")
    lines = printable(str(error)).splitlines()
    told = ((error.strerror if isinstance(error, OSError) else None) or (lines[0] if lines else ""))[:120]
    kind = type(error).__name__
    return SourceError(f"{names} cannot be loaded: {told} ({kind}). Correct the file and load it again.")


def put_aside(
    settings: Settings, state_file: state.State, load_id: str, error: Exception, report: Report
) -> BackhaulError:
    """Take a load that cannot go on out of the way.

    Its rows of the log go, its landed files stay until it is taken back.
    """
    (row,) = state_file.loads_with("landing", "landed", "logged", load_id=load_id)
    asked = json.loads(row["asked"] or '{"files": []}')
    names = [f["name"] for f in row["files"]] or [printable(Path(f).name) for f in asked["files"]]
    names = names or [printable(Path(str(asked.get("source"))).name)]
    listed = f"{names[0][:60]}{f' (and {len(names) - 1} more)' if names[1:] else ''}"
    sentence = sentence_of(listed, error)
    state_file.set_status([load_id], "failed", problem=str(sentence)[:500], finished_at=state.now())
    sweep(settings, state_file)
    report.failed.append({"load": load_id, "files": listed, "problem": str(sentence)})
    return sentence
