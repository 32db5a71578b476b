"""Which keys an increment touches, and when so many are touched that everything is built anew."""

import duckdb

from pipelines.load.shape.versions import DIMENSION_LOGS, survivors
from pipelines.warehouse import schema
from pipelines.warehouse.sql import identity_of
from pipelines.warehouse.touched import TOUCHED

SHARE_TO_REBUILD = 0.2  # with more than this share of lines touched a full build is cheaper than an increment


def touch(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the touched_ tables with the keys that new loads change.

    They are touched_order_line, touched_return_line, touched_parcel and touched_refund.

    An order line is touched with its whole order (several sizes), a return line with its order line or refund, a parcel
    with its return lines; what an earlier version of a row named is touched too.
    """

    def given(thing: str, key: str) -> str:
        """Select a key of every version of the things that new loads name."""
        identity = identity_of(schema.LOG.tables[thing])
        return (
            f"SELECT {key} FROM all_{thing} WHERE {key} IS NOT NULL AND {identity} IN (SELECT {identity} FROM"
            f" new_{thing})"
        )

    of_line = "order_line_key IN (SELECT order_line_key FROM touched_order_line)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE touched_order AS SELECT DISTINCT order_key
            FROM ({given("order_line", "order_key")});
        CREATE OR REPLACE TEMP TABLE touched_order_line AS
        SELECT DISTINCT order_line_key FROM all_order_line WHERE order_key IN (SELECT order_key FROM touched_order);
        INSERT INTO touched_order_line SELECT DISTINCT order_line_key FROM all_order_line
            WHERE shipped_at IS NULL AND delivered_at IS NULL
                AND order_line_key IN ({given("return_event", "order_line_key")})
                AND order_line_key NOT IN (SELECT order_line_key FROM touched_order_line);
        CREATE OR REPLACE TEMP TABLE touched_refund AS
        SELECT DISTINCT refund_key FROM (
            SELECT refund_key FROM new_refund UNION ALL {given("refund_line", "refund_key")}
            UNION ALL SELECT refund_key FROM all_refund_line WHERE {of_line}
            UNION ALL SELECT refund_key FROM all_refund WHERE order_key IN (SELECT order_key FROM touched_order));
        CREATE OR REPLACE TEMP TABLE touched_return_line AS
        SELECT DISTINCT return_line_key FROM (
            {given("return_event", "return_line_key")}
            UNION ALL SELECT return_line_key FROM all_return_event WHERE {of_line}
            UNION ALL {given("refund_line", "return_line_key")}
            UNION ALL SELECT return_line_key FROM all_return_event
                WHERE order_line_key IN ({given("refund_line", "order_line_key")}
                    UNION ALL SELECT order_line_key FROM all_refund_line
                        WHERE refund_key IN (SELECT refund_key FROM new_refund))
            UNION ALL {given("recovery", "return_line_key")}
            UNION ALL {given("promised_date", "return_line_key")});
        INSERT INTO touched_refund SELECT DISTINCT refund_key FROM all_refund_line
            WHERE return_line_key IN (SELECT return_line_key FROM touched_return_line)
                AND refund_key NOT IN (SELECT refund_key FROM touched_refund);
        INSERT INTO touched_refund SELECT DISTINCT refund_key FROM all_refund
            WHERE order_key IS NULL AND return_key IN (SELECT return_key FROM all_return_event
                    WHERE return_line_key IN (SELECT return_line_key FROM touched_return_line))
                AND refund_key NOT IN (SELECT refund_key FROM touched_refund);
        CREATE OR REPLACE TEMP TABLE touched_parcel AS
        SELECT DISTINCT parcel_key FROM (
            {given("chain_element", "parcel_key")}
            UNION ALL SELECT parcel_key FROM all_return_event WHERE return_line_key IN (SELECT return_line_key
                FROM touched_return_line) AND parcel_key IS NOT NULL);
    """)


