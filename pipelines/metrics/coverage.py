"""What a build must hold for a metric, and what it lacks."""

from collections.abc import Sequence

import pandas as pd
from sqlalchemy import select

from pipelines.warehouse.engine import Build
from pipelines.warehouse.star import STAR

FILLED = 0.01
FACTS = {
    "order": "orders",
    "return": "returns",
    "back": "returns that came back or were paid",
    "return_flag": "marks of what was returned",
    "product": "product categories",
    "price": "prices",
    "unit_cost": "purchase costs",
    "vat": "VAT of the order lines",
    "outbound_cost": "shipping costs",
    "payment_fee": "payment fees",
    "reason": "return reasons",
    "policy": "return policies",
    "promise": "promises",
    "leg": "transport legs of returns",
    "leg_cost": "freight costs",
    "mass": "parcel weights",
    "refund": "refunds",
    "refund_line": "refund lines",
    "recovery": "what returned goods fetched",
    "carrier_invoice": "carriers' invoices",
    "disposition": "dispositions",
    "inspection": "what inspection found",
    "touch": "what people do by hand",
    "decline": "reasons of declined requests",
    "delivery": "delivery dates",
    "legal": "withdrawals from a country whose refund law is known",
    "late_law": "withdrawals from a country whose law adds to late refunds",
    "refusal": "refused or uncollected deliveries",
    "exchange": "exchanges",
    "conformity": "claims for faulty goods",
    "customer": "customers",
    "size": "sizes",
    "fx": "exchange rates",
}


def coverage(build: Build) -> pd.DataFrame:
    """Read what each source fills, once a build: source, fact, share, rows."""
    if "coverage" not in build.cache:
        build.cache["coverage"] = build.fetch(select(STAR.tables["build_coverage"]))
    found: pd.DataFrame = build.cache["coverage"]
    return found


def lacking(build: Build, needs: Sequence[str]) -> dict[str, list[str]]:
    """Give, for each source of orders or returns, which of these kinds of fact it does not fill.

    Without any, for every source.
    """
    if "filled" not in build.cache:
        found = coverage(build)
        pairs = list(zip(found["source"], found["fact"], strict=True))
        is_filled = ((found["rows"] > 0) & (found["share"] >= FILLED)).tolist()
        # a payment system beside a shop lacks nothing; alone, it is asked what it has
        sources = sorted({s for s, f in pairs if f in ("order", "return")} or {s for s, _ in pairs})
        build.cache["filled"] = sources, {pair for pair, fills in zip(pairs, is_filled, strict=True) if fills}
    sources, filled = build.cache["filled"]
    return {s: [n for n in needs if not any((s, f) in filled for f in n.split("|"))] for s in sources}


def wanted(missing: Sequence[str]) -> str:
    """Name what a metric lacks in words."""

    def word(fact: str) -> str:
        return FACTS.get(fact) or (
            f"the time of {fact.removeprefix('stage_').replace('_', ' ')}" if fact.startswith("stage_") else fact
        )

    return ", ".join(dict.fromkeys(" or ".join(word(f) for f in need.split("|")) for need in missing))
