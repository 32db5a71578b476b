"""The stories the demo shop hides, found through metrics alone: the right cause, the right date, and nothing else.

A search runs over every carrier, country, category or product, and knows no name and no day beforehand; what was
planted (`data/sample/stories.yaml`) is only what its finding is compared with. The shop is drawn from a seed, so each
test has one outcome. BACKHAUL_DEMO_WAREHOUSE may name a loaded demo warehouse, to save making one: a minute, for which
all but the search itself runs in `make evidence ONLY=suite` alone.
"""

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from pipelines import analyses, metrics
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.people import actions
from pipelines.sample import write_sample
from pipelines.sample.draws import stories
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build

WEEK = dt.timedelta(days=7)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Shop:
    """The demo shop's build, its last day, and what was planted in it."""

    build: Build
    end: dt.date
    told: dict[str, Any]

    def day(self, weeks: float) -> dt.date:
        """The first day of a story that began so many weeks before the end."""
        return self.end - round(7 * weeks) * DAY


@pytest.fixture(scope="module")
def demo_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    given = os.environ.get("BACKHAUL_DEMO_WAREHOUSE")
    folder = tmp_path_factory.mktemp("demo")
    warehouse = Path(given) if given else folder / "warehouse"
    if not given:
        write_sample(folder / "raw", 200_000, 7)
        load(Settings(warehouse=warehouse), [folder / "raw"])
    build = current_build(warehouse)
    end = dt.datetime.fromisoformat(build.info["observed_until"]).date()
    yield Shop(build, end, stories())
    build.close()


class Shift(NamedTuple):
    """A level that changed: first week at the new level, and the means on both sides."""

    on: dt.date
    before: float
    after: float


def shifts(weekly: pd.DataFrame, by: Sequence[str], margin: int = 4) -> dict[Any, Shift]:
    """Find the groups whose weekly level changed once for good, and when.

    For each group every cut into "before" and "after" (each at least `margin` weeks) is tried; weeks weigh by their n.
    The noise is what the weeks themselves scatter about both means, so that clustered orders need no model. A cut
    counts when its z passes the limit that all cuts of all groups together pass by chance in 1% of searches
    (Bonferroni).
    """
    best: dict[Any, tuple[float, Shift]] = {}
    cuts = 0
    for group, rows in weekly[weekly["n"] > 0].groupby(list(by), dropna=False):
        rows = rows.sort_values("week")
        value, n = rows["value"].to_numpy(float), rows["n"].to_numpy(float)
        at = np.arange(margin, len(rows) - margin + 1)
        if len(at) == 0:
            continue
        cuts += len(at)
        left, upto = np.cumsum(n)[at - 1], np.cumsum(n * value)[at - 1]
        whole, mean = n.sum(), (n * value).sum()
        before, after = upto / left, (mean - upto) / (whole - left)
        gain = left * (whole - left) / whole * (after - before) ** 2
        rest = (n * value**2).sum() - mean**2 / whole - gain
        z = np.sqrt(gain / np.maximum(rest / (len(rows) - 2), 1e-9))
        i = int(z.argmax())
        week = pd.Timestamp(rows["week"].iloc[at[i]]).date()
        best[group[0] if len(by) == 1 else group] = float(z[i]), Shift(week, float(before[i]), float(after[i]))
    limit = norm.isf(0.01 / 2 / max(cuts, 1))
    return {group: shift for group, (z, shift) in best.items() if z > limit}


def weekly(shop: Shop, key: str, by: Sequence[str], **question: Any) -> pd.DataFrame:
    """Answer a metric by week and group, numbers only."""
    found = metrics.answer(shop.build, key, Question(**question), by=(*by, "week"))
    return found[found["status"] == "ok"]


def parts(counts: pd.DataFrame, by: Sequence[str], split: str) -> pd.DataFrame:
    """Turn weekly counts into each part's share of its group's week; parts that did not occur are 0."""
    wide = counts.pivot_table(index=[*by, "week"], columns=split, values="value", aggfunc="sum", fill_value=0.0)
    whole = wide.sum(axis=1)
    share = wide.div(whole.where(whole > 0), axis=0).stack().rename("value").reset_index()
    return share.merge(whole.rename("n").reset_index(), on=[*by, "week"])


