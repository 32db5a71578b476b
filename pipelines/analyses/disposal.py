"""Where inspected goods should have gone.

The expected net value of each route for each item, the best assignment, and the regret of what was done. Values are
expected, not booked: the price the goods would fetch by grade and route (what recoveries of the shop tell, the
parameter of data/costs.csv where they are too few), less what the route costs and the price of its carbon. Apparel and
footwear are never destroyed while another route is lawful, and it always is. "keep_it" is hindsight: goods that had
better stayed with the customer, refunded all the same; it is worth the freight, handling and emissions of a way back
that were spent on every other route.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import and_, func, select

from models import carbon
from models import disposition as model
from models.rates import two_sided_z
from pipelines.analyses.emissions import factor_of
from pipelines.analyses.opportunity import fetched, markdown_curve
from pipelines.errors import UnknownValue
from pipelines.estimate.goods import CLOTHING, SECOND_LIFE
from pipelines.factors import parameter
from pipelines.metrics.bind import bind, euro_rate
from pipelines.metrics.cautions import doubt
from pipelines.metrics.compiler import filters
from pipelines.metrics.facts import LOTS, lot_avoided, lot_carbon, lot_cost, lots
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, double, looked_up
from pipelines.warehouse.star import STAR

ROUTES = (
    "as_new",
    "nearest_store",
    "marked_down",
    "b_stock",
    "refurbished",
    "donated",
    "recycled",
    "destroyed",
    "keep_it",
)
GRADES = {  # grades that may take a route; an item without a grade is taken for b
    "as_new": "a",
    "nearest_store": "a",
    "marked_down": "ab",
    "b_stock": "abc",
    "refurbished": "bc",
    "donated": "abc",
    "recycled": "abcd",
    "destroyed": "abcd",
    "keep_it": "abcd",
}
_FACTORS = {
    "refurbished": "treatment_reuse",
    "donated": "treatment_reuse",
    "recycled": "treatment_recycling",
    "destroyed": "treatment_energy_recovery",
}
_ENOUGH = 30  # recoveries of a disposition in a category before their mean stands for the parameter
t = STAR.tables


@dataclass(frozen=True)
class Plan:
    """The best assignment of a span's inspected goods: one row an item, one row a route, and what was done beside it.

    `regret` is the value of the best less that of what was done (reporting currency), `regret_kg_co2e` the emissions of
    what was done less those of the best (treatment, and the way back of goods that had better been kept),
    `avoided_kg_co2e` what the best would displace more of new goods. Lots of several units are one item. Goods that
    went back to suppliers, and those whose grade forbids what was done, are left out; so are the `unpriced` ones, whose
    money no exchange rate turns into the reporting currency. `caution` and `reason` say what the plan does not rest on.
    """

    items: pd.DataFrame
    routes: pd.DataFrame
    value: float
    value_done: float
    regret_kg_co2e: float
    avoided_kg_co2e: float
    capacity: dict[str, float] = field(default_factory=dict)
    unpriced: int = 0
    caution: str = ""
    reason: str = ""

    @property
    def regret(self) -> float:
        """Value left on the table."""
        return self.value - self.value_done


def recovery_rates(build: Build) -> pd.DataFrame:
    """Give what a disposition fetches, where there are enough recoveries of a category.

    Columns: disposition, category, n, rate (share of the net price), low, high (90%).
    """
    if "recovery_rates" not in build.cache:
        f = fetched().c
        share = double(f.got / f.net)
        columns = [func.count().label("n"), func.avg(share).label("rate"), func.stddev_samp(share).label("spread")]
        query = select(f.disposition, f.category, *columns).group_by(f.disposition, f.category)
        found = build.fetch(query.having(func.count() >= _ENOUGH).order_by(f.disposition, f.category))
        half = two_sided_z(0.9) * found.pop("spread") / np.sqrt(found["n"])
        build.cache["recovery_rates"] = found.assign(low=found["rate"] - half, high=found["rate"] + half)
    rates: pd.DataFrame = build.cache["recovery_rates"]
    return rates.copy()


def dispose(
    build: Build,
    question: Question = ANYTHING,
    *,
    carbon_price: float | None = None,
    capacity: Mapping[str, float] | None = None,
) -> Plan:
    """Assign the inspected goods of the orders of a span to their best routes under the capacities.

    `carbon_price` is EUR a tonne, `capacity` units a day of a route (default: data/costs.csv). A lot is an item;
    capacities count lots.
    """
    found = _inspected(build, question.takes("An assignment of goods", "since", "until"))
    price = parameter("carbon_price") if carbon_price is None else carbon_price
    factors = {route: factor_of(build, kind, "kgCO2e/t") for route, kind in _FACTORS.items()}
    weekly = float(markdown_curve(build)["rate"].iloc[0])
    worth, kg = _values(found, recovery_rates(build), price, weekly, euro_rate(build), factors)
    done = _done(found, worth)
    is_priced = ~np.isnan(worth).any(axis=1)
    judged = (done >= 0) & is_priced
    items, worth, kg, done = found[judged].reset_index(drop=True), worth[judged], kg[judged], done[judged]
    room = _room(items, capacity or {})
    best = model.assign(worth, room) if len(items) else np.zeros(0, dtype=np.int64)
    plan = _plan(
        items, worth, kg, best, done, {r: float(x) for r, x in zip(ROUTES, room, strict=True) if np.isfinite(x)}
    )
    said = doubt(build, question, "returned_units")
    return replace(plan, unpriced=int((~is_priced).sum()), caution=said.caution, reason=said.reason)


def _inspected(build: Build, question: Question) -> pd.DataFrame:
    """Give the lots of a question that were inspected and sent somewhere, with what they are worth and what they cost.

    In the order of their inspection.
    """
    bound = bind(build, "returned_units", question)
    product = t["dim_product"]
    spent = (
        select(lot_cost.c.return_lot_key, func.sum(double(lot_cost.c.amount)).label("spent"))
        .where(lot_cost.c.component.in_(["return_freight", "handling"]))
        .group_by(lot_cost.c.return_lot_key)
        .subquery("spent")
    )
    query = (
        select(
            lots.c.return_line_id,
            lots.c.lot_no,
            lots.c.category,
            lots.c.place_id,
            lots.c.condition,
            lots.c.disposition,
            lots.c.inspected_at,
            lots.c.ordered_on,
            lots.c.units,
            lots.c.weight_kg,
            (double(lots.c.net_amount) * lots.c.fx_rate).label("net"),
            product.c.hs_chapter,
            lot_avoided.c.kg_co2e_new,
            spent.c.spent,
            lot_carbon.c.kg_co2e,
        )
        .select_from(
            lots.outerjoin(product, and_(product.c.product_key == lots.c.product_key, product.c.is_current))
            .outerjoin(lot_avoided, lot_avoided.c.return_lot_key == lots.c.return_lot_key)
            .outerjoin(spent, spent.c.return_lot_key == lots.c.return_lot_key)
            .outerjoin(lot_carbon, lot_carbon.c.return_lot_key == lots.c.return_lot_key)
        )
        .where(
            *filters(LOTS, bound, LOTS.time(bound)),
            lots.c.inspected_at.is_not(None),
            lots.c.disposition.is_not(None),
            lots.c.net_amount.is_not(None),
        )
        .order_by(lots.c.inspected_at, lots.c.return_line_id, lots.c.lot_no)
    )
    return build.fetch(query)


def _room(items: pd.DataFrame, capacity: Mapping[str, float]) -> np.ndarray[Any, Any]:
    """Give the most lots each route may take over the days of the items; no store takes any where none inspects.

    Raises UnknownValue for a route that there is not, and for less than no units.
    """
    for route, units in capacity.items():
        if route not in ROUTES or units < 0:
            raise UnknownValue(f"The capacity {route[:60]}={units:g}: give 0 or more for one of {', '.join(ROUTES)}.")
    days = max(items["inspected_at"].dt.normalize().nunique(), 1) if len(items) else 1
    limits = {
        "nearest_store": parameter("store_capacity"),
        "refurbished": parameter("refurbish_capacity"),
        "keep_it": parameter("keep_it_capacity"),
        **capacity,
    }
    if len(items) and not items["place_id"].fillna("").str.contains("store").any():
        limits["nearest_store"] = 0.0
    return np.array([np.floor(limits[r] * days) if r in limits else np.inf for r in ROUTES])


def _values(
    items: pd.DataFrame,
    rates: pd.DataFrame,
    carbon_price: float,
    decay: float,
    euro: float,
    factors: Mapping[str, float | None],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Give the expected net value and the emissions (kg CO2e) of each item by route; -inf where it may not go.

    `decay` is a share a week, `euro` the rate of parameters, `factors` the kg CO2e a tonne of routes that treat goods.
    """
    n = len(items)
    net = items["net"].to_numpy(float)
    units = items["units"].to_numpy(float)
    grade = items["condition"].fillna("b").str.lower().to_numpy(str)
    weight = np.nan_to_num(items["weight_kg"].to_numpy(float)) * units
    measured = {(d, c): r for d, c, r in zip(rates["disposition"], rates["category"], rates["rate"], strict=True)}
    age = (
        (pd.to_datetime(items["inspected_at"]) - pd.to_datetime(items["ordered_on"])).dt.days.fillna(30).to_numpy(float)
    )
    repack = parameter("handling_repacking") * euro * units
    worth, kg = np.full((n, len(ROUTES)), -np.inf), np.zeros((n, len(ROUTES)))

    def left(days: float) -> np.ndarray[Any, Any]:
        return np.maximum(1 - decay * (age + days) / 7, 0.2)

    def share(route: str) -> np.ndarray[Any, Any]:
        usual = parameter("recovery", route)
        known = {c: measured.get((route, c), usual) for c in items["category"].unique()}
        return items["category"].map(known).fillna(usual).to_numpy(float)

    gains = {
        "as_new": net * left(parameter("resale_days")) - repack,
        "nearest_store": net * left(parameter("store_days")) - repack - parameter("store_transfer") * euro * units,
        "marked_down": net * share("marked_down") - repack,
        "b_stock": net * share("b_stock"),
        "refurbished": net * share("refurbished") - parameter("refurbish_cost") * euro * units,
        "donated": -parameter("donate_cost") * euro * units,
        "recycled": -parameter("disposal") * euro * units,
        "destroyed": -parameter("disposal") * euro * units,
        "keep_it": np.nan_to_num(items["spent"].to_numpy(float)),
    }
    is_clothing = items["hs_chapter"].isin(CLOTHING).to_numpy()
    for column, route in enumerate(ROUTES):
        kg[:, column] = carbon.mass_carbon(weight, factors.get(route) or 0.0)
        if route == "keep_it":
            kg[:, column] = -np.nan_to_num(items["kg_co2e"].to_numpy(float))
        may = np.isin(grade, list(GRADES[route]))
        if route == "destroyed":
            may &= ~is_clothing
        worth[:, column] = np.where(may, gains[route] - carbon_price * euro * kg[:, column] / 1000, -np.inf)
    return worth, kg


