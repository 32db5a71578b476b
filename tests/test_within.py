"""A reader of one market: every number is that of a shop of that market's rows alone, and no name is another's.

The truth is a warehouse loaded from the filtered files; what is looked for of the other market are its marked names
(tests/two_markets.py).
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import select

from pipelines import metrics
from pipelines.load import load, within
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build
from pipelines.warehouse.scope import Scope
from pipelines.warehouse.star import STAR
from tests import two_markets
from tests.any_shop import Delivery, write
from tests.conftest import fresh
from tests.two_markets import MARK

FRANCE = Scope.of(markets=["FR"])
TURNS = 8  # dimensions by which every number is asked by one, others at other numbers


def loaded(folder: Path, shop: dict[str, pd.DataFrame]) -> Settings:
    settings = fresh(folder)
    load(settings, write(folder / "files", Delivery(shop)), namespace="s")
    return settings


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The shop of both markets, loaded."""
    return loaded(tmp_path_factory.mktemp("both"), two_markets.whole())


@pytest.fixture(scope="module")
def french(both: Settings) -> Iterator[Build]:
    """What the reader of France reads."""
    with within.opened(both, FRANCE) as found:
        yield found


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """A shop that never heard of Germany."""
    settings = loaded(tmp_path_factory.mktemp("france"), two_markets.of_france(two_markets.whole()))
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