def near(found: dt.date, told: dt.date, days: int) -> bool:
    """Say whether two days lie within so many days of each other."""
    return abs((found - told).days) <= days


def only(frame: pd.DataFrame, **values: Any) -> Any:
    """Give the one row with these values."""
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def test_the_search_finds_a_step_and_no_noise() -> None:
    rng = np.random.default_rng(1)
    week = pd.date_range("2024-01-01", periods=100, freq="7D")
    flat, step = rng.binomial(200, 0.3, 100) / 200, rng.binomial(200, np.where(np.arange(100) < 60, 0.3, 0.4)) / 200
    frame = pd.concat(
        pd.DataFrame({"week": week, "name": name, "value": value, "n": 200})
        for name, value in (("flat", flat), ("step", step))
    )
    found = shifts(frame, ["name"])
    assert set(found) == {"step"}
    assert near(found["step"].on, week[60].date(), 14)  # noise/step = .46/.1: some 20 units, well under a week's 200


@pytest.mark.whole
def test_robe_alba_runs_small_until_the_size_note(demo_shop: Shop) -> None:
    build, told = demo_shop.build, demo_shop.told["robe_alba"]
    ranking = analyses.product_ranking(build, limit=20).set_index("style_id")

    # Of each style that leads the list: did the part of its leading reason change?
    counts = weekly(demo_shop, "returned_units", ("style_id", "return_reason"), where={"style_id": list(ranking.index)})
    shares = parts(counts, ["style_id"], "return_reason")
    found = shifts(shares[shares["return_reason"] == shares["style_id"].map(ranking["return_reason"])], ["style_id"])
    assert [ranking.loc[style, "name"] for style in found] == [told["style"]]
    ((style, shift),) = found.items()
    assert ranking.loc[style, "return_reason"] == "size_small"
    assert ranking.loc[style, "probability_above"] > 0.99
    assert ranking.loc[style, "own_part"] > 0.05  # its buyers are like those of other dresses

    # What customers wrote says the same, in both languages.
    notes = analyses.product_notes(build, style).iloc[0]
    assert "small" in notes["theme"].split()
    assert notes["share"] > notes["category_share"]
    assert not notes["is_within_noise"]
    curve = analyses.size_curve(build, style).iloc[0]
    assert (curve["size"], bool(curve["is_within_noise"])) == ("all", False)
    assert curve["balance"] > curve["category_balance"]
    # A step of .25 at an sd of .48 a return: in 98% of shops the best cut lies within some 50 returns of it, four
    # weeks.
    assert near(shift.on, demo_shop.day(told["note_weeks"]), 28)

    # The catalogue says what was done about it, that day.
    changes = analyses.product_changes(build)
    note = only(changes, style_id=style, what="size_note")
    assert note["after"] == told["size_note"]
    assert near(
        note["changed_at"].date(), demo_shop.day(told["note_weeks"]), 1
    )  # midnight here is the day before in UTC
    assert set(changes["style_id"]) == {style}

    period = {"period": (shift.on, demo_shop.end), "against": (None, shift.on - DAY)}
    of_style = Question(where={"style_id": [style]})
    small = only(
        metrics.compare(build, "reason_share", of_style, **period, by=("return_reason",)), return_reason="size_small"
    )
    assert small["n_previous"] > 300
    assert small["previous"] == pytest.approx(told["too_small_share"], abs=0.075)  # 3 se of .7 among 350 returns
    assert small["value"] == pytest.approx(told["too_small_share_after"], abs=0.085)  # 3 se of .45 among 320
    assert not small["is_within_noise"]
    rate = metrics.compare(build, "ultimate_return_rate", of_style, **period).iloc[0]
    assert rate["previous"] == pytest.approx(told["rate"], abs=0.065)  # 3 se of .62 among 560 units
    assert rate["value"] == pytest.approx(
        told["rate_after"], abs=0.07
    )  # 3 se of .52 among 730, one return in seven yet to come
    assert rate["difference"] < 0
    assert not rate["is_within_noise"]


