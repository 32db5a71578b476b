"""Verbs about work lists."""

import getpass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import work_app
from pipelines.cli.options import (
    Due,
    Format,
    FormatOption,
    Note,
    Owner,
    Wait,
    Warehouse,
    Where,
    day_of,
    example,
    filters_of,
    opened,
    pairs,
    question_of,
    settings_of,
)
from pipelines.cli.output import print_rows, records_of, why_lacking

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.people.work import Tally

ListName = Annotated[
    str,
    typer.Argument(metavar="LIST", help="`refunds-due`, `at-risk`, `claims`, `products`, `goods` or `quarantine`."),
]
_SHOWN = {
    "refunds-due": ("due_at", "days_left", "amount", "promise_id", "country", "method", "carrier"),
    "at-risk": ("at_stake", "probability", "due_at", "amount", "stage", "country", "carrier"),
    "claims": ("carrier", "status", "amount", "deadline_on", "days_left"),
    "products": ("name", "category", "sold", "rate", "low", "high", "category_rate", "at_stake"),
    "goods": ("units", "margin", "value"),
    "quarantine": ("rows", "file", "line"),
}
"""Columns of a list beside what its rows are of and what people did; a machine's format has all of them."""


@work_app.command(
    name="list",
    epilog=example("backhaul work list refunds-due --owner Nadia")
    + "\n\n"
    + example("backhaul work list claims --state all --format csv"),
)
def work_list(
    name: ListName,
    state: Annotated[
        str,
        typer.Option(
            help="`todo` (open, started, or done but still open), `open`, `started`, `held`, `done`, `still_open`,"
            " `settled` or `all`."
        ),
    ] = "todo",
    owner: Annotated[str | None, typer.Option(help="Only the rows of this person.")] = None,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to list.")] = 50,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List the rows of a work list, with state, owner, due date and note."""
    from pipelines.people import work

    one = work.work_list(name)
    if state not in ("todo", "all", *work.ALL_STATES):
        raise typer.BadParameter(f"{state} is no state; see --help.", param_hint="--state")
    settings = settings_of(warehouse)
    with opened(warehouse) as build:
        question = question_of().but(where=filters_of(build, one.metric, where) if one.metric else pairs(where))
        found, changed = work.rows(settings, build, name, question), work.changes(settings, build, name)
        laid = work.laid(build, name, found, changed)
        of_then = work.open_then(settings, build, name, question, work.begun(build, changed))
        tally = work.tally(build, laid, changed, of_then, is_filtered=bool(question.where))
        why = why_lacking(build, one.metric) if one.metric else ""
    if state != "all":
        laid = laid[laid["work_state"].isin(work.TODO if state == "todo" else [state])]
    if owner is not None:
        laid = laid[laid["work_owner"].eq(owner)]
    print_rows(_listed(laid, name, output, limit), output, _counted(tally), why if found.empty else "")


def _counted(tally: "Tally") -> str:
    said = f"{tally.todo:,} to do, {tally.still_open:,} of them done and still open in the data"
    since = f" since {tally.since:%Y-%m-%d}" if tally.since else ""
    return f"{said}; {tally.done:,} done by hand, {tally.settled:,} settled by the data{since}"


def _listed(laid: "pd.DataFrame", name: str, output: Format, limit: int) -> list[dict[str, Any]]:
    """Give the rows with what people did first; in a table the columns that are worked by, and days without a time."""
    people = {"work_state": "state", "work_owner": "owner", "work_due_on": "due_on", "work_note": "note"}
    more = {"work_action_id": "action_id", "work_changed_at": "changed_at", "work_changed_by": "changed_by"}
    named = laid.head(limit).rename(columns={"due_on": "legal_due_on"}).rename(columns=people | more)
    first = ["item", *people.values()]
    rest = [n for n in named if n not in (*first, *more.values(), "work_change_id", "is_listed")]
    if output is Format.table:
        rest = [n for n in _SHOWN[name] if n in named]
    shown = named[[*first, *rest, *([] if output is Format.table else more.values())]]
    rows = [{k: None if v != v else v for k, v in row.items()} for row in records_of(shown.astype(object))]
    if output is not Format.table:
        return rows
    return [{k: v.date() if isinstance(v, datetime) else v for k, v in row.items()} for row in rows]


@work_app.command(
    name="set",
    epilog=example("backhaul work set refunds-due shop:R100035-1 --state done --note 'paid by hand'")
    + "\n\n"
    + example("backhaul work set claims shop:P100 shop:P101 --owner Nadia --due 2026-02-06"),
)
def work_set(
    name: ListName,
    rows: Annotated[list[str], typer.Argument(metavar="ID...", help="Rows, by the `item` of `backhaul work list`.")],
    state: Annotated[str | None, typer.Option(help="`open`, `started`, `held` (on hold) or `done`.")] = None,
    owner: Owner = None,
    due: Due = None,
    note: Note = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Tick, assign or annotate rows of a work list; an empty text takes an owner, due date or note away.

    Of rows that somebody else changes at the same time, the last change counts.
    """
    from pipelines.people import work

    given: dict[str, Any] = {"state": state, "owner": owner, "note": note}
    values = {k: v for k, v in given.items() if v is not None}
    if due is not None:
        values["due_on"] = day_of(due, "--due") if due else None
    settings = settings_of(warehouse, wait)
    with opened(warehouse) as build:
        laid = work.laid(build, name, work.rows(settings, build, name), work.changes(settings, build, name))
        listed = set(laid.loc[laid["is_listed"], "item"])
        changed = work.change(settings, build, name, rows, getpass.getuser(), listed=listed, **values)
    typer.echo(f"{name}: {changed.rows:,} of {len(set(rows)):,} rows changed. Next: backhaul work list {name}")
