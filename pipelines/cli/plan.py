"""Verbs about targets and about notes on days."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import annotation_app, target_app
from pipelines.cli.options import (
    Format,
    FormatOption,
    Key,
    Note,
    Wait,
    Warehouse,
    Where,
    day_of,
    example,
    opened,
    pairs,
    settings_of,
)
from pipelines.cli.output import print_rows

if TYPE_CHECKING:
    from pipelines.people.annotations import Annotation
    from pipelines.targets import Target

Market = Annotated[list[str] | None, typer.Option(metavar="CODE", help="Only this market; repeatable.")]
Category = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this category; repeatable.")]
Withdrawn = Annotated[bool, typer.Option("--withdrawn", help="Include those that were withdrawn.")]


def _cell(
    where: Sequence[str] | None, market: Sequence[str] | None, category: Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    named = {"country": market, "category": category}
    given = pairs(where) | {name: list(values) for name, values in named.items() if values}
    return {name: tuple(values) for name, values in given.items()}


def _said(where: Any) -> str:
    return "; ".join(f"{name}={','.join(values)}" for name, values in where.items()) or "whole shop"


def _target_row(one: "Target") -> dict[str, Any]:
    return {
        "target_id": one.target_id,
        "metric": one.metric,
        "value": one.value,
        "of": _said(one.where),
        "from": one.since,
        "until": one.until,
        "note": one.note,
        "withdrawn_at": one.withdrawn_at,
    }


@target_app.command(
    name="set",
    epilog=example("backhaul target set ultimate_return_rate 25% --from 2026-01-01")
    + "\n\n"
    + example("backhaul target set days_to_refund '10 days' --market FR --category Shoes --from 2026-01-01"),
)
def target_set(
    key: Key,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="A number, with its unit or without: 4%, 0.04, 5 days.")
    ],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day it holds.")],
    last: Annotated[
        str | None,
        typer.Option("--until", metavar="DAY", help="Last day it holds; else until the next one takes over."),
    ] = None,
    market: Market = None,
    category: Category = None,
    where: Where = None,
    note: Note = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Set the target of a rate, a mean or a time, from a day on.

    It is of exactly the part of the shop that is named. An earlier target keeps the days before.
    """
    from pipelines import metrics, targets
    from pipelines.metrics.bind import unit

    begins = day_of(first, "--from")
    assert begins is not None
    settings = settings_of(warehouse, wait)
    with opened(warehouse) as build:
        number = targets.read_value(value, unit(build, metrics.metric(key)))
        cell = _cell(where, market, category)
        wanted = targets.Target(key, number, begins, day_of(last, "--until"), cell, note or "")
        kept = targets.set_target(settings, build, wanted)
    print_rows([_target_row(kept)], output, f"Target {kept.target_id}")


@target_app.command(name="import", epilog=example("backhaul target import targets.csv"))
def target_import(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with the columns metric, value and from, and perhaps until, where and note."),
    ],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Set the targets of a file, all of them or none."""
    from pipelines import targets

    settings = settings_of(warehouse, wait)
    with opened(warehouse) as build:
        kept = targets.set_targets(settings, build, targets.from_file(build, file))
    print_rows([_target_row(one) for one in kept], output, f"Targets of {file}")


@target_app.command(name="list", epilog=example("backhaul target list --withdrawn --format csv"))
def target_list(
    withdrawn: Withdrawn = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List targets by metric and part of the shop, each version with its days."""
    from pipelines import targets

    found = targets.targets(settings_of(warehouse), with_withdrawn=withdrawn)
    print_rows([_target_row(one) for one in found], output, "Targets", "No target is set: `backhaul target set`")


@target_app.command(name="withdraw", epilog=example("backhaul target withdraw 3"))
def target_withdraw(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number from `backhaul target list`.")],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Withdraw a target; it stays on record."""
    from pipelines import targets

    targets.withdraw_target(settings_of(warehouse, wait), number)
    typer.echo(f"Target {number} is withdrawn.")


def _note_row(one: "Annotation") -> dict[str, Any]:
    from pipelines.people import annotations

    return {
        "annotation_id": one.annotation_id or None,
        "on": one.begins_on,
        "kind": one.kind,
        "text": annotations.sentence(one),
        "about": _said(one.where),
        "by": "the warehouse" if one.is_automatic else "a person",
        "is_withdrawn": one.is_withdrawn,
    }


@annotation_app.command(
    name="add",
    epilog=example(
        "backhaul annotation add 'New sizing on dresses' --on 2026-01-15 --kind product --where category=dresses"
    ),
)
def annotation_add(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What happened, in a few words.")],
    on: Annotated[str, typer.Option("--on", metavar="DAY", help="The day it happened.")],
    kind: Annotated[str, typer.Option(help="promotion, policy, carrier, product, factors, data or other.")] = "other",
    where: Where = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Add a note to a day; charts over time show it as a number, and its text beside them."""
    from pipelines.people import annotations

    day = day_of(on, "--on")
    assert day is not None
    settings = settings_of(warehouse, wait)
    about = {name: tuple(values) for name, values in pairs(where).items()}
    with opened(warehouse) as build:
        kept = annotations.annotate(settings, build, annotations.Annotation(day, kind, text, about))
    print_rows([_note_row(kept)], output, f"Note {kept.annotation_id}")


@annotation_app.command(name="list", epilog=example("backhaul annotation list --written"))
def annotation_list(
    written: Annotated[bool, typer.Option("--written", help="Only those that people wrote.")] = False,
    withdrawn: Withdrawn = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List notes, newest first: those people wrote, and what the warehouse knows by itself."""
    from pipelines.people import annotations

    settings = settings_of(warehouse)
    found = annotations.written(settings, with_withdrawn=withdrawn)
    if not written:
        with opened(warehouse) as build:
            found += [*annotations.known_by_build(build), *annotations.known_by_state(settings)]
    newest = sorted(found, key=lambda one: one.begins_on, reverse=True)
    print_rows([_note_row(one) for one in newest], output, "Notes")


@annotation_app.command(name="withdraw", epilog=example("backhaul annotation withdraw 2"))
def annotation_withdraw(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number from `backhaul annotation list`.")],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Withdraw a note; it stays on record."""
    from pipelines.people import annotations

    annotations.withdraw_annotation(settings_of(warehouse, wait), number)
    typer.echo(f"Note {number} is withdrawn.")
