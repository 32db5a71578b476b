"""Shopify: what its interfaces give, as sales, cancellations, return events and refunds.

Rows say what Shopify's states say. Test orders are no sales (their rows are withdrawn). Units refunded that were never
fulfilled are cancelled, not returned, whatever their restock type. A refund counts as paid when a transaction
succeeded: until then goods taken back are `received`. A return that is declined or cancelled ends, and one that is
closed ends for the units that neither money nor goods moved for. Shopify knows when it refunded, not when goods came
back, unless a reverse fulfilment says so.

An object that recurs is given each time: equal ones are duplicates, different ones versions by `updated_at`; what its
states say follows from all of the files together. Amounts are what the customer paid in (presentment money); where that
is not the shop's currency, Shopify's own conversion becomes an exchange rate of the day. Names, e-mails, phones and
addresses never leave this module; an e-mail stands in for a customer without id, for the loader to hash.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.sources.base import NamedRows
from pipelines.sources.shopify_files import Object, is_json, is_shopify, read
from pipelines.sources.shopify_state import (
    SavedObjects,
    line_of,
    refund_lines,
    refunded_at,
    restock_kind,
    returned_line,
    units_asked,
)
from pipelines.sources.shopify_values import (
    ZERO,
    Unreadable,
    currency_in,
    id_in,
    instant_in,
    known_units_in,
    money_in,
    number_in,
    object_in,
    objects_in,
    sku_in,
    sum_in,
    text_in,
    units_in,
    word_in,
)

CHANNELS = {"pos": "store", "iphone": "app", "android": "app", "shopify_draft_order": "phone"}
GOODS_BACK = ("return", "legacy_restock")
DECLINED_FOR = {"final_sale": "final_sale", "return_period_ended": "outside_window"}
DISPOSED_AS = {
    "restocked": ("restocked", "as_new"),
    "not_restocked": ("inspected", None),
    "processing_required": ("received", None),
    "missing": ("lost", None),
}
REFUND_KINDS = {
    "shopify_store_credit": "store_credit",
    "store_credit": "store_credit",
    "gift_card": "voucher",
    "manual": "manual",
}
SIZE_OPTIONS, COLOUR_OPTIONS = ("size", "taille", "pointure"), ("color", "colour", "couleur")
UNKNOWN_COUNTRY = "ZZ"


class Shopify:
    """Pages of the Admin API, bulk operations and bodies of web hooks."""

    name = "shopify"
    version = "3"
    expects = (
        "pages of the Admin API (JSON), a bulk operation (JSONL) or bodies of web hooks, with orders, refunds or"
        " returns in them"
    )

    def recognises(self, files: list[Path]) -> bool:
        """Tell whether any JSON file holds what Shopify's interfaces give."""
        return any(is_shopify(f) for f in files)

    def name_rows(
        self, connection: duckdb.DuckDBPyConnection, files: list[Path], namespace: str
    ) -> Iterator[NamedRows]:
        """Give the rows of every order, refund, product, location, shop and return in the files.

        Raises SourceError for a file that is not JSON, or in which nothing is Shopify's.
        """
        if not any(is_json(f) for f in files):
            return  # the loader says what the files are
        for thing, rows in _Rows(read(files)).of_logs().items():
            columns = list(dict.fromkeys(key for row in rows for key in row))
            table = pa.table(
                {c: pa.array([None if r.get(c) is None else str(r[c]) for r in rows], pa.string()) for c in columns}
            )
            connection.register(f"shopify_{thing}", table)
            picked = ", ".join(c for c in columns if c not in ("_file", "_line"))
            yield NamedRows(
                thing,
                f"SELECT {picked}, _file, _line::BIGINT AS _line FROM shopify_{thing}",
                is_derived=thing == "fx_rate",
                may_repeat=True,
            )
            connection.unregister(f"shopify_{thing}")


