"""A reader of one market: every number is that of a shop of that market's rows alone, and no name is another's.

The truth is a warehouse loaded from the filtered files; what is looked for of the other market are its marked names
(tests/two_markets.py).
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from dashboard.shared import access
from pipelines import metrics
from pipelines.access import OWNER, Reader
from pipelines.load import checks, load, within
from pipelines.settings import Settings
from pipelines.warehouse import sql
from pipelines.warehouse.build import build_path, current_id, within_path
from pipelines.warehouse.engine import Build
from pipelines.warehouse.scope import Scope
from pipelines.warehouse.star import STAR
from tests import every_part, two_markets
from tests.any_shop import Delivery, write
from tests.conftest import copied, fresh
from tests.turns import IS_WHOLE, by_turns
from tests.two_markets import MARK

pytestmark = pytest.mark.usefixtures("no_rules")

FRANCE = Scope.of(markets=["FR"])
TURNS = 8 if IS_WHOLE else 48  # dimensions by which every number is asked by one, others at other numbers


def loaded(folder: Path, shop: dict[str, pd.DataFrame]) -> Settings:
    settings = fresh(folder)
    load(settings, write(folder / "files", Delivery(shop)), namespace="s")
    return settings


@pytest.fixture(scope="module")
def both(markets_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The shop of both markets, loaded."""
    return copied(markets_settings, tmp_path_factory.mktemp("both"))


@pytest.fixture(scope="module")
def french(both: Settings) -> Iterator[Build]:
    """What the reader of France reads."""
    with within.opened(both, FRANCE) as found:
        yield found


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """A shop that never heard of Germany."""
    settings = loaded(tmp_path_factory.mktemp("france"), two_markets.of_france(two_markets.whole(60)))
    with within.opened(settings) as found:
        yield found


def rows_of(build: Build, table: str) -> pd.DataFrame:
    found = build.fetch(select(STAR.tables[table]))
    return found.sort_values(list(found.columns), ignore_index=True) if len(found) else found


def test_the_two_markets_are_told_apart_and_nothing_is_put_aside(both: Settings, truth: Build) -> None:
    """Both markets sell and take back; every log has rows of both, but for what no market has a part of."""
    with within.opened(both) as whole:
        assert rows_of(whole, "build_quarantine").empty
        for table in STAR.tables:
            if table.startswith("fact_") and table not in ("fact_fx_rate", "fact_activity_use"):
                rows, of_france = rows_of(whole, table), rows_of(truth, table)
                assert len(rows) > len(of_france) > 0, table
        text = _text(*(rows_of(whole, table) for table in STAR.tables))
    assert text.count(MARK) > 1000
    assert MARK not in _text(*(rows_of(truth, table) for table in STAR.tables))


def _text(*frames: Any) -> str:
    return "\n".join(f.to_csv() if isinstance(f, pd.DataFrame) else str(f) for f in frames)


NOT_ALIKE = {
    "build_info": "names the build and its scope",
    "build_source": "the whole build tells when a row was written last, and knows the logs of dimensions",
    "dim_product": "goods of the catalogue that no row is of are not there",
    "dim_rate_card": "only of carriers that rows are of",
    "estimate_probability_state": "compared by its numbers below",
    "model_version": "fitted with parameters of the same rows; its id holds the build's time",
}


@pytest.mark.parametrize("table", sorted(STAR.tables))
def test_every_table_is_that_of_a_shop_of_these_rows_alone(table: str, french: Build, truth: Build) -> None:
    found, expected = rows_of(french, table), rows_of(truth, table)
    assert MARK not in _text(found)
    if table not in NOT_ALIKE:
        pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-9)


def test_what_is_not_alike_differs_by_no_more_than_it_says(french: Build, truth: Build) -> None:
    """Goods that no row is of and prices of carriers that no row is of are not there; all else is."""
    for table in ("dim_product", "dim_rate_card"):
        found, expected = rows_of(french, table), rows_of(truth, table)
        assert len(found) == len(found.merge(expected))
    models, of_truth = (rows_of(b, "model_version")[["model", "rows", "is_used"]] for b in (french, truth))
    assert models.to_dict("records") == of_truth.to_dict("records")
    assert french.info["own_dimensions"] == truth.info["own_dimensions"] == '["region"]'
    assert french.info["observed_until"] == truth.info["observed_until"]


@pytest.mark.parametrize("key", [m.key for m in metrics.catalogue()])
def test_every_number_by_every_cut_is_that_of_a_shop_of_these_rows_alone(key: str, french: Build, truth: Build) -> None:
    """Value, interval, count, coverage, status and reason, whole and by one in TURNS dimensions; the rows behind it."""
    by_turns = metrics.dimensions(key, truth)[zlib.crc32(key.encode()) % TURNS :: TURNS]
    for by in [(), *((d,) for d in by_turns)]:
        found, expected = (
            metrics.answer(build, key, by=by).sort_values(list(by) or ["value"], ignore_index=True)
            for build in (french, truth)
        )
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9, obj=f"{key} by {by}")
        assert MARK not in _text(found)
    assert metrics.dimensions(key, french) == metrics.dimensions(key, truth)
    for part in metrics.PARTS if metrics.metric(key).denominator else metrics.PARTS[:1]:
        listed = [metrics.rows(build, key, part=part, limit=10_000) for build in (french, truth)]
        assert MARK not in _text(listed[0])
        assert len(listed[0]) == len(listed[1])
        assert metrics.rows_total(french, key, part=part) == pytest.approx(
            metrics.rows_total(truth, key, part=part), nan_ok=True
        )


