"""What every sold line knew when it was ordered: counts of its past, point in time, in SQL over the facts.

Here: the history that a line sees, and the table `probability_count` with a column per `COUNTS`. Not here: what the
counts are made into (models/return_features.py), and the fit (pipelines/estimate/probability.py).

Of what came back a line sees only lines ordered more than 35 days before it, each with what was confirmed within 35
days of its own order: nothing that was not known at order time. What was ordered is known the day after. Sums are of
whole millionths, so that they do not hang on the order in which they are added.
"""

from datetime import datetime

import duckdb

from models.curves import NO_WINDOW_DAYS
from pipelines.warehouse.rules import RETURNED_SQL
from pipelines.warehouse.sql import quote

LABEL_LAG_DAYS = 35
LATE_DAYS = 120  # of orders that say at what level returns are of late
PACE_DAYS = 90
DELIVERY_DAYS = 60
DAY_ZERO = "DATE '2000-01-01'"
_MARKET_LINES, _SHOP_WORD = 100, 20
_LAG = f"RANGE BETWEEN UNBOUNDED PRECEDING AND {LABEL_LAG_DAYS + 1} PRECEDING"
_LATE = f"RANGE BETWEEN {LABEL_LAG_DAYS + LATE_DAYS} PRECEDING AND {LABEL_LAG_DAYS + 1} PRECEDING"
_LETTERS = ("xxs", "xs", "s", "m", "l", "xl", "xxl", "xxxl")
_TEMPORARY = (
    *("sold_line", "wanted_line", "market_day", "brand_day", "word_day", "delivery_day", "customer_past"),
    "line_past",
)


def size_sql(size: str) -> str:
    """Give a size as a number in steps of one size: letters by their order, numbers by their usual step."""
    text = f"lower(trim({size}))"
    letters = " ".join(f"WHEN {quote(letter)} THEN {at}" for at, letter in enumerate(_LETTERS))
    number = f"try_cast(regexp_extract({text}, '[0-9]+([.][0-9]+)?') AS DOUBLE)"
    several = f"WHEN regexp_matches({text}, '^[2-9] ?xl$') THEN 4 + try_cast({text}[1] AS INTEGER)"
    step = f"CASE WHEN {number} >= 70 THEN {number} / 6 WHEN {number} >= 20 THEN {number} / 2 ELSE {number} END"
    return f"(CASE {text} {letters} ELSE CASE {several} ELSE {step} END END)::DOUBLE"


def words_sql(name: str) -> str:
    """Give the first eight words of a product's name, in small letters; words of one or two letters are none."""
    words = f"list_distinct(regexp_extract_all(lower({name}), '\\p{{L}}{{3,}}'))"
    return f"list_sort({words})[:8]"


def same_market(line: str) -> str:
    """Join market_day to lines of their category, country and day."""
    same = " AND ".join(f"m.{c} IS NOT DISTINCT FROM {line}.{c}" for c in ("category", "country"))
    return f"{same} AND m.day = {line}.day"


def counts(connection: duckdb.DuckDBPyConnection, source: str, observed_until: datetime, where_line: str) -> None:
    """Make the temporary table probability_count: COUNTS and labels of sold lines, point in time.

    `where_line` (a predicate on order_line_key) limits the lines answered for, never the history they see. `returned`
    is the share of units that came back so far; `is_complete` says that the window and three weeks have passed.
    """
    has_all = where_line == "TRUE"
    _sold_lines(connection, source, where_line)
    _market_days(connection)
    _group_days(connection)
    _customer_past(connection, has_all=has_all)
    _line_past(connection, has_all=has_all)
    _answer(connection, observed_until, has_all=has_all)


