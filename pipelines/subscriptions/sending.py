"""Sending what is due: once a period to each address, by the rights its reader has at that moment.

A subscription whose reader is out of the file, or may not take its file any longer, is not sent, and says so. An
address that fails is tried again at the next sending until it has the period or the next one has come, and is shown as
failing with its reason. One process sends at a time; whatever fails is written down and raises nothing.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.access import audit
from pipelines.delivery import FAILURES, File, Message, deliver, shown
from pipelines.errors import BackhaulError, SubscriptionError
from pipelines.links import link
from pipelines.settings import Settings, private
from pipelines.subscriptions import kept
from pipelines.subscriptions.due import newest_period
from pipelines.subscriptions.kept import Subscription, holder, subscriptions
from pipelines.warehouse import state
from pipelines.warehouse.build import current_id
from pipelines.why import together, why

_MAKER = Path(__file__).parents[2] / "dashboard" / "subscribed.py"
MOST_SECONDS = 600
DOOR = "subscription"


@dataclass(frozen=True)
class Outcome:
    """What became of a subscription that was due: who has it now, and why others do not."""

    subscription: Subscription
    reached: tuple[str, ...] = ()
    problem: str = ""

    def sentence(self) -> str:
        """Say it in English."""
        named = f"Subscription {self.subscription.subscription_id} ({self.subscription.page})"
        sent = f"sent to {', '.join(map(shown, self.reached))}" if self.reached else "not sent"
        return f"{named}: {sent}{f'. {self.problem}' if self.problem else '.'}"


def waiting(settings: Settings, now: datetime | None = None) -> list[tuple[Subscription, str, tuple[str, ...]]]:
    """List what is due: the subscription, its period, and who does not have it yet."""
    at, build_id = now or state.now(), current_id(settings.warehouse)
    found = []
    for one in subscriptions(settings):
        if one.is_paused or build_id is None:
            continue
        period = build_id
        if one.every != "load":
            begins = newest_period(one.every, one.hour, one.day, one.zone, at)
            if one.from_at is not None and begins < one.from_at:
                continue
            period = begins.isoformat()
        has_it = set(one.reached) if one.period == period else set()
        if missing := tuple(address for address in one.to if address not in has_it):
            found.append((one, period, missing))
    return found


def send(settings: Settings, now: datetime | None = None) -> list[Outcome]:
    """Send what is due now, and say what became of each; nothing where another process is sending."""
    at = now or state.now()
    if not waiting(settings, at):
        return []
    with private():
        lock = FileLock(settings.warehouse / ".sending.lock", mode=0o600, timeout=0)
    try:
        with lock:
            return [_sent(settings, one, period, missing, at) for one, period, missing in waiting(settings, at)]
    except Timeout:
        return []


def _sent(settings: Settings, one: Subscription, period: str, missing: Sequence[str], at: datetime) -> Outcome:
    """Make a subscription's message and send it to who does not have it; write down what became of it."""
    try:
        message = _message(settings, one)
        _write_down(settings, one, missing)
    except (BackhaulError, OSError) as error:
        return _noted(settings, one, at, Outcome(one, (), str(error)))
    has_it = set(one.reached) if one.period == period else set()
    failures, reached = [], []
    for address in missing:
        try:
            deliver(settings, address, message)
        except FAILURES as error:
            failures.append(why("not_reached", address=shown(address), problem=str(error)))
            continue
        reached.append(address)
        has_it.add(address)
        kept.note(settings, one.subscription_id, period=period, reached=json.dumps(sorted(has_it)), sent_at=at)
    return _noted(settings, one, at, Outcome(one, tuple(reached), together(*failures)))


def _noted(settings: Settings, one: Subscription, at: datetime, outcome: Outcome) -> Outcome:
    """Write down in the state what became of a sending."""
    since = (one.failing_since or at) if outcome.problem else None
    kept.note(settings, one.subscription_id, problem=outcome.problem or None, failing_since=since)
    return outcome


def _write_down(settings: Settings, one: Subscription, missing: Sequence[str]) -> None:
    """Write down in the log, where readers are kept, what is about to leave: what cannot be is not sent."""
    reader = holder(settings, one.reader)
    if settings.readers_file.exists() and reader is not None:
        what = f"subscription {one.subscription_id}: {one.page} to {', '.join(map(shown, missing))}"
        audit.note(settings, "exported", reader, what, DOOR)


def _message(settings: Settings, one: Subscription) -> Message:
    """Make what is sent, as its reader may see it now; raises SubscriptionError where they may not."""
    reader = holder(settings, one.reader)
    if reader is None:
        raise SubscriptionError(why("reader_gone", reader=one.reader))
    if one.file != "none" and not reader.may("export"):
        raise SubscriptionError(why("takes_no_files", reader=reader.name, role=reader.role))
    made = drawn(settings, one)
    since, until = map(date.fromisoformat, made["days"])
    codes = {name: list(codes) for name, codes in one.codes.items()}
    codes |= {"lang": [one.language]} if one.language != "en" else {}
    at = link(settings, one.page, codes, (since, until), made["build"])
    file = made["file"]
    files = [File(file["name"], file["mime"], base64.b64decode(file["base64"]))] if file else []
    about = {"number": one.subscription_id, "page": one.page, "days": made["days"], "build": made["build"]}
    return Message(made["subject"], made["paragraphs"], at, made["link_label"], files, {"subscription": about})


def drawn(settings: Settings, one: Subscription) -> dict[str, Any]:
    """Have the pages make what is sent, in a process of its own; raises SubscriptionError where they could not."""
    paths = [str(_MAKER.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {"BACKHAUL_WAREHOUSE": str(settings.warehouse.absolute()), "PYTHONPATH": os.pathsep.join(paths)}
    codes = {name: list(codes) for name, codes in one.codes.items()}
    asked = {"reader": one.reader, "page": one.page, "codes": codes, "file": one.file, "language": one.language}
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_MAKER)],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=MOST_SECONDS,
            env={**os.environ, **told},
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise SubscriptionError(why("page_too_slow", n=f"{MOST_SECONDS}")) from None
    except ValueError:
        last = " ".join(done.stderr.decode(errors="replace").strip().splitlines()[-1:])[:300]
        raise SubscriptionError(why("page_failed", problem=last.replace("; ", ", "))) from None
    if problem := answer.get("problem"):
        raise SubscriptionError(str(problem))
    return answer
