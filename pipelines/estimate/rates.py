"""Return rates' estimates: development curves, priors, and each line's probability to come back.

Here: the SQL that sums counts, the hand-over to models/rates.py and models/return_probability.py, and the rows written.
Not here: the arithmetic, and the rates themselves (pipelines/metrics). The one idea: what changes by the mere passing
of days is a curve, stored once a cell and joined by age.

Age and delay are calendar days (UTC) from the return clock's start. A source's observation time is its latest event.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.rates import (
    AFTER_WINDOW_DAYS,
    DATED_STEPS,
    DRIFT_DAYS,
    NO_WINDOW_DAYS,
    RECENT_DAYS,
    Cell,
    Delays,
    delay_drift,
    development_curves,
    month_prior,
)
from models.return_probability import FEATURES, MOST_LEVEL_SD, ReturnProbability, fit
from pipelines.estimate.promises import OBSERVED_SQL
from pipelines.settings import Settings
from pipelines.sources.base import quote

LABEL_LAG_DAYS = 35
_REFIT_DAYS = 28
_RATES_REFIT_DAYS = 7
_DRIFT = 0.05  # change in the number of confirmed returns that asks for new curves and priors before their time
_SAMPLE = 150_000
_USUAL = {"item_rate": "0", "size_rate": "0"}  # features of a product that is usual for its category
_FEWEST_RETURNS = 500
_FEWEST_KNOWN = 200  # lines whose returns a line must know of to be expected anything of
_LEVEL_DAYS = 120  # of orders that say at what level returns are of late
_LEVEL_LINES = 300  # that all orders before count for beside them

# Confirmed headline returns by order line, credits bound by rule included, order-entry cancellations left out.
RETURNED_SQL = """
    SELECT coalesce(r.order_line_key, m.order_line_key) AS order_line_key, coalesce(m.units, r.units) AS units,
        r.confirmed_at
    FROM fact_return_line r LEFT JOIN estimate_credit_match m ON r.order_line_key IS NULL AND m.return_line_key
        = r.return_line_key
    WHERE r.is_headline AND r.confirmed_at IS NOT NULL AND r.date_fault IS NULL AND coalesce(r.order_line_key,
        m.order_line_key) IS NOT NULL
        AND NOT coalesce(m.is_cancellation, false)
"""
_CELL = "source, category, channel, window_days, is_dated"
_SOLD_SQL = (
    "SELECT DISTINCT source, category, channel, window_days, window_ends_on IS NOT NULL AS is_dated FROM"
    " fact_order_line WHERE units_sold > 0"
)
_Array = NDArray[np.float64]
# The window a line's policy gives, and since when it has been so: what is younger than its curve cannot tell a drift.
_SETTLED_SQL = f"""
    SELECT policy_key, max(CASE WHEN is_new THEN valid_from END) OVER (PARTITION BY policy_id ORDER BY valid_from)
        + to_days((window_days + {AFTER_WINDOW_DAYS + DRIFT_DAYS})::INTEGER) AS settled_at
    FROM (SELECT policy_key, policy_id, valid_from, window_days, lag(window_days) OVER (PARTITION BY policy_id
        ORDER BY valid_from) IS DISTINCT FROM window_days AS is_new FROM dim_policy)
"""


def curve_day_sql(age: str, line: str) -> str:
    """Give the day on its curve of a line so many days after its clock's start: see `models.rates.development_day`."""
    length, usual = f"({line}.window_ends_on - {line}.clock_started_at::DATE)", f"{line}.window_days"
    return f"""(CASE WHEN {line}.window_ends_on IS NULL OR {age} <= {usual} THEN {age} WHEN {age} <= {length}
        THEN {usual} + (({age} - {usual}) * {DATED_STEPS}) // ({length} - {usual}) ELSE {usual} + {DATED_STEPS}
            + {age} - {length} END)::INTEGER"""


def rates(connection: duckdb.DuckDBPyConnection, settings: Settings, *, is_increment: bool) -> None:
    """Fill the development curves and priors; an increment keeps those it has while they are fresh.

    They are stale when observed time has gone on by 7 days since the fit, when the number of confirmed returns has
    changed by 5%, and when a cell that has sold has no curve.
    """
    until, returned = connection.execute(f"""
        SELECT (SELECT max(observed_until) FROM ({OBSERVED_SQL}) t), (SELECT count(confirmed_at)
            FROM fact_return_line WHERE is_headline)
    """).fetchall()[0]
    if is_increment and until is not None and _is_fresh(connection, until, returned):
        return
    curves(connection, settings)
    priors(connection, settings)
    connection.execute("DELETE FROM build_info WHERE name IN ('rates_fitted_at', 'rates_returned')")
    if until is not None:
        connection.execute(
            f"INSERT INTO build_info VALUES ('rates_fitted_at', '{until.isoformat()}'), ('rates_returned',"
            f" '{returned}')"
        )


