"""What each build took in and what it changed: rows, headline metrics; and the way back to one that is kept.

Rows and loads are written down when a build is published, its headline metrics when its file goes: as long as it is
kept they are read from it. What differs between two builds is in `load/differences`.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from sqlalchemy import insert, select

from pipelines.access import load_readers
from pipelines.errors import BackhaulError, HistoryError
from pipelines.settings import Settings
from pipelines.warehouse import build, state, state_tables
from pipelines.why import why

if TYPE_CHECKING:
    from pipelines.warehouse.engine import Build

HEADLINES = (
    "sold_units",
    "returned_units",
    "observed_return_rate",
    "ultimate_return_rate",
    "net_sales",
    "refund_amount",
    "legal_refund_kept",
    "days_to_refund",
    "return_cost",
    "kg_co2e",
)
"""Metrics that say in a line what a build holds, over all its days."""


@dataclass(frozen=True)
class Number:
    """A headline metric of a build; None with the reason where it has no value. `n` are the cases it rests on."""

    value: float | None
    low: float | None
    high: float | None
    n: float | None
    unit: str
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """One build: when and how it was made, what it took in, its rows, and the rows of the build before it.

    `loads` have load_id, source and their rows by verdict. `is_kept`: its file is there to be
    compared with and rolled back to.
    """

    build_id: str
    created_at: datetime
    kind: str
    is_current: bool
    is_kept: bool
    loads: tuple[dict[str, Any], ...]
    rows: dict[str, int]
    before: dict[str, int] | None
    metrics: dict[str, Number] = field(default_factory=dict)

    def change(self, table: str) -> int | None:
        """Give how many rows more a table has than in the build before; None where that is not known any more."""
        return None if self.before is None else self.rows.get(table, 0) - self.before.get(table, 0)


def history(settings: Settings, limit: int = 20, *, keys: Sequence[str] = HEADLINES) -> list[Entry]:
    """List builds, newest first, with the loads each took in, its rows and its headline metrics.

    A build whose file is gone and whose metrics were not written down has none. Reading writes nothing.
    """
    b, taken, numbers = state_tables.build, state_tables.build_load, state_tables.build_metric
    with closing(state.State(settings.warehouse)) as state_file:
        found = state_file.rows(select(b).order_by(b.c.build_id.desc()))
        loads = state_file.rows(select(taken).order_by(taken.c.load_id))
        written = state_file.rows(select(numbers).where(numbers.c.metric.in_(list(keys))))
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_id.setdefault(row["build_id"], []).append(row)
    ids, current = list(by_id), build.current_id(settings.warehouse)
    known = {i: {n["metric"]: _number(n) for n in written if n["build_id"] == i} for i in ids[:limit]}
    entries = []
    for at, build_id in enumerate(ids[:limit]):
        rows = by_id[build_id]
        before = by_id[ids[at + 1]] if at + 1 < len(ids) else None
        is_kept = build.is_there(settings.warehouse, build_id)
        entries.append(
            Entry(
                build_id,
                rows[0]["created_at"],
                rows[0]["kind"],
                build_id == current,
                is_kept,
                tuple(
                    {k: v for k, v in row.items() if k != "build_id"} for row in loads if row["build_id"] == build_id
                ),
                {row["table"]: row["rows"] for row in rows},
                {row["table"]: row["rows"] for row in before} if before else None,
                known[build_id] or (headlines(settings, build_id, keys) if is_kept else {}),
            )
        )
    return entries


def headlines(settings: Settings, build_id: str, keys: Sequence[str] = HEADLINES) -> dict[str, Number]:
    """Answer headline metrics of a kept build; none of one that cannot be read."""
    try:
        with build.open_build(settings.warehouse, build_id) as opened:
            return {key: answered(opened, key) for key in keys}
    except (BackhaulError, duckdb.Error):
        return {}


def answered(opened: "Build", key: str) -> Number:
    """Answer one metric of a build, over all its days."""
    from pipelines import metrics  # most loads never ask

    row = metrics.answer(opened, key).iloc[0]
    value, low, high, n = (float(row[c]) if row[c] == row[c] else None for c in ("value", "low", "high", "n"))
    return Number(value, low, high, n, str(row["unit"]), str(row["reason"] or "") if value is None else "")


def _number(row: dict[str, Any]) -> Number:
    return Number(row["value"], row["low"], row["high"], row["n"], row["unit"], row["reason"] or "")


def keep_metrics(settings: Settings, state_file: state.State) -> None:
    """Write down the headline metrics of the builds whose files go when one more is published."""
    t = state_tables.build_metric
    files = build.own_files(settings.warehouse)
    going = [file.stem for file in (files[: 1 - settings.keep_builds] if settings.keep_builds > 1 else files)]
    for build_id in going:
        if not state_file.rows(select(t.c.metric).where(t.c.build_id == build_id).limit(1)):
            found = headlines(settings, build_id)
            state_file.write(t, [{"build_id": build_id, "metric": k, **vars(n)} for k, n in found.items()])


def rollback(settings: Settings, build_id: str, by: str) -> list[str]:
    """Point readers at a build that is kept, and write down who did; give the loads that it does not hold.

    The next load that brings something new takes all loads in again: what is wrong is taken back with `withdraw`.
    Raises HistoryError for a build that is not kept or that readers see already, and WarehouseMissing for one that
    cannot be opened.
    """
    from pipelines.load import within

    with build.writing(settings.warehouse, settings.wait_s), closing(state.State(settings.warehouse)) as state_file:
        current = build.current_id(settings.warehouse)
        if not build.is_there(settings.warehouse, build_id):
            raise HistoryError(why("no_build", build=build_id[:60], kept=_kept(settings.warehouse)))
        if build_id == current:
            raise HistoryError(why("is_current", build=build_id))
        with build.open_build(settings.warehouse, build_id) as opened:
            held = set(opened.info.get("loads", "").split())
        row = {"rolled_at": state.now(), "rolled_by": by[:100], "from_build": current, "to_build": build_id}
        with state_file.transaction() as connection:
            connection.execute(insert(state_tables.rollback).values(**row))
        build.point_at(settings.warehouse, build_id)
        within.refresh(settings, load_readers(settings).scopes)
        return [row["load_id"] for row in state_file.loads_with("published") if row["load_id"] not in held]


def named(settings: Settings, text: str) -> str:
    """Give the id of the kept build that a text names by its id or its number. Raises HistoryError for none."""
    ids = [file.stem for file in build.own_files(settings.warehouse)]
    mine = [i for i in ids if i == text or (text.isdecimal() and int(i.split("-")[0]) == int(text))]
    if not mine:
        raise HistoryError(why("no_build", build=text[:60], kept=_kept(settings.warehouse)))
    return mine[-1]


def rollbacks(settings: Settings) -> list[dict[str, Any]]:
    """List who rolled back from which build to which, newest first."""
    t = state_tables.rollback
    with closing(state.State(settings.warehouse)) as state_file:
        return state_file.rows(select(t).order_by(t.c.rollback_id.desc()))


def _kept(warehouse: Path) -> str:
    return ", ".join(file.stem for file in build.own_files(warehouse)) or "none"
