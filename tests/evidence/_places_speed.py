"""Speed as felt: processor time of each page, the first paint beside an empty page, five readers at once.

`python -m tests.evidence._places_speed WAREHOUSE` measures the pages of a warehouse that is there.
"""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

import dashboard
from pipelines.cli.pages import command
from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import current_id
from tests.browsing import PATIENCE, free_port, launched, served
from tests.evidence import Claim
from tests.evidence._places_walk import Walk
from tests.pages import lightly_run

LINES = int(os.environ.get("BACKHAUL_SPEED_LINES", "200000"))
LARGE = 1_000_000  # order lines from which a new filter may take longer
COLD, WARM, NEW, NEW_LARGE = 3.0, 0.5, 1.0, 3.0  # CPU seconds
MINUTES = float(os.environ.get("BACKHAUL_SPEED_MINUTES", "6"))  # of warming: the pages, and filters of the first two
MINUTES_LARGE = float(
    os.environ.get("BACKHAUL_SPEED_MINUTES", "30")
)  # of a large shop: as it is unless somebody says so
PAINT = 1.3
VISITS = 7
EMPTY = (
    "import plotly.graph_objects as go\nimport streamlit as st\n\n"
    "st.title('Empty')\nst.plotly_chart(go.Figure(go.Bar(y=[1, 2, 3])))\n"
)
FIVE = (
    "returns?country=FR&channel=web",
    "margin?country=DE&category=dresses",
    "carbon?category=footwear&period=6m",
    "delays?method=drop_off&country=FR",
    "?category=dresses&channel=web&period=90d",
)
"""Views of five readers: pairs of filters that nobody asked for."""


def claims(folder: Path) -> Iterator[Claim]:
    """Measure the pages of a sample shop of `BACKHAUL_SPEED_LINES` order lines."""
    settings = Settings(warehouse=folder / "large")
    with tempfile.TemporaryDirectory(dir=folder) as files:
        write_sample(Path(files), LINES, 20_260_131)
        load(settings, [Path(files)])
    yield from of(settings.warehouse, LINES, folder)


def of(warehouse: Path, lines: int, folder: Path) -> Iterator[Claim]:
    """Measure the pages of a warehouse of so many order lines."""
    yield from _processor(warehouse, lines)
    yield from _in_browser(warehouse, lines, folder)


