"""What the files of Shopify say together: newest versions, what was sent, refunded and paid, what was cancelled.

Not here: the rows that follow (shopify.py).
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from pipelines.sources.shopify_files import Object, Saved
from pipelines.sources.shopify_values import (
    LONG_AGO,
    id_in,
    instant_in,
    is_some,
    known_units_in,
    money_in,
    number_in,
    object_in,
    objects_in,
    sum_in,
    text_in,
    units_in,
    word_in,
)

NEVER_PAID = ("voided", "expired")


class SavedObjects:
    """All objects of the files, and what one must know of another."""

    def __init__(self, saved: Iterable[Saved]) -> None:
        self.found: dict[str, list[Saved]] = defaultdict(list)
        self.orders: dict[str | None, Object] = {}  # newest version of each
        self.lines: dict[str | None, Object] = {}
        self.order_of: dict[str | None, str | None] = {}  # order line -> order
        self.fulfilments: dict[str | None, Object] = {}
        self.refunds: dict[str | None, Object] = {}
        self.returns: dict[str | None, Object] = {}
        self.statuses: dict[str, str] = {}  # transaction -> the last it came to
        self.delivered: dict[str | None, str | None] = {}  # fulfilment -> when
        self.costs: dict[str | None, Object] = {}
        self.exchanged_from: dict[str | None, str | None] = {}  # order line given in exchange -> order line it replaces
        for thing in saved:
            self._note(thing)
        for returned in self.returns.values():
            lines = objects_in(returned.get("return_line_items"))
            replaced = returned_line(lines[0]) if lines else None
            for exchange in objects_in(returned.get("exchange_line_items")):
                for line in [exchange.get("line_item"), *objects_in(exchange.get("line_items"))]:
                    if id_in(line):
                        self.exchanged_from[id_in(line)] = replaced
        self.sent: dict[str | None, list[tuple[Object, int | None]]] = defaultdict(list)
        for fulfilment in self.fulfilments.values():
            for line_id, units in fulfilled_lines(fulfilment):
                if word_in(fulfilment.get("status")) == "success":
                    self.sent[line_id].append((fulfilment, units))
        self.refunded: dict[str | None, list[tuple[datetime, str, Object, Object]]] = defaultdict(list)
        for refund in self.refunds.values():
            for number, line in refund_lines(refund):
                self.refunded[line_of(line)].append((instant_in(refunded_at(refund)), number, refund, line))
        self.cancelled: dict[str, int] = {}  # refund line -> units of it that were never fulfilled
        for line_id in self.refunded:
            self._cancel(line_id)

    # -- what the files say together -----------------------------------------------------------------------------------

    def _note(self, thing: Saved) -> None:
        content, number = thing.content, id_in(thing.content)
        if thing.kind == "transaction":
            self._note_transaction(content)
            return
        self.found[thing.kind].append(thing)
        if thing.kind == "order":
            known = self.orders.get(number)
            if known is None or instant_in(content.get("updated_at")) >= instant_in(known.get("updated_at")):
                self.orders[number] = (known or {}) | content
            for line in objects_in(content.get("line_items")):
                self.lines[id_in(line)] = self.lines.get(id_in(line), {}) | line
                self.order_of[id_in(line)] = number
            for kind, name in (("refund", "refunds"), ("fulfillment", "fulfillments"), ("return", "returns")):
                for part in objects_in(content.get(name)):
                    whole = part | {"order_id": number, "_updated_at": content.get("updated_at")}
                    self._note(Saved(kind, thing.file, thing.line, whole))
        elif thing.kind == "fulfillment":
            known = self.fulfilments.get(number)
            if known is None or instant_in(content.get("updated_at")) >= instant_in(known.get("updated_at")):
                self.fulfilments[number] = content
            for event in objects_in(content.get("events")):
                self._note(Saved("fulfillment_event", thing.file, thing.line, event | {"fulfillment_id": number}))
        elif thing.kind == "fulfillment_event" and word_in(content.get("status")) == "delivered":
            happened = text_in(content.get("happened_at")) or text_in(content.get("created_at"))
            self.delivered[text_in(content.get("fulfillment_id"))] = happened
        elif thing.kind == "refund":
            if content.get("order_id") is None and (order := id_in(object_in(content.get("order")))):
                content["order_id"] = order
            self.refunds[number] = self.refunds.get(number, {}) | content
            for transaction in objects_in(content.get("transactions")):
                self._note_transaction(transaction)
            for line in objects_in(content.get("refund_line_items")):
                self.lines.setdefault(line_of(line), object_in(line.get("line_item")))
        elif thing.kind == "return":
            stated = {k: v for k, v in content.items() if v not in (None, [])}
            self.returns[number] = self.returns.get(number, {}) | stated | {"_file": thing.file, "_line": thing.line}
            for refund in objects_in(content.get("refunds")):
                order = id_in(content.get("order")) or content.get("order_id")
                whole = refund | {"return": {"id": number}, "order_id": order}
                self._note(Saved("refund", thing.file, thing.line, whole))
        elif thing.kind == "inventory_item":
            self.costs[number] = content

    def _note_transaction(self, transaction: Object) -> None:
        """Remember what a transaction came to: success and failure end it, whatever an older page says."""
        number, status = id_in(transaction), word_in(transaction.get("status"))
        if number and (status in ("success", "failure", "error") or number not in self.statuses):
            self.statuses[number] = status

    def _fulfilled(self, line_id: str | None) -> int | None:
        """Give the units of an order line that were fulfilled; None where the files do not say."""
        line, order = self.lines.get(line_id, {}), self.orders.get(self.order_of.get(line_id), {})
        units = known_units_in(line.get("quantity")) or 0
        if sent := self.sent.get(line_id):
            return min(units, sum(units if n is None else n for _, n in sent))
        unsaid = any(
            word_in(f.get("status")) == "success" and not fulfilled_lines(f)
            for f in objects_in(order.get("fulfillments"))
        )
        status = word_in(line.get("fulfillment_status"))
        if not status and "fulfillment_status" not in line and ("fulfillments" not in order or unsaid):
            if "fulfillment_status" not in order:
                return None
            status = word_in(order["fulfillment_status"])
        if status == "fulfilled":
            return max(
                0, units - sum(units_asked(r) for *_, r in self.refunded[line_id] if restock_kind(r) == "cancel")
            )
        if status in ("partial", "partially_fulfilled"):
            return None
        return 0

    def _cancel(self, line_id: str | None) -> None:
        """Tell which of an order line's refunded units were never fulfilled: they are cancelled, the rest came back.

        Refunds take their turn. What Shopify calls `cancel` is. Else units that were fulfilled by then go first where
        it says that they came back; where it says nothing, those that are no longer to be fulfilled though they never
        were.
        """
        entries = sorted(self.refunded[line_id], key=lambda e: e[:2])
        fulfilled, line = self._fulfilled(line_id), self.lines.get(line_id, {})
        for _, number, _, refund_line in entries:
            self.cancelled[number] = units_asked(refund_line) if restock_kind(refund_line) == "cancel" else 0
        if fulfilled is None:
            return
        never = (known_units_in(line.get("quantity")) or 0) - fulfilled - sum(self.cancelled[e[1]] for e in entries)
        still_open = known_units_in(line.get("fulfillable_quantity"))
        if still_open is None:
            still_open = never if word_in(line.get("fulfillment_status")) == "partial" else 0
        was_fulfilled = fulfilled
        first_sent = min((instant_in(f.get("created_at")) for f, _ in self.sent.get(line_id, [])), default=LONG_AGO)
        for at, number, refund, refund_line in entries:
            if restock_kind(refund_line) == "cancel":
                continue
            units = units_asked(refund_line)
            if was_fulfilled == 0:
                gone = units
            elif at < first_sent:
                gone = min(units, max(0, never))
            elif restock_kind(refund_line) == "return" or refund.get("return"):
                gone = min(units - min(units, fulfilled), max(0, never))
            else:
                gone = min(units, max(0, never - still_open))
            self.cancelled[number] = gone
            never, fulfilled = never - gone, max(0, fulfilled - (units - gone))

    def _units_cancelled(self, order: Object, line: Object) -> int:
        """Give the units of an order line that were taken off before they were fulfilled.

        Columns: refunded, edited away, or never paid.
        """
        line_id, units = id_in(line), units_in(line.get("quantity"))
        refunds = self.refunded.get(line_id, [])
        gone = sum(self.cancelled[number] for _, number, *_ in refunds)
        fulfilled = self._fulfilled(line_id)
        never = units - (fulfilled or 0)
        if is_off(order) and (fulfilled is not None or not self.sent.get(line_id)):
            gone = max(gone, never)
        elif (
            fulfilled is not None
            and (left := known_units_in(self.lines.get(line_id, line).get("current_quantity"))) is not None
        ):
            edited = units - left - sum(units_asked(r) for *_, r in refunds)
            gone = max(gone, min(never, gone + max(0, edited)))
        return max(0, min(gone, units))

    def _is_test(self, order_id: Any) -> bool:
        return self.orders.get(text_in(order_id), {}).get("test") is True

    def _status(self, transaction: Object) -> str:
        return self.statuses.get(id_in(transaction) or "", word_in(transaction.get("status")))

    def _paid(self, refund: Object) -> Decimal:
        """Give the money that a refund's transactions moved."""
        return sum_in(money_in(t, "amount") for t in self._payments(refund) if self._status(t) == "success")

    def _payments(self, refund: Object) -> list[Object]:
        whole = self.refunds.get(id_in(refund), refund)
        return [
            t
            for t in objects_in(whole.get("transactions"))
            if word_in(t.get("kind")) == "refund" and t.get("test") is not True
        ]

    def _is_paid(self, refund: Object) -> bool:
        """Say whether a refund's money moved. Where its transactions are not in the files, its amounts say so."""
        whole = self.refunds.get(id_in(refund), refund)
        if isinstance(whole.get("transactions"), list) and (whole["transactions"] or "total_refunded_set" not in whole):
            return any(is_some(t, "amount") for t in self._payments(refund) if self._status(t) == "success")
        if "total_refunded_set" in whole:
            return is_some(whole, "total_refunded")
        return any(is_some(line, "subtotal") for _, line in refund_lines(whole))

    def _has_tax_inside(self, refund: Object, line: Object) -> bool:
        """Say whether a refund line's subtotal includes tax: as its order says, else from the tax rates."""
        known = self.orders.get(text_in(refund.get("order_id")), {}).get("taxes_included")
        if isinstance(known, bool):
            return known
        subtotal, tax = money_in(line, "subtotal"), money_in(line, "total_tax")
        rate = sum_in(number_in(t.get("rate")) for t in objects_in(object_in(line.get("line_item")).get("tax_lines")))
        return rate > 0 and tax > 0 and abs(subtotal * rate / (1 + rate) - tax) <= Decimal("0.02")

    def _amount(self, refund: Object, line: Object) -> tuple[Decimal, Decimal]:
        """Give a refund line's amount with tax, and the tax."""
        subtotal, tax = money_in(line, "subtotal"), money_in(line, "total_tax")
        return (subtotal if self._has_tax_inside(refund, line) else subtotal + tax), tax

    def _paid_at(self, refund: Object) -> str | None:
        """Give when a refund's money moved: when it was made, or when the last of its transactions went through."""
        times = [text_in(t.get("processed_at")) for t in self._payments(refund) if self._status(t) == "success"]
        return max((t for t in (refunded_at(refund), *times) if t), key=instant_in, default=None)


