"""A shop with its truth, and the files its systems had written by the end of a day.

A line is one row of `lines`, times are `datetime64[s]` in UTC, NaT where something never happens. What the files of a
day hold is cut by the time each row was recorded, so that a shop can be loaded as it stood.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DAY = np.timedelta64(86_400, "s")
STAGES = ("requested", "handed_over", "carrier_scan", "received", "inspected", "refunded")
"""Events of a return that worlds tell of, in order; each is a column `<event>_at` of the lines, or left out."""
CONFIRMING = ("carrier_scan", "received", "inspected", "refunded")
"""The first of these says that the goods are on their way back: a request and a label say nothing yet."""
VAT = 0.2
_OPTIONAL = ("shipped_at", "delivered_at", "discount_amount", "carrier", "channel", "loyalty_tier")


@dataclass(frozen=True)
class Shop:
    """What was sold, what becomes of it, and the last day that anybody knows of.

    lines: line, order (numbers), ordered_at, product_id, country, customer, net, probability (of coming back, as the
    world drew it), is_returned, the stages' times, and what else a world tells. A column `<event>_recorded_at` says
    when a system learned of an event, where that is later. truth: what cannot be said line by line.
    """

    until: date
    lines: pd.DataFrame
    products: pd.DataFrame
    policies: pd.DataFrame | None = None
    truth: Mapping[str, Any] = field(default_factory=dict)

    def sold(self, day: date | None = None) -> pd.DataFrame:
        """Give the lines ordered by the end of a day, `until` unless said."""
        return self.lines[self.lines["ordered_at"] < end_of(day or self.until)]

    def confirmed_at(self) -> "pd.Series[Any]":
        """Say when each line was first known to come back; NaT for those that never do."""
        return confirmed(self.lines)

    def write(self, folder: Path, day: date | None = None) -> Path:
        """Write the files as systems had them at the end of a day, and give their folder."""
        folder.mkdir(parents=True, exist_ok=True)
        at = end_of(day or self.until)
        logs = {
            "order_line": _order_lines(self.sold(day), at),
            "return_event": _events(self.sold(day), at),
            "product": self.products[self.products["valid_from"] < at],
            "policy": self.policies,
        }
        for name, log in logs.items():
            if log is not None and len(log):
                _timed(log).to_parquet(folder / f"{name}.parquet", index=False)
        return folder


def end_of(day: date) -> np.datetime64:
    """Give the first instant after a day."""
    return np.datetime64(day, "s") + DAY


def confirmed(lines: pd.DataFrame) -> "pd.Series[Any]":
    """Say when each line was first known to come back."""
    return lines[[f"{event}_at" for event in CONFIRMING if f"{event}_at" in lines]].min(axis=1)


def seconds(days: Any) -> Any:
    """Give days, a number or an array, as whole seconds."""
    return (np.asarray(days) * 86_400).astype("timedelta64[s]")


def named(letter: str, numbers: Any) -> "pd.Series[Any]":
    """Make ids of numbers: a letter before each."""
    return letter + pd.Series(np.asarray(numbers)).astype(str)


def _order_lines(lines: pd.DataFrame, at: np.datetime64) -> pd.DataFrame:
    log = pd.DataFrame(
        {
            "order_line_id": named("L", lines["line"]),
            "order_id": named("O", lines["order"]),
            "ordered_at": lines["ordered_at"].to_numpy(),
            "product_id": lines["product_id"].to_numpy(),
            "units": 1,
            "net_amount": lines["net"].to_numpy(),
            "vat_amount": (lines["net"] * VAT).round(2).to_numpy(),
            "currency": "EUR",
            "country": lines["country"].to_numpy(),
            "customer_id": named("C", lines["customer"]),
        }
    )
    for name in _OPTIONAL:
        if name in lines:
            log[name] = lines[name].to_numpy()
    for name in ("shipped_at", "delivered_at"):
        if name in log:
            log[name] = log[name].where(log[name] < at)
    return log


def _events(lines: pd.DataFrame, at: np.datetime64) -> pd.DataFrame:
    found = []
    for event in (*STAGES, "cancelled", "lost"):
        if f"{event}_at" not in lines:
            continue
        known = lines.get(f"{event}_recorded_at", lines[f"{event}_at"])
        some = lines[(lines[f"{event}_at"] < at) & (known < at)]
        log = pd.DataFrame({"occurred_at": some[f"{event}_at"].to_numpy(), "event": event, "units": 1})
        numbers = some["line"]
        log["event_id"] = named(event, numbers)
        log["return_line_id"] = named("RL", numbers)
        log["return_id"] = named("R", numbers)
        log["order_line_id"] = named("L", numbers)
        for own, name in (("return_carrier", "carrier"), ("method", "method"), ("return_type", "return_type")):
            if own in some:
                log[name] = some[own].to_numpy()
        found.append(log)
    return pd.concat(found, ignore_index=True)


def _timed(log: pd.DataFrame) -> pd.DataFrame:
    """Give a log whose times say that they are UTC."""
    times = [name for name, kind in log.dtypes.items() if kind.kind == "M"]
    return log.assign(**{name: log[name].astype("datetime64[us]").dt.tz_localize("UTC") for name in times})
