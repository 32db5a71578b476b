"""Make what a subscription sends, in a process of its own: `pipelines.subscriptions` asks by JSON and is answered so.

The page is run as it is for its reader, who is looked up in the file of readers here and now: what is sent is what they
would see and may take away. A page that never ends or fails costs a subscription and nothing else.
"""

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from streamlit.testing.v1 import AppTest

from dashboard.i18n import Words
from dashboard.shared import access, places, queries, rows_behind, take_away
from dashboard.shared.filters import View
from pipelines.access import OWNER, Reader, load_readers
from pipelines.errors import AccessError, BackhaulError
from pipelines.outputs.export import MIME
from pipelines.settings import Settings
from pipelines.why import why

LIST_OF = {"late": "refunds_due_soon", "products": "product_return_rate", "book": "refunds_owed"}
"""The number that the list of a page is of: refunds due, products by money, what to book by month."""
LINES = 12  # of a message; all of them stand on the page
MOST_SECONDS = 500


def main() -> None:
    """Answer what standard input asks for."""
    asked = json.load(sys.stdin)
    try:
        answer = made(asked)
    except BackhaulError as error:
        answer = {"problem": str(error)}
    json.dump(answer, sys.stdout)


def reader_of(name: str) -> Reader:
    """Give whose subscription it is, as the file says now: the owner without a name; raises AccessError for nobody."""
    found = load_readers(Settings()).named(name) if name else OWNER
    if found is None or found.kind == "key":
        raise AccessError(why("reader_gone", reader=name))
    return found


def made(asked: dict[str, Any]) -> dict[str, Any]:
    """Run the page and give what is sent: sentence, lines, days and build, and the file that goes along."""
    reader = reader_of(asked["reader"])
    if asked["file"] != "none" and not reader.may("export"):
        raise AccessError(why("not_allowed", role=reader.role, right="export"))
    access.read_as(reader)
    app = AppTest.from_file(str(Path(__file__).with_name("subscribed_page.py")), default_timeout=MOST_SECONDS)
    app.session_state["subscribed"] = asked["page"]
    for name, codes in (asked["codes"] | {"lang": [asked["language"]]}).items():
        app.query_params[name] = codes
    app.run()
    if app.exception:
        raise BackhaulError(why("page_failed", problem=app.exception[0].message))
    if "view" not in app.session_state:
        raise BackhaulError(why("page_failed", problem=" ".join(str(one.value) for one in app.error)))
    if unknown := app.session_state["subscribed_unknown"]:  # without a filter it would be more than was asked for
        raise AccessError(why("not_on_page", codes=", ".join(f"{name}={code}" for name, code in unknown)))
    said, view = app.session_state["page_said"], app.session_state["view"]
    words, sheet = view.words, places.sheet(asked["page"])
    name = places.whole_title(words, sheet)
    return {
        "subject": take_away.plain(words("subscriptions.subject", page=name, said=said.title or name)),
        "paragraphs": [said.title or name, *_lines(words, said), take_away.of_view(view, sheet)],
        "link_label": words("subscriptions.open"),
        "days": [view.since.isoformat(), view.until.isoformat()],
        "build": view.source.build_id,
        "file": _file(view, sheet, said, asked["file"]),
    }


def _lines(words: Words, said: take_away.Page) -> list[str]:
    """Write each number in a line: its name, value, interval and change."""
    found = []
    for label, value, interval, note in said.lines.values():
        more = "; ".join(filter(None, (interval, note)))
        found.append(f"- {words.pair(label, value)}{f' ({more})' if more else ''}")
    left = len(found) - LINES
    return [*found[:LINES], *([words("subscriptions.more", n=words.number(left))] if left > 0 else [])]


def _file(view: View, sheet: places.Sheet, said: take_away.Page, form: str) -> dict[str, str] | None:
    """Make the file that goes along: the page as PDF, or its list as a table."""
    if form == "none":
        return None
    day = view.until.isoformat()
    if form == "pdf":
        of, label = take_away.of_view(view, sheet), queries.opened(view.source).label
        content, mime = take_away.pdf(said, of, label, view.words.language), "application/pdf"
    else:
        content, mime = _table(view, sheet, form), MIME[form]
    return {
        "name": f"backhaul-{sheet.address}-{day}.{form}",
        "mime": mime,
        "base64": base64.b64encode(content).decode(),
    }


def _table(view: View, sheet: places.Sheet, form: str) -> bytes:
    from dashboard.app_pages.money.accounts import data as accounts

    key, asked = LIST_OF[sheet.address], view.asked
    lists: dict[str, Callable[[queries.PageQuestion], pd.DataFrame]]
    lists = {"late": queries.due, "products": queries.ranking, "book": lambda one: accounts.accrual(one, "month")}
    behind = queries.DrillDown(key, is_dated=sheet.address == "products")
    title = places.whole_title(view.words, sheet)
    return rows_behind.file_of_seen(asked, title, behind, lists[sheet.address](asked), form, view.words.language)


if __name__ == "__main__":
    main()
