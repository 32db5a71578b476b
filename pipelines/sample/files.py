"""Writing the raw files, with their dirt: which rows come twice, late, out of order, or broken.

What the rows say is decided elsewhere. The one idea: dirt is planted on positions, before any text exists; DuckDB then
formats whole columns. Whatever a loader must reject is an extra row under an id of its own, so the facts stay the truth
and the quarantine can be counted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.sample.draws import DAY, Array, Rng
from pipelines.warehouse.sql import connect, quote

CLEAN, DUPLICATE, LATE_EDIT, NAIVE, IMPOSSIBLE, BAD_NUMBER = range(6)
"""What a written row is; a LATE_EDIT row is the first version, the corrected one stays CLEAN."""
SPLIT_ROWS = 500_000
BATCH = 122_880  # rows that are made and written at once: as many as a row group of Parquet has
ISO = "'%Y-%m-%dT%H:%M:%S'"


def words(positions: Array, names: Sequence[str]) -> pa.Array:
    """Words of positions; -1 is empty."""
    positions = np.asarray(positions, dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(positions, mask=positions < 0), pa.array(list(names), pa.string()))


def times(seconds: Array, until: float = np.inf) -> pa.Array:
    """Timestamps (UTC, microseconds) of seconds; infinity, NaN and times after `until` are empty."""
    empty = ~np.isfinite(seconds) | ((seconds > until) & (seconds < 2e10))
    return pa.array(np.where(empty, 0, seconds).astype(np.int64) * 1_000_000, pa.timestamp("us"), mask=empty)


def numbers(values: Array) -> pa.Array:
    """Numbers; NaN is empty."""
    return pa.array(values, mask=np.isnan(values))


def iso(column: str, *, text: bool = True) -> str:
    """Write the SQL of a time as the file has it.

    ISO 8601 with Z in text (without it on NAIVE rows), TIMESTAMPTZ in Parquet.
    """
    if not text:
        return f"{column}::TIMESTAMPTZ AS {column}"
    return f"strftime({column}, {ISO}) || CASE kind WHEN {NAIVE} THEN '' ELSE 'Z' END AS {column}"


def number(column: str, sql: str | None = None) -> str:
    """Write the SQL of a number in a CSV file, spoiled on BAD_NUMBER rows."""
    return f"CASE kind WHEN {BAD_NUMBER} THEN '1O,x' ELSE ({sql or column})::VARCHAR END AS {column}"


def money(column: str) -> str:
    """Write the SQL of an amount with two decimals."""
    return f"round({column}, 2)::DECIMAL(14, 2) AS {column}"


@dataclass
class Plan:
    """The rows of a file in the order they are written: source row, what they are, when recorded, part of the split."""

    row: Array
    kind: Array
    recorded: Array
    part: Array

    def __getitem__(self, cut: slice) -> "Plan":
        """Give some of the rows."""
        return Plan(self.row[cut], self.kind[cut], self.recorded[cut], self.part[cut])


@dataclass
class Writer:
    """Writes files under `out`, counting their rows and their dirt."""

    out: Path
    end: float
    shares: dict[str, float]
    rows: dict[str, int] = field(default_factory=dict)
    planted: list[tuple[str, str, int]] = field(default_factory=list)
    connection: duckdb.DuckDBPyConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = connect(threads=1)
        self.connection.execute("SET preserve_insertion_order = true")

    def plan(
        self,
        rng: Rng,
        when: Array,
        recorded: Array,
        part: Array,
        *,
        text: bool,
        can_edit: bool = True,
        has_bad_number: bool = True,
    ) -> Plan:
        """Decide which rows are written again, spoiled, edited or moved. All shares are of the clean rows."""
        n = len(when)
        counts = {
            DUPLICATE: self.shares["duplicate"],
            LATE_EDIT: self.shares["late_edit"] if can_edit else 0.0,
            NAIVE: self.shares["naive_time"] if text else 0.0,
            IMPOSSIBLE: self.shares["impossible_date"],
            BAD_NUMBER: self.shares["bad_number"] if text and has_bad_number else 0.0,
        }
        order = rng.permutation(n) if n else np.empty(0, np.int64)
        extra, kinds, at = [], [], 0
        recorded = recorded.copy()
        for kind, share in counts.items():
            chosen = order[at : at + round(n * share)]
            at += len(chosen)
            if kind == LATE_EDIT:
                chosen = chosen[recorded[chosen] < self.end - 11 * DAY]
            extra.append(chosen)
            kinds.append(np.full(len(chosen), kind))
        row = np.concatenate([np.arange(n), *extra]).astype(np.int32)
        kind_of = np.concatenate([np.zeros(n, np.int8), *kinds]).astype(np.int8)
        del order
        times_recorded = recorded[row]
        times_recorded[extra[1]] += np.floor(rng.uniform(1, 10, len(extra[1])) * DAY)  # the correction
        key = when[row].copy()
        key[kind_of == DUPLICATE] += np.floor(rng.uniform(0, 3, len(extra[0])) * DAY)
        moved = rng.permutation(len(row))[: round(n * self.shares["disorder"])]
        key[moved] += np.floor(rng.uniform(-10, 10, len(moved)) * DAY)
        part_of = part[row].astype(np.int16)
        ordered = np.lexsort((key, part_of))
        is_moved = np.zeros(len(row), dtype=bool)
        is_moved[moved] = True
        self._moved = is_moved[ordered]
        return Plan(row[ordered], kind_of[ordered], times_recorded[ordered], part_of[ordered])

    def write(self, name: str, columns: dict[str, Any], select: list[str]) -> None:
        """Write one table to the file `name`; `select` is SQL per column."""
        table = pa.table(columns)
        self._save(self.out / name, table, select)
        self.rows[name] = self.rows.get(name, 0) + table.num_rows

    def write_planned(
        self,
        name: str,
        columns: Callable[[slice], dict[str, Any]],
        select: list[str],
        plan: Plan,
        labels: Sequence[str],
    ) -> None:
        """Write one planned table to `name` (its `{}` takes the part's label), one file a part.

        `columns` gives rows of the plan, so that no more than a batch of them lies in memory.
        """
        edges = np.searchsorted(plan.part, np.arange(len(labels) + 1)).tolist()
        for part, label in enumerate(labels):
            begin, finish = edges[part], edges[part + 1]
            if begin == finish and len(labels) > 1:
                continue
            path = self.out / name.format(label)
            schema = pa.table(columns(slice(begin, begin))).schema
            self._save(path, pa.RecordBatchReader.from_batches(schema, _batches(columns, begin, finish)), select)
            relative = path.relative_to(self.out).as_posix()
            counts = np.bincount(plan.kind[begin:finish], minlength=6)
            for code, dirt in (
                (DUPLICATE, "duplicate"),
                (LATE_EDIT, "late_edit"),
                (NAIVE, "naive_time"),
                (IMPOSSIBLE, "impossible_date"),
                (BAD_NUMBER, "bad_number"),
            ):
                self.note(relative, dirt, int(counts[code]))
            self.note(relative, "disorder", int(self._moved[begin:finish].sum()))
            written = finish - begin
            if path.suffix != ".parquet":
                torn = self._tear(path, round(written * self.shares["torn_row"] + 0.4999), is_csv=path.suffix == ".csv")
                self.note(relative, "torn_row", torn)
                written += torn
            self.rows[relative] = self.rows.get(relative, 0) + written

    def _save(self, path: Path, rows: pa.Table | pa.RecordBatchReader, select: list[str]) -> None:
        """Write rows to a file in the form that its name says."""
        options = {
            ".csv": "FORMAT csv, HEADER true",
            ".ndjson": "FORMAT json",
            ".parquet": "FORMAT parquet, COMPRESSION zstd",
        }[path.suffix]
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection.register("rows_to_write", rows)
        self.connection.execute(f"COPY (SELECT {', '.join(select)} FROM rows_to_write) TO {quote(path)} ({options})")
        self.connection.unregister("rows_to_write")

    def note(self, file: str, dirt: str, count: int) -> None:
        """Remember dirt planted in a file."""
        if count:
            self.planted.append((file, dirt, count))

    def _tear(self, path: Path, count: int, *, is_csv: bool) -> int:
        """Write the file's first lines again at its end, each cut after a third."""
        if not count:
            return 0
        lines: list[bytes] = []
        with path.open("rb") as file:
            if is_csv:
                file.readline()
            for line in file:
                if len(lines) == count:
                    break
                lines.append(line.rstrip(b"\r\n"))
        with path.open("ab") as file:
            file.write(b"".join(line[: len(line) // 3] + b"\n" for line in lines))
        return len(lines)


def _batches(columns: Callable[[slice], dict[str, Any]], begin: int, finish: int) -> Iterator[pa.RecordBatch]:
    for at in range(begin, finish, BATCH):
        yield from pa.table(columns(slice(at, min(at + BATCH, finish)))).to_batches()


def spoiled(plan: Plan, seconds: Array, *, is_early: bool = False) -> Array:
    """Give the times of the planned rows.

    IMPOSSIBLE ones in 1970 and 2999, and with `is_early` also five years before.
    """
    when = seconds[plan.row].astype(float)
    rows = np.flatnonzero(plan.kind == IMPOSSIBLE)
    turn = np.arange(len(rows)) % (3 if is_early else 2)
    when[rows] = np.select([turn == 0, turn == 1], [3600.0, 32_503_593_600.0], when[rows] - 5 * 365 * DAY)
    return when


def months(when: Array) -> tuple[Array, list[str]]:
    """Month of each time as a position, and the labels `.2025-01`."""
    month = when.astype("M8[s]").astype("M8[M]").astype(np.int64)
    if not len(month):
        return month, [""]
    first, last = int(month.min()), int(month.max())
    labels = [f".{np.datetime64(first + i, 'M')}" for i in range(last - first + 1)]
    return month - first, labels


def parts(when: Array) -> tuple[Array, list[str]]:
    """One part for a file of ordinary size, quarters of the year above `SPLIT_ROWS` rows."""
    if len(when) <= SPLIT_ROWS:
        return np.zeros(len(when), np.int64), [""]
    month = when.astype("M8[s]").astype("M8[M]").astype(np.int64)
    quarter = month // 3
    first, last = int(quarter.min()), int(quarter.max())
    labels = [f".{1970 + q // 4}-q{q % 4 + 1}" for q in range(first, last + 1)]
    return quarter - first, labels
