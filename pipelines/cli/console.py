"""How a run is seen from outside: progress, a log, how it ends, and what the ends mean.

Results go to standard output; progress, errors and the log to standard error.
"""

import contextlib
import json
import logging
import math
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text
from typer.core import TyperGroup

from pipelines.errors import BackhaulError, Stopped

errors = Console(stderr=True)
log = logging.getLogger("backhaul")

WRONG_USE, UNAVAILABLE, FAULT, TERMINATED = 2, 4, 5, 143
"""Exit codes beside those of our errors: see docs/operations.md."""
SILENCE = 10.0  # seconds without a word where standard error is no screen
UNTOUCHED = "Nothing was published; readers keep the last build."


_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def signs(text: str, keep: str = "") -> str:
    r"""Show the control characters of a text, which a terminal would obey, as signs; those to `keep` stay.

    >>> signs("a\x1b[31m\x07\n"), signs("a\n\u202eb", keep="\n")
    ('a␛[31m␇␊', 'a\n<202E>b')
    """

    def sign(found: re.Match[str]) -> str:
        code = ord(found[0])
        return (
            found[0]
            if found[0] in keep
            else chr(0x2400 + code)
            if code < 0x20
            else "␡"
            if code == 0x7F
            else f"<{code:04X}>"
        )

    return _CONTROLS.sub(sign, text)


class Lines(logging.Formatter):
    """A log record as one line of JSON: time (UTC), level, event, and what the event gives."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        given = getattr(record, "given", {})
        return json.dumps(
            {"time": at, "level": record.levelname.lower(), "event": record.getMessage(), **given},
            ensure_ascii=False,
            default=str,
        )


def write_log(*, to: str | None, is_verbose: bool) -> None:
    """Write the log to a file, to standard error when `is_verbose`, or nowhere.

    Raises OSError for a file that cannot be written.
    """
    log.setLevel(logging.INFO if to or is_verbose else logging.CRITICAL)
    log.propagate = False
    log.handlers = [logging.FileHandler(to, encoding="utf-8")] if to else []
    log.handlers += [logging.StreamHandler(sys.stderr)] if is_verbose else []
    for handler in log.handlers:
        handler.setFormatter(Lines())


def began() -> str:
    """Log that the verb that was asked for begins, and give its name."""
    told("began", verb=_run.verb)
    return _run.verb


def told(event: str, **given: Any) -> None:
    """Log an event with what belongs to it."""
    log.info(event, extra={"given": given})


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show what is going on and for how long: on a screen as it goes, else as a line every ten seconds."""
    begun, step, done = time.monotonic(), ["starting"], threading.Event()
    said_at = [begun]

    def beat() -> None:
        while not done.wait(SILENCE):
            now = time.monotonic()
            print(
                f"backhaul: {step[0]}, {now - begun:.0f} s{_left(step[0], now - said_at[0])}",
                file=sys.stderr,
                flush=True,
            )

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    with bar:
        task = bar.add_task(step[0])
        if not errors.is_terminal:
            threading.Thread(target=beat, daemon=True).start()

        def say(text: str) -> None:
            told(text, seconds=round(time.monotonic() - begun, 3))
            step[0], said_at[0] = text, time.monotonic()
            bar.update(task, description=f"{text}{_left(text)}")

        try:
            yield say
        finally:
            done.set()


def _left(step: str, since: float = 0.0) -> str:
    """Say how long the rest takes, so many seconds after a step began, where the step says it.

    >>> class Step(str):
    ...     left = (40.0, 95.0)
    >>> _left(Step("checking")), _left(Step("checking"), 50.0), _left("checking")
    (', about 40 to 95 s left', ', about 0 to 45 s left', '')
    """
    if (seconds := getattr(step, "left", None)) is None:
        return ""
    least, most = (max(bound - since, 0.0) for bound in seconds)
    if most < 120:
        return f", about {least:.0f} to {most:.0f} s left"
    return f", about {math.floor(least / 60)} to {math.ceil(most / 60)} min left"


