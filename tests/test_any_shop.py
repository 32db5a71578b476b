"""Shops of every shape.

What can be read of them is read, and the rest is said; no page, number or verb ends in an error. A few shapes that are
unlike each other stand here. All of them are gone through by tests/evidence/any_shop.py.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer

from pipelines import analyses, cli
from pipelines.warehouse import schema
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import looked_up
from tests import any_shop, every_part, whole_shop
from tests.every_part import Walk
from tests.evidence import _any_shop_shapes
from tests.turns import IS_WHOLE, by_turns, left_to_proofs

SHAPES = {shape.name: shape for shape in any_shop.shapes()}
READ = {
    "minimum": "fr",
    "returns without orders": "fr",
    "a shipment log alone": "fr",
    "one bare line that came back": "en",
    "no row can be read": "fr",
}
SAID = {"no row can be read": slice(0, None, 4), "one bare line that came back": slice(2, None, 4)}
"""Verbs that are said to a shape; tests/evidence/any_shop.py says all of them to each."""
THIRD = slice(None) if IS_WHOLE else slice(1, None, 3)
"""Of the metrics, where a shape is not the minimum: all are asked of each shape in tests/evidence/any_shop.py."""


def test_the_whole_shop_fills_every_column_of_every_log() -> None:
    shop = whole_shop.whole()
    assert list(shop) == list(schema.LOG.tables)
    empty = [f"{t}.{c}" for t, rows in shop.items() for c in rows if rows[c].isna().all()]
    unlimited = {f"policy.{c}" for c in ("market", "channel", "category", "loyalty_tier", "exception")}
    assert set(empty) == unlimited | {"chain_element.trip_share"}
    assert {shape.kind for shape in SHAPES.values()} == set(every_part.DEPTHS)
    assert len(SHAPES) == len(any_shop.shapes())


def test_lines_of_two_units_sell_two() -> None:
    lines = whole_shop.whole()["order_line"]
    assert set(lines["units"]) == {1, 2}
    assert lines["units_shipped"].tolist() == lines["units"].tolist()


def commands(group: Any, before: str = "") -> list[str]:
    """List what the command line can be told, groups with what they hold."""
    return [
        told
        for name, one in group.commands.items()
        for told in (commands(one, f"{before}{name} ") if hasattr(one, "commands") else [f"{before}{name}"])
    ]


def test_every_command_is_said_to_the_shapes_or_stands_in_the_list_of_those_that_are_not() -> None:
    every = commands(typer.main.get_command(cli.app))
    said = {name for name in every if any(f"{verb} ".startswith(f"{name} ") for verb in every_part.VERBS)}
    assert len(every) > 50
    assert said | set(every_part.NOT_SAID) == set(every)
    assert not said & set(every_part.NOT_SAID)
    assert all(len(reason.split()) > 3 for reason in every_part.NOT_SAID.values())
    of_nothing = [v for v in every_part.VERBS if not any(f"{v} ".startswith(f"{name} ") for name in every)]
    assert of_nothing == []


def test_what_the_proof_prints_is_summed_from_the_walks_each_depth_apart() -> None:
    counts = {"pages": 24, "parts": 300, "metrics": 104, "answers": 600, "verbs": 52}
    whole = {"depth": "whole", "languages": ["fr", "en"], **counts}
    brief = {"depth": "brief", "languages": ["en"], "pages": 4, "parts": 0, "metrics": 35, "answers": 35, "verbs": 0}
    refused = {"depth": "brief", "languages": [], **dict.fromkeys(counts, 0)}
    told = _any_shop_shapes.told([whole, whole, brief, refused])
    assert told["page"].split("; ") == [
        "2 shops in 2 languages each, 48 pages opened and 600 parts",
        "1 shop in 1 language each, 4 pages opened and 0 parts",
    ]
    assert told["number"].endswith("1 shop, 35 metrics whole and 35 answers with their cuts")
    assert told["load"].endswith("2 with a third of the pages and metrics (1 refused)")
    assert told["verb"] == "2 shops, 104 verbs said"
    assert set(_any_shop_shapes.DEEP) == {depth.name for depth in every_part.DEPTHS.values()}
    assert set(_any_shop_shapes.TOGETHER) == set(_any_shop_shapes.DEEP)


@pytest.mark.parametrize("name", READ)
def test_every_page_opens(name: str, tmp_path: Path) -> None:
    """Of each shape a third of the pages with their parts, others at another; of the minimum all as they come."""
    walk = Walk()
    settings = every_part.loaded(SHAPES[name], tmp_path, walk)
    assert settings is not None
    pages = by_turns(every_part.PAGES, 3, list(READ).index(name))
    every_part.open_pages(settings, READ[name], walk, rows=False, filtered=None, pages=pages)
    cuts = ("style_id", "country") if name == "one bare line that came back" else ()
    every_part.ask_metrics(settings, walk, cuts, share=slice(None) if name == "minimum" else THIRD)
    if name in SAID:
        every_part.say_verbs(settings, tmp_path, walk, every_part.VERBS[SAID[name]])
    if name == "minimum":
        others = [page for page in every_part.PAGES if page not in pages]
        every_part.open_pages(settings, READ[name], walk, parts=False, rows=False, filtered=None, pages=others)
    assert walk.errors == []
    assert walk.pages >= len(every_part.PAGES) // (1 if name == "minimum" else 3)


@pytest.mark.parametrize(
    ("name", "page"),
    [
        left_to_proofs("a currency nobody has a rate for", "today"),  # the most frequent currency cannot be read
        ("a single huge count", "checks"),  # rows in quarantine and fields taken for missing: two tables of one kind
        ("returned before they were ordered", "returns"),  # nothing counts, and one group is asked for
        left_to_proofs("thirty years between two orders", "book"),  # under a filter nothing is to come
    ],
)
def test_what_the_walk_through_all_shapes_found_stays_mended(name: str, page: str, tmp_path: Path) -> None:
    walk = Walk()
    settings = every_part.loaded(SHAPES[name], tmp_path, walk)
    assert settings is not None
    every_part.open_pages(
        settings, "fr", walk, parts=page == "checks", rows=False, filtered=0 if page == "book" else None, pages=[page]
    )
    every_part.ask_metrics(settings, walk, (), rows=False, share=THIRD)
    assert walk.errors == []
    with current_build(settings.warehouse) as build:
        assert len(build.info["reporting_currency"]) == 3


def test_sources_of_unlike_coverage_answer_and_quiet_weeks_stay_on_the_chart(tmp_path: Path) -> None:
    walk = Walk()
    settings = every_part.loaded(SHAPES["two sources of unlike coverage"], tmp_path, walk)
    assert settings is not None
    every_part.ask_metrics(settings, walk, ("month",), share=THIRD)
    assert walk.errors == []
    assert walk.answers > (100 if IS_WHOLE else 50)
    with current_build(settings.warehouse) as build:
        chart = analyses.control_chart(build, "refund")
    assert chart["week"].diff().dropna().eq(pd.Timedelta(days=7)).all()
    assert chart["n"].eq(0).any()


@pytest.mark.whole
def test_ten_years_of_promised_dates_take_little_memory() -> None:
    name = "brief:a promise date on each of many rows of ten years"
    run = subprocess.run([sys.executable, "-m", "tests.every_part", name], capture_output=True, text=True, check=True)
    walk = json.loads(run.stdout)
    assert walk["errors"] == []
    assert walk["peak_bytes"] < 2**30


def test_a_look_up_keeps_its_type_where_nothing_is_known() -> None:
    day = pd.Series([pd.Timestamp("2026-01-31")], ["a"])
    assert looked_up(pd.Series(["a", "b"]), day).isna().tolist() == [False, True]
    assert looked_up(pd.Series(["b"]), day[:0]).dtype == day.dtype
    assert looked_up(pd.Series(["b"]), {}).fillna("none").tolist() == ["none"]
    assert looked_up(pd.Series([None], dtype="str"), {"a": 1}).isna().all()
