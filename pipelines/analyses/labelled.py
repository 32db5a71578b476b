"""A model from one flat file of order lines with a column that says what came back, before any warehouse is loaded.

The file is loaded through its mapping into a warehouse of its own that is thrown away; the column takes the place of
the returns. So a team can judge the method on its own history.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import yaml

from pipelines.errors import SourceError
from pipelines.estimate.probability import Version, trained
from pipelines.warehouse.sql import quote

TARGET = "returned_target"
YES, NO = ("1", "true", "yes", "y", "oui", "t", "1.0"), ("0", "false", "no", "n", "non", "f", "0.0")
_RETURN_DAYS, _LATER_DAYS = 20, 200


def with_target(mapping: Path, column: str, to: Path) -> Path:
    """Write a mapping anew whose order lines carry the column as a dimension; raises SourceError where it has none."""
    given: dict[str, Any] = yaml.safe_load(mapping.read_text(encoding="utf-8"))
    found = 0
    for table in given.get("tables") or []:
        lines = (table.get("to") or {}).get("order_line")
        for spec in lines if isinstance(lines, list) else [lines] if lines else []:
            spec["dimensions"] = {**(spec.get("dimensions") or {}), TARGET: column}
            found += 1
    if not found:
        raise SourceError(f"{mapping} maps no order_line: a model learns from order lines. Add that table to it.")
    to.write_text(yaml.safe_dump(given, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return to


def train_labelled(build: Path, column: str) -> Version:
    """Put the column in the place of the returns of a build that is thrown away, and train on it.

    Raises SourceError where the column is not filled with yes and no, or too few lines came back.
    """
    yes, no = (", ".join(map(quote, words)) for words in (YES, NO))
    target = f"lower(trim(json_extract_string(dimensions, '$.{TARGET}')))"
    with duckdb.connect(str(build)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute(f"""
            SELECT count(*) FILTER ({target} IN ({yes})), count(*) FILTER ({target} IN ({no})),
                any_value({target}) FILTER ({target} NOT IN ({yes}, {no})) FROM fact_order_line WHERE units_sold > 0
            """).fetchall()[0]
        returned, kept, other = rows
        if other is not None:
            raise SourceError(f"{column} holds {str(other)[:40]!r}: the target is 1 or 0, yes or no, true or false.")
        if not returned or not kept:
            raise SourceError(f"{column} says that {returned:,} lines came back and {kept:,} did not: both are needed.")
        connection.execute(f"""
            DELETE FROM fact_return_line;
            DELETE FROM estimate_credit_match;
            INSERT INTO fact_return_line BY NAME
            SELECT order_line_key AS return_lot_key, order_line_key AS return_line_key, order_line_key, source,
                units_sold AS units, true AS is_headline, ordered_at + INTERVAL {_RETURN_DAYS} DAY AS confirmed_at
            FROM fact_order_line WHERE units_sold > 0 AND {target} IN ({yes})""")
        source, last = connection.execute(
            "SELECT source, max(ordered_at) FROM fact_order_line GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
        ).fetchall()[0]
        version = trained(connection, source, last + timedelta(days=_LATER_DAYS))
    if version is None:
        raise SourceError(
            f"{column}: {returned:,} lines came back and {kept:,} did not, over the days of the file; 500 of each are"
            " needed 70 days after the first order."
        )
    return version
