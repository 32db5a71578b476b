"""Metrics of products and reasons, declared."""

from sqlalchemy import literal_column

from pipelines.metrics.catalogue.development import develop_families
from pipelines.metrics.catalogue.returns import (
    CELL,
    EXPECTED,
    NOTHING_SOLD,
    OF_BUYERS,
    OF_REASONS,
    RETURNED,
    SCORED_UNITS,
    SHARE,
    SOLD,
    R,
)
from pipelines.metrics.declare import Metric, Sum, measure
from pipelines.metrics.facts import ORDERS, SCORED, lots, orders
from pipelines.metrics.facts.conditions import returned, sold
from pipelines.metrics.finish import product, shares
from pipelines.metrics.question import Text
from pipelines.warehouse.engine import Expression
from pipelines.warehouse.rules import Sql, Time
from pipelines.why import why


def _reason(*names: str) -> Sql:
    return lambda _: lots.c.reason.in_([literal_column(f"'{n}'") for n in names])


def _is_known_reason(_: Time) -> Expression:
    return lots.c.reason.not_in([literal_column("'unknown'"), literal_column("'other'")])


def _several(_: Time) -> Expression:
    return orders.c.has_several_sizes


_HELD = Metric(
    "expected_return_rate",
    Text("Rate expected and rate that came", "Taux attendu et taux constaté"),
    Text("What the expected rate is held against.", "Ce à quoi le taux attendu est comparé."),
    *("returned units", "units sold", "final rate, expected rate", "share", "order", "none"),
    R,
    (measure("sold", sold(base=SCORED)), RETURNED, EXPECTED, SCORED_UNITS),
    details=CELL,
    fine_details=(*SHARE, "family"),
    wrap=develop_families,
)
"""Not asked for by itself: the orders of late, with what was expected of them and what came."""
METRICS = (
    Metric(
        "product_return_rate",
        Text("Adjusted return rate", "Taux de retour corrigé"),
        Text(
            "Return rate of a product, shrunk towards the rate of similar products while few units are sold.",
            "Taux de retour d'un produit, rapproché de ses semblables tant que peu d'unités sont vendues.",
        ),
        "returned units + a of similar products",
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
        (*SHARE, "family"),
        develop_families,
        family="products",
        first="returned",
    ),
    Metric(
        "probability_above_category",
        Text("Probability above category rate", "Probabilité de dépasser la catégorie"),
        Text(
            "Probability that the return rate of a product is above its category rate.",
            "Probabilité que le taux de retour d'un produit dépasse celui de sa catégorie.",
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
        (*SHARE, "family"),
        develop_families,
        family="products",
        first="returned",
    ),
    Metric(
        "expected_return_rate",
        Text("Rate expected at order time", "Taux attendu à la commande"),
        Text(
            "Return rate expected of these sales from the data known at order time, with its prediction interval.",
            "Taux de retour attendu de ces ventes d'après les données connues à la commande, avec son "
            "intervalle de prévision.",
        ),
        "sum of predicted probabilities",
        "units sold",
        "mean probability",
        "share",
        "order",
        "none",
        R,
        (EXPECTED, SCORED_UNITS),
        product.expected(_HELD),
        family="products",
    ),
    Metric(
        "own_part",
        Text("Product effect", "Effet produit"),
        Text(
            "Final return rate less the rate expected for average products with the same buyers, in points.",
            "Taux de retour final moins le taux attendu pour des produits moyens avec les mêmes acheteurs, en points.",
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
        (*SHARE, "family"),
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
        shares.share_of_whole("returned", OF_REASONS, why("nothing_returned")),
        family="returns",
        whole=OF_REASONS,
    ),
    Metric(
        "reason_known_share",
        Text("Reasons known", "Motifs connus"),
        Text(
            "Share of the returned units whose reason is recognised; the others are shown as unknown.",
            "Part des unités retournées dont le motif est reconnu ; les autres figurent comme inconnus.",
        ),
        "returned units with a known reason",
        "returned units",
        "known / returned",
        "share",
        "order",
        "up",
        (*R, "reason"),
        (measure("known", returned("units", _is_known_reason)[:1]), RETURNED),
        shares.ratio_of("known", "returned", interval=True, nothing=why("nothing_returned")),
        family="returns",
    ),
    Metric(
        "size_balance",
        Text("Too small or too large", "Trop petit ou trop grand"),
        Text(
            "Balance of the size reasons: +100% when all are too small, -100% when all are too large.",
            "Équilibre des motifs de taille : +100 % si tous sont trop petit, -100 % si tous sont trop grand.",
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
        shares.balance("small", "large", why("no_sizes")),
        family="products",
        parts={"numerator": ("small", "-large"), "denominator": ("small", "large")},
    ),
    # -- workload, on the return date
)
