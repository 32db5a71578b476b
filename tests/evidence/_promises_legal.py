"""The legal refund date on cases worked out by hand.

Columns: weekends, holidays, time zones, clock changes, late and missing dispatch. Directive 2011/83/EU Art. 13: notice
+ 14 days, or the earliest of receipt and proof of dispatch when that is later. Regulation (EEC, Euratom) 1182/71: the
first day does not count, and a period that would end on a Saturday, Sunday or public holiday ends with the next working
day. `ends` is the midnight (UTC) that ends the last day; a refund before it is in time. Times are UTC.
"""

import csv
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from sqlalchemy import select

from pipelines import analyses, metrics
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.star import STAR
from tests.evidence import Claim

ZONES = {
    "FR": "Europe/Paris",
    "DE": "Europe/Berlin",
    "IE": "Europe/Dublin",
    "PT": "Europe/Lisbon",
    "FI": "Europe/Helsinki",
    "IT": "Europe/Rome",
    "ES": "Atlantic/Canary",
    "CH": "Europe/Zurich",
    "GB": "Europe/London",
}
AS_OF = datetime(2025, 4, 17, 23, 59, 59)


@dataclass(frozen=True)
class Case:
    """One withdrawal: what was recorded, and the midnight that ends the last day for its refund.

    None: not due yet, or no rule.
    """

    country: str
    asked: str
    sent: str | None
    received: str | None
    ends: str | None
    why: str
    channel: str = "web"
    method: str = "mail"
    return_type: str = "withdrawal"


