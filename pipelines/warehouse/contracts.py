"""Judging: sort a source's named rows into accepted, duplicate and quarantined, in one set-based pass per log.

A contract follows from the log's declaration in `schema.py` (type, required, vocabulary) and from the few rules below. Each
broken rule sets a bit, so a row shows all its faults at once. Accepted rows leave typed, with ids prefixed by their source,
customers hashed, places coarsened and keys made; nothing personal passes. What a row means is not judged here.
"""

from dataclasses import dataclass
from datetime import datetime

import duckdb
from sqlalchemy import Boolean, Column, Date, DateTime, Double, Integer, Numeric, Table

from pipelines.errors import ContractError
from pipelines.sources import Named, note_theme_sql
from pipelines.warehouse import schema

EARLIEST = (
    "1995-01-01"  # before this no web shop sold anything: such a time is a fault, often an empty date read as 1970
)

PREFIXED = {
    "order_line_id", "order_id", "product_id", "customer_id", "shop_id", "exchanged_from_line_id", "policy_id", "event_id",
    "return_line_id", "return_id", "parcel_id", "place_id", "element_id", "from_place_id", "to_place_id", "movement_id", "refund_id",
    "refund_line_id", "recovery_id", "style_id",
}  # fmt: skip
KEYED = PREFIXED - {"exchanged_from_line_id", "policy_id", "movement_id", "style_id"}


def key_sql(expression: str) -> str:
    """Give the BIGINT key of a text: the first 63 bits of its md5."""
    return f"(md5_number_upper({expression}) >> 1)::BIGINT"


@dataclass(frozen=True)
class Judged:
    """How the rows of one log were judged."""

    thing: str
    read: int
    accepted: int
    duplicate: int
    quarantined: int
    is_derived: bool = False


def _sql_type(column: Column[object]) -> str:
    kind = column.type
    if isinstance(kind, Numeric) and not isinstance(kind, Double):
        return "DECIMAL(18, 4)"
    return {Integer: "BIGINT", Double: "DOUBLE", Boolean: "BOOLEAN", Date: "DATE", DateTime: "TIMESTAMP"}.get(
        type(kind), "VARCHAR"
    )


def _typed(name: str, target: str, given: str) -> str:
    """Cast a named column to the log's type; what cannot be cast is NULL."""
    quoted = f'"{name}"'
    if given == target:
        return quoted if target != "VARCHAR" else f"nullif(trim({quoted}), '')"
    if target == "VARCHAR":
        return f"nullif(trim({quoted}::VARCHAR), '')"
    if target == "TIMESTAMP":
        if given == "VARCHAR":
            return f"try_cast(try_cast({quoted} AS TIMESTAMPTZ) AS TIMESTAMP)"
        return f"try_cast({quoted} AS TIMESTAMP)"
    if target == "BIGINT" and given in ("VARCHAR", "DOUBLE", "FLOAT"):
        # "2.0" is two units; "2.5" is a fault
        return (
            f"CASE WHEN try_cast({quoted} AS DOUBLE) = floor(try_cast({quoted} AS DOUBLE)) "
            f"THEN try_cast({quoted} AS BIGINT) END"
        )
    return f"try_cast({quoted} AS {target})"


def _has_zone(name: str) -> str:
    """Tell whether a text time has a time of day and ends in Z or an offset."""
    return f"regexp_matches(\"{name}\", ':[0-9]{{2}}([.,][0-9]+)?[ ]*(Z|z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)[ ]*$')"


