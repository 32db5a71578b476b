"""Verbs about alert rules."""

import getpass
import json
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pipelines.cli.app import alert_app
from pipelines.cli.console import errors, signs
from pipelines.cli.options import (
    By,
    Format,
    FormatOption,
    Key,
    To,
    Wait,
    Warehouse,
    Where,
    example,
    filters_of,
    finite,
    opened,
    settings_of,
)
from pipelines.cli.output import print_rows

if TYPE_CHECKING:
    from pipelines.alerts import Rule, Verdict


def _rule_row(rule: "Rule", lasting: int = 0) -> dict[str, Any]:
    from pipelines.delivery import shown

    return {
        "rule_id": rule.rule_id,
        "metric": rule.metric,
        "test": rule.test,
        "bound": rule.bound,
        "by": " ".join(rule.by),
        "where": "; ".join(f"{k}={','.join(v)}" for k, v in rule.where.items()),
        "days": rule.days if rule.period == "days" else f"last {rule.period}",
        "against": rule.against if rule.test in ("worse", "better") else "",
        "to": " ".join(map(shown, rule.to)),
        "state": "paused" if rule.is_paused else "active",
        "lasting": lasting,
    }


def _verdict_row(found: "Verdict") -> dict[str, Any]:
    said = {True: "alert", False: "quiet", None: "not known"}[found.fires]
    return {"rule_id": found.rule.rule_id, "verdict": said, "sentence": found.sentence()}


class Against(StrEnum):
    """What a number is compared with."""

    year = "year"
    before = "before"


class Complete(StrEnum):
    """The last complete one of these."""

    week = "week"
    month = "month"


Above = Annotated[
    float | None, typer.Option(callback=finite, help="Alert above this, in the metric's unit; a share is 0-1.")
]
Below = Annotated[float | None, typer.Option(callback=finite, help="Alert below this.")]
Worse = Annotated[bool, typer.Option("--worse", help="Alert when significantly worse than before (--against).")]
Better = Annotated[bool, typer.Option("--better", help="Alert when significantly better than before (--against).")]
Unkeepable = Annotated[
    bool,
    typer.Option(
        "--unkeepable",
        help=(
            "Alert when the published promise is kept significantly less often than required, for "
            "example promise_at(0.9) --where promise_id=refund."
        ),
    ),
]
AgainstOption = Annotated[
    Against,
    typer.Option(help="Worse or better than the same weeks of last year, where data reach back, or than just before."),
]
DaysOption = Annotated[
    int, typer.Option(min=0, help="Number of last days to evaluate; 0 is all days, for example for open returns.")
]
LastOption = Annotated[
    Complete | None,
    typer.Option("--last", help="Evaluate the last complete week or month, not --days.", show_default=False),
]
Number = Annotated[int, typer.Argument(metavar="ID", help="Number from `backhaul alert list`.")]


def _test(above: float | None, below: float | None, *, worse: bool, better: bool, unkeepable: bool) -> str:
    """Give the one test that was asked for."""
    given = {
        "above": above is not None,
        "below": below is not None,
        "worse": worse,
        "better": better,
        "unkeepable": unkeepable,
    }
    tests = [name for name, is_given in given.items() if is_given]
    if len(tests) != 1:
        raise typer.BadParameter(
            "give one of --above, --below, --worse, --better and --unkeepable.", param_hint="--above"
        )
    return tests[0]


