"""A database is read in bounded memory, an increment reads what changed, and Shopify by Fivetran equals SQL by hand."""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import sqlalchemy
from sqlalchemy import select

from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.log_files import Logs
from tests import postgres
from tests.evidence import Claim
from tests.fivetran import BY_HAND, lay, plain

MAPPING = """
name: shop
time_zone: Etc/UTC
constants: {currency: EUR, country: FR}
tables:
  - sql: {url: SHOP_DATABASE, table: lines, cursor: changed_at}
    to:
      order_line:
        {order_line_id: id, order_id: order_id, ordered_at: ordered_at, product_id: sku, units: qty, net_amount: price,
         customer_id: customer}
"""
MADE = """
CREATE TABLE lines AS
SELECT i AS id, 'O' || i / 3 AS order_id, timestamp '2025-01-01' + i * interval '40 seconds' AS ordered_at,
    'SKU-' || mod(i, 5000) AS sku, 1 + mod(i, 3) AS qty, (10 + mod(i, 190))::numeric(9, 2) AS price,
    'c' || mod(i, 300000) AS customer, repeat('x', 200) AS note,
    timestamp '2026-01-01' + (i / 50) * interval '1 second' AS changed_at
FROM generate_series(1, {rows}) AS t(i)
"""
LATER = "UPDATE lines SET qty = qty + 1, changed_at = timestamp {at} WHERE id {which}"
ROW = """({id}, 'O{id}', timestamp '2025-01-01', 'SKU-1', 1, 10, 'c', 'x', date_trunc('second', clock_timestamp()))"""
RUNS = 14
CHILD = """
import json, resource, sys
from pathlib import Path
from pipelines.load import load, queries
from pipelines.settings import Settings
from pipelines.sources.mapping import Mapping
from pipelines.warehouse import state
settings = Settings(warehouse=Path(sys.argv[1]))
if sys.argv[3] == "read":
    settings.warehouse.mkdir()
    file = state.State(settings.warehouse)
    with queries.asked(settings, file, Mapping(Path(sys.argv[2])), "shop") as answers:
        rows = sum(answer.file.stat().st_size for answer in answers)
else:
    rows = sum(c["read"] for c in load(settings, source=sys.argv[2], is_trial=True).counts)
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL of its own, by its address."""
    with postgres.postgresql() as address:
        yield address.replace("postgresql://", "postgresql+psycopg://")


def claims(rows: int = 1_000_000) -> Iterator[Claim]:
    """Read a table of so many rows, then 1% of it that changed; load the published tables of Shopify by Fivetran."""
    with server() as address, tempfile.TemporaryDirectory(prefix="backhaul-database-") as folder:
        os.environ["SHOP_DATABASE"] = address
        engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(MADE.format(rows=rows))
            yield from _read(Path(folder), engine, rows)
            yield _killed(Path(folder), engine, address)
            yield from _by_hand(Path(folder), engine)
        finally:
            engine.dispose()
            del os.environ["SHOP_DATABASE"]


def _read(folder: Path, engine: sqlalchemy.Engine, rows: int) -> Iterator[Claim]:
    mapping, warehouse = folder / "shop.yaml", folder / "warehouse"
    mapping.write_text(MAPPING)
    _, mib = _child(folder / "measured", mapping, "read")
    name = f"{rows:,} rows of PostgreSQL are read, with PostgreSQL's server-side cursor"
    yield Claim(name, "within 1 GiB", f"{mib:,.0f} MiB at most", mib < 1024)
    first, whole_mib = _child(warehouse, mapping, "load")
    yield Claim(
        "Their load reads", f"{rows:,} rows", f"{first:,.0f} rows, {whole_mib:,.0f} MiB with judging", first == rows
    )
    changed = rows // 100
    with engine.begin() as connection:
        late = f"'2026-01-01' + {rows // 50} * interval '1 second'"  # equal to the greatest that was read
        connection.exec_driver_sql(LATER.format(at=late, which=f"<= {changed // 2}"))
        connection.exec_driver_sql(LATER.format(at="'2027-01-01'", which=f"> {rows - changed + changed // 2}"))
    again, _ = _child(warehouse, mapping, "load")
    nothing, _ = _child(warehouse, mapping, "load")
    yield Claim(
        "The increment of 1% that changed, half of it at the greatest time that was read before",
        f"{changed:,} rows read, then none",
        f"{again:,.0f}, then {nothing:,.0f}",
        (again, nothing) == (changed, 0),
    )