def narrow(connection: duckdb.DuckDBPyConnection) -> None:
    """Point every current_<thing> an increment shapes from at a copy of the rows that touched keys need, read once.

    Every version of a row comes along, even one that belongs elsewhere: the survivor is chosen among all of them.
    """
    line, of_return, parcel, refund = TOUCHED.values()
    wanted = {
        "order_line": (
            f"""order_key IN (SELECT order_key FROM all_order_line WHERE {line}) OR customer_key IN (
            SELECT customer_key FROM all_order_line WHERE {line} AND customer_key IS NOT NULL)"""
        ),
        "return_event": of_return,
        "chain_element": parcel,
        "refund_line": (
            f"{refund} OR {of_return} OR order_line_key IN (SELECT order_line_key FROM narrowed_return_event)"
        ),
        "refund": f"{refund} OR refund_key IN (SELECT refund_key FROM narrowed_refund_line)",
        "recovery": of_return,
        "promised_date": of_return,
    }
    for thing, predicate in wanted.items():
        identity = identity_of(schema.LOG.tables[thing])
        touched = f"{identity} IN (SELECT {identity} FROM all_{thing} WHERE {predicate})"
        rows = f"SELECT * FROM all_{thing} WHERE {touched}"
        if (
            thing == "return_event"
        ):  # only credits need their id: the widest column of the log stays unread without them
            rows = f"""
                SELECT e.*, c.event_id FROM (SELECT * EXCLUDE (event_id, order_line_id) FROM all_return_event
                    WHERE {touched}) e
                LEFT JOIN (SELECT event_key, event_id, payload_hash FROM all_return_event WHERE event = 'credited'
                    AND {touched}) c
                    USING (event_key, payload_hash)
            """
        connection.execute(f"CREATE OR REPLACE TEMP TABLE narrowed_{thing} AS {rows}")
    survivors(connection, wanted, "narrowed")
    survivors(connection, DIMENSION_LOGS)


def touch_estimated(connection: duckdb.DuckDBPyConnection) -> None:
    """Add to touched_leg, touched_lot and touched_return from the facts as they stand.

    Whose estimates go and are made anew. Asked before the facts change and after. Lots are those of touched returns (a
    fee is shared by a return), with whole parcels, and of touched parcels.
    """
    of_return, parcel = TOUCHED["return_line_key"], TOUCHED["parcel_key"]
    connection.execute(f"""
        CREATE TEMP TABLE IF NOT EXISTS last_leg AS SELECT max(rowid) AS row FROM fact_return_leg;
        CREATE TEMP TABLE IF NOT EXISTS touched_leg (leg_key BIGINT);
        CREATE TEMP TABLE IF NOT EXISTS touched_return (return_key BIGINT);
        CREATE TEMP TABLE IF NOT EXISTS touched_lot (return_lot_key BIGINT);
        INSERT INTO touched_leg SELECT leg_key FROM fact_return_leg WHERE {parcel};
        INSERT INTO touched_return SELECT DISTINCT return_key FROM fact_return_line WHERE return_key IS NOT NULL
            AND {of_return}
            UNION SELECT return_key FROM fact_promised_date WHERE {of_return};
        INSERT INTO touched_lot SELECT return_lot_key FROM fact_return_line WHERE {of_return} OR {parcel}
            OR return_key IN (SELECT return_key FROM touched_return)
            OR parcel_key IN (SELECT parcel_key FROM fact_return_line WHERE return_key IN (SELECT return_key
                FROM touched_return));
    """)


def relate(connection: duckdb.DuckDBPyConnection, *, is_increment: bool) -> None:
    """Make order_row: the rows of fact_order_line that return lines and refunds to be shaped look at."""
    if not is_increment:
        connection.execute("CREATE OR REPLACE TEMP VIEW order_row AS SELECT * FROM fact_order_line")
        return
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE order_row AS SELECT * EXCLUDE (order_line_id, order_id) FROM fact_order_line
        WHERE rowid IN (SELECT rowid FROM fact_order_line WHERE order_line_key IN (
            SELECT order_line_key FROM narrowed_return_event UNION SELECT order_line_key FROM narrowed_refund_line
            UNION SELECT order_line_key FROM fact_return_line WHERE return_line_key IN (SELECT return_line_key
                FROM narrowed_refund_line)
            UNION SELECT order_line_key FROM fact_order_line WHERE order_key IN (SELECT order_key
                FROM narrowed_refund)))
    """)


def touched_share(connection: duckdb.DuckDBPyConnection) -> float:
    """Share of order and return lines that are touched."""
    row = connection.execute("""
        SELECT greatest((SELECT count(*) FROM touched_order_line) / greatest((SELECT count(*) FROM fact_order_line), 1),
            (SELECT count(*) FROM touched_return_line) / greatest((SELECT count(*) FROM fact_return_line), 1))
    """).fetchall()[0]
    return float(row[0])
