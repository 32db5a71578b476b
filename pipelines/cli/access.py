"""Verbs of who may see what: the readers there are, the endpoint's keys of theirs, what was written down."""

from typing import Annotated

import typer

from pipelines.cli.app import app
from pipelines.cli.options import Format, FormatOption, Warehouse, example, settings_of
from pipelines.cli.output import print_rows
from pipelines.errors import AccessError


@app.command(epilog=example("backhaul readers"))
def readers(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List who may see what, and what of it no row of the build is of. Raises what is wrong in the file of readers."""
    from pipelines.access import load_readers
    from pipelines.load import within
    from pipelines.metrics import dimension_values

    settings = settings_of(warehouse)
    found = load_readers(settings)
    rows = []
    with within.opened(settings) as build:
        for one in found.every:
            missing = [
                str(value)
                for name, values in one.scope.allowed.items()
                for value in values
                if value not in dimension_values(build, name)
            ]
            told = {"kind": one.kind, "reader": one.name, "role": one.role, "sees": one.scope.text or "everything"}
            rows.append({**told, "of_no_row": ", ".join(missing)})
    why = f"There is nobody in {settings.readers_file}: whoever may write the folder is the owner."
    print_rows(rows, output, "Readers", "" if rows else why)


@app.command(name="reader-key", epilog=example("backhaul reader-key erp"))
def reader_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a `key` in the readers' file.")],
    warehouse: Warehouse = "warehouse",
) -> None:
    """Make the key that a reader shows the endpoint, in place of an earlier one. It is printed once."""
    from pipelines.access import keys

    typer.echo(keys.make(settings_of(warehouse), name))


@app.command(epilog=example("backhaul audit --limit 20"))
def audit(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Newest events to list.")] = 100,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List who signed in, was refused, exported or changed something; exit 1 where the log was altered."""
    from pipelines.access import audit as log

    settings = settings_of(warehouse)
    rows = [dict(row) for row in log.events(settings, limit)]
    print_rows(rows, output, "Audit log", "" if rows else f"Nothing is written down in {settings.audit_folder}.")
    if said := log.problem(settings):
        raise AccessError(said)