def _rules(table: Table, given: dict[str, str], landed_at: datetime) -> list[tuple[str, str, str]]:
    """List (rule, column, condition) of a log; a true condition is a fault."""
    rules: list[tuple[str, str, str]] = []
    if "_broken" in given:
        rules.append(("broken_row", "_broken", '"_broken" IS NOT NULL'))
    for column in table.columns:
        name, info = column.name, column.info
        if name not in given:
            continue
        target, source = _sql_type(column), given[name]
        raw = f'"{name}"'
        filled = f"nullif(trim({raw}), '') IS NOT NULL" if source == "VARCHAR" else f"{raw} IS NOT NULL"
        if target != "VARCHAR" and source != target:
            kind = "bad_time" if target in ("TIMESTAMP", "DATE") else "bad_number"
            rules.append((kind, name, f"t.{name} IS NULL AND {filled}"))
        if target == "TIMESTAMP":
            if source == "VARCHAR":
                rules.append(("naive_time", name, f"t.{name} IS NOT NULL AND NOT {_has_zone(name)}"))
            rules.append(("impossible_time", name, f"t.{name} < TIMESTAMP '{EARLIEST}'"))
            if name not in ("valid_from", "day"):
                rules.append(("future_time", name, f"t.{name} > TIMESTAMP '{landed_at}'"))
        if info["required"]:
            rules.append(("missing", name, f"t.{name} IS NULL" + (f" AND NOT {filled}" if target != "VARCHAR" else "")))
        if info["values"]:
            allowed = ", ".join(f"'{v}'" for v in info["values"])
            rules.append(("unknown_value", name, f"t.{name} NOT IN ({allowed})"))
        if name == "units" or name == "units_cancelled":
            allowed_negative = " AND t.line_type = 'goods'" if table.name == "order_line" else ""
            rules.append(("negative_units", name, f"t.{name} < 0{allowed_negative}"))
    time = table.info["time"]
    if "recorded_at" in given and time not in ("valid_from", "day"):
        rules.append(
            (
                "recorded_years_later",
                time,
                f"t.{time} < t.recorded_at - INTERVAL 2 YEAR AND t.{time} >= TIMESTAMP '{EARLIEST}'",
            )
        )
    if table.name == "order_line":
        rules.append(("negative_amount", "net_amount", "t.net_amount < 0 AND t.line_type = 'goods'"))
        rules.append(("missing", "product_id", "t.product_id IS NULL AND t.line_type = 'goods'"))
        rules.append(("cancelled_too_many", "units_cancelled", "t.units_cancelled > t.units AND t.units >= 0"))
    if table.name == "return_event":
        rules.append(("no_units", "units", "t.units = 0"))
    if table.name == "refund":
        rules.append(("negative_amount", "amount", "t.amount < 0"))
    if table.name == "fx_rate":
        rules.append(("not_positive", "rate", "t.rate <= 0"))
    return rules[:63]


def hmac_sql(expression: str, key: bytes) -> str:
    """Give the first 32 hex digits of HMAC-SHA256 (RFC 2104) of a text, as DuckDB SQL."""
    import hashlib

    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = "".join(f"\\x{b ^ 0x36:02X}" for b in block)
    outer = "".join(f"\\x{b ^ 0x5C:02X}" for b in block)
    return f"left(sha256('{outer}'::BLOB || unhex(sha256('{inner}'::BLOB || encode({expression})))), 32)"


