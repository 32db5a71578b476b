"""People who asked to be forgotten.

Who they are, as keyed hashes, and raw files made anonymous where they speak of them. In a record of such a person the
id becomes an opaque text, the same wherever they stand; what no log reads becomes empty, a place two characters, a note
its concepts, words of their own a mark. What was sold, paid and sent back stays: the books are the retailer's. Other
records stay as they are, byte for byte where the file is text. Rewriting a load's files so that nothing is lost when it
is killed is in `forget`; here a file is rewritten to another place.
"""

import contextlib
import csv
import gzip
import hmac
import io
import json
import re
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import duckdb
from sqlalchemy import Date, DateTime, Double, Integer, Numeric, or_, select

from pipelines import keys, state
from pipelines.errors import BackhaulError, SourceError
from pipelines.logs import Logs
from pipelines.settings import Settings, data_path
from pipelines.sources import Source, note_terms_sql, shopify_files, tables
from pipelines.sources.canonical import Canonical, thing_of
from pipelines.sources.looks import is_packed, is_zip, shown, start_of
from pipelines.sources.mapping import Mapping as MappingSource
from pipelines.sources.online_retail import OnlineRetail
from pipelines.sources.shopify import Shopify
from pipelines.sql import connect, quote
from pipelines.warehouse import contracts, schema
from pipelines.warehouse.build import checksum