def _processor(warehouse: Path, lines: int) -> Iterator[Claim]:
    is_large = lines >= LARGE
    size, new, minutes = (
        f"{lines:,} order lines",
        NEW_LARGE if is_large else NEW,
        MINUTES_LARGE if is_large else MINUTES,
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.evidence._places_speed", "--processor", str(warehouse), str(minutes)],
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    for name, column, bar in (
        ("Each page opened first, once the server has warmed itself", "cold", COLD),
        ("Each page opened again", "warm", WARM),
        ("Each page under a single filter that no reader asked for", "new", new),
        ("Each page under two filters that nothing asked for before", "pair", new),
        ("Each page opened first in a server that was not warmed", "bare", COLD),
    ):
        seconds = {page: took[column] for page, took in found["pages"].items()}
        yield Claim(
            f"{name}: CPU seconds of the server, {size}",
            f"at most {bar}",
            f"most {max(seconds.values()):.2f}: " + ", ".join(f"{p} {s:.2f}" for p, s in seconds.items()),
            max(seconds.values()) <= bar,
        )
    yield Claim(
        f"What a server remembers once it has warmed itself for {minutes:g} minutes of a processor, {size}",
        "at most 256 MiB, no page failed",
        f"{found['bytes'] / 2**20:.1f} MiB in {found['answers']:,} answers; {found['failed']} pages failed",
        found["bytes"] <= 256 * 2**20 and found["failed"] == 0 and found["answers"] > 100,
    )


def _in_browser(warehouse: Path, lines: int, folder: Path) -> Iterator[Claim]:
    with launched() as browser, served(warehouse, folder) as address:
        warmed = Walk(browser, address)
        warmed.open("")
        with _empty(folder) as empty:
            yield from _paint(browser, address, empty, lines)
        yield _five(browser, address, lines)


@contextmanager
def _empty(folder: Path) -> Iterator[str]:
    """Serve an empty Streamlit page with one Plotly chart, as ours are served."""
    script, port = folder / "empty.py", free_port()
    script.write_text(EMPTY, encoding="utf-8")
    asked = [str(script) if part.endswith("server.py") else part for part in command(port)]
    with subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        for _ in range(PATIENCE // 100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _paint(browser: Any, ours: str, empty: str, lines: int) -> Iterator[Claim]:
    """Open both pages in turns, each time in a fresh browser, and compare the middle times."""
    took: dict[str, list[tuple[float, float, float]]] = {ours: [], empty: []}
    for _ in range(VISITS):
        for address, seen in took.items():
            visitor = Walk(browser, address)
            visitor.page.goto(address, wait_until="commit")
            visitor.page.wait_for_selector("h1")
            title = visitor.page.evaluate("performance.now()")
            visitor.settle()
            whole = visitor.page.evaluate("performance.now()")
            first = visitor.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            seen.append((first, title, whole))
            visitor.context.close()
    for at, name in enumerate(("first paint", "title on the screen")):
        mine, other = (statistics.median(seen[at] for seen in took[address]) for address in (ours, empty))
        yield Claim(
            f"Today beside an empty page with one chart, {name}, the middle of {VISITS}, {lines:,} order lines",
            f"at most {PAINT} x",
            f"{mine / other:.2f} x: {mine / 1000:.2f} s beside {other / 1000:.2f} s",
            mine <= PAINT * other,
        )


def _five(browser: Any, address: str, lines: int) -> Claim:
    """Five readers ask at once for what nobody asked for: each is answered, and nothing fails."""
    readers = [Walk(browser, address) for _ in FIVE]
    began = time.monotonic()
    for reader, path in zip(readers, FIVE, strict=True):
        reader.page.goto(f"{address}/{path}", wait_until="commit")
    titles = []
    for reader in readers:
        reader.settle()
        titles.append(reader.title())
    took = time.monotonic() - began
    wrong = [complaint for reader in readers for complaint in reader.wrong()]
    return Claim(
        f"Five readers at once under five pairs of filters that nobody asked for, {lines:,} order lines",
        "0 errors, all answered",
        f"{len(wrong)} errors, {sum(map(bool, titles))} answered in {took:.1f} s",
        not wrong and all(titles),
    )


def measured(warehouse: Path, minutes: float) -> dict[str, Any]:
    """Take the CPU seconds of every page in this process: bare, then warmed, cold, warm and under new filters."""
    from dashboard import warming
    from dashboard.shared.memory import MEMORY
    from dashboard.warming import ADDRESSES, Warming

    os.environ["BACKHAUL_WAREHOUSE"] = str(warehouse)
    warming.import_pages()
    bare = {address: _apart(_bare, address) for address in ADDRESSES}
    settings = replace(Settings(warehouse=warehouse), warm_minutes=minutes)
    Warming(settings).warm(str(current_id(warehouse)))
    size, answers = MEMORY.bytes, len(MEMORY)
    one, two = _filters(warehouse)
    pages, failed = {}, 0
    for address in ADDRESSES:
        with lightly_run():  # what AppTest does beside a page is none of a server's work
            took, is_whole = _opened(address, {}, one, two)
        failed += not is_whole
        pages[address] = dict(zip(("cold", "warm", "new", "pair"), took, strict=True)) | {"bare": bare[address]}
    return {"pages": pages, "bytes": size, "answers": answers, "failed": failed}


def _filters(warehouse: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Choose a single filter, and a pair: the last market and category that the bar offers."""
    from dashboard.shared import queries

    source = queries.source(warehouse)
    market, category = (queries.values(source, name)[-1] for name in ("country", "category"))
    return {"country": market}, {"country": market, "category": category}


def _opened(address: str, *views: dict[str, str]) -> tuple[list[float], bool]:
    """Open a page, then again, then under each of two filters: CPU seconds of each, and whether none failed."""
    app = AppTest.from_file(str(Path(dashboard.__file__).with_name("app.py")), default_timeout=900)
    if address != "today":
        app._page_hash = calc_hash(address)
    took, is_whole = [], True
    for view in (views[0], *views):
        for name in ("country", "category"):
            if name in view:
                app.session_state[name] = [view[name]]
        began = time.process_time()
        app.run()
        took.append(time.process_time() - began)
        is_whole &= not app.exception and bool(app.title)
    return took, is_whole


def _bare(address: str) -> float:
    with lightly_run():
        return _opened(address, {})[0][0]


def _apart(work: Callable[[str], float], address: str) -> float:
    """Do a piece of work in a process of its own that has imported what this one has."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def told() -> None:
        theirs.send(work(address))

    child = context.Process(target=told)
    child.start()
    found = float(ours.recv())
    child.join()
    return found


if __name__ == "__main__":
    if sys.argv[1] == "--processor":
        print(json.dumps(measured(Path(sys.argv[2]), float(sys.argv[3]))))
    else:
        with tempfile.TemporaryDirectory() as place:
            for claim in of(Path(sys.argv[1]), int(sys.argv[2]), Path(place)):
                print(f"{claim.name}: {claim.figure} (bar: {claim.bar}): {'holds' if claim.holds else 'falls short'}")
