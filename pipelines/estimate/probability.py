"""The probability that a line comes back: features of its past, the fit and when it is made again."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb

from models.curves import NO_WINDOW_DAYS
from models.return_probability import FEATURES, MOST_LEVEL_SD, ReturnProbability, fit
from pipelines.estimate.curves import LEVEL_DAYS, LEVEL_LINES
from pipelines.settings import Settings
from pipelines.warehouse.rules import OBSERVED_SQL, RETURNED_SQL
from pipelines.warehouse.sql import quote
from pipelines.why import why

LABEL_LAG_DAYS = 35
_REFIT_DAYS = 28
_SAMPLE = 150_000
_USUAL = {"item_rate": "0", "size_rate": "0"}  # features of a product that is usual for its category
_FEWEST_RETURNS = 500
_FEWEST_KNOWN = 200  # lines whose returns a line must know of to be expected anything of


def probability(connection: duckdb.DuckDBPyConnection, settings: Settings, where_line: str) -> None:
    """Insert estimate_return_probability for sold lines matching `where_line` (a predicate on order_line_key).

    One model a source, refitted when none is younger than 28 days of observed time, else scored with its stored
    coefficients (model_version.parameters). A source without customers or with too few returns has none. A model that
    does not beat the product's own rate on later orders, or expects something else than came, is recorded as not used,
    with the reason, and writes no rows. Lines ordered before enough was known have none either.
    """
    del settings
    sources = connection.execute(f"SELECT source, observed_until FROM ({OBSERVED_SQL}) t ORDER BY source").fetchall()
    for source, observed_until in sources:
        known, wanted = connection.execute(
            f"SELECT count(customer_key), count(*) FILTER ({where_line}) FROM fact_order_line WHERE source ="
            f" {quote(source)} AND units_sold > 0"
        ).fetchall()[0]
        if not known or observed_until is None:
            continue
        model = _recent_model(connection, source, observed_until)
        if model is not None and not wanted:
            continue
        features(connection, source, observed_until, where_line if model is not None else "TRUE")
        if model is None:
            model = _fit(connection, source, observed_until)
        if model is not None and model["is_used"]:
            connection.execute(
                f"""
                INSERT INTO estimate_return_probability BY NAME
                SELECT order_line_key, {_chance_sql(model, {})} AS probability, {_chance_sql(model, _USUAL)}
                    AS buyer_probability,
                    base_rate, ? AS model_id
                FROM probability_feature WHERE ({where_line}) AND base_rate IS NOT NULL
                """,
                [model["model_id"]],
            )
        connection.execute("DROP TABLE probability_feature")


def _chance_sql(model: Mapping[str, Any], instead: Mapping[str, str]) -> str:
    """Give a line's probability as SQL over its features, some of them replaced."""
    terms = " + ".join(f"({model['coefficients'][f]!r}::DOUBLE) * {instead.get(f, f)}" for f in FEATURES)
    return f"1 / (1 + exp(-(({model['intercept']!r}::DOUBLE) + {terms})))"


def _recent_model(connection: duckdb.DuckDBPyConnection, source: str, until: datetime) -> dict[str, Any] | None:
    rows = connection.execute(f"""
        SELECT model_id, is_used, parameters FROM model_version
        WHERE model = 'return_probability' AND json_extract_string(parameters, '$.source') = {quote(source)}
            AND fitted_at > TIMESTAMP '{until}' - INTERVAL {_REFIT_DAYS} DAY
        ORDER BY fitted_at DESC LIMIT 1
        """).fetchall()
    return {**json.loads(rows[0][2]), "model_id": rows[0][0], "is_used": rows[0][1]} if rows else None


def _logit(rate: str) -> str:
    return f"ln({rate} / (1 - {rate}))"


def features(connection: duckdb.DuckDBPyConnection, source: str, observed_until: datetime, where_line: str) -> None:
    """Make the temporary table probability_feature: FEATURES, base_rate and labels of sold lines, point in time.

    A line sees only lines ordered more than 35 days before it, each with what was confirmed within 35 days of its own
    order: nothing that was not known at order time. `where_line` (a predicate on order_line_key) limits the lines
    answered for, never the history they see. `returned` is the share of units that came back so far; `is_complete` says
    that the window and three weeks have passed. Rates and what follows from them are NULL for lines that see fewer than
    `_FEWEST_KNOWN` others. The level of the shop is that of late; what market, style and size add to it is read from
    everything before.
    """
    has_all = where_line == "TRUE"
    _sold_lines(connection, source, where_line)
    _market_days(connection)
    _line_history(connection, has_all=has_all)
    _features(connection, observed_until, where_line, has_all=has_all)
    connection.execute("DROP TABLE sold_line; DROP TABLE wanted_line; DROP TABLE market_day; DROP TABLE line_history")


_LAG = f"RANGE BETWEEN UNBOUNDED PRECEDING AND {LABEL_LAG_DAYS + 1} PRECEDING"
_LATE = f"RANGE BETWEEN {LABEL_LAG_DAYS + LEVEL_DAYS} PRECEDING AND {LABEL_LAG_DAYS + 1} PRECEDING"


