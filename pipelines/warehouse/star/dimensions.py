"""Dimensions."""

from sqlalchemy import Boolean, Date, DateTime, Double, Integer, String

from pipelines.warehouse.schema import product
from pipelines.warehouse.star.base import column, key_column, star_table
from pipelines.warehouse.vocabulary import Money

dim_day = star_table(
    "dim_day",
    "One calendar day of one business calendar: a country's, or a carrier's in a country.",
    column("day", Date, "Day"),
    column("country", String, "ISO country whose public holidays count"),
    column("carrier", String, "Carrier whose working days count; '' is the country's own calendar"),
    column("is_holiday", Boolean, "Public holiday of the country"),
    column(
        "is_business_day",
        Boolean,
        "No weekend (the country's own) and no public holiday, or a weekend day officially worked; or a day the carrier"
        " works",
    ),
    column("business_day_no", Integer, "Business days up to and including this day, since the calendar's start"),
)
dim_product = star_table(
    "dim_product",
    "One version of a SKU; the latest has is_current.",
    key_column("product_key", "the SKU"),
    column("product_id", String, "SKU, source first"),
    column("valid_from", DateTime, "Version begins (UTC)"),
    column("valid_to", DateTime, "Version ends (UTC), empty while current"),
    column("is_current", Boolean, "True for the latest version"),
    *(
        column(c.name, c.type, c.comment or "")
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
            "cn_code",
            "footprint_class",
            "launched_on",
        )
    ),
)
dim_customer = star_table(
    "dim_customer",
    "One customer as a keyed hash: no name, no e-mail, no address.",
    key_column("customer_key", "the customer"),
    column("customer_id", String, "Source and HMAC of the source's id"),
    column("country", String, "Country of the first order"),
    column("area", String, "Coarse area of the first order"),
    column("first_ordered_on", Date, "Day of the first order"),
)
dim_place = star_table(
    "dim_place",
    "One place of the return network, latest version.",
    key_column("place_key", "the place"),
    column("place_id", String, "Id, source first"),
    column("kind", String, "What the place is"),
    column("name", String, "Name of the site"),
    column("country", String, "ISO country"),
    column("area", String, "Coarse area"),
    column("latitude", Double, "Degrees, rounded to .1"),
    column("longitude", Double, "Degrees, rounded to .1"),
    column("time_zone", String, "IANA zone"),
)
dim_carrier_service = star_table(
    "dim_carrier_service",
    "One carrier, service, mode, vehicle and fuel seen on a leg.",
    key_column("carrier_service_key", "the combination"),
    column("carrier", String, "Carrier"),
    column("service", String, "Service"),
    column("mode", String, "Mode"),
    column("vehicle", String, "Vehicle class"),
    column("fuel", String, "Energy carrier"),
)
dim_policy = star_table(
    "dim_policy",
    "One version of a return policy.",
    key_column("policy_key", "the policy and its valid_from"),
    column("policy_id", String, "Policy, source first"),
    column("valid_from", DateTime, "Version begins (UTC)"),
    column("valid_to", DateTime, "Version ends (UTC), empty while current"),
    column("market", String, "ISO country, empty for all"),
    column("channel", String, "Channel, empty for all"),
    column("category", String, "Category, empty for all"),
    column("loyalty_tier", String, "Loyalty tier, empty for all"),
    column("exception", String, "final_sale or hygiene where goods may not come back"),
    column("window_days", Integer, "Days to ask for a return"),
    column("window_until", Date, "Last day to ask for a return where later; empty for a window of days alone"),
    column("fee_amount", Money, "Fee per return, excluding VAT"),
    column("currency", String, "Currency of the fee"),
    column("methods", String, "Methods offered"),
    column("refund_trigger", String, "Stage at which the refund is given"),
)
dim_policy_promise = star_table(
    "dim_policy_promise",
    "One stage promise of one policy version; `legal_refund` is added for EU markets.",
    key_column("promise_key", "the policy version and promise"),
    key_column("policy_key", "the policy version"),
    column("promise_id", String, "Promise"),
    column("from_stage", String, "Stage that starts the clock"),
    column("to_stage", String, "Stage that stops it"),
    column("duration", Double, "In duration_unit"),
    column("duration_unit", String, "clock_hours, calendar_days, business_days or carrier_days"),
    column("responsible", String, "Who keeps it"),
)
dim_carrier_calendar = star_table(
    "dim_carrier_calendar",
    "One version of the days a carrier works in a country.",
    column("carrier", String, "Carrier"),
    column("country", String, "ISO country"),
    column("valid_from", DateTime, "Version begins (UTC)"),
    column("valid_to", DateTime, "Version ends (UTC), empty while current"),
    column("weekdays", String, "Weekdays worked, 1 to 7"),
    column("works_holidays", Boolean, "Public holidays are worked"),
    column("closed_days", String, "Further days not worked"),
    column("open_days", String, "Further days worked"),
)
dim_rate_card = star_table(
    "dim_rate_card",
    "One version of a carrier's price for a return parcel.",
    column("rate_id", String, "Price, source first"),
    column("valid_from", DateTime, "Version begins (UTC)"),
    column("valid_to", DateTime, "Version ends (UTC), empty while current"),
    column("carrier", String, "Carrier"),
    column("method", String, "Hand-over method, empty for all"),
    column("country", String, "ISO country it comes from, empty for all"),
    column("weight_from_kg", Double, "Weight break begins (kg), included"),
    column("weight_to_kg", Double, "Ends (kg), not included"),
    column("price", Money, "Of a parcel, excluding VAT"),
    column("fuel_share", Double, "Fuel surcharge (0-1)"),
    column("surcharge", Money, "Further surcharges"),
    column("currency", String, "ISO 4217"),
)
dim_handling_rate = star_table(
    "dim_handling_rate",
    "One version of what an activity on a unit takes and costs at a site.",
    column("place_id", String, "Site, source first"),
    column("activity", String, "receipt, inspection, grading, reconditioning, repacking or putaway"),
    column("valid_from", DateTime, "Version begins (UTC)"),
    column("valid_to", DateTime, "Version ends (UTC), empty while current"),
    column("minutes", Double, "A unit"),
    column("hourly_cost", Money, "Of an hour"),
    column("currency", String, "ISO 4217"),
)
dim_reason = star_table(
    "dim_reason",
    "One normalised return reason.",
    column("reason", String, "Reason"),
    column("family", String, "size, product, delivery, customer or unknown"),
    column("preventable_by", String, "Who can prevent it"),
)
dim_disposition = star_table(
    "dim_disposition",
    "One disposition.",
    column("disposition", String, "Disposition"),
    column("outcome", String, "resold_as_new, refurbished, donated, recycled, destroyed or returned"),
    column("is_discarded", Boolean, "Counts as discarded in Regulation (EU) 2024/1781 Art. 24"),
)
dim_lane = star_table(
    "dim_lane",
    "One origin and destination of a transport.",
    key_column("lane_key", "the pair"),
    key_column("from_place_key", "the origin"),
    key_column("to_place_key", "the destination"),
    column("distance_km", Double, "Distance used when the carrier reports none (km)"),
    column("method", String, "How it was found: geodesic x circuity, or same area"),
)
dim_shop = star_table(
    "dim_shop",
    "One shop, latest version.",
    key_column("shop_key", "the shop"),
    column("shop_id", String, "Shop, source first"),
    column("legal_entity", String, "Seller"),
    column("brand", String, "Brand"),
    column("market", String, "Home market"),
    column("channel", String, "Main channel"),
    column("currency", String, "Home currency"),
    column("time_zone", String, "IANA zone of its days"),
)
