"""Which shard each row of the logs is of: rows that share an order, a return, a parcel or a customer are of one.

Here: the root that each row follows from, by the ids it names, and the rows of each shard as files. Not here: how they
are shaped. The root is the customer, else the order, else the return; a parcel or a refund has that of what it names.
Where rows tie two roots together (a parcel of two customers), both become one; these are few, so they are joined in
memory. Nothing is dropped: what names nothing known is its own root.
"""

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import scipy

from pipelines.errors import CheckFailed
from pipelines.settings import Settings
from pipelines.warehouse import machine
from pipelines.warehouse.sql import quote, read_sql, spill_folder

ROUTED = ("order_line", "return_event", "chain_element", "refund", "refund_line", "recovery", "promised_date")
"""Logs of what happened to orders; the others are few rows that all shards look at."""
_TIED = {
    "order_line": "order_line_key",
    "return_event": "event_key",
    "chain_element": "element_key",
    "refund_line": "refund_line_key",
    "recovery": "recovery_key",
}
"""What tells versions apart, where two of them may name different orders, returns or parcels."""
BASE_MB, SPILLING_MB = 250, 24
"""What shaping needs of memory, beside what DuckDB spills: so much, and by the square root of the logs' megabytes."""
MOST = 64
_BUFFERED = 1 << 16  # rows that wait for a file of each shard


@contextmanager
def folder(settings: Settings) -> Iterator[Path]:
    """Give a folder for the rows of shards: made when it is needed, gone at the end or with the next load."""
    made = spill_folder(settings.warehouse)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def fitting(log_bytes: int, settings: Settings) -> int:
    """Give the fewest shards, a power of two, of which each can be shaped within the memory of the database."""
    room_mb = max(machine.memory_mb(settings) - BASE_MB, BASE_MB / 4)
    needed = log_bytes / machine.MB / (room_mb / SPILLING_MB) ** 2
    return min(1 << math.ceil(math.log2(needed)), MOST) if needed > 1 else 1


def route(connection: duckdb.DuckDBPyConnection, count: int, folder: Path) -> None:
    """Create `shard_<thing>_<number>`: the rows of `all_<thing>` of each shard, as files of `folder`."""
    _link(connection)
    _roots(connection)
    _tie(connection)
    _join(connection)
    connection.execute(f"SET partitioned_write_flush_threshold = {_BUFFERED}")
    for thing, root in _root_of().items():
        rows = f"""
            SELECT r.*, (hash(coalesce(j.root, {root})) % {count})::UTINYINT AS shard
            FROM all_{thing} r {_JOINS[thing]} LEFT JOIN joined_root j ON j.of = {root}"""
        place = folder / thing
        place.mkdir(parents=True)
        connection.execute(f"""
            COPY ({rows}) TO {quote(place)} (FORMAT parquet, COMPRESSION snappy, PARTITION_BY (shard))""")
        for shard in range(count):
            files = sorted(map(str, (place / f"shard={shard}").glob("*")))
            found = f"FROM {read_sql('parquet', files)}" if files else f"FROM all_{thing} WHERE false"
            connection.execute(f"CREATE OR REPLACE TEMP VIEW shard{shard}_{thing} AS {found}")
    for table in _MADE:
        connection.execute(f"DROP TABLE {table}")
    _check_apart(connection, count)


_MADE: tuple[str, ...] = (
    "return_link",
    "refund_link",
    "root_line",
    "root_order",
    "root_return_line",
    "root_return",
    "root_parcel",
)
_MADE += ("root_refund", "tied_root", "joined_root")
_OF_ORDER = "coalesce(r.customer_key, r.order_key, r.order_line_key)"
_OF_REFUND = "coalesce(r.refund_key, r.refund_line_key)"
_JOINS = {
    "order_line": "",
    "return_event": "LEFT JOIN root_return_line n USING (return_line_key)",
    "chain_element": "LEFT JOIN root_parcel p USING (parcel_key)",
    "refund": "LEFT JOIN root_refund f USING (refund_key)",
    "refund_line": f"LEFT JOIN root_refund f ON f.refund_key = {_OF_REFUND}",
    "recovery": "LEFT JOIN root_return_line n USING (return_line_key)",
    "promised_date": "LEFT JOIN root_return_line n USING (return_line_key)",
}


def _root_of() -> Mapping[str, str]:
    """Give the root of a row of each log, by the tables that `_JOINS` joins to it."""
    return {
        "order_line": _OF_ORDER,
        "return_event": "coalesce(n.root, r.return_line_key)",
        "chain_element": "coalesce(p.root, r.parcel_key, r.element_key)",
        "refund": "coalesce(f.root, r.refund_key)",
        "refund_line": f"coalesce(f.root, {_OF_REFUND})",
        "recovery": "coalesce(n.root, r.return_line_key)",
        "promised_date": "coalesce(n.root, r.return_line_key)",
    }


def _link(connection: duckdb.DuckDBPyConnection) -> None:
    """Create what names what: `return_link` by return line, `refund_link` by refund, each pair once."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE return_link AS
        SELECT DISTINCT return_line_key, return_key, order_line_key, parcel_key, customer_key FROM all_return_event
        UNION
        SELECT DISTINCT return_line_key, return_key, order_line_key, NULL, NULL FROM all_promised_date;
        CREATE OR REPLACE TEMP TABLE refund_link AS
        SELECT DISTINCT refund_key, order_key, return_key, NULL::BIGINT AS order_line_key,
            NULL::BIGINT AS return_line_key FROM all_refund
        UNION
        SELECT DISTINCT {_OF_REFUND}, NULL, NULL, order_line_key, return_line_key FROM all_refund_line r
    """)


