"""What is known of an order line when it is ordered, as numbers that a model weighs.

Here: the counts that a line sees of its past, and the arithmetic from counts to features, for many lines at once. One
arithmetic serves the load (counts from SQL over the facts) and the endpoint (counts from the state a build keeps). Not
here: how the past is counted, point in time (pipelines/estimate/probability_counts.py).

A rate is shrunk towards what it refines: a market's towards the shop's, a product's towards its market's, a size's
towards its product's. The others say what they add, as a logarithm of returns over what the market would give.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
FEWEST_KNOWN = 200  # lines whose returns a line must know of to be expected anything of
LEVEL_LINES = 300  # that all orders before count for beside those of late
MOST_GAP = 4.0  # sizes


@dataclass(frozen=True)
class Feature:
    """One feature: the sign that the trade knows of it, what it is of, and the column of the order line it rests on.

    `sign` is 1 where more of it makes returns likelier, -1 where less likely, 0 where either may be. `is_of_product`
    says that it is 0 for a product that is usual for its category.
    """

    name: str
    sign: int = 0
    is_of_product: bool = False
    column: str = ""


_ALL = (
    Feature("market_rate", 1),  # logit of the rate of the category in the country, at its level of late
    Feature("item_rate", 1, is_of_product=True),  # what the style adds to it
    Feature("size_rate", 1, is_of_product=True),  # what the size adds to that
    Feature("colour_rate", 1, is_of_product=True),  # what the colour adds to it
    Feature("brand_rate", 1, is_of_product=True),
    Feature("word_rate", 1, is_of_product=True),  # mean of what the words of its name add
    Feature("item_known"),  # log of 1 + lines of the style known of
    Feature("customer_rate", 1),  # log of the customer's returns over what their basket would give on average
    Feature("customer_category_rate", 1),  # what the category adds to that
    Feature("customer_lines"),  # log of 1 + lines of the customer known of
    Feature("customer_pace"),  # log of 1 + lines the customer ordered in the 90 days before
    Feature("customer_pause"),  # log of 1 + days since the customer ordered before
    Feature("size_gap", 1, column="product_id"),  # sizes between this and those the customer kept, fit of the style off
    Feature("size_up", column="product_id"),  # the same with its sign
    Feature("size_known"),  # log of 1 + units with a size that the customer kept in the category
    Feature("several_sizes", 1),  # the order holds the style in several sizes
    Feature("same_style"),  # log of the lines of the style in the order
    Feature("several_colours", 1),  # the order holds the style in several colours
    Feature("same_category"),  # log of the lines of the category in the order
    Feature("basket"),  # log of the lines in the order
    Feature("basket_value", column="net_amount"),  # log of 1 + net amount of the order
    Feature("price", column="net_amount"),  # log of 1 + net price of a unit
    Feature("relative_price", column="net_amount"),  # what that is above its market's mean
    Feature("discount", column="net_amount"),  # share of the price given away
    Feature("units", column="units"),  # log of units
    Feature("is_gift", column="is_gift"),
    Feature("is_store", -1, column="channel"),
    Feature("window", 1),  # log of the days of the return window
    Feature("fee", -1),  # log of 1 + fee of a return
    Feature("delivery_days", 1),  # log of 1 + days that deliveries to the country took of late
    Feature("month_sin"),
    Feature("month_cos"),
)
FEATURES = tuple(f.name for f in _ALL)
SIGNS = tuple(f.sign for f in _ALL)
OF_PRODUCT = tuple(f.name for f in _ALL if f.is_of_product)
COLUMN_OF = {f.name: f.column for f in _ALL if f.column}
LEVEL = "market_rate"
SEASON = ("month_sin", "month_cos")
COUNTS = (
    *(f"{of}_{kind}" for of in ("shop", "late", "market", "item", "size", "colour") for kind in ("y", "n")),
    *("brand_y", "brand_e", "word_rate", "customer_y", "customer_e", "customer_n", "customer_category_y"),
    *("customer_category_e", "pace", "pause", "size_no", "kept_n", "kept_s", "fit_n", "fit_s", "sizes", "colours"),
    *("style_lines", "category_lines", "lines", "basket_net", "net", "discount", "units", "market_price"),
    *("is_gift", "is_store", "window_days", "fee", "delivery_days", "month_no"),
)
"""What a line knows: y returned lines, n lines, e returns expected by their markets' rates, s sums; see `features_of`.

