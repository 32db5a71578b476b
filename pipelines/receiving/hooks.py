"""Which web hooks are believed: what the environment and the file beside the warehouse say, read strictly.

# warehouse.hooks.yaml; mode 0600 where a secret stands in it
shopify:                      # answers at /hooks/shopify; the name is a system's, or `system:` says which
  secret: ...                 # or several, the new one and the old; or BACKHAUL_HOOK_SHOPIFY
wms:
  system: generic
  source: wms.yaml            # a mapping, or a source that comes with the product
  header: X-Wms-Signature
  encoding: hex
"""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.errors import ServeError
from pipelines.receiving.systems import HOUR, SYSTEMS, Scheme, System
from pipelines.settings import Settings
from pipelines.written import LARGEST, Items, Section, Unreadable, documents, figure, text_of

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
SHORTEST = 8  # signs of a secret that protects something
KEYS = (
    "system",
    "secret",
    "source",
    "namespace",
    "header",
    "encoding",
    "prefix",
    "event_id",
    "sent_at",
    "window_hours",
    "needs",
    "unwrap",
    "answer",
)


@dataclass(frozen=True)
class Hook:
    """One hook that is believed: its name in the address, its system, what it is signed with, and what reads it."""

    name: str
    system: System
    source: str
    secrets: tuple[str, ...] = field(repr=False)
    namespace: str | None = None


def hooks_of(settings: Settings, *, is_receiving: bool = True) -> dict[str, Hook]:
    """Read the hooks of a warehouse, by name; none where nothing names one.

    A load reads what they sent and is not receiving: it needs no secret, and knows a system's hook by its name. Raises
    ServeError that names the file, the line and what to write instead.
    """
    path = settings.hooks_file
    found = dict(_of_file(path, settings, is_receiving=is_receiving)) if path.exists() else {}
    if not is_receiving:
        plain = {name.replace("_", "-"): system for name, system in SYSTEMS.items() if system.source}
        return {name: Hook(name, system, system.source, ()) for name, system in plain.items()} | found
    for name, secret in settings.hook_secrets.items():
        if name not in found:
            system = name.replace("-", "_")
            if system not in SYSTEMS or not (SYSTEMS[system].source and SYSTEMS[system].schemes):
                raise ServeError(
                    f"BACKHAUL_HOOK_{name.upper().replace('-', '_')} is a secret of a hook that nothing describes."
                    f" Describe {name} in {path.name}, or name one of {', '.join(_by_themselves())}."
                )
            found[name] = Hook(name, SYSTEMS[system], SYSTEMS[system].source, (secret,))
    for hook in found.values():
        if any(len(secret) < SHORTEST for secret in hook.secrets):
            raise ServeError(f"The secret of {hook.name} is too short to protect anything: {SHORTEST} signs at least.")
    return found


def _by_themselves() -> Iterator[str]:
    yield from (name for name, system in SYSTEMS.items() if system.source and system.schemes)


def _of_file(path: Path, settings: Settings, *, is_receiving: bool) -> Iterator[tuple[str, Hook]]:
    try:
        contents = documents(text_of(path, LARGEST))
    except Unreadable as error:
        raise ServeError(f"{path.name}{f', line {error.line}' if error.line else ''}: {error.problem}.") from None
    if len(contents) != 1 or not isinstance(contents[0], Section):
        raise ServeError(f"{path.name} lists hooks by name, each with its keys: `shopify: {{secret: ...}}`.")
    mode = stat.S_IMODE(path.stat().st_mode)
    for name, content in contents[0].items():
        line = contents[0].lines[name]
        if not NAME.fullmatch(name):
            raise _wrong(path, line, f"`{name[:40]}` cannot be a name: write small letters, digits and hyphens")
        if not isinstance(content, Section):
            raise _wrong(path, line, f"`{name}` has keys: {', '.join(KEYS)}")
        if is_receiving and "secret" in content and mode & 0o077:
            raise ServeError(f"{path} holds secrets and others can read it: run `chmod 600 {path}`.")
        try:
            hook = _hook(name, content, settings.hook_secrets.get(name), path.parent)
        except Unreadable as error:
            raise _wrong(path, error.line or line, error.problem) from None
        if is_receiving and not hook.secrets:
            variable = f"BACKHAUL_HOOK_{name.upper().replace('-', '_')}"
            raise _wrong(path, line, f"`{name}` has no secret: set {variable}, or write `secret:` here")
        yield name, hook


def _wrong(path: Path, line: int, problem: str) -> ServeError:
    return ServeError(f"{path.name}, line {line}: {problem}.")


def _hook(name: str, content: Section, of_environment: str | None, folder: Path) -> Hook:
    """Read one hook. Raises Unreadable with the line."""
    for key in content:
        if key not in KEYS:
            raise Unreadable(f"there is no key `{key[:40]}`; there are {', '.join(KEYS)}", content.lines[key])
    word = str(content.get("system", name.replace("-", "_")))
    if word not in SYSTEMS:
        raise Unreadable(f"`system:` is one of {', '.join(SYSTEMS)}", content.lines.get("system"))
    system = _system(SYSTEMS[word], content)
    source = str(content.get("source") or system.source)
    if not source:
        raise Unreadable(f"`{name}` needs a `source:`, the mapping or source that reads its events")
    if not system.schemes:
        raise Unreadable(f"`{name}` needs a `header:`, the one that its signature stands in")
    beside = folder / source
    secrets = content.get("secret")
    listed = secrets if isinstance(secrets, Items) else [secrets] if secrets is not None else []
    given = tuple(str(one) for one in (of_environment, *listed) if one)
    namespace = content.get("namespace")
    return Hook(name, system, str(beside) if beside.is_file() else source, given, str(namespace) if namespace else None)


def _system(system: System, content: Section) -> System:
    """Change what a system is by what the file says of it."""
    changes: dict[str, Any] = {}
    if "header" in content:
        encoding = str(content.get("encoding", "hex"))
        if encoding not in ("hex", "base64"):
            raise Unreadable("`encoding:` is hex or base64", content.lines["encoding"])
        header = str(content["header"]).lower()
        changes["schemes"] = (Scheme(header, encoding, str(content.get("prefix") or "")),)
    for key in ("event_id", "sent_at"):
        if key in content:
            text = str(content[key] or "")
            changes[key] = text.lower() if text.startswith("header:") else text
    for key in ("needs", "unwrap"):
        if key in content:
            listed = content[key]
            changes[key] = tuple(map(str, listed if isinstance(listed, Items) else [listed]))
    if "window_hours" in content:
        changes["window_s"] = _hours(content) * HOUR
    if "answer" in content:
        if content["answer"] not in (200, 202, 204):
            raise Unreadable("`answer:` is 200, 202 or 204", content.lines["answer"])
        changes["answer"] = content["answer"]
    return replace(system, **changes)


def _hours(content: Section) -> float:
    try:
        hours = figure(str(content["window_hours"]))
    except ValueError:
        hours = -1.0
    if hours < 0:
        raise Unreadable(
            "`window_hours:` is how old an event may be, in hours; 0 looks at no time", content.lines["window_hours"]
        )
    return hours
