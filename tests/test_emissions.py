"""Emissions leg by leg.

Columns: doubt, what a change is made of, one return explained, levers, second lives, shared movements.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import hand_build
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from models import levers as lever_models
from models import uncertainty
from models.distance import geodesic_km
from models.split import split
from models.uncertainty import Bounded, Lognormal
from pipelines import analyses, metrics
from pipelines.analyses.emissions import CAUSES
from pipelines.errors import UnknownDimension
from pipelines.estimate import goods
from pipelines.estimate.lanes import lanes
from pipelines.estimate.leg_cost import legs
from pipelines.factors import parameter, parameters
from pipelines.load.shape.versions import create_tables
from pipelines.metrics import Question
from pipelines.metrics.finish.doubt import inputs, rests_on, spreads
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build, open_duckdb
from pipelines.warehouse.shards import Shards
from pipelines.warehouse.sql import key_sql
from pipelines.warehouse.star import STAR
from tests.turns import by_turns

AMOUNT = st.floats(0.01, 1e4)


@contextmanager
def rebuilt(folder: Path, **tables: list[dict[str, Any]]) -> Iterator[Build]:
    with open_duckdb(hand_build.write(folder / "hand.duckdb", tables)) as build:
        yield build


CELLS = [{"factor:a": 1.0, "parameter:x": 1.0}, {"factor:a": 1.0}, {"factor:b": 1.0, "parameter:x": 1.0}]


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Totals drawn from the same errors fall into the 90% interval nine times in ten."""
    doubts = {"factor:a": Lognormal(0.2), "factor:b": Lognormal(0.4), "parameter:x": Bounded(2.0, 7.0, 30.0)}
    kg = np.array([[3.0, 5.0, 2.0]])
    low, high = uncertainty.intervals(kg, uncertainty.errors(CELLS, doubts), 0.9)
    truth = (kg @ uncertainty.errors(CELLS, doubts, draws=4000, seed=5))[0]
    assert np.mean((truth > low[0]) & (truth < high[0])) == pytest.approx(0.9, abs=0.015)


def truth_within(rng: np.random.Generator, shape: str, low: float, value: float, high: float, n: int) -> Any:
    """Draw what was stated as a value between bounds, by a shape that the estimator may not assume."""
    if shape == "even":
        return rng.uniform(low, high, n)
    if shape == "triangular":
        return rng.triangular(low, value, high, n)
    sd = np.log(high / max(low, high / 50)) / 3.29
    drawn = value * np.exp(sd * rng.standard_normal(20 * n))
    return drawn[(drawn >= low) & (drawn <= high)][:n]


@pytest.mark.parametrize("shape", ["even", "triangular", "lognormal"])
def test_truths_of_other_shapes_within_the_bounds_are_held(shape: str) -> None:
    """A trip of 2 to 30 km, half of whose share is due, by a car whose factor is off by a gamma: held 88% or more."""
    trip, share = (2.0, 7.0, 30.0), (0.0, 1.0, 1.0)
    doubts = {"km": Bounded(*trip), "share": Bounded(*share), "car": Lognormal(0.1)}
    low, high = uncertainty.intervals([[1.0]], uncertainty.errors([dict.fromkeys(doubts, 1.0)], doubts), 0.9)
    rng = np.random.default_rng(7)
    of = (truth_within(rng, shape, *ends, 20_000) / ends[1] for ends in (trip, share))
    truth = np.prod([*of, rng.gamma(100, 0.01, 20_000)], axis=0)
    assert np.mean((truth >= low[0]) & (truth <= high[0])) >= 0.88


def test_the_mean_of_a_sample_is_doubted_as_its_interval_says() -> None:
    survey = uncertainty.Sampled(8.0, 10.0, 13.0)
    drawn = survey.drawn(np.random.default_rng(3).random(20_000))
    assert np.quantile(drawn, [0.05, 0.5, 0.95]) == pytest.approx([8, 10, 13], rel=0.02)
    assert (uncertainty.Sampled(0.0, 0.1, 0.6).drawn(np.linspace(0, 1, 101)[1:-1]) >= 0).all()


def test_shared_errors_do_not_average_out() -> None:
    """A hundred legs of one factor are as unsure as one leg; of a hundred factors far surer."""
    same = uncertainty.intervals(np.ones((1, 100)), uncertainty.errors([{"f": 1.0}] * 100, {"f": Lognormal(0.3)}), 0.9)
    own = [{f"f{i}": 1.0} for i in range(100)]
    drawn = uncertainty.errors(own, {f"f{i}": Lognormal(0.3) for i in range(100)})
    other = uncertainty.intervals(np.ones((1, 100)), drawn, 0.9)
    width = [float(high[0] - low[0]) for low, high in (same, other)]
    assert width[1] < width[0] / 5