def _is_fresh(connection: duckdb.DuckDBPyConnection, until: datetime, returned: int) -> bool:
    info = dict(connection.execute("SELECT name, value FROM build_info").fetchall())
    fitted_at, before = info.get("rates_fitted_at"), int(info.get("rates_returned", 0))
    if not fitted_at or abs(until - datetime.fromisoformat(fitted_at)) >= timedelta(days=_RATES_REFIT_DAYS):
        return False
    if abs(returned - before) >= _DRIFT * before:
        return False
    without = (
        f"SELECT 1 FROM ({_SOLD_SQL}) o WHERE NOT EXISTS (FROM estimate_development_curve c WHERE c.day = 0 AND"
        f" {_same('c', 'o')})"
    )
    return not connection.execute(without).fetchall()


def curves(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill estimate_development_curve, a curve for every cell that has sold, and estimate_delay_drift.

    The arithmetic is `models.rates.development_curves`: cells shrink to their window, windows to the leading one.
    Windows that end on a date keep all their returns, for they come once a year; the others those of lines not much
    older than the curve.
    """
    del settings
    delay, age = (
        "greatest(b.confirmed_at::DATE - o.clock_started_at::DATE, 0)",
        "(t.observed_until::DATE - o.clock_started_at::DATE)",
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE returned_cell AS
        WITH returned AS ({RETURNED_SQL}), settled AS ({_SETTLED_SQL})
        SELECT o.source, o.category, o.channel, o.window_days, o.window_ends_on IS NOT NULL AS is_dated,
            {curve_day_sql(delay, "o")} AS delay_days, {curve_day_sql(age, "o")} AS truncation_days,
            o.window_ends_on IS NULL AND coalesce(s.settled_at <= t.observed_until, true) AS is_settled,
                count(*)::DOUBLE AS returns
        FROM returned b JOIN fact_order_line o USING (order_line_key) JOIN ({OBSERVED_SQL}) t ON t.source
            = o.source LEFT JOIN settled s ON s.policy_key = o.policy_key
        WHERE o.units_sold > 0 AND o.date_fault IS NULL AND b.confirmed_at <= t.observed_until AND o.clock_started_at
            <= t.observed_until
            AND ({age} <= coalesce(o.window_days, {NO_WINDOW_DAYS}) + {AFTER_WINDOW_DAYS + RECENT_DAYS}
                OR o.window_ends_on IS NOT NULL)
        GROUP BY ALL
    """)
    cells = [Cell(*row) for row in connection.execute(f"{_SOLD_SQL} ORDER BY ALL").fetchall()]
    counts = _counts(connection, "TRUE")
    found = development_curves(cells, counts)
    _write_curves(connection, found, {c: float(d.returns.sum()) for c, d in counts.items()})
    _write_drift(connection, found, _counts(connection, f"is_settled AND truncation_days - delay_days < {DRIFT_DAYS}"))
    connection.execute("DROP TABLE returned_cell")


def _counts(connection: duckdb.DuckDBPyConnection, where: str) -> dict[Cell, Delays]:
    rows = connection.execute(f"""
        SELECT {_CELL}, list(delay_days), list(returns), list(truncation_days) FROM (SELECT * FROM returned_cell
            WHERE {where} ORDER BY ALL) GROUP BY ALL ORDER BY ALL
    """).fetchall()
    return {Cell(*row[:5]): Delays(*(np.array(x, dtype=np.float64) for x in row[5:])) for row in rows}


def _write_drift(connection: duckdb.DuckDBPyConnection, found: dict[Cell, _Array], recent: dict[Cell, Delays]) -> None:
    observed = dict(connection.execute(f"SELECT source, observed_until FROM ({OBSERVED_SQL}) t").fetchall())
    connection.execute("DELETE FROM estimate_delay_drift")
    groups: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in recent:
        for category in dict.fromkeys((None, cell.category)):
            groups.setdefault((cell.source, category), []).append(cell)
    for (source, category), members in groups.items():
        drift = delay_drift([(recent[c], found[c]) for c in members])
        until = observed[source].date()
        row = [
            source,
            category,
            until - timedelta(DRIFT_DAYS - 1),
            until,
            drift.factor,
            drift.z,
            round(drift.returned),
            drift.is_drifting,
        ]
        connection.execute(f"INSERT INTO estimate_delay_drift VALUES ({', '.join('?' * len(row))})", row)


