"""Make the pictures of the documents from the running app, in one run: `python -m tests.screenshots WAREHOUSE`.

Each is a page of the sample shop, small enough to be read in a document: its colours are reduced to a palette.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from pipelines.cli.pages import command, environment

PORT = 8599
DOCS = Path(__file__).parents[1] / "docs"
BROWSER = os.environ.get("BACKHAUL_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
TELEPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile/15E148"


@dataclass(frozen=True)
class Shot:
    """One picture: its file, the address it shows, and the window."""

    name: str
    address: str = ""
    width: int = 1200
    height: int = 760
    folder: str = ""


SHOTS = (
    Shot("overview.png", width=1440, height=1240),
    Shot("today-phone.png", width=390, height=844, folder="guides"),
    Shot("products.png", "products", height=1150, folder="guides"),
    Shot("carbon.png", "carbon", height=1150, folder="guides"),
    Shot("late.png", "late", folder="guides"),
    Shot("book.png", "book", folder="guides"),
    Shot("checks.png", "checks", folder="guides"),
)


@contextmanager
def served(warehouse: Path) -> Iterator[str]:
    """Serve a warehouse: its address."""
    with subprocess.Popen(command(PORT), env=environment(warehouse)) as server:
        address = f"http://127.0.0.1:{PORT}"
        try:
            for _ in range(1200):
                try:
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
                    break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    time.sleep(0.1)
            else:
                raise SystemExit("The app did not start.")
            yield address
        finally:
            server.terminate()


def take(browser: Any, address: str, shot: Shot, out: Path) -> None:
    """Write one picture."""
    telephone = {"user_agent": TELEPHONE} if shot.width < 600 else {}
    window = {"width": shot.width, "height": shot.height}
    context = browser.new_context(viewport=window, locale="en-GB", color_scheme="light", **telephone)
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(f"{address}/{shot.address}")
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    page.wait_for_selector("h1")
    page.wait_for_function(
        "document.querySelectorAll('[data-testid=\"stPlotlyChart\"]:not(:has(.main-svg))').length === 0"
    )
    page.wait_for_timeout(1500)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".png") as whole:
        page.screenshot(path=whole.name)
        Image.open(whole.name).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE).save(out, optimize=True)
    context.close()


def main(warehouse: Path) -> None:
    """Write every picture."""
    with served(warehouse) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        for shot in SHOTS:
            take(browser, address, shot, DOCS / shot.folder / shot.name)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
