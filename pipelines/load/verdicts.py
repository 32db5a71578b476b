"""Verdicts: staged rows against their rules; accepted, duplicate, quarantined, renamed or withdrawn."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from sqlalchemy import Column, Table

from pipelines.errors import ContractError
from pipelines.load.contracts import (
    FEWEST_LINES,
    FUTURE,
    MOST_LISTED,
    PLAIN,
    REVERSIBLE,
    VERSIONED,
    Export,
    Judged,
    hmac_sql,
    is_filled,
    is_read_field,
    item_sql,
    rules_of,
    shape_sql,
    typed_sql,
    versions,
)
from pipelines.load.log_columns import (
    hashed_address,
    keys_of,
    literal,
    log_columns,
    log_rows,
    log_values,
    payload_hash_sql,
)
from pipelines.sources import NamedRows
from pipelines.warehouse import schema
from pipelines.warehouse.sql import identity_of, key_sql, quote, shipped_sql, sql_type


class Fault(NamedTuple):
    """One row that was quarantined, or, with `is_field`, one field of an accepted row that could not be read."""

    log: str
    file: str
    line: int
    rules: str
    value: str
    is_field: bool
    item: str = ""


class Found(NamedTuple):
    """What is counted of the judged rows of a log.

    Rows in all, in quarantine, and with fields that could not be read; the latest export, the first time of the future,
    and whether each thing without fault stands there once.
    """

    read: int
    faulty: int
    unread: int
    exported_at: datetime | None
    future: datetime | None
    is_each_once: bool


def judge(
    connection: duckdb.DuckDBPyConnection,
    named: NamedRows,
    *,
    source: str,
    namespace: str,
    load_id: str,
    landed_at: datetime,
    key: bytes,
    logged: str,
    target: str,
    export: Export | None = None,
    customer_sql: str = "v",
) -> tuple[Judged, list[Fault]]:
    """Judge the rows of one log and write the accepted ones to the Parquet file `target`.

    `logged` is SQL for the log's earlier rows: a row that says the same as the newest version of its id there is a
    duplicate. With an `export`, what it takes back is written too, as withdrawn rows. `customer_sql` gives the id that
    stands for the customer `v`: another one for those who are forgotten. Returns the counts and the faults.
    """
    table, export = _log_of(named), export or Export()
    types = _types_given(connection, table, named, source)
    rules = rules_of(table, types, landed_at)
    connection.execute(f"CREATE OR REPLACE TEMP MACRO customer(v) AS ({customer_sql})")
    _stage_judged(connection, table, named, types, rules, namespace, landed_at, key, export)
    hidden = _hide_rare_texts(connection, table, set(types), namespace, key, logged)
    found = _found(connection, table)
    if not found.is_each_once and not named.may_repeat and _mark_several_contents(connection, table, len(rules) - 1):
        found = _found(connection, table)
    lines = "count(DISTINCT _line)" if named.blank_sql else "count(*)"  # only events are several of one line
    by_file = connection.execute(f"SELECT _file, count(*), {lines} FROM judged GROUP BY 1").fetchall()
    faults = _faults(connection, table, rules) if found.faulty or found.unread else []  # it compiles long patterns
    new, replaced = _news(connection, table, namespace, logged)
    withdrawn, written = _write_accepted(connection, table, named, namespace, load_id, export, new, target, found)
    if table.name in REVERSIBLE and any(not fault.is_field for fault in faults):
        _keep_quarantined(connection, table, namespace, load_id, Path(target))
    connection.execute("DROP TABLE judged")
    quarantined = sum(not fault.is_field for fault in faults)
    accepted = written - withdrawn
    judged = Judged(
        table.name,
        found.read,
        accepted,
        found.read - accepted - quarantined,
        quarantined,
        named.is_derived,
        found.unread,
        withdrawn,
        replaced,
        found.exported_at,
        hidden,
        found.future and found.future - FUTURE,
        {} if named.is_derived else {file: (rows, lines) for file, rows, lines in by_file},
    )
    return judged, faults


def _found(connection: duckdb.DuckDBPyConnection, table: Table) -> Found:
    """Count the judged rows of a log."""
    counted = connection.execute(f"""
        SELECT count(*), count(*) FILTER (faults > 0), count(*) FILTER (faults = 0 AND unread > 0), max(exported_at),
            min(_future), count(DISTINCT {identity_of(table)}) FILTER (faults = 0) = count(*) FILTER (faults = 0)
        FROM judged
    """)
    return Found(*counted.fetchall()[0])


def _log_of(named: NamedRows) -> Table:
    """Give the log that named rows are of. Raises ContractError where there is none."""
    table = schema.LOG.tables.get(named.thing)
    if table is None:
        raise ContractError(f"There is no log named {named.thing}. Logs: {', '.join(schema.LOG.tables)}.")
    return table


def _types_given(connection: duckdb.DuckDBPyConnection, table: Table, named: NamedRows, source: str) -> dict[str, str]:
    """Give the columns of named rows and their types. Raises ContractError where a required one is not there."""
    types = {r[0]: str(r[1]).upper() for r in connection.execute(f"DESCRIBE ({named.sql})").fetchall()}
    types = {n: _PLAIN_TYPES.get(k, k) for n, k in types.items()}
    missing = [c.name for c in table.columns if c.info["required"] and c.name not in types]
    if missing:
        raise ContractError(
            f"{source}: {named.thing} lacks the required column {missing[0]}. Columns given:"
            f" {', '.join(sorted(types))}."
        )
    return types


def _news(connection: duckdb.DuckDBPyConnection, table: Table, namespace: str, logged: str) -> tuple[str, int]:
    """Give the condition that a row without fault says something new, and count the things it says otherwise.

    Creates `known`, what the log's earlier rows say, where there are any.
    """
    if not logged:
        return "faults = 0", 0
    same = identity_of(table)
    earlier = f"{_rows_of_source(connection, table, namespace, logged)} AND {same} IN (SELECT {same} FROM judged)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE known AS SELECT {same}, payload_hash FROM (
            SELECT {same}, payload_hash, is_recorded, version_no,
                bool_or(is_withdrawn) OVER (PARTITION BY {same}) AS has_withdrawn
            FROM ({versions(f"({earlier})", same)}))
        WHERE version_no = 1 OR (is_recorded AND NOT has_withdrawn)
    """)
    new = f"faults = 0 AND ({same}, payload_hash) NOT IN (SELECT ({same}, payload_hash) FROM known)"
    changed = f"SELECT count(DISTINCT {same}) FROM judged WHERE {new} AND {same} IN (SELECT {same} FROM known)"
    return new, int(connection.execute(changed).fetchall()[0][0])