Kinds = frozenset[str]  # log columns that a column of a file fills, as log.column
READ: Kinds = frozenset()  # read, and it fills no column by itself
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
LARGEST_DOCUMENT = 512 << 20  # bytes of a JSON document that are taken into memory to be written anew
ADDRESS = re.compile(r"[^\s@<>\"',;:|()\[\]{}\\/]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
FLOAT = re.compile(r'"\\u0000([^"\\]*)\\u0000"')


class Unwritable(BackhaulError):
    """A file that speaks of the person and cannot be written anew; the words say why."""


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


# -- who is forgotten --------------------------------------------------------------------------------------------------


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


def secret_of(settings: Settings, memory: state.State) -> bytes | None:
    """Give the secret that those forgotten are hashed with; None before the first.

    It is kept in the state, hidden behind the hashing key: neither alone tells who was forgotten, and a new key hides
    it anew.
    """
    hidden = memory.value("forgotten_secret")
    return _wrapped(bytes.fromhex(hidden), keys.file_of(settings, memory).read_bytes()) if hidden else None


def new_secret(settings: Settings, memory: state.State) -> bytes:
    """Give the secret, made at the first use."""
    found = secret_of(settings, memory)
    if found is None:
        found = secrets.token_bytes(32)
        memory.remember("forgotten_secret", hidden_secret(found, keys.file_of(settings, memory).read_bytes()))
    return found


def hidden_secret(secret: bytes, key: bytes) -> str:
    """Give the secret as the state keeps it under a hashing key."""
    return _wrapped(secret, key).hex()


def forgotten(settings: Settings, memory: state.State, namespace: str) -> Forgotten | None:
    """Give those forgotten of a source; None where there are none."""
    mine = or_(state.forgotten.c.namespace == namespace, state.forgotten.c.namespace == "")
    rows = memory.rows(select(state.forgotten).where(mine))
    secret = secret_of(settings, memory) if rows else None
    if secret is None:
        return None
    return Forgotten(secret, {r["person"]: r["opaque"] for r in rows}, any(r["is_address"] for r in rows))


# -- what is read of a file --------------------------------------------------------------------------------------------


@dataclass
class Reads:
    """What a source reads of one file.

    `of` gives the log columns that a heading or path fills, None where nothing reads it; `how` says how the file is
    read.
    """

    of: Callable[[tuple[str, ...]], Kinds | None]
    how: Mapping[str, Any] = field(default_factory=dict)


def reads_of(
    origin: Source,
    files: Sequence[Path],
    namespace: str,
    connected: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> dict[Path, Reads]:
    """Say what a source reads of each of a load's files."""
    if isinstance(origin, MappingSource):
        origin.reads.clear()
        with contextlib.suppress(BackhaulError, duckdb.Error), connected() as connection:
            for _ in origin.name_rows(connection, list(files), namespace):
                pass
        return {file: _of_mapping(origin, file) for file in files}
    found: dict[Path, Reads] = {}
    for file in files:
        if isinstance(origin, Canonical):
            found[file] = Reads(_of_table(thing_of(file)), {"separator": ","})
        elif isinstance(origin, OnlineRetail):
            found[file] = Reads(_of_online_retail, {"separator": ","})
        elif isinstance(origin, Shopify):
            found[file] = Reads(_of_shopify)
        else:
            found[file] = Reads(lambda _: None)
    return found


def _of_table(thing: str) -> Callable[[tuple[str, ...]], Kinds | None]:
    columns = set(schema.LOG.tables[thing].columns.keys()) if thing in schema.LOG.tables else set()

    def of(path: tuple[str, ...]) -> Kinds | None:
        column = path[0].strip().lower()
        return frozenset({f"{thing}.{column}"}) if column in columns else None

    return of


_ONLINE_RETAIL = {
    "invoiceno": "order_line.order_id",
    "customerid": "order_line.customer_id",
    **dict.fromkeys(("stockcode", "description", "quantity", "invoicedate", "unitprice", "country"), ""),
}


def _of_online_retail(path: tuple[str, ...]) -> Kinds | None:
    filled = _ONLINE_RETAIL.get(path[0].strip().lower())
    return None if filled is None else frozenset({filled} - {""})


def _of_shopify(path: tuple[str, ...]) -> Kinds | None:
    names = shopify_files.named(path)
    leaf, above = names[-1], names[-2] if len(names) > 1 else ""
    if above in ("customer", "customers") and leaf == "id":
        return frozenset({"order_line.customer_id"})
    if shopify_files.PERSONAL & {*names[:-1]} and leaf not in ("country_code", "zip", "admin_graphql_api_id"):
        return None
    filled = {
        "zip": "order_line.customer_area",
        "note": "return_event.note_terms",
        "customer_note": "return_event.note_terms",
    }
    links = {
        "order_id": "order_line.order_id",
        "line_item_id": "order_line.order_line_id",
        "__parent_id": "order_line.order_id",
    }
    if (column := filled.get(leaf) or links.get(leaf)) is not None:
        return frozenset({column})
    if leaf == "id":
        of = {
            "line_item": "order_line_id",
            "line_items": "order_line_id",
            "refund": "refund_id",
            "refunds": "refund_id",
            "return": "return_id",
            "returns": "return_id",
        }
        column = of.get(above, "order_id" if above in ("order", "orders", "", "node", "nodes") else "")
        return frozenset(
            {f"refund_line.{column}"}
            if column == "refund_id"
            else {f"return_event.{column}"}
            if column == "return_id"
            else {f"order_line.{column}"}
            if column
            else ()
        )
    return READ if leaf in shopify_files.READ_KEYS else None


def _of_mapping(origin: MappingSource, file: Path) -> Reads:
    """Read what the tables of a mapping that take a file asked of it."""
    how, headings = origin.reading_of(file), origin.reads.get(file.name, {})
    tails = {
        tuple(k for k in heading.split(".") if not k.isdigit()): frozenset(filled)
        for heading, filled in headings.items()
    }
    rows = tuple(key for key in str(how.get("path", "")).split(".") if key)

    def of(path: tuple[str, ...]) -> Kinds | None:
        if len(path) == 1:
            return None if (only := headings.get(tables.plain(path[0]))) is None else frozenset(only)
        starts = {0, *(i + 1 for i, key in enumerate(path) if key == "[]")}
        found: Kinds | None = None
        for start in sorted(starts):
            rest = [tables.plain(key) for key in path[start:] if key != "[]"]
            rest = rest[len(rows) :] if not start and tuple(rest[: len(rows)]) == rows else rest
            for end in range(1, len(rest) + 1):  # a heading may name an object
                if (filled := tails.get(tuple(rest[:end]))) is not None:
                    found = filled if found is None else found | filled
        return found

    return Reads(of, how)


# -- records -----------------------------------------------------------------------------------------------------------

Leaves = Sequence[tuple[Kinds | None, Any]]


class Reader(Protocol):
    """Who is shown the records of a file."""

    def speaks(self, leaves: Leaves) -> bool:
        """Say whether a record is to be edited."""

    def edited(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Give the cells of such a record as they are to be; None where nothing changes."""

    def read(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Give the cells of any record as they are to be; None where it stays as it is."""


@dataclass
class Editor:
    """What becomes of records.

    Those that speak of the persons are made anonymous, or with `is_learning` only learned from.
    """

    persons: Sequence[Person]
    is_learning: bool = False
    is_new: bool = False  # whether anything was learned
    records: int = 0

    def speaks(self, leaves: Leaves) -> bool:
        """Say whether cells speak of any of them."""
        return any(p.holds(leaves) or p.is_linked(leaves) for p in self.persons)

    def edited(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Give the cells of a record that speaks of them as they are to be; None where nothing changes."""
        self.records += 1
        values = [value for _, value in leaves]
        for person in self.persons:
            if person.holds(leaves) or person.is_linked(leaves):
                self.is_new |= self.is_learning and person.learn(leaves)
                values = [
                    person.anonymous(kinds, value, empty) for (kinds, _), value in zip(leaves, values, strict=True)
                ]
        is_same = self.is_learning or values == [value for _, value in leaves]
        return None if is_same else values

    def read(self, leaves: Leaves, empty: Any) -> list[Any] | None:
        """Give a record as it is to be; None where it stays as it is."""
        return self.edited(leaves, empty) if self.speaks(leaves) else None


# -- their records in later files --------------------------------------------------------------------------------------


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
    memory: state.State,
    origin: Source,
    namespace: str,
    rows: list[dict[str, Any]],
    connected: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> None:
    """Make landed files anonymous where they speak of those who are forgotten.

    Their new checksums are noted in their rows.

    Raises SourceError for a file that speaks of them and cannot be written anew.
    """
    known = forgotten(settings, memory, namespace)
    if known is None:
        return
    files = [settings.raw / row["raw"] for row in rows]
    reads = reads_of(origin, files, namespace, connected)
    finder = _Finder(known)
    for file in files:
        _written(file, None, reads[file], finder)
    persons = {p.opaque: p for p in finder.found.values()}
    for opaque, links in links_of(
        settings, memory, logged(memory, namespace), namespace, known.opaque.values()
    ).items():
        persons.setdefault(opaque, Person(opaque, opaque, known.secret)).links = links
    learn(files, reads, [*persons.values()])
    kept = kept_texts(settings, memory, namespace)
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


def logged(memory: state.State, namespace: str) -> list[str]:
    """List the loads of a source that are in the logs."""
    return [r["load_id"] for r in memory.loads_with("logged", "published") if r["namespace"] == namespace]


def links_of(
    settings: Settings, memory: state.State, loads: list[str], namespace: str, customers: Iterable[str]
) -> dict[str, dict[str, set[str]]]:
    """Read from the logs of loads, by customer, the ids that lead to their records."""
    key = keys.file_of(settings, memory).read_bytes()
    hashes = {hmac.new(key, c.encode("utf-8", "replace"), "sha256").hexdigest()[:32]: c for c in customers}
    found: dict[str, dict[str, set[str]]] = {c: {} for c in hashes.values()}
    start, logs = len(namespace) + 2, Logs(settings, memory)
    with connect(threads=settings.threads, folders=[logs.folder]) as connection:
        rows = {}
        for thing in ("order_line", "return_event", "refund", "refund_line"):
            table = schema.LOG.tables[thing]
            rows[thing] = (
                f"(SELECT * FROM ({contracts.log_rows(connection, table, logs.sql(thing, loads))}) WHERE source ="
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


def kept_texts(settings: Settings, memory: state.State, namespace: str) -> frozenset[str]:
    """List the reasons that the logs hold word for word: nobody is told by them."""
    logs = Logs(settings, memory)
    told = logs.sql("return_event", logged(memory, namespace))
    if not told:
        return frozenset()
    with connect(threads=settings.threads, folders=[logs.folder]) as connection:
        found = connection.execute(f"SELECT DISTINCT trim(reason_raw) FROM {told} WHERE reason_raw IS NOT NULL")
        return frozenset(text for (text,) in found.fetchall())


# -- files -------------------------------------------------------------------------------------------------------------


def rewrite(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    """Write a file anew at `to` with its records edited; give how many changed.

    One that has none to edit is not written. Without `to` the records are only shown to the editor. Raises Unwritable
    for a form that cannot be written anew, and SourceError for a file that cannot be read.
    """
    kind = tables.format_of(file)
    how = {tables.SPREADSHEET: _workbook, tables.PARQUET: _parquet, tables.JSON: _json}.get(kind, _text)
    try:
        changed = how(file, to, reads, editor)
    except (Unwritable, SourceError, OSError):
        raise
    except Exception as error:  # libraries raise what they like about bytes that others wrote
        raise Unwritable(f"{shown(file)} cannot be written anew ({type(error).__name__})") from error
    if to is not None and not changed:
        to.unlink(missing_ok=True)
    return changed


@contextlib.contextmanager
def _writing(file: Path, to: Path | None) -> Iterator[Callable[[bytes], Any]]:
    """Open what is written, packed as the file is; nothing is kept without `to`."""
    if to is None:
        yield lambda _: None
        return
    with to.open("wb") as raw:
        if not is_packed(file):
            yield raw.write
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
            yield packed.write


def _text(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    layout = tables.layout_of(file, reads.how)
    encoding = "utf-8" if layout.encoding in ("utf8", "utf-8") else layout.encoding
    is_plain = encoding == "utf-8"
    kinds: list[Kinds | None] = []
    changed = 0
    encoder = io.TextIOWrapper(
        raw := io.BytesIO(), encoding=encoding, errors="surrogateescape" if is_plain else "strict", newline=""
    )

    def encoded(text: str) -> bytes:
        encoder.write(text)
        encoder.flush()
        written = raw.getvalue()
        raw.seek(0)
        raw.truncate()
        return written

    with (
        tables.opened(file, encoding, "surrogateescape" if is_plain else "strict") as text,
        _writing(file, to) as write,
    ):
        for number, (written, cells) in enumerate(
            _records(tables.short_lines(text, tables.LONGEST_LINE), layout.separator, layout.quotes)
        ):
            if not kinds and number >= layout.skip and any(c.strip() for c in cells):
                kinds = [reads.of((heading,)) for heading in tables.headings_of(cells)]
                edited = None
            else:
                is_broken = bool(kinds) and len(cells) != len(kinds)
                leaves: Leaves = [
                    (kinds[i] if i < len(kinds) and not is_broken else None, c) for i, c in enumerate(cells)
                ]
                edited = editor.read(leaves, "")
            if edited is None:
                write(encoded(written))
                continue
            changed += 1
            if len(edited) != len(kinds) and not any(edited):  # a broken row stays one
                edited[-1] = "-"
            end = re.search(r"[\r\n]*$", written)
            write(encoded(_joined(edited, layout.separator, layout.quotes) + (end[0] if end else "")))
    return changed


def _records(text: Iterable[str], separator: str, quotes: str) -> Iterator[tuple[str, list[str]]]:
    """Give each record of a text, as it is written and as cells."""
    if len(separator) != 1:
        for line in text:
            yield line, line.rstrip("\r\n").split(separator)
        return
    taken: list[str] = []

    def fed() -> Iterator[str]:
        for line in text:
            taken.append(line)
            yield line

    for cells in csv.reader(
        fed(),
        delimiter=separator,
        quotechar=quotes or None,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    ):
        yield "".join(taken), cells
        taken.clear()


def _joined(cells: Sequence[str], separator: str, quotes: str) -> str:
    if len(separator) != 1 or not quotes:
        return separator.join(c.replace(separator, " ") for c in cells)
    line = io.StringIO()
    csv.writer(line, delimiter=separator, quotechar=quotes, lineterminator="").writerow(cells)
    return line.getvalue()


def _json(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    encoding = tables.encoding_of(file, reads.how)
    with tables.opened(file, encoding, "strict") as text:
        start = text.read(1 << 16)
    first, _, rest = start.lstrip("\ufeff \r\n\t").partition("\n")
    ending = (file.with_suffix("") if is_packed(file) else file).suffix.lower()
    is_lines = ending in (".ndjson", ".jsonl") or (rest.lstrip().startswith("{") and _parsed(first) is not None)
    changed = 0
    with tables.opened(file, encoding, "strict") as text, _writing(file, to) as write:
        if not is_lines:
            whole = text.read(LARGEST_DOCUMENT)
            if len(whole) == LARGEST_DOCUMENT:
                raise Unwritable(f"{shown(file)} is one JSON document of more than {LARGEST_DOCUMENT >> 20} MB")
            if not whole.strip("\ufeff \r\n\t"):
                return 0
            value = _parsed(whole.lstrip("\ufeff"))
            if value is None:
                raise Unwritable(f"{shown(file)} is not one JSON document")
            value, changed = _edited(value, (), reads, editor)
            if changed:
                _check_single(whole.lstrip("\ufeff"), file)
            write((_dumped(value) + "\n").encode(encoding))
            return changed
        for line in text:
            value = _parsed(line.lstrip("\ufeff"))
            if value is None:
                edited = editor.read([(None, line)], "") if line.strip() else None
                write((line if edited is None else "null\n").encode(encoding, "strict"))
                changed += edited is not None
                continue
            value, found = _edited(value, (), reads, editor)
            changed += found
            if found:
                _check_single(line.lstrip("\ufeff"), file)
            write((_dumped(value) + line[len(line.rstrip("\r\n")) :] if found else line).encode(encoding, "strict"))
    return changed


def _parsed(text: str, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Read JSON with its numbers as they are written; None for what is none, which no record is."""
    try:
        return json.loads(text, parse_float=lambda number: f"\0{number}\0", object_pairs_hook=hook)
    except (ValueError, RecursionError):
        return None


def _check_single(text: str, file: Path) -> None:
    """Raise Unwritable where an object of JSON holds a key twice: written anew it would hold it once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Unwritable(f"{shown(file)} holds a key twice in one object")
        return found

    _parsed(text, once)


def _dumped(value: Any) -> str:
    return FLOAT.sub(r"\1", json.dumps(value, ensure_ascii=False))


def _edited(value: Any, path: tuple[str, ...], reads: Reads, editor: Reader) -> tuple[Any, int]:
    """Edit the records of a JSON value: the outermost objects that speak of somebody outside of their lists."""
    if isinstance(value, list):
        found = [_edited(item, (*path, "[]"), reads, editor) for item in value]
        return [item for item, _ in found], sum(n for _, n in found)
    if not isinstance(value, dict):
        return value, 0
    if editor.speaks([(reads.of(p), v) for p, v in _leaves(value, path, has_lists=False)]):
        every = [(reads.of(p), v) for p, v in _leaves(value, path, has_lists=True)]
        told = editor.edited(every, None)
        return (value, 0) if told is None else (_replaced(value, iter(told)), 1)
    changed = 0
    for key, inner in value.items():
        value[key], n = _edited_lists(inner, (*path, key), reads, editor)
        changed += n
    return value, changed


def _edited_lists(value: Any, path: tuple[str, ...], reads: Reads, editor: Reader) -> tuple[Any, int]:
    """Edit the records in the lists of a value whose own leaves speak of nobody."""
    if isinstance(value, list):
        return _edited(value, path, reads, editor)
    if not isinstance(value, dict):
        return value, 0
    changed = 0
    for key, inner in value.items():
        value[key], n = _edited_lists(inner, (*path, key), reads, editor)
        changed += n
    return value, changed


def _leaves(value: Any, path: tuple[str, ...], *, has_lists: bool) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key), has_lists=has_lists)
    elif isinstance(value, list):
        for item in value if has_lists or not any(isinstance(i, dict | list) for i in value) else ():
            yield from _leaves(item, (*path, "[]"), has_lists=has_lists)
    else:
        yield path or ("",), value


def _replaced(value: Any, told: Iterator[Any]) -> Any:
    """Put edited leaves back in the order they were given in."""
    if isinstance(value, dict):
        return {key: _replaced(inner, told) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(item, told) for item in value]
    return next(told)


def _workbook(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    import openpyxl
    from openpyxl.cell.cell import MergedCell

    if not is_zip(start_of(file)) or file.suffix.lower() not in (".xlsx", ".xlsm"):
        return _old_workbook(file, reads, editor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and validations, which stay as they are
        book = openpyxl.load_workbook(file, data_only=True)  # the values that are read: formulas would lose theirs
    changed = 0
    for page in book.worksheets:
        rows = list(page.iter_rows())
        texts = [[tables.text_of(cell.value) for cell in row] for row in rows]
        header = reads.how.get("header_row")
        first = next((n for n, row in enumerate(texts) if any(row)), 0)
        at = tables.header_of(texts[: tables.HEAD_ROWS]) if header == "find" else int(header) - 1 if header else first
        kinds = [reads.of((h,)) for h in tables.headings_of(texts[at])] if at < len(texts) else []
        for row in (row for n, row in enumerate(rows) if n != at):
            cells = [c for c in row if not isinstance(c, MergedCell)]
            leaves: Leaves = [(kinds[c.column - 1] if c.column <= len(kinds) else None, c.value) for c in cells]
            if (edited := editor.read(leaves, None)) is None:
                continue
            changed += 1
            for cell, value in zip(cells, edited, strict=True):
                cell.value, cell.comment = value, None
                if cell.hyperlink is not None:
                    cell.hyperlink = None
    if to is not None and changed:
        book.save(to)
    return changed


def _old_workbook(file: Path, reads: Reads, editor: Reader) -> int:
    """Look at a workbook that can be read and not written: as long as it speaks of nobody there is nothing to write."""
    for sheet in tables.sheet_names(file):
        kinds: list[Kinds | None] = []
        for row in tables.sheet_rows(file, sheet):
            leaves = [(kinds[i] if i < len(kinds) else None, cell) for i, cell in enumerate(row)]
            if not kinds and any(row):
                kinds = [reads.of((h,)) for h in tables.headings_of(row)]
            if editor.read(leaves, None) is not None:
                raise Unwritable(f"{shown(file)} is a workbook of a form that can be read and not written")
    return 0


def _parquet(file: Path, to: Path | None, reads: Reads, editor: Reader) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file)
    told = source.schema_arrow
    kinds = [reads.of((n,)) for n in told.names]
    changed = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(pq.ParquetWriter(to, told)) if to is not None else None
        for batch in source.iter_batches():
            columns = [column.to_pylist() for column in batch.columns]
            for n, row in enumerate(zip(*columns, strict=True)):
                # what is nested is shown as one text: it is emptied as a whole where nothing reads it
                leaves: Leaves = [
                    (k, v if not isinstance(v, dict | list) else json.dumps(v, default=str))
                    for k, v in zip(kinds, row, strict=True)
                ]
                if (edited := editor.read(leaves, None)) is None:
                    continue
                changed += 1
                for column, (_, shown_), given, value in zip(columns, leaves, row, edited, strict=True):
                    if value == shown_:
                        continue
                    if isinstance(given, dict | list) and value is not None:
                        raise Unwritable(f"{shown(file)} holds the person within a column of lists or objects")
                    column[n] = value if isinstance(given, str) else None
            arrays = [pa.array(c, type=f.type) for c, f in zip(columns, told, strict=True)]
            if writer is not None:
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=told))
    return changed
