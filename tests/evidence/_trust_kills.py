"""Verbs that are killed: old or new is read, the next run heals, and every table is that of a run nobody harmed."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipelines import metrics
from pipelines.warehouse.build import current_build
from tests.evidence import Claim
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

IN_MID_RUN = "in mid-run"


def claims() -> Iterator[Claim]:
    """Kill each verb at moments spread over the time that it takes unharmed."""
    with shop() as made:
        yield from _kills(made)


def _kills(made: Shop) -> Iterator[Claim]:
    killed, in_mid_run, wrong = 0, 0, []
    for verb in VERBS:
        unharmed = made.copy("unharmed")
        before = contents(unharmed)
        begun = time.monotonic()
        code, told = ended(made.words(verb.arguments, unharmed))
        seconds = time.monotonic() - begun
        if code:
            wrong.append(f"{verb.name}: {told}")
            continue
        expected = contents(unharmed)
        number_of = verb.kills
        shutil.rmtree(unharmed)
        moments = [seconds * (0.02 + 0.98 * number / number_of) for number in range(number_of)]
        found = by_two(partial(_killed, made, verb, before, expected), moments)
        killed += len(found)
        in_mid_run += sum(lines[0] == IN_MID_RUN for lines in found)
        wrong += [f"{verb.name} {n}: {line}" for n, lines in enumerate(found) for line in lines[1:]]
    print(*wrong, sep="\n", file=sys.stderr)
    name = (
        f"Verbs killed at moments spread over their run ({', '.join(v.name for v in VERBS)}): old or new is read, the"
        " next run heals, tables are equal"
    )
    yield Claim(
        name,
        f"{KILLS} kills, 0 faults",
        f"{killed} kills ({in_mid_run} in mid-run), {len(wrong)} faults",
        killed >= KILLS and not wrong,
    )


def _killed(made: Shop, verb: Verb, before: Contents, expected: Contents, moment: float) -> list[str]:
    """Kill a verb, read, run it again, and read again: whether it had ended, and what is wrong."""
    folder = made.copy("killed")
    words = made.words(verb.arguments, folder)
    process = started(words, Path(os.devnull))
    time.sleep(moment)
    process.kill()
    process.join()
    wrong = [IN_MID_RUN if process.exitcode == -signal.SIGKILL else "had ended"]
    if (seen := _read(folder)) or not any(same(contents(folder), c) for c in (before, expected)):
        wrong.append(f"a reader saw neither the old nor the new {seen}")
    code, told = ended(words)
    if problem := wrong_end(code, told):
        wrong.append(problem)
    elif code and not verb.is_once:
        wrong.append(f"exit {code} when it ran again: {told}")
    if not same(contents(folder), expected):
        wrong.append("tables differ after it ran again")
    if left := [p.name for p in folder.rglob("*.unfinished*")]:
        wrong.append(f"{left[0]} is left over")
    shutil.rmtree(folder)
    return wrong


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
