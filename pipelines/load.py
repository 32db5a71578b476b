"""Loading: land, name, judge, log, shape, estimate, check, publish.

A load is a state machine in `state.sqlite`: landed (files copied, untouched), logged (rows judged and in the logs), published (in the
build readers see). Whatever kills it, the next load sweeps what is half-written and goes on from the last of these.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import OperationalError

from pipelines import checks, estimate, factors, state
from pipelines.errors import BackhaulError, CheckFailed, SourceError
from pipelines.settings import Settings, data_path
from pipelines.sources import Source, recognise, source_named
from pipelines.sources.mapping import Mapping
from pipelines.sources.tables import layout
from pipelines.sql import connect, read_sql
from pipelines.warehouse import build, contracts, schema, shape

PROSE = (".yaml", ".yml", ".md", ".txt")  # endings of files that are read only where a mapping names them
COMPACT_EVERY = 10  # increments after which the rows that were replaced are cleared out of the file
Progress = Callable[[str], None]


@dataclass
class Report:
    """What a load did: how each log's rows were judged, what changed in each table, which checks found rows, which alerts are new, who could not be told of them.

    Every row read stands in `counts` once; `derived` rows were made from rows counted there. `unread` are fields taken for missing,
    `hidden` texts kept as a keyed hash, by log.
    `dated_by` says what told the newer of two versions: "declared" export times, or the "file" dates and the order of landing.
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
    ignored: dict[str, list[str]] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)
    changes: dict[str, dict[str, int]] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)


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

    `exported_at` says when the files were exported (UTC), where neither they nor the mapping say so: of two versions of a row the later
    export's wins. `is_anew` makes a build though nothing new has landed: the choice of factors has changed.
    `is_trial` stops once the rows are judged.

    Then the alert rules are evaluated, and who is to be told is told. Raises SourceError for files that cannot be read, CheckFailed
    when a blocking check finds rows, WarehouseLocked when another load is writing.
    """
    report = _load(settings, paths, source, namespace, exported_at, is_anew, is_trial, progress)
    if report.is_new_build:
        from pipelines import alerts  # metrics are read only when there is something new

        progress("telling of alerts")
        report.untold = alerts.tell(settings)
    return report


def _load(
    settings: Settings,
    paths: Sequence[Path],
    source: str | None,
    namespace: str | None,
    exported_at: datetime | None,
    is_anew: bool,
    is_trial: bool,
    progress: Progress,
) -> Report:
    with build.writing(settings.warehouse):
        memory = state.State(settings.warehouse)
        draft: build.Draft | None = None
        try:
            build.sweep(settings.warehouse)
            _sweep_logs(settings, memory)
            report = Report(build.readable_id(settings.warehouse))
            if paths:
                files = _files([Path(p) for p in paths], settings, source, report)
                _begin(memory, files, source, _checked_namespace(namespace), exported_at)
            for row in memory.loads_with("landing"):
                _set_aside(memory, row, lambda row: _land(settings, memory, row, report, progress))
            is_reordered = False
            while landed := memory.loads_with("landed"):
                if draft is None:  # the last build is copied while new rows are judged
                    draft = build.Draft(settings.warehouse, state.now(), report.build_id)
                    Thread(
                        target=import_module, args=("pipelines.alerts",)
                    ).start()  # half a second, beside the database
                row = min(landed, key=lambda r: (r["exported_at"], r["load_id"]))
                _set_aside(memory, row, lambda row: _log(settings, memory, row, report, progress))
                is_reordered |= _judge_later_exports_again(settings, memory, row)
            logged = memory.loads_with("logged")
            if is_trial:
                return report
            if logged or ((is_anew or report.build_id is None) and memory.loads_with("published")):
                draft = draft or build.Draft(settings.warehouse, state.now(), report.build_id)
                _build(settings, memory, draft, logged, report, progress, is_whole=is_reordered or is_anew)
                from pipelines import alerts  # metrics are read only when there is something new

                progress("looking for alerts")
                report.alerts = [v.sentence() for v in alerts.record(settings)]
            return report
        except (duckdb.Error, OperationalError) as error:
            if _is_disk_full(error):
                raise OSError(errno.ENOSPC, "No space left on device", str(settings.warehouse)) from error
            raise
        finally:
            if draft is not None:
                draft.discard()
            memory.close()


def _set_aside(memory: state.State, row: dict[str, Any], step: Callable[[dict[str, Any]], None]) -> None:
    """Take a load one step further; when its files are at fault it is not tried again, and later loads go on."""
    try:
        step(row)
    except BackhaulError:
        memory.set_status([row["load_id"]], "failed")
        raise


def _judge_later_exports_again(settings: Settings, memory: state.State, row: dict[str, Any]) -> bool:
    """Send later exports of a mapping back to be judged, when an older one of the same rows has come; say whether there are any.

    What an export takes back, and whether its rows are news, depends on what was said before it: so the logs become what they would
    be, had the exports come in order.
    """
    this = memory.loads_with("logged", load_id=row["load_id"])[0]
    if not this["mapping"]:
        return False
    others = [
        r
        for r in memory.loads_with("logged", "published")
        if (r["source"], r["namespace"]) == (this["source"], this["namespace"]) and r["load_id"] != this["load_id"]
    ]
    later = [r["load_id"] for r in others if (r["exported_at"] or datetime.min) > this["exported_at"]]
    mapping = source_named(str(settings.raw / this["mapping"]))
    is_whole = isinstance(mapping, Mapping) and mapping.export.is_whole
    if not later or not (is_whole or _shares_rows(settings, this["load_id"], [r["load_id"] for r in others])):
        return False
    memory.set_status(later, "landed")
    return True


def _shares_rows(settings: Settings, load_id: str, others: list[str]) -> bool:
    """Say whether a load's log files hold an id that those of other loads hold too."""
    log = settings.warehouse / "log"
    with connect(threads=settings.threads, folders=[log]) as connection:
        for thing, table in schema.LOG.tables.items():
            ours, theirs = shape.log_files(log, thing, [load_id]), shape.log_files(log, thing, others)
            if thing in contracts.REVERSIBLE and ours and theirs:
                same = contracts.identity_of(table)
                shared = f"SELECT 1 FROM {read_sql('parquet', ours)} SEMI JOIN {read_sql('parquet', theirs, 'union_by_name = true')} USING ({same}) LIMIT 1"
                if connection.execute(shared).fetchone():
                    return True
    return False


