"""A return model trained on demand, changing nothing: on a build, or on a flat file of order lines before any load.

The file is loaded through its mapping into a warehouse of its own that is thrown away; its column that says what came
back takes the place of the returns. So a team can judge the method on its own history.
"""

import json
import re
from datetime import timedelta
from pathlib import Path

from pipelines.errors import SourceError
from pipelines.estimate.probability import Version, trained
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_build, current_id
from pipelines.warehouse.rules import OBSERVED_SQL
from pipelines.warehouse.sql import connect, quote

TARGET = "returned_target"
YES, NO = ("1", "true", "yes", "y", "oui", "t", "1.0"), ("0", "false", "no", "n", "non", "f", "0.0")
_RETURN_DAYS, _LATER_DAYS = 20, 200


def with_target(mapping: Path, column: str, to: Path) -> Path:
    """Write a mapping anew whose order lines carry the column as a dimension of their own.

    The text is kept as it is but for that: what a mapping's words mean is its reader's business. Raises SourceError
    where it maps no order line, or in a way that leaves no place for it.
    """
    text, own = mapping.read_text(encoding="utf-8"), f"{TARGET}: {json.dumps(column, ensure_ascii=False)}"
    block = re.search(r"^( *)order_line: *(?:#.*)?\n((?:\1 +.*\n?|\s*\n)+)", text, re.MULTILINE)
    inline = re.search(r"order_line: *\{", text)
    if block is None and inline is None:
        raise SourceError(f"{mapping} maps no order_line: a model learns from order lines. Add that table to it.")
    if block is None and inline is not None:
        changed = f"{text[: inline.end()]}dimensions: {{{own}}}, {text[inline.end() :]}"
    elif block is not None and "dimensions: {" in block[2]:
        changed = text.replace(block[0], block[0].replace("dimensions: {", f"dimensions: {{{own}, ", 1), 1)
    elif block is not None:
        first = re.match(r"\s*?( +)(- )?", block[2])
        indent, item = (first[1], first[2] or "") if first else ("", "")
        line = f"{indent}{item}dimensions: {{{own}}}\n"
        rest = block[2].replace(f"{indent}- ", f"{indent}  ", 1) if item else block[2]
        changed = text.replace(block[2], line + rest, 1)
    to.write_text(changed, encoding="utf-8")
    return to


def train_labelled(build: Path, column: str) -> Version:
    """Put the column in the place of the returns of a build that is thrown away, and train on it.

    Raises SourceError where the column is not filled with yes and no, or too few lines came back.
    """
    yes, no = (", ".join(map(quote, words)) for words in (YES, NO))
    target = f"lower(trim(json_extract_string(dimensions, '$.{TARGET}')))"
    with connect(build, folders=[build.parent]) as connection:
        rows = connection.execute(f"""
            SELECT count(*) FILTER ({target} IN ({yes})), count(*) FILTER ({target} IN ({no})),
                any_value({target}) FILTER ({target} NOT IN ({yes}, {no})) FROM fact_order_line WHERE units_sold > 0
            """).fetchall()[0]
        returned, kept, other = rows
        if other is not None:
            raise SourceError(f"{column} holds {str(other)[:40]!r}: the target is 1 or 0, yes or no, true or false.")
        if not returned and not kept:
            raise SourceError(
                "No line of the file counts. Load it with `backhaul load` into an empty warehouse to see which rule"
                " each row broke."
            )
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


def train_build(settings: Settings, source: str | None) -> Version | None:
    """Train on the build readers see, in temporary tables beside it; None where no source has enough.

    Raises SourceError for a source that is not there, WarehouseMissing without a build that can be read.
    """
    current_build(settings.warehouse).close()
    path = build_path(settings.warehouse, current_id(settings.warehouse) or "")
    with connect(settings=settings, folders=[path.parent]) as connection:
        connection.execute(f"ATTACH {quote(path)} AS build (READ_ONLY); USE build")
        known = dict(connection.execute(f"SELECT source, observed_until FROM ({OBSERVED_SQL}) t ORDER BY 1").fetchall())
        for name in [source] if source else known:
            if name not in known:
                raise SourceError(f"{name} is no source of this warehouse. There are: {', '.join(known)}.")
            if known[name] is not None and (version := trained(connection, name, known[name])) is not None:
                return version
    return None
