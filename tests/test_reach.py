"""The pages for everybody: what axe finds, what the keyboard reaches, what is left at 200%, tables beside charts.

What is tested how, and what does not hold, stands in docs/accessibility.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.app_pages.today.overview import figures
from dashboard.i18n import Words
from dashboard.shared import charts
from dashboard.shared.twin import twin
from pipelines.settings import Settings
from tests import looks
from tests.browsing import Visit, served, settled
from tests.pages import ADDRESSES, turn
from tests.turns import IS_WHOLE, by_turns, left_to_proofs

HOME = Path(dashboard.__file__).parent
GRAVE = ("serious", "critical")


def test_a_table_says_what_the_marks_of_a_chart_say() -> None:
    words = Words("en")
    rates = pd.DataFrame({"label": ["FR", "DE"], "value": [0.25, 0.3], "low": [0.2, None], "high": [0.3, None]})
    ranked = twin(charts.ranked(rates, words, "share", "Share", "country"), words)
    assert ranked.to_numpy().tolist() == [["France", "25.0% (20.0% – 30.0%)"], ["Germany", "30.0%"]]
    parts = pd.DataFrame({"label": ["a", "a"], "part": ["x", "y"], "value": [1.0, 2.0]})
    stacked = twin(charts.stacked(parts, words, "units", "", "", ""), words)
    assert stacked.to_numpy().tolist() == [["X", "A", "1 unit"], ["Y", "A", "2 units"]] or len(stacked) == 2
    flow = pd.DataFrame({"source": ["sold", "sold"], "target": ["kept", "returned"], "units": [8, 2]})
    assert twin(figures.flow(flow, words), words).iloc[:, -1].tolist() == ["8", "2"]
    cells = go.Figure()
    charts.cells_of(cells, [[0.5, None]], ["S", "M"], ["Red"], [["50%", ""]])
    assert twin(cells, words).to_numpy().tolist() == [["Red, S", "50%"]]


def _button(app: AppTest, key: str) -> Any:
    return next((one for one in app.button if one.key == key), None)


def test_a_click_shows_the_table_and_another_hides_it(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(tiny_settings.warehouse))
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=600)
    turn(app, "carbon").run()
    assert not app.table
    _button(app, "emissions_parts_table_button").click().run()
    (table,) = app.table
    assert "Transport" in str(table.value)
    _button(app, "emissions_parts_table_button").click().run()
    assert not app.table
    assert not app.exception


@pytest.fixture(scope="module")
def address(tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tiny_settings.warehouse, tmp_path_factory.mktemp("reached")) as found:
        yield found


def axe_of() -> Any:
    """Give axe; skip, loudly, where it is not installed."""
    return pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="missing tool: axe-playwright-python"
    ).Axe()


ZOOMED = {1440: 720, 390: 320}
"""The window that 200% leave of 1440 pixels; 400% of 1280 are read in one column."""
TOO_WIDE = """() => Math.max(...['[data-testid=stMain]', 'html'].map((s) => document.querySelector(s))
  .map((e) => e.scrollWidth - e.clientWidth))"""


@dataclass
class Walk:
    """What was seen on every address in a window."""

    window: looks.Window
    wrong: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)
    grave: list[str] = field(default_factory=list)
    looked: int = 0
    seen: dict[str, dict[str, looks.Blocks]] = field(default_factory=lambda: {theme: {} for theme in looks.THEMES})


def narrowed(page: Any) -> int:
    """Give how many pixels a page is too wide once what is drawn has followed its window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    try:
        page.wait_for_function(f"({TOO_WIDE})() <= 0")
    except sync_api.TimeoutError:
        return int(page.evaluate(TOO_WIDE))
    return 0


