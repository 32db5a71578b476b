"""Metrics of promises and stage times. Declarations only."""

from dataclasses import replace
from typing import Any

from sqlalchemy import and_, func, literal_column, or_, select
from sqlalchemy.sql.expression import FromClause

from pipelines.metrics.declare import Measure, Metric, Only, Sum, always, measure
from pipelines.metrics.facts import LOTS, lot_cost, lots, promises, risks
from pipelines.metrics.facts.conditions import units
from pipelines.metrics.facts.of_promises import PROMISES, RISKS
from pipelines.metrics.facts.stages import funnel_base, segment_base, stage_base
from pipelines.metrics.finish import shares, waits
from pipelines.metrics.question import Text
from pipelines.warehouse.engine import Expression, double, ratio, seconds_between
from pipelines.warehouse.rules import STAGE_PAIRS, Time
from pipelines.why import why


def _legal(_: Time) -> Expression:
    return promises.c.promise_id == literal_column("'legal_refund'")


def _due_soon(now: Time) -> Expression:
    due = promises.c.due_at
    running = [now.open(promises.c[c]) for c in ("ended_at", "stopped_at")]
    return and_(_legal(now), due > now.at, due <= now.after(5), now.happened(promises.c.handed_over_at), *running)


GAP_HOURS = 48.0
RETURNS = measure("returns", Sum(PROMISES, always))
LEGAL = measure("returns", Sum(PROMISES, always, _legal))
STAGES = stage_base("stages", STAGE_PAIRS)
SEGMENTS, REACHED = segment_base(), funnel_base()
WAITED = measure("days", Sum(SEGMENTS, SEGMENTS.details["days"]))


def _waits(name: str, start: str, end: str) -> Measure:
    return measure("waits", Sum(stage_base(name, {name.replace("_", "-"): (start, end)}), always))


def _started(now: Time) -> Expression:
    return now.happened(promises.c.started_at)


def _line(now: Time) -> Expression:
    """Count return lines whose source tells what is done by hand: their first lots."""
    return and_(lots.c.lot_no == literal_column("1"), lots.c.manual_touches.is_not(None))


def _sellable_for(now: Time, hours: float) -> Expression:
    """Say whether goods found fit to be sold as new have been so for some hours."""
    return and_(
        lots.c.outcome == literal_column("'resold_as_new'"),
        now.happened(lots.c.inspected_at),
        lots.c.inspected_at <= now.after(-hours / 24),
    )


def _not_back(now: Time, hours: float) -> Expression:
    late = seconds_between(lots.c.inspected_at, lots.c.restocked_at) > double(hours * 3600)
    return or_(now.open(lots.c.restocked_at), late)


def _in_flow(now: Time) -> Expression:
    """Say whether units are on their way back: asked for, and neither on sale again, out of the flow nor stopped."""
    ends = ("restocked_at", "disposed_at", "cancelled_at", "rejected_at", "expired_at", "lost_at")
    return and_(
        now.happened(lots.c.requested_at),
        *(now.open(lots.c[n]) for n in ends),
        lots.c.return_type != literal_column("'price_adjustment'"),
    )


_fee = (
    select(lot_cost.c.return_lot_key, func.sum(-double(lot_cost.c.amount)).label("fee"))
    .where(lot_cost.c.component == literal_column("'fee_charged'"))
    .group_by(lot_cost.c.return_lot_key)
    .subquery("fee")
)


def _owed(table: FromClause) -> dict[str, Expression]:
    """Give what a lot was paid, its price with VAT, and its part of its policy's fee, in its own currency.

    The fee without VAT and with the VAT of its price.
    """
    c = table.c
    price = double(c.net_amount) + double(c.vat_amount)
    fee = func.coalesce(ratio(_fee.c.fee, c.fx_rate), double(0))
    return {
        "paid": double(c.refund_amount),
        "price": price,
        "fee": fee,
        "fee_with_vat": fee * func.coalesce(ratio(price, double(c.net_amount)), double(1)),
    }


