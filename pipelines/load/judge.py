"""Judging: rows of landed files against the contracts, and again when a later export or a damaged log asks for it."""

import json
import shutil
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from sqlalchemy import delete, insert, select

from pipelines.errors import SourceError, WarehouseDamaged
from pipelines.load import contracts, erasing, fixes, scorecard, verdicts
from pipelines.load.faults import is_of_machine
from pipelines.load.raw import connected, damaged_raw, deleted_raw, reading_logs, sweep
from pipelines.load.report import Progress, Report, report_judged
from pipelines.settings import Settings
from pipelines.sources import Source, faulty
from pipelines.sources.base import Lines
from pipelines.sources.looks import shown
from pipelines.sources.mapping import Mapping
from pipelines.sources.tables import layout
from pipelines.warehouse import build, keys, schema, sql, state, state_tables
from pipelines.warehouse.log_files import Logs
from pipelines.warehouse.sql import connect, shipped_sql
from pipelines.why import why


def _judge_later_exports_again(settings: Settings, state_file: state.State, row: dict[str, Any]) -> bool:
    """Send later exports of a mapping back to be judged, when an older one of the same rows has come.

    Say whether there are any. What an export takes back, and whether its rows are news, depends on what was said before
    it: so the logs become what they would be, had the exports come in order.
    """
    this = state_file.loads_with("logged", load_id=row["load_id"])[0]
    if not this["mapping"]:
        return False
    others = [
        r
        for r in state_file.loads_with("logged", "published")
        if (r["source"], r["namespace"]) == (this["source"], this["namespace"]) and r["load_id"] != this["load_id"]
    ]
    later = [r for r in others if (r["exported_at"] or datetime.min) > this["exported_at"]]
    mapping = fixes.source_of(settings, this, fixes.standing(state_file, this["namespace"]))
    is_whole = isinstance(mapping, Mapping) and mapping.export.is_whole
    if not later or not (
        is_whole or _shares_rows(settings, state_file, this["load_id"], [r["load_id"] for r in others])
    ):
        return False
    if gone := deleted_raw(later):
        raise SourceError(
            "This export is older than what was loaded of the same rows, which would be judged again after it, and"
            f" {gone}. It is put aside; nothing else changed."
        )
    state_file.set_status([r["load_id"] for r in later], "landed")
    return True


def judge_again(state_file: state.State, gone: dict[str, Any], *statuses: str) -> bool:
    """Send the loads after one that is gone back to be judged: what they said again was a duplicate of its rows.

    Those before it too where fixes were replayed: their rows were judged when its own were there. Says whether there
    are any. Raises SourceError when one has no raw files any more.
    """
    f = state_tables.fix.c
    replayed = select(f.fix_id).where(f.source == gone["namespace"], f.replayed_at.is_not(None)).limit(1)
    first = "" if state_file.rows(replayed) else gone["load_id"]
    later = [
        row
        for row in state_file.loads_with(*statuses)
        if row["namespace"] == gone["namespace"] and row["load_id"] > first and row["load_id"] != gone["load_id"]
    ]
    if told := deleted_raw(later):
        raise SourceError(
            f"Load {gone['load_id']} cannot be taken back: what later loads said again counted as its duplicates, so"
            f" they would be judged again, and {told}. Nothing was changed."
        )
    state_file.set_status([row["load_id"] for row in later], "landed")
    return bool(later)


def judge_future_again(settings: Settings, state_file: state.State) -> bool:
    """Send loads back to be judged that hold rows which were of the future and are no longer.

    Say whether there are any.
    """
    due = [
        r["load_id"]
        for r in state_file.loads_with("logged", "published")
        if r["again_at"]
        and r["again_at"] <= state.now()
        and all((settings.raw / f["raw"]).exists() for f in r["files"])
    ]
    state_file.set_status(due, "landed", again_at=None)
    return bool(due)


