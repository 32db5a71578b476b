"""Verbs about subscriptions."""

import calendar
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pipelines.cli.app import subscribe_app
from pipelines.cli.console import errors, signs
from pipelines.cli.options import Format, FormatOption, To, Wait, Warehouse, example, opened, pairs, settings_of
from pipelines.cli.output import print_rows

if TYPE_CHECKING:
    from pipelines.subscriptions import Subscription


class Every(StrEnum):
    """When it is sent."""

    load = "load"
    daily = "daily"
    weekly = "weekly"
    monthly = "monthly"


class File(StrEnum):
    """What goes along."""

    none = "none"
    pdf = "pdf"
    xlsx = "xlsx"
    csv = "csv"


class Language(StrEnum):
    """Languages of the pages."""

    en = "en"
    fr = "fr"


class Period(StrEnum):
    """Periods of the pages."""

    year = "12m"
    half = "6m"
    quarter = "90d"
    month = "30d"
    to_date = "ytd"
    all = "all"


EveryOption = Annotated[
    Every | None, typer.Option(help="After each load that publishes a build, or by the clock.", show_default=False)
]
FileOption = Annotated[
    File | None,
    typer.Option(help="The page as pdf, or its list (late, products, book) as xlsx or csv.", show_default=False),
]
LanguageOption = Annotated[Language | None, typer.Option(help="Language of what is sent.", show_default=False)]
HourOption = Annotated[int | None, typer.Option(min=0, max=23, help="Hour of the day.", show_default=False)]
DayOption = Annotated[
    int | None,
    typer.Option(min=1, max=28, help="Day of the week (1: Monday) or of the month (1-28).", show_default=False),
]
ZoneOption = Annotated[
    str | None, typer.Option(metavar="ZONE", help="Time zone, such as Europe/Paris.", show_default=False)
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(metavar="DIM=VALUE", help="Filter of the page, for example country=FR; repeatable."),
]
PeriodOption = Annotated[Period | None, typer.Option(help="Period of the page.", show_default=False)]
Number = Annotated[int, typer.Argument(metavar="ID", help="Number from `backhaul subscribe list`.")]


def _row(one: "Subscription") -> dict[str, Any]:
    from pipelines.delivery import shown

    at = f"{one.hour:02}:00 {one.zone}"
    on = {"weekly": f"on {calendar.day_name[one.day - 1]}s, ", "monthly": f"on day {one.day}, "}.get(one.every, "")
    clock = "" if one.every == "load" else f"{on}{at}"
    state = "paused" if one.is_paused else "failing" if one.problem else "active"
    return {
        "id": one.subscription_id,
        "reader": one.reader or "owner",
        "page": one.page,
        "filters": "; ".join(f"{name}={','.join(codes)}" for name, codes in one.codes.items()),
        "file": one.file,
        "language": one.language,
        "every": f"{one.every} {clock}".strip(),
        "to": " ".join(map(shown, one.to)),
        "state": state,
        "last_sent_at": one.sent_at,
        "problem": one.problem,
    }


def _changed(
    one: "Subscription", given: dict[str, Any], where: list[str] | None, period: Period | None
) -> "Subscription":
    """Give a subscription with the options that were given."""
    said = {name: str(value) if isinstance(value, StrEnum) else value for name, value in given.items()}
    codes = dict(one.codes)
    if where is not None:
        codes = {n: v for n, v in codes.items() if n in ("period", "against")}
        codes |= {n: tuple(v) for n, v in pairs(where).items()}
    if period is not None:
        codes = {n: v for n, v in codes.items() if n != "period"}
        codes |= {} if period is Period.year else {"period": (str(period),)}
    kept: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if "to" in kept:
        kept["to"] = tuple(dict.fromkeys(kept["to"]))
    return replace(one, codes=codes, **kept)


