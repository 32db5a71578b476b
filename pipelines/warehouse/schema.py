"""The warehouse's tables: the logs that sources fill and the star schema that readers query.

Two MetaData: `LOG` (one typed, append-only log per thing; also the canonical file format, column for column) and `STAR`
(dimensions, facts, estimates; one finished build). Every table states its grain and every column its meaning and unit.
What happened is in `fact_`; what a model or rule thinks is in `estimate_`; they never share a table. No query lives
here.
"""

import hashlib
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Double, Integer, MetaData, Numeric, String, Table
from sqlalchemy.types import TypeEngine

LOG = MetaData()
STAR = MetaData()

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
STAGES = (
    "requested",
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


def _col(
    name: str,
    kind: Kind,
    comment: str,
    *,
    required: bool = False,
    default: object = None,
    values: tuple[str, ...] | None = None,
    text: str | None = None,
) -> Column[Any]:
    is_text = kind is String and values is None
    text = text or ("key" if name.endswith("_id") else "label" if name in LABELS else "code") if is_text else None
    info = {"required": required, "default": default, "values": values, "text": text}
    return Column(name, kind, comment=comment, nullable=not required, info=info)


def _log(name: str, grain: str, key: tuple[str, ...], time: str, *columns: Column[Any]) -> Table:
    """Declare a log. `key` are the columns that identify a thing, `time` the column that says when it happened."""
    common = (
        _col("system", String, "System that recorded the row, for freshness; the source when a file does not say"),
        _col("recorded_at", DateTime, "When the source recorded this version (UTC); the time it happened when absent"),
        _col("is_deleted", Boolean, "True when the source took the row back", default=False),
    )
    return Table(name, LOG, *columns, *common, comment=grain, info={"key": key, "time": time})


order_line = _log(
    "order_line",
    "One line of an order: one SKU, its units and its price.",
    ("order_line_id",),
    "ordered_at",
    _col("order_line_id", String, "Id of the line, unique in the source", required=True),
    _col("order_id", String, "Id of the order", required=True),
    _col("ordered_at", DateTime, "When the order was placed (UTC)", required=True),
    _col("product_id", String, "SKU; empty for lines that are not goods"),
    _col("units", Integer, "Units ordered", required=True),
    _col("units_cancelled", Integer, "Units cancelled before shipping: neither sold nor returned", default=0),
    _col(
        "units_shipped",
        Integer,
        "Units that have left so far, where the source counts them: only these are sold; empty: not counted",
    ),
    _col("line_type", String, "What the line is; only goods are sold units", default="goods", values=LINE_TYPES),
    _col(
        "net_amount",
        Money,
        "Price of the line after discounts, excluding VAT, all units; a file without prices leaves the column out",
    ),
    _col("vat_amount", Money, "VAT of the line; empty when the tax basis is unknown"),
    _col("discount_amount", Money, "Discount given on the line, excluding VAT"),
    _col("currency", String, "ISO 4217 currency of the amounts", required=True),
    _col("unit_cost", Money, "Purchase cost of one unit, excluding VAT, when the order system knows it"),
    _col("outbound_cost", Money, "Cost of shipping the line to the customer, excluding VAT"),
    _col("payment_fee", Money, "Payment fee of the line, excluding VAT"),
    _col("commission_amount", Money, "Commission of the marketplace on the line, excluding VAT"),
    _col("customer_id", String, "Customer in the source; a keyed hash in the log", text="customer"),
    _col("customer_area", String, "Postcode in a file; country and first two characters in the log", text="place"),
    _col("country", String, "ISO 3166 alpha-2 country the goods go to (the market)", required=True),
    _col("shop_id", String, "Shop of the order"),
    _col("channel", String, "Sales channel: web, app, store, marketplace or phone", default="web"),
    _col("carrier", String, "Carrier of the outbound delivery"),
    _col("shipped_at", DateTime, "When the goods left (UTC)"),
    _col("delivered_at", DateTime, "When the goods reached the customer (UTC)"),
    _col("exchanged_from_line_id", String, "Order line this one replaces, for exchanges"),
    _col("seller", String, "Seller, on a marketplace"),
    _col("sold_on", String, "Marketplace the line was sold on"),
    _col("fulfilled_by", String, "Who shipped it"),
    _col("loyalty_tier", String, "Loyalty tier of the customer at order time"),
    _col("is_gift", Boolean, "True when ordered as a gift"),
    _col(
        "return_flag",
        String,
        "Which came back as the source marks it, without a date: the line, or some line of its order",
        values=RETURN_FLAGS,
    ),
    _col(
        "units_per_set",
        Integer,
        "Parts that one unit comes back as, where it comes back in parts; units of its returns are parts then",
    ),
    _col("policy_id", String, "Return policy shown at order time; else found by market, channel, category and day"),
    _col(
        "dimensions",
        String,
        "Dimensions of one's own, as a JSON object of names and texts: numbers can be cut by them like by ours",
        text="json",
    ),
)

return_event = _log(
    "return_event",
    "One thing that happened to units of a return line.",
    ("event_id",),
    "occurred_at",
    _col("event_id", String, "Id of the event, unique in the source", required=True),
    _col("return_line_id", String, "Id of the return line: one order line in one return", required=True),
    _col("return_id", String, "Id of the return (the customer's request)", required=True),
    _col("order_line_id", String, "Order line that comes back; empty when the source does not know it"),
    _col("parcel_id", String, "Parcel the units travel in"),
    _col("event", String, "What happened", required=True, values=EVENTS),
    _col("occurred_at", DateTime, "When it happened (UTC)", required=True),
    _col("units", Integer, "Units it happened to", default=1),
    _col("amount", Money, "Money of a credit without a refund record, including VAT"),
    _col("currency", String, "ISO 4217 currency of the amount"),
    _col("place_id", String, "Where it happened"),
    _col("carrier", String, "Carrier of the return"),
    _col("method", String, "How the customer hands the parcel over", values=METHODS),
    _col("condition", String, "Condition found at inspection: a, b, c or d"),
    _col("inspection_outcome", String, "What inspection found against what was asked back", values=INSPECTION_OUTCOMES),
    _col("disposition", String, "What is done with the units", values=DISPOSITIONS),
    _col("reason_raw", String, "Reason as the source words it; normalised by data/reasons.csv", text="free"),
    _col(
        "note_terms", String, "Free note of the customer in a file; the concepts it speaks of in the log", text="note"
    ),
    _col("return_type", String, "Legal or commercial nature of the return", values=RETURN_TYPES),
    _col("decline_reason", String, "Why a request was rejected", values=DECLINE_REASONS),
    _col(
        "is_manual",
        Boolean,
        "True when a person did it by hand, false when a system did; empty when the source does not say",
    ),
    _col("product_id", String, "SKU, when the order line is unknown"),
    _col("customer_id", String, "Customer, when the order line is unknown; a keyed hash in the log", text="customer"),
    _col("country", String, "Market, when the order line is unknown"),
    _col("shop_id", String, "Shop, when the order line is unknown"),
    _col("policy_id", String, "Return policy whose promises hold, when the order line is unknown"),
    _col(
        "dimensions",
        String,
        "Dimensions of one's own, as a JSON object of names and texts; the order line's come first",
        text="json",
    ),
)

chain_element = _log(
    "chain_element",
    "One element of a parcel's way back: a transport, a stay in a hub, or an activity beside the chain.",
    ("element_id",),
    "started_at",
    _col("element_id", String, "Id of the element, unique in the source", required=True),
    _col("parcel_id", String, "Parcel", required=True),
    _col("element_no", Integer, "Position in the chain, from 1", required=True),
    _col(
        "element_type",
        String,
        "Transport, hub, or activity outside ISO 14083's chain",
        required=True,
        values=ELEMENT_TYPES,
    ),
    _col("role", String, "Part of the way back it plays", required=True, values=ROLES),
    _col("from_place_id", String, "Where it starts"),
    _col("to_place_id", String, "Where it ends"),
    _col("started_at", DateTime, "When it started (UTC)", required=True),
    _col("ended_at", DateTime, "When it ended (UTC)"),
    _col("carrier", String, "Carrier"),
    _col("service", String, "Carrier's service"),
    _col("mode", String, "Mode of transport; `site` for hubs and treatment", values=MODES),
    _col("vehicle", String, "Vehicle class as in data/factors, when known"),
    _col("fuel", String, "Energy carrier"),
    _col("mass_kg", Double, "Gross mass of the parcel on this element (kg), when weighed"),
    _col("distance_km", Double, "Distance (km), when the carrier reports it"),
    _col("distance_type", String, "What the distance is; driven unless said", default="actual", values=DISTANCE_TYPES),
    _col("trip_share", Double, "Share of a customer trip due to the return (0-1)"),
    _col("cost_amount", Money, "Amount invoiced for the element, excluding VAT"),
    _col("currency", String, "ISO 4217 currency of the cost"),
    _col("movement_id", String, "Vehicle movement shared with other parcels"),
    _col("movement_parcels", Integer, "Items or parcels that shared the movement, for per-item allocation"),
)

refund = _log(
    "refund",
    "One movement of money to a customer.",
    ("refund_id",),
    "refunded_at",
    _col("refund_id", String, "Id of the refund, unique in the source", required=True),
    _col("order_id", String, "Order"),
    _col("return_id", String, "Return it settles"),
    _col("refunded_at", DateTime, "When money moved (UTC)", required=True),
    _col("amount", Money, "Amount paid, including VAT", required=True),
    _col("currency", String, "ISO 4217 currency", required=True),
    _col("kind", String, "original (payment method), store_credit, voucher or manual", default="original"),
)

refund_line = _log(
    "refund_line",
    "One line of a refund: what the money was for.",
    ("refund_line_id",),
    "refunded_at",
    _col("refund_line_id", String, "Id of the refund line, unique in the source", required=True),
    _col("refund_id", String, "Refund", required=True),
    _col("order_line_id", String, "Order line refunded; empty for shipping and adjustments"),
    _col("return_line_id", String, "Return line refunded, when known"),
    _col("refunded_at", DateTime, "When money moved (UTC)", required=True),
    _col("units", Integer, "Units refunded; 0 for money without goods", default=0),
    _col("amount", Money, "Amount, including VAT", required=True),
    _col("vat_amount", Money, "VAT within the amount"),
    _col("currency", String, "ISO 4217 currency", required=True),
    _col("restock_type", String, "return, cancel, no_restock, legacy_restock, shipping or adjustment"),
)

recovery = _log(
    "recovery",
    "What was got for returned units after treatment.",
    ("recovery_id",),
    "recovered_at",
    _col("recovery_id", String, "Id of the recovery, unique in the source", required=True),
    _col("return_line_id", String, "Return line", required=True),
    _col("recovered_at", DateTime, "When the value was realised (UTC)", required=True),
    _col("units", Integer, "Units", required=True),
    _col("disposition", String, "What was done with them", required=True, values=DISPOSITIONS),
    _col("grade", String, "Grade when sold: a, b, c or d"),
    _col("amount", Money, "Value recovered, excluding VAT, all units; 0 when given away", required=True),
    _col("treatment_cost", Money, "Cost of repair, cleaning or disposal, excluding VAT"),
    _col("currency", String, "ISO 4217 currency", required=True),
    _col("place_id", String, "Where"),
    _col("derogation_reason", String, "Why units were destroyed (Regulation (EU) 2024/1781)", text="free"),
    _col("evidence_ref", String, "Reference of what proves the reason: a certificate, a test report", text="key"),
)

product = _log(
    "product",
    "One version of a SKU, valid from a time on.",
    ("product_id", "valid_from"),
    "valid_from",
    _col("product_id", String, "SKU", required=True),
    _col("valid_from", DateTime, "When this version began (UTC)", required=True),
    _col("style_id", String, "Style: the article in all sizes and colours"),
    _col("name", String, "Name of the style", text="label"),
    _col("category", String, "Category"),
    _col("brand", String, "Brand"),
    _col("supplier", String, "Supplier"),
    _col("season", String, "Season"),
    _col("size", String, "Size"),
    _col("colour", String, "Colour"),
    _col("size_note", String, "Size advice shown on the product page in this version"),
    _col("weight_kg", Double, "Net weight of one unit (kg)"),
    _col("list_price", Money, "List price of one unit, excluding VAT"),
    _col("unit_cost", Money, "Purchase cost of one unit, excluding VAT"),
    _col("currency", String, "ISO 4217 currency of price and cost"),
    _col("hs_chapter", String, "First two digits of the customs code"),
    _col("footprint_class", String, "Product class in data/factors/product_footprints.csv"),
    _col("launched_on", Date, "First day on sale"),
)

bill_of_materials = _log(
    "bill_of_materials",
    "One part of a product sold as a set, whose returns name parts.",
    ("product_id", "part_id"),
    "valid_from",
    _col("product_id", String, "SKU of the set", required=True),
    _col("part_id", String, "SKU of the part", required=True),
    _col("units", Integer, "Units of the part in one set", required=True),
    _col("valid_from", DateTime, "When it began (UTC)"),
)

carrier_invoice = _log(
    "carrier_invoice",
    "One line of a carrier's invoice.",
    ("invoice_line_id",),
    "invoiced_at",
    _col("invoice_line_id", String, "Id of the line, unique in the source", required=True),
    _col("invoice_id", String, "Invoice", required=True),
    _col("invoiced_at", DateTime, "Date of the invoice (UTC)", required=True),
    _col("carrier", String, "Carrier"),
    _col("parcel_id", String, "Parcel the line is for"),
    _col("element_id", String, "Element of the chain it is for, when the carrier says"),
    _col("kind", String, "What is charged", default="freight", values=INVOICE_KINDS),
    _col("amount", Money, "Amount, excluding VAT", required=True),
    _col("vat_amount", Money, "VAT of the line, kept apart"),
    _col("currency", String, "ISO 4217 currency", required=True),
)

rate_card = _log(
    "rate_card",
    "One price of a carrier for a parcel's way back, by zone and weight break.",
    ("rate_id", "valid_from"),
    "valid_from",
    _col("rate_id", String, "Id of the price, unique in the source", required=True),
    _col("valid_from", DateTime, "When it began (UTC)", required=True),
    _col("carrier", String, "Carrier", required=True),
    _col("method", String, "Hand-over method it is for; empty for all", values=METHODS),
    _col("country", String, "ISO country the parcel comes from: the zone; empty for all"),
    _col("weight_from_kg", Double, "Lower end of the weight break (kg), included", default=0),
    _col("weight_to_kg", Double, "Upper end (kg), not included; empty for no end"),
    _col("price", Money, "Price of a parcel, excluding VAT", required=True),
    _col("fuel_share", Double, "Fuel surcharge as a share of the price (0-1)", default=0),
    _col("surcharge", Money, "Further surcharges of a parcel, excluding VAT", default=0),
    _col("currency", String, "ISO 4217 currency", required=True),
)

handling_rate = _log(
    "handling_rate",
    "What one activity on a unit takes and costs at a site.",
    ("place_id", "activity", "valid_from"),
    "valid_from",
    _col("place_id", String, "Site", required=True),
    _col("activity", String, "What is done", required=True, values=HANDLING),
    _col("valid_from", DateTime, "When it began (UTC)", required=True),
    _col("minutes", Double, "Minutes a unit", required=True),
    _col("hourly_cost", Money, "Cost of an hour of work, excluding VAT", required=True),
    _col("currency", String, "ISO 4217 currency", required=True),
)

carrier_claim = _log(
    "carrier_claim",
    "One claim against a carrier.",
    ("claim_id",),
    "opened_at",
    _col("claim_id", String, "Id of the claim, unique in the source", required=True),
    _col("opened_at", DateTime, "When it was filed (UTC)", required=True),
    _col("parcel_id", String, "Parcel", required=True),
    _col("carrier", String, "Carrier"),
    _col("kind", String, "What happened", default="lost", values=CLAIM_KINDS),
    _col("amount", Money, "Claimed, excluding VAT", required=True),
    _col("decided_at", DateTime, "When the carrier decided (UTC)"),
    _col("paid_amount", Money, "Paid; 0 when refused, empty until decided"),
    _col("currency", String, "ISO 4217 currency", required=True),
)

place = _log(
    "place",
    "One version of a place of the return network.",
    ("place_id", "valid_from"),
    "valid_from",
    _col("place_id", String, "Id of the place, unique in the source", required=True),
    _col("valid_from", DateTime, "When this version began (UTC)", required=True),
    _col("kind", String, "What the place is", required=True, values=PLACE_KINDS),
    _col(
        "name", String, "Name of the place; its id in the log, unless at least five places have the name", text="free"
    ),
    _col("country", String, "ISO 3166 alpha-2 country"),
    _col("area", String, "Area: country and first two characters of the postcode", text="place"),
    _col("latitude", Double, "Latitude (degrees, WGS 84), rounded to .1"),
    _col("longitude", Double, "Longitude (degrees, WGS 84), rounded to .1"),
    _col("time_zone", String, "IANA time zone"),
)

policy = _log(
    "policy",
    "One promise of one version of a return policy.",
    ("policy_id", "valid_from", "promise_id"),
    "valid_from",
    _col("policy_id", String, "Policy", required=True),
    _col("valid_from", DateTime, "When this version began to apply to new orders (UTC)", required=True),
    _col("market", String, "ISO country the policy applies to; empty for all"),
    _col("channel", String, "Channel it applies to; empty for all"),
    _col("category", String, "Category it applies to; empty for all"),
    _col("loyalty_tier", String, "Loyalty tier it applies to; empty for all"),
    _col(
        "exception",
        String,
        "Why these goods may not come back: final sale or hygiene; empty where they may",
        values=EXCEPTIONS,
    ),
    _col("window_days", Integer, "Days the customer has to ask for a return, from delivery", required=True),
    _col(
        "window_until",
        Date,
        "Last day to ask for a return, where that is later than `window_days` allow (orders from November may come back"
        " until 31 January); empty for a window of days alone",
    ),
    _col("fee_amount", Money, "Fee taken from the customer per return, excluding VAT"),
    _col("currency", String, "ISO 4217 currency of the fee"),
    _col("methods", String, "Hand-over methods offered, separated by blanks; `keep` lets the customer keep the goods"),
    _col("refund_trigger", String, "Stage at which the refund is given", values=REFUND_TRIGGERS),
    _col("promise_id", String, "Name of the promise, unique in the policy", required=True),
    _col("from_stage", String, "Stage that starts the clock", required=True, values=STAGES),
    _col("to_stage", String, "Stage that stops it", required=True, values=STAGES),
    _col("duration", Double, "Promised duration, in `duration_unit`", required=True),
    _col("duration_unit", String, "Calendar of the promise", required=True, values=DURATION_UNITS),
    _col("responsible", String, "Who keeps it: customer, carrier or retailer", default="retailer"),
)

promised_date = _log(
    "promised_date",
    "One promised date of one return line: by when it was to reach a stage.",
    ("return_line_id", "promise_id"),
    "began_at",
    _col("return_line_id", String, "Return line", required=True),
    _col("promise_id", String, "Name of the promise", required=True),
    _col("to_stage", String, "Stage that keeps it", required=True, values=STAGES),
    _col("promised_on", Date, "Promised day: kept until the end of it in the shop's time zone"),
    _col(
        "promised_at",
        DateTime,
        "Promised instant (UTC), where the promise is by the instant; with neither, the promise is counted as one"
        " without a date",
    ),
    _col("from_stage", String, "Stage that starts the clock, where the promise names one", values=STAGES),
    _col("began_at", DateTime, "First time the source tells of the return (UTC), when it tells one"),
    _col("responsible", String, "Who keeps it: customer, carrier or retailer", default="retailer"),
    _col("return_id", String, "Return, while nothing has happened to the line yet; the return line when empty"),
    _col("order_line_id", String, "Order line, while nothing has happened to the line yet"),
    _col("product_id", String, "SKU, when the order line is unknown"),
    _col("country", String, "Market, when the order line is unknown"),
    _col("shop_id", String, "Shop, when the order line is unknown"),
    _col("carrier", String, "Carrier, while nothing has happened to the line yet"),
    _col(
        "method",
        String,
        "How the customer hands the parcel over, while nothing has happened to the line yet",
        values=METHODS,
    ),
)

carrier_calendar = _log(
    "carrier_calendar",
    "One version of the days a carrier works in a country, for promises in carrier_days.",
    ("carrier", "country", "valid_from"),
    "valid_from",
    _col("carrier", String, "Carrier", required=True),
    _col("country", String, "ISO 3166 alpha-2 country", required=True),
    _col("valid_from", DateTime, "When this version began (UTC)", required=True),
    _col(
        "weekdays",
        String,
        "Weekdays worked, 1 (Monday) to 7, separated by blanks; empty for those of the country's own week",
        text="days",
    ),
    _col("works_holidays", Boolean, "True when public holidays are worked", default=False),
    _col("closed_days", String, "Further days not worked (2026-12-24), separated by blanks", text="days"),
    _col("open_days", String, "Further days worked, separated by blanks", text="days"),
)

shop = _log(
    "shop",
    "One version of a shop.",
    ("shop_id", "valid_from"),
    "valid_from",
    _col("shop_id", String, "Shop", required=True),
    _col("valid_from", DateTime, "When this version began (UTC)", required=True),
    _col("legal_entity", String, "Legal entity that sells"),
    _col("brand", String, "Brand of the shop"),
    _col("market", String, "ISO 3166 alpha-2 home market"),
    _col("channel", String, "Main channel"),
    _col("currency", String, "ISO 4217 home currency"),
    _col("time_zone", String, "IANA time zone of its days", required=True),
)

fx_rate = _log(
    "fx_rate",
    "One exchange rate of one day.",
    ("day", "currency", "quote_currency"),
    "day",
    _col("day", DateTime, "Day of the rate", required=True),
    _col("currency", String, "Currency of one unit", required=True),
    _col("quote_currency", String, "Currency the rate is expressed in", required=True),
    _col("rate", Double, "Units of the quote currency for one unit of the currency", required=True),
)


def _star(name: str, grain: str, *columns: Column[Any]) -> Table:
    return Table(name, STAR, *columns, comment=grain)


def _c(name: str, kind: Kind, comment: str) -> Column[Any]:
    return Column(name, kind, comment=comment)


def _key(name: str, what: str) -> Column[Any]:
    return Column(name, BigInteger, comment=f"Key of {what}: first 63 bits of its id's md5", autoincrement=False)


# -- dimensions ------------------------------------------------------------------------------------------------------

dim_day = _star(
    "dim_day",
    "One calendar day of one business calendar: a country's, or a carrier's in a country.",
    _c("day", Date, "Day"),
    _c("country", String, "ISO country whose public holidays count"),
    _c("carrier", String, "Carrier whose working days count; '' is the country's own calendar"),
    _c("is_holiday", Boolean, "Public holiday of the country"),
    _c(
        "is_business_day",
        Boolean,
        "No weekend (the country's own) and no public holiday, or a weekend day officially worked; or a day the carrier"
        " works",
    ),
    _c("business_day_no", Integer, "Business days up to and including this day, since the calendar's start"),
)
dim_product = _star(
    "dim_product",
    "One version of a SKU; the latest has is_current.",
    _key("product_key", "the SKU"),
    _c("product_id", String, "SKU, source first"),
    _c("valid_from", DateTime, "Version begins (UTC)"),
    _c("valid_to", DateTime, "Version ends (UTC), empty while current"),
    _c("is_current", Boolean, "True for the latest version"),
    *(
        _c(c.name, c.type, c.comment or "")
        for c in product.columns
        if c.name
        in (
            "style_id",
            "name",
            "category",
            "brand",
            "supplier",
            "season",
            "size",
            "colour",
            "size_note",
            "weight_kg",
            "list_price",
            "unit_cost",
            "currency",
            "hs_chapter",
            "footprint_class",
            "launched_on",
        )
    ),
)
dim_customer = _star(
    "dim_customer",
    "One customer as a keyed hash: no name, no e-mail, no address.",
    _key("customer_key", "the customer"),
    _c("customer_id", String, "Source and HMAC of the source's id"),
    _c("country", String, "Country of the first order"),
    _c("area", String, "Coarse area of the first order"),
    _c("first_ordered_on", Date, "Day of the first order"),
)
dim_place = _star(
    "dim_place",
    "One place of the return network, latest version.",
    _key("place_key", "the place"),
    _c("place_id", String, "Id, source first"),
    _c("kind", String, "What the place is"),
    _c("name", String, "Name of the site"),
    _c("country", String, "ISO country"),
    _c("area", String, "Coarse area"),
    _c("latitude", Double, "Degrees, rounded to .1"),
    _c("longitude", Double, "Degrees, rounded to .1"),
    _c("time_zone", String, "IANA zone"),
)
dim_carrier_service = _star(
    "dim_carrier_service",
    "One carrier, service, mode, vehicle and fuel seen on a leg.",
    _key("carrier_service_key", "the combination"),
    _c("carrier", String, "Carrier"),
    _c("service", String, "Service"),
    _c("mode", String, "Mode"),
    _c("vehicle", String, "Vehicle class"),
    _c("fuel", String, "Energy carrier"),
)
dim_policy = _star(
    "dim_policy",
    "One version of a return policy.",
    _key("policy_key", "the policy and its valid_from"),
    _c("policy_id", String, "Policy, source first"),
    _c("valid_from", DateTime, "Version begins (UTC)"),
    _c("valid_to", DateTime, "Version ends (UTC), empty while current"),
    _c("market", String, "ISO country, empty for all"),
    _c("channel", String, "Channel, empty for all"),
    _c("category", String, "Category, empty for all"),
    _c("loyalty_tier", String, "Loyalty tier, empty for all"),
    _c("exception", String, "final_sale or hygiene where goods may not come back"),
    _c("window_days", Integer, "Days to ask for a return"),
    _c("window_until", Date, "Last day to ask for a return where later; empty for a window of days alone"),
    _c("fee_amount", Money, "Fee per return, excluding VAT"),
    _c("currency", String, "Currency of the fee"),
    _c("methods", String, "Methods offered"),
    _c("refund_trigger", String, "Stage at which the refund is given"),
)
dim_policy_promise = _star(
    "dim_policy_promise",
    "One stage promise of one policy version; `legal_refund` is added for EU markets.",
    _key("promise_key", "the policy version and promise"),
    _key("policy_key", "the policy version"),
    _c("promise_id", String, "Promise"),
    _c("from_stage", String, "Stage that starts the clock"),
    _c("to_stage", String, "Stage that stops it"),
    _c("duration", Double, "In duration_unit"),
    _c("duration_unit", String, "clock_hours, calendar_days, business_days or carrier_days"),
    _c("responsible", String, "Who keeps it"),
)
dim_carrier_calendar = _star(
    "dim_carrier_calendar",
    "One version of the days a carrier works in a country.",
    _c("carrier", String, "Carrier"),
    _c("country", String, "ISO country"),
    _c("valid_from", DateTime, "Version begins (UTC)"),
    _c("valid_to", DateTime, "Version ends (UTC), empty while current"),
    _c("weekdays", String, "Weekdays worked, 1 to 7"),
    _c("works_holidays", Boolean, "Public holidays are worked"),
    _c("closed_days", String, "Further days not worked"),
    _c("open_days", String, "Further days worked"),
)
dim_rate_card = _star(
    "dim_rate_card",
    "One version of a carrier's price for a parcel's way back.",
    _c("rate_id", String, "Price, source first"),
    _c("valid_from", DateTime, "Version begins (UTC)"),
    _c("valid_to", DateTime, "Version ends (UTC), empty while current"),
    _c("carrier", String, "Carrier"),
    _c("method", String, "Hand-over method, empty for all"),
    _c("country", String, "ISO country it comes from, empty for all"),
    _c("weight_from_kg", Double, "Weight break begins (kg), included"),
    _c("weight_to_kg", Double, "Ends (kg), not included"),
    _c("price", Money, "Of a parcel, excluding VAT"),
    _c("fuel_share", Double, "Fuel surcharge (0-1)"),
    _c("surcharge", Money, "Further surcharges"),
    _c("currency", String, "ISO 4217"),
)
dim_handling_rate = _star(
    "dim_handling_rate",
    "One version of what an activity on a unit takes and costs at a site.",
    _c("place_id", String, "Site, source first"),
    _c("activity", String, "receipt, inspection, grading, reconditioning, repacking or putaway"),
    _c("valid_from", DateTime, "Version begins (UTC)"),
    _c("valid_to", DateTime, "Version ends (UTC), empty while current"),
    _c("minutes", Double, "A unit"),
    _c("hourly_cost", Money, "Of an hour"),
    _c("currency", String, "ISO 4217"),
)
dim_reason = _star(
    "dim_reason",
    "One normalised return reason.",
    _c("reason", String, "Reason"),
    _c("family", String, "size, product, delivery, customer or unknown"),
    _c("preventable_by", String, "Who can prevent it"),
)
dim_disposition = _star(
    "dim_disposition",
    "One disposition.",
    _c("disposition", String, "Disposition"),
    _c("outcome", String, "resold_as_new, refurbished, donated, recycled, destroyed or returned"),
    _c("is_discarded", Boolean, "Counts as discarded in Regulation (EU) 2024/1781 Art. 24"),
)
dim_lane = _star(
    "dim_lane",
    "One origin and destination of a transport.",
    _key("lane_key", "the pair"),
    _key("from_place_key", "the origin"),
    _key("to_place_key", "the destination"),
    _c("distance_km", Double, "Distance used when the carrier reports none (km)"),
    _c("method", String, "How it was found: geodesic x circuity, or same area"),
)
dim_shop = _star(
    "dim_shop",
    "One shop, latest version.",
    _key("shop_key", "the shop"),
    _c("shop_id", String, "Shop, source first"),
    _c("legal_entity", String, "Seller"),
    _c("brand", String, "Brand"),
    _c("market", String, "Home market"),
    _c("channel", String, "Main channel"),
    _c("currency", String, "Home currency"),
    _c("time_zone", String, "IANA zone of its days"),
)

# -- facts -----------------------------------------------------------------------------------------------------------

_STAMPED = (
    ("source", String, "Source the row came from"),
    ("shop_id", String, "Shop, source first"),
    ("country", String, "Market: ISO country the goods went to"),
    ("channel", String, "Sales channel"),
    ("category", String, "Category of the product version sold"),
    ("brand", String, "Brand"),
    ("style_id", String, "Style"),
    ("size", String, "Size"),
    ("colour", String, "Colour"),
    ("supplier", String, "Supplier"),
    ("season", String, "Season"),
)
_FX = ("fx_rate", Double, "Reporting currency for one unit of `currency` on the day; empty when no rate within 7 days")

_DIMENSIONS = ("dimensions", String, "Dimensions of the shop's own, a JSON object of names and texts")
_DATE_FAULT = (
    "date_fault",
    String,
    "Which of its dates cannot be: metrics leave the row out and count it; empty when all can",
)


def _stamped() -> list[Column[Any]]:
    return [_c(*c) for c in _STAMPED]


fact_order_line = _star(
    "fact_order_line",
    "One order line.",
    _key("order_line_key", "the order line"),
    _c("order_line_id", String, "Order line, source first"),
    _key("order_key", "the order"),
    _c("order_id", String, "Order, source first"),
    _key("customer_key", "the customer"),
    _key("product_key", "the SKU"),
    _c("product_id", String, "SKU, source first"),
    _key("shop_key", "the shop"),
    _key("policy_key", "the policy version"),
    *_stamped(),
    _c("line_type", String, "goods, or what else the line is"),
    _c("is_exchange", Boolean, "Replaces a returned line: outside sold units"),
    _c("has_several_sizes", Boolean, "The order holds the style in two or more sizes"),
    _c("ordered_at", DateTime, "UTC"),
    _c("ordered_on", Date, "Shop's local day"),
    _c("shipped_at", DateTime, "UTC"),
    _c("delivered_at", DateTime, "UTC"),
    _c(
        "clock_started_at",
        DateTime,
        "UTC start of the return clock: delivery where the source reports deliveries (30 days after shipping where one"
        " is not reported), else the order; empty when not shipped",
    ),
    _c("window_days", Integer, "Return window of the policy (days)"),
    _c(
        "window_ends_on",
        Date,
        "Last day of the window where the policy's date is later than its days; empty: the clock's start and"
        " window_days end it",
    ),
    _c("units_ordered", Integer, "Units"),
    _c("units_cancelled", Integer, "Units cancelled before shipping"),
    _c("units_sold", Integer, "Goods shipped, exchanges left out (units)"),
    _c("units_exchanged_in", Integer, "Goods shipped as replacement (units)"),
    _c("net_amount", Money, "Sold units after discount, excluding VAT"),
    _c("vat_amount", Money, "VAT; empty when the tax basis is unknown"),
    _c("discount_amount", Money, "Discount, excluding VAT"),
    _c("cost_amount", Money, "Purchase cost of the sold units, excluding VAT"),
    _c("outbound_cost", Money, "Shipping to the customer, excluding VAT"),
    _c("payment_fee", Money, "Payment fee, excluding VAT"),
    _c("commission_amount", Money, "Commission of the marketplace, excluding VAT"),
    _c("currency", String, "ISO 4217"),
    _c(*_FX),
    _c("weight_kg", Double, "Net weight of one unit (kg)"),
    _c("carrier", String, "Outbound carrier"),
    _c("seller", String, "Marketplace seller"),
    _c("sold_on", String, "Marketplace"),
    _c("fulfilled_by", String, "Who shipped"),
    _c("loyalty_tier", String, "Tier at order time"),
    _c("is_gift", Boolean, "Ordered as a gift"),
    _c(
        "return_flag",
        String,
        "line: the source marks it as returned, without a date; order: it marks some line of its order",
    ),
    _c("units_per_set", Integer, "Parts that one unit comes back as; empty: whole"),
    _c(*_DIMENSIONS),
    _c(*_DATE_FAULT),
)

STAGE_TIMES = (
    "requested_at",
    "approved_at",
    "rejected_at",
    "label_issued_at",
    "handed_over_at",
    "carrier_scan_at",
    "received_at",
    "inspected_at",
    "refunded_at",
    "exchanged_at",
    "restocked_at",
    "disposed_at",
    "cancelled_at",
    "expired_at",
    "lost_at",
)

STAGE_ORDER = (
    ("requested", "approved"),
    ("requested", "handed_over"),
    ("requested", "refunded"),
    ("requested", "restocked"),
    ("handed_over", "carrier_scan"),
    ("handed_over", "received"),
    ("handed_over", "inspected"),
    ("carrier_scan", "received"),
    ("carrier_scan", "inspected"),
    ("received", "inspected"),
    ("received", "refunded"),
    ("received", "restocked"),
    ("inspected", "refunded"),
    ("inspected", "restocked"),
)
"""Pairs of stages that are looked at for their order.

Those of which waits are measured, and those of goods on their way.
"""

fact_return_line = _star(
    "fact_return_line",
    "One lot: the units of one return line that share every stage and the disposition.",
    _key("return_lot_key", "the lot"),
    _key("return_line_key", "the return line"),
    _c("return_line_id", String, "Return line, source first"),
    _c("lot_no", Integer, "Number of the lot in its line, from 1"),
    _key("return_key", "the return"),
    _c("return_id", String, "Return, source first"),
    _key("order_line_key", "the order line; empty when unknown"),
    _key("order_key", "the order; empty when unknown"),
    _key("parcel_key", "the parcel"),
    _c("parcel_id", String, "Parcel, source first"),
    _key("customer_key", "the customer"),
    _key("product_key", "the SKU"),
    _c("product_id", String, "SKU, source first"),
    _key("shop_key", "the shop"),
    _key("policy_key", "the policy version of the order line"),
    *_stamped(),
    _c("has_several_sizes", Boolean, "The order held the style in two or more sizes"),
    _c("ordered_on", Date, "Local day of the order line; empty when unknown"),
    _c("clock_started_at", DateTime, "UTC start of the order line's return clock"),
    _c("window_days", Integer, "Return window (days)"),
    _c("window_ends_on", Date, "Last day of the order line's window where a date ends it"),
    _c("return_type", String, "Nature of the return"),
    _c("is_headline", Boolean, "Counts in headline rates"),
    _c("reason", String, "Normalised reason"),
    _c("note_terms", String, "Concepts of the customer's note, of data/note_words.csv, blanks between"),
    _c("method", String, "How it was handed over"),
    _c("carrier", String, "Carrier of the return"),
    _c("place_id", String, "Site that received the units, or where they wait"),
    _c("condition", String, "Condition found"),
    _c("inspection_outcome", String, "match, empty, swapped, worn or missing_part"),
    _c("disposition", String, "What was done"),
    _c("outcome", String, "Outcome of the disposition"),
    _c("decline_reason", String, "Why it was rejected"),
    _c(
        "manual_touches",
        Integer,
        "Events of the return line that a person did by hand, on its first lot, 0 on others; empty when the source does"
        " not say",
    ),
    _c("units", Integer, "Units of the lot"),
    *(_c(name, DateTime, "UTC; empty until it happens") for name in STAGE_TIMES),
    _c("requested_on", Date, "Return date: shop's local day of the request, else of the first event"),
    _c(
        "confirmed_at",
        DateTime,
        "First of store acceptance, first scan, receipt, inspection, refund with units (UTC); empty while only"
        " requested and for cancelled, rejected and expired; of what a carrier lost, when its money went back",
    ),
    _c("confirmed_on", Date, "Local day of confirmation"),
    _c("refunded_on", Date, "Local day of the refund"),
    _c("net_amount", Money, "Net sales value of the units, excluding VAT"),
    _c("vat_amount", Money, "Their VAT"),
    _c("cost_amount", Money, "Their purchase cost"),
    _c("refund_amount", Money, "Refunded for the units, including VAT"),
    _c("currency", String, "ISO 4217"),
    _c(*_FX),
    _c("weight_kg", Double, "Net weight of one unit (kg)"),
    _c(*_DIMENSIONS),
    _c(*_DATE_FAULT),
    _c(
        "out_of_order",
        String,
        "Pairs of stages of which the second came first (received-inspected), blanks between; a date without a time of"
        " day is its whole day; empty where none",
    ),
)
fact_return_event = _star(
    "fact_return_event",
    "One event of a return line, newest version.",
    _key("event_key", "the event"),
    _key("return_line_key", "the return line"),
    _key("return_key", "the return"),
    _c("event", String, "What happened"),
    _c("occurred_at", DateTime, "UTC"),
    _c("recorded_at", DateTime, "UTC"),
    _c("units", Integer, "Units"),
    _c("amount", Money, "Credit, including VAT"),
    _c("currency", String, "ISO 4217"),
    _c("place_id", String, "Where, source first"),
    _c("system", String, "System that recorded it"),
    _c("source", String, "Source"),
)
fact_return_leg = _star(
    "fact_return_leg",
    "One parcel x chain element.",
    _key("leg_key", "the element"),
    _c("element_id", String, "Element, source first"),
    _key("parcel_key", "the parcel"),
    _c("parcel_id", String, "Parcel, source first"),
    _c("element_no", Integer, "Position in the chain"),
    _c("element_type", String, "transport, hub or activity"),
    _c("role", String, "Part of the way back"),
    _key("from_place_key", "the origin"),
    _key("to_place_key", "the destination"),
    _key("lane_key", "the lane"),
    _c("movement_id", String, "Shared vehicle movement"),
    _c("movement_parcels", Integer, "Parcels or items that shared it"),
    _c("started_at", DateTime, "UTC"),
    _c("ended_at", DateTime, "UTC"),
    _c("started_on", Date, "Local day it started"),
    _c("carrier", String, "Carrier"),
    _c("service", String, "Service"),
    _c("mode", String, "Mode"),
    _c("vehicle", String, "Vehicle class"),
    _c("fuel", String, "Energy carrier"),
    _c("mass_kg", Double, "Gross mass when weighed (kg)"),
    _c("distance_km", Double, "Distance when reported (km)"),
    _c("distance_type", String, "actual, shortest_feasible or great_circle"),
    _c("trip_share", Double, "Share of a customer trip (0-1)"),
    _c("cost_amount", Money, "Invoiced, excluding VAT"),
    _c("currency", String, "ISO 4217"),
    _c(*_FX),
    _c("source", String, "Source"),
    _c("shop_id", String, "Shop of the parcel's return"),
    _c("country", String, "Market of the return"),
    _c("channel", String, "Channel of the order"),
    _c("method", String, "Hand-over method of the return"),
    _c("requested_on", Date, "Return date of the parcel"),
    _c("ordered_on", Date, "Day of the parcel's first order line"),
)
fact_refund = _star(
    "fact_refund",
    "One movement of money to a customer.",
    _key("refund_key", "the refund"),
    _c("refund_id", String, "Refund, source first"),
    _key("order_key", "the order"),
    _key("return_key", "the return"),
    _c("refunded_at", DateTime, "UTC"),
    _c("refunded_on", Date, "Shop's local day"),
    _c("amount", Money, "Paid, including VAT"),
    _c("currency", String, "ISO 4217"),
    _c(*_FX),
    _c("kind", String, "original, store_credit, voucher or manual"),
    _c("lines_amount", Money, "Sum of its lines, including VAT; empty without lines"),
    _c("discrepancy_amount", Money, "Amount less the sum of its lines; empty without lines"),
    _c("source", String, "Source"),
    _c("shop_id", String, "Shop of the order"),
    _c("country", String, "Market"),
    _c("channel", String, "Channel"),
)
fact_refund_line = _star(
    "fact_refund_line",
    "One line of a refund, or one credited return line where the source keeps no refunds.",
    _key("refund_line_key", "the refund line"),
    _c("refund_line_id", String, "Refund line, source first"),
    _key("refund_key", "the refund"),
    _key("order_line_key", "the order line"),
    _key("return_line_key", "the return line"),
    _c("refunded_at", DateTime, "UTC"),
    _c("refunded_on", Date, "Shop's local day"),
    _c("units", Integer, "Units; 0 for money without goods"),
    _c("amount", Money, "Including VAT"),
    _c("vat_amount", Money, "VAT within"),
    _c("currency", String, "ISO 4217"),
    _c(*_FX),
    _c("restock_type", String, "return, cancel, no_restock, legacy_restock, shipping, adjustment or credit"),
    *_stamped(),
    _c("ordered_on", Date, "Day of the order line"),
    _c("requested_on", Date, "Return date"),
)
fact_recovery = _star(
    "fact_recovery",
    "What was got for returned units after treatment.",
    _key("recovery_key", "the recovery"),
    _c("recovery_id", String, "Recovery, source first"),
    _key("return_line_key", "the return line"),
    _c("recovered_at", DateTime, "UTC"),
    _c("recovered_on", Date, "Local day"),
    _c("units", Integer, "Units"),
    _c("disposition", String, "What was done"),
    _c("outcome", String, "Its outcome"),
    _c("grade", String, "Grade"),
    _c("amount", Money, "Recovered, excluding VAT"),
    _c("treatment_cost", Money, "Cost of treatment, excluding VAT"),
    _c("cost_amount", Money, "Purchase cost of the units"),
    _c("currency", String, "ISO 4217"),
    _c(*_FX),
    _c("derogation_reason", String, "Why destroyed"),
    _c("evidence_ref", String, "What proves the reason"),
    _c("weight_kg", Double, "Net weight of the units (kg)"),
    _c("hs_chapter", String, "Customs chapter"),
    *_stamped(),
    _c("requested_on", Date, "Return date"),
    _c("ordered_on", Date, "Day of the order line"),
)
fact_carrier_invoice = _star(
    "fact_carrier_invoice",
    "One line of a carrier's invoice, with the leg it pays where one is known.",
    _c("invoice_line_id", String, "Line, source first"),
    _c("invoice_id", String, "Invoice"),
    _c("invoiced_at", DateTime, "UTC"),
    _c("invoiced_on", Date, "Day of the invoice"),
    _c("carrier", String, "Carrier"),
    _key("parcel_key", "the parcel"),
    _c("parcel_id", String, "Parcel, source first"),
    _key("leg_key", "the leg it is laid on; empty when unmatched"),
    _c("kind", String, "freight, fuel, surcharge, duty or other"),
    _c("amount", Money, "Excluding VAT"),
    _c("vat_amount", Money, "VAT, kept apart"),
    _c("currency", String, "ISO 4217"),
    _c(*_FX),
    _c("source", String, "Source"),
)
fact_promised_date = _star(
    "fact_promised_date",
    "One promised date of one return line.",
    _key("return_line_key", "the return line"),
    _key("return_key", "the return"),
    _c("return_id", String, "Return, source first"),
    _c("promise_id", String, "Promise"),
    _c("from_stage", String, "Stage that starts the clock, where the promise names one"),
    _c("to_stage", String, "Stage that keeps it"),
    _c("promised_on", Date, "Promised day, in the shop's zone"),
    _c("promised_at", DateTime, "UTC, where promised by the instant"),
    _c("responsible", String, "Who keeps it"),
    _c("is_awaited", Boolean, "Nothing has happened to the return line yet"),
    _c(
        "began_on",
        Date,
        "Day the source first tells of a return that nothing has happened to; the promised day where it tells none",
    ),
    _key("shop_key", "the shop"),
    *_stamped(),
    _c("method", String, "Hand-over method"),
    _c("carrier", String, "Carrier"),
)
fact_carrier_claim = _star(
    "fact_carrier_claim",
    "One claim against a carrier.",
    _c("claim_id", String, "Claim, source first"),
    _c("opened_at", DateTime, "UTC"),
    _key("parcel_key", "the parcel"),
    _c("parcel_id", String, "Parcel, source first"),
    _c("carrier", String, "Carrier"),
    _c("kind", String, "lost, damaged or late"),
    _c("amount", Money, "Claimed"),
    _c("decided_at", DateTime, "UTC"),
    _c("paid_amount", Money, "Paid; 0 when refused"),
    _c("currency", String, "ISO 4217"),
    _c(*_FX),
    _c("source", String, "Source"),
)
fact_fx_rate = _star(
    "fact_fx_rate",
    "One exchange rate of one day.",
    _c("day", Date, "Day"),
    _c("currency", String, "One unit of"),
    _c("quote_currency", String, "In"),
    _c("rate", Double, "Rate"),
)

# -- estimates -------------------------------------------------------------------------------------------------------

estimate_return_probability = _star(
    "estimate_return_probability",
    "One order line: its probability to come back, from what was known when it was ordered.",
    _key("order_line_key", "the order line"),
    _c("probability", Double, "0-1"),
    _c("buyer_probability", Double, "The same had the product been usual for its category (0-1)"),
    _c("base_rate", Double, "Rate of its product before the order (0-1)"),
    _c("model_id", String, "model_version"),
)
estimate_leg_carbon = _star(
    "estimate_leg_carbon",
    "One leg: its emissions.",
    _key("leg_key", "the leg"),
    _c(
        "activity",
        String,
        "transport or hub (the chain), packaging, customer_trip, repair or treatment: totals of their own",
    ),
    _c("factor_id", String, "factor_set"),
    _c("distance_km", Double, "Used, adjusted (km)"),
    _c("distance_type", String, "actual, shortest_feasible, great_circle, or default: a usual distance"),
    _c("distance_adjustment", Double, "Kilometres used over those the type gives"),
    _c("distance_status", String, "measured (primary), imputed (modelled) or assumed (default)"),
    _c("mass_kg", Double, "Used (kg)"),
    _c("mass_status", String, "measured, imputed or assumed"),
    _c("tonne_km", Double, "Transport activity (t.km); of a shared round by the direct distance"),
    _c("kg_co2e_wtt", Double, "Energy provision (kg)"),
    _c("kg_co2e_ttw", Double, "Operation (kg)"),
    _c("kg_co2e", Double, "Well to wheel (kg)"),
    _c(
        "kg_co2e_tonne_km",
        Double,
        "The same leg by tonne-kilometres (kg), where kg_co2e is by stop or movement; else empty",
    ),
    _c("status", String, "measured, imputed or assumed: the worst of its inputs"),
    _c("scope3_category", String, "GHG Protocol scope 3 category"),
    _c(
        "method",
        String,
        "Allocation key: per_tonne_km, per_vehicle_km, per_parcel, shared (by mass x direct distance), per_tonne or"
        " per_kg",
    ),
)
estimate_leg_cost = _star(
    "estimate_leg_cost",
    "One leg: its cost in the reporting currency.",
    _key("leg_key", "the leg"),
    _c("amount", Money, "Excluding VAT"),
    _c("status", String, "measured, imputed or assumed"),
    _c("method", String, "Invoice or rule"),
)
estimate_return_carbon = _star(
    "estimate_return_carbon",
    "One lot whose parcel has legs: its share of the parcel's emissions, by mass.",
    _key("return_lot_key", "the lot"),
    _c("kg_co2e", Double, "Well to wheel (kg)"),
    _c("kg_co2e_measured", Double, "Part resting on measured inputs only (kg)"),
    _c("is_whole", Boolean, "Every leg of its parcel has an answer; kg_co2e is of those that have"),
)
estimate_avoided_carbon = _star(
    "estimate_avoided_carbon",
    "One lot whose fate is decided: what making its goods emitted, and what their second life avoids; never taken off"
    " any emissions.",
    _key("return_lot_key", "the lot"),
    _c("footprint_id", String, "Row of data/factors/product_footprints.csv"),
    _c("kg_co2e_new", Double, "Making as many new goods, use left out (kg)"),
    *(
        _c(f"kg_co2e_avoided_{n}", Double, f"Avoided at a {n} displacement of new goods (kg)")
        for n in ("low", "central", "high")
    ),
    _c("status", String, "imputed: the product's class; assumed: a figure a kilogram"),
)
estimate_return_cost = _star(
    "estimate_return_cost",
    "One component of the cost of one lot, in the reporting currency.",
    _key("return_lot_key", "the lot"),
    _c("component", String, ", ".join(COST_COMPONENTS)),
    _c("amount", Money, "Cost positive, income negative, excluding VAT"),
    _c("status", String, "measured, imputed or assumed"),
    _c("method", String, "Invoice, rule or parameter"),
)
estimate_return_tracking = _star(
    "estimate_return_tracking",
    "One source x hand-over method x carrier: what it reports of the way back.",
    _c("source", String, "Source"),
    _c("method", String, "Hand-over method; '' where none is known"),
    _c("carrier", String, "Carrier; '' where none is known"),
    _c("stages", String, "Stages that the source has ever recorded, separated by blanks"),
    _c("reports_hand_over", Boolean, "Hand-over or first scan is known of at least half of its finished returns"),
    _c(
        "reports_goods",
        Boolean,
        "The same of anything that happened to the goods: handed over, scanned, received, inspected, restocked or"
        " disposed of",
    ),
)
estimate_promise = _star(
    "estimate_promise",
    "One return x promise: when its clock starts, is due and stops. The state follows from the time of observation.",
    _key("return_key", "the return"),
    _c("return_id", String, "Return, source first"),
    _key("promise_key", "the promise"),
    _c("promise_id", String, "Promise"),
    _c("responsible", String, "Who keeps it"),
    _c("started_at", DateTime, "UTC; empty until the first stage happens"),
    _c("due_at", DateTime, "UTC"),
    _c("ended_at", DateTime, "UTC; the last unit"),
    _c(
        "handed_over_at",
        DateTime,
        "UTC; when the customer had done their part: hand-over or first scan, the request where neither is reported",
    ),
    _c("stopped_at", DateTime, "UTC; cancelled, rejected or expired"),
    _c("stopped_by", String, "cancelled, rejected, expired or lost"),
    _c("lost_at", DateTime, "UTC"),
    _c("duration", Double, "Promised, in duration_unit"),
    _c("duration_unit", String, "clock_hours, calendar_days, business_days, carrier_days or legal"),
    _c("started_on", Date, "Day the clock starts, in the shop's zone"),
    _c("calendar_carrier", String, "Carrier of the dim_day calendar it is counted on; '' is the country's own"),
    _c("started_no", Integer, "business_day_no of started_on in that calendar"),
    _c("closed_on", Date, "Day it ended, stopped or was lost, in the shop's zone"),
    _c("to_stage", String, "Stage that stops the clock"),
    _c("is_requested", Boolean, "The request itself is known; else the first thing known of the return stands for it"),
    _c(
        "date_fault",
        String,
        "Why the promise cannot be judged: it has no date, falls or ends before it starts, no start is known, or the"
        " dates of its goods cannot be; empty where it can",
    ),
    _c("requested_at", DateTime, "UTC"),
    _c("requested_on", Date, "Return date"),
    _c("amount", Double, "Net value of the return in the reporting currency"),
    _c("units", Integer, "Units"),
    _c("source", String, "Source"),
    _c("shop_id", String, "Shop"),
    _c("country", String, "Market"),
    _c("channel", String, "Channel"),
    _c("category", String, "Category of the first line"),
    _c("brand", String, "Brand of the first line"),
    _c("method", String, "Hand-over method"),
    _c("carrier", String, "Carrier"),
    _c("place_id", String, "Site"),
    _c("policy_key", BigInteger, "Policy version"),
)
estimate_breach_risk = _star(
    "estimate_breach_risk",
    "One open return x promise: the probability that it breaks.",
    _key("return_key", "the return"),
    _c("promise_id", String, "Promise"),
    _c("probability", Double, "0-1"),
    _c("stage", String, "Last stage reached"),
    _c("model_id", String, "model_version"),
)
estimate_completion = _star(
    "estimate_completion",
    "One open return: when it will probably be refunded.",
    _key("return_key", "the return"),
    _c("stage", String, "Last stage reached"),
    _c("stage_days", Double, "Days since it was reached"),
    _c("expected_at", DateTime, "Half of such returns are refunded by then (UTC)"),
    _c("early_at", DateTime, "One in ten is refunded by then (UTC)"),
    _c("late_at", DateTime, "Nine in ten are refunded by then (UTC); empty: longer than any was followed"),
)
estimate_development_curve = _star(
    "estimate_development_curve",
    "One cell x day since the clock's start: share of the final returns confirmed by then.",
    _c("source", String, "Source"),
    _c("category", String, "Category"),
    _c("channel", String, "Channel"),
    _c("window_days", Integer, "Return window (days)"),
    _c("is_dated", Boolean, "The window ends on a date: lines of one cell differ in length"),
    _c(
        "day",
        Integer,
        "Days since the clock's start; of a dated window the usual window's days, then 70 steps to its end, then days"
        " after it",
    ),
    _c("share", Double, "G(day), 0-1"),
    _c("returned", Integer, "Returned lots behind the cell"),
)
estimate_delay_drift = _star(
    "estimate_delay_drift",
    "One source x category: how the delays of the last 30 days' returns compare with the curve's; without a category"
    " all of the source.",
    _c("source", String, "Source"),
    _c("category", String, "Category"),
    _c("since_on", Date, "First day compared"),
    _c("until_on", Date, "Last day compared"),
    _c("factor", Double, "Recent delays over the curve's"),
    _c("z", Double, "Standard errors from no drift"),
    _c("returned", Integer, "Returned lots compared"),
    _c("is_drifting", Boolean, "Large and sure: intervals resting on the curve may not cover"),
)
estimate_rate_prior = _star(
    "estimate_rate_prior",
    "One prior fitted once a build: a cohort's logit-normal; or the design effect of orders alone.",
    _c("kind", String, "cohort (mean, sd) or order (neither)"),
    _c("category", String, "Category"),
    _c("a", Double, "Mean of the logit"),
    _c("b", Double, "Sd of the logit"),
    _c("deff", Double, "Design effect of orders"),
)
estimate_product_prior = _star(
    "estimate_product_prior",
    "One category: the beta prior of its styles' or products' return rates; the row without category is all together.",
    _c("kind", String, "style or product"),
    _c("category", String, "Category"),
    _c("a", Double, "Like returned units"),
    _c("b", Double, "Like kept units"),
    _c("deff", Double, "Design effect of weeks within a product"),
)
estimate_product_spread = _star(
    "estimate_product_spread",
    "One point of how styles or products lie around their category's rate, without assuming a shape.",
    _c("kind", String, "style or product"),
    _c("log_odds", Double, "Log odds ratio to the category"),
    _c("weight", Double, "0-1, summing to 1 a kind"),
)
estimate_rate_level = _star(
    "estimate_rate_level",
    "One value of a level that products share: what it adds to the log odds of a return; the row of a level without"
    " value is the spread between its values.",
    _c(
        "cut",
        String,
        "What rows the level was fitted on: style, size (style x size), colour (style x colour) or product",
    ),
    _c("level", String, "category, supplier, season, size, colour, style or own"),
    _c("category", String, "Category"),
    _c("value", String, "Supplier, season, size or colour"),
    _c("log_odds", Double, "Adds to the log odds; the category's own log odds"),
    _c("log_odds_sd", Double, "Uncertainty of log_odds, or the spread"),
)
estimate_credit_match = _star(
    "estimate_credit_match",
    "One credited return line without an order line, bound by rule to a purchase.",
    _key("return_line_key", "the return line"),
    _key("order_line_key", "the purchase"),
    _c("units", Integer, "Units bound"),
    _c("rule", String, "Rule that bound it"),
    _c("hours_apart", Double, "Hours from purchase to credit"),
    _c("is_cancellation", Boolean, "Credited within the hour: an order-entry cancellation, not a return"),
    _c("ordered_on", Date, "Day of the purchase"),
)
model_version = _star(
    "model_version",
    "One fitted model with its score out of time beside its base rate's.",
    _c("model_id", String, "Model and fit"),
    _c("model", String, "Model"),
    _c("fitted_at", DateTime, "Observation time it was fitted at (UTC)"),
    _c("rows", BigInteger, "Training rows"),
    _c("score_name", String, "Score"),
    _c("score", Double, "Out of time"),
    _c("base_score", Double, "Of the base rate"),
    _c("is_used", Boolean, "Beats its base rate"),
    _c("parameters", String, "JSON"),
)
factor_set = _star(
    "factor_set",
    "One emission factor, cost parameter or rule used by this build.",
    _c("factor_id", String, "Row id"),
    _c("kind", String, "emission, cost, distance, allocation"),
    _c("description", String, "What it is"),
    _c("unit", String, "Unit"),
    _c("wtt", Double, "Energy provision"),
    _c("ttw", Double, "Operation"),
    _c("value", Double, "Total, or the parameter"),
    _c("year", Integer, "Year"),
    _c("source", String, "Publisher"),
    _c("source_address", String, "Address"),
    _c("quality", String, "verified, derived or assumed"),
    _c("factor_set", String, "Set it belongs to"),
    _c("row_id", String, "Publisher's row"),
    _c("licence", String, "Licence"),
    _c("gwp", String, "Warming potentials it was made with"),
    _c("eol_method", String, "What an end-of-life factor counts"),
    _c("log_sd", Double, "Uncertainty: sd of the logarithm"),
)

# -- the build itself ------------------------------------------------------------------------------------------------

build_source = _star(
    "build_source",
    "One source and system: what it delivered up to when.",
    _c("source", String, "Source"),
    _c("system", String, "System"),
    _c("thing", String, "Log"),
    _c("rows", BigInteger, "Rows in the log"),
    _c("last_occurred_at", DateTime, "Latest time something happened (UTC)"),
    _c("last_recorded_at", DateTime, "Latest time something was recorded (UTC)"),
)
build_coverage = _star(
    "build_coverage",
    "One source x kind of fact: how much of it the source fills.",
    _c("source", String, "Source"),
    _c("fact", String, "Kind of fact, as metrics ask for it"),
    _c("share", Double, "Share of the rows that carry it (0-1)"),
    _c("rows", BigInteger, "Rows that could"),
)
build_quarantine = _star(
    "build_quarantine",
    "One source and log of which rows are in quarantine and were not loaded right since.",
    _c("source", String, "Source"),
    _c("thing", String, "Log"),
    _c("rows", BigInteger, "Rows in quarantine; of events, their return lines"),
    _c("kept", BigInteger, "Rows that count; of events, their return lines"),
)
build_info = _star("build_info", "One property of the build.", _c("name", String, "Name"), _c("value", String, "Value"))

REVISION = 4  # raise it when rows are shaped or estimated otherwise while the tables stay what they are
VERSION = (
    f"{REVISION}-"
    + hashlib.md5(
        repr([(t.name, [(c.name, str(c.type)) for c in t.columns]) for t in STAR.sorted_tables]).encode(),
        usedforsecurity=False,
    ).hexdigest()[:8]
)
"""What a build must have been made as to be read; one made otherwise is made again from the logs."""
