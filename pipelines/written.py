"""What people write by hand beside their data: YAML and small tables, read strictly, each part with its line."""

import csv
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import BackhaulError

LARGEST, LARGEST_TABLE = 1 << 20, 64 << 20  # bytes of a text that is written by hand, of a table
DEEPEST, MOST_PARTS = 50, 100_000  # levels and parts of it
SHOWN = 60  # letters of what is wrong that a message shows
_WHOLE, _DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})"), re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_FIGURE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_YEAR = re.compile(r"[12][0-9]{3}")


class Unreadable(ValueError):
    """A text is not what it should be; its line where it is known, and what is wrong there."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


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
    """A number that is written again as it stands there."""

    def __new__(cls, text: str) -> "Number":
        """Read the number, keep its text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str

    def __str__(self) -> str:
        return self.text


def text_of(path: Path, most: int = LARGEST) -> str:
    """Read a file of at most so many bytes. Raises Unreadable, and OSError where it cannot be opened."""
    if path.stat().st_size > most:
        raise Unreadable(f"it is larger than {most >> 10} KB")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8; save it as UTF-8") from None


class _WithoutAliases(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Reads YAML in which nothing stands for something else."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Give the next node; an alias is an error."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            said = f"`*{event.anchor[:SHOWN]}` stands for something else; write it out"
            raise yaml.MarkedYAMLError(problem=said, problem_mark=event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def documents(text: str) -> list[Any]:
    """Read YAML: each document as sections, lists, texts, numbers and None. Raises Unreadable.

    `Yes`, `NO`, `007` and `12:30` stay the texts that they are. There are no aliases, by which a small file becomes a
    huge one, or one without end.
    """
    counted = itertools.count(1)
    try:
        found = [_with_lines(node, counted) for node in yaml.compose_all(text, Loader=_WithoutAliases)]
    except RecursionError:
        raise Unreadable(f"it has more than {DEEPEST} levels", 1) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise Unreadable(f"not YAML: {error.problem}", mark.line + 1 if mark else 1) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"not YAML: {str(error).splitlines()[0][:100]}", 1) from None
    return found


def _with_lines(node: yaml.Node, counted: Iterator[int], level: int = 0) -> Any:
    if level > DEEPEST or next(counted) > MOST_PARTS:
        much = f"{DEEPEST} levels" if level > DEEPEST else f"{MOST_PARTS:,} parts"
        raise yaml.MarkedYAMLError(problem=f"it has more than {much}", problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        section = Section()
        section.line = node.start_mark.line + 1
        for key, value in node.value:
            word = str(key.value)
            if word in section:
                raise yaml.MarkedYAMLError(problem=f"`{word[:SHOWN]}` stands here twice", problem_mark=key.start_mark)
            section[word] = _with_lines(value, counted, level + 1)
            section.lines[word] = key.start_mark.line + 1
        return section
    if isinstance(node, yaml.SequenceNode):
        items = Items()
        for item in node.value:
            items.append(_with_lines(item, counted, level + 1))
            items.lines.append(item.start_mark.line + 1)
        return items
    if node.tag.endswith(":null"):
        return None
    if node.tag.endswith((":int", ":float")):
        if _WHOLE.fullmatch(node.value):
            return int(node.value)
        if _DECIMAL.fullmatch(node.value):
            return Number(node.value)
    return node.value


def table(text: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read CSV: its header, and each row with the line it ends on, empty where it is short. Raises Unreadable."""
    reader: csv.DictReader[Any] = csv.DictReader(io.StringIO(text), restval="")
    try:
        rows: list[tuple[int, dict[Any, Any]]] = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise Unreadable(f"not CSV: {error}", reader.line_num) from None
    for line, row in rows:
        if any(cell.strip() for cell in row.pop(None, ())):
            raise Unreadable("the row has more cells than the header", line)
    return list(reader.fieldnames or []), rows


def read_table(
    path: Path, needed: Sequence[str], hint: str, error: type[BackhaulError]
) -> list[tuple[int, dict[str, str]]]:
    """Read a table that its owner wrote: line and row. Raises `error` without the columns it needs."""
    try:
        names, rows = table(text_of(path, LARGEST_TABLE))
    except OSError as caught:
        raise error(f"{path} cannot be read: {caught.strerror}.") from None
    except Unreadable as caught:
        where = f", line {caught.line}" if caught.line else ""
        raise error(f"{path}{where}: {caught.problem}.") from None
    if lacking := [name for name in needed if name not in names]:
        raise error(f"{path} lacks the columns {', '.join(lacking)}. {hint}")
    return rows


def figure(text: str) -> float:
    """Read a plain decimal number. Raises ValueError, which shows it, for what is none or has no end.

    >>> figure(" 1.5e3 ")
    1500.0
    """
    found = float(text) if _FIGURE.fullmatch(text.strip()) else math.nan
    if not math.isfinite(found):
        raise ValueError(f"{text[:SHOWN]!r} is no plain decimal number")
    return found


def is_year(text: str) -> bool:
    """Tell whether a text is a year of four digits.

    >>> is_year("2024"), is_year("24"), is_year("²")
    (True, False, False)
    """
    return bool(_YEAR.fullmatch(text))


def is_country(text: str) -> bool:
    """Tell whether a text is a code of two capital letters, as those of ISO 3166 are.

    >>> is_country("FR"), is_country("Fr"), is_country("FRA")
    (True, False, False)
    """
    return len(text) == 2 and text.isascii() and text.isalpha() and text.isupper()
