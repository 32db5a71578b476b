"""Judging: sort a source's named rows into accepted, duplicate and quarantined, in one set-based pass per log.

A contract follows from the log's declaration in `schema.py` (type, required, vocabulary) and from the few rules below.
Each broken rule sets a bit, so a row shows all its faults at once. Accepted rows leave typed, with ids prefixed by
their source, customers hashed, places coarsened and keys made; nothing personal passes. What a row means is not judged
here.

A row is quarantined for what it cannot do without. A field that it can do without and that cannot be read is a missing
field: counted and listed, the row stands. Of one id with several contents in one file, none saying when it was
recorded, all are quarantined: nobody can tell which is right.

A log keeps every version of a row with what tells the newest (`versions`), and, as rows with `is_withdrawn`, what a
later export took back: the whole of its source without the row, or the row without the date.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Table

from pipelines.warehouse.sql import FLOATING, quote, sql_type, without_nan

EARLIEST = (  # before this no web shop sold anything: such a time is a fault, often an empty date read as 1970
    "1995-01-01"
)

PREFIXED = {
    "order_line_id",
    "order_id",
    "product_id",
    "customer_id",
    "shop_id",
    "exchanged_from_line_id",
    "policy_id",
    "event_id",
    "return_line_id",
    "return_id",
    "parcel_id",
    "place_id",
    "element_id",
    "from_place_id",
    "to_place_id",
    "movement_id",
    "refund_id",
    "refund_line_id",
    "recovery_id",
    "style_id",
    "part_id",
    "invoice_line_id",
    "invoice_id",
    "rate_id",
    "claim_id",
    "use_id",
}
KEYED = PREFIXED - {"exchanged_from_line_id", "policy_id", "movement_id", "style_id", "invoice_id", "rate_id"}
RULES = {"policy", "carrier_calendar", "rate_card", "handling_rate", "fx_rate", "bill_of_materials"}
"""Logs that say how others are read.

A row of theirs with an unreadable field would say something else, so it is quarantined.
"""
COUNTING = {"units", "line_type", "is_deleted", "net_amount"}
"""Columns that may be left empty or out but, filled, decide what a row counts for: unreadable, they quarantine it."""
REVERSIBLE = (
    "order_line",
    "return_event",
    "chain_element",
    "refund",
    "refund_line",
    "recovery",
    "carrier_invoice",
    "carrier_claim",
    "promised_date",
    "activity_use",
)
"""Logs of what happened: only their rows can be withdrawn by a later export.

Products, places and policies explain older rows too.
"""
NOT_NEGATIVE = {
    "mass_kg",
    "distance_km",
    "activity_amount",
    "refrigerant_kg",
    "kg_co2e",
    "kg_co2e_ttw",
    "shared_total",
    "weight_kg",
    "duration",
}
SHARES = {"trip_share", "activity_share", "primary_share", "share"}
"""Columns of what goods emitted on their way that hold no figure below nothing, or nothing but a share of one."""
VERSIONED = {"exported_at": "TIMESTAMP", "file_no": "INTEGER", "is_recorded": "BOOLEAN", "is_withdrawn": "BOOLEAN"}
"""Columns that a log keeps beside its own, to tell the newest version of a row."""
COORDINATES = {"latitude": 90, "longitude": 180}  # degrees at most
MOST = {"BIGINT": 10**6, "DOUBLE": 10**9, "DECIMAL(18, 4)": 10**12}
"""Whole numbers such as units, kg or km, and money: more is a slip, and facts could not hold it."""
MOST_RULES = 63  # of a log: a row's faults are a set of bits
MOST_LISTED = 1000  # rows listed of a log for fields that could not be read; all are counted
FUTURE = timedelta(
    hours=14
)  # so far ahead of UTC are the clocks of the first time zone: a local time said without its zone is no fault
OFFSET = (
    r":[0-9]{2}([.,][0-9]+)?[ ]*[+-](1[5-9]|[2-9][0-9]|14:?(0[1-9]|[1-9][0-9])|[0-9]{2}:?[6-9][0-9])(:?[0-9]{2})?[ ]*$"
)
"""The end of a time whose offset no clock has: DuckDB would move the time by it."""
CURRENCIES = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
    CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR
    PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP
    TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ATS BEF BYR CUC CYP
    DEM EEK ESP FIM FRF GHC GRD HRK IEP ITL LTL LUF LVL MRO MTL NLG PTE ROL SIT SKK SLL STD TRL VEB VED VEF ZMK
    ZWL
"""
"""ISO 4217 of 2025.

The currencies in use, then those withdrawn since 1995 that old orders are in; funds, metals, XXX and XTS are none to be
paid in. https://www.six-group.com/en/products-services/financial-information/data-standards.html
"""
ROUNDED_ID = "^[0-9]+([.,][0-9]+)?[eE][+][0-9]+$"


