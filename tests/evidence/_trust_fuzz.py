"""Drawn examples, many times as many as in a run of the tests: the same tests, told to draw more."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

from tests.evidence import Claim

SUBJECTS = {  # name -> tests, how many times as many examples
    "A warehouse against a model: loads, edits, replays, withdrawals": (["tests/test_model.py"], 60),
    "Parsers and mapping files of any bytes": (
        ["tests/test_hostile_files.py", "tests/test_written.py", "-k", "of_any"],
        24,
    ),
    "Links to pages, of any values": (["tests/test_dashboard.py", "-k", "any_link"], 8),
}


def claims() -> Iterator[Claim]:
    """Draw, and count the examples that passed."""
    for name, (words, times) in SUBJECTS.items():
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--hypothesis-show-statistics",
            *words,
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "BACKHAUL_FUZZ": str(times)}
        )
        passed = sum(int(n) for n in re.findall(r"(\d+) passing", done.stdout))
        failing = sum(int(n) for n in re.findall(r"(\d+) failing", done.stdout))
        print(done.stdout[-2000:] + done.stderr[-2000:] if done.returncode else "", file=sys.stderr)
        yield Claim(name, "0 failures", f"{passed:,} examples, {failing} failures", not done.returncode and passed > 0)
