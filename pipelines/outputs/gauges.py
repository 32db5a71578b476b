"""The state of a warehouse as OpenMetrics.

For a monitoring system that asks every minute and tells somebody when a number is off. No value of a row and no name of
a person stands in it: builds, loads, checks and alerts are counted.
"""

from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from pipelines import alerts
from pipelines.receiving import taking
from pipelines.settings import Settings
from pipelines.warehouse import state

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(settings: Settings, observed_until: datetime | None) -> bytes:
    """Write the gauges of a warehouse; times are seconds since 1970 (UTC)."""
    registry = CollectorRegistry()

    def gauge(name: str, sentence: str, *labels: str) -> Gauge:
        return Gauge(f"backhaul_{name}", sentence, labels, registry=registry)

    builds, loads = state.builds(settings), state.loads(settings).drop_duplicates("load_id")
    checks, lasting = state.check_results(settings), alerts.alerts(settings)
    quarantined = state.quarantine_by_rule(settings)
    if len(builds):
        gauge("build_created_seconds", "When the newest build was made").set(_seconds(builds["created_at"].iloc[0]))
    if observed_until is not None:
        gauge("observed_until_seconds", "Time of the latest fact").set(_seconds(observed_until))
    of_status = gauge("loads", "Loads by status; failed ones were put aside", "status")
    for status in ("landing", "landed", "logged", "published", "failed", "withdrawn"):
        of_status.labels(status).set(int((loads["status"] == status).sum()))
    ended = loads[loads["status"] == "published"]
    if len(ended):
        gauge("last_load_seconds", "When the last load that was published began").set(
            _seconds(ended["started_at"].max())
        )
    gauge("quarantined_rows", "Rows in quarantine").set(int(quarantined["rows"].sum()) if len(quarantined) else 0)
    found = gauge("check_rows", "Rows that a check of the newest build found", "check", "blocks")
    for name, is_blocking, rows in checks[["name", "is_blocking", "rows"]].itertuples(index=False):
        found.labels(name, "yes" if is_blocking else "no").set(int(rows))
    gauge("alerts", "Alerts that last").set(len(lasting))
    told = taking.waiting(settings)
    events = gauge("hook_events", "Events of web hooks that wait for a load, or cannot be read", "hook", "state")
    for one in told:
        events.labels(one.hook, "waiting").set(one.waiting)
        events.labels(one.hook, "quarantined").set(sum(one.aside.values()))
    return bytes(generate_latest(registry))  # type: ignore[no-untyped-call]


def _seconds(at: Any) -> float:
    return datetime.fromisoformat(str(at)).replace(tzinfo=UTC).timestamp()
