"""Start the app as a server on the loopback address; the command line calls this."""

import os
import subprocess
import sys
from pathlib import Path

from pipelines.settings import Settings

_APP = Path(__file__).with_name("app.py")


def command(port: int) -> list[str]:
    """Give the command that serves the app on a port of the loopback address, without opening a browser."""
    return [
        sys.executable, "-m", "streamlit", "run", str(_APP),
        "--server.address=127.0.0.1", f"--server.port={port}", f"--server.maxUploadSize={Settings().upload_mb}", "--server.headless=true", "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
    ]  # fmt: skip


def environment(warehouse: Path) -> dict[str, str]:
    """Give the environment the app reads: the warehouse, and the packages wherever they are installed."""
    paths = [str(_APP.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "BACKHAUL_WAREHOUSE": str(warehouse.absolute()), "PYTHONPATH": os.pathsep.join(paths)}


def serve(warehouse: Path, port: int) -> None:
    """Serve the app until it is interrupted."""
    with subprocess.Popen(command(port), env=environment(warehouse)) as server:
        try:
            server.wait()
        except KeyboardInterrupt:
            server.terminate()
