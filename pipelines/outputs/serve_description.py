"""The endpoint's description of itself (OpenAPI 3.1): what may be asked at each path, and what is answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import metrics
from pipelines.analyses import return_probability
from pipelines.outputs import checkout
from pipelines.warehouse.engine import Build

VERSION = "1"  # of the answers
AT = (0.5, 0.999)  # probabilities to keep a promise with
LANE = {"market": "country", "method": "method", "carrier": "carrier"}


def choices(build: Build) -> dict[str, list[str]]:
    """List what can be asked for on a build: the values of each parameter, and the sources that have a model."""
    names = {**LANE, "promise": "promise_id"}
    of_promises = {parameter: metrics.values_of(build, "promise_at", name) for parameter, name in names.items()}
    return {**of_promises, "source": sorted(return_probability.current_models(build))}


_NUMBER, _TEXT = {"type": ["number", "null"]}, {"type": "string"}
_WHEN = {"type": ["string", "null"], "format": "date-time"}
_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_PRICE = {
    "type": "object",
    "properties": {
        "duration": _NUMBER,
        "kept": _SHARE,
        "low": _SHARE,
        "high": _SHARE,
        "broken_a_month": _NUMBER,
        "is_published": {"type": "boolean"},
        "is_possible": {"type": "boolean"},
    },
}
_LANE = {
    "type": "object",
    "properties": {
        "promise": _TEXT,
        "market": _TEXT,
        "method": _TEXT,
        "carrier": _TEXT,
        "at": _SHARE,
        "unit": _TEXT,
        "published": _NUMBER,
        "possible": _NUMBER,
        "low": _NUMBER,
        "high": _NUMBER,
        "kept": _SHARE,
        "kept_low": _SHARE,
        "kept_high": _SHARE,
        "n": {"type": "integer"},
        "a_month": _NUMBER,
        "is_unkeepable": {"type": "boolean"},
        "coverage": _SHARE,
        "reason": _TEXT,
        "caution": _TEXT,
        "prices": {"type": "array", "items": _PRICE},
    },
}
_DATES = dict.fromkeys(
    (
        "refund_by",
        "legal_refund_by",
        "promised_refund_by",
        "refunded_at",
        "expected_at",
        "expected_from",
        "expected_to",
    ),
    _WHEN,
)
_STATES = {
    "type": "object",
    "additionalProperties": {
        "type": "string",
        "enum": ["kept", "broken", "undetermined", "expired", "not_under_promise"],
    },
}


def openapi(values: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Describe the endpoint (OpenAPI 3.1), with the `values` of parameters where they are given."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backhaul",
            "version": VERSION,
            "description": "What can be promised, by when to refund, and what of a basket will come back.",
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            }
        },
        "security": [{"key": []}, {"bearer": []}],
        "paths": {
            "/v1/promise": {"get": _describe_promise(values or {})},
            "/v1/returns/{return_id}/refund-by": {"get": _describe_refund_by()},
            "/v1/probability": {"post": _describe_probability((values or {}).get("source", ()))},
            "/metrics": {
                "get": {
                    "summary": "Builds, loads, quarantine, checks and alerts as OpenMetrics",
                    "responses": {
                        "200": {
                            "description": "Gauges",
                            "content": {"application/openmetrics-text": {"schema": _TEXT}},
                        },
                        **_describe_errors(),
                    },
                }
            },
            "/v1/health": {
                "get": {
                    "summary": "Whether a build can be read; wants no key",
                    "security": [],
                    "responses": {"200": _described("It can", {"status": _TEXT}), **_describe_errors()},
                }
            },
        },
    }


def _described(sentence: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer: its own properties, then which build it is of and up to when that knows."""
    about = {"build_id": _TEXT, "observed_until": _WHEN}
    return {
        "description": sentence,
        "content": {"application/json": {"schema": {"type": "object", "properties": {**properties, **about}}}},
    }


def _describe_errors() -> dict[str, Any]:
    """Describe the answers that every path may give instead."""
    return {
        code: {
            "description": sentence,
            "content": {"application/json": {"schema": {"type": "object", "properties": {"error": _TEXT}}}},
        }
        for code, sentence in (
            ("400", "What was asked is wrong; `error` says how"),
            ("401", "No key, or a wrong one"),
            ("403", "What is asked is of more than the reader of this key may see"),
            ("503", "Nothing has been published yet, or too much is asked at once"),
        )
    }


def _describe_promise(values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Describe the question what promise can be made, with the values its parameters take."""

    def query(name: str, sentence: str, schema: dict[str, Any]) -> dict[str, Any]:
        if known := values.get(name):  # one that is empty is not given
            schema = {**schema, "enum": ["", *known] if name in LANE else [*known]}
        return {"name": name, "in": "query", "required": False, "description": sentence, "schema": schema}

    return {
        "summary": "The shortest promise kept with a probability today, lane by lane, and the price of others",
        "parameters": [
            query("market", "ISO country", _TEXT),
            query("method", "Hand-over method", _TEXT),
            query("carrier", "Return carrier", _TEXT),
            query("promise", "Promise, `refund` unless said", _TEXT),
            query(
                "at",
                "Probability to keep it with, 0.95 unless said",
                {"type": "number", "minimum": AT[0], "maximum": AT[1]},
            ),
        ],
        "responses": {
            "200": _described("Offers, busiest lane first", {"lanes": {"type": "array", "items": _LANE}}),
            **_describe_errors(),
        },
    }


def _describe_refund_by() -> dict[str, Any]:
    """Describe the question by when a return must be refunded."""
    path = {
        "name": "return_id",
        "in": "path",
        "required": True,
        "description": "Id of the return in its source, with or without the source in front",
        "schema": _TEXT,
    }
    return {
        "summary": "By when a return must be refunded, by law and by promise, and when it will probably be",
        "parameters": [path],
        "responses": {
            "200": _described(
                "Dates (UTC); empty as long as they are not fixed",
                {"return_id": _TEXT, **_DATES, "promises": _STATES},
            ),
            "404": {"description": "No such return under a promise"},
            **_describe_errors(),
        },
    }


def _describe_probability(sources: Sequence[str]) -> dict[str, Any]:
    """Describe the question what of a basket will come back, asked of one of the sources that have a model."""
    several = len(sources) > 1
    source = {**checkout.ASKED["source"], **({"enum": [*sources, *([] if several else [None])]} if sources else {})}
    body = {
        "type": "object",
        "required": ["lines", "source"] if several else ["lines"],
        "additionalProperties": False,
        "properties": {**checkout.ASKED, "source": source},
    }
    line = {"type": "object", "properties": checkout.LINE}
    answered = {"model_id": _TEXT, "lines": {"type": "array", "items": line}}
    return {
        "summary": "The probability that each line of a basket comes back, why, and what that would cost and emit",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": _described("A line each, in the order asked", answered),
            "409": {"description": "No model expects returns in this build"},
            "413": {"description": "More than is read at once"},
            **_describe_errors(),
        },
    }
