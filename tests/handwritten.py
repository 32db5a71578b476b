"""Metrics as somebody would write them straight in DuckDB SQL.

What `make bench` measures ours against, and an oracle of their sums. For each metric a typical cut and a query over the
build's tables that gives the groups, the details and the measures of its declared statistics, under the same names.
Written for a shop whose returns name their order line, so nothing is bound by `estimate_credit_match`; everything
recorded has happened, so only due times are held against the observation time.
"""

# T of a source: its latest event.
_OBSERVED = """(SELECT source, max(last_occurred_at) AS t FROM build_source
    WHERE thing IN ('order_line', 'return_event', 'chain_element', 'refund') GROUP BY source)"""
# Units that came back from known sales and count in headline rates.
_BACK = "is_headline AND confirmed_at IS NOT NULL AND ordered_on IS NOT NULL"
_ASKED = "requested_at IS NOT NULL AND return_type IN ('withdrawal', 'commercial', 'exchange')"
_UNDONE = "confirmed_at IS NOT NULL AND ordered_on IS NOT NULL AND return_type NOT IN ('exchange', 'price_adjustment')"
_ORDER_MONTH = "date_trunc('month', ordered_on)::DATE AS month"
_RETURN_MONTH = "date_trunc('month', requested_on)::DATE AS month"
_MARGIN = "(net_amount - cost_amount)::DOUBLE * fx_rate"

# A promise's state at T.
_FROM_RETURN = "(promise_id = 'legal_refund' AND NOT is_requested)::INTEGER AS is_from_return"
_STATE = """CASE WHEN ended_at > due_at THEN 'broken'
    WHEN ended_at IS NOT NULL AND due_at <= t THEN 'kept'
    WHEN ended_at IS NOT NULL AND due_at IS NOT NULL THEN 'undetermined'
    WHEN stopped_at IS NOT NULL AND (due_at IS NULL OR stopped_at <= due_at OR handed_over_at IS NULL)
        THEN if(stopped_by = 'expired', 'expired', 'not_under_promise')
    WHEN due_at <= t AND handed_over_at IS NOT NULL THEN 'broken'
    WHEN due_at IS NULL AND lost_at IS NOT NULL THEN 'not_under_promise'
    ELSE 'undetermined' END AS state"""
_PROMISES = f"estimate_promise JOIN {_OBSERVED} USING (source)"


def _per_sold(by: str, name: str, returned: str) -> str:
    """Lay units of return lines beside units sold."""
    return f"""SELECT {by}, {name}, sold FROM (SELECT {by}, sum(units_sold) AS sold FROM fact_order_line GROUP BY 1)
        FULL JOIN (SELECT {by}, sum(units) AS {name} FROM fact_return_line WHERE {returned} GROUP BY 1) USING ({by})"""


_CURVE = """estimate_development_curve e ON e.source = c.source AND e.category IS NOT DISTINCT FROM c.category
            AND e.channel IS NOT DISTINCT FROM c.channel AND e.window_days IS NOT DISTINCT FROM c.window_days
                AND e.is_dated = (c.window_ends_on IS NOT NULL)
            AND e.day = CASE WHEN c.window_ends_on IS NULL OR date_diff('day', clock, t) <= c.window_days
                THEN date_diff('day', clock, t) WHEN t::DATE <= c.window_ends_on
                THEN c.window_days + (date_diff('day', clock, t) - c.window_days) * 70 // (date_diff('day', clock,
                    c.window_ends_on) - c.window_days)
                ELSE c.window_days + 70 + date_diff('day', c.window_ends_on, t) END"""
_SHARE = "if(clock IS NULL OR clock::DATE > t, 0, coalesce(floor(e.share * 100 + 0.5) / 100, 1)) AS share"
_DOUBT = "coalesce(e.doubt, 0) AS doubt"


def _developed(by: str, group: str, more: dict[str, tuple[str, str]] | None = None, *, by_category: bool = True) -> str:
    """Weigh units by the share of their returns that should be back at their age (in hundredths).

    `more` are further sums; `by_category` keeps categories apart. Few groups: units are counted by the day their clock
    started before the curve is joined.
    """
    extra = more or {}
    cell = "clock_started_at::DATE AS clock, source, category, channel, window_days, window_ends_on"
    of_orders = ["sum(units_sold) AS sold", "NULL AS returned", *(f"{o} AS {n}" for n, (o, _) in extra.items())]
    of_lots = ["NULL", "sum(units)", *(r for _, r in extra.values())]
    family = "c.category AS family, " if by_category else ""
    sums = ", ".join(f"sum(c.{n}) AS {n}" for n in ("sold", "returned", *extra))
    return f"""SELECT c.{by}, {family}{_SHARE}, {_DOUBT}, {sums}
        FROM (SELECT {group}, {cell}, {", ".join(of_orders)} FROM fact_order_line GROUP BY ALL
            UNION ALL SELECT {group}, {cell}, {", ".join(of_lots)} FROM fact_return_line WHERE {_BACK} GROUP BY ALL) c
        JOIN {_OBSERVED} o USING (source) LEFT JOIN {_CURVE} GROUP BY ALL"""


