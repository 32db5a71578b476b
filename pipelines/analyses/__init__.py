"""Analyses: lists, rankings, flows and simulations that pages and verbs show beside the metrics; one module each."""

from pipelines.analyses.accrual import accrual, accrual_backtest, booked_then
from pipelines.analyses.backtest import backtest
from pipelines.analyses.change import rate_change, reconciliation, same_window
from pipelines.analyses.claims import claims
from pipelines.analyses.customers import Concentration, customer_concentration
from pipelines.analyses.disposal import Plan, dispose, recovery_rates
from pipelines.analyses.emissions import (
    change_split,
    explain,
    factor_effect,
    factor_of,
    lanes,
    missing_factors,
    parcels,
    tornado,
    trace,
)
from pipelines.analyses.flow import flow, waterfall
from pipelines.analyses.forecast import backtested, forecast, recent, shown
from pipelines.analyses.levers import levers
from pipelines.analyses.milestones import milestones, usual_days
from pipelines.analyses.offer import Offer, offers
from pipelines.analyses.opportunity import CUTS as EROSION_CUTS
from pipelines.analyses.opportunity import (
    cost_tornado,
    erosion_by,
    lost_sales,
    markdown_curve,
    repeat_rates,
)
from pipelines.analyses.owed import KEY as OWED_KEY
from pipelines.analyses.owed import owed_by_law, scale
from pipelines.analyses.product import (
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
from pipelines.analyses.ranking import drift, product_changes, product_names, product_ranking
from pipelines.analyses.roll_forward import RollForward, is_complete, months, roll_forward
from pipelines.analyses.scenario import Scenario, forward, pareto, read_scenario, simulate
from pipelines.analyses.worklists import (
    WAITING,
    control_chart,
    goods_waiting,
    open_returns,
    promise_states,
    refunds_due,
    worklist_at_risk,
)

__all__ = [
    "EROSION_CUTS",
    "OWED_KEY",
    "WAITING",
    "Concentration",
    "Offer",
    "Plan",
    "ProductProfile",
    "RollForward",
    "Scenario",
    "accrual",
    "accrual_backtest",
    "backtest",
    "backtested",
    "booked_then",
    "change_split",
    "claims",
    "control_chart",
    "cost_tornado",
    "customer_concentration",
    "dispose",
    "drift",
    "erosion_by",
    "explain",
    "factor_effect",
    "factor_of",
    "flow",
    "forecast",
    "forward",
    "goods_waiting",
    "is_complete",
    "lanes",
    "levers",
    "lost_sales",
    "markdown_curve",
    "milestones",
    "missing_factors",
    "months",
    "offers",
    "open_returns",
    "owed_by_law",
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
    "read_scenario",
    "recent",
    "reconciliation",
    "recovery_rates",
    "refunds_due",
    "related_products",
    "repeat_rates",
    "roll_forward",
    "same_window",
    "scale",
    "shown",
    "simulate",
    "size_curve",
    "tornado",
    "trace",
    "usual_days",
    "waterfall",
    "worklist_at_risk",
]