def _shares_rows(settings: Settings, state_file: state.State, load_id: str, others: list[str]) -> bool:
    """Say whether a load told of an id that other loads tell of too: in its log files, or as a duplicate of theirs."""
    counts = state_file.rows(select(state_tables.load_count).where(state_tables.load_count.c.load_id == load_id))
    if any(row["thing"] in contracts.REVERSIBLE and (row["duplicate"] or row["replaced"]) for row in counts):
        return True
    logs = Logs(settings, state_file)
    with connect(settings=settings, folders=[logs.folder]) as connection:
        for thing, table in schema.LOG.tables.items():
            ours, theirs = logs.sql(thing, [load_id]), logs.sql(thing, others)
            if thing in contracts.REVERSIBLE and ours and theirs:
                same = sql.identity_of(table)
                shared = f"SELECT 1 FROM {ours} SEMI JOIN {theirs} USING ({same}) LIMIT 1"
                if connection.execute(shared).fetchone():
                    return True
    return False


def heal_logs(settings: Settings, state_file: state.State, report: Report, *, is_deep: bool) -> None:
    """Send loads whose log files are gone or damaged back to be judged from their raw files.

    Raises WarehouseDamaged where these are too.
    """
    logged = {row["load_id"]: row for row in state_file.loads_with("logged", "published")}
    Logs(settings, state_file).remember_older()
    for load_id, problems in Logs(settings, state_file).damaged(is_deep=is_deep, is_kept=True).items():
        if told := deleted_raw([logged[load_id]]):
            raise WarehouseDamaged(
                f"{problems[0]}, and {told}, so it cannot be made again. Put it back from a copy, or give the load up"
                f" with `backhaul withdraw {load_id}`."
            )
        if raw := damaged_raw(settings, logged[load_id]):
            raise WarehouseDamaged(
                f"{problems[0]}, and so is {raw[0]}, from which it is made. Restore either, or give the load up with"
                f" `backhaul withdraw {load_id}`."
            )
        state_file.set_status([load_id], "landed")
        report.healed += [f"{problem}: made again from the raw files of load {load_id}." for problem in problems]


def judge_landed(
    settings: Settings, state_file: state.State, landed: dict[str, Any], report: Report, progress: Progress
) -> bool:
    """Name and judge the rows of one landed load and append the accepted ones to the logs.

    Says whether later exports of the same rows are to be judged again.
    """
    load_id: str = landed["load_id"]
    origin = fixes.source_of(settings, landed, fixes.standing(state_file, landed["namespace"]))
    key = keys.read(settings, state_file)
    earlier = state_file.loads_with("logged", "published")
    files = [settings.raw / f["raw"] for f in landed["files"]]
    refused: dict[Path, SourceError] = {}
    try:
        counts, faults, lines = _judged(settings, state_file, landed, origin, files, earlier, key, report, progress)
    except Exception as error:  # whatever it is, a file that is at fault by itself does not keep the others out
        refused = _refused(settings, landed, origin, files, error, report)
        if len(refused) == len(files):
            problem = str(next(iter(refused.values())))
            state_file.set_status([load_id], "failed", problem=problem, finished_at=state.now())
            sweep(settings, state_file)
            report.refused += map(str, refused.values())
            return False
        report.ignored.clear()
        files = [f for f in files if f not in refused]
        counts, faults, lines = _judged(settings, state_file, landed, origin, files, earlier, key, report, progress)
        report.refused += map(str, refused.values())
    _check_counts(landed, origin, files, counts)
    Logs(settings, state_file).remember(load_id)
    _remember_judged(settings, state_file, landed, refused, counts, faults, lines)
    for file in refused:
        shutil.rmtree(file.parent)
    is_reordered = _judge_later_exports_again(settings, state_file, landed)
    report.files += lines
    report.notes += [
        f"{shown(r['file'])} holds a header and no rows."
        for r in lines
        if r["header"] and not r["rows"] + r["left_out"]
    ]
    report_judged(report, counts, faults)
    return is_reordered


