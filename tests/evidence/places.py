"""The five places, walked in a real Chromium as each reader walks them.

From the first screen to what the reader came for: clicks are counted (a click into a field among them, typing not),
seconds are told and have no bar. A reader of one market tries every door; no request leaves this machine. Then what a
page of a large shop takes of the server.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dashboard.i18n import catalogue
from pipelines.load import load
from pipelines.outputs import closing
from pipelines.people import actions
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import current_id
from tests.browsing import PHONE, launched, served
from tests.evidence import Claim, _places_doors
from tests.evidence._places_walk import Walk
from tests.pages import ADDRESSES
from tests.test_upload import ORDERS

LINES = 6_000
SCREEN = {"viewport": {"width": 390, "height": 844}, **PHONE}
FIRST_ROW = {"x": 17, "y": 52}  # of a table, its box to tick


def claims() -> Iterator[Claim]:
    """Walk as every reader, then as one of a single market, count what left this machine, and take the times."""
    with tempfile.TemporaryDirectory() as place:
        both = _places_doors.shop(Path(place))
        with launched() as browser:
            yield from _walked(browser, Path(place), both)
        yield from _places_doors.elsewhere(both)


def _walked(browser: Any, folder: Path, both: Settings) -> Iterator[Claim]:
    walks: list[Walk] = []
    settings = Settings(warehouse=folder / "warehouse")
    write_sample(folder / "files", LINES, 20_260_131)
    load(settings, [folder / "files"])

    def walk(address: str, width: int = 1440, language: str = "en", **window: Any) -> Walk:
        walks.append(Walk(browser, address, width, language, **window))
        return walks[-1]

    (folder / "server").mkdir()
    with served(settings.warehouse, folder / "server") as address:
        yield from _executive(walk(address, 390, **SCREEN))
        yield _merchandiser(walk(address), settings, folder)
        yield _sustainability(walk(address), settings, folder)
        yield _operations(walk(address), folder)
        yield _finance(walk(address), folder)
        yield from _french(walk(address, language="fr", locale="fr-FR"), folder)
        yield _shared(walk(address), settings)
    yield _newcomer(walk, folder)
    yield from _places_doors.in_browser(walk, both, folder)
    yield _kept_here(walks)


def _executive(walk: Walk) -> Iterator[Claim]:
    walk.open("")
    seen = walk.first_screen()
    whole = " | ".join(seen)
    cards = walk.page.locator("[data-testid=stMain] .stButton button[kind=tertiary]").all_inner_texts()
    texts = set(seen) - {walk.title().split("\n")[0].strip()}  # a signal further down says the answer once more
    offered = sum(label.split("\n")[-1] in texts for label in cards)
    lines = walk.page.locator("[data-testid=stHtml] tbody tr").count()
    shown = sum(name in seen for name in walk.page.locator("[data-testid=stHtml] tbody th").all_inner_texts())
    answered = walk.title().split("\n")[0].strip() in whole
    yield walk.claim(
        "Executive on a phone (390 x 844): the answer and the first action stand on the first screen",
        0,
        f"{offered} actions and {shown} of {lines} lines on it",
        is_there=answered and offered >= 1,
    )
    yield Claim("The first screen of Today at 390 x 844, as a reader sees it", "some text", whole, bool(seen))
    first = walk.page.locator("[data-testid=stMain] .stButton button[kind=tertiary]").first
    label = first.inner_text().split("\n")[-1]
    walk.click(first)
    walk.page.wait_for_url(lambda url: not url.rstrip("/").endswith(walk.address.rsplit(":", 1)[1]))
    walk.settle()
    yield walk.claim(
        "Executive on a phone: the first action leads to where it is done",
        1,
        f"“{label}” leads to “{walk.title()}”",
        is_there=bool(walk.title()),
    )


def _merchandiser(walk: Walk, settings: Settings, folder: Path) -> Claim:
    walk.open("")
    walk.turn("returns", "product")
    product, why = walk.title(), walk.page.get_by_text(catalogue("en")["products.reasons"], exact=True).count()
    walk.click(walk.button("actions.form"), walk.button("actions.log"))
    walk.write("actions.owner", "Nadia", "Enter")
    walk.page.get_by_text(walk.said("actions.logged")).first.wait_for()
    walk.click(walk.link("actions.to_effect"), walk.page.get_by_text(catalogue("en")["actions.title"], exact=True))
    walk.click(walk.button("rows.export"), walk.button("rows.xlsx"))
    found = pd.read_excel(walk.take(walk.button("rows.xlsx"), folder), engine="openpyxl")
    (logged,) = actions.actions(settings)
    carried = logged.scope.get("style_id", ())
    return walk.claim(
        "Merchandiser: the worst product, why, an action that carries the product along, the list as Excel",
        8,
        f"“{product}”; action {logged.action_id} on {', '.join(carried)}, of {logged.owner}; {len(found)} row in Excel",
        is_there=why == 1 and len(carried) == 1 and logged.owner == "Nadia" and len(found) == 1,
    )


def _sustainability(walk: Walk, settings: Settings, folder: Path) -> Claim:
    walk.open("carbon")
    total = walk.title()
    walk.click(walk.page.get_by_role("radio", name=catalogue("en")["emissions.tab_trace"]))
    formula = walk.page.get_by_test_id("stCode")
    walk.click(walk.page.locator(".stDataFrameGlideDataEditor"), formula, position=FIRST_ROW)
    made_of = formula.first.inner_text().strip()
    walk.turn("carbon", "close")
    walk.write("emissions.approver", "A. Martin", "Enter")
    walk.page.get_by_text(walk.said("emissions.close_done")).first.wait_for()
    book = walk.take(walk.button("emissions.report_xlsx"), folder)
    sheets = pd.ExcelFile(book, engine="openpyxl").sheet_names
    (closed,) = closing.closed(settings)
    return walk.claim(
        "Sustainability: from the total to the formula of one leg, a month closed in the page, the workbook",
        6,
        f"“{total}”; {made_of.splitlines()[0]}; {closed.month} closed by {closed.approver}; {len(sheets)} sheets",
        is_there="=" in made_of and closed.is_intact and closed.approver == "A. Martin" and len(sheets) > 5,
    )


def _tick(walk: Walk, folder: Path) -> pd.DataFrame:
    """Go from Today's first action to the list, tick all of it, and take what is done as Excel."""
    walk.open("")
    walk.click(walk.link("do.refund"), walk.page.get_by_text(walk.said("work.choose_all")))
    walk.click(walk.page.get_by_text(walk.said("work.choose_all")), walk.button("work.tick"))
    walk.click(walk.button("work.tick"), walk.page.get_by_text(walk.said("work.saved")))
    done = walk.page.get_by_role("radio", name=catalogue(walk.language)["work.show_done"], exact=True)
    walk.click(done, walk.page.get_by_text(walk.said("work.choose_all")))
    exports = walk.page.locator("[class*=st-key-work_refunds-due_export] button")
    walk.click(exports, walk.button("rows.xlsx"))
    return pd.read_excel(walk.take(walk.button("rows.xlsx"), folder), engine="openpyxl")