def _of_return() -> Any:
    """Sum the same over each return: which of its lots a fee is taken from is up to the shop."""
    mine = lots.alias("of_return")
    known = and_(
        mine.c.return_key.is_not(None),
        mine.c.refund_amount.is_not(None),
        mine.c.net_amount.is_not(None),
        mine.c.vat_amount.is_not(None),
    )
    sums = [func.sum(e).label(n) for n, e in _owed(mine).items()]
    joined = mine.outerjoin(_fee, _fee.c.return_lot_key == mine.c.return_lot_key)
    return (
        select(mine.c.return_key, *sums)
        .select_from(joined)
        .where(known)
        .group_by(mine.c.return_key)
        .subquery("of_return_paid")
    )


_whole = _of_return()
PAID = replace(
    LOTS,
    name="paid_lots",
    alone=None,
    table=lots.outerjoin(_fee, _fee.c.return_lot_key == lots.c.return_lot_key).outerjoin(
        _whole, _whole.c.return_key == lots.c.return_key
    ),
)


def _was_paid(now: Time) -> Expression:
    return and_(
        now.happened(lots.c.refunded_at),
        lots.c.refund_amount.is_not(None),
        lots.c.net_amount.is_not(None),
        lots.c.vat_amount.is_not(None),
    )


def _as_due(now: Time) -> Expression:
    """Say whether a lot was paid its price with VAT, or less the fee of its policy, once a return.

    VAT is due on some fees and not on others.
    """
    lot, whole = _owed(lots), _whole.c

    def is_paid(of: Any, fee: Expression) -> Expression:
        return func.abs(of["paid"] - of["price"] + fee) < double(0.02)

    right = [is_paid(lot, fee) for fee in (double(0), lot["fee"], lot["fee_with_vat"])]
    right += [and_(whole.fee > double(0), is_paid(whole, whole[fee])) for fee in ("fee", "fee_with_vat")]
    return and_(_was_paid(now), or_(*right))


def _in(*states: str) -> Only:
    return lambda base, _, now: base.details["state"](now).in_([literal_column(f"'{s}'") for s in states])


_KEPT = {"numerator": _in("kept"), "denominator": _in("kept", "broken")}


def _state(key: str, state: str, name: Text, sentence: Text, good: str) -> Metric:
    said = {"undetermined": "not due yet"}.get(state, state)
    return Metric(
        key,
        name,
        sentence,
        f"returns x promises {said}",
        "",
        f"count of promises {said}",
        "count",
        "return",
        good,
        ("return", "promise"),
        (RETURNS,),
        waits.in_state(state),
        None,
        ("state",),
        family="promises",
        only={"numerator": _in(state)},
    )


def _wait(key: str, name: Text, sentence: Text, start: str, end: str) -> Metric:
    return Metric(
        key,
        name,
        sentence,
        "days waited by those that complete",
        "",
        "Aalen-Johansen quantile, conditional on completing",
        "days",
        "return",
        "down",
        ("return", "stage_requested|stage_received" if start == "requested" else f"stage_{start}", f"stage_{end}"),
        (_waits(key, f"{start}_at", f"{end}_at"),),
        waits.wait_quantile,
        0.9,
        ("cause", "hours", *(["is_from_return"] if start == "requested" else [])),
        family="promises",
    )