def _is_disk_full(error: Exception) -> bool:
    return "no space left" in str(error).lower() or "disk is full" in str(error).lower()


def _files(paths: Iterable[Path], settings: Settings, source: str | None, report: Report) -> list[Path]:
    """List the files of paths. Of a folder, files that no table of the mapping takes are left out, and said to be."""
    mapping = source_named(source) if source else None
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = _walk(path, settings)
            if isinstance(mapping, Mapping):
                left_out = [f for f in found if f.suffix not in PROSE and not mapping.takes(f)]
                report.left_out += [f.name for f in left_out]
                found = [f for f in found if f not in left_out]
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise SourceError(f"There is no file or folder at {path}. Check the path and load again.")
    if not files:
        raise SourceError(
            f"There are no files in {', '.join(map(str, paths))}. Give a folder with data files, or a file."
        )
    return files


def _walk(folder: Path, settings: Settings) -> list[Path]:
    """List the files below a folder, but for hidden ones and what a warehouse keeps: builds, raw copies and keys."""
    own = {p.resolve() for p in (settings.warehouse, settings.raw, settings.key_file, settings.serve_key_file)}
    files: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.resolve() in own:
            continue
        if entry.is_file():
            files.append(entry)
        elif entry.is_dir() and not (entry / "state.sqlite").exists():
            beside = entry.with_suffix("") if entry.suffix == ".raw" else None
            if beside is None or not (beside / "state.sqlite").exists():
                files += _walk(entry, settings)
    keys = {f for f in files if f.suffix in (".key", ".api-key") and (f.with_suffix("") / "state.sqlite").exists()}
    return [f for f in files if f not in keys]


