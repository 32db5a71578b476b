"""Memory, threads and room on disk: read from the machine and its container, kept to, and said when they are short."""

import errno
import os
import re
import shutil
import time
from pathlib import Path

import duckdb
import pytest
from conftest import TINY_SHOP, ends, fresh, write_rows
from test_load import assert_same, tables

from pipelines.errors import SettingError
from pipelines.load import load, pace
from pipelines.load.faults import is_disk_full
from pipelines.load.report import Step
from pipelines.settings import Settings
from pipelines.warehouse import build, machine, sql, state
from pipelines.why import why

pytestmark = pytest.mark.usefixtures("no_rules")

ROOT = Path(__file__).parents[1]
MANY = "SELECT count(DISTINCT hash(i)::VARCHAR || 'a long text to outgrow memory') FROM range(1000000) t(i)"
MEMINFO = "MemTotal: 16000000 kB\nMemFree: 100 kB\nMemAvailable: 8000000 kB\n"
GIB = 1 << 30
V2 = {
    "proc/self/cgroup": "0::/shop.slice/load.scope\n",
    "sys/fs/cgroup/shop.slice/memory.max": f"{2 * GIB}\n",
    "sys/fs/cgroup/shop.slice/memory.current": f"{GIB}\n",
    "sys/fs/cgroup/shop.slice/memory.stat": f"anon 1\ninactive_file {GIB // 2}\n",
    "sys/fs/cgroup/shop.slice/load.scope/memory.max": "max\n",
    "sys/fs/cgroup/shop.slice/load.scope/memory.current": "1000\n",
    "sys/fs/cgroup/shop.slice/load.scope/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/shop.slice/cpu.max": "max 100000\n",
}
V1 = {  # the path is the host's and not there in the container, whose own files lie on top
    "proc/self/cgroup": "5:cpu,cpuacct:/docker/ab12\n4:memory:/docker/ab12\n1:name=systemd:/docker/ab12\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB // 2}\n",
    "sys/fs/cgroup/memory/memory.stat": f"cache 5\ntotal_inactive_file {GIB // 4}\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
}
UNLIMITED = V1 | {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
}
INSIDE = {  # a container with a name space of its own
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/memory.max": f"{GIB}\n",
    "sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
}


