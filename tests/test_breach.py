"""What open returns will come to: learnt from snapshots of past ones, judged later, never from what was not known."""

import datetime as dt
import json
import math
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from models import breach
from pipelines.analyses import offers, worklist_at_risk
from pipelines.estimate import breach as pipeline
from pipelines.estimate.work_ahead import work_ahead
from pipelines.metrics import Question, answer
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from pipelines.warehouse.engine import Build


def snapshots(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Draw snapshots whose chance to break is known: the less time is left and the less far the goods, the likelier."""
    rng = np.random.default_rng(seed)
    frame = {f: np.zeros(count) for f in breach.FEATURES}
    frame["left_days"] = rng.uniform(0, 14, count)
    frame["lane_rate"] = rng.normal(-1, 0.5, count)
    frame["at_received"] = (rng.random(count) < 0.4).astype(float)
    truth = 1 / (
        1 + np.exp(-(2.5 - 2 * np.log1p(frame["left_days"]) + frame["lane_rate"] - 1.5 * frame["at_received"]))
    )
    return frame, truth, rng.uniform(0, 180, count)


def test_a_known_truth_is_found_and_beats_the_lane() -> None:
    frame, truth, day = snapshots(6000, 1)
    broken = (np.random.default_rng(2).random(6000) < truth).astype(float)
    base = np.full(6000, broken.mean())
    model = breach.fit(frame, broken, day, day + frame["left_days"], base)
    assert model is not None
    assert model.beats_base_rate()
    assert model.calibration_error < 0.04
    assert np.corrcoef(model.score(frame), truth)[0, 1] > 0.98


def test_noise_does_not_beat_the_lane_and_too_little_teaches_nothing() -> None:
    frame, _, day = snapshots(3000, 3)
    rng = np.random.default_rng(4)
    lane = 1 / (1 + np.exp(-frame["lane_rate"]))
    noise = {f: rng.normal(size=3000) for f in breach.FEATURES}
    broken = (rng.random(3000) < lane).astype(float)
    model = breach.fit(noise, broken, day, day + 1, lane)
    assert model is not None
    assert not model.beats_base_rate()
    few = {f: v[:150] for f, v in frame.items()}
    assert breach.fit(few, broken[:150], day[:150], day[:150], lane[:150]) is None
    assert breach.fit(frame, np.zeros(3000), day, day, lane) is None


def test_a_gain_on_a_few_days_alone_is_not_sure() -> None:
    """All snapshots of a day share what happened next: a model that gains on one of six days by luck is not used."""
    frame, truth, _ = snapshots(3000, 7)
    day = np.repeat(np.arange(24) * 8.0, 125)
    broken = (np.random.default_rng(8).random(3000) < truth).astype(float)
    model = breach.fit(frame, broken, day, day, np.full(3000, broken.mean()))
    assert model is not None
    assert model.beats_base_rate()
    lucky = np.where(day == day.max(), broken, (np.random.default_rng(9).random(3000) < 0.4).astype(float))
    lucky[day < np.quantile(day, 0.75)] = broken[day < np.quantile(day, 0.75)]
    once = breach.fit(frame, lucky, day, day, np.full(3000, broken.mean()))
    assert once is not None
    assert not once.beats_base_rate()


def test_nothing_is_said_beyond_what_was_seen() -> None:
    frame, truth, day = snapshots(3000, 10)
    broken = (np.random.default_rng(11).random(3000) < truth).astype(float)
    model = breach.fit(frame, broken, day, day, np.full(3000, broken.mean()))
    assert model is not None
    far = {f: v[:1].copy() for f, v in frame.items()}
    far["left_days"][:] = -500.0
    edge = {**far, "left_days": np.array([frame["left_days"].min()])}
    assert model.score(far) == pytest.approx(model.score(edge))


def test_what_was_decided_after_the_test_began_teaches_nothing() -> None:
    """Snapshots decided late carry the opposite lesson: a fit that looked at them would be worse on the test."""
    frame, truth, day = snapshots(6000, 5)
    rng = np.random.default_rng(6)
    broken = (rng.random(6000) < truth).astype(float)
    decided = day + 1
    late = (day < np.quantile(day, 0.75)) & (rng.random(6000) < 0.5)
    decided[late] = 400
    wrong = np.where(late, 1 - broken, broken)
    model = breach.fit(frame, wrong, day, decided, np.full(6000, broken.mean()))
    assert model is not None
    assert model.beats_base_rate()
    assert model.calibration_error < 0.05


def test_copies_teach_days_that_were_not_seen_and_are_not_judged_on() -> None:
    """No promise had fewer than three days left; copies that were due sooner say what fewer would have meant."""
    rng = np.random.default_rng(12)
    frame = {f: np.zeros(9000) for f in breach.FEATURES}
    is_copy = np.arange(9000) >= 3000
    left = np.where(is_copy, rng.uniform(-4, 8, 9000), rng.uniform(3, 8, 9000))
    frame["left_days"] = left
    day = rng.uniform(0, 180, 9000)
    broken = (rng.gamma(2, 1.2, 9000) > left).astype(float)
    model = breach.fit(frame, broken, day, day, np.full(9000, 0.2), is_copy)
    alone = breach.fit(
        {f: v[:3000] for f, v in frame.items()}, broken[:3000], day[:3000], day[:3000], np.full(3000, 0.2)
    )
    assert model is not None
    assert alone is not None
    late = {f: np.zeros(1) for f in breach.FEATURES} | {"left_days": np.array([-2.0])}
    assert model.score(late)[0] > 0.97
    assert alone.score(late)[0] < 0.6
    assert (model.rows, model.test_rows) == (alone.rows, alone.test_rows)


def test_a_model_is_read_back_as_it_was() -> None:
    frame, truth, day = snapshots(2000, 13)
    broken = (np.random.default_rng(14).random(2000) < truth).astype(float)
    model = breach.fit(frame, broken, day, day, np.full(2000, 0.3))
    assert model is not None
    again = breach.BreachModel.of(json.loads(json.dumps(model.plain())))
    assert again == model
    assert (again.score(frame) == model.score(frame)).all()


NOW = dt.datetime(2025, 3, 7, 23, 59)  # a Friday


def turns(returns: list[dict[str, Any]]) -> dict[int, tuple[float, float]]:
    """Give in how many days each return comes and in how many its turn is, by what has happened to all of them."""
    stages = ("requested", "handed_over", "carrier_scan", "received", "inspected")
    never = ("cancelled", "rejected", "expired", "lost")
    rows = pd.DataFrame(
        [
            {
                "return_key": i,
                **{f"{s}_at": r.get(s) for s in stages},
                **dict.fromkeys(f"{s}_at" for s in never),
                "place_id": r.get("place"),
                "carrier": r.get("carrier"),
            }
            for i, r in enumerate(returns)
        ]
    )
    for name in rows.columns[rows.columns.str.endswith("_at")]:
        rows[name] = pd.to_datetime(rows[name]).astype("datetime64[us]")
    rows[["place_id", "carrier"]] = rows[["place_id", "carrier"]].astype("string")
    connection = duckdb.connect()
    connection.register("rows", rows.assign(source="shop", country="FR", method="drop_off"))
    connection.execute("CREATE TABLE fact_return_line AS FROM rows")
    connection.execute(
        "CREATE TABLE build_source AS SELECT 'shop' AS source, 'return_event' AS thing, ?::TIMESTAMP AS"
        " last_occurred_at",
        [NOW],
    )
    connection.execute("CREATE TABLE instant AS SELECT 'shop' AS source, ?::TIMESTAMP AS seen_at", [NOW])
    connection.execute("CREATE TABLE snapshot AS SELECT 'shop' AS source, i.seen_at, return_key FROM rows, instant i")
    work_ahead(connection, 0)
    found = connection.execute("SELECT return_key, come_days, turn_days FROM turn WHERE place_id = ''").fetchall()
    return {key: (come, turn) for key, come, turn in found}


def a_site_of_four_a_day() -> list[dict[str, Any]]:
    """Give returns of twenty weeks: four come and are inspected each weekday, a day after they came."""
    days = [NOW - dt.timedelta(days=d, hours=11) for d in range(140)]
    return [
        {
            "requested": day - dt.timedelta(days=4),
            "carrier_scan": day - dt.timedelta(days=3),
            "received": day - dt.timedelta(days=1),
            "inspected": day,
        }
        for day in days
        if day.weekday() < 5
        for _ in range(4)
    ]


def test_a_return_has_its_turn_when_all_before_it_are_inspected() -> None:
    """Ten wait on Friday night at a site that does four each weekday: the fourth's turn is on Monday, the tenth's is
    on Wednesday. One that was scanned a day ago comes on Sunday, and has the eleventh turn."""
    before = a_site_of_four_a_day()
    waiting = [
        {"requested": NOW - dt.timedelta(days=6), "received": NOW - dt.timedelta(hours=20 - i)} for i in range(10)
    ]
    coming = {"requested": NOW - dt.timedelta(days=3), "carrier_scan": NOW - dt.timedelta(days=1)}
    found = turns([*before, *waiting, coming])
    at = len(before)
    come, turn = found[at + 10]
    assert [math.ceil(found[at + i][1]) for i in (0, 3, 4, 9)] == [3, 3, 4, 5]
    assert come == pytest.approx(1, abs=0.6)
    assert math.ceil(turn) == 5
    assert turn > found[at + 9][1]


def test_a_return_does_not_have_its_turn_before_it_comes() -> None:
    before = a_site_of_four_a_day()
    coming = {"requested": NOW - dt.timedelta(hours=2)}
    come, turn = turns([*before, coming])[len(before)]
    assert 1 < come == turn


def test_a_model_of_a_version_before_is_fitted_anew() -> None:
    connection = duckdb.connect()
    connection.execute(
        """CREATE TABLE model_version AS SELECT 'breach/refund' AS model_id, 'breach' AS model, true AS is_used,
        ?::TIMESTAMP AS fitted_at, '{"promise_id": "refund", "intercept": 1.0}' AS parameters""",
        [NOW],
    )
    assert pipeline._stored(connection, NOW) == {}


@pytest.fixture(scope="module")
def copied(sample_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    path = tmp_path_factory.mktemp("breach") / "copy.duckdb"
    path.write_bytes(build_path(sample_settings.warehouse, current_id(sample_settings.warehouse) or "").read_bytes())
    connection = duckdb.connect(str(path))
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def features_of(connection: duckdb.DuckDBPyConnection) -> Any:
    pipeline._prepare(connection, is_learning=True)
    found = connection.execute(pipeline._features("seen_at < observed_until")).df()
    return found.set_index(["return_key", "promise_id", "seen_at"]).sort_index()


def test_a_snapshot_knows_nothing_that_came_later(copied: duckdb.DuckDBPyConnection) -> None:
    """Undo every stage after a week: the features of snapshots of that week stay what they were."""
    whole = features_of(copied)
    week = sorted(whole.index.get_level_values("seen_at").unique())[-8]
    copied.execute("BEGIN")
    for stage in ("handed_over", "carrier_scan", "received", "inspected", "refunded", "restocked"):
        copied.execute(f"UPDATE fact_return_line SET {stage}_at = NULL WHERE {stage}_at > ?", [week])
    early = features_of(copied)
    copied.execute("ROLLBACK")
    names = [*breach.FEATURES, "stage", "stage_days", "base_rate"]
    a = whole.xs(week, level="seen_at")[names]
    b = early.xs(week, level="seen_at")[names]
    assert len(a) > 20
    same = a.index.intersection(b.index)
    assert len(same) > 20
    assert a.loc[same].equals(b.loc[same])


def test_only_open_promises_have_a_risk_and_every_open_return_a_day(copied: duckdb.DuckDBPyConnection) -> None:
    rows = copied.execute("""
        SELECT count(*), count(*) FILTER (p.ended_at IS NULL AND p.stopped_at IS NULL AND p.lost_at IS NULL
            AND p.due_at > t), min(r.probability), max(r.probability)
        FROM estimate_breach_risk r JOIN estimate_promise p USING (return_key, promise_id),
            (SELECT max(last_occurred_at) AS t FROM build_source WHERE thing IN ('order_line', 'return_event',
            'chain_element', 'refund'))
    """).fetchall()[0]
    assert rows[0] == rows[1]
    assert 0 <= (rows[2] or 0) <= (rows[3] or 0) <= 1
    dates = copied.execute(
        "SELECT count(*), count(*) FILTER (expected_at IS NULL OR (early_at <= expected_at AND (late_at IS NULL OR"
        " expected_at <= late_at))) FROM estimate_completion"
    ).fetchall()[0]
    assert dates[0] == dates[1] > 20


def test_models_are_kept_with_their_scores_and_scored_again_without_a_fit(copied: duckdb.DuckDBPyConnection) -> None:
    before = copied.execute(
        "SELECT model_id, score, base_score, is_used FROM model_version WHERE model = 'breach' ORDER BY 1"
    ).fetchall()
    risks = copied.execute(
        "SELECT return_key, promise_id, probability FROM estimate_breach_risk ORDER BY ALL"
    ).fetchall()
    assert before
    assert all(score < base for _, score, base, used in before if used)
    pipeline.breach_risk(copied, Settings())  # none is stale: scored with what is stored
    assert (
        copied.execute(
            "SELECT model_id, score, base_score, is_used FROM model_version WHERE model = 'breach' ORDER BY 1"
        ).fetchall()
        == before
    )
    again = copied.execute(
        "SELECT return_key, promise_id, probability FROM estimate_breach_risk ORDER BY ALL"
    ).fetchall()
    assert [r[:2] for r in again] == [r[:2] for r in risks]
    assert [r[2] for r in again] == pytest.approx([r[2] for r in risks])
    used = {m.split("/")[1] for m, *_, is_used in before if is_used}
    assert {p for _, p, _ in risks} <= used  # one that does not beat its lane is not shown


def test_the_offer_is_the_metric_in_the_promises_own_unit(sample_build: Build) -> None:
    (whole,) = offers(sample_build, "refund", 0.9, by_lane=False, weeks=13)
    since = whole_since(sample_build)
    told = answer(sample_build, "promise_at(0.9)", Question(where={"promise_id": ["refund"]}, since=since)).iloc[0]
    assert (told["value"], told["unit"], told["n"]) == (whole.possible, "business_days", whole.n)
    prices = whole.prices.set_index("duration")
    assert prices["kept"].is_monotonic_increasing
    assert prices.loc[whole.possible, "kept"] >= 0.9
    shorter = prices.loc[prices.index < whole.possible, "kept"]
    assert (shorter < 0.9).all()
    assert ((prices["low"] <= prices["kept"]) & (prices["kept"] <= prices["high"])).all()
    assert prices["broken_a_month"].iloc[0] == pytest.approx((1 - prices["kept"].iloc[0]) * whole.a_month)
    assert whole.is_unkeepable == (whole.kept_high < 0.9)


def whole_since(build: Build) -> Any:
    until = dt.datetime.fromisoformat(build.info["observed_until"]).date()
    return until - dt.timedelta(days=7 * 13 - 1)


def test_lanes_share_out_the_returns_and_small_ones_say_so(sample_build: Build) -> None:
    lanes = offers(sample_build, "refund", 0.9)
    (whole,) = offers(sample_build, "refund", 0.9, by_lane=False)
    assert sum(o.n for o in lanes) == whole.n
    small = [o for o in lanes if o.n < 30]
    assert small
    assert all(np.isnan(o.possible) and "30 are needed" in o.reason for o in small)
    assert offers(sample_build, "nothing promised so", 0.9) == []


def test_the_work_list_has_one_row_a_return_most_at_stake_first(sample_build: Build) -> None:
    found = worklist_at_risk(sample_build)
    assert len(found) > 5
    assert found["return_id"].is_unique
    assert found["at_stake"].is_monotonic_decreasing
    assert (found["at_stake"] - found["amount"] * found["probability"]).abs().max() < 1e-9
    assert (found["next_days_left"] <= found["days_left"] + 1e-9).all()
