"""Columns of order lines that change once a return is known, from the versions that later exports wrote.

Only where a load has the logs open: an export that was rewritten before the first load shows no versions, and is found
by how well it separates alone (models/model_judgement.leaks).
"""

import duckdb

from models.model_judgement import Leak
from models.return_features import COLUMN_OF
from pipelines.warehouse.rules import RETURNED_SQL
from pipelines.warehouse.sql import quote

_FEWEST_CHANGED = 30
_LEAST_SHARE = 0.02  # of returned lines changed, below which nothing is said
_TIMES = 5  # as many of the returned as of the kept lines


def rewritten(connection: duckdb.DuckDBPyConnection, source: str) -> tuple[Leak, ...]:
    """Name the features that rest on a column which changed after the return of a line rather than for kept ones.

    A column has changed where the versions of a line's row hold several values of it. Without logs nothing is named.
    """
    open_logs = connection.execute(
        "SELECT 1 FROM information_schema.tables WHERE table_name = 'all_order_line' AND table_catalog = 'temp'"
    ).fetchall()
    if not open_logs:
        return ()
    columns = sorted(set(COLUMN_OF.values()))
    changed = ", ".join(f"count(DISTINCT {c}) > 1 AS {c}" for c in columns)
    counted = ", ".join(f"count(*) FILTER ({c} AND is_back), count(*) FILTER ({c} AND NOT is_back)" for c in columns)
    row = connection.execute(f"""
        WITH version AS (SELECT order_line_key, {changed} FROM all_order_line WHERE source = {quote(source)}
            GROUP BY 1 HAVING count(*) > 1),
        back AS (SELECT DISTINCT order_line_key FROM ({RETURNED_SQL}) r)
        SELECT (SELECT count(*) FROM fact_order_line JOIN back USING (order_line_key) WHERE source = {quote(source)}),
            (SELECT count(*) FROM fact_order_line ANTI JOIN back USING (order_line_key)
                WHERE source = {quote(source)}), {counted}
        FROM (SELECT version.*, back.order_line_key IS NOT NULL AS is_back FROM version
            LEFT JOIN back USING (order_line_key))
        """).fetchall()[0]
    returned, kept, *counts = row
    found = []
    for number, column in enumerate(columns):
        of_returned, of_kept = counts[2 * number], counts[2 * number + 1]
        share, other = of_returned / max(returned, 1), of_kept / max(kept, 1)
        if of_returned >= _FEWEST_CHANGED and share >= _LEAST_SHARE and share > _TIMES * other:
            feature = next(f for f, c in COLUMN_OF.items() if c == column)
            found.append(Leak(feature, "rewritten", share))
    return tuple(found)
