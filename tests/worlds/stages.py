"""Worlds of the returns centre: a backlog that grows, people who come on some days, and a shop with stories and dirt.

Each tells how long open returns will take by more than their own age: what waits before them, the day of the week, the
carrier, the site.
"""

from typing import Any

import numpy as np
import pandas as pd

from tests.worlds import plain, shapes
from tests.worlds.plain import Ground
from tests.worlds.shop import Shop

GROWS = 35
"""Days before the last one since when the backlog grows."""
SLOWER = (5, 3, 14)
"""Promises of centres where goods wait."""
CARRIERS = {"North": (0.4, 2.0), "Coast": (0.35, 3.0), "Valley": (0.25, 4.5)}
"""Share of the returns and mean days on the way of each carrier."""


def _before_stage(base: Ground) -> tuple[pd.DataFrame, Any, Any]:
    """Draw returns up to their receipt: lines, day of the first scan, day of the receipt."""
    lines = plain.returned(base, plain.delivered(base))
    rng = base.rng
    scan = lines["handed"].to_numpy() + rng.gamma(2, 0.3, len(lines))
    return lines, scan, scan + shapes.travelled(rng, len(lines), 2.5)


def _after(base: Ground, lines: pd.DataFrame, scan: Any, receipt: Any, inspected: Any) -> pd.DataFrame:
    back = lines["is_returned"].to_numpy()
    refunded = inspected + base.rng.gamma(1.5, 0.9, len(lines))
    return plain.dated(
        base,
        lines,
        requested=lines["requested"],
        carrier_scan=np.where(back, scan, np.nan),
        received=np.where(back, receipt, np.nan),
        inspected=inspected,
        refunded=refunded,
    )


def kept_back(base: Ground, arrival: Any, days_waiting: Any) -> Any:
    """Work off a queue whose staff leaves so many days' arrivals waiting each evening; first come, first served."""
    days = len(days_waiting)
    counts = np.bincount(np.clip(arrival.astype(int), 0, days - 1), minlength=days)
    usual = max(float(counts[: base.plan.days].mean()), 0.5)
    done = np.maximum.accumulate(np.maximum(np.cumsum(counts) - usual * days_waiting, 0))
    per_day = np.diff(done, prepend=0.0)
    per_day[-1] += len(arrival)
    return shapes.queued(arrival, per_day, base.rng)


def backlog(seed: int, *, fold: float = 3.0, **sizes: Any) -> Shop:
    """Two days' arrivals wait for inspection; in the last 35 days three times as many come to wait, and they stay."""
    base = plain.ground(seed, plain.plan_of(seed, **{"promises": SLOWER, **sizes}))
    lines, scan, receipt = _before_stage(base)
    back = lines["is_returned"].to_numpy()
    day = np.arange(base.plan.days + base.plan.future + plain.AFTER)
    grown = np.clip((day - (base.last - GROWS)) / GROWS, 0, 1)
    inspected = np.full(len(lines), np.nan)
    inspected[back] = kept_back(base, receipt[back], 2.0 * (1 + (fold - 1) * grown))
    return plain.shop(base, _after(base, lines, scan, receipt, inspected), fold=fold)


def tuesdays(seed: int, *, weekdays: tuple[int, ...] = (1,), **sizes: Any) -> Shop:
    """Somebody inspects on Tuesdays only, and then everything that is there."""
    base = plain.ground(seed, plain.plan_of(seed, **{"promises": SLOWER, **sizes}))
    lines, scan, receipt = _before_stage(base)
    back = lines["is_returned"].to_numpy()
    days = base.plan.days + base.plan.future + plain.AFTER
    inspected = np.full(len(lines), np.nan)
    all_there = shapes.working(days, plain.weekday_of(base), float(len(lines)), weekdays)
    inspected[back] = shapes.queued(receipt[back], all_there, base.rng)
    return plain.shop(base, _after(base, lines, scan, receipt, inspected), weekdays=weekdays)


