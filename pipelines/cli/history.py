"""Verbs about what loads changed: history, differences between builds, the way back."""

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import app
from pipelines.cli.options import Format, FormatOption, Wait, Warehouse, example, settings_of
from pipelines.cli.output import print_json, print_rows

if TYPE_CHECKING:
    from pipelines.load.differences import Headline, Table
    from pipelines.load.history import Entry

BuildId = Annotated[str, typer.Argument(metavar="BUILD", help="Build from `backhaul history`; its number is enough.")]
MAIN = {"order_lines": "fact_order_line", "return_lots": "fact_return_line", "refunds": "fact_refund"}
VERDICTS = ("accepted", "replaced", "withdrawn", "quarantined")


@app.command(epilog=example("backhaul history --limit 5") + "\n\n" + example("backhaul history --format json"))
def history(
    limit: Annotated[int, typer.Option(min=1, help="Builds to list.")] = 10,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Show what each load changed: rows taken in, rows of the main tables, and headline metrics, build by build."""
    from pipelines.load.history import history as builds
    from pipelines.load.history import rollbacks

    settings = settings_of(warehouse)
    entries = builds(settings, limit)
    back = rollbacks(settings)[:limit]
    if output is Format.json:
        print_json({"builds": [_whole(entry) for entry in entries], "rollbacks": back})
        return
    print_rows(
        [_rows(entry, output) for entry in entries], output, "Builds, newest first: what each took in and changed"
    )
    if output is Format.csv:
        return
    print_rows(_numbers(entries), output, "Headline metrics, over all days")
    if back:
        print_rows(back, output, "Rollbacks")
    kept = sum(entry.is_kept for entry in entries)
    if kept > 1:
        first, second = (entry.build_id for entry in [e for e in entries if e.is_kept][1::-1])
        typer.echo(f"{kept} of these builds are kept. Next: backhaul diff {_short(first)} {_short(second)}")


def _short(build_id: str) -> str:
    return str(int(build_id.split("-")[0]))


def _rows(entry: "Entry", output: Format) -> dict[str, Any]:
    """Give a build as it is listed: what it took in, and how many rows more its main tables have."""
    taken = {verdict: sum(one[verdict] or 0 for one in entry.loads) for verdict in VERDICTS}
    sources = ", ".join(sorted({str(one["source"]) for one in entry.loads})) or None
    tables = {name: (entry.rows.get(table, 0), entry.change(table)) for name, table in MAIN.items()}
    if output is not Format.table:
        listed = {name: n for name, (n, _) in tables.items()} | {f"{name}_change": n for name, (_, n) in tables.items()}
        is_seen = {"is_current": entry.is_current, "is_kept": entry.is_kept, "kind": entry.kind}
        return {"build_id": entry.build_id, **is_seen, "loads": len(entry.loads), "sources": sources, **taken, **listed}
    mark = "read now" if entry.is_current else "kept" if entry.is_kept else "gone"
    at = f"{entry.created_at:%Y-%m-%d %H:%M}"
    changes = {name: f"{n:,}" if more is None else f"{n:,} ({more:+,})" for name, (n, more) in tables.items()}
    return {"build": _short(entry.build_id), "created_at": at, "file": mark, "sources": sources, **taken, **changes}


def _numbers(entries: "list[Entry]") -> list[dict[str, Any]]:
    """Give a row a metric, a column a build, the oldest first."""
    with_metrics = [entry for entry in entries if entry.metrics][:6][::-1]
    keys = dict.fromkeys(key for entry in with_metrics for key in entry.metrics)
    rows = []
    for key in keys:
        units = {entry.metrics[key].unit for entry in with_metrics if key in entry.metrics}
        row: dict[str, Any] = {"metric": key, "unit": ", ".join(sorted(units))}
        for entry in with_metrics:
            row[f"build_{_short(entry.build_id)}"] = entry.metrics[key].value if key in entry.metrics else None
        rows.append(row)
    return rows


def _whole(entry: "Entry") -> dict[str, Any]:
    """Give all that is known of a build."""
    tables = {name: {"rows": rows, "change": entry.change(name)} for name, rows in entry.rows.items()}
    said = {k: v for k, v in vars(entry).items() if k not in ("rows", "before", "metrics", "loads")}
    metrics = {key: vars(number) for key, number in entry.metrics.items()}
    return said | {"loads": list(entry.loads), "tables": tables, "metrics": metrics}


@app.command(epilog=example("backhaul diff 1 2") + "\n\n" + example("backhaul diff 1 2 --format json"))
def diff(
    first: BuildId,
    second: BuildId,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Compare two kept builds: rows of each table added, gone and changed, and headline metrics with why."""
    from pipelines.load.differences import compare
    from pipelines.load.history import named

    settings = settings_of(warehouse)
    found = compare(settings, named(settings, first), named(settings, second))
    if output is Format.json:
        tables = [{**vars(t), "columns": dict(t.columns)} for t in found.tables]
        metrics = [_number(one) | {"before": vars(one.before), "after": vars(one.after)} for one in found.metrics]
        loads = {"loads_added": found.loads_added, "loads_gone": found.loads_gone}
        print_json({"first": found.first, "second": found.second, **loads, "tables": tables, "metrics": metrics})
        return
    differing = [_table(table) for table in found.tables if not table.is_same]
    print_rows(differing, output, f"Tables that differ, {found.first} to {found.second}", "every row is the same")
    if output is Format.csv:
        return
    print_rows([_number(one) for one in found.metrics], output, "Headline metrics, over all days")
    for words, ids in (("more", found.loads_added), ("less", found.loads_gone)):
        if ids:
            typer.echo(f"{found.second} holds {len(ids):,} loads {words}: {', '.join(ids[:5])}")


def _table(table: "Table") -> dict[str, Any]:
    most = ", ".join(f"{name} {count}" for name, count in table.columns[:3])
    return {
        "table": table.name,
        "before": table.before,
        "after": table.after,
        "added": table.added,
        "gone": table.gone,
        "changed": table.changed if table.is_keyed else None,
        "columns_changed": most or None,
    }


def _number(one: "Headline") -> dict[str, Any]:
    return {
        "metric": one.key,
        "unit": one.after.unit,
        "before": one.before.value,
        "after": one.after.value,
        "change": one.change,
        "n_before": one.before.n,
        "n_after": one.after.n,
        "why": one.why or None,
    }


@app.command(epilog=example("backhaul rollback 1"))
def rollback(
    build_id: BuildId,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Have readers see an earlier build that is kept; nothing is deleted. The next load with new files ends it."""
    from pipelines.load.history import named
    from pipelines.load.history import rollback as back

    settings = settings_of(warehouse, wait)
    chosen = named(settings, build_id)
    without = back(settings, chosen, getpass.getuser())
    typer.echo(f"Readers see build {chosen}.")
    if without:
        listed = ", ".join(without[:3]) + (" ..." if len(without) > 3 else "")
        typer.echo(
            f"It does not hold {len(without):,} loads ({listed}); the next load with new files takes them in again."
            f" To leave one out for good: backhaul withdraw {without[0]}"
        )