def _write_curves(
    connection: duckdb.DuckDBPyConnection, found: dict[Cell, _Array], returned: dict[Cell, float]
) -> None:
    connection.execute("DELETE FROM estimate_development_curve")
    if not found:
        return
    sizes = [curve.size for curve in found.values()]
    number = np.repeat(np.arange(len(found)), sizes)
    names = pa.table(
        {
            "cell_no": np.arange(len(found)),
            "source": pa.array([c[0] for c in found], pa.string()),
            "category": pa.array([c[1] for c in found], pa.string()),
            "channel": pa.array([c[2] for c in found], pa.string()),
            "window_days": pa.array([c[3] for c in found], pa.int32()),
            "is_dated": pa.array([c[4] for c in found], pa.bool_()),
            "returned": pa.array([round(returned.get(c, 0.0)) for c in found], pa.int32()),
        }
    )
    points = pa.table(
        {
            "cell_no": number,
            "day": np.concatenate([np.arange(n, dtype=np.int32) for n in sizes]),
            "share": np.concatenate(list(found.values())),
        }
    )
    connection.register("curve_cell", names)
    connection.register("curve_point", points)
    connection.execute(f"""
        INSERT INTO estimate_development_curve BY NAME
        SELECT {_CELL}, day, share, returned FROM curve_point JOIN curve_cell USING (cell_no) ORDER BY cell_no, day
    """)
    connection.unregister("curve_cell")
    connection.unregister("curve_point")


