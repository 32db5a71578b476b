"""Options and arguments that verbs share, and what they mean."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from pipelines.errors import SourceError, UnknownValue
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.metrics.question import Question
    from pipelines.warehouse.engine import Build


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"


Warehouse = Annotated[
    str,
    typer.Option(
        "--warehouse",
        envvar="BACKHAUL_WAREHOUSE",
        metavar="URL",
        help=(
            "Warehouse folder, or the postgresql:// URL of a copied build, with #SCHEMA when it is not backhaul"
            " (reading only)."
        ),
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.")]


def example(text: str) -> str:
    """Write an example under a verb's help."""
    return f"Example: [bold]{text}[/bold]"


Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        min=0,
        metavar="SECONDS",
        help="Seconds to wait for another load or writer to end.",
        show_default=False,
    ),
]


def settings_of(warehouse: str, wait: float = 0) -> Settings:
    """Give the settings of a warehouse that can be written; raises SourceError for one that cannot."""
    if "://" in warehouse and not warehouse.startswith(("duckdb:///", "file://")):
        raise SourceError(
            f"{warehouse.split('://')[0]} warehouses can be read, not written: DuckDB alone loads. Give a folder as"
            " --warehouse."
        )
    path = Path(warehouse.removeprefix("duckdb:///").removeprefix("file://"))
    if path.is_file():
        raise SourceError(f"{path} is a file; a warehouse is a folder. Give another --warehouse.")
    return Settings(warehouse=path, wait_s=wait)


def refuse_password(address: str, variable: str) -> None:
    """Raise SourceError for an address whose password stands on the command line."""
    if urlsplit(address).password and any(address in argument for argument in sys.argv[1:]):
        raise SourceError(
            f"Everybody on this machine sees a password on a command line. Put the address into {variable}, or the"
            " password into PGPASSWORD."
        )


@contextlib.contextmanager
def opened(warehouse: str) -> Iterator["Build"]:
    """Open the warehouse for reading."""
    if warehouse.startswith("postgres"):
        refuse_password(warehouse, "BACKHAUL_WAREHOUSE")
        from pipelines.warehouse.engine import open_postgresql

        address, _, schema = warehouse.partition("#")
        build = open_postgresql(address, schema or "backhaul")
    else:
        from pipelines.warehouse.build import current_build

        build = current_build(settings_of(warehouse).warehouse)
    try:
        yield build
    finally:
        build.close()


def day_of(text: str | None, name: str) -> date | None:
    """Read an option that is a day."""
    from pipelines.metrics.question import day_written

    try:
        return day_written(text)
    except UnknownValue as error:
        raise typer.BadParameter(str(error), param_hint=name) from None


def pairs(given: Sequence[str] | None, name: str = "--where") -> dict[str, list[str]]:
    """Read options of the form DIM=VALUE."""
    chosen: dict[str, list[str]] = {}
    for pair in given or []:
        dimension, _, value = pair.partition("=")
        if not value:
            raise typer.BadParameter(f"{pair} is not DIM=VALUE, for example country=FR.", param_hint=name)
        chosen.setdefault(dimension, []).append(value)
    return chosen


def filters_of(build: "Build", key: str, where: Sequence[str] | None) -> dict[str, list[str]]:
    """Read the filters of a question about a metric's rows."""
    from pipelines import metrics

    return metrics.read_filters(build, key, pairs(where))


Key = Annotated[str, typer.Argument(metavar="KEY", help="Key from `backhaul metrics`.")]
By = Annotated[
    list[str] | None,
    typer.Option(metavar="DIM", help="Break down by a dimension, or by month, week or quarter; repeatable."),
]
Since = Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day, on the metric's own date basis.")]
Until = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day, inclusive.")]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="DIM=VALUE", help="Filter on one value, or on several separated by commas; repeatable."),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        metavar="DAY",
        help=(
            "Only facts recorded by the end of this day, with today's curves and priors; `backhaul "
            "backtest` also uses the curves of that day."
        ),
    ),
]


def question_of(since: str | None = None, until: str | None = None, as_of: str | None = None) -> "Question":
    """Read the days of a question; its filters are read against the metric it is put to."""
    from pipelines.metrics.question import Question

    first, last = day_of(since, "--from"), day_of(until, "--to")
    if first and last and first > last:
        raise typer.BadParameter(f"{first} is after --to {last}.", param_hint="--from")
    return Question(since=first, until=last, as_of=day_of(as_of, "--as-of"))


class Part(StrEnum):
    """Which rows behind a metric."""

    numerator = "numerator"
    denominator = "denominator"


On = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="DIM=VALUE",
        help=("Products of the action, for example style_id=ID, category=dresses or country=DE; repeatable."),
    ),
]
Owner = Annotated[str | None, typer.Option(help="Person responsible.")]
Due = Annotated[str | None, typer.Option(metavar="DAY", help="Due date.")]
Money = Annotated[float | None, typer.Option(help="Expected saving per year, in the reporting currency.")]
Carbon = Annotated[float | None, typer.Option(help="Expected saving per year, in kg CO2e.")]
Note = Annotated[str | None, typer.Option(help="Note in free text.")]
Effective = Annotated[
    str | None, typer.Option("--effective", metavar="DAY", help="First day in effect; sets the status to done.")
]


PolicyId = Annotated[str, typer.Argument(metavar="ID", help="Policy from `backhaul policy list`.")]
PolicyFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="YAML as written by `policy show`, or a canonical CSV.")
]
