"""Milestones of open returns, backwards: the latest day of scan, receipt and inspection that keeps the refund's date.

Each leg is the promise of the return's policy where it makes one, else the usual duration of the stage (the median of
those that completed it); what rests on which is said. When a step is late already, the date of the refund is worked
out anew from it. Carriers' and shops' systems do this forward, for deliveries.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import and_, select

from models.milestones import STEPS, USUAL, WORKED, Calendar, Leg, Legs, latest, next_step, renewed
from pipelines.metrics.answer import answer
from pipelines.metrics.bind import bind, is_known
from pipelines.metrics.cautions import doubt, doubted
from pipelines.metrics.compiler import filters
from pipelines.metrics.facts import promises, t
from pipelines.metrics.facts.of_promises import PROMISES
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, days_between, looked_up

KEY = "promise_kept"
SHOWN = {"carrier_scan": "scan", "received": "receipt", "inspected": "inspection"}
STEPS_BY = tuple(f"{name}_{of}" for name in SHOWN.values() for of in ("by", "basis"))
MILESTONES = (
    "return_id",
    "promise_id",
    "stage",
    "due_at",
    "days_left",
    *STEPS_BY,
    "missed",
    "refund_by",
)
"""Columns of `milestones`: days by which each step must come, what they rest on, the step that is late, the new day."""
_EPOCH = pd.Timestamp(0)


def milestones(build: Build, question: Question = ANYTHING, *, limit: int | None = None) -> pd.DataFrame:
    """List open returns with the latest day of each step still to come that keeps the refund's promised date.

    One row a return, of the refund promised first: `<step>_by` is the last day (the shop's), `<step>_basis` promised or
    usual, nothing for steps that are done; `missed` the first step that is late already, and `refund_by` then the day
    the refund comes if that step is done now. Missed ones first, then by the next step's day. Returns asked for more
    than 180 days ago are left out, as in `estimate_completion`. Without requests or promises there is no row.
    """
    question.takes("Milestones")
    if not is_known(build, KEY):
        return pd.DataFrame(columns=[*MILESTONES, "caution", "reason"])
    if question == ANYTHING:  # asked beside each list of what is at risk, whatever that is filtered by
        if "milestones" not in build.cache:
            build.cache["milestones"] = _listed(build, question)
        listed = build.cache["milestones"]
    else:
        listed = _listed(build, question)
    return doubted(listed if limit is None else listed.head(limit), doubt(build, question, KEY))


def _listed(build: Build, question: Question) -> pd.DataFrame:
    """List all of them, without what they do not rest on."""
    found = _open_refunds(build, question)
    parts = [
        _of_group(build, rows, policy_legs(build, key[0], usual_days(build)))
        for key, rows in found.groupby(["policy_key", "country", "carrier"], dropna=False)
    ]
    listed = pd.concat(parts) if parts else found.reindex(columns=[*MILESTONES, "next_by"])
    listed = listed.assign(is_fine=listed["missed"].isna()).sort_values(["is_fine", "next_by", "return_id"])
    return listed.reset_index(drop=True)[list(MILESTONES)]


def _open_refunds(build: Build, question: Question) -> pd.DataFrame:
    """Give open returns with the refund promised first, their last stage, and now and the due date on their clock."""
    bound = bind(build, KEY, question)
    now, c, done, shop = PROMISES.time(bound), promises.c, t["estimate_completion"], t["dim_shop"]
    names = ("return_key", "return_id", "promise_id", "due_at", "policy_key", "shop_id", "country", "carrier")
    columns: list[Any] = [c[n] for n in names]
    columns += [done.c.stage, now.at.label("now"), days_between(now.at, c.due_at).label("days_left")]
    is_open = and_(now.open(c.ended_at), now.open(c.stopped_at), c.due_at.is_not(None), c.to_stage == "refunded")
    query = select(*columns).where(*filters(PROMISES, bound, now), is_open)
    found = build.fetch(query.select_from(promises.join(done, done.c.return_key == c.return_key)))
    found = found.sort_values(["return_id", "due_at", "promise_id"]).drop_duplicates("return_id")
    zones = build.fetch(select(shop.c.shop_id, shop.c.time_zone)).drop_duplicates("shop_id").set_index("shop_id")
    named = looked_up(found["shop_id"], zones["time_zone"]).astype(object)
    zone = named.where(named.notna(), "UTC")
    for column in ("now", "due_at"):
        local = pd.Series(np.nan, found.index, dtype=float)
        for name, rows in found.groupby(zone):
            clock = pd.to_datetime(rows[column]).dt.tz_localize("UTC").dt.tz_convert(str(name)).dt.tz_localize(None)
            local[rows.index] = (clock - _EPOCH) / pd.Timedelta(days=1)
        found[f"local_{column}"] = local
    return found


def usual_days(build: Build) -> Mapping[str, float]:
    """Give the usual days of each leg, the median of those that completed it; once a build."""
    if "usual_days" not in build.cache:
        found: dict[str, float] = {}
        if is_known(build, "stage_days"):
            stages = answer(build, "stage_days(0.5)", by=("stage",))
            found = dict(zip(stages["stage"], stages["value"].astype(float), strict=True))
        if is_known(build, "days_to_refund_from_receipt"):
            found["received-refunded"] = float(answer(build, "days_to_refund_from_receipt(0.5)")["value"].iloc[0])
        build.cache["usual_days"] = found
    usual: Mapping[str, float] = build.cache["usual_days"]
    return usual


def policy_legs(build: Build, policy_key: Any, usual: Mapping[str, float]) -> tuple[tuple[str, ...], Legs]:
    """Give the steps before a policy's refund and the legs between them.

    A promise from the hand-over holds from the first scan. Steps after the one that starts the refund do not delay it.
    """
    if "policies" not in build.cache:
        made, policy = t["dim_policy_promise"], t["dim_policy"]
        build.cache["policies"] = (
            build.fetch(select(made)),
            build.fetch(select(policy.c.policy_key, policy.c.refund_trigger)).set_index("policy_key")["refund_trigger"],
        )
    made, triggers = build.cache["policies"]
    has_policy = bool(pd.notna(policy_key))
    trigger = triggers.get(policy_key) if has_policy else None
    last = STEPS.index(trigger) if trigger in STEPS else len(STEPS) - 2
    steps = (*STEPS[: last + 1], STEPS[-1])
    legs: dict[str, list[Leg]] = {s: [] for s in steps[:-1]}
    mine = made[made["policy_key"].eq(policy_key) & made["to_stage"].isin(steps)] if has_policy else made.iloc[:0]
    for row in mine.sort_values("promise_id").to_dict("records"):  # a handful a policy
        start = "carrier_scan" if row["from_stage"] == "handed_over" else row["from_stage"]
        if start in legs and steps.index(row["to_stage"]) > steps.index(start):
            legs[start].append(Leg(row["to_stage"], float(row["duration"]), row["duration_unit"]))
    for start, following in pairwise(steps):
        days = usual.get(f"{start}-{following}", np.nan)
        if np.isfinite(days):
            legs[start].append(Leg(following, float(days), USUAL))
    return steps, legs


def _calendars(build: Build, country: Any, carrier: Any) -> dict[str, Calendar]:
    """Give the calendars of business days and of the carrier's days, its own or the country's."""
    cache = build.cache.setdefault("calendars", {})
    found = {}
    for unit, whose in zip(WORKED, ("", carrier), strict=True):
        key = (country, whose if isinstance(whose, str) else "")
        if key not in cache:
            day = t["dim_day"]
            asked = select(day.c.day, day.c.business_day_no).where(day.c.country == key[0], day.c.carrier == key[1])
            days = build.fetch(asked.order_by(day.c.day)) if isinstance(country, str) else pd.DataFrame()
            cache[key] = (
                Calendar((pd.Timestamp(days["day"].iloc[0]) - _EPOCH).days, days["business_day_no"].to_numpy(np.int64))
                if len(days)
                else None
            )
        if (calendar := cache[key] or cache.get((country, ""))) is not None:
            found[unit] = calendar
    return found


def _of_group(build: Build, rows: pd.DataFrame, way: tuple[tuple[str, ...], Legs]) -> pd.DataFrame:
    """Work out the milestones of returns that share policy, market and carrier."""
    steps, legs = way
    calendars = _calendars(build, rows["country"].iloc[0], rows["carrier"].iloc[0])
    by_step = latest(rows["local_due_at"].to_numpy(float), legs, calendars)
    now = rows["local_now"].to_numpy(float)
    following = np.array([next_step(s, steps) for s in rows["stage"]])
    place = np.array([STEPS.index(s) for s in following])
    found = rows.copy()
    next_by, missed = np.full(len(rows), np.nan), np.full(len(rows), None, dtype=object)
    for i, step in enumerate(STEPS):
        at, is_promised = (
            by_step.get(step, (np.full(len(rows), np.nan), False)) if step in steps else (now * np.nan, False)
        )
        is_open = place <= i
        if step in SHOWN:
            is_dated = is_open & np.isfinite(at)
            found[f"{SHOWN[step]}_by"] = _days(np.where(is_open, at, np.nan))
            found[f"{SHOWN[step]}_basis"] = pd.Series(
                "promised" if is_promised else "usual", rows.index, dtype=object
            ).where(is_dated, None)
        next_by = np.where(following == step, at, next_by)
    is_missed = next_by < now
    missed[is_missed] = following[is_missed]
    anew = np.full(len(rows), np.nan)
    for step in set(following[is_missed]):
        mine = is_missed & (following == step)
        anew[mine] = renewed(step, now[mine], legs, calendars)
    return found.assign(missed=missed, refund_by=_days(anew), next_by=_days(next_by))


def _days(at: Any) -> Any:
    """Turn local times into their days; nothing where there is none."""
    whole = np.floor(np.asarray(at, dtype=np.float64))
    return pd.to_datetime(pd.Series(whole), unit="D").to_numpy()
