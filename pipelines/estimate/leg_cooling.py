"""Which legs carry goods that are kept cool, and the vehicle whose factor they take.

A leg says so itself (`temperature_class`), else the warehouse does, of a carrier's service or of a category of goods
(parameter `refrigerated`), else the words of the service. Refrigerant that leaks is a figure of its own (leg_own.py).
"""

from typing import Any

from sqlalchemy import and_, case, exists, extract, func, or_, select, true

from pipelines.estimate.sql import t
from pipelines.factors import COOLED, Ledger
from pipelines.warehouse.engine import Expression

WORDS = "refrigerat|chill|frozen|reefer"
SERVICE, CATEGORY = "service:", "category:"


def is_cooled(leg: Any, known: Ledger) -> Expression:
    """Say whether goods are kept cool on a leg; only of transports that are no customer's trip."""
    c = leg.c
    by_words = func.lower(func.coalesce(c.service, "")).regexp_match(WORDS)
    stated = case(
        (c.temperature_class.is_not(None), c.temperature_class != "ambient"),
        *((test, float(row["value"]) > 0) for test, row in _rules(leg, known)),
        else_=by_words,
    )
    return and_(c.element_type == "transport", c.role != "customer_trip", func.coalesce(stated, False))


def _rules(leg: Any, known: Ledger) -> list[tuple[Expression, Any]]:
    """Give what the warehouse states of services and categories, by leg: the first that holds is taken.

    What is stated of a service comes before what is stated of goods, a country before all, the latest year first.
    """
    c, lot = leg.c, t["fact_return_line"]
    rules = []
    for begins in (SERVICE, CATEGORY):
        rows = [row for row in known.own if row["parameter"] == "refrigerated" and row["applies_to"].startswith(begins)]
        for row in sorted(rows, key=lambda r: (not r["country"], r["country"], -int(r["valid_from_year"]))):
            name = row["applies_to"].removeprefix(begins).strip().lower()
            goods = exists(select(lot.c.parcel_key).where(lot.c.parcel_key == c.parcel_key, _is(lot.c.category, name)))
            holds = _is(c.service, name) if begins == SERVICE else goods
            here = c.country == row["country"] if row["country"] else true()
            rules.append((and_(holds, here, extract("year", c.started_on) >= int(row["valid_from_year"])), row))
    return rules


def _is(column: Expression, name: str) -> Expression:
    return func.lower(func.coalesce(column, "")) == name


def cooled_vehicle(vehicle: Expression, cooled: Expression) -> Expression:
    """Name the vehicle with its cooling; as it is named where its name says so already."""
    is_plain = or_(~cooled, func.contains(vehicle, COOLED))
    return case((is_plain, vehicle), else_=func.concat(vehicle, COOLED))
