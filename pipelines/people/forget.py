"""Forgetting one customer.

Raw files are made anonymous, logs and builds made again from them, and everything is searched for the rest. Each step
can be killed: a file is written anew beside the old one and named by the state in one transaction, which also sends its
load back to be judged; whom it is about is remembered as a keyed hash from the beginning, so that running it again
finishes it, and so that a later file that names them is made anonymous as it lands.
"""

import contextlib
import html
import json
import re
import secrets
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import duckdb
from sqlalchemy import String, Table, insert, select, update

from pipelines.errors import BackhaulError, ForgetError, SourceError
from pipelines.load import erased_files, erasing, load, log_columns
from pipelines.load.erased_files import Editor, Reads, Unwritable
from pipelines.load.erasing import Person
from pipelines.load.raw import connected
from pipelines.settings import Settings
from pipelines.sources import Source, source_named
from pipelines.sources.canonical import Canonical, thing_of
from pipelines.sources.looks import chunks, shown
from pipelines.sources.mapping import Mapping as MappingSource
from pipelines.warehouse import build, schema, sql, state, state_tables
from pipelines.warehouse import keys as keys_warehouse
from pipelines.warehouse.log_files import Logs
from pipelines.warehouse.sql import connect, name, open_file, quote, read_sql

Progress = Callable[[str], None]
STATUSES = ("landed", "logged", "published", "failed")
UNREACHED = (
    "copies that `backhaul backup` or anybody made before, and the disk's own snapshots",
    "exports and reports that were saved elsewhere",
    "the system the files come from: what it delivers of them from now on is made anonymous as it lands",
)
"""What no command of ours can reach."""
MOST_READ = 1000  # texts of one table that are looked at one by one


@dataclass(frozen=True)
class Searched:
    """One part of what is kept: how many files were read whole, and in which the customer is found."""

    place: str
    files: int
    found: tuple[str, ...] = ()


@dataclass(frozen=True)
class Erasure:
    """What forgetting one customer did and what a search then found.

    `left` says of each file that could not be made anonymous why.
    """

    opaque: str
    loads: int
    files: int
    records: int
    build_id: str | None
    searched: tuple[Searched, ...]
    left: tuple[str, ...] = ()
    others: int = 0
    unreached: tuple[str, ...] = UNREACHED

    @property
    def found(self) -> int:
        """Count the files in which the customer is still found."""
        return sum(len(part.found) for part in self.searched)


@dataclass
class _Work:
    """What was done so far."""

    loads: set[str] = field(default_factory=set)
    files: int = 0
    records: int = 0
    left: list[str] = field(default_factory=list)
    reads: dict[Path, Reads] = field(default_factory=dict)  # of each raw file as it is now


def forget(
    settings: Settings, customer: str, namespace: str | None = None, progress: Progress = lambda _: None
) -> Erasure:
    """Take a customer out of everything that is kept, and search it for them.

    `customer` is the id as a source wrote it. Raises ForgetError when nothing is known of them, or when several sources
    have a customer of that id and none is named.
    """
    text = customer.strip()
    if not text:
        raise ForgetError("An empty id is nobody's. Give the customer's id as the source writes it.")
    build.check_there(settings.warehouse)
    with build.writing(settings.warehouse, settings.wait_s):
        state_file = state.State(settings.warehouse)
        try:
            keys_warehouse.read(settings, state_file)
            person, is_begun = _person(settings, state_file, text, namespace)
            loads = [r for r in state_file.loads_with(*STATUSES) if r["files"] and namespace in (None, r["namespace"])]
            progress("looking for their records")
            given = {row["load_id"]: _given(settings, row) for row in loads}
            of = {row["namespace"]: replace(person, links={}, others=set()) for row in loads}  # ids are of one source
            is_known = _learn(settings, state_file, loads, given, of)
            if not is_known and not is_begun:
                raise ForgetError(
                    f"No file and no log knows the customer {shown(text)}. Write the id as the source does, capitals"
                    " included."
                )
            _remember(state_file, person, namespace)
            work = _Work()
            for row in loads:
                progress(f"making the files of load {row['load_id']} anonymous")
                _anonymise(settings, state_file, row, *given[row["load_id"]], of[row["namespace"]], work)
            _clear_state(state_file, person)
        finally:
            state_file.close()
    report = load(settings, progress=progress)  # loads that are judged again make a whole build
    searched = _search_all(settings, text, namespace, work, progress)
    return Erasure(
        person.opaque,
        len(work.loads),
        work.files,
        work.records,
        report.build_id,
        tuple(searched),
        tuple(work.left),
        sum(len(known.others) for known in of.values()),
    )


