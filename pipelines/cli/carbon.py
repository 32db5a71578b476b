"""Verbs about emissions, factors and reports."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.app import app, factor_app, parameter_app
from pipelines.cli.console import progress
from pipelines.cli.options import (
    Format,
    FormatOption,
    Wait,
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
from pipelines.cli.output import print_json, print_rows, records_of, why_lacking
from pipelines.errors import SourceError
from pipelines.settings import Settings


@factor_app.command(name="list", epilog=example("backhaul factors list --set desnz --format csv"))
def factors_list(
    name: Annotated[str | None, typer.Option("--set", help="Only this set.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List all factors with their source, licence, vintage and age in months since the newest of their kind came out.

    Past 18 months (Regulation (EU) 2026/1030; the article could not be verified) a factor is marked.
    """
    from pipelines.factors import MONTHS_BEHIND, MONTHS_SOURCE, ages, ledger

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
        "published_on",
    )
    known = ledger(settings_of(warehouse))
    age = ages(known.rows, date.today())
    rows = [
        {c: row[c] for c in columns}
        | {"age_months": age[row["factor_id"]], "is_past_18_months": age[row["factor_id"]] > MONTHS_BEHIND}
        for row in known.rows
        if name in (None, row["factor_set"])
    ]
    first = known.chosen + (f", vintage {known.pinned}" if known.pinned else "")
    past = sum(age[str(r["factor_id"])] > MONTHS_BEHIND for r in rows)
    said = f"{past} past {MONTHS_BEHIND} months ({MONTHS_SOURCE})"
    print_rows(rows, output, f"{len(rows)} factors, {said}; first: {first}")


