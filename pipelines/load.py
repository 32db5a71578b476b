"""Loading: land, name, judge, log, shape, estimate, check, publish.

A load is a state machine in `state.sqlite`: landed (files copied, untouched), logged (rows judged and in the logs),
published (in the build readers see). Whatever kills it, the next load sweeps what is half-written and goes on from the
last of these. A load that cannot go on is put aside (failed) with the reason, whatever it is, so that it never stands
in the way of others; only what is the machine's fault (a full disk, say) stops all of them.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from sqlalchemy import delete, insert, select

from pipelines import checks, erasing, estimate, factors, keys, landing, state
from pipelines.errors import (
    BackhaulError,
    CheckFailed,
    SourceError,
    WarehouseDamaged,
    WarehouseLocked,
)
from pipelines.logs import Logs, load_of
from pipelines.settings import Settings, data_path
from pipelines.sources import Source, faulty, recognise, source_named
from pipelines.sources.base import Lines
from pipelines.sources.looks import LISTS, shown
from pipelines.sources.mapping import Mapping
from pipelines.sources.tables import layout
from pipelines.sql import connect, read_sql
from pipelines.warehouse import build, contracts, schema, shape

PROSE = (".yaml", ".yml", ".md", ".txt")  # endings of files that are read only where a mapping names them
KEPT_BUILDS = 50  # builds whose checks and rows are remembered
OF_DISK = (errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
OF_DISK_SIGNS = (
    "could not write",
    "could not sync",
    "input/output error",
    "read-only file system",
    "too many open files",
)
GROWTH = 1.2  # of a build's file by rows that later ones replaced, before it is written anew
Progress = Callable[[str], None]


@dataclass
class Report:
    """What a load did.

    How each log's rows were judged, what changed in each table, which checks found rows, which alerts are new, who
    could not be told of them.

    Every row read stands in `counts` once; `derived` rows were made from rows counted there. `unread` are fields taken
    for missing, `hidden` texts kept as a keyed hash, by log. `refused` says of each file that was not taken in what it
    is; `notes` say what is odd about others. `files` says what became of the lines of each: lines + more_rows = rows +
    the others. `dated_by` says what told the newer of two versions: "declared" export times, or the "file" dates and
    the order of landing. `failed` are loads that were put aside (load, files, problem), `healed` says what was damaged
    and made again. `retained` are loads whose raw files were deleted for their age.
    """

    build_id: str | None
    is_new_build: bool = False
    kind: str = "none"
    counts: list[dict[str, Any]] = field(default_factory=list)
    derived: list[dict[str, Any]] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    unread: list[dict[str, Any]] = field(default_factory=list)
    dated_by: str = ""
    skipped: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)
    changes: dict[str, dict[str, int]] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    retained: list[str] = field(default_factory=list)


def load(
    settings: Settings,
    paths: Sequence[Path] = (),
    *,
    source: str | None = None,
    namespace: str | None = None,
    exported_at: datetime | None = None,
    is_anew: bool = False,
    is_trial: bool = False,
    progress: Progress = lambda _: None,
) -> Report:
    """Take files in and publish a build that holds them; without paths, finish what has landed.

    `exported_at` says when the files were exported (UTC), where neither they nor the mapping say so: of two versions of
    a row the later export's wins. `is_anew` makes a build though nothing new has landed: the choice of factors has
    changed. `is_trial` stops once the rows are judged.

    Then the alert rules are evaluated, and who is to be told is told. Raises SourceError when the files asked for were
    put aside (all else is done first), CheckFailed when a blocking check finds rows that are no new load's fault,
    WarehouseDamaged for what is damaged and cannot be made again, WarehouseLocked when another load is writing.
    """
    report, refusal = _load(settings, paths, source, namespace, exported_at, is_anew, is_trial, progress)
    if not is_trial:
        try:
            _tell(settings, report, progress)
        except OSError as error:
            _note_published(report, error)
            raise
    if refusal is not None:
        for sentence in report.healed:
            refusal.add_note(sentence)
        raise refusal
    return report


def _tell(settings: Settings, report: Report, progress: Progress) -> None:
    """Tell who is to be told of a build's alerts, once a build.

    Also when the load that published it was killed before.
    """
    memory = state.State(settings.warehouse)
    try:
        if report.build_id is None or memory.value("told_build") == report.build_id:
            return
        from pipelines import alerts  # metrics are read only when there is something new

        progress("telling of alerts")
        report.untold = alerts.tell(settings)
        with build.writing(settings.warehouse, settings.short_wait_s):
            memory.remember("told_build", report.build_id)
    finally:
        memory.close()


def _load(
    settings: Settings,
    paths: Sequence[Path],
    source: str | None,
    namespace: str | None,
    exported_at: datetime | None,
    is_anew: bool,
    is_trial: bool,
    progress: Progress,
) -> tuple[Report, BackhaulError | None]:
    """Load; also give the error of the load that was asked for, when it was put aside."""
    with build.writing(settings.warehouse, settings.wait_s):
        restored = state.put_back(settings.warehouse)
        memory = state.State(settings.warehouse)
        draft: build.Draft | None = None
        report = Report(None, healed=[restored] if restored else [])
        failures: dict[str, BackhaulError] = {}
        try:
            info = build.readable_info(settings.warehouse)
            if (
                not paths
                and info
                and (problem := build.problem(build.build_path(settings.warehouse, info["build_id"])))
            ):
                report.healed.append(f"The build {info['build_id']} was damaged ({problem}): made again from the logs.")
                info = {}
            report.build_id = info.get("build_id")
            held = set(info.get("loads", "").split())
            _check_known(settings, memory, held)
            build.sweep(settings.warehouse)
            _sweep(settings, memory)
            _heal_logs(settings, memory, report, is_deep=not paths)
            asked = None
            if paths or memory.loads_with("landing", "landed") or settings.next_key_file.exists():
                keys.read(settings, memory)
            if paths:
                files = _files([Path(p) for p in paths], settings, source, report)
                asked = _begin(memory, files, source, _checked_namespace(namespace), exported_at)

            def go_on(row: dict[str, Any], step: Callable[[dict[str, Any]], bool]) -> bool:
                """Take a load one step further; one that cannot go on is put aside."""
                try:
                    return step(row)
                except Exception as error:
                    if _is_of_machine(settings, error, row):
                        raise
                    failures[row["load_id"]] = _put_aside(settings, memory, row["load_id"], error, report)
                    return False

            for row in memory.loads_with("landing"):
                go_on(row, lambda row: _land(settings, memory, row, report, progress))
            is_ripe = _judge_future_again(settings, memory)
            while True:
                is_reordered = is_ripe
                while landed := memory.loads_with("landed"):
                    if draft is None:  # the last build is copied while new rows are judged
                        draft = build.Draft(settings.warehouse, state.now(), report.build_id)
                        Thread(
                            target=import_module, args=("pipelines.alerts",)
                        ).start()  # half a second, beside the database
                    row = min(landed, key=lambda r: (r["exported_at"] or datetime.min, r["load_id"]))
                    is_reordered |= go_on(row, lambda row: _log(settings, memory, row, report, progress))
                if is_trial:
                    return report, failures.get(asked or "")
                published = {row["load_id"] for row in memory.loads_with("published")}
                is_less = bool(held - published)  # a load that the build holds was taken back or put aside
                if memory.loads_with("logged") or is_less or ((is_anew or report.build_id is None) and published):
                    draft = draft or build.Draft(settings.warehouse, state.now(), report.build_id)
                    is_whole = is_reordered or is_anew or held != published
                    failures |= _build(settings, memory, draft, report, progress, is_whole=is_whole)
                if not memory.loads_with("landed"):
                    break
            if report.build_id is not None and memory.value("rules_build") != report.build_id:
                from pipelines import alerts  # metrics are read only when there is something new

                progress("looking for alerts")
                report.alerts = [v.sentence() for v in alerts.record(settings)]
                memory.remember("rules_build", report.build_id)
            _end_rotation(settings, memory)
            if settings.raw_days > 0:
                report.retained = _retain(settings, memory, settings.raw_days)
            unused = Logs(settings, memory).join()
            state.keep_copy(settings.warehouse)
            for file in unused:  # the state and its copy name another one for their rows
                file.unlink(missing_ok=True)
            return report, failures.get(asked or "")
        except duckdb.Error as error:
            if _is_disk_full(error):
                raise OSError(errno.ENOSPC, "No space left on device", str(settings.warehouse)) from error
            if _is_of_disk(error):
                raise OSError(errno.EIO, "Cannot be read or written", str(settings.warehouse)) from error
            raise
        except OSError as error:
            _note_published(report, error)
            raise
        finally:
            if draft is not None:
                draft.discard()
            memory.close()


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    told = str(error).lower()
    return isinstance(error, duckdb.Error) and any(
        sign in told for sign in ("no space left", "disk is full", "file too large", "quota exceeded")
    )


def _is_of_disk(error: BaseException | None) -> bool:
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


def _note_published(report: Report, error: OSError) -> None:
    """Note on an error of the disk that a build was published before it."""
    if report.is_new_build:
        error.add_note(f"The build {report.build_id} is published; the next load does what is left.")


def _is_of_machine(settings: Settings, error: Exception, row: dict[str, Any] | None = None) -> bool:
    """Say whether an error is no fault of a load's files.

    A full or failing disk, somebody's Ctrl-C, a damaged warehouse. Where a load has landed, its raw files are read
    whole to tell a disk that fails from files that cannot be read.
    """
    if isinstance(error, (WarehouseDamaged, WarehouseLocked, duckdb.InterruptException)) or _is_disk_full(error):
        return True
    if row is not None and row["files"] and damaged_raw(settings, row):
        return False
    if isinstance(error, OSError) and (error.errno in OF_DISK or _is_own(settings, error.filename)):
        return True
    if row is not None and row["files"] and _is_of_disk(error):
        return True
    if isinstance(error, RuntimeError) and "interrupted" in str(error).lower():  # DuckDB's word for Ctrl-C
        return True
    own = [f for f in (settings.warehouse, settings.raw, settings.warehouse / "log") if f.exists()]
    return isinstance(error, (OSError, duckdb.IOException)) and not all(os.access(f, os.W_OK) for f in own)


def _printable(text: str) -> str:
    """Show a name whose bytes are no UTF-8 with signs in their place."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _sentence(names: str, error: Exception) -> BackhaulError:
    """Say what is wrong with the files of a load, in one sentence: an error that has none gets one."""
    if isinstance(error, BackhaulError):
        return error
    lines = _printable(str(error)).splitlines()
    told = ((error.strerror if isinstance(error, OSError) else None) or (lines[0] if lines else ""))[:120]
    kind = type(error).__name__
    return SourceError(f"{names} cannot be loaded: {told} ({kind}). Correct the file and load it again.")


