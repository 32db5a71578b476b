"""The journal of a month's roll-forward: what to book for returns not settled, as CSV for an accounting system.

An entry a line of the roll-forward and of its amounts, each with a debit and a credit of the same amount. The accounts'
names are ours until the owner of the warehouse writes their own into `warehouse.accounts.yaml`. Nothing is booked
anywhere: the file is handed to who books.
"""

import csv
import io
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipelines.analyses.roll_forward import AMOUNTS, RollForward
from pipelines.errors import ReportError
from pipelines.metrics.question import Text
from pipelines.outputs.formulas import guarded
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build
from pipelines.written import Section, Unreadable, documents, text_of

ACCOUNTS: Mapping[str, Text] = {
    "refund_liability": Text("Refund liability", "Passif de remboursement"),
    "right_to_goods": Text("Right to recover goods", "Droit à récupération des articles"),
    "returns": Text("Revenue reduction, returns", "Rabais et retours sur ventes"),
    "cost_of_sales": Text("Cost of sales", "Coût des ventes"),
    "refunds": Text("Refunds to customers", "Remboursements aux clients"),
    "inventory": Text("Inventory", "Stocks de marchandises"),
}
"""The accounts a journal books on, with our names of them."""
COLUMNS = ("date", "account", "debit", "credit", "currency", "text", "reference", "build")
_ENTRIES = {  # amount and line: account debited, account credited; a negative amount turns them round
    ("liability", "new"): ("returns", "refund_liability"),
    ("liability", "used"): ("refunds", "refund_liability"),
    ("liability", "re_estimate"): ("returns", "refund_liability"),
    ("asset", "new"): ("right_to_goods", "cost_of_sales"),
    ("asset", "used"): ("right_to_goods", "inventory"),
    ("asset", "re_estimate"): ("right_to_goods", "cost_of_sales"),
}
_TEXTS = {
    ("liability", "new"): Text("Returns expected of the month's sales", "Retours attendus des ventes du mois"),
    ("liability", "used"): Text("Returns settled", "Retours réglés"),
    ("liability", "re_estimate"): Text("Expected returns re-estimated", "Retours attendus réestimés"),
    ("asset", "new"): Text("Goods expected of the month's sales", "Articles attendus des ventes du mois"),
    ("asset", "used"): Text("Goods of settled returns", "Articles des retours réglés"),
    ("asset", "re_estimate"): Text("Expected goods re-estimated", "Articles attendus réestimés"),
}
_PROVISIONAL = Text("provisional", "provisoire")
LONGEST = 100  # characters of an account's name


def accounts(settings: Settings, language: str = "en") -> tuple[dict[str, str], bool]:
    """Give the name of each account, and say whether any is the owner's own.

    Raises ReportError, which names the line, for a file that is wrong.
    """
    ours = {name: text.fr if language == "fr" else text.en for name, text in ACCOUNTS.items()}
    path = settings.accounts_file
    try:
        read = documents(text_of(path))
    except FileNotFoundError:
        return ours, False
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}.") from None
    except Unreadable as error:
        raise ReportError(f"{path.name}{f', line {error.line}' if error.line else ''}: {error.problem}.") from None
    own = read[0] if len(read) == 1 else None
    if not isinstance(own, Section):
        raise ReportError(f"{path.name}: a line an account, `name: account`; names are {', '.join(ACCOUNTS)}.")
    for name, account in own.items():
        if name not in ACCOUNTS:
            raise ReportError(f"{path.name}, line {own.lines[name]}: no account {name[:60]}; {', '.join(ACCOUNTS)}.")
        text = str(account).strip() if isinstance(account, str | int) else ""
        if not 0 < len(text) <= LONGEST or not text.isprintable():
            raise ReportError(f"{path.name}, line {own.lines[name]}: a name of at most {LONGEST} characters.")
        ours[name] = text
    return ours, bool(own)


def journal(build: Build, rolled: RollForward, names: Mapping[str, str], language: str = "en") -> pd.DataFrame:
    """Write the entries of a month: COLUMNS, two rows an entry, to the cent; lines of 0 are left out.

    Raises ReportError with the reason where the month has no roll-forward.
    """
    if rolled.reason:
        raise ReportError(f"{rolled.month}: {rolled.reason}.")
    amounts = rolled.table.set_index("line")[list(AMOUNTS)].astype(float).to_dict()
    rows: list[dict[str, Any]] = []
    for number, ((amount, line), (debited, credited)) in enumerate(_ENTRIES.items(), 1):
        value = amounts[amount][line]
        cents = 0 if value != value else round(value * 100)
        if not cents:
            continue
        sides = (debited, credited) if cents > 0 else (credited, debited)
        text = _text(_TEXTS[amount, line], rolled, language)
        common = {"currency": build.info.get("reporting_currency", "EUR"), "text": text}
        common |= {"reference": f"RETURNS-{rolled.month}-{number}", "build": build.build_id}
        money = abs(cents) / 100
        rows += [
            {"date": rolled.closes_on, "account": names[sides[0]], "debit": money, **common},
            {"date": rolled.closes_on, "account": names[sides[1]], "credit": money, **common},
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _text(text: Text, rolled: RollForward, language: str) -> str:
    said = text.fr if language == "fr" else text.en
    provisional = "" if rolled.is_complete else f" ({_PROVISIONAL.fr if language == 'fr' else _PROVISIONAL.en})"
    return f"{said}, {rolled.month}{provisional}"


def to_csv(entries: pd.DataFrame) -> bytes:
    """Write a journal as CSV (UTF-8): amounts with two decimals and a point, a side without an amount empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in entries.to_dict("records"):
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.2f}"
    return guarded(value) if isinstance(value, str) else str(value)
