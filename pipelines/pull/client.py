"""Sending to an interface: what to try again and when, keys, and what an answer must not be.

Too many requests (429) and errors of the server (5xx) are tried again, after the time the server names or a time that
doubles; so is a connection that breaks. A key that is refused, and an answer that nobody can read, end the pull with a
sentence: what was got before is kept.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from pipelines import delivery
from pipelines.errors import PullError

TRIES = 8
LONGEST_WAIT_S = 120.0
TIMEOUT_S = 60.0
Wait = Callable[[float], None]


def key_of(variable: str, file: Path | None) -> str:
    """Give a key from a file that only its owner can read, else from an environment variable.

    Raises PullError where there is none, and for a file that others can read.
    """
    if file is not None:
        try:
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                raise PullError(f"{file.name} can be read by others. Make it yours alone: chmod 600 {file.name}")
            key = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise PullError(f"{file.name}, the file of the key, cannot be read ({error.strerror}).") from error
    else:
        key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        where = file.name if file else f"the environment variable {variable}"
        raise PullError(f"There is no key in {where}. Put it there, or name a file of mode 0600 with --key-file.")
    return key


def checked(address: str) -> str:
    """Give an address without a slash at its end. Raises PullError for one that is neither https: nor of here."""
    parts = urlsplit(address)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and delivery.is_here(parts))
    if not parts.hostname or parts.username is not None or not is_safe:
        raise PullError(f"{address[:80]!r} is no address to pull from: write https://host, without a user or a key.")
    return address.rstrip("/")


class Client:
    """One interface: its address, its key, and patience."""

    def __init__(self, address: str, headers: dict[str, str], wait: Wait = time.sleep) -> None:
        self.address, self.wait = checked(address), wait
        self._headers = headers
        self._http = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def json(self, method: str, path: str, **given: Any) -> tuple[int, Any]:
        """Send, trying again; give the status and the answer's JSON, for 404 too."""
        attempt = 0
        while True:
            with self._trying(attempt) as answered:
                answer = self._http.request(method, f"{self.address}{path}", headers=self._headers, **given)
                if self._is_final(answer, attempt):
                    answered.append(answer)
            if answered:
                try:
                    return answered[0].status_code, answered[0].json()
                except ValueError as error:
                    raise PullError(f"{self._host} answered what is no JSON. Check the address.") from error
            attempt += 1

    @contextmanager
    def download(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Open a download of its own address, without the key. Breaks raise httpx.TransportError."""
        with self._http.stream("GET", checked(url), headers={"Accept-Encoding": "identity"} | headers) as answer:
            yield answer

    @property
    def _host(self) -> str:
        return urlsplit(self.address).hostname or ""

    @contextmanager
    def _trying(self, attempt: int) -> Iterator[list[httpx.Response]]:
        """Wait where the connection breaks; raise PullError where it has broken too often."""
        try:
            yield []
        except httpx.TransportError as error:
            if attempt + 1 >= TRIES:
                raise PullError(
                    f"{self._host} cannot be reached ({type(error).__name__}). What was got is kept: pull again."
                ) from error
            self.wait(doubled(attempt))

    def _is_final(self, answer: httpx.Response, attempt: int) -> bool:
        """Say whether an answer is one; wait where it is to be tried again."""
        if answer.status_code in (401, 403):
            raise PullError(
                f"{self._host} refuses the key ({answer.status_code}): it is wrong, expired, or may not read this. Put"
                " the new one in its place and pull again; it goes on where it ended."
            )
        if answer.status_code == 429 or answer.status_code >= 500:
            if attempt + 1 >= TRIES:
                raise PullError(
                    f"{self._host} answered {answer.status_code} {TRIES} times. What was got is kept: pull again later."
                )
            self.wait(asked_wait(answer, doubled(attempt)))
            return False
        if answer.status_code not in (200, 404):
            raise PullError(
                f"{self._host} answered {answer.status_code} to {answer.request.url.path}. Check the address."
            )
        return True


def doubled(attempt: int) -> float:
    """Give the seconds to wait after so many attempts.

    >>> [doubled(n) for n in (0, 1, 2, 20)]
    [1.0, 2.0, 4.0, 120.0]
    """
    return float(min(LONGEST_WAIT_S, 2.0 ** min(attempt, 10)))


def asked_wait(answer: httpx.Response, otherwise: float) -> float:
    """Give the seconds that an answer asks to wait by Retry-After, as a number or a date; two minutes at most."""
    said = answer.headers.get("Retry-After", "").strip()
    if not said:
        return otherwise
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(said).timestamp() - time.time()
        except (TypeError, ValueError):
            return otherwise
    return min(max(seconds, 0.0), LONGEST_WAIT_S)
