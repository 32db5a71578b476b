"""Verbs about rows in quarantine."""

import csv
import getpass
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import quarantine_app
from pipelines.cli.console import progress
from pipelines.cli.options import Format, FormatOption, Note, Wait, Warehouse, example, settings_of
from pipelines.cli.output import print_rows

if TYPE_CHECKING:
    from pipelines.settings import Settings

Row = Annotated[str, typer.Argument(metavar="FILE:LINE", help="Row from `backhaul quarantine list`.")]
TableName = Annotated[str, typer.Option("--table", help="Table of the row, where its line gave several.")]
RowId = Annotated[str, typer.Option("--id", help="Id of the row, where its line gave several.")]
LoadId = Annotated[str, typer.Option("--load", metavar="LOAD", help="Load of the row; the newest when left out.")]
SourceName = Annotated[str, typer.Option("--source", metavar="NAMESPACE", help="Only the rows of this source.")]
NEXT = "Next: backhaul quarantine replay"
EXPORTED = ("load_id", "source", "table", "row", "id", "rules", "column", "value", "new")


@quarantine_app.command(
    name="list",
    epilog=example("backhaul quarantine list --rule bad_time") + "\n\n" + example("backhaul quarantine list --fields"),
)
def list_rows(
    source: SourceName = "",
    table: Annotated[str, typer.Option("--table", help="Only the rows of this table.")] = "",
    rule: Annotated[str, typer.Option(help="Only the rows that break this rule, or a rule of this column.")] = "",
    fields: Annotated[
        bool, typer.Option("--fields", help="Accepted rows with a field that could not be read instead.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows to list.")] = 50,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List quarantined rows, each with every rule that it breaks, and the fix that waits for `replay`."""
    from pipelines.load import quarantine

    settings = settings_of(warehouse)
    found = quarantine.rows(settings, source=source, thing=table, rule=rule, fields=fields, limit=limit)
    named = [
        {
            "row": f"{row['file']}:{row['line']}",
            "table": row["thing"],
            "id": row["item"] or None,
            "rules": row["rules"],
            "value": row["value"] or None,
            "fix": row["fix_id"],
            "source": row["source"],
            "load": row["load_id"],
        }
        for row in found
    ]
    print_rows(named, output, "Rows in quarantine, newest load first")


@quarantine_app.command(epilog=example("backhaul quarantine show order_line.csv:17"))
def show(
    row: Row,
    table: TableName = "",
    item: RowId = "",
    load_id: LoadId = "",
    values: Annotated[
        bool, typer.Option("--values", help="Show values as the file has them; never of customers, places, notes.")
    ] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Show the columns of one row with the rules that they break; what cannot be read is shown by its shape."""
    from pipelines.load import quarantine

    settings = settings_of(warehouse)
    found = quarantine.one(settings, row, thing=table, item=item, load_id=load_id)
    cells = quarantine.look(settings, found, whole=values)
    rows = [{"column": c.column, "value": c.value or None, "breaks": ", ".join(c.rules) or None} for c in cells]
    print_rows(rows, output, f"{row}, {found['thing']}: {found['rules']}")


@quarantine_app.command(
    epilog=example("backhaul quarantine fix order_line.csv:17 units=1 ordered_at=2026-01-03T10:00:00Z")
    + "\n\n"
    + example("backhaul quarantine fix order_line.csv:18 --leave-out")
    + "\n\n"
    + example("backhaul quarantine fix --from fixes.csv")
)
def fix(
    row: Annotated[
        str | None, typer.Argument(metavar="FILE:LINE", help="Row from `backhaul quarantine list`.", show_default=False)
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="COLUMN=VALUE...", help="What counts in each column.", show_default=False),
    ] = None,
    leave_out: Annotated[bool, typer.Option("--leave-out", help="The row is none: leave it out.")] = False,
    table: TableName = "",
    item: RowId = "",
    load_id: LoadId = "",
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Fixes from a file of `quarantine export`, its column `new` filled."
        ),
    ] = None,
    note: Note = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Fix a quarantined row: say what counts in its columns, or leave it out. The raw file stays as it is."""
    from pipelines.load import quarantine

    settings = settings_of(warehouse, wait)
    if from_file is not None:
        numbers = _fixed_from(settings, from_file, note or "")
    elif row is None:
        raise typer.BadParameter("Give a row as FILE:LINE, or a file with --from.", param_hint="FILE:LINE")
    else:
        found = quarantine.one(settings, row, thing=table, item=item, load_id=load_id)
        if leave_out:
            numbers = quarantine.leave_out(settings, found, getpass.getuser(), note=note or "")
        else:
            numbers = quarantine.fix_row(settings, found, _given(values), getpass.getuser(), note=note or "")
    typer.echo(f"Kept {_numbered(numbers)}. {NEXT}")


def _given(values: list[str] | None) -> dict[str, str]:
    given = {}
    for pair in values or []:
        column, sign, value = pair.partition("=")
        if not sign:
            raise typer.BadParameter(f"{pair} is not COLUMN=VALUE, for example units=1.", param_hint="COLUMN=VALUE")
        given[column] = value
    return given


def _numbered(numbers: list[int]) -> str:
    return f"fix {numbers[0]}" if len(numbers) == 1 else f"{len(numbers):,} fixes ({numbers[0]} to {numbers[-1]})"


def _fixed_from(settings: "Settings", file: Path, note: str) -> list[int]:
    """Make the fixes of a file of `export`: every row whose column `new` holds something."""
    from pipelines.errors import QuarantineError, SourceError
    from pipelines.load import quarantine

    try:
        with file.open(newline="", encoding="utf-8-sig") as content:
            rows = [row for row in csv.DictReader(content) if (row.get("new") or "").strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{file.name[:60]} cannot be read. Give a file of `backhaul quarantine export`.") from error
    if rows and (lacking := [name for name in EXPORTED if name not in rows[0]]):
        raise SourceError(f"{file.name[:60]} lacks the column {lacking[0]}. Give a file of `quarantine export`.")
    together: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        place = tuple(str(row[n]).removeprefix("'") for n in ("row", "table", "id", "load_id"))
        together.setdefault(place, {})[str(row["column"])] = str(row["new"]).removeprefix("'")
    numbers: list[int] = []
    for (where, table, item, load_id), values in together.items():
        try:
            found = quarantine.one(settings, where, thing=table, item=item, load_id=load_id)
            numbers += quarantine.fix_row(settings, found, values, getpass.getuser(), note=note)
        except QuarantineError as error:
            kept = f" The {len(numbers)} fixes before it are kept." if numbers else ""
            raise QuarantineError(f"{where}: {error}{kept}") from error
    if not numbers:
        raise SourceError(f"{file.name[:60]} holds no fix: fill its column `new`.")
    return numbers


@quarantine_app.command(
    epilog=example("backhaul quarantine word return_event event Retourné received --source shop")
    + "\n\n"
    + example("backhaul quarantine word return_event reason_raw 'trop petit' size_small --source shop")
)
def word(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Table of the rows, for example `return_event`.")],
    column: Annotated[str, typer.Argument(metavar="COLUMN", help="Column that holds the wording.")],
    old: Annotated[str, typer.Argument(metavar="WORDING", help="What the source writes.")],
    new: Annotated[str, typer.Argument(metavar="MEANING", help="What it means, in our words.")],
    source: Annotated[str, typer.Option("--source", metavar="NAMESPACE", help="Source that writes it.")],
    note: Note = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Say what a wording of a source means, wherever it writes it, in later files too."""
    from pipelines.load import quarantine

    settings = settings_of(warehouse, wait)
    who = getpass.getuser()
    numbers = quarantine.fix_wording(settings, source, table, column, old, new, who, note=note or "")
    typer.echo(f"Kept {_numbered(numbers)}. {NEXT}")