class _Rows(SavedObjects):
    """The rows that the objects of the files make."""

    # -- rows ----------------------------------------------------------------------------------------------------------

    def of_logs(self) -> dict[str, list[Object]]:
        """Give the rows of every log that has any."""
        makers = (
            ("order", "order_line", self._order_lines),
            ("refund", "return_event", self._refund_events),
            ("refund", "refund", self._refunds),
            ("refund", "refund_line", self._refund_lines),
            ("product", "product", self._products),
            ("location", "place", _places),
            ("shop", "shop", _shops),
            ("order", "fx_rate", _exchange_rates),
        )
        rows: dict[str, list[Object]] = {}
        for kind, thing, make in makers:
            for _, file, line, content in self.found[kind]:
                rows.setdefault(thing, []).extend(row | {"_file": file, "_line": line} for row in make(content))
        for returned in self.returns.values():
            place = {"_file": returned["_file"], "_line": returned["_line"]}
            rows.setdefault("return_event", []).extend(row | place for row in self._return_events(returned))
        return {thing: given for thing, given in rows.items() if given}

    def _order_lines(self, order: Object) -> Iterator[Object]:
        at = text_in(order.get("processed_at")) or text_in(order.get("created_at"))
        newest = self.orders.get(id_in(order), order)
        if at is None and (newest.get("processed_at") or newest.get("created_at")):
            return  # a page with some of the order's fields; another page has all
        customer = object_in(order.get("customer"))
        addresses = [order.get("shipping_address"), order.get("billing_address"), customer.get("default_address")]
        address = next((a for a in map(object_in, addresses) if a.get("country_code")), {})
        is_inside = order.get("taxes_included") is True
        common = {
            "order_id": id_in(order),
            "ordered_at": at,
            "customer_id": id_in(customer) or text_in(order.get("email")) or text_in(customer.get("email")),
            "customer_area": text_in(address.get("zip")),
            "country": text_in(address.get("country_code")) or UNKNOWN_COUNTRY,
            "channel": CHANNELS.get(word_in(order.get("source_name")), "web"),
            "recorded_at": text_in(order.get("updated_at")),
            "is_deleted": _flag(order.get("test") is True),
        }
        for line in objects_in(order.get("line_items")):
            base = common | {
                "order_line_id": id_in(line),
                "product_id": sku_in(line),
                "units": text_in(line.get("quantity")),
                "line_type": _line_type(line),
                "currency": currency_in(line, "price", order.get("currency")),
            }
            try:
                yield base | self._sold(order, line, is_inside=is_inside)
            except Unreadable as fault:
                yield base | {"net_amount": fault.value}
        for line in objects_in(order.get("shipping_lines")):
            if line.get("is_removed") is True:
                continue
            base = common | {
                "order_line_id": f"shipping-{id_in(line)}",
                "units": "1",
                "units_cancelled": "0",
                "line_type": "shipping",
                "currency": (
                    currency_in(line, "discounted_price", None) or currency_in(line, "price", order.get("currency"))
                ),
            }
            try:
                has_discounted = line.get("discounted_price") or line.get("discounted_price_set")
                paid = money_in(line, "discounted_price" if has_discounted else "price")
                tax = sum_in(money_in(t, "price") for t in objects_in(line.get("tax_lines")))
                yield base | {"net_amount": paid - tax if is_inside else paid, "vat_amount": tax}
            except Unreadable as fault:
                yield base | {"net_amount": fault.value}

    def _sold(self, order: Object, line: Object, *, is_inside: bool) -> Object:
        """Give what an order line sold: units, amounts without VAT, and when it left."""
        units, price = units_in(line.get("quantity")), money_in(line, "price")
        discounts = line.get("discount_allocations")
        if discounts is None and "discounted_total_set" in line:
            discount = price * units - money_in(line, "discounted_total")
        elif discounts is None:
            discount = money_in(line, "total_discount")
        else:
            discount = sum_in(money_in(a, "amount") for a in objects_in(discounts))
        gross = price * units - discount
        tax = sum_in(money_in(t, "price") for t in objects_in(line.get("tax_lines")))
        has_price, has_tax = "price" in line or "price_set" in line, "tax_lines" in line
        sent = sorted((f for f, _ in self.sent.get(id_in(line), [])), key=lambda f: instant_in(f.get("created_at")))
        first: Object = sent[0] if sent else {}
        return {
            "units_cancelled": self._units_cancelled(order, line),
            "units_shipped": None if line.get("requires_shipping") is False else self._fulfilled(id_in(line)),
            "net_amount": (gross - tax if is_inside else gross) if has_price else None,
            "vat_amount": tax if has_tax else None,
            "discount_amount": discount * (gross - tax) / gross if is_inside and gross else discount,
            "shipped_at": text_in(first.get("created_at")),
            "carrier": text_in(first.get("tracking_company")) or _tracking_company(first),
            "delivered_at": self.delivered.get(id_in(first)) or _delivered_at(first),
            "exchanged_from_line_id": self.exchanged_from.get(id_in(line)),
        }

    def _common(self, refund: Object) -> Object:
        """Give what the rows of one refund share."""
        updated = [text_in(refund.get("_updated_at")), text_in(refund.get("updated_at"))]
        is_test = self._is_test(refund.get("order_id")) or any(
            t.get("test") is True for t in objects_in(refund.get("transactions"))
        )
        return {
            "recorded_at": max((u for u in updated if u), key=instant_in, default=None),
            "is_deleted": _flag(is_test),
        }

    def _refund_events(self, refund: Object) -> Iterator[Object]:
        return_id = _return_id(refund)
        exchange = self.returns.get(id_in(refund.get("return")), {}).get("exchange_line_items")
        for number, line in refund_lines(refund):
            kind = restock_kind(line)
            base = self._common(refund) | {
                "event_id": f"refund-line-{number}",
                "return_line_id": f"{return_id}-{line_of(line)}",
                "return_id": return_id,
                "order_line_id": line_of(line),
                "occurred_at": refunded_at(refund),
                "units": text_in(line.get("quantity")),
                "place_id": text_in(line.get("location_id")) or id_in(line.get("location")),
                "note_terms": text_in(refund.get("note")),
                "product_id": sku_in(object_in(line.get("line_item"))),
            }
            if kind == "cancel" or known_units_in(line.get("quantity")) == 0:
                continue
            try:
                is_paid, amount = self._is_paid(refund), self._amount(refund, line)[0]
            except Unreadable:  # its refund line is quarantined; the units came back all the same
                is_paid, amount = True, ZERO
            units = units_asked(line) - self.cancelled.get(number, 0)
            is_goods = kind in GOODS_BACK or amount > 0
            own = {
                "event": "refunded" if is_paid else "exchanged" if exchange else "received",
                "occurred_at": self._paid_at(refund) if is_paid else refunded_at(refund),
                "return_type": "withdrawal" if is_goods else "price_adjustment",
            }
            if exchange and not is_paid:
                own["return_type"] = "exchange"
            if units > 0 and (is_paid or is_goods):
                own["units"] = str(units)
            elif known_units_in(line.get("quantity")) is not None:
                own["is_deleted"] = (
                    "true"  # nothing that was fulfilled, or nothing moved: no return, whatever an older page said
                )
            yield base | own

    def _refund_currency(self, refund: Object) -> str | None:
        for line in (*objects_in(refund.get("transactions")), *objects_in(refund.get("refund_line_items"))):
            found = (
                text_in(line.get("currency"))
                or currency_in(line, "amount", None)
                or currency_in(line, "subtotal", None)
            )
            if found:
                return found
        of_total = currency_in(refund, "total_refunded", None)
        order = self.orders.get(text_in(refund.get("order_id")), {})
        return of_total or text_in(order.get("presentment_currency")) or text_in(order.get("currency"))

    def _is_void(self, refund: Object) -> bool:
        """Say whether a refund only let go of an authorisation: money that was never taken."""
        kinds = {
            word_in(t.get("kind")) for t in objects_in(self.refunds.get(id_in(refund), refund).get("transactions"))
        }
        return "void" in kinds and "refund" not in kinds

    def _refunds(self, refund: Object) -> Iterator[Object]:
        if self._is_void(refund):
            return
        if refunded_at(refund) is None and refunded_at(self.refunds.get(id_in(refund), refund)) is not None:
            return  # an order that names its refund only; the refund's own page has all
        base = self._common(refund) | {
            "refund_id": id_in(refund),
            "order_id": text_in(refund.get("order_id")),
            "return_id": _return_id(refund) if refund.get("return") or refund.get("refund_line_items") else None,
            "currency": self._refund_currency(refund),
        }
        try:
            paid = self._paid(refund)
            if not self._payments(refund) and refund.get("transactions") is None:
                paid = money_in(refund, "total_refunded")
            if paid == 0 and not any(row["amount"] for row in self._refund_lines(refund)):
                return  # goods put back without money
        except Unreadable as fault:
            yield base | {"refunded_at": refunded_at(refund), "amount": fault.value}
            return
        gateways = [word_in(t.get("gateway")) for t in self._payments(refund)]
        kind = next((REFUND_KINDS[g] for g in REFUND_KINDS if g in gateways), "original")
        yield base | {"refunded_at": self._paid_at(refund), "amount": paid, "kind": kind}

    def _refund_lines(self, refund: Object) -> Iterator[Object]:
        """Give what the money of a refund was for. Money that has not moved is of no unit yet."""
        if self._is_void(refund):
            return
        common = self._common(refund) | {
            "refund_id": id_in(refund),
            "refunded_at": self._paid_at(refund),
            "currency": self._refund_currency(refund),
            "units": "0",
        }
        is_paid = self._is_paid(refund)
        for number, line in refund_lines(refund):
            base = common | {"refund_line_id": number, "order_line_id": line_of(line)}
            try:
                amount, tax = self._amount(refund, line)
                if amount == 0 and not is_paid:
                    continue
                units = units_in(line.get("quantity"))
            except Unreadable as fault:
                yield base | {"units": text_in(line.get("quantity")), "amount": fault.value}
                continue
            back = f"{_return_id(refund)}-{line_of(line)}"
            gone = min(self.cancelled.get(number, 0), units)
            kind = restock_kind(line)
            parts = [
                (number, units - gone, back, kind),
                (f"{number}-cancelled" if gone < units else number, gone, None, "cancel"),
            ]
            for part, of_units, return_line, restock_type in parts:
                if of_units or (units == 0 and part == number and return_line):
                    share = Decimal(of_units) / units if units else Decimal(1)
                    yield base | {
                        "refund_line_id": part,
                        "return_line_id": return_line,
                        "units": str(of_units if is_paid else 0),
                        "amount": amount * share,
                        "vat_amount": tax * share,
                        "restock_type": restock_type if is_paid else "unpaid",
                    }
        yield from _other_refund_lines(refund, common)

    def _products(self, product: Object) -> Iterator[Object]:
        options = {
            word_in(o.get("name")): f"option{o.get('position', i)}"
            for i, o in enumerate(objects_in(product.get("options")), start=1)
        }
        for variant in objects_in(product.get("variants")):
            chosen = {word_in(o.get("name")): o.get("value") for o in objects_in(variant.get("selected_options"))}
            chosen |= {n: variant.get(key) for n, key in options.items() if variant.get(key) is not None}
            item = object_in(variant.get("inventory_item"))
            known = self.costs.get(text_in(variant.get("inventory_item_id")) or id_in(item), item)
            unit_cost = object_in(known.get("unit_cost"))
            cost = text_in(known.get("cost")) or text_in(unit_cost.get("amount"))
            currencies = (text_in(o.get("currency")) for o in self.orders.values())
            yield {
                "product_id": sku_in(variant | {"variant_id": variant.get("id")}),
                "valid_from": text_in(product.get("updated_at")) or text_in(product.get("created_at")),
                "style_id": id_in(product),
                "name": text_in(product.get("title")),
                "category": text_in(product.get("product_type")),
                "brand": text_in(product.get("vendor")),
                "size": next((text_in(chosen[n]) for n in SIZE_OPTIONS if n in chosen), None),
                "colour": next((text_in(chosen[n]) for n in COLOUR_OPTIONS if n in chosen), None),
                "weight_kg": _weight(variant, item),
                "unit_cost": cost,
                "currency": (
                    (text_in(unit_cost.get("currency_code")) or next((c for c in currencies if c), None))
                    if cost
                    else None
                ),
                "launched_on": str(product.get("published_at") or "")[:10] or None,
            }

    # -- returns -------------------------------------------------------------------------------------------------------

    def _return_events(self, returned: Object) -> Iterator[Object]:
        """Give a return's request, decision, dispositions and end, line by line.

        A decision or an end without a time of its own takes the last time the return knows.
        """
        return_id, status = id_in(returned), word_in(returned.get("status")).replace("cancelled", "canceled")
        created, approved = text_in(returned.get("created_at")), text_in(returned.get("request_approved_at"))
        last = text_in(returned.get("closed_at")) or text_in(returned.get("updated_at")) or approved or created
        is_exchange = bool(objects_in(returned.get("exchange_line_items")))
        order_id = id_in(returned.get("order")) or text_in(returned.get("order_id"))
        decline = object_in(returned.get("decline"))
        disposed = list(_dispositions(returned))
        for line in objects_in(returned.get("return_line_items")):
            order_line, number = returned_line(line), id_in(line)
            base = {
                "return_line_id": f"{return_id}-{order_line}",
                "return_id": return_id,
                "order_line_id": order_line,
                "units": text_in(line.get("quantity")),
                "reason_raw": _reason(line),
                "note_terms": text_in(line.get("customer_note")),
                "return_type": "exchange" if is_exchange else None,
                "recorded_at": text_in(returned.get("_updated_at")),
                "is_deleted": _flag(self._is_test(order_id)),
            }
            if created or status == "requested":
                yield base | {"event_id": f"requested-{number}", "event": "requested", "occurred_at": created}
            if approved:
                yield base | {"event_id": f"approved-{number}", "event": "approved", "occurred_at": approved}
            if status == "declined":
                reason = DECLINED_FOR.get(word_in(decline.get("reason")), "other")
                own = {"event": "rejected", "occurred_at": last, "decline_reason": reason}
                yield base | {"event_id": f"rejected-{number}"} | own
            if status in ("canceled", "closed"):
                moved = self._moved(returned, line, disposed) if status == "closed" else 0
                left = None if moved is None else (known_units_in(line.get("quantity")) or 0) - moved
                if left is not None and left > 0:
                    own = {"event": "cancelled", "occurred_at": last, "units": str(left)}
                    yield base | {"event_id": f"ended-{number}"} | own
            for position, (of_line, disposition) in enumerate(disposed):
                if of_line == order_line:
                    yield base | _disposed(disposition, f"{return_id}-{number}-{position}")

    def _moved(self, returned: Object, line: Object, disposed: list[tuple[str | None, Object]]) -> int | None:
        """Give the units of a closed return's line that money or goods moved for; None where the files cannot tell."""
        order_line, return_id = returned_line(line), id_in(returned)
        said = [known_units_in(line.get(f"{word}_quantity")) for word in ("refunded", "processed")]
        order_id = id_in(returned.get("order")) or text_in(returned.get("order_id")) or self.order_of.get(order_line)
        if all(n is None for n in said) and order_id not in self.orders:
            return None
        refunded = sum(
            units_asked(refund_line)
            for _, _, refund, refund_line in self.refunded.get(order_line, [])
            if id_in(refund.get("return")) == return_id
        )
        came = sum(
            known_units_in(d.get("quantity")) or 0
            for of_line, d in disposed
            if of_line == order_line and word_in(d.get("type")) != "missing"
        )
        return max(refunded, came, *(n or 0 for n in said))


