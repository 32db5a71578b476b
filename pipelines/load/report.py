"""What a load says of itself: rows by verdict, changes, files, faults."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from pipelines.load import verdicts
from pipelines.warehouse import star

Progress = Callable[[str], None]


class Step(str):
    """A step that begins, as a sentence; `left` are the seconds that the rest takes at least and at most, if known."""

    left: tuple[float, float] | None

    def __new__(cls, text: str, left: tuple[float, float] | None = None) -> "Step":
        """Make one of its sentence."""
        made = super().__new__(cls, text)
        made.left = left
        return made


@dataclass
class Report:
    """What a load did.

    How each log's rows were judged, what changed in each table, which checks found rows, which alerts are new, which
    subscriptions were sent, who could not be reached.

    Every row read stands in `counts` once; `derived` rows were made from rows counted there. `unread` are fields taken
    for missing, `hidden` texts kept as a keyed hash, by log. `refused` says of each file that was not taken in what it
    is; `notes` say what is odd about others. `files` says what became of the lines of each: lines + more_rows = rows +
    the others. `dated_by` says what told the newer of two versions: "declared" export times, or the "file" dates and
    the order of landing. `failed` are loads that were put aside (load, files, problem), `healed` says what was damaged
    and made again. `retained` are loads whose raw files were deleted for their age.
    """

    build_id: str | None
    is_new_build: bool = False
    kind: str = "none"
    counts: list[dict[str, Any]] = field(default_factory=list)
    derived: list[dict[str, Any]] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    unread: list[dict[str, Any]] = field(default_factory=list)
    dated_by: str = ""
    skipped: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)
    changes: dict[str, dict[str, int]] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    retained: list[str] = field(default_factory=list)


COUNTED = ("read", "accepted", "duplicate", "quarantined", "replaced", "withdrawn")


def report_judged(report: Report, counts: list[dict[str, Any]], faults: list[verdicts.Fault]) -> None:
    """Add what one load's rows were judged to what the load says."""
    for count in counts:
        row = {"source": count["source"], "table": count["thing"], **{k: count[k] for k in COUNTED}}
        if count["hidden_texts"]:
            report.hidden[count["thing"]] = report.hidden.get(count["thing"], 0) + count["hidden_texts"]
        (report.derived if count["is_derived"] else report.counts).append(row)
    by_rule: dict[tuple[str, str, bool], list[verdicts.Fault]] = {}
    for fault in faults:
        by_rule.setdefault((fault.log, fault.rules, fault.is_field), []).append(fault)
    for (log, rules, is_field), listed in by_rule.items():
        first = f"{listed[0].value!r}, {Path(listed[0].file).name} line {listed[0].line}"
        (report.unread if is_field else report.quarantined).append(
            {"table": log, "fault": rules, "rows": len(listed), "first": first}
        )


def row_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Count the rows of every dimension, fact and estimate."""
    union = " UNION ALL ".join(
        f"SELECT '{t}', count(*) FROM {t}" for t in star.STAR.tables if t.startswith(("fact_", "dim_", "estimate_"))
    )
    return dict(connection.execute(union).fetchall())
