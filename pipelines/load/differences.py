"""What differs between two builds: rows of each table added, gone and changed, and headline metrics with why."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from pipelines.errors import HistoryError
from pipelines.load.history import HEADLINES, Number, answered
from pipelines.settings import Settings
from pipelines.warehouse import build, sql, star
from pipelines.warehouse.engine import Build
from pipelines.why import together, why

DIGITS = 6  # decimals by which figures with a fraction are compared: sums made in another order differ beyond
KEYS = {
    "dim_product": ("product_key", "valid_from"),
    "dim_carrier_calendar": ("carrier", "country", "valid_from"),
    "dim_rate_card": ("rate_id", "valid_from"),
    "dim_handling_rate": ("place_id", "activity", "valid_from"),
    "dim_day": ("day", "country", "carrier"),
    "fact_fx_rate": ("day", "currency", "quote_currency"),
    "estimate_return_cost": ("return_lot_key", "component"),
    "estimate_promise": ("return_key", "promise_key", "promise_id"),
    "estimate_leg_part": ("leg_key", "part"),
    "estimate_late_refund": ("return_key", "rule"),
}
"""Columns that tell the rows of a table apart, where the first one alone does not."""
COMPARED = ("dim_", "fact_", "estimate_")


@dataclass(frozen=True)
class Table:
    """How a table differs: its rows in both builds, rows added, gone and changed, and the columns that changed most.

    Without a key of its rows (`is_keyed` false) a row that changed is one gone and one added.
    """

    name: str
    before: int
    after: int
    added: int
    gone: int
    changed: int
    columns: tuple[tuple[str, int], ...] = ()
    is_keyed: bool = True

    @property
    def is_same(self) -> bool:
        """Say whether every row is as it was."""
        return not (self.added or self.gone or self.changed)


@dataclass(frozen=True)
class Headline:
    """One metric in both builds, and why it differs or has no value."""

    key: str
    before: Number
    after: Number
    why: str

    @property
    def change(self) -> float | None:
        """Give the difference, in the metric's unit."""
        values = self.before.value, self.after.value
        return None if values[0] is None or values[1] is None else values[1] - values[0]


@dataclass(frozen=True)
class Differences:
    """What the second build has otherwise than the first: tables, metrics, and the loads that one alone holds."""

    first: str
    second: str
    tables: tuple[Table, ...]
    metrics: tuple[Headline, ...]
    loads_added: tuple[str, ...]
    loads_gone: tuple[str, ...]


def compare(settings: Settings, first: str, second: str, *, keys: Sequence[str] = HEADLINES) -> Differences:
    """Compare two kept builds, row by row and metric by metric. Raises HistoryError for one that is not kept."""
    for build_id in (first, second):
        if not build.is_there(settings.warehouse, build_id):
            kept = ", ".join(file.stem for file in build.own_files(settings.warehouse)) or "none"
            raise HistoryError(why("no_build", build=build_id[:60], kept=kept))
    with build.open_build(settings.warehouse, first) as a, build.open_build(settings.warehouse, second) as b:
        tables = _tables(settings, first, second)
        by_name = {table.name: table for table in tables}
        metrics = tuple(_headline(a, b, key, by_name) for key in keys)
        before, after = (set(one.info.get("loads", "").split()) for one in (a, b))
    return Differences(first, second, tables, metrics, tuple(sorted(after - before)), tuple(sorted(before - after)))


def _tables(settings: Settings, first: str, second: str) -> tuple[Table, ...]:
    connection = sql.connect(settings=settings)
    try:
        for name, build_id in (("a", first), ("b", second)):
            path = build.build_path(settings.warehouse, build_id)
            connection.execute(f"ATTACH {sql.quote(path)} AS {name} (READ_ONLY)")
        return tuple(_table(connection, name) for name in star.STAR.tables if name.startswith(COMPARED))
    finally:
        connection.close()