def looked_at(page: Any, axe: Any) -> tuple[int, list[str]]:
    """Give how many rules of axe a page passes and what it finds; what is still being drawn is looked at again."""
    told: list[str] = []
    for _ in range(4):
        settled(page)
        answer = axe.run(page).response
        grave = [one for one in answer["violations"] if one["impact"] in GRAVE or one["id"] == "heading-order"]
        told = [f"{one['id']}: {n['html'][:160]} {n['failureSummary'][:120]}" for one in grave for n in one["nodes"]]
        if not told:
            break
        page.wait_for_timeout(3000)
    return len(answer["passes"]), told


@pytest.fixture(scope="module", params=looks.WINDOWS, ids=lambda window: f"{window.width}-{window.language}")
def walk(request: pytest.FixtureRequest, address: str, browser: Any) -> Walk:
    """Open every address once; look at it in a theme (the other in the other window), axe in one window; then zoomed.

    The proofs look at it in both themes, and axe in both windows.
    """
    axe, found = axe_of(), Walk(request.param)
    visit = found.window.visit(browser, address)
    page, width = visit.page, found.window.width
    turn = looks.WINDOWS.index(found.window)
    for number, name in enumerate(ADDRESSES, turn):
        themes = by_turns(looks.THEMES, 2, number)
        for theme in looks.opened(visit, found.window, name, themes):
            is_axed = IS_WHOLE or (number - turn) // 2 % 2 == turn  # each window in each theme
            if theme == looks.THEMES[number % 2] and is_axed:
                passes, told = looked_at(page, axe)
                found.looked += passes > 15
                found.grave += [f"{name}, {theme}: {one}" for one in told]
            found.seen[theme][name] = looks.look(page)
        found.wrong += [f"{name}: {one}" for one in visit.exceptions()]
        found.wrong += [f"{name} has no title"] * (not visit.title())
        for window in (width, ZOOMED[width]):
            page.set_viewport_size({"width": window, "height": looks.HEIGHT})
            visit.settle()
            wide = narrowed(page)
            found.wide += [f"{name} is {wide} px wider than {window}"] if wide > 0 else []
        page.set_viewport_size({"width": width, "height": looks.HEIGHT})
    found.wrong += visit.wrong()
    page.close()
    return found


def test_every_page_opens_and_asks_nothing_from_outside(walk: Walk) -> None:
    assert walk.wrong == []


@pytest.mark.parametrize("theme", looks.THEMES)
def test_every_page_looks_as_it_did(walk: Walk, theme: str) -> None:
    """Where a page is meant to look otherwise: `python -m tests.looks`, and look at the sheets it draws."""
    known = looks.kept(walk.window, theme)
    assert len(walk.seen[theme]) >= len(ADDRESSES) // 2
    apart = {name: looks.apart(seen, known[name]) for name, seen in walk.seen[theme].items()}
    assert {name: share for name, share in apart.items() if share > looks.MOST} == {}


def test_a_page_without_its_chart_or_of_the_other_theme_looks_otherwise(address: str, browser: Any) -> None:
    window = looks.WINDOWS[0]
    visit = window.visit(browser, address)
    page, known = visit.page, {theme: looks.kept(window, theme)["returns"] for theme in looks.THEMES}
    for theme in looks.opened(visit, window, "returns"):
        assert looks.apart(looks.look(page), known[theme]) <= looks.MOST
    assert looks.apart(looks.look(page), known["light"]) > 0.5
    page.evaluate("document.querySelector('[data-testid=stPlotlyChart]').remove()")
    assert looks.apart(looks.look(page), known["dark"]) > looks.MOST
    page.close()


def test_axe_finds_nothing_grave_on_any_page(walk: Walk) -> None:
    print(f"axe, {walk.window.width} px: pages {walk.looked}, grave {len(walk.grave)}")
    assert walk.grave == []
    assert walk.looked >= len(ADDRESSES) // (1 if IS_WHOLE else 2) - 1


def test_every_page_fits_the_window_zoomed_too(walk: Walk) -> None:
    assert walk.wide == []