@pytest.mark.parametrize(
    "name", [".".join(key).rstrip(".") for key, row in parameters().items() if row["low"] and row["high"]]
)
def test_stated_bounds_are_honoured(name: str) -> None:
    """A trip stated as 2 to 30 km is drawn within 2 to 30, and reaches for both ends."""
    row = parameters()[tuple(name.partition(".")[::2])]  # type: ignore[index]
    low, value, high = (float(row[n]) for n in ("low", "value", "high"))
    drawn = Bounded(low, value, high).drawn(np.linspace(0, 1, 1001))
    assert low == drawn.min() <= value <= drawn.max() == high
    assert (np.diff(drawn) >= 0).all()


def test_shares_of_modes_keep_their_bounds_and_add_up() -> None:
    stated = tuple(Bounded(*ends) for ends in ((0.6, 0.83, 0.95), (0.05, 0.14, 0.2), (0.0, 0.03, 0.3)))
    uniform = np.random.default_rng(1).random((5000, 2))
    car, bus, foot = (
        uncertainty.Shares(stated, tuple(np.eye(3)[i])).errors(uniform) * stated[i].value for i in range(3)
    )
    assert np.allclose(car + bus + foot, 1)
    for share, ends in zip((car, bus, foot), stated, strict=True):
        assert ends.low <= share.min() < share.max() <= ends.high


def test_fewer_draws_a_group_when_there_are_many_and_the_same_interval() -> None:
    assert uncertainty.draws_for(1) == uncertainty.DRAWS
    assert uncertainty.draws_for(10**6) == uncertainty.FEWEST
    doubts = {"factor:a": Lognormal(0.2), "factor:b": Lognormal(0.4), "parameter:x": Bounded(2.0, 7.0, 30.0)}
    ends = [
        np.array(uncertainty.intervals([[3.0, 5.0, 2.0]], uncertainty.errors(CELLS, doubts, draws=n), 0.9)).ravel()
        for n in (uncertainty.FEWEST, 100 * uncertainty.DRAWS)
    ]
    assert ends[0] == pytest.approx(ends[1], rel=0.06)


def _used(build: Build) -> list[Any]:
    return list(build.fetch(select(STAR.tables["factor_set"].c.factor_id))["factor_id"])


def test_what_a_leg_rests_on(sample_build: Build) -> None:
    assert inputs("desnz2025.van_diesel.tonne_km", "first_mile", "measured", "measured", None) == ()
    assert inputs("desnz2025.car_average.vehicle_km", "customer_trip", "assumed", None, "assumed") == (
        "parameter:trip_distance",
        "parameter:trip_share",
    )
    assert inputs("x.truck", "trunk", "great_circle", "assumed", None) == (
        "parameter:circuity",
        "parameter:parcel_mass",
    )
    assert inputs("x.van", "first_mile", "same_area", None, None) == ("parameter:same_area_distance",)
    assert inputs("x.truck", "trunk", "shortest_feasible", None, None) == ("parameter:road_adjustment",)
    assert inputs("x.air_long", "trunk", "great_circle", None, None) == ()  # a flight's factor holds its detours
    assert inputs("x.packaging_film", "packaging", None, "assumed", None) == (
        "parameter:packaging_mass.packaging_film",
    )
    crate = dict(rests_on(sample_build, "desnz2025.packaging_crate", "packaging", None, "measured", None))
    assert crate == {"factor:packaging_crate": 1, "parameter:packaging_uses": 1}
    hub = dict(rests_on(sample_build, "ademe2023.hub_sorting.DE.owid2025", "hub", None, None, None))
    power = hub["parameter:hub_electricity.hub_sorting"]
    assert 0 < power == hub["factor:grid.DE"] < 1
    assert hub["factor:hub_sorting"] == pytest.approx(1 - power)
    van = next(str(f) for f in _used(sample_build) if ".van_electric.kwh_" in str(f))
    assert dict(rests_on(sample_build, van, "first_mile", "measured", None, None)) == {
        "factor:van_electric": 1,
        f"factor:grid.{van.split('.')[3]}": 1,
    }
    assert rests_on(sample_build, "owid2025.grid.FR", "hub", None, None, None) == (("factor:grid.FR", 1.0),)
    trip = dict(rests_on(sample_build, "trip_mix.all.desnz2025", "customer_trip", "measured", None, "assumed"))
    assert trip["factor:car_average"] + trip["factor:bus_local"] == pytest.approx(1)
    assert trip["parameter:trip_mode"] == trip["parameter:trip_share"] == 1
    uses = spreads(sample_build, crate)["parameter:packaging_uses"]
    assert uncertainty.drawn_error("uses", uses).max() <= 50 / 20  # a crate lasts 20 trips at least


