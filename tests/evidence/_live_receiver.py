"""Posts of five systems while receiver and loads are killed: what was acknowledged is there once, the forged is not.

Each thing (a return, an order) is told of in two or three events, sent in any order by senders that do as the systems
do: they send again until they are answered. Run alone: `python -m tests.evidence._live_receiver [POSTS] [KILLS]`.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from pipelines.receiving import taking
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_id
from tests.evidence import Claim

POSTS, KILLS, SENDERS = 10_000, 30, 8
SHARES = {"again": 0.1, "forged": 0.05, "old": 0.05}  # of the posts, beside those of true events
SECRET = "a secret of the proof"
MOST_P99_S, MOST_GROWTH = 0.1, 24 << 20  # seconds; bytes of memory between a fifth and the whole of the steady half
HEADERS = {
    "shopify": ("X-Shopify-Hmac-SHA256", "base64"),
    "loop": ("X-Loop-Signature", "base64"),
    "aftership": ("As-Signature-Hmac-Sha256", "base64"),
    "happy-returns": ("X-Hr-Signature", "hex"),
    "onestock": ("X-Own-Signature", "hex"),
}
NOW = datetime.now(UTC).replace(microsecond=0)
_ROWS = "count(*), bool_and({last} IS NOT NULL) FROM"
ORDERS = f"SELECT order_id, {_ROWS} fact_order_line WHERE source = '{{source}}' GROUP BY 1"
RETURNS = f"SELECT return_id, {_ROWS} fact_return_line WHERE source = '{{source}}' GROUP BY 1"
FOUND = {
    "shopify": ORDERS.format(source="shopify", last="shipped_at"),
    "loop": RETURNS.format(source="loop", last="refunded_at"),
    "aftership": RETURNS.format(source="aftership", last="received_at"),
    "happy-returns": RETURNS.format(source="happy_returns", last="received_at"),
    "onestock": ORDERS.format(source="onestock", last="shipped_at"),
}
"""Of each kind: its things, rows of each, and whether its last state is there."""


@dataclass(frozen=True)
class Post:
    """One post: the hook, its body, its headers, and what must become of it."""

    hook: str
    thing: str
    body: bytes
    headers: dict[str, str]
    kind: str = "true"


@dataclass
class Told:
    """What the senders were told."""

    acknowledged: set[tuple[str, str]] = field(default_factory=set)
    answers: dict[str, dict[int, int]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


def events(hook: str, n: int, at: datetime) -> list[dict[str, Any]]:
    """Give the events that tell of one thing, the last state last."""
    times = [(at + timedelta(minutes=m)).isoformat() for m in (0, 5, 10)]
    if hook == "shopify":
        line = {"id": n * 10, "sku": "TEE", "quantity": 1, "price": "20.00", "tax_lines": [], "requires_shipping": True}
        order = {"id": n, "admin_graphql_api_id": f"gid://shopify/Order/{n}", "created_at": times[0], "currency": "EUR"}
        order |= {"processed_at": times[0], "taxes_included": False, "financial_status": "paid"}
        order |= {"email": f"person{n}@example.org", "shipping_address": {"country_code": "FR", "zip": "75011"}}
        sent = {
            "id": n * 100,
            "status": "success",
            "created_at": times[1],
            "line_items": [{"id": n * 10, "quantity": 1}],
        }
        new = {**order, "updated_at": times[0], "fulfillments": [], "line_items": [{**line, "fulfillable_quantity": 1}]}
        gone = {**order, "updated_at": times[1], "line_items": [{**line, "fulfillable_quantity": 0}]}
        return [new, {**gone, "fulfillments": [{**sent, "order_id": n}]}]
    if hook == "loop":
        item = {"line_item_id": n, "provider_line_item_id": f"L{n}", "sku": "TEE", "return_reason": "Too small"}
        base = {"id": n, "created_at": times[0], "provider_order_id": n, "currency": "EUR", "carrier": "DHL"}
        base |= {"tracking_number": "N/A", "address": {"country_code": "US"}, "refund": "0"}
        back = f"{at + timedelta(minutes=4):%Y-%m-%d %H:%M:%S}"
        return [
            {**base, "updated_at": times[0], "state": "open", "line_items": [{**item, "returned_at": None}]},
            {**base, "updated_at": times[1], "state": "open", "line_items": [{**item, "returned_at": back}]},
            {
                **base,
                "updated_at": times[2],
                "state": "closed",
                "refund": "20.00",
                "line_items": [{**item, "returned_at": back}],
            },
        ]
    if hook == "aftership":
        item = {"item_id": f"i{n}", "sku": "TEE", "return_quantity": 1, "return_reason": "Too small"}
        data = {"id": f"a{n}", "created_at": times[0], "approved_at": None, "rejected_at": None, "expired_at": None}
        last = {**item, "receivings": [{"received_at": times[2], "quantity": 1}]}
        return [
            {"id": f"a{n}-0", "created_at": times[0], "data": {**data, "return_items": [{**item, "receivings": []}]}},
            {
                "id": f"a{n}-1",
                "created_at": times[1],
                "data": {**data, "approved_at": times[1], "return_items": [{**item, "receivings": []}]},
            },
            {
                "id": f"a{n}-2",
                "created_at": times[2],
                "data": {**data, "approved_at": times[1], "return_items": [last]},
            },
        ]
    if hook == "happy-returns":
        item = {"happyReturnsReturnID": f"h{n}", "externalRMAID": f"R{n}", "orderLineItemID": f"L{n}", "sku": "TEE"}
        kinds = zip(("started", "bar_dropoff", "received"), times, strict=True)
        return [{"event": "x", "typeID": k, "eventTimestamp": t, "retailerID": "r", "items": [item]} for k, t in kinds]
    group = {
        "order_item_id": f"g{n}",
        "item_id": "TEE",
        "quantity": 1,
        "parcel_id": f"P{n}",
        "index_ranges": [{"from": 0, "to": 0}],
    }
    price = {"unit_price": 24.0, "currency": "EUR"}
    order = {
        "id": f"S{n}",
        "date": int(at.timestamp()),
        "order_items": [{"_id": f"g{n}", "item_id": "TEE", "pricing_details": price}],
    }
    order |= {"delivery": {"destination": {"address": {"zip_code": "75011", "regions": {"country": {"code": "FR"}}}}}}
    parcel = {"id": f"P{n}", "date": int(at.timestamp()) + 300, "delivery": {"carrier": {"name": "colis"}}}
    first = {"last_update": int(at.timestamp()), "line_item_groups": [{**group, "state": "ordered"}], "parcels": []}
    last = {"last_update": int(at.timestamp()) + 400, "line_item_groups": [{**group, "state": "fulfilled"}]}
    return [{**order, **first, "return_parcels": []}, {**order, **last, "parcels": [parcel], "return_parcels": []}]


def signed(hook: str, body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Sign a body as its system does."""
    header, encoding = HEADERS[hook]
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    named = {header: digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()}
    if hook == "shopify":
        named |= {"X-Shopify-Webhook-Id": hashlib.md5(body).hexdigest(), "X-Shopify-Triggered-At": NOW.isoformat()}
    return named


