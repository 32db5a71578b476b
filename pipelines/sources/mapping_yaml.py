"""What may stand in a mapping, and the tables that it names."""

import fnmatch
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.sources import tables
from pipelines.written import Items

BEGINS = "2000-01-01"  # validity of what a mapping makes up: its shop, products without history, promises
NO_WORDS = ("", "no", "non", "n", "0", "false", "faux", "-", "kept", "gardé", "none")
YES_WORDS = ("yes", "oui", "y", "o", "1", "true", "vrai", "x")
READ_KEYS = (
    "separator",
    "encoding",
    "decimal",
    "thousands",
    "currency",
    "quote",
    "header_row",
    "sheet",
    "path",
    "each",
    "fill_down",
    "until",
)
HEADS = (
    "column",
    "value",
    "sum",
    "minus",
    "times",
    "divide",
    "first",
    "join",
    "key",
    "start",
    "number",
    "optional",
    "earliest",
    "latest",
)
CHANGES = ("replace", "pattern", "map", "otherwise")  # what a column may go through, in this order
EXPRESSION_KEYS = (*HEADS, *CHANGES, "with", "date", "plus_days", "by", "when")
CONDITIONS = ("is", "is_not", "pattern", "above", "below")
ARITHMETIC = {"sum": "+", "minus": "-", "times": "*", "divide": "/"}
SPECIAL = ("when", "several", "events", "promise", "dimensions")  # keys of a log that are no plain columns
BLANKS = "' \t\r\n\u00a0\u202f\u2007\ufeff\u200b'"  # SQL: what stands around texts and is none of them
BY_ROW = "by_row"  # channel of promises made row by row, so that they apply to no other order
numbers_of = itertools.count()  # so that two mappings share a connection


@dataclass
class Source:
    """A table of the mapping.

    Its staged rows, the prefix of its columns in the joined rows, and how its values are written.
    """

    table: tables.Table
    prefix: str
    formats: list[str]
    macros: dict[str, str]  # SQL -> macro, so that the same reading is written once

    def macro(self, body: str) -> str:
        """Give the name of the macro that holds an expression over `v`."""
        if body not in self.macros:
            name = f"{self.table.name}_reads_{len(self.macros)}"
            self.table.connection.execute(f"CREATE OR REPLACE TEMP MACRO {name}(v) AS ({body})")
            self.macros[body] = name
        return self.macros[body]


def specs(given: Any) -> list[Any]:
    """Give one or several expressions as a list."""
    return list(given) if isinstance(given, Items) else [given]


def fits(file: Path, pattern: str) -> bool:
    """Tell whether a table takes a file of this name; a mapping or a page of words only where their ending is named."""
    ending = file.suffix.lower()
    if ending in (".yaml", ".yml", ".md") and not str(pattern).lower().endswith(ending):
        return False
    name = file.name.lower()  # brackets are part of a name, or a choice of letters
    return name == str(pattern).lower() or fnmatch.fnmatch(name, str(pattern).lower())
