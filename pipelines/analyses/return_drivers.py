"""What makes orders come back: what a return model weighs, the baskets of late by driver, and what a warning is worth.

Everything here is an estimate: a driver goes with returns in the model, which is not to say that it causes them. Not
here: the judgement of the model (model_report.py).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import case, func, literal, select

from pipelines.analyses.return_probability import FEWEST_LOTS, usual_return
from pipelines.estimate.probability import Version
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

DAYS = 28  # of orders that are looked at, the latest
FEWEST_LINES = 50  # that a value stands for, and with a driver
BIG_DISCOUNT, BIG_BASKET = 0.3, 4  # share of the full price, lines of an order
READ = {
    **dict.fromkeys(("item_known", "customer_lines", "customer_pace", "customer_pause", "size_known"), "count"),
    **dict.fromkeys(("basket_value", "price", "fee"), "money"),
    **dict.fromkeys(("same_style", "same_category", "basket", "units"), "number"),
    **dict.fromkeys(("window", "delivery_days"), "days"),
    **dict.fromkeys(("item_rate", "size_rate", "colour_rate", "brand_rate", "word_rate", "customer_rate"), "times"),
    **dict.fromkeys(("customer_category_rate", "relative_price"), "times"),
    **dict.fromkeys(("several_sizes", "several_colours", "is_gift", "is_store"), "flag"),
    **dict.fromkeys(("size_gap", "size_up"), "sizes"),
    "market_rate": "share",
    "discount": "share",
}
"""How the value of a feature is read: a count, an amount, days, times what is usual, a share, yes or no, sizes."""
_LOG1P = ("count", "money")


@dataclass(frozen=True)
class Worth:
    """What a warning on lines above a threshold would have been worth in the last `DAYS` days.

    Lines warned, of all; returns expected among them and prevented (units), and what those would cost and emit;
    NaN where no return has a known cost or mass.
    """

    lines: int
    of_lines: int
    returns: float
    prevented: float
    saved: float
    saved_kg: float


def weights(version: Version) -> pd.DataFrame:
    """Give what a model weighs, most first.

    Columns: feature, value (its share of the area under the curve that all lose when their values are shuffled), least
    and most (mean probability over its values).
    """
    judgement = version.parameters["judgement"]
    columns = ["feature", "value", "least", "most"]
    if judgement is None:
        return pd.DataFrame(columns=columns)
    lost = {f: v for f, v in judgement["importance"].items() if f in READ and v > 0}
    whole = sum(lost.values())
    spread = dependence(version).groupby("feature")["probability"].agg(["min", "max"])
    rows = [
        (f, v / whole, spread["min"].get(f, np.nan), spread["max"].get(f, np.nan))
        for f, v in sorted(lost.items(), key=lambda item: -item[1])
    ]
    return pd.DataFrame(rows, columns=columns)


def dependence(version: Version) -> pd.DataFrame:
    """Give the mean probability were all lines to have one value of a feature, and how many lines are near it.

    Columns: feature, value (as `READ` says, not as the model has it), probability, lines. Values that fewer than
    `FEWEST_LINES` lines are near are left out.
    """
    judgement = version.parameters["judgement"]
    columns = ["feature", "value", "probability", "lines"]
    if judgement is None:
        return pd.DataFrame(columns=columns)
    found = pd.DataFrame(judgement["dependence"], columns=columns)
    found = found[found["feature"].isin(list(READ)) & (found["lines"] >= FEWEST_LINES)]
    values = [_as_read(f, v) for f, v in zip(found["feature"], found["value"], strict=True)]
    return found.assign(value=values).reset_index(drop=True)


def _as_read(feature: str, value: float) -> float:
    """Turn a feature's value into what a reader knows.

    >>> _as_read("several_sizes", 1.0), round(_as_read("basket", 0.6931), 2), _as_read("customer_rate", 0.0)
    (1.0, 2.0, 1.0)
    """
    kind = READ[feature]
    if feature == "market_rate":
        return float(1 / (1 + np.exp(-value)))
    if kind in _LOG1P or feature == "delivery_days":
        return float(np.expm1(value))
    return float(np.exp(value)) if kind in ("number", "days", "times") else float(value)


def _recent(version: Version) -> Any:
    """Give the scored lines of the last `DAYS` days of a source, with what their baskets are."""
    scored, lines = STAR.tables["estimate_return_probability"], STAR.tables["fact_order_line"]
    mine = lines.c.source == version.source
    last = select(func.max(lines.c.ordered_on)).where(mine).scalar_subquery()
    begun = (
        select(lines.c.customer_key, func.min(lines.c.ordered_at).label("first_at"))
        .where(mine, lines.c.customer_key.is_not(None))
        .group_by(lines.c.customer_key)
        .subquery("begun")
    )
    of_style = [lines.c.order_key, lines.c.style_id]
    fewest, most = (f(lines.c.colour).over(partition_by=of_style) for f in (func.min, func.max))
    full = lines.c.net_amount + func.coalesce(lines.c.discount_amount, 0)
    return (
        select(
            scored.c.probability,
            lines.c.units_sold,
            lines.c.has_several_sizes.label("several_sizes"),
            (fewest != most).label("several_colours"),
            (func.count().over(partition_by=lines.c.order_key) >= BIG_BASKET).label("big_basket"),
            (case((full > 0, lines.c.discount_amount / full), else_=0) >= BIG_DISCOUNT).label("big_discount"),
            (begun.c.first_at == lines.c.ordered_at).label("first_order"),
            (lines.c.channel == "store").label("is_store"),
        )
        .select_from(
            lines.join(scored, scored.c.order_line_key == lines.c.order_line_key).outerjoin(
                begun, begun.c.customer_key == lines.c.customer_key
            )
        )
        .where(mine, lines.c.ordered_on > last - literal(timedelta(days=DAYS)), lines.c.units_sold > 0)
        .subquery("recent")
    )


DRIVERS = ("several_sizes", "several_colours", "big_basket", "big_discount", "first_order", "is_store")


def baskets(build: Build, version: Version) -> pd.DataFrame:
    """Give the lines of the last `DAYS` days by driver, those with the most returns beyond other lines first.

    Columns: driver, lines, of_lines (share), value (mean probability with it), others (without it), returns (units
    expected back). Drivers with fewer than `FEWEST_LINES` lines are left out.
    """
    columns = ["driver", "lines", "of_lines", "value", "others", "returns"]
    if not version.is_used:
        return pd.DataFrame(columns=columns)
    r = _recent(version).c
    sums = [func.count().label("n"), func.sum(r.probability).label("p")]
    for name in DRIVERS:
        sums += [
            func.count().filter(r[name]).label(f"{name}_n"),
            func.sum(r.probability).filter(r[name]).label(f"{name}_p"),
            func.sum(r.probability * r.units_sold).filter(r[name]).label(f"{name}_units"),
        ]
    row = build.fetch(select(*sums)).iloc[0]
    n, p = int(row["n"]), float(row["p"] or 0)
    rows = []
    for name in DRIVERS:
        of, expected = int(row[f"{name}_n"]), float(row[f"{name}_p"] or 0)
        if of >= FEWEST_LINES and n - of >= FEWEST_LINES:
            rows.append((name, of, of / n, expected / of, (p - expected) / (n - of), float(row[f"{name}_units"])))
    found = pd.DataFrame(rows, columns=columns)
    more = (found["value"] - found["others"]) * found["lines"]
    return found.loc[more.sort_values(ascending=False).index].reset_index(drop=True)


def worth(build: Build, version: Version, threshold: float, prevented: float) -> Worth:
    """Say what a warning on lines of the last `DAYS` days above a probability would save, were a share prevented."""
    r = _recent(version).c
    units, is_warned = r.probability * r.units_sold, r.probability >= threshold
    row = build.fetch(
        select(
            func.count().label("n"),
            func.count().filter(is_warned).label("warned"),
            func.sum(units).filter(is_warned).label("units"),
        )
    ).iloc[0]
    returns = float(row["units"]) if pd.notna(row["units"]) else 0.0
    cost, kg, lots = usual_return(build).get((None, None), (np.nan, np.nan, 0))
    known = lots >= FEWEST_LOTS
    saved = returns * prevented
    return Worth(
        int(row["warned"]),
        int(row["n"]),
        returns,
        saved,
        saved * cost if known else float("nan"),
        saved * kg if known else float("nan"),
    )
