"""Shopify: orders by a bulk operation of the GraphQL Admin API, and the lines of their refunds page by page.

As documented in 2026 (shopify.dev/docs/api/usage/bulk-operations/queries and .../usage/limits): one operation a shop
and app; its result is a file at an address that lasts a week; a connection within a list (the lines of a refund) cannot
be asked for in bulk, so refunds are asked for by their ids. Throttling is an answer 200 whose error is THROTTLED, with
the points that are there and how fast they come back.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from pipelines.errors import PullError
from pipelines.pull.client import LONGEST_WAIT_S, TRIES, Client, doubled
from pipelines.pull.place import Place, append, pulling

VERSION = "2026-07"
OVERLAP = timedelta(minutes=10)  # read again before the last pull: what was written then may be seen late
BATCH = 25  # refunds a request
POLL_S = 5.0
CHUNK = 1 << 20
MONEY = "{ presentmentMoney { amount currencyCode } shopMoney { amount currencyCode } }"
ORDERS = f"""
{{ orders(query: "@FILTER@", sortKey: UPDATED_AT) {{ edges {{ node {{
  id createdAt processedAt updatedAt cancelledAt test currencyCode presentmentCurrencyCode taxesIncluded
  displayFinancialStatus displayFulfillmentStatus sourceName customer {{ id }}
  shippingAddress {{ countryCodeV2 zip }} billingAddress {{ countryCodeV2 }}
  fulfillments {{ id status createdAt updatedAt deliveredAt trackingInfo {{ company number }} }}
  refunds {{ id }}
  lineItems {{ edges {{ node {{ id sku quantity currentQuantity unfulfilledQuantity requiresShipping isGiftCard
    originalUnitPriceSet {MONEY} taxLines {{ rate priceSet {MONEY} }}
    discountAllocations {{ allocatedAmountSet {MONEY} }} variant {{ id }} product {{ id }} }} }} }}
  returns {{ edges {{ node {{ id status createdAt requestApprovedAt closedAt decline {{ reason }}
    returnLineItems {{ edges {{ node {{ id ... on ReturnLineItem {{ quantity refundedQuantity returnReason
      returnReasonNote customerNote fulfillmentLineItem {{ lineItem {{ id }} }} }} }} }} }} }} }} }}
}} }} }} }}
"""
RUN = """
mutation ($query: String!) { bulkOperationRunQuery(query: $query, groupObjects: false) {
  bulkOperation { id status } userErrors { field message } } }
"""
STATE = "id status errorCode createdAt completedAt fileSize objectCount url query"
LOOK = f"query ($id: ID!) {{ node(id: $id) {{ ... on BulkOperation {{ {STATE} }} }} }}"
CURRENT = f"query {{ currentBulkOperation(type: QUERY) {{ {STATE} }} }}"
REFUNDS = f"""
query ($ids: [ID!]!, $after: String) {{ nodes(ids: $ids) {{ ... on Refund {{
  id createdAt updatedAt note order {{ id }} return {{ id }} totalRefundedSet {MONEY}
  transactions(first: 20) {{ nodes {{ id kind status gateway test amountSet {MONEY} }} }}
  refundLineItems(first: 50, after: $after) {{ pageInfo {{ hasNextPage endCursor }} nodes {{
    id quantity restockType location {{ id }} lineItem {{ id }} subtotalSet {MONEY} totalTaxSet {MONEY} }} }}
}} }} }}
"""
Say = Callable[[str], None]


def pull_shopify(
    folder: Path,
    client: Client,
    *,
    now: datetime,
    version: str = VERSION,
    since: datetime | None = None,
    say: Say = lambda _: None,
) -> list[Path]:
    """Fetch the orders that changed since the last pull (at first since `since`, else all), and their refunds' lines.

    Give the files written, none where nothing changed. A pull that was interrupted goes on: with the operation that
    runs, the download at its byte, the refunds at their place. Raises PullError where it cannot go on.
    """
    with pulling(folder, "shopify") as place:
        shop = _Shop(client, place, version, now, say)
        if place.memory.setdefault("shop", client.address) != client.address:
            raise PullError(f"{folder.name} holds what was pulled from {place.memory['shop']}. Give another folder.")
        operation = shop.operation(_filter(place, since))
        if operation["url"] is None:  # nothing changed
            place.remember(**_after(operation), shop=client.address)
            return []
        number = re.sub(r"\D", "", operation["id"].rsplit("/", 1)[-1])
        names = f"shopify-refunds-{number}.jsonl", f"shopify-orders-{number}.jsonl"
        orders = shop.orders(operation, names[1])
        shop.refunds(orders, names[0])
        files = [place.finish(name) for name in names if place.part(name).exists() or (folder / name).exists()]
        place.remember(**_after(operation), shop=client.address)
        return files


def _filter(place: Place, since: datetime | None) -> str:
    """Give what orders are asked for: those of the operation under way, else those since the last pull."""
    last = datetime.fromisoformat(place.memory["since"]) - OVERLAP if "since" in place.memory else since
    return f"updated_at:>='{last.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'" if last else ""


def _after(operation: dict[str, Any]) -> dict[str, Any]:
    """Give what is remembered once an operation's files are whole: the next pull begins where this one began."""
    return {"since": operation["createdAt"], "operation": None, "etag": None, "refunds": None}


