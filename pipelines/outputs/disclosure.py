"""Which reports a company must make: its size and country against dated rules of data/disclosure.csv.

Not legal advice: counsel confirms. The sizes are those of Recommendation 2003/361/EC: micro under 10 employees, small
under 50, medium under 250 and at most EUR 50 million turnover; all else is large.
"""

import csv
import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache

from pipelines.errors import ReportError
from pipelines.settings import Settings, data_path, write_whole

SIZES = ("micro", "small", "medium", "large")
COUNSEL = "to be confirmed with counsel"


@dataclass(frozen=True)
class Company:
    """Who reports: country (ISO 3166 alpha-2), employees and turnover (EUR million) of the last financial year."""

    country: str
    employees: int
    turnover_eur_m: float

    @property
    def size(self) -> str:
        """Size by employees and turnover.

        >>> Company("FR", 40, 60).size, Company("FR", 40, 9).size
        ('large', 'small')
        """
        by_staff = 0 if self.employees < 10 else 1 if self.employees < 50 else 2 if self.employees < 250 else 3
        by_money = (
            0 if self.turnover_eur_m <= 2 else 1 if self.turnover_eur_m <= 10 else 2 if self.turnover_eur_m <= 50 else 3
        )
        return SIZES[max(by_staff, by_money)]


@dataclass(frozen=True)
class Obligation:
    """One rule for one company on one day: obligatory, voluntary, not applicable, or unknown without a company."""

    rule: str
    name: str
    status: str
    applies_from: str
    source: str
    address: str
    note: str


@cache
def rules() -> tuple[dict[str, str], ...]:
    """Read the rows of data/disclosure.csv."""
    with data_path("disclosure.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def _member_states() -> frozenset[str]:
    with data_path("legal.csv").open(encoding="utf-8", newline="") as file:
        return frozenset(
            r["country"] for r in csv.DictReader(file) if r["rule"] == "legal_refund" and "2011/83" in r["source"]
        )


def obligations(company: Company | None, on: date) -> list[Obligation]:
    """Say of each rule whether the company must follow it on a day; all unknown without a company."""
    return [
        Obligation(
            r["rule"],
            r["name"],
            _status(r, company, on),
            r["applies_from"],
            r["source"],
            r["address"],
            "; ".join(filter(None, (r["note"], COUNSEL))),
        )
        for r in rules()
    ]


def _status(rule: dict[str, str], company: Company | None, on: date) -> str:
    if not rule["country"]:
        return "voluntary"
    if company is None:
        return "unknown"
    is_there = company.country in _member_states() if rule["country"] == "EU" else company.country == rule["country"]
    if not is_there or not _is_of_size(rule, company):
        return rule["otherwise"]
    return "obligatory" if rule["applies_from"] and on >= date.fromisoformat(rule["applies_from"]) else "voluntary"


def _is_of_size(rule: dict[str, str], company: Company) -> bool:
    if rule["min_size"]:
        least = SIZES.index(rule["min_size"])
        return (
            SIZES.index(company.size) == least if rule["min_size"] == "medium" else SIZES.index(company.size) >= least
        )
    return company.employees > float(rule["min_employees"] or 0) and company.turnover_eur_m > float(
        rule["min_turnover_eur_m"] or 0
    )


def company(settings: Settings) -> Company | None:
    """Read who reports; None when nobody said."""
    path = settings.warehouse / "company.json"
    return Company(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def set_company(settings: Settings, country: str, employees: int, turnover_eur_m: float) -> Company:
    """Keep who reports. Raises ReportError for what cannot be."""
    if len(country) != 2 or not country.isalpha():
        raise ReportError(f"{country!r} is no country: give its two letters, FR for France.")
    if employees < 0 or turnover_eur_m < 0:
        raise ReportError("Employees and turnover are not negative.")
    found = Company(country.upper(), employees, turnover_eur_m)
    write_whole(settings.warehouse / "company.json", json.dumps(asdict(found)) + "\n")
    return found
