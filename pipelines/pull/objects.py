"""Object storage: files below an address of S3, Google Cloud Storage or Azure, by fsspec.

Objects that are new, or of another version than before (by ETag, else size and time), are fetched; what was fetched is
not asked for again. Credentials are the provider's own, in the environment.
"""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pipelines.errors import PullError
from pipelines.pull.place import pulling
from pipelines.settings import private

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az")
DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
TRIES = 5


def pull_objects(folder: Path, address: str, *, say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Fetch the new objects below an address, each under its name; give the files written.

    Raises PullError for an address of another kind, where a driver is not installed, and where it is refused.
    """
    scheme, host = urlsplit(address).scheme, urlsplit(address).netloc
    if scheme not in SCHEMES or not host or "@" in host.split(".")[0]:
        raise PullError(
            f"{address[:80]!r} is no address of object storage. These are: s3://, gs://, abfs://BUCKET/PATH."
        )
    try:
        import fsspec

        store, root = fsspec.url_to_fs(address)
    except ImportError as error:
        raise PullError(
            f"{scheme}:// needs {DRIVERS.get(scheme, 'adlfs')}, which is not installed: python3 -m pip install"
            f" {DRIVERS.get(scheme, 'adlfs')}"
        ) from error
    try:
        return _fetched(folder, address, store, root, say)
    except (OSError, ValueError) as error:
        raise PullError(
            f"{host}: {str(error).splitlines()[0][:150] if str(error) else type(error).__name__}. What was got is kept:"
            " look at the address and the provider's credentials in the environment, and pull again."
        ) from error


def _fetched(folder: Path, address: str, store: Any, root: str, say: Callable[[str], None]) -> list[Path]:
    written: list[Path] = []
    with pulling(folder, "objects") as place:
        known: dict[str, dict[str, str]] = place.memory.get("objects") or {}
        here = known.setdefault(address.rstrip("/"), {})
        listed = store.find(root, detail=True, refresh=True)
        for number, (path, info) in enumerate(sorted(listed.items()), start=1):
            name = path.removeprefix(root).lstrip("/") or PurePosixPath(path).name
            if path.endswith("/") or not info.get("size") or here.get(name) == _version(info):
                continue
            target = _within(folder, name)
            here[name] = _get(store, path, info, place.part("object"))
            with private():
                target.parent.mkdir(parents=True, exist_ok=True)
            place.part("object").replace(target)
            place.remember(objects=known)
            written.append(target)
            say(f"{number} of {len(listed)} objects")
    return written


def _get(store: Any, path: str, info: dict[str, Any], part: Path) -> str:
    """Fetch one object whole, again where it changed meanwhile; give its version."""
    for _ in range(TRIES):
        with private():
            store.get_file(path, str(part))
        store.invalidate_cache()
        after = store.info(path, refresh=True) if "s3" in str(store.protocol) else store.info(path)
        if _version(after) == _version(info) and part.stat().st_size == info["size"]:
            return _version(after)
        info = after
    raise OSError(f"{PurePosixPath(path).name} changes while it is read, again and again")


def _version(info: dict[str, Any]) -> str:
    """Tell one version of an object from another."""
    told = (
        info.get("ETag")
        or info.get("etag")
        or info.get("md5Hash")
        or f"{info.get('LastModified', info.get('updated'))}"
    )
    return f"{str(told).strip(chr(34))} {info['size']}"


def _within(folder: Path, name: str) -> Path:
    """Give the file of an object's name. Raises PullError for one that leads out of the folder or is hidden in it."""
    parts = PurePosixPath(name).parts
    if not parts or any(p in ("..", "/") or p.startswith(".") or "\\" in p or not p.isprintable() for p in parts):
        raise PullError(f"The object {name[:60]!r} has a name that cannot be a file of the folder. Rename it.")
    return folder.joinpath(*parts)
