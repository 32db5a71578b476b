"""Metrics of what comes back: sales, return rates, what is still to come, reasons, workload. Declarations only."""

from sqlalchemy import and_, literal_column

from pipelines.metrics.catalogue.development import (
    KEPT_BY_AGE,
    RETURNED_BY_DELAY,
    counted,
    counted_credit,
    develop,
    develop_families,
    within,
)
from pipelines.metrics.declare import Measure, Metric, Sum, always, both, measure
from pipelines.metrics.facts import (
    CANCELLED_THEN,
    CREDITS,
    LOTS,
    ORDERS,
    SCORED,
    SOLD_THEN,
    bought,
    chances,
    lots,
    matches,
    orders,
)
from pipelines.metrics.facts.conditions import (
    is_bound,
    is_cancellation,
    is_confirmed,
    is_headline,
    money,
    of_type,
    returned,
    sold,
    units,
)
from pipelines.metrics.finish import final, shares
from pipelines.metrics.period import period_rate
from pipelines.metrics.question import Text
from pipelines.warehouse.engine import Expression
from pipelines.warehouse.rules import Sql, Time
from pipelines.warehouse.vocabulary import HEADLINE_RETURN_TYPES
from pipelines.why import why

CELL = ("clock_on", "cell_source", "cell_category", "cell_channel", "cell_window", "cell_ends_on")
SHARE = ("share",)
FINE_CELL = (*SHARE, "doubt")
OF_REASONS = ("return_reason", "reason_family", "preventable_by", "return_type")
NOTHING_SOLD = why("nothing_sold")
SOLD = measure("sold", sold())
RETURNED = measure("returned", returned())
RETURNED_THEN = measure("returned", returned(basis="period"))
SOLD_PERIOD = measure(
    "sold",
    [
        Sum(SOLD_THEN, lambda _: orders.c.units_sold),
        Sum(CANCELLED_THEN, lambda _: -matches.c.units, is_cancellation),
    ],
)


def _is_scored(_: Time) -> Expression:
    return chances.c.probability.is_not(None)


EXPECTED = measure("expected", Sum(SCORED, lambda _: orders.c.units_sold * chances.c.probability, _is_scored))
OF_BUYERS = measure("expected", Sum(SCORED, lambda _: orders.c.units_sold * chances.c.buyer_probability, _is_scored))
SCORED_UNITS = measure("scored", Sum(SCORED, lambda _: orders.c.units_sold, _is_scored))


_headline_type = of_type(*HEADLINE_RETURN_TYPES)


def happened(name: str) -> Sql:
    """Say whether something had happened to a lot."""
    return lambda now: now.happened(lots.c[name])


def counted_lots(name: str, *conditions: Sql) -> Measure:
    """Sum over lots under a condition."""
    return measure(name, Sum(LOTS, units(), both(*conditions)))


def _is_sold(_: Time) -> Expression:
    return orders.c.units_sold > 0


def _marked(*flags: str) -> Sql:
    """Say whether a sold line is marked as returned, by itself or with its order."""
    return lambda _: and_(orders.c.units_sold > 0, orders.c.return_flag.in_([literal_column(f"'{f}'") for f in flags]))


def _flagged(name: str, *flags: str) -> Measure:
    return measure(name, Sum(ORDERS, always, _marked(*(flags or ("line", "order")))))


def _not_settled(now: Time) -> Expression:
    return and_(*(now.open(lots.c[n]) for n in ("refunded_at", "exchanged_at")))


_unpaid = both(is_confirmed(), is_headline(), _not_settled)
R = ("order", "return", "back")
requested = both(_headline_type, happened("requested_at"))