def _table(connection: duckdb.DuckDBPyConnection, name: str) -> Table:
    """Compare the rows of one table by their key, or as a whole where nothing tells them apart."""
    table = star.STAR.tables[name]
    key = KEYS.get(name, (next(iter(table.columns)).name,))
    counts = []
    for of in ("a", "b"):
        told = ", ".join(sql.name(k) for k in key)
        distinct = (
            f"SELECT count(*) AS n, (SELECT count(*) FROM (SELECT DISTINCT {told} FROM {of}.{name})) FROM {of}.{name}"
        )
        counts.append(connection.execute(distinct).fetchall()[0])
    (before, keys_before), (after, keys_after) = counts
    values = {c.name: _comparable(c.name, sql.sql_type(c)) for c in table.columns}
    if keys_before == before and keys_after == after:
        return _keyed(connection, name, key, values, before, after)
    row = f"hash({', '.join(values.values())})"
    added, gone = connection.execute(f"""
        WITH x AS (SELECT {row} AS h, count(*) AS n FROM a.{name} GROUP BY 1),
            y AS (SELECT {row} AS h, count(*) AS n FROM b.{name} GROUP BY 1)
        SELECT coalesce(sum(greatest(coalesce(y.n, 0) - coalesce(x.n, 0), 0)), 0)::BIGINT,
            coalesce(sum(greatest(coalesce(x.n, 0) - coalesce(y.n, 0), 0)), 0)::BIGINT
        FROM x FULL JOIN y USING (h)
    """).fetchall()[0]
    return Table(name, before, after, added, gone, 0, is_keyed=False)


def _keyed(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    key: tuple[str, ...],
    values: dict[str, str],
    before: int,
    after: int,
) -> Table:
    """Compare rows by their key; an empty part of a key is like another empty one."""
    same = " AND ".join(f"x.{sql.name(k)} IS NOT DISTINCT FROM y.{sql.name(k)}" for k in key)
    picked = ", ".join(f"{value} AS {sql.name(column)}" for column, value in values.items())
    rest = [c for c in values if c not in key]
    differ = [f"x.{sql.name(c)} IS DISTINCT FROM y.{sql.name(c)}" for c in rest]
    counted = ", ".join(f"count(*) FILTER ({one})" for one in differ)
    found = connection.execute(f"""
        SELECT count(*), count(*) FILTER ({" OR ".join(differ) or "false"}){", " + counted if counted else ""}
        FROM (SELECT {picked} FROM a.{name}) x JOIN (SELECT {picked} FROM b.{name}) y ON {same}
    """).fetchall()[0]
    shared, changed, *by_column = found
    most = sorted(((c, n) for c, n in zip(rest, by_column, strict=True) if n), key=lambda pair: (-pair[1], pair[0]))
    return Table(name, before, after, after - shared, before - shared, changed, tuple(most))


def _comparable(column: str, kind: str) -> str:
    return f"round({sql.name(column)}, {DIGITS})" if kind == "DOUBLE" else sql.name(column)


def _headline(first: Build, second: Build, key: str, tables: dict[str, Table]) -> Headline:
    """Answer one metric of both builds, and say why it differs: rows, factors, or what was heard since."""
    from pipelines import metrics

    before, after = answered(first, key), answered(second, key)
    missing = together(*dict.fromkeys(r for r in (before.reason, after.reason) if r))
    if missing:
        return Headline(key, before, after, missing)
    if _same(before.value, after.value):
        return Headline(key, before, after, "")
    bases = {
        one.base.table_name
        for measure in metrics.metric(key).measures
        for alternative in measure.alternatives[:1]
        for one in alternative
    }
    moved = [tables[name] for name in sorted(bases) if name in tables and not tables[name].is_same]
    said = [why("diff_rows", table=t.name, added=t.added, gone=t.gone, changed=t.changed) for t in moved]
    facts = [t for n, t in tables.items() if n.startswith("fact_") and n not in bases and not t.is_same]
    if not moved and facts:
        said = [why("diff_rows", table=t.name, added=t.added, gone=t.gone, changed=t.changed) for t in facts[:2]]
    until = first.info.get("observed_until", "")[:10], second.info.get("observed_until", "")[:10]
    if until[0] != until[1]:
        said.append(why("diff_observed", before=until[0] or "-", after=until[1] or "-"))
    if not said:
        said.append(why("diff_estimates"))
    return Headline(key, before, after, together(*said))


def _same(before: float | None, after: float | None) -> bool:
    return before is not None and after is not None and abs(before - after) <= 1e-9 * max(1.0, abs(before))
