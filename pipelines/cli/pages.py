"""Start the app as a server: on this machine alone, or for readers who sign in; the command line calls this."""

import ipaddress
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.access import load_readers
from pipelines.errors import ServeError
from pipelines.settings import Settings

_SERVER = Path(__file__).parents[2] / "dashboard" / "server.py"
STOP_SECONDS = 10


def check_public(settings: Settings, host: str) -> None:
    """Raise ServeError for pages that others can reach without signing in, or a sign-in that is said by halves."""
    told = {
        "BACKHAUL_URL": settings.public_url,
        "BACKHAUL_OIDC_ISSUER": settings.oidc_issuer,
        "BACKHAUL_OIDC_CLIENT": settings.oidc_client,
        "BACKHAUL_OIDC_SECRET": settings.oidc_secret,
    }
    missing = ", ".join(name for name, value in told.items() if not value)
    reached = [a for a in (host, urlsplit(settings.public_url).hostname or "") if a and not is_loopback(a)]
    if not settings.oidc_issuer:
        if reached:
            raise ServeError(
                f"{reached[0]} can be reached from other machines, and nobody signs in: set {missing}"
                " (docs/sign-in.md)."
            )
        return
    if missing:
        raise ServeError(f"Sign-in is said by halves: set {missing} too (docs/sign-in.md).")
    for name in ("BACKHAUL_URL", "BACKHAUL_OIDC_ISSUER"):
        parts = urlsplit(told[name])
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise ServeError(f"{name} is {told[name][:100]}; outside this machine it begins with https://.")
    if urlsplit(settings.public_url).path:
        raise ServeError("BACKHAUL_URL is a name and a port, without a path: the pages stand at its root.")
    load_readers(settings)


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("returns.example.org"), is_loopback("0.0.0.0")
    (True, True, False, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def command(port: int, host: str = "127.0.0.1") -> list[str]:
    """Give the command that serves the app on a port of an address, without opening a browser."""
    return [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(_SERVER),
        f"--server.address={host}",
        f"--server.port={port}",
        f"--server.maxUploadSize={Settings().upload_mb}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
        "--browser.serverAddress=localhost",
        f"--browser.serverPort={port}",
        "--server.enableXsrfProtection=true",
        "--server.enableCORS=true",
        "--logger.hideWelcomeMessage=true",
    ]


def environment(warehouse: Path, token: str | None = None) -> dict[str, str]:
    """Give the environment the app reads.

    The warehouse, the token of the first link, and the packages wherever they are installed. Each run of a page is a
    thread of its own: glibc would give each an arena that it keeps (mallopt(3), M_ARENA_MAX).
    """
    paths = [str(_SERVER.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"BACKHAUL_WAREHOUSE": str(warehouse.absolute()), "PYTHONPATH": os.pathsep.join(paths)}
    return {"MALLOC_ARENA_MAX": "2", **os.environ, **own, **({"BACKHAUL_TOKEN": token} if token else {})}


def serve(warehouse: Path, port: int, host: str = "127.0.0.1") -> None:
    """Serve the app until it is interrupted or told to end; print the link that opens it."""
    settings = Settings(warehouse=warehouse)
    check_public(settings, host)
    token = settings.dashboard_token or secrets.token_urlsafe(24)
    with subprocess.Popen(command(port, host), env=environment(warehouse, token)) as server:
        before = {name: signal.signal(name, lambda *_: server.terminate()) for name in (signal.SIGTERM, signal.SIGHUP)}
        link = settings.public_url if settings.oidc_issuer else f"http://localhost:{port}/?token={token}"
        print(f"The pages: {link}", flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            server.terminate()
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
