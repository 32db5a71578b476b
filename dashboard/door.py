"""The door of the pages: who may come in, and what a page may fetch, is decided here and nowhere else.

The door lets in requests to this machine's own names from pages of its own, with the token of the link that was
printed; and tells the browser that a page fetches nothing from elsewhere. Where readers sign in, it also lets in those
to the public name, sees identities come back from the provider, and takes from a request the cookie of one that is not
signed in any more; what a reader may see is decided behind it (`dashboard.shared.access`).
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from dashboard.shared.access import DOOR
from dashboard.shared.sessions import COOKIE, SESSIONS, digest
from pipelines.access import Reader, audit
from pipelines.settings import Settings

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

HOSTS = ("localhost", "127.0.0.1", "::1")
OPEN = "/_stcore/health"  # says that the server runs, and nothing else
BACK, OUT = "/oauth2callback", "/auth/logout"  # where the provider sends a reader back to, and where they sign out
FILES = ("/media/", "/_stcore/upload_file", "/_stcore/agent")  # nobody's who is not signed in
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

    Without a token only names and origins are looked at; with a `public` address readers sign in.
    """

    def __init__(self, app: App, token: str, public: str = "", settings: Settings | None = None) -> None:
        self._app, self._token, self._public = app, token, urlsplit(public)
        self._settings = settings

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer one request or socket (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None and self._public.netloc:
            refusal = self._known(scope)
            send = self._watched(scope, send)
        if refusal is None:
            await self._app(scope, receive, send if scope["type"] == "websocket" else _with_policy(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_policy(send))

    def _refusal(self, scope: Message) -> Response | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        public = self._public.netloc.lower()
        if len(hosts) != 1 or (_name(f"//{hosts[0]}") not in HOSTS and (not public or hosts[0].lower() != public)):
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

    def _known(self, scope: Message) -> Response | None:
        """Leave the identity of who is signed in to a request, and take every other from it; refuse nobody's files."""
        cookies = _cookies(scope)
        of = digest(cookies)
        if of and SESSIONS.is_alive(of):
            return None
        if of and scope["path"] != OUT:
            kept = "; ".join(f"{n}={v}" for n, v in cookies.items() if not n.startswith(COOKIE))
            others = [(n, v) for n, v in scope["headers"] if n != b"cookie"]
            scope["headers"] = [*others, (b"cookie", kept.encode("latin-1"))] if kept else others
        if scope["path"].startswith(FILES):
            return Response(status_code=401)
        return None

    def _watched(
        self, scope: Message, send: Callable[[Message], Awaitable[None]]
    ) -> Callable[[Message], Awaitable[None]]:
        """See who comes back signed in, and who signs out; keep cookies to TLS where the public address is."""
        path, of = scope["path"], digest(_cookies(scope))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                given = headers.getlist("set-cookie")
                if path == BACK:
                    self._came_back(given, of, scope)
                if path == OUT:
                    headers["Clear-Site-Data"] = '"cache", "storage"'
                if path == OUT and of:
                    self._note("signed_out", SESSIONS.end(of), "")
                if given and self._public.scheme == "https":
                    del headers["set-cookie"]
                    for one in given:
                        headers.append("set-cookie", one if "secure" in one.lower() else "; ".join((one, "Secure")))
            await send(message)

        return answer

    def _came_back(self, given: list[str], of: str, scope: Message) -> None:
        new: dict[str, str] = {}
        for one in given:
            new |= {name: morsel.value for name, morsel in SimpleCookie(one).items() if morsel["max-age"] != "0"}
        if began := digest(new):
            SESSIONS.end(of)
            SESSIONS.begin(began)
        elif scope[
            "query_string"
        ]:  # the provider said no, or what it sent does not hold; after a sign-out there is none
            self._note("refused", Reader("unknown", "viewer"), "sign_in_does_not_hold")

    def _note(self, event: str, reader: Reader | None, what: str) -> None:
        if reader is not None and self._settings is not None:
            audit.note(self._settings, event, reader, what, DOOR)

    def _is_ours(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._token.encode())


def _cookies(scope: Message) -> dict[str, str]:
    """Read the cookies of a request as a browser sends them, whatever stands in them."""
    sent = "; ".join(Headers(scope=scope).getlist("cookie"))
    pairs = (part.strip().partition("=") for part in sent.split(";"))
    return {name: value.strip('"') for name, _, value in pairs if name}


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
