"""Worlds of goods: a shop in which nothing differs, one whose countries differ, and products that somebody acts on.

Products drift by themselves from week to week; what an action does is known, for most it is nothing.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from tests.worlds import plain, shapes
from tests.worlds.plain import Category, Ground
from tests.worlds.shop import Shop, named

AFTER_ACTION = 98
"""Days from an action to the last day: eight weeks, and six in which their returns come."""
ALIKE = tuple(Category(name, share, 0.25, 7.0) for name, share in (("dresses", 0.4), ("shoes", 0.3), ("tops", 0.3)))
MIX = (("FR", (0.5, 1.0)), ("DE", (0.5, 1.7)))


def null(seed: int, **sizes: Any) -> Shop:
    """Nothing differs and nothing moves: one rate in every category, country, product and week, but people differ.

    Nobody ever waits for the returns centre, so that promises are kept alike at all times too.
    """
    sizes = {"lines": 16_000, "days": 760, "product_shape": 1e6, "categories": ALIKE, **sizes}
    plan = replace(plain.plan_of(seed, **sizes), countries=(("FR", (0.5, 1.0)), ("DE", (0.3, 1.0)), ("ES", (0.2, 1.0))))
    base = plain.ground(seed, plan)
    return plain.shop(base, plain.settled(base, plain.returned(base, plain.delivered(base)), staff=50.0))


def country_mix(seed: int, **sizes: Any) -> Shop:
    """Half of the products are made for Germany, where people send more back; products themselves are of one kind."""
    sizes = {"lines": 12_000, "products": 160, "product_shape": 15.0, "categories": ALIKE, **sizes}
    plan = replace(plain.plan_of(seed, **sizes), countries=MIX)
    rng = np.random.default_rng([seed, 5])
    stock = plain.goods(rng, plan)
    stock = stock.assign(home=rng.permutation(len(stock)) % 2)
    base = plain.ground(seed, plan, stock, home=True)
    home = dict(zip(stock["style_id"], np.array(["FR", "DE"])[stock["home"]], strict=True))
    own = dict(zip(stock["style_id"], stock["own"], strict=True))
    return plain.shop(base, plain.settled(base, plain.returned(base, plain.delivered(base))), home=home, own=own)


def drift(rng: np.random.Generator, products: int, weeks: int, *, sd: float = 0.1, keeps: float = 0.8) -> Any:
    """Draw each product's own way through the weeks: factors about 1 that remember, by gamma steps."""
    way = np.empty((products, weeks))
    level = np.zeros(products)
    step = sd * np.sqrt(1 - keeps**2)
    for week in range(weeks):
        level = keeps * level + step * (rng.gamma(4, 0.25, products) - 1) * 2
        way[:, week] = level
    return np.exp(way - sd**2 / 2)


def _acted(seed: int, stock: pd.DataFrame | None, plan: plain.Plan, factor: Any = None, **truth: Any) -> Shop:
    """Let products drift, apply a factor a product and day of order, and follow all of it to the end.

    factor: takes the ground, gives a factor a line.
    """
    base: Ground = plain.ground(seed, plan, stock)
    weeks = int(base.lines["at"].max() // 7) + 1
    way = drift(base.rng, len(base.goods), weeks)
    moved = way[base.lines["product"].to_numpy(), (base.lines["at"].to_numpy() // 7).astype(int)]
    moved = moved * (factor(base) if factor else 1.0)
    base = replace(base, lines=base.lines.assign(probability=plain.bounded(base.lines["probability"] * moved)))
    done_on = plan.until - timedelta(days=AFTER_ACTION)
    lines = plain.settled(base, plain.returned(base, plain.delivered(base)))
    return plain.shop(base, lines, done_on=done_on, **truth)


def _plan(seed: int, **sizes: Any) -> plain.Plan:
    """Plan `monthly` units a product; products differ little by themselves, so that those that stand out had luck."""
    sizes = {"products": 200, "days": 250, "product_shape": 80.0, **sizes}
    monthly = sizes.pop("monthly", 40)
    return plain.plan_of(seed, lines=int(sizes["products"] * monthly * sizes["days"] / 30.4), **sizes)


def _even(stock: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Let products sell much alike, so that twenty of them sell twenty times what one does."""
    sells = shapes.spread(rng, len(stock), 4.0)
    return stock.assign(sells=sells / sells.sum())


def left_alone(seed: int, **sizes: Any) -> Shop:
    """Somebody picks products by how they look and says an action was done, but it does nothing."""
    plan = _plan(seed, **sizes)
    rng = np.random.default_rng([seed, 6])
    stock = _even(plain.goods(rng, plan), rng)
    return _acted(seed, stock, plan, effect=0.0)


def drifting_supplier(seed: int, **sizes: Any) -> Shop:
    """Twenty products of one supplier get worse, or better, together about the day of an action that does nothing.

    truth: acted are their styles; from three weeks before the action to three after it their rate moves by a fifth.
    """
    plan = _plan(seed, **sizes)
    rng = np.random.default_rng([seed, 7])
    stock = _even(plain.goods(rng, plan), rng)
    chosen = rng.permutation(len(stock))[:20]
    supplier = stock["supplier"].to_numpy().copy()
    supplier[chosen] = "supplier-one"
    stock = stock.assign(supplier=supplier)
    change = float(rng.choice([0.8, 1.25]))

    def factor(base: Ground) -> Any:
        day = base.lines["at"].to_numpy() - (base.plan.days - AFTER_ACTION)
        share = np.clip((day + 21) / 42, 0, 1)
        return np.where(np.isin(base.lines["product"].to_numpy(), chosen), change**share, 1.0)

    return _acted(seed, stock, plan, factor, effect=0.0, change=change, acted=list(named("S", chosen)))


def effective(seed: int, *, effect: float = -0.15, count: int = 20, **sizes: Any) -> Shop:
    """Twenty products drawn by lot really come back less often from the day of an action on."""
    plan = _plan(seed, **{"monthly": 88, **sizes})
    rng = np.random.default_rng([seed, 8])
    stock = _even(plain.goods(rng, plan), rng)
    chosen = rng.permutation(len(stock))[:count]

    def factor(base: Ground) -> Any:
        is_after = base.lines["at"].to_numpy() >= base.plan.days - AFTER_ACTION
        return np.where(np.isin(base.lines["product"].to_numpy(), chosen) & is_after, 1 + effect, 1.0)

    return _acted(seed, stock, plan, factor, effect=float(np.log1p(effect)), acted=list(named("S", chosen)))
