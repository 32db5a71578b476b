"""A small OpenID Connect provider on loopback: discovery, keys, authorization code with PKCE, tokens, sign-out.

Whoever is sent to it chooses who they are by a link. `fault` spoils the tokens it gives: another nonce, another key's
signature, none, one by a secret that is the public key, another audience or issuer, a time that is past.
"""

import base64
import hashlib
import hmac
import html
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "backhaul", "a secret that both know"
PEOPLE = ("anna@example.org", "ben@example.org", "root@example.org", "nobody@example.org")


class Provider:
    """The provider: where it is, what it gives."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://localhost:{port}"
        self.key, self.other = (RSAKey.generate_key(2048, {"kid": "1"}) for _ in range(2))
        self.fault = ""
        self.codes: dict[str, dict[str, str]] = {}
        self.signed_out = 0

    def metadata(self) -> dict[str, Any]:
        """Describe itself (OpenID Connect Discovery)."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/logout",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    def token(self, given: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Give the tokens of a code, to the client that shows its secret and the verifier of the code's challenge."""
        asked = self.codes.pop(given.get("code", ""), None)
        shown = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        known = shown.split(":", 1)[0] == CLIENT and shown.split(":", 1)[1].replace("+", " ") == SECRET
        if asked is None or not known or challenge != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time()) - (7200 if self.fault == "expired" else 0)
        claims = {"iss": self.issuer, "sub": asked["email"], "aud": CLIENT, "iat": now, "exp": now + 600}
        claims |= {"aud": "another"} if self.fault == "audience" else {}
        claims |= {"iss": "http://localhost:1"} if self.fault == "issuer" else {}
        claims |= {"nonce": "another" if self.fault == "nonce" else asked["nonce"]}
        claims |= {"email": asked["email"], "email_verified": True}
        return 200, {"access_token": secrets.token_hex(8), "token_type": "Bearer", "id_token": self.signed(claims)}

    def signed(self, claims: dict[str, Any]) -> str:
        """Sign claims, or not as they should be."""
        if self.fault in ("unsigned", "public_key"):
            header = {"alg": "none" if self.fault == "unsigned" else "HS256", "kid": "1"}
            said = b".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in (header, claims))
            mac = hmac.digest(self.key.as_pem(private=False), said, "sha256")
            end = b"" if self.fault == "unsigned" else base64.urlsafe_b64encode(mac).rstrip(b"=")
            return (said + b"." + end).decode()
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.other if self.fault == "signature" else self.key)


@contextmanager
def provided(port: int) -> Iterator[Provider]:
    """Run a provider."""
    provider = Provider(port)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Say nothing."""

        def answer(self, status: int, body: str, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self) -> None:
            at = urlsplit(self.path)
            given = {name: values[0] for name, values in parse_qs(at.query).items()}
            if at.path == "/.well-known/openid-configuration":
                self.answer(200, json.dumps(provider.metadata()))
            elif at.path == "/jwks":
                self.answer(200, json.dumps({"keys": [provider.key.as_dict(private=False)]}))
            elif at.path == "/authorize":
                links = (f"/chosen?{urlencode({**given, 'email': email})}" for email in PEOPLE)
                rows = (f'<a href="{html.escape(to)}">{email}</a><br>' for to, email in zip(links, PEOPLE, strict=True))
                self.answer(200, "".join(rows), "text/html")
            elif at.path == "/chosen":
                code = secrets.token_hex(8)
                provider.codes[code] = given
                to = f"{given['redirect_uri']}?{urlencode({'code': code, 'state': given['state']})}"
                self.answer(302, "", Location=to)
            elif at.path == "/logout":
                provider.signed_out += 1
                self.answer(302, "", Location=given["post_logout_redirect_uri"])
            else:
                self.answer(404, "{}")

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = {name: values[0] for name, values in parse_qs(sent).items()}
            status, body = provider.token(given, self.headers.get("Authorization", ""))
            self.answer(status, json.dumps(body))

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
