"""Where things are and what a run may choose: one frozen dataclass, and the way to the data files we ship.

Nothing is read from the environment anywhere else.
"""

import glob
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import SettingError

SHORT_WAIT_S = 10.0
LEAST_MB = 300  # of memory that the database works in
_HERE = Path(__file__).resolve().parent


def data_path(name: str) -> Path:
    """Find a shipped data file, in the repository's `data/` or inside the installed package.

    >>> data_path("factors/emission_factors.csv").name
    'emission_factors.csv'
    """
    packaged = _HERE / "_data"
    return (packaged if packaged.is_dir() else _HERE.parent / "data") / name


@contextmanager
def private() -> Iterator[None]:
    """Make what is created meanwhile its owner's alone: folders 0700, files 0600."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file of the owner's alone so that whoever reads it sees the old content or the new, never a part.

    What is no file, such as a pipe, is written to. Raises OSError, which names the file.
    """
    content = content.encode() if isinstance(content, str) else content
    path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with private():
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
        _drop_drafts(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _drop_drafts(path: Path) -> None:
    """Remove the drafts of a file whose writers are gone: a disk that failed them did not let them clean up."""
    for draft in path.parent.glob(f"{glob.escape(path.name)}.*.new"):
        writer = draft.name.removeprefix(f"{path.name}.").removesuffix(".new")
        if writer.isascii() and writer.isdecimal() and not is_running(int(writer)):
            with suppress(OSError):  # what was asked for is written
                draft.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Say whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's, or no number of a process
        return True
    return True


def _named(prefix: str) -> dict[str, str]:
    """Give the variables that begin with a prefix, by the rest of their name: `FR_SHOP` is `fr-shop`."""
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): os.environ[name]
        for name in os.environ
        if name.startswith(prefix) and os.environ[name]
    }


def megabytes(text: str) -> int | None:
    """Read an amount of memory, in megabytes of a million bytes; nothing where nothing is said.

    Raises SettingError.

    >>> megabytes("1.5GB"), megabytes("800 mb"), megabytes("")
    (1500, 800, None)
    """
    if not text.strip():
        return None
    said = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)\s*([MG])I?B?", text.strip().upper())
    found = int(float(said[1]) * (1000 if said[2] == "G" else 1)) if said else 0
    if found < LEAST_MB:
        raise SettingError(f"BACKHAUL_MEMORY={text[:40]} is no memory to work in: write 2GB, or {LEAST_MB}MB at least.")
    return found


