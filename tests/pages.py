"""Open a page of the app in a test, by its address, and read the lines of Today."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from html import unescape
from unittest.mock import patch

from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import AppTest, app_test, local_script_runner

from dashboard.shared import places

ADDRESSES = [sheet.address for sheet in places.SHEETS]
SUBJECTS = list(dict.fromkeys(sheet.subject for sheet in places.SHEETS))
WITHOUT_NUMBERS = {
    sheet.address for sheet in places.SHEETS if sheet.subject in ("data", "plan", "policies", "alerts", "subscriptions")
}

COMPILED = ScriptCache()


@contextmanager
def compiled_once() -> Iterator[None]:
    """Keep the scripts of the pages as they are compiled: each run of AppTest would compile them anew."""
    with ExitStack() as stack:
        for runner in (app_test, local_script_runner):
            stack.enter_context(patch.object(runner, "ScriptCache", lambda: COMPILED))
        yield


_PAGES: dict[str, str] = {}
"""What the app calls its pages, by the path of their address: told by its first run, the same for every app."""


def turn(app: AppTest, address: str) -> AppTest:
    """Turn an app to an address, as a link to it or a click in its menu does; `run` opens it.

    `AppTest.switch_page` knows scripts: of several addresses of one it opens the first. An app that has not run yet is
    opened there, without its landing page before it.
    """
    wanted = "" if address == ADDRESSES[0] else address
    if wanted not in _PAGES:
        registered = (app if app._registered_pages else app.run())._registered_pages
        _PAGES.update({str(page.get("url_pathname")): key for key, page in registered.items()})
    app._page_hash = _PAGES[wanted]
    return app


def lines(app: AppTest) -> list[tuple[str, str, str]]:
    """Give the numbers that Today shows as lines: name, value and change."""
    rows = [row for one in app.get("html") for row in re.findall(r"<tr>(.*?)</tr>", str(one.proto.body))]
    found = [re.findall(r"<(?:th scope=.row.|strong|span)[^>]*>([^<]*)<", row) for row in rows]
    return [(unescape(a), unescape(b), unescape(c)) for a, b, c in (row for row in found if len(row) == 3)]
