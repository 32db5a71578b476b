"""fact_return_line and fact_recovery: lots of a return, their times and what became of them."""

import duckdb

from pipelines.load.shape.event_order import STOPS, line_units, settle
from pipelines.load.shape.lookups import LIES_BY, hour_join, local_day, rate_sql
from pipelines.load.shape.versions import ShapeInputs
from pipelines.warehouse import vocabulary
from pipelines.warehouse.date_order import WAY_BACK, date_fault
from pipelines.warehouse.sql import key_sql, quote, shipped_sql, when

BACK = (
    "('handed_over', 'carrier_scan', 'received', 'inspected', 'refunded', 'credited', 'exchanged', 'restocked',"
    " 'disposed', 'delivery_refused', 'uncollected', 'returned_to_sender')"
)
"""Events that nothing but goods that left can have."""
_STAGE_EVENTS = {
    "declared_at": "event = 'declared'",
    "requested_at": "event IN ('requested', 'declared')",
    "acknowledged_at": "event = 'acknowledged'",
    "approved_at": "event = 'approved'",
    "rejected_at": "event = 'rejected'",
    "label_issued_at": "event = 'label_issued'",
    "handed_over_at": "event = 'handed_over'",
    "carrier_scan_at": "event = 'carrier_scan'",
    "received_at": "event = 'received'",
    "inspected_at": "event = 'inspected'",
    "refunded_at": "event IN ('refunded', 'credited')",
    "exchanged_at": "event = 'exchanged'",
    "restocked_at": "event = 'restocked'",
    "disposed_at": "event = 'disposed'",
    "cancelled_at": "event = 'cancelled'",
    "expired_at": "event = 'expired'",
    "lost_at": "event = 'lost'",
}
_JUDGED = "('inspected')"
_TREATED = "('restocked', 'disposed')"
"""Events of which each unit has one, and another only when it was treated again: they share the units of a line."""


def _last(name: str, events: str = "") -> str:
    """Give a column as the last event has it that says it, of some events or of any."""
    said = when(f"event IN {events}", name) if events else name
    return f"arg_max({said}, (occurred_at, event_key))"


def _of(name: str, *events: str) -> str:
    """Give a column as the events of these names have it."""
    return when(f"event IN ({', '.join(map(quote, events))})", name)


_LOT_ATTRIBUTES = {
    "condition": f"coalesce({_last('condition', _JUDGED)}, {_last('condition')})",
    "inspection_outcome": f"coalesce({_last('inspection_outcome', _JUDGED)}, {_last('inspection_outcome')})",
    "disposition": f"coalesce({_last('disposition', _TREATED)}, {_last('disposition')})",
    "place_id": f"coalesce(min({_of('place_id', 'received')}), min({_of('place_id', 'inspected')}))",
    "parcel_key": "max(parcel_key)",
    "refused_at": f"min({_of('occurred_at', 'delivery_refused', 'uncollected', 'returned_to_sender')})",
    "first_at": "min(occurred_at)",
}


def _out_of_order() -> str:
    """Name the pairs of stages that came in a wrong order.

    A time at midnight is a date, and in order on the day of the other.
    """
    local = "timezone(coalesce(l.time_zone, 'UTC'), timezone('UTC', l.{0}_at))"
    pairs = []
    for _, first, second, _ in WAY_BACK:
        a, b = local.format(first), local.format(second)
        is_date = f"{b}::TIME = TIME '00:00' AND {b}::DATE = {a}::DATE"  # slow, so asked of the few alone
        pairs.append(
            f"CASE WHEN l.{second}_at < l.{first}_at THEN CASE WHEN NOT ({is_date}) THEN '{first}-{second}' END END"
        )
    return f"nullif(concat_ws(' ', {', '.join(pairs)}), '')"


def shape_return_lines(connection: duckdb.DuckDBPyConnection, found: ShapeInputs, where: str = "TRUE") -> None:
    """Insert fact_return_line and fact_return_event for return lines matching `where` (a predicate on return_line_key).

    A line whose events all concern all its units is one lot. Else events are laid over the units 1..n in order of time
    (taken back from the end for units that stop) and cut where any of them ends: the pieces that agree in everything
    are the lots. Treatments are laid one behind the other, whatever they are, and from the first unit again once every
    unit had one, as inspections are: a unit is what was done with it last.
    """
    settle(connection, where)
    _return_lines(connection)
    _lots(connection)
    _payments(connection, found.currency)
    _reasons(connection)
    _parcel_names(connection, where)
    _insert_lots(connection, found.currency)
    connection.execute(f"""
        INSERT INTO fact_return_event BY NAME
        SELECT event_key, return_line_key, return_key, event, occurred_at, recorded_at, units, amount, currency,
            place_id, system, source
        FROM current_return_event WHERE {where};
    """)