@pytest.mark.whole
def test_the_size_note_helped_but_one_dress_alone_cannot_tell(demo_shop: Shop, settings: Settings) -> None:
    build, told = demo_shop.build, demo_shop.told["robe_alba"]
    suggested = only(actions.suggested_actions(build), kind="size_note")
    logged = actions.log_action(
        settings, "size_note", {"style_id": [suggested["style_id"]]}, effective_on=suggested["effective_on"]
    )
    assert near(logged.effective_on, demo_shop.day(told["note_weeks"]), 1)
    found = actions.measure_action(build, logged, actions.actions(settings)).effect
    # 582 units since: fewer than 800. What is seen is a fall, what was planted lies in the interval, and so does no
    # change:
    # a fall of 15% would have been seen in a third of such shops, and no wait makes one dress suffice.
    assert (found.verdict, found.reason, found.products) == ("too_early", "too_few_units", 1)
    planted = told["rate_after"] / told["rate"] - 1
    assert found.low < planted < 0 < found.high
    assert found.change < 0
    assert found.returns_avoided > 0
    assert found.units < 800
    assert found.power < 0.5
    assert found.weeks_needed is None
    assert found.controls == 10
    assert found.before_p > 0.05


@pytest.mark.whole
def test_three_of_three_is_no_finding(demo_shop: Shop) -> None:
    ranking = analyses.product_ranking(demo_shop.build, limit=10_000)
    decoy = only(ranking, name=demo_shop.told["decoy"]["style"])
    assert (decoy["sold"], decoy["returned"]) == (3, 3)
    assert not decoy["is_flagged"]
    assert decoy.name >= 100  # behind all that a page shows; 3 units can move the adjusted rate by 3 / (a + b) at most
    everything_back = ranking[ranking["returned"] >= ranking["sold"]]
    assert not everything_back["is_flagged"].any()
    assert np.isfinite(ranking["score"]).all()


@pytest.mark.whole
def test_relais_atlantique_slows_down_skips_scans_and_loses_parcels(demo_shop: Shop) -> None:
    told = demo_shop.told["relais_atlantique"]
    began, name = demo_shop.day(told["weeks"]), told["carrier"]
    assert len(metrics.dimension_values(demo_shop.build, "carrier")) == 5
    year_ago = demo_shop.end - 52 * WEEK

    slow = shifts(
        weekly(
            demo_shop, "stage_days(0.5)", ("carrier",), where={"stage": ["handed_over-carrier_scan"]}, since=year_ago
        ),
        ["carrier"],
    )
    missing = shifts(weekly(demo_shop, "missing_scan_share", ("carrier",)), ["carrier"])
    # A parcel is known to be lost after three weeks; younger weeks cannot speak yet.
    lost = shifts(weekly(demo_shop, "lost_share", ("carrier",), until=demo_shop.end - 3 * WEEK), ["carrier"])
    for found in (slow, missing, lost):
        assert set(found) == {name}
        # Weeks are weeks of request, which comes some three days before the hand-over, cut on Mondays.
        assert near(found[name].on, began, 7)
    # Medians keep the ratio of the means. A week's is known to .25 days of 3.2 (its interval), the mean of nine to
    # 2.6%: 3 se,
    # and 3% for the week the change falls in, which counts as after it.
    mean_before, mean_after = told["first_scan_days"]
    assert slow[name].after / slow[name].before == pytest.approx(mean_after / mean_before, rel=0.11)
    # 3 se among 1,150 units in parcels of 1.4: .014 each; before there are 10,600 units.
    before, after = told["missing_scans"]
    assert missing[name].before == pytest.approx(before, abs=0.006)
    assert missing[name].after == pytest.approx(after, abs=0.042)
    # 3 se among 900 units, lost by the parcel too: .0049 each; before there are 10,600.
    before, after = told["lost_parcels"]
    assert lost[name].before == pytest.approx(before, abs=0.0025)
    assert lost[name].after == pytest.approx(after, abs=0.015)


