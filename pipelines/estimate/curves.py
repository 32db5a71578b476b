"""Return rates' estimates: development curves, priors, and each line's probability to come back.

Here: the SQL that sums counts, the hand-over to models/rates.py and models/return_probability.py, and the rows written.
Not here: the arithmetic, and the rates themselves (pipelines/metrics). The one idea: what changes by the mere passing
of days is a curve, stored once a cell and joined by age.

Age and delay are calendar days (UTC) from the return clock's start. A source's observation time is its latest event.
"""

import math
from datetime import date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa

from models.curves import (
    AFTER_WINDOW_DAYS,
    DRIFT_DAYS,
    DRIFT_FACTOR,
    LONGEST_WINDOW_DAYS,
    NO_WINDOW_DAYS,
    RECENT_DAYS,
    Cell,
    Delays,
    Developed,
    Drift,
    delay_drift,
    developed,
)
from models.rates import month_priors
from pipelines.settings import Settings
from pipelines.warehouse.rules import OBSERVED_SQL, RETURNED_SQL, curve_day_sql

_RATES_REFIT_DAYS = 7
_DRIFT = 0.05  # change in the number of confirmed returns that asks for new curves and priors before their time
_CELL = "source, category, channel, window_days, is_dated"
_SOLD_SQL = (
    "SELECT DISTINCT source, category, channel, window_days, window_ends_on IS NOT NULL AS is_dated FROM"
    " fact_order_line WHERE units_sold > 0"
)
# The window a line's policy gives, and since when it has been so: what is younger than its curve cannot tell a drift.
_SETTLED_SQL = f"""
    SELECT policy_key, max(CASE WHEN is_new THEN valid_from END) OVER (PARTITION BY policy_id ORDER BY valid_from)
        + to_days((window_days + {AFTER_WINDOW_DAYS + DRIFT_DAYS})::INTEGER) AS settled_at
    FROM (SELECT policy_key, policy_id, valid_from, window_days, lag(window_days) OVER (PARTITION BY policy_id
        ORDER BY valid_from) IS DISTINCT FROM window_days AS is_new FROM dim_policy)
"""


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

    The arithmetic is `models.curves.developed`: cells shrink to their window, windows to the leading one, and all move
    with recent delays. The alarm compares recent delays with the curves before they moved.
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
            AND ({age} <= least(coalesce(o.window_days, {NO_WINDOW_DAYS}), {LONGEST_WINDOW_DAYS})
                    + {AFTER_WINDOW_DAYS + RECENT_DAYS}
                OR o.window_ends_on IS NOT NULL)
        GROUP BY ALL
    """)
    cells = [Cell(*row) for row in connection.execute(f"{_SOLD_SQL} ORDER BY ALL").fetchall()]
    counts = _counts(connection, "TRUE")
    found = developed(cells, counts)
    _write_curves(connection, found, {c: float(d.returns.sum()) for c, d in counts.items()})
    _write_drift(connection, found, _counts(connection, f"is_settled AND truncation_days - delay_days < {DRIFT_DAYS}"))
    connection.execute("DROP TABLE returned_cell")


def _counts(connection: duckdb.DuckDBPyConnection, where: str) -> dict[Cell, Delays]:
    rows = connection.execute(f"""
        SELECT {_CELL}, list(delay_days), list(returns), list(truncation_days) FROM (SELECT * FROM returned_cell
            WHERE {where} ORDER BY ALL) GROUP BY ALL ORDER BY ALL
    """).fetchall()
    return {Cell(*row[:5]): Delays(*(np.array(x, dtype=np.float64) for x in row[5:])) for row in rows}


def _write_drift(
    connection: duckdb.DuckDBPyConnection, found: dict[Cell, Developed], recent: dict[Cell, Delays]
) -> None:
    observed = dict(connection.execute(f"SELECT source, observed_until FROM ({OBSERVED_SQL}) t").fetchall())
    connection.execute("DELETE FROM estimate_delay_drift")
    groups: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in recent:
        for category in dict.fromkeys((None, cell.category)):
            groups.setdefault((cell.source, category), []).append(cell)
    for (source, category), members in groups.items():
        drift = delay_drift([(recent[c], found[c].long_run) for c in members])
        until = observed[source].date()
        row = [
            source,
            category,
            until - timedelta(DRIFT_DAYS - 1),
            until,
            drift.factor,
            drift.z,
            round(drift.returned),
            drift.is_drifting or _is_moved(drift, [found[c] for c in members]),
        ]
        connection.execute(f"INSERT INTO estimate_delay_drift VALUES ({', '.join('?' * len(row))})", row)


def _is_moved(drift: Drift, members: list[Developed]) -> bool:
    """Say whether all these curves were moved, and by as much as the alarm tells of."""
    return all(d.is_moved for d in members) and abs(math.log(drift.factor)) >= math.log(DRIFT_FACTOR)


def _write_curves(
    connection: duckdb.DuckDBPyConnection, found: dict[Cell, Developed], returned: dict[Cell, float]
) -> None:
    connection.execute("DELETE FROM estimate_development_curve")
    if not found:
        return
    sizes = [d.share.size for d in found.values()]
    number = np.repeat(np.arange(len(found)), sizes)
    names = pa.table(
        {
            "cell_no": np.arange(len(found)),
            "source": pa.array([c[0] for c in found], pa.string()),
            "category": pa.array([c[1] for c in found], pa.string()),
            "channel": pa.array([c[2] for c in found], pa.string()),
            "window_days": pa.array([c[3] for c in found], pa.int32()),
            "is_dated": pa.array([c[4] for c in found], pa.bool_()),
            "doubt": pa.array([round(d.doubt, 3) for d in found.values()], pa.float64()),
            "is_new": pa.array([d.is_new for d in found.values()], pa.bool_()),
            "returned": pa.array([round(returned.get(c, 0.0)) for c in found], pa.int32()),
        }
    )
    points = pa.table(
        {
            "cell_no": number,
            "day": np.concatenate([np.arange(n, dtype=np.int32) for n in sizes]),
            "share": np.concatenate([d.share for d in found.values()]),
        }
    )
    connection.register("curve_cell", names)
    connection.register("curve_point", points)
    connection.execute(f"""
        INSERT INTO estimate_development_curve BY NAME
        SELECT {_CELL}, day, share, doubt, is_new, returned FROM curve_point JOIN curve_cell USING (cell_no)
            ORDER BY cell_no, day
    """)
    connection.unregister("curve_cell")
    connection.unregister("curve_point")


def priors(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill estimate_rate_prior from the development curves, unfiltered, and the priors of products with it.

    `cohort`: what to expect of a month's rate from the other months; `order` holds the design effect alone. The
    row without category is all of them together; its design effect fits any slice.
    """
    from pipelines.estimate.products import product_priors  # half a second to import; only fits need it

    del settings
    connection.execute("DELETE FROM estimate_rate_prior")
    _exposed_lines(connection)
    _new_curves(connection)
    deff = _design_effects(connection)
    cohorts = connection.execute("""
        SELECT category, year(month) * 12 + month(month) - 1 AS month_no, returned, exposure, units, doubt
            FROM exposed_cohort ORDER BY ALL
    """).fetchnumpy()
    product_priors(connection)
    connection.execute("DROP TABLE exposed_line; DROP TABLE exposed_cohort")
    overall = deff.get((None, True))
    if overall is None:
        return
    month_category = np.array(np.ma.filled(cohorts["category"], ""), dtype=object)
    rows: list[tuple[str, str | None, date | None, float | None, float | None, float]] = []
    for category in [None, *sorted(c for c, is_all in deff if c is not None and not is_all)]:
        effect = overall if category is None else deff[category, False]
        rows.append(("order", category, None, None, None, effect))
        of = np.ones(month_category.size, dtype=np.bool_) if category is None else month_category == category
        names = ("month_no", "returned", "exposure", "units", "doubt")
        month_no, back, exposed, units, doubt = (cohorts[n][of] for n in names)
        found = month_priors(month_no, back, exposed, units, effect, doubt)
        rows += [("cohort", category, date(no // 12, no % 12 + 1, 1), *prior, effect) for no, prior in found.items()]
    connection.executemany(
        "INSERT INTO estimate_rate_prior (kind, category, month, a, b, deff) VALUES (?, ?, ?, ?, ?, ?)", rows
    )


def _exposed_lines(connection: duckdb.DuckDBPyConnection) -> None:
    """Store exposed_line, sold lines with the share of their returns that should be back, and exposed_cohort.

    A cohort is the lines of a category and month, with its rate of returns per unit so exposed.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE exposed_line AS
        WITH returned AS (
            SELECT order_line_key, sum(units) AS units FROM ({RETURNED_SQL}) r GROUP BY 1),
        cell AS (SELECT row_number() OVER () AS cell_no, * FROM (SELECT DISTINCT {_CELL}, is_new
            FROM estimate_development_curve)),
        curve AS (SELECT cell_no, day, share, doubt FROM estimate_development_curve e JOIN cell c ON {_same("c", "e")}),
        line AS (
            SELECT o.order_line_key, o.order_key, o.product_key, o.ordered_on, o.category, coalesce(o.style_id,
                o.product_id) AS style, date_trunc('month', o.ordered_on)::DATE AS month, o.units_sold, c.cell_no,
                o.source, c.is_new,
                {curve_day_sql("(t.observed_until::DATE - o.clock_started_at::DATE)", "o")} AS age
            FROM (SELECT *, window_ends_on IS NOT NULL AS is_dated FROM fact_order_line) o
                JOIN ({OBSERVED_SQL}) t ON t.source = o.source JOIN cell c ON {_same("c", "o")}
                WHERE o.units_sold > 0 AND o.date_fault IS NULL)
        SELECT l.source, l.is_new, l.order_key, l.product_key, l.ordered_on, l.category, l.style, l.month,
            l.units_sold AS units,
            least(coalesce(b.units, 0), l.units_sold) AS returned,
            coalesce(v.share, CASE WHEN l.age > 0 THEN 1 ELSE 0 END)::DOUBLE AS share,
            coalesce(v.doubt, 0) AS doubt
        FROM line l LEFT JOIN returned b USING (order_line_key) LEFT JOIN curve v ON v.cell_no = l.cell_no
            AND v.day = l.age;
        CREATE OR REPLACE TEMP TABLE exposed_cohort AS
        SELECT category, month, sum(returned)::DOUBLE AS returned, sum(units * share)::DOUBLE AS exposure,
            sum(units)::DOUBLE AS units,
            sum(units * doubt) / greatest(sum(units), 1) AS doubt,
            least(sum(returned) / greatest(sum(units * share), 1e-9), 0.999) AS rate
        FROM exposed_line GROUP BY ALL;
    """)


def _new_curves(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill estimate_new_curve from exposed_line: how much of what is to come lies under curves that are new."""
    connection.execute("""
        DELETE FROM estimate_new_curve;
        INSERT INTO estimate_new_curve BY NAME
        WITH open AS (SELECT *, greatest(units - returned, 0) * (1 - share) AS ahead FROM exposed_line)
        SELECT source, category, min(ordered_on) FILTER (is_new) AS since_on,
            sum(ahead) FILTER (is_new) / sum(ahead) AS share
        FROM open GROUP BY GROUPING SETS ((source, category), (source))
        HAVING sum(ahead) FILTER (is_new) > 0 AND (category IS NOT NULL OR GROUPING(category) = 1)
    """)


def _design_effects(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str | None, bool], float]:
    """Give by category, and for all together, how much more the returns of an order vary than those of single units."""
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
    return {(c, bool(is_all)): float(value or 1.0) for c, is_all, value in effects}


def _same(left: str, right: str) -> str:
    return " AND ".join(f"{left}.{c.strip()} IS NOT DISTINCT FROM {right}.{c.strip()}" for c in _CELL.split(","))
