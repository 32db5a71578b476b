"""What finance books for returns that are not settled: refund liability and right to recover the goods (IFRS 15).

The liability is what customers will be paid back for sales already booked, the asset what the goods will still be worth
once they are back (IFRS 15, B21-B25; https://www.ifrs.org). Both are without VAT. What is still to come is projected
once, for each category's months of orders that can still bring returns, and then shared among groups; so every cut of
the table has the same sum, the youngest orders included.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd

from models import curves
from models import rates as rate_models
from pipelines.analyses.backtest import known_then, recorded, shares_then
from pipelines.analyses.change import total
from pipelines.analyses.owed import with_surcharge
from pipelines.metrics.answer import answer
from pipelines.metrics.bind import ask, bind, is_known, observed
from pipelines.metrics.catalogue.returns import CELL
from pipelines.metrics.cautions import doubt, doubt_of, doubted
from pipelines.metrics.compiler import statement
from pipelines.metrics.declare import BoundQuestion, Metric, measure
from pipelines.metrics.facts.conditions import returned, sold
from pipelines.metrics.finish import final, shares
from pipelines.metrics.question import ANYTHING, Day, Question, as_instant
from pipelines.metrics.sums import summed
from pipelines.warehouse.engine import Build
from pipelines.why import why

TO_RECOVER, VALUE_LOSS = ("return_freight", "handling", "disposal"), "value_loss"
"""Components of the cost of a return that lower the asset.

What it takes to recover the goods, and what they lose in value.
"""
COLUMNS = (
    "units_to_come",
    "owed",
    "to_come",
    "liability",
    "low",
    "high",
    "by_law",
    "cost_of_goods",
    "cost_to_recover",
    "asset",
    "status",
    "reason",
    "caution",
)
_EXPERIENCE_DAYS = 365
_LIVING_DAYS = curves.NO_WINDOW_DAYS + curves.AFTER_WINDOW_DAYS  # older orders bring no more returns
_AMOUNTS = {"value": "net_amount", "cost": "cost_amount"}

Array = np.ndarray[Any, Any]


def observation_time(build: Build, as_of: Day = None) -> datetime:
    """Give the time a question is answered at: the latest event of any source, or `as_of` when that is earlier."""
    latest = max(observed(build).values())
    asked = as_instant(as_of)
    return latest if asked is None else min(latest, asked.replace(tzinfo=None))


@dataclass(frozen=True)
class _Coming:
    """Units, value and cost still to come by group, with the relative half-width of each, and of all.

    `reason` why it is not known.
    """

    keys: pd.DataFrame
    units: Array
    value: Array
    cost: Array
    half: Array
    half_of_all: float
    reason: str


def _metric(amounts: Sequence[str]) -> Metric:
    """Count units, and amounts sold and returned, by what their development depends on."""
    chosen = ask("returns_to_come_value").metric
    sums = [
        m
        for n in amounts
        for m in (measure(f"sold_{n}", sold(_AMOUNTS[n])), measure(f"returned_{n}", returned(_AMOUNTS[n])))
    ]
    return replace(chosen, measures=(*chosen.measures[:2], *sums))


def _question(build: Build, by: Sequence[str], day: date, amounts: Sequence[str], question: Question) -> BoundQuestion:
    """Ask for what is to come by the groups asked for, and by month of orders: each month has its own rate."""
    since = day - timedelta(days=_LIVING_DAYS)
    cohorts = [*by, *(["month"] if "month" not in by else [])]
    asked = bind(build, "returns_to_come_value", question.but(since=since, until=day), by=cohorts)
    return replace(asked, metric=_metric(amounts))


@dataclass(frozen=True)
class _Cohorts:
    """Months of orders by category, projected: which each row is of, and of which category each cohort is."""

    of_row: Array
    family: Array
    rates: rate_models.Ultimate


def _projected(frame: pd.DataFrame, deff: float, level: float) -> _Cohorts:
    """Project each category's months of orders, a month's rate expected from the category's other months."""
    number, cohorts = shares.groups_of(frame, ("family", "month"))
    family, _ = shares.groups_of(cohorts, ("family",)) if len(cohorts) else (number, cohorts)
    share, unsure, units, back = (_column(frame, n, 1.0 if n == "share" else 0.0) for n in _COUNTS)
    units = np.maximum(units, 0)
    size = len(cohorts)
    sold, came, exposed, weighed = (
        np.bincount(number, x, size) for x in (units, np.minimum(back, units), units * share, units * unsure)
    )
    days = pd.DatetimeIndex(cohorts["month"]) if size else pd.DatetimeIndex([])
    month_no = np.asarray(days.year * 12 + days.month, dtype=np.int64)
    prior = np.full((2, size), np.nan)
    for one in np.unique(family):
        mine = (family == one) & (sold > 0)
        found = rate_models.month_priors(
            month_no[mine], came[mine], exposed[mine], sold[mine], deff, weighed[mine] / sold[mine]
        )
        for at in np.flatnonzero(mine):
            prior[:, at] = found.get(int(month_no[at]), (np.nan, np.nan))
    rates = rate_models.ultimate_rates(
        number, share, units, back, groups=size, deff=deff, prior=(prior[0], prior[1]), doubt=unsure, level=level
    )
    return _Cohorts(number, family, rates)


