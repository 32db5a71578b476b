"""How returns gather on customers, as shares of a crowd: never a list, never a score, never one person.

Customers are counted by how much they bought and how much came back; only those counts leave the warehouse. Each figure
stands beside what chance alone would make of the same purchases, for a few customers always return most: each unit
comes back as often as its category does in the selection, whoever buys it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import case, func, literal, literal_column, select, union_all

from models import concentration
from models import rates as rate_models
from pipelines.metrics.answer import answer
from pipelines.metrics.bind import bind
from pipelines.metrics.cautions import doubt, doubted
from pipelines.metrics.compiler import filters
from pipelines.metrics.coverage import lacking, wanted
from pipelines.metrics.declare import both
from pipelines.metrics.facts import LOTS, ORDERS, lots, orders
from pipelines.metrics.facts.conditions import is_confirmed, is_headline
from pipelines.metrics.finish import final
from pipelines.metrics.finish import shares as shares_finish
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, Expression, double
from pipelines.why import together, why

SHARE_STEP = 0.05  # customers are counted by the share expected back of what they bought, to so much
FEWEST = 200  # customers, under which nothing is said of any
SMALLEST_SLICE = 10  # customers in the smallest slice that is shown
SLICES = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
OFTEN = (5, 0.8)  # serial: at least so many units bought, and at least this share of them returned


@dataclass(frozen=True)
class Concentration:
    """How returns gather on customers.

    `slices`: customers (share, most returns first), returned (share of the returned units that is theirs) and by_chance
    (the share were every unit as likely to come back as its category's), caution, reason. `patterns`: one row a pattern
    (serial, several_sizes, one_time) with customers, sold and returned as shares, rate, low, high and by_chance (the
    share of customers chance would make; NaN where chance says nothing). `reason` says why both are empty.
    """

    customers: int
    slices: pd.DataFrame
    patterns: pd.DataFrame
    reason: str = ""


def customer_concentration(
    build: Build,
    question: Question = ANYTHING,
) -> Concentration:
    """Say how far the returned units of these sales gather on few customers, and which buying patterns they come with.

    Sales without a customer are left out. Nothing is said of fewer than FEWEST customers, no slice of fewer than
    SMALLEST_SLICE, and nothing before half of the returns that are expected have come: who returns late would look like
    who keeps.
    """
    nothing = pd.DataFrame()
    lacks = lacking(build, ("order", "return", "customer"))
    if not lacks or all(lacks.values()):
        return Concentration(
            0, nothing, nothing, together(why("needs", facts=wanted(("customer",))), why("load_source"))
        )
    crowd = _crowd(build, question)
    customers = int(crowd["customers"].sum())
    if customers < FEWEST or crowd["returned"].max() < 1:
        reason = why("few_customers", customers=customers, needed=FEWEST)
        return Concentration(customers, nothing, nothing, reason)
    age = answer(build, "maturity", question).iloc[0]
    if age["status"] != "ok" or age["value"] < final.MATURE:
        young = why("young", share=age["value"], limit=final.MATURE)
        return Concentration(customers, nothing, nothing, young if age["status"] == "ok" else str(age["reason"]))
    bought, back, count = (crowd[c].to_numpy(float) for c in ("bought", "returned", "customers"))
    chance = concentration.by_chance(bought, count, crowd["chance"])
    shares = [s for s in SLICES if s * customers >= SMALLEST_SLICE]
    own, random = concentration.lorenz(back, count), concentration.lorenz(np.arange(len(chance)), chance)
    slices = pd.DataFrame({"customers": shares, "returned": own.at(shares), "by_chance": random.at(shares)})
    slices = doubted(slices, doubt(build, question, "observed_return_rate"))
    return Concentration(customers, slices, _patterns(build, question, crowd))


def _crowd(build: Build, question: Question) -> pd.DataFrame:
    """Count customers by units bought, units returned and `chance`: the share expected back of what they bought."""
    asked = bind(build, "observed_return_rate", question)
    of_orders, of_lots = ORDERS.time(asked), LOTS.time(asked)
    counted = both(is_confirmed(), is_headline())
    zero: Expression = literal_column("0")
    lines = union_all(
        select(
            orders.c.customer_key, orders.c.category, orders.c.units_sold.label("bought"), zero.label("returned")
        ).where(*filters(ORDERS, asked, of_orders), orders.c.customer_key.is_not(None), orders.c.units_sold > 0),
        select(lots.c.customer_key, lots.c.category, zero, lots.c.units).where(
            *filters(LOTS, asked, of_lots), counted(of_lots), lots.c.customer_key.is_not(None)
        ),
    ).subquery("customer_line")
    sums = (func.sum(lines.c.bought).label("bought"), func.sum(lines.c.returned).label("returned"))
    categories = build.fetch(select(lines.c.category, *sums).group_by(lines.c.category))
    each = (
        select(*sums, func.sum(double(lines.c.bought) * _usual(lines.c.category, categories)).label("expected"))
        .group_by(lines.c.customer_key)
        .subquery("one_customer")
    )
    step = double(1 / SHARE_STEP)
    people = (
        select(
            each.c.bought,
            each.c.returned,
            each.c.expected,
            func.floor(double(each.c.expected) / double(each.c.bought) * step + double(0.5)).label("step"),
        )
        .where(each.c.bought > 0)
        .subquery("customer")
    )
    keys = (people.c.bought, people.c.returned, people.c.step)
    grouped = select(*keys, func.count().label("customers"), func.sum(people.c.expected).label("expected")).group_by(
        *keys
    )
    found = build.fetch(grouped).astype(float)
    found["returned"] = np.minimum(found["returned"], found["bought"])
    found["chance"] = np.clip(found["expected"] / (found["bought"] * found["customers"]), 0, 1)
    return found.sort_values(["bought", "returned", "step"], ignore_index=True)


def _usual(category: Expression, sums: pd.DataFrame) -> Expression:
    """Give the share of a category's units in the selection that came back; 0 where it sold none."""
    rates = (
        (sums["returned"].astype(float) / sums["bought"].astype(float).where(sums["bought"] > 0)).clip(0, 1).fillna(0)
    )
    named = [(c, r) for c, r in zip(sums["category"], rates, strict=True) if not pd.isna(c)]
    rest = next((r for c, r in zip(sums["category"], rates, strict=True) if pd.isna(c)), 0.0)
    whens = [(category == literal(str(c), literal_execute=True), double(float(r))) for c, r in named]
    return case(*whens, else_=double(float(rest))) if whens else double(float(rest))


def _patterns(build: Build, question: Question, crowd: pd.DataFrame) -> pd.DataFrame:
    least, share = OFTEN
    is_serial = (crowd["bought"] >= least) & (crowd["returned"] >= share * crowd["bought"])
    tails = concentration.tail_by_chance(crowd["bought"].to_numpy(float), share, crowd["chance"].to_numpy(float))
    by_chance = float((tails * crowd["customers"] * (crowd["bought"] >= least)).sum() / crowd["customers"].sum())
    rows = [
        _pattern("serial", crowd, is_serial, shares_finish.design_effect(build)) | {"by_chance": by_chance},
        _pattern("one_time", crowd, crowd["bought"] == 1, shares_finish.design_effect(build)),
    ]
    sizes = answer(build, "observed_return_rate", question, by=("has_several_sizes",))
    mine = sizes[sizes["has_several_sizes"].eq(True) & sizes["status"].eq("ok")]
    if len(mine) and _is_crowd(build, question):
        one = mine.iloc[0]
        everything = float(sizes["n"].sum()), float((sizes["value"] * sizes["n"]).sum())
        rows.append(
            {
                "pattern": "several_sizes",
                "customers": np.nan,
                "sold": one["n"] / everything[0],
                "returned": one["value"] * one["n"] / everything[1] if everything[1] else np.nan,
                "rate": one["value"],
                "low": one["low"],
                "high": one["high"],
                "by_chance": np.nan,
            }
        )
    return pd.DataFrame(rows)


def _is_crowd(build: Build, question: Question) -> bool:
    """Say whether enough orders of enough customers hold several sizes.

    So that a rate of theirs is of nobody in particular.
    """
    asked = bind(build, "observed_return_rate", question)
    counts: list[Any] = [func.count(c.distinct()).label(c.name) for c in (orders.c.order_id, orders.c.customer_key)]
    conditions = [
        *filters(ORDERS, asked, ORDERS.time(asked)),
        orders.c.has_several_sizes.is_(True),
        orders.c.units_sold > 0,
    ]
    held: Any = select(*counts).where(*conditions)
    return bool(build.fetch(held).iloc[0].min() >= SMALLEST_SLICE)


def _pattern(name: str, crowd: pd.DataFrame, mask: "pd.Series[bool]", deff: float) -> dict[str, Any]:
    mine = crowd[mask]
    sums = {c: float((mine[c] * mine["customers"]).sum()) for c in ("bought", "returned")}
    every = {c: float((crowd[c] * crowd["customers"]).sum()) for c in ("bought", "returned")}
    is_few = mine["customers"].sum() < SMALLEST_SLICE
    low, high = rate_models.wilson(sums["returned"], sums["bought"], deff=deff)
    figures = {
        "customers": mine["customers"].sum() / crowd["customers"].sum(),
        "sold": sums["bought"] / every["bought"],
        "returned": sums["returned"] / every["returned"],
        "rate": sums["returned"] / sums["bought"] if sums["bought"] else np.nan,
        "low": float(low),
        "high": float(high),
    }
    return {"pattern": name, **{k: np.nan if is_few else v for k, v in figures.items()}, "by_chance": np.nan}
