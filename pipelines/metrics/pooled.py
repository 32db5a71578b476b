"""What a build knows of products before their own units speak: priors of categories, and of the levels products share.

Read once a build. A row is a style, a product, or a style x size or colour; which it is follows from the dimensions asked.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import func, select

from models.products import pooled_prior, shrunk_rate
from pipelines.metrics.base import ALIASES
from pipelines.warehouse.engine import Build
from pipelines.warehouse.schema import STAR

Array = NDArray[np.float64]
CUTS = {
    frozenset({"style_id"}): "style",
    frozenset({"product_id"}): "product",
    frozenset({"style_id", "size"}): "size",
    frozenset({"style_id", "colour"}): "colour",
    frozenset({"style_id", "size", "colour"}): "product",
}


def _read(build: Build, name: str) -> pd.DataFrame:
    if name not in build.memory:
        build.memory[name] = build.fetch(select(STAR.tables[name]))
    found: pd.DataFrame = build.memory[name]
    return found


def cut_of(by: tuple[str, ...]) -> str | None:
    """Say what rows these dimensions make: style, product, size, colour, or None for any other."""
    return CUTS.get(frozenset(ALIASES.get(b, b) for b in by))


def kind_of(by: tuple[str, ...]) -> str:
    """Say whose prior holds for rows of these dimensions: products' or styles'."""
    return "product" if cut_of(by) == "product" else "style"


def category_prior(build: Build, category: pd.Series, kind: str) -> tuple[Array, Array]:
    """Give a and b of each category's beta prior (without a category, of all sales); NaN where none was fitted."""
    found = _read(build, "estimate_product_prior")
    mine = found[found["kind"] == kind]
    table = {_text(c): (a, b) for c, a, b in mine[["category", "a", "b"]].itertuples(index=False)}
    pairs = np.array([table.get(_text(c), (np.nan, np.nan)) for c in category], dtype=float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def week_effect(build: Build, kind: str) -> float:
    """Give the design effect of weeks within a product or style; 1 when none was fitted."""
    found = _read(build, "estimate_product_prior")
    fitted = found.loc[(found["kind"] == kind) & found["category"].isna(), "deff"].dropna()
    return float(max(fitted.iloc[0], 1.0)) if len(fitted) else 1.0


def spread(build: Build, kind: str) -> Array | None:
    """Give the weights of how products lie around their category's rate, for `probability_well_above`; None when none was fitted."""
    found = _read(build, "estimate_product_spread")
    mine = found[found["kind"] == kind].sort_values("log_odds")
    return mine["weight"].to_numpy(float) if len(mine) else None


def attributes(build: Build) -> pd.DataFrame:
    """Give each product's current product_id, style_id, name, category, brand, supplier, season, size, colour and launched_on, once a build."""
    if "attributes" not in build.memory:
        c = STAR.tables["dim_product"].c
        names = (
            "product_id",
            "style_id",
            "name",
            "category",
            "brand",
            "supplier",
            "season",
            "size",
            "colour",
            "launched_on",
        )
        found = build.fetch(select(*(c[n] for n in names)).where(c.is_current))
        build.memory["attributes"] = found.sort_values("product_id").drop_duplicates("product_id", ignore_index=True)
    known: pd.DataFrame = build.memory["attributes"]
    return known


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _levels(build: Build) -> dict[tuple[str, str, str | None, str | None], tuple[float, float]]:
    """Give log odds and sd by cut, level, category and value; the spread of a level under no category and no value."""
    if "levels" not in build.memory:
        found = build.fetch(select(STAR.tables["estimate_rate_level"]))
        columns = ["cut", "level", "category", "value", "log_odds", "log_odds_sd"]
        build.memory["levels"] = {
            (cut, level, _text(category), _text(value)): (log_odds, sd)
            for cut, level, category, value, log_odds, sd in found[columns].itertuples(index=False)
        }
    known: dict[tuple[str, str, str | None, str | None], tuple[float, float]] = build.memory["levels"]
    return known


def row_prior(
    build: Build, rows: pd.DataFrame, by: tuple[str, ...], returned: Array, exposure: Array
) -> tuple[Array, Array]:
    """Give a and b of each row's prior: its category's, moved by supplier, season, size and colour, and by the style's other rows.

    `rows` hold the dimensions of `by` and `family`, the category; the counts are over the design effect. Where no levels were
    fitted for a row it is the category's prior.
    """
    a, b = category_prior(build, rows["family"], kind_of(by))
    cut, levels = cut_of(by), _levels(build)
    if cut is None or not levels or not len(rows):
        return a, b
    named = rows.rename(columns={n: ALIASES.get(n, n) for n in rows.columns})
    known = attributes(build)
    key = "product_id" if "product_id" in named else "style_id"
    found = known.drop_duplicates(key).set_index(key).reindex(named[key])
    style = found["style_id"].fillna(pd.Series(named[key].to_numpy(), index=found.index)) if key == "product_id" else named[key]  # fmt: skip
    base, variance = np.full(len(rows), np.nan), np.zeros(len(rows))
    families = [_text(f) for f in named["family"]]
    for i, family in enumerate(families):
        base[i] = levels.get((cut, "category", family, None), (np.nan, 0.0))[0]
    for level in ("supplier", "season", "size", "colour"):
        values = named[level] if level in named else found[level]
        unknown = levels.get((cut, level, None, None), (0.0, 0.0))[
            1
        ]  # a value not met yet may be anywhere in the spread
        for i, (family, value) in enumerate(zip(families, values, strict=True)):
            if not pd.isna(value):
                offset, sd = levels.get((cut, level, family, str(value)), (0.0, unknown))
                base[i], variance[i] = base[i] + offset, variance[i] + sd**2
    own = levels.get((cut, "own", None, None), (0.0, np.nan))[1]
    between = levels.get((cut, "style", None, None), (0.0, 0.0))[1]
    usable = np.flatnonzero(np.isfinite(base))
    if not usable.size or not np.isfinite(own):
        return a, b
    group = pd.factorize(pd.Series(style.to_numpy())[usable])[0] if between > 0 else None
    a, b = a.copy(), b.copy()
    a[usable], b[usable] = pooled_prior(
        returned[usable], exposure[usable], base[usable], np.sqrt(variance[usable]), own, group, between
    )
    return a, b


def rates(build: Build, rows: pd.DataFrame, by: tuple[str, ...], level: float = 0.9) -> tuple[Array, Array, Array]:
    """Give the adjusted rate of each row with its interval; `rows` hold `by`, family, returned and exposure."""
    effect = week_effect(build, kind_of(by))
    r, n = rows["returned"].to_numpy(float) / effect, rows["exposure"].to_numpy(float) / effect
    return shrunk_rate(r, n, *row_prior(build, rows, by, r, n), level)


def first_sold(build: Build, by: str) -> pd.Series:
    """Give the first day each style or product was on sale: its launch, else its first order; once a build."""
    key = f"first_sold_{by}"
    if key not in build.memory:
        orders = STAR.tables["fact_order_line"].c
        sold = build.fetch(select(orders[by].label(by), func.min(orders.ordered_on).label("day")).group_by(orders[by]))
        launched = attributes(build).groupby(by)["launched_on"].min()
        first = sold.dropna(subset=[by]).set_index(by)["day"]
        build.memory[key] = launched.reindex(first.index).fillna(first)
    days: pd.Series = build.memory[key]
    return days