_COUNTS = ("share", "doubt", "sold", "returned")


def _column(frame: pd.DataFrame, name: str, missing: float) -> Array:
    return frame[name].fillna(missing).to_numpy(float) if name in frame else np.full(len(frame), missing)


def _half_of_all(cohorts: _Cohorts) -> float:
    """Give the half width of what all cohorts bring, as a share of it.

    Chance is each cohort's own; an error of curves is one for all of a build, for what delays one category (a carrier,
    a returns centre that falls behind) mostly delays all.
    """
    to_come = float(np.nansum(cohorts.rates.to_come))
    half = np.hypot(np.sqrt(np.nansum(cohorts.rates.by_chance**2)), np.nansum(cohorts.rates.by_curve))
    return float(half) / to_come if to_come > 0 else 0.0


def _coming(
    build: Build, frame: pd.DataFrame, by: Sequence[str], amounts: Sequence[str], deff: float, level: float
) -> _Coming:
    """Project what all these sales still bring, by month and category, and share it among groups.

    `frame` has the groups, month, family (category), share (G at the age), doubt (of it), sold, returned, and sold_ and
    returned_ of each amount. A group's total is the sum of its categories and months.
    """
    number, keys = shares.groups_of(frame, tuple(by))
    share, unsure, units, back = (_column(frame, n, 1.0 if n == "share" else 0.0) for n in _COUNTS)
    units = np.maximum(units, 0)
    whole = _projected(frame, deff, level)
    each = rate_models.ultimate_rates(
        number, share, units, back, groups=len(keys), deff=deff, doubt=unsure, level=level
    )
    size = len(whole.family)
    with np.errstate(invalid="ignore"):
        p = np.nan_to_num(np.clip(whole.rates.rate, 0, 1 - 1e-9))[whole.of_row]
    chance = p * (1 - share) / np.maximum(1 - p * share, 1e-12)
    kept = {"units": np.maximum(units - back, 0)} | {
        n: np.maximum(_column(frame, f"sold_{n}", 0.0) - _column(frame, f"returned_{n}", 0.0), 0) for n in amounts
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.bincount(whole.of_row, kept["units"] * chance, size)
        scale = np.nan_to_num(whole.rates.to_come / np.where(expected > 0, expected, np.nan))[whole.of_row]
        half_of_group = (each.to_come_high - each.to_come_low) / 2
        half = np.nan_to_num(half_of_group / np.where(each.to_come > 0, each.to_come, np.nan))
    sold_units = np.bincount(whole.of_row, units, size)
    maturity = float(np.nansum(whole.rates.maturity * sold_units) / max(sold_units.sum(), 1.0))
    reason = ""
    if not final.has_curves(build):
        reason = why("no_curve")
    elif maturity < final.MATURE:
        reason = why("young", share=maturity, limit=final.MATURE)
    amount = {
        n: np.bincount(number, kept[n] * chance * scale, len(keys)) if n in kept else np.full(len(keys), np.nan)
        for n in ("units", *_AMOUNTS)
    }
    return _Coming(keys, amount["units"], amount["value"], amount["cost"], half, _half_of_all(whole), reason)


def _fetched(build: Build, asked: BoundQuestion) -> pd.DataFrame:
    """Sum sales and returns by what their development depends on, for all values of a single filter at once."""
    columns = [m.name for m in asked.metric.measures]
    name = "to come", tuple(columns), asked.metric.wrap is None
    return summed(build, asked, statement, name, columns, is_short=False, is_plain=True)


def accrual(
    build: Build,
    question: Question = ANYTHING,
    *,
    by: Sequence[str] = ("month",),
) -> pd.DataFrame:
    """Give the refund liability and the right to recover goods at a day, per group of order cohorts.

    In the reporting currency.

    One row a group and a last one for all (its groups empty), whose amounts are the sums of the rows. units_to_come:
    units expected back; owed: net value of units back and not paid; to_come: net value expected back; liability = owed
    + to_come with a 90% interval low to high (a group's own is wide while it is young); by_law: what the law adds to
    refunds that are late, beside the liability and no part of it; cost_of_goods: purchase cost of
    the same units; cost_to_recover: freight, handling, disposal and loss of value expected on them, as the last year's
    returns had them; asset = the difference, never below 0. Greyed with its reason where nothing can be projected or
    too many returns name no order; asset columns are missing where costs are not known. `reason` and `caution`
    of a row that is ok say what it does not rest on.
    """
    question.takes("An accrual", "as_of")
    names, amounts = list(by), _amounts(build)
    if "value" not in amounts:
        return pd.DataFrame(columns=[*names, *COLUMNS])
    day = observation_time(build, question.as_of).date()
    asked = _question(build, by, day, amounts, question)
    found = _coming(build, _fetched(build, asked), names, amounts, shares.design_effect(build), asked.level)
    table = with_surcharge(build, _owed_beside(build, found, names, day, question), names, question.but(until=day))
    _add_liability(table)
    _add_asset(build, table, question, day, has_cost="cost" in amounts)
    summed = _sum_of(table, found.half_of_all)
    rows = pd.concat([table, pd.DataFrame([summed])], ignore_index=True) if names else pd.DataFrame([summed])
    reason, caution, is_withheld = _reason(build, question.but(until=day), found.reason)
    rows["status"], rows["reason"], rows["caution"] = ("greyed" if is_withheld else "ok"), reason, caution
    if is_withheld:
        rows[["units_to_come", "to_come", "liability", "low", "high", "cost_of_goods", "cost_to_recover", "asset"]] = (
            np.nan
        )
    rounded = rows.assign(**{n: rows[n].round(2) for n in ("units_to_come", *_MONEY, "low", "high")})
    return rounded.reindex(columns=[*names, *COLUMNS])


def _amounts(build: Build) -> list[str]:
    """List what a build knows of what is to come: its value, and its cost."""
    keys = (("value", "returns_to_come_value"), ("cost", "returns_to_come_cost"))
    return [name for name, key in keys if is_known(build, key)]


def _owed_beside(build: Build, found: _Coming, names: list[str], day: date, question: Question) -> pd.DataFrame:
    """Lay what is back and not paid beside what is to come."""
    projected = found.keys.assign(
        units_to_come=found.units, to_come=found.value, cost_to_come=found.cost, half=found.half
    )
    return _with_owed(build, projected, names, question.but(until=day))


@dataclass(frozen=True)
class Booked:
    """What would have been booked at a time with what was known then, by month of orders, not rounded.

    `table`: month, liability, asset (missing where costs are not known), and what had been settled by then of the
    returns of these orders: settled (net value), settled_asset (what their goods were worth). `reason` says why nothing
    can be booked, `caution` and `doubt` what weakens it.
    """

    at: datetime
    table: pd.DataFrame
    reason: str = ""
    caution: str = ""
    doubt: str = ""

    @property
    def liability(self) -> float:
        """The refund liability (reporting currency, to the cent)."""
        return round(float(self.table["liability"].sum()), 2)

    @property
    def asset(self) -> float:
        """The right to recover goods; missing where costs are not known."""
        return round(float(self.table["asset"].sum(min_count=1)), 2)


def booked_then(build: Build, at: datetime, question: Question = ANYTHING) -> Booked:
    """Give what would have been booked at a time: returns recorded by then, curves and design effects of then.

    Value and refunds are those that had happened by then. What was settled is what had been returned less what was
    still owed. From the last day of the data on it is what `accrual` gives.
    """
    question.takes("What would have been booked")
    day, amounts, names = at.date(), _amounts(build), ["month"]
    is_past = day < max(observed(build).values()).date()
    then = question.but(as_of=at) if is_past else question
    asked = _question(build, names, day, amounts, then)
    frame, deff = _known_then(build, asked, at) if is_past else (_fetched(build, asked), shares.design_effect(build))
    found = _coming(build, frame, names, amounts, deff, asked.level)
    table = _owed_beside(build, found, names, day, then)
    _add_liability(table)
    _add_asset(build, table, then, day, has_cost="cost" in amounts)
    reason, caution, is_withheld = _reason(build, then.but(until=day), found.reason)
    settled = _settled(build, table, day, then, has_cost="cost" in amounts)
    said = (reason, "", "") if is_withheld else ("", caution, reason)
    return Booked(at, settled[["month", "liability", "asset", "settled", "settled_asset"]], *said)


def _known_then(build: Build, asked: BoundQuestion, at: datetime) -> tuple[pd.DataFrame, float]:
    """Fetch sales and returns as they were recorded by a time, with the shares and the design effect of then."""
    known = known_then(build, at)
    by_cell = replace(
        asked, metric=recorded(build, replace(asked.metric, wrap=None, details=CELL, fine_details=()), at)
    )
    frame = _fetched(build, by_cell)
    share, unsure = shares_then(frame, known, at, by_cell)
    return frame.assign(share=share, doubt=unsure, family=frame["cell_category"]), known.deff.get(None, 1.0)


def _settled(build: Build, table: pd.DataFrame, day: date, question: Question, *, has_cost: bool) -> pd.DataFrame:
    """Add what had been settled of the returns of each month of orders: net value, and what their goods were worth."""
    until = question.but(until=day)
    sums = {"units": "units", "value": "net_amount", **({"cost": "cost_amount"} if has_cost else {})}
    back = (
        pd.DataFrame(
            {
                name: total(build, "returned_units", returned(amount), "order", until, ("month",))
                for name, amount in sums.items()
            }
        )
        .rename_axis("month")
        .reset_index()
    )
    found = table.merge(back, on="month", how="outer")
    filled = found.columns.difference(["month", "asset"])
    found[filled] = found[filled].fillna(0.0)
    found["settled"] = found["value"] - found["owed"]
    if not has_cost:
        return found.assign(settled_asset=np.nan)
    each, loss_share = _cost_to_recover(build, question, day)
    worth = (found["cost"] - found["owed_cost"]) * (1 - loss_share) - each * (found["units"] - found["units_owed"])
    return found.assign(settled_asset=worth.clip(lower=0), asset=found["asset"].fillna(0.0))


_MONEY = ("owed", "to_come", "liability", "by_law", "cost_of_goods", "cost_to_recover", "asset")


def _add_liability(table: pd.DataFrame) -> None:
    """Add the columns liability, low and high: what is owed and what is to come; a missing amount is 0."""
    numbers = ["units_to_come", "to_come", "cost_to_come", "half", "owed", "owed_cost", "units_owed"]
    table[numbers] = table[numbers].fillna(0.0)
    table["liability"] = table["owed"] + table["to_come"]
    spread = table["half"] * table["to_come"]
    table["low"], table["high"] = (
        table["owed"] + (table["to_come"] - spread).clip(lower=0),
        table["liability"] + spread,
    )


def _add_asset(build: Build, table: pd.DataFrame, question: Question, day: date, *, has_cost: bool) -> None:
    """Add the columns cost_of_goods, cost_to_recover and asset; missing where costs are not known."""
    for column in ("cost_of_goods", "cost_to_recover", "asset"):
        table[column] = np.nan
    if has_cost:
        each, loss_share = _cost_to_recover(build, question, day)
        table["cost_of_goods"] = table["owed_cost"] + table["cost_to_come"]
        table["cost_to_recover"] = (
            each * (table["units_to_come"] + table["units_owed"]) + loss_share * table["cost_of_goods"]
        )
        table["asset"] = (table["cost_of_goods"] - table["cost_to_recover"]).clip(lower=0)


def _sum_of(table: pd.DataFrame, half_of_all: float) -> dict[str, Any]:
    """Sum the groups to one row, with the interval of all of them; `half_of_all` is its half width as a share."""
    summed: dict[str, Any] = {a: table[a].sum(min_count=1) for a in ("units_to_come", *_MONEY)}
    spread_of_all = half_of_all * summed["to_come"]
    return summed | {
        "low": summed["owed"] + max(summed["to_come"] - spread_of_all, 0.0),
        "high": summed["liability"] + spread_of_all,
    }


def _reason(build: Build, question: Question, of_projection: str) -> tuple[str, str, bool]:
    """Say why an accrual is withheld, or what it does not rest on and its caution; and whether it is withheld."""
    keys = ["returned_units", *(["refunds_owed"] if is_known(build, "refunds_owed") else [])]
    rests = [answer(build, key, question).iloc[0] for key in keys]
    back = rests[0]
    if back["status"] != "ok" or of_projection:
        return str(back["reason"]) if back["status"] != "ok" else of_projection, "", True
    said = doubt_of(*rests, *_drifting(build, question))
    return said.reason, said.caution, False


def _drifting(build: Build, question: Question) -> list[Any]:
    """Give the answer that says that returns come as no curve says: of all sales, else of a category that drifts."""
    of_all, of_category = (answer(build, "returns_to_come", question, by=by) for by in ((), ("category",)))
    on = of_all[of_all["caution"].str.contains("delay_drift|new_curve")]
    on = on if len(on) else of_category[of_category["caution"].str.contains("delay_drift")]
    return [on.iloc[0]] if len(on) else []


def _with_owed(build: Build, projected: pd.DataFrame, names: list[str], question: Question) -> pd.DataFrame:
    """Lay what is back and not paid beside what is to come; orders too old to bring more may still be owed."""
    table = projected
    for key, column in (("refunds_owed", "owed"), ("refunds_owed_cost", "owed_cost"), ("units_owed", "units_owed")):
        if not is_known(build, key):
            table = table.assign(**{column: 0.0})
            continue
        owed = answer(build, key, question, by=names)[[*names, "value"]].rename(columns={"value": column})
        owed = owed[owed[column].fillna(0) != 0]
        if not names:
            table = table.assign(**{column: owed[column].sum()})
        elif len(owed) and len(table):
            table = table.merge(owed, on=names, how="outer")
        else:  # an empty frame has no types to merge on
            table = owed.reindex(columns=[*table, column]) if len(owed) else table.assign(**{column: np.nan})
    return table.sort_values(names, ignore_index=True) if names else table


def _cost_to_recover(build: Build, question: Question, until: date) -> tuple[float, float]:
    """Give what it took to recover one unit, and the share of their cost that goods lost.

    In the last year's returns.
    """
    days = question.but(since=until - timedelta(days=_EXPERIENCE_DAYS), until=until)
    costs = answer(build, "return_cost", days, by=("component",)).set_index("component")["value"]
    units = answer(build, "confirmed_units", days)["value"].iloc[0]
    goods = total(build, "confirmed_units", returned("cost_amount", basis="return"), "return", days).iloc[0]
    paid, lost = (float(costs.reindex(names).sum()) for names in (TO_RECOVER, (VALUE_LOSS,)))
    return paid / units if units > 0 else 0.0, lost / goods if goods > 0 else 0.0


def accrual_backtest(
    build: Build,
    question: Question = ANYTHING,
    *,
    days_ago: Sequence[int] = (30, 60, 90),
) -> pd.DataFrame:
    """Lay what `accrual` would have booked for returns to come some days ago beside what has come.

    Of the same orders, without VAT.

    One row a day: days_ago, as_of, units_booked, booked (net value) with low and high, units_came, came (by now), open
    (still expected now), error (booked less came and open, as a share of them), is_covered (the interval holds them),
    caution, reason. Curves and design effects are refitted with what was recorded by then. What was owed then is a fact
    and needs no test.
    """
    if not observed(build) or not is_known(build, "returns_to_come_value"):
        return pd.DataFrame()
    question.takes("A look back at accruals")
    latest = max(observed(build).values()).date()
    rows = []
    for days in days_ago:
        day = latest - timedelta(days)
        at = datetime.combine(day, time.max)
        asked = _question(build, (), day, ("value",), question.but(as_of=at))
        frame, deff = _known_then(build, asked, at)
        said = _coming(build, frame, (), ("value",), deff, asked.level)
        now = _question(build, (), day, ("value",), question)
        later = _coming(build, _fetched(build, now), (), ("value",), shares.design_effect(build), now.level)
        period = question.but(since=now.since, until=day)
        value, units = (
            float(total(build, "returned_units", returned(a), "order", period).iloc[0])
            - float(total(build, "returned_units", returned(a), "order", period.but(as_of=at)).iloc[0])
            for a in ("net_amount", "units")
        )
        booked, open_ = float(said.value.sum()), float(later.value.sum())
        outcome = value + open_
        low, high = booked * max(1 - said.half_of_all, 0.0), booked * (1 + said.half_of_all)
        rows.append(
            {
                "days_ago": days,
                "as_of": pd.Timestamp(day),
                "units_booked": float(said.units.sum()),
                "booked": booked,
                "low": low,
                "high": high,
                "units_came": units,
                "came": value,
                "open": open_,
                "error": booked / outcome - 1 if outcome > 0 else np.nan,
                "is_covered": low <= outcome <= high,
            }
        )
    return doubted(pd.DataFrame(rows), doubt(build, question, "returned_units"))
