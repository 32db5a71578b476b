"""Verbs about money."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.app import app
from pipelines.cli.options import (
    Format,
    FormatOption,
    Warehouse,
    Where,
    example,
    filters_of,
    finite,
    opened,
    pairs,
    question_of,
    settings_of,
)
from pipelines.cli.output import print_rows, records_of, why_lacking
from pipelines.written import figure


@app.command(epilog=example("backhaul forecast --measure inspection_units --by place_id"))
def forecast(
    measure: Annotated[
        str, typer.Option(help="returned_units, inspection_units, refund_amount or kg_co2e.")
    ] = "returned_units",
    by: Annotated[str | None, typer.Option(help="category, country, channel or place_id (site).")] = None,
    where: Where = None,
    tested: Annotated[bool, typer.Option("--tested", help="Show the back-test by week instead.")] = False,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Forecast the next twelve weeks with 80% intervals.

    Forecasts that are not better than the same weeks a year ago are named, not shown.
    """
    from pipelines import analyses

    with opened(warehouse) as build:
        chosen = filters_of(build, "returned_units", where)
        if tested:
            found = analyses.backtested(build, measure, question_of().but(where=chosen), by=by)
            print_rows(records_of(found), output, "Forecasts of earlier weeks and actual values (units)")
            return
        found = analyses.forecast(build, measure, question_of().but(where=chosen), by=by)
        why = why_lacking(build, "returned_units")
    hidden = sorted(found.loc[~found["is_shown"].astype(bool), "group"].unique()) if len(found) else []
    shown = found[found["is_shown"].astype(bool)] if len(found) else found
    title = "Next weeks; week is its first day" + (
        f". Not shown, the same weeks a year ago are closer: {', '.join(h or 'all' for h in hidden)}" if hidden else ""
    )
    print_rows(records_of(shown.drop(columns=["is_shown"])), output, title, why)


@app.command(epilog=example("backhaul claims --format csv"))
def claims(
    where: Where = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List parcels lost by carriers: amount to claim, deadline, claims filed and payments."""
    from pipelines import analyses

    with opened(warehouse) as build:
        found = analyses.claims(build, question_of().but(where=filters_of(build, "claims_open_amount", where)))
        why = why_lacking(build, "claims_open_amount")
    worth = found.loc[found["status"] == "eligible", "amount"].sum()
    print_rows(records_of(found), output, f"{worth:,.2f} can be claimed", why)


@app.command(epilog=example("backhaul dispose --from 2025-01-01 --carbon-price 100 --capacity refurbished=40"))
def dispose(
    since: Annotated[str | None, typer.Option("--from", help="First day of the order, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    where: Where = None,
    carbon_price: Annotated[float | None, typer.Option(callback=finite, help="EUR per tonne of CO2e.")] = None,
    capacity: Annotated[
        list[str] | None, typer.Option("--capacity", help="Units per day of a route, as ROUTE=UNITS; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the items with their best route to this CSV.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Compute the best route of inspected goods within the capacities, and the actual routes."""
    from pipelines import analyses

    limits = {}
    for route, values in pairs(capacity, "--capacity").items():
        try:
            limits[route] = figure(values[-1])
        except ValueError as error:
            raise typer.BadParameter(f"{route}: {error}.", param_hint="--capacity") from None
    with opened(warehouse) as build:
        chosen = filters_of(build, "returned_units", where)
        found = analyses.dispose(
            build, question_of(since, until).but(where=chosen), carbon_price=carbon_price, capacity=limits
        )
        why = why_lacking(build, "recovery_rate")
    if out is not None:
        from pipelines.outputs.formulas import guarded

        found.items.map(lambda v: guarded(v) if isinstance(v, str) else v).to_csv(out, index=False)
    title = (
        f"{len(found.items):,} items: best routes {found.value:,.0f}, actual routes {found.value_done:,.0f}, difference"
        f" {found.regret:,.0f}, {found.regret_kg_co2e:+,.1f} kg CO2e; avoided, reported separately:"
        f" {found.avoided_kg_co2e:+,.0f} kg"
    )
    title += f"; left out without an exchange rate: {found.unpriced:,} items" if found.unpriced else ""
    print_rows(records_of(found.routes), output, title, why)


# Long: the options of a scenario, one a line, and the scenario they make.
@app.command(epilog=example("backhaul simulate --fee 2 --window 30 --from 2025-02-01 --name 'fee and month'"))
def simulate(
    window: Annotated[int | None, typer.Option("--window", help="Return window (days).")] = None,
    fee: Annotated[
        float | None,
        typer.Option(callback=finite, help="Additional fee per return in EUR; a negative value lowers it."),
    ] = None,
    free_exchange: Annotated[bool, typer.Option("--free-exchange", help="Exchanges are free of charge.")] = False,
    methods: Annotated[
        str | None, typer.Option(help="Return methods still offered, for example drop_off,store.")
    ] = None,
    trigger: Annotated[
        str | None, typer.Option(help="Stage that starts the refund: carrier_scan, received or inspected.")
    ] = None,
    no_box: Annotated[
        bool, typer.Option("--no-box", help="Returns at a drop-off point travel without packaging.")
    ] = False,
    inspection: Annotated[
        float | None, typer.Option(callback=finite, help="Inspection capacity relative to actual, for example 1.2.")
    ] = None,
    carrier: Annotated[str | None, typer.Option(help="Replace one carrier by another, as OLD>NEW.")] = None,
    carbon_price: Annotated[float | None, typer.Option(callback=finite, help="EUR per tonne of CO2e.")] = None,
    name: Annotated[str | None, typer.Option(help="Save the scenario under this name.")] = None,
    saved: Annotated[
        list[str] | None, typer.Option("--saved", help="Use a saved scenario; several are compared.")
    ] = None,
    weeks: Annotated[
        bool,
        typer.Option(
            "--weeks", help="Show the forecast of returned units for twelve weeks under this scenario instead."
        ),
    ] = False,
    front: Annotated[
        bool, typer.Option("--front", help="Compare a grid of policies and mark the efficient ones.")
    ] = False,
    since: Annotated[str | None, typer.Option("--from", help="First day of the order, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    where: Where = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Recalculate the actual returns under another policy.

    Dates, costs and emissions are computed; customer behaviour is assumed, and the assumptions are listed.
    """
    from pipelines import analyses
    from pipelines.people import scenarios

    settings = settings_of(warehouse)
    asked = question_of(since, until)
    if front:
        with opened(warehouse) as build:
            print_rows(
                records_of(analyses.pareto(build, asked.but(where=filters_of(build, "returned_units", where)))),
                output,
                "Policies compared; is_best: no other is better in margin, sales, kilograms and days at once",
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
        tried = {name or "scenario": analyses.read_scenario(given)}
    with opened(warehouse) as build:
        chosen = filters_of(build, "returned_units", where)
        told = analyses.forward if weeks else analyses.simulate
        rows = [
            {"scenario": n, **r} for n, s in tried.items() for r in records_of(told(build, s, asked.but(where=chosen)))
        ]
    if name and not saved:
        scenarios.save(settings, name, tried[name])
    assumed = sorted({a for s in tried.values() for a in s.assumes})
    print_rows(
        rows,
        output,
        (
            "Assumed of customers: " + ", ".join(a.removeprefix("behaviour_") for a in assumed)
            if assumed
            else "Arithmetic alone: nothing is assumed of customers"
        ),
    )
