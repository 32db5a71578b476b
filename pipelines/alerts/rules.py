"""Rules of alerts: what each watches, kept in the state file; never deleted: withdrawn.

A rule names a metric and a test: above or below a bound, worse (better) than before beyond noise, or, for
`promise_at(P)`, a published promise that can surely no longer be kept with P. What it says of a build is in `verdicts`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from sqlalchemy import Connection, func, insert, select, update

from pipelines import metrics
from pipelines.delivery import check_address
from pipelines.errors import AlertError
from pipelines.metrics.question import ALIASES
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import writing
from pipelines.warehouse.engine import Build

PERIODS = ("days", "week", "month")
AGAINST = ("year", "before")
SHIPPED = (
    {"metric": "refunds_due_soon", "test": "above", "bound": 0.0, "days": 0},
    {"metric": "legal_refund_kept", "test": "worse", "days": 28, "against": "year"},
    {"metric": "promise_kept", "test": "worse", "by": ("promise_id",), "days": 28, "against": "year"},
    {"metric": "days_to_refund(0.5)", "test": "worse", "days": 28, "against": "year"},
    {"metric": "promise_at(0.9)", "test": "unkeepable", "where": {"promise_id": ("refund",)}, "days": 0},
)
"""Rules a warehouse begins with.

Refunds the law wants within days, and promises that are kept less often than before.
"""


@dataclass(frozen=True)
class Rule:
    """One rule.

    `by` are dimensions evaluated value by value, `where` filters, `to` addresses. It looks at the latest `days` (0:
    all), or at the last complete week or month (`period`). Worse and better are said against the same weeks of last
    year, or against the days, week or month before (`against`). One that is paused is not evaluated.
    """

    rule_id: int
    metric: str
    test: str
    bound: float | None = None
    by: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    days: int = 28
    to: tuple[str, ...] = ()
    period: str = "days"
    against: str = "before"
    is_paused: bool = False

    @property
    def meaning(self) -> "Rule":
        """Give what it says, whoever is told."""
        return replace(self, rule_id=0, to=(), is_paused=False)


def check_rule(build: Build, rule: Rule) -> None:
    """Raise for a rule that can never speak.

    An unknown metric, dimension or value, a test without its bound, a wrong address.
    """
    chosen = metrics.metric(rule.metric)
    if rule.test not in state.ALERT_TESTS:
        raise AlertError(f"{rule.test!r} is no test of an alert; one of {', '.join(state.ALERT_TESTS)}.")
    if rule.test in ("above", "below") and (rule.bound is None or not np.isfinite(rule.bound)):
        raise AlertError(f"An alert on {rule.metric} {rule.test} a bound needs the bound, in {chosen.unit}.")
    if rule.test == "unkeepable" and not (
        rule.metric.startswith("promise_at") and len(rule.where.get("promise_id", ())) == 1
    ):
        raise AlertError(
            "Unkeepable is said of promise_at, of one promise: give promise_at(0.9) and --where promise_id=refund."
        )
    if rule.test in ("worse", "better"):
        if chosen.good == "none":
            raise AlertError(f"{rule.metric} has no better or worse: give --above or --below a bound.")
        if rule.period == "days" and rule.days < 1:
            raise AlertError("Worse than before needs days to compare: give --days of 1 or more.")
    for name, value, known in (("period", rule.period, PERIODS), ("against", rule.against, AGAINST)):
        if value not in known:
            raise AlertError(f"{value!r} is no {name} of an alert; one of {', '.join(known)}.")
    metrics.read_filters(build, rule.metric, rule.where)
    dimensions = metrics.dimensions(rule.metric, build)
    unknown = [d for d in rule.by if ALIASES.get(d, d) not in dimensions]
    if unknown:
        said = ", ".join(dimensions)
        raise AlertError(f"{rule.metric} cannot be cut by {', '.join(unknown)}. It can be cut by: {said}.")
    for address in rule.to:
        check_address(address)


def rules(settings: Settings, *, with_withdrawn: bool = False) -> list[Rule]:
    """List the rules; a warehouse that never had one begins with SHIPPED, unsent."""
    state_file = state.State(settings.warehouse)
    try:
        return stored(state_file, with_withdrawn=with_withdrawn)
    finally:
        state_file.close()


def stored(state_file: state.State, *, with_withdrawn: bool = False) -> list[Rule]:
    """List the rules of an open state file, paused ones too."""
    t = state_tables.alert_rule
    rows = state_file.rows(select(t).order_by(t.c.rule_id))
    if not rows:
        return [Rule(number, **shipped) for number, shipped in enumerate(SHIPPED, 1)]  # type: ignore[arg-type]
    return [
        Rule(
            r["rule_id"],
            r["metric"],
            r["test"],
            r["bound"],
            tuple(json.loads(r["by"])),
            {k: tuple(v) for k, v in json.loads(r["where"]).items()},
            r["days"],
            tuple(json.loads(r["to"])),
            r["period"] or "days",
            r["against"] or "before",
            r["paused_at"] is not None,
        )
        for r in rows
        if with_withdrawn or r["withdrawn_at"] is None
    ]


def _insert(connection: Connection, rule: Rule) -> int:
    row = {
        **asdict(rule),
        **{n: json.dumps(getattr(rule, n)) for n in ("by", "where", "to")},
        "created_at": state.now(),
    }
    del row["rule_id"], row["is_paused"]
    done = connection.execute(
        insert(state_tables.alert_rule).values(**row).returning(state_tables.alert_rule.c.rule_id)
    )
    return int(done.scalar_one())


def keep_shipped(state_file: state.State) -> None:
    """Write the rules that ship down, where there was never one: before the first write about rules."""
    with state_file.transaction() as connection:
        if connection.execute(select(func.count()).select_from(state_tables.alert_rule)).scalar_one() == 0:
            for shipped in SHIPPED:
                _insert(connection, Rule(0, **shipped))  # type: ignore[arg-type]


def add_rule(settings: Settings, build: Build, rule: Rule) -> Rule:
    """Check a rule against a build and keep it; gives it with its number.

    That of an equal one, where it is there already. Raises AlertError and what metrics raise.
    """
    check_rule(build, rule)
    with writing(settings.warehouse, settings.short_wait_s):
        state_file = state.State(settings.warehouse)
        try:
            keep_shipped(state_file)
            for known in stored(state_file):
                if known.meaning == rule.meaning and known.to == rule.to:
                    return known
            with state_file.transaction() as connection:
                return replace(rule, rule_id=_insert(connection, rule))
        finally:
            state_file.close()


def edit_rule(settings: Settings, build: Build, rule: Rule) -> Rule:
    """Have a rule say something else, or tell others; gives it with its number.

    One that means something else is a rule of its own with a new number, so that past alerts keep what they said: the
    one before is withdrawn. Raises AlertError for none of that number, and what `check_rule` raises.
    """
    check_rule(build, rule)
    t = state_tables.alert_rule
    with _changing(settings, rule.rule_id) as (connection, known):
        if known.meaning == rule.meaning:
            mine = update(t).where(t.c.rule_id == rule.rule_id)
            connection.execute(mine.values(to=json.dumps(rule.to)))
            return replace(known, to=rule.to)
        _end(connection, rule.rule_id)
        fresh = replace(rule, rule_id=_insert(connection, rule), is_paused=known.is_paused)
        if known.is_paused:
            connection.execute(update(t).where(t.c.rule_id == fresh.rule_id).values(paused_at=state.now()))
        return fresh


def pause_rule(settings: Settings, rule_id: int, *, is_paused: bool = True) -> None:
    """Stop evaluating a rule for a while, or go on: its alerts are not shown meanwhile, and are not told anew after.

    Raises AlertError for none of that number.
    """
    t = state_tables.alert_rule
    with _changing(settings, rule_id) as (connection, known):
        if known.is_paused != is_paused:
            at = state.now() if is_paused else None
            connection.execute(update(t).where(t.c.rule_id == rule_id).values(paused_at=at))


def withdraw_rule(settings: Settings, rule_id: int) -> None:
    """Stop evaluating a rule; it and its alerts stay on record, those that last are over.

    Raises AlertError for none of that number.
    """
    with _changing(settings, rule_id) as (connection, _):
        _end(connection, rule_id)


def _end(connection: Connection, rule_id: int) -> None:
    t, a = state_tables.alert_rule, state_tables.alert
    connection.execute(update(t).where(t.c.rule_id == rule_id).values(withdrawn_at=state.now()))
    lasting = update(a).where(a.c.rule_id == rule_id, a.c.cleared_at.is_(None))
    connection.execute(lasting.values(cleared_at=state.now()))


@contextmanager
def _changing(settings: Settings, rule_id: int) -> Iterator[tuple[Connection, Rule]]:
    """Give a transaction, and the rule of a number as it is; raises AlertError for none."""
    with writing(settings.warehouse, settings.short_wait_s):
        state_file = state.State(settings.warehouse)
        try:
            known = next((r for r in stored(state_file) if r.rule_id == rule_id), None)
            if known is None:
                raise AlertError(f"There is no rule {rule_id}. `backhaul alert list` shows them.")
            keep_shipped(state_file)
            with state_file.transaction() as connection:
                yield connection, known
        finally:
            state_file.close()
