"""Verbs about policies."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.app import policy_app
from pipelines.cli.console import progress
from pipelines.cli.options import (
    Format,
    FormatOption,
    PolicyFile,
    PolicyId,
    Wait,
    Warehouse,
    day_of,
    example,
    opened,
    settings_of,
)
from pipelines.cli.output import print_rows


@policy_app.command(name="list", epilog=example("backhaul policy list --format csv"))
def policy_list(
    current: Annotated[bool, typer.Option("--current", help="Only the versions in force.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List every version.

    With its market, first day, window, promises, and number of order lines and returns.
    """
    from pipelines.people import policies

    with opened(warehouse) as build:
        found = policies.versions(build)
    names = [
        "policy_id",
        "valid_from",
        "valid_to",
        "market",
        "channel",
        "category",
        "loyalty_tier",
        "exception",
        "window_days",
        "window_until",
        "fee_amount",
        "currency",
        "methods",
        "refund_trigger",
        "promises",
        "order_lines",
        "returns",
    ]
    if current:
        found = found[found["valid_to"].isna()]
    rows = [
        {n: None if row[n] is None or row[n] != row[n] else row[n] for n in names} for row in found.to_dict("records")
    ]
    if output is Format.table:
        empty = {"promises"} | {
            n for n in names if all(row[n] in (None, "", 0) for row in rows)
        }  # `policy show` says what is promised
        rows = [{k: v for k, v in row.items() if k not in empty} for row in rows]
    print_rows(rows, output, "Return policies, newest first")


@policy_app.command(name="show", epilog=example("backhaul policy show policy-FR > policy-FR.yaml"))
def policy_show(
    policy: PolicyId,
    on: Annotated[
        str | None, typer.Option(metavar="DAY", help="The version in force on this day; the latest when left out.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="As a new version, with the earliest possible first day.")] = False,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Print a version as YAML, to read or to edit and publish."""
    from pipelines.people import policies, policy_text

    with opened(warehouse) as build:
        found = policies.published(build, policy, day_of(on, "--on"))
        typer.echo(policy_text.text(policies.renewed(found, build) if new else found), nl=False)


@policy_app.command(name="compare", epilog=example("backhaul policy compare policy-DE 2025-01-31 2026-01-31"))
def policy_compare(
    policy: PolicyId,
    first: Annotated[
        str, typer.Argument(metavar="DAY|ID|FILE", help="A day of the same policy, another policy, or a file.")
    ],
    second: Annotated[
        str | None, typer.Argument(metavar="[DAY]", help="Another day; the latest version when left out.")
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List the differences between two versions, two policies, or a policy and a file."""
    from pipelines.people import policies, policy_text

    with opened(warehouse) as build:
        day = second if second is not None else None
        if Path(first).suffix in (".yaml", ".yml", ".csv"):
            pair = (policies.published(build, policy, day_of(day, "DAY")), policy_text.read(Path(first))[0])
        elif first[:4].isdigit():
            pair = (
                policies.published(build, policy, day_of(first, "DAY")),
                policies.published(build, policy, day_of(day, "DAY")),
            )
        else:
            pair = (
                policies.published(build, policy, day_of(day, "DAY")),
                policies.published(build, first, day_of(day, "DAY")),
            )
    names = [f"{p.policy_id} since {p.valid_from}" for p in pair]
    rows = [{"what": what, "first": a, "second": b} for what, a, b in policies.compare(*pair)]
    print_rows(rows, output, " against ".join(names))


@policy_app.command(name="check", epilog=example("backhaul policy check policy-FR.yaml"))
def policy_check(file: PolicyFile, warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """Check the policies of a file, and compute their earliest first day.

    Exit 1 when one cannot be published.
    """
    from pipelines.people import policies, policy_text

    given = policy_text.read(file)
    with opened(warehouse) as build:
        found = [(p, policies.check(build, p), policies.earliest(build, p)) for p in given]
    rows = [
        {"policy_id": p.policy_id, "earliest_day": first, "where": x.where, "stops": x.is_error, "problem": x.sentence}
        for p, wrong, first in found
        for x in wrong or [policies.Problem("", "nothing is wrong", is_error=False)]
    ]
    print_rows(rows, output, str(file))
    if any(x.is_error for _, wrong, _ in found for x in wrong):
        raise typer.Exit(1)


@policy_app.command(name="publish", epilog=example("backhaul policy publish policy-FR.yaml"))
def policy_publish(
    file: PolicyFile,
    namespace: Annotated[
        str | None, typer.Option(help="Source of the orders the policy applies to, when there are several.")
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Publish the policies of a file as new versions.

    They apply to orders from then on; earlier orders keep their version.
    """
    from pipelines.people import policies, policy_text

    given = policy_text.read(file)
    with opened(warehouse) as build, progress() as say:
        report = policies.publish(settings_of(warehouse, wait), given, build, namespace=namespace, progress=say)
    if not report.is_new_build:
        typer.echo(f"Nothing new: these versions are published already, in build {report.build_id}.")
        return
    for policy in given:
        typer.echo(
            f"{policy.policy_id} is in force for orders from {policy.valid_from} on, in build {report.build_id}."
        )
