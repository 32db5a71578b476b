"""The quarantine worked through: rows listed and looked at, fixes made and taken back, loads validated again.

A fix is a record in the state (who, when, old, new), applied between a file's rows and their validation
(`load/fixes`). Making one changes no number: `replay` validates the loads it is of again and publishes a build.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Connection, Table, insert, select, update

from pipelines.errors import QuarantineError
from pipelines.load import contracts, fixes, verdicts
from pipelines.load.raw import damaged_raw
from pipelines.load.report import Progress, Report
from pipelines.load.run import load
from pipelines.settings import Settings
from pipelines.sources import NamedRows
from pipelines.sources.mapping import Mapping as MappingSource
from pipelines.warehouse import keys, schema, sql, state, state_tables
from pipelines.warehouse.build import check_there, writing
from pipelines.why import why

PERSONAL = ("customer", "place", "note")
"""Classes of text that no fix may hold: what is wrong with them is corrected at the source."""
LONGEST = 300  # characters of a value or a note
LOGGED = ("logged", "published")


@dataclass(frozen=True)
class Cell:
    """One column of a quarantined row: what may be shown of what the file holds, and the rules that it breaks."""

    column: str
    value: str
    rules: tuple[str, ...] = ()


def rows(
    settings: Settings,
    *,
    source: str = "",
    thing: str = "",
    rule: str = "",
    fields: bool = False,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """List quarantined rows, newest load first; with `fields` accepted rows with a field that could not be read.

    Each with the number of the latest fix of it that waits for `replay` (`fix_id`, None without one).
    """
    q = state_tables.quarantine.c
    asked = select(state_tables.quarantine).order_by(q.load_id.desc(), q.file, q.line, q.thing, q.item)
    asked = asked.where(q.is_field == 1 if fields else q.is_field.is_not(1))
    for column, value in ((q.source, source), (q.thing, thing)):
        asked = asked.where(column == value) if value else asked
    asked = asked.where(q.rules.contains(rule, autoescape=True)) if rule else asked
    with closing(state.State(settings.warehouse)) as state_file:
        found = state_file.rows(asked.limit(limit) if limit else asked)
        waiting = _waiting(state_file)
        key = keys.read(settings, state_file) if waiting else b""
    names = ("load_id", "source", "thing", "file", "line", "item", "rules", "value")
    return [{n: row[n] for n in names} | {"fix_id": _fix_of(row, waiting, key)} for row in found]


def _waiting(state_file: state.State) -> list[dict[str, Any]]:
    """List the fixes that stand and that no load was validated with yet."""
    f = state_tables.fix.c
    return state_file.rows(select(state_tables.fix).where(f.withdrawn_at.is_(None), f.replayed_at.is_(None)))


def _fix_of(row: Mapping[str, Any], waiting: Sequence[Mapping[str, Any]], key: bytes) -> int | None:
    """Give the number of the latest fix that waits and is of a quarantined row itself."""
    place = (row["source"], row["thing"], row["file"], row["line"])
    mine = [
        f["fix_id"]
        for f in waiting
        if (f["source"], f["thing"], f["file"], f["line"]) == place
        and (not f["item"] or not row["item"] or row["item"] in _kept(key, row["source"], f["item"]))
    ]
    return max(mine, default=None)


def _kept(key: bytes, source: str, item: str) -> set[str]:
    """Give the forms in which quarantine may keep the id that a row has in its file."""
    return {contracts.item_of(key, text) for text in (item, f"{source}:{item}")}


def one(settings: Settings, place: str, *, thing: str = "", item: str = "", load_id: str = "") -> dict[str, Any]:
    """Give the quarantined row at a place, written FILE:LINE; of several loads of one file the newest.

    Raises QuarantineError where there is none, or where one line of a file gave several rows and neither table nor id
    says which is meant.
    """
    file, _, line = place.rpartition(":")
    q = state_tables.quarantine.c
    asked = select(state_tables.quarantine).where(q.file == file, q.line == (int(line) if line.isdecimal() else -1))
    for column, value in ((q.thing, thing), (q.item, item), (q.load_id, load_id)):
        asked = asked.where(column == value) if value else asked
    with closing(state.State(settings.warehouse)) as state_file:
        found = state_file.rows(asked.order_by(q.load_id.desc(), q.is_field))
    if not found:
        raise QuarantineError(why("fix_no_row", place=place[:80]))
    newest = {(row["thing"], row["item"]): row for row in reversed(found) if row["load_id"] == found[0]["load_id"]}
    if len(newest) > 1:
        listed = "; ".join(sorted(f"{t} {i or '-'}" for t, i in newest))
        raise QuarantineError(why("fix_several_rows", place=place[:80], rows=listed[:150]))
    return found[0]


def look(settings: Settings, row: Mapping[str, Any], *, whole: bool = False) -> list[Cell]:
    """Give the columns of a quarantined row that hold something, or that are at fault.

    What cannot be read as what its column holds is shown by its shape; with `whole` as the file has it, but for
    customers, postcodes and notes. Raises QuarantineError where the raw file is gone.
    """
    with _reading(settings, row) as found:
        return _cells(found, whole=whole)


def fix_row(
    settings: Settings, row: Mapping[str, Any], values: Mapping[str, str], by: str, *, note: str = ""
) -> list[int]:
    """Say what counts in cells of a quarantined row; give the numbers of the fixes, one a column.

    Raises QuarantineError, which names the column, for one that the row does not have or that is personal, and for a
    value with which the column would be at fault still. Nothing is kept then.
    """
    if not values:
        raise QuarantineError(why("fix_nothing"))
    given = {column: _checked(str(row["thing"]), column, value) for column, value in values.items()}
    with _changing(settings) as (connection, _), _reading(settings, row) as found:
        if unknown := next((c for c in given if c not in found.types), None):
            listed = ", ".join(c for c in found.types if not c.startswith("_"))
            raise QuarantineError(why("fix_no_column", column=unknown[:60], columns=listed[:200]), unknown)
        if bad := next((c for c, v in given.items() if v and not found.holds(c, v)), None):
            raise QuarantineError(why("fix_still_wrong", rule=f"{found.types[bad].lower()} {bad}"), bad)
        place = {**found.place, "kind": "value"}
        old = _values(found)
        made = [{**place, "column": c, "old": old[c], "new": v} for c, v in given.items()]
        left = found.faults(made)
        if bad := next((r for r in left if any(c in r.split() for c in given)), None):
            raise QuarantineError(why("fix_still_wrong", rule=bad), bad.split()[-1])
        return _insert(connection, made, by, note)


def leave_out(settings: Settings, row: Mapping[str, Any], by: str, *, note: str = "") -> list[int]:
    """Say that a quarantined row is none: it is left out of its file from then on; give the number of the fix."""
    with _changing(settings) as (connection, _), _reading(settings, row) as found:
        return _insert(connection, [{**found.place, "kind": "leave_out", "old": row["rules"], "new": ""}], by, note)


def fix_wording(
    settings: Settings, source: str, thing: str, column: str, old: str, new: str, by: str, *, note: str = ""
) -> list[int]:
    """Say what a value of a column means wherever a source writes it, in later files too; give the fix's number.

    Raises QuarantineError for a column that is personal or not there, and for a meaning that it cannot hold.
    """
    new, old = _checked(thing, column, new), old.strip()
    if not old or "@" in old or len(old) > LONGEST or thing not in schema.LOG.tables:
        raise QuarantineError(why("fix_no_wording"), "old")
    kind = schema.LOG.tables[thing].columns[column]
    if kind.info["values"] and new not in kind.info["values"]:
        raise QuarantineError(why("fix_values", column=column, values=", ".join(kind.info["values"])[:200]), column)
    with _changing(settings) as (connection, _):
        made = {"source": source, "thing": thing, "kind": "wording", "column": column, "old": old, "new": new}
        return _insert(connection, [made], by, note)


def fix_wording_of(
    settings: Settings, row: Mapping[str, Any], column: str, new: str, by: str, *, note: str = ""
) -> list[int]:
    """Say what the value of a quarantined row's column means wherever its source writes it; see `fix_wording`."""
    cells = {cell.column: cell.value for cell in look(settings, row, whole=True)}
    old = cells.get(column, "")
    return fix_wording(settings, str(row["source"]), str(row["thing"]), column, old, new, by, note=note)