def _put_aside(
    settings: Settings, memory: state.State, load_id: str, error: Exception, report: Report
) -> BackhaulError:
    """Take a load that cannot go on out of the way.

    Its rows of the log go, its landed files stay until it is taken back.
    """
    (row,) = memory.loads_with("landing", "landed", "logged", load_id=load_id)
    names = [f["name"] for f in row["files"]] or [_printable(Path(f).name) for f in json.loads(row["asked"])["files"]]
    listed = f"{names[0][:60]}{f' (and {len(names) - 1} more)' if names[1:] else ''}"
    sentence = _sentence(listed, error)
    memory.set_status([load_id], "failed", problem=str(sentence)[:500], finished_at=state.now())
    _sweep(settings, memory)
    report.failed.append({"load": load_id, "files": listed, "problem": str(sentence)})
    return sentence


def _sweep(settings: Settings, memory: state.State) -> None:
    """Remove what the state says is left over.

    Log files that do not count, raw copies of loads taken back or never whole.
    """
    statuses = memory.statuses()
    Logs(settings, memory).sweep()
    unwanted = {load_id for load_id, status in statuses.items() if status == "withdrawn"}
    unwanted |= {row["load_id"] for row in memory.loads_with("failed") if not row["files"]}
    for load_id in unwanted:
        if (settings.raw / load_id).is_dir():
            shutil.rmtree(settings.raw / load_id)
    for row in memory.loads_with(
        "landed", "logged", "published", "failed"
    ):  # what others took the place of, or too old
        named = {Path(file["raw"]).parts[1] for file in row["files"] if not row["raw_gone_at"]}
        for folder in (settings.raw / row["load_id"]).glob("[0-9]*") if row["files"] else ():
            if re.fullmatch(r"\d{4}(\.\d+)?", folder.name) and folder.name not in named and folder.is_dir():
                shutil.rmtree(folder)


def _retain(settings: Settings, memory: state.State, days: int) -> list[str]:
    """Delete the raw files of loads that landed more than so many days ago and are published; give the loads.

    What waits in them to be judged again, because it is of the future, is waited for as many days at most. The mapping
    stays.
    """
    age = timedelta(days=days)
    due = [
        row["load_id"]
        for row in memory.loads_with("published")
        if row["files"]
        and not row["raw_gone_at"]
        and row["started_at"] < state.now() - age
        and not (row["again_at"] and row["again_at"] < state.now() + age)
    ]
    if due:
        memory.set_status(due, "published", raw_gone_at=state.now())
        _sweep(settings, memory)
    return due


def retain(settings: Settings, days: int, progress: Progress = lambda _: None) -> list[str]:
    """Delete the raw files of loads that landed more than so many days ago, once all that has landed is published.

    Give the loads.
    """
    load(settings, progress=progress)
    with build.writing(settings.warehouse, settings.wait_s):
        memory = state.State(settings.warehouse)
        try:
            gone = _retain(settings, memory, days)
            state.keep_copy(settings.warehouse)
            return gone
        finally:
            memory.close()


def rotate_key(settings: Settings, progress: Progress = lambda _: None) -> Report:
    """Let a new hashing key take the place of the present one.

    All loads are judged again with it, and a whole build is published. The old key goes when that build stands. Killed,
    it goes on with the next load. Raises SourceError when raw files are not there, and nothing is changed.
    """
    build.check_there(settings.warehouse)
    with build.writing(settings.warehouse, settings.wait_s):
        memory = state.State(settings.warehouse)
        try:
            keys.read(settings, memory)
            if keys.file_of(settings, memory) != settings.next_key_file:
                _begin_rotation(settings, memory, progress)
        finally:
            memory.close()
    return load(settings, progress=progress)


