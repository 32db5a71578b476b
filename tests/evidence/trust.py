"""Nothing lost, nobody let in.

What is left behind when verbs are killed, disks fail, things are damaged and writers meet. Parts can be run alone:
`python -m tests.evidence.trust kills disks`. What tests hold in the small is tried here at length.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from pipelines import metrics
from pipelines.load import load
from pipelines.settings import Settings
from pipelines.warehouse.build import build_path, current_build, current_id
from tests.evidence import (
    Claim,
    _trust_damage,
    _trust_disks,
    _trust_endpoint,
    _trust_fuzz,
    _trust_kills,
    _trust_page,
    _trust_pairs,
)
from tests.evidence._trust_verbs import CONTEXT, table_hash, tiny

SMALL_LOADS, READERS, PUBLISHES = 500, 100, 50
MOST_FILES = 100  # builds that are kept, logs that are joined from 32 small files of one on, the state and its copy
STATE_BYTES = 16_384  # of the state, a load of two files with two logs each: rows of counts, checks, files
PROCESSES = 4  # that the readers are spread over
PAUSE_S = 20.0  # of a reader between two questions, at most


def claims() -> Iterator[Claim]:
    """Run every part, the quick ones first."""
    for part in PARTS.values():
        yield from part()


def measured(evidence: Path) -> None:
    """Write the figures of the page that was just written into the page of promises."""
    _trust_page.refresh(evidence)


def _read(warehouse: Path, number: int, stop: Path, told: Path) -> None:
    """Read a warehouse in so many threads until a file is there; tell the number of answers, and what went wrong."""
    os.dup2(
        os.open(os.devnull, os.O_WRONLY), 1
    )  # DuckDB takes a forked process for somebody's session and draws its progress
    errors: list[str] = []
    answers = [0] * number

    def read(reader: int) -> None:
        while not stop.exists():
            try:
                with current_build(warehouse) as build:
                    units = float(metrics.answer(build, "sold_units")["value"].iloc[0])
                    if units % 20:
                        errors.append(f"{units} units")
                answers[reader] += 1
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
            time.sleep(PAUSE_S * (reader + 1) / number)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.write_text("\n".join([str(sum(answers)), str(min(answers)), *errors]))


def _readers() -> Iterator[Claim]:
    """Read in many threads of some processes while builds are published."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        settings = Settings(warehouse=root / "read" / "warehouse")
        settings.warehouse.parent.mkdir()
        load(settings, [tiny(root / "read" / "d0", 0, 20)])
        stop, told = root / "stop", [root / f"told {n}" for n in range(PROCESSES)]
        share = READERS // PROCESSES
        readers = [CONTEXT.Process(target=_read, args=(settings.warehouse, share, stop, file)) for file in told]
        for reader in readers:
            reader.start()
        for number in range(1, PUBLISHES + 1):
            load(settings, [tiny(root / "read" / f"d{number}", 20 * number, 20)])
        stop.touch()
        for reader in readers:
            reader.join()
        found = [file.read_text().split("\n") for file in told]
    errors = [error for lines in found for error in lines[2:]]
    answers, fewest = sum(int(lines[0]) for lines in found), min(int(lines[1]) for lines in found)
    print(*sorted(set(errors))[:10], sep="\n", file=sys.stderr)
    name = f"Readers, {share * PROCESSES} through {PUBLISHES} publishes: each answer is of a whole build"
    yield Claim(name, "0 errors", f"{answers:,} answers, {len(errors)} errors", not errors and fewest > 0)


def _small_loads(number: int = SMALL_LOADS) -> Iterator[Claim]:
    """Load many small deliveries, and hold them against one big load of the same rows."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        many, one = Settings(warehouse=root / "many" / "w"), Settings(warehouse=root / "one" / "w")
        for settings in (many, one):
            settings.warehouse.parent.mkdir()
        folders = [
            tiny(root / "files" / f"{n:03d}", 0 if n == 0 else 1000 + 10 * n, 1000 if n == 0 else 10)
            for n in range(number)
        ]
        seconds, half = [], 0
        for folder in folders:
            begun = time.process_time()
            load(many, [folder])
            seconds.append(time.process_time() - begun)
            half = _state_bytes(many) if len(seconds) == number // 2 else half
        load(one, folders)
        some = min(50, number // 4)
        early, late = sum(seconds[some // 5 : some // 5 + some]) / some, sum(seconds[-some:]) / some
        yield Claim(
            f"{number} small loads: CPU of the last {some}, over that of {some} after the first ten",
            "at most 1.3x",
            f"{late / early:.2f}x ({early:.2f} s, {late:.2f} s)",
            late <= 1.3 * early,
        )
        sizes = [build_path(s.warehouse, current_id(s.warehouse) or "").stat().st_size for s in (many, one)]
        yield Claim(
            f"{number} small loads: newest build, over that of one big load",
            "at most 1.3x",
            f"{sizes[0] / sizes[1]:.2f}x ({sizes[0] / 2**20:.1f} MiB)",
            sizes[0] <= 1.3 * sizes[1],
        )
        yield from _kept(many, folders, half)
        same = all(_facts(many)[t] == _facts(one)[t] for t in ("fact_order_line", "fact_return_line"))
        yield Claim(
            f"{number} small loads: facts are those of one big load", "equal", "equal" if same else "differ", same
        )


def _kept(settings: Settings, folders: list[Path], half: int) -> Iterator[Claim]:
    """Count what many loads keep: files beside those that were given, and bytes of the state a load."""
    number, given = len(folders), sum(1 for folder in folders for _ in folder.iterdir())
    raw = sum(1 for p in settings.raw.rglob("*") if p.is_file())
    files = sum(1 for p in settings.warehouse.rglob("*") if p.is_file())
    yield Claim(
        f"{number} small loads: files of the warehouse, and raw files",
        f"at most {MOST_FILES}, whatever the number of loads; a raw file for each of the {given} given",
        f"{files}, {raw}",
        files <= MOST_FILES and raw == given,
    )
    state_bytes = _state_bytes(settings)
    grown = (state_bytes - half) / (number - number // 2)
    yield Claim(
        f"{number} small loads: bytes of the state a load, in all and in the second half",
        f"at most {STATE_BYTES:,} each",
        f"{state_bytes / number:,.0f}, {grown:,.0f}",
        state_bytes / number <= STATE_BYTES and grown <= STATE_BYTES,
    )


def _state_bytes(settings: Settings) -> int:
    return (settings.warehouse / "state.sqlite").stat().st_size


def _facts(settings: Settings) -> dict[str, str]:
    path = build_path(settings.warehouse, current_id(settings.warehouse) or "")
    with duckdb.connect(str(path), read_only=True) as connection:
        return {t: table_hash(connection, t) for t in ("fact_order_line", "fact_return_line")}


PARTS = {
    "pairs": _trust_pairs.claims,
    "damage": _trust_damage.claims,
    "endpoint": _trust_endpoint.claims,
    "fuzz": _trust_fuzz.claims,
    "readers": _readers,
    "small_loads": _small_loads,
    "disks": _trust_disks.claims,
    "kills": _trust_kills.claims,
}


if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        begun = time.monotonic()
        for claim in PARTS[name]():
            print(
                f"{claim.name}: {claim.figure} (bar: {claim.bar}): {'holds' if claim.holds else 'falls short'}",
                flush=True,
            )
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
