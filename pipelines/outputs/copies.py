"""Copies of a whole warehouse: the folder, the raw files and the hashing key together, with the hash of every file.

A copy may be made while a load runs. Events of web hooks that wait for a load are copied before anything else: what a
load takes of them meanwhile stands in the copy twice, and its next load finds it to be the same. Then the state is
copied, in one moment; what it names is written once, so it is copied afterwards as it stands. Where a build was
published meanwhile, or a file went or was changed, the copy begins again.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import BackupError, WarehouseLocked
from pipelines.receiving.spool import segments
from pipelines.settings import Settings, private
from pipelines.warehouse.build import UNFINISHED, build_path, checksum, current_id, sync

MANIFEST = "manifest.json"
FORM = 2
FORMS = (1, FORM)  # that are read; the first one held no events that wait
TRIES = 5
STATE = "state.sqlite"
BESIDE = ("key", "raw", "spool")  # what stands beside the warehouse
# what a lost state is put back from: newer than the state that was copied, it would name files that are not in the copy
COPY = "state.copy"


@dataclass(frozen=True)
class Copy:
    """A copy that stands.

    The build readers see in it, its files and bytes, and the loads whose files had not all landed and are not in it.
    """

    folder: Path
    build_id: str | None
    files: int
    bytes: int
    left_out: tuple[str, ...]


class _Moved(Exception):
    """The warehouse was published or cleared out while it was copied."""


def backup(settings: Settings, folder: Path, progress: Callable[[str], None] = lambda _: None) -> Copy:
    """Copy a warehouse to a folder that is not there yet.

    Raises BackupError when there is nothing to copy, the folder is there, a new hashing key is taking over, or the
    warehouse does not stand still.
    """
    if not (settings.warehouse / STATE).is_file():
        raise BackupError(f"There is no warehouse in {settings.warehouse}: nothing to copy. Give another --warehouse.")
    if folder.exists():
        raise BackupError(f"{folder} is there already, and a copy overwrites nothing. Give a new folder.")
    draft = folder.with_name(folder.name + UNFINISHED)
    with private(), _alone(draft, folder):
        for _ in range(TRIES):
            _clear(draft)
            try:
                return _copy(settings, draft, folder, progress)
            except (_Moved, FileNotFoundError):
                progress("the warehouse changed meanwhile: copying anew")
    raise BackupError(
        f"{settings.warehouse} was written to during each of {TRIES} tries to copy it. Try again when fewer loads run."
    )


@contextmanager
def _alone(draft: Path, folder: Path) -> Iterator[None]:
    """Hold a draft folder for oneself, empty, and take it away at the end where it has not become what it is to be.

    What a killed one left in it goes. Raises WarehouseLocked while another one writes to it, and BackupError when that
    one has just made the folder.
    """
    draft.mkdir(parents=True, exist_ok=True)
    held = os.open(draft, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WarehouseLocked(f"Another run is writing {folder}. Wait until it ends.") from None
        if not _is_held(draft, held):  # between the making and the lock the other one ended
            raise BackupError(f"{folder} is there already: another run has just made it.")
        try:
            _clear(draft)
            yield
        finally:
            if _is_held(draft, held):
                shutil.rmtree(draft, ignore_errors=True)
    finally:
        os.close(held)


def _is_held(draft: Path, held: int) -> bool:
    try:
        return os.path.samestat(draft.stat(), os.fstat(held))
    except FileNotFoundError:
        return False


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _copy(settings: Settings, draft: Path, folder: Path, progress: Callable[[str], None]) -> Copy:
    home = draft / "warehouse"
    home.mkdir(parents=True)
    raw, key = _raw(settings), _key(settings.key_file)
    files = {}
    for source, name in _waiting(settings.spool):
        progress(f"copying {name}")
        files[name] = _copied(source, draft / name)
    progress("copying the state")
    build_id = current_id(settings.warehouse)
    left_out, newest, logged = _copy_state(settings.warehouse / STATE, home / STATE)
    if settings.next_key_file.is_file():  # made before the state names it, and gone when it is the key
        raise BackupError(
            "A new hashing key is taking the place of the old one. Run `backhaul load` to its end, then copy."
        )

    def is_landed(load_id: str) -> bool:
        return load_id not in left_out and load_id <= newest  # the others began afterwards

    def is_logged(path: Path) -> bool:  # a load that waits to be judged is judged in the copy, from its raw files
        return str(path.relative_to(settings.warehouse / "log")) in logged or path.stem in logged

    if current_id(settings.warehouse) != build_id:
        raise _Moved
    files[f"warehouse/{STATE}"] = _entry(home / STATE)
    logs = _logs(settings, is_logged)
    for source, name in _wanted(settings, build_id, is_landed, is_logged):
        progress(f"copying {name}")
        files[name] = _copied(source, draft / name)
    if _logs(settings, is_logged) != logs or not raw.items() <= _raw(settings).items():
        raise _Moved
    if _key(draft / "key") != key:  # another one than when the state was copied
        raise _Moved
    about = {"form": FORM, "build_id": build_id, "left_out": left_out, "files": files}
    (draft / MANIFEST).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    sync(draft / MANIFEST)
    draft.rename(folder)
    return Copy(folder, build_id, len(files), sum(int(f["bytes"]) for f in files.values()), tuple(left_out))


def _copy_state(source: Path, target: Path) -> tuple[list[str], str, set[str]]:
    """Copy the state as it is at one moment, without the loads whose files have not all landed.

    Gives their ids, the newest load's, and the log files of loads that have been judged: by path, or by load where an
    older version kept no paths.
    """
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as here,
        closing(sqlite3.connect(target)) as there,
    ):
        here.backup(there)
        newest = str(there.execute("SELECT coalesce(max(load_id), '') FROM load").fetchone()[0])
        left_out = [r[0] for r in there.execute("SELECT load_id FROM load WHERE status = 'landing'")]
        judged = {r[0] for r in there.execute("SELECT load_id FROM load WHERE status IN ('logged', 'published')")}
        has_paths = there.execute("SELECT 1 FROM sqlite_master WHERE name = 'log_file'").fetchone()
        places = there.execute("SELECT load_id, path FROM log_file").fetchall() if has_paths else []
        logged = {path for load_id, path in places if load_id in judged} | judged - {load_id for load_id, _ in places}
        for load_id in left_out:
            there.execute("DELETE FROM load WHERE load_id = ?", [load_id])
            there.execute("DELETE FROM load_file WHERE load_id = ?", [load_id])
        there.commit()
        there.execute("PRAGMA journal_mode = DELETE")
    return left_out, newest, logged


def _key(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def _logs(settings: Settings, is_logged: Callable[[Path], bool]) -> list[tuple[str, int]]:
    """List the log files of loads that have been judged, with their sizes."""
    log = settings.warehouse / "log"
    return sorted((str(f.relative_to(log)), f.stat().st_size) for f in log.rglob("*.parquet") if is_logged(f))


def _raw(settings: Settings) -> dict[Path, tuple[int, int]]:
    """List the raw files with sizes and times: loads add to them; old age, or what a person asks, changes them."""
    return {path: ((at := path.stat()).st_size, at.st_mtime_ns) for path in _files(settings.raw)}


def _wanted(
    settings: Settings, build_id: str | None, is_landed: Callable[[str], bool], is_logged: Callable[[Path], bool]
) -> Iterator[tuple[Path, str]]:
    """Name every file to copy, and its place in the copy."""
    home = settings.warehouse
    if settings.key_file.is_file():
        yield settings.key_file, "key"
    for path in _files(home):
        top = path.relative_to(home).parts[0]
        is_own = top in ("builds", "current") or top.startswith((".", STATE, COPY)) or UNFINISHED in path.name
        if not is_own and not (top == "log" and (path.suffix != ".parquet" or not is_logged(path))):
            yield path, f"warehouse/{path.relative_to(home).as_posix()}"
    if build_id is not None:
        yield build_path(home, build_id), f"warehouse/builds/{build_id}.duckdb"
        yield home / "current", "warehouse/current"
    for path in _files(settings.raw):
        top = path.relative_to(settings.raw).parts[0]
        if is_landed(top) and not top.startswith("."):
            yield path, f"raw/{path.relative_to(settings.raw).as_posix()}"


def _waiting(spool: Path) -> Iterator[tuple[Path, str]]:
    """Name the events of web hooks that no load has taken, those being taken among them, and what is known again."""
    for folder in sorted(path for path in spool.glob("*") if path.is_dir()):
        for of, to in (("waiting", "waiting"), ("taking", "waiting"), ("aside", "aside")):
            for segment in segments(folder / of):
                yield segment, f"spool/{folder.name}/{to}/{segment.name}"
    if (spool / "known").is_file():
        yield spool / "known", "spool/known"


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def _copied(source: Path, target: Path) -> dict[str, str | int]:
    """Copy a file and give the bytes and hash of what was written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("xb") as writer:
        while piece := reader.read(1 << 20):
            digest.update(piece)
            size += len(piece)
            writer.write(piece)
        writer.flush()
        os.fsync(writer.fileno())
    return {"bytes": size, "sha256": digest.hexdigest()}


