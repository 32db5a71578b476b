"""Nothing lost: what verbs that are killed leave behind, and what readers see while builds are published.

Kills come at moments spread over the time that the verb takes unharmed. A reader asks the warehouse after each; then the verb runs
again, and every table is held against that of a run nobody harmed.
"""

import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines import metrics
from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_build, current_id
from tests.evidence import Claim

ORDERS = 2_000
SMALL_LOADS, READERS, PUBLISHES = 500, 100, 50
CHANGING = ("load_id", "build_id", "created_at", "judged_at", "landed_at", "customer_key", "system")
SECOND = ("finance", "returns_centre", "recovery")
OWN = ("build_", "build_info")  # tables that say when and by which load, not what


@dataclass(frozen=True)
class Verb:
    """A verb to kill: its arguments, and whether running it again is refused because the first run had done it."""

    name: str
    arguments: tuple[str, ...]
    kills: int
    may_be_done: bool = False


VERBS = (
    Verb("load", ("load", "{files}/b"), 80),
    Verb("load a whole shop", ("load", "{files}/a", "{files}/b", "--warehouse", "{folder}/fresh"), 40),
    Verb("close", ("close", "2025-03", "--approver", "A"), 20, may_be_done=True),
    Verb("alert check", ("alert", "check"), 20),
    Verb("alert add", ("alert", "add", "promise_kept", "--below", ".9"), 10),
    Verb("export", ("export", "ultimate_return_rate", "--by", "category", "--out", "{folder}/rates.csv"), 20),
    Verb("report", ("report", "{folder}/em.json", "--from", "2025-01-01", "--to", "2025-12-31"), 20),
    Verb("backup", ("backup", "{folder}/copy"), 30, may_be_done=True),
)


def claims() -> Iterator[Claim]:
    """Kill, read and load."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        files = _deliveries(root)
        settings = Settings(warehouse=root / "base" / "warehouse")
        settings.warehouse.parent.mkdir()
        load(settings, [files / "a"])
        yield from _kills(root, files)
        yield from _readers(root, files)
    yield from _small_loads()


def _deliveries(root: Path) -> Path:
    """Write a sample shop in two deliveries: the later orders, refunds and the returns centre's events come second."""
    whole, files = root / "whole", root / "files"
    write_sample(whole, ORDERS, 7)
    for file in (p for p in whole.rglob("*") if p.is_file()):
        is_later = file.name > "order_line.2025-06" if file.parent.name == "shop" else file.parent.name in SECOND
        target = files / ("b" if is_later else "a") / file.relative_to(whole)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return files


# -- kills -------------------------------------------------------------------------------------------------------------


def _kills(root: Path, files: Path) -> Iterator[Claim]:
    killed, spread, wrong = 0, 0, []
    for verb in VERBS:
        unharmed = _copy(root, f"{verb.name} unharmed")
        begun = time.monotonic()
        done = _started(verb, unharmed, files).wait()
        seconds = time.monotonic() - begun
        if done:
            wrong.append(f"{verb.name}: exit {done} unharmed")
            continue
        expected = _contents(unharmed)
        for number in range(verb.kills):
            folder = _copy(root, "killed")
            before = _contents(folder)
            process = _started(verb, folder, files)
            time.sleep(seconds * (0.1 + 0.9 * number / verb.kills))
            process.send_signal(signal.SIGKILL)
            spread += process.wait() == -signal.SIGKILL
            killed += 1
            seen = _read(folder)
            if seen not in ("", None) or _contents(folder) not in (before, expected):
                wrong.append(f"{verb.name} {number}: a reader saw neither the old nor the new ({seen})")
            again = _started(verb, folder, files).wait()
            if again and not (verb.may_be_done and again == 1):
                wrong.append(f"{verb.name} {number}: exit {again} when it ran again")
            if _contents(folder) != expected:
                wrong.append(f"{verb.name} {number}: tables differ after it ran again")
            left = [p.name for p in folder.rglob("*.unfinished*")]
            if left:
                wrong.append(f"{verb.name} {number}: {left[0]} is left over")
            shutil.rmtree(folder)
        shutil.rmtree(unharmed)
    print(*wrong, sep="\n", file=sys.stderr)
    name = f"Verbs killed at moments spread over their run ({len(VERBS)} of them): old or new is read, the next run heals, tables are equal"
    yield Claim(name, "240 kills, 0 faults", f"{killed} kills ({spread} in mid-run), {len(wrong)} faults", killed >= 240 and not wrong)  # fmt: skip


def _copy(root: Path, name: str) -> Path:
    folder = root / name
    shutil.copytree(root / "base", folder)
    shutil.copyfile(folder / "warehouse.key", folder / "fresh.key")  # texts are hashed with it
    return folder


def _started(verb: Verb, folder: Path, files: Path) -> subprocess.Popen[bytes]:
    words = [w.format(files=files, folder=folder) for w in verb.arguments]
    warehouse = [] if "--warehouse" in words else ["--warehouse", str(folder / "warehouse")]
    command = [sys.executable, "-m", "pipelines.cli", *words, *warehouse]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _read(folder: Path) -> str | None:
    """Ask a number of each warehouse of a folder, as a reader; what went wrong, "" where nothing did."""
    for warehouse in (folder / "warehouse", folder / "fresh"):
        if not (warehouse / "current").exists():
            continue
        try:
            with current_build(warehouse) as build:
                if metrics.answer(build, "sold_units")["status"].iloc[0] != "ok":
                    return "no number"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return ""