METRICS = (
    Metric(
        "promise_kept",
        Text("Promise kept", "Promesse tenue"),
        Text(
            "Share of the promises already due that were kept; one row per return and promise.",
            "Part des promesses déjà échues qui ont été tenues ; une par retour et promesse.",
        ),
        "promises kept",
        "promises due",
        "kept / (kept + broken)",
        "share",
        "return",
        "up",
        ("return", "promise"),
        (RETURNS,),
        waits.kept,
        None,
        ("state", "is_from_return"),
        family="promises",
        only=_KEPT,
    ),
    _state(
        "promise_broken",
        "broken",
        Text("Promises broken", "Promesses rompues"),
        Text(
            "Promises past their due date, open and lost ones included.",
            "Promesses à l'échéance dépassée, en cours et perdues comprises.",
        ),
        "down",
    ),
    _state(
        "promise_undetermined",
        "undetermined",
        Text("Not due yet", "Pas encore échues"),
        Text("Promises that are not due yet.", "Promesses pas encore échues."),
        "none",
    ),
    _state(
        "promise_expired",
        "expired",
        Text("Never handed over", "Jamais remis"),
        Text(
            "Promises of returns whose parcel was never handed over.",
            "Promesses de retours dont le colis n'a jamais été remis.",
        ),
        "none",
    ),
    Metric(
        "legal_refund_kept",
        Text("Legal refund date kept", "Délai légal de remboursement tenu"),
        Text(
            "Share of the withdrawals already due that were refunded within the 14 days of Directive 2011/83/EU.",
            "Part des rétractations échues remboursées dans les 14 jours de la directive 2011/83/UE.",
        ),
        "withdrawals refunded in time",
        "withdrawals due",
        "kept / (kept + broken) of legal refund dates",
        "share",
        "return",
        "up",
        ("return", "stage_requested|stage_received", "stage_refunded", "legal"),
        (LEGAL,),
        waits.kept,
        None,
        ("state", "is_from_return"),
        family="promises",
        only=_KEPT,
    ),
    Metric(
        "refunds_due_soon",
        Text("Refunds due within 5 days", "Remboursements dus sous 5 jours"),
        Text(
            "Open withdrawals whose legal refund date falls within five days.",
            "Rétractations ouvertes dont la date légale de remboursement tombe sous cinq jours.",
        ),
        "open legal refunds due within 5 days",
        "",
        "count",
        "count",
        "return",
        "down",
        ("return", "stage_requested|stage_received", "stage_refunded", "legal"),
        (measure("due", Sum(PROMISES, always, _due_soon)),),
        family="promises",
    ),
    Metric(
        "stage_days",
        Text("Days per stage, p{percent}", "Jours par étape, p{percent}"),
        Text(
            "Days within which this share of the returns that complete the stage have completed it.",
            "Jours dans lesquels cette part des retours qui terminent l'étape l'ont terminée.",
        ),
        "days waited by those that complete",
        "",
        "Aalen-Johansen quantile, conditional on completing",
        "days",
        "return",
        "down",
        ("return", "stage_received|stage_refunded"),
        (measure("waits", Sum(STAGES, always)),),
        waits.wait_quantile,
        0.9,
        ("cause", "hours"),
        required=("stage",),
        family="promises",
    ),
    _wait(
        "days_to_refund",
        Text("Days to refund, p{percent}", "Jours jusqu'au remboursement, p{percent}"),
        Text(
            "Days from request to refund for this share of customers.",
            "Jours de la demande au remboursement pour cette part des clients.",
        ),
        "requested",
        "refunded",
    ),
    _wait(
        "days_to_refund_from_receipt",
        Text("Days from receipt to refund, p{percent}", "Jours de la réception au remboursement, p{percent}"),
        Text(
            "Days from receipt to refund for this share of customers.",
            "Jours de la réception au remboursement pour cette part des clients.",
        ),
        "received",
        "refunded",
    ),
    _wait(
        "days_to_restock",
        Text("Days to restock, p{percent}", "Jours jusqu'à la remise en stock, p{percent}"),
        Text(
            "Days from request to restocking for this share of the restocked units.",
            "Jours de la demande à la remise en stock pour cette part des unités remises en stock.",
        ),
        "requested",
        "restocked",
    ),
    _wait(
        "days_to_restock_from_receipt",
        Text("Days from receipt to restock, p{percent}", "Jours de la réception à la remise en stock, p{percent}"),
        Text(
            "Days from receipt to restocking for this share of the restocked units.",
            "Jours de la réception à la remise en stock pour cette part des unités remises en stock.",
        ),
        "received",
        "restocked",
    ),
    Metric(
        "promise_at",
        Text("Possible promise ({percent}%)", "Promesse possible ({percent} %)"),
        Text(
            "Shortest duration, in the promise's unit, kept for this share of returns; lost parcels count as broken.",
            "Durée la plus courte, dans l'unité de la promesse, qui serait tenue pour cette part des retours ; un colis"
            " perdu compte comme rompu.",
        ),
        "time from start to end of the promise, in its unit",
        "",
        "Aalen-Johansen quantile, losses counting as broken",
        "days",
        "return",
        "down",
        ("return", "promise"),
        (measure("waits", Sum(PROMISES, always, _started)),),
        waits.promise_that_holds,
        0.95,
        ("cause", "took", "unit_of"),
        required=("promise_id",),
        family="promises",
    ),
    Metric(
        "breach_risk",
        Text("Risk of breaking", "Risque de rupture"),
        Text(
            "Mean probability that an open, not yet due promise will be broken.",
            "Probabilité moyenne qu'une promesse ouverte et pas encore échue soit rompue.",
        ),
        "sum of probabilities",
        "open promises",
        "mean probability",
        "share",
        "return",
        "down",
        ("return", "promise"),
        (measure("expected", Sum(RISKS, lambda _: risks.c.probability)), measure("open", Sum(RISKS, always))),
        waits.risk,
        family="promises",
    ),
    Metric(
        "days_waited",
        Text("Days waited", "Jours d'attente"),
        Text(
            "Days waited so far by the returns requested in this period, from request to refund, open ones included.",
            "Jours d'attente cumulés des retours demandés sur la période, de la demande au remboursement, "
            "retours en cours compris.",
        ),
        "days from request to refund, up to now",
        "",
        "sum of days of return lines",
        "days",
        "return",
        "down",
        ("return", "stage_requested", "stage_refunded"),
        (WAITED,),
        family="promises",
    ),
    Metric(
        "stage_time_share",
        Text("Share of time by stage", "Part du temps par étape"),
        Text(
            "Share of the days waited so far in each stage; open returns are counted up to now.",
            "Part des jours d'attente de chaque étape ; les retours en cours comptent jusqu'à maintenant.",
        ),
        "days in the stage",
        "days of all stages",
        "days in the stage / days of all stages",
        "share",
        "return",
        "none",
        ("return", "stage_requested", "stage_refunded"),
        (WAITED,),
        shares.share_of_whole("days", ("stage", "responsible"), why("nothing_waited"), interval=False),
        whole=("stage", "responsible"),
        family="promises",
    ),
    Metric(
        "stage_reached",
        Text("Units that reached the stage", "Unités arrivées à l'étape"),
        Text(
            "Units requested for return in this period that reached each stage, or were cancelled, declined, "
            "expired or lost.",
            "Unités demandées en retour sur la période et arrivées à chaque étape, ou annulées, refusées, "
            "expirées ou perdues.",
        ),
        "units that reached the stage",
        "",
        "sum of units",
        "units",
        "return",
        "none",
        ("return", "stage_requested"),
        (
            measure(
                "reached",
                Sum(REACHED, lambda _: REACHED.table.c.units, lambda now: now.happened(REACHED.table.c.reached_at)),
            ),
        ),
        required=("stage",),
        family="promises",
    ),
    Metric(
        "decline_share",
        Text("Reasons for declined requests", "Motifs de refus"),
        Text(
            "Share of the declined units that each reason makes up.",
            "Part des unités refusées que représente chaque motif.",
        ),
        "units declined for the reason",
        "units declined",
        "declined for the reason / declined",
        "share",
        "return",
        "none",
        ("return", "decline"),
        (measure("declined", Sum(LOTS, units(), lambda now: now.happened(lots.c.rejected_at))),),
        shares.share_of_whole("declined", ("decline_reason",), why("nothing_declined")),
        whole=("decline_reason",),
        family="workload",
    ),
    Metric(
        "manual_touches",
        Text("Manual steps per return", "Étapes manuelles par retour"),
        Text("Manual steps per return line.", "Étapes manuelles par ligne de retour."),
        "manual steps",
        "return lines",
        "manual steps / return lines",
        "count",
        "return",
        "down",
        ("return", "touch"),
        (
            measure("touches", Sum(LOTS, lambda _: lots.c.manual_touches, _line)),
            measure("lines", Sum(LOTS, always, _line)),
        ),
        shares.ratio_of("touches", "lines", nothing=why("no_return_line")),
        family="workload",
    ),
    Metric(
        "no_touch_share",
        Text("Processed automatically", "Traités automatiquement"),
        Text(
            "Share of the return lines without a manual step.",
            "Part des lignes de retour sans aucune étape manuelle.",
        ),
        "return lines without a manual step",
        "return lines",
        "automatic / return lines",
        "share",
        "return",
        "up",
        ("return", "touch"),
        (
            measure(
                "untouched",
                Sum(LOTS, always, lambda now: and_(_line(now), lots.c.manual_touches == literal_column("0"))),
            ),
            measure("lines", Sum(LOTS, always, _line)),
        ),
        shares.ratio_of("untouched", "lines", interval=True, nothing=why("no_return_line")),
        family="workload",
    ),
    Metric(
        "stock_gap",
        Text("Sellable, not restocked after 48 h", "Vendables, non remis en stock après 48 h"),
        Text(
            "Share of the units fit for sale as new that were not restocked 48 hours after inspection.",
            "Part des unités vendables comme neuves et non remises en stock 48 heures après le contrôle.",
        ),
        "units not restocked in time",
        "units fit for sale inspected at least 48 hours ago",
        "not restocked within 48 h / fit for sale",
        "share",
        "return",
        "down",
        ("return", "stage_inspected", "stage_restocked", "disposition"),
        (
            measure(
                "gap", Sum(LOTS, units(), lambda now: and_(_sellable_for(now, GAP_HOURS), _not_back(now, GAP_HOURS)))
            ),
            measure("fit", Sum(LOTS, units(), lambda now: _sellable_for(now, GAP_HOURS))),
        ),
        shares.ratio_of("gap", "fit", interval=True, nothing=why("nothing_fit")),
        family="workload",
    ),
    Metric(
        "refund_as_due",
        Text("Refunds of the correct amount", "Remboursements du bon montant"),
        Text(
            "Share of the refunded lots whose refund equals their price with VAT, less the fee of their "
            "policy, to the cent.",
            "Part des lots remboursés au centime à leur prix TTC, ou moins les frais prévus par leur politique.",
        ),
        "lots paid as due",
        "lots paid",
        "paid as due / paid",
        "share",
        "return",
        "up",
        ("return", "stage_refunded", "vat", "refund|refund_line"),
        (measure("right", Sum(PAID, always, _as_due)), measure("paid", Sum(PAID, always, _was_paid))),
        shares.ratio_of("right", "paid", interval=True, nothing=why("nothing_refunded")),
        family="money",
    ),
    Metric(
        "units_waiting",
        Text("Units in return", "Unités en cours de retour"),
        Text(
            "Units requested for return that are not restocked, disposed of or stopped, by their current stage.",
            "Unités demandées en retour ni remises en stock, ni sorties du flux, ni arrêtées, par étape actuelle.",
        ),
        "units in return",
        "",
        "sum of units",
        "units",
        "return",
        "down",
        ("return", "stage_requested"),
        (measure("waiting", Sum(LOTS, units(), _in_flow)),),
        family="workload",
    ),
    Metric(
        "margin_waiting",
        Text("Margin of units in return", "Marge des unités en cours de retour"),
        Text(
            "Net price less purchase cost of the units in return: the margin of their resale; without VAT.",
            "Prix net moins coût d'achat des unités en cours de retour : la marge de leur revente ; hors TVA.",
        ),
        "margin of units in return",
        "",
        "sum of (net - cost)",
        "money",
        "return",
        "down",
        ("return", "price", "unit_cost", "stage_requested", "fx"),
        (
            measure(
                "margin",
                Sum(
                    LOTS,
                    lambda now: (double(lots.c.net_amount) - double(lots.c.cost_amount)) * lots.c.fx_rate,
                    _in_flow,
                ),
            ),
        ),
        family="money",
    ),
)
