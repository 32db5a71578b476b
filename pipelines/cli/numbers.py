"""Verbs that answer with metrics."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.app import app
from pipelines.cli.console import errors
from pipelines.cli.options import (
    Against,
    AsOf,
    By,
    Format,
    FormatOption,
    Key,
    Part,
    Since,
    Until,
    Warehouse,
    Where,
    example,
    filters_of,
    note_export,
    opened,
    question_of,
    settings_of,
)
from pipelines.cli.output import print_rows, records_of, why_lacking
from pipelines.errors import BackhaulError

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.metrics.question import Question
    from pipelines.warehouse.engine import Build


@app.command(epilog=example("backhaul metrics --format json"))
def metrics(output: FormatOption = Format.table) -> None:
    """List the metrics, each with its definition, formula, unit and date basis."""
    from pipelines.metrics import catalogue

    print_rows(
        [
            {"key": m.key, "sentence": m.sentence[0], "formula": m.formula, "unit": m.unit, "date_basis": m.basis}
            for m in catalogue()
        ],
        output,
        "Metrics",
    )


@app.command(
    epilog=example("backhaul metric ultimate_return_rate --by category --from 2025-10-01 --to 2025-12-31")
    + "\n\n"
    + example("backhaul metric promise_kept --by promise --where country=FR --format json")
    + "\n\n"
    + example("backhaul metric ultimate_return_rate --from 2025-12-01 --to 2025-12-31 --against target")
)
def metric(
    key: Key,
    by: By = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    as_of: AsOf = None,
    against: Annotated[
        Against | None,
        typer.Option(
            help=(
                "Compare with the period before, the same weeks of last year (52 weeks back), the year up to --to with"
                " last year's, or the target."
            )
        ),
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Compute one metric: value, interval, sample size, and the reason when it is not available."""
    from pipelines import metrics as declared

    question, groups = question_of(since, until, as_of), tuple(dict.fromkeys(by or ()))
    found = declared.metric(key)
    with opened(warehouse) as build:
        question = question.but(where=filters_of(build, key, where))
        answer = _answered(build, key, question, groups, against, warehouse)
        why = "" if len(answer) else str(declared.answer(build, key, question)["reason"].iloc[0])
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
        print_rows(rows, output, f"{found.name[0]} ({unit}, {found.dated}): {found.sentence[0]}", why)
    else:
        print_rows(rows, output, why=why)


def _answered(
    build: "Build", key: str, question: "Question", groups: Sequence[str], against: Against | None, warehouse: str
) -> "pd.DataFrame":
    """Answer a metric, alone or beside what it is compared with."""
    from models import periods
    from pipelines import metrics as declared
    from pipelines.metrics.bind import observed
    from pipelines.metrics.question import time_grain

    if against is None:
        return declared.answer(build, key, question, by=groups)
    if against is Against.target:
        from pipelines import targets

        known = [] if "://" in warehouse else targets.targets(settings_of(warehouse))
        return targets.judged(build, key, known, question, by=groups)
    if question.as_of is not None:
        raise typer.BadParameter("A comparison takes no --as-of.", param_hint="--against")
    if grains := [name for name in groups if time_grain(name)]:
        raise typer.BadParameter(
            f"Two periods are not cut by {grains[0]}: leave it out of --by.", param_hint="--against"
        )
    last = max((at.date() for at in observed(build).values()), default=None)
    until = question.until or last
    if against is Against.to_date and question.since is None and until is not None:
        period, other = periods.to_date(until)
    elif question.since is None or until is None:
        raise typer.BadParameter("Say the days that are compared with --from and --to.", param_hint="--against")
    elif against is Against.to_date:
        raise typer.BadParameter("The year to date begins on 1 January: leave --from out.", param_hint="--against")
    else:
        period = (question.since, until)
        other = (periods.before if against is Against.before else periods.same_weeks)(*period)
    found = declared.compare(build, key, question.undated(), period=period, against=other, by=groups)
    return found.assign(compared_from=other[0], compared_to=other[1])