@factor_app.command(name="import", epilog=example("backhaul factors import glec-2025.csv --set glec"))
def factors_import(
    file: Annotated[Path, typer.Argument(help="CSV with the columns of `data/factors/emission_factors.csv`.")],
    name: Annotated[str, typer.Option("--set", help="Name of the set.")],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Import a set of factors that you hold a licence for; it stays in this warehouse."""
    from pipelines.factors import implausible, import_set, ledger, strangers

    settings = settings_of(warehouse, wait)
    number = import_set(settings, file, name)
    own = [r for r in ledger(settings).rows if r["factor_set"] == name]
    for sentence in implausible(own).values():
        print(f"warning: {sentence}")
    if unknown := strangers(own):
        print(
            f"warning: no factor that ships is for {', '.join(unknown)}: only elements that name it in `vehicle` take"
            " it. `backhaul factors list` names those that ship."
        )
    print(
        f"{number} factors of {name} are kept. `backhaul factors compare {name}` says what they would change, `backhaul"
        f" factors use {name}` makes them come first."
    )


@factor_app.command(name="use", epilog=example("backhaul factors use ademe"))
def factors_use(
    name: Annotated[str, typer.Argument(help="Set with priority.")],
    pinned: Annotated[
        int | None,
        typer.Option(
            "--vintage", help="Use the factors of this year for all years; when left out, each year uses its own."
        ),
    ] = None,
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Give a set priority and estimate all emissions again. Closed months do not change."""
    from pipelines.factors import choose, implausible, ledger
    from pipelines.load import load as load_files

    settings = settings_of(warehouse, wait)
    choose(settings, name, pinned)
    with progress() as say:
        report = load_files(settings, rebuild=True, progress=say)
    for sentence in implausible(r for r in ledger(settings).rows if r["factor_set"] == name).values():
        print(f"warning: {sentence}")
    if report.warnings:
        print_rows(report.warnings, Format.table, "Warnings")
    print(
        f"{name} comes first" + (f" in build {report.build_id}." if report.is_new_build else "; nothing is loaded yet.")
    )


@factor_app.command(name="compare", epilog=example("backhaul factors compare ademe --from 2025-01-01"))
def factors_compare(
    name: Annotated[str, typer.Argument(help="The other set.")],
    pinned: Annotated[int | None, typer.Option("--vintage", help="Use the factors of this year for all years.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="First day of the request, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Compute the emissions of the same legs with another set or vintage, and the difference due to the factors."""
    from pipelines import analyses, factors

    known = factors.ledger(settings_of(warehouse))
    if name not in known.sets:
        raise SourceError(f"There is no set {name!r}. There are {', '.join(known.sets)}.")
    with opened(warehouse) as build:
        found = analyses.factor_effect(
            build, known, replace(known, chosen=name, pinned=pinned), question_of(since, until)
        )
        why = why_lacking(build, "kg_co2e")
    ours, theirs = found["kg_co2e"].sum(), found["other_kg_co2e"].sum()
    title = f"{ours:,.1f} kg CO2e now, {theirs:,.1f} with {name}: {theirs - ours:+,.1f} kg due to the factors"
    print_rows(records_of(found), output, title, why)


@factor_app.command(name="missing", epilog=example("backhaul factors missing"))
def factors_missing(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List legs without a matching factor, with the unit to add. Their emissions are missing, not zero."""
    from pipelines import analyses

    with opened(warehouse) as build:
        found = analyses.missing_factors(build)
        why = why_lacking(build, "kg_co2e")
    needed = "Add a factor for these: `backhaul factors import`, or name vehicle and fuel in the source."
    title = needed if len(found) else "Legs without a factor" if why else "Every leg has a factor"
    print_rows(records_of(found), output, title, why)


@parameter_app.command(name="list", epilog=example("backhaul parameters list --format csv"))
def parameters_list(warehouse: Warehouse = "warehouse", output: FormatOption = Format.table) -> None:
    """List what emissions assume where nothing is reported: your own first, then what ships, each with its source."""
    from pipelines.factors import parameters
    from pipelines.own_parameters import OWN, own_parameters

    columns = ("parameter", "applies_to", "country", "valid_from_year", "value", "low", "high", "unit", "source")
    own = own_parameters(settings_of(warehouse))
    shipped = [row for (name, _), row in parameters().items() if name in OWN]
    rows = [{c: row.get(c, "") for c in columns} for row in (*own, *shipped)]
    print_rows(rows, output, f"{len(own)} of your own, {len(shipped)} that ship")


@parameter_app.command(name="import", epilog=example("backhaul parameters import parameters.csv"))
def parameters_import(
    file: Annotated[
        Path, typer.Argument(help="CSV with the columns that `backhaul parameters list --format csv` prints.")
    ],
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Give parameters of your own, and estimate all emissions again. They stay in this warehouse."""
    from pipelines.own_parameters import import_parameters

    settings = settings_of(warehouse, wait)
    number = import_parameters(settings, file)
    print(f"{number} parameters are kept{_estimated_again(settings)}.")


@parameter_app.command(name="survey", epilog=example("backhaul parameters survey trips.csv --year 2025 --country FR"))
def parameters_survey(
    file: Annotated[Path, typer.Argument(help="CSV, a row an answer: mode, km (there and back), share (0-1).")],
    year: Annotated[int, typer.Option(help="Year from which it holds.")],
    country: Annotated[str, typer.Option(help="Country it was held in; when left out, every country.")] = "",
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Take a survey of customers' trips, with the interval of its sample, and estimate all emissions again."""
    from pipelines.own_parameters import import_survey

    settings = settings_of(warehouse, wait)
    rows = import_survey(settings, file, year, country.upper())
    told = _estimated_again(settings)
    names = ("parameter", "applies_to", "country", "valid_from_year", "value", "low", "high", "source")
    print_rows([{n: row[n] for n in names} for row in rows], output, f"{len(rows)} parameters are kept{told}")


def _estimated_again(settings: Settings) -> str:
    """Make a new build with what was given, and say which; nothing when there are no data yet."""
    from pipelines.load import load as load_files

    with progress() as say:
        report = load_files(settings, rebuild=True, progress=say)
    return f", in build {report.build_id}" if report.is_new_build else "; nothing is loaded yet"


@app.command(epilog=example("backhaul explain R100302-1"))
def explain(
    return_id: Annotated[str, typer.Argument(help="Id of the return.")],
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Explain the emissions of a return: each leg's formula with its inputs, the factor and its source."""
    from pipelines import analyses

    with opened(warehouse) as build:
        found = analyses.explain(build, return_id)
    if output is Format.json:
        print_json(found)
        return
    if output is Format.csv:
        legs = [leg for parcel in found["parcels"] for leg in parcel["legs"]]
        print_rows([{k: v for k, v in leg.items() if k != "parts"} for leg in legs], output)
        return
    for parcel in found["parcels"]:
        print(f"Parcel {parcel['parcel_id']}: {parcel['kg_co2e']:.6g} kg CO2e" + _between(parcel))
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
            for part in leg["parts"]:
                print(f"     {part['formula']}")
            if leg["kg_co2e_modelled"] is not None and leg["kg_co2e"] is not None:
                print(f"     distance, mass and factor would give {leg['kg_co2e_modelled']:.6g} kg")
            if leg["factor_id"] and not leg["parts"]:
                row = f", row {leg['factor_row_id']}" if leg["factor_row_id"] else ""
                print(
                    f"     {leg['factor_id']}: {leg['factor_source'] or ''}"
                    f" {leg['factor_year'] or ''}{row}"
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


def _between(part: Mapping[str, Any]) -> str:
    return "" if part["low"] is None else f" (90%: {part['low']:.4g} to {part['high']:.4g})"


@app.command(epilog=example("backhaul levers --from 2025-01-01 --where country=FR"))
def levers(
    where: Where = None,
    since: Annotated[str | None, typer.Option("--from", help="First day of the request, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Compute the savings of each lever on the actual returns: kilograms, cost, days.

    The savings overlap and do not add up.
    """
    from pipelines import analyses

    with opened(warehouse) as build:
        found = analyses.levers(build, question_of(since, until).but(where=filters_of(build, "kg_co2e", where)))
        why = why_lacking(build, "kg_co2e")
    rows = [{**r, "assumes": ", ".join(r["assumes"])} for r in records_of(found)]
    title = "Levers on the actual returns; negative days are later; assumptions are rows of data/costs.csv"
    print_rows(rows, output, title, why)


@app.command(epilog=example("backhaul uncertainty --from 2025-01-01"))
def uncertainty(
    since: Annotated[str | None, typer.Option("--from", help="First day of the request, 2025-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List what makes the interval of emissions wide, and what each measurement would take off it, for which cost."""
    from pipelines import analyses, metrics

    with opened(warehouse) as build:
        question = question_of(since, until)
        found = analyses.tornado(build, question)
        total = metrics.answer(build, "kg_co2e", question).iloc[0]
        currency = build.info.get("reporting_currency", "EUR")
        why = why_lacking(build, "kg_co2e")
    title = (
        f"{total['value']:,.1f} kg CO2e ({total['low']:,.1f} to {total['high']:,.1f}). Low and high: if only this were"
        f" uncertain. Cost ({currency}) and kg off the interval: of the measurement, with all that it tells"
    )
    print_rows(records_of(found), output, title if len(found) else "Uncertainty", why)


@app.command(epilog=example('backhaul close 2026-01 --approver "A. Martin"'))
def close(
    month: Annotated[str, typer.Argument(help="Year and month of the requests, 2026-01.")],
    approver: Annotated[str, typer.Option(help="Person who signs the closing.")],
    note: Annotated[str, typer.Option(help="Reason to close a month again.")] = "",
    wait: Wait = 0,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Close a month's emissions with their factors. Later changes are shown as restatements, by cause."""
    from pipelines.outputs import closing

    found = closing.close(settings_of(warehouse, wait), month, approver, note)
    print(f"{found.month} is closed: {found.kg_co2e:,.3f} kg CO2e, signed by {found.approver}, in {found.path}.")


@app.command(epilog=example("backhaul closed --format csv"))
def closed(
    folder: Annotated[
        Path | None,
        typer.Option("--export", help="New folder to write them to for somebody outside, with what checks them."),
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """List closed months: the signed value, the current value, and the difference by cause."""
    from pipelines.outputs import closing, signing

    if folder is not None:
        links = signing.export(settings_of(warehouse), folder)
        print(f"{folder}: {len(links)} closings; last record {links[-1].digest}. Next: backhaul verify {folder}")
        return
    found = closing.restatements(settings_of(warehouse))
    print_rows(
        records_of(found),
        output,
        (
            "late: recorded since; gone: withdrawn; factor: another factor; inputs: other distances or masses (kg CO2e)"
            if len(found)
            else "No month is closed yet: `backhaul close MONTH`"
        ),
    )


@app.command(epilog=example("backhaul company --country FR --employees 1200 --turnover 510 --balance-sheet 300"))
def company(
    country: Annotated[str | None, typer.Option(help="Country of the seat, two letters (ISO 3166).")] = None,
    employees: Annotated[int | None, typer.Option(help="Employees in the last financial year.")] = None,
    turnover: Annotated[
        float | None, typer.Option(callback=finite, help="Turnover of the last financial year, in EUR million.")
    ] = None,
    balance_sheet: Annotated[
        float | None,
        typer.Option(callback=finite, help="Balance sheet total of the last financial year, in EUR million."),
    ] = None,
    market: Annotated[
        list[str] | None, typer.Option(help="Country where goods are placed on the market; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the legal entity.")] = None,
    euid: Annotated[str | None, typer.Option(help="European unique identifier (EUID) of the legal entity.")] = None,
    public_interest: Annotated[
        bool | None,
        typer.Option("--public-interest/--no-public-interest", help="Whether it is listed, a bank or an insurer."),
    ] = None,
    own_carrier: Annotated[
        list[str] | None,
        typer.Option(help="Carrier of the data whose vehicles are its own: scopes 1 and 2 of a report; repeatable."),
    ] = None,
    own_site: Annotated[
        list[str] | None, typer.Option(help="Place of the data (place_id) that is its own; repeatable.")
    ] = None,
    warehouse: Warehouse = "warehouse",
    output: FormatOption = Format.table,
) -> None:
    """Set or show the reporting company, and the rules that apply to it. To be confirmed by legal counsel."""
    from dataclasses import asdict

    from pipelines.outputs import disclosure, scopes
    from pipelines.warehouse.build import current_build

    settings = settings_of(warehouse)
    if own_carrier or own_site:
        with current_build(settings.warehouse) as build:
            scopes.refuse_unknown(build, tuple(own_carrier or ()), tuple(own_site or ()))
    given = {
        "country": country,
        "employees": employees,
        "turnover_eur_m": turnover,
        "balance_sheet_eur_m": balance_sheet,
        "markets": market or None,
        "name": name,
        "euid": euid,
        "is_public_interest": public_interest,
        "own_carriers": tuple(own_carrier) if own_carrier else None,
        "own_sites": tuple(own_site) if own_site else None,
    }
    given = {field: value for field, value in given.items() if value is not None}
    if given:
        disclosure.set_company(settings, **given)
    found = disclosure.company(settings)
    french = ("name_fr", "note_fr")
    rows = [
        {k: v for k, v in asdict(o).items() if k not in french} for o in disclosure.obligations(found, date.today())
    ]
    print_rows(rows, output, found.worded if found else "No company yet: give --country, --employees and --turnover")


@app.command(epilog=example("backhaul report emissions-2025.xlsx --from 2025-01-01 --to 2025-12-31"))
def report(
    file: Annotated[
        Path,
        typer.Argument(
            help=(
                "File to write: .xlsx to recompute, .pdf to read, .json with one shipment per parcel in the"
                " form of iLEAP and PACT."
            )
        ),
    ],
    since: Annotated[str, typer.Option("--from", help="First day of the request, 2025-01-01.")],
    until: Annotated[str, typer.Option("--to", help="Last day.")],
    warehouse: Warehouse = "warehouse",
) -> None:
    """Write the carbon report of a period.

    Scopes 1 to 3, tables in the form of ESRS E1-6 and E5-5, discarded goods (Art. 24), factors, method.
    """
    from pipelines.outputs.report import write

    first, last = date.fromisoformat(str(day_of(since, "--from"))), date.fromisoformat(str(day_of(until, "--to")))
    with progress() as say:
        say("gathering the report")
        found = write(settings_of(warehouse), first, last, file)
    print(
        f"{file}: {found.total:,.1f} kg CO2e ({found.low:,.1f} to {found.high:,.1f}), {found.primary_share:.0%} from"
        f" primary data, {found.reported_share:.0%} from reported inputs."
    )