def _rows_of_source(connection: duckdb.DuckDBPyConnection, table: Table, namespace: str, logged: str) -> str:
    """Select the logged rows of one source."""
    return f"SELECT * FROM ({log_rows(connection, table, logged)}) WHERE source = {quote(namespace)}"


def _write_accepted(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    named: NamedRows,
    namespace: str,
    load_id: str,
    export: Export,
    new: str,
    target: str,
    found: Found,
) -> tuple[int, int]:
    """Write the rows matching `new` and those that are withdrawn to `target`; count the withdrawn ones, and all."""
    picked = ", ".join([*log_columns(table), "payload_hash", *VERSIONED])
    withdrawn = _stage_withdrawn(connection, table, named, namespace, export)
    if export.since or export.until:
        _note_span(connection, table, has_withdrawn=withdrawn > 0)
    taken_back = f"UNION ALL BY NAME SELECT {picked} FROM withdrawn" if withdrawn else ""
    accepted = f"SELECT {picked} FROM judged WHERE {new}"
    if not found.is_each_once:
        accepted = _said_once(connection, identity_of(table), picked, new)
    written = connection.execute(f"""
        COPY (
            SELECT *, {quote(namespace)} AS source, {quote(load_id)} AS load_id FROM ({accepted} {taken_back})
        ) TO {quote(target)} (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 200000)
    """).fetchall()[0][0]
    return withdrawn, written


