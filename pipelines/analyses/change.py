"""Why a rate moved, and how the three date bases, the money and a shop system's own figure hang together.

Every function lays declared sums side by side, so a step is a difference of two numbers that metrics give too, and
steps add up exactly. No number is defined here that a metric defines.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import and_, literal_column, or_

from pipelines.metrics.answer import answer, compare
from pipelines.metrics.bind import bind, is_known, observed
from pipelines.metrics.cautions import doubt_of, doubted, of_either
from pipelines.metrics.compiler import statement
from pipelines.metrics.declare import Sum, always, both, measure
from pipelines.metrics.facts import LOTS, credited, lots
from pipelines.metrics.facts.conditions import is_confirmed, money, returned, units
from pipelines.metrics.question import ANYTHING, Day, Question
from pipelines.warehouse.engine import Build, Expression, literal_day
from pipelines.warehouse.rules import Sql, Time

Period = tuple[Day, Day]
OfLots = Callable[[Any], Sql]
MIX = ("category", "country", "channel")
WINDOWS = (90, 60, 45, 30, 21, 14, 7)  # days; the longest that most of both periods has lived through is compared
_ARRIVAL_DAYS = 5  # what delivery takes from a young period's age


def _days(period: Period) -> tuple[date | None, date | None]:
    since, until = (d.date() if isinstance(d, datetime) else d for d in period)
    return since, until


def _inside(day: Expression, period: Period) -> list[Expression]:
    since, until = _days(period)
    return [
        *([day >= literal_day(since)] if since else []),
        *([day <= literal_day(until)] if until else []),
    ]


def _ordered_in(sums: tuple[Sum, ...], period: Period) -> tuple[Sum, ...]:
    """Keep what was ordered in a period.

    By the lot's own order day, or the day of the purchase a credit is bound to.
    """

    def kept(s: Sum) -> Sum:
        day = s.base.days["order"]
        bounds = _inside(day, period)
        inside: Sql = lambda _: and_(day.is_not(None), *bounds)  # noqa: E731
        return replace(s, when=both(s.when or always, inside))

    return tuple(kept(s) for s in sums)


def _of_lots(sums: tuple[Sum, ...], condition: OfLots | None) -> tuple[Sum, ...]:
    """Hold a condition on lots against sums over lots and over credits that undo them."""
    if condition is None:
        return sums
    return tuple(
        replace(s, when=both(s.when or always, condition((lots if s.base is LOTS else credited).c))) for s in sums
    )


def _is_paid(columns: Any) -> Sql:
    return lambda now: now.happened(columns.refunded_at)


def total(
    build: Build, key: str, sums: tuple[Sum, ...], basis: str, question: Question, by: tuple[str, ...] = ()
) -> "pd.Series[float]":
    """Add up sums on a date basis, under a metric's filters and sources; one entry a group, one in all without `by`."""
    asked = bind(build, key, question, by=by)
    asked = replace(
        asked,
        basis=basis,
        metric=replace(asked.metric, measures=(measure("x", sums),), details=(), fine_details=(), wrap=None),
    )
    found = build.fetch(statement(asked))
    if not by:
        return pd.Series([float(np.nan_to_num(found["x"].sum()))])
    return found.set_index(list(by))["x"].fillna(0.0).astype(float)


