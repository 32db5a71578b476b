"""What a checkout asks of a basket before it ships: how probably each line comes back, and what that would cost.

Here: reading the question, hashing whom it is about, and the form of the answer. Not here: the score
(pipelines/analyses/return_probability.py) and the server (serve.py). Nothing of a question is kept.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.analyses import return_probability
from pipelines.errors import BackhaulError
from pipelines.settings import Settings
from pipelines.warehouse import keys, state
from pipelines.warehouse.engine import Build

MOST_LINES = 1000
MOST_BYTES = 2 << 20
LONGEST = 200  # letters of a text
REASONS = 3
_OF_TYPE: dict[type, dict[str, Any]] = {  # what is null is not told
    str: {"type": ["string", "null"], "maxLength": LONGEST, "pattern": r"^[^\u0000]*$"},
    float: {"type": ["number", "null"], "minimum": 0, "exclusiveMaximum": 1e12},
    bool: {"type": ["boolean", "null"]},
    date: {"type": ["string", "null"], "format": "date"},
}
_NEEDED: dict[str, Any] = {"type": "string", "minLength": 1}
ASKED: dict[str, Any] = {
    "source": {"type": ["string", "null"], "description": "Source whose model scores, where several have one"},
    "lines": {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_LINES,
        "items": {
            "type": "object",
            "description": (
                "A line of an order. product_id or style_id, and country, are needed; customer_id is the shop's own id,"
                " hashed when it is read; lines of one order_id are one basket; amounts exclude VAT"
            ),
            "additionalProperties": False,
            "required": ["country"],
            "anyOf": [{"required": [name], "properties": {name: _NEEDED}} for name in ("product_id", "style_id")],
            "properties": {name: _OF_TYPE[kind] for name, kind in return_probability.FIELDS.items()}
            | {"country": {"type": "string", "pattern": "^[A-Z]{2}$"}},
        },
    },
}
"""Properties of a question, as JSON schema."""
_NUMBER = {"type": ["number", "null"]}
_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_WHY = {"feature": {"type": "string"}, "logit": {"type": "number"}}
LINE: dict[str, Any] = {
    "probability": _SHARE,
    "base_rate": _SHARE,
    "reasons": {"type": "array", "items": {"type": "object", "properties": _WHY}},
    "expected_cost": _NUMBER,
    "expected_kg_co2e": _NUMBER,
    "basis": {"type": "string", "enum": ["", "lane", "country", "all"]},
    "reason": {"type": "string"},
}
"""Properties of an answered line, as JSON schema. `reason` says why nothing is expected, where that is so."""


@dataclass(frozen=True)
class Asked:
    """A question: the lines of baskets, and the source whose model scores them."""

    lines: list[dict[str, Any]]
    source: str | None


def read(body: bytes) -> Asked:
    """Read a question. Raises BackhaulError for what is none, and says which line is wrong."""
    try:
        given = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BackhaulError('The body is no JSON in UTF-8: send {"lines": [...]}.') from error
    if not isinstance(given, dict) or not isinstance(given.get("lines"), list) or set(given) - set(ASKED):
        raise BackhaulError('Send {"lines": [...]}, a line an object, and with several sources "source".')
    source = given.get("source")
    if source is not None and not isinstance(source, str):
        raise BackhaulError("`source` is no text.")
    if len(given["lines"]) > MOST_LINES:
        raise BackhaulError(f"{len(given['lines']):,} lines are too many at once: send at most {MOST_LINES:,}.")
    for number, line in enumerate(given["lines"], 1):
        if not isinstance(line, dict):
            raise BackhaulError(f"Line {number} is no object of fields.")
        for name, value in line.items():
            if isinstance(value, str) and not _is_text(value):
                raise BackhaulError(f"Line {number}: {name[:40]!r} is no text of at most {LONGEST} letters.")
    return Asked(given["lines"], source)


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return len(value) <= LONGEST and "\0" not in value


def hasher(settings: Settings) -> Callable[[str, str], str]:
    """Give what turns a source and its customer's id into the id that builds hold."""
    state_file = state.State(settings.warehouse)
    try:
        key = keys.file_of(settings, state_file).read_bytes()
    except OSError as error:
        raise BackhaulError(
            f"The hashing key {settings.key_file} cannot be read: customers are not told apart."
        ) from error
    finally:
        state_file.close()
    return lambda source, text: f"{source}:{keys.customer_hash(key, text.strip())}"


def probabilities(build: Build, asked: Asked, customer: Callable[[str, str], str]) -> dict[str, Any]:
    """Answer a question: a line each, with its probability, its strongest reasons and what a return would cost."""
    known = return_probability.current_models(build)
    source = asked.source or next(iter(known), "")
    lines = [
        {**line, "customer_id": customer(source, line["customer_id"])}
        if isinstance(line.get("customer_id"), str)
        else line
        for line in asked.lines
    ]
    scored = return_probability.score_lines(build, lines, asked.source, REASONS)
    costs = return_probability.expected_of_return(build, lines, scored)
    return {
        "model_id": scored[0].model_id,
        "lines": [
            {
                "probability": _number(found.probability),
                "base_rate": _number(found.base_rate),
                "reasons": [{"feature": name, "logit": part} for name, part in found.reasons],
                "expected_cost": _number(cost),
                "expected_kg_co2e": _number(kg),
                "basis": basis,
                "reason": found.reason,
            }
            for found, cost, kg, basis in zip(
                scored, costs["expected_cost"], costs["expected_kg_co2e"], costs["basis"], strict=True
            )
        ],
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