def _begin(
    memory: state.State, files: list[Path], name: str | None, namespace: str | None, exported_at: datetime | None
) -> None:
    """Remember what was asked for before anything else, so that a load killed while landing can be taken up."""
    asked = json.dumps(
        {
            "files": [str(f.absolute()) for f in files],
            "source": str(Path(name).absolute()) if name and Path(name).is_file() else name,
            "exported_at": exported_at.isoformat() if exported_at else None,
        }
    )
    memory.write(
        state.load,
        [
            {
                "load_id": f"{state.now():%Y%m%dT%H%M%S%f}",
                "started_at": state.now(),
                "status": "landing",
                "namespace": namespace,
                "asked": asked,
            }
        ],
    )


def _land(settings: Settings, memory: state.State, begun: dict[str, Any], report: Report, progress: Progress) -> None:
    """Copy new files to the raw folder and remember them; files already taken in are skipped."""
    progress("landing files")
    load_id: str = begun["load_id"]
    asked = json.loads(begun["asked"])
    name: str | None = asked["source"]
    files = _files([Path(f) for f in asked["files"]], settings, name, report)
    origin: Source = source_named(name) if name else recognise(files)
    mains = set(origin.main_files(files)) if isinstance(origin, Mapping) else set(files)
    sides = set(origin.side_files(files)) if isinstance(origin, Mapping) else set()  # needed again by every load
    files = [f for f in files if f.suffix not in PROSE or (isinstance(origin, Mapping) and f in mains | sides)] or files
    if isinstance(origin, Mapping) and origin.export.is_whole and (absent := origin.missing_files(files)):
        raise SourceError(
            f"{origin.name} says `export: whole`, and no file is named {', '.join(absent)}: their rows would be withdrawn. Give all files together."
        )
    prefix = begun["namespace"] or _namespace_of(origin, memory)
    shutil.rmtree(settings.raw / load_id, ignore_errors=True)
    known = memory.known_files(origin.name, prefix, origin.version)
    settings.raw.mkdir(parents=True, exist_ok=True, mode=0o700)
    exports: dict[Path, tuple[str, datetime, str]] = {}
    fresh: set[Path] = set()
    for file in files:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        exports[file] = (digest, *_exported_at(file, origin, asked.get("exported_at")))
        if digest not in known or exports[file][1] > known[digest]:
            known[digest] = exports[file][1]
            fresh.add(file)
    # what is joined is needed whenever a table is read, and the tables are read anew when it has changed
    is_whole = isinstance(origin, Mapping) and origin.export.is_whole
    taken = set() if not fresh else set(files) if fresh & sides or is_whole else fresh | sides
    report.skipped += [file.name for file in files if file not in taken]
    if taken and taken <= sides - mains:
        raise SourceError(
            f"{files[0].name} is only joined to the rows of other files. Load it together with the files it is joined to."
        )
    rows: list[dict[str, Any]] = []
    for file in (f for f in files if f in taken):
        digest, exported_at, dated_by = exports[file]
        report.dated_by = dated_by
        kept = settings.raw / load_id / f"{len(rows):04d}" / _without_address(file.name, digest, origin)
        kept.parent.mkdir(parents=True, mode=0o700)
        shutil.copyfile(file, kept)
        kept.chmod(0o600)
        rows.append(
            {
                "load_id": load_id,
                "name": kept.name,
                "raw": str(kept.relative_to(settings.raw)),
                "sha256": digest,
                "bytes": file.stat().st_size,
                "exported_at": exported_at,
                "dated_by": dated_by,
            }
        )
    if not rows:
        memory.forget(load_id)
        return
    mapping = None
    if isinstance(origin, Mapping):  # kept as it was: the file may change, and so may what comes with the product
        mapping = str(Path(load_id) / origin.path.name)
        shutil.copyfile(origin.path, settings.raw / mapping)
    with memory.transaction() as connection:
        connection.execute(insert(state.load_file), rows)
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


def _without_address(name: str, digest: str, origin: Source) -> str:
    """Give a file's name with its digest in place of an e-mail address, unless the source knows the file by that."""
    plain = re.sub(r"[^.\s@]+@[^\s@]+?(?=(?:\.\w{1,7}){1,2}$|\s|$)", digest[:12], name)
    return plain if not isinstance(origin, Mapping) or origin.takes(Path(plain)) else name


NAMESPACE = r"[A-Za-z0-9._-]{1,100}"


