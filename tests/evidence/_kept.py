"""Claims of parts of a long subject, kept beside the repository's files: with them a subject is drawn that took days.

What was measured of the very same product is not measured again. With `BACKHAUL_EVIDENCE=kept` a part of an earlier
product is taken too; each of its figures then says of which commit and day it is.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from tests.evidence import Claim
from tests.evidence._any_shop_shapes import ROOT, digest

FOLDER = ROOT / ".evidence"
Claims = Callable[[], Iterator[Claim]]


def measured(name: str, claims: Claims, folder: Path = FOLDER) -> Iterator[Claim]:
    """Measure a part, and keep each claim as it is made; a part that did not come to its end counts as not measured."""
    product, commit = digest(), _commit()
    made: list[Claim] = []
    for claim in claims():
        made.append(claim)
        yield claim
    folder.mkdir(exist_ok=True)
    content = {"digest": product, "commit": commit, "day": f"{date.today()}", "claims": [asdict(one) for one in made]}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def known(name: str, claims: Claims, folder: Path = FOLDER) -> Iterator[Claim]:
    """Give the claims of a part that was measured before, else measure it."""
    kept = _read(folder / f"{name}.json")
    is_same = kept.get("digest") == digest()
    if not kept or not (is_same or os.environ.get("BACKHAUL_EVIDENCE") == "kept"):
        yield from measured(name, claims, folder)
        return
    of = "" if is_same else f" (commit {kept['commit']}, {kept['day']})"
    for one in (Claim(**claim) for claim in kept["claims"]):
        yield replace(one, figure=one.figure + of)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def _commit() -> str:
    """Name the commit that is measured, with a sign where files differ from it."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
