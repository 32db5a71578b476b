"""Margin and what would change it.

Waterfalls to the cent, sums that agree whichever way they are cut, assignments no better one exists for, forecasts that
cover and beat naive ones, scenarios that begin at history. Forecasts are judged on simulated shops none of which was
used for tuning; the weekly back-tests of the demo shop and of Online Retail stand beside.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from models.disposition import assign, greedy, value
from pipelines import analyses, metrics
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.metrics.bind import bind
from pipelines.metrics.compiler import statement
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests.evidence import Claim, _margin_forecast

SPAN = Question(since=date(2025, 2, 1), until=date(2026, 1, 31))


def claims() -> Iterator[Claim]:
    """Claim waterfalls and sums of a shop, assignments, scenarios and forecasts."""
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(warehouse=Path(place) / "warehouse")
        write_sample(Path(place) / "files", 60_000, 61_000, until=date(2026, 1, 31))
        load(settings, [Path(place) / "files"])
        with current_build(settings.warehouse) as build:
            yield from _waterfalls(build)
            yield from _sums(build)
            yield from _scenarios(build)
            yield _table(build, "the demo shop")
    yield from _assignments()
    yield from _margin_forecast.claims()
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(warehouse=Path(place) / "warehouse")
        load(
            settings,
            [Path(os.environ["BACKHAUL_TEST_DATA"]) / "uci_online_retail" / "online_retail_2010-12_to_2011-08.parquet"],
            source="online_retail",
        )
        with current_build(settings.warehouse) as build:
            yield _table(
                build, "Online Retail (nine months: no year to look back on, so the last weeks are the naive forecast)"
            )


def _waterfalls(build: Build) -> Iterator[Claim]:
    rng = np.random.default_rng(3)
    values = {d: metrics.dimension_values(build, d) for d in ("country", "category", "channel")}
    off, slices = 0, 0
    for _ in range(300):
        name = str(rng.choice(["country", "category", "channel"]))
        chosen = [str(v) for v in rng.choice(values[name], size=min(2, len(values[name])), replace=False)]
        since = date(2024, 3, 1) + timedelta(int(rng.integers(0, 600)))
        found = analyses.waterfall(
            build, Question(where={name: chosen}, since=since, until=since + timedelta(int(rng.integers(1, 200))))
        )
        if found.empty:
            continue
        cents = (found["amount"] * 100).round().astype(int)
        parts = ((found["measured"] + found["imputed"] + found["assumed"]) * 100).round().astype(int)
        steps = found["kind"] == "step"
        slices += 1
        off += int(cents.iloc[0] + cents[steps].sum() != cents.iloc[-1]) + int((parts[steps] != cents[steps]).any())
    yield Claim(
        f"Waterfall of {slices} random slices: steps add up to the difference, and each step's parts to the step",
        "to the cent",
        f"{off} off",
        off == 0 and slices > 250,
    )


def _sums(build: Build) -> Iterator[Claim]:
    cuts = {
        key: [
            d
            for d in (
                "country",
                "category",
                "channel",
                "month",
                "product_id",
                "method",
                "carrier",
                "component",
                "role",
                "activity",
            )
            if d in metrics.dimensions(key)
        ]
        for key in ("return_cost", "kg_co2e")
    }
    worst, counted = 0.0, 0
    for key, names in cuts.items():
        whole = float(metrics.answer(build, key, SPAN)["value"].iloc[0])
        for name in names:
            parts = float(metrics.answer(build, key, SPAN, by=(name,))["value"].sum())
            worst, counted = max(worst, abs(parts / whole - 1)), counted + 1
    legs = float(build.fetch(_leg_cost_sql())["amount"].iloc[0])
    lots = float(
        metrics.answer(build, "return_cost", Question(where={"component": ["return_freight"]}))["value"].iloc[0]
    )
    yield Claim(
        f"Component sums by leg, return, product and period: {counted} cuts of cost and emissions against the whole",
        "to 1e-9",
        f"largest difference {worst:.1e}",
        worst < 1e-9,
    )
    yield Claim(
        "Freight of the lots of costed returns is at most that of their legs",
        "no more",
        f"{lots:,.2f} of {legs:,.2f}",
        0 < lots <= legs + 0.01,
    )


def _leg_cost_sql():  # type: ignore[no-untyped-def]
    from sqlalchemy import func, select

    from pipelines.metrics.facts import leg_cost

    return select(func.sum(leg_cost.c.amount).label("amount"))


def _scenarios(build: Build) -> Iterator[Claim]:
    found = analyses.simulate(build, analyses.Scenario(), SPAN).set_index("outcome")
    exact = bool((found["difference"] == 0).all() and (found["value"] == found["history"]).all())
    cost, kg = (
        float(build.fetch(statement(replace(bind(build, k, SPAN), basis="order")))[m].sum())
        for k, m in (("return_cost", "cost"), ("kg_co2e", "kg"))
    )
    units = float(metrics.answer(build, "returned_units", SPAN)["value"].iloc[0])
    off = max(
        abs(found.loc["return_cost", "history"] / cost - 1),
        abs(found.loc["kg_co2e", "history"] / kg - 1),
        abs(found.loc["returned_units", "history"] / units - 1),
    )
    yield Claim(
        "A scenario that changes nothing is the history, and the history is what the metrics say",
        "exactly; to 1e-9",
        f"{len(found)} outcomes equal: {exact}; {off:.1e} from units, cost and kilograms of the metrics",
        exact and off < 1e-9,
    )


def _assignments() -> Iterator[Claim]:
    rng = np.random.default_rng(5)
    best = over = below = 0
    for _ in range(500):
        items, routes = int(rng.integers(1, 7)), int(rng.integers(2, 5))
        worth = rng.normal(0, 5, (items, routes))
        room = rng.integers(0, 3, routes).astype(float)
        room[-1] = np.inf
        worth[:, :-1][rng.random((items, routes - 1)) < 0.2] = -np.inf
        found = assign(worth, room)
        top = max(
            value(worth, p)
            for p in itertools.product(range(routes), repeat=items)
            if all(p.count(j) <= room[j] for j in range(routes))
        )
        best += abs(value(worth, found) - top) < 1e-9
        over += any((found == j).sum() > room[j] for j in range(routes))
        below += value(worth, found) < value(worth, greedy(worth, room)) - 1e-9
    yield Claim(
        "Assignment of 500 small cases against every assignment there is",
        "all the best, none over capacity, none below greedy",
        f"{best} best, {over} over, {below} below",
        best == 500 and not over and not below,
    )
    base = rng.lognormal(3.3, 0.6, 50_000)
    worth = base[:, None] * np.array([0.9, 0.92, 0.6, 0.55, 0.62, 0.0, -0.05, -0.05]) + rng.normal(0, 5, (50_000, 8))
    worth[rng.random(50_000) < 0.3, 0] = -np.inf
    room = np.array([20_000, 3_000, 8_000, 6_000, 4_000, np.inf, np.inf, np.inf])
    started = time.perf_counter()
    found = assign(worth, room)
    took = time.perf_counter() - started
    full = bool((np.bincount(found, minlength=8) <= room).all())
    gain = value(worth, found) / value(worth, greedy(worth, room)) - 1
    yield Claim(
        "Assignment of 50,000 items to 8 routes, five with a capacity",
        "under a minute, no capacity exceeded, not below greedy",
        f"{took:.1f} s; {gain:+.1%} against greedy",
        took < 60 and full and gain >= 0,
    )


def _table(build: Build, name: str) -> Claim:
    tested = analyses.backtested(build)
    if tested.empty:
        return Claim(f"Weekly back-test of {name}", "printed", "too little history", False)
    rows = []
    for week, part in tested.groupby(pd.cut(tested["week"], [0, 2, 6, 12])):
        rows.append(
            f"weeks {int(week.left) + 1}-{int(week.right)}: error {part['error'].sum() / part['actual'].sum():.1%}"
            f" (naive {part['naive_error'].sum() / part['actual'].sum():.1%}), covered {part['inside'].mean():.0%}"
        )
    origins = tested["weeks_ago"].nunique()
    return Claim(f"Weekly back-test of {name}, {origins} origins", "printed", "; ".join(rows), True)
