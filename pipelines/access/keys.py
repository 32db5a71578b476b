"""Keys of the endpoint by name: made and shown once. Only digests are kept; the file of readers says of whom."""

import hashlib
import hmac
import json
import secrets

from pipelines.access.readers import Reader, load_readers
from pipelines.errors import AccessError
from pipelines.settings import Settings, write_whole


def _digests(settings: Settings) -> dict[str, str]:
    try:
        found = json.loads(settings.reader_keys_file.read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        raise AccessError(f"{settings.reader_keys_file} is damaged. Delete it and make the keys again.") from None


def make(settings: Settings, name: str) -> str:
    """Make the key of a reader, in place of an earlier one; raises AccessError for who is not in the file."""
    if load_readers(settings).named(name, "key") is None:
        raise AccessError(f"No `key: {name[:60]}` stands in {settings.readers_file}. Add it, with its role and scope.")
    key = secrets.token_urlsafe(32)
    kept = _digests(settings) | {name: hashlib.sha256(key.encode()).hexdigest()}
    write_whole(settings.reader_keys_file, json.dumps(kept, indent=1, sort_keys=True))
    return key


def reader_of(settings: Settings, key: str) -> Reader | None:
    """Give whose key this is, as the files say now; None for nobody's, or who is no reader any more."""
    shown = hashlib.sha256(key.encode()).hexdigest()
    name = next((n for n, d in _digests(settings).items() if hmac.compare_digest(d, shown)), None)
    return load_readers(settings).named(name, "key") if name is not None else None
