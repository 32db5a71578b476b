"""Shops of every shape.

A whole one made of plain data frames, and what is left of it when columns, logs or rows are not there. Nothing here is
drawn from the sample shop. A `Shape` is one delivery of files or several; `shapes` lists them all.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Boolean, DateTime, Integer, Numeric

from pipelines.warehouse import schema, vocabulary

Shop = dict[str, pd.DataFrame]
FIRST = pd.Timestamp("2025-03-01 09:30")
DAY = pd.Timedelta(days=1)
LOGS = tuple(schema.LOG.tables)


@dataclass(frozen=True)
class Delivery:
    """Files of one load.

    Tables by the name of their file, and the mapping they are read with ("propose": the one that is proposed).
    """

    tables: Shop
    mapping: str = ""
    namespace: str | None = None


@dataclass(frozen=True)
class Shape:
    """A shop by name; `kind` is rows, mapped, event, log, column or pair."""

    name: str
    kind: str
    make: Callable[[], list[Delivery]]


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
    "resold": f"{BACK} refunded 8 restocked 9",
    "thrown away": f"{BACK} refunded 8 disposed 20",
    "asked": "requested 0",
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


def whole(orders: int = 60, first: pd.Timestamp = FIRST, every: pd.Timedelta = 4 * DAY) -> Shop:
    """Make a shop that fills every column of every log.

    Two lines an order, half of the lines come back, in every way.
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
            pd.DataFrame({"promise_id": ["refund", "transit", "whole", "quick"]}).assign(
                from_stage=["received", "handed_over", "requested", "received"],
                to_stage=["refunded", "received", "refunded", "inspected"],
                duration=[5, 3, 14, 24],
                duration_unit=["business_days", "carrier_days", "calendar_days", "clock_hours"],
                responsible=["retailer", "carrier", "retailer", "retailer"],
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
        **same("service=standard fuel=diesel mass_kg=.8 distance_type=actual currency=EUR movement_parcels=40"),
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


def without(shop: Shop, *gone: str) -> Shop:
    """Take logs ("product") and columns ("order_line.size") away."""
    left = {thing: rows for thing, rows in shop.items() if thing not in gone}
    for thing, column in (name.split(".") for name in gone if "." in name):
        if thing in left:
            left[thing] = left[thing].drop(columns=column)
    return left


def required(shop: Shop) -> Shop:
    """Keep required columns alone, and the SKU that goods must have."""
    kept = {t: [c.name for c in schema.LOG.tables[t].columns if c.info["required"]] for t in shop}
    return {t: rows[[*kept[t], *(["product_id"] if t == "order_line" else [])]] for t, rows in shop.items()}


def only(shop: Shop, *things: str) -> Shop:
    """Keep some logs alone."""
    return {thing: shop[thing] for thing in things}


def changed(shop: Shop, thing: str, **values: Any) -> Shop:
    """Set columns of a log."""
    return {**shop, thing: shop[thing].assign(**values)}


def first_row(shop: Shop, thing: str, column: str, value: Any) -> Shop:
    """Set a column of the first row of a log."""
    return changed(shop, thing, **{column: [value, *shop[thing][column].iloc[1:]]})


def optional(thing: str) -> list[str]:
    """List the optional columns of a log."""
    return [c.name for c in schema.LOG.tables[thing].columns if not c.info["required"]]


def kept(shop: Shop, holds: Callable[[pd.Series], pd.Series]) -> Shop:
    """Keep the order lines whose id holds, and what belongs to them."""
    lines = shop["order_line"][holds(shop["order_line"]["order_line_id"])]
    events = shop["return_event"][shop["return_event"]["order_line_id"].isin(lines["order_line_id"])]
    left = {**shop, "order_line": lines, "return_event": events}
    for thing, column in {
        "chain_element": "parcel_id",
        "refund": "return_id",
        "refund_line": "return_line_id",
        "recovery": "return_line_id",
    }.items():
        left[thing] = shop[thing][shop[thing][column].isin(events[column])]
    return {thing: rows for thing, rows in left.items() if len(rows)}


def happened(shop: Shop, *events: str) -> Shop:
    """Keep the events of these names alone."""
    return {**shop, "return_event": shop["return_event"][shop["return_event"]["event"].isin(events)]}


def free(shop: Shop) -> Shop:
    """Set every amount to 0."""
    money = {
        t: [
            c.name
            for c in schema.LOG.tables[t].columns
            if isinstance(c.type, Numeric) and c.name in r and c.name != "rate"
        ]
        for t, r in shop.items()
    }
    return {t: r.assign(**dict.fromkeys(money[t], 0)) for t, r in shop.items()}


def at_change_of_clocks(shop: Shop) -> Shop:
    """Put orders and events around the hours that do not exist or come twice, in spring and in autumn."""
    times = {
        "order_line": "ordered_at",
        "return_event": "occurred_at",
        "refund": "refunded_at",
        "chain_element": "started_at",
    }
    moved = dict(shop)
    for thing, column in times.items():
        hours = pd.to_timedelta(np.arange(len(shop[thing])) % 12 * 30, unit="m")
        start = pd.Timestamp("2025-03-29 22:00" if thing == "order_line" else "2025-10-25 22:00")
        others = {c.name: None for c in schema.LOG.tables[thing].columns if isinstance(c.type, DateTime)}
        moved[thing] = shop[thing].assign(**{**others, column: as_text(start + hours).to_numpy()})
    return moved


WORDS = (
    "D'été",
    '50 % "laine"',
    "a;b,c",
    "<b>x</b>",
    "{braces} {}",
    "$money$ [link](x)",
    "null",
    "NaN",
    "0012",
    "日本語",
    "it" * 200,
)
WORDED = {
    "product": "style_id name category brand supplier season colour size size_note",
    "order_line": "seller sold_on carrier channel loyalty_tier customer_id",
    "return_event": "reason_raw carrier note_terms condition",
    "chain_element": "carrier service movement_id",
    "place": "name area",
    "shop": "brand legal_entity",
}


def oddly_worded(shop: Shop) -> Shop:
    """Name everything with what formats, queries and markup could stumble on."""
    odd = {
        t: shop[t].assign(**{c: turn(len(shop[t]), WORDS) for c in columns.split()}) for t, columns in WORDED.items()
    }
    promised = [f"{p} {{x}} %" for p in shop["policy"]["promise_id"]]
    return {**shop, **odd, "policy": shop["policy"].assign(promise_id=promised)}


_NOON = "2025-06-01T10:00:00Z"
_OF_RETURNS = ("return_event", "chain_element", "refund", "refund_line", "recovery", "carrier_invoice", "carrier_claim")
_NAMES_ORDER = (
    "return_event.order_line_id",
    "refund_line.order_line_id",
    "refund_line.return_line_id",
    "refund.order_id",
)
_STYLE = ("style_id", "category", "size", "brand", "name")
_PAIRED = tuple(
    f"{thing}.{column}"
    for thing, columns in (
        ("order_line", "customer_id shipped_at delivered_at unit_cost policy_id shop_id"),
        ("product", "style_id category size unit_cost brand"),
        ("return_event", "order_line_id return_type parcel_id"),
    )
    for column in columns.split()
)
BARE = ("order_line", "return_event")

ROWS: dict[str, Callable[[Shop], Shop]] = {
    "whole": lambda s: s,
    "minimum": lambda s: required(only(s, "order_line")),
    "required columns of every log": required,
    "every optional field is an empty text": lambda s: {
        t: r.assign(**dict.fromkeys(optional(t), "")) for t, r in s.items()
    },
    "one line": lambda s: only(kept(s, lambda i: i == "O1-1"), "order_line"),
    "one line that came back": lambda s: kept(s, lambda i: i == "O0-0"),
    "one bare line that came back": lambda s: required(only(kept(s, lambda i: i == "O0-0"), *BARE)),
    "one event": lambda s: {"return_event": s["return_event"].head(1)},
    "nothing returned": lambda s: without(s, *_OF_RETURNS),
    "nothing returned, orders and products alone": lambda s: only(s, "order_line", "product"),
    "everything returned": lambda s: kept(s, lambda i: i.str.endswith("-0")),
    "everything returned and paid at once": lambda s: happened(kept(s, lambda i: i.str.endswith("-0")), "refunded"),
    "one day": lambda _: whole(every=pd.Timedelta(0)),
    "one instant": lambda s: changed(
        changed(s, "order_line", ordered_at=_NOON, shipped_at=_NOON, delivered_at=_NOON),
        "return_event",
        occurred_at=_NOON,
    ),
    "one product": lambda s: changed(changed(s, "order_line", product_id="P1-M"), "return_event", product_id="P1-M"),
    "all one size": lambda s: changed(s, "product", size="M"),
    "one customer": lambda s: changed(s, "order_line", customer_id="C1"),
    "nothing of the product": lambda s: without(s, "product", "order_line.customer_id", "order_line.shop_id"),
    "no style, category, size, brand or customer": lambda s: without(
        s, *(f"product.{c}" for c in _STYLE), "order_line.customer_id", "return_event.customer_id"
    ),
    "returns without orders": lambda s: without(s, "order_line"),
    "returns that name no order": lambda s: without(s, *_NAMES_ORDER),
    "returns that name neither order nor product": lambda s: without(
        s, "product", *(f"return_event.{c}" for c in optional("return_event"))
    ),
    "refunds alone": lambda s: only(s, "refund", "refund_line"),
    "bare refunds alone": lambda s: required(only(s, "refund")),
    "orders and refunds": lambda s: required(only(s, "order_line", "refund")),
    "events alone": lambda s: only(s, "return_event"),
    "bare events alone": lambda s: required(only(s, "return_event")),
    "a shipment log alone": lambda s: only(s, "chain_element", "place"),
    "a bare shipment log alone": lambda s: required(only(s, "chain_element")),
    "a shipment log and returns": lambda s: only(s, "chain_element", "return_event"),
    "two currencies without rates": lambda s: without(s, "fx_rate"),
    "a currency nobody has a rate for": lambda s: {
        t: r.assign(currency="XXX") if "currency" in r else r for t, r in without(s, "fx_rate").items()
    },
    "rates of one day": lambda s: {**s, "fx_rate": s["fx_rate"].iloc[50:51]},
    "ten years": lambda _: whole(orders=120, first=pd.Timestamp("2015-06-01 09:30"), every=31 * DAY),
    "thirty years between two orders": lambda s: changed(
        kept(s, lambda i: i.isin(["O0-0", "O6-1"])),
        "order_line",
        ordered_at=["1996-02-29T10:00:00Z", _NOON],
        shipped_at=None,
        delivered_at=None,
    ),
    "countries nobody knows": lambda s: changed(
        s, "order_line", country=turn(len(s["order_line"]), ("ZZ", "EU", "XK", "??"))
    ),
    "a hundred countries": lambda s: changed(
        s, "order_line", country=[a + b for a in "ABCDEFGHIJKLMN" for b in "ABCDEFGHIJKLMN"][: len(s["order_line"])]
    ),
    "a single huge count": lambda s: first_row(s, "order_line", "units", 2_000_000_000),
    "a count past 32 bits": lambda s: first_row(s, "order_line", "units", 5_000_000_000),
    "a huge price": lambda s: first_row(s, "order_line", "net_amount", 9.9e13),
    "nothing costs anything": free,
    "no units sold": lambda s: changed(s, "order_line", units=0),
    "everything cancelled": lambda s: changed(s, "order_line", units_cancelled=s["order_line"]["units"]),
    "no goods": lambda s: changed(s, "order_line", line_type="shipping"),
    "everything taken back": lambda s: {t: r.assign(is_deleted=True) for t, r in s.items()},
    "orders taken back": lambda s: changed(s, "order_line", is_deleted=True),
    "one line shipped of all": lambda s: changed(
        without(s, "return_event"),
        "order_line",
        shipped_at=[_NOON, *[None] * (len(s["order_line"]) - 1)],
        delivered_at=None,
    ),
    "nothing but exchanges": lambda s: happened(s, *FATES["exchanged"].split()[::2]),
    "change of clocks": at_change_of_clocks,
    "odd words": oddly_worded,
    "dimensions that are none": lambda s: changed(
        s,
        "order_line",
        dimensions=turn(len(s["order_line"]), ("", "north", "[1]", '{"a": {"b": 1}}', '{"a": null, "": 2}')),
    ),
    "returned before they were ordered": lambda s: changed(s, "order_line", ordered_at="2025-12-01T10:00:00Z"),
    "no row can be read": lambda s: changed(required(only(s, "order_line")), "order_line", units="many"),
    "files without rows": lambda s: {t: r.iloc[:0] for t, r in s.items()},
    "orders, and a returns file without rows": lambda s: {
        **only(s, "order_line"),
        "return_event": s["return_event"].iloc[:0],
    },
}

SEVERAL: dict[str, Callable[[Shop], list[Delivery]]] = {
    "two sources of unlike coverage": lambda s: [
        Delivery(s, namespace="full"),
        Delivery(required(only(s, *BARE)), namespace="bare"),
    ],
    "orders in one source, returns in another": lambda s: [
        Delivery(only(s, "order_line", "product"), namespace="till"),
        Delivery(without(s, "order_line", "product"), namespace="back"),
    ],
    "a second load of the same and more": lambda s: [Delivery(kept(s, lambda i: i.str.len() < 5)), Delivery(s)],
}

LEAST = pd.DataFrame(
    {
        "Order ID": ["A1", "A2", "A3", "A4"],
        "Order Line": 1,
        "Order Date": ["2026-04-03", "2026-04-05", "2026-05-01", "2026-06-20"],
        "SKU": ["TEE", "TEE", "CAP", "TEE"],
        "Quantity": [1, 1, 2, 1],
        "Net Amount": ["20.00", "20.00", "18.00", "20.00"],
    }
)
RETURNED = pd.DataFrame(
    {
        "Return Date": ["2026-04-12", None, "2026-05-20", None],
        "Refund Date": ["2026-04-15", None, None, None],
        "Refund Amount": ["24.00", None, None, None],
    }
)
PARCELS = """
name: parcels
time_zone: Europe/Berlin
dates: "%Y-%m-%d %H:%M"
constants: {currency: EUR, country: DE}
tables:
  - file: "parcels*.csv"
    to:
      return_event:
        return_line_id: Tracking
        return_id: Tracking
        product_id: SKU
        events: {handed_over: Start, received: Delivered}
        promise: {name: delivery, from: handed_over, to: received, by: Promised}
"""


def parcels(count: int, days: int) -> pd.DataFrame:
    """List parcels of one constant start and a promise date each, over so many days."""
    number = np.arange(count)
    start = pd.Timestamp("2015-01-01 08:00")
    due = start + pd.to_timedelta(number * days / count, unit="D")
    came = due + pd.to_timedelta(number % 5 - 2, unit="D")
    found = pd.DataFrame({"Tracking": [f"T{n}" for n in number], "SKU": [f"S{n % 9}" for n in number], "Start": start})
    times = found.assign(Delivered=came, Promised=due)
    return times.assign(**{c: times[c].dt.strftime("%Y-%m-%d %H:%M") for c in ("Start", "Delivered", "Promised")})


MAPPED: dict[str, Callable[[], Delivery]] = {
    "the least file, as proposed": lambda: Delivery({"orders": LEAST.join(RETURNED).assign(Country="FR")}, "propose"),
    "the least file without a country": lambda: Delivery({"orders": LEAST.join(RETURNED)}, "propose"),
    "the least file, nothing returned": lambda: Delivery(
        {"orders": LEAST.join(RETURNED.iloc[:0]).assign(Country="FR")}, "propose"
    ),
    "the least file, one row": lambda: Delivery(
        {"orders": LEAST.join(RETURNED).assign(Country="FR").head(1)}, "propose"
    ),
    "orders alone, as proposed": lambda: Delivery({"orders": LEAST.assign(Country="FR")}, "propose"),
    "one parcel with its promise": lambda: Delivery({"parcels": parcels(1, 5)}, PARCELS),
    "a promise date on each of many rows of ten years": lambda: Delivery({"parcels": parcels(3000, 3600)}, PARCELS),
}


def shapes() -> list[Shape]:
    """List every shape, those that say most first."""

    def left(name: str, kind: str, of: Callable[[Shop], Shop]) -> Shape:
        return Shape(name, kind, lambda: [Delivery(of(whole()))])

    def lacking(kind: str, *gone: str) -> Shape:
        return left(f"without {' and '.join(gone)}", kind, lambda s: without(s, *gone))

    def alone(thing: str) -> list[Shape]:
        return [
            left(f"{thing} alone", "log", lambda s: only(s, thing)),
            left(f"{thing} alone, required columns", "log", lambda s: required(only(s, thing))),
            lacking("log", thing),
        ]

    columns = [f"{t}.{c}" for t in LOGS for c in optional(t) if c not in ("system", "recorded_at", "is_deleted")]
    return [
        *(left(name, "rows", of) for name, of in ROWS.items()),
        *(Shape(name, "rows", lambda of=of: of(whole())) for name, of in SEVERAL.items()),
        *(Shape(name, "mapped", lambda make=make: [make()]) for name, make in MAPPED.items()),
        *(
            left(f"{event} is the only event", "event", lambda s, e=event: happened(s, e))
            for event in vocabulary.EVENTS
        ),
        *(shape for thing in LOGS for shape in alone(thing)),
        *(lacking("column", column) for column in columns),
        *(lacking("pair", *pair) for pair in itertools.combinations(_PAIRED, 2)),
        *(lacking("pair", *pair) for pair in itertools.combinations(LOGS, 2)),
    ]


def write(folder: Path, delivery: Delivery) -> list[Path]:
    """Write a delivery's tables as CSV, and give the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in delivery.tables.items():
        rows.to_csv(folder / f"{name}.csv", index=False)
    return sorted(folder.glob("*.csv"))
