"""What if: the returns that were, re-run under another policy; and the next weeks under it.

Arithmetic is exact on the history: dates that move, costs and kilograms of another carrier or of no box, fees, the
price of carbon. What customers would do is assumed: parameters named behaviour_ in data/costs.csv, each with bounds,
drawn together for the interval. A scenario that changes nothing is the history to the last digit.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, literal_column, select

from models import scenario as model
from pipelines.analyses.forecast import forecast, shown
from pipelines.errors import ScenarioError
from pipelines.factors import parameters
from pipelines.metrics import losses
from pipelines.metrics.answer import answer
from pipelines.metrics.bind import bind, euro_rate
from pipelines.metrics.compiler import filters
from pipelines.metrics.declare import BoundQuestion
from pipelines.metrics.facts import LOTS, leg_carbon, legs, lot_carbon, lot_cost, lots, promises
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, double
from pipelines.warehouse.vocabulary import METHODS
from pipelines.why import together, why

AIMS = ("margin", "sold_margin", "kg_co2e", "days_to_refund", "promise_kept")
OUTCOMES = (
    "sold_margin",
    "returned_units",
    "margin_reversed",
    "return_cost",
    "margin",
    "kg_co2e",
    "days_to_refund",
    "promise_kept",
)
_METRIC_OF = {
    "sold_margin": "gross_margin",
    "margin_reversed": "margin_reversed",
    "return_cost": "margin_erosion",
    "kg_co2e": "kg_co2e",
}
"""The metric that says what the history of an outcome rests on."""
TRIGGERS = ("carrier_scan", "received", "inspected")
_DRAWS, _SEED = 500, 7
_KEPT_ROWS = 200_000
_BEHAVIOUR = tuple(n for n, _ in parameters() if n.startswith("behaviour_"))


@dataclass(frozen=True)
class Scenario:
    """A policy to try; None (False) leaves a thing as it was.

    window_days of the return window; fee more a return (EUR, below 0: less); free_exchange; methods offered (of those
    there are); refund_trigger, the stage that starts the refund; no_box: what is dropped off travels without packaging;
    inspection: capacity over that of the history; carrier: `old>new`; carbon_price (EUR a tonne).
    """

    window_days: int | None = None
    fee: float | None = None
    free_exchange: bool = False
    methods: tuple[str, ...] | None = None
    refund_trigger: str | None = None
    no_box: bool = False
    inspection: float | None = None
    carrier: str | None = None
    carbon_price: float | None = None

    @property
    def assumes(self) -> tuple[str, ...]:
        """Parameters of behaviour it rests on; what it does beside is arithmetic."""
        found = []
        if self.fee:
            found += ["behaviour_fee_returns", "behaviour_fee_sales"]
        if self.window_days is not None:
            found += ["behaviour_window_early", "behaviour_window_returns", "behaviour_window_sales"]
        if self.free_exchange:
            found.append("behaviour_exchange")
        if self.methods is not None:
            found.append("behaviour_method_lost")
        if self.refund_trigger in ("carrier_scan", "received"):
            found.append("behaviour_early_loss")
        return tuple(found)


def read_scenario(given: Mapping[str, Any]) -> Scenario:
    """Read a scenario from names and values. Raises ScenarioError that names what is wrong."""
    known = {f.name for f in fields(Scenario)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ScenarioError(f"A scenario has no {', '.join(unknown)}. It has: {', '.join(sorted(known))}.")
    values: dict[str, Any] = {k: tuple(v) if k == "methods" and v is not None else v for k, v in given.items()}
    found = Scenario(**values)
    if found.window_days is not None and found.window_days < 1:
        raise ScenarioError("A window has at least a day.")
    if found.methods is not None and (not found.methods or set(found.methods) - set(METHODS)):
        raise ScenarioError(f"Methods are of {', '.join(METHODS)}; at least one is offered.")
    if found.refund_trigger is not None and found.refund_trigger not in TRIGGERS:
        raise ScenarioError(f"A refund starts at {', '.join(TRIGGERS)}, not at {found.refund_trigger!r}.")
    if found.inspection is not None and found.inspection <= 0:
        raise ScenarioError("Inspection capacity is a share of the history's, above 0: 1.2 is a fifth more.")
    if found.carrier is not None and found.carrier.count(">") != 1:
        raise ScenarioError("A change of carrier is written OLD>NEW.")
    if found.carbon_price is not None and found.carbon_price < 0:
        raise ScenarioError("The price of carbon is not negative.")
    return found


def simulate(
    build: Build,
    tried: Scenario,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """Re-run the returns of the orders of a span.

    Columns: outcome, history, value, difference, low and high of the difference, reason, caution. An outcome of which
    too much is not known (no exchange rate, no cost, no order) has no numbers, and its reason; else the reason says
    what is left out, and with a caution what weakens it. Outcomes: sold_margin (of the span's sales), returned_units,
    margin_reversed, return_cost, margin (what is left), all in the reporting currency without VAT; kg_co2e;
    days_to_refund (mean); promise_kept (refund promises decided, 0-1).
    """
    history = _history(build, question)
    before = _outcome(_cells(history, Scenario(), {}), Scenario(), _parameters(1), history.attrs)
    cells = _cells(history, tried, {})
    middle = _outcome(cells, tried, _parameters(1), history.attrs)
    drawn = _outcome(cells, tried, _parameters(_DRAWS), history.attrs)
    rests_on = _rests_on(history)
    rows = []
    for name in OUTCOMES:
        said, is_known, caution = rests_on.get(name, _NOTHING_LOST)
        if not is_known:
            rows.append((name, *[np.nan] * 5, said, ""))
            continue
        was, value = float(before[name][0]), float(middle[name][0])
        low = high = value - was
        if tried.assumes:
            ends = np.quantile(drawn[name] - was, [(1 - question.level) / 2, (1 + question.level) / 2])
            low, high = min(float(ends[0]), low), max(float(ends[1]), high)
        rows.append((name, was, value, value - was, low, high, said, caution))
    return pd.DataFrame(rows, columns=["outcome", "history", "value", "difference", "low", "high", "reason", "caution"])


_NOTHING_LOST = ("", True, "")


def _rests_on(history: pd.DataFrame) -> dict[str, tuple[str, bool, str]]:
    """Say what each outcome's history rests on, where that is not everything.

    Whether it is known well enough to be shown, and its caution.
    """
    found = {name: history.attrs["rests_on"].get(key, _NOTHING_LOST) for name, key in _METRIC_OF.items()}
    said, known, cautions = zip(*(found[n] for n in ("sold_margin", "margin_reversed", "return_cost")), strict=True)
    found["margin"] = (together(*dict.fromkeys(said)), all(known), losses.joined_words(*cautions))
    return found


def forward(
    build: Build, tried: Scenario, question: Question = ANYTHING, *, outcomes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Give the next weeks under a scenario, whose `outcomes` somebody may have simulated before.

    Columns: week, value and under (units: as it is, under the scenario), low, high: the forecast times the change of
    returned units. Where the naive forecast is the better one it is that, without an interval.
    """
    found = shown(forecast(build, "returned_units", question.undated()))
    if found.empty:
        return pd.DataFrame(columns=["week", "value", "under", "low", "high"])
    simulated = simulate(build, tried, question) if outcomes is None else outcomes
    outcome = simulated.set_index("outcome").loc["returned_units"]
    of = outcome["history"] or np.nan  # without a return in the selection nothing says by how much it would change
    ratio, low, high = ((of + outcome[n]) / of for n in ("difference", "low", "high"))
    return found.assign(under=found["value"] * ratio, low=found["low"] * low, high=found["high"] * high)[
        ["week", "value", "under", "low", "high"]
    ]


def pareto(build: Build, question: Question = ANYTHING) -> pd.DataFrame:
    """Try a grid of windows, fees, triggers, boxes and desks.

    Each with its outcomes, and is_best: no other policy beats it in margin, margin sold, kilograms and days at once. An
    outcome of which too much is not known has no numbers and decides nothing; without a margin no policy is best.
    `reason` says what is left out, with a `caution` where that weakens them.
    """
    history = _history(build, question)
    grid = [
        Scenario(window_days=w, fee=f, no_box=b, refund_trigger=r, inspection=i)
        for w, f, b, r, i in product(
            (None, 14, 30, 60), (None, 1.0, 2.0, 4.0), (False, True), (None, "received"), (None, 1.25)
        )
    ]
    rows, cells, desks = [], dict[Scenario, pd.DataFrame](), dict[float, np.ndarray[Any, Any]]()
    behaviour = _parameters(1)
    for tried in grid:
        free = replace(tried, fee=None)  # a fee moves no date, cost or kilogram
        if free not in cells:
            cells[free] = _cells(history, free, desks)
        found = _outcome(cells[free], tried, behaviour, history.attrs)
        rows.append(
            {
                **{
                    k: v
                    for k, v in asdict(tried).items()
                    if k in ("window_days", "fee", "no_box", "refund_trigger", "inspection")
                },
                **{a: float(found[a][0]) for a in AIMS},
            }
        )
    rests_on = _rests_on(history)
    unknown = [aim for aim in AIMS if not rests_on.get(aim, _NOTHING_LOST)[1]]
    frame = pd.DataFrame(rows).assign(**dict.fromkeys(unknown, np.nan))
    less_is_better = {"margin": -1, "sold_margin": -1, "kg_co2e": 1, "days_to_refund": 1}
    costs = np.column_stack([sign * frame[aim] for aim, sign in less_is_better.items() if aim not in unknown])
    reason = together(*dict.fromkeys(rests_on[aim][0] for aim in ("margin", "kg_co2e")))
    caution = losses.joined_words(*(rests_on[aim][2] for aim in ("margin", "kg_co2e")))
    best = model.front(costs) if "margin" not in unknown else False
    judged = frame.assign(is_best=best, reason=reason, caution=caution)
    return judged.sort_values("margin", ascending=False, ignore_index=True)


def _history(build: Build, question: Question) -> pd.DataFrame:
    """Read the returns that came back; the last selection is kept, unless it is large: a page asks much of one."""
    key = repr(question)
    known: tuple[str, pd.DataFrame] | None = build.cache.get("history")
    if known is None or known[0] != key:
        known = key, _read(build, question)
        if len(known[1]) <= _KEPT_ROWS:
            build.cache["history"] = known
    return known[1]


def _read(build: Build, question: Question) -> pd.DataFrame:
    """Read the returns that came back, one row a lot.

    Columns: units, margin undone, costs, kilograms, stages; and what was sold.
    """
    found = build.fetch(_lots_of(bind(build, "returned_units", question.takes("A scenario", "since", "until"))))
    for name in ("reversed", "net", "cost", "freight", "kg_co2e", "packed"):
        found[name] = found[name].astype(float).fillna(0.0)
    is_back = found["confirmed_at"].notna()
    is_undone = is_back & found["ordered_on"].notna() & ~found["return_type"].isin(["exchange", "price_adjustment"])
    found["reversed"] = found["reversed"].where(is_undone, 0.0)
    found["returned"] = found["units"].where(is_back & found["is_headline"].fillna(False), 0)
    of_parcel = found.groupby("parcel_key")["units"].transform("sum")
    found["packed"] = (found["packed"] * found["units"] / of_parcel.where(of_parcel > 0)).fillna(0.0)
    found["window"] = found["window_days"].where(found["returned"] > 0).fillna(0).astype(float)
    found["is_refund"] = found["return_type"].ne("exchange")
    found["method"] = found["method"].fillna("").astype("category")
    sold = answer(build, "gross_margin", question)["value"].iloc[0]
    found.attrs["sold_margin"], found.attrs["euro"] = float(np.nan_to_num(sold)), euro_rate(build)
    answers = {key: answer(build, key, question).iloc[0] for key in set(_METRIC_OF.values())}
    found.attrs["rests_on"] = {
        k: (str(a["reason"]), a["status"] == "ok", str(a["caution"]))
        for k, a in answers.items()
        if a["status"] != "ok" or a["coverage"] < 1
    }
    return found


def _lots_of(question: BoundQuestion) -> Any:
    """Select the lots of a question, with their cost, freight, kilograms, packaging of their parcel and due date."""
    cost = (
        select(
            lot_cost.c.return_lot_key,
            func.sum(double(lot_cost.c.amount)).label("cost"),
            func.sum(double(lot_cost.c.amount))
            .filter(lot_cost.c.component == literal_column("'return_freight'"))
            .label("freight"),
        )
        .group_by(lot_cost.c.return_lot_key)
        .subquery("cost")
    )
    packed = (
        select(legs.c.parcel_key, func.sum(leg_carbon.c.kg_co2e).label("packed"))
        .select_from(legs.join(leg_carbon, leg_carbon.c.leg_key == legs.c.leg_key))
        .where(leg_carbon.c.activity == literal_column("'packaging'"))
        .group_by(legs.c.parcel_key)
        .subquery("packed")
    )
    due = (
        select(promises.c.return_key, func.max(promises.c.due_at).label("due_at"))
        .where(promises.c.promise_id == literal_column("'refund'"), promises.c.due_at.is_not(None))
        .group_by(promises.c.return_key)
        .subquery("due")
    )
    at = ("requested_at", "carrier_scan_at", "received_at", "inspected_at", "refunded_at")
    return (
        select(
            lots.c.return_lot_key,
            lots.c.parcel_key,
            lots.c.units,
            lots.c.is_headline,
            lots.c.confirmed_at,
            lots.c.ordered_on,
            lots.c.method,
            lots.c.carrier,
            lots.c.place_id,
            lots.c.return_type,
            lots.c.clock_started_at,
            lots.c.window_days,
            *(lots.c[n] for n in at),
            (double(lots.c.net_amount - lots.c.cost_amount) * lots.c.fx_rate).label("reversed"),
            (double(lots.c.net_amount) * lots.c.fx_rate).label("net"),
            cost.c.cost,
            cost.c.freight,
            lot_carbon.c.kg_co2e,
            packed.c.packed,
            due.c.due_at,
        )
        .select_from(
            lots.outerjoin(cost, cost.c.return_lot_key == lots.c.return_lot_key)
            .outerjoin(lot_carbon, lot_carbon.c.return_lot_key == lots.c.return_lot_key)
            .outerjoin(packed, packed.c.parcel_key == lots.c.parcel_key)
            .outerjoin(due, due.c.return_key == lots.c.return_key)
        )
        .where(*filters(LOTS, question, LOTS.time(question)))
        .order_by(lots.c.return_lot_key)
    )


def _cells(history: pd.DataFrame, tried: Scenario, desks: dict[float, np.ndarray[Any, Any]]) -> pd.DataFrame:
    """Move dates, costs and kilograms as the scenario says, and sum to the cells that behaviour tells apart.

    Columns: method, late, refunded. What a desk of some capacity does to this history is kept in `desks`.
    """
    h = history.copy(deep=False)
    refunded = h["refunded_at"]
    if tried.inspection is not None:
        for capacity in {tried.inspection, 1.0} - set(desks):
            desks[capacity] = _desk(h, capacity)
        later = np.nan_to_num(desks[tried.inspection] - desks[1.0])
        refunded = refunded + pd.to_timedelta(later, unit="D")
    if tried.refund_trigger in ("carrier_scan", "received"):
        start = h[f"{tried.refund_trigger}_at"]
        sooner = (h["inspected_at"] - start).fillna(pd.Timedelta(0))
        refunded = refunded - sooner.where(refunded.notna() & (sooner > pd.Timedelta(0)), pd.Timedelta(0))
    cost, kg = h["cost"], h["kg_co2e"]
    if tried.carrier is not None:
        cost, kg, refunded = _other_carrier(h, tried.carrier, cost, kg, refunded)
    if tried.no_box:
        kg = kg - h["packed"].where(h["method"].isin(["drop_off", "store"]), 0.0)
    if tried.carbon_price:
        cost = cost + kg * tried.carbon_price * h.attrs["euro"] / 1000
    is_back = h["returned"].to_numpy() > 0
    days = np.where(is_back, (refunded - h["requested_at"]).dt.total_seconds().to_numpy() / 86400, np.nan)
    decided = h["due_at"].notna().to_numpy() & refunded.notna().to_numpy() & is_back
    age = (h["requested_at"] - h["clock_started_at"]).dt.total_seconds().to_numpy() / 86400
    late = age > tried.window_days if tried.window_days is not None else np.zeros(len(h), dtype=bool)
    methods, is_refund = h["method"].cat, h["is_refund"].to_numpy()
    cell = 4 * methods.codes.to_numpy(np.int64) + 2 * late + is_refund
    size = 4 * len(methods.categories)
    there = np.flatnonzero(np.bincount(cell, minlength=size))
    sums = {
        "lots": is_back,
        "units": h["returned"],
        "reversed": h["reversed"],
        "net": h["net"].where(is_back, 0.0),
        "cost": cost,
        "kg": kg,
        "days": np.nan_to_num(days),
        "timed": ~np.isnan(days),
        "kept": decided & (refunded <= h["due_at"]).to_numpy(),
        "decided": decided,
        "window": h["window"],
    }
    named = {"method": methods.categories.to_numpy(str)[there // 4], "is_late": there // 2 % 2 == 1}
    return pd.DataFrame(
        named
        | {"is_refund": there % 2 == 1}
        | {n: np.bincount(cell, np.asarray(x, dtype=float), size)[there] for n, x in sums.items()}
    )


def _desk(h: pd.DataFrame, capacity: float) -> np.ndarray[Any, Any]:
    """Give the day each lot would be inspected by its site with so much of the capacity there was.

    NaN where it never was.
    """
    found = np.full(len(h), np.nan)
    known = h["received_at"].notna() & h["inspected_at"].notna()
    if not known.any():
        return found
    first = h.loc[known, "received_at"].min().normalize()
    received = (h["received_at"].dt.normalize() - first).dt.days
    inspected = (h["inspected_at"].dt.normalize() - first).dt.days
    for _, mine in h[known].groupby("place_id", dropna=False):
        order = received.loc[mine.index].sort_values(kind="stable").index
        done = np.bincount(inspected.loc[order].clip(lower=0).astype(int).to_numpy())
        day = model.inspected_on(received.loc[order].astype(int).to_numpy(), done * capacity)
        found[h.index.get_indexer(order)] = day
    return found


def _other_carrier(
    h: pd.DataFrame, change: str, cost: pd.Series, kg: pd.Series, refunded: pd.Series
) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Give lots of one carrier the freight, kilograms and transit of another.

    By the means of the same method, else of all.
    """
    old, new = (x.strip() for x in change.split(">"))
    for name in (old, new):
        if not h["carrier"].eq(name).any():
            raise ScenarioError(
                why("no_carrier", carrier=repr(name), carriers=", ".join(sorted(h["carrier"].dropna().unique())))
            )
    transit = (h["received_at"] - h["carrier_scan_at"]).dt.total_seconds() / 86400
    mean = (
        pd.DataFrame({"carrier": h["carrier"], "freight": h["freight"], "kg": h["kg_co2e"], "transit": transit})
        .groupby("carrier")
        .mean()
    )
    a, b = mean.loc[old], mean.loc[new]
    mine = h["carrier"].eq(old)
    freight = h["freight"] * (b["freight"] / a["freight"] - 1 if a["freight"] else 0.0)
    grams = h["kg_co2e"] * (b["kg"] / a["kg"] - 1 if a["kg"] else 0.0)
    shift = pd.to_timedelta(np.nan_to_num(b["transit"] - a["transit"]), unit="D")
    return cost + freight.where(mine, 0.0), kg + grams.where(mine, 0.0), refunded.where(~mine, refunded + shift)


def _parameters(n: int) -> dict[str, np.ndarray[Any, Any]]:
    """Give each parameter of behaviour: its value once, or draws between its bounds."""
    rng = np.random.default_rng(_SEED)
    found = {}
    for name in _BEHAVIOUR:
        row = parameters()[name, ""]
        value, low, high = (float(row[k]) for k in ("value", "low", "high"))
        found[name] = np.array([value]) if n == 1 else model.draws(value, low, high, n, rng)
    return found


def _outcome(
    cells: pd.DataFrame, tried: Scenario, p: dict[str, np.ndarray[Any, Any]], attrs: Mapping[Any, Any]
) -> dict[str, np.ndarray[Any, Any]]:
    """Weigh the cells by behaviour and add them up: one number a draw."""
    n = len(next(iter(p.values())))
    weight = np.ones((len(cells), n))
    sales = np.ones(n)
    fee = tried.fee or 0.0
    if fee:
        weight *= np.exp(-p["behaviour_fee_returns"] * fee)
        sales *= np.exp(-p["behaviour_fee_sales"] * fee)
    if tried.window_days is not None:
        usual = (cells["window"].sum() / max(cells["lots"].sum(), 1)) or tried.window_days
        more = (tried.window_days - usual) / 10
        late = cells["is_late"].to_numpy(bool)
        weight[late] *= p["behaviour_window_early"]
        if more > 0:
            weight *= 1 + p["behaviour_window_returns"] * more
        sales *= 1 + p["behaviour_window_sales"] * more
    extra_cost = np.zeros(n)
    if tried.methods is not None:
        gone = ~cells["method"].isin([*tried.methods, ""]).to_numpy()
        if not (~gone & cells["method"].ne("").to_numpy()).any():
            raise ScenarioError(why("no_method", methods=", ".join(tried.methods)))
        weight = _moved(cells, weight, gone, p["behaviour_method_lost"])
    refunds = cells["is_refund"].to_numpy(bool)
    undone = cells["reversed"].to_numpy()[:, None] * weight
    if tried.free_exchange:
        undone[refunds] = undone[refunds] * (1 - p["behaviour_exchange"])
    if tried.refund_trigger in ("carrier_scan", "received"):
        extra_cost = (
            extra_cost
            + (cells["net"].to_numpy()[refunds, None] * weight[refunds]).sum(axis=0) * p["behaviour_early_loss"]
        )
    total = {
        name: (cells[name].to_numpy()[:, None] * weight).sum(axis=0)
        for name in ("units", "cost", "kg", "days", "timed", "kept", "decided", "lots")
    }
    cost = total["cost"] + extra_cost - (fee * attrs["euro"] * total["lots"] if fee else 0.0)
    sold = attrs["sold_margin"] * sales
    reversed_ = undone.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        days, kept = total["days"] / total["timed"], total["kept"] / total["decided"]
    return {
        "sold_margin": sold,
        "returned_units": total["units"],
        "margin_reversed": reversed_,
        "return_cost": cost,
        "margin": sold - reversed_ - cost,
        "kg_co2e": total["kg"],
        "days_to_refund": days,
        "promise_kept": kept,
    }


def _moved(
    cells: pd.DataFrame, weight: np.ndarray[Any, Any], gone: np.ndarray[Any, Any], lost: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Move what used a method that is gone to the methods that stay, by what they carry; part of it is lost."""
    units = cells["units"].to_numpy()[:, None] * weight
    stays = ~gone & cells["method"].ne("").to_numpy()
    coming = units[gone].sum(axis=0) * (1 - lost)
    there = units[stays].sum(axis=0)
    moved = weight.copy()
    moved[gone] = 0.0
    moved[stays] = weight[stays] * (1 + coming / np.where(there > 0, there, 1.0))
    return moved