def forget(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop what `counts` made."""
    for table in (*_TEMPORARY, "probability_count"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def _sold_lines(connection: duckdb.DuckDBPyConnection, source: str, where_line: str) -> None:
    """Store sold_line, a source's sold lines with what came back of each, and wanted_line, those answered for."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE sold_line AS
        WITH returned AS (
            SELECT r.order_line_key, sum(r.units) AS units, sum(r.units) FILTER (r.confirmed_at::DATE
                <= l.ordered_at::DATE + {LABEL_LAG_DAYS}) AS early
            FROM ({RETURNED_SQL}) r JOIN fact_order_line l USING (order_line_key) GROUP BY 1),
        named AS (
            SELECT product_key, name, CASE WHEN row_number() OVER (PARTITION BY product_key ORDER BY valid_from) > 1
                THEN valid_from ELSE TIMESTAMP '0001-01-01' END AS since, coalesce(valid_to, TIMESTAMP '9999-01-01')
                AS until
            FROM dim_product WHERE name IS NOT NULL)
        SELECT o.order_line_key, o.order_key, o.customer_key, coalesce(o.style_id, o.product_id) AS item, o.size,
            o.colour, o.brand, o.category, o.country, n.name, (o.ordered_at::DATE - {DAY_ZERO})::INTEGER AS day,
            (1e6 * least(coalesce(b.early, 0) / o.units_sold, 1))::BIGINT AS early,
            least(coalesce(b.units, 0) / o.units_sold, 1)::DOUBLE AS returned, {size_sql("o.size")} AS size_no,
            greatest(o.net_amount::DOUBLE, 0) AS net, (1e6 * ln(1 + net / o.units_sold))::BIGINT AS price
        FROM fact_order_line o LEFT JOIN returned b USING (order_line_key)
            LEFT JOIN named n ON n.product_key = o.product_key AND o.ordered_at >= n.since AND o.ordered_at < n.until
        WHERE o.source = {quote(source)} AND o.units_sold > 0;
        CREATE OR REPLACE TEMP TABLE wanted_line AS SELECT order_line_key, order_key, item, customer_key
            FROM sold_line
            WHERE {where_line}
    """)


def _market_days(connection: duckdb.DuckDBPyConnection) -> None:
    """Store market_day: what was known on a day of the whole shop, of late and of each market; `expected` its rate.

    A market is a category in a country; its rate is pulled towards the shop's with 100 lines.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE market_day AS
        WITH per_day AS (
            SELECT category, country, day, sum(early)::BIGINT AS y, count(*) AS n, sum(price)::BIGINT AS price,
                count(price) AS priced FROM sold_line GROUP BY ALL),
        every AS (
            SELECT DISTINCT day, sum(y) OVER w AS y, sum(n) OVER w AS n, sum(y) OVER l AS late_y, sum(n) OVER l
                AS late_n
            FROM per_day WINDOW w AS (ORDER BY day {_LAG}), l AS (ORDER BY day {_LATE})),
        own AS (
            SELECT category, country, day, sum(y) OVER w AS y, sum(n) OVER w AS n, sum(price) OVER w AS price,
                sum(priced) OVER w AS priced
            FROM per_day WINDOW w AS (PARTITION BY category, country ORDER BY day {_LAG}))
        SELECT o.category, o.country, o.day, coalesce(e.y, 0) / 1e6 AS shop_y, coalesce(e.n, 0) AS shop_n,
            coalesce(e.late_y, 0) / 1e6 AS late_y, coalesce(e.late_n, 0) AS late_n, coalesce(o.y, 0) / 1e6 AS market_y,
            coalesce(o.n, 0) AS market_n, o.price / 1e6 / nullif(o.priced, 0) AS market_price,
            (shop_y + 1) / (shop_n + 2) AS shop_rate,
            (1e6 * (market_y + {_MARKET_LINES} * shop_rate) / (market_n + {_MARKET_LINES}))::BIGINT AS expected
        FROM own o JOIN every e USING (day)
    """)


def _group_days(connection: duckdb.DuckDBPyConnection) -> None:
    """Store brand_day, word_day and delivery_day.

    What was known on a day of a brand, of the words of a product's name, and how long deliveries to a country took.
    """
    rated = f"sold_line l JOIN market_day m ON {same_market('l')}"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE brand_day AS
        SELECT brand, day, coalesce(sum(y) OVER w, 0) / 1e6 AS brand_y, coalesce(sum(e) OVER w, 0) / 1e6 AS brand_e
        FROM (SELECT brand, l.day, sum(early)::BIGINT AS y, sum(expected)::BIGINT AS e FROM {rated}
            WHERE brand IS NOT NULL GROUP BY ALL)
        WINDOW w AS (PARTITION BY brand ORDER BY day {_LAG});
        CREATE OR REPLACE TEMP TABLE word_day AS
        WITH named AS (
            SELECT name, l.day, any_value(shop_rate) AS shop_rate, sum(early)::BIGINT AS y, sum(expected)::BIGINT AS e
            FROM {rated} WHERE name IS NOT NULL GROUP BY ALL),
        words AS (SELECT name, unnest({words_sql("name")}) AS word FROM (SELECT DISTINCT name FROM named)),
        per_day AS (SELECT word, day, sum(y)::BIGINT AS y, sum(e)::BIGINT AS e FROM named JOIN words USING (name)
            GROUP BY ALL),
        known AS (SELECT word, day, coalesce(sum(y) OVER of_word, 0) / 1e6 AS y, coalesce(sum(e) OVER of_word, 0) / 1e6
                AS e
            FROM per_day WINDOW of_word AS (PARTITION BY word ORDER BY day {_LAG}))
        SELECT n.name, n.day, round(avg({word_rate_sql("k.y", "k.e", "n.shop_rate")}), 6) AS word_rate
        FROM named n JOIN words USING (name) JOIN known k ON k.word = words.word AND k.day = n.day GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE delivery_day AS
        WITH took AS (
            SELECT country, (delivered_at::DATE - {DAY_ZERO})::INTEGER AS day, count(*) AS n,
                sum(delivered_at::DATE - ordered_at::DATE) AS days
            FROM fact_order_line SEMI JOIN sold_line USING (order_line_key) WHERE delivered_at IS NOT NULL
                AND delivered_at >= ordered_at AND date_fault IS NULL GROUP BY ALL),
        asked AS (SELECT DISTINCT country, day FROM sold_line)
        SELECT country, day, coalesce(sum(days) OVER of_country, 0) AS days, coalesce(sum(n) OVER of_country, 0) AS n
        FROM (SELECT country, day, sum(n) AS n, sum(days) AS days FROM (
            SELECT * FROM took UNION ALL BY NAME SELECT country, day, 0 AS n, 0 AS days FROM asked) GROUP BY ALL)
        WINDOW of_country AS (
            PARTITION BY country ORDER BY day RANGE BETWEEN {DELIVERY_DAYS} PRECEDING AND 1 PRECEDING);
    """)


