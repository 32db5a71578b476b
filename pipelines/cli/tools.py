"""Verbs for other programs: agents."""

from typing import Annotated

import typer

from pipelines.cli.app import app
from pipelines.cli.options import Warehouse, example, pairs, settings_of

Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIM=VALUE",
        help="Answer within this part of the data alone, for example country=FR; repeatable.",
        show_default=False,
    ),
]


@app.command(
    epilog=example("backhaul mcp --warehouse /data/warehouse")
    + "\n\n"
    + example("backhaul mcp --http 8700 --only country=FR")
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
    only: Only = None,
    warehouse: Warehouse = "warehouse",
) -> None:
    """Answer agents by the Model Context Protocol: metrics, answers with their interval and reasons, rows; no SQL.

    An agent's program starts it and speaks over standard input. The end of the input, or Ctrl-C, stops it.
    """
    from pipelines.metrics import Scope
    from pipelines.outputs import agents_server
    from pipelines.outputs.agents import Tools
    from pipelines.outputs.serve import key_of

    settings, tools = settings_of(warehouse), Tools(Scope(pairs(only, "--only")))
    if http is None:
        agents_server.over_stdio(settings, tools)
        return
    key, is_new = key_of(settings)
    if is_new:
        typer.echo(f"Made a key in {settings.serve_key_file}; callers show it as X-API-Key or as a Bearer token.")
    typer.echo(f"http://127.0.0.1:{http}{agents_server.PATH}")
    agents_server.over_http(settings, tools, http, key)