def _operations(walk: Walk, folder: Path) -> Claim:
    found = _tick(walk, folder)
    return walk.claim(
        "Operations: from Today to the refunds that are late by law, all ticked, the list as Excel",
        6,
        f"{len(found)} refunds, {int(found['state'].eq('done').sum())} done in the file",
        is_there=len(found) > 0 and found["state"].eq("done").all() and "due_at" in found,
    )


def _finance(walk: Walk, folder: Path) -> Claim:
    walk.open("")
    walk.turn("money", "book")
    journal = walk.button("accounts.journal_file")
    walk.click(walk.page.get_by_role("radio", name=catalogue("en")["accounts.tab_roll"]), journal)
    month = walk.chosen(catalogue("en")["accounts.roll_month"])
    found = pd.read_csv(walk.take(journal, folder), comment="#")
    debit, credit = (round(float(found[side].sum()), 2) for side in ("debit", "credit"))
    return walk.claim(
        "Finance: last month's roll-forward and its journal as CSV",
        4,
        f"{month}: {len(found)} entries, debit {debit:,.2f}, credit {credit:,.2f}",
        is_there=len(found) > 0 and debit == credit > 0,
    )


def _newcomer(walk: Callable[..., Walk], folder: Path) -> Claim:
    new = folder / "new"
    new.mkdir()
    (new / "orders.csv").write_bytes(ORDERS)
    with served(new / "warehouse", new) as address:
        visitor = walk(address)
        visitor.open("")
        with visitor.page.expect_file_chooser() as chooser:
            visitor.page.get_by_test_id("stFileUploader").get_by_text("Upload", exact=True).click()
        visitor.clicks += 1
        chooser.value.set_files(new / "orders.csv")
        load_it = visitor.button("upload.load")
        load_it.wait_for()
        visitor.settle()
        number = visitor.page.locator("[data-testid=stHtml] tbody tr").first
        visitor.click(load_it, number)
        told = [
            " ".join(row.split()) for row in visitor.page.locator("[data-testid=stHtml] tbody tr").all_inner_texts()
        ]
        return visitor.claim(
            "Newcomer: from the shop's own CSV to a number, by upload",
            5,
            f"{'; '.join(told)}",
            is_there={"3 units", "5 units"} <= {part for line in told for part in re.findall(r"\d units", line)},
        )