def _stages() -> str:
    """Give the columns for the first time of each stage, from events."""
    return ", ".join(f"min({when(events, 'occurred_at')}) AS {name}" for name, events in _STAGE_EVENTS.items())


def _attributes() -> str:
    """Give the columns for what events tell of a lot."""
    return ", ".join(f"{expression} AS {name}" for name, expression in _LOT_ATTRIBUTES.items())


def _return_lines(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `return_line`: one row a return line, with what its events tell and its units."""
    asked, received, inspected = (f"sum({_of('units', e)})" for e in ("requested", "received", "inspected"))
    of_line = line_units(asked, received, inspected, f"sum({_of('units', 'credited', 'refunded')})", "max(units)")
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE return_line AS
        SELECT
            return_line_key,
            any_value(return_line_id) AS return_line_id,
            any_value(source) AS source,
            max(return_key) AS return_key,
            min(return_id) AS return_id,
            max(order_line_key) AS order_line_key,
            min(reason_raw) AS reason_raw,
            min(note_terms) AS note_terms,
            min(return_type) AS return_type,
            coalesce(
                min({_of("method", "handed_over")}),
                min({_of("method", "received")}),
                min(method)
            ) AS method,
            coalesce(min({_of("carrier", "carrier_scan")}), min(carrier)) AS carrier,
            min(product_id) AS product_id,
            max(product_key) AS product_key,
            max(customer_key) AS customer_key,
            min(policy_id) AS policy_id,
            min(country) AS country,
            min(shop_id) AS shop_id,
            max(shop_key) AS shop_key,
            min(channel) AS channel,
            bool_or(event = 'delivery_refused' OR event = 'returned_to_sender') AS is_refused,
            bool_or(event = 'uncollected') AS is_uncollected,
            CASE WHEN count(is_manual) > 0 THEN count({when("is_manual", "1")}) END::INTEGER AS manual_touches,
            min({_of("decline_reason", "rejected")}) AS decline_reason,
            min(dimensions) AS dimensions,
            sum({_of("amount", "credited")}) AS credited_amount,
            min({_of("currency", "credited")}) AS credited_currency,
            min(units) AS fewest,
            {of_line}::INTEGER AS line_units,
            {_stages()},
            {_attributes()}
        FROM event_row
        GROUP BY return_line_key;
    """)


def _pieces() -> str:
    """Give the steps from events to the pieces of split return lines, as CTEs; `piece` holds the units low to high."""
    return f"""
        split AS (
            SELECT return_line_key, line_units FROM return_line WHERE fewest < line_units),
        spread AS (
            SELECT
                e.*,
                s.line_units,
                event IN {_TREATED} OR event IN {_JUDGED} AS is_again,
                sum(units) OVER (
                    PARTITION BY e.return_line_key, CASE WHEN event IN {_TREATED} THEN '' ELSE event END
                    ORDER BY occurred_at, event_key) AS upto
            FROM event_row e JOIN split s USING (return_line_key)),
        laid AS (
            SELECT
                *,
                CASE WHEN event IN {STOPS} THEN greatest(line_units - upto, 0)
                    WHEN is_again THEN (upto - units) % line_units
                    ELSE least(upto - units, line_units) END AS low,
                CASE WHEN event IN {STOPS} THEN greatest(line_units - upto + units, 0)
                    WHEN is_again THEN least((upto - units) % line_units + units, line_units)
                    ELSE least(upto, line_units) END AS high
            FROM spread
            UNION ALL
            SELECT *, 0 AS low, least((upto - units) % line_units + units - line_units, line_units) AS high
            FROM spread WHERE is_again AND (upto - units) % line_units + units > line_units),
        cut AS (
            SELECT return_line_key, low AS edge FROM laid
            UNION SELECT return_line_key, high FROM laid
            UNION SELECT return_line_key, 0 FROM split
            UNION SELECT return_line_key, line_units FROM split),
        piece AS (
            SELECT
                return_line_key,
                edge AS low,
                lead(edge) OVER (PARTITION BY return_line_key ORDER BY edge) AS high
            FROM cut)
    """


