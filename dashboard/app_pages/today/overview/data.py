"""What the page overview asks; nothing is drawn here."""

from dataclasses import replace

import numpy as np
import pandas as pd

from dashboard.shared.queries import (
    Change,
    PageQuestion,
    Source,
    as_change,
    can_compare,
    changes,
    opened,
    question_of,
    remembered,
)
from models.marks import beyond_noise
from pipelines import alerts, analyses
from pipelines.settings import Settings


@remembered()
def flow(asked: PageQuestion) -> pd.DataFrame:
    """Give the links from sold to what became of it: source, target, units."""
    found = analyses.flow(opened(asked.source), question_of(asked, "sold_units", "returned_units"))
    return found.rename(columns={"start": "source", "end": "target"})


FEWEST = 30  # units of a group whose change is named
MOVEMENTS = (
    ("ultimate_return_rate", "category", "returns"),
    ("ultimate_return_rate", "country", "markets"),
    ("promise_kept", "carrier", "delays"),
    ("promise_kept", "country", "delays"),
    ("days_to_refund", "carrier", "delays"),
    ("sales_share", "category", "returns"),
    ("resold_as_new_share", "category", "dispositions"),
)


@remembered()
def moved(asked: PageQuestion) -> tuple[tuple[str, str, str, str, Change], ...]:
    """List the changes beyond noise, all of them held together: metric, dimension, group, page, change."""
    if not can_compare(asked):
        return ()
    found: list[tuple[str, str, str, str, Change]] = []
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


def lasting_alerts(asked: Source) -> pd.DataFrame:
    """List the alerts that last, newest first, with their rules."""
    return alerts.alerts(Settings(warehouse=asked.warehouse))
