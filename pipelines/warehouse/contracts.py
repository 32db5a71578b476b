"""Judging: sort a source's named rows into accepted, duplicate and quarantined, in one set-based pass per log.

A contract follows from the log's declaration in `schema.py` (type, required, vocabulary) and from the few rules below. Each
broken rule sets a bit, so a row shows all its faults at once. Accepted rows leave typed, with ids prefixed by their source,
customers hashed, places coarsened and keys made; nothing personal passes. What a row means is not judged here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
from sqlalchemy import Boolean, Column, Date, DateTime, Double, Integer, Numeric, Table

from pipelines.errors import ContractError
from pipelines.sources import Named, note_terms_sql
from pipelines.warehouse import schema

EARLIEST = (
    "1995-01-01"  # before this no web shop sold anything: such a time is a fault, often an empty date read as 1970
)

PREFIXED = {
    "order_line_id", "order_id", "product_id", "customer_id", "shop_id", "exchanged_from_line_id", "policy_id", "event_id",
    "return_line_id", "return_id", "parcel_id", "place_id", "element_id", "from_place_id", "to_place_id", "movement_id", "refund_id",
    "refund_line_id", "recovery_id", "style_id", "invoice_line_id", "invoice_id", "rate_id", "claim_id",
}  # fmt: skip
KEYED = PREFIXED - {"exchanged_from_line_id", "policy_id", "movement_id", "style_id", "invoice_id", "rate_id"}


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


def sql_type(column: Column[Any]) -> str:
    """Give the DuckDB type of a log's column."""
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
    if target == "BIGINT" and given in (
        "VARCHAR",
        "DOUBLE",
        "FLOAT",
    ):  # "2.0" is two units; "2.5" is a fault, not three
        number = f"try_cast({quoted} AS DOUBLE)"
        whole = f"CASE WHEN {number} = floor({number}) THEN try_cast({quoted} AS BIGINT) END"
        return (
            f"CASE WHEN contains({quoted}, '.') THEN {whole} ELSE try_cast({quoted} AS BIGINT) END"
            if given == "VARCHAR"
            else whole
        )
    return f"try_cast({quoted} AS {target})"


def _is_filled(name: str, given: str) -> str:
    """Tell whether a named column holds anything."""
    return f"(nullif(trim(\"{name}\"), '') IS NOT NULL)" if given == "VARCHAR" else f'("{name}" IS NOT NULL)'


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
        target, source = sql_type(column), given[name]
        raw = f'"{name}"'
        filled = _is_filled(name, source)
        if target != "VARCHAR" and source != target:
            kind = "bad_time" if target in ("TIMESTAMP", "DATE") else "bad_number"
            rules.append((kind, name, f"CASE WHEN t.{name} IS NULL THEN {filled} ELSE false END"))
        if target == "TIMESTAMP":
            if source == "VARCHAR":
                rules.append(
                    (
                        "naive_time",
                        name,
                        f"CASE WHEN t.{name} IS NULL OR suffix({raw}, 'Z') THEN false ELSE NOT {_has_zone(name)} END",
                    )
                )
            rules.append(("impossible_time", name, f"t.{name} < TIMESTAMP '{EARLIEST}'"))
            if name not in ("valid_from", "day"):
                rules.append(("future_time", name, f"t.{name} > TIMESTAMP '{landed_at}'"))
        if info["required"]:
            rules.append(("missing", name, f"t.{name} IS NULL" + (f" AND NOT {filled}" if target != "VARCHAR" else "")))
        if info["values"]:
            allowed = ", ".join(f"'{v}'" for v in info["values"])
            rules.append(("unknown_value", name, f"t.{name} NOT IN ({allowed})"))
        if name in ("country", "market"):
            rules.append(("no_country_code", name, f"length(t.{name}) <> 2"))
        if name == "units" or name == "units_cancelled":
            allowed_negative = " AND t.line_type = 'goods'" if table.name == "order_line" else ""
            rules.append(("negative_units", name, f"t.{name} < 0{allowed_negative}"))
    time = table.info["time"]
    if "recorded_at" in given and table.name in ("return_event", "chain_element", "refund", "refund_line", "recovery"):
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
        name, kind = column.name, sql_type(column)
        expression = _typed(name, kind, given[name]) if name in given else f"NULL::{kind}"
        default = column.info["default"]
        if default is not None:
            literal = str(default).lower() if isinstance(default, (bool, int)) else f"'{default}'"
            # the default fills what was left empty, never what could not be read
            empty = f"NOT {_is_filled(name, given[name])}" if name in given else "true"
            expression = f"CASE WHEN {empty} THEN {literal} ELSE {expression} END"
        typed.append(f'{expression} AS "{name}"')
    broken = '"_broken"' if "_broken" in given else "NULL::VARCHAR AS _broken"
    raw = [n for n, k in given.items() if n in table.columns and k != sql_type(table.columns[n])]
    rules = _rules(table, given, landed_at)
    # a clean row pays for the conditions alone; only a faulty one has its faults listed
    any_fault = " OR ".join(f"({condition})" for _, _, condition in rules)
    listed = " + ".join(
        f"(CASE WHEN {condition} THEN {1 << i} ELSE 0 END)::UBIGINT" for i, (_, _, condition) in enumerate(rules)
    )
    faults = _rewrite(f"CASE WHEN {any_fault} THEN {listed} ELSE 0::UBIGINT END", raw)
    kept = _kept(table, namespace, key)
    ids = [c.name for c in table.columns if c.name in KEYED]
    keys = {f"{i.removesuffix('_id')}_key": key_sql(i) for i in ids}
    identity = table.info["key"]
    if len(identity) > 1:
        keys["identity_key"] = key_sql(" || '|' || ".join(f"coalesce({c}::VARCHAR, '')" for c in identity))
    payload = ", ".join(c.name for c in table.columns if c.name != "system")
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE judged AS
        WITH named AS ({named.sql}),
        t AS (SELECT {", ".join(typed)}, _file, _line, {broken}{"".join(f', "{n}" AS "raw_{n}"' for n in raw)} FROM named),
        f AS (SELECT *, {faults} AS faults FROM t),
        o AS (SELECT {", ".join(f"{value} AS {name}" for name, value in kept.items())}, _file, _line, faults,
            CASE WHEN faults > 0 THEN {_first_value(rules, raw, table)} END AS _value FROM f AS t)
        SELECT *, {", ".join(f"{sql} AS {name}" for name, sql in keys.items())}, (md5_number_lower(concat_ws('|', {payload})) >> 1)::BIGINT AS payload_hash FROM o
    """)  # fmt: skip
    read = int(connection.execute("SELECT count(*) FROM judged").fetchall()[0][0])
    bad = connection.execute(
        "SELECT _file, _line, faults, _value FROM judged WHERE faults > 0 ORDER BY _file, _line"
    ).fetchall()
    quarantined = [
        (table.name, str(file), int(line or 0), ", ".join(f"{r} {c}" if c != "_broken" else r for i, (r, c, _) in enumerate(rules) if mask >> i & 1), str(value or ""))
        for file, line, mask, value in bad
    ]  # fmt: skip
    same = identity_of(table)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {same}, payload_hash FROM judged WHERE faults = 0 GROUP BY ALL HAVING count(*) > 1"
    )
    new = "faults = 0"
    if log_files:
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE known AS SELECT {same}, payload_hash FROM read_parquet({log_files!r})
            WHERE source = '{namespace}' AND {same} IN (SELECT {same} FROM judged)
        """)
        new += f" AND ({same}, payload_hash) NOT IN (SELECT ({same}, payload_hash) FROM known)"
    columns = ", ".join([*kept, *keys, "payload_hash"])
    accepted = connection.execute(f"""
        COPY (
            SELECT {columns}, '{namespace}' AS source, '{load_id}' AS load_id FROM (
                SELECT * FROM judged ANTI JOIN repeated USING ({same}, payload_hash) WHERE {new}
                UNION ALL
                SELECT * FROM judged SEMI JOIN repeated USING ({same}, payload_hash) WHERE {new}
                    QUALIFY row_number() OVER (PARTITION BY {same}, payload_hash ORDER BY _file, _line) = 1)
        ) TO '{target}' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 200000)
    """).fetchall()[0][0]
    connection.execute("DROP TABLE judged; DROP TABLE repeated")
    return Judged(
        table.name, read, accepted, read - accepted - len(quarantined), len(quarantined), named.is_derived
    ), quarantined