def _said_once(connection: duckdb.DuckDBPyConnection, same: str, picked: str, new: str) -> str:
    """Select the rows matching `new`; of those that say the same the latest."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {same}, payload_hash FROM judged WHERE faults = 0 GROUP BY"
        " ALL HAVING count(*) > 1"
    )
    return f"""
        SELECT {picked} FROM judged ANTI JOIN repeated USING ({same}, payload_hash) WHERE {new}
        UNION ALL
        SELECT {picked} FROM judged SEMI JOIN repeated USING ({same}, payload_hash) WHERE {new}
            QUALIFY row_number() OVER (PARTITION BY {same}, payload_hash ORDER BY exported_at DESC,
                file_no DESC, _file, _line) = 1
    """


def quarantine_of(thing: str) -> str:
    """Name the folder beside a log that says which of its rows are in quarantine."""
    return f"quarantine_{thing}"


def _keep_quarantined(
    connection: duckdb.DuckDBPyConnection, table: Table, namespace: str, load_id: str, target: Path
) -> None:
    """Write the keys and places of quarantined rows beside the log: what counts as missing until it is loaded right.

    Of a return line one event may be in quarantine and others in the log, so its events go by their line.
    """
    key = "return_line_key" if table.name == "return_event" else identity_of(table)
    beside = target.parents[2] / quarantine_of(table.name) / target.parent.name / target.name
    beside.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"""
        COPY (SELECT {key} AS key, _file AS file, _line AS line, {quote(namespace)} AS source, {quote(load_id)}
            AS load_id FROM judged WHERE faults > 0)
        TO {quote(str(beside))} (FORMAT parquet)
    """)


_PLAIN_TYPES = {
    **dict.fromkeys(("TIMESTAMP_NS", "TIMESTAMP_S", "TIMESTAMP_MS"), "TIMESTAMP"),
    "DECIMAL(18,4)": "DECIMAL(18, 4)",
}


def _stage_judged(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    named: NamedRows,
    types: dict[str, str],
    rules: list[tuple[str, str, str]],
    namespace: str,
    landed_at: datetime,
    key: bytes,
    export: Export,
) -> None:
    """Create `judged`: every row as the log would keep it, with its faults and unread fields as sets of bits."""
    typed = [f'{_filled(c, types)} AS "{c.name}"' for c in table.columns]
    raw = [n for n, k in types.items() if n in table.columns and k != sql_type(table.columns[n])]
    typed += [f'"{n}" AS "raw_{n}"' for n in raw]
    typed += ["_empty_units"] if "_empty_units" in types else []
    connection.execute(f"CREATE OR REPLACE TEMP MACRO keyed_hash(v) AS ({hmac_sql('v', key)})")
    typed.append('"_broken"' if "_broken" in types else "NULL::VARCHAR AS _broken")
    own_time = 'try_cast(try_cast("exported_at" AS TIMESTAMPTZ) AS TIMESTAMP)' if "exported_at" in types else "NULL"
    typed.append(f"coalesce({own_time}, landed_time, TIMESTAMP '{landed_at}') AS exported_at")
    files = ", ".join(f"({quote(name)}, {number}, TIMESTAMP '{at}')" for name, (number, at) in export.files.items())
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE landed_file AS
        SELECT landed_name, max(landed_no) AS landed_no, max(landed_time) AS landed_time
        FROM (VALUES {files or "(NULL, 0, NULL::TIMESTAMP)"}) f(landed_name, landed_no, landed_time) GROUP BY 1
    """)
    of_row = [r for r in enumerate(rules) if not is_read_field(table, r[1][0], r[1][1])]
    of_field = [r for r in enumerate(rules) if is_read_field(table, r[1][0], r[1][1])]
    missing = [(i, column) for i, (rule, column, _) in of_field if rule != "empty_is_one"]
    unread = {c: [f"_broken_{i}" for i, column in missing if column == c] for c in {column for _, column in missing}}
    columns = log_values(table, namespace, types, unread)
    values = " ".join(
        f"WHEN {mask} > 0 THEN {_first_value(some, raw, table, mask)}"
        for mask, some in (("faults", of_row), ("unread", of_field))
    )
    broken = ", ".join(f"{_rewrite(condition, raw)} AS _broken_{i}" for i, (_, _, condition) in enumerate(rules))
    keys = ", ".join(f"{sql} AS {name}" for name, sql in keys_of(table).items())
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE judged AS
        WITH named AS ({named.sql}),
        t AS (SELECT {", ".join(typed)}, _file, _line, coalesce(landed_no, 0) AS file_no FROM named
            LEFT JOIN landed_file ON landed_name = _file),
        b AS (SELECT *, {broken} FROM t),
        f AS (SELECT *, {_bits(of_row)} AS faults, {_bits(of_field)} AS unread FROM b),
        o AS (SELECT {", ".join(f"{value} AS {name}" for name, value in columns.items())}, _file, _line, faults, unread,
            exported_at, file_no, t.recorded_at IS NOT NULL AS is_recorded, CASE {values} END AS _value,
                {_future(rules)} AS _future FROM f AS t)
        SELECT *, false AS is_withdrawn, {keys}, {payload_hash_sql(table)} AS payload_hash FROM o
    """)


def _future(rules: list[tuple[str, str, str]]) -> str:
    """Give the earliest of a row's times that is of the future, as SQL."""
    times = [f"CASE WHEN _broken_{i} THEN t.{c} END" for i, (rule, c, _) in enumerate(rules) if rule == "future_time"]
    return f"least({', '.join(times)}, NULL::TIMESTAMP)" if times else "NULL::TIMESTAMP"


