"""A build within a scope: what a reader of some markets, brands or shops reads instead of the whole build.

It is a file of its own that holds the rows of the scope and nothing else, so that whatever is asked of it, by whatever
door, is within the scope: no query has to think of it. What is learned from rows (curves, priors, models, prices) is
learned from these rows alone, as if nothing else had been loaded. What several scopes share is shared out over all of
them before: a movement's emissions over its parcels, a parcel's over its lots. What cannot be cut is not there, and
`not_within` of `build_info` names it. Which table is cut how stands in `_FACTS` and `_DIMENSIONS`; a table that stands
in neither is empty.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import duckdb
from filelock import FileLock

from pipelines import estimate
from pipelines.errors import WarehouseMissing
from pipelines.load.log_columns import log_rows
from pipelines.load.shape import coverage, versions
from pipelines.settings import Settings, private
from pipelines.warehouse import build, schema, sql, star, state
from pipelines.warehouse.engine import Build, open_duckdb
from pipelines.warehouse.log_files import Logs
from pipelines.warehouse.scope import EVERYTHING, Scope
from pipelines.warehouse.shards import Shards

Connection = duckdb.DuckDBPyConnection

NO_BRAND = ("refund", "leg", "leg_cost", "mass", "distance", "carrier_invoice")
"""Kinds of fact that no brand has a part of: a refund is of an order, a leg of a parcel."""
_OF_PARCEL = "parcel_key IN (SELECT parcel_key FROM whole_parcel)"
_FACTS = {
    "fact_order_line": "{country} AND {brand} AND {shop_id}",
    "fact_return_line": "{country} AND {brand} AND {shop_id}",
    "fact_return_event": "return_line_key IN (SELECT return_line_key FROM fact_return_line)",
    "fact_return_leg": f"NOT {{of_brand}} AND {_OF_PARCEL}",
    "fact_refund": "NOT {of_brand} AND {country} AND {shop_id}",
    "fact_refund_line": "{country} AND {brand} AND {shop_id}",
    "fact_recovery": "{country} AND {brand} AND {shop_id}",
    "fact_carrier_invoice": f"NOT {{of_brand}} AND {_OF_PARCEL}",
    "fact_carrier_claim": _OF_PARCEL,
    "fact_promised_date": (
        "return_line_key IN (SELECT return_line_key FROM fact_return_line) OR ({country} AND {brand} AND {shop_id}"
        " AND return_line_key NOT IN (SELECT return_line_key FROM whole.fact_return_line))"
    ),
    "fact_fx_rate": "TRUE",
}
"""What a row of each fact must be; after each other, for a later one may ask what is left of an earlier one."""
_SEEN = "SELECT {0} FROM fact_order_line UNION SELECT {0} FROM fact_return_line"
_CARRIERS = f"{_SEEN.format('carrier')} UNION SELECT carrier FROM fact_return_leg"
_COUNTRIES = _SEEN.format("country")
_DIMENSIONS = {
    "dim_product": f"product_key IN ({_SEEN.format('product_key')})",
    "dim_place": (
        "place_key IN (SELECT from_place_key FROM fact_return_leg UNION SELECT to_place_key FROM fact_return_leg)"
        " OR place_id IN (SELECT place_id FROM fact_return_line UNION SELECT place_id FROM fact_return_event)"
    ),
    "dim_policy": (
        f"policy_key IN ({_SEEN.format('policy_key')}) OR (NOT {{elsewhere}} AND (coalesce(market, '') = ''"
        f" OR market IN ({_COUNTRIES})))"
    ),
    "dim_policy_promise": "policy_key IN (SELECT policy_key FROM dim_policy)",
    "dim_carrier_calendar": f"carrier IN ({_CARRIERS}) AND country IN ({_COUNTRIES})",
    "dim_rate_card": (f"carrier IN ({_CARRIERS}) AND (coalesce(country, '') = '' OR country IN ({_COUNTRIES}))"),
    "dim_handling_rate": "place_id IN (SELECT place_id FROM dim_place)",
    "dim_reason": "TRUE",
    "dim_disposition": "TRUE",
    "dim_shop": f"shop_id IN ({_SEEN.format('shop_id')})",
}
"""What is kept of each dimension: what the rows that are left speak of, and what holds for every market."""
_ALLOCATED = {
    "estimate_return_carbon": "return_lot_key IN (SELECT return_lot_key FROM fact_return_line)",
    "estimate_leg_carbon": "leg_key IN (SELECT leg_key FROM fact_return_leg)",
    "estimate_leg_part": "leg_key IN (SELECT leg_key FROM fact_return_leg)",
}
"""Estimates that share out what was used or emitted once: a part of the whole, not a whole of the part."""
_TIMES = {
    "order_line": ("fact_order_line", "ordered_at"),
    "return_event": ("fact_return_event", "occurred_at"),
    "chain_element": ("fact_return_leg", "started_at"),
    "refund": ("fact_refund", "refunded_at"),
    "refund_line": ("fact_refund_line", "refunded_at"),
    "recovery": ("fact_recovery", "recovered_at"),
    "carrier_invoice": ("fact_carrier_invoice", "invoiced_at"),
    "carrier_claim": ("fact_carrier_claim", "opened_at"),
}
_OBSERVED = ("order_line", "return_event", "chain_element", "refund", "refund_line", "recovery")
_KEPT_INFO = ("build_id", "schema_version", "flags", "reporting_currency", "created_at", "kind", "implausible_factors")


def opened(settings: Settings, scope: Scope = EVERYTHING, build_id: str | None = None) -> Build:
    """Open the build readers see, or the one named, for a reader of this scope: the one way in for every door.

    A build within the scope that is not there yet is made first. Raises WarehouseMissing.
    """
    if not scope:
        return build.open_build(settings.warehouse, build_id) if build_id else build.current_build(settings.warehouse)
    if build_id is None:
        with build.current_build(settings.warehouse) as whole:
            build_id = whole.build_id
    path = made(settings, scope, build_id)
    try:
        found = open_duckdb(path)
    except duckdb.Error:
        path.unlink(missing_ok=True)
        found = open_duckdb(made(settings, scope, build_id))
    if found.scope != scope:
        found.close()
        path.unlink(missing_ok=True)
        raise WarehouseMissing(f"The file {path.name} is not what its name says; it was removed. Ask again.")
    return found


def made(settings: Settings, scope: Scope, build_id: str) -> Path:
    """Make the file of a build within a scope, unless it is there; give it."""
    path = build.within_path(settings.warehouse, build_id, scope)
    if path.exists():
        return path
    whole = build.build_path(settings.warehouse, build_id)
    if not whole.is_file():
        raise WarehouseMissing(f"The build {build_id} in {settings.warehouse} is gone. {build.AGAIN}")
    place, brand = scope.only("country", "shop_id"), scope.only("brand")
    with private():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), mode=0o600):
            if path.exists():
                return path
            base = made(settings, place, build_id) if place and brand else whole
            _make(settings, base, path, brand if brand else place, scope)
    return path


def refresh(settings: Settings, scopes: tuple[Scope, ...]) -> None:
    """Make what the readers there are will ask for, and drop what belongs to builds that are gone."""
    build.drop_within(settings.warehouse)
    current = build.current_id(settings.warehouse)
    for scope in scopes if current else ():
        made(settings, scope, str(current))


def _make(settings: Settings, base: Path, path: Path, cut: Scope, scope: Scope) -> None:
    """Cut a build, estimate what is left anew, and put the file in its place in one rename."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    connection = sql.connect(draft, settings, folders=[settings.warehouse])
    try:
        connection.execute(f"ATTACH {sql.quote(base)} AS whole (READ_ONLY)")
        versions.create_tables(connection)
        _cut(connection, cut)
        _known(connection)
        _describe(connection, scope)
        _open_lines(connection, settings)
        estimate.run(connection, settings, Shards(), is_increment=False)
        for table, condition in _ALLOCATED.items():
            _take(connection, table, condition)
        if "brand" in cut.allowed:
            _take(connection, "estimate_return_cost", _ALLOCATED["estimate_return_carbon"])
        connection.execute("DETACH whole; CHECKPOINT")
        connection.close()
        draft.chmod(0o600)
        draft.replace(path)
    finally:
        connection.close()
        draft.unlink(missing_ok=True)


