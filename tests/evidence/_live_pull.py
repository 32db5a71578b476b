"""A shop pulled through faults and kills is the shop: its facts are those of the files that a person would save."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb

from pipelines.settings import Settings
from pipelines.warehouse import keys
from pipelines.warehouse.build import build_path, current_id
from tests.evidence import Claim
from tests.interfaces import KINDS, NOW, TOKEN, Faults, Shop, served

PLACES = 20
PULL = """
import sys
from datetime import datetime
from pathlib import Path
from pipelines.pull import pull_shopify
from pipelines.pull.client import Client
client = Client(sys.argv[1], {"X-Shopify-Access-Token": sys.argv[2]}, lambda seconds: None)
pull_shopify(Path(sys.argv[3]), client, now=datetime.fromisoformat(sys.argv[4]))
"""
LOAD = """
import sys
from pathlib import Path
from pipelines.load import load
from pipelines.settings import Settings
load(Settings(warehouse=Path(sys.argv[1])), [Path(sys.argv[2])], source="shopify")
"""
FACTS = ("fact_order_line", "fact_return_line", "fact_return_event", "fact_refund", "fact_refund_line")


def claims(orders: int = 100_000) -> Iterator[Claim]:
    """Pull a shop of so many orders, with a fault at every call, and killed at twenty places."""
    shop = Shop(orders, Faults(KINDS))
    with tempfile.TemporaryDirectory(prefix="backhaul-pull-") as place, served(shop) as address:
        folder = Path(place)
        kills = _pulled(shop, address, folder / "inbox", orders)
        saved = folder / "saved"
        saved.mkdir()
        for name, content in zip(("orders.jsonl", "refunds.jsonl"), shop.written(), strict=True):
            (saved / name).write_bytes(content)
        yield Claim(
            f"A shop of {orders:,} orders is pulled; the process is killed and run again",
            f"at {PLACES} places, one bulk operation",
            f"{kills} kills, {len(shop.operations)} run, {shop.faults.met:,} faults in {shop.faults.calls:,} calls",
            kills == PLACES and len(shop.operations) == 1 and shop.faults.met > PLACES,
        )
        ours, theirs = (_loaded(folder / name, given) for name, given in (("a", folder / "inbox"), ("b", saved)))
        rows, apart = _compared(ours, theirs)
        yield Claim(
            "Its facts are those of the files saved by hand, row by row",
            "0 rows differ",
            f"{rows:,} rows of {len(FACTS)} tables, {apart} differ",
            apart == 0 and rows > orders,
        )


def _pulled(shop: Shop, address: str, inbox: Path, orders: int) -> int:
    """Pull in processes that are killed at calls spread over the whole; give how many were."""
    kills, spread = 0, max(orders // 4 // 25 // PLACES, 2)
    while True:
        words = [sys.executable, "-c", PULL, address, TOKEN, str(inbox), NOW.isoformat()]
        here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        running = subprocess.Popen(words, env=here, stderr=subprocess.PIPE, text=True)
        if kills < PLACES:  # the first within the steps before the refunds, the others among them
            at = shop.faults.calls + (kills + 1 if kills < 5 else 4 + spread)
            shop.faults.at[at] = lambda of=running: os.kill(of.pid, signal.SIGKILL)
        told = running.communicate()[1]
        shop.faults.at.clear()
        if running.returncode == 0:
            return kills
        if running.returncode != -signal.SIGKILL:
            raise RuntimeError(told[-500:])
        kills += 1


def _loaded(place: Path, files: Path) -> Path:
    """Load files into a warehouse of their own, both with one key; give the build."""
    settings, key = Settings(warehouse=place / "warehouse"), place.parent / "key"
    if not key.exists():
        keys.write(key)
    place.mkdir()
    shutil.copy(key, settings.key_file)
    words = [sys.executable, "-c", LOAD, str(settings.warehouse), str(files)]
    subprocess.run(words, check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    return build_path(settings.warehouse, str(current_id(settings.warehouse)))


def _compared(ours: Path, theirs: Path) -> tuple[int, int]:
    """Count the rows of the facts of two builds, and those that only one has."""
    rows, apart = 0, 0
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{ours}' AS a (READ_ONLY); ATTACH '{theirs}' AS b (READ_ONLY)")
        for table in FACTS:
            rows += connection.execute(f"SELECT count(*) FROM a.{table}").fetchall()[0][0]
            for one, other in (("a", "b"), ("b", "a")):
                lacking = f"SELECT count(*) FROM (FROM {one}.{table} EXCEPT ALL FROM {other}.{table})"
                apart += connection.execute(lacking).fetchall()[0][0]
    return rows, apart