def _flag(is_true: bool) -> str | None:
    return "true" if is_true else None


def _line_type(line: Object) -> str:
    """Tell goods from gift cards and from tips, which REST marks with the gateway they were paid by."""
    if line.get("gift_card") is True:
        return "gift_card"
    is_tip = "tip_payment_gateway" in line or (
        word_in(line.get("title")) == "tip" and not line.get("product_id") and not line.get("product")
    )
    return "fee" if is_tip else "goods"


def _tracking_company(fulfilment: Object) -> str | None:
    return next((text_in(t.get("company")) for t in objects_in(fulfilment.get("tracking_info"))), None)


def _delivered_at(fulfilment: Object) -> str | None:
    said = text_in(fulfilment.get("delivered_at"))
    is_there = "delivered" in (word_in(fulfilment.get("shipment_status")), word_in(fulfilment.get("display_status")))
    return said or (text_in(fulfilment.get("updated_at")) if is_there else None)


def _return_id(refund: Object) -> str:
    return id_in(refund.get("return")) or f"refund-{id_in(refund)}"


def _reason(line: Object) -> str | None:
    definition = object_in(line.get("return_reason_definition"))
    return text_in(line.get("return_reason")) or text_in(definition.get("handle")) or text_in(definition.get("name"))


def _dispositions(returned: Object) -> Iterator[tuple[str | None, Object]]:
    """Give what was done with the goods of a return, each with the order line it was of."""
    for reverse in objects_in(returned.get("reverse_fulfillment_orders")):
        for line in objects_in(reverse.get("line_items")):
            for disposition in objects_in(line.get("dispositions")):
                yield returned_line(line), disposition


