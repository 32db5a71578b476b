"""Shops of every shape.

What is left of the whole shop when columns, logs or rows are not there, and tables that are read by a mapping. A
`Shape` is one delivery of files or several; `shapes` lists them all.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import DateTime, Numeric

from pipelines.warehouse import schema, vocabulary
from tests.whole_shop import DAY, FATES, LOGS, Shop, as_text, turn, whole


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
    """A shop by name; `kind` is rows, mapped, event, log, column, lacking (a column of a mapped file) or pair."""

    name: str
    kind: str
    make: Callable[[], list[Delivery]]


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


def huge_count(shop: Shop, units: int) -> Shop:
    """Sell and ship as many units on the first line."""
    return first_row(first_row(shop, "order_line", "units", units), "order_line", "units_shipped", units)


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
    "a single huge count": lambda s: huge_count(s, 2_000_000_000),
    "a count past 32 bits": lambda s: huge_count(s, 5_000_000_000),
    "a huge price": lambda s: first_row(s, "order_line", "net_amount", 9.9e13),
    "nothing costs anything": free,
    "no units sold": lambda s: changed(s, "order_line", units=0, units_shipped=0),
    "everything cancelled": lambda s: changed(
        s, "order_line", units_cancelled=s["order_line"]["units"], units_shipped=0
    ),
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

WIDE = """
name: wide
missing: empty
time_zone: Europe/Berlin
dates: "%Y-%m-%d"
constants: {currency: EUR}
tables:
  - file: "sales*.csv"
    to:
      order_line:
        order_line_id: {join: [Order, Line], with: "-"}
        order_id: Order
        ordered_at: Ordered
        shipped_at: Shipped
        delivered_at: Delivered
        product_id: SKU
        units: Units
        net_amount: Net
        vat_amount: VAT
        unit_cost: Cost
        country: Country
        customer_id: Customer
        customer_area: Postcode
        channel: Channel
        carrier: Carrier
      return_event:
        return_id: Return
        reason_raw: Reason
        disposition: Fate
        method: Method
        events: {requested: Requested, received: Received, inspected: Inspected, refunded: Refunded}
        promise: {name: refund, from: received, to: refunded, by: Due}
      refund:
        refunded_at: Refunded
        amount: Amount
      product:
        style_id: Style
        name: Article
        category: Category
        brand: Brand
        size: Size
"""


def sales(count: int = 40) -> pd.DataFrame:
    """List sales of a file that fills every column of a mapping; every other one came back."""
    number = np.arange(count)
    ordered = pd.Timestamp("2026-01-05") + pd.to_timedelta(number * 3, unit="D")
    is_back = number % 2 == 0
    days = {"Ordered": 0, "Shipped": 1, "Delivered": 3}
    later = {"Requested": 8, "Received": 14, "Inspected": 15, "Refunded": 17, "Due": 20}
    found = pd.DataFrame({"Order": [f"A{n}" for n in number], "Line": 1}).assign(
        **{name: (ordered + pd.Timedelta(days=after)).strftime("%Y-%m-%d") for name, after in days.items()},
        **{name: (ordered + pd.Timedelta(days=after)).strftime("%Y-%m-%d") for name, after in later.items()},
        SKU=[f"S{n % 6}" for n in number],
        Units=1 + (number % 5 == 0),
        Net=20.0,
        VAT=4.0,
        Cost=8.0,
        Country=turn(count, "FR DE"),
        Customer=[f"C{n % 9}" for n in number],
        Postcode=turn(count, "75011 10115"),
        Channel=turn(count, "web store", 3),
        Carrier=turn(count, "Kurier Relais"),
        Return=[f"R{n}" for n in number],
        Reason=turn(count, "size_small changed_mind", 2),
        Fate=turn(count, "as_new b_stock", 2),
        Method=turn(count, "drop_off locker", 2),
        Amount=24.0,
        Style=[f"style-{n % 3}" for n in number],
        Article=[f"Style {n % 3}" for n in number],
        Category=turn(count, "dresses shoes"),
        Brand=turn(count, "Tilleul Orme"),
        Size=turn(count, "S M L"),
    )
    told = [*later, "Return", "Reason", "Fate", "Method", "Amount"]
    return found.assign(**{name: found[name].where(is_back) for name in told})


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
    "a file that fills every column of its mapping": lambda: Delivery({"sales": sales()}, WIDE),
    "one parcel with its promise": lambda: Delivery({"parcels": parcels(1, 5)}, PARCELS),
    "a promise date on each of many rows of ten years": lambda: Delivery({"parcels": parcels(3000, 3600)}, PARCELS),
}


def _lacking() -> list[Shape]:
    """Take each column of a mapped file away: of one that a mapping is given for, and of one it is proposed for.

    Ids and times of sales, that no mapping can do without, included: the load says so.
    """
    least = LEAST.join(RETURNED).assign(Country="FR")

    def lacking(of: str, table: str, rows: pd.DataFrame, mapping: str) -> list[Shape]:
        return [
            Shape(
                f"{of}, without {column}",
                "lacking",
                lambda c=column: [Delivery({table: rows.drop(columns=c)}, mapping)],
            )
            for column in rows
        ]

    return [
        *lacking("a mapped file", "sales", sales(), WIDE),
        *lacking("mapped parcels", "parcels", parcels(20, 60), f"missing: empty\n{PARCELS}"),
        *lacking("the least file as proposed", "orders", least, "propose"),
    ]


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
        *_lacking(),
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
