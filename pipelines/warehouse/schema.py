"""The warehouse's tables: the logs that sources fill and the star schema that readers query.

Two MetaData: `LOG` (one typed, append-only log per thing; also the canonical file format, column for column) and `STAR`
(dimensions, facts, estimates; one finished build). Every table states its grain and every column its meaning and unit.
What happened is in `fact_`; what a model or rule thinks is in `estimate_`; they never share a table. No query lives
here.
"""

from typing import Any

from sqlalchemy import Boolean, Column, Date, DateTime, Double, Integer, MetaData, String, Table

from pipelines.warehouse.vocabulary import (
    ACTIVITY_UNITS,
    CLAIM_KINDS,
    DECLINE_REASONS,
    DISPOSITIONS,
    DISTANCE_TYPES,
    DURATION_UNITS,
    ELEMENT_TYPES,
    EVENTS,
    EXCEPTIONS,
    HANDLING,
    INSPECTION_OUTCOMES,
    INVOICE_KINDS,
    LABELS,
    LINE_TYPES,
    METHODS,
    MODES,
    PLACE_KINDS,
    REFUND_TRIGGERS,
    RETURN_FLAGS,
    RETURN_TYPES,
    ROLES,
    SHARE_KEYS,
    STAGES,
    TEMPERATURES,
    WASTE_TREATMENTS,
    Kind,
    Money,
)

LOG = MetaData()


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
    _col(
        "event",
        String,
        "What happened; `declared` is a withdrawal by the online function, `acknowledged` the answer to it",
        required=True,
        values=EVENTS,
    ),
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
    _col("channel", String, "Sales channel, as of an order line, when the order line is unknown"),
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
    "One element of the return transport of a parcel: a transport, a stay in a hub, or an activity beside the chain.",
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
    _col("role", String, "Type of leg of the return transport", required=True, values=ROLES),
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
    _col("temperature_class", String, "Temperature that the goods are kept at on the way", values=TEMPERATURES),
    _col("cost_amount", Money, "Amount invoiced for the element, excluding VAT"),
    _col("currency", String, "ISO 4217 currency of the cost"),
    _col("movement_id", String, "Vehicle movement shared with other parcels"),
    _col("movement_parcels", Integer, "Items or parcels that shared the movement, for per-item allocation"),
    _col("activity_amount", Double, "What was used or done, when measured: energy of `fuel`, else of `vehicle`"),
    _col("activity_unit", String, "Unit of activity_amount", values=ACTIVITY_UNITS),
    _col("activity_share", Double, "Parcel's share of it and of the refrigerant (0-1); all of it unless said"),
    _col("shared_by", String, "Key of the share, such as mass, volume, parcels", text="label"),
    _col("refrigerant", String, "Refrigerant that leaked, such as r404a"),
    _col("refrigerant_kg", Double, "Refrigerant that leaked (kg)"),
    _col(
        "kg_co2e", Double, "Emissions of the parcel on this element (kg CO2e, well to wheel), when somebody gives them"
    ),
    _col("kg_co2e_ttw", Double, "Part of kg_co2e from operation (kg, tank to wheel)"),
    _col("calculated_by", String, "Who calculated kg_co2e, such as the carrier", text="label"),
    _col("calculated_with", String, "Method or standard of kg_co2e", text="label"),
    _col("primary_share", Double, "Share of kg_co2e from primary data (0-1)"),
)

activity_use = _log(
    "activity_use",
    "What a vehicle movement, a site or a carrier used or emitted in a time, shared by the parcels that it was for.",
    ("use_id",),
    "began_at",
    _col("use_id", String, "Id of the statement, unique in the source", required=True),
    _col("began_at", DateTime, "When the time began (UTC)", required=True),
    _col("ended_at", DateTime, "When it ended (UTC), not part of it"),
    _col("movement_id", String, "Vehicle movement it is of"),
    _col("place_id", String, "Site it is of: its hubs and treatments of that time"),
    _col("carrier", String, "Carrier it is of: its transports of that time"),
    _col("fuel", String, "Energy carrier"),
    _col("activity_amount", Double, "Energy used"),
    _col("activity_unit", String, "Unit of activity_amount", values=ACTIVITY_UNITS),
    _col("refrigerant", String, "Refrigerant that leaked, such as r404a"),
    _col("refrigerant_kg", Double, "Refrigerant that leaked (kg)"),
    _col("kg_co2e", Double, "Emissions (kg CO2e, well to wheel), when somebody gives them"),
    _col("kg_co2e_ttw", Double, "Part of kg_co2e from operation (kg, tank to wheel)"),
    _col("calculated_by", String, "Who calculated kg_co2e", text="label"),
    _col("calculated_with", String, "Method or standard of kg_co2e", text="label"),
    _col("primary_share", Double, "Share of kg_co2e from primary data (0-1)"),
    _col("shared_by", String, "Key that parcels share it by", default="parcels", values=SHARE_KEYS),
    _col("shared_total", Double, "The whole of the key with other parcels; of the parcels in the data unless said"),
    _col("share", Double, "Share of it that fell to the parcels in the data (0-1), by a key of your own"),
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
    _col(
        "derogation_reason",
        String,
        "Why units were destroyed: a code of data/derogations.csv (Delegated Regulation (EU) 2026/296)",
        text="code",
    ),
    _col("evidence_ref", String, "Reference of what proves the reason: a certificate, a test report", text="key"),
    _col("waste_treatment", String, "What the operator of the waste did with the units", values=WASTE_TREATMENTS),
    _col(
        "is_hazardous", Boolean, "True when its operator took it as hazardous waste (an asterisk in the list of waste)"
    ),
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
    _col("cn_code", String, "Customs code (Combined Nomenclature): its first four digits at least", text="key"),
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
    "One price of a carrier for a return parcel, by zone and weight break.",
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
