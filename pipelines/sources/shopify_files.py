"""Shopify's files as objects of one shape: that of its REST API, whichever way they were saved.

Saved calls (`{method, url, response}`), pages of the REST API, answers of the GraphQL API, bulk operations (one object
a line, children naming their parent in `__parentId`) and bodies of web hooks (one object, nothing around it). GraphQL's
names, ids and connections become REST's, so that the source reads one shape only. What an object means is in
`shopify.py`.
"""

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.errors import SourceError
from pipelines.sources.looks import check_content, shown

Object = dict[str, Any]
ENDINGS = (".json", ".jsonl", ".ndjson")
GID = "gid://shopify/"
READ_KINDS = (
    "order",
    "refund",
    "fulfillment",
    "fulfillment_event",
    "product",
    "location",
    "inventory_item",
    "return",
    "transaction",
    "shop",
)
UNREAD_KINDS = (
    "customer",
    "draft_order",
    "fulfillment_order",
    "reverse_fulfillment_order",
    "reverse_delivery",
    "inventory_level",
    "order_edit",
    "abandoned_checkout",
    "checkout",
    "price_rule",
    "metafield",
    "event",
    "count",
    "collection",
)
"""Pages of Shopify that hold nothing a return needs; a draft order is an offer, its sale comes as an order."""
KINDS_OF_GID = {
    "order_transaction": "transaction",
    "product_variant": "variant",
    "unverified_return_line_item": "return_line_item",
}
CHILDREN = {
    "line_item": "line_items",
    "refund": "refunds",
    "refund_line_item": "refund_line_items",
    "transaction": "transactions",
    "fulfillment": "fulfillments",
    "fulfillment_line_item": "fulfillment_line_items",
    "fulfillment_event": "events",
    "return": "returns",
    "return_line_item": "return_line_items",
    "exchange_line_item": "exchange_line_items",
    "exchange_line_item_v2": "exchange_line_items",
    "reverse_fulfillment_order": "reverse_fulfillment_orders",
    "reverse_fulfillment_order_line_item": "line_items",
    "shipping_line": "shipping_lines",
    "variant": "variants",
}
"""Where a child of a bulk operation hangs on its parent, by the kind of its id."""
NAMES = {
    "currency_code": "currency",
    "presentment_currency_code": "presentment_currency",
    "display_financial_status": "financial_status",
    "display_fulfillment_status": "fulfillment_status",
    "country_code_v2": "country_code",
    "original_unit_price_set": "price_set",
    "is_gift_card": "gift_card",
    "unfulfilled_quantity": "fulfillable_quantity",
    "allocated_amount_set": "amount_set",
}
"""GraphQL's names of what REST calls otherwise, where the object itself is not money."""


PERSONAL = {
    "customer",
    "customers",
    "billing_address",
    "shipping_address",
    "default_address",
    "address",
    "addresses",
    "note_attributes",
    "properties",
    "custom_attributes",
    "client_details",
    "payment_details",
    "receipt",
    "metafields",
    "customer_journey_summary",
}
"""Objects that speak of a person: of these a customer's id, a country and a postcode are read, no more."""
READ_KEYS = {
    "id",
    "admin_graphql_api_id",
    "__parent_id",
    "__typename",
    "amount",
    "cancelled_at",
    "closed_at",
    "company",
    "cost",
    "country_code",
    "created_at",
    "currency",
    "currency_code",
    "current_quantity",
    "delivered_at",
    "discounted_price",
    "discounted_total",
    "display_status",
    "duty_id",
    "financial_status",
    "fulfillable_quantity",
    "fulfillment_id",
    "fulfillment_status",
    "gateway",
    "gift_card",
    "grams",
    "handle",
    "happened_at",
    "iana_timezone",
    "inventory_item_id",
    "is_removed",
    "kind",
    "line_item_id",
    "location_id",
    "method",
    "name",
    "option1",
    "option2",
    "option3",
    "order_id",
    "position",
    "presentment_currency",
    "price",
    "processed_at",
    "processed_quantity",
    "product_id",
    "product_type",
    "published_at",
    "quantity",
    "rate",
    "reason",
    "refunded_quantity",
    "request_approved_at",
    "requires_shipping",
    "restock_type",
    "return_reason",
    "return_type",
    "shipment_status",
    "sku",
    "source_name",
    "status",
    "subtotal",
    "subtotal_amount",
    "tax_amount",
    "taxes_included",
    "test",
    "tip_payment_gateway",
    "title",
    "total_discount",
    "total_price",
    "total_refunded",
    "total_tax",
    "tracking_company",
    "type",
    "unit",
    "unit_cost",
    "updated_at",
    "url",
    "value",
    "variant_id",
    "vendor",
    "customer_note",
    "note",
    "zip",
}
"""Keys of the values that `shopify` reads. Of a record that is made anonymous, nothing else stays."""


