"""Upkeep before a load: raw files that are old go, a change of the hashing key is brought to its end."""

from datetime import timedelta

from sqlalchemy import delete, insert

from pipelines.errors import SourceError
from pipelines.load import erasing
from pipelines.load.raw import damaged_raw, deleted_raw, sweep
from pipelines.load.report import Progress
from pipelines.settings import Settings
from pipelines.warehouse import build, keys, state, state_tables


def delete_old_raw(settings: Settings, state_file: state.State, days: int) -> list[str]:
    """Delete the raw files of loads that landed more than so many days ago and are published; give the loads.

    What waits in them to be judged again, because it is of the future, is waited for as many days at most. The mapping
    stays.
    """
    age = timedelta(days=days)
    due = [
        row["load_id"]
        for row in state_file.loads_with("published")
        if row["files"]
        and not row["raw_gone_at"]
        and row["started_at"] < state.now() - age
        and not (row["again_at"] and row["again_at"] < state.now() + age)
    ]
    if due:
        state_file.set_status(due, "published", raw_gone_at=state.now())
        sweep(settings, state_file)
    return due


def begin_rotation(settings: Settings, state_file: state.State, progress: Progress) -> None:
    """Make a new key, and in one transaction let the logs be those that it makes: every load is judged again."""
    rows = state_file.loads_with("landed", "logged", "published")
    told = deleted_raw(rows)
    for row in rows if not told else ():
        progress(f"reading the raw files of load {row['load_id']}")
        if raw := damaged_raw(settings, row):
            told = f"the raw file {raw[0][:100]} is gone or damaged"
            break
    if told:
        raise SourceError(
            f"The hashing key cannot be changed: every load would be judged again, and {told}. Nothing was changed."
        )
    secret, key = erasing.secret_of(settings, state_file), keys.write(settings.next_key_file)
    values = {"key_fingerprint": keys.fingerprint(key)}
    if secret is not None:
        values["forgotten_secret"] = erasing.hidden_secret(secret, key)
    with state_file.transaction() as connection:
        is_logged = state_tables.load.c.status.in_(("logged", "published"))
        connection.execute(state_tables.load.update().where(is_logged).values(status="landed"))
        connection.execute(delete(state_tables.remembered).where(state_tables.remembered.c.name.in_(values)))
        connection.execute(insert(state_tables.remembered), [{"name": n, "value": v} for n, v in values.items()])


def end_rotation(settings: Settings, state_file: state.State) -> None:
    """Put a new key in the place of the old one, once every load is published with it; builds of the old one go."""
    if keys.file_of(settings, state_file) != settings.next_key_file or state_file.loads_with("landed", "logged"):
        return
    for old in build.own_files(settings.warehouse):
        if old.stem != build.current_id(settings.warehouse):
            old.unlink()
    build.drop_within(settings.warehouse)
    state_file.keep_builds(1)
    state_file.compact()
    settings.next_key_file.replace(settings.key_file)
    build.sync(settings.key_file.parent)