def _hide_rare_texts(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    given: set[str],
    namespace: str,
    key: bytes,
    logged: str,
) -> int:
    """Put a keyed hash in place of texts that may be somebody's own words.

    Those that fewer than five things share; of a place, its id. The log's earlier rows count too, under the text or its
    hash. Returns how many texts of rows went.
    """
    columns = [c for c in table.columns if c.info["text"] in PLAIN and c.name in given]
    if not columns:
        return 0
    if any(c.info["text"] == "free" for c in columns):
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE known_reason AS SELECT DISTINCT lower(trim(raw)) AS raw FROM"
            f" {shipped_sql('reasons.csv')}"
        )
    odd = _find_odd_texts(connection, columns)
    hidden, changed = 0, ["false"]
    thing = LINE_OF.get(table.name, identity_of(table))
    shown = "judged.place_id" if table is schema.place else "o.hash"  # a place is known by its id then
    for column in (c for c in columns if c.name in odd):
        mine = f"(SELECT * FROM odd_text WHERE name = '{column.name}')"
        log = f"({_rows_of_source(connection, table, namespace, logged)})" if logged else ""
        _spare_shared_texts(connection, column, mine, thing, log)
        if column.info["text"] == "json":
            mine = _odd_objects(connection, mine)
        changed.append("true" if table is schema.place else f"{column.name} IN (SELECT hash FROM {mine})")
        hidden += connection.execute(f"""
            UPDATE judged SET {column.name} = {shown} FROM {mine} o WHERE judged.{column.name} = o.text
        """).fetchall()[0][0]
    if hidden:
        connection.execute(f"UPDATE judged SET payload_hash = {payload_hash_sql(table)} WHERE {' OR '.join(changed)}")
    return hidden


