"""Verbs of a shop that runs by itself: web hooks are received, and everything else runs on schedule."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipelines.cli.app import app
from pipelines.cli.console import errors, signs
from pipelines.cli.options import Format, FormatOption, Warehouse, example, settings_of
from pipelines.cli.output import print_rows


@app.command(epilog=example("backhaul receive --port 8700"))
def receive(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8700,
    public: Annotated[
        bool, typer.Option("--public", help="Accept other machines; put a server with TLS in front of it.")
    ] = False,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Receive web hooks of Shopify, Loop, AfterShip, Happy Returns, OneStock and others, for the next load.

    An event is on disk before it is answered. Secrets stand in the environment or in the file of hooks beside the
    warehouse (docs/live.md). Ctrl-C stops it.
    """
    from pipelines.receiving import receiver
    from pipelines.receiving.hooks import hooks_of
    from pipelines.web import check_host

    settings = settings_of(warehouse)
    check_host(host, is_public=public)
    application = receiver.application(settings)
    for hook in hooks_of(settings).values():
        typer.echo(f"http://{host}:{port}/hooks/{hook.name} is read by {hook.source}")
    receiver.run(application, host, port)


@app.command(epilog=example("backhaul received") + "\n\n" + example("backhaul received --replay loop"))
def received(
    replay: Annotated[
        str | None,
        typer.Option(metavar="HOOK", help="Read the quarantined events of a hook again.", show_default=False),
    ] = None,
    drop: Annotated[
        str | None, typer.Option(metavar="HOOK", help="Delete the quarantined events of a hook.", show_default=False)
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List events of web hooks that wait for a load, and those that cannot be read, with reasons."""
    from pipelines.receiving import taking

    settings = settings_of(warehouse)
    if replay is not None:
        typer.echo(f"{taking.replay(settings, replay)} events wait again: the next load takes them.")
        return
    if drop is not None:
        typer.echo(f"{taking.drop(settings, drop)} events are deleted.")
        return
    rows = [
        {"hook": one.hook, "events": number, "state": state, "since": one.since if state == "waiting" else None}
        for one in taking.waiting(settings)
        for state, number in [("waiting", one.waiting), *((f"quarantined: {why}", n) for why, n in one.aside.items())]
    ]
    print_rows(rows, output, "Events of web hooks")


@app.command(
    epilog=example("backhaul run schedule.yaml")
    + "\n\n"
    + example("backhaul run schedule.yaml --once")
    + "\n\n"
    + example("backhaul run schedule.yaml --status")
)
def run(
    schedule: Annotated[
        Path, typer.Argument(metavar="FILE", help="YAML: how often, and the verbs to run in order.", show_default=False)
    ],
    once: Annotated[
        bool, typer.Option("--once", help="Run what is due now and end; for cron, a timer or another scheduler.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Run nothing: list how each step went; ends with 1 where one fails.")
    ] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Run verbs on schedule: pull, load, alerts, subscriptions and others, one at a time.

    What was missed is made up for once, what fails is tried again. How it went stands beside the warehouse, in
    status.html of its folder .runs. Ctrl-C stops it.
    """
    from pipelines.scheduling import runner
    from pipelines.scheduling import status as outcomes
    from pipelines.scheduling.schedule import read

    settings = settings_of(warehouse)
    wanted = read(schedule, verbs(), settings.ping_url)
    if status:
        runs = outcomes.read(settings)
        print_rows(outcomes.rows(wanted, runs, runner.now()), output, "Steps, times in UTC")
        for problem in (problems := runs.problems(wanted, runner.now())):
            errors.print(Text(signs(problem)), soft_wrap=True)
        if problems:
            raise typer.Exit(1)
        return
    one = runner.Runner(settings, wanted)
    if not once:
        typer.echo(f"{len(wanted.steps)} steps on schedule; how they went: {settings.runs_folder / 'status.html'}")
        one.forever()
    elif not one.once():
        for problem in outcomes.read(settings).problems(wanted, runner.now()):
            errors.print(Text(signs(problem)), soft_wrap=True)
        raise typer.Exit(1)


def verbs() -> set[str]:
    """Name the verbs of the command line, those of a group with it."""
    found: set[str] = set()
    for name, command in getattr(typer.main.get_command(app), "commands", {}).items():
        inner = getattr(command, "commands", {})
        found |= {f"{name} {one}" for one in inner} if inner else {name}
    return found
