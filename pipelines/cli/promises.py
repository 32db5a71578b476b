"""Verbs about promises, and the endpoint."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import app
from pipelines.cli.options import (
    AsOf,
    Format,
    FormatOption,
    Warehouse,
    Where,
    day_of,
    example,
    filters_of,
    finite,
    opened,
    question_of,
    settings_of,
)
from pipelines.cli.output import plain_value, print_rows, records_of, why_lacking

if TYPE_CHECKING:
    import pandas as pd


@app.command(
    epilog=example("backhaul promise --market FR --method drop_off --at 0.95")
    + "\n\n"
    + example("backhaul promise --promise request_to_refund --all --format json")
)
def promise(
    market: Annotated[str | None, typer.Option(help="Country code of two letters (ISO 3166).")] = None,
    method: Annotated[
        str | None, typer.Option(help="Hand-over method: drop_off, locker, home_pickup, store or mail.")
    ] = None,
    carrier: Annotated[str | None, typer.Option(help="Return carrier.")] = None,
    promise_id: Annotated[str, typer.Option("--promise", help="Promise, by its name in the policies.")] = "refund",
    at: Annotated[
        float,
        typer.Option(callback=finite, min=0.5, max=0.999, help="Service level: share of returns for which it is kept."),
    ] = 0.95,
    weeks: Annotated[int, typer.Option(min=4, max=104, help="Number of past weeks whose returns are used.")] = 13,
    together: Annotated[
        bool, typer.Option("--all", help="All lanes of the selection together, with the share kept for every duration.")
    ] = False,
    as_of: AsOf = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Compute the shortest promise that meets a service level today, by lane, with the published one.

    With --all, also the share kept and the late refunds of other durations.
    """
    from pipelines import analyses
    from pipelines import metrics as declared

    lane = {"country": market, "method": method, "carrier": carrier}
    where = {k: [v] for k, v in lane.items() if v is not None}
    with opened(warehouse) as build:
        declared.read_filters(build, "promise_at", {**where, "promise_id": [promise_id]})
        found = analyses.offers(
            build, promise_id, at, question_of(as_of=as_of).but(where=where), by_lane=not together, weeks=weeks
        )
    rows = [o.row() for o in found]
    if output is Format.json:
        prices = [[{str(k): plain_value(v) for k, v in r.items()} for r in o.prices.to_dict("records")] for o in found]
        typer.echo(
            json.dumps(
                [{**row, "prices": p} for row, p in zip(rows, prices, strict=True)], ensure_ascii=False, indent=2
            )
        )
        return
    print_rows(rows, output, f"{promise_id}: service level {at:.0%}, from the last {weeks} weeks")
    if output is Format.table:
        for offer in found:
            if offer.is_unkeepable:
                where_ = " / ".join(v for v in offer.lane.values() if v) or "all lanes"
                typer.echo(
                    f"Unkeepable: {where_}: {offer.published:g} {offer.unit.replace('_', ' ')} are kept in"
                    f" {offer.kept:.1%} of cases, significantly below {at:.0%}."
                )
        if len(found) == 1 and len(found[0].prices):
            print_rows(
                [{str(k): v for k, v in r.items()} for r in found[0].prices.to_dict("records")],
                output,
                f"Share kept and late refunds by duration, in {found[0].unit.replace('_', ' ')}",
            )