`word_rate` is a feature already, `pause` and `market_price` may be missing (no order before, no price known), as may
`size_no`. `kept_*` count units kept by the customer in the category and sum their sizes, `fit_*` units of the style
kept by others and how many sizes above their buyers' own they were.
"""


def logit(rate: ArrayLike) -> Array:
    """Give the logit of rates, held within 1e-6 of their bounds."""
    inside = np.minimum(np.maximum(np.asarray(rate, dtype=np.float64), 1e-6), 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


def features_of(counts: Mapping[str, ArrayLike]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Give the features of lines from what they know, and their past rates by `shop`, `market` and `product`.

    Lines that know of fewer than `FEWEST_KNOWN` others have none of what rests on rates: NaN.
    """
    c = {name: np.asarray(counts[name], dtype=np.float64) for name in COUNTS}
    known = c["shop_n"] >= FEWEST_KNOWN
    shop = np.where(known, (c["shop_y"] + 1) / (c["shop_n"] + 2), np.nan)
    late = (c["late_y"] + LEVEL_LINES * shop) / (c["late_n"] + LEVEL_LINES)
    market = _shrunk(c, "market", shop, 100)
    item = _shrunk(c, "item", market, 15)
    of_market, of_style = logit(market), logit(item)
    level = of_market - logit(shop) + logit(late)
    of_item = of_style - of_market
    some = 4 * shop
    more = (c["customer_y"] + some) / (c["customer_e"] + some)
    in_category = (c["customer_category_y"] + some) / (c["customer_category_e"] * more + some)
    gap = _gap(c)
    net, discount, units = np.maximum(c["net"], 0), np.maximum(c["discount"], 0), np.maximum(c["units"], 1)
    price = _log1p(net / units)
    full = net + discount
    with np.errstate(invalid="ignore", divide="ignore"):
        given = np.where(full > 0, discount / full, 0.0)
    month = c["month_no"].astype(np.intp)
    found = {
        "market_rate": level,
        "item_rate": of_item,
        "size_rate": logit(_shrunk(c, "size", item, 10)) - of_style,
        "colour_rate": logit(_shrunk(c, "colour", item, 10)) - of_style,
        "brand_rate": np.log((c["brand_y"] + 30 * shop) / (c["brand_e"] + 30 * shop)),
        "word_rate": c["word_rate"],
        "item_known": _log1p(c["item_n"]),
        "customer_rate": np.log(more),
        "customer_category_rate": np.log(in_category),
        "customer_lines": _log1p(c["customer_n"]),
        "customer_pace": _log1p(c["pace"]),
        "customer_pause": np.where(np.isnan(c["pause"]), 0.0, _log1p(c["pause"])),
        "size_gap": np.abs(gap),
        "size_up": gap,
        "size_known": _log1p(c["kept_n"]),
        "several_sizes": (c["sizes"] > 1).astype(np.float64),
        "same_style": np.log(np.maximum(c["style_lines"], 1)),
        "several_colours": (c["colours"] > 1).astype(np.float64),
        "same_category": np.log(np.maximum(c["category_lines"], 1)),
        "basket": np.log(np.maximum(c["lines"], 1)),
        "basket_value": _log1p(np.maximum(c["basket_net"], 0)),
        "price": price,
        "relative_price": np.where(np.isnan(c["market_price"]), 0.0, price - c["market_price"]),
        "discount": given,
        "units": np.log(units),
        "is_gift": c["is_gift"],
        "is_store": c["is_store"],
        "window": np.log(np.maximum(c["window_days"], 1)),
        "fee": _log1p(np.maximum(c["fee"], 0)),
        "delivery_days": _log1p(np.maximum(c["delivery_days"], 0)),
        "month_sin": np.take(_SIN, month, mode="clip"),
        "month_cos": np.take(_COS, month, mode="clip"),
    }
    rates = {"shop": late, "market": _expit(level), "product": _expit(level + of_item)}
    return found, rates


_ANGLES = 2 * np.pi * np.arange(13) / 12
_SIN, _COS = np.sin(_ANGLES), np.cos(_ANGLES)  # of a month's number


def _log1p(x: Array) -> Array:
    """Give log of 1 + x; of counts and amounts, which are 0 or far from it, as exact as numpy's slower log1p."""
    return np.asarray(np.log(1.0 + x))


def _expit(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _shrunk(c: Mapping[str, Array], of: str, towards: Array, lines: float) -> Array:
    return np.asarray((c[f"{of}_y"] + lines * towards) / (c[f"{of}_n"] + lines))


def _gap(c: Mapping[str, Array]) -> Array:
    """Give how many sizes a line lies above what its customer kept, the style's own fit taken off; 0 when unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        own = c["kept_s"] / c["kept_n"]
        gap = (c["size_no"] - own - c["fit_s"] / (c["fit_n"] + 10)) * c["kept_n"] / (c["kept_n"] + 1)
    return np.asarray(np.clip(np.where(np.isfinite(gap), gap, 0.0), -MOST_GAP, MOST_GAP))


def matrix_of(features: Mapping[str, ArrayLike]) -> Array:
    """Give features as a matrix of lines x `FEATURES`.

    >>> matrix_of({name: [i] for i, name in enumerate(FEATURES)})[0, :3].tolist()
    [0.0, 1.0, 2.0]
    """
    return np.column_stack([np.asarray(features[name], dtype=np.float64) for name in FEATURES])
