"""What a line was sold as when it was ordered: the market, channel, tier, policy and category that sources said then.

Here: the versions of order lines and products in the logs, where a later export says something else than the one
nearest to the order. Not here: which policy follows (order_lines.py). A later export corrects what a row says of the
sale for every number, but it does not choose the policy that the customer was sold under: a customer's tier of today,
or the new name of a category, says nothing about the promise of last year (docs/decisions/0042).
"""

import duckdb

_OF_LINE = ("policy_id", "country", "channel", "loyalty_tier")


def as_ordered(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Create `as_ordered`: order lines matching `where` that a source describes otherwise now than when they were sold.

    One row a line (order_line_key) with its policy_id, country, channel, loyalty_tier and category as of the order. Of
    the line's own columns the first export that has the column at all counts, corrected by files of the same time. The
    category is what the product's version was called by the last export before the order, else by the first.
    """
    _said_of_lines(connection, where)
    _said_of_products(connection)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE as_ordered AS
        SELECT o.order_line_key,
            {", ".join(f"CASE WHEN l.order_line_key IS NULL THEN o.{c} ELSE l.{c} END AS {c}" for c in _OF_LINE)},
            CASE WHEN c.product_key IS NULL THEN p.category ELSE coalesce(c.name, c.category) END AS category
        FROM (SELECT * FROM current_order_line WHERE {where}) o
        LEFT JOIN line_said l USING (order_line_key)
        LEFT JOIN product_version p
            ON p.product_key = o.product_key AND o.ordered_at >= p.valid_from AND o.ordered_at < p.valid_to
        LEFT JOIN category_said c
            ON c.product_key = p.product_key AND c.version_at = p.version_at
            AND o.ordered_at >= c.said_from AND o.ordered_at < c.said_to
        WHERE l.order_line_key IS NOT NULL OR c.product_key IS NOT NULL;
        DROP TABLE line_said; DROP TABLE category_said
    """)


def _said_of_lines(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Create `line_said`: of lines with several versions, what the first one said."""
    said = ", ".join(_OF_LINE)
    first = ", ".join(f"arg_min_null({c}, place) FILTER (has_{c}) AS {c}" for c in _OF_LINE)
    has = ", ".join(f"count({c}) OVER (PARTITION BY load_id, file_no) > 0 AS has_{c}" for c in _OF_LINE)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE line_said AS
        WITH other AS (
            SELECT order_line_key FROM several_order_line WHERE NOT is_deleted AND ({where})
            GROUP BY 1 HAVING min(hash({said})) <> max(hash({said})))
        SELECT order_line_key, {first} FROM (
            SELECT *, row_number() OVER (PARTITION BY order_line_key ORDER BY {_TIME}, version_no) AS place
            FROM (
                SELECT *, {has}, bool_and(is_recorded) OVER (PARTITION BY order_line_key) AS is_all_recorded
                FROM several_order_line SEMI JOIN other USING (order_line_key) WHERE NOT is_deleted))
        GROUP BY order_line_key
    """)


def _said_of_products(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `category_said`: what versions of products were called from each export on; `name` where all were renamed.

    A category that no policy of the source names and whose products all bear one other name today is that one.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE category_said AS
        WITH said AS (
            SELECT product_key, source, valid_from AS version_at, {_TIME} AS said_at, category
            FROM (SELECT *, bool_and(is_recorded) OVER (PARTITION BY product_key, valid_from) AS is_all_recorded
                FROM several_product WHERE NOT is_deleted)
            QUALIFY row_number() OVER (PARTITION BY product_key, valid_from, said_at ORDER BY version_no) = 1
                AND min(category) OVER (PARTITION BY product_key, valid_from)
                    <> max(category) OVER (PARTITION BY product_key, valid_from)),
        spell AS (
            SELECT product_key, source, version_at, category,
                CASE WHEN row_number() OVER (PARTITION BY product_key, version_at ORDER BY said_at) = 1
                    THEN TIMESTAMP '0001-01-01' ELSE said_at END AS said_from,
                coalesce(lead(said_at) OVER (PARTITION BY product_key, version_at ORDER BY said_at),
                    TIMESTAMP '9999-01-01') AS said_to
            FROM said),
        now AS (SELECT product_key, category FROM dim_product WHERE is_current),
        renamed AS (
            SELECT s.source, s.category, min(n.category) AS name
            FROM spell s JOIN now n USING (product_key)
            WHERE s.category NOT IN (SELECT category FROM now WHERE category IS NOT NULL)
                AND NOT EXISTS (FROM dim_policy f
                    WHERE f.category = s.category AND split_part(f.policy_id, ':', 1) = s.source)
            GROUP BY ALL HAVING count(DISTINCT n.category) = 1)
        SELECT s.*, r.name FROM spell s LEFT JOIN renamed r USING (source, category)
    """)


_TIME = "CASE WHEN is_all_recorded THEN recorded_at ELSE coalesce(exported_at, TIMESTAMP '0001-01-01') END"
"""When a version was said: recorded, where every version says so, else exported."""