class Saved(NamedTuple):
    """One object with its kind, its file and its place in the file, from 1."""

    kind: str
    file: str
    line: int
    content: Object


ORDER_KEYS = (
    "financial_status",
    "fulfillment_status",
    "admin_graphql_api_id",
    "total_price",
    "taxes_included",
    "processed_at",
    "cancel_reason",
)


def is_shopify(file: Path) -> bool:
    """Tell from the beginning of a file whether it holds what Shopify's interfaces give."""
    if not is_json(file):
        return False
    with _text(file) as text:
        start = text.read(1 << 16)
    names = [
        n for kind in (*READ_KINDS, *UNREAD_KINDS) for n in (kind, f"{kind}s") if n not in ("event", "events", "count")
    ]
    begins = any(re.match(rf'\s*(\{{\s*"data"\s*:\s*)?\{{\s*"{n}"\s*:', start) for n in names)
    if re.match(r'\s*(\{\s*"data"\s*:\s*)?\{\s*"orders?"\s*:', start):  # others have orders too
        return GID in start or any(f'"{key}"' in start for key in ORDER_KEYS) or bool(re.match(r"[^[]*\[\s*\]", start))
    return (
        begins
        or GID in start
        or bool(re.match(r'\s*\[?\s*\{\s*"(method|url|response)"', start) and '"response"' in start)
    )


def is_json(file: Path) -> bool:
    """Tell from its name whether a file is JSON, packed or not."""
    return file.with_suffix("").suffix in ENDINGS if file.suffix == ".gz" else file.suffix.lower() in ENDINGS


def read(files: Iterable[Path]) -> Iterator[Saved]:
    """Give every object of the files, in REST's shape.

    Raises SourceError for a file that is no JSON, that holds nothing of Shopify's, or that is a part of a bulk
    operation.
    """
    contents = [(file, *_parsed(file)) for file in sorted(files, key=lambda f: f.name)]
    roots = _assembled([(file.name, line, row) for file, is_lines, rows in contents if is_lines for line, row in rows])
    for file, is_lines, rows in contents:
        is_known = False
        for line, row in rows:
            if is_lines and (file.name, line) not in roots:
                is_known = True
                continue
            for kind, thing in _things(row):
                is_known = True
                if kind in READ_KINDS:
                    yield Saved(kind, file.name, line, thing)
        if rows and not is_known:
            raise SourceError(
                f"{shown(file)} holds nothing that Shopify's interfaces give: {_described(rows[0][1])}. "
                "Give pages of its API, a bulk operation or bodies of web hooks; load other files on their own."
            )


def _described(content: Any) -> str:
    keys = ", ".join(str(k) for k in list(content)[:5]) if isinstance(content, dict) else ""
    return f"it begins with the keys {keys}" if keys else f"it begins with {type(content).__name__} values"


def _text(file: Path) -> Any:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="replace")
    return file.open(encoding="utf-8-sig", errors="replace")


def _parsed(file: Path) -> tuple[bool, list[tuple[int, Any]]]:
    """Read a file's values with their places, and say whether they stand one a line."""
    if not is_json(file):
        check_content(file)
        raise SourceError(
            f"{shown(file)} is not JSON, as all that Shopify's interfaces give. Load it on its own, with a mapping."
        )
    try:
        with _text(file) as opened:
            text = opened.read()
    except (OSError, EOFError) as error:
        raise SourceError(f"{shown(file)} cannot be unpacked. Save it again and load it again.") from error
    if not text.strip():
        return False, []
    try:
        whole = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, list):
        return False, list(enumerate(whole, start=1))
    if whole is not None:  # a bulk operation of one line is JSON as well
        return isinstance(whole, dict) and "__parentId" in whole, [(1, whole)]
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append((number, json.loads(line, parse_float=Decimal)))
        except (ValueError, RecursionError) as error:
            where = f"{shown(file)} line {number}" if rows else shown(file)
            raise SourceError(f"{where} is not JSON. Save the API's response as it came and load it again.") from error
    return True, rows


def _assembled(rows: list[tuple[str, int, Any]]) -> set[tuple[str, int]]:
    """Hang the children of bulk operations on their parents; give the places of those that have none."""
    by_id: dict[str, Object] = {}

    def note(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("id"), str) and value["id"].startswith(GID) and len(value) > 1:
                by_id.setdefault(value["id"], value)
            for part in value.values():
                note(part)
        elif isinstance(value, list):
            for part in value:
                note(part)

    for _, _, row in rows:
        note(row)
    roots = set()
    for file, line, row in rows:
        parent_id = row.get("__parentId") if isinstance(row, dict) else None
        if parent_id is None:
            roots.add((file, line))
            continue
        parent = by_id.get(str(parent_id))
        if parent is None:
            raise SourceError(
                f"{file} line {line} belongs to {str(parent_id).removeprefix(GID)}, which is in none of the files. "
                "Give the whole file of the bulk operation."
            )
        slot = CHILDREN.get(_kind(row) or "", "refund_line_items" if "restockType" in row else "_others")
        siblings = parent.setdefault(slot, [])
        if isinstance(siblings, list) and siblings is not row:
            siblings.append(row)
    return roots


