"""Verbs about actions."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import action_app
from pipelines.cli.options import (
    AsOf,
    Carbon,
    Due,
    Effective,
    Format,
    FormatOption,
    Money,
    Note,
    On,
    Owner,
    Wait,
    Warehouse,
    day_of,
    example,
    opened,
    pairs,
    question_of,
    settings_of,
)
from pipelines.cli.output import print_rows

if TYPE_CHECKING:
    from pipelines.people.actions import Action


def _action_row(found: "Action") -> dict[str, Any]:
    row = {
        n: getattr(found, n)
        for n in (
            "action_id",
            "kind",
            "status",
            "effective_on",
            "owner",
            "due_on",
            "expected_money",
            "expected_kg_co2e",
            "note",
        )
    }
    return {**row, "on": "; ".join(f"{k}={','.join(v)}" for k, v in found.scope.items())}


@action_app.command(
    name="add",
    epilog=example("backhaul action add size_note --on style_id=shop:DR0501 --effective 2025-09-13")
    + "\n\n"
    + example("backhaul action add carrier_call --owner Nadia --due 2026-02-06"),
)
def action_add(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help=(
                "size_note, photo, description, supplier, policy, delisting, claim, extra_shift, carrier_call,"
                " refund_now or supplier_credit."
            ),
        ),
    ],
    on: On = None,
    effective: Effective = None,
    owner: Owner = None,
    due: Due = None,
    money: Money = None,
    carbon: Carbon = None,
    note: Note = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Log an action on products, done or planned."""
    from pipelines.people import actions
    from pipelines.people import actions as actions_module

    scope = pairs(on, "--on")
    values = {
        "owner": owner,
        "expected_money": money,
        "expected_kg_co2e": carbon,
        "note": note,
        "effective_on": day_of(effective, "--effective"),
        "due_on": day_of(due, "--due"),
    }
    settings = settings_of(warehouse, wait)
    with opened(warehouse) as build:
        actions.check_scope(build, kind, scope)
    found = actions_module.log_action(settings, kind, scope, **values)
    print_rows([_action_row(found)], output, f"Logged action {found.action_id}")


@action_app.command(name="update", epilog=example("backhaul action update 3 --effective 2026-02-01 --status done"))
def action_update(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number from `backhaul action list`.")],
    status: Annotated[
        str | None, typer.Option(help="open, done or withdrawn; a withdrawn action stays on record.")
    ] = None,
    effective: Effective = None,
    owner: Owner = None,
    due: Due = None,
    money: Money = None,
    carbon: Carbon = None,
    note: Note = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Change an action, or withdraw it."""
    from pipelines.people import actions

    given = {
        "status": status or ("done" if effective else None),
        "owner": owner,
        "expected_money": money,
        "expected_kg_co2e": carbon,
        "note": note,
        "effective_on": day_of(effective, "--effective"),
        "due_on": day_of(due, "--due"),
    }
    found = actions.update_action(
        settings_of(warehouse, wait), number, **{k: v for k, v in given.items() if v is not None}
    )
    print_rows([_action_row(found)], output, f"Action {number}")


@action_app.command(name="list", epilog=example("backhaul action list --kind size_note --format csv"))
def action_list(
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Include withdrawn actions.")] = False,
    suggested: Annotated[
        bool, typer.Option("--suggested", help="List changes found in the catalogue that are not logged, instead.")
    ] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List logged actions, newest first."""
    from pipelines.people import actions
    from pipelines.people import actions as actions_module

    settings = settings_of(warehouse)
    if suggested:
        with opened(warehouse) as build:
            found = actions.suggested_actions(build, actions_module.actions(settings))
        rows = [{str(k): v for k, v in row.items()} for row in found.to_dict("records") if kind in (None, row["kind"])]
        print_rows(rows, output, "Changes found in the catalogue, not logged")
        return
    listed = actions_module.actions(settings, kind=kind, with_withdrawn=withdrawn)
    print_rows([_action_row(a) for a in listed], output, "Actions")


_MEASURED = (
    "kind",
    "actions",
    "verdict",
    "reason",
    "change",
    "low",
    "high",
    "rate",
    "expected_rate",
    "units",
    "products",
    "controls",
    "weeks",
    "weeks_needed",
    "power",
)


@action_app.command(
    name="measure",
    epilog=example("backhaul action measure 3")
    + "\n\n"
    + example("backhaul action measure --kind size_note --format json"),
)
def action_measure(
    number: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="One action; when left out, all actions of each kind together.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="All actions of this kind together.")] = None,
    as_of: AsOf = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Measure the effect of actions on the return rate against matched products, with its interval or the reason."""
    from pipelines.people import actions
    from pipelines.people import actions as actions_module

    settings = settings_of(warehouse)
    among = actions_module.actions(settings)
    question = question_of(as_of=as_of)
    with opened(warehouse) as build:
        if number is not None:
            chosen = actions_module.find_action(settings, number)
            found = [actions.measure_action(build, chosen, among, question)]
        else:
            kinds = [kind] if kind else sorted({a.kind for a in among})
            found = [actions.measure_kind(build, k, among, question) for k in kinds]
    rows = [m.row() for m in found]
    if output is Format.table:
        rows = [{k: row[k] for k in _MEASURED} for row in rows]
    print_rows(rows, output, "Effect of actions, against matched products without them")
