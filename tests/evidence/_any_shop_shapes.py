"""Shops of every shape: pages, numbers and verbs of all of them, and the memory it takes.

What is printed is summed from the walks: how deep each went is said beside it, and what a walk left out is not counted.
"""

import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from tests import any_shop, every_part
from tests.evidence import Claim

BOUND = 2**30
ROOT = Path(__file__).parents[2]
AT_ONCE = 2  # processes
TOGETHER = {"whole": 2, "parts": 6, "landing": 15, "brief": 20}
"""Shapes that are gone through in one process, by how deep.

Measured on two cores that others worked on too, in seconds of work: the whole shop 251 before scripts were compiled
once and each filter cleared as the next is set, 196 after; by parts a shop that lacks a column 46, one event 17, one
log alone 4; a landing page 7; a pair 8.
"""
DEEP = {
    "whole": "with every page, part and verb, a quarter of the filters, every metric and a sixth of its cuts",
    "parts": "with every page and part, every metric and one in 24 of its cuts, a sixth of the verbs",
    "landing": "with the landing page and every metric",
    "brief": "with a third of the pages and metrics",
}
"""What a walk of each depth goes through, in words."""
_appending = Lock()


def digest() -> str:
    """Give the digest of the product and of what walks through it."""
    whole = hashlib.sha256()
    for top in ("backhaul", "dashboard", "data", "models", "pipelines", "tests"):
        for path in sorted(p for p in (ROOT / top).rglob("*") if p.suffix in (".py", ".toml", ".csv", ".yaml")):
            whole.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def gone_through(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Go through shapes in a process of its own, so that its peak of memory is theirs.

    Each walk that ended is kept beside the repository's files, under the digest of the product: what was interrupted
    goes on where it was, and a walk of other code begins anew.
    """
    kept = ROOT / ".evidence" / f"walks-{digest()}.jsonl"
    known = {w["name"]: w for w in _lines(kept.read_text().splitlines() if kept.exists() else [])}
    fallen = {}
    while missing := [name for name in names if name not in known and name not in fallen]:
        with tempfile.TemporaryFile("w+") as said:
            command = [sys.executable, "-m", "tests.every_part", *missing]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as run:
                for walk in _lines(run.stdout or []):
                    _keep(kept, walk)
                    known[walk["name"]] = walk
            said.seek(0)
            last = (said.read().strip().splitlines() or ["nothing said"])[-1]
        if name := next((name for name in missing if name not in known), ""):
            fallen[name] = {"name": name, "depth": "none", "errors": [f"load {last}"], "peak_bytes": 0}
    return [known.get(name) or fallen[name] for name in names]


def _lines(lines: Any) -> Iterator[dict[str, Any]]:
    """Read walks; a line that was cut off while it was written is none."""
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            if line.startswith('{"name"'):
                yield json.loads(line)


def _keep(kept: Path, walk: dict[str, Any]) -> None:
    """Write a walk down, and say at once what went wrong: what comes takes an hour."""
    with _appending:
        kept.parent.mkdir(exist_ok=True)
        with kept.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(walk)}\n")
    print(*(f"{walk['name']}: {error}" for error in walk["errors"]), sep="\n", file=sys.stderr, flush=True)


def groups(names: list[str], size: int) -> list[tuple[str, ...]]:
    """Part names into groups for one process each."""
    return [tuple(names[i : i + size]) for i in range(0, len(names), size)]


def claims() -> Iterator[Claim]:
    """Go through every shape as deep as its kind is gone through, and claim that nothing ended in an error."""
    every = any_shop.shapes()
    parted = [
        group
        for depth, size in TOGETHER.items()
        for group in groups([s.name for s in every if every_part.DEPTHS[s.kind].name == depth], size)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        walks = [w for found in pool.map(gone_through, parted) for w in found]
    errors = [f"{w['name']}: {error}" for w in walks for error in w["errors"]]
    subjects = {
        "load": "A shop of any shape loads, or one sentence says why not",
        "page": "Pages and their parts open in shops of every shape",
        "number": "Numbers answer or say what they lack in shops of every shape",
        "verb": "Verbs answer or end in one sentence in shops of every shape",
    }
    figures = told(walks)
    for kind, name in subjects.items():
        wrong = sum(error.split(": ", 1)[1].startswith(f"{kind} ") for error in errors)
        yield Claim(name, "0 errors", f"{figures[kind]}: {wrong} errors", not wrong)
    peak = max(w["peak_bytes"] for w in walks)
    yield Claim("No shape takes more than 1 GiB of memory", "1 GiB", f"{peak / BOUND:.2f} GiB", peak <= BOUND)


def told(walks: list[dict[str, Any]]) -> dict[str, str]:
    """Tell what walks went through, summed from them and each depth apart."""
    figures: dict[str, list[str]] = {"load": [], "page": [], "number": [], "verb": []}
    for depth, words in DEEP.items():
        some = [w for w in walks if w["depth"] == depth]
        if not some:
            continue
        pages, parts, metrics, answers, verbs = (
            f"{sum(w[name] for w in some):,}" for name in ("pages", "parts", "metrics", "answers", "verbs")
        )
        opened = [w for w in some if w["languages"]]
        spoken = sum(len(w["languages"]) for w in opened)
        languages = f"in {spoken / max(len(opened), 1):g} language{'s' if spoken > len(opened) else ''} each"
        shops = f"{len(opened)} shop{'s' if len(opened) != 1 else ''}"
        refused = len(some) - len(opened)
        figures["load"].append(f"{len(some)} {words}" + (f" ({refused} refused)" if refused else ""))
        figures["page"].append(f"{shops} {languages}, {pages} pages opened and {parts} parts")
        figures["number"].append(f"{shops}, {metrics} metrics whole and {answers} answers with their cuts")
        if verbs != "0":
            figures["verb"].append(f"{shops}, {verbs} verbs said")
    return {kind: "; ".join(parts) for kind, parts in figures.items()}
