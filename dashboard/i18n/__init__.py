"""Words and numbers on screen, in English and in French.

One TOML catalogue a language beside this file; nothing here knows a page. A `Words` is called with a key and formatted
parts and gives the sentence; its methods write numbers, money and days the way the language does.
"""

import math
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.why import SENTENCES, Why, read

LANGUAGES = {"en": "English", "fr": "Français"}
MISSING = "–"
_SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}
_NUMBER = re.compile(r"(?:under |over )?-?\d[\d,.]*%?(?: [^\d]+)?")
_NARROW = "\u202f"
_NO_BREAK = "\u00a0"
_SPACED = re.compile(r" (?=[:;!?%»](?:\s|\W|$))|(?<=«) ")
_MORE_OR_LESS = {"under ": "moins\u00a0de\u00a0", "over ": "plus\u00a0de\u00a0"}


@cache
def catalogue(language: str) -> dict[str, str]:
    """Every string of a language by dotted key.

    >>> catalogue("fr")["place.returns"]
    'Retours'
    """
    text = Path(__file__).with_name(f"{language}.toml").read_text(encoding="utf-8")
    found = dict(_flat(tomllib.loads(text), ""))
    if language == "fr":
        return {key: typographic(one) for key, one in found.items()}
    plain = {f"reason.{code}": re.sub(r"\{(\w+):[^}]*\}", r"{\1}", said) for code, said in SENTENCES.items()}
    return plain | found


def typographic(french: str) -> str:
    """Make the spaces of French punctuation no-break.

    >>> typographic("Quoi ? « 5 % » : oui").replace(_NO_BREAK, "_")
    'Quoi_? «_5_%_»_: oui'
    """
    return _SPACED.sub(_NO_BREAK, french)


def _flat(branch: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    leaves: list[tuple[str, str]] = []
    for name, value in branch.items():
        leaves += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return leaves


def _is_missing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, float) and math.isinf(value))


def inert(text: str) -> str:
    """Write a text from outside so that a page or a chart shows it and nothing else.

    No link, image, tag, formula, code or colour. The signs these begin with become character references, which Markdown
    and Plotly show as the sign; an address is parted by a mark of no width.

    >>> inert("![x](http://example.org/x.png) <b> $a$").replace(_JOINER, "|"), inert("Robe d'été, 29 %")
    ('!&#91;x](http:|//example.org/x.png) &#60;b> &#36;a&#36;', "Robe d'été, 29 %")
    """
    parted = _ADDRESS.sub(lambda found: found[0] + _JOINER, text)
    return _ACTIVE.sub(lambda sign: f"&#{ord(sign[0])};", parted)


_JOINER = "\u2060"
_ACTIVE = re.compile(r"[\[<]|\$(?!\d)")
_ADDRESS = re.compile(r":(?=//)|\bwww(?=\.)", re.IGNORECASE)