def fix_mapping(
    settings: Settings, source: str, mapping: Path, by: str, *, note: str = "", version: str = ""
) -> list[int]:
    """Put another mapping in the place of the one that a source's newest files were loaded by; give the fix's number.

    It holds for every load of that mapping's `version`, in later files too. The files are read with it before it is
    kept: raises QuarantineError for a source without a mapping, MappingError for a mapping that does not fit.
    """
    fresh = MappingSource(mapping)
    with _changing(settings) as (connection, state_file):
        of_source = [r for r in state_file.loads_with(*LOGGED) if r["namespace"] == source and r["mapping"]]
        if not of_source:
            raise QuarantineError(why("fix_no_mapping", source=source[:60]))
        old = version or of_source[-1]["version"]
        for landed in (r for r in of_source if r["version"] == old):
            _check_there(settings, landed)
            with _connected(settings) as reader:
                files = [settings.raw / f["raw"] for f in landed["files"]]
                for named in fresh.name_rows(reader, files, source):
                    reader.execute(f"CREATE OR REPLACE TEMP TABLE looked_at AS {named.sql}")
        made = {"source": source, "kind": "mapping", "old": old, "new": fresh.text}
        return _insert(connection, [made], by, note)


def made(settings: Settings, *, withdrawn: bool = False) -> list[dict[str, Any]]:
    """List fixes, newest first: those that stand, or all."""
    f = state_tables.fix.c
    asked = select(state_tables.fix).order_by(f.fix_id.desc())
    with closing(state.State(settings.warehouse)) as state_file:
        return state_file.rows(asked if withdrawn else asked.where(f.withdrawn_at.is_(None)))


