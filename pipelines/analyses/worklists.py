"""Work lists: promises at risk, refunds due, goods that wait, states of promises, control charts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import and_, literal_column, select

from models import control
from pipelines.analyses.milestones import STEPS_BY, milestones
from pipelines.metrics.answer import answer
from pipelines.metrics.bind import bind, is_known
from pipelines.metrics.cautions import Doubt, doubt, doubted
from pipelines.metrics.compiler import filters
from pipelines.metrics.declare import BoundQuestion, FactTable
from pipelines.metrics.facts import promises, risks
from pipelines.metrics.facts.of_promises import PROMISES, RISKS
from pipelines.metrics.finish import waits
from pipelines.metrics.question import ANYTHING, Question
from pipelines.metrics.sums import statistics_of
from pipelines.warehouse.engine import Build, Expression, days_between, double
from pipelines.warehouse.rules import Time
from pipelines.warehouse.star import STAR

t = STAR.tables


def _base_rows(
    build: Build, base: FactTable, question: BoundQuestion, columns: dict[str, Any], *conditions: Any
) -> pd.DataFrame:
    now = base.time(question)
    chosen = [c(now) if callable(c) else c for c in columns.values()]
    wanted = [c(now) for c in conditions]
    query = select(*(c.label(n) for n, c in zip(columns, chosen, strict=True))).where(
        *filters(base, question, now), *wanted
    )
    return build.fetch(query.select_from(base.table))


def _open_promise(now: Time) -> Expression:
    c = promises.c
    return and_(now.open(c.ended_at), now.open(c.stopped_at), c.due_at.is_not(None))


_PROMISE_ROW: dict[str, Any] = {
    **{
        n: promises.c[n]
        for n in (
            "return_id",
            "promise_id",
            "country",
            "method",
            "carrier",
            "place_id",
            "started_at",
            "due_at",
            "amount",
            "units",
        )
    },
    "age_days": lambda now: days_between(promises.c.started_at, now.at),
    "days_left": lambda now: days_between(now.at, promises.c.due_at),
}


_AT_RISK = (
    "return_id",
    "country",
    "method",
    "carrier",
    "place_id",
    "stage",
    "age_days",
    "amount",
    "units",
    "next_promise",
    "next_days_left",
    "next_probability",
    "promise_id",
    "due_at",
    "days_left",
    "probability",
    "at_stake",
    "early_at",
    "expected_at",
    "late_at",
    *STEPS_BY,
    "missed",
    "refund_by",
)


def worklist_at_risk(build: Build, question: Question = ANYTHING, *, limit: int = 200) -> pd.DataFrame:
    """List open returns, one row each, by the money that probably breaks a promise.

    `at_stake` = amount x probability, each return one customer. `next_*` is the promise that falls due first,
    `promise_id`, `due_at`, `days_left` and `probability` the final one: the refund that is due first, or the next
    promise where none is open. `expected_at` is the day its refund will probably come, `early_at` to `late_at` its 80%
    interval. `scan_by` and its like, `missed` and `refund_by` are those of `milestones`, empty as of an earlier day.
    `caution` and `reason` say what the list does not rest on.
    """
    bound = bind(build, "breach_risk", question.takes("A work list", "as_of"))
    columns = {
        **_PROMISE_ROW,
        "stage": risks.c.stage,
        "probability": risks.c.probability,
        "to_stage": promises.c.to_stage,
        "return_key": promises.c.return_key,
    }
    found = _base_rows(build, RISKS, bound, columns, _open_promise).sort_values(["return_id", "due_at", "promise_id"])
    following = found.drop_duplicates("return_id").set_index("return_id")
    is_refund = found["to_stage"].eq("refunded")
    final = (
        found.assign(other=~is_refund)
        .sort_values(["return_id", "other", "due_at"])
        .drop_duplicates("return_id")
        .set_index("return_id")
    )
    for name, column in (
        ("next_promise", "promise_id"),
        ("next_days_left", "days_left"),
        ("next_probability", "probability"),
    ):
        final[name] = following[column]
    dates = build.fetch(select(t["estimate_completion"])).set_index("return_key")
    for name in ("early_at", "expected_at", "late_at"):
        final[name] = dates[name].reindex(final["return_key"]).to_numpy()
    # risks know dimensions that promises do not
    steps = milestones(build, question.but(as_of=None, where={})).set_index("return_id")
    for name in (*STEPS_BY, "missed", "refund_by"):
        final[name] = steps[name].reindex(final.index) if question.as_of is None else None
    final["at_stake"] = final["amount"].astype(float) * final["probability"]
    ranked = final.reset_index().sort_values(["at_stake", "probability", "return_id"], ascending=[False, False, True])
    listed = ranked.head(limit).reset_index(drop=True)[list(_AT_RISK)]
    return doubted(listed, doubt(build, question, "breach_risk"))


def refunds_due(
    build: Build,
    question: Question = ANYTHING,
    *,
    days: float = 5,
    limit: int = 1000,
) -> pd.DataFrame:
    """List open withdrawals whose legal refund date falls within so many days.

    Overdue ones first (`days_left` below 0); `caution` and `reason` say what the list does not rest on.
    """
    bound = bind(build, "refunds_due_soon", question.takes("A work list", "as_of"))

    def due(now: Time) -> Expression:
        is_legal = promises.c.promise_id == literal_column("'legal_refund'")
        left = days_between(now.at, promises.c.due_at)
        return and_(is_legal, left <= double(days), now.happened(promises.c.handed_over_at))

    found = _base_rows(build, PROMISES, bound, _PROMISE_ROW, _open_promise, due)
    listed = found.sort_values(["due_at", "return_id"]).head(limit).reset_index(drop=True)
    return doubted(listed, doubt(build, question, "refunds_due_soon"))


def open_returns(build: Build, question: Question = ANYTHING) -> pd.DataFrame:
    """List the returns with an open promise: return_id, each once."""
    bound = bind(build, "breach_risk", question.takes("A work list", "as_of"))
    found = _base_rows(build, RISKS, bound, {"return_id": promises.c.return_id}, _open_promise)
    return found.drop_duplicates("return_id").sort_values("return_id", ignore_index=True)


WAITING = {"units": "units_waiting", "margin": "margin_waiting", "value": "value_in_flow"}
"""What is counted of goods that wait, and the metric that counts it."""


def goods_waiting(build: Build, question: Question = ANYTHING) -> pd.DataFrame:
    """List what waits on its way back by site and stage, the dearest first.

    Columns: place_id, waiting, units, margin, value; those not known are missing, all rows where units are not.
    """
    names = ["place_id", "waiting", *WAITING]
    if not is_known(build, WAITING["units"]):
        return pd.DataFrame(columns=names)
    found = [
        answer(build, key, question, by=("place_id", "stage")).set_index(["place_id", "stage"])["value"].rename(name)
        for name, key in WAITING.items()
        if is_known(build, key)
    ]
    listed = pd.concat(found, axis=1, sort=False).reset_index().rename(columns={"stage": "waiting"})
    listed = listed[listed["units"] > 0].reindex(columns=names)
    return listed.sort_values(["margin", "units"], ascending=False, ignore_index=True)


def promise_states(
    build: Build,
    question: Question = ANYTHING,
    *,
    by: Sequence[str] = ("promise_id",),
) -> pd.DataFrame:
    """Count returns under promise per group: kept, broken, undetermined (running, on time), expired.

    `caution` and `reason` say what all of them do not rest on.
    """
    bound = bind(build, "promise_kept", question, by=by)
    keys, sums = waits.by_state(statistics_of(build, bound), bound)
    counted = pd.concat([keys, sums.astype(int)], axis=1)
    return doubted(counted, doubt(build, question, "promise_kept"))


CONTROL_WEEKS, JUDGED_WEEKS = 52, 12  # weeks on a control chart, and how many of the last the limits do not come from
_DECIDED = 0.95  # share of a week's promises that must be due before the week is judged


def control_chart(build: Build, promise_id: str, question: Question = ANYTHING) -> pd.DataFrame:
    """Chart the share of one promise kept by week of request.

    Columns: week, kept, n (due), share, centre, low, high, signal, is_young, caution, reason. The limits come from the
    weeks before the last JUDGED_WEEKS; weeks of which a twentieth is not due yet are young and no signal. Empty where
    the promise is not known.
    """
    names = ["week", "kept", "n", "share", "centre", "low", "high", "signal", "is_young", "caution", "reason"]
    question.takes("A control chart", "as_of")
    counted = promise_states(build, question.under(promise_id=[promise_id]), by=("week",))
    if counted.empty:
        return pd.DataFrame(columns=names)
    weeks = counted.drop(columns=["week", "caution", "reason"]).set_index(pd.to_datetime(counted["week"])).sort_index()
    weeks = weeks.reindex(pd.date_range(weeks.index.min(), weeks.index.max(), freq="7D")).fillna(0).tail(CONTROL_WEEKS)
    due = weeks["kept"] + weeks["broken"]
    is_young = (due < _DECIDED * (due + weeks["undetermined"])).to_numpy(bool)
    n = np.where(is_young, 0, due)
    kept = np.where(is_young, 0, weeks["kept"])
    chart = control.shares(kept, n, np.arange(len(weeks)) < len(weeks) - JUDGED_WEEKS)
    found = pd.DataFrame({"week": weeks.index, "kept": weeks["kept"].to_numpy(), "n": due.to_numpy()})
    share = (weeks["kept"] / due.where(due > 0)).to_numpy(float)
    found = found.assign(share=share, **chart._asdict(), is_young=is_young)
    return doubted(found, Doubt(*counted[["caution", "reason"]].iloc[0]))[names].reset_index(drop=True)
