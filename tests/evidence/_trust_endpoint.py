"""The endpoint asked what it does not expect.

By schemathesis from its own description, and by fifty slow and fifty busy clients.
"""

import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from pipelines.load import load
from pipelines.sample import write_sample
from pipelines.settings import Settings
from tests.evidence import Claim
from tests.evidence._trust_verbs import CONTEXT

SCHEMATHESIS = Path(sys.executable).parents[1] / "schemathesis" / "bin" / "schemathesis"
ORDERS, EXAMPLES, CLIENTS, QUESTIONS, HEALTH_MS = 4_000, 150, 50, 200, 100


def claims() -> Iterator[Claim]:
    """Serve a sample shop, and ask."""
    with served() as (port, key):
        yield _described(port, key)
        yield from _many(port, key)


@contextmanager
def served() -> Iterator[tuple[int, str]]:
    """Serve a sample shop; give the port and the key."""
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(warehouse=Path(place) / "warehouse")
        write_sample(Path(place) / "shop", ORDERS, 7)  # enough for a model of returns
        load(settings, [Path(place) / "shop"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "pipelines.cli",
            "serve",
            "--port",
            str(port),
            "--warehouse",
            str(settings.warehouse),
        ]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 120
            while time.monotonic() < until and _ask(port, "/v1/health")[0] != 200:
                time.sleep(0.1)
            yield port, settings.serve_key_file.read_text().strip()
        finally:
            server.terminate()
            server.wait()


def _ask(port: int, path: str, key: str = "") -> tuple[int, float]:
    begun = time.monotonic()
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        asked.request("GET", path, headers={"X-API-Key": key} if key else {})
        answer = asked.getresponse()
        answer.read()
        return answer.status, time.monotonic() - begun
    except OSError:
        return 0, time.monotonic() - begun
    finally:
        asked.close()


def _described(port: int, key: str) -> Claim:
    """Let schemathesis ask what the description allows and what it does not."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            str(SCHEMATHESIS),
            "run",
            f"http://127.0.0.1:{port}/openapi.json",
            "--header",
            f"X-API-Key: {key}",
            "--max-examples",
            str(EXAMPLES),
            "--seed",
            "1",
            "--mode",
            "all",
            "--phases",
            "examples,coverage,fuzzing",
            "--no-color",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""}, cwd=place
        )
        cases = re.search(r"([\d,]+) generated", done.stdout)
        unique = re.search(r"found (\d+) unique failures?", done.stdout)
    failures = int(unique[1]) if unique else 0
    print(done.stdout[-4000:] if done.returncode else "", done.stderr, file=sys.stderr)
    return Claim(
        "Questions drawn from the endpoint's own description, and against it (schemathesis): each answer is a"
        " described one",
        "0 failures",
        f"{cases[1] if cases else 'no'} questions, {failures} failures",
        not done.returncode and cases is not None,
    )


def _many(port: int, key: str) -> Iterator[Claim]:
    """Ask for health while fifty clients send half a request, and while fifty ask all the time."""
    slow = []
    for _ in range(CLIENTS):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\n")
        slow.append(client)
    yield _health(port, f"Health beside {CLIENTS} slow clients")
    for client in slow:
        client.close()
    with tempfile.TemporaryDirectory() as place:
        stop = Path(place) / "stop"
        clients = CONTEXT.Process(
            target=_busy, args=(port, key, stop)
        )  # a process of their own: their time is not ours
        clients.start()
        time.sleep(2)
        yield _health(port, f"Health beside {CLIENTS} busy clients")
        stop.touch()
        clients.join()


def _busy(port: int, key: str, stop: Path) -> None:
    """Ask for promises from many threads until a file is there."""

    def ask(first: int) -> None:
        for number in count(first):
            if stop.exists():
                return
            _ask(port, f"/v1/promise?at=0.{500 + number % 499}", key)

    threads = [threading.Thread(target=ask, args=(10 * n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _health(port: int, name: str) -> Claim:
    """Ask for health many times: the time that 95 of 100 answers stay below."""
    asked = [_ask(port, "/v1/health") for _ in range(QUESTIONS)]
    wrong = sum(status != 200 for status, _ in asked)
    p95 = 1000 * sorted(seconds for _, seconds in asked)[int(0.95 * QUESTIONS)]
    return Claim(
        name,
        f"p95 under {HEALTH_MS} ms",
        f"{p95:.0f} ms, {wrong} of {QUESTIONS} without an answer",
        p95 < HEALTH_MS and not wrong,
    )
