"""Shopify's tables as Fivetran lays them, in any database: the published seeds, their ids moved so that tables join."""

import csv
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import BigInteger, Boolean, Column, DateTime, MetaData, Numeric, String, Table
from sqlalchemy.sql.type_api import TypeEngine

TABLES = (
    "order",
    "order_line",
    "order_line_tax_line",
    "refund",
    "refund_line_item",
    "return",
    "return_line_item",
    "fulfillment",
    "fulfillment_event",
)
MOVED = {  # in the seeds no line has its order: (table, column) -> what is taken off
    ("order_line", "order_id"): 1000,
    ("refund", "order_id"): 1000,
    ("return", "order_id"): 1000,
    ("fulfillment", "order_id"): 4000,
    ("fulfillment_event", "fulfillment_id"): -4000,
    ("refund_line_item", "refund_id"): 33000,
    ("refund_line_item", "order_line_id"): 20000,
    ("return_line_item", "order_line_id"): 20000,
}


def _kind(name: str, cells: list[str]) -> TypeEngine[Any]:
    filled = [c for c in cells if c]
    if filled and all(c.lower() in ("true", "false") for c in filled):
        return Boolean()
    if name.endswith(("_at", "_synced")):
        return DateTime()
    if filled and all(c.replace(".", "", 1).lstrip("-").isdigit() for c in filled):
        return Numeric(18, 2) if any("." in c for c in filled) else BigInteger()
    return String()


def _value(table: str, column: Column[Any], cell: str) -> Any:
    cell = cell.strip()
    if not cell:
        return None
    if isinstance(column.type, Boolean):
        return cell.lower() == "true"
    if isinstance(column.type, DateTime):
        return datetime.fromisoformat(cell)
    if isinstance(column.type, BigInteger):
        return int(cell) - MOVED.get((table, column.name), 0)
    return Decimal(cell) if isinstance(column.type, Numeric) else cell


def lay(seeds: Path, engine: sqlalchemy.Engine, schema: str | None = None) -> dict[str, Table]:
    """Make the tables of the seeds in a database; give them."""
    metadata, rows = MetaData(schema=schema), {}
    for name in TABLES:
        with (seeds / f"shopify_gql_{name}_data.csv").open(encoding="utf-8-sig", newline="") as file:
            given = list(csv.DictReader(file))
        columns = [Column(n, _kind(n, [(r[n] or "").strip() for r in given])) for n in given[0]]
        Table(name, metadata, *columns)
        rows[name] = [{c.name: _value(name, c, r[c.name] or "") for c in columns} for r in given]
    metadata.drop_all(engine)
    metadata.create_all(engine)
    with engine.begin() as connection:
        for name, listed in rows.items():
            connection.execute(metadata.tables[f"{schema}.{name}" if schema else name].insert(), listed)
    return {table.name: table for table in metadata.tables.values()}


BY_HAND = {
    "order lines": (
        """
        SELECT 'shopify_fivetran:' || l.id, l.quantity, l.quantity - l.unfulfilled_quantity,
            round((l.quantity - l.unfulfilled_quantity) * (l.original_total_set_pres_amount
                - l.total_discount_set_pres_amount - CASE WHEN o.taxes_included THEN coalesce(
                    (SELECT sum(price_set_pres_amount) FROM order_line_tax_line WHERE order_line_id = l.id), 0) ELSE 0
                  END) / l.quantity, 2),
            coalesce(o.processed_at, o.created_at)
        FROM order_line l JOIN "order" o ON o.id = l.order_id WHERE NOT o.test AND NOT o."_fivetran_deleted"
        """,
        "SELECT order_line_id, units_ordered, units_sold, net_amount, ordered_at FROM fact_order_line",
    ),
    "refunds": (
        """
        SELECT 'shopify_fivetran:' || id, total_refunded_set_pres_amount, created_at FROM refund
        WHERE total_refunded_set_pres_amount > 0
        """,
        "SELECT refund_id, amount, refunded_at FROM fact_refund",
    ),
    "refund lines": (
        """
        SELECT 'shopify_fivetran:' || i.id, i.quantity, round(i.subtotal_set_pres_amount
            + CASE WHEN o.taxes_included THEN 0 ELSE i.total_tax_set_pres_amount END, 2)
        FROM refund_line_item i JOIN refund r ON r.id = i.refund_id LEFT JOIN "order" o ON o.id = r.order_id
        """,
        "SELECT refund_line_id, units, amount FROM fact_refund_line",
    ),
    "return lines": (
        """
        SELECT 'shopify_fivetran:' || r.return_id || '-' || i.order_line_id, r.created_at
        FROM refund_line_item i JOIN refund r ON r.id = i.refund_id WHERE lower(i.restock_type) <> 'cancel'
        """,
        "SELECT return_line_id, min(refunded_at) FROM fact_return_line GROUP BY 1",
    ),
}


def plain(row: Any) -> tuple[str, ...]:
    """Write a row alike for every engine: two decimals, seconds."""
    return tuple(f"{float(v):.2f}" if isinstance(v, int | float | Decimal) else str(v)[:40].split(".")[0] for v in row)
