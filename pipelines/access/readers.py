"""The file of readers: who may do what with which rows. Beside the warehouse, written by its owner, read at each look.

A reader is found by the e-mail that the sign-in vouches for, else by a group of theirs, the first in the file that
fits; a key of the endpoint by its name. Who is not in the file sees nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import AccessError
from pipelines.settings import Settings
from pipelines.warehouse.scope import CUTS, EVERYTHING, Scope
from pipelines.written import Items, Section, Unreadable, documents, text_of

RIGHTS: Mapping[str, frozenset[str]] = {
    "viewer": frozenset({"look"}),
    "analyst": frozenset({"look", "export", "rows", "save"}),
    "admin": frozenset({"look", "export", "rows", "save", "change"}),
}
"""What each role may do: look at numbers, list and export rows, save what is theirs, change what is everybody's."""
KINDS = ("email", "group", "key")
VERSION = 1
MOST = 2000  # readers in it
LONGEST = 200  # characters of a name or value


@dataclass(frozen=True)
class Reader:
    """Somebody who reads: how they are known, what they may do, and with which rows."""

    name: str
    role: str
    scope: Scope = EVERYTHING
    kind: str = "owner"

    def may(self, right: str) -> bool:
        """Say whether their role has a right; what is everybody's is changed by who sees all of it."""
        return right in RIGHTS[self.role] and not (right == "change" and self.scope)

    def may_send_to(self, address: str) -> bool:
        """Say whether they may have something sent to an address: an admin to any, others by mail to themselves.

        Who is known by a group has no address that the file vouches for.

        >>> Reader("a@example.org", "analyst", kind="email").may_send_to("mailto:A@example.org")
        True
        """
        own = f"mailto:{self.name}".casefold()
        return self.may("change") or (self.kind == "email" and address.casefold() == own)


OWNER = Reader("owner", "admin")
"""Whoever may write the folder of the warehouse: the command line, and the pages on this machine without sign-in."""


@dataclass(frozen=True)
class Readers:
    """The readers of a file, in its order."""

    every: tuple[Reader, ...] = ()

    def named(self, name: str, kind: str | None = None) -> Reader | None:
        """Give the reader of this e-mail, group or key; e-mails are alike whatever their case."""
        wanted = name.strip().casefold()
        fitting = (r for r in self.every if kind in (None, r.kind))
        return next(
            (r for r in fitting if (r.name.casefold() if r.kind == "email" else r.name) in (wanted, name)), None
        )

    def signed_in(self, claims: Mapping[str, Any], group_claim: str = "groups") -> Reader | None:
        """Give the reader that a sign-in vouches for: by e-mail, else by group, the first in the file; else None.

        An e-mail that the provider says is not verified counts for nothing. The reader keeps the e-mail as name.
        """
        email = claims.get("email")
        is_verified = claims.get("email_verified", True) in (True, "true", "True")
        known = email if isinstance(email, str) and is_verified else ""
        if known and (found := self.named(known, "email")) is not None:
            return found
        told = claims.get(group_claim) or ()
        groups = {told} if isinstance(told, str) else {g for g in told if isinstance(g, str)}
        of_group = next((r for r in self.every if r.kind == "group" and r.name in groups), None)
        if of_group is None:
            return None
        return Reader(known or str(claims.get("sub", "")) or of_group.name, of_group.role, of_group.scope, "group")

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """List what they are kept to, each once."""
        return tuple(dict.fromkeys(r.scope for r in self.every if r.scope))


def load_readers(settings: Settings) -> Readers:
    """Read the file of readers; none where there is no file. Raises AccessError, which names its line."""
    path = settings.readers_file
    try:
        found = documents(text_of(path))
    except FileNotFoundError:
        return Readers()
    except OSError as error:
        raise AccessError(f"{path} cannot be read ({error.strerror}); nobody is let in until it can.") from None
    except Unreadable as error:
        where = f"{path.name}, line {error.line}" if error.line else str(path)
        raise AccessError(f"{where}: {error.problem}; nobody is let in until it is right.") from None
    read = found[0] if len(found) == 1 else None
    return Readers(tuple(_readers(path.name, read)))


def _readers(file: str, read: Any) -> Iterable[Reader]:
    if not isinstance(read, Section) or set(read) != {"version", "readers"} or read["version"] != VERSION:
        raise AccessError(
            f"{file}: it begins with `version: {VERSION}`, then lists `readers:`, and holds nothing else."
        )
    listed = read["readers"]
    if not isinstance(listed, Items) or len(listed) > MOST:
        raise AccessError(f"{file}: `readers` is a list of at most {MOST:,}.")
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(listed):
        line = listed.lines[number]
        reader = _reader(file, line, entry)
        known = (reader.kind, reader.name.casefold() if reader.kind == "email" else reader.name)
        if known in seen:
            raise AccessError(f"{file}, line {line}: {reader.name} is listed twice; who may see what is said once.")
        seen.add(known)
        yield reader


def _reader(file: str, line: int, entry: Any) -> Reader:
    def wrong(said: str) -> AccessError:
        return AccessError(f"{file}, line {line}: {said}")

    if not isinstance(entry, Section):
        raise wrong("each reader has `email`, `group` or `key`, a `role`, and what they are kept to.")
    if unknown := sorted(set(entry) - {*KINDS, "role", *CUTS}):
        raise wrong(f"there is no `{unknown[0][:60]}`; there are {', '.join((*KINDS, 'role', *CUTS))}.")
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        raise wrong("a reader is known by one of `email`, `group` and `key`.")
    name, role = entry[kinds[0]], entry.get("role")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST or any(ord(c) < 32 for c in name):
        raise wrong(f"`{kinds[0]}` is a name of at most {LONGEST} characters.")
    if role not in RIGHTS:
        raise wrong(f"`role` is one of {', '.join(RIGHTS)}.")
    scope = Scope.of(**{cut: _values(wrong, cut, entry[cut]) for cut in CUTS if cut in entry})
    if role == "admin" and scope:
        raise wrong("an admin changes what is everybody's and is kept to nothing; make them an analyst, or let it go.")
    return Reader(name.strip(), str(role), scope, kinds[0])


def _values(wrong: Any, cut: str, given: Any) -> list[str]:
    values = given if isinstance(given, list) else [given]
    if not values or not all(isinstance(v, str | int) and 0 < len(str(v)) <= LONGEST for v in values):
        raise wrong(f"`{cut}` is a list of names; leave it out for all of them.")
    return [str(v).upper() if cut == "markets" and len(str(v)) == 2 else str(v) for v in values]