@pytest.mark.whole
def test_the_january_backlog_is_at_the_returns_centre_and_open(demo_shop: Shop) -> None:
    build, told = demo_shop.build, demo_shop.told["january_backlog"]
    began = demo_shop.day(told["weeks"])
    evenings = [demo_shop.end - weeks * WEEK for weeks in range(40, -1, -1)]

    def at_sites(key: str) -> pd.DataFrame:
        """The units of each site, evening by evening, as known then."""
        asked = (
            metrics.answer(build, key, Question(as_of=evening), by=("place_id",)).assign(on=evening)
            for evening in evenings
        )
        return pd.concat(asked).pivot_table(index="on", columns="place_id", values="value", fill_value=0.0)

    received = at_sites("received_units")
    waiting = at_sites("dock_backlog").reindex(columns=received.columns, fill_value=0.0)
    assert received.shape[1] == 16  # fifteen stores and the returns centre
    grown = waiting.diff().dropna()
    grown = grown.set_axis(grown.index - WEEK + DAY, axis=0).rename_axis("week")  # first day of the week it grew in
    found = shifts(grown.stack().rename("value").reset_index().assign(n=1), ["place_id"])
    ((place, shift),) = found.items()
    assert place.endswith("returns-centre")
    assert near(shift.on, began, 7)  # weeks are compared, and Christmas parcels arrive the week before
    assert (
        abs(shift.before) < 25
    )  # in balance: a week's growth scatters by 35 units, the mean of 36 weeks by 6; 4 of them
    assert waiting[place].iloc[-1] == waiting.max().max()
    assert waiting[place].iloc[-1] > 5 * waiting.loc[: shift.on, place].iloc[:-1].mean()

    # Why: inspection lags inflow. A week's 500 units in parcels of 1.4 scatter by 5%, so the mean of the thirteen weeks
    # before,
    # Christmas growth in them, is known to 2%, as is that of four weeks of 1,100: 3 se of the ratio are .15. What
    # waited at the
    # beginning, 330 units, is inspected in these weeks too: .1 more at the capacity.
    inflow = received[place].diff()
    done = inflow - waiting[place].diff()
    base = inflow[inflow.index < began].iloc[-13:].mean()
    during = inflow.index >= began + 6 * DAY
    assert during.sum() == 4
    assert inflow[during].mean() / base == pytest.approx(told["inflow"], abs=0.15)
    assert done[during].mean() / base == pytest.approx(told["capacity"], abs=0.25)
    assert (inflow[during] > done[during]).all()

    # No other stage takes longer by as much as half a day.
    stages = metrics.compare(
        build,
        "stage_days(0.5)",
        by=("stage",),
        period=(shift.on, demo_shop.end),
        against=(shift.on - 13 * WEEK, shift.on - DAY),
    )
    longer = stages[(stages["difference"] > 0.5) & ~stages["is_within_noise"].astype(bool)]
    assert list(longer["stage"]) == ["received-inspected"]