CUTS = ("country", "category", "product", "carrier", "parcel", "month", "return_reason")


def test_every_cut_has_an_interval_and_the_total_lies_in_it(sample_build: Build) -> None:
    for key in (m.key for m in metrics.catalogue() if m.family == "carbon"):
        known = {*metrics.dimensions(key), "parcel" if "parcel_id" in metrics.dimensions(key) else ""}
        known |= {"product" if "product_id" in known else ""}
        for by in [(), *((cut,) for cut in by_turns([c for c in CUTS if c in known], 2, len(key)))]:
            found = metrics.answer(sample_build, key, by=by).dropna(subset="value")
            assert len(found), (key, by)
            assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all(), (key, by)
            unsure = found[(found["value"] > 0) & (found["unit"] != "share")]
            assert (unsure["low"] < unsure["high"]).all(), (key, by)


def test_the_doubt_of_a_total_adds_up(sample_build: Build) -> None:
    swings = analyses.tornado(sample_build)
    assert swings["share"].sum() == pytest.approx(1)
    assert (swings["high"] - swings["low"]).is_monotonic_decreasing
    found = metrics.answer(sample_build, "kg_co2e").iloc[0]
    width = found["high"] - found["low"]
    assert swings["narrower_kg"].between(0, width).all()
    assert swings["cost"].gt(0).all()
    assert swings["kg_per_cost"].tolist() == pytest.approx((swings["narrower_kg"] / swings["cost"]).tolist())
    survey = swings[swings["measuring"] == "trip_survey"]
    assert set(survey["source"]) >= {"parameter:trip_distance", "factor:car_average"}
    assert survey["narrower_kg"].nunique() == 1  # one survey tells them all


def test_a_comparison_does_not_rest_on_doubt_both_spans_share(sample_build: Build) -> None:
    spans = {"period": (date(2025, 7, 1), date(2025, 9, 30)), "against": (date(2025, 4, 1), date(2025, 6, 30))}
    found = metrics.compare(sample_build, "kg_co2e", **spans)
    assert found["low"].isna().all()
    assert found["is_within_noise"].isna().all()


SIDE = st.lists(st.tuples(AMOUNT, AMOUNT, AMOUNT), min_size=1, max_size=6)


@given(SIDE, SIDE)
def test_a_split_leaves_no_residual(before: list[tuple[float, ...]], after: list[tuple[float, ...]]) -> None:
    size = min(len(before), len(after))
    sides = [{n: [row[i] for row in rows[:size]] for i, n in enumerate("abc")} for rows in (before, after)]
    totals = [sum(np.prod([side[n][k] for n in "abc"]) for k in range(size)) for side in sides]
    assert sum(split(*sides).values()) == pytest.approx(totals[1] - totals[0], rel=1e-9, abs=1e-6 * max(totals))


def test_what_did_not_move_has_no_effect_and_what_begins_is_counted() -> None:
    found = split({"volume": [2.0, 2.0], "kg": [3.0, 0.0]}, {"volume": [2.0, 2.0], "kg": [3.0, 4.0]})
    assert found["volume"] == pytest.approx(0, abs=1e-9)
    assert found["kg"] == pytest.approx(8)


def test_the_causes_add_up_to_the_change(sample_build: Build) -> None:
    spans = {"period": (date(2025, 8, 1), date(2025, 11, 30)), "against": (date(2024, 8, 1), date(2024, 11, 30))}
    found = analyses.change_split(sample_build, **spans).set_index("step")["amount"]
    assert list(found.index) == ["before", *CAUSES, "after"]
    assert found["before"] + found[list(CAUSES)].sum() == pytest.approx(found["after"])
    for step, (since, until) in (("before", spans["against"]), ("after", spans["period"])):
        whole = metrics.answer(sample_build, "kg_co2e_per_100_sold", Question(since=since, until=until))["value"].iloc[
            0
        ]
        assert found[step] == pytest.approx(whole)