def versions(rows: str, identity: str) -> str:
    """Give each version of a thing among rows of a log its `version_no`, the newest 1.

    Where the source says of every version when it was recorded, the latest of these is the newest; else the latest
    export: its declared time or the file's date, then the order of landing. The hash only makes the order whole.
    """
    return f"""
        SELECT * EXCLUDE (is_all_recorded), row_number() OVER (PARTITION BY {identity} ORDER BY CASE
            WHEN is_all_recorded THEN recorded_at END DESC,
            exported_at DESC NULLS LAST, load_id DESC, file_no DESC, recorded_at DESC, payload_hash DESC) AS version_no
        FROM (SELECT *, bool_and(is_recorded) OVER (PARTITION BY {identity}) AS is_all_recorded FROM {rows})
    """


@dataclass(frozen=True)
class Judged:
    """How the rows of one log were judged.

    From `again_at` on the first of its times that were of the future is not. `by_file` counts rows, and lines that gave
    some.
    """

    thing: str
    read: int
    accepted: int
    duplicate: int
    quarantined: int
    is_derived: bool = False
    unread_fields: int = 0
    withdrawn: int = 0
    replaced: int = 0
    exported_at: datetime | None = None
    hidden_texts: int = 0
    again_at: datetime | None = None
    by_file: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Export:
    """What a load says about its files beside their rows.

    `files` gives each file's number in the load and the time of its export. `earlier` is SQL for the logged rows of the
    same source and mapping. `is_whole`: what stands in `earlier` and not here is withdrawn; with `since` and `until`
    only rows of that span.
    """

    files: Mapping[str, tuple[int, datetime]] = field(default_factory=dict)
    earlier: str = ""
    is_whole: bool = False
    since: datetime | None = None
    until: datetime | None = None


def typed_sql(name: str, target: str, given: str) -> str:
    """Cast a named column to the log's type; what cannot be cast is NULL."""
    quoted = f'"{name}"'
    if given in FLOATING:
        quoted = without_nan(quoted)
    if given == target:
        return quoted if target != "VARCHAR" else f"nullif(trim({quoted}), '')"
    if target == "VARCHAR":
        return f"nullif(trim({quoted}::VARCHAR), '')"
    if target == "TIMESTAMP":
        if given == "VARCHAR":
            read = f"try_cast(try_cast({quoted} AS TIMESTAMPTZ) AS TIMESTAMP)"
            is_whole = f"suffix({quoted}, 'Z') OR NOT regexp_matches({quoted}, '{OFFSET}')"
            return f"CASE WHEN {is_whole} THEN {read} END"
        return f"try_cast({quoted} AS TIMESTAMP)"
    if target == "BIGINT" and given in (
        "VARCHAR",
        "DOUBLE",
        "FLOAT",
    ):  # "2.0" is two units; "2.5" is a fault, not three
        number = f"try_cast({quoted} AS DOUBLE)"
        whole = f"CASE WHEN {number} = floor({number}) THEN try_cast({quoted} AS BIGINT) END"
        return (
            f"CASE WHEN contains({quoted}, '.') THEN {whole} ELSE try_cast({quoted} AS BIGINT) END"
            if given == "VARCHAR"
            else whole
        )
    return f"try_cast({quoted} AS {target})"


