"""Which reports a company must make: who it is against dated rules of data/disclosure.csv.

Not legal advice: counsel confirms. Each rule names its act, article and address, and how its row was read.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cache
from typing import Any

from pipelines.errors import ReportError
from pipelines.settings import Settings, data_path, write_whole

SIZES = ("micro", "small", "medium", "large")
STAFF, TURNOVER, BALANCE_SHEET = (10, 50, 250), (2.0, 10.0, 50.0), (2.0, 10.0, 43.0)
"""Limits between sizes, the last two in EUR million: Recommendation 2003/361/EC, Annex Art. 2."""
COUNSEL, COUNSEL_FR = "to be confirmed with counsel", "à confirmer par un conseil"


@dataclass(frozen=True)
class Company:
    """Who reports.

    Seat (ISO 3166 alpha-2), employees, turnover and balance sheet total (EUR million) of the last financial year, the
    countries it places goods on the market of (none: not said), name, European unique identifier, whether it is a
    public-interest entity, and the carriers and places (as the data name them) that are its own.
    """

    country: str
    employees: int
    turnover_eur_m: float
    balance_sheet_eur_m: float | None = None
    markets: tuple[str, ...] = ()
    name: str = ""
    euid: str = ""
    is_public_interest: bool = False
    own_carriers: tuple[str, ...] = ()
    own_sites: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        """Size by employees, and by turnover or balance sheet total, whichever is smaller.

        Without a balance sheet total, turnover alone decides. Source: Recommendation 2003/361/EC, Annex Art. 2.

        >>> Company("FR", 40, 60).size, Company("FR", 40, 60, 30).size, Company("FR", 40, 9, 90).size
        ('large', 'medium', 'small')
        """
        money = sum(self.turnover_eur_m > limit for limit in TURNOVER)
        if self.balance_sheet_eur_m is not None:
            money = min(money, sum(self.balance_sheet_eur_m > limit for limit in BALANCE_SHEET))
        return SIZES[max(sum(self.employees >= limit for limit in STAFF), money)]

    @property
    def worded(self) -> str:
        """Who reports, in one line.

        >>> Company("FR", 1200, 510, markets=("FR", "DE")).worded
        'FR, large: 1,200 employees, EUR 510 million turnover, balance sheet total not given; markets FR, DE'
        """
        sheet = "not given" if self.balance_sheet_eur_m is None else f"EUR {self.balance_sheet_eur_m:g} million"
        return (
            f"{self.country}, {self.size}: {self.employees:,} employees, EUR {self.turnover_eur_m:g} million turnover,"
            f" balance sheet total {sheet}" + (f"; markets {', '.join(self.markets)}" if self.markets else "")
        )


@dataclass(frozen=True)
class Obligation:
    """One rule for one company on one day: obligatory, voluntary, not applicable, or unknown.

    `name_fr` and `note_fr` say the name and the note in French; `quality` says in which copy the row was read.
    """

    rule: str
    name: str
    status: str
    applies_from: str
    source: str
    article: str
    address: str
    note: str
    quality: str
    name_fr: str
    note_fr: str


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
    told = ("rule", "name", "applies_from", "source", "article", "address", "quality", "name_fr")
    return [
        Obligation(
            **{name: r[name] for name in told},
            status=_status(r, company, on),
            note="; ".join(filter(None, (r["note"], COUNSEL))),
            note_fr=" ; ".join(filter(None, (r["note_fr"], COUNSEL_FR))),
        )
        for r in rules()
    ]


def _status(rule: dict[str, str], company: Company | None, on: date) -> str:
    if rule["bound"] == "none":
        return "voluntary"
    if company is None:
        return "unknown"
    is_there = _is_there(rule, company)
    if is_there is False or not _is_of_size(rule, company):
        return rule["otherwise"]
    if is_there is None:
        return "unknown"
    if rule["applies_to"] and on > date.fromisoformat(rule["applies_to"]):
        return rule["otherwise"]
    return "obligatory" if on >= date.fromisoformat(rule["applies_from"]) else "voluntary"


def _is_there(rule: dict[str, str], company: Company) -> bool | None:
    """Say whether the company has its seat, or places goods on the market, where the rule holds; None: not known."""
    there = _member_states() if rule["country"] == "EU" else frozenset({rule["country"]})
    if rule["bound"] == "seat":
        return company.country in there
    if company.markets:
        return not there.isdisjoint(company.markets)
    return True if company.country in there else None


def _is_of_size(rule: dict[str, str], company: Company) -> bool:
    size = SIZES.index(company.size)
    return (
        SIZES.index(rule["min_size"] or SIZES[0]) <= size <= SIZES.index(rule["max_size"] or SIZES[-1])
        and company.employees > float(rule["min_employees"] or -1)
        and company.turnover_eur_m > float(rule["min_turnover_eur_m"] or -1)
        and (rule["only"] != "public_interest" or company.is_public_interest)
    )


def company(settings: Settings) -> Company | None:
    """Read who reports; None when nobody said. Raises ReportError where what was kept is damaged."""
    path = settings.warehouse / "company.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        lists = {n: tuple(found.get(n, ())) for n in ("markets", "own_carriers", "own_sites")}
        kept = Company(**{**found, **lists})
        float(kept.employees), float(kept.turnover_eur_m), kept.country.upper()
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ReportError(
            f"{path} is damaged: it does not say who reports. `backhaul company --country FR --employees 250 --turnover"
            " 60` writes it anew."
        ) from None
    return kept


def set_company(settings: Settings, **given: Any) -> Company:
    """Keep who reports: fields of `Company`; what is not given stays as it was kept before.

    Raises ReportError for what cannot be, and where country, employees or turnover are not known yet.
    """
    lacking = [name for name in ("country", "employees", "turnover_eur_m") if name not in given]
    try:
        before = company(settings)
    except ReportError:
        if lacking:
            raise
        before = None
    if before is None and lacking:
        raise ReportError("Give --country, --employees and --turnover together.")
    given = {**given, **{n: _codes(given[n]) for n in ("markets",) if n in given}}
    if "country" in given:
        [given["country"]] = _codes([given["country"]])
    found = replace(before, **given) if before else Company(**given)
    money = (found.turnover_eur_m, found.balance_sheet_eur_m or 0.0)
    if found.employees < 0 or min(money) < 0:
        raise ReportError("Employees, turnover and balance sheet total are not negative.")
    write_whole(settings.warehouse / "company.json", json.dumps(asdict(found)) + "\n")
    return found


def _codes(countries: Sequence[str]) -> tuple[str, ...]:
    for country in countries:
        if len(country) != 2 or not (country.isascii() and country.isalpha()):
            raise ReportError(f"{country!r} is no country: give its two letters, FR for France.")
    return tuple(c.upper() for c in countries)