def _kind(thing: Object) -> str | None:
    """Tell an object's kind from its id, or its place in a response; None where neither says."""
    for key in ("admin_graphql_api_id", "id"):
        value = thing.get(key)
        if isinstance(value, str) and value.startswith(GID):
            kind = _snake(value.removeprefix(GID).split("/")[0])
            return KINDS_OF_GID.get(kind, kind)
    return None


_LIKELY = (
    ("refund", {"refund_line_items"}),
    ("return", {"return_line_items"}),
    ("fulfillment", {"line_items", "order_id"}),
    ("draft_order", {"line_items", "invoice_url"}),
    ("order", {"line_items"}),
    ("product", {"variants"}),
)
"""What the body of a web hook is that carries no id of GraphQL's, by the names that only such objects have."""


def _things(content: Any) -> Iterator[tuple[str, Object]]:
    """Find the objects in a value: what it is, or what the names in it say."""
    if isinstance(content, list):
        for part in content:
            yield from _things(part)
    if not isinstance(content, dict):
        return
    if "response" in content:
        # a calculated refund is an offer, not a refund
        if content.get("method") != "DELETE" and "/calculate" not in str(content.get("url", "")):
            yield from _things(content["response"]) if content["response"] else [("count", {})]
        else:
            yield "count", {}
        return
    if kind := _kind(content):
        yield kind, _plain_object(content)
        return
    is_page = False
    for name, value in content.items():
        snake = _snake(str(name))
        kind = next((k for k in (*READ_KINDS, *UNREAD_KINDS) if snake in (k, f"{k}s")), None)
        if kind and not isinstance(content.get("id"), (int, str)):
            is_page = True
            yield "count", {}
            yield from (
                (kind, _plain_object(thing)) for thing in _nodes(value) or ([value] if _is_alone(value) else [])
            )
        elif snake in ("data", "node", "nodes", "edges"):
            is_page = True
            yield from _things(value)
    names = {_snake(str(name)) for name in content}
    if not is_page and (likely := next((k for k, keys in _LIKELY if keys <= names), None)):
        yield likely, _plain_object(content)


def tells_something(content: Object) -> bool:
    """Say whether one object is anything that Shopify's interfaces give.

    >>> tells_something({"admin_graphql_api_id": "gid://shopify/Refund/1"}), tells_something({"hello": "there"})
    (True, False)
    """
    return any(True for _ in _things(content))


def _plain_object(value: Object) -> Object:
    """Give an object in REST's shape; nothing of one that is a connection where an object should be."""
    found = _plain(value)
    return found if isinstance(found, dict) else {}


def _is_alone(value: Any) -> bool:
    return isinstance(value, dict) and not {"nodes", "edges"} & set(value)


def _nodes(value: Any) -> list[Object]:
    """Give the objects of a list or of a GraphQL connection; whatever else is in it is left out."""
    if isinstance(value, dict):
        if not {"nodes", "edges"} & set(value):
            return []
        edges = value.get("edges")
        of_edges = [e.get("node") for e in edges if isinstance(e, dict)] if isinstance(edges, list) else []
        value = value.get("nodes") or of_edges
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _snake(name: str) -> str:
    """Write a name as REST does.

    >>> _snake("requestApprovedAt"), _snake("presentment_money")
    ('request_approved_at', 'presentment_money')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def named(path: Sequence[str]) -> list[str]:
    """Give the keys that lead to a value as REST names them, lists and connections left out; one at least."""
    keys = [_snake(key) for key in path if key not in ("[]", "nodes", "edges", "node")]
    return [NAMES.get(key, key) for key in keys] or [""]


def _plain(value: Any) -> Any:
    """Give a value in REST's shape: names, ids as numbers, connections as lists."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        if {"nodes", "edges"} & set(value):
            return [_plain(v) for v in _nodes(value)]
        named = {_snake(str(k)): _plain(v) for k, v in value.items()}
        if "amount" in named:  # money keeps the name of its currency
            return named
        return {NAMES.get(k, k) if NAMES.get(k, k) not in named else k: v for k, v in named.items()}
    if isinstance(value, str) and value.startswith(GID):
        return value.rsplit("/", 1)[-1].split("?")[0]
    return value
