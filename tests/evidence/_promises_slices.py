"""States of promises on a sample shop: they add up in every slice, and each says what it should.

The states are counted again, promise by promise, in plain Python from the dates of the warehouse; slices are every
dimension the metric knows, two of them crossed, and several days of observation.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select

from pipelines import analyses, metrics
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.metrics.bind import observed
from pipelines.sample import write_sample
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR
from tests.evidence import Claim

STATES = ("kept", "broken", "undetermined", "expired")
LOOKS_BACK = (0, 10, 45, 200)  # days


def _state(row: Any, at: pd.Timestamp) -> str | None:
    """Say the state of one promise by its words in metrics: None is under no promise."""

    def by(when: Any) -> bool:
        return not pd.isna(when) and when <= at

    if row.requested_at > at:
        return None
    due = None if pd.isna(row.due_at) else row.due_at
    if by(row.ended_at) and due is not None:
        return "broken" if row.ended_at > due else "kept" if due <= at else "undetermined"
    if by(row.stopped_at) and (due is None or row.stopped_at <= due or pd.isna(row.handed_over_at)):
        return "expired" if row.stopped_by == "expired" else None
    if due is not None and due <= at and by(row.handed_over_at):
        return "broken"  # open past its time, or lost
    return None if due is None and by(row.lost_at) else "undetermined"


def slices(build: Build) -> tuple[int, list[str]]:
    """Compare every slice's four counts with the promises counted one by one: (slices, those that differ)."""
    rows = build.fetch(select(STAR.tables["estimate_promise"]))
    rows["return_channel"] = rows["method"].map(lambda m: "store" if m == "store" else "parcel")
    rows["lane"] = [
        " / ".join("-" if pd.isna(v) else v for v in r)
        for r in rows[["country", "method", "carrier"]].itertuples(index=False)
    ]
    rows["week"] = pd.to_datetime(rows["requested_on"]).dt.to_period("W-SUN").dt.start_time
    rows["month"] = pd.to_datetime(rows["requested_on"]).dt.to_period("M").dt.start_time
    cuts = [(d,) for d in metrics.dimensions("promise_kept") if d in rows] + [
        ("promise_id", "country"),
        ("channel", "return_channel"),
        ("promise_id", "week"),
    ]
    until = max(observed(build).values())
    counted, different = 0, []
    for back in LOOKS_BACK:
        as_of = None if back == 0 else until.date() - timedelta(back)
        at = pd.Timestamp(until if as_of is None else f"{as_of} 23:59:59.999999")
        state = pd.Series([_state(r, at) for r in rows.itertuples()], index=rows.index)
        for by in cuts:
            told = analyses.promise_states(build, Question(as_of=as_of), by=by)
            ours = {
                tuple("" if pd.isna(v) else str(v) for v in r[: len(by)]): tuple(int(x) for x in r[len(by) :])
                for r in told[[*by, *STATES]].itertuples(index=False)
            }
            keys = [
                tuple("" if pd.isna(v) else str(v) for v in r)
                for r in rows.loc[state.notna(), list(by)].itertuples(index=False)
            ]
            tally = Counter(zip(keys, state.dropna(), strict=True))
            by_hand = {k: tuple(tally[k, s] for s in STATES) for k in set(keys)}
            counted += len(by_hand)
            different += [
                f"{by} {k} as of {as_of}: {ours.get(k)} not {v}" for k, v in by_hand.items() if ours.get(k) != v
            ]
    return counted, different


def claims() -> Iterator[Claim]:
    """Claim the sums, the states of open, lost and unsent returns, and what in-store returns do not grey."""
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(warehouse=Path(place) / "warehouse")
        write_sample(Path(place) / "files", 20_000, 71_000, until=date(2026, 1, 31))
        load(settings, [Path(place) / "files"])
        with current_build(settings.warehouse) as build:
            counted, different = slices(build)
            yield Claim(
                f"kept + broken + undetermined + expired = returns under promise ({counted:,} slices by every"
                f" dimension, on {len(LOOKS_BACK)} days)",
                "every slice as counted promise by promise",
                f"{counted - len(different):,} of {counted:,}" + (f": {'; '.join(different[:3])}" if different else ""),
                not different and counted > 1000,
            )
            p = build.fetch(select(STAR.tables["estimate_promise"]))
            until = pd.Timestamp(max(observed(build).values()))
            late = (
                p["ended_at"].isna() & p["stopped_at"].isna() & (p["due_at"] <= until) & (p["handed_over_at"] <= until)
            )
            open_late = Counter(_state(r, until) for r in p[late].itertuples())
            never = p[(p["stopped_by"] == "expired") & p["handed_over_at"].isna() & (p["stopped_at"] <= until)]
            unsent = Counter(_state(r, until) for r in never.itertuples())
            yield Claim(
                "An open return past its time is broken, never running",
                "all broken",
                f"{open_late['broken']:,} of {int(late.sum()):,} promises",
                set(open_late) == {"broken"},
            )
            yield Claim(
                "A parcel the customer never handed over is expired, not broken",
                "none broken",
                f"{unsent['expired']:,} expired, {unsent['broken']} broken",
                unsent["broken"] == 0 and unsent["expired"] > 0,
            )
            there = {"country": ["FR"]}  # where the sample shop has stores
            shares = metrics.answer(build, "confirmed_units", Question(where=there), by=("return_channel",)).set_index(
                "return_channel"
            )["value"]
            store = shares["store"] / shares.sum()
            keys = (
                "promise_kept",
                "legal_refund_kept",
                "days_to_refund",
                "days_to_restock",
                "stage_time_share",
                "approval_rate",
                "no_touch_share",
                "stock_gap",
                "refund_as_due",
                "units_waiting",
                "margin_waiting",
            )
            by = {"stage_time_share": ("stage",)}
            grey = [
                k
                for k in keys
                if (metrics.answer(build, k, Question(where=there), by=by.get(k, ()))["status"] != "ok").any()
            ]
            yield Claim(
                "A quarter or more of in-store returns does not grey the page of promises",
                "25% or more in store, no number greyed",
                f"{store:.0%} in store; {len(keys) - len(grey)} of {len(keys)} numbers known"
                + (f"; greyed: {', '.join(grey)}" if grey else ""),
                bool(store >= 0.25 and not grey),
            )
