"""Mappings: any table by a YAML file that says which column is what. No code runs from a mapping.

A mapping names files (or a query), how to read them, and for each log the column or small expression behind each
canonical column. `tables` stages the files as text; here the mapping becomes one SELECT a log over them, so a wrong
value reaches the loader's judgement as it was written. Every error names the mapping's line. `docs/sources.md` is the
manual.
"""

import difflib
import hashlib
import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import MappingError, SourceError
from pipelines.sources import tables, values
from pipelines.sources.base import Export, Lines, NamedRows
from pipelines.sources.looks import shown
from pipelines.sources.mapping_query import Query, query_of, whole_text
from pipelines.sources.mapping_sql import Compiler
from pipelines.sources.mapping_yaml import (
    BEGINS,
    READ_KEYS,
    Source,
    fits,
    numbers_of,
    specs,
)
from pipelines.sources.tables import parts as parts_tables
from pipelines.warehouse import schema, vocabulary
from pipelines.warehouse.sql import quote
from pipelines.written import Items, Section, Unreadable, documents, text_of

_documents = lru_cache(maxsize=64)(documents)  # a load opens its mapping several times; what is read is not changed
_zones = cache(zoneinfo.available_timezones)


class Mapping:
    """A source made of a mapping file, or of a text that stands for one of that name."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        try:
            self.text = text = text_of(path) if text is None else text
            found = _documents(text)
        except OSError as error:
            raise MappingError(
                f"There is no mapping file {shown(path)} that can be read. Make one with `backhaul map FILE`."
            ) from error
        except Unreadable as error:
            if error.line is None:
                raise MappingError(f"{shown(path)}: {error.problem}.") from error
            raise self.wrong(error.line, f"{error.problem}.") from error
        if len(found) > 1:
            raise self.wrong(1, "not YAML of one document: `---` begins another.")
        self.content = found[0] if found and found[0] is not None else Section()
        self.queries: dict[int, Query] = {}
        """By the position of its table, what is asked of a database."""
        self.reads: dict[str, dict[str, set[str]]] = {}
        """By file, the headings that were asked for, plainly written, each with the log columns it fills."""
        if not isinstance(self.content, Section):
            raise self.wrong(1, "a mapping begins with keys such as `tables:`.")
        self.allow(
            self.content,
            ("name", "about", "time_zone", "dates", "constants", "read", "missing", "export", "exported_at", "tables"),
        )
        for key in ("constants", "read"):
            if not isinstance(self.content.get(key, Section()), Section):
                raise self.wrong(self.content.lines[key], f"`{key}` holds keys and values.")
        if self.content.get("missing", "error") not in ("error", "empty"):
            raise self.wrong(
                self.content.lines["missing"], "`missing:` is error, or empty: columns that the files lack are empty."
            )
        self._check_read(self.content)
        zone = self.content.get("time_zone")
        if zone is not None and str(zone) not in _zones():
            raise self.wrong(
                self.content.lines["time_zone"], f"there is no time zone `{zone}`. Write it as Europe/Paris."
            )
        self.export = self._export()
        self._check_exported_at(self.content)
        listed = self.content.get("tables")
        if not isinstance(listed, Items) or not listed:
            raise self.wrong(self.content.lines.get("tables", 1), "`tables:` lists the tables to read, at least one.")
        for position, table in enumerate(listed):
            self._check_table(table, listed.lines[position], position)
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.asked_digest = self.digest  # of the mapping whose marks its queries go on from

    @property
    def name(self) -> str:
        """Name in the mapping, else the file's."""
        return str(self.content.get("name") or self.path.stem)

    @property
    def version(self) -> str:
        """Digest of the mapping."""
        return self.digest

    def as_whole(self) -> "Mapping":
        """Give the mapping as if it said `export: whole`; its queries' marks are this one's."""
        whole = Mapping(self.path, whole_text(self))
        whole.asked_digest = self.asked_digest
        return whole

    @property
    def expects(self) -> str:
        """The files its tables name."""
        named = ", ".join(str(t["file"]) for t in self.content["tables"] if "file" in t)
        asked = f"what {len(self.queries)} tables or queries of a database give" if self.queries else ""
        return " and ".join(part for part in (f"files named {named}" if named else "", asked) if part)

    def recognises(self, files: list[Path]) -> bool:
        """Tell whether every table of the mapping finds a file by name."""
        return all("file" in t and any(fits(f, t["file"]) for f in files) for t in self.content["tables"])

    def missing_files(self, files: list[Path]) -> list[str]:
        """List the names of files that no file given has, of tables that read files."""
        patterns = [str(t["file"]) for t in self.content["tables"] if "file" in t]
        return [p for p in patterns if not any(fits(f, p) for f in files)]

    def takes(self, file: Path) -> bool:
        """Tell whether a table of the mapping, or one joined to it, takes a file of this name."""
        if any("file" not in t and "sql" not in t for t in self.content["tables"]) or self.query_for(file):
            return True
        return any(fits(file, pattern) for pattern in self._named_files())

    def query_for(self, file: Path) -> Query | None:
        """Give the query whose rows a file holds; None for a file that somebody gave."""
        return next((q for q in self.queries.values() if q.file == file.name), None)

    def side_files(self, files: list[Path]) -> list[Path]:
        """List the files that are joined to others: needed again with every load."""
        joined = [_joined_file(t, j) for t in self.content["tables"] for j in t.get("join") or []]
        return [f for f in files if any(fits(f, pattern) for pattern in joined if pattern)]

    def main_files(self, files: list[Path]) -> list[Path]:
        """List the files that tables are made of."""
        named = [t["file"] for t in self.content["tables"] if "file" in t]
        return [f for f in files if self.query_for(f) or any(fits(f, pattern) for pattern in named)]

    def _named_files(self) -> list[str]:
        """List the files that tables and joins name."""
        listed = self.content["tables"]
        mains = [str(t["file"]) for t in listed if "file" in t]
        return mains + [str(p) for t in listed for j in t.get("join") or [] if (p := _joined_file(t, j))]

    def reading_of(self, file: Path) -> dict[str, Any]:
        """Give what the mapping says of how a file is read: `read:` of the first table that takes it."""
        if self.query_for(file):
            return {}
        every = [(t, t) for t in self.content["tables"]]
        every += [(t, j) for t in self.content["tables"] for j in t.get("join") or []]
        named = ((of, _joined_file(t, of) if of is not t else t.get("file")) for t, of in every)
        own = next((of for of, pattern in named if pattern and fits(file, str(pattern))), self.content["tables"][0])
        return {**(self.content.get("read") or {}), **(own.get("read") or {})}

    def exported_at(self, file: Path) -> datetime | None:
        """Tell when a file was exported (UTC, without offset) from its name; None where the name does not say."""
        own = (t for t in self.content["tables"] if "file" in t and "exported_at" in t and fits(file, t["file"]))
        said = next(own, self.content).get("exported_at")
        if not isinstance(said, Section) or "file" not in said:
            return None
        match = re.search(said["file"], file.name)
        if match is None:
            return None
        try:
            local = datetime.strptime(match[1] if match.re.groups else match[0], said["date"])
        except ValueError:
            return None
        zone = zoneinfo.ZoneInfo(str(self.content.get("time_zone", "UTC")))
        return (local if local.tzinfo else local.replace(tzinfo=zone)).astimezone(UTC).replace(tzinfo=None)

    def _export(self) -> Export:
        """Read `export:`: added, whole, or whole of a span of days."""
        said = self.content.get("export", "added")
        if said in ("added", "whole"):
            return Export(said == "whole")
        line = self.content.lines["export"]
        span = said.get("whole") if isinstance(said, Section) and len(said) == 1 else None
        if not isinstance(span, Section) or not span:
            raise self.wrong(
                line,
                "`export:` is added, whole, or {whole: {since: 2026-01-01, until: 2026-01-31}}: first and last day.",
            )
        self.allow(span, ("since", "until"), "under `whole:`")
        days: dict[str, date] = {}
        for end in span:
            try:
                days[end] = date.fromisoformat(str(span[end]))
            except ValueError as error:
                raise self.wrong(span.lines[end], f"`{end}: {span[end]}` is no day. Write it as 2026-01-31.") from error
        if len(days) == 2 and days["since"] > days["until"]:
            raise self.wrong(line, "`since:` is after `until:`: they are the first and the last day of the export.")
        return Export(True, days.get("since"), days.get("until"))

    def _check_exported_at(self, section: Section) -> None:
        said = section.get("exported_at")
        if not isinstance(said, Section) or "file" not in said:
            return
        line = section.lines["exported_at"]
        self.allow(said, ("file", "date"), "under `exported_at:`")
        if "date" not in said:
            raise self.wrong(
                line, '`exported_at:` of a file needs `date:`, how its name writes the time, such as "%Y%m%d".'
            )
        try:
            re.compile(str(said["file"]))
        except re.error as error:
            raise self.wrong(said.lines["file"], f"`file: {said['file']}` is no pattern: {error}.") from error

    def wrong(self, line: int, sentence: str) -> MappingError:
        """Make the error for a line of this mapping, short enough to be read."""
        message = f"{shown(self.path)} line {line}: {sentence}"
        return MappingError(message)

    def allow(self, section: Section, keys: tuple[str, ...], what: str = "here") -> None:
        """Raise MappingError for a key that is not known."""
        for key in section:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                hint = f" Did you mean `{near[0]}`?" if near else f" Known {what}: {parts_tables.cut(keys)}."
                raise self.wrong(section.lines[key], f"`{key}` is not known {what}.{hint}")

    def _check_read(self, section: Section) -> None:
        """Check what stands under `read:` of the mapping, a table or a join."""
        read = section.get("read") or Section()
        if not isinstance(read, Section):
            raise self.wrong(section.lines["read"], '`read:` holds keys and values, such as {separator: ";"}.')
        self.allow(read, READ_KEYS, "under `read:`")
        header = read.get("header_row", 1)
        if header != "find" and (not isinstance(header, int) or header < 1):
            raise self.wrong(
                read.lines["header_row"], "`header_row:` is the number of the header's line, from 1, or find."
            )
        fill = read.get("fill_down")
        if isinstance(fill, Section):
            self.allow(fill, ("by", "columns"), "under `fill_down:`")
        is_column = isinstance(fill, str) and bool(fill)
        is_list = isinstance(fill, Section) and bool(fill) and isinstance(fill.get("columns", []), list)
        if "fill_down" in read and not is_column and not is_list:
            raise self.wrong(
                read.lines["fill_down"], "`fill_down:` is a column, or {by: column, columns: [those to fill]}."
            )
        if str(read.get("decimal", ".")) not in (".", ","):
            raise self.wrong(read.lines["decimal"], '`decimal:` is the sign before the decimals: "." or ",".')
        if "thousands" in read and str(read["thousands"]) == str(read.get("decimal", ".")):
            raise self.wrong(read.lines["thousands"], "`thousands:` and `decimal:` are the same sign.")

    def _check_table(self, table: Any, line: int, number: int) -> None:
        if not isinstance(table, Section):
            raise self.wrong(line, "a table has `file:` (or `sql:`) and `to:`.")
        self.allow(table, ("file", "sql", "read", "dates", "join", "when", "exported_at", "to"), "in a table")
        self._check_exported_at(table)
        self._check_read(table)
        if "sql" in table:
            if "file" in table:
                raise self.wrong(table.lines["sql"], "a table has `file:` or `sql:`, not both.")
            if "join" in table:
                raise self.wrong(table.lines["join"], "a table of a database is joined in its `query:`.")
            self.queries[number] = query_of(self, table, number + 1)
        if not isinstance(table.get("to"), Section) or not table["to"]:
            raise self.wrong(table.lines.get("to", line), "`to:` names the logs the rows become and their columns.")
        for thing in table["to"]:
            if thing not in schema.LOG.tables:
                near = difflib.get_close_matches(thing, schema.LOG.tables, 1)
                hint = f"Did you mean `{near[0]}`?" if near else f"Logs: {parts_tables.cut(list(schema.LOG.tables))}."
                raise self.wrong(table["to"].lines[thing], f"there is no log `{thing}`. {hint}")
            for spec in specs(table["to"][thing]):
                if not isinstance(spec, Section):
                    raise self.wrong(
                        table["to"].lines[thing], f"`{thing}:` names columns, each with a column of the table."
                    )
                self._check_log(thing, spec)
        if not isinstance(table.get("join") or Items(), Items):
            raise self.wrong(
                table.lines["join"], "`join:` is a list: - {as: short name, file: ..., on: {here: there}}."
            )
        short: set[str] = set()
        for position, join in enumerate(table.get("join") or []):
            line = table["join"].lines[position]
            if (
                not isinstance(join, Section)
                or not {"as", "on"} <= set(join)
                or not isinstance(join["on"], Section | Items)
                or not join["on"]
            ):
                raise self.wrong(
                    line, "a join has `as:` (a short name), `file:` and `on: {column here: column there}`."
                )
            self.allow(join, ("as", "file", "read", "dates", "on", "take", "by"), "in a join")
            self._check_read(join)
            if join["as"] in short:
                raise self.wrong(line, f"two joins have the short name `{join['as']}`.")
            short.add(join["as"])
            if join.get("take", "first") not in ("first", "last"):
                raise self.wrong(join.lines["take"], "`take:` is first or last: which of several rows for one key.")
            if _joined_file(table, join) is None:
                raise self.wrong(line, "the join needs `file:`, for its table has none.")

    def _check_log(self, thing: str, spec: Section) -> None:
        special: tuple[str, ...] = ("when", "several")
        if thing in ("order_line", "return_event"):
            special += ("dimensions",)
        if thing == "return_event":
            special += ("events", "promise")
        self.allow(spec, (*(c.name for c in schema.LOG.tables[thing].columns), *special), f"in `{thing}`")
        if spec.get("several", "first") not in ("first", "last"):
            raise self.wrong(spec.lines["several"], "`several:` is first or last: which of several rows with one id.")
        stages = spec.get("events") or Section()
        if not isinstance(stages, Section):
            raise self.wrong(spec.lines["events"], "`events:` names events, each with the column that holds its date.")
        self.allow(stages, vocabulary.EVENTS, "under `events:`")
        dimensions = spec.get("dimensions") or Section()
        if not isinstance(dimensions, Section):
            raise self.wrong(
                spec.lines["dimensions"], "`dimensions:` names your own, each with its column: {region: Region}."
            )
        for own in dimensions:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", own):
                raise self.wrong(
                    dimensions.lines[own], f"`{own}` is no name of a dimension: small letters, digits, underscores."
                )
            from pipelines.metrics import our_names  # only a mapping with dimensions of its own pays for it

            if own in our_names():
                raise self.wrong(
                    dimensions.lines[own],
                    f"`{own}` is a dimension of ours: give it as a column of `{thing}`, or choose another name.",
                )
        self._check_promise(spec)

    def _check_promise(self, spec: Section) -> None:
        promise = spec.get("promise")
        if promise is None:
            return
        line = spec.lines["promise"]
        if not isinstance(promise, Section) or "to" not in promise or ("by" in promise) == ("within" in promise):
            raise self.wrong(
                line,
                "`promise:` has `to:` (a stage) and `by:` (the column with the promised date), or `from:`, `to:` and"
                " `within:` (so much time, in `unit:`).",
            )
        own = ("by", "ends") if "by" in promise else ("within", "unit", "window_days")
        self.allow(promise, ("name", "from", "to", "responsible", *own), "in a promise")
        if "within" in promise and "from" not in promise:
            raise self.wrong(line, "`within:` counts from a stage: name it under `from:`.")
        unit = promise.get("unit", "calendar_days")
        if unit not in vocabulary.DURATION_UNITS:
            raise self.wrong(
                promise.lines["unit"],
                f"`{unit}` is no unit of a promise. Units: {', '.join(vocabulary.DURATION_UNITS)}.",
            )
        if "within" in promise and (not isinstance(promise["within"], (int, float)) or not promise["within"] >= 0):
            raise self.wrong(
                promise.lines["within"], f"`within: {promise['within']}` is no time; write a number of {unit}."
            )
        if promise.get("ends", "day") not in ("day", "instant"):
            raise self.wrong(promise.lines["ends"], "`ends:` is `day` (kept until the end of that day) or `instant`.")
        for end in ("from", "to"):
            if end in promise and promise[end] not in vocabulary.STAGES:
                raise self.wrong(
                    promise.lines[end], f"`{promise[end]}` is no stage. Stages: {', '.join(vocabulary.STAGES)}."
                )
        if promise.get("name") == "legal_refund":
            raise self.wrong(
                promise.lines["name"], "`legal_refund` is the law's own promise; give this one another name."
            )
        if "from" in promise and promise["from"] not in (spec.get("events") or {}):
            raise self.wrong(
                promise.lines["from"], f"the promise starts at `{promise['from']}`, which `events:` does not give."
            )

    # -- rows ----------------------------------------------------------------------------------------------------------

    def name_rows(
        self, connection: duckdb.DuckDBPyConnection, files: list[Path], namespace: str
    ) -> Iterator[NamedRows]:
        """Give the rows of the mapped tables, one NamedRows a log and counting.

        Raises MappingError with the line for a column that a table lacks, SourceError for a file no table of the
        mapping takes.
        """
        data = self._data_of(files)
        values.zones(connection)
        call = f"mapping_{next(numbers_of)}"
        staged: dict[str, list[parts_tables.Part]] = {}
        counted: dict[str, list[str]] = {}
        derived: dict[str, list[str]] = {}
        blank: dict[str, list[str]] = {}
        for number, table in enumerate(self.content["tables"]):
            main = self._stage(connection, f"{call}_{number}", table, self._files_of(table, data, number), staged)
            if main is None:
                continue
            compiler = Compiler(self, table, main, f"{call}_{number}_rows")
            self._join(connection, compiler, f"{call}_{number}", data, staged)
            for log, sql, counts in self._selects(compiler):
                (counted if counts else derived).setdefault(log, []).append(sql)
            for thing, undated in compiler.blank.items():
                blank.setdefault(thing, []).extend(undated)
            compiler.build()
        if "shop" not in counted and "shop" not in derived and self.content.get("time_zone") and (counted or derived):
            derived["shop"] = [self._shop(data, counted, derived)]
        lines = _lines_of(staged)
        for thing in schema.LOG.tables:
            selects = counted.get(thing, []) + derived.get(thing, [])
            if selects:
                yield NamedRows(
                    thing,
                    " UNION ALL BY NAME ".join(selects),
                    is_derived=thing not in counted,
                    blank_sql=" UNION ALL ".join(blank.get(thing, [])) or None,
                    lines=lines,
                )
                lines = {}

    def _data_of(self, files: list[Path]) -> list[Path]:
        """List the files that are no mapping. Raises SourceError for one that no table takes."""
        data = [f for f in files if f.suffix.lower() not in (".yaml", ".yml")]
        unknown = [f.name for f in data if not self.takes(f)]
        if unknown:
            raise SourceError(
                f"{shown(unknown[0])}: no table of {self.path.name} takes a file of this name. Its files:"
                f" {parts_tables.cut(self._named_files())}."
            )
        return data

    def _files_of(self, table: Section, data: list[Path], number: int) -> list[Path]:
        """List the files of a table: those of its pattern, its query's, or what no other table names."""
        if number in self.queries:
            return [f for f in data if f.name == self.queries[number].file]
        data = [f for f in data if not self.query_for(f)]
        if "file" in table:
            return [f for f in data if fits(f, table["file"])]
        return [f for f in data if not any(fits(f, p) for p in self._named_files())]

    def _join(
        self,
        connection: duckdb.DuckDBPyConnection,
        compiler: Compiler,
        name: str,
        data: list[Path],
        staged: dict[str, list[parts_tables.Part]],
    ) -> None:
        """Stage what a table is joined to, and join it. Raises MappingError where no file has the name."""
        for position, join in enumerate(compiler.table.get("join") or []):
            pattern = _joined_file(compiler.table, join) or ""
            found = [f for f in data if fits(f, pattern) and not self.query_for(f)]
            if not found:
                raise self.wrong(
                    join.lines.get("file", join.line),
                    f"no file is named {pattern}. Give it together with the others.",
                )
            side = self._stage(connection, f"{name}_{position}", join, found, staged)
            compiler.join(join, side or Source(tables.Table(connection, f"{name}_{position}", []), "", [], {}))

    def _selects(self, compiler: Compiler) -> Iterator[tuple[str, str, bool]]:
        """Give (log, SELECT, whether it counts the rows of the table) for the logs of a table, sales first."""
        to: Section = compiler.table["to"]
        for spec in specs(to.get("chain_element", Items())):
            if "parcel_id" in spec:  # so that the table's return events travel in the same parcel
                compiler.known["parcel_id"] = compiler.expression(
                    spec["parcel_id"], "chain_element", "parcel_id", spec.lines["parcel_id"]
                )
        counting = next(iter(to))  # the first log named counts the rows of the table
        for thing in sorted(to, key=list(schema.LOG.tables).index):
            for position, spec in enumerate(specs(to[thing])):
                is_counted = thing == counting and position == 0
                for log, sql, is_extra in compiler.selects(thing, spec, is_counted=is_counted):
                    yield log, sql, is_counted and not is_extra

    def _shop(self, files: list[Path], counted: dict[str, list[str]], derived: dict[str, list[str]]) -> str:
        constants = self.content.get("constants") or {}
        rest = f"TIMESTAMP '{BEGINS}' AS valid_from, {quote(self.content['time_zone'])} AS time_zone"
        for column, key in (("market", "country"), ("channel", "channel"), ("currency", "currency")):
            said = values.iso_country(constants[key]) if key in constants and column == "market" else constants.get(key)
            rest += f", {quote(said) if said is not None else 'NULL::VARCHAR'} AS {column}"
        lines = " UNION ALL BY NAME ".join(counted.get("order_line", []) + derived.get("order_line", []))
        ours = f"SELECT {quote(constants.get('shop_id', self.name))} AS shop_id"
        if lines and " AS shop_id" in lines:
            ours = f"SELECT DISTINCT shop_id FROM ({lines}) WHERE shop_id IS NOT NULL"
        return (
            f"SELECT shop_id, {rest}, {quote(files[0].name if files else self.path.name)} AS _file, 1::BIGINT AS _line"
            f" FROM ({ours})"
        )

    def _stage(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: str,
        table: Section,
        files: list[Path],
        staged: dict[str, list[parts_tables.Part]],
    ) -> Source | None:
        """Stage a table's files; None when there are none."""
        read = Section()
        for given in (self.content.get("read"), table.get("read")):
            if given and "sql" not in table:
                read.update(given)
                read.lines.update(given.lines)
        parts: list[parts_tables.Part] = []
        for file in files:
            key = repr((file, read))  # several tables may read one file
            if key not in staged:
                try:
                    staged[key] = tables.stage(connection, f"{name}_file_{len(staged)}", file, read)
                except parts_tables.OptionError as error:
                    wrong = self.wrong(read.lines.get(error.option, table.line), str(error))
                    wrong.is_of_file = True
                    raise wrong from error
            parts += staged[key]
        if not parts:
            return None
        dates = table.get("dates", self.content.get("dates")) or []
        formats = [str(d) for d in (dates if isinstance(dates, list) else [dates])]
        return Source(tables.Table(connection, name, parts, read), "", formats, {})


def _lines_of(staged: dict[str, list[parts_tables.Part]]) -> dict[str, Lines]:
    """Give the lines read of each file: of a workbook those of each sheet, of a text what was read first."""
    lines: dict[str, Lines] = {}
    for part in (part for parts in staged.values() for part in parts if part.lines):
        if not part.is_text or part.file not in lines:
            lines[part.file] = Lines(lines.get(part.file, Lines()) + part.lines)
    return lines


def _joined_file(table: Section, join: Section) -> str | None:
    """Give the file of a join: its own, else the table's, for a sheet is joined to another of its workbook."""
    return join.get("file", table.get("file"))
