"""The tools of `outputs.agents` as a server of the Model Context Protocol, over standard input or loopback HTTP.

What a caller gives is held against the schema of its tool; what goes wrong is answered by type and sentence, never by a
trace. Over HTTP a key is wanted, the endpoint's (`serve.key_of`) or a reader's, and only requests that were sent to
this address from this machine are read: a page in a browser that was led here carries another Host or Origin. Over
standard input whoever started the server is the reader, or whom `--as` names. Nothing is written, and nobody's
questions are logged.
Source: Model Context Protocol, revision 2026-07-28 (https://modelcontextprotocol.io/specification/2026-07-28).
"""

import json
import logging
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines import access
from pipelines.errors import (
    AccessError,
    BackhaulError,
    ServeError,
    UnknownDimension,
    UnknownMetric,
    UnknownValue,
    WarehouseMissing,
)
from pipelines.metrics import PARTS, catalogue
from pipelines.outputs import agents
from pipelines.outputs.agents import marked, shown
from pipelines.outputs.export import product_version
from pipelines.outputs.serve import Held, caller, known_caller
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build
from pipelines.web import options, wrong

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

log = logging.getLogger("backhaul.agents")
PATH = "/mcp"
INSTRUCTIONS = (
    "Backhaul measures what comes back to a shop: return rates, reasons, promises, money and emissions. Ask"
    " list_metrics, then describe_metric for what a metric can be cut by, then ask_metric; rows_behind shows the rows"
    f" of a number. {agents.READING}"
)
REFUSALS: tuple[tuple[type[BackhaulError], str], ...] = (
    (UnknownMetric, "unknown_metric"),
    (UnknownDimension, "unknown_dimension"),
    (UnknownValue, "unknown_value"),
    (WarehouseMissing, "no_build"),
)
"""Types of refusal by the error behind them; any other is "refused", an argument that is none "wrong_argument"."""

_TEXT = {"type": "string", "maxLength": 200}
_DAY = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
_METRIC = {**_TEXT, "description": "Key from list_metrics, with its parameter where it has one: wait_quantile(0.9)"}
_LANGUAGE = {"enum": [*agents.LANGUAGES], "description": "Language of names and sentences; en unless said"}
_VALUE = {"type": ["string", "number", "boolean"], "maxLength": 1000}


def _limit(most: int, usual: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most, "description": f"At most so many; {usual} unless said"}


_QUESTION: dict[str, Any] = {
    "metric": _METRIC,
    "by": {
        "type": "array",
        "items": _TEXT,
        "maxItems": 4,
        "description": "Dimensions or time grains (day, week, month, quarter, year) to cut by, from describe_metric",
    },
    "where": {
        "type": "object",
        "maxProperties": 20,
        "additionalProperties": {"anyOf": [_VALUE, {"type": "array", "items": _VALUE, "maxItems": 200}]},
        "description": "Filters: a dimension and the value or values that may stand there, from list_values",
    },
    "since": {**_DAY, "description": "First day, on the metric's own date basis"},
    "until": {**_DAY, "description": "Last day, included"},
    "as_of": {**_DAY, "description": "Only what had happened by the end of this day, as known today"},
    "language": _LANGUAGE,
}


