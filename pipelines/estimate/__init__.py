"""Estimates: what we think of what happened, written to `estimate_` tables of an open build.

`run` holds the order of the steps. Each step is set-based SQL over the facts, with arithmetic and statistics from
`models`. A full build estimates everything; an increment only the touched keys, and refits what is stale.
"""

import duckdb

from pipelines.estimate import (
    breach,
    calendar,
    credit_match,
    curves,
    goods,
    lanes,
    late_refund,
    leg_cost,
    probability,
    promises,
    return_cost,
    stage_pace,
)
from pipelines.settings import Settings
from pipelines.warehouse.shards import Shards
from pipelines.warehouse.touched import ESTIMATED, SHAPED_LEG, TOUCHED


def run(connection: duckdb.DuckDBPyConnection, settings: Settings, shards: Shards, *, is_increment: bool) -> None:
    """Fill the estimate tables; on an increment only for the keys in the touched_ tables.

    The touched keys' earlier estimates must be gone. What is estimated row by row is estimated a shard at a time.
    """

    def where(predicate: str) -> str:
        return predicate if is_increment else "TRUE"

    leg, lot, returned = (where(p) for p in (SHAPED_LEG, ESTIMATED["return_lot_key"], ESTIMATED["return_key"]))
    credit_match.credit_match(connection, settings)
    calendar.calendar(connection, settings)
    promises.promises(connection, shards, returned)
    late_refund.late_refunds(connection)
    breach.breach_risk(connection, settings)
    stage_pace.stage_pace(connection, settings)
    lanes.lanes(connection, settings, leg)
    leg_cost.legs(connection, settings, shards, leg)
    return_cost.returns(connection, settings, shards, lot)
    goods.avoided(connection, lot)
    curves.rates(connection, settings, is_increment=is_increment)
    probability.probability(connection, settings, where(TOUCHED["order_line_key"]))
