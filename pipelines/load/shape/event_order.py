"""The events of return lines as they count, before lots are made of them: what happened last rules.

Here: stops (cancelled, rejected, expired, lost) that a later event overruled, requests made again, one event delivered
under two ids, parts of kits. Not here: lots and their columns. Most return lines need none of it:
only odd ones are looked at closer.
"""

import duckdb

from pipelines.warehouse.sql import quote, when

STOPS = "('cancelled', 'rejected', 'expired', 'lost')"
GOES_ON = "('requested', 'declared', 'approved', 'label_issued', 'handed_over')"
"""What overrules a stop when it happens after it."""
CAME = "('carrier_scan', 'received', 'inspected', 'refunded', 'credited', 'exchanged', 'restocked', 'disposed')"
"""What overrules a stop when it happens after it or at the same instant: goods or money moved."""
GOODS_CAME = "('carrier_scan', 'received', 'inspected', 'restocked', 'disposed')"
"""What overrules a loss; a refund does not, for lost parcels are refunded."""
AGAIN_SECONDS = 10  # the same of the same units again so soon is one event told twice
SUMMED = ("requested", "received", "inspected", "refunded", "credited", "carrier_scan", "handed_over")


def line_units(asked: str, received: str, inspected: str, refunded: str, most: str) -> str:
    """Give the units of a return line from sums of its events' units.

    What came where that is known, else what was asked. Of a line that is still on its way more may have been asked than
    came so far, so the greatest counts. A unit may be inspected again and refunded in parts: inspections count only
    where nothing was received, refunds only where nothing else is known.
    """
    came = f"greatest(coalesce({asked}, 0), coalesce(nullif({received}, 0), {inspected}, 0))"
    return f"coalesce(nullif({came}, 0), nullif({refunded}, 0), {most})"


def settle(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Create `event_row`: the events of return lines matching `where` (a predicate on return_line_key) as they count.

    Looks at `current_return_event`, `order_row` and `current_bill_of_materials`.
    """
    named = {e: f"event = '{e}'" for e in SUMMED}
    sums = ", ".join(f"coalesce(sum({when(is_it, 'units')}), 0) AS {e}" for e, is_it in named.items())
    repeats = ", ".join(f"count({when(is_it, '1')})" for is_it in named.values())
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE event_sum AS
        SELECT return_line_key, max(order_line_key) AS order_line_key, max(product_key) AS product_key,
            greatest({repeats}) AS repeats,
            bool_or(event IN {STOPS}) AS is_stopped, {sums}, max(occurred_at) AS last_at FROM current_return_event
                WHERE {where} GROUP BY 1;
        CREATE OR REPLACE TEMP TABLE odd_line AS
        SELECT s.*, CASE WHEN o.line_type = 'goods' THEN o.units_ordered - o.units_cancelled END AS sold,
            greatest({", ".join(SUMMED)}) AS most,
            o.units_per_set, o.product_key AS kit_key
        FROM event_sum s LEFT JOIN order_row o USING (order_line_key)
        WHERE is_stopped OR repeats > 1 OR most > sold OR o.units_per_set > 1
            OR (o.product_key, s.product_key) IN (SELECT (product_key, part_key) FROM current_bill_of_materials);
        CREATE OR REPLACE TEMP TABLE part_paid AS
        WITH only_line AS (SELECT order_line_key, min(return_line_key) AS only_key FROM event_sum
            GROUP BY 1 HAVING count(*) = 1),
        paid AS (
            SELECT coalesce(l.return_line_key, n.only_key) AS return_line_key, l.refund_line_key AS event_key,
                'refunded' AS event, l.refunded_at AS occurred_at, l.units
            FROM current_refund_line l LEFT JOIN only_line n ON n.order_line_key
                = CASE WHEN l.return_line_key IS NULL THEN l.order_line_key END WHERE l.units > 0)
        SELECT p.* FROM paid p JOIN event_sum s USING (return_line_key) WHERE s.refunded + s.credited = 0
        QUALIFY sum(p.units) OVER (PARTITION BY return_line_key) < greatest(s.requested, s.received, s.inspected)
    """)
    is_odd, is_part_paid = (
        connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] > 0 for table in ("odd_line", "part_paid")
    )
    rows = f"SELECT * FROM current_return_event WHERE {where}"
    if is_odd:
        _settle_stops(connection)
        _settle_kits(connection)
        rows = f"""SELECT * FROM current_return_event ANTI JOIN odd_line USING (return_line_key) WHERE {where}
            UNION ALL BY NAME SELECT * FROM settled"""
    if is_part_paid:  # the units that money went back for, where only the refund says so
        rows += " UNION ALL BY NAME SELECT * FROM part_paid"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW event_row AS {rows}")


