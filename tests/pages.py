"""Open a page of the app in a test, by its address, and read the lines of Today."""

import functools
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from html import unescape
from unittest.mock import patch

from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import AppTest, app_test, local_script_runner
from streamlit.testing.v1.local_script_runner import LocalScriptRunner

from dashboard.shared import places

ADDRESSES = [sheet.address for sheet in places.SHEETS]
SUBJECTS = list(dict.fromkeys(sheet.subject for sheet in places.SHEETS))
WITHOUT_NUMBERS = {
    sheet.address for sheet in places.SHEETS if sheet.subject in ("data", "plan", "policies", "alerts", "subscriptions")
}

COMPILED = ScriptCache()


_scanned = functools.cache(manifest_scanner.scan_component_manifests)
_looked_for_the_end = local_script_runner.require_widgets_deltas


def _ended(runner: LocalScriptRunner, timeout: float) -> None:
    """Wait for the end of a run as AppTest does, but without looking a thousand times a second."""
    if runner._script_thread is not None:
        runner._script_thread.join(timeout)
    if not runner.script_stopped():
        _looked_for_the_end(runner, 0)


@contextmanager
def lightly_run() -> Iterator[None]:
    """Keep the scripts of the pages as they are compiled, and what AppTest looks for among installed packages."""
    with ExitStack() as stack:
        for runner in (app_test, local_script_runner):
            stack.enter_context(patch.object(runner, "ScriptCache", lambda: COMPILED))
        stack.enter_context(patch.object(manifest_scanner, "scan_component_manifests", _scanned))
        stack.enter_context(patch.object(local_script_runner, "require_widgets_deltas", _ended))
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
