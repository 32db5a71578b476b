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
from pipelines.metrics.base import EVERYTHING, Metric, Scope, Text
from pipelines.metrics.lists import (
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
from pipelines.metrics.product import (
    ProductProfile,
    product_costs,
    product_notes,
    product_profile,
    product_rates,
    product_reasons,
    rate_since_launch,
    related_products,
    size_curve,
)

__all__ = [
    "EVERYTHING", "Metric", "ProductProfile", "Scope", "Text", "answer", "catalogue", "compare", "coverage", "dimension_values", "dimensions", "flow", "lacking",
    "lanes", "measure_names", "metric", "product_changes", "product_costs", "product_notes", "product_profile", "product_ranking",
    "product_rates", "product_reasons", "promise_states", "rate_change", "rate_since_launch", "refunds_due", "related_products", "rows", "size_curve", "statistics", "trace",
    "waterfall", "worklist_at_risk",
]  # fmt: skip
