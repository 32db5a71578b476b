"""Rows in quarantine, a hundred of twelve kinds: each fixed as an operator would, replayed once, none counted twice.

The shop is written here row by row and what it holds is added up here in plain Python, before anything is damaged: no
number below comes from the product but the one it is compared with.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from pipelines.load import load, quarantine, withdraw
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import build_path, current_id
from tests.conftest import fresh, write_shop
from tests.evidence import Claim

Rows = list[dict[str, str]]
FIRST = datetime(2025, 3, 3, 9)


@dataclass(frozen=True)
class Kind:
    """One kind of fault: the file and column it is made in, what stands there then, and how it is fixed."""

    name: str
    thing: str
    column: str
    bad: str
    by_wording: bool = False


KINDS = (
    Kind("a date that is none", "order_line", "ordered_at", "31.02.2025"),
    Kind("a time without its zone", "order_line", "ordered_at", "2025-03-04 10:00"),
    Kind("a date left empty", "order_line", "ordered_at", ""),
    Kind("a date of 1970", "return_event", "occurred_at", "1970-01-01T00:00:00Z"),
    Kind("units that are a word", "order_line", "units", "one"),
    Kind("half a unit", "order_line", "units", "1.5"),
    Kind("a negative price", "order_line", "net_amount", "-20"),
    Kind("an amount with letters", "refund", "amount", "EUR 20"),
    Kind("no product", "order_line", "product_id", ""),
    Kind("an event nobody knows", "return_event", "event", "recieved", by_wording=True),
    Kind("an id that a spreadsheet rounded", "refund", "refund_id", "1.00E+09"),
    Kind("more cancelled than ordered", "order_line", "units_cancelled", "9"),
)


def shop(lines: int) -> dict[str, Rows]:
    """Write a shop of so many order lines, every second one back and paid."""
    made: dict[str, Rows] = {"order_line": [], "return_event": [], "refund": []}
    for n in range(lines):
        at = FIRST + timedelta(hours=7 * n)
        units = 1 + n % 3
        made["order_line"].append(
            {
                "order_line_id": f"L{n}",
                "order_id": f"O{n}",
                "ordered_at": _written(at),
                "product_id": f"P{n % 5}",
                "units": str(units),
                "units_cancelled": "0",
                "net_amount": str(20 * units),
                "currency": "EUR",
                "country": "FR",
            }
        )
        if n % 2:
            continue
        for step, event in enumerate(("requested", "received"), 1):
            made["return_event"].append(
                {
                    "event_id": f"E{n}-{step}",
                    "return_line_id": f"R{n}",
                    "return_id": f"R{n}",
                    "order_line_id": f"L{n}",
                    "event": event,
                    "occurred_at": _written(at + timedelta(days=3 * step)),
                    "units": str(units),
                }
            )
        made["refund"].append(
            {
                "refund_id": f"F{n}",
                "order_id": f"O{n}",
                "return_id": f"R{n}",
                "refunded_at": _written(at + timedelta(days=9)),
                "amount": str(20 * units),
                "currency": "EUR",
            }
        )
    return made


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def truth(made: dict[str, Rows]) -> dict[str, float]:
    """Add up what the shop holds, by hand."""
    lines, events, refunds = made["order_line"], made["return_event"], made["refund"]
    return {
        "order lines": len(lines),
        "units sold": sum(int(row["units"]) for row in lines),
        "net sales": sum(float(row["net_amount"]) for row in lines),
        "return events": len(events),
        "units back": sum(int(row["units"]) for row in events if row["event"] == "received"),
        "refunds": len(refunds),
        "refunded": sum(float(row["amount"]) for row in refunds),
    }


ASKED = {
    "order lines": "SELECT count(*) FROM fact_order_line",
    "units sold": "SELECT sum(units_sold) FROM fact_order_line",
    "net sales": "SELECT sum(net_amount) FROM fact_order_line",
    "return events": "SELECT count(*) FROM fact_return_event",
    "units back": "SELECT sum(units) FROM fact_return_line WHERE received_at IS NOT NULL",
    "refunds": "SELECT count(*) FROM fact_refund",
    "refunded": "SELECT sum(amount) FROM fact_refund",
}
"""The same of a build, in SQL over its tables."""


def held(settings: Settings) -> dict[str, float]:
    """Say what the build that readers see holds."""
    path = build_path(settings.warehouse, str(current_id(settings.warehouse)))
    with duckdb.connect(str(path), read_only=True) as connection:
        return {name: float(connection.execute(sql).fetchall()[0][0] or 0) for name, sql in ASKED.items()}


def published_loads(settings: Settings) -> list[str]:
    """List the loads that are published."""
    return [row["load"] for row in state.listed_loads(settings) if row["status"] == "published"]


@dataclass(frozen=True)
class Damage:
    """One cell that was damaged: its file and line, its column, and what stood there."""

    kind: Kind
    line: int
    right: str


def damaged(made: dict[str, Rows], rows: int, seed: int = 7) -> tuple[dict[str, Rows], list[Damage]]:
    """Give the shop with so many rows damaged, kind after kind, each in a row of its own."""
    draw, bad = random.Random(seed), {thing: [dict(row) for row in listed] for thing, listed in made.items()}
    free = {thing: list(range(len(listed))) for thing, listed in bad.items()}
    done = []
    for number in range(rows):
        kind = KINDS[number % len(KINDS)]
        fits = [n for n in free[kind.thing] if not kind.by_wording or bad[kind.thing][n]["event"] == "received"]
        at = draw.choice(fits)
        free[kind.thing].remove(at)
        right = bad[kind.thing][at][kind.column]
        # every rounded id is another one: equal ones would be several contents of one thing
        bad[kind.thing][at][kind.column] = f"{1 + number / 1000:.3f}E+09" if kind.column == "refund_id" else kind.bad
        done.append(Damage(kind, at + 1, right))
    return bad, done


def fix(settings: Settings, done: Sequence[Damage]) -> int:
    """Fix every damaged row as an operator does; give the number of fixes."""
    made, worded = 0, set()
    for damage in done:
        kind = damage.kind
        if kind.by_wording:
            if kind.name not in worded:
                made += len(
                    quarantine.fix_wording(
                        settings, "shop", kind.thing, kind.column, kind.bad, damage.right, "operator"
                    )
                )
                worded.add(kind.name)
            continue
        place = f"{kind.thing}.csv:{damage.line + 1}"
        row = quarantine.one(settings, place)
        made += len(quarantine.fix_row(settings, row, {kind.column: damage.right}, "operator"))
    return made


def run(folder: Path, lines: int, rows: int) -> dict[str, Any]:
    """Damage a shop, load it, fix it, replay it, take one fix back and make it again, and load the right files too."""
    right = shop(lines)
    wanted = {name: float(value) for name, value in truth(right).items()}
    bad, done = damaged(right, rows)
    settings = fresh(folder / "fixed")
    load(settings, [write_shop(folder / "bad", bad)])
    before, aside = held(settings), len(quarantine.rows(settings))
    digests = {path: path.read_bytes() for path in settings.raw.rglob("*.csv")}
    fixes = fix(settings, done)
    quarantine.replay(settings)
    after, left = held(settings), len(quarantine.rows(settings))
    again = quarantine.replay(settings)[0]
    first = next(one for one in quarantine.made(settings) if one["kind"] == "value" and one["column"] == "units")
    quarantine.withdraw_fix(settings, first["fix_id"], "operator")
    quarantine.replay(settings)
    without = held(settings)
    row = quarantine.one(settings, f"{first['file']}:{first['line']}")
    quarantine.fix_row(settings, row, {"units": first["new"]}, "operator")
    quarantine.replay(settings)
    load(settings, [write_shop(folder / "right", right)])
    sent_right = held(settings)
    last = next(one for one in quarantine.made(settings) if one["kind"] == "value" and one["column"] == "units")
    quarantine.withdraw_fix(settings, last["fix_id"], "operator")  # validated again while the right files are there
    quarantine.replay(settings)
    row = quarantine.one(settings, f"{last['file']}:{last['line']}")
    quarantine.fix_row(settings, row, {"units": last["new"]}, "operator")
    quarantine.replay(settings)
    withdraw(settings, max(published_loads(settings)))
    return {
        "kinds": len({damage.kind.name for damage in done}),
        "fixes": fixes,
        "aside": aside,
        "left": left,
        "wanted": wanted,
        "before": before,
        "after": after,
        "again": again,
        "lost_without": after["order lines"] - without["order lines"],
        "sent_right": sent_right,
        "taken_back": held(settings),
        "raw_is_same": all(path.read_bytes() == content for path, content in digests.items()),
        "by_kind": Counter(damage.kind.name for damage in done),
    }


def claims(lines: int = 2000, rows: int = 100) -> Iterator[Claim]:
    """Fix a hundred rows of twelve kinds, and compare with what was added up by hand."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), lines, rows)
    wrong = {n: (found["after"][n], v) for n, v in found["wanted"].items() if found["after"][n] != v}
    yield Claim(
        f"Quarantine: {rows} rows of {found['kinds']} kinds among {lines:,} order lines, fixed and replayed: seven"
        " counts and sums equal to those added up by hand",
        "12 kinds, all rows out of quarantine, 0 counts that differ, raw files unchanged",
        f"{found['aside']} rows in quarantine, {found['fixes']} fixes, {found['left']} left, {len(wrong)} counts"
        " differ",
        found["kinds"] == 12
        and found["aside"] == rows
        and found["left"] == 0
        and not wrong
        and found["before"] != found["after"]
        and found["raw_is_same"],
    )
    twice = {
        f"{at}, {n}": (found[at][n], v)
        for at in ("sent_right", "taken_back")
        for n, v in found["wanted"].items()
        if found[at][n] != v
    }
    yield Claim(
        "Quarantine: nothing counted twice when the source sends the right files after the fixes, nothing lost when"
        " that load is withdrawn; a replay without new fixes validates nothing; a fix taken back takes its row back",
        "0 counts that differ, 0 loads, 1 row",
        f"{len(twice)} counts differ, {len(found['again'])} loads, {found['lost_without']:.0f} row",
        not twice and not found["again"] and found["lost_without"] == 1,
    )