def _done(items: pd.DataFrame, worth: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give the route of what was done.

    Repaired goods were refurbished; -1 for those sent back to suppliers and those whose grade forbids it.
    """
    names = {r: i for i, r in enumerate(ROUTES)} | {"repaired": ROUTES.index("refurbished")}
    found = looked_up(items["disposition"], names).fillna(-1).to_numpy(int)
    return (
        np.where((found >= 0) & np.isfinite(worth[np.arange(len(items)), np.maximum(found, 0)]), found, -1)
        if len(items)
        else found
    )


def _plan(items: pd.DataFrame, worth: Any, kg: Any, best: Any, done: Any, limits: dict[str, float]) -> Plan:
    at = np.arange(len(items))
    made = np.nan_to_num(items["kg_co2e_new"].to_numpy(float))
    lives_on = np.array([float(r in SECOND_LIFE) for r in ROUTES])
    table = items.assign(
        route=np.array(ROUTES)[best],
        route_done=items["disposition"],
        value=worth[at, best],
        value_done=worth[at, done],
    )
    table["regret"] = table["value"] - table["value_done"]
    rows = [
        (
            r,
            int((best == i).sum()),
            int((done == i).sum()),
            float(worth[best == i, i].sum()),
            float(worth[done == i, i].sum()),
            limits.get(r, np.inf),
        )
        for i, r in enumerate(ROUTES)
    ]
    routes = pd.DataFrame(rows, columns=["route", "best", "done", "value_best", "value_done", "capacity"])
    return Plan(
        table,
        routes,
        float(worth[at, best].sum()),
        float(worth[at, done].sum()),
        float((kg[at, done] - kg[at, best]).sum()),
        float(parameter("displacement", "central") * (made * (lives_on[best] - lives_on[done])).sum()),
        limits,
    )