def _find_odd_texts(connection: duckdb.DuckDBPyConnection, columns: list[Column[Any]]) -> set[str]:
    """Create `odd_text`: the texts of columns that may be somebody's own words, and the hash of each.

    Gives the names of the columns that hold any.
    """
    texts = [
        f"SELECT '{c.name}' AS name, v AS text FROM ({_texts(c, 'judged')}) GROUP BY v HAVING NOT"
        f" ({PLAIN[c.info['text']].format(v='v')})"
        for c in columns
    ]
    found = connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE odd_text AS
        SELECT *, 'rare-' || left(keyed_hash(text), 12) AS hash FROM ({" UNION ALL ".join(texts)})
        WHERE NOT regexp_full_match(text, 'rare-[0-9a-f]{{12}}')
    """).fetchall()[0][0]
    return {name for (name,) in connection.execute("SELECT DISTINCT name FROM odd_text").fetchall()} if found else set()


def _spare_shared_texts(
    connection: duckdb.DuckDBPyConnection, column: Column[Any], mine: str, thing: str, log: str
) -> None:
    """Take the texts of a column that enough things share out of `odd_text`; `log` has the earlier rows, if any."""
    rows = f"SELECT o.hash, j.thing FROM ({_texts(column, 'judged', thing)}) j JOIN {mine} o ON j.v = o.text"
    if log:
        rows += (
            f" UNION ALL SELECT o.hash, l.thing FROM ({_texts(column, log, thing)}) l JOIN {mine} o ON l.v IN"
            " (o.text, o.hash)"
        )
    connection.execute(f"""
        DELETE FROM odd_text WHERE name = '{column.name}' AND NOT contains(text, '@')
            AND hash IN (SELECT hash FROM ({rows}) GROUP BY 1 HAVING count(DISTINCT thing) >= {FEWEST_LINES})
    """)


def _odd_objects(connection: duckdb.DuckDBPyConnection, mine: str) -> str:
    """Create `odd_json`: the objects that hold an odd text, and each with the hash in its place; give its name."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE odd_json AS
        SELECT dimensions AS text, json_group_object(k, coalesce(to_json(o.hash), to_json(v)))::VARCHAR AS hash
        FROM (SELECT dimensions, unnest(json_keys(dimensions)) AS k, json_extract_string(dimensions, '/'
            || replace(replace(k, '~', '~0'), '/', '~1')) AS v
            FROM (SELECT DISTINCT dimensions FROM judged WHERE faults = 0 AND dimensions IS NOT NULL))
        LEFT JOIN {mine} o ON o.text = v GROUP BY dimensions HAVING count(o.hash) > 0
    """)
    return "odd_json"


LINE_OF = {"order_line": "order_key", "return_event": "return_line_key", "chain_element": "parcel_key"}
"""What is counted as a line that shares a text, where several rows of a log are about one thing."""


def _texts(column: Column[Any], rows: str, thing: str = "NULL") -> str:
    """Select the texts of a column as `v`, with what each is about as `thing`; of dimensions, their values."""
    if column.info["text"] != "json":
        return f"SELECT {column.name} AS v, {thing} AS thing FROM {rows} WHERE {column.name} IS NOT NULL"
    keys = (
        f"SELECT dimensions, {thing} AS thing, unnest(json_keys(dimensions)) AS k FROM {rows} WHERE"
        " json_valid(dimensions) AND json_type(dimensions) = 'OBJECT'"
    )
    value = "json_extract_string(dimensions, '/' || replace(replace(k, '~', '~0'), '/', '~1'))"
    return f"SELECT {value} AS v, thing FROM ({keys}) WHERE v IS NOT NULL"


def _filled(column: Column[Any], types: dict[str, str]) -> str:
    """Give a column typed, with the default where it was left empty, never where it could not be read."""
    name, kind = column.name, sql_type(column)
    expression = typed_sql(name, kind, types[name]) if name in types else f"NULL::{kind}"
    if column.info["default"] is None:
        return expression
    empty = f"NOT {is_filled(name, types[name])}" if name in types else "true"
    return f"CASE WHEN {empty} THEN {literal(column)} ELSE {expression} END"


def _bits(rules: list[tuple[int, tuple[str, str, str]]]) -> str:
    """Give the set of broken rules, each told by `_broken_<its bit>`; a clean row pays for the conditions alone."""
    if not rules:
        return "0::UBIGINT"
    any_fault = " OR ".join(f"_broken_{i}" for i, _ in rules)
    bits = " + ".join(f"(CASE WHEN _broken_{i} THEN {1 << i} ELSE 0 END)::UBIGINT" for i, _ in rules)
    return f"CASE WHEN {any_fault} THEN {bits} ELSE 0::UBIGINT END"


def _mark_several_contents(connection: duckdb.DuckDBPyConnection, table: Table, bit: int) -> bool:
    """Quarantine the rows of an id that has several contents in one file, none saying when it was recorded.

    Says whether there are any.
    """
    same = identity_of(table)
    several = connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE conflicting AS SELECT {same}, _file FROM judged WHERE faults = 0
            AND NOT is_recorded
        GROUP BY ALL HAVING min(payload_hash) <> max(payload_hash)
    """).fetchall()[0][0]
    if several:
        connection.execute(f"""
            UPDATE judged SET faults = faults + {1 << bit}::UBIGINT, _value
                = {{'text': left({table.info["key"][0]}::VARCHAR, 60), 'is_read': true}}
            FROM conflicting c WHERE judged.{same} = c.{same} AND judged._file = c._file AND faults = 0
                AND NOT is_recorded
        """)
    return bool(several)


