"""Disks that are full, fail or may not be written to, and clocks that jump: one sentence, and nothing lost."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

from tests.disturbed import FOR_EVER, JUMPS
from tests.evidence import Claim
from tests.evidence._trust_outputs import apart, everything, names, of_tables
from tests.evidence._trust_verbs import (
    VERBS,
    Contents,
    Fault,
    Shop,
    Verb,
    by_two,
    ended,
    same,
    shop,
    wrong_end,
)

SIZES_KIB = (0, 4, 16, 64, 256, 1024, 2048, 4096, 8192, 12288, 16384, 24576)
POINTS = 9  # calls on the disk that fail, spread over a load; a third of it over every other verb
CODES = (("EIO", errno.EIO, 1), ("ENOSPC", errno.ENOSPC, FOR_EVER), ("EROFS", errno.EROFS, FOR_EVER))
CLOCKED = ("load", "withdraw", "policy publish", "close", "alert check", "backup")


def claims() -> Iterator[Claim]:
    """Disturb every verb, look at what is read, and run it again once the disturbance is gone."""
    with shop() as made:
        expected = _unharmed(made)
        yield from _full(made, expected)
        yield from _failing(made, expected)
        yield from _read_only(made, expected)
        yield from _clock(made, expected)


def _unharmed(made: Shop) -> dict[str, Contents]:
    """What each verb leaves where nothing disturbs it, in tables, state and files for people."""
    found = {}
    for verb in VERBS:
        folder = made.copy("unharmed")
        code, told = ended(made.words(verb.arguments, folder))
        if code:
            raise RuntimeError(f"{verb.name}: {told}")
        found[verb.name] = everything(folder)
        shutil.rmtree(folder)
    return found


def _disturbed(
    made: Shop, verb: Verb, folder: Path, fault: Fault | None, base: Contents, expected: Contents
) -> list[str]:
    """Run a verb under a fault: how it ended, and whether readers see the old or the new."""
    code, told = ended(made.words(verb.arguments, folder), fault)
    wrong = [wrong_end(code, told)] if wrong_end(code, told) else []
    seen, known = everything(folder), (base, expected)
    if verb.has_steps:  # in between, the state is neither
        seen, *known = (of_tables(found) for found in (seen, *known))
    if any(same(seen, k) for k in known):
        return wrong
    return [*wrong, f"neither the old nor the new is read: {' | '.join(apart(seen, k) for k in known)}"]


def _healed(made: Shop, verb: Verb, folder: Path, expected: Contents) -> list[str]:
    """Run a verb again without a fault, and take everything away."""
    is_done = verb.is_added and same(everything(folder), expected)
    code, told = (0, "") if is_done else ended(made.words(verb.arguments, folder))
    wrong = [f"afterwards: {told}"] if wrong_end(code, told) or (code and not verb.is_once) else []
    if not same(seen := everything(folder), expected):
        wrong.append(f"differs afterwards: {apart(seen, expected)}")
    if left := [name for name in names(folder) if name.endswith((".new", ".part")) or ".unfinished" in name]:
        wrong.append(f"left over afterwards: {', '.join(left[:3])}")
    shutil.rmtree(folder)
    return wrong


def _claim(name: str, runs: int, wrong: list[str]) -> Claim:
    print(*wrong, sep="\n", file=sys.stderr)
    return Claim(name, "0 faults", f"{runs} runs, {len(wrong)} faults", not wrong and runs > 0)


@contextmanager
def small_disk(path: Path, kib: int) -> Iterator[bool]:
    """Mount a disk of a size in memory; gives False where that is not allowed."""
    path.mkdir()
    options = f"size={kib}k,mode=700"
    is_there = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, check=False
    ).returncode
    try:
        yield is_there
    finally:
        if is_there:
            subprocess.run(["umount", "--lazy", str(path)], check=True)
        path.rmdir()


def _full(made: Shop, expected: dict[str, Contents]) -> Iterator[Claim]:
    """Leave so much of a disk free; where none can be mounted, let no file grow beyond the size."""
    runs, wrong = 0, []
    base = made.copy("measured")
    whole = sum(f.stat().st_size for f in base.rglob("*") if f.is_file()) // 1024
    nothing = everything(base)
    shutil.rmtree(base)
    for number, kib in enumerate(SIZES_KIB):
        every = (
            VERBS[0],
            VERBS[1],
            VERBS[2 + number % (len(VERBS) - 2)],
        )  # both loads at each size, the others in turn
        for verb in every:
            disk = made.root / "disk"
            with small_disk(disk, 4 * whole + 400_000) as is_disk:
                place = Shop(disk, made.names) if is_disk else made
                if is_disk:
                    shutil.copytree(made.root / "base", disk / "base")
                folder = place.copy("full")
                if is_disk:
                    shutil.rmtree(disk / "base")
                    free = shutil.disk_usage(disk).free - kib * 1024
                    with (disk / "filler").open("wb") as filler:
                        os.posix_fallocate(filler.fileno(), 0, max(free, 1))
                fault = None if is_disk else Fault(most_bytes=kib * 1024)
                outside = Shop(made.root, made.names)
                found = _disturbed(outside, verb, folder, fault, nothing, expected[verb.name])
                (disk / "filler").unlink(missing_ok=True)
                found += _healed(outside, verb, folder, expected[verb.name])
            runs += 1
            wrong += [f"{verb.name} with {kib} KiB left: {w}" for w in found]
    how = "a disk with so much left" if is_disk else "no file beyond the size: no disk can be mounted here"
    yield _claim(
        f"A full disk at {len(SIZES_KIB)} sizes, 0 to {SIZES_KIB[-1] // 1024} MiB ({how}): one sentence, old or new is"
        " read, the next run gives the tables of one unharmed",
        runs,
        wrong,
    )


def _failing(made: Shop, expected: dict[str, Contents]) -> Iterator[Claim]:
    runs, wrong, asked = 0, [], made.root / "asked"
    for verb in VERBS:
        folder = made.copy("counted")
        nothing = everything(folder)
        ended(made.words(verb.arguments, folder), Fault(folder, errno.EIO, asked=asked))
        turns = [int(n) for n in asked.read_text().splitlines()[0].split()]
        shutil.rmtree(folder)
        points = POINTS if verb.name == "load" else POINTS // 3
        chosen = [turns[(2 * n + 1) * len(turns) // (2 * points)] for n in range(points)]

        def fail(case: tuple[str, int, int, int], verb: Verb = verb, nothing: Contents = nothing) -> list[str]:
            name, code, times, first = case
            folder = made.copy("failing")
            found = _disturbed(made, verb, folder, Fault(folder, code, first, times), nothing, expected[verb.name])
            found += _healed(made, verb, folder, expected[verb.name])
            return [f"{verb.name}, {name} at call {first}: {w}" for w in found]

        found = by_two(fail, [(*kind, first) for kind in CODES for first in chosen])
        runs += len(found)
        wrong += [line for lines in found for line in lines]
    yield _claim(
        f"Writes that fail (EIO once, ENOSPC and EROFS from there on), at calls spread over {len(VERBS)} verbs: one"
        " sentence, old or new is read, the next run gives the tables of one unharmed",
        runs,
        wrong,
    )


def _read_only(made: Shop, expected: dict[str, Contents]) -> Iterator[Claim]:
    """Mount the folder read-only; where that is not allowed, let the layer say so from the first call on."""
    runs, wrong = 0, []
    for verb in VERBS:
        disk = made.root / "disk"
        with small_disk(disk, 1_000_000) as is_disk:
            place = Shop(disk, made.names) if is_disk else made
            if is_disk:
                shutil.copytree(made.root / "base", disk / "base")
            folder = place.copy("read-only")
            nothing = everything(folder)
            if is_disk:
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            fault = None if is_disk else Fault(folder, errno.EROFS, 1, FOR_EVER)
            found = _disturbed(made, verb, folder, fault, nothing, nothing)
            for words in (("status",), ("metric", "observed_return_rate"), ("check",), ("alert", "list"), ("closed",)):
                code, told = ended([*words, "--warehouse", str(folder / "warehouse")], fault)
                found += [f"{words[0]}: {told}"] if code else []
            if is_disk:
                subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            found += _healed(made, verb, folder, expected[verb.name])
        runs += 1
        wrong += [f"{verb.name} on a read-only disk: {w}" for w in found]
    yield _claim("A read-only disk: readers answer, every writer ends in a sentence", runs, wrong)


def _clock(made: Shop, expected: dict[str, Contents], clocked: Sequence[str] = CLOCKED) -> Iterator[Claim]:
    """Let clocks jump while verbs run, and leave files behind that are dated as such a clock dates them."""
    runs, wrong = 0, []
    for verb in (v for v in VERBS if v.name in clocked):
        folder = made.copy("clock")
        for _ in range(2):  # the second finds what the first left, at other times
            _redate(folder)
            code, told = ended(made.words(verb.arguments, folder), Fault(is_jumping=True))
            runs += 1
            wrong += [f"{verb.name}, jumping clock: {w}" for w in [wrong_end(code, told)] if w]
        code, told = ended(made.words(("company",), folder), Fault(is_jumping=True))  # asks for the day
        wrong += [f"company, jumping clock: {told}"] if code else []
        ended(made.words(("load",), folder))  # what was of the future for a clock that was behind is judged again
        wrong += [f"{verb.name}, jumping clock: {w}" for w in _healed(made, verb, folder, expected[verb.name])]
    yield _claim(
        "A clock that jumps by seconds to ten years while a verb runs, and files dated by it: once it is right, tables"
        " and state are those of one that was",
        runs,
        wrong,
    )


def _redate(folder: Path) -> None:
    """Date every file of a warehouse, of its raw files and its key as a clock that jumps would have."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for file, jump in zip(files, cycle(JUMPS), strict=False):
        at = (datetime.now(UTC) + jump).timestamp()
        os.utime(file, (at, at))
