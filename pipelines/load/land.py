"""Landing: files are found, named, copied as they are and written down."""

import hashlib
import json
import re
import shutil
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select

from pipelines.errors import SourceError, WarehouseDamaged
from pipelines.load import erasing, queries, room
from pipelines.load import files as files_load
from pipelines.load.faults import printable
from pipelines.load.raw import connected
from pipelines.load.report import Progress, Report
from pipelines.settings import Settings, data_path
from pipelines.sources import Source, recognise, source_named
from pipelines.sources.looks import LISTS, shown
from pipelines.sources.mapping import Mapping
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.log_files import load_of
from pipelines.why import why

PROSE = (".yaml", ".yml", ".md", ".txt")  # endings of files that are read only where a mapping names them
Dated = tuple[datetime, str]
"""When a file was exported, and what says so."""


def files_of(paths: Iterable[Path], settings: Settings, source: str | None, report: Report) -> list[Path]:
    """List the files of paths. Of a folder, files that no table of the mapping takes are left out, and said to be."""
    mapping = source_named(source) if source else None
    found = files_load.find(paths, settings)
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


def asks(source: str | None) -> bool:
    """Say whether a source is a mapping that asks a database."""
    mapping = source_named(source) if source else None
    return isinstance(mapping, Mapping) and bool(mapping.queries)


def begin(
    state_file: state.State,
    files: list[Path],
    name: str | None,
    namespace: str | None,
    exported_at: datetime | None,
    *,
    is_whole: bool = False,
) -> str:
    """Remember what was asked for before anything else, so that a load killed while landing can be taken up.

    Give its id. One that was put aside over the same files is tried again by this one.
    """
    asked = json.dumps(
        {
            "files": [str(f.absolute()) for f in files],
            "source": str(Path(name).absolute()) if name and Path(name).is_file() else name,
            "exported_at": exported_at.isoformat() if exported_at else None,
            **({"whole": True} if is_whole else {}),
        }
    )
    load_id = _next_id(state_file)
    row = {"load_id": load_id, "started_at": state.now(), "status": "landing", "namespace": namespace, "asked": asked}
    again = (state_tables.load.c.status == "failed") & (state_tables.load.c.asked == asked)
    with state_file.transaction() as connection:
        connection.execute(delete(state_tables.load).where(again))
        connection.execute(insert(state_tables.load).values(row))
    return load_id


def _next_id(state_file: state.State) -> str:
    """Give an id after every other: the time, or a moment after the last load where the clock was put back."""
    last = max((i for i in state_file.statuses() if load_of(Path(i))), default="")
    at = f"{state.now():%Y%m%dT%H%M%S%f}"
    return (
        at if at > last else f"{datetime.strptime(last, '%Y%m%dT%H%M%S%f') + timedelta(microseconds=1):%Y%m%dT%H%M%S%f}"
    )


def land(
    settings: Settings, state_file: state.State, begun: dict[str, Any], report: Report, progress: Progress
) -> bool:
    """Copy new files to the raw folder and remember them; files already taken in are skipped.

    Says whether any is new.
    """
    progress(why("step_landing"))
    asked = json.loads(begun["asked"])
    name: str | None = asked["source"]
    given = [Path(f) for f in asked["files"]]
    digests, refusals = _digests(files_of(given, settings, name, report) if given else [])
    if given and not digests:
        raise refusals[0]
    origin: Source = source_named(name) if name else recognise(list(digests))
    if not isinstance(origin, Mapping) or not origin.queries:
        return _landed(settings, state_file, begun, origin, digests, refusals, [], report)
    origin = origin.as_whole() if asked.get("whole") else origin
    prefix = begun["namespace"] or _namespace_of(origin, state_file)
    with queries.asked(settings, state_file, origin, prefix) as answers:
        return _landed(settings, state_file, begun, origin, digests, refusals, answers, report)


