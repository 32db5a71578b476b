"""Shopify: pages of the Admin REST API (2026-07), as saved responses (`{method, url, response}`) or plain pages.

An object that recurs in several pages is given each time: equal ones are duplicates, different ones versions by `updated_at`.
Shopify knows when it refunded, not when goods came back: a refund line with restock type `return` or `legacy_restock` (or
`no_restock` with money) is a `refunded` event, `cancel` is units cancelled on the order line, and goods taken back without money
are `received`. What a refund's lines add up to and what its transactions paid are kept apart.

Amounts are what the customer paid in (presentment money); where that is not the shop's currency, Shopify's own conversion
becomes an exchange rate of the day. Names, e-mails, phones and addresses never leave this module; an e-mail stands in for a
customer without id, for the loader to hash.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.errors import SourceError
from pipelines.sources.base import Named

Object = dict[str, Any]
ZERO = Decimal(0)
CHANNELS = {"pos": "store", "iphone": "app", "android": "app", "shopify_draft_order": "phone"}
RETURNED = ("return", "legacy_restock")
SIZE_OPTIONS, COLOUR_OPTIONS = ("size", "taille", "pointure"), ("color", "colour", "couleur")
COLLECTIONS = ("orders", "refunds", "fulfillments", "products", "locations", "inventory_items", "fulfillment_events", "returns")  # fmt: skip
UNKNOWN_COUNTRY = "ZZ"


class Shopify:
    """Saved pages of the Admin REST API."""

    name = "shopify"
    version = "1"

    def recognises(self, files: list[Path]) -> bool:
        """Tell whether any JSON file holds an API response."""
        return any(_is_page(f) for f in files if f.suffix == ".json")

    def name_rows(self, connection: duckdb.DuckDBPyConnection, files: list[Path], namespace: str) -> Iterator[Named]:
        """Give the rows of every order, refund, product, location, shop and return in the pages.

        Raises SourceError for a file that is not JSON.
        """
        pages = _Pages()
        for file in sorted((f for f in files if f.suffix == ".json"), key=lambda f: f.name):
            pages.read(file)
        for thing, rows in pages.rows().items():
            columns = list(dict.fromkeys(key for row in rows for key in row))
            table = pa.table(
                {c: pa.array([None if r.get(c) is None else str(r[c]) for r in rows], pa.string()) for c in columns}
            )
            connection.register(f"shopify_{thing}", table)
            picked = ", ".join(c for c in columns if c not in ("_file", "_line"))
            yield Named(
                thing,
                f"SELECT {picked}, _file, _line::BIGINT AS _line FROM shopify_{thing}",
                is_derived=thing == "fx_rate",
                may_repeat=True,
            )
            connection.unregister(f"shopify_{thing}")


def _parsed(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except ValueError as error:
        raise SourceError(f"{file.name} is not JSON. Save the API's response as it came and load it again.") from error


def _is_page(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        start = text.read(4000)
    names = (
        *COLLECTIONS,
        *(c.removesuffix("s") for c in COLLECTIONS),
        "shop",
        "customers",
        "transactions",
        "fulfillment_orders",
    )
    return '"response"' in start or any(start.lstrip().startswith(f'{{"{n}"') for n in names)


def _many(holder: Object, one: str) -> list[Object]:
    """Give the objects a response holds, whether as a list or alone."""
    found = holder.get(f"{one}s") or []
    alone = holder.get(one)
    return [o for o in [*(found if isinstance(found, list) else []), alone] if isinstance(o, dict)]


def _number(value: Any) -> Decimal:
    return ZERO if value in (None, "") else Decimal(str(value))


def _money(holder: Object, field: str, *, kind: str = "presentment_money") -> Decimal:
    """Give an amount as the customer paid it: the set's presentment money, else the plain field."""
    money = (holder.get(f"{field}_set") or {}).get(kind) or {}
    return _number(money.get("amount", holder.get(field)))


def _currency(holder: Object, field: str, otherwise: str | None) -> str | None:
    money = (holder.get(f"{field}_set") or {}).get("presentment_money") or {}
    return money.get("currency_code") or otherwise


