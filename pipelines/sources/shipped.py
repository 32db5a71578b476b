"""Recognising: the mapping that comes with the product and whose headings a file has.

Files of one system that want a mapping each (orders and refunds, orders and returns) are read by one that holds the
tables of all.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import SourceError
from pipelines.settings import data_path
from pipelines.sources.samples import Sample, samples
from pipelines.warehouse import schema

SAID = (
    "value",
    "with",
    "map",
    "otherwise",
    "date",
    "pattern",
    "replace",
    "is",
    "is_not",
    "above",
    "below",
    "name",
    "from",
    "to",
    "within",
    "unit",
)  # words whose values are no columns
FEWEST = 5  # headings by which a file is recognised
MOST_LACKING = 0.3  # share of its columns that a file may lack, where the mapping takes them for empty


@dataclass(frozen=True)
class ShippedTable:
    """One table of a mapping.

    How it is read, the columns it names, and those it cannot do without: of conditions, and of every row.
    """

    read: dict[str, Any]
    columns: frozenset[str]
    conditions: frozenset[str]
    needed: frozenset[str]
    may_lack: bool


@cache
def shipped() -> dict[str, list[ShippedTable]]:
    """Give the tables of each mapping that comes with the product."""
    known = {}
    for path in sorted(data_path("mappings").glob("*.yaml")):
        content = yaml.BaseLoader(path.read_text(encoding="utf-8")).get_single_data()  # `on` stays a word
        tables = []
        for table in (t for t in content["tables"] if "sql" not in t):  # no file is recognised by those
            short = {str(join["as"]) for join in table.get("join", [])}
            columns = {c for c in _columns(table["to"]) if c.split(".")[0] not in short}
            columns |= {str(c) for join in table.get("join", []) for c in join["on"]}
            conditions = columns & set(_conditions(table))
            needed = columns & set(_needed(table))
            read = {**content.get("read", {}), **table.get("read", {})}
            may_lack = content.get("missing") == "empty"
            tables.append(ShippedTable(read, frozenset(columns), frozenset(conditions), frozenset(needed), may_lack))
        if tables:
            known[path.stem] = tables
    return known


def _columns(node: Any, word: str = "") -> Iterable[str]:
    """Give the columns that expressions name."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in SAID or (isinstance(value, dict) and word in ("events", "return_event")):
                yield from _columns(value, str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _columns(value, word)
    elif word != "optional" and isinstance(node, str) and not re.fullmatch(r"-?\d*\.?\d*", node):
        yield node


def _conditions(table: dict[str, Any]) -> Iterable[str]:
    """Give the columns that say which rows count."""
    yield from _columns(table.get("when", {}))
    for given in table["to"].values():
        for spec in given if isinstance(given, list) else [given]:
            yield from _columns(spec.get("when", {}))


def _needed(table: dict[str, Any]) -> Iterable[str]:
    """Give the columns of what every row must have."""
    for thing, given in table["to"].items():
        for spec in given if isinstance(given, list) else [given]:
            for column, value in spec.items():
                log = schema.LOG.tables[thing].columns
                is_one = isinstance(value, str) or bool({"column", "join", "key"} & set(value))
                if column in log and log[column].info["required"] and column != "occurred_at" and is_one:
                    yield from _columns({column: value})


@dataclass(frozen=True)
class Recognised:
    """The mappings that come with the product for some files, each with its files.

    `currency` is the only one that they name.
    """

    files: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    currency: str = ""

    @property
    def name(self) -> str:
        """The mapping's name; of several, their names."""
        return " and ".join(mapping for mapping, _ in self.files)

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self.files)