def is_filled(name: str, given: str) -> str:
    """Tell whether a named column holds anything."""
    quoted = f'"{name}"'
    if given == "VARCHAR":
        quoted = f"nullif(trim({quoted}), '')"
    if given in FLOATING:
        quoted = without_nan(quoted)
    return f"({quoted} IS NOT NULL)"


def _has_zone(name: str) -> str:
    """Tell whether a text time has a time of day and ends in Z or an offset."""
    return f"regexp_matches(\"{name}\", ':[0-9]{{2}}([.,][0-9]+)?[ ]*(Z|z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)[ ]*$')"


def is_read_field(table: Table, rule: str, column: str) -> bool:
    """Say whether a fault is of a field that its row can do without.

    >>> from pipelines.warehouse.schema import order_line as line
    >>> is_read_field(line, "bad_time", "delivered_at"), is_read_field(line, "bad_time", "ordered_at")
    (True, False)
    """
    if rule == "empty_is_one":
        return True
    if table.name in RULES or column not in table.columns or column in COUNTING:
        return False
    of_value = rule in (
        "bad_time",
        "bad_number",
        "naive_time",
        "impossible_time",
        "future_time",
        "unknown_currency",
        "unknown_value",
        "no_country_code",
        "no_json_object",
        "rounded_id",
        "negative_figure",
        "no_share",
        "no_coordinate",
    )
    return of_value and not table.columns[column].info["required"]


Rule = tuple[str, str, str]
"""A rule's name, its column, and the condition that is a fault."""


def rules_of(table: Table, given: dict[str, str], landed_at: datetime) -> list[Rule]:
    """List (rule, column, condition) of a log; a true condition is a fault."""
    rules: list[Rule] = []
    if "_broken" in given:
        rules.append(("broken_row", "_broken", '"_broken" IS NOT NULL'))
    for column in table.columns:
        if column.name in given:
            rules += _rules_of_type(column, given[column.name], landed_at)
            rules += _rules_of_content(table, column, given[column.name])
    rules += _rules_of_log(table, given)
    rules.append(("several_contents", table.info["key"][0], "false"))  # told by comparing rows, when all are judged
    if len(rules) > MOST_RULES:
        raise ValueError(f"{table.name} has {len(rules)} rules; a row's faults are a set of {MOST_RULES} bits.")
    return rules


def _rules_of_type(column: Column[Any], given: str, landed_at: datetime) -> list[Rule]:
    """List the rules of what a column's type can hold: numbers, times and days that can be."""
    rules: list[Rule] = []
    name, target = column.name, sql_type(column)
    raw = f'"{name}"'
    most = MOST.get(target)
    beyond = f"t.{name} NOT BETWEEN -{most} AND {most}" if most else "false"
    if target != "VARCHAR" and (given != target or most):
        kind = "bad_time" if target in ("TIMESTAMP", "DATE") else "bad_number"
        rules.append((kind, name, f"CASE WHEN t.{name} IS NULL THEN {is_filled(name, given)} ELSE {beyond} END"))
    if target == "TIMESTAMP":
        if given == "VARCHAR":
            rules.append(
                (
                    "naive_time",
                    name,
                    f"CASE WHEN t.{name} IS NULL OR suffix({raw}, 'Z') THEN false ELSE NOT {_has_zone(name)} END",
                )
            )
        rules.append(("impossible_time", name, f"t.{name} < TIMESTAMP '{EARLIEST}'"))
        if name not in ("valid_from", "day", "promised_at"):
            rules.append(("future_time", name, f"t.{name} > TIMESTAMP '{landed_at + FUTURE}'"))
    if target == "DATE":
        rules.append(("impossible_time", name, f"t.{name} < DATE '{EARLIEST}'"))
    return rules


