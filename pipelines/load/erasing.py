"""People who asked to be forgotten.

Who they are, as keyed hashes, and raw files made anonymous where they speak of them. In a record of such a person the
id becomes an opaque text, the same wherever they stand; what no log reads becomes empty, a place two characters, a note
its concepts, words of their own a mark. What was sold, paid and sent back stays: the books are the retailer's. Other
records stay as they are, byte for byte where the file is text. Rewriting a load's files so that nothing is lost when it
is killed is in `forget`; here a file is rewritten to another place.
"""

import contextlib
import csv
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Date, DateTime, Double, Integer, Numeric, or_, select

from pipelines.errors import SourceError
from pipelines.load import contracts, log_columns
from pipelines.load.erased_files import Editor, Kinds, Leaves, Reader, Reads, Unwritable, reads_of, rewrite
from pipelines.settings import Settings, data_path
from pipelines.sources import Source, note_terms_sql, shopify_files
from pipelines.warehouse import keys, schema, state, state_tables
from pipelines.warehouse.build import checksum
from pipelines.warehouse.log_files import Logs
from pipelines.warehouse.sql import connect, quote

LINKS = {
    "order_id": 0,
    "order_line_id": 1,
    "return_id": 2,
    "return_line_id": 3,
    "parcel_id": 3,
    "refund_id": 3,
    "refund_line_id": 4,
}
"""Ids that lead from a customer's order to their returns and refunds, and how far down.

Never up again, for a parcel may be of two.
"""
ADDRESS = re.compile(r"[^\s@<>\"',;:|()\[\]{}\\/]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


@dataclass
class Person:
    """One who is forgotten.

    The id as a source wrote it, what stands in its place, and the ids that lead to their records.
    """

    text: str
    opaque: str
    secret: bytes = b""
    links: dict[str, set[str]] = field(default_factory=dict)
    kept_texts: frozenset[str] = frozenset()
    others: set[str] = field(
        default_factory=set
    )  # ids beside this one by which the warehouse knows who stands in its records

    @cached_property
    def plain(self) -> str:
        """The id as ids are compared."""
        return plain(self.text)

    @cached_property
    def is_distinct(self) -> bool:
        """Say whether the id is nobody else's and nothing else's text: an address, or long."""
        return is_distinct(self.plain)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What finds the id within a text, and not within a longer id."""
        return pattern_of(self.plain)

    def holds(self, leaves: Iterable[tuple[Kinds | None, Any]]) -> bool:
        """Say whether cells hold the id."""
        text, is_address = self.plain, "@" in self.plain
        for kinds, value in leaves:
            if value is None or isinstance(value, bool):
                continue
            if self.is_distinct and isinstance(value, str):  # whether it is there at all is soon told
                if text in (value.lower() if is_address else value) and (
                    plain(value) == text or self.pattern.search(value)
                ):
                    return True
            elif (self.is_distinct or _is_customer(kinds)) and plain(value) == text:
                return True
        return False

    def is_linked(self, leaves: Iterable[tuple[Kinds | None, Any]]) -> bool:
        """Say whether cells hold the id of an order, return, refund or parcel of theirs."""
        return any(plain(value) in self.links.get(link, ()) for link, value in _links(leaves))

    def learn(self, leaves: Sequence[tuple[Kinds | None, Any]]) -> bool:
        """Remember the ids of a record that is theirs; say whether one is new."""
        is_new, links = False, [(link, plain(value)) for link, value in _links(leaves)]
        known = [LINKS[link] for link, value in links if value in self.links.get(link, ())]
        above = -1 if self.holds(leaves) else min(known, default=max(LINKS.values()))
        for link, value in links:
            if LINKS[link] > above and value not in self.links.setdefault(link, set()):
                self.links[link].add(value)
                is_new = True
        for kinds, value in leaves:
            if value not in (None, "") and _is_customer(kinds) and plain(value) not in (self.plain, plain(self.opaque)):
                self.others.add(plain(value))
        return is_new

    def anonymous(self, kinds: Kinds | None, value: Any, empty: Any) -> Any:
        """Give what stays of one cell of theirs."""
        if value is None or value in ("", self.opaque) or isinstance(value, bool):
            return value
        is_customer = _is_customer(kinds)
        if plain(value) == self.plain and (self.is_distinct or is_customer or kinds is None):
            return self.opaque
        if kinds is None:
            return empty
        if not isinstance(value, str):
            return value
        text = self.pattern.sub(self.opaque, value) if self.is_distinct else value
        classes = {_class_of(kind) for kind in kinds}
        if "note" in classes:
            text = _concepts(text) or ""
        if "place" in classes and not re.fullmatch("[A-Z]{2}-.{0,2}", text):
            text = re.sub(r"\s", "", text)[:2]
        if not classes - {None} and not any(c.isdigit() for c in text) and any(map(_is_measured, kinds)):
            text = "-"  # words where a number or a time belongs: as unreadable as they are
        is_worded = "free" in classes and text.strip().lower() not in _reasons()
        is_telling = bool(classes & {"code", "label"}) and re.search(r"@|\d(\D*\d){6}", text) is not None
        is_kept = text.strip() in self.kept_texts or re.fullmatch("rare-[0-9a-f]{12}", text) is not None
        if (is_worded or is_telling) and text.strip() and not is_kept:
            text = "rare-" + hmac.new(self.secret, text.encode("utf-8", "replace"), "sha256").hexdigest()[:12]
        return text


def plain(value: Any) -> str:
    """Write an id as ids are compared.

    No blanks around it, of an address small letters, of a number no `.0`, of Shopify's its number.

    >>> plain(" Anne@Example.org "), plain(17850.0), plain("gid://shopify/Customer/12"), plain("C2")
    ('anne@example.org', '17850', '12', 'C2')
    """
    text = value.strip() if isinstance(value, str) else str(value)
    if "@" in text:
        return text.lower()
    if text.endswith(".0") and text[:-2].isdigit():
        return text[:-2]
    return text.rsplit("/", 1)[-1].split("?")[0] if text.startswith(shopify_files.GID) else text


@cache
def _is_customer(kinds: Kinds | None) -> bool:
    """Say whether a column holds customers."""
    return any(kind.endswith(".customer_id") for kind in kinds or ())


@cache
def _links_in(kinds: Kinds | None) -> tuple[str, ...]:
    """Name what the ids of a column lead to, if they lead to records of a customer's."""
    return tuple(sorted({column for kind in kinds or () if (column := kind.split(".")[1]) in LINKS}))


def is_distinct(text: str) -> bool:
    """Say whether an id can be looked for in any text: an address, ten digits, or eight signs with a letter."""
    return "@" in text or len(text) >= 10 or (len(text) >= 8 and not text.isdigit())


def pattern_of(text: str) -> re.Pattern[str]:
    """Give what finds an id within a text, and not within a longer id.

    >>> texts = "to Anne@example.org.", "joanne@example.org", "anne@example.org.uk"
    >>> [bool(pattern_of("anne@example.org").search(t)) for t in texts]
    [True, False, False]
    """
    before, after = (
        ("A-Za-z0-9._%+-", r"(?![A-Za-z0-9_@]|[.-][A-Za-z0-9])") if "@" in text else ("A-Za-z0-9", "(?![A-Za-z0-9])")
    )
    return re.compile(f"(?<![{before}]){re.escape(text)}{after}", re.IGNORECASE if "@" in text else 0)


def _links(leaves: Iterable[tuple[Kinds | None, Any]]) -> Iterator[tuple[str, Any]]:
    for kinds, value in leaves:
        if (columns := _links_in(kinds)) and value not in (None, "") and not isinstance(value, bool):
            yield from ((column, value) for column in columns)


@cache
def _class_of(kind: str) -> str | None:
    thing, _, column = kind.partition(".")
    found: str | None = schema.LOG.tables[thing].columns[column].info["text"]
    return found


@cache
def _is_measured(kind: str) -> bool:
    """Say whether a log column holds numbers or times."""
    thing, _, column = kind.partition(".")
    return isinstance(schema.LOG.tables[thing].columns[column].type, (Date, DateTime, Double, Integer, Numeric))


@cache
def _reasons() -> frozenset[str]:
    with data_path("reasons.csv").open(encoding="utf-8", newline="") as file:
        return frozenset(row["raw"].strip().lower() for row in csv.DictReader(file))


@cache
def _concepts(note: str) -> str | None:
    with connect(threads=1, folders=[]) as connection:
        found: str | None = connection.execute(f"SELECT {note_terms_sql('$1::VARCHAR')}", [note]).fetchall()[0][0]
        return found


@dataclass(frozen=True)
class Forgotten:
    """Those forgotten of one source: the hash of each id to what stands in its place.

    Nobody can tell an id from it without the hashing key.
    """

    secret: bytes
    opaque: Mapping[str, str] = field(default_factory=dict)
    has_addresses: bool = False

    def hash_of(self, text: str) -> str:
        """Give the hash that an id is remembered by."""
        return hash_of(text, self.secret)

    def customer_sql(self) -> str:
        """Give the SQL of the id that stands for the customer `v`: that of one who is forgotten is opaque."""
        named = (
            "CASE WHEN contains(v, '@') THEN lower(trim(v)) ELSE regexp_replace(trim(v), '^([0-9]+)[.]0$', '\\1') END"
        )
        known = ", ".join(f"{quote(h)}: {quote(o)}" for h, o in self.opaque.items())
        return f"coalesce(MAP {{{known}}}[{contracts.hmac_sql(named, self.secret)}], v)"

    def person(self, text: str) -> Person | None:
        """Give the one whom an id is of, if they are forgotten."""
        opaque = self.opaque.get(self.hash_of(text))
        return Person(text, opaque, self.secret) if opaque else None


def hash_of(text: str, secret: bytes) -> str:
    """Give the hash that an id is remembered by under a secret."""
    return hmac.new(secret, plain(text).encode("utf-8", "replace"), "sha256").hexdigest()[:32]


def _wrapped(secret: bytes, key: bytes) -> bytes:
    """Hide the secret behind the hashing key, or uncover it."""
    mask = hmac.new(key, b"those who are forgotten", "sha256").digest()
    return bytes(a ^ b for a, b in zip(secret, mask, strict=True))


def secret_of(settings: Settings, state_file: state.State) -> bytes | None:
    """Give the secret that those forgotten are hashed with; None before the first.

    It is kept in the state, hidden behind the hashing key: neither alone tells who was forgotten, and a new key hides
    it anew.
    """
    hidden = state_file.value("forgotten_secret")
    return _wrapped(bytes.fromhex(hidden), keys.file_of(settings, state_file).read_bytes()) if hidden else None


def new_secret(settings: Settings, state_file: state.State) -> bytes:
    """Give the secret, made at the first use."""
    found = secret_of(settings, state_file)
    if found is None:
        found = secrets.token_bytes(32)
        state_file.remember("forgotten_secret", hidden_secret(found, keys.file_of(settings, state_file).read_bytes()))
    return found


def hidden_secret(secret: bytes, key: bytes) -> str:
    """Give the secret as the state keeps it under a hashing key."""
    return _wrapped(secret, key).hex()


def forgotten(settings: Settings, state_file: state.State, namespace: str) -> Forgotten | None:
    """Give those forgotten of a source; None where there are none."""
    mine = or_(state_tables.forgotten.c.namespace == namespace, state_tables.forgotten.c.namespace == "")
    rows = state_file.rows(select(state_tables.forgotten).where(mine))
    secret = secret_of(settings, state_file) if rows else None
    if secret is None:
        return None
    return Forgotten(secret, {r["person"]: r["opaque"] for r in rows}, any(r["is_address"] for r in rows))


@dataclass
class _Finder:
    """Finds, among the cells of files, ids of those who are forgotten."""

    known: Forgotten
    found: dict[str, Person] = field(default_factory=dict)

    def speaks(self, leaves: Leaves) -> bool:
        """Note whom of them the cells name. No record is edited."""
        for kinds, value in leaves:
            if value in (None, "") or isinstance(value, bool):
                continue
            named = [value] if _is_customer(kinds) else []
            if self.known.has_addresses and isinstance(value, str) and "@" in value:
                named += ADDRESS.findall(value)
            for text in {plain(n) for n in named} - self.found.keys():
                if (person := self.known.person(text)) is not None:
                    self.found[text] = person
        return False

    def edited(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Edit nothing."""
        return None

    def read(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Note whom the cells name."""
        self.speaks(leaves)
        return None


def mask(
    settings: Settings,
    state_file: state.State,
    origin: Source,
    namespace: str,
    rows: list[dict[str, Any]],
    connected: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> None:
    """Make landed files anonymous where they speak of those who are forgotten.

    Their new checksums are noted in their rows.

    Raises SourceError for a file that speaks of them and cannot be written anew.
    """
    known = forgotten(settings, state_file, namespace)
    if known is None:
        return
    files = [settings.raw / row["raw"] for row in rows]
    reads = reads_of(origin, files, namespace, connected)
    finder = _Finder(known)
    for file in files:
        _written(file, None, reads[file], finder)
    persons = {p.opaque: p for p in finder.found.values()}
    for opaque, links in links_of(
        settings, state_file, logged(state_file, namespace), namespace, known.opaque.values()
    ).items():
        persons.setdefault(opaque, Person(opaque, opaque, known.secret)).links = links
    learn(files, reads, [*persons.values()])
    kept = kept_texts(settings, state_file, namespace)
    for person in persons.values():
        person.kept_texts = kept
    for file, row in zip(files, rows, strict=True):
        fresh = file.with_name(file.name + ".new")  # the folder goes when the landing is killed
        changed = _written(file, fresh, reads[file], Editor([*persons.values()])) if persons else 0
        if changed:
            fresh.replace(file)
            row |= {"given_sha256": row["sha256"], "sha256": checksum(file), "bytes": file.stat().st_size}


def _written(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    """Write a landed file anew.

    One that cannot be read is refused where it is judged, one that cannot be written is refused here.
    """
    try:
        return rewrite(file, to, reads, editor)
    except Unwritable as error:
        raise SourceError(
            f"{error}, and it may name a customer who is to stay forgotten. Save it as .xlsx or CSV and load that."
        ) from error
    except SourceError:
        if to is not None:
            to.unlink(missing_ok=True)
        return 0


def learn(files: Iterable[Path], reads: Mapping[Path, Reads], persons: Sequence[Person]) -> int:
    """Learn from the persons' records the ids that lead to more of them, until there are no more.

    Give how many records there are.
    """
    editor = Editor(persons, is_learning=True)
    for _ in range(3):
        editor = Editor(persons, is_learning=True)
        for file in files if persons else ():
            with contextlib.suppress(SourceError, Unwritable):
                rewrite(file, None, reads[file], editor)
        if not editor.is_new:
            break
    return editor.records


def logged(state_file: state.State, namespace: str) -> list[str]:
    """List the loads of a source that are in the logs."""
    return [r["load_id"] for r in state_file.loads_with("logged", "published") if r["namespace"] == namespace]


def links_of(
    settings: Settings, state_file: state.State, loads: list[str], namespace: str, customers: Iterable[str]
) -> dict[str, dict[str, set[str]]]:
    """Read from the logs of loads, by customer, the ids that lead to their records."""
    key = keys.file_of(settings, state_file).read_bytes()
    hashes = {keys.customer_hash(key, c): c for c in customers}
    found: dict[str, dict[str, set[str]]] = {c: {} for c in hashes.values()}
    start, logs = len(namespace) + 2, Logs(settings, state_file)
    with connect(settings=settings, folders=[logs.folder]) as connection:
        rows = {}
        for thing in ("order_line", "return_event", "refund", "refund_line"):
            table = schema.LOG.tables[thing]
            rows[thing] = (
                f"(SELECT * FROM ({log_columns.log_rows(connection, table, logs.sql(thing, loads))}) WHERE source ="
                f" {quote(namespace)})"
            )
        wanted = ", ".join(quote(f"{namespace}:{h}") for h in hashes) or "NULL"
        connection.execute(f"""
            CREATE TEMP TABLE line AS SELECT DISTINCT customer_id, order_id, order_line_id
                FROM {rows["order_line"]} WHERE customer_id IN ({wanted});
            CREATE TEMP TABLE lot AS
            SELECT DISTINCT coalesce(r.customer_id, l.customer_id) AS customer_id, r.return_id, r.return_line_id,
                r.parcel_id, r.order_line_id
            FROM {rows["return_event"]} r LEFT JOIN line l USING (order_line_id) WHERE r.customer_id IN ({wanted})
                OR l.customer_id IS NOT NULL;
            CREATE TEMP TABLE money AS
            SELECT DISTINCT l.customer_id, f.refund_id FROM {rows["refund"]} f JOIN line l USING (order_id) UNION
            SELECT DISTINCT l.customer_id, f.refund_id FROM {rows["refund"]} f JOIN lot l USING (return_id) UNION
            SELECT DISTINCT l.customer_id, f.refund_id FROM {rows["refund_line"]} f JOIN line l USING (order_line_id);
        """)
        for table_name, columns in (
            ("line", ("order_id", "order_line_id")),
            ("lot", ("return_id", "return_line_id", "parcel_id", "order_line_id")),
            ("money", ("refund_id",)),
        ):
            for column in columns:
                for customer, value in connection.execute(
                    f"SELECT customer_id[{start}:], {column}[{start}:] FROM {table_name} WHERE {column} IS NOT NULL"
                ).fetchall():
                    found[hashes[customer]].setdefault(column, set()).add(plain(value))
    return found


def kept_texts(settings: Settings, state_file: state.State, namespace: str) -> frozenset[str]:
    """List the reasons that the logs hold word for word: nobody is told by them."""
    logs = Logs(settings, state_file)
    told = logs.sql("return_event", logged(state_file, namespace))
    if not told:
        return frozenset()
    with connect(settings=settings, folders=[logs.folder]) as connection:
        found = connection.execute(f"SELECT DISTINCT trim(reason_raw) FROM {told} WHERE reason_raw IS NOT NULL")
        return frozenset(text for (text,) in found.fetchall())
