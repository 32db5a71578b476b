"""No number ignores a filter in silence: not on a page, not in a verb."""

import inspect
from datetime import date
from pathlib import Path

import pytest

from dashboard.shared import builds, filters, queries
from pipelines import analyses, metrics
from pipelines.errors import UnknownDimension, UnknownValue
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.metrics.catalogue import ANALYSES
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests import filter_matrix
from tests.every_part import command
from tests.turns import by_turns

SPAN = {
    "period": (date(2025, 6, 1), date(2025, 8, 31)),
    "against": (date(2025, 3, 1), date(2025, 5, 31)),
}
VERBS = (
    "metric sold_units",
    "accrual",
    "accrual --roll-forward",
    "at-risk",
    "work list refunds-due",
    "levers",
    "forecast",
    "forecast --tested",
    "claims",
    "dispose",
    "simulate --fee 2",
    "simulate --front",
    "export sold_units --out {folder}/a.csv",
    "alert add sold_units --above 1",
)


@pytest.fixture
def shop(few_settings: Settings) -> Path:
    """A small sample shop: its warehouse."""
    return few_settings.warehouse


def test_every_page_says_which_filter_it_leaves_out(shop: Path) -> None:
    """As one page in two comes, under one that returns know and one that sales know.

    `make evidence ONLY=house` tries all of it.
    """
    found = filter_matrix.Matrix()
    values, pages = filter_matrix.values(shop), list(by_turns(filter_matrix.PAGES, 2))
    filter_matrix.tried(shop, pages, {n: values[n] for n in ("carrier", "brand")}, found, parts=False)
    assert found.cells == len(pages)
    assert (found.errors, found.dropped) == ([], [])


def test_a_page_that_says_nothing_is_found(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "unfiltered", lambda: [])
    monkeypatch.setattr(queries, "ignored", lambda asked, *keys: [])
    monkeypatch.setattr(queries, "where_of", lambda asked, *keys: {})
    found = filter_matrix.Matrix()
    carrier = filter_matrix.values(shop)["carrier"]
    filter_matrix.tried(shop, ["margin"], {"carrier": carrier}, found, parts=False)
    assert any("answer margin_erosion without carrier" in drop for drop in found.dropped)


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_takes_the_filters_it_says_and_refuses_others(name: str, sample_build: Build) -> None:
    door, possible = getattr(analyses, name), metrics.dimensions(name, sample_build)
    given = {
        "simulate": {"tried": analyses.Scenario(fee=2)},
        "erosion_by": {"by": "policy"},
        "change_split": SPAN,
    }.get(name, {})
    for dimension in (*filters.DIMENSIONS, "nonsense"):
        where = {dimension: ["30" if dimension == "window_days" else "x"]}
        if dimension in possible:
            door(sample_build, question=Question(where=where), **given)
        else:
            with pytest.raises(UnknownDimension, match=dimension):
                door(sample_build, question=Question(where=where), **given)


def test_every_door_with_filters_refuses_one_it_does_not_know(sample_build: Build) -> None:
    """Whatever takes a question and needs nothing else."""
    doors = {n: f for _, n, f in filter_matrix.doors() if "question" in inspect.signature(f).parameters}
    plain = {
        n: f
        for n, f in doors.items()
        if all(
            p.default is not p.empty
            for p in list(inspect.signature(f).parameters.values())[1:]
            if p.kind is not p.VAR_KEYWORD
        )
    }
    assert len(plain) > 12
    for door in plain.values():
        with pytest.raises(UnknownDimension):
            door(sample_build, question=Question(where={"nonsense": ["1"]}))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_refuses_what_it_cannot_filter_by(verb: str, tiny_settings: Settings, tmp_path: Path) -> None:
    words = verb.format(folder=tmp_path).split()
    for where in ("nonsense=1", "country=Atlantis"):
        code, out, said = command(*words, "--where", where, "--warehouse", str(tiny_settings.warehouse))
        assert (code, out) == (1, "")
        assert where.split("=")[where.startswith("country")] in said
        assert len(said.strip().splitlines()) == 1


def test_a_span_of_time_is_filtered_by_days_alone(tiny_settings: Settings) -> None:
    with current_build(tiny_settings.warehouse) as build:
        assert metrics.read_filters(build, "sold_units", {"month": ["2025-12-01"]}) == {"month": ["2025-12-01"]}
        with pytest.raises(UnknownValue, match="'soon' is no month"):
            metrics.read_filters(build, "sold_units", {"month": ["2025-12-01,soon"]})


def test_a_comma_parts_two_values(tiny_settings: Settings) -> None:
    with current_build(tiny_settings.warehouse) as build:
        by = metrics.answer(build, "sold_units", by=["category"]).set_index("category")["value"].dropna()
        first, second, *_ = by.index
        both = metrics.read_filters(build, "sold_units", {"category": [f"{first}, {second}"]})
        assert metrics.answer(build, "sold_units", Question(where=both))["value"].iloc[0] == by[first] + by[second]
        assert metrics.read_filters(build, "sold_units", {"category": [first]}) == {"category": [first]}


def test_a_page_reads_the_build_it_asks_for(copy_of_tiny: Settings) -> None:
    before = queries.source(copy_of_tiny.warehouse)
    load(copy_of_tiny, rebuild=True)
    after = queries.source(copy_of_tiny.warehouse)
    assert before.build_id != after.build_id
    builds.OPEN.clear()
    assert queries.opened(before).info["build_id"] == before.build_id
    assert queries.opened(after).info["build_id"] == after.build_id
