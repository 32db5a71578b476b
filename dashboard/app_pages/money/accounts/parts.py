"""Sentences, columns and blocks of the page accounts."""

from functools import partial

import pandas as pd
import streamlit as st

from dashboard.app_pages.money.accounts import data
from dashboard.i18n import Words, inert
from dashboard.shared import access, blocks
from dashboard.shared.columns import Columns, day, number, percent, text
from dashboard.shared.filters import View
from dashboard.shared.findings import told
from dashboard.shared.theme import first_button
from pipelines.analyses import RollForward
from pipelines.errors import ReportError


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


def rolled(view: View) -> None:
    """Show how a month went from opening to closing, and what to book for it."""
    words, months = view.words, data.months(view.source)
    if not months:
        blocks.nothing(words("accounts.roll_none"))
        return
    month = blocks.pick_one(words("accounts.roll_month"), "month", {m: words.month(pd.Timestamp(m)) for m in months})
    found = data.roll_forward(view.asked, month)
    blocks.section(_went(words, found, view.currency), words, note=words("accounts.roll_note"))
    if found.reason:
        blocks.nothing(words.translated(found.reason))
        return
    days = {"opens": words.day(found.opens_on), "closes": words.day(found.closes_on)}
    if found.is_complete:
        st.badge(words("accounts.roll_complete"), icon=":material/check:", color="green")
    else:
        st.badge(words("accounts.roll_provisional"), icon=":material/hourglass_empty:", color="orange")
        st.caption(words("accounts.roll_ends", day=words.day(found.closes_on)))
    lines = found.table.assign(line=[words(f"accounts.roll_{line}", **days) for line in found.table["line"]])
    blocks.table(words, lines, words("accounts.roll_table"), rolled_columns(words, view.currency), rows=5)
    if found.table["asset"].isna().all():
        st.caption(words("accounts.roll_no_asset"))
    _journal(view, month)


def _journal(view: View, month: str) -> None:
    """Show the journal of a month, and its file."""
    words = view.words
    blocks.section(words("accounts.journal"), words)
    try:
        entries, is_own = data.journal(view.asked, month, words.language)
    except ReportError as error:
        st.error(inert(words.translated(str(error))))
        return
    named = "accounts.journal_own" if is_own else "accounts.journal_ours"
    st.caption(words(named, file=data.accounts_file(view.source)))
    if access.may("export"):
        name = f"backhaul-journal-{month}.csv"
        st.download_button(
            words("accounts.journal_file"),
            access.exporting(name, partial(data.journal_file, entries)),
            name,
            "text/csv",
            key="journal_file",
            icon=":material/download:",
            type=first_button(),
            on_click="ignore",
        )
    totals = {side: words.number(entries[side].sum(), 2) for side in ("debit", "credit")}
    st.caption(words("accounts.journal_sums", **totals))
    blocks.table(words, entries, words("accounts.journal"), journal_columns(words), rows=12)


def _went(words: Words, found: RollForward, currency: str) -> str:
    """Say from which liability to which a month went."""
    if found.reason:
        return words("accounts.roll_unknown", month=words.month(pd.Timestamp(found.month)))
    amounts = found.table.set_index("line")["liability"]
    opening, closing = (words.money(amounts[line], currency) for line in ("opening", "closing"))
    month = words.month(pd.Timestamp(found.month))
    return told(words, "finding.rolled", found.table, month=month, opening=opening, closing=closing)


def rolled_columns(words: Words, currency: str) -> Columns:
    """Show the lines of a roll-forward, to the cent."""
    amounts = {n: number(f"{words(f'accounts.{n}')} ({words.unit(currency)})", 2) for n in ("liability", "asset")}
    return {"line": text(words("accounts.roll_line"))} | amounts


def journal_columns(words: Words) -> Columns:
    """Show what to book, to the cent."""
    return {
        "date": day(words("accounts.journal_date")),
        "account": text(words("accounts.journal_account")),
        "debit": number(words("accounts.journal_debit"), 2),
        "credit": number(words("accounts.journal_credit"), 2),
        "currency": text(words("accounts.journal_currency")),
        "text": text(words("accounts.journal_text")),
        "reference": text(words("accounts.journal_reference")),
        "build": text(words("accounts.journal_build")),
    }
