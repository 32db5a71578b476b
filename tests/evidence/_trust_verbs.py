"""Verbs as processes that can be killed, disturbed and raced, and what a warehouse holds afterwards.

Shared by the parts of `trust`. Processes are forked from one that has read the product's modules and done nothing else:
a second of reading them each time would be two thirds of every run, and no kill is aimed at it.
"""

import contextlib
import math
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import duckdb

from pipelines import alerts, cli, doctor, upload
from pipelines.cli import console
from pipelines.load import load
from pipelines.metrics import answer
from pipelines.outputs import closing, copies, export, report
from pipelines.people import actions, forget, policies, policy_text
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import build_path, current_build, current_id, own_files
from tests import disturbed

READ = (actions, alerts, closing, copies, doctor, export, forget, policies, report, upload, answer)
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])

ORDERS = 1_000
DRAFT = "policy draft"  # what the page of policies does, and no verb: it keeps the text that somebody is writing
SECOND = ("finance", "returns_centre", "recovery")  # folders of the sample that come with the second delivery
CHANGING = ("load_id", "build_id", "created_at", "judged_at", "landed_at", "customer_id", "system")
OWN = ("build_", "build_info")  # tables that say when and by which load, not what
WRITTEN = {  # what people and loads wrote, without times and numbers
    "alert_rule": "metric, test, bound, withdrawn_at IS NULL",
    "action": "kind, scope, status, owner, note",
    "closed_month": "month, number",
    "policy_draft": "text, status",
    "scenario": "name, text",
    "forgotten": "is_address, done_at IS NULL",
    # an attempt that failed stays listed, and the next is another load
    "load WHERE status <> 'failed'": "status, raw_gone_at IS NULL, restored_at IS NULL",
    "alert": "rule_id, cell, cleared_at IS NULL, acknowledged_by",
    "subscription": "reader, page, every, file, withdrawn_at IS NULL",
}


@dataclass(frozen=True)
class Verb:
    """A verb: its arguments, and how often it is killed.

    Whether running it again is refused because the first run had done it, or does it a second time; and whether it goes
    on in steps: it lands, judges and publishes, so that the state is neither old nor new in between.
    """

    name: str
    arguments: tuple[str, ...]
    kills: int
    is_once: bool = False
    is_added: bool = False
    has_steps: bool = False


VERBS = (
    Verb("load", ("load", "{files}/b"), 50, has_steps=True),
    Verb("load a whole shop", ("load", "{files}/a", "{files}/b", "--warehouse", "{folder}/fresh"), 24, has_steps=True),
    Verb("policy publish", ("policy", "publish", "{files}/policy.yaml"), 24, is_once=True, has_steps=True),
    Verb("withdraw", ("withdraw", "{last}"), 24, has_steps=True),
    Verb("close", ("close", "2025-03", "--approver", "A"), 20, is_once=True),
    Verb("alert check", ("alert", "check"), 16),
    Verb("alert add", ("alert", "add", "promise_kept", "--below", ".9"), 10, is_added=True),
    Verb("subscribe add", ("subscribe", "add", "today", "--to", "mailto:a@example.org"), 10, is_added=True),
    Verb("export", ("export", "ultimate_return_rate", "--by", "category", "--out", "{folder}/rates.csv"), 20),
    Verb("report", ("report", "{folder}/em.json", "--from", "2025-01-01", "--to", "2025-12-31"), 16),
    Verb("backup", ("backup", "{folder}/copy"), 20, is_once=True),
    Verb("forget", ("forget", "customer-7"), 20, is_once=True, has_steps=True),
)
KILLS = 240


@dataclass(frozen=True)
class Shop:
    """A sample shop in a folder.

    `files` in two deliveries and a policy, `base` a folder with the warehouse of the first one.
    """

    root: Path
    names: Mapping[str, str]

    def copy(self, name: str) -> Path:
        """Copy the warehouse, the raw files and the key to a folder that is called so, and is nobody else's."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root))
        shutil.copytree(self.root / "base", folder, dirs_exist_ok=True)
        shutil.copyfile(folder / "warehouse.key", folder / "fresh.key")  # texts are hashed with it
        return folder

    def words(self, arguments: Sequence[str], folder: Path) -> list[str]:
        """Write the words of a verb that is run in a folder."""
        words = [w.format(**self.names, folder=folder) for w in arguments]
        return words if "--warehouse" in words else [*words, "--warehouse", str(folder / "warehouse")]


@contextlib.contextmanager
def shop_of() -> Iterator[Shop]:
    """Give an empty folder for a shop of one's own."""
    with tempfile.TemporaryDirectory() as place:
        yield Shop(Path(place), {})


