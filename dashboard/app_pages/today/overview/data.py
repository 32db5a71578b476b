"""What the page overview asks; nothing is drawn here."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd

from dashboard.shared.findings import FEWEST
from dashboard.shared.memory import remembered
from dashboard.shared.queries import (
    Change,
    PageQuestion,
    Source,
    as_change,
    can_compare,
    changes,
    doubted,
    number,
    opened,
    question_of,
    read_ahead,
    table,
)
from models import periods
from models.marks import beyond_noise
from pipelines import analyses
from pipelines.people import actions
from pipelines.settings import Settings


@remembered
def flow(asked: PageQuestion) -> pd.DataFrame:
    """Give the links from sold to what became of it: source, target, units."""
    found = analyses.flow(opened(asked.source), question_of(asked, "sold_units", "returned_units"))
    return found.rename(columns={"start": "source", "end": "target"})


MOVEMENTS = (
    ("ultimate_return_rate", "category", "returns"),
    ("ultimate_return_rate", "country", "markets"),
    ("promise_kept", "carrier", "delays"),
    ("promise_kept", "country", "delays"),
    ("days_to_refund", "carrier", "delays"),
    ("sales_share", "category", "returns"),
    ("resold_as_new_share", "category", "dispositions"),
)


@remembered
def moved(asked: PageQuestion) -> tuple[tuple[str, str, str, str, Change], ...]:
    """List the changes beyond noise, all of them held together: metric, dimension, group, page, change."""
    if not can_compare(asked):
        return ()
    found: list[tuple[str, str, str, str, Change]] = []
    for dimension in dict.fromkeys(dimension for _, dimension, _ in MOVEMENTS):
        read_ahead(asked, tuple(key for key, name, _ in MOVEMENTS if name == dimension), dimension)
    for key, dimension, page in MOVEMENTS:
        for _, row in changes(asked, key, dimension).iterrows():
            change_of = as_change(row)
            if change_of is not None and change_of.is_within_noise is not None and row["n"] >= FEWEST:
                found.append((key, dimension, str(row[dimension]), page, change_of))
    bounds = np.array([(c.difference, c.low, c.high) for *_, c in found]).reshape(-1, 3)
    return tuple(
        (key, dimension, group, page, replace(change_of, is_within_noise=False))
        for (key, dimension, group, page, change_of), is_marked in zip(found, beyond_noise(*bounds.T), strict=True)
        if is_marked
    )


PROMISES = ("legal_refund", "request_to_refund", "refund")
"""Promises on the customer's money: the control charts that the first sentence may come from."""


@remembered
def control(asked: PageQuestion, promise: str) -> pd.DataFrame:
    """Give the control chart of a promise, week by week; the days of the view do not matter."""
    return analyses.control_chart(opened(asked.source), promise, question_of(asked, "promise_kept").undated())


def charts(asked: PageQuestion) -> dict[str, pd.DataFrame]:
    """Give the control chart of each promise on money that somebody made."""
    if number(asked, "promise_kept").lacks:
        return {}
    made = set(table(asked.source, "dim_policy_promise")["promise_id"])
    found = {promise: control(asked, promise) for promise in PROMISES if promise in made | {"legal_refund"}}
    return {promise: weeks for promise, weeks in found.items() if len(weeks)}


def delay_drifts(asked: Source) -> pd.DataFrame:
    """Give the drifts of delays that the build found."""
    return table(asked, "estimate_delay_drift")


def open_actions(asked: Source) -> list[actions.Action]:
    """List the actions that somebody logged and that are not done yet, the earliest due first."""
    everything = [] if asked.scope else actions.actions(Settings(warehouse=asked.warehouse))
    listed = [one for one in everything if one.status == "open"]
    return sorted(listed, key=lambda one: one.due_on or dt.date.max)


@remembered
def parcels_to_claim(asked: PageQuestion) -> pd.DataFrame:
    """List lost parcels that a carrier still has to pay for, the most pressing first."""
    found = analyses.claims(opened(asked.source), question_of(asked, "claims_open_amount"))
    return doubted(asked, found[found["status"] == "eligible"], "claims_open_amount")


def last_year(asked: PageQuestion) -> PageQuestion:
    """Ask the same of the twelve months that end with the view."""
    return replace(asked, since=periods.months_before(asked.until + dt.timedelta(days=1), 12))
