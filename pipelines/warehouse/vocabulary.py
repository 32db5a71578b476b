"""The words that the columns of logs and facts may hold: events, reasons, dispositions, stages, units."""

from typing import Any

from sqlalchemy import Numeric
from sqlalchemy.types import TypeEngine

Money = Numeric(18, 4)
Kind = TypeEngine[Any] | type[TypeEngine[Any]]

TEXTS = {
    "key": "An id: one with an @ is a keyed hash in the log",
    "code": (
        "A word of the shop's or a system's: kept when it is one or two words without an @ or five digits, or at least"
        " five lines share it; else a keyed hash"
    ),
    "label": (
        "What a catalogue, a policy or a carrier is called by: kept without an @, seven digits or 300 characters, or"
        " when at least five lines share it; else a keyed hash"
    ),
    "days": "Days: digits, hyphens and blanks; anything else is a keyed hash",
    "free": (
        "What somebody worded: kept when data/reasons.csv knows it or at least five lines share it; else a keyed hash"
    ),
    "place": "A postcode or area: country and two characters",
    "customer": "A customer: a keyed hash",
    "note": "A customer's note: the concepts it speaks of",
    "json": "Dimensions of one's own: each text is kept like a code",
}
"""Classes of the columns that hold text without a vocabulary: what of it the log keeps."""
LABELS = {
    "carrier",
    "category",
    "brand",
    "supplier",
    "season",
    "size",
    "colour",
    "size_note",
    "channel",
    "loyalty_tier",
    "legal_entity",
    "methods",
    "market",
}

EVENTS = (
    "requested",
    "declared",
    "acknowledged",
    "approved",
    "rejected",
    "label_issued",
    "handed_over",
    "carrier_scan",
    "received",
    "inspected",
    "refunded",
    "credited",
    "exchanged",
    "restocked",
    "disposed",
    "cancelled",
    "expired",
    "lost",
    "delivery_refused",
    "uncollected",
    "returned_to_sender",
)
RETURN_TYPES = (
    "withdrawal",
    "commercial",
    "exchange",
    "conformity",
    "seller_error",
    "refused",
    "uncollected",
    "price_adjustment",
)
HEADLINE_RETURN_TYPES = ("withdrawal", "commercial", "exchange")
DISPOSITIONS = (
    "as_new",
    "b_stock",
    "marked_down",
    "repaired",
    "refurbished",
    "donated",
    "recycled",
    "return_to_supplier",
    "destroyed",
)
WASTE_TREATMENTS = ("preparing_for_reuse", "recycling", "other_recovery", "disposal")
"""What an operator did with discarded units, as Directive 2008/98/EC Art. 3(15) to (19) calls it."""
INSPECTION_OUTCOMES = ("match", "empty", "swapped", "worn", "missing_part")
REASONS = (
    "size_small",
    "size_large",
    "fit_other",
    "colour_style",
    "not_as_described",
    "quality_defect",
    "damaged_transit",
    "wrong_item",
    "late",
    "changed_mind",
    "bracketing",
    "gift",
    "fraud_abuse",
    "other",
    "unknown",
)
DECLINE_REASONS = ("outside_window", "final_sale", "hygiene", "used", "not_ours", "other")
RETURN_FLAGS = ("line", "order")
LINE_TYPES = ("goods", "shipping", "fee", "discount", "gift_card", "adjustment", "write_off")
PLACE_KINDS = (
    "store",
    "drop_off",
    "locker",
    "hub",
    "returns_centre",
    "warehouse",
    "refurbisher",
    "recycler",
    "landfill",
    "customer_area",
)
METHODS = ("drop_off", "locker", "home_pickup", "store", "mail")
REFUND_TRIGGERS = ("carrier_scan", "received", "inspected")
EXCEPTIONS = ("final_sale", "hygiene")
ELEMENT_TYPES = ("transport", "hub", "activity")
ROLES = ("customer_trip", "packaging", "first_mile", "hub", "trunk", "treatment", "onward")
ACTIVITY_UNITS = ("kWh", "l", "kg", "t", "m3", "km", "t.km", "m2.day", "m3.day", "pallet.day", "item")
SHARE_KEYS = ("parcels", "mass", "tonne_km")
MODES = ("foot", "bike", "car", "bus", "van", "truck", "rail", "sea", "air", "site")
INVOICE_KINDS = ("freight", "fuel", "surcharge", "duty", "other")
HANDLING = ("receipt", "inspection", "grading", "reconditioning", "repacking", "putaway")
COST_COMPONENTS = (
    "outbound_shipping",
    "payment_fee",
    "commission",
    "return_freight",
    "duties",
    "handling",
    "value_loss",
    "disposal",
    "fee_charged",
    "carrier_claim",
)
CLAIM_KINDS = ("lost", "damaged", "late")
DISTANCE_TYPES = ("actual", "shortest_feasible", "great_circle")
TEMPERATURES = ("ambient", "chilled", "frozen")
STAGES = (
    "declared",
    "requested",
    "acknowledged",
    "approved",
    "label_issued",
    "handed_over",
    "carrier_scan",
    "received",
    "inspected",
    "refunded",
    "restocked",
)
DURATION_UNITS = ("clock_hours", "calendar_days", "business_days", "carrier_days")
FACT_OF = {
    "order_line": "fact_order_line",
    "return_event": "fact_return_line",
    "refund": "fact_refund",
    "refund_line": "fact_refund_line",
    "recovery": "fact_recovery",
    "chain_element": "fact_return_leg",
    "carrier_invoice": "fact_carrier_invoice",
    "carrier_claim": "fact_carrier_claim",
}
