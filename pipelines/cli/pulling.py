"""Verbs that download: each run by an operator, towards an address of their own."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.app import pull_app
from pipelines.cli.console import progress
from pipelines.cli.options import example
from pipelines.errors import PullError

Into = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder the files are written into.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File of mode 0600 that holds the key; else --key-env.", show_default=False),
]


@pull_app.command(epilog=example("backhaul pull shopify https://example.myshopify.com --into inbox"))
def shopify(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The shop's own address at myshopify.com.")],
    into: Into = Path("inbox"),
    since: Annotated[
        datetime | None,
        typer.Option(help="First pull only: orders changed since (UTC).", formats=["%Y-%m-%d"], show_default=False),
    ] = None,
    key_env: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable with the token.")
    ] = "SHOPIFY_TOKEN",
    key_file: KeyFile = None,
    version: Annotated[str, typer.Option(metavar="YYYY-MM", help="Version of the Admin API.")] = "2026-07",
) -> None:
    """Download orders, returns and refunds that changed since the last pull; an interrupted pull goes on."""
    from pipelines.pull import pull_shopify
    from pipelines.pull.client import Client, key_of

    client = Client(address, {"X-Shopify-Access-Token": key_of(key_env, key_file)})
    try:
        with progress() as say:
            began = since.replace(tzinfo=UTC) if since else None
            files = pull_shopify(into, client, now=datetime.now(UTC), version=version, since=began, say=say)
    finally:
        client.close()
    _told(files, into)


@pull_app.command(epilog=example("backhaul pull dhl --numbers parcels.txt --into inbox"))
def dhl(
    numbers: Annotated[Path, typer.Option(metavar="FILE", help="Tracking numbers, one a line.")],
    into: Into = Path("inbox"),
    key_env: Annotated[str, typer.Option(metavar="NAME", help="Environment variable with the key.")] = "DHL_API_KEY",
    key_file: KeyFile = None,
    address: Annotated[str, typer.Option(help="Address of the interface.")] = "https://api-eu.dhl.com",
) -> None:
    """Download the events of parcels that are under way, by tracking number; delivered ones are skipped."""
    from pipelines.pull import pull_dhl
    from pipelines.pull.client import Client, key_of

    try:
        listed = numbers.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PullError(f"{numbers.name} cannot be read. Give a text file, one tracking number a line.") from error
    client = Client(address, {"DHL-API-Key": key_of(key_env, key_file)})
    try:
        with progress() as say:
            files = pull_dhl(into, client, listed, now=datetime.now(UTC), say=say)
    finally:
        client.close()
    _told(files, into)


@pull_app.command(epilog=example("backhaul pull objects s3://bucket/exports --into inbox"))
def objects(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="s3://, gs:// or abfs:// and the path below.")],
    into: Into = Path("inbox"),
) -> None:
    """Download the objects that are new below an address; credentials are the provider's own, in the environment."""
    from pipelines.pull import pull_objects

    with progress() as say:
        files = pull_objects(into, address, say=say)
    _told(files, into)


def _told(files: list[Path], into: Path) -> None:
    """Say what was written and what comes next."""
    for file in files:
        typer.echo(f"Written: {file.name}")
    typer.echo(f"Next: backhaul load {into}" if files else "Nothing changed since the last pull.")