@dataclass(frozen=True)
class Words:
    """The catalogue of one language, with its way of writing numbers; instants by the clock of a zone."""

    language: str
    zone: str = "UTC"

    def __call__(self, key: str, **parts: str) -> str:
        """Give the sentence of a key, its parts filled in and inert; an unknown key raises KeyError.

        >>> Words("fr")("finding.rate_so_far", rate="29 %")
        '29 % des articles vendus sont déjà retournés'
        >>> Words("en")("do.claim", n="1"), Words("en")("do.claim", n="2")
        ('Claim 1 lost parcel', 'Claim 2 lost parcels')
        """
        known = catalogue(self.language)
        text = known[key]
        if parts.get("n") == "1":  # one of what is counted
            text = known.get(f"{key}_one", text)
        return text.format(**{name: inert(part) for name, part in parts.items()})

    def value(self, kind: str, code: Any) -> str:
        """Name a coded value ("return_reason", "size_small"), or give the code itself when it has no name.

        >>> Words("fr").value("return_reason", "size_small"), Words("fr").value("brand", "Lumen")
        ('Trop petit', 'Lumen')
        """
        if _is_missing(code) or code == "":
            return self("value.unknown")
        return catalogue(self.language).get(f"value.{kind}.{code}", str(code))

    def dimension(self, name: str) -> str:
        """Name a dimension: as its filter is called, else as its column is.

        >>> Words("en").dimension("window_days"), Words("en").dimension("promise_id")
        ('Return window (days)', 'Promise')
        """
        known = catalogue(self.language)
        return known.get(f"filter.{name}") or known.get(f"value.column.{name}", name)

    def number(self, value: Any, digits: int = 0) -> str:
        """Write a number with the language's separators.

        >>> Words("en").number(1234.5, 1), Words("fr").number(1234.5, 1).replace("\u202f", " ")
        ('1,234.5', '1 234,5')
        """
        if _is_missing(value):
            return MISSING
        text = f"{round(float(value), digits) + 0.0:,.{digits}f}"  # no minus before a zero
        if self.language == "fr":
            text = text.replace(",", _NARROW).replace(".", ",")
        return text.replace("-", "−")

    def percent(self, share: Any, digits: int = 1) -> str:
        """Write a share (0-1) as a percentage.

        >>> Words("en").percent(0.283), Words("fr").percent(0.283).replace("\u00a0", " ")
        ('28.3%', '28,3 %')
        """
        if _is_missing(share):
            return MISSING
        return self.number(float(share) * 100, digits) + (_NO_BREAK if self.language == "fr" else "") + "%"

    def points(self, share: Any) -> str:
        """Write a difference of shares in points; French has a plural from two on.

        >>> Words("en").points(0.009), Words("fr").points(0.009), Words("fr").points(-0.02)
        ('0.9 pts', '0,9 pt', '−2,0 pts')
        """
        text = self.number(float(share) * 100, 1)
        is_one = abs(round(float(share) * 100, 1)) < 2 if self.language == "fr" else text.lstrip("−") == "1.0"
        return self("tile.point" if is_one else "tile.points", points=text)

    def money(self, amount: Any, currency: str, digits: int = 0) -> str:
        """Write an amount of a currency.

        >>> Words("en").money(-1234, "EUR"), Words("fr").money(1234, "EUR").split()
        ('−€1,234', ['1', '234', '€'])
        """
        if _is_missing(amount):
            return MISSING
        symbol = _SYMBOLS.get(currency, currency)
        text = self.number(abs(float(amount)), digits)
        sign = "−" if round(float(amount), digits) < 0 else ""
        if self.language == "fr":
            return f"{sign}{text}{_NO_BREAK}{symbol}"
        return f"{sign}{symbol}{text}" if symbol != currency else f"{sign}{text}{_NO_BREAK}{symbol}"

    def quantity(self, value: Any, unit: str) -> str:
        """Write a value in the unit its metric declares.

        A share as a percentage, money with its currency, else with the unit.
        """
        if _is_missing(value):
            return MISSING
        if unit == "share":
            return self.percent(value)
        currency = unit.removesuffix(" per unit")
        if currency.isupper() and len(currency) == 3:
            return self.money(value, currency, 2 if abs(float(value)) < 100 else 0)
        if unit == "kg CO2e" and abs(float(value)) >= 1000:
            return f"{self.number(float(value) / 1000, 1)}{_NO_BREAK}t"
        unit = "kg" if unit == "kg CO2e" else unit
        digits = (
            0
            if abs(float(value)) >= 100 or float(value).is_integer()
            else 2
            if unit.startswith("kg") and abs(float(value)) < 1
            else 1
        )
        return f"{self.number(value, digits)}{_NO_BREAK}{self.unit(unit)}".rstrip()

    def rules(self, broken: str) -> str:
        """Name the rules a row breaks ("bad_time ordered_at, missing sku"), each with the column it is about.

        >>> Words("en").rules("bad_time ordered_at, broken_row")
        'cannot be read as a time: Order date; cannot be split into columns'
        """
        parts = [part.partition(" ") for part in broken.split(", ")]
        return self.semicolon.join(
            self.pair(self.value("broken", rule), self.value("mapped", column))
            if column
            else self.value("broken", rule)
            for rule, _, column in parts
        )

    def pair(self, name: str, value: str) -> str:
        """Write a name and its value with a colon between.

        >>> Words("en").pair("Kept", "9"), Words("fr").pair("Tenues", "9").replace(_NO_BREAK, "_")
        ('Kept: 9', 'Tenues_: 9')
        """
        return f"{name}{_NO_BREAK if self.language == 'fr' else ''}: {value}"

    @property
    def semicolon(self) -> str:
        """What stands between the clauses of a sentence."""
        return f"{_NO_BREAK}; " if self.language == "fr" else "; "

    def doubt(self, source: str) -> str:
        """Name what a figure rests on: a factor, a parameter that was assumed, what was imputed."""
        kind, _, what = source.partition(":")
        known = catalogue(self.language)
        begins, _, country = what.partition(".")
        of_country = f"{known.get(f'value.doubt.{begins}', begins)}, {country}"
        named = known.get(f"value.doubt.{what}", of_country if country else what).replace("_", " ")
        return self.pair(known[f"doubt.{kind}"], named)

    def fact(self, code: str) -> str:
        """Name a kind of fact a metric needs ("a|b": one of the two)."""
        known = catalogue(self.language)
        return " / ".join(known.get(f"fact.{part}", part) for part in code.strip().split("|"))

    def unit(self, unit: str) -> str:
        """Name a unit for an axis."""
        return catalogue(self.language).get(f"unit.{unit}", unit.replace("_", " "))

    def signed(self, text: str, value: Any) -> str:
        """Put a plus before the text of a positive value; a minus is there already.

        >>> Words("en").signed("1.2", 1.2), Words("en").signed("−1.2", -1.2)
        ('+1.2', '−1.2')
        """
        return f"+{text}" if not _is_missing(value) and value > 0 else text

    def day(self, day: Any) -> str:
        """Write a day.

        >>> import datetime as dt
        >>> Words("en").day(dt.date(2026, 1, 31)), Words("fr").day(dt.date(2026, 1, 1))
        ('31 Jan 2026', '1er janv. 2026')
        """
        if _is_missing(day):
            return MISSING
        number = "1er" if self.language == "fr" and day.day == 1 else str(day.day)
        return f"{number} {self._month_name(day.month)} {day.year}"

    def month(self, day: Any) -> str:
        """Write the month of a day.

        >>> import datetime as dt
        >>> Words("en").month(dt.date(2026, 1, 31)), Words("fr").month(dt.date(2026, 8, 1))
        ('Jan 2026', 'août 2026')
        """
        return MISSING if _is_missing(day) else f"{self._month_name(day.month)} {day.year}"

    def hour(self, instant: Any) -> str:
        """Write an instant (UTC) to the minute, by the shop's clock.

        >>> import datetime as dt
        >>> Words("en", "Europe/Paris").hour(dt.datetime(2026, 1, 31, 22, 59)), Words("fr").hour(None)
        ('31 Jan 2026 23:59 CET', '–')
        """
        if _is_missing(instant):
            return MISSING
        there = instant.replace(tzinfo=UTC).astimezone(ZoneInfo(self.zone))
        name = f"{there:%Z}"
        return f"{self.day(there)} {there:%H:%M} {name if name.isalpha() else f'UTC{name}'}"

    def _month_name(self, month: int) -> str:
        return self("date.months").split()[month - 1]

    def translated(self, sentence: str) -> str:
        """Give sentences of `pipelines.why` in this language; a text that is none of them stays as it is.

        >>> Words("fr").translated("nothing sold in this selection")
        'rien de vendu dans cette sélection'
        >>> reason = "too young: 31% of the expected returns have come, 50% are needed"
        >>> Words("fr").translated(reason).replace("\u00a0", " ")
        'trop récent : 31 % des retours attendus sont revenus, il en faut 50 %'
        >>> Words("fr").translated("94.7% of returned units; 5.3% name no order").replace("\u00a0", " ")
        '94,7 % des articles retournés ; 5,3 % ne nomment aucune commande'
        """
        clauses = read(sentence)
        if all(isinstance(clause, str) for clause in clauses):
            return sentence
        return self.semicolon.join(map(self._said, clauses))

    def _said(self, clause: Why | str) -> str:
        if isinstance(clause, str):
            return clause
        known, screen = catalogue(self.language), f"screen.{clause.code}"
        if screen in known:
            return known[screen]
        return self(f"reason.{clause.code}", **{name: self._part(name, text) for name, text in clause.parts.items()})

    def _part(self, name: str, text: str) -> str:
        """Put a part of a reason into this language: what is counted, a number, a share, another reason."""
        if name == "said":
            return self.translated(text)
        if name == "dimension":
            known = catalogue(self.language)
            return " / ".join(known.get(f"filter.{one.replace(' ', '_')}", one).lower() for one in text.split(" or "))
        if name in ("what", "facts"):
            known = catalogue(self.language)
            return known.get(f"noun.{text}") or ", ".join(known.get(f"noun.{one}", one) for one in text.split(", "))
        if name == "stage":
            return catalogue(self.language).get(f"value.stage.{text}", text)
        if self.language == "en" or not _NUMBER.fullmatch(text):
            return text
        for english, own in _MORE_OR_LESS.items():
            text = text.replace(english, own)
        number = re.sub(r"\d[\d,]*(?:\.(\d+))?", lambda m: self.number(m[0].replace(",", ""), len(m[1] or "")), text)
        number, _, unit = number.replace("%", f"{_NO_BREAK}%").partition(" ")
        return (
            f"{number}{_NO_BREAK}{self.unit(unit)}"
            if unit in ("units", "count")
            else " ".join(filter(None, [number, unit]))
        )

    def either(self, english: str, french: str) -> str:
        """Choose between two texts declared elsewhere, such as a metric's names."""
        return typographic(french) if self.language == "fr" else english
