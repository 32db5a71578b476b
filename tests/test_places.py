"""The rules that hold on every page, walked: every address and part, in both languages, whole and under a filter.

What is read comes from the app: titles, texts, tiles, tables, lines and links. Each rule gives its findings; there
are none.
"""

import os
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.app_pages.today.overview import figures
from dashboard.app_pages.today.overview.signals import FEWEST, behind
from dashboard.i18n import Words
from dashboard.shared import frames, places, settled, take_away
from pipelines import analyses
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests import page_rules
from tests.conftest import TINY_SHOP, fresh, write_shop
from tests.pages import ADDRESSES, lines, turn
from tests.turns import by_turns, left_to_proofs

HOME = Path(dashboard.__file__).parent
VIEWS: tuple[dict[str, str], ...] = ({}, {"category": "dresses", "period": "6m"})
CODE = re.compile(r"\b[a-z]{2,}_[a-z_]{2,}\b|\bNone\b|\bnan\b|\bNaT\b")
"""A code word, or what Python writes for nothing."""
OF_FILES = ("definitions", "add", "checks", "sources")
"""Addresses whose subject is files, columns and keys: their names stand there as they are."""


@dataclass(frozen=True)
class Seen:
    """One page as it came: where, in which language and view, and the app."""

    address: str
    part: str
    language: str
    view: dict[str, str]
    app: AppTest

    @property
    def at(self) -> str:
        """Name it."""
        return f"{self.language} {self.address}/{self.part} {self.view}"


def walk(settings: Settings, language: str, view: dict[str, str]) -> Iterator[Seen]:
    """Open every address and each of its parts."""
    with patch.dict(os.environ, BACKHAUL_WAREHOUSE=str(settings.warehouse)):
        app = AppTest.from_file(str(HOME / "app.py"), default_timeout=600)
        for name, code in {"lang": language, **view}.items():
            app.query_params[name] = code
        for address in ADDRESSES:
            turn(app, address).run()
            yield Seen(address, "", language, view, app)
            for part in places.BY_ADDRESS[address].parts[1:]:
                next(c for c in app.get("button_group") if c.key == "part").set_value(part)
                app.run()
                yield Seen(address, part, language, view, app)


def texts(app: AppTest) -> list[str]:
    """Everything written on a page but code."""
    kinds = ("title", "header", "caption", "markdown", "info", "success", "warning", "error")
    said = [str(e.value) for kind in kinds for e in getattr(app, kind)]
    return [*said, *(f"{m.label} {m.value} {m.delta}" for m in app.metric)]


def shown(app: AppTest) -> Iterator[tuple[Any, list[str]]]:
    """Give each table of a page with the columns that it shows."""
    for table in app.dataframe:
        yield table, list(table.proto.column_order)


def cells(table: Any) -> list[str]:
    """Give the texts of a table as they are shown."""
    return [str(v) for column in table.value for v in table.value[column] if isinstance(v, str)]


def of_page(seen: Seen) -> list[str]:
    """Give what is wrong on a page; one in three has its files made, whole in English, another filtered in French."""
    app, found = seen.app, []
    found += [f"error: {e.value}" for e in (*app.exception, *app.error)]
    found += ["no title"] if not app.title or not app.title[0].value else []
    question = Words(seen.language)(f"question.{seen.address}")
    asked = [*(caption.value for caption in app.caption), *(title.proto.help for title in app.title)]
    found += ["its question is not said"] if not seen.part and not seen.view and question not in asked else []
    if seen.address not in OF_FILES:
        plain = [re.sub(r"`[^`]*`|:material/\w+:", "", text) for text in texts(app)]
        found += [f"code word {m[0]!r} in {text[:80]!r}" for text in plain if (m := CODE.search(text))]
    found += [f"{len(order)} columns" for _, order in shown(app) if len(order) > frames.MOST]
    found += [f"None in {order}" for table, order in shown(app) if "None" in cells(table)]
    registered = app._registered_pages
    links = [e.proto for e in app.get("page_link")]
    found += [f"dead link {one.label}" for one in links if one.page_script_hash not in registered]
    known = {"lang", "part", *seen.view}
    found += [f"{name} is not in the address" for name in seen.view if name not in app.query_params]
    found += [f"unknown {name} in the address" for name in app.query_params if name not in known]
    if bool(seen.view) == (seen.language == "fr") and seen.address in by_turns(ADDRESSES, 3, bool(seen.view)):
        found += of_its_files(app)
    return [f"{seen.at}: {one}" for one in found]


