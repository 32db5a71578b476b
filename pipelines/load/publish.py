"""Publishing: shaping, estimating and checking a draft, and pointing readers at it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import duckdb
from sqlalchemy import func, select

from pipelines import estimate, factors
from pipelines.errors import BackhaulError, CheckFailed, WarehouseDamaged
from pipelines.load import checks
from pipelines.load.faults import is_of_machine, put_aside, sentence_of
from pipelines.load.judge import judge_again
from pipelines.load.report import Progress, Report, row_counts
from pipelines.load.shape import (
    coverage,
    dimensions,
    lookups,
    order_lines,
    parcels,
    promised_dates,
    refunds,
    return_lines,
    routing,
    touched,
    versions,
)
from pipelines.settings import Settings
from pipelines.warehouse import build, sql, star, state, state_tables
from pipelines.warehouse import touched as touched_warehouse
from pipelines.warehouse.log_files import Logs
from pipelines.warehouse.shards import Shards
from pipelines.why import why

KEPT_BUILDS = 200  # builds whose checks and rows are remembered
SHAPED = (
    "fact_order_line",
    "fact_return_line",
    "fact_return_event",
    "fact_return_leg",
    "fact_refund",
    "fact_refund_line",
    "fact_recovery",
    "fact_promised_date",
    "dim_customer",
)
"""Tables that are shaped a shard at a time."""
GROWTH = 1.2  # of a build's file by rows that later ones replaced, before it is written anew


def publish(
    settings: Settings,
    state_file: state.State,
    draft: build.Draft,
    report: Report,
    progress: Progress,
    *,
    is_whole: bool,
) -> dict[str, BackhaulError]:
    """Build and publish what is logged; give the new loads that had to be put aside for it, each with its error.

    Where an increment fails, the build it was copied from may be damaged: everything is made again from the logs. Where
    that fails, loads are left out, the newest first, until it holds; the last one left out is at fault.
    """

    def attempt(loads: list[dict[str, Any]], *, is_probe: bool = False) -> Exception | None:
        try:
            _build_once(
                settings, state_file, draft, loads, report, progress, is_whole=is_whole or is_probe, is_probe=is_probe
            )
        except Exception as error:
            is_known = isinstance(error, BackhaulError) and not isinstance(error, CheckFailed)
            if (
                is_known
                or isinstance(error, (duckdb.OutOfMemoryException, MemoryError))
                or is_of_machine(settings, error)
            ):
                raise
            return error
        finally:
            if is_probe:
                draft.empty()
        return None

    failures: dict[str, BackhaulError] = {}
    while True:
        published, new = state_file.loads_with("published"), state_file.loads_with("logged")
        problem = attempt(published + new)
        if problem is not None and draft.is_copy:
            draft.empty()
            problem = attempt(published + new)
        if problem is None:
            return failures
        draft.empty()
        progress(why("step_damaged"))
        if attempt(published, is_probe=True) is not None:
            _blame_published(published, problem, attempt)
        if not new:  # it holds when it is tried again: what failed was the machine
            if (problem := attempt(published)) is not None:
                raise problem
            return failures
        every = published + new
        first = every[-1] if len(new) == 1 else _first_failing(every, len(published), attempt)
        failures[first["load_id"]] = put_aside(settings, state_file, first["load_id"], problem, report)
        if judge_again(state_file, first, "logged"):
            return failures
        if not state_file.loads_with("logged") and report.build_id is not None and not is_whole:
            return failures


def _blame_published(
    published: list[dict[str, Any]], problem: Exception, attempt: Callable[..., Exception | None]
) -> NoReturn:
    """Raise what is wrong where it is no new load's fault: no load's at all, or that of one that was published."""
    if isinstance(problem, CheckFailed) or not published:
        raise problem
    first = _first_failing(published, 0, attempt)
    raise WarehouseDamaged(
        (
            f"The rows of load {first['load_id']} ({first['files'][0]['name'][:60]}) cannot be built: "
            f"{sentence_of('it', problem)} Readers keep the last build. "
            f"`backhaul withdraw {first['load_id']}` takes it back."
        )[:300]
    ) from problem


def _first_failing(
    loads: list[dict[str, Any]], holding: int, attempt: Callable[..., Exception | None]
) -> dict[str, Any]:
    """Give the load that makes a build fail, by halves: the first `holding` loads build, all of them do not."""
    failing = len(loads)
    while failing - holding > 1:
        middle = (failing + holding) // 2
        if attempt(loads[:middle], is_probe=True) is None:
            holding = middle
        else:
            failing = middle
    return loads[failing - 1]


def _build_once(
    settings: Settings,
    state_file: state.State,
    draft: build.Draft,
    every: list[dict[str, Any]],
    report: Report,
    progress: Progress,
    *,
    is_whole: bool,
    is_probe: bool,
) -> None:
    """Shape, estimate, check and publish one build over these loads.

    `is_whole` shapes all of it anew, `is_probe` publishes nothing.
    """
    logs, build_id = Logs(settings, state_file), draft.build_id
    loads, restored = [row["load_id"] for row in every], [row["load_id"] for row in every if row["restored_at"]]
    new = [row["load_id"] for row in every if row["status"] == "logged"]
    connection = draft.open()
    before: dict[str, int] = {}
    try:
        before = row_counts(connection) if draft.is_copy else {}
        progress(why("step_logs"))
        versions.open_logs(connection, logs, loads, new, restored)
        basis = _basis(connection, settings, is_copy=draft.is_copy, is_whole=is_whole)
        if draft.is_copy and not basis.is_increment:
            connection.close()
            draft.empty()
            connection = draft.open()
            versions.open_logs(connection, logs, loads, new, restored)
        progress(why("step_shaping"))
        shards = _shape(connection, basis, settings, logs.size_of(routing.ROUTED, loads))
        coverage.shape_quarantine(connection, logs.sql, every)
        _write_info(connection, build_id, basis, loads)
        progress(why("step_estimating"))
        estimate.run(connection, settings, shards, is_increment=basis.is_increment)
        progress(why("step_checking"))
        results = checks.run(connection, is_increment=basis.is_increment)
        at = state.now()
        if not is_probe:
            _remember_checks(state_file, build_id, results, at)
        _raise_failed(results)
        if is_probe:
            return
        after = row_counts(connection)
        progress(why("step_publishing"))
        most_bytes = GROWTH * float(state_file.value("anew_bytes") or 0) if basis.is_increment else None
        anew_bytes = draft.publish(connection, settings.keep_builds, most_bytes=most_bytes)
        report.build_id, report.is_new_build = build_id, True
    finally:
        connection.close()
    kind = "increment" if basis.is_increment else "full"
    changes = {t: {"rows": n, "change": n - before.get(t, 0)} for t, n in after.items()}
    _remember_build(state_file, build_id, kind, changes, at, new, anew_bytes)
    report.kind, report.changes = kind, changes
    report.warnings = [{"check": r.check.name, "rows": r.rows, "sentence": r.check.sentence} for r in results if r.rows]


@dataclass(frozen=True)
class _Basis:
    """What a build is made from beside the logs.

    `last` describes the build that an increment is copied from; of a full build nothing is kept.
    """

    found: versions.ShapeInputs
    ledger: factors.Ledger
    last: dict[str, str]
    is_increment: bool


def _basis(connection: duckdb.DuckDBPyConnection, settings: Settings, *, is_copy: bool, is_whole: bool) -> _Basis:
    """Say what rows are shaped by, and whether the draft, a copy of the last build, can be changed to hold new loads.

    Fills the touched_ tables where that may be so.
    """
    last = _info(connection) if is_copy else {}
    is_known = last.get("schema_version") == star.VERSION
    known = versions.ShapeInputs.of(last["flags"]) if is_known else None
    found = versions.flags(connection, settings.reporting_currency, known)
    ledger = factors.ledger(settings)
    found.factors = ledger.digest
    is_increment = False
    if found == known and not is_whole:
        touched.touch(connection)
        is_increment = touched.touched_share(connection) <= touched.SHARE_TO_REBUILD
    return _Basis(found, ledger, last if is_increment else {}, is_increment)


def _remember_checks(state_file: state.State, build_id: str, results: list[checks.Result], at: datetime) -> None:
    """Write into the state what the checks of a build found."""
    rows = [
        {
            "build_id": build_id,
            "name": r.check.name,
            "is_blocking": int(r.check.is_blocking),
            "rows": r.rows,
            "sample": r.sample,
            "sentence": r.check.sentence,
            "checked_at": at,
        }
        for r in results
    ]
    state_file.write(state_tables.check_result, rows)


def _raise_failed(results: list[checks.Result]) -> None:
    """Raise CheckFailed where a blocking check found rows."""
    failed = [r for r in results if r.rows and r.check.is_blocking]
    if failed:
        first = failed[0]
        raise CheckFailed(
            f"The check {first.check.name} found {first.rows} rows, so nothing was published and readers keep the"
            f" last build. {first.check.sentence} First rows: {first.sample}",
            json.loads(first.sample),
        )


def _remember_build(
    state_file: state.State,
    build_id: str,
    kind: str,
    changes: dict[str, dict[str, int]],
    at: datetime,
    new: list[str],
    anew_bytes: int | None,
) -> None:
    """Write into the state the rows of each table of a build, how many more than before, and its new loads.

    `anew_bytes` is the size of its file where it was written anew.
    """
    rows = [
        {"build_id": build_id, "created_at": at, "kind": kind, "table": table, **counted}
        for table, counted in changes.items()
    ]
    state_file.write(state_tables.build, rows)
    state_file.write(state_tables.build_load, _taken_in(state_file, build_id, new))
    state_file.set_status(new, "published", build_id=build_id, finished_at=at)
    state_file.keep_builds(KEPT_BUILDS)
    if anew_bytes is not None:
        state_file.remember("anew_bytes", str(anew_bytes))


def _taken_in(state_file: state.State, build_id: str, new: list[str]) -> list[dict[str, Any]]:
    """Give a row for each new load of a build: how its rows were judged, those made from others not counted again."""
    c = state_tables.load_count.c
    kinds = ("accepted", "replaced", "withdrawn", "duplicate", "quarantined")
    summed = (func.coalesce(func.sum(c[kind]), 0).label(kind) for kind in kinds)
    counted = select(c.load_id, func.min(c.source).label("source"), *summed).where(
        c.load_id.in_(new), func.coalesce(c.is_derived, 0) == 0
    )
    return [{"build_id": build_id, **row} for row in state_file.rows(counted.group_by(c.load_id))]


def _shape(connection: duckdb.DuckDBPyConnection, basis: _Basis, settings: Settings, log_bytes: int) -> Shards:
    """Shape what new loads touched, or everything, one shard after another; give the shards."""
    if basis.is_increment:
        _shape_touched(connection, basis.found)
        return Shards()
    shards = Shards(settings.shards or routing.fitting(log_bytes, settings))
    with routing.folder(settings) as folder:
        _shape_shards(connection, basis.found, shards, folder)
    return shards


def _shape_shards(
    connection: duckdb.DuckDBPyConnection, found: versions.ShapeInputs, shards: Shards, folder: Path
) -> None:
    """Shape everything; `folder` takes the rows of each shard meanwhile."""
    versions.create_tables(connection)
    versions.survivors(connection, versions.DIMENSION_LOGS)
    dimensions.shape_dimensions(connection)
    lookups.look_up(connection, found.currency, is_increment=False)
    if shards.count > 1:
        routing.route(connection, shards.count, folder)
    for shard in shards.each_apart(connection, SHAPED):
        rows = "all" if shards.count == 1 else f"shard{shard}"
        versions.survivors(connection, routing.ROUTED, rows)
        touched.relate(connection, is_increment=False)
        order_lines.shape_order_lines(connection, found)
        return_lines.shape_return_lines(connection, found)
        parcels.shape_legs(connection, found)
        refunds.shape_refunds(connection, found)
        return_lines.shape_recoveries(connection, found)
        promised_dates.shape_promised_dates(connection)
        coverage.shape_customers(connection)
    parcels.shape_carrier_money(connection, found)
    coverage.shape_seen(connection, "all")


def _shape_touched(connection: duckdb.DuckDBPyConnection, found: versions.ShapeInputs) -> None:
    """Shape anew what new loads touched, in a copy of the last build."""
    line, of_return, parcel, refund = touched_warehouse.TOUCHED.values()
    touched.narrow(connection)
    touched.touch_estimated(connection)
    leg, lot, returned = touched_warehouse.ESTIMATED.values()
    connection.execute(f"""
        DELETE FROM estimate_return_probability WHERE {line}; DELETE FROM estimate_promise WHERE {returned};
        DELETE FROM estimate_return_carbon WHERE {lot}; DELETE FROM estimate_return_cost WHERE {lot}; DELETE
            FROM estimate_avoided_carbon WHERE {lot};
        DELETE FROM estimate_leg_carbon WHERE {leg}; DELETE FROM estimate_leg_part WHERE {leg};
        DELETE FROM estimate_leg_cost WHERE {leg};
        DELETE FROM fact_order_line WHERE {line}; DELETE FROM fact_return_line WHERE {of_return}; DELETE
            FROM fact_return_event WHERE {of_return};
        DELETE FROM fact_return_leg WHERE {parcel}; DELETE FROM fact_recovery WHERE {of_return}; DELETE
            FROM fact_refund WHERE {refund};
        DELETE FROM fact_refund_line WHERE {refund} OR (refund_key IS NULL AND {of_return}); DELETE
            FROM fact_promised_date WHERE {of_return};
        DELETE FROM build_info;
    """)
    lookups.look_up(connection, found.currency, is_increment=True)
    order_lines.shape_order_lines(connection, found, line)
    touched.relate(connection, is_increment=True)
    return_lines.shape_return_lines(connection, found, of_return)
    parcels.shape_legs(connection, found, parcel)
    refunds.shape_refunds(connection, found, refund, of_return)
    return_lines.shape_recoveries(connection, found, of_return)
    promised_dates.shape_promised_dates(connection, of_return)
    touched.touch_estimated(connection)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE seen_customer AS SELECT DISTINCT customer_key FROM all_order_line WHERE {line}
    """)
    coverage.shape_customers(connection, "customer_key IN (SELECT customer_key FROM seen_customer)")
    coverage.shape_seen(connection, "new")


