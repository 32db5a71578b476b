"""Start the app as a server on the loopback address; the command line calls this."""

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.settings import Settings

_SERVER = Path(__file__).parents[2] / "dashboard" / "server.py"
STOP_SECONDS = 10


def command(port: int) -> list[str]:
    """Give the command that serves the app on a port of the loopback address, without opening a browser."""
    return [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(_SERVER),
        "--server.address=127.0.0.1",
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

    The warehouse, the token of the first link, and the packages wherever they are installed.
    """
    paths = [str(_SERVER.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"BACKHAUL_WAREHOUSE": str(warehouse.absolute()), "PYTHONPATH": os.pathsep.join(paths)}
    return {**os.environ, **own, **({"BACKHAUL_TOKEN": token} if token else {})}


def serve(warehouse: Path, port: int) -> None:
    """Serve the app until it is interrupted or told to end; print the link that opens it."""
    token = Settings().dashboard_token or secrets.token_urlsafe(24)
    with subprocess.Popen(command(port), env=environment(warehouse, token)) as server:
        before = {name: signal.signal(name, lambda *_: server.terminate()) for name in (signal.SIGTERM, signal.SIGHUP)}
        print(f"The pages: http://localhost:{port}/?token={token}", flush=True)
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
