"""What a load takes out of the spool: the events that wait, as one file a hook; and what cannot be read, quarantined.

Files that wait are moved into `taking` first, then one file is made of them: `taking/batch/*.ndjson`, which the load
lands as any other. What is in `taking` is done before anything else is moved there, so that a load that is killed is
gone on with over the very same bytes, and a file that has landed is known by its hash. Only once the raw file is
flushed do its events leave the spool.

An event that is no JSON, holds nothing that its system tells of returns, or that its source cannot read is quarantined
with the reason, and nobody else's events with it: where a file cannot be read, it is halved until the one is found.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import BackhaulError, SourceError
from pipelines.receiving.hooks import Hook, hooks_of
from pipelines.receiving.spool import flush_folder, segments, write_durably, written_at
from pipelines.settings import Settings
from pipelines.sources import Source, source_named
from pipelines.sources.mapping import Mapping
from pipelines.sources.shopify_files import tells_something
from pipelines.warehouse.sql import connect
from pipelines.why import why

MOST_BATCH = 256 << 20  # bytes of events that a load takes at once of one hook
MOST_READS = 200  # of parts of a file, to find the events that cannot be read
NOT_JSON = why("event_not_json")
NOTHING = why("event_other")


@dataclass(frozen=True)
class Batch:
    """Events of one hook that a load takes, as a file; when the newest of them came (UTC)."""

    hook: Hook
    file: Path
    came_at: datetime


@dataclass(frozen=True)
class Waiting:
    """What the spool holds of one hook: events that wait and since when, events quarantined by reason."""

    hook: str
    waiting: int
    since: datetime | None
    aside: dict[str, int]


def take(settings: Settings) -> tuple[list[Batch], list[str]]:
    """Take what waits, a file a hook; and say of hooks why theirs stay, and how many events were quarantined."""
    batches: list[Batch] = []
    notes: list[str] = []
    folders = sorted(f.parent for f in settings.spool.glob("*/waiting")) if settings.spool.is_dir() else []
    if not any(segments(f / "waiting") or list((f / "taking").glob("*")) for f in folders):
        return [], []
    try:
        hooks = hooks_of(settings, is_receiving=False)
    except BackhaulError as error:
        return [], [f"Events of web hooks stay in the spool. {error}"]
    for folder in folders:
        hook = hooks.get(folder.name)
        if hook is None:
            if segments(folder / "waiting"):
                notes.append(f"Events of {folder.name} stay in the spool: no hook has that name any more.")
            continue
        try:
            batch, aside = _taken(hook, folder)
        except BackhaulError as error:
            notes.append(f"Events of {hook.name} stay in the spool. {error}")
            continue
        if aside:
            notes.append(f"{aside} events of {hook.name} cannot be read: backhaul received shows why.")
        if batch is not None:
            batches.append(batch)
    return batches, notes


def _taken(hook: Hook, folder: Path) -> tuple[Batch | None, int]:
    """Give the file that a hook's events make, and how many were quarantined; None where nothing can be read."""
    taking = folder / "taking"
    aside = 0
    if not (files := list((taking / "batch").glob("*.ndjson"))):
        moved = segments(taking) or _moved(folder / "waiting", taking)
        if not moved:
            return None, 0
        target = taking / "batch" / f"{hook.name}.{moved[-1].stem}.ndjson"
        aside = _gathered(hook, moved, target, folder / "aside" / f"{target.stem}.ndjson")
        files = [target]
    if not files[0].stat().st_size:
        clear(Batch(hook, files[0], _came_at(files[0])))
        return None, aside
    return Batch(hook, files[0], _came_at(files[0])), aside


def _came_at(file: Path) -> datetime:
    """Say when the newest events of a batch came: its name ends with that of their file."""
    return written_at(Path(file.name.split(".")[1]))


def _moved(waiting: Path, taking: Path) -> list[Path]:
    """Move what waits, so much as one load takes."""
    taking.mkdir(mode=0o700, exist_ok=True)
    moved: list[Path] = []
    size = 0
    for segment in segments(waiting):
        size += segment.stat().st_size
        if moved and size > MOST_BATCH:
            break
        moved.append(segment.rename(taking / segment.name))
    if moved:
        flush_folder(taking)
        flush_folder(waiting)
    return moved


