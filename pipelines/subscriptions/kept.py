"""What readers subscribed to, in the state file; never deleted: withdrawn."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, select, update

from pipelines.access import OWNER, Reader, load_readers
from pipelines.delivery import check_address
from pipelines.errors import AlertError, SubscriptionError
from pipelines.settings import Settings
from pipelines.subscriptions.due import EVERY, LAST_DAY
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import current_id, writing

FILES = ("none", "pdf", "xlsx", "csv")
TABLES = ("xlsx", "csv")
LANGUAGES = ("en", "fr")
PAGES = (
    "today",
    "returns",
    "reasons",
    "markets",
    "products",
    "actions",
    "forecast",
    "late",
    "delays",
    "waiting",
    "promise",
    "policies",
    "margin",
    "assumptions",
    "claims",
    "book",
    "routes",
    "try-policy",
    "carbon",
    "uncertainty",
    "lower",
    "dispositions",
    "close",
)
"""Pages that can be sent, by address: all but those where something is written or one thing is looked up."""
LISTED = ("late", "products", "book")
"""Pages whose list can be sent as a table: refunds due by law, products by the money at stake, what to book."""
MOST_ADDRESSES = 20
_WRITTEN = ("reader", "page", "file", "language", "every", "hour", "day", "zone")


@dataclass(frozen=True)
class Subscription:
    """One subscription: whose it is, the page with its filters, the file, when, and where it goes.

    `reader` is a name of the file of readers; empty is the owner of the warehouse. `codes` are the filters and the
    period as they stand in the page's address. `day` is of the week (1: Monday) or of the month. What follows `to` is
    of its sending: `period` is the newest that was begun, `reached` who has it, `problem` why others do not.
    """

    subscription_id: int
    reader: str
    page: str
    every: str
    to: tuple[str, ...]
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file: str = "none"
    language: str = "en"
    hour: int = 7
    day: int = 1
    zone: str = "UTC"
    from_at: datetime | None = None
    is_paused: bool = False
    period: str = ""
    reached: tuple[str, ...] = ()
    sent_at: datetime | None = None
    problem: str = ""
    failing_since: datetime | None = None


def holder(settings: Settings, name: str) -> Reader | None:
    """Give the reader a subscription belongs to, as the file says now; None for who is no reader any more."""
    if not name:
        return OWNER
    found = load_readers(settings).named(name)
    return None if found is None or found.kind == "key" else found


def check(settings: Settings, given: Subscription) -> None:
    """Raise SubscriptionError, which names the field, for a subscription that can never be sent."""

    def wrong(name: str, said: str) -> SubscriptionError:
        return SubscriptionError(said, name)

    for name, value, known in (
        ("page", given.page, PAGES),
        ("every", given.every, EVERY),
        ("file", given.file, FILES),
        ("language", given.language, LANGUAGES),
    ):
        if value not in known:
            raise wrong(name, f"{str(value)[:60]!r} is no {name} of a subscription; one of {', '.join(known)}.")
    if given.file in TABLES and given.page not in LISTED:
        raise wrong("file", f"A table is sent of {', '.join(LISTED)}; send {given.page} as pdf, or without a file.")
    last = {"weekly": 7, "monthly": LAST_DAY}.get(given.every, 31)
    if not 0 <= given.hour <= 23 or not 1 <= given.day <= last:
        raise wrong("day", f"The hour is 0 to 23, the day 1 to 7 of a week and 1 to {LAST_DAY} of a month.")
    try:
        ZoneInfo(given.zone)
    except (KeyError, OSError, ValueError):  # unknown names, and those that are no path within the zones
        raise wrong("zone", f"{given.zone[:60]!r} is no time zone; write one such as Europe/Paris.") from None
    reader = holder(settings, given.reader)
    if reader is None:
        raise wrong("reader", f"{given.reader[:100]} is no reader of {settings.readers_file.name} who signs in.")
    if given.file != "none" and not reader.may("export"):
        raise wrong("file", f"{reader.name} is a {reader.role} and takes no files: send the page without one.")
    if not given.to or len(given.to) > MOST_ADDRESSES:
        raise wrong("to", f"Give an address, at most {MOST_ADDRESSES}.")
    for address in given.to:
        try:
            check_address(address)
        except AlertError as error:
            raise wrong("to", str(error)) from None


def subscriptions(settings: Settings, *, reader: str | None = None) -> list[Subscription]:
    """List subscriptions, paused ones too: all, or those of a reader."""
    state_file = state.State(settings.warehouse)
    try:
        t = state_tables.subscription
        rows = state_file.rows(select(t).where(t.c.withdrawn_at.is_(None)).order_by(t.c.subscription_id))
    finally:
        state_file.close()
    return [of_row(row) for row in rows if reader is None or row["reader"] == reader]


def of_row(row: Mapping[str, Any]) -> Subscription:
    """Read a row of the state."""
    return Subscription(
        row["subscription_id"],
        to=tuple(json.loads(row["to"])),
        codes={name: tuple(codes) for name, codes in json.loads(row["codes"]).items()},
        from_at=row["from_at"],
        is_paused=row["paused_at"] is not None,
        period=row["period"] or "",
        reached=tuple(json.loads(row["reached"] or "[]")),
        sent_at=row["sent_at"],
        problem=row["problem"] or "",
        failing_since=row["failing_since"],
        **{name: row[name] for name in _WRITTEN},
    )


def _begins(settings: Settings, every: str, now: datetime, to: Sequence[str]) -> dict[str, Any]:
    """Say from when it is sent: periods that begin later, the next build."""
    build_id = current_id(settings.warehouse) if every == "load" else None
    return {"from_at": now, "period": build_id or "", "reached": json.dumps(to if build_id else [])}


def _values(given: Subscription) -> dict[str, Any]:
    codes = {name: list(codes) for name, codes in given.codes.items()}
    written = {name: getattr(given, name) for name in _WRITTEN}
    return written | {"codes": json.dumps(codes), "to": json.dumps(given.to)}


def add(settings: Settings, given: Subscription, who: str = "", now: datetime | None = None) -> Subscription:
    """Keep a subscription from now on; gives it with its number, that of an equal one where it is there already.

    Raises SubscriptionError.
    """
    check(settings, given)
    at = now or state.now()
    with writing(settings.warehouse, settings.short_wait_s):
        for known in subscriptions(settings):
            if _values(known) == _values(given):
                return known
        state_file = state.State(settings.warehouse)
        t = state_tables.subscription
        row = _values(given) | _begins(settings, given.every, at, given.to) | {"created_at": at, "created_by": who}
        try:
            with state_file.transaction() as connection:
                number = connection.execute(insert(t).values(**row).returning(t.c.subscription_id)).scalar_one()
        finally:
            state_file.close()
    return replace(given, subscription_id=int(number), from_at=at)


def edit(settings: Settings, given: Subscription, now: datetime | None = None) -> None:
    """Have a subscription send something else, at another time or elsewhere; what it sent is not sent again.

    Raises SubscriptionError for none of that number, and what `check` raises.
    """
    check(settings, given)
    with _changing(settings, given.subscription_id) as (connection, known, mine):
        values = _values(given) | {"problem": None, "failing_since": None}
        when = ("every", "hour", "day", "zone")
        if [getattr(known, name) for name in when] != [getattr(given, name) for name in when]:
            values |= _begins(settings, given.every, now or state.now(), given.to)
        elif known.period and not set(known.to) - set(known.reached):
            values |= {"reached": json.dumps(given.to)}  # a new address begins with the next period
        connection.execute(mine.values(**values))


def pause(
    settings: Settings, subscription_id: int, *, is_paused: bool = True, now: datetime | None = None
) -> Subscription:
    """Stop sending for a while, or go on with the next period; raises SubscriptionError for none of that number."""
    at = now or state.now()
    with _changing(settings, subscription_id) as (connection, known, mine):
        if known.is_paused != is_paused:
            begins = {} if is_paused else _begins(settings, known.every, at, known.to)
            connection.execute(mine.values(paused_at=at if is_paused else None, **begins))
        return known


def withdraw(settings: Settings, subscription_id: int) -> Subscription:
    """End a subscription; it stays on record. Raises SubscriptionError for none of that number."""
    with _changing(settings, subscription_id) as (connection, known, mine):
        connection.execute(mine.values(withdrawn_at=state.now()))
        return known


@contextmanager
def _changing(settings: Settings, subscription_id: int) -> Iterator[tuple[Connection, Subscription, Any]]:
    """Give a transaction, the subscription of a number as it is, and the update of its row."""
    t = state_tables.subscription
    with writing(settings.warehouse, settings.short_wait_s):
        known = next((s for s in subscriptions(settings) if s.subscription_id == subscription_id), None)
        if known is None:
            raise SubscriptionError(
                f"There is no subscription {subscription_id}. `backhaul subscribe list` shows them."
            )
        state_file = state.State(settings.warehouse)
        try:
            with state_file.transaction() as connection:
                yield connection, known, update(t).where(t.c.subscription_id == subscription_id)
        finally:
            state_file.close()


def note(settings: Settings, subscription_id: int, **values: Any) -> None:
    """Write down what became of sending one."""
    t = state_tables.subscription
    state_file = state.State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state_file.transaction() as connection:
            connection.execute(update(t).where(t.c.subscription_id == subscription_id).values(**values))
    finally:
        state_file.close()