def _settle_stops(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `settled`: events of odd lines without overruled stops, superseded requests and events told twice.

    Told twice is the same of the same units of a line again within ten seconds; where times are days, only beyond what
    was sold.

    With `asked` the most units asked for at one time and `stopped` all units stopped, a stop of n units is overruled
    for as many as went on after it beyond `asked - stopped`, the units that no stop ever concerned.
    """
    _events_once(connection)
    _units_asked(connection)
    _stops_overruled(connection)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE settled AS
        WITH request AS (
            SELECT event_key, units, asked, coalesce(sum(units) OVER (PARTITION BY return_line_key
                ORDER BY place, event_key
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
            FROM (SELECT r.*, a.asked, row_number() OVER (PARTITION BY r.return_line_key
                ORDER BY occurred_at) * CASE WHEN o.return_line_key IS NULL THEN 1 ELSE -1 END AS place
                FROM once r JOIN asked a USING (return_line_key) LEFT JOIN (SELECT DISTINCT return_line_key
                    FROM overruled) o USING (return_line_key)
                WHERE r.event = 'requested')),
        counted AS (
            SELECT event_key, least(units, asked - before) AS units FROM request
            UNION ALL SELECT e.event_key, e.units - coalesce(o.units, 0) FROM once e
                LEFT JOIN overruled o USING (event_key) WHERE e.event <> 'requested')
        SELECT e.* REPLACE (c.units::BIGINT AS units) FROM once e JOIN counted c USING (event_key) WHERE c.units > 0;
        DROP TABLE once; DROP TABLE overruled; DROP TABLE asked
    """)


def _events_once(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `once`: the events of odd lines without those told twice."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE once AS
        SELECT e.* FROM (
            SELECT *, occurred_at - lag(occurred_at) OVER (PARTITION BY return_line_key, event, units, amount,
                parcel_key, place_id, reason_raw, condition, disposition
                ORDER BY occurred_at, event_key) <= INTERVAL {AGAIN_SECONDS} SECOND AS is_again,
                    ({_is_day_only(connection)}) AS is_day_only,
                sum(units) OVER (PARTITION BY return_line_key, event) AS told FROM current_return_event
                    SEMI JOIN odd_line USING (return_line_key)) e
        JOIN odd_line o USING (return_line_key) WHERE is_again IS NOT TRUE OR is_day_only AND told <= coalesce(o.sold,
            told);
        ALTER TABLE once DROP COLUMN is_again;
        ALTER TABLE once DROP COLUMN is_day_only;
        ALTER TABLE once DROP COLUMN told;
    """)


def _units_asked(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `asked`: of each odd line the most units asked for at one time, and all units stopped."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE asked AS
        WITH running AS (
            SELECT return_line_key, sum(CASE WHEN event = 'requested' THEN units ELSE -units END)
                OVER (PARTITION BY return_line_key ORDER BY occurred_at, event = 'requested', event_key) AS open
            FROM once WHERE event IN ('requested', 'cancelled', 'rejected', 'expired')),
        stopped AS (SELECT return_line_key, sum(units) AS stopped FROM once WHERE event IN {STOPS} GROUP BY 1),
        peak AS (SELECT return_line_key, max(open) AS open FROM running GROUP BY 1)
        SELECT return_line_key, least(CASE WHEN p.open > 0 THEN p.open ELSE o.most END, CASE WHEN o.sold > 0
            THEN o.sold END) AS asked, coalesce(stopped, 0) AS stopped
        FROM odd_line o LEFT JOIN peak p USING (return_line_key) LEFT JOIN stopped USING (return_line_key);
    """)