def _write_info(
    connection: duckdb.DuckDBPyConnection,
    build_id: str,
    basis: _Basis,
    loads: list[str],
) -> None:
    """Describe the build."""
    implausible = list(factors.implausible(r for r in basis.ledger.rows if r["factor_set"] == basis.ledger.chosen))
    observed = connection.execute(
        "SELECT max(last_occurred_at) FROM build_source WHERE thing IN ('order_line', 'return_event', 'chain_element',"
        " 'refund', 'refund_line', 'recovery')"
    ).fetchall()[0][0]
    names = connection.execute("""
        SELECT DISTINCT unnest(json_keys(dimensions)) AS own FROM (
            SELECT dimensions FROM fact_order_line WHERE dimensions IS NOT NULL UNION ALL SELECT dimensions
                FROM fact_return_line WHERE dimensions IS NOT NULL)
        ORDER BY 1
    """).fetchall()
    info = basis.last | {
        "build_id": build_id,
        "schema_version": star.VERSION,
        "flags": basis.found.text(),
        "shipping_sources": json.dumps(basis.found.shipping),
        "reporting_currency": basis.found.currency,
        "observed_until": observed.isoformat() if observed else "",
        "created_at": state.now().isoformat(),
        "kind": "increment" if basis.last else "full",
        "loads": " ".join(loads),
        "implausible_factors": json.dumps(implausible),
        "own_dimensions": json.dumps([name for (name,) in names]),
    }
    connection.execute(f"INSERT INTO build_info {sql.rows_sql({'name': 'VARCHAR', 'value': 'VARCHAR'}, info.items())}")


def _info(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, value FROM build_info").fetchall())