def posts(number: int, draw: random.Random) -> list[Post]:
    """Make so many posts: true ones in any order, some again, some forged, some old."""
    true: list[Post] = []
    n = 0
    while len(true) < number * (1 - sum(SHARES.values())):
        n += 1
        for hook in HEADERS:
            at = NOW - timedelta(minutes=20 + n % 600)
            for event in events(hook, n, at):
                body = json.dumps(event).encode()
                true.append(Post(hook, str(n), body, signed(hook, body)))
    again = [
        Post(p.hook, p.thing, p.body, p.headers, "again") for p in draw.sample(true, int(number * SHARES["again"]))
    ]
    wrong: list[Post] = []
    for kind in ("forged", "old"):
        for k in range(int(number * SHARES[kind])):
            hook = ("shopify", "loop", "aftership")[k % 3]
            thing = 10_000_000 + k
            old = NOW - timedelta(days=3) if kind == "old" else NOW
            body = json.dumps(events(hook, thing, old)[-1]).encode()
            headers = signed(hook, body, "another secret" if kind == "forged" else SECRET)
            if hook == "shopify" and kind == "old":
                headers["X-Shopify-Triggered-At"] = old.isoformat()
            wrong.append(Post(hook, str(thing), body, headers, kind))
    every = true + again + wrong
    draw.shuffle(every)
    return every