@subscribe_app.command(
    name="add",
    epilog=example("backhaul subscribe add today --every weekly --to mailto:anna@example.org --file pdf")
    + "\n\n"
    + example(
        "backhaul subscribe add late --every daily --file xlsx --zone Europe/Paris --to mailto:refunds@example.org"
    ),
)
def subscribe_add(
    page: Annotated[str, typer.Argument(metavar="PAGE", help="Address of a page, such as today, late or margin.")],
    every: EveryOption = Every.weekly,
    to: To = None,
    reader: Annotated[
        str, typer.Option("--for", metavar="READER", help="Whose it is: a reader of the file.", show_default=False)
    ] = "",
    file: FileOption = None,
    language: LanguageOption = None,
    hour: HourOption = None,
    day: DayOption = None,
    zone: ZoneOption = None,
    where: WhereOption = None,
    period: PeriodOption = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Send a page to a reader, from its next period on."""
    from pipelines import subscriptions

    given = {"file": file, "language": language, "hour": hour, "day": day, "zone": zone, "to": to}
    with opened(warehouse):
        first = subscriptions.Subscription(0, reader, page, str(every or Every.weekly), ())
        wanted = _changed(first, given, where, period)
        kept = subscriptions.add(settings_of(warehouse, wait), wanted, "command line")
    print_rows([_row(kept)], output, f"Subscription {kept.subscription_id}")


@subscribe_app.command(
    name="edit", epilog=example("backhaul subscribe edit 2 --hour 6 --to mailto:anna@example.org --language fr")
)
def subscribe_edit(
    number: Number,
    every: EveryOption = None,
    to: To = None,
    file: FileOption = None,
    language: LanguageOption = None,
    hour: HourOption = None,
    day: DayOption = None,
    zone: ZoneOption = None,
    where: WhereOption = None,
    period: PeriodOption = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Change what a subscription sends, when or where; what is not given stays."""
    from pipelines import subscriptions
    from pipelines.errors import SubscriptionError

    settings = settings_of(warehouse, wait)
    given = {"every": every, "file": file, "language": language, "hour": hour, "day": day, "zone": zone, "to": to}
    known = next((one for one in subscriptions.subscriptions(settings) if one.subscription_id == number), None)
    if known is None:
        raise SubscriptionError(f"There is no subscription {number}. `backhaul subscribe list` shows them.")
    wanted = _changed(known, given, where, period)
    subscriptions.edit(settings, wanted)
    print_rows([_row(wanted)], output, f"Subscription {number}")


@subscribe_app.command(name="list", epilog=example("backhaul subscribe list"))
def subscribe_list(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List subscriptions, with what each sent last and why one fails."""
    from pipelines import subscriptions

    print_rows([_row(one) for one in subscriptions.subscriptions(settings_of(warehouse))], output, "Subscriptions")


@subscribe_app.command(name="pause", epilog=example("backhaul subscribe pause 2"))
def subscribe_pause(
    number: Number,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the next period.")] = False,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Stop sending a subscription for a while, or go on."""
    from pipelines import subscriptions

    subscriptions.pause(settings_of(warehouse, wait), number, is_paused=not resume)
    typer.echo(f"Subscription {number} {'goes on' if resume else 'is paused'}.")


@subscribe_app.command(name="withdraw", epilog=example("backhaul subscribe withdraw 2"))
def subscribe_withdraw(number: Number, wait: Wait = 0, warehouse: Warehouse = "warehouse") -> None:
    """End a subscription; it stays on record."""
    from pipelines import subscriptions

    subscriptions.withdraw(settings_of(warehouse, wait), number)
    typer.echo(f"Subscription {number} is withdrawn.")


@subscribe_app.command(name="send", epilog=example("backhaul subscribe send"))
def subscribe_send(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what is due; send nothing.")] = False,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Send what is due now; for a scheduler such as cron, each load does the same at its end."""
    from pipelines import subscriptions

    settings = settings_of(warehouse, wait)
    if dry_run:
        with opened(warehouse):
            due = subscriptions.waiting(settings)
        rows = [_row(one) | {"to": " ".join(missing), "period": period} for one, period, missing in due]
        print_rows(rows, output, "Due now; nothing is sent")
        return
    with opened(warehouse):
        outcomes = subscriptions.send(settings)
    rows = [
        {"id": one.subscription.subscription_id, "page": one.subscription.page, "sent": len(one.reached)}
        for one in outcomes
    ]
    print_rows(rows, output, "Sent")
    for one in outcomes:
        if one.problem:
            errors.print(Text(signs(one.sentence())), soft_wrap=True)
    if any(one.problem for one in outcomes):
        raise typer.Exit(1)
