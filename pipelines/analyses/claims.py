"""Claims against carriers: lost parcels that could be claimed, those that are, and what came of them.

A work list worth cash.
"""

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from pipelines.factors import parameter
from pipelines.metrics.bind import bind
from pipelines.metrics.compiler import filters
from pipelines.metrics.facts import LOST, claimed, lots
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, double

STATUSES = ("eligible", "filed", "paid", "refused", "too_late")


def claims(
    build: Build,
    question: Question = ANYTHING,
) -> pd.DataFrame:
    """List lost parcels, those worth most and due first.

    Columns: parcel_id, carrier, lost_at, units, amount (purchase cost), status, deadline_on, days_left, claimed, paid.
    Amounts in the reporting currency. The deadline is that of data/costs.csv (claim_days) unless the contract says
    otherwise; a claim not filed by then is too_late.
    """
    found = _lost_parcels(build, question)
    seen = pd.Timestamp(build.info.get("observed_until") or "1970-01-01")
    found["deadline_on"] = (
        pd.to_datetime(found["lost_at"]) + pd.Timedelta(days=parameter("claim_days"))
    ).dt.normalize()
    found["days_left"] = (found["deadline_on"] - seen.normalize()).dt.days
    status = np.select(
        [found["paid"].fillna(0) > 0, found["decided_at"].notna(), found["filed_at"].notna(), found["days_left"] < 0],
        ["paid", "refused", "filed", "too_late"],
        default="eligible",
    )
    found["status"] = status
    order = {s: i for i, s in enumerate(STATUSES)}
    columns = [
        "parcel_id",
        "carrier",
        "lost_at",
        "units",
        "amount",
        "status",
        "deadline_on",
        "days_left",
        "claimed",
        "paid",
    ]
    ranked = found.assign(_order=[order[s] for s in status]).sort_values(
        ["_order", "amount", "parcel_id"], ascending=[True, False, True]
    )
    return ranked[columns].reset_index(drop=True)


def _lost_parcels(build: Build, question: Question) -> pd.DataFrame:
    """Give parcels that were lost and did not turn up, with their carrier, goods and claim."""
    bound = bind(build, "claims_open_amount", question)
    now = LOST.time(bound)
    query = (
        select(
            lots.c.parcel_id,
            func.min(lots.c.carrier).label("carrier"),
            func.min(lots.c.lost_at).label("lost_at"),
            func.sum(lots.c.units).label("units"),
            func.sum(double(lots.c.cost_amount) * lots.c.fx_rate).label("amount"),
            func.min(claimed.c.filed_at).label("filed_at"),
            func.max(claimed.c.decided_at).label("decided_at"),
            func.max(claimed.c.claimed).label("claimed"),
            func.max(claimed.c.paid).label("paid"),
        )
        .select_from(LOST.table)
        .where(
            *filters(LOST, bound, now),
            now.happened(lots.c.lost_at),
            now.open(lots.c.received_at),
            lots.c.parcel_id.is_not(None),
        )
        .group_by(lots.c.parcel_id)
    )
    return build.fetch(query)