def _developed_finely(by: str, family: bool = False, expected: bool = False) -> str:
    """Do the same for many groups: the curve is joined to each line, for there is little to count before.

    `family` keeps categories apart, `expected` adds the returns expected at order time and the units they were expected
    of.
    """
    keys = f"c.{by}, {_SHARE}" + (", c.category AS family" if family else "")
    names = ["sold", "returned", *(("expected", "scored") if expected else ())]
    of_orders = ["sum(units_sold) AS sold", "NULL AS returned"]
    of_orders += (
        [
            "sum(units_sold * buyer_probability) AS expected",
            "sum(units_sold) FILTER (probability IS NOT NULL) AS scored",
        ]
        if expected
        else []
    )
    chances = "LEFT JOIN estimate_return_probability USING (order_line_key)" if expected else ""
    curve = _CURVE.replace("clock", "clock_started_at")
    keys = keys.replace("clock", "clock_started_at")
    return f"""SELECT {by}, share, {"family," if family else ""} {", ".join(f"sum({n}) AS {n}" for n in names)}
        FROM (SELECT {keys}, {", ".join(of_orders)} FROM fact_order_line c {chances}
            JOIN {_OBSERVED} o USING (source) LEFT JOIN {curve} GROUP BY ALL
            UNION ALL SELECT {keys}, NULL, sum(units){", NULL, NULL" if expected else ""}
            FROM fact_return_line c JOIN {_OBSERVED} o USING (source) LEFT JOIN {curve} WHERE {_BACK} GROUP BY ALL)
        GROUP BY ALL"""


def _monthly(day: str, what: str, name: str, table: str, by: str = "") -> str:
    """Sum by month, and by `by`: counted by day first, for days are cheaper to group by than months."""
    also = f", {by}" if by else ""
    return f"""SELECT date_trunc('month', {day})::DATE AS month{also}, sum({name}) AS {name}
        FROM (SELECT {day}{also}, sum({what}) AS {name} FROM {table} GROUP BY ALL) GROUP BY ALL"""


def _waits(by: str, start: str, end: str, passed: str = "NULL", table: str = "fact_return_line") -> str:
    """Count waits by how they ended (0 done, 1 stopped, 2 lost, -1 passed over, 3 open) and whole hours."""
    is_lot = table == "fact_return_line"
    done = f"{end} >= {start}" if is_lot else f"{end} IS NOT NULL"
    stopped = "least(cancelled_at, rejected_at, expired_at)" if is_lot else "stopped_at"
    by = f"{by}, " if by else ""
    early = f"WHEN {end} < {start} THEN -2" if is_lot and end == "refunded_at" else ""
    return f"""SELECT {by} cause, (greatest(epoch_us(stop) - epoch_us({start}), 0) + 1800000000) // 3600000000 AS hours,
        count(*) AS waits
        FROM (SELECT {by} {start}, CASE {early} WHEN {done} THEN 0 WHEN {stopped} IS NOT NULL THEN 1
            WHEN lost_at IS NOT NULL THEN 2
                WHEN {passed} IS NOT NULL THEN -1 ELSE 3 END AS cause,
                CASE cause WHEN -2 THEN {start} WHEN 0 THEN {end} WHEN 1 THEN {stopped} WHEN 2 THEN lost_at
                    ELSE t END AS stop
            FROM {table} JOIN {_OBSERVED} USING (source) WHERE {start} IS NOT NULL)
        GROUP BY ALL"""


def _stages(*stages: tuple[str, str, str]) -> str:
    """Count the waits of several stages: start, end and what passes over the end."""
    return " UNION ALL ".join(
        f"SELECT '{a}-{b}' AS stage, * FROM ({_waits('', f'{a}_at', f'{b}_at', passed)})" for a, b, passed in stages
    )


def _fate(by: str, outcome: str) -> str:
    """Sum the units inspected and decided, and those of one outcome."""
    return _share(by, f"outcome = '{outcome}'", "inspected_at IS NOT NULL AND outcome IS NOT NULL", "inspected", "fate")


def _share(by: str, part: str, of: str, of_name: str, name: str) -> str:
    """Sum units of return lines twice: all that hold `of`, and those of them that hold `part`."""
    return (
        f"SELECT {by}, sum(units) FILTER ({part}) AS {name}, sum(units) AS {of_name} FROM fact_return_line WHERE {of}"
        " GROUP BY 1"
    )


_LOT_AVOIDED = "fact_return_line JOIN estimate_avoided_carbon USING (return_lot_key)"
_DECIDED = "inspected_at IS NOT NULL AND outcome IS NOT NULL"
_LOT_COST = "fact_return_line JOIN estimate_return_cost USING (return_lot_key)"
_LEG_CARBON = "fact_return_leg JOIN estimate_leg_carbon USING (leg_key)"
_CELL = """factor_id AS u_factor, role AS u_role, CASE WHEN distance_status = 'imputed' THEN
    coalesce(estimate_leg_carbon.distance_type, 'imputed') WHEN distance_status = 'assumed' AND lane_key IN (SELECT
    lane_key FROM dim_lane WHERE method = 'same area') THEN 'same_area' ELSE distance_status END AS u_distance,
    mass_status AS u_mass, if(role = 'customer_trip' AND trip_share IS NULL, 'assumed', NULL) AS u_share"""
_COVERED = "count(*) AS legs, count(*) FILTER (kg_co2e IS NULL) AS unknown"
_NET = "net_amount * fx_rate"
_IN_FLOW = """requested_at IS NOT NULL AND restocked_at IS NULL AND disposed_at IS NULL AND cancelled_at IS NULL
    AND rejected_at IS NULL AND expired_at IS NULL AND lost_at IS NULL AND return_type <> 'price_adjustment'"""