def _lots(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `lot`: pieces of a return line that agree in everything as one, with their number, units and stages."""
    names = ", ".join([*_STAGE_EVENTS, *_LOT_ATTRIBUTES])
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE lot AS
        WITH {_pieces()},
        piece_event AS (
            SELECT
                p.return_line_key,
                p.low,
                p.high - p.low AS piece_units,
                l.* EXCLUDE (return_line_key, low, high, units)
            FROM (SELECT * FROM piece WHERE high IS NOT NULL) p
            JOIN laid l ON l.return_line_key = p.return_line_key AND l.low <= p.low AND l.high >= p.high),
        staged AS (
            SELECT return_line_key, low, piece_units AS units, {_stages()}, {_attributes()}
            FROM piece_event
            GROUP BY return_line_key, low, piece_units),
        alike AS (
            SELECT return_line_key, min(low) AS low, sum(units)::INTEGER AS units, {names}
            FROM staged
            GROUP BY ALL)
        SELECT
            return_line_key,
            row_number() OVER (PARTITION BY return_line_key ORDER BY low) AS lot_no,
            * EXCLUDE (return_line_key, low)
        FROM alike
        UNION ALL BY NAME
        SELECT return_line_key, 1 AS lot_no, line_units AS units, {names}
        FROM return_line WHERE fewest >= line_units;
    """)


def _payments(connection: duckdb.DuckDBPyConnection, currency: str) -> None:
    """Create `paid`: what lines of refunds paid back for each return line.

    A line that names only an order line is shared out by units among the return lines of it: those of the return that
    its refund settles, where there are any.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE paid AS
        WITH line AS (
            SELECT l.*, {rate_sql("l.currency", "r", currency)} AS rate, n.return_key AS settled_key
            FROM current_refund_line l
            LEFT JOIN day_rate r ON r.currency = l.currency AND r.day = l.refunded_at::DATE
            LEFT JOIN current_refund f USING (refund_key)
            LEFT JOIN (SELECT DISTINCT order_line_key, return_key FROM return_line) n
                ON n.order_line_key = l.order_line_key AND n.return_key = f.return_key
            WHERE l.units > 0 OR l.restock_type = 'return' OR l.restock_type IS NULL AND l.return_line_key IS NOT NULL),
        of_order AS (
            SELECT order_line_key, return_key AS settled_key, sum(line_units) AS units
            FROM return_line WHERE order_line_key IS NOT NULL
            GROUP BY GROUPING SETS ((order_line_key), (order_line_key, return_key))
            HAVING grouping(return_key) = 1 OR return_key IS NOT NULL),
        of_return AS (
            SELECT
                return_line_key,
                units,
                amount,
                currency,
                rate,
                CASE WHEN units > 0 THEN refunded_at END AS refunded_at
            FROM line WHERE return_line_key IS NOT NULL
            UNION ALL
            SELECT
                r.return_line_key,
                l.units * r.line_units / o.units,
                l.amount * r.line_units / o.units,
                l.currency,
                l.rate,
                CASE WHEN l.units > 0 THEN l.refunded_at END
            FROM line l
            JOIN return_line r ON l.order_line_key = r.order_line_key
                AND (l.settled_key IS NULL OR l.settled_key = r.return_key)
            JOIN of_order o ON o.order_line_key = r.order_line_key
                AND o.settled_key IS NOT DISTINCT FROM l.settled_key
            WHERE l.return_line_key IS NULL)
        SELECT
            return_line_key,
            sum(units) AS units,
            sum(amount) AS amount,
            min(currency) AS currency,
            count(DISTINCT currency) = 1 AS is_one_currency,
            CASE WHEN count(*) = count(rate) THEN sum(amount * rate) END AS reported_amount,
            min(refunded_at) AS refunded_at
        FROM of_return
        SEMI JOIN return_line USING (return_line_key)
        GROUP BY 1;
    """)


def _reasons(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `reason_of`: the reason of each wording of data/reasons.csv."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE reason_of AS
        SELECT lower(trim(raw)) AS raw, min(reason) AS reason
        FROM {shipped_sql("reasons.csv")}
        GROUP BY 1;
    """)


def _parcel_names(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Create `parcel_name`: the id of each parcel of the return lines."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE parcel_name AS
        SELECT parcel_key, min(parcel_id) AS parcel_id
        FROM current_return_event WHERE ({where}) AND parcel_key IS NOT NULL
        GROUP BY 1;
    """)


