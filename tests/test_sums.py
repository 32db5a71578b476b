"""Sums by day: what is added up of days and values is what the fact itself gives."""

import datetime as dt
import pickle
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pandas as pd
import pytest

from pipelines import metrics
from pipelines.errors import UnknownDimension
from pipelines.metrics import Question, handed, sums
from pipelines.metrics.bind import bind
from pipelines.metrics.catalogue import CATALOGUE
from pipelines.metrics.compiler import PartlyKnown, statement
from pipelines.metrics.days import Days
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.finish import waits
from pipelines.warehouse.engine import Build, Kept
from tests.test_engines import _sorted
from tests.turns import by_turns

DAYS: dict[str, Any] = {"since": dt.date(2025, 12, 4), "until": dt.date(2025, 12, 15)}
QUESTIONS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({**DAYS, "where": {"country": []}}, ()),
    ({**DAYS, "where": {"country": ["FR"]}}, ("week", "category")),
    ({"where": {"category": ["dresses", ""], "promise_id": ["whole"]}}, ("category", "month")),
    ({"where": {"country": ["FR"], "channel": ["web", "store"], "window_days": ["30"]}}, ("country", "quarter")),
    ({"until": DAYS["until"], "where": {"has_several_sizes": ["true"]}}, ("year", "has_several_sizes")),
    ({"where": {"country": ["FR"]}, "as_of": DAYS["until"]}, ("channel",)),
]


@pytest.fixture(scope="module")
def cold_build(tiny_build: Build) -> Iterator[Build]:
    """Give a build of which no sums are kept; what is kept of it is dropped."""
    before = tiny_build.cache.pop("days", None)
    yield tiny_build
    tiny_build.cache.pop("days", None)
    if before is not None:
        tiny_build.cache["days"] = before


def bound_to(build: Build, asked: dict[str, Any], by: tuple[str, ...]) -> Iterator[tuple[str, BoundQuestion]]:
    """Bind a question to metrics, one in two by turns, each summed of other things than one before."""
    seen = set()
    for metric in by_turns(metrics.catalogue(), 2, len(by)):
        known = set(metrics.dimensions(metric.key, build))
        where = {name: values for name, values in asked.get("where", {}).items() if name in known}
        question = Question(**{**asked, "where": where})
        bound = bind(build, metric.key, question, by=tuple(b for b in by if b in known))
        summed = (frozenset(metric.measures), metric.details, bound.by, bound.sources)
        if summed not in seen:
            seen.add(summed)
            yield metric.key, bound


def of_something(frame: pd.DataFrame, bound: BoundQuestion) -> pd.DataFrame:
    """Sort statistics; without groups a row of nothing is no row."""
    plain = _sorted(frame)
    names = [m.name for m in bound.metric.measures]
    return plain if bound.by else plain[(plain[names] != 0).any(axis=1)].reset_index(drop=True)


def differences(build: Build, asked: dict[str, Any], by: tuple[str, ...]) -> list[str]:
    """Name the metrics whose sums are not what the fact gives."""
    different = []
    for key, bound in bound_to(build, asked, by):
        try:
            straight = build.fetch(statement(bound))
        except PartlyKnown:
            continue
        added = sums.statistics_of(build, bound)
        one, other = (of_something(frame[straight.columns], bound) for frame in (added, straight))
        try:
            pd.testing.assert_frame_equal(one, other, rtol=1e-9, atol=1e-9, check_dtype=False)
        except AssertionError as error:
            different.append(f"{key}: {str(error)[:200]}")
    return different


