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
    opened,
    pairs,
    question_of,
    settings_of,
)
from pipelines.cli.output import print_rows, records_of, why_lacking


@app.command(epilog=example("backhaul forecast --measure inspection_units --by place_id"))
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
    from pipelines import analyses

    with opened(warehouse) as build:
        chosen = filters_of(build, "returned_units", where)
        if tested:
            found = analyses.backtested(build, measure, question_of().but(where=chosen), by=by)
            print_rows(records_of(found), output, "Forecasts from earlier weeks beside what came (units)")
            return
        found = analyses.forecast(build, measure, question_of().but(where=chosen), by=by)
        why = why_lacking(build, "returned_units")
    hidden = sorted(found.loc[~found["is_shown"].astype(bool), "group"].unique()) if len(found) else []
    shown = found[found["is_shown"].astype(bool)] if len(found) else found
    title = "Next weeks; week is its first day" + (
        f". Not shown, a year ago tells more: {', '.join(h or 'all' for h in hidden)}" if hidden else ""
    )
    print_rows(records_of(shown.drop(columns=["is_shown"])), output, title, why)


@app.command(epilog=example("backhaul claims --format csv"))
def claims(
    where: Where = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List parcels that carriers lost: what to claim, until when, what is filed and what was paid."""
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
    carbon_price: Annotated[float | None, typer.Option(help="EUR a tonne of CO2e.")] = None,
    capacity: Annotated[
        list[str] | None, typer.Option("--capacity", help="route=units a day; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the items with their best route to this CSV.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Say where inspected goods should have gone: the best route of each under the capacities, beside what was done."""
    from pipelines import analyses

    limits = {name: float(values[0]) for name, values in pairs(capacity, "--capacity").items()}
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
        f"{len(found.items):,} items: {found.value:,.0f} at best, {found.value_done:,.0f} as done: regret"
        f" {found.regret:,.0f}, {found.regret_kg_co2e:+,.1f} kg CO2e, {found.avoided_kg_co2e:+,.0f} kg avoided beside"
    )
    title += f"; left out without an exchange rate: {found.unpriced:,} items" if found.unpriced else ""
    print_rows(records_of(found.routes), output, title, why)


# Long: the options of a scenario, one a line, and the scenario they make.
@app.command(epilog=example("backhaul simulate --fee 2 --window 30 --from 2025-02-01 --name 'fee and month'"))
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
    from pipelines import analyses
    from pipelines.people import scenarios

    settings = settings_of(warehouse)
    asked = question_of(since, until)
    if front:
        with opened(warehouse) as build:
            print_rows(
                records_of(analyses.pareto(build, asked.but(where=filters_of(build, "returned_units", where)))),
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