def _rules_of_content(table: Table, column: Column[Any], given: str) -> list[Rule]:
    """List the rules of what a column says: required, of a vocabulary, a currency, a country, an id, units."""
    rules: list[Rule] = []
    name, info, target = column.name, column.info, sql_type(column)
    if info["required"]:
        unless = f" AND NOT {is_filled(name, given)}" if target != "VARCHAR" else ""
        rules.append(("missing", name, f"t.{name} IS NULL" + unless))
    if info["values"]:
        allowed = ", ".join(f"'{v}'" for v in info["values"])
        rules.append(("unknown_value", name, f"t.{name} NOT IN ({allowed})"))
    if name in ("currency", "quote_currency"):
        listed = ", ".join(map(quote, CURRENCIES.split()))
        unknown = f"try_cast(upper(t.{name}) AS ENUM({listed})) IS NULL"
        rules.append(("unknown_currency", name, f"t.{name} IS NOT NULL AND {unknown}"))
    if name in ("country", "market"):
        rules.append(("no_country_code", name, f"length(t.{name}) <> 2"))
    if name in PREFIXED and given == "VARCHAR":  # a spreadsheet rounded it: several things share it now
        rules.append(("rounded_id", name, f"contains(t.{name}, '+') AND regexp_full_match(t.{name}, '{ROUNDED_ID}')"))
    if name == "dimensions":
        kind = f"CASE WHEN json_valid(t.{name}) THEN json_type(t.{name}) ELSE '' END"  # the type of no JSON is an error
        rules.append(("no_json_object", name, f"{kind} <> 'OBJECT' AND t.{name} IS NOT NULL"))
    if name in NOT_NEGATIVE:
        rules.append(("negative_figure", name, f"t.{name} < 0"))
    if name in COORDINATES:
        most = COORDINATES[name]
        rules.append(("no_coordinate", name, f"t.{name} NOT BETWEEN -{most} AND {most}"))
    if name in SHARES:
        rules.append(("no_share", name, f"t.{name} NOT BETWEEN 0 AND 1"))
    if name in ("units", "units_cancelled", "units_shipped"):
        allowed_negative = " AND t.line_type = 'goods'" if table.name == "order_line" else ""
        rules.append(("negative_units", name, f"t.{name} < 0{allowed_negative}"))
    return rules


def _rules_of_log(table: Table, given: dict[str, str]) -> list[Rule]:
    """List the rules of one log alone, that look at several columns or at what its rows mean."""
    rules: list[Rule] = []
    time = table.info["time"]
    if "recorded_at" in given and table.name in ("return_event", "chain_element", "refund", "refund_line", "recovery"):
        rules.append(
            (
                "recorded_years_later",
                time,
                f"t.{time} < t.recorded_at - INTERVAL 2 YEAR AND t.{time} >= TIMESTAMP '{EARLIEST}'",
            )
        )
    if table.name == "order_line":
        rules.append(("negative_amount", "net_amount", "t.net_amount < 0 AND t.line_type = 'goods'"))
        if "net_amount" in given:  # of a file that has prices, a row without one is a fault
            filled = is_filled("net_amount", given["net_amount"])
            rules.append(("missing", "net_amount", f"t.net_amount IS NULL AND NOT {filled}"))
        rules.append(("missing", "product_id", "t.product_id IS NULL AND t.line_type = 'goods'"))
        rules.append(("cancelled_too_many", "units_cancelled", "t.units_cancelled > t.units AND t.units >= 0"))
    if table.name == "return_event":
        rules.append(("no_units", "units", "t.units = 0"))
        if "_empty_units" in given:
            rules.append(("empty_is_one", "units", "coalesce(_empty_units, false)"))
    if table.name == "refund":
        rules.append(("negative_amount", "amount", "t.amount < 0"))
    if table.name == "fx_rate":
        rules.append(("not_positive", "rate", "t.rate <= 0"))
    return rules


