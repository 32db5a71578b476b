"""DHL: the events of parcels by their tracking number.

As documented (developer.dhl.com/api-reference/shipment-tracking, version 1.4.1, 2026): GET /track/shipments with
one number a request, the key in the header DHL-API-Key; 404 for a number that is not known (yet), 429 beyond the quota.
There are no pages. A shipment that was delivered, or that DHL gave up, is not asked for again.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.errors import PullError
from pipelines.pull.client import Client
from pipelines.pull.place import append, pulling

ADDRESS = "https://api-eu.dhl.com"
ENDED = ("delivered", "failure")
KEPT = ("id", "service", "status", "events")
"""Of a shipment: whose it is, where it lies and who signed for it stay with DHL."""


def pull_dhl(
    folder: Path, client: Client, numbers: Iterable[str], *, now: datetime, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Fetch what DHL knows of parcels; give the file written, none where nothing is new.

    One that was interrupted goes on at its number. Raises PullError where it cannot go on.
    """
    wanted = list(dict.fromkeys(n for n in (number.strip() for number in numbers) if n))
    if wrong := next((n for n in wanted if not n.isalnum() or len(n) > 40), None):
        raise PullError(f"{wrong[:40]!r} is no tracking number: letters and digits, one a line.")
    with pulling(folder, "dhl") as place:
        seen: dict[str, str] = place.memory.get("seen") or {}
        run = place.memory.get("run") or {
            "name": f"dhl-{now.astimezone(UTC):%Y%m%dT%H%M%S}.jsonl",
            "bytes": 0,
            "done": [],
        }
        done = set(run["done"])
        for position, number in enumerate(n for n in wanted if seen.get(n) not in ENDED and n not in done):
            status, answer = client.json("GET", "/track/shipments", params={"trackingNumber": number})
            fresh = [] if status == 404 else _fresh(number, answer, seen)
            lines = "".join(json.dumps(shipment) + "\n" for shipment in fresh)
            run["bytes"] = append(place.part(run["name"]), lines.encode(), run["bytes"])
            run["done"].append(number)
            place.remember(run=run, seen=seen)
            say(f"{position + 1} of {len(wanted)} numbers")
        part = place.part(run["name"])
        written = [place.finish(run["name"])] if run["bytes"] else []
        part.unlink(missing_ok=True)
        place.remember(run=None, seen=seen)
        return written


def _fresh(number: str, answer: Any, seen: dict[str, str]) -> list[dict[str, Any]]:
    """Give the shipments of an answer that say something new, and remember how they stand."""
    shipments = answer.get("shipments") if isinstance(answer, dict) else None
    if not isinstance(shipments, list):
        raise PullError("DHL answered without shipments. Check the address.")
    kept = [{k: s[k] for k in KEPT if k in s} | {"trackingNumber": number} for s in shipments if isinstance(s, dict)]
    states = {str((s.get("status") or {}).get("statusCode")) for s in kept}
    latest = f"{len([e for s in kept for e in s.get('events') or ()])} events"
    now = next(iter(states)) if len(states) == 1 and states <= set(ENDED) else latest
    if seen.get(number) == now:
        return []
    seen[number] = now
    return kept
