"""Which months of a number are settled: what is not is drawn dotted and said to be so far."""

import pandas as pd

from dashboard.shared.queries import PageQuestion, by_month, metric, number, unseen

CERTAIN = 0.9  # of the returns that are expected of a month, so many have come where it is settled
DECIDED = 0.95  # of the promises that began in a month, so many are kept or broken


def is_young(asked: PageQuestion, key: str, months: pd.Series) -> pd.Series:
    """Say of each month whether its number still moves.

    By date of order while returns are expected, by date of return or refund while promises still run; where neither is
    known, the month in which the data end.
    """
    on = {"order": "maturity", "period": "maturity"}.get(metric(key).basis, "promise_undetermined")
    last = pd.Series(
        [pd.Timestamp(m) + pd.offsets.MonthEnd(0) > pd.Timestamp(asked.until) for m in months], index=months.index
    )
    if number(asked, on).lacks:
        return last
    found = by_month(asked, on).set_index("month")
    if on == "maturity":
        share = months.map(found["value"])
        return last | (share < CERTAIN)
    running = months.map(found["value"]).fillna(0)
    begun = months.map(found["n"]).fillna(0)
    return last | (running > (1 - DECIDED) * begun)


def with_young(asked: PageQuestion, key: str) -> pd.DataFrame:
    """Answer a metric per month, with the column is_young: the months of which the number still moves."""
    found = by_month(asked, key)
    with unseen():  # by what months are judged is not what is shown
        young = is_young(asked, key, found["month"])
    return found.assign(is_young=young.astype(bool))