def _search_all(
    settings: Settings, text: str, namespace: str | None, work: _Work, progress: Progress
) -> list[Searched]:
    """Remove what was made before, search what is left, and end the forgetting where nothing is found."""
    with build.writing(settings.warehouse, settings.wait_s):
        progress("removing what was made before")
        for old in build.own_files(settings.warehouse):
            if old.stem != build.current_id(settings.warehouse):
                old.unlink()
        build.drop_within(settings.warehouse)
        state_file = state.State(settings.warehouse)
        try:
            state_file.keep_builds(1)
            state_file.compact()
            state.keep_copy(settings.warehouse)
            searched = search(settings, state_file, text, work.reads, namespace, progress)
            if not work.left and not any(part.found for part in searched):
                state_file.end_forgetting(_hash(settings, state_file, text))
                state.keep_copy(settings.warehouse)
        finally:
            state_file.close()
    return searched


def _hash(settings: Settings, state_file: state.State, text: str) -> str:
    return erasing.hash_of(text, erasing.new_secret(settings, state_file))


def _person(settings: Settings, state_file: state.State, text: str, namespace: str | None) -> tuple[Person, bool]:
    """Give the customer, with the opaque text of a run before this one if there was one, and say whether there was."""
    person_hash = _hash(settings, state_file, text)
    mine = select(state_tables.forgotten).where(state_tables.forgotten.c.person == person_hash)
    rows = [r for r in state_file.rows(mine) if r["namespace"] in ("", namespace or "")]
    if not rows and namespace is None and not erasing.is_distinct(erasing.plain(text)):
        every = sorted({r["namespace"] for r in state_file.loads_with("logged", "published")})
        named = [
            n for n in every if erasing.links_of(settings, state_file, erasing.logged(state_file, n), n, [text])[text]
        ]
        if len(named) > 1:
            raise ForgetError(
                f"{shown(text)} is a customer of several sources ({', '.join(named)[:120]}), who may be several people."
                " Say which with --source."
            )
    opaque = rows[0]["opaque"] if rows else f"forgotten-{secrets.token_hex(8)}"
    return Person(text, opaque, erasing.new_secret(settings, state_file)), bool(rows)


def _remember(state_file: state.State, person: Person, namespace: str | None) -> None:
    """Remember whom this is about before anything is touched."""
    person_hash = erasing.hash_of(person.text, person.secret)
    with state_file.transaction() as connection:
        there = select(state_tables.forgotten.c.person).where(
            state_tables.forgotten.c.person == person_hash, state_tables.forgotten.c.namespace == (namespace or "")
        )
        if connection.execute(there).first() is None:
            row = {
                "person": person_hash,
                "namespace": namespace or "",
                "opaque": person.opaque,
                "is_address": int("@" in person.text),
                "begun_at": state.now(),
            }
            connection.execute(insert(state_tables.forgotten).values(row))


def _given(settings: Settings, row: dict[str, Any]) -> tuple[Source | None, dict[Path, Reads]]:
    """Give a load's source, and what it reads of each of its files that are there."""
    files = [f for file in row["files"] if (f := settings.raw / file["raw"]).is_file()]
    try:
        origin = source_named(str(settings.raw / row["mapping"]) if row["mapping"] else row["source"])
    except BackhaulError:  # its mapping is gone: what it reads is not known, so nothing of a record stays
        return None, {file: Reads(lambda _: None) for file in files}
    return origin, erased_files.reads_of(origin, files, row["namespace"], lambda: connected(settings))


