"""A sequence of loads: history, differences and rollback, against hand-written SQL over the builds' own tables.

Each load is the whole export of one till: orders are added, change their price, go and come back in it. What was added,
changed and gone is known here from the lists the files are written from; what the builds hold is asked of their files
in SQL that is written out below.
"""

import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from pipelines.load import differences, history, load
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_build, current_id
from tests.conftest import fresh
from tests.evidence import Claim

MAPPING = """
name: till
time_zone: Etc/UTC
export: whole
constants: {currency: EUR, country: FR}
tables:
  - file: "orders*.csv"
    to:
      order_line: {order_line_id: Order, order_id: Order, ordered_at: Date, product_id: SKU, units: Qty,
        net_amount: Net}
      return_event: {events: {received: Back}}
"""
FIRST = date(2026, 1, 5)
Order = tuple[str, str, str, int, str]  # day, SKU, net, units, day it came back
COUNTED = {
    "fact_order_line": "order_line_key",
    "fact_return_line": "return_lot_key",
    "fact_return_event": "event_key",
}
FIGURES = {
    "sold_units": "SELECT sum(units_sold) FROM fact_order_line",
    "net_sales": "SELECT sum(net_amount) FROM fact_order_line",
    "returned_units": "SELECT coalesce(sum(units), 0) FROM fact_return_line WHERE received_at IS NOT NULL",
}