def _entry(file: Path) -> dict[str, str | int]:
    return {"bytes": file.stat().st_size, "sha256": checksum(file)}


def verify(folder: Path, progress: Callable[[str], None] = lambda _: None) -> Copy:
    """Read a copy whole and hold every file against its hash.

    Raises BackupError that names the first file that differs.
    """
    try:
        about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        form, files = about["form"], dict(about["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(
            f"{folder} is no copy that `backhaul backup` made: its {MANIFEST} cannot be read. Give the folder of a"
            " copy."
        ) from error
    if form not in FORMS:
        raise BackupError(f"{folder} was made by another version of Backhaul (form {form}). Restore it with that one.")
    there = {p.relative_to(folder).as_posix() for p in _files(folder)} - {MANIFEST}
    for name in sorted(there - files.keys()):
        raise BackupError(f"{folder} holds a file that the copy did not: {name}. Take it out, or take another copy.")
    for name, entry in files.items():
        progress(f"reading {name}")
        if name not in there or _entry(folder / name) != entry:
            what = "differs from what was copied" if name in there else "is gone"
            raise BackupError(f"{folder} is damaged: {name} {what}. Take another copy.")
    size = sum(int(f["bytes"]) for f in files.values())
    return Copy(folder, about["build_id"], len(files), size, tuple(about["left_out"]))


def restore(settings: Settings, folder: Path, progress: Callable[[str], None] = lambda _: None) -> Copy:
    """Put a verified copy in the place of a warehouse that is not there. Raises BackupError; nothing is overwritten."""
    found = verify(folder, progress)
    places = {"key": settings.key_file, "raw": settings.raw, "spool": settings.spool, "warehouse": settings.warehouse}
    for place in places.values():
        if place.is_file() or (place.is_dir() and any(place.iterdir())):
            raise BackupError(
                f"{place} is there already, and nothing is overwritten. Move it away, or give another --warehouse."
            )
    drafts = {name: place.with_name(place.name + UNFINISHED) for name, place in places.items()}
    with private(), _alone(drafts["warehouse"], settings.warehouse):
        for name in BESIDE:  # of a run that was killed
            _take_away(drafts[name])
        try:
            for name in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]:
                progress(f"restoring {name}")
                top, _, rest = name.partition("/")
                _copied(folder / name, drafts[top] / rest if rest else drafts[top])
            for name, place in places.items():  # the folder last: without it there is no warehouse
                if drafts[name].exists():
                    if place.is_dir():
                        place.rmdir()
                    drafts[name].rename(place)
        finally:
            for name in BESIDE:
                _take_away(drafts[name])
    return found


def _take_away(draft: Path) -> None:
    shutil.rmtree(draft, ignore_errors=True)
    draft.unlink(missing_ok=True) if draft.is_file() else None
