"""What finance books for returns that are not settled: refund liability and right to recover the goods (IFRS 15).

The liability is what customers will be paid back for sales already booked, the asset what the goods will still be worth once they
are back (IFRS 15, B21-B25; https://www.ifrs.org). Both are without VAT and rest on the same metrics as the pages.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from pipelines.metrics.answer import Day, answer, lacking, metric, observed
from pipelines.metrics.backtest import backtest
from pipelines.metrics.base import EVERYTHING, Scope, as_instant
from pipelines.metrics.bases import returned
from pipelines.metrics.change import total
from pipelines.warehouse.engine import Build

TO_RECOVER, VALUE_LOSS = ("return_freight", "handling", "disposal"), "value_loss"
"""Components of the cost of a return that lower the asset: what it takes to recover the goods, and what they lose in value."""
_EXPERIENCE_DAYS = 365
COLUMNS = (
    "units_to_come", "owed", "to_come", "liability", "low", "high", "cost_of_goods", "cost_to_recover", "asset", "status", "reason",
)  # fmt: skip


def observation_time(build: Build, as_of: Day = None) -> datetime:
    """Give the time a question is answered at: the latest event of any source, or `as_of` when that is earlier."""
    latest = max(observed(build).values())
    asked = as_instant(as_of)
    return latest if asked is None else min(latest, asked.replace(tzinfo=None))


def accrual(
    build: Build, *, by: Sequence[str] = ("month",), where: Mapping[str, Sequence[Any]] | None = None, as_of: Day = None, scope: Scope = EVERYTHING
) -> pd.DataFrame:  # fmt: skip
    """Give the refund liability and the right to recover goods at a day, per group of order cohorts, in the reporting currency.

    One row a group and a last one for all (its groups empty), whose amounts are the sums of the rows. units_to_come: units
    expected back; owed: net value of units back and not paid; to_come: net value expected back; liability = owed + to_come with
    a 90% interval low to high; cost_of_goods: purchase cost of the same units; cost_to_recover: freight, handling, disposal and
    loss of value expected on them, as the last year's returns had them; asset = the difference, never below 0. A group too
    young to project is greyed with its reason and left out of the sum; asset columns are missing where costs are not known.
    """
    question: dict[str, Any] = {"where": where, "as_of": as_of, "scope": scope, "until": observation_time(build, as_of).date()}  # fmt: skip
    names = list(by)

    def asked(key: str, groups: Sequence[str]) -> pd.DataFrame:
        found = answer(build, key, by=groups, **question)
        return found.set_index(list(groups)) if groups else found

    value = asked("returns_to_come_value", by)
    found = value[["value", "low", "high", "status", "reason"]].rename(columns={"value": "to_come"})
    found["units_to_come"] = asked("returns_to_come", by)["value"].reindex(found.index)
    found["owed"] = _amount(build, "refunds_owed", by, question).reindex(found.index).fillna(0.0)
    found["liability"] = found["owed"] + found["to_come"]
    found[["low", "high"]] = found[["low", "high"]].add(found["owed"], axis=0)
    found["cost_of_goods"] = found["cost_to_recover"] = found["asset"] = np.nan
    if _is_known(build, "returns_to_come_cost"):
        each, loss_share = _cost_to_recover(build, question)
        units_owed = _amount(build, "units_owed", by, question).reindex(found.index).fillna(0.0)
        owed = _amount(build, "refunds_owed_cost", by, question).reindex(found.index).fillna(0.0)
        found["cost_of_goods"] = owed + asked("returns_to_come_cost", by)["value"].reindex(found.index)
        found["cost_to_recover"] = each * (found["units_to_come"] + units_owed) + loss_share * found["cost_of_goods"]
        found["asset"] = (found["cost_of_goods"] - found["cost_to_recover"]).clip(lower=0)
    found = found.reset_index()
    known = found[found["status"] == "ok"]
    amounts = ["units_to_come", "owed", "to_come", "liability", "cost_of_goods", "cost_to_recover", "asset"]
    whole = asked("returns_to_come_value", ()).iloc[0]
    summed: dict[str, Any] = {**dict.fromkeys(names), **{a: known[a].sum(min_count=1) for a in amounts}}
    scale = summed["to_come"] / whole["value"] if whole["status"] == "ok" and whole["value"] > 0 else np.nan
    summed |= {"low": summed["owed"] + scale * whole["low"], "high": summed["owed"] + scale * whole["high"]}
    summed |= {"status": whole["status"], "reason": whole["reason"]}
    table = pd.concat([found, pd.DataFrame([summed])], ignore_index=True) if names else found
    return table[[*names, *COLUMNS]].round(dict.fromkeys([*amounts, "low", "high"], 2))


def _is_known(build: Build, key: str) -> bool:
    lacks = lacking(build, metric(key).needs)
    return bool(lacks) and not all(lacks.values())


def _amount(build: Build, key: str, by: Sequence[str], question: dict[str, Any]) -> "pd.Series[float]":
    if not _is_known(build, key):
        return pd.Series(dtype=float)
    found = answer(build, key, by=by, **question)
    return found.set_index(list(by))["value"] if len(by) else found["value"]


def _cost_to_recover(build: Build, question: dict[str, Any]) -> tuple[float, float]:
    """Give what it took to recover one unit, and the share of their cost that goods lost, in the last year's returns."""
    days = {**question, "since": question["until"] - timedelta(days=_EXPERIENCE_DAYS)}
    costs = answer(build, "return_cost", by=("component",), **days).set_index("component")["value"]
    units = answer(build, "confirmed_units", **days)["value"].iloc[0]
    goods = total(build, "confirmed_units", returned("cost_amount", basis="return"), "return", **days).iloc[0]
    paid, lost = (float(costs.reindex(names).sum()) for names in (TO_RECOVER, (VALUE_LOSS,)))
    return paid / units if units > 0 else 0.0, lost / goods if goods > 0 else 0.0