def _french(walk: Walk, folder: Path) -> Iterator[Claim]:
    found = _tick_in_french(walk, folder)
    yield found
    english = {text for text in catalogue("en").values() if len(text) >= 12 and "{" not in text}
    english -= set(catalogue("fr").values())
    left, languages = list[str](), set[str]()
    for name in ADDRESSES:
        walk.open(f"{name if name != ADDRESSES[0] else ''}?lang=fr")
        lines = {line.strip() for line in walk.page.locator("body").inner_text().splitlines()}
        left += [f"{name}: {text}" for text in sorted(lines & english)]
        languages.add(str(walk.page.evaluate("document.documentElement.lang")))
    wrong = walk.wrong()
    yield Claim(
        "French reader: every page says that it is French, and no line of it is a sentence of the English catalogue",
        "0 lines, one language",
        f"{len(ADDRESSES)} pages, {len(left)} lines{': ' + left[0] if left else ''}, {', '.join(sorted(languages))}",
        not left and languages == {"fr"} and not wrong,
    )


def _tick_in_french(walk: Walk, folder: Path) -> Claim:
    """The list was ticked before: what is open again is to do, and what is done is taken."""
    walk.open("")
    title = walk.title()
    walk.turn("refunds", "late")
    done = walk.page.get_by_role("radio", name=catalogue("fr")["work.show_done"], exact=True)
    every = walk.page.get_by_text(walk.said("work.choose_all"))
    walk.click(done, every)
    walk.click(every, walk.button("work.reopen"))
    walk.click(walk.page.locator("[class*=st-key-work_refunds-due_export] button"), walk.button("rows.xlsx"))
    found = pd.read_excel(walk.take(walk.button("rows.xlsx"), folder), engine="openpyxl")
    return walk.claim(
        "French reader: a browser in French opens Today in French; the list of what is done, as Excel",
        6,
        f"“{title}”; {len(found)} rows",
        is_there=len(found) > 0 and walk.page.evaluate("document.documentElement.lang") == "fr",
    )


def _shared(sender: Walk, settings: Settings) -> Claim:
    sender.open("returns?category=dresses&period=90d")
    sender.click(sender.page.get_by_role("button", name="Share"), sender.page.get_by_test_id("stCode"))
    link = sender.page.get_by_test_id("stCode").first.inner_text().strip()
    title = sender.title()
    with launched(sender.context.browser) as other:
        reader = Walk(other, sender.address)
        reader.open(link.removeprefix(f"{sender.address}/"))
        pinned = reader.page.get_by_role("button", name="Data of").count()
        is_same = reader.title() == title and f"build={current_id(settings.warehouse)}" in link and pinned == 1
        sender.asked |= reader.asked
        sender.complaints += reader.wrong()
    return sender.claim(
        "A shared link in a fresh browser: the same finding, pinned to its days and its build",
        1,
        f"“{title}” in both",
        is_there=is_same,
    )


def _kept_here(walks: list[Walk]) -> Claim:
    outside = sorted(set[str]().union(*(walk.outside() for walk in walks)))
    requests = sum(walk.requests for walk in walks)
    return Claim(
        f"Requests of the browsers that leave this machine, in {len(walks)} walks",
        "0",
        f"{len(outside)} of {requests:,}{': ' + ', '.join(outside) if outside else ''}",
        not outside and requests > 100,
    )
