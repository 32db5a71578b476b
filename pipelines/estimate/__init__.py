"""Estimates: what we think of what happened, written to `estimate_` tables of an open build.

`run` holds the order of the steps. Each step is set-based SQL over the facts, with arithmetic and statistics from `models`. A
full build estimates everything; an increment only the touched keys, and refits what is stale.
"""

import duckdb

from pipelines.estimate import carbon_cost, credit_match, promises, rates
from pipelines.settings import Settings
from pipelines.warehouse.shape import SHARES_COST


def run(connection: duckdb.DuckDBPyConnection, settings: Settings, *, is_increment: bool) -> None:
    """Fill the estimate tables; on an increment only for the keys in the touched_ tables.

    The touched keys' earlier estimates must be gone.
    """

    def where(key: str, select: str) -> str:
        return f"{key} IN ({select})" if is_increment else "TRUE"

    lot = where("return_lot_key", f"SELECT return_lot_key FROM fact_return_line WHERE {SHARES_COST}")
    leg = where("leg_key", "SELECT leg_key FROM fact_return_leg WHERE parcel_key IN (SELECT parcel_key FROM touched_parcel)")  # fmt: skip
    returns = where("return_key", "SELECT return_key FROM fact_return_line WHERE return_line_key IN (SELECT return_line_key FROM touched_return_line)")  # fmt: skip
    line = where("order_line_key", "SELECT order_line_key FROM touched_order_line")
    credit_match.credit_match(connection, settings)
    promises.calendar(connection, settings)
    promises.promises(connection, settings, returns)
    promises.breach_risk(connection, settings)
    carbon_cost.lanes(connection, settings)
    carbon_cost.legs(connection, settings, leg)
    carbon_cost.returns(connection, settings, lot)
    rates.curves(connection, settings)
    rates.priors(connection, settings)
    rates.probability(connection, settings, line)
