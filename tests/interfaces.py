"""A shop system's and a carrier's interface on loopback, that behave as documented and fail as asked.

The shop is Shopify's GraphQL Admin API (bulk operations, refunds by their ids, throttling by points), the carrier DHL's
tracking. `Faults` says what each call meets before it is answered.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KINDS = ("429", "502", "cut", "throttled", "503")
TOKEN = "shpat_test"
NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


def money(amount: str) -> dict[str, Any]:
    one = {"amount": amount, "currencyCode": "EUR"}
    return {"presentmentMoney": one, "shopMoney": one}


@dataclass
class Faults:
    """What happens to calls: `kinds` in turn, at each that comes for the first time; and what is done at a count."""

    kinds: tuple[str, ...] = ()
    at: dict[int, Callable[[], None]] = field(default_factory=dict)
    calls: int = 0
    met: int = 0
    _seen: set[str] = field(default_factory=set)
    _turn: Iterator[str] | None = None

    def of(self, call: str) -> str:
        self.calls += 1
        if (does := self.at.pop(self.calls, None)) is not None:
            does()
        if not self.kinds or call in self._seen:
            return ""
        self._seen.add(call)
        self._turn = self._turn or cycle(self.kinds)
        self.met += 1
        return next(self._turn)


@dataclass
class Shop:
    """Orders with their lines, returns and refunds, some of several pages; a bulk operation of them is a file."""

    orders: int
    faults: Faults = field(default_factory=Faults)
    token: str = TOKEN
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    updated: dict[int, datetime] = field(default_factory=dict)
    running: int = 2  # looks at an operation before it is complete
    moved: set[str] = field(default_factory=set)  # refunds that change once while their pages are read
    clock: datetime = NOW

    def changed_at(self, number: int) -> datetime:
        return self.updated.get(number, NOW - timedelta(days=40) + timedelta(minutes=number % 40_000))

    def lines(self, number: int) -> Iterator[dict[str, Any]]:
        """Give an order as a bulk operation writes it: itself, its line, its return with a line."""
        order = f"gid://shopify/Order/{number}"
        line = f"gid://shopify/LineItem/{number}1"
        created = (NOW - timedelta(days=60) + timedelta(minutes=number % 40_000)).isoformat()
        row: dict[str, Any] = {"id": order, "createdAt": created, "updatedAt": self.changed_at(number).isoformat()}
        row |= {"currencyCode": "EUR", "presentmentCurrencyCode": "EUR", "taxesIncluded": True, "test": False}
        row |= {"cancelledAt": None, "displayFinancialStatus": "PAID", "displayFulfillmentStatus": "FULFILLED"}
        row |= {"sourceName": "web", "customer": {"id": f"gid://shopify/Customer/{number % 977}"}}
        row |= {"shippingAddress": {"countryCodeV2": "FR", "zip": "75011"}}
        sent = {"id": f"gid://shopify/Fulfillment/{number}", "status": "SUCCESS", "createdAt": created}
        row |= {"fulfillments": [sent], "refunds": []}
        if number % 4 == 0:
            row["refunds"] = [{"id": self.refund_id(number)}]
        yield row
        price = {"originalUnitPriceSet": money("60.00"), "taxLines": [{"rate": 0.2, "priceSet": money("10.00")}]}
        yield {"id": line, "sku": f"SKU-{number % 50}", "quantity": 2, **price, "__parentId": order}
        if number % 8 == 0:
            back = f"gid://shopify/Return/{number}"
            yield {"id": back, "status": "CLOSED", "createdAt": created, "__parentId": order}
            of = {"lineItem": {"id": line}}
            said = {"quantity": 1, "refundedQuantity": 1, "returnReason": "SIZE_TOO_SMALL", "fulfillmentLineItem": of}
            yield {"id": f"gid://shopify/ReturnLineItem/{number}", **said, "__parentId": back}

    @staticmethod
    def refund_id(number: int) -> str:
        return f"gid://shopify/Refund/{number}"

    @staticmethod
    def refunded_at(number: int) -> str:
        return (NOW - timedelta(days=20) + timedelta(minutes=number % 20_000)).isoformat()

    def refund_updated_at(self, number: int) -> str:
        return (self.changed_at(number) if number in self.updated else NOW - timedelta(days=10)).isoformat()

    def refund(self, gid: str, after: str | None, *, every: bool = False) -> dict[str, Any] | None:
        """Give a refund with a page of its lines: of every 40th order three pages, of one line each."""
        number = int(gid.rsplit("/", 1)[1])
        if number % 4 or number > self.orders:
            return None
        pages = 3 if number % 40 == 0 else 1
        nodes = []
        for page in range(pages):
            paid = {"subtotalSet": money(f"{30 / pages:.2f}"), "totalTaxSet": money(f"{5 / pages:.2f}")}
            line = {"id": f"gid://shopify/RefundLineItem/{number}{page}", "quantity": 1 if page == 0 else 0, **paid}
            line |= {"restockType": "RETURN", "lineItem": {"id": f"gid://shopify/LineItem/{number}1"}}
            nodes.append(line)
        at = int(after or 0)
        shown = nodes if every else nodes[at : at + 1]
        info = {"hasNextPage": not every and at + 1 < pages, "endCursor": str(at + 1)}
        row: dict[str, Any] = {
            "id": gid,
            "createdAt": self.refunded_at(number),
            "updatedAt": self.refund_updated_at(number),
        }
        row |= {"order": {"id": f"gid://shopify/Order/{number}"}, "totalRefundedSet": money("30.00")}
        row |= {"return": {"id": f"gid://shopify/Return/{number}"} if number % 8 == 0 else None}
        moved = {"kind": "REFUND", "status": "SUCCESS", "gateway": "card", "amountSet": money("30.00"), "test": False}
        row |= {"transactions": {"nodes": [{"id": f"gid://shopify/OrderTransaction/{number}", **moved}]}}
        return row | {"refundLineItems": {"nodes": shown, **({} if every else {"pageInfo": info})}}

    def written(self, since: datetime | None = None) -> tuple[bytes, bytes]:
        """Give what a person would save of the shop: the file of orders, and the refunds with all their lines."""
        chosen = [n for n in range(1, self.orders + 1) if since is None or self.changed_at(n) >= since]
        orders = "".join(json.dumps(row) + "\n" for n in chosen for row in self.lines(n))
        refunds = [self.refund(self.refund_id(n), None, every=True) for n in chosen if n % 4 == 0]
        return orders.encode(), "".join(json.dumps(r) + "\n" for r in refunds).encode()

    # -- answers -------------------------------------------------------------------------------------------------------

    def graphql(self, query: str, variables: dict[str, Any], address: str) -> dict[str, Any]:
        if "bulkOperationRunQuery" in query:
            return {"bulkOperationRunQuery": self._run(variables["query"], address)}
        if "currentBulkOperation" in query:
            return {"currentBulkOperation": self._look(max(self.operations, default=""))}
        if "BulkOperation" in query:
            return {"node": self._look(variables["id"])}
        found = []
        for gid in variables["ids"]:
            if variables["after"] and gid in self.moved:
                self.moved.discard(gid)
                self.updated[int(gid.rsplit("/", 1)[1])] = self.clock
            found.append(self.refund(gid, variables["after"]))
        return {"nodes": found}

    def _run(self, query: str, address: str) -> dict[str, Any]:
        if any(o["status"] in ("CREATED", "RUNNING") for o in self.operations.values()):
            told = "A bulk query operation for this app and shop is already in progress"
            return {"bulkOperation": None, "userErrors": [{"field": None, "message": told}]}
        said = re.search(r"updated_at:>='([^']+)'", query)
        orders, _ = self.written(datetime.fromisoformat(said[1]) if said else None)
        gid = f"gid://shopify/BulkOperation/{len(self.operations) + 1}"
        self.files[gid] = orders
        state: dict[str, Any] = {"id": gid, "status": "CREATED", "errorCode": None, "query": query, "looks": 0}
        state |= {
            "createdAt": self.clock.isoformat(),
            "objectCount": orders.count(b"\n"),
            "url": None,
            "fileSize": None,
        }
        self.operations[gid] = state | {"at": f"{address}/file/{len(self.operations) + 1}"}
        return {"bulkOperation": self.operations[gid], "userErrors": []}

    def _look(self, gid: str) -> dict[str, Any] | None:
        state = self.operations.get(gid)
        if state is not None and state["status"] in ("CREATED", "RUNNING"):
            state["looks"] += 1
            state["status"] = "RUNNING" if state["looks"] < self.running else "COMPLETED"
            if state["status"] == "COMPLETED" and self.files[gid]:
                state |= {"url": state["at"], "fileSize": str(len(self.files[gid]))}
        return state


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    server: Any

    def do_POST(self) -> None:
        shop, body = self.server.shop, self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("X-Shopify-Access-Token") != shop.token:
            return self._says(401, {"errors": "[API] Invalid API key or access token"})
        fault = shop.faults.of(body.decode())
        if fault == "throttled":
            points = {"maximumAvailable": 2000, "currentlyAvailable": 1, "restoreRate": 100}
            cost = {"requestedQueryCost": 201, "actualQueryCost": None, "throttleStatus": points}
            error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return self._says(200, {"errors": [error], "extensions": {"cost": cost}})
        if self._failed(fault):
            return None
        said = json.loads(body)
        return self._says(200, {"data": shop.graphql(said["query"], said.get("variables") or {}, self.server.address)})

    def do_GET(self) -> None:
        at = urlsplit(self.path)
        if at.path.startswith("/file/"):
            return self._file(at.path)
        carrier = self.server.carrier
        if self.headers.get("DHL-API-Key") != TOKEN:
            return self._says(401, {"status": 401, "title": "Unauthorized"})
        number = parse_qs(at.query)["trackingNumber"][0]
        if self._failed(carrier.faults.of(number)):
            return None
        events = carrier.events.get(number)
        if events is None:
            return self._says(404, {"status": 404, "title": "No result found"})
        latest = {"timestamp": events[0]["timestamp"], "statusCode": events[0]["statusCode"]}
        shipment = {"id": number, "service": "parcel-de", "status": latest, "events": events}
        return self._says(200, {"shipments": [shipment | {"destination": {"address": {"addressLocality": "Lyon"}}}]})

    def _file(self, path: str) -> None:
        shop = self.server.shop
        content = shop.files[f"gid://shopify/BulkOperation/{path.rsplit('/', 1)[1]}"]
        assert "X-Shopify-Access-Token" not in self.headers  # the file lies elsewhere: the key is not its business
        etag, start = f'"{hash(content)}"', 0
        said = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if said and self.headers.get("If-Range") == etag:
            start = int(said[1])
        fault = shop.faults.of(f"{path} {start}")
        if fault and fault != "cut" and self._failed(fault):
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest[: len(rest) // 2] if fault == "cut" else rest)

    def _failed(self, fault: str) -> bool:
        if fault in ("429", "502", "503", "throttled"):
            self._says(429 if fault == "throttled" else int(fault), {}, {"Retry-After": "2"} if fault == "429" else {})
        if fault == "cut":
            self.close_connection = True
        return bool(fault)

    def _says(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (
            {"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@dataclass
class Carrier:
    """What a carrier knows of parcels: their events, the newest first."""

    events: dict[str, list[dict[str, Any]]]
    faults: Faults = field(default_factory=Faults)


@contextmanager
def served(shop: Shop | None = None, carrier: Carrier | None = None) -> Iterator[str]:
    """Serve them on loopback; give the address."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.shop, server.carrier = shop, carrier
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.address
    finally:
        server.shutdown()
        server.server_close()


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as listing and reading need: ListObjectsV2 in pages of two, HEAD and GET."""

    protocol_version = "HTTP/1.1"
    server: Any

    def _etag(self, content: bytes) -> str:
        return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        at, objects = urlsplit(self.path), self.server.objects
        self.server.asked.append(f"{self.command} {at.path}")
        if "Authorization" not in self.headers:
            return self._says(403, b"<Error><Code>AccessDenied</Code></Error>")
        key = unquote(at.path).lstrip("/").partition("/")[2]
        if not key:
            return self._list(parse_qs(at.query))
        if key not in objects:
            return self._says(404, b"<Error><Code>NoSuchKey</Code></Error>")
        content = objects[key]
        if self.command == "GET" and (change := self.server.changes.pop(key, None)) is not None:
            objects[key] = change  # while it is read
        return self._says(200, content, self._etag(content))

    def _list(self, asked: dict[str, list[str]]) -> None:
        prefix, start = asked.get("prefix", [""])[0], int(asked.get("continuation-token", ["0"])[0])
        keys = sorted(k for k in self.server.objects if k.startswith(prefix))
        page, more = keys[start : start + 2], start + 2 < len(keys)
        rows = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-04-01T00:00:00.000Z</LastModified>"
            f"<ETag>{self._etag(self.server.objects[key])}</ETag><Size>{len(self.server.objects[key])}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        then = f"<NextContinuationToken>{start + 2}</NextContinuationToken>" if more else ""
        head = f"<Name>bucket</Name><Prefix>{prefix}</Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>2</MaxKeys>"
        body = f"{head}<IsTruncated>{str(more).lower()}</IsTruncated>{then}{rows}"
        whole = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{body}</ListBucketResult>'
        self._says(200, whole.encode())

    def _says(self, status: int, body: bytes, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
            self.send_header("Last-Modified", "Wed, 01 Apr 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def bucket(objects: dict[str, bytes]) -> Iterator[Any]:
    """Serve objects as S3 does; give the server: `address`, `asked`, and `changes` that come while a key is read."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    server.objects, server.asked, server.changes = objects, [], {}
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