class Verbs(TyperGroup):
    """The verbs of the command line.

    Ctrl-C and SIGTERM end each of them with a sentence, and an end of input is no wish to stop.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb that was asked for, and remember its name for the log."""
        name, command, rest = super().resolve_command(ctx, args)
        parts = getattr(command, "commands", {})
        _run.verb = f"{name} {rest[0]}" if rest and rest[0] in parts else str(name)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _stopped() from error
        except EOFError as error:  # typer would print "Aborted."
            raise RuntimeError(f"the end came too early: {error}") from error
        except RuntimeError as error:
            if "interrupted" not in str(error).lower():  # DuckDB tells so of a signal within a query
                raise
            raise _stopped() from error


_signals: list[int] = []


@dataclass
class _Run:
    """What is being run, and since when."""

    verb: str = ""
    begun: float = 0.0

    def ended(self, code: int) -> dict[str, Any]:
        """Say how it ended."""
        return {"verb": self.verb, "exit_code": code, "seconds": round(time.monotonic() - self.begun, 3)}


_run = _Run()


def verb_of_run() -> str:
    """Name the verb that runs."""
    return _run.verb


def _stopped() -> Stopped:
    found = Stopped(f"Stopped. {UNTOUCHED} `backhaul load` without a path finishes what has landed.")
    found.exit_code = TERMINATED if _signals else found.exit_code
    return found


def _terminate(number: int, _frame: FrameType | None) -> None:
    _signals.append(number)
    raise KeyboardInterrupt


def run(command: Callable[..., Any]) -> None:
    """Run the command line to its end: what went wrong is one sentence, and the exit code says of what kind it was."""
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, _terminate)
    write_log(to=None, is_verbose=False)  # until the options are read
    _run.verb, _run.begun = "", time.monotonic()
    try:
        code = command(standalone_mode=False) or 0  # of typer.Exit; verbs return nothing
        told("ended", **_run.ended(code))
        sys.exit(code)
    except BackhaulError as error:
        _end(type(error).__name__, str(error), error.exit_code)
    except _WrongUse as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # who asks for nothing was shown what there is
            sys.exit(WRONG_USE)
        _end("WrongUse", _wrong_use(error), WRONG_USE)
    except typer.Abort:
        stopped = _stopped()
        _end("Stopped", str(stopped), stopped.exit_code)
    except OSError as error:
        said = (
            f"{error.strerror}: {error.filename or ''}"
            if error.errno is not None
            else str(error) or type(error).__name__
        )
        became = " ".join(getattr(error, "__notes__", [])) or UNTOUCHED
        _end(type(error).__name__, f"{said.rstrip(': ')}. {became}", UNAVAILABLE)
    except Exception as error:
        _end_of_memory(error)
        log.error("fault", extra={"given": {"trace": traceback.format_exc()}})
        text = str(error).splitlines()[0][:120] if str(error) else ""
        said = (
            f"A fault of Backhaul's own ({type(error).__name__}: {text}). {UNTOUCHED} Run it again as `backhaul"
            " --verbose ...` and report what it prints."
        )
        _end(type(error).__name__, said, FAULT)
    finally:
        for handler in log.handlers:
            handler.close()
        log.handlers = []


def _end_of_memory(error: Exception) -> None:
    """End with a sentence where a database had too little memory: it is loaded, or the error is none of its."""
    database = sys.modules.get("duckdb")
    if database is not None and isinstance(error, database.OutOfMemoryException):
        from pipelines.warehouse.sql import memory_short

        short = memory_short(error)
        _end(type(short).__name__, f"{short} {UNTOUCHED}", short.exit_code)


_WrongUse: Any = typer.BadParameter.__mro__[1]  # click's UsageError, whichever click typer brings


def _wrong_use(error: Any) -> str:
    told = " ".join(error.format_message().split())
    return f"{told.rstrip('.')}. `{' '.join(('backhaul', *_run.verb.split()))} --help` says what there is."


def _end(kind: str, sentence: str, code: int) -> NoReturn:
    log.error("ended", extra={"given": {**_run.ended(code), "error": kind, "message": sentence}})
    if _wants_json(sys.argv):
        print(json.dumps({"error": kind, "exit_code": code, "message": sentence}, ensure_ascii=False), file=sys.stderr)
    else:
        errors.print(Text.assemble(("backhaul: ", "red"), signs(sentence)), soft_wrap=True, highlight=False)
    sys.exit(code)


def _wants_json(arguments: list[str]) -> bool:
    return "--format=json" in arguments or ("--format", "json") in pairwise(arguments)
