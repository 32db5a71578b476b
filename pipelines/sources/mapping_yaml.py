"""The text of a mapping: YAML with lines, sections, and what may stand in them."""

import fnmatch
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.sources import tables

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
LARGEST = 1 << 20  # bytes of a mapping file
DEEPEST, MOST_PARTS = 50, 20_000  # levels and parts of a mapping
numbers_of = itertools.count()  # so that two mappings share a connection


class Section(dict[str, Any]):
    """A YAML mapping that knows the line of each of its keys."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}
        self.line = 1


class Items(list[Any]):
    """A YAML list that knows the line of each of its items."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []


class Number(float):
    """A number of a mapping that is written again as it stands there."""

    def __new__(cls, text: str) -> "Number":
        """Read the number, keep its text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str

    def __str__(self) -> str:
        return self.text


def with_lines(node: yaml.Node, counted: Iterator[int], level: int = 0) -> Any:
    """Give a YAML node as sections, lists, texts and numbers.

    `Yes`, `NO`, `007` and `12:30` stay the texts that they are. What an alias stands for is written out and `counted`
    again: by aliases a small file becomes a huge one, or one without end.
    """
    if level > DEEPEST or next(counted) > MOST_PARTS:
        much = (
            f"more than {DEEPEST} levels"
            if level > DEEPEST
            else f"more than {MOST_PARTS:,} parts, its aliases written out"
        )
        raise yaml.MarkedYAMLError(problem=f"a mapping has not {much}", problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        section = Section()
        section.line = node.start_mark.line + 1
        for key, value in node.value:
            word = str(key.value)
            if word in section:
                raise yaml.MarkedYAMLError(problem=f"`{word}` stands here twice", problem_mark=key.start_mark)
            section[word] = with_lines(value, counted, level + 1)
            section.lines[word] = key.start_mark.line + 1
        return section
    if isinstance(node, yaml.SequenceNode):
        items = Items()
        for item in node.value:
            items.append(with_lines(item, counted, level + 1))
            items.lines.append(item.start_mark.line + 1)
        return items
    if node.tag.endswith(":null"):
        return None
    if node.tag.endswith((":int", ":float")):
        if re.fullmatch(r"-?(0|[1-9]\d*)", node.value):
            return int(node.value)
        if re.fullmatch(r"-?(0|[1-9]\d*)\.\d+", node.value):
            return Number(node.value)
    return node.value


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