def _begin_rotation(settings: Settings, memory: state.State, progress: Progress) -> None:
    """Make a new key, and in one transaction let the logs be those that it makes: every load is judged again."""
    rows = memory.loads_with("landed", "logged", "published")
    told = _gone(rows)
    for row in rows if not told else ():
        progress(f"reading the raw files of load {row['load_id']}")
        if raw := damaged_raw(settings, row):
            told = f"the raw file {raw[0][:100]} is gone or damaged"
            break
    if told:
        raise SourceError(
            f"The hashing key cannot be changed: every load would be judged again, and {told}. Nothing was changed."
        )
    secret, key = erasing.secret_of(settings, memory), keys.write(settings.next_key_file)
    values = {"key_fingerprint": keys.fingerprint(key)}
    if secret is not None:
        values["forgotten_secret"] = erasing.hidden_secret(secret, key)
    with memory.transaction() as connection:
        is_logged = state.load.c.status.in_(("logged", "published"))
        connection.execute(state.load.update().where(is_logged).values(status="landed"))
        connection.execute(delete(state.remembered).where(state.remembered.c.name.in_(values)))
        connection.execute(insert(state.remembered), [{"name": n, "value": v} for n, v in values.items()])


def _end_rotation(settings: Settings, memory: state.State) -> None:
    """Put a new key in the place of the old one, once every load is published with it; builds of the old one go."""
    if keys.file_of(settings, memory) != settings.next_key_file or memory.loads_with("landed", "logged"):
        return
    for old in build.own_files(settings.warehouse):
        if old.stem != build.current_id(settings.warehouse):
            old.unlink()
    memory.keep_builds(1)
    memory.compact()
    settings.next_key_file.replace(settings.key_file)
    build.sync(settings.key_file.parent)


def _gone(rows: Iterable[dict[str, Any]]) -> str:
    """Say of the first load whose raw files were deleted for their age that they were; nothing when all have theirs."""
    found = next((row for row in rows if row["raw_gone_at"]), None)
    return (
        f"the raw files of load {found['load_id']} were deleted for their age on {found['raw_gone_at']:%Y-%m-%d}"
        if found
        else ""
    )


# -- landing -----------------------------------------------------------------------------------------------------------


def _judge_later_exports_again(settings: Settings, memory: state.State, row: dict[str, Any]) -> bool:
    """Send later exports of a mapping back to be judged, when an older one of the same rows has come.

    Say whether there are any. What an export takes back, and whether its rows are news, depends on what was said before
    it: so the logs become what they would be, had the exports come in order.
    """
    this = memory.loads_with("logged", load_id=row["load_id"])[0]
    if not this["mapping"]:
        return False
    others = [
        r
        for r in memory.loads_with("logged", "published")
        if (r["source"], r["namespace"]) == (this["source"], this["namespace"]) and r["load_id"] != this["load_id"]
    ]
    later = [r for r in others if (r["exported_at"] or datetime.min) > this["exported_at"]]
    mapping = source_named(str(settings.raw / this["mapping"]))
    is_whole = isinstance(mapping, Mapping) and mapping.export.is_whole
    if not later or not (is_whole or _shares_rows(settings, memory, this["load_id"], [r["load_id"] for r in others])):
        return False
    if gone := _gone(later):
        raise SourceError(
            "This export is older than what was loaded of the same rows, which would be judged again after it, and"
            f" {gone}. It is put aside; nothing else changed."
        )
    memory.set_status([r["load_id"] for r in later], "landed")
    return True


def _judge_again(memory: state.State, gone: dict[str, Any], *statuses: str) -> bool:
    """Send the loads after one that is gone back to be judged: what they said again was a duplicate of its rows.

    Says whether there are any. Raises SourceError when one has no raw files any more.
    """
    later = [
        row
        for row in memory.loads_with(*statuses)
        if row["namespace"] == gone["namespace"] and row["load_id"] > gone["load_id"]
    ]
    if told := _gone(later):
        raise SourceError(
            f"Load {gone['load_id']} cannot be taken back: what later loads said again counted as its duplicates, so"
            f" they would be judged again, and {told}. Nothing was changed."
        )
    memory.set_status([row["load_id"] for row in later], "landed")
    return bool(later)


def _judge_future_again(settings: Settings, memory: state.State) -> bool:
    """Send loads back to be judged that hold rows which were of the future and are no longer.

    Say whether there are any.
    """
    due = [
        r["load_id"]
        for r in memory.loads_with("logged", "published")
        if r["again_at"]
        and r["again_at"] <= state.now()
        and all((settings.raw / f["raw"]).exists() for f in r["files"])
    ]
    memory.set_status(due, "landed", again_at=None)
    return bool(due)


def _shares_rows(settings: Settings, memory: state.State, load_id: str, others: list[str]) -> bool:
    """Say whether a load's log files hold an id that those of other loads hold too."""
    logs = Logs(settings, memory)
    with connect(threads=settings.threads, folders=[logs.folder]) as connection:
        for thing, table in schema.LOG.tables.items():
            ours, theirs = logs.sql(thing, [load_id]), logs.sql(thing, others)
            if thing in contracts.REVERSIBLE and ours and theirs:
                same = contracts.identity_of(table)
                shared = f"SELECT 1 FROM {ours} SEMI JOIN {theirs} USING ({same}) LIMIT 1"
                if connection.execute(shared).fetchone():
                    return True
    return False


def _files(paths: Iterable[Path], settings: Settings, source: str | None, report: Report) -> list[Path]:
    """List the files of paths. Of a folder, files that no table of the mapping takes are left out, and said to be."""
    mapping = source_named(source) if source else None
    found = landing.find(paths, settings)
    report.refused += [sentence for sentence in found.refused if sentence not in report.refused]
    if isinstance(mapping, Mapping):
        of_folders = [f for f in found.files if f not in set(paths)]
        left_out = [f for f in of_folders if f.suffix not in PROSE and not mapping.takes(f)]
        report.left_out += [shown(f) for f in left_out]
        found.files = [f for f in found.files if f not in left_out]
        if not found.files:
            raise SourceError(
                f"{mapping.name} takes none of the files, such as {shown(left_out[0])}. It reads {mapping.expects}."
            )
    return found.files


def _begin(
    memory: state.State, files: list[Path], name: str | None, namespace: str | None, exported_at: datetime | None
) -> str:
    """Remember what was asked for before anything else, so that a load killed while landing can be taken up.

    Give its id. One that was put aside over the same files is tried again by this one.
    """
    asked = json.dumps(
        {
            "files": [str(f.absolute()) for f in files],
            "source": str(Path(name).absolute()) if name and Path(name).is_file() else name,
            "exported_at": exported_at.isoformat() if exported_at else None,
        }
    )
    load_id = _next_id(memory)
    row = {"load_id": load_id, "started_at": state.now(), "status": "landing", "namespace": namespace, "asked": asked}
    again = (state.load.c.status == "failed") & (state.load.c.asked == asked)
    with memory.transaction() as connection:
        connection.execute(delete(state.load).where(again))
        connection.execute(insert(state.load).values(row))
    return load_id


