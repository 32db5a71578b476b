"""Verbs about alert rules."""

import json
from dataclasses import replace
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
    return {
        "rule_id": rule.rule_id,
        "metric": rule.metric,
        "test": rule.test,
        "bound": rule.bound,
        "by": " ".join(rule.by),
        "where": "; ".join(f"{k}={','.join(v)}" for k, v in rule.where.items()),
        "days": rule.days,
        "to": " ".join(rule.to),
        "lasting": lasting,
    }


def _verdict_row(found: "Verdict") -> dict[str, Any]:
    said = {True: "alert", False: "quiet", None: "not known"}[found.fires]
    return {"rule_id": found.rule.rule_id, "verdict": said, "sentence": found.sentence()}


# Long: the options of a rule, one a line.
@alert_app.command(
    name="add",
    epilog=example("backhaul alert add promise_kept --below 0.9 --where country=FR --to mailto:returns@example.org")
    + "\n\n"
    + example("backhaul alert add days_to_refund --worse --by carrier --days 14 --to https://chat.example.org/hook"),
)
def alert_add(
    key: Key,
    above: Annotated[
        float | None, typer.Option(callback=finite, help="Alert above this, in the metric's unit; a share is 0-1.")
    ] = None,
    below: Annotated[float | None, typer.Option(callback=finite, help="Alert below this.")] = None,
    worse: Annotated[
        bool, typer.Option("--worse", help="Alert when significantly worse than the days before.")
    ] = False,
    better: Annotated[
        bool, typer.Option("--better", help="Alert when significantly better than the days before.")
    ] = False,
    unkeepable: Annotated[
        bool,
        typer.Option(
            "--unkeepable",
            help=(
                "Alert when the published promise is kept significantly less often than required, for "
                "example promise_at(0.9) --where promise_id=refund."
            ),
        ),
    ] = False,
    by: By = None,
    where: Where = None,
    days: Annotated[
        int, typer.Option(min=0, help="Number of last days to evaluate; 0 is all days, for example for open returns.")
    ] = 28,
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Recipient: mailto:NAME@HOST (needs BACKHAUL_SMTP) or https://HOST/PATH; repeatable.",
        ),
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Add an alert rule on a metric."""
    from pipelines import alerts

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
    rule = alerts.Rule(
        0, key, tests[0], above if above is not None else below, tuple(by or ()), {}, days, tuple(to or ())
    )
    with opened(warehouse) as build:
        rule = replace(rule, where={k: tuple(v) for k, v in filters_of(build, key, where).items()})
        rule = alerts.add_rule(settings_of(warehouse, wait), build, rule)
        found = alerts.evaluate(build, rule)
    print_rows([_rule_row(rule, sum(bool(v.fires) for v in found))], output, f"Rule {rule.rule_id}; today's result")
    if output is Format.table:
        for one in found[:12]:
            typer.echo(signs(one.sentence()))


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
    number: Annotated[int, typer.Argument(metavar="ID", help="Number from `backhaul alert list`.")],
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
    """List active alerts: since when, their text, and who was notified."""
    from pipelines import alerts

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
            "told": " ".join(json.loads(r["told"])),
        }
        for r in found.to_dict("records")
    ]
    print_rows(rows, output, "Alerts")