def _refused(
    settings: Settings, landed: dict[str, Any], origin: Source, files: list[Path], error: Exception, report: Report
) -> dict[Path, SourceError]:
    """Give the files that are at fault by themselves for an error, each with what is wrong.

    Raises the error where none is, where it is the machine's, and where the one file asked for is at fault.
    """
    if is_of_machine(settings, error, landed):
        raise error
    refused: dict[Path, SourceError] = {}
    if not (isinstance(origin, Mapping) and origin.export.is_whole):
        refused = faulty(origin, files, landed["namespace"], lambda: connected(settings))
    if len(refused) == len(files) and len(files) + len(report.skipped) + len(report.refused) == 1:
        raise next(iter(refused.values())) from error
    if not refused and isinstance(error, duckdb.Error) and not isinstance(error, duckdb.OutOfMemoryException):
        raise SourceError(
            f"{landed['source']}: the files cannot be read. {str(error).splitlines()[0][:150]} Correct the file and"
            " load it again."
        ) from error
    if not refused:
        raise error
    return refused


def _check_counts(landed: dict[str, Any], origin: Source, files: list[Path], counts: list[dict[str, Any]]) -> None:
    """Raise SourceError where nothing was read: of no log a row, or of a whole export."""
    if not counts:
        first, *others = files
        more = f" (and {len(others)} more)" if others else ""
        raise SourceError(
            f"{landed['source']} found nothing to read: {first.name}{more} is {layout(first)}. It reads"
            f" {origin.expects}."
        )
    is_whole = isinstance(origin, Mapping) and origin.export.is_whole
    if is_whole and not any(c["read"] for c in counts if not c["is_derived"]):
        raise SourceError(
            f"{landed['source']}: a whole export without a row would withdraw everything, so nothing was changed."
            " Export it again."
        )


def _remember_judged(
    settings: Settings,
    state_file: state.State,
    landed: dict[str, Any],
    refused: dict[Path, SourceError],
    counts: list[dict[str, Any]],
    faults: list[verdicts.Fault],
    lines: list[dict[str, Any]],
) -> None:
    """Write into the state how a load was judged; times for the load as a whole are taken out of `counts`."""
    load_id: str = landed["load_id"]
    exported_at = max(c.pop("exported_at") or landed["exported_at"] for c in counts)
    again_at = min((at for c in counts if (at := c.pop("again_at"))), default=None)
    with state_file.transaction() as connection:
        for table in (state_tables.load_count, state_tables.quarantine):
            connection.execute(delete(table).where(table.c.load_id == load_id))
        for file in refused:  # so that it is not taken for loaded when it comes again
            raw = str(file.relative_to(settings.raw))
            connection.execute(
                delete(state_tables.load_file).where(
                    state_tables.load_file.c.load_id == load_id, state_tables.load_file.c.raw == raw
                )
            )
        connection.execute(insert(state_tables.load_count), counts)
        if faults:
            rows = [_quarantine_row(landed, fault) for fault in faults]
            connection.execute(insert(state_tables.quarantine), rows)
        connection.execute(
            state_tables.load.update()
            .where(state_tables.load.c.load_id == load_id)
            .values(status="logged", exported_at=exported_at, again_at=again_at)
        )
        for row in lines:
            is_file = (state_tables.load_file.c.load_id == load_id) & (state_tables.load_file.c.name == row["file"])
            connection.execute(state_tables.load_file.update().where(is_file).values(lines=json.dumps(row)))


def _quarantine_row(landed: dict[str, Any], fault: verdicts.Fault) -> dict[str, Any]:
    return {
        "load_id": landed["load_id"],
        "source": landed["namespace"],
        "thing": fault.log,
        "file": Path(fault.file).name,
        "line": fault.line,
        "rules": fault.rules,
        "value": fault.value,
        "is_field": int(fault.is_field),
        "item": fault.item,
    }