def judge(
    connection: duckdb.DuckDBPyConnection,
    named: Named,
    *,
    source: str,
    namespace: str,
    load_id: str,
    landed_at: datetime,
    key: bytes,
    log_files: list[str],
    target: str,
) -> tuple[Judged, list[tuple[str, str, int, str, str]]]:
    """Judge the rows of one log and write the accepted ones to the Parquet file `target`.

    `log_files` are the log's earlier files: a row with the same id and content as one of theirs is a duplicate. Returns the
    counts and the quarantined rows (thing, file, line, rules, value).
    """
    table = schema.LOG.tables.get(named.thing)
    if table is None:
        raise ContractError(f"There is no log named {named.thing}. Logs: {', '.join(schema.LOG.tables)}.")
    given = {r[0]: str(r[1]).upper() for r in connection.execute(f"DESCRIBE ({named.sql})").fetchall()}
    given = {
        n: ("TIMESTAMP" if k in ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_S", "TIMESTAMP_MS") else k)
        for n, k in given.items()
    }
    given = {n: ("DECIMAL(18, 4)" if k == "DECIMAL(18,4)" else k) for n, k in given.items()}
    missing = [c.name for c in table.columns if c.info["required"] and c.name not in given]
    if missing:
        raise ContractError(
            f"{source}: {named.thing} lacks the required column {missing[0]}. Columns given: {', '.join(sorted(given))}."
        )
    typed = []
    for column in table.columns:
        name, kind = column.name, _sql_type(column)
        expression = _typed(name, kind, given[name]) if name in given else f"NULL::{kind}"
        default = column.info["default"]
        if default is not None:
            literal = str(default).lower() if isinstance(default, (bool, int)) else f"'{default}'"
            # the default fills what was left empty, never what could not be read
            empty = (
                "true"
                if name not in given
                else f"nullif(trim(\"{name}\"), '') IS NULL"
                if given[name] == "VARCHAR"
                else f'"{name}" IS NULL'
            )
            expression = f"CASE WHEN {empty} THEN {literal} ELSE {expression} END"
        typed.append(f'{expression} AS "{name}"')
    broken = '"_broken"' if "_broken" in given else "NULL::VARCHAR AS _broken"
    raw_needed = [n for n, k in given.items() if n in table.columns and k != _sql_type(table.columns[n])]
    rules = _rules(table, given, landed_at)
    # a clean row pays for the conditions alone; only a faulty one has its faults listed
    any_fault = " OR ".join(f"coalesce({condition}, false)" for _, _, condition in rules)
    listed = " + ".join(
        f"(CASE WHEN {condition} THEN {1 << i} ELSE 0 END)::UBIGINT" for i, (_, _, condition) in enumerate(rules)
    )
    faults = f"CASE WHEN {any_fault} THEN {listed} ELSE 0::UBIGINT END"
    time = table.info["time"]
    identity = " || '|' || ".join(f"coalesce({c}::VARCHAR, '')" for c in table.info["key"])

    out = []  # the accepted row as the log keeps it
    for column in table.columns:
        name, personal = column.name, column.info["personal"]
        value = f"t.{name}"
        if personal == "hash":
            value = hmac_sql(value, key)
        elif personal == "area":
            value = f"CASE WHEN {value} IS NOT NULL THEN coalesce(t.country, '') || '-' || left(upper(replace({value}, ' ', '')), 2) END"
        elif personal == "theme":
            value = note_theme_sql(value)
        elif name in ("latitude", "longitude"):
            value = f"round({value}, 1)"
        elif name == "recorded_at":
            value = f"coalesce({value}, t.{time})"
        elif name == "system":
            value = f"coalesce({value}, '{namespace}')"
        if name in PREFIXED:
            value = f"'{namespace}:' || {value}"
        if name in ("currency", "quote_currency", "country", "market"):
            value = f"upper({value})"
        out.append(f"{value} AS {name}")
    ids = [c.name for c in table.columns if c.name in KEYED]
    payload = ", ".join(c.name for c in table.columns if c.name != "system")
    connection.execute("DROP TABLE IF EXISTS judged")
    connection.execute(f"""
        CREATE TEMP TABLE judged AS
        WITH named AS ({named.sql}),
        t AS (SELECT {", ".join(typed)}, _file, _line, {broken}{"".join(f', "{n}" AS "raw_{n}"' for n in raw_needed)} FROM named),
        f AS (SELECT t.*, {_rewrite(faults, raw_needed) or "0::UBIGINT"} AS faults FROM t),
        o AS (SELECT {", ".join(out)}, _file, _line, faults{"".join(f", raw_{n}" for n in raw_needed)} FROM f AS t)
        SELECT o.*, {identity} AS source_id, {", ".join(f"{key_sql(i)} AS {i.removesuffix('_id')}_key" for i in ids) or "0 AS no_key"},
            (md5_number_lower(concat_ws('|', {payload})) >> 1)::BIGINT AS payload_hash
        FROM o
    """)  # fmt: skip
    read = int(connection.execute("SELECT count(*) FROM judged").fetchall()[0][0])
    bad = connection.execute(f"""
        SELECT '{named.thing}', _file, _line, faults, {_first_value(rules, raw_needed, table)} FROM judged WHERE faults > 0 ORDER BY _file, _line
    """).fetchall()  # fmt: skip
    quarantined = [
        (t, str(f), int(line or 0), ", ".join(f"{r} {c}" if c != "_broken" else r for i, (r, c, _) in enumerate(rules) if mask >> i & 1), str(value or ""))
        for t, f, line, mask, value in bad
    ]  # fmt: skip
    connection.execute("DROP TABLE IF EXISTS repeated")
    earlier = (
        f"SELECT source_id, payload_hash FROM read_parquet({log_files!r}) WHERE source = '{namespace}'"
        if log_files
        else "SELECT NULL::VARCHAR AS source_id, NULL::BIGINT AS payload_hash WHERE false"
    )
    connection.execute("""
        CREATE TEMP TABLE repeated AS
        SELECT source_id, payload_hash, min(_line) AS first_line, min(_file) AS first_file, false AS is_known
        FROM judged WHERE faults = 0 GROUP BY 1, 2 HAVING count(*) > 1
    """)
    known = ""
    if log_files:
        known = f"AND NOT EXISTS (SELECT 1 FROM ({earlier}) e WHERE e.source_id = j.source_id AND e.payload_hash = j.payload_hash)"
    columns = ", ".join(
        [f"j.{c.name}" for c in table.columns]
        + [f"j.{i.removesuffix('_id')}_key" for i in ids]
        + ["j.source_id", "j.payload_hash"]
    )
    unique = f"SELECT {columns} FROM judged j WHERE faults = 0 {known}"
    if connection.execute("SELECT count(*) FROM repeated").fetchall()[0][0]:
        unique = f"""
            SELECT {columns} FROM judged j ANTI JOIN repeated USING (source_id, payload_hash) WHERE faults = 0 {known}
            UNION ALL
            SELECT {columns.replace("j.", "")} FROM (
                SELECT j.* FROM judged j SEMI JOIN repeated USING (source_id, payload_hash) WHERE faults = 0 {known}
                QUALIFY row_number() OVER (PARTITION BY source_id, payload_hash ORDER BY _file, _line) = 1)
        """
    connection.execute(f"""
        COPY (SELECT *, '{namespace}' AS source, '{load_id}' AS load_id FROM ({unique}))
        TO '{target}' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 200000)
    """)
    accepted = int(connection.execute(f"SELECT count(*) FROM read_parquet('{target}')").fetchall()[0][0])
    connection.execute("DROP TABLE judged; DROP TABLE repeated")
    counts = Judged(named.thing, read, accepted, read - accepted - len(quarantined), len(quarantined), named.is_derived)
    return counts, quarantined


def _rewrite(condition: str, raw: list[str]) -> str:
    """Point the raw columns of rule conditions at the copies kept beside the typed ones."""
    for name in raw:
        condition = condition.replace(f'"{name}"', f'"raw_{name}"')
    return condition


def _first_value(rules: list[tuple[str, str, str]], raw: list[str], table: Table) -> str:
    """Give the first offending value of a row as SQL, never a personal one."""
    whens = []
    for i, (_, column, _) in enumerate(rules):
        if column in table.columns and not table.columns[column].info["personal"]:
            value = f"raw_{column}" if column in raw else column
            whens.append(f"WHEN faults & {1 << i} > 0 THEN left({value}::VARCHAR, 60)")
    return f"CASE {' '.join(whens)} END" if whens else "NULL"