def _disposed(disposition: Object, number: str) -> Object:
    event, fate = DISPOSED_AS.get(word_in(disposition.get("type")), (word_in(disposition.get("type")), None))
    return {
        "event_id": f"disposition-{id_in(disposition) or number}",
        "event": event,
        "occurred_at": text_in(disposition.get("created_at")),
        "units": text_in(disposition.get("quantity")),
        "disposition": fate,
        "place_id": id_in(disposition.get("location")),
    }


def _other_refund_lines(refund: Object, common: Object) -> Iterator[Object]:
    """Give the money of a refund that is of no line: shipping, adjustments, duties."""
    adjustments = objects_in(refund.get("order_adjustments"))
    for line in adjustments:  # money out is negative in an adjustment
        kind = "shipping" if word_in(line.get("kind")) == "shipping_refund" else "adjustment"
        try:
            tax = -money_in(line, "tax_amount")
            money: Object = {"amount": tax - money_in(line, "amount"), "vat_amount": tax}
        except Unreadable as fault:
            money = {"amount": fault.value}
        yield common | {"refund_line_id": f"adjustment-{id_in(line)}", "restock_type": kind} | money
    parts: list[tuple[str, str, Object, tuple[str, ...]]] = []
    if not any(word_in(a.get("kind")) == "shipping_refund" for a in adjustments):
        for line in objects_in(refund.get("refund_shipping_lines")):
            parts.append((f"shipping-{id_in(line)}", "shipping", line, ("subtotal_amount",)))
    for line in (*objects_in(refund.get("duties")), *objects_in(refund.get("additional_fees"))):
        number = f"duty-{id_in(refund)}-{text_in(line.get('duty_id')) or id_in(line)}"
        parts.append((number, "adjustment", line, ("amount", "price")))
    for number, kind, line, fields in parts:
        try:
            amount: Any = next((a for f in fields if (a := money_in(line, f))), ZERO)
        except Unreadable as fault:
            amount = fault.value
        yield common | {"refund_line_id": number, "amount": amount, "restock_type": kind}