def priors(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill estimate_rate_prior from the development curves, unfiltered, and the priors of products with it.

    `cohort`: what to expect of the next month's rate, from mature months; `order` holds the design effect alone. The
    row without category is all of them together; its design effect fits any slice.
    """
    from pipelines.estimate.products import product_priors  # half a second to import; only fits need it

    del settings
    connection.execute(f"""
        DELETE FROM estimate_rate_prior;
        CREATE OR REPLACE TEMP TABLE exposed_line AS
        WITH returned AS (
            SELECT order_line_key, sum(units) AS units FROM ({RETURNED_SQL}) r GROUP BY 1),
        cell AS (SELECT row_number() OVER () AS cell_no, * FROM (SELECT DISTINCT {_CELL}
            FROM estimate_development_curve)),
        curve AS (SELECT cell_no, day, share FROM estimate_development_curve e JOIN cell c ON {_same("c", "e")}),
        line AS (
            SELECT o.order_line_key, o.order_key, o.product_key, o.ordered_on, o.category, coalesce(o.style_id,
                o.product_id) AS style, date_trunc('month', o.ordered_on)::DATE AS month, o.units_sold, c.cell_no,
                {curve_day_sql("(t.observed_until::DATE - o.clock_started_at::DATE)", "o")} AS age
            FROM (SELECT *, window_ends_on IS NOT NULL AS is_dated FROM fact_order_line) o
                JOIN ({OBSERVED_SQL}) t ON t.source = o.source JOIN cell c ON {_same("c", "o")}
                WHERE o.units_sold > 0 AND o.date_fault IS NULL)
        SELECT l.order_key, l.product_key, l.ordered_on, l.category, l.style, l.month, l.units_sold AS units,
            least(coalesce(b.units, 0), l.units_sold) AS returned,
            coalesce(v.share, CASE WHEN l.age > 0 THEN 1 ELSE 0 END)::DOUBLE AS share
        FROM line l LEFT JOIN returned b USING (order_line_key) LEFT JOIN curve v ON v.cell_no = l.cell_no
            AND v.day = l.age;
        CREATE OR REPLACE TEMP TABLE exposed_cohort AS
        SELECT category, month, sum(returned)::DOUBLE AS returned, sum(units * share)::DOUBLE AS exposure,
            sum(units)::DOUBLE AS units,
            least(sum(returned) / greatest(sum(units * share), 1e-9), 0.999) AS rate
        FROM exposed_line GROUP BY ALL;
    """)
    effects = connection.execute("""
        WITH line AS (
            SELECT l.order_key, l.category, l.returned - c.rate * l.share * l.units AS residual, l.units * c.rate
                * l.share * (1 - c.rate * l.share) AS variance
            FROM exposed_line l JOIN exposed_cohort c ON c.category IS NOT DISTINCT FROM l.category
                AND c.month = l.month WHERE l.share > 0),
        basket AS (SELECT category, GROUPING(category) AS is_all, sum(residual) AS residual, sum(variance)
            AS variance FROM line GROUP BY GROUPING SETS ((order_key, category), (order_key)))
        SELECT category, is_all, greatest(sum(residual * residual) / nullif(sum(variance), 0), 1) FROM basket
            GROUP BY ALL
    """).fetchall()
    deff = {(c, bool(is_all)): float(value or 1.0) for c, is_all, value in effects}
    cohorts = connection.execute("""
        SELECT category, year(month) * 12 + month(month) AS month_no, returned, exposure, units
            FROM exposed_cohort ORDER BY ALL
    """).fetchnumpy()
    product_priors(connection)
    connection.execute("DROP TABLE exposed_line; DROP TABLE exposed_cohort")
    overall = deff.get((None, True))
    if overall is None:
        return
    month_category = np.array(np.ma.filled(cohorts["category"], ""), dtype=object)
    rows: list[tuple[str, str | None, float | None, float | None, float]] = []
    for category in [None, *sorted(c for c, is_all in deff if c is not None and not is_all)]:
        effect = overall if category is None else deff[category, False]
        rows.append(("order", category, None, None, effect))
        of = np.ones(month_category.size, dtype=np.bool_) if category is None else month_category == category
        month_no, back, exposed, units = (cohorts[n][of] for n in ("month_no", "returned", "exposure", "units"))
        prior = month_prior(month_no, back, exposed, units, effect)
        if prior is not None:
            rows.append(("cohort", category, *prior, effect))
    connection.executemany("INSERT INTO estimate_rate_prior (kind, category, a, b, deff) VALUES (?, ?, ?, ?, ?)", rows)


def _same(left: str, right: str) -> str:
    return " AND ".join(f"{left}.{c.strip()} IS NOT DISTINCT FROM {right}.{c.strip()}" for c in _CELL.split(","))


# -- probability -------------------------------------------------------------------------------------------------------


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
    lag = f"RANGE BETWEEN UNBOUNDED PRECEDING AND {LABEL_LAG_DAYS + 1} PRECEDING"
    late = f"RANGE BETWEEN {LABEL_LAG_DAYS + _LEVEL_DAYS} PRECEDING AND {LABEL_LAG_DAYS + 1} PRECEDING"
    is_all = where_line == "TRUE"
    related = (
        ""
        if is_all
        else "WHERE item IN (SELECT item FROM wanted_line) OR customer_key IN (SELECT customer_key FROM wanted_line)"
    )
    same_order = "" if is_all else "SEMI JOIN wanted_line USING (order_key)"
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
            WHERE {where_line};
        CREATE OR REPLACE TEMP TABLE market_day AS
        WITH per_day AS (SELECT market, day, sum(early)::BIGINT AS y, count(*) AS n FROM sold_line GROUP BY ALL),
        every AS (
            SELECT DISTINCT day, sum(y) OVER w AS y, sum(n) OVER w AS n, sum(y) OVER l AS late_y, sum(n) OVER l
                AS late_n
            FROM per_day WINDOW w AS (ORDER BY day {lag}), l AS (ORDER BY day {late})),
        own AS (SELECT market, day, sum(y) OVER w AS y, sum(n) OVER w AS n
            FROM per_day WINDOW w AS (PARTITION BY market ORDER BY day {lag}))
        SELECT o.market, o.day, CASE WHEN e.n >= {_FEWEST_KNOWN} THEN (e.y / 1e6 + 1) / (e.n + 2) END AS shop_rate,
            (coalesce(e.late_y, 0) / 1e6 + {_LEVEL_LINES} * shop_rate) / (coalesce(e.late_n, 0) + {_LEVEL_LINES})
                AS late_rate,
            (coalesce(o.y, 0) / 1e6 + 100 * shop_rate) / (coalesce(o.n, 0) + 100) AS rate
        FROM own o JOIN every e USING (day);
        CREATE OR REPLACE TEMP TABLE line_history AS
        SELECT order_line_key, order_key, item, customer_key, returned, day, market_share, shop_rate, late_rate,
            sum(early) OVER i / 1e6 AS item_y, count(*) OVER i AS item_n, sum(early) OVER s / 1e6 AS size_y,
            count(*) OVER s AS size_n,
            sum(early) FILTER (expected IS NOT NULL) OVER c / 1e6 AS customer_y, sum(expected) OVER c / 1e6
                AS customer_e, count(*) OVER c AS customer_n
        FROM (
            SELECT l.*, m.rate AS market_share, m.shop_rate, m.late_rate, (1e6 * m.rate)::BIGINT AS expected
            FROM sold_line l JOIN market_day m ON m.market = l.market AND m.day = l.day {related})
        WINDOW i AS (PARTITION BY item ORDER BY day {lag}), s AS (PARTITION BY item_size
            ORDER BY day {lag}), c AS (PARTITION BY customer_key ORDER BY day {lag});
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
        FROM rated r JOIN fact_order_line o USING (order_line_key);
        DROP TABLE sold_line; DROP TABLE wanted_line; DROP TABLE market_day; DROP TABLE line_history;
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
        return "it orders later lines no better than the past rate of their product does"
    if model.level_sd > MOST_LEVEL_SD:
        return "what comes differs too much from month to month"
    if (off := model.off_month()) is None:
        return ""
    when = f"in {(off.month - 1) // 12}-{(off.month - 1) % 12 + 1:02d}" if off.month else "of later orders"
    return f"it expected {off.expected:.1%} {when}, and {off.observed:.1%} came"
