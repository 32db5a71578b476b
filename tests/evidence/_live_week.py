"""A week at one load an hour, with a drift, a source that falls silent and one that breaks.

The clock of the schedule is set; loads are real. Orders come as a file an hour, returns as web hooks, the carrier's
events from a source that answers nothing for half a day. Run alone: `python -m tests.evidence._live_week [EVERY]`, with
a load in so many hours.
"""

import csv
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import duckdb

from pipelines import alerts
from pipelines.load import load
from pipelines.receiving.spool import write_durably
from pipelines.scheduling import status
from pipelines.scheduling.runner import Runner
from pipelines.scheduling.schedule import Clock, Schedule, Step
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_build, current_id, own_files
from tests.evidence import Claim

HOURS, EVERY = 168, 1  # of the week, between two loads
ORDERS, RETURNS, DRIFTED = 4, 1, 3  # an hour
DRIFT = 0.43  # shares of the week: from here on returns come as DRIFTED
SILENT = (0.572, 0.715)  # the shop sends no orders, and all of them at the end
BROKEN = (0.2, 0.27)  # the carrier's source does not answer
FEW, MANY = 160, 60  # bounds of the rules, of two days: 192 units are sold and 48 returns asked for
START = datetime(2026, 3, 2)
COLUMNS = ["order_line_id", "order_id", "ordered_at", "product_id", "units", "net_amount", "currency", "country"]
COLUMNS += ["shipped_at"]
LOOPS = ZoneInfo("America/New_York")  # whose days Loop's returns are of
SECRET = "a secret of the proof"
MOST_FILES = 150  # of the warehouse: builds that are kept, joined logs, the state
STATE_BYTES = 24 << 10  # that the state grows with a load of three sources


