"""Worlds of order lines whose true probability to come back is known, written apart from the sample shop and models.

Each gives a frame with one row a line and the columns of `COLUMNS`; `as_build` makes the tables of a build of it.
`design` is the world of the study behind the design (users, items, sizes that do not fit, bracketing, discount, gift);
`fitting` has bodies and cuts, brackets that keep one size, and serial buyers; `noise` has nothing to find.
"""

from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.load.shape.versions import create_tables
from pipelines.warehouse.star import VERSION

START = date(2024, 1, 1)
LAG = 35
Generator = np.random.Generator


def _expit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


def _orders(generator: Generator, lines: int, days: int, users: int, mean: float) -> pd.DataFrame:
    """Draw orders of 1 + Poisson lines by users of uneven activity, over days in order."""
    activity = generator.gamma(1.0, 1.0, users)
    sizes = 1 + generator.poisson(mean, lines)
    orders = int(np.searchsorted(np.cumsum(sizes), lines)) + 1
    user = generator.choice(users, orders, p=activity / activity.sum())
    day = np.sort(generator.integers(0, days, orders))
    frame = pd.DataFrame({"order": np.arange(orders), "user": user, "day": day}).loc[
        np.repeat(np.arange(orders), sizes[:orders])
    ]
    return frame.head(lines).reset_index(drop=True)


def _finish(generator: Generator, frame: pd.DataFrame, p: NDArray[np.float64]) -> pd.DataFrame:
    """Draw what comes back and when: 2 to 25 days after delivery."""
    frame["p"] = p
    frame["returned"] = generator.random(len(frame)) < p
    frame["after"] = 2 + generator.integers(2, 26, len(frame))
    return frame


