"""Alerts: rules on metrics, evaluated at the end of each load, told once.

`rules` holds what is watched, `verdicts` what that says of a build, `record` what is kept and told of it.
"""

from pipelines.alerts.record import (
    acknowledge,
    alerts,
    check,
    link_of,
    message,
    payload,
    record,
    tell,
    verdict_of,
    within,
)
from pipelines.alerts.rules import (
    AGAINST,
    PERIODS,
    SHIPPED,
    Rule,
    add_rule,
    check_rule,
    edit_rule,
    pause_rule,
    rules,
    withdraw_rule,
)
from pipelines.alerts.verdicts import FALSE_ALARMS, Verdict, evaluate, quantity

__all__ = [
    "AGAINST",
    "FALSE_ALARMS",
    "PERIODS",
    "SHIPPED",
    "Rule",
    "Verdict",
    "acknowledge",
    "add_rule",
    "alerts",
    "check",
    "check_rule",
    "edit_rule",
    "evaluate",
    "link_of",
    "message",
    "pause_rule",
    "payload",
    "quantity",
    "record",
    "rules",
    "tell",
    "verdict_of",
    "withdraw_rule",
    "within",
]