def _checked_namespace(namespace: str | None) -> str | None:
    """Give a namespace as it is. Raises SourceError for one that is no plain word."""
    if namespace is not None and not re.fullmatch(NAMESPACE, namespace):
        raise SourceError(
            f"{namespace[:60]!r} cannot be a namespace: it stands before every id. Write letters, digits, dots, underscores and hyphens."
        )
    return namespace


def _namespace_of(origin: Source, memory: state.State) -> str:
    """Give the prefix of a source's ids: its name, in letters, digits, dots, underscores and hyphens.

    Where something else had to go, a digest of the name keeps two names apart. A name that ids begin with already stays.
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

    Files of one date follow each other in the order they land: a copy changes the time of a file more often than its date.
    """
    if declared:
        return datetime.fromisoformat(declared), "declared"
    if isinstance(origin, Mapping) and (said := origin.exported_at(file)):
        return said, "declared"
    changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    return changed.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None), "file"


def _hashing_key(settings: Settings) -> bytes:
    """Read the key customers are hashed with; make it on first use."""
    path = settings.key_file
    if not path.exists():
        if any((settings.warehouse / "log").glob("order_line/*/*.parquet")):
            raise SourceError(
                f"The hashing key {path} is gone. Restore it from a copy: with another key, known customers become new ones."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
    key = path.read_bytes()
    if len(key) < 16:
        raise SourceError(
            f"The hashing key {path} is damaged. Restore it from a copy: with another key, known customers become new ones."
        )
    return key


def _sweep_logs(settings: Settings, memory: state.State) -> None:
    """Remove log files of loads that were killed before they were logged, and raw copies nobody remembers."""
    whole = {row["load_id"] for row in memory.loads_with("logged", "published")}
    for file in (settings.warehouse / "log").glob("*/*/*"):
        if file.stem not in whole or file.suffix != ".parquet":
            file.unlink()
    remembered = whole | {row["load_id"] for row in memory.loads_with("landing", "landed")}
    if settings.raw.exists():
        for folder in settings.raw.iterdir():
            if folder.name not in remembered:
                shutil.rmtree(folder)


def _log(settings: Settings, memory: state.State, landed: dict[str, Any], report: Report, progress: Progress) -> None:
    """Name and judge the rows of one landed load and append the accepted ones to the logs."""
    load_id: str = landed["load_id"]
    mapping = settings.raw / landed["mapping"] if landed["mapping"] else None
    origin = source_named(str(mapping) if mapping else landed["source"])
    key = _hashing_key(settings)
    log = settings.warehouse / "log"
    earlier = memory.loads_with("logged", "published")
    same = [r["load_id"] for r in earlier if (r["source"], r["namespace"]) == (origin.name, landed["namespace"])]
    whole = origin.export if isinstance(origin, Mapping) else None
    counts: list[dict[str, Any]] = []
    faults: list[contracts.Fault] = []
    staging = settings.raw / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    connection = connect(threads=settings.threads, folders=[log, settings.raw], staging=staging)
    try:
        files = [settings.raw / f["raw"] for f in landed["files"]]
        for named in origin.name_rows(connection, files, landed["namespace"]):
            progress(f"judging {named.thing}")
            target = log / named.thing / load_id[:6] / f"{load_id}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            export = contracts.Export(
                {
                    f["name"]: (number, f["exported_at"] or landed["started_at"])
                    for number, f in enumerate(landed["files"])
                },
                tuple(shape.log_files(log, named.thing, same)) if isinstance(origin, Mapping) else (),
                *(_span(origin) if isinstance(origin, Mapping) else ()),
            )
            judged, bad = contracts.judge(
                connection,
                named,
                source=origin.name,
                namespace=landed["namespace"],
                load_id=load_id,
                landed_at=landed["started_at"],
                key=key,
                log_files=shape.log_files(log, named.thing, [r["load_id"] for r in earlier]),
                target=str(target),
                export=export,
            )
            counts.append({"load_id": load_id, "source": landed["namespace"], **asdict(judged)})
            faults += bad
            if named.ignored_columns:
                report.ignored.setdefault(named.thing, []).extend(named.ignored_columns)
    except duckdb.Error as error:
        if _is_disk_full(error):  # the files are not at fault: the load stays landed
            raise
        raise SourceError(
            f"{landed['source']}: the files cannot be read. {str(error).splitlines()[0][:150]} Correct the file and load it again."
        ) from error
    finally:
        connection.close()
        shutil.rmtree(staging, ignore_errors=True)
    if not counts:
        first, *others = files
        more = f" (and {len(others)} more)" if others else ""
        raise SourceError(
            f"{landed['source']} found nothing to read: {first.name}{more} is {layout(first)}. It reads {origin.expects}."
        )
    if whole and whole.is_whole and not any(c["read"] for c in counts if not c["is_derived"]):
        raise SourceError(
            f"{landed['source']}: a whole export without a row would withdraw everything, so nothing was changed. Export it again."
        )
    exported_at = max(c.pop("exported_at") or landed["exported_at"] for c in counts)
    with memory.transaction() as connection_:
        for table in (state.load_count, state.quarantine):
            connection_.execute(delete(table).where(table.c.load_id == load_id))
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
            state.load.update().where(state.load.c.load_id == load_id).values(status="logged", exported_at=exported_at)
        )
    _report_judged(report, counts, faults)