def identity_of(table: Table) -> str:
    """Name the column that tells a log's things apart.

    >>> identity_of(schema.refund), identity_of(schema.product)
    ('refund_key', 'identity_key')
    """
    key: tuple[str, ...] = table.info["key"]
    return f"{key[0].removesuffix('_id')}_key" if len(key) == 1 else "identity_key"


def _kept(table: Table, namespace: str, key: bytes) -> dict[str, str]:
    """Give each column as the log keeps it: ids prefixed, customers hashed, places coarsened, notes as concepts."""
    kept = {}
    for column in table.columns:
        name, personal = column.name, column.info["personal"]
        value = f"t.{name}"
        if personal == "hash":
            value = hmac_sql(value, key)
        elif personal == "area":
            value = f"CASE WHEN {value} IS NOT NULL THEN coalesce(t.country, '') || '-' || left(upper(replace({value}, ' ', '')), 2) END"
        elif personal == "terms":
            value = note_terms_sql(value)
        elif name in ("latitude", "longitude"):
            value = f"round({value}, 1)"
        elif name == "recorded_at":
            value = f"coalesce({value}, t.{table.info['time']})"
        elif name == "system":
            value = f"coalesce({value}, '{namespace}')"
        if name in PREFIXED:
            value = f"'{namespace}:' || {value}"
        if name in ("currency", "quote_currency", "country", "market"):
            value = f"upper({value})"
        kept[name] = value
    return kept


def _rewrite(condition: str, raw: list[str]) -> str:
    """Point the raw columns of rule conditions at the copies kept beside the typed ones."""
    for name in raw:
        condition = condition.replace(f'"{name}"', f'"raw_{name}"')
    return condition


def _first_value(rules: list[tuple[str, str, str]], raw: list[str], table: Table) -> str:
    """Give the first offending value of a row as SQL, never a personal one."""
    whens = [
        f"WHEN faults & {1 << i} > 0 THEN left({f'raw_{column}' if column in raw else f't.{column}'}::VARCHAR, 60)"
        for i, (_, column, _) in enumerate(rules)
        if column in table.columns and not table.columns[column].info["personal"]
    ]
    return f"CASE {' '.join(whens)} END" if whens else "NULL"
