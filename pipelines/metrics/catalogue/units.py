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


def _not_yet(*names: str) -> Sql:
    return lambda now: and_(*(now.open(lots.c[n]) for n in names))


METRICS = (
    Metric(
        "requested_units",
        Text("Units asked back", "Unités demandées en retour"),
        Text(
            "Units for which a return was asked on these days.",
            "Unités pour lesquelles un retour a été demandé ces jours-là.",
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
        Text("Units that came back", "Unités revenues"),
        Text(
            "Units asked back on these days that have come back.", "Unités demandées ces jours-là et revenues depuis."
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
        Text("Units that came back, every kind", "Unités revenues, toutes natures"),
        Text(
            "Units asked back on these days that have come back, faulty goods and failed deliveries included.",
            "Unités demandées ces jours-là et revenues depuis, défauts et livraisons échouées compris.",
        ),
        "confirmed units of every kind",
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
            "Units that came back and whose money was given back on these days.",
            "Unités revenues dont l'argent a été rendu ces jours-là.",
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
            "Units asked back on these days that have reached a site.",
            "Unités demandées ces jours-là et arrivées sur un site.",
        ),
        "received units",
        "",
        "sum of units received",
        "units",
        "return",
        "none",
        ("return", "stage_received"),
        (counted_lots("received", happened("received_at")),),
        family="workload",
    ),
    Metric(
        "open_returns",
        Text("Open returns", "Retours en cours"),
        Text(
            "Units asked or sent back that are neither refunded, exchanged, cancelled, rejected, expired nor lost yet.",
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
        Text("Waiting at the dock", "En attente au quai"),
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
            "Share of the units received by carrier that no first scan announced.",
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
        Text("Lost on the way", "Perdus en route"),
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
        Text("Not as announced", "Retour non conforme"),
        Text(
            "Share of the inspected units that were not what the customer announced: empty, swapped, worn or with a"
            " part missing.",
            "Part des unités contrôlées qui n'étaient pas ce que le client annonçait : colis vide, article échangé,"
            " porté ou incomplet.",
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
            "Money given back, with VAT, for goods that nobody had looked at when it was paid.",
            "Argent rendu, TVA comprise, pour des articles que personne n'avait contrôlés au moment du paiement.",
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
            "Share of the units asked back whose request was cancelled.",
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
            "Share of the units asked back that were never handed over in time.",
            "Part des unités demandées jamais remises à temps.",
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
            "Credited units that no purchase in the data explains.",
            "Unités créditées qu'aucun achat des données n'explique.",
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
            "Value of the credited units that no purchase in the data explains.",
            "Valeur des unités créditées qu'aucun achat des données n'explique.",
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
            "Units ordered and cancelled before they left, or credited within the hour: neither sold nor returned.",
            "Unités commandées puis annulées avant envoi, ou créditées dans l'heure : ni vendues ni retournées.",
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
