"""A policy as text: YAML or CSV read and written."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import PolicyError
from pipelines.settings import data_path
from pipelines.warehouse import schema, vocabulary
from pipelines.written import SHOWN, Items, Section, Unreadable, documents, figure, table, text_of

METHODS = (*vocabulary.METHODS, "keep")
RESPONSIBLE = ("customer", "carrier", "retailer")
SKIPPED = {
    "store": ("label_issued", "carrier_scan"),
    "keep": ("label_issued", "handed_over", "carrier_scan", "received", "inspected"),
}
SCOPE = ("market", "channel", "category", "loyalty_tier")


@dataclass(frozen=True)
class Promise:
    """One promise: from a stage to a stage within a time in a unit, and who keeps it."""

    promise_id: str
    from_stage: str
    to_stage: str
    duration: float
    duration_unit: str
    responsible: str = "retailer"

    def words(self) -> str:
        """Say it short.

        >>> Promise("refund", "received", "refunded", 5, "business_days").words()
        'received to refunded within 5 business days'
        """
        return f"{self.from_stage} to {self.to_stage} within {self.duration:g} {self.duration_unit.replace('_', ' ')}"


@dataclass(frozen=True)
class Policy:
    """One version of a policy.

    Empty scope fields apply to all; `valid_from` is the first day, in the zone of the market's shop.
    """

    policy_id: str
    valid_from: date
    window_days: int
    market: str | None = None
    channel: str | None = None
    category: str | None = None
    loyalty_tier: str | None = None
    exception: str | None = None
    window_until: date | None = None
    fee_amount: float | None = None
    currency: str | None = None
    methods: tuple[str, ...] = ()
    refund_trigger: str | None = None
    promises: tuple[Promise, ...] = field(default_factory=tuple)


@cache
def law() -> tuple[dict[str, float], float]:
    """Give the days to refund by country, and the days to withdraw, of data/legal.csv."""
    with data_path("legal.csv").open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if not r["valid_to"]]
    refund = {r["country"]: float(r["days"]) for r in rows if r["rule"] == "legal_refund"}
    return refund, max(float(r["days"]) for r in rows if r["rule"] == "withdrawal_period")


@cache
def acknowledged_since() -> date:
    """Give the first day that a withdrawal by the online function must be acknowledged, of data/legal.csv."""
    with data_path("legal.csv").open(encoding="utf-8", newline="") as file:
        return min(
            date.fromisoformat(r["valid_from"]) for r in csv.DictReader(file) if r["rule"] == "withdrawal_function"
        )


def read(path: Path) -> list[Policy]:
    """Read the policies of a YAML or CSV file. Raises PolicyError that names file, document or line, and field."""
    if not path.is_file():
        raise PolicyError(f"There is no file at {path}. Check the path.")
    try:
        text = text_of(path)
    except Unreadable as error:
        raise PolicyError(f"{path.name}: {error.problem}.") from None
    found = _of_csv(text, path.name) if path.suffix.lower() == ".csv" else parse(text, path.name)
    if not found:
        raise PolicyError(f"{path.name} holds no policy. `backhaul policy show ID` writes one to begin with.")
    return found


def parse(text: str, name: str = "policy") -> list[Policy]:
    """Read policies from YAML, one a document. Raises PolicyError."""
    try:
        found = [d for d in documents(text) if d is not None]
    except Unreadable as error:
        raise PolicyError(f"{name} line {error.line}: {error.problem}.") from None
    return [_of_document(d, f"{name} document {i + 1}" if len(found) > 1 else name) for i, d in enumerate(found)]


def _of_document(given: Any, where: str) -> Policy:
    if not isinstance(given, Section):
        raise PolicyError(f"{where}: a policy is a list of `field: value` lines. `backhaul policy show ID` writes one.")
    known = [f.name for f in fields(Policy)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise PolicyError(f"{where}: a policy has no {', '.join(unknown)[:SHOWN]}. It has: {', '.join(known)}.")
    promises = given.get("promises") or Section()
    if not isinstance(promises, Section):
        raise PolicyError(
            f"{where}: `promises:` has a line for each, `refund: {{from: received, to: refunded, within: 5, unit:"
            " business_days}`."
        )
    made = []
    for name, promise in promises.items():
        if not isinstance(promise, Section) or not {"from", "to", "within", "unit"} <= set(promise):
            raise PolicyError(
                f"{where}: the promise {name[:SHOWN]} has from, to, within and unit: {{from: received, to: refunded,"
                " within: 5, unit: business_days}."
            )
        within = _number(promise["within"], f"{where}: the promise {name[:SHOWN]}: within")
        made.append(
            Promise(
                name,
                str(promise["from"]),
                str(promise["to"]),
                within,
                str(promise["unit"]),
                str(promise.get("responsible", "retailer")),
            )
        )
    for name, value in given.items():
        parts = value if isinstance(value, Items) and name == "methods" else [value]
        if name != "promises" and any(isinstance(part, Section | Items) for part in parts):
            raise PolicyError(f"{where}: {name} is one value; only `methods` is a list, only `promises` has lines.")
    return _policy({k: v for k, v in given.items() if k != "promises"}, tuple(made), where)


def _policy(given: Mapping[str, Any], promises: tuple[Promise, ...], where: str) -> Policy:
    for name in ("policy_id", "valid_from", "window_days"):
        if given.get(name) in (None, ""):
            raise PolicyError(f"{where}: {name} is missing.")
    methods = given.get("methods") or ""
    listed = tuple(map(str, methods)) if isinstance(methods, Items) else tuple(str(methods).split())
    texts = {
        n: str(given[n]) for n in (*SCOPE, "exception", "currency", "refund_trigger") if given.get(n) not in (None, "")
    }
    window = _number(given["window_days"], f"{where}: window_days")
    if window != int(window):
        raise PolicyError(f"{where}: window_days is {window:g}; write whole days.")
    fee = given.get("fee_amount")
    return Policy(
        str(given["policy_id"]),
        _day(given["valid_from"], f"{where}: valid_from"),
        int(window),
        **texts,
        methods=listed,
        promises=promises,
        window_until=(
            None if given.get("window_until") in (None, "") else _day(given["window_until"], f"{where}: window_until")
        ),
        fee_amount=None if fee in (None, "") else _number(fee, f"{where}: fee_amount"),
    )


def _number(given: Any, where: str) -> float:
    try:
        return figure(str(given))
    except ValueError:
        raise PolicyError(f"{where} is {str(given)[:SHOWN]!r}; write a number.") from None


def _day(given: Any, where: str) -> date:
    try:
        return datetime.fromisoformat(str(given)).date()
    except ValueError:
        raise PolicyError(f"{where} is {str(given)[:SHOWN]!r}; write a day as 2026-01-31.") from None


def _of_csv(text: str, name: str) -> list[Policy]:
    try:
        names, lines = table(text)
    except Unreadable as error:
        raise PolicyError(f"{name} line {error.line}: {error.problem}.") from None
    known = {c.name for c in schema.policy.columns}
    missing = [
        c
        for c in (
            "policy_id",
            "valid_from",
            "window_days",
            "promise_id",
            "from_stage",
            "to_stage",
            "duration",
            "duration_unit",
        )
        if c not in names
    ]
    if missing:
        raise PolicyError(
            f"{name} line 1: the columns {', '.join(missing)} are missing. They are those of `policy` in"
            " docs/sources.md."
        )
    found: dict[tuple[str, str], tuple[dict[str, Any], list[Promise], str]] = {}
    for line, row in lines:
        where = f"{name} line {line}"
        promise = Promise(
            row["promise_id"],
            row["from_stage"],
            row["to_stage"],
            _number(row["duration"], f"{where}: duration"),
            row["duration_unit"],
            row.get("responsible") or "retailer",
        )
        given = {k: v for k, v in row.items() if k in known and k in {f.name for f in fields(Policy)}}
        found.setdefault((row["policy_id"], row["valid_from"]), (given, [], where))[1].append(promise)
    return [_policy(given, tuple(promises), where) for given, promises, where in found.values()]


def text(policy: Policy) -> str:
    """Write a policy as YAML, to edit and publish."""
    given: dict[str, Any] = {f.name: getattr(policy, f.name) for f in fields(Policy) if f.name != "promises"}
    given["methods"] = list(policy.methods)
    given["promises"] = {
        p.promise_id: {
            "from": p.from_stage,
            "to": p.to_stage,
            "within": int(p.duration) if p.duration == int(p.duration) else p.duration,
            "unit": p.duration_unit,
            "responsible": p.responsible,
        }
        for p in policy.promises
    }
    return str(
        yaml.safe_dump({k: v for k, v in given.items() if v not in (None, [], {})}, sort_keys=False, allow_unicode=True)
    )


def rows(policy: Policy, at: datetime) -> list[dict[str, str]]:
    """Give the canonical rows of a version that begins at an instant (UTC): one a promise."""
    scalars = {
        f.name: getattr(policy, f.name) for f in fields(Policy) if f.name not in ("promises", "methods", "valid_from")
    }
    common = {k: "" if v is None else str(v) for k, v in scalars.items()}
    common |= {"valid_from": f"{at:%Y-%m-%dT%H:%M:%S}Z", "methods": " ".join(policy.methods), "system": "policies"}
    return [
        common
        | {
            "promise_id": p.promise_id,
            "from_stage": p.from_stage,
            "to_stage": p.to_stage,
            "duration": f"{p.duration:g}",
            "duration_unit": p.duration_unit,
            "responsible": p.responsible,
        }
        for p in policy.promises
    ]