METRICS = (
    Metric(
        "sold_units",
        Text("Units sold", "Unités vendues"),
        Text(
            "Units shipped, without exchanges and without cancellations before shipping.",
            "Unités expédiées, hors échanges et hors annulations avant envoi.",
        ),
        "units shipped",
        "",
        "sum of units sold",
        "units",
        "order",
        "none",
        ("order",),
        (SOLD,),
        family="returns",
    ),
    Metric(
        "returned_units",
        Text("Units returned", "Unités retournées"),
        Text("Units of these sales returned so far.", "Unités de ces ventes déjà retournées."),
        "confirmed returned units",
        "",
        "sum of confirmed returned units",
        "units",
        "order",
        "down",
        R,
        (RETURNED,),
        family="returns",
    ),
    Metric(
        "net_sales",
        Text("Net sales", "Ventes nettes"),
        Text(
            "Price of the units sold after discounts, without VAT.", "Prix des unités vendues après remises, hors TVA."
        ),
        "net amount of units sold",
        "",
        "sum of net amounts",
        "money",
        "order",
        "up",
        ("order", "price", "fx"),
        (measure("sold_value", sold("net_amount")),),
        family="returns",
    ),
    Metric(
        "observed_return_rate",
        Text("Returned so far", "Déjà retourné"),
        Text(
            "Share of the units sold that has been returned so far; it grows until all returns of recent "
            "orders have arrived.",
            "Part des unités vendues déjà retournée ; elle augmente jusqu'à l'arrivée de tous les retours des"
            " commandes récentes.",
        ),
        "confirmed returned units",
        "units sold",
        "returned so far / sold",
        "share",
        "order",
        "down",
        R,
        (RETURNED, SOLD),
        shares.ratio_of("returned", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "maturity",
        Text("Maturity", "Maturité"),
        Text(
            "Share of the expected returns of these sales that should have arrived by now.",
            "Part des retours attendus de ces ventes qui devrait être arrivée.",
        ),
        "units weighed by G at their age",
        "units sold",
        "mean of G(age)",
        "share",
        "order",
        "none",
        R,
        (SOLD, RETURNED),
        final.maturity,
        None,
        CELL,
        FINE_CELL,
        develop,
        family="returns",
        parts={"denominator": ("sold",)},
    ),
    Metric(
        "ultimate_return_rate",
        Text("Expected final rate", "Taux final estimé"),
        Text(
            "Share of the units sold that will be returned once every return has arrived.",
            "Part des unités vendues qui sera retournée une fois tous les retours arrivés.",
        ),
        "returns so far and to come",
        "units sold",
        "returned so far / sum of G(age), with a prior while young",
        "share",
        "order",
        "down",
        R,
        (SOLD, RETURNED),
        final.ultimate,
        None,
        CELL,
        (*FINE_CELL, "family"),
        develop_families,
        family="returns",
        first="returned",
        compared_by="underlying_return_rate",
    ),
    Metric(
        "underlying_return_rate",
        Text("Rate behind the final share", "Taux sous-jacent"),
        Text(
            "Rate that produced the returns of these sales. Its interval also holds chance: the same customers "
            "and products could have given another share.",
            "Taux qui a produit les retours de ces ventes. Son intervalle tient aussi compte du hasard : avec les mêmes"
            " clients et produits, la part aurait pu être autre.",
        ),
        "returns so far and to come",
        "units sold",
        "returned so far / sum of G(age), with a prior while young",
        "share",
        "order",
        "down",
        R,
        (SOLD, RETURNED),
        final.behind,
        None,
        CELL,
        (*FINE_CELL, "family"),
        develop_families,
        family="returns",
        first="returned",
    ),
    Metric(
        "returns_to_come",
        Text("Expected returns", "Retours attendus"),
        Text(
            "Units of these sales that are expected to be returned and have not arrived yet.",
            "Unités de ces ventes attendues en retour et pas encore arrivées.",
        ),
        "units not returned so far x probability of return",
        "",
        "sum of p (1 - G) / (1 - p G)",
        "units",
        "order",
        "down",
        R,
        (SOLD, RETURNED),
        final.to_come,
        None,
        CELL,
        (*FINE_CELL, "family"),
        develop_families,
        family="returns",
    ),
    Metric(
        "returns_to_come_value",
        Text("Value of expected returns", "Valeur des retours attendus"),
        Text(
            "Net sales expected to be reversed by returns that have not arrived yet, without VAT.",
            "Ventes nettes que les retours pas encore arrivés devraient annuler, hors TVA.",
        ),
        "net value of the expected units",
        "",
        "expected units x mean value per expected unit",
        "money",
        "order",
        "down",
        (*R, "price", "fx"),
        (SOLD, RETURNED, measure("sold_value", sold("net_amount")), measure("returned_value", returned("net_amount"))),
        final.to_come_amount("sold_value", "returned_value"),
        None,
        CELL,
        (*FINE_CELL, "family"),
        develop_families,
        family="returns",
    ),
    Metric(
        "returns_to_come_cost",
        Text("Expected goods, at cost", "Articles attendus, au coût d'achat"),
        Text(
            "Purchase cost of the goods expected to be returned that have not arrived yet, without VAT.",
            "Coût d'achat des articles attendus en retour et pas encore arrivés, hors TVA.",
        ),
        "purchase cost of the expected units",
        "",
        "expected units x mean cost per expected unit",
        "money",
        "order",
        "none",
        (*R, "unit_cost", "fx"),
        (SOLD, RETURNED, measure("sold_cost", sold("cost_amount")), measure("returned_cost", returned("cost_amount"))),
        final.to_come_amount("sold_cost", "returned_cost"),
        None,
        CELL,
        (*FINE_CELL, "family"),
        develop_families,
        family="returns",
    ),
    Metric(
        "units_owed",
        Text("Units back and not refunded", "Unités revenues et non remboursées"),
        Text(
            "Units of these sales that a carrier scanned or the retailer received, and that are not refunded yet.",
            "Unités de ces ventes scannées par un transporteur ou reçues, et pas encore remboursées.",
        ),
        "confirmed units not settled",
        "",
        "sum of units",
        "units",
        "order",
        "down",
        (*R, "stage_refunded"),
        (measure("units_owed", Sum(LOTS, units(), _unpaid, of_orders=True)),),
        family="returns",
    ),
    Metric(
        "refunds_owed",
        Text("Refunds payable", "Remboursements dus"),
        Text(
            "Net value of the units of these sales that a carrier scanned or the retailer received, and that are not "
            "refunded yet, without VAT.",
            "Valeur nette des unités de ces ventes scannées par un transporteur ou reçues, et pas encore remboursées, "
            "hors TVA.",
        ),
        "net value confirmed and not settled",
        "",
        "sum of net values",
        "money",
        "order",
        "down",
        (*R, "price", "stage_refunded", "fx"),
        (measure("owed", Sum(LOTS, money(lots, "net_amount"), _unpaid, of_orders=True)),),
        family="returns",
    ),
    Metric(
        "refunds_owed_cost",
        Text("Cost of goods back and not refunded", "Coût des articles revenus et non remboursés"),
        Text(
            "Purchase cost of the units that a carrier scanned or the retailer received, and that are not refunded "
            "yet, without VAT.",
            "Coût d'achat des unités scannées par un transporteur ou reçues, et pas encore remboursées, hors TVA.",
        ),
        "purchase cost confirmed and not settled",
        "",
        "sum of purchase costs",
        "money",
        "order",
        "none",
        (*R, "stage_refunded", "unit_cost", "fx"),
        (measure("owed_cost", Sum(LOTS, money(lots, "cost_amount"), _unpaid, of_orders=True)),),
        family="returns",
    ),
    Metric(
        "window_return_rate",
        Text("Returned within {parameter} days", "Retourné en {parameter} jours"),
        Text(
            "Share of units returned within this number of days of delivery; it compares periods at equal age.",
            "Part des unités retournées dans ce nombre de jours après livraison ; compare les périodes à âge égal.",
        ),
        "units returned within the days",
        "units sold",
        "Kaplan-Meier at that day",
        "share",
        "order",
        "down",
        R,
        (KEPT_BY_AGE, RETURNED_BY_DELAY),
        final.window,
        30,
        ("clock_day",),
        family="returns",
        first="returned",
        only={"numerator": within},
    ),
    Metric(
        "value_return_rate",
        Text("Returned so far, by value", "Déjà retourné, en valeur"),
        Text(
            "Share of net sales whose goods have been returned so far.",
            "Part des ventes nettes dont les articles sont déjà retournés.",
        ),
        "net value of returned units",
        "net sales",
        "returned value / net sales",
        "share",
        "order",
        "down",
        (*R, "price", "fx"),
        (measure("returned_value", returned("net_amount")), measure("sold_value", sold("net_amount"))),
        shares.ratio_of("returned_value", "sold_value", counted=False, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "order_return_rate",
        Text("Orders with a return", "Commandes avec retour"),
        Text(
            "Share of orders with one or more units returned so far.",
            "Part des commandes dont une unité ou plus est déjà retournée.",
        ),
        "orders with a confirmed return",
        "orders",
        "orders with a return / orders",
        "share",
        "order",
        "down",
        R,
        (
            measure(
                "returned",
                [
                    Sum(LOTS, lambda _: lots.c.order_key, counted, distinct=True, of_orders=True),
                    Sum(CREDITS, lambda _: bought.c.order_key, both(counted_credit, is_bound), distinct=True),
                ],
            ),
            measure("sold", Sum(ORDERS, lambda _: orders.c.order_key, _is_sold, distinct=True)),
        ),
        shares.ratio_of("returned", "sold", interval=True, clustered=False, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "request_rate",
        Text("Returns requested", "Retours demandés"),
        Text(
            "Share of the units sold for which a return was requested, whatever its outcome: an early signal.",
            "Part des unités vendues pour lesquelles un retour a été demandé, quelle qu'en soit la suite : un signal"
            " précoce.",
        ),
        "requested units",
        "units sold",
        "requested / sold",
        "share",
        "order",
        "down",
        ("order", "return", "stage_requested"),
        (counted_lots("requested", requested), SOLD),
        shares.ratio_of("requested", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "period_return_rate",
        Text("Returned in the period over sold in it", "Retourné sur vendu dans la période"),
        Text(
            "Units returned in this period over units sold in it, whatever their order; too low while sales "
            "grow, too high while they fall.",
            "Unités retournées sur la période rapportées aux unités vendues sur la période, quelle que soit "
            "la commande ; trop bas quand les ventes augmentent, trop haut quand elles baissent.",
        ),
        "units returned in the period",
        "units sold in the period",
        "returned in the period / sold in the period",
        "share",
        "period",
        "down",
        R,
        (RETURNED_THEN, SOLD_PERIOD),
        period_rate,
        is_ratio=True,
        family="returns",
    ),
    Metric(
        "flagged_line_rate",
        Text("Lines marked as returned", "Lignes marquées retournées"),
        Text(
            "Share of the lines sold that the source marks as returned, without a date; an upper bound where it marks"
            " whole orders.",
            "Part des lignes vendues que la source marque comme retournées, sans date ; une borne supérieure "
            "là où elle marque des commandes entières.",
        ),
        "lines marked as returned",
        "lines sold",
        "marked / sold",
        "share",
        "order",
        "down",
        ("order", "return_flag"),
        (
            _flagged("flagged"),
            measure("sold", Sum(ORDERS, always, _is_sold)),
            _flagged("of_orders", "order"),
            measure("orders", Sum(ORDERS, lambda _: orders.c.order_key, _marked("order"), distinct=True)),
        ),
        shares.flagged,
        instead_of="observed_return_rate",
        family="returns",
    ),
    Metric(
        "flagged_order_rate",
        Text("Orders marked as returned", "Commandes marquées retournées"),
        Text(
            "Share of the orders of which the source marks a line or the whole as returned, without a date.",
            "Part des commandes dont la source marque une ligne ou l'ensemble comme retourné, sans date.",
        ),
        "orders marked as returned",
        "orders",
        "marked / orders",
        "share",
        "order",
        "down",
        ("order", "return_flag"),
        (
            measure("flagged", Sum(ORDERS, lambda _: orders.c.order_key, _marked("line", "order"), distinct=True)),
            measure("sold", Sum(ORDERS, lambda _: orders.c.order_key, _is_sold, distinct=True)),
        ),
        shares.ratio_of("flagged", "sold", interval=True, clustered=False, nothing=NOTHING_SOLD),
        instead_of="observed_return_rate",
        family="returns",
    ),
    Metric(
        "refused_rate",
        Text("Refused or not collected", "Refusé ou non retiré"),
        Text(
            "Share of the units sold that the customer refused or never collected: a failed delivery, not a return.",
            "Part des unités vendues refusées ou jamais retirées : un échec de livraison, pas un retour.",
        ),
        "units refused or not collected",
        "units sold",
        "refused / sold",
        "share",
        "order",
        "down",
        ("order", "return", "refusal"),
        (counted_lots("refused", of_type("refused", "uncollected")), SOLD),
        shares.ratio_of("refused", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "exchange_rate",
        Text("Exchanged", "Échangé"),
        Text(
            "Share of the units sold that were returned for an exchange.",
            "Part des unités vendues retournées pour un échange.",
        ),
        "units returned for exchange",
        "units sold",
        "exchanged / sold",
        "share",
        "order",
        "none",
        (*R, "exchange"),
        (counted_lots("exchanged", is_confirmed(), of_type("exchange")), SOLD),
        shares.ratio_of("exchanged", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "conformity_rate",
        Text("Faulty goods claims", "Réclamations de conformité"),
        Text(
            "Share of the units sold that were returned because they were faulty or not as described.",
            "Part des unités vendues retournées pour défaut de conformité.",
        ),
        "units returned under conformity",
        "units sold",
        "conformity / sold",
        "share",
        "order",
        "down",
        (*R, "conformity"),
        (counted_lots("conformity", is_confirmed(), of_type("conformity")), SOLD),
        shares.ratio_of("conformity", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
)
