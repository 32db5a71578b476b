"""Verbs about the return model: what it is worth, training, and scores of lines."""

import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import app
from pipelines.cli.console import progress
from pipelines.cli.options import Format, FormatOption, Warehouse, example, opened, settings_of
from pipelines.cli.output import print_json, print_rows, records_of
from pipelines.errors import SourceError
from pipelines.written import LARGEST_TABLE, Unreadable, figure, table, text_of

if TYPE_CHECKING:
    from pipelines.estimate.probability import Version
    from pipelines.warehouse.engine import Build

Source = Annotated[
    str | None, typer.Option("--source", metavar="NAME", help="Source whose model it is, where several have one.")
]
Card = Annotated[
    Path | None, typer.Option("--card", metavar="FILE", help="Write the model card, in both languages, to this file.")
]


class Shown(StrEnum):
    """Which part of the judgement."""

    overview = "overview"
    splits = "splits"
    curve = "curve"
    decisions = "decisions"
    slices = "slices"
    importance = "importance"
    dependence = "dependence"
    leaks = "leaks"
    drift = "drift"
    versions = "versions"


_TITLES = {
    Shown.overview: "Judged on later lines",
    Shown.splits: "Splits in time",
    Shown.curve: "Calibration: expected and observed, with 95% intervals",
    Shown.decisions: "Decision value: net benefit by threshold, of the model and of acting always (never: 0)",
    Shown.slices: "By group",
    Shown.importance: "Features, by the area under the curve that is lost when they are shuffled",
    Shown.dependence: "Mean probability were all lines to have one value of a feature",
    Shown.leaks: "Refused features",
    Shown.drift: "Since it was fitted",
    Shown.versions: "Versions",
}
_TABLE = (Shown.overview, Shown.splits, Shown.slices, Shown.leaks, Shown.drift, Shown.versions)