def _faults(connection: duckdb.DuckDBPyConnection, table: Table, rules: list[tuple[str, str, str]]) -> list[Fault]:
    """List the quarantined rows, and the first of the rows with fields that could not be read."""

    def broken(mask: int) -> str:
        return ", ".join(
            rule if column == "_broken" else f"{rule} {column}"
            for i, (rule, column, _) in enumerate(rules)
            if mask >> i & 1
        )

    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE shared_value AS SELECT _value.text AS text FROM judged
        WHERE (faults > 0 OR unread > 0) AND NOT _value.is_read AND NOT contains(_value.text, '@')
            AND {PLAIN["label"].format(v="_value.text")}
        GROUP BY 1 HAVING count(DISTINCT {LINE_OF.get(table.name, identity_of(table))}) >= {FEWEST_LINES}
    """)
    value = (
        "CASE WHEN _value.is_read OR _value.text IN (FROM shared_value) THEN _value.text ELSE"
        f" {shape_sql('_value.text')} END"
    )
    listed = []
    key = table.info["key"][0]
    for is_field, mask, where, limit in (
        (False, "faults", "faults > 0", ""),
        (True, "unread", "faults = 0 AND unread > 0", f"LIMIT {MOST_LISTED}"),
    ):
        rows = connection.execute(
            f"SELECT _file, _line, {mask}, {value}, {item_sql(f'{key}::VARCHAR')} FROM judged WHERE {where}"
            f" ORDER BY _file, _line {limit}"
        ).fetchall()
        listed += [
            Fault(table.name, str(f), int(n or 0), broken(m), str(v or ""), is_field, str(item or ""))
            for f, n, m, v, item in rows
        ]
    return listed


def _stage_withdrawn(
    connection: duckdb.DuckDBPyConnection, table: Table, named: NamedRows, namespace: str, export: Export
) -> int:
    """Create `withdrawn`: the rows of earlier exports that this one takes back, newest version; give their number.

    A whole export takes back what does not stand in it. Any export takes back an event or a refund whose date its row
    now leaves blank, unless the row says that it was recorded before the event was.
    """
    if table.name not in REVERSIBLE or not export.earlier or not (export.is_whole or named.blank_sql):
        return 0
    same = identity_of(table)
    taken = ["(is_undated OR (blank_at >= last.recorded_at) OR (blank_at IS NOT NULL AND NOT last.is_recorded))"]
    key = key_sql(f"{quote(namespace + ':')} || {hashed_address(table.info['key'][0])}")
    blank = named.blank_sql or f"SELECT NULL::VARCHAR AS {table.info['key'][0]}, NULL::VARCHAR AS _recorded LIMIT 0"
    if export.is_whole:
        taken.append(f"({_in_span(connection, table, named, export)})")
    kept = ", ".join(c for c in log_columns(table) if c != "is_deleted")
    logged = _rows_of_source(connection, table, namespace, export.earlier)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE withdrawn AS
        WITH last AS (SELECT * FROM ({versions(f"({logged})", same)}) WHERE version_no = 1),
        blank AS (SELECT {key} AS blank_key, bool_or(_recorded IS NULL) AS is_undated,
            max(try_cast(try_cast(_recorded AS TIMESTAMPTZ) AS TIMESTAMP)) AS blank_at FROM ({blank}) GROUP BY 1),
        here AS (SELECT max(exported_at) AS at, max(file_no) AS no FROM judged)
        SELECT {kept}, true AS is_deleted, (md5_number_lower(payload_hash::VARCHAR || 'withdrawn') >> 1)::BIGINT
            AS payload_hash,
            coalesce(here.at, {_latest(export)}) AS exported_at, coalesce(here.no, 0) AS file_no, false AS is_recorded,
                true AS is_withdrawn
        FROM last LEFT JOIN blank ON blank_key = last.{same}, here
        WHERE NOT is_deleted AND {same} NOT IN (SELECT {same} FROM judged WHERE {same} IS NOT NULL)
            AND (last.exported_at IS NULL OR last.exported_at <= coalesce(here.at, {_latest(export)}))
            AND coalesce({" OR ".join(taken)}, false)
    """)
    return int(connection.execute("SELECT count(*) FROM withdrawn").fetchall()[0][0])