class _Shop:
    """One shop as it is asked, one step after the other."""

    def __init__(self, client: Client, place: Place, version: str, now: datetime, say: Say) -> None:
        self.client, self.place, self.now, self.say = client, place, now, say
        self.path = f"/admin/api/{version}/graphql.json"

    def ask(self, document: str, /, **variables: Any) -> Any:
        """Ask a query, waiting where it is throttled. Raises PullError for an answer with another error."""
        for attempt in range(TRIES):
            _, answer = self.client.json("POST", self.path, json={"query": document, "variables": variables})
            errors = answer.get("errors") if isinstance(answer, dict) else "no object"
            if not errors and isinstance(answer.get("data"), dict):
                return answer["data"]
            if not _is_throttled(errors):
                told = errors[0].get("message") if isinstance(errors, list) and errors else errors
                raise PullError(f"Shopify refuses what was asked: {str(told)[:200]}. Check the app's scopes.")
            self.client.wait(_wait_for_points(answer, doubled(attempt)))
        raise PullError("Shopify throttles without end. What was got is kept: pull again later.")

    def operation(self, filter_text: str) -> dict[str, Any]:
        """Give an operation that is complete: the one under way, else one that is run for it."""
        for _ in range(TRIES):
            found = self._started(ORDERS.replace("@FILTER@", filter_text))
            found = self._ended(found)
            if found and found["status"] == "COMPLETED":
                return dict(found)
            self.place.remember(operation=None, etag=None, refunds=None)
            if found and found.get("errorCode") == "ACCESS_DENIED":
                raise PullError("Shopify denies the app what is asked. It needs read_all_orders and read_returns.")
        raise PullError("Shopify's bulk operations fail again and again. Pull again later, or with a later --since.")

    def _ended(self, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """Wait until an operation runs no more; None where it is gone."""
        while found and found["status"] in ("CREATED", "RUNNING", "CANCELING"):
            self.say(f"Shopify prepares the file: {found.get('objectCount') or 0} objects")
            self.client.wait(POLL_S)
            found = self.ask(LOOK, id=found["id"])["node"]
        return found

    def _started(self, query: str) -> dict[str, Any] | None:
        """Give the operation under way, as it is now, or run one; None where it is gone."""
        if (known := self.place.memory.get("operation")) is not None:
            found = self.ask(LOOK, id=known)["node"]
            return dict(found) if found and not _is_old(found, self.now) else None
        answer = self.ask(RUN, query=query)["bulkOperationRunQuery"]
        found = answer["bulkOperation"] or self._running(query, "; ".join(e["message"] for e in answer["userErrors"]))
        if found:
            for old in self.place.folder.glob(".shopify-*.part"):
                old.unlink()
            self.place.remember(operation=found["id"])
        return found

    def _running(self, query: str, told: str) -> dict[str, Any] | None:
        """Give the operation that keeps ours from being run, where an earlier pull ran it and did not come to know.

        Wait for another one of the same app, and give none.
        """
        found = self.ask(CURRENT)["currentBulkOperation"]
        if found and found["query"] == query and found["status"] in ("CREATED", "RUNNING", "COMPLETED"):
            return None if _is_old(found, self.now) else dict(found)
        if not found and "already in progress" not in told:
            raise PullError(f"Shopify does not run the bulk operation: {told[:200]}.")
        self._ended(found)
        self.client.wait(POLL_S)
        return None

    def orders(self, operation: dict[str, Any], name: str) -> Path:
        """Download an operation's file, going on at its byte; give it, whole."""
        if (whole := self.place.folder / name).exists():
            return whole
        part, size = self.place.part(name), int(operation["fileSize"])
        for attempt in range(TRIES):
            try:
                self._download(operation["url"], part)
                if part.exists() and part.stat().st_size == size:
                    return part
            except httpx.TransportError:
                pass
            self.client.wait(doubled(attempt))
            operation = self.ask(LOOK, id=operation["id"])["node"]  # its address may be another one now
            if not operation or not operation.get("url"):
                break
        raise PullError("The file of the bulk operation cannot be downloaded whole. What was got is kept: pull again.")

    def _download(self, url: str, part: Path) -> None:
        """Get what is missing of a file, from the start where it is another one than before."""
        got = part.stat().st_size if part.exists() else 0
        etag = self.place.memory.get("etag")
        headers = {"Range": f"bytes={got}-", "If-Range": etag} if got and etag else {}
        with self.client.download(url, headers) as answer:
            if answer.status_code not in (200, 206):
                return
            if answer.status_code == 200:
                got = 0
                self.place.remember(etag=answer.headers.get("ETag"))
            for chunk in answer.iter_bytes(CHUNK):
                got = append(part, chunk, got)

    def refunds(self, orders: Path, name: str) -> None:
        """Ask for the lines of the refunds of the orders in a file, in batches; each is kept as soon as it is there."""
        if (self.place.folder / name).exists():
            return
        part = self.place.part(name)
        done = self.place.memory.get("refunds") or {"count": 0, "bytes": 0}
        for number, batch in enumerate(_batches(orders)):
            if number < done["count"]:
                continue
            lines = "".join(json.dumps(refund) + "\n" for refund in self._refunds(batch))
            done = {"count": number + 1, "bytes": append(part, lines.encode(), done["bytes"])}
            self.place.remember(refunds=done)
            self.say(f"{done['count'] * BATCH} refunds")

    def _refunds(self, ids: list[str]) -> Iterator[dict[str, Any]]:
        for refund in self.ask(REFUNDS, ids=ids, after=None)["nodes"]:
            if refund:  # deleted since
                yield self._with_every_line(refund)

    def _with_every_line(self, refund: dict[str, Any]) -> dict[str, Any]:
        """Follow the pages of a refund's lines; from the first where it changed meanwhile."""
        for _ in range(TRIES):
            whole, page = refund, refund["refundLineItems"]
            lines = {line["id"]: line for line in page["nodes"]}
            while page["pageInfo"]["hasNextPage"] and whole is not None:
                (later,) = self.ask(REFUNDS, ids=[refund["id"]], after=page["pageInfo"]["endCursor"])["nodes"]
                if later is None or later["updatedAt"] != refund["updatedAt"]:
                    (refund,) = self.ask(REFUNDS, ids=[refund["id"]], after=None)["nodes"]
                    break
                page = later["refundLineItems"]
                lines |= {line["id"]: line for line in page["nodes"]}
            else:
                return whole | {"refundLineItems": {"nodes": list(lines.values())}}
        raise PullError("A refund changes while it is read, again and again. What was got is kept: pull again later.")


def _batches(orders: Path) -> Iterator[list[str]]:
    """Give the ids of the refunds in a file of orders, in its order."""
    batch: list[str] = []
    with orders.open(encoding="utf-8") as lines:
        for line in lines:
            for refund in json.loads(line).get("refunds") or ():
                batch.append(refund["id"])
                if len(batch) == BATCH:
                    yield batch
                    batch = []
    if batch:
        yield batch


def _is_old(operation: dict[str, Any], now: datetime) -> bool:
    """Say whether the file of an operation may be gone: it lasts a week."""
    created = datetime.fromisoformat(operation["createdAt"])
    return operation["status"] == "COMPLETED" and now - created > timedelta(days=6)


def _is_throttled(errors: Any) -> bool:
    codes = {(e.get("extensions") or {}).get("code") for e in errors} if isinstance(errors, list) else set()
    return "THROTTLED" in codes


def _wait_for_points(answer: dict[str, Any], otherwise: float) -> float:
    """Give the seconds until the points that a query costs are there again."""
    cost = (answer.get("extensions") or {}).get("cost") or {}
    status = cost.get("throttleStatus") or {}
    lacking = (cost.get("requestedQueryCost") or 0) - (status.get("currentlyAvailable") or 0)
    rate = status.get("restoreRate") or 0
    return min(lacking / rate, LONGEST_WAIT_S) if lacking > 0 and rate > 0 else otherwise
