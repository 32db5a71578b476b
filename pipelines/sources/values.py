"""SQL that reads numbers and times as people write them: signs, groups, currencies; formats, zones, seconds since 1970.

Each function gives an SQL expression over the text `v`, made a macro by who uses it. What cannot be read is NULL for a
number and the text itself for a time, so that the loader's judgement sees it. Which columns are numbers or times is
said in `mapping`.
"""

import re
import zoneinfo
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import duckdb

from pipelines.warehouse.sql import quote

MINUS = "-\u2212\u2013"  # hyphen, minus, dash
APOSTROPHES = "'\u2019\u02bc\u00b4`"
SIGNS = {"EUR": "€", "GBP": "£"}  # signs that stand for one currency alone
SHARED_SIGNS = "$¢¥₩₪₫₭₮₱₲₴₵₸₹₺₼₽₾₿฿"
EPOCHS = ("epoch_s", "epoch_ms", "excel")  # words among the formats of dates
# minutes from UTC of abbreviations that mean one zone only, with those of the United States
ABBREVIATIONS = {
    "WET": 0,
    "WEST": 60,
    "BST": 60,
    "CET": 60,
    "CEST": 120,
    "MEZ": 60,
    "MESZ": 120,
    "EET": 120,
    "EEST": 180,
    "MSK": 180,
    "JST": 540,
    "AEST": 600,
    "AEDT": 660,
    "NZST": 720,
    "NZDT": 780,
    "EST": -300,
    "EDT": -240,
    "MST": -420,
    "MDT": -360,
    "PST": -480,
    "PDT": -420,
}
NOTHING = (
    "NULL",
    "(NULL)",
    "<NULL>",
    "\\N",
    "NIL",
    "NONE",
    "NAN",
    "NAT",
    "<NA>",
    "NA",
    "N/A",
    "#N/A",
    "#N/V",
    "N.A.",
    "N.V.T.",
    "K.A.",
    "S/O",
    "(BLANK)",
    "-",
    "--",
    "---",
    "\u2013",
    "\u2014",
    "?",
    ".",
)
"""Words that databases, spreadsheets and programs write where a number or a time is none; in capitals."""
CLOCK = r"(\d:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?|^\d{4}-\d{2}-\d{2})"
OFFSET = r"(?:UTC|GMT)?[-+](?:\d{2}:?\d{2}|\d{1,2})"
WIDEST = 14 * 60  # minutes from UTC
ZONE = rf" ?[\[(]?({OFFSET}|[Zz]|[A-Z]{{3,5}}|[A-Z][A-Za-z]+(?:/[A-Za-z0-9_+-]+)+)[\])]?$"
ISO = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?"
STAMPED = r".*:\d{2}([.,]\d+)? *(Z|[+-]\d{2}(:?\d{2})?)"


def trimmed(value: str) -> str:
    """Give the SQL of a text without invisible marks, its blanks of all kinds single."""
    return rf"trim(regexp_replace(regexp_replace({value}, '\p{{Cf}}', '', 'g'), '[\s\p{{Z}}]+', ' ', 'g'))"


COUNTRIES = {"UK": "GB", "EL": "GR"}  # the European Commission's codes for two countries, where ISO has others


def iso_country(code: Any) -> Any:
    """Give a country's code by ISO 3166 where others use their own.

    >>> iso_country("UK"), iso_country("FR")
    ('GB', 'FR')
    """
    return COUNTRIES.get(str(code).upper(), code)


def country_sql(value: str) -> str:
    """Give the SQL of a country's code, by ISO 3166 where others use their own."""
    own = " ".join(f"WHEN {quote(code)} THEN {quote(iso)}" for code, iso in COUNTRIES.items())
    return f"CASE upper({value}) {own} ELSE {value} END"


def nothing_sql(value: str) -> str:
    """Give the SQL that tells whether a text says that there is no number and no time.

    >>> duckdb.sql(f"SELECT {nothing_sql('v')} FROM (VALUES ('n/a '), ('NaT'), ('-'), ('-1')) t(v)").fetchall()
    [(True,), (True,), (True,), (False,)]
    """
    longest = max(map(len, NOTHING)) + 2
    return f"(length({value}) <= {longest} AND upper(trim({value})) IN ({', '.join(map(quote, NOTHING))}))"