def _latest(export: Export) -> str:
    times = [at for _, at in export.files.values()]
    return f"TIMESTAMP '{max(times)}'" if times else "NULL::TIMESTAMP"


SPAN_KEYS = ("order_line_key", "order_key", "return_line_key", "return_key", "parcel_key", "refund_key")


def _in_span(connection: duckdb.DuckDBPyConnection, table: Table, named: NamedRows, export: Export) -> str:
    """Give the condition that a row of an earlier export belongs to the span this one is whole of.

    The log that counts the rows of the files is cut by its own time; what was made from the same rows follows their
    keys.
    """
    if export.since is None and export.until is None:
        return "true"
    if not named.is_derived:
        time = table.info["time"]
        ends = [f"{time} >= TIMESTAMP '{export.since}'"] if export.since else []
        ends += [f"{time} < TIMESTAMP '{export.until}'"] if export.until else []
        return " AND ".join(ends)
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS spanned (kind VARCHAR, key BIGINT)")
    keys = [k for k in SPAN_KEYS if k in keys_of(table)]
    found = [f"{k} IN (SELECT key FROM spanned WHERE kind = '{k}')" for k in keys]
    return " OR ".join(found) or "false"


def _note_span(connection: duckdb.DuckDBPyConnection, table: Table, *, has_withdrawn: bool) -> None:
    """Remember the keys of the rows in the span, for the logs made from the same rows."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS spanned (kind VARCHAR, key BIGINT)")
    for rows in ("judged", *(["withdrawn"] if has_withdrawn else [])):
        for key in (k for k in SPAN_KEYS if k in keys_of(table)):
            connection.execute(
                f"INSERT INTO spanned SELECT DISTINCT '{key}', {key} FROM {rows} WHERE {key} IS NOT NULL"
            )


def _rewrite(condition: str, raw: list[str]) -> str:
    """Point the raw columns of rule conditions at the copies kept beside the typed ones."""
    for name in raw:
        condition = condition.replace(f'"{name}"', f'"raw_{name}"')
    return condition


def _first_value(rules: list[tuple[int, tuple[str, str, str]]], raw: list[str], table: Table, mask: str) -> str:
    """Give the first offending value of a row as SQL, never of a customer.

    And whether it was read as a number or time.
    """
    whens = []
    for i, (_, column, _) in rules:
        if column == "_broken":  # our own words
            whens.append(f"WHEN {mask} & {1 << i} > 0 THEN {{'text': t._broken, 'is_read': true}}")
        if column not in table.columns or table.columns[column].info["text"] in ("customer", "place", "note"):
            continue
        value = f"left({f'raw_{column}' if column in raw else f't.{column}'}::VARCHAR, 60)"
        is_read = f"t.{column} IS NOT NULL" if sql_type(table.columns[column]) != "VARCHAR" else "false"
        if column in ("currency", "quote_currency"):
            is_read = f"regexp_full_match(t.{column}, '[A-Za-z]{{3}}')"
        whens.append(f"WHEN {mask} & {1 << i} > 0 THEN {{'text': {value}, 'is_read': {is_read}}}")
    return f"CASE {' '.join(whens)} END" if whens else "NULL::STRUCT(text VARCHAR, is_read BOOLEAN)"