def _counted(name: str, what: str) -> int | None:
    """Read how many of a thing an environment variable asks for; nothing where it says nothing."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise SettingError(f"{name}={text[:40]} is no number of {what}: write a whole number, 1 at least.")
    return int(text)


def oidc_issuer() -> str:
    """Give the address whose sign-in is believed: none, and nobody signs in."""
    return os.environ.get("BACKHAUL_OIDC_ISSUER", "").rstrip("/")


@dataclass(frozen=True)
class Settings:
    """The choices of one run.

    `warehouse` is a folder; raw inputs and the hashing key lie beside it, never in it. `reporting_currency` "auto" is
    the currency with the largest sales. `smtp` is the mail server alerts are sent through (smtp:// or smtps://, with
    user and password where it wants them), `mail_from` the sender. `upload_mb` is the most that the page Data takes at
    once, in megabytes; `dashboard_token` what the first link to the pages has to carry, for whoever opens it (none:
    whoever is on this machine). `raw_days` is for how many days raw files are kept once they are published (0: for
    good). `public_url` is the address that readers open the pages at, `oidc_issuer` whose sign-in is believed,
    `oidc_client` and `oidc_secret` what they know us by, `oidc_groups` the claim that holds a reader's groups,
    `session_hours` how long a sign-in holds. `hook_secrets` is what web hooks are signed with, by the name of the hook,
    `spool_mb` how many megabytes of what they told may wait for a load, `ping_url` the address that is asked for once
    everything on schedule has run well. `warm_minutes` is how much processor time the pages' server may spend on a new
    build before anybody asks (0: none). `shards` is in how many parts a build is made, one after another (nothing: as
    many as its memory asks for). `wait_s` is how long a writer waits for another one to end, in seconds.
    """

    warehouse: Path = field(default_factory=lambda: Path(os.environ.get("BACKHAUL_WAREHOUSE", "warehouse")))
    reporting_currency: str = field(default_factory=lambda: os.environ.get("BACKHAUL_CURRENCY", "auto"))
    smtp: str = field(default_factory=lambda: os.environ.get("BACKHAUL_SMTP", ""), repr=False)
    mail_from: str = field(default_factory=lambda: os.environ.get("BACKHAUL_MAIL_FROM", ""))
    upload_mb: int = field(default_factory=lambda: int(os.environ.get("BACKHAUL_UPLOAD_MB", "200")))
    dashboard_token: str = field(default_factory=lambda: os.environ.get("BACKHAUL_TOKEN", ""), repr=False)
    raw_days: int = field(default_factory=lambda: int(os.environ.get("BACKHAUL_RAW_DAYS", "0")))
    public_url: str = field(default_factory=lambda: os.environ.get("BACKHAUL_URL", "").rstrip("/"))
    oidc_issuer: str = field(default_factory=oidc_issuer)
    oidc_client: str = field(default_factory=lambda: os.environ.get("BACKHAUL_OIDC_CLIENT", ""))
    oidc_secret: str = field(default_factory=lambda: os.environ.get("BACKHAUL_OIDC_SECRET", ""), repr=False)
    oidc_groups: str = field(default_factory=lambda: os.environ.get("BACKHAUL_OIDC_GROUPS", "groups"))
    session_hours: float = field(default_factory=lambda: float(os.environ.get("BACKHAUL_SESSION_HOURS", "12")))
    hook_secrets: Mapping[str, str] = field(default_factory=lambda: _named("BACKHAUL_HOOK_"), repr=False, hash=False)
    spool_mb: int = field(default_factory=lambda: int(os.environ.get("BACKHAUL_SPOOL_MB", "2048")))
    ping_url: str = field(default_factory=lambda: os.environ.get("BACKHAUL_PING", ""), repr=False)
    warm_minutes: float = field(default_factory=lambda: float(os.environ.get("BACKHAUL_WARM_MINUTES", "30")))
    keep_builds: int = field(default_factory=lambda: max(int(os.environ.get("BACKHAUL_KEEP_BUILDS", "3")), 1))
    memory_mb: int | None = field(default_factory=lambda: megabytes(os.environ.get("BACKHAUL_MEMORY", "")))
    threads: int | None = field(default_factory=lambda: _counted("BACKHAUL_THREADS", "threads"))
    shards: int | None = field(default_factory=lambda: _counted("BACKHAUL_SHARDS", "shards"))
    wait_s: float = 0.0

    @property
    def short_wait_s(self) -> float:
        """Seconds that a writer waits which is done in a moment: 12 people may log something at once."""
        return max(self.wait_s, SHORT_WAIT_S)

    @property
    def raw(self) -> Path:
        """Folder of untouched inputs, beside the warehouse."""
        return self.warehouse.with_name(self.warehouse.name + ".raw")

    @property
    def key_file(self) -> Path:
        """The key customers are hashed with, beside the warehouse, mode 0600."""
        return self.warehouse.with_name(self.warehouse.name + ".key")

    @property
    def next_key_file(self) -> Path:
        """A key that is about to take the place of that one."""
        return self.key_file.with_name(self.key_file.name + ".next")

    @property
    def spool(self) -> Path:
        """Folder of what web hooks told and no load has taken in yet, beside the warehouse, its owner's alone."""
        return self.warehouse.with_name(self.warehouse.name + ".spool")

    @property
    def hooks_file(self) -> Path:
        """The file that says which web hooks are believed, beside the warehouse; mode 0600 where it holds secrets."""
        return self.warehouse.with_name(self.warehouse.name + ".hooks.yaml")

    @property
    def runs_folder(self) -> Path:
        """What `backhaul run` did last, beside the warehouse."""
        return self.warehouse.with_name(self.warehouse.name + ".runs")

    @property
    def readers_file(self) -> Path:
        """The file that says who may see what, beside the warehouse."""
        return self.warehouse.with_name(self.warehouse.name + ".readers.yaml")

    @property
    def accounts_file(self) -> Path:
        """The names of the accounts that a journal books on, beside the warehouse; written by its owner."""
        return self.warehouse.with_name(self.warehouse.name + ".accounts.yaml")

    @property
    def audit_folder(self) -> Path:
        """The log of sign-ins, exports and changes, beside the warehouse, its owner's alone."""
        return self.warehouse.with_name(self.warehouse.name + ".audit")

    @property
    def reader_keys_file(self) -> Path:
        """Digests of the endpoint's keys by name, beside the warehouse, mode 0600."""
        return self.warehouse.with_name(self.warehouse.name + ".reader-keys")

    @property
    def serve_key_file(self) -> Path:
        """The key that callers of the endpoint show, beside the warehouse, mode 0600."""
        return self.warehouse.with_name(self.warehouse.name + ".api-key")