_LOT_KEYS = """
    t.return_line_key,
    r.return_line_id,
    t.lot_no,
    r.return_key,
    r.return_id,
    o.order_line_key,
    o.order_key,
    t.parcel_key,
    n.parcel_id,
    coalesce(o.customer_key, r.customer_key) AS customer_key,
    coalesce(o.product_key, r.product_key) AS product_key,
    coalesce(o.product_id, r.product_id) AS product_id,
    coalesce(o.shop_key, r.shop_key, s.shop_key) AS shop_key,
    coalesce(o.policy_key, own.policy_key) AS policy_key,
    r.source,
    coalesce(o.shop_id, r.shop_id, s.shop_id) AS shop_id
"""
"""Columns of `_lot_rows`: which lot it is, and whose."""
_LOT_GOODS = """
    coalesce(o.country, r.country) AS country,
    coalesce(o.channel, r.channel) AS channel,
    coalesce(o.category, p.category) AS category,
    coalesce(o.brand, p.brand) AS brand,
    coalesce(o.style_id, p.style_id) AS style_id,
    coalesce(o.size, p.size) AS size,
    coalesce(o.colour, p.colour) AS colour,
    coalesce(o.supplier, p.supplier) AS supplier,
    coalesce(o.season, p.season) AS season,
    o.has_several_sizes,
    o.ordered_on,
    o.clock_started_at,
    coalesce(o.window_days, own.window_days) AS window_days,
    o.window_ends_on,
    coalesce(o.is_exchange, false) AS of_exchange,
    o.date_fault AS order_fault,
    (o.shipped_at + coalesce(ho.ahead, INTERVAL 0 HOUR))::DATE AS shipped_on,
    (o.delivered_at + coalesce(hd.ahead, INTERVAL 0 HOUR))::DATE AS delivered_on,
    coalesce(o.weight_kg, p.weight_kg) AS weight_kg,
    z.time_zone,
    CASE
        WHEN o.dimensions IS NOT NULL AND r.dimensions IS NOT NULL
            THEN json_merge_patch(r.dimensions, o.dimensions)::VARCHAR
        ELSE coalesce(o.dimensions, r.dimensions)
    END AS dimensions
"""
"""Columns of `_lot_rows`: what was sold, by the order line, else by the return line, its product or its shop."""
_LOT_HANDLING = """
    CASE
        WHEN r.is_refused THEN 'refused'
        WHEN r.is_uncollected THEN 'uncollected'
        WHEN r.return_type IS NOT NULL THEN r.return_type
        WHEN t.exchanged_at IS NOT NULL THEN 'exchange'
        ELSE 'withdrawal'
    END AS return_type,
    coalesce(y.reason, CASE WHEN r.reason_raw IS NULL THEN 'unknown' ELSE 'other' END) AS reason,
    r.note_terms,
    r.method,
    r.carrier,
    t.place_id,
    t.condition,
    t.inspection_outcome,
    t.disposition,
    q.outcome,
    r.decline_reason,
    CASE WHEN t.lot_no = 1 THEN r.manual_touches ELSE r.manual_touches * 0 END AS manual_touches,
    t.units
"""
"""Columns of `_lot_rows`: why it came back, how, and what became of it."""
_PAID_AT = "CASE WHEN r.refunded_at IS NULL OR f.units >= r.line_units THEN f.refunded_at END"
"""When lines of refunds paid a lot back."""


def _lot_times() -> str:
    """Give the columns of `_lot_rows` for its stages, and when it was confirmed: the goods or the money moved."""
    stages = ", ".join(
        f"coalesce(t.refunded_at, {_PAID_AT}) AS refunded_at" if name == "refunded_at" else f"t.{name}"
        for name in _STAGE_EVENTS
    )
    return f"""
        {stages},
        t.first_at,
        least(t.carrier_scan_at, t.received_at, t.inspected_at, t.refunded_at, {_PAID_AT}, t.restocked_at,
            t.disposed_at, t.refused_at) AS any_confirmed_at,
        CASE WHEN t.cancelled_at IS NULL AND t.rejected_at IS NULL AND t.expired_at IS NULL THEN
            CASE
                WHEN t.lost_at IS NULL THEN any_confirmed_at
                ELSE least(t.received_at, t.inspected_at, t.refunded_at, {_PAID_AT}, t.restocked_at, t.disposed_at)
            END
        END AS confirmed_at,
        least(t.received_at, t.inspected_at, t.restocked_at, t.disposed_at) AS arrived_at
    """


