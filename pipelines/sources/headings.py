"""Headings and words of other people's files: which role a column may play, by its heading and by what stands in it.

The words are data: `data/headings.csv` (headings by role, language and system, the most telling first),
`data/statuses.csv` (what a status means) and `data/countries.csv` (names, currency, time zone). Which tables and logs
follow from roles is in `propose`.
"""

import csv
import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from pipelines.settings import data_path
from pipelines.sources.values import MINUS, NOTHING, iso_country

TIMES = (
    "ordered_at",
    "created_at",
    "updated_at",
    "date",
    "shipped_at",
    "delivered_at",
    "cancelled_at",
    "declared_at",
    "requested_at",
    "acknowledged_at",
    "approved_at",
    "rejected_at",
    "label_issued_at",
    "handed_over_at",
    "carrier_scan_at",
    "received_at",
    "inspected_at",
    "restocked_at",
    "refunded_at",
    "promised_at",
    "event_at",
)
NUMBERS = (
    "units",
    "units_returned",
    "units_cancelled",
    "unit_price",
    "net_unit_price",
    "gross_unit_price",
    "net_amount",
    "gross_amount",
    "amount",
    "vat_amount",
    "vat_rate",
    "discount_amount",
    "refund_amount",
    "unit_cost",
    "weight_kg",
    "weight_g",
    "distance_km",
    "freight",
)
TOTALS = (
    "total",
    "totals",
    "grand total",
    "sum",
    "subtotal",
    "total general",
    "totaux",
    "somme",
    "summe",
    "gesamt",
    "gesamtsumme",
    "total general",
    "suma",
    "totale",
    "totali",
    "totale generale",
    "totaal",
    "eindtotaal",
)
NO_GOODS = frozenset(
    (
        *("shipping", "shipping fee", "shipping cost", "delivery", "delivery fee", "freight", "postage", "handling"),
        *("fee", "payment fee", "surcharge", "tax", "tip", "donation", "discount", "promotion", "coupon", "voucher"),
        *("gift card", "giftcard", "gift certificate", "versand", "versandkosten", "gebuhr", "zahlungsgebuhr"),
        *("rabatt", "gutschein", "geschenkkarte", "frais de port", "livraison", "frais", "remise", "reduction"),
        *("carte cadeau", "bon d achat", "envio", "gastos de envio", "descuento", "tarjeta regalo", "spedizione"),
        *("spese di spedizione", "sconto", "buono regalo", "verzending", "verzendkosten", "korting", "cadeaubon"),
    )
)
"""Types of lines of an order that are no goods."""
YES = (
    "yes",
    "y",
    "true",
    "1",
    "x",
    "returned",
    "oui",
    "o",
    "vrai",
    "ja",
    "j",
    "wahr",
    "si",
    "s",
    "verdadero",
    "vero",
    "waar",
)
NO = (
    "",
    "no",
    "n",
    "false",
    "0",
    "not returned",
    "kept",
    "none",
    "non",
    "faux",
    "nein",
    "falsch",
    "falso",
    "nee",
    "onwaar",
)
TAX_PERCENTS = {
    0,
    2.1,
    2.6,
    4,
    5,
    5.5,
    6,
    7,
    7.7,
    8.1,
    9,
    10,
    12,
    13,
    13.5,
    14,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    25.5,
    27,
}
UNITS = {
    "eur",
    "euro",
    "euros",
    "usd",
    "gbp",
    "chf",
    "utc",
    "gmt",
    "cet",
    "local",
    "in",
    "iso",
}  # said beside a heading
TAILS = {"id", "code", "value", "amount", "name", "iso", "number", "sku", "formatted"}  # `country.code` is a country
BEFORE = {
    "product",
    "item",
    "line",
    "lineitem",
    "article",
    "order",
    "variant",
    "produit",
    "artikel",
    "shop",
}  # said of what is one anyway
BEHIND = {"label", "name", "code", "value", "local", "text"}
PARENTS = {
    "order",
    "orders",
    "line",
    "item",
    "items",
    "line items",
    "product",
    "variant",
    "sku",
    "article",
    "return",
    "refund",
    "node",
    "data",
    "attributes",
    "fields",
    "properties",
    "totals",
    "price",
    "shipment",
    "parcel",
    "return item",
    "order item",
    "details",
}
MONTH = (
    r"(?:jan|feb|fev|fév|mar|mär|apr|avr|mai|may|jun|juin|jul|juil|aug|aou|aoû|sep|oct|okt|nov|dec|déc|dez|"
    r"ene|abr|ago|dic|gen|mag|giu|lug|set|ott|mrt|mei|out)[a-zéû]*\.?"
)
DAY = (
    rf"\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}|(?:[A-Za-z]{{3}},? )?\d{{1,2}}\.?[-/ ]*{MONTH}[-/ ]*\d{{2,4}}|{MONTH}["
    r" -]\d{1,2},? \d{4}|(?:19|20)\d{2}[01]\d[0-3]\d"
)