def _next_id(memory: state.State) -> str:
    """Give an id after every other: the time, or a moment after the last load where the clock was put back."""
    last = max((i for i in memory.statuses() if load_of(Path(i))), default="")
    at = f"{state.now():%Y%m%dT%H%M%S%f}"
    return (
        at if at > last else f"{datetime.strptime(last, '%Y%m%dT%H%M%S%f') + timedelta(microseconds=1):%Y%m%dT%H%M%S%f}"
    )


def _land(settings: Settings, memory: state.State, begun: dict[str, Any], report: Report, progress: Progress) -> bool:
    """Copy new files to the raw folder and remember them; files already taken in are skipped.

    Says whether any is new.
    """
    progress("landing files")
    load_id: str = begun["load_id"]
    asked = json.loads(begun["asked"])
    name: str | None = asked["source"]
    digests: dict[Path, tuple[str, os.stat_result]] = {}
    refusals: list[SourceError] = []
    for file in _files([Path(f) for f in asked["files"]], settings, name, report):
        try:
            digests[file] = landing.digest(file)
        except SourceError as error:
            refusals.append(error)
    files = list(digests)
    if not files:
        raise refusals[0]
    origin: Source = source_named(name) if name else recognise(files)
    mains = set(origin.main_files(files)) if isinstance(origin, Mapping) else set(files)
    sides = set(origin.side_files(files)) if isinstance(origin, Mapping) else set()  # needed again by every load
    files = [f for f in files if f.suffix not in PROSE or (isinstance(origin, Mapping) and f in mains | sides)] or files
    is_whole = isinstance(origin, Mapping) and origin.export.is_whole
    if is_whole and refusals:  # what is refused would be withdrawn
        raise refusals[0]
    if isinstance(origin, Mapping) and is_whole and (absent := origin.missing_files(files)):
        raise SourceError(
            f"{origin.name} says `export: whole`, and no file is named {', '.join(absent)}: their rows would be"
            " withdrawn. Give all files together."
        )
    if isinstance(origin, Mapping) and data_path("mappings") in origin.path.parents:
        report.notes += _taken_for_all(origin)
    prefix = begun["namespace"] or _namespace_of(origin, memory)
    shutil.rmtree(settings.raw / load_id, ignore_errors=True)
    known = memory.known_files(origin.name, prefix, origin.version)
    settings.raw.mkdir(parents=True, exist_ok=True, mode=0o700)
    exports: dict[Path, tuple[str, datetime, str]] = {}
    fresh: set[Path] = set()
    here: dict[tuple[str, str], datetime] = {}
    for file in files:
        digest, seen = digests[file]
        exports[file] = (digest, *_exported_at(file, origin, asked.get("exported_at")))
        is_void = not seen.st_size and file.suffix.lower() not in LISTS  # each empty file is said to be empty
        # a file that its name makes another log's, or none's, is no twin that would stand for this one
        twin = (digest, file.name.split(".")[0] if origin.name == "canonical" else "")
        earlier = [at for at in (known.get(digest), here.get(twin)) if at]
        if is_void or not earlier or exports[file][1] > max(earlier):
            here[twin] = exports[file][1]
            fresh.add(file)
    # what is joined is needed whenever a table is read, and the tables are read anew when it has changed
    taken = set() if not fresh else set(files) if fresh & sides or is_whole else fresh | sides
    report.skipped += [shown(file) for file in files if file not in taken]
    if taken and taken <= sides - mains:
        raise SourceError(
            f"{files[0].name} is only joined to the rows of other files. Load it together with the files it is"
            " joined to."
        )
    rows: list[dict[str, Any]] = []
    for file in (f for f in files if f in taken):
        _, exported_at, dated_by = exports[file]
        report.dated_by = dated_by
        name = _without_address(_printable(file.name), digests[file][0], origin)
        try:
            kept, digest, size = landing.keep(file, settings.raw / load_id / f"{len(rows):04d}", name, digests[file][1])
        except SourceError as error:
            if is_whole or file in sides:
                raise
            shutil.rmtree(settings.raw / load_id / f"{len(rows):04d}")
            refusals.append(error)
            continue
        rows.append(
            {
                "load_id": load_id,
                "name": kept.name,
                "raw": str(kept.relative_to(settings.raw)),
                "sha256": digest,
                "bytes": size,
                "exported_at": exported_at,
                "dated_by": dated_by,
            }
        )
    report.refused += [str(error) for error in refusals]
    if not rows and len(refusals) == len(digests):
        raise refusals[0]
    if not rows:
        memory.forget(load_id)
        return False
    erasing.mask(settings, memory, origin, prefix, rows, lambda: connected(settings))
    mapping = None
    if isinstance(origin, Mapping):  # kept as it was: the file may change, and so may what comes with the product
        mapping = str(Path(load_id) / origin.path.name)
        (settings.raw / mapping).write_text(origin.text, encoding="utf-8")
    with memory.transaction() as connection:
        connection.execute(insert(state.load_file), [{"given_sha256": None, **row} for row in rows])
        landed = {
            "status": "landed",
            "source": origin.name,
            "namespace": prefix,
            "version": origin.version,
            "mapping": mapping,
            "asked": None,
            "exported_at": max(row["exported_at"] for row in rows),
        }
        connection.execute(state.load.update().where(state.load.c.load_id == load_id).values(landed))
    kept_digests = {row["sha256"] for row in rows}
    for tried in memory.loads_with("failed"):  # the same files, put aside before
        if tried["files"] and {f["sha256"] for f in tried["files"]} <= kept_digests:
            shutil.rmtree(settings.raw / tried["load_id"], ignore_errors=True)
            memory.forget(tried["load_id"])
    return True


def _taken_for_all(origin: Mapping) -> list[str]:
    """Say what a mapping that came with the product, and that nobody looked over, takes for every row."""
    constants = origin.content.get("constants") or {}
    said = {name: constants[name] for name in ("currency", "country") if constants.get(name, "ZZ") != "ZZ"}
    if not said:
        return []
    taken = " and ".join(f"{name} {value}" for name, value in said.items())
    return [
        f"{origin.name} takes {taken} for every row without one. Where that is wrong, copy {origin.path.name}, change"
        " `constants:` and load with --source."
    ]


def _without_address(name: str, digest: str, origin: Source) -> str:
    """Give a file's name with its digest in place of an e-mail address, unless the source knows the file by that."""
    plain = re.sub(r"[^.\s@]+@[^\s@]+?(?=(?:\.\w{1,7}){1,2}$|\s|$)", digest[:12], name)
    return plain if not isinstance(origin, Mapping) or origin.takes(Path(plain)) else name


NAMESPACE = r"[A-Za-z0-9._-]{1,100}"


def _checked_namespace(namespace: str | None) -> str | None:
    """Give a namespace as it is. Raises SourceError for one that is no plain word."""
    if namespace is not None and not re.fullmatch(NAMESPACE, namespace):
        raise SourceError(
            f"{namespace[:60]!r} cannot be a namespace: it stands before every id. Write letters, digits, dots,"
            " underscores and hyphens."
        )
    return namespace


