"""Metrics: every number a person sees, declared once.

`answer` asks one, `compare` asks it twice, `rows` shows what is behind it, `statistics` is its SQL; lists that pages show (work
lists, rankings, flows) stand beside them in `lists`. Declarations are in returns, promises, money and carbon; how a declaration
becomes SQL is in base, how statistics become answers in finish.
"""

from pipelines.metrics.answer import (
    answer,
    catalogue,
    compare,
    coverage,
    dimension_values,
    dimensions,
    lacking,
    measure_names,
    metric,
    rows,
    statistics,
)
from pipelines.metrics.backtest import backtest
from pipelines.metrics.base import EVERYTHING, Metric, Scope, Text
from pipelines.metrics.lists import (
    drift,
    flow,
    lanes,
    product_changes,
    product_ranking,
    promise_states,
    rate_change,
    refunds_due,
    trace,
    waterfall,
    worklist_at_risk,
)

__all__ = [
    "EVERYTHING", "Metric", "Scope", "Text", "answer", "backtest", "catalogue", "compare", "coverage", "dimension_values", "dimensions", "drift", "flow", "lacking",
    "lanes", "measure_names", "metric", "product_changes", "product_ranking", "promise_states", "rate_change", "refunds_due", "rows", "statistics", "trace",
    "waterfall", "worklist_at_risk",
]  # fmt: skip