def exports(loads: int, lines: int, seed: int = 11) -> list[dict[str, Order]]:
    """Draw the exports: every one holds the orders so far, some of them changed, some gone, some back."""
    draw, made, orders, number = random.Random(seed), [], dict[str, Order](), 0
    for step in range(loads):
        for _ in range(lines):
            day = FIRST + timedelta(days=7 * step + draw.randrange(7))
            back = str(day + timedelta(days=9)) if draw.random() < 0.3 else ""
            orders[f"A{number}"] = (str(day), f"P{draw.randrange(9)}", str(draw.randrange(20, 90)), 1, back)
            number += 1
        if step:
            for order in draw.sample(sorted(orders), lines // 4):
                day, sku, net, units, back = orders[order]
                orders[order] = (
                    day,
                    sku,
                    str(int(net) + 1),
                    units,
                    back or str(date.fromisoformat(day) + timedelta(8)),
                )
            for order in draw.sample(sorted(orders), lines // 10):
                del orders[order]
        made.append(dict(orders))
    return made


def asked(settings: Settings, build_id: str, statement: str) -> Any:
    """Ask the file of a build for one number."""
    with duckdb.connect(str(build_path(settings.warehouse, build_id)), read_only=True) as connection:
        return connection.execute(statement).fetchall()[0][0]


def by_hand(settings: Settings, first: str, second: str, table: str, key: str) -> tuple[int, int, int]:
    """Count rows added, gone and changed between two builds, in SQL."""
    with duckdb.connect() as connection:
        for name, build_id in (("a", first), ("b", second)):
            connection.execute(f"ATTACH '{build_path(settings.warehouse, build_id)}' AS {name} (READ_ONLY)")
        counts = [
            f"SELECT count(*) FROM b.{table} ANTI JOIN a.{table} USING ({key})",
            f"SELECT count(*) FROM a.{table} ANTI JOIN b.{table} USING ({key})",
            f"SELECT count(*) FROM (FROM b.{table} EXCEPT FROM a.{table}) SEMI JOIN a.{table} USING ({key})",
        ]
        added, gone, changed = (int(connection.execute(sql).fetchall()[0][0]) for sql in counts)
        return added, gone, changed


def run(folder: Path, loads: int, lines: int) -> dict[str, Any]:
    """Load the sequence, and hold what the product says of it against the lists and the builds."""
    settings = replace(fresh(folder), keep_builds=loads + 1)
    mapping = folder / "till.yaml"
    mapping.write_text(MAPPING)
    made, ids, wrong = exports(loads, lines), list[str](), list[str]()
    for step, orders in enumerate(made):
        file = folder / f"orders{step:03}.csv"
        rows = [
            ",".join([order, *map(str, (day, sku, units, net, back))])
            for order, (day, sku, net, units, back) in orders.items()
        ]
        file.write_text("Order,Date,SKU,Qty,Net,Back\n" + "\n".join(rows) + "\n")
        load(settings, [file], source=str(mapping), exported_at=datetime(2026, 2, 1) + timedelta(days=step))
        ids.append(str(current_id(settings.warehouse)))
    pairs = [(n, n + 1) for n in range(loads - 1)] + [(0, loads - 1), (loads - 1, 0)]
    checked = 0
    for before, after in pairs:
        found = differences.compare(settings, ids[before], ids[after], keys=tuple(FIGURES))
        tables = {table.name: table for table in found.tables}
        for table, key in COUNTED.items():
            said = (tables[table].added, tables[table].gone, tables[table].changed)
            hand = by_hand(settings, ids[before], ids[after], table, key)
            checked += 1
            wrong += [f"{before}-{after} {table}: {said}, by hand {hand}"] if said != hand else []
        new, old = made[after], made[before]
        lists = (
            len(new.keys() - old.keys()),
            len(old.keys() - new.keys()),
            sum(new[order][:4] != old[order][:4] for order in new.keys() & old.keys()),
        )
        line = tables["fact_order_line"]
        checked += 1
        wrong += [f"{before}-{after}: {line}, by the lists {lists}"] if (line.added, line.gone) != lists[:2] else []
        wrong += (
            [f"{before}-{after}: changed {line.changed}, by the lists {lists[2]}"] if line.changed != lists[2] else []
        )
        for one in found.metrics:
            hand_values = [float(asked(settings, ids[n], FIGURES[one.key]) or 0) for n in (before, after)]
            said_values = [one.before.value or 0.0, one.after.value or 0.0]
            checked += 1
            wrong += [f"{one.key}: {said_values}, by hand {hand_values}"] if said_values != hand_values else []
    entries = history.history(settings, loads)
    for entry, before in pairwise(entries):
        for table in COUNTED:
            hand_change = asked(settings, entry.build_id, f"SELECT count(*) FROM {table}") - asked(
                settings, before.build_id, f"SELECT count(*) FROM {table}"
            )
            checked += 1
            wrong += [f"history {entry.build_id} {table}"] if entry.change(table) != hand_change else []
    backs = _rolled(settings, ids, wrong)
    return {"loads": loads, "checked": checked, "wrong": wrong, "backs": backs}


def _rolled(settings: Settings, ids: list[str], wrong: list[str]) -> int:
    """Roll back to every build in turn; readers see its rows and no others, and the way forth ends where it began."""
    from pipelines import metrics

    every = [*reversed(ids[:-1]), ids[-1]]
    for build_id in every:
        without = history.rollback(settings, build_id, "operator")
        with current_build(settings.warehouse) as build:
            seen = float(metrics.answer(build, "net_sales").iloc[0]["value"])
        hand = float(asked(settings, build_id, FIGURES["net_sales"]))
        wrong += [f"rolled back to {build_id}: {seen}, by hand {hand}"] if seen != hand else []
        wrong += [f"{build_id} lacks {len(without)}"] if len(without) != len(ids) - 1 - ids.index(build_id) else []
    if len(history.rollbacks(settings)) != len(every):
        wrong.append("not every rollback was written down")
    return len(every)


def claims(loads: int = 24, lines: int = 400) -> Iterator[Claim]:
    """Load a sequence of whole exports, and compare every step with the builds' own tables."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), loads, lines)
    print(*found["wrong"][:20], sep="\n")
    yield Claim(
        f"History: {loads} loads; rows added, gone and changed, changes in rows and headline metrics equal to"
        " hand-written SQL over the builds' own tables and to the lists the files were written from",
        "0 of at least 100 comparisons differ" if loads > 12 else "0 comparisons differ",
        f"{len(found['wrong'])} of {found['checked']:,} differ",
        not found["wrong"] and found["checked"] >= min(100, 9 * loads),
    )
    yield Claim(
        "History: readers rolled back to every build in turn see its rows and no others, and each is written down",
        "0 differ",
        f"{found['backs']} rollbacks, {sum('rolled' in one or 'lacks' in one for one in found['wrong'])} differ",
        found["backs"] == loads and not found["wrong"],
    )