def _landed(
    settings: Settings,
    state_file: state.State,
    begun: dict[str, Any],
    origin: Source,
    digests: dict[Path, files_load.Digest],
    refusals: list[SourceError],
    answers: list[queries.Answer],
    report: Report,
) -> bool:
    """Take in the files that were given and those of queries' answers; say whether any is new."""
    load_id, declared = begun["load_id"], json.loads(begun["asked"]).get("exported_at")
    given = len(digests)
    digests |= {answer.file: answer.digest for answer in answers}
    if not digests:
        state_file.forget(load_id)
        return False
    files = list(digests)
    mains = set(origin.main_files(files)) if isinstance(origin, Mapping) else set(files)
    sides = set(origin.side_files(files)) if isinstance(origin, Mapping) else set()  # needed again by every load
    files = [f for f in files if f.suffix not in PROSE or (isinstance(origin, Mapping) and f in mains | sides)] or files
    is_whole = isinstance(origin, Mapping) and origin.export.is_whole
    _check_whole(origin, files, refusals)
    if isinstance(origin, Mapping) and data_path("mappings") in origin.path.parents:
        report.notes += _taken_for_all(origin)
    prefix = begun["namespace"] or _namespace_of(origin, state_file)
    shutil.rmtree(settings.raw / load_id, ignore_errors=True)
    known = state_file.known_files(origin.name, prefix, origin.version)
    settings.raw.mkdir(parents=True, exist_ok=True, mode=0o700)
    exports = {file: _exported_at(file, origin, declared) for file in digests if file in files}
    exports |= {a.file: (a.asked_at, "declared") for a in answers if not declared}
    fresh = _fresh(files, digests, exports, origin, known)
    # what is joined is needed whenever a table is read, and the tables are read anew when it has changed
    taken = set() if not fresh else set(files) if fresh & sides or is_whole else fresh | sides
    report.skipped += [shown(file) for file in files if file not in taken]
    if taken and taken <= sides - mains:
        raise SourceError(
            f"{files[0].name} is only joined to the rows of other files. Load it together with the files it is"
            " joined to."
        )
    needed = taken if is_whole else sides
    room.check(settings, taken)
    rows = _kept(
        settings, load_id, origin, [f for f in files if f in taken], digests, exports, needed, refusals, report
    )
    report.refused += [str(error) for error in refusals]
    if not rows and given and len(refusals) == given:
        raise refusals[0]
    if not rows:
        state_file.forget(load_id)
        return False
    erasing.mask(settings, state_file, origin, prefix, rows, lambda: connected(settings))
    _remember_landed(settings, state_file, load_id, origin, prefix, rows, [a.mark for a in answers])
    _forget_failed(settings, state_file, {row["sha256"] for row in rows})
    return True


def _digests(files: list[Path]) -> tuple[dict[Path, files_load.Digest], list[SourceError]]:
    """Give the digest of each file, and what is wrong with those that cannot be read."""
    digests: dict[Path, files_load.Digest] = {}
    refusals: list[SourceError] = []
    for file in files:
        try:
            digests[file] = files_load.digest(file)
        except SourceError as error:
            refusals.append(error)
    return digests, refusals


def _check_whole(origin: Source, files: list[Path], refusals: list[SourceError]) -> None:
    """Raise SourceError where a file of a whole export is refused or is not there: its rows would be withdrawn."""
    if not isinstance(origin, Mapping) or not origin.export.is_whole:
        return
    if refusals:
        raise refusals[0]
    if absent := origin.missing_files(files):
        raise SourceError(
            f"{origin.name} says `export: whole`, and no file is named {', '.join(absent)}: their rows would be"
            " withdrawn. Give all files together."
        )


def _fresh(
    files: list[Path],
    digests: dict[Path, files_load.Digest],
    exports: dict[Path, Dated],
    origin: Source,
    known: dict[str, datetime],
) -> set[Path]:
    """Give the files that are new, or newer than the same one was; `known` has digests that were taken in, and when."""
    fresh: set[Path] = set()
    here: dict[tuple[str, str], datetime] = {}
    for file in files:
        digest, seen = digests[file]
        is_void = not seen.st_size and file.suffix.lower() not in LISTS  # each empty file is said to be empty
        # a file that its name makes another log's, or none's, is no twin that would stand for this one
        twin = (digest, file.name.split(".")[0] if origin.name == "canonical" else "")
        earlier = [at for at in (known.get(digest), here.get(twin)) if at]
        if is_void or not earlier or exports[file][0] > max(earlier):
            here[twin] = exports[file][0]
            fresh.add(file)
    return fresh