def hmac_sql(expression: str, key: bytes) -> str:
    """Give the first 32 hex digits of HMAC-SHA256 (RFC 2104) of a text, as DuckDB SQL."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = "".join(f"\\x{b ^ 0x36:02X}" for b in block)
    outer = "".join(f"\\x{b ^ 0x5C:02X}" for b in block)
    return f"left(sha256('{outer}'::BLOB || unhex(sha256('{inner}'::BLOB || encode({expression})))), 32)"


_CODE, _LONG = "[^\\s@]*[0-9][^\\s@]*", "[0-9]([^0-9]*[0-9]){4}"


def item_sql(value: str) -> str:
    """Give the id of a quarantined row as it may be kept, as SQL: hashed where it may be somebody's name or number."""
    is_code = f"regexp_full_match({value}, '{_CODE}') AND NOT regexp_matches({value}, '{_LONG}')"
    return f"CASE WHEN {is_code} THEN {value} ELSE 'id-' || left(keyed_hash({value}), 12) END"


def item_of(key: bytes, text: str) -> str:
    """Give the same of a text.

    >>> item_of(b"k" * 32, "shop:F3"), item_of(b"k" * 32, "+33 6 12 34 56 78")[:3]
    ('shop:F3', 'id-')
    """
    if re.fullmatch(_CODE, text, re.ASCII) and not re.search(_LONG, text):
        return text
    return f"id-{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:12]}"


FEWEST_LINES = 5  # a rarer text may be somebody's own words
PLAIN = {
    "code": r"length({v}) <= 40 AND NOT regexp_matches({v}, '@|\S\s+\S+\s+\S|\d(\D*\d){{4}}')",
    "label": r"length({v}) <= 300 AND NOT regexp_matches({v}, '@|\d(\D*\d){{6}}')",
    "days": "regexp_full_match({v}, '[0-9 -]*')",
    "free": "lower(trim({v})) IN (SELECT raw FROM known_reason)",
}
"""Of each class of text that may be somebody's own words, the condition under which a value never is.

Classes are those of `schema.TEXTS`.
"""
PLAIN["json"] = PLAIN["code"]


def shape_sql(value: str) -> str:
    """Give what may be shown of a text as SQL.

    A number, or one word of three letters, is shown; else letters are a and A, and five digits and more are 9.

    >>> import duckdb
    >>> texts = "('Zoé 12, zoe@example.org'), ('31.02.2026'), ('2,5 kg'), ('one'), ('+33 6 12 34')"
    >>> [s for (s,) in duckdb.sql(f"SELECT {shape_sql('v')} FROM (VALUES {texts}) t(v)").fetchall()]
    ['Aaa 12, aaa@aaaaaaa.aaa', '99.99.9999', '2,5 kg', 'one', '+99 9 99 99']
    """
    letters = rf"regexp_replace(regexp_replace({value}, '\p{{Lu}}', 'A', 'g'), '[^A\P{{L}}]|\p{{M}}', 'a', 'g')"
    a = r"[\p{L}\p{N}\p{M}]"
    long = "|".join(rf"{a}{{{n}}}\p{{L}}{a}{{{3 - n}}}" for n in range(4))
    worded = (
        rf"CASE WHEN regexp_matches({value}, '{long}|\p{{L}}{a}*[^\p{{L}}\p{{N}}\p{{M}}]+{a}*\p{{L}}') THEN {letters}"
        rf" ELSE {value} END"
    )
    digits = rf"length(regexp_replace({value}, '\P{{Nd}}', '', 'g'))"
    return rf"CASE WHEN {digits} >= 5 THEN regexp_replace({letters}, '\p{{Nd}}', '9', 'g') ELSE {worded} END"
