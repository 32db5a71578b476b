"""Verbs that take files in."""

import contextlib
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pipelines.cli.app import app
from pipelines.cli.console import errors, progress, signs, told
from pipelines.cli.options import Format, FormatOption, Wait, Warehouse, example, settings_of
from pipelines.cli.output import print_rows
from pipelines.errors import BackhaulError

if TYPE_CHECKING:
    from pipelines.load import Report


ExportedAt = Annotated[
    datetime | None,
    typer.Option(
        help=(
            "When the files were exported (UTC), if they do not contain it; rows of the later export replace earlier"
            " ones."
        ),
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
    ),
]
Whole = Annotated[
    bool,
    typer.Option(
        "--whole",
        help="Read every row of the mapping's database queries, and withdraw rows that are not there any more.",
    ),
]


@app.command(epilog=example("backhaul sample --out shop-files --orders 20000 --seed 7"))
def sample(
    out: Annotated[Path, typer.Option(help="Folder to write the files to.")],
    orders: Annotated[int, typer.Option(min=100, help="Order lines to simulate.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of the simulation; the same seed gives the same shop.")] = 7,
    truth: Annotated[
        Path | None, typer.Option(help="Also write the true values of the simulation, for tests, to this folder.")
    ] = None,
    output: FormatOption = Format.table,
) -> None:
    """Write the raw files of a simulated fashion retailer that sells from France into Europe."""
    from pipelines.sample import write_sample

    with progress() as say:
        rows = write_sample(out, orders, seed, truth=truth, progress=lambda text, _share: say(text))
    print_rows([{"file": name, "rows": count} for name, count in rows.items()], output, f"Sample shop in {out}")
    if output is Format.table:
        typer.echo(f"Next: backhaul load {out}")


