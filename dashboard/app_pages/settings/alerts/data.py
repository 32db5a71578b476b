"""What the page alerts asks and changes; nothing is drawn here."""

from collections.abc import Mapping

from dashboard.shared import access
from dashboard.shared.queries import PageQuestion, Source, number, opened, unseen
from dashboard.shared.whole import whole_shop
from pipelines import alerts, metrics
from pipelines.alerts import Rule
from pipelines.delivery import check_address, shown
from pipelines.errors import AlertError
from pipelines.load import scorecard
from pipelines.metrics import Metric

TESTS = ("worse", "better", "above", "below", "unkeepable")
PERIODS, AGAINST = alerts.PERIODS, alerts.AGAINST
NEW = Rule(0, "promise_kept", "worse", against="year")
SHOWN_ADDRESS = shown


def source_problems(asked: Source) -> list[str]:
    """List what is wrong with sources, in sentences; nothing within a scope."""
    return [] if asked.scope else list(scorecard.problems(whole_shop(asked)).values())


def rules(asked: Source) -> list[Rule]:
    """List the rules; none within a scope: they are of the whole shop."""
    return [] if asked.scope else alerts.rules(whole_shop(asked))


def metric_names() -> Mapping[str, Metric]:
    """Give the metrics that a rule can watch, by key."""
    return {one.key: one for one in metrics.catalogue()}


def metric(key: str) -> Metric:
    """Give a metric's declaration, whatever its parameter."""
    return metrics.metric(key)


def dimensions(asked: Source, key: str) -> tuple[str, ...]:
    """List what a metric can be cut by."""
    return tuple(metrics.dimensions(key, opened(asked)))


def is_missing(asked: PageQuestion, key: str) -> bool:
    """Say whether the shop's files do not support a number."""
    with unseen():
        return bool(number(asked, key).lacks)


def wrong_addresses(to: tuple[str, ...]) -> list[str]:
    """List the addresses that are none."""
    wrong = []
    for address in to:
        try:
            check_address(address)
        except AlertError:
            wrong.append(address)
    return wrong


def foreign(to: tuple[str, ...], before: tuple[str, ...]) -> list[str]:
    """List the addresses that this reader may not add."""
    reader = access.current()
    return [address for address in to if address not in before and not reader.may_send_to(address)]


def save(asked: Source, rule: Rule) -> Rule:
    """Keep a new rule, or have one say something else; raises BackhaulError with what is wrong."""
    settings = whole_shop(asked)
    access.saved(f"alert_rule_saved:{rule.metric} {rule.test}")
    change = alerts.edit_rule if rule.rule_id else alerts.add_rule
    return change(settings, opened(asked), rule)


def pause(asked: Source, rule_id: int, *, is_paused: bool) -> None:
    """Stop evaluating a rule for a while, or go on."""
    access.saved(f"alert_rule_{'paused' if is_paused else 'resumed'}:{rule_id}")
    alerts.pause_rule(whole_shop(asked), rule_id, is_paused=is_paused)


def withdraw(asked: Source, rule_id: int) -> None:
    """Stop evaluating a rule for good; it stays on record."""
    access.saved(f"alert_rule_withdrawn:{rule_id}")
    alerts.withdraw_rule(whole_shop(asked), rule_id)


def acknowledge(asked: Source, alert_id: int, *, is_known: bool) -> None:
    """Note that the reader knows of an alert, or take that back."""
    reader = access.saved(f"alert_{'acknowledged' if is_known else 'not_acknowledged'}:{alert_id}")
    alerts.acknowledge(whole_shop(asked), alert_id, reader.name, is_known=is_known)
