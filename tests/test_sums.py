"""Sums by day: what is added up of days and values is what the fact itself gives."""

import datetime as dt
from typing import Any

import pandas as pd
import pytest

from pipelines import metrics
from pipelines.metrics import Question, sums
from pipelines.metrics.bind import bind
from pipelines.metrics.compiler import PartlyKnown, statement
from pipelines.warehouse.engine import Build
from tests.test_engines import _sorted

QUESTIONS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ()),
    ({}, ("month",)),
    ({"since": dt.date(2025, 12, 4), "until": dt.date(2025, 12, 15)}, ()),
    ({"since": dt.date(2025, 12, 4), "where": {"country": ["FR"]}}, ("week",)),
    ({"until": dt.date(2025, 12, 15), "where": {"category": ["dresses", ""]}}, ("category",)),
    ({"where": {"window_days": ["30"]}}, ("day", "country")),
    ({"where": {"has_several_sizes": ["true"], "country": ["FR", "DE"]}}, ("quarter",)),
    ({"where": {"country": []}}, ("year",)),
]


@pytest.mark.parametrize(("asked", "by"), QUESTIONS, ids=str)
def test_days_and_values_add_up_to_what_the_fact_gives(
    tiny_build: Build, asked: dict[str, Any], by: tuple[str, ...]
) -> None:
    different = []
    for metric in metrics.catalogue():
        known = set(metrics.dimensions(metric.key, tiny_build))
        where = {name: values for name, values in asked.get("where", {}).items() if name in known}
        question = Question(**{**asked, "where": where})
        bound = bind(tiny_build, metric.key, question, by=tuple(b for b in by if b in known))
        try:
            straight = tiny_build.fetch(statement(bound))
        except PartlyKnown:
            continue
        added = sums.statistics_of(tiny_build, bound)
        try:
            pd.testing.assert_frame_equal(
                _sorted(added[straight.columns]), _sorted(straight), rtol=1e-9, atol=1e-9, check_dtype=False
            )
        except AssertionError as error:
            different.append(f"{metric.key}: {str(error)[:200]}")
    assert not different, "\n".join(different)