def rate_change(
    build: Build,
    period: Period,
    against: Period,
    question: Question = ANYTHING,
    *,
    by: str | Sequence[str] = MIX,
) -> pd.DataFrame:
    """Explain why the figure of a shop system (returns asked for in a period / units sold in it) moved.

    Columns: effect, points (exactly adding up), caution, reason. older_orders: returns of orders placed before the
    period; volume: more or fewer sales to divide them by; mix_<dimension>: sales moving between groups, one row a
    dimension of `by`; rate: the final rate of the period's own orders at equal mix, as `ultimate_return_rate` gives it
    by category; timing: the share of those returns that landed inside the period, which moves with when in the period
    sales fall. Where a final rate is not known yet, all of it is timing. Mix, rate and timing take the mean of both
    periods as weights; mix is shared among the dimensions by the mean over their orders (Shapley's value), each
    dimension's weights taken within those before it. Rows previous and current are the figures. Empty where too many
    returns name no order.
    """
    question.takes("A change between two periods", "as_of")
    dimensions = (by,) if isinstance(by, str) else tuple(by)
    back = [answer(build, "returned_units", question.but(since=s, until=u)).iloc[0] for s, u in (period, against)]
    if any(row["status"] != "ok" for row in back):
        return pd.DataFrame(columns=["effect", "points"])
    (came, sold, own), (came_before, sold_before, own_before) = (
        _landed(build, p, dimensions, question) for p in (period, against)
    )
    cells = sold.index.union(sold_before.index).union(own.index).union(own_before.index)
    sold, own, sold_before, own_before = (x.reindex(cells).fillna(0.0) for x in (sold, own, sold_before, own_before))
    all_sold, all_before = float(sold.sum()), float(sold_before.sum())
    if all_sold <= 0 or all_before <= 0:
        return pd.DataFrame(columns=["effect", "points"])
    older, older_before = came - float(own.sum()), came_before - float(own_before.sum())
    weight, weight_before = sold / all_sold, sold_before / all_before
    rate, rate_before = own / sold.where(sold > 0), own_before / sold_before.where(sold_before > 0)
    # a group that sold in one period only has no rate in the other: it counts as mix, not as rate
    rate, rate_before = rate.fillna(rate_before).fillna(0.0), rate_before.fillna(rate).fillna(0.0)
    lost = float((own / all_sold - weight * rate).sum() - (own_before / all_before - weight_before * rate_before).sum())
    parts = _mix(weight, weight_before, (rate + rate_before) / 2)
    final, final_before = (_final_rates(build, p, cells, dimensions, question) for p in (period, against))
    is_known = np.isfinite(final) & np.isfinite(final_before) & (final > 0) & (final_before > 0)
    final, final_before = np.where(is_known, final, 1.0), np.where(is_known, final_before, 1.0)
    landed: pd.Series[float] = rate / final
    landed_before: pd.Series[float] = rate_before / final_before
    both_weights = (weight + weight_before) / 2
    own_rate = float((both_weights * (final - final_before) * (landed + landed_before) / 2).sum())
    timing = float((both_weights * (landed - landed_before) * (final + final_before) / 2).sum())
    rows = [
        ("previous", came_before / all_before),
        ("older_orders", (older - older_before) * (1 / all_sold + 1 / all_before) / 2),
        ("volume", (1 / all_sold - 1 / all_before) * (older + older_before) / 2),
        *((f"mix_{name}", points) for name, points in zip(dimensions, parts, strict=True)),
        ("rate", own_rate),
        ("timing", timing + lost),
        ("current", came / all_sold),
    ]
    return doubted(pd.DataFrame(rows, columns=["effect", "points"]), of_either(*map(doubt_of, back)))


def _final_rates(
    build: Build, period: Period, cells: pd.Index, by: tuple[str, ...], asked: Question
) -> np.ndarray[Any, Any]:
    """Give the expected final rate of each cell's category (of all sales where cells know none).

    NaN where it is not known.
    """
    cut = ("category",) if "category" in by else ()
    found = answer(build, "ultimate_return_rate", asked.but(since=period[0], until=period[1]), by=cut)
    if not cut:
        return np.full(len(cells), float(found["value"].iloc[0]))
    known = dict(zip(found["category"].where(found["category"].notna(), None), found["value"], strict=True))
    categories = cells.get_level_values("category")
    return np.array([known.get(None if pd.isna(c) else c, np.nan) for c in categories], dtype=float)


def _landed(
    build: Build, period: Period, by: tuple[str, ...], asked: Question
) -> tuple[float, "pd.Series[float]", "pd.Series[float]"]:
    """Give the returns asked for in a period, and per group the sales of the period.

    And how many of the returns are theirs.
    """
    question = asked.but(since=period[0], until=period[1])
    came = build.fetch(statement(bind(build, "confirmed_units", question)))["confirmed"].sum()
    sold = build.fetch(statement(bind(build, "sold_units", question, by=by)))
    own = total(build, "confirmed_units", _ordered_in(returned(), period), "return", question, by)
    return float(np.nan_to_num(came)), sold.set_index(list(by))["sold"].fillna(0.0).astype(float), own


def _mix(weight: "pd.Series[float]", before: "pd.Series[float]", rate: "pd.Series[float]") -> list[float]:
    """Share the effect of moved weights among the index's levels.

    The parts add up to the sum of (weight - before) x rate.
    """
    levels = list(range(weight.index.nlevels))
    keys = pd.DataFrame({i: weight.index.get_level_values(i).astype(object) for i in levels})
    now, then, each = weight.to_numpy(float), before.to_numpy(float), rate.to_numpy(float)
    parts = np.zeros(len(levels))
    orders_ = list(permutations(levels))
    for order in orders_:
        factors, factors_then = _nested(keys, list(order), now), _nested(keys, list(order), then)
        mixed = then
        for position, level in enumerate(order, 1):
            is_last = position == len(order)
            moved = now if is_last else np.prod([*factors[:position], *factors_then[position:]], axis=0)
            parts[level] += float(np.sum((moved - mixed) * each))
            mixed = moved
    return [float(p) for p in parts / len(orders_)]