@pytest.mark.whole
def test_germanys_window_brings_more_sizes_and_later_returns(demo_shop: Shop) -> None:
    build, told = demo_shop.build, demo_shop.told["germany_window"]
    began, market = demo_shop.day(told["weeks"]), told["market"]
    countries = metrics.dimension_values(build, "country")
    assert len(countries) == 7

    sizes = shifts(weekly(demo_shop, "several_sizes_share", ("country",)), ["country"])
    assert set(sizes) == {market}
    shift = sizes[market]
    assert near(shift.on, began, 7)  # 400 units a week know a step of .07 to less than a week
    before, after = told["several_sizes"]
    assert shift.before == pytest.approx(
        before, abs=0.012
    )  # 4 se of .003, pairs counting once; planted by order, seen by unit
    assert shift.after == pytest.approx(after, abs=0.016)  # 4 se of .004

    # The cause: the window of new orders, in this country alone, from that day on.
    windows = metrics.answer(build, "sold_units", by=("country", "window_days", "day"))
    first = windows.groupby(["country", "window_days"], as_index=False)["day"].min()
    assert set(first["country"]) == set(countries)
    changed = first[first["day"] > first["day"].min() + WEEK]
    ((country, window, day),) = changed[["country", "window_days", "day"]].itertuples(index=False)
    assert (country, window) == (market, told["window_days"][1])
    assert only(first[first["window_days"] != window], country=market)["window_days"] == told["window_days"][0]
    assert near(pd.Timestamp(day).date(), began, 1)

    # Final rates at equal mix: orders whose longer window is over, against as many days before; differences of the
    # categories,
    # weighed by all units. Its 90% interval among 7,500 and 7,500 units is .015 wide to each side, so 3 se are .028.
    finish = demo_shop.end - told["window_days"][1] * DAY
    span = finish - shift.on
    both = {"period": (shift.on, finish), "against": (shift.on - span - DAY, shift.on - DAY)}
    cells = metrics.compare(build, "ultimate_return_rate", **both, by=("country", "category"))
    assert (cells["status"] == "ok").all()
    cells["weight"] = cells["n"] + cells["n_previous"]
    cells["variance"] = ((cells["high"] - cells["low"]) / 2 / norm.ppf(0.95)) ** 2
    risen = {}
    for name, rows in cells.groupby("country"):
        weight = rows["weight"] / rows["weight"].sum()
        gap, error = (weight * rows["difference"]).sum(), np.sqrt((weight**2 * rows["variance"]).sum())
        if gap > norm.isf(0.01 / len(countries)) * error:  # 1% of such searches would name a country by chance
            risen[name] = gap
    assert set(risen) == {market}
    assert risen[market] == pytest.approx(told["rate_points"], abs=0.028)

    # For six weeks the observed rate hides it: younger orders look better than older ones, and at equal age (six weeks
    # of
    # orders seen at their end, before and after) the intervals overlap.
    six = 6 * WEEK
    where = {"country": [market]}
    naive = metrics.compare(
        build,
        "observed_return_rate",
        Question(where=where, as_of=began + six),
        period=(began, began + six - DAY),
        against=(began - six, began - DAY),
    )
    assert naive["difference"].iloc[0] < 0
    young = [
        metrics.answer(
            build,
            "observed_return_rate",
            Question(where=where, since=since, until=since + six - DAY, as_of=since + six),
        )
        for since in (began - six, began)
    ]
    assert young[1]["low"].iloc[0] < young[0]["high"].iloc[0]


@pytest.mark.whole
def test_totes_carry_a_third_of_french_returns_later_and_lighter(demo_shop: Shop) -> None:
    build, told = demo_shop.build, demo_shop.told["totes"]
    began, market = demo_shop.day(told["weeks"]), told["market"]

    counts = weekly(demo_shop, "confirmed_units", ("country", "method"))
    ways = shifts(parts(counts[counts["method"].notna()], ["country"], "method"), ["country", "method"])
    risen = {group: shift for group, shift in ways.items() if shift.after > shift.before}
    assert set(risen) == {(market, "store")}
    assert {country for country, _ in ways} == {market}  # the other ways back lose what the store gains, there alone
    shift = risen[market, "store"]
    assert near(shift.on, began, 7)
    # 3 se of .007 (9,000 units in parcels of 1.4), and .005 for counting units where returns were planted.
    assert shift.after - shift.before == pytest.approx(told["share"], abs=0.025)

    # Kilograms and transit of all French returns move that very week, and nobody else's.
    kilograms = shifts(weekly(demo_shop, "kg_co2e_per_return", ("country",)), ["country"])
    transit = shifts(
        weekly(
            demo_shop,
            "stage_days(0.5)",
            ("country",),
            where={"stage": ["carrier_scan-received"]},
            since=demo_shop.end - 52 * WEEK,
        ),
        ["country"],
    )
    for found in (kilograms, transit):
        assert set(found) == {market}
        assert near(found[market].on, began, 14)  # a level among scattered weeks: cut to two of them
    assert kilograms[market].after < kilograms[market].before
    assert transit[market].after > transit[market].before

    # Within the story: what is dropped in store and goes to the returns centre, against parcels, since then.
    since = Question(since=shift.on, where={"country": [market]})
    arrived = metrics.answer(build, "confirmed_units", since, by=("method", "place_id"))
    centre = arrived.sort_values("value").iloc[-1]["place_id"]
    there = since.under(place_id=[centre])
    per_unit = metrics.answer(build, "kg_co2e_per_return", there, by=("method",))
    per_unit = per_unit[per_unit["n"] > 0]
    tote, parcels = only(per_unit, method="store"), per_unit[per_unit["method"] != "store"]
    assert tote["n"] > 2_500
    # Trips by car make the sd as large as the mean; over 3,000 units each side 3 se are .06 of it.
    assert tote["value"] < 0.7 * np.average(parcels["value"], weights=parcels["n"])
    stage = {"stage": ["carrier_scan-received"]}
    days = metrics.answer(build, "stage_days(0.5)", since.under(**stage), by=("method",))
    by_parcel = days[days["method"] != "store"]
    later = only(days, method="store")["value"] - np.average(by_parcel["value"], weights=by_parcel["n"])
    assert later == pytest.approx(told["extra_days"], abs=0.2)  # 3 se: both medians are known to .08 days (90%)