@pytest.fixture
def every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read what all values of a filter need, as a server that warms itself does."""
    monkeypatch.setattr(sums.Habit, "of_every_value", True)


@pytest.mark.usefixtures("every_value")
@pytest.mark.parametrize(("asked", "by"), QUESTIONS, ids=str)
def test_days_and_values_add_up_to_what_the_fact_gives(
    cold_build: Build, asked: dict[str, Any], by: tuple[str, ...]
) -> None:
    assert not differences(cold_build, asked, by)


def test_the_days_of_a_value_add_up_to_what_the_fact_gives(tiny_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny_build.cache, "days", Days())
    assert not differences(tiny_build, *QUESTIONS[1])


def test_what_is_read_together_is_what_each_question_reads(tiny_build: Build) -> None:
    keys = [metric.key for metric in metrics.catalogue()]
    by = ("category",)
    before = tiny_build.cache.pop("days", None)
    try:
        metrics.read_ahead(tiny_build, keys, by=by)
        ahead = len(tiny_build.cache["days"])
        assert ahead > 30
        assert not differences(tiny_build, DAYS, by)
    finally:
        tiny_build.cache["days"] = before if before is not None else Days()


def of_two_values(build: Build, key: str, *grains: tuple[str, ...]) -> list[BoundQuestion]:
    """Ask a metric under two values of a filter, of several days and groups."""
    return [
        bind(build, key, Question(where={"category": [category]}, since=since), by=by)
        for category in ("dresses", "footwear")
        for since in (None, dt.date(2025, 12, 5))
        for by in grains
    ]


@pytest.mark.usefixtures("every_value")
def test_days_and_values_of_a_filter_are_read_once(tiny_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny_build.cache, "days", Days())
    asked = of_two_values(tiny_build, "sold_units", (), ("month",), ("category",))
    first = sums.statistics_of(tiny_build, asked[0])
    monkeypatch.setattr(sums.Habit, "of_every_value", False)  # what was read of all is used by who reads one
    monkeypatch.setattr(tiny_build, "fetch", lambda _: pytest.fail("it was read again"))
    told = [sums.statistics_of(tiny_build, one) for one in asked]
    assert float(first["sold"].sum()) == float(told[0]["sold"].sum()) == 6  # 2 of O1, 1 of O3, 1 of O5, 2 of O6
    assert float(told[9]["sold"].sum()) == 3  # O2 and O4: the shoes, ordered from 5 December on


def test_a_value_is_read_alone_unless_all_are_asked_for(tiny_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny_build.cache, "days", Days())
    asked = of_two_values(tiny_build, "sold_units", (), ("month",), ("category",))
    fetch, read = tiny_build.fetch, list[pd.DataFrame]()
    monkeypatch.setattr(tiny_build, "fetch", lambda query: read.append(fetch(query)) or read[-1])
    for one in asked:
        sums.statistics_of(tiny_build, one)
    assert [float(frame["sold"].sum()) for frame in read] == [6, 3]  # of each value once: none holds another's


@pytest.mark.usefixtures("every_value")
def test_what_cannot_be_added_up_is_read_once_of_all_values(tiny_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are counted once each: two values of a filter, or two months, are no sum of what each has."""
    monkeypatch.setitem(tiny_build.cache, "days", Days())
    asked = of_two_values(tiny_build, "order_return_rate", (), ("month",))
    straight = [tiny_build.fetch(statement(one)) for one in asked]
    fetch, read = tiny_build.fetch, list[pd.DataFrame]()
    monkeypatch.setattr(tiny_build, "fetch", lambda query: read.append(fetch(query)) or read[-1])
    for one, other in zip(asked, straight, strict=True):
        pd.testing.assert_frame_equal(_sorted(sums.statistics_of(tiny_build, one)), _sorted(other), check_dtype=False)
    assert len(read) == 4  # of both values together, by each of the days and groups


@pytest.mark.usefixtures("every_value")
def test_sums_are_handed_from_one_process_to_another(tiny_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny_build.cache, "days", Days())
    asked = [
        (key, Question(where={"category": ["dresses"]}), by)
        for key in ("ultimate_return_rate", "promise_kept", "margin_erosion_share", "kg_co2e_per_100_sold")
        for by in ((), ("month",))
    ]
    for key, question, by in asked:
        metrics.answer(tiny_build, key, question.but(level=0.8), by=by)
    told = [pickle.loads(pickle.dumps(one)) for one in handed.hand_over(tiny_build, set())]
    assert len(told) >= 4
    here = tiny_build.cache["days"]
    monkeypatch.setitem(tiny_build.cache, "days", Days())
    for key, frame in told:
        handed.take(tiny_build, key, frame)
    assert set(tiny_build.cache["days"].names()) <= set(here.names())
    monkeypatch.setattr(tiny_build, "fetch", lambda _: pytest.fail("it was read again"))
    for key, question, by in asked[:4]:
        metrics.answer(tiny_build, key, question.but(level=0.7), by=by)


def test_all_sums_that_metrics_are_made_of_can_be_handed_on(tiny_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no name in the catalogue is read again by each process, under every filter."""
    monkeypatch.setitem(tiny_build.cache, "days", Days())
    monkeypatch.setitem(tiny_build.cache, "answers", Kept())
    for one in CATALOGUE:
        with suppress(PartlyKnown, UnknownDimension):
            metrics.answer(tiny_build, one.key, Question(where={"country": ["FR"]}, level=0.8))
    kept = tiny_build.cache["days"]
    keys = [key for key in kept.names() if kept.holds(key)]
    assert len(keys) > 60
    left = []
    for key in keys:
        try:
            assert handed.read(handed.written(key)) == key
        except KeyError as unnamed:
            left.append(str(unnamed))
    assert left == []


def test_how_promises_fall_together_is_kept_of_each_metric(tiny_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promises by law and all promises of a return are not the same promises."""
    monkeypatch.setitem(tiny_build.cache, "days", Days())
    keys = ("promise_kept", "legal_refund_kept")
    bound = [bind(tiny_build, key, Question(where={"country": ["FR"]})) for key in keys]
    apart = [waits._return_effect(tiny_build, one) for one in bound]
    assert len(tiny_build.cache["days"]) == len(keys)
    assert apart == [waits._return_effect(tiny_build, one) for one in reversed(bound)][::-1]


def test_sums_that_are_kept_are_packed_where_there_is_no_more_room_then_let_go() -> None:
    days = pd.date_range("2025-01-01", periods=2_000)
    frames = [pd.DataFrame({"day": days, "market": "FR", "sold": float(n), "any": n % 2 == 0}) for n in range(40)]
    kept, size = Days(), Days()
    size.keep("one", frames[0])
    kept = Days(4 * size.bytes)
    for n, frame in enumerate(frames):
        kept.keep(n, frame)
        assert kept.bytes <= 4 * size.bytes
    found = kept.names()
    assert found == list(range(40))[-len(found) :]
    assert 4 < len(found) < 40
    for n in found:
        packed = kept.get(n)
        assert packed is not None
        pd.testing.assert_frame_equal(packed.astype({"market": "str"}), frames[n])
    assert kept.get(0) is None
    assert not kept.holds(0)
