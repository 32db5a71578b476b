"""Receivers on loopback: a web hook, and as much of a mail server as a message needs; each keeps what came."""

import email
import email.policy
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def hook(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Listen on loopback and keep what is posted."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
    finally:
        server.shutdown()
        server.server_close()


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as a message needs."""

    def handle(self) -> None:
        def reply(line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        reply("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(":")[0].split()[0].upper()
            if verb == "DATA":
                reply("354 go")
                text_ = b""
                while not text_.endswith(b"\r\n.\r\n"):
                    text_ += self.rfile.readline()
                self.server.got.append(email.message_from_bytes(text_[:-5], policy=email.policy.default))  # type: ignore[attr-defined]
            if verb == "QUIT":
                reply("221 bye")
                return
            reply("250 fine")


@contextmanager
def mailbox() -> Iterator[tuple[str, list[Any]]]:
    """Take mail on loopback: the address of the server, and the messages that came."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox)
    server.got = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"smtp://127.0.0.1:{server.server_address[1]}", server.got  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
