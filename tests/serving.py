"""Applications served on loopback, and one question to such a server: for tests of what answers over HTTP."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

Serve = Callable[[Any], int]
"""Serve an application; gives the port."""


@dataclass(frozen=True)
class Answered:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes


@contextmanager
def serving() -> Iterator[Serve]:
    """Start servers, and stop them at the end."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def serve(application: Any) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        config = uvicorn.Config(application, host="127.0.0.1", port=port, log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.02)
        return port

    try:
        yield serve
    finally:
        for server, thread in running:
            server.should_exit = True
            thread.join(120)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answered:
    """Ask a server of this machine once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answered(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()