@contextlib.contextmanager
def shop() -> Iterator[Shop]:
    """Make the shop: the later orders, refunds and the returns centre's events are the second delivery.

    A small third one lies in the base.
    """
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        whole, files = root / "whole", root / "files"
        write_sample(whole, ORDERS, 7)
        for file in (p for p in whole.rglob("*") if p.is_file()):
            is_later = file.name > "order_line.2025-06" if file.parent.name == "shop" else file.parent.name in SECOND
            target = files / ("b" if is_later else "a") / file.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        settings = Settings(warehouse=root / "base" / "warehouse")
        settings.warehouse.parent.mkdir()
        load(settings, [files / "a"])
        load(settings, [tiny(files / "c", 0, 20)])
        with current_build(settings.warehouse) as build:
            names = policies.versions(build)["policy_id"]
            policy = policies.renewed(policies.published(build, str(names.iloc[0])), build)
            alerts.add_rule(
                settings, build, alerts.Rule(0, "observed_return_rate", "above", 0.001, ("category",), {}, 0, ())
            )
        (files / "policy.yaml").write_text(policy_text.text(policy))
        last = max(row["load"] for row in state.listed_loads(settings))
        yield Shop(root, {"files": str(files), "last": last})


def tiny(folder: Path, first: int, number: int) -> Path:
    """Write a delivery of order lines and of returns of every third."""
    folder.mkdir(parents=True)
    days = [f"2025-{1 + i // 28 % 12:02d}-{1 + i % 28:02d}" for i in range(first, first + number)]
    numbered = list(zip(range(first, first + number), days, strict=True))
    lines = [f"{i},o{i},{d}T10:00:00Z,P{i % 7},1,50.00,EUR,FR,{d}T20:00:00Z,customer-{i}" for i, d in numbered]
    events = [f"e{i},r{i},r{i},{i},received,{d}T22:00:00Z,1" for i, d in numbered if i % 3 == 0]
    head = "order_line_id,order_id,ordered_at,product_id,units,net_amount,currency,country,delivered_at,customer_id\n"
    (folder / "order_line.csv").write_text(head + "\n".join(lines) + "\n")
    if events:
        head = "event_id,return_line_id,return_id,order_line_id,event,occurred_at,units\n"
        (folder / "return_event.csv").write_text(head + "\n".join(events) + "\n")
    return folder


@dataclass(frozen=True)
class Fault:
    """What disturbs a verb.

    The disk of a folder fails with a code from a call on, files may not grow beyond a size, or the clock jumps.
    """

    folder: Path | None = None
    code: int = 0
    first: int = disturbed.FOR_EVER
    times: int = 1
    most_bytes: int | None = None
    is_jumping: bool = False
    asked: Path | None = None  # where the calls are listed that were made on the disk


def by_two(call: Callable[[Any], list[str]], given: Iterable[Any]) -> list[list[str]]:
    """Do something for each of many, two at a time: there are two cores."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(call, given))


def started(words: Sequence[str], said: Path, fault: Fault | None = None) -> ForkServerProcess:
    """Start a verb in a process of its own; what it says on standard error goes to a file."""
    process = CONTEXT.Process(target=_run, args=(list(words), said, fault))
    process.start()
    return process


def ended(words: Sequence[str], fault: Fault | None = None) -> tuple[int, str]:
    """Run a verb to its end: its exit code, and what it said."""
    with tempfile.TemporaryDirectory() as place:
        said = Path(place) / "said"
        process = started(words, said, fault)
        process.join()
        return exit_code(process, said), said.read_text()


def exit_code(process: ForkServerProcess, said: Path) -> int:
    """Give the exit code of a verb that ended: its own word, for the fork server's can be lost on the way."""
    code = said.with_name(f"{said.name}.code")
    return int(code.read_text()) if code.exists() else int(process.exitcode or 0)


def keep_draft(warehouse: Path, text: str) -> None:
    """Keep the text of a policy that somebody is writing, as the page does."""
    policies.save_draft(Settings(warehouse=warehouse), text)


