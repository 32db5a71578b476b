"""Which of two dates of a row comes first, and what is left out where it does not. Facts, checks and metrics ask here.

Days are compared where they put a row aside, in the shop's zone: systems differ by hours, and many tell a day alone.
"""

from typing import NamedTuple

from pipelines.warehouse.sql import quote

ROW = "row"
"""The dates cannot be: every metric leaves the row out and counts it (`date_fault`, check `impossible_dates`)."""
WAITS = "waits"
"""The dates cannot be, the return can: its waits are left out and counted (`out_of_order`, check `stages_in_order`)."""
MAY = "may"
"""Either may come first, and no check speaks of it: only a wait from the one to the other is no wait then."""


class Pair(NamedTuple):
    """Two stages of the rows of a fact, the earlier first, and what is left out where the later one came before it."""

    fact: str
    first: str
    second: str
    leaves_out: str

    @property
    def fault(self) -> str:
        """Say what is wrong where the order is not kept."""
        return f"{self.second} before {self.first}"


PAIRS = (
    Pair("fact_order_line", "ordered", "shipped", ROW),
    Pair("fact_order_line", "ordered", "delivered", ROW),
    Pair("fact_order_line", "shipped", "delivered", ROW),
    Pair("fact_return_line", "ordered", "returned", ROW),
    Pair("fact_return_line", "shipped", "returned", ROW),
    Pair("fact_return_line", "delivered", "returned", ROW),
    Pair("fact_refund", "ordered", "refunded", ROW),
    Pair("fact_refund_line", "ordered", "refunded", ROW),
    Pair("fact_recovery", "ordered", "recovered", ROW),
    Pair("fact_return_line", "requested", "approved", MAY),
    Pair("fact_return_line", "requested", "handed_over", MAY),
    Pair("fact_return_line", "requested", "refunded", MAY),
    Pair("fact_return_line", "requested", "restocked", MAY),
    Pair("fact_return_line", "handed_over", "carrier_scan", WAITS),
    Pair("fact_return_line", "handed_over", "received", WAITS),
    Pair("fact_return_line", "handed_over", "inspected", WAITS),
    Pair("fact_return_line", "carrier_scan", "received", WAITS),
    Pair("fact_return_line", "carrier_scan", "inspected", WAITS),
    Pair("fact_return_line", "received", "inspected", WAITS),
    Pair("fact_return_line", "received", "refunded", MAY),
    Pair("fact_return_line", "received", "restocked", WAITS),
    Pair("fact_return_line", "received", "disposed", WAITS),
    Pair("fact_return_line", "inspected", "refunded", MAY),
    Pair("fact_return_line", "inspected", "restocked", WAITS),
)
"""Every pair that is looked at.

What "returned" means depends on what it is compared with: anything of a return comes after its order, the goods or
their money moving after the shipment, the goods' arrival at the returns centre after the delivery.
"""
FAULTY = tuple(dict.fromkeys(p.fact for p in PAIRS if p.leaves_out == ROW))
"""The facts that have a `date_fault`."""
WAY_BACK = tuple(p for p in PAIRS if p.leaves_out != ROW)
"""Pairs of stages of the way back, of which `out_of_order` names those that came the other way round."""


def date_fault(fact: str, day: dict[tuple[str, str], tuple[str, str]], before: str = "") -> str:
    """Give the column `date_fault` of a fact, as SQL.

    `day` has the SQL of both local days for each pair of the fact (first, second) that puts a row aside; `before` is
    the fault a row has already.

    >>> date_fault("fact_refund", {("ordered", "refunded"): ("a", "b")})
    "CASE WHEN b < a THEN 'refunded before ordered' END"
    """
    whens = [f"WHEN {before} IS NOT NULL THEN {before}"] if before else []
    for p in PAIRS:
        if p.fact == fact and p.leaves_out == ROW:
            first, second = day[p.first, p.second]
            whens.append(f"WHEN {second} < {first} THEN {quote(p.fault)}")
    return f"CASE {' '.join(whens)} END"


def own_faults(fact: str) -> str:
    """Give what the `date_fault` of a fact says of its own dates, as a list of SQL.

    >>> own_faults("fact_refund")
    "'refunded before ordered'"
    """
    return ", ".join(quote(p.fault) for p in PAIRS if p.fact == fact and p.leaves_out == ROW)