def _has_tax_inside(refund_line: Object, known: bool | None) -> bool:
    """Tell whether a refund line's subtotal includes tax: as its order says, else from the tax rates."""
    if known is not None:
        return known
    subtotal, tax = _money(refund_line, "subtotal"), _money(refund_line, "total_tax")
    rate = sum((_number(t.get("rate")) for t in (refund_line.get("line_item") or {}).get("tax_lines") or []), ZERO)
    return rate > 0 and tax > 0 and abs(subtotal * rate / (1 + rate) - tax) <= Decimal("0.02")


class _Pages:
    """All objects of the pages, with file and place, and what one page must know of another."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[str, int, Object]]] = defaultdict(list)
        self.tax_inside: dict[Any, bool] = {}
        self.currency_of: dict[Any, str] = {}
        self.sent: dict[Any, dict[Any, Object]] = defaultdict(dict)  # order line -> fulfilment id -> fulfilment
        self.cancelled: dict[Any, dict[Any, int]] = defaultdict(dict)  # order line -> refund line id -> units
        self.delivered: dict[Any, str] = {}  # fulfilment id -> when
        self.costs: dict[Any, Any] = {}

    def read(self, file: Path) -> None:
        content = _parsed(file)
        responses = content if isinstance(content, list) else [content]
        for number, saved in enumerate(responses, start=1):
            if not isinstance(saved, dict):
                continue
            if saved.get("method") == "DELETE" or "/calculate" in str(saved.get("url", "")):
                continue  # a calculated refund is an offer, not a refund
            page = saved.get("response", saved)
            if not isinstance(page, dict):
                continue
            for one in (c.removesuffix("s") for c in COLLECTIONS):
                for thing in _many(page, one):
                    self._keep(one, file.name, number, thing)
            if isinstance(page.get("shop"), dict):
                self._keep("shop", file.name, number, page["shop"])

    def _keep(self, one: str, file: str, line: int, thing: Object) -> None:
        self.found[one].append((file, line, thing))
        if one == "order":
            if "taxes_included" in thing:
                self.tax_inside[thing.get("id")] = bool(thing["taxes_included"])
            if thing.get("currency"):
                self.currency_of[thing.get("id")] = str(thing.get("presentment_currency") or thing["currency"])
            for refund in thing.get("refunds") or []:
                self._keep(
                    "refund", file, line, refund | {"_updated_at": thing.get("updated_at"), "order_id": thing.get("id")}
                )
            for fulfilment in thing.get("fulfillments") or []:
                self._note_sent(fulfilment)
        elif one == "refund":
            for refund_line in thing.get("refund_line_items") or []:
                if refund_line.get("restock_type") == "cancel":
                    self.cancelled[refund_line.get("line_item_id")][refund_line.get("id")] = int(refund_line.get("quantity") or 0)  # fmt: skip
        elif one == "fulfillment":
            self._note_sent(thing)
        elif one == "fulfillment_event" and thing.get("status") == "delivered":
            self.delivered[thing.get("fulfillment_id")] = str(thing.get("happened_at") or thing.get("created_at"))
        elif one == "inventory_item" and thing.get("cost"):
            self.costs[thing.get("id")] = thing["cost"]

    def _note_sent(self, fulfilment: Object) -> None:
        for line in fulfilment.get("line_items") or []:
            if fulfilment.get("status") == "success":
                self.sent[line.get("id")][fulfilment.get("id")] = fulfilment

    def rows(self) -> dict[str, list[Object]]:
        """Give the rows of every log that has any."""
        rows: dict[str, list[Object]] = {}
        for one, thing, make in (
            ("order", "order_line", self._order_lines), ("refund", "return_event", self._refund_events), ("return", "return_event", _return_events),
            ("refund", "refund", self._refunds), ("refund", "refund_line", self._refund_lines), ("product", "product", self._products),
            ("location", "place", _places), ("shop", "shop", _shops), ("order", "fx_rate", _exchange_rates),
        ):  # fmt: skip
            for file, line, found in self.found[one]:
                rows.setdefault(thing, []).extend(row | {"_file": file, "_line": line} for row in make(found))
        return {thing: given for thing, given in rows.items() if given}

    def _order_lines(self, order: Object) -> Iterator[Object]:
        customer = order.get("customer") or {}
        addresses = [order.get("shipping_address"), order.get("billing_address"), customer.get("default_address")]
        address: Object = next((a for a in addresses if isinstance(a, dict) and a.get("country_code")), {})
        inside = bool(order.get("taxes_included"))
        common = {
            "order_id": order.get("id"), "ordered_at": order.get("processed_at") or order.get("created_at"),
            "customer_id": customer.get("id") or order.get("email") or customer.get("email"), "customer_area": address.get("zip"),
            "country": address.get("country_code") or UNKNOWN_COUNTRY, "channel": CHANNELS.get(str(order.get("source_name")), "web"),
            "recorded_at": order.get("updated_at"), "shop_id": None,
        }  # fmt: skip
        for line in order.get("line_items") or []:
            units = int(line.get("quantity") or 0)
            discount = sum((_money(a, "amount") for a in line.get("discount_allocations") or []), ZERO)
            gross = _money(line, "price") * units - discount
            tax = sum((_money(t, "price") for t in line.get("tax_lines") or []), ZERO)
            net = gross - tax if inside else gross
            sent = sorted(self.sent.get(line.get("id"), {}).values(), key=lambda f: str(f.get("created_at")))
            gone = sum(self.cancelled.get(line.get("id"), {}).values())
            if order.get("cancelled_at") and not sent:
                gone = units
            first: Object = sent[0] if sent else {}
            yield common | {
                "order_line_id": line.get("id"), "product_id": _sku(line), "units": units, "units_cancelled": min(gone, units),
                "line_type": "gift_card" if line.get("gift_card") else "goods",
                "net_amount": net if "price" in line else None, "vat_amount": tax,
                "discount_amount": discount * net / gross if inside and gross else discount,
                "currency": _currency(line, "price", order.get("currency")),
                "shipped_at": first.get("created_at"), "carrier": first.get("tracking_company"),
                "delivered_at": self.delivered.get(first.get("id")) or (first.get("updated_at") if first.get("shipment_status") == "delivered" else None),
            }  # fmt: skip
        for line in order.get("shipping_lines") or []:
            if line.get("is_removed"):
                continue
            paid = _money(line, "discounted_price") if "discounted_price" in line else _money(line, "price")
            tax = sum((_money(t, "price") for t in line.get("tax_lines") or []), ZERO)
            yield common | {
                "order_line_id": f"shipping-{line.get('id')}", "product_id": None, "units": 1, "units_cancelled": 0, "line_type": "shipping",
                "net_amount": paid - tax if inside else paid, "vat_amount": tax, "discount_amount": None,
                "currency": _currency(line, "price", order.get("currency")), "shipped_at": None, "carrier": None, "delivered_at": None,
            }  # fmt: skip

    def _line_amount(self, refund: Object, line: Object) -> tuple[Decimal, Decimal]:
        """Give a refund line's amount with tax, and the tax."""
        subtotal, tax = _money(line, "subtotal"), _money(line, "total_tax")
        return (subtotal if _has_tax_inside(line, self.tax_inside.get(refund.get("order_id"))) else subtotal + tax), tax

    def _refund_events(self, refund: Object) -> Iterator[Object]:
        return_id = _return_id(refund)
        for line in refund.get("refund_line_items") or []:
            kind = line.get("restock_type")
            amount, _ = self._line_amount(refund, line)
            if kind == "cancel":
                continue
            paid = amount > 0 or self._paid(refund) > 0
            yield {
                "event_id": f"refund-line-{line.get('id')}", "return_line_id": f"{return_id}-{line.get('line_item_id')}", "return_id": return_id,
                "order_line_id": line.get("line_item_id"), "event": "refunded" if paid else "received",
                "occurred_at": refund.get("processed_at") or refund.get("created_at"), "units": line.get("quantity"),
                "place_id": line.get("location_id"), "note_terms": refund.get("note"),
                "return_type": "withdrawal" if kind in RETURNED or amount > 0 else "price_adjustment",
                "recorded_at": refund.get("_updated_at"), "product_id": _sku(line.get("line_item") or {}),
            }  # fmt: skip

    def _paid(self, refund: Object) -> Decimal:
        done = [
            t for t in refund.get("transactions") or [] if t.get("kind") == "refund" and t.get("status") == "success"
        ]
        return sum((_number(t.get("amount")) for t in done), ZERO)

    def _currency(self, refund: Object) -> str | None:
        for line in (refund.get("transactions") or []) + (refund.get("refund_line_items") or []):
            found = line.get("currency") or _currency(line, "subtotal", None)
            if found:
                return str(found)
        return self.currency_of.get(refund.get("order_id"))

    def _refunds(self, refund: Object) -> Iterator[Object]:
        paid = self._paid(refund)
        if paid == 0 and not any(row["amount"] for row in self._refund_lines(refund)):
            return  # goods put back without money
        gateways = {str(t.get("gateway")) for t in refund.get("transactions") or []}
        kind = next((k for g, k in (("shopify_store_credit", "store_credit"), ("store_credit", "store_credit"), ("gift_card", "voucher"), ("manual", "manual")) if g in gateways), "original")  # fmt: skip
        returned = refund.get("return") or {}
        yield {
            "refund_id": refund.get("id"), "order_id": refund.get("order_id"), "return_id": _return_id(refund) if returned or refund.get("refund_line_items") else None,
            "refunded_at": refund.get("processed_at") or refund.get("created_at"), "amount": paid, "currency": self._currency(refund), "kind": kind,
            "recorded_at": refund.get("_updated_at"),
        }  # fmt: skip

    def _refund_lines(self, refund: Object) -> Iterator[Object]:
        common = {
            "refund_id": refund.get("id"), "refunded_at": refund.get("processed_at") or refund.get("created_at"),
            "currency": self._currency(refund), "recorded_at": refund.get("_updated_at"), "order_line_id": None, "return_line_id": None,
        }  # fmt: skip
        for line in refund.get("refund_line_items") or []:
            amount, tax = self._line_amount(refund, line)
            if amount == 0 and self._paid(refund) == 0:
                continue
            kind = line.get("restock_type")
            yield common | {
                "refund_line_id": line.get("id"), "order_line_id": line.get("line_item_id"), "units": line.get("quantity"), "amount": amount,
                "return_line_id": None if kind == "cancel" else f"{_return_id(refund)}-{line.get('line_item_id')}", "vat_amount": tax, "restock_type": kind,
            }  # fmt: skip
        adjustments = refund.get("order_adjustments") or []
        for line in adjustments:  # money out is negative in an adjustment
            tax = -_money(line, "tax_amount")
            kind = "shipping" if line.get("kind") == "shipping_refund" else "adjustment"
            yield common | {"refund_line_id": f"adjustment-{line.get('id')}", "units": 0, "amount": tax - _money(line, "amount"), "vat_amount": tax, "restock_type": kind}  # fmt: skip
        if not any(a.get("kind") == "shipping_refund" for a in adjustments):
            for line in refund.get("refund_shipping_lines") or []:
                yield common | {"refund_line_id": f"shipping-{line.get('id')}", "units": 0, "amount": _money(line, "subtotal_amount"), "vat_amount": None, "restock_type": "shipping"}  # fmt: skip
        for line in [*(refund.get("duties") or []), *(refund.get("additional_fees") or [])]:
            amount = _money(line, "amount") or _money(line, "price")
            yield common | {"refund_line_id": f"duty-{refund.get('id')}-{line.get('duty_id') or line.get('id')}", "units": 0, "amount": amount, "vat_amount": None, "restock_type": "adjustment"}  # fmt: skip

    def _products(self, product: Object) -> Iterator[Object]:
        options = {str(o.get("name", "")).lower(): f"option{o.get('position', i)}" for i, o in enumerate(product.get("options") or [], start=1)}  # fmt: skip
        for variant in product.get("variants") or []:

            def option(names: Iterable[str], variant: Object = variant) -> Any:
                return next((variant.get(options[n]) for n in names if n in options), None)

            grams = variant.get("grams")
            cost = self.costs.get(variant.get("inventory_item_id"))
            yield {
                "product_id": _sku(variant | {"variant_id": variant.get("id")}), "valid_from": product.get("updated_at") or product.get("created_at"),
                "style_id": product.get("id"), "name": product.get("title"), "category": product.get("product_type"), "brand": product.get("vendor"),
                "size": option(SIZE_OPTIONS), "colour": option(COLOUR_OPTIONS), "weight_kg": _number(grams) / 1000 if grams else None,
                "unit_cost": cost, "currency": next(iter(self.currency_of.values()), None) if cost else None,
                "launched_on": str(product.get("published_at") or "")[:10] or None,
            }  # fmt: skip


