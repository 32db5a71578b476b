"""Metrics: every number a person sees, declared once.

`answer` asks one, `compare` asks it twice, `rows` shows what is behind its numerator or denominator, `statistics` is
its SQL; lists that pages show (work lists, rankings, flows) stand beside them in `lists`. Declarations are in returns,
promises, money and carbon; how a declaration becomes SQL is in base, how statistics become answers in finish.
"""

from pipelines.metrics.accrual import accrual, accrual_backtest
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
    our_names,
    own_dimensions,
    read_filters,
    rows,
    rows_total,
    statistics,
    values_of,
)
from pipelines.metrics.backtest import backtest
from pipelines.metrics.base import EVERYTHING, PARTS, Metric, Scope, Text
from pipelines.metrics.change import rate_change, reconciliation, same_window
from pipelines.metrics.claims import claims
from pipelines.metrics.customers import Concentration, customer_concentration
from pipelines.metrics.disposal import Plan, dispose, recovery_rates
from pipelines.metrics.emissions import (
    change_split,
    explain,
    factor_effect,
    lanes,
    missing_factors,
    parcels,
    tornado,
    trace,
)
from pipelines.metrics.forecast import backtested, forecast, recent, shown
from pipelines.metrics.levers import levers
from pipelines.metrics.lists import (
    control_chart,
    drift,
    flow,
    product_changes,
    product_names,
    product_ranking,
    promise_states,
    refunds_due,
    waterfall,
    worklist_at_risk,
)
from pipelines.metrics.offer import Offer, offers
from pipelines.metrics.opportunity import CUTS as EROSION_CUTS
from pipelines.metrics.opportunity import churn_cost, cost_tornado, erosion_by, lost_sales, markdown_curve, repeat_rates
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
from pipelines.metrics.scenario import Scenario, forward, pareto, read_scenario, simulate

__all__ = [
    "EROSION_CUTS",
    "EVERYTHING",
    "PARTS",
    "Concentration",
    "Metric",
    "Offer",
    "Plan",
    "ProductProfile",
    "Scenario",
    "Scope",
    "Text",
    "accrual",
    "accrual_backtest",
    "answer",
    "backtest",
    "backtested",
    "catalogue",
    "change_split",
    "churn_cost",
    "claims",
    "compare",
    "control_chart",
    "cost_tornado",
    "coverage",
    "customer_concentration",
    "dimension_values",
    "dimensions",
    "dispose",
    "drift",
    "erosion_by",
    "explain",
    "factor_effect",
    "flow",
    "forecast",
    "forward",
    "lacking",
    "lanes",
    "levers",
    "lost_sales",
    "markdown_curve",
    "measure_names",
    "metric",
    "missing_factors",
    "offers",
    "our_names",
    "own_dimensions",
    "parcels",
    "pareto",
    "product_changes",
    "product_costs",
    "product_names",
    "product_notes",
    "product_profile",
    "product_ranking",
    "product_rates",
    "product_reasons",
    "promise_states",
    "rate_change",
    "rate_since_launch",
    "read_filters",
    "read_scenario",
    "recent",
    "reconciliation",
    "recovery_rates",
    "refunds_due",
    "related_products",
    "repeat_rates",
    "rows",
    "rows_total",
    "same_window",
    "shown",
    "simulate",
    "size_curve",
    "statistics",
    "tornado",
    "trace",
    "values_of",
    "waterfall",
    "worklist_at_risk",
]