@alert_app.command(
    name="add",
    epilog=example("backhaul alert add promise_kept --below 0.9 --where country=FR --to mailto:returns@example.org")
    + "\n\n"
    + example("backhaul alert add days_to_refund --worse --by carrier --last week --to https://chat.example.org/hook"),
)
def alert_add(
    key: Key,
    above: Above = None,
    below: Below = None,
    worse: Worse = False,
    better: Better = False,
    unkeepable: Unkeepable = False,
    by: By = None,
    where: Where = None,
    days: DaysOption = 28,
    last: LastOption = None,
    against: AgainstOption = Against.year,
    to: To = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Add an alert rule on a metric."""
    from pipelines import alerts

    test = _test(above, below, worse=worse, better=better, unkeepable=unkeepable)
    rule = alerts.Rule(
        0,
        key,
        test,
        above if above is not None else below,
        tuple(by or ()),
        {},
        days,
        tuple(to or ()),
        str(last or "days"),
        str(against),
    )
    with opened(warehouse) as build:
        rule = replace(rule, where={k: tuple(v) for k, v in filters_of(build, key, where).items()})
        rule = alerts.add_rule(settings_of(warehouse, wait), build, rule)
        found = alerts.evaluate(build, rule)
    print_rows([_rule_row(rule, sum(bool(v.fires) for v in found))], output, f"Rule {rule.rule_id}; today's result")
    if output is Format.table:
        for one in found[:12]:
            typer.echo(signs(one.sentence()))


@alert_app.command(name="edit", epilog=example("backhaul alert edit 3 --to mailto:returns@example.org"))
def alert_edit(
    number: Number,
    bound: Annotated[
        float | None, typer.Option(callback=finite, help="Bound of an alert above or below it.", show_default=False)
    ] = None,
    by: By = None,
    days: Annotated[int | None, typer.Option(min=0, help="Number of last days.", show_default=False)] = None,
    last: LastOption = None,
    against: Annotated[Against | None, typer.Option(help="Compared with.", show_default=False)] = None,
    to: To = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Change a rule; one that means something else gets a new number, and the one before stays on record."""
    from pipelines import alerts
    from pipelines.errors import AlertError

    settings = settings_of(warehouse, wait)
    known = next((rule for rule in alerts.rules(settings) if rule.rule_id == number), None)
    if known is None:
        raise AlertError(f"There is no rule {number}. `backhaul alert list` shows them.")
    given = {
        "bound": bound,
        "by": tuple(by) if by else None,
        "days": days,
        "period": str(last) if last else "days" if days is not None else None,
        "against": str(against) if against else None,
        "to": tuple(to) if to else None,
    }
    wanted = replace(known, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    with opened(warehouse) as build:
        rule = alerts.edit_rule(settings, build, wanted)
    print_rows([_rule_row(rule)], output, f"Rule {rule.rule_id}")


@alert_app.command(name="pause", epilog=example("backhaul alert pause 3"))
def alert_pause(
    number: Number,
    resume: Annotated[bool, typer.Option("--resume", help="Evaluate it again from the next load on.")] = False,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Stop evaluating a rule for a while, or go on."""
    from pipelines import alerts

    alerts.pause_rule(settings_of(warehouse, wait), number, is_paused=not resume)
    typer.echo(f"Rule {number} {'goes on' if resume else 'is paused'}.")


@alert_app.command(name="acknowledge", epilog=example("backhaul alert acknowledge 12"))
def alert_acknowledge(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of an alert from `backhaul alert log`.")],
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Note that somebody knows of an alert: it stays listed and leaves the first screen until it comes back."""
    from pipelines import alerts

    alerts.acknowledge(settings_of(warehouse, wait), number, getpass.getuser(), is_known=not undo)
    typer.echo(f"Alert {number} is {'not acknowledged any more' if undo else 'acknowledged'}.")


@alert_app.command(name="list", epilog=example("backhaul alert list"))
def alert_list(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List the rules, with the number of active alerts of each."""
    from pipelines import alerts

    settings = settings_of(warehouse)
    with opened(warehouse):
        found = alerts.alerts(settings)["rule_id"].value_counts()
    rows = [_rule_row(r, int(found.get(r.rule_id, 0))) for r in alerts.rules(settings)]
    print_rows(rows, output, "Alert rules")


@alert_app.command(name="withdraw", epilog=example("backhaul alert withdraw 3"))
def alert_withdraw(
    number: Number,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Stop evaluating a rule; it stays on record."""
    from pipelines import alerts

    alerts.withdraw_rule(settings_of(warehouse, wait), number)
    typer.echo(f"Rule {number} is withdrawn.")


@alert_app.command(name="check", epilog=example("backhaul alert check --dry-run"))
def alert_check(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the result of each rule; keep nothing and notify nobody.")
    ] = False,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Evaluate all rules now, keep new alerts and notify the recipients; each load does the same at its end."""
    from pipelines import alerts
    from pipelines.warehouse.build import writing

    settings = settings_of(warehouse, wait)
    if dry_run:
        found = alerts.check(settings)
        print_rows([_verdict_row(v) for v in found], output, "Result of each rule; nobody is notified")
        return
    with opened(warehouse), writing(settings.warehouse, settings.short_wait_s):
        fresh = alerts.record(settings)
    unreached = alerts.tell(settings)
    print_rows([_verdict_row(v) for v in fresh], output, "New alerts")
    for sentence in unreached:
        errors.print(Text(signs(sentence)), soft_wrap=True)


@alert_app.command(name="log", epilog=example("backhaul alert log --all --format csv"))
def alert_log(
    every: Annotated[bool, typer.Option("--all", help="Include ended alerts.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List active alerts: since when, their text, why, the link, and who was notified."""
    from pipelines import alerts
    from pipelines.delivery import shown

    settings = settings_of(warehouse)
    with opened(warehouse):
        found = alerts.alerts(settings, lasting=not every)
    rows = [
        {
            "alert_id": r["alert_id"],
            "rule_id": r["rule_id"],
            "since": r["since_at"],
            "over": None if r["cleared_at"] is None or r["cleared_at"] != r["cleared_at"] else r["cleared_at"],
            "sentence": alerts.verdict_of(r).sentence(),
            "why": alerts.verdict_of(r).because(),
            "link": alerts.link_of(settings, r),
            "acknowledged_by": r["acknowledged_by"] or "",
            "told": " ".join(map(shown, json.loads(r["told"]))),
        }
        for r in found.to_dict("records")
    ]
    print_rows(rows, output, "Alerts")
