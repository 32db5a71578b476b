"""Fifty sessions without a browser and five real browsers read a large shop while loads publish.

A server as `backhaul dashboard` starts it, warming itself; readers who think between two views
(`tests.evidence._live_reader`), people in Chromium, and a load of new events every few minutes, each a process of its
own as the schedule runs it. Held are errors on pages, in sockets and in the server's log, that nobody is shown an older
build than the one that was published when they asked, and the server's memory. How long a view takes is told: it is the
machine's as much as the product's. Run alone:
`python -m tests.evidence._live_crowd [LINES] [MINUTES] [SECONDS BETWEEN LOADS] [SESSIONS] [BROWSERS] [WAREHOUSE]`.
"""

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from dashboard.i18n import Words
from dashboard.shared import places
from dashboard.warming import LATEST_S
from pipelines.cli.pages import command, environment
from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from tests.browsing import free_port, launched
from tests.evidence import Claim
from tests.evidence._live_reader import Reader, View
from tests.evidence._places_walk import Walk

LINES = int(os.environ.get("BACKHAUL_CROWD_LINES", "5000000"))
MINUTES = float(os.environ.get("BACKHAUL_CROWD_MINUTES", "10"))
EVERY_S = 120  # between two loads: an hour, told thirty times as fast
SESSIONS, BROWSERS = 50, 5
ORDERS, RETURNS = 500, 200  # of a load
WARM_MINUTES = "30"  # as it is unless somebody says so: tests set another
WARM_S = 600.0  # that the server has before anybody comes, who does not come all at once when it has just begun
LOOKS = (0.2, 0.5, 1.0)  # of the time: when the memory is read
MOST_GROWTH = 256 << 20  # bytes, from half of the time to its end: what a server may remember
MOST_GONE = 2  # files of builds that were dropped, and that the server holds open
BROWSER_S = 300  # that a browser waits
LOGGED = re.compile(r"Traceback|Error|Exception|CRITICAL")
ADDRESSES = [sheet.address for sheet in places.SHEETS if sheet.place != "settings" and sheet.address != "today"]
PLACES = {sheet.address: sheet.place for sheet in places.SHEETS}
NEW = """
COPY (
    SELECT 'new{k}-' || n AS order_line_id, 'new{k}-' || n AS order_id, {at} - INTERVAL (n) SECOND AS ordered_at,
        split_part(product_id, ':', 2) AS product_id, 1 AS units, 40 AS net_amount, 8 AS vat_amount, currency, country,
        split_part(shop_id, ':', 2) AS shop_id, channel, carrier
    FROM (SELECT *, row_number() OVER () AS n FROM (FROM fact_order_line WHERE units_sold > 0 LIMIT {orders}))
) TO '{folder}/order_line.{k}.csv';
COPY (
    SELECT 'new{k}-' || n AS event_id, 'new{k}-' || n AS return_line_id, 'new{k}-' || n AS return_id,
        split_part(order_line_id, ':', 2) AS order_line_id, 'requested' AS event,
        {at} - INTERVAL (n) SECOND AS occurred_at, 1 AS units, 'too small' AS reason_raw
    FROM (SELECT *, row_number() OVER () AS n FROM (
        FROM fact_order_line ANTI JOIN fact_return_line USING (order_line_key) WHERE units_sold > 0
        AND ordered_at > {at} - INTERVAL 20 DAY LIMIT {returns} OFFSET {offset}))
) TO '{folder}/return_event.{k}.csv';
"""