def number_sql(
    *,
    decimal: str = ".",
    thousands: str = "",
    currencies: Sequence[str] = (),
    own: str | None = None,
    is_text: bool = True,
) -> str:
    """Give the SQL of the number that the text `v` holds; NULL when it holds none.

    Blanks of all kinds, apostrophes and `thousands` may part groups of digits, never other numbers of them: "12,50"
    with `thousands` "," is no number. An amount may carry the sign or code of `own` currency (any sign where it is not
    known) or one of `currencies`. Negative is a minus before or after, or parentheses. Where the column is typed, a
    plain number is read as it stands.

    >>> read = number_sql(decimal=",", thousands=".", own="EUR")
    >>> texts = "'1.200,50 €'), ('(3,5)'), ('12-'), ('EUR 7'), ('£ 7'), ('1.2'), ('12,–'), (NULL"
    >>> found = duckdb.sql(f"SELECT {read} FROM (VALUES ({texts})) t(v)").fetchall()
    >>> [float(n) if n is not None else n for (n,) in found]
    [1200.5, -3.5, -12.0, 7.0, None, None, 12.0, None]
    """
    group = f"[ {APOSTROPHES}{re.escape(thousands.strip())}]"
    point = re.escape(decimal)
    digits = rf"(?:\d{{1,3}}(?:{group}\d{{2,3}})*{group}\d{{3}}|\d+)(?:{point}\d*)?|{point}\d+"
    codes = [*([own] if own else []), *currencies]
    sign = SIGNS[own] if own in SIGNS else f"[{SHARED_SIGNS}{'' if own else ''.join(SIGNS.values())}]"
    money = "|".join([*sorted((f"(?i:{re.escape(c)})" for c in codes), key=len, reverse=True), sign])
    minus = f"[-+{MINUS[1:]}]"
    pattern = (
        rf"^(?:{minus} ?)?(?:\( ?)?(?:(?:{money}) ?)?(?:{minus} ?)?({digits})((?:[eE][-+]?\d+)?)"
        rf"(?: ?{minus})?(?: ?(?:{money}))?(?: ?\))?(?: ?{minus})?$"
    )
    text = rf"regexp_replace({trimmed('v')}, '(\d[.,])[{MINUS}—]+', '\1')"  # "12.-" is twelve, not less than nothing
    body = f"regexp_extract({text}, {quote(pattern)}, 1)"
    exponent = f"regexp_extract({text}, {quote(pattern)}, 2)"
    plain = f"replace(regexp_replace({body}, {quote(group)}, '', 'g'), {quote(decimal)}, '.') || {exponent}"
    is_negative = rf"regexp_matches({text}, '^[^0-9]*[(]|^[^0-9]*[{MINUS}]|[{MINUS}][^0-9]*$')"
    written = f"try_cast(CASE WHEN {is_negative} THEN '-' ELSE '' END || {plain} AS DECIMAL(18, 6))"
    if decimal != "." and is_text:
        return written
    cast = "try_cast(v AS DECIMAL(18, 6))"  # CASE, for what COALESCE falls back on is worked out for every row
    return f"CASE WHEN {cast} IS NOT NULL AND NOT contains(v, '_') THEN {cast} ELSE {written} END"