def _run(words: list[str], said: Path, fault: Fault | None) -> None:
    os.setsid()
    for number, path in ((1, os.devnull), (2, said)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ["COLUMNS"] = "400"
    sys.argv = ["backhaul", *words]
    with contextlib.ExitStack() as stack:
        disk = None
        if fault is not None and fault.folder is not None:
            disk = stack.enter_context(disturbed.failing(fault.folder, fault.code, fault.first, fault.times))
        if fault is not None and fault.is_jumping:
            stack.enter_context(disturbed.jumping())
        if fault is not None and fault.most_bytes is not None:
            stack.enter_context(disturbed.no_file_larger_than(fault.most_bytes))
        code = 1  # what Python itself ends with after a fault
        try:
            if words[0] == DRAFT:
                console.run(lambda **_: keep_draft(Path(words[-1]), words[1]))
            else:
                cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
            raise
        finally:
            if str(said) != os.devnull:
                said.with_name(f"{said.name}.code").write_text(str(code))
            if disk is not None and fault is not None and fault.asked is not None:
                fault.asked.write_text(" ".join(map(str, disk.turns())) + f"\n{len(disk.asked)}")


def wrong_end(code: int, said: str) -> str:
    """Say what is wrong with how a verb ended.

    Anything but an answer, or one sentence with an exit code that is documented. A check that found something says so
    on standard output, and ends with 1.
    """
    lines = disturbed.sentences(said)
    if code not in (0, 1, 3, 4):
        return f"exit {code}: {said[-300:]}"
    if "Traceback" in said or "fault of Backhaul" in said:
        return said[-300:]
    is_plain = len(lines) == 1 or not code or (code == 1 and not lines)
    return "" if is_plain else f"exit {code} and {len(lines)} lines: {said[:300]}"


Contents = dict[str, tuple[str, tuple[float, ...]]]


def contents(folder: Path, *, is_state: bool = False) -> Contents:
    """Give what stands in every table of the builds that readers see in a folder.

    With `is_state`, what people and loads wrote too.
    """
    found: Contents = {}
    for warehouse in (folder / "warehouse", folder / "fresh"):
        build_id = current_id(warehouse) if (warehouse / "current").exists() else None
        if build_id is not None and build_path(warehouse, build_id) in own_files(warehouse):
            with duckdb.connect(str(build_path(warehouse, build_id)), read_only=True) as connection:
                for (table,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall():
                    if not table.startswith(OWN):
                        found[f"{warehouse.name} {table}"] = _content(connection, table)
        if is_state and (warehouse / "state.sqlite").exists():
            with contextlib.closing(sqlite3.connect(warehouse / "state.sqlite")) as state_file:
                is_begun = state_file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                for table, columns in WRITTEN.items() if is_begun else ():  # without room for one table nothing is kept
                    found[f"{warehouse.name}/{table}"] = (
                        repr(sorted(state_file.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)),
                        (),
                    )
    return found


def _content(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[str, tuple[float, ...]]:
    """Hash what is exact in a table's rows, in any order; sum doubles, each by what else stands in its row."""
    described: list[Any] = connection.execute(f'DESCRIBE "{table}"').fetchall()
    kept = [(n, k in ("DOUBLE", "FLOAT")) for n, k, *_ in described if n not in CHANGING and not n.endswith("_key")]
    exact = ", ".join(f'"{n}"::VARCHAR' for n, is_double in kept if not is_double) or "''"
    sums = "".join(f', coalesce(sum("{n}" * (1 + h % 1009)), 0), count("{n}")' for n, is_double in kept if is_double)
    row = connection.execute(
        f'SELECT count(*), sum(h::HUGEINT){sums} FROM (SELECT *, hash({exact}) AS h FROM "{table}")'
    ).fetchone()
    assert row is not None
    return str(row[:2]), tuple(float(number) for number in row[2:])


def same(left: Contents, right: Contents) -> bool:
    """Say whether two folders hold the same; sums in another order differ in their last digits."""
    return left.keys() == right.keys() and all(
        left[t][0] == right[t][0]
        and all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-3) for a, b in zip(left[t][1], right[t][1], strict=True))
        for t in left
    )


def table_hash(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """Hash a table's rows in any order; doubles to six digits, which sums in another order differ by."""
    described: list[Any] = connection.execute(f'DESCRIBE "{table}"').fetchall()
    columns = [
        f"printf('%.6g', \"{n}\")" if k in ("DOUBLE", "FLOAT") else f'"{n}"::VARCHAR'
        for n, k, *_ in described
        if n not in CHANGING and not n.endswith("_key")
    ]
    told = f"sum(hash({', '.join(columns)})::HUGEINT)" if columns else "0"
    return str(connection.execute(f'SELECT count(*), {told} FROM "{table}"').fetchone())