def _judged(
    settings: Settings,
    state_file: state.State,
    landed: dict[str, Any],
    origin: Source,
    files: list[Path],
    earlier: list[dict[str, Any]],
    key: bytes,
    report: Report,
    progress: Progress,
) -> tuple[list[dict[str, Any]], list[verdicts.Fault], list[dict[str, Any]]]:
    """Name and judge the rows of files, the accepted ones into log files.

    How each log was judged, what is at fault, the lines of each file. `earlier` are the loads in the logs.
    """
    load_id, logs = landed["load_id"], Logs(settings, state_file)
    same = [r["load_id"] for r in earlier if (r["source"], r["namespace"]) == (origin.name, landed["namespace"])]
    for file in logs.folder.glob(f"*/{load_id[:6]}/{load_id}.parquet"):  # of an attempt before this one
        build.clear(file)
    counts: list[dict[str, Any]] = []
    faults: list[verdicts.Fault] = []
    lines: dict[str, Lines] = {}
    taken: dict[str, list[tuple[int, int]]] = {}
    forgotten = erasing.forgotten(settings, state_file, landed["namespace"])
    fixed = fixes.standing(state_file, landed["namespace"])
    held = logs.size_of(schema.LOG.tables, [r["load_id"] for r in earlier])
    with connected(settings) as connection:
        if held + sum(file.stat().st_size for file in files if file.is_file()) <= sql.LIGHT_BYTES:
            sql.plan_lightly(connection)
        for named in origin.name_rows(connection, files, landed["namespace"]):
            progress(why("step_judging", thing=named.thing))
            columns = json.dumps(scorecard.kinds(connection, named), sort_keys=True)
            target = logs.folder / named.thing / load_id[:6] / f"{load_id}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            judged, bad = verdicts.judge(
                connection,
                fixes.applied(connection, named, fixed, landed["files"]),
                source=origin.name,
                namespace=landed["namespace"],
                load_id=load_id,
                landed_at=max(landed["started_at"], state.now()),
                key=key,
                logged=logs.sql(named.thing, [r["load_id"] for r in earlier]),
                target=str(target),
                export=_export(landed, origin, logs.sql(named.thing, same) if isinstance(origin, Mapping) else ""),
                customer_sql=forgotten.customer_sql() if forgotten else "v",
            )
            count = {"load_id": load_id, "source": landed["namespace"], "columns": columns, **asdict(judged)}
            for file_name, found in count.pop("by_file").items():
                taken.setdefault(file_name, []).append(found)
            lines |= named.lines
            counts.append(count)
            faults += bad
            if named.ignored_columns:
                report.ignored.setdefault(named.thing, []).extend(named.ignored_columns)
    closed = [_closed(file_name, of_file, taken.get(file_name, [])) for file_name, of_file in lines.items()]
    return counts, faults, closed


def _export(landed: dict[str, Any], origin: Source, earlier: str) -> contracts.Export:
    """Give what a load says about its files, `earlier` being the logged rows of the same source and mapping."""
    files = {f["name"]: (number, f["exported_at"] or landed["started_at"]) for number, f in enumerate(landed["files"])}
    return contracts.Export(files, earlier, *(_span(origin) if isinstance(origin, Mapping) else ()))


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


def reason_wordings(settings: Settings) -> list[dict[str, Any]]:
    """List how sources word return reasons, most frequent first.

    Columns: source, wording, reason (None when unknown), return_lines. Read from the logs; wordings of fewer than
    `contracts.FEWEST_LINES` return lines are summed up as one row without wording.
    """
    state_file = state.State(settings.warehouse)
    loads = [row["load_id"] for row in state_file.loads_with("logged", "published")]
    logs = Logs(settings, state_file)
    state_file.close()
    logged = logs.sql("return_event", loads)
    if not logged:
        return []
    with reading_logs(settings) as connection:
        found = connection.execute(f"""
            WITH known AS (SELECT lower(trim(raw)) AS raw, min(reason) AS reason
                FROM {shipped_sql("reasons.csv")} GROUP BY 1),
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
