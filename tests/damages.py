"""What can happen to what a warehouse holds: kinds of damage, those that heal and those that only a person can mend."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb

from pipelines.settings import Settings
from pipelines.warehouse import build, state

Damage = Callable[[Settings], None]


def current(settings: Settings) -> Path:
    found = build.build_path(settings.warehouse, str(build.current_id(settings.warehouse)))
    found.chmod(0o644)
    return found


def flip(path: Path, *places: int) -> None:
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= 0xFF
    path.write_bytes(content)


def flip_pages(settings: Settings) -> None:
    """Every block that holds order lines: what the build says of itself stays readable."""
    file = current(settings)
    with duckdb.connect(str(file), read_only=True) as connection:
        found = connection.execute(
            "SELECT DISTINCT block_id FROM pragma_storage_info('fact_order_line') WHERE block_id >= 0"
        ).fetchall()
        own = connection.execute(
            "SELECT DISTINCT block_id FROM pragma_storage_info('build_info') WHERE block_id >= 0"
        ).fetchall()
    blocks = {block for (block,) in found} - {block for (block,) in own}
    assert blocks
    flip(file, *(12288 + block * 262144 + 2000 for block in blocks))


def drop_table(settings: Settings) -> None:
    with duckdb.connect(str(current(settings))) as connection:
        connection.execute("DROP TABLE fact_refund")


def log(settings: Settings) -> Path:
    (found,) = (settings.warehouse / "log" / "order_line").glob("*/*.parquet")
    return found


def state_file(settings: Settings) -> Path:
    return settings.warehouse / "state.sqlite"


def older_state(settings: Settings) -> None:
    """The state as it was before anything was loaded, in the version before it had a number."""
    state_file(settings).unlink()
    with sqlite3.connect(state_file(settings)) as connection:
        connection.execute("CREATE TABLE load (load_id VARCHAR)")
    connection.close()


def without_a_column(settings: Settings) -> None:
    with sqlite3.connect(state_file(settings)) as connection:
        connection.execute("ALTER TABLE load DROP COLUMN asked")
    connection.close()


def folder_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "note.txt").write_text("mine")


def copies_of_builds(settings: Settings) -> None:
    for name in ("keep-jan", "keep-feb", "zzz", "999999999-not-a-build"):
        shutil.copy(current(settings), settings.warehouse / "builds" / f"{name}.duckdb")


def strangers(settings: Settings) -> None:
    for folder in (
        settings.raw,
        log(settings).parent,
        settings.warehouse / "log",
        settings.warehouse / "builds",
        settings.warehouse,
    ):
        (folder / ".DS_Store").write_bytes(b"\x00")
        (folder / "my copies").mkdir()
        (folder / "my copies" / "kept.parquet").write_text("mine")
    (log(settings).parent / "notes.parquet").write_text("mine")
    (settings.raw / "20240101T000000000000").mkdir()


def linked(path: Path) -> None:
    """The file is elsewhere, and a link in its place leads there."""
    moved = path.with_name(f"moved-{path.name}")
    path.rename(moved)
    path.symlink_to(moved)


def swapped_logs(settings: Settings) -> None:
    """Two log files have changed places."""
    (other,) = (settings.warehouse / "log" / "return_event").glob("*/*.parquet")
    content = log(settings).read_bytes()
    log(settings).write_bytes(other.read_bytes())
    other.write_bytes(content)


def leftovers(settings: Settings) -> None:
    """What a kill leaves.

    Half a build with DuckDB's own folder, a staging folder, a state half copied, a pointer not yet named.
    """
    builds = settings.warehouse / "builds"
    (builds / f"000002-20260101T000000{build.UNFINISHED}.duckdb").write_bytes(b"half")
    (builds / f"000002-20260101T000000{build.UNFINISHED}.duckdb.tmp").mkdir()
    (settings.raw / ".staging").mkdir()
    (settings.raw / ".staging" / "page.json").write_text("{")
    for name in (".state.copy", ".current"):
        (settings.warehouse / name).write_bytes(b"half")
    log(settings).with_name("tmp_" + log(settings).name).write_bytes(b"PAR1")


def raw_file(settings: Settings) -> Path:
    (found,) = settings.raw.rglob("order_line.csv")
    return found


HEALED: dict[str, Damage] = {
    "build cut": lambda s: current(s).write_bytes(current(s).read_bytes()[:5000]),
    "build empty": lambda s: current(s).write_bytes(b""),
    "build header flipped": lambda s: flip(current(s), 9, 4100, 8200),
    "build pages flipped": flip_pages,
    "build without a table": drop_table,
    "build gone": lambda s: current(s).unlink(),
    "build of another version": lambda s: (
        duckdb.connect(str(current(s)))
        .execute("UPDATE build_info SET value = '0' WHERE name = 'schema_version'")
        .close()
    ),
    "pointer gone": lambda s: (s.warehouse / "current").unlink(),
    "pointer empty": lambda s: (s.warehouse / "current").write_bytes(b"") and None,
    "pointer no text": lambda s: (s.warehouse / "current").write_bytes(b"\xff\xfe\x00") and None,
    "pointer to somewhere else": lambda s: (s.warehouse / "current").write_text("../../etc/passwd") and None,
    "pointer a folder": lambda s: folder_instead(s.warehouse / "current"),
    "copies of builds": copies_of_builds,
    "strange files everywhere": strangers,
    "log cut": lambda s: log(s).write_bytes(log(s).read_bytes()[:300]) and None,
    "log empty": lambda s: log(s).write_bytes(b"") and None,
    "log flipped": lambda s: flip(log(s), 100, 400, 700),
    "log gone": lambda s: log(s).unlink(),
    "logs all gone": lambda s: shutil.rmtree(s.warehouse / "log"),
    "state gone": lambda s: state_file(s).unlink(),
    "state garbage": lambda s: state_file(s).write_bytes(b"no database" * 3000) and None,
    "state cut": lambda s: state_file(s).write_bytes(state_file(s).read_bytes()[:9000]) and None,
    "state empty": lambda s: state_file(s).write_bytes(b"") and None,
    "state page flipped": lambda s: flip(state_file(s), *range(4096, 4200)),
    "state without a column": without_a_column,
    "state of before": older_state,
    "build a link": lambda s: linked(current(s)),
    "build with more behind it": lambda s: current(s).write_bytes(current(s).read_bytes() + bytes(5000)) and None,
    "build of zero bytes": lambda s: current(s).write_bytes(bytes(current(s).stat().st_size)) and None,
    "builds gone": lambda s: shutil.rmtree(s.warehouse / "builds"),
    "pointer a link": lambda s: linked(s.warehouse / "current"),
    "logs swapped": swapped_logs,
    "log a folder": lambda s: folder_instead(log(s)),
    "log a link": lambda s: linked(log(s)),
    "log not to be read": lambda s: log(s).chmod(0),
    "raw file cut": lambda s: raw_file(s).write_bytes(raw_file(s).read_bytes()[:40]) and None,
    "raw files gone": lambda s: shutil.rmtree(s.raw),
    "state copy gone": lambda s: state.copy_path(s.warehouse).unlink(),
    "state copy garbage": lambda s: state.copy_path(s.warehouse).write_bytes(b"garbage") and None,
    "state journal of another file": lambda s: (
        s.warehouse.joinpath("state.sqlite-journal").write_bytes(b"garbage" * 99) and None
    ),
    "state of zero bytes": lambda s: state_file(s).write_bytes(bytes(state_file(s).stat().st_size)) and None,
    "state a folder": lambda s: folder_instead(state_file(s)),
    "state a link": lambda s: linked(state_file(s)),
    "leftovers of a kill": leftovers,
    "modes of files": lambda s: [f.chmod(0o400 if f.is_file() else 0o755) for f in s.warehouse.rglob("*")] and None,
    "lock with words in it": lambda s: s.warehouse.joinpath(".writer.lock").write_text("4711") and None,
}


def newer_state(settings: Settings) -> None:
    with sqlite3.connect(state_file(settings)) as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()


def lost_state(settings: Settings) -> None:
    state_file(settings).unlink()
    state.copy_path(settings.warehouse).unlink()


def log_and_raw(settings: Settings) -> None:
    log(settings).unlink()
    for file in settings.raw.rglob("order_line.csv"):
        file.write_text("cut")


def torn_choice(settings: Settings) -> None:
    (settings.warehouse / "factors").mkdir(exist_ok=True)
    (settings.warehouse / "factors" / "choice.json").write_text('{"factor_set": "ade')


def a_file_for_builds(settings: Settings) -> None:
    shutil.move(settings.warehouse / "builds", settings.warehouse.parent / "moved")
    (settings.warehouse / "builds").write_text("a file")


def factors_file(settings: Settings, name: str) -> Path:
    (settings.warehouse / "factors").mkdir(exist_ok=True)
    return settings.warehouse / "factors" / name


REFUSED: dict[str, tuple[Damage, str]] = {
    "key gone": (lambda s: s.key_file.unlink(), "gone. Restore it from a copy"),
    "key cut": (lambda s: s.key_file.write_bytes(b"x") and None, "damaged. Restore it from a copy"),
    "key of another warehouse": (
        lambda s: s.key_file.write_bytes(b"another key, also 32 bytes long.") and None,
        "is not the hashing key",
    ),
    "state newer": (newer_state, "newer version of Backhaul"),
    "state and its copy gone": (lost_state, "knows nothing of 1 loads"),
    "log and raw gone": (log_and_raw, "backhaul withdraw"),
    "choice cut": (torn_choice, "backhaul factors use"),
    "builds a file": (a_file_for_builds, "builds"),
    "lock a folder": (lambda s: folder_instead(s.warehouse / ".writer.lock"), ".writer.lock"),
    "choice no text": (lambda s: factors_file(s, "choice.json").write_bytes(b"\xff\xfe\x00") and None, "choice.json"),
    "choice a list": (lambda s: factors_file(s, "choice.json").write_text("[]") and None, "choice.json"),
    "choice a folder": (lambda s: folder_instead(factors_file(s, "choice.json")), "choice.json"),
    "set of factors no table": (
        lambda s: factors_file(s, "glec.csv").write_bytes(b"\xff\x00no table") and None,
        "glec.csv",
    ),
    "key a folder": (lambda s: folder_instead(s.key_file), ".key"),
    "raw a file": (lambda s: (shutil.rmtree(s.raw), s.raw.write_text("a file"))[0], ".raw"),
    "log folder a file": (
        lambda s: (shutil.rmtree(s.warehouse / "log"), s.warehouse.joinpath("log").write_text("a file"))[0],
        "log",
    ),
}
