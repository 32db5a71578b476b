"""The shop's columns as the logs of its systems: who writes which table, in which columns, and what dirt each carries.

Column names are those of the LOG tables of `pipelines/warehouse/schema.py`. The one idea: each system writes what it
would see, and nothing recorded after the as-of evening.
"""

from collections.abc import Callable
from pathlib import Path

from pipelines.sample.catalogue import catalogue, finance_rates
from pipelines.sample.draws import Rng
from pipelines.sample.events import chain_elements, return_events
from pipelines.sample.files import Writer
from pipelines.sample.orders import order_lines
from pipelines.sample.payouts import recoveries, refunds
from pipelines.sample.simulation import Simulation


def write_logs(
    out: Path, rng: Rng, s: Simulation, tell: Callable[[str, float], None]
) -> tuple[dict[str, int], list[tuple[str, str, int]]]:
    """Write every file; returns rows per file and the dirt planted (file, kind, rows)."""
    writer = Writer(out, s.world.end, s.world.parameters["dirt"])
    fx = finance_rates(rng, s, writer)
    catalogue(rng, s, writer)
    tell("order lines", 0.0)
    order_lines(rng, s, writer, fx)
    tell("return events", 0.35)
    return_events(rng, s, writer)
    tell("refunds", 0.75)
    refunds(rng, s, writer, fx)
    recoveries(rng, s, writer)
    tell("chain elements", 0.85)
    chain_elements(rng, s, writer)
    return writer.rows, writer.planted
