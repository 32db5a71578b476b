"""Which rows of the facts an increment touched: conditions on the `touched_` tables of a draft."""

TOUCHED = {
    key: f"{key} IN (SELECT {key} FROM touched_{key.removesuffix('_key')})"
    for key in ("order_line_key", "return_line_key", "parcel_key", "refund_key")
}
ESTIMATED = {
    "leg_key": "leg_key IN (SELECT leg_key FROM touched_leg)",
    "return_lot_key": "return_lot_key IN (SELECT return_lot_key FROM touched_lot)",
    "return_key": "return_key IN (SELECT return_key FROM touched_return)",
}
SHAPED_LEG = (  # the touched legs of fact_return_leg: all at its end
    "rowid > (SELECT coalesce(max(row), -1) FROM last_leg)"
)
AMONG = (
    TOUCHED
    | ESTIMATED
    | {  # what a check may ask about
        "event_key": "event_key IN (SELECT event_key FROM narrowed_return_event)",
        "recovery_key": "recovery_key IN (SELECT recovery_key FROM narrowed_recovery)",
        "shaped_leg": SHAPED_LEG,
    }
)
