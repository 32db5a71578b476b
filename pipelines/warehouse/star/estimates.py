"""Estimates, what we think of what happened; and what a build says of itself."""

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Double, Integer, String

from pipelines.warehouse.star.base import column, key_column, star_table
from pipelines.warehouse.vocabulary import COST_COMPONENTS, Money

estimate_return_probability = star_table(
    "estimate_return_probability",
    "One order line: its probability to come back, from what was known when it was ordered.",
    key_column("order_line_key", "the order line"),
    column("probability", Double, "0-1"),
    column("buyer_probability", Double, "The same had the product been usual for its category (0-1)"),
    column("base_rate", Double, "Rate of its product before the order (0-1)"),
    column("model_id", String, "model_version"),
)
estimate_probability_state = star_table(
    "estimate_probability_state",
    "One thing of a source: what the next order line would know of it, the day after the last one.",
    column("source", String, "Source"),
    column(
        "thing",
        String,
        "shop, late, market, item, size, colour, brand, word, customer, customer_category, pace, country or fit",
    ),
    column("key", String, "Which one; parts are separated by the sign U+001F"),
    column("y", Double, "Lines that came back within 35 days, of those known"),
    column("n", Double, "Lines known; of customer_category and fit: units kept; of pace: lines of the last 90 days"),
    column("e", Double, "Returns expected by the rates of their markets; of market: lines with a price"),
    column(
        "s",
        Double,
        "Sum: of market logarithms of prices, of customer_category sizes kept, of fit sizes above the buyers' own, of"
        " country days of delivery; of pace days since the last order",
    ),
)
estimate_leg_carbon = star_table(
    "estimate_leg_carbon",
    "One leg: its emissions.",
    key_column("leg_key", "the leg"),
    column(
        "activity",
        String,
        "transport or hub (the chain), packaging, customer_trip, repair or treatment: totals of their own",
    ),
    column("factor_id", String, "factor_set; of several, each stands in estimate_leg_part"),
    column("amount", Double, "What the factor is multiplied with, in its unit; empty where there are several"),
    column("distance_km", Double, "Used, adjusted (km)"),
    column("distance_type", String, "actual, shortest_feasible, great_circle, or default: a usual distance"),
    column("distance_adjustment", Double, "Kilometres used over those the type gives"),
    column("distance_status", String, "measured (primary), imputed (modelled) or assumed (default)"),
    column("mass_kg", Double, "Used (kg)"),
    column("mass_status", String, "measured, imputed or assumed"),
    column("tonne_km", Double, "Transport activity (t.km); of a shared round by the direct distance"),
    column("kg_co2e_wtt", Double, "Energy provision (kg)"),
    column("kg_co2e_ttw", Double, "Operation (kg)"),
    column("kg_co2e", Double, "Well to wheel (kg)"),
    column("kg_co2e_biogenic", Double, "CO2 from biomass, outside kg_co2e (kg)"),
    column(
        "kg_co2e_market", Double, "Well to wheel with electricity as contracted (kg), where it differs from kg_co2e"
    ),
    column(
        "kg_co2e_modelled",
        Double,
        "What distance, mass and factor give (kg), where somebody gave kg_co2e or the energy",
    ),
    column(
        "kg_co2e_tonne_km",
        Double,
        "The same leg by tonne-kilometres (kg), where kg_co2e is by stop or movement; else empty",
    ),
    column("status", String, "measured, imputed or assumed: the worst of its inputs"),
    column("primary_share", Double, "Share of kg_co2e from primary data (0-1): energy that was metered, given figures"),
    column("is_refrigerated", Boolean, "Whether the goods were kept cool; its factor holds the cooling unit's fuel"),
    column("scope3_category", String, "GHG Protocol scope 3 category"),
    column(
        "method",
        String,
        "Allocation key: per_tonne_km, per_vehicle_km, per_parcel, shared (by mass x direct distance), per_tonne,"
        " energy (metered) or given (calculated by somebody else)",
    ),
)
estimate_leg_part = star_table(
    "estimate_leg_part",
    "One leg with several factors x factor: its part of the leg's emissions.",
    key_column("leg_key", "the leg"),
    column("part", String, "What it is of: a treatment, energy, refrigerant"),
    column("factor_id", String, "factor_set"),
    column("amount", Double, "What the factor is multiplied with, in its unit"),
    column("mass_kg", Double, "Goods treated (kg)"),
    column("kg_co2e_wtt", Double, "Energy provision (kg)"),
    column("kg_co2e_ttw", Double, "Operation (kg)"),
    column("kg_co2e", Double, "Well to wheel (kg)"),
    column("kg_co2e_biogenic", Double, "CO2 from biomass, outside kg_co2e (kg)"),
    column(
        "kg_co2e_market", Double, "Well to wheel with electricity as contracted (kg), where it differs from kg_co2e"
    ),
)
estimate_leg_cost = star_table(
    "estimate_leg_cost",
    "One leg: its cost in the reporting currency.",
    key_column("leg_key", "the leg"),
    column("amount", Money, "Excluding VAT"),
    column("status", String, "measured, imputed or assumed"),
    column("method", String, "Invoice or rule"),
)
estimate_return_carbon = star_table(
    "estimate_return_carbon",
    "One lot whose parcel has legs: its share of the parcel's emissions, by mass.",
    key_column("return_lot_key", "the lot"),
    column("share", Double, "Its share of each leg of its parcel (0-1)"),
    column("kg_co2e", Double, "Well to wheel (kg)"),
    column("kg_co2e_measured", Double, "Part resting on reported inputs only (kg)"),
    column("kg_co2e_primary", Double, "Part from primary data (kg)"),
    column("is_whole", Boolean, "Every leg of its parcel has an answer; kg_co2e is of those that have"),
)
estimate_avoided_carbon = star_table(
    "estimate_avoided_carbon",
    "One lot whose fate is decided: what making its goods emitted, and what their second life avoids; never taken off"
    " any emissions.",
    key_column("return_lot_key", "the lot"),
    column("footprint_id", String, "Row of data/factors/product_footprints.csv"),
    column("kg_co2e_new", Double, "Making as many new goods, use left out (kg)"),
    *(
        column(f"kg_co2e_avoided_{n}", Double, f"Avoided at a {n} displacement of new goods (kg)")
        for n in ("low", "central", "high")
    ),
    column("status", String, "imputed: the product's class; assumed: a figure a kilogram"),
)
estimate_return_cost = star_table(
    "estimate_return_cost",
    "One component of the cost of one lot, in the reporting currency.",
    key_column("return_lot_key", "the lot"),
    column("component", String, ", ".join(COST_COMPONENTS)),
    column("amount", Money, "Cost positive, income negative, excluding VAT"),
    column("status", String, "measured, imputed or assumed"),
    column("method", String, "Invoice, rule or parameter"),
)
estimate_return_tracking = star_table(
    "estimate_return_tracking",
    "One source x hand-over method x carrier: what it reports of returns.",
    column("source", String, "Source"),
    column("method", String, "Hand-over method; '' where none is known"),
    column("carrier", String, "Carrier; '' where none is known"),
    column("stages", String, "Stages that the source has ever recorded, separated by blanks"),
    column("reports_hand_over", Boolean, "Hand-over or first scan is known of at least half of its finished returns"),
    column(
        "reports_goods",
        Boolean,
        "The same of anything that happened to the goods: handed over, scanned, received, inspected, restocked or"
        " disposed of",
    ),
)
estimate_promise = star_table(
    "estimate_promise",
    "One return x promise: when its clock starts, is due and stops. The state follows from the time of observation.",
    key_column("return_key", "the return"),
    column("return_id", String, "Return, source first"),
    key_column("promise_key", "the promise"),
    column("promise_id", String, "Promise"),
    column("responsible", String, "Who keeps it"),
    column("started_at", DateTime, "UTC; empty until the first stage happens"),
    column("due_at", DateTime, "UTC"),
    column("ended_at", DateTime, "UTC; the last unit"),
    column(
        "handed_over_at",
        DateTime,
        "UTC; when the customer had done their part: hand-over or first scan, the request where neither is reported",
    ),
    column("stopped_at", DateTime, "UTC; cancelled, rejected or expired"),
    column("stopped_by", String, "cancelled, rejected, expired or lost"),
    column("lost_at", DateTime, "UTC"),
    column("duration", Double, "Promised, in duration_unit"),
    column("duration_unit", String, "clock_hours, calendar_days, business_days, carrier_days or legal"),
    column("started_on", Date, "Day the clock starts, in the shop's zone"),
    column("calendar_carrier", String, "Carrier of the dim_day calendar it is counted on; '' is the country's own"),
    column("started_no", Integer, "business_day_no of started_on in that calendar"),
    column("closed_on", Date, "Day it ended, stopped or was lost, in the shop's zone"),
    column("to_stage", String, "Stage that stops the clock"),
    column(
        "is_requested", Boolean, "The request itself is known; else the first thing known of the return stands for it"
    ),
    column(
        "date_fault",
        String,
        "Why the promise cannot be judged: it has no date, falls or ends before it starts, no start is known, or the"
        " dates of its goods cannot be; empty where it can",
    ),
    column("requested_at", DateTime, "UTC"),
    column("requested_on", Date, "Return date"),
    column("amount", Double, "Net value of the return in the reporting currency"),
    column("units", Integer, "Units"),
    column("source", String, "Source"),
    column("shop_id", String, "Shop"),
    column("country", String, "Market"),
    column("channel", String, "Channel"),
    column("category", String, "Category of the first line"),
    column("brand", String, "Brand of the first line"),
    column("method", String, "Hand-over method"),
    column("carrier", String, "Carrier"),
    column("place_id", String, "Site"),
    column("policy_key", BigInteger, "Policy version"),
)
estimate_late_refund = star_table(
    "estimate_late_refund",
    "One legal refund of a country whose law adds to late ones x period of its scale: of refunds that are open, or came"
    " late. What is owed follows from the time of observation.",
    key_column("return_key", "the return"),
    column("return_id", String, "Return, source first"),
    column("rule", String, "Row of data/late_refund.csv"),
    column("country", String, "Market"),
    column("due_at", DateTime, "Last instant the refund was in time (UTC)"),
    column("due_on", Date, "Its day in the shop's zone"),
    column("period_no", Integer, "Number of the period, from 1"),
    column("starts_at", DateTime, "UTC; first instant of the period; empty where the promise has a date_fault"),
    column("ends_at", DateTime, "UTC; first instant of the next; empty where none follows or none is needed yet"),
    column("starts_on", Date, "First day of the period in the shop's zone"),
    column("share", Double, "Added to the sum due, of the sum (0-1 and more)"),
    column("yearly_rate", Double, "Legal interest beside it, by the day from starts_on on (0-1 a year of 365 days)"),
    column("is_assumed", Boolean, "The legal rate of these days is not known: the nearest known one stands for it"),
    column("date_fault", String, "Why the promise has no date; empty where it has"),
    column("source", String, "Source"),
)
estimate_breach_risk = star_table(
    "estimate_breach_risk",
    "One open return x promise: the probability that it breaks.",
    key_column("return_key", "the return"),
    column("promise_id", String, "Promise"),
    column("probability", Double, "0-1"),
    column("stage", String, "Last stage reached"),
    column("model_id", String, "model_version"),
)
estimate_completion = star_table(
    "estimate_completion",
    "One open return: when it will probably be refunded.",
    key_column("return_key", "the return"),
    column("stage", String, "Last stage reached"),
    column("stage_days", Double, "Days since it was reached"),
    column("expected_at", DateTime, "Half of such returns are refunded by then (UTC)"),
    column("early_at", DateTime, "One in ten is refunded by then (UTC)"),
    column("late_at", DateTime, "Nine in ten are refunded by then (UTC); empty: longer than any was followed"),
)
estimate_stage_pace = star_table(
    "estimate_stage_pace",
    "One source x pair of stages: how the last weeks' waits ended, against those of the weeks before.",
    column("source", String, "Source"),
    column("stage", String, "Pair of stages"),
    column("weeks", Integer, "Last weeks compared"),
    column("until_at", DateTime, "Up to then (UTC)"),
    column("factor", Double, "Time of late over the usual time: above 1 waits end more slowly"),
    column("z", Double, "Standard errors from no change"),
    column("ended", Integer, "Waits of lots that ended in the weeks compared"),
    column("expected", Double, "Ends that the weeks before would have given"),
    column("is_drifting", Boolean, "Large and sure: quantiles and risks that rest on earlier weeks may not hold"),
)
estimate_development_curve = star_table(
    "estimate_development_curve",
    "One cell x day since the clock's start: share of the final returns confirmed by then.",
    column("source", String, "Source"),
    column("category", String, "Category"),
    column("channel", String, "Channel"),
    column("window_days", Integer, "Return window (days)"),
    column("is_dated", Boolean, "The window ends on a date: lines of one cell differ in length"),
    column(
        "day",
        Integer,
        "Days since the clock's start; of a dated window the usual window's days, then 70 steps to its end, then days"
        " after it",
    ),
    column("share", Double, "G(day), 0-1"),
    column("doubt", Double, "How far G may be off in this cell: standard deviation of its probit"),
    column("is_new", Boolean, "Its lines are younger than the curve is long, while others of the source are not"),
    column("returned", Integer, "Returned lots behind the cell"),
)
estimate_new_curve = star_table(
    "estimate_new_curve",
    "One source x category with a new curve; without a category all of the source.",
    column("source", String, "Source"),
    column("category", String, "Category"),
    column("since_on", Date, "First order under a new curve"),
    column("share", Double, "Share of what is still to come (units not returned x 1 - G) that is under new curves"),
)
estimate_delay_drift = star_table(
    "estimate_delay_drift",
    "One source x category: how the delays of the last 30 days' returns compare with the curve's; without a category"
    " all of the source.",
    column("source", String, "Source"),
    column("category", String, "Category"),
    column("since_on", Date, "First day compared"),
    column("until_on", Date, "Last day compared"),
    column("factor", Double, "Recent delays over the curve's"),
    column("z", Double, "Standard errors from no drift"),
    column("returned", Integer, "Returned lots compared"),
    column("is_drifting", Boolean, "Large and sure: the curves follow, and intervals resting on them are wider"),
)
estimate_rate_prior = star_table(
    "estimate_rate_prior",
    "One prior fitted once a build: a cohort's logit-normal; or the design effect of orders alone.",
    column("kind", String, "cohort (mean, sd) or order (neither)"),
    column("category", String, "Category"),
    column("month", Date, "Month of orders it is for, itself left out; empty for order"),
    column("a", Double, "Mean of the logit"),
    column("b", Double, "Sd of the logit"),
    column("deff", Double, "Design effect of orders"),
)
estimate_product_prior = star_table(
    "estimate_product_prior",
    "One category: the beta prior of its styles' or products' return rates; the row without category is all together.",
    column("kind", String, "style or product"),
    column("category", String, "Category"),
    column("a", Double, "Like returned units"),
    column("b", Double, "Like kept units"),
    column("deff", Double, "Design effect of weeks within a product"),
)
estimate_product_spread = star_table(
    "estimate_product_spread",
    "One point of how styles or products lie around their category's rate, without assuming a shape.",
    column("kind", String, "style or product"),
    column("log_odds", Double, "Log odds ratio to the category"),
    column("weight", Double, "0-1, summing to 1 a kind"),
)
estimate_rate_level = star_table(
    "estimate_rate_level",
    "One value of a level that products share: what it adds to the log odds of a return; the row of a level without"
    " value is the spread between its values.",
    column(
        "cut",
        String,
        "What rows the level was fitted on: style, size (style x size), colour (style x colour) or product",
    ),
    column("level", String, "category, supplier, season, size, colour, style or own"),
    column("category", String, "Category"),
    column("value", String, "Supplier, season, size or colour"),
    column("log_odds", Double, "Adds to the log odds; the category's own log odds"),
    column("log_odds_sd", Double, "Uncertainty of log_odds, or the spread"),
)
estimate_credit_match = star_table(
    "estimate_credit_match",
    "One credited return line without an order line, bound by rule to a purchase.",
    key_column("return_line_key", "the return line"),
    key_column("order_line_key", "the purchase"),
    column("units", Integer, "Units bound"),
    column("rule", String, "Rule that bound it"),
    column("hours_apart", Double, "Hours from purchase to credit"),
    column("is_cancellation", Boolean, "Credited within the hour: an order-entry cancellation, not a return"),
    column("ordered_on", Date, "Day of the purchase"),
)
model_version = star_table(
    "model_version",
    "One fitted model with its score out of time beside its base rate's.",
    column("model_id", String, "Model and fit"),
    column("model", String, "Model"),
    column("fitted_at", DateTime, "Observation time it was fitted at (UTC)"),
    column("rows", BigInteger, "Training rows"),
    column("score_name", String, "Score"),
    column("score", Double, "Out of time"),
    column("base_score", Double, "Of the base rate"),
    column("is_used", Boolean, "Beats its base rate"),
    column("parameters", String, "JSON"),
)
factor_set = star_table(
    "factor_set",
    "One emission factor, cost parameter or rule used by this build.",
    column("factor_id", String, "Row id"),
    column(
        "kind", String, "emission, cost, distance, allocation, or option: what levers and dispositions compare with"
    ),
    column("description", String, "What it is"),
    column("unit", String, "Unit"),
    column("wtt", Double, "Energy provision"),
    column("ttw", Double, "Operation"),
    column("value", Double, "Total, or the parameter"),
    column("year", Integer, "Year"),
    column("source", String, "Publisher"),
    column("source_address", String, "Address"),
    column("quality", String, "verified, derived or assumed"),
    column("factor_set", String, "Set it belongs to"),
    column("row_id", String, "Publisher's row"),
    column("licence", String, "Licence"),
    column("gwp", String, "Warming potentials it was made with"),
    column("eol_method", String, "What an end-of-life factor counts"),
    column("log_sd", Double, "Uncertainty: sd of the logarithm"),
    column("vehicle", String, "What an emission factor is of"),
    column("low", Double, "Least value of a parameter, where it is stated"),
    column("high", Double, "Greatest value of a parameter, where it is stated"),
)


build_source = star_table(
    "build_source",
    "One source and system: what it delivered up to when.",
    column("source", String, "Source"),
    column("system", String, "System"),
    column("thing", String, "Log"),
    column("rows", BigInteger, "Rows in the log"),
    column("last_occurred_at", DateTime, "Latest time something happened (UTC)"),
    column("last_recorded_at", DateTime, "Latest time something was recorded (UTC)"),
)
build_coverage = star_table(
    "build_coverage",
    "One source x kind of fact: how much of it the source fills.",
    column("source", String, "Source"),
    column("fact", String, "Kind of fact, as metrics ask for it"),
    column("share", Double, "Share of the rows that carry it (0-1)"),
    column("rows", BigInteger, "Rows that could"),
)
build_quarantine = star_table(
    "build_quarantine",
    "One source and log of which rows are in quarantine and were not loaded right since.",
    column("source", String, "Source"),
    column("thing", String, "Log"),
    column("rows", BigInteger, "Rows in quarantine; of events, their return lines"),
    column("kept", BigInteger, "Rows that count; of events, their return lines"),
)
build_info = star_table(
    "build_info", "One property of the build.", column("name", String, "Name"), column("value", String, "Value")
)
