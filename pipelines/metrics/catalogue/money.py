"""Metrics of money: margin, cost of returns, refunds, recovery. Declarations only.

Margin and costs are without VAT, what customers get back is with VAT; each metric says which.
"""

from sqlalchemy import and_, case, func, literal_column

from pipelines.metrics.declare import Metric, Sum, always, both, measure
from pipelines.metrics.facts import (
    CREDIT_LINES,
    CREDITS,
    INVOICES,
    LOST,
    LOT_COST,
    LOTS,
    ORDERS,
    RECOVERIES,
    REFUNDS,
    bought,
    claimed,
    credited,
    invoices,
    lot_cost,
    lots,
    matches,
    orders,
    recoveries,
    refund_lines,
    refunds,
)
from pipelines.metrics.facts.conditions import is_bound, is_cancellation, is_confirmed, money, returned
from pipelines.metrics.finish import shares
from pipelines.metrics.question import Text
from pipelines.warehouse.engine import Expression, double, ratio
from pipelines.warehouse.rules import Sql, Time
from pipelines.warehouse.vocabulary import Money
from pipelines.why import why

CENT = 0.005


def _margin(table: object) -> Sql:
    c = table.c  # type: ignore[attr-defined]
    return lambda _: double(c.net_amount - c.cost_amount) * c.fx_rate


def _undone(table: object) -> Sql:
    """Say whether the sale was undone: an exchange keeps its sale, a price adjustment has no goods."""
    return lambda _: table.c.return_type.not_in([literal_column("'exchange'"), literal_column("'price_adjustment'")])  # type: ignore[attr-defined]


def _goods(_: Time) -> Expression:
    return orders.c.units_sold != 0


MARGIN = measure(
    "margin",
    [
        Sum(ORDERS, _margin(orders), _goods),
        Sum(CREDITS, lambda now: -_margin(bought)(now) * ratio(matches.c.units, bought.c.units_sold), is_cancellation),
    ],
)
REVERSED = measure(
    "reversed",
    [
        Sum(LOTS, _margin(lots), both(is_confirmed(), _undone(lots)), of_orders=True),
        Sum(
            CREDITS,
            lambda now: _margin(credited)(now) * ratio(matches.c.units, credited.c.units),
            both(is_confirmed(credited), _undone(credited), is_bound),
        ),
    ],
)
COST = measure("cost", Sum(LOT_COST, lambda _: lot_cost.c.amount))
CONFIRMED = measure("confirmed", returned(basis="return"))
MARGIN_NEEDS = ("order", "return", "back", "price", "unit_cost", "vat", "fx")
COST_NEEDS = ("return", "unit_cost", "leg")
EROSION_NEEDS = (*MARGIN_NEEDS, "leg")


def _is_customers(_: Time) -> Expression:
    """Leave out a marketplace's fee given back: no customer's money."""
    return func.coalesce(refund_lines.c.restock_type, "") != literal_column("'fee'")


def _paid(_: Time) -> Expression:
    return double(refunds.c.amount) * refunds.c.fx_rate


def _recovered(now: Time) -> Expression:
    """Value what goes back on sale as new at its cost: it will be sold again at a price of its own."""
    as_new = recoveries.c.outcome == literal_column("'resold_as_new'")
    at_cost = func.least(recoveries.c.amount, recoveries.c.cost_amount, type_=Money)
    return double(case((as_new, at_cost), else_=recoveries.c.amount)) * recoveries.c.fx_rate


def _is_credit(_: Time) -> Expression:
    return refund_lines.c.restock_type == literal_column("'credit'")


def _not_finished(now: Time) -> Expression:
    closed = ("restocked_at", "disposed_at", "cancelled_at", "rejected_at", "expired_at", "lost_at")
    return and_(now.happened(lots.c.requested_at), *(now.open(lots.c[n]) for n in closed))


