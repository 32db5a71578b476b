"""What a verb leaves outside the tables: exports, reports, copies, signed files, factor sets, and nothing half done."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from pipelines.errors import BackhaulError
from pipelines.outputs import closing, copies, export
from pipelines.settings import Settings
from tests.evidence._trust_verbs import Contents, contents, same

UNSIGNED = ".unsigned"  # what `close` makes of a file that nobody signed for, left by a kill: it is kept on purpose


def everything(folder: Path) -> Contents:
    """Give what stands in the tables and the state, and what every file says that a verb wrote for people."""
    found = contents(folder, is_state=True)
    if (path := folder / "rates.csv").exists():
        found["the export"] = (_export(path), ())
    if (path := folder / "em.json").exists():
        found["the report"] = (_report(path), ())
    if (path := folder / "copy").exists():
        found |= copied(path)
    if (folder / "warehouse" / "state.sqlite").exists():
        months = closing.closed(Settings(warehouse=folder / "warehouse"))
        found["signed files"] = (repr([(c.month, c.number, c.is_intact) for c in months]), ())
        files = sorted((folder / "warehouse" / "factors").glob("*.*"))
        found["factors"] = (repr([(f.name, f.read_text("utf-8")) for f in files]), ())
    return found


def of_tables(found: Contents) -> Contents:
    """Keep what readers of builds see."""
    return {name: of for name, of in found.items() if name.startswith(("warehouse ", "fresh "))}


def _export(path: Path) -> str:
    try:
        found = export.verify(path)
    except (BackhaulError, OSError, ValueError) as error:
        return f"broken: {error}"
    return f"{found.rows} rows, {found.found}" if found.holds else "broken: its rows are not those of its checksum"


def _report(path: Path) -> str:
    try:
        return json.dumps(json.loads(path.read_text("utf-8")), sort_keys=True)
    except (OSError, ValueError) as error:
        return f"broken: {error}"


def copied(path: Path) -> Contents:
    """Read a copy of a warehouse whole: what its tables hold, or why it is no copy."""
    try:
        copies.verify(path)
    except (BackhaulError, OSError) as error:
        return {"the copy": (f"broken: {error}", ())}
    return {"the copy": ("whole", ())} | {f"the copy: {name}": of for name, of in contents(path).items()}


def apart(seen: Contents, expected: Contents) -> str:
    """Name what differs between two, with how it is broken where it says so."""
    names = [n for n in sorted(seen.keys() | expected.keys()) if not same(_only(seen, n), _only(expected, n))]
    told = [f"{n} ({seen[n][0][:200]})" if n in seen and seen[n][0].startswith("broken") else n for n in names]
    return ", ".join(told[:4])


def _only(given: Contents, name: str) -> Contents:
    return {name: given[name]} if name in given else {}


def names(folder: Path) -> set[str]:
    """List the files of a folder, with what numbers, times and hashes their names hold taken out."""
    files = (p for p in folder.rglob("*") if p.is_file())
    found = (p.relative_to(folder).as_posix() for p in files if not (p.name.endswith("-journal") and not size(p)))
    return {re.sub(r"[0-9a-f]{8,}|\d+", "#", name) for name in found}


def size(file: Path) -> int:
    """Give a file's bytes; SQLite takes an empty journal for none, and removes it with its next write."""
    return file.stat().st_size if file.exists() else 0


def left_over(folder: Path, known: Iterable[str]) -> list[str]:
    """Give the files of a folder that are neither of before nor of a run that nobody harmed: drafts, half files."""
    return sorted(name for name in names(folder) - set(known) if UNSIGNED not in name)