def _namespace_of(origin: Source, memory: state.State) -> str:
    """Give the prefix of a source's ids: its name, in letters, digits, dots, underscores and hyphens.

    Where something else had to go, a digest of the name keeps two names apart. A name that ids begin with already
    stays.
    """
    if origin.name == "canonical":
        return "shop"
    taken = memory.rows(select(state.load.c.load_id).where(state.load.c.namespace == origin.name).limit(1))
    if re.fullmatch(NAMESPACE, origin.name) or taken:
        return origin.name
    plain = unicodedata.normalize("NFKD", origin.name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9._]+", "-", plain)[:60].strip("-")
    return f"{words or 'source'}-{hashlib.sha256(origin.name.encode()).hexdigest()[:6]}"


def _exported_at(file: Path, origin: Source, declared: str | None) -> tuple[datetime, str]:
    """Say when a file was exported, and what says so: the command or the mapping, else the file's date.

    Files of one date follow each other in the order they land: a copy changes the time of a file more often than its
    date.
    """
    if declared:
        return datetime.fromisoformat(declared), "declared"
    if isinstance(origin, Mapping) and (said := origin.exported_at(file)):
        return said, "declared"
    changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    return changed.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None), "file"


# -- the logs ----------------------------------------------------------------------------------------------------------


def _check_known(settings: Settings, memory: state.State, held: set[str]) -> None:
    """Raise WarehouseDamaged when the build or the log hold loads that the state has never heard of.

    It is lost, or older than they are.
    """
    known = memory.statuses()
    logged = {load_of(f) for f in (settings.warehouse / "log").glob("*/*/*.parquet")} - {""}
    unknown = sorted((held or logged if known else held | logged) - known.keys())
    if unknown:
        raise WarehouseDamaged(
            f"{settings.warehouse / 'state.sqlite'} knows nothing of {len(unknown)} loads that are here (first"
            f" {unknown[0]}): it is lost or older. Put the right one back, or load the files in {settings.raw} into a"
            " new --warehouse. Nothing was changed."
        )


def damaged_raw(settings: Settings, row: dict[str, Any]) -> list[str]:
    """Name the raw files of a load that are gone, for their age too, or differ from when they landed."""
    files = [(f["raw"], f["sha256"]) for f in row["files"]]
    bad = [raw for raw, digest in files if not build.is_whole(settings.raw / raw, digest)]
    is_unmapped = row["mapping"] and not (settings.raw / row["mapping"]).is_file()
    return bad + ([row["mapping"]] if is_unmapped else [])


def _heal_logs(settings: Settings, memory: state.State, report: Report, *, is_deep: bool) -> None:
    """Send loads whose log files are gone or damaged back to be judged from their raw files.

    Raises WarehouseDamaged where these are too.
    """
    logged = {row["load_id"]: row for row in memory.loads_with("logged", "published")}
    Logs(settings, memory).remember_older()
    for load_id, problems in Logs(settings, memory).damaged(is_deep=is_deep, is_kept=True).items():
        if told := _gone([logged[load_id]]):
            raise WarehouseDamaged(
                f"{problems[0]}, and {told}, so it cannot be made again. Put it back from a copy, or give the load up"
                f" with `backhaul withdraw {load_id}`."
            )
        if raw := damaged_raw(settings, logged[load_id]):
            raise WarehouseDamaged(
                f"{problems[0]}, and so is {raw[0]}, from which it is made. Restore either, or give the load up with"
                f" `backhaul withdraw {load_id}`."
            )
        memory.set_status([load_id], "landed")
        report.healed += [f"{problem}: made again from the raw files of load {load_id}." for problem in problems]


def _log(settings: Settings, memory: state.State, landed: dict[str, Any], report: Report, progress: Progress) -> bool:
    """Name and judge the rows of one landed load and append the accepted ones to the logs.

    Says whether later exports of the same rows are to be judged again.
    """
    load_id: str = landed["load_id"]
    mapping = settings.raw / landed["mapping"] if landed["mapping"] else None
    origin = source_named(str(mapping) if mapping else landed["source"])
    key = keys.read(settings, memory)
    earlier = memory.loads_with("logged", "published")
    same = [r["load_id"] for r in earlier if (r["source"], r["namespace"]) == (origin.name, landed["namespace"])]
    whole = origin.export if isinstance(origin, Mapping) else None
    files = [settings.raw / f["raw"] for f in landed["files"]]
    refused: dict[Path, SourceError] = {}
    try:
        counts, faults, lines = _judged(settings, memory, landed, origin, files, earlier, same, key, report, progress)
    except Exception as error:  # whatever it is, a file that is at fault by itself does not keep the others out
        if _is_of_machine(settings, error, landed):
            raise
        if not whole or not whole.is_whole:
            refused = faulty(origin, files, landed["namespace"], lambda: connected(settings))
        if len(refused) == len(files) and len(files) + len(report.skipped) + len(report.refused) == 1:
            raise next(iter(refused.values())) from error
        if len(refused) == len(files):
            problem = str(next(iter(refused.values())))
            memory.set_status([load_id], "failed", problem=problem, finished_at=state.now())
            _sweep(settings, memory)
            report.refused += map(str, refused.values())
            return False
        if not refused and isinstance(error, duckdb.Error):
            raise SourceError(
                f"{landed['source']}: the files cannot be read. {str(error).splitlines()[0][:150]} Correct the file and"
                " load it again."
            ) from error
        if not refused:
            raise
        report.ignored.clear()
        files = [f for f in files if f not in refused]
        counts, faults, lines = _judged(settings, memory, landed, origin, files, earlier, same, key, report, progress)
        report.refused += map(str, refused.values())
    if not counts:
        first, *others = files
        more = f" (and {len(others)} more)" if others else ""
        raise SourceError(
            f"{landed['source']} found nothing to read: {first.name}{more} is {layout(first)}. It reads"
            f" {origin.expects}."
        )
    if whole and whole.is_whole and not any(c["read"] for c in counts if not c["is_derived"]):
        raise SourceError(
            f"{landed['source']}: a whole export without a row would withdraw everything, so nothing was changed."
            " Export it again."
        )
    exported_at = max(c.pop("exported_at") or landed["exported_at"] for c in counts)
    again_at = min((at for c in counts if (at := c.pop("again_at"))), default=None)
    Logs(settings, memory).remember(load_id)
    with memory.transaction() as connection_:
        for table in (state.load_count, state.quarantine):
            connection_.execute(delete(table).where(table.c.load_id == load_id))
        for file in refused:  # so that it is not taken for loaded when it comes again
            raw = str(file.relative_to(settings.raw))
            connection_.execute(
                delete(state.load_file).where(state.load_file.c.load_id == load_id, state.load_file.c.raw == raw)
            )
        connection_.execute(insert(state.load_count), counts)
        if faults:
            connection_.execute(
                insert(state.quarantine),
                [
                    {
                        "load_id": load_id,
                        "source": landed["namespace"],
                        "thing": fault.log,
                        "file": Path(fault.file).name,
                        "line": fault.line,
                        "rules": fault.rules,
                        "value": fault.value,
                        "is_field": int(fault.is_field),
                    }
                    for fault in faults
                ],
            )
        connection_.execute(
            state.load.update()
            .where(state.load.c.load_id == load_id)
            .values(status="logged", exported_at=exported_at, again_at=again_at)
        )
        for row in lines:
            is_file = (state.load_file.c.load_id == load_id) & (state.load_file.c.name == row["file"])
            connection_.execute(state.load_file.update().where(is_file).values(lines=json.dumps(row)))
    for file in refused:
        shutil.rmtree(file.parent)
    is_reordered = _judge_later_exports_again(settings, memory, landed)
    report.files += lines
    report.notes += [
        f"{shown(r['file'])} holds a header and no rows."
        for r in lines
        if r["header"] and not r["rows"] + r["left_out"]
    ]
    _report_judged(report, counts, faults)
    return is_reordered