def _lot_amounts(currency: str) -> str:
    """Give the columns of `_lot_rows` for money: its share of the order line by units, else what was credited."""
    rate = rate_sql("coalesce(r.credited_currency, p.currency, f.currency)", "x", currency)
    return f"""
        coalesce(
            o.net_amount / nullif(o.units_sold + o.units_exchanged_in, 0) * t.units,
            r.credited_amount * t.units / r.line_units
        ) AS net_amount,
        o.vat_amount / nullif(o.units_sold + o.units_exchanged_in, 0) * t.units AS vat_amount,
        coalesce(
            o.cost_amount / nullif(o.units_sold + o.units_exchanged_in, 0),
            CASE WHEN o.order_line_key IS NULL THEN p.unit_cost END
        ) * t.units AS cost_amount,
        coalesce(o.currency, r.credited_currency, p.currency, f.currency) AS lot_currency,
        coalesce(o.fx_rate, {rate}) AS lot_rate,
        CASE
            WHEN f.return_line_key IS NULL THEN r.credited_amount
            WHEN f.is_one_currency AND f.currency = lot_currency THEN f.amount
            ELSE f.reported_amount / lot_rate
        END * CASE
            WHEN t.paid_units IS NULL THEN t.units / r.line_units
            WHEN t.refunded_at IS NOT NULL THEN t.units / t.paid_units
            ELSE 0
        END AS refund_amount
    """


def _lot_rows(currency: str) -> str:
    """Select each lot with its order line, product, shop, policy, payments, reason and rate of exchange."""
    return f"""
        SELECT {_LOT_KEYS}, {_LOT_GOODS}, {_LOT_HANDLING}, {_lot_times()}, {_lot_amounts(currency)}
        FROM (
            SELECT
                *,
                CASE WHEN bool_and(refunded_at IS NOT NULL) OVER line THEN NULL
                    ELSE sum(units) FILTER (refunded_at IS NOT NULL) OVER line END AS paid_units
            FROM lot WINDOW line AS (PARTITION BY return_line_key)) t
        JOIN return_line r USING (return_line_key)
        LEFT JOIN order_row o ON o.order_line_key = r.order_line_key
        LEFT JOIN product_version p
            ON p.product_key = CASE WHEN o.order_line_key IS NULL THEN r.product_key END
            AND t.first_at >= p.valid_from
            AND t.first_at < p.valid_to
        LEFT JOIN only_shop s
            ON s.source = CASE WHEN o.order_line_key IS NULL AND r.shop_key IS NULL THEN r.source END
        LEFT JOIN dim_shop z ON z.shop_key = coalesce(o.shop_key, r.shop_key, s.shop_key)
        LEFT JOIN dim_policy own
            ON own.policy_id = CASE WHEN o.policy_key IS NULL THEN r.policy_id END
            AND t.first_at >= own.valid_from
            AND (own.valid_to IS NULL OR t.first_at < own.valid_to)
        LEFT JOIN paid f USING (return_line_key)
        {hour_join("ho", "o.shipped_at", "z.time_zone")}
        {hour_join("hd", "o.delivered_at", "z.time_zone")}
        LEFT JOIN reason_of y ON y.raw = lower(trim(r.reason_raw))
        LEFT JOIN dim_disposition q ON q.disposition = t.disposition
        LEFT JOIN parcel_name n ON n.parcel_key = t.parcel_key
        LEFT JOIN day_rate x
            ON x.currency = CASE
                WHEN o.order_line_key IS NULL THEN coalesce(r.credited_currency, p.currency, f.currency) END
            AND x.day = t.first_at::DATE
    """