def test_axe_finds_a_fault_that_is_there(address: str, browser: Any) -> None:
    axe, visit = axe_of(), Visit(browser, address, 1440)
    visit.open("returns")
    page = visit.page
    pale = "position:fixed;top:0;left:0;z-index:999999;margin:0;background:#fff;color:#bbb"
    faults = f'<button></button><p style="{pale}">pale</p>'
    page.evaluate("(faults) => document.body.insertAdjacentHTML('beforeend', faults)", faults)
    found = {one["id"] for one in axe.run(page).response["violations"] if one["impact"] in GRAVE}
    page.close()
    assert found == {"button-name", "color-contrast"}


def test_the_page_says_its_language(address: str, browser: Any) -> None:
    visit = Visit(browser, address, 1440)
    page, said = visit.page, "document.documentElement.lang"
    visit.open("returns?lang=fr")
    page.wait_for_function(f"{said} === 'fr'")
    page.get_by_role("radio", name="EN").click()
    page.wait_for_function(f"{said} === 'en'")
    page.get_by_role("radio", name="FR").click()
    page.wait_for_function(f"{said} === 'fr'")
    assert page.title()
    page.close()


CONTROLS = (
    "a[href], button, input, select, textarea, summary, [tabindex='0'], [role=radio], [role=checkbox], [role=switch]"
)
REACHABLE = f"""() => {{
  const seen = (e) => e.checkVisibility({{ visibilityProperty: true, opacityProperty: false }}) && !e.disabled
    && e.tabIndex >= 0 && !e.closest('[aria-hidden=true], [inert]');
  const one = (e) => e.getAttribute('role') === 'radio' || e.type === 'radio'
    ? e.closest('[role=radiogroup]') : e;
  window.wanted = [...new Set([...document.querySelectorAll("{CONTROLS}")].filter(seen).map(one))];
  window.reached = new Set();
  window.unseen = [];
  return window.wanted.length;
}}"""
NOTED = """() => {
  const looks = (e) => { let s = ''; for (let x = e, i = 0; x && i < 5; x = x.parentElement, i++) {
    const c = getComputedStyle(x);
    s += [c.outlineStyle, c.outlineColor, c.boxShadow, c.borderColor, c.backgroundColor, c.color, c.textDecoration]; }
    return s; };
  if (window.last && looks(window.last.e) === window.last.s) window.unseen.push(window.last.e.outerHTML.slice(0, 160));
  const e = document.activeElement;
  const drawsItself = !e || e.matches('body, main, canvas, canvas *') || e.querySelector('canvas');
  window.last = drawsItself ? null
    : { e, s: looks(e) };
  const at = window.wanted.find((w) => w === e || (w && w.getAttribute('role') === 'radiogroup' && w.contains(e)));
  if (at) window.reached.add(at);
}"""
"""What has the focus looks otherwise without it; a table draws its focus on its canvas, and `main` only scrolls."""


@pytest.mark.parametrize(
    "name", ["today", "returns", "try-policy", "add", *map(left_to_proofs, ("products", "delays", "carbon"))]
)
def test_the_keyboard_reaches_every_control_and_shows_where_it_is(address: str, browser: Any, name: str) -> None:
    visit = Visit(browser, address, 1440)
    page = visit.page
    visit.open(name if name != ADDRESSES[0] else "")
    page.add_style_tag(content="*, *::before, *::after { transition: none !important; animation: none !important }")
    wanted = page.evaluate(REACHABLE)
    for _ in range(3 * wanted + 20):
        page.keyboard.press("Tab")
        page.evaluate(NOTED)
        if page.evaluate("window.reached.size === window.wanted.length"):
            break
    missed = page.evaluate("window.wanted.filter((w) => !window.reached.has(w)).map((w) => w.outerHTML.slice(0, 160))")
    unseen = page.evaluate("[...new Set(window.unseen)]")
    page.close()
    assert missed == []
    assert unseen == []
    assert wanted > 10
