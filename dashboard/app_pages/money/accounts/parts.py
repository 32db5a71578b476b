"""Sentences, columns and blocks of the page accounts."""

import pandas as pd
import streamlit as st

from dashboard.i18n import Words
from dashboard.shared.columns import Columns, day, number, percent, text
from dashboard.shared.findings import told


def bases_columns(words: Words, currency: str) -> Columns:
    """Show a month's returns as the three days count them."""
    unit = words("returns.units").lower()
    return {
        "month": day(words("returns.month"), "YYYY-MM"),
        "ordered": number(f"{words('value.basis.order')} ({unit})"),
        "requested": number(f"{words('value.basis.return')} ({unit})"),
        "refunded": number(f"{words('value.basis.refund')} ({unit})"),
        "paid": number(f"{words('accounts.paid')} ({words.unit(currency)})"),
    }


def accrual_columns(words: Words, currency: str) -> Columns:
    """Show what to book for a month's or category's returns not settled yet."""
    groups = {"group": text(words("accounts.group"))}
    amounts = ("owed", "to_come", "liability", "low", "high", "by_law", "cost_of_goods", "cost_to_recover", "asset")
    return (
        groups
        | {"units_to_come": number(words("accounts.units_to_come"))}
        | {name: number(f"{words(f'accounts.{name}')} ({words.unit(currency)})") for name in amounts}
        | {"reason": text(words("accounts.reason"))}
    )


def grouped(words: Words, table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Name the month or category of each row; the first row is the total."""
    write = words.month if by == "month" else lambda code: words.value("category", code)
    names = [words("accounts.total") if i == 0 else write(code) for i, code in enumerate(table[by])]
    return table.assign(group=names)


def booked_columns(words: Words, currency: str) -> Columns:
    """Show what would have been booked some days ago and what came."""
    names = {"booked": "booked_amount", "low": "low", "high": "high", "came": "came", "open": "open"}
    money = {name: number(f"{words(f'accounts.{key}')} ({words.unit(currency)})") for name, key in names.items()}
    first = {"days_ago": number(words("accounts.days_ago")), "as_of": day(words("accounts.as_of"))}
    last = {
        "error": percent(words("accounts.error")),
        "is_covered": st.column_config.CheckboxColumn(words("backtest.is_covered")),
    }
    return first | money | last


def booked(words: Words, table: pd.DataFrame, currency: str) -> str:
    """Say what to book for returns not settled yet."""
    if table.empty or table["status"].iloc[0] != "ok":
        return words("finding.booked_unknown")
    whole = table.iloc[0]
    return told(
        words,
        "finding.booked",
        whole,
        liability=words.money(whole["liability"], currency),
        low=words.money(whole["low"], currency),
        high=words.money(whole["high"], currency),
    )


def booked_before(words: Words, proof: pd.DataFrame) -> str:
    """Say how far off the amounts booked some days ago were."""
    worst = proof.sort_values("error", key=abs)["error"].iloc[-1]
    held, of = words.number(int(proof["is_covered"].sum())), words.number(len(proof))
    return told(words, "finding.booked_before", proof, share=words.percent(abs(worst)), held=held, of=of)