def _learn(
    settings: Settings,
    state_file: state.State,
    loads: list[dict[str, Any]],
    given: dict[str, tuple[Source | None, dict[Path, Reads]]],
    of: dict[str, Person],
) -> bool:
    """Learn the ids that lead to their records, from the logs and from the files of each source.

    Say whether there are any, or their name.
    """
    needles, is_known = _Needles(next(iter(of.values())).text if of else "", [], []), False
    for namespace, person in of.items():
        for links in erasing.links_of(
            settings,
            state_file,
            erasing.logged(state_file, namespace),
            namespace,
            {person.text, person.plain, person.opaque},
        ).values():
            for column, values in links.items():
                person.links.setdefault(column, set()).update(values)
        person.kept_texts = erasing.kept_texts(settings, state_file, namespace)
        reads = {f: r for row in loads if row["namespace"] == namespace for f, r in given[row["load_id"]][1].items()}
        is_known |= bool(erasing.learn(reads, reads, [person]) or person.links)
        is_known = is_known or any(needles.in_file(file) for file in reads)  # also in what is no table
    return is_known


def _anonymise(
    settings: Settings,
    state_file: state.State,
    row: dict[str, Any],
    origin: Source | None,
    reads: dict[Path, Reads],
    person: Person,
    work: _Work,
) -> None:
    """Write the files of a load anew where they speak of the customer, and send it back to be judged."""
    if row["raw_gone_at"]:
        _rename_in_logs(settings, state_file, row, person, work)
        return
    changes: list[tuple[str, dict[str, Any]]] = []
    for file in row["files"]:
        path = settings.raw / file["raw"]
        if path not in reads:
            continue
        work.reads[path] = reads[path]
        called = _called(path, origin, person)
        try:
            fresh = _written_anew(path, called, reads[path], person, work)
        except (Unwritable, SourceError) as error:
            work.left.append(
                f"{error}. It stays as it is; `backhaul withdraw {row['load_id']}` takes the whole load back."
            )
            continue
        if fresh is None:
            continue
        values = {
            "raw": str(fresh.relative_to(settings.raw)),
            "name": called,
            "sha256": build.checksum(fresh),
            "bytes": fresh.stat().st_size,
            "given_sha256": file["given_sha256"] or file["sha256"],
        }
        changes.append((file["raw"], values))
    if not changes:
        return
    work.loads.add(row["load_id"])
    with state_file.transaction() as connection:
        for raw, values in changes:
            mine = (state_tables.load_file.c.load_id == row["load_id"]) & (state_tables.load_file.c.raw == raw)
            connection.execute(update(state_tables.load_file).where(mine).values(values))
        if row["status"] != "failed":
            connection.execute(
                update(state_tables.load).where(state_tables.load.c.load_id == row["load_id"]).values(status="landed")
            )
    for raw, values in changes:
        work.reads[settings.raw / values["raw"]] = work.reads.pop(settings.raw / raw)
        shutil.rmtree((settings.raw / raw).parent)


def _written_anew(path: Path, called: str, reads: Reads, person: Person, work: _Work) -> Path | None:
    """Write a file without the customer, under the name it is `called` then; None where it does not speak of them.

    Raises Unwritable or SourceError where that cannot be done; what was written of it is gone then.
    """
    folder = _beside(path.parent)
    folder.mkdir(mode=0o700)
    fresh = folder / called
    editor = Editor([person])
    try:
        changed = erased_files.rewrite(path, fresh, reads, editor)
        if changed and erased_files.rewrite(fresh, None, reads, Editor([person])):
            raise Unwritable(f"{shown(path)} still speaks of them when it is written anew")
    except (Unwritable, SourceError, OSError):
        shutil.rmtree(folder)
        raise
    if not changed and called != path.name:
        shutil.copyfile(path, fresh)
    if not changed and called == path.name:
        folder.rmdir()
        return None
    build.sync(fresh)
    build.sync(folder)
    work.files, work.records = work.files + 1, work.records + editor.records
    return fresh


