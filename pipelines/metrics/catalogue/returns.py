"""Metrics of what comes back: sales, return rates, what is still to come, reasons, workload. Declarations only."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Select, and_, func, literal_column, or_, select

from pipelines.metrics.declare import Ask, Base, Measure, Metric, Sum, always, both, measure
from pipelines.metrics.facts import (
    CANCELLED_THEN,
    CREDITS,
    LOTS,
    ORDERS,
    SCORED,
    SOLD_THEN,
    bought,
    chances,
    credited,
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
from pipelines.metrics.finish import final, product, shares
from pipelines.metrics.period import period_rate
from pipelines.metrics.question import Text
from pipelines.warehouse.engine import Expression, calendar_days, double
from pipelines.warehouse.rules import Sql, Time, curve_share, curves, on_curve
from pipelines.warehouse.vocabulary import HEADLINE_RETURN_TYPES

CELL = ("clock_on", "cell_source", "cell_category", "cell_channel", "cell_window", "cell_ends_on")
FINE_CELL = ("share",)
OF_REASONS = ("return_reason", "reason_family", "preventable_by", "return_type")
NOTHING_SOLD = "nothing sold in this selection"
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


def develop(chosen: Select[Any], ask: Ask, columns: list[str], family: bool = False) -> Select[Any]:
    """Join the development curve to units grouped by the day their clock started.

    Columns: groups, `share` (see curve_share), sums.
    """
    cohort = chosen.subquery("cohort")
    now = Time(cohort.c.cell_source, ask.as_of, ask.observed)
    names = {
        "source": "source",
        "category": "category",
        "channel": "channel",
        "window_days": "window",
        "window_ends_on": "ends_on",
    }
    cell = {n: cohort.c[f"cell_{c}"] for n, c in names.items()}
    groups = [cohort.c[b] for b in ask.by] + ([cohort.c.cell_category.label("family")] if family else [])
    aged = (
        select(*groups, curve_share(cohort.c.clock_on, now).label("share"), *(cohort.c[c] for c in columns))
        .select_from(cohort)
        .outerjoin(curves, on_curve(cohort.c.clock_on, cell, now))
        .subquery("aged")
    )
    keys = [aged.c[g.name] for g in groups] + [aged.c.share]
    return select(*keys, *(func.sum(aged.c[c]).label(c) for c in columns)).group_by(*keys)


def develop_families(chosen: Select[Any], ask: Ask, columns: list[str]) -> Select[Any]:
    """Develop, and keep the category of the units apart as `family`."""
    return develop(chosen, ask, columns, family=True)


def _age(table: Any) -> Sql:
    return lambda now: calendar_days(table.c.clock_started_at, now.at)


def _delay(table: Any) -> Sql:
    return lambda _: calendar_days(table.c.clock_started_at, table.c.confirmed_at)


ORDERS_BY_AGE = replace(ORDERS, name="orders_by_age", details={"clock_day": _age(orders)})
LOTS_BY_AGE = replace(LOTS, name="lots_by_age", details={"clock_day": _age(lots)})
LOTS_BY_DELAY = replace(LOTS, name="lots_by_delay", details={"clock_day": _delay(lots)})
CREDITS_BY_AGE = replace(CREDITS, name="credits_by_age", details={"clock_day": _age(bought)})
CREDITS_BY_DELAY = replace(
    CREDITS,
    name="credits_by_delay",
    details={"clock_day": lambda _: calendar_days(bought.c.clock_started_at, credited.c.confirmed_at)},
)


def _within(base: Base, ask: Ask, now: Time) -> Expression:
    """Keep what came back within the days asked for."""
    return base.details["clock_day"](now).between(0, int(ask.parameter or 30))


_counted = both(is_confirmed(), is_headline())
_counted_credit = both(is_confirmed(credited), is_headline(credited))
KEPT_BY_AGE = measure(
    "sold",
    [
        Sum(ORDERS_BY_AGE, lambda _: orders.c.units_sold),
        Sum(LOTS_BY_AGE, lambda _: -lots.c.units, _counted, of_orders=True),
        Sum(CREDITS_BY_AGE, lambda _: -matches.c.units, _counted_credit),
    ],
)
RETURNED_BY_DELAY = measure(
    "returned",
    [
        Sum(LOTS_BY_DELAY, units(), _counted, of_orders=True),
        Sum(CREDITS_BY_DELAY, lambda _: matches.c.units, both(_counted_credit, is_bound)),
    ],
)

_headline_type = of_type(*HEADLINE_RETURN_TYPES)


def _reason(*names: str) -> Sql:
    return lambda _: lots.c.reason.in_([literal_column(f"'{n}'") for n in names])


def _is_known_reason(_: Time) -> Expression:
    return lots.c.reason.not_in([literal_column("'unknown'"), literal_column("'other'")])


def _mismatched(_: Time) -> Expression:
    return lots.c.inspection_outcome != literal_column("'match'")


def _outcome_known(_: Time) -> Expression:
    return lots.c.inspection_outcome.is_not(None)


def _before_inspection(now: Time) -> Expression:
    seen = or_(now.open(lots.c.inspected_at), lots.c.inspected_at > lots.c.refunded_at)
    return and_(now.happened(lots.c.requested_at), now.happened(lots.c.refunded_at), seen)


def _happened(name: str) -> Sql:
    return lambda now: now.happened(lots.c[name])


def _not_yet(*names: str) -> Sql:
    return lambda now: and_(*(now.open(lots.c[n]) for n in names))


def _lots(name: str, *conditions: Sql) -> Measure:
    return measure(name, Sum(LOTS, units(), both(*conditions)))


def _is_sold(_: Time) -> Expression:
    return orders.c.units_sold > 0


def _marked(*flags: str) -> Sql:
    """Say whether a sold line is marked as returned, by itself or with its order."""
    return lambda _: and_(orders.c.units_sold > 0, orders.c.return_flag.in_([literal_column(f"'{f}'") for f in flags]))


def _flagged(name: str, *flags: str) -> Measure:
    return measure(name, Sum(ORDERS, always, _marked(*(flags or ("line", "order")))))


def _several(_: Time) -> Expression:
    return orders.c.has_several_sizes


def _not_settled(now: Time) -> Expression:
    return and_(*(now.open(lots.c[n]) for n in ("refunded_at", "exchanged_at")))


_unpaid = both(is_confirmed(), is_headline(), _not_settled)
R = ("order", "return")
_requested = both(_headline_type, _happened("requested_at"))

METRICS = (
    Metric(
        "sold_units",
        Text("Units sold", "Unités vendues"),
        Text(
            "Units of goods shipped, without exchanges and without what was cancelled first.",
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
        Text("Units of these sales that have come back so far.", "Unités de ces ventes déjà revenues."),
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
            "Share of the units sold that is already back; it still grows while orders are young.",
            "Part des unités vendues déjà revenue ; elle augmente encore tant que les commandes sont récentes.",
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
        Text("Share already back", "Part déjà revenue"),
        Text(
            "Of all returns these sales will bring, the share that should be back by now.",
            "Sur tous les retours que ces ventes entraîneront, la part qui devrait déjà être revenue.",
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
            "Share of the units sold that will have come back once every return has arrived.",
            "Part des unités vendues qui sera revenue une fois tous les retours arrivés.",
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
        FINE_CELL,
        develop,
        family="returns",
        first="returned",
    ),
    Metric(
        "returns_to_come",
        Text("Returns still to come", "Retours encore à venir"),
        Text(
            "Units of these sales expected back that have not arrived yet.",
            "Unités de ces ventes attendues en retour et pas encore revenues.",
        ),
        "units kept so far x chance to come",
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
        FINE_CELL,
        develop,
        family="returns",
    ),
    Metric(
        "returns_to_come_value",
        Text("Value of returns still to come", "Valeur des retours encore à venir"),
        Text(
            "Net sales expected to be undone by returns that have not arrived yet, without VAT.",
            "Ventes nettes que les retours pas encore arrivés devraient annuler, hors TVA.",
        ),
        "net value of the units to come",
        "",
        "units to come x mean value of a coming unit",
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
        Text("Goods to come, at cost", "Articles à revenir, au coût"),
        Text(
            "Purchase cost of the goods expected back that have not arrived yet, without VAT.",
            "Coût d'achat des articles attendus en retour et pas encore arrivés, hors TVA.",
        ),
        "purchase cost of the units to come",
        "",
        "units to come x mean cost of a coming unit",
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
        Text("Units back and not paid", "Unités revenues et non remboursées"),
        Text(
            "Units of these sales that are back and whose money has not been given back yet.",
            "Unités de ces ventes déjà revenues et pas encore remboursées.",
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
        Text("Refunds owed", "Remboursements dus"),
        Text(
            "Net value of the units of these sales that are back and whose money has not been given back yet, without"
            " VAT.",
            "Valeur nette des unités de ces ventes déjà revenues et pas encore remboursées, hors TVA.",
        ),
        "net value back and not paid",
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
        Text("Cost of goods back and not paid", "Coût des articles revenus et non remboursés"),
        Text(
            "Purchase cost of the units that are back and whose money has not been given back yet, without VAT.",
            "Coût d'achat des unités déjà revenues et pas encore remboursées, hors TVA.",
        ),
        "purchase cost back and not paid",
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
            "Share of units back within so many days of delivery; compares periods of different age fairly.",
            "Part des unités revenues dans ce nombre de jours après livraison ; compare équitablement des périodes"
            " d'âges différents.",
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
        only={"numerator": _within},
    ),
    Metric(
        "value_return_rate",
        Text("Returned so far, by value", "Déjà retourné, en valeur"),
        Text(
            "Share of net sales whose goods are already back.",
            "Part des ventes nettes dont les articles sont déjà revenus.",
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
            "Share of orders of which at least one unit is already back.",
            "Part des commandes dont au moins une unité est déjà revenue.",
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
                    Sum(LOTS, lambda _: lots.c.order_key, _counted, distinct=True, of_orders=True),
                    Sum(CREDITS, lambda _: bought.c.order_key, both(_counted_credit, is_bound), distinct=True),
                ],
            ),
            measure("sold", Sum(ORDERS, lambda _: orders.c.order_key, _is_sold, distinct=True)),
        ),
        shares.ratio_of("returned", "sold", interval=True, clustered=False, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "request_rate",
        Text("Returns asked for", "Retours demandés"),
        Text(
            "Share of the units sold for which a return was asked, whatever became of it: an early signal.",
            "Part des unités vendues pour lesquelles un retour a été demandé, quelle qu'en soit la suite : un signal"
            " précoce.",
        ),
        "requested units",
        "units sold",
        "requested / sold",
        "share",
        "order",
        "down",
        (*R, "stage_requested"),
        (_lots("requested", _requested), SOLD),
        shares.ratio_of("requested", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "period_return_rate",
        Text("Returned in the period over sold in it", "Retourné sur vendu dans la période"),
        Text(
            "Units that came back in these days over the units sold in them, whatever order they belong to; too low"
            " while sales grow, too high while they fall.",
            "Unités revenues ces jours-là rapportées aux unités vendues ces jours-là, quelle que soit la commande ;"
            " trop bas quand les ventes augmentent, trop haut quand elles baissent.",
        ),
        "units that came back in the period",
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
            "Part des lignes vendues que la source marque comme retournées, sans date ; une borne haute là où elle"
            " marque des commandes entières.",
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
        R,
        (_lots("refused", of_type("refused", "uncollected")), SOLD),
        shares.ratio_of("refused", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "exchange_rate",
        Text("Exchanged", "Échangé"),
        Text(
            "Share of the units sold that came back for an exchange.",
            "Part des unités vendues revenues pour un échange.",
        ),
        "units returned for exchange",
        "units sold",
        "exchanged / sold",
        "share",
        "order",
        "none",
        R,
        (_lots("exchanged", is_confirmed(), of_type("exchange")), SOLD),
        shares.ratio_of("exchanged", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "conformity_rate",
        Text("Faulty goods claims", "Réclamations de conformité"),
        Text(
            "Share of the units sold that came back because they were faulty or not as sold.",
            "Part des unités vendues revenues pour défaut de conformité.",
        ),
        "units returned under conformity",
        "units sold",
        "conformity / sold",
        "share",
        "order",
        "down",
        R,
        (_lots("conformity", is_confirmed(), of_type("conformity")), SOLD),
        shares.ratio_of("conformity", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
)

OF_PRODUCTS = (
    Metric(
        "product_return_rate",
        Text("Adjusted return rate", "Taux de retour corrigé"),
        Text(
            "Return rate of a product, pulled towards products like it as long as few units were sold.",
            "Taux de retour d'un produit, rapproché de ses semblables tant que peu d'unités sont vendues.",
        ),
        "returned units + a of its likes",
        "exposed units + a + b",
        "(r + a) / (n + a + b)",
        "share",
        "order",
        "down",
        R,
        (SOLD, RETURNED),
        product.product(product.shrunk),
        None,
        CELL,
        (*FINE_CELL, "family"),
        develop_families,
        family="products",
        first="returned",
    ),
    Metric(
        "probability_above_category",
        Text("Surely above its category", "Sûrement au-dessus de sa catégorie"),
        Text(
            "How sure we are that a product comes back more than its category.",
            "Notre certitude qu'un produit revient plus que sa catégorie.",
        ),
        "posterior above the category's rate",
        "",
        "P(rate > a / (a + b))",
        "share",
        "order",
        "down",
        R,
        (SOLD, RETURNED),
        product.product(product.above),
        None,
        CELL,
        (*FINE_CELL, "family"),
        develop_families,
        family="products",
        first="returned",
    ),
    Metric(
        "expected_return_rate",
        Text("Rate expected at order time", "Taux attendu à la commande"),
        Text(
            "Return rate that was to be expected of these sales from what was known when they were ordered; the"
            " interval is where it should lie.",
            "Taux de retour qu'on pouvait attendre de ces ventes d'après ce qui était connu à la commande ; il devrait"
            " se situer dans l'intervalle.",
        ),
        "sum of predicted probabilities",
        "units sold",
        "mean probability",
        "share",
        "order",
        "none",
        R,
        (EXPECTED, SCORED_UNITS),
        product.expected,
        family="products",
    ),
    Metric(
        "own_part",
        Text("The product's own part", "La part propre au produit"),
        Text(
            "Final return rate less what usual products would see from the same buyers: what the product adds by"
            " itself, in points.",
            "Taux final moins celui de produits ordinaires chez les mêmes acheteurs : ce que le produit ajoute de"
            " lui-même, en points.",
        ),
        "final rate - rate expected of its buyers",
        "",
        "final - expected",
        "share",
        "order",
        "down",
        R,
        (measure("sold", sold(base=SCORED)), RETURNED, OF_BUYERS, SCORED_UNITS),
        product.own_part,
        None,
        CELL,
        (*FINE_CELL, "family"),
        develop_families,
        family="products",
        first="returned",
    ),
    Metric(
        "several_sizes_share",
        Text("Several sizes ordered", "Commande de plusieurs tailles"),
        Text(
            "Share of the units sold in orders that hold the same style in two or more sizes.",
            "Part des unités vendues dans des commandes contenant le même modèle en plusieurs tailles.",
        ),
        "units in orders of several sizes",
        "units sold",
        "several sizes / sold",
        "share",
        "order",
        "down",
        ("order", "size"),
        (measure("several", Sum(ORDERS, lambda _: orders.c.units_sold, _several)), SOLD),
        shares.ratio_of("several", "sold", interval=True, nothing=NOTHING_SOLD),
        family="returns",
    ),
    Metric(
        "sales_share",
        Text("Share of sales", "Part des ventes"),
        Text(
            "Share of the units sold that each group makes up: the mix.",
            "Part des unités vendues que représente chaque groupe : le mix.",
        ),
        "units sold of the group",
        "units sold",
        "sold / all sold",
        "share",
        "order",
        "none",
        ("order",),
        (SOLD,),
        shares.share_of_whole("sold", None, NOTHING_SOLD),
        family="returns",
        whole=(),
    ),
    Metric(
        "reason_share",
        Text("Share of the reason", "Part du motif"),
        Text(
            "Share of the returned units that each reason makes up, unknown ones included.",
            "Part des unités retournées que représente chaque motif, motifs inconnus compris.",
        ),
        "returned units of the reason",
        "returned units",
        "returned for the reason / returned",
        "share",
        "order",
        "none",
        (*R, "reason"),
        (RETURNED,),
        shares.share_of_whole("returned", OF_REASONS, "nothing returned in this selection"),
        family="returns",
        whole=OF_REASONS,
    ),
    Metric(
        "reason_known_share",
        Text("Reasons known", "Motifs connus"),
        Text(
            "Share of the returned units whose reason was given in words we know; the others are shown as unknown.",
            "Part des unités retournées dont le motif est donné en termes connus ; les autres figurent comme inconnus.",
        ),
        "returned units with a known reason",
        "returned units",
        "known / returned",
        "share",
        "order",
        "up",
        (*R, "reason"),
        (measure("known", returned("units", _is_known_reason)[:1]), RETURNED),
        shares.ratio_of("known", "returned", interval=True, nothing="nothing returned in this selection"),
        family="returns",
    ),
    Metric(
        "size_balance",
        Text("Too small or too large", "Trop petit ou trop grand"),
        Text(
            "Balance of the size reasons: +100% when all say too small, -100% when all say too large.",
            "Équilibre des motifs de taille : +100 % si tous disent trop petit, -100 % si tous disent trop grand.",
        ),
        "too small - too large",
        "too small + too large",
        "(small - large) / (small + large)",
        "share",
        "order",
        "none",
        (*R, "reason"),
        (
            measure("small", returned("units", _reason("size_small"))[:1]),
            measure("large", returned("units", _reason("size_large"))[:1]),
        ),
        shares.balance("small", "large", "no size reasons in this selection"),
        family="products",
        parts={"numerator": ("small", "-large"), "denominator": ("small", "large")},
    ),
    # -- workload, on the return date
)

ON_THE_WAY = (
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
        (_lots("requested", _requested),),
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
        ("return",),
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
        (measure("refunded", returned("units", _happened("refunded_at"), basis="refund")),),
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
        (_lots("received", _happened("received_at")),),
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
            _lots(
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
            _lots(
                "waiting", _happened("received_at"), _not_yet("inspected_at", "restocked_at", "disposed_at", "lost_at")
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
            _lots(
                "missing",
                _happened("received_at"),
                _not_yet("carrier_scan_at"),
                lambda _: lots.c.method != literal_column("'store'"),
            ),
            _lots("received", _happened("received_at"), lambda _: lots.c.method != literal_column("'store'")),
        ),
        shares.ratio_of("missing", "received", interval=True, nothing="nothing received by carrier in this selection"),
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
            _lots("lost", _happened("lost_at")),
            _lots(
                "handed_over",
                lambda now: or_(
                    now.happened(lots.c.handed_over_at),
                    now.happened(lots.c.carrier_scan_at),
                    now.happened(lots.c.lost_at),
                ),
            ),
        ),
        shares.ratio_of("lost", "handed_over", interval=True, nothing="nothing handed over in this selection"),
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
            _lots("mismatched", _happened("inspected_at"), _mismatched),
            _lots("inspected", _happened("inspected_at"), _outcome_known),
        ),
        shares.ratio_of("mismatched", "inspected", interval=True, nothing="nothing inspected in this selection"),
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
            _lots("approved", _happened("approved_at"), _not_yet("rejected_at")),
            _lots("decided", lambda now: or_(now.happened(lots.c.approved_at), now.happened(lots.c.rejected_at))),
        ),
        shares.ratio_of("approved", "decided", interval=True, nothing="nothing decided in this selection"),
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
        (_lots("cancelled", _requested, _happened("cancelled_at")), _lots("requested", _requested)),
        shares.ratio_of("cancelled", "requested", interval=True, nothing="nothing asked back in this selection"),
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
        (_lots("expired", _requested, _happened("expired_at")), _lots("requested", _requested)),
        shares.ratio_of("expired", "requested", interval=True, nothing="nothing asked back in this selection"),
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