def recognised(found: Sequence[Sample]) -> Recognised:
    """Give the mappings whose columns the files have, every table of one in some file.

    None where a file has no mapping's. Several are of one system: they give their rows one source.
    """
    files = list(dict.fromkeys(s.file for s in found))
    chosen: dict[str, list[Path]] = {}
    for file in files:
        mine = [s for s in found if s.file == file]
        fits = {m: max(_fit(t, mine) for t in tables) for m, tables in shipped().items()}
        whole = {m: fit for m, fit in fits.items() if all(any(_fits(t, found, f) for f in files) for t in shipped()[m])}
        best = max(whole, key=lambda m: (whole[m], m), default="")
        if not best or whole[best] == (0.0, 0):
            return Recognised()
        chosen.setdefault(best, []).append(file)
    if any(not any(_fits(t, found, f) for f in mine) for m, mine in chosen.items() for t in shipped()[m]):
        return Recognised()
    if len(chosen) > 1 and len({repr(_common(m)) for m in chosen}) > 1:
        return Recognised()
    named = {
        row[s.header.index("currency")].strip().upper() for s in found if "currency" in s.header for row in s.rows
    } - {""}
    return Recognised(tuple((m, tuple(mine)) for m, mine in chosen.items()), named.pop() if len(named) == 1 else "")


def mapping_of(files: Sequence[Path]) -> Recognised:
    """Give the mappings that come with the product for files; none where one of them is no table."""
    try:
        return recognised([sample for file in files for sample in samples(file)])
    except SourceError:
        return Recognised()


def _common(mapping: str) -> dict[str, Any]:
    """Give what mappings must have in common to be made one."""
    content = yaml.BaseLoader(_text(mapping)).get_single_data()
    return {k: content.get(k) for k in ("name", "time_zone", "dates", "read", "missing", "export", "exported_at")}


def _fits(table: ShippedTable, found: Sequence[Sample], file: Path) -> bool:
    return _fit(table, [s for s in found if s.file == file])[1] > 0


def _fit(table: ShippedTable, found: Sequence[Sample]) -> tuple[float, int]:
    """Give the share and number of a table's columns that a file has, in its sheet or its lists.

    Zeros where it has too few of them.
    """
    lists = table.read.get("each") or None
    wanted = [s for s in found if s.read.get("each") in (lists if isinstance(lists, list) else [lists])]
    wanted = [s for s in wanted if "sheet" not in table.read or s.sheet == table.read["sheet"]]
    header = {h.strip().lower() for s in wanted for h in s.header}
    present = {c for c in table.columns if c.strip().lower() in header}
    is_document = any("each" in s.read or "path" in s.read or s.is_document for s in wanted)
    may_lack = (0.25 if is_document else 0.0) if not table.may_lack else MOST_LACKING
    needed = table.conditions if is_document else table.conditions | table.needed  # a list is no heading
    enough = len(present) >= (1 - may_lack) * len(table.columns) and (not table.may_lack or needed <= present)
    enough = enough and len(present) >= min(FEWEST, len(table.columns))
    return (len(present) / len(table.columns), len(present)) if enough else (0.0, 0)


def _text(mapping: str) -> str:
    return (data_path("mappings") / f"{mapping}.yaml").read_text(encoding="utf-8")


def text_of(found: Recognised) -> str:
    """Give the text of the mapping for files.

    The one that comes with the product, or the tables of several under one name.
    """
    if len(found.files) < 2:
        return _text(found.files[0][0]) if found else ""
    texts = {m: _text(m) for m, _ in found.files}
    constants: dict[str, str] = {}
    for text in texts.values():
        constants |= yaml.BaseLoader(text).get_single_data().get("constants", {})
    if found.currency and "currency" in constants:
        constants["currency"] = found.currency
    lines = [line for text in texts.values() for line in text.splitlines() if line.startswith("#")]
    first = next(iter(texts.values())).splitlines()
    head = first[: first.index("tables:")]
    lines += [line for line in head if not line.startswith(("#", "constants:"))]
    if constants:
        lines.append("constants: {" + ", ".join(f'{k}: "{v}"' for k, v in constants.items()) + "}")
    lines.append("tables:")
    for mapping, files in found.files:
        tables = texts[mapping].split("\ntables:\n", 1)[1].rstrip("\n")
        for file in files:
            lines.append(tables.replace('file: "*"', f"file: {_quoted(file.name)}"))
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
