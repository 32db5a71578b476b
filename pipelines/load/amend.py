"""Amending: a load taken back, rows brought back, old raw files deleted, the key changed; each ends with a load."""

from typing import Any

from sqlalchemy import select

from pipelines.errors import SourceError
from pipelines.load import contracts, log_columns
from pipelines.load.judge import judge_again
from pipelines.load.raw import reading_logs, sweep
from pipelines.load.report import Progress, Report
from pipelines.load.run import load
from pipelines.load.upkeep import begin_rotation, delete_old_raw
from pipelines.settings import Settings
from pipelines.warehouse import build, keys, schema, state, state_tables
from pipelines.warehouse.log_files import Logs


def retain(settings: Settings, days: int, progress: Progress = lambda _: None) -> list[str]:
    """Delete the raw files of loads that landed more than so many days ago, once all that has landed is published.

    Give the loads.
    """
    load(settings, progress=progress)
    with build.writing(settings.warehouse, settings.wait_s):
        state_file = state.State(settings.warehouse)
        try:
            gone = delete_old_raw(settings, state_file, days)
            state.keep_copy(settings.warehouse)
            return gone
        finally:
            state_file.close()


def rotate_key(settings: Settings, progress: Progress = lambda _: None) -> Report:
    """Let a new hashing key take the place of the present one.

    All loads are judged again with it, and a whole build is published. The old key goes when that build stands. Killed,
    it goes on with the next load. Raises SourceError when raw files are not there, and nothing is changed.
    """
    build.check_there(settings.warehouse)
    with build.writing(settings.warehouse, settings.wait_s):
        state_file = state.State(settings.warehouse)
        try:
            keys.read(settings, state_file)
            if keys.file_of(settings, state_file) != settings.next_key_file:
                begin_rotation(settings, state_file, progress)
        finally:
            state_file.close()
    return load(settings, progress=progress)


def withdrawn_rows(settings: Settings, limit: int = 1000) -> list[dict[str, Any]]:
    """List rows that a load withdrew and nobody brought back: load, table, id, latest first."""
    state_file = state.State(settings.warehouse)
    loads = [r["load_id"] for r in state_file.loads_with("logged", "published") if not r["restored_at"]]
    logs = Logs(settings, state_file)
    state_file.close()
    selects = []
    with reading_logs(settings) as connection:
        for thing in contracts.REVERSIBLE:
            if (table := schema.LOG.tables.get(thing)) is not None:
                rows = log_columns.log_rows(connection, table, logs.sql(thing, loads))
                selects.append(
                    f"SELECT load_id AS load, '{thing}' AS \"table\", {table.info['key'][0]} AS id FROM ({rows}) WHERE"
                    " is_withdrawn"
                )
        found = connection.execute(f"{' UNION ALL '.join(selects)} ORDER BY ALL DESC LIMIT {limit}").fetchall()
    return [dict(zip(("load", "table", "id"), row, strict=True)) for row in found]


def restore_withdrawn(settings: Settings, load_id: str, progress: Progress = lambda _: None) -> Report:
    """Bring back what a load withdrew, and publish a build that holds it.

    Raises SourceError for a load that is not there or withdrew nothing.
    """
    with build.writing(settings.warehouse, settings.wait_s):
        state_file = state.State(settings.warehouse)
        try:
            rows = state_file.rows(
                select(state_tables.load_count.c.withdrawn).where(state_tables.load_count.c.load_id == load_id)
            )
            if not sum(row["withdrawn"] or 0 for row in rows):
                raise SourceError(
                    f"No load {load_id} withdrew anything. `backhaul withdrawn` lists the loads that did."
                )
            with state_file.transaction() as connection:
                connection.execute(
                    state_tables.load.update()
                    .where(state_tables.load.c.load_id == load_id)
                    .values(restored_at=state.now())
                )
        finally:
            state_file.close()
    return load(settings, rebuild=True, progress=progress)


def withdraw(settings: Settings, load_id: str, progress: Progress = lambda _: None) -> Report:
    """Take a whole load back: its rows, its log files and its raw copies go, and a build without it is published.

    Later loads of the same source are judged again, for what they said again counted as duplicates of it. A load that
    was put aside is given up. Raises SourceError for a load that is not there; one that is taken back already changes
    nothing.
    """
    with build.writing(settings.warehouse, settings.wait_s):
        state_file = state.State(settings.warehouse)
        try:
            found = state_file.loads_with(
                "landing", "landed", "logged", "failed", "published", "withdrawn", load_id=load_id
            )
            if not found:
                raise SourceError(f"There is no load {load_id}. `backhaul status` lists the loads.")
            is_built = found[0]["status"] in ("logged", "published")
            if is_built:
                judge_again(state_file, found[0], "logged", "published")
            state_file.set_status([load_id], "withdrawn", finished_at=state.now())
            sweep(settings, state_file)
        finally:
            state_file.close()
    return load(settings, rebuild=is_built, progress=progress)  # also where readers were rolled back to a build without
