"""The files of the logs: which of them hold a load's rows, whether they are what was written, and few of them.

A load writes one file a log. Once there are many small ones they are joined: the state says from then on in which file
a load's rows stand, and rows that it places elsewhere no longer count. A joined file is named after its newest load and
how many it holds.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import delete, insert, select

from pipelines.settings import Settings
from pipelines.warehouse import build, state, state_tables
from pipelines.warehouse.sql import connect, quote, read_sql

FEW = 32  # small files of one log that may stand side by side
SMALL = 8 << 20  # bytes; a larger file is never written again
JOINED = "+"
_NAME = re.compile(r"(\d{8}T\d{12})(?:\+(\d+))?")
_OPTIONS = "FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 200000"


def load_of(file: Path) -> str:
    """Name the load, or the newest of the loads, whose rows a log file holds; nothing for a file that is not ours.

    >>> load_of(Path("20260102T030405000006+32.parquet"))
    '20260102T030405000006'
    """
    match = _NAME.fullmatch(file.stem)
    return match[1] if match else ""


def _number(path: str) -> int:
    """Say of how many loads a file holds rows, by its name."""
    match = _NAME.fullmatch(Path(path).stem)
    return int(match[2] or 1) if match else 1


class Logs:
    """The log files of a warehouse, as its state knows them."""

    def __init__(self, settings: Settings, state_file: state.State) -> None:
        self.folder = settings.warehouse / "log"
        self._settings, self._state_file = settings, state_file
        self._rows = state_file.rows(select(state_tables.log_file))
        self._known = {row["load_id"] for row in self._rows}

    def _held(self, thing: str, loads: Sequence[str]) -> dict[str, list[str]]:
        """Give the files of a log that hold rows of loads, and of which."""
        wanted, held = set(loads), dict[str, list[str]]()
        for row in self._rows:
            if row["load_id"] in wanted and row["path"].startswith(f"{thing}/"):
                held.setdefault(row["path"], []).append(row["load_id"])
        if unknown := wanted - self._known:  # logged by a version that kept no checksums
            held |= {str(f): [f.stem] for f in sorted((self.folder / thing).glob("*/*.parquet")) if f.stem in unknown}
        return held

    def size(self, thing: str, loads: Sequence[str]) -> int:
        """Add up the bytes of the files of a log that hold rows of loads; of one that is gone nothing."""
        files = [self.folder / path for path in self._held(thing, loads)]
        return sum(file.stat().st_size for file in files if file.is_file())

    def size_of(self, things: Iterable[str], loads: Sequence[str]) -> int:
        """Add up the bytes of the files of some logs."""
        return sum(self.size(thing, loads) for thing in things)

    def sql(self, thing: str, loads: Sequence[str]) -> str:
        """Write what to read for the rows that loads wrote to a log, to stand after FROM.

        Nothing where they wrote none.
        """
        held = self._held(thing, loads)
        whole = [str(self.folder / path) for path, of in sorted(held.items()) if len(of) == _number(path)]
        parts = [read_sql("parquet", whole, "union_by_name = true")] if whole else []
        parts += [
            f"(FROM {read_sql('parquet', self.folder / path)} WHERE load_id IN ({', '.join(map(quote, of))}))"
            for path, of in sorted(held.items())
            if len(of) != _number(path)
        ]
        return (
            parts[0]
            if len(parts) == 1
            else f"({' UNION ALL BY NAME '.join(f'FROM {p}' for p in parts)})"
            if parts
            else ""
        )

    def remember(self, load_id: str) -> None:
        """Keep place, size and checksum of the log files that a load wrote by itself, once they are on disk."""
        rows = [{"load_id": load_id, **self._seen(f)} for f in sorted(self.folder.glob(f"*/*/{load_id}.parquet"))]
        with self._state_file.transaction() as connection:
            connection.execute(delete(state_tables.log_file).where(state_tables.log_file.c.load_id == load_id))
            if rows:
                connection.execute(insert(state_tables.log_file), rows)

    def remember_older(self) -> None:
        """Keep the same of loads that were logged by a version that kept none."""
        for row in self._state_file.loads_with("logged", "published"):
            if row["load_id"] not in self._known:
                self.remember(row["load_id"])

    def _seen(self, file: Path) -> dict[str, Any]:
        build.sync(file)
        seen = file.stat()
        path = str(file.relative_to(self.folder))
        return {"path": path, "sha256": build.checksum(file), "bytes": seen.st_size, "modified_ns": seen.st_mtime_ns}

    def damaged(self, *, is_deep: bool = False, is_kept: bool = False) -> dict[str, list[str]]:
        """Find files that are gone or are not what was written: by load, a sentence each.

        The checksum is computed where size or time differ from when it last fitted, or everywhere if `is_deep`.
        `is_kept` remembers the new time of a file that was copied or restored whole.
        """
        found: dict[str, list[str]] = {}
        problems: dict[str, str] = {}
        fresh: dict[str, int] = {}
        for row in self._logged():
            path, file = row["path"], self.folder / row["path"]
            if path not in problems:
                seen = file.stat() if file.is_file() else None
                is_touched = seen is not None and seen.st_mtime_ns != row["modified_ns"]
                is_whole = seen is not None and seen.st_size == row["bytes"]
                if is_whole and (is_deep or is_touched):
                    is_whole = build.is_whole(file, row["sha256"])
                problems[path] = "" if is_whole else "damaged" if seen else "gone"
                if seen and is_whole and is_touched:
                    fresh[path] = seen.st_mtime_ns
            if problems[path]:
                found.setdefault(row["load_id"], []).append(f"The log file {path} is {problems[path]}")
        if fresh and is_kept:
            with self._state_file.transaction() as connection:
                for path, modified_ns in fresh.items():  # copied or restored: whole
                    mine = state_tables.log_file.update().where(state_tables.log_file.c.path == path)
                    connection.execute(mine.values(modified_ns=modified_ns))
        return found

    def _logged(self) -> list[dict[str, Any]]:
        """List the rows of the state that count."""
        statuses = self._state_file.statuses()
        return [row for row in self._rows if statuses.get(row["load_id"]) in ("logged", "published")]

    def sweep(self) -> None:
        """Remove files that are left over.

        Of loads that are not in the log, unfinished ones, and what was joined elsewhere. What the state does not know
        is not ours to judge, and stays.
        """
        statuses = self._state_file.statuses()
        places = {(row["load_id"], row["path"].split("/")[0]): row["path"] for row in self._logged()}
        known = set(places.values())
        for file in self.folder.glob("*/*/*.parquet"):
            is_unfinished = file.stem.startswith("tmp_")  # DuckDB's name for a file it has not finished
            load_id, path = load_of(file.with_stem(file.stem.removeprefix("tmp_"))), str(file.relative_to(self.folder))
            if not file.is_file() or load_id not in statuses or (path in known and not is_unfinished):
                continue
            loads = self._loads_in(file) if JOINED in file.stem and not is_unfinished else [load_id]
            others = [places.get((i, path.split("/")[0])) for i in loads if statuses.get(i) in ("logged", "published")]
            is_elsewhere = all(
                other is not None and other != path and (self.folder / other).is_file() for other in others
            )
            if is_unfinished or (is_elsewhere and all(i in statuses for i in loads)):
                file.unlink()

    def _loads_in(self, file: Path) -> list[str]:
        try:
            with connect(threads=1, folders=[self.folder]) as connection:
                found = connection.execute(f"SELECT DISTINCT load_id FROM {read_sql('parquet', file)}").fetchall()
        except duckdb.Error:
            return [""]  # whatever it is, nobody's
        return [str(load_id) for (load_id,) in found]

    def join(self) -> list[Path]:
        """Join the small files of each log where there are many.

        Those that hold rows which no longer count are written anew.

        Gives the files that nothing refers to any more: they may go once the state has been copied. Where a disk is
        full the logs stay as they are, for the load itself is done.
        """
        here: dict[str, list[str]] = {}
        for row in self._logged():
            here.setdefault(row["path"], []).append(row["load_id"])
        things: dict[str, list[str]] = {}
        for path in here.keys() | {row["path"] for row in self._rows if JOINED in row["path"]}:
            things.setdefault(path.split("/")[0], []).append(path)
        size = {row["path"]: row["bytes"] for row in self._rows}
        gone: list[Path] = []
        for paths in things.values():
            small = {p for p in paths if size[p] < SMALL}
            stale = {p for p in paths if len(here.get(p, [])) < _number(p)}
            groups = [sorted(small)] if len(small) > FEW else []
            groups += [[p] for p in sorted(stale - set(groups[0] if groups else ()))]
            for group in groups:
                try:
                    self._join(group, here)
                except (OSError, duckdb.IOException):
                    continue
                gone += [self.folder / path for path in group]
        return gone

    def replace(self, load_id: str, thing: str, select_of: Callable[[duckdb.DuckDBPyConnection, str], str]) -> None:
        """Write the rows of one load in one log anew, as a SELECT over them gives them.

        The state says that they stand there.
        """
        target = self.folder / thing / load_id[:6] / f"{load_id}.parquet"
        path = next(r["path"] for r in self._rows if r["load_id"] == load_id and r["path"].startswith(f"{thing}/"))
        target = target if path != str(target.relative_to(self.folder)) else target.with_stem(f"{load_id}{JOINED}1")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_stem(f"tmp_{target.stem}")
        try:
            with connect(settings=self._settings, folders=[self.folder]) as connection:
                select = select_of(connection, self.sql(thing, [load_id]))
                connection.execute(f"COPY ({select}) TO {quote(draft)} ({_OPTIONS})")
            build.sync(draft)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        mine = (state_tables.log_file.c.load_id == load_id) & (state_tables.log_file.c.path == path)
        with self._state_file.transaction() as connection_:
            connection_.execute(state_tables.log_file.update().where(mine).values(self._seen(target)))

    def _join(self, paths: list[str], here: dict[str, list[str]]) -> None:
        """Write the rows that count of some files of one log into one, and say in the state that they stand there."""
        loads = sorted(load_id for path in paths for load_id in here.get(path, []))
        rows: list[dict[str, Any]] = []
        if loads:
            thing, name = paths[0].split("/")[0], f"{loads[-1]}{JOINED}{len(loads)}" if len(loads) > 1 else loads[0]
            target = self.folder / thing / loads[-1][:6] / f"{name}.parquet"
            while (
                str(target.relative_to(self.folder)) in paths
            ):  # as many loads of the same newest: it is read, and goes
                target = target.parent.with_name(target.parent.name + JOINED) / target.name
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_stem(f"tmp_{name}")
            try:
                with connect(settings=self._settings, folders=[self.folder]) as connection:
                    connection.execute(f"COPY (FROM {self.sql(thing, loads)}) TO {quote(draft)} ({_OPTIONS})")
                build.sync(draft)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
            seen = self._seen(target)
            rows = [{"load_id": load_id, **seen} for load_id in loads]
        with self._state_file.transaction() as connection_:
            connection_.execute(delete(state_tables.log_file).where(state_tables.log_file.c.path.in_(paths)))
            if rows:
                connection_.execute(insert(state_tables.log_file), rows)
