"""The door of the pages: who may come in, and what a page may fetch, is decided here and nowhere else.

The door lets in requests to this machine's own names from pages of its own, with the token of the link that was
printed; and tells the browser that a page fetches nothing from elsewhere.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

HOSTS = ("localhost", "127.0.0.1", "::1")
OPEN = "/_stcore/health"  # says that the server runs, and nothing else
POLICY = {
    # what Streamlit's own pages need: inline styles, images and files made in the page, compiled code in a worker
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' 'unsafe-eval'; style-src 'self'"
        " 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; worker-src"
        " 'self' blob:; connect-src 'self' data: blob:; frame-src 'self' blob:; object-src 'none'; base-uri 'self';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Door:
    """Let a request through to the app, or refuse it in a sentence.

    Without a token only names and origins are looked at.
    """

    def __init__(self, app: App, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer one request or socket (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send if scope["type"] == "websocket" else _with_policy(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_policy(send))

    def _refusal(self, scope: Message) -> Response | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or _name(f"//{hosts[0]}") not in HOSTS:
            return PlainTextResponse("These pages are for this machine alone: open them at http://localhost.", 403)
        if any(urlsplit(origin).netloc.lower() != hosts[0].lower() for origin in origins):
            return PlainTextResponse("A page of another address may not use these pages.", 403)
        if not self._token or scope["path"] == OPEN:
            return None
        cookie = f"backhaul-{(scope.get('server') or ('', 0))[1]}"
        kept = SimpleCookie("; ".join(headers.getlist("cookie"))).get(cookie)
        if kept is not None and self._is_ours(kept.value):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["type"] == "http" and any(name == "token" and self._is_ours(value) for name, value in query):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            path = "/" + scope["path"].lstrip("/")
            answer = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
            answer.set_cookie(cookie, self._token, httponly=True, samesite="lax", path="/")
            return answer
        return PlainTextResponse(
            "Open the link that `backhaul dashboard` printed: it carries the token of these pages.\n"
            "Ouvrez le lien que `backhaul dashboard` a affiché : il porte le jeton de ces pages.",
            403,
        )

    def _is_ours(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._token.encode())


def _name(address: str) -> str:
    """Give the name an address calls a machine by, in small letters; nothing for what is no address."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return ""
    return "" if parts.username is not None or parts.path or parts.query else (parts.hostname or "")


def _with_policy(send: Callable[[Message], Awaitable[None]]) -> Callable[[Message], Awaitable[None]]:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in POLICY.items():
                headers[name] = value
        await send(message)

    return answer