@quarantine_app.command(name="map", epilog=example("backhaul quarantine map orders.yaml --source orders"))
def map_again(
    mapping: Annotated[Path, typer.Argument(metavar="MAPPING", help="Corrected mapping file (YAML).")],
    source: Annotated[str, typer.Option("--source", metavar="NAMESPACE", help="Source whose files it reads.")],
    note: Note = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Read the loaded files of a source by a corrected mapping, in place of the one its newest load was made by."""
    from pipelines.load import quarantine

    settings = settings_of(warehouse, wait)
    numbers = quarantine.fix_mapping(settings, source, mapping, getpass.getuser(), note=note or "")
    typer.echo(f"Kept {_numbered(numbers)}. {NEXT}")


@quarantine_app.command(epilog=example("backhaul quarantine fixes --withdrawn"))
def fixes(
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Also list fixes that were taken back.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List fixes: who made which, when, of what, the old value and the new."""
    from pipelines.load import quarantine

    found = quarantine.made(settings_of(warehouse), withdrawn=withdrawn)
    print_rows([_fix_row(fix, output) for fix in found], output, "Fixes, newest first")


def _fix_row(fix: dict[str, Any], output: Format) -> dict[str, Any]:
    """Give a fix as it is listed; a table leaves out the text of a mapping."""
    is_text = fix["kind"] == "mapping" and output is Format.table
    row = {
        "fix": fix["fix_id"],
        "kind": fix["kind"],
        "row": f"{fix['file']}:{fix['line']}" if fix["file"] else None,
        "table": fix["thing"],
        "column": fix["column"],
        "old": fix["old"] or None,
        "new": "(a mapping)" if is_text else fix["new"] or None,
        "source": fix["source"],
        "by": fix["created_by"],
        "at": fix["created_at"].replace(microsecond=0),
        "replayed_at": fix["replayed_at"] and fix["replayed_at"].replace(microsecond=0),
        "note": fix["note"],
    }
    return row if fix["withdrawn_at"] is None else row | {"withdrawn_at": fix["withdrawn_at"].replace(microsecond=0)}


@quarantine_app.command(epilog=example("backhaul quarantine undo 3"))
def undo(
    number: Annotated[int, typer.Argument(metavar="FIX", help="Number from `backhaul quarantine fixes`.")],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Take a fix back; it stays on record."""
    from pipelines.load import quarantine

    quarantine.withdraw_fix(settings_of(warehouse, wait), number, getpass.getuser())
    typer.echo(f"Fix {number} is taken back. {NEXT}")


@quarantine_app.command(epilog=example("backhaul quarantine replay"))
def replay(
    loads: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LOAD...", help="Loads to validate again beside those that fixes are of.", show_default=False
        ),
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Validate the loads that new fixes are of again, and publish a build that holds them."""
    from pipelines.load import quarantine

    settings = settings_of(warehouse, wait)
    with progress() as say:
        played, report = quarantine.replay(settings, loads=loads or (), progress=say)
    if not played:
        typer.echo("Nothing to replay: no fix was made or taken back since the last one.")
        return
    print_rows(report.counts + report.derived, output, "Rows read again, by result of the validation")
    if output is Format.table:
        left = sum(c["quarantined"] for c in report.counts + report.derived)
        typer.echo(f"Loads validated again: {len(played):,}; rows of them still in quarantine: {left:,}.")
        typer.echo(f"Build {report.build_id} holds them. Next: backhaul history")


@quarantine_app.command(epilog=example("backhaul quarantine export fixes.csv --rule bad_time"))
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV file to write.")],
    source: SourceName = "",
    table: Annotated[str, typer.Option("--table", help="Only the rows of this table.")] = "",
    rule: Annotated[str, typer.Option(help="Only the rows that break this rule, or a rule of this column.")] = "",
    warehouse: Warehouse = "warehouse",
) -> None:
    """Write quarantined rows to a CSV file, a line a column at fault; fill its column `new` for `fix --from`."""
    from pipelines.load import quarantine
    from pipelines.outputs.formulas import guarded
    from pipelines.settings import write_whole

    found = quarantine.rows(settings_of(warehouse), source=source, thing=table, rule=rule)
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(EXPORTED)
    lines = 0
    for row in found:
        place = (row["load_id"], row["source"], row["thing"], f"{row['file']}:{row['line']}", row["item"] or "")
        for number, broken in enumerate(str(row["rules"]).split(", ")):
            value = (row["value"] or "") if number == 0 else ""
            cells = (*place, row["rules"], broken.split()[-1], value, "")
            writer.writerow([guarded(str(cell)) for cell in cells])
            lines += 1
    write_whole(file, written.getvalue())
    typer.echo(
        f"Rows: {len(found):,}, in {lines:,} lines of {file}. Next: fill `new`, then quarantine fix --from {file}"
    )