def _killed(folder: Path, engine: sqlalchemy.Engine, address: str) -> Claim:
    """Load while others write at equal times and commit late, half of the loads killed; then once more in quiet."""
    mapping, warehouse = folder / "moving.yaml", folder / "moving"
    mapping.write_text(
        MAPPING.replace("table: lines, cursor: changed_at", "table: moving, cursor: changed_at, overlap: 5")
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE moving AS SELECT * FROM lines WHERE false")
    over = threading.Event()
    writers = [threading.Thread(target=_write, args=(address, first, over)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    dice, kills = random.Random(7), 0
    try:
        for turn in range(RUNS):
            words = [sys.executable, "-c", CHILD, str(warehouse), str(mapping), "load"]
            running = subprocess.Popen(words, env=_here(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                running.wait(dice.uniform(0.8, 4.0) if turn % 2 else None)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
                kills += 1
    finally:
        over.set()
        for writer in writers:
            writer.join()
    _child(warehouse, mapping, "load")
    with engine.connect() as connection:
        there = {str(row[0]) for row in connection.exec_driver_sql("SELECT id FROM moving")}
    read, again, taken = _taken(Settings(warehouse=warehouse))
    missed, twice = len(there - set(taken)), len(taken) - len(set(taken)) + again
    return Claim(
        f"Rows written at equal times and committed late while {RUNS} loads run, killed at any moment",
        "0 missed, 0 taken twice",
        f"{len(there):,} rows written, {kills} kills, {read:,} read, {missed} missed, {twice} twice",
        missed == twice == 0 and kills > 0 and len(there) > 100,
    )


def _write(address: str, first: int, over: threading.Event) -> None:
    """Insert rows with the time of their beginning, to the second; every second writer commits a second later."""
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    number = first
    with engine.connect() as connection:
        while not over.is_set():
            rows = ", ".join(ROW.format(id=number + 2 * i) for i in range(10))
            connection.exec_driver_sql(f"INSERT INTO moving VALUES {rows}")
            number += 20
            over.wait(1.0 if first else 0.02)
            connection.commit()
    engine.dispose()


def _taken(settings: Settings) -> tuple[int, int, list[str]]:
    """Give the rows that loads read, those they found to be known, and the ids in the logs, as often as they stand."""
    state_file = state.State(settings.warehouse)
    loads = [row["load_id"] for row in state_file.loads_with("logged", "published")]
    counts = state_file.rows(select(state_tables.load_count).where(state_tables.load_count.c.thing == "order_line"))
    logged = Logs(settings, state_file).sql("order_line", loads)
    state_file.close()
    taken = [str(row[0]).removeprefix("shop:") for row in duckdb.sql(f"SELECT order_line_id FROM {logged}").fetchall()]
    return sum(c["read"] for c in counts), sum(c["duplicate"] for c in counts), taken


def _here() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def _child(warehouse: Path, mapping: Path, what: str) -> tuple[float, float]:
    """Read or load in a process of its own: how much was read, and its greatest memory (MiB)."""
    words = [sys.executable, "-c", CHILD, str(warehouse), str(mapping), what]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        env=_here(),
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    read, mib = json.loads(done.stdout.splitlines()[-1])
    return float(read), float(mib)


def _by_hand(folder: Path, engine: sqlalchemy.Engine) -> Iterator[Claim]:
    data = os.environ.get("BACKHAUL_TEST_DATA", "")
    seeds = Path(data) / "shopify" / "warehouse_seeds"
    name = "Shopify's tables as Fivetran publishes them, by the mapping that comes with the product"
    if not data or not seeds.is_dir():
        yield Claim(name, "every row equal to SQL by hand", "third-party data is not here", False)
        return
    lay(seeds, engine)
    settings = Settings(warehouse=folder / "fivetran")
    load(settings, source="shopify_fivetran")
    build = build_path(settings.warehouse, str(current_id(settings.warehouse)))
    equal, apart = 0, 0
    with duckdb.connect(str(build), read_only=True) as ours, engine.connect() as theirs:
        for by_hand, by_load in BY_HAND.values():
            expected = sorted(map(plain, theirs.exec_driver_sql(by_hand)))
            found = sorted(map(plain, ours.execute(by_load).fetchall()))
            equal += sum(a == b for a, b in zip(expected, found, strict=False))
            apart += max(len(expected), len(found)) - sum(a == b for a, b in zip(expected, found, strict=False))
    holds = equal > 0 and apart == 0
    yield Claim(name, "every row equal to SQL by hand", f"{equal} rows equal, {apart} not", holds)