# The way from request to refund in six pieces, each with the days spent in it until it ended, was stopped or T came.
_SEGMENTS = f"""SELECT requested_on, stage, greatest(epoch_us(least(coalesce(done, t), coalesce(paid, t), coalesce(stop,
    t), t)) - epoch_us(begun), 0) / 86400e6 AS days
    FROM (SELECT requested_on, t, paid, least(cancelled_at, rejected_at, expired_at, lost_at) AS stop, unnest([
            {{stage: 'requested-approved', begun: requested_at, done: answered}}, {{stage: 'approved-handed_over',
                begun: answered, done: sent}},
            {{stage: 'handed_over-carrier_scan', begun: sent, done: scanned}}, {{stage: 'carrier_scan-received',
                begun: scanned, done: came}},
            {{stage: 'received-inspected', begun: came, done: looked}}, {{stage: 'inspected-refunded', begun: looked,
                done: paid}}], recursive := true)
        FROM (SELECT *, least(refunded_at, exchanged_at) AS paid, coalesce(inspected_at, restocked_at, disposed_at)
            AS looked, coalesce(received_at, looked) AS came,
                coalesce(carrier_scan_at, came) AS scanned, coalesce(handed_over_at, scanned) AS sent,
                coalesce(approved_at, rejected_at, CASE WHEN coalesce(sent, paid) IS NOT NULL THEN requested_at END)
                    AS answered
            FROM fact_return_line JOIN {_OBSERVED} USING (source) WHERE requested_at IS NOT NULL))
    WHERE begun IS NOT NULL"""
_PASSED_RECEIPT = "coalesce(inspected_at, refunded_at)"
_VALUES = {
    "sold_value": ("sum(net_amount * fx_rate) FILTER (units_sold <> 0)", "NULL"),
    "returned_value": ("NULL", "sum(net_amount * fx_rate)"),
}

_COSTS = {
    "sold_cost": ("sum(cost_amount * fx_rate) FILTER (units_sold <> 0)", "NULL"),
    "returned_cost": ("NULL", "sum(cost_amount * fx_rate)"),
}
_OWED = f"{_BACK} AND refunded_at IS NULL AND exchanged_at IS NULL"