def _contents(folder: Path) -> dict[str, str]:
    """Give a hash of every table of the builds that readers see, without ids of loads and builds and times of writing."""
    found: dict[str, str] = {}
    for warehouse in (folder / "warehouse", folder / "fresh"):
        build_id = current_id(warehouse) if (warehouse / "current").exists() else None
        if build_id is None:
            continue
        with duckdb.connect(str(build_path(warehouse, build_id)), read_only=True) as connection:
            for (table,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall():
                if not table.startswith(OWN):
                    found[f"{warehouse.name} {table}"] = _hash(connection, table)
    return found


def _hash(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """Hash a table's rows in any order; doubles to six digits, which sums in another order differ by."""
    described = connection.execute(f'DESCRIBE "{table}"').fetchall()
    columns = [
        f"printf('%.6g', \"{n}\")" if k in ("DOUBLE", "FLOAT") else f'"{n}"::VARCHAR'
        for n, k, *_ in described
        if n not in CHANGING and not n.endswith("_key")
    ]
    rows = connection.execute(
        f"SELECT concat_ws('|', {', '.join(columns)}) AS r FROM \"{table}\" ORDER BY r"
    ).fetchall()
    return hashlib.sha256("\n".join(str(r[0]) for r in rows).encode()).hexdigest() if columns else str(len(rows))


# -- readers and small loads --------------------------------------------------------------------------------------------


def _tiny(folder: Path, first: int, number: int) -> Path:
    """Write a delivery of order lines and of returns of every third."""
    folder.mkdir(parents=True)
    days = [f"2025-{1 + i // 28 % 12:02d}-{1 + i % 28:02d}" for i in range(first, first + number)]
    lines = [f"{i},o{i},{d}T10:00:00Z,P{i % 7},1,50.00,EUR,FR,{d}T20:00:00Z" for i, d in zip(range(first, first + number), days, strict=True)]  # fmt: skip
    events = [f"e{i},r{i},r{i},{i},received,{d}T22:00:00Z,1" for i, d in zip(range(first, first + number), days, strict=True) if i % 3 == 0]  # fmt: skip
    head = "order_line_id,order_id,ordered_at,product_id,units,net_amount,currency,country,delivered_at\n"
    (folder / "order_line.csv").write_text(head + "\n".join(lines) + "\n")
    if events:
        head = "event_id,return_line_id,return_id,order_line_id,event,occurred_at,units\n"
        (folder / "return_event.csv").write_text(head + "\n".join(events) + "\n")
    return folder


def _readers(root: Path, files: Path) -> Iterator[Claim]:
    """Read in many threads while builds are published."""
    settings = Settings(warehouse=root / "read" / "warehouse")
    settings.warehouse.parent.mkdir()
    load(settings, [_tiny(root / "read" / "d0", 0, 20)])
    errors: list[str] = []
    answers, stop = [0], threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                with current_build(settings.warehouse) as build:
                    units = float(metrics.answer(build, "sold_units")["value"].iloc[0])
                    if units % 20:
                        errors.append(f"{units} units")
                answers[0] += 1
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=read) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    for number in range(1, PUBLISHES + 1):
        load(settings, [_tiny(root / "read" / f"d{number}", 20 * number, 20)])
    stop.set()
    for thread in threads:
        thread.join()
    print(*sorted(set(errors))[:10], sep="\n", file=sys.stderr)
    name = f"{READERS} readers through {PUBLISHES} publishes: each answer is of a whole build"
    yield Claim(name, "0 errors", f"{answers[0]:,} answers, {len(errors)} errors", not errors and answers[0] > READERS)


def _small_loads() -> Iterator[Claim]:
    """Load many small deliveries, and hold them against one big load of the same rows."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        many, one = Settings(warehouse=root / "many" / "w"), Settings(warehouse=root / "one" / "w")
        for settings in (many, one):
            settings.warehouse.parent.mkdir()
        folders = [_tiny(root / "files" / f"{n:03d}", 0 if n == 0 else 1000 + 10 * n, 1000 if n == 0 else 10) for n in range(SMALL_LOADS)]  # fmt: skip
        seconds = []
        for folder in folders:
            begun = time.process_time()
            load(many, [folder])
            seconds.append(time.process_time() - begun)
        load(one, folders)
        early, late = sum(seconds[10:60]) / 50, sum(seconds[-50:]) / 50
        yield Claim(f"CPU of a load after {SMALL_LOADS} small ones, over that after ten", "at most 1.3x", f"{late / early:.2f}x ({early:.2f} s, {late:.2f} s)", late <= 1.3 * early)  # fmt: skip
        sizes = [build_path(s.warehouse, current_id(s.warehouse) or "").stat().st_size for s in (many, one)]
        yield Claim(f"Newest build after {SMALL_LOADS} small loads, over that of one big load", "at most 1.3x", f"{sizes[0] / sizes[1]:.2f}x ({sizes[0] / 2**20:.1f} MiB)", sizes[0] <= 1.3 * sizes[1])  # fmt: skip
        count = sum(1 for p in many.warehouse.rglob("*") if p.is_file())
        state = (many.warehouse / "state.sqlite").stat().st_size / 1024
        yield Claim(f"Files of the warehouse after {SMALL_LOADS} small loads", "under one a load", f"{count}, state {state:,.0f} KiB", count < SMALL_LOADS)  # fmt: skip
        same = all(_facts(many)[t] == _facts(one)[t] for t in ("fact_order_line", "fact_return_line"))
        yield Claim(f"Facts of {SMALL_LOADS} small loads are those of one big load", "equal", "equal" if same else "differ", same)  # fmt: skip


def _facts(settings: Settings) -> dict[str, str]:
    path = build_path(settings.warehouse, current_id(settings.warehouse) or "")
    with duckdb.connect(str(path), read_only=True) as connection:
        return {t: _hash(connection, t) for t in ("fact_order_line", "fact_return_line")}