@app.command(
    epilog=example("backhaul accrual --as-of 2025-12-31 --by month --by category --format csv")
    + "\n\n"
    + example("backhaul accrual --roll-forward --month 2025-12 --journal journal.csv")
)
def accrual(
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="DIM", help="Break down by month, category, country and others; repeatable."),
    ] = None,
    where: Where = None,
    as_of: Annotated[str | None, typer.Option(metavar="DAY", help="Closing day; the latest day when left out.")] = None,
    rolled: Annotated[
        bool, typer.Option("--roll-forward", help="From opening to closing of one month instead, by what changed it.")
    ] = False,
    month: Annotated[
        str | None,
        typer.Option(metavar="MONTH", help="With --roll-forward: the month, 2025-12; the last complete one otherwise."),
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --roll-forward: write what to book to this CSV.")
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Compute the refund liability for returns not settled yet.

    With the right to recover goods (IFRS 15), without VAT. With --roll-forward, both as they were known at each end of
    a month, to the cent; the accounts of the journal are named in the file NAME.accounts.yaml beside the warehouse.
    """
    from pipelines.analyses import accrual as booked

    if rolled or month or journal:
        if by or as_of:
            raise typer.BadParameter("--by and --as-of do not go with it.", param_hint="--roll-forward")
        _roll_forward(month, where, journal, warehouse, output)
        return
    with opened(warehouse) as build:
        question = question_of(as_of=as_of).but(where=filters_of(build, "returns_to_come_value", where))
        found = booked(build, question, by=tuple(dict.fromkeys(by or ("month",))))
        currency, why = build.info.get("reporting_currency", "EUR"), why_lacking(build, "returns_to_come_value")
    print_rows(
        records_of(found), output, f"Returns not settled yet, in {currency} without VAT; the last row is the total", why
    )


_ROLLED = ("liability", "asset")


def _roll_forward(
    month: str | None, where: list[str] | None, journal: Path | None, warehouse: str, output: Format
) -> None:
    """Print the roll-forward of a month, and write its journal."""
    from pipelines import analyses
    from pipelines.errors import ReportError
    from pipelines.outputs import journal as files
    from pipelines.settings import write_whole

    settings = settings_of(warehouse) if journal is not None else None
    with opened(warehouse) as build:
        question = question_of().but(where=filters_of(build, "returns_to_come_value", where))
        known = analyses.months(build)
        chosen = month or next((m for m in known if analyses.is_complete(build, m)), known[0] if known else "")
        if not chosen:
            raise ReportError("The data hold no month to roll forward: they begin and end within one.")
        found = analyses.roll_forward(build, chosen, question)
        currency = build.info.get("reporting_currency", "EUR")
        if settings is not None and journal is not None:
            note_export(settings, f"journal {chosen}")
            names, is_own = files.accounts(settings)
            entries = files.journal(build, found, names)
            write_whole(journal, files.to_csv(entries))
    title = f"{chosen}, in {currency} without VAT, as known at each end; used: settled, at the net value of the goods"
    title += "" if found.is_complete else "; provisional: the data do not reach beyond the month"
    rows = records_of(found.table)
    if output is Format.table:  # a sum that must add is written to the cent
        amounts = {name: [f"{row[name]:,.2f}" if row[name] == row[name] else "-" for row in rows] for name in _ROLLED}
        rows = [
            {**row, **{name: texts[n].rjust(max(map(len, texts))) for name, texts in amounts.items()}}
            for n, row in enumerate(rows)
        ]
    print_rows(rows, output, title, found.reason)
    if settings is not None and journal is not None:
        ours = "" if is_own else f"; the account names are ours, yours go into {settings.accounts_file.name}"
        typer.echo(
            f"{journal}: {len(entries):,} lines, debits and credits {entries['debit'].sum():,.2f}{ours}", err=True
        )


@app.command(
    epilog=example("backhaul export observed_return_rate --by category --out rates.xlsx")
    + "\n\n"
    + example("backhaul export observed_return_rate --rows numerator --where category=dresses --out rows.csv")
)
def export(
    key: Key,
    out: Annotated[Path, typer.Option(help="File to write; the ending .csv, .xlsx or .parquet sets the format.")],
    rows: Annotated[
        Part | None, typer.Option(help="Write the metric's source rows instead of its value; --by adds columns.")
    ] = None,
    by: By = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    as_of: AsOf = None,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Write a metric, or its source rows, to a file with its context and a checksum.

    A file of rows has the newest 1 000 000 at most, and states when there are more.
    """
    from pipelines import metrics as declared
    from pipelines.outputs import export as files

    question, groups = question_of(since, until, as_of), tuple(dict.fromkeys(by or ()))
    found = declared.metric(key)
    total = None
    with opened(warehouse) as build:
        question = question.but(where=filters_of(build, key, where))
        if rows is None:
            frame = declared.answer(build, key, question, by=groups)
        else:
            frame = declared.rows(build, key, question, by=groups, part=rows.value, limit=files.LIMIT)
            if len(frame) == files.LIMIT:
                total, _ = declared.rows_total(build, key, question, by=groups, part=rows.value)
        about = files.About(found.name.en, (key,), rows.value if rows else "", groups, question, total=total)
        files.write(frame, files.context(build, about, len(frame)), out)
    cut = f", the newest of {total:,}" if total and total > len(frame) else ""
    typer.echo(f"{out}: {len(frame):,} rows{cut}. Next: backhaul verify {out}")


@app.command(epilog=example("backhaul verify rates.xlsx") + "\n\n" + example("backhaul verify"))
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(
            help=(
                "File written by `backhaul export` or a page, or folder written by `backhaul closed --export`; when"
                " left out, the closed months of the warehouse."
            )
        ),
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Verify an exported file's rows, or that closed months are as they were signed and chained.

    Exit 1 when something has changed.
    """
    from pipelines.outputs import export as files

    if file is None or file.is_dir():
        _verify_closings(file, warehouse, output)
        return
    checked = files.verify(file)
    print_rows([{"name": name, "value": value} for name, value in files.read_about(file).items()], output, str(file))
    if not checked.holds:
        raise BackhaulError(
            f"The rows of {file} are not those that were written: the file says {checked.stated[:12]}…, its rows give"
            f" {checked.found[:12]}…. Export it again."
        )
    errors.print(f"{checked.rows:,} rows, as they were written.")


def _verify_closings(folder: Path | None, warehouse: str, output: Format) -> None:
    """Print a sentence a closing; raise where one is not whole."""
    from pipelines.outputs import signing

    links = signing.verify(settings_of(warehouse)) if folder is None else signing.verify_folder(folder)
    rows = [{"link": k.position, "closing": k.name, "is_whole": not k.problem, "sentence": k.sentence} for k in links]
    broken = [link.sentence for link in links if link.problem]
    last = f"; last record {links[-1].digest}" if links and not broken else ""
    print_rows(
        rows, output, f"{len(links)} closings{last}" if links else "No month is closed yet: `backhaul close MONTH`"
    )
    if broken:
        raise BackhaulError(f"{len(broken)} of {len(links)} closings are not whole. {broken[0]}")


@app.command(epilog=example("backhaul backtest --days 30 --days 90 --by-category"))
def backtest(
    days: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of days ago; repeatable. Default 30, 60, 90.")
    ] = None,
    by_category: Annotated[bool, typer.Option("--by-category", help="One row per month and category.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Back-test final return rates: the estimates of some days ago, and the actual rates."""
    from pipelines import analyses

    with opened(warehouse) as build:
        found = analyses.backtest(build, days_ago=days or (30, 60, 90), by="category" if by_category else None)
        why = why_lacking(build, "ultimate_return_rate")
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
    print_rows(records_of(found), output, "Final return rate by month of order: estimated and actual", why)
