"""How every page looks: two screens of each, in both themes, on a desk in English and on a telephone in French.

`tests/looks/` keeps one sheet a window and theme, page under page, each block of 12 x 12 pixels one pixel.
`python -m tests.looks` draws the sheets anew from the tiny shop: look at what changed before it is committed.
`tests/test_reach.py` compares. Letters may move by a pixel, digits and days may change; a chart that is gone, a column
that slipped or a colour of the other theme may not.
"""

import io
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import dashboard
from tests.browsing import TELEPHONE, Visit, launched, served, settled
from tests.pages import ADDRESSES

SHEETS = Path(__file__).parent / "looks"
HEIGHT, BLOCK = 1800, 12
APART = 40  # of 255, in a channel of a block, that an eye sees
DRAWN = 6  # of 255, by which a block differs from the ground of its page
MOST = 0.15  # of the blocks that something is drawn on that may be so far apart
STILL = 50  # looks at most until two are the same
THEMES = ("light", "dark")
_THEME = tomllib.loads((Path(dashboard.__file__).parent / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
_GROUND = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"

Blocks = NDArray[np.int16]


@dataclass(frozen=True)
class Window:
    """How a reader looks at the pages: width of the window, language."""

    width: int
    language: str

    def visit(self, browser: Any, address: str) -> Visit:
        """Open a visitor who looks so, in the light theme."""
        telephone = {"user_agent": TELEPHONE} if self.width < 600 else {}
        viewport = {"width": self.width, "height": HEIGHT}
        return Visit(browser, address, self.width, viewport=viewport, color_scheme="light", **telephone)

    def sheet(self, theme: str) -> Path:
        """Name the file of the pages in a theme."""
        return SHEETS / f"{self.width}-{theme}.png"


WINDOWS = (Window(1440, "en"), Window(390, "fr"))
_RUNS = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  window.runs = 0;
  new MutationObserver(() => { window.runs += app.dataset.testScriptState === 'notRunning'; })
    .observe(app, { attributes: true, attributeFilter: ['data-test-script-state'] });
}"""
"""Counts the runs of the script that end."""


def opened(visit: Visit, window: Window, name: str, themes: Sequence[str] = THEMES) -> Iterator[str]:
    """Open a page in a theme, then in the next, as who looks so from the start sees it."""
    page = visit.page
    page.emulate_media(color_scheme=themes[0])
    visit.open(f"{name if name != ADDRESSES[0] else ''}?lang={window.language}")
    _painted(page, themes[0])
    yield themes[0]
    for theme in themes[1:]:
        page.emulate_media(color_scheme=theme)
        _painted(page, theme)
        page.evaluate(_RUNS)
        page.keyboard.press("r")
        page.wait_for_function("window.runs > 0")
        settled(page)
        yield theme


def _painted(page: Any, theme: str) -> None:
    """Wait until the ground of a page is that of a theme."""
    ground = ", ".join(str(value) for value in bytes.fromhex(_THEME[theme]["backgroundColor"].removeprefix("#")))
    page.wait_for_function(f"{_GROUND} === 'rgb({ground})'")


def look(page: Any) -> Blocks:
    """Give what is on the screen, once it stands still, as means of blocks."""
    shot = page.screenshot()
    for _ in range(STILL):
        page.wait_for_timeout(200)
        before, shot = shot, page.screenshot()
        if shot == before:
            break
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    width, height = image.width // BLOCK, HEIGHT // BLOCK
    reduced = image.crop((0, 0, width * BLOCK, height * BLOCK)).resize((width, height), Image.Resampling.BOX)
    return np.asarray(reduced, dtype=np.int16)


def kept(window: Window, theme: str) -> dict[str, Blocks]:
    """Read how the pages looked when the sheets were drawn."""
    sheet = np.asarray(Image.open(window.sheet(theme)).convert("RGB"), dtype=np.int16)
    return dict(zip(ADDRESSES, np.split(sheet, len(sheet) // (HEIGHT // BLOCK)), strict=True))


def apart(seen: Blocks, known: Blocks) -> float:
    """Give the share of the blocks with anything on them, now or then, that look otherwise than they did.

    >>> before = np.zeros((2, 3, 3), dtype=np.int16)
    >>> before[0, 1] = 200
    >>> after = before.copy()
    >>> after[0, 0, 1] = 255
    >>> apart(after, before), apart(before, before)
    (0.5, 0.0)
    """
    ground = np.median(known.reshape(-1, 3), axis=0)
    drawn = (np.abs(np.stack([seen, known]) - ground).max(axis=(0, 3)) > DRAWN).sum()
    return float((np.abs(seen - known).max(axis=2) > APART).sum() / max(drawn, 1))


def keep(window: Window, looks: Mapping[str, Mapping[str, Blocks]]) -> None:
    """Write the sheets of a window: by theme, by page."""
    SHEETS.mkdir(exist_ok=True)
    for theme, pages in looks.items():
        sheet = np.concatenate([pages[name] for name in ADDRESSES]).astype(np.uint8)
        Image.fromarray(sheet).save(window.sheet(theme), optimize=True)


def main() -> None:
    """Draw every sheet anew."""
    from pipelines.load import load
    from tests.conftest import fresh, write_shop

    with tempfile.TemporaryDirectory() as place:
        settings = fresh(Path(place))
        load(settings, [write_shop(Path(place) / "files")])
        with served(settings.warehouse, Path(place)) as address, launched() as browser:
            for window in WINDOWS:
                visit = window.visit(browser, address)
                looks: dict[str, dict[str, Blocks]] = {theme: {} for theme in THEMES}
                for name in ADDRESSES:
                    for theme in opened(visit, window, name):
                        looks[theme][name] = look(visit.page)
                keep(window, looks)


if __name__ == "__main__":
    main()
