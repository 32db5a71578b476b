"""Worlds of single lines: what can be known of one before it ships, from nothing to nearly all.

`probability` of a line is what an oracle would say, who knows people, goods and sizes as the world drew them.
"""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from tests.worlds import plain
from tests.worlds.plain import Ground
from tests.worlds.shop import Shop, end_of, named

SIZES = ("S", "M", "L", "XL")


def noise(seed: int, **sizes: Any) -> Shop:
    """Everything differs but nothing matters: each line comes back with one probability."""
    base = plain.ground(seed, plain.plan_of(seed, **{"lines": 8_000, **sizes}))
    base = replace(base, lines=base.lines.assign(probability=0.3, wait=7.0))
    return _finished(base)


def fit(seed: int, **sizes: Any) -> Shop:
    """Serial buyers, styles that run small or large, and customers who order two sizes to keep one.

    One buyer in fourteen sends most things back. A style's cut is off by up to a size and a half; a line that is off
    for its buyer is sent back far more often. Of two sizes in one order, the worse comes back in nine cases of ten.
    """
    plan = plain.plan_of(seed, **{"lines": 12_000, "products": 90, **sizes})
    rng = np.random.default_rng([seed, 31])
    stock = plain.goods(rng, plan)
    base = plain.ground(seed, plan, stock)
    lines, people = base.lines, int(base.lines["customer"].max()) + 1
    is_serial = rng.random(people) < 1 / 14
    body = rng.normal(1.5, 0.9, people)
    cut = rng.triangular(-1.5, 0, 1.5, len(stock))
    person, product = lines["customer"].to_numpy(), lines["product"].to_numpy()
    size = np.clip(np.rint(body[person] + rng.normal(0, 0.3, len(lines))), 0, 3).astype(int)
    lines, size = _brackets(rng, lines, size)
    person, product = lines["customer"].to_numpy(), lines["product"].to_numpy()
    off = np.abs(size + cut[product] - body[person])
    rate = np.array([c.rate for c in plan.categories])[stock["kind"].to_numpy()[product]]
    chance = 0.55 * rate * stock["own"].to_numpy()[product] + 0.30 * np.clip(off - 0.4, 0, 1.5)
    chance = np.where(is_serial[person], 0.62 + 0.3 * chance, chance)
    twice = lines.duplicated(["order", "product"], keep=False).to_numpy()
    best = pd.Series(off).groupby([lines["order"], lines["product"]], sort=False).transform("min").to_numpy()
    chance = np.where(twice & (off > best + 1e-9), 0.9, chance)
    sized = np.array(SIZES)[size]
    lines = lines.assign(
        product_id=lines["product_id"].astype(str) + "-" + sized,
        size=sized,
        probability=plain.bounded(np.clip(chance, 0.01, 0.97)),
    )
    variants = pd.concat([stock.assign(product_id=stock["product_id"].astype(str) + "-" + s, size=s) for s in SIZES])
    return _finished(replace(base, goods=variants.reset_index(drop=True), lines=lines), serial=is_serial, cut=cut)


def _brackets(rng: np.random.Generator, lines: pd.DataFrame, size: Any) -> tuple[pd.DataFrame, Any]:
    """Let one line in eight be ordered in the next size too."""
    twin = rng.random(len(lines)) < 0.125
    both = np.concatenate([np.arange(len(lines)), np.flatnonzero(twin)])
    other = size[twin] + np.where(size[twin] == 3, -1, np.where(size[twin] == 0, 1, rng.choice([-1, 1], twin.sum())))
    order = np.argsort(both, kind="stable")
    found = lines.iloc[both[order]].reset_index(drop=True)
    return found.assign(line=np.arange(len(found))), np.concatenate([size, other])[order]


def designed(seed: int, **sizes: Any) -> Shop:
    """The world of the design: people and goods differ on the logit by .7 and .5, sizes miss, discounts and gifts."""
    plan = plain.plan_of(seed, **{"lines": 20_000, "products": 150, "days": 500, **sizes})
    rng = np.random.default_rng([seed, 32])
    stock = plain.goods(rng, plan)
    base = plain.ground(seed, plan, stock)
    lines, n = base.lines, len(base.lines)
    person = rng.normal(0, 0.7, int(lines["customer"].max()) + 1)[lines["customer"]]
    item = rng.normal(0, 0.5, len(stock))[lines["product"]]
    miss, is_gift = rng.random(n) < 0.25, rng.random(n) < 0.06
    discount = rng.choice([0.0, 0.0, 0.0, 0.2, 0.4], n)
    rate = np.array([c.rate for c in plan.categories])[stock["kind"].to_numpy()[lines["product"]]]
    logit = np.log(rate / (1 - rate)) + person + item + 1.1 * miss - 0.8 * discount - 0.5 * is_gift
    net = lines["net"] * (1 - discount)
    lines = lines.assign(
        probability=1 / (1 + np.exp(-logit)), net=net.round(2), discount_amount=(lines["net"] - net).round(2)
    )
    return _finished(replace(base, lines=lines))


def _finished(base: Ground, **truth: Any) -> Shop:
    return plain.shop(base, plain.settled(base, plain.returned(base, plain.delivered(base))), **truth)


def rewritten_net(shop: Shop) -> Shop:
    """Leak: once a return is known, the shop system writes the line's net amount anew, as nothing."""
    known = (shop.confirmed_at() < end_of(shop.until)).to_numpy()
    return replace(shop, lines=shop.lines.assign(net=np.where(known, 0.0, shop.lines["net"])))


def delivered_if_kept(shop: Shop) -> Shop:
    """Leak: the day of delivery only stands on lines that were kept."""
    known = (shop.confirmed_at() < end_of(shop.until)).to_numpy()
    kept = shop.lines["delivered_at"].where(~known, np.datetime64("NaT", "s"))
    return replace(shop, lines=shop.lines.assign(delivered_at=kept))


def flat(shop: Shop, day: date | None = None) -> pd.DataFrame:
    """Give the lines as one labelled table, as a team would export it to judge a method: one row a line."""
    lines = shop.sold(day)
    columns = {
        "order line": named("L", lines["line"]),
        "order": named("O", lines["order"]),
        "order date": lines["ordered_at"].dt.strftime("%Y-%m-%d").to_numpy(),
        "SKU": lines["product_id"].to_numpy(),
        "category": lines["category"].to_numpy(),
        "customer": named("C", lines["customer"]),
        "country": lines["country"].to_numpy(),
        "units": 1,
        "net price": lines["net"].to_numpy(),
        "delivery date": lines["delivered_at"].dt.strftime("%Y-%m-%d").to_numpy(),
        "returned": lines["is_returned"].astype(int).to_numpy(),
    }
    if "size" in lines:
        columns["size"] = lines["size"].to_numpy()
    return pd.DataFrame(columns)
