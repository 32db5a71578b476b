"""Memory: of the load of each system's fixture, and of each case that was taken from a public report.

The cases are no part of the repository: a folder of small inputs each, and in its `case.json` what is loaded and asked.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import first_number
from tests.evidence import Claim

MOST_MEMORY = 1 << 30  # bytes
CASES = "BACKHAUL_CASES"
ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.peak")


def claims() -> Iterator[Claim]:
    """Claim that no fixture of a system and no case takes more than 1 GiB, each command in a process of its own."""
    yield _fixtures()
    yield _cases()


def backhaul(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, which tells its peak of memory."""
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, env=_environment(), check=False)


def peak(done: subprocess.CompletedProcess[str]) -> int:
    """Give the peak of memory that a process told, in bytes."""
    return int(done.stderr.rsplit("peak", 1)[1].split()[0])


def of_case(case: Path, folder: Path) -> float:
    """Give the peak of memory of what a case loads and asks, in bytes; infinite where a process fell instead of ending.

    What is refused in a sentence has ended well. A line of a case that begins with `!` is for a shell: of those that
    are loaded it is a verb, of those that are asked it runs other programs and is left out.
    """
    told = json.loads((case / "case.json").read_text(encoding="utf-8"))
    shutil.copytree(case, folder, ignore=shutil.ignore_patterns("case.json", "README.md"))
    verbs = [f"{line[1:]}" if line.startswith("!") else f"load {line} --warehouse w" for line in told["loads"]]
    verbs += [f"{ask} --warehouse w" for ask, _ in told["asks"] if not ask.startswith("!")]
    peaks = [0.0]
    for verb in verbs:
        line = f"{shlex.join(PROGRAM)} {verb}"
        done = subprocess.run(
            line, shell=True, cwd=folder, capture_output=True, text=True, env=_environment(), check=False
        )
        has_fallen = "Traceback" in done.stderr or "\npeak" not in f"\n{done.stderr}"
        peaks.append(float("inf") if has_fallen else peak(done))
    return max(peaks)


def _environment() -> dict[str, str]:
    return os.environ | {"NO_COLOR": "1", "PYTHONPATH": str(ROOT)}


def _fixtures() -> Claim:
    peaks = {}
    for system in first_number.systems():
        with tempfile.TemporaryDirectory() as place:
            files = str(first_number.SYSTEMS / system)
            told = []
            if first_number.is_mapped(system):
                mapping = Path(place) / "mine.yaml"
                mapping.write_text(backhaul("map", files).stdout, encoding="utf-8")
                told = ["--source", str(mapping)]
            done = backhaul("load", files, *told, "--warehouse", str(Path(place) / "warehouse"))
            peaks[system] = float("inf") if done.returncode else peak(done)
    return _claim("Memory of a load of each system's fixture", peaks)


def _cases() -> Claim:
    name = "Memory of each case of a public report"
    told = os.environ.get(CASES, "")
    cases = sorted(path.parent for path in Path(told).glob("*/case.json")) if told else []
    if not cases:
        sentence = f"not measured: set {CASES} to the folder that holds a folder with a case.json for each case"
        return Claim(name, "at most 1 GiB", sentence, False)
    peaks = {}
    for case in cases:
        with tempfile.TemporaryDirectory() as place:
            peaks[case.name] = of_case(case, Path(place) / "in")
    return _claim(name, peaks)


def _claim(name: str, peaks: dict[str, float]) -> Claim:
    most = max(peaks, key=lambda one: peaks[one])
    fallen = [one for one, bytes_ in peaks.items() if bytes_ == float("inf")]
    highest = max((b for b in peaks.values() if b != float("inf")), default=0)
    figure = f"{len(peaks)}, {highest / 2**20:,.0f} MiB at most"
    figure += f"; did not end well: {', '.join(fallen)}" if fallen else f" ({most})"
    return Claim(name, "at most 1 GiB", figure, peaks[most] <= MOST_MEMORY)