METRICS = (
    Metric(
        "gross_margin",
        Text("Gross margin of sales", "Marge brute des ventes"),
        Text(
            "Net sales less the purchase cost of the units sold, without VAT, as booked before any return.",
            "Ventes nettes moins coût d'achat des unités vendues, hors TVA, avant tout retour.",
        ),
        "net sales - purchase cost",
        "",
        "sum of (net - cost)",
        "money",
        "order",
        "up",
        ("order", "price", "unit_cost", "vat", "fx"),
        (MARGIN,),
        family="money",
    ),
    Metric(
        "margin_reversed",
        Text("Reversed margin", "Marge annulée"),
        Text(
            "Gross margin of the sales reversed by returns, without VAT; not a cost.",
            "Marge brute des ventes annulées par les retours, hors TVA ; pas un coût.",
        ),
        "gross margin of returned units, exchanges left out",
        "",
        "sum of (net - cost) of returned units",
        "money",
        "order",
        "down",
        MARGIN_NEEDS,
        (REVERSED,),
        family="money",
    ),
    Metric(
        "return_cost",
        Text("Cost of returns", "Coût des retours"),
        Text(
            "Cost of the returns requested in this period: freight, handling, lost delivery costs, loss in "
            "value, less fees charged; without VAT.",
            "Coût des retours demandés sur la période : transport, traitement, frais de livraison perdus, "
            "perte de valeur, moins les frais facturés ; hors TVA.",
        ),
        "cost components of the returns",
        "",
        "sum of components",
        "money",
        "return",
        "down",
        COST_NEEDS,
        (COST,),
        family="money",
    ),
    Metric(
        "return_cost_per_unit",
        Text("Cost per unit returned", "Coût par unité retournée"),
        Text(
            "Cost of returns divided by the units returned, without VAT.",
            "Coût des retours divisé par les unités retournées, hors TVA.",
        ),
        "cost of returns",
        "units returned",
        "cost / units",
        "money per unit",
        "return",
        "down",
        COST_NEEDS,
        (COST, CONFIRMED),
        shares.ratio_of("cost", "confirmed", nothing=why("nothing_back")),
        family="money",
    ),
    Metric(
        "margin_erosion",
        Text("Margin erosion", "Érosion de la marge"),
        Text(
            "Reversed margin of the returned units plus the cost of their returns; without VAT.",
            "Marge annulée des unités retournées plus le coût de leurs retours ; hors TVA.",
        ),
        "reversed margin and cost of returns of these sales",
        "",
        "reversed margin + cost of returns",
        "money",
        "order",
        "down",
        EROSION_NEEDS,
        (measure("erosion", [*REVERSED.alternatives[0], *COST.alternatives[0]]),),
        family="money",
    ),
    Metric(
        "margin_erosion_share",
        Text("Margin erosion rate", "Taux d'érosion de la marge"),
        Text(
            "Margin erosion as a share of the gross margin of all sales of this period.",
            "Érosion de la marge rapportée à la marge brute de toutes les ventes de la période.",
        ),
        "margin erosion",
        "gross margin of sales",
        "erosion / gross margin",
        "share",
        "order",
        "down",
        EROSION_NEEDS,
        (measure("erosion", [*REVERSED.alternatives[0], *COST.alternatives[0]]), MARGIN),
        shares.ratio_of("erosion", "margin", counted=False, nothing=why("no_margin")),
        is_ratio=True,
        family="money",
    ),
    Metric(
        "recovery_rate",
        Text("Recovered value", "Valeur récupérée"),
        Text(
            "Recovered value of returned goods as a share of their purchase cost, without VAT; goods resold "
            "as new count at most at cost.",
            "Valeur récupérée des articles retournés, rapportée à leur coût d'achat, hors TVA ; les articles "
            "revendus comme neufs comptent au plus à leur coût.",
        ),
        "recovered value",
        "purchase cost of the units",
        "recovered / cost",
        "share",
        "return",
        "up",
        ("return", "recovery", "unit_cost", "fx"),
        (
            measure("recovered", Sum(RECOVERIES, _recovered, lambda _: recoveries.c.cost_amount.is_not(None))),
            measure("cost", Sum(RECOVERIES, money(recoveries, "cost_amount"))),
            measure("n", Sum(RECOVERIES, lambda _: recoveries.c.units)),
        ),
        shares.ratio_of("recovered", "cost", nothing=why("nothing_recovered")),
        is_ratio=True,
        family="money",
    ),
    Metric(
        "refund_amount",
        Text("Refunded", "Remboursé"),
        Text(
            "Amount refunded in this period, with VAT, by date of refund; by product, the amounts of the refund lines.",
            "Montant remboursé sur la période, TVA comprise, à la date de remboursement ; par produit, les "
            "montants des lignes de remboursement.",
        ),
        "amounts refunded, with VAT",
        "",
        "sum of refunds and credits",
        "money",
        "refund",
        "down",
        ("refund|refund_line|stage_refunded", "fx"),
        (
            measure(
                "paid",
                [Sum(REFUNDS, _paid), Sum(CREDIT_LINES, money(refund_lines, "amount"), _is_credit)],
                Sum(CREDIT_LINES, money(refund_lines, "amount"), _is_customers),
            ),
        ),
        family="money",
    ),
    Metric(
        "refund_discrepancy",
        Text("Refund discrepancy", "Écart des remboursements"),
        Text(
            "Amount refunded less the sum of the refund's lines, with VAT; negative when less was paid than "
            "the sum of the lines.",
            "Montant remboursé moins la somme des lignes du remboursement, TVA comprise ; négatif si le "
            "montant versé est inférieur.",
        ),
        "refund - its lines",
        "",
        "sum of (amount - lines)",
        "money",
        "refund",
        "none",
        ("refund", "fx"),
        (measure("gap", Sum(REFUNDS, money(refunds, "discrepancy_amount"))),),
        family="money",
    ),
    Metric(
        "refund_accuracy",
        Text("Refunds equal to their lines", "Remboursements égaux à leurs lignes"),
        Text(
            "Share of the refunds whose amount equals the sum of their lines to the cent.",
            "Part des remboursements dont le montant égale la somme de leurs lignes au centime.",
        ),
        "refunds equal to their lines",
        "refunds with lines",
        "equal / all",
        "share",
        "refund",
        "up",
        ("refund",),
        (
            measure(
                "exact", Sum(REFUNDS, always, lambda _: func.abs(double(refunds.c.discrepancy_amount)) < double(CENT))
            ),
            measure("refunds", Sum(REFUNDS, always, lambda _: refunds.c.discrepancy_amount.is_not(None))),
        ),
        shares.ratio_of("exact", "refunds", interval=True, clustered=False, nothing=why("no_refund")),
        family="money",
    ),
    Metric(
        "value_in_flow",
        Text("Value of goods in return", "Valeur des articles en cours de retour"),
        Text(
            "Purchase cost of the goods requested for return that are not restocked or disposed of, by their "
            "current stage.",
            "Coût d'achat des articles demandés en retour ni remis en stock ni sortis du flux, par étape actuelle.",
        ),
        "purchase cost of units in return",
        "",
        "sum of cost",
        "money",
        "return",
        "down",
        ("return", "unit_cost", "stage_requested", "fx"),
        (measure("value", Sum(LOTS, money(lots, "cost_amount"), _not_finished)),),
        family="money",
    ),
    Metric(
        "measured_cost_share",
        Text("Measured share of cost", "Part mesurée du coût"),
        Text(
            "Share of the cost of returns from invoices and records, not from rules or assumptions.",
            "Part du coût des retours issue de factures et de relevés, et non de règles ou d'hypothèses.",
        ),
        "measured amounts",
        "all amounts, signs left out",
        "measured / all",
        "share",
        "return",
        "up",
        COST_NEEDS,
        (
            measure(
                "measured",
                Sum(
                    LOT_COST,
                    lambda _: func.abs(lot_cost.c.amount, type_=Money),
                    lambda _: lot_cost.c.status == literal_column("'measured'"),
                ),
            ),
            measure("all", Sum(LOT_COST, lambda _: func.abs(lot_cost.c.amount, type_=Money))),
        ),
        shares.ratio_of("measured", "all", counted=False, nothing=why("no_cost")),
        family="money",
    ),
    Metric(
        "claims_open_amount",
        Text("Lost by carriers, not claimed", "Perdu par les transporteurs, non réclamé"),
        Text(
            "Purchase cost of goods lost by carriers and not claimed; `backhaul claims` lists those that can "
            "still be claimed.",
            "Coût d'achat des articles perdus par les transporteurs et non réclamés ; `backhaul claims` liste"
            " ceux qui peuvent encore l'être.",
        ),
        "purchase cost of lost goods without a claim",
        "",
        "sum of costs",
        "money",
        "return",
        "down",
        ("return", "unit_cost", "fx"),
        (
            measure(
                "open",
                Sum(
                    LOST,
                    money(lots, "cost_amount"),
                    lambda now: and_(
                        now.happened(lots.c.lost_at), now.open(lots.c.received_at), now.open(claimed.c.filed_at)
                    ),
                ),
            ),
        ),
        family="cost",
    ),
    Metric(
        "invoice_unmatched_amount",
        Text("Carrier invoices without a parcel", "Factures de transport sans colis"),
        Text(
            "Lines of carriers' invoices, without VAT, that match no return parcel: to be checked before payment.",
            "Lignes de factures de transport, hors TVA, sans colis de retour correspondant : à vérifier avant"
            " paiement.",
        ),
        "amount of unmatched lines",
        "",
        "sum of amounts",
        "money",
        "return",
        "down",
        ("carrier_invoice", "fx"),
        (
            measure(
                "unmatched",
                Sum(
                    INVOICES,
                    lambda _: double(invoices.c.amount) * invoices.c.fx_rate,
                    lambda _: invoices.c.leg_key.is_(None),
                ),
            ),
        ),
        family="cost",
    ),
)
