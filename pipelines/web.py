"""What every server of ours shares: answers nobody keeps, callers that ask at once, addresses that others reach."""

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Any

import h11
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.errors import ServeError

REQUEST_SECONDS = 10  # for a whole request, its header and its body
MOST_CONNECTIONS = 256  # above them the one that keeps us waiting longest is closed


def check_host(host: str, *, is_public: bool) -> None:
    """Raise ServeError for an address that others can reach, unless that is meant."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback and not is_public:
        raise ServeError(
            f"{host} can be reached from other machines. Put a server with TLS before it, and say --public."
        )


class Answer(JSONResponse):
    """JSON that nobody keeps, and no browser takes for anything else."""

    def __init__(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(
            content, status, {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
        )


def wrong(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Say in a sentence what is wrong with a request."""
    return Answer({"error": sentence}, status, {"WWW-Authenticate": "Bearer"} if status == 401 else headers)


class Impatient(H11Protocol):
    """HTTP for callers that ask at once: a request that is not whole after REQUEST_SECONDS ends its connection.

    Above MOST_CONNECTIONS each new one ends the one that has been waited for longest; one that is being answered stays.
    """

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()
        self.loop.call_later(0, self._make_room)  # once what others have sent is read

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request; once it is whole, it may take its time."""
        super().data_received(data)
        if self.conn.their_state is h11.DONE:
            self._stop()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other error is answered."""
        answer = wrong(400, msg, {"Connection": "close"})
        parts = (h11.Response(status_code=400, headers=answer.raw_headers), h11.Data(data=bytes(answer.body)))
        for part in (*parts, h11.EndOfMessage()):
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._stop()
        self._wait()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._limit = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _make_room(self) -> None:
        others = [c for c in self.connections if isinstance(c, Impatient) and c is not self and c._limit is not None]
        if len(self.connections) > MOST_CONNECTIONS and others:
            first = min(others, key=lambda other: other._limit.when() if other._limit else 0)
            first._stop()
            first.connections.discard(first)
            first.transport.abort()

    def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def options(host: str, port: int) -> dict[str, Any]:
    """Give what the server is run with: requests in time, so many connections, no sockets, no log of callers.

    The backlog is also how many connections are taken in at once.
    """
    return {
        "host": host,
        "port": port,
        "http": Impatient,
        "ws": "none",
        "backlog": MOST_CONNECTIONS,
        "timeout_keep_alive": 5,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
    }
