"""Run the subjects of this folder, print a line a claim, and refresh docs/evidence.md.

What is proved lives in the subjects. python -m tests.evidence.run [SUBJECT]

A subject's heading on the page is its name, its introduction the first paragraph of its docstring. A subject that
raises keeps the claims it had made and falls short. One that has figures on another page too writes them in
`measured(page)`. Exit 1 when a claim falls short, 2 when there is no such subject.
"""

import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path

from tests.evidence import Claim

PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"
INTRODUCTION = """# Evidence

What is promised, the bar it must clear, and what was measured. `make evidence` runs everything again and rewrites this
page; `make evidence ONLY=name` rewrites one section. Times depend on the machine; ratios within one run less so.
"""


def main(package: str = "tests.evidence", page: Path = PAGE, only: str | None = None) -> int:
    """Run one subject of the package or all of them, and give the exit code."""
    modules = pkgutil.iter_modules(import_module(package).__path__)
    subjects = [m.name for m in modules if m.name != "run" and not m.name.startswith("_")]
    if only and only not in subjects:
        print(f"There is no subject {only}. There are: {', '.join(subjects) or 'none yet'}.", file=sys.stderr)
        return 2
    sections = _sections(page)
    kept = {_heading(s): sections[_heading(s)] for s in subjects if _heading(s) in sections}
    all_hold = True
    for subject in [only] if only else subjects:
        claims = []
        for claim in _claims(f"{package}.{subject}"):
            print(f"{claim.name}: {claim.figure} (bar: {claim.bar}): {_verdict(claim)}", flush=True)
            claims.append(claim)
        all_hold &= all(claim.holds for claim in claims)
        introduction = (import_module(f"{package}.{subject}").__doc__ or "").strip().split("\n\n")[0]
        kept[_heading(subject)] = _section(introduction, claims)
        page.parent.mkdir(parents=True, exist_ok=True)
        body = "".join(f"\n## {heading}\n\n{kept[heading]}\n" for heading in map(_heading, subjects) if heading in kept)
        page.write_text(INTRODUCTION + body, encoding="utf-8")
        if measured := getattr(import_module(f"{package}.{subject}"), "measured", None):
            measured(page)
    return 0 if all_hold else 1


def _claims(module: str) -> Iterator[Claim]:
    """Give the claims as they are made; an error, or no claim at all, is a claim that falls short."""
    made = 0
    try:
        for claim in import_module(module).claims():
            made += 1
            yield claim
    except Exception as error:
        traceback.print_exc()
        yield Claim("The subject runs to its end", "no error", f"{type(error).__name__} after {made} claims", False)
    else:
        if not made:
            yield Claim("The subject makes a claim", "at least one", "none", False)


def _verdict(claim: Claim) -> str:
    return "holds" if claim.holds else "falls short"


def _heading(subject: str) -> str:
    return subject.replace("_", " ").capitalize()


def _section(introduction: str, claims: list[Claim]) -> str:
    rows = [(c.name, c.bar, c.figure, _verdict(c)) for c in claims]
    table = ["| claim | bar | measured | |", "|---|---|---|---|"]
    table += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join([introduction, "", f"Measured on {date.today()}, {_machine()}.", "", *table])


def _sections(page: Path) -> dict[str, str]:
    """Read the page back: heading to what stands under it."""
    parts = page.read_text(encoding="utf-8").split("\n## ")[1:] if page.is_file() else []
    return {heading: body.strip() for heading, _, body in (part.partition("\n") for part in parts)}


def _machine() -> str:
    """Say the class of machine, never its name."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB"


if __name__ == "__main__":
    sys.exit(main(only=sys.argv[1] if len(sys.argv) > 1 else None))
