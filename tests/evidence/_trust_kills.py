"""Verbs that are killed: old or new is read, the next run heals, and every table is that of a run nobody harmed."""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from pipelines import metrics
from pipelines.warehouse.build import current_build
from tests.evidence import Claim, _trust_postgresql
from tests.evidence._trust_outputs import apart, everything, left_over, names
from tests.evidence._trust_verbs import (
    KILLS,
    VERBS,
    Contents,
    Shop,
    Verb,
    by_two,
    contents,
    ended,
    same,
    shop,
    started,
    wrong_end,
)

SEED = 14
RUNNING = "killed while it ran"
TRIES = 3  # times as many runs as kills, at most: a verb may have ended before its moment came
LOOK_S = 0.0005
WATCHED = ("", "warehouse", "warehouse/builds", "warehouse/closed", "warehouse.raw", "fresh", "fresh/builds")


@dataclass(frozen=True)
class Moment:
    """When a verb is killed: seconds after its start, at so many lines of its log, or at so many changes of names.

    Names are those of the files it makes, links and removes: a draft, a journal of the state, a pointer.
    """

    kind: str
    at: float


@dataclass(frozen=True)
class Unharmed:
    """What a run of a verb left that nobody harmed, what was before it, and how long and in how many steps it ran."""

    before: Contents
    expected: Contents
    read_before: Contents  # of builds alone
    read: Contents
    names: frozenset[str]
    seconds: float
    lines: int
    changes: int


def claims() -> Iterator[Claim]:
    """Kill each verb at moments of three kinds, until each has been hit often enough while it ran."""
    with shop() as made:
        yield kills(made)
        yield _trust_postgresql.claim(made)


def kills(made: Shop, verbs: Sequence[Verb] = VERBS, least: int = KILLS) -> Claim:
    """Kill so many verbs, and hold what is left against a run that nobody harmed."""
    runs, hits, wrong, kinds = 0, 0, [], dict[str, int]()
    ended(["--help"])  # the fork server reads the modules now, and not in the time of a verb
    for verb in verbs:
        unharmed = _unharmed(made, verb)
        if isinstance(unharmed, str):
            wrong.append(f"{verb.name}: {unharmed}")
            continue
        moments = _moments(verb, unharmed)
        own = 0
        while own < verb.kills and (batch := list(islice(moments, verb.kills - own))):
            found = by_two(partial(_killed, made, verb, unharmed), batch)
            runs += len(found)
            for moment, lines in zip(batch, found, strict=True):
                is_hit = lines[0] == RUNNING
                own += is_hit
                kinds[moment.kind] = kinds.get(moment.kind, 0) + is_hit
                wrong += [f"{verb.name}, {moment.kind} {moment.at:.3g}: {line}" for line in lines[1:]]
        hits += own
    print(*wrong, sep="\n", file=sys.stderr)
    name = (
        f"Killed while they ran, at even and random times, at steps of their log and at files they make"
        f" ({', '.join(v.name for v in verbs)}): old or new is read, the next run heals, tables, state and what was"
        " written for people are those of a run unharmed, nothing half done is left"
    )
    told = ", ".join(f"{number} at {kind}" for kind, number in kinds.items())
    return Claim(
        name,
        f"{least} kills of a running verb, 0 faults",
        f"{hits} kills of a running verb in {runs} runs ({told}), {len(wrong)} faults",
        hits >= least and not wrong,
    )


