"""Options and arguments that verbs share, and what they mean."""

import contextlib
import getpass
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from pipelines.cli.console import verb_of_run
from pipelines.errors import SourceError, UnknownValue
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.access import Reader
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


def finite(value: float | None) -> float | None:
    """Refuse what is no number or has no end, which Python reads as numbers."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to count with.")
    return value


Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        callback=finite,
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
    found = Settings(warehouse=path, wait_s=wait)
    _note(found)
    return found


NOTED = {
    "exported": ("export", "report", "backup", "quarantine export"),
    "changed": (
        "load",
        "withdraw",
        "forget",
        "retain",
        "restore",
        "rotate-key",
        "close",
        "company",
        "train",
        "action add",
        "action update",
        "work set",
        "quarantine fix",
        "quarantine word",
        "quarantine map",
        "quarantine undo",
        "quarantine replay",
        "rollback",
        "alert add",
        "alert edit",
        "alert pause",
        "alert withdraw",
        "alert acknowledge",
        "subscribe add",
        "subscribe edit",
        "subscribe pause",
        "subscribe withdraw",
        "target set",
        "target import",
        "target withdraw",
        "annotation add",
        "annotation withdraw",
        "factors import",
        "factors use",
        "parameters import",
        "parameters survey",
        "policy publish",
        "reader-key",
    ),
}
"""Verbs that are written down where a file of readers stands, by what they do."""
_noted: list[str] = []


def _note(settings: Settings) -> None:
    """Write down, once a run, that the owner of the folder exports or changes something, where readers are kept."""
    verb = verb_of_run()
    event = next((event for event, verbs in NOTED.items() if verb in verbs), None)
    if event is None or _noted == [verb] or not settings.readers_file.exists():
        return
    from pipelines.access import OWNER, audit

    who = replace(OWNER, name=getpass.getuser())
    audit.note(settings, event, reader_of(settings) if _as else who, verb, "command line")
    _noted[:] = [verb]


def note_change(settings: Settings, what: str) -> None:
    """Write down a change that is made by a verb that else only looks, where readers are kept."""
    if settings.readers_file.exists():
        from pipelines.access import OWNER, audit

        audit.note(settings, "changed", replace(OWNER, name=getpass.getuser()), what, "command line")


def note_export(settings: Settings, what: str) -> None:
    """Write down that a file leaves by a verb that else only looks; raises AccessError for who may have none."""
    reader = reader_of(settings, READ_AS_ANALYST[0])
    if settings.readers_file.exists():
        from pipelines.access import audit

        audit.note(settings, "exported", reader, what, "command line")


READ_AS = (
    "metrics",
    "metric",
    "accrual",
    "reasons",
    "backtest",
    "promise",
    "at-risk",
    "owed",
    "model",
    "explain",
    "levers",
    "uncertainty",
    "forecast",
    "claims",
    "mcp",
    "work list",
    "dispose",
    "simulate",
    "policy list",
    "policy show",
    "policy compare",
)
"""Verbs that read a build and nothing else, and so can be asked as somebody: all others speak of the whole shop."""
READ_AS_ANALYST = ("export",)
_as: list[str] = []  # whom this run reads as; the owner of the folder where nobody is named


def reading_as(name: str, verb: str) -> None:
    """Read as a reader of the file from here on; raises AccessError for a verb that is not a reader's."""
    _as[:], _noted[:] = [name] if name else [], []
    if name and verb not in (*READ_AS, *READ_AS_ANALYST):
        from pipelines.errors import AccessError

        raise AccessError(f"`{verb}` speaks of the whole shop or changes it: no reader of a file sees it this way.")


def reader_of(settings: Settings, verb: str = "") -> "Reader":
    """Give who reads: whom `--as` names, else the owner; raises AccessError for who is not in the file, or may not."""
    from pipelines.access import OWNER, load_readers
    from pipelines.errors import AccessError

    if not _as:
        return OWNER
    found = load_readers(settings).named(_as[0])
    if found is None:
        raise AccessError(f"{_as[0]} is not in {settings.readers_file}. `backhaul readers` lists who is.")
    if verb in READ_AS_ANALYST and not found.may("export"):
        raise AccessError(f"A {found.role} looks and takes no files; make {found.name} an analyst for `{verb}`.")
    return found


def refuse_password(address: str, variable: str) -> None:
    """Raise SourceError for an address whose password stands on the command line."""
    if urlsplit(address).password and any(address in argument for argument in sys.argv[1:]):
        raise SourceError(
            f"Everybody on this machine sees a password on a command line. Put the address into {variable}, or the"
            " password into PGPASSWORD."
        )


def _opened_for(settings: Settings, reader: "Reader") -> "Build":
    """Open the build that a reader sees; what loads is imported for a scope alone."""
    if reader.scope:
        from pipelines.load import within

        return within.opened(settings, reader.scope)
    from pipelines.warehouse.build import current_build

    return current_build(settings.warehouse)


@contextlib.contextmanager
def opened(warehouse: str) -> Iterator["Build"]:
    """Open the warehouse for reading, within the scope of whom `--as` names."""
    if warehouse.startswith("postgres"):
        if _as:
            raise SourceError("A copied build is read whole: `--as` wants the warehouse folder.")
        refuse_password(warehouse, "BACKHAUL_WAREHOUSE")
        from pipelines.warehouse.engine import open_postgresql

        address, _, schema = warehouse.partition("#")
        build = open_postgresql(address, schema or "backhaul")
    else:
        settings = settings_of(warehouse)
        build = _opened_for(settings, reader_of(settings, verb_of_run()))
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
            "Only what had happened by the end of this day, as known today, with today's curves and "
            "priors; `backhaul backtest` also uses the curves of that day."
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


class Against(StrEnum):
    """What a metric is compared with."""

    before = "before"
    year = "year"
    to_date = "to-date"
    target = "target"


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
Money = Annotated[
    float | None, typer.Option(callback=finite, help="Expected saving per year, in the reporting currency.")
]
Carbon = Annotated[float | None, typer.Option(callback=finite, help="Expected saving per year, in kg CO2e.")]
Note = Annotated[str | None, typer.Option(help="Note in free text.")]
Effective = Annotated[
    str | None, typer.Option("--effective", metavar="DAY", help="First day in effect; sets the status to done.")
]


PolicyId = Annotated[str, typer.Argument(metavar="ID", help="Policy from `backhaul policy list`.")]
PolicyFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="YAML as written by `policy show`, or a canonical CSV.")
]
To = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        help=(
            "Recipient: mailto:NAME@HOST (needs BACKHAUL_SMTP), https://HOST/PATH, slack+https://HOST/PATH or"
            " teams+https://HOST/PATH; repeatable."
        ),
    ),
]
