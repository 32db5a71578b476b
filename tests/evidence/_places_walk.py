"""A walk through the pages in a real browser: clicks counted, seconds taken, and everything heard kept."""

import re
import time
from pathlib import Path
from typing import Any

from dashboard.i18n import catalogue
from tests.browsing import LOOPBACK
from tests.evidence import Claim
from tests.test_sign_in import Person

_PLACEHOLDER = re.compile(r"\\\{\w+\\\}")

_FIRST_SCREEN = """() => {
  const bar = document.querySelector('.st-key-places');
  const fold = bar ? bar.getBoundingClientRect().top : innerHeight;
  const texts = document.createTreeWalker(document.querySelector('[data-testid="stMain"]'), NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    if (node.parentElement.closest('style, script, [data-testid="stIconMaterial"]')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    const text = node.textContent.trim();
    if (text && box.height > 0 && box.top >= 0 && box.bottom <= fold) found.push(text);
  }
  return found;
}"""


class Walk(Person):
    """One visitor who counts: `clicks` with a pointer, a click into a field that is typed into among them."""

    def __init__(self, browser: Any, address: str, width: int = 1440, language: str = "en", **window: Any) -> None:
        super().__init__(browser, address, width, **window)
        self.language, self.clicks, self.requests, self.faults = language, 0, 0, 0
        self.told = bytearray()
        self.page.on("request", self._count)
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._hear))
        self.began = time.monotonic()

    def settle(self) -> None:
        """Wait until the page is drawn, and stays as it is: its width and language may have it drawn once more."""
        before, now = None, ""
        while before != now:
            before = now
            self.page.wait_for_timeout(700)
            super().settle()
            now = self.page.evaluate("document.documentElement.lang + document.body.innerText")

    def _count(self, _request: Any) -> None:
        self.requests += 1

    def _hear(self, frame: str | bytes) -> None:
        self.told += frame.encode() if isinstance(frame, str) else frame

    def heard(self) -> bytes:
        """Give all that the server told this browser since this was asked last."""
        told = bytes(self.told)
        self.told.clear()
        return told

    def said(self, key: str) -> re.Pattern[str]:
        """Give what a page says under a key of the catalogue, whatever stands in its placeholders."""
        return re.compile(_PLACEHOLDER.sub(".+", re.escape(catalogue(self.language)[key])) + "$")

    def button(self, key: str) -> Any:
        """Find a button by its key in the catalogue."""
        return self.page.get_by_role("button", name=self.said(key)).first

    def link(self, key: str) -> Any:
        """Find a link by its key in the catalogue."""
        return self.page.get_by_role("link", name=self.said(key)).first

    def click(self, what: Any, brings: Any = None, **how: Any) -> None:
        """Click, and wait for what the click brings."""
        what.first.click(**how)
        self.clicks += 1
        if brings is not None:
            brings.first.wait_for()
        self.settle()
        self.faults += len(self.exceptions())

    def write(self, key: str, text: str, end: str = "Tab") -> None:
        """Click into a field, type, and leave it by a key: Enter sends the form."""
        field = self.page.get_by_label(catalogue(self.language)[key], exact=True).first
        field.click()
        self.clicks += 1
        self.page.keyboard.type(text)
        field.press(end)
        self.settle()

    def turn(self, place: str, page: str) -> None:
        """Go to a page by the menu of its place: two clicks."""
        entry = self.page.get_by_role("menuitem", name=catalogue(self.language)[f"page.{page}"], exact=True)
        self.click(self.page.get_by_role("button", name=catalogue(self.language)[f"place.{place}"]), entry)
        self.click(entry)
        self.page.wait_for_url(f"**/{page}*")
        self.settle()

    def take(self, what: Any, folder: Path) -> Path:
        """Click what gives a file, and save it."""
        with self.page.expect_download() as download:
            what.first.click()
        self.clicks += 1
        path = folder / str(download.value.suggested_filename)
        download.value.save_as(path)
        return path

    def first_screen(self) -> list[str]:
        """Give the texts that are whole on the screen without scrolling, above the bar of places."""
        return list(self.page.evaluate(_FIRST_SCREEN))

    def outside(self) -> set[str]:
        """Name what was asked of others than this machine."""
        return self.asked - LOOPBACK

    def wrong(self) -> list[str]:
        """List what went wrong on the pages, on the way too."""
        return [*super().wrong(), *["an exception was shown on the way"] * self.faults]

    def claim(self, name: str, most: int, figure: str, *, is_there: bool) -> Claim:
        """Claim that a reader got there by so many clicks at most."""
        took = f"{self.clicks} clicks, {time.monotonic() - self.began:.1f} s: {figure}"
        wrong = self.wrong()
        text = took + (f"; wrong: {wrong[0][:120]}" if wrong else "")
        return Claim(name, f"at most {most} clicks", text, is_there and self.clicks <= most and not wrong)