def _return_id(refund: Object) -> str:
    returned = refund.get("return") or {}
    return str(returned.get("id") or f"refund-{refund.get('id')}")


def _sku(line: Object) -> str | None:
    sku = str(line.get("sku") or "").strip()
    number = line.get("variant_id") or line.get("product_id") or line.get("id")
    return sku or (f"variant-{number}" if number else None)


def _plain(value: Any) -> str:
    """Give the number of a GraphQL id.

    >>> _plain("gid://shopify/Return/945000954")
    '945000954'
    """
    return str(value).rsplit("/", 1)[-1]


def _nodes(value: Any) -> list[Object]:
    if isinstance(value, dict):
        value = value.get("nodes") or [e.get("node") for e in value.get("edges") or []]
    return [v for v in value or [] if isinstance(v, dict)]


def _return_events(returned: Object) -> Iterator[Object]:
    """Give a GraphQL Return's request and approval, line by line."""
    return_id = _plain(returned.get("id"))
    for line in _nodes(returned.get("returnLineItems")):
        order_line = ((line.get("fulfillmentLineItem") or {}).get("lineItem") or {}).get("id")
        for event, at in (("requested", "createdAt"), ("approved", "requestApprovedAt")):
            if returned.get(at):
                yield {
                    "event_id": f"{event}-{_plain(line.get('id'))}", "return_line_id": f"{return_id}-{_plain(order_line)}", "return_id": return_id,
                    "order_line_id": _plain(order_line), "event": event, "occurred_at": returned[at], "units": line.get("quantity"),
                    "reason_raw": line.get("returnReason"), "note_terms": line.get("customerNote"),
                }  # fmt: skip


