"""Make the README's picture from the running app: `python tests/screenshots.py WAREHOUSE docs/overview.png`."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from pipelines.cli.pages import command, environment

PORT = 8599
BROWSER = os.environ.get("BACKHAUL_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
)


def wait(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise SystemExit("The app did not start.")


def picture(warehouse: Path, out: Path, width: int = 1440, height: int = 1240) -> None:
    """Serve a warehouse and write a picture of its first page."""
    with subprocess.Popen(command(PORT), env=environment(warehouse)) as server, sync_playwright() as playwright:
        address = f"http://127.0.0.1:{PORT}"
        wait(address)
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": height}, locale="en-GB")
        page.goto(address)
        page.wait_for_selector("h1")
        page.wait_for_selector('[data-testid="stPlotlyChart"] .main-svg')
        page.wait_for_timeout(1500)
        out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=out)
        browser.close()
        server.terminate()


if __name__ == "__main__":
    picture(Path(sys.argv[1]), Path(sys.argv[2]))
