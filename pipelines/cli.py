"""The command line: one verb a command. Help text is the reference; each verb shows an example.

How a run ends and what it says on the way is pipelines/console.py; results go to standard output.
"""

import contextlib
import csv
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.console import Verbs, errors, progress, run, signs, told, write_log
from pipelines.errors import BackhaulError, ForgetError, SourceError, WarehouseDamaged
from pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.alerts import Rule, Verdict
    from pipelines.copies import Copy
    from pipelines.load import Report
    from pipelines.state import Action
    from pipelines.warehouse.engine import Build

app = typer.Typer(
    name="backhaul",
    cls=Verbs,
    help="See what comes back, why, whether the promise was kept, what it did to the margin and what it emitted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
action_app = typer.Typer(
    name="action",
    help="Log what was done about returns, and measure what followed.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(action_app)
alert_app = typer.Typer(
    name="alert",
    help="Rules on metrics, looked at after each load; who is to be told is told once.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(alert_app)
policy_app = typer.Typer(
    name="policy",
    help="Return policies: what is promised to whom, checked and published as new versions.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(policy_app)
factor_app = typer.Typer(
    name="factors",
    help="Emission factors: what there is, whose set comes first, what another set or vintage would give.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(factor_app)


@app.callback()
def each(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log each step to standard error, faults with their trace.")
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            "--log",
            envvar="BACKHAUL_LOG",
            metavar="FILE",
            help="Add the log to a file: a line of JSON an event.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """See what comes back, why, whether the promise was kept, what it did to the margin and what it emitted."""
    write_log(to=log, is_verbose=verbose)


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


def _example(text: str) -> str:
    return f"Example: [bold]{text}[/bold]"


Wait = Annotated[
    float,
    typer.Option(
        "--wait", min=0, metavar="SECONDS", help="Wait so long for another load or writer to end.", show_default=False
    ),
]


def _settings(warehouse: str, wait: float = 0) -> Settings:
    if "://" in warehouse and not warehouse.startswith(("duckdb:///", "file://")):
        raise SourceError(
            f"{warehouse.split('://')[0]} warehouses can be read, not written: DuckDB alone loads. Give a folder as"
            " --warehouse."
        )
    path = Path(warehouse.removeprefix("duckdb:///").removeprefix("file://"))
    if path.is_file():
        raise SourceError(f"{path} is a file; a warehouse is a folder. Give another --warehouse.")
    return Settings(warehouse=path, wait_s=wait)


@contextlib.contextmanager
def _open(warehouse: str) -> Iterator["Build"]:
    """Open the warehouse for reading."""
    if warehouse.startswith("postgres"):
        if urlsplit(warehouse).password and any(warehouse in argument for argument in sys.argv[1:]):
            raise SourceError(
                "Everybody on this machine sees a password on a command line. Put the address into BACKHAUL_WAREHOUSE,"
                " or the password into PGPASSWORD."
            )
        from pipelines.warehouse.engine import open_postgresql

        address, _, schema = warehouse.partition("#")
        build = open_postgresql(address, schema or "backhaul")
    else:
        from pipelines.warehouse.build import current_build

        build = current_build(_settings(warehouse).warehouse)
    try:
        yield build
    finally:
        build.close()


def _plain(value: Any) -> Any:
    """Turn a cell into something JSON and CSV can carry; not a number becomes empty."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if hasattr(value, "item"):
        return _plain(value.item())
    return value


def _print(rows: Sequence[dict[str, Any]], how: Format, title: str | None = None, why: str = "") -> None:
    """Print rows; a table without a row says `why`."""
    rows = [{k: _plain(v) for k, v in row.items()} for row in rows]
    if how is Format.json:
        text = json.dumps(rows, ensure_ascii=False, indent=2)
        typer.echo(re.sub("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda found: f"\\u{ord(found[0]):04x}", text))
        return
    names = list(rows[0]) if rows else []
    if how is Format.csv:
        from pipelines.formulas import guarded

        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writerow({name: guarded(name) for name in names})
        writer.writerows(
            {k: signs(guarded(v), keep="\t\n") if isinstance(v, str) else v for k, v in row.items()} for row in rows
        )
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    if not rows:
        console.print(Text(signs(f"{title + ': ' if title else ''}nothing to show{': ' + why if why else ''}")))
        return
    if title:
        console.print(Text(signs(title), style="bold"))
    table = Table(header_style="bold")
    for name in names:
        numeric = all(isinstance(r[name], (int, float)) or r[name] is None for r in rows)
        table.add_column(Text(signs(name.replace("_", " "))), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[Text(signs(_cell(v))) for v in row.values()])
    console.print(table)


def _lacks(build: "Build", key: str) -> str:
    """Say why a metric has no number; nothing when it has one."""
    from pipelines.metrics.answer import withheld

    return withheld(build, key)


def _records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        return f"{value:,.4g}".replace(",", "\u202f") if abs(value) < 1000 else f"{value:,.0f}".replace(",", "\u202f")
    return str(value)


def _day(text: str | None, name: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is not a day; write it as 2026-01-31.", param_hint=name) from None


def _pairs(given: Sequence[str] | None, name: str = "--where") -> dict[str, list[str]]:
    """Read options of the form DIM=VALUE."""
    chosen: dict[str, list[str]] = {}
    for pair in given or []:
        dimension, _, value = pair.partition("=")
        if not value:
            raise typer.BadParameter(f"{pair} is not DIM=VALUE, for example country=FR.", param_hint=name)
        chosen.setdefault(dimension, []).append(value)
    return chosen


def _filters(build: "Build", key: str, where: Sequence[str] | None) -> dict[str, list[str]]:
    """Read the filters of a question about a metric's rows."""
    from pipelines import metrics

    return metrics.read_filters(build, key, _pairs(where))


@app.command(epilog=_example("backhaul sample --out shop-files --orders 20000 --seed 7"))
def sample(
    out: Annotated[Path, typer.Option(help="Folder to write the files to.")],
    orders: Annotated[int, typer.Option(min=100, help="Order lines to simulate.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Same seed, same shop.")] = 7,
    truth: Annotated[
        Path | None, typer.Option(help="Also write what is really true, for tests, to this folder.")
    ] = None,
    output: FormatOption = Format.table,
) -> None:
    """Write the raw files of a believable shop: a fashion retailer selling from France into Europe."""
    from pipelines.sample import write_sample

    with progress() as say:
        rows = write_sample(out, orders, seed, truth=truth, progress=lambda text, _share: say(text))
    _print([{"file": name, "rows": count} for name, count in rows.items()], output, f"Sample shop in {out}")
    if output is Format.table:
        typer.echo(f"Next: backhaul load {out}")


@app.command(
    epilog=_example("backhaul load exports/2026-01 --source shopify")
    + "\n\n"
    + _example("backhaul load orders.csv --source my-mapping.yaml")
)
def load(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH...", help="Files or folders; none finishes what has landed.", show_default=False),
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
    exported_at: Annotated[
        datetime | None,
        typer.Option(
            help=(
                "When the files were exported (UTC), where they do not say so themselves: the later export's rows win."
            ),
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
        ),
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Take files in: land, name, judge, shape, estimate, check, publish. Running it twice changes nothing."""
    from pipelines.load import load as run

    settings = _settings(warehouse, wait)
    try:
        with progress() as say:
            report = run(
                settings, paths or [], source=source, namespace=namespace, exported_at=exported_at, progress=say
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
    for sentence in report.refused:
        errors.print(f"Not taken in: {sentence}", soft_wrap=True, highlight=False, markup=False)
    if report.refused:
        raise typer.Exit(1)


def _print_load(report: "Report", output: Format) -> None:
    """Print what a load did."""
    if output is Format.json:
        typer.echo(
            json.dumps(
                {
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
                    "untold": report.untold,
                    "failed": report.failed,
                    "healed": report.healed,
                    "retained": report.retained,
                },
                indent=2,
            )
        )
        return
    if output is Format.csv:
        _print(report.counts, output)
        return
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
        _print(report.counts, output, "Rows read, and how they were judged")
    named = ("blank", "preamble", "totals", "within", "left_out", "more_rows")
    if any(row[kind] for row in report.files for kind in named):
        kinds = ("file", "lines", "rows", "header", *(k for k in named if any(row[k] for row in report.files)))
        _print(
            [{k: row[k] for k in kinds} for row in report.files],
            output,
            "Lines of the files: rows, and what is none (within: a cell goes on; left_out: by a condition of the"
            " mapping, or only joined to others)",
        )
    derived = [c for c in report.derived if c["quarantined"] or c["replaced"] or c["withdrawn"]]
    if derived:
        _print(derived, output, "Rows made from these, where something was quarantined, replaced or withdrawn")
    if report.quarantined:
        _print(report.quarantined, output, "Rows in quarantine: correct them and load again")
    if report.unread:
        _print(
            report.unread,
            output,
            "Fields that could not be read and count as missing, or empty units that count as one; their rows were"
            " accepted",
        )
    _say_versions(report)
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
    if not report.is_new_build:
        typer.echo(
            f"Nothing new: the warehouse stays at build {report.build_id}."
            if report.build_id
            else "Nothing has landed: give a file or a folder, see backhaul load --help."
        )
        return
    changed = [
        {"table": t, "rows": c["rows"], "change": c["change"]}
        for t, c in report.changes.items()
        if c["change"] and t.startswith(("fact_", "dim_"))
    ]
    _print(changed, output, "What changed")
    _print(report.warnings, output, "Warnings") if report.warnings else None
    for sentence in report.alerts:
        typer.echo(f"Alert: {signs(sentence)}")
    for sentence in report.untold:
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
        typer.echo(f"{replaced} rows replace what an earlier load said: the later export wins, by {told}.")
    if withdrawn:
        typer.echo(
            f"{withdrawn} rows of earlier loads are withdrawn: backhaul withdrawn lists them and brings them back."
        )


@app.command(
    epilog=_example("backhaul withdrawn --format csv")
    + "\n\n"
    + _example("backhaul withdrawn --restore 20260401T101500000000")
)
def withdrawn(
    restore: Annotated[
        str | None, typer.Option(metavar="LOAD", help="Bring back what this load withdrew.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to list.")] = 1000,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List rows that later exports took back, or bring those of one load back."""
    from pipelines.load import restore_withdrawn, withdrawn_rows

    settings = _settings(warehouse, wait)
    if restore is not None:
        with progress() as say:
            report = restore_withdrawn(settings, restore, progress=say)
        typer.echo(f"What {restore} withdrew is back in build {report.build_id}.")
        return
    rows = withdrawn_rows(settings, limit)
    if not rows:
        typer.echo("No row is withdrawn.")
        return
    _print(rows, output, "Rows withdrawn by later exports")


@app.command(epilog=_example("backhaul withdraw 20260401T101500000000"))
def withdraw(
    load_id: Annotated[str, typer.Argument(metavar="LOAD", help="Load from `backhaul status`.")],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Take a whole load back: its rows leave the numbers, its copies are deleted.

    A load that was put aside is given up.
    """
    from pipelines.load import withdraw as take_back

    settings = _settings(warehouse, wait)
    with progress() as say:
        report = take_back(settings, load_id, progress=say)
    built = f"; build {report.build_id} is without it" if report.build_id else ""
    typer.echo(f"Load {load_id} is taken back{built}. Its files can be loaded again.")


@app.command(
    epilog=_example("backhaul forget anne@example.org")
    + "\n\n"
    + _example("backhaul forget 17850 --source online_retail")
)
def forget(
    customer: Annotated[
        str,
        typer.Argument(
            metavar="CUSTOMER",
            help=(
                "The customer's id as the source writes it: an e-mail address, a number; - reads it from standard"
                " input."
            ),
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAMESPACE",
            help="Source whose customer it is, as `backhaul status` names it; else of every source.",
            show_default=False,
        ),
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Take one customer out of everything that is kept, and search it all.

    What was sold and sent back stays, without the person.
    """
    from pipelines.forget import forget as erase

    settings = _settings(warehouse, wait)
    text = sys.stdin.readline() if customer == "-" else customer
    with progress() as say:
        done = erase(settings, text, source, say)
    told("forgotten", loads=done.loads, files=done.files, records=done.records, found=done.found)
    rows = [{"place": part.place, "files": part.files, "found": len(part.found)} for part in done.searched]
    if output is Format.json:
        about = {
            "opaque": done.opaque,
            "build_id": done.build_id,
            "loads": done.loads,
            "files": done.files,
            "records": done.records,
            "other_ids": done.others,
        }
        places = [{**row, "found_in": list(part.found)} for row, part in zip(rows, done.searched, strict=True)]
        typer.echo(
            json.dumps(
                {**about, "searched": places, "found": done.found, "left": done.left, "not_reached": done.unreached},
                indent=2,
                ensure_ascii=False,
            )
        )
    else:
        _print(rows, output, "Searched whole, unpacked, in UTF-8 and UTF-16, for the id and its keyed hash")
    if output is Format.table:
        typer.echo(
            f"{done.records:,} records in {done.files:,} files of {done.loads:,} loads are anonymous ({done.opaque});"
            f" found now: {done.found}."
        )
        if done.others:
            typer.echo(
                f"Their records name {done.others} other customer ids: forget these too if they are of the same person."
            )
        typer.echo("Not reached: " + "; ".join(done.unreached) + ".")
    if done.left or done.found:
        first = (
            done.left[0]
            if done.left
            else (
                f"The customer is still found in {next(p.found[0] for p in done.searched if p.found)}: look at it, or"
                " take its load back with `backhaul withdraw`."
            )
        )
        more = len(done.left) + done.found - 1
        raise ForgetError(f"Not all is forgotten. {first}{f' ({more} more.)' if more else ''}")


@app.command(epilog=_example("backhaul retain --raw-days 90"))
def retain(
    raw_days: Annotated[
        int,
        typer.Option("--raw-days", min=1, metavar="DAYS", help="Delete raw files that landed more days ago than this."),
    ],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Delete the raw files of older loads; logs and numbers stay. BACKHAUL_RAW_DAYS does so at the end of each load."""
    from pipelines import state
    from pipelines.load import retain as delete

    settings = _settings(warehouse, wait)
    with progress() as say:
        gone = delete(settings, raw_days, say)
    typer.echo(f"The raw files of {len(gone)} loads are deleted. {state.raw_files(settings)}".rstrip())


@app.command(name="rotate-key", epilog=_example("backhaul rotate-key"))
def rotate_key(wait: Wait = 0, warehouse: Warehouse = "warehouse") -> None:
    """Hash customers with a new key: every load is judged again from its raw files.

    The old key goes when the new build stands.
    """
    from pipelines.load import rotate_key as rotate

    settings = _settings(warehouse, wait)
    with progress() as say:
        report = rotate(settings, say)
    for failed in report.failed:
        typer.echo(f"Load {failed['load']} was put aside: {failed['problem']}")
    typer.echo(
        f"Build {report.build_id} is hashed with a new key; the old one is gone. Copies made before hold the old key."
    )


@app.command(epilog=_example("backhaul status --format json"))
def status(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """Show builds, loads, freshness, row counts, quarantine, failed checks, and what one more column would unlock."""
    from sqlalchemy import select

    from pipelines import state, unlocks
    from pipelines.warehouse import schema
    from pipelines.warehouse.build import current_id

    settings = _settings(warehouse)
    unbuilt = state.listed_loads(settings) if output is Format.table and current_id(settings.warehouse) is None else []
    if unbuilt:  # nothing was ever published: what was tried is shown before the sentence that says so
        _print(unbuilt, output, "Loads")
    with _open(warehouse) as build:
        sources = build.fetch(select(schema.build_source).order_by(*schema.build_source.columns)).to_dict("records")
        info = dict(build.fetch(select(schema.build_info)).itertuples(index=False, name=None))
        missing = unlocks.missing(build)
    builds = state.builds(settings)
    checks = state.check_results(settings)
    parts: dict[str, list[dict[str, Any]]] = {
        "builds": [
            {
                "build_id": b,
                "created_at": g.created_at.iloc[0],
                "kind": g.kind.iloc[0],
                "order_lines": int(g[g.table == "fact_order_line"].rows.sum()),
                "return_lots": int(g[g.table == "fact_return_line"].rows.sum()),
                "is_current": b == current_id(settings.warehouse),
            }
            for b, g in builds.groupby("build_id", sort=False)
        ],
        "loads": state.listed_loads(settings),
        "freshness": [{str(k): v for k, v in row.items()} for row in sources],
        "tables": [
            {"table": r.table, "rows": r.rows, "change": r.change}
            for r in builds[builds.build_id == info["build_id"]].itertuples()
        ],
        "files": state.file_lines(settings),
        "quarantine": [
            {str(k): v for k, v in row.items()} for row in state.quarantine_by_rule(settings).to_dict("records")
        ],
        "unread_fields": [
            {str(k): v for k, v in row.items()} for row in state.unread_fields(settings).to_dict("records")
        ],
        "failed_checks": [
            {"check": r.name, "blocks": bool(r.is_blocking), "rows": r.rows, "sentence": r.sentence}
            for r in checks[checks["rows"] > 0][["name", "is_blocking", "rows", "sentence"]].itertuples(index=False)
        ],
        "what_one_more_column_would_unlock": [
            {
                "unlocks": len(m.numbers),
                "helps": len(m.later),
                "pages": ", ".join(m.pages),
                "who_has_it": unlocks.OWNERS[m.filling.owner].en,
                "ask": " ".join(unlocks.requests([m.fact]).values()),
            }
            for m in missing
        ],
    }
    reach = state.raw_files(settings)
    if output is Format.json:
        typer.echo(
            json.dumps(
                {
                    "raw_files": reach,
                    "build_id": info["build_id"],
                    "observed_until": info["observed_until"],
                    "reporting_currency": info["reporting_currency"],
                    **{n: [{k: _plain(v) for k, v in row.items()} for row in rows] for n, rows in parts.items()},
                },
                indent=2,
                default=str,
            )
        )
        return
    for name, rows in parts.items():
        if output is Format.csv:
            typer.echo(f"# {name}")
        _print(rows, output, name.replace("_", " ").capitalize())
    if output is Format.table:
        typer.echo(
            f"Build {info['build_id']}, observed until {info['observed_until']} UTC, money in"
            f" {info['reporting_currency']}."
        )
        if reach:
            typer.echo(reach)


@app.command(epilog=_example("backhaul check") + "\n\n" + _example("backhaul check --deep"))
def check(
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Read everything back instead: every build, checksums of log, raw and closed files."
        ),
    ] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Run every check on the current build. Exit 1 when a blocking one finds rows, or what is read back is damaged."""
    import duckdb

    from pipelines import checks
    from pipelines.sql import connect, quote
    from pipelines.warehouse.build import AGAIN, build_path, current_build, current_id

    settings = _settings(warehouse)
    if deep:
        _say_findings(settings, output, is_deep=True)
        return
    current_build(settings.warehouse).close()
    connection = connect(folders=[settings.warehouse / "builds"])
    path = build_path(settings.warehouse, current_id(settings.warehouse) or "")
    connection.execute(f"ATTACH {quote(path)} AS b (READ_ONLY); USE b")
    try:
        results = checks.run(connection)
    except duckdb.Error as error:
        raise WarehouseDamaged(
            f"The current build cannot be read whole ({str(error).splitlines()[0][:100]}). {AGAIN}"
        ) from error
    finally:
        connection.close()
    rows = [
        {
            "check": r.check.name,
            "blocks": r.check.is_blocking,
            "rows": r.rows,
            "sentence": r.check.sentence,
            "sample": r.sample if r.rows else None,
        }
        for r in results
    ]
    if output is Format.table:
        rows = [{k: v for k, v in r.items() if k != "sample"} for r in rows]
        for r in results:
            if r.rows:
                typer.echo(f"{r.check.name}: {r.rows} rows, first {signs(_first_rows(r.sample))}")
    _print(sorted(rows, key=lambda r: -r["rows"]), output, "Checks: rows found")
    if any(r.rows and r.check.is_blocking for r in results):
        raise typer.Exit(1)


@app.command(epilog=_example("backhaul doctor"))
def doctor(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """Say what is wrong with the installation or the warehouse, and what to do. Exit 1 when something is."""
    _say_findings(_settings(warehouse), output, is_deep=False)


def _say_findings(settings: Settings, output: Format, *, is_deep: bool) -> None:
    from pipelines.doctor import examine

    found = examine(settings, is_deep=is_deep)
    rows = [{"where": f.where, "problem": f.problem, "what_to_do": f.remedy, "is_fault": f.is_fault} for f in found]
    title = "Everything was read back" if is_deep else "Installation and warehouse"
    _print(rows, output, title, "nothing is wrong")
    if any(f.is_fault for f in found):
        raise typer.Exit(1)


def _first_rows(sample: str) -> str:
    """Write a check's first rows in one line."""
    return "; ".join(" ".join(str(v) for v in row.values() if v is not None) for row in json.loads(sample))


@app.command(epilog=_example("backhaul metrics --format json"))
def metrics(output: FormatOption = Format.table) -> None:
    """List the catalogue: every number a person sees, with its sentence, formula, unit and date basis."""
    from pipelines.metrics import catalogue

    _print(
        [
            {"key": m.key, "sentence": m.sentence[0], "formula": m.formula, "unit": m.unit, "date_basis": m.basis}
            for m in catalogue()
        ],
        output,
        "Metrics",
    )


Key = Annotated[str, typer.Argument(metavar="KEY", help="Key from `backhaul metrics`.")]
By = Annotated[
    list[str] | None, typer.Option(metavar="DIM", help="Cut by a dimension or month, week, quarter; repeatable.")
]
Since = Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day, on the metric's own date basis.")]
Until = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day, included.")]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="DIM=VALUE", help="Keep one value, or several with commas between; may be repeated."),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        metavar="DAY",
        help=(
            "Only facts known by the end of this day, read with today's curves and priors; `backhaul backtest` is the"
            " honest look back."
        ),
    ),
]


def _question(
    by: list[str] | None, since: str | None, until: str | None, where: list[str] | None, as_of: str | None
) -> dict[str, Any]:
    """Read the options of a question."""
    chosen = _pairs(where)
    first, last = _day(since, "--from"), _day(until, "--to")
    if first and last and first > last:
        raise typer.BadParameter(f"{first} is after --to {last}.", param_hint="--from")
    return {
        "by": tuple(dict.fromkeys(by or ())),
        "where": chosen,
        "since": first,
        "until": last,
        "as_of": _day(as_of, "--as-of"),
    }


@app.command(
    epilog=_example("backhaul metric ultimate_return_rate --by category --from 2025-10-01 --to 2025-12-31")
    + "\n\n"
    + _example("backhaul metric promise_kept --by promise --where country=FR --format json")
)
def metric(
    key: Key,
    by: By = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    as_of: AsOf = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Answer one metric: value, interval, how many it rests on, and why when there is no answer."""
    from pipelines import metrics as declared

    question = _question(by, since, until, where, as_of)
    found = declared.metric(key)
    with _open(warehouse) as build:
        question["where"] = declared.read_filters(build, key, question["where"])
        answer = declared.answer(build, key, **question)
        why = "" if len(answer) else str(declared.answer(build, key, **{**question, "by": ()})["reason"].iloc[0])
    rows = [
        {str(k): v.date() if isinstance(v, datetime) else v for k, v in row.items()}  # a month is a day, not a time
        for row in answer.to_dict("records")
    ]
    if output is Format.table:
        empty = not any(row["reason"] for row in rows)
        rows = [
            {
                k: v
                for k, v in row.items()
                if k not in ("unit", "basis", "caution") and not (empty and k in ("status", "reason"))
            }
            for row in rows
        ]
        unit = answer["unit"].iloc[0] if len(answer) else found.unit
        _print(rows, output, f"{found.name[0]} ({unit}, {found.dated}): {found.sentence[0]}", why)
    else:
        _print(rows, output)


@app.command(epilog=_example("backhaul accrual --as-of 2025-12-31 --by month --by category --format csv"))
def accrual(
    by: Annotated[
        list[str] | None, typer.Option(metavar="DIM", help="Cut by month, category, country ...; repeatable.")
    ] = None,
    where: Where = None,
    as_of: Annotated[str | None, typer.Option(metavar="DAY", help="Closing day; the latest day when left out.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Give what to book for returns not settled yet.

    Refund liability and right to recover goods (IFRS 15), without VAT.
    """
    from pipelines.metrics import accrual as booked

    with _open(warehouse) as build:
        chosen = _filters(build, "returns_to_come_value", where)
        found = booked(build, by=tuple(dict.fromkeys(by or ("month",))), where=chosen, as_of=_day(as_of, "--as-of"))
        currency, why = build.info.get("reporting_currency", "EUR"), _lacks(build, "returns_to_come_value")
    _print(_records(found), output, f"Returns not settled yet, in {currency} without VAT; the last row is the sum", why)


@app.command(epilog=_example("backhaul reasons --unknown"))
def reasons(
    unknown: Annotated[bool, typer.Option("--unknown", help="Only wordings that no reason is known for.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List how the sources word return reasons, and what each is taken for; add missing ones to data/reasons.csv."""
    from pipelines.load import reason_wordings

    rows = reason_wordings(_settings(warehouse))
    _print([r for r in rows if not (unknown and r["reason"] is not None)], output, "Wordings of return reasons")


class Part(StrEnum):
    """Which rows behind a metric."""

    numerator = "numerator"
    denominator = "denominator"


@app.command(
    epilog=_example("backhaul export observed_return_rate --by category --out rates.xlsx")
    + "\n\n"
    + _example("backhaul export observed_return_rate --rows numerator --where category=dresses --out rows.csv")
)
def export(
    key: Key,
    out: Annotated[Path, typer.Option(help="File to write; .csv, .xlsx or .parquet says the format.")],
    rows: Annotated[
        Part | None, typer.Option(help="Write the rows behind the metric instead of its answer; --by adds columns.")
    ] = None,
    by: By = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    as_of: AsOf = None,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Write a metric's answer, or the rows behind it, to a file that carries its context and a checksum.

    A file of rows holds the newest 1 000 000 at most, and says so when there are more.
    """
    from pipelines import export as files
    from pipelines import metrics as declared

    question = _question(by, since, until, where, as_of)
    found = declared.metric(key)
    total = None
    with _open(warehouse) as build:
        question["where"] = declared.read_filters(build, key, question["where"])
        if rows is None:
            frame = declared.answer(build, key, **question)
        else:
            frame = declared.rows(build, key, part=rows.value, limit=files.LIMIT, **question)
            if len(frame) == files.LIMIT:
                total, _ = declared.rows_total(build, key, part=rows.value, **question)
        about = files.About(found.name.en, (key,), rows.value if rows else "", total=total, **question)
        files.write(frame, files.context(build, about, len(frame)), out)
    cut = f", the newest of {total:,}" if total and total > len(frame) else ""
    typer.echo(f"{out}: {len(frame):,} rows{cut}. Next: backhaul verify {out}")


@app.command(epilog=_example("backhaul verify rates.xlsx"))
def verify(
    file: Annotated[Path, typer.Argument(help="A file that `backhaul export` or a page wrote.")],
    output: FormatOption = Format.table,
) -> None:
    """Recompute the checksum of an exported file's rows, and show its context.

    Exit 1 when the rows are not those written.
    """
    from pipelines import export as files

    checked = files.verify(file)
    _print([{"name": name, "value": value} for name, value in files.read_about(file).items()], output, str(file))
    if not checked.holds:
        raise BackhaulError(
            f"The rows of {file} are not those that were written: the file says {checked.stated[:12]}…, its rows give"
            f" {checked.found[:12]}…. Export it again."
        )
    errors.print(f"{checked.rows:,} rows, as they were written.")


@app.command(epilog=_example("backhaul backtest --days 30 --days 90 --by-category"))
def backtest(
    days: Annotated[
        list[int] | None, typer.Option(min=1, help="So many days ago; repeatable. Default 30, 60, 90.")
    ] = None,
    by_category: Annotated[bool, typer.Option("--by-category", help="One row a category too.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Show what would have been said of final return rates some days ago, and what came."""
    from pipelines import metrics as declared

    with _open(warehouse) as build:
        found = declared.backtest(build, days_ago=days or (30, 60, 90), by="category" if by_category else None)
        why = _lacks(build, "ultimate_return_rate")
    if output is Format.table:
        shown = [
            "days_ago",
            "month",
            *(["category"] if by_category else []),
            "maturity_then",
            "observed_then",
            "projected",
            "low",
            "high",
            "observed_now",
            "maturity_now",
            "error",
            "is_covered",
        ]
        found = found[shown].assign(**found[[c for c in shown if found[c].dtype == float]].round(4))
    found = found.assign(month=found["month"].astype(str).str[:7])
    _print(_records(found), output, "Final return rate by month of order: said then, come by now", why)


On = Annotated[
    list[str] | None,
    typer.Option(
        "--on", metavar="DIM=VALUE", help="What it is done to: style_id=ID, category=dresses, country=DE; repeatable."
    ),
]
Owner = Annotated[str | None, typer.Option(help="Who sees to it.")]
Due = Annotated[str | None, typer.Option(metavar="DAY", help="Day it is due.")]
Money = Annotated[float | None, typer.Option(help="Money expected of it a year, in the reporting currency.")]
Carbon = Annotated[float | None, typer.Option(help="kg CO2e it is expected to save a year.")]
Note = Annotated[str | None, typer.Option(help="Your own words.")]
Effective = Annotated[
    str | None, typer.Option("--effective", metavar="DAY", help="First day it was in force; makes it done.")
]


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
    epilog=_example("backhaul action add size_note --on style_id=shop:DR0501 --effective 2025-09-13")
    + "\n\n"
    + _example("backhaul action add carrier_call --owner Nadia --due 2026-02-06"),
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
    """Log an action: what was done, or is to be done, to which products."""
    from pipelines import actions, state

    scope = _pairs(on, "--on")
    values = {
        "owner": owner,
        "expected_money": money,
        "expected_kg_co2e": carbon,
        "note": note,
        "effective_on": _day(effective, "--effective"),
        "due_on": _day(due, "--due"),
    }
    settings = _settings(warehouse, wait)
    with _open(warehouse) as build:
        actions.check_scope(build, kind, scope)
    found = state.log_action(settings, kind, scope, **values)
    _print([_action_row(found)], output, f"Logged action {found.action_id}")


@action_app.command(name="update", epilog=_example("backhaul action update 3 --effective 2026-02-01 --status done"))
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
    """Change what is said of an action, or withdraw it."""
    from pipelines import state

    given = {
        "status": status or ("done" if effective else None),
        "owner": owner,
        "expected_money": money,
        "expected_kg_co2e": carbon,
        "note": note,
        "effective_on": _day(effective, "--effective"),
        "due_on": _day(due, "--due"),
    }
    found = state.update_action(_settings(warehouse, wait), number, **{k: v for k, v in given.items() if v is not None})
    _print([_action_row(found)], output, f"Action {number}")


@action_app.command(name="list", epilog=_example("backhaul action list --kind size_note --format csv"))
def action_list(
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Withdrawn ones too.")] = False,
    suggested: Annotated[
        bool, typer.Option("--suggested", help="What the catalogue shows was done and nobody logged, instead.")
    ] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List logged actions, newest first."""
    from pipelines import actions, state

    settings = _settings(warehouse)
    if suggested:
        with _open(warehouse) as build:
            found = actions.suggested_actions(build, state.actions(settings))
        rows = [{str(k): v for k, v in row.items()} for row in found.to_dict("records") if kind in (None, row["kind"])]
        _print(rows, output, "Seen in the catalogue, not logged")
        return
    listed = state.actions(settings, kind=kind, with_withdrawn=withdrawn)
    _print([_action_row(a) for a in listed], output, "Actions")


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
    epilog=_example("backhaul action measure 3")
    + "\n\n"
    + _example("backhaul action measure --kind size_note --format json"),
)
def action_measure(
    number: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="One action; all of each kind together when left out.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="All actions of this kind together.")] = None,
    as_of: AsOf = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Measure what followed: the rate against matched products, with its interval, or why that cannot be said."""
    from pipelines import actions, state

    settings = _settings(warehouse)
    among = state.actions(settings)
    day = _day(as_of, "--as-of")
    with _open(warehouse) as build:
        if number is not None:
            chosen = state.find_action(settings, number)
            found = [actions.measure_action(build, chosen, among, as_of=day)]
        else:
            kinds = [kind] if kind else sorted({a.kind for a in among})
            found = [actions.measure_kind(build, k, among, as_of=day) for k in kinds]
    rows = [m.row() for m in found]
    if output is Format.table:
        rows = [{k: row[k] for k in _MEASURED} for row in rows]
    _print(rows, output, "What followed, against matched products left alone")


def _rule_row(rule: "Rule", lasting: int = 0) -> dict[str, Any]:
    return {
        "rule_id": rule.rule_id,
        "metric": rule.metric,
        "test": rule.test,
        "bound": rule.bound,
        "by": " ".join(rule.by),
        "where": "; ".join(f"{k}={','.join(v)}" for k, v in rule.where.items()),
        "days": rule.days,
        "to": " ".join(rule.to),
        "lasting": lasting,
    }


def _verdict_row(found: "Verdict") -> dict[str, Any]:
    said = {True: "alert", False: "quiet", None: "not known"}[found.fires]
    return {"rule_id": found.rule.rule_id, "verdict": said, "sentence": found.sentence()}


@alert_app.command(
    name="add",
    epilog=_example("backhaul alert add promise_kept --below 0.9 --where country=FR --to mailto:returns@example.org")
    + "\n\n"
    + _example("backhaul alert add days_to_refund --worse --by carrier --days 14 --to https://chat.example.org/hook"),
)
def alert_add(
    key: Key,
    above: Annotated[float | None, typer.Option(help="Alert above this, in the metric's unit; a share is 0-1.")] = None,
    below: Annotated[float | None, typer.Option(help="Alert below this.")] = None,
    worse: Annotated[
        bool, typer.Option("--worse", help="Alert when worse than the days before, beyond noise.")
    ] = False,
    better: Annotated[
        bool, typer.Option("--better", help="Alert when better than the days before, beyond noise.")
    ] = False,
    unkeepable: Annotated[
        bool,
        typer.Option(
            "--unkeepable",
            help=(
                "Alert when the published promise can surely no longer be kept: promise_at(0.9) --where"
                " promise_id=refund."
            ),
        ),
    ] = False,
    by: By = None,
    where: Where = None,
    days: Annotated[
        int, typer.Option(min=0, help="Latest days to look at; 0 is all of them, as for what is open now.")
    ] = 28,
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Who is told: mailto:NAME@HOST (needs BACKHAUL_SMTP) or https://HOST/PATH; repeatable.",
        ),
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Add a rule: a metric, and what is worth an alert."""
    from pipelines import alerts

    given = {
        "above": above is not None,
        "below": below is not None,
        "worse": worse,
        "better": better,
        "unkeepable": unkeepable,
    }
    tests = [name for name, is_given in given.items() if is_given]
    if len(tests) != 1:
        raise typer.BadParameter(
            "give one of --above, --below, --worse, --better and --unkeepable.", param_hint="--above"
        )
    rule = alerts.Rule(
        0, key, tests[0], above if above is not None else below, tuple(by or ()), {}, days, tuple(to or ())
    )
    with _open(warehouse) as build:
        rule = replace(rule, where={k: tuple(v) for k, v in _filters(build, key, where).items()})
        rule = alerts.add_rule(_settings(warehouse, wait), build, rule)
        found = alerts.evaluate(build, rule)
    _print([_rule_row(rule, sum(bool(v.fires) for v in found))], output, f"Rule {rule.rule_id}; today it says")
    if output is Format.table:
        for one in found[:12]:
            typer.echo(signs(one.sentence()))


@alert_app.command(name="list", epilog=_example("backhaul alert list"))
def alert_list(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List the rules, and how many alerts of each last."""
    from pipelines import alerts

    settings = _settings(warehouse)
    with _open(warehouse):
        found = alerts.alerts(settings)["rule_id"].value_counts()
    rows = [_rule_row(r, int(found.get(r.rule_id, 0))) for r in alerts.rules(settings)]
    _print(rows, output, "Alert rules")


@alert_app.command(name="withdraw", epilog=_example("backhaul alert withdraw 3"))
def alert_withdraw(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number from `backhaul alert list`.")],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Stop looking at a rule; it stays on record."""
    from pipelines import alerts

    alerts.withdraw_rule(_settings(warehouse, wait), number)
    typer.echo(f"Rule {number} is withdrawn.")


@alert_app.command(name="check", epilog=_example("backhaul alert check --dry-run"))
def alert_check(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what each rule says, keep nothing and tell nobody.")
    ] = False,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Look at every rule now, keep what is new and tell who is to be told; a load does the same at its end."""
    from pipelines import alerts
    from pipelines.warehouse.build import writing

    settings = _settings(warehouse, wait)
    if dry_run:
        found = alerts.check(settings)
        _print([_verdict_row(v) for v in found], output, "What each rule says; nobody is told")
        return
    with _open(warehouse), writing(settings.warehouse, settings.short_wait_s):
        fresh = alerts.record(settings)
    untold = alerts.tell(settings)
    _print([_verdict_row(v) for v in fresh], output, "New alerts")
    for sentence in untold:
        errors.print(Text(signs(sentence)), soft_wrap=True)


@alert_app.command(name="log", epilog=_example("backhaul alert log --all --format csv"))
def alert_log(
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List alerts that last: since when, what they say, who was told."""
    from pipelines import alerts

    settings = _settings(warehouse)
    with _open(warehouse):
        found = alerts.alerts(settings, lasting=not every)
    rows = [
        {
            "alert_id": r["alert_id"],
            "rule_id": r["rule_id"],
            "since": r["since_at"],
            "over": None if r["cleared_at"] is None or r["cleared_at"] != r["cleared_at"] else r["cleared_at"],
            "sentence": alerts.verdict_of(r).sentence(),
            "told": " ".join(json.loads(r["told"])),
        }
        for r in found.to_dict("records")
    ]
    _print(rows, output, "Alerts")


@app.command(
    epilog=_example("backhaul promise --market FR --method drop_off --at 0.95")
    + "\n\n"
    + _example("backhaul promise --promise request_to_refund --all --format json")
)
def promise(
    market: Annotated[str | None, typer.Option(help="ISO country.")] = None,
    method: Annotated[
        str | None, typer.Option(help="Hand-over method: drop_off, locker, home_pickup, store or mail.")
    ] = None,
    carrier: Annotated[str | None, typer.Option(help="Return carrier.")] = None,
    promise_id: Annotated[str, typer.Option("--promise", help="Promise, as policies name it.")] = "refund",
    at: Annotated[float, typer.Option(min=0.5, max=0.999, help="Probability to keep it with.")] = 0.95,
    weeks: Annotated[int, typer.Option(min=4, max=104, help="Weeks of starts that it rests on.")] = 13,
    together: Annotated[
        bool, typer.Option("--all", help="All lanes of the selection together, with the price of every duration.")
    ] = False,
    as_of: AsOf = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Say the shortest promise that would be kept so often today, lane by lane, beside the published one.

    And what others would cost.
    """
    from pipelines import metrics as declared

    lane = {"country": market, "method": method, "carrier": carrier}
    where = {k: [v] for k, v in lane.items() if v is not None}
    with _open(warehouse) as build:
        declared.read_filters(build, "promise_at", {**where, "promise_id": [promise_id]})
        found = declared.offers(
            build, promise_id, at, by_lane=not together, where=where, as_of=_day(as_of, "--as-of"), weeks=weeks
        )
    rows = [o.row() for o in found]
    if output is Format.json:
        prices = [[{str(k): _plain(v) for k, v in r.items()} for r in o.prices.to_dict("records")] for o in found]
        typer.echo(
            json.dumps(
                [{**row, "prices": p} for row, p in zip(rows, prices, strict=True)], ensure_ascii=False, indent=2
            )
        )
        return
    _print(rows, output, f"{promise_id}: kept with {at:.0%} today, from the last {weeks} weeks")
    if output is Format.table:
        for offer in found:
            if offer.is_unkeepable:
                where_ = " / ".join(v for v in offer.lane.values() if v) or "all lanes"
                typer.echo(
                    f"Unkeepable: {where_}: {offer.published:g} {offer.unit.replace('_', ' ')} are kept in"
                    f" {offer.kept:.1%}, surely under {at:.0%}."
                )
        if len(found) == 1 and len(found[0].prices):
            _print(
                [{str(k): v for k, v in r.items()} for r in found[0].prices.to_dict("records")],
                output,
                f"What each duration would cost, in {found[0].unit.replace('_', ' ')}",
            )


@app.command(name="at-risk", epilog=_example("backhaul at-risk --where country=FR --limit 20"))
def at_risk(
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="Returns to list.")] = 50,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List open returns by the money that probably breaks a promise.

    The next and the final promise, and when the refund will come.
    """
    from pipelines import metrics as declared

    with _open(warehouse) as build:
        found = declared.worklist_at_risk(build, where=_filters(build, "breach_risk", where), limit=limit)
        why = _lacks(build, "breach_risk")
    shown = (
        found
        if output is not Format.table
        else found[
            [
                "return_id",
                "stage",
                "age_days",
                "next_promise",
                "next_days_left",
                "next_probability",
                "promise_id",
                "days_left",
                "probability",
                "amount",
                "at_stake",
                "expected_at",
                "late_at",
            ]
        ]
    )
    rows = [{str(k): None if v != v else v for k, v in r.items()} for r in shown.to_dict("records")]
    if output is Format.table:
        rows = [{k.removesuffix("_at"): v.date() if isinstance(v, datetime) else v for k, v in r.items()} for r in rows]
    _print(rows, output, "Open returns, most at stake first", why)


@app.command(epilog=_example("backhaul serve --port 8600"))
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8600,
    public: Annotated[
        bool, typer.Option("--public", help="Let other machines reach it; put a server with TLS before it.")
    ] = False,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Answer a shop or order system in JSON: the promise that can be made, and by when a return must be refunded.

    Ctrl-C stops it.
    """
    from pipelines import serve as endpoint

    settings = _settings(warehouse)
    endpoint.check_host(host, is_public=public)
    with _open(warehouse):
        key, is_new = endpoint.key_of(settings)
    if is_new:
        typer.echo(f"Made a key in {settings.serve_key_file}; callers show it as X-API-Key.")
    typer.echo(f"http://{host}:{port}/v1/promise and /v1/returns/ID/refund-by; /openapi.json describes them.")
    endpoint.serve(settings, host, port, key)


PolicyId = Annotated[str, typer.Argument(metavar="ID", help="Policy from `backhaul policy list`.")]
PolicyFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="YAML as `policy show` writes it, or a canonical CSV.")
]


@factor_app.command(name="list", epilog=_example("backhaul factors list --set desnz --format csv"))
def factors_list(
    name: Annotated[str | None, typer.Option("--set", help="Only this set.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List every factor there is with its source, licence and vintage."""
    from pipelines.factors import ledger

    columns = (
        "factor_id",
        "factor_set",
        "vehicle",
        "region",
        "unit",
        "wtt",
        "ttw",
        "wtw",
        "valid_from_year",
        "source",
        "licence",
        "gwp",
        "row_id",
        "quality",
    )
    known = ledger(_settings(warehouse))
    rows = [{c: row[c] for c in columns} for row in known.rows if name in (None, row["factor_set"])]
    first = known.chosen + (f", vintage {known.pinned}" if known.pinned else "")
    _print(rows, output, f"{len(rows)} factors; first: {first}")


@factor_app.command(name="import", epilog=_example("backhaul factors import glec-2025.csv --set glec"))
def factors_import(
    file: Annotated[Path, typer.Argument(help="CSV with the columns of data/factors/emission_factors.csv.")],
    name: Annotated[str, typer.Option("--set", help="Name of the set.")],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Keep a set of factors you hold a licence for in this warehouse; it never leaves it."""
    from pipelines.factors import implausible, import_set, ledger

    settings = _settings(warehouse, wait)
    number = import_set(settings, file, name)
    for sentence in implausible(r for r in ledger(settings).rows if r["factor_set"] == name).values():
        print(f"warning: {sentence}")
    print(
        f"{number} factors of {name} are kept. `backhaul factors compare {name}` says what they would change, `backhaul"
        f" factors use {name}` makes them come first."
    )


@factor_app.command(name="use", epilog=_example("backhaul factors use ademe"))
def factors_use(
    name: Annotated[str, typer.Argument(help="Set that comes first.")],
    pinned: Annotated[
        int | None, typer.Option("--vintage", help="Year whose factors every year gets; else each year its own.")
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Make a set come first and estimate everything anew. Closed months stay as they were signed for."""
    from pipelines.factors import choose, implausible, ledger
    from pipelines.load import load as load_files

    settings = _settings(warehouse, wait)
    choose(settings, name, pinned)
    with progress() as say:
        report = load_files(settings, is_anew=True, progress=say)
    for sentence in implausible(r for r in ledger(settings).rows if r["factor_set"] == name).values():
        print(f"warning: {sentence}")
    if report.warnings:
        _print(report.warnings, Format.table, "Warnings")
    print(
        f"{name} comes first" + (f" in build {report.build_id}." if report.is_new_build else "; nothing is loaded yet.")
    )


@factor_app.command(name="compare", epilog=_example("backhaul factors compare ademe --from 2025-01-01"))
def factors_compare(
    name: Annotated[str, typer.Argument(help="The other set.")],
    pinned: Annotated[int | None, typer.Option("--vintage", help="Year whose factors every year gets.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="First day of the request, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Say what the same legs would emit by another set or vintage: the part of a change that is the factor's."""
    from pipelines import factors, metrics

    known = factors.ledger(_settings(warehouse))
    if name not in known.sets:
        raise SourceError(f"There is no set {name!r}. There are {', '.join(known.sets)}.")
    with _open(warehouse) as build:
        found = metrics.factor_effect(
            build,
            known,
            replace(known, chosen=name, pinned=pinned),
            since=_day(since, "--from"),
            until=_day(until, "--to"),
        )
        why = _lacks(build, "kg_co2e")
    ours, theirs = found["kg_co2e"].sum(), found["other_kg_co2e"].sum()
    title = f"{ours:,.1f} kg CO2e now, {theirs:,.1f} by {name}: {theirs - ours:+,.1f} kg is the factors'"
    _print(_records(found), output, title, why)


@factor_app.command(name="missing", epilog=_example("backhaul factors missing"))
def factors_missing(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List legs that no factor fits, with the unit of the one to add. Their emissions are missing, not zero."""
    from pipelines import metrics

    with _open(warehouse) as build:
        found = metrics.missing_factors(build)
        why = _lacks(build, "kg_co2e")
    needed = "Add a factor for these: `backhaul factors import`, or name vehicle and fuel in the source."
    title = needed if len(found) else "Legs without a factor" if why else "Every leg has a factor"
    _print(_records(found), output, title, why)


@app.command(epilog=_example("backhaul explain R100302-1"))
def explain(
    return_id: Annotated[str, typer.Argument(help="Id of the return.")],
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Show how a return's emissions were made: each leg's formula with its numbers, the factor and its source."""
    from pipelines import metrics

    with _open(warehouse) as build:
        found = metrics.explain(build, return_id)
    if output is not Format.table:
        rows = [leg for parcel in found["parcels"] for leg in parcel["legs"]]
        _print(rows, output)
        return
    for parcel in found["parcels"]:
        print(f"Parcel {parcel['parcel_id']}: {parcel['kg_co2e']:.6g} kg CO2e")
        for leg in parcel["legs"]:
            way = " to ".join(str(leg[n]) for n in ("from_name", "to_name") if leg[n])
            print(f"\n  {leg['element_no']}. {leg['role'].replace('_', ' ')}" + (f", {way}" if way else ""))
            print(f"     {leg['formula']}")
            if leg["low"] is not None:
                print(
                    f"     90%: {leg['low']:.4g} to {leg['high']:.4g} kg; distance {leg['distance_status'] or '-'}"
                    f" ({leg['distance_type'] or '-'}), mass {leg['mass_status'] or '-'}, by {leg['method']}, scope 3"
                    f" category {leg['scope3_category']}"
                )
            if leg["factor_id"]:
                row = f", row {leg['factor_row_id']}" if leg["factor_row_id"] else ""
                print(
                    f"     {leg['factor_id']}: {leg['factor_source'] or ''}"
                    f" {'' if leg['factor_year'] is None else int(leg['factor_year'])}{row}"
                    f" {leg['factor_source_address'] or ''}".rstrip()
                )
            if leg["kg_co2e_tonne_km"] is not None:
                print(f"     by tonne-kilometres it would be {leg['kg_co2e_tonne_km']:.6g} kg")
        parts = ", ".join(f"{name.replace('_', ' ')} {kg:.4g}" for name, kg in parcel["by_activity"].items())
        print(f"\n  Sum: {parts}; together {parcel['kg_co2e']:.6g} kg CO2e")
    for lot in found["lots"]:
        share = "no parcel with legs" if lot["kg_co2e"] is None else f"{lot['kg_co2e']:.6g} kg CO2e"
        print(
            f"Return line {lot['return_line_id']}, {lot['units']} x {lot['product_id']}"
            f" ({lot['disposition'] or 'not decided'}): {share}"
        )


@app.command(epilog=_example("backhaul levers --from 2025-01-01 --where country=FR"))
def levers(
    where: Where = None,
    since: Annotated[str | None, typer.Option("--from", help="First day of the request, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Say what each lever would have saved on the returns that were: kilograms, money, days.

    They overlap and do not add up.
    """
    from pipelines import metrics

    with _open(warehouse) as build:
        found = metrics.levers(
            build, where=_filters(build, "kg_co2e", where), since=_day(since, "--from"), until=_day(until, "--to")
        )
        why = _lacks(build, "kg_co2e")
    rows = [{**r, "assumes": ", ".join(r["assumes"])} for r in _records(found)]
    title = "Levers on the returns that were; days below 0 are later; assumptions are rows of data/costs.csv"
    _print(rows, output, title, why)


@app.command(epilog=_example('backhaul close 2026-01 --approver "A. Martin"'))
def close(
    month: Annotated[str, typer.Argument(help="Year and month of the requests, 2026-01.")],
    approver: Annotated[str, typer.Option(help="Who signs for it.")],
    note: Annotated[str, typer.Option(help="Why a month is closed anew.")] = "",
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Freeze a month's emissions with their factors. Later changes show as restatements, with their cause."""
    from pipelines import closing

    found = closing.close(_settings(warehouse, wait), month, approver, note)
    print(f"{found.month} is closed: {found.kg_co2e:,.3f} kg CO2e, signed by {found.approver}, in {found.path}.")


@app.command(epilog=_example("backhaul closed --format csv"))
def closed(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List closed months: what was signed for, what it would be now, and the part of each cause."""
    from pipelines import closing

    found = closing.restatements(_settings(warehouse))
    _print(
        _records(found),
        output,
        (
            "late: recorded since; gone: taken back; factor: another factor; inputs: other distances or masses (kg"
            " CO2e)"
            if len(found)
            else "No month is closed yet: `backhaul close MONTH`"
        ),
    )


@app.command(epilog=_example("backhaul company --country FR --employees 1200 --turnover 510"))
def company(
    country: Annotated[str | None, typer.Option(help="ISO 3166 letters.")] = None,
    employees: Annotated[int | None, typer.Option(help="Of the last financial year.")] = None,
    turnover: Annotated[float | None, typer.Option(help="EUR million of the last financial year.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Say who reports, or show it, and which reports are obligatory for such a company today. Counsel confirms."""
    from dataclasses import asdict

    from pipelines import disclosure

    settings = _settings(warehouse)
    if country is not None and employees is not None and turnover is not None:
        disclosure.set_company(settings, country, employees, turnover)
    elif (country, employees, turnover) != (None, None, None):
        raise SourceError("Give --country, --employees and --turnover together.")
    found = disclosure.company(settings)
    rows = [asdict(o) for o in disclosure.obligations(found, date.today())]
    _print(
        rows,
        output,
        f"{found.country}, {found.size}" if found else "No company yet: give --country, --employees and --turnover",
    )


@app.command(epilog=_example("backhaul report emissions-2025.xlsx --from 2025-01-01 --to 2025-12-31"))
def report(
    file: Annotated[
        Path,
        typer.Argument(help="Where to: .xlsx to recompute, .pdf to read, .json one iLEAP-shaped shipment a parcel."),
    ],
    since: Annotated[str, typer.Option("--from", help="First day of the request, 2025-01-01.")],
    until: Annotated[str, typer.Option("--to", help="Last day.")],
    warehouse: Warehouse = "warehouse",
) -> None:
    """Write the carbon report of a span.

    Scope 3 by category, an ESRS E1-6 shaped table, discarded goods, factors, method.
    """
    from pipelines.report import write

    first, last = date.fromisoformat(str(_day(since, "--from"))), date.fromisoformat(str(_day(until, "--to")))
    with progress() as say:
        say("gathering the report")
        found = write(_settings(warehouse), first, last, file)
    print(
        f"{file}: {found.total:,.1f} kg CO2e ({found.low:,.1f} to {found.high:,.1f}), {found.primary_share:.0%} from"
        " primary data."
    )


@app.command(epilog=_example("backhaul forecast --measure inspection_units --by place_id"))
def forecast(
    measure: Annotated[
        str, typer.Option(help="returned_units, inspection_units, refund_amount or kg_co2e.")
    ] = "returned_units",
    by: Annotated[str | None, typer.Option(help="category, country, channel or place_id (site).")] = None,
    where: Where = None,
    tested: Annotated[bool, typer.Option("--tested", help="Show the back-test, week by week, instead.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Forecast the next twelve weeks with 80% intervals.

    What does not beat the same weeks a year ago is told, not shown.
    """
    from pipelines import metrics

    with _open(warehouse) as build:
        chosen = _filters(build, "returned_units", where)
        if tested:
            found = metrics.backtested(build, measure, by=by, where=chosen)
            _print(_records(found), output, "Forecasts from earlier weeks beside what came (units)")
            return
        found = metrics.forecast(build, measure, by=by, where=chosen)
        why = _lacks(build, "returned_units")
    hidden = sorted(found.loc[~found["is_shown"].astype(bool), "group"].unique()) if len(found) else []
    shown = found[found["is_shown"].astype(bool)] if len(found) else found
    title = "Next weeks; week is its first day" + (
        f". Not shown, a year ago tells more: {', '.join(h or 'all' for h in hidden)}" if hidden else ""
    )
    _print(_records(shown.drop(columns=["is_shown"])), output, title, why)


@app.command(epilog=_example("backhaul claims --format csv"))
def claims(
    where: Where = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List parcels that carriers lost: what to claim, until when, what is filed and what was paid."""
    from pipelines import metrics

    with _open(warehouse) as build:
        found = metrics.claims(build, where=_filters(build, "claims_open_amount", where))
        why = _lacks(build, "claims_open_amount")
    worth = found.loc[found["status"] == "eligible", "amount"].sum()
    _print(_records(found), output, f"{worth:,.2f} can be claimed", why)


@app.command(epilog=_example("backhaul dispose --from 2025-01-01 --carbon-price 100 --capacity refurbished=40"))
def dispose(
    since: Annotated[str | None, typer.Option("--from", help="First day of the order, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    where: Where = None,
    carbon_price: Annotated[float | None, typer.Option(help="EUR a tonne of CO2e.")] = None,
    capacity: Annotated[
        list[str] | None, typer.Option("--capacity", help="route=units a day; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the items with their best route to this CSV.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Say where inspected goods should have gone: the best route of each under the capacities, beside what was done."""
    from pipelines import metrics

    limits = {name: float(values[0]) for name, values in _pairs(capacity, "--capacity").items()}
    with _open(warehouse) as build:
        chosen = _filters(build, "returned_units", where)
        found = metrics.dispose(
            build,
            where=chosen,
            since=_day(since, "--from"),
            until=_day(until, "--to"),
            carbon_price=carbon_price,
            capacity=limits,
        )
        why = _lacks(build, "recovery_rate")
    if out is not None:
        from pipelines.formulas import guarded

        found.items.map(lambda v: guarded(v) if isinstance(v, str) else v).to_csv(out, index=False)
    title = (
        f"{len(found.items):,} items: {found.value:,.0f} at best, {found.value_done:,.0f} as done: regret"
        f" {found.regret:,.0f}, {found.regret_kg_co2e:+,.1f} kg CO2e, {found.avoided_kg_co2e:+,.0f} kg avoided beside"
    )
    title += f"; left out without an exchange rate: {found.unpriced:,} items" if found.unpriced else ""
    _print(_records(found.routes), output, title, why)


@app.command(epilog=_example("backhaul simulate --fee 2 --window 30 --from 2025-02-01 --name 'fee and month'"))
def simulate(
    window: Annotated[int | None, typer.Option("--window", help="Return window (days).")] = None,
    fee: Annotated[float | None, typer.Option(help="EUR more a return; below 0: less.")] = None,
    free_exchange: Annotated[bool, typer.Option("--free-exchange", help="Exchanges cost nothing.")] = False,
    methods: Annotated[str | None, typer.Option(help="Methods still offered: drop_off,store.")] = None,
    trigger: Annotated[
        str | None, typer.Option(help="Stage that starts the refund: carrier_scan, received or inspected.")
    ] = None,
    no_box: Annotated[bool, typer.Option("--no-box", help="What is dropped off travels without packaging.")] = False,
    inspection: Annotated[float | None, typer.Option(help="Inspection capacity over the history's: 1.2.")] = None,
    carrier: Annotated[str | None, typer.Option(help="OLD>NEW.")] = None,
    carbon_price: Annotated[float | None, typer.Option(help="EUR a tonne of CO2e.")] = None,
    name: Annotated[str | None, typer.Option(help="Save it under this name.")] = None,
    saved: Annotated[
        list[str] | None, typer.Option("--saved", help="A saved scenario instead; several are compared.")
    ] = None,
    weeks: Annotated[
        bool, typer.Option("--weeks", help="Show the next twelve weeks of returned units under it instead.")
    ] = False,
    front: Annotated[
        bool, typer.Option("--front", help="Try a grid of policies and mark those no other beats.")
    ] = False,
    since: Annotated[str | None, typer.Option("--from", help="First day of the order, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    where: Where = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Re-run the returns that were under another policy.

    Dates, costs and kilograms are arithmetic; what customers would do is assumed, and said.
    """
    from pipelines import metrics, scenarios

    settings = _settings(warehouse)
    asked: dict[str, Any] = {"since": _day(since, "--from"), "until": _day(until, "--to")}
    if front:
        with _open(warehouse) as build:
            _print(
                _records(metrics.pareto(build, where=_filters(build, "returned_units", where), **asked)),
                output,
                "Policies tried; is_best: no other is better in margin, sales, kilograms and days at once",
            )
        return
    if saved:
        tried = {n: scenarios.find(settings, n) for n in saved}
    else:
        given = {
            "window_days": window,
            "fee": fee,
            "free_exchange": free_exchange,
            "methods": methods.split(",") if methods else None,
            "refund_trigger": trigger,
            "no_box": no_box,
            "inspection": inspection,
            "carrier": carrier,
            "carbon_price": carbon_price,
        }
        tried = {name or "scenario": metrics.read_scenario(given)}
    with _open(warehouse) as build:
        chosen = _filters(build, "returned_units", where)
        told = metrics.forward if weeks else metrics.simulate
        rows = [{"scenario": n, **r} for n, s in tried.items() for r in _records(told(build, s, where=chosen, **asked))]
    if name and not saved:
        scenarios.save(settings, name, tried[name])
    assumed = sorted({a for s in tried.values() for a in s.assumes})
    _print(
        rows,
        output,
        (
            "Assumed of customers: " + ", ".join(a.removeprefix("behaviour_") for a in assumed)
            if assumed
            else "Arithmetic alone: nothing is assumed of customers"
        ),
    )


@policy_app.command(name="list", epilog=_example("backhaul policy list --format csv"))
def policy_list(
    current: Annotated[bool, typer.Option("--current", help="Only the versions in force.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List every version.

    For whom, since when, the window, the promises, and how many order lines and returns fall under it.
    """
    from pipelines import policies

    with _open(warehouse) as build:
        found = policies.versions(build)
    names = [
        "policy_id",
        "valid_from",
        "valid_to",
        "market",
        "channel",
        "category",
        "loyalty_tier",
        "exception",
        "window_days",
        "window_until",
        "fee_amount",
        "currency",
        "methods",
        "refund_trigger",
        "promises",
        "order_lines",
        "returns",
    ]
    if current:
        found = found[found["valid_to"].isna()]
    rows = [
        {n: None if row[n] is None or row[n] != row[n] else row[n] for n in names} for row in found.to_dict("records")
    ]
    if output is Format.table:
        empty = {"promises"} | {
            n for n in names if all(row[n] in (None, "", 0) for row in rows)
        }  # `policy show` says what is promised
        rows = [{k: v for k, v in row.items() if k not in empty} for row in rows]
    _print(rows, output, "Return policies, newest first")


@policy_app.command(name="show", epilog=_example("backhaul policy show policy-FR > policy-FR.yaml"))
def policy_show(
    policy: PolicyId,
    on: Annotated[
        str | None, typer.Option(metavar="DAY", help="The version in force on this day; the latest when left out.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="As a new version: it begins on the first day it may.")] = False,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Write a version as YAML, to read or to edit and publish."""
    from pipelines import policies

    with _open(warehouse) as build:
        found = policies.published(build, policy, _day(on, "--on"))
        typer.echo(policies.text(policies.renewed(found, build) if new else found), nl=False)


@policy_app.command(name="compare", epilog=_example("backhaul policy compare policy-DE 2025-01-31 2026-01-31"))
def policy_compare(
    policy: PolicyId,
    first: Annotated[
        str, typer.Argument(metavar="DAY|ID|FILE", help="A day of the same policy, another policy, or a file.")
    ],
    second: Annotated[
        str | None, typer.Argument(metavar="[DAY]", help="Another day; the latest version when left out.")
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List what differs between two versions, two policies, or a policy and a file."""
    from pipelines import policies

    with _open(warehouse) as build:
        day = second if second is not None else None
        if Path(first).suffix in (".yaml", ".yml", ".csv"):
            pair = (policies.published(build, policy, _day(day, "DAY")), policies.read(Path(first))[0])
        elif first[:4].isdigit():
            pair = (
                policies.published(build, policy, _day(first, "DAY")),
                policies.published(build, policy, _day(day, "DAY")),
            )
        else:
            pair = (
                policies.published(build, policy, _day(day, "DAY")),
                policies.published(build, first, _day(day, "DAY")),
            )
    names = [f"{p.policy_id} since {p.valid_from}" for p in pair]
    rows = [{"what": what, "first": a, "second": b} for what, a, b in policies.compare(*pair)]
    _print(rows, output, " against ".join(names))


@policy_app.command(name="check", epilog=_example("backhaul policy check policy-FR.yaml"))
def policy_check(file: PolicyFile, warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """Say what is wrong with the policies of a file, and from which day they may begin.

    Exit 1 when one cannot be published.
    """
    from pipelines import policies

    given = policies.read(file)
    with _open(warehouse) as build:
        found = [(p, policies.check(build, p), policies.earliest(build, p)) for p in given]
    rows = [
        {"policy_id": p.policy_id, "earliest_day": first, "where": x.where, "stops": x.is_error, "problem": x.sentence}
        for p, wrong, first in found
        for x in wrong or [policies.Problem("", "nothing is wrong", is_error=False)]
    ]
    _print(rows, output, str(file))
    if any(x.is_error for _, wrong, _ in found for x in wrong):
        raise typer.Exit(1)


@policy_app.command(name="publish", epilog=_example("backhaul policy publish policy-FR.yaml"))
def policy_publish(
    file: PolicyFile,
    namespace: Annotated[
        str | None, typer.Option(help="Source whose orders the policy is for, when there are several.")
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Publish the policies of a file as new versions.

    Orders placed from then on fall under them, earlier ones keep theirs.
    """
    from pipelines import policies

    given = policies.read(file)
    with _open(warehouse) as build, progress() as say:
        report = policies.publish(_settings(warehouse, wait), given, build, namespace=namespace, progress=say)
    if not report.is_new_build:
        typer.echo(f"Nothing new: these versions are published already, in build {report.build_id}.")
        return
    for policy in given:
        typer.echo(
            f"{policy.policy_id} is in force for orders from {policy.valid_from} on, in build {report.build_id}."
        )


@app.command(name="map", epilog=_example("backhaul map export.csv > mapping.yaml"))
def map_file(
    paths: Annotated[list[Path], typer.Argument(help="CSV, Excel, Parquet, NDJSON or JSON files, or folders of them.")],
    output: FormatOption = Format.table,
) -> None:
    """Propose a mapping for tables that are no known system's, and say what it assumes and would fill."""
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


@app.command(epilog=_example("backhaul dashboard --port 8501"))
def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Open the pages in a browser on this machine. Ctrl-C stops them."""
    from importlib import import_module

    # the command line starts the pages but must not import them: imports run dashboard -> pipelines
    import_module("dashboard.run").serve(_settings(warehouse).warehouse, port)


@app.command(epilog=_example("backhaul demo --orders 20000"))
def demo(
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="Open the pages at the end.")] = True,
    orders: Annotated[int, typer.Option(min=100, help="Order lines of the sample shop.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Same seed, same shop.")] = 7,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Make a sample shop, load it and open the pages: `sample`, `load` and `dashboard` in one."""
    import tempfile
    from importlib import import_module

    from pipelines.load import load as run
    from pipelines.sample import write_sample

    settings = _settings(warehouse)
    with tempfile.TemporaryDirectory(prefix="backhaul-sample-") as folder, progress() as say:
        say(f"simulating a shop of {orders:,} order lines")
        write_sample(Path(folder), orders, seed, progress=lambda text, _share: say(text))
        report = run(settings, [Path(folder)], source="canonical", progress=say)
    rows = {t: c["rows"] for t, c in report.changes.items() if t.startswith("fact_")}
    (
        _print([{"table": t, "rows": n} for t, n in rows.items()], Format.table, f"Demo shop in {settings.warehouse}")
        if rows
        else None
    )
    if dashboard:
        import_module("dashboard.run").serve(settings.warehouse, port)
    else:
        typer.echo("Next: backhaul dashboard")


@app.command(epilog=_example("backhaul backup /backups/2026-11-28"))
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DEST", help="New folder for the copy.")],
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Copy a warehouse whole: folder, raw files and hashing key together, with hashes. A load may run meanwhile."""
    from pipelines import copies

    with progress() as say:
        _say_copy(copies.backup(_settings(warehouse), folder, say), output, f"A copy of {warehouse} stands in {folder}")


@app.command(epilog=_example("backhaul restore /backups/2026-11-28 --warehouse warehouse"))
def restore(
    folder: Annotated[Path, typer.Argument(metavar="COPY", help="Folder that `backhaul backup` made.")],
    check_only: Annotated[bool, typer.Option("--check", help="Read the copy and say whether it is whole.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Put a copy in the place of a warehouse that is not there, once every file is held against its hash."""
    from pipelines import copies

    with progress() as say:
        if check_only:
            _say_copy(copies.verify(folder, say), output, f"The copy in {folder} is whole")
        else:
            found = copies.restore(_settings(warehouse), folder, say)
            _say_copy(found, output, f"{folder} is restored to {warehouse}")


def _say_copy(copy: "Copy", output: Format, sentence: str) -> None:
    row = {"build_id": copy.build_id, "files": copy.files, "bytes": copy.bytes, "loads_left_out": len(copy.left_out)}
    if output is not Format.table:
        _print([row], output)
        return
    typer.echo(f"{sentence}: build {copy.build_id}, {copy.files:,} files, {copy.bytes / 2**20:,.1f} MiB.")
    if copy.left_out:
        typer.echo(f"{len(copy.left_out)} loads whose files had not all landed are not in it: load them again.")


def main() -> None:
    """Run the command line. What it writes is its owner's alone."""
    os.umask(0o077)
    run(app)


if __name__ == "__main__":
    main()