def is_off(order: Object) -> bool:
    """Say whether an order was cancelled, or its money was never taken: what has not left it will not."""
    return bool(order.get("cancelled_at")) or word_in(order.get("financial_status")) in NEVER_PAID


def fulfilled_lines(fulfilment: Object) -> list[tuple[str | None, int | None]]:
    """List the order lines of a fulfilment with their units, None standing for all of a line's."""
    of_graphql = [(id_in(line.get("line_item")), line) for line in objects_in(fulfilment.get("fulfillment_line_items"))]
    listed = of_graphql or [(id_in(line), line) for line in objects_in(fulfilment.get("line_items"))]
    return [(number, known_units_in(line.get("quantity"))) for number, line in listed]


def refunded_at(refund: Object) -> str | None:
    """Give when a refund was made."""
    return text_in(refund.get("processed_at")) or text_in(refund.get("created_at"))


def refund_lines(refund: Object) -> list[tuple[str, Object]]:
    """List a refund's lines with an id each: their own, else one of the refund, the order line and the place."""
    lines = objects_in(refund.get("refund_line_items"))
    return [(id_in(line) or f"{id_in(refund)}-{line_of(line)}-{i}", line) for i, line in enumerate(lines, start=1)]


def line_of(refund_line: Object) -> str | None:
    """Give the order line that a refund line is of."""
    return text_in(refund_line.get("line_item_id")) or id_in(object_in(refund_line.get("line_item")))


def restock_kind(refund_line: Object) -> str:
    """Give what Shopify says of a refund line's goods: return, cancel, no_restock, legacy_restock."""
    return word_in(refund_line.get("restock_type"))


def units_asked(refund_line: Object) -> int:
    """Give the units of a refund line."""
    return known_units_in(refund_line.get("quantity")) or 0


def returned_line(line: Object) -> str | None:
    """Give the order line that a return line is of."""
    return id_in(object_in(object_in(line.get("fulfillment_line_item")).get("line_item")))
