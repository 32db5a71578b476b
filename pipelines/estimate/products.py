"""Products' priors: how rates of styles and products vary around their category's, and what shared levels add.

Here: the SQL that sums counts, the hand-over to models/products.py and the rows written. It rests on the temporary
table `exposed_line` of pipelines/estimate/rates.py and reads the facts once for all.
"""

from collections.abc import Iterable
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from models.products import FEWEST_UNITS, GRID, Levels, block_effect, fit_beta_binomial, fit_levels, fit_spread

KINDS = ("style", "product")
CUTS: dict[str, tuple[str, ...]] = {
    "style": ("supplier", "season"),
    "size": ("supplier", "season", "size"),
    "colour": ("supplier", "season", "colour"),
    "product": ("supplier", "season", "size", "colour"),
}
_TABLES = ("estimate_product_prior", "estimate_product_spread", "estimate_rate_level")


def product_priors(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill estimate_product_prior, estimate_product_spread and estimate_rate_level from `exposed_line`.

    A product's counts are divided by how much its own weeks move beyond chance (weeks of which nine returns in ten must
    be back). Products are what the catalogue calls them now; one without style is its own.
    """
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table}")
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE product_week AS
        SELECT product_key, (ordered_on - DATE '2000-01-03') // 7 AS week, sum(returned)::DOUBLE AS returned,
            sum(units * share)::DOUBLE AS exposure,
            coalesce(sum(returned) FILTER (share >= 0.9), 0)::DOUBLE AS back, coalesce(sum(units
                * share) FILTER (share >= 0.9), 0)::DOUBLE AS old
        FROM exposed_line WHERE product_key IS NOT NULL GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE exposed_product AS
        SELECT w.product_key, coalesce(p.style_id, p.product_id, w.product_key::VARCHAR) AS style, category, size,
            colour, supplier, season, w.returned, w.exposure
        FROM (SELECT product_key, sum(returned) AS returned, sum(exposure) AS exposure FROM product_week GROUP BY 1) w
        LEFT JOIN (SELECT * FROM dim_product WHERE is_current) p USING (product_key);
    """)
    products = connection.execute("FROM exposed_product ORDER BY product_key").df()
    effect = {kind: _week_effect(connection, kind) for kind in KINDS}
    connection.execute("DROP TABLE product_week; DROP TABLE exposed_product")
    if not len(products):
        return
    sums = {kind: _of_kind(products, kind, effect) for kind in KINDS}
    _write(connection, "estimate_product_prior", _priors(sums, effect))
    _write(connection, "estimate_product_spread", _spreads(sums, connection))
    levels = pd.concat(_levels(cut, products, effect["product" if cut == "product" else "style"]) for cut in CUTS)
    _write(connection, "estimate_rate_level", levels)


def _week_effect(connection: duckdb.DuckDBPyConnection, kind: str) -> float:
    of_style = "(SELECT hash(style) AS key, * FROM product_week JOIN exposed_product USING (product_key))"
    weeks = connection.execute(f"""
        SELECT key, sum(back) AS back, sum(old) AS old
            FROM {of_style if kind == "style" else "(SELECT product_key AS key, * FROM product_week)"}
        GROUP BY key, week HAVING sum(old) > 0 QUALIFY sum(sum(old)) OVER (PARTITION BY key) >= {FEWEST_UNITS}
            ORDER BY ALL
    """).fetchnumpy()
    return block_effect(np.unique(weeks["key"], return_inverse=True)[1], weeks["back"], weeks["old"])


def _write(connection: duckdb.DuckDBPyConnection, table: str, rows: pd.DataFrame) -> None:
    connection.register("fitted", pa.Table.from_pandas(rows, preserve_index=False))
    connection.execute(f"INSERT INTO {table} BY NAME FROM fitted")
    connection.unregister("fitted")