def time_sql(formats: Sequence[str], zone: str | None, *, is_day: bool = False, plus_days: int | None = None) -> str:
    """Give the SQL of the time that the text `v` holds, in ISO.

    In UTC where its zone is known, the text itself when unreadable. The zone is what follows the time (Z, an offset,
    UTC, CET, Europe/Paris), else `zone`, else not known. `formats` are tried in their order, then ISO; 0000-00-00 is
    none. Among them epoch_s and epoch_ms are seconds and milliseconds since 1970, 0 for none, excel days since 1900.
    `is_day` gives the day alone. Needs the variable that `zones` sets.

    >>> zones(duckdb.default_connection())
    >>> read = time_sql(["%d/%m/%Y %H:%M", "epoch_s"], "Europe/Paris", plus_days=-1)
    >>> texts = "'02/01/2026 10:00'), ('2026-01-02 10:00 UTC'), ('1767348000'), "
    >>> texts += "('2026-01-02 10:00 Asia/Tokyo'), ('soon'"
    >>> [t for (t,) in duckdb.sql(f"SELECT {read} FROM (VALUES ({texts})) t(v)").fetchall()]
    ['2026-01-01T09:00:00Z', '2026-01-01T10:00:00Z', '2026-01-01T10:00:00Z', '2026-01-01T01:00:00Z', 'soon']
    """
    text = rf"regexp_replace({trimmed('v')}, '(Z|[-+]\d{{2}}:?\d{{2}}) ?[\[(].*[\])]$', '\1')"
    bare = rf"regexp_replace(regexp_replace({text}, {quote(CLOCK + ZONE)}, '\1'), '(:\d{{2}}),(\d)', '\1.\2')"
    written = [re.sub(r"\s*%[zZ]$", "", f) for f in formats if f not in EPOCHS]
    inner = [f for f in written if re.search(r"%[zZ]", f)]  # a zone before the year: such a time is an instant
    written = [f for f in written if f not in inner]
    later = f" + to_days({plus_days})" if plus_days else ""
    local = _local(text, bare, written, has_excel="excel" in formats)
    instants = [f"timezone('UTC', try_strptime({text}, [{', '.join(map(quote, inner))}])){later}"] if inner else []
    instants += _epochs(text, formats, later)
    nothing = f"WHEN starts_with(v, '0000-00-00') OR {nothing_sql('v')} THEN NULL"
    if {"epoch_s", "epoch_ms"} & set(formats):
        nothing += f" WHEN try_cast({text} AS DOUBLE) = 0 THEN NULL"
    if is_day:
        if zone:
            instants = [f"timezone({quote(zone)}, timezone('UTC', {e}))" for e in instants]
        day = f"coalesce(strftime(coalesce({', '.join([local + later, *instants])}), '%Y-%m-%d'), v)"
        return f"CASE {nothing} ELSE {day} END"
    named = (
        f"CASE WHEN contains({text}, ':') OR contains({text}, '-') THEN regexp_extract({text}, {quote(CLOCK + ZONE)},"
        " 2) ELSE '' END"
    )
    iso = _iso(f"coalesce({', '.join([_utc(text, named, local, written, zone, later), *instants])})")
    no_zone = "NULL" if zone else f"strftime({local}{later}, '%Y-%m-%d %H:%M:%S')"
    slow = f"coalesce({iso}, CASE WHEN {named} = '' THEN {no_zone} END, v)"
    return f"CASE WHEN v IS NULL OR v = '' THEN v {nothing} {_quick(written, zone, later)} ELSE {slow} END"


def _local(text: str, bare: str, written: Sequence[str], *, has_excel: bool) -> str:
    """Give the SQL of the time that a text shows, whatever its zone: by the formats, as days since 1900, as ISO."""
    listed = f"[{', '.join(map(quote, written))}]"
    reads = [f"try_strptime({text}, {listed})", f"try_strptime({bare}, {listed})"] if written else []
    if has_excel:
        reads.append(
            f"CASE WHEN try_cast({text} AS DOUBLE) BETWEEN 20000 AND 80000 THEN TIMESTAMP '1899-12-30' +"
            f" to_seconds(round(try_cast({text} AS DOUBLE) * 86400)::BIGINT) END"
        )
    return f"coalesce({', '.join([*reads, f'try_cast({bare} AS TIMESTAMP)'])})"


def _epochs(text: str, formats: Sequence[str], later: str) -> list[str]:
    """Give the SQL of the instants that a text holds as seconds or milliseconds since 1970."""
    found = []
    for word, scale, lowest, highest in (("epoch_s", 1e6, 0, 1e11), ("epoch_ms", 1e3, 1e11, 1e14)):
        if word in formats:
            value = f"try_cast({text} AS DOUBLE)"
            found.append(
                f"CASE WHEN {value} >= {lowest:.0f} AND {value} < {highest:.0f} THEN make_timestamp(({value} *"
                f" {scale:.0f})::BIGINT){later} END"
            )
    return found