def root_of(folder: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "free", "most_processors"),
    [
        (V2, 2 * GIB - (GIB - GIB // 2), 1),
        (V1, GIB - (GIB // 2 - GIB // 4), 1),
        (UNLIMITED, 8_000_000 * 1024, None),
        (INSIDE, 0, 2),
        ({}, 8_000_000 * 1024, None),
    ],
)
def test_the_limits_of_a_container_are_read(
    tmp_path: Path, files: dict[str, str], free: int, most_processors: int | None
) -> None:
    root, there = root_of(tmp_path, files), len(os.sched_getaffinity(0))
    assert machine.free_memory(root) == free
    assert machine.processors(root) == min(there, most_processors or there)
    assert machine.memory_mb(Settings(memory_mb=None), root) == max(free // 2 // 1_000_000, 300)
    assert machine.memory_mb(Settings(memory_mb=700), root) == 700
    assert machine.threads(Settings(threads=3), root) == 3


def test_what_is_no_memory_or_number_of_threads_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_settings: Settings
) -> None:
    for name, value in (("BACKHAUL_MEMORY", "lots"), ("BACKHAUL_MEMORY", "20MB"), ("BACKHAUL_THREADS", "0")):
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingError, match=f"{name}={value} is no "):
            Settings()
        code, _, said = ends(capsys, monkeypatch, "status", "--warehouse", tiny_settings.warehouse)
        assert (code, f"{name}={value}" in said) == (1, True)
        monkeypatch.delenv(name)
    monkeypatch.setenv("BACKHAUL_MEMORY", "2 GiB")
    monkeypatch.setenv("BACKHAUL_THREADS", "4")
    assert (Settings().memory_mb, Settings().threads) == (2000, 4)


def test_databases_are_opened_by_one_door_alone() -> None:
    opens = re.compile(r"\bduckdb\.connect\(")
    rooms = [f for room in ("models", "pipelines", "dashboard", "backhaul") for f in (ROOT / room).rglob("*.py")]
    assert len(rooms) > 200
    assert [f.relative_to(ROOT).as_posix() for f in rooms if opens.search(f.read_text("utf-8"))] == [
        "pipelines/warehouse/sql.py"
    ]


def bounds(connection: duckdb.DuckDBPyConnection) -> tuple[str, int, str]:
    asked = "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
    return connection.execute(asked).fetchall()[0]


def test_a_build_that_is_read_leaves_room_for_others(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build.build_path(tiny_settings.warehouse, build.current_id(tiny_settings.warehouse) or "")
    for free, most in ((64 * GIB, "953.6 MiB"), (GIB, "511.1 MiB")):
        monkeypatch.setattr(machine, "free_memory", lambda *_, free=free: free)
        with sql.open_attached(path) as connection:
            assert bounds(connection)[0] == most


def test_every_door_keeps_to_the_settings(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKHAUL_MEMORY", "512MB")
    monkeypatch.setenv("BACKHAUL_THREADS", "1")
    home = tmp_path / "warehouse"
    path = build.build_path(tiny_settings.warehouse, build.current_id(tiny_settings.warehouse) or "")
    doors = {
        "near a warehouse": sql.connect(settings=Settings(warehouse=home)),
        "staging": sql.connect(settings=Settings(warehouse=home), folders=[], staging=tmp_path),
        "near none": sql.connect(),
        "of a file": sql.connect(tmp_path / "a.duckdb"),
        "to be read": sql.open_file(path),
        "attached": sql.open_attached(path),
    }
    found = {name: bounds(connection) for name, connection in doors.items()}
    for connection in doors.values():
        connection.close()
    assert {memory for name, (memory, _, _) in found.items() if name != "staging"} == {"488.2 MiB"}
    assert found["staging"][0] == "381.4 MiB"
    assert {threads for _, threads, _ in found.values()} == {1}
    folders = {name: Path(folder) for name, (_, _, folder) in found.items()}
    assert folders["near a warehouse"].parent == home
    assert folders["to be read"].parent == folders["attached"].parent == tiny_settings.warehouse
    assert (folders["staging"], folders["of a file"]) == (tmp_path, tmp_path / "a.duckdb.tmp")
    assert len(set(folders.values())) == len(folders)
    assert not any(f.exists() for name, f in folders.items() if name != "staging")  # made when they are needed


def test_a_reader_goes_on_where_memory_ends_and_leaves_nothing(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorting takes more than the memory: rows go to the warehouse's disk, though the reader may reach nothing else."""
    monkeypatch.setattr(machine, "memory_mb", lambda *_: 30)
    path = build.build_path(tiny_settings.warehouse, build.current_id(tiny_settings.warehouse) or "")
    connection = sql.open_attached(path)
    assert connection.execute(MANY).fetchall() == [(1_000_000,)]
    seen = list(tiny_settings.warehouse.glob(f"{sql.SPILLED}*"))
    with pytest.raises(duckdb.PermissionException):
        connection.execute(f"SELECT * FROM read_text('{ROOT / 'README.md'}')")
    connection.close()
    assert len(seen) == 1
    assert not list(tiny_settings.warehouse.glob(f"{sql.SPILLED}*"))


def test_what_killed_processes_left_goes_with_the_next_load_and_what_is_in_use_stays(copy_of_tiny: Settings) -> None:
    home = copy_of_tiny.warehouse
    gone = home / f"{sql.SPILLED}{os.uname().nodename}-{2**22 + 1}-0"
    ours = home / f"{sql.SPILLED}{os.uname().nodename}-{os.getpid()}-7"
    theirs, old = home / f"{sql.SPILLED}another-node-3-0", home / f"{sql.SPILLED}another-node-4-0"
    for folder in (gone, ours, theirs, old):
        folder.mkdir()
        (folder / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"rows")
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    load(copy_of_tiny)
    assert {f for f in (gone, ours, theirs, old) if f.exists()} == {ours, theirs}


def test_a_load_in_little_memory_gives_the_same_facts(
    tiny_settings: Settings, tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKHAUL_MEMORY", "300MB")
    settings = fresh(tmp_path)
    assert settings.memory_mb == 300
    load(settings, [tiny_files])
    assert_same(tables(settings), tables(tiny_settings))


def test_a_full_folder_for_what_outgrows_memory_is_a_full_disk(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory_mb", lambda *_: 30)
    connection = sql.connect(settings=tiny_settings)
    connection.execute("SET max_temp_directory_size = '1MB'")
    with pytest.raises(duckdb.OutOfMemoryException) as raised:
        connection.execute("CREATE TEMP TABLE many AS SELECT hash(i) AS h FROM range(10000000) t(i)")
    connection.close()
    assert is_disk_full(raised.value)
    assert "no room on the disk of the warehouse" in str(sql.memory_short(raised.value))


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EFBIG, "File too large"), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (OSError("no space left"), False),  # it says so, the machine does not
        (duckdb.IOException('Could not write file "x.duckdb": No space left on device'), True),
        (duckdb.IOException('Could not write file "x.duckdb": Disk quota exceeded'), True),
        (duckdb.IOException('Could not read from file "x.duckdb": Input/output error'), False),
        (ValueError("disk is full"), False),
    ],
)
def test_a_full_disk_is_told_from_other_faults(error: Exception, is_full: bool) -> None:
    assert is_disk_full(error) is is_full


def test_memory_that_is_short_is_a_sentence_and_the_file_can_be_loaded_later(
    copy_of_tiny: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "order_line.csv", [{**TINY_SHOP["order_line"][0], "order_line_id": "N1-1", "order_id": "N1"}])
    before, bounded = build.current_id(copy_of_tiny.warehouse), sql._bounds
    words = ("load", tmp_path / "order_line.csv", "--warehouse", copy_of_tiny.warehouse)
    monkeypatch.setattr(sql, "_bounds", lambda *given, **named: bounded(*given, **named) | {"memory_limit": "1MB"})
    code, _, said = ends(capsys, monkeypatch, *words)
    monkeypatch.setattr(sql, "_bounds", bounded)
    assert (code, said.count("\n")) == (1, 1)
    assert "order_line.csv: This needs more memory than the database may take" in said
    assert build.current_id(copy_of_tiny.warehouse) == before
    assert ends(capsys, monkeypatch, *words)[0] == 0
    assert len(tables(copy_of_tiny)["fact_order_line"]) == len(TINY_SHOP["order_line"]) + 1
    monkeypatch.setattr(sql, "_bounds", lambda *given, **named: bounded(*given, **named) | {"memory_limit": "1MB"})
    code, _, said = ends(capsys, monkeypatch, "status", "--warehouse", copy_of_tiny.warehouse)
    assert (code, "Traceback" in said) in ((0, False), (4, False))


def test_a_load_that_has_no_room_is_refused_before_anything_lands(
    copy_of_tiny: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is needed, what is there and what to do are said; with room the same load goes on."""
    write_rows(tmp_path / "order_line.csv", [{**TINY_SHOP["order_line"][0], "order_line_id": "N1-1", "order_id": "N1"}])
    words = ("load", tmp_path / "order_line.csv", "--warehouse", copy_of_tiny.warehouse)
    raw = sorted(copy_of_tiny.raw.rglob("*"))
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as little:
        little.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
        code, _, said = ends(capsys, monkeypatch, *words)
    assert code == 4
    assert re.search(r"Loading 0 MB of files needs about \d+ MB on disk .* and 1 MB are free\. Free space, ", said)
    assert sorted(copy_of_tiny.raw.rglob("*")) == raw
    assert ends(capsys, monkeypatch, *words)[0] == 0


TOOK = {
    "step_landing": 3.0,
    "step_judging": 50.0,
    "step_shaping": 27.0,
    "step_estimating": 100.0,
    "step_publishing": 20.0,
}


def paced(known: dict[str, float] | None, took: dict[str, float]) -> list[tuple[str, tuple[float, float] | None]]:
    """Let a load go through its steps; give what was said at the beginning of each, and the seconds that were left."""
    now, said = [0.0], list[str]()
    heard = pace.Pace(said.append, known, lambda: now[0])
    for step, seconds in took.items():
        heard(why(step, thing="order_line"))
        now[0] += seconds
    heard("the end")
    assert {s: t for s, t in heard.spent.items() if t} == pytest.approx(took)
    return [(text, text.left if isinstance(text, Step) else None) for text in said]


def test_what_is_left_of_a_load_is_told_once_a_fifth_is_done_and_holds() -> None:
    """From an earlier load of half the size, and, wider, from what was measured elsewhere."""
    rest = {step: sum(list(TOOK.values())[i:]) for i, step in enumerate(TOOK)}
    half = {step: seconds / 2 for step, seconds in TOOK.items()}
    for known in (half, None):
        said = dict(paced(known, TOOK))
        assert said["landing files"] is said["judging order_line"] is None
        for step in ("step_shaping", "step_estimating", "step_publishing"):
            least, most = said[why(step)] or (0.0, 0.0)
            if known or step != "step_publishing":
                assert least < rest[step] < most, step
            assert most / least == pytest.approx(1.5 / 0.7 if known else 4.0)
    seconds = {step: took / 100 for step, took in TOOK.items()}
    assert {left for _, left in paced(half, seconds)} == {None}


def test_a_load_remembers_its_pace_unless_it_took_seconds(copy_of_tiny: Settings) -> None:
    state_file = state.State(copy_of_tiny.warehouse)
    state_file.remember("pace", "{}")
    heard = pace.timed(lambda _: None, state_file, "later")
    heard.spent |= TOOK
    pace.keep(heard, state_file, "later")
    assert pace.timed(lambda _: None, state_file, "later")._shares["step_judging"] == 50.0
    assert pace.timed(lambda _: None, state_file, "first")._shares is pace.MEASURED
    heard.spent = dict.fromkeys(TOOK, 0.1)
    pace.keep(heard, state_file, "later")
    assert pace.timed(lambda _: None, state_file, "later")._shares["step_judging"] == 50.0
    state_file.close()
