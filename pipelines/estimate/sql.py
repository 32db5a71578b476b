"""SQL that carbon and cost share: filling an estimate table, units of goods, euro rates, how a figure was come by."""

from typing import Any

import duckdb
from sqlalchemy import Double, Select, and_, case, column, func, insert, literal, null, select, table, text
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.expression import ColumnElement, FromClause, TableClause

from models import carbon
from pipelines.warehouse.engine import DUCKDB, Expression, double, sql_text
from pipelines.warehouse.sql import rows_sql
from pipelines.warehouse.star import STAR

Connection = duckdb.DuckDBPyConnection
Columns = ReadOnlyColumnCollection[str, ColumnElement[Any]]

MEASURED, IMPUTED, ASSUMED = 0, 1, 2

t = STAR.tables


def fill(connection: Connection, name: str, rows: Any) -> None:
    """Insert the rows of a SELECT into a table of the star."""
    connection.execute(sql_text(insert(t[name]).from_select([c.name for c in rows.selected_columns], rows)))


def keep(connection: Connection, name: str, rows: Select[Any]) -> TableClause:
    """Store a SELECT as a temporary table and give it back with its columns."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql_text(rows)}")
    return table(name, *(column(c.name, c.type) for c in rows.selected_columns))


def wanted(connection: Connection, name: str, where: str) -> Any:
    """Give the rows of a fact that match `where`; a few of many are copied once, since several statements read them."""
    rows = select(t[name]).where(text(where))
    return rows.subquery("wanted") if where == "TRUE" else keep(connection, f"wanted_{name}", rows)


def status_of(rank: Expression) -> Expression:
    """Name the status of a rank: measured, imputed or assumed."""
    return case((rank == MEASURED, "measured"), (rank == IMPUTED, "imputed"), (rank == ASSUMED, "assumed"))


def euro_rates(connection: Connection) -> dict[str, float]:
    """Give the latest rate of each currency to the reporting currency.

    Of the euro, in which parameters are, and of price lists.
    """
    rows = connection.execute("""
        WITH reporting AS (SELECT value AS name FROM build_info WHERE name = 'reporting_currency')
        SELECT currency, arg_max(rate, day) FROM (
            SELECT name AS currency, DATE '9999-01-01' AS day, 1.0 AS rate FROM reporting
            UNION ALL SELECT currency, day, rate FROM fact_fx_rate, reporting WHERE quote_currency = name
                AND currency <> name
            UNION ALL SELECT quote_currency, day, 1 / rate FROM fact_fx_rate, reporting WHERE currency = name
                AND quote_currency <> name) GROUP BY 1
    """).fetchall()
    return {str(currency): float(rate) for currency, rate in rows}


def euro_rate(rates: dict[str, float]) -> Expression:
    """Give the rate of the euro to the reporting currency; NULL when it is not known."""
    return double(literal(rates["EUR"])) if "EUR" in rates else double(null())


def rate_of(currency: Expression, rates: dict[str, float]) -> Expression:
    """Give the rate of a price's currency to the reporting currency.

    NULL where it is not known, so that the price counts as missing.
    """
    return case(*((currency == name, rate) for name, rate in rates.items())) if rates else double(null())


def append(connection: Connection, name: str, rows: list[tuple[Any, ...]]) -> None:
    """Append rows that hold every column of a table, in its order."""
    types = {c.name: str(c.type.compile(DUCKDB)) for c in t[name].columns}
    connection.execute(f"INSERT INTO {name} BY NAME {rows_sql(types, rows)}")


def shared(part: str) -> str:
    """Write a parcel's part of a shared movement's emissions as SQL."""
    share = (_m(name) for name in ("driven_km", "weight", "total_weight", part))
    return sql_text(carbon.shared_movement_carbon(*share))


def _m(name: str) -> Expression:
    return column(f"m.{name}", Double, is_literal=True)


def is_live(lot: Any) -> Expression:
    """Say whether a lot was neither cancelled nor rejected nor expired."""
    return and_(lot.c.cancelled_at.is_(None), lot.c.rejected_at.is_(None), lot.c.expired_at.is_(None))


def goods_of(parcels: Select[Any] | None) -> FromClause:
    """Net mass of the goods (kg) of parcels, all or some, where every lot's product has a weight."""
    lot = t["fact_return_line"]
    whole = func.count() == func.count(lot.c.weight_kg)
    mass = func.sum(lot.c.weight_kg * double(lot.c.units))
    goods = select(lot.c.parcel_key, double(case((whole, mass))).label("goods_kg"))
    goods = goods.where(is_live(lot), is_of(lot, parcels)).group_by(lot.c.parcel_key)
    return goods.subquery("goods")


def is_of(lot: FromClause, parcels: Select[Any] | None) -> Expression:
    """Say whether a lot travelled in one of the parcels, or in any when none are named."""
    return lot.c.parcel_key.is_not(None) if parcels is None else lot.c.parcel_key.in_(parcels)


def word(value: str | Expression) -> Expression:
    """Give a text as a literal, an expression as it is."""
    if isinstance(value, str):
        return literal(value)
    return value