@app.command(
    epilog=example("backhaul load exports/2026-01 --source shopify")
    + "\n\n"
    + example("backhaul load orders.csv --source my-mapping.yaml")
)
def load(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH...", help="Files or folders; without one, unfinished loads are completed.", show_default=False
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help=(
                "Source that wrote the files (canonical, online_retail, shopify) or a mapping file (YAML); recognised"
                " when left out."
            )
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Prefix of this source's ids, when two shops use one system.")
    ] = None,
    exported_at: ExportedAt = None,
    whole: Whole = False,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Load files: copy, map, validate, shape, estimate, check, publish. A second run changes nothing."""
    from pipelines.load import load as run

    settings = settings_of(warehouse, wait)
    try:
        with progress() as say:
            report = run(
                settings,
                paths or [],
                source=source,
                namespace=namespace,
                exported_at=exported_at,
                is_whole=whole,
                progress=say,
            )
    except BackhaulError as error:
        for note in getattr(error, "__notes__", ()):
            errors.print(note, soft_wrap=True, highlight=False, markup=False)
        raise
    told(
        "loaded",
        build_id=report.build_id,
        kind=report.kind,
        counts=report.counts,
        quarantined=len(report.quarantined),
        warnings=report.warnings,
    )
    _print_load(report, output)
    _say_what_does_not_count(report)
    if report.refused:
        raise typer.Exit(1)


def _say_what_does_not_count(report: "Report") -> None:
    """Say which logs have no row that counts, and which files were refused."""
    sentences = [
        f"No row of {count['table']} counts: all {count['read']:,} are in quarantine. The rules above say what is"
        " wrong; correct the files or the mapping and load again."
        for count in report.counts
        if count["read"] and count["quarantined"] == count["read"]
    ]
    for sentence in [*sentences, *(f"Not taken in: {refused}" for refused in report.refused)]:
        errors.print(sentence, soft_wrap=True, highlight=False, markup=False)


def _print_load(report: "Report", output: Format) -> None:
    """Print what a load did."""
    if output is Format.json:
        typer.echo(json.dumps(_load_row(report), indent=2))
        return
    if output is Format.csv:
        print_rows(report.counts, output)
        return
    _print_judged(report, output)
    _say_versions(report)
    _say_left_out(report)
    if not report.is_new_build:
        typer.echo(
            f"Nothing new: the warehouse stays at build {report.build_id}."
            if report.build_id
            else "Nothing has landed: give a file or a folder, see backhaul load --help."
        )
        return
    _print_build(report, output)


def _load_row(report: "Report") -> dict[str, Any]:
    """Give what a load did under the names it has in JSON."""
    return {
        "build_id": report.build_id,
        "is_new_build": report.is_new_build,
        "kind": report.kind,
        "tables": report.counts,
        "derived": report.derived,
        "quarantined": report.quarantined,
        "unread_fields": report.unread,
        "dated_by": report.dated_by,
        "skipped": report.skipped,
        "left_out": report.left_out,
        "refused": report.refused,
        "files": report.files,
        "notes": report.notes,
        "ignored_columns": report.ignored,
        "hidden_texts": report.hidden,
        "changes": report.changes,
        "warnings": report.warnings,
        "alerts": report.alerts,
        "untold": report.unreached,
        "sent": report.sent,
        "failed": report.failed,
        "healed": report.healed,
        "retained": report.retained,
    }


def _print_judged(report: "Report", output: Format) -> None:
    """Print what was mended or put aside, and how rows, lines and fields were judged."""
    if report.retained:
        typer.echo(f"The raw files of {len(report.retained)} loads were deleted for their age.")
    for sentence in report.healed:
        typer.echo(sentence)
    for put_aside in report.failed:
        errors.print(
            f"Load {put_aside['load']} was put aside: {put_aside['problem']}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    if report.counts:
        print_rows(report.counts, output, "Rows read, by result of the validation")
    _print_lines(report, output)
    derived = [c for c in report.derived if c["quarantined"] or c["replaced"] or c["withdrawn"]]
    if derived:
        print_rows(derived, output, "Rows derived from these, where some were quarantined, replaced or withdrawn")
    if report.quarantined:
        print_rows(report.quarantined, output, "Rows in quarantine: correct them and load again")
    if report.unread:
        print_rows(
            report.unread,
            output,
            "Fields that could not be read and count as missing, or empty units that count as one; their rows were"
            " accepted",
        )


def _print_lines(report: "Report", output: Format) -> None:
    """Print what became of the lines of the files, where some are no row."""
    named = ("blank", "preamble", "totals", "within", "left_out", "more_rows")
    if any(row[kind] for row in report.files for kind in named):
        kinds = ("file", "lines", "rows", "header", *(k for k in named if any(row[k] for row in report.files)))
        print_rows(
            [{k: row[k] for k in kinds} for row in report.files],
            output,
            "Lines of the files: rows, and what is none (within: a cell goes on; left_out: by a condition of the"
            " mapping, or only joined to others)",
        )


def _say_left_out(report: "Report") -> None:
    """Say which texts were hidden, which columns and files were not used, and what is odd about others."""
    if report.hidden:
        tables = ", ".join(f"{n} in {thing}" for thing, n in report.hidden.items())
        typer.echo(f"Texts that fewer than five lines share, kept as a keyed hash: {tables}.")
    for thing, columns in report.ignored.items():
        typer.echo(f"{thing}: columns not used: {signs(', '.join(sorted(set(columns))))}")
    if report.left_out:
        names = f"{', '.join(report.left_out[:3])}{' ...' if len(report.left_out) > 3 else ''}"
        typer.echo(
            f"{len(report.left_out)} files of the folder are left out, for no table of the mapping takes them: {names}"
        )
    for sentence in report.notes:
        typer.echo(sentence)
    if report.skipped:
        typer.echo(f"{len(report.skipped)} files were loaded before and are skipped.")


def _print_build(report: "Report", output: Format) -> None:
    """Print what a new build changed, its warnings and alerts, and what stays in quarantine."""
    changed = [
        {"table": t, "rows": c["rows"], "change": c["change"]}
        for t, c in report.changes.items()
        if c["change"] and t.startswith(("fact_", "dim_"))
    ]
    print_rows(changed, output, "Changes")
    print_rows(report.warnings, output, "Warnings") if report.warnings else None
    for sentence in report.alerts:
        typer.echo(f"Alert: {signs(sentence)}")
    for sentence in report.sent:
        typer.echo(signs(sentence))
    for sentence in report.unreached:
        errors.print(Text(signs(sentence)), soft_wrap=True)
    quarantined = sum(c["quarantined"] for c in report.counts + report.derived)
    if quarantined:
        typer.echo(f"{quarantined} rows are in quarantine: backhaul status shows which rule each broke.")
    typer.echo(f"Published build {report.build_id} ({report.kind}). Next: backhaul dashboard")


def _say_versions(report: "Report") -> None:
    """Say which rows replaced or withdrew earlier ones, and what told which is newer."""
    judged = report.counts + report.derived
    replaced, withdrawn = (sum(c[n] for c in judged) for n in ("replaced", "withdrawn"))
    if replaced:
        told = (
            "declared times of export"
            if report.dated_by == "declared"
            else "the files' dates, then the order of landing"
        )
        typer.echo(f"{replaced} rows replace rows of an earlier load: the later export counts, by {told}.")
    if withdrawn:
        typer.echo(f"{withdrawn} rows of earlier loads are withdrawn: backhaul withdrawn lists and restores them.")


@app.command(
    epilog=example("backhaul withdrawn --format csv")
    + "\n\n"
    + example("backhaul withdrawn --restore 20260401T101500000000")
)
def withdrawn(
    restore: Annotated[
        str | None, typer.Option(metavar="LOAD", help="Restore the rows that this load withdrew.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of rows to list.")] = 1000,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List rows that later exports withdrew, or restore those of one load."""
    from pipelines.load import restore_withdrawn, withdrawn_rows

    settings = settings_of(warehouse, wait)
    if restore is not None:
        with progress() as say:
            report = restore_withdrawn(settings, restore, progress=say)
        typer.echo(f"The rows that {restore} withdrew are restored in build {report.build_id}.")
        return
    rows = withdrawn_rows(settings, limit)
    if not rows:
        typer.echo("No rows are withdrawn.")
        return
    print_rows(rows, output, "Rows withdrawn by later exports")