def evaluated(formula: str) -> tuple[float, float]:
    """Work out the left side of a formula from its text alone."""
    left, right = formula.rsplit(" = ", 1)
    plain = re.sub(r"kgCO2e/[a-z.]+|parcels?|uses|kg|km", " ", left).replace("x", "*")
    return float(eval(plain, {"__builtins__": {}})), float(right.split()[0])


def test_every_formula_gives_what_it_says(sample_build: Build) -> None:
    """From the printed numbers alone, for every leg of sixty returns (the proofs: 300) but mixed treatments."""
    names = metrics.rows(sample_build, "returned_units", limit=300)["return_id"].unique()
    names = by_turns(names, 5)
    counted = 0
    for name in names:
        told = analyses.explain(sample_build, str(name))
        total = 0.0
        for parcel in told["parcels"]:
            for leg in parcel["legs"]:
                if "each kind" in leg["formula"] or leg["kg_co2e"] is None:
                    continue
                value, said = evaluated(leg["formula"])
                assert value == pytest.approx(said, rel=1e-8, abs=1e-9), leg["formula"]
                assert leg["low"] <= leg["kg_co2e"] <= leg["high"] or leg["kg_co2e"] == 0
                counted += 1
            assert sum(parcel["by_activity"].values()) == pytest.approx(parcel["kg_co2e"])
            total += parcel["kg_co2e"]
        assert told["kg_co2e"] is None or told["kg_co2e"] <= total * (1 + 1e-9)
    assert counted > 3.5 * len(names)


def test_a_return_nobody_knows(tiny_build: Build) -> None:
    with pytest.raises(UnknownDimension, match="There is no return 'R-none'"):
        analyses.explain(tiny_build, "R-none")


def test_parcels_are_counted_once(sample_build: Build) -> None:
    found = analyses.parcels(sample_build)
    whole = metrics.answer(sample_build, "kg_co2e_per_parcel").iloc[0]
    assert found["parcels"].sum() == whole["n"]
    assert found["kg_co2e"].sum() / found["parcels"].sum() == pytest.approx(whole["value"])
    assert found.loc[(found["low"] >= 0.02) & (found["high"] <= 10), "flagged"].sum() == 0


@given(AMOUNT, st.floats(1.0, 5.0), AMOUNT, st.floats(0.0, 1.0))
def test_levers_never_add_emissions(kg: float, rounds: float, km: float, share: float) -> None:
    assert lever_models.merged_rounds(kg, rounds) <= kg
    assert lever_models.by_rail(kg, 0.1, 0.03, share) <= kg * (1 + 1e-12)
    assert lever_models.shortened(kg, km, km * share) <= kg * (1 + 1e-12)
    assert lever_models.without_packaging(kg, 1.0, share) <= kg


def test_levers_save_no_more_than_there_is(sample_build: Build) -> None:
    found = analyses.levers(sample_build).set_index("lever")
    total = metrics.answer(sample_build, "kg_co2e", by=("activity",)).set_index("activity")["value"]
    assert set(found.index) == {"no_box", "fewer_rounds", "rail", "keep_it", "repair"}
    assert 0 < found.loc["no_box", "kg_co2e"] < total["packaging"] + total["transport"]
    assert 0 < found.loc["rail", "kg_co2e"] < total["transport"]
    assert (found["kg_co2e"].dropna() / found["share"].dropna()).to_numpy() == pytest.approx(total.sum())
    assert found.loc["keep_it", "money"] > 0
    assert np.isnan(found.loc["repair", "kg_co2e"])  # mending lowers no emission of returns: it avoids new goods
    assert found.loc["repair", "avoided_kg_co2e"] > 0


def test_the_nearest_centre_by_hand(tmp_path: Path) -> None:
    """Two parcels go 100 km to Lille though a centre stands in Nantes: the second opens where the trunk begins."""
    near = {
        "place_key": 9,
        "place_id": "shop:near",
        "kind": "returns_centre",
        "name": "Centre Nantes",
        "country": "FR",
        "area": "FR-44",
        "latitude": 47.3,
        "longitude": -1.6,
    }
    road = [{**leg, "mode": "truck"} for leg in hand_build.TABLES["fact_return_leg"]]
    with rebuilt(tmp_path, dim_place=[*hand_build.PLACES, near], fact_return_leg=road) as build:
        found = analyses.levers(build).set_index("lever").loc["nearest_centre"]
    km = geodesic_km(47.2, -1.6, 47.3, -1.6) * parameter("circuity")
    assert (found["touched"], found["touched_unit"]) == (2, "parcels")
    assert found["kg_co2e"] == pytest.approx(2.5 * (1 - km / 100))
    assert found["days"] == pytest.approx((100 - km) / parameter("lever_road_speed"))


