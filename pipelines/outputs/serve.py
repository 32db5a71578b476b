"""A small JSON endpoint beside the pages: what can be promised, by when to refund, and what a basket will bring back.

For a shop or an order system that shows them to its customer. It reads the published build and notices a new one,
answers who holds the key, listens on the loopback address unless told otherwise, and keeps no log of who asked what.
Return ids and customers' ids go in, the latter are hashed at once; no personal data comes out.
"""

import asyncio
import hmac
import os
import secrets
import threading
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Any

import pandas as pd
import uvicorn
from sqlalchemy import or_, select
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines import access, analyses, metrics, web
from pipelines.access import keys
from pipelines.errors import AccessError, BackhaulError, ModelMissing, ServeError, WarehouseMissing
from pipelines.load import within
from pipelines.metrics.bind import observed
from pipelines.metrics.question import Question
from pipelines.outputs import checkout
from pipelines.outputs.gauges import CONTENT_TYPE, exposition
from pipelines.outputs.serve_description import AT, LANE, choices, openapi
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build, current_id
from pipelines.warehouse.engine import Build, literal_instant
from pipelines.warehouse.rules import promise_state
from pipelines.warehouse.scope import EVERYTHING, Scope
from pipelines.warehouse.star import STAR
from pipelines.web import Answer, options, wrong

MOST_SCOPES = 50  # builds within a scope held open
MOST_ANSWERS = 2000  # kept of one build


def key_of(settings: Settings) -> tuple[str, bool]:
    """Give the key that callers show, and whether it was made just now.

    32 random bytes beside the warehouse, mode 0600.
    """
    path = settings.serve_key_file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        return path.read_text(), True
    key = path.read_text().strip()
    if len(key) < 16:
        raise ServeError(f"The key in {path} is too short to protect anything. Delete the file: a new one is made.")
    return key, False


class Reader:
    """The published build, opened once and again when another is published.

    One question at a time, each answered once a build.
    """

    def __init__(self, settings: Settings, scope: Scope = EVERYTHING) -> None:
        self._settings, self._scope = settings, scope
        self._opening, self._asking = threading.Lock(), threading.Lock()
        self._build: Build | None = None
        self._replaced: list[Build] = []
        self._about: dict[str, Any] = {}
        self._answers: dict[Hashable, dict[str, Any]] = {}

    def about(self) -> dict[str, Any]:
        """Name the build readers see now, and say up to when it knows.

        A question that is being answered holds nobody up. Raises WarehouseMissing when there is none that can be
        opened.
        """
        return self._current()[1]

    def known(self, key: Hashable) -> dict[str, Any] | None:
        """Give the answer to a question that was asked of the build readers see now, or None."""
        return self._answers.get(key) if self.seen() else None

    def seen(self) -> dict[str, Any]:
        """Give what `about` says where the build readers see now is open already, else nothing."""
        return self._about if self._about.get("build_id") == current_id(self._settings.warehouse) else {}

    def ask(self, key: Hashable | None, question: Callable[[Build], dict[str, Any]]) -> dict[str, Any]:
        """Answer a question on the build readers see now; the answer says which it was and up to when it knows.

        It is kept under the key, unless that is None.
        """
        with self._asking:
            build, about, answers = self._current()
            while self._replaced:
                self._replaced.pop().close()
            if key is None:
                return {**question(build), **about}
            if key not in answers:
                if len(answers) >= MOST_ANSWERS:
                    answers.clear()
                answers[key] = {**question(build), **about}
            return answers[key]

    def _current(self) -> tuple[Build, dict[str, Any], dict[Hashable, dict[str, Any]]]:
        with self._opening:
            now = current_id(self._settings.warehouse)
            if self._build is None or now != self._about["build_id"]:
                fresh = within.opened(self._settings, self._scope)
                until = max(observed(fresh).values(), default=None)
                if self._build is not None:
                    self._replaced.append(self._build)
                self._build, self._answers = fresh, {}
                self._about = {"build_id": now, "observed_until": _instant(until)}
            return self._build, self._about, self._answers

    def close(self) -> None:
        """Close the build."""
        with self._asking, self._opening:
            for build in (*self._replaced, *([self._build] if self._build is not None else [])):
                build.close()
            self._build, self._replaced = None, []


def _instant(at: Any) -> str | None:
    return None if at is None or pd.isna(at) else f"{pd.Timestamp(at):%Y-%m-%dT%H:%M:%SZ}"


def promise(build: Build, promise_id: str, at: float, lane: dict[str, str]) -> dict[str, Any]:
    """Give the offers of a promise: one a lane of the selection, each with the price of every duration."""
    where = {LANE[name]: [value] for name, value in lane.items()}
    metrics.read_filters(build, "promise_at", {**where, "promise_id": [promise_id]})
    found = analyses.offers(build, promise_id, at, Question(where=where))
    return {"lanes": [{**o.row(), "prices": o.prices.astype(object).to_dict("records")} for o in found]}