class Killed:
    """A receiver that is killed and comes back, on one port."""

    def __init__(self, warehouse: Path, secrets: dict[str, str]) -> None:
        self.environment = {**os.environ, **secrets}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.warehouse = warehouse
        self.process = self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        words = ["receive", "--port", str(self.port), "--warehouse", str(self.warehouse)]
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *words], stdout=subprocess.DEVNULL, env=self.environment
        )

    def wait(self) -> None:
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = self._started()

    def memory(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


def send(receiver: Killed, given: list[Post], told: Told) -> list[threading.Thread]:
    """Begin to send: each post until it is answered with what is no call to try again."""
    waiting: queue.SimpleQueue[Post] = queue.SimpleQueue()
    for one in given:
        waiting.put(one)

    def work() -> None:
        connection: http.client.HTTPConnection | None = None
        while True:
            try:
                post = waiting.get_nowait()
            except queue.Empty:
                return
            while True:
                begun = time.perf_counter()
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=60)
                    connection.request("POST", f"/hooks/{post.hook}", post.body, post.headers)
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException):
                    connection = None
                    time.sleep(0.05)
                    continue
                if answer.status in (429, 503):
                    time.sleep(0.05)
                    continue
                told.seconds.append(time.perf_counter() - begun)
                counts = told.answers.setdefault(post.kind, {})
                counts[answer.status] = counts.get(answer.status, 0) + 1
                if answer.status in (200, 202) and post.kind in ("true", "again"):
                    told.acknowledged.add((post.hook, post.thing))
                break

    threads = [threading.Thread(target=work, daemon=True) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    return threads


def load(warehouse: Path, kill_after_s: float | None = None) -> bool:
    """Run a load, or kill one while it runs; say whether it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "load", "--warehouse", str(warehouse)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(kill_after_s)
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def claims(number: int = POSTS, kills: int = KILLS) -> Iterator[Claim]:
    """Post steadily for half of the posts, then with kills, and hold the build against what was acknowledged."""
    draw = random.Random(20)
    with tempfile.TemporaryDirectory(prefix="backhaul-live-") as folder:
        settings = Settings(warehouse=Path(folder) / "warehouse")
        names = {
            f"BACKHAUL_HOOK_{name}": SECRET for name in ("SHOPIFY", "LOOP", "AFTERSHIP", "HAPPY_RETURNS", "ONESTOCK")
        }
        settings.hooks_file.write_text("onestock: {header: X-Own-Signature}\n")
        every, told = posts(number, draw), Told()
        receiver = Killed(settings.warehouse, names)
        try:
            receiver.wait()
            yield from _steady(receiver, every[: len(every) // 2], told)
            killed = _killed(receiver, every[len(every) // 2 :], told, kills, draw)
        finally:
            receiver.end()
        load(settings.warehouse)
        load(settings.warehouse)  # what came while the first one finished what had landed
        yield _held(settings, told, killed, kills, len(every))
        yield _refused(told)


def _steady(receiver: Killed, given: list[Post], told: Told) -> Iterator[Claim]:
    first = len(given) // 5
    begun = time.perf_counter()
    for thread in send(receiver, given[:first], told):
        thread.join()
    memory = receiver.memory()
    for thread in send(receiver, given[first:], told):
        thread.join()
    seconds, grown = time.perf_counter() - begun, receiver.memory() - memory
    p99 = float(np.percentile(told.seconds, 99))
    yield Claim(
        f"Web hooks from {SENDERS} senders at once, each flushed to disk before it is answered",
        f"p99 under {MOST_P99_S * 1000:.0f} ms",
        f"{len(given) / seconds:.0f} events a second, p99 {p99 * 1000:.0f} ms",
        p99 < MOST_P99_S,
    )
    yield Claim(
        "The receiver's memory stays where it is",
        f"under {MOST_GROWTH >> 20} MiB more from a fifth of the posts to all",
        f"{grown / 2**20:+.1f} MiB, {receiver.memory() / 2**20:.0f} MiB in all",
        grown < MOST_GROWTH,
    )


def _killed(receiver: Killed, given: list[Post], told: Told, kills: int, draw: random.Random) -> int:
    """Kill the receiver, and loads, so often while posts come; give the number of kills."""
    done = 0
    parts = max(kills, 1)
    for part in range(parts):  # some posts a kill, so that each is hit while posts come
        threads = send(receiver, given[part::parts], told)
        if part % 3 == 2:
            done += load(receiver.warehouse, draw.uniform(0.8, 6.0))
        else:
            time.sleep(draw.uniform(0.005, 0.12))
            receiver.kill()
            done += 1
        for thread in threads:
            thread.join()
    for _ in range(3 * kills):  # a load may have ended before its moment came
        if done >= kills:
            break
        done += load(receiver.warehouse, draw.uniform(0.8, 2.0))
    return done


def _held(settings: Settings, told: Told, killed: int, kills: int, number: int) -> Claim:
    """Hold what is in the build against what was acknowledged."""
    build = duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)
    lost, doubled, forged = 0, 0, 0
    for hook, query in FOUND.items():
        found = build.execute(query).fetchall()
        rows = {str(i).split(":")[-1].lstrip("ahRS"): (int(n), bool(last)) for i, n, last in found}
        things = {thing for name, thing in told.acknowledged if name == hook}
        lost += sum(thing not in rows or not rows[thing][1] for thing in things)
        doubled += sum(n > 1 for n, _ in rows.values())
        forged += sum(int(thing) >= 10_000_000 for thing in rows)
    build.close()
    waiting = sum(one.waiting + sum(one.aside.values()) for one in taking.waiting(settings))
    return Claim(
        f"{number:,} posts of five systems in any order, some twice, while receiver and loads are killed: each thing"
        " that was acknowledged is in the build once, in its last state",
        f"{kills} kills; lost 0, doubled 0, forged or old 0, left in the spool 0",
        f"{killed} kills; {len(told.acknowledged):,} things acknowledged; lost {lost}, doubled {doubled}, forged or old"
        f" {forged}, left in the spool {waiting}",
        killed >= kills and not lost and not doubled and not forged and not waiting and bool(told.acknowledged),
    )


def _refused(told: Told) -> Claim:
    forged, old = (told.answers.get(kind, {}) for kind in ("forged", "old"))
    said = f"forged {dict(sorted(forged.items()))}, old {dict(sorted(old.items()))}"
    return Claim(
        "A wrong signature and an old stamp are refused, whatever else is wrong",
        "forged: 401 alone, old: 400 alone",
        said,
        set(forged) == {401} and set(old) == {400},
    )


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    for claim in claims(*given):
        print(
            f"{claim.name}: {claim.figure} (bar: {claim.bar}): {'holds' if claim.holds else 'falls short'}", flush=True
        )