@dataclass
class Crowd:
    """What was seen: views, loads, memory, and faults beside the views."""

    settings: Settings
    minutes: float
    every_s: float
    log: Path
    views: list[View] = field(default_factory=list)
    published: list[tuple[float, str]] = field(default_factory=list)  # when, and which
    faults: list[str] = field(default_factory=list)
    memory: list[tuple[float, int, int]] = field(default_factory=list)  # seconds, of the server, of what warms it
    gone: int = 0  # files that are no more, held open by the server: the most after a load
    began: float = 0.0

    def built_at(self, moment: float) -> str:
        """Give the build that was published at a moment."""
        return max((build for at, build in self.published if at <= moment), default="")

    @property
    def stale(self) -> list[View]:
        """List the views that were drawn from an older build than readers may stay with when they asked for them."""
        return [view for view in self.views if view.build_id and view.build_id < self.built_at(view.began - LATEST_S)]

    @property
    def wrong(self) -> list[str]:
        return [*self.faults, *(one for view in self.views for one in view.wrong)]

    @property
    def logged(self) -> list[str]:
        return [line for line in self.log.read_text(errors="replace").splitlines() if LOGGED.search(line)]


def _rss(process: int) -> int:
    """Give the memory that a process holds (bytes); 0 for one that has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0


def _children(process: int) -> list[int]:
    """List the processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(status.parent.name))
    return found


def _gone(process: int) -> int:
    """Count the files of builds that are no more and that a process holds open."""
    held = set[str]()
    for descriptor in Path(f"/proc/{process}/fd").glob("*"):
        with suppress(OSError):
            held.add(str(descriptor.readlink()))
    return sum(".duckdb" in name and name.endswith("(deleted)") for name in held)


@contextmanager
def _served(crowd: Crowd) -> Iterator[tuple[str, int]]:
    """Serve the pages as readers have them, warming themselves: the address and the process."""
    port = free_port()
    told = environment(crowd.settings.warehouse) | {"BACKHAUL_WARM_MINUTES": WARM_MINUTES}
    with (
        crowd.log.open("w") as output,
        subprocess.Popen(command(port), env=told, stdout=output, stderr=output) as server,
    ):
        for _ in range(600):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
                break
            time.sleep(0.1)
        try:
            yield f"http://127.0.0.1:{port}", server.pid
        finally:
            server.terminate()


def _watch(crowd: Crowd, server: int, over: threading.Event) -> None:
    """Read the memory of the server, and of what warms it, every second."""
    while not over.wait(1.0):
        beside = sum(map(_rss, _children(server)))
        crowd.memory.append((time.monotonic() - crowd.began, _rss(server), beside))


def _publish(crowd: Crowd, server: int, folder: Path, over: threading.Event) -> None:
    """Load new events, again and again, each load in a process of its own as the schedule runs it."""
    number, end = 0, crowd.began + 60 * crowd.minutes
    while not over.wait(max(crowd.every_s * (number + 1) - (time.monotonic() - crowd.began), 1.0)):
        if time.monotonic() > end:
            break
        number += 1
        files = folder / f"hour{number}"
        files.mkdir()
        _write(crowd.settings, files, number)
        words = ["load", str(files), "--source", "canonical", "--warehouse", str(crowd.settings.warehouse)]
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        build = str(current_id(crowd.settings.warehouse))
        if done.returncode or build == crowd.published[-1][1]:
            crowd.faults.append(f"load {number} ended with {done.returncode}: {done.stderr[-300:]}")
        crowd.published.append((time.monotonic(), build))
        crowd.gone = max(crowd.gone, _gone(server))


