"""Why a number is not known is a code with its parts: every sentence is declared, used, read back and translated."""

import ast
import string
from pathlib import Path
from typing import Any

import pytest

from dashboard.i18n import Words, catalogue
from pipelines import analyses, metrics, why
from pipelines.metrics.compiler import known_dimensions
from pipelines.metrics.coverage import FACTS, wanted
from pipelines.warehouse.engine import Build
from tests.turns import by_turns

CODES = sorted(why.SENTENCES)
PARTS: dict[str, Any] = {
    "share": 0.25,
    "limit": 0.5,
    "expected": 0.125,
    "observed": 0.375,
    "n": 1200,
    "of": 4800,
    "days": 30,
    "age": 12,
    "factor": 1.27,
    "said": "nothing there",
    "figure": 0.987,
    "gain": -0.0012,
    "least": -0.008,
}


def _example(code: str) -> tuple[str, dict[str, str]]:
    """Make a sentence of sample parts, and the parts as they are written."""
    fields = [(name, spec) for _, name, spec, _ in string.Formatter().parse(why.SENTENCES[code]) if name]
    parts = {name: PARTS.get(name, f"some {name}") for name, _ in fields}
    parts |= {"share": "25.0%"} if ("share", "") in fields else {}
    written = {name: format(parts[name], spec or "") for name, spec in fields}
    return why.why(code, **parts), written


@pytest.mark.parametrize("code", CODES)
def test_a_sentence_is_read_back_whole_and_among_others(code: str) -> None:
    sentence, parts = _example(code)
    assert why.read(sentence) == [why.Why(code, parts)]
    if code.startswith("of_"):  # says the first of several sentences of another time
        return
    around = why.together("half past ten", sentence, why.why("alone"))
    assert why.read(around) == ["half past ten", why.Why(code, parts), why.Why("alone", {})]


def test_every_sentence_is_said_somewhere() -> None:
    whole, beginnings = set(), set()
    home = Path(why.__file__).parents[1]
    for path in [*home.glob("pipelines/**/*.py"), *home.glob("dashboard/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "import why" in text or "together, why" in text else ():
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                beginnings.add(str(node.values[0].value))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
    begun = {code for code in CODES if any(b.endswith("_") and code.startswith(b) for b in beginnings)}
    assert set(CODES) - begun <= whole


@pytest.mark.parametrize("code", CODES)
def test_no_word_of_a_sentence_is_left_in_english(code: str) -> None:
    sentence, parts = _example(code)
    said = set(Words("fr").translated(sentence).split())
    own = {word for text in parts.values() for word in text.split()}
    assert not said & {"the", "of", "is", "are", "no", "nothing", "only", "with", "than", "these", "this"} - own


@pytest.mark.parametrize("fact", sorted(FACTS))
def test_what_is_missing_has_a_name_in_french(fact: str) -> None:
    assert f"noun.{FACTS[fact]}" in catalogue("fr")
    assert FACTS[fact] not in Words("fr").translated(why.why("needs", facts=wanted([fact]))) or FACTS[
        fact
    ] in catalogue("fr").get(f"noun.{FACTS[fact]}", "")


def test_every_reason_of_every_metric_is_made_of_codes(tiny_build: Build) -> None:
    said: dict[str, str] = {}
    for metric in metrics.catalogue():
        some = by_turns(known_dimensions(metric)[0][:9], 3, len(metric.key))
        for by in ((), *((d,) for d in some)):
            answer = metrics.answer(tiny_build, metric.key, by=by)
            said |= dict.fromkeys(answer["reason"], metric.key)
    for offer in analyses.offers(tiny_build, "refund", 0.95):
        said[offer.reason] = "offers"
    unread = {text: key for text, key in said.items() if any(isinstance(c, str) and c for c in why.read(text))}
    assert len(said) > 5
    assert not unread