def schema(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    """Describe the arguments of a tool."""
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def _tools() -> dict[str, tuple[str, dict[str, Any]]]:
    """Give each tool: what it says of itself, and the schema of its arguments."""
    families = sorted({m.family for m in catalogue()})
    return {
        "about": ("Which build answers, in which currency and scope, and how to read an answer.", schema({})),
        "list_metrics": (
            "The catalogue of metrics: key, name, sentence, formula, unit, date basis, and whether this shop's files"
            " let it be known.",
            schema({"search": _TEXT, "family": {"enum": families}, "language": _LANGUAGE}),
        ),
        "describe_metric": (
            "One metric whole: numerator, denominator, which way is good, what it needs, and the dimensions it can be"
            " cut and filtered by in this build.",
            schema({"metric": _METRIC, "language": _LANGUAGE}, "metric"),
        ),
        "list_values": (
            "The values that a dimension has among a metric's rows, for filters.",
            schema(
                {
                    "metric": _METRIC,
                    "dimension": _TEXT,
                    "search": _TEXT,
                    "limit": _limit(agents.MOST_VALUES, agents.VALUES),
                },
                "metric",
                "dimension",
            ),
        ),
        "ask_metric": (
            "Answer a metric, whole or cut: value, interval, n, coverage, caution and reason codes with their"
            " sentences, formula, build and checksum. What is not available is refused by type, with the reason.",
            schema(
                {
                    **_QUESTION,
                    "level": {"type": "number", "minimum": 0.5, "maximum": 0.999, "description": "Level of intervals"},
                    "limit": _limit(agents.MOST_GROUPS, agents.GROUPS),
                },
                "metric",
            ),
        ),
        "rows_behind": (
            "The newest rows behind a metric's numerator or denominator, and how many there are in all.",
            schema({**_QUESTION, "part": {"enum": [*PARTS]}, "limit": _limit(agents.MOST_ROWS, agents.ROWS)}, "metric"),
        ),
    }


def refusal(error: Exception) -> dict[str, Any]:
    """Say by type and sentence why nothing is answered; a sentence that may quote a shop is marked."""
    if not isinstance(error, BackhaulError):
        return {"refusal": {"type": "failed", "sentence": "The answer failed. The server's own output says why."}}
    kind = next((name for of, name in REFUSALS if isinstance(error, of)), "refused")
    is_ours = kind in ("unknown_metric", "no_build")
    said = shown(str(error))
    return {"refusal": {"type": kind, "sentence": said if is_ours else marked(said)}}


TOOLS: Mapping[str, Callable[[Build, agents.Arguments], dict[str, Any]]] = {
    "about": agents.about,
    "list_metrics": agents.list_metrics,
    "describe_metric": agents.describe_metric,
    "list_values": agents.list_values,
    "ask_metric": agents.ask,
    "rows_behind": agents.rows_behind,
}
Who = Callable[[Request | None], access.Reader]
"""Who makes a request, none over standard input; raises AccessError for nobody."""


class Answering:
    """Answers calls of tools on the published build within the caller's scope, one at a time, each once a build."""

    def __init__(self, settings: Settings, who: Who) -> None:
        self._held, self._who = Held(settings), who
        self.described = _tools()

    def answer(self, name: str, given: agents.Arguments, request: Request | None) -> tuple[dict[str, Any], bool]:
        """Answer one call: what is found or why nothing is, and whether it is a refusal of the call itself."""
        from jsonschema import Draft202012Validator

        wrong_ones = sorted(Draft202012Validator(self.described[name][1]).iter_errors(given), key=lambda e: e.json_path)
        if wrong_ones:
            first = wrong_ones[0]
            sentence = shown(f"{first.json_path.removeprefix('$.')}: {first.message}")
            return {"refusal": {"type": "wrong_argument", "sentence": sentence}}, True
        key: Hashable = None if name == "rows_behind" else (name, json.dumps(given, sort_keys=True))
        try:
            caller = self._who(request)
            if name == "rows_behind" and not caller.may("rows"):
                raise AccessError(f"A {caller.role} looks at numbers and sees no rows.")
            return self._held.of(caller.scope).ask(key, lambda build: TOOLS[name](build, given)), False
        except BackhaulError as error:
            return refusal(error), True

    def close(self) -> None:
        """Close the builds."""
        self._held.close()


def server(answering: Answering) -> "Server[Any]":
    """Make the MCP server: its tools, and how a call is answered.

    Raises ServeError where the package is missing.
    """
    try:
        import mcp_types as types
        from mcp.server.lowlevel import Server
        from mcp.shared.exceptions import MCPError
    except ModuleNotFoundError:
        raise ServeError("Agents need the package mcp. Install it: pip install 'backhaul[agents]'.") from None

    reading = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    listed = [
        types.Tool(name=name, description=said, input_schema=given, annotations=reading)
        for name, (said, given) in answering.described.items()
    ]

    async def list_tools(_context: Any, _page: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(context: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        if asked.name not in answering.described:
            raise MCPError(
                types.INVALID_PARAMS, f"There is no tool of that name. There are: {', '.join(answering.described)}."
            )
        try:
            found, is_refused = await run_in_threadpool(
                answering.answer, asked.name, asked.arguments or {}, context.request
            )
        except Exception as error:  # a fault of ours: its type and words stay here
            log.exception("fault")
            found, is_refused = refusal(error), True
        text = types.TextContent(type="text", text=json.dumps(found, ensure_ascii=False))
        return types.CallToolResult(content=[text], structured_content=found, is_error=is_refused)

    return Server(
        "backhaul",
        version=product_version(),
        title="Backhaul",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def over_stdio(settings: Settings, who: Who) -> None:
    """Serve whoever started this process, until standard input ends."""
    import anyio

    answering = Answering(settings, who)
    made = server(answering)

    async def run() -> None:
        from mcp.server.stdio import stdio_server

        async with stdio_server() as (reading, writing):
            await made.run(reading, writing, made.create_initialization_options())

    try:
        anyio.run(run)
    finally:
        answering.close()


class _Guarded:
    """Lets through who shows a key; what is no request, such as the start of the server, passes."""

    def __init__(self, app: ASGIApp, settings: Settings, key: str) -> None:
        self._app, self._settings, self._key = app, settings, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and caller(self._settings, self._key, Request(scope)) is None:
            refused = wrong(401, "Show the key of this server as `X-API-Key` or as a Bearer token.")
            await refused(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def of_key(settings: Settings, key: str) -> Who:
    """Give who makes a request by the key that it shows: the server's own, or that of a reader."""

    def who(request: Request | None) -> access.Reader:
        if request is None:
            raise AccessError("Who asks shows a key.")
        return known_caller(settings, key, request)

    return who


def application(answering: Answering, settings: Settings, port: int, key: str) -> ASGIApp:
    """Make the ASGI application for this machine alone: a key, this Host, this Origin or none."""
    made = server(answering)  # says where the package is missing
    from mcp.server.transport_security import TransportSecuritySettings

    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
    security = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts])
    app = made.streamable_http_app(
        streamable_http_path=PATH, json_response=True, stateless_http=True, transport_security=security
    )
    return _Guarded(app, settings, key)


def over_http(settings: Settings, port: int, key: str) -> None:
    """Serve on the loopback address until interrupted."""
    answering = Answering(settings, of_key(settings, key))
    try:
        uvicorn.run(application(answering, settings, port, key), **options("127.0.0.1", port))
    finally:
        answering.close()