@app.command(epilog=example("backhaul model") + "\n\n" + example("backhaul model --part curve --format csv"))
def model(
    part: Annotated[Shown | None, typer.Option("--part", help="One part of the judgement.", show_default=False)] = None,
    source: Source = None,
    card: Card = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Show the model that expects returns: what it is worth on later orders, by group, and how it has drifted."""
    from pipelines.analyses import model_report

    with opened(warehouse) as build:
        versions = model_report.models(build)
        chosen = versions.get(source) if source else next(iter(versions.values()), None)
        if chosen is None:
            _print_none(f"{source} has no model." if source else "There is no model that expects returns.", output)
            return
        _show(build, chosen, [part] if part else None, card, output)


def _print_none(sentence: str, output: Format) -> None:
    """Say that there is no model, and what one takes."""
    said = (
        f"{sentence} It takes customers, and 500 lines that came back and 500 that did not, old enough to be complete."
    )
    if output is Format.json:
        print_json({"model_id": None, "reason": said})
    else:
        typer.echo(said, err=output is Format.csv)


def _show(build: "Build", version: "Version", parts: Sequence[Shown] | None, card: Path | None, output: Format) -> None:
    """Print parts of a model's judgement, and write its card."""
    from pipelines.analyses import model_report

    wanted = parts or (_TABLE if output is Format.table else tuple(Shown))
    found: dict[Shown, list[dict[str, Any]]] = {
        p: records_of(model_report.part(build, version, p.value)) for p in wanted
    }
    _print(version, found, output, is_one=parts is not None)
    _write_card(version, card)


def _print(version: "Version", found: dict[Shown, list[dict[str, Any]]], output: Format, *, is_one: bool) -> None:
    if output is Format.json and not is_one:
        about = {"model_id": version.model_id, "kind": version.model.kind, "is_used": version.is_used}
        print_json({**about, "reason": version.why_not, **{p.value: rows for p, rows in found.items()}})
        return
    for shown, rows in found.items():
        if output is Format.csv and not is_one:
            typer.echo(f"# {shown.value}")
        if rows or output is not Format.table or is_one:
            print_rows(rows, output, _TITLES[shown], version.why_not)
    if output is Format.table:
        typer.echo(f"{version.model_id}: {version.why_not or 'in use'}.")


def _write_card(version: "Version", card: Path | None) -> None:
    if card is None:
        return
    from pipelines.outputs.model_card import model_card
    from pipelines.settings import write_whole

    write_whole(card, model_card(version).encode())
    typer.echo(f"The model card is in {card}.", err=True)


@app.command(
    epilog=example("backhaul train")
    + "\n\n"
    + example("backhaul train --from lines.csv --mapping lines.yaml --target returned")
)
def train(
    file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Flat file of order lines; the warehouse when left out."),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option("--mapping", metavar="FILE", help="Mapping of the file (YAML), see `backhaul map`.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COLUMN", help="Column of the file: 1 returned, 0 kept.")
    ] = None,
    source: Source = None,
    card: Card = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Train the return model and judge it on later orders, changing nothing; loads do the same every 28 days."""
    if file is not None and (mapping is None or target is None):
        raise typer.BadParameter("a file needs --mapping and --target.", param_hint="--from")
    from pipelines.analyses.labelled import train_build

    with progress() as say:
        if file and mapping and target:
            version: Version | None = _of_file(file, mapping, target, say)
        else:
            version = train_build(settings_of(warehouse), source)
    if version is None:
        _print_none("Nothing can be learnt.", output)
        return
    parts = (*(p for p in _TABLE if p not in (Shown.drift, Shown.versions)), Shown.curve, Shown.decisions)
    from pipelines.analyses import model_report

    found: dict[Shown, list[dict[str, Any]]] = {
        p: records_of(model_report.judged_part(version, p.value)) for p in parts
    }
    _print(version, found, output, is_one=False)
    _write_card(version, card)


def _of_file(file: Path, mapping: Path, target: str, say: Any) -> "Version":
    """Train on a flat file, in a warehouse that is thrown away."""
    from pipelines.analyses.labelled import train_labelled, with_target
    from pipelines.load import load
    from pipelines.settings import Settings
    from pipelines.warehouse.build import build_path, current_id

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = Settings(warehouse=folder / "warehouse")
        changed = with_target(mapping, target, folder / mapping.name)
        load(settings, [file], source=str(changed), progress=say)
        return train_labelled(build_path(settings.warehouse, current_id(settings.warehouse) or ""), target)


@app.command(epilog=example("backhaul score baskets.csv --format csv"))
def score(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a line a row, or JSON: a list of lines.")],
    source: Source = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Score order lines that are not loaded: probability of a return, reasons, expected cost and emissions.

    Columns: product_id or style_id, country, and where known size, colour, brand, category, name, customer_id, channel,
    order_id, net_amount, discount_amount, units, is_gift, window_days, fee_amount, ordered_on.
    """
    from pipelines.analyses import return_probability

    lines = read_lines(file)
    with opened(warehouse) as build:
        scored = return_probability.score_lines(build, lines, source)
        costs = return_probability.expected_of_return(build, lines, scored)
    rows = [
        {
            "line": number,
            "product": line.get("product_id") or line.get("style_id"),
            "probability": found.probability,
            "base_rate": found.base_rate,
            "reasons": ", ".join(f"{name} {'+' if part > 0 else '-'}" for name, part in found.reasons),
            "expected_cost": cost["expected_cost"],
            "expected_kg_co2e": cost["expected_kg_co2e"],
            "basis": cost["basis"],
            "reason": found.reason,
        }
        for number, (line, found, cost) in enumerate(zip(lines, scored, costs.to_dict("records"), strict=True), 1)
    ]
    print_rows(rows, output, f"{len(rows):,} lines")


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read lines of a CSV or JSON file; empty cells are missing. Raises SourceError."""
    import json

    from pipelines.analyses.return_probability import FIELDS

    if not file.is_file():
        raise SourceError(f"{file} is not there. Give a CSV or JSON file with a line a row.")
    try:
        text = text_of(file, LARGEST_TABLE)
        if file.suffix.lower() == ".json":
            given = json.loads(text)
            if not isinstance(given, list) or not all(isinstance(line, dict) for line in given):
                raise SourceError(f'{file} is no list of lines: write [{{"product_id": ..., "country": ...}}, ...].')
            return given
        _, rows = table(text)
    except Unreadable as error:
        where = f", line {error.line}" if error.line else ""
        raise SourceError(f"{file}{where}: {error.problem}.") from None
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{file} cannot be read as JSON. Write a list of lines, or save it as CSV in UTF-8."
        ) from error
    return [{k: _value(v, FIELDS.get(k, str)) for k, v in row.items() if v} for _, row in rows]


def _value(text: str, kind: type) -> Any:
    """Read a cell as what its column holds; what cannot be read stays a text and is refused with its line."""
    if kind is float:
        try:
            return figure(text)
        except ValueError:
            return text
    if kind is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower(), text)
    return text