def _moments(verb: Verb, unharmed: Unharmed) -> Iterator[Moment]:
    """Choose moments: a third spread evenly, a third at lines of the log, some at files; then random ones."""
    draw = random.Random(f"{SEED} {verb.name}")
    third = max(verb.kills // 3, 1)
    steps = min(third, unharmed.lines)
    chosen = [Moment("a time", unharmed.seconds * (n + 0.5) / third) for n in range(third)]
    chosen += [Moment("a step", 1 + n * unharmed.lines // steps) for n in range(steps)]
    files = (verb.kills - len(chosen)) // 2 or 1
    chosen += [Moment("a file", 1 + n * unharmed.changes // files) for n in range(files)] if unharmed.changes else []
    yield from chosen
    for _ in range(TRIES * verb.kills - len(chosen)):
        yield Moment("random", draw.uniform(0, unharmed.seconds))


def _unharmed(made: Shop, verb: Verb) -> Unharmed | str:
    folder = made.copy("unharmed")
    before, read_before, there = everything(folder), contents(folder), names(folder)
    log = Path(f"{folder}.log")
    changes = [0]
    begun = time.monotonic()
    process = started(["--log", str(log), *made.words(verb.arguments, folder)], Path(os.devnull))
    while process.is_alive():
        _changed(folder, 10**9, changes, process.is_alive)
    process.join()
    seconds = time.monotonic() - begun
    if process.exitcode:
        return f"exit {process.exitcode}"
    lines = _lines(log)
    found = Unharmed(
        before,
        everything(folder),
        read_before,
        contents(folder),
        frozenset(there | names(folder)),
        seconds,
        lines,
        changes[0],
    )
    shutil.rmtree(folder)
    return found


def _lines(log: Path) -> int:
    try:
        return log.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _seen(folder: Path) -> list[list[str]]:
    found = []
    for place in WATCHED:
        with suppress(OSError):
            found.append(sorted(path.name for path in (folder / place).iterdir()))
    return found


def _changed(folder: Path, number: float, count: list[int], is_alive: Callable[[], bool]) -> None:
    """Wait until the names in the folders that a verb writes to have changed so often, or it ends."""
    last = _seen(folder)
    while count[0] < number and is_alive():
        if (now := _seen(folder)) != last:
            count[0] += 1
            last = now
        time.sleep(LOOK_S)


def _killed(made: Shop, verb: Verb, unharmed: Unharmed, moment: Moment) -> list[str]:
    """Kill a verb, read, run it again, and read again: whether it still ran, and what is wrong."""
    folder = made.copy("killed")
    log = Path(f"{folder}.log")
    words = made.words(verb.arguments, folder)
    process = started(["--log", str(log), *words], Path(os.devnull))
    if moment.kind == "a step":
        while _lines(log) < moment.at and process.is_alive():
            time.sleep(LOOK_S)
    elif moment.kind == "a file":
        _changed(folder, moment.at, [0], process.is_alive)
    else:
        time.sleep(moment.at)
    process.kill()
    process.join()
    wrong = [RUNNING if process.exitcode == -signal.SIGKILL else "had ended"]
    if problem := _neither(folder, verb, unharmed):
        wrong.append(problem)
    is_done = verb.is_added and same(everything(folder), unharmed.expected)
    code, told = (0, "") if is_done else ended(words)
    if problem := wrong_end(code, told):
        wrong.append(problem)
    elif code and not verb.is_once:
        wrong.append(f"exit {code} when it ran again: {told}")
    if not same(seen := everything(folder), unharmed.expected):
        wrong.append(f"differs after it ran again: {apart(seen, unharmed.expected)}")
    if left := left_over(folder, unharmed.names):
        wrong.append(f"left over: {', '.join(left[:3])}")
    log.unlink(missing_ok=True)
    shutil.rmtree(folder)
    return wrong


def _neither(folder: Path, verb: Verb, unharmed: Unharmed) -> str:
    """Say what a reader sees that is neither of before nor what the verb leaves."""
    if problem := _read(folder):
        return f"a reader saw: {problem}"
    if verb.has_steps:
        seen, known = contents(folder), (unharmed.read_before, unharmed.read)
    else:
        seen, known = everything(folder), (unharmed.before, unharmed.expected)
    if any(same(seen, k) for k in known):
        return ""
    return f"neither the old nor the new: {' | '.join(apart(seen, k) for k in known)}"


def _read(folder: Path) -> str:
    """Ask a number of each warehouse of a folder, as a reader; what went wrong, "" where nothing did."""
    for warehouse in (folder / "warehouse", folder / "fresh"):
        if not (warehouse / "current").exists():
            continue
        try:
            with current_build(warehouse) as build:
                if metrics.answer(build, "sold_units")["status"].iloc[0] != "ok":
                    return "no number"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return ""