def word_rate_sql(y: str, e: str, shop_rate: str) -> str:
    """Give what a word adds: log of returns over what their markets would give, shrunk by 20 lines of the shop."""
    return f"ln(({y} + {_SHOP_WORD} * {shop_rate}) / ({e} + {_SHOP_WORD} * {shop_rate}))"


def _customer_past(connection: duckdb.DuckDBPyConnection, *, has_all: bool) -> None:
    """Store customer_past: what was known of each line's customer, and how many sizes it lies above those they kept.

    A style's fit is read from its other buyers, so of some lines all lines of these buyers are needed.
    """
    related = (
        ""
        if has_all
        else """
        WHERE customer_key IS NULL AND item IN (SELECT item FROM wanted_line) OR customer_key IN (
            SELECT customer_key FROM wanted_line UNION ALL SELECT customer_key FROM sold_line
            WHERE item IN (SELECT item FROM wanted_line))"""
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE customer_past AS
        SELECT l.*, 1000000 - early AS kept, (1e6 * (size_no - kept_s / nullif(kept_n, 0)))::BIGINT AS gap FROM (
            SELECT l.*, expected,
                CASE WHEN customer_key IS NULL THEN 0 ELSE coalesce(sum(early) OVER c, 0) / 1e6 END AS customer_y,
                CASE WHEN customer_key IS NULL THEN 0 ELSE coalesce(sum(expected) OVER c, 0) / 1e6 END AS customer_e,
                CASE WHEN customer_key IS NULL THEN 0 ELSE count(*) OVER c END AS customer_n,
                CASE WHEN customer_key IS NULL THEN 0 ELSE coalesce(sum(early) OVER g, 0) / 1e6 END
                    AS customer_category_y,
                CASE WHEN customer_key IS NULL THEN 0 ELSE coalesce(sum(expected) OVER g, 0) / 1e6 END
                    AS customer_category_e,
                CASE WHEN customer_key IS NULL THEN 0 ELSE coalesce(sum(1000000 - early) FILTER (size_no IS NOT NULL)
                    OVER g, 0) / 1e6 END AS kept_n,
                CASE WHEN customer_key IS NULL THEN 0 ELSE coalesce(sum(((1000000 - early) * size_no)::BIGINT)
                    OVER g, 0) / 1e6 END AS kept_s,
                CASE WHEN customer_key IS NULL THEN 0 ELSE count(*) OVER p END AS pace,
                CASE WHEN customer_key IS NULL THEN NULL ELSE l.day - max(l.day) OVER b END AS pause
            FROM (SELECT * FROM sold_line {related}) l JOIN market_day m ON {same_market("l")}
            WINDOW c AS (PARTITION BY customer_key ORDER BY l.day {_LAG}),
                g AS (PARTITION BY customer_key, l.category ORDER BY l.day {_LAG}),
                p AS (PARTITION BY customer_key ORDER BY l.day RANGE BETWEEN {PACE_DAYS} PRECEDING AND 1 PRECEDING),
                b AS (PARTITION BY customer_key ORDER BY l.day RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) l
    """)


def _line_past(connection: duckdb.DuckDBPyConnection, *, has_all: bool) -> None:
    """Store line_past: what was known of each line's style, size and colour too."""
    related = "" if has_all else "WHERE item IN (SELECT item FROM wanted_line)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE line_past AS
        SELECT *, coalesce(sum(early) OVER i, 0) / 1e6 AS item_y, count(*) OVER i AS item_n,
            coalesce(sum(early) OVER s, 0) / 1e6 AS size_y, count(*) OVER s AS size_n,
            coalesce(sum(early) OVER c, 0) / 1e6 AS colour_y, count(*) OVER c AS colour_n,
            coalesce(sum(kept) FILTER (gap IS NOT NULL) OVER i, 0) / 1e6 AS fit_n,
            coalesce(sum(gap * kept) OVER i, 0) / 1e12 AS fit_s
        FROM customer_past {related}
        WINDOW i AS (PARTITION BY item ORDER BY day {_LAG}), s AS (PARTITION BY item, size ORDER BY day {_LAG}),
            c AS (PARTITION BY item, colour ORDER BY day {_LAG})
    """)


def _answer(connection: duckdb.DuckDBPyConnection, observed_until: datetime, *, has_all: bool) -> None:
    """Store probability_count: what lines know of their past, their basket, and themselves."""
    same_order = "" if has_all else "SEMI JOIN wanted_line USING (order_key)"
    wanted = "" if has_all else "SEMI JOIN wanted_line USING (order_line_key)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE probability_count AS
        WITH basket_line AS (SELECT order_key, item, size, colour, category, net FROM sold_line {same_order}),
        of_item AS (SELECT order_key, item, count(*) AS style_lines, count(DISTINCT size) AS sizes,
            count(DISTINCT colour) AS colours FROM basket_line GROUP BY ALL),
        of_category AS (SELECT order_key, category, count(*) AS category_lines FROM basket_line GROUP BY ALL),
        of_order AS (SELECT order_key, count(*) AS lines, round(sum(net), 2) AS basket_net FROM basket_line
            GROUP BY ALL)
        SELECT r.order_line_key, r.day, r.returned, year(o.ordered_on) * 12 + month(o.ordered_on) AS month,
            o.category, o.country, CASE WHEN r.customer_n > 0 THEN 'known' ELSE 'new' END AS customer,
            coalesce(greatest(o.clock_started_at + to_days(coalesce(o.window_days, {NO_WINDOW_DAYS})),
                o.window_ends_on) + INTERVAL 21 DAY <= TIMESTAMP '{observed_until}', false) AS is_complete,
            m.* EXCLUDE (category, country, day, shop_rate, expected), item_y, item_n, size_y, size_n, colour_y,
            colour_n, coalesce(brand_y, 0) AS brand_y, coalesce(brand_e, 0) AS brand_e, coalesce(word_rate, 0)
                AS word_rate,
            customer_y, customer_e, customer_n, customer_category_y, customer_category_e, pace, pause, r.size_no,
            kept_n, kept_s, fit_n, fit_s, greatest(sizes, CASE WHEN o.has_several_sizes THEN 2 ELSE 1 END) AS sizes,
            colours, style_lines, category_lines, lines, basket_net, r.net,
            coalesce(o.discount_amount::DOUBLE, 0) AS discount, o.units_sold AS units,
            coalesce(o.is_gift, false)::DOUBLE AS is_gift, (o.channel IS NOT DISTINCT FROM 'store')::DOUBLE AS is_store,
            coalesce(o.window_days, {NO_WINDOW_DAYS}) AS window_days, coalesce(p.fee_amount::DOUBLE, 0) AS fee,
            coalesce(d.days / nullif(d.n, 0), 0) AS delivery_days, month(o.ordered_on) AS month_no
        FROM (SELECT * FROM line_past {wanted}) r JOIN fact_order_line o USING (order_line_key)
            JOIN market_day m ON {same_market("r")}
            JOIN of_item ON of_item.order_key = r.order_key AND of_item.item = r.item
            JOIN of_category ON of_category.order_key = r.order_key
                AND of_category.category IS NOT DISTINCT FROM r.category
            JOIN of_order ON of_order.order_key = r.order_key
            LEFT JOIN brand_day b ON b.brand = r.brand AND b.day = r.day
            LEFT JOIN word_day w ON w.name = r.name AND w.day = r.day
            LEFT JOIN delivery_day d ON d.country = r.country AND d.day = r.day
            LEFT JOIN dim_policy p ON p.policy_key = o.policy_key
    """)