def _insert_lots(connection: duckdb.DuckDBPyConnection, currency: str) -> None:
    """Insert fact_return_line: `_lot_rows` with their keys, local days and faults of dates."""
    headline = ", ".join(quote(v) for v in vocabulary.HEADLINE_RETURN_TYPES)
    moved = local_day("l.any_confirmed_at", "hc")
    days = {
        ("ordered", "returned"): ("l.ordered_on", f"least({local_day('l.first_at', 'hs')}, {moved})"),
        ("shipped", "returned"): ("shipped_on", moved),
        ("delivered", "returned"): ("delivered_on", local_day("l.arrived_at", "hv")),
    }
    connection.execute(f"""
        INSERT INTO fact_return_line BY NAME
        SELECT
            {key_sql("l.return_line_id || '#' || lot_no::VARCHAR")} AS return_lot_key,
            l.* EXCLUDE (first_at, any_confirmed_at, time_zone, of_exchange, order_fault, shipped_on,
                delivered_on, arrived_at, lot_currency, lot_rate),
            l.lot_currency AS currency,
            l.lot_rate AS fx_rate,
            {date_fault("fact_return_line", days, "order_fault")} AS date_fault,
            {_out_of_order()} AS out_of_order,
            l.return_type IN ({headline}) AND NOT l.of_exchange AS is_headline,
            {local_day("coalesce(l.requested_at, l.first_at)", "hr")} AS requested_on,
            CASE WHEN l.confirmed_at IS NOT NULL THEN {local_day("l.confirmed_at", "hc")} END AS confirmed_on,
            CASE WHEN l.refunded_at IS NOT NULL THEN {local_day("l.refunded_at", "hf")} END AS refunded_on
        FROM ({_lot_rows(currency)}) l
        {hour_join("hr", "coalesce(l.requested_at, l.first_at)", "l.time_zone")}
        {hour_join("hs", "l.first_at", "l.time_zone")}
        {hour_join("hc", "l.any_confirmed_at", "l.time_zone")}
        {hour_join("hv", "l.arrived_at", "l.time_zone")}
        {hour_join("hf", "l.refunded_at", "l.time_zone")}
        ORDER BY {LIES_BY};
    """)


def shape_recoveries(connection: duckdb.DuckDBPyConnection, found: ShapeInputs, where: str = "TRUE") -> None:
    """Insert fact_recovery for return lines matching `where` (a predicate on return_line_key)."""
    recovered = local_day("v.recovered_at", "h")
    connection.execute(f"""
        INSERT INTO fact_recovery BY NAME
        SELECT v.recovery_key, v.recovery_id, v.return_line_key, v.recovered_at, {recovered} AS recovered_on,
            v.units, v.disposition, q.outcome, v.grade,
            v.amount, v.treatment_cost, l.unit_cost * v.units AS cost_amount, v.currency,
                {rate_sql("v.currency", "r", found.currency)} AS fx_rate, v.derogation_reason, v.evidence_ref,
            v.waste_treatment, v.is_hazardous,
            l.weight_kg * v.units AS weight_kg, p.hs_chapter, v.source, l.shop_id, l.country, l.channel, l.category,
                l.brand, l.style_id, l.size, l.colour, l.supplier, l.season,
            l.requested_on, l.ordered_on,
            {date_fault("fact_recovery", {("ordered", "recovered"): ("l.ordered_on", recovered)}, "l.date_fault")}
                AS date_fault
        FROM (SELECT * FROM current_recovery WHERE {where}) v
        LEFT JOIN (SELECT return_line_key, min(source) AS source, min(shop_id) AS shop_id, min(country) AS country,
            min(channel) AS channel, min(category) AS category, min(brand) AS brand,
                min(style_id) AS style_id, min(size) AS size, min(colour) AS colour, min(supplier) AS supplier,
                    min(season) AS season, min(requested_on) AS requested_on,
                min(ordered_on) AS ordered_on, min(date_fault) AS date_fault,
                max(cost_amount / units) AS unit_cost, max(weight_kg) AS weight_kg,
                    max(product_key) AS product_key
            FROM fact_return_line WHERE {where} GROUP BY 1) l USING (return_line_key)
        LEFT JOIN product_version p
            ON p.product_key = l.product_key AND v.recovered_at >= p.valid_from AND v.recovered_at < p.valid_to
        LEFT JOIN dim_disposition q ON q.disposition = v.disposition
        LEFT JOIN dim_shop z ON z.shop_id = l.shop_id
        {hour_join("h", "v.recovered_at", "z.time_zone")}
        LEFT JOIN day_rate r ON r.currency = v.currency AND r.day = v.recovered_at::DATE;
    """)
