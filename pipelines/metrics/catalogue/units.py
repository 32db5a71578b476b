"""Metrics of units on their way back, declared."""

from sqlalchemy import and_, literal_column, or_

from pipelines.metrics.catalogue.returns import counted_lots, happened, requested
from pipelines.metrics.declare import Metric, Sum, measure
from pipelines.metrics.facts import CREDITS, LOTS, ORDERS, credited, lots, matches, orders
from pipelines.metrics.facts.conditions import is_cancellation, money, returned, units
from pipelines.metrics.finish import shares
from pipelines.metrics.question import Text
from pipelines.warehouse.engine import Expression, double
from pipelines.warehouse.rules import Sql, Time
from pipelines.why import why


def _mismatched(_: Time) -> Expression:
    return lots.c.inspection_outcome != literal_column("'match'")


def _outcome_known(_: Time) -> Expression:
    return lots.c.inspection_outcome.is_not(None)


def _before_inspection(now: Time) -> Expression:
    seen = or_(now.open(lots.c.inspected_at), lots.c.inspected_at > lots.c.refunded_at)
    return and_(now.happened(lots.c.requested_at), now.happened(lots.c.refunded_at), seen)


def _sent_back(_: Time) -> Expression:
    return lots.c.return_type.not_in([literal_column(f"'{t}'") for t in ("refused", "uncollected")])


def _not_yet(*names: str) -> Sql:
    return lambda now: and_(*(now.open(lots.c[n]) for n in names))


