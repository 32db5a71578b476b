"""A title never rests on a caution that it does not say: every page of a shop that lost a little of each log."""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.app_pages.refunds.promises import parts as promises
from dashboard.i18n import Words
from dashboard.shared import findings
from pipelines import analyses, metrics
from pipelines.load import load
from pipelines.metrics.cautions import Doubt, doubted, of_either
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests import any_shop
from tests.conftest import fresh
from tests.pages import ADDRESSES, WITHOUT_NUMBERS, turn
from tests.turns import IS_WHOLE, by_turns

HOME = Path(dashboard.__file__).parent
NOTHING_LOST: dict[str, tuple[str, ...]] = {
    r"Returns not settled on": (),  # a day
    r"All 0 weeks are": (),  # of that promise no week is judged
    r"assumption with the largest effect": ("return_cost",),
    r"can be claimed from carriers": ("claims_open_amount",),
    r"of the time from request to refund": ("stage_time_share", "stage", "responsible"),
    r"The longest stage is": ("stage_days(0.9)", "stage"),
    r"are legally due within": ("refunds_due_soon",),
    r"The law adds": ("late_refund_surcharge",),
}
"""Titles of numbers to which this shop lost less than `losses.CAUTION`, each with its metric and what it is cut by."""
QUARANTINED = {"return_event": "event", "chain_element": "element_type", "refund": "currency", "recovery": "currency"}
"""A column of each log that a word nobody knows puts the row in quarantine for."""


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Load a shop that lost a little.

    7% of its returns name no order, 7% wait out of order, and every 20th row of the logs beside them is in quarantine.
    """
    folder = tmp_path_factory.mktemp("lossy")
    shop = any_shop.whole(orders=240, every=pd.Timedelta(hours=20))
    shop["order_line"]["customer_id"] = "C" + shop["order_line"]["order_id"]
    shop["order_line"]["units_shipped"] = 1  # of two units that were sold and came back one was shipped
    events = shop["return_event"].copy()
    lines = events["return_line_id"].drop_duplicates().tolist()
    events.loc[events["return_line_id"].isin(lines[::14]), "order_line_id"] = None
    early = events["return_line_id"].isin(lines[5::14]) & events["event"].eq("inspected")
    inspected = pd.to_datetime(events.loc[early, "occurred_at"]) - pd.Timedelta(days=3)
    events.loc[early, "occurred_at"] = any_shop.as_text(inspected)
    shop["return_event"] = events
    for log, column in QUARANTINED.items():
        shop[log] = shop[log].astype({column: object})
        shop[log].loc[shop[log].index % 20 == 7, column] = "nonsense"
    settings = fresh(folder)
    load(settings, any_shop.write(folder / "in", any_shop.Delivery(shop)))
    return settings


def _titles(app: AppTest) -> list[str]:
    return [e.value for e in [*app.title, *app.header]]


def _walk(settings: Settings, language: str, *pages: str) -> Iterator[tuple[str, str]]:
    """Give every title of these pages and all their parts, with where it stands."""
    with patch.dict(os.environ, BACKHAUL_WAREHOUSE=str(settings.warehouse)):
        app = AppTest.from_file(str(HOME / "app.py"), default_timeout=300)
        app.query_params["lang"] = language
        for page in pages:
            turn(app, page).run()
            assert not app.exception, page
            yield from ((page, title) for title in _titles(app))
            parts = [g for g in app.get("button_group") if g.key == "part"]
            for part in parts[0].options[1:] if parts else ():
                group = next(g for g in app.get("button_group") if g.key == "part")
                group.set_value(part)
                app.run()
                assert not app.exception, (page, part)
                yield from ((f"{page}, {part}", title) for title in _titles(app))


PAGES = [address for address in ADDRESSES if address not in WITHOUT_NUMBERS]


def test_every_title_with_a_number_says_its_caution(lossy: Settings) -> None:
    numbered = [t for t in dict.fromkeys(_walk(lossy, "en", *by_turns(PAGES, 2))) if re.search(r"\d", t[1])]
    silent = [t for t in numbered if "(caution: " not in t[1]]
    unsaid = [t for t in silent if not re.search("|".join(NOTHING_LOST), t[1])]
    assert not unsaid, "\n".join(map(str, unsaid))
    assert len({title for _, title in numbered}) > (30 if IS_WHOLE else 15)
    with current_build(lossy.warehouse) as build:
        for key, *by in filter(None, NOTHING_LOST.values()):
            assert set(metrics.answer(build, key, by=by)["caution"]) == {""}, key


def test_a_title_says_its_caution_in_french(lossy: Settings) -> None:
    titles = [t.replace("\u00a0", " ") for _, t in _walk(lossy, "fr", "products") if re.search(r"\d", t)]
    assert titles
    assert all("(prudence : " in t and "ne nomment aucune commande" in t for t in titles), titles


def test_no_finding_is_made_beside_the_helper() -> None:
    """A sentence with parts is made by `findings.told`, which asks what it rests on."""
    made = []
    for path in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "words":
                keys = [n.value for a in node.args for n in ast.walk(a) if isinstance(n, ast.Constant)]
                if node.keywords and any(str(k).startswith(("finding.", "do.")) for k in keys):
                    made.append((path.name, str(keys[0])))
    assert made == [("findings.py", "finding.caution")]


def test_what_nobody_asked_a_caution_of_makes_no_sentence() -> None:
    words = Words("en")
    for nobody in (pd.DataFrame({"value": [1.0]}), pd.Series({"value": 1.0}), {"value": 1.0}):
        with pytest.raises(KeyError):
            findings.told(words, "finding.carbon", nobody, kg="1 kg")
    rows = pd.DataFrame({"coverage": [0.95, 0.85, 1.0], "caution": ["coverage", "coverage", ""], "reason": [*"abc"]})
    assert findings.told(words, "finding.carbon", rows, kg="1 kg") == "Returns emitted 1 kg of CO2e (caution: b)"
    assert findings.told(words, "finding.carbon", rows.iloc[2], kg="1 kg") == "Returns emitted 1 kg of CO2e"
    both = findings.told(words, "finding.carbon", (rows.iloc[0], rows.iloc[1], rows.iloc[0]), kg="1 kg")
    assert both == "Returns emitted 1 kg of CO2e (caution: a; b)"
    greyed = rows.iloc[0].to_dict() | {"status": "greyed"}
    assert findings.doubt_of(greyed) == ""


def test_a_week_that_stands_out_and_an_offer_say_their_cautions(lossy: Settings) -> None:
    words, week = Words("en"), {"week": pd.Timestamp("2025-05-05"), "share": 0.4, "centre": 0.8, "is_young": False}
    weeks = doubted(pd.DataFrame([week | {"signal": "below"}]), Doubt("coverage", "97.0% of promises"))
    assert promises.signal(words, weeks).endswith("(caution: 97.0% of promises)")
    with current_build(lossy.warehouse) as build:
        (offer,) = analyses.offers(build, "refund", by_lane=False)
    assert "(caution" not in promises.offer(words, offer)
    weak = replace(offer, caution="coverage", reason="97.0% of promises")
    assert promises.offer(words, weak).endswith("(caution: 97.0% of promises)")


def test_a_comparison_says_the_caution_of_either_period() -> None:
    now, before = Doubt("coverage", "95.0% of waits"), Doubt("coverage, trend", "90.0% of waits")
    assert of_either(now, before) == Doubt("coverage, trend", "95.0% of waits; compared period: 90.0% of waits")
    assert of_either(now, now) == now
    assert of_either(Doubt(), Doubt()) == Doubt()


def test_a_code_of_caution_stands_once(lossy: Settings) -> None:
    """Returns without an order and units beyond those sold weaken the same rate: both are said, the code once."""
    with current_build(lossy.warehouse) as build:
        row = metrics.answer(build, "observed_return_rate").iloc[0]
    assert row["caution"] == "coverage"
    assert "name no order" in row["reason"]
    assert "stand on lines that sold fewer" in row["reason"]


def test_of_one_group_nothing_is_said_to_be_the_highest() -> None:
    of_one = pd.DataFrame({"label": ["FR"], "value": [0.25], "caution": [""], "reason": [""]})
    of_two = pd.concat([of_one, of_one.assign(label="DE", value=0.2)])
    said = [
        findings.top(Words("en"), "finding.top_market", frame, "country", "country", rate=Words("en").percent)
        for frame in (of_one, of_two)
    ]
    assert said == ["Market: France, 25.0%", "Market with the highest return rate: France, 25.0%"]