def _nested(keys: pd.DataFrame, order: list[int], weight: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Give each cell's weight as a product: of its first level in all, of its second within the first, and so on."""
    above = np.full(len(weight), weight.sum())
    factors = []
    for depth in range(len(order)):
        code = keys.groupby(order[: depth + 1], dropna=False, sort=False).ngroup().to_numpy()
        mine = np.bincount(code, weight)[code]
        members = _children(keys, order, depth)
        # a group without sales has no weights within it: equal ones stand in, and its own weight of 0 keeps them out of
        # the sum
        factors.append(np.where(above > 0, mine / np.where(above > 0, above, 1.0), 1.0 / members))
        above = mine
    return factors


def _children(keys: pd.DataFrame, order: list[int], depth: int) -> np.ndarray[Any, Any]:
    """Count the groups of a depth that lie in each cell's parent."""
    code = keys.groupby(order[: depth + 1], dropna=False, sort=False).ngroup().to_numpy()
    parent = keys.groupby(order[:depth], dropna=False, sort=False).ngroup().to_numpy() if depth else np.zeros_like(code)
    pairs = pd.DataFrame({"parent": parent, "code": code}).drop_duplicates()
    counted: np.ndarray[Any, Any] = np.bincount(pairs["parent"])[parent].astype(float)
    return counted


def same_window(
    build: Build,
    period: Period,
    against: Period,
    question: Question = ANYTHING,
    *,
    by: Sequence[str] = (),
) -> pd.DataFrame:
    """Compare two periods on equal footing.

    The share returned within the longest window that most of both has lived through. The columns of `compare` and
    `window_days`. The window is the longest of WINDOWS that half of each period's units have reached; empty when none
    is.
    """
    now = max(map(pd.Timestamp, observed(build).values()), default=pd.Timestamp.min)
    now = min(now, pd.Timestamp(question.as_of)) if question.as_of is not None else now
    youngest = []
    for since, until in (period, against):
        sold = answer(build, "sold_units", question.but(since=since, until=until), by=("day",))
        sold = sold[sold["value"] > 0].sort_values("day")
        if not len(sold):
            return pd.DataFrame()
        reached = sold["value"].cumsum() >= sold["value"].sum() / 2
        youngest.append((now - pd.Timestamp(sold.loc[reached, "day"].iloc[0])).days - _ARRIVAL_DAYS)
    window = next((w for w in WINDOWS if w <= min(youngest)), None)
    if window is None:
        return pd.DataFrame()
    found = compare(build, f"window_return_rate({window})", question, period=period, against=against, by=by)
    return found.assign(window_days=window)


BRIDGES = ("order_to_return", "return_to_refund", "refund_to_money", "return_to_shop")


def reconciliation(build: Build, period: Period, question: Question = ANYTHING) -> pd.DataFrame:
    """Lay a period's returns side by side as three days count them, and bridge one figure to the next.

    One row a step: bridge, step, kind (total or step), units, value (net sales value without VAT in the reporting
    currency; in the bridge refund_to_money steps lead to money with VAT). The steps of a bridge add up to its last
    total exactly: order_to_return: from returns of the period's orders to those asked for in it; return_to_refund: to
    those paid in it; refund_to_money: from their net value to the money that moved; return_to_shop: to what a shop
    system subtracts from sales on the day a return is created, whatever becomes of it. Value is missing where no
    exchange rate is known at all.
    """
    if not is_known(build, "confirmed_units"):
        return pd.DataFrame(columns=["bridge", "step", "kind", "units", "value"])
    bound = question.takes("A reconciliation", "as_of").but(since=period[0], until=period[1])
    by_return = _back(build, bound, "return")
    steps = _order_steps(build, bound, period, by_return)
    if is_known(build, "refunded_units"):
        by_refund = _back(build, bound, "refund", _is_paid)
        steps += _refund_steps(build, bound, period, by_return, by_refund)
        if is_known(build, "refund_amount"):
            steps += _money_steps(build, bound, by_refund)
    if is_known(build, "requested_units"):
        steps += _shop_steps(build, bound, by_return)
    frame = pd.DataFrame(
        [(bridge, step, kind, float(n), float(value)) for bridge, step, kind, (n, value) in steps],
        columns=["bridge", "step", "kind", "units", "value"],
    )
    frame["value"] = frame["value"].round(4) + 0.0  # steps are differences of sums of doubles
    frame.loc[frame["bridge"].eq("refund_to_money") & frame["step"].ne("by_refund"), "units"] = np.nan
    return frame


Step = tuple[str, str, str, Any]
"""Bridge, step, kind, and its units and value."""


def _both_of(
    build: Build, question: Question, basis: str, of_units: tuple[Sum, ...], of_value: tuple[Sum, ...]
) -> np.ndarray[Any, Any]:
    """Give units and value of the question's days."""
    sums = (of_units, of_value)
    return np.array([total(build, "confirmed_units", s, basis, question).iloc[0] for s in sums])


def _back(build: Build, question: Question, basis: str, condition: OfLots | None = None) -> np.ndarray[Any, Any]:
    """Give units and value of what came back."""
    sums = (_of_lots(returned(a, basis=basis), condition) for a in ("units", "net_amount"))
    return _both_of(build, question, basis, *sums)


def _order_steps(build: Build, question: Question, period: Period, by_return: Any) -> list[Step]:
    """Lead from returns of the period's orders to those asked for in it."""

    def ordered(basis: str, inside: Period | None) -> np.ndarray[Any, Any]:
        sums = (_ordered_in(returned(a), inside or (None, None)) for a in ("units", "net_amount"))
        return _both_of(build, question, basis, *sums)

    by_order, same, known = ordered("order", None), ordered("return", period), ordered("return", None)
    return [
        ("order_to_return", "by_order", "total", by_order),
        ("order_to_return", "asked_other_days", "step", same - by_order),
        ("order_to_return", "ordered_other_days", "step", known - same),
        ("order_to_return", "without_order", "step", by_return - known),
        ("order_to_return", "by_return", "total", by_return),
    ]


def _refund_steps(build: Build, question: Question, period: Period, by_return: Any, by_refund: Any) -> list[Step]:
    """Lead from returns asked for in the period to those paid in it."""
    paid_in_period: OfLots = lambda c: lambda now: and_(now.happened(c.refunded_at), *_inside(c.refunded_on, period))  # noqa: E731
    at_once = _back(build, question, "return", paid_in_period)
    never = _back(build, question, "return", lambda c: lambda now: now.open(c.refunded_at))
    return [
        ("return_to_refund", "by_return", "total", by_return),
        ("return_to_refund", "not_paid_yet", "step", -never),
        ("return_to_refund", "paid_other_days", "step", at_once - (by_return - never)),
        ("return_to_refund", "asked_other_days", "step", by_refund - at_once),
        ("return_to_refund", "by_refund", "total", by_refund),
    ]


def _shop_steps(build: Build, question: Question, by_return: Any) -> list[Step]:
    """Lead from returns to what a shop system subtracts from sales on the day a return is created."""

    def asked_for(*conditions: Sql) -> np.ndarray[Any, Any]:
        when = both(_happened("requested_at"), *conditions)
        amounts = (units(), money(lots, "net_amount"))
        return _both_of(build, question, "return", *((Sum(LOTS, amount, when),) for amount in amounts))

    came, other, stopped, created = (asked_for(c) for c in (_counts, _came_otherwise, _is_stopped, _has_goods))
    return [
        ("return_to_shop", "by_return", "total", by_return),
        ("return_to_shop", "never_asked", "step", came - by_return),
        ("return_to_shop", "other_types", "step", other),
        ("return_to_shop", "stopped", "step", stopped),
        ("return_to_shop", "not_back_yet", "step", created - came - other - stopped),
        ("return_to_shop", "shop_figure", "total", created),
    ]


def _money_steps(build: Build, question: Question, by_refund: Any) -> list[Step]:
    """Lead from the net value of what was refunded to the money that moved, VAT included."""

    def sums(*conditions: Sql, column: str) -> float:
        when = both(_happened("refunded_at"), *conditions)
        return float(
            total(build, "confirmed_units", (Sum(LOTS, money(lots, column), when),), "refund", question).iloc[0]
        )

    counted = (is_confirmed(), lambda _: lots.c.is_headline)
    of_goods = sums(*counted, column="refund_amount")
    vat = sums(*counted, column="vat_amount")
    net = float(by_refund[1])
    others = sums(lambda now: ~and_(*(c(now) for c in counted)), column="refund_amount")
    moved = answer(build, "refund_amount", question)["value"].iloc[0]
    paid = float(np.nan_to_num(moved))
    return [
        ("refund_to_money", "by_refund", "total", by_refund),
        ("refund_to_money", "vat", "step", (0.0, vat)),
        ("refund_to_money", "other_amount", "step", (0.0, of_goods - net - vat)),
        ("refund_to_money", "other_types", "step", (0.0, others)),
        ("refund_to_money", "without_goods", "step", (0.0, paid - of_goods - others)),
        ("refund_to_money", "money_moved", "total", (0.0, paid)),
    ]


def _happened(name: str) -> Sql:
    return lambda now: now.happened(lots.c[name])


def _has_goods(_: Time) -> Expression:
    return lots.c.return_type != literal_column("'price_adjustment'")


def _is_stopped(now: Time) -> Expression:
    stopped = (now.happened(lots.c[n]) for n in ("cancelled_at", "rejected_at", "expired_at"))
    return and_(or_(*stopped), _has_goods(now))


def _counts(now: Time) -> Expression:
    return and_(is_confirmed()(now), lots.c.is_headline)


def _came_otherwise(now: Time) -> Expression:
    return and_(is_confirmed()(now), lots.c.is_headline.is_(False), _has_goods(now))
