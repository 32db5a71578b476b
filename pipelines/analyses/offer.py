"""The promise that could be made today, lane by lane, and what promising less or more would cost.

Built on the statistics of `promise_at`: waits of the last weeks counted in the promise's own unit, open ones up to now,
lost ones as broken. The published promise is the one most of those returns were given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from models import promises as promise_models
from pipelines.metrics import losses
from pipelines.metrics.answer import answer
from pipelines.metrics.bind import bind, observed
from pipelines.metrics.cautions import Doubt, doubt_of
from pipelines.metrics.compiler import filters, statement
from pipelines.metrics.facts import promises
from pipelines.metrics.facts.of_promises import PROMISES
from pipelines.metrics.finish import paces
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build
from pipelines.why import together, why

WEEKS = 13  # of starts that the promise of today rests on
FEWEST = 30  # that must have completed
LANE = ("country", "method", "carrier")
_MONTH = 365.25 / 12 / 7  # weeks


@dataclass(frozen=True)
class Offer:
    """One lane's promise: what is published, what could be promised, and the price of every duration.

    `lane` names market, method and carrier ("" where all are meant). `published` (None: nobody promised) and `possible`
    with its interval are in `unit`; `kept` is the share that the published one is kept with, with its interval.
    `is_unkeepable`: surely less often than `at`. `prices` has a row a duration: duration, kept, low, high,
    broken_a_month (returns, each one customer), is_published, is_possible. A `reason` says why nothing can be promised,
    or with a `caution` what weakens the numbers; `coverage` is the share of the lane's promises whose dates can be
    judged.
    """

    promise_id: str
    lane: Mapping[str, str]
    at: float
    unit: str
    published: float | None
    possible: float
    low: float
    high: float
    n: int
    a_month: float
    kept: float
    kept_low: float
    kept_high: float
    is_unkeepable: bool
    reason: str
    prices: pd.DataFrame
    coverage: float = 1.0
    caution: str = ""

    def row(self) -> dict[str, Any]:
        """Give everything but the prices as a row; what is not known is None."""
        numbers = {
            n: getattr(self, n) for n in ("published", "possible", "low", "high", "kept", "kept_low", "kept_high")
        }
        plain = {n: float(v) if v is not None and np.isfinite(v) else None for n, v in numbers.items()}
        named = {
            "market": self.lane.get("country", ""),
            "method": self.lane.get("method", ""),
            "carrier": self.lane.get("carrier", ""),
        }
        return {
            "promise": self.promise_id,
            **named,
            "at": self.at,
            "unit": self.unit,
            **plain,
            "n": self.n,
            "a_month": round(self.a_month, 1),
            "is_unkeepable": self.is_unkeepable,
            "coverage": self.coverage,
            "reason": self.reason,
            "caution": self.caution,
        }


def offers(
    build: Build,
    promise_id: str,
    at: float = 0.95,
    question: Question = ANYTHING,
    *,
    by_lane: bool = True,
    weeks: int = WEEKS,
) -> list[Offer]:
    """Give the offer of a promise for each lane with returns in the last weeks, busiest first.

    A lane is market x method x carrier; or for all of the selection.
    """
    latest = max(observed(build).values(), default=None)
    if latest is None:
        return []
    by = LANE if by_lane else ()
    question = question.takes("An offer", "as_of").under(promise_id=[promise_id])
    bound = bind(build, f"promise_at({at})", question, by=by)
    end = latest if bound.as_of is None else min(latest, bound.as_of)
    since = end.date() - timedelta(7 * weeks - 1)
    asked = question.but(since=since, until=end.date())
    bound = bind(build, f"promise_at({at})", asked, by=by)
    counted = build.fetch(statement(bound))
    if counted.empty or not counted["waits"].fillna(0).sum():
        return []
    c, now = promises.c, PROMISES.time(bound)
    groups = [c[n] for n in by]
    told = build.fetch(
        select(*groups, c.duration, c.duration_unit, func.count().label("n"))
        .where(*filters(PROMISES, bound, now), c.started_at.is_not(None))
        .group_by(*groups, c.duration, c.duration_unit)
    )
    lanes = (
        [
            dict(zip(by, ("" if pd.isna(v) else str(v) for v in row), strict=True))
            for row in counted[list(by)].drop_duplicates().itertuples(index=False)
        ]
        if by
        else [{}]
    )
    found, lost = [], losses.weighed(build, bound)
    answers = answer(build, f"promise_at({at})", asked, by=by) if lost is not None else None
    pace = paces.said(build, bound, ends=paces.ends_of(build, [promise_id])) if lost is None else ""
    for lane in lanes:
        mine, said = _of_lane(counted, lane), _of_lane(told, lane)
        offer = _offer(promise_id, lane, at, mine, said.sort_values("n").iloc[-1] if len(said) else None, weeks)
        if lost is not None and answers is not None:
            offer = _covered(offer, _of_lane(lost, lane), _of_lane(answers, lane))
        elif pace:
            offer = replace(offer, caution=paces.CAUTION, reason=together(offer.reason, pace))
        found.append(offer)
    return sorted(found, key=lambda o: -o.a_month)


def _covered(offer: Offer, lost: pd.DataFrame, answers: pd.DataFrame) -> Offer:
    """Say of an offer what it does not rest on, as the metric does."""
    rests, said = losses.covered(lost), doubt_of(*answers.to_dict("records"))
    if rests < 1 - losses.CAUTION and not said.caution:  # the answer is not known for another reason
        said = Doubt("coverage", why("part", share=losses.share(rests), what=PROMISES.noun))
    return replace(offer, coverage=rests, caution=said.caution, reason=together(offer.reason, said.reason))


def _of_lane(frame: pd.DataFrame, lane: Mapping[str, str]) -> pd.DataFrame:
    keep = np.ones(len(frame), dtype=bool)
    for name, value in lane.items():
        keep &= (frame[name].fillna("") == value).to_numpy()
    return frame[keep]


def _offer(promise_id: str, lane: Mapping[str, str], at: float, mine: pd.DataFrame, said: Any, weeks: int) -> Offer:
    unit = str(said["duration_unit"]) if said is not None else str(mine["unit_of"].iloc[0])
    published = float(said["duration"]) if said is not None else None
    mine = mine[mine["unit_of"] == unit]
    took, place = np.unique(mine["took"].fillna(0).to_numpy(float), return_inverse=True)
    table = promise_models.life_table(
        np.zeros(len(mine), int), place, mine["cause"], mine["waits"], 1, max(took.size, 1)
    )[0]
    a_month = float(mine["waits"].sum()) / weeks * _MONTH
    n = int(table[promise_models.COMPLETED].sum())
    nothing = pd.DataFrame(columns=["duration", "kept", "low", "high", "broken_a_month", "is_published", "is_possible"])
    nan = float("nan")
    if n < FEWEST:
        reason = why("few_completed", n=n, weeks=weeks, needed=FEWEST)
        return Offer(
            promise_id, lane, at, unit, published, nan, nan, nan, n, a_month, nan, nan, nan, False, reason, nothing
        )
    possible, low, high = promise_models.promise_at(took, table, at)
    curve = promise_models.kept_curve(took, table)
    whole = np.arange(0, int(took.max()) + 2, dtype=float)
    position = np.searchsorted(took, whole, side="right") - 1
    kept = np.where((position >= 0)[:, None], curve[np.maximum(position, 0)], 0.0)
    is_step = np.diff(kept[:, 0], prepend=-1) > 0.001  # durations that keep no more than the one before are left out
    shown = (is_step & (kept[:, 0] >= 0.3)) | (whole == published) | (whole == possible)
    prices = pd.DataFrame(
        {
            "duration": whole,
            "kept": kept[:, 0],
            "low": kept[:, 1],
            "high": kept[:, 2],
            "broken_a_month": (1 - kept[:, 0]) * a_month,
            "is_published": whole == published,
            "is_possible": whole == possible,
        }
    )
    of = np.searchsorted(took, published, side="right") - 1 if published is not None else -1
    now = curve[of] if of >= 0 else np.array([0.0, 0.0, 0.0]) if published is not None else np.full(3, nan)
    reason = "" if np.isfinite(possible) else why("no_duration")
    return Offer(
        promise_id,
        lane,
        at,
        unit,
        published,
        float(possible),
        float(low),
        float(high),
        n,
        a_month,
        float(now[0]),
        float(now[1]),
        float(now[2]),
        bool(now[2] < at),
        reason,
        prices[shown].reset_index(drop=True),
    )