@app.command(epilog=example("backhaul withdraw 20260401T101500000000"))
def withdraw(
    load_id: Annotated[str, typer.Argument(metavar="LOAD", help="Load from `backhaul status`.")],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Withdraw a whole load: its rows are no longer counted, its copies are deleted.

    An unfinished load is dropped.
    """
    from pipelines.load import withdraw as take_back

    settings = settings_of(warehouse, wait)
    with progress() as say:
        report = take_back(settings, load_id, progress=say)
    built = f"; build {report.build_id} is without it" if report.build_id else ""
    typer.echo(f"Load {load_id} is taken back{built}. Its files can be loaded again.")


@app.command(epilog=example("backhaul reasons --unknown"))
def reasons(
    unknown: Annotated[bool, typer.Option("--unknown", help="Only wordings without a known reason.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List the wordings of return reasons and the reason of each; add missing ones to `data/reasons.csv`."""
    from pipelines.load import reason_wordings

    rows = reason_wordings(settings_of(warehouse))
    print_rows([r for r in rows if not (unknown and r["reason"] is not None)], output, "Wordings of return reasons")


@app.command(name="map", epilog=example("backhaul map export.csv > mapping.yaml"))
def map_file(
    paths: Annotated[list[Path], typer.Argument(help="CSV, Excel, Parquet, NDJSON or JSON files, or folders of them.")],
    output: FormatOption = Format.table,
) -> None:
    """Propose a mapping for tables of an unknown system, with its assumptions and the pages it fills."""
    from pipelines.sources.propose import propose

    proposal = propose(paths)
    if output is Format.json:
        typer.echo(
            json.dumps(
                {
                    "mapping": proposal.yaml,
                    "columns": proposal.columns,
                    "assumptions": proposal.assumptions,
                    "pages": proposal.pages,
                    "unlocks": proposal.unlocks,
                    "command": proposal.command(),
                },
                indent=2,
                default=str,
            )
        )
        return
    typer.echo(proposal.yaml, nl=False)
    typer.echo(proposal.text(_written_to()), err=True)


def _written_to() -> str:
    """Give the file that standard output is written to, as a path to type; '' where it is none."""
    with contextlib.suppress(OSError):
        target = Path(f"/proc/self/fd/{sys.stdout.fileno()}").readlink()
        if target.is_file():
            return os.path.relpath(target) if target.is_relative_to(Path.cwd()) else str(target)
    return ""


@app.command(epilog=example("backhaul dashboard --port 8501"))
def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than this machine's own wants readers to sign in.")
    ] = "127.0.0.1",
    warehouse: Warehouse = "warehouse",
) -> None:
    """Open the pages in a browser on this machine, or to readers who sign in. Ctrl-C stops them."""
    from pipelines.cli.pages import serve

    serve(settings_of(warehouse).warehouse, port, host)


@app.command(epilog=example("backhaul demo --orders 20000"))
def demo(
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="Open the pages at the end.")] = True,
    orders: Annotated[int, typer.Option(min=100, help="Order lines of the sample shop.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of the simulation; the same seed gives the same shop.")] = 7,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Create a sample shop, load it and open the pages: `sample`, `load` and `dashboard` in one."""
    import tempfile

    from pipelines.cli.pages import serve
    from pipelines.load import load as run
    from pipelines.sample import write_sample

    settings = settings_of(warehouse)
    with tempfile.TemporaryDirectory(prefix="backhaul-sample-") as folder, progress() as say:
        say(f"simulating a shop of {orders:,} order lines")
        write_sample(Path(folder), orders, seed, progress=lambda text, _share: say(text))
        report = run(settings, [Path(folder)], source="canonical", progress=say)
    rows = {t: c["rows"] for t, c in report.changes.items() if t.startswith("fact_")}
    (
        print_rows(
            [{"table": t, "rows": n} for t, n in rows.items()], Format.table, f"Demo shop in {settings.warehouse}"
        )
        if rows
        else None
    )
    if dashboard:
        serve(settings.warehouse, port)
    else:
        typer.echo("Next: backhaul dashboard")
