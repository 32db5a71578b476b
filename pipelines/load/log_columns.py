"""What a log keeps of a row, as SQL: its columns, its keys and the hash of what it says. Not here: verdicts on rows."""

from collections.abc import Container, Mapping
from typing import Any

import duckdb
from sqlalchemy import Column, Table

from pipelines.load.contracts import KEYED, PREFIXED, VERSIONED
from pipelines.sources import note_terms_sql
from pipelines.warehouse.sql import key_sql, quote, sql_type


def log_rows(connection: duckdb.DuckDBPyConnection, table: Table, logged: str) -> str:
    """Select the rows of a log, given the SQL for what its files hold.

    What an older file does not hold is NULL, or false.
    """
    held: set[str] = set()
    columns = {c.name: sql_type(c) for c in table.columns}
    columns |= dict.fromkeys(keys_of(table), "BIGINT") | {"payload_hash": "BIGINT", **VERSIONED}
    columns |= {"source": "VARCHAR", "load_id": "VARCHAR"}
    if logged:
        held = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {logged}").fetchall()}
    absent = [f"{'false' if k == 'BOOLEAN' else f'NULL::{k}'} AS {n}" for n, k in columns.items() if n not in held]
    if not logged:
        return f"SELECT {', '.join(absent)} WHERE false"
    return f"SELECT {', '.join(['*', *absent])} FROM {logged}"


def renamed(connection: duckdb.DuckDBPyConnection, table: Table, logged: str, of: Mapping[str, str]) -> str:
    """Select logged rows in which some customers have another hash; their key and what tells versions apart follow.

    `of` gives the new hash, source first, of each old one.
    """
    new = " ".join(f"WHEN {quote(old)} THEN {quote(other)}" for old, other in of.items())
    rows = f"""
        SELECT * REPLACE (CASE customer_id {new} ELSE customer_id END AS customer_id),
            customer_id IN ({", ".join(map(quote, of))}) AS _is_other
        FROM ({log_rows(connection, table, logged)})
    """
    return f"""
        SELECT * EXCLUDE (_is_other) REPLACE ({key_sql("customer_id")} AS customer_key,
            CASE WHEN _is_other AND NOT is_withdrawn THEN {payload_hash_sql(table)} ELSE payload_hash END
                AS payload_hash) FROM ({rows})
    """


def log_columns(table: Table) -> list[str]:
    """List the columns of a log: its own, then its keys."""
    return [*(c.name for c in table.columns), *keys_of(table)]


def keys_of(table: Table) -> dict[str, str]:
    """Give the keys of a log as SQL over its own columns."""
    keys = {f"{c.name.removesuffix('_id')}_key": key_sql(c.name) for c in table.columns if c.name in KEYED}
    if len(identity := table.info["key"]) > 1:
        keys["identity_key"] = key_sql(" || '|' || ".join(f"coalesce({c}::VARCHAR, '')" for c in identity))
    return keys


def payload_hash_sql(table: Table) -> str:
    """Give the hash of all that a row says, as SQL; which system said it does not count."""
    payload = ", ".join(c.name for c in table.columns if c.name != "system")
    return f"(md5_number_lower(concat_ws('|', {payload})) >> 1)::BIGINT"


def log_values(table: Table, namespace: str, given: Container[str], unread: Mapping[str, list[str]]) -> dict[str, str]:
    """Give each column as the log keeps it: ids prefixed, customers hashed, places coarsened, notes as concepts.

    Columns that are not `given` stay empty, or what stands for empty. `unread` holds the conditions under which a field
    is taken for missing.
    """
    columns = {}
    for column in table.columns:
        name, text = column.name, column.info["text"]
        value = f"t.{name}"
        if name not in given and name not in ("recorded_at", "system") and column.info["default"] is None:
            columns[name] = value  # the patterns of notes alone take longer to compile than a small file to read
            continue
        if conditions := unread.get(name):
            otherwise = "NULL" if column.info["default"] is None else literal(column)
            value = f"CASE WHEN {' OR '.join(f'({c})' for c in conditions)} THEN {otherwise} ELSE {value} END"
        if text == "customer":
            value = f"keyed_hash(customer({value}))"
        elif text == "key":
            value = hashed_address(value)
        elif text == "place":
            area = f"coalesce(left(upper(t.country), 2), '') || '-' || left(upper(replace({value}, ' ', '')), 2)"
            is_cut = f"regexp_full_match({value}, '[A-Z]{{2}}-.{{0,2}}')"
            value = f"CASE WHEN {is_cut} THEN {value} WHEN {value} IS NOT NULL THEN {area} END"
        elif text == "note":
            value = note_terms_sql(value)
        elif name in ("latitude", "longitude"):
            value = f"round({value}, 1)"
        elif name == "recorded_at":
            value = f"coalesce({value}, t.{table.info['time']})"
        elif name == "system":
            value = f"coalesce({value}, {quote(namespace)})"
        if name in PREFIXED:
            value = f"{quote(namespace + ':')} || {value}"
        if name in ("currency", "quote_currency", "country", "market"):
            value = f"upper({value})"
        columns[name] = value
    return columns


def hashed_address(value: str) -> str:
    """Give an id, or its keyed hash when it holds an @ and so may be an e-mail address."""
    return f"CASE WHEN contains({value}, '@') THEN keyed_hash({value}) ELSE {value} END"


def literal(column: Column[Any]) -> str:
    """Give the value of a column that is left empty, as SQL."""
    default = column.info["default"]
    return str(default).lower() if isinstance(default, (bool, int)) else quote(default)