def _span(mapping: Mapping) -> tuple[bool, datetime | None, datetime | None]:
    """Say whether a mapping's files are whole, and of which span: its first instant and the first one after it (UTC)."""
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
    logged: list[dict[str, Any]],
    report: Report,
    progress: Progress,
    *,
    is_whole: bool,
) -> None:
    """Shape, estimate, check and publish one build over everything logged; `is_whole` shapes all of it anew."""
    log, build_id = settings.warehouse / "log", draft.build_id
    every = memory.loads_with("logged", "published")
    loads, restored = [row["load_id"] for row in every], [row["load_id"] for row in every if row["restored_at"]]
    new = [row["load_id"] for row in logged]
    connection = draft.open(settings.threads)
    before = _row_counts(connection) if draft.is_copy else {}
    try:
        progress("reading the logs")
        shape.open_logs(connection, log, loads, new, restored)
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
                shape.open_logs(connection, log, loads, new, restored)
            shape.survivors(connection)
        progress("shaping facts")
        _shape(connection, found, is_increment)
        odd = factors.implausible(r for r in ledger.rows if r["factor_set"] == ledger.chosen)
        _write_info(connection, build_id, found, last, loads, list(odd))
        progress("estimating cost, carbon, promises and probabilities")
        estimate.run(connection, settings, is_increment=is_increment)
        progress("checking")
        results = checks.run(connection, is_increment=is_increment)
        at = state.now()
        memory.write(state.check_result, [
            {"build_id": build_id, "name": r.check.name, "is_blocking": int(r.check.is_blocking), "rows": r.rows, "sample": r.sample, "sentence": r.check.sentence, "checked_at": at} for r in results
        ])  # fmt: skip
        failed = [r for r in results if r.rows and r.check.is_blocking]
        if failed:
            first = failed[0]
            raise CheckFailed(
                f"The check {first.check.name} found {first.rows} rows, so nothing was published and readers keep the last build. {first.check.sentence} First rows: {first.sample}",
                json.loads(first.sample),
            )
        after = _row_counts(connection)
        progress("publishing")
        increments = int(_info(connection)["increments"])
        draft.publish(connection, settings.keep_builds, compact=increments % COMPACT_EVERY == 0)
    finally:
        connection.close()
    memory.write(state.build, [
        {"build_id": build_id, "created_at": at, "kind": "increment" if is_increment else "full", "table": t, "rows": n, "change": n - before.get(t, 0)} for t, n in after.items()
    ])  # fmt: skip
    memory.set_status([row["load_id"] for row in logged], "published", build_id=build_id, finished_at=at)
    report.build_id, report.is_new_build, report.kind = build_id, True, "increment" if is_increment else "full"
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
            DELETE FROM estimate_return_carbon WHERE {lot}; DELETE FROM estimate_return_cost WHERE {lot}; DELETE FROM estimate_avoided_carbon WHERE {lot};
            DELETE FROM estimate_leg_carbon WHERE {leg}; DELETE FROM estimate_leg_cost WHERE {leg};
            DELETE FROM fact_order_line WHERE {line}; DELETE FROM fact_return_line WHERE {of_return}; DELETE FROM fact_return_event WHERE {of_return};
            DELETE FROM fact_return_leg WHERE {parcel}; DELETE FROM fact_recovery WHERE {of_return}; DELETE FROM fact_refund WHERE {refund};
            DELETE FROM fact_refund_line WHERE {refund} OR (refund_key IS NULL AND {of_return}); DELETE FROM fact_promised_date WHERE {of_return};
            DELETE FROM build_info;
        """)  # fmt: skip
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
    """Describe the build; `last` is the description of the one it was copied from, if any, `implausible` are ids of factors."""
    observed = connection.execute(
        "SELECT max(last_occurred_at) FROM build_source WHERE thing IN ('order_line', 'return_event', 'chain_element', 'refund', 'refund_line', 'recovery')"
    ).fetchall()[0][0]
    names = connection.execute("""
        SELECT DISTINCT unnest(json_keys(dimensions)) AS own FROM (
            SELECT dimensions FROM fact_order_line WHERE dimensions IS NOT NULL UNION ALL SELECT dimensions FROM fact_return_line WHERE dimensions IS NOT NULL)
        ORDER BY 1
    """).fetchall()
    info = last | {
        "build_id": build_id, "schema_version": schema.VERSION, "flags": found.text(), "reporting_currency": found.currency,
        "observed_until": observed.isoformat() if observed else "", "created_at": state.now().isoformat(), "kind": "increment" if last else "full", "loads": " ".join(loads),
        "increments": str(int(last["increments"]) + 1 if last else 0), "implausible_factors": json.dumps(implausible),
        "own_dimensions": json.dumps([name for (name,) in names]),
    }  # fmt: skip
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
    memory.close()
    selects = []
    connection = connect(threads=settings.threads, folders=[settings.warehouse / "log"])
    try:
        for thing in contracts.REVERSIBLE:
            if (table := schema.LOG.tables.get(thing)) is not None:
                rows = contracts.log_rows(connection, table, shape.log_files(settings.warehouse / "log", thing, loads))
                selects.append(
                    f"SELECT load_id AS load, '{thing}' AS \"table\", {table.info['key'][0]} AS id FROM ({rows}) WHERE is_withdrawn"
                )
        found = connection.execute(f"{' UNION ALL '.join(selects)} ORDER BY ALL DESC LIMIT {limit}").fetchall()
    finally:
        connection.close()
    return [dict(zip(("load", "table", "id"), row, strict=True)) for row in found]


def restore_withdrawn(settings: Settings, load_id: str, progress: Progress = lambda _: None) -> Report:
    """Bring back what a load withdrew, and publish a build that holds it.

    Raises SourceError for a load that is not there or withdrew nothing.
    """
    with build.writing(settings.warehouse):
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


def reason_wordings(settings: Settings) -> list[dict[str, Any]]:
    """List how sources word return reasons, most frequent first: source, wording, reason (None when unknown), return_lines.

    Read from the logs; wordings of fewer than `contracts.FEWEST_LINES` return lines are summed up as one row without wording.
    """
    memory = state.State(settings.warehouse)
    loads = [row["load_id"] for row in memory.loads_with("logged", "published")]
    memory.close()
    files = shape.log_files(settings.warehouse / "log", "return_event", loads)
    if not files:
        return []
    connection = connect(threads=settings.threads, folders=[settings.warehouse / "log"])
    try:
        found = connection.execute(
            f"""
            WITH known AS (SELECT lower(trim(raw)) AS raw, min(reason) AS reason FROM {read_sql("csv", data_path("reasons.csv"), "header = true, all_varchar = true")} GROUP BY 1),
            worded AS (
                SELECT source, trim(reason_raw) AS wording, count(DISTINCT return_line_key) AS return_lines
                FROM {read_sql("parquet", files)} WHERE trim(reason_raw) <> '' GROUP BY ALL)
            SELECT source, CASE WHEN return_lines >= {contracts.FEWEST_LINES} THEN wording END AS shown, CASE WHEN shown IS NOT NULL THEN k.reason END AS reason,
                sum(return_lines)::BIGINT AS return_lines
            FROM worded w LEFT JOIN known k ON k.raw = lower(w.wording) GROUP BY ALL ORDER BY return_lines DESC, source, shown
            """
        )  # fmt: skip
        names = ("source", "wording", "reason", "return_lines")
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    finally:
        connection.close()