def of_its_files(app: AppTest) -> list[str]:
    """Give what is wrong with the PDF of a page and the pictures of its charts."""
    page = app.session_state["page_said"]
    found = [f"{m.label} is not in the PDF" for m in app.metric if take_away.plain(m.label) not in page.lines]
    charts = [one.proto.id for one in app.get("plotly_chart")]
    kept = [part for part in page.parts.values() if isinstance(part.shown, dict)]
    found += [f"{len(charts)} charts, {len(kept)} of them kept"] if len(charts) != len(kept) else []
    found += ["a chart is no picture" for part in kept if not take_away.picture(part, "png").startswith(b"\x89PNG")]
    if page.lines or page.parts:
        made = take_away.pdf(page, "All", "1", "en")
        found += ["no PDF"] if not made.startswith(b"%PDF") else []
        found += ["the PDF is not offered"] if not any(b.key == "page_pdf" for b in app.get("download_button")) else []
    return found


@pytest.mark.parametrize(
    ("language", "view"),
    [("en", VIEWS[0]), ("fr", VIEWS[1]), left_to_proofs("fr", VIEWS[0]), left_to_proofs("en", VIEWS[1])],
    ids=["en-whole", "fr-filtered", "fr-whole", "en-filtered"],
)
def test_every_page_keeps_the_rules(tiny_settings: Settings, language: str, view: dict[str, str]) -> None:
    """A page alone, and together: a label of a tile has one value in one view, on whichever page it stands.

    Whole in one language and filtered in the other; the proofs walk both in both.
    """
    found, looked, shown_charts = [], 0, 0
    values: dict[str, set[str]] = {}
    with page_rules.recorded() as rests, page_rules.charted() as drawn:
        for seen in walk(tiny_settings, language, view):
            found += of_page(seen)
            found += [f"{seen.at}: {one}" for one in page_rules.of_rules(seen.app, rests)]
            found += [f"{seen.at}: {one}" for one in page_rules.of_charts(seen.app, drawn)]
            shown_charts += len(drawn)
            drawn.clear()
            for metric in seen.app.metric:
                values.setdefault(re.sub(r":orange\[[^]]*\] ", "", metric.label), set()).add(str(metric.value))
            looked += 1
    print(f"{language}, {view or 'whole'}: views {looked}, findings {len(found)}")
    assert found == []
    assert looked == sum(max(len(sheet.parts), 1) for sheet in places.SHEETS)
    assert view or {label: several for label, several in values.items() if len(several) > 1} == {}
    assert view or len(values) > 20
    assert view or shown_charts > 25


def test_a_mark_that_is_chosen_filters_every_page_and_a_chip_takes_it_back(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(tiny_settings.warehouse))
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=600)
    turn(app, "margin").run()
    app.session_state["erosion_mark"] = ["dresses", "resold_as_new"]
    next(c for c in app.get("button_group") if c.key == "part").set_value("goods")
    app.run()
    app.button(key="erosion_filter").click().run()
    assert not app.exception
    assert app.query_params["category"] in ("dresses", ["dresses"])
    turn(app, "returns").run()
    assert app.query_params["category"] in ("dresses", ["dresses"])
    app.button(key="chip_category").click().run()
    assert "category" not in app.query_params


def test_today_shows_five_lines_and_three_cards(sample_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(sample_settings.warehouse))
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=600).run()
    assert not app.exception
    shown_lines = lines(app)
    assert len(shown_lines) == 5
    assert all(re.search(r"\d", value) for _, value, _ in shown_lines)
    owners = [c.value for c in app.caption if str(c.value).startswith(Words("en")("do.owner"))]
    assert len(owners) == 3


def weeks(*rows: tuple[int, int, str, bool]) -> pd.DataFrame:
    """Give a control chart: kept, due, signal, young."""
    return pd.DataFrame(
        {
            "week": pd.date_range("2026-01-05", periods=len(rows), freq="7D"),
            "kept": [row[0] for row in rows],
            "n": [row[1] for row in rows],
            "centre": 0.6,
            "signal": [row[2] for row in rows],
            "is_young": [row[3] for row in rows],
            "caution": "",
            "reason": "",
        }
    )


def test_a_promise_is_behind_since_the_first_week_that_lasts() -> None:
    words, good, bad, young = Words("en"), (18, 30, "", False), (6, 30, "below", False), (0, 30, "", True)
    found = behind(words, "legal_refund", weeks(good, bad, good, bad, bad, young), 50.0)
    assert found is not None
    assert found.finding.sentence.endswith("behind since 26 Jan 2026, 20% kept since then, 60% before")
    assert (found.is_of_law, found.money) == (True, 50.0)
    assert behind(words, "legal_refund", weeks(bad, good, young), 50.0) is None  # it ended
    assert behind(words, "legal_refund", weeks(good, (1, FEWEST - 1, "below", False)), 50.0) is None  # too few


