"""What the law adds to refunds that are late, return by return, and when its next step falls.

What the text of a law says under the assumptions of docs/decisions/0046-what-late-refunds-owe.md; it is no advice.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from models.late_refund import YEAR_DAYS, added, periods
from pipelines.analyses.change import total
from pipelines.errors import SourceError
from pipelines.estimate.late_refund import rates_of, rules, scale_of
from pipelines.metrics.bind import bind, is_known
from pipelines.metrics.catalogue.law import ADDED
from pipelines.metrics.cautions import doubt, doubted
from pipelines.metrics.compiler import filters
from pipelines.metrics.facts import lots
from pipelines.metrics.facts.of_law import LATE, is_open, late, with_vat
from pipelines.metrics.question import ANYTHING, Question
from pipelines.warehouse.engine import Build, days_between

KEY = "late_refund_surcharge"
SOON_DAYS = 5.0
OWED = (
    "return_id",
    "country",
    "rule",
    "due_on",
    "days_late",
    "amount",
    "share",
    "surcharge",
    "next_on",
    "next_share",
    "next_surcharge",
    "is_assumed",
    "method",
    "carrier",
    "place_id",
)


def owed_by_law(
    build: Build, question: Question = ANYTHING, *, days: float = SOON_DAYS, limit: int = 200
) -> pd.DataFrame:
    """List open withdrawals that the law adds to, or will within so many days, most added first.

    One row a return: `amount` (price with VAT of the units not paid back, in the reporting currency), `days_late`,
    `share` and `surcharge` as of now, `next_on` and `next_share` of the next step and the `next_surcharge` it brings;
    `is_assumed` where a legal rate of other days stands in. Empty where no law of the data binds a withdrawal.
    """
    bound = bind(build, KEY, question.takes("A work list", "as_of"))
    if not is_known(build, KEY):
        return pd.DataFrame(columns=[*OWED, "caution", "reason"])
    now = LATE.time(bound)
    shown: dict[str, Any] = {n: lots.c[n] for n in ("return_id", "country", "method", "carrier", "place_id")}
    shown |= {n: late.c[n] for n in ("rule", "due_on", "period_no", "starts_on", "share", "yearly_rate", "is_assumed")}
    shown |= {"begun": days_between(late.c.starts_at, now.at), "price": with_vat(now)}
    query = select(*(c.label(n) for n, c in shown.items())).where(
        *filters(LATE, bound, now), is_open(now), late.c.starts_at.is_not(None)
    )
    listed = _of_returns(build.fetch(query.select_from(LATE.table)), days)
    ranked = listed.sort_values(["surcharge", "next_on", "return_id"], ascending=[False, True, True])
    return doubted(ranked.head(limit).reset_index(drop=True)[list(OWED)], doubt(build, question, KEY))


def _of_returns(found: pd.DataFrame, days: float) -> pd.DataFrame:
    """Give each return its period of now and the next one, from rows lot x period."""
    names = ["return_id", "rule", "due_on", "period_no", "starts_on", "share", "yearly_rate", "is_assumed", "begun"]
    by_period = found.groupby(names, as_index=False, dropna=False).agg(
        amount=("price", lambda prices: prices.sum(min_count=len(prices))),
        **{n: (n, "first") for n in ("country", "method", "carrier", "place_id")},
    )
    by_period = by_period.sort_values(["return_id", "period_no"])
    has_begun = by_period["begun"] >= 0
    now = by_period[has_begun].drop_duplicates("return_id", keep="last").set_index("return_id")
    following = by_period[~has_begun].drop_duplicates("return_id").set_index("return_id")
    listed = by_period.drop_duplicates("return_id").set_index("return_id")
    run = np.floor(now["begun"]) + 1
    started, due = (pd.to_datetime(frame[n]) for frame, n in ((now, "starts_on"), (listed, "due_on")))
    share = (now["share"] + now["yearly_rate"] * run / YEAR_DAYS).reindex(listed.index).fillna(0.0)
    late_days = ((started - due.reindex(now.index)).dt.days + run - 1).reindex(listed.index).fillna(0).astype(int)
    next_share = following["share"] + following["yearly_rate"] / YEAR_DAYS
    assumed = now["is_assumed"].reindex(listed.index).fillna(False).astype(bool)
    listed = listed.assign(
        days_late=late_days,
        share=share,
        surcharge=listed["amount"] * share,
        next_on=following["starts_on"].reindex(listed.index),
        next_share=next_share.reindex(listed.index),
        is_assumed=assumed,
    )
    listed["next_surcharge"] = listed["amount"] * listed["next_share"]
    is_soon = (-following["begun"]).reindex(listed.index) <= days
    return listed[(listed["days_late"] > 0) | is_soon].reset_index()


def with_surcharge(build: Build, table: pd.DataFrame, by: Sequence[str], question: Question) -> pd.DataFrame:
    """Lay what the law adds to late open refunds beside an accrual's groups, as the column by_law.

    Of the same orders; not known where no law of the data binds a withdrawal.
    """
    if not is_known(build, KEY):
        return table.assign(by_law=np.nan)
    found = total(build, KEY, (ADDED,), "order", question, tuple(by))
    if not by:
        return table.assign(by_law=float(found.iloc[0]))
    mine = found[found != 0].rename("by_law").reset_index()
    if table.empty or mine.empty:
        return mine.reindex(columns=[*table, "by_law"]) if len(mine) else table.assign(by_law=0.0)
    return table.merge(mine, on=list(by), how="outer").fillna({"by_law": 0.0}).sort_values(list(by), ignore_index=True)


def scale(rule: str, due_on: date, amount: float, on: date, contract_on: date | None = None) -> pd.DataFrame:
    """Work out what a rule adds to one refund: one row a period up to a day, and the one after it.

    Columns: from_day, to_day, share and surcharge on the first day, share_on and surcharge_on the last day of it or on
    the day asked for, is_assumed. Raises SourceError where no such rule stood on the day of the contract.
    """
    country, steps = scale_of(rule, contract_on or due_on)
    if not steps:
        known = ", ".join(rules())
        raise SourceError(f"No rule {rule} stood on {contract_on or due_on}; there are {known}.")
    laid = periods(due_on, on, steps, rates_of(country))
    ends = [p.ends_on - timedelta(1) if p.ends_on else None for p in laid]
    rows = [
        {
            "from_day": p.starts_on,
            "to_day": e,
            "share": added(laid, p.starts_on),
            "surcharge": amount * added(laid, p.starts_on),
            "share_on": added(laid, min(on, e) if e else on) if p.starts_on <= on else np.nan,
            "is_assumed": p.is_assumed,
        }
        for p, e in zip(laid, ends, strict=True)
    ]
    found = pd.DataFrame(rows)
    return found.assign(surcharge_on=amount * found["share_on"])
