"""The last figures of `docs/trust.md`: each is taken from the section *Trust* of `docs/evidence.md`, and nowhere else.

A row of the page names in italics how the names of its claims begin. `python -m tests.evidence._trust_page` writes
them.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
HEAD = "| promise | test | at length | last figure |"
OF_TESTS, LACKING = "in every run of the tests", "not measured yet"
_BAR = re.compile(r"(?<!\\)\|")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _BAR.split(line)[1:-1]]


def figures(evidence: str) -> dict[str, str]:
    """Read the claims of the section back: name to figure, with what falls short said."""
    section = f"{evidence}\n## ".partition("\n## Trust\n")[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        cells = _cells(line)
        if len(cells) == 4 and cells[3] in ("holds", "falls short"):
            found[cells[0]] = cells[2] + ("" if cells[3] == "holds" else " (falls short)")
    return found


def drawn(page: str, evidence: str) -> str:
    """Write the last figure of every promise into the page."""
    known = figures(evidence)
    lines, is_table = [], False
    for line in page.splitlines():
        is_table = line == HEAD or (is_table and line.startswith("|"))
        if is_table and line != HEAD and not line.startswith("|--"):
            promise, test, length, *_ = _cells(line)
            line = f"| {promise} | {test} | {length} | {_figure(length, known)} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def begun(length: str) -> list[str]:
    """Give how the names of the claims of a row begin: what its cell says in italics."""
    return re.findall(r"\*([^*]+)\*", length)


def _figure(length: str, known: dict[str, str]) -> str:
    if not begun(length):
        return OF_TESTS
    if not known:
        return LACKING
    told = [figure for start in begun(length) for name, figure in known.items() if name.startswith(start)]
    return "; ".join(told) or LACKING


def refresh(evidence: Path = DOCS / "evidence.md", page: Path = DOCS / "trust.md") -> None:
    """Write the figures of one page into the other."""
    page.write_text(drawn(page.read_text("utf-8"), evidence.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    refresh()
