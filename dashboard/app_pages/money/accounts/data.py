"""What the page accounts asks; nothing is drawn here."""

import pandas as pd

from dashboard.shared.memory import remembered
from dashboard.shared.queries import PageQuestion, Source, by_month, opened, question_of
from pipelines import analyses
from pipelines.outputs import journal as files
from pipelines.settings import Settings


@remembered
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


@remembered
def bridge(asked: PageQuestion, name: str, column: str) -> pd.DataFrame:
    """Give the steps of one bridge of the reconciliation: step, kind, amount (units or value)."""
    found = _reconciliation(asked)
    mine = found[found["bridge"].eq(name) & found[column].notna()]
    kept = mine[mine["kind"].eq("total") | mine[column].ne(0)]
    return kept[["step", "kind", column]].rename(columns={column: "amount"}).reset_index(drop=True)


@remembered
def _reconciliation(asked: PageQuestion) -> pd.DataFrame:
    keys = ("confirmed_units", "returned_units", "refunded_units", "refund_amount")
    return analyses.reconciliation(
        opened(asked.source), (asked.since, asked.until), question_of(asked, *keys).undated()
    )


@remembered
def accrual(asked: PageQuestion, *by: str) -> pd.DataFrame:
    """Give what to book at the last day of the view for returns not settled.

    The columns of metrics.accrual, the sum first, then the newest.
    """
    question = question_of(asked, "returns_to_come_value").undated().but(as_of=asked.until)
    found = analyses.accrual(opened(asked.source), question, by=by)
    if found.empty:
        return found
    return pd.concat([found.tail(1), found.iloc[:-1].sort_values(list(by), ascending=by[0] != "month")])


@remembered
def accrual_backtest(asked: PageQuestion) -> pd.DataFrame:
    """Lay what would have been booked some days ago beside what has come: the columns of metrics.accrual_backtest."""
    return analyses.accrual_backtest(opened(asked.source), question_of(asked, "returns_to_come_value").undated())


@remembered
def months(source: Source) -> tuple[str, ...]:
    """List the months that can be rolled forward, the last complete one first, then the newest first."""
    build = opened(source)
    known = analyses.months(build)
    last = next((month for month in known if analyses.is_complete(build, month)), None)
    return tuple(dict.fromkeys([*([last] if last else []), *known]))


@remembered
def roll_forward(asked: PageQuestion, month: str) -> analyses.RollForward:
    """Roll the liability and the asset of a month forward; the days of the view do not matter."""
    question = question_of(asked, "returns_to_come_value").undated()
    return analyses.roll_forward(opened(asked.source), month, question)


def journal(asked: PageQuestion, month: str, language: str) -> tuple[pd.DataFrame, bool]:
    """Give what to book for a month, and whether the accounts are named by the owner; raises ReportError."""
    names, is_own = files.accounts(Settings(asked.source.warehouse), language)
    return files.journal(opened(asked.source), roll_forward(asked, month), names, language), is_own


def accounts_file(source: Source) -> str:
    """Give the name of the file of accounts."""
    return Settings(source.warehouse).accounts_file.name


def journal_file(entries: pd.DataFrame) -> bytes:
    """Write what to book as CSV."""
    return files.to_csv(entries)
