"""The receiver: takes web hooks in, and answers when what they told is on disk.

    POST /hooks/NAME   an event of one hook; 200 when it is kept or was kept before
    GET  /health       whether events can be kept

401 is a wrong signature, 400 an event that is too old or empty, 413 one that is too large, 429 too much at once: ask
again after `Retry-After`; 503 a disk that fails. Nothing that a hook tells is written to a log or into an answer.
"""

import json
import shutil
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.errors import ServeError
from pipelines.receiving.hooks import Hook, hooks_of
from pipelines.receiving.spool import Full, Spool, digest
from pipelines.receiving.systems import instant, is_signed, said_at
from pipelines.settings import Settings
from pipelines.web import Answer, options, wrong

MOST_BYTES = 4 << 20  # of one event
IN_THE_LOOP = 1 << 16  # bytes of a body that is read at once; a larger one is read beside the others
AHEAD_S = 300.0  # that a sender's clock may be ahead
LEAST_FREE = 64 << 20  # bytes of the disk that are left to what else is written


class Receiver:
    """What is answered at each path."""

    def __init__(self, settings: Settings, hooks: dict[str, Hook], spool: Spool) -> None:
        self._settings, self._hooks, self._spool = settings, hooks, spool

    async def post_event(self, request: Request) -> Response:
        """Take in one event."""
        hook = self._hooks.get(str(request.path_params["name"]))
        if hook is None:
            return wrong(404, "There is no such hook. The file of hooks names those that there are.")
        try:
            body = await _body(request)
        except ClientDisconnect:
            return wrong(400, "The event ended before it was whole.")
        if body is None:
            return wrong(
                413, f"That is too much: an event has at most {MOST_BYTES >> 20} MiB.", {"Connection": "close"}
            )
        headers = dict(request.headers)
        judge = _judged if len(body) <= IN_THE_LOOP else _beside
        status, said, digests = await judge(hook, headers, body)
        if status:
            return wrong(status, said)
        try:
            is_new = await self._spool.add(hook.name, body, digests)
        except Full as full:
            return wrong(429, "Too much waits. Ask again later.", {"Retry-After": str(full.retry_s)})
        except OSError:
            return wrong(503, "The event could not be kept. Send it again.", {"Retry-After": "30"})
        if hook.system.answer == 204:
            return Response(status_code=204)
        return Answer({"status": "kept" if is_new else "known"}, hook.system.answer)

    async def get_health(self, _request: Request) -> Response:
        """Answer whether events can be kept."""
        free = shutil.disk_usage(self._spool.folder).free
        if free < LEAST_FREE:
            return wrong(503, "The disk is full: events are not kept.")
        return Answer({"status": "ok"})


async def _body(request: Request) -> bytes | None:
    """Read a body as it comes; None for one that is too large, of which nothing is kept.

    A little of what is too much is read to its end, so that the sender hears why.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= MOST_BYTES:
            parts.append(part)
        else:
            parts.clear()
        if size > 4 * MOST_BYTES:
            break
    return b"".join(parts) if size <= MOST_BYTES else None


Verdict = tuple[int, str, tuple[bytes, ...]]


async def _judged(hook: Hook, headers: dict[str, str], body: bytes) -> Verdict:
    return judged(hook, headers, body, datetime.now(UTC))


async def _beside(hook: Hook, headers: dict[str, str], body: bytes) -> Verdict:
    return await run_in_threadpool(judged, hook, headers, body, datetime.now(UTC))


def judged(hook: Hook, headers: dict[str, str], body: bytes, now: datetime) -> Verdict:
    """Judge an event by its signature, then by its time.

    Give the status and the sentence of a refusal, or 0 and by what the event is known: its body, and its name where it
    has one.
    """
    system = hook.system
    if not is_signed(system.schemes, hook.secrets, headers, body):
        return 401, "The signature is not this hook's.", ()
    if not body.strip():
        return 400, "The event is empty.", ()
    content: Any = None
    if any(place and not place.startswith("header:") for place in (system.event_id, system.sent_at)):
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):  # a load puts it aside with its reason
            content = None
    sent = instant(said_at(system.sent_at, headers, content))
    if sent is not None and system.window_s:
        age = (now - sent).total_seconds()
        if age > system.window_s or age < -AHEAD_S:
            return 400, "The event is too old, or of the future. Send it again with the time of now.", ()
    digests = [digest(hook.name, "body", body)]
    if named := said_at(system.event_id, headers, content):
        digests.append(digest(hook.name, "id", named.encode()))
    return 0, "", tuple(digests)


async def _not_found(request: Request, error: Exception) -> Response:
    return wrong(404, "There is nothing here. Hooks are posted to /hooks/NAME.")


async def _not_allowed(request: Request, error: Exception) -> Response:
    headers = getattr(error, "headers", None) or {}
    return wrong(405, f"This is asked with {headers.get('Allow', 'POST')}.", headers)


async def _failed(request: Request, error: Exception) -> Response:
    return wrong(500, "The event failed. The receiver's own output says why.")


def application(settings: Settings) -> Starlette:
    """Make the ASGI application. Raises ServeError without a hook, or where another receiver runs."""
    hooks = hooks_of(settings)
    if not hooks:
        raise ServeError(
            f"No hook is named. Set BACKHAUL_HOOK_SHOPIFY to the secret that Shopify signs with, or describe hooks in"
            f" {settings.hooks_file} (docs/live.md)."
        )
    spool = Spool(settings)
    at = Receiver(settings, hooks, spool)
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        404: _not_found,
        405: _not_allowed,
        500: _failed,
    }

    @asynccontextmanager
    async def life(_: Starlette) -> Any:
        try:
            yield
        finally:
            await run_in_threadpool(spool.close)

    return Starlette(
        routes=[
            Route("/health", at.get_health),
            Route("/hooks/{name}", at.post_event, methods=["POST"]),
        ],
        exception_handlers=handlers,
        lifespan=life,
    )


def run(receiver: Starlette, host: str, port: int) -> None:
    """Receive until interrupted."""
    uvicorn.run(receiver, **options(host, port))