def refund_by(build: Build, return_id: str) -> dict[str, Any] | None:
    """Give by when a return must be refunded: by law, by promise, whichever is earlier; when it will probably be.

    None for an unknown return. A date is empty as long as it is not fixed: the legal one waits for the goods or proof
    that they were sent.
    """
    p, c = STAR.tables["estimate_promise"].c, STAR.tables["estimate_completion"].c
    until: datetime | None = max(observed(build).values(), default=None)
    at = literal_instant(until or datetime(1970, 1, 1))
    known = or_(p.return_id == return_id, p.return_id.endswith(":" + return_id, autoescape=True))
    columns = [
        p.return_key,
        p.return_id,
        p.promise_id,
        p.due_at,
        p.ended_at,
        p.to_stage,
        promise_state(p, at).label("state"),
    ]
    rows = build.fetch(select(*columns).where(known))
    if rows.empty:
        return None
    refunds = rows[rows["to_stage"] == "refunded"]
    legal = refunds.loc[refunds["promise_id"] == "legal_refund", "due_at"].dropna()
    promised = refunds.loc[refunds["promise_id"] != "legal_refund", "due_at"].dropna()
    ended = refunds["ended_at"].dropna()
    dates = build.fetch(
        select(c.early_at, c.expected_at, c.late_at).where(c.return_key == int(rows["return_key"].iloc[0]))
    )
    expected = dates.iloc[0] if len(dates) and ended.empty else {"early_at": None, "expected_at": None, "late_at": None}
    both = [x.min() for x in (legal, promised) if len(x)]
    return {
        "return_id": str(rows["return_id"].iloc[0]),
        "refund_by": _instant(min(both)) if both else None,
        "legal_refund_by": _instant(legal.min()) if len(legal) else None,
        "promised_refund_by": _instant(promised.min()) if len(promised) else None,
        "refunded_at": _instant(ended.max()) if len(ended) else None,
        "expected_at": _instant(expected["expected_at"]),
        "expected_from": _instant(expected["early_at"]),
        "expected_to": _instant(expected["late_at"]),
        "promises": {str(r.promise_id): str(r.state) for r in rows.itertuples()},
    }


def shown_key(request: Request) -> str:
    """Give the key that a request shows, as X-API-Key or as a Bearer token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return request.headers.get("x-api-key") or (token if scheme == "Bearer" else "")


def shows_key(request: Request, key: str) -> bool:
    """Say whether a request shows the key."""
    return hmac.compare_digest(shown_key(request).encode(), key.encode())


def caller(settings: Settings, key: str, request: Request) -> access.Reader | None:
    """Give who shows a key: the owner with the server's own, a reader of the file with theirs, else None."""
    if shows_key(request, key):
        return access.OWNER
    shown = shown_key(request)
    return keys.reader_of(settings, shown) if shown else None


def known_caller(settings: Settings, key: str, request: Request) -> access.Reader:
    """Give who shows a key; raises AccessError for nobody."""
    found = caller(settings, key, request)
    if found is None:
        raise AccessError("This key is no reader's any more.")
    return found