CASES = (
    Case(
        "FR",
        "2025-04-01 09:00",
        "2025-04-03 12:00",
        None,
        "2025-04-15 22:00",
        "Tuesday + 14 is a Tuesday; midnight in Paris",
    ),
    Case(
        "FR",
        "2025-04-05 09:00",
        "2025-04-07 12:00",
        None,
        "2025-04-22 22:00",
        "Saturday 19 April, over Easter Monday to Tuesday",
    ),
    Case(
        "DE",
        "2025-04-04 09:00",
        "2025-04-07 12:00",
        None,
        "2025-04-22 22:00",
        "Good Friday is a holiday in Germany: over Easter to Tuesday",
    ),
    Case(
        "FR", "2025-04-04 09:00", "2025-04-07 12:00", None, "2025-04-18 22:00", "Good Friday is a working day in France"
    ),
    Case(
        "IE",
        "2025-04-20 10:00",
        "2025-04-22 12:00",
        None,
        "2025-05-06 23:00",
        "Sunday 4 May, over the May holiday on Monday; summer time in Dublin",
    ),
    Case("FR", "2025-04-17 09:00", "2025-04-18 12:00", None, "2025-05-02 22:00", "1 May is a holiday"),
    Case("FR", "2025-04-24 09:00", "2025-04-25 12:00", None, "2025-05-09 22:00", "8 May is a holiday in France"),
    Case("DE", "2025-04-24 09:00", "2025-04-25 12:00", None, "2025-05-08 22:00", "8 May is a working day in Germany"),
    Case(
        "FR",
        "2025-06-29 09:00",
        "2025-06-30 12:00",
        None,
        "2025-07-15 22:00",
        "Sunday 13 July, over the national day to Tuesday",
    ),
    Case(
        "FR",
        "2025-12-11 09:00",
        "2025-12-12 12:00",
        None,
        "2025-12-26 23:00",
        "Christmas Day; 26 December is a working day in France; winter time",
    ),
    Case("DE", "2025-12-11 09:00", "2025-12-12 12:00", None, "2025-12-29 23:00", "25 and 26 December and a weekend"),
    Case("FR", "2025-12-17 09:00", "2025-12-18 12:00", None, "2025-12-31 23:00", "31 December is a working day"),
    Case("FR", "2025-12-18 09:00", "2025-12-19 12:00", None, "2026-01-02 23:00", "New Year's Day"),
    Case(
        "FR", "2025-04-01 22:30", "2025-04-03 12:00", None, "2025-04-16 22:00", "asked after midnight in Paris: the 2nd"
    ),
    Case("FR", "2025-01-20 23:30", "2025-01-22 12:00", None, "2025-02-04 23:00", "the same in winter: the 21st"),
    Case(
        "FR",
        "2025-03-16 10:00",
        "2025-03-18 12:00",
        None,
        "2025-03-31 22:00",
        "Sunday of the change to summer time, to Monday",
    ),
    Case(
        "FR", "2025-03-18 10:00", "2025-03-19 12:00", None, "2025-04-01 22:00", "14 days over the change to summer time"
    ),
    Case(
        "FR",
        "2025-10-12 10:00",
        "2025-10-14 12:00",
        None,
        "2025-10-27 23:00",
        "Sunday of the change to winter time, to Monday",
    ),
    Case(
        "FR",
        "2025-10-25 22:30",
        "2025-10-27 12:00",
        None,
        "2025-11-10 23:00",
        "the 26th in Paris, + 14 a Sunday, to Monday",
    ),
    Case(
        "PT",
        "2025-04-11 10:00",
        "2025-04-14 12:00",
        None,
        "2025-04-28 23:00",
        "25 April is a holiday in Portugal, then a weekend",
    ),
    Case(
        "FI", "2025-12-23 22:30", "2025-12-29 12:00", None, "2026-01-07 22:00", "the 24th in Helsinki, + 14 a Wednesday"
    ),
    Case(
        "FI", "2025-12-23 21:30", "2025-12-29 12:00", None, "2026-01-07 22:00", "the 23rd in Helsinki, + 14 is Epiphany"
    ),
    Case("IT", "2025-05-19 10:00", "2025-05-20 12:00", None, "2025-06-03 22:00", "Republic Day on a Monday"),
    Case(
        "ES",
        "2025-08-01 10:00",
        "2025-08-04 12:00",
        None,
        "2025-08-18 23:00",
        "Assumption and a weekend; the Canaries are an hour behind Madrid",
    ),
    Case("FR", "2025-04-01 09:00", "2025-04-25 12:00", None, "2025-04-25 22:00", "sent late: the day of dispatch"),
    Case(
        "FR",
        "2025-04-01 09:00",
        "2025-04-27 12:00",
        None,
        "2025-04-27 22:00",
        "sent late on a Sunday: no period ends, the day stands",
    ),
    Case("FR", "2025-04-01 09:00", None, "2025-04-25 12:00", "2025-04-25 22:00", "no proof of dispatch: receipt"),
    Case(
        "FR", "2025-04-01 09:00", "2025-04-20 12:00", "2025-04-25 12:00", "2025-04-20 22:00", "dispatch before receipt"
    ),
    Case(
        "FR",
        "2025-04-01 09:00",
        "2025-04-18 12:00",
        "2025-04-16 10:00",
        "2025-04-16 22:00",
        "received before the hand-over was recorded",
    ),
    Case("FR", "2025-04-01 09:00", "2025-04-20 22:30", None, "2025-04-21 22:00", "handed over after midnight in Paris"),
    Case(
        "FR",
        "2025-04-02 09:00",
        None,
        "2025-04-02 09:00",
        "2025-04-16 22:00",
        "at the till: notice and receipt in one",
        method="store",
    ),
    Case("FR", "2025-04-01 09:00", None, None, None, "nothing sent: may be withheld"),
    Case("CH", "2025-04-01 09:00", "2025-04-03 12:00", None, None, "outside the Union"),
    Case("GB", "2025-04-01 09:00", "2025-04-03 12:00", None, None, "outside the Union"),
    Case("FR", "2025-04-01 09:00", "2025-04-03 12:00", None, None, "bought in a store", channel="store"),
    Case(
        "FR",
        "2025-04-01 09:00",
        "2025-04-03 12:00",
        None,
        None,
        "a conformity claim is no withdrawal",
        return_type="conformity",
    ),
)


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def loaded(folder: Path) -> Settings:
    """Write the cases as a shop's files and load them."""
    folder.mkdir(parents=True, exist_ok=True)
    since = {"valid_from": "2025-01-01T00:00:00Z"}
    _write(
        folder / "shop.csv",
        [{"shop_id": c, "market": c, "time_zone": z, "currency": "EUR", **since} for c, z in ZONES.items()],
    )
    lines, events = [], []
    for i, case in enumerate(CASES):
        line = {
            "order_line_id": f"L{i}",
            "order_id": f"O{i}",
            "ordered_at": "2025-01-10T10:00:00Z",
            "product_id": "P",
            "units": "1",
            "net_amount": "40",
            "vat_amount": "8",
        }
        lines.append(
            line | {"currency": "EUR", "country": case.country, "shop_id": case.country, "channel": case.channel}
        )
        for stage, at in (("requested", case.asked), ("handed_over", case.sent), ("received", case.received)):
            if at is not None:
                event = {
                    "event_id": f"{i}-{stage}",
                    "return_line_id": f"R{i}",
                    "return_id": f"R{i}",
                    "order_line_id": f"L{i}",
                    "event": stage,
                    "occurred_at": f"{at.replace(' ', 'T')}:00Z",
                }
                events.append(event | {"method": case.method, "return_type": case.return_type})
    # a refund elsewhere, or no source would record refunds and nothing could be promised
    events.append(
        events[0]
        | {
            "event_id": "paid",
            "return_line_id": "X",
            "return_id": "X",
            "order_line_id": "",
            "event": "refunded",
            "return_type": "price_adjustment",
        }
    )
    _write(folder / "order_line.csv", lines)
    _write(folder / "return_event.csv", events)
    settings = Settings(warehouse=folder / "warehouse")
    load(settings, [folder / f for f in ("shop.csv", "order_line.csv", "return_event.csv")])
    return settings


