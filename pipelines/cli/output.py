"""How verbs print rows."""

import csv
import json
import math
import re
import sys
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.cli.console import signs
from pipelines.cli.options import Format

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.warehouse.engine import Build


def plain_value(value: Any) -> Any:
    """Turn a cell into something JSON and CSV can carry; not a number becomes empty."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if hasattr(value, "item"):
        return plain_value(value.item())
    return value


_SAID = ("caution", "reason")  # columns of an answer that are empty where nothing is to be said


def print_rows(rows: Sequence[dict[str, Any]], how: Format, title: str | None = None, why: str = "") -> None:
    """Print rows; where there is none, say `why`: in the table, or beside what a program reads.

    A table leaves out a column of what to say where nothing is.
    """
    rows = [{k: plain_value(v) for k, v in row.items()} for row in rows]
    if why and not rows and how is not Format.table:
        typer.echo(signs(why), err=True)
    if how is Format.json:
        print_json(rows)
        return
    names = list(rows[0]) if rows else []
    if how is Format.csv:
        from pipelines.outputs.formulas import guarded

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
    names = [name for name in names if name not in _SAID or any(row[name] for row in rows)]
    for name in names:
        numeric = all(isinstance(r[name], (int, float)) or r[name] is None for r in rows)
        table.add_column(Text(signs(name.replace("_", " "))), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[Text(signs(_cell(row[name], is_year=name.endswith("year")))) for name in names])
    console.print(table)


def print_json(told: Any) -> None:
    """Print an answer as JSON, whole; control characters as escapes."""
    text = json.dumps(told, ensure_ascii=False, indent=2, default=plain_value)
    typer.echo(re.sub("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda found: f"\\u{ord(found[0]):04x}", text))


def why_lacking(build: "Build", key: str) -> str:
    """Say why a metric has no number; nothing when it has one."""
    from pipelines.metrics.answer import withheld

    return withheld(build, key)


def records_of(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Give a frame's rows as dictionaries."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _cell(value: Any, *, is_year: bool = False) -> str:
    if value is None:
        return "-"
    if is_year and isinstance(value, (int, float)):
        return str(int(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        return f"{value:,.4g}".replace(",", "\u202f") if abs(value) < 1000 else f"{value:,.0f}".replace(",", "\u202f")
    return str(value)


def first_rows(sample: str) -> str:
    """Write a check's first rows in one line."""
    return "; ".join(" ".join(str(v) for v in row.values() if v is not None) for row in json.loads(sample))