def _cut(connection: Connection, cut: Scope) -> None:
    """Copy the rows within the scope, fact after fact, then what they speak of."""
    of = _conditions(cut)
    inside = " AND ".join(of[n] for n in ("country", "brand", "shop_id"))
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE whole_parcel AS SELECT parcel_key FROM whole.fact_return_line
        WHERE parcel_key IS NOT NULL GROUP BY 1 HAVING bool_and(coalesce({inside}, FALSE))
    """)
    for table, condition in (_FACTS | _DIMENSIONS).items():
        _take(connection, table, condition.format_map(of))
    connection.execute("""
        INSERT INTO dim_customer BY NAME
        SELECT customer_key, c.customer_id, f.country, f.first_ordered_on,
            CASE WHEN f.country = c.country AND f.first_ordered_on = c.first_ordered_on THEN c.area END AS area
        FROM (SELECT customer_key, arg_min(country, (ordered_at, order_line_key)) AS country,
            min(ordered_at)::DATE AS first_ordered_on FROM fact_order_line GROUP BY 1) f
        JOIN whole.dim_customer c USING (customer_key)
    """)


def _conditions(cut: Scope) -> Mapping[str, str]:
    """Write the conditions of a scope by the dimension they are of."""
    found = {
        name: f"{name} IN ({', '.join(map(sql.quote, cut.allowed[name]))})" if name in cut.allowed else "TRUE"
        for name in ("country", "brand", "shop_id")
    }
    of_brand, elsewhere = "brand" in cut.allowed, "country" not in cut.allowed
    return found | {"of_brand": str(of_brand).upper(), "elsewhere": str(elsewhere).upper()}


def _take(connection: Connection, table: str, condition: str) -> None:
    """Copy the rows of a table that a condition holds of, in place of those that are there."""
    connection.execute(
        f"DELETE FROM {table}; INSERT INTO {table} BY NAME SELECT * FROM whole.{table} WHERE {condition}"
    )


def _known(connection: Connection) -> None:
    """Fill what the rows that are left tell of their sources: freshness, coverage, carriers' services."""
    parts = " UNION ALL ".join(
        f"SELECT source, '{thing}' AS thing, count(*) AS rows, max({at}) AS last_occurred_at FROM {table} GROUP BY 1"
        for thing, (table, at) in _TIMES.items()
    )
    connection.execute(f"""
        INSERT INTO build_source BY NAME SELECT * REPLACE (CAST(NULL AS TIMESTAMP) AS last_recorded_at)
        FROM whole.build_source WHERE thing = 'fx_rate' AND source IN (SELECT source FROM ({parts}));
        INSERT INTO build_source BY NAME
        SELECT source, coalesce(w.system, '') AS system, thing, s.rows, s.last_occurred_at, w.last_recorded_at
        FROM ({parts}) s
        LEFT JOIN (SELECT source, thing, CASE WHEN count(*) = 1 THEN min(system) END AS system,
            CAST(NULL AS TIMESTAMP) AS last_recorded_at FROM whole.build_source GROUP BY 1, 2) w USING (source, thing);
        CREATE OR REPLACE TEMP TABLE seen_source AS SELECT * FROM build_source;
    """)
    coverage.shape_known(connection)


