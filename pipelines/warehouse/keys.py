"""The hashing key: the file beside the warehouse that customers are hashed with, and another that takes its place.

While a new key takes over, it lies beside the old one, and the state says by a fingerprint which of the two the logs
are made with: they are never mixed. The old one goes when a build stands that holds nothing of it.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from pipelines.errors import SourceError
from pipelines.settings import Settings
from pipelines.warehouse import state
from pipelines.warehouse.build import sync

AGAIN = "Restore it from a copy: with another key, known customers become new ones."


def fingerprint(key: bytes) -> str:
    """Give what tells one hashing key from another without giving it away."""
    return hashlib.sha256(b"backhaul hashing key" + key).hexdigest()[:16]


def customer_hash(key: bytes, text: str) -> str:
    """Give what stands for a customer's id after its source: as a load makes it of the text that it reads."""
    return hmac.new(key, text.encode("utf-8", "replace"), "sha256").hexdigest()[:32]


def write(path: Path) -> bytes:
    """Write a new key, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync(path.parent)
    return path.read_bytes()


def file_of(settings: Settings, state_file: state.State) -> Path:
    """Give the file of the key that the logs are made with: the next one's, once it has begun to take over."""
    following, known = settings.next_key_file, state_file.value("key_fingerprint")
    return (
        following
        if known and following.is_file() and fingerprint(following.read_bytes()) == known
        else settings.key_file
    )


def read(settings: Settings, state_file: state.State) -> bytes:
    """Read the key customers are hashed with; make it on first use.

    Only the key that the warehouse was made with is taken.
    """
    path = file_of(settings, state_file)
    if path == settings.next_key_file:
        return path.read_bytes()
    settings.next_key_file.unlink(missing_ok=True)  # of one that was killed before it took over
    is_used = bool(state_file.loads_with("logged", "published"))
    key = path.read_bytes() if path.exists() else b""
    if len(key) < 16 and is_used:
        raise SourceError(f"The hashing key {path} is {'damaged' if path.exists() else 'gone'}. {AGAIN}")
    if len(key) < 16:
        key = write(path)
    known = state_file.value("key_fingerprint")
    if known and is_used and known != fingerprint(key):
        raise SourceError(f"{path} is not the hashing key that {settings.warehouse} was made with. {AGAIN}")
    if known != fingerprint(key):
        state_file.remember("key_fingerprint", fingerprint(key))
    return key