def _rename_in_logs(
    settings: Settings, state_file: state.State, row: dict[str, Any], person: Person, work: _Work
) -> None:
    """Put the hash of the opaque text in the place of the id's in the logs of a load that has no raw files any more."""
    key, source = keys_warehouse.read(settings, state_file), row["namespace"]

    def hashed(text: str) -> str:
        return f"{source}:{keys_warehouse.customer_hash(key, text)}"

    of = {hashed(text): hashed(person.opaque) for text in (person.text, person.plain)}
    found = 0
    for thing, table in ((n, t) for n, t in schema.LOG.tables.items() if "customer_id" in t.columns):
        logs = Logs(settings, state_file)
        if not (rows := logs.sql(thing, [row["load_id"]])):
            continue
        with connect(settings=settings, folders=[logs.folder]) as connection:
            mine = f"SELECT count(*) FROM {rows} WHERE customer_id IN ({', '.join(map(quote, of))})"
            number = int(connection.execute(mine).fetchall()[0][0])
        if number:
            if not found:  # before anything is changed: what the build holds is no longer what the logs say
                state_file.set_status([row["load_id"]], "logged")
            logs.replace(row["load_id"], thing, partial(_renamed, table, of))
            found += number
    if found:
        work.loads.add(row["load_id"])
        work.records += found


def _renamed(table: Table, of: Mapping[str, str], connection: duckdb.DuckDBPyConnection, rows: str) -> str:
    return log_columns.renamed(connection, table, rows, of)


def _called(path: Path, origin: Source | None, person: Person) -> str:
    """Give a file's name without the id, if its source knows it by that."""
    called = person.pattern.sub(person.opaque, path.name) if person.is_distinct else path.name
    is_known = not isinstance(origin, MappingSource) or origin.takes(Path(called))
    if isinstance(origin, Canonical):
        is_known = thing_of(Path(called)) in schema.LOG.tables
    return called if is_known else path.name


def _beside(folder: Path) -> Path:
    """Give a folder that is not there for what takes the place of a file, in the same place among the load's files.

    What a run that was killed left there goes.
    """
    base, _, number = folder.name.partition(".")
    fresh = folder.with_name(f"{base}.{int(number or 0) + 1}")
    if fresh.exists():
        shutil.rmtree(fresh)
    return fresh


def _clear_state(state_file: state.State, person: Person) -> None:
    """Put the opaque text in the place of the id wherever people or loads wrote it into the state."""
    if not person.is_distinct:
        return
    with state_file.transaction() as connection:
        for table in (t for t in state_tables.STATE.sorted_tables if t is not state_tables.forgotten):
            for column in (c for c in table.columns if isinstance(c.type, String)):
                if table is state_tables.load_file and column.name in ("raw", "name"):  # named anew with the files
                    continue
                held = select(column).distinct().where(column.icontains(person.plain, autoescape=True))
                for (text,) in connection.execute(held).fetchall():
                    if (cleared := person.pattern.sub(person.opaque, text)) != text:
                        connection.execute(update(table).where(column == text).values({column.name: cleared}))