def _describe(connection: Connection, scope: Scope) -> None:
    """Describe the build: what it keeps of the whole one's words, its own days and names, its scope."""
    info = dict(connection.execute("SELECT name, value FROM whole.build_info").fetchall())
    sources = {s for (s,) in connection.execute("SELECT DISTINCT source FROM build_source").fetchall()}
    (observed,) = connection.execute(
        f"SELECT max(last_occurred_at) FROM build_source WHERE thing IN ({', '.join(map(sql.quote, _OBSERVED))})"
    ).fetchall()[0]
    own = connection.execute("""
        SELECT DISTINCT unnest(json_keys(dimensions)) AS own FROM (
            SELECT dimensions FROM fact_order_line WHERE dimensions IS NOT NULL
            UNION ALL SELECT dimensions FROM fact_return_line WHERE dimensions IS NOT NULL) ORDER BY 1
    """).fetchall()
    shipping = [s for s in json.loads(info.get("shipping_sources", "[]")) if s in sources]
    told = {name: info[name] for name in _KEPT_INFO if name in info} | {
        "shipping_sources": json.dumps(shipping),
        "observed_until": observed.isoformat() if observed else "",
        "loads": "",
        "own_dimensions": json.dumps([name for (name,) in own]),
        "scope": scope.told,
        "not_within": json.dumps(NO_BRAND if "brand" in scope.allowed else ()),
    }
    assert told["schema_version"] == star.VERSION
    connection.execute(f"INSERT INTO build_info {sql.rows_sql({'name': 'VARCHAR', 'value': 'VARCHAR'}, told.items())}")


def _open_lines(connection: Connection, settings: Settings) -> None:
    """Let the model of returns see the versions of the order lines that are left, as a load does."""
    state_file = state.State(settings.warehouse)
    try:
        loads = [row["load_id"] for row in state_file.loads_with("published")]
        rows = Logs(settings, state_file).sql("order_line", loads)
    finally:
        state_file.close()
    logged = log_rows(connection, schema.order_line, rows)
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW all_order_line AS SELECT * FROM ({logged}) SEMI JOIN fact_order_line"
        " USING (order_line_key)"
    )