def _stops_overruled(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `overruled`: the stops that later events overruled, and for how many units."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE overruled AS
        WITH later AS (
            SELECT s.event_key, s.return_line_key, s.units, s.occurred_at, g.event, sum(g.units) AS units_on
            FROM once s JOIN once g USING (return_line_key)
            WHERE s.event IN {STOPS} AND CASE WHEN s.event = 'lost' THEN g.event IN {GOODS_CAME} AND g.occurred_at
                >= s.occurred_at
                ELSE g.event IN {CAME} AND g.occurred_at >= s.occurred_at OR g.event IN {GOES_ON} AND g.occurred_at
                    > s.occurred_at END
            GROUP BY ALL)
        SELECT event_key, return_line_key, occurred_at, least(units, went_on, went_on - (asked - stopped)) AS units
        FROM (SELECT event_key, return_line_key, units, occurred_at, max(units_on) AS went_on FROM later
            GROUP BY ALL) JOIN asked USING (return_line_key)
        WHERE went_on > asked - stopped;
    """)


def _is_day_only(connection: duckdb.DuckDBPyConnection) -> str:
    """Give the condition that a time is a day's midnight, in UTC or in a shop's zone.

    Two events of a day may have one time.
    """
    zones = [row[0] for row in connection.execute("SELECT DISTINCT time_zone FROM dim_shop").fetchall()]
    midnights = ["occurred_at::TIME = TIME '00:00'"]
    midnights += [
        f"timezone({quote(zone)}, timezone('UTC', occurred_at))::TIME = TIME '00:00'" for zone in zones if zone
    ]
    return " OR ".join(midnights)


def _settle_kits(connection: duckdb.DuckDBPyConnection) -> None:
    """Hold parts of kits against the kit.

    As many units as the parts that came make up whole, when the last of them came. The line of the part that came last
    carries them; the others count no unit. What is missing of a kit stays in the events.
    """
    if not connection.execute(
        "SELECT count(*) FROM odd_line WHERE units_per_set > 1 OR (kit_key, product_key) IN (SELECT (product_key,"
        " part_key) FROM current_bill_of_materials)"
    ).fetchall()[0][0]:
        return
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE part_line AS
        SELECT o.return_line_key, o.order_line_key, o.product_key, o.last_at, o.units_per_set, b.units AS part_units,
            o.kit_key,
            {line_units("requested", "received", "inspected", "refunded + credited", "most")} AS parts
        FROM odd_line o LEFT JOIN current_bill_of_materials b ON b.product_key = o.kit_key AND b.part_key
            = o.product_key
        WHERE o.units_per_set > 1 OR b.units IS NOT NULL;
        CREATE OR REPLACE TEMP TABLE kit_back AS
        WITH whole AS (
            SELECT order_line_key, min(floor(parts / part_units)) AS kits, count(*) AS kinds, any_value(kit_key)
                AS kit_key FROM (
                SELECT order_line_key, kit_key, product_key, part_units, sum(parts) AS parts FROM part_line
                    WHERE part_units IS NOT NULL GROUP BY ALL) GROUP BY 1
            UNION ALL
            SELECT order_line_key, floor(sum(parts) / any_value(units_per_set)), NULL, NULL FROM part_line
                WHERE part_units IS NULL GROUP BY 1),
        needed AS (SELECT product_key AS kit_key, count(*) AS kinds FROM current_bill_of_materials GROUP BY 1)
        SELECT w.order_line_key, (CASE WHEN w.kinds < n.kinds THEN 0 ELSE w.kits END)::BIGINT AS kits
            FROM whole w LEFT JOIN needed n USING (kit_key);
        CREATE OR REPLACE TEMP TABLE settled AS
        SELECT * FROM settled ANTI JOIN part_line USING (return_line_key)
        UNION ALL
        SELECT s.* REPLACE (k.kits AS units) FROM settled s JOIN part_line p USING (return_line_key)
            JOIN kit_back k ON k.order_line_key = p.order_line_key
        WHERE k.kits > 0 AND s.return_line_key = (SELECT arg_max(return_line_key, (last_at, return_line_key))
            FROM part_line l WHERE l.order_line_key = p.order_line_key)
        QUALIFY row_number() OVER (PARTITION BY s.return_line_key, s.event ORDER BY s.occurred_at DESC, s.event_key)
            = 1;
        DROP TABLE part_line; DROP TABLE kit_back
    """)