@app.command(
    name="at-risk",
    epilog=example("backhaul at-risk --where country=FR --limit 20")
    + "\n\n"
    + example("backhaul at-risk --milestones"),
)
def at_risk(
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="Returns to list.")] = 50,
    steps: Annotated[
        bool,
        typer.Option(
            "--milestones", help="By the latest day of scan, receipt and inspection that keeps the refund date."
        ),
    ] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List open returns by the amount at stake if a promise is broken.

    With the next and the final promise, and the expected refund date; a step that is late already, and the refund date
    that comes of it.
    """
    from pipelines import analyses

    if steps:
        with opened(warehouse) as build:
            question = question_of().but(where=filters_of(build, "promise_kept", where))
            found = analyses.milestones(build, question, limit=limit)
            why = why_lacking(build, "promise_kept")
        print_rows(_dated(found, output), output, "Latest day of each step that keeps the refund date, late first", why)
        return
    with opened(warehouse) as build:
        found = analyses.worklist_at_risk(
            build, question_of().but(where=filters_of(build, "breach_risk", where)), limit=limit
        )
        why = why_lacking(build, "breach_risk")
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
                "missed",
                "refund_by",
            ]
        ]
    )
    print_rows(_dated(shown, output), output, "Open returns, most at stake first", why)


def _dated(found: "pd.DataFrame", output: Format) -> list[dict[str, Any]]:
    """Give rows with nothing where there is no value; in a table days without their time."""
    rows = [{k: None if v != v else v for k, v in r.items()} for r in records_of(found)]
    if output is not Format.table:
        return rows
    return [{k.removesuffix("_at"): v.date() if isinstance(v, datetime) else v for k, v in r.items()} for r in rows]


@app.command(
    epilog=example("backhaul owed --where country=FR --days 10")
    + "\n\n"
    + example("backhaul owed --rule L241-4 --due 2026-01-05 --amount 80 --on 2026-02-01")
)
def owed(
    where: Where = None,
    days: Annotated[
        float, typer.Option(callback=finite, min=0, help="Also returns whose next step falls within so many days.")
    ] = 5,
    limit: Annotated[int, typer.Option(min=1, help="Returns to list.")] = 50,
    as_of: AsOf = None,
    rule: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Work out one refund by this rule instead: L242-4 or L241-4."),
    ] = None,
    due: Annotated[
        str | None, typer.Option(metavar="DAY", help="With --rule: last day the refund was in time.")
    ] = None,
    amount: Annotated[
        float | None,
        typer.Option(callback=finite, min=0, help="With --rule: sum the customer paid, with VAT and delivery."),
    ] = None,
    on: Annotated[str | None, typer.Option("--on", metavar="DAY", help="With --rule: the day it is paid.")] = None,
    contract: Annotated[
        str | None, typer.Option(metavar="DAY", help="With --rule: day of the contract; the due day when left out.")
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List what the law adds to withdrawals refunded late, and its next step.

    France, L242-4: on the price with VAT of what is not paid back, without delivery; the text, not advice. With --rule
    one refund is worked out, without a warehouse.
    """
    from pipelines import analyses

    if rule is not None:
        first, paid, sold = day_of(due, "--due"), day_of(on, "--on"), day_of(contract, "--contract")
        if first is None or paid is None or amount is None:
            raise typer.BadParameter("needs --due, --on and --amount.", param_hint="--rule")
        found = analyses.scale(rule, first, amount, paid, sold)
        print_rows(records_of(found), output, f"{rule}: what is added to {amount:g}, due by {first}, up to {paid}")
        return
    with opened(warehouse) as build:
        question = question_of(as_of=as_of).but(where=filters_of(build, analyses.OWED_KEY, where))
        found = analyses.owed_by_law(build, question, days=days, limit=limit)
        why = why_lacking(build, analyses.OWED_KEY)
        currency = build.info.get("reporting_currency", "EUR")
    print_rows(records_of(found), output, f"Owed by law for late refunds, in {currency}, most first", why)


@app.command(epilog=example("backhaul serve --port 8600"))
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8600,
    public: Annotated[
        bool, typer.Option("--public", help="Accept other machines; put a server with TLS in front of it.")
    ] = False,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Serve a JSON interface for shops and order systems: the possible promise, and the refund date of a return.

    Ctrl-C stops it.
    """
    from pipelines.outputs import serve as endpoint
    from pipelines.web import check_host

    settings = settings_of(warehouse)
    check_host(host, is_public=public)
    with opened(warehouse):
        key, is_new = endpoint.key_of(settings)
    if is_new:
        typer.echo(f"Made a key in {settings.serve_key_file}; callers show it as X-API-Key.")
    typer.echo(f"http://{host}:{port}/v1/promise and /v1/returns/ID/refund-by; /openapi.json describes them.")
    endpoint.serve(settings, host, port, key)
