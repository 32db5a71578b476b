"""What the page accounts asks; nothing is drawn here."""

import pandas as pd

from dashboard.shared.queries import ENTRIES, PageQuestion, by_month, opened, question_of, remembered
from pipelines import analyses


@remembered()
def three_bases(asked: PageQuestion) -> pd.DataFrame:
    """Give each month's returns as the three days count them.

    Columns: month, ordered, requested, refunded (units), paid (money).
    """
    keys = {
        "ordered": "returned_units",
        "requested": "confirmed_units",
        "refunded": "refunded_units",
        "paid": "refund_amount",
    }
    found = [by_month(asked, key).set_index("month")["value"].rename(name) for name, key in keys.items()]
    return pd.concat(found, axis=1, sort=False).sort_index().reset_index()


@remembered()
def bridge(asked: PageQuestion, name: str, column: str) -> pd.DataFrame:
    """Give the steps of one bridge of the reconciliation: step, kind, amount (units or value)."""
    found = _reconciliation(asked)
    mine = found[found["bridge"].eq(name) & found[column].notna()]
    kept = mine[mine["kind"].eq("total") | mine[column].ne(0)]
    return kept[["step", "kind", column]].rename(columns={column: "amount"}).reset_index(drop=True)


@remembered()
def _reconciliation(asked: PageQuestion) -> pd.DataFrame:
    keys = ("confirmed_units", "returned_units", "refunded_units", "refund_amount")
    return analyses.reconciliation(
        opened(asked.source), (asked.since, asked.until), question_of(asked, *keys).undated()
    )


@remembered()
def accrual(asked: PageQuestion, *by: str) -> pd.DataFrame:
    """Give what to book at the last day of the view for returns not settled.

    The columns of metrics.accrual, the sum first, then the newest.
    """
    question = question_of(asked, "returns_to_come_value").undated().but(as_of=asked.until)
    found = analyses.accrual(opened(asked.source), question, by=by)
    if found.empty:
        return found
    return pd.concat([found.tail(1), found.iloc[:-1].sort_values(list(by), ascending=by[0] != "month")])


@remembered(ENTRIES // 8)
def accrual_backtest(asked: PageQuestion) -> pd.DataFrame:
    """Lay what would have been booked some days ago beside what has come: the columns of metrics.accrual_backtest."""
    return analyses.accrual_backtest(opened(asked.source), question_of(asked, "returns_to_come_value").undated())