@contextmanager
def connected(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that reaches the logs, the raw folder and a staging folder of its own."""
    staging = settings.raw / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    connection = connect(threads=settings.threads, folders=[settings.warehouse / "log", settings.raw], staging=staging)
    try:
        yield connection
    finally:
        connection.close()
        shutil.rmtree(staging, ignore_errors=True)


def _judged(
    settings: Settings,
    memory: state.State,
    landed: dict[str, Any],
    origin: Source,
    files: list[Path],
    earlier: list[dict[str, Any]],
    same: list[str],
    key: bytes,
    report: Report,
    progress: Progress,
) -> tuple[list[dict[str, Any]], list[contracts.Fault], list[dict[str, Any]]]:
    """Name and judge the rows of files, the accepted ones into log files.

    How each log was judged, what is at fault, the lines of each file.
    """
    load_id, logs = landed["load_id"], Logs(settings, memory)
    for file in logs.folder.glob(f"*/{load_id[:6]}/{load_id}.parquet"):  # of an attempt before this one
        build.clear(file)
    counts: list[dict[str, Any]] = []
    faults: list[contracts.Fault] = []
    lines: dict[str, Lines] = {}
    taken: dict[str, list[tuple[int, int]]] = {}
    forgotten = erasing.forgotten(settings, memory, landed["namespace"])
    with connected(settings) as connection:
        for named in origin.name_rows(connection, files, landed["namespace"]):
            progress(f"judging {named.thing}")
            target = logs.folder / named.thing / load_id[:6] / f"{load_id}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            export = contracts.Export(
                {
                    f["name"]: (number, f["exported_at"] or landed["started_at"])
                    for number, f in enumerate(landed["files"])
                },
                logs.sql(named.thing, same) if isinstance(origin, Mapping) else "",
                *(_span(origin) if isinstance(origin, Mapping) else ()),
            )
            judged, bad = contracts.judge(
                connection,
                named,
                source=origin.name,
                namespace=landed["namespace"],
                load_id=load_id,
                landed_at=max(landed["started_at"], state.now()),
                key=key,
                logged=logs.sql(named.thing, [r["load_id"] for r in earlier]),
                target=str(target),
                export=export,
                customer_sql=forgotten.customer_sql() if forgotten else "v",
            )
            count = {"load_id": load_id, "source": landed["namespace"], **asdict(judged)}
            for file_name, found in count.pop("by_file").items():
                taken.setdefault(file_name, []).append(found)
            lines |= named.lines
            counts.append(count)
            faults += bad
            if named.ignored_columns:
                report.ignored.setdefault(named.thing, []).extend(named.ignored_columns)
    return (
        counts,
        faults,
        [_closed(file_name, of_file, taken.get(file_name, [])) for file_name, of_file in lines.items()],
    )


def _closed(file_name: str, lines: Lines, taken: list[tuple[int, int]]) -> dict[str, Any]:
    """Say what became of a file's lines: lines + more_rows = rows (accepted, duplicate or quarantined) + the others.

    `within` go on inside a cell of the line before, `left_out` are rows that the mapping's conditions leave out, and
    `more_rows` come from a line that gives several. `taken` counts rows, and lines that gave some, of each log that
    counts the file's rows.
    """
    others = {kind: lines[kind] for kind in ("header", "blank", "preamble", "totals", "within")}
    left = lines["lines"] - sum(others.values())
    rows = sum(n for n, _ in taken)
    left_out = max(left - sum(n for _, n in taken), 0)
    more = rows - (left - left_out)
    return {"file": file_name, "lines": lines["lines"], "rows": rows, **others, "left_out": left_out, "more_rows": more}


def _span(mapping: Mapping) -> tuple[bool, datetime | None, datetime | None]:
    """Say whether a mapping's files are whole, and of which span.

    Its first instant and the first one after it (UTC).
    """
    said, zone = mapping.export, ZoneInfo(str(mapping.content.get("time_zone") or "UTC"))

    def begins(day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).replace(tzinfo=None)

    until = begins(said.until + timedelta(days=1)) if said.until else None
    return said.is_whole, begins(said.since) if said.since else None, until


COUNTED = ("read", "accepted", "duplicate", "quarantined", "replaced", "withdrawn")


def _report_judged(report: Report, counts: list[dict[str, Any]], faults: list[contracts.Fault]) -> None:
    """Add what one load's rows were judged to what the load says."""
    for count in counts:
        row = {"source": count["source"], "table": count["thing"], **{k: count[k] for k in COUNTED}}
        if count["hidden_texts"]:
            report.hidden[count["thing"]] = report.hidden.get(count["thing"], 0) + count["hidden_texts"]
        (report.derived if count["is_derived"] else report.counts).append(row)
    by_rule: dict[tuple[str, str, bool], list[contracts.Fault]] = {}
    for fault in faults:
        by_rule.setdefault((fault.log, fault.rules, fault.is_field), []).append(fault)
    for (log, rules, is_field), listed in by_rule.items():
        first = f"{listed[0].value!r}, {Path(listed[0].file).name} line {listed[0].line}"
        (report.unread if is_field else report.quarantined).append(
            {"table": log, "fault": rules, "rows": len(listed), "first": first}
        )


def _build(
    settings: Settings,
    memory: state.State,
    draft: build.Draft,
    report: Report,
    progress: Progress,
    *,
    is_whole: bool,
) -> dict[str, BackhaulError]:
    """Build and publish what is logged; give the new loads that had to be put aside for it, each with its error.

    Where an increment fails, the build it was copied from may be damaged: everything is made again from the logs. Where
    that fails, loads are left out, the newest first, until it holds; the last one left out is at fault.
    """

    def attempt(loads: list[dict[str, Any]], *, is_probe: bool = False) -> Exception | None:
        try:
            _build_once(
                settings, memory, draft, loads, report, progress, is_whole=is_whole or is_probe, is_probe=is_probe
            )
        except Exception as error:
            is_known = isinstance(error, BackhaulError) and not isinstance(error, CheckFailed)
            if (
                is_known
                or isinstance(error, (duckdb.OutOfMemoryException, MemoryError))
                or _is_of_machine(settings, error)
            ):
                raise
            return error
        finally:
            if is_probe:
                draft.empty()
        return None

    failures: dict[str, BackhaulError] = {}
    while True:
        published, new = memory.loads_with("published"), memory.loads_with("logged")
        problem = attempt(published + new)
        if problem is not None and draft.is_copy:
            draft.empty()
            problem = attempt(published + new)
        if problem is None:
            return failures
        draft.empty()
        progress("looking for the load that cannot be built")
        if attempt(published, is_probe=True) is not None:  # no new load's fault
            if isinstance(problem, CheckFailed) or not published:  # no load's at all
                raise problem
            first = _first_failing(published, 0, attempt)
            raise WarehouseDamaged(
                (
                    f"The rows of load {first['load_id']} ({first['files'][0]['name'][:60]}) cannot be built: "
                    f"{_sentence('it', problem)} Readers keep the last build. "
                    f"`backhaul withdraw {first['load_id']}` takes it back."
                )[:300]
            ) from problem
        every = published + new
        first = every[-1] if len(new) == 1 else _first_failing(every, len(published), attempt)
        failures[first["load_id"]] = _put_aside(settings, memory, first["load_id"], problem, report)
        if _judge_again(memory, first, "logged"):
            return failures
        if not memory.loads_with("logged") and report.build_id is not None and not is_whole:
            return failures


def _first_failing(
    loads: list[dict[str, Any]], holding: int, attempt: Callable[..., Exception | None]
) -> dict[str, Any]:
    """Give the load that makes a build fail, by halves: the first `holding` loads build, all of them do not."""
    failing = len(loads)
    while failing - holding > 1:
        middle = (failing + holding) // 2
        if attempt(loads[:middle], is_probe=True) is None:
            holding = middle
        else:
            failing = middle
    return loads[failing - 1]


def _build_once(
    settings: Settings,
    memory: state.State,
    draft: build.Draft,
    every: list[dict[str, Any]],
    report: Report,
    progress: Progress,
    *,
    is_whole: bool,
    is_probe: bool,
) -> None:
    """Shape, estimate, check and publish one build over these loads.

    `is_whole` shapes all of it anew, `is_probe` publishes nothing.
    """
    logs, build_id = Logs(settings, memory), draft.build_id
    loads, restored = [row["load_id"] for row in every], [row["load_id"] for row in every if row["restored_at"]]
    new = [row["load_id"] for row in every if row["status"] == "logged"]
    connection = draft.open(settings.threads)
    before: dict[str, int] = {}
    try:
        before = _row_counts(connection) if draft.is_copy else {}
        progress("reading the logs")
        shape.open_logs(connection, logs.sql, loads, new, restored)
        last = _info(connection) if draft.is_copy else {}
        is_known = last.get("schema_version") == schema.VERSION
        known = shape.Flags.of(last["flags"]) if is_known else None
        found = shape.flags(connection, settings.reporting_currency, known)
        ledger = factors.ledger(settings)
        found.factors = ledger.digest
        is_increment = False
        if found == known and not is_whole:
            shape.touch(connection)
            is_increment = shape.touched_share(connection) <= shape.SHARE_TO_REBUILD
        if not is_increment:
            last = {}
            if draft.is_copy:
                connection.close()
                draft.empty()
                connection = draft.open(settings.threads)
                shape.open_logs(connection, logs.sql, loads, new, restored)
            shape.survivors(connection)
        progress("shaping facts")
        _shape(connection, found, is_increment)
        shape.shape_quarantine(connection, logs.sql, every)
        odd = factors.implausible(r for r in ledger.rows if r["factor_set"] == ledger.chosen)
        _write_info(connection, build_id, found, last, loads, list(odd))
        progress("estimating cost, carbon, promises and probabilities")
        estimate.run(connection, settings, is_increment=is_increment)
        progress("checking")
        results = checks.run(connection, is_increment=is_increment)
        failed = [r for r in results if r.rows and r.check.is_blocking]
        at = state.now()
        if not is_probe:
            memory.write(
                state.check_result,
                [
                    {
                        "build_id": build_id,
                        "name": r.check.name,
                        "is_blocking": int(r.check.is_blocking),
                        "rows": r.rows,
                        "sample": r.sample,
                        "sentence": r.check.sentence,
                        "checked_at": at,
                    }
                    for r in results
                ],
            )
        if failed:
            first = failed[0]
            raise CheckFailed(
                f"The check {first.check.name} found {first.rows} rows, so nothing was published and readers keep the"
                f" last build. {first.check.sentence} First rows: {first.sample}",
                json.loads(first.sample),
            )
        if is_probe:
            return
        after = _row_counts(connection)
        progress("publishing")
        most_bytes = GROWTH * float(memory.value("anew_bytes") or 0) if is_increment else None
        anew_bytes = draft.publish(connection, settings.keep_builds, most_bytes=most_bytes)
        report.build_id, report.is_new_build = build_id, True
    finally:
        connection.close()
    memory.write(
        state.build,
        [
            {
                "build_id": build_id,
                "created_at": at,
                "kind": "increment" if is_increment else "full",
                "table": t,
                "rows": n,
                "change": n - before.get(t, 0),
            }
            for t, n in after.items()
        ],
    )
    memory.set_status(new, "published", build_id=build_id, finished_at=at)
    memory.keep_builds(KEPT_BUILDS)
    if anew_bytes is not None:
        memory.remember("anew_bytes", str(anew_bytes))
    report.kind = "increment" if is_increment else "full"
    report.changes = {t: {"rows": n, "change": n - before.get(t, 0)} for t, n in after.items()}
    report.warnings = [{"check": r.check.name, "rows": r.rows, "sentence": r.check.sentence} for r in results if r.rows]


def _shape(connection: duckdb.DuckDBPyConnection, found: shape.Flags, is_increment: bool) -> None:
    if not is_increment:
        shape.create_tables(connection)
        shape.shape_dimensions(connection)
        shape.look_up(connection, found.currency, is_increment=False)
        shape.relate(connection, is_increment=False)
        shape.shape_order_lines(connection, found)
        shape.shape_return_lines(connection, found)
        shape.shape_legs(connection, found)
        shape.shape_carrier_money(connection, found)
        shape.shape_refunds(connection, found)
        shape.shape_recoveries(connection, found)
        shape.shape_promised_dates(connection)
    else:
        line, of_return, parcel, refund = shape.TOUCHED.values()
        shape.narrow(connection)
        shape.touch_estimated(connection)
        leg, lot, returned = shape.ESTIMATED.values()
        connection.execute(f"""
            DELETE FROM estimate_return_probability WHERE {line}; DELETE FROM estimate_promise WHERE {returned};
            DELETE FROM estimate_return_carbon WHERE {lot}; DELETE FROM estimate_return_cost WHERE {lot}; DELETE
                FROM estimate_avoided_carbon WHERE {lot};
            DELETE FROM estimate_leg_carbon WHERE {leg}; DELETE FROM estimate_leg_cost WHERE {leg};
            DELETE FROM fact_order_line WHERE {line}; DELETE FROM fact_return_line WHERE {of_return}; DELETE
                FROM fact_return_event WHERE {of_return};
            DELETE FROM fact_return_leg WHERE {parcel}; DELETE FROM fact_recovery WHERE {of_return}; DELETE
                FROM fact_refund WHERE {refund};
            DELETE FROM fact_refund_line WHERE {refund} OR (refund_key IS NULL AND {of_return}); DELETE
                FROM fact_promised_date WHERE {of_return};
            DELETE FROM build_info;
        """)
        shape.look_up(connection, found.currency, is_increment=True)
        shape.shape_order_lines(connection, found, line)
        shape.relate(connection, is_increment=True)
        shape.shape_return_lines(connection, found, of_return)
        shape.shape_legs(connection, found, parcel)
        shape.shape_refunds(connection, found, refund, of_return)
        shape.shape_recoveries(connection, found, of_return)
        shape.shape_promised_dates(connection, of_return)
        shape.touch_estimated(connection)
    shape.shape_seen(connection, is_increment=is_increment)


def _write_info(
    connection: duckdb.DuckDBPyConnection,
    build_id: str,
    found: shape.Flags,
    last: dict[str, str],
    loads: list[str],
    implausible: list[str],
) -> None:
    """Describe the build.

    `last` is the description of the one it was copied from, if any, `implausible` are ids of factors.
    """
    observed = connection.execute(
        "SELECT max(last_occurred_at) FROM build_source WHERE thing IN ('order_line', 'return_event', 'chain_element',"
        " 'refund', 'refund_line', 'recovery')"
    ).fetchall()[0][0]
    names = connection.execute("""
        SELECT DISTINCT unnest(json_keys(dimensions)) AS own FROM (
            SELECT dimensions FROM fact_order_line WHERE dimensions IS NOT NULL UNION ALL SELECT dimensions
                FROM fact_return_line WHERE dimensions IS NOT NULL)
        ORDER BY 1
    """).fetchall()
    info = last | {
        "build_id": build_id,
        "schema_version": schema.VERSION,
        "flags": found.text(),
        "reporting_currency": found.currency,
        "observed_until": observed.isoformat() if observed else "",
        "created_at": state.now().isoformat(),
        "kind": "increment" if last else "full",
        "loads": " ".join(loads),
        "implausible_factors": json.dumps(implausible),
        "own_dimensions": json.dumps([name for (name,) in names]),
    }
    connection.execute(
        f"INSERT INTO build_info {build.rows_sql({'name': 'VARCHAR', 'value': 'VARCHAR'}, info.items())}"
    )


def _info(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, value FROM build_info").fetchall())


def _row_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    union = " UNION ALL ".join(
        f"SELECT '{t}', count(*) FROM {t}" for t in schema.STAR.tables if t.startswith(("fact_", "dim_", "estimate_"))
    )
    return dict(connection.execute(union).fetchall())


def withdrawn_rows(settings: Settings, limit: int = 1000) -> list[dict[str, Any]]:
    """List rows that a load withdrew and nobody brought back: load, table, id, latest first."""
    memory = state.State(settings.warehouse)
    loads = [r["load_id"] for r in memory.loads_with("logged", "published") if not r["restored_at"]]
    logs = Logs(settings, memory)
    memory.close()
    selects = []
    with reading_logs(settings) as connection:
        for thing in contracts.REVERSIBLE:
            if (table := schema.LOG.tables.get(thing)) is not None:
                rows = contracts.log_rows(connection, table, logs.sql(thing, loads))
                selects.append(
                    f"SELECT load_id AS load, '{thing}' AS \"table\", {table.info['key'][0]} AS id FROM ({rows}) WHERE"
                    " is_withdrawn"
                )
        found = connection.execute(f"{' UNION ALL '.join(selects)} ORDER BY ALL DESC LIMIT {limit}").fetchall()
    return [dict(zip(("load", "table", "id"), row, strict=True)) for row in found]


@contextmanager
def reading_logs(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that reads the logs. Raises WarehouseDamaged for one that cannot be read."""
    connection = connect(threads=settings.threads, folders=[settings.warehouse / "log"])
    try:
        yield connection
    except duckdb.Error as error:
        raise WarehouseDamaged(
            f"A log file in {settings.warehouse / 'log'} is gone or damaged. Run `backhaul load` without a path: it is"
            " made again from the raw files."
        ) from error
    finally:
        connection.close()


def restore_withdrawn(settings: Settings, load_id: str, progress: Progress = lambda _: None) -> Report:
    """Bring back what a load withdrew, and publish a build that holds it.

    Raises SourceError for a load that is not there or withdrew nothing.
    """
    with build.writing(settings.warehouse, settings.wait_s):
        memory = state.State(settings.warehouse)
        try:
            rows = memory.rows(select(state.load_count.c.withdrawn).where(state.load_count.c.load_id == load_id))
            if not sum(row["withdrawn"] or 0 for row in rows):
                raise SourceError(
                    f"No load {load_id} withdrew anything. `backhaul withdrawn` lists the loads that did."
                )
            with memory.transaction() as connection:
                connection.execute(
                    state.load.update().where(state.load.c.load_id == load_id).values(restored_at=state.now())
                )
        finally:
            memory.close()
    return load(settings, is_anew=True, progress=progress)


def withdraw(settings: Settings, load_id: str, progress: Progress = lambda _: None) -> Report:
    """Take a whole load back: its rows, its log files and its raw copies go, and a build without it is published.

    Later loads of the same source are judged again, for what they said again counted as duplicates of it. A load that
    was put aside is given up. Raises SourceError for a load that is not there; one that is taken back already changes
    nothing.
    """
    with build.writing(settings.warehouse, settings.wait_s):
        memory = state.State(settings.warehouse)
        try:
            found = memory.loads_with(
                "landing", "landed", "logged", "failed", "published", "withdrawn", load_id=load_id
            )
            if not found:
                raise SourceError(f"There is no load {load_id}. `backhaul status` lists the loads.")
            if found[0]["status"] in ("logged", "published"):
                _judge_again(memory, found[0], "logged", "published")
            memory.set_status([load_id], "withdrawn", finished_at=state.now())
            _sweep(settings, memory)
        finally:
            memory.close()
    return load(settings, progress=progress)


def reason_wordings(settings: Settings) -> list[dict[str, Any]]:
    """List how sources word return reasons, most frequent first.

    Columns: source, wording, reason (None when unknown), return_lines. Read from the logs; wordings of fewer than
    `contracts.FEWEST_LINES` return lines are summed up as one row without wording.
    """
    memory = state.State(settings.warehouse)
    loads = [row["load_id"] for row in memory.loads_with("logged", "published")]
    logs = Logs(settings, memory)
    memory.close()
    logged = logs.sql("return_event", loads)
    if not logged:
        return []
    with reading_logs(settings) as connection:
        found = connection.execute(f"""
            WITH known AS (SELECT lower(trim(raw)) AS raw, min(reason) AS reason
                FROM {read_sql("csv", data_path("reasons.csv"), "header = true, all_varchar = true")} GROUP BY 1),
            worded AS (
                SELECT source, trim(reason_raw) AS wording, count(DISTINCT return_line_key) AS return_lines
                FROM {logged} WHERE trim(reason_raw) <> '' GROUP BY ALL)
            SELECT source, CASE WHEN return_lines >= {contracts.FEWEST_LINES} THEN wording END AS shown, CASE
                WHEN shown IS NOT NULL THEN k.reason END AS reason,
                sum(return_lines)::BIGINT AS return_lines
            FROM worded w LEFT JOIN known k ON k.raw = lower(w.wording) GROUP BY ALL ORDER BY return_lines DESC, source,
                shown
            """)
        names = ("source", "wording", "reason", "return_lines")
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