class Held:
    """The published build within each scope that is asked for: of each one is held."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.whole = Reader(settings)
        self._within: dict[Scope, Reader] = {}

    def of(self, scope: Scope) -> Reader:
        """Give the build within a scope."""
        if not scope:
            return self.whole
        if scope not in self._within:
            if len(self._within) >= MOST_SCOPES:
                self._within = {}
            self._within[scope] = Reader(self._settings, scope)
        return self._within[scope]

    def close(self) -> None:
        """Close the builds."""
        for reader in (self.whole, *self._within.values()):
            reader.close()


class _Endpoint:
    """What is answered at each path, on the published build; to those who show a key, within their scope."""

    def __init__(self, settings: Settings, key: str) -> None:
        self._settings, self._key = settings, key
        self._held = Held(settings)
        self._answering = 0

    def caller(self, request: Request) -> access.Reader | None:
        """Give who shows a key, else None."""
        return caller(self._settings, self._key, request)

    def reader(self, request: Request) -> Reader:
        """Give the build within the caller's scope."""
        return self._held.of(known_caller(self._settings, self._key, request).scope)

    def guarded(
        self, endpoint: Callable[[Request], Awaitable[Response]], *, is_open: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """Answer those who show the key, or everybody, and say in a sentence what is wrong."""

        async def answer(request: Request) -> Response:
            if not is_open and self.caller(request) is None:
                return wrong(401, "Show the key of this server as `X-API-Key` or as a Bearer token.")
            if not is_open and self._answering >= web.MOST_CONNECTIONS:
                return wrong(503, "Too much is asked at once. Ask again in a second.", {"Retry-After": "1"})
            self._answering += not is_open
            try:
                return await endpoint(request)
            except WarehouseMissing as error:
                return wrong(503, str(error))
            except ModelMissing as error:
                return wrong(409, str(error))
            except AccessError as error:
                return wrong(403, str(error))
            except BackhaulError as error:
                return wrong(400, str(error))
            finally:
                self._answering -= not is_open

        return answer

    async def _told(
        self, request: Request, asked: Hashable, question: Callable[[Build], dict[str, Any]]
    ) -> dict[str, Any]:
        reader = self.reader(request)
        known = reader.known(asked)
        return await run_in_threadpool(reader.ask, asked, question) if known is None else known

    async def get_promise(self, request: Request) -> Response:
        """Answer with the offers of a promise."""
        given = request.query_params
        unknown = sorted(set(given) - {*LANE, "promise", "at"})
        if unknown:
            return wrong(
                400,
                f"There is no parameter {', '.join(unknown)[:100]}. There are: market, method, carrier, promise, at.",
            )
        try:
            at = float(given.get("at", "0.95"))
        except ValueError:
            at = float("nan")
        if not AT[0] <= at <= AT[1]:
            return wrong(
                400, f"at={given.get('at', '')[:60]} is no probability to keep a promise with; give {AT[0]} to {AT[1]}."
            )
        lane = {name: given[name] for name in LANE if given.get(name)}
        which = given.get("promise", "refund")
        asked = ("promise", which, at, *sorted(lane.items()))
        return Answer(await self._told(request, asked, lambda build: promise(build, which, at, lane)))

    async def get_refund_by(self, request: Request) -> Response:
        """Answer with the day a return must be refunded by."""
        return_id = str(request.path_params["return_id"])
        found = await self._told(request, ("return", return_id), lambda build: refund_by(build, return_id) or {})
        if "return_id" not in found:
            return wrong(404, f"There is no return {return_id[:100]} under a promise in build {found['build_id']}.")
        return Answer(found)

    async def post_probability(self, request: Request) -> Response:
        """Answer with the probability that each line of a basket comes back."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > checkout.MOST_BYTES:
                return wrong(413, f"That is too much at once: send at most {checkout.MOST_BYTES >> 20} MiB.")
        asked = checkout.read(body)
        customer = await run_in_threadpool(checkout.hasher, self._settings)
        return Answer(
            await run_in_threadpool(
                self.reader(request).ask, None, lambda b: checkout.probabilities(b, asked, customer)
            )
        )

    async def get_health(self, request: Request) -> Response:
        """Answer whether a build can be read."""
        whole = self._held.whole
        return Answer({"status": "ok", **(whole.seen() or await asyncio.to_thread(whole.about))})

    async def get_gauges(self, request: Request) -> Response:
        """Answer with the gauges of the warehouse."""
        caller = self.caller(request)
        if caller is None or caller.scope:
            raise AccessError("/metrics speaks of the whole shop, and this key sees a part of it.")

        def gauges() -> bytes:
            until = self._held.whole.about()["observed_until"]
            return exposition(self._settings, datetime.fromisoformat(until).replace(tzinfo=None) if until else None)

        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Type": CONTENT_TYPE}
        return Response(await asyncio.to_thread(gauges), headers=headers)

    async def get_openapi(self, request: Request) -> Response:
        """Answer with the description; what there is to ask for is told to those who may ask."""
        try:
            found = await self._told(request, ("choices",), choices) if self.caller(request) else {}
        except WarehouseMissing:
            found = {}
        return Answer(openapi(found))


async def _not_found(request: Request, error: Exception) -> Response:
    return wrong(404, f"There is nothing at {request.url.path[:100]}. /openapi.json describes what there is.")


async def _not_allowed(request: Request, error: Exception) -> Response:
    headers = getattr(error, "headers", None) or {}
    return wrong(405, f"This is asked with {headers.get('Allow', 'GET')}.", headers)


async def _failed(request: Request, error: Exception) -> Response:
    return wrong(500, "The answer failed. The server's own output says why.")


def application(settings: Settings, key: str) -> Starlette:
    """Make the ASGI application; every path wants the key, but for health and the description."""
    at = _Endpoint(settings, key)
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        404: _not_found,
        405: _not_allowed,
        500: _failed,
    }
    return Starlette(
        routes=[
            Route("/openapi.json", at.get_openapi),
            Route("/v1/health", at.guarded(at.get_health, is_open=True)),
            Route("/v1/promise", at.guarded(at.get_promise)),
            Route("/v1/returns/{return_id}/refund-by", at.guarded(at.get_refund_by)),
            Route("/v1/probability", at.guarded(at.post_probability), methods=["POST"]),
            Route("/metrics", at.guarded(at.get_gauges)),
        ],
        exception_handlers=handlers,
    )


def serve(settings: Settings, host: str, port: int, key: str) -> None:
    """Serve until interrupted; nobody's questions are logged."""
    current_build(settings.warehouse).close()
    uvicorn.run(application(settings, key), **options(host, port))
