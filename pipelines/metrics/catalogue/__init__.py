"""The catalogue of metrics, each declared once in a module beside."""

import difflib
import json
import re
from dataclasses import replace
from functools import cache

from pipelines.errors import UnknownMetric
from pipelines.metrics.catalogue import carbon, law, money, products, promises, returns, units
from pipelines.metrics.compiler import known_dimensions, knows
from pipelines.metrics.declare import FactTable, Metric
from pipelines.metrics.facts import LEGS, LOTS, ORDERS
from pipelines.metrics.question import ALIASES, Text
from pipelines.warehouse.engine import OWN_NAME, Build, period_start

CATALOGUE = (
    *returns.METRICS,
    *products.METRICS,
    *units.METRICS,
    *promises.METRICS,
    *law.METRICS,
    *money.METRICS,
    *carbon.METRICS,
)
_BY_KEY = {m.key: m for m in CATALOGUE}


def catalogue() -> tuple[Metric, ...]:
    """Give every metric at its default parameter, in the order pages show them."""
    return tuple(metric(m.key) for m in CATALOGUE)


def parsed(key: str) -> tuple[Metric, float | None]:
    """Read a metric's name and parameter, as in wait_quantile(0.9). Raises UnknownMetric."""
    found = re.fullmatch(r"\s*(\w+)\s*(?:\(\s*([\d.]+)\s*\))?\s*", key)
    name = found[1] if found else key
    if found is None or name not in _BY_KEY:
        ending = [k for k in _BY_KEY if k.endswith(f"_{name}")]  # return_rate: ultimate_return_rate and others
        near = (ending or difflib.get_close_matches(name, _BY_KEY, 3))[:3]
        hint = f"Did you mean {' or '.join(near)}?" if near else "`backhaul metrics` lists them."
        raise UnknownMetric(f"There is no metric {name!r}. {hint}")
    chosen = _BY_KEY[name]
    if found[2] is not None and chosen.parameter is None:
        raise UnknownMetric(f"{name} takes no parameter; ask for {name!r}.")
    return chosen, float(found[2]) if found[2] is not None else chosen.parameter


def metric(key: str) -> Metric:
    """Give a metric by its key, with its parameter written into name and default.

    Raises UnknownMetric with near names.

    >>> metric("days_to_refund(0.5)").name.en
    'Days to refund, p50'
    """
    chosen, parameter = parsed(key)
    if parameter is None:
        return chosen
    words = {"parameter": f"{parameter:g}", "percent": f"{100 * parameter:g}"}
    return replace(chosen, parameter=parameter, name=Text(*(t.format(**words) for t in chosen.name)))


ANALYSES: dict[str, tuple[FactTable, ...]] = {
    "forecast": (ORDERS, LOTS),
    "simulate": (ORDERS, LOTS),
    "erosion_by": (ORDERS, LOTS),
    "customer_concentration": (ORDERS, LOTS),
    "lost_sales": (LOTS,),
    "dispose": (LOTS,),
    "lanes": (LEGS,),
    "parcels": (LEGS,),
    "levers": (LEGS, LOTS),
    "change_split": (LEGS, LOTS, ORDERS),
}
"""Questions that are no metric, and what they count: they are filtered by what all of it knows."""


def dimensions(key: str, build: Build | None = None) -> tuple[str, ...]:
    """Give what a metric can be cut by, time grains first, or an analysis filtered by.

    In a build by the shop's own dimensions as well.
    """
    if key in ANALYSES:
        own = own_dimensions(build) if build else ()
        return tuple(sorted(set.intersection(*(knows(base, own) for base in ANALYSES[key]))))
    return known_dimensions(parsed(key)[0], own_dimensions(build) if build else ())[0]


@cache
def our_names() -> frozenset[str]:
    """Give the names that no dimension of a shop's own may have: ours, and the columns of an answer."""
    bases = {s.base for m in CATALOGUE for x in m.measures for sums in x.alternatives for s in sums}
    known = {n for base in bases for n in knows(base)} | {*ALIASES, *ALIASES.values(), *period_start.grains}
    return frozenset(known | {"value", "low", "high", "n", "coverage", "unit", "basis", "status", "caution", "label"})


def own_dimensions(build: Build) -> frozenset[str]:
    """Give the names of the shop's own dimensions that rows of a build carry."""
    listed = json.loads(build.info.get("own_dimensions") or "[]")
    return frozenset(n for n in listed if re.fullmatch(OWN_NAME, n) and n not in our_names())


def measure_names(key: str) -> tuple[str, ...]:
    """Give the columns of `statistics` that are sums, so that engines can be compared by name."""
    return tuple(m.name for m in parsed(key)[0].measures)
