"""Recognising: the mapping that comes with the product and whose headings a file has."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import SourceError
from pipelines.settings import data_path
from pipelines.sources.samples import Sample, samples

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


@cache
def shipped() -> dict[str, list[tuple[dict[str, Any], frozenset[str]]]]:
    """Give, by mapping, its tables: how each is read, and the columns it names."""
    known = {}
    for path in sorted(data_path("mappings").glob("*.yaml")):
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # `on` stays a word
        tables = []
        for table in content["tables"]:
            short = {str(join["as"]) for join in table.get("join", [])}
            columns = {c for c in _columns(table["to"]) if c.split(".")[0] not in short}
            columns |= {str(c) for join in table.get("join", []) for c in join["on"]}
            tables.append(({**content.get("read", {}), **table.get("read", {})}, frozenset(columns)))
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


def mapping_of(files: Sequence[Path]) -> str:
    """Give the mapping that comes with the product for files; '' for none, and where one of them is no table."""
    try:
        return recognised([sample for file in files for sample in samples(file)])
    except SourceError:
        return ""


def recognised(found: Sequence[Sample]) -> str:
    """Give the mapping whose columns the files have, every one of a table and most of a document; '' for none."""
    best: tuple[int, str] = (0, "")
    files = {s.file for s in found}
    for mapping, tables in shipped().items():
        fits = [
            {file: _fit(columns, read, [s for s in found if s.file == file]) for file in files}
            for read, columns in tables
        ]
        if all(any(f.values()) for f in fits) and all(any(f[file] for f in fits) for file in files):
            best = max(best, (sum(max(f.values()) for f in fits), mapping))
    return best[1]


def _fit(columns: frozenset[str], read: dict[str, Any], found: Sequence[Sample]) -> int:
    """Count the columns of a table that a file has, in its sheet or its lists; 0 where it has too few of them."""
    lists = read.get("each") or None
    wanted = [s for s in found if s.read.get("each") in (lists if isinstance(lists, list) else [lists])]
    wanted = [s for s in wanted if "sheet" not in read or s.sheet == read["sheet"]]
    header = {h.strip().lower() for s in wanted for h in s.header}
    present = {c for c in columns if c.strip().lower() in header}
    is_document = any("each" in s.read or "path" in s.read or s.is_document for s in wanted)
    enough = len(present) >= 0.75 * len(columns) if is_document else present == columns
    return len(present) if enough and len(present) >= min(FEWEST, len(columns)) else 0


def text_of(mapping: str) -> str:
    """Give the text of a mapping that comes with the product."""
    return (data_path("mappings") / f"{mapping}.yaml").read_text(encoding="utf-8")