def withdraw_fix(settings: Settings, fix_id: int, by: str) -> None:
    """Take a fix back: with the next replay its rows are what the file says. Raises QuarantineError for none."""
    f = state_tables.fix
    with _changing(settings) as (connection, _):
        mine = update(f).where(f.c.fix_id == fix_id, f.c.withdrawn_at.is_(None))
        values: dict[str, Any] = {"withdrawn_at": state.now(), "withdrawn_by": by[:100]}
        if not connection.execute(mine.values(**values)).rowcount:
            raise QuarantineError(why("fix_no_number", number=fix_id))


def waiting(settings: Settings) -> int:
    """Count the fixes, and the fixes taken back, that no load was validated with yet."""
    with closing(state.State(settings.warehouse)) as state_file:
        return len(_unplayed(state_file))


def _unplayed(state_file: state.State) -> list[dict[str, Any]]:
    f = state_tables.fix.c
    is_new = f.withdrawn_at.is_(None) & f.replayed_at.is_(None)
    is_taken_back = f.replayed_at.is_not(None) & (f.withdrawn_at > f.replayed_at)
    return state_file.rows(select(state_tables.fix).where(is_new | is_taken_back))


def replay(
    settings: Settings, *, loads: Collection[str] = (), progress: Progress = lambda _: None
) -> tuple[list[str], Report]:
    """Validate the loads that new fixes are of again, or those named, and publish a build; give them and the report.

    Raises what `send_back` raises. Killed, the next load goes on.
    """
    return send_back(settings, loads=loads), load(settings, progress=progress)


def send_back(settings: Settings, *, loads: Collection[str] = ()) -> list[str]:
    """Have the loads that new fixes are of, or those named, validated again by the next load; give them.

    Raises QuarantineError where the raw files of one are gone or a load is not there, and nothing is changed.
    """
    check_there(settings.warehouse)
    f = state_tables.fix
    with writing(settings.warehouse, settings.wait_s), closing(state.State(settings.warehouse)) as state_file:
        logged = {row["load_id"]: row for row in state_file.loads_with(*LOGGED)}
        if unknown := sorted(set(loads) - set(logged)):
            raise QuarantineError(why("fix_no_load", load=unknown[0][:60]))
        due = _unplayed(state_file)
        mine = sorted(set(loads) | {i for fix in due for i in _loads_of(state_file, fix, logged)})
        for load_id in mine:
            _check_there(settings, logged[load_id])
        with state_file.transaction() as connection:  # both or neither: what is played is validated again
            connection.execute(
                update(state_tables.load).where(state_tables.load.c.load_id.in_(mine)).values(status="landed")
            )
            numbers = [fix["fix_id"] for fix in due]
            connection.execute(update(f).where(f.c.fix_id.in_(numbers)).values(replayed_at=state.now()))
    return mine