def accrual_backtest(
    build: Build, *, days_ago: Sequence[int] = (30, 60, 90), where: Mapping[str, Sequence[Any]] | None = None, scope: Scope = EVERYTHING
) -> pd.DataFrame:  # fmt: skip
    """Lay what would have been booked for returns to come some days ago beside what has come of the same orders, without VAT.

    One row a day: days_ago, as_of, units_booked with low and high, units_came (by now), units_open (still expected), booked (net
    value: units times what a returned unit of that month was worth by then), came, open, error (booked less came and open, as a
    share of them). Counted over the months of orders of `backtest`, with nothing that was not recorded by then.
    """
    said = backtest(build, days_ago=days_ago, where=where, scope=scope)
    if not len(said):
        return pd.DataFrame()
    common: dict[str, Any] = {"where": where, "scope": scope}

    def returned_by(as_of: Day, amount: str, until: Day) -> "pd.Series[float]":
        asked = {**common, "as_of": as_of, "until": until}
        return total(build, "returned_units", returned(amount), "order", ("month",), **asked)

    rows = []
    for days, mine in said.groupby("days_ago"):
        then = pd.Timestamp(mine["as_of"].iloc[0])
        day = then.date()
        month = mine.set_index("month")
        value, units = (returned_by(day, a, day).reindex(month.index).fillna(0.0) for a in ("net_amount", "units"))
        each = (value / units.where(units > 0)).fillna(value.sum() / max(float(units.sum()), 1.0))
        came = (returned_by(None, "net_amount", day) - value).reindex(month.index).fillna(0.0)
        booked, open_ = (float((month[c] * each).sum()) for c in ("to_come", "still_to_come"))
        half = float(np.hypot.reduce((month["to_come_high"] - month["to_come"]).fillna(0.0).to_numpy()))
        known = float(came.sum()) + open_
        rows.append({
            "days_ago": days, "as_of": then, "units_booked": month["to_come"].sum(), "low": max(month["to_come"].sum() - half, 0.0), "high": month["to_come"].sum() + half,
            "units_came": month["came_since"].sum(), "units_open": month["still_to_come"].sum(), "booked": booked, "came": float(came.sum()), "open": open_,
            "error": booked / known - 1 if known > 0 else np.nan,
        })  # fmt: skip
    return pd.DataFrame(rows)