@pytest.mark.whole
def test_more_dresses_raise_the_rate_though_no_category_does(demo_shop: Shop) -> None:
    build, told = demo_shop.build, demo_shop.told["mix"]
    began = demo_shop.day(told["weeks"])
    categories = metrics.dimension_values(build, "category")

    shares = shifts(weekly(demo_shop, "sales_share", ("category",)), ["category"])
    ((category, shift),) = [(name, s) for name, s in shares.items() if s.after > s.before]
    assert category == told["category"]  # the others give way, so that shares add up
    assert near(shift.on, began, 7)
    assert shift.before == pytest.approx(told["share"][0], abs=0.005)  # 4 se of .0012, orders of two counting once
    assert shift.after == pytest.approx(told["share"][1], abs=0.01)  # 4 se of .0024

    # Four weeks against the four before, through the year: mix stands out once.
    four = 4 * WEEK
    effects = {}
    for step in range(-9, 3):
        start = shift.on + step * four
        if start + four - DAY <= demo_shop.end:
            change = analyses.rate_change(
                build, (start, start + four - DAY), (start - four, start - DAY), by="category"
            )
            effects[start] = change.set_index("effect")["points"]
    mix = pd.Series({start: points["mix_category"] for start, points in effects.items()})
    assert len(mix) == 12
    assert mix.idxmax() == shift.on

    # What is usual is how an effect scatters over the other eleven months; three times that comes by chance in 1% of
    # shops
    # (t of 11). Six points of dresses are worth .7 here: .12 each, their rate within the four weeks less the others'.
    def times_usual(effect: str) -> float:
        others = [points[effect] for start, points in effects.items() if start != shift.on]
        return float(effects[shift.on][effect] / np.sqrt(np.mean(np.square(others))))

    assert times_usual("mix_category") > 3
    assert abs(times_usual("rate")) < 3
    assert abs(times_usual("older_orders")) < 3

    # Final rates by category: nothing moved, at a level that errs for one of the seven in 10% of such looks.
    own = metrics.compare(
        build,
        "ultimate_return_rate",
        Question(level=1 - 0.1 / len(categories)),
        by=("category",),
        period=(shift.on, shift.on + 9 * WEEK - DAY),
        against=(shift.on - 9 * WEEK, shift.on - DAY),
    )
    assert set(own["category"]) == set(categories)
    assert own["is_within_noise"].all()


@pytest.mark.whole
def test_a_point_more_on_three_hundred_units_is_noise(demo_shop: Shop) -> None:
    told = demo_shop.told["noise"]
    oldest, middle, newest = (demo_shop.day(weeks) for weeks in told["weeks"])
    brands = metrics.compare(
        demo_shop.build,
        "ultimate_return_rate",
        by=("brand",),
        period=(middle, newest - DAY),
        against=(oldest, middle - DAY),
    )
    small = only(brands, brand=told["brand"])
    assert (small["n_previous"], small["n"]) == pytest.approx(told["units"], abs=2)  # midnight here is not UTC's
    points = told["returned"][1] / told["units"][1] - told["returned"][0] / told["units"][0]
    assert small["difference"] == pytest.approx(points, abs=0.004)  # one return more or less is .0033
    assert small["is_within_noise"]
    assert small["low"] < 0 < small["high"]
    # Brands ten times larger do move, with the styles of their season: "within noise" is not said of everything.
    assert not brands["is_within_noise"].all()