def plain(text: str) -> str:
    """Write a heading without accents, case and punctuation, words apart.

    >>> plain("N° de Commande (ligne)"), plain("orderItemID"), plain("Größe")
    ('n de commande ligne', 'order item id', 'grosse')
    """
    text = re.sub(r"[°º#]", " ", text).replace("ß", "ss")
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", text))
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return " ".join(re.sub(r"[^a-z0-9]+", " ", letters).split())


def _rows() -> list[dict[str, str]]:
    with data_path("headings.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# role -> headings, of every language and system; what a person may say a column is
WORDS: dict[str, tuple[str, ...]] = {}
for _row in _rows():
    WORDS[_row["role"]] = (*WORDS.get(_row["role"], ()), *_row["headings"].split("|"))


@cache
def headings() -> dict[str, list[tuple[int, str]]]:
    """Give heading (plain, without blanks) -> (how telling, from 0; role), in the order of the file."""
    known: dict[str, list[tuple[int, str]]] = {}
    for row in _rows():
        for place, words in enumerate(row["headings"].split("|")):
            known.setdefault(words.replace(" ", ""), []).append((place, row["role"]))
    return known


@cache
def languages() -> dict[str, set[str]]:
    """Give heading (plain, without blanks) -> the languages it is written in."""
    spoken: dict[str, set[str]] = {}
    for row in _rows():
        for words in row["headings"].split("|"):
            spoken.setdefault(words.replace(" ", ""), set()).add(row["language"])
    return spoken


@cache
def statuses() -> dict[str, str]:
    """Give words of a status (plain) -> what they mean."""
    with data_path("statuses.csv").open(encoding="utf-8", newline="") as file:
        return {words: row["meaning"] for row in csv.DictReader(file) for words in row["words"].split("|")}


@cache
def countries() -> dict[str, dict[str, str]]:
    """Give country -> its alpha-3 code, currency, time zone and names."""
    with data_path("countries.csv").open(encoding="utf-8", newline="") as file:
        return {row["country"]: row for row in csv.DictReader(file)}


@cache
def currencies() -> frozenset[str]:
    """Give the codes of the currencies of the countries we know."""
    return frozenset(row["currency"] for row in countries().values())


@cache
def _tax_rates() -> dict[str, float]:
    with data_path("vat.csv").open(encoding="utf-8", newline="") as file:
        return {row["country"]: float(row["rate"]) for row in csv.DictReader(file)}


def tax_rate(country: str) -> float:
    """Give the standard rate of VAT of a country; 0.2 where we know none.

    >>> tax_rate("DE"), tax_rate("")
    (0.19, 0.2)
    """
    return _tax_rates().get(country, 0.2)


@cache
def _country_names() -> dict[str, str]:
    codes = {row["alpha3"].lower(): code for code, row in countries().items()}
    return codes | {name: code for code, row in countries().items() for name in row["names"].split("|")}


def country_of(value: str) -> str:
    """Give the ISO code of a country's code or name in one of six languages; '' for none.

    >>> country_of("Deutschland"), country_of("ESP"), country_of("fr"), country_of("UK"), country_of("Narnia")
    ('DE', 'ES', 'FR', 'GB', '')
    """
    word = plain(value)
    return iso_country(word.upper()) if re.fullmatch("[a-z]{2}", word) else _country_names().get(word, "")


def meaning(value: str) -> str:
    """Give what a status says: its words whole, else the longest known words within it; '' for nothing known.

    >>> meaning("Delivered - left with neighbour"), meaning("Zustellversuch"), meaning("Done")
    ('received', 'none', '')
    """
    word = plain(value)
    known = statuses()
    if word in known or word.replace(" ", "") in known:
        return known.get(word) or known[word.replace(" ", "")]
    parts = word.split()
    spans = [" ".join(parts[a:b]) for a in range(len(parts)) for b in range(a + 1, len(parts) + 1)]
    return max(((len(s), known[s]) for s in spans if s in known), default=(0, ""), key=lambda found: found[0])[1]


def candidates(column: str, each: str = "") -> list[tuple[int, str]]:
    """Give the roles a heading may name, with how telling it is (0 best); `each` is the list its row comes from.

    >>> candidates("Order No.")[0], candidates("Price (EUR)")[0][1], candidates("zzz")
    ((2, 'order_id'), 'unit_price', [])
    """
    parts = column.split(".") if re.fullmatch(r"[\w-]+(\.[\w-]+)+", column) else [column]
    levels = each.split(".") if each else []
    shared = next((n for n in range(min(len(levels), len(parts) - 1), 0, -1) if parts[:n] == levels[:n]), 0)
    if shared:  # what stands in the list says more than what stands around it
        if parts[shared:] in (["id"], ["uid"], ["uuid"]):
            is_return = re.match("return|refund|rma", plain(parts[shared - 1]))
            return [(0, "line_record_id")] if shared == len(levels) else [(0, "return_id")] if is_return else []
        return [(place - 1, role) for place, role in candidates(".".join(parts[shared:]))]
    known, path = headings(), [plain(part) for part in parts]
    whole = " ".join(path)
    for words, worse in (
        (whole, 0),
        (" ".join(w for w in whole.split() if w not in UNITS), 3),
        (_turned(whole), 3),
        (whole.partition(" ")[2] if whole.split(" ")[0] in BEFORE else "", 6),
        (whole.rpartition(" ")[0] if whole.split(" ")[-1] in BEHIND else "", 6),
        (" ".join(path[:-1]) if path[-1] in TAILS else "", 20),
        (path[-1] if len(path) > 1 and path[-2] in PARENTS else "", 40),
        (re.sub(r" \d+$", "", whole), 40),  # one of several headings alike, by its place
    ):
        if words and words.replace(" ", "") in known:
            return [(place + worse, role) for place, role in known[words.replace(" ", "")]]
    return []


def _turned(words: str) -> str:
    """Put what is said of a thing behind it: `id order` as `order id`; '' where nothing stands before."""
    first, _, rest = words.partition(" ")
    return f"{rest} {first}" if rest and first in ("id", "date", "number", "no", "qty", "quantity") else ""


def is_heading(text: str) -> bool:
    """Tell whether a cell is a heading we know."""
    return bool(text.strip()) and len(text) < 60 and bool(candidates(text.strip()))


def is_no_goods(text: str) -> bool:
    """Tell whether the type of a line says that it is no goods.

    >>> is_no_goods("Payment-Fee"), is_no_goods("Product")
    (True, False)
    """
    return plain(text) in NO_GOODS


def is_total(text: str) -> bool:
    """Tell whether a row that begins with this text adds up the rows above."""
    word = plain(text)
    return word in TOTALS or any(word.startswith(f"{t} ") for t in TOTALS if t != "sum")


# -- what stands in a column -------------------------------------------------------------------------------------------


def is_nothing(value: str) -> bool:
    """Tell whether a cell of times or numbers says that there is none.

    >>> is_nothing("n/a"), is_nothing("NaT"), is_nothing(" - "), is_nothing("0")
    (True, True, True, False)
    """
    return not value.strip() or value.strip().upper() in NOTHING


def is_negative(value: str) -> bool:
    """Tell whether a number is written as less than nothing: a minus of any kind before or behind it, or parentheses.

    >>> [is_negative(v) for v in ("-1", "\u22121,00", "1.000-", "(3)", "EUR -2", "3", "", "12.-")]
    [True, True, True, True, True, False, False, False]
    """
    return bool(re.match(rf"[^\d]*(?:[{MINUS}]|\()[^\d]*\d|.*\d[^\d.,]*[{MINUS}]\s*$", value.strip()))


def looks_like_time(values: Sequence[str]) -> bool:
    """Tell whether most values are dates or times."""
    found = sum(bool(re.match(rf"\s*(?:{DAY})(?:[\sT,].*)?$", v, re.IGNORECASE)) for v in values)
    return bool(values) and found > len(values) / 2


def epoch_of(values: Sequence[str]) -> str:
    """Tell seconds or milliseconds since 1970, of times between 2001 and 2096, or a spreadsheet's days of this century.

    The word of a mapping for it, '' for none.

    >>> epoch_of(["1767348000"]), epoch_of(["46024", "46041.5"]), epoch_of(["2026"])
    ('epoch_s', 'excel', '')
    """
    for digits, word in ((10, "epoch_s"), (13, "epoch_ms")):
        if values and all(re.fullmatch(rf"[1-3]\d{{{digits - 1}}}(\.\d+)?", v) for v in values):
            return word
    is_serial = all(re.fullmatch(r"\d{5}(\.\d+)?", v) and 36526 <= float(v) < 73051 for v in values)
    return "excel" if values and is_serial else ""


def looks_like_number(values: Sequence[str]) -> bool:
    """Tell whether most values are numbers, however written."""
    found = sum(bool(re.fullmatch(r"[^\d]{0,4}-?[^\d]{0,4}\d[\d.,'’ \u00a0\u202f]*[^\d]{0,4}", v)) for v in values)
    return bool(values) and found > len(values) / 2


def looks_like_flag(values: Sequence[str]) -> bool:
    """Tell whether values say yes or no, or only yes."""
    return bool(values) and {plain(v) for v in values} <= set(YES) | set(NO)


def looks_like_document(values: Sequence[str]) -> bool:
    """Tell whether most values are numbers of documents, such as WH/OUT/00011."""
    found = sum(bool(re.search(r"\b[A-Za-z]+(?:/[A-Za-z0-9]+)*/\d{3,}", v)) for v in values)
    return bool(values) and found > len(values) / 2


def looks_like_percentage(values: Sequence[str]) -> bool:
    """Tell whether values are rates of tax: with a percent sign, or rates that countries have."""
    numbers = {re.sub(r"[^\d.,]", "", v).replace(",", ".") for v in values}
    try:
        known = {float(n) for n in numbers} <= TAX_PERCENTS
    except ValueError:
        return False
    return bool(values) and (all("%" in v for v in values) or (known and len(values) > 1))


def is_fit(role: str, values: Sequence[str]) -> bool:
    """Tell whether a column with these filled values can play a role; without values anything can."""
    if not values:
        return True
    is_time = looks_like_time(values)
    if role in TIMES:
        return is_time or bool(epoch_of(values))
    if role in NUMBERS:
        return looks_like_number(values) and not is_time
    if role == "country":
        return sum(bool(country_of(v)) for v in values) > len(values) / 2
    if role in ("currency", "refund_currency"):
        return sum(bool(re.fullmatch(r"[A-Za-z]{3}|[€$£¥]", v)) for v in values) > len(values) / 2
    if role == "returned":
        return is_time or looks_like_number(values) or len({plain(v) for v in values}) <= 3
    if role == "product_id":
        money = sum(bool(re.fullmatch(r"[^\d]{0,3}\d+[.,]\d{2}[^\d]{0,3}", v)) for v in values) > len(values) / 2
        return not (is_time or money or looks_like_document(values) or looks_like_flag(values))
    if role in ("order_id", "return_id", "refund_id", "tracking", "customer_id", "id", "line_record_id"):
        return not is_time and not (looks_like_flag(values) and len(values) > 2)
    if role in ("order_line_id", "return_line_id"):
        return not is_time and not all(re.fullmatch(r"\d+[.,]\d{2}", v) for v in values)
    if role in ("origin", "destination", "reason_raw", "status", "type", "event", "category", "brand", "carrier"):
        return not is_time
    return True


ENGLISH_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
ENGLISH = {
    *ENGLISH_MONTHS,
    "January",
    "February",
    "March",
    "April",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
}  # months as strptime reads them


@cache
def _months() -> list[list[str]]:
    with data_path("months.csv").open(encoding="utf-8", newline="") as file:
        spelled = [row["months"].split("|") for row in csv.DictReader(file)]
    return [[change(m) for m in months] for change in (str, str.lower, str.title, str.upper) for months in spelled]


def months_of(values: Sequence[str]) -> dict[str, str]:
    """Give the months of times written in another language, each with the English one.

    None for English and for numbers.

    >>> months_of(["12 avr. 2026", "3 août 2026"])["déc."]
    'Dec'
    """
    found = {m[0] for v in values if (m := re.search(r"[^\W\d_]{3,}\.?", v)) and m[0][:1].isalpha()}
    if not found or {f.title() for f in found} <= ENGLISH:
        return {}
    known = next((months for months in _months() if found <= set(months)), [])
    exchanged = {word: english for word, english in zip(known, ENGLISH_MONTHS, strict=False) if word != english}
    return dict(sorted(exchanged.items(), key=lambda pair: -len(pair[0])))  # a long word before one that begins it