def test_second_lives_by_hand() -> None:
    """Footprint of the class, else clothing by the kilogram.

    Only used goods displace new ones, and nothing lowers emissions.
    """
    connection = duckdb.connect()
    create_tables(connection)
    connection.execute("""
        INSERT INTO dim_product (product_key, product_id, is_current, footprint_class, hs_chapter) VALUES
            (1, 's:jeans', true, 'ademe_ic2.jeans', '62'), (2, 's:shirt', true, NULL, '61'), (3, 's:vase', true, NULL,
                '70');
        INSERT INTO fact_return_line (return_lot_key, product_key, disposition, units, weight_kg) VALUES
            (1, 1, 'b_stock', 2, 0.6), (2, 2, 'repaired', 1, 0.2), (3, 1, 'as_new', 1, 0.6), (4, 1, 'destroyed', 1,
                0.6), (5, 3, 'donated', 1, 1.0), (6, 1, NULL, 1, 0.6);
    """)
    goods.avoided(connection, "TRUE")
    rows = connection.execute(
        "SELECT return_lot_key, kg_co2e_new, kg_co2e_avoided_low, kg_co2e_avoided_central, kg_co2e_avoided_high, status"
        " FROM estimate_avoided_carbon ORDER BY 1"
    ).fetchall()
    jeans, shirt = 2 * 23.2, 22.31 * 0.2
    assert rows[0] == (
        1,
        pytest.approx(jeans),
        pytest.approx(0.39 * jeans),
        pytest.approx(0.646 * jeans),
        pytest.approx(0.8 * jeans),
        "imputed",
    )
    assert rows[1] == (
        2,
        pytest.approx(shirt),
        pytest.approx(0.39 * shirt),
        pytest.approx(0.646 * shirt),
        pytest.approx(0.8 * shirt),
        "assumed",
    )
    assert [r[3] for r in rows[2:4]] == [0, 0]
    assert rows[3][1] == pytest.approx(23.2)
    assert rows[4][1:] == (None, None, None, None, None)
    assert [r[0] for r in rows] == [1, 2, 3, 4, 5]
    assert connection.execute("SELECT count(*) FROM estimate_leg_carbon").fetchall() == [(0,)]


def moved(complete: bool) -> duckdb.DuckDBPyConnection:
    """Three parcels in one lorry from one hub, to two places; or two of the three."""
    connection = duckdb.connect()
    create_tables(connection)
    connection.execute(f"""
        INSERT INTO build_info VALUES ('reporting_currency', 'EUR');
        INSERT INTO dim_place (place_key, place_id, kind, country, area, latitude, longitude) VALUES
            (1, 's:A', 'hub', 'FR', 'FR-1', 48.0, 2.0), (2, 's:B', 'returns_centre', 'FR', 'FR-2', 49.0, 2.0), (3,
                's:C', 'returns_centre', 'FR', 'FR-3', 50.0, 2.0);
        INSERT INTO fact_return_leg BY NAME
        SELECT leg_key, leg_key AS parcel_key, 'transport' AS element_type, 'trunk' AS role, DATE '2025-03-01'
            AS started_on, 'van' AS mode, 'van_diesel' AS vehicle, 'diesel' AS fuel, 'C' AS carrier,
            's' AS source, 'M1' AS movement_id, 3 AS movement_parcels, 300.0 AS distance_km, mass_kg, 1
                AS from_place_key, b AS to_place_key, {key_sql("'s:A|' || b")} AS lane_key
        FROM (VALUES (1, 1.0, 2), (2, 3.0, 3), (3, 2.0, 3)) v(leg_key, mass_kg, b) WHERE {complete} OR leg_key < 3;
    """)
    lanes(connection, Settings())
    legs(connection, Settings(), Shards(), "TRUE")
    return connection


