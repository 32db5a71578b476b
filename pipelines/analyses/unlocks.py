"""What the files do not hold: the columns that would fill it, who usually has them, and the numbers they would unlock.

A metric says which kinds of fact it `needs`, a build which it holds, `data/facts.csv` which columns fill each: headings
that `backhaul map` knows. What is written here is sent to the person who has them.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from pipelines import metrics
from pipelines.metrics import Text
from pipelines.settings import data_path
from pipelines.warehouse.engine import Build

OWNERS = {
    "shop": Text("whoever runs the shop system", "la personne qui gère la boutique en ligne"),
    "service": Text("customer service", "le service client"),
    "warehouse": Text("the warehouse", "l'entrepôt"),
    "carrier": Text("the carrier", "le transporteur"),
    "finance": Text("finance", "la comptabilité"),
}
EXPORTS = {
    "orders": Text("Please add to the export of orders", "Merci d'ajouter à l'export des commandes"),
    "returns": Text("Please add to the export of returns", "Merci d'ajouter à l'export des retours"),
    "file": Text("Please export as a file", "Merci d'exporter dans un fichier"),
    "page": Text(
        "Please write down, so that it can be entered on the page Policies",
        "Merci d'écrire, pour la saisir sur la page Politiques",
    ),
}
COLUMN, COLUMNS = Text("column", "colonne"), Text("columns", "colonnes")
PAGES = {
    "workload": "returns",
    "money": "margin",
    "cost": "margin",
    "carbon": "emissions",
    "avoided": "emissions",
    "circularity": "recovery",
}
"""The page that shows a family of metrics, where it has another name."""


@dataclass(frozen=True)
class Filling:
    """How a kind of fact gets into the warehouse.

    What to ask for, in which export and columns, who has it, and what it fills.
    """

    what: Text
    columns: tuple[str, ...]
    export: str
    owner: str
    fills: tuple[str, ...]


@cache
def fillings() -> dict[str, Filling]:
    """Read `data/facts.csv`: kind of fact -> how to get it."""
    with data_path("facts.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["fact"]: Filling(
                Text(row["what_en"], row["what_fr"]),
                tuple(row["columns"].split()),
                row["export"],
                row["owner"],
                tuple(row["fills"].split()),
            )
            for row in csv.DictReader(file)
        }


@dataclass(frozen=True)
class Missing:
    """A kind of fact that no source fills: the metrics it alone would unlock, and those that would need others too."""

    fact: str
    numbers: tuple[str, ...]
    later: tuple[str, ...]

    @property
    def filling(self) -> Filling:
        """How to get it."""
        return fillings()[self.fact]

    @property
    def pages(self) -> tuple[str, ...]:
        """The pages that would show more, by this fact alone or with others."""
        return tuple(
            dict.fromkeys(
                PAGES.get(metrics.metric(key).family, metrics.metric(key).family)
                for key in (*self.numbers, *self.later)
            )
        )


def needed(build: Build, key: str) -> tuple[str, ...]:
    """Give the kinds of fact a metric waits for.

    Of the source that lacks fewest of them; none when some source fills them all. Of a need with a choice ("a|b") the
    first is given.
    """
    needs = metrics.metric(key).needs
    by_source = metrics.lacking(build, needs) or {"": list(needs)}
    fewest = min(by_source.values(), key=len)
    return tuple(dict.fromkeys(need.split("|")[0] for need in fewest))


def lacking(build: Build, *facts: str) -> tuple[str, ...]:
    """Give those of these kinds of fact that no source fills."""
    held = metrics.lacking(build, facts)
    return tuple(fact for fact in facts if held and all(fact in lacks for lacks in held.values()))


def missing(build: Build) -> list[Missing]:
    """List the kinds of fact that some number waits for, those first that unlock most.

    A number that stands for a better one waits for none.
    """
    waiting = {m.key: needed(build, m.key) for m in metrics.catalogue() if not m.instead_of}
    facts = dict.fromkeys(fact for facts in waiting.values() for fact in facts)
    found = [
        Missing(
            fact,
            tuple(key for key, facts in waiting.items() if facts == (fact,)),
            tuple(key for key, facts in waiting.items() if fact in facts and len(facts) > 1),
        )
        for fact in facts
    ]
    return sorted(found, key=lambda one: (-len(one.numbers), -len(one.later)))


def requests(facts: Iterable[str], language: str = "en") -> dict[str, str]:
    """Write what to send to whom to get these facts: owner -> text, in the order of the owners.

    >>> requests(["vat"])["shop"]
    'Please add to the export of orders: the VAT of each order line (column vat_amount).'
    """
    wanted = list(dict.fromkeys(facts))
    known, texts = fillings(), {}
    for owner in OWNERS:
        mine = [fact for fact in wanted if known[fact].owner == owner]
        lines = [_line(export, [f for f in mine if known[f].export == export], language) for export in EXPORTS]
        if text := "\n".join(filter(None, lines)):
            texts[owner] = text
    return texts


def _line(export: str, facts: Sequence[str], language: str) -> str:
    """Write the request for what one export lacks; nothing when it lacks nothing."""

    def said(text: Text) -> str:
        return text.fr if language == "fr" else text.en

    parts = []
    for filling in (fillings()[fact] for fact in facts):
        word = said(COLUMNS if len(filling.columns) > 1 else COLUMN)
        parts.append(said(filling.what) + (f" ({word} {', '.join(filling.columns)})" if filling.columns else ""))
    beginning = said(EXPORTS[export]) + ("\u00a0:" if language == "fr" else ":")
    return "\n- ".join([beginning, *parts]) if len(parts) > 1 else f"{beginning} {parts[0]}." if parts else ""
