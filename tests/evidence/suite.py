"""What the tests go through by turns, gone through whole.

`make test` takes a covering part of each product: pages by filters by languages, metrics by dimensions, verbs by
faults. Here the same tests go through all of it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tests.evidence import Claim

SUBJECTS = {
    "The stories that the demo shop hides are found through metrics alone": ("stories",),
    "A reader of one market sees nothing of another: every number by every cut, every part of every page": (
        "within",
        "access",
    ),
    "Shops of a few unlike shapes: every page with its parts, every metric": ("any_shop",),
    "Pages keep their rules whole and filtered in both languages, with every PDF and picture": (
        "places",
        "filters",
        "titles",
    ),
    "Pages look as they did in both themes of both windows, and the keyboard reaches every control": ("reach",),
    "Rows behind every metric obey every filter that it knows, sums by day are those of the facts": ("rows", "sums"),
    "Files dropped and rows mended on the page, in both languages": ("upload", "quarantine"),
    "No system's files leave a personal marker anywhere": ("personal_data",),
    "Other engines answer every question about every metric alike": ("engines",),
    "Every reason of every metric is made of codes, every formula gives what it says": ("why", "emissions"),
    "Published worked examples give their printed digits": ("worked_examples",),
    "Every part of every page has something to show of the sample shop": ("dashboard",),
    "Every command answers as its page says": ("commands",),
    "Every answer that a server was warmed with is what its question gets": ("memory",),
    "Loads and exports in more orders of arrival, with more figures, killed at more moments": (
        "load",
        "versions",
        "forget",
    ),
    "More kinds of damage, disks that fail, copies and kills": ("damage", "disturbed", "copies", "logs", "elsewhere"),
}
"""What is claimed, and the files of tests that say it."""


def claims() -> Iterator[Claim]:
    """Run each subject's tests whole."""
    for name, files in SUBJECTS.items():
        yield ran(name, [f"tests/test_{file}.py" for file in files])


def ran(name: str, words: Sequence[str], processes: int = 2) -> Claim:
    """Run tests with nothing left out; claim that all pass."""
    options = ("-q", "-p", "no:cacheprovider", "--numprocesses", str(processes), "--dist", "loadfile")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "BACKHAUL_WHOLE": "1", "OMP_NUM_THREADS": "1"},
    )
    print(done.stdout[-4000:] + done.stderr[-2000:] if done.returncode else "", file=sys.stderr)
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout)}
    passed, others = counts.pop("passed", 0), sum(counts.values())
    return Claim(
        name, "all pass", f"{passed:,} passed, {others} not", not done.returncode and passed > 0 and not others
    )
