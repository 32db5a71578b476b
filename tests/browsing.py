"""A real browser, and the app as it is served to it: what tests, proofs and pictures open pages with."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from pipelines.cli.pages import command, environment

FOUND = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = os.environ.get("BACKHAUL_CHROMIUM") or next(filter(None, FOUND), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
PATIENCE = 120_000
HARMLESS = ("preload", "_stcore")
LOOPBACK = {"127.0.0.1", "localhost", ""}


@contextmanager
def launched(beside: Any = None) -> Iterator[Any]:
    """Start a Chromium, `beside` one that runs; a test is skipped, loudly, where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser: playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no browser: set BACKHAUL_CHROMIUM to a Chromium")
    with nullcontext() if beside else sync_api.sync_playwright() as playwright:
        kind = beside.browser_type if beside else playwright.chromium
        found = kind.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield found
        finally:
            found.close()


def settled(page: Any) -> None:
    """Wait until the script of a page has run and its charts are drawn.

    The title comes first: before a page has asked for its script to run, it says already that none is running.
    """
    page.wait_for_selector("h1")
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    bare = "document.querySelectorAll('[data-testid=\"stPlotlyChart\"]:not(:has(.main-svg))').length === 0"
    page.wait_for_function(bare)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(warehouse: Path, folder: Path, *, port: int = 0, is_refusing: bool = False) -> Iterator[str]:
    """The app as `backhaul dashboard` serves it: its address; with `is_refusing`, Streamlit says why nobody came in.

    It does not warm itself: what is looked at is what its pages do.
    """
    port, log = port or free_port(), folder / "log"
    told = environment(warehouse) | {"BACKHAUL_WARM_MINUTES": "0"}
    with (
        log.open("w") as output,
        subprocess.Popen(command(port), env=told, stdout=output, stderr=output) as server,
    ):
        for _ in range(PATIENCE // 100):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as answer:
                    assert answer.status == 200
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
    said = log.read_text()
    assert "Traceback" not in said or (is_refusing and "OAuth token exchange failed" in said)
    assert "/dashboard/" not in said


TELEPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0"
    " Mobile/15E148 Safari/604.1"
)
PHONE = {"user_agent": TELEPHONE, "is_mobile": True, "has_touch": True}
"""The window of a telephone: it says that it is one, and lays the page out as one."""


class Visit:
    """One visitor: what the pages asked for and complained about."""

    def __init__(self, browser: Any, address: str, width: int, **window: Any) -> None:
        self.address, self.asked, self.complaints = address, set[str](), list[str]()
        window = {"viewport": {"width": width, "height": 900}, "locale": "en-GB", **window}
        self.page = browser.new_page(**window)
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", lambda request: self.asked.add(urlparse(request.url).hostname or ""))
        self.page.on(
            "console",
            lambda message: (
                self.complaints.append(f"{message.text} {message.location}") if message.type == "error" else None
            ),
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}/{path}")
        self.settle()

    def settle(self) -> None:
        """Wait until the page is drawn."""
        settled(self.page)

    def title(self) -> str:
        return str(self.page.locator("h1").first.inner_text())

    def chosen(self, label: str) -> str:
        """What a select box shows."""
        return str(self.page.get_by_label(label, exact=True).first.input_value())

    def exceptions(self) -> list[str]:
        return list(self.page.locator('[data-testid="stException"]').all_inner_texts())

    def wrong(self) -> list[str]:
        """List what went wrong: exceptions shown, complaints of the browser, what was asked from outside."""
        complaints = [c for c in self.complaints if not any(harmless in c for harmless in HARMLESS)]
        return [*self.exceptions(), *complaints, *(f"asked of {host}" for host in self.asked - LOOPBACK)]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        script = (
            "(() => { const m = document.querySelector('[data-testid=\"stMain\"]'); return Math.max(m.scrollWidth -"
            " m.clientWidth, document.documentElement.scrollWidth - innerWidth); })()"
        )
        return int(self.page.evaluate(script))
