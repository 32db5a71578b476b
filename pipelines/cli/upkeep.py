"""Verbs that look after a warehouse."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import app
from pipelines.cli.console import progress, signs, told
from pipelines.cli.options import Format, FormatOption, Wait, Warehouse, example, opened, settings_of
from pipelines.cli.output import first_rows, plain_value, print_rows
from pipelines.errors import ForgetError, WarehouseDamaged
from pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.analyses.unlocks import Missing
    from pipelines.outputs.copies import Copy
    from pipelines.people.forget import Erasure


@app.command(
    epilog=example("backhaul forget anne@example.org")
    + "\n\n"
    + example("backhaul forget 17850 --source online_retail")
)
def forget(
    customer: Annotated[
        str,
        typer.Argument(
            metavar="CUSTOMER",
            help=(
                "Customer id as the source writes it, for example an e-mail address or a number; - reads it"
                " from standard input."
            ),
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAMESPACE",
            help="Source of the customer, as listed by `backhaul status`; every source when left out.",
            show_default=False,
        ),
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Erase one customer from all stored data, and search it for remaining traces.

    Sales and returns stay, without the person.
    """
    from pipelines.people.forget import forget as erase

    settings = settings_of(warehouse, wait)
    text = sys.stdin.readline() if customer == "-" else customer
    with progress() as say:
        done = erase(settings, text, source, say)
    told("forgotten", loads=done.loads, files=done.files, records=done.records, found=done.found)
    _print_erasure(done, output)
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


def _print_erasure(done: "Erasure", output: Format) -> None:
    """Print what forgetting a customer did, and where they were searched."""
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
        print_rows(rows, output, "Searched in full, unpacked, in UTF-8 and UTF-16, for the id and its keyed hash")
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


