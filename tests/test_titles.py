"""A title never rests on a caution that it does not say: every page and part of a shop that lost a little of each log."""

import ast
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.i18n import Words
from dashboard.shared import findings
from pipelines import analyses, metrics
from pipelines.load import load
from pipelines.metrics import losses
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from tests import any_shop
from tests.conftest import fresh

HOME = Path(dashboard.__file__).parent
EXACT = (  # titles with a number that is all there: nothing is lost to it
    "Returns not settled on",  # a day
)
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
    return [e.value for e in [*app.title, *app.subheader]]


def _walk(settings: Settings, language: str, *pages: str) -> Iterator[tuple[str, str]]:
    """Give every title of these pages and all their parts, with where it stands."""
    with patch.dict(os.environ, BACKHAUL_WAREHOUSE=str(settings.warehouse)):
        app = AppTest.from_file(str(HOME / "app.py"), default_timeout=300)
        app.query_params["lang"] = language
        app.run()
        for page in pages:
            app.switch_page(f"app_pages/{page}/page.py").run()
            assert not app.exception, page
            yield from ((page, title) for title in _titles(app))
            parts = [g for g in app.get("button_group") if str(g.key).endswith("_part")]
            for part in parts[0].options[1:] if parts else ():
                group = next(g for g in app.get("button_group") if g.key == parts[0].key)
                group.set_value(part)
                app.run()
                assert not app.exception, (page, part)
                yield from ((f"{page}, {part}", title) for title in _titles(app))


PAGES = sorted(p.parent.name for p in HOME.glob("app_pages/*/page.py") if p.parent.name not in ("data", "policies"))


def test_every_title_with_a_number_says_its_caution(lossy: Settings) -> None:
    titles = list(dict.fromkeys(_walk(lossy, "EN", *PAGES)))
    numbered = [t for t in titles if re.search(r"\d", t[1]) and not t[1].startswith(EXACT)]
    silent = [t for t in numbered if "(caution:" not in t[1]]
    assert silent == []
    assert len(numbered) > 20
