"""The logs of a mapping's table as SQL. What stands behind a column is compiled in mapping_expressions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.sources.mapping_expressions import Expressions, text_sql
from pipelines.sources.mapping_yaml import BEGINS, BY_ROW, SPECIAL, Source
from pipelines.sources.values import iso_country
from pipelines.warehouse import schema
from pipelines.warehouse.sql import in_order, quote
from pipelines.written import Items, Section

if TYPE_CHECKING:
    from pipelines.sources.mapping import Mapping

_IDS = (
    "order_line_id",
    "order_id",
    "product_id",
    "units",
    "parcel_id",
    "customer_id",
    "return_line_id",
    "return_id",
    "currency",
)
"""Columns of sales, returns and parcels that the table's other logs take from them."""
WORKED_OUT_ONCE = 50_000  # rows at most whose columns are worked out once; of more, wherever they are read


class Compiler(Expressions):
    """Turns the logs of one table into SELECTs over its rows, which `build` makes.

    The relation `rows`, always as `t`.
    """

    def __init__(self, mapping: "Mapping", table: Section, main: Source, rows: str) -> None:
        super().__init__(mapping, table, main)
        self.rows = rows
        self.joins: list[tuple[Source, str, str]] = []  # a side, its rows, on what they are joined
        self.known: dict[str, str] = {}  # ids already made from this table, for the logs that follow
        self.blank: dict[str, list[str]] = {}  # log -> SELECTs of what rows could hold of it and do not

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
            here.append(text_sql(self._value(left, line)))
            there.append(text_sql(inner._value(right, line)))
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
        connection = self.main.table.connection
        most = f"SELECT count(*) FROM (FROM {self.main.table.name} LIMIT {WORKED_OUT_ONCE + 1})"
        is_once = bool(self.worked_out) and connection.execute(most).fetchall()[0][0] <= WORKED_OUT_ONCE
        in_order(connection, [f"CREATE TEMP {'TABLE' if is_once else 'VIEW'} {self.rows} AS SELECT t.* {rows}"])

    def _layers(self, names: set[str]) -> list[list[str]]:
        """Put columns worked out into layers: each rests on the layers before, so that nothing is written out twice."""
        depth: dict[str, int] = {}
        for name in (n for n in self.worked_out if n in names):
            depth[name] = 1 + max((depth[n] for n in self._used(self.worked_out[name]) if n in depth), default=-1)
        return [[n for n, d in depth.items() if d == level] for level in range(max(depth.values(), default=-1) + 1)]

    def selects(self, thing: str, spec: Section, *, is_counted: bool) -> Iterator[tuple[str, str, bool]]:
        """Give (log, SELECT, is extra) for one log of the table, and what follows from it."""
        log = schema.LOG.tables[thing]
        columns = self._columns(thing, spec)
        where = self._when(spec, "when") if "when" in spec else "TRUE"
        where = f"({where}) OR t._broken IS NOT NULL" if is_counted else f"({where}) AND t._broken IS NULL"
        self._complete(thing, columns)
        if thing in ("order_line", "return_event", "chain_element"):
            for key in _IDS:
                if key in columns:
                    self.known.setdefault(key, columns[key])
        if thing == "return_event":
            yield from self._events(spec, columns, where, is_counted)
            return
        self._require(thing, columns, spec)
        is_version = thing in ("product", "place", "policy", "shop") and not is_counted
        happened = columns.get(log.info["time"])
        if happened is not None and not is_counted and not is_version and "when" not in spec:
            self._undated(thing, spec, columns, where, happened)
            where += f" AND {text_sql(happened)} IS NOT NULL"
        broken = "NULL::VARCHAR AS _broken" if is_version else "t._broken"
        select = f"SELECT {_listed(columns)}, t._file, t._line, {broken} FROM {self.rows} t WHERE {where}"
        if is_version:
            select = _one_version(thing, columns, select)
        yield thing, self._one_each(thing, spec, select, list(columns)), False
        if thing == "refund" and ("order_line_id" in self.known or "return_line_id" in self.known):
            line, select = self._refund_line(columns, where)
            yield "refund_line", self._one_each("refund_line", spec, select, list(line)), True

    def _columns(self, thing: str, spec: Section) -> dict[str, str]:
        """Give column -> SQL of a log: what its section says, its id first, then what holds for the whole mapping."""
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
                said = self.constants[constant.name]
                columns[constant.name] = quote(iso_country(said) if constant.name == "country" else said)
        if (moment := self._exported_at()) is not None:
            columns.setdefault("exported_at", moment)
        return columns

    def _complete(self, thing: str, columns: dict[str, str]) -> None:
        """Add to a log's columns what follows from the rest, and the currency of the table's other logs."""
        log = schema.LOG.tables[thing]
        getattr(self, f"_complete_{thing}", lambda columns: None)(columns)
        has_money = "amount" in columns or bool({"list_price", "unit_cost"} & set(columns))
        if (
            "currency" in self.known
            and "currency" in log.columns
            and (log.columns["currency"].info["required"] or has_money)
        ):
            columns.setdefault("currency", self.known["currency"])

    def _refund_line(self, columns: dict[str, str], where: str) -> tuple[dict[str, str], str]:
        """Give the line of a refund whose table names goods: (its columns, its SELECT)."""
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
        return line, select

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
        pairs = ", ".join(f"{quote(own)}, {text_sql(self._value(given[own], given.lines[own]))}" for own in given)
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
        self._identify_events(spec, columns)
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
        dates = list(times.values())
        if "promise" in spec and "within" in spec["promise"]:
            columns["policy_id"], select = self._policy(spec["promise"])
            yield "policy", f"{select} FROM {self.rows} t WHERE ({where}) GROUP BY ALL", True
        elif "promise" in spec:
            promised, select = self._promised_date(spec["promise"], columns, times)
            told = " OR ".join(f"{text_sql(t)} IS NOT NULL" for t in (promised, *times.values()))
            yield (
                "promised_date",
                f"{select} FROM {self.rows} t WHERE ({where}) AND t._broken IS NULL AND ({told})",
                True,
            )
            dates.append(promised)
        nothing = " AND ".join(f"{text_sql(t)} IS NULL" for t in dates)
        self.blank.setdefault("return_event", []).append(self._blank(spec, columns, times))
        select = self._dated_events(columns, times, nothing, where, keeps_empty=is_counted or "when" in spec)
        yield (
            "return_event",
            self._one_each("return_event", spec, select, ["event_id", "event", "occurred_at", *columns]),
            False,
        )

    def _identify_events(self, spec: Section, columns: dict[str, str]) -> None:
        """Add to the columns of return events the ids that the table's other logs made, and the return line's own."""
        known_line = self.known.get("order_line_id")
        if "units" in spec and not (isinstance(spec["units"], Section) and "value" in spec["units"]):
            columns["_empty_units"] = f"{text_sql(columns['units'])} IS NULL"
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

    def _dated_events(
        self, columns: dict[str, str], times: dict[str, str], nothing: str, where: str, *, keeps_empty: bool
    ) -> str:
        """Give the SELECT of an event for each date that is filled; a row without any is kept as the first event."""
        first = next(iter(times))
        base_columns = ", ".join(f"{value} AS {column}" for column, value in columns.items())
        dates = ", ".join(f"{value} AS at_{event}" for event, value in times.items())
        rows = (
            f"SELECT {base_columns}, {dates}, ({nothing}) AS has_nothing, t._file, t._line, t._broken FROM {self.rows}"
            f" t WHERE {where}"
        )
        names = ", ".join(columns)
        parts = [
            f"SELECT concat_ws('/', return_line_id, {quote(event)}) AS event_id, {quote(event)} AS event, at_{event} AS"
            f" occurred_at, {names}, _file, _line, _broken FROM events WHERE {text_sql(f'at_{event}')} IS NOT"
            f" NULL{' OR has_nothing' if event == first and keeps_empty else ''}"
            for event in times
        ]
        return f"SELECT * FROM (WITH events AS ({rows}) {' UNION ALL BY NAME '.join(parts)})"

    def _blank(self, spec: Section, columns: dict[str, str], times: dict[str, str]) -> str:
        """Give the SELECT of the events that rows leave blank, and when the row was recorded, where it says so.

        Their date is empty, or their flag says that nothing came back. A row that is joined to none says nothing, nor
        does one of the rows that events are gathered from.
        """
        line, recorded = columns["return_line_id"], columns.get("recorded_at", "NULL::VARCHAR")
        where = self._when(spec, "when") if "when" in spec else "TRUE"
        is_flag = "when" in spec and not isinstance(spec["when"], Section)
        selects = [
            "SELECT NULL::VARCHAR AS event_id, NULL::VARCHAR AS return_line_id, NULL::VARCHAR AS _recorded,"
            " NULL::VARCHAR AS _file, NULL::BIGINT AS _line WHERE false"
        ]
        for event, day in times.items():
            if _uses(spec["events"][event], ("earliest", "latest")) or self._is_lacking(day):
                continue
            is_blank = f"({where}) AND {text_sql(day)} IS NULL" + (f" OR NOT ({where})" if is_flag else "")
            selects.append(
                f"SELECT concat_ws('/', {line}, {quote(event)}) AS event_id, {line} AS return_line_id,"
                f" ({recorded})::VARCHAR AS _recorded, t._file, t._line"
                f" FROM {self.rows} t WHERE t._broken IS NULL AND {line} IS NOT NULL AND ({is_blank})"
                f"{self._joined(f'{day} {where}')}"
            )
        return " UNION ALL ".join(selects)

    def _joined(self, sql: str) -> str:
        """Give the condition that a row is joined to every table an expression rests on; '' for none."""
        sides = (s.prefix for s in self.sides.values() if self._rests_on(sql, f"t.{s.prefix}"))
        return "".join(f" AND t.{prefix}k0 IS NOT NULL" for prefix in sides)

    def _undated(self, thing: str, spec: Section, columns: dict[str, str], where: str, happened: str) -> None:
        """Note the SELECT of the things whose rows are there and leave their date blank, such as refunds taken back."""
        key = schema.LOG.tables[thing].info["key"][0]
        if thing not in ("refund", "recovery") or key not in columns or _uses(spec, ("earliest", "latest", "key")):
            return
        if self._rests_on(columns[key], "t.o") or self._is_lacking(happened):
            return
        blank = f"{columns[key]} IS NOT NULL AND {text_sql(happened)} IS NULL{self._joined(happened)}"
        rows = f"t._file, t._line FROM {self.rows} t WHERE {where} AND {blank}"
        for log in (thing, *(["refund_line"] if thing == "refund" else [])):
            name = schema.LOG.tables[log].info["key"][0]
            recorded = f"({columns.get('recorded_at', 'NULL')})::VARCHAR AS _recorded"
            self.blank.setdefault(log, []).append(f"SELECT {columns[key]} AS {name}, {recorded}, {rows}")

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
        line["began_at"] = "coalesce(" + ", ".join(text_sql(t) for t in times.values()) + ")"
        has_time = f"coalesce({local}::TIME <> TIME '00:00', false)" if promise.get("ends") == "instant" else "false"
        line["promised_on"] = f"CASE WHEN NOT {has_time} THEN {day} END"
        line["promised_at"] = f"CASE WHEN {has_time} THEN {by} END"
        return f"({written})::VARCHAR", f"SELECT {_listed(line)}, t._file, t._line"


def _responsible(promise: Section) -> str:
    return str(
        promise.get("responsible") or ("carrier" if promise["to"] in ("received", "carrier_scan") else "retailer")
    )


def _uses(given: Any, words: tuple[str, ...]) -> bool:
    """Tell whether one of the words stands anywhere in a part of the mapping."""
    if isinstance(given, Section):
        return any(key in words or _uses(value, words) for key, value in given.items())
    return isinstance(given, list) and any(_uses(item, words) for item in given)


def _one_version(thing: str, columns: dict[str, str], select: str) -> str:
    """Take one version a key from the rows of a SELECT, whatever their order."""
    keys = schema.LOG.tables[thing].info["key"]
    names = ", ".join(columns)
    latest = "exported_at DESC NULLS LAST, " if "exported_at" in columns else ""
    return (
        f"SELECT * FROM (SELECT DISTINCT ON ({', '.join(keys)}) {names}, _file, _line FROM ({select}) "
        f"WHERE {keys[0]} IS NOT NULL ORDER BY {', '.join(keys)}, {latest}{names}, _file, _line)"
    )


def _listed(columns: dict[str, str]) -> str:
    return ", ".join(f"{value} AS {column}" for column, value in columns.items())