def _kept(
    settings: Settings,
    load_id: str,
    origin: Source,
    files: list[Path],
    digests: dict[Path, files_load.Digest],
    exports: dict[Path, Dated],
    needed: set[Path],
    refusals: list[SourceError],
    report: Report,
) -> list[dict[str, Any]]:
    """Copy files to the raw folder and give a row of the state for each.

    One that cannot be copied is added to `refusals`; one that is `needed` raises SourceError.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        exported_at, report.dated_by = exports[file]
        folder = settings.raw / load_id / f"{len(rows):04d}"
        name = _without_address(printable(file.name), digests[file][0], origin)
        try:
            kept, digest, size = files_load.keep(file, folder, name, digests[file][1])
        except SourceError as error:
            if file in needed:
                raise
            shutil.rmtree(folder)
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
                "dated_by": report.dated_by,
            }
        )
    return rows


def _remember_landed(
    settings: Settings,
    state_file: state.State,
    load_id: str,
    origin: Source,
    prefix: str,
    rows: list[dict[str, Any]],
    marks: list[dict[str, Any]],
) -> None:
    """Keep the mapping beside the raw files, and write into the state that a load has landed."""
    mapping = None
    if isinstance(origin, Mapping):  # kept as it was: the file may change, and so may what comes with the product
        mapping = str(Path(load_id) / origin.path.name)
        (settings.raw / mapping).write_text(origin.text, encoding="utf-8")
    with state_file.transaction() as connection:
        connection.execute(insert(state_tables.load_file), [{"given_sha256": None, **row} for row in rows])
        if marks:  # how far queries were read counts with what they gave, or not at all
            connection.execute(insert(state_tables.load_mark), [{"load_id": load_id, **mark} for mark in marks])
        landed = {
            "status": "landed",
            "source": origin.name,
            "namespace": prefix,
            "version": origin.version,
            "mapping": mapping,
            "asked": None,
            "exported_at": max(row["exported_at"] for row in rows),
        }
        connection.execute(state_tables.load.update().where(state_tables.load.c.load_id == load_id).values(landed))


def _forget_failed(settings: Settings, state_file: state.State, digests: set[str]) -> None:
    """Forget the loads of the same files that were put aside before."""
    for tried in state_file.loads_with("failed"):
        if tried["files"] and {f["sha256"] for f in tried["files"]} <= digests:
            shutil.rmtree(settings.raw / tried["load_id"], ignore_errors=True)
            state_file.forget(tried["load_id"])


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


def checked_namespace(namespace: str | None) -> str | None:
    """Give a namespace as it is. Raises SourceError for one that is no plain word."""
    if namespace is not None and not re.fullmatch(NAMESPACE, namespace):
        raise SourceError(
            f"{namespace[:60]!r} cannot be a namespace: it stands before every id. Write letters, digits, dots,"
            " underscores and hyphens."
        )
    return namespace


def _namespace_of(origin: Source, state_file: state.State) -> str:
    """Give the prefix of a source's ids: its name, in letters, digits, dots, underscores and hyphens.

    Where something else had to go, a digest of the name keeps two names apart. A name that ids begin with already
    stays.
    """
    if origin.name == "canonical":
        return "shop"
    taken = state_file.rows(
        select(state_tables.load.c.load_id).where(state_tables.load.c.namespace == origin.name).limit(1)
    )
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


def check_known(settings: Settings, state_file: state.State, held: set[str]) -> None:
    """Raise WarehouseDamaged when the build or the log hold loads that the state has never heard of.

    It is lost, or older than they are.
    """
    known = state_file.statuses()
    logged = {load_of(f) for f in (settings.warehouse / "log").glob("*/*/*.parquet")} - {""}
    unknown = sorted((held or logged if known else held | logged) - known.keys())
    if unknown:
        raise WarehouseDamaged(
            f"{settings.warehouse / 'state.sqlite'} knows nothing of {len(unknown)} loads that are here (first"
            f" {unknown[0]}): it is lost or older. Put the right one back, or load the files in {settings.raw} into a"
            " new --warehouse. Nothing was changed."
        )