def _roots(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `root_<of>`: a root of each order, return, parcel and refund; where it has several, the least."""
    known = "coalesce(min(coalesce(l.root, k.order_line_key)), min(k.customer_key), min(k.return_key), return_line_key)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE root_line AS
        SELECT order_line_key, min({_OF_ORDER}) AS root FROM all_order_line r GROUP BY 1;
        CREATE OR REPLACE TEMP TABLE root_order AS
        SELECT order_key, min({_OF_ORDER}) AS root FROM all_order_line r WHERE order_key IS NOT NULL GROUP BY 1;
        CREATE OR REPLACE TEMP TABLE root_return_line AS
        SELECT return_line_key, {known} AS root FROM return_link k LEFT JOIN root_line l USING (order_line_key)
        GROUP BY 1;
        CREATE OR REPLACE TEMP TABLE root_return AS
        SELECT return_key, min(n.root) AS root FROM return_link JOIN root_return_line n USING (return_line_key)
        WHERE return_key IS NOT NULL GROUP BY 1;
        CREATE OR REPLACE TEMP TABLE root_parcel AS
        SELECT parcel_key, min(n.root) AS root FROM return_link JOIN root_return_line n USING (return_line_key)
        WHERE parcel_key IS NOT NULL GROUP BY 1;
        CREATE OR REPLACE TEMP TABLE root_refund AS
        SELECT refund_key, min(root) AS root FROM ({_refund_roots()}) GROUP BY 1
    """)


def _refund_roots() -> str:
    """Select each root that a refund or a line of it names."""
    named = {"order": "o", "return": "t", "order_line": "l", "return_line": "n"}
    tables = {"order_line": "line"}
    return " UNION ALL ".join(
        f"SELECT refund_key, coalesce(x.root, k.{key}_key) AS root FROM refund_link k"
        f" LEFT JOIN root_{tables.get(key, key)} x USING ({key}_key) WHERE k.{key}_key IS NOT NULL"
        for key in named
    )


def _tie(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `tied_root`: pairs of roots that one order, return, parcel, refund or id has."""
    rows = {
        "order": f"SELECT order_key AS key, {_OF_ORDER} AS root FROM all_order_line r",
        "return_line": """
            SELECT return_line_key AS key, unnest([n.root, coalesce(l.root, k.order_line_key), k.customer_key]) AS root
            FROM return_link k JOIN root_return_line n USING (return_line_key)
            LEFT JOIN root_line l USING (order_line_key)""",
        "return": ("SELECT return_key AS key, n.root FROM return_link JOIN root_return_line n USING (return_line_key)"),
        "parcel": "SELECT parcel_key AS key, n.root FROM return_link JOIN root_return_line n USING (return_line_key)",
        "refund": f"SELECT refund_key AS key, root FROM ({_refund_roots()})",
    }
    of = _root_of()
    rows |= {t: f"SELECT {key} AS key, {of[t]} AS root FROM all_{t} r {_JOINS[t]}" for t, key in _TIED.items()}
    pairs = " UNION ".join(
        f"""SELECT DISTINCT least, root FROM ({found}) JOIN (
            SELECT key, min(root) AS least FROM ({found}) WHERE key IS NOT NULL GROUP BY 1 HAVING least <> max(root))
            USING (key) WHERE root <> least"""
        for found in rows.values()
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE tied_root AS {pairs}")


def _join(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `joined_root`: the root that each tied one is taken for, whole chains of pairs as one."""
    pairs = connection.execute("SELECT least, root FROM tied_root").fetchnumpy()
    keys, places = np.unique(np.concatenate([pairs["least"], pairs["root"]]), return_inverse=True)
    ends = places.reshape(2, -1)
    graph = scipy.sparse.coo_matrix((np.ones(ends.shape[1], bool), tuple(ends)), shape=(len(keys),) * 2)
    _, group = scipy.sparse.csgraph.connected_components(graph, directed=False)
    first = np.full(group.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, group, keys)
    connection.register("joined", pa.table({"of": keys, "root": first[group]}))
    connection.execute("CREATE OR REPLACE TEMP TABLE joined_root AS FROM joined")
    connection.unregister("joined")


def _check_apart(connection: duckdb.DuckDBPyConnection, count: int) -> None:
    """Raise CheckFailed where an order, a return, a parcel, a customer or a refund lies in two shards.

    Rows that belong together would be shaped apart.
    """
    for name, things in _TOGETHER.items():
        rows = " UNION ALL ".join(
            f"SELECT {name}_key AS key, {shard} AS shard FROM shard{shard}_{thing} WHERE {name}_key IS NOT NULL"
            for thing in things
            for shard in range(count)
        )
        several = connection.execute(
            f"SELECT key, count(*) OVER () AS rows FROM ({rows}) GROUP BY 1 HAVING min(shard) < max(shard) LIMIT 5"
        ).fetchall()
        if several:
            raise CheckFailed(
                f"{several[0][1]} {name.replace('_', ' ')}s lie in two shards, so their rows would be shaped apart:"
                " nothing was published and readers keep the last build. This is a fault of Backhaul's own; with"
                " BACKHAUL_SHARDS=1 everything is shaped at once.",
                [{f"{name}_key": key} for key, _ in several],
            )


_TOGETHER = {
    "order_line": ("order_line", "return_event", "refund_line", "promised_date"),
    "order": ("order_line", "refund"),
    "customer": ("order_line", "return_event"),
    "return_line": ("return_event", "refund_line", "recovery", "promised_date"),
    "return": ("return_event", "refund", "promised_date"),
    "parcel": ("return_event", "chain_element"),
    "refund": ("refund", "refund_line"),
    "event": ("return_event",),
    "element": ("chain_element",),
}
"""What must lie in one shard, and the logs that name it."""
