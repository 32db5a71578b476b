"""Verbs for other programs: agents, and tools that read copies of a build."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.app import app
from pipelines.cli.console import progress
from pipelines.cli.options import Warehouse, example, reader_of, refuse_password, settings_of


@app.command(
    epilog=example("backhaul mcp --warehouse /data/warehouse") + "\n\n" + example("backhaul --as anne@shop.example mcp")
)
def mcp(
    http: Annotated[
        int | None,
        typer.Option(
            "--http",
            min=1,
            max=65535,
            metavar="PORT",
            help="Listen on this port of the loopback address instead of standard input; callers show the key.",
            show_default=False,
        ),
    ] = None,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Answer agents by the Model Context Protocol: metrics, answers with their interval and reasons, rows; no SQL.

    An agent's program starts it and speaks over standard input. The end of the input, or Ctrl-C, stops it.
    """
    from pipelines.access import OWNER
    from pipelines.errors import AccessError
    from pipelines.outputs import agents_server
    from pipelines.outputs.serve import key_of

    settings = settings_of(warehouse)
    reader = reader_of(settings, "mcp")
    if http is None:
        agents_server.over_stdio(settings, lambda _: reader_of(settings, "mcp"))
        return
    if reader != OWNER:
        raise AccessError("Over HTTP each caller is the reader whose key they show: leave `--as` out.")
    key, is_new = key_of(settings)
    if is_new:
        typer.echo(f"Made a key in {settings.serve_key_file}; callers show it as X-API-Key or as a Bearer token.")
    typer.echo(f"http://127.0.0.1:{http}{agents_server.PATH}")
    agents_server.over_http(settings, http, key)


@app.command(
    epilog=example("backhaul copy --to returns.duckdb")
    + "\n\n"
    + example("backhaul copy --to postgresql://reader@db.example/shop#backhaul")
)
def copy(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            envvar="BACKHAUL_COPY_TO",
            metavar="TARGET",
            help=(
                "A postgresql:// address (with #SCHEMA when it is not backhaul), a file that ends in .duckdb, or a"
                " folder for Parquet files."
            ),
        ),
    ],
    warehouse: Warehouse = "warehouse",
) -> None:
    """Copy the current build for other tools, with what each table and column means beside it.

    Run again, it takes the place of the last copy in one step. What was not copied here is never written over.
    """
    from pipelines.warehouse.elsewhere import copy_build

    refuse_password(to, "BACKHAUL_COPY_TO")
    with progress() as say:
        done = copy_build(settings_of(warehouse).warehouse, to, say)
    typer.echo(f"{done.where}: {done.tables} tables, {done.rows:,} rows of build {done.build_id}.")


@app.command(epilog=example("backhaul catalogue metrics.yaml"))
def catalogue(
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to write; the ending .yaml or .json sets the form.")
    ],
    schema: Annotated[
        str, typer.Option("--schema", help="Schema that the copy lies in; empty for a DuckDB file.")
    ] = "backhaul",
) -> None:
    """Write the catalogue of metrics for tools that read a copy (Open Semantic Interchange 0.1.1).

    Metrics that are no plain sums of the copy stand in it by name and formula, to be asked of Backhaul.
    """
    from pipelines.outputs import semantics

    written, asked = semantics.write(out, schema)
    typer.echo(f"{out}: {written} metrics as expressions, {asked} to be asked of Backhaul.")
