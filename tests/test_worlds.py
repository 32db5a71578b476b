"""Other worlds are what they say: told from lines and dates, not from the numbers that generate them."""

import ast
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from tests.evidence import _models_worlds_lines, _models_worlds_rates, _models_worlds_stages, _worlds_asked
from tests.worlds import Shop, buyers, plain, products, rates, stages, years
from tests.worlds.shop import DAY, confirmed, end_of

pytestmark = pytest.mark.usefixtures("no_rules")

SMALL: dict[str, Callable[[int], Shop]] = {
    "steady": lambda s: plain.steady(s, lines=2_000),
    "slow category": lambda s: rates.slow_category(s, lines=6_000),
    "half new": lambda s: rates.half_new(s, lines=6_000),
    "late scans": lambda s: rates.late_scans(s, lines=6_000),
    "window change": lambda s: rates.window_change(s, lines=6_000),
    "slow peak": lambda s: rates.slow_peak(s, lines=6_000),
    "all at once": lambda s: rates.all_at_once(s, lines=2_000),
    "backlog": lambda s: stages.backlog(s, lines=6_000),
    "tuesdays": lambda s: stages.tuesdays(s, lines=3_000),
    "stories and dirt": lambda s: stages.stories_and_dirt(s, lines=12_000),
    "usual": lambda s: years.usual(s, lines=8_000),
    "promotion": lambda s: years.promotion(s, lines=8_000),
    "growth": lambda s: years.growth(s, lines=8_000),
    "step": lambda s: years.step(s, lines=8_000),
    "january": lambda s: years.january(s, lines=8_000),
    "null": lambda s: products.null(s, lines=12_000),
    "country mix": lambda s: products.country_mix(s, lines=12_000),
    "left alone": lambda s: products.left_alone(s, products=60),
    "drifting supplier": lambda s: products.drifting_supplier(s, products=80),
    "effective": lambda s: products.effective(s, products=80),
    "noise": lambda s: buyers.noise(s, lines=6_000),
    "fit": lambda s: buyers.fit(s, lines=6_000),
    "designed": lambda s: buyers.designed(s, lines=6_000),
}


def days(ended: "pd.Series[pd.Timestamp]", begun: "pd.Series[pd.Timestamp]") -> "pd.Series[float]":
    return (ended - begun) / DAY


def ago(shop: Shop, times: "pd.Series[pd.Timestamp]") -> "pd.Series[float]":
    """Days from each time to the end of the shop's last day."""
    return (end_of(shop.until) - times) / DAY


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_gives_one_shop_and_another_seed_another(name: str) -> None:
    one, again, other = SMALL[name](3), SMALL[name](3), SMALL[name](4)
    pd.testing.assert_frame_equal(one.lines, again.lines)
    pd.testing.assert_frame_equal(one.products, again.products)
    assert len(one.lines) != len(other.lines) or not one.lines["ordered_at"].equals(other.lines["ordered_at"])


@pytest.mark.parametrize("name", SMALL)
def test_events_come_in_their_order_and_every_line_has_its_goods(name: str) -> None:
    shop = SMALL[name](5)
    lines = shop.lines
    assert set(lines["product_id"]) <= set(shop.products["product_id"])
    steps = ["ordered_at", "shipped_at", "delivered_at", "requested_at", "received_at", "inspected_at"]
    for before, after in zip(steps, [*steps[1:], "refunded_at"], strict=True):
        assert not (lines[after] < lines[before]).any(), (before, after)
    back_at = confirmed(lines)
    assert not back_at[~lines["is_returned"]].notna().any()
    assert back_at[lines["is_returned"]].notna().mean() > 0.95
    assert lines["probability"].between(0, 0.98).all()
    z = (lines["is_returned"].mean() - lines["probability"].mean()) / np.sqrt(0.5 / len(lines))
    assert name == "stories and dirt" or abs(z) < 4, z  # there, one label in ten is never used