def _gathered(hook: Hook, moved: Sequence[Path], target: Path, aside: Path) -> int:
    """Write the events that can be read into one file, the others aside; give the number of these."""
    source = source_named(hook.source)
    lines: list[bytes] = []
    unread: list[tuple[datetime, str, bytes]] = []
    for segment in moved:
        with segment.open("rb") as content:
            for line in content:
                problem, events = read_event(hook, line.rstrip(b"\n"))
                if problem:
                    unread.append((written_at(segment), problem, line.rstrip(b"\n")))
                lines += events
    faults = _faults(source, hook, lines)
    unread += [(written_at(moved[-1]), problem, lines[number]) for number, problem in sorted(faults.items())]
    if unread:
        rows = (
            {"came_at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "reason": why, "event": _text(event)} for at, why, event in unread
        )
        write_durably(aside, [json.dumps(row).encode() + b"\n" for row in rows])
    write_durably(target, (line + b"\n" for number, line in enumerate(lines) if number not in faults))
    return len(unread)


def _text(event: bytes) -> str:
    return event.decode("utf-8", "surrogateescape")


def read_event(hook: Hook, line: bytes) -> tuple[str, list[bytes]]:
    """Give what a hook told as its source reads it, one object a line; or why that cannot be."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return NOT_JSON, []
    found = list(_unwrapped(hook, content))
    if not all(isinstance(one, dict) and _tells(hook, one) for one in found) or not found:
        return NOTHING, []
    if found == [content]:
        return "", [line]  # as it came: no digit of a number moves
    return "", [json.dumps(one, ensure_ascii=False).encode() for one in found]


def _unwrapped(hook: Hook, content: Any) -> Iterator[Any]:
    """Give the objects of an event: the items of a list, what lies under a key that only wraps it, or itself."""
    if isinstance(content, list):
        for one in content:
            yield from _unwrapped(hook, one)
        return
    key = next(
        (k for k in hook.system.unwrap if isinstance(content, dict) and isinstance(content.get(k), dict | list)), ""
    )
    yield from _unwrapped(hook, content[key]) if key else [content]


def _tells(hook: Hook, event: dict[str, Any]) -> bool:
    """Say whether an event holds what its system tells of returns."""
    if hook.source == "shopify":
        return tells_something(event)
    if not hook.system.needs:
        return True
    return any(_at(event, path) for path in hook.system.needs)


def _at(content: Any, path: str) -> Any:
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _faults(source: Source, hook: Hook, lines: Sequence[bytes]) -> dict[int, str]:
    """Find the events that their source cannot read, by reading all of them, and halves of what cannot be read."""
    found: dict[int, str] = {}
    parts, reads = [range(len(lines))], 0
    while parts:
        part = parts.pop()
        problem = _problem(source, [lines[number] for number in part]) if len(part) else ""
        reads += 1
        if not problem:
            continue
        if len(part) == 1 or reads > MOST_READS:
            found |= dict.fromkeys(part, problem)
        else:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
    return found


def _problem(source: Source, lines: Sequence[bytes]) -> str:
    """Say why events cannot be read together; empty where they can. Raises what is no fault of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.ndjson"
        file.write_bytes(b"".join(line + b"\n" for line in lines))
        staging = Path(folder) / "staging"
        staging.mkdir()
        try:
            with connect(folders=[Path(folder)], staging=staging) as connection:
                for _ in source.name_rows(connection, [file], source.name):
                    pass  # the file is staged and every column found; values are judged row by row by the load
        except SourceError as error:
            if not error.is_of_file and not isinstance(source, Mapping):
                raise
            return str(error).replace(file.name, "It").removeprefix("It: ")
        except duckdb.Error as error:
            return f"It cannot be read: {str(error).splitlines()[0][:120]}"
    return ""


def clear(batch: Batch) -> None:
    """Let the events of a batch leave the spool: their raw file is flushed, or there is nothing to read of them."""
    taking = batch.file.parents[1]
    for segment in segments(taking):
        segment.unlink()
    flush_folder(taking)
    batch.file.unlink()
    flush_folder(batch.file.parent)


def drop_old(settings: Settings, days: int) -> None:
    """Delete events that were quarantined more than so many days ago, as raw files are."""
    before = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for file in settings.spool.glob("*/aside/*.ndjson"):
        if file.stat().st_mtime < before:
            file.unlink()


def waiting(settings: Settings) -> list[Waiting]:
    """Count what the spool holds, by hook."""
    found = []
    for folder in sorted(f.parent for f in settings.spool.glob("*/waiting")):
        held = [*segments(folder / "waiting"), *segments(folder / "taking")]
        aside: dict[str, int] = {}
        for row in _aside(folder):
            aside[row["reason"]] = aside.get(row["reason"], 0) + 1
        since = min(map(written_at, held), default=None)
        found.append(Waiting(folder.name, sum(map(_lines, held)), since, aside))
    return found


def _lines(file: Path) -> int:
    with file.open("rb") as content:
        return sum(1 for _ in content)


def _aside(folder: Path) -> Iterator[dict[str, Any]]:
    for file in segments(folder / "aside"):
        with file.open("rb") as content:
            yield from map(json.loads, content)


def replay(settings: Settings, name: str) -> int:
    """Let the events that were quarantined of a hook wait again; give their number. Raises SourceError for none."""
    folder = settings.spool / name
    files = segments(folder / "aside")
    if not files:
        raise SourceError(f"No event of {name[:40]} is quarantined. `backhaul received` lists them.")
    number = 0
    for file in files:  # the newest name a file of the spool can have: it is told now, whenever it came first
        with file.open("rb") as content:
            events = [json.loads(line)["event"].encode("utf-8", "surrogateescape") for line in content]
        at = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        write_durably(folder / "waiting" / f"{at}-{number:09d}-replay.ndjson", [event + b"\n" for event in events])
        file.unlink()
        number += len(events)
    return number


def drop(settings: Settings, name: str) -> int:
    """Delete the events that were quarantined of a hook; give their number."""
    number = sum(1 for _ in _aside(settings.spool / name))
    for file in segments(settings.spool / name / "aside"):
        file.unlink()
    return number
