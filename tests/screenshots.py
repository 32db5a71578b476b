"""Make the pictures of the documents from the running app, in one run: `python -m tests.screenshots WAREHOUSE`.

Each is a page of the sample shop, small enough to be read in a document: its colours are reduced to a palette.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.browsing import PATIENCE, TELEPHONE, launched, served, settled

DOCS = Path(__file__).parents[1] / "docs"


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


def take(browser: Any, address: str, shot: Shot, out: Path) -> None:
    """Write one picture."""
    telephone = {"user_agent": TELEPHONE} if shot.width < 600 else {}
    window = {"width": shot.width, "height": shot.height}
    context = browser.new_context(viewport=window, locale="en-GB", color_scheme="light", **telephone)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{address}/{shot.address}")
    settled(page)
    page.wait_for_timeout(1500)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".png") as whole:
        page.screenshot(path=whole.name)
        Image.open(whole.name).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE).save(out, optimize=True)
    context.close()


def main(warehouse: Path) -> None:
    """Write every picture."""
    with tempfile.TemporaryDirectory() as log, served(warehouse, Path(log)) as address, launched() as browser:
        for shot in SHOTS:
            take(browser, address, shot, DOCS / shot.folder / shot.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
