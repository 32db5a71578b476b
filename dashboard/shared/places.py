"""The five places and the drawer: which addresses there are, and which script and parts of it each shows.

A place is a folder of `dashboard.app_pages`, a subject a folder in it with the script `page.py`, and a sheet one
address: a subject whole, or some of its parts. Nothing here is drawn; words are in the catalogues, by address.
"""

from dataclasses import dataclass

import streamlit as st

from dashboard.i18n import Words


@dataclass(frozen=True)
class Sheet:
    """One address: the place and the subject it belongs to, and the parts of the subject that it shows.

    The finding of a whole subject heads its first sheet (`is_first`); the others are headed by their own.
    """

    address: str
    place: str
    subject: str
    parts: tuple[str, ...] = ()
    is_first: bool = True

    @property
    def script(self) -> str:
        """The script, from the folder of the app."""
        return f"app_pages/{self.place}/{self.subject}/page.py"


PLACES = {
    "today": ":material/today:",
    "returns": ":material/assignment_return:",
    "refunds": ":material/schedule:",
    "money": ":material/payments:",
    "carbon": ":material/eco:",
    "settings": ":material/settings:",
}
"""The places in their order, each with its icon; the last is the drawer."""

SHEETS = (
    Sheet("today", "today", "overview"),
    Sheet("returns", "returns", "returns", ("cohorts", "change", "speed", "proof")),
    Sheet("reasons", "returns", "returns", ("reasons", "drivers"), is_first=False),
    Sheet("markets", "returns", "returns", ("places", "customers"), is_first=False),
    Sheet("products", "returns", "products", ("ranking",)),
    Sheet("product", "returns", "products", ("one",), is_first=False),
    Sheet("actions", "returns", "products", ("actions",), is_first=False),
    Sheet("forecast", "returns", "forecast"),
    Sheet("late", "refunds", "promises", ("law", "risk"), is_first=False),
    Sheet("delays", "refunds", "promises", ("states", "time", "stages", "control")),
    Sheet("waiting", "refunds", "promises", ("waiting",), is_first=False),
    Sheet("promise", "refunds", "promises", ("possible",), is_first=False),
    Sheet("policies", "refunds", "policies", ("versions", "compare")),
    Sheet("write-policy", "refunds", "policies", ("draft",), is_first=False),
    Sheet("margin", "money", "margin", ("steps", "goods", "ways")),
    Sheet("assumptions", "money", "margin", ("rests", "apart"), is_first=False),
    Sheet("claims", "money", "margin", ("claims",), is_first=False),
    Sheet("book", "money", "accounts", ("booked", "roll", "bases", "shop")),
    Sheet("routes", "money", "recovery"),
    Sheet("try-policy", "money", "whatif"),
    Sheet("carbon", "carbon", "emissions", ("parts", "map", "trace")),
    Sheet("uncertainty", "carbon", "emissions", ("sure",), is_first=False),
    Sheet("lower", "carbon", "emissions", ("levers",), is_first=False),
    Sheet("dispositions", "carbon", "emissions", ("fates",), is_first=False),
    Sheet("close", "carbon", "emissions", ("closed",), is_first=False),
    Sheet("checks", "settings", "data", ("checks", "quarantine", "coverage")),
    Sheet("add", "settings", "data", ("add",), is_first=False),
    Sheet("sources", "settings", "data", ("sources", "builds"), is_first=False),
    Sheet("alerts", "settings", "alerts"),
    Sheet("subscriptions", "settings", "subscriptions"),
    Sheet("targets", "settings", "plan", ("targets", "notes", "views")),
    Sheet("definitions", "settings", "data", ("definitions", "factors"), is_first=False),
    Sheet("accessibility", "settings", "data", ("reach",), is_first=False),
)
"""Every address, place by place in the order of the menu; the first is the one that opens."""


class PageEnded(Exception):
    """A page has nothing more to show: what had to be said is said.

    `st.stop` would end the whole run, before the address is written.
    """


BY_ADDRESS = {sheet.address: sheet for sheet in SHEETS}


def sheet(address: str) -> Sheet:
    """Give the sheet of an address; the first for the address of the app itself."""
    return BY_ADDRESS[address] if address else SHEETS[0]


def current() -> Sheet:
    """Give the sheet that is shown."""
    shown: Sheet = st.session_state["sheet"]
    return shown


def sheets(place: str) -> list[Sheet]:
    """List the sheets of a place, the one it opens with first."""
    return [one for one in SHEETS if one.place == place]


def of_subject(subject: str, part: str = "") -> Sheet:
    """Give the sheet that shows a part of a subject, or the one its finding heads."""
    every = [one for one in SHEETS if one.subject == subject]
    return next((one for one in every if part in one.parts), next(one for one in every if one.is_first))


def title(words: Words, one: Sheet) -> str:
    """Name a sheet, as its menu does."""
    return words(f"page.{one.address}")


def whole_title(words: Words, one: Sheet) -> str:
    """Name a sheet with the place that it stands in."""
    named, place = title(words, one), words(f"place.{one.place}")
    return named if named == place else f"{place} › {named}"


def page(words: Words, one: Sheet, opens: Sheet = SHEETS[0]) -> st.Page:
    """Make the page of a sheet, as the navigation and links want it; `opens` is the one that opens."""
    return st.Page(
        one.script,
        title=title(words, one),
        help=words(f"question.{one.address}"),
        default=one == opens,
        url_path=one.address,
    )