TOKENS = [
    f"{MARK}{name}".encode() for name in ("P", "style", "Style", "dresses", "web", "RC", "HUB", "Kurier", "Relais")
]
TOKENS += [f"{MARK}{name}".encode() for name in ("ost", "region", "Tilleul", "policy", "C1", "own", "site", "supplier")]
TOKENS += [b"shop-zz"]
"""What two letters in the bytes of a chart or table could be by chance, these cannot."""


@dataclass
class Sent:
    """What was sent to the browsers of the reader of France and of the owner, by reader and page; and what failed."""

    bytes: dict[tuple[str, str], bytes] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def walk(self, settings: Settings, reader: Reader, pages: Sequence[str], *, parts: bool) -> None:
        """Open pages as a reader, and keep everything that is sent: texts, tables, charts, options."""
        look, kept, walk = every_part._Page.look, self.bytes, every_part.Walk()

        def looking(page: Any, at: str) -> None:
            look(page, at)
            nodes = (node.proto for node in page.app._tree if getattr(node, "proto", None) is not None)
            key = (reader.name, page.page)
            kept[key] = kept.get(key, b"") + b"\n".join(proto.SerializeToString() for proto in nodes)

        with patch.object(access, "current", lambda: reader), patch.object(every_part._Page, "look", looking):
            every_part.open_pages(settings, "en", walk, parts=parts, filtered=None, pages=pages)
        self.errors += walk.errors


@pytest.fixture(scope="module")
def sent(both: Settings) -> Sent:
    """The pages as they come, of one in four each choice of each control and the rows behind; the owner's pages."""
    found, ben = Sent(), Reader("ben@example.org", "analyst", FRANCE, "email")
    parted = by_turns(every_part.PAGES, 4)
    found.walk(both, ben, parted, parts=True)
    found.walk(both, ben, [page for page in every_part.PAGES if page not in parted], parts=False)
    found.walk(both, OWNER, every_part.PAGES, parts=False)
    return found


@pytest.mark.parametrize("page", every_part.PAGES)
def test_no_page_and_no_part_of_one_shows_anything_of_the_other_market(page: str, sent: Sent) -> None:
    """The whole shop's reader sees what the reader of France does not."""
    assert sent.errors == []
    mine, owners = sent.bytes["ben@example.org", page], sent.bytes["owner", page]
    assert len(mine) > 1000
    assert [token for token in TOKENS if token in mine] == []
    assert b"DE" not in re.findall(rb'"(?:country|market)": ?"(..)"', mine)
    if page not in ("try-policy",):
        assert any(token in owners for token in TOKENS)


def test_a_reader_of_brands_sees_no_other_brand_and_is_told_what_no_brand_has_a_part_of(both: Settings) -> None:
    with within.opened(both, Scope.of(brands=["Orme"])) as mine, within.opened(both) as whole:
        text = _text(*(rows_of(mine, table) for table in STAR.tables if table != "dim_shop"))
        assert "Orme" in text
        assert "Tilleul" not in text
        assert rows_of(mine, "fact_refund").empty
        assert rows_of(mine, "fact_return_leg").empty
        for key in ("sold_units", "confirmed_units", "observed_return_rate"):
            asked = metrics.answer(whole, key, metrics.Question(where={"brand": ["Orme"]}))
            assert metrics.answer(mine, key)["value"].iloc[0] == pytest.approx(asked["value"].iloc[0])
        legs = metrics.answer(mine, "kg_co2e").iloc[0]
        assert (legs["status"], np.isnan(legs["value"])) == ("greyed", True)
        assert "more than one brand" in legs["reason"]


def test_a_shop_and_a_market_keep_to_rows_of_both(both: Settings) -> None:
    with within.opened(both, Scope.of(shops=["s:shop-FR"])) as mine, within.opened(both, FRANCE) as of_market:
        assert metrics.answer(mine, "sold_units")["value"].equals(metrics.answer(of_market, "sold_units")["value"])
    with within.opened(both, Scope.of(shops=["s:shop-zz"], markets=["FR"])) as nothing:
        assert rows_of(nothing, "fact_order_line").empty


def test_what_both_markets_share_is_shared_out_before_it_is_cut(tmp_path: Path) -> None:
    """A round of both: each leg keeps its part, and the parts of both markets are the whole."""
    settings = loaded(tmp_path, two_markets.shared(two_markets.whole(60)))
    kg: dict[str, float] = {}
    for name, scope in {"all": Scope(), "FR": FRANCE, "DE": Scope.of(markets=["DE"])}.items():
        with within.opened(settings, scope) as build:
            assert not len(rows_of(build, "fact_activity_use")) or not scope
            kg[name] = float(metrics.answer(build, "kg_co2e")["value"].iloc[0])
            lots = rows_of(build, "estimate_return_carbon")["kg_co2e"].sum()
            assert lots == pytest.approx(rows_of(build, "estimate_leg_carbon")["kg_co2e"].sum())
    assert 0 < kg["FR"] < kg["all"]
    assert kg["FR"] + kg["DE"] == pytest.approx(kg["all"])


def test_a_build_within_a_scope_holds_its_checks_is_private_and_goes_with_its_build(both: Settings) -> None:
    path = within.made(both, FRANCE, str(current_id(both.warehouse)))
    assert path == within_path(both.warehouse, str(current_id(both.warehouse)), FRANCE)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    with sql.connect() as connection:
        connection.execute(f"ATTACH {sql.quote(path)} AS b (READ_ONLY); USE b")
        found = [r.check.name for r in checks.run(connection, is_increment=False) if r.rows and r.check.is_blocking]
    assert found == []
    stale = path.with_name(f"000000-20200101T000000-{FRANCE.key}.duckdb")
    stale.write_bytes(b"")
    within.refresh(both, (FRANCE,))
    assert not stale.exists()
    assert path.exists()
    assert build_path(both.warehouse, str(current_id(both.warehouse))).exists()
