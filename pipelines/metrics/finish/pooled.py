"""What a build knows of products before their own units speak: priors of categories, and of the levels products share.

Read once a build. A row is a style, a product, or a style x size or colour; which it is follows from the dimensions
asked.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit
from sqlalchemy import func, select

from models.products import pooled_prior, shrunk_rate
from pipelines.metrics.question import ALIASES
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

Array = NDArray[np.float64]
CUTS = {
    frozenset({"style_id"}): "style",
    frozenset({"product_id"}): "product",
    frozenset({"style_id", "size"}): "size",
    frozenset({"style_id", "colour"}): "colour",
    frozenset({"style_id", "size", "colour"}): "product",
}


def _read(build: Build, name: str) -> pd.DataFrame:
    if name not in build.cache:
        build.cache[name] = build.fetch(select(STAR.tables[name]))
    found: pd.DataFrame = build.cache[name]
    return found


def cut_of(by: tuple[str, ...]) -> str | None:
    """Say what rows these dimensions make: style, product, size, colour, or None for any other."""
    return CUTS.get(frozenset(ALIASES.get(b, b) for b in by))


def kind_of(by: tuple[str, ...]) -> str:
    """Say whose prior holds for rows of these dimensions: products' or styles'."""
    return "product" if cut_of(by) == "product" else "style"


def category_prior(build: Build, category: pd.Series, kind: str, usual: Array | None = None) -> tuple[Array, Array]:
    """Give a and b of each category's beta prior (without a category, of all sales); NaN where none was fitted.

    The spread (a + b) is the build's, always. `usual` moves the mean to the category's rate in a selection
    (finish.usual_rates).
    """
    if (name := f"prior of a {kind}") not in build.cache:
        found = _read(build, "estimate_product_prior")
        mine = found[found["kind"] == kind]
        table = mine.assign(category=_texts(mine["category"])).drop_duplicates("category", keep="last")
        build.cache[name] = table.set_index("category")[["a", "b"]]
    pairs = build.cache[name].reindex(_texts(category)).to_numpy(float)
    a, b = pairs[:, 0], pairs[:, 1]
    return (a, b) if usual is None else (usual * (a + b), (1 - usual) * (a + b))


def week_effect(build: Build, kind: str) -> float:
    """Give the design effect of weeks within a product or style; 1 when none was fitted."""
    found = _read(build, "estimate_product_prior")
    fitted = found.loc[(found["kind"] == kind) & found["category"].isna(), "deff"].dropna()
    return float(max(fitted.iloc[0], 1.0)) if len(fitted) else 1.0


def spread(build: Build, kind: str) -> Array | None:
    """Give the weights of how products lie around their category's rate, for `probability_well_above`.

    None when none was fitted.
    """
    found = _read(build, "estimate_product_spread")
    mine = found[found["kind"] == kind].sort_values("log_odds")
    return mine["weight"].to_numpy(float) if len(mine) else None


def attributes(build: Build) -> pd.DataFrame:
    """Give what each product is called and is now, once a build.

    Columns: product_id, style_id, name, category, brand, supplier, season, size, colour and launched_on.
    """
    if "attributes" not in build.cache:
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
        build.cache["attributes"] = found.sort_values("product_id").drop_duplicates("product_id", ignore_index=True)
    known: pd.DataFrame = build.cache["attributes"]
    return known


_NONE = "\x1f"  # stands for no category or no value in keys of tables, where a missing one would match nothing


def _texts(values: Any) -> Any:
    return pd.Series(np.asarray(values, dtype=object)).astype("string").fillna(_NONE).to_numpy(object)


def _levels(build: Build, cut: str) -> pd.DataFrame:
    """Give log_odds and log_odds_sd of a cut by level, category and value.

    The spread of a level under no category and no value.
    """
    if (name := f"levels of a {cut}") not in build.cache:
        found = _read(build, "estimate_rate_level")
        keys = ["level", "category", "value"]
        known = found[found["cut"] == cut].assign(**{n: _texts(found.loc[found["cut"] == cut, n]) for n in keys[1:]})
        build.cache[name] = known.drop_duplicates(keys, keep="last").set_index(keys)[["log_odds", "log_odds_sd"]]
    levels: pd.DataFrame = build.cache[name]
    return levels


def _attributes_by(build: Build, key: str) -> pd.DataFrame:
    """Give, once a build, the attributes of each product or style."""
    if (name := f"attributes by {key}") not in build.cache:
        build.cache[name] = attributes(build).drop_duplicates(key).set_index(key)
    found: pd.DataFrame = build.cache[name]
    return found


def row_prior(
    build: Build, rows: pd.DataFrame, by: tuple[str, ...], returned: Array, exposure: Array, usual: Array | None = None
) -> tuple[Array, Array]:
    """Give a and b of each row's prior.

    Its category's, moved by supplier, season, size and colour, and by the style's other rows. `rows` hold the
    dimensions of `by` and `family`, the category; the counts are over the design effect. Where no levels were fitted
    for a row it is the category's prior. `usual`, the category's rate in the selection, moves the category by as many
    log odds as it differs from the build's.
    """
    kind, cut = kind_of(by), cut_of(by)
    a, b = category_prior(build, rows["family"], kind, usual)
    levels = pd.DataFrame() if cut is None else _levels(build, cut)
    if not len(levels) or not len(rows):
        return a, b
    named = rows.rename(columns={n: ALIASES.get(n, n) for n in rows.columns})
    key = "product_id" if "product_id" in named else "style_id"
    found = _attributes_by(build, key).reindex(named[key])
    style = (
        found["style_id"].fillna(pd.Series(named[key].to_numpy(), index=found.index))
        if key == "product_id"
        else named[key]
    )
    families = _texts(named["family"])

    def of(level: str, values: Any) -> Array:
        """Give log odds and sd of a level, a row each; NaN where it was not fitted."""
        wanted = pd.MultiIndex.from_arrays([np.full(len(rows), level, dtype=object), families, values])
        return np.asarray(levels.reindex(wanted).to_numpy(float))

    nothing = levels.reset_index()
    nothing = nothing[(nothing["category"] == _NONE) & (nothing["value"] == _NONE)]
    spread_of = {str(k): float(v) for k, v in zip(nothing["level"], nothing["log_odds_sd"], strict=True)}

    base, variance = of("category", np.full(len(rows), _NONE, dtype=object))[:, 0], np.zeros(len(rows))
    if usual is not None:
        before = category_prior(build, rows["family"], kind)
        base = (
            base
            + logit(np.clip(usual, 1e-6, 1 - 1e-6))
            - logit(np.clip(before[0] / (before[0] + before[1]), 1e-6, 1 - 1e-6))
        )
    for level in ("supplier", "season", "size", "colour"):
        values = _texts(named[level] if level in named else found[level])
        offset, sd = of(level, values).T
        is_met = np.isfinite(offset)
        sd = np.where(is_met, sd, spread_of.get(level, 0.0))  # a value not met yet may be anywhere in the spread
        base = base + np.where(is_met & (values != _NONE), offset, 0.0)
        variance += np.where(values != _NONE, sd**2, 0.0)
    own, between = spread_of.get("own", np.nan), spread_of.get("style", 0.0)
    usable = np.flatnonzero(np.isfinite(base))
    if not usable.size or not np.isfinite(own):
        return a, b
    group = pd.factorize(pd.Series(style.to_numpy())[usable])[0] if between > 0 else None
    a, b = a.copy(), b.copy()
    a[usable], b[usable] = pooled_prior(
        returned[usable], exposure[usable], base[usable], np.sqrt(variance[usable]), own, group, between
    )
    return a, b


def rates(
    build: Build, rows: pd.DataFrame, by: tuple[str, ...], level: float = 0.9, usual: Array | None = None
) -> tuple[Array, Array, Array]:
    """Give the adjusted rate of each row with its interval; `rows` hold `by`, family, returned and exposure.

    `usual` is the rate of each row's category in the selection (None: the build's).
    """
    effect = week_effect(build, kind_of(by))
    r, n = rows["returned"].to_numpy(float) / effect, rows["exposure"].to_numpy(float) / effect
    return shrunk_rate(r, n, *row_prior(build, rows, by, r, n, usual), level)


def first_sold(build: Build, by: str) -> pd.Series:
    """Give the first day each style or product was on sale: its launch, else its first order; once a build."""
    key = f"first_sold_{by}"
    if key not in build.cache:
        orders = STAR.tables["fact_order_line"].c
        sold = build.fetch(select(orders[by].label(by), func.min(orders.ordered_on).label("day")).group_by(orders[by]))
        launched = attributes(build).groupby(by)["launched_on"].min()
        first = sold.dropna(subset=[by]).set_index(by)["day"]
        build.cache[key] = launched.reindex(first.index).fillna(first)
    days: pd.Series = build.cache[key]
    return days
