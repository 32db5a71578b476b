"""The systems whose web hooks are known: how each signs, what names an event and when it was sent, what it must hold.

Signatures are HMAC-SHA256 over the body as it came. Verified in the vendors' documents, October and November 2026:

    shopify        X-Shopify-Hmac-SHA256, base64, by the app's client secret; X-Shopify-Webhook-Id names a delivery,
                   X-Shopify-Triggered-At says when; eight retries in four hours with the first body
                   (shopify.dev/docs/apps/build/webhooks/verify-deliveries; changelog of 10 September 2024)
    loop           X-Loop-Signature, base64, by the hook's secret (docs.loopreturns.com/webhook-reference/validation)
    aftership      as-signature-hmac-sha256, base64; of organisations from before 25 October 2022
                   am-webhook-signature, `hmac-sha256=` and the same (aftership.com/docs/returns/2025-04/webhook/
                   signature); `id` names an event, `created_at` says when (.../2024-10/webhook/specifications)
    happy_returns  X-Hr-Signature, 64 hexadecimal digits (developer.happyreturns.com/partner/webhooks/return); that they
                   are the HMAC-SHA256 of the body is from memory, for the page on validation could not be read
    onestock       a hook has a `hash_key` of its own, and wants 202 (onestock.atlassian.net, "Webhook configuration");
                   the header could not be read, so the operator names it
    standard       webhook-signature over `id.timestamp.body` (Standard Webhooks 1.0.0, github.com/standard-webhooks)

A header that is not signed names a delivery and proves nothing: the body is what is signed, so a body that is known is
known under every name.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

HOUR = 3600.0


@dataclass(frozen=True)
class Scheme:
    """Where a signature stands and how it is written; `is_standard`: as Standard Webhooks has it."""

    header: str
    encoding: str = "base64"
    prefix: str = ""
    is_standard: bool = False


@dataclass(frozen=True)
class System:
    """One kind of hook.

    `source` reads its events, empty where the operator names it. `event_id` and `sent_at` say where an event's name and
    time stand: `header:NAME`, or a path of keys in the body, empty where nothing does. `window_s` is how old an event
    may be. An event holds something at one of the paths in `needs`; `unwrap` are keys that may lie around it.
    """

    source: str
    schemes: tuple[Scheme, ...]
    event_id: str = ""
    sent_at: str = ""
    window_s: float = 24 * HOUR
    needs: tuple[str, ...] = ()
    unwrap: tuple[str, ...] = ()
    answer: int = 200


SYSTEMS: dict[str, System] = {
    "shopify": System(
        "shopify",
        (Scheme("x-shopify-hmac-sha256"),),
        event_id="header:x-shopify-webhook-id",
        sent_at="header:x-shopify-triggered-at",
    ),
    "loop": System("loop_returns", (Scheme("x-loop-signature"),), sent_at="updated_at", needs=("line_items",)),
    "aftership": System(
        "aftership_webhooks",
        (Scheme("as-signature-hmac-sha256"), Scheme("am-webhook-signature", prefix="hmac-sha256=")),
        event_id="id",
        sent_at="created_at",
        needs=("data.return_items",),
    ),
    "happy_returns": System(
        "happy_returns", (Scheme("x-hr-signature", "hex"),), sent_at="eventTimestamp", needs=("items",)
    ),
    "onestock": System(
        "onestock_orders",
        (),
        sent_at="last_update",
        needs=("line_item_groups", "return_parcels"),
        unwrap=("order", "orders"),
        answer=202,
    ),
    "standard": System(
        "",
        (Scheme("webhook-signature", prefix="v1,", is_standard=True),),
        event_id="header:webhook-id",
        sent_at="header:webhook-timestamp",
        window_s=300.0,
    ),
    "generic": System("", ()),
}
"""By the word that the operator writes for it."""


def is_signed(schemes: Sequence[Scheme], secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
    """Say whether one of the secrets signed a body. Every one is tried whatever the others gave, in constant time."""
    found = False
    for scheme in schemes:
        signed = body
        if scheme.is_standard:
            named = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}."
            signed = named.encode() + body
        shown = [part for part in headers.get(scheme.header, "").split(" ") if part.startswith(scheme.prefix)]
        for secret in secrets:
            digest = hmac.new(_key(secret, scheme), signed, hashlib.sha256).digest()
            text = digest.hex() if scheme.encoding == "hex" else base64.b64encode(digest).decode()
            for part in shown[:10]:
                said = part.removeprefix(scheme.prefix)
                said = said.lower() if scheme.encoding == "hex" else said
                found |= hmac.compare_digest(said.encode(), text.encode())
    return found


def _key(secret: str, scheme: Scheme) -> bytes:
    if scheme.is_standard and secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


def said_at(place: str, headers: Mapping[str, str], content: Any) -> str:
    """Give what stands at a place of a hook, as text; empty where nothing does.

    >>> said_at("data.id", {}, {"data": {"id": 7}}), said_at("header:x-id", {"x-id": "a"}, None)
    ('7', 'a')
    """
    if place.startswith("header:"):
        return headers.get(place.removeprefix("header:"), "")
    for key in filter(None, place.split(".")):
        content = content.get(key) if isinstance(content, dict) else None
    return str(content) if place and isinstance(content, str | int | float) else ""


def instant(text: str) -> datetime | None:
    """Read a time with its zone, or seconds since 1970; None for what is neither.

    >>> instant("1700000000") == instant("2023-11-14T22:13:20Z"), instant("2023-11-14 22:13:20")
    (True, None)
    """
    try:
        if text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdecimal():
            return datetime.fromtimestamp(float(text), UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found.tzinfo else None