HANDWRITTEN: dict[str, tuple[tuple[str, ...], str]] = {
    # -- what was sold and came back
    "sold_units": (("month",), _monthly("ordered_on", "units_sold", "sold", "fact_order_line")),
    "returned_units": (
        ("month", "category"),
        _monthly("ordered_on", "units", "returned", f"fact_return_line WHERE {_BACK}", "category"),
    ),
    "net_sales": (
        ("month", "country"),
        _monthly(
            "ordered_on", "net_amount * fx_rate", "sold_value", "fact_order_line WHERE units_sold <> 0", "country"
        ),
    ),
    "observed_return_rate": (("category",), _per_sold("category", "returned", _BACK)),
    "maturity": (("channel",), _developed("channel", "channel", by_category=False)),
    "ultimate_return_rate": (("month",), _developed("month", _ORDER_MONTH)),
    "underlying_return_rate": (("category",), _developed("category", "category")),
    "returns_to_come": (("country",), _developed("country", "country")),
    "returns_to_come_value": (("month",), _developed("month", _ORDER_MONTH, _VALUES)),
    "returns_to_come_cost": (("month",), _developed("month", _ORDER_MONTH, _COSTS)),
    "units_owed": (("month",), _monthly("ordered_on", "units", "units_owed", f"fact_return_line WHERE {_OWED}")),
    "refunds_owed": (
        ("month",),
        _monthly("ordered_on", "net_amount * fx_rate", "owed", f"fact_return_line WHERE {_OWED}"),
    ),
    "refunds_owed_cost": (
        ("country",),
        f"SELECT country, sum(cost_amount * fx_rate) AS owed_cost FROM fact_return_line WHERE {_OWED} GROUP BY 1",
    ),
    "window_return_rate": (
        ("category",),
        f"""SELECT category, clock_day, sum(sold) AS sold, sum(returned) AS returned FROM (
                SELECT category, date_diff('day', clock, t) AS clock_day, sold, 0 AS returned FROM (
                    SELECT source, category, clock_started_at::DATE AS clock, sum(units_sold) AS sold
                        FROM fact_order_line GROUP BY ALL
                    UNION ALL SELECT source, category, clock_started_at::DATE, -sum(units) FROM fact_return_line
                        WHERE {_BACK} GROUP BY ALL)
                JOIN {_OBSERVED} USING (source)
                UNION ALL SELECT category, date_diff('day', clock_started_at, confirmed_at), 0, sum(units)
                    FROM fact_return_line WHERE {_BACK} GROUP BY ALL)
            GROUP BY ALL""",
    ),
    "value_return_rate": (
        ("month",),
        f"""SELECT month, returned_value, sold_value
            FROM ({_monthly("ordered_on", _NET, "sold_value", "fact_order_line WHERE units_sold <> 0")})
            FULL JOIN ({_monthly("ordered_on", _NET, "returned_value", f"fact_return_line WHERE {_BACK}")})
            USING (month)""",
    ),
    "order_return_rate": (
        ("country",),
        f"""SELECT country, returned, sold
            FROM (SELECT country, count(DISTINCT order_key) AS sold FROM fact_order_line WHERE units_sold > 0
                GROUP BY 1)
            FULL JOIN (SELECT country, count(DISTINCT order_key) AS returned FROM fact_return_line
                WHERE {_BACK} GROUP BY 1) USING (country)""",
    ),
    "request_rate": (("channel",), _per_sold("channel", "requested", f"{_ASKED} AND ordered_on IS NOT NULL")),
    "period_return_rate": (
        ("month",),
        f"""SELECT month, returned, sold FROM (SELECT {_ORDER_MONTH}, sum(units_sold) AS sold
            FROM fact_order_line GROUP BY 1)
        FULL JOIN (SELECT {_RETURN_MONTH}, sum(units) AS returned FROM fact_return_line WHERE is_headline
            AND confirmed_at IS NOT NULL GROUP BY 1) USING (month)""",
    ),
    "flagged_line_rate": (
        ("category",),
        """SELECT category, count(*) FILTER (return_flag IS NOT NULL) AS flagged, count(*) AS sold,
            count(*) FILTER (return_flag = 'order') AS of_orders,
        count(DISTINCT order_key) FILTER (return_flag = 'order') AS orders FROM fact_order_line
            WHERE units_sold > 0 GROUP BY 1""",
    ),
    "flagged_order_rate": (
        ("country",),
        (
            "SELECT country, count(DISTINCT order_key) FILTER (return_flag IS NOT NULL) AS flagged, count(DISTINCT"
            " order_key) AS sold FROM fact_order_line WHERE units_sold > 0 GROUP BY 1"
        ),
    ),
    "refused_rate": (
        ("country",),
        _per_sold("country", "refused", "return_type IN ('refused', 'uncollected') AND ordered_on IS NOT NULL"),
    ),
    "exchange_rate": (
        ("category",),
        _per_sold(
            "category", "exchanged", "return_type = 'exchange' AND confirmed_at IS NOT NULL AND ordered_on IS NOT NULL"
        ),
    ),
    "conformity_rate": (
        ("brand",),
        _per_sold(
            "brand", "conformity", "return_type = 'conformity' AND confirmed_at IS NOT NULL AND ordered_on IS NOT NULL"
        ),
    ),
    "product_return_rate": (("style_id",), _developed_finely("style_id", family=True)),
    "probability_above_category": (("product_id",), _developed_finely("product_id", family=True)),
    "expected_return_rate": (
        ("style_id",),
        """SELECT style_id, sum(units_sold * probability) AS expected, sum(units_sold) AS scored
            FROM fact_order_line JOIN estimate_return_probability USING (order_line_key) GROUP BY 1""",
    ),
    "own_part": (("style_id",), _developed_finely("style_id", family=True, expected=True)),
    "several_sizes_share": (
        ("category",),
        (
            "SELECT category, sum(units_sold) FILTER (has_several_sizes) AS several, sum(units_sold) AS sold FROM"
            " fact_order_line GROUP BY 1"
        ),
    ),
    "sales_share": (("month", "channel"), _monthly("ordered_on", "units_sold", "sold", "fact_order_line", "channel")),
    "reason_share": (
        ("category", "return_reason"),
        (
            f"SELECT category, reason AS return_reason, sum(units) AS returned FROM fact_return_line WHERE {_BACK}"
            " GROUP BY ALL"
        ),
    ),
    "reason_known_share": (
        ("channel",),
        (
            "SELECT channel, sum(units) FILTER (reason NOT IN ('unknown', 'other')) AS known, sum(units) AS returned"
            f" FROM fact_return_line WHERE {_BACK} GROUP BY 1"
        ),
    ),
    "size_balance": (
        ("style_id",),
        f"""SELECT style_id, sum(units) FILTER (reason = 'size_small') AS small, sum(units) FILTER (reason
            = 'size_large') AS large
            FROM fact_return_line WHERE reason IN ('size_small', 'size_large') AND {_BACK} GROUP BY 1""",
    ),
    # -- workload
    "requested_units": (
        ("day",),
        f"SELECT requested_on AS day, sum(units) AS requested FROM fact_return_line WHERE {_ASKED} GROUP BY 1",
    ),
    "confirmed_units": (
        ("week",),
        (
            "SELECT date_trunc('week', requested_on)::DATE AS week, sum(units) AS confirmed FROM fact_return_line WHERE"
            " is_headline AND confirmed_at IS NOT NULL GROUP BY 1"
        ),
    ),
    "all_returned_units": (
        ("return_type",),
        'SELECT return_type, sum(units) AS "all" FROM fact_return_line WHERE confirmed_at IS NOT NULL GROUP BY 1',
    ),
    "refunded_units": (
        ("month",),
        _monthly(
            "refunded_on",
            "units",
            "refunded",
            "fact_return_line WHERE is_headline AND confirmed_at IS NOT NULL AND refunded_at IS NOT NULL",
        ),
    ),
    "received_units": (
        ("place_id",),
        "SELECT place_id, sum(units) AS received FROM fact_return_line WHERE received_at IS NOT NULL"
        " AND return_type NOT IN ('refused', 'uncollected') GROUP BY 1",
    ),
    "open_returns": (
        ("stage",),
        """SELECT CASE WHEN inspected_at IS NOT NULL THEN 'inspected' WHEN received_at IS NOT NULL THEN 'received'
                WHEN handed_over_at IS NOT NULL OR carrier_scan_at IS NOT NULL THEN 'under_way' ELSE 'requested' END
                    AS stage, sum(units) AS open
            FROM fact_return_line WHERE coalesce(requested_at, handed_over_at, carrier_scan_at) IS NOT NULL
                AND refunded_at IS NULL AND exchanged_at IS NULL
                AND cancelled_at IS NULL AND rejected_at IS NULL AND expired_at IS NULL AND lost_at IS NULL
                    AND return_type <> 'price_adjustment' GROUP BY 1""",
    ),
    "dock_backlog": (
        ("place_id",),
        """SELECT place_id, sum(units) AS waiting FROM fact_return_line
            WHERE received_at IS NOT NULL AND inspected_at IS NULL AND restocked_at IS NULL AND disposed_at IS NULL
                AND lost_at IS NULL GROUP BY 1""",
    ),
    "inspection_mismatch_rate": (
        ("category",),
        _share(
            "category",
            "inspection_outcome <> 'match'",
            "inspected_at IS NOT NULL AND inspection_outcome IS NOT NULL",
            "inspected",
            "mismatched",
        ),
    ),
    "refunded_before_inspection": (
        ("country",),
        """SELECT country, sum(refund_amount * fx_rate) AS early FROM fact_return_line
            WHERE requested_at IS NOT NULL AND refunded_at IS NOT NULL AND (inspected_at IS NULL OR inspected_at
                > refunded_at) GROUP BY 1""",
    ),
    "missing_scan_share": (
        ("carrier",),
        _share(
            "carrier", "carrier_scan_at IS NULL", "received_at IS NOT NULL AND method <> 'store'", "received", "missing"
        ),
    ),
    "lost_share": (
        ("carrier",),
        _share(
            "carrier",
            "lost_at IS NOT NULL",
            "handed_over_at IS NOT NULL OR carrier_scan_at IS NOT NULL OR lost_at IS NOT NULL",
            "handed_over",
            "lost",
        ),
    ),
    "approval_rate": (
        ("month",),
        _share(
            _RETURN_MONTH,
            "rejected_at IS NULL",
            "approved_at IS NOT NULL OR rejected_at IS NOT NULL",
            "decided",
            "approved",
        ),
    ),
    "cancelled_share": (("method",), _share("method", "cancelled_at IS NOT NULL", _ASKED, "requested", "cancelled")),
    "expired_share": (("country",), _share("country", "expired_at IS NOT NULL", _ASKED, "requested", "expired")),
    # -- data
    "unmatched_credits": (
        ("country",),
        "SELECT country, sum(units) AS unmatched FROM fact_return_line WHERE order_line_key IS NULL GROUP BY 1",
    ),
    "unmatched_credit_value": (
        ("month",),
        (
            f"SELECT {_RETURN_MONTH}, sum(net_amount * fx_rate) AS unmatched_value FROM fact_return_line WHERE"
            " order_line_key IS NULL GROUP BY 1"
        ),
    ),
    "cancellations": (
        ("country",),
        "SELECT country, sum(units_cancelled) AS cancelled FROM fact_order_line GROUP BY 1",
    ),
    # -- promises
    "promise_kept": (
        ("promise_id",),
        f"SELECT promise_id, {_STATE}, {_FROM_RETURN}, count(*) AS returns FROM {_PROMISES} GROUP BY ALL",
    ),
    "promise_broken": (("carrier",), f"SELECT carrier, {_STATE}, count(*) AS returns FROM {_PROMISES} GROUP BY ALL"),
    "promise_undetermined": (
        ("country",),
        f"SELECT country, {_STATE}, count(*) AS returns FROM {_PROMISES} GROUP BY ALL",
    ),
    "promise_expired": (
        ("month",),
        f"SELECT {_RETURN_MONTH}, {_STATE}, count(*) AS returns FROM {_PROMISES} GROUP BY ALL",
    ),
    "legal_refund_kept": (
        ("country",),
        (
            f"SELECT country, {_STATE}, {_FROM_RETURN}, count(*) AS returns FROM {_PROMISES} WHERE promise_id ="
            " 'legal_refund' GROUP BY ALL"
        ),
    ),
    "refunds_due_soon": (
        ("country",),
        f"""SELECT country, count(*) AS due FROM {_PROMISES}
            WHERE promise_id = 'legal_refund' AND ended_at IS NULL AND stopped_at IS NULL AND due_at > t
                AND due_at <= t + INTERVAL 5 DAY GROUP BY 1""",
    ),
    "late_refund_surcharge": (
        ("month",),
        f"""WITH late AS (
            SELECT date_trunc('month', r.requested_on)::DATE AS month,
                (r.net_amount + r.vat_amount)::DOUBLE * r.fx_rate AS price,
                timezone('Europe/Paris', timezone('UTC', p.due_at))::DATE AS last_on,
                timezone('Europe/Paris', timezone('UTC', t))::DATE AS today
            FROM fact_return_line r JOIN estimate_promise p ON p.return_key = r.return_key
            JOIN {_OBSERVED} o ON o.source = r.source
            WHERE p.promise_id = 'legal_refund' AND p.country = 'FR' AND p.due_at < t AND p.ended_at IS NULL
                AND p.date_fault IS NULL AND r.date_fault IS NULL AND r.return_type = 'withdrawal'
                AND coalesce(refunded_at, exchanged_at, cancelled_at, rejected_at, expired_at) IS NULL)
            SELECT month, 0.0 AS assumed, sum(price * CASE
                WHEN today - last_on <= 10 THEN (today - last_on) * .0667 / 365
                WHEN today - last_on <= 20 THEN .05 WHEN today - last_on <= 30 THEN .1
                WHEN today - last_on <= 60 THEN .2 WHEN today - last_on <= 90 THEN .5
                ELSE least(.55 + .05 * datesub('month', last_on + 90, today - 1), 1) END) AS surcharge
            FROM late GROUP BY 1""",
    ),
    "stage_days": (
        ("stage",),
        _stages(
            (
                "requested",
                "approved",
                "coalesce(handed_over_at, carrier_scan_at, received_at, inspected_at, refunded_at)",
            ),
            ("requested", "handed_over", "coalesce(carrier_scan_at, received_at, inspected_at, refunded_at)"),
            ("handed_over", "carrier_scan", "coalesce(received_at, inspected_at, refunded_at)"),
            ("carrier_scan", "received", _PASSED_RECEIPT),
            ("received", "inspected", "refunded_at"),
            ("inspected", "refunded", "exchanged_at"),
            ("inspected", "restocked", "disposed_at"),
        ),
    ),
    "days_to_refund": (
        ("carrier",),
        f"SELECT *, 0 AS is_from_return FROM ({_waits('carrier', 'requested_at', 'refunded_at', 'exchanged_at')})",
    ),
    "days_to_refund_from_receipt": (("place_id",), _waits("place_id", "received_at", "refunded_at", "exchanged_at")),
    "days_to_restock": (
        ("category",),
        f"SELECT *, 0 AS is_from_return FROM ({_waits('category', 'requested_at', 'restocked_at', 'disposed_at')})",
    ),
    "days_to_restock_from_receipt": (("place_id",), _waits("place_id", "received_at", "restocked_at", "disposed_at")),
    "promise_at": (
        ("promise_id",),
        f"""SELECT promise_id, cause, unit_of, took, count(*) AS waits FROM (
            SELECT promise_id, duration_unit AS unit_of, CASE WHEN ended_at IS NOT NULL THEN 0
                WHEN stopped_at IS NOT NULL THEN 1 WHEN lost_at IS NOT NULL THEN 2 ELSE 3 END AS cause,
                greatest(CASE WHEN duration_unit = 'clock_hours' THEN ceil(greatest(epoch_us(coalesce(ended_at,
                    stopped_at, lost_at, t)) - epoch_us(started_at), 0) / 3600e6)
                    WHEN duration_unit IN ('business_days', 'carrier_days') THEN e.business_day_no - started_no
                        + if(e.is_business_day, 0, 1)
                    ELSE coalesce(closed_on, t::DATE) - started_on END, 0)::DOUBLE AS took
            FROM estimate_promise p JOIN {_OBSERVED} USING (source)
            LEFT JOIN dim_day e ON e.country = coalesce(p.country, '') AND e.carrier = p.calendar_carrier
                AND e.day = coalesce(closed_on, t::DATE) WHERE started_at IS NOT NULL)
            GROUP BY ALL""",
    ),
    "breach_risk": (
        ("carrier",),
        (
            "SELECT carrier, sum(probability) AS expected, count(*) AS open FROM estimate_promise JOIN"
            " estimate_breach_risk USING (return_key, promise_id) GROUP BY 1"
        ),
    ),
    "days_waited": (("month",), f"SELECT {_RETURN_MONTH}, sum(days) AS days FROM ({_SEGMENTS}) GROUP BY 1"),
    "stage_time_share": (("stage",), f"SELECT stage, sum(days) AS days FROM ({_SEGMENTS}) GROUP BY 1"),
    "stage_reached": (
        ("stage",),
        """SELECT column_name.replace('_at', '') AS stage, sum(units) AS reached FROM (UNPIVOT (SELECT units,
            requested_at, approved_at, handed_over_at, carrier_scan_at, received_at,
                inspected_at, refunded_at, restocked_at, cancelled_at, rejected_at, expired_at, lost_at
                    FROM fact_return_line WHERE requested_at IS NOT NULL)
            ON COLUMNS(* EXCLUDE units) INTO NAME column_name VALUE reached_at) GROUP BY 1""",
    ),
    "decline_share": (
        ("decline_reason",),
        "SELECT decline_reason, sum(units) AS declined FROM fact_return_line WHERE rejected_at IS NOT NULL GROUP BY 1",
    ),
    "manual_touches": (
        ("month",),
        (
            f"SELECT {_RETURN_MONTH}, sum(manual_touches) AS touches, count(*) AS lines FROM fact_return_line WHERE"
            " lot_no = 1 AND manual_touches IS NOT NULL GROUP BY 1"
        ),
    ),
    "no_touch_share": (
        ("country",),
        (
            "SELECT country, count(*) FILTER (manual_touches = 0) AS untouched, count(*) AS lines FROM fact_return_line"
            " WHERE lot_no = 1 AND manual_touches IS NOT NULL GROUP BY 1"
        ),
    ),
    "stock_gap": (
        ("place_id",),
        f"""SELECT place_id, sum(units) FILTER (restocked_at IS NULL OR restocked_at > inspected_at
            + INTERVAL 48 HOUR) AS gap, sum(units) AS fit
            FROM fact_return_line JOIN {_OBSERVED} USING (source) WHERE outcome = 'resold_as_new' AND inspected_at
                <= t - INTERVAL 48 HOUR GROUP BY 1""",
    ),
    "refund_as_due": (
        ("month",),
        f"""SELECT {_RETURN_MONTH}, count(*) FILTER (abs(refund_amount::DOUBLE - net_amount::DOUBLE
            - vat_amount::DOUBLE) < 0.02) AS "right", count(*) AS paid FROM fact_return_line
            WHERE refunded_at IS NOT NULL AND refund_amount IS NOT NULL AND net_amount IS NOT NULL
                AND vat_amount IS NOT NULL GROUP BY 1""",
    ),
    "units_waiting": (
        ("place_id",),
        f"SELECT place_id, sum(units) AS waiting FROM fact_return_line WHERE {_IN_FLOW} GROUP BY 1",
    ),
    "margin_waiting": (
        ("place_id",),
        (
            "SELECT place_id, sum((net_amount::DOUBLE - cost_amount::DOUBLE) * fx_rate) AS margin FROM"
            f" fact_return_line WHERE {_IN_FLOW} GROUP BY 1"
        ),
    ),
    # -- money
    "gross_margin": (
        ("category",),
        f"SELECT category, sum({_MARGIN}) AS margin FROM fact_order_line WHERE units_sold <> 0 GROUP BY 1",
    ),
    "margin_reversed": (("month",), _monthly("ordered_on", _MARGIN, "reversed", f"fact_return_line WHERE {_UNDONE}")),
    "return_cost": (("month", "component"), _monthly("requested_on", "amount", "cost", _LOT_COST, "component")),
    "return_cost_per_unit": (
        ("category",),
        f"""SELECT category, cost, confirmed FROM (SELECT category, sum(amount) AS cost FROM {_LOT_COST} GROUP BY 1)
            FULL JOIN (SELECT category, sum(units) AS confirmed FROM fact_return_line WHERE is_headline
                AND confirmed_at IS NOT NULL GROUP BY 1) USING (category)""",
    ),
    "margin_erosion": (
        ("month",),
        f"""SELECT month, coalesce(reversed, 0) + coalesce(cost, 0) AS erosion
            FROM ({_monthly("ordered_on", _MARGIN, "reversed", f"fact_return_line WHERE {_UNDONE}")})
            FULL JOIN ({_monthly("ordered_on", "amount::DOUBLE", "cost", f"{_LOT_COST} WHERE ordered_on IS NOT NULL")})
            USING (month)""",
    ),
    "margin_erosion_share": (
        ("category",),
        f"""SELECT category, coalesce(reversed, 0) + coalesce(cost, 0) AS erosion, margin
            FROM (SELECT category, sum({_MARGIN}) AS margin FROM fact_order_line WHERE units_sold <> 0 GROUP BY 1)
            FULL JOIN (SELECT category, sum({_MARGIN}) AS reversed FROM fact_return_line WHERE {_UNDONE}
                GROUP BY 1) USING (category)
            FULL JOIN (SELECT category, sum(amount)::DOUBLE AS cost FROM {_LOT_COST}
                WHERE ordered_on IS NOT NULL GROUP BY 1) USING (category)""",
    ),
    "recovery_rate": (
        ("disposition",),
        """SELECT disposition, sum(if(outcome = 'resold_as_new', least(amount, cost_amount), amount)
            * fx_rate) FILTER (cost_amount IS NOT NULL) AS recovered,
                sum(cost_amount * fx_rate) AS cost, sum(units) AS n FROM fact_recovery GROUP BY 1""",
    ),
    "refund_amount": (
        ("month",),
        f"""SELECT month, sum(paid) AS paid FROM (
                {_monthly("refunded_on", "amount * fx_rate", "paid", "fact_refund")}
                UNION ALL
                {_monthly("refunded_on", "amount * fx_rate", "paid", "fact_refund_line WHERE restock_type = 'credit'")})
            GROUP BY 1""",
    ),
    "refund_discrepancy": (("month",), _monthly("refunded_on", "discrepancy_amount * fx_rate", "gap", "fact_refund")),
    "refund_accuracy": (
        ("country",),
        (
            "SELECT country, count(*) FILTER (abs(discrepancy_amount) < 0.005) AS exact, count(discrepancy_amount) AS"
            " refunds FROM fact_refund GROUP BY 1"
        ),
    ),
    "value_in_flow": (
        ("place_id",),
        """SELECT place_id, sum(cost_amount * fx_rate) AS value FROM fact_return_line
            WHERE requested_at IS NOT NULL AND restocked_at IS NULL AND disposed_at IS NULL AND cancelled_at IS NULL
                AND rejected_at IS NULL AND expired_at IS NULL AND lost_at IS NULL GROUP BY 1""",
    ),
    "measured_cost_share": (
        ("component",),
        (
            "SELECT component, sum(abs(amount)) FILTER (status = 'measured') AS measured, sum(abs(amount)) AS \"all\""
            " FROM estimate_return_cost GROUP BY 1"
        ),
    ),
    "claims_open_amount": (
        ("carrier",),
        """SELECT carrier, sum(cost_amount::DOUBLE * fx_rate) AS open FROM fact_return_line
            WHERE lost_at IS NOT NULL AND received_at IS NULL
            AND (parcel_key IS NULL OR parcel_key NOT IN (SELECT parcel_key FROM fact_carrier_claim)) GROUP BY 1""",
    ),
    "invoice_unmatched_amount": (
        ("carrier",),
        (
            "SELECT carrier, sum(amount::DOUBLE * fx_rate) AS unmatched FROM fact_carrier_invoice WHERE leg_key IS NULL"
            " GROUP BY 1"
        ),
    ),
    # -- carbon and what becomes of goods
    "kg_co2e": (
        ("role", "mode"),
        f"SELECT role, mode, {_CELL}, sum(kg_co2e) AS kg, {_COVERED} FROM {_LEG_CARBON} GROUP BY ALL",
    ),
    "kg_co2e_per_100_sold": (
        ("month",),
        f"""SELECT *, NULL AS sold FROM (SELECT {_ORDER_MONTH}, {_CELL}, sum(kg_co2e) AS kg, {_COVERED}
            FROM {_LEG_CARBON} WHERE ordered_on IS NOT NULL GROUP BY ALL)
            UNION ALL SELECT month, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, sold
                FROM ({_monthly("ordered_on", "units_sold", "sold", "fact_order_line")})""",
    ),
    "kg_co2e_per_return": (
        ("country",),
        f"""SELECT *, NULL AS confirmed FROM (SELECT country, {_CELL}, sum(kg_co2e) AS kg, {_COVERED}
            FROM {_LEG_CARBON} GROUP BY ALL)
            UNION ALL SELECT country, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, sum(units)
                FROM fact_return_line WHERE is_headline AND confirmed_at IS NOT NULL GROUP BY ALL""",
    ),
    "primary_data_share": (
        ("role",),
        (
            "SELECT role, sum(CASE e.method WHEN 'energy' THEN kg_co2e WHEN 'given' THEN kg_co2e * e.primary_share ELSE"
            f" 0 END) AS primary, sum(kg_co2e) AS kg, {_COVERED} FROM fact_return_leg"
            " JOIN estimate_leg_carbon e USING (leg_key) GROUP BY 1"
        ),
    ),
    "reported_inputs_share": (
        ("carrier",),
        (
            "SELECT carrier, sum(kg_co2e) FILTER (status = 'measured') AS reported, sum(kg_co2e) AS kg,"
            f" {_COVERED} FROM {_LEG_CARBON} GROUP BY 1"
        ),
    ),
    "kg_co2e_per_parcel": (
        ("country",),
        (
            f"SELECT country, sum(kg_co2e) AS kg, count(DISTINCT parcel_key) AS parcels, {_COVERED} FROM {_LEG_CARBON}"
            " GROUP BY 1"
        ),
    ),
    "transport_kg_co2e_per_parcel": (
        ("country",),
        f"""SELECT country, sum(coalesce(kg_co2e_tonne_km, kg_co2e)) FILTER (activity IN ('transport', 'hub',
            'packaging')) AS kg,
            count(DISTINCT parcel_key) AS parcels, {_COVERED} FROM {_LEG_CARBON} GROUP BY 1""",
    ),
    "avoided_kg_co2e": (
        ("category",),
        f"""SELECT category, sum(kg_co2e_avoided_central) AS avoided, sum(kg_co2e_avoided_low) AS least,
            sum(kg_co2e_avoided_high) AS most FROM {_LOT_AVOIDED} GROUP BY 1""",
    ),
    "destroyed_making_kg_co2e": (
        ("category",),
        f"SELECT category, sum(kg_co2e_new) AS kg FROM {_LOT_AVOIDED} WHERE outcome = 'destroyed' GROUP BY 1",
    ),
    "packaging_kg": (
        ("country",),
        (
            "SELECT country, sum(e.mass_kg) AS kg FROM fact_return_leg JOIN estimate_leg_carbon e USING (leg_key) WHERE"
            " activity = 'packaging' GROUP BY 1"
        ),
    ),
    "fate_share": (
        ("disposition",),
        f"SELECT disposition, sum(units) AS fate FROM fact_return_line WHERE {_DECIDED} GROUP BY 1",
    ),
    "fate_weight_share": (
        ("disposition",),
        f"SELECT disposition, sum(units * weight_kg) AS fate FROM fact_return_line WHERE {_DECIDED} GROUP BY 1",
    ),
    "fate_value_share": (
        ("disposition",),
        (
            f"SELECT disposition, sum(cost_amount::DOUBLE * fx_rate) AS fate FROM fact_return_line WHERE {_DECIDED}"
            " GROUP BY 1"
        ),
    ),
    "destroyed_without_evidence": (
        ("country",),
        (
            "SELECT country, sum(units) AS units FROM fact_recovery WHERE disposition = 'destroyed' AND"
            " (derogation_reason IS NULL OR evidence_ref IS NULL) GROUP BY 1"
        ),
    ),
    "resold_as_new_share": (("category",), _fate("category", "resold_as_new")),
    "refurbished_share": (("place_id",), _fate("place_id", "refurbished")),
    "donated_share": (("country",), _fate("country", "donated")),
    "recycled_share": (("category",), _fate("category", "recycled")),
    "destroyed_share": (("month",), _fate(_RETURN_MONTH, "destroyed")),
    "pending_inspection_units": (
        ("place_id",),
        (
            "SELECT place_id, sum(units) AS pending FROM fact_return_line WHERE received_at IS NOT NULL AND"
            " (inspected_at IS NULL OR outcome IS NULL) GROUP BY 1"
        ),
    ),
}