def _write(settings: Settings, folder: Path, number: int) -> None:
    """Write what an hour brings: orders of goods that are sold, and returns of lines that are not back."""
    with duckdb.connect(
        str(build_path(settings.warehouse, str(current_id(settings.warehouse)))), read_only=True
    ) as build:
        (last,) = build.execute("SELECT max(ordered_at) FROM fact_order_line").fetchall()[0]
        at = f"(TIMESTAMP '{last:%Y-%m-%d %H:00:00}' + INTERVAL 1 HOUR)"
        build.execute("SET TimeZone = 'UTC'")
        offset = RETURNS * (number - 1)
        build.execute(NEW.format(k=number, at=at, orders=ORDERS, returns=RETURNS, offset=offset, folder=folder))
    for file in folder.iterdir():  # an instant says its zone
        file.write_text(re.sub(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)", r"\1T\2Z", file.read_text()))


def _browse(crowd: Crowd, address: str, seed: int, end: float) -> None:
    """Click through the places in a real browser."""
    draw = random.Random(seed)
    try:
        with launched() as browser:
            walk = Walk(browser, address)
            walk.page.set_default_timeout(BROWSER_S * 1000)
            try:
                while time.monotonic() < end:
                    began = time.monotonic()
                    kind = _clicked(walk, draw)
                    walk.heard()
                    wrong = tuple(f"browser, {kind}: {one}"[:300] for one in walk.exceptions())
                    crowd.views.append(View(f"browser: {kind}", began, time.monotonic() - began, wrong=wrong))
                    time.sleep(draw.lognormvariate(np.log(15.0), 0.5))
            finally:
                crowd.faults.extend(f"browser: {one}"[:300] for one in walk.wrong())
    except Exception as error:  # whatever ends a browser is a fault
        crowd.faults.append(f"a browser ended: {error!r}"[:400])


def _clicked(walk: Walk, draw: random.Random) -> str:
    """Open the first page, turn to another, choose a market, or follow a link that somebody sent."""
    if not walk.clicks or draw.random() < 0.1:
        walk.open(draw.choice(["", "returns?country=FR", "carbon?period=6m", "late?country=DE", "margin?channel=web"]))
        walk.clicks += 1
        return "link"
    if draw.random() < 0.3:
        market = Words("en").dimension("country")
        walk.page.locator(".st-key-filters").get_by_role("button", name=market).first.click()
        walk.page.get_by_test_id("stPopoverBody").locator("input").first.click()
        options = walk.page.get_by_role("option")
        options.first.wait_for()
        options.nth(draw.randrange(1, options.count())).click()  # the first one is all of them
        walk.page.keyboard.press("Escape")
        walk.page.keyboard.press("Escape")
        time.sleep(0.5)  # the run that the click began has begun
        walk.settle()
        return "filter"
    page = draw.choice(ADDRESSES)
    walk.turn(PLACES[page], page)
    return "page"


def _read(crowd: Crowd, address: str, sessions: int, end: float) -> None:
    async def every() -> None:
        readers = [Reader(address, ADDRESSES, seed, crowd.views.append) for seed in range(sessions)]
        stays = Reader(address, ADDRESSES, sessions, crowd.views.append).stay(end)
        await asyncio.gather(stays, *(reader.until(end) for reader in readers))

    asyncio.run(every())


def of(settings: Settings, folder: Path, minutes: float, every_s: float, sessions: int, browsers: int) -> Crowd:
    """Let a crowd read a warehouse that is there while loads publish into it."""
    crowd = Crowd(settings, minutes, every_s, folder / "log")
    over = threading.Event()
    with _served(crowd) as (address, server):
        time.sleep(min(WARM_S, 12 * minutes) if minutes < 10 else WARM_S)
        crowd.began = time.monotonic()
        crowd.published.append((crowd.began, str(current_id(settings.warehouse))))
        end = crowd.began + 60 * minutes
        beside = [threading.Thread(target=_watch, args=(crowd, server, over))]
        beside += [threading.Thread(target=_publish, args=(crowd, server, folder, over))]
        people = [threading.Thread(target=_browse, args=(crowd, address, n, end)) for n in range(browsers)]
        for thread in (*beside, *people):
            thread.start()
        _read(crowd, address, sessions, end)
        for thread in people:
            thread.join()
        over.set()
        for thread in beside:
            thread.join()
    return crowd


def claims(
    lines: int = LINES,
    minutes: float = MINUTES,
    every_s: float = EVERY_S,
    sessions: int = SESSIONS,
    browsers: int = BROWSERS,
    warehouse: Path | None = None,
) -> Iterator[Claim]:
    """Make a shop of so many order lines, or take a copy of one, and let a crowd read it."""
    with tempfile.TemporaryDirectory(prefix="backhaul-crowd-") as place:
        settings = Settings(warehouse=Path(place) / "warehouse")
        if warehouse is None:
            with tempfile.TemporaryDirectory(dir=place) as files:
                write_sample(Path(files), lines, 20_260_131)
                load(settings, [Path(files)])
        else:
            shutil.copytree(warehouse, settings.warehouse)
            shutil.copy(Settings(warehouse=warehouse).key_file, settings.key_file)
        crowd = of(settings, Path(place), minutes, every_s, sessions, browsers)
        yield from _said(crowd, f"{lines:,} order lines", sessions, browsers)


def _said(crowd: Crowd, size: str, sessions: int, browsers: int) -> Iterator[Claim]:
    wrong, logged, stale = crowd.wrong, crowd.logged, crowd.stale
    print(*dict.fromkeys([*wrong, *logged]), sep="\n", file=sys.stderr)
    if logged:
        print(crowd.log.read_text(errors="replace")[-20_000:], file=sys.stderr)
    who = f"{sessions} sessions without a browser and {browsers} real browsers"
    loads = len(crowd.published) - 1
    seen, views = (
        {view.build_id for view in crowd.views if view.build_id},
        sum(view.kind != "socket" for view in crowd.views),
    )
    yield Claim(
        f"{who} for {crowd.minutes:g} minutes at {size}, while loads publish: errors on pages, in sockets and in the"
        " server's log",
        f"0, and no reader is shown an older build than the newest of {LATEST_S / 60:g} minutes before; a load every"
        f" {crowd.every_s:g} s",
        f"{len(wrong)} and {len(logged)} in {views:,} views; {loads} builds published, {len(seen)} builds seen,"
        f" {len(stale)} views of an older one",
        not wrong and not logged and not stale and loads > 0 and (len(seen) > 1 or 60 * crowd.minutes <= LATEST_S),
    )
    for name, is_ours in (("A session's view", False), ("A browser's view", True)):
        every = [view for view in crowd.views if view.kind != "socket"]
        took = [view.seconds for view in every if view.kind.startswith("browser") is is_ours]
        half, most = np.percentile(took, (50, 95)) if took else (float("nan"), float("nan"))
        yield Claim(
            f"{name} until it is drawn, {size}, with {who} at once",
            "told",
            f"{half:.1f} s in the middle, {most:.1f} s at p95, {max(took, default=0):.1f} s at most;"
            f" {len(took):,} views",
            bool(took),
        )
    at, looks = [_memory_at(crowd, share) for share in LOOKS], [f"{60 * crowd.minutes * s:.0f}" for s in LOOKS]
    yield Claim(
        f"The server's memory with {who}, {size}, after {', '.join(looks)} s",
        f"at most {MOST_GROWTH >> 20} MiB more from half of the time to its end; at most {MOST_GONE} files of builds"
        " that are no more are held open",
        f"{', '.join(f'{n >> 20:,} MiB' for n in at)}; {crowd.gone} files; what warms it beside:"
        f" {max((beside for _, _, beside in crowd.memory), default=0) >> 20:,} MiB at most",
        at[-1] - at[1] <= MOST_GROWTH and crowd.gone <= MOST_GONE and at[1] > 0,
    )


def _memory_at(crowd: Crowd, share: float) -> int:
    """Give the memory at a share of the time: the middle of the five seconds before."""
    until = 60 * crowd.minutes * share
    near = [server for at, server, _ in crowd.memory if until - 5 <= at <= until]
    return int(np.median(near)) if near else 0


if __name__ == "__main__":
    given = sys.argv[1:]
    numbers = [kind(text) for kind, text in zip((int, float, float, int, int), given, strict=False)]
    for claim in claims(*numbers, *map(Path, given[5:])):  # type: ignore[arg-type]
        print(
            f"{claim.name}: {claim.figure} (bar: {claim.bar}): {'holds' if claim.holds else 'falls short'}", flush=True
        )