@dataclass
class Week:
    """What was made, what the oracle expects, and what was seen."""

    folder: Path
    settings: Settings
    every: int
    ordered: list[datetime] = field(default_factory=list)
    asked: list[datetime] = field(default_factory=list)
    scanned: int = 0
    late: list[list[str]] = field(default_factory=list)
    delivered: list[datetime] = field(default_factory=list)  # orders that have arrived here
    carried: list[dict[str, str]] = field(default_factory=list)
    at: datetime = START
    pings: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def hour(self) -> int:
        return int((self.at - START) / timedelta(hours=1))

    def is_within(self, span: tuple[float, float]) -> bool:
        return span[0] * HOURS <= self.hour < span[1] * HOURS

    # -- the sources ---------------------------------------------------------------------------------------------------

    def orders(self) -> int:
        """Write what the shop sold in this hour, or keep it to itself."""
        for n in range(ORDERS * self.every):
            at = START + timedelta(hours=self.hour, minutes=10, seconds=n)
            number = f"O{self.hour}-{n}"
            self.late.append(
                [number, number, f"{at:%Y-%m-%dT%H:%M:%SZ}", "TEE", "1", "20", "EUR", "FR", f"{at:%Y-%m-%dT%H:%M:%SZ}"]
            )
            self.ordered.append(at)
        if self.is_within(SILENT):
            return 0
        with (self.folder / f"order_line.{self.hour:04}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self.late)
        self.delivered, self.late = list(self.ordered), []
        return 0

    def returns(self) -> int:
        """Let web hooks tell of returns, as the receiver keeps them; each is told twice."""
        lines = []
        for n in range(self.every * (DRIFTED if self.hour >= DRIFT * HOURS else RETURNS)):
            at = START + timedelta(hours=self.hour, minutes=30, seconds=n)
            item = {"line_item_id": n, "provider_line_item_id": f"O{self.hour}-{n}", "sku": "TEE", "returned_at": None}
            event = {
                "id": f"R{self.hour}-{n}",
                "created_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                "currency": "EUR",
                "refund": "0",
            }
            event |= {"updated_at": event["created_at"], "state": "open", "carrier": "X", "tracking_number": "N/A"}
            event |= {
                "provider_order_id": n,
                "address": {"country_code": "FR"},
                "line_items": [{**item, "return_reason": "Too small"}],
            }
            lines += [json.dumps(event).encode() + b"\n"] * 2
            self.asked.append(at)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{self.hour:09d}-abcdef.ndjson"
        write_durably(self.settings.spool / "loop" / "waiting" / name, lines)
        return 0

    def carrier(self) -> int:
        """Write the carrier's events; while its source is broken, end as a verb does that nothing answers."""
        at = START + timedelta(hours=self.hour, minutes=20)
        row = {"event_id": f"C{self.hour}", "return_line_id": f"X{self.hour}", "return_id": f"X{self.hour}"}
        row |= {
            "event": "carrier_scan",
            "occurred_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "product_id": "TEE",
            "country": "FR",
        }
        self.carried.append(row)
        if self.is_within(BROKEN):
            return 4
        with (self.folder / f"return_event.{self.hour:04}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(self.carried)
        self.scanned += len(self.carried)
        self.carried = []
        return 0

    def load(self) -> int:
        """Load what is new, as the verb does."""
        load(self.settings, [self.folder], source="canonical")
        return 0

    # -- what is looked at ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Hold the alerts of this hour against what was made, and the schedule against its sources."""
        today = self.at.date()
        days = (today - timedelta(days=1), today)
        sold = sum(one.date() in days for one in self.delivered)
        asked = sum(one.replace(tzinfo=UTC).astimezone(LOOPS).date() in days for one in self.asked)
        expected = {name for name, fires in (("few sold", sold < FEW), ("many asked", asked > MANY)) if fires}
        lasting = alerts.alerts(self.settings)
        named = {"sold_units": "few sold", "requested_units": "many asked"}
        metrics = [rule.metric for rule in lasting["rule"]] if len(lasting) else []
        found = {named[metric] for metric in metrics if metric in named}
        if found != expected:
            self.wrong.append(f"hour {self.hour}: {sorted(found)} instead of {sorted(expected)} ({sold}, {asked})")
        failing = {step.name for step in status.read(self.settings).failing(self.schedule())}
        if failing != ({"carrier"} if self.is_within(BROKEN) else set()):
            self.wrong.append(f"hour {self.hour}: failing {sorted(failing)}")
        told = [not BROKEN[0] * HOURS <= hour < BROKEN[1] * HOURS for hour in range(0, self.hour + 1, self.every)]
        if len(self.pings) != sum(told):
            self.wrong.append(f"hour {self.hour}: {len(self.pings)} pings")
        home = [
            f.stat().st_size
            for top in (self.settings.warehouse, self.settings.runs_folder)
            for f in top.rglob("*")
            if f.is_file()
        ]
        self.sizes.append((self.settings.warehouse / "state.sqlite").stat().st_size)
        if len(home) > MOST_FILES or len(own_files(self.settings.warehouse)) > self.settings.keep_builds:
            self.wrong.append(f"hour {self.hour}: {len(home)} files in the warehouse")
        if list(self.settings.spool.rglob("*.ndjson")):
            self.wrong.append(f"hour {self.hour}: the spool is not empty")

    def schedule(self, ping: str = "") -> Schedule:
        clock = Clock(timedelta(hours=self.every), timedelta(), "Etc/UTC")
        names = ("orders", "returns", "carrier", "load")
        return Schedule(clock, tuple(Step(name, (name,), clock, retries=2) for name in names), ping)

    def run(self) -> None:
        """Live through the week, an hour at a time."""
        with Watcher(self.pings) as address:
            one = Runner(self.settings, self.schedule(address), lambda: self.at, self.waits.append)
            steps: dict[str, Any] = {name: getattr(self, name) for name in ("orders", "returns", "carrier", "load")}
            tried: dict[str, int] = {}

            def attempt(_: Runner, step: Step) -> tuple[int, str]:
                if step.name == "carrier" and tried.get(step.name) == self.hour:
                    return (4, "it does not answer")  # what was made is made once an hour
                tried[step.name] = self.hour
                return steps[step.name](), "it does not answer"

            with patch.object(Runner, "_attempt", attempt):
                for hour in range(0, HOURS, self.every):
                    self.at = START + timedelta(hours=hour, minutes=59)
                    one.once()
                    if not hour:
                        self._rules()
                    else:
                        self.look()

    def _rules(self) -> None:
        """Say what is to be alerted, once there is a build; bounds are of two days."""
        with current_build(self.settings.warehouse) as build:
            few = alerts.Rule(0, "sold_units", "below", FEW, days=2)
            many = alerts.Rule(0, "requested_units", "above", MANY, days=2, where={"source": ("loop",)})
            for rule in (few, many):
                alerts.add_rule(self.settings, build, rule)


class Listener(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.got.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


class Watcher:
    """Who watches by the ping, on loopback."""

    def __init__(self, got: list[str]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
        self.server.got = got  # type: ignore[attr-defined]

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/ping"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def claims(every: int = EVERY) -> Iterator[Claim]:
    """Live through the week and hold its end against what was made."""
    with tempfile.TemporaryDirectory(prefix="backhaul-week-") as name:
        folder = Path(name) / "files"
        folder.mkdir()
        settings = Settings(warehouse=Path(name) / "warehouse", hook_secrets={"loop": SECRET})
        week = Week(folder, settings, every)
        week.run()
        print(*week.wrong[:20], sep="\n", file=sys.stderr)
        yield Claim(
            f"A week of {HOURS // every} loads with a drift, a silent and a broken source: alerts begin and end at"
            " the load that they should, a source that breaks keeps no other back, and the ping is silent as long",
            "0 differences",
            f"{len(week.wrong)} differences; {len(week.pings)} pings, {len(week.waits)} retries",
            not week.wrong,
        )
        yield _nothing_lost(week)
        sizes = week.sizes
        grown = (sizes[-1] - sizes[len(sizes) // 2]) / max(len(sizes) - len(sizes) // 2 - 1, 1)
        yield Claim(
            "The disk stays bounded: builds that are kept, logs that are joined, an empty spool, a state that grows by"
            " its rows",
            f"at most {MOST_FILES} files in the warehouse, {STATE_BYTES >> 10} KiB of state a load",
            f"{grown / 1024:.1f} KiB of state a load",
            grown <= STATE_BYTES and not any("files" in one or "spool" in one for one in week.wrong),
        )


def _nothing_lost(week: Week) -> Claim:
    build = duckdb.connect(
        str(build_path(week.settings.warehouse, current_id(week.settings.warehouse) or "")), read_only=True
    )
    found = [
        build.execute(f"SELECT count(*), count(DISTINCT {key}) FROM {table} WHERE {where}").fetchone() or (0, 0)
        for table, key, where in (
            ("fact_order_line", "order_line_id", "source = 'shop'"),
            ("fact_return_line", "return_line_id", "source = 'loop'"),
            ("fact_return_line", "return_line_id", "source = 'shop'"),
        )
    ]
    build.close()
    made = [len(week.delivered), len(week.asked), week.scanned]
    same = all(tuple(pair) == (number, number) for pair, number in zip(found, made, strict=True))
    return Claim(
        "At the end of the week every order line, return and carrier's event that was sent is in the build, once",
        "as many as were made, each once",
        f"{found[0][0]} of {made[0]} order lines, {found[1][0]} of {made[1]} returns, {found[2][0]} of {made[2]} of the"
        " carrier",
        same and all(made) and not week.late and not week.carried,
    )


if __name__ == "__main__":
    for claim in claims(*map(int, sys.argv[1:])):
        print(
            f"{claim.name}: {claim.figure} (bar: {claim.bar}): {'holds' if claim.holds else 'falls short'}", flush=True
        )
