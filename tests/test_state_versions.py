"""The state file goes from version to version by Alembic, each step whole or not at all."""

import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from pipelines.errors import WarehouseDamaged
from pipelines.people import actions
from pipelines.settings import Settings
from pipelines.warehouse import state, state_steps
from pipelines.warehouse.state_tables import STATE

NEXT = """
from alembic import op

revision, down_revision = "{next}", "{now}"


def upgrade():
    op.execute("ALTER TABLE action RENAME COLUMN note TO remark")
    op.execute("{then}")
"""


def content(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(settings.warehouse / "state.sqlite")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


NOW, LATER = state_steps.VERSION, state_steps.VERSION + 1


def next_version(monkeypatch: pytest.MonkeyPatch, folder: Path, then: str) -> None:
    """Have a version more, which renames what people wrote and runs one statement more."""
    shutil.copytree(state_steps.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = NEXT.format(then=then, next=f"{LATER:04}", now=f"{NOW:04}")
    (folder / "versions" / f"v{LATER:04}_remark.py").write_text(text)
    monkeypatch.setattr(state_steps, "MIGRATIONS", folder)
    monkeypatch.setattr(state_steps, "VERSION", LATER)


def test_the_steps_lead_to_the_tables_and_the_number_that_the_code_has(settings: Settings) -> None:
    with state.State(settings.warehouse).transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), STATE) == []
        (version,) = connection.exec_driver_sql("PRAGMA user_version").one()
    steps = Config()
    steps.set_main_option("script_location", str(state_steps.MIGRATIONS))
    assert ScriptDirectory.from_config(steps).get_heads() == [f"{version:04}"] == [f"{state_steps.VERSION:04}"]


def test_many_who_read_an_older_file_at_once_read_it_brought_up_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions.log_action(settings, "carrier_call", {}, note="asked the carrier")
    next_version(monkeypatch, tmp_path / "steps", "SELECT 1")
    steps, bring_up, ready = list[str](), state_steps.bring_up, threading.Barrier(8)

    def counted(connection: Connection) -> None:
        steps.append("up")
        bring_up(connection)

    monkeypatch.setattr(state_steps, "bring_up", counted)

    def read(_: int) -> str:
        ready.wait()
        older = state.State(settings.warehouse)
        with older._engine.connect() as connection:
            found = str(connection.exec_driver_sql("SELECT remark FROM action").scalar_one())
        older.close()
        return found

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(8))) == {"asked the carrier"}
    assert steps == ["up"]


def test_a_step_keeps_what_people_wrote_and_reading_waits_for_no_writer(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions.log_action(settings, "carrier_call", {}, note="asked the carrier")
    file = settings.warehouse / "state.sqlite"
    before = file.read_bytes()
    next_version(monkeypatch, tmp_path / "100% new: steps", "SELECT 1")
    older = state.State(settings.warehouse)
    with older._engine.connect() as connection:  # read by a copy in memory, brought up
        assert connection.exec_driver_sql("SELECT remark FROM action").scalar_one() == "asked the carrier"
    older.close()
    assert file.read_bytes() == before
    monkeypatch.setattr(state, "STATE", type(STATE)())  # of the next version the tables are another matter
    state.State(settings.warehouse).remember("told_build", "b")
    assert content(settings, "SELECT remark FROM action") == [("asked the carrier",)]
    assert content(settings, "SELECT version_num FROM alembic_version") == [(f"{LATER:04}",)]
    monkeypatch.setattr(state_steps, "VERSION", NOW)
    with pytest.raises(WarehouseDamaged, match="newer version of Backhaul"):
        state.State(settings.warehouse).remember("told_build", "c")


def test_a_step_that_fails_halfway_leaves_the_file_as_it_was(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions.log_action(settings, "carrier_call", {}, note="asked the carrier")
    next_version(monkeypatch, tmp_path / "steps", "SELECT x FROM nowhere")
    with pytest.raises(WarehouseDamaged):
        state.State(settings.warehouse).remember("told_build", "b")
    assert content(settings, "SELECT note FROM action") == [("asked the carrier",)]
    assert content(settings, "SELECT version_num FROM alembic_version") == [(f"{NOW:04}",)]
    assert content(settings, "PRAGMA user_version") == [(NOW,)]


def test_a_file_that_lacks_what_its_version_has_is_put_back(copy_of_tiny: Settings) -> None:
    actions.log_action(copy_of_tiny, "carrier_call", {}, note="asked the carrier")
    with sqlite3.connect(copy_of_tiny.warehouse / "state.sqlite") as connection:
        connection.execute("ALTER TABLE load DROP COLUMN asked")
    connection.close()
    with pytest.raises(WarehouseDamaged, match=r"lacks load\.asked.*backhaul load"):
        state.listed_loads(copy_of_tiny)
    assert "was damaged (kept as" in state.put_back(copy_of_tiny.warehouse)
    assert [row["status"] for row in state.listed_loads(copy_of_tiny)] == ["published"]
