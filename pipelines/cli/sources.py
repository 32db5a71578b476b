"""The verb about the sources of a warehouse."""

from typing import Annotated, Any

import typer

from pipelines.cli.app import app
from pipelines.cli.console import errors, signs
from pipelines.cli.options import Format, FormatOption, Wait, Warehouse, example, note_change, settings_of
from pipelines.cli.output import print_rows


@app.command(
    epilog=example("backhaul sources") + "\n\n" + example("backhaul sources --to mailto:data@example.org --tell")
)
def sources(
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Notify this address of problems from now on, and no other: mailto:, https:, slack+https: or"
            " teams+https:; repeatable; `nobody` ends it.",
            show_default=False,
        ),
    ] = None,
    tell: Annotated[bool, typer.Option("--tell", help="Notify now of new problems, as each load does.")] = False,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Show each source: rows, share accepted, newest event, silence, columns. Exit 1 when one has a problem."""
    from pipelines.alerts.sources import notify, tell_problems
    from pipelines.load.scorecard import by_key, scorecards

    settings = settings_of(warehouse, wait)
    if to:
        note_change(settings, "sources --to")
        notify(settings, [address for address in to if address != "nobody"])
    cards = scorecards(settings)
    rows: list[dict[str, Any]] = [
        {
            "source": card.source,
            "loads": card.loads,
            "rows": card.rows,
            "share_accepted": card.share_accepted,
            "last_load": card.last_loaded_at.replace(microsecond=0),
            "last_rows": card.last_rows,
            "last_share_accepted": card.last_share_accepted,
            "newest_event": card.newest_event_at,
            "hours_silent": round(card.silent_for.total_seconds() / 3600, 1),
            "usual_hours": None if card.usual_gap is None else round(card.usual_gap.total_seconds() / 3600, 1),
            "problems": "; ".join(sentence for _, sentence in card.problems) or None,
        }
        for card in cards
    ]
    if output is Format.table:
        rows = [{k: v for k, v in row.items() if k != "problems"} for row in rows]
    print_rows(rows, output, "Sources", "no load was published")
    for card in cards if output is Format.table else ():
        for _, sentence in card.problems:
            typer.echo(signs(sentence))
    if tell:
        for sentence in tell_problems(settings, by_key(cards)):
            errors.print(signs(sentence), soft_wrap=True, highlight=False, markup=False)
    if any(card.problems for card in cards):
        raise typer.Exit(1)