def design(seed: int, lines: int, drift: float = 0.0, days: int = 730) -> pd.DataFrame:
    """Users (sd .7), items (sd .5), sizes that do not fit, bracketing, discount and gift, in a logit.

    Categories, misfit and bracketing weigh so much that the latent oracle and the item's rate alone reach what the
    study reports (.798 and .716); twelve lines a user.
    """
    g = np.random.default_rng(seed)
    users, items = max(lines // 12, 50), max(lines // 160, 30)
    frame = _orders(g, lines, days, users, 0.9)
    n = len(frame)
    frame["item"] = g.choice(items, n, p=(w := g.gamma(1.0, 1.0, items)) / w.sum())
    body, runs = g.normal(2.5, 1.0, users), g.normal(0, 0.5, items)
    want = body[frame["user"]] + runs[frame["item"]] + g.normal(0, 0.7, n)
    frame["size_no"] = np.clip(np.round(want), 0, 5).astype(int)
    twin = np.flatnonzero(
        (g.random(n) < 0.06) & (np.r_[frame["order"].to_numpy()[1:] == frame["order"].to_numpy()[:-1], False])
    )
    frame.loc[twin + 1, "item"] = frame["item"].to_numpy()[twin]
    frame.loc[twin + 1, "size_no"] = np.clip(frame["size_no"].to_numpy()[twin] + 1, 0, 5)
    frame["category"] = frame["item"] % 8
    several = frame.groupby(["order", "item"])["size_no"].transform("nunique").to_numpy() > 1
    discount = np.where(g.random(n) < 0.3, g.choice([0.1, 0.2, 0.3, 0.5], n), 0.0)
    gift = g.random(n) < 0.08
    ideal = body[frame["user"]] + runs[frame["item"]]
    misfit = np.abs(frame["size_no"] - ideal)
    logit = -1.5 + g.normal(0, 0.7, users)[frame["user"]] + g.normal(0, 0.5, items)[frame["item"]]
    logit = logit + np.linspace(-1.25, 1.25, 8)[frame["category"]] + 0.6 * (misfit - 0.6)
    logit = logit + 1.8 * several - 0.8 * discount - 0.5 * gift + drift * frame["day"] / days
    frame["price"] = np.round(20 + 60 * g.random(items)[frame["item"]], 2)
    frame["net"] = np.round(frame["price"] * (1 - discount), 2)
    frame["discount"], frame["gift"], frame["country"] = frame["price"] - frame["net"], gift, "FR"
    frame["colour"], frame["name"], frame["brand"] = "none", None, "b" + (frame["item"] % 7).astype(str)
    return _finish(g, frame, _expit(logit.to_numpy()))


def fitting(seed: int, lines: int, days: int = 730) -> pd.DataFrame:
    """Bodies, cuts and tastes: a line is kept when it fits and pleases, or when it is the best of its bracket.

    One buyer in twelve is a serial buyer, who brackets and sends back most; cloths have a quality by their name; a
    black dress is another than a red one.
    """
    g = np.random.default_rng(seed)
    users, items = max(lines // 6, 50), max(lines // 150, 40)
    frame = _orders(g, lines, days, users, 0.7)
    n = len(frame)
    is_serial = g.random(users) < 1 / 12
    cloth = g.integers(0, 6, items)
    quality = np.array([0.8, 0.4, 0.1, -0.2, -0.5, -0.9])[cloth] + g.normal(0, 0.35, items)
    frame["item"] = g.choice(items, n, p=(w := g.gamma(0.8, 1.0, items)) / w.sum())
    brackets = g.random(n) < np.where(is_serial[frame["user"]], 0.35, 0.05)
    same = np.r_[False, frame["order"].to_numpy()[1:] == frame["order"].to_numpy()[:-1]]
    for at in np.flatnonzero(brackets & same):
        frame.loc[at, "item"] = frame.loc[at - 1, "item"]
    item, user = frame["item"].to_numpy(), frame["user"].to_numpy()
    body, cut = g.normal(5, 1.6, users), g.normal(0, 0.7, items)
    repeat = np.r_[False, (item[1:] == item[:-1]) & same[1:]]
    frame["size_no"] = np.clip(np.round(body[user] + g.normal(0, 0.5, n)) + repeat, 0, 11).astype(int)
    frame["category"], frame["country"] = item % 4, np.where(user % 3 == 0, "DE", "FR")
    colour = g.integers(0, 4, n)
    misfit = (frame["size_no"].to_numpy() - cut[item] - body[user]) ** 2
    taste = g.normal(0, 0.5, (items, 4))[item, colour]
    logit = -1.5 - quality[item] + 0.28 * misfit + taste + 1.5 * is_serial[user] + 0.35 * (frame["country"] == "DE")
    logit = logit + 1.2 * (repeat | np.r_[repeat[1:], False])
    frame["price"] = np.round(np.exp(3.5 + 0.4 * g.normal(size=items))[item], 2)
    frame["net"], frame["discount"], frame["gift"] = frame["price"], 0.0, False
    frame["colour"], frame["brand"] = "c" + pd.Series(colour).astype(str), "b" + pd.Series(item % 9).astype(str)
    cloths = np.array(["linen", "cotton", "wool", "viscose", "nylon", "sequin"])[cloth[item]]
    frame["name"] = pd.Series(cloths) + " piece " + pd.Series(item).map(lambda i: "abcdefgh"[i % 8] * 4)
    return _finish(g, frame, _expit(np.asarray(logit)))


def noise(seed: int, lines: int, rate: float = 0.3, days: int = 540) -> pd.DataFrame:
    """Lines like those of the design, of which each comes back with the same probability."""
    frame = design(seed, lines, days=days)
    return _finish(np.random.default_rng(seed + 1), frame, np.full(len(frame), rate))


def as_build(frame: pd.DataFrame, path: str = ":memory:", later: int = 70) -> duckdb.DuckDBPyConnection:
    """Make the tables of a build that the probability reads, observed until so many days after the last order."""
    connection = duckdb.connect(path, config={"threads": 1})
    create_tables(connection)
    until = START + timedelta(days=int(frame["day"].max()) + later)
    connection.execute(
        "INSERT INTO build_info VALUES ('observed_until', ?), ('schema_version', ?), ('build_id', 'world')",
        [f"{until} 23:00:00", VERSION],
    )
    connection.register("world", frame.assign(line=np.arange(len(frame))))
    connection.execute(f"""
        INSERT INTO build_source BY NAME SELECT 'shop' AS source, 'order_line' AS thing, TIMESTAMP '{until} 23:00'
            AS last_occurred_at;
        INSERT INTO fact_order_line BY NAME
        SELECT line AS order_line_key, "order" AS order_key,
            md5_number_upper('shop:' || "user")::UBIGINT >> 1 AS customer_key, 'shop' AS source,
            'c' || category AS category, country, 'web' AS channel, 'shop:s' || item AS style_id,
            size_no::VARCHAR AS size, colour, brand, item * 100 + size_no AS product_key,
            'shop:p' || item || '-' || size_no AS product_id, gift AS is_gift,
            DATE '{START}' + to_days(day::INTEGER) + INTERVAL 9 HOUR AS ordered_at, ordered_at::DATE AS ordered_on,
            ordered_at + INTERVAL 2 DAY AS delivered_at, ordered_at + INTERVAL 2 DAY AS clock_started_at,
            30 AS window_days, 1 AS units_sold, net AS net_amount, discount AS discount_amount,
            count(DISTINCT size_no) OVER (PARTITION BY "order", item) > 1 AS has_several_sizes
        FROM world;
        INSERT INTO dim_product BY NAME
        SELECT item * 100 + size_no AS product_key, 'shop:p' || item || '-' || size_no AS product_id,
            'shop:s' || item AS style_id, any_value(name) AS name, any_value('c' || category) AS category,
            any_value(brand) AS brand, size_no::VARCHAR AS size, TIMESTAMP '2020-01-01' AS valid_from,
            true AS is_current FROM world GROUP BY item, size_no;
        INSERT INTO fact_return_line BY NAME
        SELECT line AS return_lot_key, line AS return_line_key, line AS order_line_key, 'shop' AS source, 1 AS units,
            true AS is_headline, DATE '{START}' + to_days((day + after)::INTEGER) AS confirmed_at
        FROM world WHERE returned;
    """)
    connection.unregister("world")
    return connection
