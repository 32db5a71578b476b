"""The application: groups of verbs, and how it is run."""

import gc
import os
from typing import Annotated

import typer

from pipelines.cli.console import Verbs, began, run, write_log
from pipelines.cli.options import reading_as

app = typer.Typer(
    name="backhaul",
    cls=Verbs,
    help="Analyse returns: return rates, reasons, promises, margin and emissions.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
pull_app = typer.Typer(
    name="pull",
    help="Download files from a shop system, a carrier or object storage into a folder that `load` reads.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(pull_app)
action_app = typer.Typer(
    name="action",
    help="Log actions on returns, and measure their effect.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(action_app)
work_app = typer.Typer(
    name="work",
    help="Work lists: what is to do, by whom and until when; tick rows off.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(work_app)
quarantine_app = typer.Typer(
    name="quarantine",
    help="Quarantined rows: list, look, fix, and validate again.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(quarantine_app)
alert_app = typer.Typer(
    name="alert",
    help="Alert rules on metrics, evaluated after each load; each alert notifies once.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(alert_app)
subscribe_app = typer.Typer(
    name="subscribe",
    help="Subscriptions: pages and lists sent to readers, by the clock or after each load.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(subscribe_app)
target_app = typer.Typer(
    name="target",
    help="Targets of numbers, for the whole shop or a part of it, from a day on.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(target_app)
annotation_app = typer.Typer(
    name="annotation",
    help="Notes on a day, drawn on charts over time.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(annotation_app)
policy_app = typer.Typer(
    name="policy",
    help="Return policies: list, compare, check and publish versions.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(policy_app)
factor_app = typer.Typer(
    name="factors",
    help="Emission factors: list, import, choose and compare sets and vintages.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(factor_app)
parameter_app = typer.Typer(
    name="parameters",
    help="What emissions assume where nothing is reported: list, and give your own by country and year.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(parameter_app)


@app.callback()
def each(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log each step to standard error, with the trace of errors.")
    ] = False,
    reader: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="READER",
            help="Show what a reader of the readers' file would see: an e-mail, group or key of it.",
            show_default=False,
        ),
    ] = "",
    log: Annotated[
        str | None,
        typer.Option(
            "--log",
            envvar="BACKHAUL_LOG",
            metavar="FILE",
            help="Append the log to a file, one line of JSON per event.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Analyse returns: return rates, reasons, promises, margin and emissions."""
    write_log(to=log, is_verbose=verbose)
    reading_as(reader, began())


def main() -> None:
    """Run the command line. What it writes is its owner's alone."""
    os.umask(0o077)
    gc.set_threshold(20_000, 20, 20)  # most of what a verb makes it keeps: looking for garbage took a tenth of its time
    run(app)