class _Needles:
    """What is searched for: the id in every way a file may write it, and its keyed hashes."""

    def __init__(self, text: str, hashes: Sequence[str], keys: Sequence[int]) -> None:
        self.plain = erasing.plain(text)
        self.keys = list(keys)
        self.hashes = [h.lower() for h in hashes]
        written = {self.plain, json.dumps(self.plain)[1:-1], html.escape(self.plain), quote_plus(self.plain)}
        self.texts = sorted(w.lower() for w in written) if erasing.is_distinct(self.plain) else []
        self.pattern = erasing.pattern_of(self.plain)
        coded = ("utf-8", "utf-16-le", "utf-16-be")
        self.bytes = [t.encode(c).lower() for t in [*self.texts, *self.hashes] for c in coded]

    def in_text(self, text: str) -> bool:
        """Say whether a text holds the id, not as a part of a longer one, or a hash."""
        lowered = text.lower()
        if any(h in lowered for h in self.hashes):
            return True
        return any(t in lowered for t in self.texts) and bool(
            self.pattern.search(text) or any(t in lowered for t in self.texts if t != self.plain.lower())
        )

    def in_bytes(self, content: Iterable[bytes]) -> bool:
        """Say whether bytes hold the id in any coding, not as a part of a longer one in UTF-8."""
        longest = max(map(len, self.bytes), default=0) + 8
        tail = b""
        for chunk in content:
            window = (tail + chunk).lower()
            for needle in self.bytes:
                at = window.find(needle)
                while at >= 0:
                    around = window[max(at - 8, 0) : at + len(needle) + 4].decode("latin-1")
                    is_plain = needle == self.plain.lower().encode()
                    if not is_plain or not self.plain.isascii() or self.pattern.search(around):
                        return True
                    at = window.find(needle, at + 1)
            tail = window[-longest:]
        return False

    def in_tables(self, connection: duckdb.DuckDBPyConnection, relations: Iterable[str]) -> bool:
        """Say whether a value of a relation holds the id, a hash or a key."""
        for relation in relations:
            columns = connection.execute(f"DESCRIBE FROM {relation}").fetchall()
            texts = [
                name(c[0])
                for c in columns
                if not re.match(r"(U?(BIG|HUGE|SMALL|TINY)?INT|DOUBLE|FLOAT|DECIMAL|DATE|TIME|BOOL)", str(c[1]))
            ]
            keys = [name(c[0]) for c in columns if c[0].endswith("_key") or c[0] == "key"]
            listed = ", ".join(str(k) for k in self.keys)
            if (
                keys
                and listed
                and connection.execute(
                    f"SELECT 1 FROM {relation} WHERE {' OR '.join(f'{k} IN ({listed})' for k in keys)} LIMIT 1"
                ).fetchone()
            ):
                return True
            if not texts or not (self.texts or self.hashes):
                continue
            row = f"concat_ws(chr(31), {', '.join(f'{c}::VARCHAR' for c in texts)})"
            where = " OR ".join(f"contains(lower({row}), {quote(t)})" for t in [*self.texts, *self.hashes])
            held = connection.execute(f"SELECT {row} FROM {relation} WHERE {where} LIMIT {MOST_READ}").fetchall()
            if any(self.in_text(text) for (text,) in held):
                return True
        return False

    def in_file(self, file: Path) -> bool:
        """Read a file whole, packed or not, tables by their values; say whether it holds the customer."""
        if self.in_text(file.name):
            return True
        with file.open("rb") as content:
            head = content.read(16)
        if head.startswith(b"PAR1") or head[8:12] == b"DUCK":
            return self._in_database(file, head)
        if head.startswith(b"SQLite format 3\0"):
            with contextlib.closing(
                sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            ) as base:
                tables = [t for (t,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                values = (
                    str(v)
                    for t in tables
                    for row in base.execute(f"SELECT * FROM {name(t)}")
                    for v in row
                    if isinstance(v, str)
                )
                if any(map(self.in_text, values)):
                    return True
        if zipfile.is_zipfile(file):
            with (
                contextlib.suppress(zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError),
                zipfile.ZipFile(file) as packed,
            ):
                for part in packed.infolist():
                    if self.in_text(part.filename):
                        return True
                    with packed.open(part) as content:
                        if self.in_bytes(iter(lambda content=content: content.read(1 << 20), b"")):  # type: ignore[misc]
                            return True
        if head.startswith(b"\x1f\x8b"):
            with contextlib.suppress(SourceError):
                if self.in_bytes(chunks(file)):
                    return True
        with file.open("rb") as content:
            return self.in_bytes(iter(lambda: content.read(1 << 20), b""))

    def _in_database(self, file: Path, head: bytes) -> bool:
        """Read every value of a Parquet or DuckDB file, then its bytes.

        Pages that no table reads any more are in it too.
        """
        is_parquet = head.startswith(b"PAR1")
        try:
            with contextlib.closing(
                connect(threads=1, folders=[file.parent]) if is_parquet else open_file(file)
            ) as connection:
                relations = [read_sql("parquet", file)]
                if not is_parquet:
                    relations = [
                        name(t) for (t,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
                    ]
                if self.in_tables(connection, relations):
                    return True
        except duckdb.Error:
            pass  # damaged: its bytes are read
        with file.open("rb") as content:
            return self.in_bytes(iter(lambda: content.read(1 << 20), b""))


def search(
    settings: Settings,
    state_file: state.State,
    customer: str,
    reads: Mapping[Path, Reads],
    namespace: str | None = None,
    progress: Progress = lambda _: None,
) -> list[Searched]:
    """Read everything that is kept, whole, and say where a customer is found.

    Under the id, in any coding, or under its keyed hash. Of one `namespace`, raw files of others are not looked at:
    they may have a customer of that id too.

    Files are unpacked and tables read by value. Raw files are read record by record too, as `reads` says: an id of few
    signs is somebody else's text as well, and is looked for where customers stand alone.
    """
    key = keys_warehouse.file_of(settings, state_file).read_bytes()
    loads = state_file.loads_with(*STATUSES)
    namespaces = [namespace] if namespace else sorted({row["namespace"] for row in loads if row["files"]})
    others = {row["load_id"] for row in loads if namespace not in (None, row["namespace"])}
    hashes = {keys_warehouse.customer_hash(key, t) for t in (erasing.plain(customer), customer.strip())}
    with connect(threads=1, folders=[]) as connection:
        ids = [quote(f"{n}:{h}") for n in namespaces for h in sorted(hashes)]
        numbers = [int(connection.execute(f"SELECT {sql.key_sql(i)}").fetchall()[0][0]) for i in ids]
    told = [f"{namespace}:{h}" for h in hashes] if namespace else [*hashes, *(f"rare-{h[:12]}" for h in hashes)]
    needles = _Needles(customer, told, numbers)
    still = set()
    for file, of in reads.items():
        editor = Editor([Person(customer, "")], is_learning=True)
        with contextlib.suppress(SourceError, Unwritable, FileNotFoundError):
            erased_files.rewrite(file, None, of, editor)
        if editor.records:
            still.add(file)
    return [_searched(settings, place, files, needles, still, progress) for place, files in _places(settings, others)]


def _places(settings: Settings, others: set[str]) -> Iterator[tuple[str, list[Path]]]:
    """Give every file that is kept, by the part it belongs to."""
    home = settings.warehouse
    files = [p for p in sorted(home.rglob("*")) if p.is_file() and p.name not in (".writer.lock", ".sending.lock")]
    parts = {"builds": "builds", "log": "logs", "closed": "closed months"}
    of: dict[str, list[Path]] = {
        "raw files": sorted(
            p for p in settings.raw.rglob("*") if p.is_file() and p.relative_to(settings.raw).parts[0] not in others
        )
    }
    if settings.spool.is_dir():
        of["events of web hooks"] = sorted(settings.spool.glob("*/*/**/*.ndjson"))
    for file in files:
        top = file.relative_to(home).parts[0]
        part = parts.get(
            top, "state and its copy" if top.startswith(("state.", ".state")) else "the rest of the folder"
        )
        of.setdefault(part, []).append(file)
    yield from of.items()


def _searched(
    settings: Settings, place: str, files: list[Path], needles: _Needles, still: set[Path], progress: Progress
) -> Searched:
    found = []
    for number, file in enumerate(files, start=1):
        progress(f"searching {place}: {number} of {len(files)}")
        if file in still or needles.in_file(file):
            found.append(str(file.relative_to(settings.warehouse.parent)))
    return Searched(place, len(files), tuple(found))