def test_a_movement_wholly_known_is_shared_by_mass_and_direct_distance() -> None:
    rows = (
        moved(complete=True)
        .execute(
            "SELECT leg_key, kg_co2e, kg_co2e_wtt + kg_co2e_ttw, method, kg_co2e_tonne_km, mass_kg FROM"
            " estimate_leg_carbon ORDER BY 1"
        )
        .fetchall()
    )
    b, c = geodesic_km(48, 2, 49, 2), geodesic_km(48, 2, 50, 2)
    weights = np.array([1 * b, 3 * c, 2 * c])
    assert [r[1] for r in rows] == pytest.approx(list(300 * 0.31689 * weights / weights.sum()))
    assert sum(r[1] for r in rows) == pytest.approx(300 * 0.31689)  # the parcels carry the whole vehicle
    assert [r[2] for r in rows] == pytest.approx([r[1] for r in rows])
    assert {r[3] for r in rows} == {"shared"}
    assert [r[4] for r in rows] == pytest.approx([300 * m / 1000 * 0.78225 for m in (1, 3, 2)])


def test_sharing_again_changes_nothing() -> None:
    """An increment shares every movement anew: what the legs would be by tonne-kilometres stays what it was."""
    connection = moved(complete=True)
    before = connection.execute("SELECT * FROM estimate_leg_carbon ORDER BY leg_key").fetchall()
    connection.execute("DELETE FROM estimate_leg_carbon WHERE leg_key = 1")
    legs(connection, Settings(), Shards(), "leg_key = 1")
    assert connection.execute("SELECT * FROM estimate_leg_carbon ORDER BY leg_key").fetchall() == before


def test_a_movement_with_strangers_is_by_tonne_kilometres() -> None:
    rows = moved(complete=False).execute("SELECT method, kg_co2e_tonne_km FROM estimate_leg_carbon").fetchall()
    assert rows == [("per_tonne_km", None)] * 2


def test_a_given_distance_is_adjusted_by_what_it_is() -> None:
    """Driven kilometres as they are.

    The shortest by road x 1.05; the straight line x circuity; a flight's line as it is.
    """
    connection = duckdb.connect()
    create_tables(connection)
    connection.execute("""
        INSERT INTO fact_return_leg (leg_key, parcel_key, element_type, role, started_on, mode, vehicle, mass_kg,
            distance_km, distance_type) VALUES
            (1, 1, 'transport', 'trunk', '2025-03-01', 'truck', 'truck_artic', 1, 100, 'actual'), (2, 1, 'transport',
                'trunk', '2025-03-01', 'truck', 'truck_artic', 1, 100, 'shortest_feasible'),
            (3, 1, 'transport', 'trunk', '2025-03-01', 'truck', 'truck_artic', 1, 100, 'great_circle'), (4, 1,
                'transport', 'trunk', '2025-03-01', 'air', 'air_short', 1, 100, 'great_circle');
    """)
    legs(connection, Settings(), Shards(), "TRUE")
    rows = connection.execute(
        "SELECT distance_km, distance_adjustment, distance_status, kg_co2e FROM estimate_leg_carbon ORDER BY leg_key"
    ).fetchall()
    assert [r[:3] for r in rows] == [
        (100, 1, "measured"),
        (pytest.approx(105), 1.05, "imputed"),
        (125, 1.25, "imputed"),
        (100, 1, "imputed"),
    ]
    assert rows[1][3] == pytest.approx(1.05 * rows[0][3])


def test_reused_packaging_and_trips_without_a_mode() -> None:
    connection = duckdb.connect()
    create_tables(connection)
    connection.execute("""
        INSERT INTO fact_return_leg (leg_key, parcel_key, element_type, role, started_on, mode, service, mass_kg,
            distance_km, country) VALUES
            (1, 1, 'activity', 'packaging', '2025-03-01', NULL, 'reusable crate', 1.0, NULL, 'FR'), (2, 1, 'activity',
                'packaging', '2025-03-01', NULL, 'original box', 0.3, NULL, 'FR'),
            (3, 1, 'activity', 'customer_trip', '2025-03-01', NULL, NULL, NULL, 10, 'FR'), (4, 1, 'activity',
                'packaging', '2025-03-01', NULL, 'goat skin', 0.3, NULL, 'FR');
    """)
    legs(connection, Settings(), Shards(), "TRUE")
    rows = connection.execute("SELECT kg_co2e, activity, status FROM estimate_leg_carbon ORDER BY leg_key").fetchall()
    assert rows[0] == (pytest.approx(2.5775717 / 50), "packaging", "measured")
    assert rows[1][0] == 0
    assert rows[2] == (pytest.approx(10 * (0.8295 * 0.21124 + 0.1384 * 0.13034)), "customer_trip", "assumed")
    assert rows[3][0] is None  # a missing factor is a missing answer