@pytest.mark.parametrize("name", ["all at once", "stories and dirt", "january", "fit"])
def test_files_of_a_day_load_and_nothing_is_put_aside(name: str, tmp_path: Path) -> None:
    small = {
        "all at once": lambda: rates.all_at_once(1, lines=400),
        "stories and dirt": lambda: stages.stories_and_dirt(1, lines=400, products=40),
        "january": lambda: years.january(1, lines=400),
        "fit": lambda: buyers.delivered_if_kept(buyers.fit(1, lines=400)),
    }[name]()
    files = small.write(tmp_path / "files")
    command = ["load", str(files), "--source", "canonical", "--warehouse", str(tmp_path / "w"), "--format", "json"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    found = {t["table"]: (t["read"], t["accepted"]) for t in json.loads(told.stdout)["tables"]}
    assert found["order_line"] == (len(small.sold()),) * 2
    assert all(read == accepted for read, accepted in found.values())


def test_files_hold_what_was_known_on_a_day(tmp_path: Path) -> None:
    shop = plain.steady(2, lines=2_000)
    day = pd.Timestamp(shop.until) - pd.Timedelta(days=30)
    shop.write(tmp_path, day.date())
    lines, events = pd.read_parquet(tmp_path / "order_line.parquet"), pd.read_parquet(tmp_path / "return_event.parquet")
    end = pd.Timestamp(day + pd.Timedelta(days=1), tz="UTC")
    assert lines["ordered_at"].max() < end
    assert events["occurred_at"].max() < end
    assert lines["delivered_at"].max() < end
    assert len(lines) < len(shop.sold())


def test_in_a_steady_shop_late_orders_come_back_as_early_ones() -> None:
    lines = pd.concat([plain.steady(s, lines=6_000).sold() for s in range(4)])
    half = lines["ordered_at"] > lines["ordered_at"].median()
    rate = lines.groupby(half)["is_returned"].mean()
    assert abs(rate[True] - rate[False]) < 4 * np.sqrt(2 * 0.21 / (len(lines) / 2))
    took = days(confirmed(lines), lines["delivered_at"]).groupby(half).mean()
    assert took[True] == pytest.approx(took[False], rel=0.06)


def test_two_lines_of_an_order_come_back_together_more_often_than_strangers() -> None:
    lines = plain.steady(6, lines=20_000).lines
    twos = lines[lines.groupby("order")["line"].transform("size") == 2]
    first, second = (
        twos.groupby("order")[["is_returned", "probability"]].nth(i).reset_index(drop=True) for i in (0, 1)
    )
    both = (first["is_returned"] & second["is_returned"]).mean()
    assert both > (first["probability"] * second["probability"]).mean() * 1.1


def test_the_slow_category_is_new_and_slow() -> None:
    shop = SMALL["slow category"](7)
    lines = shop.sold()
    new = lines["category"] == "coats"
    assert ago(shop, lines.loc[new, "ordered_at"]).max() <= 61
    assert ago(shop, lines.loc[~new, "ordered_at"]).max() > 350
    assert new[ago(shop, lines["ordered_at"]) < 50].mean() > 0.12
    took = days(lines["requested_at"], lines["delivered_at"]).groupby(new).median()
    assert took[True] > 1.7 * took[False]


def test_half_of_the_products_are_new_and_come_back_otherwise() -> None:
    shops = [rates.half_new(s, lines=6_000) for s in range(4)]
    for shop in shops:
        lines = shop.sold()
        first = ago(shop, lines.groupby("product_id")["ordered_at"].min())
        assert 0.35 < (first < 61).mean() < 0.65
        is_new = lines["product_id"].isin(first.index[first < 61])
        recent = ago(shop, lines["ordered_at"]) < 60
        rate = lines[recent].groupby(is_new[recent])["probability"].mean()
        assert abs(np.log(rate[True] / rate[False])) > 0.08
        assert is_new[recent].mean() > 0.5


def test_scans_are_three_days_late_for_forty_days() -> None:
    shop = SMALL["late scans"](8)
    lines = shop.lines[shop.lines["is_returned"]]
    gap = days(confirmed(lines), lines["requested_at"])
    asked = ago(shop, lines["requested_at"])
    assert gap[asked.between(5, 35)].mean() == pytest.approx(gap[asked > 60].mean() + 3, abs=0.5)


def test_only_orders_under_the_new_window_come_back_after_a_month() -> None:
    shop = SMALL["window change"](9)
    lines = shop.lines
    late = days(lines["requested_at"], lines["delivered_at"]) > 31.5
    assert late.any()
    assert ago(shop, lines.loc[late, "ordered_at"]).max() < 52
    assert shop.policies is not None
    assert sorted(shop.policies["window_days"].unique()) == [30, 60]


def test_in_the_peak_more_is_ordered_and_carriers_are_slow() -> None:
    shop = SMALL["slow peak"](10)
    lines = shop.lines
    day = ago(shop, lines["ordered_at"])
    peak, before = day.between(33, 44), day.between(60, 300)
    assert peak.sum() / 11 > 1.8 * before.sum() / 240
    took = days(lines["delivered_at"], lines["shipped_at"])
    assert took[peak].mean() > 2 * took[before].mean()
    back = days(lines["received_at"], lines["carrier_scan_at"])
    scanned = ago(shop, lines["carrier_scan_at"])
    assert back[scanned.between(5, 40)].mean() > 1.5 * back[scanned > 60].mean()


def test_the_backlog_grows_threefold() -> None:
    folds = []
    for seed in range(5):
        shop = SMALL["backlog"](seed)
        lines = shop.lines

        def waiting(before: float, lines: pd.DataFrame = lines, shop: Shop = shop) -> int:
            at = end_of(shop.until) - np.timedelta64(int(before * 86_400), "s")
            return int(((lines["received_at"] < at) & (lines["inspected_at"] >= at)).sum())

        folds.append(waiting(0) / np.mean([waiting(b) for b in range(45, 150, 5)]))
    assert 2.3 < np.mean(folds) < 4


def test_nobody_inspects_but_on_tuesdays() -> None:
    lines = SMALL["tuesdays"](11).lines
    assert set(lines["inspected_at"].dropna().dt.day_of_week) == {1}
    assert days(lines["inspected_at"], lines["received_at"]).max() < 8


def test_stories_and_dirt_are_there() -> None:
    shop = SMALL["stories and dirt"](12)
    lines = shop.lines
    asked = lines["requested_at"].notna()
    assert 0.04 < (asked & lines["received_at"].isna() & lines["cancelled_at"].isna()).sum() / asked.sum() < 0.15
    assert lines["cancelled_at"].notna().any()
    assert lines["lost_at"].notna().any()
    assert 0.02 < lines.loc[lines["received_at"].notna(), "carrier_scan_at"].isna().mean() < 0.09
    assert (lines["received_recorded_at"] > lines["received_at"]).mean() < 0.05
    by_carrier = days(lines["received_at"], lines["carrier_scan_at"]).groupby(lines["return_carrier"]).mean()
    assert by_carrier.max() > 1.8 * by_carrier.min()
    coast = lines.loc[lines["return_carrier"] == "Coast", "carrier_scan_at"].dropna().sort_values()
    assert (coast.diff() / DAY).iloc[len(coast) // 10 :].max() > 8.5


def weekly(shop: Shop) -> np.ndarray:
    """Orders a week, the last one first, of the sold lines."""
    return np.bincount((ago(shop, shop.sold()["ordered_at"]) // 7).astype(int))


def test_growth_grows_and_a_step_stays() -> None:
    grown = np.mean([weekly(years.growth(s, lines=8_000))[:104].reshape(2, 52).sum(axis=1) for s in range(4)], axis=0)
    assert 1.4 < grown[0] / grown[1] < 1.8  # 1.04 ** 12 = 1.60
    for seed in range(4):
        week = weekly(years.step(seed, lines=16_000))
        assert abs(np.log(week[1:5].mean() / week[6:12].mean())) > 0.2


def test_a_promotion_was_lately_and_not_a_year_before() -> None:
    for seed in range(4):
        day = np.bincount(ago(SMALL["promotion"](seed), SMALL["promotion"](seed).sold()["ordered_at"]).astype(int))
        lately = np.convolve(day[:31], np.ones(7) / 7, "valid").max()
        assert lately > 1.4 * np.median(day[:300])


def test_christmas_orders_come_back_in_january() -> None:
    shop = SMALL["january"](13)
    lines = shop.lines[shop.lines["is_returned"]]
    last = pd.Timestamp(year=shop.until.year - 1, month=11, day=10)
    christmas = lines["ordered_at"].between(last, last + pd.Timedelta(days=40))
    took = days(confirmed(lines), lines["delivered_at"])
    assert took[christmas].mean() > 1.5 * took[~christmas].mean()
    assert took[christmas].max() > 50
    assert shop.policies is not None
    assert shop.policies["window_until"].notna().any()


def test_in_the_null_shop_no_group_differs() -> None:
    lines = pd.concat([products.null(s, lines=12_000).sold() for s in range(3)])
    for cut in ("category", "country"):
        rate = lines.groupby(cut)["is_returned"].agg(["mean", "size"])
        z = (rate["mean"] - lines["is_returned"].mean()) / np.sqrt(0.19 / rate["size"])
        assert (z.abs() < 5).all()  # orders come back together: errors are a fifth wider
    by_product = lines.groupby("product_id")["probability"].mean()
    assert by_product.std() < 0.02


def test_in_the_country_mix_germany_sends_more_back_and_products_are_of_one_kind() -> None:
    shops = [SMALL["country mix"](s) for s in range(3)]
    lines = pd.concat(
        [s.sold().assign(home=s.sold()["product_id"].str.replace("P", "S").map(s.truth["home"])) for s in shops]
    )
    rate = lines.groupby("country")["is_returned"].mean()
    assert 1.4 < rate["DE"] / rate["FR"] < 1.8
    assert (lines["home"] == lines["country"]).mean() > 0.8
    own = [pd.Series(s.truth["own"]).groupby(pd.Series(s.truth["home"])).mean() for s in shops]
    assert abs(np.mean([o["DE"] - o["FR"] for o in own])) < 0.1
    assert all(0.4 < np.mean([h == "DE" for h in s.truth["home"].values()]) < 0.6 for s in shops)


def ratio(shop: Shop, acted: bool) -> float:
    """Rate after an action over the rate before it, of what came back, of the acted products or all others."""
    lines = shop.lines
    day = ago(shop, lines["ordered_at"])
    mine = lines["product_id"].str.replace("P", "S").isin(shop.truth["acted"]) == acted
    after = mine & (day < products.AFTER_ACTION - 21)
    before = mine & (day > products.AFTER_ACTION + 21)
    return float(lines.loc[after, "is_returned"].mean() / lines.loc[before, "is_returned"].mean())


def test_one_suppliers_products_drift_together_and_others_do_not() -> None:
    for seed in range(3):
        shop = SMALL["drifting supplier"](seed)
        suppliers = shop.products[shop.products["style_id"].isin(shop.truth["acted"])]["supplier"]
        assert set(suppliers) == {"supplier-one"}
        assert len(shop.truth["acted"]) == 20
        assert abs(np.log(ratio(shop, True))) > 0.12
        assert abs(np.log(ratio(shop, False))) < 0.08


def test_what_an_effective_action_is_said_to_do_it_does() -> None:
    found = [np.log(ratio(s, True) / ratio(s, False)) for s in map(SMALL["effective"], range(4))]
    assert np.mean(found) == pytest.approx(np.log(0.85), abs=0.05)


def test_products_left_alone_drift_by_themselves() -> None:
    lines = products.left_alone(1, products=60).lines
    week = lines["ordered_at"].dt.to_period("W")
    each = lines.groupby(["product_id", week])["probability"].agg(["mean", "size"])
    way = each.loc[each["size"] >= 5, "mean"].groupby("product_id").std()
    assert way.median() > 0.02


def test_noise_is_noise() -> None:
    lines = SMALL["noise"](14).lines
    assert lines["probability"].nunique() == 1
    for cut in ("category", "country"):
        rate = lines.groupby(cut)["is_returned"].agg(["mean", "size"])
        assert ((rate["mean"] - 0.3).abs() < 5 * np.sqrt(0.21 / rate["size"])).all()


def test_sizes_brackets_and_serial_buyers_decide() -> None:
    lines = SMALL["fit"](15).lines
    style = lines["product_id"].str.rsplit("-", n=1).str[0]
    both = lines.assign(style=style).duplicated(["order", "style"], keep=False)
    sizes = lines[both].groupby([lines["order"], style])["size"].nunique()
    assert (sizes >= 2).mean() > 0.8
    assert lines.loc[both, "is_returned"].mean() > lines.loc[~both, "is_returned"].mean() + 0.15
    by_buyer = lines.groupby("customer")["is_returned"].agg(["mean", "size"])
    often = by_buyer[by_buyer["size"] >= 8]["mean"]
    assert 0.02 < (often > 0.6).mean() < 0.25
    assert lines["probability"].std() > 0.15


def test_leaks_leak_only_what_is_known() -> None:
    shop = SMALL["fit"](16)
    known = confirmed(shop.lines) < end_of(shop.until)
    assert (buyers.rewritten_net(shop).lines["net"] == 0).equals(known)
    assert buyers.delivered_if_kept(shop).lines["delivered_at"].isna().equals(known)
    table = buyers.flat(buyers.delivered_if_kept(shop))
    assert len(table) == len(shop.sold())
    assert table.loc[table["returned"] == 0, "delivery date"].notna().all()


def test_worlds_know_nothing_of_the_product() -> None:
    ours = {"models", "pipelines", "dashboard", "backhaul"}
    for path in Path(buyers.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & ours, path.name


def test_what_shops_answered_is_kept_and_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    part = ModuleType("part_of_worlds")

    def asked(world: str, seed: int, folder: Path) -> dict[str, int]:
        counted.append(seed)
        if seed == _worlds_asked.FIRST_SEED + 1 and len(counted) < 4:
            raise ValueError("not today")
        return {"found": seed}

    part.asked = asked  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "part_of_worlds", part)
    monkeypatch.setattr(_worlds_asked, "AT_ONCE", 1)
    monkeypatch.setattr(_worlds_asked, "ROOT", tmp_path)
    monkeypatch.setattr(_worlds_asked, "digest", lambda: "one")
    first = _worlds_asked.answers("part_of_worlds", "w", 3)
    assert "1 shops ended in an error: ValueError: not today" in _worlds_asked.failed(first)
    again = _worlds_asked.answers("part_of_worlds", "w", 3)
    assert [a["found"] for a in again] == [_worlds_asked.FIRST_SEED + i for i in range(3)]
    assert len(counted) == 4  # the one that failed was asked again, the others were kept


def held(covers: int, labels: int, bias: float, wider: float, *, steady: bool = False) -> bool:
    """Judge a hundred intervals, so many of which cover and carry a label."""
    intervals = [[0, 10, 5 if i < covers else 11] for i in range(100)]
    said = [[100 * (1 + bias), 100]] * 100
    return _models_worlds_rates._held("", intervals, said, [i < labels for i in range(100)], wider, "", steady).holds


def test_returns_to_come_are_judged_by_cover_bias_and_label() -> None:
    assert held(90, 0, 0.02, 1)
    assert not held(80, 0, 0.0, 1)
    assert not held(99, 0, 0.0, 1)
    assert not held(90, 0, 0.05, 1)
    assert held(99, 95, 0.05, 1.5)
    assert not held(99, 95, 0.05, 1.0)  # labelled but not widened
    assert not held(70, 95, 0.0, 1.5)  # widened, but not enough
    assert not held(90, 50, 0.0, 1, steady=True)  # a label where nothing moves


def test_what_is_said_is_calibrated_where_it_comes_true_as_often() -> None:
    said = np.repeat([0.15, 0.85], 100)
    came = np.concatenate([np.arange(100) < 15, np.arange(100) < 85])
    assert _models_worlds_stages.calibration(said, came) == pytest.approx(0)
    assert _models_worlds_stages.calibration(said, ~came) == pytest.approx(0.7)


def test_an_oracle_separates_and_a_constant_does_not() -> None:
    came = np.array([False, True, False, True])
    assert _models_worlds_lines._auc(np.array([0.1, 0.9, 0.2, 0.8]), came) == 1
    assert _models_worlds_lines._auc(np.full(4, 0.5), came) == 0.5