def _utc(text: str, named: str, local: str, written: Sequence[str], zone: str | None, later: str) -> str:
    """Give the SQL of the instant of a time in the zone that follows it, else in `zone`, else NULL."""
    here = f"timezone('UTC', timezone({quote(zone)}, {local}{later}))" if zone else "NULL"
    known = ABBREVIATIONS | _own_abbreviations(zone)
    minutes = "MAP {" + ", ".join(f"{quote(k)}: {v}" for k, v in known.items()) + "}"
    sign = f"CASE WHEN contains({named}, '-') THEN -1 ELSE 1 END"
    hours, rest = (
        rf"try_cast(nullif(regexp_extract({named}, '[-+](\d{{1,2}}):?(\d{{2}})?$', {g}), '') AS INTEGER)"
        for g in (1, 2)
    )
    offset = f"{sign} * ({hours} * 60 + coalesce({rest}, 0))"
    listed = f"[{', '.join(map(quote, written))}]"
    formatted = f"WHEN try_strptime({text}, {listed}) IS NOT NULL THEN {here}" if written else ""
    return f"""CASE
        WHEN {named} = '' THEN {here}
        WHEN regexp_full_match({named}, {quote(OFFSET)}) THEN CASE WHEN abs({offset}) <= {WIDEST} THEN {local}{later}
            - to_minutes({offset}) END
        WHEN upper({named}) IN ('Z', 'UTC', 'GMT') THEN {local}{later}
        WHEN {minutes}[{named}] IS NOT NULL THEN {local}{later} - to_minutes({minutes}[{named}])
        WHEN contains({named}, '/') AND list_contains(getvariable('backhaul_zones'), {named}) THEN timezone('UTC',
            timezone({named}, {local}{later}))
        {formatted} END"""


def _quick(written: Sequence[str], zone: str | None, later: str) -> str:
    """Give the WHEN clauses that read what names no zone, or an offset in ISO, without looking for one."""

    def here_of(moment: str) -> str:
        if zone:
            return _iso(f"timezone('UTC', timezone({quote(zone)}, {moment}{later}))")
        return f"strftime({moment}{later}, '%Y-%m-%d %H:%M:%S')"

    quick = [f for f in written if not re.search(r"[A-Z]{3,5}$", f)]
    by_format = f"try_strptime(v, [{', '.join(map(quote, quick))}])" if quick else "NULL::TIMESTAMP"
    cast = "try_cast(v AS TIMESTAMP)"
    ways = [
        (f"{by_format} IS NOT NULL", here_of(by_format)),
        (f"regexp_full_match(v, {quote(ISO)}) AND {cast} IS NOT NULL", here_of(cast)),
    ]
    if not later:
        ways.append((f"regexp_full_match(v, {quote(STAMPED)}) AND try_cast(v AS TIMESTAMPTZ) IS NOT NULL", "v"))
    return " ".join(f"WHEN {condition} THEN {value}" for condition, value in ways)


def _iso(instant: str) -> str:
    return f"replace(({instant})::TIMESTAMP::VARCHAR, ' ', 'T') || 'Z'"


def _own_abbreviations(zone: str | None) -> dict[str, int]:
    """Give the abbreviations that a zone itself uses, such as IST for Asia/Kolkata, with their minutes from UTC."""
    found = {}
    for month in (1, 7) if zone else ():
        moment = datetime(2026, month, 1, tzinfo=zoneinfo.ZoneInfo(str(zone)))
        shift = moment.utcoffset()
        if shift is not None and (moment.tzname() or "").isalpha():
            found[str(moment.tzname())] = int(shift.total_seconds() // 60)
    return found


def zones(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection know the names of the zones, so that an unknown one is no error."""
    connection.execute("SET VARIABLE backhaul_zones = (SELECT list(name) FROM pg_timezone_names())")