@app.command(epilog=example("backhaul retain --raw-days 90"))
def retain(
    raw_days: Annotated[
        int,
        typer.Option("--raw-days", min=1, metavar="DAYS", help="Delete raw files older than this number of days."),
    ],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Delete the raw files of older loads; logs and numbers stay.

    With BACKHAUL_RAW_DAYS, each load does the same at its end.
    """
    from pipelines.load import retain as delete
    from pipelines.warehouse import state

    settings = settings_of(warehouse, wait)
    with progress() as say:
        gone = delete(settings, raw_days, say)
    typer.echo(f"The raw files of {len(gone)} loads are deleted. {state.raw_files(settings)}".rstrip())


@app.command(name="rotate-key", epilog=example("backhaul rotate-key"))
def rotate_key(wait: Wait = 0, warehouse: Warehouse = "warehouse") -> None:
    """Hash customers with a new key: every load is validated again from its raw files.

    The old key is deleted when the new build is published.
    """
    from pipelines.load import rotate_key as rotate

    settings = settings_of(warehouse, wait)
    with progress() as say:
        report = rotate(settings, say)
    for failed in report.failed:
        typer.echo(f"Load {failed['load']} was put aside: {failed['problem']}")
    typer.echo(
        f"Build {report.build_id} is hashed with a new key; the old one is gone. Copies made before hold the old key."
    )


@app.command(epilog=example("backhaul status --format json"))
def status(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """Show builds, loads, freshness, row counts, quarantine, failed checks, and the columns to ask for."""
    from sqlalchemy import select

    from pipelines.analyses import unlocks
    from pipelines.warehouse import state
    from pipelines.warehouse.build import current_id
    from pipelines.warehouse.star import estimates

    settings = settings_of(warehouse)
    unbuilt = state.listed_loads(settings) if output is Format.table and current_id(settings.warehouse) is None else []
    if unbuilt:  # nothing was ever published: what was tried is shown before the sentence that says so
        print_rows(unbuilt, output, "Loads")
    with opened(warehouse) as build:
        sources = build.fetch(select(estimates.build_source).order_by(*estimates.build_source.columns)).to_dict(
            "records"
        )
        info = dict(build.fetch(select(estimates.build_info)).itertuples(index=False, name=None))
        missing = unlocks.missing(build)
    parts = _status_parts(settings, info, sources, missing)
    reach = state.raw_files(settings)
    if output is Format.json:
        typer.echo(
            json.dumps(
                {
                    "raw_files": reach,
                    "build_id": info["build_id"],
                    "observed_until": info["observed_until"],
                    "reporting_currency": info["reporting_currency"],
                    **{n: [{k: plain_value(v) for k, v in row.items()} for row in rows] for n, rows in parts.items()},
                },
                indent=2,
                default=str,
            )
        )
        return
    for name, rows in parts.items():
        if output is Format.csv:
            typer.echo(f"# {name}")
        print_rows(rows, output, name.replace("_", " ").capitalize())
    if output is Format.table:
        typer.echo(
            f"Build {info['build_id']}, observed until {info['observed_until']} UTC, money in"
            f" {info['reporting_currency']}."
        )
        if reach:
            typer.echo(reach)


def _status_parts(
    settings: Settings, info: dict[str, str], sources: list[dict[Any, Any]], missing: "list[Missing]"
) -> dict[str, list[dict[str, Any]]]:
    """Give the tables of `status`: builds, loads, freshness, rows, files, faults, checks, and columns to ask for."""
    from pipelines.analyses import unlocks
    from pipelines.warehouse import state

    builds = state.builds(settings)
    checks = state.check_results(settings)
    return {
        "builds": _build_rows(settings, builds),
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


def _build_rows(settings: Settings, builds: "pd.DataFrame") -> list[dict[str, Any]]:
    """Give a row a build: when and how it was made, its order lines and return lots, whether readers see it."""
    from pipelines.warehouse.build import current_id

    return [
        {
            "build_id": b,
            "created_at": g.created_at.iloc[0],
            "kind": g.kind.iloc[0],
            "order_lines": int(g[g.table == "fact_order_line"].rows.sum()),
            "return_lots": int(g[g.table == "fact_return_line"].rows.sum()),
            "is_current": b == current_id(settings.warehouse),
        }
        for b, g in builds.groupby("build_id", sort=False)
    ]


@app.command(epilog=example("backhaul check") + "\n\n" + example("backhaul check --deep"))
def check(
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help=("Read all stored files instead: every build, and the checksums of log, raw and closed files."),
        ),
    ] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Run every check on the current build. Exit 1 when a blocking check finds rows, or a stored file is damaged."""
    import duckdb

    from pipelines.load import checks
    from pipelines.warehouse.build import AGAIN, build_path, current_build, current_id
    from pipelines.warehouse.sql import connect, quote

    settings = settings_of(warehouse)
    if deep:
        _say_findings(settings, output, is_deep=True)
        return
    current_build(settings.warehouse).close()
    connection = connect(settings=settings, folders=[settings.warehouse / "builds"])
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
                typer.echo(f"{r.check.name}: {r.rows} rows, first {signs(first_rows(r.sample))}")
    print_rows(sorted(rows, key=lambda r: -r["rows"]), output, "Checks: rows found")
    if any(r.rows and r.check.is_blocking for r in results):
        raise typer.Exit(1)


@app.command(epilog=example("backhaul doctor"))
def doctor(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List problems of the installation or the warehouse, with their solutions. Exit 1 when there is one."""
    _say_findings(settings_of(warehouse), output, is_deep=False)


def _say_findings(settings: Settings, output: Format, *, is_deep: bool) -> None:
    from pipelines.doctor import examine

    found = examine(settings, is_deep=is_deep)
    rows = [{"where": f.where, "problem": f.problem, "what_to_do": f.remedy, "is_fault": f.is_fault} for f in found]
    title = "Everything was read back" if is_deep else "Installation and warehouse"
    print_rows(rows, output, title, "nothing is wrong")
    if any(f.is_fault for f in found):
        raise typer.Exit(1)


@app.command(epilog=example("backhaul backup /backups/2026-11-28"))
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DEST", help="New folder for the copy.")],
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Copy a whole warehouse: folder, raw files and hashing key, with checksums. A load may run at the same time."""
    from pipelines.outputs import copies

    with progress() as say:
        _say_copy(
            copies.backup(settings_of(warehouse), folder, say), output, f"A copy of {warehouse} stands in {folder}"
        )


@app.command(epilog=example("backhaul restore /backups/2026-11-28 --warehouse warehouse"))
def restore(
    folder: Annotated[Path, typer.Argument(metavar="COPY", help="Folder written by `backhaul backup`.")],
    check_only: Annotated[bool, typer.Option("--check", help="Verify the copy without restoring it.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Restore a copy where no warehouse exists, after the checksum of every file is verified."""
    from pipelines.outputs import copies

    with progress() as say:
        if check_only:
            _say_copy(copies.verify(folder, say), output, f"The copy in {folder} is whole")
        else:
            found = copies.restore(settings_of(warehouse), folder, say)
            _say_copy(found, output, f"{folder} is restored to {warehouse}")


def _say_copy(copy: "Copy", output: Format, sentence: str) -> None:
    row = {"build_id": copy.build_id, "files": copy.files, "bytes": copy.bytes, "loads_left_out": len(copy.left_out)}
    if output is not Format.table:
        print_rows([row], output)
        return
    typer.echo(f"{sentence}: build {copy.build_id}, {copy.files:,} files, {copy.bytes / 2**20:,.1f} MiB.")
    if copy.left_out:
        typer.echo(f"{len(copy.left_out)} loads whose files had not all landed are not in it: load them again.")