def _sold_lines(connection: duckdb.DuckDBPyConnection, source: str, where_line: str) -> None:
    """Store sold_line, a source's sold lines with what came back of each, and wanted_line, those answered for."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE sold_line AS
        WITH returned AS (
            SELECT r.order_line_key, sum(r.units) AS units, sum(r.units) FILTER (r.confirmed_at::DATE
                <= l.ordered_at::DATE + {LABEL_LAG_DAYS}) AS early
            FROM ({RETURNED_SQL}) r JOIN fact_order_line l USING (order_line_key) GROUP BY 1)
        SELECT o.order_line_key, o.order_key, o.customer_key, hash(coalesce(o.style_id, o.product_id)) AS item,
            hash(coalesce(o.style_id, o.product_id), o.size) AS item_size,
            hash(o.category, o.country) AS market, (o.ordered_at::DATE - DATE '2000-01-01')::INTEGER AS day,
            (1e6 * least(coalesce(b.early, 0) / o.units_sold, 1))::BIGINT AS early, least(coalesce(b.units, 0)
                / o.units_sold, 1)::DOUBLE AS returned
        FROM fact_order_line o LEFT JOIN returned b USING (order_line_key)
        WHERE o.source = {quote(source)} AND o.units_sold > 0;
        CREATE OR REPLACE TEMP TABLE wanted_line AS SELECT order_key, item, customer_key FROM sold_line
            WHERE {where_line}
    """)


def _market_days(connection: duckdb.DuckDBPyConnection) -> None:
    """Store market_day: the rates of the whole shop, of late and of each market that were known on a day.

    A market is a category in a country; its rate is pulled towards the shop's with 100 lines.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE market_day AS
        WITH per_day AS (SELECT market, day, sum(early)::BIGINT AS y, count(*) AS n FROM sold_line GROUP BY ALL),
        every AS (
            SELECT DISTINCT day, sum(y) OVER w AS y, sum(n) OVER w AS n, sum(y) OVER l AS late_y, sum(n) OVER l
                AS late_n
            FROM per_day WINDOW w AS (ORDER BY day {_LAG}), l AS (ORDER BY day {_LATE})),
        own AS (SELECT market, day, sum(y) OVER w AS y, sum(n) OVER w AS n
            FROM per_day WINDOW w AS (PARTITION BY market ORDER BY day {_LAG}))
        SELECT o.market, o.day, CASE WHEN e.n >= {_FEWEST_KNOWN} THEN (e.y / 1e6 + 1) / (e.n + 2) END AS shop_rate,
            (coalesce(e.late_y, 0) / 1e6 + {LEVEL_LINES} * shop_rate) / (coalesce(e.late_n, 0) + {LEVEL_LINES})
                AS late_rate,
            (coalesce(o.y, 0) / 1e6 + 100 * shop_rate) / (coalesce(o.n, 0) + 100) AS rate
        FROM own o JOIN every e USING (day)
    """)


