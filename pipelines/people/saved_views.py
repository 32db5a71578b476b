"""Saved views: an address of a page kept by name, each reader's own. What an address says is the pages' matter."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from pipelines.errors import PlanError
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import writing
from pipelines.warehouse.state_tables import saved_view as table
from pipelines.why import why

LONGEST = 60  # characters of a name


@dataclass(frozen=True)
class SavedView:
    """One view: its name, the address of its page, and what stands in the address: each name with its codes."""

    view_id: int
    name: str
    page: str
    codes: Mapping[str, Sequence[str]]


def saved(settings: Settings, reader: str) -> list[SavedView]:
    """List a reader's views by name; the reader is empty where nobody signs in."""
    state_file = state.State(settings.warehouse)
    try:
        rows = state_file.rows(select(table).where(*_own(reader)).order_by(table.c.name))
    finally:
        state_file.close()
    return [SavedView(row["view_id"], row["name"], row["page"], json.loads(row["codes"])) for row in rows]


def save(settings: Settings, reader: str, name: str, page: str, codes: Mapping[str, Sequence[str]]) -> None:
    """Keep a view under a name; what had the name becomes this view. Raises PlanError for an empty name."""
    name, at = _checked(name), state.now()
    said = {"page": page, "codes": json.dumps({key: list(values) for key, values in codes.items()}, sort_keys=True)}
    with _changing(settings) as connection:
        known = connection.execute(select(table.c.view_id).where(*_own(reader), table.c.name == name)).scalar()
        if known is None:
            connection.execute(insert(table).values(**said, reader=reader, name=name, created_at=at, updated_at=at))
        else:
            connection.execute(update(table).where(table.c.view_id == known).values(**said, updated_at=at))


def rename(settings: Settings, reader: str, view_id: int, name: str) -> None:
    """Give a view another name. Raises PlanError for a name that is empty or taken, and for a view that is gone."""
    name = _checked(name)
    with _changing(settings) as connection:
        taken = select(table.c.view_id).where(*_own(reader), table.c.name == name, table.c.view_id != view_id)
        if connection.execute(taken).first() is not None:
            raise PlanError(why("view_taken"))
        _change(connection, reader, view_id, name=name)


def withdraw(settings: Settings, reader: str, view_id: int) -> None:
    """Take a view from the list: it stays on record. Raises PlanError for one that is gone."""
    with _changing(settings) as connection:
        _change(connection, reader, view_id, withdrawn_at=state.now())


def _own(reader: str) -> tuple[Any, ...]:
    return table.c.reader == reader, table.c.withdrawn_at.is_(None)


def _checked(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST:
        raise PlanError(why("view_name", limit=LONGEST))
    return name


@contextmanager
def _changing(settings: Settings) -> Iterator[Connection]:
    state_file = state.State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state_file.transaction() as connection:
            yield connection
    finally:
        state_file.close()


def _change(connection: Connection, reader: str, view_id: int, **values: Any) -> None:
    own = update(table).where(table.c.view_id == view_id, *_own(reader))
    if not connection.execute(own.values(**values, updated_at=state.now())).rowcount:
        raise PlanError(why("view_none"))
