"""A mapping's expressions as SQL."""

import difflib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import duckdb
from sqlalchemy import Boolean, Date, DateTime, Double, Integer, Numeric

from pipelines.sources import values
from pipelines.sources.mapping_yaml import (
    ARITHMETIC,
    BEGINS,
    BLANKS,
    BY_ROW,
    CHANGES,
    CONDITIONS,
    EXPRESSION_KEYS,
    HEADS,
    NO_WORDS,
    SPECIAL,
    YES_WORDS,
    Items,
    Section,
    Source,
)
from pipelines.sources.tables import parts as parts_tables
from pipelines.warehouse import schema
from pipelines.warehouse.sql import quote

if TYPE_CHECKING:
    from pipelines.sources.mapping import Mapping


class Compiler:
    """Turns the logs of one table into SELECTs over its rows, which `build` makes.

    The relation `rows`, always as `t`.
    """

    def __init__(self, mapping: "Mapping", table: Section, main: Source, rows: str) -> None:
        self.mapping, self.table, self.main, self.rows = mapping, table, main, rows
        self.sides: dict[str, Source] = {}
        self.joins: list[tuple[Source, str, str]] = []  # a side, its rows, on what they are joined
        self.zone: str | None = mapping.content.get("time_zone")
        self.constants: Section = mapping.content.get("constants") or Section()
        self.known: dict[str, str] = {}  # ids already made from this table, for the logs that follow
        self.key = ""  # what the log at hand tells its things apart by
        self.is_day = False  # whether the column at hand is a day
        self.may_lack = False  # whether the column at hand is empty where the file lacks it
        self.blank: list[str] = []  # SELECTs of the events that rows could hold and do not
        self.windows: list[str] = []  # columns that look at several rows: numbers of equal keys, first and last times
        self.worked_out: dict[
            str, str
        ] = {}  # column -> SQL over the columns before it: windows, numbers and times read once
        self.is_joining = False  # the rows are not there yet: what is read is written where it is used
        self.filling = ""  # the log column at hand

    def join(self, join: Section, side: Source) -> None:
        """Join a table to the rows: to each row one of its rows at most."""
        inner = Compiler(self.mapping, join, side, "")
        inner.is_joining = self.is_joining = True
        on: Section | Items = join["on"]
        here, there = [], []
        if isinstance(on, Section):
            pairs = [(left, right, on.lines[left]) for left, right in on.items()]
        else:
            pairs = [(pair["here"], pair["there"], line) for pair, line in zip(on, on.lines, strict=True)]
        for left, right, line in pairs:
            here.append(_text(self._value(left, line)))
            there.append(_text(inner._value(right, line)))
        way = "DESC" if join.get("take") == "last" else "ASC"
        order = f"t._file {way}, t._line {way}"
        if "by" in join:
            by = inner.expression(join["by"], "return_event", "occurred_at", join.lines["by"])
            order = f"try_cast({by} AS TIMESTAMPTZ) {way} NULLS LAST, {by} {way} NULLS LAST, {order}"
        if inner.windows:
            raise self.mapping.wrong(join.lines["on"], "`on:` takes columns and texts made of them.")
        keys = ", ".join(f"{value} AS k{i}" for i, value in enumerate(there))
        rows = (
            f"SELECT t.*, {keys} FROM {side.table.name} t "
            f"QUALIFY row_number() OVER (PARTITION BY {', '.join(there)} ORDER BY {order}) = 1"
        )
        self.joins.append((side, rows, " AND ".join(f"{value} = s.k{i}" for i, value in enumerate(here))))
        side.prefix = f"s{len(self.sides)}_"
        self.sides[str(join["as"])] = side
        self.is_joining = False

    def build(self) -> None:
        """Make the rows: the table's own, what is joined to them, and what looks at several of them."""
        when = f"({self._when(self.table, 'when')}) OR t._broken IS NOT NULL" if "when" in self.table else "TRUE"
        self.main.table.build()
        rows = f"FROM {self.main.table.name} t"
        for side, joined, on in self.joins:
            side.table.build()
            picked = "".join(f", s.{c} AS {side.prefix}{c}" for c in ("k0", *side.table.columns.values()))
            rows = f"FROM (SELECT t.*{picked} {rows} LEFT JOIN ({joined}) s ON {on}) t"
        before = self._used(
            when
        )  # what the table's condition reads; what looks at several rows looks at those it leaves
        for names, condition in ((before, when), (set(self.worked_out) - before, "TRUE")):
            for layer in self._layers(names):
                columns = ", ".join(f"{self.worked_out[name]} AS {name}" for name in layer)
                rows = f"FROM (SELECT t.*, {columns} {rows}) t"
            rows = f"FROM (SELECT t.* {rows} WHERE {condition}) t"
        self.main.table.connection.execute(f"CREATE TEMP VIEW {self.rows} AS SELECT t.* {rows}")

    def _used(self, sql: str) -> set[str]:
        """Name the columns worked out that an expression rests on."""
        used = {n for n in re.findall(r"\bt\.([or]\d+)\b", sql) if n in self.worked_out}
        return used.union(*(self._used(self.worked_out[n]) for n in used))

    def _layers(self, names: set[str]) -> list[list[str]]:
        """Put columns worked out into layers: each rests on the layers before, so that nothing is written out twice."""
        depth: dict[str, int] = {}
        for name in (n for n in self.worked_out if n in names):
            depth[name] = 1 + max((depth[n] for n in self._used(self.worked_out[name]) if n in depth), default=-1)
        return [[n for n, d in depth.items() if d == level] for level in range(max(depth.values(), default=-1) + 1)]

    def selects(self, thing: str, spec: Section, *, is_counted: bool) -> Iterator[tuple[str, str, bool]]:
        """Give (log, SELECT, is extra) for one log of the table, and what follows from it."""
        log = schema.LOG.tables[thing]
        identity = "return_line_id" if thing == "return_event" else log.info["key"][0]
        self.key = ""
        columns: dict[str, str] = {}
        for column in sorted((c for c in spec if c not in SPECIAL), key=lambda c: c != identity):
            columns[column] = self.expression(spec[column], thing, column, spec.lines[column])
            self.key = columns.get(identity, "")
        if "dimensions" in spec:
            columns["dimensions"] = self._dimensions(spec["dimensions"])
        for constant in log.columns:
            if constant.name in self.constants and constant.name not in columns:
                columns[constant.name] = quote(self.constants[constant.name])
        if (moment := self._exported_at()) is not None:
            columns.setdefault("exported_at", moment)
        where = self._when(spec, "when") if "when" in spec else "TRUE"
        where = f"({where}) OR t._broken IS NOT NULL" if is_counted else f"({where}) AND t._broken IS NULL"
        getattr(self, f"_complete_{thing}", lambda columns: None)(columns)
        has_money = "amount" in columns or bool({"list_price", "unit_cost"} & set(columns))
        if (
            "currency" in self.known
            and "currency" in log.columns
            and (log.columns["currency"].info["required"] or has_money)
        ):
            columns.setdefault("currency", self.known["currency"])
        if thing in ("order_line", "return_event", "chain_element"):
            for key in (
                "order_line_id",
                "order_id",
                "product_id",
                "units",
                "parcel_id",
                "customer_id",
                "return_line_id",
                "return_id",
                "currency",
            ):
                if key in columns:
                    self.known.setdefault(key, columns[key])
        if thing == "return_event":
            yield from self._events(spec, columns, where, is_counted)
            return
        self._require(thing, columns, spec)
        is_version = thing in ("product", "place", "policy", "shop") and not is_counted
        happened = columns.get(log.info["time"])
        if happened is not None and not is_counted and not is_version and "when" not in spec:
            where += f" AND {_text(happened)} IS NOT NULL"
        broken = "NULL::VARCHAR AS _broken" if is_version else "t._broken"
        select = f"SELECT {_listed(columns)}, t._file, t._line, {broken} FROM {self.rows} t WHERE {where}"
        if is_version:  # one version a key, whatever the order of the rows
            keys = log.info["key"]
            names = ", ".join(columns)
            latest = "exported_at DESC NULLS LAST, " if "exported_at" in columns else ""
            select = (
                f"SELECT * FROM (SELECT DISTINCT ON ({', '.join(keys)}) {names}, _file, _line FROM ({select}) "
                f"WHERE {keys[0]} IS NOT NULL ORDER BY {', '.join(keys)}, {latest}{names}, _file, _line)"
            )
        yield thing, self._one_each(thing, spec, select, list(columns)), False
        if thing == "refund" and ("order_line_id" in self.known or "return_line_id" in self.known):
            line: dict[str, str] = {
                k: columns[k] for k in ("refund_id", "refunded_at", "amount", "currency", "exported_at") if k in columns
            }
            line["refund_line_id"] = columns["refund_id"]
            line |= {k: self.known[k] for k in ("order_line_id", "return_line_id", "units") if k in self.known}
            line["restock_type"] = quote("return")
            select = (
                f"SELECT {_listed(line)}, t._file, t._line, NULL::VARCHAR AS _broken FROM {self.rows} t WHERE ({where})"
                " AND t._broken IS NULL"
            )
            yield "refund_line", self._one_each("refund_line", spec, select, list(line)), True

    def _one_each(self, thing: str, spec: Section, select: str, columns: list[str]) -> str:
        """Let the rows of one id say what the first or last of them by time says.

        The others count as its duplicates.
        """
        several = spec.get("several") or ("first" if _uses(spec, ("earliest", "latest")) else None)
        if several is None:
            return select
        log = schema.LOG.tables[thing]
        moment, way = f"try_cast({log.info['time']} AS TIMESTAMPTZ)", "DESC" if several == "last" else "ASC"
        same = ", ".join(log.info["key"])
        over = (
            f"OVER (PARTITION BY {same}, {moment} IS NULL ORDER BY {moment} {way} NULLS LAST, _file {way}, _line {way})"
        )
        picked = ", ".join(f"first_value({c}) {over} AS {c}" for c in columns)
        return f"SELECT {picked}, _file, _line, _broken FROM ({select})"

    def _exported_at(self) -> str | None:
        """Give the SQL of the time the rows were exported at, where a column of the table holds it."""
        section = self.table if "exported_at" in self.table else self.mapping.content
        said = section.get("exported_at")
        if said is None or (isinstance(said, Section) and "file" in said):
            return None
        return self.expression(said, "return_event", "recorded_at", section.lines["exported_at"])

    def _dimensions(self, given: Section) -> str:
        """Give the dimensions of one's own as the text of a JSON object; those that are empty are left out."""
        pairs = ", ".join(f"{quote(own)}, {_text(self._value(given[own], given.lines[own]))}" for own in given)
        return f"nullif(json_merge_patch('{{}}', json_object({pairs}))::VARCHAR, '{{}}')"

    def _require(self, thing: str, columns: dict[str, str], spec: Section) -> None:
        for column in schema.LOG.tables[thing].columns:
            if column.info["required"] and column.name not in columns:
                hint = " Give it under `constants:`." if column.name in ("currency", "country") else ""
                raise self.mapping.wrong(spec.line, f"`{thing}` needs `{column.name}` ({column.comment}).{hint}")

    # what a log may leave out because it follows from the rest

    def _complete_order_line(self, columns: dict[str, str]) -> None:
        if "order_line_id" not in columns and "order_id" in columns:
            columns["order_line_id"] = self._natural_key(
                [columns[c] for c in ("order_id", "product_id") if c in columns]
            )
        if "order_id" not in columns and "order_line_id" in columns:
            columns["order_id"] = columns["order_line_id"]

    def _complete_product(self, columns: dict[str, str]) -> None:
        if "product_id" not in columns and "product_id" in self.known:
            columns["product_id"] = self.known["product_id"]
        columns.setdefault("valid_from", f"TIMESTAMP '{BEGINS}'")

    def _complete_place(self, columns: dict[str, str]) -> None:
        columns.setdefault("valid_from", f"TIMESTAMP '{BEGINS}'")

    def _complete_shop(self, columns: dict[str, str]) -> None:
        columns.setdefault("valid_from", f"TIMESTAMP '{BEGINS}'")
        if self.zone:
            columns.setdefault("time_zone", quote(self.zone))

    def _complete_policy(self, columns: dict[str, str]) -> None:
        columns.setdefault("valid_from", f"TIMESTAMP '{BEGINS}'")

    def _complete_chain_element(self, columns: dict[str, str]) -> None:
        if "parcel_id" not in columns and "parcel_id" in self.known:
            columns["parcel_id"] = self.known["parcel_id"]
        columns.setdefault("element_no", "1")
        columns.setdefault("element_type", quote("transport"))
        columns.setdefault("role", quote("trunk"))
        if "parcel_id" in columns:
            columns.setdefault("element_id", f"concat_ws('/', {columns['parcel_id']}, {columns['element_no']})")

    def _complete_refund(self, columns: dict[str, str]) -> None:
        for key in ("order_id", "return_id"):
            if key in self.known:
                columns.setdefault(key, self.known[key])
        line = self.known.get("return_line_id") or self.known.get("order_line_id")
        if line:
            columns.setdefault("refund_id", f"'refund-' || {line}")

    def _complete_recovery(self, columns: dict[str, str]) -> None:
        if "return_line_id" in self.known:
            columns.setdefault("return_line_id", self.known["return_line_id"])
            columns.setdefault("recovery_id", f"'recovery-' || {columns['return_line_id']}")
        columns.setdefault("units", self.known.get("units", "1"))

    def _events(
        self, spec: Section, columns: dict[str, str], where: str, is_counted: bool
    ) -> Iterator[tuple[str, str, bool]]:
        """Give return events: one a row, or one for each date that `events:` finds filled."""
        known_line = self.known.get("order_line_id")
        if "units" in spec and not (isinstance(spec["units"], Section) and "value" in spec["units"]):
            columns["_empty_units"] = f"{_text(columns['units'])} IS NULL"
        for key in ("order_line_id", "product_id", "customer_id", "units", "parcel_id"):
            if key in self.known:
                columns.setdefault(key, self.known[key])
        if "return_line_id" not in columns:
            base = columns.get("order_line_id") or columns.get("parcel_id") or columns.get("return_id")
            if base is None:
                raise self.mapping.wrong(
                    spec.line,
                    "`return_event` needs `order_line_id`, `return_line_id` or `parcel_id`: which units come back.",
                )
            is_one_table = known_line is not None and "order_line" in self.table["to"]
            columns["return_line_id"] = base if is_one_table else self._natural_key([base])
        columns.setdefault("return_id", columns["return_line_id"])
        own = ("return_line_id", "return_id", "order_line_id", "units")  # money of the row is for what came back
        self.known |= {k: columns[k] for k in own if k in columns}
        self.key = columns["return_line_id"]
        stages: Section | None = spec.get("events")
        if stages is None:
            columns.setdefault(
                "event_id", f"concat_ws('/', {columns['return_line_id']}, {columns.get('event', 'NULL')})"
            )
            self._require("return_event", columns, spec)
            select = f"SELECT {_listed(columns)}, t._file, t._line, t._broken FROM {self.rows} t WHERE {where}"
            yield "return_event", self._one_each("return_event", spec, select, list(columns)), False
            return
        times = {
            event: self.expression(stages[event], "return_event", "occurred_at", stages.lines[event])
            for event in stages
        }
        promised: str | None = None
        if "promise" in spec and "within" in spec["promise"]:
            columns["policy_id"], select = self._policy(spec["promise"])
            yield "policy", f"{select} FROM {self.rows} t WHERE ({where}) GROUP BY ALL", True
        elif "promise" in spec:
            promised, select = self._promised_date(spec["promise"], columns, times)
            told = " OR ".join(f"{_text(t)} IS NOT NULL" for t in (promised, *times.values()))
            yield (
                "promised_date",
                f"{select} FROM {self.rows} t WHERE ({where}) AND t._broken IS NULL AND ({told})",
                True,
            )
        first = next(iter(times))
        nothing = " AND ".join(f"{_text(t)} IS NULL" for t in (*times.values(), *([promised] if promised else [])))
        lost = is_counted or "when" in spec
        base_columns = ", ".join(f"{value} AS {column}" for column, value in columns.items())
        dates = ", ".join(f"{value} AS at_{event}" for event, value in times.items())
        rows = (
            f"SELECT {base_columns}, {dates}, ({nothing}) AS has_nothing, t._file, t._line, t._broken FROM {self.rows}"
            f" t WHERE {where}"
        )
        names = ", ".join(columns)
        self.blank.append(self._blank(spec, columns["return_line_id"], times))
        parts = [
            f"SELECT concat_ws('/', return_line_id, {quote(event)}) AS event_id, {quote(event)} AS event, at_{event} AS"
            f" occurred_at, {names}, _file, _line, _broken FROM events WHERE {_text(f'at_{event}')} IS NOT"
            f" NULL{' OR has_nothing' if event == first and lost else ''}"
            for event in times
        ]
        select = f"SELECT * FROM (WITH events AS ({rows}) {' UNION ALL BY NAME '.join(parts)})"
        yield (
            "return_event",
            self._one_each("return_event", spec, select, ["event_id", "event", "occurred_at", *columns]),
            False,
        )

    def _blank(self, spec: Section, line: str, times: dict[str, str]) -> str:
        """Give the SELECT of the events that rows leave blank.

        Their date is empty, or their flag says that nothing came back. A row that is joined to none says nothing, nor
        does one of the rows that events are gathered from.
        """
        where = self._when(spec, "when") if "when" in spec else "TRUE"
        is_flag = "when" in spec and not isinstance(spec["when"], Section)
        selects = [
            "SELECT NULL::VARCHAR AS event_id, NULL::VARCHAR AS return_line_id, NULL::VARCHAR AS _file, NULL::BIGINT AS"
            " _line WHERE false"
        ]
        for event, day in times.items():
            if _uses(spec["events"][event], ("earliest", "latest")):
                continue
            is_blank = f"({where}) AND {_text(day)} IS NULL" + (f" OR NOT ({where})" if is_flag else "")
            joined = [
                f" AND t.{s.prefix}k0 IS NOT NULL"
                for s in self.sides.values()
                if self._rests_on(f"{day} {where}", f"t.{s.prefix}")
            ]
            selects.append(
                f"SELECT concat_ws('/', {line}, {quote(event)}) AS event_id, {line} AS return_line_id, t._file, t._line"
                f" FROM {self.rows} t WHERE t._broken IS NULL AND {line} IS NOT NULL AND ({is_blank}){''.join(joined)}"
            )
        return " UNION ALL ".join(selects)

    def _policy(self, promise: Section) -> tuple[str, str]:
        """Give a promise of so much time as a policy: (policy id, SELECT of its row)."""
        unit = promise.get("unit", "calendar_days")
        policy = quote(f"promised-{promise['from']}-{promise['to']}-{promise['within']}-{unit}")
        select = (
            f"SELECT {policy} AS policy_id, TIMESTAMP '{BEGINS}' AS valid_from, {quote(BY_ROW)} AS channel,"
            f" {int(promise.get('window_days', 30))} AS window_days, {quote(promise.get('name', promise['to']))} AS"
            f" promise_id, {quote(promise['from'])} AS from_stage, {quote(promise['to'])} AS to_stage,"
            f" {float(promise['within'])} AS duration, {quote(unit)} AS duration_unit, {quote(_responsible(promise))}"
            " AS responsible, min(t._file) AS _file, min(t._line) AS _line"
        )
        return policy, select

    def _promised_date(self, promise: Section, columns: dict[str, str], times: dict[str, str]) -> tuple[str, str]:
        """Give the promised date of each row: (what its column holds, SELECT of the promised dates).

        A time of day counts where the promise ends with the instant; a date without one, or at midnight, ends with its
        day.
        """
        written = self._value(promise["by"], promise.lines["by"])
        by = self.expression(promise["by"], "promised_date", "promised_at", promise.lines["by"])
        local = f"timezone({quote(self.zone or 'UTC')}, try_cast({by} AS TIMESTAMPTZ))"
        day = f"coalesce(strftime({local}, '%Y-%m-%d'), {by})"
        told = ("return_line_id", "return_id", "order_line_id", "product_id", "country", "shop_id", "carrier", "method")
        line = {c: columns[c] for c in told if c in columns}
        line["promise_id"], line["to_stage"] = quote(promise.get("name", promise["to"])), quote(promise["to"])
        line["from_stage"] = quote(promise["from"]) if "from" in promise else "NULL::VARCHAR"
        line["responsible"] = quote(_responsible(promise))
        line["began_at"] = "coalesce(" + ", ".join(_text(t) for t in times.values()) + ")"
        has_time = f"coalesce({local}::TIME <> TIME '00:00', false)" if promise.get("ends") == "instant" else "false"
        line["promised_on"] = f"CASE WHEN NOT {has_time} THEN {day} END"
        line["promised_at"] = f"CASE WHEN {has_time} THEN {by} END"
        return f"({written})::VARCHAR", f"SELECT {_listed(line)}, t._file, t._line"

    # -- which rows ----------------------------------------------------------------------------------------------------

    def _when(self, section: Section, key: str) -> str:
        """Give the SQL of a condition on rows; never NULL."""
        given, line = section[key], section.lines[key]
        if not isinstance(given, Section):
            column = self.reference(str(given), line)
            return (
                f"lower({_text(column)}) IS NOT NULL AND lower({_text(column)}) NOT IN"
                f" ({', '.join(map(quote, NO_WORDS))})"
            )
        for word, operator in (("all", " AND "), ("any", " OR ")):
            if word in given:
                self.mapping._allow(given, (word,), f"beside `{word}:`")
                if not isinstance(given[word], Items) or not given[word]:
                    raise self.mapping.wrong(given.lines[word], f"`{word}:` takes a list of conditions.")
                return operator.join(
                    f"({self._when_item(item, n)})" for item, n in zip(given[word], given[word].lines, strict=True)
                )
        self.mapping._allow(given, ("column", *CONDITIONS), "in a condition")
        words = [word for word in CONDITIONS if word in given]
        if "column" not in given or len(words) != 1:
            raise self.mapping.wrong(
                line,
                f"a condition has `column:` and one of {', '.join(CONDITIONS)}, or `all:` or `any:` with a list of"
                " conditions.",
            )
        word, wanted = words[0], given[words[0]]
        value = self._value(given["column"], given.lines["column"])
        if word in ("is", "is_not"):
            listed = wanted if isinstance(wanted, list) else [wanted]
            texts = ", ".join(quote("" if w is None else str(w).strip().lower()) for w in listed)
            return f"coalesce(lower({_text(value)}), '') {'NOT ' if word == 'is_not' else ''}IN ({texts})"
        if word == "pattern":
            return f"coalesce(regexp_matches({value}, {self._pattern(wanted, given.lines[word])[0]}), false)"
        if isinstance(wanted, bool) or not isinstance(wanted, int | float):
            raise self.mapping.wrong(given.lines[word], f"`{word}:` is a number.")
        number = self._number(value, given["column"])
        # what cannot be read is not left out unsaid: it goes on to be quarantined
        return f"coalesce({number} {'>' if word == 'above' else '<'} {wanted}, {_text(value)} IS NOT NULL)"

    def _when_item(self, item: Any, line: int) -> str:
        section = Section()
        section["when"], section.lines["when"] = item, line
        return self._when(section, "when")

    # -- expressions ---------------------------------------------------------------------------------------------------

    def _find(self, column: str, line: int) -> tuple[Source, str] | None:
        """Find a column of the table, or of a joined one written `short.Column`: whose it is, and its SQL."""
        short, _, rest = column.partition(".")
        is_side = (
            bool(rest)
            and short in self.sides
            and parts_tables.plain(column) not in map(parts_tables.plain, self.main.table.headings)
        )
        source, heading = (self.sides[short], rest) if is_side else (self.main, column)
        try:
            found = source.table.column(heading)
        except parts_tables.OptionError as error:
            raise self.mapping.wrong(line, str(error)) from error
        for part in source.table.parts if found else ():
            filled = self.mapping.reads.setdefault(part.file, {}).setdefault(parts_tables.plain(heading), set())
            filled |= {self.filling} - {""}
        return (source, f"t.{source.prefix}{found}") if found else None

    def reference(self, column: str, line: int) -> str:
        """Give the SQL of a column of the table, or of a joined one written `short.Column`."""
        found = self._find(column, line)
        if found is not None:
            return found[1]
        if self.may_lack:
            return "NULL::VARCHAR"
        short, _, rest = column.partition(".")
        source, heading = (self.sides[short], rest) if rest and short in self.sides else (self.main, column)
        headings = source.table.headings
        near = [h for h in headings if h.endswith(f".{heading}")] or difflib.get_close_matches(heading, headings, 1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        if len(headings) == 1 and (parts := [s for s in parts_tables.SEPARATORS if s in headings[0]]):
            hint = f" Its cells are parted by `{'tab' if parts[0] == chr(9) else parts[0]}`: say so under `read:`."
        raise self.mapping.wrong(
            line, f"the table has no column `{heading[:60]}`.{hint} Its columns: {parts_tables.cut(headings)}."
        )

    def expression(self, given: Any, thing: str, column: str, line: int) -> str:
        """Compile what stands behind a canonical column into SQL that gives text."""
        kind = schema.LOG.tables[thing].columns[column].type
        self.is_day = isinstance(kind, Date)
        is_one = isinstance(given, str) or (isinstance(given, Section) and bool({"column", "join", "key"} & set(given)))
        is_needed = is_one and column != "occurred_at" and schema.LOG.tables[thing].columns[column].info["required"]
        self.may_lack = self.mapping.content.get("missing") == "empty" and not is_needed
        self.filling = f"{thing}.{column}"
        value = self._value(given, line)
        self.may_lack, self.filling = False, ""
        if isinstance(given, Section) and ("value" in given or "date" in given or "plus_days" in given):
            return value
        if isinstance(kind, (DateTime, Date)):
            return self._time(value, given)
        if isinstance(kind, (Integer, Numeric, Double)):
            if isinstance(given, Section) and (_is_arithmetic(given) or "number" in given):
                return value
            return f"coalesce({self._number(value, given)}::VARCHAR, {value})"
        if isinstance(kind, Boolean):
            return (
                f"CASE WHEN lower({_text(value)}) IN ({', '.join(map(quote, YES_WORDS))}) THEN 'true' WHEN"
                f" coalesce(lower({_text(value)}), '') IN ({', '.join(map(quote, NO_WORDS))}) THEN 'false' ELSE"
                f" {value} END"
            )
        if schema.LOG.tables[thing].columns[column].info["values"]:  # our own words, however the file capitalises them
            value = f"lower({value})"
        return _text(value)

    def _value(self, given: Any, line: int) -> str:
        """Compile a column, a constant or a small expression into SQL that gives text."""
        if not isinstance(given, Section):
            if given is None or isinstance(given, list):
                raise self.mapping.wrong(line, "a column or an expression in braces stands here.")
            return self.reference(str(given), line)
        self.mapping._allow(given, EXPRESSION_KEYS, "in an expression")
        heads = [word for word in HEADS if word in given]
        if len(heads) != 1:
            raise self.mapping.wrong(line, f"an expression has one of: {', '.join(HEADS)}.")
        word = heads[0]
        value = self._head(given, word, given.lines[word])
        if word == "column":
            value = self._changed(given, value)
        elif any(change in given for change in CHANGES):
            raise self.mapping.wrong(
                line,
                f"`{word}:` goes through no {', '.join(c for c in CHANGES if c in given)}: write {{column: {{{word}:"
                " ...}, ...}.",
            )
        if "date" in given or "plus_days" in given:
            return self._time(value, given)
        return value

    def _head(self, given: Section, word: str, line: int) -> str:
        if word == "value":
            return quote(given["value"]) if given["value"] is not None else "NULL::VARCHAR"
        if word in ARITHMETIC:
            number, fault = self._figure(given, line)
            return f"coalesce({fault}, ({number})::VARCHAR)" if fault else f"({number})::VARCHAR"
        if word == "number":
            return f"{self._number(self._value(given['number'], line), given['number'])}::VARCHAR"
        if word == "optional":
            found = self._find(str(given["optional"]), line)
            return found[1] if found else "NULL::VARCHAR"
        if word in ("earliest", "latest"):
            return self._extreme(given, word)
        if word in ("first", "join", "key"):
            parts = [_text(self._value(p, line)) for p in self._parts(given, word)]
            if word == "first":
                return f"coalesce({', '.join(parts)})"
            if word == "key":
                return self._natural_key(parts)
            return f"nullif(concat_ws({quote(given.get('with', ' '))}, {', '.join(parts)}), '')"
        if word == "start":
            parts = self._parts(given, "start")
            if len(parts) != 2 or not isinstance(parts[1], int):
                raise self.mapping.wrong(
                    line, "`start:` takes a column and a number of letters: {start: [Postcode, 2]}."
                )
            return f"left({_text(self._value(parts[0], line))}, {parts[1]})"
        return self._value(given["column"], line)

    def _changed(self, given: Section, value: str) -> str:
        """Take a text through `replace:`, `pattern:` and `map:`, in this order."""
        for word in ("replace", "map"):
            if word in given and not isinstance(given[word], Section):
                raise self.mapping.wrong(given.lines[word], f"`{word}:` lists the words of the file, each with ours.")
        for old, new in (given.get("replace") or {}).items():
            value = f"replace({value}, {quote(old)}, {quote('' if new is None else new)})"
        if "pattern" in given:
            pattern, group = self._pattern(given["pattern"], given.lines["pattern"])
            value = f"nullif(regexp_extract({value}, {pattern}, {group}), '')"
        if "map" in given:
            cases = " ".join(f"WHEN {quote(k.strip().lower())} THEN {_literal(v)}" for k, v in given["map"].items())
            otherwise = _literal(given["otherwise"]) if "otherwise" in given else value
            return f"CASE lower({_text(value)}) {cases} ELSE {otherwise} END" if cases else otherwise
        return value

    def _pattern(self, pattern: Any, line: int) -> tuple[str, int]:
        """Give a pattern as SQL, and its first group, or 0 for the whole."""
        try:
            groups = re.compile(str(pattern)).groups
            self.main.table.connection.execute(f"SELECT regexp_matches('', {quote(pattern)})")
        except (re.error, duckdb.Error) as error:
            raise self.mapping.wrong(line, f"`{pattern}` is no pattern: {str(error).splitlines()[0][:100]}.") from error
        return quote(pattern), min(groups, 1)

    def _parts(self, given: Section, word: str) -> list[Any]:
        parts = given[word]
        if not isinstance(parts, list) or not parts:
            raise self.mapping.wrong(
                given.lines[word], f"`{word}:` takes a list, such as {word}: [first column, second column]."
            )
        return parts

    def _figure(self, given: Any, line: int) -> tuple[str, str | None]:
        """Compile a number: its SQL, and that of the text that is none, where a part is filled and cannot be read.

        An empty part of a sum counts as nothing, and a sum of empty parts is missing; elsewhere an empty part leaves
        nothing.
        """
        if isinstance(given, int | float):
            return f"({given})", None
        if not isinstance(given, Section) or not _is_arithmetic(given):
            value = self._value(given, line)
            number = self._number(value, given)
            if isinstance(given, Section) and "number" in given:
                return number, None
            return number, f"CASE WHEN {number} IS NULL THEN {_text(value)} END"
        word = next(w for w in ARITHMETIC if w in given)
        line = given.lines[word]
        parts = self._parts(given, word)
        figures = [self._figure(part, line) for part in parts]
        numbers = [number for number, _ in figures]
        faults = [fault for _, fault in figures if fault]
        if word == "sum":
            filled = [n for n, part in zip(numbers, parts, strict=True) if not isinstance(part, int | float)]
            total = " + ".join(f"coalesce({n}, 0)" for n in numbers)
            number = f"CASE WHEN coalesce({', '.join(filled)}) IS NOT NULL THEN {total} END" if filled else total
        else:
            number = numbers[0]
            for other in numbers[1:]:
                other = f"nullif({other}, 0)" if word == "divide" else other
                number = f"try_cast({number} {ARITHMETIC[word]} {other} AS DECIMAL(28, 10))"
        return f"try_cast({number} AS DECIMAL(28, 10))", f"coalesce({', '.join(faults)})" if faults else None

    def _home(self, given: Any) -> Source:
        """Find the table whose way of writing holds for an expression: that of its first column."""
        if isinstance(given, Section):
            for word in HEADS:
                if word in given and word != "value":
                    parts = given[word] if isinstance(given[word], list) else [given[word]]
                    return next((self._home(p) for p in parts if not isinstance(p, int | float)), self.main)
            return self.main
        found = self._find(str(given), 0) if isinstance(given, str) else None
        return found[0] if found else self.main

    def _number(self, value: str, given: Any) -> str:
        """Give the SQL of the number that a text holds, as its table writes numbers; NULL when it holds none."""
        source = self._home(given)
        read = source.table.read
        currency = read.get("currency", [])
        body = values.number_sql(
            decimal=str(read.get("decimal", ".")),
            thousands=str(read.get("thousands", "")),
            currencies=[str(c) for c in (currency if isinstance(currency, list) else [currency])],
            own=self.constants.get("currency"),
            is_text=source.table.is_text,
        )
        return self._read(f"{source.macro(body)}({value})")

    def _time(self, value: str, given: Any) -> str:
        """Give the SQL of the time that a text holds, as its table or the expression says that dates are written."""
        source = self._home(given)
        formats, plus = source.formats, None
        line = given.line if isinstance(given, Section) else 1
        if isinstance(given, Section) and "date" in given:
            formats = [str(d) for d in (given["date"] if isinstance(given["date"], list) else [given["date"]])]
            line = given.lines["date"]
        if isinstance(given, Section) and "plus_days" in given:
            plus = given["plus_days"]
            if not isinstance(plus, int):
                raise self.mapping.wrong(given.lines["plus_days"], "`plus_days:` is a whole number of days.")
        try:
            macro = source.macro(values.time_sql(formats, self.zone, is_day=self.is_day, plus_days=plus))
            self.main.table.connection.execute(f"SELECT {macro}('1')")
        except duckdb.Error as error:
            place = line if isinstance(given, Section) and "date" in given else self._dates_line()
            raise self.mapping.wrong(
                place, f"{parts_tables.cut(formats)} is no way to write a date: {str(error).splitlines()[0][:100]}."
            ) from error
        return self._read(f"{macro}({value})")

    def _dates_line(self) -> int:
        return self.table.lines.get("dates", self.mapping.content.lines.get("dates", 1))

    def _extreme(self, given: Section, word: str) -> str:
        """Give the SQL of the earliest or latest time among the rows of one thing; a time that cannot be read stays."""
        line = given.lines[word]
        by = _text(self._value(given["by"], given.lines["by"])) if "by" in given else self.key
        if not by or "t.o" in by:
            raise self.mapping.wrong(line, f"`{word}:` needs `by:`, the column that says which rows belong together.")
        text = self._value(given[word], line)
        text = self._time(text, given[word])
        condition = self._when(given, "when") if "when" in given else "TRUE"
        instant = f"try_cast({text} AS TIMESTAMPTZ)"
        way = "arg_min" if word == "earliest" else "arg_max"
        found = self._window(f"{way}({text}, {instant}) FILTER (WHERE {condition}) OVER (PARTITION BY {by})")
        return (
            f"CASE WHEN {instant} IS NULL AND {_text(text)} IS NOT NULL AND ({condition}) THEN {text} ELSE {found} END"
        )

    def _natural_key(self, parts: list[str]) -> str:
        """Make an id of a natural key and an occurrence number in its file.

        Equal keys are told apart by their rows' content. Exports overlap: a row that two files hold is one row, and so
        is one of a list whose whole document comes twice in a file.
        """
        content = ", ".join(f"t.{c}" for c in self.main.table.content())
        listed = ", ".join(parts)
        copy = "".join(f", t.{c}" for c in self.main.table.copies())
        number = self._window(f"row_number() OVER (PARTITION BY {listed}, t._file{copy} ORDER BY {content})")
        return f"concat_ws('/', {listed}, {number})"

    def _window(self, sql: str) -> str:
        """Give the column that holds what looks at several rows: worked out before a log leaves any row out."""
        if sql not in self.windows:
            self.windows.append(sql)
            self.worked_out[f"o{len(self.windows) - 1}"] = sql
        return f"t.o{self.windows.index(sql)}"

    def _rests_on(self, sql: str, text: str) -> bool:
        """Say whether an expression, or a column worked out that it uses, holds a text."""
        return text in sql or any(text in self.worked_out[name] for name in self._used(sql))

    def _read(self, sql: str) -> str:
        """Give the column that holds what was read.

        Written out in each place, one reading inside another would grow beyond bounds.
        """
        if self.is_joining:
            return sql
        name = next((n for n, known in self.worked_out.items() if known == sql), f"r{len(self.worked_out)}")
        self.worked_out[name] = sql
        return f"t.{name}"


def _is_arithmetic(given: Section) -> bool:
    return any(word in given for word in ARITHMETIC)


def _responsible(promise: Section) -> str:
    return str(
        promise.get("responsible") or ("carrier" if promise["to"] in ("received", "carrier_scan") else "retailer")
    )


def _uses(given: Any, words: tuple[str, ...]) -> bool:
    """Tell whether one of the words stands anywhere in a part of the mapping."""
    if isinstance(given, Section):
        return any(key in words or _uses(value, words) for key, value in given.items())
    return isinstance(given, list) and any(_uses(item, words) for item in given)


def _literal(value: Any) -> str:
    return "NULL" if value is None else quote(value)


def _text(value: str) -> str:
    """Give the SQL of a text without the blanks around it; NULL when nothing is left."""
    return f"nullif(trim({value}, {BLANKS}), '')"


def _listed(columns: dict[str, str]) -> str:
    return ", ".join(f"{value} AS {column}" for column, value in columns.items())