def _loads_of(state_file: state.State, fix: Mapping[str, Any], logged: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """List the loads whose rows a fix is of.

    Of a wording those with a fault of its column; where it is of rows that were accepted, all with rows of the log.
    """
    of_source = {i: r for i, r in logged.items() if r["namespace"] == fix["source"]}
    if fix["kind"] == "mapping":
        return [i for i, r in of_source.items() if fixes.is_of_mapping(fix, r)]
    if fix["kind"] != "wording":
        digest = fix["given_sha256"]
        return [
            i for i, r in of_source.items() if any(digest == (f["given_sha256"] or f["sha256"]) for f in r["files"])
        ]
    q, c = state_tables.quarantine.c, state_tables.load_count.c
    faults = state_file.rows(select(q.load_id, q.rules).where(q.source == fix["source"], q.thing == fix["thing"]))
    named = {r["load_id"] for r in faults if fix["column"] in r["rules"].replace(",", " ").split()}
    if not named or fix["withdrawn_at"]:
        counts = state_file.rows(select(c.load_id).where(c.source == fix["source"], c.thing == fix["thing"]))
        named = {r["load_id"] for r in counts}
    return [i for i in of_source if i in named]


def _checked(thing: str, column: str, value: str) -> str:
    """Give a new value without blanks around it, or raise QuarantineError, which names the column."""
    table = schema.LOG.tables.get(thing)
    if table is None or column not in table.columns:
        listed = ", ".join(c.name for c in table.columns) if table is not None else ", ".join(schema.LOG.tables)
        raise QuarantineError(why("fix_no_column", column=column[:60], columns=listed[:200]), column)
    value = value.strip()
    if table.columns[column].info["text"] in PERSONAL or "@" in value:
        raise QuarantineError(why("fix_personal", column=column), column)
    if len(value) > LONGEST or not value.isprintable():
        raise QuarantineError(why("fix_long", column=column), column)
    return value


def _insert(connection: Connection, made: Sequence[Mapping[str, Any]], by: str, note: str) -> list[int]:
    if len(note) > LONGEST or not note.isprintable():
        raise QuarantineError(why("fix_long", column="note"), "note")
    f = state_tables.fix
    common = {"created_at": state.now(), "created_by": by[:100], "note": note.strip() or None}
    return [
        int(connection.execute(insert(f).values(**fix, **common).returning(f.c.fix_id)).scalar_one()) for fix in made
    ]


@contextmanager
def _changing(settings: Settings) -> Iterator[tuple[Connection, state.State]]:
    """Give a transaction of the state, and the state, while nobody else writes."""
    check_there(settings.warehouse)
    with (
        writing(settings.warehouse, settings.short_wait_s),
        closing(state.State(settings.warehouse)) as state_file,
        state_file.transaction() as connection,
    ):
        yield connection, state_file


@contextmanager
def _connected(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that reaches the raw files, with a folder of its own for copies: nothing is left behind."""
    with tempfile.TemporaryDirectory(prefix="backhaul-quarantine-") as folder:
        connection = sql.connect(settings=settings, folders=[settings.raw], staging=Path(folder))
        try:
            yield connection
        finally:
            connection.close()


def _check_there(settings: Settings, landed: Mapping[str, Any]) -> None:
    """Raise QuarantineError where the raw files of a load are not what landed."""
    if damaged_raw(settings, dict(landed)):
        raise QuarantineError(why("fix_raw_gone", load=landed["load_id"]))


@dataclass(frozen=True)
class _Found:
    """A quarantined row in its file: what is asked of it, and what it would be with other values."""

    connection: duckdb.DuckDBPyConnection
    landed: Mapping[str, Any]
    row: Mapping[str, Any]
    named: NamedRows
    types: Mapping[str, str]
    place: Mapping[str, Any]
    key: bytes
    standing: Sequence[Mapping[str, Any]]

    def fixed(self, more: Sequence[Mapping[str, Any]] = ()) -> NamedRows:
        """Give the row as the fixes that stand have it, and more of them."""
        return fixes.applied(self.connection, self.named, [*self.standing, *more], self.landed["files"])

    def holds(self, column: str, value: str) -> bool:
        """Say whether a column of a typed file, such as Parquet, can hold a value at all."""
        cast = f"SELECT try_cast({sql.quote(value)} AS {self.types[column]}) IS NOT NULL"
        return bool(self.connection.execute(cast).fetchall()[0][0])

    def faults(self, more: Sequence[Mapping[str, Any]] = ()) -> list[str]:
        """Give the rules that the row breaks, with more fixes; of a row that is alone, whatever others say."""
        target = Path(sql.staging_of(self.connection)) / "log" / "month" / "row.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        _, found = verdicts.judge(
            self.connection,
            self.fixed(more),
            source=self.landed["source"],
            namespace=self.landed["namespace"],
            load_id=self.landed["load_id"],
            landed_at=max(self.landed["started_at"], state.now()),
            key=self.key,
            logged="",
            target=str(target),
        )
        return [rule for fault in found for rule in fault.rules.split(", ")]


@contextmanager
def _reading(settings: Settings, row: Mapping[str, Any]) -> Iterator[_Found]:
    """Read the file of a quarantined row as far as this row, as the fixes that stand have it."""
    with closing(state.State(settings.warehouse)) as state_file:
        loads = state_file.loads_with(*LOGGED, load_id=row["load_id"])
        if not loads:
            raise QuarantineError(why("fix_no_load", load=row["load_id"]))
        landed, standing = loads[0], fixes.standing(state_file, row["source"])
        _check_there(settings, landed)
        key = keys.read(settings, state_file)
    file = next(f for f in landed["files"] if f["name"] == row["file"])
    with _connected(settings) as connection:
        origin = fixes.source_of(settings, landed, standing)
        paths = [settings.raw / f["raw"] for f in landed["files"]]
        for named in origin.name_rows(connection, paths, landed["namespace"]):
            if named.thing != row["thing"]:
                continue
            is_mine = f"parse_filename(_file) = {sql.quote(row['file'])} AND _line = {row['line']}"
            of_line = f"SELECT * FROM ({named.sql}) WHERE {is_mine}"
            types = {r[0]: str(r[1]).upper() for r in connection.execute(f"DESCRIBE ({of_line})").fetchall()}
            own = fixes.item_sql(named.thing, types)
            item = _raw_item(connection, of_line, own, row, key)
            mine = NamedRows(named.thing, f"SELECT * FROM ({of_line}) n WHERE {own} = {sql.quote(item)}")
            place = {
                "source": row["source"],
                "thing": row["thing"],
                "file": row["file"],
                "given_sha256": file["given_sha256"] or file["sha256"],
                "line": row["line"],
                "item": item,
            }
            yield _Found(connection, landed, row, mine, types, place, key, standing)
            return
    raise QuarantineError(why("fix_no_row", place=f"{row['file']}:{row['line']}"))


def _raw_item(connection: duckdb.DuckDBPyConnection, of_line: str, own: str, row: Mapping[str, Any], key: bytes) -> str:
    """Give the id that a quarantined row has in its file, among the rows that its line gave.

    Empty for a row without one, and for one that may be an address: it is a hash in the log.
    """
    ids = [str(item) for (item,) in connection.execute(f"SELECT DISTINCT {own} FROM ({of_line}) n").fetchall()]
    mine = (item for item in ids if str(row["item"] or "") in _kept(key, str(row["source"]), item))
    return ids[0] if len(ids) == 1 else next(mine, "")


def _cells(found: _Found, *, whole: bool = False) -> list[Cell]:
    """Give the columns of the row that hold something or are at fault, and what may be shown of each."""
    rules = found.faults() or str(found.row["rules"]).split(", ")
    cells = []
    for name, value in _values(found, whole=whole).items():
        mine = tuple(r for r in rules if r.split()[-1] == name or (name == "_broken" and r == "broken_row"))
        if mine or (value and name != "_broken"):
            cells.append(Cell(name, value, mine))
    return sorted(cells, key=lambda cell: not cell.rules)


def _values(found: _Found, *, whole: bool = False) -> dict[str, str]:
    """Give what may be shown of each column of the row: a value that reads as what it holds, else its shape."""
    table = schema.LOG.tables[found.named.thing]
    names = [n for n in found.types if n in table.columns or n == "_broken"]
    asked = ", ".join(f"trim({sql.name(n)}::VARCHAR), {_is_plain(table, n, found.types[n])}" for n in names)
    row = found.connection.execute(f"SELECT {asked} FROM ({found.fixed().sql})").fetchone() or ()
    values = {n: str(row[2 * at] or "") if row else "" for at, n in enumerate(names)}
    personal = [n for n in names if n in table.columns and table.columns[n].info["text"] in PERSONAL]
    values |= {n: "aaa" for n in personal if values[n]}
    hidden = [n for at, n in enumerate(names) if row and values[n] and not row[2 * at + 1] and n not in personal]
    if hidden and not whole:  # their patterns are compiled once, not once a column
        texts = sql.rows_sql({"name": "VARCHAR", "v": "VARCHAR"}, [(n, values[n]) for n in hidden])
        values |= dict(found.connection.execute(f"SELECT name, {contracts.shape_sql('v')} FROM ({texts})").fetchall())
    return values


def _is_plain(table: Table, name: str, kind: str) -> str:
    """Give the condition under which a column is shown as the file has it, as SQL."""
    if name == "_broken":  # our own words
        return "true"
    column, raw = table.columns[name], f"trim({sql.name(name)}::VARCHAR)"
    if column.info["text"] == "key":
        return f"NOT contains({raw}, '@')"
    if column.info["values"]:
        return f"{raw} IN ({', '.join(map(sql.quote, column.info['values']))})"
    if sql.sql_type(column) != "VARCHAR":
        return f"({contracts.typed_sql(name, sql.sql_type(column), kind)}) IS NOT NULL"
    return "false"