METRICS = (
    Metric(
        "requested_units",
        Text("Units requested for return", "Unités demandées en retour"),
        Text(
            "Units for which a return was requested in this period.",
            "Unités pour lesquelles un retour a été demandé sur la période.",
        ),
        "requested units",
        "",
        "sum of units requested",
        "units",
        "return",
        "down",
        ("return", "stage_requested"),
        (counted_lots("requested", requested),),
        family="workload",
    ),
    Metric(
        "confirmed_units",
        Text("Units returned, by date of request", "Unités retournées, à la date de demande"),
        Text(
            "Units requested for return in this period and returned since.",
            "Unités demandées en retour sur la période et retournées depuis.",
        ),
        "confirmed units",
        "",
        "sum of confirmed units",
        "units",
        "return",
        "down",
        ("return", "back"),
        (measure("confirmed", returned(basis="return")),),
        family="workload",
    ),
    Metric(
        "all_returned_units",
        Text("Units returned, all types", "Unités retournées, tous types"),
        Text(
            "Units requested for return in this period and returned since, faulty goods and failed deliveries"
            " included.",
            "Unités demandées en retour sur la période et retournées depuis, défauts et livraisons échouées compris.",
        ),
        "confirmed units of all types",
        "",
        "sum of confirmed units",
        "units",
        "return",
        "down",
        ("return",),
        (measure("all", returned(headline=False, basis="return")),),
        family="workload",
    ),
    Metric(
        "refunded_units",
        Text("Units refunded", "Unités remboursées"),
        Text(
            "Returned units that were refunded in this period.",
            "Unités retournées et remboursées sur la période.",
        ),
        "confirmed units refunded",
        "",
        "sum of confirmed units refunded",
        "units",
        "refund",
        "none",
        ("return", "stage_refunded"),
        (measure("refunded", returned("units", happened("refunded_at"), basis="refund")),),
        family="workload",
    ),
    Metric(
        "received_units",
        Text("Units received", "Unités reçues"),
        Text(
            "Units of this period's returns received at a site; parcels refused or not collected are failed deliveries"
            " and are left out.",
            "Unités des retours de la période reçues sur un site ; les colis refusés ou non retirés sont des livraisons"
            " manquées, à part.",
        ),
        "received units",
        "",
        "sum of units received",
        "units",
        "return",
        "none",
        ("return", "stage_received"),
        (counted_lots("received", happened("received_at"), _sent_back),),
        family="workload",
    ),
    Metric(
        "open_returns",
        Text("Open returns", "Retours en cours"),
        Text(
            "Units requested or sent back that are not yet refunded, exchanged, cancelled, rejected, expired or lost.",
            "Unités demandées ou renvoyées ni remboursées, ni échangées, ni annulées, ni refusées, ni expirées, ni"
            " perdues.",
        ),
        "open units",
        "",
        "sum of units still open",
        "units",
        "return",
        "down",
        ("return", "stage_requested|stage_handed_over|stage_carrier_scan"),
        (
            counted_lots(
                "open",
                lambda now: or_(
                    *(now.happened(lots.c[n]) for n in ("requested_at", "handed_over_at", "carrier_scan_at"))
                ),
                _not_yet("refunded_at", "exchanged_at", "cancelled_at", "rejected_at", "expired_at", "lost_at"),
                lambda _: lots.c.return_type != literal_column("'price_adjustment'"),
            ),
        ),
        family="workload",
    ),
    Metric(
        "dock_backlog",
        Text("Received, not inspected", "Reçues, non contrôlées"),
        Text("Units received and not yet inspected.", "Unités reçues et pas encore contrôlées."),
        "units received, not inspected",
        "",
        "sum of units received and not inspected",
        "units",
        "return",
        "down",
        ("return", "stage_received", "stage_inspected"),
        (
            counted_lots(
                "waiting", happened("received_at"), _not_yet("inspected_at", "restocked_at", "disposed_at", "lost_at")
            ),
        ),
        family="workload",
    ),
    Metric(
        "missing_scan_share",
        Text("Never scanned", "Jamais scannés"),
        Text(
            "Share of the units received by carrier without a first scan.",
            "Part des unités reçues par transporteur sans premier scan.",
        ),
        "units received without a scan",
        "units received by carrier",
        "without scan / received",
        "share",
        "return",
        "down",
        ("return", "stage_carrier_scan", "stage_received"),
        (
            counted_lots(
                "missing",
                happened("received_at"),
                _not_yet("carrier_scan_at"),
                lambda _: lots.c.method != literal_column("'store'"),
            ),
            counted_lots("received", happened("received_at"), lambda _: lots.c.method != literal_column("'store'")),
        ),
        shares.ratio_of("missing", "received", interval=True, nothing=why("nothing_received")),
        family="workload",
    ),
    Metric(
        "lost_share",
        Text("Lost in transit", "Perdus en route"),
        Text("Share of the units handed over that were lost.", "Part des unités remises qui ont été perdues."),
        "units lost",
        "units handed over",
        "lost / handed over",
        "share",
        "return",
        "down",
        ("return", "stage_handed_over|stage_carrier_scan"),
        (
            counted_lots("lost", happened("lost_at")),
            counted_lots(
                "handed_over",
                lambda now: or_(
                    now.happened(lots.c.handed_over_at),
                    now.happened(lots.c.carrier_scan_at),
                    now.happened(lots.c.lost_at),
                ),
            ),
        ),
        shares.ratio_of("lost", "handed_over", interval=True, nothing=why("nothing_handed")),
        family="workload",
    ),
    Metric(
        "inspection_mismatch_rate",
        Text("Not as declared", "Non conforme à la déclaration"),
        Text(
            "Share of the inspected units that did not match the return request: empty, swapped, worn or with"
            " a part missing.",
            "Part des unités contrôlées qui ne correspondaient pas à la demande de retour : colis vide, "
            "article échangé, porté ou incomplet.",
        ),
        "inspected units that do not match",
        "inspected units",
        "not matching / inspected",
        "share",
        "return",
        "down",
        ("return", "stage_inspected", "inspection"),
        (
            counted_lots("mismatched", happened("inspected_at"), _mismatched),
            counted_lots("inspected", happened("inspected_at"), _outcome_known),
        ),
        shares.ratio_of("mismatched", "inspected", interval=True, nothing=why("nothing_inspected")),
        family="workload",
    ),
    Metric(
        "refunded_before_inspection",
        Text("Refunded before inspection", "Remboursé avant contrôle"),
        Text(
            "Amount refunded, with VAT, for goods not yet inspected at the time of payment.",
            "Montant remboursé, TVA comprise, pour des articles pas encore contrôlés au moment du paiement.",
        ),
        "refunds paid before inspection, with VAT",
        "",
        "sum of refunds where inspection came later or not at all",
        "money",
        "return",
        "none",
        ("return", "stage_requested", "stage_refunded", "stage_inspected", "fx"),
        (measure("early", Sum(LOTS, money(lots, "refund_amount"), _before_inspection)),),
        family="workload",
    ),
    Metric(
        "approval_rate",
        Text("Approved", "Acceptés"),
        Text("Share of the decided requests that were approved.", "Part des demandes décidées qui ont été acceptées."),
        "units approved",
        "units approved or rejected",
        "approved / (approved + rejected)",
        "share",
        "return",
        "none",
        ("return", "stage_approved"),
        (
            counted_lots("approved", happened("approved_at"), _not_yet("rejected_at")),
            counted_lots(
                "decided", lambda now: or_(now.happened(lots.c.approved_at), now.happened(lots.c.rejected_at))
            ),
        ),
        shares.ratio_of("approved", "decided", interval=True, nothing=why("nothing_decided")),
        family="workload",
    ),
    Metric(
        "cancelled_share",
        Text("Requests cancelled", "Demandes annulées"),
        Text(
            "Share of the requested units whose request was cancelled.",
            "Part des unités demandées dont la demande a été annulée.",
        ),
        "units cancelled",
        "units requested",
        "cancelled / requested",
        "share",
        "return",
        "none",
        ("return", "stage_requested"),
        (counted_lots("cancelled", requested, happened("cancelled_at")), counted_lots("requested", requested)),
        shares.ratio_of("cancelled", "requested", interval=True, nothing=why("nothing_asked")),
        family="workload",
    ),
    Metric(
        "expired_share",
        Text("Requests expired", "Demandes expirées"),
        Text(
            "Share of the requested units that were not handed over in time.",
            "Part des unités demandées non remises à temps.",
        ),
        "units expired",
        "units requested",
        "expired / requested",
        "share",
        "return",
        "none",
        ("return", "stage_requested"),
        (counted_lots("expired", requested, happened("expired_at")), counted_lots("requested", requested)),
        shares.ratio_of("expired", "requested", interval=True, nothing=why("nothing_asked")),
        family="workload",
    ),
    # -- data
    Metric(
        "unmatched_credits",
        Text("Credits without a purchase", "Avoirs sans achat"),
        Text(
            "Credited units without a matching purchase in the data.",
            "Unités créditées sans achat correspondant dans les données.",
        ),
        "credited units without an order line",
        "",
        "units of credits - units matched",
        "units",
        "return",
        "down",
        ("return",),
        (
            measure(
                "unmatched",
                [
                    Sum(LOTS, units(), lambda _: lots.c.order_line_key.is_(None)),
                    Sum(CREDITS, lambda _: -matches.c.units),
                ],
            ),
        ),
        family="data",
    ),
    Metric(
        "unmatched_credit_value",
        Text("Value of credits without a purchase", "Valeur des avoirs sans achat"),
        Text(
            "Value of the credited units without a matching purchase in the data.",
            "Valeur des unités créditées sans achat correspondant dans les données.",
        ),
        "credited value without an order line",
        "",
        "value of credits - value matched",
        "money",
        "return",
        "down",
        ("return", "fx"),
        (
            measure(
                "unmatched_value",
                [
                    Sum(LOTS, money(lots, "net_amount"), lambda _: lots.c.order_line_key.is_(None)),
                    Sum(
                        CREDITS,
                        lambda _: (
                            -(
                                double(credited.c.net_amount)
                                * credited.c.fx_rate
                                * double(matches.c.units)
                                / double(credited.c.units)
                            )
                        ),
                    ),
                ],
            ),
        ),
        family="data",
    ),
    Metric(
        "cancellations",
        Text("Units cancelled before shipping", "Unités annulées avant envoi"),
        Text(
            "Units cancelled before shipping, or credited within the hour: neither sold nor returned.",
            "Unités annulées avant envoi, ou créditées dans l'heure : ni vendues ni retournées.",
        ),
        "units cancelled",
        "",
        "sum of units cancelled",
        "units",
        "order",
        "down",
        ("order",),
        (
            measure(
                "cancelled",
                [
                    Sum(ORDERS, lambda _: orders.c.units_cancelled),
                    Sum(CREDITS, lambda _: matches.c.units, is_cancellation),
                ],
            ),
        ),
        family="data",
    ),
)
