"""Shops of every shape: pages, numbers and verbs of all of them, and the memory it takes."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipelines import metrics
from tests import any_shop, every_part
from tests.evidence import Claim

FULLY = ("rows", "mapped")
BOUND = 2**30
ROOT = Path(__file__).parents[2]
AT_ONCE = 2  # processes


def digest() -> str:
    """Give the digest of the product and of what walks through it."""
    whole = hashlib.sha256()
    for top in ("backhaul", "dashboard", "data", "models", "pipelines", "tests"):
        for path in sorted(p for p in (ROOT / top).rglob("*") if p.suffix in (".py", ".toml", ".csv", ".yaml")):
            whole.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def gone_through(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Go through shapes in a process of its own, so that its peak of memory is theirs.

    What was gone through is kept beside the repository's files, under the digest of the product: a walk that was
    interrupted goes on where it was, and one of other code begins anew.
    """
    kept = ROOT / ".evidence" / f"walks-{digest()}.jsonl"
    known = {w["name"]: w for w in map(json.loads, kept.read_text().splitlines())} if kept.exists() else {}
    if all(name in known for name in names):
        return [known[name] for name in names]
    run = subprocess.run(
        [sys.executable, "-m", "tests.every_part", *names],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    found = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"name"')]
    if len(found) < len(names):
        last = (run.stderr.strip().splitlines() or ["nothing said"])[-1]
        found.append(
            {
                "name": names[len(found)],
                "pages": 0,
                "answers": 0,
                "verbs": 0,
                "errors": [f"load {last}"],
                "peak_bytes": 0,
            }
        )
    kept.parent.mkdir(exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(walk)}\n" for walk in found)
    for walk in found:  # at once: what comes takes an hour
        print(*(f"{walk['name']}: {error}" for error in walk["errors"]), sep="\n", file=sys.stderr, flush=True)
    return found


def groups(names: list[str], size: int) -> list[tuple[str, ...]]:
    """Part names into groups for one process each."""
    return [tuple(names[i : i + size]) for i in range(0, len(names), size)]


def claims() -> Iterator[Claim]:
    """Go through the shapes of rows and mappings in both languages, and through the others in one by turns.

    Of the others each page and number as it comes.
    """
    every = any_shop.shapes()
    fully = [s.name for s in every if s.kind in FULLY]
    brief = [f"brief:{s.name}" for s in every if s.kind not in FULLY]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        walks = [w for found in pool.map(gone_through, [*groups(fully, 2), *groups(brief, 20)]) for w in found]
    errors = [f"{w['name']}: {error}" for w in walks for error in w["errors"]]
    pages, answers, verbs = (sum(w[name] for w in walks) for name in ("pages", "answers", "verbs"))
    subjects = {
        "load": ("A shop of any shape loads, or one sentence says why not", f"{len(every)} shops"),
        "page": (
            "Every page and part of it opens",
            f"{len(every)} shops x {len(every_part.PAGES)} pages x 2 languages, {pages:,} views",
        ),
        "number": (
            "Every number answers or says what it lacks",
            f"{len(metrics.catalogue())} metrics, {answers:,} answers",
        ),
        "verb": ("Every verb answers or ends in one sentence", f"{len(every_part.VERBS)} verbs, {verbs:,} times"),
    }
    for kind, (name, figure) in subjects.items():
        wrong = sum(error.split(": ", 1)[1].startswith(f"{kind} ") for error in errors)
        yield Claim(name, "0 errors", f"{figure}: {wrong} errors", not wrong)
    peak = max(w["peak_bytes"] for w in walks)
    yield Claim("No shape takes more than 1 GiB of memory", "1 GiB", f"{peak / BOUND:.2f} GiB", peak <= BOUND)
