"""Carbon and cost of each returned lot, filled from its basis and its components of cost."""

from sqlalchemy import literal, select, union_all
from sqlalchemy.sql.expression import TableClause

from models import carbon
from pipelines.estimate.cost_components import components
from pipelines.estimate.factor_list import list_factors
from pipelines.estimate.lot_basis import lot_basis, style_price
from pipelines.estimate.sql import Connection, euro_rates, fill, keep, wanted
from pipelines.factors import ledger
from pipelines.settings import Settings
from pipelines.warehouse.engine import double
from pipelines.warehouse.shards import Shards

_OF_LOT = (
    "fact_return_line",
    "fact_order_line",
    "fact_return_leg",
    "fact_recovery",
    "estimate_leg_carbon",
    "estimate_leg_cost",
)
"""What the carbon and the cost of a lot follow from, beside the prices of its style: rows of its own shard."""


def returns(connection: Connection, settings: Settings, shards: Shards, where_lot: str) -> None:
    """Fill estimate_return_carbon and estimate_return_cost for some lots.

    Those matching `where_lot`, a predicate on fact_return_line.

    `where_lot` takes whole parcels. A lot that was cancelled, rejected or expired carries nothing of a parcel that
    others travelled in. Then list in factor_set what this build used; legs come first.
    """
    lot = wanted(connection, "fact_return_line", where_lot)
    few = lot if isinstance(lot, TableClause) else None
    price = keep(connection, "style_price", style_price(few))
    rates = euro_rates(connection)
    for _ in shards.each(connection, _OF_LOT):
        _fill(connection, keep(connection, "lot_basis", lot_basis(lot, price, rates, is_whole=few is None)), rates)
    connection.execute("DROP TABLE lot_basis; DROP TABLE style_price")
    list_factors(connection, ledger(settings))


def _fill(connection: Connection, basis: TableClause, rates: dict[str, float]) -> None:
    """Insert the carbon and the cost of lots from their basis."""
    fill(
        connection,
        "estimate_return_carbon",
        select(
            basis.c.return_lot_key,
            carbon.allocate(double(literal(1.0)), basis.c.weight, basis.c.total_weight).label("share"),
            carbon.allocate(basis.c.kg_co2e, basis.c.weight, basis.c.total_weight).label("kg_co2e"),
            carbon.allocate(basis.c.kg_co2e_measured, basis.c.weight, basis.c.total_weight).label("kg_co2e_measured"),
            carbon.allocate(basis.c.kg_co2e_primary, basis.c.weight, basis.c.total_weight).label("kg_co2e_primary"),
            (basis.c.unknown_legs == 0).label("is_whole"),
        ).where(basis.c.unknown_legs.is_not(None)),
    )
    fill(connection, "estimate_return_cost", union_all(*components(basis, rates)))
