"""Customers' notes: a free note becomes the concepts it speaks of, and is forgotten.

The vocabulary is data/note_words.csv: French and English words of a concept; a `*` ends the beginning of a word. Only
concepts leave this module, never a word of the note: no name, no number, no address can pass. What a note becomes
depends on the note alone.
"""

import csv
from functools import cache

from pipelines.settings import data_path
from pipelines.warehouse.sql import quote


@cache
def _vocabulary() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    words: dict[str, str] = {}
    labels: dict[str, dict[str, str]] = {}
    with data_path("note_words.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            labels.setdefault(row["concept"], {})[row["language"]] = row["label"]
            words.update(dict.fromkeys(row["words"].split(), row["concept"]))
    return words, labels


def concepts() -> tuple[str, ...]:
    """Give every concept a note can become."""
    return tuple(_vocabulary()[1])


def note_label(terms: str, language: str = "en") -> str:
    """Say concepts (a text, blanks between them) in `en` or `fr`.

    >>> note_label("size small", "fr")
    'taille, petit'
    """
    labels = _vocabulary()[1]
    return ", ".join(labels[t][language] if t in labels else t for t in terms.split())


def note_terms_sql(expression: str) -> str:
    """Give the concepts of a note as a DuckDB SQL expression: in order of the alphabet, blanks between; NULL for none.

    Concepts themselves, as a log holds them, stay what they are.
    """
    words = _vocabulary()[0] | {c: c for c in concepts()}
    starts = sorted(words, key=lambda w: (-len(w), w))  # the longest first: the first that fits is taken
    either = "|".join(w[:-1] if w.endswith("*") else rf"{w}\b" for w in starts)
    pattern = quote(rf"\b({either})")
    of: dict[str, list[str]] = {}
    for word, concept in words.items():
        of.setdefault(concept, []).append(quote(word.rstrip("*")))
    cases = " ".join(f"WHEN w IN ({', '.join(spelled)}) THEN {quote(c)}" for c, spelled in of.items())
    found = f"regexp_extract_all(lower(strip_accents({expression})), {pattern}, 1)"
    spoken = f"list_sort(list_distinct(list_transform({found}, lambda w: CASE {cases} END)))"
    return f"CASE WHEN {expression} IS NOT NULL THEN nullif(array_to_string({spoken}, ' '), '') END"