def midnight(text: str) -> pd.Timestamp:
    """Give the last instant before a midnight."""
    return pd.Timestamp(text) - pd.Timedelta(microseconds=1)


def due_dates(settings: Settings) -> dict[int, pd.Timestamp | None]:
    """Give the due instant of each case that the law gives a date row."""
    t = STAR.tables["estimate_promise"].c
    with current_build(settings.warehouse) as build:
        found = build.fetch(select(t.return_id, t.due_at).where(t.promise_id == "legal_refund"))
    return {
        int(r.rsplit("R", 1)[1]): None if pd.isna(d) else pd.Timestamp(d)
        for r, d in zip(found["return_id"], found["due_at"], strict=True)
    }


def wrong(settings: Settings) -> list[str]:
    """List the cases whose date is not the one worked out by hand."""
    found = due_dates(settings)
    return [
        f"{case.why}: {found.get(i)}"
        for i, case in enumerate(CASES)
        if found.get(i) != (midnight(case.ends) if case.ends else None)
    ]


def due_soon(at: datetime, days: int = 5) -> set[str]:
    """Say by hand which cases fall due within so many days of `at`, of those that were asked for and sent by then."""
    known = [c.ends and c.asked <= str(at) and min(filter(None, (c.sent, c.received))) <= str(at) for c in CASES]
    return {
        f"R{i}"
        for i, (case, is_known) in enumerate(zip(CASES, known, strict=True))
        if is_known and case.ends and at < midnight(case.ends).to_pydatetime() <= at + timedelta(days=days)
    }


def listed(settings: Settings, at: datetime) -> tuple[set[str], float]:
    """Give the returns of the work list that are not late yet, and what the metric counts."""
    with current_build(settings.warehouse) as build:
        found = analyses.refunds_due(build, Question(as_of=at), days=5)
        counted = metrics.answer(build, "refunds_due_soon", Question(as_of=at))["value"].iloc[0]
    return {r.rsplit(":", 1)[1] for r in found.loc[found["days_left"] > 0, "return_id"]}, float(counted)


def claims() -> Iterator[Claim]:
    """Claim the dates, and the work list at two moments."""
    with tempfile.TemporaryDirectory() as place:
        settings = loaded(Path(place))
        missed = wrong(settings)
        yield Claim(
            f"Legal refund date on {len(CASES)} cases worked out by hand (weekends, holidays of 7 countries, 6 time"
            " zones, clock changes)",
            f"{len(CASES)} right",
            f"{len(CASES) - len(missed)} right" + (f"; wrong: {'; '.join(missed)}" if missed else ""),
            not missed,
        )
        for at in (AS_OF, datetime(2025, 12, 23, 12, tzinfo=UTC).replace(tzinfo=None)):
            by_hand, (found, counted) = due_soon(at), listed(settings, at)
            yield Claim(
                f"Refunds falling due within five days of {at:%d %B %Y}: the work list and its number",
                f"{len(by_hand)} by hand: {', '.join(sorted(by_hand))}",
                f"{len(found)} listed, {counted:.0f} counted",
                found == by_hand and counted == len(by_hand) and len(by_hand) > 0,
            )