WEIGHT_UNITS = {"kilograms": "1", "grams": "0.001", "pounds": "0.45359237", "ounces": "0.028349523125"}


def _weight(variant: Object, item: Object) -> Any:
    """Give the weight of a variant in kilograms: REST's grams, or GraphQL's measurement."""
    weight = object_in(object_in(item.get("measurement")).get("weight"))
    factor = WEIGHT_UNITS.get(word_in(weight.get("unit")))
    try:
        if grams := number_in(variant.get("grams")):
            return grams / 1000
        return number_in(weight.get("value")) * Decimal(factor) or None if factor else None
    except Unreadable as fault:
        return fault.value


def _places(location: Object) -> Iterator[Object]:
    address = object_in(location.get("address"))
    country = text_in(location.get("country_code")) or text_in(address.get("country_code"))
    postcode = (text_in(location.get("zip")) or text_in(address.get("zip")) or "").replace(" ", "").upper()
    yield {
        "place_id": id_in(location),
        "valid_from": text_in(location.get("created_at")),
        "kind": "warehouse",
        "name": text_in(location.get("name")),
        "country": country,
        "area": f"{country}-{postcode[:2]}" if country and postcode else None,
        "recorded_at": text_in(location.get("updated_at")),
    }


def _shops(shop: Object) -> Iterator[Object]:
    yield {
        "shop_id": id_in(shop),
        "valid_from": text_in(shop.get("created_at")),
        "market": text_in(shop.get("country_code"))
        or text_in(object_in(shop.get("billing_address")).get("country_code")),
        "channel": "web",
        "currency": text_in(shop.get("currency")),
        "time_zone": text_in(shop.get("iana_timezone")),
        "recorded_at": text_in(shop.get("updated_at")),
    }


def _exchange_rates(order: Object) -> Iterator[Object]:
    """Give Shopify's own conversion of an order as a rate of its day."""
    try:
        paid, in_shop = money_in(order, "total_price"), money_in(order, "total_price", kind="shop_money")
    except Unreadable:
        return
    theirs, ours = currency_in(order, "total_price", None), text_in(order.get("currency"))
    if theirs and ours and theirs != ours and paid and order.get("created_at"):
        yield {
            "day": f"{str(order['created_at'])[:10]}T00:00:00Z",
            "currency": theirs,
            "quote_currency": ours,
            "rate": round(in_shop / paid, 8),
        }