def _line_history(connection: duckdb.DuckDBPyConnection, *, has_all: bool) -> None:
    """Store line_history: what was known of each line's style, size and customer when it was ordered."""
    related = (
        ""
        if has_all
        else "WHERE item IN (SELECT item FROM wanted_line) OR customer_key IN (SELECT customer_key FROM wanted_line)"
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE line_history AS
        SELECT order_line_key, order_key, item, customer_key, returned, day, market_share, shop_rate, late_rate,
            sum(early) OVER i / 1e6 AS item_y, count(*) OVER i AS item_n, sum(early) OVER s / 1e6 AS size_y,
            count(*) OVER s AS size_n,
            sum(early) FILTER (expected IS NOT NULL) OVER c / 1e6 AS customer_y, sum(expected) OVER c / 1e6
                AS customer_e, count(*) OVER c AS customer_n
        FROM (
            SELECT l.*, m.rate AS market_share, m.shop_rate, m.late_rate, (1e6 * m.rate)::BIGINT AS expected
            FROM sold_line l JOIN market_day m ON m.market = l.market AND m.day = l.day {related})
        WINDOW i AS (PARTITION BY item ORDER BY day {_LAG}), s AS (PARTITION BY item_size
            ORDER BY day {_LAG}), c AS (PARTITION BY customer_key ORDER BY day {_LAG})
    """)


def _features(
    connection: duckdb.DuckDBPyConnection, observed_until: datetime, where_line: str, *, has_all: bool
) -> None:
    """Store probability_feature from the lines' history: rates on the logit scale, the basket, price and season."""
    same_order = "" if has_all else "SEMI JOIN wanted_line USING (order_key)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE probability_feature AS
        WITH in_order AS (SELECT order_key, item, count(*) AS style_lines FROM sold_line {same_order} GROUP BY ALL),
        basket AS (SELECT order_key, sum(style_lines) AS lines FROM in_order GROUP BY 1),
        rated AS (
            SELECT h.order_line_key, h.customer_key, h.day, h.returned, b.style_lines, a.lines, market_share, shop_rate,
                late_rate,
                (coalesce(item_y, 0) + 15 * market_share) / (item_n + 15) AS item_share, (coalesce(size_y, 0) + 10
                    * item_share) / (size_n + 10) AS size_share,
                coalesce(customer_y, 0) AS customer_y, coalesce(customer_e, 0) AS customer_e, customer_n
            FROM line_history h JOIN in_order b ON b.order_key = h.order_key AND b.item = h.item
                JOIN basket a ON a.order_key = h.order_key
            WHERE {where_line})
        SELECT r.order_line_key, r.day, r.returned, year(o.ordered_on) * 12 + month(o.ordered_on) AS month,
            {_logit("market_share")} - {_logit("shop_rate")} + {_logit("late_rate")} AS market_rate,
            {_logit("item_share")} - {_logit("market_share")} AS item_rate, 1 / (1 + exp(-(market_rate + item_rate)))
                AS base_rate,
            coalesce(greatest(o.clock_started_at + to_days(coalesce(o.window_days, {NO_WINDOW_DAYS})),
                o.window_ends_on) + INTERVAL 21 DAY <= TIMESTAMP '{observed_until}', false) AS is_complete,
            {_logit("size_share")} - {_logit("item_share")} AS size_rate,
            CASE WHEN r.customer_key IS NULL THEN 0 ELSE ln((customer_y + 4 * shop_rate) / (customer_e + 4
                * shop_rate)) END AS customer_rate,
            CASE WHEN r.customer_key IS NULL THEN 0 ELSE ln(1 + customer_n) END AS customer_lines,
            coalesce(o.has_several_sizes, false)::DOUBLE AS several_sizes, ln(style_lines) AS same_style, ln(lines)
                AS basket,
            ln(1 + greatest(o.net_amount::DOUBLE, 0) / o.units_sold) AS price,
            coalesce(o.discount_amount::DOUBLE / nullif(o.discount_amount::DOUBLE + o.net_amount::DOUBLE, 0), 0)
                AS discount,
            coalesce(o.is_gift, false)::DOUBLE AS is_gift, (o.channel IS NOT DISTINCT FROM 'store')::DOUBLE AS is_store,
            sin(2 * pi() * month(o.ordered_on) / 12) AS month_sin, cos(2 * pi() * month(o.ordered_on) / 12) AS month_cos
        FROM rated r JOIN fact_order_line o USING (order_line_key)
    """)


def _fit(connection: duckdb.DuckDBPyConnection, source: str, observed_until: datetime) -> dict[str, Any] | None:
    """Fit on a fixed sample of label-complete lines, two label lags after the first; record it in model_version."""
    usable = (
        "is_complete AND base_rate IS NOT NULL AND day >= (SELECT min(day) FROM probability_feature) +"
        f" {2 * LABEL_LAG_DAYS}"
    )
    lines, returned = connection.execute(
        f"SELECT count(*), coalesce(sum(returned), 0) FROM probability_feature WHERE {usable}"
    ).fetchall()[0]
    if returned < _FEWEST_RETURNS or lines - returned < _FEWEST_RETURNS:
        return None
    sample = connection.execute(f"""
        SELECT day, month, returned, base_rate, {", ".join(FEATURES)} FROM probability_feature
        WHERE {usable} AND hash(order_line_key) % {-(-lines // _SAMPLE)} = 0 ORDER BY order_line_key
    """).fetchnumpy()
    model = fit(sample, sample["returned"], sample["day"], sample["base_rate"], sample["month"])
    model_id = f"return_probability:{source}:{observed_until:%Y-%m-%d}"
    parameters = {
        "source": source,
        "intercept": model.intercept,
        "coefficients": model.coefficients,
        "calibration_error": model.calibration_error,
        "test_rows": model.test_rows,
        "level_sd": model.level_sd,
        "why_not": _why_not(model),
    }
    is_used = not parameters["why_not"]
    connection.execute("DELETE FROM model_version WHERE model_id = ?", [model_id])
    connection.execute(
        """
        INSERT INTO model_version (model_id, model, fitted_at, rows, score_name, score, base_score, is_used, parameters)
        VALUES (?, 'return_probability', ?, ?, 'auc', ?, ?, ?, ?)
        """,
        [model_id, observed_until, model.rows, model.auc, model.base_auc, is_used, json.dumps(parameters)],
    )
    return {**parameters, "model_id": model_id, "is_used": is_used}


def _why_not(model: ReturnProbability) -> str:
    """Say why a model is not used; empty where it is."""
    if not model.beats_base_rate():
        return why("model_weak")
    if model.level_sd > MOST_LEVEL_SD:
        return why("model_uneven")
    if (off := model.off_month()) is None:
        return ""
    shares = {"expected": off.expected, "observed": off.observed}
    if not off.month:
        return why("model_off_later", **shares)
    return why("model_off", month=f"{(off.month - 1) // 12}-{(off.month - 1) % 12 + 1:02d}", **shares)