def _of_kind(products: pd.DataFrame, kind: str, effect: dict[str, float]) -> pd.DataFrame:
    keys = ["style", "category"] if kind == "style" else ["product_key", "category"]
    sums = products.groupby(keys, dropna=False, sort=True, as_index=False)[["returned", "exposure"]].sum()
    return sums.assign(returned=sums["returned"] / effect[kind], exposure=sums["exposure"] / effect[kind])


def _priors(sums: dict[str, pd.DataFrame], effect: dict[str, float]) -> pd.DataFrame:
    rows = []
    for kind, every in sums.items():
        categories: list[Any] = [None, *sorted(every["category"].dropna().unique())]
        for category in categories:
            mine = every if category is None else every[every["category"] == category]
            rows.append((kind, category, *fit_beta_binomial(mine["returned"], mine["exposure"]), effect[kind]))
    return pd.DataFrame(rows, columns=["kind", "category", "a", "b", "deff"]).astype({"category": object})


def _spreads(sums: dict[str, pd.DataFrame], connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    found = connection.execute("SELECT kind, category, a / (a + b) AS usual FROM estimate_product_prior").df()
    rows = []
    for kind, every in sums.items():
        usual = found[found["kind"] == kind].set_index("category")["usual"]
        weight = fit_spread(every["returned"], every["exposure"], usual.reindex(every["category"]).to_numpy(float))
        rows.append(pd.DataFrame({"kind": kind, "log_odds": GRID, "weight": weight}))
    return pd.concat(rows)


def _levels(cut: str, products: pd.DataFrame, effect: float) -> pd.DataFrame:
    """Fit one cut: rows of style x size, say, with supplier, season and size as levels and the style as a group."""
    own = [n for n in CUTS[cut] if n in ("size", "colour")]
    keys = ["style", "category", "supplier", "season", *own]
    known = products.dropna(subset=own) if own else products
    if not len(known):
        return _level_rows(cut, ())
    rows = known.groupby(keys, dropna=False, sort=True, as_index=False)[["returned", "exposure"]].sum()
    rows = rows[rows["exposure"] > 0]
    if not len(rows):
        return _level_rows(cut, ())
    family, categories = pd.factorize(rows["category"], use_na_sentinel=False)
    coded: dict[str, Any] = {}
    names: dict[str, pd.DataFrame] = {}
    for level in CUTS[cut]:
        pairs = pd.MultiIndex.from_arrays([family, rows[level]])
        number, values = pd.factorize(pairs)
        is_known = rows[level].notna().to_numpy()
        coded[level] = np.where(is_known, number, -1)
        names[level] = pd.DataFrame(list(values), columns=["family", "value"])
    groups = {"style": pd.factorize(rows["style"])[0]} if own else {}
    found = fit_levels(rows["returned"] / effect, rows["exposure"] / effect, family, {**coded, **groups})
    return _level_rows(cut, _told(found, categories, names))


def _told(found: Levels, categories: Any, names: dict[str, pd.DataFrame]) -> Iterable[tuple[Any, ...]]:
    """List what was fitted: level, category, value, log_odds, log_odds_sd."""
    for category, base in zip(categories, found.base, strict=True):
        yield "category", None if pd.isna(category) else category, None, float(base), 0.0
    for level, named in names.items():
        rows = zip(named["family"], named["value"], found.offset[level], found.sd[level], strict=False)
        for family, value, offset, sd in rows:
            if not pd.isna(value):
                category = categories[family]
                yield level, None if pd.isna(category) else category, value, float(offset), float(sd)
    for level, spread in {**found.spread, "own": found.own}.items():
        yield level, None, None, None, spread


def _level_rows(cut: str, rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    columns = ["level", "category", "value", "log_odds", "log_odds_sd"]
    found = pd.DataFrame(list(rows), columns=columns).assign(cut=cut)
    return found.astype({"level": object, "category": object, "value": object, "log_odds": float, "log_odds_sd": float})
