"""What a proposal assumes: currency, zone, order of day and month, tax, formats."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.sources import headings
from pipelines.sources.guesses import Guess, day_first
from pipelines.sources.headings import plain

ZONES = {
    "PDT": "America/Los_Angeles",
    "PST": "America/Los_Angeles",
    "MDT": "America/Denver",
    "MST": "America/Denver",
    "CDT": "America/Chicago",
    "CST": "America/Chicago",
    "EDT": "America/New_York",
    "EST": "America/New_York",
    "BST": "Europe/London",
    "CET": "Europe/Berlin",
    "CEST": "Europe/Berlin",
    "MEZ": "Europe/Berlin",
    "MESZ": "Europe/Berlin",
    "JST": "Asia/Tokyo",
    "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney",
}
COUNTRY_OF_LANGUAGE = {"French": "FR", "German": "DE", "Spanish": "ES", "Italian": "IT", "Dutch": "NL"}
MARKS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY"}


@dataclass(frozen=True)
class Choices:
    """What no column says and a person confirms; a currency or country is None where a column holds it."""

    time_zone: str = "Etc/UTC"
    currency: str | None = "EUR"
    country: str | None = "ZZ"
    is_day_first: bool = True
    is_tax_inside: bool = False
    tax_rate: float = 0.2


def choices(tables: tuple[Guess, ...]) -> Choices:
    """Choose what no column says, from what the files let see: language, marks of money, zones, countries."""
    country = _usual(
        headings.country_of(v) for t in tables if "country" in t.roles for v in t.filled(t.roles["country"])
    )
    spoken = _language(tables)
    texts = " ".join([*(h for t in tables for h in t.header), *(t.preamble for t in tables)])
    market = re.search(
        r"\bamazon\.(co\.uk|[a-z]{2,3})\b", " ".join(v for t in tables for row in t.rows[:50] for v in row)
    )
    home = country or COUNTRY_OF_LANGUAGE.get(spoken, "")
    if market:
        home = {"com": "US", "co.uk": "GB"}.get(market.group(1), market.group(1).upper())
    currency = _currency(tables, texts, home)
    if not home and currency in ("GBP", "CHF", "SEK", "DKK", "NOK", "PLN"):
        home = next(c for c, row in headings.countries().items() if row["currency"] == currency)
    selling = [t for t in tables if t.kind in ("orders", "ledger", "items", "headers")]
    paying = selling + [t for t in tables if t.kind == "refunds" or {"refund_amount", "freight"} & set(t.roles)]
    whole = [t for t in tables if t.kind == "headers"]

    def holds(table: Guess, role: str) -> bool:
        return role in table.roles or (table.kind == "items" and any(role in t.roles for t in whole))

    return Choices(
        time_zone=_zone(tables, texts, home),
        currency=None if paying and all(holds(t, "currency") for t in paying) else currency,
        country=None if selling and all(holds(t, "country") for t in selling) else home or "ZZ",
        is_day_first=_order_of(tables, home, currency),
        is_tax_inside=any(price_role(t) in ("gross_amount", "gross_unit_price") for t in selling),
        tax_rate=_tax_rate(tables, home),
    )


def _usual(values: Iterable[str]) -> str:
    counts = Counter(v for v in values if v)
    return counts.most_common(1)[0][0] if counts else ""


def _language(tables: tuple[Guess, ...]) -> str:
    """Give the language most headings are written in, where not English.

    Accents and words of one language alone decide.
    """
    counts: Counter[str] = Counter()
    for column in (c for t in tables for c in t.header):
        spoken = headings.languages().get(plain(column).replace(" ", ""), set()) - {"systems"}
        if len(spoken) == 1:
            counts.update(spoken)
        elif "English" not in spoken:
            counts.update(dict.fromkeys(spoken, 0.25))
    best = counts.most_common(1)
    return best[0][0] if best and best[0][0] != "English" else ""


def _currency(tables: tuple[Guess, ...], texts: str, home: str) -> str:
    codes = headings.currencies()
    stated = _usual(v.upper() for t in tables if "currency" in t.roles for v in t.filled(t.roles["currency"]))
    if re.fullmatch("[A-Z]{3}", stated) and stated in codes:
        return stated
    values = " ".join(v for t in tables for row in t.rows[:100] for v in row if re.search(r"\d", v) and len(v) < 20)
    for where in (texts, values):
        named = re.search(r"(?<![A-Za-z])(" + "|".join(sorted(codes)) + r")(?![A-Za-z])", where)
        marked = next((code for mark, code in MARKS.items() if mark in where), "")
        if named or marked:
            return named.group(1) if named else marked
    return headings.countries()[home]["currency"] if home in headings.countries() else "EUR"


def _zone(tables: tuple[Guess, ...], texts: str, home: str) -> str:
    values = [v for t in tables for c in t.time_columns for v in t.filled(c)[:200]]
    words = _usual(
        m.group(1) for v in values if (m := re.search(r"\d ?(?:[AaPp][Mm])? ?([A-Z]{3,4})$", v)) and m.group(1) in ZONES
    )
    if words:
        return ZONES[words]
    if re.search(r"\b(UTC|GMT)\b", texts) or any(c.endswith("_gmt") for t in tables for c in t.time_columns):
        return "Etc/UTC"
    return headings.countries()[home]["time_zone"] if home in headings.countries() else "Etc/UTC"


def _tax_rate(tables: tuple[Guess, ...], home: str) -> float:
    said = _usual(
        m.group(1)
        for t in tables
        for row in t.rows[:100]
        for v in row
        if (m := re.fullmatch(r"[A-Za-z. ]+ (\d{1,2}(?:[.,]\d)?) ?%", v))
    )
    return round(float(said.replace(",", ".")) / 100, 4) if said else headings.tax_rate(home)


def _order_of(tables: tuple[Guess, ...], home: str, currency: str) -> bool:
    """Choose the order of day and month.

    What some table shows, else dots and other countries than the United States day first.
    """
    shown = [s for t in tables if (s := day_first(t)) is not None]
    if shown:
        return shown[0]
    values = [v for t in tables for c in t.time_columns for v in t.filled(c)]
    return any(re.match(r"\d{1,2}\.\d", v) for v in values) or not (home == "US" or (not home and currency == "USD"))


def format_of(value: str, *, is_day_first: bool) -> str:
    """Give how a time is written (strptime); '' for ISO and for what is no time.

    >>> format_of("03/02/2025 10:15", is_day_first=True), format_of("Apr 1, 2026 12:01:05 AM PDT", is_day_first=True)
    ('%d/%m/%Y %H:%M', '%b %d, %Y %I:%M:%S %p PDT')
    """
    day = re.match(
        rf"(?P<week>[A-Za-z]{{3}}(?:,?"
        rf" ))?(?:(?P<a>\d{{1,2}})(?P<s>[/.-])(?P<b>\d{{1,2}})[/.-](?P<y>\d{{4}}|\d{{2}})(?!\d)"
        rf"|(?P<iso>\d{{4}})(?P<t>[/.-])\d{{1,2}}[/.-]\d{{1,2}}"
        rf"|(?P<c>(?:19|20)\d{{6}})(?!\d)|(?P<d>\d{{1,2}})(?P<g>\.? |-|/)(?P<m>{headings.MONTH})(?P<h>,?"
        rf" |-|/)(?P<z>\d{{4}}|\d{{2}})|(?P<n>{headings.MONTH})(?P<o> )\d{{1,2}}(?P<p>,? )\d{{4}})",
        value,
        re.IGNORECASE,
    )
    if day is None or re.fullmatch(
        r"\d{4}-\d{1,2}-\d{1,2}(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?)?",
        value,
    ):
        return ""
    g = day.groupdict()
    written = f"%a{g['week'][3:]}" if g["week"] else ""
    if g["a"]:
        first = is_day_first if max(int(g["a"]), int(g["b"])) <= 12 else int(g["a"]) > 12
        written += g["s"].join(["%d", "%m"] if first else ["%m", "%d"]) + g["s"] + ("%Y" if len(g["y"]) == 4 else "%y")
    elif g["iso"]:
        written += g["t"].join(("%Y", "%m", "%d"))
    elif g["c"]:
        written += "%Y%m%d"
    else:
        word = (g["m"] or g["n"]).rstrip(".")
        month = ("%b" if len(word) == 3 else "%B") + ("." if (g["m"] or g["n"]).endswith(".") else "")
        written += (
            f"%d{g['g']}{month}{g['h']}" + ("%Y" if len(g["z"]) == 4 else "%y")
            if g["m"]
            else f"{month}{g['o']}%d{g['p']}%Y"
        )
    clock = re.fullmatch(
        r"(?P<gap>,? |T|, | - )(?P<h>\d{1,2})(?P<s>[:.h])\d{2}(?P<sec>[:.]\d{2})?(?P<f>[.,]\d+)?(?P<ap>"
        r" ?[AaPp][Mm])?(?P<zone> ?(?:Z|[A-Z]{3,4}|[+-]\d{2}:?\d{2}))?",
        value[day.end() :],
    )
    if clock:
        k = clock.groupdict()
        written += (
            f"{k['gap']}{'%I' if k['ap'] else '%H'}{k['s']}%M"
            + (f"{k['sec'][0]}%S" if k["sec"] else "")
            + (f"{k['f'][0]}%f" if k["f"] else "")
        )
        written += (" %p" if k["ap"] and k["ap"][0] == " " else "%p") if k["ap"] else ""
        if k["zone"] and k["zone"].strip() in ZONES:
            written += k["zone"]
    elif value[day.end() :].strip():
        return ""
    return written


def formats(table: Guess, column: str, *, is_day_first: bool) -> list[str]:
    """Give how the times of a column are written, most frequent first; none for ISO."""
    values = list(dict.fromkeys(table.filled(column)))
    if word := headings.epoch_of(values):
        return [word]
    for word, month in headings.months_of(values).items():
        values = [v.replace(word, month) for v in values]
    own = day_first(table, [column])
    counts = Counter(format_of(v, is_day_first=is_day_first if own is None else own) for v in values)
    return [written for written, _ in counts.most_common() if written]


def price_role(table: Guess) -> str:
    """Give the role that tells the price of a line best; '' for none.

    Amounts of a line are preferred to prices of a unit, unless the amount is that of the whole order.
    """
    r = table.roles
    for role in ("net_amount", "net_unit_price", "gross_amount", "gross_unit_price"):
        if role in r and not (role.endswith("amount") and is_of_order(table, role)):
            return role
    if "amount" in r and "unit_price" in r:
        return "amount" if "units" in r and _adds_up(table) and not is_of_order(table, "amount") else "unit_price"
    return next((role for role in ("unit_price", "amount", "net_amount", "gross_amount") if role in r), "")


def is_of_units(table: Guess, role: str) -> bool:
    """Tell whether a column holds the price of one unit: by its role, else where it is the same for one unit or many.

    Two goods show it, or one of which three numbers of units were sold.
    """
    if role.endswith("unit_price"):
        return True
    if not role.endswith("amount") or not {"product_id", "units", role} <= set(table.roles):
        return False
    columns = (table.values(table.roles[r]) for r in ("product_id", "units", role))
    seen: dict[str, set[tuple[float, float]]] = {}
    for goods, *numbers in zip(*columns, strict=True):
        units, amount = map(number_of, numbers)
        if units and amount:
            seen.setdefault(goods, set()).add((units, amount))
    several = [pairs for pairs in seen.values() if len({units for units, _ in pairs}) > 1]
    alike = all(len({amount for _, amount in pairs}) == 1 for pairs in several)
    return alike and (len(several) > 1 or any(len(pairs) > 2 for pairs in several))


def is_of_order(table: Guess, role: str, *, is_said: bool = False) -> bool:
    """Tell whether a column repeats one value on all lines of an order, or stands on its first line only.

    One order is enough where the heading says so too (`is_said`): Order Refund Total.
    """
    if not {"order_id", role} <= set(table.roles) or table.kind == "headers":
        return False
    by_order: dict[str, list[str]] = {}
    for order, value in zip(table.values(table.roles["order_id"]), table.values(table.roles[role]), strict=True):
        by_order.setdefault(order, []).append(value.strip())
    several = [v for v in by_order.values() if len(v) > 1 and any(v)]
    one = is_said and bool(re.search(r"\b(?:order|commande|bestell\w*|pedido|ordine)\b", plain(table.roles[role])))
    return (
        bool(several)
        and all(len(set(v)) == 1 or (v[0] and not any(v[1:])) for v in several)
        and (one or len(several) > 1 or not any(several[0][1:]) or "unit_price" in table.roles)
        and (one or not is_said)
    )


def _adds_up(table: Guess) -> bool:
    """Tell whether the amount is the price of a unit times the units, within a discount."""
    right = rows = 0
    for amount, price, units in zip(
        *(table.values(table.roles[r]) for r in ("amount", "unit_price", "units")), strict=True
    ):
        numbers = [number_of(v) for v in (amount, price, units)]
        if None not in numbers:
            rows += 1
            a, p, u = (abs(n or 0.0) for n in numbers)
            right += p * u * 0.4 <= a <= p * u * 1.01
    return rows > 0 and right >= 0.8 * rows


def number_of(text: str) -> float | None:
    """Read a number however it is written; None for none."""
    digits = re.sub(r"[^\d.,-]", "", text)
    if "," in digits and "." in digits:
        digits = digits.replace(min(",.", key=digits.rfind), "")
    try:
        return float(digits.replace(",", "."))
    except ValueError:
        return None
