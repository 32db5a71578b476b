"""The application: groups of verbs, and how it is run."""

import os
from typing import Annotated

import typer

from pipelines.cli.console import Verbs, began, run, write_log

app = typer.Typer(
    name="backhaul",
    cls=Verbs,
    help="See what comes back, why, whether the promise was kept, what it did to the margin and what it emitted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
action_app = typer.Typer(
    name="action",
    help="Log what was done about returns, and measure what followed.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(action_app)
alert_app = typer.Typer(
    name="alert",
    help="Rules on metrics, looked at after each load; who is to be told is told once.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(alert_app)
policy_app = typer.Typer(
    name="policy",
    help="Return policies: what is promised to whom, checked and published as new versions.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(policy_app)
factor_app = typer.Typer(
    name="factors",
    help="Emission factors: what there is, whose set comes first, what another set or vintage would give.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(factor_app)


@app.callback()
def each(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log each step to standard error, faults with their trace.")
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            "--log",
            envvar="BACKHAUL_LOG",
            metavar="FILE",
            help="Add the log to a file: a line of JSON an event.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """See what comes back, why, whether the promise was kept, what it did to the margin and what it emitted."""
    write_log(to=log, is_verbose=verbose)
    began()


def main() -> None:
    """Run the command line. What it writes is its owner's alone."""
    os.umask(0o077)
    run(app)
