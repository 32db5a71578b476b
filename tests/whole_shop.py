"""A whole shop made of plain data frames: every column of every log is filled.

Nothing here is drawn from the sample shop. What is left of it when something is not there is in any_shop.
"""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Boolean, DateTime, Integer, Numeric

from pipelines.warehouse import schema, vocabulary

Shop = dict[str, pd.DataFrame]
FIRST = pd.Timestamp("2025-03-01 09:30")
DAY = pd.Timedelta(days=1)
LOGS = tuple(schema.LOG.tables)


def turn(count: int, values: str | tuple[Any, ...], every: int = 1) -> list[Any]:
    """Take values in turn, as often as is said; a text holds them between blanks."""
    values = tuple(values.split()) if isinstance(values, str) else values
    return [values[i // every % len(values)] for i in range(count)]


def same(text: str) -> dict[str, Any]:
    """Read columns that hold the same value everywhere: "currency=EUR amount=2.5"."""
    pairs = (pair.split("=") for pair in text.split())
    return {name: float(value) if value.replace(".", "").isdigit() else value for name, value in pairs}


# what becomes of a return line: each event with the days after the request
SENT = "requested 0 approved .4 label_issued .5 handed_over 2 carrier_scan 2.4"
BACK = f"{SENT} received 5 inspected 6.5"
FATES = {
    "resold": f"{BACK} refunded 8 restocked 9 declared 0 acknowledged .1",
    "thrown away": f"{BACK} refunded 8 disposed 20",
    "asked": "requested 0 declared 0",
    "sent": SENT,
    "lost": f"{SENT} lost 30",
    "cancelled": "requested 0 approved .4 cancelled 3",
    "rejected": "requested 0 rejected 1",
    "expired": "requested 0 label_issued .5 expired 20",
    "exchanged": f"{BACK} exchanged 7 restocked 9",
    "refused": "delivery_refused 0 returned_to_sender 1 received 6 refunded 7",
    "credited": "credited 0",
}
SIZES = ("S", "M", "L")


@cache
def whole(orders: int = 60, first: pd.Timestamp = FIRST, every: pd.Timedelta = 4 * DAY) -> Shop:
    """Make a shop that fills every column of every log.

    Two lines an order, half of the lines come back, in every way. It is made once and shared: never change it.
    """
    lines = _order_lines(orders, first, every)
    events = _events_of(lines)
    done = {name: events[events["event"] == name].reset_index(drop=True) for name in ("refunded", "restocked")}
    exchanged = lines.merge(events.loc[events["event"] == "exchanged", ["order_line_id", "occurred_at"]])
    replaced = exchanged.assign(
        exchanged_from_line_id=exchanged["order_line_id"],
        order_line_id=exchanged["order_line_id"] + "x",
        ordered_at=exchanged["occurred_at"],
    )
    chain = _chain(events)
    moved = chain[chain["element_type"] == "transport"].reset_index(drop=True)
    start = first - 90 * DAY
    paid = done["refunded"].assign(amount=done["refunded"]["owed"], refunded_at=done["refunded"]["occurred_at"])
    paid["refund_id"], paid["order_id"] = "F" + paid["return_id"], paid["order_line_id"].str.split("-").str[0]
    paid["kind"] = turn(len(paid), "original voucher")
    sold = done["restocked"].assign(recovered_at=done["restocked"]["occurred_at"] + DAY)
    shop: Shop = {
        "order_line": pd.concat([lines, replaced[[*lines.columns, "exchanged_from_line_id"]]], ignore_index=True),
        "return_event": events,
        "chain_element": chain,
        "refund": paid,
        "refund_line": paid.assign(
            refund_line_id=paid["refund_id"] + "-1", vat_amount=paid["amount"] / 6, restock_type="return"
        ),
        "recovery": (
            sold.assign(recovery_id="V" + sold["return_id"], **same("grade=b amount=8 treatment_cost=1")).assign(
                derogation_reason=sold["fate_of_goods"].map({"destroyed": "unfit"}),
                evidence_ref="test-1",
                disposition=sold["fate_of_goods"],
                currency="EUR",
            )
        ),
        "product": _products(first),
        "carrier_invoice": (
            moved[["carrier", "parcel_id", "element_id"]].assign(
                invoice_line_id="I" + moved["element_id"],
                invoiced_at=moved["started_at"] + 10 * DAY,
                **same("invoice_id=I1 kind=freight amount=2.2 vat_amount=.44 currency=EUR"),
            )
        ),
        "rate_card": (
            pd.DataFrame({"rate_id": ["K1", "K2"], "carrier": ["Kurier", "Relais"]}).assign(
                method=["drop_off", "locker"],
                country=["FR", "DE"],
                **same("weight_from_kg=0 weight_to_kg=5 price=4 fuel_share=.1 surcharge=.2 currency=EUR"),
            )
        ),
        "handling_rate": (
            pd.DataFrame({"activity": vocabulary.HANDLING}).assign(
                **same("place_id=RC minutes=3 hourly_cost=24 currency=EUR")
            )
        ),
        "activity_use": (
            pd.DataFrame({"use_id": ["U1", "U2", "U3"], "shared_by": vocabulary.SHARE_KEYS}).assign(
                began_at=first,
                ended_at=first + 60 * DAY,
                movement_id=["M3", None, None],
                place_id=[None, "RC", None],
                carrier=[None, None, "Relais"],
                activity_amount=[20.0, 500.0, None],
                activity_unit=["l", "kWh", None],
                fuel=["diesel", "electricity", None],
                refrigerant_kg=[0.01, None, None],
                kg_co2e=[None, None, 90.0],
                kg_co2e_ttw=[None, None, 70.0],
                shared_total=[None, 4000.0, None],
                **same("refrigerant=r404a calculated_by=Relais calculated_with=model primary_share=.8 share=.5"),
            )
        ),
        "carrier_claim": (
            pd.DataFrame({"claim_id": ["CL1", "CL2"], "parcel_id": ["B4", "B8"]}).assign(
                opened_at=first + 40 * DAY,
                kind=["lost", "late"],
                amount=[50.0, 20.0],
                decided_at=[first + 60 * DAY, pd.NaT],
                paid_amount=[30.0, None],
                **same("carrier=Kurier currency=EUR"),
            )
        ),
        "place": (
            pd.DataFrame({"place_id": ["DROP", "HUB", "RC"], "name": ["Paris", "Orly", "Lille"]}).assign(
                kind=["drop_off", "hub", "returns_centre"],
                area=["FR-75", "FR-94", "FR-59"],
                latitude=[48.86, 48.74, 50.63],
                longitude=[2.35, 2.39, 3.06],
                **same("country=FR time_zone=Europe/Paris"),
            )
        ),
        "policy": (
            pd.DataFrame({"promise_id": ["refund", "transit", "whole", "quick", "answer"]}).assign(
                from_stage=["received", "handed_over", "requested", "received", "declared"],
                to_stage=["refunded", "received", "refunded", "inspected", "acknowledged"],
                duration=[5, 3, 14, 24, 4],
                duration_unit=["business_days", "carrier_days", "calendar_days", "clock_hours", "clock_hours"],
                responsible=["retailer", "carrier", "retailer", "retailer", "retailer"],
                methods="drop_off locker mail",
                window_until="2026-01-31",
                **dict.fromkeys(("market", "channel", "category", "loyalty_tier", "exception")),
                **same("policy_id=policy window_days=30 fee_amount=2 currency=EUR refund_trigger=received"),
            )
        ),
        "carrier_calendar": (
            pd.DataFrame({"carrier": ["Kurier"], "country": "DE"}).assign(
                weekdays="1 2 3 4 5 6", works_holidays=False, closed_days="2025-12-24", open_days="2025-12-21"
            )
        ),
        "shop": (
            pd.DataFrame({"shop_id": ["shop-FR", "shop-DE", "shop-GB"], "market": ["FR", "DE", "GB"]}).assign(
                legal_entity="Tilleul SA",
                currency=["EUR", "EUR", "GBP"],
                time_zone=["Europe/Paris", "Europe/Berlin", "Europe/London"],
                **same("brand=Tilleul channel=web"),
            )
        ),
        "fx_rate": (
            pd.DataFrame(
                {"day": pd.date_range((first - 5 * DAY).normalize(), (first + orders * every + 40 * DAY).normalize())}
            ).assign(**same("currency=GBP quote_currency=EUR rate=1.17"))
        ),
    }
    dated = {t: r if "valid_from" in r else r.assign(valid_from=start) for t, r in shop.items()}
    return {thing: _filled(thing, dated.get(thing)) for thing in LOGS}


def _order_lines(orders: int, first: pd.Timestamp, every: pd.Timedelta) -> pd.DataFrame:
    number = np.arange(2 * orders)
    order, count = number // 2, 2 * orders
    style, units = order % 5, 1 + (order % 4 == 3)
    net = np.round((20 + 10 * style) * units * 1.0, 2)
    ordered = pd.Series(first + order * every + number % 7 * pd.Timedelta(hours=3))
    country = turn(count, "FR DE GB", 2)
    return pd.DataFrame({"order_line_id": [f"O{n // 2}-{n % 2}" for n in number], "ordered_at": ordered}).assign(
        order_id=[f"O{o}" for o in order],
        product_id=[f"P{s}-{SIZES[(o + n) % 3]}" for s, o, n in zip(style, order, number, strict=True)],
        units=units,
        units_shipped=units,
        net_amount=net,
        vat_amount=net * 0.2,
        discount_amount=net * 0.1,
        unit_cost=np.round(net / units * 0.4, 2),
        country=country,
        currency=["GBP" if c == "GB" else "EUR" for c in country],
        shop_id=[f"shop-{c}" for c in country],
        customer_id=[f"C{o % 17}" for o in order],
        customer_area=turn(count, "75011 10115 SW1A", 2),
        channel=turn(count, "web app store", 6),
        carrier=turn(count, "Relais Kurier", 4),
        shipped_at=ordered + DAY,
        delivered_at=ordered + 3 * DAY,
        seller=turn(count, "own other", 10),
        sold_on=turn(count, "site bazaar", 10),
        fulfilled_by=turn(count, "shop bazaar", 10),
        loyalty_tier=turn(count, "gold none", 6),
        is_gift=order % 11 == 5,
        dimensions=[f'{{"region": "{("north", "south")[o % 2]}"}}' for o in order],
        return_flag=turn(count, (None, "line", None, "order")),
        **same(
            "units_cancelled=0 line_type=goods outbound_cost=3.5 payment_fee=.4 commission_amount=1.2 policy_id=policy"
        ),
    )


def _events_of(lines: pd.DataFrame) -> pd.DataFrame:
    """Send every other line back; what only one event tells stands on that event alone."""
    returns = lines.iloc[::2].reset_index(drop=True)
    count = len(returns)
    returns = returns.drop(columns=["carrier", "is_gift"]).assign(
        return_line_id=[f"R{i}-1" for i in range(count)],
        return_id=[f"R{i}" for i in range(count)],
        parcel_id=[f"B{i}" for i in range(count)],
        fate=turn(count, (*FATES, "resold", "resold", "thrown away")),
        carrier=turn(count, "Kurier Relais"),
        method=turn(count, vocabulary.METHODS),
        condition=turn(count, "a b c"),
        inspection_outcome=turn(count, "match match worn empty"),
        disposition=turn(count, vocabulary.DISPOSITIONS),
        reason_raw=turn(count, "size_small size_large quality_defect changed_mind strange"),
        note_terms=turn(count, ("too small at the waist", "la couleur est différente", None)),
        return_type=turn(count, "withdrawal withdrawal commercial conformity seller_error"),
        decline_reason=turn(count, vocabulary.DECLINE_REASONS),
        is_manual=turn(count, (True, False)),
        requested_at=returns["ordered_at"] + (5 + pd.Series(range(count)) % 9) * DAY,
        amount=returns["net_amount"] * 1.2,
    )
    for fate, kind in (("refused", "refused"), ("exchanged", "exchange")):
        returns.loc[returns["fate"] == fate, "return_type"] = kind
    ways = {fate: way.split() for fate, way in FATES.items()}
    steps = [(f, e, float(d), i) for f, w in ways.items() for i, (e, d) in enumerate(zip(w[::2], w[1::2], strict=True))]
    events = returns.assign(owed=returns["amount"], fate_of_goods=returns["disposition"]).merge(
        pd.DataFrame(steps, columns=["fate", "event", "after", "step"]), on="fate"
    )
    events["occurred_at"] = events["requested_at"] + pd.to_timedelta(events["after"], unit="D")
    events = events[events["occurred_at"] <= lines["ordered_at"].max() + 5 * DAY].reset_index(drop=True)
    events["event_id"] = [f"E{i}" for i in range(len(events))]
    told = {
        "condition": "inspected",
        "inspection_outcome": "inspected",
        "disposition": "inspected",
        "amount": "credited",
    }
    for column, event in (told | {"decline_reason": "rejected"}).items():
        events[column] = events[column].where(events["event"] == event)
    sites = {"handed_over": "DROP", "carrier_scan": "HUB", "received": "RC", "inspected": "RC", "restocked": "RC"}
    return events.assign(place_id=events["event"].map(sites))


def _chain(events: pd.DataFrame) -> pd.DataFrame:
    legs = events[events["event"].isin(["handed_over", "carrier_scan", "received"])].reset_index(drop=True)
    role = legs["event"].map({"handed_over": "first_mile", "carrier_scan": "trunk", "received": "hub"})
    return legs[["parcel_id", "carrier"]].assign(
        element_id="L" + legs["event_id"],
        element_no=legs["step"],
        element_type=role.map({"hub": "hub"}).fillna("transport"),
        role=role,
        from_place_id=role.map({"first_mile": "DROP", "trunk": "HUB", "hub": "RC"}),
        to_place_id=role.map({"first_mile": "HUB", "trunk": "RC", "hub": "RC"}),
        started_at=legs["occurred_at"],
        ended_at=legs["occurred_at"] + pd.Timedelta(hours=9),
        mode=role.map({"first_mile": "van", "trunk": "truck", "hub": "site"}),
        vehicle=role.map({"first_mile": "van_diesel", "trunk": "truck_artic"}),
        distance_km=role.map({"first_mile": 20.0, "trunk": 250.0}),
        cost_amount=role.map({"first_mile": 1.5, "trunk": 2.5}),
        movement_id="M" + legs["step"].astype(str),
        trip_share=None,
        kg_co2e=turn(len(legs), (None, None, None, None, 0.2)),
        kg_co2e_ttw=turn(len(legs), (None, None, None, None, 0.1)),
        activity_amount=turn(len(legs), (None, None, 0.5, None, None)),
        activity_unit=turn(len(legs), (None, None, "l", None, None)),
        refrigerant_kg=turn(len(legs), (None, None, 0.001, None, None)),
        **same("activity_share=.1 shared_by=mass refrigerant=r404a calculated_by=Kurier calculated_with=model"),
        **same("primary_share=.5 service=standard fuel=diesel mass_kg=.8 distance_type=actual"),
        **same("currency=EUR movement_parcels=40"),
    )


def _products(first: pd.Timestamp) -> pd.DataFrame:
    """List five styles in three sizes, three of them with a second version."""
    style = pd.Series([s for s in range(5) for _ in SIZES])
    found = pd.DataFrame({"product_id": [f"P{s}-{z}" for s, z in zip(style, SIZES * 5, strict=True)]}).assign(
        size=SIZES * 5,
        valid_from=first - 90 * DAY,
        style_id=[f"style-{s}" for s in style],
        name=[f"Style {s}" for s in style],
        category=[("dresses", "trousers")[s % 2] for s in style],
        brand=[("Tilleul", "Orme")[s % 2] for s in style],
        supplier=[f"supplier-{s % 2}" for s in style],
        colour=[("red", "blue")[s % 2] for s in style],
        list_price=20.0 + 10 * style,
        unit_cost=8.0 + 4 * style,
        size_note="runs small",
        hs_chapter="62",
        launched_on=(first - 30 * DAY).strftime("%Y-%m-%d"),
        **same("season=spring weight_kg=.4 currency=EUR footprint_class=dress"),
    )
    later = found.head(3).assign(valid_from=first + 60 * DAY, size_note="take one size up")
    return pd.concat([found, later], ignore_index=True)


def _filled(thing: str, rows: pd.DataFrame | None) -> pd.DataFrame:
    """Order columns as the log declares them; what nobody thought of, a log or a column, gets values of its type."""
    table = schema.LOG.tables[thing]
    rows = pd.DataFrame({table.info["time"]: [FIRST]}) if rows is None else rows.copy()
    for column in table.columns:
        name, kind, info = column.name, column.type, column.info
        if name not in rows:
            is_number = isinstance(kind, (Integer, Numeric))
            usual = (
                info["values"][0]
                if info["values"]
                else False
                if isinstance(kind, Boolean)
                else 1
                if is_number
                else name
            )
            is_time = isinstance(kind, DateTime)
            rows[name] = rows[table.info["time"]] if is_time else "2025-06-01" if str(kind) == "DATE" else usual
        if isinstance(kind, DateTime):
            rows[name] = as_text(rows[name])
    return rows[[c.name for c in table.columns]]


def as_text(times: Any) -> pd.Series:
    """Write times as files do."""
    return pd.to_datetime(pd.Series(times)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
