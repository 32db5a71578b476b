"""What the next order line would know: the counts of a source as of the day after its last one, kept in the build.

An endpoint or a list of baskets scores lines that no build holds yet. It looks up the keys of a line here instead of
counting the facts anew, and has the same counts as a line of the next day would have at a load
(`tests/test_probability_door.py`).
"""

from datetime import datetime

import duckdb

from pipelines.estimate.probability_counts import (
    DAY_ZERO,
    DELIVERY_DAYS,
    LABEL_LAG_DAYS,
    LATE_DAYS,
    PACE_DAYS,
    same_market,
    words_sql,
)
from pipelines.warehouse.sql import quote

SEPARATOR = "\x1f"
"""Between the parts of a key; a part that is missing is written as nothing."""
_JOIN = f"|| '{SEPARATOR}' ||"


def _text(column: str) -> str:
    return f"coalesce({column}::VARCHAR, '')"


def _things(day: str, known: str, late: str) -> list[tuple[str, str, str, str, str, str, str]]:
    """Give what is kept as (thing, key, y, n, e, s, which lines), as SQL over lines with what their market expects."""
    y, e, n = "sum(early) / 1e6", "sum(expected) / 1e6", "count(*)"
    size = "(1000000 - early) * size_no"
    item, market = _text("item"), f"{_text('l.category')} {_JOIN} {_text('l.country')}"
    return [
        ("shop", "''", y, n, e, "NULL", known),
        ("late", "''", y, n, e, "NULL", f"{known} AND {late}"),
        ("market", market, y, n, "count(price)", "sum(price) / 1e6", known),
        ("item", item, y, n, e, "NULL", known),
        ("size", f"{item} {_JOIN} {_text('size')}", y, n, e, "NULL", known),
        ("colour", f"{item} {_JOIN} {_text('colour')}", y, n, e, "NULL", known),
        ("brand", _text("brand"), y, n, e, "NULL", f"{known} AND brand IS NOT NULL"),
        ("customer", _text("customer_key"), y, n, e, "NULL", f"{known} AND customer_key IS NOT NULL"),
        (
            "customer_category",
            f"{_text('customer_key')} {_JOIN} {_text('l.category')}",
            y,
            "coalesce(sum(1000000 - early) FILTER (size_no IS NOT NULL), 0) / 1e6",
            e,
            f"coalesce(sum(({size})::BIGINT), 0) / 1e6",
            f"{known} AND customer_key IS NOT NULL",
        ),
        (
            "pace",
            _text("customer_key"),
            "0",
            f"count(*) FILTER (l.day >= {day} - {PACE_DAYS})",
            "0",
            f"({day} - max(l.day))::DOUBLE",
            f"l.day < {day} AND customer_key IS NOT NULL",
        ),
    ]


def keep(connection: duckdb.DuckDBPyConnection, source: str, observed_until: datetime, *, has_all: bool) -> None:
    """Fill estimate_probability_state of a source from what `counts` made.

    Where only some lines were counted, how styles fit stays as it was counted last.
    """
    day = f"(TIMESTAMP '{observed_until}'::DATE - {DAY_ZERO} + 1)"
    known, late = f"l.day <= {day} - {LABEL_LAG_DAYS + 1}", f"l.day >= {day} - {LABEL_LAG_DAYS + LATE_DAYS}"
    fit = "" if has_all else "AND thing <> 'fit'"
    connection.execute(f"DELETE FROM estimate_probability_state WHERE source = {quote(source)} {fit}")
    things = _things(day, known, late)
    selects = [
        f"SELECT {quote(thing)} AS thing, {key} AS key, {y_} AS y, {n_} AS n, {e_} AS e, {s_}::DOUBLE AS s FROM rated l"
        f" WHERE {where} GROUP BY ALL"
        for thing, key, y_, n_, e_, s_, where in things
    ]
    words = f"""SELECT 'word' AS thing, unnest({words_sql("name")}) AS key, early / 1e6 AS y, 1 AS n,
        expected / 1e6 AS e FROM rated l WHERE {known} AND name IS NOT NULL"""
    selects.append(
        f"SELECT thing, key, sum(y) AS y, sum(n) AS n, sum(e) AS e, NULL::DOUBLE AS s FROM ({words}) GROUP BY ALL"
    )
    selects.append(f"""
        SELECT 'country' AS thing, {_text("o.country")} AS key, 0 AS y, count(*) AS n, 0 AS e,
            sum(delivered_at::DATE - ordered_at::DATE)::DOUBLE AS s
        FROM fact_order_line o SEMI JOIN sold_line USING (order_line_key) WHERE delivered_at >= ordered_at
            AND date_fault IS NULL AND delivered_at::DATE - {DAY_ZERO} BETWEEN {day} - {DELIVERY_DAYS} AND {day} - 1
        GROUP BY ALL""")
    if has_all:
        selects.append(f"""
            SELECT 'fit' AS thing, {_text("item")} AS key, 0 AS y, sum(kept) / 1e6 AS n, 0 AS e,
                sum(gap * kept) / 1e12 AS s
            FROM customer_past l WHERE {known} AND gap IS NOT NULL GROUP BY ALL""")
    connection.execute(f"""
        INSERT INTO estimate_probability_state BY NAME
        WITH rated AS (SELECT l.*, m.expected FROM sold_line l JOIN market_day m
            ON {same_market("l")})
        SELECT {quote(source)} AS source, thing, key, y::DOUBLE AS y, n::DOUBLE AS n, e::DOUBLE AS e, s
        FROM ({" UNION ALL ".join(selects)}) ORDER BY key, thing
    """)
