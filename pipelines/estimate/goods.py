"""What making the returned goods emitted, and what their second life avoids.

Never part of, never taken off, the emissions of returns. A footprint is the product class's (cradle to delivery, use
left out), else a figure a kilogram for clothing. Goods avoid a new item's making when they live on as used goods
instead of being destroyed; goods resold as new avoid nothing, for that is a normal sale.
"""

import csv
from functools import cache

import duckdb
from sqlalchemy import Double, column

from models import carbon
from pipelines.factors import parameter
from pipelines.settings import data_path
from pipelines.warehouse.engine import DUCKDB
from pipelines.warehouse.sql import rows_sql

SECOND_LIFE = ("b_stock", "repaired", "refurbished", "donated")
"""Dispositions that displace new goods: used goods sold or given.

Marked-down goods are sold as new, recycled ones live no longer.
"""
FALLBACK = "desnz2025.clothing.primary"
CLOTHING = ("61", "62", "63", "64")  # customs chapters the fallback a kilogram speaks for


@cache
def footprints() -> tuple[dict[str, str], ...]:
    """Read the rows of data/factors/product_footprints.csv."""
    with data_path("factors/product_footprints.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def avoided(connection: duckdb.DuckDBPyConnection, where_lot: str) -> None:
    """Fill estimate_avoided_carbon for lots whose disposition is decided.

    Those matching `where_lot`, a predicate on fact_return_line.

    A lot without footprint has a row with an empty figure.
    """
    types = {"footprint_class": "VARCHAR", "per_item": "DOUBLE", "per_kg": "DOUBLE"}
    rows = [
        (r["footprint_class"], *((r["kg_co2e"], None) if r["unit"] == "kgCO2e/item" else (None, r["kg_co2e"])))
        for r in footprints()
    ]
    displaced = {
        name: str(
            carbon.avoided_carbon(parameter("displacement", name), column("kg_co2e_new", Double)).compile(
                dialect=DUCKDB, compile_kwargs={"literal_binds": True}
            )
        )
        for name in ("low", "central", "high")
    }
    lives_on = f"disposition IN {SECOND_LIFE}"
    amounts = ", ".join(
        f"CASE WHEN {lives_on} THEN {sql} ELSE 0 * kg_co2e_new END AS kg_co2e_avoided_{name}"
        for name, sql in displaced.items()
    )
    connection.execute(f"""
        INSERT INTO estimate_avoided_carbon BY NAME
        SELECT return_lot_key, footprint_id, kg_co2e_new, {amounts}, status
        FROM (
            SELECT l.return_lot_key, l.disposition, coalesce(f.footprint_class, k.footprint_class) AS footprint_id,
                l.units * coalesce(f.per_item, f.per_kg * l.weight_kg, k.per_kg * l.weight_kg) AS kg_co2e_new,
                CASE WHEN f.footprint_class IS NOT NULL THEN 'imputed' WHEN k.footprint_class IS NOT NULL
                    THEN 'assumed' END AS status
            FROM (SELECT return_lot_key, product_key, disposition, units, weight_kg FROM fact_return_line
                WHERE disposition IS NOT NULL AND cancelled_at IS NULL AND rejected_at IS NULL
                    AND expired_at IS NULL AND ({where_lot})) l
            LEFT JOIN (SELECT product_key, footprint_class, hs_chapter FROM dim_product
                WHERE is_current) p USING (product_key)
            LEFT JOIN ({rows_sql(types, rows)}) f ON f.footprint_class = p.footprint_class
            LEFT JOIN ({rows_sql(types, rows)}) k ON k.footprint_class = CASE WHEN f.footprint_class IS NULL
                AND p.hs_chapter IN {CLOTHING} THEN '{FALLBACK}' END);
    """)