def test_months_that_still_move_are_dotted() -> None:
    line = figures.Line("Rate", "29%", "+1 pt", "gray", (0.2, 0.3, 0.25), (False, False, True))
    for is_narrow in (False, True):
        drawn = figures.lines([line], ["a", "b", "c", "d"], "so far", is_dark=False, is_narrow=is_narrow)
        svg = b64decode(re.findall(r"base64,([^\"]+)", drawn)[0]).decode()
        solid, dotted = re.findall(r"<polyline [^>]+>", svg)
        assert ("dasharray" in dotted, "dasharray" in solid) == (True, False)
        assert re.findall(r"points=\"(\S+ )?(\S+)\"", solid)[0][1] in dotted  # the tail goes on from the line
        assert 'alt="Rate (so far)"' in drawn
        assert drawn.count("<td") == (2 if is_narrow else 3)


@pytest.mark.parametrize(
    ("language", "number", "day"), [("en", "1,234.5", "5 Jan 2026"), ("fr", "1 234,5", "5 janv. 2026")]
)
def test_a_table_writes_numbers_and_days_in_the_readers_language(language: str, number: str, day: str) -> None:
    from dashboard.shared import columns

    frame = pd.DataFrame({"n": [1234.5], "on": [pd.Timestamp("2026-01-05")], "said": [None], "share": [0.283]})
    shown_as = {
        "n": columns.number("n", 1),
        "on": columns.day("on"),
        "said": columns.text("said"),
        "share": columns.percent("share"),
    }
    written, config = frames._written(Words(language), frame, shown_as)
    html = written.to_html().replace("\u202f", " ").replace("\u00a0", " ")
    assert all(text in html for text in (number, day, Words(language).percent(0.283).replace("\u00a0", " "), "–"))
    assert not any("format" in settings["type_config"] for settings in config.values())


def test_an_exchange_beside_a_refunded_withdrawal_owes_no_money(tmp_path: Path) -> None:
    """Return R1 comes back with a second line that is exchanged and whose exchange no source records.

    The withdrawal was refunded on 12 December: the legal date is kept, and nothing of R1 stands on the list.
    """
    shop = {thing: [dict(row) for row in rows] for thing, rows in TINY_SHOP.items()}
    first = next(row for row in shop["return_event"] if row["event_id"] == "1")
    second = {"return_line_id": "R1-2", "order_line_id": "O1-2"}
    for number, event in (("98", "requested"), ("99", "received")):
        like = next(row for row in shop["return_event"] if row["return_line_id"] == "R1-1" and row["event"] == event)
        kind = {"return_type": "exchange"} if event == "requested" else {}
        shop["return_event"].append({**like, **second, "event_id": number, **kind})
    assert first["return_type"] == "withdrawal"
    settings = fresh(tmp_path)
    (tmp_path / "in").mkdir()
    load(settings, [write_shop(tmp_path / "in", shop)])
    with current_build(settings.warehouse) as build:
        due = analyses.refunds_due(build, days=1000)
        assert "R1" not in {str(one).split(":")[-1] for one in due["return_id"]}


def test_months_that_still_move_are_dotted_in_charts_and_in_small_lines(
    sample_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(sample_settings.warehouse))
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=600)
    turn(app, "delays").run()
    figure = go.Figure(app.session_state["page_said"].parts["kept_by_month"].shown)
    kept = settled.with_young(app.session_state["view"].asked, "promise_kept")
    young = set(kept.loc[kept["is_young"], "month"])
    assert young
    marked = [trace for trace in figure.data if trace.marker.size]
    assert {trace.line.dash for trace in marked} == {None, "dot"}
    for trace in marked:
        assert {pd.Timestamp(month) in young for month in trace.x} == {trace.line.dash == "dot"}
    small = next(body for e in app.get("html") if 'alt="Promise kept, month' in (body := str(e.proto.body)))
    assert "(the last months so far)" in small
    solid, dotted = re.findall(
        r"<polyline points=\"([^\"]*)\"", b64decode(re.findall(r"base64,([^\"]+)", small)[0]).decode()
    )
    assert len(solid.split()) == int((~kept["is_young"] & kept["value"].notna()).sum())
    assert len(dotted.split()) == int((kept["is_young"] & kept["value"].notna()).sum()) + 1  # it goes on from the line


def test_instants_are_written_by_the_clock_of_the_shop(
    sample_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(sample_settings.warehouse))
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=600).run()
    assert app.session_state["view"].words.zone == "Europe/Paris"  # the sample shop sells most in France
    turn(app, "late").run()
    due = [text for part in app.session_state["page_said"].parts.values() for text in part.shown.get("Due", [])]
    instants = [text for text in due if ":" in text]
    assert instants
    assert all(re.search(r" \d\d:\d\d CES?T$", text) for text in instants)
