"""The app in a real browser: what a click, a link and a file lead to, and nothing asked from outside this machine.

Every page, wide and narrow, in both themes, is looked at by tests/test_reach.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.shared.upload import rows
from pipelines.outputs import export
from pipelines.settings import Settings
from pipelines.sources.propose import propose
from pipelines.warehouse.build import current_id
from tests.browsing import Visit, served
from tests.conftest import copied


@pytest.fixture(scope="module")
def shop(tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The tiny shop, where views may be saved."""
    return copied(tiny_settings, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def address(shop: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, served from the tiny shop."""
    with served(shop.warehouse, tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def visit(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    found = Visit(browser, address, getattr(request, "param", 1440))
    yield found
    wrong = found.wrong()
    found.page.close()
    assert wrong == []


def test_a_link_restores_the_view(visit: Visit) -> None:
    visit.open("returns?lang=fr&period=90d&category=dresses&part=speed")
    pills = visit.page.locator(".st-key-filters")
    for pill in ("90 derniers jours", "Catégorie : Robes"):
        pills.get_by_text(pill).first.wait_for()
    assert visit.page.get_by_role("radio", name="Délai de retour").get_attribute("aria-checked") == "true"


def test_a_link_to_what_is_not_known_says_so(visit: Visit) -> None:
    visit.open("reasons?category=Robes&nonsense=1")
    said = visit.page.get_by_test_id("stAlert").all_inner_texts()
    assert [word in text for word, text in zip(("“Robes”", "“1”"), said, strict=True)] == [True, True]
    visit.page.wait_for_function("!location.search")


def test_a_filter_goes_into_the_link_and_to_the_next_page(visit: Visit) -> None:
    visit.open("returns")
    visit.page.get_by_role("button", name="More", exact=False).first.click()
    visit.page.get_by_label("Category").click()
    visit.page.get_by_role("option", name="Dresses").click()
    visit.page.keyboard.press("Escape")
    visit.page.wait_for_url("**category=dresses**")
    visit.settle()
    visit.page.keyboard.press("Escape")  # the options went with the first, their pill with this one
    visit.page.get_by_role("button", name="Money").first.click()
    visit.page.get_by_text("Where the margin went", exact=True).first.click()
    visit.page.wait_for_url("**/margin**category=dresses**")
    visit.settle()
    assert visit.exceptions() == []
    visit.page.get_by_role("button", name="Category: Dresses").click()
    visit.page.wait_for_function("!location.search.includes('category')")


def test_a_scenario_is_shared_by_its_link(visit: Visit) -> None:
    visit.open("try-policy")
    unchanged = visit.title()
    visit.page.get_by_label("Additional fee per return").click()
    visit.page.get_by_role("option", name="€2.00").click()
    visit.page.wait_for_function("told => document.querySelector('h1').innerText !== told", arg=unchanged)
    visit.settle()
    title, link = visit.title(), visit.page.url
    visit.page.goto("about:blank")
    visit.page.goto(link)
    visit.settle()
    assert visit.title() == title
    assert visit.chosen("Additional fee per return") == "€2.00"


def test_the_language_switch_keeps_the_filters(visit: Visit) -> None:
    visit.open("?period=90d")
    before = visit.title()
    visit.page.get_by_role("radio", name="FR").click()
    visit.page.wait_for_url("**lang=**")
    visit.page.wait_for_function("title => document.querySelector('h1').innerText !== title", arg=before)
    visit.settle()
    visit.page.reload()
    visit.settle()
    assert "90 derniers jours" in visit.page.locator(".st-key-filters").inner_text()


def test_a_bar_leads_to_its_rows_and_to_a_file_that_verifies(visit: Visit, tmp_path: Path) -> None:
    visit.open("carbon")
    bar = visit.page.locator(".stPlotlyChart .barlayer .point path").last
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    assert box
    visit.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    rows = visit.page.locator(".st-key-emissions_parts_rows button")
    visit.page.wait_for_function(
        "document.querySelector('.st-key-emissions_parts_rows button').innerText.includes('Rows:')"
    )
    chosen = rows.first.inner_text().split("Rows:")[1].strip()
    rows.first.click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_test_id("stDataFrame").wait_for()
    assert dialog.get_by_label("Group", exact=True).input_value() == chosen
    with visit.page.expect_download() as download:
        dialog.get_by_role("button", name="CSV", exact=True).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    checked = export.verify(path)
    assert checked.holds
    assert checked.rows > 0
    assert "activity = " in export.read_about(path)["filters"]
    dialog.get_by_label("Group", exact=True).click()
    visit.page.get_by_role("option", name="All", exact=True).click()
    dialog.get_by_text("Rows: 4").wait_for()  # legs E1 to E4
    visit.page.keyboard.press("Escape")
    visit.page.locator(".st-key-emissions_parts_clear button").first.click()
    visit.page.wait_for_function(
        "!document.querySelector('.st-key-emissions_parts_rows button').innerText.includes('Rows:')"
    )
    assert visit.exceptions() == []


def test_a_page_is_taken_away_as_pdf_and_its_chart_as_picture(visit: Visit) -> None:
    visit.open("carbon")
    for button, begins in (("This page as PDF", b"%PDF"), ("PNG", b"\x89PNG"), ("SVG", b"<?xml")):
        if begins != b"%PDF":
            visit.page.locator(".st-key-emissions_parts_export button").first.click()
        with visit.page.expect_download() as download:
            visit.page.get_by_role("button", name=button, exact=True).first.click()
        assert Path(download.value.path()).read_bytes().startswith(begins)
        visit.page.keyboard.press("Escape")


def test_a_file_dropped_in_an_empty_folder_leads_to_a_number(browser: Any, tmp_path: Path) -> None:
    """Of four order lines one came back.

    The column `wish` is taken for nothing: by the keyboard it becomes the day of the request.
    """
    (tmp_path / "orders.csv").write_text(
        "order line,SKU,units,net price,order date,return date,refund date,refund amount,wish\n"
        "L1,A,1,50.00,2025-10-01,2025-10-10,2025-10-12,60.00,2025-10-08\n"
        "L2,A,1,50.00,2025-10-02,,,,\nL3,B,1,40.00,2025-10-03,,,,\nL4,B,1,40.00,2025-10-05,,,,\n"
    )
    with served(tmp_path / "warehouse", tmp_path) as address:
        visit = Visit(browser, address, 390)
        visit.open("")
        visit.page.locator('input[type="file"]').set_input_files(tmp_path / "orders.csv")
        load = visit.page.get_by_role("button", name="Load", exact=True)
        load.wait_for()
        visit.settle()
        assert visit.overflow() <= 0
        _choose_column(visit, rows(propose(tmp_path / "orders.csv").tables[0]).index("requested_at"), "wish")
        visit.page.get_by_text("The mapping as a file").click()
        visit.page.get_by_text("requested: wish").wait_for()
        load.click()
        visit.page.get_by_text("Rows accepted and counted: 4.").wait_for()
        visit.settle()
        visit.open("returns")
        assert visit.exceptions() == []
        assert visit.page.locator('[data-testid="stMetricValue"]').first.inner_text() == "25.0%"
        visit.page.close()
        assert visit.asked - {"127.0.0.1", ""} == set()


def _choose_column(visit: Visit, row: int, column: str) -> None:
    """Choose the column of the file behind one of ours, by the keyboard."""
    visit.page.locator(".stDataFrameGlideDataEditor").first.click(position={"x": 250, "y": 55})
    for _ in range(row):
        visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    visit.page.locator("#portal input").wait_for()
    visit.page.keyboard.type(column)
    visit.page.locator("#portal").get_by_text(column, exact=True).wait_for()
    visit.page.keyboard.press("Enter")
    visit.settle()


def test_a_link_is_shared_and_a_view_saved_in_a_real_browser(shop: Settings, address: str, browser: Any) -> None:
    sender = Visit(browser, address, 1440)
    sender.open("returns?category=dresses&period=90d")
    sender.page.get_by_role("button", name="Share").click()
    shared = sender.page.locator("[data-testid=stCode]").inner_text().strip()
    title = sender.title()
    sender.page.keyboard.press("Escape")
    sender.page.get_by_role("button", name="Views").click()
    sender.page.get_by_label("Name").fill("Dresses, 90 days")
    sender.page.get_by_label("Name").press("Tab")
    sender.page.get_by_role("button", name="Save this view").click()
    link = sender.page.get_by_role("link", name="Dresses, 90 days")
    link.wait_for()
    sender.page.close()
    build = str(current_id(shop.warehouse))
    assert shared.startswith(f"{address}/returns?")
    assert f"build={build}" in shared
    reader = Visit(browser, address, 390)  # a page of its own: nothing of the first one's session
    reader.open(shared.removeprefix(f"{address}/"))
    assert reader.title() == title
    reader.page.get_by_role("button", name="Data of").wait_for()
    assert reader.overflow() <= 0
    reader.open("?build=000099-20260101T000000")
    assert "no longer kept" in reader.page.locator("[data-testid=stAlert]").first.inner_text()
    reader.open("")
    reader.page.get_by_role("button", name="Views").click()
    reader.page.get_by_role("link", name="Dresses, 90 days").click()
    reader.page.wait_for_url("**/returns?**category=dresses**")
    reader.settle()
    assert reader.title() == title
    assert reader.wrong() == []
    reader.page.close()
