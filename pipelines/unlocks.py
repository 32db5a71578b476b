"""What the files do not hold: the columns that would fill it, who usually has them, and the numbers they would unlock.

A metric says which kinds of fact it `needs`, a build which it holds. Here stand the columns that fill each kind of fact and the
sentence to send to the person who has them. The columns are headings that `backhaul map` knows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines import metrics
from pipelines.metrics import Text
from pipelines.warehouse.engine import Build

OWNERS = {
    "shop": Text("who runs the shop system", "la personne qui gère la boutique en ligne"),
    "service": Text("customer service", "le service client"),
    "warehouse": Text("the warehouse", "l'entrepôt"),
    "carrier": Text("the carrier", "le transporteur"),
    "finance": Text("finance", "la comptabilité"),
}
EXPORTS = {
    "orders": Text("Please add to the export of orders", "Merci d'ajouter à l'export des commandes"),
    "returns": Text("Please add to the export of returns", "Merci d'ajouter à l'export des retours"),
    "parcels": Text("Please add to the export of return parcels", "Merci d'ajouter à l'export des colis de retour"),
    "file": Text("Please export as a file", "Merci d'exporter dans un fichier"),
    "page": Text(
        "Please write down, so that it can be entered on the page Policies",
        "Merci d'écrire, pour la saisir sur la page Politiques",
    ),
}
COLUMN, COLUMNS = Text("column", "colonne"), Text("columns", "colonnes")
PAGES = {
    "returns": "returns", "products": "products", "workload": "returns", "promises": "promises", "money": "margin", "cost": "margin",
    "carbon": "emissions", "avoided": "emissions", "circularity": "recovery", "data": "data",
}  # fmt: skip
"""The page that shows a family of metrics."""


@dataclass(frozen=True)
class Filling:
    """How a kind of fact gets into the warehouse: what to ask for, in which export and columns, who has it, and what it fills."""

    what: Text
    columns: tuple[str, ...]
    export: str
    owner: str
    fills: tuple[str, ...]


def _stage(stage: str, english: str, french: str, export: str, owner: str) -> Filling:
    return Filling(Text(english, french), (f"{stage}_at",), export, owner, ("return_event.occurred_at",))


FILLINGS = {
    "order": Filling(Text("the order lines", "les lignes de commande"), ("order_id", "order_date", "sku", "quantity", "net_amount", "currency"), "file", "shop", ("order_line.order_line_id",)),
    "return": Filling(Text("the returns, one row per order line that comes back", "les retours, une ligne par ligne de commande retournée"), ("order_line_id", "units_returned", "requested_at", "received_at", "refunded_at"), "file", "shop", ("return_event.event",)),
    "product": Filling(Text("the category of each product", "la catégorie de chaque produit"), ("sku", "category"), "file", "shop", ("product.category",)),
    "unit_cost": Filling(Text("the purchase cost of one unit of each product, without VAT", "le coût d'achat unitaire de chaque produit, hors TVA"), ("sku", "unit_cost", "currency"), "file", "finance", ("product.unit_cost", "product.currency")),
    "vat": Filling(Text("the VAT of each order line", "la TVA de chaque ligne de commande"), ("vat_amount",), "orders", "shop", ("order_line.vat_amount",)),
    "outbound_cost": Filling(Text("what it cost to ship each order line", "le coût d'expédition de chaque ligne de commande"), ("outbound_cost",), "orders", "finance", ("order_line.outbound_cost",)),
    "payment_fee": Filling(Text("the payment fee of each order line", "les frais de paiement de chaque ligne de commande"), ("payment_fee",), "orders", "finance", ("order_line.payment_fee",)),
    "delivery": Filling(Text("the day each order line was delivered", "la date de livraison de chaque ligne de commande"), ("delivered_at",), "orders", "carrier", ("order_line.delivered_at",)),
    "customer": Filling(Text("a customer number on each order line: a code is enough, only its hash is kept", "un numéro de client sur chaque ligne de commande : un code suffit, seule son empreinte est gardée"), ("customer_id",), "orders", "shop", ("order_line.customer_id",)),
    "size": Filling(Text("the size of each product", "la taille de chaque produit"), ("sku", "size"), "file", "shop", ("product.size",)),
    "reason": Filling(Text("the reason of each return", "le motif de chaque retour"), ("return_reason",), "returns", "service", ("return_event.reason_raw",)),
    "decline": Filling(Text("why a request was declined", "pourquoi une demande a été refusée"), ("decline_reason",), "returns", "service", ("return_event.decline_reason",)),
    "method": Filling(Text("how each return is handed over: drop-off, collection, shop", "le mode de dépôt de chaque retour : point relais, enlèvement, magasin"), ("method",), "returns", "shop", ("return_event.method",)),
    "carrier": Filling(Text("the carrier of each return", "le transporteur de chaque retour"), ("carrier",), "returns", "carrier", ("return_event.carrier",)),
    "touch": Filling(Text("whether each step was done by hand, true or false", "si chaque étape a été faite à la main, true ou false"), ("is_manual",), "returns", "service", ("return_event.is_manual",)),
    "inspection": Filling(Text("what inspection found in each return", "ce que le contrôle a constaté sur chaque retour"), ("inspection_outcome",), "returns", "warehouse", ("return_event.inspection_outcome",)),
    "disposition": Filling(Text("what became of each returned unit: sold as new, second hand, destroyed", "ce qu'est devenue chaque unité retournée : revendue comme neuve, en seconde main, détruite"), ("disposition",), "returns", "warehouse", ("return_event.disposition",)),
    "stage_requested": _stage("requested", "the day each return was requested", "la date de demande de chaque retour", "returns", "service"),
    "stage_approved": _stage("approved", "the day each request was approved", "la date d'acceptation de chaque demande", "returns", "service"),
    "stage_label_issued": _stage("label_issued", "the day each label was issued", "la date d'émission de chaque étiquette", "returns", "service"),
    "stage_handed_over": _stage("handed_over", "the day the customer handed each parcel over", "la date de dépôt de chaque colis par le client", "returns", "carrier"),
    "stage_carrier_scan": _stage("carrier_scan", "the day of the carrier's first scan of each parcel", "la date du premier scan de chaque colis par le transporteur", "returns", "carrier"),
    "stage_received": _stage("received", "the day each return was received", "la date de réception de chaque retour", "returns", "warehouse"),
    "stage_inspected": _stage("inspected", "the day each return was inspected", "la date de contrôle de chaque retour", "returns", "warehouse"),
    "stage_refunded": _stage("refunded", "the day each return was refunded", "la date de remboursement de chaque retour", "returns", "finance"),
    "stage_restocked": _stage("restocked", "the day each return was back on sale", "la date de remise en vente de chaque retour", "returns", "warehouse"),
    "policy": Filling(Text("the return policy: days to ask for a return, and the promised days from one step to the next", "la politique de retour : le délai pour demander un retour et les délais promis d'une étape à l'autre"), (), "page", "service", ("policy.promise_id",)),
    "leg": Filling(Text("the transport of each return parcel, one row per leg", "le transport de chaque colis de retour, une ligne par trajet"), ("parcel_id", "started_at", "from_place_id", "to_place_id", "mode", "carrier"), "file", "carrier", ("chain_element.parcel_id",)),
    "leg_cost": Filling(Text("what each transport cost", "le coût de chaque transport"), ("freight_cost",), "parcels", "carrier", ("chain_element.cost_amount", "chain_element.currency")),
    "mass": Filling(Text("the weight of each parcel in kilograms", "le poids de chaque colis en kilogrammes"), ("weight_kg",), "parcels", "carrier", ("chain_element.mass_kg",)),
    "distance": Filling(Text("the distance of each transport in kilometres", "la distance de chaque transport en kilomètres"), ("distance_km",), "parcels", "carrier", ("chain_element.distance_km",)),
    "refund": Filling(Text("the refunds: which order, when, how much including VAT", "les remboursements : quelle commande, quand, combien TVA comprise"), ("order_id", "refund_date", "refund_amount", "currency"), "file", "finance", ("refund.refund_id",)),
    "refund_line": Filling(Text("the refunds by order line, including VAT", "les remboursements par ligne de commande, TVA comprise"), ("refund_id", "order_line_id", "refunded_at", "amount", "currency"), "file", "finance", ("refund_line.refund_line_id",)),
    "recovery": Filling(Text("what returned units were sold for", "le prix de revente des unités retournées"), ("return_line_id", "recovered_at", "units", "disposition", "amount", "currency"), "file", "warehouse", ("recovery.recovery_id",)),
    "carrier_invoice": Filling(Text("the lines of the carriers' invoices", "les lignes des factures des transporteurs"), ("invoice_line_id", "invoice_id", "invoiced_at", "carrier", "parcel_id", "amount", "currency"), "file", "finance", ("carrier_invoice.invoice_line_id",)),
    "fx": Filling(Text("the exchange rates of the currencies you sell in", "les taux de change des devises de vente"), ("day", "currency", "quote_currency", "rate"), "file", "finance", ("fx_rate.rate",)),
}  # fmt: skip


@dataclass(frozen=True)
class Missing:
    """A kind of fact that no source fills: the metrics it alone would unlock, and those that would need others too."""

    fact: str
    numbers: tuple[str, ...]
    later: tuple[str, ...]

    @property
    def filling(self) -> Filling:
        """How to get it."""
        return FILLINGS[self.fact]

    @property
    def pages(self) -> tuple[str, ...]:
        """The pages that would show more, by this fact alone or with others."""
        return tuple(dict.fromkeys(PAGES[metrics.metric(key).family] for key in (*self.numbers, *self.later)))


def needed(build: Build, key: str) -> tuple[str, ...]:
    """Give the kinds of fact a metric waits for: of the source that lacks fewest of them; none when some source fills them all.

    Of a need with a choice ("a|b") the first is given.
    """
    needs = metrics.metric(key).needs
    by_source = metrics.lacking(build, needs) or {"": list(needs)}
    fewest = min(by_source.values(), key=len)
    return tuple(dict.fromkeys(need.split("|")[0] for need in fewest))


def missing(build: Build) -> list[Missing]:
    """List the kinds of fact that some number waits for, those first that unlock most."""
    waiting = {m.key: needed(build, m.key) for m in metrics.catalogue()}
    facts = dict.fromkeys(fact for facts in waiting.values() for fact in facts)
    found = [
        Missing(
            fact,
            tuple(key for key, facts in waiting.items() if facts == (fact,)),
            tuple(key for key, facts in waiting.items() if fact in facts and len(facts) > 1),
        )
        for fact in facts
    ]
    return sorted(found, key=lambda one: (-len(one.numbers), -len(one.later)))


def requests(facts: Iterable[str], language: str = "en") -> dict[str, str]:
    """Write what to send to whom to get these facts: owner -> text, in the order of the owners.

    >>> requests(["delivery"])["carrier"]
    'Please add to the export of orders: the day each order line was delivered (column delivered_at).'
    """
    wanted = list(dict.fromkeys(facts))
    texts = {}
    for owner in OWNERS:
        lines = [_line(export, [f for f in wanted if (FILLINGS[f].owner, FILLINGS[f].export) == (owner, export)], language) for export in EXPORTS]  # fmt: skip
        if text := "\n".join(filter(None, lines)):
            texts[owner] = text
    return texts


def _line(export: str, facts: Sequence[str], language: str) -> str:
    """Write the request for what one export lacks; nothing when it lacks nothing."""

    def said(text: Text) -> str:
        return text.fr if language == "fr" else text.en

    parts = []
    for filling in (FILLINGS[fact] for fact in facts):
        word = said(COLUMNS if len(filling.columns) > 1 else COLUMN)
        parts.append(said(filling.what) + (f" ({word} {', '.join(filling.columns)})" if filling.columns else ""))
    beginning = said(EXPORTS[export]) + ("\u00a0:" if language == "fr" else ":")
    return "\n- ".join([beginning, *parts]) if len(parts) > 1 else f"{beginning} {parts[0]}." if parts else ""
