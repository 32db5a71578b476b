"""Waits at another pace: the alarm, what it is computed from, and the answers that carry it."""

from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from models import pace, promises
from pipelines import analyses, metrics
from pipelines.estimate import completion
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.engine import Build, open_duckdb
from tests.evidence._models_times import DAYS, backlog, steady, tables


def test_a_backlog_is_told_and_hands_that_keep_up_are_not() -> None:
    slow, calm = (pace.pace(*tables(*world(5), DAYS)) for world in (backlog, steady))
    assert slow.is_drifting
    assert slow.factor > 1.3
    assert not calm.is_drifting


def test_a_few_waits_say_nothing() -> None:
    few = np.zeros((pace.WEEKS, 3))
    few[:, 0] = 1.0
    assert pace.pace(few, few, few) == pace.UNKNOWN
    assert pace.pace(few[:3], few[:3], few[:3]) == pace.UNKNOWN


def test_ends_are_compared_by_age() -> None:
    """More waits come than before, and each ends as waits of its age do: the pace is the same."""
    rng = np.random.default_rng(1)
    begun = np.sort(np.concatenate([rng.uniform(0, 200, 6000), rng.uniform(180, 200, 3000)]))
    done = begun + rng.gamma(3.0, 2.0, len(begun))
    assert not pace.pace(*tables(begun, done, 200.0)).is_drifting
    later = np.where(begun > 185, begun + 2 * (done - begun), done)
    assert pace.pace(*tables(begun, later, 200.0)).is_drifting


def test_the_build_holds_the_pace_of_each_stage(sample_build: Build) -> None:
    """The sample shop ends in a January in which more comes back than can be inspected."""
    found = analyses_of(sample_build)
    assert found.loc["received-inspected", "is_drifting"]
    assert found.loc["received-inspected", "factor"] > 1.2
    assert not found.loc["requested-approved", "is_drifting"]


def analyses_of(build: Build) -> pd.DataFrame:
    from sqlalchemy import select

    from pipelines.warehouse.star import STAR

    return build.fetch(select(STAR.tables["estimate_stage_pace"])).set_index("stage")


def test_the_waits_of_facts_are_counted_as_waits_are(sample_build: Build) -> None:
    """The ends of the last weeks, counted here from the lots themselves."""
    from sqlalchemy import select

    from pipelines.warehouse.star import STAR

    c = STAR.tables["fact_return_line"].c
    lots = sample_build.fetch(select(c.received_at, c.inspected_at).where(c.received_at.is_not(None)))
    until = pd.Timestamp(sample_build.info["observed_until"]).tz_localize(None)
    row = analyses_of(sample_build).loc["received-inspected"]
    done = pd.to_datetime(lots["inspected_at"])
    ended = ((done <= until) & (done > until - timedelta(days=7 * int(row["weeks"])))).sum()
    assert row["ended"] == pytest.approx(ended, rel=0.02)  # lots whose dates cannot be are left out


def test_answers_about_now_carry_the_alarm_and_those_about_then_do_not(sample_build: Build) -> None:
    stages = metrics.answer(sample_build, "stage_days", by=("stage",)).set_index("stage")
    assert stages.loc["received-inspected", "caution"] == "stage_pace"
    assert "times the usual time" in stages.loc["received-inspected", "reason"]
    assert "stage_pace" not in stages.loc["requested-approved", "caution"]
    last = pd.Timestamp(sample_build.info["observed_until"]).date()
    then = Question(until=last - timedelta(days=120), where={"stage": ["received-inspected"]})
    assert metrics.answer(sample_build, "stage_days", then)["caution"].tolist() == [""]
    assert "stage_pace" in metrics.answer(sample_build, "breach_risk")["caution"].iloc[0]
    (offer,) = analyses.offers(sample_build, "refund", 0.9, by_lane=False)
    assert "stage_pace" in offer.caution
    assert analyses.worklist_at_risk(sample_build)["caution"].str.contains("stage_pace").all()


def test_a_return_is_compared_with_those_at_its_stage_and_age() -> None:
    """Fresh ones have two days left, old ones eight; a lane of forty of its own counts beside thirty of all."""
    counted = {
        "stage": np.array(["received"] * 3),
        "age": np.array([0, 3, 3]),
        "lane": np.array(["a", "a", "b"]),
        "cause": np.array([promises.COMPLETED] * 3),
        "bin": np.array([7, 31, 39]),
        "n": np.array([500.0, 500.0, 40.0]),
    }
    waiting = {
        "return_key": np.array([1, 2, 3]),
        "stage": np.array(["received"] * 3),
        "age": np.array([0, 3, 3]),
        "lane": np.array(["a", "a", "b"]),
        "stage_days": np.array([0.5, 4.0, 4.0]),
        "extra": np.array([0.0, 1.5, 0.0]),
    }
    found = completion._expected(counted, waiting)
    assert found["expected"].tolist() == pytest.approx([2.0, 8.0 + 1.5, 10.0])
    assert found["early"].tolist()[1] == pytest.approx(8.0)


def test_an_expected_rate_that_does_not_come_is_told(sample_settings: Settings, tmp_path: Path) -> None:
    """Half as much again is expected as the model said: the orders of late are held against it."""
    path = tmp_path / "copy.duckdb"
    path.write_bytes(build_path(sample_settings.warehouse, current_id(sample_settings.warehouse) or "").read_bytes())
    assert metrics.answer(open_duckdb(path), "expected_return_rate")["caution"].tolist() in ([""], ["coverage"])
    other = tmp_path / "other.duckdb"
    other.write_bytes(path.read_bytes())
    with duckdb.connect(str(other)) as connection:
        connection.execute("UPDATE estimate_return_probability SET probability = least(1.6 * probability, 1)")
    found = metrics.answer(open_duckdb(other), "expected_return_rate").iloc[0]
    assert "model_level" in found["caution"]
    assert "were expected back" in found["reason"]