def _places(location: Object) -> Iterator[Object]:
    country, postcode = location.get("country_code"), str(location.get("zip") or "").replace(" ", "").upper()
    yield {
        "place_id": location.get("id"), "valid_from": location.get("created_at"), "kind": "warehouse", "name": location.get("name"),
        "country": country, "area": f"{country}-{postcode[:2]}" if country and postcode else None, "recorded_at": location.get("updated_at"),
    }  # fmt: skip


def _shops(shop: Object) -> Iterator[Object]:
    yield {
        "shop_id": shop.get("id"), "valid_from": shop.get("created_at"), "market": shop.get("country_code"), "channel": "web",
        "currency": shop.get("currency"), "time_zone": shop.get("iana_timezone"), "recorded_at": shop.get("updated_at"),
    }  # fmt: skip


def _exchange_rates(order: Object) -> Iterator[Object]:
    """Give Shopify's own conversion of an order as a rate of its day."""
    paid, kept = _money(order, "total_price"), _money(order, "total_price", kind="shop_money")
    theirs, ours = _currency(order, "total_price", None), order.get("currency")
    if theirs and ours and theirs != ours and paid and order.get("created_at"):
        yield {"day": f"{str(order['created_at'])[:10]}T00:00:00Z", "currency": theirs, "quote_currency": ours, "rate": round(kept / paid, 8)}  # fmt: skip