def stories_and_dirt(seed: int, **sizes: Any) -> Shop:
    """Three carriers, a strike, a peak that the centre is too small for, a freeze of refunds; and files as they are.

    Dirt: one label in twelve is never used, some requests are cancelled, parcels get lost, scans are missing, and one
    event in thirty is known a few days late.
    """
    base = plain.ground(
        seed, plain.plan_of(seed, **{"lines": 120_000, "products": 600, "days": 500, "promises": SLOWER, **sizes})
    )
    lines = plain.returned(base, plain.delivered(base))
    rng, n, last = base.rng, len(lines), base.last
    names = list(CARRIERS)
    carrier = rng.choice(len(names), n, p=[s for s, _ in CARRIERS.values()])
    handed = lines["handed"].to_numpy() + np.where(rng.random(n) < 0.15, rng.exponential(4, n), 0)
    scan = handed + rng.gamma(2, 0.3, n)
    strikes = (float(rng.uniform(120, 200)), last - float(rng.uniform(8, 30)))
    for began in strikes:
        is_hit = (carrier == 1) & (scan > began) & (scan < began + 10)
        scan = np.where(is_hit, began + 10 + rng.random(n), scan)
    receipt = scan + shapes.travelled(rng, n, np.array([d for _, d in CARRIERS.values()])[carrier])
    back = lines["is_returned"].to_numpy()
    days = base.plan.days + base.plan.future + plain.AFTER
    inspected = np.full(n, np.nan)
    rate = max(float((receipt[back] < base.plan.days).sum()) / base.plan.days, 0.5)
    capacity = shapes.working(days, plain.weekday_of(base), rate * 7 / 6 * 1.12)
    capacity[int(last - 45) : int(last - 25)] *= 0.8
    inspected[back] = shapes.queued(receipt[back], capacity, rng)
    refunded = _paid(base, inspected)
    lines = plain.dated(base, lines, requested=lines["requested"], handed_over=np.where(back, handed, np.nan))
    lines = plain.dated(
        base, lines, carrier_scan=np.where(back, scan, np.nan), received=np.where(back, receipt, np.nan)
    )
    lines = plain.dated(base, lines, inspected=inspected, refunded=refunded)
    lines["return_carrier"] = np.array(names, dtype=object)[carrier]
    lines["method"] = np.where(carrier == 2, "home_pickup", "drop_off")
    return plain.shop(base, _dirty(base, lines), strikes=strikes)


def _paid(base: Ground, inspected: Any) -> Any:
    """Pay on working days, a day later in one case of five; for a week a year nothing is paid."""
    rng, n = base.rng, len(inspected)
    refunded = inspected + rng.gamma(1.2, 0.8, n) + (rng.random(n) < 0.2) * 1.0
    frozen = float(rng.uniform(150, 250))
    return np.where((refunded > frozen) & (refunded < frozen + 7), frozen + 7 + rng.random(n), refunded)


def _dirty(base: Ground, lines: pd.DataFrame) -> pd.DataFrame:
    """Lose parcels and scans, leave labels unused, cancel requests, and let events be known late."""
    rng, n = base.rng, len(lines)
    never = np.datetime64("NaT", "s")
    back = lines["is_returned"].to_numpy()
    draw = rng.random(n)
    unused, cancelled, lost = back & (draw < 0.08), back & (draw >= 0.08) & (draw < 0.10), back & (draw > 0.99)
    for event in ("handed_over", "carrier_scan", "received", "inspected", "refunded"):
        lines[f"{event}_at"] = lines[f"{event}_at"].where(~(unused | cancelled), never)
    for event in ("received", "inspected", "refunded"):
        lines[f"{event}_at"] = lines[f"{event}_at"].where(~lost, never)
    lines["cancelled_at"] = (lines["requested_at"] + pd.to_timedelta(rng.exponential(1.5, n), "D")).dt.floor("s")
    lines["cancelled_at"] = lines["cancelled_at"].where(cancelled, never)
    lines["lost_at"] = (lines["carrier_scan_at"] + pd.to_timedelta(20 + 5 * rng.random(n), "D")).dt.floor("s")
    lines["lost_at"] = lines["lost_at"].where(lost, never)
    lines["is_returned"] = back & ~unused & ~cancelled
    lines["carrier_scan_at"] = lines["carrier_scan_at"].where(rng.random(n) >= 0.05, never)
    for event in ("received", "inspected"):
        late = (rng.random(n) < 1 / 30) * rng.exponential(2, n)
        lines[f"{event}_recorded_at"] = (lines[f"{event}_at"] + pd.to_timedelta(late, "D")).dt.floor("s")
    return lines
